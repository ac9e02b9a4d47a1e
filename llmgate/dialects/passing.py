"""What passes through: answers of an upstream that speaks the caller's own format, byte for byte.

A stream is cut behind each event, whatever its framing, and each event goes through the format's reader as ever. What the
reader makes of an event bears the event's bytes, so everybody on the way sees texts, counts and the end as in any other
stream, and at the edge the bytes come out as they went in. The reader need not know: read in pieces, a stream means what
it means as a whole (law: tests/laws/test_passing.py).

Bytes and their meaning part where somebody changes the meaning. So it is the reply that says whether its bytes may be
handed on (`Reply.spoken`), and whoever may change its chunks (`Reply.through`) takes that back. Errors never pass: an
upstream's own words may repeat the key that it was sent.
"""

from __future__ import annotations

import re

from ..errors import GatewayError
from ..policies.sse import MAX_EVENT_BYTES
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Answer, Chunk
from ..types.wire import encode
from .base import Dialect, StreamReader, StreamWriter

__all__ = ["Cutter", "Passing", "answer_body", "answer_writer"]

_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
"""What ends an event of server-sent events; a line may end in three ways."""
_LINE = re.compile(rb"\n")

_LENGTH_BYTES = 4  # of Amazon's frames: the first four say how long the whole is
_FRAME_MIN_BYTES = 16  # of a frame without headers and payload


class Cutter:
    """
    Cuts a stream behind each event; the pieces together are the stream.

    The first byte tells the framing: JSON lines begin with a brace, Amazon's frames with the zero of their length. What is
    neither, nor server-sent events, is not cut at all. A place that is wrong costs nothing but the event's own piece.
    """

    __slots__ = ("_end", "_framed", "_rest", "_seen")

    def __init__(self) -> None:
        self._rest = b""  # of the event that is not complete
        self._seen = 0  # bytes of it in which no end begins
        self._framed = False
        self._end: re.Pattern[bytes] | None = None

    def cut(self, data: bytes) -> list[bytes]:
        """The events that these bytes complete, framing included."""
        data = self._rest + data
        if self._end is None and not self._framed:
            head = data.lstrip()[:1]
            if head in (b"[", b"<"):
                self._rest = b""
                return [data]
            self._framed = head == b"\0"
            self._end = _LINE if head == b"{" else _BLANK_LINE if head else None
        pieces: list[bytes] = []
        at = self._framed_up_to(data, pieces) if self._framed else self._cut_up_to(data, pieces)
        self._rest = data[at:]
        self._seen = max(len(self._rest) - 3, 0)
        if len(self._rest) > MAX_EVENT_BYTES:
            # Whether it is too large the reader says.
            pieces.append(self.rest())
        return pieces

    def rest(self) -> bytes:
        """What has come of an event that is not complete."""
        rest, self._rest, self._seen = self._rest, b"", 0
        return rest

    def _cut_up_to(self, data: bytes, pieces: list[bytes]) -> int:
        at = 0
        if self._end is not None:
            for end in self._end.finditer(data, self._seen):
                pieces.append(data[at : end.end()])
                at = end.end()
        return at

    def _framed_up_to(self, data: bytes, pieces: list[bytes]) -> int:
        at = 0
        while len(data) - at >= _LENGTH_BYTES:
            length = max(int.from_bytes(data[at : at + _LENGTH_BYTES]), _FRAME_MIN_BYTES)
            if len(data) - at < length:
                break
            pieces.append(data[at : at + length])
            at += length
        return at


class Passing:
    """
    A reader whose chunks bear the bytes that brought them, in `wire`; all of them together are the stream.

    An event that says nothing becomes a chunk that says nothing, once the answer has begun; before, its bytes come with the
    first chunk. What follows the end is part of the stream, too.
    """

    __slots__ = ("_begun", "_cutter", "_failure", "_reader", "_waiting", "terminated")

    def __init__(self, reader: StreamReader) -> None:
        self.terminated = False
        self._reader = reader
        self._cutter = Cutter()
        self._begun = False
        self._waiting = b""
        self._failure: GatewayError | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        if self._failure is not None:
            raise self._failure
        chunks: list[Chunk] = []
        for piece in self._cutter.cut(data):
            try:
                self._bear(self._reader.feed(piece), piece, chunks)
            except GatewayError as error:
                if not chunks:
                    raise
                self._failure = error  # what came before it is given out first
                break
        self.terminated = self._reader.terminated
        return chunks

    def end(self) -> list[Chunk]:
        if self._failure is not None:
            raise self._failure
        rest = self._cutter.rest()
        last = self._reader.feed(rest) if rest else []
        chunks: list[Chunk] = []
        self._bear(last + self._reader.end(), rest, chunks)
        self.terminated = True
        return chunks

    def trailing(self, data: bytes) -> list[Chunk]:
        """What came behind the end, as chunks that say nothing."""
        rest = self._waiting + self._cutter.rest() + data
        self._waiting = b""
        return [_bare(rest)] if rest else []

    def _bear(self, brought: list[Chunk], piece: bytes, chunks: list[Chunk]) -> None:
        if brought:
            brought[0].wire, self._waiting = self._waiting + piece, b""
            self._begun = True
            chunks += brought
        elif not self._begun:
            self._waiting += piece
        elif piece:
            chunks.append(_bare(piece))


def _bare(wire: bytes) -> Chunk:
    return Chunk(index=-1, wire=wire)


class _Handing:
    """
    Writes a stream by handing on the bytes that its chunks bear. An answer in one piece was no stream, and becomes one in
    the format's words; so does an error.
    """

    __slots__ = ("_dialect", "_request", "_writer")

    def __init__(self, dialect: Dialect, request: Request) -> None:
        self._dialect = dialect
        self._request = request
        self._writer: StreamWriter | None = None

    def feed(self, chunk: Chunk) -> bytes:
        if chunk.whole is None:
            return chunk.wire or b""
        self._writer = self._dialect.writer(self._request)
        return self._writer.feed(chunk)

    def end(self) -> bytes:
        return b"" if self._writer is None else self._writer.end()

    def error(self, error: GatewayError) -> bytes:
        return (self._writer or self._dialect.writer(self._request)).error(error)


def passes(dialect: Dialect, request: Request, reply: Reply) -> bool:
    """Whether what the upstream sent is what the caller's format would say."""
    return reply.spoken != "" and reply.spoken == (request.spoken or dialect.format(request.verb))


def answer_writer(dialect: Dialect, request: Request, reply: Reply) -> StreamWriter:
    """What writes the stream of a reply for a caller who speaks the dialect."""
    return _Handing(dialect, request) if passes(dialect, request, reply) else dialect.writer(request)


def answer_body(dialect: Dialect, request: Request, reply: Reply, answer: Answer) -> bytes:
    """
    The body of a whole answer for a caller who speaks the dialect.

    Raises:
        BadRequest: If the format has no words for it.
    """
    if answer.wire is not None and passes(dialect, request, reply):
        return answer.wire
    return encode(dialect.write_response(answer, request))
