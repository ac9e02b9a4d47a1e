"""How much a model is to think: an effort and a budget, told to each format in the one that it knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.thinking import TOKENS, effort_of, is_ours
from llmgate.errors import BadRequest
from llmgate.types.request import Request

Json = dict[str, Any]
BUDGET = {"type": "enabled", "budget_tokens": 5000}
HELLO = [{"role": "user", "content": "hello"}]


def written(name: str, model: str, **more: Any) -> Json:
    request = Request("chat", model, {"messages": HELLO} | more)
    body: Json = json.loads(dialect_named(name).write_request(request, Quirks()).body)
    return body


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "disabled"}, "none"),
        ({"type": "adaptive"}, "medium"),
        ({"type": "enabled"}, "medium"),
        *(({"type": "enabled", "budget_tokens": tokens}, effort) for effort, tokens in [*TOKENS.items()][:-1]),
        ({"type": "enabled", "budget_tokens": 1025}, "low"),
        ({"type": "enabled", "budget_tokens": 10**6}, "xhigh"),
    ],
)
def test_a_budget_is_the_least_effort_that_may_think_as_much(thinking: Json, effort: str) -> None:
    """
    And a model that decides for itself is told the middle one.
    """
    assert effort == effort_of(thinking)
    assert is_ours(thinking)


@pytest.mark.parametrize("theirs", [None, "high", {"type": "enabled", "token_budget": 1}, {"type": "else"}, {}])
def test_the_words_of_a_format_are_not_ours(theirs: Any) -> None:
    """
    What looks alike and is told otherwise is left to the format that it belongs to.
    """
    assert not is_ours(theirs)


@pytest.mark.parametrize(
    ("name", "model", "place", "told"),
    [
        ("anthropic_messages", "claude-sonnet-4-5", ("thinking",), BUDGET),
        ("bedrock", "anthropic.claude-sonnet-4-5", ("additionalModelRequestFields", "thinking"), BUDGET),
        ("bedrock", "openai.gpt-oss-120b-1:0", ("additionalModelRequestFields",), {"reasoning_effort": "medium"}),
        ("cohere", "command-a", ("thinking",), {"type": "enabled", "token_budget": 5000}),
        ("gemini", "gemini-2.5-pro", ("generationConfig", "thinkingConfig"), {"includeThoughts": True, "thinkingBudget": 5000}),
        ("gemini", "gemini-3-pro", ("generationConfig", "thinkingConfig"), {"includeThoughts": True, "thinkingLevel": "medium"}),
        ("gemini_interactions", "gemini-3-pro", ("generation_config", "thinking_level"), "medium"),
        ("ollama", "qwen3", ("think",), "medium"),
        ("openai_responses", "gpt-5", ("reasoning",), {"effort": "medium"}),
    ],
)  # fmt: skip
def test_a_budget_is_told_in_each_formats_words(name: str, model: str, place: tuple[str, ...], told: Any) -> None:
    """
    As a budget where there are budgets, and else as the nearest effort; the word itself reaches nobody else.
    """
    body = written(name, model, thinking=BUDGET)
    found: Any = body
    for step in place:
        found = found[step]

    assert told == found
    assert "thinking" not in body or place == ("thinking",)


@pytest.mark.parametrize(
    ("name", "model", "more"),
    [
        ("gemini", "gemini-2.0-flash", {"thinking": BUDGET}),
        ("gemini", "gemini-2.5-pro", {"thinking": {"type": "disabled"}}),
        ("gemini_interactions", "gemini-3-pro", {"thinking": {"type": "disabled"}}),
        ("bedrock", "meta.llama3", {"thinking": BUDGET}),
    ],
)
def test_what_a_model_cannot_is_refused_by_name(name: str, model: str, more: Json) -> None:
    """
    Who asked with `thinking` is told about `thinking`.
    """
    with pytest.raises(BadRequest, match=r"^thinking: ") as raised:
        written(name, model, **more)

    assert "thinking" == raised.value.param


@pytest.mark.parametrize(
    ("name", "model", "body"),
    [
        ("cohere", "command-a", {"thinking": {"type": "enabled", "token_budget": 77}}),
        ("cohere", "command-a", {"thinking": {"type": "enabled", "token_budget": 2048}}),
        ("ollama", "qwen3", {"think": True}),
    ],
)
def test_what_was_read_is_written_again(name: str, model: str, body: Json) -> None:
    """
    A budget of a format's own comes back to it as it was, also through a changed request.
    """
    request = dialect_named(name).read_request("chat", {"messages": HELLO} | body).but(temperature=0).to(model)
    again = json.loads(dialect_named(name).write_request(request, Quirks()).body)

    assert body.items() <= again.items()


def test_the_callers_own_word_comes_first() -> None:
    """
    Where a format's own parameter is there, nothing is put in its place.
    """
    own = {"thinkingConfig": {"thinkingBudget": 1}}

    assert own == written("gemini", "gemini-2.5-pro", thinking=BUDGET, generationConfig=own)["generationConfig"]
    assert False is written("ollama", "qwen3", thinking=BUDGET, think=False)["think"]
    assert {"effort": "low"} == written("openai_responses", "o", thinking=BUDGET, reasoning_effort="low")["reasoning"]
