"""What to say when a request is not of the shape that its API describes, and when it cannot be said in JSON."""

from __future__ import annotations

from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from ..types.wire import dumps, encode

__all__ = ["MISSHAPEN", "encoded", "misshapen"]

MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError, IndexError)
"""What looking into JSON raises that is not what its format promises."""


def misshapen(part: str, error: BaseException) -> BadRequest:
    """The error for a part of a request that is not what it should be. Nothing of the part itself is quoted."""
    if isinstance(error, KeyError):
        return BadRequest(f"{part}: {error.args[0]!r} is missing")
    return BadRequest(f"{part}: it is not of the shape that the API describes")


def encoded(body: Any, asked: Request | None = None) -> bytes:
    """
    The body as JSON.

    Args:
        asked: The request that the body was made of; one that was never encoded was never shown to be JSON. None: the
            body is made of JSON that was read.

    Raises:
        BadRequest: If it cannot be said in JSON.
    """
    try:
        return encode(body) if asked is None or asked.encoded else dumps(body)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"the request is not JSON: {error}") from None
