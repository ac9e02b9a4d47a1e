"""Every recorded answer of the OpenAI family is read as its provider's own SDK reads it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.errors import GatewayError
from llmgate.types.request import Request
from llmgate.types.response import Chunk, fold

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
BROKEN_SAMPLE = 24  # one stream in so many is broken off; which, its id decides
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


def sample() -> list[Any]:
    return [
        pytest.param(record, id=f"{provider}-{record['id']}")
        for provider in PROVIDERS
        for record in records(provider)
        if record["streaming"]
        and record["response_status"] < 400
        and int(hashlib.sha256(record["id"].encode()).hexdigest(), 16) % BROKEN_SAMPLE == 0
    ]


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
