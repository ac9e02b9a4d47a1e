"""The words that whole answers and streams of the OpenAI family share.

Each service adds words of its own to OpenAI's. Those that say the same are read as the same, and none is taken for what
it does not say: a count that was not sent stays None.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ..types.redact import redacted
from ..types.response import Choice, Chunk
from ..types.usage import Usage
from ..types.wire import encode

__all__ = [
    "COUNTS",
    "DETAILS",
    "FINISH",
    "KEPT",
    "MADE_ID",
    "Json",
    "arguments_of",
    "call_id",
    "excerpt",
    "finish_of",
    "read_message",
    "text_of",
    "urls_of",
    "usage_of",
]

Json = dict[str, Any]

FINISH: Mapping[str, str] = {
    "eos": "stop",  # Together's older models
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",  # Mistral: the context window is full
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "sensitive": "content_filter",  # Z.ai
    "safety": "content_filter",
    "refusal": "content_filter",
    "network_error": "error",  # Z.ai
    "insufficient_system_resource": "error",  # DeepSeek
    "abort": "error",  # vLLM, SGLang
}
"""Words for the end that are not OpenAI's. Any other stands for itself."""

KEPT = frozenset({"reasoning_details", "annotations", "audio", "extra_content"})
"""
Keys of a message that an upstream wants back in the next turn: OpenRouter's signed reasoning and parsed files, the id
of OpenAI's audio, Google's thought signatures.
"""

DETAILS: Mapping[str, Mapping[str, str]] = {
    "prompt_tokens_details": {
        "cached_tokens": "cache_read_tokens",
        "cache_write_tokens": "cache_write_tokens",
        "audio_tokens": "input_audio_tokens",
    },
    "completion_tokens_details": {
        "reasoning_tokens": "reasoning_tokens",
        "audio_tokens": "output_audio_tokens",
    },
    "input_tokens_details": {"cached_tokens": "cache_read_tokens", "cache_write_tokens": "cache_write_tokens"},
    "output_tokens_details": {"reasoning_tokens": "reasoning_tokens"},
}
"""Counts inside of others, in chat's words and in those of Responses."""

COUNTS: Mapping[str, str] = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "prompt_cache_hit_tokens": "cache_read_tokens",  # DeepSeek
    "num_cached_tokens": "cache_read_tokens",  # Mistral
    "cache_read_input_tokens": "cache_read_tokens",  # Venice, Doubleword
    "cache_creation_input_tokens": "cache_write_tokens",  # Doubleword
    "reasoning_tokens": "reasoning_tokens",  # Copilot
}
"""Counts beside each other, where the details do not say the same."""

MADE_ID = re.compile(r"call_[0-9a-f]{24}")
"""An id that `call_id` made, because there was none. An upstream is not told what it did not say."""

_EXCERPT, _EXCERPT_BYTES = 200, 2_000  # characters shown, bytes looked at
_USD_PER_TICK = Decimal("1e-10")  # https://docs.x.ai/developers/cost-tracking (checked 2026-11-20)


def finish_of(choice: Json) -> tuple[str, str | None]:
    """Why a choice ended, in OpenAI's words, and the upstream's own word where it differs."""
    word: str = choice["finish_reason"]
    finish = FINISH.get(word, word)
    native = choice.get("native_finish_reason") or word  # OpenRouter passes on the word of who answered
    return finish, None if native == finish else native


def excerpt(data: bytes) -> str:
    """The beginning of bytes that are no answer, fit to be shown."""
    return redacted(data[:_EXCERPT_BYTES].decode("utf-8", "replace"), _EXCERPT) or "nothing"


def text_of(parts: Any) -> tuple[str, str]:
    """Text and reasoning of a content that is a list of parts. What is neither is left to `raw`."""
    text: list[str] = []
    reasoning: list[str] = []
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, str):
            text.append(part)
        elif part.get("type") == "thinking":
            thinking = part.get("thinking") or ""
            reasoning.append(thinking if isinstance(thinking, str) else text_of(thinking)[0])
        elif isinstance(part.get("text"), str):
            text.append(part["text"])
    return "".join(text), "".join(reasoning)


def read_message(into: Choice | Chunk, message: Json) -> list[Json]:
    """
    Read what a message or a delta says into a choice or a chunk.

    Returns:
        Its tool calls as they stand; a legacy function call as one of them.
    """
    calls: list[Json] = []
    for key in message:
        value = message[key]
        if not value or key == "role":
            continue
        if key == "content":
            if value.__class__ is str:
                into.text = value
            else:
                into.text, into.reasoning = text_of(value)
        elif key in ("reasoning_content", "reasoning"):
            # Who sends both sends the same twice.
            into.reasoning = value if value.__class__ is str else text_of(value)[0]
        elif key == "tool_calls":
            calls = value
        elif key == "refusal":
            into.refusal = value
        elif key == "function_call":
            calls = calls or [{"index": 0, "function": value}]
        elif key in KEPT:
            into.extra = {**(into.extra or {}), key: value}
            if key == "annotations" and not into.citations:
                into.citations = urls_of(note.get("url_citation") or note for note in value)
    return calls


def urls_of(citations: Iterable[Any]) -> list[str]:
    """The addresses among citations, written as they are or in objects."""
    found = [item.get("url") if isinstance(item, dict) else item for item in citations]
    return [url for url in found if isinstance(url, str)]


def arguments_of(value: Any) -> str:
    """Arguments as JSON text; some send an object, or nothing at all."""
    if isinstance(value, str):
        return value
    return "" if value is None else encode(value).decode()


def call_id(answer: str, choice: int, call: int) -> str:
    """An id for a tool call that came without one; the same for the same answer, so that reading again changes nothing."""
    return "call_" + hashlib.blake2b(f"{answer}/{choice}/{call}".encode(), digest_size=12).hexdigest()


def usage_of(event: Json, counts: Json, reasoning_in_output: bool) -> Usage:
    """
    The counts as OpenAI counts.

    Args:
        event: What the counts came in; some put the price beside them.
        counts: The `usage` object.
        reasoning_in_output: Whether the completion counts its reasoning, where the counts do not show it themselves.
    """
    found: dict[str, Any] = {}
    for key, names in DETAILS.items():
        details = counts.get(key)
        if details:
            for name in names:
                if name in details and details[name].__class__ is int and details[name] >= 0:
                    found[names[name]] = details[name]
    for name in COUNTS:
        if name in counts and counts[name].__class__ is int and counts[name] >= 0 and COUNTS[name] not in found:
            found[COUNTS[name]] = counts[name]
    usage = Usage(**found)
    reasoning = usage.reasoning_tokens
    if reasoning and usage.output_tokens is not None:
        # The total is the proof. It was wrong in no recording, also where a gateway hides who answers.
        total = counts.get("total_tokens")
        spoken = (usage.input_tokens or 0) + usage.output_tokens
        if total == spoken + reasoning or (total is None and not reasoning_in_output):
            usage.output_tokens += reasoning
    if "cost" in counts or "cost" in event or "cost_in_usd_ticks" in counts:
        usage.cost = _cost(event, counts)
    return usage


def _cost(event: Json, counts: Json) -> Decimal | None:
    """US dollars, by whichever name the service gives them."""
    if "cost_in_usd_ticks" in counts:  # xAI
        ticks = _dollars(counts["cost_in_usd_ticks"])
        return None if ticks is None else ticks * _USD_PER_TICK
    cost = counts["cost"] if "cost" in counts else event["cost"]
    if isinstance(cost, dict):
        return _dollars(cost.get("total_cost", cost.get("usd")))  # Perplexity; Venice
    dollars = _dollars(cost)
    if dollars is not None and counts.get("is_byok"):
        # OpenRouter with the caller's own key charges a fee; the upstream's price stands apart.
        dollars += _dollars((counts.get("cost_details") or {}).get("upstream_inference_cost")) or 0
    return dollars


def _dollars(value: Any) -> Decimal | None:
    if value.__class__ is bool or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return Decimal(str(value))
