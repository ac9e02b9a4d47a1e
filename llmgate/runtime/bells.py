"""How a coroutine waits until it is rung or it is time: a bell of its own, and one clock for all who wait long.

Most waits end long before their time: an answer comes within seconds, and the deadline was two minutes off. A timer of the
event loop for each would be made, kept in order, cancelled and swept out for nothing, which takes longer than all the rest
of the wait. So whoever waits for a far-off time is noted under its second, each second has one timer, and only who still
waits when it comes is given a timer of its own.
"""

from __future__ import annotations

import asyncio
import time
import weakref

__all__ = ["Alarms", "LoopSignal", "running_loop"]

FAR_S = 2.0  # seconds from which on a time is far off: few waits for a limit are longer, few answers come sooner
FARTHEST_S = 3600.0  # seconds; noted under their second, times beyond that could be any number of seconds
NEVER_S = 1e9  # seconds after which nobody waits any more


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Alarms:
    """
    Who waits for far-off times, on each event loop. A loop's are touched by its own thread alone.

    Args:
        far_s: Seconds from which on a time is far off.
    """

    def __init__(self, far_s: float = FAR_S) -> None:
        self.far_s = far_s
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, set[LoopSignal]]] = (
            weakref.WeakKeyDictionary()
        )

    def note(self, bell: LoopSignal, now: float) -> set[LoopSignal]:
        """Note a bell under the second in which its time comes. Whoever no longer waits leaves what is returned."""
        by_second = self._by_loop.get(bell.loop)
        if by_second is None:
            by_second = self._by_loop[bell.loop] = {}
        second = int(bell.until)
        noted = by_second.get(second)
        if noted is None:
            noted = by_second[second] = set()
            bell.loop.call_later(second - now, _strike, by_second, second)
        noted.add(bell)
        return noted


def _strike(by_second: dict[int, set[LoopSignal]], second: int) -> None:
    """The second has come: its times are no longer far off."""
    now = time.monotonic()
    for bell in by_second.pop(second):
        bell.arm(now)


class LoopSignal:
    """
    One waiter's bell.

    Attributes:
        loop: Where it waits.
        until: Until when.
    """

    __slots__ = ("_alarms", "_future", "_set", "_timer", "loop", "until")

    def __init__(self, alarms: Alarms) -> None:
        self.loop = asyncio.get_running_loop()
        self.until = 0.0
        self._alarms = alarms
        self._future: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._set = False

    def set(self) -> bool:
        self._set = True
        if running_loop() is self.loop:
            # On its own loop nobody needs to be woken, which takes a write to a socket and another round of the loop.
            self._ring()
            return True
        try:
            self.loop.call_soon_threadsafe(self._ring)
        except RuntimeError:
            return False
        return True

    def is_set(self) -> bool:
        """Whether it was rung, by whichever thread."""
        return self._set

    def _ring(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(True)

    async def wait(self, until: float) -> bool:
        if self._set:
            return True
        future: asyncio.Future[bool] = self.loop.create_future()
        self._future = future
        if self.is_set():
            # Rung between the question and the future; the bell may have been too early to hear it.
            return True
        self.until = until
        now = time.monotonic()
        noted: set[LoopSignal] | None = None
        if self._alarms.far_s <= until - now < FARTHEST_S:
            noted = self._alarms.note(self, now)
        else:
            self.arm(now)
        try:
            return await future
        finally:
            self._future = None
            if noted is not None:
                noted.discard(self)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def arm(self, now: float) -> None:
        """Have it end at its time."""
        left = self.until - now
        if left < NEVER_S:
            self._timer = self.loop.call_later(max(left, 0.0), self._expire)

    def _expire(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(self._set)
