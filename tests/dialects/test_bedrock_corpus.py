"""What the recorded traffic of Amazon Bedrock says, and what this dialect makes of it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any
from urllib.parse import unquote

import pytest

from llmgate.dialects.bedrock import Bedrock
from llmgate.errors import GatewayError
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Embeddings, Response, explode, fold

from . import corpus
from .corpus import PLAIN, Record, Wire, body_of, params

pytestmark = corpus.needed

dialect = Bedrock()
wire = Wire(dialect, "m")


RECORDS = corpus.lines("bedrock")
CONVERSED = [record for record in RECORDS if record["kind"] == "converse" and record["response_status"] == 200]
WHOLE = params(record for record in CONVERSED if record["streaming"] is False)
STREAMS = params(record for record in CONVERSED if record["streaming"] is True)


def facts(answer: Response) -> dict[str, Any]:
    return corpus.said(answer.choices[0]) | corpus.counts(answer.usage)


def known(params: list[Any]) -> list[Any]:
    """Those of which somebody can say what they mean."""
    return [param for param in params if param.values[0]["expected"]]


@pytest.mark.parametrize("record", [p for p in WHOLE if not p.values[0]["expected"]])
def test_whole_answers_that_nobody_explains_are_read(record: Record) -> None:
    """
    An answer of which no SDK says what it means is an answer all the same.
    """
    content = json.loads(record["response_body"])["output"]["message"]["content"]
    answer = wire.read_whole(record)

    assert "".join(block.get("text", "") for block in content) == answer.text
    assert [b["toolUse"]["toolUseId"] for b in content if "toolUse" in b] == [call.id for call in answer.tool_calls]


@pytest.mark.parametrize("record", STREAMS)
def test_tool_calls_are_numbered_from_zero(record: Record) -> None:
    """
    Whatever blocks stand between them, tool calls of a stream are numbered 0, 1, 2, and each begins with id and name.
    """
    corpus.calls_are_numbered(wire.read_stream(body_of(record)))


def boto_reads(stream: bytes) -> list[dict[str, Any]]:
    """The events that Amazon's own SDK finds in a stream, each held to the service's model."""
    from botocore.eventstream import EventStreamBuffer
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.parsers import EventStreamJSONParser

    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
    shape = model.operation_model("ConverseStream").output_shape.members["stream"]
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    return [EventStreamJSONParser().parse(event.to_response_dict(), shape) for event in buffer]


def boto_folds(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What is said in a stream, whatever blocks it is cut into."""
    calls: dict[int, dict[str, Any]] = {}
    text, reasoning, said = "", "", {}
    for event in events:
        match event:
            case {"contentBlockStart": {"contentBlockIndex": index, "start": {"toolUse": call}}}:
                if call.get("type") != "server_tool_use":
                    calls[index] = {"id": call["toolUseId"], "name": call["name"], "input": ""}
            case {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}:
                text += delta.get("text", "")
                reasoning += delta.get("reasoningContent", {}).get("text", "")
                if index in calls:
                    calls[index]["input"] += delta["toolUse"]["input"]
            case {"messageStop": stop}:
                said["stopReason"] = stop["stopReason"]
            case {"metadata": {"usage": usage}}:
                said["usage"] = {name: usage.get(name) for name in ("inputTokens", "outputTokens", "totalTokens")}
    return {"text": text, "reasoning": reasoning, "calls": list(calls.values())} | said


@pytest.mark.parametrize("record", STREAMS)
def test_written_streams_are_what_the_sdk_reads(record: Record) -> None:
    """
    A stream written again is one to Amazon's SDK, and says what it said.
    """
    pytest.importorskip("botocore")
    chunks = wire.read_stream(body_of(record))
    written = wire.written(chunks)

    told = boto_folds(boto_reads(body_of(record)))
    # Whoever wants to write a usage that nobody sent writes zeros.
    told.setdefault("usage", {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0})
    assert told == boto_folds(boto_reads(written))
    again = wire.folded(written)
    assert (fold(chunks).choices[0].extra, fold(chunks).citations) == (again.choices[0].extra, again.citations)  # type: ignore[attr-defined]


@pytest.mark.parametrize("record", WHOLE)
def test_written_answers_say_the_same(record: Record) -> None:
    """
    An answer written again, whole or as a stream, reads as it did.
    """
    answer = wire.read_whole(record)
    again = wire.again(answer)

    assert isinstance(again, Response)
    assert (facts(answer), answer.choices) == (facts(again), again.choices)
    for chunks in ([Chunk(whole=answer)], explode(answer)):
        streamed = wire.folded(wire.written(chunks))
        assert facts(answer) == facts(streamed)


@pytest.mark.parametrize("record", known(WHOLE))
def test_written_answers_are_what_the_sdk_reads(record: Record) -> None:
    """
    An answer written again is one to Amazon's SDK, with the content that the recorded one has to it.
    """
    pytest.importorskip("botocore")
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.parsers import RestJSONParser

    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
    shape = model.operation_model("Converse").output_shape

    def parsed(body: bytes) -> dict[str, Any]:
        told: dict[str, Any] = RestJSONParser().parse({"status_code": 200, "headers": {}, "body": body}, shape)
        return told

    told, again = parsed(body_of(record)), parsed(json.dumps(dialect.write_response(wire.read_whole(record))).encode())
    assert told["stopReason"] == again["stopReason"]
    assert [told["usage"][name] for name in COUNTS] == [again["usage"][name] for name in COUNTS]
    calls = [[b["toolUse"] for b in t["output"]["message"]["content"] if "toolUse" in b] for t in (told, again)]
    for call in calls[0]:
        if call.get("type") == "tool_use":  # says nothing
            del call["type"]
    assert calls[0] == calls[1]


COUNTS = ("inputTokens", "outputTokens")


@pytest.mark.parametrize("record", [*WHOLE, *STREAMS])
def test_the_next_turn_holds_what_was_signed(record: Record) -> None:
    """
    The message of an answer, sent back, holds every signed thought and every call of the recorded one.
    """
    if record["streaming"]:
        answer = wire.folded(body_of(record))
        signed = [event["contentBlockDelta"]["delta"] for event in raws(record) if "contentBlockDelta" in event]
        signatures = [
            d["reasoningContent"]["signature"] for d in signed if "signature" in d.get("reasoningContent", {})
        ]
    else:
        answer = wire.read_whole(record)
        content = json.loads(record["response_body"])["output"]["message"]["content"]
        thoughts = [block["reasoningContent"]["reasoningText"] for block in content if "reasoningContent" in block]
        signatures = [thought["signature"] for thought in thoughts if thought.get("signature")]
    body = {"messages": [{"role": "user", "content": "hello"}, answer.message]}
    turns = json.loads(dialect.write_request(Request("chat", "m", body), PLAIN).body)["messages"]
    blocks = [block for turn in turns[1:] for block in turn["content"]]

    sent = [block["reasoningContent"]["reasoningText"]["signature"] for block in blocks if "reasoningContent" in block]
    assert signatures == sent
    calls = [block["toolUse"] for block in blocks if "toolUse" in block]
    assert [call.id for call in answer.tool_calls] == [c["toolUseId"] for c in calls if c.get("type") is None]


def raws(record: Record) -> list[Any]:
    return [chunk.raw for chunk in wire.read_stream(body_of(record))]


# --- requests ---------------------------------------------------------------------------------------------------------


def normal(value: Any) -> Any:
    """A request in the one form of all those that Bedrock takes for the same."""
    body = {name: item for name, item in deepcopy(value).items() if item not in ({}, [])}
    turns: list[dict[str, Any]] = []
    for message in body["messages"]:
        # Calls stand last; so the models want it.
        blocks = sorted(message["content"], key=lambda b: "toolUse" in b and "type" not in b["toolUse"])
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": message["role"], "content": blocks})
    body["messages"] = turns
    for form in (body.get("outputConfig") or {}).values():
        asked = form["structure"]["jsonSchema"]
        asked["schema"] = json.loads(asked["schema"])
    for tool in body.get("toolConfig", {}).get("tools", ()):
        schema = tool.get("toolSpec", {}).get("inputSchema")
        if schema and "type" not in schema["json"]:
            schema["json"] = {"type": "object", "properties": {}} | schema["json"]
    return body


@pytest.mark.parametrize("record", [p for p in [*WHOLE, *STREAMS] if p.values[0]["request_json"]])
def test_requests_pass_through_openais_shape(record: Record) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, is the same request.
    """
    request = dialect.read_request("chat", record["request_json"]).but()

    assert json.loads(request.encoded) == request.body
    written = dialect.write_request(request.to(record["model"] or "m"), PLAIN)
    assert normal(record["request_json"]) == normal(json.loads(written.body))


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "embeddings"))
def test_embeddings_are_read_and_asked_for_again(record: Record) -> None:
    """
    A recorded request for embeddings is written as it was, and its answer has a vector for each input.
    """
    model = unquote(record["url"].split("/")[-2])
    request = dialect.read_request("embed", record["request_json"]).to(model).but()
    answer = dialect.read_response(request, body_of(record), PLAIN)

    written = dialect.write_request(request, PLAIN)
    assert record["request_json"] == json.loads(written.body)
    assert unquote(record["url"]).endswith(unquote(written.path))
    assert isinstance(answer, Embeddings)
    assert len(request.body["input"]) == len(answer.vectors)
    assert all(isinstance(number, float) for vector in answer.vectors for number in vector)
    assert answer == wire.again(answer, request)


# --- errors -----------------------------------------------------------------------------------------------------------


FAILED = [entry for entry in corpus.errors() if entry["provider"] == "bedrock"]


@pytest.mark.parametrize("entry", params(FAILED))
def test_errors_are_what_they_mean(entry: Record) -> None:
    """
    A recorded error is of the class that it means, and keeps its message and the name of its exception.
    """
    error = dialect.read_error(entry["status"], entry["headers"], json.dumps(entry["body"]).encode())

    assert corpus.CATEGORIES[entry["category"]] is type(error)
    assert (entry["status"], entry["body"]["message"]) == (error.status, error.message)
    assert entry["headers"].get("x-amzn-errortype", "").partition(":")[0] == (error.code or "")


@pytest.mark.parametrize(
    "record", [p for p in corpus.of_kind(RECORDS, "converse") if p.values[0]["response_status"] != 200]
)
def test_recorded_failures_raise(record: Record) -> None:
    """
    A recorded failure is one of the request or of the key, and never becomes an answer, not in place of a stream either.
    """
    body = body_of(record)
    error = dialect.read_error(record["response_status"], record["response_headers"], body)

    assert record["expected"]["error"]["message"].endswith(error.message)
    assert record["response_status"] == error.status
    assert not error.again
    with pytest.raises(GatewayError):
        dialect.read_response(wire.chat, body, PLAIN)
    with pytest.raises(GatewayError):
        wire.read_stream(body)
