"""
How a recorded interaction is read, and what is wrong with it.

Which format a record is of, its address says; what the address leaves open, the provider's class and its row in the
catalog say. No record has code of its own.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Set as AbstractSet
from functools import cache
from typing import Any

from llmgate.config.kinds import known_kinds, provider_class
from llmgate.dialects import dialect_named
from llmgate.dialects.base import Dialect, Quirks, StreamReader
from llmgate.dialects.openai_chat import PATHS
from llmgate.errors import BadRequest, GatewayError
from llmgate.policies.routing import needs
from llmgate.providers.catalog import row_named
from llmgate.providers.http import HTTPProvider
from llmgate.types.media import Binary, Images, Moderations, Ranking, TokenCount, Transcription
from llmgate.types.request import Request, Verb
from llmgate.types.response import Answer, Choice, Embeddings, Models, RawResponse, Response, fold

from . import corpus
from .corpus import Record, body_of

__all__ = ["RECORDS", "asked_for", "is_written", "provider_of", "reader_of", "wrong_with", "wrong_with_request"]

RECORDS: dict[str, Record] = {record["id"]: record for provider in corpus.files() for record in corpus.lines(provider)}


def is_written(record: Record) -> bool:
    return isinstance(record.get("request_json"), dict)


# --- how it is read ----------------------------------------------------------------------------------------------------


VERBS: dict[str, Verb] = {
    "audio": "transcribe",
    "chat": "chat",
    "completions": "complete",
    "converse": "chat",
    "count_tokens": "count_tokens",
    "embeddings": "embed",
    "generate": "chat",
    "images": "image",
    "interactions": "chat",
    "invoke": "chat",
    "messages": "chat",
    "models": "models",
    "moderations": "moderate",
    "rerank": "rerank",
    "responses": "chat",
}
TEXT_COMPLETIONS = "/api/generate"
"""Not every `generate` is a chat."""


def path_of(record: Record) -> str:
    path: str = record["url"].partition("?")[0].partition("#")[0]
    return path.rstrip("/")


def provider_of(record: Record) -> HTTPProvider:
    """Whom to ask for what stands at its address: the provider by its name, or as the compatible one that it is there."""
    return _provider_at(record["provider"], path_of(record))


@cache
def _provider_at(provider: str, path: str) -> HTTPProvider:
    kind = provider if provider in known_kinds() else COMPATIBLE
    if re.search(r"/(completions|responses(/input_tokens)?)$", path):
        row = row_named(kind)
        kind = kind if row is not None and row.dialect == "openai_chat" else COMPATIBLE
    elif "/api/" in path and kind == "ollama":
        kind = "ollama-native"
    cls, options = provider_class(kind)
    api = next((api for api in APIS if f"/{api}" in path), None)
    if api is not None:
        options["api"] = api
    asked = cls(**options)
    assert isinstance(asked, HTTPProvider)
    return asked


COMPATIBLE = "openai-compatible"
APIS = ("responses", "interactions", "invoke")
"""What stands in an address and is the name of an API that a provider has beside its usual one."""


def how(record: Record) -> tuple[Dialect, Quirks, Verb]:
    """The format of a record, where its provider departs from it, and what was asked for."""
    path, kind = path_of(record), record["kind"]
    provider = provider_of(record)
    dialect = dialect_named(provider.dialect(record["model"] or ""))
    verb: Verb = "complete" if path.endswith(TEXT_COMPLETIONS) else VERBS[kind]
    if kind == "audio" and path.endswith("/speech"):
        verb = "speak"
    if dialect.name == "openai_chat" and not path.endswith(provider.row.quirks.paths.get(verb) or PATHS.get(verb, "")):
        verb = "request"  # some API of the provider's own
    return dialect, provider.row.quirks, verb


def asked(record: Record) -> Request:
    """What was asked, as far as an answer is read by it."""
    _, _, verb = how(record)
    return Request(verb, record["model"] or "m", record.get("request_json") or {}, record["streaming"])


def read(record: Record) -> Answer:
    """
    The answer.

    Raises:
        GatewayError: If it is an error.
    """
    dialect, quirks, _ = how(record)
    body = body_of(record)
    if record["response_status"] >= 400:
        raise dialect.read_error(record["response_status"], record["response_headers"], body)
    if record["streaming"]:
        reader = reader_of(record)
        return fold([*reader.feed(body), *reader.end()])
    return dialect.read_response(asked(record), body, quirks)


def reader_of(record: Record) -> StreamReader:
    dialect, quirks, _ = how(record)
    return dialect.reader(asked(record), quirks)


# --- what is expected of it -------------------------------------------------------------------------------------------


@cache
def wrong_with(id: str) -> list[str]:
    """What is read otherwise than expected out of a record."""
    record = RECORDS[id]
    expected = record["expected"]
    failed = record["response_status"] >= 400 or bool(expected and "error" in expected)
    try:
        answer = read(record)
    except GatewayError as error:
        return list(error_differences(error, expected)) if failed else [f"raises {error!r}"]
    if failed:
        return [f"no error, but {answer!r:.200}"]
    if expected is None:
        return [] if says_something(answer) else ["says nothing"]
    if isinstance(answer, Embeddings):
        told = {
            "vectors": len(answer.vectors),
            "dimensions": len(answer.vectors[0]),
            "input_tokens": answer.usage.input_tokens,
        }
        return list(differences(told, expected))
    assert isinstance(answer, Response)
    return list(answer_differences(record, answer, expected))


def differences(told: dict[str, Any], expected: dict[str, Any]) -> Iterable[str]:
    return (f"{name}: {has!r:.200}, not {expected[name]!r:.200}" for name, has in told.items() if has != expected[name])


def error_differences(error: GatewayError, expected: dict[str, Any] | None) -> Iterable[str]:
    if type(error) not in corpus.CATEGORIES.values():
        yield f"read as {error!r}"
    told = (expected or {}).get("error", {})
    if told.get("status") not in (None, 200, error.status):
        yield f"status: {error.status}, not {told['status']}"


def answer_differences(record: Record, answer: Response, expected: dict[str, Any]) -> Iterable[str]:
    choices: list[dict[str, Any]] = expected["choices"]
    if len(choices) != len(answer.choices):
        yield f"choices: {len(answer.choices)}, not {len(choices)}"
    for choice, wanted in zip(answer.choices, choices, strict=False):
        yield from choice_differences(record, choice, wanted)
    yield from differences(corpus.counts(answer.usage), counts_expected(record, answer, expected))
    # Some SDKs have no place for citations; and whether an address that is cited twice is told twice is a matter of taste.
    if expected.get("citations"):
        cited, wanted = dict.fromkeys(answer.citations), dict.fromkeys(expected["citations"])
        yield from differences({"citations": [*cited]}, {"citations": [*wanted]})
    if expected.get("model"):
        yield from differences({"model": answer.model}, expected)
    if "tool_plan" in expected:
        yield from differences({"tool_plan": answer.choices[0].extra.get("tool_plan", "")}, expected)


def choice_differences(record: Record, choice: Choice, wanted: dict[str, Any]) -> Iterable[str]:
    said = corpus.said(choice, corpus.parsed)
    # Nothing refused is None to some SDKs, and an empty text to others.
    told = {name: said[name] for name in ("text", "tool_calls", "reasoning", "finish_reason")} | {
        "refusal": said["refusal"] or None
    }
    yield from differences(told, wanted | {"refusal": wanted["refusal"] or None})
    # Some SDKs drop the provider's own word.
    native = said["native_finish_reason"] or said["finish_reason"]
    if (
        native != (wanted["native_finish_reason"] or wanted["finish_reason"])
        and f'"{native}"' not in record["response_body"]
    ):
        yield f"native_finish_reason: {native}, not {wanted['native_finish_reason']}"
    ids = [call.id for call in choice.tool_calls]
    if not all(ids) or len({*ids}) != len(ids):
        yield f"ids of tool calls: {ids}"


def counts_expected(record: Record, answer: Response, expected: dict[str, Any]) -> dict[str, Any]:
    """
    The counts, with None for each that was not sent: an SDK may say 0 there. Where an SDK says 0 because it does not look
    into the place where the count was sent, we need not look there, either.
    """
    unsent = {name for name, sent in SENT_AS.items() if not re.search(sent, body_of(record))}
    read = corpus.counts(answer.usage)
    return {name: expected[name] or (None if name in unsent or read[name] is None else expected[name]) for name in read}


def counted_as(*names: str) -> re.Pattern[bytes]:
    return re.compile(rb'"(%s)":\s*\d' % "|".join(names).encode())


SENT_AS = {
    "input_tokens": counted_as(
        "prompt_tokens", "input_tokens", "inputTokens", "promptTokenCount", "toolUsePromptTokenCount", "prompt_eval_count"
    ),
    "output_tokens": counted_as(
        "completion_tokens", "output_tokens", "outputTokens", "candidatesTokenCount", "thoughtsTokenCount", "eval_count"
    ),
    "cached_tokens": counted_as(
        "cached_tokens", "cache_read_input_tokens", "cacheReadInputTokens", "cachedContentTokenCount"
    ),
    "cache_write_tokens": counted_as("cache_write_tokens", "cache_creation_input_tokens", "cacheWriteInputTokens"),
    "reasoning_tokens": counted_as("reasoning_tokens", "thinking_tokens", "thoughtsTokenCount"),
}  # fmt: skip
"""What providers call each count."""


def says_something(answer: Answer) -> bool:
    match answer:
        case Response():
            return bool(answer.choices) and all(choice.text or choice.finish_reason for choice in answer.choices)
        case Embeddings():
            return bool(answer.vectors) and all(answer.vectors)
        case Models():
            return bool(answer.data) and all(model.id for model in answer)
        case RawResponse() | Binary():
            return bool(answer.content)
        case Images():
            return all(image.url or image.content for image in answer)
        case Moderations():
            return all(result.categories and result.categories.keys() == result.scores.keys() for result in answer)
        case Ranking():
            return all(ranked.document is not None for ranked in answer)
        case Transcription():
            return bool(answer.text)
        case TokenCount():
            return answer.input_tokens > 0
    return False


@cache
def wrong_with_request(id: str) -> list[str]:
    """What is written otherwise than it was sent, key by key."""
    record = RECORDS[id]
    dialect, own, verb = how(record)
    sent = record["request_json"]
    request = dialect.read_request(verb, sent)
    if not request.model and record["model"]:
        request = request.to(record["model"])  # it stands in the address
    body = json.loads(dialect.write_request(request, Quirks(paths=own.paths)).body)
    said = {name: body.get(name, "nothing") for name in {*sent, *body}}
    return list(differences(said, defaultdict(lambda: "nothing", sent)))


def asked_for(record: Record) -> AbstractSet[str]:
    """What somebody must be able to do who is asked like that."""
    dialect, _, verb = how(record)
    wanted = needs(Request(verb, stream=record["streaming"]))
    if is_written(record):
        try:
            return wanted | needs(dialect.read_request(verb, record["request_json"]))
        except BadRequest:
            pass  # of a version that only its own upstream reads
    return wanted
