"""Laws of the fair queue: who always waits gets its share, in its own order."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from llmgate.policies.bucket import TokenBuckets
from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED, QUEUED, FairQueue, Ticket

QUANTUM = 1 / 16
PLENTY = 40  # tickets of each tenant

costs = st.integers(1, 64).map(lambda parts: parts / 64)
backlogs = st.lists(st.lists(costs, min_size=PLENTY, max_size=PLENTY), min_size=2, max_size=4)
weights = st.sampled_from([0.25, 0.5, 1.0, 1.0, 2.0, 3.0])
anybody = TokenBuckets([Limit("units", 1)])


def ticket_of(tenant: str, share: float) -> Ticket:
    ticket = Ticket(anybody, {"units": share}, tenant)
    ticket.share = share
    return ticket


@settings(max_examples=100, deadline=None)
@given(backlogs, st.lists(weights, min_size=4, max_size=4))
def test_who_always_waits_gets_its_share(backlogs: list[list[float]], weights: list[float]) -> None:
    """
    Between two tenants that always have somebody waiting, what they were given, each by its weight, never differs by
    more than a quantum and one of the largest tickets of each. The bound is Shreedhar and Varghese's.
    """
    names = [f"tenant {number}" for number in range(len(backlogs))]
    weight = dict(zip(names, weights, strict=False))
    queue = FairQueue(QUANTUM, weight)
    waiting = {
        name: [ticket_of(name, share) for share in backlog] for name, backlog in zip(names, backlogs, strict=True)
    }
    for tickets in zip(*waiting.values(), strict=True):
        for ticket in tickets:
            queue.push(ticket)
    served = dict.fromkeys(names, 0.0)

    while all(waiting.values()):
        ticket = queue.head()
        assert ticket is not None
        assert ticket is queue.head()
        assert ticket is waiting[ticket.tenant].pop(0)
        queue.serve(ticket)
        served[ticket.tenant] += ticket.share

        for one in names:
            for other in names:
                apart = served[one] / weight[one] - served[other] / weight[other]
                assert apart <= QUANTUM + 1.0 / weight[one] + 1.0 / weight[other] + 1e-6


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), costs), max_size=40), st.randoms(use_true_random=False))
def test_the_queue_empties_however_its_tickets_leave(comers: list[tuple[str, float]], rng) -> None:  # type: ignore[no-untyped-def]
    """
    Served or removed, in any order, everybody leaves once; the head stays the head until it leaves.
    """
    queue = FairQueue(QUANTUM)
    inside = [ticket_of(tenant, share) for tenant, share in comers]
    for ticket in inside:
        queue.push(ticket)

    while inside:
        head = queue.head()
        assert head in inside
        leaver = rng.choice(inside)
        inside.remove(leaver)
        if leaver is head:
            queue.serve(leaver)
        else:
            queue.remove(leaver)
            assert head is queue.head()
        assert len(inside) == queue.size

    assert queue.head() is None
    assert {} == queue.ahead("a", 1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=20))
def test_an_undisturbed_queue_keeps_its_promises(amounts: list[int]) -> None:
    """
    If nobody leaves and nothing is corrected, every waiter of one tenant is granted at the very time it was told.
    """
    limiter = TokenBuckets([Limit("units", 100)], max_wait_s=1e6)
    tickets = [limiter.submit(0.0, amount) for amount in amounts]
    told = [ticket.eta for ticket in tickets]

    for ticket, eta in zip(tickets, told, strict=True):
        if ticket.state is QUEUED:
            limiter.pump(eta - 1e-5)
            assert QUEUED is ticket.state
            limiter.pump(eta)
        assert GRANTED is ticket.state


@settings(max_examples=200, deadline=None)
@given(st.text("abcd", max_size=20), st.integers(0, 20), st.sampled_from("abcde"))
def test_a_newcomer_is_told_who_goes_before_it(comers: str, gone: int, tenant: str) -> None:
    """
    Where every ticket costs one turn, what is ahead of a newcomer is exactly what is served before it.
    """
    queue = FairQueue(1.0)
    for comer in comers:
        queue.push(ticket_of(comer, 1.0))
    for _ in range(gone):
        if head := queue.head():
            queue.serve(head)
    queue.head()
    told = queue.ahead(tenant, 1.0).get("units", 0.0)
    newcomer = ticket_of(tenant, 1.0)
    queue.push(newcomer)
    before = 0

    while (head := queue.head()) is not newcomer:
        assert head is not None
        queue.serve(head)
        before += 1

    assert before == told
