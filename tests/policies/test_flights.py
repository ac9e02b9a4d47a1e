"""The rules of a shared flight, without anything that waits."""

from __future__ import annotations

import pytest

from llmgate.policies.flights import Flights, Seat
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.testing import call_for
from llmgate.types.call import Call
from llmgate.types.runtime import Task

RUNTIME = BlockingRuntime()
LATE = ValueError("the pilot was late")


class Work:
    """A task that does nothing."""

    def cancel(self) -> None: ...

    async def wait(self) -> None: ...


def call(deadline: float = 10.0) -> Call:
    return call_for(RUNTIME, deadline=deadline)


def boarded(flights: Flights[str], deadline: float = 10.0, key: str = "k") -> Seat[str]:
    seat = flights.board(key, deadline)
    assert seat is not None
    return seat


def taken_off(flights: Flights[str], seat: Seat[str]) -> Task:
    work = Work()
    assert flights.depart(seat, call(seat.deadline))
    flights.departed(seat, work)
    return work


@pytest.fixture
def flights() -> Flights[str]:
    return Flights()


def test_the_first_aboard_is_the_pilot(flights: Flights[str]) -> None:
    """
    One of those with the same key starts the work, and it starts once.
    """
    first, second = boarded(flights), boarded(flights)

    assert first.flight is second.flight
    assert not flights.depart(second, call())
    assert flights.depart(first, call())
    assert not flights.depart(first, call())
    assert 1 == len(flights)


def test_a_landing_is_for_everybody_aboard(flights: Flights[str]) -> None:
    """
    Everybody gets the result; whoever comes later begins anew.
    """
    first, second = boarded(flights), boarded(flights)
    taken_off(flights, first)

    assert (first, second) == flights.land(first, "done")
    assert "done" == first.flight.result
    assert boarded(flights).flight is not first.flight


def test_whoever_leaves_gives_up_its_own_seat_alone(flights: Flights[str]) -> None:
    """
    The work goes on as long as anybody waits for it, even without its pilot; the last one out has it cancelled.
    """
    first, second = boarded(flights), boarded(flights)
    work = taken_off(flights, first)

    assert (None, ()) == flights.leave(first, 0.0)
    assert (None, ()) == flights.leave(first, 0.0)
    assert 1 == len(flights)
    assert (work, ()) == flights.leave(second, 0.0)
    assert 0 == len(flights)


def test_a_late_landing_disturbs_nobody(flights: Flights[str]) -> None:
    """
    Work that was given up lands for nobody, and not for those of a newer flight of the same key.
    """
    old = boarded(flights)
    taken_off(flights, old)
    flights.leave(old, 0.0)
    new = boarded(flights)

    assert () == flights.land(old, "late")
    assert new.flight.result is None
    assert [] == list(flights.divert(old, LATE, 0.0))
    assert 1 == len(flights)


def test_a_diverted_pilot_leaves_and_the_next_takes_over(flights: Flights[str]) -> None:
    """
    Its reasons are the pilot's own: it alone gets the error, the next with time left is the pilot.
    """
    first, expired, third = boarded(flights), boarded(flights, deadline=5.0), boarded(flights)
    taken_off(flights, first)

    assert [first, third] == list(flights.divert(first, LATE, 5.0))
    assert LATE is first.error
    assert third.error is None
    assert not flights.depart(expired, call())
    assert flights.depart(third, call())


def test_nobody_is_the_pilot_twice(flights: Flights[str]) -> None:
    """
    A flight whose pilots all fail comes to an end.
    """
    seats = [boarded(flights) for _ in range(3)]
    for seat in seats:
        taken_off(flights, seat)
        flights.divert(seat, LATE, 0.0)

    assert [LATE] * 3 == [seat.error for seat in seats]
    assert 0 == len(flights)


def test_a_flight_without_anybody_who_has_time_is_over(flights: Flights[str]) -> None:
    """
    Nobody takes over who is about to leave; whoever comes then begins anew.
    """
    first, expired = boarded(flights), boarded(flights, deadline=5.0)
    taken_off(flights, first)
    flights.divert(first, LATE, 5.0)

    assert boarded(flights).flight is not expired.flight
    assert (None, ()) == flights.leave(expired, 6.0)
    assert 1 == len(flights)


def test_a_pilot_that_leaves_before_it_starts_is_replaced(flights: Flights[str]) -> None:
    """
    Between being elected and taking off a pilot may go, and another one has to be told.
    """
    first, second, third = boarded(flights), boarded(flights), boarded(flights)
    taken_off(flights, first)
    flights.divert(first, LATE, 0.0)

    assert (None, [third]) == flights.leave(second, 0.0)
    assert flights.depart(third, call())


def test_a_finaliser_of_older_work_does_not_divert_the_new_pilot(flights: Flights[str]) -> None:
    """
    Only the pilot that flies can be diverted.
    """
    first, second = boarded(flights), boarded(flights)
    taken_off(flights, first)
    flights.divert(first, LATE, 0.0)
    taken_off(flights, second)

    assert [] == list(flights.divert(first, LATE, 0.0))
    assert (second,) == flights.land(second, "done")


def test_the_work_lasts_as_long_as_the_latest_deadline(flights: Flights[str]) -> None:
    """
    Whoever boards with more time gives it to the work, whether it comes before the take-off or after.
    """
    first, working = boarded(flights, deadline=5.0), call(deadline=5.0)
    boarded(flights, deadline=7.0)
    flights.depart(first, working)
    before = working.deadline
    flights.departed(first, Work())
    while_starting = working.deadline
    boarded(flights, deadline=9.0)
    boarded(flights, deadline=6.0)

    assert (5.0, 7.0, 9.0) == (before, while_starting, working.deadline)


def test_work_in_place_keeps_its_own_deadline(flights: Flights[str]) -> None:
    """
    A pilot that does the work itself cannot leave it, so nobody makes it last longer.
    """
    first, working = boarded(flights, deadline=5.0), call(deadline=5.0)
    flights.depart(first, working)
    boarded(flights, deadline=9.0)
    flights.land(first, "done")
    flights.departed(first, Work())

    assert 5.0 == working.deadline
    assert first.flight.task is None


def test_flights_are_bounded(flights: Flights[str]) -> None:
    """
    When there are as many flights as there may be, a new one finds no room; a seat on an old one is free.
    """
    flights = Flights(max_flights=1)
    seat = boarded(flights)

    assert flights.board("other", 1.0) is None
    assert seat.flight is boarded(flights).flight


def test_a_result_is_let_go_when_everybody_has_it(flights: Flights[str]) -> None:
    """
    The flight does not hold on to an answer, nor to an error with its traceback, longer than its passengers.
    """
    first, second = boarded(flights), boarded(flights)
    taken_off(flights, first)
    flights.land(first, "done")
    flights.leave(first, 0.0)
    halfway = first.flight.result
    flights.leave(second, 0.0)

    assert ("done", None) == (halfway, first.flight.result)


def test_it_tells_what_is_going_on(flights: Flights[str]) -> None:
    """
    The repr says how many flights there are, and of one where it is.
    """
    seat = boarded(flights)
    seen = [repr(flights), repr(seat.flight)]
    taken_off(flights, seat)
    seen.append(repr(seat.flight))
    flights.land(seat, "done")
    seen.append(repr(seat.flight))

    assert [
        "<Flights 1 in the air>", "<Flight boarding, 1 aboard>", "<Flight airborne, 1 aboard>", "<Flight landed, 1 aboard>",
    ] == seen  # fmt: skip
