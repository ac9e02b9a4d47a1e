"""The event stream of Anthropic's Messages, read and written.

Read: `message_stop` is the end and nothing else is. Every event names the block it belongs to; pieces of a tool's
arguments are numbered over the tool calls alone (0, 1, 2, …), and a thinking block is given once more as a whole when
it stops, because it must come back in the next turn with its signature.

Written: the events the SDKs accumulate, one block after the other, ended by `message_delta` and `message_stop`.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming (checked 2026-11-20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest, GatewayError
from ..types.response import Answer, Chunk, Response, ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .anthropic_errors import error_of, write_error
from .anthropic_words import (
    FINISH,
    Json,
    add_citation,
    citation_of,
    own_of_call,
    stop_reason,
    tool_use,
    usage_of,
    write_usage,
)
from .reading import EventReader, strange
from .shapes import MISSHAPEN

__all__ = ["Reader", "Writer"]


class _Block:
    """A content block of which the rest is still to come."""

    __slots__ = ("index", "kind", "parts", "start")

    def __init__(self, kind: str, start: Json, index: int) -> None:
        self.kind = kind
        self.start = start
        self.index = index  # among the tool calls
        self.parts: list[str] = []


class Reader(EventReader):
    """
    Reads one stream.

    Every event but a ping becomes one chunk, even if it says nothing, with its JSON as `raw`: who passes the stream on as
    it is passes each `raw` on.
    """

    __slots__ = ("_blocks", "_calls", "_counts", "_id", "_model")

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, _Block] = {}
        self._counts: Json = {}
        self._calls = 0
        self._id = ""
        self._model = ""

    def _read(self, name: bytes, payload: bytes, chunks: list[Chunk]) -> None:
        try:
            event = loads(payload)
            kind = event.get("type") or name.decode()
            if kind == "ping":
                return
            if kind == "error":
                raise error_of(None, {}, event)
            read = _EVENTS.get(kind)  # what Anthropic may add has none
            chunk = (read(self, event) if read is not None else None) or Chunk(index=-1)
        except MISSHAPEN as error:
            if payload.strip() == b"[DONE]":
                return  # OpenRouter ends the stream with OpenAI's word, too
            raise strange(payload) from error
        chunk.id, chunk.model, chunk.raw = self._id, self._model, event
        chunks.append(chunk)
        self.terminated = kind == "message_stop"

    def _told(self, data: Any) -> GatewayError | None:
        return error_of(None, {}, data) if "error" in data else None

    def _message_start(self, event: Json) -> Chunk:
        message = event["message"]
        self._id = message.get("id", "")
        self._model = message.get("model", "")
        return Chunk(usage=self._counted(message.get("usage") or {}), index=-1)

    def _block_start(self, event: Json) -> Chunk | None:
        start = event["content_block"]
        kind = start["type"]
        block = self._blocks[event["index"]] = _Block(kind, start, self._calls)
        if kind == "tool_use":
            self._calls += 1
            return Chunk(tool_calls=(ToolCall(start["id"], start["name"], "", block.index, own_of_call(start)),))
        # Anthropic begins with nothing in it; a compatible server may begin with all.
        if kind == "text":
            urls: list[str] = []
            for citation in start.get("citations") or ():
                add_citation(citation, urls)
            return Chunk(text=start["text"], citations=urls) if start.get("text") or urls else None
        if kind == "thinking" and start.get("thinking"):
            block.parts.append(start["thinking"])
            return Chunk(reasoning=start["thinking"])
        return None

    def _block_delta(self, event: Json) -> Chunk | None:
        delta = event["delta"]
        kind = delta["type"]
        if kind == "text_delta":
            return Chunk(text=delta["text"])
        block = self._blocks[event["index"]]
        if kind == "input_json_delta":
            part = delta["partial_json"]
            if not part or block.kind != "tool_use":
                return None
            block.parts.append(part)
            return Chunk(tool_calls=(ToolCall("", "", part, block.index),))
        if kind == "thinking_delta":
            block.parts.append(delta["thinking"])
            return Chunk(reasoning=delta["thinking"])
        if kind == "signature_delta":
            block.start = {**block.start, "signature": delta["signature"]}
        elif kind == "citations_delta" and delta["citation"].get("url"):
            return Chunk(citations=(delta["citation"]["url"],))
        return None

    def _block_stop(self, event: Json) -> Chunk | None:
        block = self._blocks.pop(event["index"])
        if block.kind == "tool_use" and not block.parts and block.start.get("input"):
            return Chunk(tool_calls=(ToolCall("", "", encode(block.start["input"]).decode(), block.index),))
        if block.kind == "thinking":
            return Chunk(extra={"thinking_blocks": [{**block.start, "thinking": "".join(block.parts)}]})
        if block.kind == "redacted_thinking":
            return Chunk(extra={"thinking_blocks": [block.start]})
        return None

    def _message_delta(self, event: Json) -> Chunk:
        stop = event["delta"].get("stop_reason")
        usage = self._counted(event.get("usage") or {})
        if stop is None:
            return Chunk(usage=usage, index=-1)
        return Chunk(finish_reason=FINISH.get(stop, "stop"), native_finish_reason=stop, usage=usage)

    def _counted(self, counts: Json) -> Usage:
        """The counts are running totals; one that is not said again still holds."""
        self._counts |= {name: count for name, count in counts.items() if count is not None}
        return usage_of(self._counts)


_EVENTS: Mapping[str, Callable[[Reader, Json], Chunk | None]] = MappingProxyType(
    {
        "message_start": Reader._message_start,
        "content_block_start": Reader._block_start,
        "content_block_delta": Reader._block_delta,
        "content_block_stop": Reader._block_stop,
        "message_delta": Reader._message_delta,
    }
)


class Writer:
    """
    Writes one stream. How it ended is told by `end`, because the usage may come after the reason.

    Args:
        model: The model that was asked, for chunks that do not name theirs.
        write_message: Makes a Message of a whole answer.
    """

    __slots__ = (
        "_begun", "_blocks", "_calls", "_finish", "_id", "_model", "_native", "_open", "_reasoned", "_refusal", "_thought",
        "_usage", "_write_message",
    )  # fmt: skip

    def __init__(self, model: str, write_message: Callable[[Response], Json]) -> None:
        self._model = model
        self._write_message = write_message
        self._begun = False
        self._id = ""
        self._blocks = 0  # begun so far; the last one is the one that is open
        self._open = ""  # its type
        self._thought: list[str] = []  # its text, if it is thinking
        self._reasoned = False
        self._calls: dict[int, int] = {}  # index of a tool call → index of its block
        self._usage = Usage()
        self._finish: str | None = None
        self._native: str | None = None
        self._refusal: str | None = None

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            return self._whole(chunk.whole)
        if chunk.index > 0:
            return b""  # Messages has one choice, and nobody can ask it for more
        out: list[bytes] = []
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        self._begin(out, chunk.id, chunk.model)
        if chunk.reasoning:
            self._reason(out, chunk.reasoning)
        if chunk.extra:
            for block in chunk.extra.get("thinking_blocks") or ():
                self._think(out, block)
        if chunk.text:
            self._text(out, chunk.text)
        if chunk.refusal:
            self._refusal = chunk.refusal
            self._text(out, chunk.refusal)
        for url in chunk.citations:
            self._cite(out, citation_of(url))
        for call in chunk.tool_calls:
            self._call(out, call)
        if chunk.finish_reason is not None:
            self._finish, self._native = chunk.finish_reason, chunk.native_finish_reason
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._begin(out, "", "")
        self._close(out)
        delta = {"stop_reason": stop_reason(self._finish, self._native, self._refusal), "stop_sequence": None}
        out.append(_event("message_delta", {"delta": delta, "usage": write_usage(self._usage)}))
        out.append(_event("message_stop", {}))
        return b"".join(out)

    def error(self, error: GatewayError) -> bytes:
        return _event("error", write_error(error)[2])

    def _begin(self, out: list[bytes], id: str, model: str) -> None:
        if self._begun:
            return
        self._begun = True
        self._id = id
        message: Json = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self._usage),
        }
        out.append(_event("message_start", {"message": message}))

    def _start(self, out: list[bytes], block: Json) -> None:
        self._close(out)
        out.append(_event("content_block_start", {"index": self._blocks, "content_block": block}))
        self._blocks += 1
        self._open = block["type"]

    def _close(self, out: list[bytes]) -> None:
        if self._open:
            out.append(_event("content_block_stop", {"index": self._blocks - 1}))
            self._open = ""
            self._thought.clear()

    def _delta(self, out: list[bytes], delta: Json, index: int = -1) -> None:
        index = self._blocks - 1 if index < 0 else index
        out.append(_event("content_block_delta", {"index": index, "delta": delta}))

    def _text(self, out: list[bytes], text: str) -> None:
        if self._open != "text":
            self._start(out, {"type": "text", "text": ""})
        self._delta(out, {"type": "text_delta", "text": text})

    def _cite(self, out: list[bytes], citation: Json) -> None:
        if self._open != "text":
            self._start(out, {"type": "text", "text": ""})
        self._delta(out, {"type": "citations_delta", "citation": citation})

    def _reason(self, out: list[bytes], reasoning: str) -> None:
        if self._open != "thinking":
            self._start(out, {"type": "thinking", "thinking": "", "signature": ""})
        self._delta(out, {"type": "thinking_delta", "thinking": reasoning})
        self._thought.append(reasoning)
        self._reasoned = True

    def _think(self, out: list[bytes], block: Json) -> None:
        """A whole thinking block. As a rule its text has been streamed before, and what it brings is the signature."""
        if block["type"] != "thinking":
            self._start(out, block)
        else:
            thinking = block.get("thinking", "")
            if self._open != "thinking" or thinking != "".join(self._thought):
                if thinking and self._reasoned:
                    return  # said, in a block that is closed
                self._start(out, {"type": "thinking", "thinking": "", "signature": ""})
                if thinking:
                    self._delta(out, {"type": "thinking_delta", "thinking": thinking})
            if block.get("signature"):
                self._delta(out, {"type": "signature_delta", "signature": block["signature"]})
        self._close(out)

    def _call(self, out: list[bytes], call: ToolCall) -> None:
        index = self._calls.get(call.index)
        if index is None:
            index = self._calls[call.index] = self._blocks
            self._start(out, {**tool_use(self._id, call), "input": {}})
        if call.arguments:
            # Two calls may come in turns. Every event names its block, so one that is closed can still be meant.
            self._delta(out, {"type": "input_json_delta", "partial_json": call.arguments}, index)

    def _whole(self, answer: Answer) -> bytes:
        if not isinstance(answer, Response):
            raise BadRequest(f"the Messages API does not stream {type(answer).__name__}")
        message = self._write_message(answer)
        out: list[bytes] = []
        self._usage = answer.usage
        self._native = message["stop_reason"]
        self._begin(out, answer.id, answer.model)
        for block in message["content"]:
            self._block(out, block)
        return b"".join(out)

    def _block(self, out: list[bytes], block: Json) -> None:
        match block["type"]:
            case "text":
                self._text(out, block["text"])
                for citation in block.get("citations", ()):
                    self._cite(out, citation)
            case "tool_use":
                self._start(out, {**block, "input": {}})
                self._delta(out, {"type": "input_json_delta", "partial_json": encode(block["input"]).decode()})
            case _:
                self._think(out, block)
        self._close(out)


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))
