"""A link to a server far away: a proxy on loopback that hands every byte on half a round trip later, and breaks when told to.

Connecting costs nothing here. What breaks is a connection of TCP; packets are lost in `tunnel.py`.
"""
import collections
import heapq
import itertools
import selectors
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

PIECE = 1 << 16
# SO_LINGER on, zero seconds: a close is a reset.
RESET = struct.pack("ii", 1, 0)


class Relay:
    """A thread that hands on what it reads, later. `orders` are done by that thread, between two pieces."""

    def __init__(self, round_trip_s):
        self.half_s = round_trip_s / 2
        self.poll = selectors.DefaultSelector()
        self.late = []  # (when, a number for those of the same time, what to do)
        self.numbers = itertools.count()
        self.orders = collections.deque()
        self.wake, self.alarm = socket.socketpair()
        self.poll.register(self.wake, selectors.EVENT_READ, self._obey)
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)

    def order(self, what):
        self.orders.append(what)
        self.alarm.send(b"x")

    def stop(self):
        self.order(self._end)
        self.thread.join()
        self.wake.close()
        self.alarm.close()

    def after(self, seconds, what):
        heapq.heappush(self.late, (time.perf_counter() + seconds, next(self.numbers), what))

    def _end(self):
        self.running = False

    def _obey(self, wake):
        wake.recv(1)
        self.orders.popleft()()

    def _run(self):
        while self.running:
            wait = max(0.0, self.late[0][0] - time.perf_counter()) if self.late else None
            for key, _ in self.poll.select(wait):
                # An event before it may have unregistered this one.
                if key.fd in self.poll.get_map():
                    key.data(key.fileobj)
            while self.late and self.late[0][0] <= time.perf_counter():
                heapq.heappop(self.late)[2]()


class Link(Relay):
    """Listens until it is stopped; `url` is the server's, through this proxy."""

    def __init__(self, url, round_trip_s=0.0):
        super().__init__(round_trip_s)
        parts = urlsplit(url)
        self.server = (parts.hostname, parts.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{parts.scheme}://127.0.0.1:{self.listener.getsockname()[1]}{parts.path}"
        self.poll.register(self.listener, selectors.EVENT_READ, self._accept)
        self.ends = {}
        self.refusing = False
        self.thread.start()

    def cut(self):
        """Every connection is reset, and every new one, until `mend`."""
        self.order(lambda: self._cut(True))

    def forget(self):
        """Every connection is dead and nobody is told, as by a router that forgot them. New ones work."""
        self.order(self._forget)

    def mend(self):
        self.order(lambda: self._cut(False))

    def stop(self):
        super().stop()
        for stream in [self.listener, *self.ends]:
            stream.close()

    def _cut(self, refusing):
        self.refusing = refusing
        if refusing:
            for stream in list(self.ends):
                self._drop(stream)

    def _drop(self, stream):
        if self.ends.pop(stream, None) is None:
            return
        if stream in self.poll.get_map():
            self.poll.unregister(stream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        stream.close()

    def _forget(self):
        for stream in self.ends:
            self.ends[stream] = None

    def _accept(self, listener):
        near, _ = listener.accept()
        if self.refusing:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return near.close()
        far = socket.create_connection(self.server)
        for stream, other in ((near, far), (far, near)):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ends[stream] = other
            self.poll.register(stream, selectors.EVENT_READ, self._read)

    def _read(self, stream):
        try:
            data = stream.recv(PIECE)
        except ConnectionError:
            data = b""
        if not data:
            self.poll.unregister(stream)
        # All are late by the same time, so they stay in order.
        self.after(self.half_s, lambda: self._write(self.ends.get(stream), data))

    def _write(self, stream, data):
        if stream not in self.ends:
            return
        try:
            if data:
                stream.sendall(data)
            else:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has gone: nobody waits for this.
