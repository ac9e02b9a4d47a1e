"""How Anthropic's Messages are streamed, promise by promise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.base import Quirks
from llmgate.errors import (
    BadRequest,
    Overloaded,
    ProtocolError,
    RateLimited,
    StreamInterrupted,
)
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Models, Response, ToolCall, fold
from llmgate.types.usage import Usage

dialect = AnthropicMessages()
PLAIN = Quirks()

Json = dict[str, Any]


def sse(*events: Json) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def start(**usage: int) -> Json:
    return {"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": [], "usage": usage}}


def block(index: int, **start: Any) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": start}


def delta(index: int, **delta: Any) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def end(reason: str | None = "end_turn", **usage: int) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


STOP: Json = {"type": "message_stop"}
PING: Json = {"type": "ping"}
TEXT = (block(0, type="text", text=""), delta(0, type="text_delta", text="Hi"), stop(0))


def chunks_of(stream: bytes) -> list[Chunk]:
    reader = dialect.reader(Request("chat", stream=True), PLAIN)
    chunks = reader.feed(stream)
    return chunks + reader.end()


def folded(stream: bytes) -> Response:
    answer = fold(chunks_of(stream))
    assert isinstance(answer, Response)
    return answer


def test_a_stream_is_read() -> None:
    """
    Each event is a chunk that names the answer and keeps the event, even if it says nothing; only pings are none.
    """
    stream = sse(start(input_tokens=3, output_tokens=1), PING, *TEXT, {"type": "new"}, end(output_tokens=5), STOP)
    at: Json = {"id": "msg_1", "model": "claude-x"}
    silent = Chunk(index=-1, **at)
    chunks = chunks_of(stream)

    assert [
        Chunk(usage=Usage(3, 1), index=-1, **at),
        silent,
        Chunk(text="Hi", **at),
        silent,
        silent,
        Chunk(finish_reason="stop", native_finish_reason="end_turn", usage=Usage(3, 5), **at),
        silent,
    ] == chunks
    assert stream == sse(chunks[0].raw, PING, *(chunk.raw for chunk in chunks[1:]))


def test_counts_of_a_stream_are_running_totals() -> None:
    """
    A count that is not said again still holds: tokens of the cache stay part of the input that grows.
    """
    first = start(input_tokens=1, cache_read_input_tokens=20, cache_creation_input_tokens=300, output_tokens=1)

    assert Usage(325, 7, 20, 300) == folded(sse(first, *TEXT, end(input_tokens=5, output_tokens=7), STOP)).usage


def test_calls_of_a_stream_are_numbered_alone() -> None:
    """
    Calls count from zero over the calls alone, a call without pieces is one without arguments, and what runs at
    Anthropic's is none.
    """
    answer = folded(
        sse(
            start(),
            *TEXT,
            block(1, type="server_tool_use", id="s", name="web_search", input={}),
            delta(1, type="input_json_delta", partial_json='{"query":'),
            stop(1),
            block(2, type="tool_use", id="a", name="f", input={}),
            delta(2, type="input_json_delta", partial_json=""),
            delta(2, type="input_json_delta", partial_json='{"x"'),
            delta(2, type="input_json_delta", partial_json=": 1}"),
            stop(2),
            block(3, type="tool_use", id="b", name="g", input={}),
            stop(3),
            end("tool_use"),
            STOP,
        )
    )

    assert [ToolCall("a", "f", '{"x": 1}', 0), ToolCall("b", "g", "", 1)] == answer.tool_calls


def test_thinking_is_given_once_more_as_a_whole() -> None:
    """
    A thinking block streams its text, and is whole with its signature when it stops; what is hidden is kept, too.
    """
    chunks = chunks_of(
        sse(
            start(),
            block(0, type="thinking", thinking="", signature=""),
            delta(0, type="thinking_delta", thinking="h"),
            delta(0, type="thinking_delta", thinking="m"),
            delta(0, type="signature_delta", signature="s="),
            stop(0),
            block(1, type="redacted_thinking", data="x="),
            stop(1),
            end(),
            STOP,
        )
    )

    whole = {"type": "thinking", "thinking": "hm", "signature": "s="}
    assert ["h", "m"] == [chunk.reasoning for chunk in chunks if chunk.reasoning]
    assert [{"thinking_blocks": [whole]}, {"thinking_blocks": [{"type": "redacted_thinking", "data": "x="}]}] == [
        chunk.extra for chunk in chunks if chunk.extra
    ]


def test_citations_of_a_stream() -> None:
    """
    An address that is cited comes with the text; a place in a document has none.
    """
    cited = delta(0, type="citations_delta", citation={"type": "web_search_result_location", "url": "https://x.test"})
    place = delta(0, type="citations_delta", citation={"type": "char_location", "document_index": 0})

    assert ["https://x.test"] == folded(sse(start(), TEXT[0], cited, cited, place, *TEXT[1:], end(), STOP)).citations


def test_blocks_that_begin_whole() -> None:
    """
    A compatible server may put all of a block into its beginning.
    """
    answer = folded(
        sse(
            start(),
            block(0, type="thinking", thinking="hm", signature="s"),
            stop(0),
            block(1, type="text", text="Hi", citations=[{"url": "https://x.test"}]),
            stop(1),
            block(2, type="tool_use", id="a", name="f", input={"x": 1}),
            stop(2),
            end(),
            STOP,
        )
    )

    assert ("hm", "Hi", ["https://x.test"]) == (answer.reasoning, answer.text, answer.citations)
    assert {"x": 1} == answer.tool_calls[0].parsed()


def test_the_end_is_message_stop() -> None:
    """
    A stream without message_stop is no answer, even with a reason to end, and even if the last event is half an event.
    """
    for stream in (b"", sse(start(), *TEXT), sse(start(), *TEXT, end()), sse(start(), *TEXT, end(), STOP)[:-9]):
        with pytest.raises(StreamInterrupted):
            chunks_of(stream)


def test_the_last_event_may_lack_its_blank_line() -> None:
    """
    message_stop counts without the blank line that some servers forget.
    """
    assert "Hi" == folded(sse(start(), *TEXT, end(), STOP).rstrip(b"\n")).text


@pytest.mark.parametrize("tail", [b"event: data\ndata: [DONE]\n\n", b"data: [DONE]\n\n", b"data: {{{\n\n", sse(*TEXT)])
def test_what_follows_the_end_is_ignored(tail: bytes) -> None:
    """
    OpenAI's last word after Anthropic's, or anything else, changes nothing.
    """
    stream = sse(start(), *TEXT, end(), STOP)
    reader = dialect.reader(Request("chat", stream=True), PLAIN)

    assert chunks_of(stream) == reader.feed(stream + tail) + reader.feed(tail) + reader.end()
    assert reader.terminated


def test_openais_last_word_is_no_end() -> None:
    """
    [DONE] alone does not make an answer whole.
    """
    with pytest.raises(StreamInterrupted):
        chunks_of(sse(start(), *TEXT, end()) + b"data: [DONE]\n\n")


def test_an_error_in_a_stream_is_raised_after_what_came_before() -> None:
    """
    The text before an error is given out, wherever the bytes were cut; then the error is raised, and again if asked again.
    """
    failure = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    reader = dialect.reader(Request("chat", stream=True), PLAIN)

    assert "Hi" == "".join(chunk.text for chunk in reader.feed(sse(start(), *TEXT, failure, STOP)))
    for again in (lambda: reader.feed(b"x"), reader.end):
        with pytest.raises(Overloaded) as caught:
            again()
        assert (503, "req_1", "overloaded_error") == (caught.value.status, caught.value.request_id, caught.value.code)
    with pytest.raises(RateLimited):
        chunks_of(sse({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}))
    with pytest.raises(Overloaded):
        chunks_of(b'event: error\ndata: {"error": {"type": "overloaded_error"}}')


@pytest.mark.parametrize(
    "bad",
    [b"{{{", b"[]", b"7", b'{"type":"content_block_delta"}', b'{"type":"content_block_delta","index":9,"delta":{"type":"thinking_delta"}}'],
)  # fmt: skip
def test_an_event_of_another_shape_is_a_protocol_error(bad: bytes) -> None:
    """
    An event that is none of the API's ends the stream with an error of its own.
    """
    reader = dialect.reader(Request("chat", stream=True), PLAIN)
    reader.feed(sse(start()))

    with pytest.raises(ProtocolError):
        reader.feed(b"data: " + bad + b"\n\n")


def test_events_without_a_name_and_with_other_line_ends() -> None:
    """
    The type inside an event is enough, and lines may end as they like.
    """
    stream = sse(start(), *TEXT, end(), STOP)
    unnamed = b"".join(line for line in stream.splitlines(keepends=True) if not line.startswith(b"event:"))

    assert chunks_of(stream) == chunks_of(unnamed) == chunks_of(stream.replace(b"\n", b"\r\n"))


def test_json_in_the_place_of_a_stream_is_understood() -> None:
    """
    An error that came whole, where events were asked for, is that error; anything else is no stream.
    """
    reader = dialect.reader(Request("chat", stream=True), PLAIN)
    body = b' {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'

    assert [] == reader.feed(body[:9]) + reader.feed(body[9:])
    with pytest.raises(Overloaded):
        reader.end()
    for page in (b"<html>", b'{"type":"message","content":[]}'):
        with pytest.raises(ProtocolError):
            chunks_of(page)


# --- streams we write -------------------------------------------------------------------------------------------------


def events_of(*chunks: Chunk) -> list[Json]:
    writer = dialect.writer(Request("chat", "asked"))
    stream = b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()
    found = [json.loads(line[6:]) for line in stream.decode().split("\n") if line.startswith("data: ")]
    assert [f"event: {event['type']}" for event in found] == [
        line for line in stream.decode().split("\n") if line.startswith("event:")
    ]
    return found


def outline(*chunks: Chunk) -> list[tuple[Any, ...]]:
    """Of each event what it is about."""
    out: list[tuple[Any, ...]] = []
    for event in events_of(*chunks):
        about = (event["index"], *event.get("delta", {}).values()) if "index" in event else ()
        out.append((event["type"].removeprefix("content_block_"), *about))
    return out


def test_a_stream_is_written() -> None:
    """
    Blocks open when their kind begins, close before the next one, and the end waits for the usage.
    """
    assert [
        ("message_start",),
        ("start", 0),
        ("delta", 0, "thinking_delta", "h"),
        ("delta", 0, "thinking_delta", "m"),
        ("stop", 0),
        ("start", 1),
        ("delta", 1, "text_delta", "Hi"),
        ("stop", 1),
        ("start", 2),
        ("delta", 2, "input_json_delta", '{"x"'),
        ("delta", 2, "input_json_delta", ":1}"),
        ("stop", 2),
        ("start", 3),
        ("stop", 3),
        ("message_delta",),
        ("message_stop",),
    ] == outline(
        Chunk(reasoning="h"),
        Chunk(reasoning="m"),
        Chunk(text="Hi"),
        Chunk(tool_calls=[ToolCall("a", "f", "")]),
        Chunk(tool_calls=[ToolCall("", "", '{"x"')]),
        Chunk(tool_calls=[ToolCall("", "", ":1}")]),
        Chunk(tool_calls=[ToolCall("", "g", "", 1)]),
        Chunk(finish_reason="tool_calls"),
        Chunk(usage=Usage(5, 7), index=-1),
    )


def test_the_end_of_a_written_stream_tells_reason_and_usage() -> None:
    """
    message_delta has the reason and the last usage, whichever came first; message_start names the answer.
    """
    events = events_of(
        Chunk(id="x", model="m", usage=Usage(5, 1), index=-1),
        Chunk(text="Hi", finish_reason="length"),
        Chunk(usage=Usage(5, 7, cache_read_tokens=4), index=-1),
    )

    assert ("x", "m") == (events[0]["message"]["id"], events[0]["message"]["model"])
    assert "max_tokens" == events[-2]["delta"]["stop_reason"]
    usage = events[-2]["usage"]
    assert (1, 4, 7) == (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"])


def test_signatures_go_into_the_block_they_sign() -> None:
    """
    A signature closes the block whose text was streamed; a block without text is written whole; nothing is said twice.
    """
    whole = {"type": "thinking", "thinking": "hm", "signature": "s"}
    silent = {"type": "thinking", "thinking": "", "signature": "t"}
    hidden = {"type": "redacted_thinking", "data": "x"}

    assert [
        ("message_start",),
        ("start", 0),
        ("delta", 0, "thinking_delta", "hm"),
        ("delta", 0, "signature_delta", "s"),
        ("stop", 0),
        ("start", 1),
        ("delta", 1, "signature_delta", "t"),
        ("stop", 1),
        ("start", 2),
        ("stop", 2),
        ("start", 3),
        ("delta", 3, "text_delta", "Hi"),
        ("stop", 3),
        ("message_delta",),
        ("message_stop",),
    ] == outline(
        Chunk(reasoning="hm"),
        Chunk(extra={"thinking_blocks": [whole]}),
        Chunk(extra={"thinking_blocks": [silent, hidden]}),
        Chunk(text="Hi"),
        Chunk(extra={"thinking_blocks": [whole]}),
    )


def test_calls_that_come_in_turns_keep_their_blocks() -> None:
    """
    Pieces of two calls that come in turns go to the block each belongs to.
    """
    events = events_of(
        Chunk(tool_calls=[ToolCall("a", "f", '{"x"', 0), ToolCall("b", "g", '{"y"', 1)]),
        Chunk(tool_calls=[ToolCall("", "", ":1}", 0), ToolCall("", "", ":2}", 1)]),
    )
    pieces = [
        (event["index"], event["delta"]["partial_json"]) for event in events if "index" in event and "delta" in event
    ]

    assert [(0, '{"x"'), (1, '{"y"'), (0, ":1}"), (1, ":2}")] == pieces


def test_an_empty_stream_is_a_message_without_content() -> None:
    """
    Nothing at all is still a whole stream, of the model that was asked.
    """
    events = events_of()

    assert ["message_start", "message_delta", "message_stop"] == [event["type"] for event in events]
    assert "asked" == events[0]["message"]["model"]


def test_a_refusal_is_streamed_as_one() -> None:
    """
    OpenAI's refusal is text that ends for the reason of a refusal; other choices are not written.
    """
    events = events_of(Chunk(refusal="No."), Chunk(text="other", index=1), Chunk(finish_reason="stop"))

    assert "No." == events[2]["delta"]["text"]
    assert "refusal" == events[-2]["delta"]["stop_reason"]
    assert "other" not in json.dumps(events)


def test_an_error_is_written_into_the_stream() -> None:
    """
    An error that comes late is an event, as Anthropic sends it.
    """
    said = dialect.writer(Request("chat")).error(Overloaded("busy"))

    assert said.startswith(b"event: error\ndata: ") and said.endswith(b"\n\n")
    with pytest.raises(Overloaded, match=r"^busy$"):
        chunks_of(said)


def test_only_answers_to_a_chat_are_streamed() -> None:
    """
    A list of models is no stream.
    """
    with pytest.raises(BadRequest, match="Models"):
        dialect.writer(Request("models")).feed(Chunk(whole=Models()))
