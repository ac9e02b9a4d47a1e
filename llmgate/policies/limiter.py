"""What a token bucket, a sliding window and a set of slots have in common: meters, and a fair queue before them.

What a limiter counts is the business of its meters, one for each dimension (requests, tokens, slots). Here they are
all taken together or not at all, under one lock; here it is decided who must wait, for how long at the most, and who
is woken when.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import ClassVar, Protocol

from .queue import (
    CANCELLED,
    GRANTED,
    NOTHING,
    QUANTUM,
    QUEUED,
    REFUSED,
    SETTLED,
    FairQueue,
    Ticket,
    ring,
)

__all__ = ["FairLimiter", "Limit", "Meter"]

MAX_WAIT_S = 30.0  # seconds; half of the minute in which providers count, so that one refill is worth waiting for
MAX_QUEUE = 1000  # tickets; at 30 s of waiting it is full only where 33 callers a second are served
LEAST_SHARE = 1e-6  # of a full meter; even a ticket for nothing uses up some of its tenant's turn
CLOSE_S = 1e-6  # seconds; a waiter is not rung again for so small a gain, its clock is no finer


@dataclass(frozen=True, slots=True)
class Limit:
    """
    So many units in so many seconds.

    Attributes:
        name: Of the dimension, as amounts and refusals call it: `tokens`.
        limit: Units.
        per_s: Seconds.
        burst: Units that may go at once after a rest; None is the whole limit. Only a bucket asks for it.
    """

    name: str
    limit: float
    per_s: float = 60.0
    burst: float | None = None

    def __post_init__(self) -> None:
        for field in ("limit", "per_s", "burst"):
            value = getattr(self, field)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{field} of {self.name!r} must be a number above 0, not {value!r}")


class Meter(Protocol):
    """Counts one dimension of a limiter, under the limiter's lock. Times and grant numbers never decrease."""

    name: str
    capacity: float
    """What there is when nothing is in use. Whoever wants more gets it when the meter is full; the rest is debt."""

    def room(self, now: float) -> float:
        """Units that are there at `now`; negative while in debt."""
        ...

    def wait_s(self, now: float, need: float) -> float:
        """Seconds until `need` units will have been there, if others take nothing; a need may exceed the capacity."""
        ...

    def take(self, now: float, number: int, amount: float) -> None:
        """Count the grant `number`, whether or not there is room."""
        ...

    def settle(self, now: float, number: int, amount: float, used: float) -> None:
        """Correct the grant `number` from `amount` to what was used."""
        ...


class FairLimiter:
    """
    A limiter made of meters and a fair queue; safe to share between threads and event loops.

    Args:
        meters: One for each dimension.
        max_wait_s: Seconds that anybody waits at the most. Who is expected to wait longer, or past its own
            deadline, is refused at once, and who does wait longer is refused then.
        max_queue: Tickets that may wait. When it is full, a tenant with fewer tickets pushes out the last ticket of
            the tenant with the most.
        quantum: Share of a full meter that makes a tenant's turn.
        weights: How much more, or less, than the others some tenants get; 1 if not named.

    The time never runs backwards here: two threads may read the clock in one order and come here in the other.
    """

    predictable: ClassVar[bool] = True
    """Whether the meters know when there will be room. If not, `eta` is when the ticket is refused."""

    __slots__ = (
        "_alarms", "_closed", "_lock", "_meters", "_names", "_now", "_number", "_outstanding", "_queue", "_submitted",
        "max_queue", "max_wait_s",
    )  # fmt: skip

    def __init__(
        self,
        meters: Iterable[Meter],
        *,
        max_wait_s: float = MAX_WAIT_S,
        max_queue: int = MAX_QUEUE,
        quantum: float = QUANTUM,
        weights: Mapping[str, float] = NOTHING,
    ) -> None:
        self._meters = tuple(meters)
        self._names = tuple(meter.name for meter in self._meters)
        if not self._names or len(set(self._names)) < len(self._names):
            raise ValueError(f"a limiter needs dimensions, each with a name of its own, not {self._names}")
        if not max_wait_s >= 0.0 or max_queue < 0:
            raise ValueError(f"max_wait_s ({max_wait_s}) and max_queue ({max_queue}) must not be negative")
        self.max_wait_s = max_wait_s
        self.max_queue = max_queue
        self._queue = FairQueue(quantum, weights)
        # When somebody who is not next wakes and may find that the estimate was wrong: (eta, which, ticket).
        self._alarms: list[tuple[float, int, Ticket]] = []
        self._submitted = 0
        self._number = 0
        self._outstanding = 0
        self._now = -math.inf
        self._closed = False
        self._lock = Lock()

    @property
    def dimensions(self) -> tuple[str, ...]:
        return self._names

    @property
    def waiting(self) -> int:
        """Tickets in the queue."""
        return self._queue.size

    def submit(
        self,
        now: float,
        amounts: Mapping[str, float] | float,
        *,
        tenant: str = "",
        deadline: float = math.inf,
        wait: bool = True,
    ) -> Ticket:
        if isinstance(amounts, (float, int)):
            amounts = dict.fromkeys(self._names, amounts)
        ticket = Ticket(self, amounts, tenant)
        with self._lock:
            if now < self._now:
                now = self._now
            self._now = now
            if not (self._queue.size or self._closed or deadline <= now) and self._take(now, ticket):
                return ticket
            rung = self._line_up(now, ticket, deadline, wait)
        if rung:
            ring(self, now, rung)
        return ticket

    def pump(self, now: float) -> Sequence[Ticket]:
        with self._lock:
            return self._pump(now) if self._queue.size else ()

    def settle(self, now: float, ticket: Ticket, actual: Mapping[str, float] | float) -> Sequence[Ticket]:
        if isinstance(actual, (float, int)):
            actual = dict.fromkeys(self._names, actual)
        amounts = ticket.amounts
        with self._lock:
            if ticket.state is not GRANTED:
                return ()
            ticket.state = SETTLED
            self._outstanding -= 1
            if now < self._now:
                now = self._now
            self._now = now
            for meter in self._meters:
                name = meter.name
                if name in actual and name in amounts:
                    used = actual[name]
                    if used != amounts[name] and 0.0 <= used < math.inf:
                        meter.settle(now, ticket.number, amounts[name], used)
            return self._pump(now) if self._queue.size else ()

    def cancel(self, now: float, ticket: Ticket) -> Sequence[Ticket]:
        with self._lock:
            if ticket.state is QUEUED:
                self._queue.remove(ticket)
                ticket.state = CANCELLED
                return self._pump(now) if self._queue.size else ()
        # If it was granted nothing of it was used; if it was neither, this does nothing.
        return self.settle(now, ticket, 0.0)

    def eta(self, now: float, amounts: Mapping[str, float] | float, *, tenant: str = "") -> float:
        if isinstance(amounts, (float, int)):
            amounts = dict.fromkeys(self._names, amounts)
        with self._lock:
            if self._closed:
                return math.inf
            ahead = self._queue.ahead(tenant, self._share(amounts)) if self._queue.size else NOTHING
            return self._wait_s(self._advance(now), amounts, ahead)[0]

    def close(self) -> Sequence[Ticket]:
        with self._lock:
            self._closed = True
            self._alarms.clear()
            tickets = self._queue.clear()
            for ticket in tickets:
                _refuse(ticket, "closed", 0.0)
            return tickets

    def idle(self, now: float) -> bool:
        """Whether nobody waits, nothing is out, and every meter is full: then a new limiter would be no different."""
        with self._lock:
            now = self._advance(now)
            return self.unoccupied and all(meter.room(now) >= meter.capacity for meter in self._meters)

    @property
    def unoccupied(self) -> bool:
        """Whether nobody waits and every grant has been settled."""
        return not (self._queue.size or self._outstanding)

    def after_fork(self) -> None:
        """
        In the child of a fork: a new lock, for the old one may be held by a thread that exists no more; and
        nobody waits, for the waiters live in the parent. What was taken stays taken.
        """
        self._lock = Lock()
        self._queue.clear()
        self._alarms.clear()
        self._outstanding = 0

    def _advance(self, now: float) -> float:
        if now < self._now:
            return self._now
        self._now = now
        return now

    def _take(self, now: float, ticket: Ticket) -> bool:
        """Grant it if every dimension has room; else take nothing. A full meter has room for anybody."""
        amounts = ticket.amounts
        for meter in self._meters:
            name = meter.name
            if name in amounts:
                amount = amounts[name]
                if not 0.0 <= amount < math.inf:
                    raise _no_amount(name, amount)
                room = meter.room(now)
                if room < amount and room < meter.capacity:
                    return False
        number = self._number = self._number + 1
        for meter in self._meters:
            name = meter.name
            if name in amounts:
                meter.take(now, number, amounts[name])
        self._outstanding += 1
        ticket.number = number
        ticket.eta = now
        ticket.state = GRANTED
        return True

    def _line_up(self, now: float, ticket: Ticket, deadline: float, wait: bool) -> list[Ticket]:
        """For whoever cannot go at once: into the queue, or refused. Returns who is to be rung."""
        rung: list[Ticket] = []
        for name in self._names:
            if name in ticket.amounts and not 0.0 <= ticket.amounts[name] < math.inf:
                raise _no_amount(name, ticket.amounts[name])
        if self._closed or deadline <= now:
            _refuse(ticket, "closed" if self._closed else "deadline", 0.0)
            return rung
        queue = self._queue
        if queue.size:
            # Some may be overdue, if their waiters are late or no more.
            rung = self._pump(now)
            if not queue.size and self._take(now, ticket):
                return rung
        tenant = ticket.tenant
        ticket.share = self._share(ticket.amounts)
        wait_s, reason = self._wait_s(now, ticket.amounts, queue.ahead(tenant, ticket.share))
        until = min(now + self.max_wait_s, deadline)
        if not wait or (self.predictable and now + wait_s > until):
            _refuse(ticket, reason, wait_s)
            return rung
        if queue.size >= self.max_queue:
            last = queue.crowding(tenant)
            if last is None:
                _refuse(ticket, "queue_full", wait_s)
                return rung
            queue.remove(last)
            _refuse(last, "queue_full", wait_s)
            rung.append(last)
        ticket.reason = reason
        ticket.until = until
        ticket.eta = now + wait_s if self.predictable else until
        queue.push(ticket)
        self._set_alarm(ticket)
        return rung

    def _pump(self, now: float) -> list[Ticket]:
        now = self._advance(now)
        rung: list[Ticket] = []
        queue = self._queue
        while (ticket := queue.head()) is not None:
            if now <= ticket.until and self._take(now, ticket):
                queue.serve(ticket)
            elif now >= ticket.until:
                self._expire(now, ticket)
            else:
                break
            rung.append(ticket)
        if ticket is None:
            self._alarms.clear()
            return rung
        if self.predictable:
            wait_s, ticket.reason = self._wait_s(now, ticket.amounts, NOTHING)
            eta = min(now + wait_s, ticket.until)
            if eta < ticket.eta - CLOSE_S:
                rung.append(ticket)
            ticket.eta = eta
        self._answer_alarms(now, ticket, rung)
        return rung

    def _answer_alarms(self, now: float, head: Ticket, rung: list[Ticket]) -> None:
        """Those who should be awake by now, but are not even next: too late for them, or they were too hopeful."""
        alarms = self._alarms
        hopeful: list[Ticket] = []
        while alarms and alarms[0][0] <= now:
            ticket = heappop(alarms)[2]
            if ticket.state is not QUEUED or ticket is head:
                continue
            if ticket.until <= now:
                self._expire(now, ticket)
                rung.append(ticket)
            else:
                hopeful.append(ticket)
        for ticket in hopeful:
            # As if it were the last of its tenant: it sleeps a little long rather than too often, for it is rung
            # when it is next.
            wait_s, ticket.reason = self._wait_s(now, NOTHING, self._queue.ahead(ticket.tenant, 0.0))
            ticket.eta = min(max(now + wait_s, head.eta), ticket.until)
            self._set_alarm(ticket)

    def _set_alarm(self, ticket: Ticket) -> None:
        alarms = self._alarms
        if len(alarms) > 2 * self.max_queue:
            # Half of them belong to tickets that left early.
            alarms[:] = [alarm for alarm in alarms if alarm[2].state is QUEUED]
            heapify(alarms)
        self._submitted += 1
        heappush(alarms, (ticket.eta, self._submitted, ticket))

    def _expire(self, now: float, ticket: Ticket) -> None:
        self._queue.remove(ticket)
        wait_s, reason = self._wait_s(now, ticket.amounts, self._queue.ahead(ticket.tenant, ticket.share))
        _refuse(ticket, reason, wait_s)

    def _wait_s(self, now: float, amounts: Mapping[str, float], ahead: Mapping[str, float]) -> tuple[float, str]:
        """Seconds until these amounts are there once those ahead have theirs, and the dimension that takes longest."""
        longest, reason = 0.0, self._names[0]
        for meter in self._meters:
            name = meter.name
            if name in amounts or name in ahead:
                need = min(amounts.get(name, 0.0), meter.capacity) + ahead.get(name, 0.0)
                wait_s = meter.wait_s(now, need)
                if wait_s > longest:
                    longest, reason = wait_s, name
        return longest, reason

    def _share(self, amounts: Mapping[str, float]) -> float:
        """The largest part of a full meter that these amounts are, as in dominant resource fairness."""
        share = max(amounts.get(meter.name, 0.0) / meter.capacity for meter in self._meters)
        return min(max(share, LEAST_SHARE), 1.0)


def _no_amount(name: str, amount: float) -> ValueError:
    return ValueError(f"{name} must be a number from 0 on, not {amount!r}")


def _refuse(ticket: Ticket, reason: str, retry_after: float) -> None:
    ticket.reason = reason
    ticket.retry_after = retry_after
    ticket.state = REFUSED
