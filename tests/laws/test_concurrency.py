"""Laws of the slots: never more in the air than may be, and never one lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmgate.policies.concurrency import Slots
from llmgate.policies.queue import CANCELLED, GRANTED, QUEUED, REFUSED, Ticket, ring

MAX_WAIT_S = 10.0
MAX_QUEUE = 5


@dataclass(eq=False)
class Waiter:
    """A caller with its ticket; `alive` while its event loop is."""

    ticket: Ticket
    until: float
    alive: bool = True
    waiting: bool = True


class Callers(RuleBasedStateMachine):
    """Callers of three tenants that come, wait, leave, and lose their event loops; and a limit that changes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = 2
        self.peak = 0  # in the air when the limit was last lowered
        self.waiters: list[Waiter] = []
        self.slots = Slots(self.limit, max_wait_s=MAX_WAIT_S, max_queue=MAX_QUEUE)

    @rule(
        tenant=st.sampled_from(["", "", "a", "b"]),
        patience=st.sampled_from([math.inf, 0.0, 3.0]),
        wait=st.sampled_from([True, True, True, False]),
    )
    def submit(self, tenant: str, patience: float, wait: bool) -> None:
        free = self.in_the_air() < self.limit and not self.queued()
        ticket = self.slots.submit(self.now, tenant=tenant, deadline=self.now + patience, wait=wait)
        waiter = Waiter(ticket, self.now + min(patience, MAX_WAIT_S))
        ticket.wake = lambda: waiter.alive
        self.waiters.append(waiter)
        if patience == 0.0:
            assert REFUSED is ticket.state
        elif free:
            assert GRANTED is ticket.state
        else:
            assert ticket.state in ((QUEUED, REFUSED) if wait else (REFUSED,))
        self.observe()

    @rule(which=st.integers(0, 1000))
    def settle(self, which: int) -> None:
        if waiter := self.pick(which):
            had_slot, handed_over = waiter.ticket.state is GRANTED, bool(self.queued())
            before = self.slots.in_flight
            rung = self.slots.settle(self.now, waiter.ticket)
            if had_slot:
                kept = handed_over and before <= self.limit and any(each.state is GRANTED for each in rung)
                assert self.slots.in_flight == (before if kept else before - 1)
            else:
                assert not rung
                assert self.slots.in_flight == before
            ring(self.slots, self.now, rung)
            self.observe()

    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        if waiter := self.pick(which):
            was = waiter.ticket.state
            ring(self.slots, self.now, self.slots.cancel(self.now, waiter.ticket))
            if was is QUEUED:
                waiter.waiting = False
                assert CANCELLED is waiter.ticket.state
            self.observe()

    @rule(which=st.integers(0, 1000))
    def lose_the_loop(self, which: int) -> None:
        if waiter := self.pick(which):
            waiter.alive = False

    @rule(seconds=st.integers(0, 16).map(lambda quarters: quarters / 4))
    def sleep(self, seconds: float) -> None:
        self.now += seconds
        ring(self.slots, self.now, self.slots.pump(self.now))
        self.observe()

    @rule(limit=st.integers(1, 4))
    def resize(self, limit: int) -> None:
        self.limit = limit
        self.peak = self.slots.in_flight
        ring(self.slots, self.now, self.slots.resize(self.now, limit))
        self.observe()

    @invariant()
    def no_more_than_the_limit_is_in_the_air(self) -> None:
        """Only a limit that was lowered may be passed, and then it only drains."""
        self.peak = min(self.peak, self.slots.in_flight)
        assert self.in_the_air() == self.slots.in_flight <= max(self.limit, self.peak)

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        assert not self.queued() or self.slots.in_flight >= self.limit

    @invariant()
    def nobody_waits_too_long(self) -> None:
        assert all(each.until > self.now for each in self.queued())
        assert all(each.ticket.eta == each.until for each in self.queued())

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.queued()) == self.slots.waiting <= MAX_QUEUE

    def teardown(self) -> None:
        for waiter in self.waiters:
            ring(self.slots, self.now, self.slots.cancel(self.now, waiter.ticket))
        assert self.slots.idle(self.now)
        assert 0 == self.slots.in_flight

    def in_the_air(self) -> int:
        return sum(each.ticket.state is GRANTED for each in self.waiters)

    def queued(self) -> list[Waiter]:
        return [each for each in self.waiters if each.ticket.state is QUEUED]

    def pick(self, which: int) -> Waiter | None:
        return self.waiters[which % len(self.waiters)] if self.waiters else None

    def observe(self) -> None:
        changed = [each for each in self.waiters if each.waiting and each.ticket.state is not QUEUED]
        for waiter in sorted(changed, key=lambda each: each.ticket.number):
            if waiter.ticket.number:
                tenant = waiter.ticket.tenant
                first = next(each for each in self.waiters if each.waiting and each.ticket.tenant == tenant)
                assert first is waiter, "inside a tenant it is first come, first served"
            waiter.waiting = False


TestCallers = Callers.TestCase
TestCallers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
