"""Not more than so many requests, tokens and calls at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..errors import DeadlineExceeded, GatewayClosed, GatewayError, LimitReached
from ..policies.bucket import TokenBuckets
from ..policies.concurrency import Slots
from ..policies.keyed import PerKey
from ..policies.limiter import FairLimiter, Limit
from ..policies.queue import GRANTED, QUEUED, Limiter, Ticket, ring
from ..policies.tokens import Outputs, input_tokens, output_tokens
from ..policies.window import SlidingWindow
from ..types.call import Call, Handler, Trail
from ..types.reply import Outcome, Reply
from ..types.units import Duration, Rate
from ..types.usage import Usage
from .base import Middleware

__all__ = ["RateLimit", "amounts_of", "limited"]

BURST_FREE_PER_MINUTE = (
    600  # above this many requests a minute, a whole minute at once would be a flood: one second's worth
)

SLOTS = "concurrency"  # how the policy of slots calls its only dimension

if TYPE_CHECKING:
    # To a type checker a rate is a text, too, because `RateLimit(requests="60/min")` is as right as `Rate(60, 60.0)`.
    Written = Rate | Any
else:
    Written = Rate


class RateLimit(Middleware):
    """
    Let through only so much, for everybody together or for each of something.

    Tokens are booked by an estimate before the call and settled by what the upstream reports after it. A call that
    would have to wait longer than `max_wait` or its own deadline is refused at once, and has taken nothing.

    Raises `LimitReached` with `retry_after`.
    """

    slot: ClassVar[str] = "before_cache"

    per: Literal["gateway", "tenant", "route", "deployment"] = Field(
        default="gateway", description="who shares one limit: everybody, or each tenant, route or deployment by itself"
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="requests in a minute")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="tokens read and written in a minute")
    requests: Written | None = Field(default=None, description="requests in any time: 10/s, 1000/h")
    tokens: Written | None = Field(default=None, description="tokens in any time: 1000000/d")
    max_concurrency: int | None = Field(default=None, ge=1, description="calls at a time")
    burst: float | None = Field(default=None, gt=0, description="requests that may go at once after a rest")
    strategy: Literal["token_bucket", "sliding_window"] = Field(
        default="token_bucket", description="a bucket that refills steadily, or never more than the limit in any window"
    )
    on_limit: Literal["wait", "reject"] = Field(default="wait", description="what happens to who comes too early")
    max_wait: Duration = Field(default=30.0, ge=0, description="longest wait; who would wait longer is refused at once")
    max_queue: int = Field(default=1000, ge=0, description="calls that may wait")
    weights: dict[str, float] = Field(
        default_factory=dict, description="tenants that get more than the others, or less"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"requests": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _limits_something(self) -> RateLimit:
        if self.requests_per_minute is not None and self.requests is not None:
            raise ValueError("give requests_per_minute or requests, not both")
        if self.tokens_per_minute is not None and self.tokens is not None:
            raise ValueError("give tokens_per_minute or tokens, not both")
        if not self.rates() and self.max_concurrency is None:
            raise ValueError(
                "limits nothing; give requests_per_minute, tokens_per_minute, requests, tokens or max_concurrency"
            )
        return self

    def rates(self) -> list[Limit]:
        """The limits on requests and tokens."""
        found: list[Limit] = []
        if self.requests_per_minute is not None:
            found.append(Limit("requests", self.requests_per_minute, 60.0, self._burst(self.requests_per_minute)))
        if self.requests is not None:
            found.append(Limit("requests", self.requests.limit, self.requests.per_s, self.burst))
        if self.tokens_per_minute is not None:
            found.append(Limit("tokens", self.tokens_per_minute, 60.0))
        if self.tokens is not None:
            found.append(Limit("tokens", self.tokens.limit, self.tokens.per_s))
        return found

    def _burst(self, per_minute: float) -> float:
        if self.burst is not None:
            return self.burst
        return per_minute if per_minute <= BURST_FREE_PER_MINUTE else max(per_minute / 60, BURST_FREE_PER_MINUTE / 60)

    def limiter(self) -> FairLimiter | None:
        """A new limiter of the rates, None if there are none."""
        rates = self.rates()
        if not rates:
            return None
        options: dict[str, Any] = {"max_wait_s": self.max_wait, "max_queue": self.max_queue, "weights": self.weights}
        return SlidingWindow(rates, **options) if self.strategy == "sliding_window" else TokenBuckets(rates, **options)

    def slots(self) -> FairLimiter | None:
        """A new limiter of the calls at a time, None if there is none."""
        if self.max_concurrency is None:
            return None
        return Slots(self.max_concurrency, max_wait_s=self.max_wait, max_queue=self.max_queue, weights=self.weights)

    def wrap(self, call_next: Handler) -> Handler:
        """The handler behind the limits."""
        return limited(call_next, self.build(), self.on_limit == "wait", self.per)

    def build(self) -> list[Limiter]:
        """New limiters, the outer one first. Slots stand inside of rates: who waits for a slot has its tokens already."""
        return [self._keyed(make) for make in (self.limiter, self.slots) if make() is not None]

    def _keyed(self, make: Callable[[], FairLimiter | None]) -> Limiter:
        def made(key: str) -> FairLimiter:
            limiter = make()
            assert limiter is not None, "asked only where something is limited"
            return limiter

        return PerKey(made) if self.per in ("tenant", "route") else made("")


def limited(call_next: Handler, limiters: Sequence[Limiter], wait: bool, per: str) -> Handler:
    """`call_next`, asked only with a ticket of each limiter; a ticket is settled when the reply has ended."""
    outputs = Outputs()
    for limiter in reversed(limiters):
        call_next = _held(call_next, limiter, wait, per, outputs)
    return call_next


def amounts_of(call: Call, outputs: Outputs, names: frozenset[str] = frozenset({"tokens"})) -> Mapping[str, float]:
    """What the call will probably use of these dimensions; estimating tokens is worth it only where they count."""
    if "tokens" not in names:
        return ONE_EACH
    request = call.request
    return {"requests": 1.0, "tokens": float(input_tokens(request) + output_tokens(request, outputs.usual)), SLOTS: 1.0}


ONE_EACH: Mapping[str, float] = MappingProxyType({"requests": 1.0, SLOTS: 1.0})


def _held(call_next: Handler, limiter: Limiter, wait: bool, per: str, outputs: Outputs) -> Handler:
    names = frozenset(limiter.dimensions)
    per_route = per == "route"
    counts_calls = SLOTS in names

    async def held(call: Call) -> Reply:
        trail = call.trail
        limit: Hashable = None
        if trail.parent is not None or trail.tally is not None:
            limit = limiter, call.route if per_route else call.options.tenant if per == "tenant" else ""
            if counts_calls and trail.parent is not None and trail.parent.holds(limit):
                # Part of a call that has its place already; to wait for another one might be to wait for itself.
                return await call_next(call)
        amounts = amounts_of(call, outputs, names)
        key = call.route if per_route else call.options.tenant
        ticket = limiter.submit(call.runtime.now(), amounts, tenant=key, deadline=call.deadline, wait=wait)
        if ticket.state is not GRANTED:
            await _granted(call, ticket, per)
        if counts_calls and trail.tally is not None:
            trail.tally.held.add(limit)
        settle = partial(_settle, call, limiter, ticket, outputs, trail.sent, limit)
        try:
            reply = await call_next(call)
        except BaseException as error:
            settle(Outcome.of(error))
            raise
        reply.on_end(settle, trail.later)
        return reply

    return held


def _settle(
    call: Call, limiter: Limiter, ticket: Ticket, outputs: Outputs, sent: int, limit: Hashable, outcome: Outcome
) -> None:
    """
    Tell what was used, and ring whom that lets through.

    Args:
        sent: Attempts that were made before.
        limit: How calls know the limit of which one is made in the other; None for a call that stands alone.
    """
    usage = outcome.usage
    if usage is not None and usage.output_tokens and outcome.name == "ok":
        # An answer out of the cache wrote nothing, and tells nothing of how long answers are.
        outputs.record(usage.output_tokens)
    now = call.runtime.now()
    used = _used(outcome, ticket.amounts, call.trail.sent > sent)
    if limit is not None:
        used = _used_once(call.trail, limit, usage, used)
    freed = limiter.settle(now, ticket, used)
    if freed:
        ring(limiter, now, freed)


NOTHING_USED: Mapping[str, float] = MappingProxyType({"requests": 1.0, "tokens": 0.0, SLOTS: 0.0})
NOT_SENT: Mapping[str, float] = MappingProxyType({"requests": 0.0, "tokens": 0.0, SLOTS: 0.0})
UNBILLED = frozenset({"throttled", "quota_exhausted", "auth", "request", "policy"})


def _used(outcome: Outcome, amounts: Mapping[str, float], sent: bool) -> Mapping[str, float]:
    """What was really used, as far as anybody knows; where nobody does, the estimate stands."""
    usage = outcome.usage
    if usage is not None and usage.total_tokens is not None:
        # An answer out of the cache has used no tokens, but it was a request.
        return {"requests": 1.0, "tokens": float(usage.total_tokens), SLOTS: 0.0}
    if not sent and outcome.name in ("local", "cancelled"):
        return NOT_SENT
    return NOTHING_USED if outcome.name in UNBILLED else amounts


def _used_once(trail: Trail, limit: Hashable, usage: Usage | None, used: Mapping[str, float]) -> Mapping[str, float]:
    """What is left to settle for a call that was made in another one, or others in it: each token once at each limit."""
    tally, run = trail.tally, trail.parent
    if tally is not None and tally.usage is not None:
        usage = tally.usage
        left = (usage.total_tokens or 0) - tally.taken.get(limit, 0)
        used = {"requests": 1.0, "tokens": float(max(left, 0)), SLOTS: 0.0}
    if usage is not None and usage.total_tokens:
        while run is not None:
            run.tally.take(limit, int(used["tokens"]))
            run = run.call.trail.parent
    return used


async def _granted(call: Call, ticket: Ticket, per: str) -> None:
    """
    Wait in the queue.

    Raises:
        LimitReached: If the wait is, or became, too long; nothing is taken then.
    """
    runtime, limiter = call.runtime, ticket.limiter
    started = runtime.now()
    try:
        while ticket.state is QUEUED:
            signal = runtime.signal()
            ticket.wake = signal.set
            if ticket.state is QUEUED:
                await signal.wait(ticket.eta)
            ring(limiter, runtime.now(), limiter.pump(runtime.now()))
    except BaseException:
        ring(limiter, runtime.now(), limiter.cancel(runtime.now(), ticket))
        raise
    call.trail.waited_s += runtime.now() - started
    if ticket.state is not GRANTED:
        raise _refusal(call, ticket, per)


def _refusal(call: Call, ticket: Ticket, per: str) -> GatewayError:
    if ticket.reason == "closed":
        return GatewayClosed("the gateway is closing; nobody is let through any more")
    if ticket.reason == "deadline" or call.deadline <= call.runtime.now():
        return DeadlineExceeded("the call's time was over before a limit let it through")
    whose = {"tenant": f"tenant {call.options.tenant!r}", "route": f"route {call.route!r}"}.get(per, f"this {per}")
    if ticket.reason == "queue_full":
        said = f"too many calls of {whose} are waiting already"
    else:
        said = f"the limit of {ticket.reason} for {whose} is reached"
    return LimitReached(f"{said}; try again in {ticket.retry_after:.3g} s", retry_after=ticket.retry_after)
