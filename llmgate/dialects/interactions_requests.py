"""A chat as OpenAI asks for it, said as Google's Interactions want it asked, and back.

The rules of what passes, what is refused and what is left out stand in `gemini_interactions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from ..types.response import ToolCall
from ..types.wire import encode
from .foreign import understood
from .gemini_requests import LEVELS, read_part, write_part
from .gemini_words import json_object
from .interactions_words import kept_steps, read_steps, said, step_of_call
from .openai_words import MADE_ID, Json, arguments_of, call_id
from .shapes import MISSHAPEN, each, misshapen, restated, unmarked
from .thinking import effort_of
from .unsaid import HINTS, NEUTRAL, Unsaid, refused

__all__ = ["FORMAT", "read_chat", "write_chat"]

FORMAT = "gemini_interactions"

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "max_completion_tokens": "max_output_tokens",
        "max_tokens": "max_output_tokens",
        "seed": "seed",
        "stop": "stop_sequences",
        "temperature": "temperature",
        "top_p": "top_p",
    }
)
"""OpenAI's parameters, and what they are called in `generation_config`."""

_UNSAID: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        **{name: values for name, values in NEUTRAL.items() if name not in ("modalities", "service_tier")},
        "frequency_penalty": (0,),
        "logprobs": (False,),
        "presence_penalty": (0,),
        "top_logprobs": (0,),
    }
)

OURS = HINTS - {"store"}
"""Hints that Google has no words for. Whether it keeps an interaction is for the caller to say: if nobody does, it does."""

CONTENT = frozenset({"audio", "document", "image", "video"})
"""Types of Google's own content beside texts."""


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def write_chat(request: Request) -> Json:
    """
    The body of a request for an interaction.

    Raises:
        BadRequest: If it cannot be said so; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        # An agent brings its model along.
        return restated(native, request, ("model",) if "agent" in native else ())
    given = understood(request, FORMAT)
    out: Json = {}
    config: Json = {}
    name = "messages"
    try:
        _write_messages(out, given["messages"])
        for name, value in given.items():
            if value is None or name in OURS or name in _APART:
                continue
            if name in NAMES:
                config[NAMES[name]] = [value] if name == "stop" and isinstance(value, str) else value
            elif name in _WRITERS:
                _WRITERS[name](out, config, value)
            elif name not in _UNSAID:
                out[name] = value
            elif value not in _UNSAID[name]:
                raise refused(name, "Google's Interactions API")
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    config |= given.get("generation_config") or {}
    if config:
        out["generation_config"] = config
    if request.model and "agent" not in out:
        out["model"] = request.model
    if request.stream:
        out["stream"] = True
    return out


_APART = frozenset({"generation_config", "messages"})


def _write_messages(out: Json, messages: Any) -> None:
    steps: list[Json] = []
    system: list[str] = []
    names: dict[str, str] = {}  # id of a call → its tool
    each("messages", messages, _write_message, steps, system, names)
    if system:
        out["system_instruction"] = "\n\n".join(system)
    if steps:
        out["input"] = steps


def _write_message(message: Json, steps: list[Json], system: list[str], names: dict[str, str]) -> None:
    role, content = message["role"], message.get("content")
    if role in ("system", "developer"):
        # Hoisted wherever it stands: Google takes instructions in front only, and as a text.
        parts = _content(content)
        if any(part["type"] != "text" for part in parts):
            raise BadRequest("Google's Interactions API takes instructions as a text")
        system += [part["text"] for part in parts]
    elif role == "user":
        steps.append({"type": "user_input", "content": _content(content)})
    elif role == "assistant":
        steps += _write_assistant(message, names)
    elif role == "tool":
        steps.append(_write_result(message, names))
    else:
        raise BadRequest(f"Google's Interactions API has no role {role!r}")


def _content(content: Any) -> list[Json]:
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return each("content", content, _write_part)


def _write_part(part: Json) -> Json:
    kind = part["type"]
    if kind == "text" or kind in CONTENT:
        return unmarked(part)
    given = write_part(part)  # as Gemini has it
    if "text" in given:
        return {"type": "text", "text": given["text"]}
    blob = given["inlineData"] if "inlineData" in given else given["fileData"]
    media: str = blob.get("mimeType") or ("image/" if kind == "image_url" else "")
    sort = media.partition("/")[0]
    out: Json = {"type": sort if sort in CONTENT else "document"}
    out |= {"data": blob["data"]} if "data" in blob else {"uri": blob["fileUri"]}
    return out | {"mime_type": blob["mimeType"]} if "mimeType" in blob else out


def _write_assistant(message: Json, names: dict[str, str]) -> list[Json]:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise Unsaid(f"Google's Interactions API has no {name}", name)
    content = message.get("content")
    text = content if isinstance(content, str) else "".join(part["text"] for part in _content(content))
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    names.update((call.id, call.name) for call in calls)
    kept = kept_steps(message)
    if kept:
        told, _, called, _, _ = read_steps(kept, "")
        if (told, _meant(called)) == (text, _meant(calls)):
            return kept
    # What another model thought is not Google's to read.
    output = said([text, message.get("refusal")])
    return [*([output] if output else ()), *(step_of_call(call) for call in calls)]


def _call(call: Json) -> ToolCall:
    function = call.get("function")
    if function is None:
        raise BadRequest(f"a tool call of type {call.get('type')!r}: Google's Interactions API knows functions only")
    return ToolCall(call["id"], function["name"], arguments_of(function.get("arguments")))


def _meant(calls: list[ToolCall]) -> list[tuple[str, Any]]:
    return [(call.name, json_object(call.arguments)) for call in calls]


def _write_result(message: Json, names: dict[str, str]) -> Json:
    id, content = message["tool_call_id"], message.get("content")
    out: Json = {
        "type": "function_result",
        "result": content or "" if isinstance(content, str | None) else _content(content),
    }
    name = names.get(id) or message.get("name")
    if name:
        out["name"] = name
    if not MADE_ID.fullmatch(id):
        out["call_id"] = id
    if message.get("is_error"):
        out["is_error"] = True
    return out


def _write_tools(out: Json, config: Json, tools: Any) -> None:
    written = [_write_function(tool["function"]) if "function" in tool else tool for tool in tools]
    if written:
        out["tools"] = written


def _write_function(function: Json) -> Json:
    """Whether its schema is `strict` is nothing that Google asks."""
    rest = {name: value for name, value in function.items() if name != "strict" and value is not None}
    return {"type": "function", "name": function["name"], **rest}


def _write_tool_choice(out: Json, config: Json, choice: Any) -> None:
    if isinstance(choice, str):
        if choice not in _MODES:
            raise BadRequest(f"tool_choice: {choice!r} is none of {', '.join(_MODES)}")
        config["tool_choice"] = _MODES[choice]
    elif choice["type"] == "function":
        config["tool_choice"] = {"allowed_tools": {"mode": "any", "tools": [choice["function"]["name"]]}}
    elif choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        tools = [tool["function"]["name"] for tool in allowed["tools"]]
        # Validated may call one of these or none.
        mode = "any" if allowed["mode"] == "required" else "validated"
        config["tool_choice"] = {"allowed_tools": {"mode": mode, "tools": tools}}
    else:
        raise Unsaid(f"tool_choice: Google's Interactions API has no {choice['type']}; name a function", "tool_choice")


_MODES: Mapping[str, str] = MappingProxyType({"auto": "auto", "none": "none", "required": "any"})


def _write_effort(out: Json, config: Json, effort: Any, name: str = "reasoning_effort") -> None:
    if effort == "none":
        raise Unsaid(f"{name}: a model that is asked so always thinks; ask for minimal", name)
    if effort not in LEVELS:
        raise BadRequest(f"reasoning_effort: {effort!r} is none of {', '.join(LEVELS)}")
    config["thinking_level"] = effort
    config["thinking_summaries"] = "auto"


def _write_thinking(out: Json, config: Json, thinking: Any) -> None:
    if "thinking_level" not in config:
        _write_effort(out, config, effort_of(thinking), "thinking")


def _write_response_format(out: Json, config: Json, form: Any) -> None:
    kind = form["type"]
    if kind == "json_schema":
        asked = form[kind]
        schema = (
            {"description": asked["description"]} | asked["schema"] if asked.get("description") else asked["schema"]
        )
        out["response_format"] = {**_JSON, "schema": schema}
    elif kind == "json_object":
        out["response_format"] = dict(_JSON)
    elif kind != "text" or "mime_type" in form:
        out["response_format"] = form  # Google's own


_JSON: Mapping[str, str] = MappingProxyType({"type": "text", "mime_type": "application/json"})


def _write_modalities(out: Json, config: Json, modalities: Any) -> None:
    out["response_modalities"] = modalities


def _write_service_tier(out: Json, config: Json, tier: Any) -> None:
    if tier != "auto":
        out["service_tier"] = "standard" if tier == "default" else tier


def _write_system(out: Json, config: Json, own: Any) -> None:
    told = out.get("system_instruction")
    out["system_instruction"] = f"{own}\n\n{told}" if told else own


_WRITERS: Mapping[str, Callable[[Json, Json, Any], None]] = MappingProxyType(
    {
        "modalities": _write_modalities,
        "reasoning_effort": _write_effort,
        "thinking": _write_thinking,
        "response_format": _write_response_format,
        "service_tier": _write_service_tier,
        "system_instruction": _write_system,
        "tool_choice": _write_tool_choice,
        "tools": _write_tools,
    }
)


# --- theirs → ours ----------------------------------------------------------------------------------------------------


def read_chat(data: Any) -> Request:
    """
    The chat that a request for an interaction asks for.

    Raises:
        BadRequest: If it is none.
    """
    name = "input"
    try:
        body: Json = {"messages": _read_messages(data)}
        for name, value in data.items():
            read = _READERS.get(name)
            if read is not None and value is not None:
                read(body, value)
            elif name not in _READ_APART and value is not None:
                body[name] = value
        return Request("chat", data.get("model") or "", body, data.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


_READ_APART = frozenset({"input", "model", "stream", "system_instruction"})


def _read_messages(data: Json) -> list[Json]:
    system, given = data.get("system_instruction"), data.get("input") or []
    messages: list[Json] = [{"role": "system", "content": system}] if system else []
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    steps: list[Json] = [given] if isinstance(given, dict) else given
    turn: list[Json] = []  # steps of the model, as far as they were read
    parts: list[Json] = []  # content that stands there without a step
    names: dict[str, str] = {}  # tool → the first of its calls in the turn before
    for step in steps:
        role, kind = step.get("role"), step.get("type")
        if not role and kind in (*CONTENT, "text"):
            parts.append(step)
            continue
        if role or kind in ("user_input", "function_result"):
            _end_turn(turn, messages, names)
        if kind == "user_input" or role == "user":
            messages.append({"role": "user", "content": _read_content(step.get("content"))})
        elif role:  # a turn as Google wrote it first
            content = step.get("content") or ""
            turn += content if isinstance(content, list) else [{"type": "text", "text": content}]
            _end_turn(turn, messages, names)
        elif kind == "function_result":
            messages.append(_read_result(step, names, len(messages)))
        else:
            turn.append(step)
    _end_turn(turn, messages, names)
    if parts:
        messages.append({"role": "user", "content": _read_content(parts)})
    return messages


def _end_turn(turn: list[Json], messages: list[Json], names: dict[str, str]) -> None:
    """Make a message of the steps of the model so far."""
    if not turn:
        return
    steps = list(turn)
    turn.clear()
    text, reasoning, calls, _, extra = read_steps(steps, f"turn {len(messages)}")
    message: Json = {"role": "assistant", "content": text or None if calls else text}
    if calls:
        message["tool_calls"] = [call.to_openai() for call in calls]
        names.update((call.name, call.id) for call in reversed(calls))
    if reasoning:
        message["reasoning_content"] = reasoning
    messages.append(message | extra)


def _read_content(content: Any) -> Any:
    parts = [content] if isinstance(content, dict) else content
    if parts is None or isinstance(parts, str):
        return parts or ""
    read = [_read_part(part) for part in parts]
    # One plain text needs no list; many a compatible server knows none.
    return read[0]["text"] if len(read) == 1 and read[0].keys() == {"type", "text"} else read


def _read_part(part: Json) -> Json:
    """The part that OpenAI would write; one for which it has no words stays as it is."""
    kind = part["type"]
    if kind not in CONTENT or not part.keys() <= {"type", "data", "uri", "mime_type"}:
        return part
    media = part.get("mime_type")
    if "data" in part:
        return read_part({"inlineData": {"mimeType": media, "data": part["data"]}}) if media else part
    if not media and kind == "image":
        return {"type": "image_url", "image_url": {"url": part["uri"]}}
    return read_part({"fileData": {"fileUri": part["uri"]} | ({"mimeType": media} if media else {})})


def _read_result(step: Json, names: dict[str, str], position: int) -> Json:
    result, name = step["result"], step.get("name") or ""
    # One without an id answers the call of its tool.
    id = step.get("call_id") or names.get(name) or call_id(name, 0, position)
    content = encode(result).decode() if isinstance(result, dict) else _read_content(result)
    out: Json = {"role": "tool", "tool_call_id": id, "content": content}
    if name and name not in names:
        out["name"] = name
    return out | {"is_error": True} if step.get("is_error") else out


def _read_tools(body: Json, tools: Any) -> None:
    body["tools"] = [_read_tool(tool) for tool in tools]


def _read_tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        return tool  # one that runs at Google's
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _read_config(body: Json, config: Any) -> None:
    rest = dict(config)
    for ours, theirs in NAMES.items():
        if ours != "max_tokens" and theirs in rest:
            body[ours] = rest.pop(theirs)
    choice = _read_choice(rest.get("tool_choice"))
    if choice is not None:
        body["tool_choice"] = choice
        del rest["tool_choice"]
    # Alone the level is less than what an effort asks for.
    if rest.get("thinking_level") in LEVELS and rest.get("thinking_summaries") == "auto":
        body["reasoning_effort"] = rest.pop("thinking_level")
        del rest["thinking_summaries"]
    if rest:
        body["generation_config"] = rest


def _read_choice(choice: Any) -> Any:
    match choice:
        case str():
            return next((ours for ours, theirs in _MODES.items() if theirs == choice), None)
        case {"allowed_tools": {"mode": "any", "tools": [name]}}:
            return {"type": "function", "function": {"name": name}}
        case {"allowed_tools": {"mode": ("any" | "validated") as mode, "tools": [*names]}}:
            tools = [{"type": "function", "function": {"name": name}} for name in names]
            allowed = {"mode": "required" if mode == "any" else "auto", "tools": tools}
            return {"type": "allowed_tools", "allowed_tools": allowed}
    return None


def _read_response_format(body: Json, form: Any) -> None:
    match form:
        case {"type": "text", "mime_type": "application/json", "schema": schema, **rest} if not rest:
            # OpenAI wants a name for it.
            name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(schema.get("title") or "response"))[:64]
            form = {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
        case {"type": "text", "mime_type": "application/json", **rest} if not rest:
            form = {"type": "json_object"}
    body["response_format"] = form


def _read_modalities(body: Json, modalities: Any) -> None:
    body["modalities"] = modalities


def _read_service_tier(body: Json, tier: Any) -> None:
    body["service_tier"] = "default" if tier == "standard" else tier


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "generation_config": _read_config,
        "response_format": _read_response_format,
        "response_modalities": _read_modalities,
        "service_tier": _read_service_tier,
        "tools": _read_tools,
    }
)


def told(name: str, value: Any) -> Json | None:
    """What a parameter of the Interactions API's own means in our shape; see `Dialect.told`."""
    if name != "generation_config" or not value.keys() <= {"thinking_level", "thinking_summaries"}:
        return {} if value in ({}, [], False) else None
    return {"reasoning_effort": value["thinking_level"]} if "thinking_level" in value else {}
