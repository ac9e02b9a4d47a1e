"""Whatever is written from a value reads back as exactly that value."""

from __future__ import annotations

import re
from decimal import Decimal

from hypothesis import given, settings, strategies as st
from pydantic import TypeAdapter

from llmgate.types.units import (
    Duration,
    Rate,
    format_duration,
    format_money,
    format_rate,
    format_size,
    parse_duration,
    parse_money,
    parse_rate,
    parse_size,
)

seconds = st.floats(min_value=0, allow_infinity=False) | st.integers(0, 10**7).map(float)
counts = st.integers(1, 10**30) | st.floats(min_value=1e-300, allow_infinity=False)


@settings(max_examples=200)
@given(seconds)
def test_a_duration_reads_back(value: float) -> None:
    """
    parse(format(x)) == x for every float of seconds, from the smallest to the largest.
    """
    assert value == parse_duration(format_duration(value))


@settings(max_examples=200)
@given(st.integers(0, 10**8), st.sampled_from(["d", "h", "m", "s", "ms"]))
def test_a_duration_in_one_unit_is_never_written_longer(count: int, unit: str) -> None:
    """
    What a person wrote in one unit comes back no longer than that.
    """
    written = f"{count}{unit}"

    assert len(format_duration(parse_duration(written))) <= len(written)


@settings(max_examples=200)
@given(st.integers(0, 2**200))
def test_a_size_reads_back(size: int) -> None:
    """
    parse(format(x)) == x for every number of bytes.
    """
    assert size == parse_size(format_size(size))


@settings(max_examples=200)
@given(st.decimals(min_value=0, max_value=10**18, places=9) | st.floats(0, 1e12).map(repr).map(Decimal))
def test_money_reads_back(amount: Decimal) -> None:
    """
    parse(format(x)) == x for every amount, to its last digit.
    """
    assert amount == parse_money(format_money(amount))
    assert amount.as_tuple().digits == parse_money(format_money(amount)).as_tuple().digits or amount == 0


@settings(max_examples=200)
@given(counts, seconds.filter(bool))
def test_a_rate_reads_back(limit: int | float, per_s: float) -> None:
    """
    parse(format(x)) == x for every rate.
    """
    rate = Rate(limit, per_s)

    assert rate == parse_rate(format_rate(rate))


@settings(max_examples=200)
@given(st.text(max_size=12) | st.from_regex(r"[ 0-9.,a-zP:+/$-]{1,12}", fullmatch=True))
def test_a_text_is_read_or_refused(text: str) -> None:
    """
    Every text is either a value or a ValueError, in every unit; nothing else is raised.
    """
    for parse in (parse_duration, parse_size, parse_money, parse_rate):
        try:
            parse(text)
        except ValueError as error:
            assert "write" in str(error)


@settings(max_examples=200)
@given(seconds)
def test_what_is_written_fits_the_schema(value: float) -> None:
    """
    The text a duration dumps as is one that its JSON schema admits.
    """
    patterns = [way["pattern"] for way in TypeAdapter(Duration).json_schema()["anyOf"] if way["type"] == "string"]

    assert all(re.search(pattern, format_duration(value)) for pattern in patterns)
