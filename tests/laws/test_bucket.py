"""Laws of the token buckets: whoever comes, waits, leaves and settles, in whatever order."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmgate.policies.bucket import PEAKS, Bucket, TokenBuckets
from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED, QUEUED, REFUSED, SETTLED, Ticket, ring

BURST = {"requests": 5.0, "tokens": 100.0}
RATE = {"requests": 0.5, "tokens": 10.0}
MAX_WAIT_S = 20.0
MAX_QUEUE = 6
CLOSE = 1e-5  # units and seconds; what rounding may make of them


@dataclass(eq=False)
class Charge:
    """Units that left a bucket at one moment, as far as is known by now."""

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


class Buckets(RuleBasedStateMachine):
    """Two buckets, three tenants, and a clock that stops wherever a waiter wakes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waiters: list[Waiter] = []
        self.charges: list[Charge] = []

    @initialize()
    def begin(self) -> None:
        limits = [Limit(name, RATE[name], 1.0, BURST[name]) for name in BURST]
        self.limiter = TokenBuckets(limits, max_wait_s=MAX_WAIT_S, max_queue=MAX_QUEUE)

    # What may happen.

    @rule(
        tenant=st.sampled_from(["", "", "a", "b"]),
        requests=st.integers(0, 3),
        units=st.integers(0, 140),
        patience=st.sampled_from([math.inf, math.inf, 0.0, 4.5]),
        wait=st.sampled_from([True, True, True, False]),
    )
    def submit(self, tenant: str, requests: int, units: int, patience: float, wait: bool) -> None:
        amounts = {"requests": float(requests), "tokens": float(units)}
        alone = not self.queued()
        needed = self.seconds_to(amounts)
        deadline = self.now + patience
        ticket = self.limiter.submit(self.now, amounts, tenant=tenant, deadline=deadline, wait=wait)
        waiter = Waiter(ticket, amounts, self.now)
        ticket.wake = lambda: self.hear(waiter)
        waiter.believes = ticket.eta
        self.waiters.append(waiter)
        if alone:
            # Whether it is let in, made to wait or refused is known to the instant.
            expected = GRANTED if needed <= CLOSE else QUEUED if needed <= min(patience, MAX_WAIT_S) else REFUSED
            if patience == 0.0 or (expected is QUEUED and not wait):
                expected = REFUSED
            assert expected is ticket.state or abs(needed - min(patience, MAX_WAIT_S)) < CLOSE
        self.observe(by_itself=waiter)

    @rule(seconds=st.integers(0, 200).map(lambda eighths: eighths / 8))
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
        if waiter is None:
            return
        was = waiter.ticket.state
        rung = self.limiter.cancel(self.now, waiter.ticket)
        if was is QUEUED:
            waiter.waiting = False
        self.correct(waiter, was, dict.fromkeys(BURST, 0.0))
        ring(self.limiter, self.now, rung)
        self.observe()

    @rule(which=st.integers(0, 1000))
    def lose_the_loop(self, which: int) -> None:
        """The waiter's event loop is closed: it hears no bell and wakes no more."""
        if waiter := self.pick(which):
            waiter.alive = False

    @precondition(lambda self: self.now > 1000.0)
    @rule(name=st.sampled_from(sorted(BURST)), level=st.integers(0, 50))
    def tighten(self, name: str, level: int) -> None:
        before = self.level(name)
        self.limiter.tighten(self.now, name, level)
        self.charges.append(Charge(self.now, {name: max(0.0, before - level)}))

    # What is always true.

    @invariant()
    def nothing_is_lost_and_nothing_is_made(self) -> None:
        """The level is what it would be had everybody taken, when granted, what is now known to have been used."""
        for name in BURST:
            assert abs(self.limiter.level(self.now, name) - self.level(name)) < CLOSE

    @invariant()
    def no_window_holds_too_much(self) -> None:
        """Whenever one is granted, what left since any moment before fits into the burst and the refill since then."""
        for name, burst in BURST.items():
            for end, last in enumerate(self.charges):
                if last.wanted is None:
                    continue
                used = 0.0
                oversize = max(0.0, last.wanted[name] - burst)
                for first in reversed(self.charges[: end + 1]):
                    used += first.units.get(name, 0.0)
                    assert used <= burst + RATE[name] * (last.at - first.at) + oversize + CLOSE

    @invariant()
    def the_next_one_does_not_oversleep(self) -> None:
        """Whoever is next wakes when its units are there, or when it is refused; not before the others, not after."""
        head = self.limiter._queue.head()
        for waiter in self.queued():
            assert waiter.ticket.eta <= waiter.came + MAX_WAIT_S
            assert not waiter.alive or waiter.believes <= waiter.ticket.eta + CLOSE
            if waiter.ticket is head:
                due = min(self.now + self.seconds_to(waiter.amounts), waiter.ticket.until)
                assert not waiter.alive or waiter.believes <= due + CLOSE

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.queued()) == self.limiter.waiting <= MAX_QUEUE

    def teardown(self) -> None:
        """In the end everything is as it was in the beginning."""
        if not hasattr(self, "limiter"):
            return
        for waiter in self.waiters:
            was = waiter.ticket.state
            rung = self.limiter.cancel(self.now, waiter.ticket)
            waiter.waiting = waiter.waiting and was is not QUEUED
            self.correct(waiter, was, dict.fromkeys(BURST, 0.0))
            ring(self.limiter, self.now, rung)
            self.observe()
        assert self.limiter.idle(self.now + 1e5)

    # How it is known.

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
                    waiter.charge.units = dict.fromkeys(BURST, 0.0)
                self.charges.append(waiter.charge)
            else:
                assert not waiter.alive or ticket.state is REFUSED
            waiter.waiting = False

    def correct(self, waiter: Waiter, was: object, actual: dict[str, float]) -> None:
        if was is not GRANTED:
            return
        beyond = {}
        for name, used in actual.items():
            taken = waiter.charge.units[name]
            waiter.charge.units[name] = min(taken, used)
            beyond[name] = max(0.0, used - taken)
        if any(beyond.values()):
            self.charges.append(Charge(self.now, beyond))

    def level(self, name: str) -> float:
        """The level by the book: filled and emptied anew from the very beginning."""
        level, at = BURST[name], -math.inf
        for charge in self.charges:
            level = min(BURST[name], level + (charge.at - at) * RATE[name]) - charge.units.get(name, 0.0)
            at = charge.at
        return min(BURST[name], level + (self.now - at) * RATE[name])

    def seconds_to(self, amounts: dict[str, float]) -> float:
        """Seconds until these amounts are there, if nobody else comes."""
        return max(0.0, *((min(units, BURST[name]) - self.level(name)) / RATE[name] for name, units in amounts.items()))


TestBuckets = Buckets.TestCase
TestBuckets.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def book(charges: list[list[float]], now: float) -> float:
    """The level of a bucket of 100, filled at 1 a second, after these charges of (when, how much)."""
    level, at = 100.0, 0.0
    for when, used in charges:
        level = min(100.0, level + when - at) - used
        at = when
    return min(100.0, level + now - at)


steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "settle", "settle", "lower"]), st.integers(0, 60), st.integers(0, 80)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_what_was_not_used_was_never_taken(steps: list[tuple[str, int, int]]) -> None:
    """
    After any corrections of any grants, in any order, the level is that of a bucket from which only the true use was
    taken: not a unit more comes back, and not a unit less.
    """
    bucket = Bucket("tokens", 1.0, 100.0)
    bucket.room(0.0)
    charges: list[list[float]] = []
    open_grants: list[tuple[int, list[float]]] = []
    now, number = 0.0, 0
    for what, seconds, units in steps:
        now += seconds / 4
        bucket.room(now)
        if what == "take":
            number += 1
            charges.append([now, float(units)])
            open_grants.append((number, charges[-1]))
            bucket.take(now, number, float(units))
        elif what == "lower":
            charges.append([now, max(0.0, book(charges, now) - units)])
            bucket.lower(now, float(units))
        elif open_grants:
            grant, charge = open_grants.pop(units % len(open_grants))
            taken, used = charge[1], float(units)
            bucket.settle(now, grant, taken, used)
            charge[1] = min(taken, used)
            charges.append([now, max(0.0, used - taken)])

        assert abs(book(charges, now) - bucket._level) < CLOSE


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.02, 0.5, 5.0]), st.sampled_from([0.3, 0.5]))
def test_in_a_crowd_never_more_comes_back(seed: int, pace_s: float, settling: float) -> None:
    """
    With hundreds of grants out at once the level is never above that of the bucket from which only the true use was
    taken; while there are not so many peaks that some must stand for others, it is exactly there.
    """
    rng = random.Random(seed)
    bucket = Bucket("tokens", 1.0, 100.0)
    bucket.room(0.0)
    charges: list[list[float]] = []
    open_grants: list[tuple[int, list[float]]] = []
    now, number, thinned = 0.0, 0, False
    for step in range(500):
        now += rng.expovariate(1.0) * pace_s
        if rng.random() < settling and open_grants:
            grant, charge = open_grants.pop(rng.randrange(len(open_grants)))
            bucket.settle(now, grant, charge[1], 0.0)
            charge[1] = 0.0
        elif bucket.room(now) > 0.0:
            amount = min(rng.choice([0.01, 0.2, 5.0, 40.0]), bucket.room(now))
            before = len(bucket._peaks)
            number += 1
            bucket.take(now, number, amount)
            thinned = thinned or (before == PEAKS and len(bucket._peaks) < before)
            charges.append([now, amount])
            open_grants.append((number, charges[-1]))
        if step % 5 == 0:
            bucket.room(now)
            level = book(charges, now)
            assert bucket._level <= level + CLOSE
            assert thinned or level - CLOSE <= bucket._level
