"""The stream of Google's Gemini, read and written.

With `alt=sse` it is server-sent events, each a whole `GenerateContentResponse` with the next parts; without, it is the
same responses as one JSON array that grows. Both are read, told apart by their first byte. There is no terminal event:
a stream is whole when it ends after every candidate that spoke has said why it stopped, or after the prompt was
blocked.

Source: https://ai.google.dev/api/generate-content (checked 2026-11-20).
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import GatewayError, ProtocolError, StreamInterrupted
from ..policies.sse import MAX_EVENT_BYTES, MAX_EVENTS, MAX_STREAM_BYTES, EventParser
from ..types.request import Request
from ..types.response import Chunk, ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .answering import pieces
from .gemini_errors import error_of, write_error
from .gemini_words import (
    BLOCKED,
    Json,
    Parts,
    citations_of,
    finish_of,
    finish_reason,
    index_of,
    json_object,
    kept_parts,
    logprobs_of,
    signature_of,
    usage_of,
    write_citations,
    write_logprobs,
    write_usage,
)
from .reading import Reading, not_json, strange
from .shapes import MISSHAPEN

__all__ = ["ArraySplitter", "Reader", "Writer", "called"]


class ArraySplitter:
    """
    Finds the objects of a JSON array while it still grows. A value that stands alone is found as well.

    Nothing is trusted to be small: the limits are those of events.
    """

    __slots__ = ("_depth", "_escaped", "_object", "_objects", "_quoted", "_received")

    _MARKS = re.compile(rb'["\\{}]')

    def __init__(self) -> None:
        self._object = bytearray()  # of the object that is not complete
        self._depth = 0
        self._quoted = False
        self._escaped = False  # whether the next byte stands behind a backslash
        self._objects = 0
        self._received = 0

    def feed(self, data: bytes) -> list[bytes]:
        """
        The objects that these bytes complete.

        Raises:
            ProtocolError: If a limit is passed, or something else stands between the objects.
        """
        self._received += len(data)
        if self._received > MAX_STREAM_BYTES:
            raise ProtocolError(f"the upstream sent a stream of more than {MAX_STREAM_BYTES:,} bytes")
        objects: list[bytes] = []
        start, at = 0, 0  # of what is not yet kept, and of what is not yet looked at
        if self._escaped and data:
            self._escaped = False
            at = 1
        while (mark := self._MARKS.search(data, at)) is not None:
            at = mark.end()
            byte = mark[0]
            if self._quoted:
                if byte == b'"':
                    self._quoted = False
                elif byte == b"\\":
                    self._escaped = at == len(data)
                    at += 1
            elif byte == b'"' and self._depth:
                self._quoted = True
            elif byte == b"{":
                if not self._depth:
                    self._between(data[start : at - 1])
                    start = at - 1
                self._depth += 1
            elif byte == b"}" and self._depth:
                self._depth -= 1
                if not self._depth:
                    self._object += data[start:at]
                    objects.append(bytes(self._object))
                    self._object.clear()
                    start = at
            else:
                raise ProtocolError("the upstream sent no array of answers")
        if self._depth:
            self._object += data[start:]
            if len(self._object) > MAX_EVENT_BYTES:
                raise ProtocolError(f"the upstream sent an event of more than {MAX_EVENT_BYTES:,} bytes")
        else:
            self._between(data[start:])
        self._objects += len(objects)
        if self._objects > MAX_EVENTS:
            raise ProtocolError(f"the upstream sent a stream of more than {MAX_EVENTS:,} events")
        return objects

    def _between(self, data: bytes) -> None:
        if data.strip(b" \t\r\n,[]"):
            raise ProtocolError("the upstream sent no array of answers")


class Reader(Reading):
    """
    Reads one stream.

    Every event becomes at least one chunk, also one that says nothing, and all chunks of an event share its JSON as
    `raw`: who passes the stream on as it is passes each `raw` on once.
    """

    __slots__ = ("_array", "_begun", "_candidates", "_counts", "_events", "_finished")

    def __init__(self) -> None:
        super().__init__()
        self._begun = False  # whether the first byte has told which framing it is
        self._events = EventParser()
        self._array: ArraySplitter | None = None
        self._candidates: dict[int, Parts] = {}
        self._finished: dict[int, bool] = {}
        self._counts: Json = {}  # the last that came

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        if not self._begun:
            data = data.lstrip()
            if not data:
                return
            self._begun = True
            if data[0] in b"[{":
                self._array = ArraySplitter()
            elif data[0] in b"<":
                raise self._instead(data)
        if self._array is not None:
            for payload in self._array.feed(data):
                self._read(payload, chunks)
        else:
            for _, payload in self._events.feed(data):
                self._read(payload, chunks)

    def _close(self, chunks: list[Chunk]) -> None:
        try:
            for _, payload in self._events.end():
                self._read(payload, chunks)
        except ProtocolError as error:
            raise StreamInterrupted("the stream ended in the middle of an event") from error
        if not (self._finished and all(self._finished.values())):
            raise StreamInterrupted("the stream ended before the answer did")

    def _read(self, payload: bytes, chunks: list[Chunk]) -> None:
        try:
            event = loads(payload)
        except ValueError:
            if payload.strip() == b"[DONE]":  # a compatible server ends with OpenAI's word
                return
            raise not_json(payload) from None
        try:
            if "error" in event:
                raise error_of(None, {}, event)
            self._read_event(event, chunks)
        except MISSHAPEN as error:
            raise strange(payload) from error

    def _read_event(self, event: Json, chunks: list[Chunk]) -> None:
        id, model = event.get("responseId") or "", event.get("modelVersion") or ""
        candidates = event.get("candidates")
        if not candidates:
            chunk = Chunk(index=-1, id=id, model=model, raw=event)
            if (event.get("promptFeedback") or {}).get("blockReason"):
                chunk.index, chunk.finish_reason, chunk.native_finish_reason = 0, *finish_of(BLOCKED, False)
                self._finished[0] = True
            chunks.append(chunk)
        for position, candidate in enumerate(candidates or ()):
            index = index_of(candidate, position)
            parts = self._candidates.get(index)
            if parts is None:
                parts = self._candidates[index] = Parts(id, index)
            said = (candidate.get("content") or {}).get("parts")
            text, reasoning, calls = parts.read(said) if said else ("", "", ())
            chunk = Chunk(text, reasoning, calls, None, None, index, id, model, raw=event)
            if "groundingMetadata" in candidate or "citationMetadata" in candidate:
                chunk.citations = citations_of(candidate)
            if "logprobsResult" in candidate:
                chunk.logprobs = logprobs_of(candidate["logprobsResult"])
            if "finishReason" in candidate:
                chunk.finish_reason, chunk.native_finish_reason = finish_of(candidate["finishReason"], parts.called)
            if chunk.finish_reason is not None:
                self._finished[index] = True
            elif index not in self._finished:
                self._finished[index] = False
            if self._finished[index]:
                chunk.extra = parts.extra()
            chunks.append(chunk)
        # Before the end they are guesses, also about the prompt: 145 tokens in every event, and 85 in the last.
        counts = event.get("usageMetadata")
        if counts and ("promptTokenCount" in counts or not self._counts):  # some tell the kind of traffic alone
            self._counts = counts
        if self._counts and self._finished and all(self._finished.values()):
            chunks[-1].usage = usage_of(self._counts)


class _Candidate:
    """A candidate of which the end is still to be told."""

    __slots__ = ("calls", "citations", "finish", "kept", "native", "refusal")

    def __init__(self) -> None:
        self.calls: dict[int, ToolCall] = {}
        self.citations: list[str] = []
        self.finish: str | None = None
        self.kept: list[Json] = []
        self.native: str | None = None
        self.refusal: str | None = None


class Writer:
    """
    Writes one stream. Text is written as it comes. Tool calls are written whole, and how it ended is told, by `end`: the
    rest of the arguments and the usage may come after anything else.
    """

    __slots__ = ("_candidates", "_id", "_model", "_usage")

    def __init__(self, request: Request) -> None:
        self._candidates: dict[int, _Candidate] = {}
        self._id = ""
        self._model = request.model
        self._usage = Usage()

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            return b"".join([self.feed(piece) for piece in pieces("Gemini", chunk.whole)])
        self._id = self._id or chunk.id
        self._model = chunk.model or self._model
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        if chunk.index < 0:
            return b""
        candidate = self._candidates.get(chunk.index)
        if candidate is None:
            candidate = self._candidates[chunk.index] = _Candidate()
        for call in chunk.tool_calls:
            known = candidate.calls.setdefault(call.index, ToolCall(index=call.index))
            known.id, known.name = known.id or call.id, known.name or call.name
            known.arguments += call.arguments
            known.extra = call.extra or known.extra
        candidate.citations += [url for url in chunk.citations if url not in candidate.citations]
        candidate.kept += kept_parts(chunk.extra)
        if chunk.finish_reason is not None:
            candidate.finish, candidate.native = chunk.finish_reason, chunk.native_finish_reason
        if chunk.refusal is not None:
            candidate.refusal = (candidate.refusal or "") + chunk.refusal
        parts: list[Json] = []
        if chunk.reasoning:
            parts.append({"text": chunk.reasoning, "thought": True})
        if chunk.text:
            parts.append({"text": chunk.text})
        if chunk.refusal:
            parts.append({"text": chunk.refusal})
        logprobs = write_logprobs(chunk.logprobs)
        if not parts and logprobs is None:
            return b""
        written: Json = {"content": {"parts": parts, "role": "model"}, "index": chunk.index}
        if logprobs is not None:
            written["logprobsResult"] = logprobs
        return self._event([written])

    def end(self) -> bytes:
        written = []
        for index, candidate in sorted(self._candidates.items()) or [(0, _Candidate())]:
            parts = _rest_of(candidate.kept) or [called(call) for call in candidate.calls.values()]
            last: Json = {
                "content": {"parts": parts or [{"text": ""}], "role": "model"},
                "finishReason": finish_reason(candidate.finish, candidate.native, candidate.refusal),
                "index": index,
            }
            if candidate.citations:
                last["groundingMetadata"] = write_citations(candidate.citations)
            written.append(last)
        return self._event(written)

    def error(self, error: GatewayError) -> bytes:
        return _event(write_error(error)[2])

    def _event(self, candidates: list[Json]) -> bytes:
        event: Json = {"candidates": candidates}
        usage = write_usage(self._usage)
        if usage:
            event["usageMetadata"] = usage
        return _event(event | {"modelVersion": self._model, "responseId": self._id})


def called(call: ToolCall) -> Json:
    """A tool call as a part."""
    part: Json = {"functionCall": {"name": call.name, "args": json_object(call.arguments)}}
    if call.id:
        part["functionCall"]["id"] = call.id
    signature = signature_of(call.extra)
    if signature:
        part["thoughtSignature"] = signature
    return part


def _rest_of(parts: list[Json]) -> list[Json]:
    """Of the parts of a stream those that were not streamed: of a signed text its signature."""
    rest: list[Json] = []
    for part in parts:
        if "text" not in part:
            rest.append(part)
        elif "thoughtSignature" in part:
            rest.append({**part, "text": ""})
    return rest


def _event(data: Any) -> bytes:
    return b"data: " + encode(data) + b"\r\n\r\n"
