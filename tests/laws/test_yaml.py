"""Reading a configuration loses nothing and raises nothing but its own error."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import yaml
from hypothesis import given, settings, strategies as st

from llmgate.config.loading import load_json, load_yaml
from llmgate.errors import ConfigError

texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
mappings = st.dictionaries(texts, values, max_size=4)


@settings(max_examples=100)
@given(mappings)
def test_json_is_yaml(value: dict[str, Any]) -> None:
    """
    What JSON says, YAML says, too: the two readers agree.
    """
    written = json.dumps(value, ensure_ascii=False)

    assert value == load_json(written)
    assert _same(value, load_yaml(written))


@settings(max_examples=100)
@given(mappings)
def test_block_style_reads_back(value: dict[str, Any]) -> None:
    """
    What a YAML writer writes with every text in quotes reads back as the same value.
    """
    assert _same(value, load_yaml(yaml.dump(value, Dumper=_Quoting, allow_unicode=True)))


@settings(max_examples=100)
@given(st.text(max_size=40) | st.text("-:[]{},&*!|>'\"%@`#? \n\tab10", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """
    Whatever a file holds, it is a mapping or a ConfigError.
    """
    for load in (load_yaml, load_json):
        with contextlib.suppress(ConfigError):
            assert isinstance(load(text), dict)


class _Quoting(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def _same(one: Any, other: Any) -> bool:
    """Equal, where 1, 1.0 and True are three values."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float):
        return isinstance(other, float) and math.copysign(1, one) == math.copysign(1, other) and one == other
    return type(one) is type(other) and one == other
