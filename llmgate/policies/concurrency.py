"""How many calls may be in the air at once: slots.

A slot that comes back goes to the first who waits, in the same breath: nobody can slip in between. Nobody knows when
a call will end, so nobody is refused because it would take too long; a waiter is refused when it has.

The limit may change while calls are in the air. Lowered below what is in the air it takes nothing from anybody:
no slot is given out until enough have come back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from .limiter import MAX_QUEUE, FairLimiter
from .queue import NOTHING, Ticket

__all__ = ["Slots"]

LIMIT = 64  # calls in the air; between resilience4j's bulkhead (25) and what one provider connection pool holds (100)
MAX_WAIT_S = 10.0  # seconds; a slot that takes longer is better looked for elsewhere
MEMORY = 64  # calls over which the mean duration is taken, newer ones counting more

ONE: Mapping[str, float] = MappingProxyType({"concurrency": 1.0})


class _Places:
    """The meter: a place is in use from its grant until it is settled, whatever is then said to have been used."""

    __slots__ = ("_at", "_busy_s", "_ended", "capacity", "in_use", "name")

    def __init__(self, capacity: int) -> None:
        self.name = "concurrency"
        self.capacity: float = capacity
        self.in_use = 0
        # Seconds in use, of all places together, and how many uses ended: their quotient is how long one lasts.
        self._busy_s = 0.0
        self._ended = 0.0
        self._at = -math.inf

    def room(self, now: float) -> float:
        return self.capacity - self.in_use

    def wait_s(self, now: float, need: float) -> float:
        """A guess: if places come back as evenly as they have so far."""
        missing = need + self.in_use - self.capacity
        if missing <= 0.0:
            return 0.0
        self._account(now)
        return missing * self._busy_s / max(self._ended, 1.0) / self.capacity

    def take(self, now: float, number: int, amount: float) -> None:
        self._account(now)
        self.in_use += 1

    def settle(self, now: float, number: int, amount: float, used: float) -> None:
        self._account(now)
        self.in_use -= 1
        self._ended += 1.0
        if self._ended >= MEMORY:
            self._ended /= 2
            self._busy_s /= 2

    def _account(self, now: float) -> None:
        if self.in_use:
            self._busy_s += self.in_use * (now - self._at)
        self._at = now


class Slots(FairLimiter):
    """
    So many calls at once; a limiter whose only dimension is `concurrency`, of which every call takes one.

    Args:
        limit: Calls in the air.
        max_wait_s: Seconds that anybody waits at the most.
        max_queue: Tickets that may wait.
        weights: How many slots in a row some tenants get when it is their turn; 1 if not named.

    The methods are those of every limiter; the amounts given to them are not looked at. `settle` gives the slot
    back. The `eta` of a queued ticket is the time at which it is refused, for nobody knows when a slot comes back;
    `eta()` and `retry_after` are guesses from how long calls have taken so far.

    >>> slots = Slots(1)
    >>> first, second = slots.submit(0.0), slots.submit(0.0)
    >>> first, second
    (<Ticket granted>, <Ticket queued (concurrency)>)
    >>> slots.settle(2.0, first)
    [<Ticket granted>]
    >>> slots
    <Slots 1/1, 0 waiting>
    """

    predictable: ClassVar[bool] = False

    __slots__ = ("_places",)

    def __init__(
        self,
        limit: int = LIMIT,
        *,
        max_wait_s: float = MAX_WAIT_S,
        max_queue: int = MAX_QUEUE,
        weights: Mapping[str, float] = NOTHING,
    ) -> None:
        self._places = _Places(_checked(limit))
        super().__init__((self._places,), max_wait_s=max_wait_s, max_queue=max_queue, quantum=1.0, weights=weights)

    def __repr__(self) -> str:
        return f"<Slots {self.in_flight}/{self.limit}, {self.waiting} waiting>"

    @property
    def limit(self) -> int:
        """Calls that may be in the air."""
        return int(self._places.capacity)

    @property
    def in_flight(self) -> int:
        """Calls that are in the air. More than the limit only after it was lowered."""
        return self._places.in_use

    def submit(
        self,
        now: float,
        amounts: Mapping[str, float] | float = 1.0,
        *,
        tenant: str = "",
        deadline: float = math.inf,
        wait: bool = True,
    ) -> Ticket:
        return super().submit(now, ONE, tenant=tenant, deadline=deadline, wait=wait)

    def settle(self, now: float, ticket: Ticket, actual: Mapping[str, float] | float = 0.0) -> Sequence[Ticket]:
        return super().settle(now, ticket, 0.0)

    def eta(self, now: float, amounts: Mapping[str, float] | float = 1.0, *, tenant: str = "") -> float:
        return super().eta(now, ONE, tenant=tenant)

    def resize(self, now: float, limit: int) -> Sequence[Ticket]:
        """
        Let `limit` calls into the air from now on.

        Returns:
            The tickets to ring: granted because there are more slots now.

        Raises:
            ValueError: If it is less than 1.
        """
        with self._lock:
            self._places.capacity = _checked(limit)
            return self._pump(now) if self._queue.size else ()

    def after_fork(self) -> None:
        """In the child of a fork, moreover: no call is in the air, for they live in the parent."""
        super().after_fork()
        self._places.in_use = 0

    def _share(self, amounts: Mapping[str, float]) -> float:
        # One slot is one quantum, however many slots there are: tenants take turns call by call.
        return 1.0


def _checked(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    return limit
