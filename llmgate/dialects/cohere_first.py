"""
Version 1 of Cohere's chat, as Bedrock still speaks it: requests, and what is answered to them.

A turn is one text, said in `message` after what stands in `chat_history` and `preamble`. Tools, documents and whatever
else is Cohere's own pass as they are; OpenAI's tools are refused, for its tools know no JSON schema.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command-r-plus.html (checked
2026-11-20). Answers of this version are read where those of version 2 are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from ..types.response import Chunk, Response
from .answering import first, pieces
from .cohere_requests import NAMES
from .cohere_words import finish_reason
from .foreign import understood
from .openai_words import Json, text_of
from .shapes import MISSHAPEN, misshapen
from .unsaid import HINTS, NEUTRAL, refused

__all__ = ["FirstWriter", "read_first", "write_first", "write_first_answer"]

ROLES: Mapping[str, str] = MappingProxyType({"user": "USER", "assistant": "CHATBOT", "system": "SYSTEM"})

_NAMES: Mapping[str, str] = MappingProxyType(
    {**NAMES, "max_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "stop": "stop_sequences"}
)


def write_first(request: Request) -> Json:
    """
    The body of a chat.

    Raises:
        BadRequest: If it cannot be said so; the message names the parameter or the message.
    """
    given = understood(request, "")
    out: Json = {}
    name = "messages"
    try:
        _write_messages(out, given["messages"])
        for name, value in given.items():
            if value is None or name == "messages" or name in HINTS:
                continue
            if name in _NAMES:
                out[_NAMES[name]] = [value] if name == "stop" and isinstance(value, str) else value
            elif name == "tools" and any("function" in tool for tool in value):
                raise refused("tools", "version 1 of Cohere's chat")
            elif name in _UNSAID and value not in _UNSAID[name]:
                raise refused(name, "version 1 of Cohere's chat")
            elif name not in _UNSAID:
                out[name] = value
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    return out


_UNSAID: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        **NEUTRAL,
        "logprobs": (False,),
        "reasoning_effort": ("none",),
        "response_format": ({"type": "text"},),
        "tool_choice": ("auto",),
        "top_logprobs": (0,),
    }
)


def _write_messages(out: Json, messages: Any) -> None:
    history: list[Json] = []
    for position, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        role = "system" if role == "developer" else role
        if role not in ROLES or message.get("tool_calls"):
            raise BadRequest(
                f"messages[{position}]: version 1 of Cohere's chat takes texts of user, assistant and system"
            )
        if isinstance(content, list) and any(part["type"] != "text" for part in content):
            raise BadRequest(f"messages[{position}]: version 1 of Cohere's chat takes nothing but text")
        said = text_of(content)[0] if isinstance(content, list) else content or ""
        if role == "system" and not history and "preamble" not in out:
            out["preamble"] = said
        else:
            history.append({"role": ROLES[role], "message": said})
    if not history or history[-1]["role"] != ROLES["user"]:
        raise BadRequest("messages: the last one has to be the user's")
    out["message"] = history.pop()["message"]
    if history:
        out["chat_history"] = history


def read_first(data: Any) -> Request:
    """
    The chat that a body asks for.

    Raises:
        BadRequest: If it is none.
    """
    name = "the request"
    try:
        messages = [{"role": "system", "content": data["preamble"]}] if data.get("preamble") else []
        for turn in data.get("chat_history") or ():
            messages.append({"role": _OURS[turn["role"].upper()], "content": turn["message"]})
        messages.append({"role": "user", "content": data["message"]})
        body: Json = {"messages": messages}
        for name, value in data.items():
            if name not in _APART:
                body[_BACK.get(name, name)] = value
        return Request("chat", data.get("model") or "", body, data.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


_APART = frozenset({"chat_history", "message", "model", "preamble", "stream"})
_OURS: Mapping[str, str] = {theirs: ours for ours, theirs in ROLES.items()}
_BACK: Mapping[str, str] = {theirs: ours for ours, theirs in _NAMES.items() if ours != "max_completion_tokens"}


def write_first_answer(answer: Response) -> Json:
    """The answer, without calls of tools: there are none that could have been asked for."""
    choice = first(answer)
    return {
        "response_id": answer.id,
        "generation_id": answer.id,
        "text": choice.text + (choice.refusal or ""),
        "chat_history": [],
        "finish_reason": finish_reason(choice.finish_reason, choice.native_finish_reason),
    }


class FirstWriter:
    """Makes the events of one stream."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer = Response()

    def feed(self, chunk: Chunk) -> list[Json]:
        if chunk.whole is not None:
            return [event for piece in pieces("Cohere", chunk.whole) for event in self.feed(piece)]
        if chunk.index > 0:
            return []  # there is one choice, and nobody can ask for more
        answer, choice = self._answer, self._answer.choices[0]
        answer.id = answer.id or chunk.id
        choice.finish_reason = chunk.finish_reason or choice.finish_reason
        choice.native_finish_reason = chunk.native_finish_reason or choice.native_finish_reason
        text = chunk.text + (chunk.refusal or "")
        if not text:
            return []
        choice.text += text
        return [{"is_finished": False, "event_type": "text-generation", "text": text}]

    def end(self) -> list[Json]:
        whole = write_first_answer(self._answer)
        return [
            {
                "is_finished": True,
                "event_type": "stream-end",
                "response": whole,
                "finish_reason": whole["finish_reason"],
            }
        ]
