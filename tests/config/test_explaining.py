"""Errors that say where, what and what to write instead, and never show a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmgate.config.explaining import Problems, at, explain_validation, holds_secret, nearest
from llmgate.types.secret import Secret
from llmgate.types.units import Duration, Rate


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    target: str
    weight: float = Field(1.0, ge=0)
    api_key: Secret | None = None
    timeout: Duration = Field(1.0, gt=0)


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    strategy: Literal["ordered", "weighted"] = "ordered"
    parts: dict[str, list[Part]] = Field(default_factory=dict)
    either: Part | Sequence[Part] | None = None
    names: list[str] = Field(default_factory=list, min_length=1)
    count: int = 1
    on: bool = True
    pace: Rate | None = None
    key: int = 0


def explained(given: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(given)
    return str(explain_validation(caught.value, model=Whole, given=given, **options))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"stratgy": "ordered"}, 'stratgy: unknown option; did you mean "strategy"?'),
        (
            {"zzz": 1},
            "zzz: unknown option; known are count, either, key, names, on, pace, parts, strategy",
        ),
        ({"strategy": "weigthed"}, 'strategy: "weigthed" is not an option; did you mean "weighted"?'),
        ({"strategy": "Ordered"}, 'strategy: "Ordered" is not an option; did you mean "ordered"?'),
        ({"strategy": "fastest"}, 'strategy: "fastest" is not an option; known are ordered, weighted'),
        ({"parts": {"a": [{}]}}, "parts.a[0].target: is missing; it has no default"),
        (
            {"parts": {"a": [{"target": "x"}, {"target": "x", "wieght": 1}]}},
            'parts.a[1].wieght: unknown option; did you mean "weight"?',
        ),
        (
            {"parts": {"a b": [{"target": "x", "weight": -1}]}},
            'parts["a b"][0].weight: -1 is too small; it must be at least 0',
        ),
        ({"parts": {"a": [{"target": 5}]}}, "parts.a[0].target: 5 is not a text; put it in quotes"),
        ({"parts": {"a": {"target": "x"}}}, "parts.a: a mapping is not a list; write [one, two]"),
        ({"parts": ["a"]}, "parts: a list is not a mapping; write `key: value` pairs"),
        ({"parts": {"a": ["x"]}}, 'parts.a[0]: "x" is not a mapping; write `key: value` pairs'),
        ({"names": []}, "names: too few; 1 or more must be given"),
        ({"count": "many"}, 'count: "many" is not a whole number'),
        ({"count": 1.5}, "count: 1.5 is not a whole number"),
        ({"on": "maybe"}, 'on: "maybe" is neither true nor false'),
        ({"pace": "60"}, 'pace: "60" is not a rate; write 60/min, 10/s or 5/10s'),
        (
            {"parts": {"a": [{"target": "x", "timeout": "0ms"}]}},
            'parts.a[0].timeout: "0ms" is too small; it must be greater than 0',
        ),
        (
            {"parts": {"a": [{"target": "x", "timeout": "30 sek"}]}},
            'parts.a[0].timeout: "30 sek" is not a duration; write 30s, 5m or 1h30m',
        ),
    ],
)
def test_a_problem_is_one_line_that_can_be_acted_on(given: dict[str, Any], text: str) -> None:
    """
    Each kind of mistake gets its place, what is wrong, and the nearest right spelling or example.
    """
    assert text == explained(given)


def test_problems_come_in_the_order_of_their_places() -> None:
    """
    Several problems are told together, and the tenth entry comes after the second.
    """
    parts = [{"target": "x"} for _ in range(11)]
    parts[2] = parts[10] = {"target": "x", "weight": "heavy"}

    assert [
        "the configuration has 3 problems:",
        '  count: "many" is not a whole number',
        '  parts.a[2].weight: "heavy" is not a number',
        '  parts.a[10].weight: "heavy" is not a number',
    ] == explained({"parts": {"a": parts}, "count": "many"}).splitlines()


def test_the_branches_of_a_union_do_not_show() -> None:
    """
    Paths lead through the file, not through the types that were tried.
    """
    text = explained({"either": {"target": "x", "weight": "heavy"}})

    assert 'either.weight: "heavy" is not a number' in text
    assert "Part" not in text


def test_a_prefix_leads_to_the_part_that_was_checked() -> None:
    """
    A section that was checked by itself is still found in the whole.
    """
    assert explained({"count": "many"}, prefix="retry").startswith("retry.count: ")


@pytest.mark.parametrize(
    "given",
    [
        {"parts": {"a": [{"target": "x", "api_key": ["sk-very-secret"]}]}},
        {"parts": {"a": [{"target": "x", "api_key": "sk-very-secret\n"}]}},
        {"key": "sk-very-secret"},
    ],
)
def test_a_wrong_key_is_not_shown(given: dict[str, Any]) -> None:
    """
    The value of an option that is named like a key stays out of every message.
    """
    assert "secret" not in explained(given)


def test_a_value_from_the_environment_is_shown_as_its_reference() -> None:
    """
    A key that landed in the wrong option is named by its variable, even where it would be cut short.
    """
    secret = "sk-" + "very-secret" * 9

    text = explained({"pace": secret, "on": f"x{secret}"}, hidden={secret: "${KEY}"})

    assert [
        "  on: ${KEY} is neither true nor false",
        "  pace: ${KEY} is not a rate; write 60/min, 10/s or 5/10s",
    ] == text.splitlines()[1:]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("weigthed", "weighted"), ("round-robin", "round_robin"), ("ORDERED", "ordered"), ("xyz", None)],
)
def test_the_nearest_option_is_the_one_that_was_meant(word: str, expected: str | None) -> None:
    """
    Letters, case and hyphens may be wrong; a word that is like no option gets none.
    """
    assert expected == nearest(word, ["ordered", "weighted", "round_robin"])


@pytest.mark.parametrize(
    ("place", "secret"),
    [
        (("providers", "openai", "api_key"), True),
        (("providers", "openai", "api_key", 1), True),
        (("headers", "x-anything"), True),
        (("key",), True),
        (("token",), True),
        (("access_token",), True),
        (("client-secret",), True),
        (("cache", "key_hash"), False),
        (("timeouts", "first_token"), False),
        (("tokens_per_minute",), False),
        (("monkey",), False),
    ],
)
def test_options_that_hold_keys_are_known_by_name(place: tuple[str | int, ...], secret: bool) -> None:
    """
    What is called a key, a secret or a header is one; what only counts tokens is not.
    """
    assert secret is holds_secret(place)


def test_a_path_is_written_as_one_would_read_it() -> None:
    """
    Names with a dot before them, places in lists in brackets, and what is neither in quotes.
    """
    assert 'routes.gpt-4o.deployments[1]["a b"]' == at("routes", "gpt-4o", "deployments", 1, "a b")


def test_the_same_problem_is_told_once() -> None:
    """
    Two checks that find the same make one line.
    """
    problems = Problems()
    problems.add("a", "is wrong")
    problems.add("a", "is wrong")

    assert "a: is wrong" == str(problems.error())
