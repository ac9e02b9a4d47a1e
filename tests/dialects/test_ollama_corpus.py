"""What the recorded traffic of Ollama's own API says, and what this dialect makes of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmgate.dialects.base import Quirks
from llmgate.dialects.ollama import Ollama
from llmgate.dialects.ollama_requests import NAMES
from llmgate.errors import AuthenticationFailed, ContextWindowExceeded, GatewayError, StreamInterrupted
from llmgate.types.request import Request, Verb
from llmgate.types.response import Chunk, Embeddings, Models, Response, explode, fold

CORPUS = Path(__file__).parents[2] / "../shared/corpus"

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the recorded traffic is not here")

dialect = Ollama()
PLAIN = Quirks()
VERBS: dict[str, Verb] = {"chat": "chat", "generate": "complete", "embed": "embed", "tags": "models"}

SPLIT_SAMPLE, SPLIT_BYTES = 2, 8000  # one stream of two, if it is short, is cut everywhere

MEANT: dict[str, type[GatewayError]] = {"auth": AuthenticationFailed, "context_length": ContextWindowExceeded}


@cache
def records() -> list[dict[str, Any]]:
    """Those of Ollama's own API; its other one is OpenAI's."""
    if not CORPUS.exists():
        return []
    every = [json.loads(line) for line in (CORPUS / "ollama.jsonl").read_text().splitlines()]
    return [record for record in every if "/api/" in record["url"]]


def of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(record, id=record["id"]) for record in records() if record["kind"] in kinds]


def answered(streaming: bool) -> list[Any]:
    return [param for param in of_kind("chat", "generate") if param.values[0]["streaming"] is streaming]


def sampled(part: int) -> list[Any]:
    return [param for param in answered(True) if int(param.id, 16) % part == 0]


def body_of(record: dict[str, Any]) -> bytes:
    body: str = record["response_body"]
    return body.encode()


def verb_of(record: dict[str, Any]) -> Verb:
    return VERBS[record["url"].rpartition("/")[2]]


def asked(record: dict[str, Any]) -> Request:
    return Request(verb_of(record), record["model"] or "m", stream=record["streaming"])


def read_whole(record: dict[str, Any]) -> Response:
    answer = dialect.read_response(asked(record), body_of(record), PLAIN)
    assert isinstance(answer, Response)
    return answer


def read_stream(*pieces: bytes) -> list[Chunk]:
    reader = dialect.reader(Request("chat", "m", stream=True), PLAIN)
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
                "native_finish_reason": choice.native_finish_reason or choice.finish_reason,
            }
            for choice in answer.choices
        ],
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens,
        "cached_tokens": answer.usage.cache_read_tokens,
        "cache_write_tokens": answer.usage.cache_write_tokens,
        "reasoning_tokens": answer.usage.reasoning_tokens,
    }


def expected(record: dict[str, Any]) -> dict[str, Any]:
    told = {name: record["expected"][name] for name in facts(Response())}
    # Ollama sends none of these, so they are unknown to us, not nothing.
    for name in ("cached_tokens", "cache_write_tokens", "reasoning_tokens"):
        assert not told[name]
        told[name] = None
    return told


@pytest.mark.parametrize("record", answered(streaming=False))
def test_whole_answers_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    Text, calls, thinking, reasons and tokens of a whole answer are those of the provider's SDK.
    """
    assert expected(record) == facts(read_whole(record))


@pytest.mark.parametrize("record", answered(streaming=True))
def test_streams_say_what_the_sdk_reads(record: dict[str, Any]) -> None:
    """
    A folded stream says what the provider's SDK accumulates from it, and every call has an id of its own.
    """
    answer = folded(body_of(record))

    assert expected(record) == facts(answer)
    ids = [call.id for call in answer.tool_calls]
    assert len({*ids}) == len(ids)
    assert all(ids)


@pytest.mark.parametrize("record", [p for p in sampled(SPLIT_SAMPLE) if len(body_of(p.values[0])) <= SPLIT_BYTES])
def test_a_stream_means_the_same_wherever_it_is_cut(record: dict[str, Any]) -> None:
    """
    Cut in two at any byte, a stream gives the same chunks.
    """
    body = body_of(record)
    whole = read_stream(body)

    for cut in range(1, len(body)):
        assert whole == read_stream(body[:cut], body[cut:]), cut


@pytest.mark.parametrize("record", answered(streaming=True))
def test_a_stream_means_the_same_byte_by_byte(record: dict[str, Any]) -> None:
    """
    Read byte by byte, a stream gives the same chunks.
    """
    body = body_of(record)

    assert read_stream(body) == read_stream(*(body[at : at + 1] for at in range(len(body))))


@pytest.mark.parametrize("record", answered(streaming=True))
def test_a_stream_that_breaks_off_is_no_answer(record: dict[str, Any]) -> None:
    """
    Without its last line, or the last byte of it, no stream is taken for whole.
    """
    body = body_of(record).rstrip()

    for cut in (body[:-1], body[: body.rindex(b"\n") + 1]):
        with pytest.raises(StreamInterrupted):
            read_stream(cut)


@pytest.mark.parametrize("record", answered(streaming=False))
def test_written_answers_read_as_they_did(record: dict[str, Any]) -> None:
    """
    An answer written again says what it said, in the same words.
    """
    answer = read_whole(record)
    written = dialect.write_response(answer, verb_of(record))
    again = dialect.read_response(asked(record), json.dumps(written).encode(), PLAIN)

    assert answer == again
    raw = json.loads(record["response_body"])
    for name in ("response", "done_reason", "eval_count", "prompt_eval_count", "model"):
        assert raw.get(name) == written.get(name)


@pytest.mark.parametrize("record", answered(streaming=True))
def test_written_streams_read_as_they_did(record: dict[str, Any]) -> None:
    """
    A stream written again says what it said, and so does the whole answer, as one chunk or in pieces.
    """
    chunks = read_stream(body_of(record))
    answer = fold(chunks)
    assert isinstance(answer, Response)
    for pieces in (chunks, [Chunk(whole=answer)], explode(answer)):
        writer = dialect.writer(asked(record))
        written = b"".join(writer.feed(chunk) for chunk in pieces) + writer.end()

        assert answer == folded(written)
        [key] = {"response", "message"} & json.loads(written.splitlines()[-1]).keys()
        assert {"chat": "message", "complete": "response"}[verb_of(record)] == key


@pytest.mark.parametrize("record", of_kind("chat"))
def test_the_next_turn_gives_back_what_the_model_said(record: dict[str, Any]) -> None:
    """
    A message of the model, appended to the conversation, goes out again as it came, without ids that it never had.
    """
    answer = folded(body_of(record)) if record["streaming"] else read_whole(record)
    messages = [{"role": "user", "content": "?"}, answer.message]
    written = json.loads(dialect.write_request(Request("chat", "m", {"messages": messages}), PLAIN).body)["messages"][1]

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


@pytest.mark.parametrize("record", [p for p in of_kind("chat", "generate") if p.values[0]["request_json"]])
def test_requests_pass_through_openais_shape(record: dict[str, Any]) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, is the same JSON.
    """
    request = dialect.read_request(verb_of(record), record["request_json"])
    written = dialect.write_request(request, PLAIN)

    assert json.loads(request.encoded) == request.body
    assert record["url"].endswith(written.path)
    assert record["streaming"] is request.stream
    assert normal(record["request_json"]) == json.loads(written.body)


# --- errors, embeddings, models ---------------------------------------------------------------------------------------


def failed() -> list[Any]:
    if not CORPUS.exists():
        return []
    entries = json.loads((CORPUS / "errors.json").read_text())
    return [pytest.param(e, id=f"{e['status']}-{e['id']}") for e in entries if e["provider"] == "ollama"]


@pytest.mark.parametrize("entry", failed())
def test_errors_are_what_they_mean(entry: dict[str, Any]) -> None:
    """
    A recorded error is of the class that it means, said in OpenAI's shape or in Ollama's own.
    """
    told = entry["body"]["error"]
    for body in (entry["body"], {"error": told["message"]}):
        error = dialect.read_error(entry["status"], entry["headers"], json.dumps(body).encode())

        assert MEANT[entry["category"]] is type(error)
        assert (entry["status"], told["message"]) == (error.status, error.message)


@pytest.mark.parametrize("record", of_kind("embeddings"))
def test_embeddings_are_read_and_asked_for_again(record: dict[str, Any]) -> None:
    """
    A recorded request for embeddings is written as it was, and its answer has the vectors that it counts.
    """
    request = dialect.read_request("embed", record["request_json"])
    answer = dialect.read_response(request, body_of(record), PLAIN)

    assert record["request_json"] == json.loads(dialect.write_request(request, PLAIN).body)
    assert isinstance(answer, Embeddings)
    told = record["expected"]
    assert (told["vectors"], {told["dimensions"]}) == (len(answer.vectors), {len(v) for v in answer.vectors})
    assert told["input_tokens"] == answer.usage.input_tokens
    assert answer == dialect.read_response(request, json.dumps(dialect.write_response(answer)).encode(), PLAIN)


@pytest.mark.parametrize("record", of_kind("models"))
def test_lists_of_models_are_read(record: dict[str, Any]) -> None:
    """
    A recorded list of what is installed names each model, in order, with the time of its last change.
    """
    models = dialect.read_response(Request("models"), body_of(record), PLAIN)

    assert isinstance(models, Models)
    assert [item["model"] for item in json.loads(record["response_body"])["models"]] == [model.id for model in models]
    assert all(model.created for model in models)
    assert models == dialect.read_response(
        Request("models"), json.dumps(dialect.write_response(models)).encode(), PLAIN
    )
