"""Laws of the token buckets: whoever comes, waits, leaves and settles, in whatever order."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import invariant, precondition, rule

from llmgate.policies.bucket import PEAKS, Bucket, TokenBuckets
from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED, QUEUED, REFUSED

from .crowds import MAX_QUEUE, Charge, Crowd

BURST = {"requests": 5.0, "tokens": 100.0}
RATE = {"requests": 0.5, "tokens": 10.0}
MAX_WAIT_S = 20.0
CLOSE = 1e-5  # units and seconds; what rounding may make of them


class Buckets(Crowd):
    """Two buckets."""

    limiter: TokenBuckets

    def __init__(self) -> None:
        limits = [Limit(name, RATE[name], 1.0, BURST[name]) for name in BURST]
        super().__init__(TokenBuckets(limits, max_wait_s=MAX_WAIT_S, max_queue=MAX_QUEUE))

    @rule(
        tenant=st.sampled_from(["", "", "a", "b"]),
        requests=st.integers(0, 3),
        units=st.integers(0, 140),
        patience=st.sampled_from([math.inf, math.inf, 0.0, 4.5]),
        wait=st.sampled_from([True, True, True, False]),
    )
    def submit(self, tenant: str, requests: int, units: int, patience: float, wait: bool) -> None:
        alone = not self.queued()
        needed = self.seconds_to({"requests": float(requests), "tokens": float(units)})
        waiter = self.come(requests, units, tenant, wait, self.now + patience)
        if alone:
            # Whether it is let in, made to wait or refused is known to the instant.
            expected = GRANTED if needed <= CLOSE else QUEUED if needed <= min(patience, MAX_WAIT_S) else REFUSED
            if patience == 0.0 or (expected is QUEUED and not wait):
                expected = REFUSED
            assert expected is waiter.ticket.state or abs(needed - min(patience, MAX_WAIT_S)) < CLOSE
        self.observe(by_itself=waiter)

    @precondition(lambda self: self.now > 1000.0)
    @rule(name=st.sampled_from(sorted(BURST)), level=st.integers(0, 50))
    def tighten(self, name: str, level: int) -> None:
        before = self.level(name)
        self.limiter.tighten(self.now, name, level)
        self.charges.append(Charge(self.now, {name: max(0.0, before - level)}))

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
