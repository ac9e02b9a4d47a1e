"""A connection of one event loop: made to whichever address answers first, with one exact deadline and at most one timer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from typing import Any

import httpcore2

from .http import drop_transport
from .ports import Port, seconds_left

__all__ = ["AsyncLine", "Names", "connected"]

READ_AHEAD_BYTES = 2**18  # the socket is paused when this much waits to be read
NEXT_ADDRESS_S = 0.25  # seconds; RFC 8305 recommends this Connection Attempt Delay


class Names:
    """The addresses of hosts. Who asks for what is being asked already shares the answer: a burst is one lookup."""

    def __init__(self) -> None:
        self._asking: dict[tuple[str, int], asyncio.Task[list[Any]]] = {}

    async def addresses(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Any]:
        try:
            # A number needs no resolver, and so no thread.
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass
        asking = self._asking.get((host, port))
        if asking is None:
            asking = loop.create_task(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            self._asking[host, port] = asking
            asking.add_done_callback(lambda _: self._asking.pop((host, port)))
        return await asyncio.shield(asking)


async def connected(loop: asyncio.AbstractEventLoop, names: Names, host: str, port: int) -> socket.socket:
    """
    A socket to whichever address answers first; the next one is tried a quarter of a second after the one before.

    This is RFC 8305. asyncio's own way (`happy_eyeballs_delay`) loses a socket that was connected in the moment in which
    its caller is cancelled.

    Raises:
        OSError: If there is no address, or none that answers.
    """
    addresses = await names.addresses(loop, host, port)
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


class AsyncLine(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """An asyncio connection that obeys its lane's deadline; it reads ahead only so far."""

    def __init__(self, lane: Port, loop: asyncio.AbstractEventLoop) -> None:
        self._lane = lane
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
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
        # What is there already would be handed over whatever the time; a stream without end would never time out.
        if self._lane.until <= time.monotonic():
            raise httpcore2.ReadTimeout
        if not self._chunks and not self.ended:
            await self._news(self._lane.until)
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
                # An answer may come before its request is taken, most often a refusal.
                while not self._may_write and not self.readable:
                    await self._news(until)
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

    @property
    def quiet(self) -> bool:
        """Whether everything is written and nothing is there to be read."""
        return not self.readable and self._transport is not None and not self._transport.get_write_buffer_size()

    @property
    def readable(self) -> bool:
        """Whether there is something to read, if only the end."""
        return self.ended or bool(self._chunks)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self.readable
        return None if self._transport is None else self._transport.get_extra_info(info)

    # Waiting.

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _news(self, until: float) -> asyncio.Future[None]:
        """To be awaited until the event loop has told something, or until the time is over, which is a ReadTimeout."""
        now = time.monotonic()
        if until <= now:
            raise httpcore2.ReadTimeout
        timer = self._timer
        if timer is None or timer.when() > self._loop.time() + (until - now):
            if timer is not None:
                timer.cancel()
            self._arm(until - now)
        self._until = until
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _arm(self, delay: float) -> None:
        if delay < 1e9:
            self._timer = self._loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        left = self._until - time.monotonic()
        if left <= 0:
            self._waiter = None
            waiter.set_exception(httpcore2.ReadTimeout())
        else:
            self._arm(left)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
