"""A coroutine that never waits is a function, and one that does is refused."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Generator
from typing import Any

import pytest

from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.drive import drive


class Suspends:
    """What an event loop's own awaitables do: they give the control back."""

    def __init__(self, times: int = 1) -> None:
        self._times = times

    def __await__(self) -> Generator[str, Any, None]:
        for _ in range(self._times):
            yield "somebody else's turn"


async def adding(one: int, two: int) -> int:
    return one + two


async def deep(levels: int) -> int:
    return levels if not levels else await deep(levels - 1) + 1


def test_returns_what_it_returns() -> None:
    """
    The result comes back, through any number of awaits.
    """
    assert 3 == drive(adding(1, 2))
    assert 50 == drive(deep(50))


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(1)])
def test_raises_what_it_raises(error: BaseException) -> None:
    """
    Every exception comes through as it is.
    """

    async def failing() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        drive(failing())

    assert error is caught.value


def test_a_stop_iteration_is_no_result() -> None:
    """
    A `StopIteration` raised inside is an error and not the value it carries.
    """

    async def failing() -> None:
        raise StopIteration("value")

    with pytest.raises(RuntimeError, match="StopIteration"):
        drive(failing())


def test_what_waits_is_refused_and_ends_first() -> None:
    """
    Whoever awaits an event loop from plain code is told what to do, and what was taken is given back before.
    """
    told: list[str] = []

    async def waiting() -> None:
        try:
            await Suspends()
        finally:
            told.append("given back")

    with pytest.raises(RuntimeError, match=r"call\.runtime"):
        drive(waiting())

    assert ["given back"] == told


def test_what_waits_again_on_its_way_out_is_refused_all_the_same() -> None:
    """
    One that awaits an event loop even while it ends is told the same, and not that it ignored something.
    """

    async def stubborn() -> None:
        try:
            await Suspends()
        finally:
            await Suspends()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match=r"call\.runtime"):
            drive(stubborn())
        gc.collect()


def test_a_future_of_a_running_loop_is_refused() -> None:
    """
    Also on an event loop plain code does not wait for it; the loop goes on.
    """

    async def main() -> str:
        async def sleeping() -> None:
            await asyncio.sleep(0.01)

        with pytest.raises(RuntimeError, match=r"call\.runtime"):
            drive(sleeping())
        await asyncio.sleep(0)
        return "goes on"

    assert "goes on" == asyncio.run(main())


def test_blocks_the_thread_and_nobody_else() -> None:
    """
    On the blocking runtime every wait returns without suspending, so a bell rung elsewhere ends the call.
    """
    runtime = BlockingRuntime()
    bell = runtime.signal()

    async def calling() -> bool:
        await runtime.sleep(0.0)
        return await bell.wait(runtime.now() + 30.0)

    threading.Timer(0.02, bell.set).start()

    assert drive(calling())
