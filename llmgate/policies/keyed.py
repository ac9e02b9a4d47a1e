"""One limiter for each tenant, or whatever else a key stands for; as many as are worth remembering."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

from .limiter import FairLimiter
from .queue import Ticket

__all__ = ["PerKey"]

KEYS = 100_000  # limiters; about 140 MB of two buckets each, and more tenants than one process serves in a minute
SCAN = 16  # limiters looked at when one must go, so that a newcomer never pays for the whole map

L = TypeVar("L", bound=FairLimiter)


class _Entry(Generic[L]):
    """A limiter, and how many callers are just about to submit to it."""

    __slots__ = ("limiter", "pins")

    def __init__(self, limiter: L) -> None:
        self.limiter = limiter
        self.pins = 0


class PerKey(Generic[L]):
    """
    A limiter for each key, made when the key is first seen. To its callers it is one limiter whose tenants are the keys.

    Args:
        make: Makes the limiter of a key.
        capacity: Limiters to keep.

    At the bound the limiters least recently used are looked at, a few at a time. One that is idle (full, and nobody
    waits or is out) goes first: nothing is lost with it. If there is none, the first that nobody waits for or has a
    grant of goes, and what its key has spent is forgotten. A limiter that is in use is never forgotten; while only
    such are found the map grows, by no more than there are calls in the air.
    """

    __slots__ = ("_closed", "_entries", "_lock", "_make", "capacity", "dimensions")

    def __init__(self, make: Callable[[str], L], capacity: int = KEYS) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.dimensions = make("").dimensions
        self._make = make
        self._entries: OrderedDict[str, _Entry[L]] = OrderedDict()
        self._closed = False
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, now: float, key: str) -> L:
        """
        The limiter of this key, to look at it or to change its rate. Submit through `submit`: a limiter that is
        not in use may be forgotten as soon as somebody else comes.
        """
        entry = self._pinned(now, key)
        self._unpin(entry)
        return entry.limiter

    def submit(
        self,
        now: float,
        amounts: Mapping[str, float] | float,
        *,
        tenant: str = "",
        deadline: float = math.inf,
        wait: bool = True,
    ) -> Ticket:
        entry = self._pinned(now, tenant)
        try:
            return entry.limiter.submit(now, amounts, tenant=tenant, deadline=deadline, wait=wait)
        finally:
            self._unpin(entry)

    def pump(self, now: float) -> Sequence[Ticket]:
        """Pump every limiter there is. A waiter has no need of that, it pumps its `ticket.limiter`."""
        return [ticket for limiter in self._limiters() for ticket in limiter.pump(now)]

    def settle(self, now: float, ticket: Ticket, actual: Mapping[str, float] | float) -> Sequence[Ticket]:
        return ticket.limiter.settle(now, ticket, actual)

    def cancel(self, now: float, ticket: Ticket) -> Sequence[Ticket]:
        return ticket.limiter.cancel(now, ticket)

    def eta(self, now: float, amounts: Mapping[str, float] | float, *, tenant: str = "") -> float:
        """Seconds until this tenant's request could be granted; 0.0 for a tenant that is not known yet."""
        with self._lock:
            entry = self._entries.get(tenant)
            if entry is None:
                return math.inf if self._closed else 0.0
        return entry.limiter.eta(now, amounts, tenant=tenant)

    def close(self) -> Sequence[Ticket]:
        with self._lock:
            self._closed = True
        return [ticket for limiter in self._limiters() for ticket in limiter.close()]

    def after_fork(self) -> None:
        """In the child of a fork: new locks, and nobody waits. See `FairLimiter.after_fork`."""
        self._lock = Lock()
        for entry in self._entries.values():
            entry.pins = 0
            entry.limiter.after_fork()

    def _limiters(self) -> list[L]:
        with self._lock:
            return [entry.limiter for entry in self._entries.values()]

    def _pinned(self, now: float, key: str) -> _Entry[L]:
        """The entry of this key, not to be forgotten until it is unpinned."""
        fresh: _Entry[L] | None = None
        while True:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None and fresh is not None:
                    self._make_room(now)
                    if self._closed:
                        fresh.limiter.close()
                    entry = self._entries[key] = fresh
                if entry is not None:
                    self._entries.move_to_end(key)
                    entry.pins += 1
                    return entry
            # Somebody else's code, so it is not called under the lock.
            fresh = _Entry(self._make(key))

    def _unpin(self, entry: _Entry[L]) -> None:
        with self._lock:
            entry.pins -= 1

    def _make_room(self, now: float) -> None:
        entries = self._entries
        spending: str | None = None
        for key in list(islice(entries, SCAN)):
            if len(entries) < self.capacity:
                return
            entry = entries[key]
            if entry.pins or not entry.limiter.unoccupied:
                entries.move_to_end(key)
            elif entry.limiter.idle(now):
                del entries[key]
            elif spending is None:
                spending = key
        if spending is not None and len(entries) >= self.capacity:
            del entries[spending]
