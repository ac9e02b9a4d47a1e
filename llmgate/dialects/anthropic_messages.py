"""Anthropic's Messages, told in terms of OpenAI's chat and back.

What both formats have is translated. What only one of them has follows three rules:

* Anthropic's own parameters, tools and content blocks stand in a request of ours as they are, and pass as they are.
  So a request that was read here is written here again with the same meaning.
* An OpenAI parameter that Messages cannot express is refused by name, unless its value asks for nothing or it is a
  hint that changes no answer (`NEUTRAL` and `HINTS` in `anthropic_requests`). What changes an answer is never dropped.
* Left out, as Anthropic's own OpenAI-compatible endpoint leaves it out: the `name` of a speaker, the `detail` of an
  image, the name of a `json_schema`, and reasoning without a signature (another model's; Anthropic would refuse it).

Three rooms stand beside this one: `anthropic_requests`, `anthropic_streams` and `anthropic_errors`; answers are here.

Sources, checked 2026-11-20: the types of the `anthropic` package 2.11,
https://platform.claude.com/docs/en/api/messages, …/build-with-claude/streaming, …/api/errors, …/libraries/openai-sdk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import BadRequest, GatewayError
from ..types.media import TokenCount
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Model, Models, Response, ToolCall
from ..types.wire import encode
from .answering import answered, first, json_or_text, written
from .anthropic_counting import PATH as COUNTING, counting_reader, write_count, write_counting
from .anthropic_errors import error_of, write_error
from .anthropic_requests import betas_of, read_chat, told, write_chat
from .anthropic_streams import Reader, Writer
from .anthropic_words import (
    FINISH,
    THINKING,
    Json,
    add_citation,
    citation_of,
    own_of_call,
    stop_reason,
    tool_use,
    usage_of,
    write_usage,
)
from .base import Dialect, Quirks, StreamReader, StreamWriter, Written
from .media_words import read_count
from .shapes import encoded, heard

__all__ = ["VERSION", "AnthropicMessages"]

VERSION = "2023-06-01"
"""Sent as `anthropic-version`: the last one that takes `temperature`, `top_p` and `top_k`; 2026-10-21 refuses them."""


class AnthropicMessages(Dialect):
    """The Messages API. It has no embeddings; nor has it text completions, and a chat would not be one."""

    name: str = "anthropic_messages"
    verbs: frozenset[Verb] = frozenset({"chat", "models", "request", "count_tokens"})

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        headers = [("anthropic-version", VERSION)]
        if request.verb == "chat":
            body = encoded(quirks.bend(write_chat(request)), request)
            return Written("POST", quirks.paths.get("chat", "/messages"), body, headers + betas_of(request))
        if request.verb == "count_tokens":
            body = encoded(quirks.bend(write_counting(request)), request)
            return Written("POST", quirks.paths.get("count_tokens", COUNTING), body, headers + betas_of(request))
        if request.verb == "models":
            # One page is all that can be asked for in one request, and a thousand is the largest (ModelListParams).
            return Written("GET", quirks.paths.get("models", "/models?limit=1000"), b"", headers)
        if request.verb == "request":
            return Written(request.method, request.path, request.encoded, headers)
        raise BadRequest(
            f"{request.verb}: the Messages API has only {', '.join(sorted(self.verbs))}; name another provider"
        )

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(self.format(verb), verb, data, _READERS)

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        return answered(request, body, _read)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as Anthropic would send it.

        Raises:
            BadRequest: For what this API has no words for.
        """
        return written("the Messages API", answer, _WRITERS)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_of(status, headers, json_or_text(body))

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], Json]:
        return write_error(error)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader()

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request.model, write_message)


_READERS: Mapping[Verb, Callable[[Any], Request]] = {"chat": read_chat, "count_tokens": counting_reader()}


def _read(request: Request, data: Json) -> Answer:
    if "error" in data and "content" not in data:
        raise error_of(None, {}, data)
    if request.verb == "count_tokens":
        return read_count(request, data)
    return _read_models(data) if request.verb == "models" else _read_message(data)


def _read_message(data: Json) -> Response:
    text: list[str] = []
    reasoning: list[str] = []
    thinking: list[Json] = []
    calls: list[ToolCall] = []
    citations: list[str] = []
    for block in data["content"]:
        kind = block["type"]
        if kind == "text":
            text.append(block["text"])
            for citation in block.get("citations") or ():
                add_citation(citation, citations)
        elif kind == "tool_use":
            arguments = encode(block["input"]).decode()
            calls.append(ToolCall(block["id"], block["name"], arguments, len(calls), own_of_call(block)))
        elif kind in THINKING:
            thinking.append(block)
            reasoning.append(block.get("thinking", ""))
        # Everything else happened at Anthropic's: searches, code, and what they brought. It stays in `raw`.
    stop = data.get("stop_reason")
    choice = Choice(
        text="".join(text),
        reasoning="".join(reasoning),
        tool_calls=calls,
        citations=citations,
        finish_reason=None if stop is None else FINISH.get(stop, "stop"),
        native_finish_reason=stop,
        extra={"thinking_blocks": thinking} if thinking else {},
    )
    usage = usage_of(data.get("usage") or {})
    return Response(id=data.get("id", ""), model=data.get("model", ""), usage=usage, raw=data, choices=[choice])


def write_message(answer: Response) -> Json:
    """The answer as a Message. Of several choices the first, for Messages has one and nobody can ask it for more."""
    choice = first(answer)
    content: list[Json] = list(choice.extra.get("thinking_blocks") or ())
    if choice.reasoning and not content:
        content.append({"type": "thinking", "thinking": choice.reasoning, "signature": ""})
    if choice.text:
        block: Json = {"type": "text", "text": choice.text}
        if choice.citations:
            block["citations"] = [citation_of(url) for url in choice.citations]
        content.append(block)
    if choice.refusal:
        content.append({"type": "text", "text": choice.refusal})
    content += [tool_use(answer.id, call) for call in choice.tool_calls]
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason(choice.finish_reason, choice.native_finish_reason, choice.refusal),
        "stop_sequence": None,
        "usage": write_usage(answer.usage),
    }


def _read_models(data: Json) -> Models:
    return Models(raw=data, data=[_read_model(model) for model in data["data"]])


def _read_model(model: Json) -> Model:
    created = model.get("created_at")
    return Model(
        id=model["id"],
        # A date that nobody knows is written as 1970.
        created=int(datetime.fromisoformat(created).timestamp()) or None if created else None,
        owned_by="anthropic",
        context_window=model.get("max_input_tokens"),
        raw=model,
    )


def _write_models(answer: Models) -> Json:
    data = [
        {
            "type": "model",
            "id": model.id,
            "display_name": model.id,
            "created_at": datetime.fromtimestamp(model.created or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycle": "active",
            "max_input_tokens": model.context_window,
        }
        for model in answer.data
    ]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": False, "first_id": first, "last_id": last}


_WRITERS: Mapping[type[Answer], Callable[[Any], Json]] = {
    Response: write_message,
    Models: _write_models,
    TokenCount: write_count,
}
