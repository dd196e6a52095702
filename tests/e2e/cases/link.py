"""A link between an agent and its controller that a test can cut: a TCP proxy on loopback.

    link.py ADDRESS:PORT FILE PORT_FILE

forwards from a free port of 127.0.0.1, which it writes to PORT_FILE, to ADDRESS:PORT. FILE holds
how the link is, and is read again and again: "open"; "down" (nothing passes, connections stay, as
when a cable is out); "up-lost" (nothing passes towards ADDRESS); "gone" (connections are closed and
refused). What could not pass is kept and passes when the link is open again.
"""

import os
import selectors
import socket
import sys
import time

CHUNK = 65536


class Link:
    def __init__(self, target, state_file, port_file):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.state_file = state_file
        self.state = "open"
        self.selector = selectors.DefaultSelector()
        self.peers = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        with open(port_file + ".new", "w") as file:
            file.write(str(self.listener.getsockname()[1]))
        os.rename(port_file + ".new", port_file)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def close(self, one):
        other = self.peers.pop(one, None)
        for end in (one, other):
            if end is not None:
                self.peers.pop(end, None)
                try:
                    self.selector.unregister(end)
                except (KeyError, ValueError):
                    pass
                end.close()

    def accept(self):
        inner, _ = self.listener.accept()
        if self.state == "gone":
            inner.close()
            return
        try:
            outer = socket.create_connection(self.target, timeout=5)
        except OSError:
            inner.close()
            return
        outer.settimeout(None)
        self.peers[inner], self.peers[outer] = outer, inner
        self.selector.register(inner, selectors.EVENT_READ, "up")
        self.selector.register(outer, selectors.EVENT_READ, "down")

    def passes(self, way):
        return self.state == "open" or (self.state == "up-lost" and way == "down")

    def run(self):
        while True:
            events = self.selector.select(0.02)
            try:
                with open(self.state_file) as file:
                    self.state = file.read().strip() or self.state
            except OSError:
                pass
            if self.state == "gone":
                for end in list(self.peers):
                    self.close(end)
            blocked = False
            for key, _ in events:
                if key.fileobj is self.listener:
                    if self.state in ("open", "gone"):
                        self.accept()
                elif key.fileobj in self.peers and self.passes(key.data):
                    self.forward(key.fileobj)
                else:
                    blocked = True
            if blocked:  # readable, but nothing may pass: do not spin
                time.sleep(0.02)

    def forward(self, one):
        try:
            data = one.recv(CHUNK)
            if data:
                self.peers[one].sendall(data)
                return
        except OSError:
            pass
        self.close(one)


if __name__ == "__main__":
    os.closerange(3, 1024)  # a test's runner waits for whoever holds its pipes
    Link(*sys.argv[1:4]).run()
