"""
Text completions on Bedrock: models that continue a text, each maker's in words of its own.

What they call things is data (`bedrock_makers`); how a completion is asked for, answered and streamed is one text. A
maker's own parameters pass as they are. An OpenAI parameter for which a maker has no word is refused by name, unless
its value asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest, StreamInterrupted
from ..types.request import Request
from ..types.response import Choice, Chunk, Response
from ..types.usage import Usage
from .answering import pieces
from .bedrock_makers import Maker, of_body
from .openai_words import Json
from .shapes import MISSHAPEN, misshapen
from .unsaid import HINTS, refused

__all__ = ["METRICS", "Reader", "Writer", "counts_of", "read_answer", "read_complete", "write_answer", "write_complete"]

METRICS = "amazon-bedrock-invocationMetrics"
"""Where the last event of any stream has Amazon's own counts."""

_FINISH: Mapping[str, str] = MappingProxyType(
    {
        "complete": "stop",
        "content_filtered": "content_filter",
        "endoftext": "stop",
        "error": "error",
        "error_toxic": "content_filter",
        "finish": "stop",
        "guardrail_intervened": "content_filter",
        "max_tokens": "length",
        "stop_criteria_met": "stop",
        "stop_sequence": "stop",
    }
)
"""All makers' words for the end, in small letters. Any other stands for itself."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "best_of": (1,),
        "echo": (False,),
        "frequency_penalty": (0,),
        "logit_bias": ({},),
        "logprobs": (),
        "max_tokens": (),
        "n": (1,),
        "presence_penalty": (0,),
        "seed": (),
        "stop": ([],),
        "suffix": ("",),
        "temperature": (),
        "top_p": (),
    }
)
"""OpenAI's parameters for which a maker may have no word, and the values of each that ask for nothing."""


# --- requests ---------------------------------------------------------------------------------------------------------


def write_complete(request: Request, maker: Maker) -> Json:
    """
    The body of a request for a completion.

    Raises:
        BadRequest: If its maker cannot express it; the message names the parameter.
    """
    given: Json = request.body
    out: Json = {maker.prompt: _one(given.get("prompt"))}
    config: Json = {}
    for name, value in given.items():
        if value is None or name == "prompt" or name in HINTS:
            continue
        if name in maker.names:
            config[maker.names[name]] = [value] if name == "stop" and isinstance(value, str) else value
        elif name not in _NEUTRAL:
            out[name] = value
        elif value not in _NEUTRAL[name]:
            raise refused(name, "this model on Bedrock")
    if not maker.inside:
        out |= config
    elif config or maker.inside in out:
        out[maker.inside] = config | (out.get(maker.inside) or {})
    if maker.streams and request.stream:
        out["stream"] = True
    return out


def _one(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadRequest("prompt: on Bedrock it is one text, neither several nor tokens")
    return prompt


def read_complete(data: Json) -> Request:
    """
    The completion that a body asks for.

    Raises:
        BadRequest: If it asks for none.
    """
    maker = of_body(data)
    assert isinstance(maker, Maker), "it has a prompt"
    try:
        rest = {name: value for name, value in data.items() if name not in (maker.prompt, "stream")}
        body: Json = {"prompt": _one(data[maker.prompt])}
        config = dict(rest.pop(maker.inside, None) or {}) if maker.inside else rest
        for name, theirs in maker.names.items():
            if theirs in config:
                body[name] = config.pop(theirs)
        if config and config is not rest:
            rest[maker.inside] = config
        body |= rest
        return Request("complete", "", body, data.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen("the request", error) from None


# --- answers ----------------------------------------------------------------------------------------------------------


def _at(item: Json, path: tuple[str, ...]) -> Any:
    found: Any = item
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _put(item: Json, path: tuple[str, ...], value: Any) -> None:
    *way, last = path
    for key in way:
        item = item.setdefault(key, {})
    item[last] = value


def _text(item: Json, maker: Maker) -> str:
    text = _at(item, maker.text)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise TypeError("what is said is no text")
    return text


def _finish(item: Json, maker: Maker) -> tuple[str | None, str | None]:
    """Why it ended, in OpenAI's words and, where they differ, in the maker's; None while it has not."""
    word = _at(item, maker.stop)
    if not word:
        return None, None
    finish = _FINISH.get(word.lower(), word.lower())
    return finish, None if finish == word else word


def counts_of(data: Json) -> Usage:
    """The counts of an answer or an event, by whichever name its maker or Amazon gives them."""
    metrics = data.get(METRICS) or {}
    from_cache, to_cache = (_count(metrics.get(f"cache{way}InputTokenCount")) for way in ("Read", "Write"))
    fresh = _count(metrics.get("inputTokenCount"))
    read = (
        data.get("inputTextTokenCount"),
        data.get("prompt_token_count"),
        # To Amazon what the cache read or wrote is no input.
        None if fresh is None else fresh + (from_cache or 0) + (to_cache or 0),
    )
    written = (
        data.get("totalOutputTextTokenCount"),
        data.get("generation_token_count"),
        _sum(item.get("tokenCount") for item in data.get("results") or ()),
        metrics.get("outputTokenCount"),
    )
    return Usage(_first(read), _first(written), from_cache, to_cache)


def _first(counts: Iterable[Any]) -> int | None:
    return next((count for count in map(_count, counts) if count is not None), None)


def _count(count: Any) -> int | None:
    # Behind a guardrail Titan counts in floats.
    return int(count) if isinstance(count, int | float) and count >= 0 else None


def _sum(counts: Iterable[Any]) -> Any:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def read_answer(data: Json, maker: Maker, model: str) -> Response:
    """
    A whole answer.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: If it is none.
    """
    items = data[maker.many] if maker.many else [data]
    choices = []
    for index, item in enumerate(items):
        finish, native = _finish(item, maker)
        choices.append(Choice(index, _text(item, maker), finish_reason=finish, native_finish_reason=native))
    return Response(id=data.get("id") or "", model=model, usage=counts_of(data), raw=data, choices=choices)


def write_answer(answer: Response, maker: Maker) -> Json:
    """The answer as its maker writes it. Who has room for one only gets the first."""
    written = [_item(maker, choice.text, choice.finish_reason or "stop") for choice in answer.choices or [Choice()]]
    out: Json = {maker.many: written} if maker.many else written[0]
    if maker.many in ("generations", "completions"):
        out["id"] = answer.id
    if maker.inside and answer.usage.output_tokens is not None:
        written[0]["tokenCount"] = answer.usage.output_tokens
    return out | _counts(answer.usage, maker)


def _item(maker: Maker, text: str, finish: str | None) -> Json:
    item: Json = {}
    _put(item, maker.text, text)
    _put(item, maker.stop, None if finish is None else maker.words.get(finish, finish))
    return item


def _counts(usage: Usage, maker: Maker) -> Json:
    """As far as the body itself has them; Amazon counts in headers, and in the last event of a stream."""
    counts = dict(zip(maker.counts, (usage.input_tokens, usage.output_tokens), strict=False))
    return {name: count for name, count in counts.items() if count is not None}


# --- streams ----------------------------------------------------------------------------------------------------------


class Reader:
    """Reads one stream of completions, event by event."""

    __slots__ = ("_finished", "_maker", "_model")

    def __init__(self, maker: Maker, model: str) -> None:
        self._maker = maker
        self._model = model
        self._finished: dict[int, bool] = {}

    def read(self, event: Json) -> list[Chunk]:
        """
        The chunks of an event; the last of them has the counts.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: If it is none.
        """
        maker = self._maker
        chunks: list[Chunk] = []
        for item in event[maker.many] if maker.listed else [event]:
            text, (finish, native) = _text(item, maker), _finish(item, maker)
            index = item.get("index")
            if index is None and finish is not None and not text and self._finished:
                # Cohere ends all answers at once.
                ended = [number for number, over in self._finished.items() if not over]
            else:
                ended = [int(index or 0)]
            for number in ended:
                self._finished[number] = finish is not None or self._finished.get(number, False)
                chunk = Chunk(text, finish_reason=finish, native_finish_reason=native, index=number)
                chunk.model, chunk.raw = self._model, event
                chunks.append(chunk)
        chunks = chunks or [Chunk(index=-1, model=self._model, raw=event)]
        chunks[-1].usage = counts_of(event) or None
        return chunks

    def end(self) -> None:
        """
        Raises:
            StreamInterrupted: If an answer has not ended.
        """
        if not self._finished or not all(self._finished.values()):
            raise StreamInterrupted("the stream ended before the answer did")


class Writer:
    """Makes the events of one stream of completions. How it ended is told at last, with the counts."""

    __slots__ = ("_finish", "_maker", "_usage")

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._finish: dict[int, str | None] = {}
        self._usage = Usage()

    def feed(self, chunk: Chunk) -> list[Json]:
        if chunk.whole is not None:
            return [event for piece in pieces("Bedrock", chunk.whole) for event in self.feed(piece)]
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        if chunk.index < 0:
            return []
        self._finish[chunk.index] = chunk.finish_reason or self._finish.get(chunk.index)
        return [self._event(chunk.index, chunk.text, None)] if chunk.text else []

    def end(self) -> list[Json]:
        events = [
            self._event(index, "", finish or "stop") for index, finish in sorted((self._finish or {0: None}).items())
        ]
        read, written = self._usage.input_tokens, self._usage.output_tokens
        if self._maker.inside and written is not None:
            events[-1]["totalOutputTextTokenCount"] = written
        events[-1] |= _counts(self._usage, self._maker)
        if read is not None or written is not None:
            events[-1][METRICS] = {"inputTokenCount": read or 0, "outputTokenCount": written or 0}
        return events

    def _event(self, index: int, text: str, finish: str | None) -> Json:
        maker = self._maker
        item = _item(maker, text, finish)
        if "is_finished" in maker.signs:
            item["is_finished"] = finish is not None
        if "generation" not in maker.signs and "completion" not in maker.signs:
            item["index"] = index
        return {maker.many: [item]} if maker.listed else item
