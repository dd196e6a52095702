#!/usr/bin/env python3
"""hostile.py URL CERT KEY SITE COMMAND [ARG...] - a site that holds a real certificate, and lies.

Speaks the wire (src/wire/wire.h) by hand. Each command prints what it was answered, one line each.
"""
import base64
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from urllib.parse import urlsplit

url, cert, key, site = sys.argv[1:5]
place = urlsplit(url)
REPORTS = "/api/v1/site-session/reports?site=%s"


def context():
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE  # whom it robs it does not care
    made.load_cert_chain(cert, key)
    return made


def connect(timeout=60):
    return http.client.HTTPSConnection(place.hostname, place.port, context=context(), timeout=timeout)


def post(client, lines, session=None, as_site=None, raw=None):
    body = raw if raw is not None else "".join(json.dumps(line) + "\n" for line in lines).encode()
    path = REPORTS % (as_site or site) + ("&session=%d" % session if session else "")
    try:
        client.request("POST", path, body, {"Content-Type": "application/x-ndjson"})
        answer = client.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        client.close()
        return 0, str(error)


def node(name="evil-1", cpus=4):
    return {"name": name, "cpu_model": "x", "arch": "x86_64", "os": "x", "cpus": cpus, "numa_count": 1,
            "memory_bytes": 8 << 30, "disk_bytes": 8 << 30, "devices": []}


def inventory(nodes=None, name=None):
    return {"name": name or site, "owner": "honest", "region": "", "nodes": nodes or [node()], "sandbox_optional": True,
            "tariff": {"carbon_g_per_kwh_milli": 1000, "power_price_micro_per_kwh": 1000000,
                       "cpu_price_micro_per_hour": 36000, "device_price_micro_per_hour": 1, "currency": "EUR"}}


def hello(attempts=(), **more):
    return {"type": "hello", "version": "0", "incarnation": 1, "site": inventory(**more),
            "attempts": [list(pair) for pair in attempts]}


def ended(job, epoch, exit_code=0, outcome=0, started=None, end=None, **usage):
    now = int(time.time() * 1000)
    return {"type": "ended", "job": job, "epoch": epoch, "outcome": outcome, "exit_code": exit_code, "reason": "",
            "started_ms": now if started is None else started, "ended_ms": now if end is None else end,
            "usage": dict({"energy_measured": False}, **usage)}


def open_session(client, **more):
    status, text = post(client, [hello(**more)])
    if status != 200:
        print("hello", status, text.strip())
        sys.exit(0)
    return json.loads(text)["session"]


class Stream:
    """The command stream, read line by line."""

    def __init__(self, session):
        self.client = connect()
        self.client.request("GET", "/api/v1/site-session?site=%s&incarnation=1&session=%d" % (site, session))
        self.answer = self.client.getresponse()

    def next(self, kind, tries=1000):
        for _ in range(tries):
            line = self.answer.readline()
            if not line:
                raise SystemExit("the stream ended")
            command = json.loads(line)
            if command["type"] == kind:
                return command
        raise SystemExit("no " + kind)


def forge(job):
    """Everything there is to say about a job that another site runs."""
    client = connect()
    session = open_session(client)
    stream = Stream(session)
    stream.next("reconcile")
    lies = []
    for epoch in (1, 2, 0, 4294967295):
        lies += [ended(job, epoch), ended(job, epoch, 7, 0), ended(job, epoch, 0, 7), ended(job, epoch, 0, 255),
                 {"type": "unknown", "job": job, "epoch": epoch},
                 {"type": "started", "job": job, "epoch": epoch, "started_ms": 1},
                 {"type": "progress", "job": job, "epoch": epoch, "checkpoint_ms": 9, "reason": "",
                  "usage": {"energy_measured": True, "energy_mj": 1 << 60, "cpu_ms": 1 << 60}}]
    for lie in lies:
        print(lie["type"], lie["epoch"], post(client, [lie], session)[0])
    print("hello", post(client, [hello([(job, 1), (job, 2)])])[0])


def others():
    """As somebody else."""
    client = connect()
    session = open_session(client)
    for name in sys.argv[6:]:
        print(name, post(client, [hello(name=name)], as_site=name)[0])
        print(name, post(client, [hello(name=name)])[0])
        print(name, post(client, [{"type": "inventory", "site": inventory(name=name)}], session)[0])


def flood(job, count):
    """So many forged reports, in posts as large as they may be."""
    client = connect()
    session = open_session(client)
    line = (json.dumps(ended(job, 1)) + "\n").encode()
    fine = other = 0
    for at in range(0, count, 50000):
        status, _ = post(client, None, session, raw=line * min(50000, count - at))
        fine, other = fine + (status == 200), other + (status != 200)
    print(fine, other)


def frames():
    """What is too long, too deep, not JSON, not text, or not what it says."""
    client = connect()
    session = open_session(client)
    good = json.dumps({"type": "unknown", "job": 1, "epoch": 1}).encode()
    for name, raw in (
            ("a line of 5 MiB", b'{"type":"unknown","job":1,"epoch":1,"x":"' + b"a" * (5 << 20) + b'"}\n'),
            ("a body of 33 MiB", good[:-1] + b" " * (33 << 20) + b"}\n"),
            ("a million levels", b"[" * 1000000 + b"\n"),
            ("deep in a key", b'{"type":"unknown","job":1,"epoch":1,"x":' + b"[" * 100000 + b"]" * 100000 + b"}\n"),
            ("not JSON", b"\x00\xff\xfe garbage \n"),
            ("no UTF-8", b'{"type":"ended","job":1,"epoch":1,"outcome":0,"exit_code":0,"reason":"\xff\xfe"}\n'),
            ("a number too large", b'{"type":"unknown","job":99999999999999999999999999,"epoch":1}\n'),
            ("a number below zero", b'{"type":"unknown","job":-1,"epoch":1}\n'),
            ("a type of the future", b'{"type":"overlord","job":1}\n'),
            ("nothing", b""),
            ("empty lines", b"\n" * 100000)):
        client.close()
        status, _ = post(client, None, session, raw=raw)
        print("%s: %d" % (name, status))
    # A length that never comes.
    with socket.create_connection((place.hostname, place.port), timeout=10) as plain:
        with context().wrap_socket(plain) as tls:
            tls.sendall(("POST " + REPORTS % site + "&session=%d HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n" % session).encode())
            print("a length that lies: " + tls.recv(100).split(b"\r\n")[0].decode())


def inventories():
    client = connect()
    for name, nodes in (
            ("20,001 nodes", [node("n%d" % i) for i in range(20001)]),
            ("names that repeat", [node("same"), node("same")]),
            ("4 billion CPUs", [node(cpus=4294967295)]),
            ("70,000 CPUs", [node(cpus=70000)]),
            ("no name", [node("")]),
            ("CPUs below zero", [node(cpus=-1)]),
            ("memory below zero", [dict(node(), memory_bytes=-1)]),
            ("1,000 devices", [dict(node(), devices=[{"chip": "h100", "index": i} for i in range(1000)])]),
            ("a name of 1 MiB", [node("n" * (1 << 20))])):
        status, _ = post(client, [hello(nodes=nodes)])
        print("%s: %d" % (name, status))
    for count in (1000000, 100001):
        raw = b'{"type":"hello","version":"0","incarnation":1,"site":' + json.dumps(inventory()).encode() + b',"attempts":[' + \
            b",".join(b"[%d,1]" % i for i in range(1, count + 1)) + b"]}\n"
        print("%d attempts: %d" % (count, post(client, None, raw=raw)[0]))
        client.close()


def churn(count):
    """Another inventory each time, as large as it may be."""
    client = connect()
    session = open_session(client)
    statuses = {}
    for i in range(count):
        nodes = [dict(node("n%d" % n), os=("%d" % i).ljust(90, "x")) for n in range(4000)]
        status, _ = post(client, [{"type": "inventory", "site": inventory(nodes=nodes)}], session)
        statuses[status] = statuses.get(status, 0) + 1
    print(json.dumps(statuses))


def lie(usage):
    """Runs what it is given, and says that it took much."""
    client = connect()
    session = open_session(client)
    stream = Stream(session)
    while True:
        run = stream.next("run")
        job, epoch = run["job"], run["epoch"]
        now = int(time.time() * 1000)
        post(client, [{"type": "started", "job": job, "epoch": epoch, "started_ms": now}], session)
        told = {"wall_ms": 1 << 50, "cpu_ms": 1 << 52, "device_milli_ms": 1 << 54, "energy_mj": 1 << 55} if usage == "huge" else {"cpu_ms": 1}
        said = ended(job, epoch, started=now, end=now - 5000 if usage == "huge" else now, **told)
        print(job, epoch, post(client, [said], session)[0], flush=True)
        # And again, in this session and in another.
        for _ in range(3):
            print("again", post(client, [said], session)[0], flush=True)
        session = open_session(client, attempts=[(job, epoch)])
        print("again", post(client, [said], session)[0], flush=True)
        return


def sign(text, with_key):
    return base64.b64encode(subprocess.run(["openssl", "dgst", "-sha256", "-sign", with_key], input=text.encode(),
                                           capture_output=True, check=True).stdout).decode()


def public(of_key):
    return base64.b64encode(subprocess.run(["openssl", "pkey", "-in", of_key, "-pubout", "-outform", "DER"],
                                           capture_output=True, check=True).stdout).decode()


def receipts(network, others_key):
    """Runs what it is given; each ends with a receipt that is wrong in its own way. Named by the job."""
    client = connect()
    session = open_session(client)
    stream = Stream(session)
    for _ in range(7):
        run = stream.next("run")
        now = int(time.time() * 1000)
        said = ended(run["job"], run["epoch"], started=now, end=now, cpu_ms=1)
        how = run["name"]
        words = [("side", "site"), ("network", network), ("site", site), ("job", run["job"]), ("epoch", run["epoch"]),
                 ("outcome", 0), ("exit", 0), ("began_ms", now), ("ended_ms", now), ("wall_ms", 0), ("cpu_ms", 1),
                 ("cpu_held_ms", 0), ("device_milli_ms", 0), ("memory_peak_bytes", 0), ("energy_mj", 0),
                 ("energy_measured", 0), ("carbon_ug", 0), ("price_micro", 0)]
        if how == "replayed":
            words[3] = ("job", run["job"] + 1)
        elif how == "foreign":
            words[2] = ("site", "good")
        elif how == "altered":
            words[10] = ("cpu_ms", 2)
        text = "mains-receipt/1 " + " ".join("%s=%s" % word for word in words)
        if how == "nonsense":
            text = text.replace("mains-receipt/1 side", "mains-receipt/1  side")
        signer = others_key if how == "stolen" else key
        said.update(receipt=text, signature=sign(text, signer), key=public(signer))
        if how == "forged":
            said["receipt"] = text.replace("cpu_ms=1 ", "cpu_ms=9 ")
        if how == "bare":
            del said["receipt"], said["signature"], said["key"]
        if how == "bare":  # an end that is refused, with a receipt each time: nothing of it is kept
            refused = dict(said, outcome=255, receipt=text, signature="c2ln", key=public(key))
            print("refused", post(client, [refused] * 2000, session)[0], flush=True)
        print(how, run["job"], post(client, [said], session)[0], flush=True)


def slow(count, seconds):
    """Connections that say little, and that slowly."""
    tls = context()
    held = []
    for i in range(count):
        plain = socket.create_connection((place.hostname, place.port), timeout=5)
        try:
            if i % 3 == 0:
                plain.sendall(b"\x16\x03\x01\x02")  # the beginning of a handshake
                held.append(plain)
                continue
            wrapped = tls.wrap_socket(plain)
            held.append(wrapped)
            wrapped.sendall(b"POST " if i % 3 == 1 else
                            ("POST " + REPORTS % site + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{").encode())
        except OSError:
            plain.close()
    print("held", len(held), flush=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for one in held:
            try:
                if isinstance(one, ssl.SSLSocket):
                    one.sendall(b"a")
            except OSError:
                pass
        time.sleep(0.5)


command, args = sys.argv[5], sys.argv[6:]
if command == "forge":
    forge(int(args[0]))
elif command == "others":
    others()
elif command == "flood":
    flood(int(args[0]), int(args[1]))
elif command == "frames":
    frames()
elif command == "inventories":
    inventories()
elif command == "churn":
    churn(int(args[0]))
elif command == "lie":
    lie(args[0])
elif command == "receipts":
    receipts(args[0], args[1])
elif command == "slow":
    slow(int(args[0]), int(args[1]))
else:
    sys.exit("hostile.py: no such command: " + command)
