"""A bridge as its host sees it: a child with two pipes."""
import json
import os
import signal
import threading
import time

now = time.perf_counter
NEWLINE = b"\n"


class Gone(Exception):
    """The bridge ended, or had to be ended."""


def request(id, method, params=None):
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        message["params"] = params
    return json.dumps(message, separators=(",", ":")).encode()


def call(id, tool, **arguments):
    return request(id, "tools/call", {"name": tool, "arguments": arguments})


INITIALIZE = request(0, "initialize", {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}})
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class Bridge:
    """Started when it is made; `with` ends it. Nothing waits longer than `limit_s` in all."""

    def __init__(self, command, env, log, limit_s=120):
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1),
                   (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]
        self.log, self.code, self.rest, self.lines = log, None, [], []
        self.began = now()
        self.pid = os.posix_spawnp(command[0], command, env, file_actions=actions, setpgroup=0)
        os.close(stdin)
        os.close(stdout)
        self.watch = threading.Timer(limit_s, self.kill)
        self.watch.daemon = True
        self.watch.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def kill(self):
        """Ends this bridge, and the children it made in its own process group."""
        if self.code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def end(self, patience_s=6):
        """Closes stdin; what does not end by that is ended."""
        if self.code is not None:
            return
        self.watch.cancel()
        os.close(self.stdin)
        last = threading.Timer(patience_s, self.kill)
        last.start()
        while os.read(self.stdout, 1 << 20):
            pass
        _, self.code = os.waitpid(self.pid, 0)
        last.cancel()
        os.close(self.stdout)

    def send(self, message):
        message += NEWLINE
        try:
            while message:
                message = message[os.write(self.stdin, message):]
        except BrokenPipeError:
            raise Gone(self.why()) from None

    def line(self):
        while not self.lines:
            piece = os.read(self.stdout, 1 << 20)
            if not piece:
                raise Gone(self.why())
            first, *more = piece.split(NEWLINE)
            self.rest.append(first)
            if more:
                self.lines = [b"".join(self.rest), *more[:-1]]
                self.rest = [more[-1]]
        return self.lines.pop(0)

    def why(self):
        with open(self.log, errors="replace") as log:
            return "it ended, or was too slow: " + log.read()[-400:]

    def answer(self):
        """The next answer; notifications and requests of the server are passed over."""
        while True:
            line = self.line()
            if b'"result"' in line[:256] or b'"error"' in line[:256] or b'"result"' in line[-256:]:
                return line

    def ask(self, message):
        self.send(message)
        return self.answer()

    def open(self):
        """The handshake. Seconds from the start of the process to the answer."""
        answer = self.ask(INITIALIZE)
        took = now() - self.began
        if b'"protocolVersion"' not in answer:
            raise Gone(f"initialize was answered with {answer[:300]!r}")
        self.send(INITIALIZED)
        return took

    def list(self):
        """tools/list. Seconds from the start of the process to the answer."""
        answer = self.ask(request(1, "tools/list"))
        took = now() - self.began
        if b'"tools"' not in answer:
            raise Gone(f"tools/list was answered with {answer[:300]!r}")
        return took

    def ready(self):
        self.open()
        self.list()
        return self
