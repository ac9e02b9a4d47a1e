"""What a caller said in the words of a format of its own, for an upstream of another one.

A request that was read keeps what our shape has no words for in its caller's words, because an upstream of the same
format understands them. For any other they are told in ours, if that is possible, or refused by name: they are never
passed on to somebody who would not understand them, or would take them for something else. A caller of the gateway's own
verbs, and one who speaks OpenAI, may say what he likes: such words are meant for the upstream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from .openai_words import Json
from .shapes import MISSHAPEN, each
from .unsaid import Unsaid

__all__ = ["OURS", "is_foreign", "understood"]

OURS = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "metadata", "modalities", "moderation", "n", "parallel_tool_calls", "prediction",
        "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
        "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream_options", "temperature",
        "thinking", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
    }
)  # fmt: skip
"""Parameters of a chat in our shape: OpenAI's (`CompletionCreateParams` of the `openai` package 3.52) and two of ours."""

PLAIN = frozenset({"", "openai_chat"})
"""Formats that are our shape."""

_PARTS = frozenset({"audio_url", "file", "image_url", "input_audio", "refusal", "text", "video_url"})
_TOOLS = frozenset({"custom", "function"})


def is_foreign(request: Request, format: str) -> bool:
    """Whether its caller speaks a format that is neither this one nor our own."""
    return request.spoken not in PLAIN and request.spoken != format


def understood(request: Request, format: str) -> Json:
    """
    The body of a chat for an upstream of this format.

    Raises:
        BadRequest: If there is something in it that only its caller's own format has a word for.
    """
    body: Json = request.body
    if not is_foreign(request, format):
        return body
    from . import dialect_named

    own = dialect_named(request.spoken.partition(" ")[0])  # whose format it is; behind it may stand which of them
    out: Json = {}
    told: Json = {}
    for name, value in body.items():
        if name in OURS:
            out[name] = value
        elif value is not None:
            try:
                said = own.told(name, value)
            except MISSHAPEN:
                said = None
            if said is None:
                raise Unsaid(f"{name}: only {own.name} has a word for it; leave it out or name another provider", name)
            told |= said
    messages = out.get("messages") or ()
    if not _is_plain(messages):
        each("messages", messages, _message)
    each("tools", out.get("tools") or (), _tool)
    out = told | out
    if out.get("reasoning_effort") == "max":
        out["reasoning_effort"] = "xhigh"  # as far as OpenAI's scale goes
    return out


def _is_plain(messages: Sequence[Json]) -> bool:
    """Whether nothing in the messages is strange, which one look tells; what is, and where, takes another."""
    try:
        for message in messages:
            if "role" not in message:
                return False
            content = message.get("content")
            if isinstance(content, list):
                for part in content:
                    if part["type"] not in _PARTS:
                        return False
    except MISSHAPEN:
        return False
    return True


def _message(message: Json) -> None:
    if "role" not in message:
        raise BadRequest(f"only its own format has a word for {message.get('type', 'it')!r}")
    if isinstance(message.get("content"), list):
        each("content", message["content"], _part)


def _part(part: Json) -> None:
    if part.get("type") not in _PARTS:
        raise Unsaid(f"only its own format has a word for {_kind(part)!r}")


def _tool(tool: Json) -> None:
    if tool.get("type") not in _TOOLS:
        raise Unsaid(f"{_kind(tool)!r} runs at its own provider's and nowhere else")


def _kind(item: Json) -> Any:
    return item.get("type") or next(iter(item), "it")
