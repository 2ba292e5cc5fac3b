"""The container image, by buildah: three architectures, each with the program, its licences and nothing else."""
import shutil

from .facts import (DESCRIPTION, DIST, EPOCH, HOMEPAGE, IMAGE_NAME, PROGRAM, REGISTRY_NAME, REPOSITORY, ROOT,
                    TARGET, TITLE, VERSION)
from .files import Failed, fresh, run, tar

FILE = DIST / f"{PROGRAM}-{VERSION}-oci.tar"
WORK = TARGET / "packaging/image"
TAG = f"{IMAGE_NAME}:{VERSION}"

LABELS = {
    "org.opencontainers.image.title": TITLE,
    "org.opencontainers.image.description": DESCRIPTION,
    "org.opencontainers.image.version": VERSION,
    "org.opencontainers.image.licenses": "MIT",
    "org.opencontainers.image.source": REPOSITORY,
    "org.opencontainers.image.url": HOMEPAGE,
    # By it the MCP registry knows whose image it is.
    "io.modelcontextprotocol.server.name": REGISTRY_NAME,
}


def buildah(*arguments):
    """With a storage of its own below target/: nothing of the machine's is touched."""
    WORK.mkdir(parents=True, exist_ok=True)
    storage = ("--storage-driver", "vfs", "--root", WORK / "storage", "--runroot", WORK / "run")
    return run("buildah", *storage, *arguments, cwd=WORK)


def build(platforms, legal):
    if not shutil.which("buildah"):
        raise Failed("the image needs buildah")
    if (WORK / "storage").exists():
        buildah("rmi", "--all", "--force")
    context = fresh(WORK / "context")
    for name, data in legal.items():
        (context / name).write_bytes(data)
        (context / name).chmod(0o644)
    buildah("manifest", "create", TAG)
    labels = [part for label in LABELS.items() for part in ("--label", "=".join(label))]
    for platform in platforms:
        architecture, variant = platform.oci
        if not architecture:
            continue
        folder = context / architecture
        folder.mkdir()
        shutil.copy(platform.binary, folder / PROGRAM)
        (folder / PROGRAM).chmod(0o755)
        name = "/".join(part for part in ("linux", architecture, variant) if part)
        # --timestamp dates the files and the image: the same contents have the same digest.
        buildah("bud", "--quiet", "--timestamp", EPOCH, "--platform", name, "--build-arg", f"BINARY={architecture}/{PROGRAM}",
                *labels, "--manifest", TAG, "--file", ROOT / "scripts/package/Dockerfile", context)
    layout = fresh(WORK / "layout")
    buildah("manifest", "push", "--quiet", "--all", TAG, f"oci:{layout}:{VERSION}")
    # An archive that buildah writes holds the time of the day.
    files = {str(path.relative_to(layout)): (path.read_bytes(), 0o644) for path in layout.rglob("*") if path.is_file()}
    return [tar(FILE, files)]
