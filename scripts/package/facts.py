"""What a release is: its version, its time, the platforms, and the names that its packages have."""
import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
DIST = Path(os.environ.get("RELEASE_DIST", TARGET / "dist"))
PROGRAM = "aerostack-gateway"
TITLE = "Aerostack Gateway"

# What a maintainer must own before the first release. Each can be set for a trial or a fork.
NPM_NAME = os.environ.get("RELEASE_NPM_NAME", "@aerostack/gateway")
PYPI_NAME = os.environ.get("RELEASE_PYPI_NAME", "aerostack-gateway")
IMAGE_NAME = os.environ.get("RELEASE_IMAGE_NAME", "ghcr.io/aerostack/aerostack-gateway")
# The MCP registry's: a reversed domain, and a name in it.
REGISTRY_NAME = os.environ.get("RELEASE_REGISTRY_NAME", "dev.aerostack/gateway")
REPOSITORY = os.environ.get("RELEASE_REPOSITORY", "https://github.com/aerostack/aerostack-gateway")
MAINTAINER = os.environ.get("RELEASE_MAINTAINER", "Aerostack <maintainers@aerostack.dev>")
HOMEPAGE = "https://aerostack.dev"

PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
VERSION = PACKAGE["workspace"]["package"]["version"]
RUST_VERSION = PACKAGE["workspace"]["package"]["rust-version"]
DESCRIPTION = PACKAGE["package"]["description"]
DOWNLOADS = f"{REPOSITORY}/releases/download/v{VERSION}"


@dataclass(frozen=True)
class Platform:
    """A target of rustc, and what everyone else calls it."""

    target: str
    # npm's os and cpu.
    os: str
    cpu: str
    # The platform part of a wheel's name, its tags joined by dots.
    wheel: str
    # `uname -m` there.
    machines: tuple[str, ...]
    debian: str = ""
    # OCI's architecture, and its variant.
    oci: tuple[str, str] = ("", "")
    # Runs its programs elsewhere.
    emulator: str = ""

    @property
    def npm(self):
        return f"{self.os}-{self.cpu}"

    @property
    def linux(self):
        return self.os == "linux"

    @property
    def binary(self):
        return TARGET / self.target / "release" / PROGRAM


def linux_wheel(machine):
    return f"manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"


PLATFORMS = (
    Platform("x86_64-unknown-linux-musl", "linux", "x64", linux_wheel("x86_64"), ("x86_64",),
             "amd64", ("amd64", ""), "qemu-x86_64-static"),
    Platform("aarch64-unknown-linux-musl", "linux", "arm64", linux_wheel("aarch64"), ("aarch64", "arm64"),
             "arm64", ("arm64", ""), "qemu-aarch64-static"),
    Platform("armv7-unknown-linux-musleabihf", "linux", "arm", linux_wheel("armv7l"), ("armv7l", "armv8l"),
             "armhf", ("arm", "v7"), "qemu-arm-static"),
    Platform("aarch64-apple-darwin", "darwin", "arm64", "macosx_11_0_arm64", ("arm64",)),
    Platform("x86_64-apple-darwin", "darwin", "x64", "macosx_11_0_x86_64", ("x86_64",)),
)


def this_platform():
    """The one whose programs run here; the first on any Linux that is none of them."""
    system, machine = os.uname().sysname.lower(), os.uname().machine
    return next((p for p in PLATFORMS if p.os == system and machine in p.machines), PLATFORMS[0])


def epoch():
    """The time of every file in a release: the commit's."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if not given:
        command = ["git", "-C", ROOT, "log", "-1", "--format=%ct"]
        given = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(given)


EPOCH = epoch()

# The settings that a person fills in, for those who ask for them: name, title, help, required, secret.
SETTINGS = (
    ("AEROSTACK_WORKSPACE_URL", "Workspace URL",
     "The URL of your workspace, or of any Streamable HTTP MCP server", True, False),
    ("AEROSTACK_TOKEN", "Token",
     "A token from the dashboard (mwt_…); none for a server that asks for no token", True, True),
    ("AEROSTACK_LOG_LEVEL", "Log level", "debug, info, warn or error", False, False),
)
