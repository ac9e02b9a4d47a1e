"""The words that whole answers and streams of Ollama's own API share.

Source: https://docs.ollama.com/api (checked 2026-11-20), and recorded answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ..types.response import Choice, Chunk, ToolCall
from ..types.usage import Usage
from .gemini_words import json_object
from .openai_words import FINISH, Json, arguments_of, call_id

__all__ = [
    "created_of",
    "ended",
    "finish_of",
    "read_calls",
    "read_message",
    "timestamp",
    "usage_of",
    "write_call",
]

_MAINTENANCE = frozenset({"load", "unload"})
"""What an answer without a prompt was good for: the model came into memory, or went."""

_UNSAID: Mapping[str, str] = MappingProxyType({"tool_calls": "stop", "function_call": "stop"})


def finish_of(reason: str | None, called: bool) -> tuple[str, str | None]:
    """Why it ended, in OpenAI's words, and Ollama's own where it differs. Older servers say that it did and not why."""
    word = reason or "stop"
    if word in _MAINTENANCE:
        return "stop", word
    finish = "tool_calls" if called and word == "stop" else FINISH.get(word, word)
    return finish, None if finish == word else word


def usage_of(event: Json) -> Usage | None:
    """The counts; None where there are none. A prompt that was in memory is not counted by older servers."""
    read, written = _count(event.get("prompt_eval_count")), _count(event.get("eval_count"))
    return None if read is None and written is None else Usage(read, written)


def _count(value: Any) -> int | None:
    return value if value.__class__ is int and value >= 0 else None


def read_calls(calls: Any, answer: str, start: int) -> list[ToolCall]:
    """
    Tool calls, each of them whole.

    Args:
        answer: What tells this answer from others; ids are made of it where there are none.
        start: How many calls of the answer came before these. The wire's own index says no more, where it is there.
    """
    return [
        ToolCall(
            call.get("id") or call_id(answer, 0, index),
            call["function"]["name"],
            arguments_of(call["function"].get("arguments")),
            index,
        )
        for index, call in enumerate(calls, start)
    ]


def read_message(into: Choice | Chunk, event: Json) -> Any:
    """
    Read what an answer or a piece of one says, to a chat or to a prompt.

    Returns:
        Its tool calls as they stand.
    """
    calls: Any = ()
    if "message" in event:
        message = event["message"]
        into.text = message.get("content") or ""
        calls = message.get("tool_calls") or ()
    else:
        message = event
        into.text = event["response"] or ""
    if "thinking" in message:
        into.reasoning = message["thinking"] or ""
    if into.text.__class__ is not str or into.reasoning.__class__ is not str:
        raise TypeError("what is said is no text")
    if event.get("logprobs"):
        into.logprobs = {"content": event["logprobs"]}
    return calls


def created_of(event: Json, name: str = "created_at") -> int | None:
    """A time in seconds since 1970, where there is one."""
    try:
        return int(datetime.fromisoformat(event[name]).timestamp())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def timestamp(created: int | None) -> str:
    """A time as Ollama writes it. A client wants one, so an unknown one is the first of all."""
    return datetime.fromtimestamp(created or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ended(finish: str | None, native: str | None, usage: Usage | None) -> Json:
    """What the last piece says beside its text."""
    finish = finish or "stop"
    out: Json = {
        "done": True,
        "done_reason": native if native in _MAINTENANCE else _UNSAID.get(finish, finish),
    }
    if usage is not None:
        counts = {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}
        out |= {name: count for name, count in counts.items() if count is not None}
    return out


def write_call(call: ToolCall) -> Json:
    """A tool call with its arguments as the object that Ollama wants."""
    function: Json = {"index": call.index, "name": call.name, "arguments": json_object(call.arguments)}
    return {"id": call.id, "function": function} if call.id else {"function": function}
