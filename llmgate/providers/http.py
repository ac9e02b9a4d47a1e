"""A provider behind HTTP: its dialect writes, the runtime waits, the dialect reads.

One text for whole and streamed answers, for every dialect and in both colours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, field_validator

from ..dialects import dialect_named
from ..dialects.base import Dialect, StreamReader, Written
from ..errors import ConfigError, ConnectionFailed, GatewayError, ProtocolError, StreamInterrupted
from ..policies.timers import Timers
from ..runtime.http import HTTPOptions
from ..types.call import Call, Handler
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Chunk, Folder, RawResponse
from ..types.secret import Credential, Secret
from ..types.wire import WireRequest, WireResponse
from .base import Provider, refuse_verb, timers_of
from .catalog import ROWS, Row

__all__ = ["HTTPProvider", "row_named"]

ERROR_MAX_BYTES = 2**16  # of an error's body; the longest recorded is 6 KB
HOLD_BACK_CHUNKS = 64  # pieces without content that may come before the first with some
DRAIN_S = 0.1  # seconds for what follows the terminal event, so that the connection can be used again

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ADAPTER_FAILURES = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)


def row_named(kind: str) -> Row | None:
    """The row of this kind or alias."""
    return next((row for row in ROWS if kind == row.name or kind in row.aliases), None)


class HTTPProvider(Provider):
    """
    A provider reached over HTTP, in the dialect of its catalog row.

    Raises:
        ConfigError: When it is bound without a key that it needs, or with an address that is none.
    """

    row: ClassVar[Row]

    api_key: Secret | list[Secret] | None = Field(None, description="the key, or several: each becomes a deployment")
    base_url: str = Field("", description="where it is, if not at its usual address")
    headers: dict[str, str] = Field(default_factory=dict, description="more headers for every request")
    allow_http: bool = Field(False, description="send keys and prompts unencrypted to a host that is not this one")
    http_client: Any = Field(None, exclude=True, repr=False, description="a blocking httpx or httpx2 client to use")
    async_http_client: Any = Field(None, exclude=True, repr=False, description="the same for asyncio")

    _address: tuple[str, str] | None = PrivateAttr(None)
    _environ: Mapping[str, str] | None = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        # Of a configuration: where its variables were looked up, its keys are looked up, too.
        self._environ = (context or {}).get("environ")

    @field_validator("headers")
    @classmethod
    def _writable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is no header name")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of {name} must be printable ASCII, without line breaks")
        return {name.lower(): value for name, value in headers.items()}

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if url:
            try:
                address(url)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return url

    # Where and with what.

    def url(self) -> str:
        """The base URL in force."""
        return self.base_url or self.row.base_url

    def place(self) -> tuple[str, str]:
        """Origin and path of the base URL."""
        if self._address is None:
            url = self.url()
            if not url:
                raise ConfigError("base_url is missing; write where it is, with the version: https://…/v1")
            origin, path = address(url)
            host = (urlsplit(url).hostname or "").lower()
            if origin.startswith("http:") and host not in LOOPBACK and not self.allow_http:
                raise ConfigError(
                    f"{origin} is not encrypted and not on this machine; use https, or say allow_http: true if the network is yours"
                )
            self._address = origin, path
        return self._address

    def origin(self) -> str:
        return self.place()[0]

    def secrets(self) -> list[Secret]:
        """
        Its keys: those given, else the one in the environment.

        A key from the environment goes to the usual address only: whoever names another address names its key.
        """
        if self.api_key is not None:
            return self.api_key if isinstance(self.api_key, list) else [self.api_key]
        if not self.row.key_env:
            return []
        names = " or ".join(self.row.key_env)
        if self.base_url and self.row.base_url:
            raise ConfigError(f"api_key is missing; {names} is not used, because base_url is not its usual address")
        environ = os.environ if self._environ is None else self._environ
        for name in self.row.key_env:
            if environ.get(name):
                return [Secret(environ[name])]
        raise ConfigError(f"no key; set {names} in the environment, or api_key")

    def credentials(self) -> list[str]:
        return [secret.fingerprint for secret in self.secrets()] or [""]

    def price_id(self) -> str:
        return self.row.price_id

    def http_options(self) -> HTTPOptions:
        return HTTPOptions(client=self.http_client, async_client=self.async_http_client)

    # Asking.

    def bind(self, model: str, key: int = 0) -> Handler:
        origin, path = self.place()
        secrets = self.secrets()
        credential = None
        if secrets:
            credential = Credential(secrets[key], origin, self.row.header, self.row.prefix)
        return _Asker(self, dialect_named(self.row.dialect), origin, path, credential).ask

    def target(self, base: str, written: Written, request: Request) -> str:
        """Path and query of a request."""
        return base + written.path

    def request_headers(self, call: Call) -> list[tuple[str, str]]:
        """Headers that depend on the call."""
        key = call.options.idempotency_key
        return [] if key is None else [("idempotency-key", key)]


def address(url: str) -> tuple[str, str]:
    """
    Origin and path of a base URL.

    Raises:
        ConfigError: If it is none, or carries what does not belong in it.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{parts.scheme or url!r} is no address; write https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("base_url holds a user name or a password; give the key as api_key")
    if parts.query or parts.fragment:
        raise ConfigError("base_url holds a query or a fragment; leave it at the path")
    if any(not c.isprintable() or c == " " for c in url.strip()):
        raise ConfigError("base_url holds a blank or a control character")
    host = parts.hostname.lower().encode("idna").decode() if not parts.hostname.isascii() else parts.hostname.lower()
    host = f"[{host}]" if ":" in host else host
    port = port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{host}:{port}", parts.path.rstrip("/")


class _Asker:
    """One provider, one key: asks and reads."""

    __slots__ = ("_base", "_credential", "_dialect", "_fixed", "_origin", "_provider", "_quirks")

    def __init__(
        self, provider: HTTPProvider, dialect: Dialect, origin: str, base: str, credential: Credential | None
    ) -> None:
        self._provider = provider
        self._dialect = dialect
        self._quirks = provider.row.quirks
        self._origin = origin
        self._base = base
        self._credential = credential
        self._fixed = [
            ("content-type", "application/json"),
            ("accept-encoding", "identity"),
            ("user-agent", "llmgate"),
            *provider.headers.items(),
        ]

    async def ask(self, call: Call) -> Reply:
        request = call.request
        if request.verb not in self._dialect.verbs:
            raise refuse_verb(self._provider.label(), request.verb, self._dialect.verbs)
        timers = timers_of(call)
        response = await self._sent(call, request, timers)
        try:
            if response.status >= 300:
                raise await self._error(call, response, timers)
            if request.stream:
                return await self._streamed(call, response, timers)
            return await self._whole(call, response, timers)
        except BaseException as error:
            await response.close()
            if isinstance(error, GatewayError):
                _attribute(error, call, response)
            raise

    async def _sent(self, call: Call, request: Request, timers: Timers) -> WireResponse:
        written = self._dialect.write_request(request, self._quirks)
        headers = self._fixed + written.headers if written.headers else self._fixed
        extra = self._provider.request_headers(call)
        wire = WireRequest(
            written.method,
            self._origin,
            self._provider.target(self._base, written, request),
            headers + extra if extra else headers,
            written.body,
            self._credential,
            timers.clocks.wire,
        )
        try:
            return await call.runtime.send(wire, timers.until)
        except TimeoutError:
            raise timers.expired(call.runtime.now()) from None

    async def _whole(self, call: Call, response: WireResponse, timers: Timers) -> Reply:
        body = await _body(call, response, timers, None)
        request = call.request
        if request.verb == "request":
            answer = RawResponse(status=response.status, headers=dict(response.headers), content=body)
        else:
            try:
                answer = self._dialect.read_response(request, body, self._quirks)
            except ADAPTER_FAILURES as error:
                raise ProtocolError(f"the answer is not what the {self._dialect.name} format promises: {_named(error)}") from error
        return Reply.of(answer, deployment=call.deployment, request_id=_request_id(response.headers))

    async def _error(self, call: Call, response: WireResponse, timers: Timers) -> GatewayError:
        if response.status < 400:
            where = urlsplit(response.headers.get("location", "")).hostname or "somewhere else"
            return ProtocolError(f"the upstream redirects to {where[:100]}; redirects are not followed", status=502)
        try:
            body = await _body(call, response, timers, ERROR_MAX_BYTES)
        except (ConnectionFailed, ProtocolError):
            body = b""  # The status says enough.
        return self._dialect.read_error(response.status, response.headers, body)

    async def _streamed(self, call: Call, response: WireResponse, timers: Timers) -> Reply:
        stream = _StreamSource(call, response, timers, self._dialect.reader(call.request, self._quirks))
        # Whatever fails before the first content is an exception here, where it can be repaired.
        first = await stream.first()
        reply = Reply(
            first,
            stream.next,
            response.close,
            deployment=call.deployment,
            request_id=_request_id(response.headers),
        )
        reply.first_token_s = timers.first_token_s
        return reply


class _StreamSource:
    """Reads bytes, has them understood, and watches the clocks."""

    __slots__ = ("_ended", "_now", "_reader", "_response", "_seen", "_timers")

    def __init__(self, call: Call, response: WireResponse, timers: Timers, reader: StreamReader) -> None:
        self._now = call.runtime.now
        self._response = response
        self._timers = timers
        self._reader = reader
        self._seen = Folder()
        self._ended = False

    async def first(self) -> Sequence[Chunk]:
        """The pieces up to the first that has content."""
        held: list[Chunk] = []
        while True:
            chunks = await self.next()
            if not chunks:
                return held
            held += chunks
            if self._timers.first_token_s is not None or len(held) > HOLD_BACK_CHUNKS:
                return held

    async def next(self) -> Sequence[Chunk]:
        reader, timers = self._reader, self._timers
        while not self._ended:
            if reader.terminated:
                return await self._drain()
            try:
                data = await self._response.read(timers.until)
            except TimeoutError:
                raise self._interrupted(timers.expired(self._now())) from None
            except ConnectionFailed as error:
                raise self._interrupted(error) from None
            try:
                if data:
                    chunks = reader.feed(data)
                else:
                    self._ended = True
                    chunks = reader.end()
            except StreamInterrupted as error:
                raise self._interrupted(error) from None
            except ADAPTER_FAILURES as error:
                raise ProtocolError(f"an event of the stream is not what its format promises: {_named(error)}") from error
            now = self._now()
            timers.bytes_came(now)
            if chunks:
                for chunk in chunks:
                    if chunk.has_content:
                        timers.content_came(now)
                        break
                self._seen.extend(chunks)
                return chunks
        return ()

    async def _drain(self) -> Sequence[Chunk]:
        self._ended = True
        try:
            until = self._now() + DRAIN_S
            while await self._response.read(until):
                pass
        except (TimeoutError, GatewayError):
            await self._response.close()
        return ()

    def _interrupted(self, error: GatewayError) -> GatewayError:
        """After content, whatever broke the stream is one thing to the caller: an answer that is not whole."""
        if self._timers.first_token_s is None or error.outcome == "local":
            return error
        return StreamInterrupted(
            f"the stream broke off: {error.message}", partial=self._seen.response(), retry_after=error.retry_after
        )


async def _body(call: Call, response: WireResponse, timers: Timers, limit: int | None) -> bytes:
    """The whole body, or its first `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    read, until = response.read, timers.until
    try:
        while data := await read(until):
            parts.append(data)
            size += len(data)
            if limit is not None and size >= limit:
                await response.close()
                break
    except TimeoutError:
        raise timers.expired(call.runtime.now()) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "cf-ray")


def _request_id(headers: Mapping[str, str]) -> str | None:
    for name in REQUEST_ID_HEADERS:
        value = headers.get(name)
        if value:
            return value[:200]
    return None


def _attribute(error: GatewayError, call: Call, response: WireResponse) -> None:
    if error.deployment is None and call.deployment is not None:
        error.deployment = call.deployment.name
    if error.request_id is None:
        error.request_id = _request_id(response.headers)


def _named(error: BaseException) -> str:
    """The error without what it may quote from an answer."""
    return f"{type(error).__name__} {error.args[0]!r}"[:100] if isinstance(error, KeyError | IndexError) else type(error).__name__
