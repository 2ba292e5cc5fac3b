"""npm: a main package whose bin is a shell script, and one package for each platform.

No install script: npm runs them only where a person allows it. The platform packages are optional
dependencies with os and cpu, so that npm, pnpm and yarn fetch the one that fits.
"""
from .facts import (DESCRIPTION, DIST, HOMEPAGE, NPM_NAME, PLATFORMS, PROGRAM, REGISTRY_NAME, REPOSITORY, ROOT,
                    TITLE, VERSION)
from .files import json_bytes, tar_gz

FOLDER = DIST / "npm"


def package_name(platform):
    return f"{NPM_NAME}-{platform.npm}"


def file_name(name):
    return f"{name.lstrip('@').replace('/', '-')}-{VERSION}.tgz"


def common(name, description):
    return {
        "name": name,
        "version": VERSION,
        "description": description,
        "homepage": HOMEPAGE,
        "repository": {"type": "git", "url": f"git+{REPOSITORY}.git"},
        "license": "MIT",
    }


def build(platforms, legal):
    """legal: {name: bytes}, the licence texts that every package carries."""
    texts = {f"package/{name}": (data, 0o644) for name, data in legal.items()}
    packages = [build_platform(platform, texts) for platform in platforms]
    launcher = (ROOT / "scripts/package/launcher.sh").read_text(encoding="utf-8").replace("@NAME@", NPM_NAME)
    about = common(NPM_NAME, DESCRIPTION) | {
        "mcpName": REGISTRY_NAME,
        "keywords": ["mcp", "model-context-protocol", "aerostack", "stdio", "gateway"],
        "bin": {PROGRAM: f"bin/{PROGRAM}"},
        "files": ["bin"],
        # No os and cpu here: where nothing fits, the launcher says so in its own words.
        "optionalDependencies": {package_name(platform): VERSION for platform in PLATFORMS},
    }
    files = texts | {
        "package/package.json": (json_bytes(about), 0o644),
        "package/README.md": ((ROOT / "README.md").read_bytes(), 0o644),
        f"package/bin/{PROGRAM}": (launcher.encode(), 0o755),
    }
    return packages + [tar_gz(FOLDER / file_name(NPM_NAME), files)]


def build_platform(platform, texts):
    name = package_name(platform)
    about = common(name, f"{TITLE} for {platform.os} on {platform.cpu}; install {NPM_NAME}, which brings it") | {
        "os": [platform.os],
        "cpu": [platform.cpu],
        "files": ["bin"],
        # Yarn's Plug'n'Play leaves packages zipped; a program must be a file.
        "preferUnplugged": True,
    }
    readme = f"# {name}\n\nThe program for {platform.os} on {platform.cpu}. Install `{NPM_NAME}`, which brings it.\n"
    files = texts | {
        "package/package.json": (json_bytes(about), 0o644),
        "package/README.md": (readme.encode(), 0o644),
        f"package/bin/{PROGRAM}": (platform.binary.read_bytes(), 0o755),
    }
    return tar_gz(FOLDER / file_name(name), files)
