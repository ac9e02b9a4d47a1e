"""What an SDK pays for the gateway, in function calls, which hardly depend on the machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .__main__ import config
from .calls import calls_of
from .sdk import sdk
from .upstream import serve

HIT_MAX = 160  # Python function calls of an answer out of the cache, besides the SDK's own


@pytest.mark.slow
async def test_a_call_through_the_gateway_is_no_dearer_than_without_it() -> None:
    """
    With everything on, an SDK's call takes no more function calls through the gateway than over its own transport; and an
    answer out of the cache hardly more than the SDK does by itself.
    """

    async def counts(works: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, float]:
        return {name: await calls_of(work) for name, work in works.items()}

    with serve() as url:
        found = await sdk(url, config, counts)

    assert found["openai through the gateway"] <= found["openai over its own transport"]
    assert found["openai to its own upstream"] <= found["openai over its own transport"]
    assert found["openai through the gateway, memory hit"] - found["openai by itself"] <= HIT_MAX
