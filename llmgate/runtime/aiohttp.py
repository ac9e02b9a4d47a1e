"""The engine of the extra `fast`: aiohttp, for asyncio. Its parser is written in C."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from ..errors import BadRequest, ConnectionFailed, ProtocolError, UpstreamTimeout
from ..types.wire import WireRequest
from .http import Body, Headers, HTTPOptions, head, tls_failure

__all__ = ["AiohttpEngine"]

NO_CLOCK = aiohttp.ClientTimeout(total=None)  # the deadline is kept here; aiohttp's own timers would only cost


class AiohttpEngine:
    """One session of one event loop."""

    def __init__(self, options: HTTPOptions) -> None:
        self._options = options
        self._urls: dict[tuple[str, str], URL] = {}
        connector = aiohttp.TCPConnector(
            limit=0,  # how many calls there may be at a time is a limit of the deployment, which can tell why one waits
            keepalive_timeout=options.keepalive_s,
            ssl=options.verify if options.verify is not None else True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=NO_CLOCK,
            trust_env=options.trust_env,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def send(self, request: WireRequest, until: float) -> _AiohttpResponse:
        headers: CIMultiDict[str] = CIMultiDict(
            (name.decode(), value.decode("latin-1")) for name, value in head(request) if name not in (b"host", b"content-length")
        )
        now = time.monotonic()
        task = self._session._request(
            request.method,
            self._url(request),
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            timeout=self._clock(request.timeouts.connect_s),
        )
        try:
            async with asyncio.timeout(min(max(until - now, 0.0), 1e9)):
                answer = await task
        except aiohttp.ConnectionTimeoutError:
            raise UpstreamTimeout(
                f"no connection to {request.origin} in {request.timeouts.connect_s:g} s", timer="connect"
            ) from None
        except aiohttp.ClientError as error:
            raise _translated(error, request.origin) from None
        except ValueError as error:
            raise BadRequest(f"the request cannot be written as HTTP: {error}") from None
        return _AiohttpResponse(answer, self._options, request.origin)

    def _url(self, request: WireRequest) -> URL:
        place = request.origin, request.target
        url = self._urls.get(place)
        if url is None:
            if len(self._urls) >= 1000:
                self._urls.clear()
            url = self._urls[place] = URL(request.origin + request.target, encoded=True)
        return url

    def _clock(self, connect_s: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)

    async def close(self) -> None:
        await self._session.close()

    def abandon(self) -> None:
        connector = self._session.connector
        if connector is not None:
            connector._close()


def _translated(error: aiohttp.ClientError, where: str) -> Exception:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return tls_failure(error, where)
        case aiohttp.ServerDisconnectedError():
            return ConnectionFailed(f"{where} closed the connection without an answer")
        case aiohttp.ClientConnectionError():
            return ConnectionFailed(f"no connection to {where}: {type(error).__name__}")
        case aiohttp.ClientPayloadError():
            return ConnectionFailed(f"the connection to {where} broke in the middle of the answer")
        case _:
            return ProtocolError(f"{where} answered with something that is not HTTP: {type(error).__name__}")


class _AiohttpResponse:
    """The answer on aiohttp's stream."""

    __slots__ = ("_answer", "_body", "_open", "_origin", "headers", "status")

    def __init__(self, answer: Any, options: HTTPOptions, origin: str) -> None:
        self._answer = answer
        self._origin = origin
        self._open = True
        self.status: int = answer.status
        self.headers: Mapping[str, str] = Headers(answer.raw_headers)
        self._body = Body(self.headers.get("content-encoding", ""), options.max_response_bytes)

    async def read(self, until: float) -> bytes:
        if not self._open:
            return b""
        content = self._answer.content
        try:
            while True:
                # What has arrived already needs no timer.
                data = content.read_nowait() if content._buffer else b""
                if not data and not content.at_eof():
                    async with asyncio.timeout(min(max(until - time.monotonic(), 0.0), 1e9)):
                        data = await content.readany()
                if not data:
                    break
                data = self._body.feed(data)
                if data:
                    return data
            self._body.end()
        except aiohttp.ClientError:
            self._cut()
            raise ConnectionFailed(f"the connection to {self._origin} broke in the middle of the answer") from None
        except BaseException:
            self._cut()
            raise
        self._open = False
        self._answer.release()
        return b""

    def _cut(self) -> None:
        if self._open:
            self._open = False
            self._answer.close()

    async def close(self) -> None:
        self._cut()
