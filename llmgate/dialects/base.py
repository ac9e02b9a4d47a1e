"""What a dialect is: eight pure verbs between the unified shape and one wire format.

              read (wire → ours)      write (ours → wire)
    request   read_request            write_request
    response  read_response           write_response
    error     read_error              write_error
    stream    reader().feed(bytes)    writer().feed(chunk)

A dialect touches no network, no clock and no policy. The same dialect speaks to upstreams, to SDKs and to HTTP callers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import GatewayError
from ..types.request import Request, Verb
from ..types.response import Answer, Chunk

__all__ = ["Dialect", "Quirks", "StreamReader", "StreamWriter", "Written"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """
    Where one upstream departs from the dialect it otherwise speaks. Data of its catalog row.

    Attributes:
        stream_usage: Whether it understands `stream_options: {include_usage: true}`.
        reasoning_in_output: Whether its completion tokens count the reasoning (xAI's chat does not).
        max_tokens: What it calls the limit of the output, if only one of OpenAI's two names will do.
        rename: Request keys it spells differently.
        cache_marks: Whether it takes the marks of Anthropic's prompt cache (`cache_control`). Such a mark changes no answer.
        drop: Request keys it refuses.
        paths: Paths of single verbs, where they differ from the dialect's.
    """

    stream_usage: bool = True
    reasoning_in_output: bool = True
    max_tokens: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    cache_marks: bool = True
    drop: frozenset[str] = frozenset()
    paths: Mapping[str, str] = field(default_factory=dict)

    def bend(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as this upstream takes it: the same one, changed."""
        for name, new in self.rename.items():
            if name in body:
                body[new] = body.pop(name)
        for name in self.drop:
            body.pop(name, None)
        return body


@dataclass(slots=True)
class Written:
    """A request as it goes out: below the provider's base URL, without its credential."""

    method: str
    path: str
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


class StreamReader(Protocol):
    """Reads one event stream. It owns the framing, too, and keeps whatever is half received."""

    terminated: bool
    """Whether the terminal event has come; what follows it is ignored."""

    def feed(self, data: bytes) -> list[Chunk]:
        """
        The chunks that these bytes complete.

        Raises:
            GatewayError: If the upstream reports an error inside the stream, classified by its body.
            ProtocolError: If the bytes are no such stream, or a limit is passed.
        """
        ...

    def end(self) -> list[Chunk]:
        """
        The body has ended: what is left.

        Raises:
            StreamInterrupted: If the terminal event never came.
        """
        ...


class StreamWriter(Protocol):
    """Writes one event stream, framing included."""

    def feed(self, chunk: Chunk) -> bytes: ...

    def end(self) -> bytes: ...

    def error(self, error: GatewayError) -> bytes: ...


class Dialect(Protocol):
    """One wire format."""

    name: str
    verbs: frozenset[Verb]

    def format(self, verb: Verb, model: str = "") -> str:
        """
        The format that bodies of the verb are in. Two dialects of one format differ in addresses and errors alone, and
        hand on what the other's callers and upstreams say, byte for byte.

        Args:
            model: The upstream's model, where its maker has a say in the format.
        """
        return self.name

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        """
        The request as this format writes it. `request.model` is the upstream's model.

        Raises:
            BadRequest: If the format cannot express it; the message names what.
        """
        ...

    def read_request(self, verb: Verb, data: Any) -> Request:
        """
        What a caller asks for who speaks this format: written to an upstream of the format again, it is the same JSON.

        It is translated into our shape when somebody looks, and what cannot be is refused then.

        Args:
            data: The body. What the format says in an address (Google's and Amazon's `model` and `stream`) or in a header
                (Anthropic's `betas`) is added to it.

        Raises:
            BadRequest: If the format has no such verb, or the body is none at all.
        """
        ...

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        """
        The answer to `request`, out of the body of a successful HTTP response.

        Raises:
            GatewayError: If the body is an error after all, classified by what it says.
            ProtocolError: If it is no answer of this format.
        """
        ...

    def told(self, name: str, value: Any) -> dict[str, Any] | None:
        """
        What a parameter means that only this format has, left as it was in a request that was read.

        Returns:
            The parameters of our shape that say it, none for what changes no answer; None if there are none that could.
        """
        return None

    def write_response(self, answer: Answer, request: Request | None = None) -> dict[str, Any]:
        """
        The body with which a server of this format would answer.

        Args:
            request: What was asked, where one answer is told in several ways; None: a chat, as it is usual.

        Raises:
            BadRequest: If the format has no words for it.
        """
        ...

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """The error that a response of this status means; by its body first, by its status if the body says nothing."""
        ...

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body with which a server of this format would say it."""
        ...

    def reader(self, request: Request, quirks: Quirks) -> StreamReader: ...

    def writer(self, request: Request) -> StreamWriter: ...
