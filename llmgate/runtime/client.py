"""The engine for a client that the caller brought: `httpx` or `httpx2`, blocking or asyncio.

It also serves who wants the environment's proxies and certificates (`trust_env`): httpx2 knows how, and a client of its
own is made for that.

On an event loop every wait ends when it should. A blocking client waits for each read as long as the first read of
the body was given, which is exact for a whole answer; in a stream a later clock that is shorter rings that much late.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..errors import (
    BadRequest,
    ConfigError,
    ConnectionFailed,
    GatewayClosed,
    LimitReached,
    ProtocolError,
    UpstreamTimeout,
)
from ..types.wire import WireRequest
from .http import Body, Color, Headers, HTTPOptions, head, tls_failure, untraced
from .process import STOPPED

__all__ = ["ClientEngine", "library_of"]

FOREVER_S = 1e6  # seconds; eleven days, because sockets take no infinity


def library_of(client: Any, color: Color) -> Any:
    """
    The library a client comes from; its exceptions are those of that library.

    Raises:
        ConfigError: If it is no client of this colour.
    """
    wanted = "AsyncClient" if color == "asyncio" else "Client"
    for name in ("httpx2", "httpx"):
        library = sys.modules.get(name)  # whoever has a client has imported its library
        if library is not None and isinstance(client, getattr(library, wanted)):
            return library
    option = "async_http_client" if color == "asyncio" else "http_client"
    raise ConfigError(f"{option} is a {type(client).__name__}; give a {wanted} of httpx or httpx2")


class ClientEngine:
    """
    Sends through a client.

    Args:
        options: See there.
        color: For whom.
        client: The caller's, which stays open; None makes one of httpx2, which is closed with the engine.

    Raises:
        ConfigError: If the client is of the other colour, or none at all.
    """

    def __init__(self, options: HTTPOptions, color: Color, client: Any = None) -> None:
        self._options = options
        self._asyncio = color == "asyncio"
        self._own = client is None
        self._client = self._made() if client is None else client
        self._library = library_of(self._client, color)

    def _made(self) -> Any:
        import httpx2

        options = self._options
        cls: Any = httpx2.AsyncClient if self._asyncio else httpx2.Client
        return cls(
            verify=options.verify if options.verify is not None else True,
            trust_env=options.trust_env,
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=None, keepalive_expiry=options.keepalive_s
            ),
        )

    async def send(self, request: WireRequest, until: float) -> _ClientResponse:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            left = min(left, FOREVER_S)
            built = self._built(request, left)
            if self._asyncio:
                async with asyncio.timeout(left):
                    answer = await self._client.send(built, stream=True, follow_redirects=False)
            else:
                answer = self._client.send(built, stream=True, follow_redirects=False)
            return _ClientResponse(self, answer, request.origin)
        except BaseException as error:
            raise untraced(error, self._translated(error, request, until)) from None

    def _built(self, request: WireRequest, left: float) -> Any:
        library, times = self._library, request.timeouts
        # Its own client has collected cookies, and sends none: what one call was told is not the next one's affair.
        make = library.Request if self._own else self._client.build_request
        timeout = library.Timeout(left, connect=min(times.connect_s, left), write=times.write_s, pool=times.pool_s)
        return make(
            request.method,
            request.origin + request.target,
            headers=head(request),
            content=request.body,
            # The target as it was written: a client has opinions about how a path is escaped.
            extensions={"timeout": timeout.as_dict(), "target": request.target.encode("ascii")},
        )

    def _translated(self, error: BaseException, request: WireRequest, until: float) -> BaseException:
        """Our word for what went wrong before the answer began; what is not about the network passes unchanged."""
        library, where, times = self._library, request.origin, request.timeouts
        match error:
            case library.TimeoutException() if time.monotonic() >= until:
                return TimeoutError()
            case library.ConnectTimeout():
                return UpstreamTimeout(f"no connection to {where} in {times.connect_s:g} s", timer="connect")
            case library.WriteTimeout():
                return UpstreamTimeout(f"{where} did not take the request", timer="write")
            case library.PoolTimeout():
                return LimitReached(f"the client had no free connection to {where} in {times.pool_s:g} s")
            case library.TimeoutException():
                return TimeoutError()
            case library.LocalProtocolError() | library.InvalidURL() | ValueError():
                return BadRequest(f"the request cannot be written as HTTP: {error}")
            case library.RemoteProtocolError() if "disconnected" not in str(error):
                return ProtocolError(f"{where} answered with something that is not HTTP")
            case library.TransportError() | OSError() if not isinstance(error, TimeoutError):
                tls = _tls_error(error)
                if tls is not None:
                    return tls_failure(tls, where)
                begun = not isinstance(error, library.ConnectError)
                return ConnectionFailed(f"no connection to {where}: {type(error).__name__}", begun=begun)
            case RuntimeError():
                # Closed, or made for another event loop; both libraries say so with this class.
                if self._own:
                    return GatewayClosed(STOPPED)
                return ConfigError(f"the http client that was given cannot be used: {error}")
            case _:
                return error

    async def close(self) -> None:
        if not self._own:
            return
        if self._asyncio:
            await self._client.aclose()
        else:
            self._client.close()

    def abandon(self) -> None:
        """Its loop is closed, and so nothing of an asyncio client can be."""

    def drop(self) -> None:
        """A client of the caller's is shared with the parent all the same; nobody can take its sockets out of it."""
        if self._own and not self._asyncio:
            self._client.close()
        self._own = False


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS library's word, if it is what stands behind the client's."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


class _ClientResponse:
    """The answer through a client. Reading it to its end gives the connection back by itself."""

    __slots__ = ("_answer", "_asyncio", "_body", "_library", "_origin", "_parts", "_timeout", "headers", "status")

    def __init__(self, engine: ClientEngine, answer: Any, origin: str) -> None:
        self._asyncio = engine._asyncio
        self._library = engine._library
        self._answer = answer
        self._origin = origin
        self._timeout: dict[str, float] = answer.request.extensions["timeout"]
        self.status: int = answer.status_code
        self.headers: Mapping[str, str] = Headers(answer.headers.raw)
        limit = engine._options.max_response_bytes
        # A transport without a network hands over answers that were read, and unpacked, already.
        read = answer.is_stream_consumed
        self._body = Body("" if read else self.headers.get("content-encoding", ""), limit)
        if self._asyncio:
            self._parts: Any = answer.aiter_bytes() if read else answer.aiter_raw()
        else:
            self._parts = answer.iter_bytes() if read else answer.iter_raw()

    async def read(self, until: float) -> bytes:
        if self._parts is None:
            return b""
        try:
            data = await self._fed(until)
        except BaseException as error:
            await self.close()
            raise untraced(error, self._translated(error)) from None
        if not data:
            await self.close()
        return data

    async def _fed(self, until: float) -> bytes:
        """The next decoded bytes."""
        while True:
            part = await self._next(until)
            if part is None:
                self._body.end()
                return b""
            data = self._body.feed(part)
            if data:
                return data

    async def _next(self, until: float) -> bytes | None:
        left = until - time.monotonic()
        if left <= 0:
            # What is there already would be handed over; a stream without end would never time out.
            raise TimeoutError
        if not self._asyncio:
            self._timeout["read"] = left
            return next(self._parts, None)
        async with asyncio.timeout(left):
            return await anext(self._parts, None)

    def _translated(self, error: BaseException) -> BaseException:
        library = self._library
        match error:
            case library.TimeoutException() | TimeoutError():
                return TimeoutError()
            case library.TransportError() | OSError():
                return ConnectionFailed(f"the connection to {self._origin} broke in the middle of the answer")
            case _:
                return error

    async def close(self) -> None:
        if self._parts is None:
            return
        self._parts = None
        if self._asyncio:
            await self._answer.aclose()
        else:
            self._answer.close()
