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

from pydantic_core import from_json

from ..errors import BadRequest, GatewayError, StreamInterrupted
from ..types.call import CacheControl, Call, Options
from ..types.reply import Reply
from ..types.request import Message, Request, Verb
from ..types.response import Answer, Chunk, Embeddings, Folder, Models, RawResponse, Response, explode
from ..types.runtime import Runtime
from ..types.units import parse_duration, shown
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
        if self._whole is None:
            self._whole = self._folder.response()
        return cast(Response, attributed(self._whole, reply, call))

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
    tenant = keywords.pop("tenant", None)
    tags = keywords.pop("tags", None)
    cache = keywords.pop("cache", None)
    fallback = keywords.pop("fallback", None)
    key = keywords.pop("idempotency_key", None)
    return Options(
        timeout_s=base.timeout_s if timeout is None else _timeout(timeout),
        tenant=base.tenant if tenant is None else _text("tenant", tenant),
        tags=base.tags if tags is None else {**base.tags, **_tags(tags)},
        cache=base.cache if cache is None else _cache_control(cache),
        fallback=base.fallback if fallback is None else _yes_or_no("fallback", fallback),
        idempotency_key=base.idempotency_key if key is None else _header("idempotency_key", key),
    )


def _timeout(value: object) -> float:
    if isinstance(value, int | float):
        # What is left of somebody's time may be less than nothing, or unlimited.
        if value < 0:
            return 0.0
        if value == math.inf:
            return value
    return _duration("timeout", value)


def _duration(name: str, value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


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
        raise BadRequest(f"{name}: expected True or False, got {shown(value)}")
    return value


def _header(name: str, value: object) -> str:
    text = _text(name, value)
    if not text.isascii() or not text.isprintable() or text != text.strip() or not text:
        raise BadRequest(f"{name}: travels in an HTTP header, which carries printable ASCII without spaces around it")
    return text


def _tags(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise BadRequest("tags: expected a dict of strings")
    return {_text("tags", key): _text(f"tags{_step(key)}", str(item)) for key, item in value.items()}


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
            raise BadRequest(f"cache: {shown(value)} is none of True, False, 'no-cache', 'no-store', {{'ttl': …}}")


def _cache_mapping(value: Mapping[Any, Any]) -> CacheControl:
    unknown = set(value) - {"ttl", "max_age", "namespace"}
    if unknown:
        first = shown(sorted(map(str, unknown))[0])
        raise BadRequest(f"cache: unknown key {first}; there are ttl, max_age and namespace")
    ttl, max_age, namespace = value.get("ttl"), value.get("max_age"), value.get("namespace")
    return CacheControl(
        asked=True,
        ttl_s=None if ttl is None else _duration("cache.ttl", ttl),
        max_age_s=None if max_age is None else _duration("cache.max_age", max_age),
        namespace="" if namespace is None else _text("cache.namespace", namespace),
    )


def accept(verb: Verb, body: dict[str, Any], stream: bool = False) -> Request:
    """
    A request that can be sent: its messages are messages, and all of it is JSON. It shares nothing with what was given,
    so the caller may go on with the conversation while the request waits.

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
        _text_or_list("input", given)
    elif verb == "complete":
        _text_or_list("prompt", body["prompt"])
    body, encoded = _sendable(body)
    return Request(verb, "", body, stream, encoded)


def _text_or_list(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise BadRequest(f"{name}: expected a string or a list, got {type(value).__name__}")


def _sendable(body: Any) -> tuple[Any, bytes]:
    """The body as those who read the request will see it, and as it is sent."""
    try:
        encoded = dumps(body)
        if len(encoded) > REQUEST_MAX_BYTES:
            raise BadRequest(f"the request is {len(encoded)} bytes long; at most {REQUEST_MAX_BYTES} can be sent")
        return from_json(encoded), encoded
    except (ValueError, TypeError) as error:
        raise BadRequest(_unsendable(body, str(error))) from None


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
        if not isinstance(message.get("role"), str):
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
        from pydantic import PydanticUserError

        from ..types.schemas import strict_format

        try:
            return strict_format(cast("type[BaseModel]", value))
        except PydanticUserError as error:
            raise BadRequest(f"response_format: {value.__name__} has no JSON schema: {error.message}") from None
    return value


def _unsendable(value: Any, reason: str, path: str = "", around: tuple[int, ...] = ()) -> str:
    """Where in the request it is that JSON cannot carry, found by looking again, piece by piece."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    for key, item in items:
        try:
            from_json(dumps(item))
        except (ValueError, TypeError) as error:
            inside = (*around, id(value))
            if id(item) in inside:
                reason, path = "it holds itself", path + _step(key)
            elif len(around) == SHOWN_DEPTH:
                reason = str(error)
            else:
                return _unsendable(item, str(error), path + _step(key), inside)
            break
    for word, sentence in UNSENDABLE.items():
        if word in reason:
            reason = sentence.format(type=reason.removeprefix("Object of type ").partition(" ")[0])
    return f"{path.removeprefix('.') or 'the request'}: {reason}"


SHOWN_DEPTH = 16  # steps of a path that are still read by people
UNSENDABLE = {
    "surrogates": LONE_SURROGATE,
    "float values are not JSON": "NaN and Infinity are not JSON",
    "not JSON serializable": "a {type} is not JSON; give a str, number, bool, None, list or dict",
    "recursion limit": "nested too deeply",
    "Circular reference": "it holds itself",
}
"""What to say in place of what the writer and the reader of JSON say."""


def _step(key: object) -> str:
    """One step of a path."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() and len(key) < 40 else f"[{shown(key)}]"


def passed(method: str, path: str, body: Any, rest: Mapping[str, Any]) -> Request:
    """
    A request that passes through as it is.

    Raises:
        BadRequest: If the method or the path is none, or the body is not JSON.
    """
    if rest:
        raise BadRequest(f"unknown keyword {shown(sorted(rest)[0])}; give the body as json=…")
    if not isinstance(method, str) or not method.isalpha() or not method.isascii():
        raise BadRequest(f"method: {shown(method)} is no HTTP method")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or path.startswith("//")
        or not path.isascii()
        or not path.isprintable()
        or " " in path
        or "#" in path
    ):
        raise BadRequest(f"path: {shown(path)} must start with one slash and hold printable ASCII without spaces and #")
    body, encoded = (None, b"") if body is None else _sendable(body)
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
