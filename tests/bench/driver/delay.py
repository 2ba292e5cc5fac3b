"""A link to a server far away: a proxy on loopback that hands every byte on half a round trip later.

Connecting costs nothing here, so that what is counted is how often a bridge waits for an answer.
"""
import collections
import selectors
import socket
import threading
import time
from urllib.parse import urlsplit

PIECE = 1 << 16


class Delay:
    """Listens until it is stopped; `url` is the server's, through this proxy."""

    def __init__(self, url, round_trip_s):
        parts = urlsplit(url)
        self.server, self.half_s = (parts.hostname, parts.port), round_trip_s / 2
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{parts.scheme}://127.0.0.1:{self.listener.getsockname()[1]}{parts.path}"
        self.poll = selectors.DefaultSelector()
        self.poll.register(self.listener, selectors.EVENT_READ)
        self.late = collections.deque()  # (when, to whom, bytes): all are late by the same time, so in order.
        self.ends = {}
        self.wake, self.alarm = socket.socketpair()
        self.poll.register(self.wake, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.alarm.send(b"x")
        self.thread.join()
        for stream in [self.listener, self.wake, self.alarm, *self.ends]:
            stream.close()

    def _run(self):
        while True:
            wait = max(0.0, self.late[0][0] - time.perf_counter()) if self.late else None
            for key, _ in self.poll.select(wait):
                if key.fileobj is self.wake:
                    return
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._read(key.fileobj)
            while self.late and self.late[0][0] <= time.perf_counter():
                self._write(*self.late.popleft()[1:])

    def _accept(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(self.server)
        for stream, other in ((near, far), (far, near)):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ends[stream] = other
            self.poll.register(stream, selectors.EVENT_READ)

    def _read(self, stream):
        try:
            data = stream.recv(PIECE)
        except ConnectionError:
            data = b""
        if not data:
            self.poll.unregister(stream)
        self.late.append((time.perf_counter() + self.half_s, self.ends[stream], data))

    @staticmethod
    def _write(stream, data):
        try:
            if data:
                stream.sendall(data)
            else:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has gone: nobody waits for this.
