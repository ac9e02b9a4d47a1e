"""What the recorded traffic of OpenAI's Responses says, and what this dialect makes of it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from openai._models import construct_type
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response as WireResponse, ResponseStreamEvent
from pydantic import TypeAdapter

from llmgate.dialects.base import Quirks
from llmgate.dialects.openai_responses import OpenAIResponses
from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    GatewayError,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Response, ToolCall, explode, fold
from llmgate.types.usage import Usage

CORPUS = Path(__file__).parents[2] / "../shared/corpus"
if not CORPUS.is_dir():
    pytest.skip("the recordings are not here", allow_module_level=True)

PROVIDERS = ("azure", "bedrock", "chatgpt", "copilot", "deepseek", "mistralrs", "openai", "openrouter", "xai")
CATEGORIES: dict[str, type[GatewayError]] = {
    "auth": AuthenticationFailed,
    "model_not_found": ModelNotFound,
    "insufficient_quota": QuotaExhausted,
    "rate_limit": RateLimited,
    "server_error": UpstreamError,
    "overloaded": Overloaded,
    "invalid_request": BadRequest,
}

# The SDK complains, when it copies an item, of what providers put into theirs.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")

CUT_SAMPLE = 16  # one stream in so many is cut everywhere; which, its id decides
CUT_WORK = 10_000_000  # bytes read in all for one stream; longer ones are cut in fewer places

dialect = OpenAIResponses()
CHAT, STREAMED, PLAIN = Request("chat", "m"), Request("chat", "m", stream=True), Quirks()


@cache
def records() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(CORPUS.glob("*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines() if '"responses"' in line]
    return [record for record in found if record["kind"] == "responses"]


def is_answer(record: dict[str, Any]) -> bool:
    return bool(record["expected"]) and "error" not in record["expected"]


def answered(streaming: bool) -> list[Any]:
    return [
        pytest.param(record, id=f"{record['provider']}-{record['id']}")
        for record in records()
        if record["streaming"] is streaming and is_answer(record)
    ]


def sampled() -> list[Any]:
    return [param for param in answered(True) if int(param.values[0]["id"], 16) % CUT_SAMPLE == 0]


def body_of(record: dict[str, Any]) -> bytes:
    body: str = record["response_body"]
    return body.encode()


def read_stream(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(STREAMED, PLAIN)
    return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.end()


def folded(*pieces: bytes) -> Response:
    answer = fold(read_stream(*pieces))
    assert isinstance(answer, Response)
    return answer


def read(record: dict[str, Any]) -> Response:
    if record["streaming"]:
        return folded(body_of(record))
    answer = dialect.read_response(CHAT, body_of(record), PLAIN)
    assert isinstance(answer, Response)
    return answer


def facts(answer: Response) -> dict[str, Any]:
    usage = answer.usage
    return {
        "text": answer.text,
        "tool_calls": [{"name": call.name, "args": parsed(call)} for call in answer.tool_calls],
        "reasoning": answer.reasoning,
        "refusal": answer.refusal,
        "finish_reason": answer.finish_reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "citations": answer.citations,
        "model": answer.model,
    }


def parsed(call: ToolCall) -> Any:
    """The arguments; as text, if the model was cut off in them."""
    try:
        return call.parsed()
    except ValueError:
        return call.arguments


def expected(record: dict[str, Any]) -> dict[str, Any]:
    told = {
        name: value for name, value in record["expected"].items() if name not in ("choices", "native_finish_reason")
    }
    # An address that is cited twice is given once.
    told["citations"] = list(dict.fromkeys(told["citations"]))
    # What was not sent is unknown to us, not nothing.
    for count in ("cached_tokens", "cache_write_tokens", "reasoning_tokens"):
        if f'"{count}"' not in record["response_body"]:
            told[count] = None
    return told


@pytest.mark.parametrize("record", answered(False) + answered(True))
def test_answers_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    Text, calls, reasoning, reasons, citations and tokens of every answer, whole or streamed, are those of the SDK.
    """
    answer = read(record)

    assert expected(record) == facts(answer)
    assert len({call.id for call in answer.tool_calls} - {""}) == len(answer.tool_calls)


def test_all_providers_are_here() -> None:
    """
    Answers of every provider that speaks this format are among the recorded ones.
    """
    assert set(PROVIDERS) == {record["provider"] for record in records() if is_answer(record)}


@pytest.mark.parametrize("record", sampled())
def test_a_stream_means_the_same_wherever_it_is_cut(record: dict[str, Any]) -> None:
    """
    However a stream is cut, in two anywhere or into single bytes, its chunks are the same.
    """
    body = body_of(record)
    whole = read_stream(body)

    assert whole == read_stream(*(body[at : at + 1] for at in range(len(body))))
    for at in range(1, len(body), 1 + len(body) ** 2 // CUT_WORK):
        assert whole == read_stream(body[:at], body[at:]), at


@pytest.mark.parametrize("record", sampled())
def test_what_is_cut_off_is_never_whole(record: dict[str, Any]) -> None:
    """
    A stream of which the end is missing is an error and no answer.
    """
    body = body_of(record)
    end = body.index(b"response.completed" if b"response.completed" in body else b"response.incomplete")

    for at in range(1, end, 1 + end // 100):
        with pytest.raises(GatewayError) as caught:
            read_stream(body[:at])
        assert "stream_interrupted" == caught.value.kind


@pytest.mark.parametrize("record", answered(True))
def test_every_event_is_passed_on_once(record: dict[str, Any]) -> None:
    """
    The chunks of a stream hold its events, each once and as it came.
    """
    lines = [line[len("data: ") :] for line in record["response_body"].splitlines() if line.startswith("data: {")]

    assert [json.loads(line) for line in lines] == [chunk.raw for chunk in read_stream(body_of(record))]


@pytest.mark.parametrize("record", answered(False))
def test_written_answers_are_responses(record: dict[str, Any]) -> None:
    """
    An answer written again is a Response of the SDK, and reads as it did.
    """
    answer = read(record)
    for said in (answer, replace(answer, choices=[replace(answer.choices[0], extra={})])):
        written = dialect.write_response(said)

        ours = dict(written, output=[item for item in written["output"] if item["type"] in OURS])
        WireResponse.model_validate(ours if said is not answer else dict(ours, output=[]))
        assert facts(said) == facts(dialect.read_response(CHAT, json.dumps(written).encode(), PLAIN)) | {  # type: ignore[arg-type]
            name: None
            for name in ("cached_tokens", "cache_write_tokens", "reasoning_tokens")
            if facts(said)[name] is None
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


@pytest.mark.parametrize("record", answered(True))
def test_written_streams_are_what_the_sdk_accumulates(record: dict[str, Any]) -> None:
    """
    A stream written again is made of the SDK's events, accumulates to what it was, and reads as it did.
    """
    chunks = read_stream(body_of(record))
    whole = fold(chunks)
    assert isinstance(whole, Response)
    check_written(chunks, whole)


@pytest.mark.parametrize("record", answered(False))
def test_whole_answers_can_be_streamed(record: dict[str, Any]) -> None:
    """
    A whole answer, given as one chunk or in pieces, is written as a stream that says the same.
    """
    answer = read(record)
    for chunks in ([Chunk(whole=answer)], explode(answer)):
        check_written(chunks, answer)


def check_written(chunks: list[Chunk], whole: Response) -> None:
    writer = dialect.writer(STREAMED)
    written = b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()

    response = accumulated(written)
    assert whole.text == response.output_text
    calls = [(item.call_id, item.arguments) for item in response.output if item.type == "function_call"]
    assert [(call.id, call.arguments) for call in whole.tool_calls] == calls
    again = folded(written)
    unsent = {
        name: None for name in ("cached_tokens", "cache_write_tokens", "reasoning_tokens") if facts(whole)[name] is None
    }
    assert facts(whole) == facts(again) | unsent
    assert whole.choices[0].logprobs == again.choices[0].logprobs
    assert kept_types(whole) in (kept_types(again), [])


def kept_types(answer: Response) -> list[str]:
    return [item["type"] for item in answer.choices[0].extra.get("output_items", ()) if item["type"] != "message"]


REQUESTS = [pytest.param(r["request_json"], id=f"{r['provider']}-{r['id']}") for r in records() if r["request_json"]]


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_pass_unchanged(data: dict[str, Any]) -> None:
    """
    A recorded request, read and written again, is the same JSON.
    """
    request = dialect.read_request("chat", data)

    assert json.loads(request.encoded) == request.body
    assert data == json.loads(dialect.write_request(request, PLAIN).body)


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_pass_through_chats_shape(data: dict[str, Any]) -> None:
    """
    A recorded request of which nothing is left but what chat's shape holds, written again, asks for the same.
    """
    request = dialect.read_request("chat", copy.deepcopy(data))
    body = json.loads(request.encoded)

    written = dialect.write_request(replace(request, body=body), PLAIN)

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


def errors() -> list[Any]:
    found = json.loads((CORPUS / "errors.json").read_text())
    return [
        pytest.param(error, id=f"{error['provider']}-{error['status']}-{error['category']}-{number}")
        for number, error in enumerate(found)
        if error.get("kind") == "responses" or "Responses" in error["source"]
    ]


@pytest.mark.parametrize("error", errors())
def test_errors_are_what_they_say(error: dict[str, Any]) -> None:
    """
    Every recorded error lands in the class that its category names, from its response or out of a stream.
    """
    body = error["body"] if isinstance(error["body"], str) else json.dumps(error["body"])
    if error["status"] == 200:
        with pytest.raises(GatewayError) as caught:
            read_stream(f"event: error\ndata: {body}\n\n".encode())
        found = caught.value
    else:
        found = dialect.read_error(error["status"], error["headers"], body.encode())

    assert CATEGORIES[error["category"]] is type(found)
    assert found.message


@pytest.mark.parametrize(
    "record",
    [pytest.param(r, id=f"{r['provider']}-{r['id']}") for r in records() if r["expected"] and "error" in r["expected"]],
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
        assert record["response_status"] == error.status

    assert type(error) in CATEGORIES.values()
    assert record["expected"]["error"]["code"] in (None, error.code)


def test_the_price_is_the_upstreams_own() -> None:
    """
    Where a provider names a price, it is the answer's.
    """
    priced = {r["provider"] for r in records() if is_answer(r) and read(r).usage.cost is not None}

    assert {"openrouter", "xai"} == priced
    assert Usage().cost is None
