"""What is measured of a bridge, one function each. Times are seconds, memory is bytes."""
import os
import statistics
import time

from . import direct, link, procfs
from .stdio import Bridge, call, now

TEXT = ('say "hello" to them ' * 5)[:100]
MEGABYTE = 1_000_000
ROUND_TRIP_S = 0.1


def echo(id, tool="echo"):
    return call(id, tool, text=TEXT)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Bench:
    """A subject at a server. `subject` None is the direct client."""

    def __init__(self, subject, server, folder):
        self.subject, self.server = subject, server
        self.home = os.path.join(folder, "home")
        self.log = os.path.join(folder, "stderr.log")
        os.makedirs(self.home, exist_ok=True)
        self.target = direct.Target(server.url, server.ca_file, server.token)

    def bridge(self, limit_s=120):
        command, env = self.subject.start(self.server, self.home)
        return Bridge(command, env, self.log, limit_s)

    def start(self, rounds):
        """From the start of the process to the first answers; the first round warms the caches."""
        if self.subject is None:
            return {"initialize_s": statistics.median(direct.start_seconds(self.target) for _ in range(rounds))}
        opened, listed, cpu = [], [], []
        for _ in range(rounds + 1):
            with self.bridge() as bridge:
                opened.append(bridge.open())
                listed.append(bridge.list())
                cpu.append(procfs.cpu_seconds(bridge.pid))
        return {"initialize_s": statistics.median(opened[1:]), "list_s": statistics.median(listed[1:]),
                "start_cpu_s": statistics.median(cpu[1:])}

    def round_trips(self, rounds):
        """How often the server's answer is waited for, through a link of 100 ms: from the start of the
        process to the answers to initialize and to tools/list (written at once with `initialized`, as hosts
        do), and for one call. The time of the same start without the delay is taken off."""
        near = self._trips(self.server.url, rounds)
        far_away = link.Link(self.server.url, ROUND_TRIP_S)
        try:
            far = self._trips(far_away.url, rounds)
        finally:
            far_away.stop()
        return {f"trips_{name}": (far[name] - near[name]) / ROUND_TRIP_S for name in near}

    def _trips(self, url, rounds):
        """Seconds to each of the three answers."""
        took = {"initialize": [], "list": [], "call": []}
        for _ in range(rounds):
            command, env = self.subject.start(self.server, self.home, url)
            with Bridge(command, env, self.log) as bridge:
                took["initialize"].append(bridge.open())
                took["list"].append(bridge.list())
                time.sleep(2 * ROUND_TRIP_S)  # `initialized` has been accepted, whatever that took.
                began = now()
                bridge.ask(echo(10))
                took["call"].append(now() - began)
        return {name: statistics.median(values) for name, values in took.items()}

    def calls(self, count):
        """One call after the other: latency for JSON and event streams; memory on the way."""
        if self.subject is None:
            client = direct.opened(self.target)
            took = {tool: self._sequence(client.ask, tool, count) for tool in ("echo", "echo_sse")}
            client.close()
            return self._latencies(took)
        with self.bridge() as bridge:
            bridge.ready()
            time.sleep(0.5)  # What a runtime does after its start is not part of a call.
            found = {"rss_start": procfs.memory(bridge.pid)[0]}
            cpu = procfs.cpu_seconds(bridge.pid)
            took = {"echo": self._sequence(bridge.ask, "echo", count)}
            found["cpu_per_call_s"] = (procfs.cpu_seconds(bridge.pid) - cpu) / count
            found["rss_calls"] = procfs.memory(bridge.pid)[0]
            took["echo_sse"] = self._sequence(bridge.ask, "echo_sse", count)
            return found | self._latencies(took)

    @staticmethod
    def _sequence(ask, tool, count):
        took = []
        for id in range(count):
            message = echo(id + 10, tool)
            began = now()
            answer = ask(message)
            took.append(now() - began)
        if b"hello" not in answer:
            raise SystemExit(f"not the echo: {answer[:300]!r}")
        return took

    @staticmethod
    def _latencies(took):
        names = {"echo": "json", "echo_sse": "sse"}
        return {f"{names[tool]}_{name}_s": percentile(values, share)
                for tool, values in took.items() for name, share in (("p50", 0.5), ("p99", 0.99))}

    def flight(self, count, width=64, limit_s=15):
        """Calls a second with so many in flight, and the memory after them."""
        if self.subject is None:
            return {"calls_per_s": count / direct.flight_seconds(self.target, count, width, lambda n: echo(n + 10))}
        with self.bridge() as bridge:
            bridge.ready()
            took, done = self.fly(bridge, count, width, limit_s)
            return {"calls_per_s": done / took, "rss_flight": procfs.memory(bridge.pid)[0]}

    @staticmethod
    def fly(bridge, count, width=64, limit_s=15):
        """Seconds and calls; a slow bridge is stopped at the limit."""
        sent = done = 0
        began = now()
        while done < count:
            if sent < count and now() - began > limit_s:
                count = sent
            room = min(count - sent, width - (sent - done))
            if room > 0:
                bridge.send(b"\n".join(echo(n + 10) for n in range(sent, sent + room)))
                sent += room
            bridge.answer()
            done += 1
            while bridge.lines:
                bridge.answer()
                done += 1
        return now() - began, done

    def large(self, rounds):
        """1 and 10 MB results, as JSON and as an event; the most memory that took."""
        found = {}
        for tool, kind in (("big", "json"), ("big_sse", "sse")):
            if self.subject is None:
                client = direct.opened(self.target)
                found |= self._large(client.ask, tool, kind, rounds)
                client.close()
                continue
            with self.bridge() as bridge:
                bridge.ready()
                found |= self._large(bridge.ask, tool, kind, rounds)
                found[f"peak_{kind}"] = procfs.memory(bridge.pid)[1]
                found[f"rss_{kind}"] = procfs.memory(bridge.pid)[0]
        return found

    @staticmethod
    def _large(ask, tool, kind, rounds):
        found = {}
        for megabytes in (1, 10):
            took = []
            for id in range(rounds):
                message = call(id + 10, tool, bytes=megabytes * MEGABYTE)
                began = now()
                answer = ask(message)
                took.append(now() - began)
                if len(answer) < megabytes * MEGABYTE:
                    raise SystemExit(f"not {megabytes} MB: {answer[:300]!r}")
                answer = None
            found[f"{kind}_{megabytes}mb_s"] = statistics.median(took)
        return found

    def idle(self, seconds, settle_s=3):
        """Wake-ups a second of a bridge that nobody talks to."""
        with self.bridge() as bridge:
            bridge.ready()
            time.sleep(settle_s)
            before, cpu = procfs.wakeups(bridge.pid), procfs.cpu_seconds(bridge.pid)
            time.sleep(seconds)
            return {"wakeups_per_s": (procfs.wakeups(bridge.pid) - before) / seconds,
                    "idle_cpu": (procfs.cpu_seconds(bridge.pid) - cpu) / seconds}

    def approvals(self, rounds):
        """From the decision to the result, at the reference workspace."""
        tool, took = "files__delete", []
        ask, gated = self.server.ask, {"path": "notes/old.md"}

        def decide(approval):
            began = now()
            ask("POST", f"/approvals/{approval}/approve", {})
            return began

        if self.subject is None:
            by_hand = direct.Approver(self.target)
            for round in range(rounds):
                approval, finish = by_hand.wait_for(10 + 2 * round, tool, gated)
                began = decide(approval)
                took.append(finish()[0] - began)
        else:
            with self.bridge() as bridge:
                bridge.ready()
                for round in range(rounds):
                    bridge.send(call(10 + round, tool, **gated))
                    pending = ask("GET", "/approvals?status=pending&min=1&timeout_ms=10000")
                    ask("GET", "/websockets?min=2&timeout_ms=10000")  # The approval's and the chat's.
                    began = decide(pending[-1]["approval_id"])
                    bridge.answer()
                    took.append(now() - began)
        return {"approval_p50_s": percentile(took, 0.5), "approval_p99_s": percentile(took, 0.99)}
