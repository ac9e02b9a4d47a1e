"""
What the gateway adds to a request over HTTP: over an endpoint of Starlette's that reads nothing and says nothing, under
the same uvicorn, on the same event loop, asked by the same client.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from .calls import messages

__all__ = ["contenders", "served"]


async def served(config: Callable[..., dict[str, Any]], url: str, compare: Callable[..., Awaitable[Any]]) -> Any:
    """
    What one request costs, whoever answers it.

    Args:
        url: Of an upstream in another process.
        compare: Measures the contenders.
    """
    async with contenders(config, url) as works:
        return await compare(works)


@asynccontextmanager
async def contenders(
    config: Callable[..., dict[str, Any]], url: str
) -> AsyncIterator[dict[str, Callable[[], Awaitable[Any]]]]:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    from llmgate import Gateway
    from llmgate.config.server import ServerSettings
    from llmgate.policies.keyring import Keyring

    async def nothing(request: Any) -> Response:
        await request.body()
        return Response()

    key = "sk-llmgate-" + "0" * 64
    server = ServerSettings.model_validate(
        {"pepper": "bench", "keys": [{"name": "bench", "hash": Keyring.hash_of("bench", key)}]}
    )
    section = {"server": server.model_dump() | {"pepper": "bench"}}
    pretend = {"providers": {"p": {"kind": "simulated"}}, "routes": {"r": ["p/m"]}} | section
    through = Gateway(config(url) | section)
    fixed = messages()

    def asks(port: int, said: Callable[[], Any]) -> tuple[Callable[[], Awaitable[Any]], Any]:
        client = Client(port, key)
        return (lambda: client.ask({"model": "r", "messages": said(), "temperature": 0})), client

    apps = {
        "an empty endpoint of Starlette's": (Starlette(routes=[Route("/v1/chat/completions", nothing, methods=["POST"])]), messages),
        "llmgate, answered at once": (Gateway(pretend).asgi(), messages),
        "llmgate, all on, memory hit": (through.asgi(), lambda: fixed),
        "llmgate, all on, cache missed": (through.asgi(), messages),
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        works: dict[str, Callable[[], Awaitable[Any]]] = {}
        for name, (app, said) in apps.items():
            works[name], client = asks(await stack.enter_async_context(listening(app)), said)
            stack.callback(client.close)
        yield works


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """The port at which uvicorn serves an application."""
    import uvicorn

    # A connection must outlive the turns of the others.
    options: dict[str, Any] = {"port": 0, "lifespan": "off", "timeout_keep_alive": 600, "access_log": False}
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **options))
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


class Client:
    """Asks over one connection, and looks at nothing but where an answer ends: the least that a client can do."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: Any) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        lines = await reader.readuntil(b"\r\n\r\n")
        assert lines.startswith(b"HTTP/1.1 200"), lines
        length = int(lines.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length) if length else b""

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
