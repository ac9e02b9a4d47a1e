"""The attempts of a call: retry, fallback and choice of deployment in one loop, with one cap and one deadline.

The loop asks and tells; it decides nothing. Who is asked is the route's balancer's word, whether to go on is the plan's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from random import Random
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ..errors import AllAttemptsFailed, BadRequest, CircuitOpen, GatewayError, LimitReached
from ..policies.attempts import FALLBACK_ON, MAX_ATTEMPTS_HARD, MAX_ATTEMPTS_TOTAL, Plan, Rules, Verdict
from ..policies.backoff import Backoff
from ..policies.retry_budget import RetryBudget
from ..policies.routing import FEATURES, VERB_NEEDS, Balancer, Standing, eligible, needs
from ..policies.tokens import input_tokens
from ..types.call import Attempt, Call, Handler
from ..types.deployment import Deployment
from ..types.reply import Outcome, Reply
from ..types.request import ONCE, Request
from ..types.units import Duration
from .base import Middleware

__all__ = ["Attempts", "Candidate", "Group", "Retry", "Route"]


class Retry(Middleware):
    """
    Try again what may work the next time, here or elsewhere.

    Raises the last error with `.attempts`, or `AllAttemptsFailed` if several deployments were asked.
    """

    slot: ClassVar[str] = "before_attempts"

    enabled: bool = Field(default=True, description="whether there is a second attempt at all; False leaves fallbacks")
    max_attempts: int = Field(
        default=3, ge=1, le=MAX_ATTEMPTS_HARD, description="of one deployment, the first included"
    )
    max_attempts_total: int = Field(
        default=MAX_ATTEMPTS_TOTAL, ge=1, le=MAX_ATTEMPTS_HARD, description="of one call, over all deployments"
    )
    backoff: Literal["exponential", "linear", "constant", "none"] = Field(
        default="exponential", description="how waits grow"
    )
    base_delay: Duration = Field(default=0.5, ge=0, description="first wait, before jitter")
    max_delay: Duration = Field(default=8.0, ge=0, description="longest wait, before jitter")
    jitter: Literal["full", "equal", "none"] = Field(default="full", description="how much of the wait is chance")
    max_server_delay: Duration = Field(default=60.0, gt=0, description="longest wait that an upstream may ask for")
    fallback_on: frozenset[str] = Field(
        default=FALLBACK_ON, description="outcomes after which another deployment is tried"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Retry:
        # Who sets one of them does not know of the other: the longest wait then bounds the first one, too.
        if self.max_delay < self.base_delay and {"base_delay", "max_delay"} <= self.model_fields_set:
            raise ValueError(f"max_delay ({self.max_delay:g}s) is shorter than base_delay ({self.base_delay:g}s)")
        unknown = self.fallback_on - FALLBACK_ON - {"policy"}
        if unknown:
            known = ", ".join(sorted(FALLBACK_ON | {"policy"}))
            raise ValueError(f"fallback_on: {sorted(unknown)[0]!r} is no outcome; there are {known}")
        return self

    def rules(self) -> Rules:
        """What the planner keeps to."""
        base_s, max_s = self.base_delay, self.max_delay
        if "max_delay" in self.model_fields_set:
            base_s = min(base_s, max_s)
        max_s = max(base_s, max_s)
        backoff = Backoff(self.backoff, base_s=base_s, max_s=max_s, jitter=self.jitter)
        return Rules(
            max_attempts=self.max_attempts if self.enabled else 1,
            max_attempts_total=max(self.max_attempts_total, self.max_attempts) if self.enabled else MAX_ATTEMPTS_TOTAL,
            max_server_delay_s=self.max_server_delay,
            backoff=backoff,
            # Who set the waits set them for throttling, too; else throttling has longer ones of its own.
            throttled_backoff=backoff
            if self.model_fields_set & {"backoff", "base_delay", "max_delay", "jitter"}
            else Backoff.for_throttled(),
            fallback_on=self.fallback_on,
        )

    def wrap(self, call_next: Handler) -> Handler:
        """Retries around a single handler."""
        lone = Candidate(Standing(Deployment("handler", "handler", "")), call_next)
        route = Route("handler", (Group(Balancer("ordered", [lone.standing], Random()), (lone,)),))
        ask = Attempts(self.rules(), Random())

        async def retried(call: Call) -> Reply:
            return await ask(call.but(way=route))

        return retried


class Candidate:
    """
    One deployment as a route sees it.

    Args:
        standing: What is known about it.
        handler: Asks it.
        gate: Seconds until its breaker would let a call through; 0.0 now.
        queue: Seconds a call would wait for its limits; 0.0 none.
        budget: Bounds the retries at its provider.
    """

    __slots__ = ("budget", "deployment", "gate", "handler", "queue", "standing")

    def __init__(
        self,
        standing: Standing,
        handler: Handler,
        gate: Callable[[float], float] | None = None,
        queue: Callable[[float, Call], float] | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self.standing = standing
        self.deployment = standing.deployment
        self.handler = handler
        self.gate = gate
        self.queue = queue
        self.budget = budget or RetryBudget()


class Group:
    """
    Deployments among which a balancer chooses.

    Args:
        price_of: What a call will probably cost at a deployment, for balancers that ask.
    """

    __slots__ = ("_head", "balancer", "by_standing", "candidates", "price_of", "standings")

    def __init__(
        self,
        balancer: Balancer,
        candidates: Sequence[Candidate],
        price_of: Callable[[Call, Standing], Decimal | None] | None = None,
    ) -> None:
        self.balancer = balancer
        self.candidates = tuple(candidates)
        self.standings = [candidate.standing for candidate in candidates]
        self.by_standing = {candidate.standing: candidate for candidate in candidates}
        self.price_of = price_of
        # Who is asked whenever it can be, and never has to wait for a limit of ours.
        first = self.candidates[0]
        self._head = first if balancer.strategy == "ordered" and first.queue is None and first.standing.weight else None

    def head(self, now: float) -> Candidate | None:
        """Who is asked whatever the others' state is, as nearly always where there is an order; None if that takes a look."""
        head = self._head
        if head is not None and head.standing.available(now) and (head.gate is None or head.gate(now) <= 0.0):
            return head
        return None

    def ready(self, now: float, spent: Sequence[Candidate]) -> list[Standing]:
        """Those that can be asked at once, as far as their own state goes."""
        return [
            candidate.standing
            for candidate in self.candidates
            if candidate.standing.available(now)
            and (candidate.gate is None or candidate.gate(now) <= 0.0)
            and candidate not in spent
        ]

    def without_queues(self, call: Call, now: float, among: list[Standing]) -> list[Standing]:
        """Those where the call would not have to wait for a limit; all of them if it would have to everywhere."""
        idle = [
            standing
            for standing in among
            if (queue := self.by_standing[standing].queue) is None or queue(now, call) <= 0
        ]
        return idle or among

    def pick(self, call: Call, now: float, among: list[Standing]) -> Standing:
        """The balancer's choice."""
        price_of = self.price_of
        if price_of is None or not self.balancer.asks_price:
            return self.balancer.pick(now, among)
        return self.balancer.pick(now, among, lambda standing: price_of(call, standing))


class Route:
    """
    Where a call of this name may go: groups, the later ones only when the earlier have nobody left.

    Args:
        name: As callers write it.
        groups: At least one.
        fingerprint: Tells two routes apart in cache keys, by everything that may make their answers differ.
    """

    __slots__ = ("_common", "_looks", "_windowed", "candidates", "fingerprint", "groups", "name")

    def __init__(self, name: str, groups: Sequence[Group], fingerprint: str = "") -> None:
        self.name = name
        self.groups = tuple(groups)
        self.candidates = tuple(candidate for group in groups for candidate in group.candidates)
        self.fingerprint = fingerprint
        deployments = [candidate.deployment for candidate in self.candidates]
        known = [deployment.capabilities for deployment in deployments if deployment.capabilities is not None]
        # What everybody can do who is known, None if nobody is; and whether only a look into a request shows if that is
        # enough for it.
        self._common = frozenset.intersection(*known) if known else None
        self._looks = self._common is not None and not self._common >= FEATURES
        self._windowed = any(deployment.context_window is not None for deployment in deployments)

    def _selects(self, request: Request) -> bool:
        """Whether it may be that not everybody can take a request. Most often everybody can, and that is found soon."""
        common = self._common
        if self._windowed or common is None:
            return self._windowed
        if not VERB_NEEDS[request.verb] <= common:
            return True
        if not self._looks or (request.original is not None and len(self.candidates) == 1):
            # Who speaks an upstream's own language, and has no other, is not translated only to be looked into.
            return False
        return not needs(request) <= common

    def choose(self, call: Call, now: float, spent: Sequence[Candidate]) -> Candidate | None:
        """Who is asked next, or None if nobody can be; `spent` are those who had their turn."""
        selects = self._selects(call.request)
        for group in self.groups:
            if not (selects or spent):
                head = group.head(now)
                if head is not None:
                    return head
            among = group.ready(now, spent)
            if selects or not among:
                among = self._fit(group, call, now, spent)
            if not among:
                continue
            if len(among) > 1:
                among = group.without_queues(call, now, among)
            return group.by_standing[group.pick(call, now, among)]
        return None

    def _fit(self, group: Group, call: Call, now: float, spent: Sequence[Candidate]) -> list[Standing]:
        """The slow way, for a request that not everybody can take, and for a group that seems to have nobody."""
        tokens = input_tokens(call.request) if self._windowed else 0
        tried = [candidate.standing for candidate in spent]
        return eligible(now, group.standings, needs(call.request), tokens, tried).candidates

    def refusal(self, call: Call, now: float, spent: Sequence[Candidate]) -> GatewayError:
        """Why nobody can be asked, as an error that says when it will be otherwise."""
        tried = [candidate.standing for candidate in spent]
        wanted, tokens = needs(call.request), input_tokens(call.request)
        reasons: list[str] = []
        waits: list[float] = []
        for group in self.groups:
            found = eligible(now, group.standings, wanted, tokens, tried)
            reasons += [f"{name} {reason}" for name, reason in found.left_out]
            if found.retry_after_s is not None:
                waits.append(found.retry_after_s)
        said = f"route {self.name!r}: nobody can be asked: {'; '.join(reasons) or 'no deployment is left'}"
        if not waits:
            unhealthy = any(not candidate.standing.healthy for candidate in self.candidates)
            return CircuitOpen(said) if unhealthy else BadRequest(said)
        open_circuit = any(candidate.gate is not None and candidate.gate(now) > 0 for candidate in self.candidates)
        return (CircuitOpen if open_circuit else LimitReached)(said, retry_after=min(waits))


class Attempts:
    """
    The handler that asks a route's deployments until one delivers.

    Args:
        rules: The planner's.
        rng: Where jitter comes from.
        told: Called with each failed attempt's verdict.
    """

    def __init__(
        self, rules: Rules, rng: Random, told: Callable[[Call, Candidate, GatewayError, Verdict], None] | None = None
    ) -> None:
        self.rules = rules
        self._rng = rng
        self._told = told

    async def __call__(self, call: Call) -> Reply:
        route: Route = call.way
        now = call.runtime.now
        candidate = route.choose(call, now(), ())
        if candidate is None:
            raise route.refusal(call, now(), ())
        budget = candidate.budget
        budget.enter()
        try:
            try:
                reply = await self._ask(
                    call, candidate, "first", 0.0, len(route.candidates) > 1 and call.options.fallback
                )
            except GatewayError as error:
                reply = await self._repair(call, route, candidate, error)
        except BaseException:
            budget.leave()
            raise
        reply.on_end(budget.leave, call.trail.later)
        return reply

    async def _ask(self, call: Call, candidate: Candidate, reason: str, waited_s: float, others: bool) -> Reply:
        """One attempt, told to whoever keeps count."""
        now = call.runtime.now
        started = now()
        standing, trail = candidate.standing, call.trail
        standing.started(started)
        patience_s = math.inf
        if others and not call.request.stream:
            # A whole answer is silent until it is there; without this, a dead upstream would leave the others no time.
            patience_s = PATIENCE * (call.deadline - started)
        try:
            reply = await candidate.handler(call.attempt(candidate.deployment, patience_s))
        except BaseException as error:
            ended = now()
            outcome = Outcome.of(error)
            standing.ended(ended, outcome, ended - started, None)
            trail.upstream_s += ended - started
            trail.attempts.append(_record(call, candidate, outcome, started, ended, reason, waited_s))
            raise
        ended = now()
        if reply.first_token_s is None:
            reply.first_token_s = ended - started
        trail.upstream_s += ended - started
        name = candidate.deployment.name
        began_s, lasted_s = started - call.started, ended - started
        place = len(trail.attempts)
        trail.attempts.append(
            Attempt(name, "ok", "ok", 200, reply.request_id, began_s, lasted_s, waited_s, reason, reply.unsaid)
        )
        reply.on_end(partial(_ended, call, candidate, place, started, reason, waited_s), trail.later)
        return reply

    async def _repair(self, call: Call, route: Route, candidate: Candidate, error: GatewayError) -> Reply:
        """What follows a failure: waits, other attempts, and in the end an answer or one error."""
        now = call.runtime.now
        options, once = call.options, call.request.verb in ONCE
        keyed = options.idempotency_key is not None
        rules = self.rules if call.trail.retries else replace(self.rules, max_attempts=1)
        plan = Plan(rules, call.deadline, self._rng, options.fallback, once, keyed)
        errors = [error]
        spent: list[Candidate] = []
        held: RetryBudget | None = None
        asked = [candidate.budget]
        try:
            while True:
                others = [*spent, candidate]
                if error.credential:
                    others += _sharing(route, candidate)
                # The others are looked for first, because whether there are any changes what is best here.
                successor = route.choose(call, now(), others)
                if held is None and error.outcome != "local":
                    held = candidate.budget if candidate.budget.take() else None
                fresh = successor is not None and successor.budget not in asked
                verdict = plan.after(
                    now(), candidate.deployment.name, error, successor is not None, held is not None, fresh=fresh
                )
                self._rest(route, candidate, error, verdict, now())
                if self._told is not None:
                    self._told(call, candidate, error, verdict)
                if verdict.action == "stop":
                    raise _final(call, route, errors)
                if verdict.action == "elsewhere" and successor is not None:
                    spent = others
                    candidate, reason = successor, "fallback"
                    asked.append(candidate.budget)
                else:
                    reason = "again"
                if held is not None and (not verdict.retry or (fresh and verdict.action == "elsewhere")):
                    held.give_back()
                    held = None
                if verdict.delay_s > 0:
                    call.trail.waited_s += verdict.delay_s
                    await call.runtime.sleep(verdict.delay_s)
                try:
                    others_left = call.options.fallback and len(spent) + 1 < len(route.candidates)
                    reply = await self._ask(call, candidate, reason, verdict.delay_s, others_left)
                except GatewayError as failure:
                    error = failure
                    errors.append(error)
                    continue
                if held is not None:
                    # The retry is in the air until its answer has ended.
                    reply.on_end(held.give_back, call.trail.later)
                    held = None
                return reply
        finally:
            if held is not None:
                held.give_back()

    def _rest(self, route: Route, candidate: Candidate, error: GatewayError, verdict: Verdict, now: float) -> None:
        if verdict.cool_s > 0:
            candidate.standing.cool(now + verdict.cool_s)
        if error.outcome == "auth" and not error.credential:
            # The key may not do this here, today; what else it may do is not touched.
            candidate.standing.disable(now + CREDENTIAL_REST_S)
        if verdict.disable_credential:
            rest_s = error.retry_after if error.retry_after is not None else CREDENTIAL_REST_S
            for other in _sharing(route, candidate):
                other.standing.disable(now + min(rest_s, CREDENTIAL_REST_MAX_S))


PATIENCE = 0.75  # of the time left, for a whole answer while others stand ready: the last quarter is theirs
CREDENTIAL_REST_S = 60.0  # seconds a key that was refused is left alone: a new one may have been set by then
CREDENTIAL_REST_MAX_S = 3600.0  # seconds; an exhausted quota may ask for a day, but money may be added within the hour


def _sharing(route: Route, candidate: Candidate) -> list[Candidate]:
    """Those who use the same key at the same place, the candidate among them."""
    deployment = candidate.deployment
    if not deployment.credential:
        return [candidate]
    return [
        other
        for other in route.candidates
        if other.deployment.credential == deployment.credential and other.deployment.origin == deployment.origin
    ]


def _ended(
    call: Call, candidate: Candidate, place: int, started: float, reason: str, waited_s: float, outcome: Outcome
) -> None:
    """The answer is over of the attempt whose record has this place."""
    usage, over = outcome.usage, call.runtime.now()
    candidate.standing.ended(over, outcome, over - started, None if usage is None else usage.output_tokens)
    if outcome.error is not None:
        # The answer broke off after it had begun: the record of its beginning is not the whole truth.
        call.trail.attempts[place] = _record(call, candidate, outcome, started, over, reason, waited_s)


def _record(
    call: Call, candidate: Candidate, outcome: Outcome, started: float, ended: float, reason: str, waited_s: float
) -> Attempt:
    error = outcome.error
    known = isinstance(error, GatewayError)
    return Attempt(
        deployment=candidate.deployment.name,
        outcome=outcome.name,
        kind=error.kind if isinstance(error, GatewayError) else outcome.name,
        status=error.status if known and isinstance(error, GatewayError) and outcome.name != "local" else None,
        request_id=error.request_id if isinstance(error, GatewayError) else None,
        started_s=started - call.started,
        duration_s=ended - started,
        waited_s=waited_s,
        reason=reason,
    )


def _final(call: Call, route: Route, errors: list[GatewayError]) -> GatewayError:
    """The error the caller sees: the last one, or all of them if several deployments failed."""
    attempts = tuple(call.trail.attempts)
    for error in errors:
        error.attempts = attempts
    own = [attempt for attempt in attempts if not attempt.inside]
    names = _unique(attempt.deployment for attempt in own)
    if len(names) < 2:
        return errors[-1]
    said = f"route {route.name!r}: {len(own)} attempts failed ({', '.join(names)}); the last: {errors[-1].message}"
    return AllAttemptsFailed(said, errors, attempts=attempts)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
