"""Answers as OpenAI and Anthropic send them, byte by byte, right and wrong.

The shapes are written out by hand and share no code with the dialects, so that a test compares two readings of the
vendors' pages and not one with itself:
https://platform.openai.com/docs/api-reference/chat and https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..types.response import ToolCall
from ..types.usage import Usage
from .steps import (
    LAST_CHUNK,
    Headers,
    Pause,
    Step,
    Steps,
    compact,
    http_response,
    http_stream,
    split,
)

__all__ = [
    "anthropic_error",
    "anthropic_message",
    "anthropic_stream",
    "chat",
    "embeddings",
    "error",
    "html",
    "models",
    "recorded",
    "replay",
    "sse",
    "stream",
]

MODEL = "gpt-4o-mini-2024-07-18"
CLAUDE = "claude-sonnet-4-5-20250929"
USAGE = Usage(input_tokens=9, output_tokens=12)
CREATED = 1_760_000_000  # 2025-10-09, seconds since 1970

# https://platform.openai.com/docs/guides/error-codes; what is not here says no more than its status.
_OPENAI_ERRORS = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_REQUEST_ID = ("x-request-id", "req_scripted")


def chat(
    text: str | None = "",
    *,
    tool_calls: Sequence[ToolCall] = (),
    reasoning: str | None = None,
    finish_reason: str | None = None,
    usage: Usage | None = USAGE,
    model: str = MODEL,
    headers: Headers = (),
    gzip: bool = False,
    **fields: Any,
) -> Steps:
    """
    A whole chat completion.

    Args:
        reasoning: Sent as `reasoning_content`, as DeepSeek and many compatible servers do.
        finish_reason: None follows the answer: `tool_calls` if there are any, else `stop`.
        usage: None leaves the key out.
        fields: More keys of the body; they win over what is there.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if tool_calls:
        message["tool_calls"] = [call.to_openai() for call in tool_calls]
    finish = finish_reason or ("tool_calls" if tool_calls else "stop")
    body = {
        **_openai("chat.completion", model),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    if usage is not None:
        body["usage"] = _openai_usage(usage)
    return http_response(200, body | fields, _with_id(headers), gzip=gzip)


def stream(
    pieces: Iterable[str] = (),
    *,
    gap_s: float = 0.0,
    tool_calls: Sequence[ToolCall] = (),
    reasoning: Iterable[str] = (),
    finish_reason: str | None = None,
    usage: Usage = USAGE,
    with_usage: bool = True,
    model: str = MODEL,
    cut_after: int | None = None,
    cut_inside: bool = False,
    ending: Step = LAST_CHUNK,
    error_midstream: Mapping[str, Any] | None = None,
    headers: Headers = (),
) -> Steps:
    """
    A streamed chat completion: role, reasoning, text, tool calls, finish, usage, `[DONE]`; one HTTP chunk an event.

    Args:
        gap_s: Seconds before every event but the first.
        with_usage: Whether the usage is sent, in an event of its own before `[DONE]`.
        cut_after: How many of the pieces (reasoning, text, tool calls) are sent before the stream is cut off; None is all.
        cut_inside: Whether half of the next event is sent, too, so that the cut goes through an event.
        ending: What follows the cut or the error: `LAST_CHUNK`, by which HTTP itself sees nothing amiss, `Close()`,
            `Reset()` or `Hang()`.
        error_midstream: An event sent in the place of whatever would have come next; no terminal event follows it.
    """
    finish = finish_reason or ("tool_calls" if tool_calls else "stop")

    def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return sse({**_openai("chat.completion.chunk", model), "choices": choices})

    content = [event({"reasoning_content": piece}) for piece in reasoning]
    content += [event({"content": piece}) for piece in pieces]
    content += [event({"tool_calls": [delta]}) for call in tool_calls for delta in _tool_deltas(call)]
    end = [event({}, finish)]
    if with_usage:
        end.append(sse({**_openai("chat.completion.chunk", model), "choices": [], "usage": _openai_usage(usage)}))
    return _streamed(
        [event({"role": "assistant", "content": "", "refusal": None})],
        content,
        [*end, sse("[DONE]")],
        gap_s=gap_s,
        cut_after=cut_after,
        cut_inside=cut_inside,
        ending=ending,
        error=None if error_midstream is None else sse(error_midstream),
        headers=_with_id(headers),
    )


def embeddings(
    vectors: Sequence[Sequence[float]],
    *,
    model: str = "text-embedding-3-small",
    usage: Usage = USAGE,
    headers: Headers = (),
) -> Steps:
    """Embeddings, one an input, in order."""
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": list(vector)} for i, vector in enumerate(vectors)],
        "model": model,
        "usage": {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens},
    }
    return http_response(200, body, _with_id(headers))


def models(ids: Iterable[str], *, owned_by: str = "system", headers: Headers = ()) -> Steps:
    """The list of models."""
    data = [{"id": id, "object": "model", "created": CREATED, "owned_by": owned_by} for id in ids]
    return http_response(200, {"object": "list", "data": data}, _with_id(headers))


def error(status: int, body: Any = None, headers: Headers = ()) -> Steps:
    """An answer that is an error; without a body the one that OpenAI sends with this status."""
    if body is None:
        kind, code = _OPENAI_ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
        body = {"error": {"message": f"scripted error {status}", "type": kind, "param": None, "code": code}}
    return http_response(status, body, _with_id(headers))


def html(status: int = 200, title: str = "Bad gateway", headers: Headers = ()) -> Steps:
    """What a proxy in between answers in the place of the model."""
    page = (
        f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n"
        f"<body>\n<center><h1>{title}</h1></center>\n<hr><center>cloudflare</center>\n</body>\n</html>\n"
    )
    return http_response(status, page, headers, content_type="text/html; charset=UTF-8")


def anthropic_message(
    text: str | None = "",
    *,
    tool_calls: Sequence[ToolCall] = (),
    thinking: str | None = None,
    stop_reason: str | None = None,
    usage: Usage = USAGE,
    model: str = CLAUDE,
    headers: Headers = (),
    gzip: bool = False,
    **fields: Any,
) -> Steps:
    """
    A whole message. A text that is None sends no block of text.

    Args:
        stop_reason: None follows the answer: `tool_use` if there are tool calls, else `end_turn`.
        fields: More keys of the body; they win over what is there.
    """
    content: list[dict[str, Any]] = []
    if thinking is not None:
        content.append({"type": "thinking", "thinking": thinking, "signature": "c2NyaXB0ZWQ="})
    if text is not None:
        content.append({"type": "text", "text": text})
    content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.parsed()} for c in tool_calls]
    body = _message(model, usage) | {
        "content": content,
        "stop_reason": stop_reason or ("tool_use" if tool_calls else "end_turn"),
    }
    return http_response(200, body | fields, _with_id(headers, "request-id"), gzip=gzip)


def anthropic_stream(
    pieces: Iterable[str] = (),
    *,
    gap_s: float = 0.0,
    tool_calls: Sequence[ToolCall] = (),
    thinking: Iterable[str] = (),
    stop_reason: str | None = None,
    usage: Usage = USAGE,
    model: str = CLAUDE,
    cut_after: int | None = None,
    cut_inside: bool = False,
    ending: Step = LAST_CHUNK,
    error_midstream: Mapping[str, Any] | None = None,
    headers: Headers = (),
) -> Steps:
    """
    A streamed message: `message_start`, a ping, a block of thinking, of text and of each tool call, `message_stop`.

    The arguments are those of `stream`; `cut_after` counts every event between the ping and `message_delta`.
    """
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if thoughts := [{"type": "thinking_delta", "thinking": piece} for piece in thinking]:
        signature = {"type": "signature_delta", "signature": "c2NyaXB0ZWQ="}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signature]))
    if texts := [{"type": "text_delta", "text": piece} for piece in pieces]:
        blocks.append(({"type": "text", "text": ""}, texts))
    for call in tool_calls:
        parts = [{"type": "input_json_delta", "partial_json": part} for part in ("", *_halves(call.arguments))]
        blocks.append(({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, parts))
    content = []
    for index, (block, deltas) in enumerate(blocks):
        content.append(_event("content_block_start", index=index, content_block=block))
        content += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        content.append(_event("content_block_stop", index=index))
    begun = _message(model, usage)
    begun["usage"] = begun["usage"] | {"output_tokens": 1}
    stop = {"stop_reason": stop_reason or ("tool_use" if tool_calls else "end_turn"), "stop_sequence": None}
    return _streamed(
        [_event("message_start", message=begun), _event("ping")],
        content,
        [
            _event("message_delta", delta=stop, usage={"output_tokens": usage.output_tokens}),
            _event("message_stop"),
        ],
        gap_s=gap_s,
        cut_after=cut_after,
        cut_inside=cut_inside,
        ending=ending,
        error=None if error_midstream is None else sse(error_midstream, event="error"),
        headers=_with_id(headers, "request-id"),
    )


def anthropic_error(status: int, kind: str, message: str = "scripted error", headers: Headers = ()) -> Steps:
    """An answer that is an error, in Anthropic's shape; `kind` is its type, such as `overloaded_error`."""
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": _REQUEST_ID[1]}
    return http_response(status, body, _with_id(headers, "request-id"))


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event; data that is no string is sent as JSON."""
    name = b"" if event is None else b"event: %b\n" % event.encode()
    return b"%bdata: %b\n\n" % (name, data.encode() if isinstance(data, str) else compact(data))


def recorded(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a file with one JSON object a line."""
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


# They describe the bytes that travelled then, not those that travel now.
_OF_THE_TRANSFER = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})


def replay(record: Mapping[str, Any], *, every: int | None = None, at: Iterable[int] = (), gap_s: float = 0.0) -> Steps:
    """
    The answer of a recorded interaction.

    Args:
        record: `response_status`, `response_headers`, `response_body`, `response_body_encoding` (`utf-8` or `base64`) and
            `streaming`.
        every: Bytes of an HTTP chunk; None sends a stream in one, a whole answer with its length.
        at: Offsets in the body where a chunk ends, too.
        gap_s: Seconds between two chunks.
    """
    text = record["response_body"] or ""
    body = base64.b64decode(text) if record.get("response_body_encoding") == "base64" else text.encode()
    headers = [(n, v) for n, v in record["response_headers"].items() if n.lower() not in _OF_THE_TRANSFER]
    pieces = split(body, every=every, at=at)
    if len(pieces) > 1 or record.get("streaming"):
        return http_stream(_spaced(pieces, gap_s), record["response_status"], headers)
    return http_response(record["response_status"], body, headers, content_type="application/json")


def _streamed(
    start: Sequence[bytes],
    content: Sequence[bytes],
    end: Sequence[bytes],
    *,
    gap_s: float,
    cut_after: int | None,
    cut_inside: bool,
    ending: Step,
    error: bytes | None,
    headers: Headers,
) -> Steps:
    sent = [*start, *content[:cut_after]]
    if cut_inside:
        following = [*content, *end][len(content) if cut_after is None else cut_after]
        sent.append(following[: len(following) // 2])
    if error is not None:
        sent.append(error)
    whole = cut_after is None and not cut_inside and error is None
    script = http_stream(_spaced([*sent, *end] if whole else sent, gap_s), headers=headers, end=whole)
    return script if whole else [*script, ending]


def _spaced(events: Sequence[bytes], gap_s: float) -> Steps:
    if not gap_s:
        return list(events)
    spaced: Steps = []
    for event in events:
        spaced += (Pause(gap_s), event)
    return spaced[1:]


def _openai(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": kind,
        "created": CREATED,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def _openai_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0, "audio_tokens": 0},
    }


def _message(model: str, usage: Usage) -> dict[str, Any]:
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            # Anthropic counts what the cache served and stored beside the input, we and OpenAI count it in.
            "input_tokens": (usage.input_tokens or 0) - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "output_tokens": usage.output_tokens,
            "service_tier": "standard",
        },
    }


def _event(kind: str, **data: Any) -> bytes:
    return sse({"type": kind, **data}, event=kind)


def _tool_deltas(call: ToolCall) -> Iterator[dict[str, Any]]:
    begun = {"index": call.index, "id": call.id, "type": "function"}
    yield begun | {"function": {"name": call.name, "arguments": ""}}
    for part in _halves(call.arguments):
        yield {"index": call.index, "function": {"arguments": part}}


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [part for part in (text[:middle], text[middle:]) if part]


def _with_id(headers: Headers, name: str = "x-request-id") -> Headers:
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    return pairs if any(name == given.lower() for given, _ in pairs) else [(name, _REQUEST_ID[1]), *pairs]
