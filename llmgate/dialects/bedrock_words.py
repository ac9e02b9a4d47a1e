"""The words that whole answers, streams and requests of Bedrock's Converse share."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from ..types.response import ToolCall
from ..types.usage import Usage
from .anthropic_words import FINISH as OF_ANTHROPIC, json_object

__all__ = [
    "FINISH",
    "KEPT",
    "THOUGHTS",
    "Json",
    "add_citation",
    "citation_of",
    "must_return",
    "reasoning_of",
    "runs_there",
    "stop_reason",
    "thought_of",
    "tool_use",
    "usage_of",
    "write_thought",
    "write_usage",
]

Json = dict[str, Any]

THOUGHTS = "thinking_blocks"
"""Where a message keeps what was thought and signed, as Anthropic writes it: its signatures hold on both sides."""

KEPT = "bedrock_content"
"""Where a message keeps its blocks that a chat of OpenAI's has no words for, as they were."""

FINISH: Mapping[str, str] = MappingProxyType(
    {
        **OF_ANTHROPIC,
        "content_filtered": "content_filter",
        "guardrail_intervened": "content_filter",
        "malformed_model_output": "stop",
        "malformed_tool_use": "stop",
    }
)
_STOP: Mapping[str | None, str] = MappingProxyType(
    {
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "function_call": "tool_use",
        "content_filter": "content_filtered",
    }
)


def stop_reason(finish: str | None, native: str | None, refusal: str | None) -> str:
    """Bedrock's word for the end: its own where it is known, else the nearest."""
    if native is not None and native in FINISH:
        return native
    return "content_filtered" if refusal else _STOP.get(finish, "end_turn")


def usage_of(counts: Json) -> Usage:
    """The counts as OpenAI counts: to Bedrock, what the prompt cache read or wrote is no input."""
    fresh, read, written = (
        counts.get(name) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    )
    if read is None and written is None:
        # As Nova counts them where it is invoked.
        read, written = (counts.get(name) for name in ("cacheReadInputTokenCount", "cacheWriteInputTokenCount"))
    return Usage(
        None if fresh is None else fresh + (read or 0) + (written or 0),
        counts.get("outputTokens"),
        read,
        written,
    )


def write_usage(usage: Usage) -> Json:
    """The counts as Bedrock counts. It has no word for unknown where a total is due: that is 0."""
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    out: Json = {
        # Some upstreams report more out of the cache than they read at all.
        "inputTokens": max(0, (usage.input_tokens or 0) - (read or 0) - (written or 0)),
        "outputTokens": usage.output_tokens or 0,
        "totalTokens": usage.total_tokens or 0,
    }
    if read is not None:
        out["cacheReadInputTokens"] = read
    if written is not None:
        out["cacheWriteInputTokens"] = written
    return out


def runs_there(tool_use: Json) -> bool:
    """Whether a tool ran at Amazon's, so that the call is none for the caller."""
    return tool_use.get("type") == "server_tool_use"


def add_citation(citation: Json, urls: list[str]) -> None:
    """Add the address that is cited, if it is new; a document that the caller sent has none."""
    location = citation.get("location") or {}
    url = (location.get("web") or {}).get("url")
    if url and url not in urls:
        urls.append(url)


def citation_of(url: str) -> Json:
    """The citation of which nothing but the address is known."""
    return {"location": {"web": {"url": url}}}


def thought_of(content: Json) -> Json:
    """A `reasoningContent` as one of Anthropic's thinking blocks."""
    if "redactedContent" in content:
        return {"type": "redacted_thinking", "data": content["redactedContent"]}
    said = content["reasoningText"]
    block = {"type": "thinking", "thinking": said.get("text") or ""}
    if "signature" in said:
        block["signature"] = said["signature"]
    return block


def reasoning_of(content: Json) -> str:
    """What was thought, as far as it may be read."""
    text: str = (content.get("reasoningText") or {}).get("text") or ""
    return text


def must_return(thought: Json) -> bool:
    """Whether a thought belongs into the next turn. Without a signature nobody wants it back, and some refuse it."""
    return bool(thought.get("signature")) or thought["type"] == "redacted_thinking"


def write_thought(thought: Json) -> Json:
    """One of Anthropic's thinking blocks as a content block of Bedrock's."""
    if thought["type"] == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": thought["data"]}}
    said = {"text": thought["thinking"]}
    if thought.get("signature") is not None:
        said["signature"] = thought["signature"]
    return {"reasoningContent": {"reasoningText": said}}


def tool_use(answer: str, call: ToolCall) -> Json:
    """
    The call as Bedrock writes it. One that came without an id gets one, because its clients tell calls apart by it.

    Args:
        answer: Id of the answer that the call belongs to.
    """
    id = call.id or "tooluse_" + blake2b(f"{answer}/{call.index}".encode(), digest_size=12).hexdigest()
    return {"toolUseId": id, "name": call.name, "input": json_object(call.arguments)}
