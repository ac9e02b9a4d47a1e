"""The default engine: httpx2's protocol code, one connection a lane.

httpx2 keeps its connections in one pool and walks through all of it for every request; with a few hundred
callers the walk costs more than the request. Here each connection of httpcore2 (the library under httpx2)
is a lane of its own, and idle lanes lie on a stack, so taking one costs the same however many there are. The
socket under the lane is ours, because deadlines must be exact and cheap: a lane has one deadline,
`until`, that may be moved at any time, and at most one timer, which is armed again only when it rings.

One text serves both colours; what differs is in `loop_port` and `thread_port`.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping

import httpcore2

from ..errors import BadRequest, ConnectionFailed, GatewayClosed, ProtocolError, UpstreamTimeout
from ..types.wire import WireRequest
from .http import Body, Headers, HTTPOptions, head, tls_failure, untraced
from .loop_port import AsyncPort
from .ports import Port
from .process import STOPPED
from .thread_port import ThreadPort

__all__ = ["Lanes"]

_BROKEN = (httpcore2.NetworkError, httpcore2.RemoteProtocolError)


class Lanes:
    """
    Connections by origin, idle ones on a stack each.

    Args:
        options: See there.
        color: `blocking` or `asyncio`.
    """

    def __init__(self, options: HTTPOptions, color: str) -> None:
        self._options = options
        self._port = AsyncPort if color == "asyncio" else ThreadPort
        self._idle: dict[str, deque[AsyncPort | ThreadPort]] = {}
        self._busy: set[AsyncPort | ThreadPort] = set()
        self._tls: ssl.SSLContext | None = options.verify
        self._tls_lock = threading.Lock()
        self._closed = False

    async def send(self, request: WireRequest, until: float) -> _LaneResponse:
        wire = self._written(request)
        stale = False
        while True:
            # Where one idle connection was closed the others most likely are; the request is sent twice at most.
            lane = None if stale or request.once else self._take(request.origin)
            fresh = lane is None
            if lane is None:
                lane = self._port(request.origin, self._context(request.origin), self._options)
            lane.until, lane.received, lane.timeouts = until, 0, request.timeouts
            self._busy.add(lane)
            try:
                if self._closed:
                    # Looked at after the lane was put where `close` looks, so one of the two sees the other.
                    lane.sever()
                    raise GatewayClosed(STOPPED)
                answer = await lane.exchange(wire)
                headers = Headers(answer.headers)
                body = Body(headers.get("content-encoding", ""), self._options.max_response_bytes)
                return _LaneResponse(self, lane, answer, headers, body)
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

    def _written(self, request: WireRequest) -> httpcore2.Request:
        scheme, _, authority = request.origin.partition("://")
        host, _, port = authority.rpartition(":")
        url = httpcore2.URL(
            scheme=scheme.encode(), host=host.strip("[]").encode(), port=int(port), target=request.target.encode()
        )
        return httpcore2.Request(request.method, url, headers=head(request), content=request.body)

    def _take(self, origin: str) -> AsyncPort | ThreadPort | None:
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

    def give(self, lane: AsyncPort | ThreadPort) -> None:
        """Take a lane back after an answer."""
        self._busy.discard(lane)
        if lane.reusable():
            lane.idle_until = time.monotonic() + self._options.keepalive_s
            idle = self._idle.get(lane.origin)
            if idle is None:
                idle = self._idle.setdefault(lane.origin, deque())
            idle.append(lane)
            # The bottom of the stack is the oldest; after a burst nobody else would ever look at it.
            with contextlib.suppress(IndexError, ValueError):  # another thread may be faster
                oldest = idle[0]
                if oldest is not lane and oldest.idle_until < time.monotonic():
                    idle.remove(oldest)
                    oldest.abort()
            if self._closed:
                self._empty()
        else:
            lane.abort()

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

    __slots__ = ("_answer", "_body", "_engine", "_lane", "_parts", "headers", "status")

    def __init__(
        self,
        engine: Lanes,
        lane: AsyncPort | ThreadPort,
        answer: httpcore2.Response,
        headers: Mapping[str, str],
        body: Body,
    ) -> None:
        self._engine = engine
        self._lane: AsyncPort | ThreadPort | None = lane
        self._answer = answer
        self._parts = lane.parts(answer)
        self._body = body
        self.status = answer.status
        self.headers = headers

    async def read(self, until: float) -> bytes:
        lane = self._lane
        if lane is None:
            return b""
        lane.until = until
        try:
            while True:
                data = await lane.next(self._parts)
                if not data:
                    break
                data = self._body.feed(data)
                if data:
                    return data
            self._body.end()
            if lane.severed:
                # Where nothing says how long the body is, a cut looks like its end.
                raise GatewayClosed(STOPPED)
            await lane.finish(self._answer)
        except BaseException as error:
            self._cut()
            raise untraced(error, self._read_error(error, lane)) from None
        self._lane = None
        self._engine.give(lane)
        return b""

    def _read_error(self, error: BaseException, lane: Port) -> BaseException:
        where = lane.origin
        match error:
            case Exception() if lane.severed:
                return GatewayClosed(STOPPED)
            case httpcore2.TimeoutException():
                return TimeoutError()
            case httpcore2.RemoteProtocolError() | httpcore2.NetworkError() | OSError():
                if isinstance(error, TimeoutError):
                    return TimeoutError()
                return ConnectionFailed(f"the connection to {where} broke in the middle of the answer")
            case _:
                return error

    def _cut(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.abort()
            self._engine.give(lane)

    async def close(self) -> None:
        lane = self._lane
        self._cut()
        if lane is not None:
            await lane.cut(self._parts)

    def __del__(self) -> None:
        # A stream that nobody closed must not keep its socket.
        if getattr(self, "_lane", None) is not None:
            self._cut()
