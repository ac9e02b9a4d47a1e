"""Who waits, and who goes next: tickets, the fair queue they stand in, and what every limiter promises.

A limiter answers with a ticket at once and never waits; the waiting is its caller's.

    submit ─▸ granted ──(settle, cancel)────────────────────▸ settled
       ├────▸ queued ───(room comes)────────────────────────▸ granted
       │         ├──────(waited too long, pushed out, close)▸ refused
       │         └──────(cancel)────────────────────────────▸ cancelled
       └────▸ refused: the wait would be too long, the queue is full, the limiter is closed

Nobody overtakes: while somebody waits, a newcomer waits, too, however little it wants. Between tenants the queue is
fair by deficit round robin, inside a tenant it is first come, first served.

There is no timer thread. A waiter sleeps until its ticket's `eta` and then pumps, for itself and for everybody:

    while ticket.state is QUEUED:
        signal = runtime.signal()
        ticket.wake = signal.set
        if ticket.state is QUEUED:
            await signal.wait(ticket.eta)
            now = runtime.now()
            ring(ticket.limiter, now, ticket.limiter.pump(now))

A ticket may be granted between `submit` and the moment its bell is there. Then nobody rings; but the state changes
before the bell is looked at, and the waiter looks at the state after it has hung up the bell, so one of them sees
the other. For the same reason `eta` is read last. A waiter that gives up calls `cancel`, whatever the state.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Protocol

__all__ = [
    "CANCELLED",
    "GRANTED",
    "QUEUED",
    "REFUSED",
    "SETTLED",
    "FairQueue",
    "Limiter",
    "State",
    "Ticket",
    "ring",
]

QUANTUM = 1 / 16  # of a full meter, a tenant's turn; small enough that sixteen tenants share one burst
LEAST_WEIGHT = 0.01  # of a tenant; a turn is found in at most 16 / 0.01 steps
ROUNDING = 1e-9  # of a full meter; sums of shares are floats

NOTHING: Mapping[str, float] = MappingProxyType({})


class State(IntEnum):
    """Where a ticket stands; the last three are final."""

    QUEUED = 0
    GRANTED = 1
    REFUSED = 2
    CANCELLED = 3
    SETTLED = 4


QUEUED: Final = State.QUEUED
GRANTED: Final = State.GRANTED
REFUSED: Final = State.REFUSED
CANCELLED: Final = State.CANCELLED
SETTLED: Final = State.SETTLED


class Ticket:
    """
    One request's place. Tickets are compared by identity; only their limiter changes them, except for `wake`.

    Attributes:
        state: Where it stands.
        eta: The time at which it was granted, or at which its waiter should pump. Exact for whoever is next, an
            estimate for the others; at the latest the time at which it is refused.
        retry_after: Seconds after which another try makes sense, if it was refused.
        reason: The dimension that makes it wait or refused it; or `queue_full`, `deadline`, `closed`.
        wake: Rings its waiter's bell; False if nobody can hear it any more. Set by the waiter.
        limiter: Who issued it.
        amounts: Units of each dimension. The caller's own mapping: it must not change while the ticket lives.
        tenant: On whose behalf.
        number: Rises with each grant of a limiter, so that meters can tell before from after; 0 before the grant.
        until: When it is refused if it still waits. Only if it ever waited.
        share: The part of a full meter that it wants, at most 1. Only if it ever waited.
    """

    __slots__ = (
        "amounts", "eta", "limiter", "number", "reason", "retry_after", "share", "state", "tenant", "until", "wake",
    )  # fmt: skip

    share: float
    until: float

    def __init__(self, limiter: Limiter, amounts: Mapping[str, float], tenant: str = "") -> None:
        self.state = QUEUED
        self.eta = 0.0
        self.retry_after = 0.0
        self.reason = ""
        self.wake: Callable[[], bool] | None = None
        self.limiter = limiter
        self.amounts = amounts
        self.tenant = tenant
        self.number = 0

    def __repr__(self) -> str:
        reason = f" ({self.reason})" if self.state in (QUEUED, REFUSED) else ""
        return f"<Ticket {self.tenant + ' ' if self.tenant else ''}{self.state.name.lower()}{reason}>"


class Limiter(Protocol):
    """
    What a token bucket, a sliding window and a set of slots have in common, so that one middleware serves them.

    The sequences that come back are the tickets whose waiters must be rung (see `ring`), outside of every lock:
    granted or refused just now, or next in line and expected earlier than their waiters believe.
    """

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What it counts, by name."""
        ...

    def submit(
        self,
        now: float,
        amounts: Mapping[str, float] | float,
        *,
        tenant: str = "",
        deadline: float = math.inf,
        wait: bool = True,
    ) -> Ticket:
        """
        Ask for units, all or none.

        Args:
            now: Seconds on the callers' common monotonic clock.
            amounts: Units of each dimension; a plain number is that many in each. Dimensions that are not limited
                here are ignored, those that are not named cost nothing.
            tenant: Who shares fairly with the others.
            deadline: When the caller gives up, on the same clock.
            wait: Whether the caller would wait at all.

        Returns:
            A ticket: granted; or queued; or refused, with nothing taken.

        Raises:
            ValueError: If an amount is negative or not finite.
        """
        ...

    def pump(self, now: float) -> Sequence[Ticket]:
        """Grant whatever can be granted by now, in order, and refuse who has waited too long."""
        ...

    def settle(self, now: float, ticket: Ticket, actual: Mapping[str, float] | float) -> Sequence[Ticket]:
        """
        Tell what was really used. Once; on anything but a granted ticket it does nothing.

        A dimension that `actual` does not name was used as taken; a plain number was used of each. What is no
        amount (negative, infinite, not a number) is not believed: the dimension was used as taken.
        """
        ...

    def cancel(self, now: float, ticket: Ticket) -> Sequence[Ticket]:
        """Give up: leave the queue, or give everything back. Harmless on a ticket that is over."""
        ...

    def eta(self, now: float, amounts: Mapping[str, float] | float, *, tenant: str = "") -> float:
        """Seconds until such a request could be granted, as far as one can tell. Takes nothing."""
        ...

    def close(self) -> Sequence[Ticket]:
        """Refuse every waiter and every newcomer. What was granted can still be settled."""
        ...


def ring(limiter: Limiter, now: float, tickets: Iterable[Ticket]) -> None:
    """
    Ring the waiters of these tickets. Nothing may be locked here: a bell may be anybody's code.

    Where nobody hears it, because the waiter's event loop is closed, the ticket is cancelled and whoever comes
    next is rung. A ticket without a bell needs none: its waiter looks at the state after hanging up the bell.
    """
    waiting = list(tickets)
    for ticket in waiting:
        wake = ticket.wake
        if wake is not None and not wake():
            waiting.extend(limiter.cancel(now, ticket))


class _Lane:
    """One tenant's part of the queue: its tickets in order, what they want together, and how much of its turn is left."""

    __slots__ = ("backlog", "deficit", "quantum", "share", "tickets")

    def __init__(self, quantum: float) -> None:
        self.quantum = quantum
        self.deficit = 0.0
        self.share = 0.0
        self.backlog: dict[str, float] = {}
        self.tickets: OrderedDict[Ticket, None] = OrderedDict()

    def add(self, ticket: Ticket, sign: int) -> None:
        self.share += sign * ticket.share
        for name, amount in ticket.amounts.items():
            self.backlog[name] = self.backlog.get(name, 0.0) + sign * amount


class FairQueue:
    """
    Tenants take turns; inside a tenant it is first come, first served. Not locked by itself.

    Deficit round robin: when a tenant's turn comes it is given a quantum, and it is served while its first ticket
    costs no more than it has saved. Who has nothing in the queue saves nothing. So two tenants that always have
    somebody waiting never differ by more than a quantum and two of the largest tickets.
    A ticket costs its share, and never more than one full meter: that bounds the search for who is next.

    Args:
        quantum: Share that a tenant of weight 1 is given in its turn.
        weights: How much more, or less, some tenants are given.

    Source: M. Shreedhar and G. Varghese, "Efficient fair queuing using deficit round robin", SIGCOMM 1995.
    """

    __slots__ = ("_lanes", "_quantum", "_weights", "size")

    def __init__(self, quantum: float = QUANTUM, weights: Mapping[str, float] = NOTHING) -> None:
        for tenant, weight in weights.items():
            if not LEAST_WEIGHT <= weight < math.inf:
                raise ValueError(f"the weight of {tenant!r} must be a number from {LEAST_WEIGHT} on, not {weight!r}")
        self._quantum = quantum
        self._weights = weights
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()  # in the order of their turns; the first has its turn
        self.size = 0

    def push(self, ticket: Ticket) -> None:
        lane = self._lanes.get(ticket.tenant)
        if lane is None:
            lane = self._lanes[ticket.tenant] = _Lane(self._quantum * self._weights.get(ticket.tenant, 1.0))
            if not self.size:
                self._begin_turn()
        lane.tickets[ticket] = None
        lane.add(ticket, 1)
        self.size += 1

    def head(self) -> Ticket | None:
        """Who is next; it stays next until it is served or leaves, whoever comes. Passes the turn on if need be."""
        lanes = self._lanes
        while lanes:
            lane = next(iter(lanes.values()))
            ticket = next(iter(lane.tickets))
            if ticket.share <= lane.deficit + ROUNDING:
                return ticket
            lanes.move_to_end(ticket.tenant)
            self._begin_turn()
        return None

    def _begin_turn(self) -> None:
        lane = next(iter(self._lanes.values()))
        lane.deficit += lane.quantum

    def serve(self, ticket: Ticket) -> None:
        """Take the head off the queue, at the expense of its tenant's turn."""
        self._lanes[ticket.tenant].deficit -= ticket.share
        self.remove(ticket)

    def remove(self, ticket: Ticket) -> None:
        tenant = ticket.tenant
        lane = self._lanes[tenant]
        del lane.tickets[ticket]
        lane.add(ticket, -1)
        self.size -= 1
        if not lane.tickets:
            had_its_turn = lane is next(iter(self._lanes.values()))
            del self._lanes[tenant]
            if had_its_turn and self._lanes:
                self._begin_turn()

    def ahead(self, tenant: str, share: float) -> dict[str, float]:
        """
        What will be granted before a newcomer of this tenant: exact for one tenant, else an estimate.

        All that its own tenant waits for; of the others, what they have saved and will be given before its turn.
        """
        units: dict[str, float] = {}
        lanes = self._lanes
        mine = lanes.get(tenant)
        wanted = share + mine.share - mine.deficit if mine else share
        turns = math.ceil(max(wanted, 0.0) / (self._quantum * self._weights.get(tenant, 1.0)) - ROUNDING)
        first = next(iter(lanes.values()), None)
        sooner = 0  # turns that a lane is not given any more before mine comes: the first has begun its own already
        for lane in lanes.values():
            if lane is mine:
                part = 1.0
                sooner = 0 if mine is first else 1  # who comes after mine in the round
            else:
                given = max(turns - (1 if lane is first else sooner), 0) * lane.quantum
                part = min(1.0, (lane.deficit + given) / lane.share)
            for name, amount in lane.backlog.items():
                units[name] = units.get(name, 0.0) + part * amount
        return units

    def crowding(self, tenant: str) -> Ticket | None:
        """
        The last ticket of whoever has the most, if that is more than this tenant would have with one more.

        So a tenant that floods the queue cannot keep others out (longest queue drop, as in McKenney's
        stochastic fairness queuing, 1991).
        """
        if not self._lanes:
            return None
        longest = max(self._lanes.values(), key=lambda lane: len(lane.tickets)).tickets
        mine = self._lanes.get(tenant)
        return next(reversed(longest)) if len(longest) > (len(mine.tickets) if mine else 0) + 1 else None

    def clear(self) -> list[Ticket]:
        """Send everybody away."""
        tickets = [ticket for lane in self._lanes.values() for ticket in lane.tickets]
        self._lanes.clear()
        self.size = 0
        return tickets
