"""The engine for a client that the caller brought: `httpx` or `httpx2`, blocking or asyncio.

It also serves who wants the environment's proxies and certificates (`trust_env`): httpx2 knows how, and a client of its
own is made for that. The client's own time-outs hold for each read; the deadline is checked around them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, ConnectionFailed, ProtocolError, UpstreamTimeout
from ..types.wire import WireRequest
from .http import Body, HTTPOptions, head

__all__ = ["ClientEngine"]


class ClientEngine:
    """
    Sends through a client.

    Args:
        options: See there.
        client: The caller's; None makes one of httpx2, which is then closed with the engine.
        color: `blocking` or `asyncio`.
    """

    def __init__(self, options: HTTPOptions, client: Any, color: str) -> None:
        self._options = options
        self._asyncio = color == "asyncio"
        self._own = client is None
        self._client = self._made() if client is None else client
        # The exceptions are those of the client's own library, whichever of the two it is.
        self._library: Any = sys.modules[type(self._client).__module__.partition(".")[0]]
        wanted = self._library.AsyncClient if self._asyncio else self._library.Client
        if not isinstance(self._client, wanted):
            raise ConfigError(
                f"a {type(self._client).__name__} cannot serve {'asyncio' if self._asyncio else 'plain threads'}; "
                f"give a {wanted.__name__} as {'async_http_client' if self._asyncio else 'http_client'}"
            )

    def _made(self) -> Any:
        import httpx2

        options = self._options
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=options.keepalive_s
        )
        cls: Any = httpx2.AsyncClient if self._asyncio else httpx2.Client
        return cls(
            verify=options.verify if options.verify is not None else True,
            trust_env=options.trust_env,
            follow_redirects=False,
            limits=limits,
        )

    async def send(self, request: WireRequest, until: float) -> _ClientResponse:
        library, client, times = self._library, self._client, request.timeouts
        left = _left(until)
        built = client.build_request(
            request.method,
            request.origin + request.target,
            headers=[(name.decode(), value.decode("latin-1")) for name, value in head(request)],
            content=request.body,
            timeout=library.Timeout(left, connect=min(times.connect_s, left), write=times.write_s, pool=times.pool_s),
        )
        try:
            if self._asyncio:
                async with asyncio.timeout(left):
                    answer = await client.send(built, stream=True, follow_redirects=False)
            else:
                answer = client.send(built, stream=True, follow_redirects=False)
        except library.ConnectTimeout:
            raise UpstreamTimeout(f"no connection to {request.origin} in {times.connect_s:g} s", timer="connect") from None
        except library.TimeoutException:
            raise TimeoutError from None
        except library.TransportError as error:
            raise _translated(library, error, request.origin) from None
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return _ClientResponse(self, answer, headers, Body("", self._options.max_response_bytes), request.origin)

    async def close(self) -> None:
        if not self._own:
            return
        if self._asyncio:
            await self._client.aclose()
        else:
            self._client.close()

    def abandon(self) -> None:
        """Its loop is closed, and so nothing of an asyncio client can be."""


def _left(until: float) -> float:
    return min(max(until - time.monotonic(), 1e-6), 1e6)


def _translated(library: Any, error: Exception, where: str) -> Exception:
    if isinstance(error, library.ProtocolError | library.DecodingError):
        return ProtocolError(f"{where} answered with something that is not HTTP")
    return ConnectionFailed(f"the connection to {where} failed: {type(error).__name__}")


class _ClientResponse:
    """The answer through a client; the client unpacks it."""

    __slots__ = ("_answer", "_body", "_engine", "_origin", "_parts", "headers", "status")

    def __init__(self, engine: ClientEngine, answer: Any, headers: Mapping[str, str], body: Body, origin: str) -> None:
        self._engine = engine
        self._answer = answer
        self._body = body
        self._origin = origin
        self._parts = answer.aiter_bytes() if engine._asyncio else answer.iter_bytes()
        self.status: int = answer.status_code
        self.headers = headers

    async def read(self, until: float) -> bytes:
        library = self._engine._library
        try:
            if self._engine._asyncio:
                try:
                    async with asyncio.timeout(_left(until)):
                        data = await self._parts.__anext__()
                except StopAsyncIteration:
                    data = b""
            else:
                data = next(self._parts, b"")
            if data:
                return self._body.feed(data)
        except library.TimeoutException:
            await self.close()
            raise TimeoutError from None
        except (library.TransportError, library.DecodingError) as error:
            await self.close()
            if isinstance(error, library.DecodingError):
                raise ProtocolError("the answer cannot be unpacked") from None
            raise ConnectionFailed(f"the connection to {self._origin} broke in the middle of the answer") from None
        except BaseException:
            await self.close()
            raise
        await self.close()
        return b""

    async def close(self) -> None:
        if self._engine._asyncio:
            await self._answer.aclose()
        else:
            self._answer.close()
