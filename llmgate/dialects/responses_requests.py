"""A chat as OpenAI asks for it, said as its Responses API asks for it, and back.

The rules of what passes, what is refused and what is left out stand in `openai_responses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from .foreign import understood
from .openai_words import Json, arguments_of
from .responses_words import CALLS, KEPT, LOGPROBS, OF_CALLS, agree, kind_of, read_output
from .shapes import MISSHAPEN, each, misshapen, restated
from .thinking import effort_of
from .unsaid import Unsaid, refused

__all__ = ["FORMAT", "HINTS", "NEUTRAL", "read_chat", "write_chat"]

FORMAT = "openai_responses"

NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "frequency_penalty": (0,),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "modalities": (["text"],),
        "n": (1,),
        "presence_penalty": (0,),
        "seed": (),
        "stop": ([],),
        "web_search_options": (),
    }
)
"""Chat's parameters that Responses cannot express, and the values of each that ask for nothing. Others are refused."""

HINTS = frozenset({"prediction"})
"""Chat's parameters that make an answer faster or cheaper and nothing else."""


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def write_chat(request: Request) -> Json:
    """
    The body of a Responses request.

    Raises:
        BadRequest: If Responses cannot express it; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        return restated(native, request)
    given = understood(request, FORMAT)
    out: Json = {"model": request.model} if request.model else {}
    for name, value in given.items():
        if value is None or name in _WRITERS or name in HINTS:
            continue
        neutral = NEUTRAL.get(name)
        if neutral is None:
            out[name] = value
        elif value not in neutral:
            raise refused(name, "the Responses API")
    name = "the request"
    try:
        for name, write in _WRITERS.items():
            value = given.get(name)
            if value is not None:
                write(out, value)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    if request.stream:
        out["stream"] = True
    return out


def _write_messages(out: Json, messages: Any) -> None:
    items: list[Json] = []
    custom: set[str] = set()
    each("messages", messages, _write_message, items, custom, out.get("store"))
    if items:
        out["input"] = items


_OF_MESSAGES = frozenset({"role", "content", "name", "type", "cache_control"})
_OF_RESULTS = frozenset({"role", "content", "name", "tool_call_id", "is_error", "cache_control"})


def _write_message(message: Json, items: list[Json], custom: set[str], store: Any) -> None:
    if kind_of(message) != "message":
        items.append(message)  # an item that chat has no words for
        return
    role, content = message["role"], message.get("content")
    if role == "assistant":
        _write_assistant(message, items, store)
        if message.get("tool_calls"):
            custom.update(call["id"] for call in message["tool_calls"] if "custom" in call)
    elif role == "tool":
        id = message["tool_call_id"]
        kind = "custom_tool_call_output" if id in custom else "function_call_output"
        item = {"type": kind, "call_id": id, "output": _content(content)}
        items.append(item if len(message) == 3 and content is not None else item | _but(message, _OF_RESULTS))
    elif role in ("system", "developer", "user"):
        item = {"role": role, "content": _content(content)}
        items.append(item if len(message) == 2 and content is not None else item | _but(message, _OF_MESSAGES))
    else:
        raise BadRequest(f"the Responses API has no role {role!r}")


def _but(value: Json, names: frozenset[str]) -> Json:
    return {name: value[name] for name in value if name not in names}


def _content(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    return each("content", content, _write_part)


def _write_part(part: Json) -> Json:
    kind = part["type"]
    if kind == "text":
        return {"type": "input_text", **_but(part, _OF_TEXTS)}
    if kind == "image_url":
        image = part["image_url"]
        own: Json = {"image_url": image} if isinstance(image, str) else {"image_url": image["url"], **_but(image, _URL)}
        return {"type": "input_image", **own, **_but(part, _OF_IMAGES)}
    if kind == "file":
        return {"type": "input_file", **part["file"], **_but(part, _OF_FILES)}
    if kind == "input_audio":
        raise Unsaid("the Responses API takes no audio")
    return part


_URL = frozenset({"url"})
_OF_TEXTS = frozenset({"type", "cache_control"})
_OF_IMAGES = frozenset({"type", "image_url", "cache_control"})
_OF_FILES = frozenset({"type", "file", "cache_control"})


def _write_assistant(message: Json, items: list[Json], store: Any) -> None:
    content = message.get("content")
    if len(message) == 2 and content.__class__ is str:  # as most of them are
        if content:
            items.append({"role": "assistant", "content": content})
        return
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise Unsaid(f"the Responses API has no {name}", name)
    refusal, calls = message.get("refusal"), message.get("tool_calls") or ()
    written = [_write_call(call) for call in calls]
    kept = message.get(KEPT)
    if kept:
        # What was not stored at the provider's is known there by its content alone.
        back = [item for item in kept if store is not False or kind_of(item) != "reasoning" or _carried(item)]
        said = [(item["call_id"], item["name"], item[CALLS[item["type"]]]) for item in written]
        if agree(kept, content, refusal, said):
            items += back
            return
        items += [item for item in back if kind_of(item) not in _SAID]
    said_parts = _said(content, refusal)
    if said_parts:
        items.append({"role": "assistant", "content": said_parts})
    items += written


_SAID = frozenset({"message", *CALLS})


def _carried(reasoning: Json) -> bool:
    return bool(reasoning.get("encrypted_content") or reasoning.get("content"))


def _said(content: Any, refusal: Any) -> Any:
    """The content of an assistant's message: a text, or parts of what only it can say."""
    if not refusal and (content is None or isinstance(content, str)):
        return content
    parts: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    out = [{"type": "output_text", **_but(part, _OF_TEXTS)} if part["type"] == "text" else part for part in parts]
    if refusal:
        out.append({"type": "refusal", "refusal": refusal})
    return out


def _write_call(call: Json) -> Json:
    kind = "custom_tool_call" if "custom" in call else "function_call"
    said = call["custom"] if "custom" in call else call["function"]
    argument = CALLS[kind]
    item = {"type": kind, "call_id": call["id"], "name": said["name"], argument: arguments_of(said.get(argument))}
    return item | {name: call[name] for name in OF_CALLS if name in call}


def _write_tools(out: Json, tools: Any) -> None:
    out["tools"] = [_write_tool(tool) for tool in tools]


def _write_tool(tool: Json) -> Json:
    kind = tool.get("type")
    said = tool.get(kind) if kind in ("function", "custom") else None
    if not isinstance(said, dict):
        return tool  # one that runs at the provider's
    flat = {name: value for name, value in tool.items() if name not in (kind, "cache_control")} | said
    if kind == "function":
        flat.setdefault("parameters", {"type": "object", "properties": {}})
        # Who says nothing means a loose schema in chat and a strict one in Responses.
        if flat.setdefault("strict", False) is None:
            del flat["strict"]
    elif (said.get("format") or {}).get("type") == "grammar":
        flat["format"] = {"type": "grammar", **said["format"]["grammar"]}
    return flat


def _write_tool_choice(out: Json, choice: Any) -> None:
    if not isinstance(choice, str):
        kind = choice["type"]
        if kind == "allowed_tools" and kind in choice:
            allowed = choice[kind]
            choice = {"type": kind, **allowed, "tools": [_flat_choice(tool) for tool in allowed["tools"]]}
        else:
            choice = _flat_choice(choice)
    out["tool_choice"] = choice


def _flat_choice(choice: Json) -> Json:
    kind = choice["type"]
    named = choice.get(kind)
    return {"type": kind, **named} if isinstance(named, dict) else choice


def _write_response_format(out: Json, form: Any) -> None:
    kind = form["type"]
    flat = {"type": kind, **form[kind]} if kind == "json_schema" else form
    out["text"] = {**(out.get("text") or {}), "format": flat}


def _write_verbosity(out: Json, verbosity: Any) -> None:
    out["text"] = {**(out.get("text") or {}), "verbosity": verbosity}


def _write_effort(out: Json, effort: Any) -> None:
    out["reasoning"] = {**(out.get("reasoning") or {}), "effort": effort}


def _write_thinking(out: Json, thinking: Any) -> None:
    out["reasoning"] = {"effort": effort_of(thinking)} | (out.get("reasoning") or {})


def _write_limit(out: Json, limit: Any) -> None:
    out["max_output_tokens"] = limit


def _write_logprobs(out: Json, wanted: Any) -> None:
    if wanted:
        out["include"] = [*(out.get("include") or ()), LOGPROBS]


def _write_stream_options(out: Json, options: Any) -> None:
    own = _but(options, _CHATS_OPTIONS)  # the usage comes in any case
    if own:
        out["stream_options"] = own


_CHATS_OPTIONS = frozenset({"include_usage"})

_WRITERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "messages": _write_messages,
        "tools": _write_tools,
        "tool_choice": _write_tool_choice,
        "response_format": _write_response_format,
        "verbosity": _write_verbosity,
        "thinking": _write_thinking,
        "reasoning_effort": _write_effort,
        "max_tokens": _write_limit,
        "max_completion_tokens": _write_limit,
        "logprobs": _write_logprobs,
        "stream_options": _write_stream_options,
    }
)
"""In this order: a later one looks at what an earlier one wrote, and the newer name of the limit counts."""


# --- theirs → ours ----------------------------------------------------------------------------------------------------


def read_chat(data: Any) -> Request:
    """
    The chat that the body of a Responses request asks for.

    Raises:
        BadRequest: If it is no such body.
    """
    if not isinstance(data, dict):
        raise BadRequest("the body must be a JSON object")
    model = data.get("model") or ""
    if not isinstance(model, str):
        raise BadRequest("model must be a string")
    if data.get("input") is None and not any(data.get(name) for name in _INSTEAD):
        raise BadRequest("input is missing")
    # They are not handed down a chain of answers, as messages are; then they stay what they are.
    instructions = None if any(data.get(name) for name in _INSTEAD) else data.get("instructions")
    body: Json = {}
    name = "input"
    try:
        body["messages"] = _read_input(data.get("input"), instructions)
        for name, value in data.items():
            read = _READERS.get(name)
            if read is not None:
                read(body, value)
            elif name not in _READ_APART and (name != "instructions" or instructions is None):
                body[name] = value
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    return Request("chat", model, body, data.get("stream") is True)


_INSTEAD = ("prompt", "previous_response_id", "conversation")
"""What may hold the conversation instead of `input`."""

_READ_APART = frozenset({"input", "model", "stream"})


def _read_input(given: Any, instructions: Any) -> list[Json]:
    items: list[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    messages: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    turn: list[Json] = []  # of the assistant, as far as it was read
    custom: set[str] = set()
    for item in items:
        kind = kind_of(item)
        role = item.get("role")
        if (role == "assistant" and kind == "message") or (role is None and _is_output(kind)):
            turn.append(item)
            if kind == "custom_tool_call":
                custom.add(item["call_id"])
            continue
        if turn:
            messages.append(_read_turn(turn))
            turn = []
        messages.append(_read_message(item, kind, custom))
    if turn:
        messages.append(_read_turn(turn))
    return messages


def _is_output(kind: str) -> bool:
    return kind == "reasoning" or kind.endswith("_call")


def _read_turn(items: list[Json]) -> Json:
    """One message of the assistant: nearly always a text, calls, or both, with nothing beside them."""
    text, calls = "", []
    for item in items:
        kind, arguments = item.get("type"), item.get("arguments")
        if kind == "function_call" and arguments.__class__ is str and item.get("call_id") and item.keys() <= _CALL:
            function = {"name": item["name"], "arguments": arguments}
            calls.append({"id": item["call_id"], "type": "function", "function": function})
        elif item.keys() == _TEXT and item["content"].__class__ is str and item is items[0]:
            text = item["content"]
        else:
            return read_output(items).message
    message: Json = {"role": "assistant", "content": text or (None if calls else text)}
    if calls:
        message["tool_calls"] = calls
    return message


_TEXT = frozenset({"role", "content"})
_CALL = frozenset({"type", "id", "status", "call_id", "name", "arguments"})


def _read_message(item: Json, kind: str, custom: set[str]) -> Json:
    if kind == "message":
        message = {"role": item["role"], "content": _read_content(item.get("content"))}
        return message if item.keys() == _TEXT else message | _but(item, _OF_INPUT)
    if kind == "function_call_output" or (kind == "custom_tool_call_output" and item["call_id"] in custom):
        message = {"role": "tool", "tool_call_id": item["call_id"], "content": _read_content(item["output"])}
        return message if len(item) == len(message) else message | _but(item, _OF_OUTPUTS)
    return item


_OF_INPUT = frozenset({"type", "role", "content", "id", "status"})
_OF_OUTPUTS = frozenset({"type", "call_id", "output", "id", "status"})


def _read_content(content: Any) -> Any:
    return [_read_part(part) for part in content] if isinstance(content, list) else content


def _read_part(part: Json) -> Json:
    """The part that chat would write; one for which it has no words stays as it is."""
    kind = part["type"]
    if kind in ("input_text", "output_text"):
        return {**part, "type": "text"}
    if kind == "input_image" and part.get("image_url"):
        image = {"url": part["image_url"]} | {name: part[name] for name in ("detail",) if name in part}
        return {"type": "image_url", "image_url": image} | _but(part, _OF_INPUT_IMAGES)
    if kind == "input_file" and (part.get("file_id") or part.get("file_data")):
        return {"type": "file", "file": {name: part[name] for name in _FILE if name in part}} | _but(
            part, _FILE_OR_TYPE
        )
    return part


_OF_INPUT_IMAGES = frozenset({"type", "image_url", "detail"})
_FILE = ("file_id", "file_data", "filename")
_FILE_OR_TYPE = frozenset({"type", *_FILE})


def _read_tools(body: Json, tools: Any) -> None:
    body["tools"] = None if tools is None else [_read_tool(tool) for tool in tools]


_OF_FUNCTIONS = ("name", "description", "parameters", "strict", "format")


def _read_tool(tool: Json) -> Json:
    kind = tool["type"]
    if kind not in ("function", "custom") or kind in tool:
        return tool
    said: Json = {name: tool[name] for name in _OF_FUNCTIONS if name in tool}
    if kind == "function":
        said.setdefault("strict", None)  # as strict as the upstream makes it
    elif (said.get("format") or {}).get("type") == "grammar":
        said["format"] = {"type": "grammar", "grammar": _but(said["format"], frozenset({"type"}))}
    return {"type": kind, kind: said} | {name: value for name, value in tool.items() if name not in (*said, "type")}


def _read_tool_choice(body: Json, choice: Any) -> None:
    if isinstance(choice, dict):
        kind = choice["type"]
        if kind == "allowed_tools" and "tools" in choice:
            allowed = _but(choice, frozenset({"type"})) | {"tools": [_deep_choice(tool) for tool in choice["tools"]]}
            choice = {"type": kind, kind: allowed}
        else:
            choice = _deep_choice(choice)
    body["tool_choice"] = choice


def _deep_choice(choice: Json) -> Json:
    kind = choice["type"]
    return {"type": kind, kind: {"name": choice["name"]}} if kind in ("function", "custom") else choice


def _read_text(body: Json, text: Any) -> None:
    rest = dict(text or {})
    form = rest.pop("format", None)
    if form:
        kind = form["type"]
        body["response_format"] = {"type": kind, kind: _but(form, frozenset({"type"}))} if "schema" in form else form
    if rest.get("verbosity") is not None:
        body["verbosity"] = rest.pop("verbosity")
    if rest:
        body["text"] = rest


def _read_reasoning(body: Json, reasoning: Any) -> None:
    rest = dict(reasoning or {})
    if rest.get("effort") is not None:
        body["reasoning_effort"] = rest.pop("effort")
    if rest:
        body["reasoning"] = rest


def _read_limit(body: Json, limit: Any) -> None:
    body["max_completion_tokens"] = limit


def _read_include(body: Json, include: Any) -> None:
    rest = [name for name in include or () if name != LOGPROBS]
    if len(rest) < len(include or ()):
        body["logprobs"] = True
    if rest:
        body["include"] = rest


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "include": _read_include,
        "max_output_tokens": _read_limit,
        "reasoning": _read_reasoning,
        "text": _read_text,
        "tool_choice": _read_tool_choice,
        "tools": _read_tools,
    }
)


def told(name: str, value: Any) -> Json | None:
    """What a parameter of Responses' own means in our shape; see `Dialect.told`."""
    if name in ("client_metadata", "include") or (name, value) in _USUAL:
        return {}  # what is to be shown beside the answer changes no answer
    return {} if name == "reasoning" and value.keys() <= _SHOWN else None


_USUAL = (("background", False), ("truncation", "disabled"))
_SHOWN = frozenset({"summary", "generate_summary"})
