"""python3 -m driver.budgets: the budgets that are no timings. Ends with 1 if one is exceeded."""
import argparse
import os
import re
import subprocess
import sys

from . import procfs, servers, subjects
from .measure import Bench

MEGA = 1_000_000
SIZE_MAX = 1_700_000
CRATES_MAX = 45
RSS_START_MAX = 3 * MEGA
RSS_CALLS_MAX = 4 * MEGA
# What the allocator may still take after 10,000 calls before it counts as growth.
GROWTH_MAX = 100_000
PEAK_MAX = 10 * MEGA * 1.3 + 4 * MEGA
SYSCALLS_MAX = 14
INSTRUCTIONS_TOLERANCE = 0.10
CODEC_ROUNDS = (1, 5)

failures = []


def judge(what, value, limit, unit="", digits=0):
    kept = value <= limit
    print(f"{'ok  ' if kept else 'OVER'} {what}: {value:,.{digits}f} {unit} (at most {limit:,.{digits}f})", flush=True)
    if not kept:
        failures.append(what)


def report(what, value, unit="", digits=2):
    print(f"     {what}: {value:,.{digits}f} {unit}", flush=True)


def dependencies():
    tree = subprocess.run(["cargo", "tree", "--locked", "-p", "aerostack-gateway", "-e", "normal", "--prefix", "none"],
                          check=True, capture_output=True, text=True).stdout
    crates = {tuple(line.split()[:2]) for line in tree.splitlines() if line} - {("", "")}
    judge("crates of the gateway", sum(name != "aerostack-gateway" for name, _ in crates), CRATES_MAX)


def memory(bench, calls):
    with bench.bridge(3600) as bridge:
        bridge.open()
        judge("RSS after initialize over HTTPS", procfs.memory(bridge.pid)[0] / MEGA, RSS_START_MAX / MEGA, "MB", 2)
        bridge.list()
        bench.fly(bridge, 10_000, 8, 600)
        early = procfs.memory(bridge.pid)[0]
        judge("RSS after 10,000 calls", early / MEGA, RSS_CALLS_MAX / MEGA, "MB", 2)
        bench.fly(bridge, calls - 10_000, 8, 3600)
        judge(f"growth from there to {calls:,} calls", (procfs.memory(bridge.pid)[0] - early) / 1e3, GROWTH_MAX / 1e3, "kB")


def burst(bench):
    """64 in flight are 64 connections; what they held is given back or used again."""
    with bench.bridge(300) as bridge:
        bridge.ready()
        bench.fly(bridge, 10_000, 64, 120)
        report("RSS after 10,000 calls, 64 in flight", procfs.memory(bridge.pid)[0] / MEGA, "MB")


def large(bench):
    for tool, kind in (("big", "JSON"), ("big_sse", "an event")):
        with bench.bridge(120) as bridge:
            bridge.ready()
            bench._large(bridge.ask, tool, kind, 3)
            now, most = procfs.memory(bridge.pid)
            judge(f"peak of a 10 MB result as {kind}", most / MEGA, PEAK_MAX / MEGA, "MB", 2)
            judge(f"RSS after a 10 MB result as {kind}", now / MEGA, RSS_CALLS_MAX / MEGA, "MB", 2)


def syscalls(bench, folder):
    totals = []
    program = bench.subject.command
    for count in (100, 1_100):
        trace = os.path.join(folder, "syscalls")
        bench.subject.command = ["strace", "-f", "-c", "-o", trace, *program]
        with bench.bridge(120) as bridge:
            bridge.ready()
            bench._sequence(bridge.ask, "echo", count)
        with open(trace) as file:
            totals.append(int(re.search(r"(\d+)(?:\s+\d+)?\s+total$", file.read(), re.M).group(1)))
    bench.subject.command = program
    judge("system calls per small call", (totals[1] - totals[0]) / 1_000, SYSCALLS_MAX, "", 2)


def idle(bench):
    found = bench.idle(4)
    judge("wake-ups a second against a plain server", found["wakeups_per_s"], 0, "", 2)


def workspace(bench):
    """Heartbeats and the chat's socket are on with a workspace's token."""
    with bench.bridge(120) as bridge:
        bridge.ready()
        bench.server.ask("GET", "/websockets?min=1&timeout_ms=10000")
        report("RSS with a workspace token, chat socket open", procfs.memory(bridge.pid)[0] / MEGA, "MB")


def codecs(program, recorded, record):
    with open("/proc/cpuinfo") as info:
        if " avx2" not in info.read():
            return print("     instructions of the codecs: recorded with AVX2, which this machine lacks; not judged")
    names = subprocess.run([program, "names"], check=True, capture_output=True, text=True).stdout.split()
    counts = {name: instructions(program, name) for name in names}
    if record:
        with open(recorded, "w") as out:
            out.write("# Instructions per round of tests/bench/src/codecs.rs. Written by: scripts/check-budgets --record\n")
            out.writelines(f"{name} {count}\n" for name, count in counts.items())
        return print(f"     instructions of the codecs written to {recorded}")
    with open(recorded) as file:
        known = dict(line.split() for line in file if not line.startswith("#"))
    for name, count in counts.items():
        allowed = int(known[name]) * (1 + INSTRUCTIONS_TOLERANCE)
        judge(f"instructions of {name}", count / 1e3, allowed / 1e3, "thousand")


def instructions(program, name):
    """Of one round: two runs, so that the start is not counted."""
    counts = []
    for rounds in CODEC_ROUNDS:
        run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, str(rounds)],
                             check=True, capture_output=True, text=True)
        counts.append(int(re.search(r"Collected : (\d+)", run.stderr).group(1)))
    return (counts[1] - counts[0]) // (CODEC_ROUNDS[1] - CODEC_ROUNDS[0])


def main():
    parser = argparse.ArgumentParser(prog="scripts/check-budgets")
    parser.add_argument("--calls", type=int, default=50_000, help="how many calls must not let memory grow")
    parser.add_argument("--record", action="store_true", help="write down the codecs' instruction counts of now")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--codecs", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = os.path.join(options.folder, "budgets")
    os.makedirs(folder, exist_ok=True)

    static = "musl" in options.program
    print(f"{options.program}{'' if static else ': not static, so its memory is reported with the limits of the static one'}")
    if "x86_64" in options.program and static:
        judge("size", os.path.getsize(options.program), SIZE_MAX, "bytes")
    dependencies()
    plain = servers.Plain(os.path.join(options.tools, "bench-server"), folder)
    reference = servers.Workspace(os.path.join(options.tools, "aerostack-workspace"), folder)
    try:
        bench = Bench(subjects.ours(options.program), plain, folder)
        memory(bench, options.calls)
        burst(bench)
        large(bench)
        syscalls(bench, folder)
        idle(bench)
        workspace(Bench(bench.subject, reference, folder))
    finally:
        plain.stop()
        reference.stop()
    codecs(options.codecs, "tests/bench/instructions.txt", options.record)
    if failures and static:
        sys.exit(f"over budget: {', '.join(failures)}")
    if any(what.startswith(("instructions", "crates", "system calls", "growth", "wake-ups")) for what in failures):
        sys.exit(f"over budget: {', '.join(failures)}")


if __name__ == "__main__":
    main()
