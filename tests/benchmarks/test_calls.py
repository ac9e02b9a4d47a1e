"""The one benchmark that is a gate: function calls, which hardly depend on the machine."""

from __future__ import annotations

import pytest

from .__main__ import config
from .calls import measured
from .upstream import serve

WHOLE_MAX = 300  # Python function calls that everything together may add to a bare POST through httpx2
ENGINE_MAX = 340  # and to the same request on the gateway's own engine, which has far fewer; so that it stays that way
CHUNK_MAX = 12  # and to one streamed chunk


@pytest.mark.slow
async def test_the_gateway_adds_few_function_calls() -> None:
    """
    Limits, cache, breaker, retry and balancing together add at most 300 function calls to a call and 12 to a chunk.
    """
    with serve() as url:
        found = await measured(url, config)

    assert found["whole"] - found["bare"] <= WHOLE_MAX
    assert found["added"] <= ENGINE_MAX
    assert found["added_chunk"] <= CHUNK_MAX
