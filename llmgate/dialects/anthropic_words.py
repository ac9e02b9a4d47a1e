"""The words that whole answers, streams and requests of Anthropic's Messages share."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from ..types.response import ToolCall
from ..types.usage import Usage
from ..types.wire import loads

__all__ = [
    "FINISH",
    "THINKING",
    "Json",
    "add_citation",
    "citation_of",
    "json_object",
    "own_of_call",
    "stop_reason",
    "tool_use",
    "usage_of",
    "write_usage",
]

Json = dict[str, Any]

THINKING = ("thinking", "redacted_thinking")
"""Types of the blocks that must come back in the next turn as they were, signature and all."""

FINISH: Mapping[str, str] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "pause_turn": "stop",
        "compaction": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
)
_STOP: Mapping[str | None, str] = MappingProxyType(
    {
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "function_call": "tool_use",
        "content_filter": "refusal",
    }
)


def stop_reason(finish: str | None, native: str | None, refusal: str | None) -> str:
    """Anthropic's word for the end: its own where it is known, else the nearest."""
    if native is not None and native in FINISH:
        return native
    return "refusal" if refusal else _STOP.get(finish, "end_turn")


def usage_of(counts: Json) -> Usage:
    """The counts as OpenAI counts. `iterations` are left alone: compaction and advisors are reported apart."""
    fresh, read, written = (
        counts.get("input_tokens"),
        counts.get("cache_read_input_tokens"),
        counts.get("cache_creation_input_tokens"),
    )
    details = counts.get("output_tokens_details")
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=counts.get("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens") if details else None,
    )


def write_usage(usage: Usage) -> Json:
    """The counts as Anthropic counts. It has no word for unknown where a total is due: that is 0."""
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    out: Json = {
        # Some upstreams report more out of the cache than they read at all.
        "input_tokens": max(0, (usage.input_tokens or 0) - (read or 0) - (written or 0)),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.reasoning_tokens is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return out


def add_citation(citation: Json, urls: list[str]) -> None:
    """Add the address that is cited, if it is new; a document that the caller sent has none."""
    url = citation.get("url")
    if url and url not in urls:
        urls.append(url)


def citation_of(url: str) -> Json:
    """The citation of which nothing but the address is known."""
    return {"type": "web_search_result_location", "url": url, "title": None, "cited_text": "", "encrypted_index": ""}


OF_CALLS = ("caller", "toolset_name")
"""What Anthropic wants to be told again about a call, where it differs from the rule."""


def own_of_call(block: Json) -> Json | None:
    """What a `tool_use` says that a call of OpenAI's has no words for."""
    own = {name: block[name] for name in OF_CALLS if block.get(name) and block[name] != {"type": "direct"}}
    return own or None


def tool_use(answer: str, call: ToolCall) -> Json:
    """
    The call as a block. One that came without an id gets one, because Anthropic's clients tell calls apart by it.

    Args:
        answer: Id of the answer that the call belongs to.
    """
    id = call.id or "toolu_" + blake2b(f"{answer}/{call.index}".encode(), digest_size=12).hexdigest()
    block = {"type": "tool_use", "id": id, "name": call.name, "input": json_object(call.arguments)}
    if call.extra:
        block |= {name: call.extra[name] for name in OF_CALLS if name in call.extra}
    return block


def json_object(arguments: str) -> Any:
    """
    The arguments of a tool call as the object that Messages wants.

    What is no object is wrapped the way Anthropic asks for, so the model can see what it did:
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming (checked 2026-11-20).
    """
    if not arguments.strip():
        return {}
    try:
        parsed = loads(arguments)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"INVALID_JSON": arguments}
