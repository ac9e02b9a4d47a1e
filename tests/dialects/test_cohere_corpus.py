"""What the recorded traffic of Cohere says, and what this dialect makes of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmgate.dialects.base import Quirks
from llmgate.dialects.cohere import Cohere
from llmgate.errors import AuthenticationFailed, BadRequest, GatewayError, ModelNotFound, StreamInterrupted
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Embeddings, Models, RawResponse, Response, explode, fold

CORPUS = Path(__file__).parents[2] / "../shared/corpus"

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the recorded traffic is not here")

dialect = Cohere()
CHAT, STREAMED, PLAIN = Request("chat", "command-a"), Request("chat", "command-a", stream=True), Quirks()

SPLIT_SAMPLE, SPLIT_BYTES = 3, 8000  # one stream of three, if it is short, is cut everywhere
BYTE_SAMPLE = 2  # one stream of two is read byte by byte

MEANT: dict[str, type[GatewayError]] = {"auth": AuthenticationFailed, "model_not_found": ModelNotFound}


@cache
def records() -> list[dict[str, Any]]:
    if not CORPUS.exists():
        return []
    return [json.loads(line) for line in (CORPUS / "cohere.jsonl").read_text().splitlines()]


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(record, id=record["id"]) for record in records() if record["kind"] == kind]


def answered(streaming: bool) -> list[Any]:
    """The answers that are answers."""
    return [
        param
        for param in of_kind("chat")
        if (record := param.values[0])["streaming"] is streaming and "error" not in record["expected"]
    ]


def sampled(part: int) -> list[Any]:
    return [param for param in answered(True) if int(param.id, 16) % part == 0]


def body_of(record: dict[str, Any]) -> bytes:
    body: str = record["response_body"]
    return body.encode()


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
        "choices": [
            {
                "text": choice.text,
                "tool_calls": [{"name": call.name, "args": call.parsed()} for call in choice.tool_calls],
                "reasoning": choice.reasoning,
                "refusal": choice.refusal,
                "finish_reason": choice.finish_reason,
                "native_finish_reason": choice.native_finish_reason,
            }
            for choice in answer.choices
        ],
        "tool_plan": answer.choices[0].extra.get("tool_plan", ""),
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
        "cached_tokens": answer.usage.cache_read_tokens,
        "cache_write_tokens": answer.usage.cache_write_tokens,
        "reasoning_tokens": answer.usage.reasoning_tokens,
    }


def expected(record: dict[str, Any]) -> dict[str, Any]:
    told = {name: record["expected"].get(name, "") for name in facts(Response())}
    # What was not sent is unknown to us, not nothing.
    if "cached_tokens" not in record["response_body"]:
        assert not told["cached_tokens"]
        told["cached_tokens"] = None
    assert not told["cache_write_tokens"] and not told["reasoning_tokens"]
    return told | {"cache_write_tokens": None, "reasoning_tokens": None}


@pytest.mark.parametrize("record", answered(streaming=False))
def test_whole_answers_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    Text, calls, reasoning, plan, reasons and tokens of a whole answer are those of the provider's SDK.
    """
    assert expected(record) == facts(read_whole(record))


@pytest.mark.parametrize("record", answered(streaming=True))
def test_streams_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    A folded stream, of either version and framing, says what the provider's SDK accumulates from it.
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
def test_a_stream_that_breaks_off_is_no_answer(record: dict[str, Any]) -> None:
    """
    Without its terminal event, or the last byte of it, no stream is taken for whole, also where `[DONE]` follows.
    """
    body = body_of(record).rstrip().removesuffix(b"data: [DONE]").rstrip()
    cuts = [body[:-1]]
    if body[:1] != b"{":
        cuts.append(body[: body.rindex(b"event: message-end")] + b"data: [DONE]\n\n")

    for cut in cuts:
        with pytest.raises(StreamInterrupted):
            read_stream(cut)


@pytest.mark.parametrize("record", answered(streaming=False))
def test_written_answers_read_as_they_did(record: dict[str, Any]) -> None:
    """
    An answer written again says what it said; one of version 2 is the same JSON but for what nobody reads.
    """
    answer = read_whole(record)
    written = dialect.write_response(answer)
    again = dialect.read_response(CHAT, json.dumps(written).encode(), PLAIN)

    assert isinstance(again, Response)
    assert facts(answer) == facts(again)
    assert answer.message == again.message
    raw = json.loads(record["response_body"])
    if "message" in raw:
        assert (raw["id"], raw["message"], raw["finish_reason"]) == (
            written["id"],
            written["message"],
            written["finish_reason"],
        )


@pytest.mark.parametrize("record", answered(streaming=True))
def test_written_streams_read_as_they_did(record: dict[str, Any]) -> None:
    """
    A stream written again says what it said, and so does the whole answer, as one chunk or in pieces.
    """
    chunks = read_stream(body_of(record))
    answer = fold(chunks)
    assert isinstance(answer, Response)
    for pieces in (chunks, [Chunk(whole=answer)], explode(answer)):
        writer = dialect.writer(STREAMED)
        again = folded(b"".join(writer.feed(chunk) for chunk in pieces) + writer.end())

        assert facts(answer) == facts(again)
        assert answer.message == again.message
        assert answer.id == again.id


@pytest.mark.parametrize("record", [*answered(streaming=False), *answered(streaming=True)])
def test_the_next_turn_gives_back_what_the_model_said(record: dict[str, Any]) -> None:
    """
    A message of the model, appended to the conversation, goes out again with its reasoning, its plan and its citations.
    """
    answer = folded(body_of(record)) if record["streaming"] else read_whole(record)
    messages = [{"role": "user", "content": "?"}, answer.message]
    written = json.loads(dialect.write_request(Request("chat", "m", {"messages": messages}), PLAIN).body)["messages"][1]

    wanted = dialect.write_response(answer)["message"]
    if wanted.get("content") == [{"type": "text", "text": answer.text}]:
        wanted["content"] = answer.text
    assert (wanted.get("content") or None) == (written.get("content") or None)
    assert {**wanted, "content": None} == {**written, "content": None}


# --- requests ---------------------------------------------------------------------------------------------------------


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """Without what is the default."""
    return {name: value for name, value in body.items() if value is not None and (name, value) != ("stream", False)}


@pytest.mark.parametrize("record", [p for p in of_kind("chat") if p.values[0]["request_json"]])
def test_requests_pass_through_openais_shape(record: dict[str, Any]) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, is the same JSON; one of version 1 is refused.
    """
    if "/v1/" in record["url"]:
        with pytest.raises(BadRequest, match="version 1"):
            dialect.read_request("chat", record["request_json"])
        return
    request = dialect.read_request("chat", record["request_json"])
    written = dialect.write_request(request, PLAIN)

    assert json.loads(request.encoded) == request.body
    assert ("POST", "/v2/chat") == (written.method, written.path)
    assert normal(record["request_json"]) == json.loads(written.body)


# --- errors, embeddings, models, the rest -----------------------------------------------------------------------------


def failed() -> list[Any]:
    if not CORPUS.exists():
        return []
    entries = json.loads((CORPUS / "errors.json").read_text())
    return [pytest.param(e, id=f"{e['status']}-{e['id']}") for e in entries if e["provider"] == "cohere"]


@pytest.mark.parametrize("entry", failed())
def test_errors_are_what_they_mean(entry: dict[str, Any]) -> None:
    """
    A recorded error is of the class that it means, in a response, in place of an answer and in a stream.
    """
    body = json.dumps(entry["body"]).encode()
    error = dialect.read_error(entry["status"], entry["headers"], body)
    with pytest.raises(GatewayError) as whole:
        dialect.read_response(CHAT, body, PLAIN)
    with pytest.raises(GatewayError) as streamed:
        read_stream(body)

    assert MEANT[entry["category"]] is type(error) is type(whole.value) is type(streamed.value)
    assert (entry["status"], entry["body"]["message"][:20]) == (error.status, error.message[:20])


@pytest.mark.parametrize("record", of_kind("embeddings"))
def test_embeddings_are_read_and_asked_for_again(record: dict[str, Any]) -> None:
    """
    A recorded request for embeddings is written as it was, and its answer has a vector for each input.
    """
    request = dialect.read_request("embed", record["request_json"])
    assert normal(record["request_json"]) == json.loads(dialect.write_request(request, PLAIN).body)
    if record["response_status"] != 200:
        return
    answer = dialect.read_response(request, body_of(record), PLAIN)

    assert isinstance(answer, Embeddings)
    raw = json.loads(record["response_body"])
    assert len(request.body["input"] or request.body["images"]) == len(answer.vectors)
    assert raw["embeddings"].get("float", raw["embeddings"].get("int8")) == answer.vectors
    assert raw["meta"]["billed_units"].get("input_tokens") == answer.usage.input_tokens
    again = dialect.read_response(request, json.dumps(dialect.write_response(answer)).encode(), PLAIN)
    assert answer == again


@pytest.mark.parametrize("record", of_kind("models"))
def test_models_are_read(record: dict[str, Any]) -> None:
    """
    A recorded model is read, alone and in a list, with its window; written it is the same model.
    """
    raw = json.loads(record["response_body"])
    for body in (raw, {"models": [raw]}):
        models = dialect.read_response(Request("models"), json.dumps(body).encode(), PLAIN)

        assert isinstance(models, Models)
        assert [(raw["name"], raw["context_length"])] == [(model.id, model.context_window) for model in models]
        again = dialect.read_response(Request("models"), json.dumps(dialect.write_response(models)).encode(), PLAIN)
        assert isinstance(again, Models)
        assert [model.id for model in models] == [model.id for model in again]


@pytest.mark.parametrize("record", [*of_kind("rerank"), *of_kind("audio")])
def test_what_openai_has_no_words_for_passes(record: dict[str, Any]) -> None:
    """
    A recorded reranking or transcription goes through as it is, in both directions.
    """
    read = dialect.read_request("request", record["request_json"])
    request = Request("request", "", read.body, False, read.encoded, "POST", "/v2/rerank")
    written = dialect.write_request(request, PLAIN)
    answer = dialect.read_response(request, body_of(record), PLAIN)

    assert ("POST", "/v2/rerank") == (written.method, written.path)
    assert record["request_json"] == (json.loads(written.body) if written.body else None)
    assert isinstance(answer, RawResponse)
    assert json.loads(record["response_body"]) == answer.json() == dialect.write_response(answer)
