"""The PyPI package's client over stdio -> gateway -> a server, compared with the same client over HTTP.

    client.py NAME MODE SUITE URL     MODE: v1, legacy or auto    SUITE: python or everything

Prints `ok` or `not ok` for each check, each named after NAME.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp import types
from mcp.client.stdio import StdioServerParameters, stdio_client

NAME, MODE, SUITE, URL = sys.argv[1:]
LIMIT_S = 20

Step = Callable[["Host"], Awaitable[Any]]


class Host:
    """A connected client, v1 ClientSession or v2 Client (their methods are alike), and what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.client: Any = None

    async def sample(self, _context: Any, params: Any) -> types.CreateMessageResult:
        """Answer for a model."""
        self.heard.append(f"sampling {len(params.messages)}")
        text = types.TextContent(type="text", text="because")
        return types.CreateMessageResult(role="assistant", model="interop", content=text)

    async def elicit(self, _context: Any, params: Any) -> types.ElicitResult:
        """Answer for a person."""
        self.heard.append(f"elicitation {params.message}")
        content = {"name": "Zoë", "sure": True, "check": True}
        return types.ElicitResult(action="accept", content=content)

    async def roots(self, _context: Any) -> types.ListRootsResult:
        """Answer with one root."""
        return types.ListRootsResult(roots=[types.Root(uri="file:///srv", name="srv")])

    async def log(self, params: Any) -> None:
        """Take down a log message."""
        self.heard.append(f"log {params.level} {params.data}")

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Take down a step."""
        self.heard.append(f"progress {progress} of {total} {message}")


@asynccontextmanager
async def connected(bridged: bool):
    """A host, over the gateway or directly."""
    host = Host()
    callbacks = {
        "sampling_callback": host.sample,
        "elicitation_callback": host.elicit,
        "list_roots_callback": host.roots,
        "logging_callback": host.log,
    }
    env = {
        "PATH": os.environ["PATH"],
        "AEROSTACK_WORKSPACE_URL": URL,
        "AEROSTACK_TOKEN": "interop-plain-token",
    }
    gateway = StdioServerParameters(command=os.environ["AEROSTACK_GATEWAY_BIN"], env=env)
    async with AsyncExitStack() as stack:
        if MODE == "v1":
            from mcp import ClientSession
            from mcp.client.streamable_http import streamablehttp_client

            transport = stdio_client(gateway) if bridged else streamablehttp_client(URL)
            reader, writer, *_ = await stack.enter_async_context(transport)
            session = ClientSession(reader, writer, **callbacks)
            host.client = await stack.enter_async_context(session)
            await host.client.initialize()
        else:
            from mcp import Client

            target = gateway if bridged else URL
            client = Client(target, mode=MODE, log_level="info", **callbacks)
            host.client = await stack.enter_async_context(client)
        yield host


def call(name: str, **arguments: Any) -> Step:
    """A step that calls a tool."""
    return lambda host: host.client.call_tool(name, arguments, progress_callback=host.progress)


PYTHON: dict[str, Step] = {
    "tools/list": lambda h: h.client.list_tools(),
    "prompts/list": lambda h: h.client.list_prompts(),
    "resources/list": lambda h: h.client.list_resources(),
    "resources/templates/list": lambda h: h.client.list_resource_templates(),
    "resource": lambda h: h.client.read_resource("memo://fixed"),
    "resource from a template": lambda h: h.client.read_resource("memo://b%C3%A5b/note"),
    "prompt": lambda h: h.client.get_prompt("review", {"code": "x\n\ty"}),
    "tool": call("add", a=2, b=40),
    "tool, Unicode and controls": call("echo", text="å 世界 🚀 \u2028 \" \\ \r\n\t\x00\x1f"),
    "tool, structured content": call("forecast", city="Malmö"),
    "tool that fails": call("fail"),
    "progress": call("steps", count=3),
    "log messages": call("talk"),
    "error: unknown tool": call("no-such-tool"),
    "error: wrong argument": call("add", a="x", b=[]),
    "error: unknown resource": lambda h: h.client.read_resource("memo://nowhere"),
    "error: unknown prompt": lambda h: h.client.get_prompt("nowhere"),
}
# Questions in the middle of a call: 2026-07-28 has none.
ASKING: dict[str, Step] = {"elicitation": call("ask_person"), "sampling": call("ask_model")}

EVERYTHING: dict[str, Step] = {
    "tools/list": lambda h: h.client.list_tools(),
    "prompts/list": lambda h: h.client.list_prompts(),
    "resources/list": lambda h: h.client.list_resources(),
    "resources/templates/list": lambda h: h.client.list_resource_templates(),
    "resource": lambda h: h.client.read_resource("demo://resource/dynamic/text/1"),
    "prompt": lambda h: h.client.get_prompt("args-prompt", {"city": "Malmö"}),
    "tool": call("echo", message="å 世界 🚀"),
    "tool, structured content": call("get-structured-content", location="Chicago"),
    "tool, image": call("get-tiny-image"),
    "progress": call("trigger-long-running-operation", duration=0.4, steps=4),
    "elicitation": call("trigger-elicitation-request"),
    "sampling": call("trigger-sampling-request", prompt="why?"),
    "error: unknown tool": call("no-such-tool"),
    "error: unknown prompt": lambda h: h.client.get_prompt("nowhere"),
}


def plain(value: Any) -> Any:
    """A result as it can be compared."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


async def outcome(host: Host, step: Step) -> dict[str, Any]:
    """What a step gave, and what was heard on the way."""
    host.heard.clear()
    try:
        result = {"result": plain(await step(host))}
    except Exception as error:  # noqa: BLE001
        result = {"error": plain(getattr(error, "error", None)) or str(error)}
    # Those that the server sends of its own accord come when they come.
    heard = [said for said in host.heard if "everything-server" not in said and "Roots" not in said]
    return {**result, "heard": heard}


async def check(name: str, body: Awaitable[None]) -> None:
    """Run one check and say how it went."""
    try:
        await asyncio.wait_for(body, LIMIT_S)
        print(f"ok {NAME}: {name}", flush=True)
    except Exception as error:  # noqa: BLE001
        why = f"{type(error).__name__} {error}".replace("\n", " ")
        print(f"not ok {NAME}: {name} -- {why[:500]}", flush=True)


async def same(direct: Host, bridged: Host, step: Step) -> None:
    """The step gives the same in both ways."""
    want, got = await asyncio.gather(outcome(direct, step), outcome(bridged, step))
    assert got == want, f"{str(got)[:240]} expected {str(want)[:240]}"


async def many(host: Host) -> None:
    """A hundred calls at once."""

    async def one(number: int) -> None:
        word = {"message": f"n{number}"} if SUITE == "everything" else {"text": f"n{number}"}
        answer = await host.client.call_tool("echo", word)
        assert answer.content[0].text.endswith(f"n{number}"), answer

    await asyncio.gather(*(one(number) for number in range(100)))


async def large(host: Host) -> None:
    """An answer larger than the client itself takes from one SSE event: over stdio it may be."""
    answer = await host.client.call_tool("big", {"size": 5_000_000})
    assert answer.content[0].text == "0123456789" * 500_000, str(answer)[:200]


async def main() -> None:
    """Every check of the suite, then the end."""
    steps = EVERYTHING if SUITE == "everything" else PYTHON
    if SUITE == "python" and MODE != "auto":
        steps = steps | ASKING
    async with connected(bridged=False) as direct:
        async with connected(bridged=True) as bridged:
            for name, step in steps.items():
                await check(name, same(direct, bridged, step))
            await check("100 calls at once", many(bridged))
            if SUITE == "python":
                await check("an answer of 5 MB", large(bridged))
            closing = time.monotonic()

        async def promptly() -> None:
            # The client closes stdin, waits 2 s, and kills.
            took = time.monotonic() - closing
            assert took < 1.5, f"{took:.1f} s"

        await check("ends when the client closes", promptly())


asyncio.run(main())
