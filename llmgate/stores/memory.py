"""Entries in the memory of this process: bounded in number and in bytes, forgotten in an order of your choice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Literal

from .base import Entry, Holdings

__all__ = ["Eviction", "Memory"]

Eviction = Literal["lru", "lfu", "fifo"]

ENTRY_BYTES = 512  # bytes an entry takes besides its payload: key, record, three dict slots, a link (CPython 3.11)

# Payload, namespace, and when it was born and dies. A plain tuple of such is nothing to the garbage collector, which would
# walk through ten thousand records of any other kind again and again.
_Kept = tuple[bytes, str, float, float]


class Memory:
    """
    A store in memory, on the runtime's monotonic clock.

    What is too old is forgotten when it is asked for, or when it is its turn to make room.

    Args:
        max_size: Entries.
        max_bytes: Bytes of all payloads, with `ENTRY_BYTES` added for each.
        eviction: Who makes room: `lru` the one not used for longest, `lfu` the one used least often, `fifo` the
            oldest.
    """

    name = "memory"
    blocking = False

    def __init__(self, max_size: int = 10_000, max_bytes: int = 2**26, eviction: Eviction = "lru") -> None:
        self._max_size = max_size
        self._max_bytes = max_bytes
        # Who goes first stands first; where uses are counted they say who.
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._recent = eviction == "lru"
        self._uses = _Uses() if eviction == "lfu" else None
        self._size_bytes = 0
        self._evictions = 0
        self._lock = threading.Lock()

    def get(self, key: bytes, now: float) -> Entry | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            payload, _, born, dies = kept
            if now >= dies:
                self._drop(key)
                return None
            if self._recent:
                self._kept.move_to_end(key)
            elif self._uses is not None:
                self._uses.count(key)
        return Entry(payload, dies - now, now - born)

    def put(self, key: bytes, entry: Entry, now: float, namespace: str = "") -> bool:
        payload = entry.payload
        room = len(payload) + ENTRY_BYTES
        with self._lock:
            kept, uses = self._kept, self._uses
            if room > self._max_bytes:
                self._drop(key)
                return False
            older = kept.pop(key, None)
            if older is not None:
                self._size_bytes -= len(older[0]) + ENTRY_BYTES
            while len(kept) >= self._max_size or self._size_bytes + room > self._max_bytes:
                self._drop(next(iter(kept)) if uses is None else uses.least(key))
                self._evictions += 1
            kept[key] = (payload, namespace, now - entry.age_s, now + entry.ttl_s)
            self._size_bytes += room
            if uses is not None:
                uses.count(key)
        return True

    def delete(self, key: bytes) -> None:
        with self._lock:
            self._drop(key)

    def clear(self, namespace: str | None = None) -> int:
        with self._lock:
            gone = [key for key, kept in self._kept.items() if namespace is None or kept[1] == namespace]
            for key in gone:
                self._drop(key)
            return len(gone)

    def holdings(self) -> Holdings:
        with self._lock:
            return Holdings(len(self._kept), self._size_bytes, self._evictions)

    def close(self) -> None:
        self.clear()

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size_bytes -= len(kept[0]) + ENTRY_BYTES
            if self._uses is not None:
                self._uses.forget(key)

    def __repr__(self) -> str:
        holdings = self.holdings()
        return (
            f"<Memory {holdings.entries} of {self._max_size} entries, {holdings.size_bytes} of {self._max_bytes} bytes>"
        )


class _Uses:
    """How often each was used, and who least often; of several, whoever has been it for longest. Not locked by itself."""

    def __init__(self) -> None:
        self._of: dict[bytes, int] = {}
        self._by_count: dict[int, OrderedDict[bytes, None]] = {}

    def count(self, key: bytes) -> None:
        uses = self.forget(key) + 1
        self._of[key] = uses
        self._by_count.setdefault(uses, OrderedDict())[key] = None

    def forget(self, key: bytes) -> int:
        """Returns how often it was used."""
        uses = self._of.pop(key, 0)
        if uses:
            keys = self._by_count[uses]
            del keys[key]
            if not keys:
                del self._by_count[uses]
        return uses

    def least(self, but: bytes) -> bytes:
        """Who was used least often, of all others."""
        return next(key for uses in sorted(self._by_count) for key in self._by_count[uses] if key != but)
