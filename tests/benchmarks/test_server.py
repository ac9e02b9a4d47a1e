"""What the gateway adds to a request over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .__main__ import config, cpu_us
from .server import served
from .upstream import serve

ADDED_MAX_US = (
    400.0  # CPU microseconds of reading, admitting, answering and writing, over an endpoint that does nothing
)
ROUNDS, REQUESTS = 7, 100


@pytest.mark.slow
async def test_a_request_over_http_costs_little_more_than_nothing() -> None:
    """
    The application and the pipeline behind it add less than 400 µs to an empty endpoint under the same server.
    """

    async def least(works: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, float]:
        found: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                found[name].append((await cpu_us(work, REQUESTS))[0])
        return {name: min(times) for name, times in found.items()}

    with serve() as url:
        found = await served(config, url, least)

    empty = found["an empty endpoint of Starlette's"]
    assert found["llmgate, answered at once"] - empty < ADDED_MAX_US
    assert found["llmgate, all on, memory hit"] - empty < ADDED_MAX_US
