#!/usr/bin/env python3
"""Send the requests of hostile_api.txt, or raw bytes that are no HTTP at all, and judge the answers.

    hostile_api.py table URL FILE TOKENS_DIR name=value...    names that stand in {braces}
    hostile_api.py raw URL TOKEN_FILE

Prints what was wrong, then "N cases, N wrong"; exits with 1 when something was.
"""
import http.client
import json
import os
import re
import socket
import sys
import unicodedata

MESSAGE_MAX = 512
CODES = """invalid invalid_json unauthorized forbidden not_found method_not_allowed conflict
session_stale too_large unsupported quota_exceeded too_many_jobs overloaded journal_unwritable
history_unavailable state_unwritable site_unreachable stopping internal""".split()

BODIES = {
    "deep": "[" * 100000,
    "deep_env": '{"run":"true","env":' + '{"a":' * 2000 + "1" + "}" * 2001,
    "not_utf8": b'{"run":"true","name":"\xff\xfe"}',
    "nul": b'{"run":"true"}\0',
    "two_megabytes": '{"run":"' + "a" * 2000000 + '"}',
    "batch_one_bad": '{"run":"true"}\n{"run":"true"}\n{"run":7}\n',
    "batch_1001": '{"run":"true"}\n' * 1001,
    "name_64": '{"run":"true","name":"' + "a" * 64 + '"}',
    "notes_long": '{"run":"true","notes":"' + "a" * 4097 + '"}',
    "after_65": json.dumps({"run": "true", "after": [str(i) for i in range(1, 66)]}),
    "array_crossed": json.dumps(
        {"run": "true", "array": {"a": list(range(400)), "b": list(range(400))}}),
    "env_many": json.dumps({"run": "true", "env": {"A%d" % i: "x" for i in range(100000)}}),
}


def fits(expected, got):
    if expected == "*":
        return True
    if expected == "-":
        return got is None
    return got is not None and re.fullmatch(expected.replace("[", r"\["), str(got)) is not None


def trouble(answer):
    """What is wrong with the form of an error, or None."""
    try:
        error = json.loads(answer)["error"]
    except (ValueError, KeyError, TypeError):
        return "not an error in JSON"
    if sorted(error) != ["code", "field", "message"]:
        return "keys %s" % sorted(error)
    if error["code"] not in CODES:
        return "code %s is not in the document" % error["code"]
    message = error["message"]
    if not message or len(message) > MESSAGE_MAX or any(
            unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in message):
        return "message is not one line of at most %d characters" % MESSAGE_MAX
    return None


def read_table(path, names):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.strip() or line.startswith("#"):
                continue
            who, method, path, header, status, code, field, body = (
                part.strip() for part in line.split("|", 7))
            for name, value in names.items():
                path = path.replace("{%s}" % name, value)
                body = body.replace('"{%s}"' % name, '"%s"' % value)
            yield who, method, path, header, status, code, field, body


def run_table(url, path, tokens_dir, names):
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
    count = wrong = 0
    for who, method, path, header, status, code, field, body in read_table(path, names):
        headers = {}
        if who != "none":
            with open(os.path.join(tokens_dir, "token." + who), encoding="ascii") as file:
                headers["Authorization"] = "Bearer " + file.read().strip()
        if header:
            name, value = header.split(":", 1)
            headers[name] = ("k" * 129 if value == "@long" else value.strip()).encode("utf-8")
        data = BODIES[body[1:]] if body.startswith("@") else body
        try:
            try:
                connection.request(method, path, data if data else None, headers)
            except BrokenPipeError:
                pass  # it had heard enough; its answer is there
            response = connection.getresponse()
            answer = response.read()
            got = response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            answer, got = b"", "no answer (%s)" % error
        count += 1
        problem = trouble(answer)
        error = {} if problem else json.loads(answer)["error"]
        if not problem and not fits(status, got):
            problem = "expected %s" % status
        if not problem and not fits(code, error["code"]):
            problem = "expected code %s" % code
        if not problem and not fits(field, error["field"]):
            problem = "expected field %s" % field
        if problem or os.environ.get("SHOW"):
            print("%s %s %s %s %s" % (who, method, path, header, body[:120]))
            print("    %s; got %s %s" % (problem or "as expected", got, answer[:300].decode("utf-8", "replace")))
        wrong += problem is not None
    return count, wrong


def talk(url, data, more=None):
    """Send bytes, then `more` (an iterator) until the server has had enough: its answer."""
    host, port = url.split("/")[2].split(":")
    sent = len(data)
    with socket.create_connection((host, int(port)), timeout=20) as stream:
        answer = b""
        try:
            stream.sendall(data)
            for part in more or ():
                stream.sendall(part)
                sent += len(part)
        except OSError:
            pass
        try:
            while True:
                part = stream.recv(65536)
                if not part:
                    break
                answer += part
                if b"\r\n\r\n" in answer and b"}}" in answer:
                    break
        except OSError:
            pass
    return answer, sent


def chunks(bytes_max):
    part = b"a" * 65536
    for _ in range(bytes_max // len(part)):
        yield b"10000\r\n" + part + b"\r\n"
    yield b"0\r\n\r\n"


def run_raw(url, token_file):
    with open(token_file, encoding="ascii") as file:
        token = file.read().strip().encode()
    head = b"Host: x\r\nAuthorization: Bearer " + token + b"\r\n"
    post = b"POST /api/v1/jobs HTTP/1.1\r\n" + head
    close = b"Connection: close\r\n"
    gigabyte = 1 << 30
    plain = lambda: iter([b"a" * 65536] * (gigabyte // 65536))
    # name, bytes, what follows, statuses (0: cut off without a word), at most so many bytes taken
    cases = [
        ("a body said to have 1 GB", post + b"Content-Length: 1073741824\r\n\r\n", plain(), (413,), 32 << 20),
        ("1 GB of chunks", post + b"Transfer-Encoding: chunked\r\n\r\n", chunks(gigabyte), (413, 0), 32 << 20),
        ("1 GB of chunks without a token", b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
         chunks(gigabyte), (401, 413, 0), 32 << 20),
        ("a body of 2^64 bytes", post + b"Content-Length: 18446744073709551616\r\n\r\n", None, (400, 413), 1 << 20),
        ("a body of -1 bytes", post + b"Content-Length: -1\r\n\r\n", None, (400,), 1 << 20),
        ("two lengths", post + b"Content-Length: 4\r\nContent-Length: 14\r\n\r\n{\"run\":\"true\"}", None, (400,), 1 << 20),
        ("a length and chunks", post + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, (400,), 1 << 20),
        ("an encoding nobody knows", post + b"Transfer-Encoding: brotli\r\n\r\n", None, (400, 501), 1 << 20),
        ("a chunk of no number", post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", None, (400, 0), 1 << 20),
        ("a body cut off", post + b"Content-Length: 14\r\n\r\n{\"run\":", "shut", (0,), 1 << 20),
        ("1 MB of header", b"GET /api/v1/jobs HTTP/1.1\r\n" + head + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n", None, (431, 400, 0), 2 << 20),
        ("100,000 headers", b"GET /api/v1/jobs HTTP/1.1\r\n" + head + b"X: a\r\n" * 100000 + b"\r\n", None, (431, 400, 0), 2 << 20),
        ("a path of 1 MB", b"GET /api/v1/jobs/" + b"1" * (1 << 20) + b" HTTP/1.1\r\n" + head + b"\r\n", None, (414, 431, 400, 0), 2 << 20),
        ("10,000 parameters", b"GET /api/v1/jobs?" + b"a&" * 10000 + b" HTTP/1.1\r\n" + head + b"\r\n", None, (400, 414, 431), 1 << 20),
        ("a header without its end", b"GET /api/v1/jobs HTTP/1.1\r\n" + head + b"X", "shut", (0, 400), 1 << 20),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n", None, (400, 0), 1 << 20),
        ("a verb of 10 KB", b"A" * 10240 + b" / HTTP/1.1\r\n" + head + b"\r\n", None, (400, 405, 431, 0), 1 << 20),
        ("HTTP/9.9", b"GET /api/v1/version HTTP/9.9\r\n" + head + b"\r\n", None, (400, 505, 0), 1 << 20),
        ("no Host", b"GET /api/v1/version HTTP/1.1\r\n\r\n", None, (400, 401), 1 << 20),
        ("a NUL in the path", b"GET /api/v1/version\0 HTTP/1.1\r\n" + head + close + b"\r\n", None, (400, 0), 1 << 20),
        ("a header folded and split", b"GET /api/v1/jobs?limit=x HTTP/1.1\r\n" + head + b"X: a\r\n b\r\n" + close + b"\r\n", None, (400, 0), 1 << 20),
    ]
    wrong = 0
    for name, data, more, statuses, bytes_max in cases:
        if more == "shut":
            host, port = url.split("/")[2].split(":")
            with socket.create_connection((host, int(port)), timeout=10) as stream:
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)
                answer, sent = b"", len(data)
                try:
                    answer = stream.recv(65536)
                except OSError:
                    pass
        else:
            answer, sent = talk(url, data, more)
        match = re.match(rb"HTTP/1\.[01] (\d+)", answer)
        status = int(match.group(1)) if match else 0
        bad = status not in statuses or sent > bytes_max
        wrong += bad
        if bad or os.environ.get("SHOW"):
            print("%s: expected one of %s, got %s after %d bytes: %s" % (name, statuses, status, sent, answer[:300]))
    return len(cases), wrong


def main(argv):
    if argv[1] == "table":
        names = dict(pair.split("=", 1) for pair in argv[5:])
        count, wrong = run_table(argv[2], argv[3], argv[4], names)
    else:
        count, wrong = run_raw(argv[2], argv[3])
    print("%d cases, %d wrong" % (count, wrong))
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
