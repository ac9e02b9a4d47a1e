"""What a store is: bytes under a key, for a while.

A store knows nothing of answers, tenants or calls. Its functions are plain and may raise whatever goes wrong; the
cache around it takes every exception for a miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..types.entry import Entry

__all__ = ["Entry", "Holdings", "Store"]


@dataclass(slots=True)
class Holdings:
    """
    What a store holds.

    Attributes:
        entries: How many, those included that are too old and not yet swept.
        size_bytes: How much room they take.
        evictions: How many had to go before their time, since the store was opened.
    """

    entries: int = 0
    size_bytes: int = 0
    evictions: int = 0


@runtime_checkable
class Store(Protocol):
    """
    One tier of a cache.

    Every function may be called from any thread. `now` is the runtime's monotonic time in seconds; a store that
    outlives its process keeps time by the calendar instead.

    Attributes:
        name: What an answer that came from here calls itself in `cached`: `memory`, `disk`, `redis`.
        blocking: Whether a function may take so long that an event loop should not wait for it.
    """

    name: str
    blocking: bool

    def get(self, key: bytes, now: float) -> Entry | None:
        """The entry, if there is one and it is not too old."""
        ...

    def put(self, key: bytes, entry: Entry, now: float, namespace: str = "") -> bool:
        """Keep an entry, in place of an older one. False if it is too large for the store."""
        ...

    def delete(self, key: bytes) -> None:
        """Forget an entry; harmless if there is none."""
        ...

    def clear(self, namespace: str | None = None) -> int:
        """Forget the entries of one namespace, or all of them; returns how many there were."""
        ...

    def holdings(self) -> Holdings: ...

    def close(self) -> None:
        """Give back what is held open. A closed store opens again when it is used."""
        ...
