#include "wire/door.h"

#include "base/file.h"
#include "base/log.h"
#include "net/sign.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM_BYTES_MAX (1u << 20)

struct door {
    struct ca *ca;
    char *cert, *key; /* NULL = plain */
    char pin[CA_PIN_BYTES];
    const char *address;
    uint16_t port;
    int64_t cert_life_ms;
    char own[INET6_ADDRSTRLEN + 2];
};

static int read_pem(const char *path, char **text_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(PEM_BYTES_MAX);
    int rc = file_read(path, &text, err);

    if (rc == 0 && !(*text_out = buf_take(&text)))
        rc = err_set(err, -ENOMEM, "%s: out of memory", path);
    return rc;
}

int door_open(const struct door_config *config, struct door **door_out, struct err *err)
{
    struct door *door = calloc(1, sizeof(*door));
    bool own;
    int rc = 0;

    if (!door)
        return err_set(err, -ENOMEM, "TLS: out of memory");
    door->address = config->address ? config->address : "127.0.0.1";
    door->cert_life_ms = config->cert_life_ms ? config->cert_life_ms : DOOR_CERT_LIFE_MS;
    own = !config->cert_pem && !config->key_pem &&
          (config->tls || !http_address_is_loopback(door->address));
    if (config->cert_pem)
        rc = read_pem(config->cert_pem, &door->cert, err);
    if (rc == 0 && config->key_pem)
        rc = read_pem(config->key_pem, &door->key, err);
    if (rc == 0 && (own || (door->cert && door->key)))
        rc = ca_open(config->state_dir, &door->ca, err);
    if (rc == 0 && own)
        rc = ca_make_server(door->ca, door->address, &door->cert, &door->key, err);
    /* One that cannot be read is the server's to refuse. */
    if (rc == 0 && door->cert && ca_cert_read(door->cert, door->pin, NULL, NULL, NULL) < 0)
        door->pin[0] = '\0';
    if (rc < 0) {
        door_close(door);
        return rc;
    }
    *door_out = door;
    return 0;
}

struct sign_key *door_signer(const struct door *door)
{
    struct sign_key *signer = NULL;
    struct err err;

    if (door->key && door_is_tls(door) && sign_key_open(door->key, &signer, &err) < 0)
        log_warn("what is booked is not signed: %s", err.text);
    return signer;
}

void door_forget_key(struct door *door)
{
    if (door->key)
        explicit_bzero(door->key, strlen(door->key));
    free(TAKE(door->key));
}

void door_close(struct door *door)
{
    if (!door)
        return;
    door_forget_key(door);
    ca_close(door->ca);
    free(door->cert);
    free(door);
}

void door_fill(const struct door *door, struct http_server_config *config)
{
    config->cert_pem = door->cert;
    config->key_pem = door->key;
    config->client_ca_pem = door->ca ? ca_cert_pem(door->ca) : NULL;
    config->client_cert_optional = true;
}

void door_set_port(struct door *door, uint16_t port)
{
    door->port = port;
}

bool door_is_tls(const struct door *door)
{
    return door->ca && door->pin[0];
}

const char *door_pin(const struct door *door)
{
    return door->pin;
}

int64_t door_cert_life_ms(const struct door *door)
{
    return door->cert_life_ms;
}

int door_sign(struct door *door, const char *request_pem, const char *site, int64_t now_ms,
              int64_t until_ms, char **cert_out, char pin_out[CA_PIN_BYTES], struct err *err)
{
    if (!door->ca)
        return err_set(err, -ENOTSUP, "no TLS is served here: nothing can join");
    return ca_sign_client(door->ca, request_pem, site, now_ms, until_ms, cert_out, pin_out, err);
}

static bool add_url(struct join_token *token, const char *host, const char *colon_port,
                    uint16_t port)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]%";
    char *url;
    int len;

    if (token->urls_count >= JOIN_URLS_MAX || !*host || strspn(host, letters) != strlen(host))
        return false;
    url = token->urls[token->urls_count];
    if (*colon_port)
        len = snprintf(url, JOIN_URL_BYTES, "https://%s", host);
    else
        len = snprintf(url, JOIN_URL_BYTES, "https://%s:%u", host, (unsigned)port);
    if (len >= (int)JOIN_URL_BYTES)
        return false;
    for (uint32_t i = 0; i < token->urls_count; i++)
        if (!strcmp(token->urls[i], url))
            return true;
    token->urls_count++;
    return true;
}

bool door_add_address(const struct door *door, const char *address, struct join_token *token)
{
    const char *end = address[0] == '[' ? strchr(address, ']') : address;
    const char *colon = end ? strchr(end, ':') : NULL;

    if (!end)
        return false;
    if (colon && (!colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1)))
        return false; /* an IPv6 address is to stand in brackets */
    return add_url(token, address, colon ? colon : "", door->port);
}

static void add_interface(const struct door *door, const struct ifaddrs *one, bool six_too,
                          struct join_token *token)
{
    char text[INET6_ADDRSTRLEN];
    char host[INET6_ADDRSTRLEN + 2];

    if (!one->ifa_addr || !(one->ifa_flags & IFF_UP) || (one->ifa_flags & IFF_LOOPBACK))
        return;
    if (one->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)one->ifa_addr;

        inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
        add_url(token, host, "", door->port);
    } else if (one->ifa_addr->sa_family == AF_INET6 && six_too) {
        const struct sockaddr_in6 *six = (const void *)one->ifa_addr;

        if (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
            return;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
        snprintf(host, sizeof(host), "[%s]", text);
        add_url(token, host, "", door->port);
    }
}

void door_add_own_addresses(const struct door *door, struct join_token *token)
{
    bool any_six = !strcmp(door->address, "::");
    struct ifaddrs *list = NULL;
    char host[80];

    if (strcmp(door->address, "0.0.0.0") != 0 && !any_six) {
        snprintf(host, sizeof(host), strchr(door->address, ':') ? "[%s]" : "%s", door->address);
        add_url(token, host, "", door->port);
        return;
    }
    if (getifaddrs(&list) == 0)
        for (const struct ifaddrs *one = list; one; one = one->ifa_next)
            add_interface(door, one, any_six, token);
    freeifaddrs(list);
    if (!token->urls_count)
        add_url(token, any_six ? "[::1]" : "127.0.0.1", "", door->port);
}

const char *door_own_address(struct door *door)
{
    struct join_token found = { 0 };
    const char *host;
    size_t len;

    door_add_own_addresses(door, &found);
    host = found.urls[0] + strlen("https://");
    len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (*host == '[') {
        host++;
        len -= 2;
    }
    snprintf(door->own, sizeof(door->own), "%.*s", (int)MIN(len, sizeof(door->own) - 1), host);
    return door->own;
}
