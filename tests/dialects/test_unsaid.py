"""What a format cannot say: an error that names it, or left out, where somebody said that it may be."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.unsaid import LEFT_OUT_MAX, Unsaid, say
from llmgate.errors import BadRequest
from llmgate.types.request import Request

Json = dict[str, Any]
HELLO: Json = {"type": "text", "text": "hello"}
AUDIO: Json = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
LINK: Json = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
CUSTOM: Json = {"type": "custom", "custom": {"name": "free"}}
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

UNSAYABLE: list[tuple[str, Json, list[str]]] = [
    ("anthropic_messages", {"n": 2}, ["n"]),
    ("anthropic_messages", {"response_format": {"type": "json_object"}, "seed": 1}, ["seed", "response_format"]),
    ("anthropic_messages", {"service_tier": "priority"}, ["service_tier"]),
    ("anthropic_messages", {"reasoning_effort": "high", "max_tokens": 100}, ["reasoning_effort"]),
    ("anthropic_messages", {"tools": [CUSTOM, TOOL, CUSTOM]}, ["tools[0]", "tools[1]"]),
    ("anthropic_messages", {"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, ["tool_choice"]),
    ("bedrock", {"logprobs": True, "parallel_tool_calls": False, "tools": [TOOL]}, ["logprobs", "parallel_tool_calls"]),
    ("bedrock", {"reasoning_effort": "low"}, ["reasoning_effort"]),
    (
        "cohere",
        {"top_logprobs": 2, "tools": [CUSTOM], "tool_choice": "required"},
        ["top_logprobs", "tools[0]", "tool_choice"],
    ),
    ("gemini", {"logit_bias": {"1": 1}, "service_tier": "scale"}, ["logit_bias", "service_tier"]),
    ("gemini", {"reasoning_effort": "none"}, ["reasoning_effort"]),
    ("gemini_interactions", {"logit_bias": {"1": 1}}, ["logit_bias"]),
    ("ollama", {"n": 2, "tool_choice": "required", "tools": [TOOL]}, ["n", "tool_choice"]),
    ("openai_responses", {"stop": ["x"], "seed": 1}, ["stop", "seed"]),
]
"""What some format cannot say, and the names by which it is told, in order."""


def asked(**more: Any) -> Request:
    return Request("chat", "m", {"messages": [{"role": "user", "content": "hello"}]} | more)


def content(*parts: Json) -> Request:
    return asked(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": [*parts]}])


def written(name: str, request: Request) -> tuple[Json, list[str]]:
    """What is sent, and the names of what is left out."""
    out, left_out = say(dialect_named(name), request, Quirks(), True)
    return json.loads(out.body), [reason.partition(": ")[0] for reason in left_out]


@pytest.mark.parametrize(("name", "more", "named"), UNSAYABLE)
def test_is_an_error_that_names_it(name: str, more: Json, named: list[str]) -> None:
    """
    Whoever did not allow it is told what cannot be said, in words and by the name of the parameter.
    """
    with pytest.raises(BadRequest) as raised:
        say(dialect_named(name), asked(**more), Quirks(), False)

    assert raised.value.message.startswith(f"{named[0]}: ")
    assert named[0] == raised.value.param


@pytest.mark.parametrize(("name", "more", "named"), UNSAYABLE)
def test_is_left_out_and_told(name: str, more: Json, named: list[str]) -> None:
    """
    Where it may be, just that is left out, whatever is left is said, and all of it is told.
    """
    request = asked(**more)
    body, left_out = written(name, request)
    kept = {name: value for name, value in more.items() if name not in [told.partition("[")[0] for told in named]}

    assert named == left_out
    assert body == json.loads(say(dialect_named(name), asked(**kept | tools_left(more)), Quirks(), False)[0].body)
    assert request.body == asked(**more).body


def tools_left(more: Json) -> Json:
    tools = [tool for tool in more.get("tools", ()) if tool is TOOL]
    return {"tools": tools} if tools else {}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("anthropic_messages", AUDIO),
        ("bedrock", LINK),
        ("cohere", AUDIO),
        ("gemini", {"type": "hologram"}),
        ("gemini_interactions", {"type": "hologram"}),
        ("ollama", LINK),
        ("openai_responses", AUDIO),
    ],
)
def test_a_part_is_left_out_of_its_message(name: str, part: Json) -> None:
    """
    Of a message that says more, the rest is said; of one that says nothing else, nothing would be left to say.
    """
    body, left_out = written(name, content(HELLO, part, part))

    assert ["messages[1]", "messages[1]"] == left_out
    assert body == written(name, content(HELLO))[0]
    with pytest.raises(BadRequest, match=r"^messages\[1\]: content\[0\]: ") as raised:
        written(name, content(part))
    assert "messages[1].content[0]" == raised.value.param


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("anthropic_messages", {"messages": [{"role": "narrator", "content": "x"}]}),
        ("cohere", {"tool_choice": "perhaps"}),
        ("gemini", {"messages": [{"role": "system", "content": "x"}]}),
        ("bedrock", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
        ("ollama", {"reasoning_effort": "enormous"}),
    ],
)
def test_what_is_wrong_is_never_left_out(name: str, more: Json) -> None:
    """
    A slip of the pen, or something without which the rest means something else, is an error all the same.
    """
    with pytest.raises(BadRequest):
        written(name, asked(**more))


def test_nobody_waits_for_the_end_of_it() -> None:
    """
    A request that is nothing but what cannot be said is refused at some time.
    """
    few, many = ([AUDIO] * count for count in (LEFT_OUT_MAX, LEFT_OUT_MAX + 1))

    assert LEFT_OUT_MAX == len(written("cohere", content(HELLO, *few))[1])
    with pytest.raises(BadRequest):
        written("cohere", content(HELLO, *many))


def test_travels() -> None:
    """
    The error tells the same in another process.
    """
    error = pickle.loads(pickle.dumps(Unsaid("no", "content", 2).within("messages", 1)))

    assert ("messages[1]: no", "messages[1].content[2]") == (error.message, error.param)
    assert ("messages", 1, "content", 2) == error.path


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"safetySettings": [1], "labels": {"a": "b"}}, ["safetySettings"]),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}}, ["thinking"]),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}, "speechConfig": {}}}, ["generationConfig"]),
        ({"tools": [{"googleSearch": {}}]}, ["tools[0]"]),
        ({"contents": [{"parts": [{"text": "hello"}, {"executableCode": {}}]}]}, ["messages[0]"]),
    ],
)
def test_words_of_another_format_are_left_out_one_by_one(body: Json, named: list[str]) -> None:
    """
    What a caller of another format says in words that nobody else has is an error that names it, or just that is left out.
    """
    asked = {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"temperature": 0}}
    asked["generationConfig"] = {"temperature": 0} | body.get("generationConfig", {})
    request = dialect_named("gemini").read_request(
        "chat", asked | body | {"generationConfig": asked["generationConfig"]}
    )
    request = request.to("meta.llama3")
    with pytest.raises(BadRequest) as raised:
        say(dialect_named("bedrock"), request, Quirks(), False)
    sent, left_out = written("bedrock", request)

    assert raised.value.message.startswith(named[0])
    assert named == left_out
    assert [{"role": "user", "content": [{"text": "hello"}]}] == sent["messages"]
    if named != ["generationConfig"]:
        assert {"temperature": 0} == sent["inferenceConfig"]
