"""Each artefact as its user would get it: installed from the files of the release, then run."""
import contextlib
import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import zipfile

from . import archive, deb, image, mcpb, npm, tools, wheel
from .facts import DIST, NPM_NAME, PROGRAM, PYPI_NAME, ROOT, VERSION, this_platform
from .files import Failed, fresh, run
from .session import settings, try_program

WORK = tools.FOLDER / "trials"


def emulated(platform):
    """The words before a program of this platform, here."""
    if platform == this_platform():
        return []
    tools.need(platform.emulator, "qemu-user-static")
    return [platform.emulator]


def static(platform, facts):
    """In an empty root, and a whole session outside of it."""
    before = emulated(platform)  # check-static wants the emulator, too.
    run(ROOT / "scripts/check-static", platform.binary)
    return try_program([*before, platform.binary], facts)


def tarball(platform, facts):
    folder = fresh(WORK / "tarball")
    run("tar", "-xzf", DIST / archive.file_name(platform), "-C", folder)
    unpacked = folder / f"{PROGRAM}-{VERSION}-{platform.target}"
    for name in (*archive.DOCUMENTS, "README.md", "LICENSE", "THIRD-PARTY.txt"):
        if not (unpacked / name).stat().st_size:
            raise Failed(f"{name} is empty")
    if (unpacked / PROGRAM).read_bytes() != platform.binary.read_bytes():
        raise Failed("the program in it is another one")
    return try_program([*emulated(platform), unpacked / PROGRAM], facts) if platform.linux else "unpacked"


@contextlib.contextmanager
def downloads(folder):
    """A web server for these files, on loopback."""
    handler = functools.partial(type("Quiet", (http.server.SimpleHTTPRequestHandler,),
                                     {"log_message": lambda *_: None}), directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def installer(facts):
    folder = fresh(WORK / "installer")
    script = DIST / "install.sh"
    tarball_name = archive.file_name(this_platform())
    bad = fresh(WORK / "tampered")
    data = bytearray((DIST / tarball_name).read_bytes())
    data[len(data) // 2] ^= 1
    (bad / tarball_name).write_bytes(data)

    def install(base, text=None):
        env = os.environ | {"HOME": str(folder), "AEROSTACK_DOWNLOADS": base}
        return subprocess.run(["sh", "-s"], input=text or script.read_text(), env=env, text=True, capture_output=True)

    installed = folder / f".local/bin/{PROGRAM}"
    with downloads(bad) as base:
        done = install(base)
        if done.returncode == 0 or "nothing was installed" not in done.stderr or installed.exists():
            raise Failed(f"a changed archive was taken: {done.stderr}")
    with downloads(DIST) as base:
        # A download that broke off anywhere must do nothing.
        text = script.read_text()
        for part in range(1, 10):
            install(base, text[:len(text) * part // 10])
            if installed.exists():
                raise Failed("half a script installed something")
        done = install(base)
        if done.returncode != 0:
            raise Failed(done.stderr)
    return f"from loopback; refuses a changed archive; {try_program([installed], facts, alone=True)}"


def pip(facts):
    folder = fresh(WORK / "pip")
    # pip from outside: one of its own takes long to install.
    run("python3", "-m", "venv", "--without-pip", folder)
    run(tools.python() / "pip", "--python", folder, "install", "--quiet", "--disable-pip-version-check", "--no-index",
        "--find-links", wheel.FOLDER, PYPI_NAME)
    return try_program([folder / "bin" / PROGRAM], facts, alone=True)


def pip_elsewhere(platform):
    """Does pip take this wheel, and no other, for that platform?"""
    folder = fresh(WORK / "elsewhere")
    tag = platform.wheel.split(".")[0]
    run(tools.python() / "pip", "download", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
        "--only-binary", ":all:", "--platform", tag, "--find-links", wheel.FOLDER, "--dest", folder, PYPI_NAME)
    [found] = folder.iterdir()
    if platform.wheel not in found.name:
        raise Failed(f"pip takes {found.name} for {tag}")


def pipx(facts):
    folder = fresh(WORK / "pipx")
    # pipx brings itself a current pip first, and finds that in the folder, too.
    run(tools.python() / "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder / "pip", "pip")
    env = settings(facts) | {"HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{wheel.FOLDER} {folder / 'pip'}",
                             "PIPX_HOME": str(folder / "pipx"), "PIPX_DEFAULT_BACKEND": "pip"}
    return try_program([tools.python() / "pipx", "run", PYPI_NAME], facts, env)


def uvx(facts):
    folder = fresh(WORK / "uvx")
    env = settings(facts) | {"HOME": str(folder)}
    command = [tools.python() / "uvx", "--offline", "--no-index", "--find-links", wheel.FOLDER, PYPI_NAME]
    return try_program(command, facts, env)


def debian(platform, facts):
    """In a root of its own: this machine stays as it is."""
    tools.need("lintian", "lintian")
    package = DIST / deb.file_name(platform)
    root = fresh(WORK / "deb")
    for name in ("updates", "info"):
        (root / "var/lib/dpkg" / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    # lintian finds no word about a root user that it does not want in a report.
    said = run("lintian", "--allow-root", "--fail-on", "error", "--no-tag-display-limit", package)
    if "E: " in said:
        raise Failed(said)
    dpkg = ("dpkg", f"--root={root}", "--force-not-root", "--force-architecture", "--log=/dev/null")
    run(*dpkg, "--install", package)
    done = try_program([*emulated(platform), root / "usr/bin" / PROGRAM], facts)
    for page in root.rglob("*.1.gz"):
        shown = run("man", "--warnings", "-l", page, env=os.environ | {"MANROFFOPT": "", "PAGER": "cat"}) if shutil.which("man") else PROGRAM
        if PROGRAM not in shown:
            raise Failed("the man page shows nothing")
    run(*dpkg, "--purge", PROGRAM)
    left = [str(path) for path in (root / "usr").rglob("*") if path.is_file()]
    if left:
        raise Failed(f"purged, and still there: {left}")
    warnings = said.count("W: ")
    return f"lintian: no error, {warnings} warnings; installed, {done}, purged"


def layer(platform):
    """The image's own root folder for this architecture, out of the archive."""
    root = fresh(WORK / "image/rootfs")
    with tarfile.open(image.FILE) as outer:
        def blob(digest):
            return outer.extractfile("blobs/" + digest.replace(":", "/"))
        [listed] = json.load(outer.extractfile("index.json"))["manifests"]
        architecture, variant = platform.oci
        manifests = json.load(blob(listed["digest"]))["manifests"]
        entry = next(m for m in manifests if m["platform"]["architecture"] == architecture
                     and m["platform"].get("variant", "") == variant)
        manifest = json.load(blob(entry["digest"]))
        config = json.load(blob(manifest["config"]["digest"]))
        for part in manifest["layers"]:
            with tarfile.open(fileobj=blob(part["digest"])) as inner:
                inner.extractall(root, filter="data")
    return root, config["config"], listed["digest"]


def container(platform, facts):
    """By runc: read-only, as the image's user, with nothing mounted but /proc and a CA file; loopback is the host's."""
    tools.need("runc", "runc")
    root, config, digest = layer(platform)
    bundle = root.parent
    # What is mounted on must be there before the root is read-only.
    (root / "proc").mkdir()
    (root / "ca.pem").touch()
    before = [*emulated(platform)]
    mounts = [
        {"destination": "/proc", "source": "proc", "type": "proc"},
        {"destination": "/ca.pem", "source": facts["ca_file"], "type": "bind", "options": ["bind", "ro"]},
    ]
    if before:
        (root / before[0]).touch()
        mounts.append({"destination": f"/{before[0]}", "source": shutil.which(before[0]), "type": "bind", "options": ["bind", "ro"]})
        before = [f"/{before[0]}"]
    uid, gid = (int(number) for number in config["User"].split(":"))
    env = settings(facts, ca_file="/ca.pem")

    spec = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": uid, "gid": gid}, "args": [*before, *config["Entrypoint"]],
                    "env": [f"{name}={value}" for name, value in env.items() if name != "PATH"], "cwd": "/",
                    "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }
    (bundle / "image.json").write_text(json.dumps(spec))
    command = ["python3", ROOT / "scripts/package/start_container.py", bundle]
    return f"runc, read-only, uid {uid}: {try_program(command, facts, os.environ)}; {digest[:19]}"


def extension(facts):
    """Unpacked and started as Claude Desktop does it, with the form filled in."""
    cli = tools.npm("mcpb", {"@anthropic-ai/mcpb": "2.1.2"}) / ".bin/mcpb"
    folder = fresh(WORK / "mcpb")
    run(cli, "unpack", mcpb.FILE, folder)
    run(cli, "validate", folder / "manifest.json")
    started = json.loads((folder / "manifest.json").read_bytes())["server"]["mcp_config"]
    filled = settings(facts)
    values = {"__dirname": str(folder)} | {f"user_config.{name.lower()}": filled.get(name, "info") for name in started["env"]}

    def fill(text):
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    command = [fill(started["command"]), *map(fill, started["args"])]
    env = {name: fill(value) for name, value in started["env"].items()}
    env |= {"PATH": os.environ["PATH"], "SSL_CERT_FILE": facts["ca_file"]}
    # An unpacker that drops the mode.
    plain = fresh(WORK / "mcpb-plain")
    with zipfile.ZipFile(mcpb.FILE) as packed:
        packed.extractall(plain)
    done = try_program(command, facts, env, alone=True)
    try_program([part.replace(str(folder), str(plain)) for part in command], facts, env)
    return f"mcpb validate, unpack; {done}"


def cargo_install(facts):
    folder = fresh(WORK / "cargo")
    run("cargo", "install", "--locked", "--quiet", "--path", ".", "--root", folder, cwd=ROOT)
    return try_program([folder / "bin" / PROGRAM], facts, alone=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    began = time.monotonic()
    while time.monotonic() - began < 120 and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise Failed(f"nothing listens on port {port}")
