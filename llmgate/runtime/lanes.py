"""Our own engines: one connection a lane, idle lanes on a stack.

httpx2 keeps its connections in one pool and walks through all of it for every request; with a few hundred
callers the walk costs more than the request. Here each connection is a lane of its own, and taking one costs the
same however many there are. The socket under the lane is ours, because deadlines must be exact and cheap: a
lane has one deadline, `until`, that may be moved at any time, and at most one timer, which is armed again only when
it rings.

One text serves both colours and whoever reads the HTTP on a lane: httpcore2, the library under httpx2
(`loop_port` and `thread_port`, the default), or aiohttp's parser (`aiohttp`).
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import httpcore2

from ..errors import BadRequest, ConnectionFailed, GatewayClosed, ProtocolError, UpstreamTimeout
from ..types.wire import WireRequest
from .http import Body, Headers, HTTPOptions, tls_failure, untraced
from .ports import Port
from .process import STOPPED

__all__ = ["Lanes"]

_BROKEN = (httpcore2.NetworkError, httpcore2.RemoteProtocolError)


class Lanes:
    """
    Connections by origin, idle ones on a stack each.

    Args:
        options: See there.
        port: Makes a lane to an origin, over TLS if it is given a context.
    """

    def __init__(self, options: HTTPOptions, port: Callable[[str, ssl.SSLContext | None], Port]) -> None:
        self._options = options
        self._port = port
        self._idle: dict[str, deque[Port]] = {}
        self._busy: set[Port] = set()
        self._tls: ssl.SSLContext | None = options.verify
        self._tls_lock = threading.Lock()
        self._closed = False

    async def send(self, request: WireRequest, until: float) -> _LaneResponse:
        stale = False
        while True:
            # Where one idle connection was closed the others most likely are; the request is sent twice at most.
            lane = None if stale or request.once else self._take(request.origin)
            fresh = lane is None
            if lane is None:
                lane = self._port(request.origin, self._context(request.origin))
            lane.until, lane.received, lane.timeouts = until, 0, request.timeouts
            self._busy.add(lane)
            try:
                if self._closed:
                    # Looked at after the lane was put where `close` looks, so one of the two sees the other.
                    lane.sever()
                    raise GatewayClosed(STOPPED)
                status, headers = await lane.exchange(request)
                body = Body(headers.get("content-encoding", ""), self._options.max_response_bytes)
                return _LaneResponse(self, lane, status, headers, body)
            except BaseException as error:
                self._busy.discard(lane)
                lane.abort()
                if lane.severed and isinstance(error, Exception):
                    raise untraced(error, GatewayClosed(STOPPED)) from None
                # The upstream had closed a connection that was idle; it has seen nothing of this request.
                if not fresh and lane.received == 0 and isinstance(error, _BROKEN):
                    stale = True
                    continue
                raise untraced(error, _translated(error, request, until)) from None

    def _take(self, origin: str) -> Port | None:
        idle = self._idle.get(origin)
        while idle:
            try:
                lane = idle.pop()
            except IndexError:  # another thread was faster
                return None
            if not lane.expired():
                return lane
            lane.abort()
        return None

    def give(self, lane: Port, reusable: bool) -> None:
        """Take a lane back after an answer."""
        self._busy.discard(lane)
        if not reusable:
            lane.abort()
            return
        now = time.monotonic()
        lane.idle_until = now + self._options.keepalive_s
        idle = self._idle.get(lane.origin)
        if idle is None:
            idle = self._idle.setdefault(lane.origin, deque())
        idle.append(lane)
        # The bottom of the stack is the oldest; after a burst nobody else would ever look at it.
        oldest = idle[0] if idle else lane  # another thread may be faster
        if oldest.idle_until < now:
            with contextlib.suppress(ValueError):  # the same
                idle.remove(oldest)
                oldest.abort()
        if self._closed:
            self._empty()

    def _context(self, origin: str) -> ssl.SSLContext | None:
        if not origin.startswith("https:"):
            return None
        with self._tls_lock:
            if self._tls is None:
                self._tls = httpcore2.default_ssl_context()
            return self._tls

    async def close(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        self._closed = True
        for lane in self._busy.copy():
            lane.sever()
        self._empty()

    def drop(self) -> None:
        self._closed = True
        for lane in self._busy.copy():
            lane.drop()
        for lanes in self._idle.copy().values():
            for lane in lanes:
                lane.drop()
            lanes.clear()

    def _empty(self) -> None:
        """Close what is idle."""
        for idle in self._idle.copy().values():
            with contextlib.suppress(IndexError):  # another thread may be faster
                while True:
                    idle.pop().abort()

    def __repr__(self) -> str:
        idle = sum(len(lanes) for lanes in self._idle.values())
        return f"<Lanes {len(self._busy)} busy, {idle} idle>"


def _translated(error: BaseException, request: WireRequest, until: float) -> BaseException:
    """Our word for what the library raised; what is not about the network passes unchanged."""
    where = request.origin
    match error:
        case httpcore2.TimeoutException() if time.monotonic() >= until:
            return TimeoutError()
        case httpcore2.ConnectTimeout():
            return UpstreamTimeout(f"no connection to {where} in {request.timeouts.connect_s:g} s", timer="connect")
        case httpcore2.WriteTimeout():
            return UpstreamTimeout(f"{where} did not take the request", timer="write")
        case httpcore2.TimeoutException():
            return TimeoutError()
        case httpcore2.ConnectError():
            if isinstance(error.__context__, ssl.SSLError) or "certificate" in str(error).lower():
                return tls_failure(error, where)
            return ConnectionFailed(f"no connection to {where}: {error}", begun=False)
        case httpcore2.LocalProtocolError():
            return BadRequest(f"the request cannot be written as HTTP: {error}")
        case httpcore2.RemoteProtocolError():
            if "disconnected" in str(error):
                return ConnectionFailed(f"{where} closed the connection without an answer")
            return ProtocolError(f"{where} answered with something that is not HTTP: {error}")
        case httpcore2.NetworkError():
            return ConnectionFailed(f"the connection to {where} broke")
        case ssl.SSLError():
            return tls_failure(error, where)
        case OSError() if not isinstance(error, TimeoutError):
            return ConnectionFailed(f"no connection to {where}: {error.strerror or error}")
        case _:
            return error


class _LaneResponse:
    """The answer on a lane. Reading it to its end gives the lane back by itself."""

    __slots__ = ("_body", "_engine", "_lane", "headers", "status")

    def __init__(self, engine: Lanes, lane: Port, status: int, headers: Headers, body: Body) -> None:
        self._engine = engine
        self._lane: Port | None = lane
        self._body = body
        self.status = status
        self.headers = headers

    async def read(self, until: float) -> bytes:
        lane = self._lane
        if lane is None:
            return b""
        lane.until = until
        try:
            while data := await lane.next():
                data = self._body.feed(data)
                if data:
                    return data
            self._body.end()
            if lane.severed:
                # Where nothing says how long the body is, a cut looks like its end.
                raise GatewayClosed(STOPPED)
            reusable = await lane.finish()
        except BaseException as error:
            self._cut()
            raise untraced(error, self._read_error(error, lane)) from None
        self._lane = None
        self._engine.give(lane, reusable)
        return b""

    def _read_error(self, error: BaseException, lane: Port) -> BaseException:
        match error:
            case Exception() if lane.severed:
                return GatewayClosed(STOPPED)
            case httpcore2.TimeoutException() | TimeoutError():
                return TimeoutError()
            case httpcore2.RemoteProtocolError() | httpcore2.NetworkError() | OSError():
                return ConnectionFailed(f"the connection to {lane.origin} broke in the middle of the answer")
            case _:
                return error

    def _cut(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            self._engine.give(lane, False)

    async def close(self) -> None:
        lane = self._lane
        self._cut()
        if lane is not None:
            await lane.leave()

    def __del__(self) -> None:
        # A stream that nobody closed must not keep its socket.
        if getattr(self, "_lane", None) is not None:
            self._cut()
