"""PyPI: a wheel for each platform, with the program in its scripts folder and no Python in it."""
import base64
import hashlib

from .facts import DESCRIPTION, DIST, HOMEPAGE, PROGRAM, PYPI_NAME, REGISTRY_NAME, REPOSITORY, ROOT, VERSION
from .files import zip_file

FOLDER = DIST / "wheels"


def build(platforms, legal):
    return [build_one(platform, legal) for platform in platforms]


def build_one(platform, legal):
    stem = f"{PYPI_NAME.replace('-', '_')}-{VERSION}"
    info = f"{stem}.dist-info"
    tags = "".join(f"Tag: py3-none-{tag}\n" for tag in platform.wheel.split("."))
    licences = "".join(f"License-File: {name}\n" for name in legal)
    # The MCP registry looks for its name in the description before it believes who publishes it.
    metadata = (
        f"Metadata-Version: 2.4\nName: {PYPI_NAME}\nVersion: {VERSION}\nSummary: {DESCRIPTION}\n"
        f"License-Expression: MIT\n{licences}Project-URL: Homepage, {HOMEPAGE}\nProject-URL: Source, {REPOSITORY}\n"
        "Requires-Python: >=3.8\nDescription-Content-Type: text/markdown; charset=UTF-8\n\n"
        f"{(ROOT / 'README.md').read_text(encoding='utf-8')}\n<!-- mcp-name: {REGISTRY_NAME} -->\n"
    )
    files = {
        f"{stem}.data/scripts/{PROGRAM}": (platform.binary.read_bytes(), 0o755),
        f"{info}/METADATA": (metadata.encode(), 0o644),
        f"{info}/WHEEL": (f"Wheel-Version: 1.0\nGenerator: {PROGRAM}\nRoot-Is-Purelib: false\n{tags}".encode(), 0o644),
    } | {f"{info}/licenses/{name}": (data, 0o644) for name, data in legal.items()}
    record = "".join(f"{name},sha256={digest(data)},{len(data)}\n" for name, (data, _) in files.items())
    files[f"{info}/RECORD"] = (f"{record}{info}/RECORD,,\n".encode(), 0o644)
    return zip_file(FOLDER / f"{stem}-py3-none-{platform.wheel}.whl", files)


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
