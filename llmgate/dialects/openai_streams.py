"""Streams of chat completions and of text completions, read and written.

A stream is whole when `[DONE]` came, or when its body ended after every choice that spoke had said why it stopped:
a quarter of the services send no `[DONE]`. What follows a finish is still read, because the usage comes there.
"""

# ruff: noqa: RUF019, SIM401 -- this runs once a token: `in` and `[]` are instructions, `.get` is a call

from __future__ import annotations

from typing import Any

from ..errors import GatewayError
from ..types.request import Request
from ..types.response import Chunk, ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .answering import pieces
from .base import Quirks
from .openai_errors import error_of, is_error, write_error
from .openai_words import Json, arguments_of, call_id, finish_of, read_message, urls_of, usage_of
from .reading import EventReader, not_json, strange
from .shapes import MISSHAPEN

__all__ = ["Reader", "Writer"]


class Reader(EventReader):
    """
    Reads one stream.

    Every event becomes at least one chunk, also one that says nothing, and all chunks of an event share its JSON as
    `raw`: who passes the stream on as it is passes each `raw` on once.
    """

    __slots__ = ("_calls", "_finished", "_proof", "_reasoning_in_output")

    def __init__(self, request: Request, quirks: Quirks) -> None:
        super().__init__()
        self._proof = request.verb != "request"  # of a format that is not read here the end of the body has to do
        self._reasoning_in_output = quirks.reasoning_in_output
        self._finished: dict[int, bool] = {}
        self._calls: dict[int, _Calls] = {}

    def _read(self, name: bytes, payload: bytes, chunks: list[Chunk]) -> None:
        if payload == b"[DONE]":
            self.terminated = True
            return
        try:
            event = loads(payload)
        except ValueError:
            if name == b"error":
                raise error_of(None, {}, payload.decode("utf-8", "replace")) from None
            if payload.strip():
                raise not_json(payload) from None
            return
        try:
            if name == b"error":
                raise error_of(None, {}, event)
            self._read_event(event, chunks)
        except MISSHAPEN as error:
            raise strange(payload) from error

    def _whole(self) -> bool:
        return not self._proof or bool(self._finished and all(self._finished.values()))

    def _told(self, data: Any) -> GatewayError | None:
        return error_of(None, {}, data) if is_error(data) else None

    def _read_event(self, event: Json, chunks: list[Chunk]) -> None:
        if ("choices" not in event or "error" in event) and self._proof and is_error(event):
            raise error_of(None, {}, event)
        usage: Usage | None = None
        if "usage" in event and event["usage"]:
            usage = usage_of(event, event["usage"], self._reasoning_in_output)
        elif "x_groq" in event and event["x_groq"] and "usage" in event["x_groq"]:
            usage = usage_of(event, event["x_groq"]["usage"], self._reasoning_in_output)
        id = event["id"] if "id" in event else ""
        model = event["model"] if "model" in event else ""
        created = event["created"] if "created" in event else None
        choices = event["choices"] if "choices" in event else None
        if not choices:
            chunk = Chunk(usage=usage, index=-1, id=id or "", model=model or "", created=created, raw=event)
            if event.get("citations") and 0 in self._finished:
                chunk.index, chunk.citations = 0, urls_of(event["citations"])
            chunks.append(chunk)
            return
        for choice in choices:
            index = (choice["index"] if "index" in choice else 0) or 0
            text: Any = ""
            more: Json | None = None
            if "delta" in choice:
                for key in choice["delta"] or ():
                    value = choice["delta"][key]
                    if key == "content" and value.__class__ is str:
                        text = value
                    elif value and key != "role":
                        more = choice["delta"]
            elif "text" in choice:
                text = choice["text"] or ""
            chunk = Chunk(text=text, index=index, id=id or "", model=model or "", created=created, raw=event)
            if usage is not None:
                chunk.usage, usage = usage, None
            if "citations" in event and event["citations"]:
                chunk.citations = urls_of(event["citations"])
            if more is not None and (pieces := read_message(chunk, more)):
                if index not in self._calls:
                    self._calls[index] = _Calls()
                chunk.tool_calls = self._calls[index].read(pieces)
            if "logprobs" in choice:
                chunk.logprobs = choice["logprobs"]
            if "finish_reason" in choice and choice["finish_reason"]:
                self._finish(chunk, choice)
            elif index not in self._finished:
                self._finished[index] = False
            chunks.append(chunk)

    def _finish(self, chunk: Chunk, choice: Json) -> None:
        if choice.get("error"):
            raise error_of(None, {}, choice)
        chunk.finish_reason, chunk.native_finish_reason = finish_of(choice)
        self._finished[chunk.index] = True
        calls = self._calls.get(chunk.index)
        if calls is not None:
            chunk.tool_calls = [*chunk.tool_calls, *calls.unnamed(chunk)]


class _Calls:
    """
    Tells the tool calls of one choice apart.

    A piece names its call by index; some give every call the index 0 and an id of its own, some give no index, and some
    repeat id and name with every piece.
    """

    __slots__ = ("_ids", "_slots")

    def __init__(self) -> None:
        self._slots: dict[Any, int] = {}  # the wire's index to ours
        self._ids: list[str] = []

    def read(self, pieces: list[Json]) -> list[ToolCall]:
        calls: list[ToolCall] = []
        for piece in pieces:
            index = piece["index"] if "index" in piece else None
            id = (piece["id"] if "id" in piece else None) or ""
            function = piece["function"] if "function" in piece else piece["custom"] if "custom" in piece else {}
            name = (function["name"] if "name" in function else None) or ""
            arguments: Any = function["arguments"] if "arguments" in function else function.get("input")
            # Nearly always the piece goes on with the call of its index.
            known = not name and index is not None and index in self._slots
            slot = self._slots[index] if known else self._slot(index, id, name)
            if id and not self._ids[slot]:
                self._ids[slot] = id
            call = ToolCall(id, name, arguments if arguments.__class__ is str else arguments_of(arguments), slot)
            calls.append(call)
            if "extra_content" in piece:
                call.extra = {"extra_content": piece["extra_content"]}
            elif "custom" in piece:
                call.extra = {"type": "custom"}
        return calls

    def _slot(self, index: Any, id: str, name: str) -> int:
        if index is None and id and id in self._ids:
            return self._ids.index(id)
        slot = self._slots.get(index)  # without an index: the last call that had none
        if slot is None or (name and (self._ids[slot] not in ("", id) if id else index is None)):
            slot = self._slots[index] = len(self._ids)
            self._ids.append(id)
        return slot

    def unnamed(self, chunk: Chunk) -> list[ToolCall]:
        """Pieces that give an id to the calls that came without one."""
        pieces = [
            ToolCall(id=call_id(chunk.id, chunk.index, slot), index=slot) for slot, id in enumerate(self._ids) if not id
        ]
        for piece in pieces:
            self._ids[piece.index] = piece.id
        return pieces


class Writer:
    """
    Writes one stream. The usage is told once, at the end, to those who asked for it with
    `stream_options: {"include_usage": true}`.
    """

    __slots__ = ("_asked", "_created", "_id", "_legacy", "_model", "_started", "_text", "_usage")

    def __init__(self, request: Request) -> None:
        body = request.body if isinstance(request.body, dict) else {}
        self._asked = bool((body.get("stream_options") or {}).get("include_usage"))
        self._legacy = "functions" in body and "tools" not in body
        self._text = request.verb == "complete"
        self._started: set[int] = set()
        self._usage: Usage | None = None
        self._created: int | None = None
        self._id = self._model = ""

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            return b"".join([self.feed(piece) for piece in pieces("OpenAI", chunk.whole)])
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        if chunk.index < 0:
            return b""
        data = self._envelope(chunk)
        if not data["choices"]:
            return b""
        choice = data["choices"][0]
        if chunk.logprobs is not None:
            choice["logprobs"] = chunk.logprobs
        if chunk.citations:
            data["citations"] = list(chunk.citations)
        if self._text:
            choice["text"] = choice.pop("delta").get("content") or ""
        else:
            self._write_delta(choice["delta"], chunk)
        return _event(data)

    def end(self) -> bytes:
        usage = b""
        if self._asked and self._usage:
            usage = _event(self._envelope(Chunk(usage=self._usage, index=-1)) | {"choices": []})
        return usage + b"data: [DONE]\n\n"

    def error(self, error: GatewayError) -> bytes:
        return _event(write_error(error)[2])

    def _envelope(self, chunk: Chunk) -> Json:
        """The chunk as OpenAI writes it, with the same id, model and time in all chunks of a stream."""
        data = chunk.to_openai()
        if chunk.index >= 0:
            data.pop("usage", None)
        self._id = data["id"] = self._id or chunk.id
        self._model = data["model"] = self._model or chunk.model
        if self._created is None:
            self._created = data["created"]
        data["created"] = self._created
        if self._text:
            data["object"] = "text_completion"
        return data

    def _write_delta(self, delta: Json, chunk: Chunk) -> None:
        if chunk.extra:
            delta |= chunk.extra
        if self._legacy and "tool_calls" in delta:
            delta["function_call"] = delta.pop("tool_calls")[0]["function"]
        if chunk.index not in self._started:
            self._started.add(chunk.index)
            delta["role"] = "assistant"
            delta.setdefault("content", None if chunk.tool_calls else "")


def _event(data: Json) -> bytes:
    return b"data: " + encode(data) + b"\n\n"
