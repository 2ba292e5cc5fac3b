"""A host's side of long runs: what it has asked, and what came back."""
import json
import select

from .stdio import call

TOOL, GATED, CHAT = "demo__add", "files__delete", "aerostack__agent_chat"


class Work:
    """Every question is kept until its answer has come; `wrong` says what should never be."""

    def __init__(self, bridge):
        self.bridge, self.open, self.next, self.seen = bridge, {}, 10, {}
        self.wrong = []

    def add(self):
        self.next += 1
        return self._send(str(self.next + 7), call(self.next, TOOL, a=self.next, b=7))

    def gated(self):
        self.next += 1
        return self._send("gated", call(self.next, GATED, path=f"/tmp/work-{self.next}"))

    def chat(self):
        self.next += 1
        return self._send("chat", call(self.next, CHAT, action="read"))

    def asked(self):
        return self.next - 10

    def _send(self, wanted, message):
        self.open[self.next] = wanted
        self.bridge.send(message)
        return self.next

    def count(self, what):
        self.seen[what] = self.seen.get(what, 0) + 1

    def take(self, line):
        message = json.loads(line)
        if message.get("method"):
            return self.count("notifications and questions")
        wanted = self.open.pop(message.get("id"), None)
        if wanted is None:
            return self.wrong.append(f"an answer that nobody waits for: {line[:200]!r}")
        if "error" in message:
            executed = (message["error"].get("data") or {}).get("executed")
            if not message["error"].get("message"):
                self.wrong.append(f"an error without words: {line[:200]!r}")
            return self.count(f"errors: executed {executed}")
        text = "".join(item.get("text", "") for item in message["result"].get("content", []))
        if wanted in ("gated", "chat"):
            return self.count(f"{wanted}: {'no' if message['result'].get('isError') else 'yes'}")
        if wanted not in text:
            self.wrong.append(f"{message['id']}: {text[:200]!r}")
        self.count("calls answered")

    def turn(self, seconds=0.01):
        """What has come within so many seconds."""
        if not self.bridge.lines and not select.select([self.bridge.stdout], [], [], seconds)[0]:
            return
        self.take(self.bridge.line())
        while self.bridge.lines:
            self.take(self.bridge.line())
