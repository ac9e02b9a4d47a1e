"""Laws of what passes through: the bytes are the stream, and the meaning is what it would be without them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.dialects import dialect_named
from llmgate.dialects.aws_frames import framed
from llmgate.dialects.base import Quirks, StreamReader
from llmgate.dialects.passing import Cutter, Passing
from llmgate.errors import GatewayError
from llmgate.types.request import Request
from llmgate.types.response import Chunk
from llmgate.types.wire import dumps

ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def event_streams(draw: Any) -> bytes:
    """Events of chat completions between comments, pings and fields of other kinds, in every framing that is allowed."""
    ending = draw(ENDINGS)
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n"]))
    texts = draw(st.lists(st.text(max_size=5), min_size=1, max_size=4))
    for text in texts:
        if draw(st.booleans()):
            body += draw(st.sampled_from([b": ping", b"event: x", b"id: 7", b": p" + ending + b": q"])) + ending * 2
        event = {"choices": [{"index": n, "delta": {"content": text}} for n in range(draw(st.integers(1, 2)))]}
        body += b"data: " + dumps(event) + ending * 2
    body += (
        b"data: " + dumps({"choices": [{"index": n, "finish_reason": "stop", "delta": {}} for n in (0, 1)]}) + ending
    )
    if draw(st.booleans()):
        body += ending + b"data: [DONE]" + ending * 2 + draw(st.sampled_from([b"", b": bye" + ending * 2, b"data: x"]))
    elif draw(st.booleans()):
        body += ending
    return bytes(body)


@st.composite
def pieces_of(draw: Any, bodies: st.SearchStrategy[bytes]) -> list[bytes]:
    """A body, cut anywhere."""
    body = draw(bodies)
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def chunks_of(reader: StreamReader, pieces: list[bytes]) -> list[Chunk]:
    chunks: list[Chunk] = []
    behind = b""
    for piece in pieces:
        if reader.terminated:
            behind += piece
        else:
            chunks += reader.feed(piece)
    if not reader.terminated:
        return chunks + reader.end()
    return chunks + reader.trailing(behind) if isinstance(reader, Passing) else chunks


def reader() -> StreamReader:
    return dialect_named("openai_chat").reader(Request("chat", "m", stream=True), Quirks())


@settings(max_examples=200, deadline=None)
@given(pieces_of(event_streams()))
def test_the_bytes_are_the_stream_and_mean_what_they_meant(pieces: list[bytes]) -> None:
    """
    Whatever stands between the events and however they arrive, all bytes come out, and the chunks are those of the reader.
    """
    passed, plain = chunks_of(Passing(reader()), pieces), chunks_of(reader(), pieces)

    assert b"".join(pieces) == b"".join(chunk.wire for chunk in passed if chunk.wire)
    assert plain == [chunk for chunk in passed if chunk.raw is not None]
    assert [chunk.raw for chunk in plain] == [chunk.raw for chunk in passed if chunk.raw is not None]


@settings(max_examples=200, deadline=None)
@given(pieces_of(event_streams()), st.sampled_from([b"data: {]\n\n", b"event: error\ndata: {}\n\n"]))
def test_what_fails_is_never_handed_on(pieces: list[bytes], failing: bytes) -> None:
    """
    Of a stream that breaks the bytes of what was understood come out first, and nothing of what broke it.
    """
    body = b"".join(pieces).partition(b"data: [DONE]")[0].rstrip(b"\r\n") + b"\n\n"
    passing = Passing(reader())
    given_out: list[Chunk] = []
    with pytest.raises(GatewayError):
        for piece in (body[: len(body) // 2], body[len(body) // 2 :] + failing, b""):
            given_out += passing.feed(piece)
    with pytest.raises(GatewayError):
        passing.end()

    assert body == b"".join(chunk.wire for chunk in given_out if chunk.wire)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_nothing_is_lost_where_a_stream_is_cut(pieces: list[bytes]) -> None:
    """
    Also of what is no stream at all.
    """
    cutter = Cutter()
    cut = [event for piece in pieces for event in cutter.cut(piece)]

    assert b"".join(pieces) == b"".join(cut) + cutter.rest()
    assert b"" == cutter.rest()


FRAMES = st.lists(st.binary(max_size=20), min_size=1, max_size=5).map(
    lambda payloads: [framed({":event-type": "x"}, payload) for payload in payloads]
)
LINES = st.lists(st.text(max_size=5), min_size=1, max_size=5).map(
    lambda texts: [dumps({"a": t}) + b"\n" for t in texts]
)
EVENTS = st.tuples(ENDINGS, st.lists(st.text(max_size=5), min_size=1, max_size=5)).map(
    lambda told: [b"event: x%bdata: %b%b" % (told[0], dumps(text), told[0] * 2) for text in told[1]]
)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.one_of(FRAMES, LINES, EVENTS))
def test_a_cut_is_where_an_event_ends(data: st.DataObject, events: list[bytes]) -> None:
    """
    In each framing, and wherever the bytes were cut before, each event is a piece of its own. (A line end of two bytes may
    be cut in two, and then the second begins the next piece.)
    """
    body = b"".join(events)
    cutter = Cutter()
    cut = [event for piece in data.draw(pieces_of(st.just(body))) for event in cutter.cut(piece)]
    rest = cutter.rest()

    assert [event.strip(b"\r\n") for event in events] == [piece.strip(b"\r\n") for piece in cut]
    assert b"" == rest.strip(b"\n")
