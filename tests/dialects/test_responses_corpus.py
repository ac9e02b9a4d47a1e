"""What the recorded traffic of OpenAI's Responses says, and what this dialect makes of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from openai._models import construct_type
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response as WireResponse, ResponseStreamEvent
from pydantic import TypeAdapter

from llmgate.dialects.openai_responses import OpenAIResponses
from llmgate.errors import GatewayError
from llmgate.types.response import Chunk, Response, explode, fold
from llmgate.types.usage import Usage

from . import corpus
from .corpus import PLAIN, Record, Wire, body_of, params

PROVIDERS = ("azure", "bedrock", "chatgpt", "copilot", "deepseek", "mistralrs", "openai", "openrouter", "xai")
CATEGORIES = corpus.categories(
    "auth",
    "model_not_found",
    "insufficient_quota",
    "rate_limit",
    "server_error",
    "overloaded",
    "invalid_request",
)

# The SDK complains, when it copies an item, of what providers put into theirs.
pytestmark = [corpus.needed, pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")]

BROKEN_SAMPLE = 16  # one stream in so many is broken off; which, its id decides

UNTOLD = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")  # counts that not every provider sends

dialect = OpenAIResponses()
wire = Wire(dialect, "m")

RECORDS = [record for provider in corpus.files() for record in corpus.lines(provider) if record["kind"] == "responses"]
ANSWERS = [record for record in RECORDS if corpus.is_answer(record)]


def named(records: Iterable[Record]) -> list[Any]:
    return params(records, lambda record: f"{record['provider']}-{record['id']}")


WHOLE = named(record for record in ANSWERS if not record["streaming"])
STREAMS = named(record for record in ANSWERS if record["streaming"])
SAMPLE = corpus.one_in(BROKEN_SAMPLE, STREAMS)


def facts(answer: Response) -> dict[str, Any]:
    told = corpus.said(answer.choices[0], corpus.parsed) | corpus.counts(answer.usage)
    del told["native_finish_reason"]
    return told | {"citations": answer.citations, "model": answer.model}


def test_all_providers_are_here() -> None:
    """
    Answers of every provider that speaks this format are among the recorded ones.
    """
    assert set(PROVIDERS) == {record["provider"] for record in ANSWERS}


@pytest.mark.parametrize("record", SAMPLE)
def test_what_is_cut_off_is_never_whole(record: Record) -> None:
    """
    A stream of which the end is missing is an error and no answer.
    """
    body = body_of(record)
    end = body.index(b"response.completed" if b"response.completed" in body else b"response.incomplete")

    for at in range(1, end, 1 + end // 100):
        with pytest.raises(GatewayError) as caught:
            wire.read_stream(body[:at])
        assert "stream_interrupted" == caught.value.kind


@pytest.mark.parametrize("record", STREAMS)
def test_every_event_is_passed_on_once(record: Record) -> None:
    """
    The chunks of a stream hold its events, each once and as it came.
    """
    lines = [line[len("data: ") :] for line in record["response_body"].splitlines() if line.startswith("data: {")]

    assert [json.loads(line) for line in lines] == [chunk.raw for chunk in wire.read_stream(body_of(record))]


@pytest.mark.parametrize("record", WHOLE)
def test_written_answers_are_responses(record: Record) -> None:
    """
    An answer written again is a Response of the SDK, and reads as it did.
    """
    answer = wire.read(record)
    for said in (answer, replace(answer, choices=[replace(answer.choices[0], extra={})])):
        written = dialect.write_response(said)

        ours = dict(written, output=[item for item in written["output"] if item["type"] in OURS])
        WireResponse.model_validate(ours if said is not answer else dict(ours, output=[]))
        assert facts(said) == facts(dialect.read_response(wire.chat, json.dumps(written).encode(), PLAIN)) | {  # type: ignore[arg-type]
            name: None for name in UNTOLD if facts(said)[name] is None
        }


OURS = ("message", "reasoning", "function_call", "custom_tool_call")
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def accumulated(stream: bytes) -> WireResponse:
    """What the SDK makes of a stream; each event is first held to its type."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    last: Any = None
    for number, block in enumerate(stream.decode().removesuffix("\n\n").split("\n\n")):
        name, _, data = block.partition("\ndata: ")
        values = json.loads(data)
        assert f"event: {values['type']}" == name
        assert number == values["sequence_number"]
        if values["type"] not in ENDS:
            EVENT.validate_python(values)
        last = construct_type(type_=ResponseStreamEvent, value=values)
        state.handle_event(last)
    assert last.type in ENDS
    response: WireResponse = state._completed_response if last.type == "response.completed" else last.response
    return response


ENDS = ("response.completed", "response.incomplete")


@pytest.mark.parametrize("record", STREAMS)
def test_written_streams_are_what_the_sdk_accumulates(record: Record) -> None:
    """
    A stream written again is made of the SDK's events, accumulates to what it was, and reads as it did.
    """
    chunks = wire.read_stream(body_of(record))
    whole = fold(chunks)
    assert isinstance(whole, Response)
    check_written(chunks, whole)


@pytest.mark.parametrize("record", WHOLE)
def test_whole_answers_can_be_streamed(record: Record) -> None:
    """
    A whole answer, given as one chunk or in pieces, is written as a stream that says the same.
    """
    answer = wire.read(record)
    for chunks in ([Chunk(whole=answer)], explode(answer)):
        check_written(chunks, answer)


def check_written(chunks: list[Chunk], whole: Response) -> None:
    written = wire.written(chunks)

    response = accumulated(written)
    assert whole.text == response.output_text
    calls = [(item.call_id, item.arguments) for item in response.output if item.type == "function_call"]
    assert [(call.id, call.arguments) for call in whole.tool_calls] == calls
    again = wire.folded(written)
    unsent = {name: None for name in UNTOLD if facts(whole)[name] is None}
    assert facts(whole) == facts(again) | unsent
    assert whole.choices[0].logprobs == again.choices[0].logprobs
    assert kept_types(whole) in (kept_types(again), [])


def kept_types(answer: Response) -> list[str]:
    return [item["type"] for item in answer.choices[0].extra.get("output_items", ()) if item["type"] != "message"]


REQUESTS = [pytest.param(r["request_json"], id=f"{r['provider']}-{r['id']}") for r in RECORDS if r["request_json"]]


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_pass_through_chats_shape(data: dict[str, Any]) -> None:
    """
    A recorded request of which nothing is left but what chat's shape holds, written again, asks for the same.
    """
    request = dialect.read_request("chat", copy.deepcopy(data)).but()
    written = dialect.write_request(request, PLAIN)

    assert json.loads(request.encoded) == request.body
    assert normal(data) == normal(json.loads(written.body))


def normal(data: dict[str, Any]) -> dict[str, Any]:
    """The request in one of the spellings that the API calls the same."""
    body = {name: value for name, value in data.items() if value not in (None, {}, [], "") and name != "stream"}
    given = body.pop("input", [])
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if body.get("instructions") and not body.get("previous_response_id"):
        items = [{"role": "system", "content": body["instructions"]}, *items]
        del body["instructions"]
    body["input"] = [normal_item(item) for item in items if item != {"role": "assistant", "content": ""}]
    if "tools" in body:
        tools = body["tools"]
        body["tools"] = [
            {name: tool[name] for name in tool if (name, tool[name]) != ("strict", None)} for tool in tools
        ]
    return body


def normal_item(item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type") or "message"
    if kind not in ("message", "function_call", "function_call_output"):
        return item
    out = {name: value for name, value in item.items() if name not in ("id", "status", "type")}
    if item.get("role") == "assistant" and isinstance(item["content"], list):
        assert {"output_text"} == {part["type"] for part in item["content"]}
        out["content"] = "".join(part["text"] for part in item["content"])
    return {"type": kind, **out}


FAILED = [
    pytest.param(error, id=f"{error['provider']}-{error['status']}-{error['category']}-{number}")
    for number, error in enumerate(corpus.errors())
    if error.get("kind") == "responses" or "Responses" in error["source"]
]


@pytest.mark.parametrize("error", FAILED)
def test_errors_are_what_they_say(error: dict[str, Any]) -> None:
    """
    Every recorded error lands in the class that its category names, from its response or out of a stream.
    """
    body = error["body"] if isinstance(error["body"], str) else json.dumps(error["body"])
    if error["status"] == 200:
        with pytest.raises(GatewayError) as caught:
            wire.read_stream(f"event: error\ndata: {body}\n\n".encode())
        found = caught.value
    else:
        found = dialect.read_error(error["status"], error["headers"], body.encode())

    assert CATEGORIES[error["category"]] is type(found)
    assert found.message


@pytest.mark.parametrize("record", named(r for r in RECORDS if r["expected"] and "error" in r["expected"]))
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
        assert record["response_status"] == error.status

    assert type(error) in CATEGORIES.values()
    assert record["expected"]["error"]["code"] in (None, error.code)


def test_the_price_is_the_upstreams_own() -> None:
    """
    Where a provider names a price, it is the answer's.
    """
    priced = {r["provider"] for r in ANSWERS if wire.read(r).usage.cost is not None}

    assert {"openrouter", "xai"} == priced
    assert Usage().cost is None
