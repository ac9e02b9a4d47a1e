"""Every recorded answer of the OpenAI family is read as its provider's own SDK reads it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from llmgate.types.request import Request
from llmgate.types.response import Answer, Chunk, Embeddings, Models, Response, ToolCall, fold
from llmgate.types.usage import Usage

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
if not CORPUS.is_dir():
    pytest.skip("the recordings are not here", allow_module_level=True)

PROVIDERS = (
    "alibaba", "azure", "cerebras", "copilot", "deepseek", "doubleword", "fireworks", "gemini", "gpustack", "groq",
    "huggingface", "llamacpp", "mistral", "mistralrs", "moonshot", "ollama", "openai", "openai-compatible", "openrouter",
    "perplexity", "together", "venice", "vllm", "xai", "zai",
)  # fmt: skip
VERBS = {"chat": "chat", "completions": "complete", "embeddings": "embed", "models": "models"}
ENDINGS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings", "models": "/models"}
CATEGORIES: dict[str, type[GatewayError]] = {
    "auth": AuthenticationFailed,
    "permission": PermissionDenied,
    "model_not_found": ModelNotFound,
    "context_length": ContextWindowExceeded,
    "content_filter": ContentFiltered,
    "rate_limit": RateLimited,
    "insufficient_quota": QuotaExhausted,
    "server_error": UpstreamError,
    "overloaded": Overloaded,
    "invalid_request": BadRequest,
}
QUIRKS = {"xai": Quirks(reasoning_in_output=False)}
CUT_SAMPLE = 24  # one stream in so many is cut everywhere; which, its id decides
CUT_WORK = 20_000_000  # bytes read in all for one stream; longer ones are cut in fewer places

DIALECT = dialect_named("openai_chat")


@cache
def records(provider: str) -> list[dict[str, Any]]:
    path = CORPUS / f"{provider}.jsonl"
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in found if in_this_format(record)]


def in_this_format(record: dict[str, Any]) -> bool:
    """Not a native API of the provider that was filed under the same kind."""
    path = record["url"].split("?")[0].split("#")[0].rstrip("/")
    return record["kind"] in ENDINGS and path.endswith(ENDINGS[record["kind"]]) and not path.endswith("/v1beta/models")


def asked(record: dict[str, Any]) -> Request:
    body = {key: value for key, value in (record.get("request_json") or {}).items() if key not in ("model", "stream")}
    return Request(VERBS[record["kind"]], "m", body, record["streaming"])  # type: ignore[arg-type]


def chunks_of(record: dict[str, Any], *pieces: bytes) -> list[Chunk]:
    reader = DIALECT.reader(asked(record), QUIRKS.get(record["provider"], Quirks()))
    return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.end()


def read(record: dict[str, Any]) -> Answer | GatewayError:
    body = record["response_body"].encode()
    try:
        if record["response_status"] >= 400:
            return DIALECT.read_error(record["response_status"], record["response_headers"], body)
        if record["streaming"]:
            return fold(chunks_of(record, body))
        return DIALECT.read_response(asked(record), body, QUIRKS.get(record["provider"], Quirks()))
    except GatewayError as error:
        return error


def differences(record: dict[str, Any]) -> list[str]:
    """What was read otherwise than expected."""
    answer, expected = read(record), record["expected"]
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
        calls = [{"name": call.name, "args": parsed(call)} for call in choice.tool_calls]
        finish = choice.finish_reason
        if len({id(call) for call in choice.tool_calls}) != len({call.id for call in choice.tool_calls if call.id}):
            found.append("a tool call without an id of its own")
        for what, has, wants in (
            ("text", choice.text, wanted["text"]),
            ("tool calls", calls, wanted["tool_calls"]),
            ("finish", finish, wanted["finish_reason"]),
            ("reasoning", choice.reasoning, wanted["reasoning"]),
            ("refusal", choice.refusal or None, wanted["refusal"] or None),
        ):
            if has != wants:
                found.append(f"{what}: {has!r:.100}, not {wants!r:.100}")
    return found + count_differences(answer.usage, expected) + citation_differences(answer, expected)


def parsed(call: ToolCall) -> Any:
    """The arguments; as text, if the model was cut off in them."""
    try:
        return call.parsed()
    except ValueError:
        return call.arguments


def count_differences(usage: Usage, expected: dict[str, Any]) -> list[str]:
    pairs = {
        "input_tokens": (usage.input_tokens, expected["input_tokens"]),
        "output_tokens": (usage.output_tokens, expected["output_tokens"]),
        # An SDK's 0 may stand for a count that was not sent.
        "cached_tokens": (usage.cache_read_tokens or 0, expected["cached_tokens"] or 0),
        "cache_write_tokens": (usage.cache_write_tokens or 0, expected["cache_write_tokens"] or 0),
        "reasoning_tokens": (usage.reasoning_tokens or 0, expected["reasoning_tokens"] or 0),
    }
    return [f"{name}: {has}, not {wants}" for name, (has, wants) in pairs.items() if has != wants]


def citation_differences(answer: Response, expected: dict[str, Any]) -> list[str]:
    wanted = expected.get("citations")  # an empty list may mean that the SDK has no place for them
    return [f"citations: {answer.citations}, not {wanted}"] if wanted and wanted != answer.citations else []


def error_differences(error: GatewayError, expected: dict[str, Any] | None) -> list[str]:
    if type(error) not in CATEGORIES.values():
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


def told(record: dict[str, Any], *pieces: bytes) -> Any:
    try:
        return chunks_of(record, *pieces)
    except GatewayError as error:
        return type(error), error.message


@pytest.mark.parametrize("record", sample())
def test_a_cut_changes_nothing(record):
    """
    However a stream is cut, in two anywhere or into single bytes, its chunks are the same.
    """
    body = record["response_body"].encode()
    whole = told(record, body)

    assert whole == told(record, *(body[i : i + 1] for i in range(len(body))))
    step = 1 + len(body) ** 2 // CUT_WORK
    for at in range(0, len(body), step):
        assert whole == told(record, body[:at], body[at:]), at


@pytest.mark.parametrize("record", sample())
def test_what_is_cut_off_is_never_whole(record):
    """
    A stream that ends inside an event, or before its answer did, is an error and no answer.
    """
    body = record["response_body"].encode()
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


def errors() -> list[Any]:
    found = json.loads((CORPUS / "errors.json").read_text())
    return [
        pytest.param(error, id=f"{error['provider']}-{error['status']}-{error['category']}-{number}")
        for number, error in enumerate(found)
        if error["provider"] in PROVIDERS and error["category"] in CATEGORIES
        # Gemini's own API; its compatible endpoint is read here.
        if error["provider"] != "gemini"
    ]


@pytest.mark.parametrize("error", errors())
def test_errors_are_what_they_say(error):
    """
    Every recorded error lands in the class that its category names, from its response or out of a stream.
    """
    body = error["body"] if isinstance(error["body"], str) else json.dumps(error["body"])
    if error["status"] == 200:
        reader = DIALECT.reader(Request("chat", "m", {}, True), Quirks())
        with pytest.raises(GatewayError) as raised:
            reader.feed(f"event: error\ndata: {body}\n\n".encode())
        found = raised.value
    else:
        found = DIALECT.read_error(error["status"], error["headers"], body.encode())

    assert CATEGORIES[error["category"]] is type(found)
    assert found.message
