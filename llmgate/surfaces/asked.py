"""One HTTP request to the gateway as plain values, whoever received it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["Asked", "Lines"]

Lines = list[tuple[bytes, bytes]]
"""Header lines, names in lower case: as ASGI has them."""


@dataclass
class Asked:
    """
    What somebody's SDK sent.

    Attributes:
        origin: Whom its client was made for, `scheme://host:port` in lower case; empty if nobody stands there.
        path: As it was written, escapes included.
        query: Without its question mark.
        timeout_s: Seconds that the client itself waits for an answer; None if it leaves that to the gateway.
    """

    method: str
    origin: str
    path: str
    query: str = ""
    headers: Lines = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout_s: float | None = None

    @cached_property
    def named(self) -> dict[bytes, bytes]:
        """Headers by name; of several the last."""
        return dict(self.headers)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def header(self, name: bytes) -> str | None:
        value = self.named.get(name)
        return None if value is None else value.decode("latin-1")
