"""Tarballs, one for each platform, and the installer that fetches them."""
from .facts import DIST, DOWNLOADS, PLATFORMS, PROGRAM, ROOT, TARGET, VERSION
from .files import sha256, tar_gz

# From the program's own table of options, by `cargo run --example docs`.
DOCUMENTS = (f"man/{PROGRAM}.1", f"completions/{PROGRAM}.bash", f"completions/_{PROGRAM}", f"completions/{PROGRAM}.fish")


def file_name(platform):
    return f"{PROGRAM}-{VERSION}-{platform.target}.tar.gz"


def build(platforms, legal):
    return [build_one(platform, legal) for platform in platforms]


def build_one(platform, legal):
    folder = f"{PROGRAM}-{VERSION}-{platform.target}"
    files = {f"{folder}/{name}": (data, 0o644) for name, data in legal.items()}
    files |= {f"{folder}/{name}": ((TARGET / name).read_bytes(), 0o644) for name in DOCUMENTS}
    files[f"{folder}/README.md"] = ((ROOT / "README.md").read_bytes(), 0o644)
    files[f"{folder}/{PROGRAM}"] = (platform.binary.read_bytes(), 0o755)
    return tar_gz(DIST / file_name(platform), files)


def build_installer(platforms):
    """The shell script, with the version and the SHA-256 of each tarball written into it."""
    rows = []
    for platform in PLATFORMS:
        if platform in platforms:
            system = "Linux" if platform.linux else "Darwin"
            patterns = " | ".join(f"{system}-{machine}" for machine in platform.machines)
            rows.append(f"  {patterns})\n    target={platform.target}\n    sum={sha256(DIST / file_name(platform))}\n    ;;")
    text = (ROOT / "scripts/package/install.sh").read_text(encoding="utf-8")
    text = text.replace("@VERSION@", VERSION).replace("@DOWNLOADS@", DOWNLOADS).replace("  @PLATFORMS@)\n    ;;", "\n".join(rows))
    path = DIST / "install.sh"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
