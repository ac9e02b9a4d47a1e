"""Token buckets: what goes at once, who waits for how long, and what comes back."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Iterator

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given, settings, strategies as st

from llmgate.policies.bucket import PEAKS, TokenBuckets
from llmgate.policies.limiter import Limit
from llmgate.policies.queue import CANCELLED, GRANTED, QUEUED, REFUSED, SETTLED, Limiter, Ticket, ring


def tokens(burst: float = 100, per_second: float = 10, **options: float) -> TokenBuckets:
    """A bucket of tokens alone."""
    return TokenBuckets([Limit("tokens", per_second, 1.0, burst)], **options)  # type: ignore[arg-type]


def both(requests: float = 2, burst: float = 100) -> TokenBuckets:
    """Requests at one a second and tokens at ten."""
    return TokenBuckets([Limit("requests", 1, 1.0, requests), Limit("tokens", 10, 1.0, burst)])


class Bell:
    """A waiter's bell that counts; `deaf` when its event loop is closed."""

    def __init__(self, ticket: Ticket, deaf: bool = False) -> None:
        self.rung = 0
        self.deaf = deaf
        ticket.wake = self

    def __call__(self) -> bool:
        self.rung += 1
        return not self.deaf


@pytest.fixture
def impatient_interpreter() -> Iterator[None]:
    """Threads change over a thousand times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_a_burst_goes_at_once_and_the_next_at_the_instant_its_units_are_there() -> None:
    """
    Nobody is granted before the bucket holds enough, and nobody sleeps longer than that.
    """
    limiter = tokens(burst=100, per_second=10)

    first = limiter.submit(5.0, 100)
    second = limiter.submit(5.0, 30)

    assert [GRANTED, QUEUED] == [first.state, second.state]
    assert 8.0 == second.eta
    assert [] == limiter.pump(7.99)
    assert [second] == limiter.pump(8.0)
    assert GRANTED is second.state
    assert 8.0 == second.eta


def test_a_waiter_is_granted_at_its_eta_however_odd_the_numbers() -> None:
    """
    Rounding never sends a waiter back to sleep, and never lets one go more than a microsecond early.
    """
    for start in (0.1, 12345.678, 1e9 / 7):
        for rate in (0.3, 7.7, 1e6 / 3):
            limiter = tokens(burst=rate, per_second=rate)
            limiter.submit(start, rate)
            ticket = limiter.submit(start, rate / 1.1)
            assert [] == limiter.pump(ticket.eta - 1e-4)
            assert [ticket] == limiter.pump(ticket.eta)


def test_nobody_overtakes() -> None:
    """
    A small request waits behind a large one, although there would be enough for it.
    """
    limiter = tokens()
    limiter.submit(0.0, 80)

    large, small = limiter.submit(0.0, 60), limiter.submit(0.0, 1)

    assert [QUEUED, QUEUED] == [large.state, small.state]
    assert [4.0, 4.1] == [large.eta, pytest.approx(small.eta)]
    assert [large] == limiter.pump(4.0)
    assert [small] == limiter.pump(small.eta)


def test_all_dimensions_or_none() -> None:
    """
    Who lacks a request takes no tokens, and who lacks tokens takes no request.
    """
    limiter = both(requests=2, burst=100)
    limiter.submit(0.0, {"requests": 1, "tokens": 60})

    lacks_tokens = limiter.submit(0.0, {"requests": 1, "tokens": 60}, wait=False)

    assert (REFUSED, "tokens", 2.0) == (lacks_tokens.state, lacks_tokens.reason, lacks_tokens.retry_after)
    assert (1.0, 40.0) == (limiter.level(0.0, "requests"), limiter.level(0.0, "tokens"))

    limiter.submit(0.0, {"requests": 1})
    lacks_requests = limiter.submit(0.0, {"requests": 1, "tokens": 1}, wait=False)

    assert (REFUSED, "requests", 1.0) == (lacks_requests.state, lacks_requests.reason, lacks_requests.retry_after)
    assert (0.0, 40.0) == (limiter.level(0.0, "requests"), limiter.level(0.0, "tokens"))


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    """
    The longest wait and the caller's own deadline are honest: nobody is kept waiting for nothing.
    """
    limiter = tokens(max_wait_s=5.0)
    limiter.submit(0.0, 100)

    too_long = limiter.submit(0.0, 51)
    too_late = limiter.submit(0.0, 50, deadline=4.9)
    in_time = limiter.submit(0.0, 50, deadline=5.0)

    assert (REFUSED, "tokens", 5.1) == (too_long.state, too_long.reason, too_long.retry_after)
    assert (REFUSED, "tokens", 5.0) == (too_late.state, too_late.reason, too_late.retry_after)
    assert QUEUED is in_time.state
    assert [in_time] == limiter.pump(5.0)
    assert 0.0 == limiter.level(5.0, "tokens")


def test_a_deadline_that_has_passed_takes_nothing() -> None:
    """
    Even a full bucket grants nothing to a caller whose time is over.
    """
    limiter = tokens()

    ticket = limiter.submit(3.0, 1, deadline=3.0)

    assert (REFUSED, "deadline") == (ticket.state, ticket.reason)
    assert 100.0 == limiter.level(3.0, "tokens")


def test_who_has_waited_too_long_after_all_is_refused_then() -> None:
    """
    A debt can make an honest estimate wrong; the longest wait holds all the same, for the head and for those behind it.
    """
    limiter = tokens(max_wait_s=5.0)
    first = limiter.submit(0.0, 100)
    head, behind = limiter.submit(0.0, 40), limiter.submit(0.0, 10)

    assert [4.0, 5.0] == [head.eta, behind.eta]

    limiter.settle(0.0, first, 200)
    limiter.pump(4.0)

    assert [5.0, 5.0] == [head.eta, behind.eta]
    assert [head, behind] == limiter.pump(5.0)
    assert [(REFUSED, "tokens", 10.0), (REFUSED, "tokens", 6.0)] == [
        (each.state, each.reason, each.retry_after) for each in (head, behind)
    ]
    assert -50.0 == limiter.level(5.0, "tokens")


def test_an_estimate_that_was_too_hopeful_is_put_right_when_its_waiter_wakes() -> None:
    """
    A waiter that is not next, and wakes too early, is never told to wake at a time that has passed.
    """
    limiter = tokens()
    first = limiter.submit(0.0, 100)
    head, behind = limiter.submit(0.0, 40), limiter.submit(0.0, 10)
    limiter.settle(0.0, first, 200)

    limiter.pump(behind.eta)

    assert [QUEUED, QUEUED] == [head.state, behind.state]
    assert [14.0, 15.0] == [head.eta, behind.eta]


def test_a_full_queue_refuses() -> None:
    """
    No more tickets wait than may.
    """
    limiter = tokens(max_queue=2)
    limiter.submit(0.0, 100)
    limiter.submit(0.0, 1)
    limiter.submit(0.0, 1)

    ticket = limiter.submit(0.0, 1)

    assert (REFUSED, "queue_full") == (ticket.state, ticket.reason)
    assert pytest.approx(0.3) == ticket.retry_after
    assert 2 == limiter.waiting


def test_a_tenant_that_floods_the_queue_cannot_keep_others_out() -> None:
    """
    In a full queue the last ticket of the tenant with the most makes room, and its waiter is rung.
    """
    limiter = tokens(max_queue=3)
    limiter.submit(0.0, 100)
    flood = [limiter.submit(0.0, 1, tenant="flood") for _ in range(3)]
    bell = Bell(flood[-1])

    guest = limiter.submit(0.0, 1, tenant="guest")

    assert QUEUED is guest.state
    assert (REFUSED, "queue_full", 1) == (flood[-1].state, flood[-1].reason, bell.rung)
    assert REFUSED is limiter.submit(0.0, 1, tenant="guest").state
    assert 3 == limiter.waiting


def test_who_wants_more_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    """
    An oversized request is served, once, and everybody waits until it is paid for.
    """
    limiter = tokens(burst=100, per_second=10)
    limiter.submit(0.0, 50)

    oversized = limiter.submit(0.0, 250)

    assert 5.0 == oversized.eta
    assert [] == limiter.pump(4.9)
    assert [oversized] == limiter.pump(5.0)
    assert -150.0 == limiter.level(5.0, "tokens")
    assert 21.0 == limiter.submit(5.0, 10).eta


def test_what_was_not_used_comes_back() -> None:
    """
    A refund is there at once, and grants who waits for it.
    """
    limiter = tokens()
    first = limiter.submit(0.0, 100)
    second = limiter.submit(0.0, 60)

    assert [second] == limiter.settle(1.0, first, {"tokens": 50})
    assert 0.0 == limiter.level(1.0, "tokens")


def test_what_the_bucket_would_have_spilt_does_not_come_back() -> None:
    """
    A bucket that was almost full since the grant could not have kept the units that were not used.
    """
    limiter = tokens(burst=100, per_second=10)
    first = limiter.submit(0.0, 50)
    limiter.submit(4.0, 70)  # found 90

    limiter.settle(4.0, first, 0)

    assert 30.0 == limiter.level(4.0, "tokens")


def test_two_refunds_do_not_share_the_same_room() -> None:
    """
    The first refund raises what the second is measured by: both together give back what was never used, no more.
    """
    limiter = tokens(burst=200, per_second=1)
    first, second = limiter.submit(0.0, 100), limiter.submit(0.0, 100)
    limiter.submit(100.0, 100)  # finds a hundred, and had those two never come it would have found two hundred

    limiter.settle(100.0, first, 0)
    limiter.settle(100.0, second, 0)

    assert 100.0 == limiter.level(100.0, "tokens")


def test_use_beyond_the_estimate_is_debt() -> None:
    """
    Whoever comes next waits until the overuse is paid for.
    """
    limiter = tokens()
    first = limiter.submit(0.0, 100)

    limiter.settle(0.0, first, 130)

    assert -30.0 == limiter.level(0.0, "tokens")
    assert 4.0 == limiter.submit(0.0, 10).eta


def test_overuse_does_not_hide_how_full_the_bucket_was() -> None:
    """
    What would have been spilt before somebody's overuse was told does not come back after it.
    """
    limiter = tokens(burst=100, per_second=10)
    first, second = limiter.submit(0.0, 50), limiter.submit(0.0, 50)

    limiter.settle(9.0, second, 90)  # was at 90 until then
    limiter.settle(9.0, first, 0)

    assert 60.0 == limiter.level(9.0, "tokens")


def test_debts_do_not_get_in_the_way_of_refunds() -> None:
    """
    However often more was used than estimated, what a later grant does not use comes back.
    """
    limiter = tokens()
    for _ in range(3):
        limiter.settle(0.0, limiter.submit(0.0, 10), 20)
    ticket = limiter.submit(0.0, 40)

    limiter.settle(1.0, ticket, 0)

    assert 50.0 == limiter.level(1.0, "tokens")


def test_settling_twice_counts_once() -> None:
    """
    Only the first settlement counts; after it a cancellation gives nothing back either.
    """
    limiter = tokens()
    ticket = limiter.submit(0.0, 50)

    limiter.settle(0.0, ticket, 40)
    limiter.settle(0.0, ticket, 0)
    limiter.cancel(0.0, ticket)

    assert SETTLED is ticket.state
    assert 60.0 == limiter.level(0.0, "tokens")


@pytest.mark.parametrize("nonsense", [-1, math.nan, math.inf, {"requests": 0}, {}])
def test_a_use_that_is_no_amount_counts_as_estimated(nonsense: float | dict[str, float]) -> None:
    """
    An upstream's garbage neither fills the bucket nor empties it for ever.
    """
    limiter = tokens()
    ticket = limiter.submit(0.0, 50)

    limiter.settle(0.0, ticket, nonsense)

    assert SETTLED is ticket.state
    assert 50.0 == limiter.level(0.0, "tokens")


@pytest.mark.parametrize("nonsense", [-1, math.nan, math.inf])
def test_an_amount_must_be_one(nonsense: float) -> None:
    """
    Asking for less than nothing would fill the bucket.
    """
    limiter, crowded, closed = tokens(), tokens(), tokens()
    crowded.submit(0.0, {"tokens": 100})
    crowded.submit(0.0, {"tokens": 10})
    closed.close()

    for each in (limiter, crowded, closed):
        with pytest.raises(ValueError, match="tokens must be a number from 0 on"):
            each.submit(0.0, {"tokens": nonsense})
    assert 1 == crowded.waiting


def test_dimensions_that_are_not_limited_are_ignored() -> None:
    """
    The same amounts serve every limiter, whatever it counts.
    """
    limiter = tokens()

    ticket = limiter.submit(0.0, {"requests": 1, "tokens": 10})
    limiter.settle(0.0, ticket, {"requests": 1, "tokens": 4, "images": 7})

    assert 96.0 == limiter.level(0.0, "tokens")


def test_a_waiter_that_leaves_lets_the_next_one_know() -> None:
    """
    The new head is rung, because it sleeps until a time that is too late now; and nothing was taken by the other.
    """
    limiter = tokens()
    limiter.submit(0.0, 100)
    first, second, third = (limiter.submit(0.0, 50) for _ in range(3))

    rung = limiter.cancel(1.0, first)

    assert CANCELLED is first.state
    assert [second] == rung
    assert (QUEUED, 5.0) == (second.state, second.eta)
    assert [second, third] == limiter.pump(5.0)
    assert (QUEUED, 10.0) == (third.state, third.eta)
    assert [third] == limiter.pump(10.0)


def test_a_grant_that_is_cancelled_gives_everything_back() -> None:
    """
    Cancelling between the grant and the call leaks nothing, and doing it twice gives nothing more.
    """
    limiter = both()
    ticket = limiter.submit(0.0, {"requests": 1, "tokens": 70})

    limiter.cancel(0.0, ticket)
    limiter.cancel(0.0, ticket)

    assert (2.0, 100.0) == (limiter.level(0.0, "requests"), limiter.level(0.0, "tokens"))
    assert limiter.idle(0.0)


def test_a_ticket_granted_before_its_bell_was_there_is_granted() -> None:
    """
    Who hangs up a bell and then looks at the state misses nothing.
    """
    limiter = tokens()
    limiter.submit(0.0, 100)
    ticket = limiter.submit(0.0, 10)

    ring(limiter, 1.0, limiter.pump(1.0))
    bell = Bell(ticket)

    assert GRANTED is ticket.state
    assert 0 == bell.rung


def test_a_waiter_whose_loop_is_closed_passes_its_grant_on() -> None:
    """
    Nobody hears the bell, so the units go to the next, and the next one's bell rings.
    """
    limiter = tokens()
    limiter.submit(0.0, 100)
    lost, lost_too, heard = (limiter.submit(0.0, 50) for _ in range(3))
    bells = [Bell(lost, deaf=True), Bell(lost_too, deaf=True), Bell(heard)]

    ring(limiter, 5.0, limiter.pump(5.0))

    assert [SETTLED, SETTLED, GRANTED] == [lost.state, lost_too.state, heard.state]
    assert all(bell.rung for bell in bells)
    assert 0.0 == limiter.level(5.0, "tokens")


def test_a_newcomer_serves_those_who_should_be_awake() -> None:
    """
    When every waiter's loop is closed, whoever comes next finds the way free, even without waiting.
    """
    limiter = tokens()
    limiter.submit(0.0, 100)
    Bell(limiter.submit(0.0, 50), deaf=True)

    ticket = limiter.submit(5.0, 50, wait=False)
    again = limiter.submit(5.0, 50, wait=False)

    assert [REFUSED, GRANTED] == [ticket.state, again.state]


def test_tenants_take_turns() -> None:
    """
    A tenant that comes late and wants little waits for the one who was first, not for its whole backlog.
    """
    limiter = tokens(burst=160, per_second=10)
    limiter.submit(0.0, 160)
    crowd = [limiter.submit(0.0, 10, tenant="crowd") for _ in range(20)]

    guest = limiter.submit(0.0, 10, tenant="guest")

    assert 2.0 == guest.eta
    assert [crowd[0]] == limiter.pump(1.0)
    assert [guest] == limiter.pump(2.0)
    assert [crowd[1]] == limiter.pump(3.0)


def test_who_is_next_stays_next() -> None:
    """
    A tenant that was alone in the queue keeps the promise it was given, whoever comes and however little they want.
    """
    limiter = tokens(burst=160, per_second=10)
    limiter.submit(0.0, 160)
    large = limiter.submit(0.0, 160, tenant="large")

    small = limiter.submit(0.0, 10, tenant="small")

    assert [16.0, 17.0] == [large.eta, small.eta]
    assert [] == limiter.pump(15.9)
    assert large in limiter.pump(16.0)
    assert QUEUED is small.state


def test_an_oversized_request_waits_for_one_full_bucket_of_the_others() -> None:
    """
    However much a tenant wants at once, its turn comes when the others have had as much as a bucket holds.
    """
    limiter = tokens(burst=16, per_second=1, max_wait_s=1000)
    limiter.submit(0.0, 16)
    for _ in range(40):
        limiter.submit(0.0, 1, tenant="small")

    assert 16.0 + 16.0 == limiter.submit(0.0, 1e9, tenant="large").eta


def test_a_heavy_tenant_gets_more() -> None:
    """
    With a weight of three a tenant is served three times as often.
    """
    limiter = TokenBuckets([Limit("tokens", 10, 1.0, 160)], weights={"gold": 3.0})
    limiter.submit(0.0, 160)
    tickets = [limiter.submit(0.0, 10, tenant=tenant) for _ in range(12) for tenant in ("plain", "gold")]

    limiter.pump(12.0)
    granted = [ticket.tenant for ticket in tickets if ticket.state is GRANTED]

    assert (9, 3) == (granted.count("gold"), granted.count("plain"))


def test_an_upstream_that_knows_of_less_is_believed() -> None:
    """
    Tightening empties the bucket to what the upstream says is left, and never fills it.
    """
    limiter = tokens()

    limiter.tighten(0.0, "tokens", 20)
    limiter.tighten(0.0, "tokens", 50)

    assert 20.0 == limiter.level(0.0, "tokens")
    assert 1.0 == limiter.submit(0.0, 30).eta


def test_a_faster_rate_rings_who_sleeps_too_long() -> None:
    """
    The head learns of its earlier time, and from then on the bucket fills at the new rate up to the new burst.
    """
    limiter = tokens()
    limiter.submit(0.0, 100)
    ticket = limiter.submit(0.0, 80)

    rung = limiter.set_rate(1.0, "tokens", 70, burst=140)

    assert [ticket] == rung
    assert 2.0 == ticket.eta
    assert [ticket] == limiter.pump(2.0)
    assert 140.0 == limiter.level(60.0, "tokens")


def test_a_time_that_runs_backwards_is_not_believed() -> None:
    """
    Threads read the clock in one order and come in another; nothing is filled twice.
    """
    limiter = tokens()
    limiter.submit(10.0, 100)
    limiter.submit(4.0, 0)

    assert 0.0 == limiter.level(5.0, "tokens")
    assert 10.0 == limiter.level(11.0, "tokens")


def test_looking_ahead_takes_nothing() -> None:
    """
    `eta` tells how long such a request would wait, behind those who wait already.
    """
    limiter = tokens()

    assert 0.0 == limiter.eta(0.0, 500)

    limiter.submit(0.0, 100)

    assert 5.0 == limiter.eta(0.0, {"tokens": 50})

    limiter.submit(0.0, 30)

    assert 8.0 == limiter.eta(0.0, {"tokens": 50})
    assert 0.0 == limiter.level(0.0, "tokens")
    assert 1 == limiter.waiting


def test_a_closed_limiter_refuses_everybody() -> None:
    """
    Waiters are refused and newcomers, too; what is out can still be settled.
    """
    limiter = tokens()
    out = limiter.submit(0.0, 100)
    waiter = limiter.submit(0.0, 10)

    assert [waiter] == limiter.close()
    assert (REFUSED, "closed") == (waiter.state, waiter.reason)
    assert (REFUSED, "closed") == (limiter.submit(60.0, 1).state, waiter.reason)
    assert math.inf == limiter.eta(60.0, 1)
    assert () == limiter.settle(0.0, out, 0)
    assert () == limiter.cancel(0.0, waiter)
    assert [] == limiter.close()


def test_a_forked_child_starts_without_waiters_and_with_a_lock_of_its_own() -> None:
    """
    A lock that another thread held at the fork would never open again; what was spent stays spent.
    """
    limiter = tokens()
    limiter.submit(0.0, 100)
    limiter.submit(0.0, 10)
    limiter._lock.acquire()

    limiter.after_fork()

    assert 0 == limiter.waiting
    assert limiter.unoccupied
    assert 10.0 == limiter.level(1.0, "tokens")


def test_idle_means_as_good_as_new() -> None:
    """
    Only a limiter with nobody waiting, nothing out and full buckets may be forgotten.
    """
    limiter = tokens()
    fresh = limiter.idle(0.0)
    ticket = limiter.submit(0.0, 10)
    out = limiter.idle(60.0)
    limiter.settle(60.0, ticket, 20)

    assert [True, False, False, True] == [fresh, out, limiter.idle(60.0), limiter.idle(62.0)]


def test_memory_is_bounded_when_many_are_out() -> None:
    """
    Of a thousand grants out at once some of the credit may be lost, but never is there too much.
    """
    limiter = tokens(burst=2000, per_second=1)
    tickets = [limiter.submit(number / 1000, 2) for number in range(900)]

    for ticket in tickets[::3]:
        limiter.settle(0.9, ticket, 0)
    level = limiter.level(0.9, "tokens")

    # Had those 300 never come the level would be 800.9; a 64th of the burst may be lost, nothing may be gained.
    assert 800.9 - 2000 / 64 <= level <= 800.9 + 1e-6
    assert len(limiter._buckets["tokens"]._peaks) <= PEAKS


def test_peaks_that_stand_for_others_are_as_high_as_those() -> None:
    """
    When hundreds are out and their peaks are thinned out, the bucket still knows how full it was after each grant.
    """
    limiter = tokens(burst=2000, per_second=1)
    limiter.submit(0.0, 20)
    large = limiter.submit(19.5, 20)
    for _ in range(2 * PEAKS):
        limiter.submit(39.49, 0.01)
    level = limiter.level(39.49, "tokens")

    limiter.settle(39.49, large, 0)

    assert level <= limiter.level(39.49, "tokens") <= level + 2000 - 1999.49 + 1e-6


def test_memory_is_bounded_when_many_give_up() -> None:
    """
    Ten thousand who queue and leave again do not stay in memory until their time would have come.
    """
    limiter = tokens(max_queue=10)
    limiter.submit(0.0, 100)
    limiter.submit(0.0, 100)

    for _ in range(10_000):
        limiter.cancel(0.0, limiter.submit(0.0, 100))

    assert 1 == limiter.waiting
    assert len(limiter._alarms) <= 2 * 10 + 1


def test_nonsense_is_refused_when_it_is_configured() -> None:
    """
    A limit that could never be kept, or never be met, is an error at once.
    """
    with pytest.raises(ValueError, match="limit of 'tokens' must be a number above 0"):
        Limit("tokens", 0)
    with pytest.raises(ValueError, match="burst of 'tokens'"):
        Limit("tokens", 1, burst=math.inf)
    with pytest.raises(ValueError, match="a name of its own"):
        TokenBuckets([Limit("tokens", 1), Limit("tokens", 2)])
    with pytest.raises(ValueError, match="a name of its own"):
        TokenBuckets([])
    with pytest.raises(ValueError, match="must not be negative"):
        tokens(max_wait_s=math.nan)
    with pytest.raises(ValueError, match="the weight of 'gold'"):
        TokenBuckets([Limit("tokens", 1)], weights={"gold": 0.0})
    with pytest.raises(ValueError, match="must be numbers above 0"):
        tokens().set_rate(0.0, "tokens", 0.0)


def test_it_can_be_read() -> None:
    """
    A limiter and a ticket say what a person wants to know.
    """
    limiter: Limiter = tokens()
    limiter.submit(0.0, 80)
    ticket = limiter.submit(0.0, 60, tenant="acme")

    assert "<TokenBuckets tokens 20/100, 1 waiting>" == repr(limiter)
    assert "<Ticket acme queued (tokens)>" == repr(ticket)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is set by hand."""

    at = 1000.0

    def time(self) -> float:
        return self.at


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 64), st.integers(0, 40)), max_size=40))
def test_it_agrees_with_aiolimiter(steps: list[tuple[int, int]]) -> None:
    """
    For one tenant that never waits it decides exactly as aiolimiter's leaky bucket does.
    """
    ours = tokens(burst=40, per_second=2)
    theirs = AsyncLimiter(40, 20)
    loop = VirtualLoop()

    async def same(eighths: int, amount: int) -> None:
        loop.at += eighths / 8
        free = theirs.has_capacity(amount)
        assert free == (ours.submit(loop.at, amount, wait=False).state is GRANTED)
        if free:
            await theirs.acquire(amount)

    async def all_the_same() -> None:
        for eighths, amount in steps:
            await same(eighths, amount)

    try:
        loop.run_until_complete(all_the_same())
    finally:
        loop.close()


@pytest.mark.usefixtures("impatient_interpreter")
def test_threads_take_exactly_what_is_there() -> None:
    """
    Eight threads at a bucket in which time stands still: not one unit too much or too little, and refunds are whole.
    """
    limiter = TokenBuckets([Limit("requests", 1500), Limit("tokens", 7000)])
    limiter.tighten(0.0, "requests", 1000)
    limiter.tighten(0.0, "tokens", 6500)
    granted = [0] * 8
    barrier = threading.Barrier(8)

    def work(which: int) -> None:
        barrier.wait()
        for turn in range(200):
            ticket = limiter.submit(0.0, {"requests": 1, "tokens": 5}, wait=False, tenant=str(which % 3))
            if ticket.state is GRANTED:
                if turn % 2:
                    limiter.cancel(0.0, ticket)
                    limiter.settle(0.0, ticket, 0)
                else:
                    limiter.settle(0.0, ticket, {"tokens": 4})
                    granted[which] += 1

    threads = [threading.Thread(target=work, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 800 == sum(granted)
    assert 200.0 == limiter.level(0.0, "requests")
    assert 6500.0 - 4 * 800 == limiter.level(0.0, "tokens")
    assert limiter.unoccupied
