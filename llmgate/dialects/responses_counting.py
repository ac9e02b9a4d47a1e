"""Counting the tokens of a chat, as OpenAI's Responses count them: a request that is counted instead of answered.

Sources, checked 2026-11-21: the types of the `openai` package 3.52,
https://platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

from typing import Any

from ..types.request import Request
from .base import Quirks, Written
from .openai_words import Json
from .responses_requests import FORMAT, read_chat, write_chat
from .shapes import encoded

__all__ = ["PATH", "read_counting", "write_counting"]

PATH = "/responses/input_tokens"

COUNTED = frozenset(
    {
        "conversation", "input", "instructions", "model", "parallel_tool_calls", "personality", "previous_response_id",
        "reasoning", "text", "tool_choice", "tools", "truncation",
    }
)  # fmt: skip
"""What is counted. Everything else says how to answer, and is not taken."""


def write_counting(request: Request, quirks: Quirks) -> Written:
    """
    The request to count a chat.

    Raises:
        BadRequest: If Responses cannot express the chat.
    """
    body: Json = write_chat(request)
    if request.native(FORMAT) is None:
        body = {name: value for name, value in body.items() if name in COUNTED}
    return Written("POST", quirks.paths.get("count_tokens") or PATH, encoded(quirks.bend(body), request))


def read_counting(data: Any) -> Request:
    """The chat that a caller wants counted."""
    request = read_chat(data)
    return Request("count_tokens", request.model, request.body, False, request.encoded)
