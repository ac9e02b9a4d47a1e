"""Where one event of a stream ends and the next begins, decided on bytes.

`EventParser` reads server-sent events as the WHATWG wrote them down: a line ends with CR, LF or CRLF and with nothing
else (U+2028 and U+0085 may stand inside JSON), one byte order mark is dropped, comments and unknown fields are
ignored. `LineSplitter` reads one JSON value a line. Both take bytes as they come, however they were cut, and give
what is complete. Neither decodes: a character cut in two is whole again before anybody reads it.

Nothing is trusted to be small. Limits end the stream with `ProtocolError`; a line or an event is kept once,
in one buffer, and every byte is looked at a fixed number of times.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation (checked 2026-11-20).
One departure: an event whose blank line never came is dropped there and given by `end` here, because servers
forget that line behind their last event.
"""

from __future__ import annotations

from ..errors import ProtocolError

__all__ = [
    "MAX_EVENTS",
    "MAX_EVENT_BYTES",
    "MAX_LINE_BYTES",
    "MAX_STREAM_BYTES",
    "Event",
    "EventParser",
    "LineSplitter",
]

MAX_LINE_BYTES = 1 << 20  # bytes; an image in one event takes a few hundred thousand, text a few hundred
MAX_EVENT_BYTES = 1 << 20  # bytes of all data lines of an event, line ends included
MAX_EVENTS = 1_000_000  # events of a stream; an answer of 128,000 tokens brings as many
MAX_STREAM_BYTES = 64 << 20  # bytes of a stream; the limit of a whole answer's body, too
_WINDOW_BYTES = 64 << 10  # bytes split at a time, so that a million tiny lines are never in memory at once

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Event = tuple[bytes, bytes]
"""Type (`event:`, empty if none was named) and data (lines joined with LF)."""


class EventParser:
    """Reads one stream of server-sent events; `id` and `retry` are for browsers that reconnect, and are ignored."""

    __slots__ = ("_after_cr", "_clean", "_data", "_events", "_line", "_received", "_started", "_type")

    def __init__(self) -> None:
        self._line = bytearray()  # of the line that is not complete
        self._data = bytearray()  # of the event that is not complete: each value with its line end
        self._type = b""
        self._after_cr = False
        self._started = False
        self._clean = False  # whether the next byte begins an event
        self._events = 0
        self._received = 0

    def feed(self, data: bytes) -> list[Event]:
        """
        The events that these bytes complete.

        Raises:
            ProtocolError: If a limit is passed.
        """
        size = len(data)
        self._received += size
        if self._received > MAX_STREAM_BYTES:
            raise _too_large("event stream", MAX_STREAM_BYTES)
        events: list[Event] = []
        # Nearly always whole events come, with line ends of one kind: Google's are CRLF, everybody else's LF.
        lines = data.replace(b"\r\n", b"\n") if data[-4:] == b"\r\n\r\n" and size <= _WINDOW_BYTES else data
        if self._clean and size <= _WINDOW_BYTES and lines[-2:] == b"\n\n" and b"\r" not in lines:
            self._read_events(lines, events)
        else:
            for start in range(0, size, _WINDOW_BYTES):
                self._read(data[start : start + _WINDOW_BYTES], events)
        if self._events > MAX_EVENTS:
            raise _too_large("event stream", MAX_EVENTS, "events")
        return events

    def end(self) -> list[Event]:
        """
        The body has ended: the event that lacks its blank line or even its line end, if there is one.

        Whether it is whole, its data must show.
        """
        events: list[Event] = []
        line, self._line = bytes(self._line), bytearray()
        self._read_lines(line if self._started else line.removeprefix(_BYTE_ORDER_MARK), events)
        self._dispatch(events)
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        """Any bytes in any state."""
        if self._after_cr:
            self._after_cr = False
            if data[:1] == b"\n":  # the second half of a CRLF
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data[-1:] == b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = data.find(b"\n")
        if len(self._line) + (len(data) if cut < 0 else cut) > MAX_LINE_BYTES:
            raise _too_large("line of an event", MAX_LINE_BYTES)
        if cut < 0:
            if data:
                self._line += data
                self._clean = False
            return
        cut = data.rfind(b"\n") + 1
        whole, self._line, rest = self._line, bytearray(data[cut:]), data[:cut]
        if whole:
            whole += rest
            rest = bytes(whole)
        if not self._started:
            self._started = True
            rest = rest.removeprefix(_BYTE_ORDER_MARK)
        if self._data or self._type:
            lines, blank, rest = rest.partition(b"\n\n")
            self._read_lines(lines if blank else lines[:-1], events)
            if blank:
                self._dispatch(events)
        cut = rest.rfind(b"\n\n") + 2
        if cut > 1:
            self._read_events(rest[:cut], events)
            rest = rest[cut:]
        if rest:
            self._read_lines(rest[:-1], events)
        self._clean = not (self._line or self._data or self._type or self._after_cr)

    def _read_events(self, data: bytes, events: list[Event]) -> None:
        """Whole events from the first byte to the blank line of the last."""
        if data[:6] == b"data: ":
            # Almost every stream brings one line an event, and almost every read one event or a few.
            body = data[6:-2]
            if b"\n" not in body:
                self._events += 1
                events.append((b"", body))
                return
            values = body.split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * len(values):  # so no value holds another line
                self._events += len(values)
                events += [(b"", value) for value in values]
                return
        for block in data[:-2].split(b"\n\n"):
            head, separator, value = block.partition(b"\ndata: ")
            if separator and head[:7] == b"event: " and b"\n" not in head and b"\n" not in value:
                self._events += 1
                events.append((head[7:], value))
            elif block:
                self._read_lines(block, events)
                self._dispatch(events)

    def _read_lines(self, lines: bytes, events: list[Event]) -> None:
        """Line by line, as the standard tells it."""
        for line in lines.split(b"\n"):
            if not line:
                self._dispatch(events)
                continue
            name, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if name == b"data":
                self._data += value
                self._data += b"\n"
                if len(self._data) > MAX_EVENT_BYTES + 1:
                    raise _too_large("event", MAX_EVENT_BYTES)
            elif name == b"event":
                self._type = value

    def _dispatch(self, events: list[Event]) -> None:
        data = self._data
        if data:
            events.append((self._type, bytes(data[:-1])))
            self._data = bytearray()
            self._events += 1
        self._type = b""


class LineSplitter:
    """Reads one stream of JSON lines (NDJSON): a value a line, empty lines are ignored."""

    __slots__ = ("_line", "_lines", "_received")

    def __init__(self) -> None:
        self._line = bytearray()
        self._lines = 0
        self._received = 0

    def feed(self, data: bytes) -> list[bytes]:
        """
        The lines that these bytes complete, without their ends.

        Raises:
            ProtocolError: If a limit is passed.
        """
        size = len(data)
        self._received += size
        if self._received > MAX_STREAM_BYTES:
            raise _too_large("stream of lines", MAX_STREAM_BYTES)
        lines: list[bytes] = []
        for start in range(0, size, _WINDOW_BYTES):
            self._read(data[start : start + _WINDOW_BYTES], lines)
        self._lines += len(lines)
        if self._lines > MAX_EVENTS:
            raise _too_large("stream of lines", MAX_EVENTS, "lines")
        return lines

    def end(self) -> list[bytes]:
        """The body has ended: the line that lacks its end, if there is one."""
        line, self._line = bytes(self._line).removesuffix(b"\r"), bytearray()
        return [line] if line else []

    def _read(self, data: bytes, lines: list[bytes]) -> None:
        cut = data.find(b"\n")
        if len(self._line) + (len(data) if cut < 0 else cut) > MAX_LINE_BYTES:
            raise _too_large("line", MAX_LINE_BYTES)
        if cut < 0:
            self._line += data
            return
        cut = data.rfind(b"\n") + 1
        whole, self._line = self._line, bytearray(data[cut:])
        whole += data[:cut]
        lines += filter(None, bytes(whole).replace(b"\r\n", b"\n").split(b"\n"))


def _too_large(what: str, limit: int, unit: str = "bytes") -> ProtocolError:
    return ProtocolError(f"the upstream sent a {what} of more than {limit:,} {unit}")
