"""python3 -m driver.scale: what more of everything costs, and how that grows."""
import argparse
import math
import os
import statistics
import sys
import tempfile
import threading
import time

from . import procfs, servers, subjects
from .stdio import Bridge, Gone, call, now, request
from .work import GATED

LIMIT_S = 60
MEGA = 1_000_000
# What costs twice as much where there is twice as much of it has 1; a little more is what caches forget.
CPU_EXPONENT, MEMORY_EXPONENT = 1.2, 1.1


class Point:
    """One measurement: seconds, seconds of processor, most bytes of memory."""

    def __init__(self, wall, cpu, peak):
        self.wall, self.cpu, self.peak = wall, cpu, peak


def measured(bridge, rounds, once):
    """The median of `once`, after one that warms the caches."""
    once()
    before, took = procfs.cpu_seconds(bridge.pid), []
    for _ in range(rounds):
        began = now()
        once()
        took.append(now() - began)
    cpu = (procfs.cpu_seconds(bridge.pid) - before) / rounds
    return Point(statistics.median(took), cpu, procfs.memory(bridge.pid)[1])


def together(bridge, messages):
    """All of them written at once; returns when all are answered."""
    sender = threading.Thread(target=bridge.send, args=(b"\n".join(messages),))
    sender.start()
    for _ in messages:
        bridge.answer()
    sender.join()


class Scale:
    """What grows, how far, and in which steps. Each step is a server and a bridge of its own."""

    unit, steps, quick = "", (), ()
    peers = True

    def server(self, options, folder, n):
        return servers.Plain(os.path.join(options.tools, "bench-server"), folder)

    def measure(self, bridge, server, n):
        raise NotImplementedError

    def point(self, options, subject, folder, n):
        server = self.server(options, folder, n)
        try:
            command, env = subject.start(server, folder)
            with Bridge(command, env, os.path.join(folder, "stderr.log"), LIMIT_S) as bridge:
                bridge.open()
                return self.measure(bridge, server, n)
        finally:
            server.stop()


class Flight(Scale):
    """So many calls written at once."""

    unit, steps, quick = "calls at once", (1, 16, 64, 256, 1024, 4096), (1, 64)

    def measure(self, bridge, server, n):
        messages = [call(id + 10, "echo", text="say hello") for id in range(n)]
        return measured(bridge, max(3, 4096 // n // 4), lambda: together(bridge, messages))


class Tools(Scale):
    """A list of so many tools."""

    unit, steps, quick = "tools listed", (1, 10, 100, 1_000, 10_000), (1, 100)

    def server(self, options, folder, n):
        return servers.Plain(os.path.join(options.tools, "bench-server"), folder, "--tools", str(n))

    def measure(self, bridge, server, n):
        def once():
            answer = bridge.ask(request(10, "tools/list"))
            if answer.count(b'"tool_') != n:
                raise SystemExit(f"{answer.count(b'tool_')} tools instead of {n}")

        return measured(bridge, 5, once)


class Results(Scale):
    """A result of so many bytes."""

    unit, steps, quick = "bytes of a result", (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 60_000_000), (1_000, 100_000)

    def measure(self, bridge, server, n):
        message = call(10, "big", bytes=n)

        def once():
            answer = bridge.ask(message)
            if len(answer) < n:
                raise SystemExit(f"not {n} bytes: {answer[:200]!r}")

        return measured(bridge, 3, once)


class Requests(Scale):
    """Arguments of so many bytes."""

    unit, steps, quick = "bytes of arguments", Results.steps, Results.quick

    def measure(self, bridge, server, n):
        message = call(10, "big", bytes=1, more="x" * n)

        def once():
            if b'"result"' not in (answer := bridge.ask(message)):
                raise SystemExit(f"no result: {answer[:200]!r}")

        return measured(bridge, 3, once)


class Approvals(Scale):
    """So many calls that wait for a person, then the decisions. Past 64 sockets the poll finds them: the wall time is its."""

    unit, steps, quick = "approvals at once", (1, 10, 100, 1_000), (1, 10)
    peers = False

    def server(self, options, folder, n):
        return servers.Workspace(os.path.join(options.tools, "aerostack-workspace"), folder)

    def measure(self, bridge, server, n):
        cpu = procfs.cpu_seconds(bridge.pid)
        bridge.send(b"\n".join(call(id + 10, GATED, path=f"/tmp/scale-{id}") for id in range(n)))
        pending = server.ask("GET", f"/approvals?status=pending&min={n}&timeout_ms=10000")
        began = now()
        for approval in pending:
            server.ask("POST", f"/approvals/{approval['approval_id']}/approve", {})
        for _ in range(n):
            bridge.answer()
        return Point(now() - began, procfs.cpu_seconds(bridge.pid) - cpu, procfs.memory(bridge.pid)[1])


def exponent(points, what):
    """The slope of the last three points in logarithms: what is fixed matters least there."""
    last = [(math.log(n), math.log(getattr(point, what))) for n, point in points[-3:] if point]
    if len(last) < 3:
        return None
    (xs, ys) = zip(*last)
    return statistics.linear_regression(xs, ys).slope


def cell(point):
    if point is None:
        return "–"
    return f"{point.wall * 1e3:,.1f} / {point.cpu * 1e3:,.1f} / {point.peak / MEGA:,.1f}"


def progress(text):
    print(f"scale: {time.strftime('%T')} {text} (load {procfs.load():.1f})", file=sys.stderr, flush=True)


def table(scale, options, everybody, folder):
    """Prints it; what failed of ours, in words."""
    subjects_, steps = (everybody if scale.peers else everybody[:1]), scale.quick if options.quick else scale.steps
    found = {subject.name: [] for subject in subjects_}
    wrong = []
    for n in steps:
        for subject in subjects_:
            progress(f"{n:,} {scale.unit}: {subject.name}")
            try:
                point = scale.point(options, subject, folder, n)
            except (Gone, SystemExit) as error:
                point = None
                if subject is everybody[0]:
                    wrong.append(f"{n:,} {scale.unit}: {error}")
                else:
                    progress(f"  gave up: {' '.join(str(error).split())[-200:]}")
            found[subject.name].append((n, point))
    print(f"\n| {scale.unit} | " + " | ".join(found) + f" |\n|---{'|---' * len(found)}|")
    for at, n in enumerate(steps):
        print(f"| {n:,} | " + " | ".join(cell(points[at][1]) for points in found.values()) + " |")
    kinds = ("wall", "cpu", "peak")
    grown = {name: [exponent(points, what) for what in kinds] for name, points in found.items()}
    print("| exponent | " + " | ".join(" / ".join("–" if e is None else f"{e:.2f}" for e in es) for es in grown.values()) + " |",
          flush=True)
    _, cpu, memory = grown[everybody[0].name]
    for what, value, limit in (("processor time", cpu, CPU_EXPONENT), ("memory", memory, MEMORY_EXPONENT)):
        if value is not None and value > limit:
            wrong.append(f"{scale.unit}: {what} grows with exponent {value:.2f}, allowed {limit}")
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="scripts/scale", description="What more of everything costs.")
    parser.add_argument("--quick", action="store_true", help="two small steps and no peers: does it work at all?")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    peers = [] if options.quick else subjects.peers(options.folder)[:2]
    everybody = [subjects.ours(options.program), *peers]
    wrong = []
    print("Each cell: milliseconds / milliseconds of processor / most MB of memory")
    with tempfile.TemporaryDirectory() as folder:
        for scale in (Flight(), Tools(), Results(), Requests(), Approvals()):
            wrong += table(scale, options, everybody, folder)
    for line in wrong:
        print(f"scale: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
