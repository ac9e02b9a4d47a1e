"""Four kinds of callable on three runtimes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.callables import Stopped, called, iterated, kind_of
from llmgate.runtime.drive import drive
from llmgate.testing import VirtualRuntime
from llmgate.types.runtime import Runtime

T = TypeVar("T")
Run = Callable[[Callable[[Runtime], Coroutine[Any, Any, T]]], T]

SOON_S = 5.0


@pytest.fixture(params=["blocking", "blocking inside of a loop", "asyncio", "virtual"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    """Tells a story on a runtime."""

    def on_blocking(story: Any) -> Any:
        return drive(story(BlockingRuntime()))

    async def inside(story: Any) -> Any:
        return on_blocking(story)

    def on_virtual(story: Any) -> Any:
        runtime = VirtualRuntime()
        return runtime.run(story(runtime))

    return {
        "blocking": on_blocking,
        "blocking inside of a loop": lambda story: asyncio.run(inside(story)),
        "asyncio": lambda story: asyncio.run(story(AsyncioRuntime())),
        "virtual": on_virtual,
    }[request.param]


def plain(*args: Any, **keywords: Any) -> Any:
    return args, keywords


async def coroutine(*args: Any, **keywords: Any) -> Any:
    return args, keywords


def generator(*items: Any) -> Iterator[Any]:
    yield from items


async def async_generator(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


class Plain:
    def __call__(self) -> None: ...

    def method(self) -> None: ...

    @classmethod
    async def later(cls) -> None: ...


class Later:
    async def __call__(self) -> None: ...


class Many:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (plain, "function"), (coroutine, "coroutine"), (generator, "generator"), (async_generator, "async_generator"),
        (len, "function"), (int, "function"), ([].append, "function"), (lambda: 1, "function"), (Plain, "function"),
        (Plain(), "function"), (Plain().method, "function"), (Plain.later, "coroutine"), (Later(), "coroutine"),
        (Many(), "generator"), (functools.partial(coroutine, 1), "coroutine"),
        (functools.partial(functools.partial(generator), 1), "generator"), (functools.partial(Later()), "coroutine"),
    ],
)  # fmt: skip
def test_kinds(function: Any, kind: str) -> None:
    """
    Functions, methods, classes, partials and objects are told apart by what a call of them does.
    """
    assert kind == kind_of(function)


def test_calls(run: Run[Any]) -> None:
    """
    Arguments arrive, results come back; of a generator function the generator, unread.
    """
    for function in (plain, coroutine):
        result = run(lambda runtime, f=function: called(runtime, runtime.now() + SOON_S, f, (1, 2), {"a": 3}))
        assert ((1, 2), {"a": 3}) == result

    async def story(runtime: Runtime) -> list[Any]:
        until = runtime.now() + SOON_S
        return [await called(runtime, until, function, (1,), {}) for function in (generator, async_generator)]

    made, later = run(story)
    assert [1] == list(made)
    assert hasattr(later, "__anext__")


def test_a_plain_function_that_returns_a_coroutine(run: Run[Any]) -> None:
    """
    What a plain function returns to be waited for is waited for.
    """
    assert ((1,), {}) == run(
        lambda runtime: called(runtime, runtime.now() + SOON_S, lambda x: (coroutine(x),)[0], (1,), {})
    )


def test_stop_iteration(run: Run[Any]) -> None:
    """
    A StopIteration, which no coroutine can raise, comes in a coat.
    """
    with pytest.raises(Stopped) as raised:
        run(lambda runtime: called(runtime, runtime.now() + SOON_S, lambda: next(iter(())), (), {}))
    assert isinstance(raised.value.error, StopIteration)


@pytest.mark.parametrize("items", [generator, async_generator])
def test_items(run: Run[Any], items: Callable[..., Any]) -> None:
    """
    Items are pulled one by one, None and other empty ones too; behind the end there is nothing, however often one asks.
    """

    async def story(runtime: Runtime) -> list[Any]:
        pulling = iterated(runtime, items(1, None, 0))
        found = [await pulling.pull(runtime.now() + SOON_S) for _ in range(5)]
        await pulling.close()
        await pulling.close()
        return found

    found = run(story)
    assert [(True, 1), (True, None), (True, 0)] == found[:3]
    assert [False, False] == [more for more, _ in found[3:]]


@pytest.mark.parametrize("color", ["plain", "async"])
def test_closing(run: Run[Any], color: str) -> None:
    """
    An iterator that is left runs its cleanup, once, where it ran before; one that has no close is left as it is.
    """
    ended: list[str] = []

    def items() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("plain")

    async def later() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("async")

    async def story(runtime: Runtime) -> None:
        pulling = iterated(runtime, items() if color == "plain" else later())
        assert (True, 1) == await pulling.pull(runtime.now() + SOON_S)
        await pulling.close()
        await pulling.close()
        bare = iterated(runtime, iter([1]))
        await bare.pull(runtime.now() + SOON_S)
        await bare.close()

    run(story)
    assert [color] == ended


def test_time_runs_out() -> None:
    """
    On virtual time: a coroutine, or the next item of an async generator, is cut at the very moment.
    """
    runtime = VirtualRuntime()
    cut: list[float] = []

    async def slow() -> None:
        try:
            await runtime.sleep(10)
        finally:
            cut.append(runtime.now())

    async def slow_items() -> AsyncIterator[int]:
        yield 1
        await slow()

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await called(runtime, 2.0, slow, (), {})
        pulling = iterated(runtime, slow_items())
        await pulling.pull(5.0)
        with pytest.raises(TimeoutError):
            await pulling.pull(5.0)
        await pulling.close()

    runtime.run(story())
    assert [2.0, 5.0] == cut
