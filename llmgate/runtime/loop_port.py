"""A lane of one event loop: an asyncio connection under httpcore2's, with one exact deadline and at most one timer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from typing import Any

import httpcore2

from .http import HTTPOptions, drop_transport
from .ports import Port, origin_of, seconds_left
from .process import STOPPED

__all__ = ["AsyncPort"]

READ_AHEAD_BYTES = 2**18  # the socket is paused when this much waits to be read
NEXT_ADDRESS_S = 0.25  # seconds; RFC 8305 recommends this Connection Attempt Delay


class AsyncPort(Port, httpcore2.AsyncNetworkBackend):
    """A lane of one event loop: one connection, its socket, its deadline."""

    def __init__(self, origin: str, tls: ssl.SSLContext | None, options: HTTPOptions) -> None:
        super().__init__(origin)
        self._line: _AsyncLine | None = None
        self._connection = httpcore2.AsyncHTTPConnection(origin_of(origin), ssl_context=tls, network_backend=self)
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
        left = seconds_left(min(self.until, time.monotonic() + self.timeouts.connect_s))
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

    def __init__(self, lane: AsyncPort, loop: asyncio.AbstractEventLoop) -> None:
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
        left = seconds_left(min(self._lane.until, time.monotonic() + self._lane.timeouts.connect_s))
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
