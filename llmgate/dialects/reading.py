"""What the readers of all streams do alike: errors in their turn, and whatever comes where a stream was asked for."""

from __future__ import annotations

from typing import Any

from ..errors import GatewayError, ProtocolError, StreamInterrupted
from ..policies.sse import MAX_LINE_BYTES, EventParser
from ..types.response import Chunk
from ..types.wire import loads
from .openai_words import excerpt

__all__ = ["NO_STREAM", "EventReader", "Reading", "not_json", "strange"]

NO_STREAM = b"{[<"
"""How a body begins that is JSON or a page."""


def not_json(payload: bytes) -> ProtocolError:
    """The error for an event that should be JSON."""
    return ProtocolError(f"an event of the stream is no JSON: {excerpt(payload)}")


def strange(payload: bytes) -> ProtocolError:
    """The error for an event that is JSON and not what its format promises."""
    return ProtocolError(f"an event of the stream has an unknown shape: {excerpt(payload)}")


class Reading:
    """Reads one stream. What came before an error is given out first, the error when more is asked for."""

    __slots__ = ("_failure", "terminated")

    def __init__(self) -> None:
        self.terminated = False
        self._failure: GatewayError | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        if self._failure is not None:
            raise self._failure
        chunks: list[Chunk] = []
        if not self.terminated:
            try:
                self._take(data, chunks)
            except GatewayError as error:
                self._failure = error
                if not chunks:
                    raise
        return chunks

    def end(self) -> list[Chunk]:
        if self._failure is not None:
            raise self._failure
        chunks: list[Chunk] = []
        if not self.terminated:
            self._close(chunks)
            self.terminated = True
        return chunks

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        """Add the chunks that these bytes complete; an error may be raised behind them."""
        raise NotImplementedError

    def _close(self, chunks: list[Chunk]) -> None:
        """Add what is left of a body that ended without a terminal event, or raise that it is not whole."""
        raise NotImplementedError

    def _instead(self, body: bytes) -> GatewayError:
        """What a body tells that is no stream: an error, we hope."""
        try:
            told = self._told(loads(body))
        except (ValueError, TypeError, AttributeError):
            told = None
        return told or ProtocolError(f"the upstream sent no stream of events, but: {excerpt(body)}")

    def _told(self, data: Any) -> GatewayError | None:
        """The error that JSON is which came in place of a stream; None if it is none."""
        return None


class EventReader(Reading):
    """Reads server-sent events. JSON or a page in their place is kept to its end, and told as what it is."""

    __slots__ = ("_body", "_events")

    def __init__(self) -> None:
        super().__init__()
        self._events = EventParser()
        self._body: bytearray | None = bytearray()  # until it is clear that this is a stream of events

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        if self._body is not None:
            data = self._begun(data)
        for name, payload in self._events.feed(data):
            self._read(name, payload, chunks)
            if self.terminated:
                break

    def _close(self, chunks: list[Chunk]) -> None:
        if self._body:
            raise self._instead(bytes(self._body))
        try:
            for name, payload in self._events.end():
                self._read(name, payload, chunks)
        except ProtocolError as error:
            raise StreamInterrupted("the stream ended in the middle of an event") from error
        if not (self.terminated or self._whole()):
            raise StreamInterrupted("the stream ended before the answer did")

    def _begun(self, data: bytes) -> bytes:
        """The first bytes of a stream; nothing yet, if they may be those of JSON or of a page."""
        if not self._body:
            data = data.lstrip()
        if not data:
            return b""
        if not self._body and data[0] not in NO_STREAM:
            self._body = None
            return data
        self._body = self._body or bytearray()
        self._body += data
        if len(self._body) > MAX_LINE_BYTES:
            raise self._instead(bytes(self._body))
        return b""

    def _read(self, name: bytes, payload: bytes, chunks: list[Chunk]) -> None:
        """Add the chunks of one event."""
        raise NotImplementedError

    def _whole(self) -> bool:
        """Whether a body that ends here is whole, though no event said so."""
        return False
