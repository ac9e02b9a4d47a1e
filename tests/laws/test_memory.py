"""The law of the store in memory: who makes room is who a look at all entries would choose."""

from __future__ import annotations

from typing import Any, Literal

from hypothesis import given, settings, strategies as st

from llmgate.stores.base import Entry
from llmgate.stores.memory import ENTRY_BYTES, Memory

MAX_SIZE, MAX_BYTES = 3, 5 * ENTRY_BYTES


class Slow:
    """The same without any structure: everything is looked at each time."""

    def __init__(self, eviction: str) -> None:
        self.eviction = eviction
        self.kept: dict[int, dict[str, Any]] = {}
        self.tick = 0

    def use(self, key: int, kind: str) -> None:
        self.tick += 1
        record = self.kept[key]
        record["uses"] += 1
        record["used"] = self.tick
        if kind == "put":
            record["written"] = self.tick

    def rank(self, key: int) -> Any:
        record = self.kept[key]
        return {
            "lru": record["used"], "fifo": record["written"], "lfu": (record["uses"], record["used"]),
        }[self.eviction]  # fmt: skip

    def put(self, key: int, size: int) -> None:
        record = self.kept.pop(key, {"uses": 0})
        if size + ENTRY_BYTES > MAX_BYTES:
            return
        while len(self.kept) >= MAX_SIZE or self.room() + size + ENTRY_BYTES > MAX_BYTES:
            del self.kept[min(self.kept, key=self.rank)]
        self.kept[key] = record | {"size": size}
        self.use(key, "put")

    def room(self) -> int:
        return sum(record["size"] + ENTRY_BYTES for record in self.kept.values())


steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "get", "delete"]), st.integers(0, 4), st.sampled_from([0, 0, 9, 1000, 4000])),
    min_size=10,
    max_size=50,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["lru", "lfu", "fifo"]), steps)
def test_who_makes_room_is_who_is_next(
    eviction: Literal["lru", "lfu", "fifo"], steps: list[tuple[str, int, int]]
) -> None:
    """
    Whatever is written, asked for and forgotten, the store holds what a naive one would hold, and counts its bytes.
    """
    memory, slow = Memory(MAX_SIZE, MAX_BYTES, eviction), Slow(eviction)
    for step, key, size in steps:
        if step == "put":
            memory.put(b"%d" % key, Entry(b"x" * size, 60.0), 0.0)
            slow.put(key, size)
        elif step == "get":
            found = memory.get(b"%d" % key, 1.0)
            assert (found is None) == (key not in slow.kept)
            if found is not None:
                slow.use(key, "get")
        else:
            memory.delete(b"%d" % key)
            slow.kept.pop(key, None)
        holdings = memory.holdings()
        assert {b"%d" % key for key in slow.kept} == set(memory._kept)
        assert slow.room() == holdings.size_bytes
