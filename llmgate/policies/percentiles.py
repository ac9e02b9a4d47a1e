"""Percentiles of a stream of durations in a fixed amount of memory.

A logarithmic histogram: every bucket is 5 % wider than the one before, so an answer is off by at most 2.5 %, from a
microsecond to a day, in about 500 counters. The idea is DDSketch's (Masson, Rim and Lee, VLDB 2019).
"""

from __future__ import annotations

from math import ceil, exp, log

__all__ = ["Percentiles"]

GROWTH = 1.05  # of a bucket over the one before; twice the relative error
LEAST_S = 1e-6  # seconds; whatever is shorter counts as this
MOST_S = 1e5  # seconds; a day and a bit
_STEP = log(GROWTH)
_OFFSET = log(LEAST_S)
_BUCKETS = ceil((log(MOST_S) - _OFFSET) / _STEP) + 1


class Percentiles:
    """Not locked by itself."""

    __slots__ = ("_buckets", "count", "largest")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration; what is no number is left out."""
        if not seconds >= 0.0:
            return
        at = 0 if seconds <= LEAST_S else min(int((log(seconds) - _OFFSET) / _STEP) + 1, _BUCKETS - 1)
        self._buckets[at] += 1
        self.count += 1
        if seconds > self.largest:
            self.largest = seconds

    def at(self, share: float) -> float | None:
        """The duration that this share of all do not exceed; None without any."""
        if not self.count:
            return None
        wanted = max(1, ceil(share * self.count))
        seen = 0
        for at, count in enumerate(self._buckets):
            seen += count
            if seen >= wanted:
                return min(exp(_OFFSET + (at - 0.5) * _STEP), self.largest) if at else min(LEAST_S, self.largest)
        return self.largest

    def summary(self) -> dict[str, float]:
        """`p50`, `p95`, `p99` and `max`; empty without any."""
        if not self.count:
            return {}
        named = {"p50": self.at(0.5), "p95": self.at(0.95), "p99": self.at(0.99), "max": self.largest}
        return {name: value for name, value in named.items() if value is not None}
