"""Bells on event loops: rung, or ended at their time, however far off that is."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest

from llmgate.runtime.bells import FARTHEST_S, Alarms, LoopSignal

SOON_S = 0.05


class CountingLoop(asyncio.SelectorEventLoop):
    """Keeps count of the timers that were set."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = 0

    def call_at(self, *args: Any, **options: Any) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(*args, **options)


@pytest.mark.parametrize("far_s", [0.0, 1.0], ids=["far off", "near"])
async def test_a_wait_ends_at_its_time(far_s: float) -> None:
    """
    Nobody rings: the wait ends when its time has come, and not before, near or far off.
    """
    # Not at the end of a second, so that the next one would be seen to be too late.
    while (until := time.monotonic() + SOON_S) % 1.0 > 0.6:
        await asyncio.sleep(0.05)

    assert not await LoopSignal(Alarms(far_s)).wait(until)
    assert until <= time.monotonic() < until + 0.4


async def test_a_time_that_has_passed_is_over_at_once() -> None:
    """
    Who has no time left waits for nothing.
    """
    assert not await LoopSignal(Alarms()).wait(time.monotonic() - 1.0)


@pytest.mark.parametrize("left_s", [SOON_S, 120.0, FARTHEST_S * 2, float("inf")])
async def test_a_bell_is_heard(left_s: float) -> None:
    """
    Who is rung wakes at once, however long it would have waited; from another thread, too, and if it was rung before.
    """
    alarms = Alarms(0.01)
    for ring_later in (
        lambda bell: asyncio.get_running_loop().call_soon(bell.set),
        lambda bell: threading.Timer(0.001, bell.set).start(),
        lambda bell: bell.set(),
    ):
        bell = LoopSignal(alarms)
        ring_later(bell)
        assert await bell.wait(time.monotonic() + left_s)


def test_many_that_wait_long_share_a_timer() -> None:
    """
    A thousand waits for times within a second set no more than a few timers, and leave no notes.
    """
    alarms, loop = Alarms(), CountingLoop()
    asyncio.set_event_loop(None)

    async def several() -> None:
        bells = [LoopSignal(alarms) for _ in range(1000)]
        until = time.monotonic() + 60.0
        waits = [loop.create_task(bell.wait(until + number / 2000)) for number, bell in enumerate(bells)]
        await asyncio.sleep(0)
        for bell in bells:
            bell.set()
        assert all(await asyncio.gather(*waits))

    loop.run_until_complete(several())

    assert loop.timers <= 2
    assert [0] * loop.timers == [len(noted) for noted in alarms._by_loop[loop].values()]
    loop.close()


@pytest.mark.parametrize(("left_s", "timers"), [(1.0, 1), (60.0, 1), (FARTHEST_S * 2, 1), (float("inf"), 0)])
def test_every_time_has_a_timer(left_s: float, timers: int) -> None:
    """
    Near, far and beyond the hour a wait has a timer, its own or its second's; only who waits for ever has none.
    """
    loop = CountingLoop()

    async def rung() -> None:
        bell = LoopSignal(Alarms())
        loop.call_soon(bell.set)
        await bell.wait(time.monotonic() + left_s)

    loop.run_until_complete(rung())
    loop.close()

    assert timers == loop.timers


async def test_who_is_cancelled_leaves_no_note() -> None:
    """
    A wait that is broken off is forgotten.
    """
    alarms = Alarms()
    task = asyncio.ensure_future(LoopSignal(alarms).wait(time.monotonic() + 60.0))
    await asyncio.sleep(0)
    (noted,) = alarms._by_loop[asyncio.get_running_loop()].values()
    assert 1 == len(noted)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert not noted


def test_a_loop_that_is_gone_is_forgotten() -> None:
    """
    Times noted for a loop do not keep it in memory.
    """
    alarms, loop = Alarms(), CountingLoop()

    async def waits() -> None:
        bell = LoopSignal(alarms)
        asyncio.get_running_loop().call_soon(bell.set)
        await bell.wait(time.monotonic() + 60.0)

    loop.run_until_complete(waits())
    loop.close()
    forgotten = weakref.ref(loop)
    del loop
    gc.collect()

    assert forgotten() is None
    assert not alarms._by_loop
