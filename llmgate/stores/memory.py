"""Entries in the memory of this process: bounded in number and in bytes, forgotten in an order of your choice.

`cachetools` keeps the order of eviction; the lock, the second bound and the age are ours, because its caches are not
made for threads and its `TTLCache` looks at a clock of its own.
"""

from __future__ import annotations

import threading
from typing import Literal

import cachetools

from .base import Entry, Holdings

__all__ = ["Eviction", "Memory"]

Eviction = Literal["lru", "lfu", "fifo"]

ENTRY_BYTES = 512  # bytes an entry takes besides its payload: key, record, three dict slots, a link (CPython 3.11)

# Payload, namespace, and when it was born and dies. A plain tuple of such is nothing to the garbage collector, which would
# walk through ten thousand records of any other kind again and again.
_Kept = tuple[bytes, str, float, float]

_ORDERS: dict[str, type[cachetools.Cache[bytes, _Kept]]] = {
    "lru": cachetools.LRUCache,
    "lfu": cachetools.LFUCache,
    "fifo": cachetools.FIFOCache,
}


def _room(kept: _Kept) -> int:
    return len(kept[0]) + ENTRY_BYTES


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
        self._kept = _ORDERS[eviction](max_bytes, getsizeof=_room)
        self._lock = threading.Lock()
        self._evictions = 0

    def get(self, key: bytes, now: float) -> Entry | None:
        with self._lock:
            try:
                kept = self._kept[key]
            except KeyError:
                return None
            payload, _, born, dies = kept
            if now >= dies:
                del self._kept[key]
                return None
        return Entry(payload, dies - now, now - born)

    def put(self, key: bytes, entry: Entry, now: float, namespace: str = "") -> bool:
        record = (entry.payload, namespace, now - entry.age_s, now + entry.ttl_s)
        with self._lock:
            kept = self._kept
            if _room(record) > kept.maxsize:
                kept.pop(key, None)
                return False
            others = len(kept)
            if key in kept:
                others -= 1
            elif others >= self._max_size:
                kept.popitem()
            kept[key] = record
            self._evictions += others + 1 - len(kept)
        return True

    def delete(self, key: bytes) -> None:
        with self._lock:
            self._kept.pop(key, None)

    def clear(self, namespace: str | None = None) -> int:
        with self._lock:
            before = len(self._kept)
            if namespace is None:
                self._kept.clear()
            else:
                for key in [key for key in self._kept if self._peek(key)[1] == namespace]:
                    del self._kept[key]
            return before - len(self._kept)

    def holdings(self) -> Holdings:
        with self._lock:
            return Holdings(len(self._kept), int(self._kept.currsize), self._evictions)

    def close(self) -> None:
        self.clear()

    def _peek(self, key: bytes) -> _Kept:
        """The record, without counting it as a use."""
        return cachetools.Cache.__getitem__(self._kept, key)

    def __repr__(self) -> str:
        holdings = self.holdings()
        return f"<Memory {holdings.entries} of {self._max_size} entries, {holdings.size_bytes} of {self._kept.maxsize} bytes>"
