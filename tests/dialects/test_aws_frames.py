"""Amazon's framing: what is cut, what is refused, and what a limit is."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.dialects import aws_frames
from llmgate.dialects.aws_frames import FrameParser, framed
from llmgate.policies.sse import MAX_EVENT_BYTES

Frame = tuple[dict[str, str], bytes]

NAMES = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=20)
FRAMES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.text(max_size=20), max_size=4), st.binary(max_size=60)), max_size=4
)


def message(headers: bytes, payload: bytes = b"{}") -> bytes:
    """A message with headers of any kind, checksums right."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return begun + struct.pack(">I", crc32(begun))


def header(name: bytes, kind: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([kind]) + value


def refused(data: bytes) -> str:
    parser = FrameParser()
    assert [] == parser.feed(data)
    assert parser.failure is not None
    return parser.failure.message


@settings(max_examples=100)
@given(FRAMES, st.data())
def test_what_was_framed_is_cut_again(frames: list[Frame], data: st.DataObject) -> None:
    """
    Messages come out as they went in, wherever the bytes are cut.
    """
    stream = b"".join(framed(headers, payload) for headers, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser = FrameParser()
    found: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[start:end])  # type: ignore[arg-type]

    assert frames == found
    assert not parser.half
    assert parser.failure is None


def test_a_message_is_what_amazon_writes() -> None:
    """
    The bytes are those of the protocol's own example, and botocore reads them.
    """
    eventstream = pytest.importorskip("botocore.eventstream")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(framed({":event-type": "x", "ü": "ä" * 300}, b"payload"))
    (event,) = list(buffer)

    assert ({":event-type": "x", "ü": "ä" * 300}, b"payload") == (event.headers, event.payload)
    # An empty message: https://smithy.io/2.0/aws/amazon-eventstream.html
    assert bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff") == framed({}, b"")


def test_headers_of_every_type_are_passed_over() -> None:
    """
    A header that is no text takes the place that its type says, and what follows it is read.
    """
    sizes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    lines = b"".join(header(b"n", kind, b"\xff" * size) for kind, size in sizes.items())
    lines += header(b"b", 6, b"\x00\x02\xff\xff") + header(b"text", 7, b"\x00\x02ok")

    assert [({"text": "ok"}, b"{}")] == FrameParser().feed(message(lines))


def test_any_damaged_bit_is_found() -> None:
    """
    Whichever bit of a message changes on its way, nothing of it is believed; what came before it is.
    """
    first, second = framed({":event-type": "a"}, b"1"), framed({":event-type": "b"}, b'{"n":2}')
    for bit in range(len(second) * 8):
        damaged = bytearray(second)
        damaged[bit // 8] ^= 1 << bit % 8
        parser = FrameParser()

        assert [({":event-type": "a"}, b"1")] == parser.feed(first + damaged)
        assert parser.failure is not None
        assert [] == parser.feed(second)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (header(b"n", 10, b""), "unknown type 10"),
        (header(b"n", 7, b"\x00\x09short"), "ends after all of them"),
        (header(b"n", 7, b"\x00"), "cannot be read"),
        (header(b"n", 9, b"short"), "ends after all of them"),
        (b"\x09n", "cannot be read"),
        (header(b"\xff", 7, b"\x00\x00"), "cannot be read"),
    ],
)
def test_headers_that_are_none_are_refused(lines: bytes, told: str) -> None:
    """
    Headers that say something else than their lengths are no headers, even with the right checksum.
    """
    assert told in refused(message(lines))


def test_lengths_are_held_to_limits_before_anything_is_kept() -> None:
    """
    A message that says that it is too large is refused by its first twelve bytes, and so is one shorter than its parts.
    """

    def begun(total: int, headers: int) -> bytes:
        lengths = struct.pack(">II", total, headers)
        return lengths + struct.pack(">I", crc32(lengths))

    assert f"{MAX_EVENT_BYTES:,}" in refused(begun(MAX_EVENT_BYTES + 1, 0))
    assert "more than" in refused(begun(MAX_EVENT_BYTES, aws_frames.MAX_HEADERS_BYTES + 1))
    assert "shorter than its parts" in refused(begun(40, 25))
    assert "no event stream" in refused(b"HTTP/1.1 200")


def test_what_is_known_of_headers_is_bounded() -> None:
    """
    However many sorts of headers come, only so many are remembered, and all are read.
    """
    parser = FrameParser()
    sorts = [{"n": str(number)} for number in range(3 * aws_frames.KNOWN_HEADERS)]

    assert sorts == [headers for one in sorts for headers, _ in parser.feed(framed(one, b""))]
    assert aws_frames.KNOWN_HEADERS == len(parser._known)


class Counting(FrameParser):
    """Counts how often it looks at what it holds."""

    looks = 0

    def _cut(self, data: bytes, found: list[tuple[aws_frames.Headers, bytes]]) -> int:
        self.looks += 1
        return super()._cut(data, found)


def test_a_message_in_single_bytes_is_not_copied_each_time() -> None:
    """
    Single bytes are looked at when the lengths may be there, and when the whole message is.
    """
    frame = framed({}, b"x" * 5_000)
    parser = Counting()
    found = [one for at in range(len(frame)) for one in parser.feed(frame[at : at + 1])]

    assert [({}, b"x" * 5_000)] == found
    assert 3 == parser.looks
