"""What the recorded traffic of Cohere says, and what this dialect makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects.cohere import Cohere
from llmgate.errors import BadRequest, GatewayError, StreamInterrupted
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Embeddings, Models, RawResponse, Response, explode, fold

from . import corpus
from .corpus import PLAIN, Record, Wire, body_of, params

pytestmark = corpus.needed

dialect = Cohere()
wire = Wire(dialect, "command-a")


RECORDS = corpus.lines("cohere")
ANSWERS = [record for record in RECORDS if record["kind"] == "chat" and "error" not in record["expected"]]
WHOLE = params(record for record in ANSWERS if not record["streaming"])
STREAMS = params(record for record in ANSWERS if record["streaming"])


def facts(answer: Response) -> dict[str, Any]:
    choices = [corpus.said(choice) for choice in answer.choices]
    return {"choices": choices, "tool_plan": answer.choices[0].extra.get("tool_plan", "")} | corpus.counts(answer.usage)


@pytest.mark.parametrize("record", STREAMS)
def test_a_stream_that_breaks_off_is_no_answer(record: Record) -> None:
    """
    Without its terminal event, or the last byte of it, no stream is taken for whole, also where `[DONE]` follows.
    """
    body = body_of(record).rstrip().removesuffix(b"data: [DONE]").rstrip()
    cuts = [body[:-1]]
    if body[:1] != b"{":
        cuts.append(body[: body.rindex(b"event: message-end")] + b"data: [DONE]\n\n")

    for cut in cuts:
        with pytest.raises(StreamInterrupted):
            wire.read_stream(cut)


@pytest.mark.parametrize("record", WHOLE)
def test_written_answers_read_as_they_did(record: Record) -> None:
    """
    An answer written again says what it said; one of version 2 is the same JSON but for what nobody reads.
    """
    answer = wire.read_whole(record)
    written = dialect.write_response(answer)
    again = wire.again(answer)

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


@pytest.mark.parametrize("record", STREAMS)
def test_written_streams_read_as_they_did(record: Record) -> None:
    """
    A stream written again says what it said, and so does the whole answer, as one chunk or in pieces.
    """
    chunks = wire.read_stream(body_of(record))
    answer = fold(chunks)
    assert isinstance(answer, Response)
    for pieces in (chunks, [Chunk(whole=answer)], explode(answer)):
        again = wire.folded(wire.written(pieces))

        assert facts(answer) == facts(again)
        assert answer.message == again.message
        assert answer.id == again.id


@pytest.mark.parametrize("record", [*WHOLE, *STREAMS])
def test_the_next_turn_gives_back_what_the_model_said(record: Record) -> None:
    """
    A message of the model, appended to the conversation, goes out again with its reasoning, its plan and its citations.
    """
    answer = wire.read(record)
    written = wire.next_turn(answer)["messages"][1]

    wanted = dialect.write_response(answer)["message"]
    if wanted.get("content") == [{"type": "text", "text": answer.text}]:
        wanted["content"] = answer.text
    assert (wanted.get("content") or None) == (written.get("content") or None)
    assert {**wanted, "content": None} == {**written, "content": None}


# --- requests ---------------------------------------------------------------------------------------------------------


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """Without what is the default."""
    return {name: value for name, value in body.items() if value is not None and (name, value) != ("stream", False)}


@pytest.mark.parametrize("record", [p for p in corpus.of_kind(RECORDS, "chat") if p.values[0]["request_json"]])
def test_requests_pass_through_openais_shape(record: Record) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, is the same JSON; one of version 1 is refused.
    """
    if "/v1/" in record["url"]:
        with pytest.raises(BadRequest, match="version 1"):
            dialect.read_request("chat", record["request_json"]).but()
        return
    request = dialect.read_request("chat", record["request_json"]).but()
    written = dialect.write_request(request, PLAIN)

    assert json.loads(request.encoded) == request.body
    assert ("POST", "/v2/chat") == (written.method, written.path)
    assert normal(record["request_json"]) == json.loads(written.body)


# --- errors, embeddings, models, the rest -----------------------------------------------------------------------------


FAILED = [entry for entry in corpus.errors() if entry["provider"] == "cohere"]


@pytest.mark.parametrize("entry", params(FAILED, lambda e: f"{e['status']}-{e['id']}"))
def test_errors_are_what_they_mean(entry: Record) -> None:
    """
    A recorded error is of the class that it means, in a response, in place of an answer and in a stream.
    """
    body = json.dumps(entry["body"]).encode()
    error = dialect.read_error(entry["status"], entry["headers"], body)
    with pytest.raises(GatewayError) as whole:
        dialect.read_response(wire.chat, body, PLAIN)
    with pytest.raises(GatewayError) as streamed:
        wire.read_stream(body)

    assert corpus.CATEGORIES[entry["category"]] is type(error) is type(whole.value) is type(streamed.value)
    assert (entry["status"], entry["body"]["message"][:20]) == (error.status, error.message[:20])


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "embeddings"))
def test_embeddings_are_read_and_asked_for_again(record: Record) -> None:
    """
    A recorded request for embeddings is written as it was, and its answer has a vector for each input.
    """
    request = dialect.read_request("embed", record["request_json"]).but()
    assert normal(record["request_json"]) == json.loads(dialect.write_request(request, PLAIN).body)
    if record["response_status"] != 200:
        return
    answer = dialect.read_response(request, body_of(record), PLAIN)

    assert isinstance(answer, Embeddings)
    raw = json.loads(record["response_body"])
    assert len(request.body["input"] or request.body["images"]) == len(answer.vectors)
    assert raw["embeddings"].get("float", raw["embeddings"].get("int8")) == answer.vectors
    assert raw["meta"]["billed_units"].get("input_tokens") == answer.usage.input_tokens
    assert answer == wire.again(answer, request)


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "models"))
def test_models_are_read(record: Record) -> None:
    """
    A recorded model is read, alone and in a list, with its window; written it is the same model.
    """
    raw = json.loads(record["response_body"])
    for body in (raw, {"models": [raw]}):
        models = dialect.read_response(Request("models"), json.dumps(body).encode(), PLAIN)

        assert isinstance(models, Models)
        assert [(raw["name"], raw["context_length"])] == [(model.id, model.context_window) for model in models]
        again = wire.again(models, Request("models"))
        assert isinstance(again, Models)
        assert [model.id for model in models] == [model.id for model in again]


@pytest.mark.parametrize("record", [*corpus.of_kind(RECORDS, "rerank"), *corpus.of_kind(RECORDS, "audio")])
def test_what_openai_has_no_words_for_passes(record: Record) -> None:
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
