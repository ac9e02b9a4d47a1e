"""How many retries may be in the air at once, so that retrying never becomes the load.

A retry is allowed while fewer than a fifth of the calls in the air are retries (and three in any case): the
concurrency form of Envoy's and failsafe-go's retry budgets. The other form, tokens that calls deposit and that
expire, is wrong for language models: a call of sixty seconds outlives its own deposit.

If everything fails and a retry takes no less time than a first try, then a fifth of what is in the air being
retries makes at most a quarter more attempts than there are calls.
"""

from __future__ import annotations

import threading
from fractions import Fraction

__all__ = ["RetryBudget"]

RATIO = 0.2  # of the calls in the air; Envoy's default, failsafe-go's too
MINIMUM = 3  # retries at once that are always allowed; Envoy's default


class RetryBudget:
    """
    Counts calls and retries in the air; safe to share between threads and event loops.

    Args:
        ratio: Retries allowed for each call in the air.
        minimum: Retries allowed at once however few calls there are.

    A call that is being retried is in the air, too: `enter` once for each call, `leave` when it is over, however it
    is over. In between, `take` before a retry is decided upon and `give_back` after it, its backoff included.
    """

    __slots__ = ("_lock", "_minimum", "_parts", "_per", "in_flight", "retries")

    def __init__(self, ratio: float = RATIO, minimum: int = MINIMUM) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"ratio must be between 0 and 1, not {ratio}")
        if minimum < 0:
            raise ValueError(f"minimum must not be negative, but is {minimum}")
        # In floats 0.07 * 100 is more than 7, and an eighth retry would slip in.
        self._parts, self._per = Fraction(str(ratio)).as_integer_ratio()
        self._minimum = minimum
        self._lock = threading.Lock()
        self.in_flight = 0
        self.retries = 0

    def enter(self) -> None:
        """A call begins."""
        with self._lock:
            self.in_flight += 1

    def leave(self, outcome: object = None) -> None:
        """A call is over, however."""
        with self._lock:
            self.in_flight -= 1

    def take(self) -> bool:
        """Whether one more retry may go now; if so it counts until `give_back`."""
        with self._lock:
            retries = self.retries
            if retries < self._minimum or retries * self._per < self._parts * self.in_flight:
                self.retries = retries + 1
                return True
            return False

    def give_back(self, outcome: object = None) -> None:
        """A retry that was taken is over, however, or was not made."""
        with self._lock:
            self.retries -= 1

    def __repr__(self) -> str:
        return f"<RetryBudget calls in the air: {self.in_flight}, retries: {self.retries}>"
