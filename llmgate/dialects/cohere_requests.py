"""A chat and embeddings as OpenAI asks for them, said as Cohere wants them asked, and back.

The rules of what passes, what is refused and what is left out stand in `cohere`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from .foreign import understood
from .openai_words import Json, arguments_of
from .shapes import MISSHAPEN, each, misshapen, restated, unmarked
from .thinking import TOKENS, is_ours
from .unsaid import HINTS, NEUTRAL, Unsaid, refused

__all__ = [
    "FORMAT",
    "INPUT_TYPE",
    "NAMES",
    "THINKING_TOKENS",
    "is_first",
    "read_chat",
    "read_embed",
    "write_chat",
    "write_embed",
]

FORMAT = "cohere"

NAMES: Mapping[str, str] = MappingProxyType({"top_p": "p", "top_k": "k"})
"""OpenAI's parameters that Cohere only calls by another name."""

THINKING_TOKENS: Mapping[str, int] = MappingProxyType(
    {effort: TOKENS[effort] for effort in ("minimal", "low", "medium")}
)
"""
What a model may think for each `reasoning_effort` below high, from where on there is no limit. Cohere knows only on and
off; the budgets are those that are usual elsewhere.
"""

INPUT_TYPE = "search_document"
"""What a text is embedded for where nobody says; `search_query`, `classification` and `clustering` are to be asked for."""

_OF_OTHERS = frozenset(
    {"annotations", "audio", "extra_content", "function_call", "name", "reasoning", "reasoning_details", "refusal"}
    | {"cache_control", "is_error", "thinking_blocks"}
)
"""Keys of a message that Cohere does not know and that only their own upstream wants back."""


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def is_first(request: Request) -> bool:
    """Whether its caller speaks version 1, which has one `message`, and need not name the types of embeddings."""
    native = request.native(FORMAT)
    return native is not None and ("messages" if request.verb == "chat" else "embedding_types") not in native


def write_chat(request: Request) -> Json:
    """
    The body of a chat request.

    Raises:
        BadRequest: If Cohere cannot express it; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        return restated(native, request)
    given = understood(request, FORMAT)
    out: Json = {"model": request.model} if request.model else {}
    if request.stream:
        out["stream"] = True
    name = "messages"
    try:
        out["messages"] = _write_messages(given["messages"])
        for name, value in given.items():
            if value is None or name in _APART or name in HINTS:
                continue
            if name in _WRITERS:
                _WRITERS[name](out, value)
            elif name not in NEUTRAL:
                out[NAMES.get(name, name)] = value
            elif value not in NEUTRAL[name]:
                raise refused(name, "Cohere")
        name = "tool_choice"
        if given.get(name) is not None:
            _write_tool_choice(out, given[name])
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    return out


_APART = frozenset({"messages", "tool_choice"})


def _write_messages(messages: Any) -> list[Json]:
    out = each("messages", messages, _write_message)
    if not out:
        raise BadRequest("messages: a chat needs at least one message")
    return out


def _write_message(message: Json) -> Json:
    role, content = message["role"], message.get("content")
    if role not in _PARTS:
        raise BadRequest(f"Cohere has no role {role!r}")
    out: Json = {"role": "system" if role == "developer" else role}
    reasoning = message.get("reasoning_content") if role == "assistant" else None
    if role == "assistant" and content in (None, "") and message.get("refusal"):
        content = message["refusal"]
    if isinstance(content, list):
        content = each("content", content, _write_part, role)
    if reasoning:
        rest = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        content = [{"type": "thinking", "thinking": reasoning}, *rest]
    for name, value in message.items():
        if name == "tool_calls":
            if value is not None:
                out[name] = [_write_call(call) for call in value]
        elif name not in _OF_OTHERS and name not in ("role", "content", "reasoning_content"):
            out[name] = value
    if content is not None or "content" in message:
        out["content"] = content
    return out


_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "system": frozenset({"text"}),
        "developer": frozenset({"text"}),
        "user": frozenset({"text", "image_url"}),
        "assistant": frozenset({"text", "thinking", "refusal"}),
        "tool": frozenset({"text", "document"}),
    }
)
"""What the content of each role may be made of."""


def _write_part(part: Json, role: str) -> Json:
    kind = part["type"]
    if kind not in _PARTS[role]:
        raise Unsaid(f"Cohere takes no content of type {kind!r} from the role {role!r}")
    if kind == "refusal":
        return {"type": "text", "text": part["refusal"]}
    if kind == "image_url" and isinstance(part["image_url"], str):
        return {"type": kind, "image_url": {"url": part["image_url"]}}
    return unmarked(part)


def _write_call(call: Json) -> Json:
    if "function" not in call:
        raise BadRequest(f"Cohere has no tool of type {call.get('type')!r}")
    function = call["function"]
    if isinstance(function["arguments"], str):
        return {name: value for name, value in call.items() if name != "extra_content"}
    return {"id": call["id"], "type": "function"} | {
        "function": {"name": function["name"], "arguments": arguments_of(function["arguments"])}
    }


def _write_tools(out: Json, tools: Any) -> None:
    written = each("tools", tools, _write_tool)
    if any(tool["function"].get("strict") for tool in tools):
        out["strict_tools"] = True  # all tools are, or none
    if written:
        out["tools"] = written


def _write_tool(tool: Json) -> Json:
    if tool.get("type", "function") != "function":
        raise Unsaid(f"Cohere has no tool of type {tool['type']!r}")
    plain = {name: value for name, value in tool["function"].items() if name != "strict"}
    return {"type": "function", "function": plain}


def _write_tool_choice(out: Json, choice: Any) -> None:
    """Cohere has only some call or none; to one of several tools it is held by showing it no other."""
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise BadRequest(f"tool_choice: {choice!r} is none of auto, none, required")
        if choice != "auto":
            out["tool_choice"] = choice.upper()
        return
    kind = choice["type"]
    if kind == "function":
        names, forced = [choice["function"]["name"]], True
    elif kind == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = [tool["function"]["name"] for tool in allowed["tools"]]
        forced = allowed["mode"] == "required"
    else:
        raise Unsaid(f"tool_choice: Cohere has no {kind}; name a function", "tool_choice")
    tools = [tool for tool in out.get("tools", ()) if tool["function"]["name"] in names]
    if len(tools) < len(names):
        raise BadRequest("tool_choice: it names a function that is not among the tools")
    out["tools"] = tools
    if forced:
        out["tool_choice"] = "REQUIRED"


def _write_stop(out: Json, stop: Any) -> None:
    out["stop_sequences"] = [stop] if isinstance(stop, str) else stop


def _write_limit(out: Json, limit: Any) -> None:
    out["max_tokens"] = limit


def _write_effort(out: Json, effort: Any) -> None:
    if "thinking" in out:
        return
    if effort == "none":
        out["thinking"] = {"type": "disabled"}
    elif effort in THINKING_TOKENS:
        out["thinking"] = {"type": "enabled", "token_budget": THINKING_TOKENS[effort]}
    elif effort in ("high", "xhigh"):
        out["thinking"] = {"type": "enabled"}
    else:
        raise BadRequest(f"reasoning_effort: {effort!r} is none of none, {', '.join(THINKING_TOKENS)}, high, xhigh")


def _write_thinking(out: Json, thinking: Any) -> None:
    if is_ours(thinking):
        sort = "disabled" if thinking["type"] == "disabled" else "enabled"
        budget = thinking.get("budget_tokens")
        thinking = {"type": sort} | ({} if budget is None else {"token_budget": budget})
    out["thinking"] = thinking


def _write_response_format(out: Json, form: Any) -> None:
    kind = form["type"]
    if kind == "json_schema":
        asked = form["json_schema"]
        schema = asked["schema"]
        if asked.get("description"):
            schema = {"description": asked["description"]} | schema
        form = {"type": "json_object", "json_schema": schema}
    elif kind not in ("text", "json_object"):
        raise Unsaid(f"response_format: Cohere has no {kind}; give a json_schema", "response_format")
    out["response_format"] = form


def _write_top_logprobs(out: Json, count: Any) -> None:
    if count:
        raise Unsaid("top_logprobs: Cohere tells the logprobs of what it wrote and of nothing else", "top_logprobs")


_WRITERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "max_completion_tokens": _write_limit,
        "max_tokens": _write_limit,
        "reasoning_effort": _write_effort,
        "response_format": _write_response_format,
        "stop": _write_stop,
        "thinking": _write_thinking,
        "tools": _write_tools,
        "top_logprobs": _write_top_logprobs,
    }
)


def write_embed(request: Request) -> Json:
    """
    The body of a request for embeddings.

    Raises:
        BadRequest: If Cohere cannot express it.
    """
    native = request.native(FORMAT)
    if native is not None:
        return restated(native, request)
    given: Json = request.body
    out: Json = {"model": request.model} if request.model else {}
    try:
        texts = given["input"]
        texts = [texts] if isinstance(texts, str | dict) else texts
        if all(isinstance(text, str) for text in texts):
            out["texts"] = texts
        elif all(isinstance(text, dict) for text in texts):
            out["inputs"] = texts
        elif texts:
            raise BadRequest("input: Cohere takes texts and no tokens")
    except MISSHAPEN as error:
        raise misshapen("input", error) from None
    if "images" in given and not texts:
        out.pop("texts", None)
    for name, value in given.items():
        if name not in _OF_EMBEDDINGS and value is not None:
            out[name] = value
    if given.get("dimensions") is not None:
        out["output_dimension"] = given["dimensions"]
    out.setdefault("input_type", INPUT_TYPE)
    out.setdefault("embedding_types", ["float"])
    return out


_OF_EMBEDDINGS = frozenset({"dimensions", "encoding_format", "input", "user"})


# --- theirs → ours ----------------------------------------------------------------------------------------------------


def read_chat(data: Any) -> Request:
    """
    The chat that a body of version 2 asks for.

    Raises:
        BadRequest: If it is no such body.
    """
    name = "the request"
    try:
        if "message" in data and "messages" not in data:
            raise BadRequest("message: this is a chat of version 1; ask /v2/chat, with messages")
        name = "messages"
        body: Json = {"messages": [_read_message(message) for message in data["messages"]]}
        for name, value in data.items():
            if name in _READERS and value is not None:
                _READERS[name](body, value)
            elif name not in ("messages", "model", "stream"):
                body[_OURS.get(name, name)] = value
        return Request("chat", data.get("model") or "", body, data.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


_OURS: Mapping[str, str] = {theirs: ours for ours, theirs in NAMES.items()} | {"stop_sequences": "stop"}


def _read_message(message: Json) -> Json:
    out = dict(message)
    content = message.get("content")
    if message["role"] == "assistant" and isinstance(content, list) and content:
        first = content[0]
        # Only in front: it is written there again.
        if first["type"] == "thinking" and all(part["type"] == "text" for part in content[1:]):
            out["reasoning_content"] = first["thinking"]
            out["content"] = content[1:] or None
    return out


def _read_tool_choice(body: Json, choice: Any) -> None:
    body["tool_choice"] = choice.lower()


def _read_thinking(body: Json, thinking: Any) -> None:
    budget = thinking.get("token_budget")
    effort = next((effort for effort, tokens in THINKING_TOKENS.items() if tokens == budget), None)
    if thinking == {"type": "disabled"}:
        body["reasoning_effort"] = "none"
    elif thinking == {"type": "enabled"}:
        body["reasoning_effort"] = "high"
    elif thinking == {"type": "enabled", "token_budget": budget}:
        body |= (
            {"thinking": {"type": "enabled", "budget_tokens": budget}}
            if effort is None
            else {"reasoning_effort": effort}
        )
    else:
        body["thinking"] = thinking


def _read_response_format(body: Json, form: Any) -> None:
    if form.keys() == {"type", "json_schema"}:
        schema = form["json_schema"]
        # OpenAI wants a name for it.
        form = {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
    body["response_format"] = form


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {"response_format": _read_response_format, "thinking": _read_thinking, "tool_choice": _read_tool_choice}
)


def read_embed(data: Any) -> Request:
    """
    What is asked of `/v2/embed`, or of `/v1/embed`.

    Raises:
        BadRequest: If it is no such body.
    """
    try:
        body: Json = {"input": data.get("texts") or data.get("inputs") or []}
        if not body["input"] and not data.get("images"):
            raise BadRequest("texts is missing")
        for name, value in data.items():
            if name == "output_dimension" and value is not None:
                body["dimensions"] = value
            elif name not in ("inputs", "model", "output_dimension", "texts"):
                body[name] = value
        return Request("embed", data.get("model") or "", body)
    except MISSHAPEN as error:
        raise misshapen("the request", error) from None


def told(name: str, value: Any) -> Json | None:
    """What a parameter of Cohere's own means in our shape; see `Dialect.told`."""
    return {} if name == "priority" or (name, value) == ("safety_mode", "CONTEXTUAL") or value == [] else None
