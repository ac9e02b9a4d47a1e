"""What travels: JSON that can be trusted, and an HTTP exchange as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pydantic_core

from .secret import Credential

__all__ = ["Clients", "WireRequest", "WireResponse", "WireTimeouts", "dumps", "loads"]


def loads(data: bytes | str) -> Any:
    """
    Read JSON that somebody else wrote.

    NaN and Infinity are refused, nesting is bounded, a lone surrogate or invalid UTF-8 becomes U+FFFD;
    a repeated key keeps its last value.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        return pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError:
        return _tolerant(data)


def _tolerant(data: bytes | str) -> Any:
    """The slow way, for text that the strict reader refuses: broken UTF-8, lone surrogates."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        value = json.loads(text, parse_constant=_refuse)
        # A lone surrogate survives json.loads and breaks whoever encodes it later.
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


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
    """

    method: str
    origin: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    credential: Credential | None = None
    timeouts: WireTimeouts = field(default_factory=WireTimeouts)
    clients: Clients | None = None


class WireResponse(Protocol):
    """
    The beginning of an answer; `read` brings the rest.

    `status` and `headers` (names in lower case, duplicates joined with a comma) are there at once.
    """

    status: int
    headers: Mapping[str, str]

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
