"""Recorded traffic, and what the tests of every dialect ask of it.

A record holds what a provider was asked, what it answered, and as `expected` what the provider's own SDK reads
out of that. Here the recordings are read, answers are put into the words of `expected`, and streams are cut; what is
peculiar to a dialect stands in its own test.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmgate.dialects.base import Dialect, Quirks, StreamReader
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
from llmgate.types.response import Answer, Choice, Chunk, Response, ToolCall, fold
from llmgate.types.usage import Usage

__all__ = [
    "CATEGORIES",
    "PLAIN",
    "Record",
    "Wire",
    "body_of",
    "calls_are_numbered",
    "categories",
    "counts",
    "errors",
    "files",
    "is_answer",
    "lines",
    "needed",
    "of_kind",
    "one_in",
    "params",
    "parsed",
    "said",
    "read_in_pieces",
    "same_byte_by_byte",
    "same_wherever_cut",
]

Record = dict[str, Any]

CORPUS = Path(__file__).parents[2] / "../shared/corpus"
PLAIN = Quirks()

needed = pytest.mark.skipif(not CORPUS.is_dir(), reason="the recorded traffic is not here")

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


def categories(*names: str) -> dict[str, type[GatewayError]]:
    """Those that a dialect is known to meet."""
    return {name: CATEGORIES[name] for name in names}


# --- records ----------------------------------------------------------------------------------------------------------


@cache
def lines(provider: str) -> list[Record]:
    """Everything recorded of a provider; nothing, if it is not here."""
    path = CORPUS / f"{provider}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def files() -> list[str]:
    """The providers of which something was recorded."""
    return sorted(path.stem for path in CORPUS.glob("*.jsonl"))


def errors() -> list[Record]:
    """Recorded errors, with status, headers, body, and the category that says what they mean."""
    path = CORPUS / "errors.json"
    found: list[Record] = json.loads(path.read_text()) if path.exists() else []
    return found


def params(records: Iterable[Record], name: Callable[[Record], str] = lambda record: record["id"]) -> list[Any]:
    return [pytest.param(record, id=name(record)) for record in records]


def of_kind(records: Iterable[Record], *kinds: str) -> list[Any]:
    return params(record for record in records if record["kind"] in kinds)


def one_in(part: int, of: Iterable[Any]) -> list[Any]:
    """A sample that stays the same when records are added: their ids are hashes."""
    return [param for param in of if int(param.values[0]["id"], 16) % part == 0]


def is_answer(record: Record) -> bool:
    """No error, and somebody can say what it means."""
    return bool(record["expected"]) and "error" not in record["expected"]


def body_of(record: Record) -> bytes:
    body: str = record["response_body"]
    return base64.b64decode(body) if record["response_body_encoding"] == "base64" else body.encode()


# --- reading and writing ----------------------------------------------------------------------------------------------


class Wire:
    """A dialect at work on what was recorded."""

    def __init__(self, dialect: Dialect, model: str) -> None:
        self.dialect = dialect
        self.chat, self.streamed = Request("chat", model), Request("chat", model, stream=True)

    def asked(self, record: Record) -> Request:
        return self.streamed if record["streaming"] else self.chat

    def read(self, record: Record) -> Response:
        return self.folded(body_of(record)) if record["streaming"] else self.read_whole(record)

    def read_whole(self, record: Record) -> Response:
        answer = self.dialect.read_response(self.asked(record), body_of(record), PLAIN)
        assert isinstance(answer, Response)
        return answer

    def read_stream(self, *pieces: bytes) -> list[Chunk]:
        reader = self.dialect.reader(self.streamed, PLAIN)
        chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
        return chunks + reader.end()

    def folded(self, *pieces: bytes) -> Response:
        answer = fold(self.read_stream(*pieces))
        assert isinstance(answer, Response)
        return answer

    def written(self, chunks: Iterable[Chunk], request: Request | None = None) -> bytes:
        writer = self.dialect.writer(request or self.streamed)
        return b"".join(writer.feed(chunk) for chunk in chunks) + writer.end()

    def again(self, answer: Answer, request: Request | None = None) -> Answer:
        """The answer, written and read."""
        body = json.dumps(self.dialect.write_response(answer)).encode()
        return self.dialect.read_response(request or self.chat, body, PLAIN)

    def next_turn(self, answer: Response, model: str = "m") -> dict[str, Any]:
        """The request for what comes after a question and its answer."""
        messages = [{"role": "user", "content": "?"}, answer.message]
        body: dict[str, Any] = json.loads(
            self.dialect.write_request(Request("chat", model, {"messages": messages}), PLAIN).body
        )
        return body


# --- in the words of `expected` ---------------------------------------------------------------------------------------


def said(choice: Choice, arguments: Callable[[ToolCall], Any] = ToolCall.parsed) -> dict[str, Any]:
    """
    Args:
        arguments: What to make of a call's; `parsed`, where models may have been cut off in them.
    """
    return {
        "text": choice.text,
        "tool_calls": [{"name": call.name, "args": arguments(call)} for call in choice.tool_calls],
        "reasoning": choice.reasoning,
        "refusal": choice.refusal,
        "finish_reason": choice.finish_reason,
        "native_finish_reason": choice.native_finish_reason,
    }


def parsed(call: ToolCall) -> Any:
    """The arguments; as text, if the model was cut off in them."""
    try:
        return call.parsed()
    except ValueError:
        return call.arguments


def counts(usage: Usage) -> dict[str, int | None]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


# --- promises of every dialect ----------------------------------------------------------------------------------------


BLOCK = 256  # bytes


def same_wherever_cut(reader: Callable[[], StreamReader], body: bytes) -> None:
    """
    Cut in two anywhere, a stream gives the same chunks, or the same error.

    A long stream has as many places as bytes. So it is read once, block by block, and from each block's beginning on a
    copy of the reader is led over every cut in the block and to the end of the next one.
    """
    whole = reader()
    for start in range(0, len(body), BLOCK):
        end = start + 2 * BLOCK
        last = end >= len(body)
        told = read_in_pieces(copy.deepcopy(whole), last, body[start:end])
        for at in range(start, min(start + BLOCK, len(body))):
            assert told == read_in_pieces(copy.deepcopy(whole), last, body[start:at], body[at:end]), at
        if isinstance(read_in_pieces(whole, False, body[start : start + BLOCK]), tuple):
            return  # an error ends every stream


def read_in_pieces(reader: StreamReader, last: bool, *pieces: bytes) -> Any:
    """The chunks, and with the last piece what is left; or the error."""
    try:
        chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
        return chunks + reader.end() if last else chunks
    except GatewayError as error:
        return type(error), error.message


def same_byte_by_byte(reader: Callable[[], StreamReader], body: bytes) -> None:
    """Read byte by byte, a stream gives the same chunks, or the same error."""
    single = (body[at : at + 1] for at in range(len(body)))
    assert read_in_pieces(reader(), True, body) == read_in_pieces(reader(), True, *single)


def calls_are_numbered(chunks: Iterable[Chunk]) -> None:
    """Tool calls of a stream are numbered 0, 1, 2, and each begins with id and name."""
    first: dict[int, tuple[str, str]] = {}
    for chunk in chunks:
        for call in chunk.tool_calls:
            first.setdefault(call.index, (call.id, call.name))

    assert list(range(len(first))) == list(first)
    assert all(id and name for id, name in first.values())
