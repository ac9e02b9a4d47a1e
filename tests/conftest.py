"""What tests of the whole gateway share: a server that keeps to a script, and a gateway asked in one colour."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from typing import Any

import pytest

from llmgate import Gateway
from llmgate.testing import ScriptedServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-records", action="store_true", help="cut all recorded streams, and not a sample: ten minutes"
    )


class Colour:
    """
    Asks gateways from plain code or on an event loop; what a test says about one it says about both.

    The event loop lives as long as the test, so that connections are kept between two calls.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocking = name == "blocking"
        self._runner = asyncio.Runner()
        self._gateways: list[Gateway] = []

    def gateway(self, config: Any = None, **more: Any) -> Gateway:
        """A gateway that is closed when the test is over."""
        gateway = Gateway(config, **more)
        self._gateways.append(gateway)
        return gateway

    def ask(self, gateway: Any, verb: str, *args: Any, **params: Any) -> Any:
        """What the verb returns."""
        if self.blocking:
            return getattr(gateway, verb)(*args, **params)
        # A scope of the test's is to hold on the event loop, too.
        return self._runner.run(getattr(gateway.aio, verb)(*args, **params), context=contextvars.copy_context())

    def chat(self, gateway: Any, model: str = "fast", messages: Any = "hello", **params: Any) -> Any:
        return self.ask(gateway, "chat", model, messages, **params)

    def read(self, gateway: Any, model: str = "fast", messages: Any = "hello", **params: Any) -> tuple[Any, list[Any]]:
        """A stream that was read to its end, and its chunks."""
        if self.blocking:
            stream = gateway.stream(model, messages, **params)
            return stream, list(stream)

        async def reading() -> tuple[Any, list[Any]]:
            stream = gateway.aio.stream(model, messages, **params)
            return stream, [chunk async for chunk in stream]

        return self._runner.run(reading(), context=contextvars.copy_context())

    def begin(self, gateway: Any, model: str = "fast", messages: Any = "hello", **params: Any) -> tuple[Any, Any]:
        """A stream that was left after its first text, and the chunk with it."""
        if self.blocking:
            with gateway.stream(model, messages, **params) as stream:
                return stream, next(chunk for chunk in stream if chunk.text)

        async def beginning() -> tuple[Any, Any]:
            async with gateway.aio.stream(model, messages, **params) as stream:
                async for chunk in stream:
                    if chunk.text:
                        return stream, chunk
            raise AssertionError("the stream was empty")

        return self._runner.run(beginning())

    def do(self, work: Any) -> Any:
        """What an SDK's call returns: of a coroutine what comes of it, of a stream the list of its events."""
        if self.blocking:
            return list(work) if hasattr(work, "__next__") else work

        async def done() -> Any:
            made = await work if hasattr(work, "__await__") else work
            streams = hasattr(made, "__aiter__") and (hasattr(made, "close") or hasattr(made, "aclose"))
            return [event async for event in made] if streams else made

        return self._runner.run(done(), context=contextvars.copy_context())

    def close(self, gateway: Gateway, **options: Any) -> None:
        if self.blocking:
            gateway.close(**options)
        else:
            self._runner.run(gateway.aio.close(**options))

    def finish(self) -> None:
        """Close everything."""
        for gateway in self._gateways:
            self.close(gateway)
        self._runner.close()

    def __repr__(self) -> str:
        return f"<Colour {self.name}>"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(params=["blocking", "asyncio"])
def colour(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[Colour]:
    """One of the two; when it is finished no connection is open."""
    colour = Colour(request.param)
    yield colour
    colour.finish()
    assert server.wait_closed(2.0)
