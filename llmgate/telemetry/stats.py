"""What a gateway has done so far, counted."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from ..errors import GatewayError
from ..policies.percentiles import Percentiles
from ..types.call import Call, Handler
from ..types.deployment import Deployment
from ..types.reply import Outcome, Reply
from ..types.response import Response

__all__ = ["CallStats", "Counts"]


@dataclass(frozen=True, slots=True)
class Counts:
    """
    Totals since the gateway was made.

    Attributes:
        calls: Calls that have ended.
        in_flight: Calls that have not.
        outcomes: Calls by how they ended: `ok`, `cancelled`, `closed`, or the kind of the error.
        cached: Calls answered by each tier of the cache.
        attempts: Upstream attempts.
        input_tokens: Tokens read by the upstreams, as far as they said.
        output_tokens: Tokens written, as far as they said.
        cost: US dollars by provider, as far as prices are known; counted since somebody wanted it (a server does).
        latency_s: Seconds of a whole call: `p50`, `p95`, `p99`, `max`.
        first_token_s: Seconds to the first content of it.
        overhead_s: Seconds of a call that the gateway itself took: all but upstreams, queues and backoff; to the
            first content.
    """

    calls: int = 0
    in_flight: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict)
    latency_s: dict[str, float] = field(default_factory=dict)
    first_token_s: dict[str, float] = field(default_factory=dict)
    overhead_s: dict[str, float] = field(default_factory=dict)


class CallStats:
    """Counts calls as they end, each exactly once. Stands outermost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = 0
        self._ended = 0
        self._outcomes: dict[str, int] = {}
        self._cached: dict[str, int] = {}
        self._attempts = 0
        self._input_tokens = self._output_tokens = 0
        self.counts_cost = False
        """Whether answers are priced, which takes more than counting them."""
        self._cost: dict[str, Decimal] = {}
        self._latency = Percentiles()
        self._first = Percentiles()
        self._overhead = Percentiles()

    def wrap(self, call_next: Handler) -> Handler:
        async def counted(call: Call) -> Reply:
            with self._lock:
                self._started += 1
            try:
                reply = await call_next(call)
            except BaseException as error:
                self._end(call, None, None, Outcome.of(error))
                raise
            # Not the reply itself: it would hold itself, and one that is dropped would not be gone at once.
            settle = partial(self._end, call, reply.cached, call.runtime.now() - call.started)
            reply.on_end(settle, call.trail.later)
            if self.counts_cost and reply.cached is None and reply.deployment is not None:
                reply.on_end(partial(self._spend, reply.deployment))
            return reply

        return counted

    def _end(self, call: Call, cached: str | None, ready_s: float | None, outcome: Outcome) -> None:
        total_s = call.runtime.now() - call.started
        trail, usage, error = call.trail, outcome.usage, outcome.error
        tally = trail.tally
        name = error.kind if isinstance(error, GatewayError) else outcome.name
        with self._lock:
            self._ended += 1
            self._outcomes[name] = self._outcomes.get(name, 0) + 1
            self._attempts += len(trail.attempts) if tally is None else tally.own(trail.attempts)
            self._latency.add(total_s)
            if cached is not None:
                self._cached[cached] = self._cached.get(cached, 0) + 1
            if ready_s is not None:
                self._first.add(ready_s)
                own_s = ready_s - trail.upstream_s - trail.waited_s
                self._overhead.add(own_s if own_s > 0.0 else 0.0)
            # Calls that were made inside of this one have counted their tokens themselves.
            if usage is not None and (tally is None or not tally.runs):
                self._input_tokens += usage.input_tokens or 0
                self._output_tokens += usage.output_tokens or 0

    def _spend(self, deployment: Deployment, outcome: Outcome) -> None:
        usage, priced = outcome.usage, deployment.priced
        cost = None if priced is None or usage is None else priced(Response(model=deployment.model, usage=usage))
        if cost is not None:
            with self._lock:
                self._cost[deployment.provider] = self._cost.get(deployment.provider, Decimal(0)) + cost

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return self._started - self._ended

    def counts(self) -> Counts:
        """The totals now."""
        with self._lock:
            return Counts(
                calls=self._ended,
                in_flight=self._started - self._ended,
                outcomes=dict(self._outcomes),
                cached=dict(self._cached),
                attempts=self._attempts,
                input_tokens=self._input_tokens,
                output_tokens=self._output_tokens,
                cost=dict(self._cost),
                latency_s=self._latency.summary(),
                first_token_s=self._first.summary(),
                overhead_s=self._overhead.summary(),
            )
