"""Slots: how many calls are in the air, and who gets the next one."""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from llmgate.policies.concurrency import Slots
from llmgate.policies.queue import CANCELLED, GRANTED, QUEUED, REFUSED, SETTLED, Limiter, ring


@pytest.fixture
def impatient_interpreter() -> Iterator[None]:
    """Threads change over a thousand times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_as_many_as_the_limit_go_and_the_others_wait() -> None:
    """
    The limit is in the air, and a slot that comes back goes to the first who waits.
    """
    slots = Slots(2)
    first, second, third, fourth = (slots.submit(0.0) for _ in range(4))

    assert [GRANTED, GRANTED, QUEUED, QUEUED] == [each.state for each in (first, second, third, fourth)]
    assert [third] == slots.settle(1.0, second)
    assert 2 == slots.in_flight
    assert [fourth] == slots.settle(1.0, first)
    assert () == slots.settle(2.0, third)
    assert 1 == slots.in_flight


def test_nobody_slips_in_between() -> None:
    """
    A newcomer does not get the slot that comes back while somebody else waits for one.
    """
    slots = Slots(1)
    first, waiter = slots.submit(0.0), slots.submit(0.0)

    slots.settle(1.0, first)
    newcomer = slots.submit(1.0)

    assert [GRANTED, QUEUED] == [waiter.state, newcomer.state]


def test_a_slot_is_given_back_once() -> None:
    """
    Settling twice, or cancelling after it, frees no second slot.
    """
    slots = Slots(2)
    first, _ = slots.submit(0.0), slots.submit(0.0)

    slots.settle(0.0, first)
    slots.settle(0.0, first)
    slots.cancel(0.0, first)

    assert 1 == slots.in_flight
    assert SETTLED is first.state


def test_a_slot_comes_back_whatever_was_used() -> None:
    """
    The same words settle every limiter: here they all mean that the call is over.
    """
    slots: Limiter = Slots(1)
    for actual in (0.0, 1.0, math.nan, {}, {"tokens": 500.0}, {"concurrency": 1.0}):
        ticket = slots.submit(0.0, {"requests": 1, "tokens": 400})
        slots.settle(0.0, ticket, actual)

        assert GRANTED is slots.submit(0.0, 5, wait=False).state
        slots = Slots(1)


def test_a_waiter_that_leaves_takes_no_slot() -> None:
    """
    Whoever cancels in the queue is passed over.
    """
    slots = Slots(1)
    first, second, third = (slots.submit(0.0) for _ in range(3))

    slots.cancel(0.0, second)

    assert [third] == slots.settle(0.0, first)
    assert CANCELLED is second.state


def test_a_grant_that_is_cancelled_goes_to_the_next() -> None:
    """
    Cancelled between the grant and the wake-up, a slot is not lost.
    """
    slots = Slots(1)
    first, second, third = (slots.submit(0.0) for _ in range(3))
    slots.settle(0.0, first)

    assert [third] == slots.cancel(0.0, second)
    assert 1 == slots.in_flight


def test_a_waiter_whose_loop_is_closed_passes_its_slot_on() -> None:
    """
    A bell that nobody hears costs the next one nothing.
    """
    slots = Slots(1)
    first, lost, heard = (slots.submit(0.0) for _ in range(3))
    lost.wake = lambda: False
    bells = []

    def wake() -> bool:
        bells.append(heard.state)
        return True

    heard.wake = wake

    ring(slots, 1.0, slots.settle(1.0, first))

    assert [SETTLED, GRANTED] == [lost.state, heard.state]
    assert [GRANTED] == bells


def test_who_waits_too_long_is_refused() -> None:
    """
    After ten seconds, or at its own deadline, a waiter is refused by whoever pumps; nobody is refused before.
    """
    slots = Slots(1)
    slots.submit(0.0)
    patient, hurried = slots.submit(0.0), slots.submit(0.0, deadline=4.0)

    assert [10.0, 4.0] == [patient.eta, hurried.eta]
    assert [] == slots.pump(3.999)
    assert [hurried] == slots.pump(4.0)
    assert [patient] == slots.pump(10.0)
    assert [(REFUSED, "concurrency")] * 2 == [(each.state, each.reason) for each in (patient, hurried)]


def test_a_slot_that_comes_back_too_late_goes_to_the_next() -> None:
    """
    Nobody is granted after its time.
    """
    slots = Slots(1)
    first, late, in_time = slots.submit(0.0), slots.submit(0.0), slots.submit(1.0)

    assert [late, in_time] == slots.settle(10.5, first)
    assert [REFUSED, GRANTED] == [late.state, in_time.state]


def test_who_does_not_want_to_wait_is_refused_at_once() -> None:
    """
    Without waiting it is now or never; the same when the queue is full.
    """
    slots = Slots(1, max_queue=1)
    slots.submit(0.0)

    refused = slots.submit(0.0, wait=False)
    slots.submit(0.0)
    crowded = slots.submit(0.0)

    assert [(REFUSED, "concurrency"), (REFUSED, "queue_full")] == [(t.state, t.reason) for t in (refused, crowded)]


def test_a_lower_limit_takes_nothing_from_anybody() -> None:
    """
    Below what is in the air it only drains: no slot is given out until there are enough.
    """
    slots = Slots(3)
    flying = [slots.submit(0.0) for _ in range(3)]
    waiter = slots.submit(0.0)

    assert () == slots.resize(0.0, 1) or [] == slots.resize(0.0, 1)
    assert [(), 2] == [tuple(slots.settle(0.0, flying[0])), slots.in_flight]
    assert [(), 1] == [tuple(slots.settle(0.0, flying[1])), slots.in_flight]
    assert [waiter] == slots.settle(0.0, flying[2])
    assert (1, 1) == (slots.in_flight, slots.limit)


def test_a_higher_limit_serves_who_waits() -> None:
    """
    New slots go to the first in the queue, and the rest are free.
    """
    slots = Slots(1)
    slots.submit(0.0)
    waiters = [slots.submit(0.0) for _ in range(3)]

    assert waiters[:2] == slots.resize(0.0, 3)
    assert "<Slots 3/3, 1 waiting>" == repr(slots)


def test_a_limit_of_none_is_no_limit() -> None:
    """
    Less than one call at a time would be a limiter that never lets anybody through.
    """
    with pytest.raises(ValueError, match="at least 1"):
        Slots(0)
    with pytest.raises(ValueError, match="at least 1"):
        Slots(1).resize(0.0, 0)


def test_one_call_inside_another_waits_for_it() -> None:
    """
    With one slot a call within a call cannot be granted; it is refused after its wait and nothing hangs.
    """
    slots = Slots(1)
    outer, inner = slots.submit(0.0), slots.submit(0.0)

    slots.pump(10.0)
    slots.settle(10.0, outer)

    assert [SETTLED, REFUSED] == [outer.state, inner.state]
    assert slots.idle(10.0)


def test_tenants_take_turns_call_by_call() -> None:
    """
    However long one tenant's queue is, the other gets every second slot.
    """
    slots = Slots(40)
    ticket, *_ = [slots.submit(0.0) for _ in range(40)]
    for _ in range(4):
        slots.submit(0.0, tenant="crowd")
    for _ in range(2):
        slots.submit(0.0, tenant="guest")
    served = []
    while freed := slots.settle(0.0, ticket):
        ticket = freed[0]
        served.append(ticket.tenant)

    assert ["crowd", "guest", "crowd", "guest", "crowd", "crowd"] == served


def test_how_long_it_may_take_is_guessed_from_how_long_it_took() -> None:
    """
    With calls that last two seconds, a full house of two lets somebody in each second.
    """
    slots = Slots(2)
    for start in range(0, 20, 2):
        for ticket in [slots.submit(float(start)), slots.submit(float(start))]:
            slots.settle(start + 2.0, ticket)

    assert 0.0 == slots.eta(20.0)

    slots.submit(20.0)
    slots.submit(20.0)

    assert 1.0 == slots.eta(20.0)
    assert 1.0 == slots.submit(20.0, wait=False).retry_after


def test_a_forked_child_has_nothing_in_the_air() -> None:
    """
    The calls live in the parent; the child would wait for their slots for ever.
    """
    slots = Slots(1)
    slots.submit(0.0)
    slots.submit(0.0)

    slots.after_fork()

    assert (0, 0) == (slots.in_flight, slots.waiting)
    assert GRANTED is slots.submit(0.0).state


@pytest.mark.usefixtures("impatient_interpreter")
def test_threads_never_pass_the_limit_and_never_lose_a_slot() -> None:
    """
    Eight threads that come, wait, give up and leave as they like: never more than three are in, in the end none.
    """
    slots = Slots(3, max_wait_s=5.0)
    lock = threading.Lock()
    inside, peak, served = 0, 0, 0
    finished: list[int] = []

    def call(rng: random.Random, which: int) -> None:
        nonlocal inside, peak, served
        now = time.monotonic
        ticket = slots.submit(now(), tenant=str(which % 3))
        while ticket.state is QUEUED:
            bell = threading.Event()

            def wake(bell: threading.Event = bell) -> bool:
                bell.set()
                return True

            ticket.wake = wake
            if rng.random() < 0.2:
                break
            if ticket.state is QUEUED:
                assert bell.wait(ticket.eta - now()), "nobody rang for five seconds"
                ring(slots, now(), slots.pump(now()))
        if ticket.state is not GRANTED or rng.random() < 0.2:
            ring(slots, now(), slots.cancel(now(), ticket))
            return
        with lock:
            inside += 1
            served += 1
            peak = max(peak, inside)
        with lock:
            inside -= 1
        ring(slots, now(), slots.settle(now(), ticket))

    def work(which: int) -> None:
        rng = random.Random(which)
        for _ in range(400):
            call(rng, which)
        finished.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)

    assert list(range(8)) == sorted(finished)
    assert 1 <= peak <= 3
    assert 0 < served
    assert (0, 0) == (slots.in_flight, slots.waiting)
    assert slots.idle(time.monotonic())
