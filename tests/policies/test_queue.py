"""The fair queue and its tickets: whose turn it is, and what remains of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from llmgate.policies.concurrency import Slots
from llmgate.policies.queue import NOTHING, FairQueue, Ticket, ring

SLOTS = Slots(1)  # somebody has to have issued the tickets


def ticket(tenant: str, share: float = 1.0) -> Ticket:
    made = Ticket(SLOTS, {"units": share}, tenant)
    made.share = share
    return made


def filled(tenants: str, weights: Mapping[str, float] = NOTHING) -> tuple[FairQueue, list[Ticket]]:
    """A queue with a ticket for each letter, in which a turn is worth one ticket."""
    queue = FairQueue(1.0, weights)
    tickets = [ticket(tenant) for tenant in tenants]
    for each in tickets:
        queue.push(each)
    return queue, tickets


def served(queue: FairQueue) -> str:
    """The tenants, in the order in which they are served."""
    order = ""
    while head := queue.head():
        queue.serve(head)
        order += head.tenant
    return order


@pytest.mark.parametrize(
    ("came", "went"),
    [
        ("", ""),
        ("aaa", "aaa"),
        ("aab", "aba"),
        ("aaabbbc", "abcabab"),
        ("abbccc", "abcbcc"),  # when a has nobody left the turn goes on to b, and b does not miss it
    ],
)
def test_tenants_take_turns(came: str, went: str) -> None:
    """
    Whoever has somebody waiting is served once in each round.
    """
    assert went == served(filled(came)[0])


def test_a_ticket_that_leaves_gives_nobody_a_second_turn() -> None:
    """
    When a tenant's last ticket goes before its turn has come, the turn of the others is no longer for it.
    """
    queue, tickets = filled("aaabccc")
    queue.head()

    queue.remove(tickets[3])

    assert "acacac" == served(queue)


def test_who_leaves_in_its_turn_leaves_it_to_the_next() -> None:
    """
    The tenant whose turn it is has nobody left; the next one begins its own.
    """
    queue, tickets = filled("abbcc")
    queue.head()

    queue.remove(tickets[0])

    assert "bcbc" == served(queue)


def test_a_large_ticket_saves_up_for_several_turns() -> None:
    """
    Turns are counted in shares: who wants three times as much is served a third as often.
    """
    queue = FairQueue(1.0)
    for share, tenant in [
        (3.0, "a"),
        (3.0, "a"),
        (1.0, "b"),
        (1.0, "b"),
        (1.0, "b"),
        (1.0, "b"),
        (1.0, "b"),
        (1.0, "b"),
    ]:
        queue.push(ticket(tenant, share))

    assert "bbabbbab" == served(queue)


def test_a_weight_is_so_many_turns() -> None:
    """
    A tenant of weight two is served twice in each round, one of weight a half in every second.
    """
    queue, _ = filled("aaaaaabbbbcccc", {"a": 2.0, "b": 1.0, "c": 0.5})

    assert "aabaabcaabbccc" == served(queue)


def test_what_is_ahead_of_a_newcomer() -> None:
    """
    Everything of its own tenant, and of the others as much as will be served before its turn.
    """
    queue, _ = filled("aaab")
    queue.head()

    assert {"units": 4.0} == queue.ahead("a", 1.0)
    assert {"units": 3.0} == queue.ahead("b", 1.0)
    assert {"units": 2.0} == queue.ahead("c", 1.0)
    assert {"units": 4.0} == filled("aaabccc")[0].ahead("b", 1.0)  # a, b, c and a
    assert {"units": 7.0} == filled("aaabccc")[0].ahead("c", 1.0)
    assert {} == filled("")[0].ahead("a", 1.0)


def test_bells_are_rung_outside_and_once() -> None:
    """
    Each ticket's waiter is rung; who has hung up no bell yet is left alone.
    """
    slots = Slots(2)
    tickets = [slots.submit(0.0), slots.submit(0.0), slots.submit(0.0)]
    rung: list[int] = []

    def bell(which: int) -> Callable[[], bool]:
        def wake() -> bool:
            assert not slots._lock.locked()
            rung.append(which)
            return True

        return wake

    tickets[0].wake = bell(0)
    tickets[2].wake = bell(2)

    ring(slots, 0.0, tickets)

    assert [0, 2] == rung
    assert (2, 1) == (slots.in_flight, slots.waiting)
