"""A hundred calls at once, eight at a time; the ninth waits in a fair queue."""

import asyncio
import time

from llmgate import Gateway

CONFIG = {
    "providers": {"pretend": {"kind": "simulated", "latency": "20ms"}},
    "routes": {"fast": [{"target": "pretend/small", "max_concurrency": 8}]},
}


async def main() -> None:
    async with Gateway(CONFIG).aio as gateway:
        start = time.monotonic()
        replies = await asyncio.gather(*(gateway.chat("fast", f"Question {n}") for n in range(100)))
    seconds = time.monotonic() - start
    print(f"{len(replies)} answers, the last: {replies[-1].text}")
    print(f"at 8 a time and 20 ms each they take at least {100 / 8 * 0.02:.2f} s: {seconds >= 0.24}")


asyncio.run(main())
