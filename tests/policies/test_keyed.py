"""A limiter for each key: kept apart, bounded, and never forgotten while it matters."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping

import pytest

from llmgate.policies.bucket import TokenBuckets
from llmgate.policies.concurrency import Slots
from llmgate.policies.keyed import PerKey
from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED, QUEUED, REFUSED, Limiter, Ticket, ring


def buckets(capacity: int = 3) -> PerKey[TokenBuckets]:
    """Ten requests for each tenant, one back each second."""
    return PerKey(lambda _: TokenBuckets([Limit("requests", 1, 1.0, 10)]), capacity)


def test_keys_do_not_know_of_each_other() -> None:
    """
    One tenant's spending is not another's, and each is limited.
    """
    limiter: Limiter = buckets()

    limiter.submit(0.0, 10, tenant="a")

    assert REFUSED is limiter.submit(0.0, 1, tenant="a", wait=False).state
    assert GRANTED is limiter.submit(0.0, 10, tenant="b", wait=False).state


def test_it_is_a_limiter_like_any_other() -> None:
    """
    A ticket knows its limiter: it is settled, cancelled, pumped and rung in the same words.
    """
    limiter: Limiter = buckets()
    first = limiter.submit(0.0, 10, tenant="a")
    second, third, fourth = (limiter.submit(0.0, 5, tenant="a") for _ in range(3))

    assert 15.0 == limiter.eta(0.0, 0, tenant="a")
    assert 0.0 == limiter.eta(0.0, 5, tenant="b")
    assert second in limiter.settle(0.0, first, 5)
    assert [third, fourth] == limiter.pump(5.0)
    assert (QUEUED, 10.0) == (fourth.state, fourth.eta)
    assert () == limiter.cancel(5.0, fourth)
    ring(limiter, 5.0, [third])
    assert (GRANTED, third.limiter) == (third.state, second.limiter)


def test_the_least_recently_used_idle_limiter_goes_first() -> None:
    """
    At the bound one goes that is as good as new; who has spent something is remembered.
    """
    limiter = buckets(capacity=2)
    limiter.settle(0.0, limiter.submit(0.0, 5, tenant="spent"), 5)
    limiter.settle(0.0, limiter.submit(0.0, 5, tenant="idle"), 0)

    limiter.submit(0.0, 1, tenant="new")

    assert 2 == len(limiter)
    assert 5.0 == limiter.get(0.0, "spent").level(0.0, "requests")


def test_spending_is_forgotten_only_where_nobody_is_idle() -> None:
    """
    If everybody has spent something, the one who was not seen for longest starts anew; the bound holds.
    """
    limiter = buckets(capacity=2)
    for tenant in ("first", "second", "third"):
        limiter.settle(0.0, limiter.submit(0.0, 5, tenant=tenant), 5)

    assert 2 == len(limiter)
    assert [5.0, 5.0] == [limiter.get(0.0, tenant).level(0.0, "requests") for tenant in ("second", "third")]
    assert 10.0 == limiter.get(0.0, "first").level(0.0, "requests")


def test_to_be_used_is_to_be_remembered() -> None:
    """
    Whoever comes again is not the one who was not seen for longest.
    """
    limiter = buckets(capacity=2)
    for tenant in ("first", "second", "first", "third"):
        limiter.settle(0.0, limiter.submit(0.0, 2, tenant=tenant), 2)

    assert 6.0 == limiter.get(0.0, "first").level(0.0, "requests")


class Interrupted(TokenBuckets):
    """A bucket that is about to be asked when somebody else's key comes in between."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def submit(
        self,
        now: float,
        amounts: Mapping[str, float] | float,
        *,
        tenant: str = "",
        deadline: float = math.inf,
        wait: bool = True,
    ) -> Ticket:
        self.meanwhile()
        return super().submit(now, amounts, tenant=tenant, deadline=deadline, wait=wait)


def test_a_limiter_about_to_be_used_is_not_forgotten() -> None:
    """
    A ticket is never one of a limiter that the map has let go of between the lookup and the grant.
    """
    limiter = PerKey(lambda _: Interrupted([Limit("requests", 10)]), 1)
    first = limiter.get(0.0, "first")
    first.meanwhile = lambda: PerKey.get(limiter, 0.0, "second")

    ticket = limiter.submit(0.0, 1, tenant="first")

    assert first is ticket.limiter
    assert first is limiter.get(0.0, "first")


def test_a_limiter_in_use_is_never_forgotten() -> None:
    """
    With calls in the air for every key the map grows past its bound, and shrinks again when they have ended.
    """
    limiter = PerKey(lambda _: Slots(1), 2)
    flying = [limiter.submit(0.0, 1, tenant=str(number)) for number in range(50)]

    assert 50 == len(limiter)
    assert [REFUSED] * 50 == [limiter.submit(0.0, 1, tenant=str(n), wait=False).state for n in range(50)]

    for ticket in flying:
        limiter.settle(1.0, ticket, 0)
    for number in range(10):
        limiter.settle(1.0, limiter.submit(1.0, 1, tenant=f"later {number}"), 0)

    assert 2 == len(limiter)


def test_long_calls_do_not_stand_in_the_way() -> None:
    """
    However many old limiters are in use, those that are not are found and make room.
    """
    limiter = PerKey(lambda _: Slots(1), 100)
    for number in range(90):
        limiter.submit(0.0, 1, tenant=f"long {number}")

    for number in range(1000):
        limiter.settle(0.0, limiter.submit(0.0, 1, tenant=f"short {number}"), 0)

    assert len(limiter) <= 110


def test_a_closed_map_closes_them_all() -> None:
    """
    Waiters of every key are refused, and a new key's limiter is closed from the beginning.
    """
    limiter = buckets()
    waiters = []
    for tenant in ("a", "b"):
        limiter.submit(0.0, 10, tenant=tenant)
        waiters.append(limiter.submit(0.0, 1, tenant=tenant))

    assert waiters == limiter.close()
    assert [(REFUSED, "closed")] * 3 == [
        (ticket.state, ticket.reason) for ticket in (*waiters, limiter.submit(0.0, 1, tenant="c"))
    ]
    assert math.inf == limiter.eta(0.0, 1, tenant="d")


def test_a_forked_child_has_locks_of_its_own() -> None:
    """
    Whatever was locked at the fork, the child can go on, and holds nothing for its parent's calls.
    """
    limiter = PerKey(lambda _: Slots(1), 2)
    slots = limiter.submit(0.0, 1, tenant="a").limiter
    limiter._lock.acquire()

    limiter.after_fork()

    assert GRANTED is limiter.submit(0.0, 1, tenant="a").state
    assert slots is limiter.get(0.0, "a")


def test_nobody_is_limited_by_nothing() -> None:
    """
    A map without room would make a new limiter for each call.
    """
    with pytest.raises(ValueError, match="at least 1"):
        buckets(capacity=0)


def test_threads_share_one_limiter_for_a_key() -> None:
    """
    Eight threads that see a key for the first time are limited by one and the same limiter, and a crowd of
    other keys cannot make it forgotten between its lookup and its use.
    """
    limiter = PerKey(lambda _: TokenBuckets([Limit("requests", 100)]), 1)
    barrier = threading.Barrier(8)
    granted = [0] * 8

    def work(which: int) -> None:
        barrier.wait()
        for number in range(100):
            granted[which] += limiter.submit(0.0, 1, tenant="same", wait=False).state is GRANTED
            limiter.settle(0.0, limiter.submit(0.0, 1, tenant=f"{which} {number}"), 0)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 100 == sum(granted)
