"""OpenAI's chat completions, and whatever else is spoken in that language: text completions, embeddings, models.

The unified shape is OpenAI's own, so there is little to translate. What is here is what some twenty services that speak
this language do differently: names, places, counts, prices, and what they leave out. A difference that its upstream
has to be told apart by is data (`Quirks`); everything that can be read off the wire is read off the wire.

Three rooms stand beside this one: `openai_words`, `openai_streams` and `openai_errors`; requests and answers are here.

Sources, checked 2026-11-20: the types of the `openai` package 3.52, https://platform.openai.com/docs/api-reference,
and recorded answers of the services.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from ..errors import BadRequest, GatewayError
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Embeddings, Model, Models, Response, ToolCall
from ..types.usage import Usage
from ..types.wire import dumps, encode
from .answering import answered, written
from .base import Dialect, Quirks, StreamReader, StreamWriter, Written
from .foreign import is_foreign, understood
from .openai_errors import error_of, is_error, read_error, write_error
from .openai_media import NEEDED as MEDIA_NEEDED, VERBS as MEDIA, read_media, write_media
from .openai_media_answers import WRITERS as MEDIA_WRITERS
from .openai_streams import Reader, Writer
from .openai_words import Json, arguments_of, call_id, finish_of, read_message, urls_of, usage_of
from .responses_counting import write_counting
from .shapes import MARK, MISSHAPEN, heard, unmarked
from .thinking import effort_of

__all__ = ["OpenAIChat"]

FORMAT = "openai_chat"
PATHS = {"chat": "/chat/completions", "complete": "/completions", "embed": "/embeddings", "models": "/models"}
NEEDED: Mapping[Verb, str] = {"chat": "messages", "complete": "prompt", "embed": "input", **MEDIA_NEEDED}
"""The key without which a request of the verb is none."""

LIMITS = ("max_completion_tokens", "max_tokens")
"""OpenAI's two names for the limit of the output; the newer one first."""

WINDOWS = ("context_window", "context_length", "max_context_length", "max_model_len")
"""What services call the size of a model's context window."""


FOREIGN = frozenset({"thinking_blocks", "output_items"})
"""Keys that an answer's message bears for the next turn with the same upstream. Another one would refuse them."""


class OpenAIChat(Dialect):
    """The format of OpenAI and of everybody who is compatible with it."""

    name: str = "openai_chat"
    verbs: frozenset[Verb] = MEDIA | frozenset[Verb](("chat", "complete", "embed", "models", "request"))

    def format(self, verb: Verb, model: str = "") -> str:
        return FORMAT

    # Requests.

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        verb = request.verb
        if verb == "request":
            return Written(request.method, request.path, request.encoded)
        if verb in MEDIA:
            return write_media(request, quirks)
        if verb == "count_tokens":
            return write_counting(request, quirks)
        path = quirks.paths.get(verb) or PATHS[verb]
        if "{" in path:
            path = path.replace("{model}", quote(request.model, safe=""))
        if verb == "models":
            return Written("GET", path)
        try:
            return Written("POST", path, _written_body(request, quirks))
        except (TypeError, ValueError) as error:
            raise BadRequest(f"the request cannot be written as JSON: {error}") from error

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(FORMAT, verb, data, _READERS, plain=True)

    # Answers.

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        if request.verb in MEDIA or request.verb == "count_tokens":
            return read_media(request, body, quirks)
        return answered(request, body, partial(_read, quirks))

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as OpenAI would send it; one to a prompt is written otherwise than one to a chat.

        Raises:
            BadRequest: For what this API has no words for, or not in JSON.
        """
        complete = isinstance(answer, Response) and request is not None and request.verb == "complete"
        return written("OpenAI", answer, _COMPLETIONS if complete else _WRITERS)

    # Errors and streams.

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return read_error(status, headers, body)

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], Json]:
        return write_error(error)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader(request, quirks)

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request)


def _native(message: Any) -> Any:
    """The message without what only the format understands in which its turn was answered."""
    if not isinstance(message, dict):
        return message
    return {key: value for key, value in message.items() if key not in FOREIGN}


def _read_body(verb: Verb, data: Json) -> Request:
    needed = NEEDED[verb]
    if data.get(needed) is None:
        raise BadRequest(f"{needed} is missing")
    if verb == "chat" and not isinstance(data[needed], list):
        raise BadRequest("messages must be a list")
    body = {key: value for key, value in data.items() if key not in ("model", "stream")}
    return Request(verb, body=body)


_READERS: Mapping[Verb, Callable[[Any], Request]] = {verb: partial(_read_body, verb) for verb in NEEDED}


def _written_body(request: Request, quirks: Quirks) -> bytes:
    """The body with model and stream in front. What was encoded when the request was accepted is not encoded again."""
    body: Json = request.body
    foreign = request.verb == "chat" and is_foreign(request, FORMAT)
    bent = _bent(_understood(request) if foreign else body, request, quirks)
    encoded = b"" if foreign and request.original is None else request.encoded
    if not encoded:
        encoded = dumps(bent)
    elif bent is not body:
        encoded = encode(bent)
    head = b'{"model":' + to_json(request.model) if request.model else b"{"
    native = request.native(FORMAT)
    if request.stream:
        head += b',"stream":true' if request.model else b'"stream":true'
        if quirks.stream_usage and "stream_options" not in bent and native is None:
            head += b',"stream_options":{"include_usage":true}'
    elif native is not None and "stream" in native:
        # False and null ask for nothing, and are told as they were.
        said = b"null" if native["stream"] is None else b"false"
        head += (b',"stream":' if request.model else b'"stream":') + said
    if len(encoded) <= len("{}"):
        return head + b"}"
    return head + (b"," if len(head) > 1 else b"") + encoded[1:]


def _understood(request: Request) -> Json:
    """What a caller asks for who speaks another format, without what only that one knows about a message or a tool."""
    body = understood(request, FORMAT)
    thinking = body.pop("thinking", None)
    if thinking is not None:
        body.setdefault("reasoning_effort", effort_of(thinking))
    for name, keys in _KEYS.items():
        if name in body:
            body[name] = [item if item.keys() <= keys else _only(item, keys) for item in body[name]]
    messages = body.get("messages") or []
    for at, message in enumerate(messages):
        content, calls = message.get("content"), message.get("tool_calls")
        changed: Json = {}
        if content.__class__ is list:
            changed["content"] = [_only(part, ("type", part["type"])) for part in content]
        if calls:
            changed["tool_calls"] = [call if call.keys() <= _OF_CALLS else _only(call, _OF_CALLS) for call in calls]
        if changed:
            messages[at] = message | changed
    return body


def _only(item: Json, keys: Collection[str]) -> Json:
    return {key: item[key] for key in item if key in keys}


_OF_CALLS = frozenset({"custom", "extra_content", "function", "id", "type"})
_KEYS: Mapping[str, frozenset[str]] = {
    "messages": frozenset(
        {
            "audio", "content", "function_call", "name", "reasoning_content", "refusal", "role", "tool_call_id",
            "tool_calls",
        }
    ),
    "tools": frozenset({"custom", "function", "type"}),
}  # fmt: skip
"""What OpenAI knows about a message and about a tool."""


_MARK = MARK.encode()


def _unmarked(item: Any) -> Any:
    """A message or a tool without the marks that it bears, or its parts."""
    if not isinstance(item, dict):
        return item
    out = unmarked(item)
    if isinstance(out.get("content"), list):
        return out | {"content": [_unmarked(part) for part in out["content"]]}
    return out


def _bent(body: Json, request: Request, quirks: Quirks) -> Json:
    """The body as this upstream wants it; the same object if it wants nothing else."""
    out = body
    if not quirks.cache_marks and request.original is None and _MARK in request.encoded:
        out = {
            name: [*map(_unmarked, value)] if name in _KEYS and isinstance(value, list) else value
            for name, value in body.items()
        }
    messages = body.get("messages") or () if request.verb == "chat" else ()
    if [message for message in messages if isinstance(message, dict) and not FOREIGN.isdisjoint(message)]:
        out = out | {"messages": [_native(message) for message in out["messages"]]}
    limit = quirks.max_tokens
    if limit is not None and request.verb == "chat":
        given = next((body[name] for name in (limit, *LIMITS) if name in body), None)
        others = [name for name in LIMITS if name in body and name != limit]
        if others:
            out = {name: value for name, value in out.items() if name not in others}
            out[limit] = given
    if quirks.rename and not quirks.rename.keys().isdisjoint(out):
        out = {quirks.rename.get(name, name): value for name, value in out.items()}
    if quirks.drop and not quirks.drop.isdisjoint(out):
        out = {name: value for name, value in out.items() if name not in quirks.drop}
    if request.stream and "stream_options" in out:
        options = out["stream_options"]
        if not quirks.stream_usage:
            out = {name: value for name, value in out.items() if name != "stream_options"}
        elif request.native(FORMAT) is not None:
            pass  # a caller who is handed the stream as it comes gets what it asked for and no more
        elif not isinstance(options, dict):
            out = out | {"stream_options": {"include_usage": True}}
        elif "include_usage" not in options:
            # Whoever did not ask for the usage is not shown it; limits and budgets need it.
            out = out | {"stream_options": {**options, "include_usage": True}}
    return out


def _read_answer(data: Json, quirks: Quirks) -> Response:
    counts = data.get("usage")
    items = data["choices"]
    if not items:
        raise ValueError("no choices")
    id = data.get("id") or ""
    return Response(
        id=id,
        model=data.get("model") or "",
        usage=usage_of(data, counts, quirks.reasoning_in_output) if counts else Usage(),
        raw=data,
        choices=[_read_choice(data, id, position, item) for position, item in enumerate(items)],
        created=data.get("created"),
    )


def _read_choice(data: Json, id: str, position: int, item: Json) -> Choice:
    index = item.get("index", position)
    choice = Choice(index=index)
    if "message" in item:
        if data.get("citations"):
            choice.citations = urls_of(data["citations"])
        calls = read_message(choice, item["message"])
        if calls:
            choice.tool_calls = [_read_call(id, index, position, call) for position, call in enumerate(calls)]
    else:
        choice.text = item["text"] or ""
    choice.logprobs = item.get("logprobs")
    if item.get("finish_reason"):
        if item.get("error"):
            raise error_of(None, {}, item)
        choice.finish_reason, choice.native_finish_reason = finish_of(item)
    return choice


def _read_call(id: str, choice: int, position: int, call: Json) -> ToolCall:
    function = call.get("function") or call["custom"]
    arguments = function["arguments"] if "arguments" in function else function.get("input")
    out = ToolCall(call.get("id") or call_id(id, choice, position), function["name"], arguments_of(arguments), position)
    if "extra_content" in call:
        out.extra = {"extra_content": call["extra_content"]}
    elif "custom" in call:
        out.extra = {"type": "custom"}
    return out


def _read_embeddings(data: Json, quirks: Quirks) -> Embeddings:
    counts = data.get("usage")
    items = sorted(data["data"], key=lambda item: item.get("index") or 0)
    return Embeddings(
        id=data.get("id") or "",
        model=data.get("model") or "",
        usage=usage_of(data, counts, quirks.reasoning_in_output) if counts else Usage(),
        raw=data,
        vectors=[_vector(item["embedding"]) for item in items],
    )


def _read(quirks: Quirks, request: Request, data: Any) -> Answer:
    try:
        if request.verb == "models":
            return _read_models(data)
        if data.get("error"):
            raise error_of(None, {}, data)
        return _read_embeddings(data, quirks) if request.verb == "embed" else _read_answer(data, quirks)
    except MISSHAPEN:
        if is_error(data):
            raise error_of(None, {}, data) from None
        raise


def _vector(embedding: Any) -> list[float]:
    """A vector as numbers, or as base64 of 32-bit floats, little-endian, which the SDKs ask for."""
    if isinstance(embedding, list):
        return embedding
    floats = array("f", base64.b64decode(embedding, validate=True))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def _read_models(data: Any) -> Models:
    items = data if isinstance(data, list) else data["data"]  # Together sends the bare list
    return Models(raw=data, data=[_read_model(item) for item in items])


def _read_model(item: Json) -> Model:
    window = next((item[name] for name in WINDOWS if isinstance(item.get(name), int)), None)
    return Model(
        item["id"], created=item.get("created"), owned_by=item.get("owned_by"), context_window=window, raw=item
    )


def _write_chat(answer: Response) -> Json:
    data = answer.to_openai()
    for choice, said in zip(answer.choices, data["choices"], strict=True):
        message = said["message"]
        if choice.finish_reason == "function_call" and choice.tool_calls:
            message["function_call"] = message.pop("tool_calls")[0]["function"]
        if choice.citations and "annotations" not in message:
            data["citations"] = choice.citations
    return data


def _write_completion(answer: Response) -> Json:
    data = answer.to_openai()
    data["object"] = "text_completion"
    for choice, said in zip(answer.choices, data["choices"], strict=True):
        del said["message"]
        said["text"] = choice.text
    return data


def _write_embeddings(answer: Embeddings) -> Json:
    tokens = answer.usage.input_tokens or 0
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(answer.vectors)
        ],
        "model": answer.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": answer.usage.total_tokens or tokens},
    }


def _write_models(answer: Models) -> Json:
    return {
        "object": "list",
        "data": [
            {
                "id": model.id,
                "object": "model",
                "created": model.created or 0,
                "owned_by": model.owned_by or model.provider,
            }
            for model in answer.data
        ],
    }


_WRITERS: Mapping[type[Answer], Callable[[Any], Json]] = {
    Response: _write_chat,
    Embeddings: _write_embeddings,
    Models: _write_models,
    **MEDIA_WRITERS,
}
_COMPLETIONS: Mapping[type[Answer], Callable[[Any], Json]] = {Response: _write_completion}
