"""What travels: JSON that can be trusted, and an HTTP exchange as plain values."""

from __future__ import annotations

import json
import marshal
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pydantic_core

from .secret import Credential

__all__ = ["Clients", "WireRequest", "WireResponse", "WireTimeouts", "dumps", "encode", "loads"]


def loads(data: bytes | str) -> Any:
    """
    Read JSON that somebody else wrote.

    NaN, Infinity and numbers beyond any float (`1e999`) are refused, and so is nesting deeper than 200. A repeated key
    keeps its last value, half of a character pair and invalid UTF-8 become U+FFFD, a byte order mark is skipped.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        value = pydantic_core.from_json(data, allow_inf_nan=False)
    except (ValueError, TypeError):
        # A str with half of a character pair is no str to the reader.
        value = pydantic_core.from_json(_mended(data), allow_inf_nan=False)
    # The reader makes an infinity of a number that no float can hold. Looking for one in Python would cost more than
    # reading did; marshal writes all floats as their eight bytes, in one step of C. One byte of those is found at once
    # if it is there, and in most texts it is not.
    written = marshal.dumps(value)
    if _OF_INFINITIES in written and (_INFINITY in written or _MINUS_INFINITY in written) and _has_infinity(value):
        raise ValueError("a number is too large for a float")
    return value


_INFINITY, _MINUS_INFINITY = (marshal.dumps(infinity)[1:] for infinity in (math.inf, -math.inf))
_OF_INFINITIES = _INFINITY[6:7]


def _has_infinity(value: Any) -> bool:
    """Whether there is one in truth: a very long whole number may hold the same bytes."""
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, list):
        return any(map(_has_infinity, value))
    return isinstance(value, float) and math.isinf(value)


def _mended(data: bytes | str) -> str:
    """The text as it was meant, where broken characters are all that is wrong with it."""
    if isinstance(data, str):
        data = data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    else:
        data = data.decode("utf-8", "replace")
    return _ESCAPE.sub(_whole_character, data.removeprefix("\ufeff"))


# A pair of halves, half of one, or any other escape: in `\\ud800` the first backslash escapes the second and no half.
_ESCAPE = re.compile(
    r"\\u(?i:d[89ab][\da-f]{2}) \\u(?i:d[c-f][\da-f]{2}) | \\(u(?i:d[89a-f][\da-f]{2})) | \\.", re.ASCII | re.VERBOSE
)


def _whole_character(match: re.Match[str]) -> str:
    return "\ufffd" if match[1] else match[0]


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: Any) -> bytes:
    """
    Write compact UTF-8 JSON in the order of the keys given.

    Raises:
        ValueError: For NaN, Infinity, a lone surrogate, a reference to itself or nesting too deep.
        TypeError: For a value that JSON does not have.
    """
    try:
        return _ENCODER.encode(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode(value: Any) -> bytes:
    """
    Write what is known to be JSON, because it was read as JSON, was written by `dumps` before, or is made of such parts.

    It takes a fourth of the time of `dumps` and writes the same but for the exponent of a float (`1e-7`, not `1e-07`);
    what is no JSON (a set, NaN) may come out as something else instead of being refused.

    Raises:
        ValueError, TypeError: As `dumps`, where the writer itself cannot go on.
    """
    try:
        return pydantic_core.to_json(value)
    except ValueError:
        return dumps(value)  # it goes deeper, and its errors are those that callers know


@dataclass(slots=True)
class WireTimeouts:
    """Seconds for the steps before the answer begins; the rest is the reader's."""

    connect_s: float = 5.0
    write_s: float = 30.0
    pool_s: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Clients:
    """
    Clients of `httpx` or `httpx2` that the caller brought to send with, one a colour.

    A colour that has none is served by the runtime's own engine.
    """

    blocking: Any = None
    asyncio: Any = None


@dataclass(slots=True)
class WireRequest:
    """
    One HTTP request as plain values. The engine adds the credential when it sends.

    Attributes:
        origin: `scheme://host:port`, lower case, port always present.
        target: Path and query, starting with a slash.
        headers: Names in lower case; no credential among them.
        clients: Whom to send it with, if not with the runtime's own engine.
        once: Whether it must not be sent twice. Then no idle connection is used, because one that turns out to be closed
            leaves open whether the request arrived.
    """

    method: str
    origin: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    credential: Credential | None = None
    timeouts: WireTimeouts = field(default_factory=WireTimeouts)
    clients: Clients | None = None
    once: bool = False


class WireResponse(Protocol):
    """
    The beginning of an answer; `read` brings the rest.

    `status` and `headers` (names in lower case, duplicates joined with a comma) are there at once.
    """

    status: int

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self, until: float) -> bytes:
        """
        The next bytes of the decoded body, b"" at its end.

        Args:
            until: The runtime's time at which waiting ends.

        Raises:
            TimeoutError: If nothing came until then.
            ConnectionFailed: If the connection broke.
            ProtocolError: If the body is larger than allowed or cannot be decoded.
        """
        ...

    async def close(self) -> None:
        """Give the connection back, or cut it if the body was not read to its end. Harmless twice."""
        ...
