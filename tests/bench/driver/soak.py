"""python3 -m driver.soak: hours of work and trouble in one run, and what is left of the process after it."""
import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time

from . import procfs, servers, subjects
from .stdio import Bridge
from .work import Work

FLIGHT = 64
CALLS_A_SECOND = 400
# What a malloc keeps for itself may differ by this much between quarters.
SLACK = 128 << 10


class Trouble(threading.Thread):
    """Decides, talks, and breaks things, one a second; the same in each run with the same seed."""

    def __init__(self, workspace, seed):
        super().__init__(daemon=True)
        self.workspace, self.random, self.counts, self.failed = workspace, random.Random(seed), {}, None
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.wait(1):
                self.decide()
                self.turn()
            self.ask("DELETE", "/faults")
            self.ask("POST", "/outage", {"mode": "none"})
            # What hung in an outage is never answered: only its connection's end tells of it.
            self.ask("DELETE", "/connections")
            self.decide()
        except BaseException as error:  # noqa: B902: told by the main thread
            self.failed = error

    def ask(self, method, path, body=None):
        return self.workspace.ask(method, path, body)

    def decide(self):
        for approval in self.ask("GET", "/approvals?status=pending"):
            word = self.random.choice(("approve", "approve", "reject"))
            self.ask("POST", f"/approvals/{approval['approval_id']}/{word}", {})

    def fault(self, **fault):
        return lambda: self.ask("POST", "/faults", {"count": 3, "method": "tools/call", **fault})

    def away(self):
        self.ask("POST", "/outage", {"mode": self.random.choice(("refuse", "unavailable", "hang"))})
        self.over.wait(2)
        self.ask("POST", "/outage", {"mode": "none"})

    def turn(self):
        faults = [
            {"kind": "status", "status": 503}, {"kind": "reset"}, {"kind": "reset", "execute": True},
            {"kind": "slow"}, {"kind": "truncate"}, {"kind": "sse_cut"}, {"kind": "force_sse", "count": 50},
            {"kind": "delay", "ms": 700}, {"kind": "close_idle"}, {"kind": "half_chunk"}, {"kind": "duplicate"},
        ]
        turns = {fault["kind"]: self.fault(**fault) for fault in faults} | {
            "sessions": lambda: self.ask("DELETE", "/sessions"),
            "connections": lambda: self.ask("DELETE", "/connections"),
            "streams": lambda: self.ask("POST", "/streams/cut"),
            "websockets": lambda: self.ask("POST", "/websockets", {"action": "kill"}),
            "tools": lambda: self.ask("POST", "/notify", {"list": "tools"}),
            "chat": lambda: self.ask("POST", "/chat", {"text": "how far are you?"}),
            "outage": self.away,
        }
        name = self.random.choice(sorted(turns))
        self.counts[name] = self.counts.get(name, 0) + 1
        turns[name]()


def ask(work):
    """One more; which kind is in its number."""
    if work.next % 97 == 0:
        work.gated()
    elif work.next % 211 == 0:
        work.chat()
    else:
        work.add()


def sample(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.rstrip("\n").split(":", 1) for line in status)
    return procfs.memory(pid)[0], len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"])


def run(options, folder):
    workspace = servers.Workspace(os.path.join(options.tools, "aerostack-workspace"), folder)
    command, env = subjects.ours(options.program).start(workspace, folder)
    seconds = options.minutes * 60
    samples = []
    with Bridge(command, env, os.path.join(folder, "log"), seconds + 120) as bridge:
        work = Work(bridge.ready())
        trouble = Trouble(workspace, options.seed)
        trouble.start()
        began = time.monotonic()
        while (at := time.monotonic() - began) < seconds and trouble.is_alive():
            if len(samples) < at:
                samples.append(sample(bridge.pid))
            while len(work.open) < FLIGHT and work.asked() < at * CALLS_A_SECOND:
                ask(work)
            work.turn()
        trouble.over.set()
        # Whoever still waits for a person is decided about; nothing may stay open.
        last = time.monotonic() + 60
        while work.open and time.monotonic() < last:
            if not trouble.is_alive() and trouble.failed is None:
                trouble.decide()
            work.turn()
        lost = dict(work.open)
    executions = workspace.ask("GET", "/executions")
    workspace.stop()
    if trouble.failed:
        raise trouble.failed
    twice = [id for id, times in executions["approvals"].items() if times > 1]
    return work, trouble, samples, lost, twice, bridge.code


def report(outcome):
    work, trouble, samples, lost, twice, code = outcome
    quarters = [samples[len(samples) * at // 4:len(samples) * (at + 1) // 4] for at in range(4)]
    print("| quarter | RSS kB, median (most) | descriptors, median (most) | threads |")
    print("|---|---|---|---|")
    for at, quarter in enumerate(quarters, 1):
        rss, fds, threads = zip(*quarter)
        print(f"| {at} | {statistics.median(rss) / 1024:,.0f} ({max(rss) / 1024:,.0f}) "
              f"| {statistics.median(fds):.0f} ({max(fds)}) | {max(threads)} |")
    print(f"\nasked {work.asked():,}: {json.dumps(work.seen, sort_keys=True)}")
    print(f"trouble: {json.dumps(trouble.counts, sort_keys=True)}")
    print(f"lost {len(lost)}, wrong or doubled {len(work.wrong)}, executed twice {len(twice)}, exit code {code}")
    for wrong in work.wrong[:10]:
        print(f"  {wrong}")
    middle, last = quarters[1], quarters[3]
    grown = statistics.median(s[0] for s in last) - statistics.median(s[0] for s in middle)
    more = statistics.median(s[1] for s in last) - statistics.median(s[1] for s in middle)
    one = {s[2] for s in samples} == {1}
    flat = grown <= SLACK and more <= 4 and one
    print(f"grown between the second and the last quarter: {grown / 1024:.0f} kB, {more:.0f} descriptors; one thread: {one}")
    return 0 if flat and not (lost or work.wrong or twice or code) else 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Hours of work and trouble in one run.")
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="another order of troubles")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return report(run(options, folder))


if __name__ == "__main__":
    sys.exit(main())
