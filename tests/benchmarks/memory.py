"""Whether memory grows with calls: RSS over many calls of mixed outcomes."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from .upstream import MESSAGES

__all__ = ["main", "slope"]


def rss() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


async def slope(url: str, calls: int) -> float:
    """Bytes of RSS a call over the second half of `calls`."""
    from llmgate import Gateway, GatewayError

    from .__main__ import config

    sections: dict[str, Any] = {"cache": {"ttl": "1h", "max_size": 100}, "retry": {"base_delay": 0, "max_delay": 0}}
    gateway = Gateway(config(url, **sections))

    async def one(number: int) -> None:
        text = "please fail" if number % 7 == 0 else f"parcel {number % 500}"
        asked = [*MESSAGES, {"role": "user", "content": text}]
        try:
            if number % 5 == 0:
                async for _ in gateway.aio.stream("r", asked, tenant=f"t{number % 50}"):
                    if number % 10 == 0:
                        break
            else:
                await gateway.aio.chat("r", asked, tenant=f"t{number % 50}")
        except GatewayError:
            pass

    start = 0
    for number in range(calls):
        if number == calls // 2:
            gc.collect()
            start = rss()
        await one(number)
    gc.collect()
    grown = rss() - start
    await gateway.aio.close()
    return grown / (calls - calls // 2)


def main(url: str, calls: int) -> None:
    print(f"memory: {asyncio.run(slope(url, calls)):.1f} bytes a call over the last {calls - calls // 2} of {calls}")
