"""Cohere's chat, embeddings and models, told in terms of OpenAI's chat and back.

What is asked is version 2, which is near to OpenAI's; answers of version 1 are read as well. What only one of them has
follows four rules:

* Cohere's own parameters (`documents`, `safety_mode`, `citation_options`, `thinking`, …), its `document` parts and its
  keys of a message stand in a request of ours as they are, and pass as they are.
* What a turn of the model holds beside text, reasoning and calls, the `tool_plan` and the `citations`, stands in the
  message under these names and goes out again with it.
* An OpenAI parameter that Cohere cannot express is refused by name, unless its value asks for nothing or it is a hint
  that changes no answer (`unsaid`). One tool of several is forced by showing no other.
* Left out: the `name` of a speaker and of a `json_schema`, and what of a message belongs to another upstream alone.

So a request that was read here is written here again as it was.

Beside this room: `cohere_media`, `cohere_requests`, `cohere_streams`, `cohere_errors`, and `cohere_words` for what they share; answers
are here.

Sources, checked 2026-11-20: https://docs.cohere.com/reference, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import BadRequest, GatewayError
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Embeddings, Model, Models, Response
from ..types.usage import Usage
from .answering import answered, first, written
from .base import Dialect, Quirks, StreamReader, StreamWriter, Written
from .cohere_errors import error_of, read_error, write_error
from .cohere_media import (
    PATHS as MEDIA,
    WRITERS as MEDIA_WRITERS,
    read_media,
    read_rerank,
    read_transcribe,
    write_media,
)
from .cohere_requests import FORMAT, is_first, read_chat, read_embed, told, write_chat, write_embed
from .cohere_streams import Reader, Writer
from .cohere_words import (
    calls_of,
    citations_of,
    finish_of,
    finish_reason,
    logprobs_of,
    usage_of,
    write_logprobs,
    write_usage,
)
from .openai_words import Json, text_of, urls_of
from .shapes import encoded, heard

__all__ = ["Cohere"]

PATHS: Mapping[str, str] = {
    "chat": "/v2/chat",
    "embed": "/v2/embed",
    # One page is all that can be asked for in one request, and a thousand is the largest.
    "models": "/v1/models?page_size=1000",
}


FIRST: Mapping[str, str] = {"chat": "/v1/chat", "embed": "/v1/embed"}
"""Where a caller is answered who speaks version 1."""

_READERS: Mapping[Verb, Callable[[Any], Request]] = {
    "chat": read_chat,
    "embed": read_embed,
    "rerank": read_rerank,
    "transcribe": read_transcribe,
}


class Cohere(Dialect):
    """The API of Cohere. It has no text completions any more."""

    name: str = "cohere"
    verbs: frozenset[Verb] = frozenset({"chat", "embed", "models", "request", *MEDIA})

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        verb = request.verb
        if verb == "request":
            return Written(request.method, request.path, request.encoded)
        if verb in MEDIA:
            return write_media(request, quirks)
        if verb not in PATHS:
            raise BadRequest(f"{verb}: Cohere has only {', '.join(sorted(self.verbs))}; name another provider")
        path = quirks.paths.get(verb) or (FIRST if is_first(request) else PATHS)[verb]
        if verb == "models":
            return Written("GET", path)
        body = quirks.bend(write_embed(request) if verb == "embed" else write_chat(request))
        return Written("POST", path, encoded(body, request))

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(FORMAT, verb, data, _READERS)

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        return answered(request, body, _read)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as Cohere would send it.

        Raises:
            BadRequest: For what this API has no words for.
        """
        return written("Cohere", answer, _WRITERS)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return read_error(status, headers, body)

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], Json]:
        return write_error(error)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader()

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request)


# --- answers ----------------------------------------------------------------------------------------------------------


def _read(request: Request, data: Json) -> Answer:
    verb = request.verb
    if isinstance(data.get("message"), str):
        raise error_of(None, {}, data)
    if verb == "models":
        return _read_models(data)
    if verb in MEDIA:
        return read_media(request, data)
    if verb == "embed":
        return _read_embeddings(data, request)
    return _read_answer(data) if "message" in data else _read_first(data)


def _read_answer(data: Json) -> Response:
    id = data.get("id") or ""
    message = data["message"]
    content = message.get("content")
    text, reasoning = (content, "") if isinstance(content, str) else text_of(content)
    calls = calls_of(message.get("tool_calls"), id)
    finish, native = finish_of(data["finish_reason"], bool(calls))
    choice = Choice(0, text, reasoning, calls, finish_reason=finish, native_finish_reason=native)
    for name in ("tool_plan", "citations"):
        if message.get(name):
            choice.extra[name] = message[name]
    if message.get("citations"):
        choice.citations = citations_of(message["citations"])
    if data.get("logprobs"):
        choice.logprobs = logprobs_of(data["logprobs"])
    return Response(id=id, usage=usage_of(data.get("usage") or {}), raw=data, choices=[choice])


def _read_first(data: Json) -> Response:
    """An answer of version 1, which has no message but the text itself."""
    id = data.get("generation_id") or data.get("response_id") or ""
    calls = calls_of(data.get("tool_calls"), id)
    finish, native = finish_of(data.get("finish_reason"), bool(calls))
    if not isinstance(data["text"], str):
        raise TypeError("what is said is no text")
    choice = Choice(0, data["text"], tool_calls=calls, finish_reason=finish, native_finish_reason=native)
    choice.citations = urls_of(data.get("documents") or ())
    if data.get("citations"):
        choice.extra["citations"] = data["citations"]
    return Response(id=id, usage=usage_of(data.get("meta") or {}), raw=data, choices=[choice])


def _write_answer(answer: Response) -> Json:
    choice = first(answer)
    content: list[Json] = []
    if choice.reasoning:
        content.append({"type": "thinking", "thinking": choice.reasoning})
    content += [{"type": "text", "text": text} for text in (choice.text, choice.refusal) if text]
    message: Json = {"role": "assistant"}
    if content:
        message["content"] = content
    if choice.extra.get("tool_plan"):
        message["tool_plan"] = choice.extra["tool_plan"]
    if choice.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.tool_calls
        ]
    citations = choice.extra.get("citations") or [
        {"sources": [{"type": "document", "id": url, "document": {"url": url}}]} for url in choice.citations
    ]
    if citations:
        message["citations"] = citations
    out: Json = {
        "id": answer.id,
        "finish_reason": finish_reason(choice.finish_reason, choice.native_finish_reason),
        "message": message,
        "usage": write_usage(answer.usage),
    }
    logprobs = write_logprobs(choice.logprobs)
    if logprobs is not None:
        out["logprobs"] = logprobs
    return out


# --- embeddings and models --------------------------------------------------------------------------------------------


def _read_embeddings(data: Json, request: Request) -> Embeddings:
    found = data["embeddings"]
    if isinstance(found, dict):
        # Asked for in another form alone, they are numbers all the same; base64 and packed bits stay in `raw`.
        found = found.get("float") or next((found[form] for form in ("int8", "uint8") if found.get(form)), None)
        if found is None:
            raise ValueError("no embeddings in numbers")
    billed = (data.get("meta") or {}).get("billed_units") or {}
    # An image is billed in tokens of its own; the inputs are not told apart.
    known = [billed[name] for name in ("input_tokens", "image_tokens") if isinstance(billed.get(name), int | float)]
    return Embeddings(
        id=data.get("id") or "",
        model=request.model,
        usage=Usage(input_tokens=int(sum(known)) if known else None),
        raw=data,
        vectors=found,
    )


def _write_embeddings(answer: Embeddings) -> Json:
    out: Json = {"id": answer.id, "embeddings": {"float": answer.vectors}, "response_type": "embeddings_by_type"}
    if answer.usage.input_tokens is not None:
        out["meta"] = {"billed_units": {"input_tokens": answer.usage.input_tokens}}
    return out


def _read_models(data: Json) -> Models:
    """A list of models, or the one that was asked for by its name."""
    items = data.get("models", [data])
    return Models(raw=data, data=[_read_model(item) for item in items])


def _read_model(item: Json) -> Model:
    window = item.get("context_length")
    return Model(
        item["name"],
        owned_by="cohere",
        context_window=int(window) if isinstance(window, int | float) else None,
        raw=item,
    )


def _write_model(model: Model) -> Json:
    out: Json = {"name": model.id, "endpoints": ["chat"], "finetuned": False}
    if model.context_window is not None:
        out["context_length"] = model.context_window
    return out


_WRITERS: Mapping[type[Answer], Callable[[Any], Json]] = {
    Response: _write_answer,
    Embeddings: _write_embeddings,
    Models: lambda answer: {"models": [_write_model(model) for model in answer.data]},
    **MEDIA_WRITERS,
}
