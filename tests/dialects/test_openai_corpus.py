"""Every recorded answer of the OpenAI family is read as its provider's own SDK reads it."""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.errors import GatewayError
from llmgate.types.request import Request
from llmgate.types.response import Answer, Chunk, Embeddings, Models, Response, fold
from llmgate.types.usage import Usage

from . import corpus
from .corpus import PLAIN, Record, body_of

pytestmark = corpus.needed

PROVIDERS = (
    "alibaba", "azure", "cerebras", "copilot", "deepseek", "doubleword", "fireworks", "gemini", "gpustack", "groq",
    "huggingface", "llamacpp", "mistral", "mistralrs", "moonshot", "ollama", "openai", "openai-compatible", "openrouter",
    "perplexity", "together", "venice", "vllm", "xai", "zai",
)  # fmt: skip
VERBS = {"chat": "chat", "completions": "complete", "embeddings": "embed", "models": "models"}
ENDINGS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings", "models": "/models"}
QUIRKS = {"xai": Quirks(reasoning_in_output=False)}
SAID = ("text", "tool_calls", "finish_reason", "reasoning")
CUT_SAMPLE = 24  # one stream in so many is cut everywhere; which, its id decides
CUT_WORK = 20_000_000  # bytes read in all for one stream; longer ones are cut in fewer places

DIALECT = dialect_named("openai_chat")


@cache
def records(provider: str) -> list[Record]:
    return [record for record in corpus.lines(provider) if in_this_format(record)]


def in_this_format(record: Record) -> bool:
    """Not a native API of the provider that was filed under the same kind."""
    path = record["url"].split("?")[0].split("#")[0].rstrip("/")
    return record["kind"] in ENDINGS and path.endswith(ENDINGS[record["kind"]]) and not path.endswith("/v1beta/models")


def asked(record: Record) -> Request:
    body = {key: value for key, value in (record.get("request_json") or {}).items() if key not in ("model", "stream")}
    return Request(VERBS[record["kind"]], "m", body, record["streaming"])  # type: ignore[arg-type]


def chunks_of(record: Record, *pieces: bytes) -> list[Chunk]:
    reader = DIALECT.reader(asked(record), QUIRKS.get(record["provider"], PLAIN))
    return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.end()


def answer_to(record: Record) -> Answer | GatewayError:
    body = body_of(record)
    try:
        if record["response_status"] >= 400:
            return DIALECT.read_error(record["response_status"], record["response_headers"], body)
        if record["streaming"]:
            return fold(chunks_of(record, body))
        return DIALECT.read_response(asked(record), body, QUIRKS.get(record["provider"], PLAIN))
    except GatewayError as error:
        return error


def differences(record: Record) -> list[str]:
    """What was read otherwise than expected."""
    answer, expected = answer_to(record), record["expected"]
    failed = record["response_status"] >= 400 or bool(expected and "error" in expected)
    if failed != isinstance(answer, GatewayError):
        return [f"read as {answer!r}"[:200]]
    if isinstance(answer, GatewayError):
        return error_differences(answer, expected)
    if expected is None:
        return [] if answer_says_something(answer) else ["says nothing"]
    if "vectors" in expected:
        return embedding_differences(answer, expected)
    assert isinstance(answer, Response)
    found = [] if len(expected["choices"]) == len(answer.choices) else [f"{len(answer.choices)} choices"]
    for choice, wanted in zip(answer.choices, expected["choices"], strict=False):
        said = corpus.said(choice, corpus.parsed)
        if len({id(call) for call in choice.tool_calls}) != len({call.id for call in choice.tool_calls if call.id}):
            found.append("a tool call without an id of its own")
        # Nothing refused is None to some SDKs, and an empty text to others.
        pairs = {name: (said[name], wanted[name]) for name in SAID} | {
            "refusal": (said["refusal"] or None, wanted["refusal"] or None)
        }
        found += [f"{name}: {has!r:.100}, not {wants!r:.100}" for name, (has, wants) in pairs.items() if has != wants]
    return found + count_differences(answer.usage, expected) + citation_differences(answer, expected)


def count_differences(usage: Usage, expected: dict[str, Any]) -> list[str]:
    has, wants = corpus.counts(usage), {name: expected[name] for name in corpus.counts(usage)}
    # An SDK's 0 may stand for a count that was not sent.
    for name in ("cached_tokens", "cache_write_tokens", "reasoning_tokens"):
        has[name], wants[name] = has[name] or 0, wants[name] or 0
    return [f"{name}: {has[name]}, not {wants[name]}" for name in has if has[name] != wants[name]]


def citation_differences(answer: Response, expected: dict[str, Any]) -> list[str]:
    wanted = expected.get("citations")  # an empty list may mean that the SDK has no place for them
    return [f"citations: {answer.citations}, not {wanted}"] if wanted and wanted != answer.citations else []


def error_differences(error: GatewayError, expected: dict[str, Any] | None) -> list[str]:
    if type(error) not in corpus.CATEGORIES.values():
        return [f"read as {error!r}"[:200]]
    status = (expected or {}).get("error", {}).get("status")
    return [f"status {error.status}, not {status}"] if status not in (None, 200, error.status) else []


def embedding_differences(answer: Answer, expected: dict[str, Any]) -> list[str]:
    assert isinstance(answer, Embeddings)
    pairs = {
        "vectors": (len(answer.vectors), expected["vectors"]),
        "dimensions": (len(answer.vectors[0]), expected["dimensions"]),
        "input_tokens": (answer.usage.input_tokens, expected["input_tokens"]),
    }
    return [f"{name}: {has}, not {wants}" for name, (has, wants) in pairs.items() if has != wants]


def answer_says_something(answer: Answer) -> bool:
    if isinstance(answer, Models):
        return bool(answer.data) and all(model.id for model in answer)
    assert isinstance(answer, Response)
    return bool(answer.choices) and all(choice.text and choice.finish_reason for choice in answer.choices)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_reads_what_the_sdk_reads(provider):
    """
    Text, tool calls, finish, reasoning, refusal, tokens and citations of every recorded answer are the SDK's.
    """
    wrong = {record["id"]: found for record in records(provider) if (found := differences(record))}

    assert {} == wrong


def sample() -> list[Any]:
    return [
        pytest.param(record, id=f"{provider}-{record['id']}")
        for provider in PROVIDERS
        for record in records(provider)
        if record["streaming"]
        and record["response_status"] < 400
        and int(hashlib.sha256(record["id"].encode()).hexdigest(), 16) % CUT_SAMPLE == 0
    ]


def told(record: Record, *pieces: bytes) -> Any:
    try:
        return chunks_of(record, *pieces)
    except GatewayError as error:
        return type(error), error.message


@pytest.mark.parametrize("record", sample())
def test_a_cut_changes_nothing(record):
    """
    However a stream is cut, in two anywhere or into single bytes, its chunks are the same.
    """
    body, read = body_of(record), partial(told, record)

    corpus.same_bytewise(read, body)
    corpus.same_wherever_cut(read, body, CUT_WORK)


@pytest.mark.parametrize("record", sample())
def test_what_is_cut_off_is_never_whole(record):
    """
    A stream that ends inside an event, or before its answer did, is an error and no answer.
    """
    body = body_of(record)
    try:
        whole = fold(chunks_of(record, body))
    except GatewayError:
        return
    step = 1 + len(body) // 200
    for at in range(1, len(body), step):
        try:
            part = fold(chunks_of(record, body[:at]))
        except GatewayError as error:
            assert "stream_interrupted" == error.kind
        else:
            assert [choice.finish_reason for choice in whole.choices] == [c.finish_reason for c in part.choices]  # type: ignore[attr-defined]
            assert [choice.text for choice in whole.choices] == [c.text for c in part.choices]  # type: ignore[attr-defined]


FAILED = [
    pytest.param(error, id=f"{error['provider']}-{error['status']}-{error['category']}-{number}")
    for number, error in enumerate(corpus.errors())
    if error["provider"] in PROVIDERS and error["category"] in corpus.CATEGORIES
    # Gemini's own API; its compatible endpoint is read here.
    if error["provider"] != "gemini"
]


@pytest.mark.parametrize("error", FAILED)
def test_errors_are_what_they_say(error):
    """
    Every recorded error lands in the class that its category names, from its response or out of a stream.
    """
    body = error["body"] if isinstance(error["body"], str) else json.dumps(error["body"])
    if error["status"] == 200:
        reader = DIALECT.reader(Request("chat", "m", {}, True), PLAIN)
        with pytest.raises(GatewayError) as raised:
            reader.feed(f"event: error\ndata: {body}\n\n".encode())
        found = raised.value
    else:
        found = DIALECT.read_error(error["status"], error["headers"], body.encode())

    assert corpus.CATEGORIES[error["category"]] is type(found)
    assert found.message
