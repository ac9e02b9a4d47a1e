"""Ollama's own API, told in terms of OpenAI's chat and back: chats, prompts, embeddings, and what is installed.

Ollama speaks OpenAI's language, too; its own knows more of what a local server is for: options such as the size of the
context, how long a model stays in memory, how long everything took. What only one of them has follows four rules:

* Ollama's own parameters stand in a request of ours as they are, and pass as they are; an option may also stand beside
  the others.
* Calls have no ids on older servers. They are given some, made of the answer, and Ollama is not told them back.
* An OpenAI parameter that Ollama cannot express is refused by name, unless its value asks for nothing or it is a hint
  that changes no answer (`unsaid`). No tool can be forced; that none is called, is had by showing none.
* Left out: the `name` of a speaker and of a `json_schema`, the `detail` of an image, and what of a message belongs to
  another upstream alone. The texts of one message become one, a line each.

So a request that was read here is written here again as it was, with each option in its place.

Beside this room: `ollama_requests`, `ollama_streams`, and `ollama_words` for what they share; answers are here. Its
errors are a sentence, `{"error": "…"}`, which is one of the shapes that `openai_errors` knows.

Sources, checked 2026-11-20: https://docs.ollama.com/api, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..errors import BadRequest, GatewayError
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Embeddings, Model, Models, Response
from ..types.usage import Usage
from . import openai_errors
from .answering import answered, first, written
from .base import Dialect, Quirks, StreamReader, StreamWriter, Written
from .ollama_requests import FORMAT, read_chat, read_complete, read_embed, told, write_body, write_embed
from .ollama_streams import Reader, Writer
from .ollama_words import created_of, ended, finish_of, read_calls, read_message, timestamp, usage_of, write_call
from .openai_words import Json
from .shapes import encoded, heard

__all__ = ["Ollama"]

PATHS: Mapping[str, str] = {
    "chat": "/api/chat",
    "complete": "/api/generate",
    "embed": "/api/embed",
    "models": "/api/tags",
}


_READERS: Mapping[Verb, Callable[[Any], Request]] = {"chat": read_chat, "complete": read_complete, "embed": read_embed}


class Ollama(Dialect):
    """
    The API of Ollama, on one's own machine or in its cloud.

    Embeddings are asked of the older `/api/embeddings` where the path of `embed` says so.
    """

    name: str = "ollama"
    verbs: frozenset[Verb] = frozenset({"chat", "complete", "embed", "models", "request"})

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        verb = request.verb
        if verb == "request":
            return Written(request.method, request.path, request.encoded)
        if verb not in PATHS:
            raise BadRequest(f"{verb}: Ollama has only {', '.join(sorted(self.verbs))}; name another provider")
        path = quirks.paths.get(verb) or PATHS[verb]
        if verb == "models":
            return Written("GET", path)
        body = write_embed(request, path.endswith("/embeddings")) if verb == "embed" else write_body(request)
        return Written("POST", path, encoded(quirks.bend(body), request))

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(FORMAT, verb, data, _READERS, streams=verb != "embed")

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        return answered(request, body, _read)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as Ollama would send it.

        Raises:
            BadRequest: For what this API has no words for.
        """
        writers = {Response: partial(_write_answer, request), Embeddings: partial(_write_embeddings, request)}
        return written("Ollama", answer, _WRITERS | writers)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return openai_errors.read_error(status, headers, body)

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], Json]:
        return openai_errors.write_sentence(error, "error")

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader()

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request)


# --- answers ----------------------------------------------------------------------------------------------------------


def _read(request: Request, data: Json) -> Answer:
    if "error" in data:
        raise openai_errors.error_of(None, {}, data)
    if request.verb == "models":
        return Models(raw=data, data=[_read_model(item) for item in data["models"] or ()])
    return _read_embeddings(data, request) if request.verb == "embed" else _read_answer(data)


def _read_answer(data: Json) -> Response:
    if not data["done"]:
        raise ValueError("the first line of a stream")
    choice = Choice()
    calls = read_message(choice, data)
    if calls:
        choice.tool_calls = read_calls(calls, str(data.get("created_at") or ""), 0)
    choice.finish_reason, choice.native_finish_reason = finish_of(data.get("done_reason"), bool(calls))
    return Response(
        model=data.get("model") or "",
        usage=usage_of(data) or Usage(),
        raw=data,
        choices=[choice],
        created=created_of(data),
    )


def _write_answer(request: Request | None, answer: Response) -> Json:
    choice = first(answer)
    out: Json = {"model": answer.model, "created_at": timestamp(answer.created)}
    said: Json = {"thinking": choice.reasoning} if choice.reasoning else {}
    text = choice.text + (choice.refusal or "")
    if request is not None and request.verb == "complete":
        out |= {"response": text, **said}
    else:
        if choice.tool_calls:
            said["tool_calls"] = [write_call(call) for call in choice.tool_calls]
        out["message"] = {"role": "assistant", "content": text} | said
    if isinstance(choice.logprobs, dict) and choice.logprobs.get("content"):
        out["logprobs"] = choice.logprobs["content"]
    return out | ended(choice.finish_reason, choice.native_finish_reason, answer.usage)


# --- embeddings and models --------------------------------------------------------------------------------------------


def _read_embeddings(data: Json, request: Request) -> Embeddings:
    """Of several texts, or of the one that `/api/embeddings` takes."""
    return Embeddings(
        model=data.get("model") or request.model,
        usage=usage_of(data) or Usage(),
        raw=data,
        vectors=data["embeddings"] if "embeddings" in data else [data["embedding"]],
    )


def _read_model(item: Json) -> Model:
    return Model(item.get("model") or item["name"], created=created_of(item, "modified_at"), raw=item)


def _write_model(model: Model) -> Json:
    return {"name": model.id, "model": model.id, "modified_at": timestamp(model.created)}


def _write_embeddings(request: Request | None, answer: Embeddings) -> Json:
    if request is not None and "prompt" in (request.native(FORMAT) or ()):
        return {"embedding": answer.vectors[0]}  # as `/api/embeddings` answers
    out: Json = {"model": answer.model, "embeddings": answer.vectors}
    if answer.usage.input_tokens is not None:
        out["prompt_eval_count"] = answer.usage.input_tokens
    return out


_WRITERS: dict[type[Answer], Callable[[Any], Json]] = {
    Models: lambda answer: {"models": [_write_model(model) for model in answer.data]},
}
