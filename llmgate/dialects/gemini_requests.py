"""A chat as OpenAI asks for it, said as Google's Gemini wants it asked, and back.

The rules of what passes, what is refused and what is left out stand in `gemini`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from ..errors import BadRequest
from ..types.request import Request
from ..types.wire import encode, loads
from .foreign import understood
from .gemini_schemas import json_schema
from .gemini_words import Json, Parts, json_object, kept_parts, signature_of
from .openai_words import MADE_ID, call_id
from .shapes import MISSHAPEN, each, misshapen, restated
from .thinking import effort_of
from .unsaid import Unsaid, refused

__all__ = [
    "ADDRESS",
    "BUDGETS",
    "FORMAT",
    "HINTS",
    "LEVELS",
    "NEUTRAL",
    "camelled",
    "read_chat",
    "read_part",
    "write_chat",
    "write_part",
]

FORMAT = "gemini"
ADDRESS = frozenset({"model", "stream"})
"""Keys of a body that Google reads in the address."""

BUDGETS: Mapping[str, int] = MappingProxyType(
    {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576}
)
"""
Tokens that Gemini 2.5 may think for each `reasoning_effort`, as Google's own OpenAI endpoint has it:
https://ai.google.dev/gemini-api/docs/openai#thinking (checked 2026-11-20). 24,576 is the most that 2.5 Flash takes.
"""

LEVELS = ("minimal", "low", "medium", "high", "xhigh")
"""`thinkingLevel` of Gemini 3 and later; the newer models take all of them."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "moderation": (),
        "parallel_tool_calls": (True,),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
)
"""OpenAI's parameters that Gemini cannot express, and the values of each that ask for nothing. Others are refused."""

HINTS = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "stream_options",
        "user",
    }
)
"""OpenAI's parameters that change no answer: bookkeeping and speed. Usage comes in any case."""

UNSIGNED = "skip_thought_signature_validator"
"""
The signature of a call that no Gemini made: Gemini 3 refuses the first call of a turn without one, and takes this.
https://ai.google.dev/gemini-api/docs/thought-signatures#faqs (checked 2026-11-20)
"""

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")

_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")
"""What the name of a JSON schema must not hold."""

_OF_PARTS = ("mediaResolution", "thoughtSignature", "videoMetadata", "partMetadata", "mediaProcessing")
"""What Google knows about a part that OpenAI does not."""

_MEDIA: Mapping[str, str] = MappingProxyType(
    {
        "avif": "image/avif",
        "gif": "image/gif",
        "heic": "image/heic",
        "jpeg": "image/jpeg",
        "jpg": "image/jpeg",
        "mov": "video/quicktime",
        "mp3": "audio/mp3",
        "mp4": "video/mp4",
        "mpeg": "video/mpeg",
        "pdf": "application/pdf",
        "png": "image/png",
        "txt": "text/plain",
        "wav": "audio/wav",
        "webm": "video/webm",
        "webp": "image/webp",
    }
)
"""Media types by the ending of an address; Vertex AI insists on one."""


def generation(model: str) -> tuple[int, int] | None:
    """Which Gemini it is, such as (2, 5); None for a name that does not say, which is then taken for the newest."""
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def write_chat(request: Request) -> Json:
    """
    The body of a `generateContent` request.

    Raises:
        BadRequest: If Gemini cannot express it; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        return _restated(native, request)
    given = understood(request, FORMAT)
    out: Json = {}
    config: Json = {}
    name = "messages"
    try:
        _write_messages(out, given["messages"], request.model)
        for name, value in given.items():
            if value is None or name in _APART or name in HINTS:
                continue
            if name in _NAMES:
                config[_NAMES[name]] = value
            elif name in _WRITERS:
                _WRITERS[name](out, config, value)
            elif name not in NEUTRAL:
                out[name] = value
            elif value not in NEUTRAL[name]:
                raise refused(name, "Gemini")
        own = given.get("generationConfig") or {}
        if "thinkingConfig" not in own:
            name = "thinking"
            _write_thinking(config, given, request.model)
        name = "max_tokens"
        limit = given.get("max_completion_tokens")
        limit = given.get("max_tokens") if limit is None else limit
        if limit is not None:
            config["maxOutputTokens"] = limit
        config |= own
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    if config:
        out["generationConfig"] = config
    return out


def _restated(native: Json, request: Request) -> Json:
    out = restated(native, request, ADDRESS)
    if str(native.get("model")).startswith("models/"):  # Google's older SDKs name it in the body, too
        out["model"] = f"models/{request.model}" if request.model else native["model"]
    return out


_APART = frozenset(
    {"generationConfig", "max_completion_tokens", "max_tokens", "messages", "reasoning_effort", "thinking"}
)

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "frequency_penalty": "frequencyPenalty",
        "logprobs": "responseLogprobs",
        "n": "candidateCount",
        "presence_penalty": "presencePenalty",
        "seed": "seed",
        "temperature": "temperature",
        "top_k": "topK",
        "top_logprobs": "logprobs",
        "top_p": "topP",
    }
)
"""OpenAI's parameters that Google only calls by another name."""


def _write_thinking(config: Json, given: Json, model: str) -> None:
    thinking, effort = given.get("thinking"), given.get("reasoning_effort")
    which = generation(model)
    if thinking is None:
        if effort is not None:
            _write_effort(config, effort, model)
    elif thinking["type"] == "disabled" or which is None or not (2, 5) <= which < (3, 0):
        _write_effort(config, effort_of(thinking), model, "thinking")
    else:
        # Google calls it dynamic where the model decides.
        config["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": thinking.get("budget_tokens", -1)}


def _write_effort(config: Json, effort: str, model: str, name: str = "reasoning_effort") -> None:
    """`reasoning_effort` as the model takes it, and with it the wish to see what is thought."""
    if effort not in BUDGETS:
        raise BadRequest(f"{name}: {effort!r} is none of {', '.join(BUDGETS)}")
    which = generation(model)
    pro = "-pro" in model
    if which is not None and which < (2, 5):
        if effort != "none":
            raise _unthinkable(name, f"{model} does not think; leave it out or name a newer model")
    elif which is not None and which < (3, 0):
        if effort == "none":
            if pro:
                raise _unthinkable(name, f"{model} always thinks; ask for minimal")
            config["thinkingConfig"] = {"thinkingBudget": 0}
        else:
            config["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": BUDGETS[effort]}
    elif effort == "none":
        raise _unthinkable(name, f"{model} always thinks; ask for {'low' if pro else 'minimal'}")
    else:
        # The scale of the larger models begins at low.
        level = "low" if pro and effort == "minimal" else effort
        config["thinkingConfig"] = {"includeThoughts": True, "thinkingLevel": level}


def _unthinkable(name: str, reason: str) -> Unsaid:
    return Unsaid(f"{name}: {reason}", name)


class _Turns:
    """The conversation as it is written: neighbours of one role become one turn."""

    __slots__ = ("calls", "contents", "nameless", "results", "signed", "system")

    def __init__(self, model: str) -> None:
        which = generation(model)
        self.signed = which is None or which >= (3, 0)  # whether it insists on signatures and takes images as results
        self.contents: list[Json] = []
        self.system: list[Json] = []
        self.calls: dict[str, tuple[int, str]] = {}  # id of a call → which of all calls it was, and of which tool
        self.results: list[tuple[int, list[Json]]] = []  # which call, and what came of it
        self.nameless = False  # whether one of them is told without an id

    def say(self, role: str, parts: list[Json]) -> None:
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        elif parts:
            self.contents.append({"role": role, "parts": parts})

    def settle(self) -> None:
        """All results of one turn are given together. Those without an id are told apart by the order of their calls."""
        results, self.results = self.results, []
        if self.nameless:
            self.nameless = False
            results.sort(key=lambda result: result[0])
        said: list[Json] = []
        beside: list[Json] = []
        for _, (first, *rest) in results:
            said.append(first)
            beside += rest
        self.say("user", said + beside)


def _write_messages(out: Json, messages: Any, model: str) -> None:
    turns = _Turns(model)
    each("messages", messages, _write_turn, turns)
    if turns.results:
        turns.settle()
    if not turns.contents:
        raise BadRequest("messages: a chat needs at least one message that is not a system message")
    if turns.system:
        out["systemInstruction"] = {"parts": turns.system}
    out["contents"] = turns.contents


def _write_turn(message: Json, turns: _Turns) -> None:
    role, content = message["role"], message.get("content")
    if role == "tool":
        turns.results.append(_write_result(turns, message))
        return
    if turns.results:
        turns.settle()
    if content.__class__ is str and len(message) == 2 and role in _SPEAKERS:  # as most messages are
        turns.say(_SPEAKERS[role], [{"text": content}])
    elif role == "user":
        turns.say("user", _content(content))
    elif role == "assistant":
        turns.say("model", _write_assistant(turns, message))
    elif role in ("system", "developer"):
        # Hoisted wherever it stands: Gemini takes instructions in front only.
        turns.system += _content(content)
    else:
        raise BadRequest(f"Gemini has no role {role!r}")


_SPEAKERS: Mapping[str, str] = {"user": "user", "assistant": "model"}


def _content(content: Any) -> list[Json]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}]
    return each("content", content, write_part)


def write_part(part: Json) -> Json:
    kind = part.get("type")
    if kind is None:
        return part  # Google's own
    if kind == "text":
        out: Json = {"text": part["text"]}
    elif kind == "refusal":
        out = {"text": part["refusal"]}
    elif kind in ("image_url", "video_url", "audio_url"):
        given = part[kind]
        given = {"url": given} if isinstance(given, str) else given
        out = _source(given["url"], given.get("format"))
    elif kind == "input_audio":
        audio = part["input_audio"]
        out = {"inlineData": {"mimeType": f"audio/{audio['format']}", "data": audio["data"]}}
    elif kind == "file":
        out = _write_file(part["file"])
    else:
        raise Unsaid(f"Gemini has no content of type {kind!r}")
    for name in _OF_PARTS:
        if name in part:
            out[name] = part[name]
    return out


def _write_file(file: Json) -> Json:
    if file.get("file_id"):
        return _source(file["file_id"], file.get("format"))
    data = file["file_data"]
    if "," not in data[:256] and "://" not in data[:16]:  # OpenAI takes base64 without a prefix for a PDF
        return {"inlineData": {"mimeType": file.get("format") or "application/pdf", "data": data}}
    return _source(data, file.get("format"))


def _source(url: str, media: str | None) -> Json:
    """Bytes inline, or an address where Google fetches them itself."""
    if url[:5] != "data:":
        media = media or _MEDIA.get(urlsplit(url).path.rpartition(".")[2].lower())
        return {"fileData": {"mimeType": media, "fileUri": url} if media else {"fileUri": url}}
    head, comma, data = url[5:].partition(",")
    named, *parameters = head.split(";")
    if not comma or not (media or named):
        raise BadRequest("a data: URL names no media type; write data:image/png;base64,…")
    if "base64" not in parameters:
        data = b64encode(unquote_to_bytes(data)).decode()
    return {"inlineData": {"mimeType": media or named, "data": data}}


def _write_assistant(turns: _Turns, message: Json) -> list[Json]:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise Unsaid(f"Gemini has no {name}", name)
    content, calls = message.get("content"), message.get("tool_calls") or []
    for call in calls:
        turns.calls[call["id"]] = len(turns.calls), call["function"]["name"]
    kept = kept_parts(message) if "extra_content" in message else None
    if kept and _still_says(kept, content, calls):
        parts = list(kept)
    else:
        # What another model thought is not Gemini's to read.
        parts = [] if calls and not content else _content(content)
        if message.get("refusal"):
            parts.append({"text": message["refusal"]})
        parts += [_write_call(call) for call in calls]
    if turns.signed and calls:
        first = next(at for at, part in enumerate(parts) if "functionCall" in part)
        if "thoughtSignature" not in parts[first]:
            parts[first] = {**parts[first], "thoughtSignature": UNSIGNED}
    return parts


def _still_says(parts: list[Json], content: Any, calls: list[Json]) -> bool:
    """Whether the parts that came with a message say what it says; somebody may have changed it since."""
    said, _, called = Parts("", 0).read(parts)
    text = content if isinstance(content, str) else "".join(part.get("text") or "" for part in content or ())
    return said == text and [(call.name, call.parsed()) for call in called] == [
        (call["function"]["name"], json_object(call["function"].get("arguments"))) for call in calls
    ]


def _write_call(call: Json) -> Json:
    function = call.get("function")
    if function is None:
        raise BadRequest(f"a tool call of type {call.get('type')!r}: Gemini knows functions only")
    out: Json = {"name": function["name"], "args": json_object(function.get("arguments"))}
    if not MADE_ID.fullmatch(call["id"]):
        out["id"] = call["id"]
    part: Json = {"functionCall": out}
    if "extra_content" in call and (signature := signature_of(call)):
        part["thoughtSignature"] = signature
    return part


def _write_result(turns: _Turns, message: Json) -> tuple[int, list[Json]]:
    id, content = message["tool_call_id"], message.get("content")
    number, name = turns.calls.get(id) or (len(turns.calls), message.get("name"))
    if not name:
        raise BadRequest(f"no call before it has the id {id!r}, and Gemini wants the name of the tool")
    media: list[Json] = []
    if isinstance(content, list):
        parts = _content(content)
        media = [part for part in parts if "text" not in part]
        content = "".join(part.get("text", "") for part in parts)
    result: Json = {"name": name, "response": _response(content or "")}
    if MADE_ID.fullmatch(id):
        turns.nameless = True
    else:
        result["id"] = id
    if media and turns.signed:
        result["parts"], media = media, []
    return number, [{"functionResponse": result}, *media]


def _response(content: str) -> Json:
    """What a tool said, as an object; a text is its `output` (FunctionResponse in google-genai's types)."""
    if content.lstrip()[:1] == "{":
        try:
            parsed = loads(content)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    return {"output": content}


def _write_tools(out: Json, config: Json, tools: Any) -> None:
    declared: list[Json] = []
    written: list[Json] = []
    for function, own in each("tools", tools, _write_tool):
        (written if own else declared).append(function)
    if declared:
        written.append({"functionDeclarations": declared})
    if written:
        out["tools"] = written


def _write_tool(tool: Json) -> tuple[Json, bool]:
    """A declaration, or a tool of Google's own; and whether it is one."""
    if "function" in tool:
        return _write_function(tool["function"]), False
    if "type" in tool:
        raise Unsaid(f"Gemini has no tool of type {tool['type']!r}; its own look like {{'googleSearch': {{}}}}")
    return tool, True


def _write_function(function: Json) -> Json:
    """
    As a declaration. `parametersJsonSchema` takes any JSON schema, where `parameters` refuses what it does not know,
    `additionalProperties` for one; whether the schema is `strict` is nothing that Gemini asks.
    """
    out = {
        name: value for name, value in function.items() if name not in ("parameters", "strict") and value is not None
    }
    out["name"] = function["name"]
    if function.get("parameters"):
        out["parametersJsonSchema"] = function["parameters"]
    return out


_MODES: Mapping[str, str] = MappingProxyType({"auto": "AUTO", "none": "NONE", "required": "ANY"})


def _write_tool_choice(out: Json, config: Json, choice: Any) -> None:
    if isinstance(choice, str):
        if choice not in _MODES:
            raise BadRequest(f"tool_choice: {choice!r} is none of {', '.join(_MODES)}")
        calling: Json = {"mode": _MODES[choice]}
    elif choice["type"] == "function":
        calling = {"mode": "ANY", "allowedFunctionNames": [choice["function"]["name"]]}
    elif choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = [tool["function"]["name"] for tool in allowed["tools"]]
        # VALIDATED may call one of these or none.
        calling = {"mode": "ANY" if allowed["mode"] == "required" else "VALIDATED", "allowedFunctionNames": names}
    else:
        raise Unsaid(f"tool_choice: Gemini has no {choice['type']}; name one function", "tool_choice")
    out["toolConfig"] = {"functionCallingConfig": calling} | out.get("toolConfig", {})


def _write_tool_config(out: Json, config: Json, own: Any) -> None:
    out["toolConfig"] = out.get("toolConfig", {}) | own


def _write_system(out: Json, config: Json, own: Any) -> None:
    parts = [{"text": own}] if isinstance(own, str) else own["parts"]
    out["systemInstruction"] = {"parts": [*parts, *out.get("systemInstruction", {}).get("parts", ())]}


def _write_stop(out: Json, config: Json, stop: Any) -> None:
    config["stopSequences"] = [stop] if isinstance(stop, str) else stop


def _write_modalities(out: Json, config: Json, modalities: Any) -> None:
    config["responseModalities"] = [modality.upper() for modality in modalities]


def _write_response_format(out: Json, config: Json, form: Any) -> None:
    kind = form["type"]
    if kind == "json_schema":
        asked = form["json_schema"]
        schema = asked["schema"]
        if asked.get("description"):
            schema = {"description": asked["description"]} | schema
        config["responseJsonSchema"] = schema
    elif kind not in ("text", "json_object"):
        raise Unsaid(f"response_format: Gemini has no {kind}; give a json_schema", "response_format")
    if kind != "text":
        config["responseMimeType"] = "application/json"


def _write_service_tier(out: Json, config: Json, tier: Any) -> None:
    if tier not in ("auto", "default", "flex", "priority"):
        raise Unsaid(f"service_tier: Gemini has no {tier!r}, only auto, default, flex and priority", "service_tier")
    if tier != "auto":
        out["serviceTier"] = "standard" if tier == "default" else tier


_WRITERS: Mapping[str, Callable[[Json, Json, Any], None]] = MappingProxyType(
    {
        "modalities": _write_modalities,
        "response_format": _write_response_format,
        "service_tier": _write_service_tier,
        "stop": _write_stop,
        "systemInstruction": _write_system,
        "toolConfig": _write_tool_config,
        "tool_choice": _write_tool_choice,
        "tools": _write_tools,
    }
)


# --- theirs → ours ----------------------------------------------------------------------------------------------------


_OPAQUE = frozenset(
    {"args", "labels", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "responseSchema"}
)
"""Keys whose values are the caller's own words: their names are no names of the API's."""


def camelled(value: Any) -> Any:
    """
    The request with the API's names as it writes them itself.

    It takes `snake_case` as well, as every reader of protobuf's JSON does, and None for what is left out.
    """
    if isinstance(value, list):
        return [camelled(item) for item in value]
    if not isinstance(value, dict):
        return value
    out: Json = {}
    for given, item in value.items():
        if item is not None:
            name = _camelled(given) if "_" in given else given
            out[name] = item if item.__class__ is str or name in _OPAQUE else camelled(item)
    return out


def _camelled(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def read_chat(data: Any) -> Request:
    """
    The chat that the body of a `generateContent` request asks for.

    The model and whether it streams stand in the URL; whoever knows them adds `model` and `stream` to the body.

    Raises:
        BadRequest: If it is no such body.
    """
    name = "the request"
    try:
        # The conversation is most of it, and most of that are texts: it is camelled as far as it is anything else.
        given: Json = camelled({name: value for name, value in data.items() if name != "contents"})
        body: Json = {"messages": _read_messages(data["contents"], given.get("systemInstruction"))}
        for name, value in given.items():
            read = _READERS.get(name)
            if read is not None:
                read(body, value)
            elif name not in _READ_APART:
                body[name] = value
        name = "the request"
        model = (given.get("model") or "").removeprefix("models/")
        return Request("chat", model, body, given.get("stream") is True)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


_READ_APART = frozenset({"contents", "model", "stream", "systemInstruction"})


def _many(parts: Any) -> list[Json]:
    """A repeated field may be written without its list, and a content as a plain string."""
    if isinstance(parts, str):
        return [{"text": parts}]
    return parts if isinstance(parts, list) else [parts]


def _read_messages(contents: Any, system: Any) -> list[Json]:
    messages: list[Json] = []
    if system:
        parts = _many(system if isinstance(system, str) else system["parts"])
        messages.append({"role": "system", "content": _simplest([read_part(part) for part in parts])})
    waiting: list[tuple[str, str]] = []  # tool and id of the calls that have no result yet
    for turn, content in enumerate(_many(contents)):
        by_model, parts = content.get("role") == "model", _many(content.get("parts") or [])
        text = parts[0].get("text") if len(parts) == 1 and len(parts[0]) == 1 else None
        if text.__class__ is str:  # as in most of them
            messages.append({"role": "assistant" if by_model else "user", "content": text})
            if by_model:
                waiting = []
        elif by_model:
            message = _read_calls(parts) or _read_model([_spelled(part) for part in parts], turn)
            calls = message.get("tool_calls")
            waiting = [(call["function"]["name"], call["id"]) for call in calls] if calls else []
            messages.append(message)
        else:
            messages += _read_user(parts, waiting)
    return messages


def _spelled(part: Json) -> Json:
    """A part with the names as Google writes them itself."""
    result = part.get("functionResponse")
    if result is not None and len(part) == 1 and result.keys() == _RESULT:
        return part
    return _undoubted(camelled(part))


_RESULT = frozenset({"id", "name", "response"})
_CALL = frozenset({"id", "name", "args"})


def _read_calls(parts: list[Json]) -> Json | None:
    """A turn of the model that calls tools by ids of their own and says nothing else; None for any other."""
    calls: list[Json] = []
    for part in parts:
        call = part.get("functionCall")
        if call is None or len(part) > 1 or call.keys() != _CALL or call["args"].__class__ is not dict:
            return None
        id = call["id"]
        if not id or MADE_ID.fullmatch(id):
            return None
        function = {"name": call["name"], "arguments": encode(call["args"]).decode()}
        calls.append({"id": id, "type": "function", "function": function})
    return {"role": "assistant", "content": None, "tool_calls": calls} if calls else None


def _undoubted(part: Json) -> Json:
    """A part without the word that it is no thought."""
    return part if part.get("thought") is not False else {k: v for k, v in part.items() if k != "thought"}


def _simplest(parts: list[Json]) -> Any:
    """One plain text needs no list; many a compatible server knows none."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _read_model(parts: list[Json], turn: int) -> Json:
    text, reasoning, calls = Parts(f"turn {turn}", 0).read(parts)
    message: Json = {"role": "assistant", "content": text if text or not calls else None}
    if calls:
        message["tool_calls"] = [call.to_openai() for call in calls]
    if reasoning:
        message["reasoning_content"] = reasoning
    plain = [{"text": text}] if text or not calls else []
    if parts != plain + [_write_call(call) for call in message.get("tool_calls", ())]:
        message["extra_content"] = {"google": {"parts": parts}}
    return message


def _read_user(parts: list[Json], waiting: list[tuple[str, str]]) -> list[Json]:
    messages: list[Json] = []
    others: list[Json] = []
    for given in parts:
        part = _spelled(given)
        if "functionResponse" in part:
            messages.append(_read_result(part["functionResponse"], waiting))
        else:
            others.append(read_part(part))
    if others or not messages:
        messages.append({"role": "user", "content": _simplest(others)})
    return messages


def _read_result(result: Json, waiting: list[tuple[str, str]]) -> Json:
    """A result answers the call of its id, or without one the first of its tool that still waits."""
    name, id = result["name"], result.get("id")
    message: Json = {"role": "tool"}
    for at, (tool, waited) in enumerate(waiting):
        if waited == id if id else tool == name:
            message["tool_call_id"] = waited
            del waiting[at]
            break
    else:
        # Only Google's own name tells what it belongs to.
        message["name"] = name
        message["tool_call_id"] = id or call_id(name, 0, 0)
    response = result.get("response") or {}
    said = response.get("output")
    if not isinstance(said, str) or len(response) > 1 or _response(said) != response:
        said = encode(response).decode()
    message["content"] = said
    if result.get("parts"):
        message["content"] = [{"type": "text", "text": said}, *(read_part(part) for part in result["parts"])]
    return message


def read_part(part: Json) -> Json:
    """The part that OpenAI would write; one for which it has no words stays as it is."""
    rest = {name: part[name] for name in _OF_PARTS if name in part}
    if len(part) != len(rest) + 1:
        return part
    if "text" in part:
        return {"type": "text", "text": part["text"]} | rest
    if "inlineData" in part and part["inlineData"].keys() <= {"mimeType", "data", "displayName"}:
        return _read_inline(part["inlineData"]) | rest
    if "fileData" in part and part["fileData"].keys() <= {"mimeType", "fileUri"}:
        uri, media = part["fileData"]["fileUri"], part["fileData"].get("mimeType")
        told = {} if media is None else {"format": media}
        if (media or "").startswith("image/"):
            return {"type": "image_url", "image_url": {"url": uri} | told} | rest
        return {"type": "file", "file": {"file_id": uri} | told} | rest
    return part


_AUDIO: Mapping[str, str] = MappingProxyType({"audio/wav": "wav", "audio/mp3": "mp3"})


def _read_inline(blob: Json) -> Json:
    # google-genai writes base64 in the alphabet of URLs, which nobody but Google reads.
    media, data = blob["mimeType"], blob["data"].replace("-", "+").replace("_", "/")
    if media in _AUDIO:
        return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO[media]}}
    url = f"data:{media};base64,{data}"
    if media.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"file_data": url, "filename": blob.get("displayName") or "file"}}


def _read_tools(body: Json, tools: Any) -> None:
    read: list[Json] = []
    for tool in _many(tools):
        own = {name: value for name, value in tool.items() if name != "functionDeclarations"}
        if own:
            read.append(own)
        read += [_read_function(function) for function in _many(tool.get("functionDeclarations") or [])]
    body["tools"] = read


def _read_function(declared: Json) -> Json:
    function = {name: value for name, value in declared.items() if name not in ("parameters", "parametersJsonSchema")}
    if declared.get("parametersJsonSchema"):
        function["parameters"] = declared["parametersJsonSchema"]
    elif declared.get("parameters"):
        function["parameters"] = json_schema(declared["parameters"])
    return {"type": "function", "function": function}


def _read_tool_config(body: Json, config: Any) -> None:
    rest = dict(config)
    calling = rest.get("functionCallingConfig") or {}
    mode, names = str(calling.get("mode", "AUTO")).upper(), calling.get("allowedFunctionNames")
    tools = [{"type": "function", "function": {"name": name}} for name in names or ()]
    choice: Any = None
    if calling and calling.keys() <= {"mode", "allowedFunctionNames"}:
        if len(tools) == 1 and mode == "ANY":
            choice = tools[0]
        elif tools and mode in ("ANY", "VALIDATED"):
            allowed = {"mode": "required" if mode == "ANY" else "auto", "tools": tools}
            choice = {"type": "allowed_tools", "allowed_tools": allowed}
        elif not tools:
            choice = _CHOICES.get(mode)
    if choice is not None:
        body["tool_choice"] = choice
        del rest["functionCallingConfig"]
    if rest:
        body["toolConfig"] = rest


_CHOICES: Mapping[str, str] = {theirs: ours for ours, theirs in _MODES.items()}


_OURS: Mapping[str, str] = {theirs: ours for ours, theirs in _NAMES.items()} | {
    "maxOutputTokens": "max_completion_tokens",
    "stopSequences": "stop",
}


def _read_config(body: Json, config: Any) -> None:
    rest: Json = {}
    for name, value in config.items():
        if name in _OURS:
            body[_OURS[name]] = value
        else:
            rest[name] = value
    if "responseModalities" in rest:
        body["modalities"] = [modality.lower() for modality in rest.pop("responseModalities")]
    if rest.get("responseMimeType") == "application/json":
        del rest["responseMimeType"]
        body["response_format"] = _read_format(rest)
    if "thinkingConfig" in rest:
        thinking = rest["thinkingConfig"]
        level = str(thinking.get("thinkingLevel")).lower()
        # Alone either of the two is less than what an effort asks for.
        if thinking.keys() == {"includeThoughts", "thinkingLevel"} and thinking["includeThoughts"] and level in LEVELS:
            body["reasoning_effort"] = level
            del rest["thinkingConfig"]
    if rest:
        body["generationConfig"] = rest


def _read_format(rest: Json) -> Json:
    schema = rest.pop("responseJsonSchema", None)
    if schema is None and "responseSchema" in rest:
        schema = json_schema(rest.pop("responseSchema"))
    if schema is None:
        return {"type": "json_object"}
    # OpenAI wants a name for it.
    name = _NO_NAME.sub("_", str(schema.get("title") or "response"))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def _read_service_tier(body: Json, tier: Any) -> None:
    body["service_tier"] = "default" if tier == "standard" else tier


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {
        "generationConfig": _read_config,
        "serviceTier": _read_service_tier,
        "toolConfig": _read_tool_config,
        "tools": _read_tools,
    }
)


def told(name: str, value: Any) -> Json | None:
    """What a parameter of Google's own means in our shape; see `Dialect.told`."""
    if name == "labels" or value in ({}, []):
        return {}
    if name != "generationConfig" or value.keys() != {"thinkingConfig"}:
        return None
    thinking = value["thinkingConfig"]
    budget = thinking.get("thinkingBudget")
    if "thinkingLevel" in thinking:
        return {"reasoning_effort": str(thinking["thinkingLevel"]).lower()}
    if budget is None:
        return {}
    sort = "disabled" if budget == 0 else "adaptive" if budget < 0 else "enabled"
    return {"thinking": {"type": sort} | ({"budget_tokens": budget} if budget > 0 else {})}
