"""A chat as OpenAI asks for it, said as Anthropic's Messages ask for it, and back.

The rules of what passes, what is refused and what is left out stand in `anthropic_messages`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest
from ..types.request import Request
from ..types.wire import encode
from .anthropic_words import THINKING, Json, json_object
from .foreign import understood
from .shapes import MISSHAPEN, each, misshapen, restated
from .thinking import TOKENS as THINKING_TOKENS
from .unsaid import Unsaid, refused

__all__ = [
    "ANSWER_TOKENS",
    "HINTS",
    "NEUTRAL",
    "THINKING_TOKENS",
    "read_chat",
    "read_hosted",
    "write_chat",
    "write_effort",
    "write_hosted",
]

FORMAT = "anthropic_messages"

ANSWER_TOKENS = 4096  # Messages wants a limit; Claude 3 Haiku, the smallest, writes no more than this

SMALLEST_BUDGET = 1024  # tokens; Anthropic refuses less (ThinkingConfigEnabledParam)

NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "frequency_penalty": (0,),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "logprobs": (False,),
        "modalities": (["text"],),
        "moderation": (),
        "n": (1,),
        "presence_penalty": (0,),
        "seed": (),
        "store": (False,),
        "top_logprobs": (0,),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
)
"""OpenAI's parameters that Messages cannot express, and the values of each that ask for nothing. Others are refused."""

HINTS = frozenset({"prediction", "prompt_cache_key", "prompt_cache_retention", "stream_options"})
"""OpenAI's parameters that make an answer faster or cheaper and nothing else. Usage comes in any case."""

_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
"""What Anthropic refuses in the id of a tool call; other upstreams write `functions.weather:0`."""

_BUDGETED = re.compile(r"claude-(?:instant|v?[123]\b|(?:(?:opus|sonnet|haiku)-)?4\b(?![.-][6-9](?!\d)))")
"""
Claudes that think up to a budget of tokens. Those since 4.6 decide for themselves how much, guided by `effort`.
https://platform.claude.com/docs/en/build-with-claude/effort (checked 2026-11-20)
"""

CLOUDS = ("bedrock-", "vertex-")
"""How the versions begin that clouds have of their own."""

_OF_TOOLS = ("caller", "cache_control", "is_error", "toolset_name")
"""What Anthropic knows about a call or a result that OpenAI does not."""


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def write_chat(request: Request) -> Json:
    """
    The body of a Messages request.

    Raises:
        BadRequest: If Messages cannot express it; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        return restated(native, request, _ELSEWHERE)
    given = understood(request, FORMAT)
    out: Json = {"model": request.model}
    for name, value in given.items():
        if value is None or name in _WRITERS or name in _LIMITS or name in HINTS:
            continue
        neutral = NEUTRAL.get(name)
        if neutral is None:
            out[name] = value
        elif value not in neutral:
            raise refused(name, "the Messages API")
    name = "thinking"
    try:
        for name, write in _WRITERS.items():
            value = given.get(name)
            if value is not None:
                write(out, value)
        name = "thinking"
        _write_limits(out, given)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    if not out.get("messages"):
        raise BadRequest("messages: a chat needs at least one message that is not a system message")
    if request.stream:
        out["stream"] = True
    return out


_ELSEWHERE = frozenset({"anthropic_version", "betas"})
"""Keys of a body of Anthropic's that say what its own API is told in headers."""

_LIMITS = frozenset({"betas", "max_completion_tokens", "max_tokens", "reasoning_effort"})


def _write_limits(out: Json, given: Json) -> None:
    limit = given.get("max_completion_tokens")
    if limit is None:
        limit = given.get("max_tokens")
    effort = given.get("reasoning_effort")
    if effort is not None:
        write_effort(out, effort, limit)
    out["max_tokens"] = _room(out) if limit is None else limit


def write_effort(out: Json, effort: str, limit: int | None) -> None:
    """
    `reasoning_effort` as the model takes it. A `thinking` of the caller's own is left alone.

    Args:
        out: What is to be sent, `model` among it; `thinking` and `output_config` are written there.
        limit: Tokens of the answer, if there is a limit.

    Raises:
        BadRequest: If there is no such effort, or the limit leaves no room to think.
    """
    if _thinks_by_effort(out["model"]):
        if effort == "none":
            out.setdefault("thinking", {"type": "disabled"})
            return
        out.setdefault("thinking", {"type": "adaptive"})
        # Anthropic's scale begins at low.
        out["output_config"] = {"effort": "low" if effort == "minimal" else effort} | out.get("output_config", {})
    elif effort != "none" and "thinking" not in out:
        budget = THINKING_TOKENS.get(effort)
        if budget is None:
            raise BadRequest(f"reasoning_effort: {effort!r} is none of {', '.join(THINKING_TOKENS)} or none")
        if limit is not None:
            # The limit covers thinking and saying, as OpenAI's does: at most half of it is thought away.
            if limit <= SMALLEST_BUDGET:
                raise Unsaid(
                    f"reasoning_effort: max_tokens {limit} leaves no room to think; it takes more than 1024",
                    "reasoning_effort",
                )
            budget = max(SMALLEST_BUDGET, min(budget, limit // 2))
        out["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _thinks_by_effort(model: str) -> bool:
    return "claude" in model and _BUDGETED.search(model) is None


def _room(out: Json) -> int:
    """The limit for those who set none: what every Claude may say, and beside it what this one may think."""
    thinking = out.get("thinking") or {}
    budget = thinking.get("budget_tokens", 0)
    # The newest think without being asked, and what they think counts towards the limit.
    if not budget and _thinks_by_effort(out["model"]) and thinking.get("type") != "disabled":
        effort = out.get("output_config", {}).get("effort", "medium")
        budget = THINKING_TOKENS.get(effort, THINKING_TOKENS["medium"])
    return int(ANSWER_TOKENS + budget)


def _write_messages(out: Json, messages: Any) -> None:
    system: list[Any] = [out["system"]] if out.get("system") else []
    turns: list[Json] = []
    each("messages", messages, _write_turn, turns, system)
    if len(system) == 1:
        out["system"] = system[0]
    elif system:
        out["system"] = [block for content in system for block in _blocks(content)]
    out["messages"] = turns


def _write_turn(message: Json, turns: list[Json], system: list[Any]) -> None:
    role, content = message["role"], message.get("content")
    if content and content.__class__ is str and len(message) == 2 and role in _SPEAKERS:
        _say(turns, role, content)  # as most messages are
    elif role == "user":
        _say(turns, "user", _marked(message, _content(content)))
    elif role == "assistant":
        said = _write_assistant(message)
        # Anthropic refuses a turn in which nothing was said; to leave it out says the same.
        if said:
            _say(turns, "assistant", _marked(message, said))
    elif role == "tool":
        _say(turns, "user", [_write_tool_result(message)])
    elif role not in ("system", "developer"):
        raise BadRequest(f"the Messages API has no role {role!r}")
    elif isinstance(content, str) or all(part["type"] == "text" for part in content or ()):
        # Hoisted wherever it stands: only some models take instructions in the middle.
        system.append(_marked(message, content or ""))
    else:
        turns.append({"role": "system", "content": content})  # Anthropic's own, a `tool_addition` for one


_SPEAKERS = ("user", "assistant")


def _say(turns: list[Json], role: str, content: Any) -> None:
    """Anthropic makes one turn of neighbours of one role, and wants the results of tools in the same one."""
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] = _blocks(turns[-1]["content"]) + _blocks(content)
    else:
        turns.append({"role": role, "content": content})


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _marked(message: Json, content: Any) -> Any:
    """Some write `cache_control` beside a message's content; Anthropic reads it in the last block."""
    mark = message.get("cache_control")
    if mark is None or not content:
        return content
    *rest, last = _blocks(content)
    return [*rest, {**last, "cache_control": mark}]


def _content(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    # Anthropic refuses an empty text; OpenAI does not mind it.
    return [part for part in each("content", content, _write_part) if part["type"] != "text" or part["text"]]


def _write_part(part: Json) -> Json:
    kind = part["type"]
    if kind == "text":
        return part
    if kind == "image_url":
        image = part["image_url"]
        block = {"type": "image", "source": _source(image if isinstance(image, str) else image["url"])}
    elif kind == "file":
        block = _write_file(part["file"])
    elif kind == "refusal":
        block = {"type": "text", "text": part["refusal"]}
    elif kind == "input_audio":
        raise Unsaid("the Messages API takes no audio")
    else:
        return part
    return block | {name: value for name, value in part.items() if name not in ("type", kind)}


def _source(url: str) -> Json:
    if url[:5] != "data:":
        return {"type": "url", "url": url}
    head, comma, data = url[5:].partition(",")
    media, *parameters = head.split(";")
    if not comma or not media:
        raise BadRequest("a data: URL names no media type; write data:image/png;base64,…")
    if "base64" not in parameters:
        data = b64encode(unquote_to_bytes(data)).decode()
    return {"type": "base64", "media_type": media, "data": data}


def _write_file(file: Json) -> Json:
    if file.get("file_id"):
        source: Json = {"type": "file", "file_id": file["file_id"]}
    else:
        data = file["file_data"]
        bare = "," not in data[:256] and "://" not in data[:16]  # OpenAI takes base64 without a prefix for a PDF
        source = {"type": "base64", "media_type": "application/pdf", "data": data} if bare else _source(data)
    media = source.get("media_type", "")
    if media.startswith("image/"):
        return {"type": "image", "source": source}
    if media.startswith("text/"):
        text = b64decode(source["data"]).decode("utf-8", "replace")
        source = {"type": "text", "media_type": "text/plain", "data": text}
    block = {"type": "document", "source": source}
    if file.get("filename"):
        block["title"] = file["filename"]
    return block


def _write_assistant(message: Json) -> Any:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise Unsaid(f"the Messages API has no {name}", name)
    said = _content(message.get("content"))
    thinking, calls, refusal = message.get("thinking_blocks"), message.get("tool_calls"), message.get("refusal")
    if not (thinking or calls or refusal):
        return said
    blocks: list[Json] = list(thinking or ())
    if said:
        blocks += _blocks(said)
    if refusal:
        blocks.append({"type": "text", "text": refusal})
    blocks += [_write_tool_use(call) for call in calls or ()]
    return blocks


def _write_tool_use(call: Json) -> Json:
    function = call.get("function")
    if function is None:
        raise BadRequest(f"a tool call of type {call.get('type')!r}: the Messages API knows functions only")
    arguments = function.get("arguments") or ""
    block = {
        "type": "tool_use",
        "id": _FOREIGN.sub("_", call["id"]),
        "name": function["name"],
        "input": json_object(arguments) if isinstance(arguments, str) else arguments,
    }
    return _with(block, call, _OF_TOOLS)


def _write_tool_result(message: Json) -> Json:
    block = {
        "type": "tool_result",
        "tool_use_id": _FOREIGN.sub("_", message["tool_call_id"]),
        "content": _content(message.get("content")),
    }
    return _with(block, message, _OF_TOOLS)


def _with(target: Json, source: Json, names: Iterable[str]) -> Json:
    for name in names:
        if name in source:
            target[name] = source[name]
    return target


def _write_tools(out: Json, tools: Any) -> None:
    out["tools"] = each("tools", tools, _write_tool)


def _write_tool(tool: Json) -> Json:
    function = tool.get("function")
    if function is None:
        if tool.get("type") == "custom" and "custom" in tool:
            raise Unsaid("it takes free text (custom); the Messages API knows functions only")
        return tool
    out = {name: value for name, value in tool.items() if name not in ("type", "function")}
    out |= {
        name: value for name, value in function.items() if name not in ("parameters", "strict") and value is not None
    }
    out["name"] = function["name"]
    parameters = function.get("parameters") or {}
    # Anthropic wants the type said, even of a function without parameters.
    out["input_schema"] = parameters if "type" in parameters else {"type": "object", **parameters}
    if function.get("strict"):
        out["strict"] = True
    return out


_CHOICES: Mapping[str, str] = MappingProxyType({"auto": "auto", "none": "none", "required": "any"})


def _write_tool_choice(out: Json, choice: Any) -> None:
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise BadRequest(f"tool_choice: {choice!r} is none of {', '.join(_CHOICES)}")
        # Without tools there is nothing to choose, and Anthropic refuses to hear of it.
        if out.get("tools") or choice == "required":
            out["tool_choice"] = {"type": _CHOICES[choice]}
    elif choice["type"] == "function":
        out["tool_choice"] = {"type": "tool", "name": choice["function"]["name"]}
    elif choice["type"] in ("allowed_tools", "custom"):
        raise Unsaid(
            f"tool_choice: the Messages API has no {choice['type']}; name one function or send fewer tools",
            "tool_choice",
        )
    else:
        out["tool_choice"] = choice


def _write_parallel(out: Json, allowed: Any) -> None:
    choice = out.get("tool_choice", {"type": "auto"})
    if allowed is False and out.get("tools") and choice.get("type") != "none":
        out["tool_choice"] = {**choice, "disable_parallel_tool_use": True}


def _write_stop(out: Json, stop: Any) -> None:
    out["stop_sequences"] = [stop] if isinstance(stop, str) else stop


def _write_user(out: Json, user: Any) -> None:
    out["metadata"] = {"user_id": user} | out.get("metadata", {})


def _write_response_format(out: Json, form: Any) -> None:
    kind = form["type"]
    if kind == "json_schema":
        asked = form["json_schema"]
        schema = _closed(asked["schema"])
        if asked.get("description"):
            schema = {"description": asked["description"]} | schema
        out["output_config"] = {**out.get("output_config", {}), "format": {"type": kind, "schema": schema}}
    elif kind != "text":
        raise Unsaid(f"response_format: the Messages API has no {kind}; give a json_schema", "response_format")


def _closed(schema: Any) -> Any:
    """
    The schema with every object closed that lists its properties and leaves open whether there are more.

    Anthropic takes no open ones. What fits the closed schema fits the one that was given.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: Json = {}
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, dict):
            # The names in here are the caller's own, and may be those of keywords.
            out[name] = {key: _closed(item) for key, item in value.items()}
        else:
            out[name] = value if name in _VALUES else _closed(value)
    if out.get("type") == "object" and isinstance(out.get("properties"), dict):
        out.setdefault("additionalProperties", False)
    return out


_VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keywords of JSON schema that hold values and no schemas."""

_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas by names of the caller's."""


def _write_service_tier(out: Json, tier: Any) -> None:
    if tier not in ("auto", "default", "standard_only"):
        raise Unsaid(f"service_tier: the Messages API has no {tier!r}, only auto and default", "service_tier")
    out["service_tier"] = "standard_only" if tier == "default" else tier


_WRITERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "messages": _write_messages,
        "tools": _write_tools,
        "tool_choice": _write_tool_choice,
        "parallel_tool_calls": _write_parallel,
        "stop": _write_stop,
        "user": _write_user,
        "safety_identifier": _write_user,
        "response_format": _write_response_format,
        "service_tier": _write_service_tier,
    }
)
"""In this order: a later one looks at what an earlier one wrote."""


# --- theirs → ours ----------------------------------------------------------------------------------------------------


def read_chat(data: Any) -> Request:
    """
    The chat that the body of a Messages request asks for.

    Raises:
        BadRequest: If it is no such body.
    """
    name = "the request"
    try:
        body: Json = {"messages": _read_messages(data)}
        for name, value in data.items():
            read = _READERS.get(name)
            if read is not None:
                read(body, value)
            elif name not in _READ_APART:
                body[name] = value
        # An effort alone does not make every model think, so alone it is no `reasoning_effort`.
        if "thinking" in data and "effort" in body.get("output_config", {}):
            config = body["output_config"]
            body["reasoning_effort"] = config.pop("effort")
            if not config:
                del body["output_config"]
        name = "the request"
        return Request("chat", data.get("model") or "", body, data.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


_READ_APART = frozenset({"messages", "model", "stream", "system"})


def _read_messages(data: Json) -> list[Json]:
    messages: list[Json] = []
    system = data.get("system")
    if system:
        messages.append({"role": "system", "content": _simplest(system)})
    for message in data["messages"]:
        role, content = message["role"], message["content"]
        if isinstance(content, str) or role not in ("user", "assistant"):
            messages.append({"role": role, "content": content})
        elif role == "assistant":
            messages.append(_read_assistant(content))
        else:
            messages += _read_user(content)
    return messages


def _simplest(parts: Any) -> Any:
    """One plain text needs no list; many a compatible server knows none."""
    if isinstance(parts, list) and len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _read_user(content: list[Json]) -> list[Json]:
    results: list[Json] = []
    parts: list[Json] = []
    for block in content:
        if block["type"] == "tool_result":
            given = block.get("content") or ""
            said = given if isinstance(given, str) else _simplest([_read_part(part) for part in given])
            message = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": said}
            results.append(_with(message, block, _OF_TOOLS))
        else:
            parts.append(_read_part(block))
    return [*results, {"role": "user", "content": _simplest(parts)}] if parts or not results else results


def _read_part(block: Json) -> Json:
    """The part that OpenAI would write; a block for which it has no words stays as it is."""
    kind: str = block["type"]
    source: Any = block.get("source")
    match kind, source:
        case "image", {"type": "base64"}:
            part: Json = {"type": "image_url", "image_url": {"url": _data_url(source)}}
        case "image", {"type": "url"}:
            part = {"type": "image_url", "image_url": {"url": source["url"]}}
        case "document", {"type": "base64"}:
            part = {"type": "file", "file": {"file_data": _data_url(source)}}
        case "document", {"type": "file"}:
            part = {"type": "file", "file": {"file_id": source["file_id"]}}
        case _:
            return block
    if kind == "document" and block.get("title"):
        part["file"]["filename"] = block["title"]
    return part | {name: value for name, value in block.items() if name not in ("type", "source", "title")}


def _data_url(source: Json) -> str:
    return f"data:{source['media_type']};base64,{source['data']}"


def _read_assistant(content: list[Json]) -> Json:
    thinking: list[Json] = []
    parts: list[Json] = []
    calls: list[Json] = []
    for block in content:
        kind = block["type"]
        if kind == "tool_use":
            function = {"name": block["name"], "arguments": encode(block["input"]).decode()}
            calls.append(_with({"id": block["id"], "type": "function", "function": function}, block, _OF_TOOLS))
        elif kind in THINKING and not parts and not calls:
            thinking.append(block)
        else:
            parts.append(block)
    message: Json = {"role": "assistant", "content": _simplest(parts) or None}
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["reasoning_content"] = "".join(block.get("thinking", "") for block in thinking)
        message["thinking_blocks"] = thinking
    return message


def _read_tools(body: Json, tools: Any) -> None:
    body["tools"] = [_read_tool(tool) for tool in tools]


_OF_FUNCTIONS = frozenset({"type", "name", "input_schema", "description", "strict"})


def _read_tool(tool: Json) -> Json:
    if "input_schema" not in tool or tool.get("type", "custom") != "custom":
        return tool  # one that runs at Anthropic's
    function = _with({"name": tool["name"], "parameters": tool["input_schema"]}, tool, ("description", "strict"))
    rest = {name: value for name, value in tool.items() if name not in _OF_FUNCTIONS}
    return {"type": "function", "function": function} | rest


def _read_tool_choice(body: Json, choice: Any) -> None:
    kind = choice["type"]
    if kind == "tool":
        body["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    else:
        body["tool_choice"] = "required" if kind == "any" else kind
    if choice.get("disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False


def _read_stop(body: Json, stop: Any) -> None:
    body["stop"] = stop


def _read_metadata(body: Json, metadata: Any) -> None:
    rest = dict(metadata or {})
    if rest.get("user_id"):
        body["user"] = rest.pop("user_id")
    if rest:
        body["metadata"] = rest


def _read_output_config(body: Json, config: Any) -> None:
    rest = dict(config or {})
    form = rest.pop("format", None)
    if form:
        _read_output_format(body, form)
    if rest:
        body["output_config"] = rest


def _read_output_format(body: Json, form: Any) -> None:
    if form:
        # OpenAI wants a name for it.
        name = _FOREIGN.sub("_", str(form["schema"].get("title") or "response"))[:64]
        asked = {"name": name, "schema": form["schema"], "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": asked}


def _read_service_tier(body: Json, tier: Any) -> None:
    body["service_tier"] = "default" if tier == "standard_only" else tier


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "metadata": _read_metadata,
        "output_config": _read_output_config,
        "output_format": _read_output_format,
        "service_tier": _read_service_tier,
        "stop_sequences": _read_stop,
        "tool_choice": _read_tool_choice,
        "tools": _read_tools,
    }
)


# --- hosted by others -------------------------------------------------------------------------------------------------


def told(name: str, value: Any) -> Json | None:
    """What a parameter of Anthropic's own means in our shape; see `Dialect.told`."""
    if name in _SPEAKS_OF_WAYS:
        return {}
    if name == "output_config" and isinstance(value, dict) and value.keys() == {"effort"}:
        return {"reasoning_effort": value["effort"]}
    return None


_SPEAKS_OF_WAYS = frozenset({"anthropic_version", "betas", "cache_control"})
"""What changes no answer, or says what its header said."""


def betas_of(request: Request) -> list[tuple[str, str]]:
    """The header that asks for what is not there for everybody yet; none, if nobody asks."""
    native = request.native(FORMAT)
    betas = (request.body if native is None else native).get("betas")
    return [("anthropic-beta", betas if isinstance(betas, str) else ",".join(betas))] if betas else []


def write_hosted(request: Request, version: str) -> Json:
    """The body as clouds want it that host Claude: the model stands in the address, the version in here."""
    body = write_chat(request)
    body.pop("model", None)
    native = request.native(FORMAT) or {}
    # A version of the caller's own stands, but not another cloud's.
    own = str(native.get("anthropic_version", version))
    body.setdefault("anthropic_version", version if own.startswith(CLOUDS) else own)
    return body


def read_hosted(data: Any, version: str) -> Request:
    """
    The chat that such a body asks for.

    Raises:
        BadRequest: If it is no such body.
    """
    if isinstance(data, dict) and data.get("anthropic_version") == version:
        data = {name: value for name, value in data.items() if name != "anthropic_version"}
    return read_chat(data)
