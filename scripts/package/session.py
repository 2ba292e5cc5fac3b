"""One MCP session between a packaged program and the reference workspace, over TLS on loopback."""
import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from .facts import PROGRAM, ROOT, TARGET, VERSION
from .files import Failed, run

TOKEN = "mwt_release"
# An emulated program on a busy machine.
SECONDS = 120


@contextlib.contextmanager
def workspace():
    """The reference workspace; gives {url, ca_file, …}."""
    run("cargo", "build", "--locked", "--quiet", "-p", "aerostack-workspace", "--bin", "aerostack-workspace", cwd=ROOT)
    with tempfile.TemporaryDirectory() as folder:
        # Containers read the CA file as another user.
        os.chmod(folder, 0o755)
        ready = Path(folder) / "ready.json"
        process = subprocess.Popen(
            [TARGET / "debug/aerostack-workspace", "--token", TOKEN, "--rate-limit", "0", "--data", folder, "--ready-file", ready],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            began = time.monotonic()
            while not ready.exists():
                if process.poll() is not None or time.monotonic() - began > SECONDS:
                    raise Failed("the reference workspace did not start")
                time.sleep(0.02)
            facts = json.loads(ready.read_text(encoding="utf-8"))
            yield facts
        finally:
            process.terminate()
            process.wait()


def settings(facts, ca_file=None):
    """What a program needs to reach the workspace. Nothing else of this shell's environment is passed on."""
    return {
        "PATH": os.environ["PATH"],
        "AEROSTACK_WORKSPACE_URL": facts["url"],
        "AEROSTACK_TOKEN": TOKEN,
        "SSL_CERT_FILE": ca_file or facts["ca_file"],
    }


def try_program(command, facts, env=None, alone=False, **options):
    """--version, --check and one session; says what was done."""
    env = settings(facts) if env is None else env
    command = [str(part) for part in command]
    done = run(*command, "--version", env=env, **options)
    if VERSION not in done:
        raise Failed(f"--version says {done!r}")
    done = run(*command, "--check", env=env, **options)
    if "All checks passed" not in done:
        raise Failed(f"--check says {done}")
    session(command, env, alone, **options)
    return "--version, --check, session" + (", no process beside ours" if alone else "")


def session(command, env, alone=False, **options):
    """The handshake, tools/list and a tool call; then stdin ends and so must the program.

    alone: the process that was started must have become the gateway itself.
    """
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=env, **options)
    answers, log = queue.Queue(), []
    readers = [threading.Thread(target=lambda: [answers.put(line) for line in process.stdout], daemon=True),
               threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)]
    for reader in readers:
        reader.start()

    def send(message):
        process.stdin.write(json.dumps({"jsonrpc": "2.0"} | message).encode() + b"\n")
        process.stdin.flush()

    def ask(number, method, params):
        send({"id": number, "method": method, "params": params})
        while True:
            answer = json.loads(answers.get(timeout=SECONDS))
            if answer.get("id") == number:
                return answer["result"]

    try:
        hello = ask(1, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                      "clientInfo": {"name": "release", "version": VERSION}})
        if hello["protocolVersion"] != "2025-06-18":
            raise Failed(f"initialize answered {hello}")
        send({"method": "notifications/initialized"})
        running = os.path.basename(os.readlink(f"/proc/{process.pid}/exe"))
        if alone and running != PROGRAM:
            raise Failed(f"the process that was started is {running}")
        names = [tool["name"] for tool in ask(2, "tools/list", {})["tools"]]
        if "demo__echo" not in names:
            raise Failed(f"tools/list answered {names}")
        said = ask(3, "tools/call", {"name": "demo__echo", "arguments": {"text": "packed and sent"}})
        if said["content"][0]["text"] != "packed and sent":
            raise Failed(f"tools/call answered {said}")
        process.stdin.close()
        if process.wait(timeout=SECONDS) != 0:
            raise Failed(f"ended with exit code {process.returncode}")
    except (Failed, queue.Empty, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as err:
        process.kill()
        process.wait()
        readers[1].join(1)
        text = b"".join(log).decode(errors="replace")
        raise Failed(f"the session failed: {err!r}\n{text}") from err
