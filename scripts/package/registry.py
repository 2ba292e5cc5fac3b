"""server.json: the entry for the MCP registry, which names the other packages."""
from . import mcpb
from .facts import (DIST, DOWNLOADS, HOMEPAGE, IMAGE_NAME, NPM_NAME, PYPI_NAME, REGISTRY_NAME, REPOSITORY, SETTINGS,
                    TITLE, VERSION)
from .files import json_bytes, sha256

FILE = DIST / "server.json"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
# The registry takes 100 characters.
DESCRIPTION = "A stdio bridge to an Aerostack Workspace, or to any Streamable HTTP MCP server"


def settings():
    variables = []
    for name, _, text, required, secret in SETTINGS:
        variables.append({"name": name, "description": text, "isRequired": required, "isSecret": secret,
                          "format": "string"})
    return variables


def package(kind, identifier, **more):
    return {"registryType": kind, "identifier": identifier} | more | {
        "transport": {"type": "stdio"}, "environmentVariables": settings()}


def passed_on():
    """An image sees only the variables that the command line names."""
    for name, *_ in SETTINGS:
        yield {"type": "named", "name": "-e", "value": name}


def build():
    entry = {
        "$schema": SCHEMA,
        "name": REGISTRY_NAME,
        "title": TITLE,
        "description": DESCRIPTION,
        "version": VERSION,
        "websiteUrl": HOMEPAGE,
        "repository": {"url": REPOSITORY, "source": "github"},
        "packages": [
            package("npm", NPM_NAME, version=VERSION, runtimeHint="npx"),
            package("pypi", PYPI_NAME, version=VERSION, runtimeHint="uvx"),
            package("oci", f"{IMAGE_NAME}:{VERSION}", runtimeHint="docker", runtimeArguments=list(passed_on())),
            package("mcpb", f"{DOWNLOADS}/{mcpb.FILE.name}", fileSha256=sha256(mcpb.FILE)),
        ],
    }
    FILE.write_bytes(json_bytes(entry))
    return [FILE]
