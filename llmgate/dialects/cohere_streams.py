"""The stream of Cohere's chat, read and written.

Version 2 sends server-sent events, each told by its `type`, with `message-end` at last and OpenAI's `[DONE]` behind it.
Version 1, which is only read, sends the same kind of thing under other names, mostly one JSON value a line; its
`stream-end` repeats the whole answer. The first byte tells the framing, the event which version it is.

Source: https://docs.cohere.com/reference/chat-stream (checked 2026-11-20), and recorded streams.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import GatewayError, ProtocolError, StreamInterrupted
from ..policies.sse import EventParser, LineSplitter
from ..types.request import Request
from ..types.response import Chunk, ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .answering import pieces
from .cohere_errors import error_of
from .cohere_words import (
    calls_of,
    citations_of,
    finish_of,
    finish_reason,
    logprobs_of,
    read_call,
    usage_of,
    write_logprobs,
    write_usage,
)
from .openai_errors import CODES, write_error as openai_error
from .openai_words import Json, arguments_of, urls_of
from .reading import NO_STREAM, Reading, not_json, strange
from .shapes import MISSHAPEN

__all__ = ["Reader", "Writer"]


class Reader(Reading):
    """Reads one stream. Every event becomes one chunk, also one that says nothing, with its JSON as `raw`."""

    __slots__ = ("_calls", "_events", "_id", "_lines", "_plan")

    def __init__(self) -> None:
        super().__init__()
        self._events = EventParser()
        self._lines: LineSplitter | None = None
        self._id: str | None = None  # None until the first byte has told which framing it is
        self._calls: dict[int, int] = {}  # the wire's index to ours
        self._plan = ""

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        if self._id is None:
            data = data.lstrip()
            if not data:
                return
            self._id = ""
            if data[0] in b"{":
                self._lines = LineSplitter()
            elif data[0] in NO_STREAM:
                raise self._instead(data)
        parts = [payload for _, payload in self._events.feed(data)] if self._lines is None else self._lines.feed(data)
        self._read(parts, chunks)

    def _close(self, chunks: list[Chunk]) -> None:
        rest = [payload for _, payload in self._events.end()] if self._lines is None else self._lines.end()
        try:
            self._read(rest, chunks)
        except ProtocolError as error:
            raise StreamInterrupted("the stream ended in the middle of an event") from error
        if not self.terminated:
            raise StreamInterrupted("the stream ended before the answer did")

    def _read(self, payloads: Iterable[bytes], chunks: list[Chunk]) -> None:
        for payload in payloads:
            if payload == b"[DONE]":
                continue  # before the end it proves nothing
            chunks.append(self._chunk(payload))
            if self.terminated:
                break

    def _chunk(self, payload: bytes) -> Chunk:
        try:
            event = loads(payload)
        except ValueError:
            raise not_json(payload) from None
        try:
            if "type" in event:
                chunk = Chunk(id=event.get("id") or "", raw=event)
                self._read_event(event, event["type"], chunk)
            elif "event_type" in event:
                chunk = Chunk(id=event.get("generation_id") or "", raw=event)
                self._read_first(event, event["event_type"], chunk)
            elif isinstance(event.get("message"), str) or "error" in event:
                raise error_of(None, {}, event)
            else:
                raise ValueError("an event without a type")
            if chunk.text.__class__ is not str or chunk.reasoning.__class__ is not str:
                raise TypeError("what is said is no text")
        except MISSHAPEN as error:
            raise strange(payload) from error
        self._id = self._id or chunk.id
        return chunk

    def _read_event(self, event: Json, kind: str, chunk: Chunk) -> None:
        """An event of version 2."""
        if kind in ("content-delta", "content-start"):
            content = event["delta"]["message"]["content"]
            chunk.text = content.get("text") or ""
            chunk.reasoning = content.get("thinking") or ""
            if event.get("logprobs"):
                chunk.logprobs = logprobs_of(event["logprobs"])
            return
        if kind == "tool-plan-delta":
            self._plan += event["delta"]["message"]["tool_plan"]
            return
        if self._plan:
            chunk.extra, self._plan = {"tool_plan": self._plan}, ""
        if kind == "tool-call-start":
            index = self._calls[event["index"]] = len(self._calls)
            chunk.tool_calls = [read_call(event["delta"]["message"]["tool_calls"], self._id or "", index)]
        elif kind == "tool-call-delta":
            arguments = arguments_of(event["delta"]["message"]["tool_calls"]["function"]["arguments"])
            chunk.tool_calls = [ToolCall(arguments=arguments, index=self._calls[event["index"]])]
        elif kind == "citation-start":
            citations = event["delta"]["message"]["citations"]
            citations = citations if isinstance(citations, list) else [citations]
            chunk.citations = citations_of(citations)
            chunk.extra = {**(chunk.extra or {}), "citations": citations}
        elif kind == "message-end":
            self._read_end(event["delta"], chunk)
        elif kind == "error":
            raise error_of(None, {}, event)

    def _read_end(self, delta: Json, chunk: Chunk) -> None:
        # A call that the model got wrong is an end of the answer, a reason of another kind is none.
        if delta.get("error") and CODES.get(str(delta.get("error_type")).lower()):
            raise error_of(None, {}, {"message": delta["error"], "code": delta["error_type"]})
        chunk.finish_reason, chunk.native_finish_reason = finish_of(delta["finish_reason"], bool(self._calls))
        chunk.usage = usage_of(delta.get("usage") or {}) or None
        self.terminated = True

    def _read_first(self, event: Json, kind: str, chunk: Chunk) -> None:
        """An event of version 1."""
        if kind == "text-generation":
            chunk.text = event["text"]
        elif kind == "citation-generation":
            chunk.extra = {"citations": event["citations"]}
        elif kind == "stream-end":
            whole = event["response"]
            chunk.tool_calls = calls_of(whole.get("tool_calls"), self._id or "")
            chunk.citations = urls_of(whole.get("documents") or ())
            chunk.usage = usage_of(whole.get("meta") or {}) or None
            word = event.get("finish_reason") or whole["finish_reason"]
            chunk.finish_reason, chunk.native_finish_reason = finish_of(word, bool(chunk.tool_calls))
            self.terminated = True


class Writer:
    """
    Writes one stream of version 2. Text and calls are written as they come; how it ended is told by `end`, because the
    usage may come after anything else.
    """

    __slots__ = ("_begun", "_calls", "_finish", "_index", "_native", "_open", "_usage")

    def __init__(self, request: Request) -> None:
        self._begun = False
        self._open = ""  # what the content or the call that is not finished is
        self._index = -1  # of that content
        self._calls: dict[int, ToolCall] = {}
        self._finish: str | None = None
        self._native: str | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            return b"".join([self.feed(piece) for piece in pieces("Cohere", chunk.whole)])
        if chunk.index > 0:
            return b""  # there is one choice, and nobody can ask for more
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        if chunk.finish_reason is not None:
            self._finish, self._native = chunk.finish_reason, chunk.native_finish_reason
        out: list[bytes] = []
        self._begin(chunk.id, out)
        if chunk.reasoning:
            self._content("thinking", chunk.reasoning, None, out)
        for text in (chunk.text, chunk.refusal):
            if text or (chunk.logprobs is not None and text is chunk.text):
                self._content("text", text or "", write_logprobs(chunk.logprobs), out)
        extra = chunk.extra or {}
        if extra.get("tool_plan"):
            out.append(_event("tool-plan-delta", {"message": {"tool_plan": extra["tool_plan"]}}))
        for call in chunk.tool_calls:
            self._call(call, out)
        citations = extra.get("citations") or [
            {"sources": [{"type": "document", "id": url, "document": {"url": url}}]} for url in chunk.citations
        ]
        for index, citation in enumerate(citations):
            out.append(_event("citation-start", {"message": {"citations": citation}}, index=index))
            out.append(_event("citation-end", index=index))
        return b"".join(out)

    def _begin(self, id: str, out: list[bytes]) -> None:
        if not self._begun:
            self._begun = True
            message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
            out.append(_event("message-start", {"message": message}, id=id))

    def _content(self, kind: str, text: str, logprobs: list[Json] | None, out: list[bytes]) -> None:
        if self._open != kind:
            self._close(out)
            self._open = kind
            self._index += 1
            out.append(_event("content-start", {"message": {"content": {"type": kind, kind: ""}}}, index=self._index))
        delta = {"message": {"content": {kind: text}}}
        if not logprobs:
            out.append(_event("content-delta", delta, index=self._index))
            return
        for item in logprobs[:-1]:  # an event has room for one of them; the last stands beside the text
            empty = {"message": {"content": {kind: ""}}}
            out.append(_event("content-delta", empty, index=self._index, logprobs=item))
        out.append(_event("content-delta", delta, index=self._index, logprobs=logprobs[-1]))

    def _call(self, call: ToolCall, out: list[bytes]) -> None:
        known = self._calls.get(call.index)
        if known is None:
            self._close(out)
            self._calls[call.index] = call
            self._open = f"call {call.index}"
            function = {"name": call.name, "arguments": call.arguments}
            started = {"id": call.id, "type": "function", "function": function}
            out.append(_event("tool-call-start", {"message": {"tool_calls": started}}, index=call.index))
        elif call.arguments:
            delta = {"message": {"tool_calls": {"function": {"arguments": call.arguments}}}}
            out.append(_event("tool-call-delta", delta, index=call.index))

    def _close(self, out: list[bytes]) -> None:
        if self._open.startswith("call "):
            out.append(_event("tool-call-end", index=int(self._open[5:])))
        elif self._open:
            out.append(_event("content-end", index=self._index))
        self._open = ""

    def end(self) -> bytes:
        usage = {} if self._usage is None else write_usage(self._usage)
        return self._ended({"finish_reason": finish_reason(self._finish, self._native), "usage": usage})

    def error(self, error: GatewayError) -> bytes:
        code: str = openai_error(error)[2]["error"]["code"]
        if code not in CODES:
            return _event("error", message=error.message)
        return self._ended({"finish_reason": "ERROR", "usage": {}, "error": error.message, "error_type": code.upper()})

    def _ended(self, delta: Json) -> bytes:
        out: list[bytes] = []
        self._begin("", out)
        self._close(out)
        out.append(_event("message-end", delta))
        out.append(b"data: [DONE]\n\n")
        return b"".join(out)


def _event(kind: str, delta: Any = None, **more: Any) -> bytes:
    data: Json = {"type": kind, **more}
    if delta is not None:
        data["delta"] = delta
    return b"event: " + kind.encode() + b"\ndata: " + encode(data) + b"\n\n"
