"""Entries in one SQLite file, shared by the threads and the processes of one host.

The file is a cache and is treated as one: whatever is damaged, foreign or unreadable is put aside and begun anew with
one warning, and nothing that is read from it is believed without its seal. Times are the calendar's, because the file
outlives the process; an entry from the future counts as too old, because then the calendar was set back.

Write-ahead logging lets readers and one writer work at once. The size is bounded by SQLite itself
(`max_page_count`), so the bound holds for all processes together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..types.entry import seal, unseal
from .base import Entry, Holdings

__all__ = ["Sqlite"]

T = TypeVar("T")

logger = logging.getLogger("llmgate.cache")

APPLICATION_ID = 0x6C6C6D67  # "llmg", in the file's header
USER_VERSION = 1  # of the schema
SCHEMA = (
    "CREATE TABLE entry (key BLOB PRIMARY KEY NOT NULL, namespace TEXT NOT NULL, dies REAL NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX entry_dies ON entry (dies)",
)

BUSY_S = 0.04  # seconds to wait for another thread or process; a cache gives up sooner than a call gets impatient
CHECKED_BYTES = 2**26  # a file up to this size is checked when it is opened (35 ms); a larger one as it is read
EVICTED_SHARE = 8  # an eighth of the entries makes room at a time, so that eviction is rare
LARGEST_SHARE = 8  # an entry may take an eighth of the store
ASIDE_FILES = 3  # damaged files that are kept; the next one takes the place of the last

_DAMAGED = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class _Unsound(sqlite3.DatabaseError):
    """A database, but not ours, or not whole."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


class _Process:
    """What belongs to one process and must not be used by its forks."""

    __slots__ = ("connection", "inode", "lock", "pid")

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.inode = -1


class Sqlite:
    """
    A store in one file. It is opened when it is first used; who expires first makes room.

    Args:
        path: The file. It is made readable for its owner alone, and so is its folder, if there was none.
        max_bytes: Size of the file.
        clock: Seconds since 1970.

    Raises:
        sqlite3.Error, OSError: From every function, if the disk is full, the file read-only or locked.
    """

    name = "disk"
    blocking = True

    def __init__(
        self, path: str | Path = ".llmgate/cache.db", max_bytes: int = 2**28, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = Path(path)
        self._max_bytes = max_bytes
        self._clock = clock
        self._process = _Process()
        self._inherited: list[_Process] = []
        self._evictions = 0

    def get(self, key: bytes, now: float) -> Entry | None:
        return self._on_disk(lambda connection: self._get(connection, key))

    def put(self, key: bytes, entry: Entry, now: float, namespace: str = "") -> bool:
        wall = self._clock()
        dies = wall + entry.ttl_s
        data = seal(key, entry.payload, wall - entry.age_s, dies)
        if len(data) > self._max_bytes // LARGEST_SHARE:
            self.delete(key)
            return False
        self._on_disk(lambda connection: self._put(connection, (key, namespace, dies, data)))
        return True

    def delete(self, key: bytes) -> None:
        self._on_disk(lambda connection: _delete(connection, key))

    def clear(self, namespace: str | None = None) -> int:
        def cleared(connection: sqlite3.Connection) -> int:
            if namespace is None:
                return connection.execute("DELETE FROM entry").rowcount
            return connection.execute("DELETE FROM entry WHERE namespace = ?", (namespace,)).rowcount

        return self._on_disk(cleared)

    def holdings(self) -> Holdings:
        def counted(connection: sqlite3.Connection) -> Holdings:
            pages = _number(connection, "PRAGMA page_count") - _number(connection, "PRAGMA freelist_count")
            size = pages * _number(connection, "PRAGMA page_size")
            return Holdings(_number(connection, "SELECT count(*) FROM entry"), size, self._evictions)

        return self._on_disk(counted)

    def close(self) -> None:
        process = self._process
        if process.pid == os.getpid():
            with process.lock:
                self._disconnect(process)

    def _get(self, connection: sqlite3.Connection, key: bytes) -> Entry | None:
        row = connection.execute("SELECT data FROM entry WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            payload, born, dies = unseal(key, row[0])
        except ValueError:
            _delete(connection, key)
            return None
        wall = self._clock()
        if not born <= wall < dies:
            _delete(connection, key)
            return None
        return Entry(payload, dies - wall, wall - born)

    def _put(self, connection: sqlite3.Connection, row: tuple[bytes, str, float, bytes]) -> None:
        while True:
            try:
                connection.execute("INSERT OR REPLACE INTO entry (key, namespace, dies, data) VALUES (?, ?, ?, ?)", row)
                return
            except sqlite3.OperationalError as error:
                # It is our own bound that is reached, or the disk is full. In the latter case there is no room
                # to write down what is deleted either, and that fails with the same word.
                if _code(error) != sqlite3.SQLITE_FULL or not self._make_room(connection):
                    raise

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        share = -(-_number(connection, "SELECT count(*) FROM entry") // EVICTED_SHARE)
        evicted = connection.execute(
            "DELETE FROM entry WHERE rowid IN (SELECT rowid FROM entry ORDER BY dies LIMIT ?)", (share,)
        ).rowcount
        self._evictions += evicted
        return evicted > 0

    def _on_disk(self, work: Callable[[sqlite3.Connection], T]) -> T:
        process = self._process
        if process.pid != os.getpid():
            # SQLite's rule: a connection must not cross a fork, not even to be closed. The lock may be held for ever.
            self._inherited.append(process)
            process = self._process = _Process()
        if not process.lock.acquire(timeout=BUSY_S):
            raise TimeoutError(f"{self.path} is busy")
        try:
            try:
                return work(process.connection or self._connect(process))
            except sqlite3.DatabaseError as error:
                code = _code(error)
                if code not in _BUSY:
                    self._disconnect(process)
                if code not in _DAMAGED:
                    raise
                self._put_aside(process, error)
            return work(self._connect(process))
        finally:
            process.lock.release()

    def _connect(self, process: _Process) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its log and its index the permissions of the file.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        process.inode = status.st_ino
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        # A text that is no UTF-8 must not fail before its seal is looked at.
        connection.text_factory = bytes
        try:
            self._prepare(connection, status.st_size)
        except BaseException:
            connection.close()
            raise
        process.connection = connection
        return connection

    def _prepare(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        # A foreign schema may hold triggers and views; they get to call nothing, and are refused anyway.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if not _is_ours(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have been quicker.
            if not _is_ours(connection):
                for statement in SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {USER_VERSION}")
            connection.execute("COMMIT")
        elif size_bytes <= CHECKED_BYTES:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != b"ok":
                raise _Unsound("the check of its pages failed")
        connection.execute("PRAGMA journal_mode = WAL")
        # What the last second before a power cut brought may be lost; it can be asked for again.
        connection.execute("PRAGMA synchronous = NORMAL")
        page_bytes = _number(connection, "PRAGMA page_size")
        connection.execute(f"PRAGMA max_page_count = {max(self._max_bytes // page_bytes, 1)}")

    def _disconnect(self, process: _Process) -> None:
        connection, process.connection = process.connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _put_aside(self, process: _Process, error: sqlite3.DatabaseError) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino != process.inode:
                return  # another process was quicker
        names = [f"{self.path}.aside-{number}" for number in range(1, ASIDE_FILES + 1)]
        aside = next((name for name in names if not os.path.exists(name)), names[-1])
        # The log belongs to the file: beside a new one it would be replayed into it.
        for suffix in ("-shm", "-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        # The error itself would keep its traceback, and with it this store, for as long as somebody keeps the record.
        said = str(error)
        logger.warning(
            "the cache file %s is not sound (%s); it is now %s, and a new one is begun", self.path, said, aside
        )

    def __repr__(self) -> str:
        return f"<Sqlite {self.path}>"


def _is_ours(connection: sqlite3.Connection) -> bool:
    """
    Whether the schema is there; False for an empty file.

    Raises:
        _Unsound: If there is another one.
    """
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")]
    marks = _number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version")
    if not found and marks == (0, 0):
        return False
    if found != [statement.encode() for statement in SCHEMA] or marks != (APPLICATION_ID, USER_VERSION):
        raise _Unsound("it has another schema")
    return True


def _delete(connection: sqlite3.Connection, key: bytes) -> None:
    connection.execute("DELETE FROM entry WHERE key = ?", (key,))


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if it did not come from there."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
