"""Sliding windows: never more than the limit in any stretch, wherever it begins."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED, QUEUED, REFUSED, Limiter, ring
from llmgate.policies.window import GRAINS, SlidingWindow


def window(limit: float = 10, per_s: float = 60.0, **options: float) -> SlidingWindow:
    """A window of requests alone."""
    return SlidingWindow([Limit("requests", limit, per_s)], max_wait_s=options.pop("max_wait_s", 120.0), **options)  # type: ignore[arg-type]


@pytest.fixture
def impatient_interpreter() -> Iterator[None]:
    """Threads change over a thousand times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_the_limit_goes_at_once_and_then_no_more_until_the_window_has_passed() -> None:
    """
    What was granted counts for exactly a window, and whoever waits is granted at that instant.
    """
    limiter = window(10)

    first = limiter.submit(5.0, 10)
    second = limiter.submit(6.0, 1)

    assert [GRANTED, QUEUED] == [first.state, second.state]
    assert 65.0 == second.eta
    assert [] == limiter.pump(64.999)
    assert [second] == limiter.pump(65.0)


def test_there_is_no_edge_to_wait_for() -> None:
    """
    A fixed window would let the limit go right before its edge and once more right after it.
    """
    limiter = window(10)
    limiter.submit(59.0, 10)

    assert REFUSED is limiter.submit(61.0, 1, wait=False).state
    assert REFUSED is limiter.submit(118.9, 1, wait=False).state
    assert GRANTED is limiter.submit(119.0, 1, wait=False).state


def test_seldom_grants_are_counted_exactly() -> None:
    """
    Grants further apart than a grain leave the window one by one, each at its own instant.
    """
    limiter = window(3)
    for at in (0.0, 10.0, 25.0):
        limiter.submit(at, 1)

    tickets = [limiter.submit(30.0, 1) for _ in range(3)]

    assert [60.0, 70.0, 85.0] == [ticket.eta for ticket in tickets]
    assert [[ticket] for ticket in tickets] == [list(limiter.pump(at)) for at in (60.0, 70.0, 85.0)]


def test_dense_grants_share_an_entry_and_count_a_little_longer() -> None:
    """
    Grants within one grain leave together with the youngest of them, never before it.
    """
    limiter = window(2)
    limiter.submit(0.0, 1)
    limiter.submit(0.9, 1)

    ticket = limiter.submit(1.0, 1)

    assert 60.9 == ticket.eta


def test_a_steady_stream_leaves_the_window_steadily() -> None:
    """
    However dense the grants are, each counts for a window and a sixtieth at the most.
    """
    limiter = window(130)

    states = {limiter.submit(number / 2, 1, wait=False).state for number in range(2000)}

    assert {GRANTED} == states


def test_memory_does_not_grow_with_the_grants() -> None:
    """
    Ten thousand grants in a window need no more entries than it has grains.
    """
    limiter = window(1e9)
    for number in range(10_000):
        limiter.submit(number / 100, 1)

    assert len(limiter._windows[0]._log) <= GRAINS + 2


def test_a_queue_longer_than_a_window_is_expected_to_take_several() -> None:
    """
    Who stands behind two full windows waits for the third.
    """
    limiter = window(10, max_wait_s=1000.0)
    limiter.submit(0.0, 10)

    etas = [limiter.submit(0.0, 5).eta for _ in range(5)]

    assert [60.0, 60.0, 120.0, 120.0, 180.0] == etas


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    """
    Nothing is counted for whoever is refused.
    """
    limiter = window(10, max_wait_s=30.0)
    limiter.submit(0.0, 10)

    ticket = limiter.submit(10.0, 1)
    later = limiter.submit(30.0, 10)

    assert (REFUSED, "requests", 50.0) == (ticket.state, ticket.reason, ticket.retry_after)
    assert [later] == limiter.pump(60.0)


def test_all_windows_or_none() -> None:
    """
    Who does not fit into one window counts in none.
    """
    limiter = SlidingWindow([Limit("requests", 2), Limit("tokens", 100)])
    limiter.submit(0.0, {"requests": 1, "tokens": 80})

    refused = limiter.submit(1.0, {"requests": 1, "tokens": 30}, wait=False)
    granted = limiter.submit(1.0, {"requests": 1, "tokens": 20}, wait=False)

    assert (REFUSED, "tokens", 59.0) == (refused.state, refused.reason, refused.retry_after)
    assert GRANTED is granted.state
    assert "<SlidingWindow requests 2/2, tokens 100/100, 0 waiting>" == repr(limiter)


def test_what_was_not_used_never_counted() -> None:
    """
    The difference is free at once, and grants who waits for it.
    """
    limiter = window(10)
    first = limiter.submit(0.0, 10)
    second = limiter.submit(1.0, 4)

    assert [second] == limiter.settle(2.0, first, 6)
    assert 0.0 == limiter.eta(2.0, 0)
    assert 58.0 == limiter.eta(2.0, 1)


def test_what_was_not_used_does_not_leave_the_window_either() -> None:
    """
    When a corrected grant leaves the window, it takes with it what was left of it and no more.
    """
    limiter = window(10)
    limiter.settle(2.0, limiter.submit(0.0, 10), 6)
    limiter.submit(30.0, 4)

    assert 0.0 == limiter.eta(60.0, 6)
    assert 30.0 == limiter.eta(60.0, 7)


def test_what_has_left_the_window_frees_nothing() -> None:
    """
    A call that outlives its window settles without a trace, even if it is the first of many.
    """
    limiter = window(10)
    first = limiter.submit(0.0, 10)
    limiter.submit(60.0, 8)

    limiter.settle(61.0, first, 0)

    assert [GRANTED, REFUSED] == [limiter.submit(61.0, 2).state, limiter.submit(61.0, 1, wait=False).state]


def test_use_beyond_the_estimate_counts_from_when_it_is_told() -> None:
    """
    The overuse stands in the window for a window's length, and leaves it like everything else.
    """
    limiter = window(10)
    ticket = limiter.submit(0.0, 5)

    limiter.settle(30.0, ticket, 12)

    assert 30.0 == limiter.eta(30.0, 3)
    assert 60.0 == limiter.eta(30.0, 4)


def test_overuse_is_nobody_elses() -> None:
    """
    However often more was used than estimated, what a later grant does not use is taken off that grant.
    """
    limiter = window(20)
    early = [limiter.submit(0.0, 1) for _ in range(3)]
    for at, ticket in zip((2.0, 4.0, 6.0), early, strict=True):
        limiter.settle(at, ticket, 3)
    limiter.settle(9.0, limiter.submit(8.0, 11), 0)

    assert [51.0, 53.0, 55.0, 57.0] == [limiter.eta(9.0, amount) for amount in (12, 15, 17, 19)]


def test_a_time_that_runs_backwards_is_not_believed() -> None:
    """
    Threads read the clock in one order and come in another; what is told late counts from now on.
    """
    limiter = window(10)
    limiter.settle(20.0, limiter.submit(50.0, 5), 8)

    assert 60.0 == limiter.eta(10.0, 3)


def test_who_wants_more_than_the_limit_waits_for_an_empty_window() -> None:
    """
    An oversized request is served, alone, and nobody else until it has left.
    """
    limiter = window(10)
    limiter.submit(0.0, 1)

    oversized = limiter.submit(1.0, 25)

    assert 60.0 == oversized.eta
    assert [oversized] == limiter.pump(60.0)
    assert 120.0 == limiter.submit(60.0, 1).eta


def test_settling_twice_counts_once() -> None:
    """
    Only the first settlement counts, and a cancelled grant never counted.
    """
    limiter = window(10)
    first, second = limiter.submit(0.0, 5), limiter.submit(0.0, 5)

    limiter.settle(0.0, first, 5)
    limiter.settle(0.0, first, 0)
    limiter.cancel(0.0, second)
    limiter.cancel(0.0, second)

    assert 0.0 == limiter.eta(0.0, 5)
    assert 60.0 == limiter.eta(0.0, 6)


def test_tenants_take_turns() -> None:
    """
    A tenant's backlog does not stand before another tenant's first request.
    """
    limiter = window(16)
    limiter.submit(0.0, 16)
    crowd = [limiter.submit(0.0, 1, tenant="crowd") for _ in range(20)]
    guest = limiter.submit(0.0, 1, tenant="guest")

    limiter.pump(60.0)

    assert GRANTED is guest.state
    assert 15 == sum(ticket.state is GRANTED for ticket in crowd)


def test_a_waiter_whose_loop_is_closed_passes_its_grant_on() -> None:
    """
    What nobody hears of does not count in the window.
    """
    limiter: Limiter = window(10)
    limiter.submit(0.0, 10)
    lost, heard = limiter.submit(0.0, 10), limiter.submit(0.0, 10)
    lost.wake = lambda: False
    heard.wake = lambda: True

    ring(limiter, 60.0, limiter.pump(60.0))

    assert GRANTED is heard.state


def test_an_empty_window_is_idle() -> None:
    """
    It may be forgotten when nothing counts in it any more.
    """
    limiter = window(1)
    fresh = limiter.idle(0.0)
    for at, amount in ((0.0, 0.1), (10.0, 0.2), (20.0, 0.3)):
        limiter.settle(at, limiter.submit(at, amount), amount)

    # In floats, 0.1 + 0.2 + 0.3 - 0.1 - 0.2 - 0.3 is more than nothing.
    assert [True, False, True] == [fresh, limiter.idle(79.0), limiter.idle(80.0)]


@pytest.mark.usefixtures("impatient_interpreter")
def test_threads_count_exactly() -> None:
    """
    Eight threads at a window in which time stands still: exactly the limit is granted.
    """
    limiter = window(700)
    granted = [0] * 8
    barrier = threading.Barrier(8)

    def work(which: int) -> None:
        barrier.wait()
        for turn in range(200):
            ticket = limiter.submit(0.0, 1, wait=False)
            if ticket.state is GRANTED:
                if turn % 3:
                    granted[which] += 1
                else:
                    limiter.cancel(0.0, ticket)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 700 == sum(granted)
    assert 700 == limiter._windows[0]._used
