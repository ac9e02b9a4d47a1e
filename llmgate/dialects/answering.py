"""What the formats do alike with answers: reading the body of one, writing one, and taking one to pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import BadRequest, ProtocolError
from ..types.request import Request
from ..types.response import Answer, Choice, Chunk, RawResponse, Response, explode
from ..types.wire import loads
from .openai_words import excerpt
from .shapes import MISSHAPEN

__all__ = ["answered", "first", "json_or_text", "pieces", "written"]

TEXT_BYTES = 4000
"""How much is read of what is no JSON."""


def answered(request: Request, body: bytes, read: Callable[[Request, Any], Answer]) -> Answer:
    """
    The answer that the body of a successful response is.

    Args:
        read: Makes it of the JSON; what looking into that raises says that it is none.

    Raises:
        ProtocolError: If it is no answer.
    """
    if request.verb == "request":
        return RawResponse(content=body)
    try:
        data = loads(body)
    except ValueError:
        raise ProtocolError(f"the upstream sent no JSON, but: {excerpt(body)}") from None
    try:
        return read(request, data)
    except MISSHAPEN as error:
        raise ProtocolError(f"the upstream sent no answer, but: {excerpt(body)}") from error


def written(
    whom: str, answer: Answer, writers: Mapping[type[Answer], Callable[[Any], dict[str, Any]]]
) -> dict[str, Any]:
    """
    The body of an answer.

    Args:
        whom: Whose format it is.
        writers: What writes an answer of each class; an answer that was not read is written as it came.

    Raises:
        BadRequest: If there is nothing that writes it.
    """
    if isinstance(answer, RawResponse):
        content: dict[str, Any] = answer.json()
        return content
    for kind, write in writers.items():
        if isinstance(answer, kind):
            return write(answer)
    raise BadRequest(f"{whom} has no words for {type(answer).__name__}")


def first(answer: Response) -> Choice:
    """What is told of an answer in a format that has one choice, so that its callers cannot ask for more."""
    return answer.choices[0] if answer.choices else Choice()


def pieces(whom: str, answer: Answer) -> list[Chunk]:
    """
    The chunks of an answer that came whole, for who asked for a stream.

    Raises:
        BadRequest: If such an answer never streams.
    """
    if not isinstance(answer, Response):
        raise BadRequest(f"{whom} does not stream {type(answer).__name__}")
    return explode(answer)


def json_or_text(body: bytes) -> Any:
    """What the body of an error says; whatever its content type claims."""
    try:
        return loads(body)
    except ValueError:
        return body[:TEXT_BYTES].decode("utf-8", "replace")
