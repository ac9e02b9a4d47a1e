"""A callable of yours as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..dialects import dialect_named
from ..dialects.base import Quirks, StreamReader
from ..errors import UpstreamError
from ..policies.routing import FEATURES, VERB_NEEDS
from ..types.call import Call, Handler
from ..types.reply import Reply
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Chunk, Embeddings, Response
from ..types.wire import dumps
from .asking import reply_from
from .base import ModelInfo, Provider, refuse_verb

__all__ = ["Function"]

OPENAI, ANTHROPIC = "openai_chat", "anthropic_messages"


class Function(Provider):
    """
    Any callable as a provider: `function(messages, **params)`.

    It may be plain, a coroutine function, a generator or an async generator, and return or yield text, a `Response` or
    `Chunk`, a dict in OpenAI's or Anthropic's shape, or what their SDKs return, their streams included.
    `embedder(inputs, **params)` returns a list of floats for each input.

    What it raises is read as the SDKs mean it (`status_code`, time-outs, lost connections); any other exception is an
    `UpstreamError` that is not tried again, with the exception as its cause.
    """

    kind = "function"

    function: Callable[..., Any] | None = Field(default=None, exclude=True, description="answers chats and completions")
    embedder: Callable[..., Any] | None = Field(default=None, exclude=True, description="answers embeddings")

    if TYPE_CHECKING:

        def __init__(
            self,
            function: Callable[..., Any] | None = None,
            *,
            embedder: Callable[..., Any] | None = None,
            name: str = "",
            models: dict[str, ModelInfo] | dict[str, dict[str, Any]] | None = None,
            region: str = "",
        ) -> None: ...

    else:

        def __init__(self, function: Callable[..., Any] | None = None, **options: Any) -> None:
            super().__init__(function=function, **options)

    def label(self) -> str:
        own = getattr(self.function or self.embedder, "__name__", "")
        return self.name or (own if own.isidentifier() else self.kind)

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        # What a function makes of tools and images only its author knows.
        texts = VERB_NEEDS["chat"] | VERB_NEEDS["complete"] if self.function is not None else frozenset[str]()
        return FEATURES | texts | (VERB_NEEDS["embed"] if self.embedder is not None else frozenset())

    def bind(self, model: str, key: int = 0) -> Handler:
        return self._asked

    async def _asked(self, call: Call) -> Reply:
        body: dict[str, Any] = dict(call.request.body or {})
        match call.request.verb:
            case "chat" if self.function is not None:
                return await reply_from(call, self.function, (body.pop("messages"),), body, reading=_Chat())
            case "complete" if self.function is not None:
                return await reply_from(call, self.function, (body.pop("prompt"),), body, reading=_Chat())
            case "embed" if self.embedder is not None:
                return await reply_from(call, self.embedder, (body.pop("input"),), body, reading=_Vectors())
            case verb:
                able = {"chat": self.function, "complete": self.function, "embed": self.embedder}
                raise refuse_verb(self.label(), verb, frozenset(name for name, has in able.items() if has))


class _Chat:
    """Reads what a chat function returns or yields."""

    def __init__(self) -> None:
        self._reader: StreamReader | None = None

    def follows(self, result: object) -> bool:
        return isinstance(result, Iterator | AsyncIterator)

    def whole(self, result: Any) -> Answer:
        match _plain(result):
            case Answer() as answer:
                return answer
            case str() as text:
                return Response(choices=[Choice(text=text, finish_reason="stop")])
            case {"choices": _} as completion:
                return _read(OPENAI, "chat", completion)
            case {"type": "message", "content": _} as message:
                return _read(ANTHROPIC, "chat", message)
            case {"content": _} as message:
                return _read(OPENAI, "chat", {"choices": [{"message": message, "finish_reason": "stop"}]})
        raise UpstreamError(
            f"the function returned a {type(result).__name__}; return text, a Response or a dict in OpenAI's shape"
        )

    def pieces(self, item: Any) -> Sequence[Chunk]:
        match _plain(item):
            case Chunk() as chunk:
                return (chunk,)
            case str() as text:
                return (Chunk(text=text),)
            case {"choices": _} as event:
                return self._fed(OPENAI, b"data: " + dumps(event) + b"\n\n")
            case {"type": str(kind)} as event:
                return self._fed(ANTHROPIC, f"event: {kind}\n".encode() + b"data: " + dumps(event) + b"\n\n")
        raise UpstreamError(f"the function yielded a {type(item).__name__}; yield text, a Chunk or an SDK's event")

    def _fed(self, dialect: str, event: bytes) -> Sequence[Chunk]:
        if self._reader is None:
            self._reader = dialect_named(dialect).reader(Request("chat", stream=True), Quirks())
        return self._reader.feed(event)


class _Vectors:
    """Reads what an embedder returns."""

    def follows(self, result: object) -> bool:
        return False

    def whole(self, result: Any) -> Answer:
        match _plain(result):
            case Embeddings() as answer:
                return answer
            case {"data": _} as answer:
                return _read(OPENAI, "embed", answer)
            case list() | tuple() as vectors:
                rows = [_plain(vector) for vector in vectors]
                if all(isinstance(row, list) for row in rows):
                    return Embeddings(vectors=rows)
        raise UpstreamError(f"the embedder returned a {type(result).__name__}; return a list of floats for each input")

    def pieces(self, item: Any) -> Sequence[Chunk]:
        raise AssertionError("an embedder's result is not followed")


def _plain(value: Any) -> Any:
    """The SDKs' answers, which are pydantic models, as dicts, and arrays as lists."""
    if isinstance(value, Answer | Chunk | str | dict | list | tuple):
        return value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return value.tolist() if hasattr(value, "tolist") else value


def _read(dialect: str, verb: Verb, value: Any) -> Answer:
    return dialect_named(dialect).read_response(Request(verb), dumps(value), Quirks())
