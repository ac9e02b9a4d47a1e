"""The store in memory: bounded, timed by the clock it is told, safe to share."""

from __future__ import annotations

import random
import threading

import pytest

from llmgate.stores.base import Entry, Holdings, Store
from llmgate.stores.memory import ENTRY_BYTES, Eviction, Memory


def entry(text: str = "answer", ttl_s: float = 60.0, age_s: float = 0.0) -> Entry:
    return Entry(text.encode(), ttl_s, age_s)


def test_it_is_a_store() -> None:
    """
    It has every function of the protocol and does not block.
    """
    assert isinstance(Memory(), Store)
    assert ("memory", False) == (Memory.name, Memory.blocking)


def test_an_entry_ages_on_the_clock_it_is_told() -> None:
    """
    What comes out tells how old it is and how long it has still to live.
    """
    memory = Memory()
    memory.put(b"k", entry(ttl_s=60.0, age_s=5.0), 100.0)

    assert Entry(b"answer", 50.0, 15.0) == memory.get(b"k", 110.0)


def test_an_entry_ends_at_its_time() -> None:
    """
    At the instant at which its time is over an entry is gone, and takes no more room.
    """
    memory = Memory()
    memory.put(b"k", entry(ttl_s=60.0), 0.0)

    assert memory.get(b"k", 59.999) is not None
    assert memory.get(b"k", 60.0) is None
    assert Holdings() == memory.holdings()


def test_a_newer_entry_takes_the_place_of_an_older_one() -> None:
    """
    A key has one entry, and its room is counted once.
    """
    memory = Memory()
    memory.put(b"k", entry("old, and longer"), 0.0)
    memory.put(b"k", entry("new"), 1.0)
    found = memory.get(b"k", 2.0)

    assert found is not None
    assert b"new" == found.payload
    assert Holdings(1, 3 + ENTRY_BYTES, 0) == memory.holdings()


@pytest.mark.parametrize(("eviction", "gone"), [("lru", b"b"), ("lfu", b"c"), ("fifo", b"a")])
def test_the_right_one_makes_room(eviction: Eviction, gone: bytes) -> None:
    """
    The least recently used, the least often used or the oldest entry makes room for a new one.
    """
    memory = Memory(max_size=3, eviction=eviction)
    for key in (b"a", b"b", b"c"):
        memory.put(key, entry(), 0.0)
    for key in (b"b", b"b", b"c", b"a", b"a"):
        memory.get(key, 1.0)
    memory.put(b"d", entry(), 2.0)

    assert [gone] == [key for key in (b"a", b"b", b"c", b"d") if memory.get(key, 3.0) is None]
    assert 1 == memory.holdings().evictions


def test_counting_uses_takes_no_more_room() -> None:
    """
    An entry that is used a thousand times is counted in one place.
    """
    memory = Memory(eviction="lfu")
    memory.put(b"k", entry(), 0.0)
    for _ in range(1000):
        memory.get(b"k", 1.0)

    assert memory._uses is not None
    assert 1 == len(memory._uses._by_count)


def test_bytes_are_bounded() -> None:
    """
    However large the entries are, the store never takes more room than it may.
    """
    room = 10 * ENTRY_BYTES
    memory = Memory(max_bytes=room)
    rng = random.Random(1)
    for number in range(300):
        memory.put(b"%d" % rng.randrange(30), entry("x" * rng.randrange(3 * ENTRY_BYTES)), float(number))

        assert memory.holdings().size_bytes <= room

    assert memory.holdings().evictions > 0


def test_an_entry_larger_than_the_store_is_not_kept() -> None:
    """
    It is refused, throws nobody out, and does not leave an older answer behind.
    """
    memory = Memory(max_bytes=3 * ENTRY_BYTES)
    memory.put(b"other", entry(), 0.0)
    memory.put(b"k", entry("old"), 0.0)

    assert not memory.put(b"k", entry("x" * 3 * ENTRY_BYTES), 1.0)
    assert memory.get(b"k", 2.0) is None
    assert memory.get(b"other", 2.0) is not None


def test_a_namespace_can_be_cleared() -> None:
    """
    Clearing a namespace leaves the others, clearing without a name leaves nothing; both count.
    """
    memory = Memory()
    for key, namespace in ((b"a", "one"), (b"b", "one"), (b"c", "two")):
        memory.put(key, entry(), 0.0, namespace)

    assert 2 == memory.clear("one")
    assert memory.get(b"c", 1.0) is not None
    assert 1 == memory.clear()
    assert 0 == memory.clear()


def test_deleting_is_harmless_twice() -> None:
    """
    An entry can be forgotten once and again.
    """
    memory = Memory()
    memory.put(b"k", entry(), 0.0)
    memory.delete(b"k")
    memory.delete(b"k")

    assert memory.get(b"k", 1.0) is None


def test_threads_may_share_it() -> None:
    """
    Many threads that read, write, delete and clear leave bounds and counts exact.
    """
    memory = Memory(max_size=20, max_bytes=15 * ENTRY_BYTES)
    errors: list[BaseException] = []

    def worker(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for step in range(500):
                key = b"%d" % rng.randrange(40)
                match rng.randrange(10):
                    case 0:
                        memory.delete(key)
                    case 1:
                        memory.clear(rng.choice(["", "n"]))
                    case 2 | 3 | 4:
                        found = memory.get(key, float(step))
                        assert found is None or found.payload.endswith(key)
                    case _:
                        memory.put(
                            key, Entry(b"x" * rng.randrange(300) + key, 50.0), float(step), rng.choice(["", "n"])
                        )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=worker, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holdings = memory.holdings()

    assert [] == errors
    assert holdings.entries <= 20
    assert holdings.size_bytes <= 15 * ENTRY_BYTES
    assert holdings.entries == memory.clear()
    assert 0 == memory.holdings().size_bytes
