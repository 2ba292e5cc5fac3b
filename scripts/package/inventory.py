"""What is linked into the program: a bill of materials (CycloneDX), and the texts of all licences."""
import json
import re
import tomllib
import uuid
from pathlib import Path

from .facts import DESCRIPTION, DIST, PACKAGE, PLATFORMS, PROGRAM, ROOT, TARGET, VERSION
from .files import Failed, json_bytes, run

BILL = DIST / f"{PROGRAM}-{VERSION}.cdx.json"
LICENCE_FILES = re.compile(r"(?i)^(licen[cs]e|copying|notice|unlicense)")
# What std and the static build bring, besides crates.
ZIG = "0.15.2"
MUSL = "1.2.5"
# Their licence texts, where Zig keeps them.
RUNTIME = (
    (f"musl {MUSL}", "lib/libc/musl/COPYRIGHT"),
    ("libunwind", "lib/libunwind/LICENSE.TXT"),
    (f"compiler_rt of Zig {ZIG}", "LICENSE"),
)


def crates():
    """All crates that any platform's program is linked from, by name and version."""
    found = {}
    for platform in PLATFORMS:
        graph = json.loads(run("cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform",
                               platform.target, cwd=ROOT))
        packages = {package["id"]: package for package in graph["packages"]}
        nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
        left = [next(id for id, package in packages.items() if package["name"] == PROGRAM)]
        while left:
            package = packages[left.pop()]
            key = (package["name"], package["version"])
            needs = [dep["pkg"] for dep in nodes[package["id"]]["deps"]
                     if any(kind["kind"] is None for kind in dep["dep_kinds"])]
            # A macro runs in the compiler: nothing of it is linked.
            needs = [id for id in needs if not is_macro(packages[id])]
            entry = found.setdefault(key, (package, set()))
            fresh = {(packages[id]["name"], packages[id]["version"]) for id in needs} - entry[1]
            entry[1].update(fresh)
            if fresh or not needs:
                left.extend(needs)
    return dict(sorted(found.items()))


def zig_folder():
    """Where scripts/package/toolchain.sh put Zig."""
    found = sorted(TARGET.glob("static/venv/lib/python3*/site-packages/ziglang"))
    if not found:
        raise Failed("target/static has no Zig yet: scripts/build-static installs it")
    return found[0]


def is_macro(package):
    return any("proc-macro" in target["kind"] for target in package["targets"])


def checksums():
    """Of the crates' archives, as Cargo.lock has them."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}


def reference(name, version):
    return f"pkg:cargo/{name}@{version}"


def bill(linked, epoch_text):
    """A CycloneDX 1.5 document that depends on Cargo.lock alone: no path and no random number."""
    sums = checksums()
    components = []
    for (name, version), (package, _) in linked.items():
        if name == PROGRAM:
            continue
        component = {
            "type": "library", "bom-ref": reference(name, version), "name": name, "version": version,
            "scope": "required", "licenses": [{"expression": package["license"].replace("/", " OR ")}],
            "purl": reference(name, version),
        }
        if sums.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
        components.append(component)
    # Linked into the Linux programs.
    components.append({"type": "library", "bom-ref": f"pkg:generic/musl@{MUSL}", "name": "musl", "version": MUSL,
                       "scope": "required", "licenses": [{"license": {"id": "MIT"}}], "purl": f"pkg:generic/musl@{MUSL}"})
    edges = [{"ref": reference(*key), "dependsOn": sorted(reference(*need) for need in needs)}
             for key, (_, needs) in linked.items()]
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "timestamp": epoch_text,
            "component": {"type": "application", "bom-ref": reference(PROGRAM, VERSION), "name": PROGRAM,
                          "version": VERSION, "description": DESCRIPTION, "purl": reference(PROGRAM, VERSION),
                          "licenses": [{"license": {"id": PACKAGE["workspace"]["package"]["license"]}}]},
        },
        "components": components, "dependencies": edges,
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{number}"} | document


def third_party(linked):
    """Every crate with its licence texts; a text that several share stands once."""
    texts, users = {}, {}
    lines = []
    for (name, version), (package, _) in linked.items():
        if name == PROGRAM:
            continue
        folder = Path(package["manifest_path"]).parent
        files = sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILES.match(path.name))
        if not files:
            raise Failed(f"{name} {version} ({package['license']}) comes without a licence text")
        lines.append(f"  {name} {version}: {package['license']}")
        for path in files:
            text = path.read_text(encoding="utf-8").strip()
            texts.setdefault(" ".join(text.split()), text)
            users.setdefault(" ".join(text.split()), []).append(f"{name} {version} ({path.name})")
    parts = [f"{PROGRAM} {VERSION} is linked from these crates:\n\n" + "\n".join(lines) + f"\n\n{STANDARD}"]
    for name, file in RUNTIME:
        text = (zig_folder() / file).read_text(encoding="utf-8").strip()
        texts.setdefault(" ".join(text.split()), text)
        users.setdefault(" ".join(text.split()), []).append(name)
    for key, text in texts.items():
        parts.append("-" * 80 + "\n" + "\n".join(users[key]) + "\n" + "-" * 80 + f"\n\n{text}")
    return ("\n\n".join(parts) + "\n").encode()


STANDARD = f"""\
It also holds parts of Rust's standard library (MIT OR Apache-2.0, The Rust Project Developers) and, in the
Linux programs, of musl {MUSL}, of LLVM's libunwind and of Zig {ZIG}'s compiler_rt."""
