"""The edge: where a caller's words become a call, and a reply becomes an answer.

Both faces stand here side by side, `Face` for plain threads and `AsyncFace` for asyncio; each verb is one
line in each, and everything they have in common is in `accepting` and `Door`. Only here is a stream folded
into a response, and only here is a call driven.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, cast

from ..errors import GatewayError, StreamInterrupted
from ..types.call import Call, Options
from ..types.reply import Reply
from ..types.request import Message, Request
from ..types.response import Answer, Chunk, Embeddings, Folder, Models, RawResponse, Response, explode
from ..types.runtime import Runtime
from .accepting import accept, options, passed
from .drive import drive
from .media import AsyncMediaFace, MediaFace

__all__ = ["AsyncFace", "AsyncStream", "Door", "Face", "Messages", "Stream", "Timeout", "discovered"]

DEFAULT_OPTIONS = Options()

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
            options = self._scope() or self._defaults
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


class Face(MediaFace):
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
                `fallback` (False: no other deployment), `idempotency_key` and `unsupported` (`"drop"`: what an upstream
                has no words for is left out).

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


class AsyncFace(AsyncMediaFace):
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
