"""Stop calling an upstream that keeps failing; probe it after a rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from pydantic import Field

from ..policies.breaker import Breaker, Permit, Transition
from ..types.call import Call, Handler
from ..types.reply import Outcome, Reply
from ..types.units import Duration
from .base import Middleware

__all__ = ["CircuitBreaker"]


class CircuitBreaker(Middleware):
    """
    Stop calling an upstream that keeps failing; probe it after a rest.

    Raises `CircuitOpen` while it rests. Each deployment has a breaker of its own.
    """

    slot: ClassVar[str] = "each_attempt"

    enabled: bool = Field(default=True, description="whether there is one")
    threshold: int = Field(default=5, ge=1, description="consecutive failures that open the circuit")
    timeout: Duration = Field(
        default=15.0, gt=0, description="rest before a probe is let through; it doubles with every reopening"
    )
    timeout_max: Duration = Field(default=300.0, gt=0, description="longest rest")
    failure_ratio: float = Field(
        default=0.5, gt=0, le=1, description="share of failures in the window that opens the circuit"
    )
    minimum_calls: int = Field(default=10, ge=1, description="calls in the window below which the share says nothing")
    window: Duration = Field(default=60.0, gt=0, description="how far back the share looks")
    lease: Duration = Field(
        default=1200.0, gt=0, description="a probe that has not ended by then is lost, and the circuit opens again"
    )
    slow: Duration | None = Field(
        default=None, description="time to first token above which a call counts as slow; none: no such rule"
    )

    def wrap(self, call_next: Handler) -> Handler:
        return self.around(self.build(random.Random()), call_next)

    def build(self, rng: random.Random, on_transition: Callable[[Transition], None] | None = None) -> Breaker:
        """The breaker that these options describe."""
        return Breaker(
            threshold=self.threshold,
            failure_ratio=self.failure_ratio,
            minimum_calls=self.minimum_calls,
            window_s=self.window,
            open_s=self.timeout,
            open_max_s=max(self.timeout, self.timeout_max),
            lease_s=self.lease,
            slow_s=self.slow,
            rng=rng,
            on_transition=on_transition,
        )

    @staticmethod
    def around(breaker: Breaker, call_next: Handler) -> Handler:
        """`call_next` behind a breaker that others look at, too."""

        async def guarded(call: Call) -> Reply:
            permit = breaker.admit(call.runtime.now())
            try:
                reply = await call_next(call)
            except BaseException as error:
                _tell(call, permit, Outcome.of(error))
                raise
            reply.on_end(partial(_tell, call, permit), call.trail.later)
            # The first content is there: however long the rest takes, this call is not late.
            permit.answered(call.runtime.now())
            return reply

        return guarded


def _tell(call: Call, permit: Permit, outcome: Outcome) -> None:
    permit.record(call.runtime.now(), outcome)
