"""Any of the four kinds of callable, run on any runtime: functions, coroutine functions, generators, async generators."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from ..types.runtime import Runtime

__all__ = ["Kind", "Pull", "called", "iterated", "kind_of"]

Kind = Literal["function", "coroutine", "generator", "async_generator"]


def kind_of(function: Callable[..., Any]) -> Kind:
    """Which of the four it is; objects with `__call__` and partials are what they call."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not (inspect.isfunction(inner) or inspect.ismethod(inner) or inspect.isbuiltin(inner) or inspect.isclass(inner)):
        inner = getattr(inner, "__call__", inner)  # noqa: B004 - the bound method is wanted, not a yes or no
    if inspect.isasyncgenfunction(inner):
        return "async_generator"
    if inspect.iscoroutinefunction(inner):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(inner) else "function"


async def called(
    runtime: Runtime, until: float, function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
) -> Any:
    """
    What the function returns. A plain function blocks a thread and not the event loop.

    Raises:
        TimeoutError: If it has not returned until then; a plain function runs on behind its caller's back.
    """
    if kind_of(function) == "coroutine":
        return await runtime.within(until, runtime.host(lambda: function(*args, **keywords)))
    result = await runtime.within(until, runtime.offload(functools.partial(function, *args, **keywords)))
    if inspect.isawaitable(result):
        return await runtime.within(until, runtime.host(functools.partial(_awaited, result)))
    return result


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


Pull = Callable[[float], Awaitable[tuple[bool, Any]]]
"""Brings the next item until then: whether there is one, and the item."""


def iterated(runtime: Runtime, items: Iterator[Any] | AsyncIterator[Any]) -> tuple[Pull, Callable[[], Awaitable[None]]]:
    """How to pull the next item of an iterator of either colour, and how to close it."""
    if isinstance(items, Iterator):
        return _pull_plain(runtime, items)
    return _pull_async(runtime, items)


_END = object()


def _pull_plain(runtime: Runtime, items: Iterator[Any]) -> tuple[Pull, Callable[[], Awaitable[None]]]:
    async def pull(until: float) -> tuple[bool, Any]:
        item = await runtime.within(until, runtime.offload(next, items, _END))
        return item is not _END, item

    async def close() -> None:
        end = getattr(items, "close", None)
        if end is not None:
            await runtime.offload(end)

    return pull, close


def _pull_async(runtime: Runtime, items: AsyncIterator[Any]) -> tuple[Pull, Callable[[], Awaitable[None]]]:
    lone: list[Any] = []
    blocking = not _has_loop()

    async def pull(until: float) -> tuple[bool, Any]:
        if blocking:
            # Without an event loop there is no way to stop between two items: the first pull runs it through.
            if not lone:
                lone.append(iter(await runtime.within(until, runtime.host(functools.partial(_collected, items)))))
            item = next(cast("Iterator[Any]", lone[0]), _END)
        else:
            item = await runtime.within(until, _next(items))
        return item is not _END, item

    async def close() -> None:
        end = getattr(items, "aclose", None)
        if end is not None and not blocking:
            await end()

    return pull, close


async def _next(items: AsyncIterator[Any]) -> Any:
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        return _END


async def _collected(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
