"""A crowd before a limiter: callers of three tenants who come, wait, settle, give up and lose their event loops."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmgate.policies.limiter import FairLimiter
from llmgate.policies.queue import GRANTED, QUEUED, REFUSED, SETTLED, Ticket, ring

MAX_QUEUE = 6
DIMENSIONS = ("requests", "tokens")


@dataclass(eq=False)
class Charge:
    """Units that were taken at one moment, as far as is known by now."""

    at: float
    units: dict[str, float]
    wanted: dict[str, float] | None = None  # if it was a grant


@dataclass(eq=False)
class Waiter:
    """A caller with its ticket, asleep until it is rung or until the time it believes in."""

    ticket: Ticket
    amounts: dict[str, float]
    came: float
    believes: float = math.inf
    alive: bool = True
    waiting: bool = True
    rung: bool = False
    charge: Charge = field(default_factory=lambda: Charge(0.0, {}))


class Crowd(RuleBasedStateMachine):
    """
    Callers of a limiter of requests and tokens, and a clock that stops wherever a waiter wakes.

    `charges` is the book: what was taken and when, corrected as the truth is told. What may be in it is the limiter's law.
    """

    def __init__(self, limiter: FairLimiter) -> None:
        super().__init__()
        self.now = 1000.0
        self.waiters: list[Waiter] = []
        self.charges: list[Charge] = []
        self.limiter = limiter

    def come(self, requests: int, units: int, tenant: str, wait: bool, deadline: float = math.inf) -> Waiter:
        """A caller comes; tell what became of it with `observe`."""
        amounts = {"requests": float(requests), "tokens": float(units)}
        ticket = self.limiter.submit(self.now, amounts, tenant=tenant, deadline=deadline, wait=wait)
        waiter = Waiter(ticket, amounts, self.now, ticket.eta)
        ticket.wake = lambda: self.hear(waiter)
        self.waiters.append(waiter)
        assert wait or ticket.state in (GRANTED, REFUSED)
        return waiter

    # What may happen.

    @rule(seconds=st.integers(0, 64).map(lambda parts: parts / 32) | st.integers(0, 200).map(lambda parts: parts / 8))
    def sleep(self, seconds: float) -> None:
        """Time passes; whoever wakes on the way pumps."""
        until = self.now + seconds
        while sleepers := [each for each in self.queued() if each.alive and each.believes <= until]:
            first = min(sleepers, key=lambda each: each.believes)
            assert first.believes >= self.now
            self.now = first.believes
            ring(self.limiter, self.now, self.limiter.pump(self.now))
            assert first.ticket.state is not QUEUED or first.ticket.eta > self.now
            first.believes = first.ticket.eta
            self.observe()
        self.now = until

    @rule()
    def pump(self) -> None:
        ring(self.limiter, self.now, self.limiter.pump(self.now))
        self.observe()

    @rule(which=st.integers(0, 1000), requests=st.integers(0, 3), units=st.integers(0, 160))
    def settle(self, which: int, requests: int, units: int) -> None:
        waiter = self.pick(which)
        if waiter is None:
            return
        was = waiter.ticket.state
        actual = {"requests": float(requests), "tokens": float(units)}
        rung = self.limiter.settle(self.now, waiter.ticket, actual)
        self.correct(waiter, was, actual)
        ring(self.limiter, self.now, rung)
        self.observe()

    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        waiter = self.pick(which)
        if waiter is not None:
            self.leave(waiter)

    @rule(which=st.integers(0, 1000))
    def lose_the_loop(self, which: int) -> None:
        """The waiter's event loop is closed: it hears no bell and wakes no more."""
        if waiter := self.pick(which):
            waiter.alive = False

    # What is always true.

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.queued()) == self.limiter.waiting <= MAX_QUEUE

    def teardown(self) -> None:
        """In the end everything is as it was in the beginning."""
        for waiter in self.waiters:
            self.leave(waiter)
        assert self.limiter.idle(self.now + 1e5)

    # How it is known.

    def leave(self, waiter: Waiter) -> None:
        was = waiter.ticket.state
        rung = self.limiter.cancel(self.now, waiter.ticket)
        waiter.waiting = waiter.waiting and was is not QUEUED
        self.correct(waiter, was, dict.fromkeys(DIMENSIONS, 0.0))
        ring(self.limiter, self.now, rung)
        self.observe()

    def hear(self, waiter: Waiter) -> bool:
        waiter.rung = True
        waiter.believes = waiter.ticket.eta
        return waiter.alive

    def queued(self) -> list[Waiter]:
        return [each for each in self.waiters if each.ticket.state is QUEUED]

    def pick(self, which: int) -> Waiter | None:
        return self.waiters[which % len(self.waiters)] if self.waiters else None

    def observe(self, by_itself: Waiter | None = None) -> None:
        """Tell what has become of those who waited, in the order in which it happened."""
        changed = [each for each in self.waiters if each.waiting and each.ticket.state is not QUEUED]
        for waiter in sorted(changed, key=lambda each: each.ticket.number):
            ticket = waiter.ticket
            assert waiter.rung or waiter is by_itself
            if ticket.number:
                first = next(each for each in self.waiters if each.waiting and each.ticket.tenant == ticket.tenant)
                assert first is waiter, "inside a tenant it is first come, first served"
                waiter.charge = Charge(self.now, dict(waiter.amounts), dict(waiter.amounts))
                if ticket.state is SETTLED:
                    # Nobody heard the bell, so it was given back at once.
                    assert not waiter.alive
                    waiter.charge.units = dict.fromkeys(DIMENSIONS, 0.0)
                self.charges.append(waiter.charge)
            else:
                assert not waiter.alive or ticket.state is REFUSED
            waiter.waiting = False

    def correct(self, waiter: Waiter, was: object, actual: dict[str, float]) -> None:
        """What was taken beyond what was granted is taken now; what was not used was never taken."""
        if was is not GRANTED:
            return
        beyond = {}
        for name, used in actual.items():
            taken = waiter.charge.units[name]
            waiter.charge.units[name] = min(taken, used)
            beyond[name] = max(0.0, used - taken)
        if any(beyond.values()):
            self.charges.append(Charge(self.now, beyond))
