"""Amazon Bedrock's Converse, told in terms of OpenAI's chat and back.

What both formats have is translated. What only one of them has follows four rules:

* Bedrock's own parameters, tools and content blocks stand in a request of ours as they are, and pass as they are. A
  content part or a tool without a `type` is Bedrock's own. So a request that was read here is written here again with
  the same meaning.
* What a turn of the model holds beside a text and tool calls comes back in the message and goes out again: signed
  thoughts in `thinking_blocks`, as Anthropic writes them, and what ran at Amazon's in `bedrock_content`.
* An OpenAI parameter that Converse cannot express is refused by name, unless its value asks for nothing or it is a hint
  that changes no answer (`anthropic_requests.NEUTRAL`, `bedrock_requests.HINTS`). What changes an answer is never
  dropped.
* Left out: the `name` of a speaker, the `detail` of an image, a filename's forbidden characters, and reasoning without
  a signature (another model's; most refuse it).

Beside this room: `bedrock_requests`, `bedrock_streams`, `bedrock_embeddings`, `bedrock_errors`, `aws_frames` for the
framing and `bedrock_words` for what they share; answers are here. An answer of Bedrock's has no id and names no model;
it is given the name of the model that was asked.

Sources, checked 2026-11-20: the service model of `bedrock-runtime` in `botocore` 1.44.5,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ..errors import BadRequest, GatewayError
from ..types.media import TokenCount
from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Embeddings, Response, ToolCall
from ..types.wire import encode
from .answering import answered, first, json_or_text, written
from .base import Dialect, Quirks, StreamReader, StreamWriter, Written
from .bedrock_counting import read_counting, write_count, write_counting
from .bedrock_embeddings import read_embed, read_embeddings, write_embed, write_embeddings
from .bedrock_errors import error_of, write_error
from .bedrock_requests import FORMAT, read_chat, told, write_chat
from .bedrock_streams import Reader, Writer
from .bedrock_words import (
    FINISH,
    KEPT,
    THOUGHTS,
    Json,
    add_citation,
    citation_of,
    must_return,
    reasoning_of,
    runs_there,
    stop_reason,
    thought_of,
    tool_use,
    usage_of,
    write_thought,
    write_usage,
)
from .media_words import read_count
from .shapes import encoded, heard

__all__ = ["Bedrock"]

_READERS: Mapping[Verb, Callable[[Any], Request]] = {
    "chat": read_chat,
    "embed": read_embed,
    "count_tokens": read_counting,
}


class Bedrock(Dialect):
    """
    The Converse API, and the embeddings of Titan, Nova and Cohere, whose bodies are their makers' own.

    It has no text completions, and a chat would not be one. Its models are listed at another host.
    """

    name: str = "bedrock"
    verbs: frozenset[Verb] = frozenset({"chat", "embed", "request", "count_tokens"})

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        verb = request.verb
        if verb == "request":
            return Written(request.method, request.path, request.encoded)
        # An ARN holds slashes and colons; all of it is one step of the path.
        place = f"/model/{quote(request.model, safe='')}"
        if verb == "embed":
            return Written("POST", f"{place}/invoke", encoded(write_embed(request), request))
        if verb == "count_tokens":
            return Written("POST", f"{place}/count-tokens", encoded(write_counting(request), request))
        if verb != "chat":
            raise BadRequest(f"{verb}: Bedrock has only {', '.join(sorted(self.verbs))}; name another provider")
        body = quirks.bend(write_chat(request))
        return Written(
            "POST", f"{place}/converse-stream" if request.stream else f"{place}/converse", encoded(body, request)
        )

    def read_request(self, verb: Verb, data: Any) -> Request:
        if verb == "models":
            raise BadRequest("models: Bedrock lists them at another host")
        return heard(FORMAT, verb, data, _READERS, model="modelId")

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        return answered(request, body, _read)

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """
        The answer as Bedrock would send it.

        Raises:
            BadRequest: For what this API has no words for.
        """
        return written("Bedrock", answer, _WRITERS)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_of(status, headers, json_or_text(body))

    def write_error(self, error: GatewayError) -> tuple[int, dict[str, str], Json]:
        return write_error(error)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader(request.model)

    def writer(self, request: Request) -> StreamWriter:
        return Writer()


def _read(request: Request, data: Json) -> Answer:
    if request.verb == "embed":
        return read_embeddings(data, request.model)
    if request.verb == "count_tokens" and "inputTokens" in data:
        return read_count(request, data, "inputTokens")
    if "output" not in data and data.keys() & {"message", "Message", "__type", "Output"}:
        raise error_of(None, {}, data)
    return _read_answer(data, request.model)


def _read_answer(data: Json, model: str) -> Response:
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    citations: list[str] = []
    thoughts: list[Json] = []
    kept: list[Json] = []
    for block in data["output"]["message"].get("content") or ():
        if "text" in block:
            text.append(block["text"])
        elif "toolUse" in block and not runs_there(block["toolUse"]):
            call = block["toolUse"]
            calls.append(
                ToolCall(call["toolUseId"], call["name"], encode(call.get("input") or {}).decode(), len(calls))
            )
        elif "reasoningContent" in block:
            reasoning.append(reasoning_of(block["reasoningContent"]))
            thought = thought_of(block["reasoningContent"])
            if must_return(thought):
                thoughts.append(thought)
        elif "citationsContent" in block:
            cited = block["citationsContent"]
            text += [part["text"] for part in cited.get("content") or ()]
            for citation in cited.get("citations") or ():
                add_citation(citation, citations)
        else:
            kept.append(block)
    stop = data.get("stopReason")
    extra: Json = {THOUGHTS: thoughts} if thoughts else {}
    if kept:
        extra[KEPT] = kept
    choice = Choice(
        text="".join(text),
        reasoning="".join(reasoning),
        tool_calls=calls,
        citations=citations,
        finish_reason=None if stop is None else FINISH.get(stop, "stop"),
        native_finish_reason=stop,
        extra=extra,
    )
    routed = ((data.get("trace") or {}).get("promptRouter") or {}).get("invokedModelId")
    return Response(model=routed or model, usage=usage_of(data.get("usage") or {}), raw=data, choices=[choice])


def _write_answer(answer: Response) -> Json:
    """Of several choices the first, for Converse has one and nobody can ask it for more."""
    choice = first(answer)
    content = [write_thought(thought) for thought in choice.extra.get(THOUGHTS) or ()]
    if choice.reasoning and not any(block["reasoningContent"].get("reasoningText") for block in content):
        content.insert(0, {"reasoningContent": {"reasoningText": {"text": choice.reasoning}}})
    content += choice.extra.get(KEPT) or ()
    if choice.citations:
        cited = {"content": [{"text": choice.text}], "citations": [citation_of(url) for url in choice.citations]}
        content.append({"citationsContent": cited})
    elif choice.text:
        content.append({"text": choice.text})
    if choice.refusal:
        content.append({"text": choice.refusal})
    content += [{"toolUse": tool_use(answer.id, call)} for call in choice.tool_calls]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason(choice.finish_reason, choice.native_finish_reason, choice.refusal),
        "usage": write_usage(answer.usage),
        "metrics": {"latencyMs": 0},
    }


_WRITERS: Mapping[type[Answer], Callable[[Any], Json]] = {
    Response: _write_answer,
    Embeddings: write_embeddings,
    TokenCount: write_count,
}
