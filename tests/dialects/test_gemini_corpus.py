"""What the recorded traffic of Google's Gemini says, and what this dialect makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects.base import Quirks
from llmgate.dialects.gemini import Gemini
from llmgate.dialects.gemini_requests import camelled
from llmgate.errors import ContextWindowExceeded, GatewayError, RateLimited
from llmgate.types.request import Request
from llmgate.types.response import Chunk, Embeddings, Models, Response, explode

from . import corpus
from .corpus import PLAIN, Record, Wire, body_of, params

pytestmark = corpus.needed

dialect = Gemini()
wire = Wire(dialect, "gemini")

BROKEN_SAMPLE = 4  # one stream of four is broken off

# The one record of it names a quota per minute.
MEANT = corpus.CATEGORIES | {"insufficient_quota": RateLimited}
RECORDS = [*corpus.lines("gemini"), *corpus.lines("vertex")]
ANSWERS = [record for record in RECORDS if record["kind"] == "generate" and corpus.is_answer(record)]
WHOLE = params(record for record in ANSWERS if not record["streaming"])
STREAMS = params(record for record in ANSWERS if record["streaming"])


def facts(answer: Response) -> dict[str, Any]:
    return {"choices": [corpus.said(choice) for choice in answer.choices], "model": answer.model} | corpus.counts(
        answer.usage
    )


@pytest.mark.parametrize(
    "record",
    [
        p
        for p in corpus.of_kind(RECORDS, "generate")
        if p.values[0]["expected"] is None and p.values[0]["response_status"] == 200
    ],
)
def test_answers_in_numbers_are_read(record: Record) -> None:
    """
    An answer that writes numbers for names says what it says, and ends with a reason.
    """
    candidates = json.loads(record["response_body"])["candidates"]
    answer = wire.read_whole(record)

    for candidate, choice in zip(candidates, answer.choices, strict=True):
        parts = candidate["content"].get("parts", [])
        assert "".join(part.get("text", "") for part in parts) == choice.text
        assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == [
            call.name for call in choice.tool_calls
        ]
        assert {1: "STOP", 2: "MAX_TOKENS"}[candidate["finishReason"]] == choice.native_finish_reason
        assert choice.finish_reason in ("stop", "length", "tool_calls")


@pytest.mark.parametrize("record", corpus.one_in(BROKEN_SAMPLE, STREAMS))
def test_a_stream_that_breaks_off_is_no_answer(record: Record) -> None:
    """
    Without the end of its last event, no stream is taken for whole.
    """
    body = body_of(record).rstrip().rstrip(b"]").rstrip()

    with pytest.raises(GatewayError) as caught:
        wire.read_stream(body[:-1])
    assert "truncated" == caught.value.outcome


@pytest.mark.parametrize("record", WHOLE)
def test_written_answers_read_as_they_did(record: Record) -> None:
    """
    An answer written again is a response of Google's types, and says what it said, signatures and citations included.
    """
    answer = wire.read_whole(record)
    written = json.dumps(dialect.write_response(answer))
    again = dialect.read_response(wire.chat, written.encode(), PLAIN)

    assert isinstance(again, Response)
    assert facts(answer) == facts(again)
    assert [choice.message for choice in answer.choices] == [choice.message for choice in again.choices]
    assert answer.citations == again.citations
    validated(written)


@pytest.mark.parametrize("record", STREAMS)
def test_written_streams_read_as_they_did(record: Record) -> None:
    """
    A stream written again says what it said, signatures included, and is made of responses of Google's types.
    """
    chunks = wire.read_stream(body_of(record))
    written = wire.written(chunks)

    assert facts(wire.folded(body_of(record))) == facts(wire.folded(written))
    signed = [signature for signature in signatures(record) if signature.encode() not in written]
    assert [] == signed
    for event in written.decode().removesuffix("\r\n\r\n").split("\r\n\r\n"):
        validated(event.removeprefix("data: "))


def signatures(record: Record) -> list[str]:
    body = body_of(record).decode()
    events = (
        json.loads(body) if body.lstrip()[:1] == "[" else [json.loads(e[6:]) for e in body.split("\n") if e.strip()]
    )
    parts = [
        part for e in events for c in e.get("candidates", ()) for part in (c.get("content") or {}).get("parts") or ()
    ]
    return [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]


def validated(written: str) -> None:
    """Held to the types of the SDK, where it is installed."""
    try:
        from google.genai import types  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return
    types.GenerateContentResponse.model_validate_json(written)


@pytest.mark.parametrize("record", WHOLE)
def test_whole_answers_can_be_streamed(record: Record) -> None:
    """
    A whole answer, given as one chunk or in pieces, is written as a stream that says the same.
    """
    answer = wire.read_whole(record)
    for chunks in ([Chunk(whole=answer)], explode(answer)):
        written = wire.written(chunks)

        # Google's clients expect a model; where none was named, it is the one that was asked.
        assert facts(answer) | {"model": answer.model or wire.streamed.model} == facts(wire.folded(written))


@pytest.mark.parametrize("record", [*WHOLE, *STREAMS])
def test_the_next_turn_gives_back_what_the_model_said(record: Record) -> None:
    """
    A message of the model, appended to the conversation, goes out again with each of its parts, unchanged and in order.
    """
    whole = not record["streaming"]
    answer = wire.read(record)
    written = wire.next_turn(answer, "gemini-2.5-pro")

    parts = written["contents"][1]["parts"] if len(written["contents"]) > 1 else []
    if whole:
        candidates = answer.raw.get("candidates") or [{}]
        spoken = joined((candidates[0].get("content") or {}).get("parts") or [])
        assert spoken == joined(parts)
    assert [] == [s for s in signatures_of(record) if s not in json.dumps(parts)]


def signatures_of(record: Record) -> list[str]:
    return signatures(record) if record["streaming"] else []


def joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without unsigned thoughts and empty texts; plain texts that follow one another as one."""
    out: list[dict[str, Any]] = []
    for part in parts:
        plain = part.keys() == {"text"}
        if (part.get("thought") and "thoughtSignature" not in part) or (plain and not part["text"]):
            continue
        if plain and out and out[-1].keys() == {"text"}:
            out[-1] = {"text": out[-1]["text"] + part["text"]}
        else:
            out.append(part)
    return out


# --- requests ---------------------------------------------------------------------------------------------------------


def normal(value: Any) -> Any:
    """A request in the one form of all those that Google takes for the same."""
    body = named(value)
    body.pop("model", None)
    if "systemInstruction" in body:
        system = body["systemInstruction"]
        system.pop("role", None)
        system["parts"] = system["parts"] if isinstance(system["parts"], list) else [system["parts"]]
    turns: list[dict[str, Any]] = []
    for content in body["contents"]:
        parts = content["parts"] if isinstance(content["parts"], list) else [content["parts"]]
        if turns and turns[-1]["role"] == content.get("role", "user"):
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": content.get("role", "user"), "parts": parts})
    body["contents"] = turns
    tools = body.pop("tools", [])
    for tool in tools if isinstance(tools, list) else [tools]:
        for name, given in tool.items():
            for one in given if isinstance(given, list) else [given]:
                body.setdefault("tools", []).append({name: one})
    body.get("tools", []).sort(key=lambda tool: json.dumps(tool, sort_keys=True))
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if "mode" in config:
        config["mode"] = config["mode"].upper()
    for name in ("generationConfig", "toolConfig"):
        if not body.get(name):
            body.pop(name, None)
    return body


RENAMED = {"parameters": "parametersJsonSchema", "responseSchema": "responseJsonSchema"}
TYPES = {6: "object", 1: "string", 3: "integer", 2: "number"}


def named(value: Any) -> Any:
    """The names as the API writes them, without what says nothing."""
    if isinstance(value, list):
        return [named(item) for item in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for given, item in value.items():
        name = given.split("_")[0] + "".join(word.title() for word in given.split("_")[1:])
        if item is None or (name, item) == ("thought", False):
            continue
        if name in ("parametersJsonSchema", "responseJsonSchema"):
            out[name] = item
        elif name in RENAMED:
            out[RENAMED[name]] = lowered(item)
        elif name in ("args", "response", "labels"):
            out[name] = item
        elif name == "thinkingLevel":
            out[name] = item.lower()
        elif name == "data":
            out[name] = item.replace("-", "+").replace("_", "/")
        else:
            out[name] = named(item)
    return out


def lowered(schema: Any) -> Any:
    """A `Schema` as the JSON schema it stands for."""
    if isinstance(schema, list):
        return [lowered(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {name: lowered(item) for name, item in schema.items() if name != "nullable" and item is not None}
    if "type" in out and not isinstance(out["type"], dict):
        out["type"] = TYPES.get(out["type"]) or out["type"].lower()
        if schema.get("nullable"):
            out["type"] = [out["type"], "null"]
    if "property_ordering" in out:
        out["propertyOrdering"] = out.pop("property_ordering")
    return out


REQUESTS = params(
    record
    for record in RECORDS
    if record["kind"] == "generate" and record["response_status"] == 200 and record["request_json"]
)


@pytest.mark.parametrize("record", REQUESTS)
def test_requests_pass_through_openais_shape(record: Record) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, is the same request.
    """
    request = dialect.read_request("chat", record["request_json"]).but()

    assert json.loads(request.encoded) == request.body
    written = dialect.write_request(request.to(record["model"] or "gemini-2.5-flash"), PLAIN)
    assert normal(record["request_json"]) == normal(json.loads(written.body))


# --- errors, embeddings, models ---------------------------------------------------------------------------------------


FAILED = [
    entry
    for entry in corpus.errors()
    if entry["provider"] in ("gemini", "vertex") and entry.get("kind", "generate") == "generate"
]


@pytest.mark.parametrize("entry", params(FAILED, lambda e: e.get("id", f"{e['status']}-{e['category']}")))
def test_errors_are_what_they_mean(entry: Record) -> None:
    """
    A recorded error is of the class that it means, in a response as in a stream, and keeps message, status and code.
    """
    body = json.dumps(entry["body"]).encode()
    error = dialect.read_error(entry["status"], entry["headers"], body)
    with pytest.raises(GatewayError) as caught:
        wire.read_stream(b"data: " + body + b"\r\n\r\n")

    told = entry["body"]["error"]
    meant = MEANT[entry["category"]]
    if "token count" in told["message"]:
        meant = ContextWindowExceeded
    assert meant is type(error) is type(caught.value)
    assert " ".join(told["message"].split())[:200] == error.message[:200]
    assert (entry["status"], told["status"]) == (error.status, error.code)


@pytest.mark.parametrize(
    "record", [p for p in corpus.of_kind(RECORDS, "generate") if p.values[0]["response_status"] != 200]
)
def test_recorded_failures_raise(record: Record) -> None:
    """
    A recorded failure never becomes an answer, also where it stands in place of a stream or of an answer.
    """
    body = body_of(record)
    error = dialect.read_error(record["response_status"], record["response_headers"], body)

    assert not error.again or "RateLimited" == type(error).__name__
    with pytest.raises(type(error)):
        dialect.read_response(wire.chat, body, PLAIN)
    with pytest.raises(type(error)):
        wire.read_stream(body)


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "embeddings"))
def test_embeddings_are_read_and_asked_for_again(record: Record) -> None:
    """
    A recorded request for embeddings is written as it was, and its answer has a vector for each input.
    """
    request = dialect.read_request("embed", record["request_json"]).but()
    predicts = record["url"].endswith(":predict")
    quirks = Quirks(paths={"embed": "/models/{model}:predict"}) if predicts else PLAIN
    written = dialect.write_request(request.to(record["model"]), quirks)
    answer = dialect.read_response(request, body_of(record), PLAIN)

    assert camelled(record["request_json"]) == json.loads(written.body)
    assert isinstance(answer, Embeddings)
    assert len(request.body["input"]) == len(answer.vectors)
    told = record["expected"]
    if told:
        assert (told["vectors"], {told["dimensions"]}) == (len(answer.vectors), {len(v) for v in answer.vectors})
    again = wire.again(answer, request)
    assert isinstance(again, Embeddings)
    assert answer.vectors == again.vectors


@pytest.mark.parametrize("record", corpus.of_kind(RECORDS, "models"))
def test_lists_of_models_are_read(record: Record) -> None:
    """
    A recorded list of models names each of them, in order, without the folder it stands in.
    """
    models = dialect.read_response(Request("models"), body_of(record), PLAIN)

    assert isinstance(models, Models)
    told = json.loads(record["response_body"])["models"]
    assert [(m["name"].split("/")[1], m["inputTokenLimit"]) for m in told] == [(m.id, m.context_window) for m in models]
    again = wire.again(models, Request("models"))
    assert models.data == again.data  # type: ignore[attr-defined]
