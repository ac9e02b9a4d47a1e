"""One HTTP answer of the gateway as plain values: whole, in pieces, unread, or a refusal, in the caller's dialect."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..dialects.base import Dialect, StreamWriter
from ..dialects.passing import answer_body, answer_writer
from ..errors import GatewayError
from ..runtime.edge import attributed
from ..types.call import Call
from ..types.media import Binary, Transcription
from ..types.reply import Reply
from ..types.wire import encode

if TYPE_CHECKING:
    from .asked import Lines

__all__ = ["Answered", "passed", "plain", "refused", "streamed", "whole"]

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
LINES = (b"content-type", b"application/x-ndjson")

TRAVEL = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"})
"""Headers of an upstream that said how its answer travelled to us."""


class Answered:
    """
    The answer as it goes out.

    Args:
        body: All of it; None if it comes in pieces.
        source: Brings the pieces.
        close: Cuts the upstream off.

    Attributes:
        timed_out: Whether what ran out was the time that the client itself had set.
    """

    __slots__ = ("_close", "_source", "body", "headers", "status", "timed_out")

    def __init__(
        self,
        status: int,
        headers: Lines,
        body: bytes | None,
        source: Callable[[], Awaitable[bytes]] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.timed_out = False
        self._source = source
        self._close = close

    async def read(self) -> bytes:
        """
        The next bytes, b"" at the end of a whole answer.

        Raises:
            GatewayError: If it broke off. The caller's dialect has said so already, where it can.
        """
        if self._source is None:
            body, self.body = self.body, b""
            return body or b""
        return await self._source()

    async def close(self) -> None:
        """Enough: cut the upstream off. Harmless after the end, and twice."""
        if self._close is not None:
            await self._close()


def plain(body: bytes) -> Answered:
    """JSON that nobody was asked for."""
    return Answered(200, [JSON], body)


async def whole(reply: Reply, call: Call, dialect: Dialect) -> Answered:
    """
    The answer in one piece.

    Raises:
        GatewayError: If it cannot be completed.
    """
    answer = attributed(await reply.response(), reply, call)
    sort, body = JSON, None
    if isinstance(answer, Binary | Transcription):
        from ..dialects.openai_media_answers import write_body

        media_type, body = write_body(call.request, answer)
        sort = b"content-type", media_type.encode("latin-1")
    if body is None or sort == JSON:
        body = answer_body(dialect, call.request, reply, answer)
    lines = [sort, *_circumstances(reply, call), *_ids(reply)]
    if (cost := answer.cost) is not None:
        lines.append((b"x-llmgate-cost", str(cost).encode("ascii")))
    return Answered(200, lines, body)


def streamed(reply: Reply, call: Call, dialect: Dialect) -> Answered:
    """The answer as it is written."""
    writing = _Writing(reply, answer_writer(dialect, call.request.to(call.route), reply))
    lines = [LINES if dialect.name == "ollama" else EVENTS, *_circumstances(reply, call), *_ids(reply)]
    return Answered(200, lines, None, writing.read, reply.close)


def passed(reply: Reply, call: Call) -> Answered:
    """The upstream's own answer, unread."""
    status, lines = 200, _circumstances(reply, call)
    if reply.head is not None:
        status = reply.head.status
        lines += [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in reply.head.headers.items()
            if name not in TRAVEL
        ]
    return Answered(status, lines, None, _Passing(reply).read, reply.close)


def refused(error: GatewayError, dialect: Dialect, unread: bool) -> Answered:
    """
    An error as a server of the caller's dialect would say it.

    Args:
        unread: What was not read is not understood better than by its own upstream, whose status stays.
    """
    status, named, body = dialect.write_error(error)
    headers = named | {"x-should-retry": "false", "x-llmgate-attempts": str(len(error.attempts))}
    if error.retry_after is not None:
        headers.setdefault("retry-after", str(math.ceil(error.retry_after)))
    if error.request_id:
        headers.setdefault("x-request-id", error.request_id)
    if error.deployment:
        headers["x-llmgate-deployment"] = error.deployment
    lines = [(name.encode("ascii"), _value(value)) for name, value in headers.items()]
    return Answered(error.status if unread else status, lines, encode(body))


class _Writing:
    """Writes a stream in the caller's dialect, as it comes."""

    __slots__ = ("_broken", "_ended", "_reply", "_writer")

    def __init__(self, reply: Reply, writer: StreamWriter) -> None:
        self._reply = reply
        self._writer = writer
        self._ended = False
        self._broken: GatewayError | None = None

    async def read(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        while not self._ended:
            try:
                if chunks := await self._reply.read():
                    data = b"".join([self._writer.feed(chunk) for chunk in chunks])
                else:
                    self._ended = True
                    data = self._writer.end()
            except GatewayError as error:
                # First in the dialect's words, which most SDKs raise; then for those that do not know them.
                self._broken = error
                return self._writer.error(error)
            if data:
                return data
        return b""


class _Passing:
    """Hands on an unread answer."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def read(self) -> bytes:
        while chunks := await self._reply.read():
            if data := b"".join([chunk.wire for chunk in chunks if chunk.wire]):
                return data
        return b""


def _circumstances(reply: Reply, call: Call) -> Lines:
    """What is known about how an answer came about."""
    lines: Lines = [(b"x-llmgate-attempts", b"%d" % len(call.trail.attempts))]
    if reply.deployment is not None:
        lines.append((b"x-llmgate-deployment", _value(reply.deployment.name)))
    if reply.cached is not None:
        lines.append((b"x-llmgate-cached", _value(reply.cached)))
    return lines


def _ids(reply: Reply) -> Lines:
    """The upstream's id of the request, under both names that SDKs look for."""
    if not reply.request_id:
        return []
    id = _value(reply.request_id)
    return [(b"x-request-id", id), (b"request-id", id)]


def _value(text: str) -> bytes:
    """A text that fits into a header line."""
    return text.encode("ascii", "replace") if text.isprintable() else ascii(text).encode("ascii")
