"""Counting the tokens of a chat with Anthropic's Messages: the same request, without what only an answer needs.

Source, checked 2026-11-21: the types of the `anthropic` package 2.11,
https://platform.claude.com/docs/en/api/messages-count-tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..types.media import TokenCount
from ..types.request import Request
from .anthropic_requests import FORMAT, read_chat, write_chat
from .anthropic_words import Json

__all__ = ["PATH", "counting_reader", "write_count", "write_counting"]

PATH = "/messages/count_tokens"

UNCOUNTED = frozenset(
    {
        "container", "diagnostics", "fallbacks", "inference_geo", "max_tokens", "metadata", "service_tier",
        "stop_sequences", "stream", "temperature", "top_k", "top_p",
    }
)  # fmt: skip
"""Parameters of a chat that say how to answer; a request that is only counted may not have them."""


def write_counting(request: Request) -> Json:
    """
    The body that has a chat counted.

    Raises:
        BadRequest: If Messages cannot express the chat.
    """
    body = write_chat(request)
    if request.native(FORMAT) is not None:
        return body
    return {name: value for name, value in body.items() if name not in UNCOUNTED}


def counting_reader(read: Callable[[Any], Request] = read_chat) -> Callable[[Any], Request]:
    """
    Reads the chat that a caller wants counted.

    Args:
        read: Reads a chat.
    """

    def counted(data: Any) -> Request:
        request = read(data)
        return Request("count_tokens", request.model, request.body, False, request.encoded)

    return counted


def write_count(answer: TokenCount) -> Json:
    """The count as Anthropic would send it."""
    return {"input_tokens": answer.input_tokens}
