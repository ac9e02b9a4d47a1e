"""Chats as anybody may ask them, in our shape, and what they mean, whatever the words."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

__all__ = ["Json", "chats", "meaning"]

Json = dict[str, Any]

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)
names = st.from_regex(r"[a-z][a-z0-9_]{0,7}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=3,
)
objects = st.dictionaries(names, values, max_size=2)
marks = st.sampled_from([{}, {}, {}, {"cache_control": {"type": "ephemeral"}}])

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
texts = st.tuples(words, marks).map(lambda told: {"type": "text", "text": told[0], **told[1]})
images = st.sampled_from(
    ["https://x.test/a.png", f"data:image/png;base64,{PIXEL}", "data:image/jpeg;base64,/9j/4AAQ"]
).map(lambda url: {"type": "image_url", "image_url": {"url": url}})
documents = st.just(
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}}
)
contents = (
    words | st.lists(texts, min_size=1, max_size=2) | st.lists(texts | images | documents, min_size=2, max_size=3)
)
schemas = st.sampled_from(
    [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}, "required": ["b", "a"]},
        {"type": "object", "properties": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
    ]
)


@st.composite
def functions(draw: st.DrawFn, name: str) -> Json:
    function: Json = {"name": name, "parameters": draw(schemas)}
    if draw(st.booleans()):
        function["description"] = draw(words)
    return {"type": "function", "function": function} | draw(marks)


@st.composite
def rounds(draw: st.DrawFn, tools: list[str], first: int) -> list[Json]:
    """A turn of the user, one of the assistant, and the results of the tools it called, in any order."""
    calls = [
        {
            "id": f"call_{first}{at}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(draw(objects), ensure_ascii=False)},
        }
        for at, name in enumerate(draw(st.lists(st.sampled_from(tools), max_size=3)) if tools else ())
    ]
    said = draw(words) if not calls or draw(st.booleans()) else None
    assistant: Json = {"role": "assistant", "content": said} | ({"tool_calls": calls} if calls else {})
    results: list[Json] = [
        {"role": "tool", "tool_call_id": call["id"], "content": draw(words | objects.map(json.dumps))} for call in calls
    ]
    return [{"role": "user", "content": draw(contents)}, assistant, *draw(st.permutations(results))]


@st.composite
def chats(draw: st.DrawFn) -> Json:
    """A chat with anything that most formats have some word for."""
    tools = draw(st.lists(names, max_size=2, unique=True))
    said: list[Json] = []
    for first in range(draw(st.integers(0, 2))):
        said += draw(rounds(tools, first))
    instructions = draw(
        st.lists(
            st.tuples(st.sampled_from(["system", "developer"]), words | st.lists(texts, min_size=1, max_size=2)),
            max_size=2,
        )
    )
    body: Json = {
        "messages": [
            *({"role": role, "content": content} for role, content in instructions),
            *said,
            {"role": "user", "content": draw(contents)},
        ]
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        draw(st.sampled_from(["max_tokens", "max_completion_tokens"])): st.integers(2048, 9999),
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.5, 1]),
        "stop": words | st.lists(words, min_size=1, max_size=2),
        "seed": st.integers(0, 99),
        "frequency_penalty": st.sampled_from([0, 0.5]),
        "n": st.sampled_from([1, 2]),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}])
        | schemas.map(lambda schema: {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}),
        "user": words,
        "logprobs": st.booleans(),
    }
    body |= {name: draw(strategy) for name, strategy in optional.items() if not draw(st.integers(0, 3))}
    if tools:
        body["tools"] = [draw(functions(name)) for name in tools]
        one = {"type": "function", "function": {"name": draw(st.sampled_from(tools))}}
        if draw(st.booleans()):
            body["tool_choice"] = draw(st.sampled_from(["auto", "none", "required", one]))
        if draw(st.booleans()):
            body["parallel_tool_calls"] = draw(st.booleans())
    return body


# --- what a chat means ------------------------------------------------------------------------------------------------


def meaning(body: Json, ordered: bool = True) -> Json:
    """
    What a chat asks for, told in one way.

    Two spellings of one thing are one: neighbours of a role are one turn, instructions stand in front, of a text the white
    space says nothing, and that a model is to call no tool is the same as that it has none.

    Args:
        ordered: Whether it counts where an image stands among texts.
    """
    said = _said(body["messages"])
    if not ordered:
        said = [(role, _merged(sorted(parts, key=lambda part: not isinstance(part, str)))) for role, parts in said]
    out: Json = {"said": said}
    tools = [_tool(tool) for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice["function"]["name"]]
        choice = "required"
    if tools and choice != "none":
        out |= {"tools": tools, "tool_choice": choice}
        if body.get("parallel_tool_calls") is False:
            out["parallel_tool_calls"] = False
    form = body.get("response_format") or {"type": "text"}
    if form["type"] == "json_schema":
        out["schema"] = _open(form["json_schema"]["schema"])
    elif form["type"] != "text":
        out["format"] = form["type"]
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None:
            out["limit"] = body[name]
    stop = body.get("stop")
    if stop:
        out["stop"] = [stop] if isinstance(stop, str) else stop
    effort, thinking = body.get("reasoning_effort"), body.get("thinking")
    # How much is told in efforts here and in tokens there; that it is to think is told everywhere, and some say that it is
    # not to by saying nothing.
    if effort not in (None, "none") if thinking is None else thinking["type"] != "disabled":
        out["thinks"] = True
    plain = {"temperature": None, "top_p": None, "seed": None, "frequency_penalty": 0, "n": 1, "logprobs": False}
    out |= {name: body[name] for name, nothing in plain.items() if body.get(name) not in (None, nothing)}
    return out


def _said(messages: list[Json]) -> list[Any]:
    instructions: list[Any] = []
    turns: list[tuple[str, list[Any]]] = []
    called: dict[str, int] = {}
    for message in messages:
        role = message["role"]
        parts = _parts(message.get("content"))
        if role in ("system", "developer"):
            instructions += parts
        elif role == "tool":
            turns.append(("result", [called[message["tool_call_id"]], _value("".join(map(str, parts)))]))
        else:
            for call in message.get("tool_calls") or ():
                called[call["id"]] = len(called)
                function = call["function"]
                parts.append(("call", function["name"], json.loads(function["arguments"] or "{}")))
            if turns and turns[-1][0] == role:
                turns[-1] = role, _merged([*turns[-1][1], *parts])
            elif parts:
                turns.append((role, parts))
    return [("system", _merged(instructions)), *_results_in_order(turns)]


def _results_in_order(turns: list[tuple[str, list[Any]]]) -> list[Any]:
    """Results that stand together may stand in any order: each names its call."""
    out: list[Any] = []
    waiting: list[Any] = []
    for turn in [*turns, ("", [])]:
        if turn[0] == "result":
            waiting.append(turn)
            continue
        out += sorted(waiting, key=lambda result: result[1][0])
        waiting = []
        out.append(turn)
    return out[:-1]


def _parts(content: Any) -> list[Any]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return _merged([_part(part) for part in parts])


def _part(part: Json) -> Any:
    kind = part["type"]
    if kind == "text":
        return _squeezed(part["text"])
    if kind == "image_url":
        image = part["image_url"]
        return ("image", image if isinstance(image, str) else image["url"])
    if kind == "file" and "file_data" in part["file"]:
        return ("file", part["file"]["file_data"])
    return ("other", json.dumps(part, sort_keys=True))


def _merged(parts: list[Any]) -> list[Any]:
    """Neighbouring texts are one."""
    out: list[Any] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        elif part != "":
            out.append(part)
    return out


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def _value(text: str) -> Any:
    """What a tool said: JSON is JSON, however it is written."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def _tool(tool: Json) -> Json:
    function = tool["function"]
    parameters = {"type": "object", "properties": {}} | (function.get("parameters") or {})
    return {"name": function["name"], "description": function.get("description") or "", "parameters": _open(parameters)}


def _open(schema: Any) -> Any:
    """A schema without the word that there are no more properties, which some formats insist on."""
    if isinstance(schema, dict):
        return {k: _open(v) for k, v in schema.items() if (k, v) != ("additionalProperties", False)}
    return [_open(item) for item in schema] if isinstance(schema, list) else schema
