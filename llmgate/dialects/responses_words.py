"""The words that whole answers, streams and requests of OpenAI's Responses share.

A Response is a list of items: messages, reasoning, calls of functions, and what tools did at the provider's. Chat has one
message instead. What a message of chat can say is read into it. What it cannot say must come back in the next turn in
its place (reasoning under its id, searches, the phase of a message), so then the items stay with the message, whole,
as `output_items`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..types.response import Choice, ToolCall
from ..types.usage import Usage
from .openai_words import FINISH, Json, arguments_of, call_id, text_of, urls_of

__all__ = [
    "CALLS",
    "KEPT",
    "LOGPROBS",
    "OF_CALLS",
    "agree",
    "annotation_of",
    "call_item",
    "envelope",
    "finish_of",
    "item_id",
    "kind_of",
    "message_item",
    "own_of_call",
    "read_output",
    "reasoning_of",
    "summary_item",
    "text_part",
    "write_usage",
]

KEPT = "output_items"
"""Key under which the items of an answer stay with its message."""

CALLS: Mapping[str, str] = MappingProxyType({"function_call": "arguments", "custom_tool_call": "input"})
"""Items that call a tool of the caller's, and where each has what the model wrote."""

OF_CALLS = ("namespace",)
"""What Responses wants to be told again about a call that chat has no words for."""

LOGPROBS = "message.output_text.logprobs"
"""What to include for the probabilities of the answer's tokens."""

_OF_ITEMS = frozenset({"id", "type", "status", "role", "content", "call_id", "name", "arguments", "input", *OF_CALLS})
"""What a message of chat says, too, or need not say: the ids of messages and of calls may be left out."""

_STATUS: Mapping[str, str] = MappingProxyType({"max_output_tokens": "length"})
_INCOMPLETE: Mapping[str | None, str] = MappingProxyType(
    {"length": "max_output_tokens", "content_filter": "content_filter"}
)


def finish_of(response: Json, called: bool) -> tuple[str | None, str | None]:
    """Why an answer ended, in chat's words, and the upstream's own word where it differs; None while it goes on."""
    status = response.get("status") or "completed"
    if status == "completed":
        return "tool_calls" if called else "stop", None
    if status in ("in_progress", "queued"):
        return None, None
    if status != "incomplete":
        return "error", status
    word = (response.get("incomplete_details") or {}).get("reason") or "incomplete"
    finish = _STATUS.get(word) or FINISH.get(word) or ("content_filter" if word == "content_filter" else "stop")
    return finish, None if finish == word else word


def kind_of(item: Json) -> str:
    """The type of an item; one that names none is a message, or a reference if it has nothing but an id."""
    kind: str | None = item.get("type")
    return kind or ("message" if "role" in item or not item.keys() <= _REFERENCE else "item_reference")


_REFERENCE = frozenset({"id", "type"})


def read_output(items: Any, answer: str = "") -> Choice:
    """
    What the items of an answer, or of one turn of the assistant, say.

    Args:
        answer: Id of the answer, for calls that came without an id.
    """
    text: list[str] = []
    reasoning: list[str] = []
    refused: list[str] = []
    logprobs: list[Json] = []
    choice = Choice()
    calls, urls = choice.tool_calls, choice.citations
    kept = False
    for item in items:
        kind = kind_of(item)
        if kind == "message":
            kept = kept or bool(text or refused or calls)
            kept = _read_message(item["content"], text, refused, urls, logprobs) or kept
        elif kind in CALLS:
            calls.append(_read_call(item, kind, answer, len(calls)))
        else:
            # Reasoning, and what happened at the provider's: searches, code, and what they brought.
            kept = True
            if kind == "reasoning":
                reasoning.append(reasoning_of(item))
        kept = kept or any(value is not None and name not in _OF_ITEMS for name, value in item.items())
    choice.text, choice.reasoning = "".join(text), "".join(reasoning)
    choice.refusal = "".join(refused) or None
    if logprobs:
        choice.logprobs = {"content": logprobs}
    if kept:
        choice.extra = {KEPT: items}
    return choice


def _read_message(content: Any, text: list[str], refused: list[str], urls: list[str], logprobs: list[Json]) -> bool:
    """Whether there is something in a message that is neither text nor refusal."""
    strange = False
    if isinstance(content, str):
        text.append(content)
        return strange
    for part in content or ():
        kind = part["type"]
        if kind == "refusal":
            refused.append(part["refusal"])
        elif isinstance(part.get("text"), str):
            text.append(part["text"])
            logprobs += part.get("logprobs") or ()
            urls += dict.fromkeys(url for url in urls_of(part.get("annotations") or ()) if url not in urls)
        else:
            strange = True
    return strange


def _read_call(item: Json, kind: str, answer: str, position: int) -> ToolCall:
    id = item.get("call_id") or item.get("id") or call_id(answer, 0, position)
    return ToolCall(id, item["name"], arguments_of(item.get(CALLS[kind])), position, own_of_call(item))


def own_of_call(item: Json) -> Json | None:
    """What a call says that a call of a function in chat has no words for."""
    own: Json = {name: item[name] for name in OF_CALLS if item.get(name)}
    if item["type"] == "custom_tool_call":
        own["type"] = "custom"
    return own or None


def reasoning_of(item: Json) -> str:
    """What reasoning says: its summary, and its text where the model shows it."""
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return "".join([part["text"] for part in parts if part.get("text")])


def agree(kept: Any, text: Any, refusal: str | None, calls: list[tuple[str, str, str]]) -> bool:
    """
    Whether kept items still say what their message says; somebody may have edited it.

    Args:
        calls: Id, name and arguments of each.
    """
    said = read_output(kept)
    text = text or ""
    return (
        said.text == (text if isinstance(text, str) else text_of(text)[0])
        and (said.refusal or "") == (refusal or "")
        and [(call.id, call.name, call.arguments) for call in said.tool_calls] == calls
    )


def item_id(kind: str, answer: str, position: int) -> str:
    """An id for an item that has none; the same for the same answer."""
    return kind + call_id(answer, 0, position)[len("call") :]


def text_part(text: str, citations: Any = (), logprobs: Any = ()) -> Json:
    annotations = [annotation_of(url) for url in citations]
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": list(logprobs)}


def annotation_of(url: str) -> Json:
    """The citation of which nothing but the address is known."""
    return {"type": "url_citation", "url": url, "title": "", "start_index": 0, "end_index": 0}


def message_item(id: str, status: str, content: list[Json]) -> Json:
    return {"type": "message", "id": id, "status": status, "role": "assistant", "content": content}


def summary_item(id: str, reasoning: str) -> Json:
    return {"type": "reasoning", "id": id, "summary": [{"type": "summary_text", "text": reasoning}]}


def call_item(id: str, answer: str, call: ToolCall, status: str) -> Json:
    """A call as an item of an answer."""
    extra = call.extra or {}
    kind = "custom_tool_call" if extra.get("type") == "custom" else "function_call"
    return {
        "type": kind,
        "id": id,
        "status": status,
        "call_id": call.id or call_id(answer, 0, call.index),
        "name": call.name,
        CALLS[kind]: call.arguments,
    } | {name: extra[name] for name in OF_CALLS if name in extra}


def write_usage(usage: Usage) -> Json | None:
    """The counts as Responses counts. It has no word for unknown where a detail is due: that is 0."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens or 0,
    }


def envelope(id: str, model: str, created: int, *, finish: str | None, output: list[Json], usage: Json | None) -> Json:
    """
    A Response around its items. What it repeats of its request is what OpenAI assumes where a request says nothing.

    Args:
        finish: Chat's word for the end; its status follows from it.
    """
    reason = _INCOMPLETE.get(finish)
    failed = finish == "error"
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "incomplete" if reason else "failed" if failed else "completed",
        "error": {"code": "server_error", "message": "the upstream broke off the answer"} if failed else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": usage,
    }
