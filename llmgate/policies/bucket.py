"""How much may go at once, and how much in the long run: token buckets.

A bucket fills steadily up to its burst and is emptied by what is granted. Nothing is booked ahead of time: who finds
too little waits in the queue (`queue.py`), and the bucket knows to the instant when there will be enough. Whoever
wants more than the burst waits for a full bucket and leaves it in debt, which time pays off before anybody else goes.

Estimates are corrected when the true use is known, and corrections are where limiters break. What was used beyond the
estimate is debt at once. What was not used is credited, but only as far as it would still be there had it never been
taken: a bucket that was full in the meantime would have spilt it. So the credit is

    min(unused, burst - highest level since the grant)

and with that, in any window of T seconds, no more than `burst + rate * T` is used, and the debt that remains. A refund
to a virtual schedule (the generic cell rate algorithm) does not keep that promise.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from .limiter import MAX_QUEUE, MAX_WAIT_S, FairLimiter, Limit
from .queue import NOTHING, Ticket

__all__ = ["Bucket", "TokenBuckets"]

CLOSE_S = 1e-6  # seconds; what will be there so soon counts as there, or rounding would send a waiter back to sleep
PEAKS = 128  # remembered at the most; then they are thinned out to half of that, at the cost of a little credit


class Bucket:
    """
    The meter of one dimension. It starts full; `rate` is in units a second, `capacity` is the burst.

    `_peaks` holds the levels just before units were taken, as pairs (number, level): no grant before that number has
    seen a higher level since. Numbers rise and levels fall along the list, so the highest level since a grant is the
    first one behind it; and what is lower than a later one is forgotten. `_full` is the number of the grant that last
    found the bucket full: nothing comes back for those before it.
    """

    __slots__ = ("_at", "_full", "_last", "_level", "_peaks", "capacity", "name", "rate")

    def __init__(self, name: str, rate: float, capacity: float) -> None:
        self.name = name
        self.rate = rate
        self.capacity = capacity
        self._level = capacity
        self._at = -math.inf
        self._last = 0
        self._full = 0
        self._peaks: list[tuple[int, float]] = []

    def room(self, now: float) -> float:
        level = self._level
        if level < self.capacity:
            level += (now - self._at) * self.rate
            if level > self.capacity:
                level = self.capacity
            self._level = level
        self._at = now
        return level + CLOSE_S * self.rate

    def wait_s(self, now: float, need: float) -> float:
        self.room(now)
        return max(0.0, (need - self._level) / self.rate)

    def take(self, now: float, number: int, amount: float) -> None:
        self._last = number
        level = self._level
        peaks = self._peaks
        if level >= self.capacity:
            # Whatever was granted before now would have been refilled anyway.
            self._full = number
            if peaks:
                peaks.clear()
        else:
            while peaks and peaks[-1][1] <= level:
                peaks.pop()
            if len(peaks) == PEAKS:
                self._thin_out()
            peaks.append((number, level))
        self._level = level - amount

    def settle(self, now: float, number: int, amount: float, used: float) -> None:
        if used > amount:
            self.room(now)
            self._owe(now, used - amount)
            return
        if number < self._full:
            return
        self.room(now)
        highest = self._level
        peaks = self._peaks
        since = bisect_right(peaks, (number, math.inf)) if peaks else 0
        later = peaks[since:]
        if later and later[0][1] > highest:
            highest = later[0][1]
        credit = self.capacity - highest
        if credit > amount - used:
            credit = amount - used
        if credit <= 0.0:
            return
        self._level += credit
        if later:
            # As if it had never been taken: every level since then was that much higher, for whoever asks next.
            while since and peaks[since - 1][1] <= later[0][1] + credit:
                since -= 1
            peaks[since:] = [(number, level + credit) for number, level in later]

    def _owe(self, now: float, amount: float) -> None:
        """Take what nobody is granted. To every grant so far that is later, but the next grant's number stays its own."""
        last = self._last
        self.take(now, last + 1, amount)
        self._last = last

    def _thin_out(self) -> None:
        """Of peaks that lie close together let the highest stand for all; debts are close together, too."""
        grain = 2.0 * self.capacity / PEAKS
        kept: list[tuple[int, float]] = []
        for number, level in self._peaks:
            if kept and kept[-1][1] - max(level, 0.0) < grain:
                kept[-1] = (number, kept[-1][1])
            else:
                kept.append((number, level))
        self._peaks[:] = kept

    def lower(self, now: float, level: float) -> None:
        """Leave no more than `level` units."""
        self.room(now)
        if level < self._level:
            self._owe(now, self._level - level)

    def change(self, now: float, rate: float, burst: float) -> None:
        """Fill at another rate, up to another burst, from now on."""
        self.room(now)
        self.rate = rate
        self.capacity = burst
        self._level = min(self._level, burst)


class TokenBuckets(FairLimiter):
    """
    One bucket for each limit; a request takes from all of them or from none.

    Args:
        limits: Units in so many seconds, and how many of them at once.
        max_wait_s: Seconds that anybody waits at the most.
        max_queue: Tickets that may wait.
        weights: How much more, or less, than the others some tenants get when they compete.

    In any window of T seconds no more is used than `burst + limit / per_s * T`, and what the last grant or the last
    correction went into debt (law: tests/laws/test_bucket.py).

    >>> from llmgate.policies.limiter import Limit
    >>> buckets = TokenBuckets([Limit("requests", 60), Limit("tokens", 1000)])
    >>> ticket = buckets.submit(0.0, {"requests": 1, "tokens": 600})
    >>> buckets.submit(0.0, {"requests": 1, "tokens": 600}).eta  # 200 are missing, at 1000 a minute
    12.0
    >>> buckets.settle(0.0, ticket, {"tokens": 100})  # but now 500 come back
    [<Ticket granted>]
    """

    __slots__ = ("_buckets",)

    def __init__(
        self,
        limits: Iterable[Limit],
        *,
        max_wait_s: float = MAX_WAIT_S,
        max_queue: int = MAX_QUEUE,
        weights: Mapping[str, float] = NOTHING,
    ) -> None:
        buckets = [Bucket(each.name, each.limit / each.per_s, each.burst or each.limit) for each in limits]
        super().__init__(buckets, max_wait_s=max_wait_s, max_queue=max_queue, weights=weights)
        self._buckets = {bucket.name: bucket for bucket in buckets}

    def __repr__(self) -> str:
        levels = ", ".join(f"{each.name} {each._level:g}/{each.capacity:g}" for each in self._buckets.values())
        return f"<TokenBuckets {levels}, {self.waiting} waiting>"

    def level(self, now: float, dimension: str) -> float:
        """Units in the bucket of this dimension; negative while it is in debt."""
        with self._lock:
            now = self._advance(now)
            bucket = self._buckets[dimension]
            bucket.room(now)
            return bucket._level

    def tighten(self, now: float, dimension: str, level: float) -> None:
        """
        Believe an upstream that says that only `level` units are left; if it says more than we know of, nothing
        changes. Who waits may have to wait longer.
        """
        with self._lock:
            now = self._advance(now)
            self._buckets[dimension].lower(now, level)

    def set_rate(self, now: float, dimension: str, rate: float, burst: float | None = None) -> Sequence[Ticket]:
        """
        Fill a bucket at `rate` units a second from now on, up to `burst` if that changes, too.

        Returns:
            The tickets to ring: granted now, or expected earlier.

        Raises:
            ValueError: If one of the numbers is not above 0 and finite.
        """
        with self._lock:
            bucket = self._buckets[dimension]
            burst = bucket.capacity if burst is None else burst
            if not (0.0 < rate < math.inf and 0.0 < burst < math.inf):
                raise ValueError(f"rate ({rate}) and burst ({burst}) of {dimension!r} must be numbers above 0")
            now = self._advance(now)
            bucket.change(now, rate, burst)
            return self._pump(now) if self._queue.size else ()
