"""The edge: where a caller's words become a call, and a reply becomes an answer.

Both faces stand here side by side, `Face` for plain threads and `AsyncFace` for asyncio; each verb is one
line in each, and everything they have in common is in `accept` and `Door`. Only here is a stream folded
into a response, and only here is a call driven.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from ..errors import BadRequest, GatewayError, StreamInterrupted
from ..types.call import CacheControl, Call, Options
from ..types.reply import Reply
from ..types.request import Message, Request, Verb
from ..types.response import Answer, Chunk, Embeddings, Folder, Models, RawResponse, Response, explode
from ..types.runtime import Runtime
from ..types.units import parse_duration
from ..types.wire import dumps
from .drive import drive

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["AsyncFace", "AsyncStream", "Door", "Face", "Stream", "accept", "options"]

REQUEST_MAX_BYTES = 32 * 10**6  # Anthropic's limit of a request, the largest of the big providers
DEFAULT_OPTIONS = Options()
LONE_SURROGATE = "the text holds half of a character pair (a lone surrogate), which UTF-8 cannot carry"

Messages = str | Sequence[Mapping[str, Any] | Message]
Timeout = float | int | str | None


class Door:
    """
    What a face talks to: it opens calls.

    Args:
        open: Answers a call.
        blocking: The runtime of plain threads.
        asyncio: The runtime of event loops.
        scope: Options of the surrounding scope, if there is one.
        timeout_s: Seconds a call may last by default, for a whole answer and for a stream.
        defaults: Options of a call that says nothing, outside of every scope.
    """

    def __init__(
        self,
        open: Callable[[Call], Awaitable[Reply]],
        blocking: Runtime,
        asyncio: Runtime,
        scope: Callable[[], Options | None] = lambda: None,
        timeout_s: tuple[float, float] = (120.0, 600.0),
        defaults: Options = DEFAULT_OPTIONS,
    ) -> None:
        self.open = open
        self.blocking = blocking
        self.asyncio = asyncio
        self._scope = scope
        self._defaults = defaults
        self.timeout_s = timeout_s

    def scope(self) -> Options:
        """The options that hold where a call says nothing itself."""
        return self._scope() or self._defaults

    def call(self, runtime: Runtime, name: str, request: Request, options: Options | None) -> Call:
        """The call, with its deadline set."""
        if options is None:
            options = self.scope()
        timeout_s = options.timeout_s
        if timeout_s is None:
            timeout_s = self.timeout_s[request.stream]
        now = runtime.now()
        return Call(request, runtime, name, options, now, now + timeout_s)

    async def answer(self, runtime: Runtime, name: str, request: Request, options: Options | None) -> Answer:
        """The whole answer, with its circumstances."""
        call = self.call(runtime, name, request, options)
        reply = await self.open(call)
        return attributed(await reply.response(), reply, call)


def attributed(answer: Answer, reply: Reply, call: Call) -> Answer:
    """The answer with what is known about how it came about."""
    deployment = reply.deployment
    if deployment is not None:
        answer.deployment = deployment.name
        answer.provider = deployment.provider
        answer.priced = deployment.priced
    answer.cached = reply.cached
    if reply.cached is not None:
        answer.priced = _free
    answer.attempts = call.trail.attempts
    answer.request_id = reply.request_id
    return answer


def _free(answer: Answer) -> Decimal:
    """What a cached answer costs."""
    return Decimal(0)


class Face:
    """The verbs for plain threads. Every keyword that is no option of the call goes to the upstream as it is."""

    _door: Door

    def chat(self, model: str, messages: Messages, **params: Any) -> Response:
        """
        Ask and wait for the whole answer.

        Args:
            model: A route, or `provider/model`.
            messages: A string, or OpenAI chat messages.
            **params: OpenAI chat parameters, and the options `timeout` (seconds or `20s`), `tenant`, `tags`, `cache`
                (`True`, `False`, `"no-cache"`, `"no-store"` or a dict of `ttl`, `max_age`, `namespace`),
                `fallback` (False: no other deployment) and `idempotency_key`.

        Raises:
            BadRequest: If it cannot be sent; nothing was taken and nobody was asked.
            GatewayError: See `llmgate.errors`.
        """
        asked = options(params, self._door.scope)
        return cast(Response, self._answer(model, accept("chat", {"messages": messages, **params}), asked))

    def stream(self, model: str, messages: Messages, **params: Any) -> Stream:
        """
        Ask and read the answer as it is written. The arguments are those of `chat`.

        The call begins when the stream is entered or first iterated over.
        """
        asked = options(params, self._door.scope)
        return Stream(self._door, model, accept("chat", {"messages": messages, **params}, stream=True), asked)

    def complete(self, model: str, prompt: str | Sequence[Any], **params: Any) -> Response:
        """Continue a text: the legacy completion. The keywords are those of `chat`."""
        asked = options(params, self._door.scope)
        return cast(Response, self._answer(model, accept("complete", {"prompt": prompt, **params}), asked))

    def embed(self, model: str, input: str | Sequence[Any], **params: Any) -> Embeddings:
        """Vectors for texts: one for each input, in order. The keywords are those of `chat`."""
        asked = options(params, self._door.scope)
        return cast(Embeddings, self._answer(model, accept("embed", {"input": input, **params}), asked))

    def request(self, provider: str, method: str, path: str, *, json: Any = None, **keywords: Any) -> RawResponse:
        """
        Anything else a provider has, under the same middleware.

        Args:
            provider: Name of a provider.
            method: HTTP method.
            path: Path below the provider's base URL, query included.
            json: The body.
            **keywords: Options of the call, as for `chat`.
        """
        asked = options(keywords, self._door.scope)
        return cast(RawResponse, self._answer(provider, passed(method, path, json, keywords), asked))

    def _answer(self, name: str, request: Request, asked: Options | None) -> Answer:
        return drive(self._door.answer(self._door.blocking, name, request, asked))


class AsyncFace:
    """The verbs for asyncio: those of `Face`, with `await`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def chat(self, model: str, messages: Messages, **params: Any) -> Response:
        """Ask and wait for the whole answer; see `Face.chat`."""
        asked = options(params, self._door.scope)
        return cast(Response, await self._answer(model, accept("chat", {"messages": messages, **params}), asked))

    def stream(self, model: str, messages: Messages, **params: Any) -> AsyncStream:
        """Ask and read the answer as it is written; see `Face.stream`. Iterate over it, with `async with` or without."""
        asked = options(params, self._door.scope)
        return AsyncStream(self._door, model, accept("chat", {"messages": messages, **params}, stream=True), asked)

    async def complete(self, model: str, prompt: str | Sequence[Any], **params: Any) -> Response:
        """Continue a text; see `Face.complete`."""
        asked = options(params, self._door.scope)
        return cast(Response, await self._answer(model, accept("complete", {"prompt": prompt, **params}), asked))

    async def embed(self, model: str, input: str | Sequence[Any], **params: Any) -> Embeddings:
        """Vectors for texts; see `Face.embed`."""
        asked = options(params, self._door.scope)
        return cast(Embeddings, await self._answer(model, accept("embed", {"input": input, **params}), asked))

    async def request(self, provider: str, method: str, path: str, *, json: Any = None, **keywords: Any) -> RawResponse:
        """Anything else a provider has; see `Face.request`."""
        asked = options(keywords, self._door.scope)
        return cast(RawResponse, await self._answer(provider, passed(method, path, json, keywords), asked))

    def _answer(self, name: str, request: Request, asked: Options | None) -> Awaitable[Answer]:
        return self._door.answer(self._door.asyncio, name, request, asked)


class _Reading:
    """What both streams have in common: the reply, the pieces so far, and what is known about it all."""

    def __init__(self, door: Door, name: str, request: Request, asked: Options | None) -> None:
        self._door = door
        self._name = name
        self._request = request
        self._asked = asked
        self._call: Call | None = None
        self._reply: Reply | None = None
        self._folder = Folder()
        self._whole: Answer | None = None

    async def _opened(self, runtime: Runtime) -> Reply:
        if self._reply is None:
            if self._call is not None:
                raise RuntimeError("the stream is being opened by somebody else, or could not be opened")
            self._call = self._door.call(runtime, self._name, self._request, self._asked)
            self._reply = await self._door.open(self._call)
        return self._reply

    async def _next(self, runtime: Runtime) -> Sequence[Chunk]:
        reply = self._reply
        if reply is None:
            reply = await self._opened(runtime)
        try:
            chunks = await reply.read()
        except StreamInterrupted as error:
            if error.partial is None:
                error.partial = self._folder.response()
            raise
        if len(chunks) == 1 and chunks[0].whole is not None:
            # Whoever answered had it in one piece: a cache, a function.
            self._whole = chunks[0].whole
            chunks = explode(cast(Response, self._whole))
        self._folder.extend(chunks)
        return chunks

    async def _closed(self) -> None:
        if self._reply is not None:
            await self._reply.close()

    @property
    def response(self) -> Response:
        """
        The answer folded from all pieces.

        Raises:
            RuntimeError: If the stream has not been read to its end.
        """
        reply, call = self._reply, self._call
        if reply is None or call is None or reply.ended is None or reply.ended.name != "ok":
            raise RuntimeError("the stream has not been read to its end; its response is not known")
        whole = self._whole if self._whole is not None else self._folder.response()
        return cast(Response, attributed(whole, reply, call))

    @property
    def deployment(self) -> str | None:
        """Who answers; None before the stream was opened."""
        reply = self._reply
        return None if reply is None or reply.deployment is None else reply.deployment.name

    def __repr__(self) -> str:
        ended = None if self._reply is None else self._reply.ended
        state = "new" if self._reply is None else "open" if ended is None else ended.name
        return f"<{type(self).__name__} {self._name} {state}>"


class Stream(_Reading):
    """
    An answer as it is written. Iterate over it once, with `with` or without; `with` closes it wherever you leave.

    After the end, `response` is the whole answer.
    """

    def __iter__(self) -> Iterator[Chunk]:
        runtime = self._door.blocking
        try:
            while chunks := drive(self._next(runtime)):
                yield from chunks
        finally:
            self.close()

    def __enter__(self) -> Self:
        drive(self._opened(self._door.blocking))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Enough: cut the upstream off. Harmless on a stream that has ended."""
        drive(self._closed())


class AsyncStream(_Reading):
    """The same for asyncio: `async for`, with `async with` or without."""

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        runtime = self._door.asyncio
        try:
            while chunks := await self._next(runtime):
                for chunk in chunks:
                    yield chunk
        finally:
            await self._closed()

    async def __aenter__(self) -> Self:
        await self._opened(self._door.asyncio)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closed()

    async def aclose(self) -> None:
        """Enough: cut the upstream off. Harmless on a stream that has ended."""
        await self._closed()


OPTION_NAMES = frozenset({"timeout", "tenant", "tags", "cache", "fallback", "idempotency_key"})


def options(keywords: dict[str, Any], scope: Callable[[], Options]) -> Options | None:
    """
    Take the options of the call out of the keywords; what a keyword leaves open, the surrounding scope says.

    Returns:
        None if nothing was said, so that the common case makes no object.

    Raises:
        BadRequest: If an option has a wrong value.
    """
    if OPTION_NAMES.isdisjoint(keywords):
        return None
    base = scope()
    timeout = keywords.pop("timeout", None)
    tags = keywords.pop("tags", None)
    cache = keywords.pop("cache", None)
    key = keywords.pop("idempotency_key", None)
    return Options(
        timeout_s=base.timeout_s if timeout is None else _seconds("timeout", timeout),
        tenant=_text("tenant", keywords.pop("tenant", base.tenant)),
        tags=base.tags if tags is None else {**base.tags, **_tags(tags)},
        cache=base.cache if cache is None else _cache_control(cache),
        fallback=_yes_or_no("fallback", keywords.pop("fallback", base.fallback)),
        idempotency_key=base.idempotency_key if key is None else _header("idempotency_key", key),
    )


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRequest(f"{name}: {value!r} is not a duration; write seconds or a text like '20s'")
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: {error}") from None
    if math.isnan(seconds):
        raise BadRequest(f"{name}: NaN is not a duration")
    return seconds


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name}: expected a string, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name}: {LONE_SURROGATE}") from None
    return value


def _yes_or_no(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: expected True or False, got {value!r}")
    return value


def _header(name: str, value: object) -> str:
    text = _text(name, value)
    if not text.isascii() or not text.isprintable():
        raise BadRequest(f"{name}: travels in an HTTP header, which carries printable ASCII only")
    return text


def _tags(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise BadRequest("tags: expected a dict of strings")
    return {key: str(item) for key, item in value.items()}


def _cache_control(value: object) -> CacheControl:
    match value:
        case CacheControl():
            return value
        case True:
            return CacheControl(asked=True)
        case False:
            return CacheControl(read=False, write=False)
        case "no-cache":
            return CacheControl(read=False)
        case "no-store":
            return CacheControl(write=False)
        case Mapping():
            return _cache_mapping(value)
        case _:
            raise BadRequest(f"cache: {value!r} is none of True, False, 'no-cache', 'no-store', {{'ttl': …}}")


def _cache_mapping(value: Mapping[Any, Any]) -> CacheControl:
    unknown = set(value) - {"ttl", "max_age", "namespace"}
    if unknown:
        raise BadRequest(f"cache: unknown key {sorted(map(str, unknown))[0]!r}; there are ttl, max_age and namespace")
    ttl, max_age = value.get("ttl"), value.get("max_age")
    return CacheControl(
        asked=True,
        ttl_s=None if ttl is None else _seconds("cache.ttl", ttl),
        max_age_s=None if max_age is None else _seconds("cache.max_age", max_age),
        namespace=_text("cache.namespace", value.get("namespace", "")),
    )


def accept(verb: Verb, body: dict[str, Any], stream: bool = False) -> Request:
    """
    A request that can be sent: its messages are messages, and all of it is JSON.

    Raises:
        BadRequest: If not; the message says where and why.
    """
    if "stream" in body:
        raise BadRequest("stream: use gateway.stream(...) to read an answer in pieces")
    if verb == "chat":
        body["messages"] = _messages(body["messages"])
        if "response_format" in body:
            body["response_format"] = _response_format(body["response_format"])
    elif verb == "embed":
        given = body["input"]
        if given is None or (isinstance(given, Sequence) and not given):
            raise BadRequest("input: there is nothing to embed")
    elif verb == "complete" and body["prompt"] is None:
        raise BadRequest("prompt: expected a string or a list, got NoneType")
    return Request(verb, "", body, stream, _encoded(body))


def _encoded(body: Any) -> bytes:
    try:
        encoded = dumps(body)
    except (ValueError, TypeError) as error:
        raise BadRequest(_unsendable(body, str(error))) from None
    if len(encoded) > REQUEST_MAX_BYTES:
        raise BadRequest(f"the request is {len(encoded)} bytes long; at most {REQUEST_MAX_BYTES} can be sent")
    return encoded


def _messages(messages: object) -> list[Any]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if type(messages) is not list and (isinstance(messages, Mapping | bytes) or not isinstance(messages, Sequence)):
        raise BadRequest(f"messages: expected a string or a list of messages, got {type(messages).__name__}")
    if not messages:
        raise BadRequest("messages: the list is empty; there is nothing to answer")
    out: list[Any] = list(messages)
    for at, given in enumerate(out):
        message = given
        if type(message) is not dict:
            out[at] = message = _message(at, message)
        if "role" not in message or type(message["role"]) is not str:
            raise BadRequest(f"messages[{at}].role: missing; write 'system', 'user', 'assistant' or 'tool'")
    return out


def _message(at: int, message: object) -> dict[str, Any]:
    if isinstance(message, Message):
        return message.to_openai()
    if isinstance(message, Mapping):
        return dict(message)
    raise BadRequest(f"messages[{at}]: expected a dict or a Message, got {type(message).__name__}")


def _response_format(value: Any) -> Any:
    """A pydantic model stands for the JSON schema it describes."""
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        model = cast("type[BaseModel]", value)
        schema = {"name": model.__name__, "schema": _closed(model.model_json_schema()), "strict": True}
        return {"type": "json_schema", "json_schema": schema}
    return value


def _closed(schema: Any) -> Any:
    """The schema as strict output wants it: objects with every property required and no others allowed."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key != "default"}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed |= {"additionalProperties": False, "required": list(schema["properties"])}
    return closed


def _unsendable(value: Any, reason: str, path: str = "", depth: int = 0) -> str:
    """Where in the request it is that JSON cannot carry, found by looking again, piece by piece."""
    if depth > 100:
        return f"{path or 'the request'}: nested too deeply"
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{path}[{at}]", item) for at, item in enumerate(value)]
    for name, item in items:
        try:
            dumps(item)
        except (ValueError, TypeError) as error:
            return _unsendable(item, str(error), name, depth + 1)
    if "surrogates" in reason:
        reason = LONE_SURROGATE
    elif "float values are not JSON" in reason:
        reason = "NaN and Infinity are not JSON"
    elif "not JSON serializable" in reason:
        reason = f"a {type(value).__name__} is not JSON; give a str, number, bool, None, list or dict"
    return f"{path or 'the request'}: {reason}"


def passed(method: str, path: str, body: Any, rest: Mapping[str, Any]) -> Request:
    """
    A request that passes through as it is.

    Raises:
        BadRequest: If the method or the path is none, or the body is not JSON.
    """
    if rest:
        raise BadRequest(f"unknown keyword {sorted(rest)[0]!r}; give the body as json=…")
    if not isinstance(method, str) or not method.isalpha() or not method.isascii():
        raise BadRequest(f"method: {method!r} is no HTTP method")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or path.startswith("//")
        or not path.isascii()
        or not path.isprintable()
        or " " in path
    ):
        raise BadRequest(f"path: {path!r} must start with one slash and hold printable ASCII without spaces")
    encoded = b"" if body is None else _encoded(body)
    return Request("request", "", body, False, encoded, method.upper(), path)


async def discovered(door: Door, runtime: Runtime, names: Sequence[str]) -> Models:
    """What the named providers offer, together; who cannot say is left out unless nobody can."""
    found = Models()
    failed: list[GatewayError] = []
    for name in names:
        try:
            answer = cast(Models, await door.answer(runtime, name, Request("models", method="GET"), None))
        except GatewayError as error:
            failed.append(error)
            continue
        for model in answer.data:
            model.provider = name
        found.data += answer.data
        found.attempts = [*found.attempts, *answer.attempts]
    if failed and len(failed) == len(names):
        raise failed[0]
    return found
