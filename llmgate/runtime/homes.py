"""Where a coroutine runs that needs an event loop, whoever calls it: a user's own code, which waits on asyncio itself."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ..errors import GatewayClosed
from .process import STOPPED

__all__ = ["Bounds", "Here", "OwnLoop"]

T = TypeVar("T")


class Bounds:
    """Runs what must not last longer than to a certain time, on any event loop, and can cut all of it short at once."""

    __slots__ = ("_scopes", "_stopped")

    def __init__(self) -> None:
        self._scopes: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        self._stopped = False

    async def within(self, until: float, work: Awaitable[T]) -> T:
        """
        Raises:
            TimeoutError: If the time came first; `work` is cancelled.
            GatewayClosed: If it was cut short.
        """
        left = until - time.monotonic()
        try:
            async with asyncio.timeout(left if left < 1e9 else None) as scope:
                self._scopes[scope] = loop = asyncio.get_running_loop()
                try:
                    if self._stopped:
                        # Looked at after the scope was put where `stop` looks, so one of the two sees the other.
                        _cut_short(scope, loop)
                    return await work
                finally:
                    self._scopes.pop(scope, None)
        except TimeoutError:
            if self._stopped:
                raise GatewayClosed(STOPPED) from None
            raise

    def stop(self) -> None:
        """Cut short what runs, and whatever is begun after this."""
        self._stopped = True
        for scope, loop in self._scopes.copy().items():
            with contextlib.suppress(RuntimeError):  # the loop is closed, and so is everything on it
                loop.call_soon_threadsafe(_cut_short, scope, loop)

    def forget(self) -> None:
        """In the child of a fork: what ran runs in the parent."""
        self._scopes.clear()


def _cut_short(scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # it is over already
        scope.reschedule(loop.time())


class Here:
    """The caller's own event loop."""

    __slots__ = ("_within",)

    def __init__(self, within: Callable[[float, Awaitable[Any]], Awaitable[Any]]) -> None:
        self._within = within

    async def run(self, work: Awaitable[T], until: float) -> T:
        return await self._within(until, work)  # type: ignore[no-any-return]

    async def close(self) -> None:
        """It was there before."""


class OwnLoop:
    """
    An event loop of its own, for plain code. It turns only while somebody waits for something that runs on it.

    Args:
        aside: Runs a function on another thread and waits for it; a thread whose own loop runs cannot turn a second one.
        bounds: Keep what runs to its time.
    """

    __slots__ = ("_aside", "_bounds", "_runner")

    def __init__(self, aside: Callable[[Callable[[], Any]], Any], bounds: Bounds) -> None:
        self._aside = aside
        self._bounds = bounds
        # A loop that is not set as the thread's own is in nobody's way between two turns.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)

    async def run(self, work: Awaitable[T], until: float) -> T:
        context = contextvars.copy_context()
        return self._turned(lambda: self._runner.run(self._bounds.within(until, work), context=context))  # type: ignore[no-any-return]

    async def close(self) -> None:
        self._turned(self._runner.close)

    def _turned(self, turn: Callable[[], Any]) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return turn()
        return self._aside(turn)
