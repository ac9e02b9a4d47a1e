"""Percentiles of the most recent durations, in a fixed amount of memory.

Counting costs one append, on the path of every call; sorting waits until somebody asks. The window makes the answer
speak of now: an outage of this morning is not in it.
"""

from __future__ import annotations

from collections import deque
from math import ceil

__all__ = ["Percentiles"]

WINDOW = 500  # durations; the 99th percentile is then the fifth longest, and a window takes 16 KB


class Percentiles:
    """The last durations. Adding is safe from any thread."""

    __slots__ = ("_window", "add")

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=WINDOW)
        self.add = self._window.append
        """Count one duration, in seconds."""

    def at(self, share: float) -> float | None:
        """The duration that this share of them do not exceed; None without any."""
        return _at(sorted(self._window.copy()), share)

    def summary(self) -> dict[str, float]:
        """`p50`, `p95`, `p99` and `max`; empty without any."""
        durations = sorted(self._window.copy())
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        found = {name: _at(durations, share) for name, share in shares.items()}
        return {name: duration for name, duration in found.items() if duration is not None}


def _at(durations: list[float], share: float) -> float | None:
    """By the nearest rank: always a duration that was really measured."""
    return durations[max(1, ceil(share * len(durations))) - 1] if durations else None
