"""The engine of the extra `fast`: aiohttp, for asyncio. Its parser is written in C."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import _EXC_SENTINEL
from aiohttp.payload import Payload
from multidict import CIMultiDict
from yarl import URL

from ..errors import BadRequest, ConnectionFailed, GatewayClosed, ProtocolError, UpstreamTimeout
from ..types.wire import WireRequest
from .http import Body, Headers, HTTPOptions, drop_transport, fields, tls_failure, untraced
from .process import STOPPED

__all__ = ["AiohttpEngine"]

NO_CLOCK = aiohttp.ClientTimeout(total=None)  # the deadline is kept here; aiohttp's own timers would only cost
URLS_MAX = 1000  # addresses whose parsed form is kept
PIECE_BYTES = 2**16  # of a request's body; as much as the socket's buffer takes without a word


class AiohttpEngine:
    """One session of one event loop."""

    def __init__(self, options: HTTPOptions) -> None:
        self._options = options
        self._urls: dict[tuple[str, str], URL] = {}
        self._connect = NO_CLOCK
        connector = aiohttp.TCPConnector(
            limit=0,  # how many calls there may be at a time is a limit of the deployment, which can tell why one waits
            keepalive_timeout=options.keepalive_s,
            ssl=options.verify if options.verify is not None else True,
        )
        connector._factory = functools.partial(_line, loop=asyncio.get_running_loop())
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=NO_CLOCK,
            trust_env=options.trust_env,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def send(self, request: WireRequest, until: float) -> _AiohttpResponse:
        try:
            async with asyncio.timeout(min(max(until - time.monotonic(), 0.0), 1e9)):
                try:
                    if request.once:
                        self._forget_idle()
                    answer = await self._asked(request)
                except _Stale:
                    if request.once:
                        raise  # somebody else's connection became idle meanwhile
                    # Where one idle connection was closed the others most likely are; the request is sent twice at most.
                    self._forget_idle()
                    answer = await self._asked(request)
            return _AiohttpResponse(answer, self._options, request.origin, self._session)
        except BaseException as error:
            problem = untraced(error, self._translated(error, request))
        # Raised out here, without a context: aiohttp's own errors hold the headers of the request, and so the key.
        try:
            raise problem
        finally:
            del problem

    async def _asked(self, request: WireRequest) -> aiohttp.ClientResponse:
        if self._session.closed:
            raise GatewayClosed(STOPPED)
        lines = fields(request)
        for name, value in lines:
            if not (name.isascii() and value.isascii()):
                # aiohttp would write it as UTF-8, which no server reads as that.
                raise BadRequest("a header holds characters that HTTP cannot carry")
        return await self._session._request(
            request.method,
            self._url(request),
            data=_upload(request),
            headers=CIMultiDict(lines),
            allow_redirects=False,
            timeout=self._clock(request.timeouts.connect_s),
        )

    def _clock(self, connect_s: float) -> aiohttp.ClientTimeout:
        if self._connect.sock_connect != connect_s:
            self._connect = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        return self._connect

    def _url(self, request: WireRequest) -> URL:
        place = request.origin, request.target
        url = self._urls.get(place)
        if url is None:
            if len(self._urls) >= URLS_MAX:
                self._urls.clear()
            url = self._urls[place] = URL(request.origin + request.target, encoded=True)
        return url

    def _translated(self, error: BaseException, request: WireRequest) -> BaseException:
        """Our word for what aiohttp raised; what is not about the network passes unchanged."""
        where, connect_s = request.origin, request.timeouts.connect_s
        match error:
            case aiohttp.ConnectionTimeoutError():
                return UpstreamTimeout(f"no connection to {where} in {connect_s:g} s", timer="connect")
            case TimeoutError():
                return TimeoutError()
            case aiohttp.ClientError() if self._session.closed:
                return GatewayClosed(STOPPED)
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
                return tls_failure(error, where)
            case aiohttp.ServerDisconnectedError() | _Stale():
                return ConnectionFailed(f"{where} closed the connection without an answer")
            case aiohttp.ClientConnectionError() if isinstance(error.__cause__, _Untaken):
                return UpstreamTimeout(f"{where} did not take the request", timer="write")
            case aiohttp.ClientConnectionError():
                begun = not isinstance(error, aiohttp.ClientConnectorError)
                return ConnectionFailed(f"no connection to {where}: {type(error).__name__}", begun=begun)
            case aiohttp.InvalidURL() | ValueError():
                return BadRequest(f"the request cannot be written as HTTP: {error}")
            case aiohttp.ClientError():
                return ProtocolError(f"{where} answered with something that is not HTTP: {type(error).__name__}")
            case _:
                return error

    def _forget_idle(self) -> None:
        connector = self._session.connector
        if connector is not None:
            for lines in connector._conns.values():
                for line, _ in lines:
                    line.close()
            connector._conns.clear()

    async def close(self) -> None:
        await self._session.close()

    def abandon(self) -> None:
        connector = self._session.connector
        if connector is None or connector._loop.is_closed():
            self.drop()
        else:
            connector._close()

    def drop(self) -> None:
        connector = self._session.connector
        if connector is None or connector.closed:
            return
        lines = [*connector._acquired, *(line for lines in connector._conns.values() for line, _ in lines)]
        connector._closed = True
        connector._conns.clear()
        connector._acquired.clear()
        for line in lines:
            if line.transport is not None:
                drop_transport(line.transport)


def _upload(request: WireRequest) -> _Upload | bytes | None:
    """The body as aiohttp wants it. A small one is in the socket's buffer at once, whoever reads it."""
    body = request.body
    return _Upload(body, request.timeouts.write_s) if len(body) > PIECE_BYTES else body or None


class _Untaken(Exception):
    """The upstream did not read the request in time."""


class _Upload(Payload):
    """A large body: it goes out piece by piece, so that it does not hold up the event loop, and in its own time."""

    def __init__(self, body: bytes, write_s: float) -> None:
        super().__init__(body)
        self._size = len(body)
        self._write_s = write_s

    async def write(self, writer: AbstractStreamWriter) -> None:
        body: bytes = self._value
        try:
            async with asyncio.timeout(self._write_s):
                for start in range(0, len(body), PIECE_BYTES):
                    await writer.write(body[start : start + PIECE_BYTES])
        except BaseException as error:
            # Closed in order, the connection would wait until somebody reads what is left.
            transport = getattr(writer, "transport", None)
            if transport is not None:
                transport.abort()
            if isinstance(error, TimeoutError):
                raise _Untaken from None
            raise

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await self.write(writer)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)  # type: ignore[no-any-return]


class _Stale(aiohttp.ClientConnectionError):
    """The upstream had closed a connection that was idle; it has seen nothing of this request."""


class _Line(ResponseHandler):
    """
    A connection that knows whether it was used before and whether this answer has begun.

    aiohttp itself replaces a stale connection for GET and its like only, because it cannot tell.
    """

    _used = _begun = False

    def set_response_params(self, **params: Any) -> None:
        self._used, self._begun = self._begun, False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        self._begun = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        broken = isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        super().set_exception(_Stale() if broken and self._used and not self._begun else exc, exc_cause)


def _line(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Line(loop)


class _AiohttpResponse:
    """The answer on aiohttp's stream."""

    __slots__ = ("_answer", "_body", "_open", "_origin", "_session", "status")

    def __init__(
        self, answer: aiohttp.ClientResponse, options: HTTPOptions, origin: str, session: aiohttp.ClientSession
    ) -> None:
        self._answer = answer
        self._session = session
        self._origin = origin
        self._open = True
        self.status: int = answer.status
        self._body = Body(answer.headers.get("Content-Encoding", ""), options.max_response_bytes)

    @property
    def headers(self) -> Mapping[str, str]:
        return Headers(self._answer.raw_headers)

    async def read(self, until: float) -> bytes:
        if not self._open:
            return b""
        try:
            data = await self._fed(until)
        except BaseException as error:
            self._cut()
            raise untraced(error, self._translated(error)) from None
        if not data:
            self._open = False
            self._answer.release()
        return data

    async def _fed(self, until: float) -> bytes:
        """The next decoded bytes."""
        content = self._answer.content
        while True:
            left = until - time.monotonic()
            if left <= 0:
                # What is there already would be handed over; a stream without end would never time out.
                raise TimeoutError
            if content.at_eof():
                self._body.end()
                return b""
            if content._buffer:
                # What has arrived already needs no timer.
                data = content.read_nowait()
            else:
                async with asyncio.timeout(min(left, 1e9)):
                    data = await content.readany()
            data = self._body.feed(data)
            if data:
                return data

    def _translated(self, error: BaseException) -> BaseException:
        match error:
            case TimeoutError():
                return TimeoutError()
            case (
                aiohttp.ClientError() | RuntimeError()
            ):  # the latter for a connection that was closed between two reads
                if self._session.closed:
                    return GatewayClosed(STOPPED)
                return ConnectionFailed(f"the connection to {self._origin} broke in the middle of the answer")
            case _:
                return error

    def _cut(self) -> None:
        if self._open:
            self._open = False
            self._answer.close()

    async def close(self) -> None:
        self._cut()

    def __del__(self) -> None:
        # A stream that nobody closed must not keep its socket; aiohttp holds on to it until the answer has ended.
        if getattr(self, "_open", False):
            self._cut()
