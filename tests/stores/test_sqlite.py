"""The store in a file: what is damaged is put aside, what is hostile is not believed, what fails says so."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmgate.stores.base import Entry, Store
from llmgate.stores.sqlite import Sqlite
from llmgate.types.entry import seal

Opened = Callable[..., Sqlite]


class Calendar:
    """A wall clock that stands still until it is set."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def entry(text: str = "answer", ttl_s: float = 60.0, age_s: float = 0.0) -> Entry:
    return Entry(text.encode(), ttl_s, age_s)


def found(store: Sqlite, key: bytes = b"k") -> bytes | None:
    entry = store.get(key, 0.0)
    return None if entry is None else entry.payload


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache.db"


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Makes stores, and closes them when the test is over."""
    stores: list[Sqlite] = []

    def made(*args: Any, **options: Any) -> Sqlite:
        stores.append(Sqlite(*args, **options))
        return stores[-1]

    yield made
    for store in stores:
        store.close()


@pytest.fixture
def store(path: Path, opened: Opened) -> Sqlite:
    return opened(path)


def filled(path: Path, entries: int = 1) -> None:
    """A sound file on the disk, closed."""
    store = Sqlite(path)
    store.put(b"k", entry(), 0.0)
    for number in range(entries - 1):
        store.put(b"%d" % number, entry("x" * 3000), 0.0)
    store.close()


def test_it_is_a_store(store: Sqlite, path: Path) -> None:
    """
    It has every function of the protocol, blocks, and touches the disk only when it is used.
    """
    assert isinstance(store, Store)
    assert ("disk", True) == (store.name, store.blocking)
    assert not path.exists()


def test_entries_outlive_the_store(path: Path, opened: Opened) -> None:
    """
    What one store wrote another one reads, with the age and the time that it has by then.
    """
    calendar = Calendar()
    opened(path, clock=calendar).put(b"k", entry(ttl_s=60.0, age_s=5.0), 0.0)
    calendar.seconds += 10.0

    assert Entry(b"answer", 50.0, 15.0) == opened(path, clock=calendar).get(b"k", 0.0)


def test_its_owner_alone_can_read_it(store: Sqlite, path: Path) -> None:
    """
    The file, its log and its index are the owner's, whatever the umask; so is a folder that had to be made.
    """
    before = os.umask(0)
    try:
        store.put(b"k", entry(), 0.0)
    finally:
        os.umask(before)

    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


def test_an_entry_ends_at_its_time(path: Path, opened: Opened) -> None:
    """
    At the second at which its time is over an entry is gone, from the file as well.
    """
    calendar = Calendar()
    store = opened(path, clock=calendar)
    store.put(b"k", entry(ttl_s=60.0), 0.0)
    calendar.seconds += 59.0
    before = found(store)
    calendar.seconds += 1.0

    assert (b"answer", None) == (before, found(store))
    assert 0 == store.holdings().entries


def test_an_entry_from_the_future_is_too_old(path: Path, opened: Opened) -> None:
    """
    If the calendar was set back, nobody knows how old an entry is.
    """
    calendar = Calendar()
    store = opened(path, clock=calendar)
    store.put(b"k", entry(ttl_s=60.0), 0.0)
    calendar.seconds -= 86_400.0

    assert found(store) is None
    assert 0 == store.holdings().entries


def test_a_namespace_can_be_cleared(store: Sqlite) -> None:
    """
    Clearing a namespace leaves the others, clearing without a name leaves nothing; both count.
    """
    for key, namespace in ((b"a", "one"), (b"b", "one"), (b"c", "two")):
        store.put(key, entry(), 0.0, namespace)

    assert 2 == store.clear("one")
    assert b"answer" == found(store, b"c")
    assert 1 == store.clear()


def test_a_newer_entry_takes_the_place_of_an_older_one(store: Sqlite) -> None:
    """
    A key has one entry, and one that is deleted has none.
    """
    store.put(b"k", entry("old"), 0.0)
    store.put(b"k", entry("new"), 0.0)

    assert (b"new", 1) == (found(store), store.holdings().entries)

    store.delete(b"k")
    store.delete(b"k")

    assert found(store) is None


def test_the_size_of_the_file_is_bounded(path: Path, opened: Opened) -> None:
    """
    When the file is full those that would expire first make room; the file never grows beyond its size.
    """
    store = opened(path, max_bytes=2**18)
    for number in range(300):
        assert store.put(b"%d" % number, entry("x" * 2000, ttl_s=1000.0 + number), 0.0)
    holdings = store.holdings()

    assert path.stat().st_size <= 2**18
    assert 20 < holdings.entries == 300 - holdings.evictions
    assert found(store, b"299") is not None
    assert found(store, b"0") is None


def test_an_entry_that_would_fill_the_file_is_not_kept(path: Path, opened: Opened) -> None:
    """
    It is refused, throws nobody out, and does not leave an older answer behind.
    """
    store = opened(path, max_bytes=2**18)
    store.put(b"k", entry("old"), 0.0)
    store.put(b"other", entry(), 0.0)

    assert not store.put(b"k", entry("x" * 2**17), 0.0)
    assert (None, b"answer") == (found(store), found(store, b"other"))


# What is wrong with the file.


def zeroed_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 17)


def rubbish(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(8192))


def a_text(path: Path) -> None:
    path.write_text("dear diary\n" * 100)


def foreign(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.execute("INSERT INTO customers VALUES ('Ada')")


def another_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def booby_trapped(path: Path) -> None:
    """Ours, but for a trigger."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TRIGGER t AFTER DELETE ON entry BEGIN INSERT INTO entry VALUES (1, 2, 3, 4); END")


def scrambled_pages(path: Path) -> None:
    rng = random.Random(1)
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 512):
        data[at : at + 64] = rng.randbytes(64)
    path.write_bytes(data)


def one_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(random.Random(1).randbytes(4096))


DAMAGES = [one_page, zeroed_header, torn, rubbish, a_text, foreign, another_version, booby_trapped, scrambled_pages]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_not_sound_is_put_aside(
    damage: Callable[[Path], None], path: Path, caplog: pytest.LogCaptureFixture, opened: Opened
) -> None:
    """
    A file that is damaged or not ours is kept aside as it was, with one warning, and a new one is begun.
    """
    filled(path, entries=20)
    damage(path)
    was = path.read_bytes()
    store = opened(path)

    assert found(store) is None
    assert store.put(b"k", entry("new"), 0.0)
    assert b"new" == found(store)
    assert was == Path(f"{path}.aside-1").read_bytes()
    assert [("llmgate.cache", logging.WARNING)] == [(record.name, record.levelno) for record in caplog.records]
    assert str(path) in caplog.text


def test_damage_is_found_while_the_file_is_open(path: Path, caplog: pytest.LogCaptureFixture, opened: Opened) -> None:
    """
    A file that breaks under an open store is put aside as soon as the store trips over it.
    """
    filled(path, entries=500)
    store = opened(path)
    found(store)
    scrambled_pages(path)
    answers = {found(store, b"%d" % number) for number in range(499)}
    store.put(b"k", entry("new"), 0.0)

    assert answers <= {None, b"x" * 3000}
    assert b"new" == found(store)
    assert 1 == len(caplog.records)


def test_few_damaged_files_are_kept(path: Path, opened: Opened) -> None:
    """
    However often it happens, three files lie aside at the most.
    """
    for _ in range(6):
        filled(path)
        zeroed_header(path)
        store = opened(path)
        found(store)
        store.close()

    assert 3 == len(list(path.parent.glob("*.aside-*")))


def test_a_log_goes_aside_with_its_file(path: Path, opened: Opened) -> None:
    """
    A log that another process still writes to is not that of the new file.
    """
    filled(path, entries=20)
    other = opened(path)
    other.put(b"k", entry("from the other"), 0.0)
    os.truncate(path, 4096 * 3)
    store = opened(path)
    store.put(b"k", entry("new"), 0.0)
    other.put(b"k", entry("late"), 0.0)

    assert Path(f"{path}.aside-1-wal").exists()
    assert b"new" == found(store)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_torn_log_loses_no_more_than_its_end(path: Path, share: float, opened: Opened) -> None:
    """
    After a crash that tore the log every entry is there as it was, or is not there.
    """
    store = opened(path)
    for number in range(40):
        store.put(b"%d" % number, entry(f"answer {number}" * 50), 0.0)
    crashed = path.parent / "crashed.db"
    crashed.write_bytes(path.read_bytes())
    log = Path(f"{path}-wal").read_bytes()
    Path(f"{crashed}-wal").write_bytes(log[: int(len(log) * share)])
    store.close()
    again = opened(crashed)

    for number in range(40):
        assert found(again, b"%d" % number) in (None, (f"answer {number}" * 50).encode())
    assert again.put(b"k", entry("new"), 0.0)
    assert b"new" == found(again)


def test_no_flipped_bit_makes_a_wrong_answer(path: Path, opened: Opened) -> None:
    """
    Whatever bits of the file are flipped, an answer is right or there is none.
    """
    filled(path, entries=5)
    sound = path.read_bytes()
    rng = random.Random(7)
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(data)
        store = opened(path)

        assert found(store) in (None, b"answer")
        assert found(store, b"0") in (None, b"x" * 3000)
        store.close()


class Bomb:
    """Says when somebody unpickles it."""

    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Bomb, "exploded", True)


HOSTILE = {
    "a pickle": pickle.dumps(Bomb()),
    "a text": "cos\nsystem\n(S'true'\ntR.",
    "a number": 7,
    "an empty blob": b"",
    "another key's entry": seal(b"other", b"answer", 0.0, 1e12),
    "a broken seal": seal(b"k", b"answer", 0.0, 1e12)[:-1] + b"!",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_row_is_a_miss_and_deleted(name: str, store: Sqlite, path: Path) -> None:
    """
    A row that somebody else wrote is no answer and no code, and is not there the next time.
    """
    store.put(b"sound", entry(), 0.0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO entry VALUES (?, '', 1e12, ?)", (b"k", HOSTILE[name]))

    assert found(store) is None
    assert not Bomb.exploded
    assert 1 == store.holdings().entries
    assert b"answer" == found(store, b"sound")


def test_a_text_that_is_no_utf8_is_a_miss(store: Sqlite, path: Path) -> None:
    """
    A row whose text cannot be decoded does no harm either.
    """
    store.put(b"sound", entry(), 0.0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO entry VALUES (?, CAST(X'FF' AS TEXT), 1e12, CAST(X'FFFE' AS TEXT))", (b"k",))

    assert found(store) is None
    assert 1 == store.holdings().entries


# What is wrong with the disk.


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path, opened: Opened) -> None:
    """
    Where there can be no file, every function says so.
    """
    (tmp_path / "file").write_text("")
    store = opened(tmp_path / "file" / "cache.db")

    with pytest.raises(OSError):
        store.get(b"k", 0.0)
    with pytest.raises(OSError):
        store.put(b"k", entry(), 0.0)


def test_a_folder_in_the_place_of_the_file_is_an_error(path: Path, opened: Opened) -> None:
    """
    A path that names a folder is refused, and the folder is left alone.
    """
    path.mkdir(parents=True)

    with pytest.raises(OSError):
        opened(path).get(b"k", 0.0)
    assert path.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_an_error(path: Path, opened: Opened) -> None:
    """
    A file that cannot be written to is refused and not put aside.
    """
    filled(path)
    path.chmod(0o400)

    with pytest.raises(OSError):
        opened(path).get(b"k", 0.0)
    assert not list(path.parent.glob("*.aside-*"))


def test_a_read_only_database_is_an_error(store: Sqlite, path: Path) -> None:
    """
    A database that lets nobody write is no reason to put it aside; what it holds can be read.
    """
    store.put(b"k", entry(), 0.0)
    connection = store._process.connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")

    assert b"answer" == found(store)
    with pytest.raises(sqlite3.OperationalError):
        store.put(b"k", entry("new"), 0.0)
    assert not list(path.parent.glob("*.aside-*"))
    assert store.put(b"k", entry("new"), 0.0)


def test_a_locked_file_is_an_error_soon(store: Sqlite, path: Path) -> None:
    """
    While another process writes at length, writing fails within milliseconds, reading goes on, and both recover.
    """
    store.put(b"k", entry(), 0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.put(b"k", entry("new"), 0.0)
    assert b"answer" == found(store)

    other.execute("ROLLBACK")
    other.close()

    assert store.put(b"k", entry("new"), 0.0)


def test_a_full_disk_is_an_error_and_leaves_no_partial_row(tmp_path: Path, opened: Opened) -> None:
    """
    When the disk takes no more bytes, writing fails, what was there is still there, and nothing half is.
    """
    script = textwrap.dedent("""
        import resource, signal, sys
        from llmgate.stores.base import Entry
        from llmgate.stores.sqlite import Sqlite
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = Sqlite(sys.argv[1])
        store.put(b"k", Entry(b"answer", 60.0), 0.0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000))
        failed = 0
        for number in range(40):
            try:
                store.put(b"%d" % number, Entry(b"x" * 5000, 60.0), 0.0)
            except Exception as error:
                failed += 1
        assert failed, "the disk was not full"
        for number in range(40):
            found = store.get(b"%d" % number, 0.0)
            assert found is None or found.payload == b"x" * 5000
        assert store.get(b"k", 0.0).payload == b"answer"
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache.db")], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert b"answer" == found(opened(tmp_path / "cache.db"))
    assert not list(tmp_path.glob("*.aside-*"))


# Threads, processes, forks.


def test_threads_may_share_it(store: Sqlite) -> None:
    """
    Several threads read and write at once, and each finds what it wrote or what another wrote there.
    """
    wrong: list[object] = []

    def worker(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            key = b"%d" % rng.randrange(5)
            try:
                if rng.random() < 0.5:
                    store.put(key, entry(f"answer {key!r}"), 0.0)
                elif found(store, key) not in (None, f"answer {key!r}".encode()):
                    wrong.append(key)
            except TimeoutError:
                pass  # the others were at it for too long; the cache takes it for a miss

    threads = [threading.Thread(target=worker, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong


def test_a_busy_store_is_given_up_soon(store: Sqlite) -> None:
    """
    Who finds the store busy in another thread gets a TimeoutError and not a wait without end.
    """
    with store._process.lock, pytest.raises(TimeoutError):
        store.get(b"k", 0.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_opens_the_file_for_itself(store: Sqlite) -> None:
    """
    The child of a fork neither uses nor closes its parent's connection, even if a thread of the parent held the lock.
    """
    store.put(b"k", entry(), 0.0)
    process = store._process
    with process.lock:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                sound = found(store) == b"answer" and store.put(b"child", entry("from the child"), 0.0)
                status = 0 if sound and store._process is not process and process in store._inherited else 2
            finally:
                os._exit(status)
    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert (b"answer", b"from the child") == (found(store), found(store, b"child"))
    assert process is store._process


def test_a_closed_store_opens_again(store: Sqlite) -> None:
    """
    Closing gives back the file; the next use opens it.
    """
    store.put(b"k", entry(), 0.0)
    store.close()
    store.close()

    assert store._process.connection is None
    assert b"answer" == found(store)


def test_a_file_that_was_deleted_is_made_again(store: Sqlite, path: Path) -> None:
    """
    If somebody throws the file away, answers are lost and the store works.
    """
    store.put(b"k", entry(), 0.0)
    store.close()
    path.unlink()

    assert found(store) is None
    assert store.put(b"k", entry(), 0.0)
