"""What the runtimes have in common: a lock that is new in every process, and the word for their end."""

from __future__ import annotations

import os
import threading

__all__ = ["STOPPED", "ProcessLock"]

STOPPED = "the gateway was closed before the answer was there"


class ProcessLock:
    """
    A lock for whatever may outlive a fork. The child has one of its own, so a thread that held the parent's at the
    fork, and that does not exist in the child, holds up nobody there.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        # `setdefault` is one step, so two threads that come first find the same lock.
        self._locks.setdefault(os.getpid(), threading.Lock()).acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()
