"""Debian packages, by dpkg-deb: the static program, its man page and its completions."""
import gzip
import hashlib
import os
import shutil
import time

from .facts import DIST, EPOCH, HOMEPAGE, MAINTAINER, PROGRAM, REPOSITORY, ROOT, TARGET, VERSION
from .files import Failed, fresh, run

REVISION = 1

CONTROL = """\
Package: {program}
Version: {version}-{revision}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Section: net
Priority: optional
Homepage: {homepage}
Description: stdio bridge to an Aerostack Workspace for AI tools
 An AI tool starts this program as an MCP server on stdin and stdout. It
 forwards every message to an Aerostack Workspace, or to any other Streamable
 HTTP MCP server, over HTTPS, and waits for a person's approval where one is
 needed.
"""

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {program}
Source: {repository}
Comment: The libraries that are linked in, and their licences, are listed in
 /usr/share/doc/{program}/THIRD-PARTY.txt.gz.

Files: *
Copyright: {copyright}
License: Expat
{text}
"""

OVERRIDES = """\
# One file for every Debian, and no library to wait for: it is static on purpose.
{program}: statically-linked-binary [usr/bin/{program}]
# Static and position independent looks like a library.
{program}: shared-library-lacks-prerequisites [usr/bin/{program}]
# Not part of the distribution: there was no request for a package to close.
{program}: initial-upload-closes-no-bugs [usr/share/doc/{program}/changelog.Debian.gz:1]
"""


def file_name(platform):
    return f"{PROGRAM}_{VERSION}-{REVISION}_{platform.debian}.deb"


def build(platforms, legal):
    if not shutil.which("dpkg-deb"):
        raise Failed("Debian packages need dpkg-deb")
    return [build_one(platform, legal) for platform in platforms if platform.debian]


def build_one(platform, legal):
    tree = fresh(TARGET / "packaging/deb" / platform.debian)
    files = contents(platform, legal)
    size = sum((len(data) + 1023) // 1024 for data, _ in files.values())
    control = CONTROL.format(program=PROGRAM, version=VERSION, revision=REVISION, architecture=platform.debian,
                             maintainer=MAINTAINER, size=size, homepage=HOMEPAGE)
    sums = "".join(f"{md5(data)}  {name}\n" for name, (data, _) in sorted(files.items()))
    files |= {"DEBIAN/control": (control.encode(), 0o644), "DEBIAN/md5sums": (sums.encode(), 0o644)}
    for name, (data, mode) in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    # Whatever the builder's umask and clock say.
    for path in [tree, *tree.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (EPOCH, EPOCH))
    out = DIST / file_name(platform)
    out.parent.mkdir(parents=True, exist_ok=True)
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, out, env=os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)})
    return out


def contents(platform, legal):
    """The installed files: {name: (bytes, mode)}."""
    licence = legal["LICENSE"].decode()
    copyright_line = next(line for line in licence.splitlines() if line.startswith("Copyright"))
    text = licence[licence.index("Permission is hereby"):].rstrip()
    text = "\n".join(f" {line}" if line else " ." for line in text.splitlines())
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(EPOCH))
    changes = (f"{PROGRAM} ({VERSION}-{REVISION}) stable; urgency=medium\n\n  * Version {VERSION}; its changes are in "
               f"changelog.gz.\n\n -- {MAINTAINER}  {date}\n")
    doc, share = f"usr/share/doc/{PROGRAM}", "usr/share"
    made = {
        f"{doc}/copyright": COPYRIGHT.format(
            program=PROGRAM, repository=REPOSITORY, copyright=copyright_line.removeprefix("Copyright").strip(),
            text=text).encode(),
        f"{doc}/changelog.Debian.gz": zipped(changes.encode()),
        f"{doc}/changelog.gz": zipped((ROOT / "CHANGELOG.md").read_bytes()),
        f"{doc}/THIRD-PARTY.txt.gz": zipped(legal["THIRD-PARTY.txt"]),
        f"{share}/lintian/overrides/{PROGRAM}": OVERRIDES.format(program=PROGRAM).encode(),
        f"{share}/man/man1/{PROGRAM}.1.gz": zipped((TARGET / f"man/{PROGRAM}.1").read_bytes()),
        f"{share}/bash-completion/completions/{PROGRAM}": (TARGET / f"completions/{PROGRAM}.bash").read_bytes(),
        f"{share}/zsh/vendor-completions/_{PROGRAM}": (TARGET / f"completions/_{PROGRAM}").read_bytes(),
        f"{share}/fish/vendor_completions.d/{PROGRAM}.fish": (TARGET / f"completions/{PROGRAM}.fish").read_bytes(),
    }
    return {name: (data, 0o644) for name, data in made.items()} | {
        f"usr/bin/{PROGRAM}": (platform.binary.read_bytes(), 0o755)}


def zipped(data):
    return gzip.compress(data, compresslevel=9, mtime=0)


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
