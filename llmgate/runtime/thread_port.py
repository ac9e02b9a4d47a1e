"""A lane of the blocking runtime: a plain socket under httpcore2's connection, with one exact deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
import weakref
from typing import Any

import httpcore2

from ..types.wire import WireRequest
from .http import Headers
from .ports import Port, origin_of, request_of, reusable, seconds_left
from .process import STOPPED

__all__ = ["ThreadPort"]


class ThreadPort(Port, httpcore2.NetworkBackend):
    """A lane of the blocking runtime: one connection, its socket, its deadline."""

    def __init__(self, origin: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(origin)
        self._stream: _ThreadLine | None = None
        self._connection = httpcore2.HTTPConnection(origin_of(origin), ssl_context=tls, network_backend=self)
        self._answer: Any = None
        self._parts: Any = None

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

    async def exchange(self, request: WireRequest) -> tuple[int, Headers]:
        answer = self._answer = self._connection.handle_request(request_of(request))
        self._parts = iter(answer.stream)  # type: ignore[arg-type]
        return answer.status, Headers(answer.headers)

    async def next(self) -> bytes:
        return next(self._parts, b"")

    async def finish(self) -> bool:
        self._answer.close()
        self._answer = self._parts = None  # they hold the request, and so the key
        return reusable(self._connection)

    def expired(self) -> bool:
        return self.idle_until < time.monotonic() or self._connection.has_expired()

    async def leave(self) -> None:
        self.abort()
        self._parts.close()

    def abort(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._connection.close()

    def drop(self) -> None:
        self.abort()

    def sever(self) -> None:
        # What the thread that waits then finds is an end, and it closes the socket.
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
            sock.settimeout(seconds_left(until) / (len(addresses) - number))
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

    def __init__(self, lane: ThreadPort, sock: socket.socket) -> None:
        self._lane = lane
        self.sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # A socket whose time is up still hands over what is there; a stream without end would never time out.
        if self._lane.until <= time.monotonic():
            raise httpcore2.ReadTimeout
        try:
            self.sock.settimeout(seconds_left(self._lane.until))
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
                self.sock.settimeout(seconds_left(until))
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
        self.sock.settimeout(seconds_left(min(self._lane.until, time.monotonic() + self._lane.timeouts.connect_s)))
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
