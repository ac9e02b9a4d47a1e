"""An upstream that is only played: what a deployment answers, when, and how it fails.

It is a handler as every provider's, so whatever stands before it is what stands before the real one. It knows no wire
format: what dialects do is the same on a good day and on a bad one.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

from ..errors import ConnectionFailed, GatewayError, RateLimited, StreamInterrupted
from ..policies.timers import Timers
from ..providers.base import timers_of
from ..types.call import Call
from ..types.deployment import Deployment
from ..types.reply import Reply
from ..types.response import Choice, Chunk, Models, Response
from ..types.usage import Usage
from .course import Condition, Course
from .ledger import OPEN, Ask, Ledger, Visit
from .scenario import ERRORS, ServerLimit

__all__ = ["FILLER", "VISIT", "Bucket", "Upstream"]

VISIT = "simulated_visit"
"""Under this name a call's trail notes the visit that it is."""

PIECES = 4  # of a streamed answer; each is a step of the clock, and more of them show nothing new
REFUSED_S = 0.05  # seconds until a connection is refused
BYTES_PER_TOKEN = 4  # of English prose
FILLER = "so on " * 2**17
"""What prompts and answers consist of."""


class _Fallen(Exception):
    """The upstream went down in the middle of what it did."""


class Bucket:
    """
    A provider's own limit, as it keeps it: full at first, refilled steadily.

    Args:
        rate: Units a second.
        burst: Units that it holds.
        now: When it is filled for the first time.
    """

    __slots__ = ("_burst", "_level", "_rate", "_since")

    def __init__(self, rate: float, burst: float, now: float = 0.0) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._level = self._burst
        self._since = now

    def lacks(self, now: float, units: float) -> float:
        """Seconds until so many units are there; 0 if they are. What never fits waits for a full bucket."""
        self._level = min(self._burst, self._level + (now - self._since) * self._rate)
        self._since = now
        return max(min(units, self._burst) - self._level, 0.0) / self._rate

    def take(self, units: float) -> None:
        """Take them."""
        self._level -= units


class Upstream:
    """
    One deployment.

    Args:
        name: Of the deployment.
        course: How it behaves when.
        rng: Chance of its own, so that what happens here changes nothing elsewhere.
        ledger: Where its requests are written down.
    """

    def __init__(self, name: str, course: Course, rng: Random, ledger: Ledger) -> None:
        self._name = name
        self.course = course
        self._random = rng.random
        self._rng = rng
        self._ledger = ledger
        self._limit: ServerLimit | None = None
        self._buckets: list[tuple[Bucket, bool]] = []

    async def __call__(self, call: Call) -> Reply:
        visit: Visit | None = call.trail.notes.get(VISIT)
        if visit is None:
            return await self._probed(call)
        now = call.runtime.now()
        ask = Ask(now, self._name)
        self._ledger.asks.append(ask)
        visit.attempts += 1
        try:
            return await self._answered(call, visit, ask, self.course.at(now))
        except _Fallen:
            ask.outcome = ConnectionFailed.kind
            raise ConnectionFailed("simulated: the connection broke", deployment=self._name) from None
        except GatewayError as error:
            if ask.outcome == OPEN:
                ask.outcome = error.kind
            raise
        except BaseException:
            ask.outcome = "closed"
            raise
        finally:
            ask.took_s = call.runtime.now() - ask.at

    async def _probed(self, call: Call) -> Reply:
        """A health check: whoever is not down answers."""
        if self.course.at(call.runtime.now()).down:
            raise ConnectionFailed("simulated: nobody is there", begun=False)
        return Reply.of(Models(), deployment=call.deployment)

    async def _answered(self, call: Call, visit: Visit, ask: Ask, condition: Condition) -> Reply:
        timers = timers_of(call)
        if condition.down:
            await self._pause(call, timers, ask, REFUSED_S)
            raise ConnectionFailed("simulated: nobody is there", begun=False, deployment=self._name)
        lacks_s = self._throttled(condition, ask.at, visit.prompt)
        if lacks_s > 0:
            await self._pause(call, timers, ask, condition.error_time(self._rng))
            limit = condition.limit
            said = lacks_s if limit is not None and limit.retry_after else None
            raise RateLimited("simulated: too fast", retry_after=said, deployment=self._name)
        kind = condition.failure(self._random())
        cls = ERRORS[kind] if kind else None
        if kind and cls is None:
            await self._pause(call, timers, ask, float("inf"))
        if cls is not None and not (cls is StreamInterrupted and call.request.stream):
            await self._pause(call, timers, ask, condition.error_time(self._rng))
            raise self._error(cls, condition)
        speech = _Speech(self, call, timers, visit, ask, condition, cls is not None)
        if call.request.stream:
            return await speech.streamed()
        return await speech.whole()

    def _error(self, cls: type[GatewayError], condition: Condition) -> GatewayError:
        said = f"simulated: {cls.kind}"
        wish_s = condition.retry_after_s
        return cls(said, deployment=self._name, retry_after=wish_s if cls is RateLimited else None)

    def _throttled(self, condition: Condition, now: float, prompt: int) -> float:
        """Seconds that the limit would have the request wait; nothing is taken unless it is 0."""
        limit = condition.limit
        if limit is not self._limit:
            self._limit = limit
            self._buckets = [
                (Bucket(rate, rate * burst_s, now), in_tokens) for rate, burst_s, in_tokens in _rates(limit)
            ]
        if limit is None:
            return 0.0
        lacks_s = max(bucket.lacks(now, prompt if in_tokens else 1.0) for bucket, in_tokens in self._buckets)
        if lacks_s <= 0:
            for bucket, in_tokens in self._buckets:
                bucket.take(prompt if in_tokens else 1.0)
        return lacks_s

    async def _pause(self, call: Call, timers: Timers, ask: Ask, seconds: float) -> None:
        """
        Let time pass, but not past the clocks of the attempt, and not past the upstream's own end.

        Raises:
            _Fallen: If it goes down meanwhile.
            GatewayError: That of the clock that ran out.
        """
        runtime = call.runtime
        now = runtime.now()
        over, falls, until = now + seconds, self.course.falls_after(now), timers.until
        if over <= until and over <= falls:
            if seconds > 0:
                await runtime.sleep(seconds)
            return
        if falls < until:
            await runtime.sleep(falls - now)
            raise _Fallen
        await runtime.sleep(max(until - now, 0.0))
        ask.outcome = "timeout"
        raise timers.expired(until)

    def bill(self, call: Call, visit: Visit, ask: Ask, written: int) -> None:
        """What has been written is billed, with the prompt that it took; what failed before is not."""
        deployment = call.deployment
        if deployment is None or written <= 0:
            return
        ask.read, ask.written = visit.prompt, written
        ask.cost = _bill(deployment, Usage(visit.prompt, written))
        if ask.cost is not None:
            visit.cost += ask.cost


def _rates(limit: ServerLimit | None) -> list[tuple[float, float, bool]]:
    """Units a second, seconds of burst and whether they are tokens, for each rate of a limit."""
    if limit is None:
        return []
    rates = ((limit.requests_per_minute, False), (limit.tokens_per_minute, True))
    return [(rate / 60, limit.burst, in_tokens) for rate, in_tokens in rates if rate is not None]


def _bill(deployment: Deployment, usage: Usage) -> Decimal | None:
    return None if deployment.priced is None else deployment.priced(Response(model=deployment.model, usage=usage))


class _Speech:
    """One answer on its way."""

    __slots__ = (
        "_ask", "_call", "_cut", "_first_s", "_named", "_spoken", "_timers", "_tokens", "_total_s", "_upstream", "_visit",
    )  # fmt: skip

    def __init__(
        self, upstream: Upstream, call: Call, timers: Timers, visit: Visit, ask: Ask, condition: Condition, cut: bool
    ) -> None:
        self._upstream = upstream
        self._call = call
        self._timers = timers
        self._visit = visit
        self._ask = ask
        self._tokens = visit.wanted
        self._spoken = 0
        self._named: dict[str, Any] = {"id": f"sim-{len(upstream._ledger.asks)}", "model": call.request.model}
        rng = upstream._rng
        first_s, pace = condition.first_token(rng), max(condition.pace(rng), 1e-3)
        self._first_s, self._total_s = first_s, first_s + self._tokens / pace
        if condition.latency is not None and not call.request.stream:
            self._total_s = condition.latency(rng)
            self._first_s = min(first_s, self._total_s)
        # Which piece is the last that a broken stream brings; the first one comes in any case.
        self._cut = 1 + int(upstream._random() * (PIECES - 1)) if cut else 0

    def _text(self, tokens: int) -> str:
        return FILLER[: max(tokens * BYTES_PER_TOKEN, 1)]

    async def whole(self) -> Reply:
        call, ask = self._call, self._ask
        upstream = self._upstream
        try:
            await upstream._pause(call, self._timers, ask, self._total_s)
        except BaseException:
            writing_s = self._total_s - self._first_s
            written_s = call.runtime.now() - ask.at - self._first_s
            share = min(max(written_s / writing_s, 0.0), 1.0) if writing_s > 0 else 0.0
            upstream.bill(call, self._visit, ask, int(self._tokens * share))
            raise
        upstream.bill(call, self._visit, ask, self._tokens)
        ask.outcome = "ok"
        answer = Response(
            usage=Usage(self._visit.prompt, self._tokens),
            choices=[Choice(text=self._text(self._tokens), finish_reason="stop")],
            created=0,
            **self._named,
        )
        return Reply.of(answer, deployment=call.deployment)

    async def streamed(self) -> Reply:
        await self._upstream._pause(self._call, self._timers, self._ask, self._first_s)
        reply = Reply(self._piece(), self._next, self._close, deployment=self._call.deployment)
        reply.first_token_s = self._timers.first_token_s
        return reply

    def _piece(self) -> Sequence[Chunk]:
        now = self._call.runtime.now()
        self._timers.bytes_came(now)
        self._timers.content_came(now)
        self._spoken += 1
        before = self._tokens * (self._spoken - 1) // PIECES
        return (Chunk(text=self._text(self._tokens * self._spoken // PIECES - before), **self._named),)

    async def _next(self) -> Sequence[Chunk]:
        ask = self._ask
        if ask.outcome != OPEN:
            return ()
        upstream, call = self._upstream, self._call
        try:
            if self._cut == self._spoken:
                raise StreamInterrupted("simulated: the stream broke off", deployment=upstream._name)
            if self._spoken < PIECES:
                await upstream._pause(call, self._timers, ask, (self._total_s - self._first_s) / PIECES)
                return self._piece()
        except _Fallen:
            self._over(StreamInterrupted.kind)
            raise StreamInterrupted("simulated: the connection broke", deployment=upstream._name) from None
        except GatewayError as error:
            self._over(error.kind)
            if error.outcome == "local":
                raise
            # After content, whatever broke the stream is one thing to the caller.
            raise StreamInterrupted(error.message, deployment=upstream._name) from None
        except BaseException:
            self._over("closed")
            raise
        self._over("ok")
        usage = Usage(self._visit.prompt, self._tokens)
        return Chunk(finish_reason="stop", **self._named), Chunk(usage=usage, index=-1, **self._named)

    async def _close(self) -> None:
        if self._ask.outcome == OPEN:
            self._over("closed")

    def _over(self, outcome: str) -> None:
        ask = self._ask
        ask.took_s = self._call.runtime.now() - ask.at
        if ask.outcome == OPEN:
            ask.outcome = outcome
        self._upstream.bill(self._call, self._visit, ask, self._tokens * self._spoken // PIECES)
