"""Where a coroutine runs that needs an event loop, whoever calls it: a user's own code, which waits on asyncio itself."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["Here", "OwnLoop"]

T = TypeVar("T")


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
    """

    __slots__ = ("_aside", "_runner")

    def __init__(self, aside: Callable[[Callable[[], Any]], Any]) -> None:
        self._aside = aside
        # A loop that is not set as the thread's own is in nobody's way between two turns.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)

    async def run(self, work: Awaitable[T], until: float) -> T:
        context = contextvars.copy_context()
        return self._turned(lambda: self._runner.run(_bounded(work, until), context=context))  # type: ignore[no-any-return]

    async def close(self) -> None:
        self._turned(self._runner.close)

    def _turned(self, turn: Callable[[], Any]) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return turn()
        return self._aside(turn)


async def _bounded(work: Awaitable[T], until: float) -> T:
    left = until - time.monotonic()
    async with asyncio.timeout(left if left < 1e9 else None):
        return await work
