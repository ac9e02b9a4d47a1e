"""The law of Google's `generateContent`: a chat that is written and read back asks for the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from llmgate.dialects.base import Quirks
from llmgate.dialects.gemini import Gemini
from llmgate.types.request import Request

dialect = Gemini()

Json = dict[str, Any]

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
ids = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(words, values, max_size=3)
arguments = objects.map(lambda value: json.dumps(value, ensure_ascii=False))
results = words | arguments | objects.map(lambda value: json.dumps({"output": json.dumps(value)}))
texts = words.map(lambda text: {"type": "text", "text": text})
images = st.sampled_from(["https://x.test/a.png", "data:image/png;base64,iVBO"]).map(
    lambda url: {"type": "image_url", "image_url": {"url": url}}
)
files = st.sampled_from([{"file_data": "data:application/pdf;base64,JVBE", "filename": "file"}, {"file_id": "f"}]).map(
    lambda file: {"type": "file", "file": file}
)
audio = st.just({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}})
own = st.just({"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 1}, "thought": True})
contents = words | st.lists(texts | images | files | audio | own, min_size=2, max_size=4)
signatures = st.builds(lambda word: {"extra_content": {"google": {"thought_signature": word}}}, words)


@st.composite
def rounds(draw: st.DrawFn) -> list[Json]:
    """A turn of the user, one of the assistant, and the results of the tools it called."""
    calls = [
        {"id": id, "type": "function", "function": {"name": draw(ids), "arguments": draw(arguments)}}
        | (draw(signatures) if draw(st.booleans()) else {})
        for id in draw(st.lists(ids, max_size=3, unique=True))
    ]
    said = draw(words) if not calls or draw(st.booleans()) else None
    assistant: Json = {"role": "assistant", "content": said} | ({"tool_calls": calls} if calls else {})
    answers: list[Json] = [{"role": "tool", "tool_call_id": call["id"], "content": draw(results)} for call in calls]
    return [{"role": "user", "content": draw(contents)}, assistant, *answers]


@st.composite
def chats(draw: st.DrawFn) -> Json:
    body: Json = {
        "messages": [
            *([{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []),
            *(message for turn in draw(st.lists(rounds(), max_size=3)) for message in turn),
            {"role": "user", "content": draw(contents)},
        ]
    }
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.floats(0, 1),
        "top_k": st.integers(1, 9),
        "n": st.integers(1, 4),
        "stop": st.lists(words, min_size=1, max_size=2),
        "max_completion_tokens": st.integers(1, 9999),
        "service_tier": st.sampled_from(["default", "flex"]),
        "safetySettings": st.just([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
        "generationConfig": st.just({"mediaResolution": "MEDIA_RESOLUTION_LOW"}),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "response_format": st.sampled_from(
            [
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}},
            ]
        ),
    }
    body |= {name: draw(strategy) for name, strategy in optional.items() if draw(st.booleans())}
    if draw(st.booleans()):
        function = {"name": "f", "description": draw(words), "parameters": schema}
        body["tools"] = [{"googleSearch": {}}, {"type": "function", "function": function}]
        body["tool_choice"] = draw(
            st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "f"}}])
        )
    return body


def written(body: Json) -> bytes:
    return dialect.write_request(Request("chat", "gemini-3-flash-preview", body), Quirks()).body


def meant(body: Json) -> Json:
    """
    What a chat asks for: what the user says in one turn as one message, arguments and objects as values, and calls as
    they are but for the signature that stands in for one.
    """
    messages: list[Json] = []
    for message in body["messages"]:
        out = {name: value for name, value in message.items() if name != "extra_content"}
        if out["role"] == "user" and messages and messages[-1]["role"] == "user":
            out["content"] = parts(messages.pop()["content"]) + parts(out["content"])
        for call in out.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            if "validator" in json.dumps(call.get("extra_content")):
                del call["extra_content"]
        if out["role"] == "tool":
            out["content"] = value_of(out["content"])
        messages.append(out)
    for part in (part for message in messages if message["role"] == "user" for part in parts(message["content"])):
        part.get("image_url", {}).pop("format", None)
    return {**body, "messages": messages}


def value_of(content: str) -> Any:
    """An object as its value; whatever else a tool said as the text that it is."""
    try:
        value = json.loads(content)
    except ValueError:
        return content
    return value if isinstance(value, dict) else content


def parts(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


@settings(max_examples=100, deadline=None)
@given(chats())
def test_what_is_written_and_read_back_asks_for_the_same(body: Json) -> None:
    """
    Read back, a written chat has the same messages, signatures, tools and parameters.
    """
    back = dialect.read_request("chat", json.loads(written(body)))

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
