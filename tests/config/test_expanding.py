"""Environment variables in a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from llmgate.config.expanding import expand
from llmgate.errors import ConfigError

ENV = {"KEY": "sk-1", "EMPTY": "", "NESTED": "${KEY}"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${KEY}", "sk-1"),
        ("Bearer ${KEY}!", "Bearer sk-1!"),
        ("${KEY}${KEY}", "sk-1sk-1"),
        ("${KEY:-other}", "sk-1"),
        ("${MISSING:-other}", "other"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${MISSING:-http://[::1]:80/v1}", "http://[::1]:80/v1"),
        ("$${KEY}", "${KEY}"),
        ("$$$$", "$$"),
        ("$25", "$25"),
        ("$KEY", "$KEY"),
        ("${NESTED}", "${KEY}"),
        (5, 5),
        (None, None),
        ({"${KEY}": ["${KEY}", {"a": ("${KEY}",)}]}, {"${KEY}": ["sk-1", {"a": ["sk-1"]}]}),
    ],
)
def test_references_in_texts_are_replaced(written: Any, value: Any) -> None:
    """
    Values are expanded once and wherever they stand; keys, numbers and plain dollars are left alone.
    """
    assert value == expand(written, ENV)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${MISSING}", "a.b[1]: the environment variable MISSING is not set; set it or write ${MISSING:-default}"),
        ("${KEY", "a.b[1]: a reference is written ${NAME} or ${NAME:-default}; a plain dollar before { is $$"),
        ("${1X}", "a.b[1]: a reference is written ${NAME} or ${NAME:-default}; a plain dollar before { is $$"),
        ("${A:-${KEY}}", "a.b[1]: a reference is written ${NAME} or ${NAME:-default}; a plain dollar before { is $$"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named_with_its_place(written: str, text: str) -> None:
    """
    An unset variable and a broken reference are errors that say where and what to write.
    """
    with pytest.raises(ConfigError) as caught:
        expand({"a": {"b": ["x", written]}}, ENV)

    assert text == str(caught.value)
    assert "a.b[1]" == caught.value.path


def test_all_missing_variables_are_told_at_once() -> None:
    """
    Nobody sets five variables in five runs.
    """
    with pytest.raises(ConfigError) as caught:
        expand({"b": "${TWO}", "a": "${ONE}"}, {})

    assert [
        "the configuration has 2 problems:",
        "  a: the environment variable ONE is not set; set it or write ${ONE:-default}",
        "  b: the environment variable TWO is not set; set it or write ${TWO:-default}",
    ] == str(caught.value).splitlines()


def test_what_was_put_in_is_told_to_who_asks() -> None:
    """
    Errors can name the reference in place of the value that came from it.
    """
    used: dict[str, str] = {}

    expand(["${KEY}", "${MISSING:-plain}"], ENV, used=used)

    assert {"sk-1": "${KEY}"} == used
