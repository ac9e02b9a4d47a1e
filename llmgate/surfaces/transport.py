"""Existing code, unchanged, through the gateway: a transport under `httpx` and `httpx2`, on which the SDKs stand.

One object serves both colours. It opens no connection and holds nothing that would have to be closed: what it sends
goes through the gateway, which owns the connections, the time and the retries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import ConfigError, GatewayError
from ..runtime.drive import drive
from .answered import Answered
from .asked import Asked
from .exchange import Exchange

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["HERE", "KINDS", "Kind", "http_client", "transport"]

Kind = Literal["httpx", "httpx2"]
KINDS: tuple[Kind, ...] = ("httpx2", "httpx")

HERE = b"llmgate"
"""The host of a client that was made for the gateway itself: nobody stands there."""

PORTS = {"http": 80, "https": 443}


def transport(gateway: Gateway, kind: Kind) -> Any:
    """A transport of the library; see `Gateway.transport`."""
    library = _library(kind)
    gateway._current().prices.load()  # the first answer must not pay for it
    made = type("GatewayTransport", (_Transport, library.BaseTransport, library.AsyncBaseTransport), {})
    stream = type("GatewayStream", (_Stream, library.SyncByteStream, library.AsyncByteStream), {})
    return made(gateway, library, stream)


def http_client(gateway: Gateway, kind: Kind, colour: Literal["blocking", "asyncio"]) -> Any:
    """
    A client of the library over a transport.

    It waits for ever, because the gateway does not; an SDK takes that over as its own timeout.
    """
    library = _library(kind)
    make = library.AsyncClient if colour == "asyncio" else library.Client
    return make(transport=transport(gateway, kind), timeout=None, follow_redirects=True, trust_env=False)


def _library(kind: str) -> Any:
    if kind not in KINDS:
        raise ConfigError(f"there is no transport for {kind!r}; there are {' and '.join(KINDS)}")
    try:
        return import_module(kind)
    except ImportError:
        raise ConfigError(f"{kind} is not installed, and a transport for it needs it: pip install {kind}") from None


class _Transport:
    """What both libraries' transports do."""

    def __init__(self, gateway: Gateway, library: Any, stream: Any) -> None:
        self._gateway = gateway
        self._exchange = Exchange(gateway)
        self._library = library
        self._stream = stream
        self.attachment: object = None  # what was done to the client above, if it was attached

    def handle_request(self, request: Any) -> Any:
        """Answer a request in this thread."""
        gateway = self._gateway
        gateway._warn_inside_loop(3)
        request.read()
        return self._response(drive(self._exchange.answer(gateway._blocking, _asked(request))), request)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request on the running event loop."""
        await request.aread()
        return self._response(await self._exchange.answer(self._gateway._asyncio, _asked(request)), request)

    def _response(self, answered: Answered, request: Any) -> Any:
        library = self._library
        if answered.timed_out:
            raise library.ReadTimeout("the client's own time ran out", request=request)
        body = answered.body
        stream = self._stream(answered, library, request) if body is None else library.ByteStream(body)
        return library.Response(answered.status, headers=answered.headers, stream=stream)

    def close(self) -> None:
        """Nothing: the gateway stays open for whoever else uses it."""

    async def aclose(self) -> None:
        """Nothing, as `close`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._library.__name__} through {self._gateway!r}>"


class _Stream:
    """The body of an answer as it comes."""

    def __init__(self, answered: Answered, library: Any, request: Any) -> None:
        self._answered = answered
        self._library = library
        self._request = request

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            data = drive(self._answered.read())
        except GatewayError as error:
            raise self._broken(error) from error
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        drive(self._answered.close())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._answered.read()
        except GatewayError as error:
            raise self._broken(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        await self._answered.close()

    def _broken(self, error: GatewayError) -> Exception:
        """The library's word for a body that is not whole; every SDK raises it, or one of its own in its place."""
        broken: Exception = self._library.RemoteProtocolError(error.message, request=self._request)
        return broken


def _asked(request: Any) -> Asked:
    url = request.url
    host, scheme = url.raw_host, url.scheme
    origin = ""
    if host != HERE:
        name = host.decode("ascii")
        name = f"[{name}]" if ":" in name else name
        origin = f"{scheme}://{name}:{url.port or PORTS.get(scheme, 0)}"
    path, _, query = url.raw_path.decode("ascii").partition("?")
    timeouts = request.extensions.get("timeout") or {}
    return Asked(
        request.method,
        origin,
        path,
        query,
        [(name.lower(), value) for name, value in request.headers.raw],
        request.content,
        timeouts.get("read"),
    )
