"""The stream of Ollama's own API, read and written: one JSON value a line, the last of them with `done`.

Source: https://docs.ollama.com/api/streaming (checked 2026-11-20), and recorded streams.
"""

from __future__ import annotations

from ..errors import GatewayError, ProtocolError, StreamInterrupted
from ..policies.sse import LineSplitter
from ..types.request import Request
from ..types.response import Chunk, ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .answering import pieces
from .ollama_words import created_of, ended, finish_of, read_calls, read_message, timestamp, usage_of, write_call
from .openai_errors import error_of
from .openai_words import Json
from .reading import Reading, not_json, strange
from .shapes import MISSHAPEN

__all__ = ["Reader", "Writer"]


class Reader(Reading):
    """Reads one stream. Every line becomes one chunk, also one that says nothing, with its JSON as `raw`."""

    __slots__ = ("_answer", "_called", "_lines")

    def __init__(self) -> None:
        super().__init__()
        self._lines = LineSplitter()
        self._answer: str | None = None  # when it began; what tells it from others
        self._called = 0  # tool calls so far

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        self._read(self._lines.feed(data), chunks)

    def _close(self, chunks: list[Chunk]) -> None:
        try:
            self._read(self._lines.end(), chunks)
        except ProtocolError as error:
            raise StreamInterrupted("the stream ended in the middle of a line") from error
        if not self.terminated:
            raise StreamInterrupted("the stream ended before the answer did")

    def _read(self, lines: list[bytes], chunks: list[Chunk]) -> None:
        for line in lines:
            if not line.isspace():
                chunks.append(self._chunk(line))
            if self.terminated:
                break

    def _chunk(self, line: bytes) -> Chunk:
        try:
            event = loads(line)
        except ValueError:
            raise not_json(line) from None
        try:
            if "error" in event:
                raise error_of(None, {}, event)
            chunk = Chunk(model=event.get("model") or "", raw=event)
            if self._answer is None:
                self._answer = str(event.get("created_at") or "")
                chunk.created = created_of(event)
            calls = read_message(chunk, event)
            if calls:
                chunk.tool_calls = read_calls(calls, self._answer, self._called)
                self._called += len(chunk.tool_calls)
            if event["done"]:
                reason = event.get("done_reason")
                chunk.finish_reason, chunk.native_finish_reason = finish_of(reason, self._called > 0)
                chunk.usage = usage_of(event)
                self.terminated = True
        except MISSHAPEN as error:
            raise strange(line) from error
        return chunk


class Writer:
    """
    Writes one stream. Text is written as it comes. Tool calls are written whole, and how it ended is told, by `end`: the
    rest of the arguments and the usage may come after anything else.
    """

    __slots__ = ("_calls", "_created_at", "_finish", "_model", "_native", "_text", "_usage")

    def __init__(self, request: Request) -> None:
        self._text = request.verb == "complete"
        self._model = request.model
        self._created_at = ""
        self._calls: dict[int, ToolCall] = {}
        self._finish: str | None = None
        self._native: str | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            return b"".join([self.feed(piece) for piece in pieces("Ollama", chunk.whole)])
        if chunk.index > 0:
            return b""  # there is one choice, and nobody can ask for more
        self._model = chunk.model or self._model
        if not self._created_at and chunk.created is not None:
            self._created_at = timestamp(chunk.created)
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        if chunk.finish_reason is not None:
            self._finish, self._native = chunk.finish_reason, chunk.native_finish_reason
        for piece in chunk.tool_calls:
            known = self._calls.get(piece.index)
            if known is None:
                self._calls[piece.index] = ToolCall(piece.id, piece.name, piece.arguments, piece.index)
            else:
                known.id, known.name = known.id or piece.id, known.name or piece.name
                known.arguments += piece.arguments
        text = chunk.text + (chunk.refusal or "")
        if not text and not chunk.reasoning and chunk.logprobs is None:
            return b""
        said: Json = {"thinking": chunk.reasoning} if chunk.reasoning else {}
        line = self._line(text, said) | {"done": False}
        if isinstance(chunk.logprobs, dict) and chunk.logprobs.get("content"):
            line["logprobs"] = chunk.logprobs["content"]
        return encode(line) + b"\n"

    def _line(self, text: str, more: Json) -> Json:
        """The envelope and what is said in it."""
        line: Json = {"model": self._model, "created_at": self._created_at or timestamp(None)}
        if self._text:
            return line | {"response": text} | more
        return line | {"message": {"role": "assistant", "content": text} | more}

    def end(self) -> bytes:
        calls = [write_call(call) for call in self._calls.values()]
        before = encode(self._line("", {"tool_calls": calls}) | {"done": False}) + b"\n" if calls else b""
        return before + encode(self._line("", {}) | ended(self._finish, self._native, self._usage)) + b"\n"

    def error(self, error: GatewayError) -> bytes:
        return encode({"error": error.message}) + b"\n"
