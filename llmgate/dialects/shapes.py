"""What the formats do alike with requests: hearing one, saying it again, and saying what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import repeat
from typing import Any, TypeVar

from ..errors import BadRequest
from ..types.request import Original, Request, Verb
from ..types.wire import dumps, encode
from .unsaid import Unsaid

__all__ = ["MARK", "MISSHAPEN", "each", "encoded", "heard", "misshapen", "restated", "unmarked"]

T = TypeVar("T")

MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError, IndexError)
"""What looking into JSON raises that is not what its format promises."""

MARK = "cache_control"
"""What marks a message, a part or a tool for Anthropic's prompt cache, and changes no answer."""


def misshapen(part: str, error: BaseException) -> BadRequest:
    """The error for a part of a request that is not what it should be. Nothing of the part itself is quoted."""
    if isinstance(error, KeyError):
        return BadRequest(f"{part}: {error.args[0]!r} is missing")
    return BadRequest(f"{part}: it is not of the shape that the API describes")


def each(name: str, items: Any, write: Callable[..., T], *more: Any) -> list[T]:
    """
    What becomes of each item of a list of the request.

    Args:
        more: What `write` is told besides the item.

    Raises:
        BadRequest: What is wrong with an item, with its place.
    """
    written: list[T] = []
    each_written = map(write, items, *map(repeat, more))
    try:
        written.extend(each_written)  # of which it keeps what came before an item that fails
    except MISSHAPEN as error:
        raise misshapen(f"{name}[{len(written)}]", error) from None
    except Unsaid as error:
        raise error.within(name, len(written)) from None
    except BadRequest as error:
        raise BadRequest(f"{name}[{len(written)}]: {error.message}") from None
    return written


def unmarked(item: dict[str, Any]) -> dict[str, Any]:
    """A message, a part or a tool for a format whose cache nobody marks anything for."""
    return {name: value for name, value in item.items() if name != MARK} if MARK in item else item


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
        shown = asked is None or asked.original is not None or asked.encoded
        return encode(body) if shown else dumps(body)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"the request is not JSON: {error}") from None


def heard(
    format: str,
    verb: Verb,
    data: Any,
    readers: Mapping[Verb, Callable[[Any], Request]],
    *,
    model: str = "model",
    streams: bool = False,
    plain: bool = False,
) -> Request:
    """
    The request of a caller who speaks the format. What it asks for is read when somebody looks.

    Args:
        readers: What reads the body of each verb.
        model: The key under which it names its model.
        streams: Whether the answer comes in pieces if it says nothing about that.
        plain: Whether our shape is the body itself.

    Raises:
        BadRequest: If the format has no such verb, or the body is none at all.
    """
    if verb == "models":
        return Request("models")
    if verb == "request":
        return Request("request", body=data, encoded=b"" if data is None else encoded(data))
    if verb not in readers:
        raise BadRequest(f"{verb}: {format} has only {', '.join(readers)}, models and request")
    if not isinstance(data, dict):
        raise BadRequest("the body must be a JSON object")
    name = data.get(model) or ""
    if not isinstance(name, str):
        raise BadRequest(f"{model} must be a string")
    if model != "model" and model in data:
        data = {key: value for key, value in data.items() if key != model}  # of the address, and nothing that is asked
    return Request.said(format, Original(data, readers[verb], plain), verb, name, data.get("stream", streams) is True)


def restated(
    native: Mapping[str, Any], request: Request, apart: Collection[str] = (), streams: bool = False
) -> dict[str, Any]:
    """
    What a caller said in the format of the upstream, for the model that was chosen and in the way that is wanted.

    Args:
        apart: Keys that the format says elsewhere, in the address or in headers.
        streams: Whether the answer comes in pieces if the body says nothing about that.
    """
    out = {name: value for name, value in native.items() if name not in apart}
    if request.model and "model" not in apart:
        out["model"] = request.model
    if "stream" not in apart and (out.get("stream", streams) is True) != request.stream:
        out["stream"] = request.stream
    return out
