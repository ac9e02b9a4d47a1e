"""What people write for times, sizes, amounts and rates, and what code gets."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmgate.types.units import (
    Duration,
    Money,
    Rate,
    Size,
    format_duration,
    format_money,
    format_rate,
    format_size,
    parse_duration,
    parse_money,
    parse_rate,
    parse_size,
)


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    timeout: Duration = Field(30.0, gt=0, description="how long")
    idle: Duration | None = None
    room: Size = 0
    budget: Money | None = None
    pace: Rate | None = None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (2.5, 2.5),
        (Decimal("0.1"), 0.1),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        ("30", 30.0),
        ("250ms", 0.25),
        ("0.3ms", 0.0003),
        ("30s", 30.0),
        (" 30 S ", 30.0),
        ("30 seconds", 30.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("2h5m", 7500.0),
        ("2h 5m 1s 1ms", 7501.001),
        ("1d", 86400.0),
        ("1d12h", 129600.0),
        ("PT30S", 30.0),
        ("PT0,5S", 0.5),
        ("P1DT2H", 93600.0),
        ("P2W", 1209600.0),
        ("pt1h30m", 5400.0),
    ],
)
def test_a_duration_is_read_as_seconds(written: object, seconds: float) -> None:
    """
    A number, a short text, ISO 8601 and a timedelta all become the same float of seconds.
    """
    assert seconds == parse_duration(written)


@pytest.mark.parametrize(
    ("parse", "written", "text"),
    [
        (parse_duration, "30 sek", '"30 sek" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "", '"" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "soon\n", '"soon\\n" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "5m2h", '"5m2h" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "1h1h", '"1h1h" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "1e3s", '"1e3s" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "٣s", '"٣s" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "P1M", '"P1M" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "P", '"P" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, "P1DT", '"P1DT" is not a duration; write 30s, 5m or 1h30m'),
        (parse_duration, True, "true is not a duration; write 30s, 5m or 1h30m"),
        (parse_duration, None, "null is not a duration; write 30s, 5m or 1h30m"),
        (parse_duration, ["1s"], "a list is not a duration; write 30s, 5m or 1h30m"),
        (parse_duration, -3, "-3 is negative; a duration is zero or more: write 30s, 5m or 1h30m"),
        (parse_duration, "-3s", '"-3s" is negative; a duration is zero or more: write 30s, 5m or 1h30m'),
        (parse_duration, math.nan, "nan is not a finite duration; write 30s, 5m or 1h30m"),
        (parse_duration, math.inf, "inf is not a finite duration; write 30s, 5m or 1h30m"),
        (parse_duration, Decimal("sNaN"), "sNaN is not a finite duration; write 30s, 5m or 1h30m"),
        (parse_duration, 10**400, "a number that large is not a finite duration; write 30s, 5m or 1h30m"),
        (parse_duration, "x" * 99, f'"{"x" * 39}…" is not a duration; write 30s, 5m or 1h30m'),
        (parse_size, "64 potatoes", '"64 potatoes" is not a size; write 64MiB, 1GB or a number of bytes'),
        (parse_size, "64M", '"64M" is not a size; write 64MiB, 1GB or a number of bytes'),
        (parse_size, "0.5B", '"0.5B" is not a whole number of bytes; write 64MiB, 1GB or a number of bytes'),
        (parse_size, 1.5, "1.5 is not a whole number of bytes; write 64MiB, 1GB or a number of bytes"),
        (parse_size, -1, "-1 is not a size; write 64MiB, 1GB or a number of bytes"),
        (parse_size, math.inf, "inf is not a size; write 64MiB, 1GB or a number of bytes"),
        (parse_size, False, "false is not a size; write 64MiB, 1GB or a number of bytes"),
        (parse_money, "10 EUR", '"10 EUR" is not an amount of US dollars; write $25 or 0.10'),
        (parse_money, "1,50", '"1,50" is not an amount of US dollars; write $25 or 0.10'),
        (parse_money, True, "true is not an amount of US dollars; write $25 or 0.10"),
        (parse_money, math.nan, "nan is not an amount of US dollars; write $25 or 0.10"),
        (parse_money, -1, "-1 is negative; an amount of US dollars is zero or more: write $25 or 0.10"),
        (parse_rate, "60", '"60" is not a rate; write 60/min, 10/s or 5/10s'),
        (parse_rate, 60, "60 is not a rate; write 60/min, 10/s or 5/10s"),
        (parse_rate, "60/60", '"60/60" is not a rate; write 60/min, 10/s or 5/10s'),
        (parse_rate, "60/fortnight", '"60/fortnight" is not a rate; write 60/min, 10/s or 5/10s'),
        (parse_rate, "-5/s", '"-5/s" is not a rate; write 60/min, 10/s or 5/10s'),
        (parse_rate, "0/s", '"0/s" lets nothing through; a rate is above zero: write 60/min, 10/s or 5/10s'),
        (parse_rate, "5/0s", '"5/0s" lets nothing through; a rate is above zero: write 60/min, 10/s or 5/10s'),
    ],
)
def test_a_wrong_value_is_refused_with_a_right_example(
    parse: Callable[[object], object], written: object, text: str
) -> None:
    """
    The error of a wrong value says in one sentence what is wrong and how to write it.
    """
    with pytest.raises(ValueError) as caught:
        parse(written)

    assert text == str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (0.0003, "0.0003s"),
        (0.1, "100ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (30.0, "30s"),
        (90.0, "90s"),
        (300.0, "5m"),
        (7500.0, "125m"),
        (3600.0, "1h"),
        (129600.0, "36h"),
        (86400.0, "1d"),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_that_counts_it_whole(seconds: float, written: str) -> None:
    """
    Seconds are written the way a person would have written them.
    """
    assert written == format_duration(seconds)


@pytest.mark.parametrize(
    ("written", "size", "again"),
    [
        ("64MiB", 64 * 1024**2, "64MiB"),
        ("64 mib", 64 * 1024**2, "64MiB"),
        ("1GB", 10**9, "1GB"),
        ("500kB", 500_000, "500kB"),
        ("500KB", 500_000, "500kB"),
        ("1.5GiB", 1536 * 1024**2, "1536MiB"),
        ("1023", 1023, "1023B"),
        (4096.0, 4096, "4KiB"),
        (0, 0, "0B"),
    ],
)
def test_a_size_is_read_as_bytes(written: object, size: int, again: str) -> None:
    """
    kB counts a thousand bytes and KiB 1024; the size is written in the shortest exact unit.
    """
    assert size == parse_size(written)
    assert again == format_size(size)


@pytest.mark.parametrize(
    ("written", "amount", "again"),
    [
        ("$25", "25", "$25"),
        (25, "25", "$25"),
        ("0.10", "0.10", "$0.10"),
        (0.1, "0.1", "$0.1"),
        ("$1,000.50", "1000.50", "$1000.50"),
        ("1e-6", "0.000001", "$0.000001"),
        (1e-6, "0.000001", "$0.000001"),
        (Decimal("-0.0"), "0.0", "$0.0"),
    ],
)
def test_money_is_exact(written: object, amount: str, again: str) -> None:
    """
    Ten cents are ten cents, also when they came as the float 0.1; no amount is written with an exponent.
    """
    parsed = parse_money(written)

    assert Decimal(amount) == parsed
    assert again == format_money(parsed)


@pytest.mark.parametrize(
    ("written", "rate", "again"),
    [
        ("60/min", Rate(60, 60.0), "60/min"),
        ("60 per minute", Rate(60, 60.0), "60/min"),
        ("10/s", Rate(10, 1.0), "10/s"),
        ("10 / second", Rate(10, 1.0), "10/s"),
        ("1000/hour", Rate(1000, 3600.0), "1000/hour"),
        ("1000/h", Rate(1000, 3600.0), "1000/hour"),
        ("5/10s", Rate(5, 10.0), "5/10s"),
        ("0.5/s", Rate(0.5, 1.0), "0.5/s"),
        ("2/250ms", Rate(2, 0.25), "2/250ms"),
        (Rate(3, 90.0), Rate(3, 90.0), "3/90s"),
    ],
)
def test_a_rate_is_a_limit_and_its_seconds(written: object, rate: Rate, again: str) -> None:
    """
    So many in so long; a time without a number means one of its unit.
    """
    assert rate == parse_rate(written)
    assert again == format_rate(rate) == str(rate)


def test_a_rate_tells_units_a_second() -> None:
    """
    `60/min` is one a second.
    """
    assert 1.0 == parse_rate("60/min").per_second


def test_a_whole_limit_stays_an_int() -> None:
    """
    A limit of requests is counted, not measured.
    """
    assert int is type(parse_rate("60/min").limit)


@pytest.mark.parametrize(("limit", "per_s"), [(0, 1.0), (-1, 1.0), (1, 0.0), (math.nan, 1.0), (1, math.inf)])
def test_a_rate_that_lets_nothing_through_cannot_be_made(limit: float, per_s: float) -> None:
    """
    Code cannot build the rate that a configuration may not hold.
    """
    with pytest.raises(ValueError, match="above zero"):
        Rate(limit, per_s)


def test_options_dump_what_they_were_given() -> None:
    """
    A model of unit fields dumps short texts, and loading the dump gives the same options.
    """
    options = Options.model_validate({"timeout": "1m", "idle": 0.5, "room": "64MiB", "budget": "$25", "pace": "60/min"})

    dumped = options.model_dump()

    assert {"timeout": "1m", "idle": "500ms", "room": "64MiB", "budget": "$25", "pace": "60/min"} == dumped
    assert options == Options.model_validate(dumped)
    assert options == Options.model_validate_json(options.model_dump_json())


def test_bounds_of_a_field_count_in_its_unit() -> None:
    """
    `gt=0` beside a duration bounds its seconds, however they were written.
    """
    with pytest.raises(ValidationError, match="greater than 0"):
        Options.model_validate({"timeout": "0ms"})


def test_pydantic_passes_the_sentence_on_alone() -> None:
    """
    The error of a field is the parser's own sentence, braces included, with the kind of the unit as its type.
    """
    with pytest.raises(ValidationError) as caught:
        Options.model_validate({"timeout": "{soon}"})

    [error] = caught.value.errors()
    assert '"{soon}" is not a duration; write 30s, 5m or 1h30m' == error["msg"]
    assert "duration" == error["type"]


def test_editors_learn_both_ways_to_write_a_unit() -> None:
    """
    The JSON schema of a duration admits a number and a text, and shows examples.
    """
    schema = Options.model_json_schema()["properties"]["timeout"]

    assert ["number", "string"] == [way["type"] for way in schema["anyOf"]]
    assert "30s" in schema["examples"]
    assert "how long" == schema["description"]
