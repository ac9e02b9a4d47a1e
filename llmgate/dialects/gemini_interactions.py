"""Google's Interactions, told in terms of OpenAI's chat and back.

An interaction is a list of steps: what the user said, what the model thought, said and called, what tools brought. The
models are those of `generateContent`, and so are embeddings, lists of models and errors. What only one of the two
formats has follows four rules:

* Google's own parameters (`previous_interaction_id`, `agent`, `background`, `store`, …), tools and content stand in a
  request of ours as they are, and pass as they are; what belongs into `generation_config` may be given as that.
* What a turn of the model holds beside a text and calls comes back in `extra_content.google.steps` and goes out again as
  it was, as long as the message still says what it said.
* An OpenAI parameter that this API cannot express is refused by name, unless its value asks for nothing or it is a hint
  that changes no answer (`unsaid`).
* Left out: the `name` of a speaker and of a `json_schema`, and reasoning, which Google does not want back without its
  signature.

Google keeps an interaction for later ones unless the request says `store: false`. One that runs in the background has
no answer yet; its `id` asks for it later, with `request`.

Beside this room: `interactions_requests`, `interactions_streams`, and `interactions_words` for what they share; answers
are here.

Sources, checked 2026-11-20: https://ai.google.dev/gemini-api/docs/interactions, the types of the `google-genai` package
3.4, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..types.request import Request, Verb
from ..types.response import Answer, Choice, Response
from ..types.usage import Usage
from .answering import answered, first
from .base import Quirks, StreamReader, StreamWriter, Written
from .gemini import Gemini
from .gemini_errors import error_of
from .gemini_requests import FORMAT as GEMINIS
from .interactions_requests import FORMAT, read_chat, told, write_chat
from .interactions_streams import Reader, Writer, failure_of
from .interactions_words import (
    finish_of,
    kept_steps,
    read_steps,
    said,
    status_of,
    step_of_call,
    usage_of,
    write_usage,
)
from .openai_words import Json
from .shapes import encoded, heard

__all__ = ["GeminiInteractions"]


class GeminiInteractions(Gemini):
    """The Interactions API, with what the Gemini API has beside it."""

    name: str = "gemini_interactions"

    def format(self, verb: Verb, model: str = "") -> str:
        return FORMAT if verb == "chat" else GEMINIS

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        if request.verb != "chat":
            return super().write_request(request, quirks)
        path = "/interactions?alt=sse" if request.stream else "/interactions"
        return Written("POST", path, encoded(write_chat(request), request))

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(FORMAT, verb, data, _READERS) if verb == "chat" else super().read_request(verb, data)

    def told(self, name: str, value: Any) -> Json | None:
        return told(name, value)

    def read_response(self, request: Request, body: bytes, quirks: Quirks) -> Answer:
        return (
            answered(request, body, _read) if request.verb == "chat" else super().read_response(request, body, quirks)
        )

    def write_response(self, answer: Answer, request: Request | None = None) -> Json:
        return _write_answer(answer) if isinstance(answer, Response) else super().write_response(answer, request)

    def reader(self, request: Request, quirks: Quirks) -> StreamReader:
        return Reader()

    def writer(self, request: Request) -> StreamWriter:
        return Writer(request, _write_answer)


_READERS: Mapping[Verb, Callable[[Any], Request]] = {"chat": read_chat}


def _read(request: Request, data: Any) -> Answer:
    if isinstance(data, list):
        data = data[0]
    if "status" not in data and "error" in data:
        raise error_of(None, {}, data)
    return _read_answer(data)


def _read_answer(data: Json) -> Response:
    status = data["status"]
    if status == "failed":
        raise failure_of(data)
    id = data.get("id") or ""
    # Before May 2026 they were `outputs`, without steps around the content.
    text, reasoning, calls, citations, extra = read_steps(data.get("steps") or data.get("outputs") or [], id)
    finish, native = finish_of(status, bool(calls))
    choice = Choice(0, text, reasoning, calls, None, citations, finish, native, extra=extra)
    counts, created = data.get("usage"), data.get("created")
    return Response(
        id=id,
        model=data.get("model") or data.get("agent") or "",
        usage=usage_of(counts) if counts else Usage(),
        raw=data,
        choices=[choice],
        created=int(datetime.fromisoformat(created).timestamp()) or None if created else None,
    )


def _write_answer(answer: Response) -> Json:
    """Of several choices the first, for there is one answer and nobody can ask for more."""
    choice = first(answer)
    steps = kept_steps(choice.extra)
    if not steps:
        output = said([choice.text, choice.refusal])
        if output and choice.citations:
            output["content"][0]["annotations"] = [{"type": "url_citation", "url": url} for url in choice.citations]
        steps = [*([output] if output else ()), *(step_of_call(call) | {"id": call.id} for call in choice.tool_calls)]
    if choice.reasoning and not any(step.get("summary") for step in steps):
        steps = [{"type": "thought", "summary": [{"type": "text", "text": choice.reasoning}]}, *steps]
    out: Json = {
        "id": answer.id,
        "object": "interaction",
        "model": answer.model,
        "status": status_of(choice.finish_reason, choice.native_finish_reason),
        "steps": steps,
    }
    usage = write_usage(answer.usage)
    return out | {"usage": usage} if usage else out
