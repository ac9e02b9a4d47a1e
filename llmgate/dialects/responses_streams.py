"""The event stream of OpenAI's Responses, read and written.

Read: `response.completed` or `response.incomplete` is the end and nothing else is; `response.failed` and `error` are
errors. Every event names the item it belongs to by `output_index`; ids change from event to event at some (Copilot).
What an item said when it was done counts: where its pieces did not come, or not all, the rest is given then.

Written: the events the SDK accumulates, one item after the other, ended by the whole Response.

Source: https://platform.openai.com/docs/api-reference/responses-streaming (checked 2026-11-20), the types and the
accumulator of the `openai` package 3.52.
"""

# ruff: noqa: RUF019, SIM401 -- this runs once a token: `in` and `[]` are instructions, `.get` is a call

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import GatewayError
from ..types.request import Request
from ..types.response import Chunk, ToolCall
from ..types.usage import Usage
from ..types.wire import encode
from .answering import pieces
from .base import Quirks
from .openai_errors import error_of, write_error
from .openai_streams import Reader as ChatReader
from .openai_words import Json, urls_of, usage_of
from .responses_words import (
    CALLS,
    KEPT,
    agree,
    annotation_of,
    call_item,
    envelope,
    finish_of,
    item_id,
    kind_of,
    message_item,
    own_of_call,
    read_output,
    summary_item,
    text_part,
    write_usage,
)

__all__ = ["Reader", "Writer"]


class _Item:
    """What was said of an item before it was done."""

    __slots__ = ("named", "refused", "said", "slot", "weighed")

    def __init__(self) -> None:
        self.said: list[str] = []  # text, reasoning or arguments
        self.refused: list[str] = []
        self.slot = -1  # among the calls, if it is one
        self.named = False
        self.weighed = False  # whether probabilities came with the pieces


class Reader(ChatReader):
    """
    Reads one stream.

    Every event becomes one chunk, even if it says nothing, with its JSON as `raw`: who passes the stream on as it is
    passes each `raw` on.
    """

    __slots__ = ("_called", "_created", "_done", "_id", "_items", "_model", "_urls")

    def __init__(self, request: Request, quirks: Quirks) -> None:
        super().__init__(request, quirks)
        self._items: dict[Any, _Item] = {}
        self._done: list[Json] = []
        self._called = 0
        self._urls: set[str] = set()
        self._id = self._model = ""
        self._created: int | None = None

    def _read_event(self, event: Json, chunks: list[Chunk]) -> None:
        kind = event["type"] if "type" in event else ""
        if kind == "response.output_text.delta":  # nearly every event
            chunk = Chunk(text=event["delta"])
            item = self._item(event)
            item.said.append(chunk.text)
            if "logprobs" in event and event["logprobs"]:
                item.weighed = True
                chunk.logprobs = {"content": event["logprobs"]}
        else:
            read = _EVENTS.get(kind)  # what OpenAI may add has none
            if read is not None:
                chunk = read(self, event)
            elif event.get("error"):
                raise error_of(None, {}, event)
            else:
                chunk = Chunk(index=-1)
        chunk.id, chunk.model, chunk.created, chunk.raw = self._id, self._model, self._created, event
        chunks.append(chunk)

    def _item(self, event: Json) -> _Item:
        index = event["output_index"]
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item()
        return item

    def _error(self, event: Json) -> Chunk:
        raise error_of(None, {}, event)

    def _failed(self, event: Json) -> Chunk:
        raise failure(event["response"])

    def _begins(self, event: Json) -> Chunk:
        self._head(event["response"])
        return Chunk(index=-1)

    def _head(self, response: Json) -> None:
        self._id = response.get("id") or self._id
        self._model = response.get("model") or self._model
        created = response.get("created_at")
        if created is not None:
            self._created = int(created)

    def _item_added(self, event: Json) -> Chunk:
        wire = event["item"]
        if not wire or wire["type"] not in CALLS:
            return Chunk(index=-1)
        return Chunk(tool_calls=(self._call(self._item(event), wire, ""),))

    def _call(self, item: _Item, wire: Json | None, arguments: str) -> ToolCall:
        """A piece of a call; it bears the name when the name is known for the first time."""
        if item.slot < 0:
            item.slot = self._called
            self._called += 1
        if wire is None or item.named:
            return ToolCall("", "", arguments, item.slot)
        item.named = True
        id = wire.get("call_id") or wire.get("id") or item_id("call", self._id, item.slot)
        return ToolCall(id, wire["name"], arguments, item.slot, own_of_call(wire))

    def _arguments(self, event: Json) -> Chunk:
        item, part = self._item(event), event["delta"]
        item.said.append(part)
        return Chunk(tool_calls=(self._call(item, None, part),))

    def _reasoning(self, event: Json) -> Chunk:
        part = event["delta"]
        self._item(event).said.append(part)
        return Chunk(reasoning=part)

    def _refusal(self, event: Json) -> Chunk:
        part = event["delta"]
        self._item(event).refused.append(part)
        return Chunk(refusal=part)

    def _annotation(self, event: Json) -> Chunk:
        chunk = Chunk()
        self._cite(chunk, urls_of([event["annotation"]]))
        return chunk

    def _cite(self, chunk: Chunk, urls: list[str]) -> None:
        chunk.citations = [url for url in urls if url not in self._urls]
        self._urls.update(urls)

    def _item_done(self, event: Json) -> Chunk:
        wire = event["item"]
        if not wire:
            return Chunk(index=-1)
        self._done.append(wire)
        return self._rest(self._item(event), wire)

    def _rest(self, item: _Item, wire: Json) -> Chunk:
        """What a finished item says beyond its pieces."""
        whole = read_output([wire])
        chunk = Chunk()
        if whole.tool_calls:
            rest = _beyond(item.said, whole.tool_calls[0].arguments)
            if rest or not item.named:
                chunk.tool_calls = (self._call(item, wire, rest),)
        else:
            chunk.reasoning = _beyond(item.said, whole.reasoning) if whole.reasoning else ""
            chunk.text = _beyond(item.said, whole.text) if whole.text else ""
            if not item.weighed:
                chunk.logprobs = whole.logprobs
            chunk.refusal = _beyond(item.refused, whole.refusal or "") or None
            self._cite(chunk, whole.citations)
        return chunk

    def _ended(self, event: Json) -> Chunk:
        response = event["response"]
        if response.get("error"):
            raise failure(response)
        self._head(response)
        output = response.get("output") or self._done  # ChatGPT's own backend repeats nothing
        chunk = Chunk()
        if not self._done:
            self._only(chunk, output)
        counts = response.get("usage")
        if counts:
            chunk.usage = usage_of(response, counts, True)
        whole = read_output(output, self._id)
        chunk.extra = whole.extra or None
        chunk.finish_reason, chunk.native_finish_reason = finish_of(response, bool(self._called))
        if chunk.finish_reason is None:
            chunk.finish_reason = "stop"
        self.terminated = True
        return chunk

    def _only(self, chunk: Chunk, output: list[Json]) -> None:
        """No item was ever said to be done: what the end brings is what was said."""
        for index, wire in enumerate(output):
            rest = self._rest(self._item({"output_index": index}), wire)
            chunk.text += rest.text
            chunk.reasoning += rest.reasoning
            chunk.tool_calls = [*chunk.tool_calls, *rest.tool_calls]
            chunk.citations = [*chunk.citations, *rest.citations]
            chunk.refusal = rest.refusal if chunk.refusal is None else chunk.refusal + (rest.refusal or "")
            chunk.logprobs = chunk.logprobs or rest.logprobs


def _beyond(said: list[str], whole: str) -> str:
    """The rest of a text of which a part was given; nothing, if something else was given."""
    given = "".join(said)
    return whole[len(given) :] if whole.startswith(given) else ""


def failure(response: Json) -> GatewayError:
    """The error that a Response with the status `failed` means."""
    return error_of(None, {}, response if response.get("error") else {"message": "the upstream reported a failure"})


_EVENTS: Mapping[str, Callable[[Reader, Json], Chunk]] = MappingProxyType(
    {
        "error": Reader._error,
        "response.failed": Reader._failed,
        "response.created": Reader._begins,
        "response.output_item.added": Reader._item_added,
        "response.output_item.done": Reader._item_done,
        "response.function_call_arguments.delta": Reader._arguments,
        "response.custom_tool_call_input.delta": Reader._arguments,
        "response.reasoning_summary_text.delta": Reader._reasoning,
        "response.reasoning_text.delta": Reader._reasoning,
        "response.refusal.delta": Reader._refusal,
        "response.output_text.annotation.added": Reader._annotation,
        "response.completed": Reader._ended,
        "response.incomplete": Reader._ended,
    }
)


class _Open:
    """An item that is being written."""

    __slots__ = ("id", "index", "item", "parts")

    def __init__(self, index: int, item: Json) -> None:
        self.index = index
        self.item = item
        self.id: str = item["id"]
        self.parts: list[str] = []  # of the text, the summary or the arguments that are being said


class Writer:
    """
    Writes one stream. Items of text and reasoning end when another begins; calls end with the stream, because pieces of
    several may come in turns. How the answer ended is told by `end`, because the usage may come after the reason.
    """

    __slots__ = (
        "_begun", "_calls", "_created", "_finish", "_id", "_kept", "_model", "_number", "_open", "_output", "_part",
        "_usage",
    )  # fmt: skip

    def __init__(self, request: Request) -> None:
        self._model = request.model
        self._begun = False
        self._id = ""
        self._created = 0
        self._number = 0  # of the next event
        self._output: list[_Open] = []
        self._open: _Open | None = None  # a message or reasoning
        self._part: Json | None = None  # of the message
        self._calls: dict[int, _Open] = {}
        self._usage = Usage()
        self._finish: str | None = None
        self._kept: list[Json] = []

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is not None:
            return b"".join([self.feed(piece) for piece in pieces("the Responses API", chunk.whole)])
        if chunk.index > 0:
            return b""  # Responses has one choice, and nobody can ask it for more
        out: list[bytes] = []
        if chunk.usage is not None:
            self._usage = chunk.usage.max(self._usage)
        self._begin(out, chunk)
        if chunk.reasoning:
            self._reason(out, chunk.reasoning)
        if chunk.text:
            self._say(out, "output_text", chunk.text, chunk.logprobs)
        elif chunk.logprobs is not None and self._part is not None and "logprobs" in self._part:
            self._part["logprobs"] += _tokens(chunk.logprobs)  # of a text that was said before; its end tells them
        for url in chunk.citations:
            self._cite(out, url)
        if chunk.refusal:
            self._say(out, "refusal", chunk.refusal)
        for call in chunk.tool_calls:
            self._call(out, call)
        if chunk.extra:
            self._kept += chunk.extra.get(KEPT) or ()
        if chunk.finish_reason is not None:
            self._finish = chunk.finish_reason
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._begin(out, Chunk())
        self._close(out)
        for call in self._calls.values():
            self._close_call(out, call)
        response = self._response(self._finish, [entry.item for entry in self._output])
        response["output"] = self._with_kept(response["output"])
        out.append(self._event(f"response.{response['status']}", {"response": response}))
        return b"".join(out)

    def error(self, error: GatewayError) -> bytes:
        told = write_error(error)[2]["error"]
        # The type that OpenAI promises has the words at the top, what it sends has them in `error`; the SDK raises for that.
        return self._event("error", {"code": told["code"], "message": told["message"], "param": None, "error": told})

    def _event(self, kind: str, fields: Json) -> bytes:
        data = encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _about(self, kind: str, entry: _Open, **fields: Any) -> bytes:
        return self._event(kind, {"item_id": entry.id, "output_index": entry.index, **fields})

    def _begin(self, out: list[bytes], chunk: Chunk) -> None:
        if self._begun:
            return
        self._begun = True
        self._id = chunk.id
        self._model = chunk.model or self._model
        self._created = int(time.time()) if chunk.created is None else chunk.created
        response = self._response(None, []) | {"status": "in_progress", "usage": None}
        out.append(self._event("response.created", {"response": response}))
        out.append(self._event("response.in_progress", {"response": response}))

    def _response(self, finish: str | None, output: list[Json]) -> Json:
        usage = write_usage(self._usage)
        return envelope(self._id, self._model, self._created, finish=finish, output=output, usage=usage)

    def _start(self, out: list[bytes], item: Json, shown: Json) -> _Open:
        """Begin an item; `shown` is what it says of itself before anything is in it."""
        entry = _Open(len(self._output), item)
        self._output.append(entry)
        out.append(self._event("response.output_item.added", {"output_index": entry.index, "item": {**item, **shown}}))
        return entry

    def _opened(self, out: list[bytes], kind: str) -> _Open:
        """The message or the reasoning that is being written."""
        entry = self._open
        if entry is not None and entry.item["type"] == kind:
            return entry
        self._close(out)
        position = len(self._output)
        if kind == "reasoning":
            item = summary_item(item_id("rs", self._id, position), "")
            entry = self._start(out, item, {"summary": []})
            out.append(
                self._about(
                    "response.reasoning_summary_part.added", entry, summary_index=0, part={**item["summary"][0]}
                )
            )
        else:
            item = message_item(item_id("msg", self._id, position), "completed", [])
            entry = self._start(out, item, {"status": "in_progress"})
        self._open = entry
        return entry

    def _reason(self, out: list[bytes], reasoning: str) -> None:
        entry = self._opened(out, "reasoning")
        entry.parts.append(reasoning)
        out.append(self._about("response.reasoning_summary_text.delta", entry, summary_index=0, delta=reasoning))

    def _say(self, out: list[bytes], kind: str, said: str, logprobs: Any = None) -> None:
        entry = self._opened(out, "message")
        part = self._part
        if part is None or part["type"] != kind:
            part = self._begin_part(out, entry, kind)
        entry.parts.append(said)
        fields: Json = {"content_index": len(entry.item["content"]) - 1, "delta": said}
        if kind == "output_text":
            fields["logprobs"] = _tokens(logprobs)
            part["logprobs"] += fields["logprobs"]
        out.append(self._about(f"response.{kind}.delta", entry, **fields))

    def _begin_part(self, out: list[bytes], entry: _Open, kind: str) -> Json:
        self._close_part(out, entry)
        part = text_part("") if kind == "output_text" else {"type": "refusal", "refusal": ""}
        self._part = part
        content = entry.item["content"]
        content.append(part)
        out.append(self._about("response.content_part.added", entry, content_index=len(content) - 1, part=part))
        return part

    def _cite(self, out: list[bytes], url: str) -> None:
        entry = self._opened(out, "message")
        part = self._part
        if part is None or part["type"] != "output_text":
            part = self._begin_part(out, entry, "output_text")
        annotation = annotation_of(url)
        fields = {
            "content_index": len(entry.item["content"]) - 1,
            "annotation_index": len(part["annotations"]),
            "annotation": annotation,
        }
        part["annotations"].append(annotation)
        out.append(self._about("response.output_text.annotation.added", entry, **fields))

    def _close_part(self, out: list[bytes], entry: _Open) -> None:
        part = self._part
        if part is None:
            return
        said = "".join(entry.parts)
        entry.parts.clear()
        at = {"content_index": len(entry.item["content"]) - 1}
        if part["type"] == "output_text":
            part["text"] = said
            out.append(self._about("response.output_text.done", entry, **at, text=said, logprobs=part["logprobs"]))
        else:
            part["refusal"] = said
            out.append(self._about("response.refusal.done", entry, **at, refusal=said))
        out.append(self._about("response.content_part.done", entry, **at, part=part))
        self._part = None

    def _close(self, out: list[bytes]) -> None:
        """End the message or the reasoning."""
        entry = self._open
        if entry is None:
            return
        if entry.item["type"] == "reasoning":
            part = entry.item["summary"][0]
            part["text"] = "".join(entry.parts)
            out.append(self._about("response.reasoning_summary_text.done", entry, summary_index=0, text=part["text"]))
            out.append(self._about("response.reasoning_summary_part.done", entry, summary_index=0, part=part))
        else:
            self._close_part(out, entry)
        out.append(self._event("response.output_item.done", {"output_index": entry.index, "item": entry.item}))
        self._open = None

    def _call(self, out: list[bytes], call: ToolCall) -> None:
        entry = self._calls.get(call.index)
        if entry is None:
            self._close(out)
            item = call_item(item_id("fc", self._id, len(self._output)), self._id, call, "completed")
            entry = self._start(out, item, {"status": "in_progress", CALLS[item["type"]]: ""})
            self._calls[call.index] = entry
        if call.arguments:
            entry.parts.append(call.arguments)
            out.append(self._about(_CALL_EVENTS[entry.item["type"]] + ".delta", entry, delta=call.arguments))

    def _close_call(self, out: list[bytes], entry: _Open) -> None:
        kind = entry.item["type"]
        said = {CALLS[kind]: "".join(entry.parts)}
        entry.item |= said
        name = {"name": entry.item["name"]} if kind == "function_call" else {}
        out.append(self._about(_CALL_EVENTS[kind] + ".done", entry, **said, **name))
        out.append(self._event("response.output_item.done", {"output_index": entry.index, "item": entry.item}))

    def _with_kept(self, output: list[Json]) -> list[Json]:
        """
        The output with what was kept of it in its place. Messages and calls are those that were streamed, because the SDK
        holds the end to the ids of the beginning; what chat has no words for was not streamed, and is told here.
        """
        said = read_output(output)
        calls = [(call.id, call.name, call.arguments) for call in said.tool_calls]
        if not self._kept or not agree(self._kept, said.text, said.refusal, calls):
            return output
        streamed = iter([item for item in output if item["type"] in CALLS])
        messages = [item for item in output if item["type"] == "message"]
        out: list[Json] = []
        for item in self._kept:
            kind = kind_of(item)
            if kind in CALLS:
                out.append({**item, **next(streamed)})
            elif kind != "message":
                out.append(item)
            elif messages:
                out.append({**item, **messages.pop(0)})
        return out + messages


_CALL_EVENTS: Mapping[str, str] = MappingProxyType(
    {"function_call": "response.function_call_arguments", "custom_tool_call": "response.custom_tool_call_input"}
)


def _tokens(logprobs: Any) -> list[Json]:
    """Chat has the probabilities in an object, Responses has the list alone."""
    return (logprobs.get("content") or []) if isinstance(logprobs, dict) else []
