"""Who shares an answer that is still on its way: single flight.

Identical calls that are in the air at once share one upstream request. Each caller has a `Seat`; one of them, the pilot,
starts the work. The work belongs to all of them: whoever leaves gives up only its own seat, and when the last one has
left, the work is cancelled.

    boarding ──depart──▸ airborne ──land──▸ landed: everybody has the same result
       ▴                    │
       └───────divert───────┘  the pilot failed for reasons of its own: the next one with time left is the pilot

What a pilot's own deadline, its tenant's budget or a cancellation did to it says nothing about the others; any other
failure is everybody's. A pilot that failed has left, so nobody is the pilot twice.

The idea and the name are those of Go's `golang.org/x/sync/singleflight`, where a caller cannot leave.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from ..types.call import Call
from ..types.runtime import Signal, Task

__all__ = ["Flight", "Flights", "Seat"]

R = TypeVar("R")

MAX_FLIGHTS = 10_000  # at once; who finds no room goes alone


class Seat(Generic[R]):
    """
    One caller's place on a flight.

    Attributes:
        bell: To be rung when there is something new: the result, or that it is the pilot now. None as long as its
            owner looks for itself.
        deadline: When it will leave by itself.
        error: Why it had to leave; set for a pilot that was diverted.
    """

    __slots__ = ("bell", "deadline", "error", "flight")

    def __init__(self, flight: Flight[R], deadline: float) -> None:
        self.flight = flight
        self.deadline = deadline
        self.bell: Signal | None = None
        self.error: BaseException | None = None

    @property
    def arrived(self) -> bool:
        """Whether there is a result, or an error of its own."""
        return self.flight.result is not None or self.error is not None


class Flight(Generic[R]):
    """
    One piece of work and those who wait for it. Only `Flights` changes it.

    Attributes:
        pilot: Who starts the work, or started it.
        seats: Who is aboard, in the order of boarding.
        airborne: Whether the work was started and has not ended.
        call: The call that does the work. While others wait, its deadline grows to the latest of theirs.
        task: The work, if it runs beside its callers.
        result: What it brought, for everybody aboard; None before it has landed.
    """

    __slots__ = ("airborne", "call", "key", "pilot", "result", "seats", "task")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.seats: dict[Seat[R], None] = {}
        self.pilot: Seat[R] | None = None
        self.airborne = False
        self.call: Call | None = None
        self.task: Task | None = None
        self.result: R | None = None

    def __repr__(self) -> str:
        state = "landed" if self.result is not None else "airborne" if self.airborne else "boarding"
        return f"<Flight {state}, {len(self.seats)} aboard>"


class Flights(Generic[R]):
    """
    All flights of one gateway. Safe to share between threads and event loops.

    Nothing here rings a bell or cancels a task; each function returns whom to ring and what to cancel.

    Args:
        max_flights: At once.
    """

    def __init__(self, max_flights: int = MAX_FLIGHTS) -> None:
        self._max_flights = max_flights
        self._flights: dict[Hashable, Flight[R]] = {}
        # A caller whose event loop is gone leaves when the garbage collector finds it, and that may be in the midst
        # of these lines. A plain lock would wait for itself then.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Flights that have not landed."""
        return len(self._flights)

    def board(self, key: Hashable, deadline: float) -> Seat[R] | None:
        """
        Take a seat on the flight of that key. Whoever finds none begins one, as its pilot.

        Returns:
            None if there is no such flight and no room for another.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                if len(self._flights) >= self._max_flights:
                    return None
                flight = self._flights[key] = Flight(key)
            seat = Seat(flight, deadline)
            flight.seats[seat] = None
            if flight.pilot is None:
                flight.pilot = seat
            elif flight.task is not None:
                _prolong(flight, deadline)
            return seat

    def depart(self, seat: Seat[R], call: Call) -> bool:
        """Whether this seat is to do the work now, as `call`. It must then; the others count on it."""
        flight = seat.flight
        if flight.pilot is not seat or flight.airborne or flight.result is not None:
            return False
        with self._lock:
            flight.airborne = True
            flight.call = call
            return True

    def departed(self, seat: Seat[R], task: Task) -> None:
        """The work runs beside its callers, as this task. Only now may it last longer than its pilot wanted."""
        flight = seat.flight
        with self._lock:
            if flight.pilot is seat and flight.airborne:
                flight.task = task
                for other in flight.seats:
                    _prolong(flight, other.deadline)

    def land(self, pilot: Seat[R], result: R) -> Sequence[Seat[R]]:
        """The pilot's work is done, for everybody. Returns whom to ring; nobody boards any more."""
        flight = pilot.flight
        with self._lock:
            if flight.pilot is not pilot or not flight.airborne:
                return ()
            self._touch_down(flight)
            flight.result = result
            self._remove(flight)
            return tuple(flight.seats)

    def divert(self, pilot: Seat[R], error: BaseException, now: float) -> Sequence[Seat[R]]:
        """The pilot failed, for reasons of its own. Returns whom to ring: the pilot, and the one who takes over."""
        flight = pilot.flight
        with self._lock:
            if flight.pilot is not pilot or not flight.airborne:
                return ()
            self._touch_down(flight)
            rung = []
            if pilot in flight.seats:
                del flight.seats[pilot]
                pilot.error = error
                rung.append(pilot)
            return rung + self._succeed(flight, now)

    def leave(self, seat: Seat[R], now: float) -> tuple[Task | None, Sequence[Seat[R]]]:
        """
        Give a seat up; harmless twice.

        Returns:
            The work to be cancelled, because nobody is left to wait for it; and whom to ring, because a pilot that
            had not started yet was replaced.
        """
        flight = seat.flight
        with self._lock:
            if seat not in flight.seats:
                return None, ()
            del flight.seats[seat]
            if flight.seats:
                waiting = flight.pilot is seat and not flight.airborne and flight.result is None
                return None, self._succeed(flight, now) if waiting else ()
            # Who has a result keeps it no longer than needed: an error's traceback holds on to all that it passed. And a
            # pilot that nobody needs any more would be its flight's garbage, and the flight its.
            flight.result = flight.pilot = None
            self._remove(flight)
            return flight.task, ()

    def _touch_down(self, flight: Flight[R]) -> None:
        flight.airborne = False
        flight.task = flight.call = None

    def _succeed(self, flight: Flight[R], now: float) -> list[Seat[R]]:
        """The next pilot: the first with time left. Those without leave by themselves."""
        for seat in flight.seats:
            if seat.deadline > now:
                flight.pilot = seat
                return [seat]
        flight.pilot = None
        self._remove(flight)
        return []

    def _remove(self, flight: Flight[R]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def __repr__(self) -> str:
        return f"<Flights {len(self)} in the air>"


def _prolong(flight: Flight[R], deadline: float) -> None:
    if flight.call is not None and deadline > flight.call.deadline:
        flight.call.deadline = deadline
