"""What calls come to that are made inside another call: their attempts, tokens and money are that one's, too.

A wrapped function that captures (`gateway.wrap(capture=True)`) is run as a `Run`, which is the value of a context
variable while the function runs: whoever opens a call looks there. So a call inside is found by whatever way it comes,
also through an SDK, in a task, and on a thread that was given the context (`asyncio.to_thread`); a bare
`threading.Thread` and an executor give none, and what is called there counts for itself alone.

`Trail.parent` tells a call inside where it was made; together they are one tree. A token is counted once wherever sums
are made: by the call that used it in the totals of the gateway, by the outer call in limits of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ..errors import DeadlineExceeded
from .reply import Outcome, Reply
from .response import Answer, Response
from .usage import Usage

if TYPE_CHECKING:
    from .call import Attempt, Call

__all__ = ["Run", "Tally"]

Priced = Callable[[Answer], Decimal | None]


class Tally:
    """
    The sums of one outer call, over all runs of its function.

    Attributes:
        usage: Tokens of the calls inside, as far as they said; None if none of them has.
        taken: Tokens that calls inside have settled themselves, by limit; the outer call does not settle them again.
        held: Limits on calls at a time in which the outer call has its place; those inside need no other one.
        runs: Runs that made calls. These calls are counted as attempts, and the run itself is not.
    """

    __slots__ = ("_lock", "_spent", "_unknown", "held", "runs", "taken", "usage")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: list[tuple[Priced, Response]] = []
        self._unknown = False
        self.usage: Usage | None = None
        self.taken: dict[Hashable, int] = {}
        self.held: set[Hashable] = set()
        self.runs = 0

    def own(self, attempts: list[Attempt]) -> int:
        """How many of the outer call's attempts reached an upstream that nobody else counts."""
        return sum(not attempt.inside for attempt in attempts) - self.runs

    def add(self, usage: Usage | None, priced: Priced | None, model: str) -> None:
        """Count what a call inside has used."""
        with self._lock:
            if usage is None or not usage:
                self._unknown = True
                return
            self.usage = usage if self.usage is None else self.usage.plus(usage)
            if usage.total_tokens == 0:
                return  # out of a cache, or shared with a call that paid for it
            if priced is not None:
                self._spent.append((priced, Response(model=model, usage=usage)))
            elif usage.cost is None:
                self._unknown = True

    def take(self, limit: Hashable, tokens: int) -> None:
        """Remember what a call inside has settled at a limit."""
        with self._lock:
            self.taken[limit] = self.taken.get(limit, 0) + tokens

    @property
    def cost(self) -> Decimal | None:
        """US dollars of all calls inside; None if those of one are not known."""
        with self._lock:
            spent = list(self._spent)
            if self._unknown:
                return None
        total = Decimal(0)
        for priced, answer in spent:
            cost = priced(answer)
            if cost is None:
                return None
            total += cost
        return total


class Run:
    """
    One run of a captured function: one attempt of the outer call.

    Args:
        call: The attempt.
        variable: Where calls inside look for it.
        until: When they must be over; the outer call's time is theirs.
        retries: Whether they repeat what failed. They do not where the function is run again instead.
        tally: Of the outer call.
    """

    __slots__ = ("_asked", "_busy", "_variable", "call", "over", "retries", "tally", "until")

    def __init__(self, call: Call, variable: ContextVar[Run | None], until: float, retries: bool, tally: Tally) -> None:
        self.call = call
        self.until = until
        self.retries = retries
        self.tally = tally
        self.over = False
        self._variable = variable
        self._asked = False
        self._busy = 0

    # Around every step of the function.

    def enter(self) -> Token[Run | None]:
        """The function goes on, here and now."""
        self._busy += 1
        return self._variable.set(self)

    def leave(self, token: Token[Run | None]) -> None:
        """It has returned, yielded or failed."""
        self._busy -= 1
        with suppress(ValueError):  # whoever closes what nobody finished does it in a context of its own
            self._variable.reset(token)

    # For the calls inside.

    def holds(self, limit: Hashable) -> bool:
        """Whether the outer call, or one that it is made in itself, has its place in a limit on calls at a time."""
        run: Run | None = self
        while run is not None:
            if limit in run.tally.held:
                return True
            run = run.call.trail.parent
        return False

    def admit(self, call: Call) -> Run | None:
        """
        The run that a call belongs to, which is told to it; None if it is on its own, because the function has ended.

        Raises:
            DeadlineExceeded: If there is no time left, or nobody waits for the function any more: what cannot be
                interrupted ends at its next call.
        """
        run: Run | None = self
        while run is not None and run.over:
            if run._busy:
                raise DeadlineExceeded(f"nobody waits any more for {run.call.route}, which makes this call")
            run = run.call.trail.parent
        if run is None:
            return None
        call.deadline = min(call.deadline, run.until)
        if call.deadline <= call.started:
            raise DeadlineExceeded(f"the time of {run.call.route}, which makes this call, is over")
        trail = call.trail
        trail.parent = run
        trail.retries = trail.retries and run.retries
        if not run._asked:
            run._asked = True
            run.tally.runs += 1
        return run

    async def follow(self, call: Call, answering: Awaitable[Reply]) -> Reply:
        """The reply to a call inside, whose attempts and tokens are noted as they come."""
        copied = _Copied(self, call)
        try:
            reply = await answering
        except BaseException:
            copied.sync()
            raise
        copied.sync()
        # Not the reply itself: it would hold itself, and one that is dropped would not be gone at once.
        whole, deployment = reply.whole, reply.deployment
        priced = None if deployment is None else deployment.priced
        model = whole.model if whole is not None else "" if deployment is None else deployment.model
        del whole

        def settle(outcome: Outcome) -> None:
            copied.sync()
            self._count(call, outcome, priced, model)

        reply.on_end(settle, call.trail.later)
        return reply

    def _count(self, call: Call, outcome: Outcome, priced: Priced | None, model: str) -> None:
        inner, usage = call.trail.tally, outcome.usage
        if inner is not None and inner.runs:
            usage, priced = inner.usage, lambda answer: inner.cost
        elif call.request.verb in UNBILLED or (call.request.verb == "call" and not usage):
            return
        run: Run | None = self
        while run is not None and run.over:
            run = run.call.trail.parent
        if run is not None:
            run.tally.add(usage, priced, model)


UNBILLED = frozenset({"models", "count_tokens", "video_status", "video_content"})
"""Verbs that look and do not use; no upstream takes money for them."""


class _Copied:
    """The attempts of a call inside, in the trail of the outer one."""

    __slots__ = ("_call", "_inside", "_places", "_run", "_seen")

    def __init__(self, run: Run, call: Call) -> None:
        deployment = run.call.deployment
        self._run = run
        self._call = call
        self._inside = run.call.route if deployment is None else deployment.name
        self._seen: list[Attempt] = []
        self._places: list[int] = []

    def sync(self) -> None:
        """Copy what is new, and what has changed since: an answer may break off after it had begun."""
        run = self._run
        if run.over:
            return
        outer, began_s = run.call.trail.attempts, self._call.started - run.call.started
        seen, places = self._seen, self._places
        with run.tally._lock:
            for index, attempt in enumerate(self._call.trail.attempts):
                if index < len(seen) and seen[index] is attempt:
                    continue
                inside = attempt.inside or self._inside
                copy = replace(attempt, started_s=attempt.started_s + began_s, inside=inside)
                if index < len(seen):
                    seen[index], outer[places[index]] = attempt, copy
                else:
                    seen.append(attempt)
                    places.append(len(outer))
                    outer.append(copy)
