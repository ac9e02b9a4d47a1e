"""Server-sent events and JSON lines, byte by byte."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from llmgate.errors import ProtocolError
from llmgate.policies import sse
from llmgate.policies.sse import EventParser, LineSplitter


def events(*pieces: bytes) -> list[tuple[bytes, bytes]]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


def lines(*pieces: bytes) -> list[bytes]:
    splitter = LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.end()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', [(b"", b'{"a":1}'), (b"", b"[DONE]")]),
        (b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
        (b"data:tight\n\n", [(b"", b"tight")]),
        (b"data:  two\n\n", [(b"", b" two")]),
        (b"data: a\ndata: b\ndata\n\n", [(b"", b"a\nb\n")]),
        (b"data\n\n", [(b"", b"")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", [(b"", b"a"), (b"", b"b"), (b"", b"c")]),
        (b"data: a\r\ndata: b\r\n\r\n", [(b"", b"a\nb")]),
        (b"\xef\xbb\xbfdata: first\n\ndata: \xef\xbb\xbf\n\n", [(b"", b"first"), (b"", b"\xef\xbb\xbf")]),
        (b": comment\n\n:\ndata: a\n: between\n\n", [(b"", b"a")]),
        (b"id: \x00\nretry: -1\nno colon\ndata: a\nunknown: b\n\n", [(b"", b"a")]),
        (b"event: lost\n\ndata: kept\n\n", [(b"", b"kept")]),
        (b"event: one\nevent: two\ndata: a\n\n", [(b"two", b"a")]),
        ("data: \u2028\u0085\x0b\x0c\n\n".encode(), [(b"", "\u2028\u0085\x0b\x0c".encode())]),
        (b"\n\n\n\r\r\n", []),
        (b"", []),
    ],
)
def test_reads_what_the_standard_says(stream, expected):
    """
    Every field, line end, comment and mark means what the WHATWG says, in one piece or byte by byte.
    """
    assert expected == events(stream)
    assert expected == events(*(stream[i : i + 1] for i in range(len(stream))))


def test_a_line_end_of_two_bytes_may_come_in_two_reads():
    """
    CR at the end of one read and LF at the start of the next are one line end, and the event does not wait for the LF.
    """
    parser = EventParser()

    assert [(b"", b"a")] == parser.feed(b"data: a\r\n\r")
    assert [] == parser.feed(b"\n")
    assert [(b"", b"b")] == parser.feed(b"data: b\n\n")


def test_an_event_without_its_blank_line_is_given_at_the_end():
    """
    The last event is not lost when the server forgets the blank line, or even the line end.
    """
    assert [(b"", b"[DONE]")] == events(b"data: [DONE]")
    assert [(b"", b"[DONE]")] == events(b"data: [DONE]\n")
    assert [(b"", b"[DONE]")] == events(b"\xef\xbb\xbfdata: [DONE]")


def test_the_end_is_given_once():
    """
    A second end brings nothing.
    """
    parser = EventParser()
    parser.feed(b"data: a")

    assert [(b"", b"a")] == parser.end()
    assert [] == parser.end()


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 20_000_000, b"x" * 70_000])
def test_a_line_that_never_ends_is_cut_at_its_limit(piece):
    """
    A line may have a mebibyte; what is longer is an error, as soon as it is.
    """
    parser = EventParser()
    with pytest.raises(ProtocolError, match="1,048,576 bytes"):
        for _ in range(2 * sse.MAX_LINE_BYTES // 70_000):
            parser.feed(piece)


def test_a_line_as_long_as_the_limit_is_read():
    """
    The limit itself is allowed, one byte more is not.
    """
    value = b"x" * (sse.MAX_LINE_BYTES - len(b"data: "))

    assert [(b"", value)] == events(b"data: " + value + b"\n\n")
    with pytest.raises(ProtocolError):
        events(b"data: " + value + b"x\n\n")


def test_an_event_of_many_lines_is_cut_at_its_limit():
    """
    An event may have a mebibyte however many lines it has.
    """
    line = b"data: " + b"x" * 1023 + b"\n"

    assert 1 == len(events(line * 1024 + b"\n"))
    with pytest.raises(ProtocolError, match="event of more than"):
        events(line * 1025 + b"\n")


def test_a_stream_has_a_limit_of_events_and_of_bytes():
    """
    A million events pass and one more does not; the same for 64 MiB.
    """
    parser = EventParser()
    for _ in range(1000):
        assert 1000 == len(parser.feed(b"data: a\n\n" * 1000))
    with pytest.raises(ProtocolError, match="1,000,000 events"):
        parser.feed(b"data: a\n\n")

    parser = EventParser()
    for _ in range(64):
        parser.feed(b":" + b"x" * (2**20 - 2) + b"\n")
    with pytest.raises(ProtocolError, match="67,108,864 bytes"):
        parser.feed(b"\n")


def test_an_endless_line_in_small_pieces_costs_no_more_than_its_bytes():
    """
    Memory stays below twice the limit, however small the pieces.
    """
    parser = EventParser()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            for _ in range(sse.MAX_LINE_BYTES // 16 + 1):
                parser.feed(b"sixteen bytes, x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2 * sse.MAX_LINE_BYTES


@pytest.mark.parametrize("tiny", [b"\n", b":\n", b":\r\n", b"data\n", b"id\r"])
def test_a_million_tiny_lines_cost_time_in_proportion(tiny):
    """
    Ten times the lines take about ten times as long, in one read, in many and in single bytes.
    """

    def seconds(count: int, size: int) -> float:
        stream = tiny * count
        parser = EventParser()
        start = time.process_time()
        for at in range(0, len(stream), size):
            parser.feed(stream[at : at + size])
        return time.process_time() - start

    for size in (1 << 30, 4096, 1):
        small, large = min(seconds(2_000, size) for _ in range(3)), seconds(20_000, size)

        assert large < 40 * max(small, 1e-4), size


def test_json_lines_end_with_a_line_feed():
    """
    A value a line, CRLF as good as LF, empty lines ignored, the last line end optional.
    """
    stream = '{"a":"\u2028"}\r\n\n{"b":1}\n\r\n{"c":2}'.encode()
    expected = ['{"a":"\u2028"}'.encode(), b'{"b":1}', b'{"c":2}']

    assert expected == lines(stream)
    assert expected == lines(*(stream[i : i + 1] for i in range(len(stream))))


def test_json_lines_have_the_same_limits():
    """
    A line beyond a mebibyte, a stream beyond a million lines or 64 MiB is an error.
    """
    assert [b"x" * sse.MAX_LINE_BYTES] == lines(b"x" * sse.MAX_LINE_BYTES + b"\n")
    with pytest.raises(ProtocolError, match="1,048,576 bytes"):
        lines(b"x" * sse.MAX_LINE_BYTES, b"x")
    with pytest.raises(ProtocolError, match="1,000,000 lines"):
        lines(*[b"1\n" * 100_001] * 10)
    with pytest.raises(ProtocolError, match="67,108,864 bytes"):
        lines(*[b" " * 2**20 + b"\n"] * 64)
