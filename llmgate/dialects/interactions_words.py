"""The words that whole answers, streams and requests of Google's Interactions share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..types.response import ToolCall
from ..types.usage import Usage
from ..types.wire import encode
from .gemini_words import json_object
from .openai_words import MADE_ID, Json, call_id

__all__ = [
    "PENDING", "Kept", "called", "citations_of", "finish_of", "kept_steps", "read_steps", "said", "status_of", "step_of_call",
    "usage_of", "write_usage",
]  # fmt: skip

FINISH: Mapping[str, str] = MappingProxyType(
    {
        "budget_exceeded": "length",
        "cancelled": "stop",
        "completed": "stop",
        "incomplete": "length",
        "requires_action": "tool_calls",
        "requires_continuation": "length",
    }
)
"""Google's words for the end. `failed` is none, but an error."""

PENDING = frozenset({"in_progress", "queued"})
"""Words for an interaction that goes on; whoever began it in the background looks again later."""

_STATUS: Mapping[str | None, str] = MappingProxyType(
    {
        "content_filter": "incomplete",
        "function_call": "requires_action",
        "length": "incomplete",
        "tool_calls": "requires_action",
    }
)


def finish_of(status: str | None, was_called: bool) -> tuple[str | None, str | None]:
    """How an interaction ended, in OpenAI's words and in Google's; None while it goes on."""
    if not status or status in PENDING:
        return None, None
    if was_called and status == "completed":
        return "tool_calls", status
    return FINISH.get(status, "stop"), status


def status_of(finish: str | None, native: str | None) -> str:
    """Google's word for the end: its own where it is known, else the nearest."""
    return native if native is not None and native in FINISH else _STATUS.get(finish, "completed")


def usage_of(counts: Json) -> Usage:
    """The counts as OpenAI counts: what tools brought was read, what was thought was written."""
    prompt, tools = _count(counts, "total_input_tokens"), _count(counts, "total_tool_use_tokens")
    told, thought = _count(counts, "total_output_tokens"), _count(counts, "total_thought_tokens")
    return Usage(
        None if prompt is None and tools is None else (prompt or 0) + (tools or 0),
        None if told is None and thought is None else (told or 0) + (thought or 0),
        _count(counts, "total_cached_tokens"),
        None,
        thought,
        _audio(counts, "input_tokens_by_modality"),
        _audio(counts, "output_tokens_by_modality"),
    )


def _count(counts: Json, name: str) -> int | None:
    count = counts.get(name)
    return count if type(count) is int and count >= 0 else None


def _audio(counts: Json, name: str) -> int | None:
    return next((_count(part, "tokens") for part in counts.get(name) or () if part.get("modality") == "audio"), None)


def write_usage(usage: Usage) -> Json:
    """The counts as Google counts; one that nobody knows is left out."""
    thought = usage.reasoning_tokens
    counts = {
        "total_input_tokens": usage.input_tokens,
        "total_output_tokens": None if usage.output_tokens is None else max(0, usage.output_tokens - (thought or 0)),
        "total_thought_tokens": thought,
        "total_cached_tokens": usage.cache_read_tokens,
        "total_tokens": usage.total_tokens,
    }
    out: Json = {name: count for name, count in counts.items() if count is not None}
    audio = {
        "input_tokens_by_modality": usage.input_audio_tokens,
        "output_tokens_by_modality": usage.output_audio_tokens,
    }
    return out | {name: [{"modality": "audio", "tokens": count}] for name, count in audio.items() if count is not None}


def citations_of(annotations: Iterable[Json]) -> list[str]:
    """The addresses that a text rests on, each once."""
    return list(dict.fromkeys(note["url"] for note in annotations if note.get("url")))


def called(step: Json, interaction: str, index: int) -> ToolCall:
    """A `function_call` as a tool call."""
    arguments = encode(step.get("arguments") or {}).decode()
    return ToolCall(step.get("id") or call_id(interaction, 0, index), step["name"], arguments, index)


def step_of_call(call: ToolCall) -> Json:
    """A tool call as a `function_call`."""
    out: Json = {"type": "function_call", "name": call.name, "arguments": json_object(call.arguments)}
    return out if MADE_ID.fullmatch(call.id) else out | {"id": call.id}


def said(texts: Iterable[str | None]) -> Json | None:
    """What the model said as a `model_output`; None if that is nothing."""
    content = [{"type": "text", "text": text} for text in texts if text]
    return {"type": "model_output", "content": content} if content else None


# --- steps ------------------------------------------------------------------------------------------------------------
#
# What a turn holds beside a text and calls behind it (signed thoughts, searches and what they found, images) comes back
# in `extra_content.google.steps` of the message and goes out again as it was, as long as the message still says the same.


class Kept:
    """Which steps of a turn its message keeps: all of them, as soon as one is more than a text or a call behind it."""

    __slots__ = ("_called", "_odd", "_steps")

    def __init__(self) -> None:
        self._called = False
        self._odd = False
        self._steps: list[Json] = []

    def add(self, step: Json) -> None:
        kind = step["type"]
        if kind == "thought" and not step.get("signature"):
            return  # nobody wants it back
        self._steps.append(step)
        if kind == "function_call":
            self._called = True
        elif kind != "model_output" or self._called or any(part.keys() != _PLAIN for part in step.get("content") or ()):
            self._odd = True

    def extra(self) -> Json:
        """What the message keeps; told once, then what came since."""
        if not self._odd or not self._steps:
            return {}
        steps, self._steps = self._steps, []
        return {"extra_content": {"google": {"steps": steps}}}


_PLAIN = {"type", "text"}


def read_steps(steps: list[Json], interaction: str) -> tuple[str, str, list[ToolCall], list[str], Json]:
    """Text, reasoning, tool calls, citations of a turn of the model, and what its message keeps for the next one."""
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    notes: list[Json] = []
    kept = Kept()
    for output in steps:
        # Before May 2026 a text stood there without a step around it.
        bare = output["type"] == "text"
        step: Json = {"type": "model_output", "content": [output]} if bare else output
        kind = step["type"]
        if kind == "model_output":
            for part in step.get("content") or ():
                if part["type"] == "text":
                    text.append(part["text"])
                    notes += part.get("annotations") or ()
        elif kind == "thought":
            reasoning += [part["text"] for part in step.get("summary") or () if part.get("type") == "text"]
        elif kind == "function_call":
            calls.append(called(step, interaction, len(calls)))
        # Everything else happened at Google's.
        kept.add(step)
    return "".join(text), "".join(reasoning), calls, citations_of(notes), kept.extra()


def kept_steps(message: Any) -> list[Json]:
    """The steps that a message brings along as Google wrote them."""
    content = message.get("extra_content") if isinstance(message, dict) else None
    google = content.get("google") if isinstance(content, dict) else None
    steps = google.get("steps") if isinstance(google, dict) else None
    return steps if isinstance(steps, list) else []
