"""A server made with the PyPI package: FastMCP of mcp 1.x, MCPServer of mcp 2.x.

Listens on a port of 127.0.0.1, the argument's or a free one, and says where on stdout.
"""

import asyncio
import socket
import sys

import uvicorn
from pydantic import BaseModel

try:
    from mcp.server.mcpserver import Context, MCPServer as Server
except ModuleNotFoundError:
    from mcp.server.fastmcp import Context, FastMCP as Server
from mcp.types import SamplingMessage, TextContent

server = Server("interop-python", instructions="Nothing here has an effect: åß 世界.")


class Forecast(BaseModel):
    """What a structured answer is checked against."""

    city: str
    degrees: float
    hours: list[int]


class Choice(BaseModel):
    """What a person is asked for."""

    name: str
    sure: bool


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Give back what came."""
    return text


@server.tool()
def forecast(city: str) -> Forecast:
    """Structured content with an output schema."""
    return Forecast(city=city, degrees=-0.5, hours=[1, 2, 3])


@server.tool()
def fail() -> str:
    """Raise."""
    raise ValueError("this tool fails: ö")


@server.tool()
def big(size: int) -> str:
    """Answer with `size` characters."""
    return "0123456789" * (size // 10)


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    """Report progress."""
    for step in range(1, count + 1):
        await ctx.report_progress(step, count, f"step {step}")
        await asyncio.sleep(0.02)
    return f"{count} steps"


@server.tool()
async def talk(ctx: Context) -> str:
    """Log."""
    await ctx.info("one")
    await ctx.warning("two")
    return "said"


@server.tool()
async def ask_person(ctx: Context) -> str:
    """Elicit."""
    answer = await ctx.elicit("Who?", Choice)
    return f"{answer.action} {getattr(answer, 'data', None)}"


@server.tool()
async def ask_model(ctx: Context) -> str:
    """Sample."""
    question = SamplingMessage(role="user", content=TextContent(type="text", text="why?"))
    answer = await ctx.session.create_message([question], max_tokens=10)
    return str(answer.content)


@server.resource("memo://fixed")
def fixed() -> str:
    """A resource that is always there."""
    return "fixed å"


@server.resource("memo://{name}/note")
def note(name: str) -> str:
    """A resource from a template."""
    return f"note of {name}"


@server.prompt()
def review(code: str) -> str:
    """A prompt with an argument."""
    return f"Review:\n{code}"


def main() -> None:
    """Serve until killed."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    # Who connects from now on is served, if a little later.
    listener.listen()
    print(f"python server on http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


main()
