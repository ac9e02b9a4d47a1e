"""How much may go in any stretch of a given length: sliding windows.

A bucket lets a burst go and a full minute's worth beside it in the same minute; a window never lets more go than its
limit in any stretch of `per_s` seconds, wherever the stretch begins. Some upstreams count like that.

An exact log of all grants would grow with them. So grants that lie less than a sixtieth of the window apart share one
entry, and it leaves the window when the youngest of them does. The older ones are counted up to a sixtieth of the
window too long, never too short; where grants come seldom, the log is exact. It never has more than 62 entries.

What was used beyond an estimate counts from the moment it is told; what was not used never counted. Whoever wants
more than the limit waits for an empty window and has it alone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping

from .limiter import MAX_QUEUE, MAX_WAIT_S, FairLimiter, Limit
from .queue import NOTHING

__all__ = ["SlidingWindow", "Window"]

GRAINS = 60  # of a window: a second of a minute, and under two percent of what might have been granted


class Window:
    """
    The meter of one dimension: at most `capacity` units in any `per_s` seconds, the later end of them excluded.

    `_log` holds entries of (first grant's number, its time, last grant's time, units), oldest first.
    """

    __slots__ = ("_grain_s", "_last", "_log", "_used", "capacity", "name", "per_s")

    def __init__(self, name: str, capacity: float, per_s: float) -> None:
        self.name = name
        self.capacity = capacity
        self.per_s = per_s
        self._grain_s = per_s / GRAINS
        self._log: list[tuple[int, float, float, float]] = []
        self._used = 0.0
        self._last = 0

    def room(self, now: float) -> float:
        log = self._log
        while log and log[0][2] + self.per_s <= now:
            self._used -= log.pop(0)[3]
            if not log:
                self._used = 0.0  # Sums and differences of floats may leave a trace.
        return self.capacity - self._used

    def wait_s(self, now: float, need: float) -> float:
        if need <= self.room(now):
            return 0.0
        # A queue longer than a whole window: what goes in this one goes again at the same point of the next.
        windows = max(math.ceil(need / self.capacity) - 1, 0)
        need -= windows * self.capacity
        used, until = self._used, now
        for _, _, last, units in self._log:
            if need <= self.capacity - used:
                break
            used -= units
            until = last + self.per_s
        return windows * self.per_s + (until - now)

    def take(self, now: float, number: int, amount: float) -> None:
        self._last = number
        self._used += amount
        log = self._log
        if log and now - log[-1][1] < self._grain_s:
            first, since, _, units = log[-1]
            log[-1] = (first, since, now, units + amount)
        else:
            log.append((number, now, now, amount))

    def settle(self, now: float, number: int, amount: float, used: float) -> None:
        if used > amount:
            # To every grant so far it is later, but the next grant's number stays its own.
            last = self._last
            self.take(now, last + 1, used - amount)
            self._last = last
            return
        log = self._log
        index = bisect_right(log, (number, math.inf)) - 1
        if index >= 0:
            # Else it has left the window, and with it all that it counted.
            first, since, until, units = log[index]
            log[index] = (first, since, until, units - (amount - used))
            self._used -= amount - used


class SlidingWindow(FairLimiter):
    """
    One window for each limit; a request counts in all of them or in none.

    Args:
        limits: Units in any stretch of so many seconds. Their `burst` is not looked at: the limit is the burst.
        max_wait_s: Seconds that anybody waits at the most.
        max_queue: Tickets that may wait.
        weights: How much more, or less, than the others some tenants get when they compete.

    In any stretch [t, t + per_s) no more than `limit` is granted, unless one request alone is larger, and what
    is told to have been used beyond that (law: tests/laws/test_window.py).

    >>> from llmgate.policies.limiter import Limit
    >>> window = SlidingWindow([Limit("requests", 2, per_s=60)])
    >>> [window.submit(now, {"requests": 1}) for now in (0.0, 50.0)]
    [<Ticket granted>, <Ticket granted>]
    >>> window.submit(55.0, {"requests": 1}).eta
    60.0
    """

    __slots__ = ("_windows",)

    def __init__(
        self,
        limits: Iterable[Limit],
        *,
        max_wait_s: float = MAX_WAIT_S,
        max_queue: int = MAX_QUEUE,
        weights: Mapping[str, float] = NOTHING,
    ) -> None:
        self._windows = [Window(each.name, each.limit, each.per_s) for each in limits]
        super().__init__(self._windows, max_wait_s=max_wait_s, max_queue=max_queue, weights=weights)

    def __repr__(self) -> str:
        used = ", ".join(f"{each.name} {each._used:g}/{each.capacity:g}" for each in self._windows)
        return f"<SlidingWindow {used}, {self.waiting} waiting>"
