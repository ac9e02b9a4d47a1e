"""The words that whole answers and streams of Cohere share: ends, counts, citations, probabilities.

Source: https://docs.cohere.com/reference/chat (checked 2026-11-20), and recorded answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..types.response import ToolCall
from ..types.usage import Usage
from .openai_words import Json, arguments_of, call_id, urls_of

__all__ = [
    "FINISH",
    "calls_of",
    "citations_of",
    "finish_of",
    "finish_reason",
    "logprobs_of",
    "read_call",
    "usage_of",
    "write_logprobs",
    "write_usage",
]

FINISH: Mapping[str, str] = MappingProxyType(
    {
        "COMPLETE": "stop",
        "STOP_SEQUENCE": "stop",
        "MAX_TOKENS": "length",
        "TOOL_CALL": "tool_calls",
        "ERROR": "error",
        "TIMEOUT": "error",
        # Of the first version of the chat alone.
        "ERROR_LIMIT": "length",
        "ERROR_TOXIC": "content_filter",
        "USER_CANCEL": "stop",
    }
)
"""Cohere's words for the end. Any other stands for itself, in lower case."""

_REASONS: Mapping[str | None, str] = MappingProxyType(
    {
        "content_filter": "ERROR_TOXIC",
        "error": "ERROR",
        "function_call": "TOOL_CALL",
        "length": "MAX_TOKENS",
        "tool_calls": "TOOL_CALL",
    }
)
"""For what was filtered the second version has no word any more, and would say that all is well."""


def finish_of(word: str | None, called: bool) -> tuple[str | None, str | None]:
    """Why an answer ended, in OpenAI's words and in Cohere's. The first version has no word for a call."""
    if not word:
        return None, None
    if called and word == "COMPLETE":
        return "tool_calls", word
    return FINISH.get(word) or word.lower(), word


def finish_reason(finish: str | None, native: str | None) -> str:
    """Cohere's word for the end: its own where it is known, else the nearest."""
    return native if native is not None and native in FINISH else _REASONS.get(finish, "COMPLETE")


def usage_of(counts: Json) -> Usage:
    """
    What the model read and wrote; where Cohere does not say, what it bills.

    The two differ by Cohere's own instructions, some hundred tokens that are read and not billed. `image_tokens` and
    `reasoning_tokens` stand in no documentation and in no type of Cohere's, and are left to `raw`.
    """
    tokens, billed = counts.get("tokens") or {}, counts.get("billed_units") or {}
    return Usage(
        _count(tokens, billed, "input_tokens"), _count(tokens, billed, "output_tokens"), _whole(counts, "cached_tokens")
    )


def _count(tokens: Json, billed: Json, name: str) -> int | None:
    count = _whole(tokens, name)
    return _whole(billed, name) if count is None else count


def _whole(counts: Json, name: str) -> int | None:
    """A count; the types of the API call it a float."""
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) and value >= 0 else None


def write_usage(usage: Usage) -> Json:
    """The counts as Cohere counts; one that nobody knows is left out."""
    pairs = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    tokens = {name: count for name, count in pairs.items() if count is not None}
    out: Json = {"billed_units": dict(tokens), "tokens": tokens} if tokens else {}
    if usage.cache_read_tokens is not None:
        out["cached_tokens"] = usage.cache_read_tokens
    return out


def citations_of(citations: Iterable[Json]) -> list[str]:
    """The addresses among the sources of citations, each once."""
    sources = [
        source.get("document") or source.get("tool_output")
        for citation in citations
        for source in citation.get("sources") or ()
    ]
    return list(dict.fromkeys(urls_of(source for source in sources if isinstance(source, dict))))


def read_call(call: Json, id: str, index: int) -> ToolCall:
    """A call as either version writes it: the first gives parameters and no id."""
    function = call.get("function") or call
    arguments = function.get("arguments", function.get("parameters"))
    return ToolCall(call.get("id") or call_id(id, 0, index), function["name"], arguments_of(arguments), index)


def calls_of(calls: Any, id: str) -> list[ToolCall]:
    """The calls of a whole answer."""
    return [read_call(call, id, index) for index, call in enumerate(calls or ())]


def logprobs_of(items: Any) -> Json:
    """`logprobs` as OpenAI writes them. Of tokens that make one piece of text together the first is given all of it."""
    entries: list[Json] = []
    for item in [items] if isinstance(items, dict) else items:
        text = item.get("text") or ""
        for logprob in item.get("logprobs") or ():
            entries.append({"token": text, "logprob": logprob, "bytes": None, "top_logprobs": []})
            text = ""
    return {"content": entries}


def write_logprobs(logprobs: Any) -> list[Json] | None:
    """OpenAI's `logprobs` as Cohere writes them, without the numbers of the tokens; None if they are something else."""
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not entries:
        return None
    return [{"token_ids": [], "text": entry["token"], "logprobs": [entry["logprob"]]} for entry in entries]
