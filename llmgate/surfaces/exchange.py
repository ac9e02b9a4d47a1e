"""One text for everybody who speaks HTTP to the gateway: a request comes in as plain values, an answer goes out so.

The caller's dialect reads the request and writes the answer, the pipeline does the rest. Whoever has the bytes (a
transport under an SDK, an ASGI app) makes an `Asked` of them and sends an `Answered` back, piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..dialects import dialect_named
from ..dialects.base import Dialect, StreamWriter
from ..dialects.passing import answer_body, answer_writer
from ..errors import BadRequest, ConfigError, DeadlineExceeded, GatewayError, ModelNotFound
from ..runtime.accepting import options as options_of
from ..runtime.edge import attributed, discovered
from ..types.call import Call, Options
from ..types.media import Binary, Transcription
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Model, Models
from ..types.runtime import Runtime
from ..types.wire import encode, loads
from .asked import Asked, Lines
from .spoken import Spoken, spoken
from .upstreams import Upstreams

if TYPE_CHECKING:
    from ..config.building import Pipeline
    from ..gateway import Gateway

__all__ = ["Answered", "Exchange"]

ROUTE = b"x-llmgate-route"
OPTIONS = {
    b"x-llmgate-tenant": "tenant",
    b"x-llmgate-tags": "tags",
    b"x-llmgate-cache": "cache",
    b"x-llmgate-timeout": "timeout",
}
"""Headers of a request that are options of the call, as `gateway.scope` has them."""

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
STREAMED: dict[str, tuple[bytes, bytes]] = {"ollama": (b"content-type", b"application/x-ndjson")}
"""How a stream is announced by who does not send events."""

FORM = b"multipart/form-data"

HEAVY = frozenset({"image", "speak", "transcribe"})
"""Verbs of files, which a client's own upstream is asked unread: byte for byte, and as they come."""
STREAMS = frozenset({"chat", "complete"})

UNREAD = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"})
"""Headers of an upstream that said how its answer travelled to us."""

CACHE_WORDS: dict[str, Any] = {"true": True, "false": False, "no-cache": "no-cache", "no-store": "no-store"}


class Answered:
    """
    The answer as it goes out.

    Args:
        body: All of it; None if it comes in pieces.
        source: Brings the pieces.
        close: Cuts the upstream off.

    Attributes:
        timed_out: Whether what ran out was the time that the client itself had set.
    """

    __slots__ = ("_close", "_source", "body", "headers", "status", "timed_out")

    def __init__(
        self,
        status: int,
        headers: Lines,
        body: bytes | None,
        source: Callable[[], Awaitable[bytes]] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.timed_out = False
        self._source = source
        self._close = close

    async def read(self) -> bytes:
        """
        The next bytes, b"" at the end of a whole answer.

        Raises:
            GatewayError: If it broke off. The caller's dialect has said so already, where it can.
        """
        if self._source is None:
            body, self.body = self.body, b""
            return body or b""
        return await self._source()

    async def close(self) -> None:
        """Enough: cut the upstream off. Harmless after the end, and twice."""
        if self._close is not None:
            await self._close()


class Exchange:
    """Answers what HTTP brings, through one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._dialects: dict[str, Dialect] = {}
        self._upstreams: Upstreams | None = None
        self._pipeline: Pipeline | None = None

    async def answer(self, runtime: Runtime, asked: Asked) -> Answered:
        """
        The answer to a request. Whatever goes wrong is an answer, too, in the caller's dialect.

        Raises:
            ConfigError: If the gateway cannot be used as it is configured; that is nobody's answer.
        """
        words = spoken(asked.method, asked.path, asked.query, asked.named)
        dialect = self._dialect(words.dialect)
        if words.verb != "request" and not self._reads(dialect, words, asked):
            words = Spoken(words.dialect, "request")
        call: Call | None = None
        try:
            if words.dialect == "gemini":
                asked = _key_apart(asked)
            if words.verb == "models" and not asked.origin and ROUTE not in asked.named:
                return Answered(200, [JSON], encode(dialect.write_response(await self._models(runtime))))
            call = self._call(runtime, asked, words, dialect)
            reply = await self._gateway._open(call)
            if call.request.verb == "request":
                return self._passed(reply, call)
            if call.request.stream:
                return self._streamed(reply, call, dialect)
            return await self._whole(reply, call, dialect)
        except ConfigError:
            raise
        except GatewayError as error:
            return _refused(error, call, dialect, words, asked)

    def _dialect(self, name: str) -> Dialect:
        dialect = self._dialects.get(name)
        if dialect is None:
            dialect = self._dialects[name] = dialect_named(name)
        return dialect

    def _reads(self, dialect: Dialect, words: Spoken, asked: Asked) -> bool:
        """Whether the request is read, or passes through."""
        if words.verb not in dialect.verbs:
            return False
        if words.verb == "models":
            # Whoever stands at the client's address knows best what it offers, and in which format.
            return not asked.origin
        sort = asked.named.get(b"content-type", b"")
        return not sort or sort.startswith(b"application/json") or (words.verb in HEAVY and sort.startswith(FORM))

    # The call.

    def _call(self, runtime: Runtime, asked: Asked, words: Spoken, dialect: Dialect) -> Call:
        gateway = self._gateway
        pipeline = gateway._current()
        upstreams = self._upstreams
        if upstreams is None or self._pipeline is not pipeline:
            upstreams = self._upstreams = Upstreams(pipeline)
            self._pipeline = pipeline
        request = _passing(asked) if words.verb == "request" else _read(asked, words, dialect)
        name = asked.header(ROUTE) or request.model or words.model
        request.model = ""
        if not asked.origin and not name:
            raise _nobody(asked, words)
        way = upstreams.configured(name, asked, words)
        if way is None and asked.origin:
            if words.verb in HEAVY:
                request = _passing(asked)
            way = upstreams.own(request, name, asked, words)
        elif way is not None and words.verb == "request":
            request.path = upstreams.below(way, asked)
        elif request.stream and words.verb not in STREAMS:
            raise BadRequest(f"stream: {words.verb} gives its answer in one piece; leave it out")
        call = gateway._door.call(runtime, name, request, self._options(asked))
        call.way = way
        if asked.timeout_s is not None and not request.stream:
            call.deadline = min(call.deadline, call.started + asked.timeout_s)
        return call

    def _options(self, asked: Asked) -> Options | None:
        """What the headers say about the call; None if they say nothing."""
        said = {OPTIONS[name]: value for name in OPTIONS if (value := asked.header(name)) is not None}
        if not said:
            return None
        keywords: dict[str, Any] = dict(said)
        if "tags" in said:
            keywords["tags"] = _pairs("x-llmgate-tags", said["tags"])
        if "cache" in said:
            word = said["cache"].strip().lower()
            keywords["cache"] = CACHE_WORDS[word] if word in CACHE_WORDS else _pairs("x-llmgate-cache", said["cache"])
        return options_of(keywords, self._gateway._door.scope)

    async def _models(self, runtime: Runtime) -> Models:
        """Every name that a client can ask for: the routes, and what the providers offer as `provider/model`."""
        gateway = self._gateway
        pipeline = gateway._current()
        found = Models(data=[Model(name, provider="llmgate") for name in pipeline.routes])
        try:
            offered = await discovered(gateway._door, runtime, pipeline.provider_names())
        except GatewayError:
            if not found.data:
                raise
            return found
        for model in offered.data:
            model.id = f"{model.provider}/{model.id}"
        found.data += offered.data
        return found

    # The answer.

    async def _whole(self, reply: Reply, call: Call, dialect: Dialect) -> Answered:
        answer = attributed(await reply.response(), reply, call)
        lines = _circumstances(reply, call)
        if (cost := answer.cost) is not None:
            lines.append((b"x-llmgate-cost", str(cost).encode("ascii")))
        sort = JSON
        if isinstance(answer, Binary | Transcription):
            from ..dialects.openai_media_answers import write_body

            media_type, body = write_body(call.request, answer)
            sort = b"content-type", media_type.encode("latin-1")
        if sort == JSON:
            body = answer_body(dialect, call.request, reply, answer)
        return Answered(200, [sort, *lines], body)

    def _streamed(self, reply: Reply, call: Call, dialect: Dialect) -> Answered:
        writing = _Writing(reply, answer_writer(dialect, call.request.to(call.route), reply))
        lines = [STREAMED.get(dialect.name, EVENTS), *_circumstances(reply, call)]
        return Answered(200, lines, None, writing.read, reply.close)

    def _passed(self, reply: Reply, call: Call) -> Answered:
        """The upstream's own answer, unread."""
        passing = _Passing(reply)
        lines = _circumstances(reply, call)
        if reply.head is not None:
            lines += [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in reply.head.headers.items()
                if name not in UNREAD
            ]
        return Answered(200 if reply.head is None else reply.head.status, lines, None, passing.read, reply.close)


class _Writing:
    """Writes a stream in the caller's dialect, as it comes."""

    __slots__ = ("_broken", "_ended", "_reply", "_writer")

    def __init__(self, reply: Reply, writer: StreamWriter) -> None:
        self._reply = reply
        self._writer = writer
        self._ended = False
        self._broken: GatewayError | None = None

    async def read(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        while not self._ended:
            try:
                if chunks := await self._reply.read():
                    data = b"".join([self._writer.feed(chunk) for chunk in chunks])
                else:
                    self._ended = True
                    data = self._writer.end()
            except GatewayError as error:
                # First in the dialect's words, which most SDKs raise; then for those that do not know them.
                self._broken = error
                return self._writer.error(error)
            if data:
                return data
        return b""


class _Passing:
    """Hands on an unread answer."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def read(self) -> bytes:
        while chunks := await self._reply.read():
            if data := b"".join([chunk.wire for chunk in chunks if chunk.wire]):
                return data
        return b""


def _read(asked: Asked, words: Spoken, dialect: Dialect) -> Request:
    """The request in our words."""
    sort = asked.header(b"content-type") or ""
    if sort.startswith(FORM.decode()):
        from ..dialects.multipart import read_form

        return dialect.read_request(words.verb, read_form(sort, asked.body))
    try:
        data = loads(asked.body) if asked.body else None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if isinstance(data, dict):
        # What the format says in the address or in a header is told with the rest.
        if words.model and not data.get("model"):
            data["model"] = words.model
        if words.streams:
            data["stream"] = True
        betas = asked.header(b"anthropic-beta")
        if betas and words.dialect.startswith("anthropic"):
            data["betas"] = [beta.strip() for beta in betas.split(",")]
    return dialect.read_request(words.verb, data)


def _passing(asked: Asked) -> Request:
    """A request that nobody here reads."""
    request = Request("request", "", None, True, asked.body, asked.method, asked.target)
    sort = asked.header(b"content-type")
    if sort is not None:
        request.headers = [("content-type", sort)]
    return request


def _nobody(asked: Asked, words: Spoken) -> GatewayError:
    if words.verb == "request":
        return ModelNotFound(
            f"{asked.method} {asked.path} passes through unread, and it was not said to whom; "
            "name a provider in the header x-llmgate-route"
        )
    return BadRequest("model: missing; name a route, or provider/model")


def _key_apart(asked: Asked) -> Asked:
    """Google takes a key in the address, too, where logs would keep it; from here on it travels in its header."""
    key = next((part for part in asked.query.split("&") if part.startswith("key=")), "")
    if not key:
        return asked
    query = "&".join(part for part in asked.query.split("&") if part != key)
    line = (b"x-goog-api-key", unquote(key.removeprefix("key=")).encode("latin-1", "replace"))
    return replace(asked, query=query, headers=[*asked.headers, line])


def _pairs(name: str, value: str) -> dict[str, str]:
    """`name=value, name=value` as a dict."""
    found: dict[str, str] = {}
    for part in value.split(","):
        key, equals, said = part.partition("=")
        if not equals or not key.strip():
            raise BadRequest(f"{name}: write name=value, name=value")
        found[key.strip()] = said.strip()
    return found


def _circumstances(reply: Reply, call: Call) -> Lines:
    """What is known about how an answer came about."""
    lines: Lines = [(b"x-llmgate-attempts", b"%d" % len(call.trail.attempts))]
    if reply.deployment is not None:
        lines.append((b"x-llmgate-deployment", _value(reply.deployment.name)))
    if reply.cached is not None:
        lines.append((b"x-llmgate-cached", _value(reply.cached)))
    if reply.request_id:
        lines += [(b"x-request-id", _value(reply.request_id)), (b"request-id", _value(reply.request_id))]
    return lines


def _refused(error: GatewayError, call: Call | None, dialect: Dialect, words: Spoken, asked: Asked) -> Answered:
    """An error as a server of the caller's dialect would say it."""
    status, named, body = dialect.write_error(error)
    if words.verb == "request" or (call is not None and call.request.verb == "request"):
        status = error.status  # what was not read is not understood better than by its own upstream
    headers = named | {"x-should-retry": "false", "x-llmgate-attempts": str(len(error.attempts))}
    if error.retry_after is not None:
        headers.setdefault("retry-after", str(math.ceil(error.retry_after)))
    if error.request_id:
        headers.setdefault("x-request-id", error.request_id)
    if error.deployment:
        headers["x-llmgate-deployment"] = error.deployment
    answered = Answered(
        status, [(name.encode("ascii"), _value(value)) for name, value in headers.items()], encode(body)
    )
    if isinstance(error, DeadlineExceeded) and call is not None and asked.timeout_s is not None:
        answered.timed_out = call.deadline == call.started + asked.timeout_s
    return answered


def _value(text: str) -> bytes:
    """A text that fits into a header line."""
    return text.encode("ascii", "replace") if text.isprintable() else ascii(text).encode("ascii")
