"""The stream of Bedrock's ConverseStream, read and written.

Read: `messageStop` says that the answer is whole; the usage follows it in `metadata`, which is the last event. A text
or a thought needs no `contentBlockStart`, a tool call has one. Pieces of a call's arguments are numbered over the calls
alone (0, 1, 2, …). What must come back in the next turn is given once more as a whole when its block stops.

Written: the same events, one block after the other, ended by `messageStop` and `metadata`.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html (checked 2026-11-20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest, GatewayError, StreamInterrupted
from ..policies.sse import MAX_LINE_BYTES
from ..types.response import Chunk, Response, ToolCall, explode
from ..types.usage import Usage
from ..types.wire import encode, loads
from .aws_frames import FrameParser, framed
from .bedrock_errors import error_of, write_error
from .bedrock_words import (
    FINISH,
    KEPT,
    THOUGHTS,
    Json,
    add_citation,
    citation_of,
    runs_there,
    stop_reason,
    tool_use,
    usage_of,
    write_thought,
    write_usage,
)
from .openai_words import excerpt
from .reading import Reading, strange
from .shapes import MISSHAPEN

__all__ = ["KINDS", "Reader", "Writer", "write_failure"]

_NO_FRAME = b"{[< \t\r\n"
"""How a body begins that is JSON or a page. The length of a message begins with a zero."""


class _Block:
    """A content block of which the rest is still to come."""

    __slots__ = ("call", "content", "parts", "redacted", "signature", "start", "thought")

    def __init__(self, start: Json) -> None:
        self.start = start
        self.call = -1  # its number among the tool calls
        self.parts: list[str] = []  # of a tool's arguments, or of a thought
        self.content: list[Json] = []  # of the result of a tool that ran at Amazon's
        self.thought = False
        self.signature: str | None = None
        self.redacted: list[str] = []


class Reader(Reading):
    """
    Reads one stream. Every event becomes one chunk, even if it says nothing, with `{name of the event: its JSON}` as `raw`.

    Args:
        model: The model that was asked; the stream does not name it.
    """

    __slots__ = ("_blocks", "_calls", "_frames", "_model", "_other", "_stopped")

    def __init__(self, model: str = "") -> None:
        super().__init__()
        self._frames = FrameParser()
        self._other: bytearray | None = bytearray()  # what came in place of a stream; None as soon as it is one
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._model = model
        self._stopped = False

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        if self._other is not None and data:
            if self._other or data[0] in _NO_FRAME:
                self._other += data
                if len(self._other) > MAX_LINE_BYTES:
                    raise self._instead(bytes(self._other))
                return
            self._other = None
        for headers, payload in self._frames.feed(data):
            self._read(headers, payload, chunks)
            if self.terminated:
                return
        if self._frames.failure is not None:
            raise self._frames.failure

    def _close(self, chunks: list[Chunk]) -> None:
        if self._other:
            raise self._instead(bytes(self._other))
        self._finish(chunks)
        if self._frames.half:
            raise StreamInterrupted("the stream ended in the middle of an event")

    def _finish(self, chunks: list[Chunk]) -> None:
        if not self._stopped:
            raise StreamInterrupted("the stream ended without messageStop")

    def _read(self, headers: Mapping[str, str], payload: bytes, chunks: list[Chunk]) -> None:
        try:
            sort = headers.get(":message-type", "event")
            if sort != "event":
                raise _reported(sort, headers, payload)
            self._event(headers[":event-type"], loads(payload) if payload else {}, chunks)
        except MISSHAPEN as error:
            raise strange(payload) from error

    def _told(self, data: Any) -> GatewayError | None:
        return error_of(None, {}, data) if data.keys() & {"message", "Message", "__type", "Output"} else None

    def _event(self, kind: str, event: Json, chunks: list[Chunk]) -> None:
        read = _EVENTS.get(kind)  # what Amazon may add has none
        chunk = (read(self, event) if read is not None else None) or Chunk(index=-1)
        chunk.model = chunk.model or self._model
        chunk.raw = {kind: event}
        chunks.append(chunk)

    def _block_start(self, event: Json) -> Chunk | None:
        start = event["start"]
        block = self._blocks[event["contentBlockIndex"]] = _Block(start)
        call = start.get("toolUse")
        if call is None or runs_there(call):
            return None
        block.call = self._calls
        self._calls += 1
        return Chunk(tool_calls=(ToolCall(call["toolUseId"], call["name"], "", block.call),))

    def _block_delta(self, event: Json) -> Chunk | None:
        delta = event["delta"]
        if "text" in delta:
            return Chunk(delta["text"])
        index = event["contentBlockIndex"]
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block({})
        if "toolUse" in delta:
            part = delta["toolUse"]["input"]
            block.parts.append(part)
            return Chunk(tool_calls=(ToolCall("", "", part, block.call),)) if part and block.call >= 0 else None
        if "reasoningContent" in delta:
            return _thought_delta(block, delta["reasoningContent"])
        if "toolResult" in delta:
            block.content += delta["toolResult"]
        elif "citation" in delta:
            urls: list[str] = []
            add_citation(delta["citation"], urls)
            return Chunk(citations=urls) if urls else None
        return None

    def _block_stop(self, event: Json) -> Chunk | None:
        block = self._blocks.get(event["contentBlockIndex"])
        if block is None or block.call >= 0:
            return None  # of a call more may come: some send the pieces of two calls in turns
        del self._blocks[event["contentBlockIndex"]]
        if block.thought:
            return _whole_thought(block)
        for name, start in block.start.items():
            whole = dict(start)
            if name == "toolUse":
                whole["input"] = loads("".join(block.parts) or "{}")
            elif name == "toolResult":
                whole["content"] = block.content
            else:
                continue  # an image in pieces, as nobody has seen one
            return Chunk(extra={KEPT: [{name: whole}]})
        return None

    def _message_stop(self, event: Json) -> Chunk:
        stop = event["stopReason"]
        self._stopped = True
        return Chunk(finish_reason=FINISH.get(stop, "stop"), native_finish_reason=stop)

    def _metadata(self, event: Json) -> Chunk:
        self.terminated = self._stopped
        usage, trace = event.get("usage"), event.get("trace") or {}
        routed = (trace.get("promptRouter") or {}).get("invokedModelId", "")
        return Chunk(usage=usage_of(usage) if usage else None, index=-1, model=routed)


_EVENTS: Mapping[str, Callable[[Reader, Json], Chunk | None]] = MappingProxyType(
    {
        "contentBlockStart": Reader._block_start,
        "contentBlockDelta": Reader._block_delta,
        "contentBlockStop": Reader._block_stop,
        "messageStop": Reader._message_stop,
        "metadata": Reader._metadata,
    }
)


KINDS = frozenset({"messageStart", *_EVENTS})
"""Names of the events that make a stream."""


def _thought_delta(block: _Block, delta: Json) -> Chunk | None:
    block.thought = True
    if "signature" in delta:
        block.signature = (block.signature or "") + delta["signature"]
    if "redactedContent" in delta:
        block.redacted.append(delta["redactedContent"])
    text = delta.get("text")
    if not text:
        return None
    block.parts.append(text)
    return Chunk(reasoning=text)


def _whole_thought(block: _Block) -> Chunk | None:
    """What the next turn must hold of a thought."""
    thoughts: list[Json] = [{"type": "redacted_thinking", "data": data} for data in block.redacted]
    if block.signature:
        thoughts.append({"type": "thinking", "thinking": "".join(block.parts), "signature": block.signature})
    return Chunk(extra={THOUGHTS: thoughts}) if thoughts else None


def _reported(sort: str, headers: Mapping[str, str], payload: bytes) -> GatewayError:
    """The error that a message is: an `exception` has a body, an `error` says all in its headers."""
    if sort == "error":
        return error_of(None, {}, {"message": headers.get(":error-message")}, headers.get(":error-code", ""))
    try:
        body = loads(payload)
    except ValueError:
        body = excerpt(payload)
    return error_of(None, {}, body, headers.get(":exception-type", ""))


class Writer:
    """Writes one stream. How it ended is told by `end`, because the usage may come after the reason."""

    __slots__ = (
        "_begun", "_blocks", "_calls", "_finish", "_id", "_native", "_open", "_reasoned", "_refusal", "_thought", "_usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self._begun = False
        self._id = ""
        self._blocks = 0  # begun so far; the last one is the one that is open
        self._open = ""  # what it is
        self._calls: dict[int, int] = {}  # index of a tool call → index of its block
        self._thought: list[str] = []  # the text of the open thought
        self._reasoned = False
        self._usage = Usage()
        self._finish: str | None = None
        self._native: str | None = None
        self._refusal: str | None = None

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            if not isinstance(chunk.whole, Response):
                raise BadRequest(f"Bedrock does not stream {type(chunk.whole).__name__}")
            return self._whole(chunk.whole)
        if chunk.index > 0:
            return b""  # Converse has one choice, and nobody can ask it for more
        out: list[bytes] = []
        self._begin(out)
        self._id = self._id or chunk.id
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        if chunk.reasoning:
            self._delta(out, "reasoning", {"reasoningContent": {"text": chunk.reasoning}})
            self._thought.append(chunk.reasoning)
            self._reasoned = True
        if chunk.extra:
            for thought in chunk.extra.get(THOUGHTS) or ():
                self._think(out, thought)
            for block in chunk.extra.get(KEPT) or ():
                self._keep(out, block)
        if chunk.text:
            self._delta(out, "text", {"text": chunk.text})
        if chunk.refusal:
            self._refusal = chunk.refusal
            self._delta(out, "text", {"text": chunk.refusal})
        for url in chunk.citations:
            self._delta(out, "text", {"citation": citation_of(url)})
        for call in chunk.tool_calls:
            self._call(out, call)
        if chunk.finish_reason is not None:
            self._finish, self._native = chunk.finish_reason, chunk.native_finish_reason
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._begin(out)
        self._close(out)
        stop = stop_reason(self._finish, self._native, self._refusal)
        out.append(_event("messageStop", {"stopReason": stop}))
        out.append(_event("metadata", {"usage": write_usage(self._usage), "metrics": {"latencyMs": 0}}))
        return b"".join(out)

    def error(self, error: GatewayError) -> bytes:
        return write_failure(error)

    def _begin(self, out: list[bytes]) -> None:
        if not self._begun:
            self._begun = True
            out.append(_event("messageStart", {"role": "assistant"}))

    def _start(self, kind: str) -> None:
        self._blocks += 1
        self._open = kind

    def _close(self, out: list[bytes]) -> None:
        if self._open:
            out.append(_event("contentBlockStop", {"contentBlockIndex": self._blocks - 1}))
            self._open = ""
            self._thought.clear()

    def _delta(self, out: list[bytes], kind: str, delta: Json) -> None:
        if self._open != kind:
            self._close(out)
            self._start(kind)  # a text or a thought begins without a word
        out.append(_event("contentBlockDelta", {"contentBlockIndex": self._blocks - 1, "delta": delta}))

    def _begin_block(self, out: list[bytes], kind: str, start: Json) -> None:
        self._close(out)
        self._start(kind)
        out.append(_event("contentBlockStart", {"contentBlockIndex": self._blocks - 1, "start": {kind: start}}))

    def _think(self, out: list[bytes], thought: Json) -> None:
        """A whole thought. As a rule its text has been streamed before, and what it brings is the signature."""
        if thought["type"] == "redacted_thinking":
            self._close(out)
            self._delta(out, "reasoning", write_thought(thought))
        else:
            text = thought["thinking"]
            if self._open != "reasoning" or text != "".join(self._thought):
                if text and self._reasoned:
                    return  # said, in a block that is closed
                self._close(out)
                if text:
                    self._delta(out, "reasoning", {"reasoningContent": {"text": text}})
            if thought.get("signature"):
                self._delta(out, "reasoning", {"reasoningContent": {"signature": thought["signature"]}})
        self._close(out)

    def _keep(self, out: list[bytes], block: Json) -> None:
        """A call that Amazon answered itself, and the answer; nothing else can be streamed."""
        for kind, whole in block.items():
            if kind == "toolUse":
                start = {name: value for name, value in whole.items() if name != "input"}
                self._begin_block(out, kind, start)
                self._delta(out, kind, {kind: {"input": encode(whole["input"]).decode()}})
            elif kind == "toolResult":
                start = {name: value for name, value in whole.items() if name != "content"}
                self._begin_block(out, kind, start)
                self._delta(out, kind, {kind: whole["content"]})
        self._close(out)

    def _call(self, out: list[bytes], call: ToolCall) -> None:
        index = self._calls.get(call.index)
        if index is None:
            index = self._calls[call.index] = self._blocks
            written = tool_use(self._id, call)
            del written["input"]
            self._begin_block(out, "toolUse", written)
        if call.arguments:
            # Two calls may come in turns. Every event names its block, so one that is closed can still be meant.
            event = {"contentBlockIndex": index, "delta": {"toolUse": {"input": call.arguments}}}
            out.append(_event("contentBlockDelta", event))

    def _whole(self, answer: Response) -> bytes:
        """An answer in one piece; its thoughts stand before what was said, with their signatures."""
        pieces = explode(answer)
        if any(choice.extra.get(THOUGHTS) for choice in answer.choices):
            pieces = [piece for piece in pieces if not piece.reasoning]
            pieces.sort(key=lambda piece: not (piece.extra or {}).get(THOUGHTS))
        return b"".join([self.feed(piece) for piece in pieces])


_EXCEPTIONS = frozenset(
    {
        "InternalServerException",
        "ModelStreamErrorException",
        "ServiceUnavailableException",
        "ThrottlingException",
        "ValidationException",
    }
)


def _event(kind: str, event: Json) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return framed(headers, encode(event))


def write_failure(error: GatewayError) -> bytes:
    """An error as the end of a stream."""
    _, headers, body = write_error(error)
    name = headers["x-amzn-errortype"]
    # A stream has fewer exceptions than there are.
    name = name[0].lower() + name[1:] if name in _EXCEPTIONS else "modelStreamErrorException"
    said = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return framed(said, encode(body))
