"""`gateway.scope`: what it says reaches every call made inside, by whatever way the call comes."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest

from llmgate import Gateway
from llmgate.types.call import Call, Handler, Options
from llmgate.types.reply import Reply

HELLO: Any = [{"role": "user", "content": "hello"}]
SCOPE: dict[str, Any] = {"tenant": "acme", "tags": {"team": "blue"}, "timeout": 7}


class Seen:
    """The options of every call."""

    def __init__(self) -> None:
        self.options: list[Options] = []

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        self.options.append(call.options)
        return await call_next(call)

    def said(self) -> list[tuple[str, dict[str, str], float | None]]:
        return [(options.tenant, dict(options.tags), options.timeout_s) for options in self.options]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def gateway(seen: Seen) -> Iterator[Gateway]:
    with Gateway({"providers": {"pretend": {"kind": "simulated"}}}, middleware=[("outermost", seen)]) as gateway:
        yield gateway


INSIDE = ("acme", {"team": "blue"}, 7.0)
OUTSIDE: tuple[str, dict[str, str], None] = ("", {}, None)


@pytest.mark.parametrize("way", ["transport", "attached"])
def test_sdks(gateway: Gateway, seen: Seen, way: str) -> None:
    """
    A call that an SDK makes, of either colour, whole or streamed, is made in the scope around it.
    """
    here: dict[str, Any] = {"api_key": "unused", "base_url": "http://llmgate/v1"}
    if way == "transport":
        client = openai.OpenAI(http_client=gateway.http_client(), **here)
        later = openai.AsyncOpenAI(http_client=gateway.aio.http_client(), **here)
    else:
        client, later = gateway.attach(openai.OpenAI(**here)), gateway.attach(openai.AsyncOpenAI(**here))

    async def ask() -> None:
        with gateway.scope(**SCOPE):
            await later.chat.completions.create(model="pretend/a", messages=HELLO)
            stream = await later.chat.completions.create(model="pretend/a", messages=HELLO, stream=True)
        async for _ in stream:
            pass

    with gateway.scope(**SCOPE):
        client.chat.completions.create(model="pretend/a", messages=HELLO)
        list(client.chat.completions.create(model="pretend/a", messages=HELLO, stream=True))
    asyncio.run(ask())
    client.chat.completions.create(model="pretend/a", messages=HELLO)

    assert [INSIDE] * 4 + [OUTSIDE] == seen.said()


def kinds(gateway: Gateway) -> dict[str, Callable[[], Any]]:
    """Functions that ask the gateway; called in a scope, and read to the end outside of it."""

    def plain() -> str:
        return gateway.chat("pretend/a", "hello").text

    async def coroutine() -> str:
        return (await gateway.aio.chat("pretend/a", "hello")).text

    async def thread() -> str:
        return await asyncio.to_thread(plain)

    def generator() -> Iterator[str]:
        yield plain()

    async def async_generator() -> AsyncIterator[str]:
        yield await coroutine()

    return {
        "plain": plain,
        "coroutine": coroutine,
        "thread": thread,
        "generator": generator,
        "async_generator": async_generator,
    }


@pytest.mark.parametrize("capture", [False, True], ids=["", "captured"])
@pytest.mark.parametrize("kind", ["plain", "coroutine", "thread", "generator", "async_generator"])
def test_wrapped_functions(gateway: Gateway, seen: Seen, kind: str, capture: bool) -> None:
    """
    A wrapped function of any kind, and what it asks, are in the scope around the call, on threads of asyncio's, too.
    """
    wrapped = gateway.wrap(capture=capture)(kinds(gateway)[kind])

    async def collected() -> list[Any]:
        with gateway.scope(**SCOPE):
            return [item async for item in wrapped()]

    async def awaited() -> Any:
        with gateway.scope(**SCOPE):
            return await wrapped()

    if kind == "async_generator":
        asyncio.run(collected())
    elif kind in ("coroutine", "thread"):
        asyncio.run(awaited())
    else:
        with gateway.scope(**SCOPE):
            list(wrapped())

    assert [INSIDE] * 2 == seen.said()


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_scope_inside_of_a_function(gateway: Gateway, seen: Seen, kind: str) -> None:
    """
    A scope that a wrapped function opens is its own: neither the call of the function nor what comes later is in it.
    """

    @gateway.wrap
    def plain() -> None:
        with gateway.scope(**SCOPE):
            gateway.chat("pretend/a", "hello")

    @gateway.wrap
    async def coroutine() -> None:
        with gateway.scope(**SCOPE):
            await gateway.aio.chat("pretend/a", "hello")

    async def main() -> None:
        await coroutine()

    plain() if kind == "plain" else asyncio.run(main())
    gateway.chat("pretend/a", "hello")

    assert [OUTSIDE, INSIDE, OUTSIDE] == seen.said()


def test_a_scope_inside_of_a_generator_on_threads(gateway: Gateway, seen: Seen) -> None:
    """
    A scope that a plain generator opens holds from item to item, whichever threads of asyncio's fetch them.
    """

    def plain() -> Iterator[str]:
        with gateway.scope(**SCOPE):
            yield gateway.chat("pretend/a", "hello").text
            yield gateway.chat("pretend/a", "hello").text
        yield gateway.chat("pretend/a", "hello").text

    @gateway.wrap(fallback=plain)
    async def items() -> AsyncIterator[str]:
        raise OSError("the line is dead")
        yield ""

    async def main() -> int:
        return len([item async for item in items()])

    assert 3 == asyncio.run(main())
    assert [OUTSIDE, INSIDE, INSIDE, OUTSIDE] == seen.said()


def test_tasks_and_threads(gateway: Gateway, seen: Seen) -> None:
    """
    Tasks and asyncio's threads begin in the scope and keep it; a thread started by hand has it where it is given it.
    """

    def ask() -> None:
        gateway.chat("pretend/a", "hello")

    async def main() -> None:
        with gateway.scope(**SCOPE):
            task = asyncio.create_task(asyncio.to_thread(ask))
        await task

    asyncio.run(main())
    with gateway.scope(**SCOPE):
        given = contextvars.copy_context()
    threads = [
        threading.Thread(target=target) for target in (lambda: given.run(ask), lambda: contextvars.Context().run(ask))
    ]
    for thread in threads:
        thread.start()
        thread.join()

    assert [INSIDE, INSIDE, OUTSIDE] == seen.said()
