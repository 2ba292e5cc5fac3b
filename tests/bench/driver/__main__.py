"""python3 -m driver: all subjects in one run, a table on stdout, everything in a JSON file."""
import argparse
import json
import os
import platform
import sys
import time

from . import procfs, servers, subjects, table
from .measure import Bench
from .stdio import Gone


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures the gateway beside its peers.")
    parser.add_argument("--quick", action="store_true", help="few rounds and no peers: does it work at all?")
    parser.add_argument("--no-peers", action="store_true", help="the gateway and the direct client alone")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement (5; quick: 1)")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


class Plan:
    """How much of everything; slow peers get less of it, so that the run ends."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (1 if quick else 5)
        self.starts = 3 if quick else 10
        self.calls = 200 if quick else 2_000
        self.flight = 2_000 if quick else 20_000
        self.large = 2 if quick else 5
        self.idle_s = 2 if quick else 20
        self.approvals = 3 if quick else 60
        self.trips = 1 if quick else 5


def attempt(bench, results, name, *values):
    """One measurement; a bridge that can not do it has that in its results."""
    try:
        for key, value in getattr(bench, name)(*values).items():
            results.setdefault(key, []).append(value)
    except (Gone, SystemExit) as error:
        results.setdefault("failed", {})[name] = str(error)[-300:]


def progress(text):
    print(f"bench: {time.strftime('%T')} {text} (load {procfs.load():.1f})", file=sys.stderr, flush=True)


def run(options, plan, folder):
    plain = servers.Plain(os.path.join(options.tools, "bench-server"), folder)
    # No TLS: its handshake is a round trip more for everybody.
    distant = servers.Plain(os.path.join(options.tools, "bench-server"), folder, "--http")
    workspace = servers.Workspace(os.path.join(options.tools, "aerostack-workspace"), folder)
    mine = subjects.ours(options.program)
    others = [] if options.quick or options.no_peers else subjects.peers(os.path.dirname(folder))
    relay = subjects.relay(options.tools)
    everybody = [None, relay, mine, *others]
    results = {subject.name if subject else "direct": {} for subject in everybody}
    try:
        # Round by round and side by side: what disturbs one disturbs its neighbour, too.
        for round in range(plan.rounds):
            for subject in everybody:
                name = subject.name if subject else "direct"
                if subject in others and round > 1:
                    continue
                progress(f"round {round + 1}: {name}")
                bench, found = Bench(subject, plain, folder), results[name]
                attempt(bench, found, "start", plan.starts if subject not in others else 3)
                attempt(bench, found, "calls", plan.calls if subject not in others else plan.calls // 2)
                if subject is not relay:  # It has one at a time.
                    attempt(bench, found, "flight", plan.flight)
                attempt(bench, found, "large", plan.large if subject not in others else 1)
                if subject in (None, mine):
                    attempt(Bench(subject, workspace, folder), found, "approvals", plan.approvals)
        for subject in everybody[2:]:
            progress(f"idle: {subject.name}")
            attempt(Bench(subject, plain, folder), results[subject.name], "idle", plan.idle_s)
            progress(f"round trips: {subject.name}")
            attempt(Bench(subject, distant, folder), results[subject.name], "round_trips", plan.trips)
            results[subject.name]["disk_bytes"] = sum(map(procfs.disk, subject.disk))
            results[subject.name]["needs"] = subject.needs
        progress("memory of many calls")
        grown = Bench(mine, plain, folder)
        with grown.bridge() as bridge:
            bridge.ready()
            memory = {"calls_0": procfs.memory(bridge.pid)[0]}
            done = 0
            for step in (1_000, 10_000) if not options.quick else (1_000,):
                grown.fly(bridge, step - done, 8, 60)
                done = step
                memory[f"calls_{step}"] = procfs.memory(bridge.pid)[0]
            results[mine.name]["rss"] = memory
    finally:
        plain.stop()
        distant.stop()
        workspace.stop()
    return results


def main():
    options = arguments()
    folder = os.path.join(options.folder, "run")
    os.makedirs(folder, exist_ok=True)
    plan = Plan(options.quick, options.rounds)
    load = procfs.load()
    results = run(options, plan, folder)
    record = {
        "date": time.strftime("%Y-%m-%d %H:%M"), "load_before": load, "load_after": procfs.load(),
        "machine": {"processors": os.cpu_count(), "model": table.processor(), "kernel": platform.release()},
        "program": {"path": os.path.relpath(options.program), "bytes": os.path.getsize(options.program)},
        "plan": vars(plan), "results": results,
    }
    with open(os.path.join(os.path.dirname(options.folder), "bench.json"), "w") as out:
        json.dump(record, out, indent=1)
    print(table.markdown(record))
    if results["aerostack-gateway"].get("failed"):
        raise SystemExit(f"bench: the gateway failed: {results['aerostack-gateway']['failed']}")


main()
