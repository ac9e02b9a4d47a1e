"""The event stream of Google's Interactions, read and written.

Read: every event names the step it belongs to. How it ended is told by the event about the whole interaction, and the
stream is over with it; `done` behind it says nothing more. Before May 2026 the same was told of `content`, and ended by
`interaction.complete`; both are read.

Written: one step after the other, ended by `interaction.completed` and `done`.

Source: https://ai.google.dev/gemini-api/docs/interactions (checked 2026-11-20), the types of `google-genai` 3.4, and
recorded streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest, GatewayError
from ..types.request import Request
from ..types.response import Answer, Chunk, Response, ToolCall
from ..types.usage import Usage
from ..types.wire import encode, loads
from .gemini_errors import error_of, write_error
from .interactions_words import (
    PENDING,
    Kept,
    called,
    citations_of,
    finish_of,
    kept_steps,
    status_of,
    step_of_call,
    usage_of,
    write_usage,
)
from .openai_words import Json
from .reading import EventReader, strange
from .shapes import MISSHAPEN

__all__ = ["Reader", "Writer", "failure_of"]


def failure_of(interaction: Json) -> GatewayError:
    """The error that a failed interaction tells of; of several the first."""
    told = next(iter(interaction.get("errors") or ()), None) or interaction.get("error")
    return _error_of(told or {"message": "the interaction failed"})


def _error_of(told: Json) -> GatewayError:
    """An error inside of an interaction, whose code is the word that stands elsewhere in `status`."""
    word = {"status": told["code"]} if isinstance(told.get("code"), str) and "status" not in told else {}
    return error_of(None, {}, {"error": {**told, **word}})


class _Step:
    """A step of which the rest is still to come."""

    __slots__ = ("arguments", "call", "start")

    def __init__(self, start: Json) -> None:
        # The event keeps what it said; more is put into a copy.
        self.start = {name: list(value) if isinstance(value, list) else value for name, value in start.items()}
        self.call = -1  # its number among the tool calls
        self.arguments = ""


class Reader(EventReader):
    """Reads one stream. Every event becomes one chunk, even if it says nothing, with its JSON as `raw`."""

    __slots__ = ("_calls", "_id", "_kept", "_model", "_steps")

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[int, _Step] = {}  # those that have not stopped
        self._kept = Kept()
        self._calls = 0
        self._id = ""
        self._model = ""

    def _read(self, name: bytes, payload: bytes, chunks: list[Chunk]) -> None:
        if payload.strip() == b"[DONE]":
            return  # it says nothing that was not said
        try:
            event = loads(payload)
            kind: str = event.get("event_type") or name.decode()
            if kind == "error" or ("event_type" not in event and "error" in event):
                raise _error_of(event["error"])
            read = _EVENTS.get(kind.replace("content.", "step."))
            if read is None and kind.startswith("interaction."):
                read = Reader._lifecycle
            chunk = (read(self, event) if read is not None else None) or Chunk(index=-1)
        except MISSHAPEN as error:
            raise strange(payload) from error
        chunk.id, chunk.model, chunk.raw = self._id, self._model, event
        chunks.append(chunk)

    def _told(self, data: Any) -> GatewayError | None:
        told = data[0] if isinstance(data, list) and data else data
        return error_of(None, {}, told) if "error" in told else None

    def _lifecycle(self, event: Json) -> Chunk | None:
        """An event about the interaction as a whole; one whose status is not pending ends it."""
        whole = event.get("interaction") or {}
        self._id = whole.get("id") or event.get("interaction_id") or self._id
        self._model = whole.get("model") or self._model
        status = whole.get("status") or event.get("status")
        if status is None and event.get("event_type", "").startswith("interaction.complete"):
            status = "completed"
        if status == "failed":
            raise failure_of(whole or event)
        counts = whole.get("usage") or event.get("usage")
        usage = usage_of(counts) if counts else None
        if status is None or status in PENDING or not whole:
            return Chunk(usage=usage, index=-1) if usage else None
        self.terminated = True
        finish, native = finish_of(status, self._calls > 0)
        chunk = Chunk("", "", (), finish, usage)
        chunk.native_finish_reason = native
        chunk.extra = self._kept.extra() or None
        return chunk

    def _step_start(self, event: Json) -> Chunk | None:
        start: Json = event["step"] if "step" in event else event["content"]
        step = self._steps[event["index"]] = _Step(start)
        kind = start["type"]
        if kind == "function_call":
            return self._call(step)
        if kind == "text" and "text" in start:
            return Chunk(start["text"])
        texts = [part["text"] for part in start.get("content") or () if part.get("type") == "text"]
        return Chunk("".join(texts)) if texts else None

    def _call(self, step: _Step) -> Chunk | None:
        """The beginning of a call, as soon as its tool is known."""
        if not step.start.get("name"):
            return None
        step.call = self._calls
        self._calls += 1
        call = called(step.start, self._id, step.call)
        # An empty object is a place for what is to come.
        call.arguments = call.arguments if step.start.get("arguments") else ""
        step.arguments = call.arguments
        return Chunk(tool_calls=(call,))

    def _step_delta(self, event: Json) -> Chunk | None:
        step, delta = self._steps[event["index"]], event["delta"]
        kind = delta["type"]
        if kind == "text":
            _add_text(step.start, delta["text"])
            return Chunk(delta["text"])
        if kind == "arguments_delta":
            part: str = delta.get("arguments") or ""
            step.arguments += part
            return Chunk(tool_calls=(ToolCall("", "", part, step.call),)) if part and step.call >= 0 else None
        if kind == "thought_summary":
            content = delta.get("content") or {}
            step.start.setdefault("summary", []).append(content)
            return Chunk(reasoning=content["text"]) if content.get("text") else None
        if kind == "thought_signature":
            step.start["signature"] = delta.get("signature") or step.start.get("signature") or ""
        elif kind == "text_annotation_delta":
            return _annotate(step.start, delta.get("annotations") or [])
        elif kind == "function_call":
            step.start |= {name: value for name, value in delta.items() if value is not None}
            return self._call(step) if step.call < 0 else None
        elif step.start["type"] == "model_output":
            step.start.setdefault("content", []).append(delta)  # an image
        else:
            step.start |= {name: value for name, value in delta.items() if value is not None}
        return None

    def _step_stop(self, event: Json) -> Chunk | None:
        step = self._steps.pop(event["index"])
        whole = step.start
        if step.call >= 0:
            whole["arguments"] = loads(step.arguments) if step.arguments.strip() else {}
        self._kept.add({"type": "model_output", "content": [whole]} if whole["type"] == "text" else whole)
        extra = self._kept.extra()
        return Chunk(extra=extra) if extra else None


_EVENTS: Mapping[str, Callable[[Reader, Json], Chunk | None]] = MappingProxyType(
    {"step.start": Reader._step_start, "step.delta": Reader._step_delta, "step.stop": Reader._step_stop}
)


def _add_text(start: Json, text: str) -> None:
    if start["type"] == "text":
        start["text"] = start.get("text", "") + text
        return
    content = start.setdefault("content", [])
    if content and content[-1].get("type") == "text":
        content[-1] = {**content[-1], "text": content[-1]["text"] + text}
    else:
        content.append({"type": "text", "text": text})


def _annotate(start: Json, notes: list[Json]) -> Chunk | None:
    """Notes belong to the text before them."""
    content = start.get("content")
    if start["type"] == "text":
        start["annotations"] = [*start.get("annotations", ()), *notes]
    elif content:
        content[-1] = {**content[-1], "annotations": [*content[-1].get("annotations", ()), *notes]}
    urls = citations_of(notes)
    return Chunk(citations=urls) if urls else None


class Writer:
    """
    Writes one stream. Text and reasoning are written as they come; calls are written whole, and how it ended is told, by
    `end`: the rest of the arguments and the usage may come after anything else.

    Args:
        write_answer: Makes an interaction of a whole answer.
    """

    __slots__ = (
        "_begun", "_calls", "_finish", "_id", "_index", "_model", "_native", "_open", "_usage", "_write_answer",
    )  # fmt: skip

    def __init__(self, request: Request, write_answer: Callable[[Response], Json]) -> None:
        self._begun = False
        self._calls: dict[int, ToolCall] = {}
        self._finish: str | None = None
        self._native: str | None = None
        self._id = ""
        self._index = -1  # of the last step
        self._open = ""  # its type
        self._model = request.model
        self._usage = Usage()
        self._write_answer = write_answer

    def feed(self, chunk: Chunk) -> bytes:
        out: list[bytes] = []
        if chunk.whole is not None:
            self._whole(out, chunk.whole)
            return b"".join(out)
        if chunk.index > 0:
            return b""  # there is one answer, and nobody can ask for more
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        self._begin(out, chunk.id, chunk.model)
        if chunk.reasoning:
            self._reason(out, chunk.reasoning)
        for text in (chunk.text, chunk.refusal):
            if text:
                self._delta(out, "model_output", {"type": "text", "text": text})
        if chunk.citations:
            self._cite(out, [{"type": "url_citation", "url": url} for url in chunk.citations])
        for call in chunk.tool_calls:
            known = self._calls.setdefault(call.index, ToolCall(index=call.index))
            known.id, known.name = known.id or call.id, known.name or call.name
            known.arguments += call.arguments
        for step in kept_steps(chunk.extra):
            self._keep(out, step)
        if chunk.finish_reason is not None:
            self._finish, self._native = chunk.finish_reason, chunk.native_finish_reason
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._begin(out, "", "")
        for call in self._calls.values():
            self._start(out, step_of_call(call) | {"id": call.id, "arguments": {}})
            self._delta(out, "function_call", {"type": "arguments_delta", "arguments": call.arguments})
        self._close(out)
        whole = self._interaction(status_of(self._finish, self._native))
        usage = write_usage(self._usage)
        out.append(_event("interaction.completed", {"interaction": whole | ({"usage": usage} if usage else {})}))
        out.append(b"event: done\ndata: [DONE]\n\n")
        return b"".join(out)

    def error(self, error: GatewayError) -> bytes:
        told = write_error(error)[2]["error"]
        return _event("error", {"error": {"message": told["message"], "code": told["status"]}})

    def _interaction(self, status: str) -> Json:
        return {"id": self._id, "object": "interaction", "model": self._model, "status": status}

    def _begin(self, out: list[bytes], id: str, model: str) -> None:
        self._id = self._id or id
        self._model = model or self._model
        if not self._begun:
            self._begun = True
            out.append(_event("interaction.created", {"interaction": self._interaction("in_progress")}))

    def _start(self, out: list[bytes], step: Json) -> None:
        self._close(out)
        self._index += 1
        self._open = step["type"]
        out.append(_event("step.start", {"index": self._index, "step": step}))

    def _close(self, out: list[bytes]) -> None:
        if self._open:
            out.append(_event("step.stop", {"index": self._index}))
            self._open = ""

    def _delta(self, out: list[bytes], kind: str, delta: Json) -> None:
        if self._open != kind:
            self._start(out, {"type": kind})
        out.append(_event("step.delta", {"index": self._index, "delta": delta}))

    def _reason(self, out: list[bytes], text: str) -> None:
        self._delta(out, "thought", {"type": "thought_summary", "content": {"type": "text", "text": text}})

    def _cite(self, out: list[bytes], notes: list[Json]) -> None:
        self._delta(out, "model_output", {"type": "text_annotation_delta", "annotations": notes})

    def _keep(self, out: list[bytes], step: Json) -> None:
        """A step that the next turn wants back. As a rule what it says has been streamed before."""
        kind = step["type"]
        if kind == "thought":
            self._delta(out, kind, {"type": "thought_signature", "signature": step.get("signature", "")})
            self._close(out)
        elif kind == "model_output":
            for part in step.get("content") or ():
                if part["type"] != "text":
                    self._delta(out, kind, part)
        elif kind != "function_call":
            self._start(out, step)
            self._close(out)

    def _whole(self, out: list[bytes], answer: Answer) -> None:
        """An answer in one piece; its steps stand in their order."""
        if not isinstance(answer, Response):
            raise BadRequest(f"Google's Interactions API does not stream {type(answer).__name__}")
        self._begin(out, answer.id, answer.model)
        self._usage = answer.usage
        whole = self._write_answer(answer)
        self._finish, self._native = finish_of(whole["status"], False)
        for step in whole["steps"]:
            for part in step.get("summary") or ():
                self._reason(out, part["text"])
            for part in step.get("content") or ():
                self._content(out, part)
            if step["type"] == "function_call":
                self._start(out, step | {"arguments": {}})
                arguments = encode(step["arguments"]).decode()
                self._delta(out, "function_call", {"type": "arguments_delta", "arguments": arguments})
            elif step["type"] != "model_output" and (step["type"] != "thought" or step.get("signature")):
                self._keep(out, step)
            self._close(out)

    def _content(self, out: list[bytes], part: Json) -> None:
        if part["type"] != "text":
            self._delta(out, "model_output", part)
            return
        self._delta(out, "model_output", {"type": "text", "text": part["text"]})
        if part.get("annotations"):
            self._cite(out, part["annotations"])


def _event(kind: str, data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"event_type": kind, **data}))
