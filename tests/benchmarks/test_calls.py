"""The one benchmark that is a gate: function calls, which hardly depend on the machine."""

from __future__ import annotations

import pytest

from llmgate import Gateway

from .__main__ import config, post_aiohttp
from .calls import calls_of, exchange, measured
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


@pytest.mark.slow
async def test_the_fast_engine_needs_half_of_what_its_library_needs() -> None:
    """
    A request and its answer on aiohttp's parser take less than half of the function calls of a bare POST through aiohttp.
    """
    aiohttp = pytest.importorskip("aiohttp")
    with serve() as url:
        gateway = Gateway(config(url, http={"engine": "aiohttp"}))
        async with aiohttp.ClientSession() as session, gateway.aio:
            bare = await calls_of(lambda: post_aiohttp(session, url))
            ours = await calls_of(lambda: exchange(gateway, url))

    assert 2 * ours < bare
