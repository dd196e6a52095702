/* names, cuts and frames of chunks: what is refused, then what must come out */
#include "base/rng.h"
#include "store/blake2b_many.h"
#include "store/chunker.h"
#include "store/chunker_gear.h"
#include "store/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_store_id_parse(void **state)
{
    static const char good[] = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8";
    static const struct {
        const char *text;
        bool fine;
    } cases[] = {
        { "", false },
        { "0e57", false },
        { "0E5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8", false },
        { "ge5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8", false },
        { "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a", false },
        { good, true },
    };
    char text[STORE_ID_TEXT_BYTES];
    struct store_id id;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(store_id_parse(cases[i].text, strlen(cases[i].text), &id), cases[i].fine);
    store_id_format(&id, text);
    assert_string_equal(text, good);
    id = store_id_of("", 0);
    store_id_format(&id, text);
    assert_string_equal(text, good);
}

/* As Python's hashlib.blake2b(digest_size=32) has them, over 0, 1, 2, ..., 255, 0, 1, ... */
static void test_blake2b_is_rfc_7693(void **state)
{
    static const struct {
        size_t len;
        const char *digest;
    } cases[] = {
        { 0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8" },
        { 1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314" },
        { 127, "f2fe67ff342e21b8f45e8f2e0bcd1d9243245d50ee6c78042e9c491388791c72" },
        { 128, "c3582f71ebb2be66fa5dd750f80baae97554f3b015663c8be377cfcb2488c1d1" },
        { 129, "f7f3c46ba2564ff4c4c162da1f5b605f9f1c4aa6a20652a9f9a337c1a2f5b9c9" },
        { 255, "1d0850ee9bca0abc9601e9deabe1418fedec2fb6ac4150bd5302d2430f9be943" },
        { 256, "39a7eb9fedc19aabc83425c6755dd90e6f9d0c804964a1f4aaeea3b9fb599835" },
        { 257, "45f7f084c30bac7cbae2e1963bc6e6b0d8cb227a12927e97fb941d288fb1f9a3" },
        { 511, "3b174a60f0012c255e694bbb3a1ce32f89d858b1cc87777feb540be3c9718393" },
    };
    uint8_t data[512];
    char text[STORE_ID_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t step = 1; step <= 300; step += 23) { /* in pieces of any size */
            struct store_id id;
            struct blake2b hash;

            blake2b_init(&hash);
            for (size_t at = 0; at < cases[i].len; at += step)
                blake2b_update(&hash, data + at, MIN(step, cases[i].len - at));
            blake2b_final(&hash, id.bytes);
            store_id_format(&id, text);
            assert_string_equal(text, cases[i].digest);
        }
    }
}

/* Each piece has the name that it has by itself, whatever its neighbours' lengths. */
static void test_blake2b_many_is_blake2b(void **state)
{
    static const size_t edges[] = { 0, 1, 127, 128, 129, 255, 256, 257, 384, 65536, 65537 };
    static uint8_t data[70000];
    struct blake2b_piece pieces[300];
    struct rng rng = { .state = 5 };

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)rng_next(&rng);
    for (uint32_t round = 0; round < 120; round++) {
        uint32_t count = round < 40 ? round : (uint32_t)rng_below(&rng, ARRAY_COUNT(pieces));

        for (uint32_t i = 0; i < count; i++) {
            size_t len = rng_below(&rng, 4) ? (size_t)rng_below(&rng, round % 3 ? 2000 : 300)
                                            : edges[rng_below(&rng, ARRAY_COUNT(edges))];

            pieces[i] = (struct blake2b_piece){ .data = data + rng_below(&rng, 4000), .len = len };
        }
        for (int how = 0; how < 3; how++) {
            for (uint32_t i = 0; i < count; i++)
                memset(pieces[i].digest, 0xa5, sizeof(pieces[i].digest));
            if (how == 0)
                blake2b_many(pieces, count);
            else if (how == 1 ? !blake2b_many_avx2(pieces, count)
                              : !blake2b_many_avx512(pieces, count))
                continue; /* not this processor */
            for (uint32_t i = 0; i < count; i++) {
                uint8_t digest[BLAKE2B_BYTES];

                blake2b_of(pieces[i].data, pieces[i].len, digest);
                assert_memory_equal(pieces[i].digest, digest, sizeof(digest));
            }
        }
    }
}

static void test_chunker_gear_is_of_its_seed(void **state)
{
    struct rng rng = { .state = 0x6d61696e73 };

    (void)state;
    for (size_t i = 0; i < 256; i++)
        if (chunker_gear[i] != rng_next(&rng))
            fail_msg("gear %zu", i);
}

static uint8_t *random_data(uint64_t seed, size_t len)
{
    struct rng rng = { .state = seed };
    uint8_t *data = malloc(len + 8);

    assert_non_null(data);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = rng_next(&rng);

        memcpy(data + i, &word, 8);
    }
    return data;
}

#define LEN ((size_t)24 << 20)
#define CUTS_MAX 2048

static size_t names_of(const uint8_t *data, size_t len, struct chunk_ref *out)
{
    size_t count = 0;

    for (size_t at = 0; at < len;) {
        size_t cut = chunker_cut(data + at, len - at);

        assert_true(cut >= 1 && cut <= CHUNK_BYTES_MAX);
        assert_true(cut >= CHUNK_BYTES_MIN || at + cut == len);
        assert_true(count < CUTS_MAX);
        out[count++] =
            (struct chunk_ref){ .id = store_id_of(data + at, cut), .bytes = (uint32_t)cut };
        at += cut;
    }
    return count;
}

/* Random edits in few places, of which some move all that follows. */
static void test_chunker_versions_share_chunks(void **state)
{
    static struct chunk_ref before[CUTS_MAX], after[CUTS_MAX];

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct rng rng = { .state = seed };
        CLEANUP(freep) uint8_t *old = random_data(seed, LEN);
        CLEANUP(freep) uint8_t *new = random_data(seed, LEN);
        size_t old_count = names_of(old, LEN, before);
        size_t shared = 0, total = 0, count;

        assert_in_range(LEN / old_count, CHUNK_BYTES_AVERAGE / 2, CHUNK_BYTES_AVERAGE * 2);
        for (int edit = 0; edit < 4; edit++) {
            size_t at = rng_below(&rng, LEN - 200000);
            size_t len = 1 + rng_below(&rng, 5000);

            if (edit % 2)
                memmove(new + at, new + at + len, LEN - at - len);
            else
                for (size_t i = 0; i < len; i++)
                    new[at + i] ^= 0x5a;
        }
        count = names_of(new, LEN, after);
        qsort(before, old_count, sizeof(*before), store_id_compare);
        for (size_t i = 0; i < count; i++) {
            total += after[i].bytes;
            if (bsearch(&after[i], before, old_count, sizeof(*before), store_id_compare))
                shared += after[i].bytes;
        }
        if (shared * 100 < total * 90)
            fail_msg("seed %d: %zu of %zu bytes shared", (int)seed, shared, total);
    }
}

static void test_chunker_edges(void **state)
{
    static uint8_t zeros[CHUNK_BYTES_MAX + 1];
    static const size_t lengths[] = { 0, 1, 63, CHUNK_BYTES_MIN - 1, CHUNK_BYTES_MIN };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
        assert_int_equal(chunker_cut(zeros, lengths[i]), lengths[i]);
    assert_in_range(chunker_cut(zeros, sizeof(zeros)), CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
}

struct frames {
    struct frame_codec *codec;
    struct buf frame;
    struct store_id id;
    uint8_t content[CHUNK_BYTES_MAX];
};

static void make_frame(struct frames *f, const void *data, size_t len)
{
    buf_clear(&f->frame);
    assert_int_equal(frame_encode(f->codec, data, len, &f->frame), 0);
    f->id = store_id_of(data, len);
}

static void test_frame_refuses(void **state)
{
    struct frames *f = *state;
    static const struct {
        size_t at; /* this byte of a good frame ... */
        uint8_t flip;
    } flips[] = { { 0, 1 },  { 3, 1 },  { 4, 1 },  { 4, 2 },    { 5, 1 },    { 7, 1 }, { 8, 1 },
                  { 10, 8 }, { 11, 1 }, { 12, 1 }, { 15, 128 }, { 16, 255 }, { 30, 1 } };
    static uint8_t text[50000];
    uint32_t bytes = 7;
    struct err err;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)("content that shrinks "[i % 21] + i % 3);
    assert_int_equal(frame_encode(f->codec, text, 0, &f->frame), -EINVAL);
    make_frame(f, text, sizeof(text));
    assert_true(f->frame.len < sizeof(text) / 4);
    for (size_t i = 0; i < ARRAY_COUNT(flips); i++) {
        f->frame.data[flips[i].at] ^= (char)flips[i].flip;
        if (frame_decode(f->codec, f->frame.data, f->frame.len, &f->id, f->content, &bytes, &err) !=
            -EBADMSG)
            fail_msg("byte %zu changed and accepted", flips[i].at);
        f->frame.data[flips[i].at] ^= (char)flips[i].flip;
    }
    for (size_t len = 0; len < f->frame.len; len += 1 + len / 8)
        assert_int_equal(
            frame_decode(f->codec, f->frame.data, len, &f->id, f->content, &bytes, &err), -EBADMSG);
    assert_int_equal(bytes, 7);
    f->id.bytes[0] ^= 1; /* a good frame, of another chunk */
    assert_int_equal(
        frame_decode(f->codec, f->frame.data, f->frame.len, &f->id, f->content, &bytes, &err),
        -EBADMSG);
    assert_non_null(strstr(err.text, "other bytes"));
}

/* A frame that would unpack to far more than it says: its header is what counts. */
static void test_frame_refuses_a_bomb(void **state)
{
    struct frames *f = *state;
    static uint8_t zeros[CHUNK_BYTES_MAX];
    uint32_t bytes;

    make_frame(f, zeros, sizeof(zeros));
    assert_true(f->frame.len < 200);
    memcpy(f->frame.data + 8, (uint8_t[]){ 1, 0, 0, 0 }, 4);
    memset(f->content, 0x77, sizeof(f->content));
    assert_int_equal(
        frame_decode(f->codec, f->frame.data, f->frame.len, &f->id, f->content, &bytes, NULL),
        -EBADMSG);
    assert_int_equal(f->content[1], 0x77);
    memcpy(f->frame.data + 8, (uint8_t[]){ 1, 0, 8, 0 }, 4); /* a byte over the ceiling */
    assert_int_equal(
        frame_decode(f->codec, f->frame.data, f->frame.len, &f->id, f->content, &bytes, NULL),
        -EBADMSG);
}

static void test_frame_round_trips(void **state)
{
    struct frames *f = *state;
    static const size_t lengths[] = { 1, 2, 15, 16, 17, 4096, CHUNK_BYTES_MAX };

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        for (int repeats = 0; repeats < 2; repeats++) {
            CLEANUP(freep) uint8_t *data = random_data(i, lengths[i]);
            uint32_t bytes = 0;

            if (repeats)
                memset(data, 'a', lengths[i]);
            make_frame(f, data, lengths[i]);
            assert_true(f->frame.len <= FRAME_HEADER_BYTES + lengths[i]);
            assert_int_equal(frame_content_bytes(f->frame.data, f->frame.len, &bytes), 0);
            assert_int_equal(bytes, lengths[i]);
            assert_int_equal(frame_decode(f->codec, f->frame.data, f->frame.len, &f->id, f->content,
                                          &bytes, NULL),
                             0);
            assert_memory_equal(f->content, data, lengths[i]);
        }
    }
}

static int set_up(void **state)
{
    struct frames *f = calloc(1, sizeof(*f));

    f->codec = frame_codec_create(1);
    f->frame = buf_init(FRAME_BYTES_MAX);
    *state = f;
    return f->codec ? 0 : -1;
}

static int tear_down(void **state)
{
    struct frames *f = *state;

    frame_codec_destroy(f->codec);
    buf_fini(&f->frame);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_id_parse),
        cmocka_unit_test(test_blake2b_is_rfc_7693),
        cmocka_unit_test(test_blake2b_many_is_blake2b),
        cmocka_unit_test(test_chunker_gear_is_of_its_seed),
        cmocka_unit_test(test_chunker_edges),
        cmocka_unit_test(test_chunker_versions_share_chunks),
        cmocka_unit_test_setup_teardown(test_frame_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frame_refuses_a_bomb, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frame_round_trips, set_up, tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
