"""What comes back: whole answers, pieces of answers, and the two laws between them.

`fold` makes an answer of its pieces, `explode` makes pieces of an answer, and
`fold(explode(response)) == response` (law: tests/laws/test_fold.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from .sketch import sketched
from .usage import Usage
from .wire import loads

if TYPE_CHECKING:
    from .call import Attempt

__all__ = [
    "Answer",
    "Choice",
    "Chunk",
    "Embeddings",
    "Folder",
    "Model",
    "Models",
    "RawResponse",
    "Response",
    "ToolCall",
    "Value",
    "explode",
    "fold",
    "leave_unread",
    "unread",
]

FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "error", "function_call")


@dataclass(slots=True, repr=False)
class ToolCall:
    """
    One call of a tool, or, in a chunk, one piece of it.

    Attributes:
        id: The call's id; empty in a piece that only continues a call.
        name: The tool's name; empty in a piece that only continues a call.
        arguments: JSON as the model wrote it; in a chunk the next part of it.
        index: Which of several parallel calls this is.
        extra: More keys of the call that the upstream wants back in the next turn (Google's thought signatures in
            `extra_content`; `type` of a tool that is no function).
    """

    id: str = ""
    name: str = ""
    arguments: str = ""
    index: int = 0
    extra: dict[str, Any] | None = None

    def parsed(self) -> Any:
        """
        The arguments as Python values; no arguments at all are `{}`.

        Raises:
            ValueError: If the model wrote something that is not JSON.
        """
        return loads(self.arguments) if self.arguments.strip() else {}

    def to_openai(self) -> dict[str, Any]:
        extra = self.extra or {}
        if extra.get("type") == "custom":
            return {"id": self.id, "custom": {"name": self.name, "input": self.arguments}} | extra
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function} | extra

    __repr__ = sketched


@dataclass(slots=True, repr=False)
class Choice:
    """
    One of the answers the model gave; most requests ask for one.

    Attributes:
        native_finish_reason: The upstream's own word, where it differs.
        extra: More keys of the message that are worth sending back in the next turn
            (`thinking_blocks` of Anthropic, `reasoning_details` of OpenRouter).
    """

    index: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    refusal: str | None = None
    citations: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> dict[str, Any]:
        """The message in OpenAI's shape, ready to be appended to the conversation."""
        text: str | None = self.text
        if not text and (self.tool_calls or self.refusal):
            text = None
        out: dict[str, Any] = {"role": "assistant", "content": text}
        if self.tool_calls:
            out["tool_calls"] = [call.to_openai() for call in self.tool_calls]
        if self.refusal is not None:
            out["refusal"] = self.refusal
        if self.reasoning:
            out["reasoning_content"] = self.reasoning
        return out | self.extra

    __repr__ = sketched


class _Unread:
    """Where an answer keeps the upstream's own JSON until somebody asks for it."""

    __slots__ = ("_unread",)

    _unread: bytes
    raw: Any


@dataclass(slots=True, kw_only=True, repr=False)
class Answer(_Unread):
    """
    What every verb returns: the upstream's answer and how it came about.

    Attributes:
        id: The upstream's id of the answer.
        model: The model that answered, as the upstream names it.
        usage: Tokens; each count None where the upstream sent none.
        raw: The upstream's own JSON; for a stream None, its chunks have theirs.
        provider: Name of the provider that answered.
        deployment: Name of the deployment that answered, `provider/model`.
        cached: Which tier of the cache answered (`memory`, `disk`, …), or None.
        attempts: One record for every upstream attempt of the call, in order.
        request_id: The upstream's id of the HTTP request.
        priced: Computes the cost when somebody asks for it; prices are loaded only then.
        wire: The upstream's own body, where somebody may want to hand it on (`Reply.spoken`).
        spoken: Name of the wire format that it is in.
    """

    id: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    raw: Any = field(default=None, compare=False, repr=False)
    provider: str = field(default="", compare=False)
    deployment: str = field(default="", compare=False)
    cached: str | None = field(default=None, compare=False)
    attempts: Sequence[Attempt] = field(default=(), compare=False, repr=False)
    request_id: str | None = field(default=None, compare=False, repr=False)
    priced: Callable[[Answer], Decimal | None] | None = field(default=None, compare=False, repr=False)
    wire: bytes | None = field(default=None, compare=False, repr=False)
    spoken: str = field(default="", compare=False, repr=False)

    @property
    def cost(self) -> Decimal | None:
        """US dollars: the upstream's own figure, else tokens times price, else None; 0 for a cached answer."""
        return self.priced(self) if self.priced is not None else self.usage.cost

    def __reduce__(self) -> tuple[Any, ...]:
        # A price list does not travel; the cost computed from it does.
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.priced is not None:
            values["priced"] = partial(_priced, self.cost)
        return _unpickled, (type(self), values)

    __repr__ = sketched


def leave_unread(answer: _Unread, raw: bytes) -> None:
    """Have `answer.raw` be read from this JSON as soon as somebody asks for it."""
    answer._unread = raw
    del answer.raw


def unread(answer: Answer) -> bytes | None:
    """The upstream's own JSON, if nobody has asked for `answer.raw` yet."""
    try:
        _RAW.__get__(answer)
    except AttributeError:
        return answer._unread
    return None


def _raw_of(answer: Answer) -> Any:
    try:
        return _RAW.__get__(answer)
    except AttributeError:
        answer.raw = raw = loads(answer._unread)
        return raw


# Only `raw` pays for being looked up: with a `__getattr__` every look at anything of an answer would.
_RAW: Any = Answer.__dict__["raw"]
type.__setattr__(Answer, "raw", property(_raw_of, _RAW.__set__, _RAW.__delete__))


def _unpickled(cls: type[Answer], values: dict[str, Any]) -> Answer:
    return cls(**values)


def _priced(cost: Decimal | None, answer: Answer) -> Decimal | None:
    """The cost of an answer that was computed before it travelled."""
    return cost


@dataclass(slots=True, kw_only=True, repr=False)
class Response(Answer):
    """
    The answer to a chat or a text completion. The shortcuts speak of the first choice.

    Attributes:
        created: When it was made, seconds since 1970, as the upstream says.
    """

    choices: list[Choice] = field(default_factory=lambda: [Choice()])
    created: int | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        return self.choices[0].text if self.choices else ""

    @property
    def message(self) -> dict[str, Any]:
        return self.choices[0].message if self.choices else {"role": "assistant", "content": None}

    @property
    def tool_calls(self) -> list[ToolCall]:
        return self.choices[0].tool_calls if self.choices else []

    @property
    def reasoning(self) -> str:
        return self.choices[0].reasoning if self.choices else ""

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason if self.choices else None

    @property
    def refusal(self) -> str | None:
        return self.choices[0].refusal if self.choices else None

    @property
    def citations(self) -> list[str]:
        return self.choices[0].citations if self.choices else []

    def to_openai(self) -> dict[str, Any]:
        """A dict that `openai.types.chat.ChatCompletion` validates."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": int(time.time()) if self.created is None else self.created,
            "model": self.model,
            "choices": [
                {
                    "index": choice.index,
                    "message": choice.message,
                    "finish_reason": _openai_finish(choice.finish_reason),
                    "logprobs": choice.logprobs,
                }
                for choice in self.choices
            ],
            "usage": _openai_usage(self.usage),
        }


@dataclass(slots=True, kw_only=True, repr=False)
class Embeddings(Answer):
    """The answer to `embed`: one vector an input, in the order of the inputs."""

    vectors: list[list[float]] = field(default_factory=list, repr=False)


@dataclass(slots=True, repr=False)
class Model:
    """One model a provider offers. `context_window` is in tokens, None where the provider does not say."""

    id: str
    provider: str = ""
    created: int | None = None
    owned_by: str | None = None
    context_window: int | None = None
    raw: Any = field(default=None, repr=False, compare=False)

    __repr__ = sketched


@dataclass(slots=True, kw_only=True, repr=False)
class Models(Answer):
    """The answer to `models`; iterates over `data`."""

    data: list[Model] = field(default_factory=list)

    def __iter__(self) -> Iterator[Model]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, model: object) -> bool:
        """Whether it is offered, by its id or as it stands in the list."""
        return any(model in (offered.id, offered) for offered in self.data)


@dataclass(slots=True, kw_only=True, repr=False)
class RawResponse(Answer):
    """
    The answer to `request`: what the provider sent, unread.

    Attributes:
        status: HTTP status.
        headers: Header names in lower case and their values.
        content: The body's bytes.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)

    def json(self) -> Any:
        """
        The body as JSON.

        Raises:
            ValueError: If it is something else.
        """
        return loads(self.content)


@dataclass(slots=True, kw_only=True, repr=False)
class Value(Answer):
    """What a wrapped function returned, if that is none of the above; of a generator, the list of what it yielded."""

    value: Any = None


@dataclass(slots=True, repr=False)
class Chunk:
    """
    One piece of an answer. An upstream's event about several choices becomes several chunks.

    Attributes:
        text: The next part of the text.
        reasoning: The next part of the reasoning.
        tool_calls: The next parts of tool calls, told apart by `index`.
        finish_reason: Why this choice ended, on its last piece.
        usage: Token counts, as soon as the upstream sends some.
        index: The choice this piece belongs to; -1 if it belongs to none (a usage alone).
        raw: The upstream's own event as JSON.
        items: What a wrapped generator yielded; such chunks fold into a `Value`.
        whole: An answer in one piece. Such a chunk stands alone in its stream; its other fields are empty.
        wire: The upstream's own bytes that came with it, framing included, where somebody may want to hand them on
            (`Reply.spoken`).
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    index: int = 0
    id: str = ""
    model: str = ""
    refusal: str | None = None
    citations: Sequence[str] = ()
    native_finish_reason: str | None = None
    logprobs: Any = None
    extra: dict[str, Any] | None = None
    created: int | None = field(default=None, compare=False)
    raw: Any = field(default=None, repr=False, compare=False)
    items: Sequence[Any] | None = None
    whole: Answer | None = None
    wire: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def has_content(self) -> bool:
        """Whether it brings something the caller wants; a role, a ping or a usage alone does not."""
        return bool(
            self.text
            or self.reasoning
            or self.tool_calls
            or self.finish_reason
            or self.refusal
            or self.items is not None
            or self.whole is not None
        )

    def to_openai(self) -> dict[str, Any]:
        """A dict that `openai.types.chat.ChatCompletionChunk` validates."""
        delta: dict[str, Any] = {}
        if self.text:
            delta["content"] = self.text
        if self.reasoning:
            delta["reasoning_content"] = self.reasoning
        if self.refusal is not None:
            delta["refusal"] = self.refusal
        if self.tool_calls:
            delta["tool_calls"] = [_openai_tool_delta(call) for call in self.tool_calls]
        if self.extra:
            delta |= self.extra
        out: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": int(time.time()) if self.created is None else self.created,
            "model": self.model,
            "choices": [],
        }
        # OpenAI sends the usage in a chunk of its own, without choices.
        if self.index >= 0 and (self.usage is None or delta or self.finish_reason is not None):
            finish = None if self.finish_reason is None else _openai_finish(self.finish_reason)
            out["choices"] = [{"index": self.index, "delta": delta, "finish_reason": finish}]
            if self.logprobs is not None:
                out["choices"][0]["logprobs"] = self.logprobs
        if self.usage is not None:
            out["usage"] = _openai_usage(self.usage)
        return out

    __repr__ = sketched


def _openai_finish(reason: str | None) -> str:
    """The nearest word that OpenAI's own types accept."""
    return reason if reason in ("stop", "length", "tool_calls", "content_filter", "function_call") else "stop"


def _openai_tool_delta(call: ToolCall) -> dict[str, Any]:
    extra = call.extra or {}
    sort, written = ("custom", "input") if extra.get("type") == "custom" else ("function", "arguments")
    out: dict[str, Any] = {"index": call.index, sort: {written: call.arguments}}
    if call.name:
        out[sort]["name"] = call.name
    if call.id:
        out |= {"id": call.id, "type": sort}
    return out | extra


def _openai_usage(usage: Usage) -> dict[str, Any] | None:
    """As OpenAI writes it; a detail that nobody counted is left out."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    out: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens or 0,
    }
    read = {"cached_tokens": usage.cache_read_tokens, "audio_tokens": usage.input_audio_tokens}
    written = {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": usage.output_audio_tokens}
    for name, details in (("prompt_tokens_details", read), ("completion_tokens_details", written)):
        known = {key: count for key, count in details.items() if count is not None}
        if known:
            out[name] = known
    return out


def explode(response: Response) -> list[Chunk]:
    """
    The pieces a stream would have brought: for each choice its reasoning, its text, its tool calls
    and its end, and the usage at last. They share nothing with the response that could be changed.

    Choices or tool calls that have a number twice, because whoever made them gave none, are numbered anew;
    else their pieces would be taken for pieces of one.
    """
    chunks: list[Chunk] = []
    for index, choice in zip(_numbers(response.choices), response.choices, strict=True):
        at: dict[str, Any] = {"id": response.id, "model": response.model, "created": response.created, "index": index}
        if choice.reasoning:
            chunks.append(Chunk(reasoning=choice.reasoning, **at))
        if choice.text:
            chunks.append(Chunk(text=choice.text, **at))
        for number, call in zip(_numbers(choice.tool_calls), choice.tool_calls, strict=True):
            chunks.append(Chunk(tool_calls=[replace(call, index=number, extra=_copied(call.extra))], **at))
        chunks.append(
            Chunk(
                refusal=choice.refusal,
                citations=tuple(choice.citations),
                finish_reason=choice.finish_reason,
                native_finish_reason=choice.native_finish_reason,
                logprobs=_copied(choice.logprobs),
                extra=_copied(choice.extra) or None,
                **at,
            )
        )
    if response.usage or not response.choices:
        usage = replace(response.usage)
        chunks.append(Chunk(usage=usage, index=-1, id=response.id, model=response.model, created=response.created))
    return chunks


def _numbers(pieces: Sequence[Choice] | Sequence[ToolCall]) -> Sequence[int]:
    """Their own numbers if those tell them apart, else their places."""
    own = [piece.index for piece in pieces]
    return own if len({*own}) == len(own) and min(own, default=0) >= 0 else range(len(own))


def fold(chunks: Iterable[Chunk]) -> Answer:
    """
    The answer that the pieces make.

    Text, reasoning and arguments are joined, usage is the maximum of what was reported, and every other
    field keeps the last value that says something. A chunk with `whole` is the answer itself.
    """
    folder = Folder()
    folder.extend(chunks)
    return folder.answer()


class Folder:
    """
    Folds a stream as it passes. What was fed may be changed afterwards, and so may an answer that was given: the
    folder holds on to neither.
    """

    __slots__ = ("_choices", "_created", "_id", "_items", "_model", "_usage", "_whole")

    def __init__(self) -> None:
        self._id = self._model = ""
        self._created: int | None = None
        self._usage: Usage | None = None
        self._choices: dict[int, _Parts] = {}
        self._items: list[Any] | None = None
        self._whole: Answer | None = None

    def feed(self, chunk: Chunk) -> None:
        self.extend((chunk,))

    def extend(self, chunks: Iterable[Chunk]) -> None:
        # Every chunk of every stream passes here, some of them thrice: no call that is not needed.
        for chunk in chunks:
            if chunk.id and not self._id:
                self._id = chunk.id
            if chunk.model:
                self._model = chunk.model
            if self._created is None:
                self._created = chunk.created
            if chunk.usage is not None:
                self._usage = chunk.usage.max(self._usage)
            index = chunk.index
            if index >= 0:
                parts = self._choices[index] if index in self._choices else self._choice(index)
                if chunk.text:
                    parts.text.append(chunk.text)
                if (
                    chunk.reasoning
                    or chunk.tool_calls
                    or chunk.finish_reason is not None
                    or chunk.refusal is not None
                    or chunk.citations
                    or chunk.native_finish_reason is not None
                    or chunk.logprobs is not None
                    or chunk.extra
                ):
                    parts.add(chunk)
            if chunk.items is not None:
                self._items = [*(self._items or ()), *chunk.items]
            if chunk.whole is not None:
                self._whole = chunk.whole

    def _choice(self, index: int) -> _Parts:
        parts = self._choices[index] = _Parts(index)
        return parts

    def answer(self) -> Answer:
        """The answer so far: the whole one, what a wrapped generator yielded, or a response."""
        if self._whole is not None:
            return self._whole
        return self.response() if self._items is None else Value(value=[*self._items])

    def response(self) -> Response:
        """The response so far."""
        return Response(
            id=self._id,
            model=self._model,
            created=self._created,
            usage=Usage() if self._usage is None else replace(self._usage),
            choices=[self._choices[index].choice() for index in sorted(self._choices)],
        )


class _Parts:
    """The pieces of one choice."""

    __slots__ = ("_calls", "_choice", "_reasoning", "text")

    def __init__(self, index: int) -> None:
        self.text: list[str] = []
        self._choice = Choice(index=index)
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[ToolCall, list[str]]] = {}

    def add(self, chunk: Chunk) -> None:
        """Everything but the text."""
        choice = self._choice
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        for piece in chunk.tool_calls:
            self._add_call(piece)
        if chunk.refusal is not None:
            choice.refusal = (choice.refusal or "") + chunk.refusal
        if chunk.citations:
            choice.citations += [url for url in chunk.citations if url not in choice.citations]
        if chunk.finish_reason is not None:
            choice.finish_reason = chunk.finish_reason
        if chunk.native_finish_reason is not None:
            choice.native_finish_reason = chunk.native_finish_reason
        if chunk.logprobs is not None:
            choice.logprobs = _grown(choice.logprobs, chunk.logprobs)
        if chunk.extra:
            choice.extra = _grown(choice.extra, chunk.extra)

    def _add_call(self, piece: ToolCall) -> None:
        known = self._calls.get(piece.index)
        if known is None:
            self._calls[piece.index] = replace(piece, arguments="", extra=_copied(piece.extra)), [piece.arguments]
            return
        call, arguments = known
        # Some upstreams repeat the name with every piece; a name is set, never joined.
        call.id = call.id or piece.id
        call.name = call.name or piece.name
        if piece.extra:
            call.extra = _grown(call.extra, piece.extra)
        arguments.append(piece.arguments)

    def choice(self) -> Choice:
        own = self._choice
        return replace(
            own,
            text="".join(self.text),
            reasoning="".join(self._reasoning),
            tool_calls=[
                replace(call, arguments="".join(parts), extra=_copied(call.extra))
                for call, parts in self._calls.values()
            ],
            citations=[*own.citations],
            logprobs=_copied(own.logprobs),
            extra=_copied(own.extra),
        )


def _grown(own: Any, new: Any) -> Any:
    """Lists and dicts of our own grow by a copy of what is new; whatever else is replaced by its newer value."""
    if isinstance(own, dict) and isinstance(new, dict):
        for key, value in new.items():
            own[key] = _grown(own.get(key), value)
        return own
    if isinstance(own, list) and isinstance(new, list):
        own += _copied(new)
        return own
    return own if new is None else _copied(new)


def _copied(value: Any) -> Any:
    """JSON that shares no list and no dict with the value."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
