"""What a caller says in the words of his own format, for an upstream of another one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.foreign import OURS, is_foreign, understood
from llmgate.errors import BadRequest
from llmgate.providers.catalog import row_named
from llmgate.types.request import Request

Json = dict[str, Any]
MARK = {"cache_control": {"type": "ephemeral"}}
MARKED: Json = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be short.", **MARK}]},
        {"role": "user", "content": "a", **MARK},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "b", **MARK}]},
    ],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}, **MARK}],
}  # fmt: skip


def sent(name: str, request: Request, quirks: Quirks | None = None) -> Json:
    body: Json = json.loads(dialect_named(name).write_request(request, quirks or Quirks()).body)
    return body


def messages(**more: Any) -> Request:
    """What a caller of Messages asks, for a model of somebody else."""
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "a"}]} | more
    return dialect_named("anthropic_messages").read_request("chat", body).to("m")


@pytest.mark.parametrize("provider", ["openai", "azure"])
def test_marks_of_anothers_cache_are_not_told_to_openai(provider: str) -> None:
    """
    They change no answer, and OpenAI would refuse them; who serves other models in its format may well know them.
    """
    request = Request("chat", "m", MARKED, encoded=json.dumps(MARKED).encode())
    quirks = row_named(provider).quirks

    assert "cache_control" not in json.dumps(sent("openai_chat", request, quirks))
    assert sent("openai_chat", request, quirks)["messages"][1] == {"role": "user", "content": "a"}
    assert MARKED.items() <= sent("openai_chat", request).items()
    assert MARKED.items() <= sent("openai_chat", request, row_named("openrouter").quirks).items()
    assert 5 == json.dumps(MARKED).count("cache_control") + 1


def test_an_openai_caller_says_what_he_likes() -> None:
    """
    A word that is not in our shape is meant for the upstream, and so it is if nobody says whose words these are.
    """
    for spoken in ("", "openai_chat"):
        body = {"messages": [{"role": "user", "content": "a"}], "safetySettings": [1]}
        request = Request("chat", "m", body, spoken=spoken)

        assert not is_foreign(request, "gemini")
        assert request.body is understood(request, "gemini")
        assert [1] == sent("gemini", request)["safetySettings"]


@pytest.mark.parametrize("name", ["cohere", "gemini", "gemini_interactions", "ollama", "openai_responses"])
def test_marks_of_anthropics_cache_are_told_nobody_who_has_none(name: str) -> None:
    """
    They stay behind, and everything that is marked is told.
    """
    body = json.dumps(sent(name, Request("chat", "m", MARKED)))

    assert "cache_control" not in body
    assert all(f'"{told}"' in body for told in ("Be short.", "a", "b", "look"))


@pytest.mark.parametrize(
    ("name", "word", "value", "ours"),
    [
        ("anthropic_messages", "output_config", {"effort": "low"}, {"reasoning_effort": "low"}),
        ("anthropic_messages", "output_config", {"effort": "low", "more": 1}, None),
        ("anthropic_messages", "output_config", "low", None),
        ("anthropic_messages", "cache_control", {"type": "ephemeral"}, {}),
        ("anthropic_messages", "container", "x", None),
        ("bedrock", "performanceConfig", {"latency": "optimized"}, {}),
        ("bedrock", "guardrailConfig", {}, {}),
        ("bedrock", "guardrailConfig", {"guardrailIdentifier": "x"}, None),
        ("bedrock", "additionalModelRequestFields", {"top_k": 3, "thinking": {"type": "adaptive"}},
         {"top_k": 3, "thinking": {"type": "adaptive"}}),
        ("bedrock", "additionalModelRequestFields", {"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ("bedrock", "additionalModelRequestFields", {"output_config": {"effort": "low", "more": 1}}, None),
        ("bedrock", "additionalModelRequestFields", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
         {"reasoning_effort": "low"}),
        ("bedrock", "additionalModelRequestFields", {"reasoningConfig": {"type": "disabled", "maxReasoningEffort": "low"}},
         {"reasoning_effort": "none"}),
        ("bedrock", "additionalModelRequestFields", {"anthropic_beta": ["x"]}, {}),
        ("bedrock", "additionalModelRequestFields", {"top_k": 3, "more": 1}, None),
        ("bedrock_invoke", "anthropic_version", "x", {}),
        ("bedrock_invoke", "performanceConfig", {"latency": "optimized"}, {}),
        ("bedrock_invoke", "reasoningConfig", {"type": "enabled", "maxReasoningEffort": "low"}, {"reasoning_effort": "low"}),
        ("bedrock_invoke", "more", 1, None),
        ("cohere", "safety_mode", "CONTEXTUAL", {}),
        ("cohere", "safety_mode", "STRICT", None),
        ("cohere", "priority", 3, {}),
        ("cohere", "documents", [], {}),
        ("cohere", "documents", ["x"], None),
        ("gemini", "labels", {"a": "b"}, {}),
        ("gemini", "safetySettings", [], {}),
        ("gemini", "safetySettings", [1], None),
        ("gemini", "generationConfig", {"thinkingConfig": {"includeThoughts": True}}, {}),
        ("gemini", "generationConfig", {"thinkingConfig": {"thinkingLevel": "HIGH"}}, {"reasoning_effort": "high"}),
        ("gemini", "generationConfig", {"thinkingConfig": {"thinkingBudget": 0}}, {"thinking": {"type": "disabled"}}),
        ("gemini", "generationConfig", {"thinkingConfig": {"thinkingBudget": -1}}, {"thinking": {"type": "adaptive"}}),
        ("gemini", "generationConfig", {"thinkingConfig": {"thinkingBudget": 7}},
         {"thinking": {"type": "enabled", "budget_tokens": 7}}),
        ("gemini", "generationConfig", {"thinkingConfig": {"thinkingBudget": 7}, "more": 1}, None),
        ("gemini_interactions", "generation_config", {"thinking_level": "low"}, {"reasoning_effort": "low"}),
        ("gemini_interactions", "generation_config", {"thinking_summaries": "auto"}, {}),
        ("gemini_interactions", "generation_config", {"thinking_level": "low", "more": 1}, None),
        ("gemini_interactions", "background", False, {}),
        ("gemini_interactions", "background", True, None),
        ("ollama", "options", {"num_ctx": 9}, {}),
        ("ollama", "options", {"num_ctx": 9, "mirostat": 1}, None),
        ("ollama", "keep_alive", "5m", {}),
        ("ollama", "format", "", {}),
        ("ollama", "raw", True, None),
        ("openai_responses", "reasoning", {"summary": "auto"}, {}),
        ("openai_responses", "reasoning", {"summary": "auto", "more": 1}, None),
        ("openai_responses", "truncation", "disabled", {}),
        ("openai_responses", "truncation", "auto", None),
        ("openai_responses", "previous_response_id", "x", None),
        ("openai_chat", "more", 1, None),
    ],
)  # fmt: skip
def test_what_a_formats_own_words_mean(name: str, word: str, value: Any, ours: Json | None) -> None:
    """
    What changes no answer means nothing to others; what may change one is told in our words, whole, or not at all.
    """
    assert ours == dialect_named(name).told(word, value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        ({"output_config": {"effort": "high"}}, {"reasoning_effort": "high"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "xhigh"}),
        ({"betas": ["x"], "anthropic_version": "2023-06-01", "top_k": 3}, {"top_k": 3}),
    ],
)
def test_what_anthropic_has_words_for_is_told_openai_in_its_own(said: Json, told: Json) -> None:
    """
    Nothing of the caller's words is left, and what they mean is.
    """
    body = sent("openai_chat", messages(**said))

    assert {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]} | told == body


def test_what_only_its_own_format_knows_about_a_message_stays_there() -> None:
    """
    Marks, titles and thoughts of a caller's messages are not told to OpenAI, which refuses keys that it does not know.
    """
    said = {
        "role": "user",
        "content": [{"type": "text", "text": "a", **MARK}, {"type": "text", "text": "b"}],
    }
    thought = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "id": "1", "name": "look", "input": {}, **MARK},
        ],
    }
    result = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "1", "content": "no", "is_error": True}],
    }
    tools = [{"name": "look", "input_schema": {"type": "object"}, **MARK}]
    body = sent("openai_chat", messages(messages=[said, thought, result], tools=tools))

    assert [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}] == body["messages"][0]["content"]
    assert {"id", "type", "function"} == body["messages"][1]["tool_calls"][0].keys()
    assert {"role", "content", "reasoning_content", "tool_calls"} >= body["messages"][1].keys()
    assert {"role", "tool_call_id", "content"} >= body["messages"][2].keys()
    assert {"type", "function"} == body["tools"][0].keys()


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"mcp_servers": [{"url": "u"}]}, "mcp_servers"),
        ({"output_config": {"effort": "low", "else": 1}}, "output_config"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "container_upload"}]}]},
            "messages[0].content[1]",
        ),
    ],
)
@pytest.mark.parametrize("name", ["bedrock", "cohere", "gemini", "ollama", "openai_chat", "openai_responses"])
def test_what_nobody_else_has_a_word_for_is_refused_by_its_place(name: str, said: Json, place: str) -> None:
    """
    It is not passed on to somebody who would refuse it in words of his own, or take it for something else.
    """
    with pytest.raises(BadRequest) as raised:
        sent(name, messages(**said).to("amazon.nova-pro-v1:0"))

    assert place == raised.value.param


def test_a_word_of_a_shape_that_nobody_knows_is_refused_too() -> None:
    """
    What stands where a format has an object, and is none, is no reason to fail otherwise.
    """
    request = Request("chat", "m", {"messages": [], "additionalModelRequestFields": "x"}, spoken="bedrock")

    with pytest.raises(BadRequest, match=r"^additionalModelRequestFields: only bedrock has a word for it"):
        understood(request, "gemini")


def test_our_words_are_told_as_they_are() -> None:
    """
    A request that is read from another format, and holds nothing but our words, is what the same request in our shape is.
    """
    ours = {"messages": [{"role": "user", "content": "a"}]} | dict.fromkeys(OURS - {"messages", "tools"}, 1)

    assert ours == understood(Request("chat", "m", ours, spoken="cohere"), "gemini")
