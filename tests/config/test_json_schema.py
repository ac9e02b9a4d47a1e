"""What editors are told about a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmgate.config import json_schema, load_yaml
from llmgate.config.kinds import known_kinds

SAMPLES = [sample.read_text() for sample in sorted((Path(__file__).parent / "samples").glob("*.yaml"))]
SCHEMA = json_schema()

TYPES: Mapping[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float),
}  # fmt: skip


def admits(schema: Any, value: Any) -> bool:
    """Whether the part of JSON Schema that pydantic writes admits a value."""
    if "$ref" in schema:
        return admits(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value)
    kinds = schema.get("type", list(TYPES))
    kinds = kinds if isinstance(kinds, list) else [kinds]
    fits = any(
        isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ) or ("type" not in schema)
    fits &= "anyOf" not in schema or any(admits(way, value) for way in schema["anyOf"])
    fits &= "oneOf" not in schema or sum(admits(way, value) for way in schema["oneOf"]) == 1
    fits &= "enum" not in schema or value in schema["enum"]
    fits &= "const" not in schema or value == schema["const"]
    if isinstance(value, str):
        fits &= re.search(schema.get("pattern", ""), value) is not None
    elif isinstance(value, list):
        fits &= len(value) >= schema.get("minItems", 0) and all(admits(schema.get("items", {}), item) for item in value)
    elif isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        fits &= all(name in value for name in schema.get("required", ()))
        for name, item in value.items():
            inner = known.get(name, rest)
            fits &= inner if isinstance(inner, bool) else admits(inner, item)
    elif isinstance(value, (int, float)):
        fits &= value >= schema.get("minimum", value) and value <= schema.get("maximum", value)
        fits &= "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]
    return fits


@pytest.mark.parametrize(
    "text",
    [
        *SAMPLES, "providers: [openai]", "rate_limit: 60/min", "cache: off",
        "routes: {a: openai/x, b: [openai], c: {deployments: openai/x, fallback: [{target: a/b, weight: 1}]}}",
        "middleware: [one, {use: two, depth: 3}]", "retry: {base_delay: 1.5}", "prices: {a/b: {input: $1.25}}",
    ],
)  # fmt: skip
def test_what_loads_is_admitted(text: str) -> None:
    """
    No editor underlines what the documentation prints.
    """
    assert admits(SCHEMA, load_yaml(text))


@pytest.mark.parametrize(
    "text",
    [
        "provders: {}", "providers: {openai: {api_kye: x}}", "retry: {max_attempts: many}", "retry: {base_delay: soon?}",
        "retry: {backoff: fast}", "routes: {a: 5}", "routes: {a: {deployments: [{target: a/b, wieght: 1}]}}", "cache: maybe?",
        "cache: 5", "rate_limit: {per: person, requests: 60/min}", "http: {engine: requests}",
    ],
)  # fmt: skip
def test_what_is_wrong_is_underlined(text: str) -> None:
    """
    Misspelt options, wrong types and unknown words are found while they are typed.
    """
    assert not admits(SCHEMA, load_yaml(text))


def test_every_option_says_what_it_means() -> None:
    """
    Each section, and each option of each section, has a description.
    """
    silent = [
        f"{title}.{name}"
        for title, part in {"": SCHEMA, **SCHEMA["$defs"]}.items()
        if title not in ("Price",)
        for name, option in _options(part)
        if "description" not in option and "const" not in option
    ]

    assert [] == silent


def test_every_kind_of_provider_is_offered() -> None:
    """
    Editors complete the kinds there are.
    """
    assert known_kinds() == SCHEMA["$defs"]["Provider"]["properties"]["kind"]["examples"]
    assert {"openai", "anthropic", "groq", "simulated"} <= set(known_kinds())


def _options(part: Mapping[str, Any]) -> list[tuple[str, Any]]:
    ways = [part, *part.get("anyOf", ())]
    return [pair for way in ways for pair in way.get("properties", {}).items()]
