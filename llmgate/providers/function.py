"""A callable of yours as a provider, and what its exceptions mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

from pydantic import Field

from ..errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    GatewayError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    UpstreamError,
    UpstreamTimeout,
)
from ..policies.timers import Timers
from ..runtime.callables import Pull, called, iterated
from ..types.call import Call, Handler
from ..types.redact import redacted
from ..types.reply import Reply
from ..types.response import Answer, Choice, Chunk, Embeddings, Response, Value
from .base import Provider, refuse_verb, timers_of

__all__ = ["Function", "FunctionFailed", "classified", "reply_from"]


class FunctionFailed(UpstreamError):
    """A wrapped function raised something that says nothing about retrying; the exception itself is the cause."""

    again = False
    blame = True
    kind = "function_failed"
    status = 500


class Function(Provider):
    """
    Any callable as a provider: `function(messages, **params)`.

    It may be plain, a coroutine function, a generator or an async generator, and return or yield text, a `Response`, a
    `Chunk`, or an OpenAI-shaped dict. `embedder(inputs, **params)` returns one list of floats an input.
    """

    kind = "function"

    function: Callable[..., Any] | None = Field(None, exclude=True, description="answers chats and completions")
    embedder: Callable[..., Any] | None = Field(None, exclude=True, description="answers embeddings")

    def __init__(self, function: Callable[..., Any] | None = None, **options: Any) -> None:
        super().__init__(function=function, **options)

    def label(self) -> str:
        return self.name or getattr(self.function or self.embedder, "__name__", self.kind)

    def bind(self, model: str, key: int = 0) -> Handler:
        return self._asked

    async def _asked(self, call: Call) -> Reply:
        body: dict[str, Any] = dict(call.request.body)
        match call.request.verb:
            case "chat" if self.function is not None:
                function, first = self.function, body.pop("messages")
            case "complete" if self.function is not None:
                function, first = self.function, body.pop("prompt")
            case "embed" if self.embedder is not None:
                vectors = await reply_from(call, self.embedder, (body.pop("input"),), body)
                return await _embeddings(vectors, call)
            case verb:
                able = {"chat": self.function, "complete": self.function, "embed": self.embedder}
                raise refuse_verb(self.label(), verb, frozenset(name for name, has in able.items() if has))
        return await reply_from(call, function, (first,), body, _chat_answer, _chunk)


async def _embeddings(reply: Reply, call: Call) -> Reply:
    answer = await reply.response()
    vectors = answer.value if isinstance(answer, Value) else answer
    if not isinstance(vectors, list) or not all(isinstance(vector, list) for vector in vectors):
        raise UpstreamError("the embedder must return a list of lists of floats")
    return Reply.of(Embeddings(vectors=vectors, model=call.request.model), deployment=call.deployment)


def _chat_answer(value: Any) -> Answer:
    """The answer that a chat function's result stands for."""
    match value:
        case Answer():
            return value
        case str():
            return Response(choices=[Choice(text=value, finish_reason="stop")])
        case {"choices": [{"message": {}}, *_]}:
            from ..dialects import dialect_named
            from ..dialects.base import Quirks
            from ..types.request import Request
            from ..types.wire import dumps

            return dialect_named("openai_chat").read_response(Request("chat"), dumps(value), Quirks())
        case _ if hasattr(value, "model_dump"):
            # The SDKs' own answers are pydantic models of the same shape.
            return _chat_answer(value.model_dump())
        case _:
            raise UpstreamError(
                f"the function returned a {type(value).__name__}; return text, a Response or an OpenAI-shaped dict"
            )


def _item(item: Any) -> Chunk:
    return Chunk(items=(item,))


def _chunk(item: Any) -> Chunk:
    """The piece of an answer that a chat function's item stands for."""
    match item:
        case Chunk():
            return item
        case str():
            return Chunk(text=item)
        case _:
            raise UpstreamError(f"the function yielded a {type(item).__name__}; yield text or a Chunk")


def _value(value: Any) -> Answer:
    return value if isinstance(value, Answer) else Value(value=value)


async def reply_from(
    call: Call,
    function: Callable[..., Any],
    args: Sequence[Any],
    keywords: dict[str, Any],
    read: Callable[[Any], Answer] = _value,
    piece: Callable[[Any], Chunk] = _item,
) -> Reply:
    """
    Run a callable of any kind and make a reply of what it returns or yields.

    Raises:
        GatewayError: What its exception means; the exception is the cause.
    """
    timers = timers_of(call)
    try:
        result = await called(call.runtime, timers.until, function, args, keywords)
        if isinstance(result, Iterator | AsyncIterator):
            return await _streamed(call, timers, piece, *iterated(call.runtime, result))
        answer = read(result)
    except TimeoutError as error:
        expired = timers.expired(call.runtime.now())
        raise expired if call.runtime.now() >= timers.until else classified(error) from error
    except GatewayError:
        raise
    except Exception as error:
        raise classified(error) from error
    return Reply.of(answer, deployment=call.deployment)


async def _streamed(
    call: Call, timers: Timers, piece: Callable[[Any], Chunk], pull: Pull, close: Callable[[], Awaitable[None]]
) -> Reply:
    over = False

    async def source() -> Sequence[Chunk]:
        nonlocal over
        if over:
            return ()
        now = call.runtime.now
        try:
            more, item = await pull(timers.until)
        except TimeoutError as error:
            expired = timers.expired(now())
            raise expired if now() >= timers.until else classified(error) from error
        except GatewayError:
            raise
        except Exception as error:
            raise classified(error) from error
        if not more:
            over = True
            # A generator that returns has said all it wanted: that is its terminal event.
            return ()
        timers.bytes_came(now())
        timers.content_came(now())
        return (piece(item),)

    try:
        first = await source()
    except BaseException:
        await close()
        raise
    reply = Reply(first, source, close, deployment=call.deployment)
    reply.first_token_s = timers.first_token_s
    return reply


BY_STATUS: dict[int, type[GatewayError]] = {
    400: BadRequest, 401: AuthenticationFailed, 403: PermissionDenied, 404: ModelNotFound, 408: UpstreamTimeout,
    413: BadRequest, 422: BadRequest, 429: RateLimited, 503: Overloaded, 504: UpstreamTimeout, 529: Overloaded,
}  # fmt: skip


def classified(error: Exception) -> GatewayError:
    """
    What an exception of somebody else's code means.

    The SDKs' errors carry a `status_code`; connection errors and time-outs are told by their standard base classes, or,
    for HTTP libraries that have their own, by the class's name.
    """
    status = getattr(error, "status_code", None)
    said = redacted(f"{type(error).__name__}: {error}")
    if isinstance(status, int) and 400 <= status < 600:
        kind = BY_STATUS.get(status, UpstreamError if status >= 500 or status == 409 else BadRequest)
        return kind(said, status=status, retry_after=_retry_after(error))
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, TimeoutError) or names & {"TimeoutException", "APITimeoutError"}:
        return UpstreamTimeout(said, timer="function")
    if isinstance(error, ConnectionError) or names & {"TransportError", "APIConnectionError", "ClientConnectionError"}:
        return ConnectionFailed(said)
    return FunctionFailed(said)


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    from ..policies.server_delay import server_delay

    try:
        return server_delay({str(name).lower(): str(value) for name, value in headers.items()})
    except (AttributeError, TypeError, ValueError):
        return None


