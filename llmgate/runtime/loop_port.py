"""Lanes of one event loop, and the one of them whose HTTP is httpcore2's."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import httpcore2

from ..types.wire import WireRequest
from .http import Headers
from .loop_line import AsyncLine, Names, connected
from .ports import Port, origin_of, request_of, reusable, seconds_left
from .process import STOPPED

__all__ = ["AsyncPort", "LoopPort"]


class LoopPort(Port):
    """A lane of one event loop: one connection, its socket, its deadline."""

    def __init__(self, names: Names, origin: str) -> None:
        super().__init__(origin)
        self._names = names
        self._line: AsyncLine | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> AsyncLine:
        loop = asyncio.get_running_loop()
        left = seconds_left(min(self.until, time.monotonic() + self.timeouts.connect_s))
        try:
            async with asyncio.timeout(left):
                sock = await connected(loop, self._names, host, port)
                _, line = await loop.create_connection(lambda: AsyncLine(self, loop), sock=sock)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except OSError as error:
            raise httpcore2.ConnectError(error.strerror or str(error)) from error
        self._line = line
        if self.severed:
            line.abort()
            raise httpcore2.ConnectError(STOPPED)
        return line

    def expired(self) -> bool:
        # What comes while nothing is asked for is the end, or the answer to nobody's question.
        return self.idle_until < time.monotonic() or self._line is None or self._line.readable

    def quiet(self) -> bool:
        """Whether the exchange is over on the socket, too: everything was written, and nothing follows the answer."""
        return self._line is not None and self._line.quiet

    def abort(self) -> None:
        if self._line is not None:
            self._line.abort()

    def sever(self) -> None:
        self.severed = True
        self.abort()

    def drop(self) -> None:
        if self._line is not None:
            self._line.drop()


class AsyncPort(LoopPort, httpcore2.AsyncNetworkBackend):
    """A lane whose HTTP is httpcore2's."""

    def __init__(self, names: Names, origin: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(names, origin)
        self._connection = httpcore2.AsyncHTTPConnection(origin_of(origin), ssl_context=tls, network_backend=self)
        self._answer: Any = None
        self._parts: Any = None

    async def exchange(self, request: WireRequest) -> tuple[int, Headers]:
        answer = self._answer = await self._connection.handle_async_request(request_of(request))
        self._parts = aiter(answer.stream)  # type: ignore[arg-type]
        return answer.status, Headers(answer.headers)

    async def next(self) -> bytes:
        try:
            return await self._parts.__anext__()  # type: ignore[no-any-return]
        except StopAsyncIteration:
            return b""

    async def finish(self) -> bool:
        await self._answer.aclose()
        self._answer = self._parts = None  # they hold the request, and so the key
        return self.quiet() and reusable(self._connection)

    async def leave(self) -> None:
        self.abort()
        # Left to the garbage collector, the generator would be closed by a task nobody waits for.
        await self._parts.aclose()
