"""What every lane is: one connection to one origin, whichever colour it has and whoever reads the HTTP on it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import httpcore2

from ..types.wire import WireRequest, WireTimeouts
from .http import Headers, head

__all__ = ["Port", "origin_of", "request_of", "reusable", "seconds_left"]


class Port(ABC):
    """
    One connection, its socket, its deadline `until`, which may be moved at any time.

    What it raises are httpcore2's exceptions, whoever reads the HTTP on it.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.until = 0.0
        self.idle_until = 0.0
        self.received = 0  # bytes of the answer
        self.timeouts = WireTimeouts()
        self.severed = False

    @abstractmethod
    async def exchange(self, request: WireRequest) -> tuple[int, Headers]:
        """Send a request, over a new connection if there is none yet, and wait for the head of its answer."""

    @abstractmethod
    async def next(self) -> bytes:
        """The next bytes of the body as they were sent, b"" at its end."""

    @abstractmethod
    async def finish(self) -> bool:
        """The answer was read to its end: whether there may be another."""

    @abstractmethod
    def expired(self) -> bool:
        """Whether the connection has become useless while it was idle."""

    @abstractmethod
    def abort(self) -> None:
        """Close the socket now."""

    @abstractmethod
    async def leave(self) -> None:
        """Close the socket in the middle of an answer."""

    @abstractmethod
    def sever(self) -> None:
        """Have whoever waits on this lane go on at once, and find an end."""

    @abstractmethod
    def drop(self) -> None:
        """Close this process's copy of the socket, and nothing that another process would notice."""


def seconds_left(until: float) -> float:
    """Seconds left, as a socket wants them: 0 would mean "do not block", so it is never 0."""
    return min(max(until - time.monotonic(), 1e-6), 1e6)


def origin_of(origin: str) -> httpcore2.Origin:
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.rpartition(":")
    return httpcore2.Origin(scheme.encode(), host.strip("[]").encode(), int(port))


def reusable(connection: httpcore2.AsyncHTTPConnection | httpcore2.HTTPConnection) -> bool:
    """
    Whether httpcore2 would send another request, and nothing that followed the answer waits to be taken for the next one.
    httpcore2 does not look for that.
    """
    state = getattr(connection._connection, "_h11_state", None)
    return connection.is_idle() and (state is None or not state.trailing_data[0])


def request_of(request: WireRequest) -> httpcore2.Request:
    origin = origin_of(request.origin)
    url = httpcore2.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=request.target.encode())
    return httpcore2.Request(request.method, url, headers=head(request), content=request.body)
