"""python3 -m driver.networks: the gateway through networks as they are, and what a person's questions come to there."""
import argparse
import concurrent.futures
import json
import math
import os
import signal
import sys
import tempfile
import time

from . import servers, subjects, tunnel
from .link import Link
from .stdio import Bridge
from .work import Work

FAKETIME = "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1"
# A call whose answer the network has swallowed ends by this; it does not end a person's wait.
REQUEST_TIMEOUT_S = 20
# Whatever has not recovered by then is lost.
PATIENCE_S = 150
FLIGHT = 8
LOG = "stderr.log"


class Way:
    """Straight to the server. `breaks` and `mends` are what a scene does in the middle."""

    options = ()

    def __init__(self, at, scene):
        self.at, self.scene = at, scene

    def open(self, workspace, folder, options):
        self.pid = None
        return subjects.ours(options.program).start(workspace, folder)

    def started(self, pid):
        self.pid = pid

    def breaks(self):
        pass

    def mends(self):
        """False if nothing was mended: it has worked again since it broke."""
        return False

    def close(self):
        pass


class Proxy(Way):
    """Through our proxy on loopback."""

    def open(self, workspace, folder, options):
        self.link = Link(workspace.url, self.scene.round_trip_s)
        return subjects.ours(options.program).start(workspace, folder, self.link.url)

    def breaks(self):
        {"": lambda: None, "cut": self.link.cut, "forget": self.link.forget}[self.scene.trouble]()

    def mends(self):
        if self.scene.trouble == "cut":
            self.link.mend()
        return self.scene.trouble == "cut"

    def close(self):
        self.link.stop()


class Wire(Way):
    """Between two network namespaces."""

    def __init__(self, at, scene):
        super().__init__(at, scene)
        self.tunnel = tunnel.Tunnel(at, scene.round_trip_s, scene.loss)
        self.options = ("--listen", f"{self.tunnel.address}:0")

    def open(self, workspace, folder, options):
        command, env = super().open(workspace, folder, options)
        env |= {"PYTHONPATH": os.environ["PYTHONPATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        return self.tunnel.command(command), env

    def started(self, pid):
        super().started(pid)
        self.tunnel.open()

    def breaks(self):
        {"": lambda: None, "dark": self.tunnel.go_dark, "moves": self.tunnel.move}[self.scene.trouble]()

    def mends(self):
        self.tunnel.mend()
        return self.scene.trouble == "dark"

    def close(self):
        self.tunnel.stop()


class Sleep(Way):
    """A laptop whose lid is closed."""

    def breaks(self):
        os.kill(self.pid, signal.SIGSTOP)

    def mends(self):
        os.kill(self.pid, signal.SIGCONT)
        return True


class Clock(Way):
    """The wall clock jumps and stays there; the steady clock goes on."""

    def open(self, workspace, folder, options):
        self.file, self.log = os.path.join(folder, "clock"), os.path.join(folder, LOG)
        self._set("+0")
        command, env = subjects.ours(options.dynamic).start(workspace, folder)
        return command, env | {"LD_PRELOAD": faketime(), "FAKETIME_TIMESTAMP_FILE": self.file, "FAKETIME_NO_CACHE": "1",
                               "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                               "AEROSTACK_LOG_LEVEL": "debug"}

    def _set(self, offset):
        with open(self.file + ".new", "w") as out:
            out.write(offset)
        os.replace(self.file + ".new", self.file)

    def breaks(self):
        self._set(self.scene.trouble)

    def mends(self):
        with open(self.log) as lines:
            if len({line[:10] for line in lines}) < 2:
                raise AssertionError("the program's clock did not jump")
        return False


def faketime():
    return FAKETIME.format(os.uname().machine)


class Scene:
    """One network: calls all along, an approval that waits while it breaks."""

    def __init__(self, name, way, trouble="", round_trip_s=0.0, loss=0.0, seconds=90.0):
        self.name, self.way, self.trouble = name, way, trouble
        self.round_trip_s, self.loss, self.seconds = round_trip_s, loss, seconds

    def play(self, at, options, folder):
        way = self.way(at, self)
        workspace = servers.Workspace(os.path.join(options.tools, "aerostack-workspace"), folder, *way.options)
        try:
            command, env = way.open(workspace, folder, options)
            env["AEROSTACK_REQUEST_TIMEOUT"] = str(REQUEST_TIMEOUT_S)
            with Bridge(command, env, os.path.join(folder, LOG), self.seconds + 3 * PATIENCE_S) as bridge:
                way.started(bridge.pid)
                found = self.act(Timed(bridge.ready()), workspace, way)
            return found | {"code": bridge.code}
        finally:
            way.close()
            workspace.stop()

    def act(self, work, workspace, way):
        steady(work)
        gated = work.gated()
        pending = workspace.ask("GET", "/approvals?status=pending&min=1&timeout_ms=10000")
        workspace.ask("GET", "/websockets?min=2&timeout_ms=10000")  # The approval's and the chat's.
        works = time.monotonic()
        way.breaks()
        during(work, self.seconds / 2)
        decided = time.monotonic()
        workspace.ask("POST", f"/approvals/{pending[-1]['approval_id']}/approve", {})
        during(work, self.seconds / 2)
        if way.mends():
            works = time.monotonic()
        recover(work, gated, works)
        steady(work)
        while work.open and time.monotonic() - works < self.seconds + PATIENCE_S:
            work.turn()
        executions = workspace.ask("GET", "/executions")
        adds = work.asked() - 1
        twice = sum(times > 1 for times in executions["approvals"].values())
        return {"asked": work.asked(), "seen": work.seen, "lost": len(work.open), "wrong": work.wrong,
                "twice": twice + max(0, executions["tools"].get("demo__add", 0) - adds),
                "call_s": work.first_after(works), "approval_s": work.results.get(gated, PATIENCE_S) - max(works, decided),
                "approved": work.seen.get("gated: yes", 0) == 1}


class Timed(Work):
    """The same, and when each was asked and had its result."""

    def __init__(self, bridge):
        super().__init__(bridge)
        self.times, self.results = {}, {}

    def _send(self, wanted, message):
        self.times[self.next] = time.monotonic()
        return super()._send(wanted, message)

    def take(self, line):
        message = json.loads(line)
        if "result" in message:
            self.results[message.get("id")] = time.monotonic()
        super().take(line)

    def first_after(self, works):
        """Seconds from this moment until a call that was asked after it had its result."""
        return min((at for id, at in self.results.items() if self.times.get(id, 0) >= works), default=math.inf) - works


def steady(work):
    """Forty calls, eight at a time."""
    last = time.monotonic() + PATIENCE_S
    for _ in range(40):
        while len(work.open) >= FLIGHT and time.monotonic() < last:
            work.turn()
        work.add()


def during(work, seconds):
    """Two calls a second."""
    began, asked = time.monotonic(), 0
    while (at := time.monotonic() - began) < seconds:
        if asked <= at * 2:
            work.add()
            asked += 1
        work.turn()


def recover(work, gated, works):
    """Four calls a second until one of them and the approval have their results, and twelve at least."""
    began, asked, before = time.monotonic(), 0, set(work.results)
    while (at := time.monotonic() - began) < PATIENCE_S:
        news = [id for id in work.results if id not in before and work.times[id] >= max(began, works)]
        if asked >= 12 and news and gated not in work.open:
            return
        if asked <= at * 4 and asked < 4 * PATIENCE_S:
            work.add()
            asked += 1
        work.turn()


def scenes(quick):
    s = 2.0 if quick else 90.0
    short = 2.0 if quick else 10.0
    found = [
        Scene("proxy, 100 ms", Proxy, round_trip_s=0.1, seconds=short),
        Scene("proxy, 300 ms", Proxy, round_trip_s=0.3, seconds=short),
        Scene(f"proxy, cut and refused for {s:.0f} s", Proxy, "cut", 0.02, seconds=s),
        Scene(f"asleep for {s:.0f} s", Sleep, seconds=s),
        Scene("wire, 100 ms, 1 % lost", Wire, round_trip_s=0.1, loss=0.01, seconds=short),
        Scene("wire, 300 ms, 3 % lost", Wire, round_trip_s=0.3, loss=0.03, seconds=short),
        Scene(f"wire, dark for {s:.0f} s", Wire, "dark", 0.02, seconds=s),
        Scene("clock, a day ahead", Clock, "+86400", seconds=short),
        Scene("clock, a day back", Clock, "-86400", seconds=short),
    ]
    if not quick:  # It takes a minute until silence is noticed.
        found += [
            Scene("proxy, open connections forgotten", Proxy, "forget", 0.02, seconds=s),
            Scene("wire, another address", Wire, "moves", 0.02, seconds=s),
        ]
    return found


def left_out(scene):
    """Why this scene can not be played here, if so."""
    if scene.way is Wire and not os.environ.get("NETWORKS_NAMESPACE"):
        return "network namespaces and TUN devices are not allowed here"
    if scene.way is Clock and not os.path.exists(faketime()):
        return "libfaketime is missing (Debian's package faketime)"
    return None


def attempt(at, scene, options, folder):
    os.makedirs(folder)
    try:
        return scene.play(at, options, folder)
    except BaseException as error:  # noqa: B902: shown in its row
        return {"failed": f"{type(error).__name__}: {error}"}


COLUMNS = "network | asked | answered | errors | lost | wrong or doubled | executed twice | first call after s | approval after s"


def row(name, found):
    if "failed" in found:
        return f"| {name} | failed: {found['failed']} |", False
    errors = sum(count for what, count in found["seen"].items() if what.startswith("errors"))
    answered = sum(count for what, count in found["seen"].items() if what in ("calls answered", "gated: yes"))
    recovered = math.isfinite(found["call_s"])
    good = recovered and found["approved"] and not (found["lost"] or found["wrong"] or found["twice"] or found["code"])
    text = f"| {name} | {found['asked']} | {answered} | {errors} | {found['lost']} | {len(found['wrong'])} | {found['twice']} " \
           f"| {found['call_s']:.2f} | {found['approval_s']:.2f} |"
    return text + ("" if good else f" <- {found['seen']}, exit code {found['code']}, {found['wrong'][:3]}"), good


def main():
    parser = argparse.ArgumentParser(prog="scripts/networks", description="The gateway through networks as they are.")
    parser.add_argument("--quick", action="store_true", help="short cuts: does it work at all?")
    parser.add_argument("--only", default="", help="scenes with this in their name")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--dynamic", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tools", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.environ.get("NETWORKS_NAMESPACE"):
        with tunnel.control_socket() as control:
            tunnel.bring_up(control, "lo")
    wanted = [scene for scene in scenes(options.quick) if options.only in scene.name]
    played = [scene for scene in wanted if not left_out(scene)]
    all_good = True
    # Waiting is most of it, so all of them at once.
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(len(played) or 1) as pool:
        running = [pool.submit(attempt, at, scene, options, os.path.join(folder, str(at)))
                   for at, scene in enumerate(played, 1)]
        print(f"| {COLUMNS} |\n{'|---' * (COLUMNS.count('|') + 1)}|", flush=True)
        for scene, result in zip(played, running):
            text, good = row(scene.name, result.result())
            print(text, flush=True)
            all_good &= good
    for scene in wanted:
        if why := left_out(scene):
            print(f"left out: {scene.name}: {why}")
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
