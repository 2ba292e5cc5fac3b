"""The two servers: a fast one for speed, the reference workspace for approvals."""
import http.client
import json
import os
import subprocess
import time
from urllib.parse import urlsplit

SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
TOKEN = "bench-token"
WORKSPACE_TOKEN = "mwt_bench_only_0123456789abcdef"


def bundle(ca_file):
    """The system's roots with ours behind them, as a managed machine has them."""
    path = ca_file + ".bundle"
    with open(path, "wb") as out:
        for part in (SYSTEM_ROOTS, ca_file):
            if os.path.exists(part):
                with open(part, "rb") as file:
                    out.write(file.read())
    return path


class Plain:
    """tests/bench's own server."""

    def __init__(self, program, folder, *options):
        self.ca_file = os.path.join(folder, "plain-ca.pem")
        self.process = subprocess.Popen([program, self.ca_file, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.url = self.process.stdout.readline().decode().strip()
        self.token = TOKEN
        self.bundle = bundle(self.ca_file)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Workspace:
    """The reference workspace, with its admin API and no rate limit."""

    def __init__(self, program, folder, *options):
        ready = os.path.join(folder, "workspace.json")
        if os.path.exists(ready):
            os.remove(ready)
        self.process = subprocess.Popen(
            [program, "--admin", "--rate-limit", "0", "--token", WORKSPACE_TOKEN, "--data", folder, "--ready-file", ready,
             *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not os.path.exists(ready):
            if self.process.poll() is not None:
                raise SystemExit("the reference workspace did not start")
            time.sleep(0.01)
        with open(ready) as file:
            facts = json.load(file)
        self.url, self.token, self.ca_file = facts["url"], facts["token"], facts["ca_file"]
        self.bundle = bundle(self.ca_file)
        admin = urlsplit(facts["admin_url"])
        self.base = admin.path
        self.headers = {"Authorization": f"Bearer {facts['admin_token']}", "Content-Type": "application/json"}
        self.admin = http.client.HTTPConnection(admin.hostname, admin.port, timeout=20)

    def ask(self, method, path, body=None):
        self.admin.request(method, self.base + path, json.dumps(body) if body is not None else None, self.headers)
        response = self.admin.getresponse()
        text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text[:200]!r}")
        return json.loads(text or b"null")

    def stop(self):
        self.process.terminate()
        self.process.wait()
