"""A chat, a prompt and embeddings as OpenAI asks for them, said as Ollama wants them asked, and back.

The rules of what passes, what is refused and what is left out stand in `ollama`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from .foreign import understood
from .gemini_words import json_object
from .openai_words import MADE_ID, Json, arguments_of, call_id
from .shapes import MISSHAPEN, each, misshapen, restated, unmarked
from .thinking import effort_of
from .unsaid import HINTS, NEUTRAL, Unsaid, refused

__all__ = [
    "EFFORTS",
    "FORMAT",
    "NAMES",
    "OPTIONS",
    "read_chat",
    "read_complete",
    "read_embed",
    "write_body",
    "write_embed",
]

FORMAT = "ollama"

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "frequency_penalty": "frequency_penalty",
        "max_completion_tokens": "num_predict",
        "max_tokens": "num_predict",
        "presence_penalty": "presence_penalty",
        "seed": "seed",
        "stop": "stop",
        "temperature": "temperature",
        "top_k": "top_k",
        "top_p": "top_p",
    }
)
"""OpenAI's parameters, and what they are called among Ollama's options."""

OPTIONS = frozenset(
    {
        "low_vram", "main_gpu", "min_p", "mirostat", "mirostat_eta", "mirostat_tau", "num_batch", "num_ctx",
        "num_gpu", "num_keep", "num_predict", "num_thread", "numa", "penalize_newline", "repeat_last_n",
        "repeat_penalty", "tfs_z", "typical_p", "use_mlock", "use_mmap",
    }
)  # fmt: skip
"""
Ollama's own options. One that stands beside the others' parameters is put where Ollama reads it.
https://docs.ollama.com/modelfile#valid-parameters-and-values (checked 2026-11-20)
"""

RUNNING = frozenset(
    {
        "low_vram", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_keep", "num_thread", "numa", "use_mlock", "use_mmap",
    }
)  # fmt: skip
"""Options that say how a model runs and not what it says."""

EFFORTS: Mapping[str, bool | str] = MappingProxyType(
    {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
)
"""`think` for each `reasoning_effort`. A model that knows no levels takes each of them for yes."""

_UNSAID: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {**NEUTRAL, "best_of": (1,), "documents": ([],), "echo": (False,)}
)

_MEDIA = (("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("R0lG", "image/gif"), ("UklGR", "image/webp"))
"""Images by how they begin in base64; Ollama is not told what they are."""


# --- ours → theirs ----------------------------------------------------------------------------------------------------


def write_body(request: Request) -> Json:
    """
    The body of a request to `/api/chat` or to `/api/generate`.

    Raises:
        BadRequest: If Ollama cannot express it; the message names the parameter or the message.
    """
    native = request.native(FORMAT)
    if native is not None:
        return restated(native, request, streams=True)
    given: Json = understood(request, FORMAT) if request.verb == "chat" else request.body
    # A stream is what Ollama gives if nobody says anything.
    out: Json = {"model": request.model, "stream": request.stream} if request.model else {"stream": request.stream}
    options: Json = {}
    name = "messages" if request.verb == "chat" else "prompt"
    try:
        out[name] = _write_messages(given[name]) if request.verb == "chat" else _prompt(given[name])
        for name, value in given.items():
            if value is None or name in HINTS or name in out:
                continue
            if name in _WRITERS:
                _WRITERS[name](out, value, given)
            elif name in NAMES:
                options[NAMES[name]] = [value] if name == "stop" and isinstance(value, str) else value
            elif name in OPTIONS:
                options[name] = value
            elif name not in _UNSAID:
                out[name] = value
            elif value not in _UNSAID[name]:
                raise refused(name, "Ollama")
        name = "options"
        # Its own word counts more than a translated one.
        own = given.get(name)
        if options or own is not None:
            out[name] = options | (own or {})
    except MISSHAPEN as error:
        raise misshapen(name, error) from None
    return out


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadRequest("prompt: Ollama takes one text, neither several nor tokens")
    return prompt


def _write_messages(messages: Any) -> list[Json]:
    names: dict[str, str] = {}  # id of a call → its tool
    return each("messages", messages, _write_message, names)


def _write_message(message: Json, names: dict[str, str]) -> Json:
    role = message["role"]
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise BadRequest(f"Ollama has no role {role!r}")
    text, images = _write_content(message.get("content"))
    out: Json = {"role": "system" if role == "developer" else role, "content": text or message.get("refusal") or ""}
    images = [*images, *(message.get("images") or ())]
    if images:
        out["images"] = images
    if role == "assistant":
        thinking = message.get("reasoning_content") or message.get("thinking")
        if thinking:
            out["thinking"] = thinking
        if message.get("tool_calls"):
            out["tool_calls"] = [_write_call(call, names) for call in message["tool_calls"]]
    elif role == "tool":
        id = message["tool_call_id"]
        name = message.get("name") or names.get(id)
        if name:
            out["tool_name"] = name
        if not MADE_ID.fullmatch(id):
            out["tool_call_id"] = id
    return out


def _write_content(content: Any) -> tuple[str, list[str]]:
    """A text and the images that belong to it."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts: list[str] = []
    images: list[str] = []
    each("content", content, _write_part, texts, images)
    return "\n".join(texts), images


def _write_part(part: Json, texts: list[str], images: list[str]) -> None:
    kind = part["type"]
    if kind in ("text", "refusal"):
        texts.append(part[kind])
    elif kind == "image_url":
        given = part["image_url"]
        images.append(_image(given if isinstance(given, str) else given["url"]))
    else:
        raise Unsaid(f"Ollama takes no content of type {kind!r}")


def _image(url: str) -> str:
    head, comma, data = url.partition(",")
    if not comma or head[:5] != "data:" or not head.endswith(";base64"):
        raise Unsaid("Ollama takes an image as data:…;base64 and fetches none")
    return data


def _write_call(call: Json, names: dict[str, str]) -> Json:
    if "function" not in call:
        raise BadRequest(f"Ollama has no tool of type {call.get('type')!r}")
    function = call["function"]
    names[call["id"]] = function["name"]
    out: Json = {} if MADE_ID.fullmatch(call["id"]) else {"id": call["id"]}
    return out | {"function": {"name": function["name"], "arguments": json_object(function["arguments"])}}


def _write_tools(out: Json, tools: Any, given: Json) -> None:
    each("tools", tools, _check_tool)
    if given.get("tool_choice") != "none":
        out["tools"] = [*map(unmarked, tools)]


def _check_tool(tool: Json) -> None:
    if tool.get("type", "function") != "function":
        raise Unsaid(f"Ollama has no tool of type {tool['type']!r}")


def _write_tool_choice(out: Json, choice: Any, given: Json) -> None:
    """A model that is shown no tools calls none; to call one it cannot be held."""
    if choice not in ("auto", "none"):
        raise refused("tool_choice", "Ollama")


def _write_effort(out: Json, effort: Any, given: Json) -> None:
    if effort not in EFFORTS:
        raise BadRequest(f"reasoning_effort: {effort!r} is none of {', '.join(EFFORTS)}")
    if given.get("think") is None:
        out["think"] = EFFORTS[effort]


def _write_thinking(out: Json, thinking: Any, given: Json) -> None:
    if given.get("think") is None and given.get("reasoning_effort") is None:
        out["think"] = True if thinking["type"] == "adaptive" else EFFORTS[effort_of(thinking)]


def _write_response_format(out: Json, form: Any, given: Json) -> None:
    kind = form["type"]
    if given.get("format") is not None or kind == "text":
        return
    if kind == "json_object":
        out["format"] = "json"
    elif kind == "json_schema":
        out["format"] = form["json_schema"]["schema"]
    else:
        raise Unsaid(f"response_format: Ollama has no {kind}; give a json_schema", "response_format")


def _write_logprobs(out: Json, logprobs: Any, given: Json) -> None:
    """Of a prompt OpenAI asks with the number of the alternatives."""
    if isinstance(logprobs, bool):
        out["logprobs"] = logprobs
    else:
        out |= {"logprobs": True, "top_logprobs": logprobs}


def _leave(out: Json, value: Any, given: Json) -> None:
    """Written apart."""


_WRITERS: Mapping[str, Callable[[Json, Any, Json], None]] = MappingProxyType(
    {
        "logprobs": _write_logprobs,
        "options": _leave,
        "reasoning_effort": _write_effort,
        "response_format": _write_response_format,
        "thinking": _write_thinking,
        "tool_choice": _write_tool_choice,
        "tools": _write_tools,
    }
)


def write_embed(request: Request, single: bool) -> Json:
    """
    The body of a request to `/api/embed`, or to `/api/embeddings`, which takes one text.

    Raises:
        BadRequest: If Ollama cannot express it.
    """
    native = request.native(FORMAT)
    if native is not None and ("prompt" in native) == single:
        return restated(native, request)
    given: Json = request.body
    out: Json = {"model": request.model} if request.model else {}
    texts = given.get("input")
    many = texts if isinstance(texts, list) else [texts]
    if not all(isinstance(text, str) for text in many):
        raise BadRequest("input: Ollama takes texts and no tokens")
    if single and len(many) != 1:
        raise BadRequest("input: /api/embeddings takes one text; ask for each by itself")
    out |= {"prompt": many[0]} if single else {"input": texts}
    return out | {n: v for n, v in given.items() if n not in ("encoding_format", "input", "user") and v is not None}


# --- theirs → ours ----------------------------------------------------------------------------------------------------


def read_chat(data: Any) -> Request:
    """
    The chat that a body of `/api/chat` asks for.

    Raises:
        BadRequest: If it is no such body.
    """
    return _read("chat", "messages", _read_messages, data)


def read_complete(data: Any) -> Request:
    """
    What a body of `/api/generate` asks for.

    Raises:
        BadRequest: If it is no such body.
    """
    return _read("complete", "prompt", _prompt, data)


def _read(verb: Any, needed: str, read: Callable[[Any], Any], data: Any) -> Request:
    name = needed
    try:
        body: Json = {needed: read(data[needed])}
        for name, value in data.items():
            if name in _READERS:
                _READERS[name](body, value)
            elif name not in (needed, "model", "stream"):
                body[name] = value
        return Request(verb, data.get("model") or "", body, data.get("stream", True) is not False)
    except MISSHAPEN as error:
        raise misshapen(name, error) from None


def _read_messages(messages: Any) -> list[Json]:
    out: list[Json] = []
    unanswered: list[tuple[str, str]] = []  # tool and id of the calls that wait for their results
    for position, message in enumerate(messages):
        role = message["role"]
        read: Json = {"role": role, "content": message.get("content") or ""}
        if message.get("images"):
            text: list[Json] = [{"type": "text", "text": read["content"]}] if read["content"] else []
            read["content"] = [*text, *map(_read_image, message["images"])]
        if message.get("thinking"):
            read["reasoning_content"] = message["thinking"]
        if message.get("tool_calls"):
            calls = [_read_call(call, f"turn {position}", at) for at, call in enumerate(message["tool_calls"])]
            unanswered = [(call["function"]["name"], call["id"]) for call in calls]
            read["tool_calls"] = calls
        if role == "tool":
            name = message.get("tool_name")
            # Without an id the next call of the tool is meant, without a name the next call.
            at = next((at for at, (tool, _) in enumerate(unanswered) if name in (None, tool)), None)
            id = None if at is None else unanswered.pop(at)[1]
            read["tool_call_id"] = message.get("tool_call_id") or id or call_id(f"turn {position}", 0, 0)
            if name:
                read["name"] = name
        out.append(read)
    return out


def _read_image(data: str) -> Json:
    media = next((media for head, media in _MEDIA if data.startswith(head)), "image/png")
    return {"type": "image_url", "image_url": {"url": f"data:{media};base64,{data}"}}


def _read_call(call: Json, turn: str, at: int) -> Json:
    function = call["function"]
    return {
        "id": call.get("id") or call_id(turn, 0, at),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments_of(function.get("arguments")) or "{}"},
    }


def _read_options(body: Json, options: Any) -> None:
    rest = dict(options or {})
    for ours, theirs in NAMES.items():
        # A limit below zero is none, which OpenAI has no number for.
        if theirs in rest and ours != "max_completion_tokens" and not (theirs == "num_predict" and rest[theirs] < 0):
            body[ours] = rest.pop(theirs)
    if rest or not options:
        body["options"] = rest


def _read_format(body: Json, form: Any) -> None:
    if form == "json":
        body["response_format"] = {"type": "json_object"}
    elif isinstance(form, dict):
        # OpenAI wants a name for it.
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "response", "schema": form}}
    else:
        body["format"] = form


def _read_think(body: Json, think: Any) -> None:
    if think is False:
        body["reasoning_effort"] = "none"
    elif think in ("low", "medium", "high"):
        body["reasoning_effort"] = think
    elif think is True:
        body["thinking"] = {"type": "adaptive"}
    else:
        body["think"] = think


_READERS: Mapping[str, Callable[[Json, Any], None]] = MappingProxyType(
    {"format": _read_format, "options": _read_options, "think": _read_think}
)


def read_embed(data: Any) -> Request:
    """
    What is asked of `/api/embed` or of `/api/embeddings`.

    Raises:
        BadRequest: If it is no such body.
    """
    try:
        body: Json = {"input": data["input"] if "input" in data else data["prompt"]}
        body |= {name: value for name, value in data.items() if name not in ("input", "model", "prompt")}
        return Request("embed", data.get("model") or "", body)
    except MISSHAPEN as error:
        raise misshapen("the request", error) from None


def told(name: str, value: Any) -> Json | None:
    """What a parameter of Ollama's own means in our shape; see `Dialect.told`."""
    running = name == "options" and value.keys() <= RUNNING
    return {} if running or name == "keep_alive" or value in ("", [], False) else None
