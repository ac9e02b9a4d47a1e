"""What the recorded traffic of Anthropic's Messages says, and what this dialect makes of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.base import Quirks
from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextWindowExceeded,
    GatewayError,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Response, explode, fold

CORPUS = Path(__file__).parents[2] / "../shared/corpus"
FILES = ("anthropic.jsonl", "vertex.jsonl")

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the recorded traffic is not here")

dialect = AnthropicMessages()
CHAT, STREAMED, PLAIN = Request("chat", "claude"), Request("chat", "claude", stream=True), Quirks()

SPLIT_SAMPLE, SPLIT_BYTES = 8, 3000  # one stream of eight, if it is short, is cut everywhere
BYTE_SAMPLE = 4  # one stream of four is read byte by byte

CATEGORIES: dict[str, type[GatewayError]] = {
    "auth": AuthenticationFailed,
    "context_length": ContextWindowExceeded,
    "insufficient_quota": QuotaExhausted,
    "invalid_request": BadRequest,
    "model_not_found": ModelNotFound,
    "overloaded": Overloaded,
    "rate_limit": RateLimited,
    "server_error": UpstreamError,
}


@cache
def records() -> list[dict[str, Any]]:
    if not CORPUS.exists():
        return []
    found = (json.loads(line) for file in FILES for line in (CORPUS / file).read_text().splitlines())
    return [record for record in found if record["kind"] == "messages"]


def answered(streaming: bool) -> list[Any]:
    """The answers that are answers: no error, and somebody can say what they mean."""
    return [
        pytest.param(record, id=record["id"])
        for record in records()
        if record["streaming"] is streaming and record["expected"] and "error" not in record["expected"]
    ]


def sampled(part: int) -> list[Any]:
    return [param for param in answered(True) if int(param.id, 16) % part == 0]


def failed() -> list[Any]:
    if not CORPUS.exists():
        return []
    entries = json.loads((CORPUS / "errors.json").read_text())
    ours = [entry for entry in entries if entry["provider"] == "anthropic" and entry["category"] in CATEGORIES]
    return [pytest.param(entry, id=entry.get("id", f"{entry['status']}-{entry['category']}")) for entry in ours]


def body_of(record: dict[str, Any]) -> bytes:
    return record["response_body"].encode()


def read_whole(record: dict[str, Any]) -> Response:
    answer = dialect.read_response(CHAT, body_of(record), PLAIN)
    assert isinstance(answer, Response)
    return answer


def read_stream(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(STREAMED, PLAIN)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + reader.end()


def folded(*pieces: bytes) -> Response:
    answer = fold(read_stream(*pieces))
    assert isinstance(answer, Response)
    return answer


def facts(answer: Response) -> dict[str, Any]:
    return {
        "text": answer.text,
        "tool_calls": [{"name": call.name, "args": call.parsed()} for call in answer.tool_calls],
        "reasoning": answer.reasoning,
        "refusal": answer.refusal,
        "finish_reason": answer.finish_reason,
        "native_finish_reason": answer.choices[0].native_finish_reason,
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
        "cached_tokens": answer.usage.cache_read_tokens,
        "cache_write_tokens": answer.usage.cache_write_tokens,
        "reasoning_tokens": answer.usage.reasoning_tokens,
        "citations": answer.citations,
        "model": answer.model,
    }


def expected(record: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {name: value for name, value in record["expected"].items() if name != "choices"}
    # An address that is cited twice is given once.
    told["citations"] = list(dict.fromkeys(told["citations"]))
    # What was not sent is unknown to us, not nothing.
    if "thinking_tokens" not in record["response_body"]:
        told["reasoning_tokens"] = None
    for ours, theirs in (
        ("cached_tokens", "cache_read_input_tokens"),
        ("cache_write_tokens", "cache_creation_input_tokens"),
    ):
        if theirs not in record["response_body"]:
            told[ours] = None
    return told


@pytest.mark.parametrize("record", answered(streaming=False))
def test_whole_answers_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    Text, calls, reasoning, reasons, citations and tokens of a whole answer are those of the provider's SDK.
    """
    assert expected(record) == facts(read_whole(record))


@pytest.mark.parametrize("record", answered(streaming=True))
def test_streams_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    A folded stream says what the provider's SDK accumulates from it.
    """
    assert expected(record) == facts(folded(body_of(record)))


@pytest.mark.parametrize("record", [p for p in sampled(SPLIT_SAMPLE) if len(body_of(p.values[0])) <= SPLIT_BYTES])
def test_a_stream_means_the_same_wherever_it_is_cut(record: dict[str, Any]) -> None:
    """
    Cut in two at any byte, a stream gives the same chunks.
    """
    body = body_of(record)
    whole = read_stream(body)

    for cut in range(1, len(body)):
        assert whole == read_stream(body[:cut], body[cut:]), cut


@pytest.mark.parametrize("record", sampled(BYTE_SAMPLE))
def test_a_stream_means_the_same_byte_by_byte(record: dict[str, Any]) -> None:
    """
    Read byte by byte, a stream gives the same chunks.
    """
    body = body_of(record)

    assert read_stream(body) == read_stream(*(body[at : at + 1] for at in range(len(body))))


@pytest.mark.parametrize("record", answered(streaming=True))
def test_tool_calls_are_numbered_from_zero(record: dict[str, Any]) -> None:
    """
    Whatever blocks stand between them, tool calls of a stream are numbered 0, 1, 2, and each begins with id and name.
    """
    first: dict[int, tuple[str, str]] = {}
    for chunk in read_stream(body_of(record)):
        for call in chunk.tool_calls:
            first.setdefault(call.index, (call.id, call.name))

    assert list(range(len(first))) == list(first)
    assert all(id and name for id, name in first.values())


@pytest.mark.parametrize("record", answered(streaming=False))
def test_written_answers_are_messages(record: dict[str, Any]) -> None:
    """
    An answer written again is a Message of the SDK, and reads as it did.
    """
    answer = read_whole(record)
    written = json.dumps(dialect.write_response(answer))

    Message.model_validate_json(written)
    assert facts(answer) == facts(dialect.read_response(CHAT, written.encode(), PLAIN))  # type: ignore[arg-type]


EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def accumulated(stream: bytes) -> Message:
    """What the SDK makes of a stream; each event is first held to its type."""
    message: Any = None
    buffers: dict[int, bytes] = {}
    for event in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, _, data = event.partition("\ndata: ")
        parsed = EVENT.validate_json(data)
        assert f"event: {parsed.type}" == name
        message = accumulate_event(event=parsed, current_snapshot=message, json_bufs=buffers)
    return Message.model_validate(message.to_dict())


def spoken(message: Message) -> tuple[Any, ...]:
    """What is said in a message, whatever blocks it is cut into."""
    blocks = message.content
    return (
        "".join(block.text for block in blocks if block.type == "text"),
        [block.to_dict() for block in blocks if block.type in ("thinking", "redacted_thinking")],
        [(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
        message.stop_reason,
        message.usage.output_tokens,
        message.usage.input_tokens,
        message.usage.cache_read_input_tokens,
    )


@pytest.mark.parametrize("record", answered(streaming=True))
def test_written_streams_are_what_the_sdk_accumulates(record: dict[str, Any]) -> None:
    """
    A stream written again is made of the SDK's events and accumulates to what it was.
    """
    writer = dialect.writer(STREAMED)
    chunks = read_stream(body_of(record))
    written = b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()

    whole = fold(chunks)
    assert isinstance(whole, Response)
    assert spoken(Message.model_validate(dialect.write_response(whole))) == spoken(accumulated(written))
    assert facts(whole) == facts(folded(written))


@pytest.mark.parametrize("record", answered(streaming=False))
def test_whole_answers_can_be_streamed(record: dict[str, Any]) -> None:
    """
    A whole answer, given as one chunk or in pieces, is written as a stream that says the same.
    """
    answer = read_whole(record)
    for chunks in ([Chunk(whole=answer)], explode(answer)):
        writer = dialect.writer(STREAMED)
        written = b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()

        accumulated(written)
        assert facts(answer) == facts(folded(written))


def normal(value: Any) -> Any:
    """A request in the one form of all those that Anthropic takes for the same."""
    body = {name: item for name, item in value.items() if item is not None}
    if isinstance(body.get("system"), str):
        body["system"] = [{"type": "text", "text": body["system"]}] if body["system"] else []
    if not body.get("system"):
        body.pop("system", None)
    if "tools" in body:
        body["tools"] = [
            {name: item for name, item in tool.items() if (name, item) != ("strict", False)} for tool in body["tools"]
        ]
    turns: list[dict[str, Any]] = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else [dict(block) for block in content]
        for block in blocks:
            said = block.get("content")
            if block["type"] == "tool_result" and isinstance(said, list | type(None)):
                texts = [part for part in said or () if part.keys() == {"type", "text"}]
                block["content"] = texts[0]["text"] if said and len(said) == len(texts) == 1 else said or ""
        blocks = [block for block in blocks if block["type"] != "text" or block["text"]]
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += blocks
        elif blocks or message["role"] != "assistant":
            turns.append({"role": message["role"], "content": blocks})
    for turn in turns:
        # Results stand first, calls last; so Anthropic itself orders them.
        order = {"tool_result": 0, "tool_use": 2}
        turn["content"].sort(key=lambda block: order.get(block["type"], 1))
    body["messages"] = turns
    form = body.pop("output_format", None)
    if form:
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    choice = body.get("tool_choice")
    if choice and choice.get("disable_parallel_tool_use") is False:
        body["tool_choice"] = {name: item for name, item in choice.items() if name != "disable_parallel_tool_use"}
    if not body.get("stream"):
        body.pop("stream", None)
    return body


REQUESTS = [
    pytest.param(record["request_json"], id=record["id"])
    for record in records()
    if record["response_status"] == 200 and record["request_json"] and "model" in record["request_json"]
]


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_pass_through_openais_shape(data: dict[str, Any]) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, asks for the same.
    """
    request = dialect.read_request("chat", data)

    assert json.loads(request.encoded) == request.body
    assert normal(data) == normal(json.loads(dialect.write_request(request, PLAIN).body))


@pytest.mark.parametrize("entry", failed())
def test_errors_are_what_they_mean(entry: dict[str, Any]) -> None:
    """
    A recorded error is of the class that it means, in a response or in a stream, and keeps its message and its id.
    """
    body = json.dumps(entry["body"]).encode()
    if entry["where"] == "response":
        error = dialect.read_error(entry["status"], entry["headers"], body)
        assert entry["status"] == error.status
    else:
        with pytest.raises(GatewayError) as caught:
            read_stream(b"event: error\ndata: " + body + b"\n\n")
        error = caught.value

    assert CATEGORIES[entry["category"]] is type(error)
    assert entry["body"]["error"]["message"][:200] == error.message[:200]
    assert entry["body"]["error"]["type"] == error.code
    assert entry["body"].get("request_id") == error.request_id


@pytest.mark.parametrize(
    "record", [pytest.param(r, id=r["id"]) for r in records() if r["expected"] and "error" in r["expected"]]
)
def test_recorded_failures_raise(record: dict[str, Any]) -> None:
    """
    A recorded failure, whole or in a stream, raises what its body says, and never becomes an answer.
    """
    if record["streaming"]:
        with pytest.raises(GatewayError) as caught:
            read_stream(body_of(record))
        error = caught.value
    else:
        error = dialect.read_error(record["response_status"], record["response_headers"], body_of(record))

    assert record["expected"]["error"]["type"] == error.code
    assert type(error) in CATEGORIES.values()


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(record, id=record["id"])
        for line in ((CORPUS / FILES[0]).read_text().splitlines() if CORPUS.exists() else ())
        if (record := json.loads(line))["kind"] == "models"
    ],
)
def test_lists_of_models_are_read(record: dict[str, Any]) -> None:
    """
    A recorded list of models names each of them, in order.
    """
    models = dialect.read_response(Request("models"), body_of(record), PLAIN)

    assert [model["id"] for model in json.loads(record["response_body"])["data"]] == [model.id for model in models]  # type: ignore[attr-defined]
