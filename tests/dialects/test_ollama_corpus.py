"""What the recorded traffic of Ollama's own API says, and what this dialect makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects.ollama import Ollama
from llmgate.dialects.ollama_requests import NAMES
from llmgate.errors import StreamInterrupted
from llmgate.types.request import Request, Verb
from llmgate.types.response import Chunk, Embeddings, Models, Response, explode, fold

from . import corpus
from .corpus import PLAIN, Record, Wire, body_of, params

pytestmark = corpus.needed

VERBS: dict[str, Verb] = {"chat": "chat", "generate": "complete", "embed": "embed", "tags": "models"}

dialect = Ollama()


def verb_of(record: Record) -> Verb:
    return VERBS[record["url"].rpartition("/")[2]]


class OllamaWire(Wire):
    """Asks with the verb of the record's address."""

    def asked(self, record: Record) -> Request:
        return Request(verb_of(record), record["model"] or "m", stream=record["streaming"])


wire = OllamaWire(dialect, "m")


# Those of Ollama's own API; its other one is OpenAI's.
RECORDS = [record for record in corpus.lines("ollama") if "/api/" in record["url"]]


WHOLE = [param for param in corpus.of_kind(RECORDS, "chat", "generate") if not param.values[0]["streaming"]]
STREAMS = [param for param in corpus.of_kind(RECORDS, "chat", "generate") if param.values[0]["streaming"]]


def facts(answer: Response) -> dict[str, Any]:
    choices = [corpus.said(choice) for choice in answer.choices]
    for choice in choices:
        choice["native_finish_reason"] = choice["native_finish_reason"] or choice["finish_reason"]
    return {"choices": choices} | corpus.counts(answer.usage)


@pytest.mark.parametrize("record", STREAMS)
def test_a_stream_that_breaks_off_is_no_answer(record: Record) -> None:
    """
    Without its last line, or the last byte of it, no stream is taken for whole.
    """
    body = body_of(record).rstrip()

    for cut in (body[:-1], body[: body.rindex(b"\n") + 1]):
        with pytest.raises(StreamInterrupted):
            wire.read_stream(cut)


@pytest.mark.parametrize("record", WHOLE)
def test_written_answers_read_as_they_did(record: Record) -> None:
    """
    An answer written again says what it said, in the same words.
    """
    answer = wire.read_whole(record)
    written = dialect.write_response(answer, Request(verb_of(record)))
    again = dialect.read_response(wire.asked(record), json.dumps(written).encode(), PLAIN)

    assert answer == again
    raw = json.loads(record["response_body"])
    for name in ("response", "done_reason", "eval_count", "prompt_eval_count", "model"):
        assert raw.get(name) == written.get(name)


@pytest.mark.parametrize("record", STREAMS)
def test_written_streams_read_as_they_did(record: Record) -> None:
    """
    A stream written again says what it said, and so does the whole answer, as one chunk or in pieces.
    """
    chunks = wire.read_stream(body_of(record))
    answer = fold(chunks)
    assert isinstance(answer, Response)
    for pieces in (chunks, [Chunk(whole=answer)], explode(answer)):
        written = wire.written(pieces, wire.asked(record))

        assert answer == wire.folded(written)
        [key] = {"response", "message"} & json.loads(written.splitlines()[-1]).keys()
        assert {"chat": "message", "complete": "response"}[verb_of(record)] == key


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "chat"))
def test_the_next_turn_gives_back_what_the_model_said(record: Record) -> None:
    """
    A message of the model, appended to the conversation, goes out again as it came, without ids that it never had.
    """
    answer = wire.read(record)
    written = wire.next_turn(answer)["messages"][1]

    assert answer.text == written["content"]
    assert answer.reasoning == written.get("thinking", "")
    raw = [json.loads(line) for line in record["response_body"].splitlines()]
    calls = [call for event in raw for call in event["message"].get("tool_calls", ())]
    for call in calls:
        call["function"].pop("index", None)
    assert calls == written.get("tool_calls", [])


# --- requests ---------------------------------------------------------------------------------------------------------


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """With what is the default, and with each option in its place."""
    out: dict[str, Any] = {"stream": True} | body
    beside = {NAMES[name]: out.pop(name) for name in NAMES if name in out}
    return out | ({"options": out.get("options", {}) | beside} if beside else {})


@pytest.mark.parametrize(
    "record", [p for p in corpus.of_kind(RECORDS, "chat", "generate") if p.values[0]["request_json"]]
)
def test_requests_pass_through_openais_shape(record: Record) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, is the same JSON.
    """
    request = dialect.read_request(verb_of(record), record["request_json"]).but()
    written = dialect.write_request(request, PLAIN)

    assert json.loads(request.encoded) == request.body
    assert record["url"].endswith(written.path)
    assert record["streaming"] is request.stream
    assert normal(record["request_json"]) == json.loads(written.body)


# --- errors, embeddings, models ---------------------------------------------------------------------------------------


FAILED = [entry for entry in corpus.errors() if entry["provider"] == "ollama"]


@pytest.mark.parametrize("entry", params(FAILED, lambda e: f"{e['status']}-{e['id']}"))
def test_errors_are_what_they_mean(entry: Record) -> None:
    """
    A recorded error is of the class that it means, said in OpenAI's shape or in Ollama's own.
    """
    told = entry["body"]["error"]
    for body in (entry["body"], {"error": told["message"]}):
        error = dialect.read_error(entry["status"], entry["headers"], json.dumps(body).encode())

        assert corpus.CATEGORIES[entry["category"]] is type(error)
        assert (entry["status"], told["message"]) == (error.status, error.message)


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "embeddings"))
def test_embeddings_are_read_and_asked_for_again(record: Record) -> None:
    """
    A recorded request for embeddings is written as it was, and its answer has the vectors that it counts.
    """
    request = dialect.read_request("embed", record["request_json"]).but()
    answer = dialect.read_response(request, body_of(record), PLAIN)

    assert record["request_json"] == json.loads(dialect.write_request(request, PLAIN).body)
    assert isinstance(answer, Embeddings)
    told = record["expected"]
    assert (told["vectors"], {told["dimensions"]}) == (len(answer.vectors), {len(v) for v in answer.vectors})
    assert told["input_tokens"] == answer.usage.input_tokens
    assert answer == wire.again(answer, request)


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "models"))
def test_lists_of_models_are_read(record: Record) -> None:
    """
    A recorded list of what is installed names each model, in order, with the time of its last change.
    """
    models = dialect.read_response(Request("models"), body_of(record), PLAIN)

    assert isinstance(models, Models)
    assert [item["model"] for item in json.loads(record["response_body"])["models"]] == [model.id for model in models]
    assert all(model.created for model in models)
    assert models == wire.again(models, Request("models"))
