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

from typing import Any
from urllib.parse import quote

from ..errors import BadRequest, ProtocolError
from ..types.request import Request, Verb
from ..types.response import Answer, Response
from ..types.wire import loads
from . import bedrock_prompts as prompts
from .anthropic_messages import AnthropicMessages
from .anthropic_requests import read_hosted, write_hosted
from .base import Quirks, StreamReader, StreamWriter, Written
from .bedrock import Bedrock
from .bedrock_chunks import ANTHROPICS, FIRSTS, OPENAIS, Reader, Writer, family_of, openais
from .bedrock_requests import FIELDS, read_chat, write_chat
from .cohere import Cohere
from .cohere_first import read_first, write_first, write_first_answer
from .openai_chat import OpenAIChat
from .openai_words import Json, excerpt
from .shapes import MISSHAPEN, encoded

__all__ = ["VERSION", "BedrockInvoke"]

VERSION = "bedrock-2023-05-31"
"""Sent to Claude as `anthropic_version`: the one that Amazon documents."""

OF_NOVA = {"max_new_tokens": "maxTokens", "stop_sequences": "stopSequences", "top_k": "topK", "top_p": "topP"}
"""What Nova also calls things in its `inferenceConfig`."""

LIMITED = Quirks(stream_usage=False, max_tokens="max_tokens")
"""What the makers that follow OpenAI call the limit; OpenAI's own models go by either name."""

MESSAGES, CHAT, COHERE = AnthropicMessages(), OpenAIChat(), Cohere()


class BedrockInvoke(Bedrock):
    """InvokeModel and InvokeModelWithResponseStream."""

    name: str = "bedrock_invoke"
    verbs: frozenset[Verb] = frozenset({"chat", "complete", "embed", "request"})

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        if request.verb not in ("chat", "complete"):
            return super().write_request(request, quirks)
        place = f"/model/{quote(request.model, safe='')}/invoke"
        body = _write_complete(request) if request.verb == "complete" else _write_chat(request)
        return Written("POST", f"{place}-with-response-stream" if request.stream else place, body)

    def read_request(self, verb: Verb, data: Any) -> Request:
        """What is asked for, told by the body: whoever invokes a model for a chat may ask for a completion."""
        if verb not in ("chat", "complete"):
            return super().read_request(verb, data)
        if not isinstance(data, dict):
            raise BadRequest("the body must be a JSON object")
        if "prompt" in data or "inputText" in data:
            return prompts.read_complete(data)
        if "message" in data:
            return read_first(data)
        if "anthropic_version" in data:
            betas = data.get("anthropic_beta")
            rest = {name: value for name, value in data.items() if name != "anthropic_beta"}
            return read_hosted(rest | ({"betas": betas} if betas else {}), VERSION)
        return _read_nova(data) if _is_nova(data) else CHAT.read_request("chat", data)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        if request.verb not in ("chat", "complete"):
            return super().read_response(request, body, quirks)
        try:
            data = loads(body)
        except ValueError:
            raise ProtocolError(f"the upstream sent no JSON, but: {excerpt(body)}") from None
        try:
            family = family_of(data)
            if family == ANTHROPICS:
                return MESSAGES.read_response(request, body, quirks)
            if family == FIRSTS:
                answer = COHERE.read_response(request, body, quirks)
                answer.model = request.model
                return answer
            if family == OPENAIS:
                return CHAT.read_response(request, openais(data, body), quirks)
            maker = prompts.maker_that_says(data)
            if maker is not None:
                return prompts.read_answer(data, maker, request.model)
        except MISSHAPEN as error:
            raise ProtocolError(f"the upstream sent no answer, but: {excerpt(body)}") from error
        return super().read_response(request, body, quirks)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as the maker of the model would send it that was asked; without a request, of the one that answered.

        Raises:
            BadRequest: For what this API has no words for.
        """
        model = answer.model if request is None else request.model or answer.model
        if not isinstance(answer, Response) or "amazon.nova" in model:
            return super().write_response(answer, request)
        maker = prompts.maker_of(model)
        if maker is not None:
            return prompts.write_answer(answer, maker)
        if "claude" in model:
            return MESSAGES.write_response(answer)
        return write_first_answer(answer) if "cohere.command-r" in model else CHAT.write_response(answer)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader(request, quirks)

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request)


def _write_complete(request: Request) -> bytes:
    maker = prompts.maker_of(request.model)
    if maker is None:
        raise BadRequest(f"complete: {request.model} has only chats")
    return encoded(prompts.write_complete(request, maker), request)


def _write_chat(request: Request) -> bytes:
    model = request.model
    if prompts.maker_of(model) is not None:
        raise BadRequest(
            f"chat: {model} continues a text; ask for complete, or over Converse, which lays a chat out for it"
        )
    if "claude" in model:
        body = write_hosted(request, VERSION)
        body.pop("stream", None)  # the address says it
        betas = request.body.get("betas")
        if betas:
            body["anthropic_beta"] = betas.split(",") if isinstance(betas, str) else betas
        return encoded(body, request)
    if "amazon.nova" in model:
        return encoded(_write_nova(request), request)
    if "cohere.command-r" in model:
        return encoded(write_first(request), request)
    if model.startswith("arn:") and "." not in model:
        raise BadRequest(
            "model: this ARN does not tell who made the model; ask over Converse, which is the same for all"
        )
    body = request.body
    if "mistral." in model and body.get("tool_choice") == "required":
        request = request.but(tool_choice="any")
    plain = Request("chat", "", request.body, False, request.encoded)
    return CHAT.write_request(plain, Quirks() if "openai." in model else LIMITED).body


def _write_nova(request: Request) -> Json:
    """Converse's body, but that what goes to the model itself has arrived there."""
    body = write_chat(request)
    fields = body.pop(FIELDS, {})
    config = body.pop("inferenceConfig", {})
    if "top_k" in fields:
        config["topK"] = fields.pop("top_k")
    config |= fields.pop("inferenceConfig", {})
    body |= fields
    return body | ({"inferenceConfig": config} if config else {})


def _is_nova(data: Json) -> bool:
    if data.keys() & {"inferenceConfig", "schemaVersion", "toolConfig"}:
        return True
    try:
        contents = [message["content"] for message in data["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return bool(parts) and not any("type" in part for part in parts)
    except MISSHAPEN:
        return False


def _read_nova(data: Json) -> Request:
    config = data.get("inferenceConfig")
    if isinstance(config, dict):
        data = {**data, "inferenceConfig": {OF_NOVA.get(name, name): value for name, value in config.items()}}
    return read_chat(data)
