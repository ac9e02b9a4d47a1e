"""A provider behind HTTP: its dialect writes, the runtime waits, the dialect reads.

One text for whole and streamed answers, for every dialect and in both colours.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, field_validator

from ..dialects import dialect_named
from ..dialects.base import Dialect, StreamReader, Written
from ..dialects.passing import Passing
from ..dialects.unsaid import say
from ..errors import ConfigError, ConnectionFailed, GatewayError, ProtocolError, StreamInterrupted
from ..policies.routing import VERB_NEEDS
from ..policies.timers import Timers
from ..runtime.client import library_of
from ..types.call import Call, Handler
from ..types.deployment import Deployment
from ..types.media import Binary
from ..types.reply import Reply
from ..types.request import ONCE, Request
from ..types.response import Answer, Chunk, RawResponse, Response, leave_unread
from ..types.secret import Credential, Secret
from ..types.wire import Clients, WireRequest, WireResponse
from .addresses import REDIRECTS_MAX, address, fetching, is_loopback, redirected
from .base import Provider, refuse_verb, timers_of
from .catalog import Row, row_named
from .tokens import Ask, Token

__all__ = ["HTTPProvider", "address"]

logger = logging.getLogger("llmgate")

ERROR_MAX_BYTES = 2**16  # of an error's body; the longest recorded is 6 KB
ERROR_S = 5.0  # seconds for an error's body: a status alone says enough, and whoever retries is waiting
HOLD_BACK_CHUNKS = 64  # pieces without content that may come before the first with some
PIECE_BYTES = 2**13  # of a stream, understood before the reader gets its turn: some thirty events
DRAIN_S = 0.1  # seconds for what follows the terminal event, so that the connection can be used again
WORD_MAX = 200  # characters of an id that an upstream gives

ADAPTER_FAILURES = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Headers that say how a request travels; the engine writes them."""

if TYPE_CHECKING:
    # To a type checker a key is a text or a function, too: `api_key="sk-…"` is as right as `api_key=Secret("sk-…")`.
    Keys = Secret | str | Ask | Sequence[Secret | str | Ask] | None
else:
    Keys = Secret | list[Secret] | None


class HTTPProvider(Provider):
    """
    A provider reached over HTTP, in the dialect of its catalog row.

    A client of your own serves the colour that it is made for; calls of the other colour use connections of ours. It
    stays open. After a fork it is for you to replace it.

    Raises:
        ConfigError: When it is bound without a key that it needs, or with an address that is none.
    """

    api_key: Keys = Field(
        default=None,
        description="the key, or several: each becomes a deployment; in Python also a function that returns one",
    )
    base_url: str = Field(default="", description="where it is, if not at its usual address")
    headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="more headers for every request, in place of ours"
    )
    allow_http: bool = Field(
        default=False, description="send keys and prompts unencrypted to a host that is not this one"
    )
    unsupported: Literal["error", "drop"] | None = Field(
        default=None,
        description="what becomes of what its format has no words for: an error that names it, or it is left out; none: as "
        "the call says",
    )
    http_client: Any = Field(
        default=None, exclude=True, repr=False, description="a blocking httpx or httpx2 client to use"
    )
    async_http_client: Any = Field(default=None, exclude=True, repr=False, description="the same for asyncio")

    _environ: Mapping[str, str] | None = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        # Of a configuration: where its variables were looked up, its keys are looked up, too.
        self._environ = (context or {}).get("environ")

    @field_validator("api_key", mode="before")
    @classmethod
    def _asked_for(cls, keys: Any) -> Any:
        """A function is asked for the key before each request; it may be a coroutine function."""
        if isinstance(keys, list | tuple):
            return [cls._asked_for(key) for key in keys]
        return Token(cast("Ask", keys)) if callable(keys) else keys

    @field_validator("headers")
    @classmethod
    def _writable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is no header name")
            if name.lower() in FRAMING:
                raise ValueError(f"{name} is not yours to set; it says how the request travels")
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

    @field_validator("http_client")
    @classmethod
    def _is_blocking(cls, client: Any) -> Any:
        return _client(client, "blocking")

    @field_validator("async_http_client")
    @classmethod
    def _is_asyncio(cls, client: Any) -> Any:
        return _client(client, "asyncio")

    # Where and with what.

    @property
    def row(self) -> Row:
        """What the catalog says about it."""
        row = row_named(self.kind)
        assert row is not None, "every kind of HTTP provider has a row"
        return row

    def url(self) -> str:
        """The base URL in force."""
        return self.base_url or self.row.base_url

    def place(self) -> tuple[str, str]:
        """
        Origin and path of the base URL.

        Raises:
            ConfigError: If there is none, or a key would travel unencrypted to another host.
        """
        url = self.url()
        if not url:
            raise ConfigError("base_url is missing; write where it is, with the version: https://…/v1")
        origin, path = address(url)
        if origin.startswith("http:") and not self.allow_http and not is_loopback(origin):
            raise ConfigError(
                f"{origin} is not encrypted and not on this machine; "
                "use https, or say allow_http: true if the network is yours"
            )
        return origin, path

    def origin(self) -> str:
        return self.place()[0]

    def usual(self) -> bool:
        """Whether it is where a key out of the environment belongs."""
        usual = self.row.base_url
        return not self.base_url or (usual != "" and address(self.base_url)[0] == address(usual)[0])

    def secrets(self) -> list[Secret]:
        """
        Its keys: those given, else the one in the environment.

        A key from the environment goes to the usual address only: whoever names another address names its key.

        Raises:
            ConfigError: If it needs one and there is none; names the variable.
        """
        given = cast("Secret | list[Secret] | None", self.api_key)
        if given is None:
            return self._found()
        if given == []:
            raise ConfigError("api_key is an empty list; give a key, or leave it out")
        keys = given if isinstance(given, list) else [given]
        keys = [
            key.named(f"{self.label()} at {self.url()}, {number}") if isinstance(key, Token) else key
            for number, key in enumerate(keys)
        ]
        # The same key twice would be a second deployment that fails with the first.
        return list(dict.fromkeys(keys))

    def _found(self) -> list[Secret]:
        """The key in the environment."""
        variables = self.row.key_env
        if not variables:
            return []
        names = " or ".join(variables)
        if not self.usual():
            raise ConfigError(f"api_key is missing; {names} is not used, because base_url is not its usual address")
        environ = os.environ if self._environ is None else self._environ
        for name in variables:
            if environ.get(name):
                try:
                    return [Secret(environ[name])]
                except ConfigError as error:
                    raise ConfigError(f"{name}: {error.message}") from None
        raise ConfigError(f"no key; set {names} in the environment, or api_key")

    def credentials(self) -> list[str]:
        return [secret.fingerprint for secret in self.secrets()] or [""]

    def deployment(self, model: str, key: int = 0) -> Deployment:
        found = super().deployment(model, key)
        return replace(found, lenient=True) if self.unsupported == "drop" else found

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        known = self.row.capabilities
        if known is None:
            return None
        able = self.verbs(model)
        return known - {need for verb, wanted in VERB_NEEDS.items() if verb not in able for need in wanted}

    def verbs(self, model: str = "") -> frozenset[str]:
        """What it can be asked for a model: what the format has words for, and what the catalog names a path for."""
        return dialect_named(self.dialect(model)).verbs | self.row.quirks.paths.keys()

    def price_id(self) -> str:
        return self.row.price_id

    # Asking.

    def bind(self, model: str, key: int = 0) -> Handler:
        origin, path = self.place()
        secrets, dialect, verbs = self.secrets(), dialect_named(self.dialect(model)), self.verbs(model)
        if not secrets:
            return _Asker(self, dialect, verbs, origin, path, None).ask
        credential = self.credential(secrets[key], origin)
        if credential.header in self.headers:
            raise ConfigError(f"headers: {credential.header} carries the key; give it as api_key and nowhere else")
        return _Asker(self, dialect, verbs, origin, path, credential).ask

    def credential(self, secret: Secret, origin: str) -> Credential:
        """The key as it travels, to this origin and no other."""
        row = self.row
        return Credential(secret, origin, row.header, row.prefix)

    def dialect(self, model: str = "") -> str:
        """Name of the wire format in which it is asked for a model."""
        return self.row.dialect

    def target(self, base: str, written: Written, request: Request) -> str:
        """Path and query of a request."""
        return base + written.path

    def told_beside(self, answer: Answer, headers: Mapping[str, str]) -> None:
        """Put into a whole answer what its headers say and its body does not."""

    def request_headers(self, call: Call) -> list[tuple[str, str]]:
        """Headers that depend on the call."""
        key = call.options.idempotency_key
        return [] if key is None else [("idempotency-key", key)]


def _client(client: Any, color: Any) -> Any:
    """
    A client that can be sent with.

    Raises:
        ValueError: If it is none of this colour.
    """
    if client is not None:
        try:
            library_of(client, color)
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return client


class _Asker:
    """One provider, one key: asks and reads."""

    __slots__ = (
        "_base",
        "_clients",
        "_credential",
        "_dialect",
        "_fixed",
        "_origin",
        "_own",
        "_provider",
        "_quirks",
        "_token",
        "_unsupported",
        "_verbs",
    )

    def __init__(
        self,
        provider: HTTPProvider,
        dialect: Dialect,
        verbs: frozenset[str],
        origin: str,
        base: str,
        credential: Credential | None,
    ) -> None:
        self._provider = provider
        self._dialect = dialect
        self._quirks = provider.row.quirks
        self._unsupported = provider.unsupported
        self._verbs = verbs
        self._origin = origin
        self._base = base
        self._credential = credential
        secret = credential and credential.secret
        self._token = secret if isinstance(secret, Token) else None
        self._own = provider.headers
        ours = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "llmgate"}
        self._fixed = list((ours | self._own).items())
        self._clients: Clients | None = None
        if provider.http_client is not None or provider.async_http_client is not None:
            self._clients = Clients(provider.http_client, provider.async_http_client)

    async def ask(self, call: Call) -> Reply:
        request = call.request
        if request.verb not in self._verbs:
            raise refuse_verb(self._provider.label(), request.verb, self._verbs)
        timers = timers_of(call)
        response: WireResponse | None = None
        try:
            written, unsaid = self._written(call, request)
            response = await self._sent(call, request, written, timers)
            unread = request.stream and request.verb == "request"
            if response.status >= 300 and not (unread and response.status < 400):
                raise await self._error(call, response, timers)
            answered = self._passed if unread else self._streamed if request.stream else self._whole
            reply = await answered(call, response, timers)
            reply.unsaid = unsaid
            return reply
        except BaseException as error:
            if response is not None:
                await response.close()
            if isinstance(error, GatewayError):
                self.attribute(error, call.deployment, response)
            raise

    def _written(self, call: Call, request: Request) -> tuple[Written, tuple[str, ...]]:
        """The request, and what was left out of it because there are no words for it."""
        if (self._unsupported or call.options.unsupported) == "error":
            return self._dialect.write_request(request, self._quirks), ()
        written, unsaid = say(self._dialect, request, self._quirks, True)
        if unsaid:
            whom = self._provider.label() if call.deployment is None else call.deployment.name
            logger.warning("left out of a request to %s: %s", whom, "; ".join(unsaid))
        return written, unsaid

    async def _sent(self, call: Call, request: Request, written: Written, timers: Timers) -> WireResponse:
        headers = self._fixed
        if written.headers:
            if written.headers[0][0] == "content-type":  # a form
                headers = [line for line in headers if line[0] != "content-type"]
            headers = headers + [line for line in written.headers if line[0] not in self._own]
        extra = self._provider.request_headers(call)
        if request.headers:
            # What the body is, too, is for the caller to say: a body of nothing is no JSON.
            said = {"content-type", *(name for name, _ in request.headers)}
            headers = [line for line in headers if line[0] not in said] + [*request.headers]
        if request.verb == "video_content" and written.method == "GET":
            return await self._fetched(call, written, headers, timers)
        wire = WireRequest(
            written.method,
            self._origin,
            self._provider.target(self._base, written, request),
            headers + extra if extra else headers,
            written.body,
            self._credential,
            timers.clocks.wire,
            self._clients,
            request.verb in ONCE and call.options.idempotency_key is None,
        )
        return await self._delivered(call, wire, timers)

    async def _delivered(self, call: Call, wire: WireRequest, timers: Timers) -> WireResponse:
        try:
            if self._token is not None:
                await self._token.renew(call.runtime, timers.until)
            return await call.runtime.send(wire, timers.until)
        except TimeoutError:
            raise timers.expired(call.runtime.now()) from None

    async def _fetched(
        self, call: Call, written: Written, headers: list[tuple[str, str]], timers: Timers
    ) -> WireResponse:
        """The answer from where a file lies, which may be with somebody else."""
        url, left = written.path, REDIRECTS_MAX
        if "://" not in url:
            url = self._origin + self._provider.target(self._base, written, call.request)
        while True:
            wire = fetching(url, self._origin, headers, self._credential, timers.clocks.wire, self._clients)
            response = await self._delivered(call, wire, timers)
            place = redirected(response.status, response.headers.get("location", ""), wire)
            if place is None or not left:
                return response
            await response.close()
            url, left = place, left - 1

    async def _whole(self, call: Call, response: WireResponse, timers: Timers) -> Reply:
        try:
            body = await _body(response, timers.until)
        except TimeoutError:
            raise timers.expired(call.runtime.now()) from None
        request = call.request
        answer = self._read(request, response, body)
        if isinstance(answer, Binary) and not answer.media_type:
            answer.media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        self._provider.told_beside(answer, response.headers)
        if type(answer) is Response and answer.raw is not None:
            # Few look at it, and it holds everything a second time.
            leave_unread(answer, body)
        reply = Reply.of(answer, deployment=call.deployment, request_id=_request_id(response.headers))
        if request.spoken and request.spoken == self._dialect.format(request.verb, request.model):
            answer.wire = body
            answer.spoken = reply.spoken = request.spoken
        return reply

    def _read(self, request: Request, response: WireResponse, body: bytes) -> Answer:
        if request.verb == "request":
            return RawResponse(status=response.status, headers=dict(response.headers), content=body)
        try:
            return self._dialect.read_response(request, body, self._quirks)
        except ADAPTER_FAILURES as error:
            said = f"the answer is not what the {self._dialect.name} format promises: {_named(error)}"
            raise ProtocolError(said) from error

    async def _error(self, call: Call, response: WireResponse, timers: Timers) -> GatewayError:
        if response.status < 400:
            where = _host_of(response.headers.get("location", "")) or "somewhere else"
            return ProtocolError(f"the upstream redirects to {where}; redirects are not followed", status=502)
        try:
            body = await _body(response, min(timers.until, call.runtime.now() + ERROR_S), ERROR_MAX_BYTES)
        except (TimeoutError, ConnectionFailed, ProtocolError):
            body = b""  # The status says enough.
        return self._dialect.read_error(response.status, response.headers, body)

    async def _streamed(self, call: Call, response: WireResponse, timers: Timers) -> Reply:
        request = call.request
        reader = self._dialect.reader(request, self._quirks)
        passes = request.spoken != "" and request.spoken == self._dialect.format(request.verb, request.model)
        stream = _StreamSource(self, call, response, timers, Passing(reader) if passes else reader)
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
        if passes:
            reply.spoken = request.spoken
        return reply

    async def _passed(self, call: Call, response: WireResponse, timers: Timers) -> Reply:
        """The answer as it comes. Its first bytes are awaited here, where a failure can be repaired."""
        source = _UnreadSource(self, call, response, timers)
        reply = Reply(
            await source.next(),
            source.next,
            response.close,
            deployment=call.deployment,
            request_id=_request_id(response.headers),
        )
        reply.head = RawResponse(status=response.status, headers=dict(response.headers))
        reply.first_token_s = timers.first_token_s
        return reply

    def attribute(self, error: GatewayError, deployment: Deployment | None, response: WireResponse | None) -> None:
        """Say in an error whom it came from, and see to it that it does not repeat the key that was sent."""
        if error.deployment is None and deployment is not None:
            error.deployment = deployment.name
        if error.request_id is None and response is not None:
            error.request_id = _request_id(response.headers)
        if self._credential is not None:
            _forget(self._credential.secret, error)


def _forget(secret: Secret, error: GatewayError) -> None:
    """An upstream may repeat what it was sent, and not every key looks like one."""
    if secret.reveal() in f"{error.args} {error.code} {error.request_id}":
        error.args = tuple(_without(secret, arg) for arg in error.args)
        error.code, error.request_id = _without(secret, error.code), _without(secret, error.request_id)


def _without(secret: Secret, value: Any) -> Any:
    return value.replace(secret.reveal(), "[redacted]") if isinstance(value, str) else value


class _StreamSource:
    """Reads bytes, has them understood, and watches the clocks."""

    __slots__ = ("_asker", "_at", "_data", "_deployment", "_ended", "_now", "_reader", "_response", "_timers")

    def __init__(self, asker: _Asker, call: Call, response: WireResponse, timers: Timers, reader: StreamReader) -> None:
        self._asker = asker
        self._deployment = call.deployment
        self._now = call.runtime.now
        self._response = response
        self._timers = timers
        self._reader = reader
        self._data, self._at = b"", 0
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
        """The next pieces; none at the end of a stream that said that it had ended."""
        try:
            while not self._ended:
                if self._reader.terminated:
                    return await self._drain()
                chunks = await self._read()
                if chunks:
                    return chunks
        except GatewayError as error:
            self._asker.attribute(error, self._deployment, self._response)
            raise
        return ()

    async def _read(self) -> list[Chunk]:
        """What the next bytes bring."""
        reader, timers = self._reader, self._timers
        try:
            # What arrived at once is understood in pieces, so that the first chunk need not wait for the last.
            if self._at >= len(self._data):
                self._data, self._at = await self._response.read(timers.until), 0
            start, self._at = self._at, self._at + PIECE_BYTES
            if self._data:
                chunks = reader.feed(self._data[start : self._at])
            else:
                self._ended = True
                chunks = reader.end()
        except TimeoutError:
            raise self._interrupted(timers.expired(self._now())) from None
        except (ConnectionFailed, StreamInterrupted) as error:
            raise self._interrupted(error) from None
        except ADAPTER_FAILURES as error:
            raise ProtocolError(f"an event of the stream is not what its format promises: {_named(error)}") from error
        now = self._now()
        timers.bytes_came(now)
        for chunk in chunks:
            if chunk.has_content:
                timers.content_came(now)
                break
        return chunks

    async def _drain(self) -> Sequence[Chunk]:
        self._ended = True
        behind = self._data[self._at :]
        try:
            until = self._now() + DRAIN_S
            while data := await self._response.read(until):
                behind += data
        except (TimeoutError, GatewayError):
            await self._response.close()
        return self._reader.trailing(behind) if isinstance(self._reader, Passing) else ()

    def _interrupted(self, error: GatewayError) -> GatewayError:
        return error if self._timers.first_token_s is None else _interrupted(error)


def _interrupted(error: GatewayError) -> GatewayError:
    """After content, whatever broke the stream is one thing to the caller: an answer that is not whole."""
    if error.outcome == "local":
        return error
    return StreamInterrupted(
        f"the stream broke off: {error.message}",
        timer=getattr(error, "timer", ""),
        retry_after=error.retry_after,
    )


class _UnreadSource:
    """Hands on bytes, and watches the clocks."""

    __slots__ = ("_asker", "_deployment", "_now", "_response", "_timers")

    def __init__(self, asker: _Asker, call: Call, response: WireResponse, timers: Timers) -> None:
        self._asker = asker
        self._deployment = call.deployment
        self._now = call.runtime.now
        self._response = response
        self._timers = timers

    async def next(self) -> Sequence[Chunk]:
        """The next bytes; none at the end of the body."""
        timers = self._timers
        try:
            data = await self._response.read(timers.until)
        except TimeoutError:
            error: GatewayError = timers.expired(self._now())
        except GatewayError as failed:
            error = failed
        else:
            now = self._now()
            timers.bytes_came(now)
            timers.content_came(now)
            return (Chunk(index=-1, wire=data),) if data else ()
        if timers.first_token_s is not None:
            error = _interrupted(error)
        self._asker.attribute(error, self._deployment, self._response)
        raise error


async def _body(response: WireResponse, until: float, limit: int | None = None) -> bytes:
    """The whole body, or its first `limit` bytes and a little."""
    parts: list[bytes] = []
    size = 0
    read = response.read
    while data := await read(until):
        parts.append(data)
        size += len(data)
        if limit is not None and size >= limit:
            await response.close()
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "cf-ray")


def _request_id(headers: Mapping[str, str]) -> str | None:
    for name in REQUEST_ID_HEADERS:
        value = headers.get(name)
        if value:
            return value[:WORD_MAX]
    return None


def _host_of(location: str) -> str:
    try:
        return (urlsplit(location).hostname or "")[:WORD_MAX]
    except ValueError:
        return ""


def _named(error: BaseException) -> str:
    """The error without what it may quote from an answer."""
    name = type(error).__name__
    return f"{name} {error.args[0]!r}"[:100] if isinstance(error, KeyError | IndexError) and error.args else name
