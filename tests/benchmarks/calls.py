"""How many Python function calls a call makes, which hardly depends on the machine: the benchmark that can be a gate."""

from __future__ import annotations

import asyncio
import cProfile
import itertools
import json
import pstats
from collections.abc import Awaitable, Callable
from typing import Any

from .upstream import CHUNKS, MESSAGES

__all__ = ["HEADERS", "calls_of", "counted", "exchange", "messages"]

IDS = itertools.count()
HEADERS = {"authorization": "Bearer sk-bench", "content-type": "application/json"}


async def calls_of(work: Callable[[], Awaitable[Any]], repeat: int = 20) -> float:
    """Calls of Python functions of one `work`; those of built-in ones, such as `len`, are not counted."""
    for _ in range(5):
        await work()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(repeat):
        await work()
    profile.disable()
    rows = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    return sum(row[1] for (file, _, _), row in rows if file != "~") / repeat


def messages() -> list[dict[str, str]]:
    return [*MESSAGES, {"role": "user", "content": f"Please check parcel {next(IDS)}."}]


async def exchange(gateway: Any, url: str, stream: bool = False) -> int:
    """A request and its answer on a gateway's engine, with JSON written and read, and nothing else of the gateway."""
    from llmgate.types.wire import WireRequest, loads

    runtime = gateway._asyncio
    body = json.dumps({"model": "m", "messages": messages(), **({"stream": True} if stream else {})}).encode()
    request = WireRequest("POST", url.partition("/v1")[0], "/v1/chat/completions", [*HEADERS.items()], body)
    response = await runtime.send(request, runtime.now() + 60)
    count, rest = 0, b""
    while data := await response.read(runtime.now() + 60):
        if not stream:
            rest += data
            continue
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                loads(line[6:])
                count += 1
    if not stream:
        loads(rest)
    return count


async def measured(url: str, config: Callable[..., dict[str, Any]]) -> dict[str, float]:
    """
    Function calls of each: a bare POST through httpx2, a whole call with everything on, a cache hit, a streamed chunk.

    `added` and `added_chunk` are what the gateway adds to what the same bytes cost below it: a request and its answer on
    the engine alone, with JSON written and read. To a bare POST it adds less than nothing.
    """
    import httpx2

    from llmgate import Gateway

    gateway, client = Gateway(config(url)), httpx2.AsyncClient()

    async def bare() -> None:
        body = json.dumps({"model": "m", "messages": messages()}).encode()
        (await client.post(f"{url}/chat/completions", content=body)).json()

    async def streamed() -> int:
        count = 0
        async for _ in gateway.aio.stream("r", messages()):
            count += 1
        return count

    fixed = messages()
    found = {
        "bare": await calls_of(bare),
        "exchange": await calls_of(lambda: exchange(gateway, url)),
        "whole": await calls_of(lambda: gateway.aio.chat("r", messages())),
        "hit": await calls_of(lambda: gateway.aio.chat("r", fixed)),
        "raw_chunk": await calls_of(lambda: exchange(gateway, url, stream=True), 3) / CHUNKS,
        "chunk": await calls_of(streamed, 3) / CHUNKS,
    }
    await gateway.aio.close()
    await client.aclose()
    return found | {"added": found["whole"] - found["exchange"], "added_chunk": found["chunk"] - found["raw_chunk"]}


def counted(url: str, config: Callable[..., dict[str, Any]]) -> None:
    found = asyncio.run(measured(url, config))
    print("\nPython function calls")
    for name, count in found.items():
        print(f"  {name:12}{count:10.1f}")
