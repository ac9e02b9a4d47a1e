"""What the guide says about frameworks runs, where they are installed: against a server that answers by what it is asked."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmgate import Gateway
from llmgate.testing import ScriptedServer
from tests.surfaces.answering import answer
from tests.surfaces.sdks import HELLO, config
from tests.test_docs import Block, blocks_of

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "drop-in.md"
BLOCKS = [block for block in blocks_of(GUIDE) if block.needs]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.on(answer)
        yield server


@pytest.mark.filterwarnings("default")  # other people's
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.needs)
def test_an_example_runs(block: Block, server: ScriptedServer) -> None:
    """
    The example of a framework prints what the upstream of a route answers, and the gateway has counted a call.
    """
    assert block.needs is not None
    if find_spec(block.needs) is None:
        pytest.skip(f"{block.needs} is not installed")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch prices while it is imported
    import openai

    printed = io.StringIO()
    with Gateway(config(server)) as gateway, contextlib.redirect_stdout(printed), warnings.catch_warnings():
        names: dict[str, Any] = {"__name__": "page", "openai": openai, "gateway": gateway, "hello": HELLO}
        exec(compile("\n" * (block.line - 1) + block.code, str(GUIDE), "exec"), names)
        calls = gateway.stats().calls

    assert printed.getvalue().strip() in ("hi there", "Oslo")
    assert (1, 1) == (calls, len(server.requests))
