"""OpenAI's Responses API, told in terms of OpenAI's chat and back. Everything but the chat is as in `openai_chat`.

What both formats have is translated. What only one of them has follows three rules:

* Parameters, tools, parts and items of Responses stand in a request of ours as they are, and pass as they are. A request
  that was read here and that nobody touched is written as it came; a touched one is written with the same meaning.
* A parameter of chat that Responses cannot express is refused by name, unless its value asks for nothing or it is a
  hint that changes no answer (`NEUTRAL` and `HINTS` in `responses_requests`). What changes an answer is never dropped.
* Left out: the `name` of a speaker, and reasoning that is no item of Responses (another model's; it has no place there).

What an answer holds that a message of chat cannot say stays with the message as `output_items` and goes back in its
place, as long as the message still says what they say (`responses_words`). Items that the caller has to add to a
conversation and chat has no words for (an approval, the output of a shell) may stand between its messages as they are.

Two defaults differ. A function of chat that says nothing of `strict` is loose, and here it would be strict: so it is
said. Whether an answer is stored (chat: no, Responses: yes) is left to the caller's `store`, because reasoning that was
not stored comes back only to those who ask for `reasoning.encrypted_content`.

Three rooms stand beside this one: `responses_words`, `responses_requests` and `responses_streams`; answers are here.

Sources, checked 2026-11-20: the types of the `openai` package 3.52,
https://platform.openai.com/docs/api-reference/responses, …/docs/guides/migrate-to-responses, and recorded answers of
OpenAI, Azure, xAI, OpenRouter, DeepSeek, Bedrock, Copilot and ChatGPT.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Response
from ..types.usage import Usage
from .answering import answered, first
from .base import Quirks, StreamReader, StreamWriter, Written
from .openai_chat import OpenAIChat
from .openai_errors import error_of, is_error
from .openai_words import Json, usage_of
from .responses_counting import read_counting
from .responses_requests import FORMAT, read_chat, told, write_chat
from .responses_streams import Reader, Writer, failure
from .responses_words import (
    KEPT,
    agree,
    call_item,
    envelope,
    finish_of,
    item_id,
    message_item,
    read_output,
    summary_item,
    text_part,
    write_usage,
)
from .shapes import MISSHAPEN, encoded, heard

__all__ = ["OpenAIResponses"]


class OpenAIResponses(OpenAIChat):
    """The Responses API for chats, and for everything else what OpenAI has beside it."""

    name: str = "openai_responses"
    verbs: frozenset[Verb] = OpenAIChat.verbs | frozenset[Verb](("count_tokens",))

    def format(self, verb: Verb, model: str = "") -> str:
        return FORMAT if verb in _READERS else super().format(verb, model)

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        if request.verb != "chat":
            return super().write_request(request, quirks)
        body = quirks.bend(write_chat(request))
        return Written("POST", quirks.paths.get("chat") or "/responses", encoded(body, request))

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(FORMAT, verb, data, _READERS) if verb in _READERS else super().read_request(verb, data)

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        return (
            answered(request, body, _read) if request.verb == "chat" else super().read_response(request, body, quirks)
        )

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        """The answer as OpenAI would send it: a Response for a chat, and what chat's dialect writes for any other verb."""
        if isinstance(answer, Response) and (request is None or request.verb == "chat"):
            return _write_response(answer)
        return super().write_response(answer, request)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader(request, quirks) if request.verb == "chat" else super().reader(request, quirks)

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request) if request.verb == "chat" else super().writer(request)


_READERS: Mapping[Verb, Callable[[Any], Request]] = {"chat": read_chat, "count_tokens": read_counting}


def _read(request: Request, data: Any) -> Answer:
    try:
        if data.get("error") or data.get("status") == "failed":
            raise failure(data)
        return _read_response(data)
    except MISSHAPEN:
        if is_error(data):
            raise error_of(None, {}, data) from None
        raise


def _read_response(data: Json) -> Response:
    id = data.get("id") or ""
    choice = read_output(data["output"], id)
    choice.finish_reason, choice.native_finish_reason = finish_of(data, bool(choice.tool_calls))
    counts, created = data.get("usage"), data.get("created_at")
    return Response(
        id=id,
        model=data.get("model") or "",
        usage=usage_of(data, counts, True) if counts else Usage(),
        raw=data,
        choices=[choice],
        created=None if created is None else int(created),
    )


def _write_response(answer: Response) -> Json:
    """The answer as a Response. Of several choices the first, for Responses has one and nobody can ask it for more."""
    choice = first(answer)
    created = int(time.time()) if answer.created is None else answer.created
    output, usage = _output(answer.id, choice), write_usage(answer.usage)
    return envelope(answer.id, answer.model, created, finish=choice.finish_reason, output=output, usage=usage)


def _output(id: str, choice: Choice) -> list[Json]:
    kept: list[Json] | None = choice.extra.get(KEPT)
    calls = [(call.id, call.name, call.arguments) for call in choice.tool_calls]
    if kept and agree(kept, choice.text, choice.refusal, calls):
        return kept
    output: list[Json] = []
    if choice.reasoning:
        output.append(summary_item(item_id("rs", id, 0), choice.reasoning))
    content: list[Json] = []
    if choice.text or choice.citations:
        logprobs = choice.logprobs.get("content") if isinstance(choice.logprobs, dict) else None
        content.append(text_part(choice.text, choice.citations, logprobs or ()))
    if choice.refusal:
        content.append({"type": "refusal", "refusal": choice.refusal})
    if content:
        output.append(message_item(item_id("msg", id, len(output)), "completed", content))
    for call in choice.tool_calls:
        output.append(call_item(item_id("fc", id, len(output)), id, call, "completed"))
    return output
