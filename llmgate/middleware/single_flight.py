"""Let identical calls that are in the air at once share one upstream request."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

from pydantic import Field

from ..errors import DeadlineExceeded, GatewayClosed, GatewayError
from ..policies.cache_key import CacheKey, Scope
from ..policies.cacheable import CACHED_VERBS, Cacheable
from ..policies.flights import MAX_FLIGHTS, Flights, Seat
from ..types.call import Call, Handler
from ..types.deployment import Deployment
from ..types.entry import fresh
from ..types.reply import Reply
from ..types.request import Verb
from ..types.response import Answer
from ..types.usage import Usage
from .base import Middleware
from .cache import CACHE_KEY, SHARED

__all__ = ["Sharing", "SingleFlight"]


GRACE_S = 0.1  # seconds a pilot waits beyond its deadline for its own work to say what became of it


class SingleFlight(Middleware):
    """
    Let identical calls that are in the air at once share one upstream request.

    Raises `DeadlineExceeded` for a call whose time runs out while it waits for another one's answer. Streams go alone,
    and so does who does not want to read from a cache or write to one.

    What is identical is what the cache takes for one question. Behind a cache the cache's key is used.
    """

    enabled: bool = Field(default=True, description="whether there is one")
    max_flights: int = Field(
        default=MAX_FLIGHTS, ge=1, description="requests that may be shared at once; others go alone"
    )
    verbs: tuple[Verb, ...] = Field(default=CACHED_VERBS, description="whose calls are shared")
    sampled: bool = Field(default=False, description="whether a temperature above 0 is no obstacle")
    scope: Scope = Field(default="tenant", description="tenant keeps tenants apart; shared lets them share")

    def wrap(self, call_next: Handler) -> Handler:
        return Sharing(self, call_next) if self.enabled else call_next


class _Landing:
    """
    What a flight brought: an answer and its circumstances, or an error.

    `shared` is whether more than one was aboard, `keeper` who of them is to put the answer in the cache.
    """

    __slots__ = ("answer", "cached", "deployment", "error", "first_token_s", "keeper", "request_id", "shared", "spoken")

    def __init__(self, answer: Answer | None, reply: Reply | None, error: Exception | None) -> None:
        self.answer = answer
        self.shared = False
        self.keeper: Seat[_Landing] | None = None
        self.error = error
        self.deployment: Deployment | None = None
        self.cached: str | None = None
        self.request_id: str | None = None
        self.first_token_s: float | None = None
        self.spoken = ""
        if reply is not None:
            self.spoken = reply.spoken
            self.deployment, self.cached = reply.deployment, reply.cached
            self.request_id, self.first_token_s = reply.request_id, reply.first_token_s


class Sharing:
    """The handler of a single flight, with its state."""

    def __init__(self, options: SingleFlight, call_next: Handler) -> None:
        self._next = call_next
        self._key = CacheKey(scope=options.scope)
        self._cacheable = Cacheable(frozenset(options.verbs), options.sampled)
        self.flights: Flights[_Landing] = Flights(options.max_flights)

    async def __call__(self, call: Call) -> Reply:
        key = self._key_of(call)
        if key is None:
            return await self._next(call)
        seat = self.flights.board(key, call.deadline)
        if seat is None:
            return await self._next(call)
        try:
            await self._arrival(call, seat)
            reply = self._reply(call, seat)
        finally:
            task, rung = self.flights.leave(seat, call.runtime.now())
            if rung:
                self._ring(rung, call.runtime.now())
            if task is not None:
                task.cancel()
        return await self._next(call) if reply is None else reply

    def _key_of(self, call: Call) -> bytes | None:
        request, control = call.request, call.options.cache
        if request.stream or not (control is None or (control.read and control.write)):
            return None
        noted = call.trail.notes.get(CACHE_KEY)
        if noted is not None and noted[0] is request:
            key: bytes = noted[1]
            return key
        if not self._cacheable.question(request, control):
            return None
        try:
            return self._key(call)
        except (TypeError, ValueError, RecursionError):
            return None

    async def _arrival(self, call: Call, seat: Seat[_Landing]) -> None:
        """Wait until there is something for this seat; do the work, if that falls to it."""
        flight, runtime = seat.flight, call.runtime
        while not seat.arrived:
            if flight.pilot is seat and not flight.airborne:
                self._take_off(call, seat)
                continue
            # First the bell, then another look: whoever changes something does it before ringing.
            seat.bell = bell = runtime.signal()
            if seat.arrived or (flight.pilot is seat and not flight.airborne):
                continue
            rung = await bell.wait(call.deadline)
            working = flight.call
            if not rung and flight.pilot is seat and working is not None and working.deadline <= call.deadline:
                # The work's own clock strikes at this instant, and it knows better what there was no time for.
                rung = await bell.wait(call.deadline + GRACE_S)
            if not rung and not seat.arrived:
                raise DeadlineExceeded("the call's time was over before the identical call it waited for was answered")

    def _take_off(self, call: Call, seat: Seat[_Landing]) -> None:
        # The work may outlive its caller, and then its deadline grows; the caller's own must not.
        working = call.copy()
        if self.flights.depart(seat, working):
            task = call.runtime.detach(self._fly(working, seat), partial(self._given_up, working, seat))
            self.flights.departed(seat, task)

    async def _fly(self, call: Call, seat: Seat[_Landing]) -> None:
        try:
            reply = await self._next(call)
            answer = await reply.response()
        except Exception as error:
            if _concerns_all(error):
                self._land(call, seat, _Landing(None, None, error))
            else:
                self._divert(call, seat, error)
        else:
            self._land(call, seat, _Landing(answer, reply, None))

    def _given_up(self, call: Call, seat: Seat[_Landing], _: object) -> None:
        """The work is over; if it brought nothing it was cancelled, and not for want of callers."""
        if seat.flight.pilot is seat and seat.flight.airborne:
            self._divert(call, seat, GatewayClosed("the event loop was shut down while the call was in the air"))

    def _land(self, call: Call, seat: Seat[_Landing], landing: _Landing) -> None:
        aboard = self.flights.land(seat, landing)
        landing.shared = len(aboard) > 1
        landing.keeper = aboard[0] if aboard else None
        self._ring(aboard, call.runtime.now())

    def _divert(self, call: Call, seat: Seat[_Landing], error: BaseException) -> None:
        """The work failed for reasons of its pilot's own."""
        now = call.runtime.now()
        self._ring(self.flights.divert(seat, error, now), now)

    def _ring(self, seats: Sequence[Seat[_Landing]], now: float) -> None:
        ringing = list(seats)
        for seat in ringing:
            bell = seat.bell
            if bell is not None and not bell.set():
                # Its event loop is closed. If it was to be the next pilot, that falls to another one.
                ringing += self.flights.leave(seat, now)[1]

    def _reply(self, call: Call, seat: Seat[_Landing]) -> Reply | None:
        """What the flight brought, as this seat's own; None if it cannot be copied."""
        landing, error, own = seat.flight.result, seat.error, seat.flight.pilot is seat
        try:
            if landing is None:
                raise error if error is not None else GatewayClosed("the call's work was given up")
            if landing.error is not None:
                raise landing.error if own else _copied(landing.error)
            answer = landing.answer
            assert answer is not None
            if landing.shared or not own:
                try:
                    answer = fresh(answer)
                except Exception:
                    if not own:
                        return None
            if own:
                reply = Reply.of(
                    answer, deployment=landing.deployment, cached=landing.cached, request_id=landing.request_id
                )
                reply.first_token_s, reply.spoken = landing.first_token_s, landing.spoken
                return reply
            if landing.keeper is not seat:
                call.trail.notes[SHARED] = True
            if landing.deployment is not None and not answer.deployment:
                answer.deployment, answer.provider = landing.deployment.name, landing.deployment.provider
            # The tokens and the money are the pilot's.
            answer.priced = _free
            reply = Reply.of(answer, cached=landing.cached, request_id=landing.request_id)
            reply.usage, reply.spoken = Usage(0, 0), landing.spoken
            return reply
        finally:
            # A raised error holds on to this frame by its traceback; the frame must not hold on to the error.
            del landing, error


def _concerns_all(error: Exception) -> bool:
    """Whether every call of this kind would have failed; a refusal of our own, or somebody's bug, says nothing."""
    return isinstance(error, GatewayError) and error.outcome not in ("local", "cancelled")


def _copied(error: Exception) -> Exception:
    """An error of one's own. One instance raised in two places would tell of both in its traceback."""
    try:
        copied = copy.deepcopy(error)
    except Exception:
        copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


def _free(answer: Answer) -> Decimal:
    return Decimal(0)
