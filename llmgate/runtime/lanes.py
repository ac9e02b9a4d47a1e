"""The default engine: httpx2's protocol code, one connection a lane.

httpx2 keeps its connections in one pool and walks through all of it for every request; with a few hundred
callers the walk costs more than the request. Here each connection of httpcore2 (the library under httpx2)
is a lane of its own, and idle lanes lie on a stack, so taking one costs the same however many there are. The
socket under the lane is ours, because deadlines must be exact and cheap: a lane has one deadline,
`until`, that may be moved at any time, and at most one timer, which is armed again only when it rings.

One text serves both colours; what differs is in `_AsyncPort` and `_ThreadPort`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any

import httpcore2

from ..errors import BadRequest, ConnectionFailed, GatewayClosed, ProtocolError, UpstreamTimeout
from ..types.wire import WireRequest
from .http import Body, Headers, HTTPOptions, drop_transport, head, tls_failure, untraced
from .process import STOPPED

__all__ = ["Lanes"]

READ_AHEAD_BYTES = 2**18  # the socket is paused when this much waits to be read
NEXT_ADDRESS_S = 0.25  # seconds; RFC 8305 recommends this Connection Attempt Delay
DRAIN_S = 0.1  # seconds; the OpenAI SDK drains as long to save a connection

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
        self._port = _AsyncPort if color == "asyncio" else _ThreadPort
        self._idle: dict[str, deque[_AsyncPort | _ThreadPort]] = {}
        self._busy: set[_AsyncPort | _ThreadPort] = set()
        self._tls: ssl.SSLContext | None = options.verify
        self._tls_lock = threading.Lock()
        self._closed = False

    async def send(self, request: WireRequest, until: float) -> _LaneResponse:
        wire = self._written(request)
        stale = False
        while True:
            # Where one idle connection was closed the others most likely are; the request is sent twice at most.
            lane = None if stale else self._take(request.origin)
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

    def _take(self, origin: str) -> _AsyncPort | _ThreadPort | None:
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

    def give(self, lane: _AsyncPort | _ThreadPort) -> None:
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
            return ConnectionFailed(f"no connection to {where}: {error}")
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
        lane: _AsyncPort | _ThreadPort,
        answer: httpcore2.Response,
        headers: Mapping[str, str],
        body: Body,
    ) -> None:
        self._engine = engine
        self._lane: _AsyncPort | _ThreadPort | None = lane
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

    def _read_error(self, error: BaseException, lane: _Port) -> BaseException:
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


class _Port:
    """What both colours of a lane have in common."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.until = 0.0
        self.idle_until = 0.0
        self.received = 0
        self.timeouts: Any = None
        self.severed = False


class _ThreadPort(_Port, httpcore2.NetworkBackend):
    """A lane of the blocking runtime: one connection, its socket, its deadline."""

    def __init__(self, origin: str, tls: ssl.SSLContext | None, options: HTTPOptions) -> None:
        super().__init__(origin)
        self._stream: _ThreadLine | None = None
        self._connection = httpcore2.HTTPConnection(_origin(origin), ssl_context=tls, network_backend=self)
        self._options = options

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.NetworkStream:
        try:
            sock = _plainly_connected(host, port, min(self.until, time.monotonic() + self.timeouts.connect_s))
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except OSError as error:
            raise httpcore2.ConnectError(error.strerror or str(error)) from error
        self.closed_with_me(sock)
        self._stream = _ThreadLine(self, sock)
        self.check()
        return self._stream

    def closed_with_me(self, sock: socket.socket) -> None:
        """
        Close a socket when the lane is dropped, with a gateway that nobody closed or with the whole program. A finaliser of
        the lane's own would be too late: in a cycle the socket's may come first, and complain.
        """
        weakref.finalize(self, sock.close)

    def check(self) -> None:
        """Go no further with a socket that came to be while the lane was severed."""
        if self.severed:
            self.abort()
            raise httpcore2.ConnectError(STOPPED)

    async def exchange(self, request: httpcore2.Request) -> httpcore2.Response:
        return self._connection.handle_request(request)

    def parts(self, answer: httpcore2.Response) -> Any:
        return iter(answer.stream)  # type: ignore[arg-type]

    async def next(self, parts: Any) -> bytes:
        return next(parts, b"")

    async def finish(self, answer: httpcore2.Response) -> None:
        answer.close()

    def reusable(self) -> bool:
        return self._connection.is_idle() and not self._connection.is_closed()

    def expired(self) -> bool:
        return self.idle_until < time.monotonic() or self._connection.has_expired()

    async def cut(self, parts: Any) -> None:
        self.abort()
        parts.close()

    def abort(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._connection.close()

    drop = abort

    def sever(self) -> None:
        """Have the thread that waits on this lane go on at once; what it then finds is an end, and it closes the socket."""
        self.severed = True
        stream = self._stream
        if stream is not None:
            with contextlib.suppress(OSError):  # closed already, or its TLS begins this moment; see `check`
                # Not the method of a TLS socket: that one belongs to the thread which is using it.
                socket.socket.shutdown(stream.sock, socket.SHUT_RDWR)


def _plainly_connected(host: str, port: int, until: float) -> socket.socket:
    """
    A socket to the first address that answers. Each address is given its share of the time that is left, so that a dead
    one leaves some for the others. (`socket.create_connection` gives all of it to each.)

    Raises:
        OSError: If there is no address, or none that answers; TimeoutError if the last one does not until then.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(until) / (len(addresses) - number))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            failed = error
            sock.close()
        except BaseException:
            sock.close()
            raise
    raise failed


class _ThreadLine(httpcore2.NetworkStream):
    """A blocking socket that obeys its lane's deadline instead of a time-out of each single read."""

    def __init__(self, lane: _ThreadPort, sock: socket.socket) -> None:
        self._lane = lane
        self.sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # A socket whose time is up still hands over what is there; a stream without end would never time out.
        if self._lane.until <= time.monotonic():
            raise httpcore2.ReadTimeout
        try:
            self.sock.settimeout(_left(self._lane.until))
            data = self.sock.recv(max_bytes)
        except TimeoutError:
            raise httpcore2.ReadTimeout from None
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error
        self._lane.received += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        until = min(self._lane.until, time.monotonic() + self._lane.timeouts.write_s)
        view = memoryview(buffer)
        try:
            while view:
                self.sock.settimeout(_left(until))
                view = view[self.sock.send(view) :]
        except TimeoutError:
            raise httpcore2.WriteTimeout from None
        except OSError as error:
            raise httpcore2.WriteError(str(error)) from error

    def close(self) -> None:
        self.sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        self.sock.settimeout(_left(min(self._lane.until, time.monotonic() + self._lane.timeouts.connect_s)))
        try:
            # On failure it closes the socket itself.
            self.sock = ssl_context.wrap_socket(self.sock, server_hostname=server_hostname)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        self._lane.closed_with_me(self.sock)
        self._lane.check()
        return self

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "is_readable":
                return _readable(self.sock)
            case "ssl_object":
                return self.sock if isinstance(self.sock, ssl.SSLSocket) else None
            case "socket":
                return self.sock
            case _:
                return None


def _readable(sock: socket.socket) -> bool:
    """Whether there is something to read, if only the end; an idle connection for which that is true is of no more use."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


def _left(until: float) -> float:
    """Seconds left, as a socket wants them: 0 would mean "do not block", so it is never 0."""
    return min(max(until - time.monotonic(), 1e-6), 1e6)


class _AsyncPort(_Port, httpcore2.AsyncNetworkBackend):
    """A lane of one event loop: one connection, its socket, its deadline."""

    def __init__(self, origin: str, tls: ssl.SSLContext | None, options: HTTPOptions) -> None:
        super().__init__(origin)
        self._line: _AsyncLine | None = None
        self._connection = httpcore2.AsyncHTTPConnection(_origin(origin), ssl_context=tls, network_backend=self)
        self._options = options

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        left = _left(min(self.until, time.monotonic() + self.timeouts.connect_s))
        try:
            async with asyncio.timeout(left):
                sock = await _connected(loop, host, port)
                _, line = await loop.create_connection(lambda: _AsyncLine(self, loop), sock=sock)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except OSError as error:
            raise httpcore2.ConnectError(error.strerror or str(error)) from error
        self._line = line
        if self.severed:
            line.abort()
            raise httpcore2.ConnectError(STOPPED)
        return line

    async def exchange(self, request: httpcore2.Request) -> httpcore2.Response:
        return await self._connection.handle_async_request(request)

    def parts(self, answer: httpcore2.Response) -> Any:
        return aiter(answer.stream)  # type: ignore[arg-type]

    async def next(self, parts: Any) -> bytes:
        try:
            return await parts.__anext__()  # type: ignore[no-any-return]
        except StopAsyncIteration:
            return b""

    async def finish(self, answer: httpcore2.Response) -> None:
        await answer.aclose()

    def reusable(self) -> bool:
        return self._connection.is_idle() and not self._connection.is_closed()

    def expired(self) -> bool:
        return self.idle_until < time.monotonic() or self._line is None or self._line.ended

    async def cut(self, parts: Any) -> None:
        self.abort()
        # Left to the garbage collector, the generator would be closed by a task nobody waits for.
        await parts.aclose()

    def abort(self) -> None:
        if self._line is not None:
            self._line.abort()

    def sever(self) -> None:
        """Have the task that waits on this lane go on, and find an end."""
        self.severed = True
        self.abort()

    def drop(self) -> None:
        if self._line is not None:
            self._line.drop()


async def _connected(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """
    A socket to whichever address answers first; the next one is tried a quarter of a second after the one before.

    This is RFC 8305. asyncio's own way (`happy_eyeballs_delay`) loses a socket that was connected in the moment in which
    its caller is cancelled.

    Raises:
        OSError: If there is no address, or none that answers.
    """
    try:
        # A number needs no resolver, and so no thread.
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    mine = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    mixed: list[Any] = [
        address for pair in itertools.zip_longest(mine, others) for address in pair if address is not None
    ]
    failed: OSError = OSError(f"{host} has no address")
    if len(mixed) == 1:
        return await _socket_to(loop, *mixed[0])
    tries: set[asyncio.Task[socket.socket]] = set()
    try:
        for number, address in enumerate(mixed, 1):
            tries.add(loop.create_task(_socket_to(loop, *address)))
            more = number < len(mixed)
            while tries:
                done, _ = await asyncio.wait(
                    tries, timeout=NEXT_ADDRESS_S if more else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    error = task.exception()
                    if error is None:
                        tries.discard(task)
                        return task.result()
                    tries.discard(task)
                    if not isinstance(error, OSError):
                        raise error
                    failed = error
                if more:
                    break
        raise failed
    finally:
        for task in tries:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()
            task.cancel()


async def _socket_to(
    loop: asyncio.AbstractEventLoop, family: int, kind: int, protocol: int, _: str, address: Any
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class _AsyncLine(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """An asyncio connection that obeys its lane's deadline; it reads ahead only so far."""

    def __init__(self, lane: _AsyncPort, loop: asyncio.AbstractEventLoop) -> None:
        self._lane = lane
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._may_write = True
        self._paused = False
        self.ended = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        self._lane.received += len(data)
        if self._size > READ_AHEAD_BYTES and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self.ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._error = exc
        self._wake()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake()

    # What the HTTP connection asks.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._chunks and not self.ended:
            await self._wait(self._lane.until)
        if self._chunks:
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
            self._size = 0
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()
            return data
        if self._error is not None:
            raise httpcore2.ReadError(str(self._error)) from None
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self.ended or self._transport is None:
            raise httpcore2.WriteError("the connection is closed")
        self._transport.write(buffer)
        if not self._may_write:
            until = min(self._lane.until, time.monotonic() + self._lane.timeouts.write_s)
            try:
                while not self._may_write and not self.ended:
                    await self._wait(until)
            except httpcore2.ReadTimeout:
                raise httpcore2.WriteTimeout from None

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        assert self._transport is not None
        left = _left(min(self._lane.until, time.monotonic() + self._lane.timeouts.connect_s))
        try:
            async with asyncio.timeout(left):
                transport = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError:
            self.abort()
            raise httpcore2.ConnectTimeout from None
        except OSError:
            self.abort()
            raise
        if transport is None:
            raise httpcore2.ConnectError("the connection was closed during the TLS handshake")
        self._transport = transport
        return self

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close the socket now. Works on a closed event loop, too."""
        self.ended = True
        if self._loop.is_closed():
            self.drop()
            return
        transport, self._transport = self._transport, None
        if self._loop is _running_loop():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if transport is not None:
                transport.abort()
        elif transport is not None:
            with contextlib.suppress(OSError, AttributeError, TypeError):  # not every loop shows its sockets
                # The loop comes to it when it runs; the other side need not wait for that.
                transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(RuntimeError):  # closed just now
                self._loop.call_soon_threadsafe(transport.abort)

    def drop(self) -> None:
        """Close the socket without the event loop."""
        self.ended = True
        transport, self._transport = self._transport, None
        if transport is not None:
            drop_transport(transport)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self.ended or bool(self._chunks)
        return None if self._transport is None else self._transport.get_extra_info(info)

    # Waiting.

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self, until: float) -> None:
        now = time.monotonic()
        if until <= now:
            raise httpcore2.ReadTimeout
        timer = self._timer
        if timer is None or timer.when() > self._loop.time() + (until - now):
            if timer is not None:
                timer.cancel()
            self._arm(until - now)
        self._waiter = waiter = self._loop.create_future()
        self._lane.until = until
        try:
            await waiter
        finally:
            self._waiter = None

    def _arm(self, delay: float) -> None:
        if delay < 1e9:
            self._timer = self._loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        left = self._lane.until - time.monotonic()
        if left <= 0:
            waiter.set_exception(httpcore2.ReadTimeout())
        else:
            self._arm(left)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _origin(origin: str) -> httpcore2.Origin:
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.rpartition(":")
    return httpcore2.Origin(scheme.encode(), host.strip("[]").encode(), int(port))
