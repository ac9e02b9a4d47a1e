"""An upstream that answers by what it is asked, in five formats: with a tool call, with JSON, or with a greeting.

The name of the model says what else may happen: `limited` has sent too much, `slow` begins and never ends.
"""

from __future__ import annotations

import json
from typing import Any

from llmgate.testing import (
    Hang,
    Received,
    Step,
    anthropic_error,
    anthropic_message,
    anthropic_stream,
    chat,
    error,
    http_response,
    http_stream,
    sse,
    stream,
)
from llmgate.types.response import ToolCall

__all__ = ["CALL", "CITY", "SCHEMA", "TEXT", "answer"]

TEXT = "hi there"
PIECES = ["hi ", "there"]
CITY = '{"city":"Oslo"}'
SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CALL = ToolCall("call_1", "weather", CITY)


SCHEMA_WORDS = ("response_format", "output_config", "output_format", "responseSchema", "responseJsonSchema", "format")
"""Where the formats have a schema for the answer."""


def answer(asked: Received) -> list[Step]:
    """The answer to a request, in the format that its path tells."""
    body = asked.json()
    path = asked.path
    model = body.get("model") or path.rpartition("/")[2].partition(":")[0]
    speaks = next(format for mark, format in FORMATS.items() if mark in path)
    streams = "streamGenerateContent" in path or body.get("stream", speaks is Ollama)
    if model == "limited":
        return [*speaks.limited()]
    tool = speaks.tool(body)
    calls = [ToolCall(CALL.id, tool, CITY)] if tool and not speaks.is_answered(body) else []
    wants = {**body, **body.get("generationConfig", {})}
    pieces = [] if calls else [CITY] if any(word in wants for word in SCHEMA_WORDS) else PIECES
    if model == "slow" and not streams:
        return [Hang()]
    steps = [*(speaks.stream(pieces, calls) if streams else speaks.whole("".join(pieces), calls))]
    # The head, what comes before the text, and the first piece of it.
    return [*steps[: speaks.BEGUN], Hang()] if model == "slow" else steps


class OpenAI:
    """Chat completions."""

    BEGUN = 3

    @staticmethod
    def whole(text: str, calls: list[ToolCall]) -> Any:
        return chat(text or None, tool_calls=calls)

    @staticmethod
    def stream(pieces: list[str], calls: list[ToolCall]) -> Any:
        return stream(pieces, tool_calls=calls)

    @staticmethod
    def tool(body: Any) -> str | None:
        return next((tool["function"]["name"] for tool in body.get("tools") or ()), None)

    @staticmethod
    def is_answered(body: Any) -> bool:
        return any(message["role"] == "tool" for message in body["messages"])

    @staticmethod
    def limited() -> Any:
        return error(429, headers={"retry-after": "7"})


class Anthropic(OpenAI):
    """Messages."""

    BEGUN = 5

    @staticmethod
    def whole(text: str, calls: list[ToolCall]) -> Any:
        return anthropic_message(text or None, tool_calls=calls)

    @staticmethod
    def stream(pieces: list[str], calls: list[ToolCall]) -> Any:
        return anthropic_stream(pieces, tool_calls=calls)

    @staticmethod
    def tool(body: Any) -> str | None:
        return next((tool["name"] for tool in body.get("tools") or ()), None)

    @staticmethod
    def is_answered(body: Any) -> bool:
        return "tool_result" in json.dumps(body["messages"])

    @staticmethod
    def limited() -> Any:
        return anthropic_error(429, "rate_limit_error", headers={"retry-after": "7"})


class Gemini(OpenAI):
    """`generateContent`."""

    BEGUN = 2

    @staticmethod
    def whole(text: str, calls: list[ToolCall]) -> Any:
        return http_response(200, _candidates(text, calls))

    @staticmethod
    def stream(pieces: list[str], calls: list[ToolCall]) -> Any:
        parts = [(piece, []) for piece in pieces] + [("", [call]) for call in calls]
        return http_stream([sse(_candidates(*part, last=part is parts[-1])) for part in parts])

    @staticmethod
    def tool(body: Any) -> str | None:
        return next((tool["functionDeclarations"][0]["name"] for tool in body.get("tools") or ()), None)

    @staticmethod
    def is_answered(body: Any) -> bool:
        return "functionResponse" in json.dumps(body["contents"])

    @staticmethod
    def limited() -> Any:
        return error(429, {"error": {"code": 429, "message": "scripted error 429", "status": "RESOURCE_EXHAUSTED"}})


def _candidates(text: str, calls: list[ToolCall], last: bool = True) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    parts += [{"functionCall": {"name": call.name, "args": call.parsed()}} for call in calls]
    end = {"finishReason": "STOP"} if last else {}
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **end}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m", "responseId": "r"}


class Cohere(OpenAI):
    """Version 2 of its chat."""

    BEGUN = 4

    @staticmethod
    def whole(text: str, calls: list[ToolCall]) -> Any:
        message: dict[str, Any] = {"role": "assistant"}
        if text:
            message["content"] = [{"type": "text", "text": text}]
        if calls:
            message["tool_calls"] = [call.to_openai() for call in calls]
        reason = "TOOL_CALL" if calls else "COMPLETE"
        return http_response(200, {"id": "c", "finish_reason": reason, "message": message, "usage": COHERE_USAGE})

    @staticmethod
    def stream(pieces: list[str], calls: list[ToolCall]) -> Any:
        events: list[dict[str, Any]] = [
            {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant", "content": []}}}
        ]
        if pieces:
            start = {"message": {"content": {"type": "text", "text": ""}}}
            events.append({"type": "content-start", "index": 0, "delta": start})
            events += [
                {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}
                for piece in pieces
            ]
            events.append({"type": "content-end", "index": 0})
        for index, call in enumerate(calls):
            start = {"message": {"tool_calls": call.to_openai()}}
            events.append({"type": "tool-call-start", "index": index, "delta": start})
            events.append({"type": "tool-call-end", "index": index})
        reason = "TOOL_CALL" if calls else "COMPLETE"
        events.append({"type": "message-end", "id": "c", "delta": {"finish_reason": reason, "usage": COHERE_USAGE}})
        return http_stream([sse(event, event["type"]) for event in events])

    @staticmethod
    def limited() -> Any:
        return error(429, {"message": "scripted error 429"})


COHERE_USAGE = {
    "billed_units": {"input_tokens": 3, "output_tokens": 2},
    "tokens": {"input_tokens": 3, "output_tokens": 2},
}


class Ollama(OpenAI):
    """Its own chat."""

    BEGUN = 2

    @staticmethod
    def whole(text: str, calls: list[ToolCall]) -> Any:
        return http_response(200, Ollama._line(text, calls, True))

    @staticmethod
    def stream(pieces: list[str], calls: list[ToolCall]) -> Any:
        lines = [Ollama._line(piece, [], False) for piece in pieces]
        lines += [Ollama._line("", [call], False) for call in calls] + [Ollama._line("", [], True)]
        body = [json.dumps(line).encode() + b"\n" for line in lines]
        return http_stream(body, content_type="application/x-ndjson")

    @staticmethod
    def _line(text: str, calls: list[ToolCall], done: bool) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [{"function": {"name": c.name, "arguments": c.parsed()}} for c in calls]
        end = {"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2, "total_duration": 5} if done else {}
        return {"model": "m", "created_at": "2026-11-21T00:00:00Z", "message": message, "done": done, **end}

    @staticmethod
    def limited() -> Any:
        return error(429, {"error": "scripted error 429"})


FORMATS: dict[str, type[OpenAI]] = {
    "chat/completions": OpenAI,
    "/messages": Anthropic,
    ":generateContent": Gemini,
    ":streamGenerateContent": Gemini,
    "/v2/chat": Cohere,
    "/api/chat": Ollama,
}
"""By a part of the path."""
