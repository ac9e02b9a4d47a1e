"""What works under which SDK or framework, whoever answers: tried, and kept in `docs/sdks.json` for the documentation.

`python -m tests.surfaces.test_sdk_matrix` writes there what is found of the packages that are installed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llmgate import Gateway
from llmgate.testing import ScriptedServer
from tests.surfaces.adapters import ADAPTERS, Adapter, Asking
from tests.surfaces.answering import CALL, CITY, TEXT, answer
from tests.surfaces.sdks import config

KEPT = Path(__file__).parents[2] / "docs" / "sdks.json"
WORKS, LACKS = "works", "-"

UPSTREAMS = {"its own": "", "OpenAI": "openai-compatible", "Anthropic": "anthropic", "Gemini": "gemini"}
COLOURS = ("sync", "async")
CLOSED_S = 2.0  # seconds in which the connection of a call that was given up is closed

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch prices while it is imported


def installed() -> list[Adapter]:
    return [adapter for adapter in ADAPTERS if _is_there(adapter.module)]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class Trial:
    """One package on a gateway, answered by one upstream, in one colour."""

    def __init__(self, adapter: Adapter, upstream: str, colour: str) -> None:
        self.adapter = adapter
        self.blocking = colour == "sync"
        self.runner = asyncio.Runner()
        self.loop = asyncio.new_event_loop()  # for blocking calls that are asynchronous inside
        self.server = ScriptedServer()
        self.server.on(answer)
        self.kind = UPSTREAMS[upstream]

    def __enter__(self) -> Trial:
        self.server.__enter__()
        origin, said = self.server.origin, {"retry": {"max_attempts": 1}}
        if self.kind:
            origin = "http://llmgate"
            said = config(self.server, self.kind, routes={name: [f"up/{name}"] for name in ("m", "limited", "slow")})
        self.gateway = Gateway(said)
        asyncio.set_event_loop(self.loop)
        self.client = self.adapter.make(self.gateway, self.blocking, origin + self.adapter.base)
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.gateway.aio.close())
        self.runner.close()
        self.gateway.close()
        self.loop.close()
        asyncio.set_event_loop(None)
        self.server.__exit__(None, None, None)

    def ask(self, model: str = "m", **how: bool) -> Any:
        """An answer, or the pieces of one."""
        asking = Asking(model, self.blocking, **how)
        if self.blocking:
            made = self.adapter.ask(self.client, asking)
            return list(made) if asking.stream else made
        return self.runner.run(self._asked(asking))

    async def _asked(self, asking: Asking) -> Any:
        made = self.adapter.ask(self.client, asking)
        made = await made if hasattr(made, "__await__") else made
        return [piece async for piece in made] if asking.stream else made

    # What is tried.

    def cancel(self) -> None:
        """A call that is given up closes the upstream's connection: a stream that is closed, a task that is cancelled."""
        if self.blocking:
            stream = self.adapter.ask(self.client, Asking("slow", True, stream=True))
            pieces = iter(stream)
            while not self.adapter.text(next(pieces)):
                pass
            (stream if hasattr(stream, "close") else pieces).close()
        else:
            self.runner.run(self._cancelled())
        assert self.server.wait_closed(CLOSED_S)
        assert 0 == self.gateway.stats().in_flight

    async def _cancelled(self) -> None:
        task = asyncio.ensure_future(self._asked(Asking("slow", False)))
        while not self.server.requests:
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    def whole(self) -> None:
        assert TEXT == self.adapter.text(self.ask())

    def stream(self) -> None:
        pieces = [text for piece in self.ask(stream=True) if (text := self.adapter.text(piece))]
        assert TEXT == "".join(pieces)
        assert len(pieces) > 1

    def tools(self) -> None:
        assert (CALL.name, json.loads(CITY)) == self.adapter.call(self.ask(tools=True))

    def structured(self) -> None:
        assert json.loads(CITY) == json.loads(self.adapter.text(self.ask(schema=True)) or "")

    def errors(self) -> None:
        module, _, name = self.adapter.limited.rpartition(".")
        with pytest.raises(getattr(import_module(module), name), match="scripted error") as caught:
            self.ask("limited")
        raised: Any = caught.value
        assert 429 in [getattr(raised, name, None) for name in ("status_code", "code", "status")]


TRIED: dict[str, Callable[[Trial], None]] = {
    # The first needs a gateway without connections that are kept.
    "cancel": Trial.cancel, "whole": Trial.whole, "stream": Trial.stream, "tools": Trial.tools,
    "structured": Trial.structured, "errors": Trial.errors,
}  # fmt: skip
COLUMNS = (*list(TRIED)[1:], "cancel")  # as they are kept


@cache
def found(adapter: Adapter, upstream: str, colour: str) -> dict[str, str]:
    """By what was tried: that it works, that the package does not have it, or what went wrong."""
    cells: dict[str, str] = {}
    with warnings.catch_warnings(), Trial(adapter, upstream, colour) as trial:
        warnings.simplefilter("ignore")  # other people's
        for name, tried in TRIED.items():
            if any(lack in (name, f"{name} {colour}") for lack in adapter.lacks):
                cells[name] = LACKS
                continue
            try:
                tried(trial)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                cells[name] = f"{type(error).__name__}: {error}"
            else:
                cells[name] = WORKS
    return cells


@pytest.fixture(scope="module", autouse=True)
def nothing_remains() -> Iterator[None]:
    """What other people's packages have not closed is closed here, and not in the middle of somebody else's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("adapter", installed(), ids=repr)
def test_works(adapter: Adapter, upstream: str, colour: str) -> None:
    """
    Answers, streams, tools, schemas, errors and cancelling work as the package's own documentation has them.
    """
    assert {WORKS, LACKS} >= set(found(adapter, upstream, colour).values()), found(adapter, upstream, colour)


def kept_of(adapter: Adapter) -> dict[str, Any]:
    """What is kept of a package: by who answers and by what was tried, the colours in which it works."""
    answered = {
        upstream: {
            name: " ".join(colour for colour in COLOURS if found(adapter, upstream, colour)[name] == WORKS)
            for name in COLUMNS
        }
        for upstream in UPSTREAMS
    }
    return {"answered": answered, "lacks": adapter.lacks}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("adapter", installed(), ids=repr)
def test_the_documentation_says_so(adapter: Adapter) -> None:
    """
    The table in the guide, of some version, is what was found with the one that is installed.
    """
    kept = json.loads(KEPT.read_text())[adapter.name]

    assert kept_of(adapter) == {name: kept[name] for name in ("answered", "lacks")}


def main() -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for adapter in installed():
        kept[adapter.name] = {"version": version(adapter.name.partition(",")[0]), **kept_of(adapter)}
    KEPT.write_text(json.dumps({one.name: kept[one.name] for one in ADAPTERS if one.name in kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
