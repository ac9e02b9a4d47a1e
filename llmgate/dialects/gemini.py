"""Google's `generateContent`, of the Gemini API and of Vertex AI, told in terms of OpenAI's chat and back.

What both formats have is translated. What only one of them has follows four rules:

* Google's own parameters, tools and parts stand in a request of ours as they are, and pass as they are; what belongs
  into `generationConfig` may be given as that. A content part without a `type` is Google's own.
* What a turn of the model holds beside a text and tool calls (signatures, code that ran, images) comes back in
  `extra_content.google`, where Google's own OpenAI endpoint puts such things, and goes out again as it was, as long as
  the message still says what it said. A call's signature stands in the call.
* An OpenAI parameter that Gemini cannot express is refused by name, unless its value asks for nothing or it is a hint
  that changes no answer (`NEUTRAL` and `HINTS` in `gemini_requests`). What changes an answer is never dropped.
* Left out: the `name` of a speaker, the `detail` of an image, the name of a file and of a `json_schema`, and reasoning,
  which Google does not want back.

So a request that was read here is written here again with the same meaning: the same JSON but for what Google itself
takes for the same, such as `snake_case` or a `Schema` for the JSON schema it stands for.

Beside this room: `gemini_media`, `gemini_requests`, `gemini_schemas`, `gemini_streams`, `gemini_errors`, and
`gemini_words` for what they share; answers and embeddings are here.

Sources, checked 2026-11-20: the types of the `google-genai` package 3.4, https://ai.google.dev/api, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from ..errors import BadRequest, GatewayError
from ..types.media import TokenCount
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Embeddings, Model, Models, Response
from ..types.usage import Usage
from .answering import answered, json_or_text, written
from .base import Dialect, Quirks, StreamReader, StreamWriter, Written
from .gemini_errors import error_of, write_error
from .gemini_media import VERBS as MEDIA, read_bytes, read_counting, read_media, write_media
from .gemini_requests import ADDRESS, FORMAT, camelled, read_chat, told, write_chat
from .gemini_streams import Reader, Writer, called
from .gemini_words import (
    BLOCKED,
    Json,
    Parts,
    citations_of,
    finish_of,
    finish_reason,
    index_of,
    kept_parts,
    logprobs_of,
    usage_of,
    write_citations,
    write_logprobs,
    write_usage,
)
from .shapes import MISSHAPEN, encoded, heard, misshapen, restated

__all__ = ["Gemini"]

PATHS: Mapping[str, str] = {
    "chat": "/models/{model}:generateContent",
    "embed": "/models/{model}:batchEmbedContents",
    # One page is all that can be asked for in one request, and a thousand is the largest.
    "models": "/models?pageSize=1000",
}


class Gemini(Dialect):
    """
    The API of Google's models. It has no text completions, and a chat would not be one.

    Vertex AI speaks it, too, but for embeddings; they are asked of `:predict` where the path of `embed` says so.
    """

    name: str = "gemini"
    verbs: frozenset[Verb] = MEDIA | frozenset[Verb](("chat", "embed", "models", "request"))

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        verb = request.verb
        if verb == "request":
            return Written(request.method, request.path, request.encoded)
        if verb in MEDIA:
            return write_media(request, quirks)
        if verb not in PATHS:
            raise BadRequest(f"{verb}: Gemini has only {', '.join(sorted(self.verbs))}; name another provider")
        path = quirks.paths.get(verb) or PATHS[verb]
        if verb == "models":
            return Written("GET", path)
        if "/" in request.model:  # `models/…`, `tunedModels/…`
            path = path.replace("models/{model}", "{model}")
        path = path.replace("{model}", quote(request.model, safe="/"))
        if verb == "embed":
            if "content" in (request.native(FORMAT) or ()):
                path = path.replace(":batchEmbedContents", ":embedContent")
            return Written("POST", path, encoded(_write_embed(request, path.endswith(":predict")), request))
        body = quirks.bend(write_chat(request))
        if request.stream:
            path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
        return Written("POST", path, encoded(body, request))

    def read_request(self, verb: Verb, data: Any) -> Request:
        request = heard(FORMAT, verb, data, _READERS)
        request.model = request.model.removeprefix("models/")
        return request

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        if request.verb == "video_content" and not body.lstrip().startswith(b"{"):
            return read_bytes(request, body)
        return answered(request, body, _read)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as Google would send it.

        Raises:
            BadRequest: For what this API has no words for.
        """
        return written("Gemini", answer, _WRITERS | {Embeddings: partial(_write_embeddings, request)})

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_of(status, headers, json_or_text(body))

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], Json]:
        return write_error(error)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader()

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request)


# --- answers ----------------------------------------------------------------------------------------------------------


def _read(request: Request, data: Any) -> Answer:
    verb = request.verb
    if isinstance(data, list):
        data = data[0]
    # A video that failed is an answer, too.
    if "error" in data and not (verb in MEDIA and "name" in data):
        raise error_of(None, {}, data)
    if verb in MEDIA:
        return read_media(request, data)
    if verb == "models":
        return _read_models(data)
    return _read_embeddings(data, request) if verb == "embed" else _read_answer(data)


def _read_answer(data: Json) -> Response:
    counts = data.get("usageMetadata")
    id = data.get("responseId") or ""
    candidates = data.get("candidates")
    if not candidates:
        if not (data.get("promptFeedback") or {}).get("blockReason"):
            raise ValueError("no candidates")
        finish, native = finish_of(BLOCKED, False)
        choices = [Choice(finish_reason=finish, native_finish_reason=native)]
    else:
        choices = [_read_candidate(candidate, id, position) for position, candidate in enumerate(candidates)]
    return Response(
        id=id,
        model=data.get("modelVersion") or "",
        usage=usage_of(counts) if counts else Usage(),
        raw=data,
        choices=choices,
    )


def _read_candidate(candidate: Json, id: str, position: int) -> Choice:
    index = index_of(candidate, position)
    parts = Parts(id, index)
    text, reasoning, calls = parts.read((candidate.get("content") or {}).get("parts") or [])
    finish, native = finish_of(candidate.get("finishReason"), parts.called)
    choice = Choice(index, text, reasoning, calls, finish_reason=finish, native_finish_reason=native)
    if "groundingMetadata" in candidate or "citationMetadata" in candidate:
        choice.citations = citations_of(candidate)
    if "logprobsResult" in candidate:
        choice.logprobs = logprobs_of(candidate["logprobsResult"])
    choice.extra = parts.extra() or {}
    return choice


def _write_answer(answer: Response) -> Json:
    out: Json = {"candidates": [_write_candidate(choice) for choice in answer.choices]}
    usage = write_usage(answer.usage)
    if usage:
        out["usageMetadata"] = usage
    return out | {"modelVersion": answer.model, "responseId": answer.id}


def _write_candidate(choice: Choice) -> Json:
    parts = list(kept_parts(choice.extra))
    if choice.reasoning and not any(part.get("thought") for part in parts):
        parts.insert(0, {"text": choice.reasoning, "thought": True})
    if not kept_parts(choice.extra):
        parts += [{"text": text} for text in (choice.text, choice.refusal) if text]
        parts += [called(call) for call in choice.tool_calls]
    out: Json = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": finish_reason(choice.finish_reason, choice.native_finish_reason, choice.refusal),
        "index": choice.index,
    }
    if choice.citations:
        out["groundingMetadata"] = write_citations(choice.citations)
    logprobs = write_logprobs(choice.logprobs)
    if logprobs is not None:
        out["logprobsResult"] = logprobs
    return out


# --- embeddings and models --------------------------------------------------------------------------------------------


_OF_EMBEDDINGS = frozenset({"dimensions", "encoding_format", "input", "user"})


def _write_embed(request: Request, predicts: bool) -> Json:
    """The body of `:batchEmbedContents`, or of Vertex AI's `:predict`."""
    native = request.native(FORMAT)
    if native is not None and ("instances" in native) == predicts:
        return _restated(native, request)
    given: Json = request.body
    texts = given.get("input")
    if isinstance(texts, (str, dict)):
        texts = [texts]
    if not isinstance(texts, list) or not all(isinstance(text, (str, dict)) for text in texts):
        raise BadRequest("input: Gemini takes a text or a list of them, and no tokens")
    own = {name: value for name, value in given.items() if name not in _OF_EMBEDDINGS and value is not None}
    if predicts:
        parameters = own.pop("parameters", {})
        if given.get("dimensions") is not None:
            parameters = {**parameters, "outputDimensionality": given["dimensions"]}
        instances = [text if isinstance(text, dict) else {"content": text, **own} for text in texts]
        return {"instances": instances} | ({"parameters": parameters} if parameters else {})
    if given.get("dimensions") is not None:
        own["outputDimensionality"] = given["dimensions"]
    model = _place(request.model)
    return {"requests": [{"model": model, "content": _write_content(text), **own} for text in texts]}


def _restated(native: Json, request: Request) -> Json:
    """A caller's own body; in that of `:batchEmbedContents` the model is named again with each text."""
    out = restated(native, request, ADDRESS)
    if request.model and "requests" in out:
        out["requests"] = [{**asked, "model": _place(request.model)} for asked in out["requests"]]
    return out


def _place(model: str) -> str:
    return model if "/" in model else f"models/{model}"


def _write_content(text: str | Json) -> Json:
    return {"parts": [{"text": text}]} if isinstance(text, str) else text


def _read_embed(data: Any) -> Request:
    """What is asked of `:embedContent`, `:batchEmbedContents` or `:predict`."""
    try:
        if "instances" in data:
            model, texts, own = data.get("model"), *_read_instances(data)
        else:
            given: Json = camelled(data)
            requests = given.get("requests") or [given]
            model = given.get("model") or requests[0].get("model")
            texts = [_read_content(request["content"]) for request in requests]
            own = {name: value for name, value in requests[0].items() if name not in ("content", "model")}
            if any(_apart(request) != _apart(requests[0]) for request in requests):
                raise BadRequest("requests: they differ in more than their content")
        dimensions = own.pop("outputDimensionality", None)
        model = (model or "").removeprefix("models/")
    except MISSHAPEN as error:
        raise misshapen("the request", error) from None
    body = {"input": texts, **own}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return Request("embed", model, body)


_READERS: Mapping[Verb, Callable[[Any], Request]] = {
    "chat": read_chat,
    "embed": _read_embed,
    "count_tokens": read_counting,
}


def _apart(request: Json) -> Json:
    return {name: value for name, value in request.items() if name != "content"}


def _read_instances(data: Json) -> tuple[list[Any], Json]:
    """Inputs and parameters of a `:predict`, whose names are the model's and not the API's: `task_type` stays as it is."""
    instances, own = data["instances"], dict(data.get("parameters") or {})
    dimensions = own.pop("outputDimensionality", None)
    plain = all(instance.keys() == {"content"} for instance in instances)
    texts = [instance["content"] for instance in instances] if plain else instances
    return texts, ({"parameters": own} if own else {}) | {"outputDimensionality": dimensions}


def _read_content(content: Json) -> str | Json:
    parts = content["parts"]
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"text"} else content


def _read_embeddings(data: Json, request: Request) -> Embeddings:
    if "predictions" in data:
        found = [prediction["embeddings"] for prediction in data["predictions"]]
    else:
        found = data["embeddings"] if "embeddings" in data else [data["embedding"]]
    tokens = (data.get("usageMetadata") or {}).get("promptTokenCount")
    if tokens is None:
        # Vertex AI counts each text by itself.
        known: list[Any] = [(embedding.get("statistics") or {}).get("token_count") for embedding in found]
        tokens = sum(known) if known and None not in known else None
    return Embeddings(
        model=request.model,
        usage=Usage(input_tokens=tokens),
        raw=data,
        vectors=[embedding["values"] for embedding in found],
    )


def _read_models(data: Json) -> Models:
    return Models(
        raw=data, data=[_read_model(model) for model in data.get("models") or data.get("publisherModels") or ()]
    )


def _read_model(model: Json) -> Model:
    return Model(
        id=model["name"].rpartition("models/")[2],
        owned_by="google",
        context_window=model.get("inputTokenLimit"),
        raw=model,
    )


def _write_model(model: Model) -> Json:
    out: Json = {
        "name": f"models/{model.id}",
        "displayName": model.id,
        "supportedGenerationMethods": ["generateContent", "embedContent"],
    }
    if model.context_window is not None:
        out["inputTokenLimit"] = model.context_window
    return out


def _write_embeddings(request: Request | None, answer: Embeddings) -> Json:
    native = None if request is None else request.native(FORMAT)
    if native is not None and "content" in native:
        return {"embedding": {"values": answer.vectors[0]}}  # as `:embedContent` answers
    if native is not None and "instances" in native:
        return {"predictions": [{"embeddings": {"values": vector}} for vector in answer.vectors]}
    out: Json = {"embeddings": [{"values": vector} for vector in answer.vectors]}
    if answer.usage.input_tokens is not None:
        out["usageMetadata"] = {"promptTokenCount": answer.usage.input_tokens}
    return out


_WRITERS: dict[type[Answer], Callable[[Any], Json]] = {
    Response: _write_answer,
    Models: lambda answer: {"models": [_write_model(model) for model in answer.data]},
    TokenCount: lambda answer: {"totalTokens": answer.input_tokens},
}
