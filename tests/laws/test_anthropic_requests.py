"""The law of Anthropic's Messages: a chat that is written and read back asks for the same."""

from __future__ import annotations

import json
from typing import Any

from anthropic.types import ContentBlockParam, MessageParam, ToolParam
from hypothesis import given, settings, strategies as st
from pydantic import TypeAdapter

from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.base import Quirks
from llmgate.types.request import Request

dialect = AnthropicMessages()
MESSAGES, TOOLS = TypeAdapter(list[MessageParam]), TypeAdapter(list[ToolParam])
BLOCKS = TypeAdapter(list[ContentBlockParam])

Json = dict[str, Any]

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
ids = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(words, values, max_size=3).map(lambda value: json.dumps(value, ensure_ascii=False))
texts = words.map(lambda text: {"type": "text", "text": text})
marked = texts.map(lambda part: {**part, "cache_control": {"type": "ephemeral"}})
images = st.sampled_from(["https://x.test/a.png", "data:image/png;base64,iVBO"]).map(
    lambda url: {"type": "image_url", "image_url": {"url": url}}
)
files = st.sampled_from([{"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}, {"file_id": "f"}]).map(
    lambda file: {"type": "file", "file": file}
)
contents = words | st.lists(texts | marked | images | files, min_size=2, max_size=4)


@st.composite
def rounds(draw: st.DrawFn) -> list[Json]:
    """A turn of the user, one of the assistant, and the results of the tools it called."""
    calls = [
        {"id": id, "type": "function", "function": {"name": draw(ids), "arguments": draw(arguments)}}
        for id in draw(st.lists(ids, max_size=3, unique=True))
    ]
    said = draw(words) if not calls or draw(st.booleans()) else None
    assistant: Json = {"role": "assistant", "content": said} | ({"tool_calls": calls} if calls else {})
    if draw(st.booleans()):
        assistant["thinking_blocks"] = [{"type": "thinking", "thinking": draw(words), "signature": draw(words)}]
    results: list[Json] = [{"role": "tool", "tool_call_id": call["id"], "content": draw(words)} for call in calls]
    return [{"role": "user", "content": draw(contents)}, assistant, *results]


@st.composite
def chats(draw: st.DrawFn) -> Json:
    body: Json = {
        "messages": [
            *([{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []),
            *(message for turn in draw(st.lists(rounds(), max_size=3)) for message in turn),
            {"role": "user", "content": draw(contents)},
        ],
        "max_tokens": draw(st.integers(1, 9999)),
    }
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.floats(0, 1),
        "top_k": st.integers(1, 9),
        "stop": st.lists(words, min_size=1, max_size=2),
        "user": words,
        "service_tier": st.sampled_from(["auto", "default"]),
        "response_format": st.just(
            {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": True}}
        ),
    }
    body |= {name: draw(strategy) for name, strategy in optional.items() if draw(st.booleans())}
    if draw(st.booleans()):
        function = {"name": "f", "description": draw(words), "parameters": schema, "strict": True}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = draw(
            st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "f"}}])
        )
        if body["tool_choice"] != "none" and draw(st.booleans()):
            body["parallel_tool_calls"] = False
    return body


def written(body: Json) -> bytes:
    return dialect.write_request(Request("chat", "claude-sonnet-4-5", body), Quirks()).body


def meant(body: Json) -> Json:
    """What a chat asks for: arguments as values, results before what else the user says, reasoning only where it is signed."""
    messages: list[Json] = []
    for message in body["messages"]:
        out = {name: value for name, value in message.items() if name != "reasoning_content"}
        if out["role"] == "user" and messages and messages[-1]["role"] == "user":
            out["content"] = parts(messages.pop()["content"]) + parts(out["content"])
        for call in out.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        messages.append(out)
    return {**body, "messages": messages}


def parts(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


@settings(max_examples=100, deadline=None)
@given(chats())
def test_what_is_written_and_read_back_asks_for_the_same(body: Json) -> None:
    """
    Read back, a written chat has the same messages, tools and parameters; and the SDK's types know what was written.
    """
    sent = written(body)
    data = json.loads(sent)
    back = dialect.read_request("chat", data)

    MESSAGES.validate_python(data["messages"])
    for message in data["messages"]:
        BLOCKS.validate_python(parts(message["content"]))
    TOOLS.validate_python(data.get("tools", []))
    assert "claude-sonnet-4-5" == back.model
    assert meant(json.loads(json.dumps(body))) == meant(json.loads(back.encoded))


@settings(max_examples=100, deadline=None)
@given(chats())
def test_to_write_again_what_was_read_back_changes_nothing(body: Json) -> None:
    """
    Written, read back and written again, a chat is the same.
    """
    sent = written(body)

    assert json.loads(sent) == json.loads(written(dialect.read_request("chat", json.loads(sent)).body))


@settings(max_examples=50, deadline=None)
@given(chats())
def test_to_write_a_request_changes_nothing_of_the_callers(body: Json) -> None:
    """
    Writing leaves the caller's own messages alone; another attempt may write them again.
    """
    before = json.dumps(body)
    first = written(body)

    assert before == json.dumps(body)
    assert first == written(body)
