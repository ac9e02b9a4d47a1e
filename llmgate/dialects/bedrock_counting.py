"""Counting the tokens of a chat on Bedrock: a Converse request, wrapped, and without what only an answer needs.

Source, checked 2026-11-21: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html.
"""

from __future__ import annotations

from typing import Any

from ..types.media import TokenCount
from ..types.request import Request
from .bedrock_requests import FORMAT, read_chat, write_chat
from .bedrock_words import Json
from .shapes import MISSHAPEN, misshapen

__all__ = ["read_counting", "write_count", "write_counting"]

COUNTED = frozenset({"additionalModelRequestFields", "messages", "system", "toolConfig"})
"""What of a Converse request is counted; nothing else is taken."""


def write_counting(request: Request) -> Json:
    """
    The body that has a chat counted.

    Raises:
        BadRequest: If Converse cannot express the chat.
    """
    native = request.native(FORMAT)
    if native is not None:
        return {name: value for name, value in native.items() if name != "modelId"}
    body = write_chat(request)
    return {"input": {"converse": {name: value for name, value in body.items() if name in COUNTED}}}


def read_counting(data: Any) -> Request:
    """
    The chat that a caller wants counted.

    Raises:
        BadRequest: If it is counted in the words of the model's maker, which only Bedrock itself can read.
    """
    try:
        chat = data["input"]["converse"]
    except MISSHAPEN as error:
        raise misshapen("input", error) from None
    request = read_chat(chat)
    return Request("count_tokens", request.model, request.body, False, request.encoded)


def write_count(answer: TokenCount) -> Json:
    """The count as Bedrock would send it."""
    return {"inputTokens": answer.input_tokens}
