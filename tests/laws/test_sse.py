"""What holds for every stream of events, however it is written and however it is cut."""

from __future__ import annotations

from hypothesis import example, given, settings, strategies as st

from llmgate.policies.sse import EventParser, LineSplitter

PARTS = st.sampled_from(
    [b"data", b"event", b"id", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"data: {}\n\n", b"event: a\ndata: 1\n\n",
     b"x", b"\xef\xbb\xbf", b"\xef", b"\xe2\x80\xa8", b"\x00"]
)  # fmt: skip
STREAMS = st.lists(PARTS, max_size=24).map(b"".join)


def reference(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's algorithm as it is written, step by step; but for what the end of the stream leaves open."""
    if stream.startswith(b"\xef\xbb\xbf"):
        stream = stream[3:]
    lines, line, at = [], b"", 0
    while at < len(stream):
        byte = stream[at : at + 1]
        at += 1
        if byte == b"\r" or byte == b"\n":
            if byte == b"\r" and stream[at : at + 1] == b"\n":
                at += 1
            lines.append(line)
            line = b""
        else:
            line += byte
    lines += [line, b""]  # the end of the stream ends the line and the event
    found, data, kind = [], b"", b""
    for line in lines:
        if line == b"":
            if data != b"":
                found.append((kind, data[:-1]))
            data, kind = b"", b""
        elif line.startswith(b":"):
            continue
        else:
            field, value = line, b""
            if b":" in line:
                field, value = line[: line.index(b":")], line[line.index(b":") + 1 :]
                if value.startswith(b" "):
                    value = value[1:]
            if field == b"event":
                kind = value
            elif field == b"data":
                data += value + b"\n"
    return found


def read(pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


@given(STREAMS)
@example(b"data: a\n\n\ndata: b\n\n")
@example(b"event: a\ndata: b\ndata: c\n\n")
def test_reads_as_the_standard_does(stream):
    """
    The fast parser and the standard's own steps find the same events in any bytes.
    """
    assert reference(stream) == read([stream])


@given(STREAMS)
@example(b"data: a\r\ndata: b\r\n\r\n")
@settings(max_examples=120)
def test_a_cut_changes_nothing(stream):
    """
    Every cut in two, and the cut into single bytes, brings the same events as the whole.
    """
    expected = read([stream])

    assert expected == read([stream[i : i + 1] for i in range(len(stream))])
    for at in range(len(stream) + 1):
        assert expected == read([stream[:at], stream[at:]])


@given(st.lists(STREAMS, max_size=8))
def test_any_pieces_make_the_whole(pieces):
    """
    Pieces of any size, empty ones among them, bring the same events as the whole.
    """
    assert read([b"".join(pieces)]) == read(pieces)


@given(st.lists(st.binary(max_size=6).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_survive_any_cut(values, data):
    """
    JSON lines come out as they went in, wherever the bytes were cut.
    """
    stream = b"\n".join(values)
    at = data.draw(st.integers(0, len(stream)))
    splitter = LineSplitter()
    found = splitter.feed(stream[:at]) + splitter.feed(stream[at:]) + splitter.end()

    expected = [value.removesuffix(b"\r") for value in values]
    assert [value for value in expected if value] == found
