"""Whatever somebody writes, it is a configuration or an error that says where."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from llmgate.config import Settings, settings_from
from llmgate.errors import ConfigError

WORDS = [
    *Settings.model_fields, "openai", "local", "primary", "fallback", "strategy", "deployments", "target", "weight", "kind",
    "enabled", "ttl", "tiers", "memory", "sqlite", "total", "requests", "per", "max_attempts", "base_delay", "models",
    "price", "api_key", "base_url", "headers", "openai/gpt-5", "openai/*", "weights", "use", "slot", "engine", "input",
    "1s", "64MiB", "$25", "60/min", "on", "off", "vendor", "name", "simulated", "failures", "rate_limited", "", "a b",
]  # fmt: skip
SECRET = "sk-hypothetical-secret"

words = st.sampled_from(WORDS)
scalars = (
    st.none() | st.booleans() | st.integers(-2, 99) | st.floats() | words | st.just("${KEY}") | st.text(max_size=4)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)


@settings(max_examples=200)
@given(st.dictionaries(words, values, max_size=4))
def test_any_mapping_is_settings_or_an_error(raw: dict[str, Any]) -> None:
    """
    No mapping raises anything but ConfigError, no error shows the variable's value, and what loads dumps and loads again.
    """
    try:
        told = settings_from(raw, {"KEY": SECRET})
    except ConfigError as error:
        assert SECRET not in str(error)
        assert str(error)
    else:
        dumped = told.model_dump()
        assert dumped.keys() == Settings(**dumped).model_dump().keys()
        assert json.dumps(dumped)


@settings(max_examples=200)
@given(st.sampled_from(sorted(Settings.model_fields)), values)
def test_any_section_is_checked_or_refused(section: str, value: Any) -> None:
    """
    The same for one section at a time, where the path begins with its name.
    """
    try:
        settings_from({section: value}, {"KEY": SECRET})
    except ConfigError as error:
        assert SECRET not in str(error)
        assert str(error).startswith((section, "the configuration has"))
