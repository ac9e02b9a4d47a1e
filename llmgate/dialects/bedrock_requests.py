"""A chat as OpenAI asks for it, said as Bedrock's Converse asks for it, and back.

The rules of what passes, what is refused and what is left out stand in `bedrock`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import BadRequest
from ..types.request import Request
from ..types.wire import encode, loads
from .anthropic_requests import HINTS as OF_ANTHROPIC, NEUTRAL, write_effort
from .anthropic_words import json_object
from .bedrock_words import KEPT, THOUGHTS, Json, reasoning_of, runs_there, thought_of, write_thought
from .foreign import understood
from .shapes import MISSHAPEN, each, misshapen, restated
from .thinking import effort_of
from .unsaid import Unsaid, refused

__all__ = ["ADDRESS", "FIELDS", "FORMAT", "HINTS", "read_chat", "write_chat"]

FORMAT = "bedrock"
ADDRESS = frozenset({"modelId", "model", "stream"})
"""Keys of a body that Amazon reads in the address."""

HINTS = OF_ANTHROPIC | {"safety_identifier", "user"}
"""OpenAI's parameters that change no answer. Amazon has no words for them."""

_LIMITS: Mapping[str, str] = MappingProxyType(
    {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}
)
"""What stands in `inferenceConfig`."""

_OF_CLAUDE: Mapping[str, str] = MappingProxyType(
    {"betas": "anthropic_beta", "output_config": "output_config", "thinking": "thinking", "top_k": "top_k"}
)
"""Anthropic's parameters; Bedrock hands what it does not know itself to the model in `additionalModelRequestFields`."""

FIELDS = "additionalModelRequestFields"

_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "application/pdf": "pdf",
        "text/csv": "csv",
        "application/msword": "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
        "application/vnd.ms-excel": "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
        "text/html": "html",
        "text/plain": "txt",
        "text/markdown": "md",
    }
)
_MEDIA: Mapping[str, str] = MappingProxyType({format: media for media, format in _FORMATS.items()})
_IMAGES = frozenset({"png", "jpeg", "gif", "webp"})

FOREIGN = re.compile(r"[^a-zA-Z0-9_.:-]")
FOREIGN_TO_CLAUDE = re.compile(r"[^a-zA-Z0-9_-]")
"""What Bedrock refuses in the id of a tool call, and what Claude does. Kimi's `functions.weather:0` must stay."""

_NO_NAME = re.compile(r"[^a-zA-Z0-9\s()\[\]-]", re.ASCII)
"""What the name of a document must not hold."""
NAME_CHARACTERS = 180  # and a number behind them; Bedrock takes 200


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def write_chat(request: Request) -> Json:
    """
    The body of a Converse request.

    Raises:
        BadRequest: If Converse cannot express it; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        return restated(native, request, ADDRESS)
    given = understood(request, FORMAT)
    out: Json = {}
    for name, value in given.items():
        if value is None or name in _WRITERS or name in _APART or name in HINTS:
            continue
        neutral = NEUTRAL.get(name)
        if neutral is None:
            out[name] = value
        elif value not in neutral:
            raise refused(name, "Bedrock")
    name = "inferenceConfig"
    try:
        _write_limits(out, given, request.model)
        name = "messages"
        _write_messages(out, given["messages"], request.model)
        for name, write in _WRITERS.items():
            value = given.get(name)
            if value is not None:
                write(out, value)
        name = "reasoning_effort"
        effort, thinking = given.get(name), given.get("thinking")
        if effort is None and thinking is not None and "claude" not in request.model:
            name, effort = "thinking", effort_of(thinking)
        if effort is not None:
            _write_effort(out, effort, request.model, name)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    return out


_APART = frozenset({"max_completion_tokens", "messages", "reasoning_effort", *_LIMITS, *_OF_CLAUDE})


def _write_limits(out: Json, given: Json, model: str) -> None:
    config = dict(out.pop("inferenceConfig", {}))
    for name, theirs in _LIMITS.items():
        value = given.get(name)
        if name == "max_tokens" and given.get("max_completion_tokens") is not None:
            value = given["max_completion_tokens"]
        elif name == "stop" and isinstance(value, str):
            value = [value]
        if value is not None:
            config[theirs] = value
    if config:
        out["inferenceConfig"] = config
    claudes = {theirs: given[name] for name, theirs in _OF_CLAUDE.items() if given.get(name) is not None}
    if "claude" not in model:
        claudes.pop("thinking", None)  # another maker's models are told an effort
    _add_fields(out, claudes)


def _add_fields(out: Json, fields: Json) -> None:
    """What goes to the model itself; what the caller wrote there stands."""
    if fields:
        out[FIELDS] = fields | out.get(FIELDS, {})


def _write_effort(out: Json, effort: str, model: str, name: str) -> None:
    """
    `reasoning_effort`, for which each maker has words of its own.

    https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html (checked 2026-11-20)
    """
    if "claude" in model:
        fields = {"model": model} | {name: out[FIELDS][name] for name in _THINKING if name in out.get(FIELDS, {})}
        write_effort(fields, effort, out.get("inferenceConfig", {}).get("maxTokens"))
        for field in _THINKING:
            if field in fields:
                out[FIELDS] = out.get(FIELDS, {}) | {field: fields[field]}
    elif "openai.gpt-oss" in model and effort in _EFFORTS:
        _add_fields(out, {"reasoning_effort": effort})
    elif "amazon.nova-2" in model and effort in _EFFORTS:
        _add_fields(out, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}})
    elif effort != "none" or "openai.gpt-oss" in model:
        raise Unsaid(
            f"{name}: Bedrock has no word for {effort!r} of this model; write its own in {FIELDS}",
            name,
        )


_THINKING = ("thinking", "output_config")
_EFFORTS = frozenset({"low", "medium", "high"})


class _Turns:
    """
    A conversation that is being written.

    Attributes:
        foreign: What the model refuses in the id of a call.
        names: Names of the documents so far; Bedrock refuses two of one name.
    """

    __slots__ = ("foreign", "names", "system", "turns")

    def __init__(self, model: str, system: list[Json]) -> None:
        self.foreign = FOREIGN_TO_CLAUDE if "claude" in model else FOREIGN
        self.names: set[str] = set()
        self.system = system
        self.turns: list[Json] = []

    def add(self, message: Json) -> None:
        role, content = message["role"], message.get("content")
        if len(message) == 2 and content.__class__ is str and role in _SPEAKERS:  # as most messages are
            blocks = [{"text": content}] if content and not content.isspace() else []
        elif role == "tool":
            blocks, role = _write_tool_result(message, self), "user"
        elif role == "assistant":
            blocks = _write_assistant(message, self)
        elif role in ("user", "system", "developer"):
            blocks = _content(content, self.names)
        else:
            raise BadRequest(f"Bedrock has no role {role!r}")
        if "cache_control" in message:
            blocks += _cache_point(message)
        if role in ("system", "developer"):
            if all(block.keys() <= _OF_SYSTEM for block in blocks):
                self.system += blocks  # wherever it stands: few models take instructions in the middle
                return
            role = "system"
        # Bedrock wants the roles in turns, and the results of all calls in one. A turn without a word it refuses.
        if blocks and self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        elif blocks:
            self.turns.append({"role": role, "content": blocks})


def _write_messages(out: Json, messages: Any, model: str) -> None:
    turns = _Turns(model, list(out.get("system") or ()))
    each("messages", messages, turns.add)
    if turns.system:
        out["system"] = turns.system
    if not turns.turns:
        raise BadRequest("messages: a chat needs at least one message that is not a system message")
    out["messages"] = turns.turns


_SPEAKERS = ("user", "assistant")
_OF_SYSTEM = frozenset({"text", "guardContent", "cachePoint"})


def _cache_point(marked: Json) -> list[Json]:
    """Anthropic marks what ends a part worth caching; Bedrock puts a mark behind it."""
    mark = marked.get("cache_control")
    if not mark:
        return []
    return [{"cachePoint": {"type": "default"} | ({"ttl": mark["ttl"]} if mark.get("ttl") else {})}]


def _content(content: Any, names: set[str]) -> list[Json]:
    # Bedrock refuses a blank text; OpenAI does not mind it.
    if content is None or isinstance(content, str):
        return [{"text": content}] if content and not content.isspace() else []
    return [block for blocks in each("content", content, _blocks, names) for block in blocks]


def _blocks(part: Json, names: set[str]) -> list[Json]:
    if part.get("type") != "text":
        return [_write_part(part, names), *_cache_point(part)]
    return [*([{"text": part["text"]}] if part["text"].strip() else ()), *_cache_point(part)]


def _write_part(part: Json, names: set[str]) -> Json:
    kind = part.get("type")
    if kind is None:
        document = part.get("document")
        if document is not None:
            names.add(document.get("name", ""))
        return part  # Bedrock's own
    if kind == "image_url":
        image = part["image_url"]
        return _write_image(image if isinstance(image, str) else image["url"])
    if kind == "file":
        return _write_file(part["file"], names)
    if kind == "input_audio":
        audio = part["input_audio"]
        return {"audio": {"format": audio["format"], "source": {"bytes": audio["data"]}}}
    if kind == "refusal":
        return {"text": part["refusal"]}
    raise Unsaid(f"Bedrock has no content of the type {kind!r}")


def _write_image(url: str) -> Json:
    if url.startswith("s3://"):
        format = url.rpartition(".")[2].lower()
        source: Json = {"s3Location": {"uri": url}}
    else:
        media, data = _data(url)
        format, source = media.rpartition("/")[2], {"bytes": data}
    format = "jpeg" if format == "jpg" else format
    if format not in _IMAGES:
        raise Unsaid(f"Bedrock takes images as {', '.join(sorted(_IMAGES))}")
    return {"image": {"format": format, "source": source}}


def _data(url: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL."""
    if not url.startswith("data:"):
        raise Unsaid("Bedrock fetches no addresses but s3://…; send the bytes as data:image/png;base64,…")
    head, comma, data = url.removeprefix("data:").partition(",")
    media, *parameters = head.split(";")
    if not comma or not media:
        raise BadRequest("a data: URL names no media type; write data:image/png;base64,…")
    return media, data if "base64" in parameters else b64encode(unquote_to_bytes(data)).decode()


def _write_file(file: Json, names: set[str]) -> Json:
    if file.get("file_id"):
        raise Unsaid("Bedrock keeps no files; send file_data")
    data, filename = file["file_data"], file.get("filename") or ""
    stem, _, ending = filename.rpartition(".") if "." in filename else (filename, "", "")
    source: Json
    if data.startswith("s3://"):
        format, source = data.rpartition(".")[2].lower(), {"s3Location": {"uri": data}}
    else:
        # OpenAI takes base64 without a prefix for a PDF.
        media, data = _data(data) if data.startswith("data:") else ("application/pdf", data)
        if media.startswith("image/"):
            return _write_image(f"data:{media};base64,{data}")
        ending = ending.lower()
        format = _FORMATS.get(media) or ("txt" if media.startswith("text/") and ending not in _MEDIA else ending)
        source = {"bytes": data}
    if format not in _MEDIA:
        raise Unsaid(f"Bedrock takes documents as {', '.join(sorted(_MEDIA))}; name the file accordingly")
    return {"document": {"format": format, "name": _name(stem, names), "source": source}}


def _name(stem: str, names: set[str]) -> str:
    """A name that Bedrock takes; it refuses two documents of one name."""
    plain = _plain(stem) or "document"
    name, number = plain, 1
    while name in names:
        number += 1
        name = f"{plain} {number}"
    names.add(name)
    return name


def _plain(name: str) -> str:
    return " ".join(_NO_NAME.sub("-", name).split())[:NAME_CHARACTERS]


def _write_assistant(message: Json, turns: _Turns) -> list[Json]:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise Unsaid(f"Bedrock has no {name}", name)
    blocks = [write_thought(thought) for thought in message.get(THOUGHTS) or ()]
    blocks += message.get(KEPT) or ()
    blocks += _content(message.get("content"), turns.names)
    if message.get("refusal"):
        blocks.append({"text": message["refusal"]})
    for call in message.get("tool_calls") or ():
        blocks.append(_write_tool_use(call, turns.foreign))
        if "cache_control" in call:
            blocks += _cache_point(call)
    return blocks


def _write_tool_use(call: Json, foreign: re.Pattern[str]) -> Json:
    function = call.get("function")
    if function is None:
        raise BadRequest(f"a tool call of type {call.get('type')!r}: Bedrock knows functions only")
    arguments = function.get("arguments") or ""
    if isinstance(arguments, str):
        arguments = json_object(arguments)
    return {"toolUse": {"toolUseId": foreign.sub("_", call["id"]), "name": function["name"], "input": arguments}}


def _write_tool_result(message: Json, turns: _Turns) -> list[Json]:
    content = _content(message.get("content"), turns.names)
    # Nothing is marked within a result; what ends with it is as good.
    marks = [block for block in content if "cachePoint" in block]
    if marks:
        content = [block for block in content if "cachePoint" not in block]
    result: Json = {"toolUseId": turns.foreign.sub("_", message["tool_call_id"]), "content": content}
    failed = message.get("is_error")
    if failed is not None:
        result["status"] = "error" if failed else "success"
    return [{"toolResult": result}, *marks[-1:]]


def _write_tools(out: Json, tools: Any) -> None:
    written: list[Json] = []
    for spec, tool in zip(each("tools", tools, _write_tool), tools, strict=True):
        written += [spec, *_cache_point(tool)]
    if written:
        out["toolConfig"] = {"tools": written} | out.get("toolConfig", {})


def _write_tool(tool: Json) -> Json:
    function = tool.get("function")
    if function is None:
        if "type" in tool:
            raise Unsaid(f"it is of the type {tool['type']!r}; Bedrock knows functions only")
        return tool  # Bedrock's own
    parameters = function.get("parameters") or {}
    # Bedrock wants the type said, even of a function without parameters.
    schema = parameters if "type" in parameters else {"type": "object", "properties": {}, **parameters}
    spec: Json = {"name": function["name"], "inputSchema": {"json": schema}}
    if function.get("description"):
        spec["description"] = function["description"]
    if function.get("strict") is not None:
        spec["strict"] = function["strict"]
    return {"toolSpec": spec}


def _write_tool_choice(out: Json, choice: Any) -> None:
    config = out.get("toolConfig")
    if choice == "none":
        # Bedrock has no word for it: whoever is to call nothing is told of nothing, if nothing was called before.
        if config is not None and any("toolUse" in block for turn in out["messages"] for block in turn["content"]):
            raise Unsaid(
                "tool_choice: Bedrock has no none once tools were called; ask for it in the prompt", "tool_choice"
            )
        out.pop("toolConfig", None)
        return
    if choice in ("auto", "required"):
        # Without tools there is nothing to choose, and Bedrock refuses to hear of it.
        if config is None and choice == "auto":
            return
        written: Json = {"auto" if choice == "auto" else "any": {}}
    elif isinstance(choice, str):
        raise BadRequest(f"tool_choice: {choice!r} is none of auto, none, required")
    elif "type" not in choice:
        written = choice  # Bedrock's own
    elif choice["type"] == "function":
        written = {"tool": {"name": choice["function"]["name"]}}
    else:
        raise Unsaid(
            f"tool_choice: Bedrock has no {choice['type']}; name one function or send fewer tools", "tool_choice"
        )
    out["toolConfig"] = {**(config or {}), "toolChoice": written}


def _write_parallel(out: Json, allowed: Any) -> None:
    if allowed is False and out.get("toolConfig"):
        raise Unsaid(
            "parallel_tool_calls: Bedrock cannot forbid them; leave it out or name another provider",
            "parallel_tool_calls",
        )


def _write_response_format(out: Json, form: Any) -> None:
    kind = form["type"]
    if kind == "json_schema":
        asked = form["json_schema"]
        # A schema is a text here.
        schema: Json = {"schema": encode(asked["schema"]).decode()}
        schema |= {name: asked[name] for name in ("name", "description") if asked.get(name)}
        wanted = {"type": kind, "structure": {"jsonSchema": schema}}
        out["outputConfig"] = {**out.get("outputConfig", {}), "textFormat": wanted}
    elif kind != "text":
        raise Unsaid(f"response_format: Bedrock has no {kind}; give a json_schema", "response_format")


def _write_service_tier(out: Json, tier: Any) -> None:
    if tier != "auto":
        out["serviceTier"] = {"type": tier}


def _write_metadata(out: Json, metadata: Any) -> None:
    if metadata:
        out["requestMetadata"] = metadata


_WRITERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "tools": _write_tools,
        "tool_choice": _write_tool_choice,
        "parallel_tool_calls": _write_parallel,
        "response_format": _write_response_format,
        "service_tier": _write_service_tier,
        "metadata": _write_metadata,
    }
)
"""In this order: a later one looks at what an earlier one wrote."""


# --- theirs → ours ----------------------------------------------------------------------------------------------------


def read_chat(data: Any) -> Request:
    """
    The chat that the body of a Converse request asks for.

    The model and whether it streams stand in the URL; whoever knows them adds `modelId` and `stream` to the body.

    Raises:
        BadRequest: If it is no such body.
    """
    name = "messages"
    try:
        body: Json = {"messages": _read_messages(data)}
        for name, value in data.items():
            read = _READERS.get(name)
            if read is not None:
                read(body, value)
            elif name not in _READ_APART:
                body[name] = value
        name = "the request"
        return Request("chat", data.get("modelId") or "", body, data.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


_READ_APART = frozenset({"messages", "modelId", "stream", "system"})


def _read_messages(data: Json) -> list[Json]:
    messages: list[Json] = []
    system = data.get("system")
    if system:
        messages.append({"role": "system", "content": _simplest(_read_blocks(system))})
    for message in data["messages"]:
        role, content = message["role"], message["content"]
        text = content[0].get("text") if len(content) == 1 else None
        if text and text.__class__ is str and role in _SPEAKERS:
            messages.append({"role": role, "content": text})  # as most of them are
        elif role == "assistant":
            messages.append(_read_assistant(content))
        elif role == "user":
            messages += _read_user(content)
        else:
            messages.append({"role": role, "content": _read_blocks(content)})
    return messages


def _simplest(parts: list[Json]) -> Any:
    """One plain text needs no list; many a compatible server knows none."""
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == _TEXT else parts


_TEXT = frozenset({"type", "text"})


def _read_blocks(blocks: list[Json]) -> list[Json]:
    parts: list[Json] = []
    for block in blocks:
        if not _marks(block, parts):
            parts.append(_read_block(block))
    return parts


def _marks(block: Json, before: list[Json]) -> bool:
    """Whether a block is a cache point, and what stands before it bears the mark now, as Anthropic writes it."""
    point = block.get("cachePoint")
    last = before[-1] if before else {}
    # Bedrock's own blocks have no type, and stand for themselves.
    if point is None or "cache_control" in last or not last.keys() & _MARKABLE:
        return False
    if point != {"type": "default"} and point.keys() != {"type", "ttl"}:
        return False
    last["cache_control"] = {**point, "type": "ephemeral"}
    return True


_MARKABLE = frozenset({"type", "role"})


def _read_user(content: list[Json]) -> list[Json]:
    results: list[Json] = []
    parts: list[Json] = []
    for block in content:
        result = block.get("toolResult")
        if _marks(block, parts or results):
            continue
        if result is None or parts or "type" in result:
            parts.append(_read_block(block))
            continue
        said = _simplest(_read_blocks(result["content"]))
        message = {"role": "tool", "tool_call_id": result["toolUseId"], "content": said}
        if "status" in result:
            message["is_error"] = result["status"] == "error"
        results.append(message)
    return [*results, {"role": "user", "content": _simplest(parts)}] if parts or not results else results


def _read_block(block: Json) -> Json:
    """The part that OpenAI would write; a block for which it has no words stays as it is."""
    if block.get("text").__class__ is str:
        return {"type": "text", "text": block["text"]}
    match block:
        case {"image": {"format": format, "source": {"bytes": data}}}:
            return {"type": "image_url", "image_url": {"url": f"data:image/{format};base64,{data}"}}
        case {"audio": {"format": "mp3" | "wav" as format, "source": {"bytes": data}}}:
            return {"type": "input_audio", "input_audio": {"format": format, "data": data}}
        case {"document": {"format": format, "name": name, "source": {"bytes": data}, **more}} if not more:
            if format in _MEDIA and name == _plain(name):
                file = {"file_data": f"data:{_MEDIA[format]};base64,{data}", "filename": f"{name}.{format}"}
                return {"type": "file", "file": file}
    return block


def _read_assistant(content: list[Json]) -> Json:
    thoughts: list[Json] = []
    reasoning: list[str] = []
    parts: list[Json] = []
    calls: list[Json] = []
    last: list[Json] = []
    for block in content:
        if _marks(block, last):
            continue
        thought, call = block.get("reasoningContent"), block.get("toolUse")
        if thought is not None and not parts and not calls:
            thoughts.append(thought_of(thought))
            reasoning.append(reasoning_of(thought))
        elif call is not None and not runs_there(call):
            function = {"name": call["name"], "arguments": encode(call["input"]).decode()}
            calls.append({"id": call["toolUseId"], "type": "function", "function": function})
            last = calls
        else:
            parts.append(_read_block(block))
            last = parts
    message: Json = {"role": "assistant", "content": _simplest(parts) or None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(reasoning)
        message[THOUGHTS] = thoughts
    return message


_OURS: Mapping[str, str] = MappingProxyType({theirs: ours for ours, theirs in _LIMITS.items()})


def _read_limits(body: Json, config: Any) -> None:
    rest = {}
    for name, value in (config or {}).items():
        if name in _OURS:
            body[_OURS[name]] = value
        else:
            rest[name] = value
    if rest:
        body["inferenceConfig"] = rest


def _read_tool_config(body: Json, config: Any) -> None:
    rest = dict(config or {})
    tools, choice = rest.pop("tools", None), rest.pop("toolChoice", None)
    if tools:
        body["tools"] = []
        for tool in tools:
            if not _marks(tool, body["tools"]):
                body["tools"].append(_read_tool(tool))
    match choice:
        case {"auto": _}:
            body["tool_choice"] = "auto"
        case {"any": _}:
            body["tool_choice"] = "required"
        case {"tool": {"name": name}}:
            body["tool_choice"] = {"type": "function", "function": {"name": name}}
        case dict():
            body["tool_choice"] = choice
    if rest:
        body["toolConfig"] = rest


def _read_tool(tool: Json) -> Json:
    spec = tool.get("toolSpec")
    if spec is None:
        return tool  # one that runs at Amazon's, or a cache point
    function = {"name": spec["name"], "parameters": spec["inputSchema"]["json"]}
    function |= {name: spec[name] for name in ("description", "strict") if name in spec}
    return {"type": "function", "function": function}


def _read_output_config(body: Json, config: Any) -> None:
    rest = dict(config or {})
    match rest.get("textFormat"):
        case {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, **named}}}:
            del rest["textFormat"]
            # OpenAI wants a name for it.
            asked = {"name": "response", **named, "schema": loads(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": asked}
    if rest:
        body["outputConfig"] = rest


def _read_service_tier(body: Json, tier: Any) -> None:
    body["service_tier"] = tier["type"]


def _read_metadata(body: Json, metadata: Any) -> None:
    body["metadata"] = metadata


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "inferenceConfig": _read_limits,
        "outputConfig": _read_output_config,
        "requestMetadata": _read_metadata,
        "serviceTier": _read_service_tier,
        "toolConfig": _read_tool_config,
    }
)


def told(name: str, value: Any) -> Json | None:
    """What a parameter of Bedrock's own means in our shape; see `Dialect.told`."""
    if name in ("additionalModelResponseFieldPaths", "performanceConfig") or value == {}:
        return {}
    if name != FIELDS:
        return None
    out: Json = {}
    for field, said in value.items():
        if field in ("thinking", "top_k", "reasoning_effort"):
            out[field] = said
        elif field == "output_config" and said.keys() == {"effort"}:
            out["reasoning_effort"] = said["effort"]
        elif field == "reasoningConfig" and said.keys() == {"type", "maxReasoningEffort"}:
            out["reasoning_effort"] = said["maxReasoningEffort"] if said["type"] == "enabled" else "none"
        elif field != "anthropic_beta":
            return None
    return out
