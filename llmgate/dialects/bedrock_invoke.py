"""
Bedrock's InvokeModel: Amazon's door to the bodies that each maker's models take and give, told in terms of OpenAI's
chat and back.

* Claude's are Anthropic's Messages, Nova's are those of Converse, and the younger makers' are OpenAI's chat.
* Titan, Llama, the older Mistral, Command, Claude and Jurassic continue a text (`bedrock_prompts`): they are asked for
  `complete`. A chat they have to be laid out for, and Converse does that.
* Command R's are version 1 of Cohere's chat (`cohere_first`).
* Embeddings are those of `bedrock`, errors as well.

What is asked is written for the model, as far as its name tells who made it. What is answered, or read from a caller,
tells by its keys whose it is. A stream wraps each event of the maker's in one of Amazon's (`bedrock_chunks`).

Sources, checked 2026-11-20: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html and the pages
below it, https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from ..errors import BadRequest
from ..types.request import Request, Verb
from ..types.response import Answer, Response
from . import bedrock_prompts as prompts
from .answering import answered
from .anthropic_messages import AnthropicMessages
from .anthropic_requests import betas_of, read_hosted, write_hosted
from .base import Quirks, StreamReader, StreamWriter, Written
from .bedrock import Bedrock
from .bedrock_chunks import Reader, Writer, openais
from .bedrock_makers import (
    ANTHROPICS,
    CONVERSES,
    FIRSTS,
    OPENAIS,
    WORDS,
    Maker,
    asked_in,
    format_of,
    of_answer,
    of_body,
    of_model,
    of_request,
)
from .bedrock_requests import FIELDS, FORMAT, read_chat, write_chat
from .cohere import Cohere
from .cohere_first import read_first, write_first, write_first_answer
from .openai_chat import OpenAIChat
from .openai_words import Json
from .shapes import encoded, heard, restated

__all__ = ["VERSION", "BedrockInvoke"]

VERSION = "bedrock-2023-05-31"
"""Sent to Claude as `anthropic_version`: the one that Amazon documents."""

OF_NOVA = {"max_new_tokens": "maxTokens", "stop_sequences": "stopSequences", "top_k": "topK", "top_p": "topP"}
"""What Nova also calls things in its `inferenceConfig`."""

LIMITED = Quirks(stream_usage=False, max_tokens="max_tokens")
"""What the makers that follow OpenAI call the limit; OpenAI's own models go by either name."""

INVOKED = frozenset({"chat", "complete"})
"""What a model is invoked for in words that are not Bedrock's."""

APART = frozenset({"model", "modelId", "stream"})
"""Keys of a body that Amazon reads in the address."""

MESSAGES, CHAT, COHERE, CONVERSE = AnthropicMessages(), OpenAIChat(), Cohere(), Bedrock()


class BedrockInvoke(Bedrock):
    """InvokeModel and InvokeModelWithResponseStream."""

    name: str = "bedrock_invoke"
    verbs: frozenset[Verb] = Bedrock.verbs | frozenset[Verb]({"complete"})

    def format(self, verb: Verb, model: str = "") -> str:
        return format_of(of_model(model, verb)) if verb in INVOKED else FORMAT

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        if request.verb not in INVOKED:
            return super().write_request(request, quirks)
        place = f"/model/{quote(request.model, safe='')}/invoke"
        return Written("POST", f"{place}-with-response-stream" if request.stream else place, _written(request))

    def read_request(self, verb: Verb, data: Any) -> Request:
        """What is asked for, told by the body: whoever invokes a model for a chat may ask for a completion."""
        if verb not in INVOKED or not isinstance(data, dict):
            return super().read_request(verb, data)
        words = asked_in(data.get("modelId") or "", data)
        verb = "complete" if isinstance(words, Maker) else "chat"
        return heard(format_of(words), verb, data, _READERS, model="modelId")

    def told(self, name: str, value: Any) -> Json | None:
        # What Converse is told for the model itself, stands here by itself.
        asked = (
            (MESSAGES, name, value),
            (COHERE, name, value),
            (CONVERSE, name, value),
            (CONVERSE, FIELDS, {name: value}),
        )
        return next((told for own, word, said in asked if (told := own.told(word, said)) is not None), None)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        if request.verb not in INVOKED:
            return super().read_response(request, body, quirks)
        return answered(request, body, partial(self._read, body, quirks))

    def _read(self, body: bytes, quirks: Quirks, request: Request, data: Any) -> Answer:
        words = of_answer(data)
        if isinstance(words, Maker):
            return prompts.read_answer(data, words, request.model)
        if words == ANTHROPICS:
            return MESSAGES.read_response(request, body, quirks)
        if words == FIRSTS:
            answer = COHERE.read_response(request, body, quirks)
            answer.model = request.model
            return answer
        if words == OPENAIS:
            return CHAT.read_response(request, openais(data, body), quirks)
        return super().read_response(request, body, quirks)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as the maker of the model would send it that was asked; without a request, of the one that answered.

        Raises:
            BadRequest: For what this API has no words for.
        """
        if not isinstance(answer, Response):
            return super().write_response(answer, request)
        if request is None:
            words = of_model(answer.model, "complete") or of_model(answer.model) or OPENAIS
        else:
            words = of_request(request)
        if isinstance(words, Maker):
            return prompts.write_answer(answer, words)
        if words == ANTHROPICS:
            return MESSAGES.write_response(answer)
        if words == FIRSTS:
            return write_first_answer(answer)
        return super().write_response(answer) if words == CONVERSES else CHAT.write_response(answer)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader(request, quirks)

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request)


def _read_chat(data: Json) -> Request:
    words = of_body(data)
    if words == ANTHROPICS:
        betas = data.get("anthropic_beta")
        rest = {name: value for name, value in data.items() if name != "anthropic_beta"}
        return read_hosted(rest | ({"betas": betas} if betas else {}), VERSION)
    if words == CONVERSES:
        return _read_nova(data)
    if words == FIRSTS:
        return read_first(data)
    return CHAT.read_request("chat", {**data, "tool_choice": "required"} if data.get("tool_choice") == "any" else data)


_READERS: Mapping[Verb, Callable[[Any], Request]] = {"chat": _read_chat, "complete": prompts.read_complete}


def _written(request: Request) -> bytes:
    model, verb = request.model, request.verb
    words = of_model(model, verb)
    native = request.native(format_of(words)) if words else _native(request)
    if native is not None:
        streams = isinstance(words, Maker) and words.streams
        return encoded(restated(native, request, APART - {"stream"} if streams else APART), request)
    if verb == "complete":
        if not isinstance(words, Maker):
            raise BadRequest(f"complete: {model} has only chats")
        return encoded(prompts.write_complete(request, words), request)
    if isinstance(words, Maker):
        raise BadRequest(
            f"chat: {model} continues a text; ask for complete, or over Converse, which lays a chat out for it"
        )
    if words == ANTHROPICS:
        return encoded(_write_claude(request), request)
    if words == CONVERSES:
        return encoded(_write_nova(request), request)
    if words == FIRSTS:
        return encoded(write_first(request), request)
    if not words:
        raise BadRequest("model: this ARN tells no maker; ask over Converse, which is the same for all")
    if "mistral." in model and request.body.get("tool_choice") == "required":
        request = request.but(tool_choice="any")  # as Mistral says it
    plain = Request("chat", "", request.body, False, request.encoded, spoken=request.spoken)
    return CHAT.write_request(plain, Quirks() if "openai." in model else LIMITED).body


def _native(request: Request) -> Any:
    """What a caller said to a model that tells no maker: whoever asks it knows."""
    return next((body for words in WORDS if (body := request.native(format_of(words))) is not None), None)


def _write_claude(request: Request) -> Json:
    body = write_hosted(request, VERSION)
    body.pop("stream", None)  # the address says it
    for _, betas in betas_of(request):
        body["anthropic_beta"] = betas.split(",")
    return body


def _write_nova(request: Request) -> Json:
    """Converse's body, but that what goes to the model itself has arrived there."""
    body = write_chat(request)
    fields = dict(body.pop(FIELDS, {}))
    config = body.pop("inferenceConfig", {})
    if "top_k" in fields:
        config["topK"] = fields.pop("top_k")
    config |= fields.pop("inferenceConfig", {})
    body |= fields
    return body | ({"inferenceConfig": config} if config else {})


def _read_nova(data: Json) -> Request:
    config = data.get("inferenceConfig")
    if isinstance(config, dict):
        data = {**data, "inferenceConfig": {OF_NOVA.get(name, name): value for name, value in config.items()}}
    return read_chat(data)
