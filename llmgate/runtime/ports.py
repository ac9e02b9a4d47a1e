"""What both colours of a lane have in common: whose it is, until when it may wait, and what it has brought."""

from __future__ import annotations

import time
from typing import Any

import httpcore2

__all__ = ["Port", "origin_of", "seconds_left"]


class Port:
    """What both colours of a lane have in common."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.until = 0.0
        self.idle_until = 0.0
        self.received = 0
        self.timeouts: Any = None
        self.severed = False


def seconds_left(until: float) -> float:
    """Seconds left, as a socket wants them: 0 would mean "do not block", so it is never 0."""
    return min(max(until - time.monotonic(), 1e-6), 1e6)


def origin_of(origin: str) -> httpcore2.Origin:
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.rpartition(":")
    return httpcore2.Origin(scheme.encode(), host.strip("[]").encode(), int(port))
