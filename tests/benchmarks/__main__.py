"""
What llmgate costs, as ratios to a bare POST in the same run: `python -m tests.benchmarks [--quick]`.

Every figure is the median of several rounds in which the contenders take turns, so that the machine's drift cancels out.
CPU time is that of this process; the upstream is another one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .calls import HEADERS, counted, exchange, messages
from .dialects import tables
from .footprint import footprint
from .sdk import sdk
from .server import served
from .upstream import serve

FULL: dict[str, Any] = {
    "retry": {"max_attempts": 3},
    "circuit_breaker": {"threshold": 5, "timeout": "30s"},
    "rate_limit": [{"requests_per_minute": 10_000_000, "tokens_per_minute": 10_000_000_000}],
    "cache": {"ttl": "1h", "max_size": 10_000},
}


def config(url: str, **sections: Any) -> dict[str, Any]:
    providers = {f"p{i}": {"kind": "openai-compatible", "base_url": url, "api_key": "sk-bench"} for i in range(2)}
    return {"providers": providers, "routes": {"r": ["p0/m", "p1/m"]}, **FULL, **sections}


Work = Callable[[], Awaitable[Any]]


async def cpu_us(work: Work, calls: int, callers: int = 1) -> tuple[float, float]:
    """CPU and wall microseconds of one call."""

    async def caller() -> None:
        for _ in range(calls // callers):
            await work()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    made = calls // callers * callers
    return (time.process_time() - cpu) / made * 1e6, (time.perf_counter() - wall) / made * 1e6


async def compare(contenders: dict[str, Work], calls: int, callers: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Median CPU and wall microseconds of each, taken in turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for work in contenders.values():
        await cpu_us(work, max(callers, 20), callers)
    for _ in range(rounds):
        for name, work in contenders.items():
            found[name].append(await cpu_us(work, calls, callers))
    return {
        name: (statistics.median(c for c, _ in times), statistics.median(w for _, w in times))
        for name, times in found.items()
    }


def table(title: str, found: dict[str, tuple[float, float]], base: str) -> None:
    print(f"\n{title:44}{'CPU µs':>10}{'wall µs':>10}{'CPU ratio':>11}{'throughput':>12}")
    base_cpu, base_wall = found[base]
    for name, (cpu, wall) in found.items():
        print(f"  {name:42}{cpu:10.1f}{wall:10.1f}{cpu / base_cpu:11.2f}{base_wall / wall:12.2f}")


async def run(url: str, quick: bool) -> None:
    import httpx2

    from llmgate import Gateway

    rounds, calls = (3, 400) if quick else (7, 1000)
    fixed = messages()
    bare = httpx2.AsyncClient(timeout=60)
    full = Gateway(config(url))
    contenders: dict[str, Work] = {
        "bare httpx2 POST": lambda: post(bare, url),
        "llmgate, all on, cache missed": lambda: full.aio.chat("r", messages()),
    }
    for callers in (1, 64, 256):
        table(f"{callers} callers", await compare(contenders, calls, callers, rounds), "bare httpx2 POST")
    hit = await compare({"memory hit": lambda: full.aio.chat("r", fixed, temperature=0)}, calls * 4, 1, rounds)
    table("cache", hit, "memory hit")
    streams: dict[str, Work] = {"bytes + json": lambda: read(bare, url), "llmgate stream": lambda: stream(full)}
    found = await compare(streams, 10, 1, rounds)
    chunks = await stream(full)
    per = {name: (cpu / chunks, wall / chunks) for name, (cpu, wall) in found.items()}
    table(f"one streamed chunk of {chunks}", per, "bytes + json")
    found = await sdk(url, config, lambda works: compare(works, 200, 1, rounds))
    table("an SDK", found, "openai over its own transport")
    found = await served(config, url, lambda works: compare(works, 200, 1, rounds))
    table("a request over HTTP", found, "an empty endpoint of Starlette's")
    await bare.aclose()
    await full.aio.close()


async def run_on_aiohttp(url: str, quick: bool) -> None:
    """The engine of the extra `fast`, against its own library."""
    try:
        import aiohttp
    except ImportError:
        return

    from llmgate import Gateway

    rounds, calls = (3, 400) if quick else (7, 1000)
    full = config(url, http={"engine": "aiohttp"})
    plain = {name: section for name, section in full.items() if name not in FULL}
    session, gateways = aiohttp.ClientSession(), [Gateway(full), Gateway(plain)]
    contenders: dict[str, Work] = {
        "bare aiohttp POST": lambda: post_aiohttp(session, url),
        "llmgate's engine alone": lambda: exchange(gateways[0], url),
        "llmgate, defaults": lambda: gateways[1].aio.chat("r", messages()),
        "llmgate, all on, cache missed": lambda: gateways[0].aio.chat("r", messages()),
    }
    for callers in (1, 64, 256):
        found = await compare(contenders, calls, callers, rounds)
        table(f"{callers} callers on aiohttp", found, "bare aiohttp POST")
    for gateway in gateways:
        await gateway.aio.close()
    await session.close()


async def post(client: Any, url: str) -> Any:
    body = json.dumps({"model": "m", "messages": messages()}).encode()
    return (await client.post(f"{url}/chat/completions", content=body, headers=HEADERS)).json()


async def post_aiohttp(session: Any, url: str) -> Any:
    body = json.dumps({"model": "m", "messages": messages()}).encode()
    async with session.post(f"{url}/chat/completions", data=body, headers=HEADERS) as answer:
        return await answer.json()


async def read(client: Any, url: str) -> int:
    body = json.dumps({"model": "m", "messages": messages(), "stream": True}).encode()
    count, rest = 0, b""
    async with client.stream("POST", f"{url}/chat/completions", content=body, headers=HEADERS) as answer:
        async for data in answer.aiter_raw():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    json.loads(line[6:])
                    count += 1
    return count


async def stream(gateway: Any) -> int:
    count = 0
    async for _ in gateway.aio.stream("r", messages()):
        count += 1
    return count


def sync(url: str, quick: bool) -> None:
    import httpx2

    from llmgate import Gateway

    client, gateway = httpx2.Client(timeout=60), Gateway(config(url))
    fixed = messages()

    def bare() -> None:
        body = json.dumps({"model": "m", "messages": messages()}).encode()
        client.post(f"{url}/chat/completions", content=body, headers=HEADERS).json()

    works: dict[str, Callable[[], Any]] = {
        "bare httpx2 POST": bare,
        "llmgate, all on, cache missed": lambda: gateway.chat("r", messages()),
        "llmgate, memory hit": lambda: gateway.chat("r", fixed, temperature=0),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(3 if quick else 7):
        for name, work in works.items():
            for _ in range(10):
                work()
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(200 if quick else 500):
                work()
            count = 200 if quick else 500
            found[name].append(((time.process_time() - cpu) / count * 1e6, (time.perf_counter() - wall) / count * 1e6))
    medians = {n: (statistics.median(c for c, _ in t), statistics.median(w for _, w in t)) for n, t in found.items()}
    table("sync", medians, "bare httpx2 POST")
    client.close()
    gateway.close()


def memory(url: str, calls: int = 10_000) -> None:
    """RSS over many calls of mixed outcomes: the slope of the second half, in bytes a call."""
    code = f"from tests.benchmarks.memory import main; main({url!r}, {calls})"
    print(
        "\n" + subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    print(footprint())
    tables(quick)
    with serve() as url:
        counted(url, config)
        asyncio.run(run(url, quick))
        asyncio.run(run_on_aiohttp(url, quick))
        sync(url, quick)
        memory(url, 2000 if quick else 10_000)


if __name__ == "__main__":
    main()
