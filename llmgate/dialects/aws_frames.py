"""Amazon's event stream: messages of headers and a payload, in binary, each with two checksums.

    total length · headers length · CRC of these eight bytes │ headers │ payload │ CRC of everything before

All numbers are big-endian. A header is a name, a type and a value; the types and their sizes are a table here. Nothing
is trusted to be small: the lengths are held to limits before anything is kept, and only after their checksum has told
that they are lengths at all.

Sources, checked 2026-11-20: https://smithy.io/2.0/aws/amazon-eventstream.html and `botocore/eventstream.py` 1.44.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, error
from zlib import crc32

from ..errors import ProtocolError
from ..policies.sse import MAX_EVENT_BYTES, MAX_EVENTS, MAX_STREAM_BYTES

__all__ = ["FrameParser", "framed"]

MAX_HEADERS_BYTES = 128 << 10  # bytes of all headers of a message; Amazon's own limit
KNOWN_HEADERS = 64  # sorts of headers whose reading is kept; a stream has about six
KNOWN_HEADERS_BYTES = 1 << 10  # bytes of headers that are worth keeping; three short ones take a hundred

_PRELUDE = Struct(">III")
_CHECKSUM = Struct(">I")
_LENGTH = Struct(">H")
_OVERHEAD = _PRELUDE.size + _CHECKSUM.size

_SIZES: Mapping[int, int] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by its type: true, false, byte, short, integer, long, timestamp, UUID."""
_BYTES, _STRING = 6, 7
"""The types whose values say their own length."""

Headers = Mapping[str, str]


class FrameParser:
    """
    Cuts a stream of bytes into messages and keeps what is half received.

    Attributes:
        failure: Why nothing more is read: the bytes are no such messages, were damaged, or a limit is passed.
    """

    __slots__ = ("_known", "_messages", "_received", "_rest", "_wanted", "failure")

    def __init__(self) -> None:
        self.failure: ProtocolError | None = None
        self._rest = bytearray()
        self._wanted = _PRELUDE.size  # bytes without which there is nothing to read
        self._known: dict[bytes, Headers] = {}
        self._messages = 0
        self._received = 0

    @property
    def half(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[tuple[Headers, bytes]]:
        """Headers and payload of the messages that these bytes complete. Of the headers those that are text."""
        found: list[tuple[Headers, bytes]] = []
        if self.failure is not None:
            return found
        self._received += len(data)
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return found
            data = bytes(self._rest)
            self._rest.clear()
        try:
            if self._received > MAX_STREAM_BYTES:
                raise ProtocolError(f"the upstream sent a stream of more than {MAX_STREAM_BYTES:,} bytes")
            self._rest += data[self._cut(data, found) :]
        except ProtocolError as error:
            self.failure = error
        return found

    def _cut(self, data: bytes, found: list[tuple[Headers, bytes]]) -> int:
        """Where the first message begins that is not complete."""
        at, size = 0, len(data)
        while size - at >= _PRELUDE.size:
            total, length, checksum = _PRELUDE.unpack_from(data, at)
            if crc32(data[at : at + 8]) != checksum:
                raise ProtocolError("the upstream sent no event stream, or one that was damaged on its way")
            if total > MAX_EVENT_BYTES or length > MAX_HEADERS_BYTES:
                raise ProtocolError(f"the upstream sent an event of more than {MAX_EVENT_BYTES:,} bytes")
            if total < _OVERHEAD + length:
                raise ProtocolError("the upstream sent an event that is shorter than its parts")
            if size - at < total:
                self._wanted = total
                return at
            body, end = at + _PRELUDE.size, at + total - _CHECKSUM.size
            if crc32(data[at:end]) != _CHECKSUM.unpack_from(data, end)[0]:
                raise ProtocolError("an event of the stream was damaged on its way")
            self._messages += 1
            if self._messages > MAX_EVENTS:
                raise ProtocolError(f"the upstream sent a stream of more than {MAX_EVENTS:,} events")
            found.append((self._headers(data[body : body + length]), data[body + length : end]))
            at += total
        self._wanted = _PRELUDE.size
        return at

    def _headers(self, data: bytes) -> Headers:
        # A stream says the same few things over and over.
        headers = self._known.get(data)
        if headers is None:
            headers = _read_headers(data)
            if len(self._known) < KNOWN_HEADERS and len(data) <= KNOWN_HEADERS_BYTES:
                self._known[data] = headers
        return headers


def _read_headers(data: bytes) -> Headers:
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            start = at + 1
            at = start + data[at]
            name, kind = data[start:at].decode(), data[at]
            at += 1
            size = _SIZES.get(kind)
            if size is None:
                if kind not in (_BYTES, _STRING):
                    raise ProtocolError(f"an event of the stream has a header of the unknown type {kind}")
                size = _LENGTH.unpack_from(data, at)[0]
                at += _LENGTH.size
            if at + size > len(data):
                raise ProtocolError("a header of an event ends after all of them")
            if kind == _STRING:
                headers[name] = data[at : at + size].decode()
            at += size
    except (IndexError, ValueError, error):
        raise ProtocolError("an event of the stream has headers that cannot be read") from None
    return headers


def framed(headers: Headers, payload: bytes) -> bytes:
    """One message."""
    lines = b"".join(
        b"%c%b%c%b%b" % (len(name), name, _STRING, _LENGTH.pack(len(value)), value)
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    lengths = _PRELUDE.pack(_OVERHEAD + len(lines) + len(payload), len(lines), 0)[:8]
    message = b"%b%b%b%b" % (lengths, _CHECKSUM.pack(crc32(lengths)), lines, payload)
    return message + _CHECKSUM.pack(crc32(message))
