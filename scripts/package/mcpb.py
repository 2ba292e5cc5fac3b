"""The extension for Claude Desktop: one file with the programs of all its platforms and a form of settings."""
from .facts import (DESCRIPTION, DIST, HOMEPAGE, MAINTAINER, PLATFORMS, PROGRAM, REPOSITORY, ROOT, SETTINGS, TITLE,
                    VERSION)
from .files import json_bytes, zip_file

FILE = DIST / f"{PROGRAM}-{VERSION}.mcpb"
# Where Claude Desktop runs.
CPUS = ("x64", "arm64")


def platforms_of(platforms):
    return [platform for platform in platforms if platform.cpu in CPUS]


def manifest():
    # An extension is chosen by system, not by processor: the launcher looks at the latter.
    systems = sorted({platform.os for platform in platforms_of(PLATFORMS)})
    form = {}
    for name, title, text, required, secret in SETTINGS:
        field = {"type": "string", "title": title, "description": text, "required": required}
        if secret:
            field["sensitive"] = True
        if not required:
            field["default"] = "info"
        form[name.lower()] = field
    return {
        "manifest_version": "0.3",
        "name": PROGRAM,
        "display_name": TITLE,
        "version": VERSION,
        "description": DESCRIPTION,
        "author": {"name": MAINTAINER.split(" <", 1)[0], "url": HOMEPAGE},
        "repository": {"type": "git", "url": REPOSITORY},
        "homepage": HOMEPAGE,
        "license": "MIT",
        "keywords": ["mcp", "aerostack", "approvals"],
        "server": {
            "type": "binary",
            "entry_point": "server/launch.sh",
            "mcp_config": {
                "command": "/bin/sh",
                "args": ["${__dirname}/server/launch.sh"],
                "env": {name: f"${{user_config.{name.lower()}}}" for name, *_ in SETTINGS},
            },
        },
        # The workspace has them.
        "tools_generated": True,
        "compatibility": {"platforms": systems},
        "user_config": form,
    }


LAUNCHER = f"""#!/bin/sh
# Becomes the program for this machine's system and processor.
system=$(uname -s) machine=$(uname -m)
case $system-$machine in
@CASES@  *)
    echo "{PROGRAM}: this extension has no program for $system on $machine" >&2
    exit 1
    ;;
esac
program=${{0%/*}}/$name/{PROGRAM}
# Not every unpacker keeps a program executable.
[ -x "$program" ] || chmod 755 "$program"
exec "$program" "$@"
"""


def build(platforms, legal):
    chosen = platforms_of(platforms)
    cases = ""
    for platform in chosen:
        system = "Linux" if platform.linux else "Darwin"
        cases += f"  {' | '.join(f'{system}-{machine}' for machine in platform.machines)}) name={platform.npm} ;;\n"
    files = {
        "manifest.json": (json_bytes(manifest()), 0o644),
        "server/launch.sh": (LAUNCHER.replace("@CASES@", cases).encode(), 0o755),
    }
    files |= {f"server/{p.npm}/{PROGRAM}": (p.binary.read_bytes(), 0o755) for p in chosen}
    files["README.md"] = ((ROOT / "README.md").read_bytes(), 0o644)
    files |= {name: (data, 0o644) for name, data in legal.items()}
    return [zip_file(FILE, files)]
