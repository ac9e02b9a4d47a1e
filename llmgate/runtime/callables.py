"""Any of the four kinds of callable, run on any runtime: functions, coroutine functions, generators, async generators."""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from ..types.runtime import Runtime

__all__ = ["Items", "Kind", "Stopped", "awaited", "called", "iterated", "kind_of"]

Kind = Literal["function", "coroutine", "generator", "async_generator"]


class Stopped(Exception):
    """A function raised `StopIteration`, which nothing that awaits could pass on."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__()
        self.error = error


def kind_of(function: Callable[..., Any]) -> Kind:
    """Which of the four it is; objects with `__call__` and partials are what they call."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not (inspect.isroutine(inner) or inspect.isclass(inner)):
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
    What the function returns; of a generator, the generator. A plain function blocks a thread and not the event loop.

    Raises:
        TimeoutError: If it has not returned until then; a plain function runs on behind its caller's back.
        Stopped: See there.
    """
    kind = kind_of(function)
    if kind == "function":
        result = await runtime.within(until, runtime.offload(_called, function, args, keywords))
        return await awaited(runtime, until, result) if inspect.isawaitable(result) else result
    made = function(*args, **keywords)
    return await awaited(runtime, until, made) if kind == "coroutine" else made


def _called(function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    try:
        return function(*args, **keywords)
    except StopIteration as error:
        raise Stopped(error) from None


async def awaited(runtime: Runtime, until: float, work: Awaitable[Any]) -> Any:
    """
    What it comes to, on the event loop of the call, or where there is none on one of its own.

    Raises:
        TimeoutError: If it has not come until then.
    """
    home = runtime.home()
    try:
        return await home.run(work, until)
    finally:
        await home.close()


class Items(Protocol):
    """What an iterator brings, of either colour, on any runtime."""

    async def pull(self, until: float) -> tuple[bool, Any]:
        """
        Whether there is another item, and the item.

        Raises:
            TimeoutError: If it did not come until then; nothing more can be pulled after that.
        """
        ...

    async def close(self) -> None:
        """No more are wanted. Harmless twice."""
        ...


def iterated(runtime: Runtime, items: Iterator[Any] | AsyncIterator[Any]) -> Items:
    """How to pull what an iterator brings."""
    return _PlainItems(runtime, items) if isinstance(items, Iterator) else _AsyncItems(runtime, items)


_END = object()


class _PlainItems:
    """
    An iterator whose next item may block a thread. Where that is another thread than its reader's, it has a context of its
    own, from the first item to the last: what a generator sets is there when it goes on, and can be taken back.
    """

    def __init__(self, runtime: Runtime, items: Iterator[Any]) -> None:
        self._runtime = runtime
        self._items = items
        self._lock = threading.Lock()
        self._context = contextvars.copy_context()
        self._running = False
        self._left = False

    async def pull(self, until: float) -> tuple[bool, Any]:
        runtime = self._runtime
        item = await runtime.within(until, runtime.offload(self._there, self._next, threading.get_ident()))
        return item is not _END, item

    async def close(self) -> None:
        with self._lock:
            self._left = True
            if self._running:
                return  # a thread that was not waited for is still inside; it closes when it comes out
        await self._runtime.offload(self._there, self._end, threading.get_ident())

    def _there(self, step: Callable[[], Any], reader: int) -> Any:
        return step() if threading.get_ident() == reader else self._context.run(step)

    def _next(self) -> Any:
        if not self._entered():
            return _END
        try:
            return next(self._items, _END)
        finally:
            with self._lock:
                self._running = False
                left = self._left
            if left:
                self._end()

    def _entered(self) -> bool:
        """Whether there is still somebody who wants the next item."""
        with self._lock:
            self._running = not self._left
            return self._running

    def _end(self) -> None:
        end = getattr(self._items, "close", None)
        if end is not None:
            end()


class _AsyncItems:
    """An asynchronous iterator. Without an event loop it has one of its own, from the first item to the last."""

    def __init__(self, runtime: Runtime, items: AsyncIterator[Any]) -> None:
        self._home = runtime.home()
        self._items = items
        self._closed = False

    async def pull(self, until: float) -> tuple[bool, Any]:
        item = await self._home.run(_next(self._items), until)
        return item is not _END, item

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # Generators have the one, the SDKs' streams the other.
        end = getattr(self._items, "aclose", None) or getattr(self._items, "close", None)
        try:
            if end is not None:
                await self._home.run(_ended(end), float("inf"))
        finally:
            await self._home.close()


async def _next(items: AsyncIterator[Any]) -> Any:
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        return _END


async def _ended(end: Callable[[], Any]) -> None:
    result = end()
    if inspect.isawaitable(result):
        await result
