"""What the recorded traffic of Anthropic's Messages says, and what this dialect makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.errors import GatewayError
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Response, explode, fold

from . import corpus
from .corpus import PLAIN, Record, Wire, body_of, params

pytestmark = corpus.needed

dialect = AnthropicMessages()
wire = Wire(dialect, "claude")


CATEGORIES = corpus.categories(
    "auth",
    "context_length",
    "insufficient_quota",
    "invalid_request",
    "model_not_found",
    "overloaded",
    "rate_limit",
    "server_error",
)
RECORDS = [record for record in (*corpus.lines("anthropic"), *corpus.lines("vertex")) if record["kind"] == "messages"]
WHOLE = params(record for record in RECORDS if corpus.is_answer(record) and not record["streaming"])
STREAMS = params(record for record in RECORDS if corpus.is_answer(record) and record["streaming"])


def facts(answer: Response) -> dict[str, Any]:
    return (
        corpus.said(answer.choices[0])
        | corpus.counts(answer.usage)
        | {"citations": answer.citations, "model": answer.model}
    )


@pytest.mark.parametrize("record", STREAMS)
def test_tool_calls_are_numbered_from_zero(record: Record) -> None:
    """
    Whatever blocks stand between them, tool calls of a stream are numbered 0, 1, 2, and each begins with id and name.
    """
    corpus.calls_are_numbered(wire.read_stream(body_of(record)))


@pytest.mark.parametrize("record", WHOLE)
def test_written_answers_are_messages(record: Record) -> None:
    """
    An answer written again is a Message of the SDK, and reads as it did.
    """
    answer = wire.read_whole(record)
    written = json.dumps(dialect.write_response(answer))

    Message.model_validate_json(written)
    assert facts(answer) == facts(dialect.read_response(wire.chat, written.encode(), PLAIN))  # type: ignore[arg-type]


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


@pytest.mark.parametrize("record", STREAMS)
def test_written_streams_are_what_the_sdk_accumulates(record: Record) -> None:
    """
    A stream written again is made of the SDK's events and accumulates to what it was.
    """
    chunks = wire.read_stream(body_of(record))
    written = wire.written(chunks)

    whole = fold(chunks)
    assert isinstance(whole, Response)
    assert spoken(Message.model_validate(dialect.write_response(whole))) == spoken(accumulated(written))
    assert facts(whole) == facts(wire.folded(written))


@pytest.mark.parametrize("record", WHOLE)
def test_whole_answers_can_be_streamed(record: Record) -> None:
    """
    A whole answer, given as one chunk or in pieces, is written as a stream that says the same.
    """
    answer = wire.read_whole(record)
    for chunks in ([Chunk(whole=answer)], explode(answer)):
        written = wire.written(chunks)

        accumulated(written)
        assert facts(answer) == facts(wire.folded(written))


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
    for record in RECORDS
    if record["response_status"] == 200 and record["request_json"] and "model" in record["request_json"]
]


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_pass_through_openais_shape(data: dict[str, Any]) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, asks for the same.
    """
    request = dialect.read_request("chat", data).but()

    assert json.loads(request.encoded) == request.body
    assert normal(data) == normal(json.loads(dialect.write_request(request, PLAIN).body))


FAILED = [entry for entry in corpus.errors() if entry["provider"] == "anthropic" and entry["category"] in CATEGORIES]


@pytest.mark.parametrize("entry", params(FAILED, lambda e: e.get("id", f"{e['status']}-{e['category']}")))
def test_errors_are_what_they_mean(entry: Record) -> None:
    """
    A recorded error is of the class that it means, in a response or in a stream, and keeps its message and its id.
    """
    body = json.dumps(entry["body"]).encode()
    if entry["where"] == "response":
        error = dialect.read_error(entry["status"], entry["headers"], body)
        assert entry["status"] == error.status
    else:
        with pytest.raises(GatewayError) as caught:
            wire.read_stream(b"event: error\ndata: " + body + b"\n\n")
        error = caught.value

    assert CATEGORIES[entry["category"]] is type(error)
    assert entry["body"]["error"]["message"][:200] == error.message[:200]
    assert entry["body"]["error"]["type"] == error.code
    assert entry["body"].get("request_id") == error.request_id


@pytest.mark.parametrize("record", params(r for r in RECORDS if r["expected"] and "error" in r["expected"]))
def test_recorded_failures_raise(record: Record) -> None:
    """
    A recorded failure, whole or in a stream, raises what its body says, and never becomes an answer.
    """
    if record["streaming"]:
        with pytest.raises(GatewayError) as caught:
            wire.read_stream(body_of(record))
        error = caught.value
    else:
        error = dialect.read_error(record["response_status"], record["response_headers"], body_of(record))

    assert record["expected"]["error"]["type"] == error.code
    assert type(error) in CATEGORIES.values()


@pytest.mark.parametrize("record", params(record for record in corpus.lines("anthropic") if record["kind"] == "models"))
def test_lists_of_models_are_read(record: Record) -> None:
    """
    A recorded list of models names each of them, in order.
    """
    models = dialect.read_response(Request("models"), body_of(record), PLAIN)

    assert [model["id"] for model in json.loads(record["response_body"])["data"]] == [model.id for model in models]  # type: ignore[attr-defined]
