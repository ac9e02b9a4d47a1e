"""How long to wait before the next try, when the upstream did not say.

tenacity's `wait_*` strategies give the height of the curve, and a caller may bring any of them, or a function of
the same shape. The jitter on top is ours: tenacity's random strategies draw from the global `random`, which is
out of reach of an injected generator, so a test or a simulation could not repeat what they did.

Full jitter is "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); equal jitter keeps half of the wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from random import Random

    from tenacity import RetryCallState, Retrying

__all__ = ["Backoff", "Curve", "Jitter", "Wait"]

BASE_S = 0.5  # seconds; where the OpenAI and Anthropic SDKs start (_constants.py)
MAX_S = 8.0  # seconds; where they stop
THROTTLED_BASE_S = 1.0  # seconds; throttling base of the AWS SDKs' standard mode
THROTTLED_MAX_S = 20.0  # seconds; their cap
FLOOR_S = 0.05  # seconds; full jitter may draw 0, and a retry in the same millisecond meets the same upstream
STEEPEST = 30  # doublings; 2**30 half seconds are 17 years, and 2**1024 is no float

Curve = Literal["exponential", "linear", "constant", "none"]
Jitter = Literal["full", "equal", "none"]
Wait = Callable[["RetryCallState"], float]
"""A tenacity wait strategy: `wait_exponential(...)`, `wait_fixed(1) + wait_random(0, 2)`, or a function like them."""


class Backoff:
    """
    A curve of waits and the jitter around it.

    Args:
        curve: `exponential` (base, 2, 4, 8 … times base), `linear` (base, 2, 3, 4 … times base), `constant`, `none`,
            or a tenacity wait strategy, which is used as it is.
        base_s: Seconds before the first retry, before jitter.
        max_s: The most seconds a curve may grow to. A strategy that was brought along has its own.
        jitter: `full` draws from 0 (at least 50 ms) to the curve, `equal` from its half to the curve, `none` takes
            the curve. None means `full`, and `none` for a strategy that was brought along.

    A strategy is told, of tenacity's call state, `attempt_number`, `outcome` and `idle_for`. There is no clock here,
    so `seconds_since_start` is None; and a strategy that draws at random does so from the global `random`.

    Raises:
        ValueError: If there is no such curve, or `base_s` is negative or more than `max_s`.
    """

    __slots__ = ("_retrying", "base_s", "curve", "jitter", "max_s")

    def __init__(
        self,
        curve: Curve | Wait = "exponential",
        *,
        base_s: float = BASE_S,
        max_s: float = MAX_S,
        jitter: Jitter | None = None,
    ) -> None:
        if isinstance(curve, str) and curve not in get_args(Curve):
            raise ValueError(f"{curve!r} is no backoff; there are {', '.join(get_args(Curve))}")
        if not 0.0 <= base_s <= max_s:
            raise ValueError(f"base_s ({base_s}) must be at least 0 and at most max_s ({max_s})")
        self.curve = curve
        self.base_s = base_s
        self.max_s = max_s
        self.jitter = jitter or ("full" if isinstance(curve, str) else "none")
        self._retrying: Retrying | None = None

    @classmethod
    def for_throttled(cls) -> Backoff:
        """For an upstream that says "too fast" without saying how long: never less than half of the curve."""
        return cls("exponential", base_s=THROTTLED_BASE_S, max_s=THROTTLED_MAX_S, jitter="equal")

    def delay(self, retry: int, rng: Random, error: BaseException | None = None, waited_s: float = 0.0) -> float:
        """
        Seconds to wait.

        Args:
            retry: How many retries there were before; 0 for the first.
            rng: Where the jitter comes from.
            error: What went wrong, for a strategy that looks at it.
            waited_s: Seconds of backoff so far, for a strategy that looks at it.
        """
        high = self._height(min(retry, STEEPEST), error, waited_s)
        if not high > 0.0:  # a strategy of the caller's may say anything, NaN included
            return 0.0
        if self.jitter == "full":
            return max(min(FLOOR_S, high), rng.uniform(0.0, high))
        if self.jitter == "equal":
            return rng.uniform(0.5, 1.0) * high
        return high

    def _height(self, retry: int, error: BaseException | None, waited_s: float) -> float:
        """The curve at this point, out of tenacity's strategy."""
        import tenacity  # 25 ms; not paid for before something fails

        retrying = self._retrying
        if retrying is None:
            retrying = self._retrying = tenacity.Retrying(wait=self._strategy())
        state = tenacity.RetryCallState(retrying, None, (), {})
        state.attempt_number = retry + 1
        if error is not None and not isinstance(self.curve, str):
            # Our own curves never ask, and the future behind it costs more than the rest of this function.
            state.set_exception((type(error), error, error.__traceback__))
            state.outcome_timestamp = None
            state.idle_for = waited_s
        return float(retrying.wait(state))

    def _strategy(self) -> Wait:
        from tenacity import wait

        if not isinstance(self.curve, str):
            return self.curve
        if self.curve == "exponential":
            return wait.wait_exponential(multiplier=self.base_s, max=self.max_s)
        if self.curve == "linear":
            return wait.wait_incrementing(start=self.base_s, increment=self.base_s, max=self.max_s)
        return wait.wait_fixed(self.base_s if self.curve == "constant" else 0.0)

    def __repr__(self) -> str:
        if not isinstance(self.curve, str):
            return f"<Backoff {self.curve!r}, {self.jitter} jitter>"
        return f"<Backoff {self.curve} {self.base_s:g}s to {self.max_s:g}s, {self.jitter} jitter>"
