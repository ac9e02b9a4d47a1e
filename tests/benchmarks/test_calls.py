"""The one benchmark that is a gate: function calls, which hardly depend on the machine."""

from __future__ import annotations

import pytest

from .__main__ import config
from .calls import measured
from .upstream import serve

WHOLE_MAX = 300  # function calls that everything together may add to one whole call
CHUNK_MAX = 12  # function calls that it may add to one streamed chunk


@pytest.mark.slow
async def test_the_gateway_adds_few_function_calls() -> None:
    """
    Limits, cache, breaker, retry and balancing together add at most 300 function calls to a call and 12 to a chunk.
    """
    with serve() as url:
        found = await measured(url, config)

    assert found["added"] <= WHOLE_MAX
    assert found["added_chunk"] <= CHUNK_MAX
