"""
The stream of Bedrock's InvokeModelWithResponseStream: a maker's own events, each inside of one of Amazon's.

Read: the first event tells by its keys whose they are. Nova's are events of ConverseStream. Those of Anthropic, of
Cohere's chat and of whoever follows OpenAI are read by the readers of their own streams; completions by `bedrock_prompts`.

Written: as the maker of the model would send it, wrapped in the same way.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html (checked
2026-11-20), and recorded streams.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from ..errors import GatewayError
from ..policies.sse import EventParser
from ..types.request import Request
from ..types.response import Chunk
from ..types.wire import encode, loads
from . import anthropic_streams, bedrock_prompts as prompts, bedrock_streams, cohere_streams, openai_streams
from .anthropic_messages import write_message
from .aws_frames import FrameParser, framed
from .base import Quirks, StreamReader, StreamWriter
from .bedrock_makers import ANTHROPICS, CONVERSES, FIRSTS, OPENAIS, Maker, Words, of_answer, of_request
from .cohere_first import FirstWriter
from .openai_words import Json

__all__ = ["Reader", "Writer", "openais"]


def openais(data: Json, body: bytes, delta: bool = False) -> bytes:
    """
    An answer or an event as OpenAI writes it.

    Some of Mistral's and DeepSeek's models call the reason `stop_reason`, and a piece of a message a message; the counts
    are Amazon's.

    Args:
        body: The same as it came, which is returned if there is nothing to change.
        delta: Whether it is an event.
    """
    changed = False
    choices = []
    for choice in data["choices"] or ():
        told = dict(choice)
        if "finish_reason" not in told and "stop_reason" in told:
            told["finish_reason"] = told.pop("stop_reason")
        if delta and "delta" not in told and "message" in told:
            told["delta"] = told.pop("message")
        changed = changed or told != choice
        choices.append(told)
    counted: Json = {}
    if prompts.METRICS in data and not data.get("usage"):
        counts = prompts.counts_of(data)
        counted = {"usage": {"prompt_tokens": counts.input_tokens, "completion_tokens": counts.output_tokens}}
    return encode(data | {"choices": choices} | counted) if changed or counted else body


class Reader(bedrock_streams.Reader):
    """Reads one stream. Every event of the maker's has its own JSON as `raw`."""

    __slots__ = ("_completions", "_inner", "_quirks", "_request", "_words")

    def __init__(self, request: Request, quirks: Quirks) -> None:
        super().__init__(request.model)
        self._request = request
        self._quirks = quirks
        self._words: Words | None = None  # until the first event has told
        self._inner: StreamReader | None = None
        self._completions: prompts.Reader | None = None

    def _finish(self, chunks: list[Chunk]) -> None:
        if self._inner is not None:
            chunks += self._inner.end()
        elif self._completions is not None:
            self._completions.end()
        else:
            super()._finish(chunks)

    def _event(self, kind: str, event: Json, chunks: list[Chunk]) -> None:
        if kind != "chunk":
            return
        payload = b64decode(event["bytes"])
        if self._inner is not None and self._words != OPENAIS:
            self._hand_on(self._inner, payload, chunks)  # read there, and not here as well
            return
        said = loads(payload)
        if self._words is None:
            self._begin(said)
        if self._inner is not None:
            told = openais(said, payload, delta=True) if self._words == OPENAIS else payload
            self._hand_on(self._inner, told, chunks)
        elif self._completions is not None:
            chunks += self._completions.read(said)
        else:
            for name, part in said.items():
                if name in bedrock_streams.KINDS:
                    super()._event(name, part, chunks)

    def _begin(self, said: Json) -> None:
        words = self._words = of_answer(said)
        if isinstance(words, Maker):
            self._completions = prompts.Reader(words, self._model)
        elif words == ANTHROPICS:
            self._inner = anthropic_streams.Reader()
        elif words == OPENAIS:
            self._inner = openai_streams.Reader(self._request, self._quirks)
        elif words == FIRSTS:
            self._inner = cohere_streams.Reader()
        elif words != CONVERSES:
            raise ValueError("an event of nobody's")

    def _hand_on(self, inner: StreamReader, payload: bytes, chunks: list[Chunk]) -> None:
        # A line break can only stand between two words of JSON.
        chunks += inner.feed(b"data: %b\n\n" % payload.replace(b"\n", b" ").replace(b"\r", b" "))
        self.terminated = inner.terminated


class Writer:
    """Writes one stream, in the words in which it was asked for, or those of who made the model that was asked."""

    __slots__ = ("_events", "_frames", "_inner")

    def __init__(self, request: Request) -> None:
        self._events, self._frames = EventParser(), FrameParser()
        self._inner: StreamWriter | prompts.Writer | FirstWriter
        words = of_request(request)
        if isinstance(words, Maker):
            self._inner = prompts.Writer(words)
        elif words == CONVERSES:
            self._inner = bedrock_streams.Writer()
        elif words == ANTHROPICS:
            self._inner = anthropic_streams.Writer(request.model, write_message)
        elif words == FIRSTS:
            self._inner = FirstWriter()
        else:
            self._inner = openai_streams.Writer(request)

    def feed(self, chunk: Chunk) -> bytes:
        return self._wrapped(self._inner.feed(chunk))

    def end(self) -> bytes:
        return self._wrapped(self._inner.end())

    def error(self, error: GatewayError) -> bytes:
        return bedrock_streams.write_failure(error)

    def _wrapped(self, said: bytes | list[Json]) -> bytes:
        if isinstance(said, list):
            return b"".join([_chunk(encode(event)) for event in said])
        if isinstance(self._inner, bedrock_streams.Writer):
            frames = self._frames.feed(said)
            return b"".join([_chunk(b'{"%b":%b}' % (told[":event-type"].encode(), part)) for told, part in frames])
        return b"".join([_chunk(data) for _, data in self._events.feed(said) if data != b"[DONE]"])


def _chunk(payload: bytes) -> bytes:
    told = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    data: dict[str, Any] = {"bytes": b64encode(payload).decode()}
    return framed(told, encode(data))
