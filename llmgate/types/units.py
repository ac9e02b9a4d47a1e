"""How people write seconds, bytes, dollars and rates in a configuration, and back.

`Duration`, `Size`, `Money` and `Rate` are pydantic field types. Each takes the numbers and the short texts that
people write (`30s`, `64MiB`, `$25`, `60/min`), gives code a plain number in one unit, and dumps as the shortest
text that reads back as exactly the same value (law: tests/laws/test_units.py). An optional one is `Duration | None`.

The units of a duration are those of systemd and Go with days added; months and years have no fixed length and are
refused. Sizes follow IEC 80000-13: `kB` is 1000 bytes, `KiB` is 1024.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, LiteralString, TypeGuard, TypeVar

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = [
    "Duration",
    "Money",
    "Rate",
    "Size",
    "format_duration",
    "format_money",
    "format_rate",
    "format_size",
    "parse_duration",
    "parse_money",
    "parse_rate",
    "parse_size",
    "shown",
]

T = TypeVar("T")

# Seconds of each unit, longest first; the first name of a row is the one we write. Fractions keep every sum exact.
_DURATION_UNITS: tuple[tuple[Fraction, tuple[str, ...]], ...] = (
    (Fraction(86_400), ("d", "day", "days")),
    (Fraction(3_600), ("h", "hr", "hour", "hours")),
    (Fraction(60), ("m", "min", "mins", "minute", "minutes")),
    (Fraction(1), ("s", "sec", "secs", "second", "seconds")),
    (Fraction(1, 1000), ("ms", "millisecond", "milliseconds")),
)
_SECONDS = {name: seconds for seconds, names in _DURATION_UNITS for name in names}

# Bytes of each unit by its lower-case name, and the spelling we write.
_SIZE_UNITS: tuple[tuple[int, str], ...] = (
    (1024**4, "TiB"),
    (1000**4, "TB"),
    (1024**3, "GiB"),
    (1000**3, "GB"),
    (1024**2, "MiB"),
    (1000**2, "MB"),
    (1024, "KiB"),
    (1000, "kB"),
    (1, "B"),
)
_BYTES = {name.lower(): size for size, name in _SIZE_UNITS}

_RATE_UNITS = {1.0: "s", 60.0: "min", 3_600.0: "hour", 86_400.0: "day"}

_NUMBER = r"\d+(?:\.\d+)?"
_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)\s*", re.ASCII)
_ISO = re.compile(
    rf"p(?:({_NUMBER})w)?(?:({_NUMBER})d)?(?:t(?=\d)(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?)?", re.ASCII
)
_ISO_SECONDS = (604_800, 86_400, 3_600, 60, 1)
_PLAIN = re.compile(_NUMBER, re.ASCII)
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]*)", re.ASCII)
# Thousands may be grouped, as in $1,000.50; YAML hands 1e-6 over as a text.
_MONEY = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e[+-]?\d{1,2})?)", re.ASCII | re.IGNORECASE)
_RATE = re.compile(rf"({_NUMBER})\s*(?:/|\bper\b)\s*(\S.*)", re.ASCII)

_DURATION_HELP = "write 30s, 5m or 1h30m"
_SIZE_HELP = "write 64MiB, 1GB or a number of bytes"
_MONEY_HELP = "write $25 or 0.10"
_RATE_HELP = "write 60/min, 10/s or 5/10s"

_SHOWN_CHARACTERS = 40  # of a wrong value in an error; enough to recognise it, too little to flood a log


def shown(value: object) -> str:
    """A wrong value as an error may show it: quoted, short, on one line."""
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…"
        return f'"{text}"' if text.isprintable() else json.dumps(text)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to print the longest ones
        return "a number that large"
    if isinstance(value, (int, float, Decimal, timedelta)):
        return str(value)
    if isinstance(value, (Mapping, list, tuple)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    return "null" if value is None else f"a value of type {type(value).__name__}"


def _refused(value: object, what: str, help_: str) -> ValueError:
    return ValueError(f"{shown(value)} is not {what}; {help_}")


def _is_number(value: object) -> TypeGuard[int | float | Decimal]:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def parse_duration(value: object) -> float:
    """
    Seconds, from a number of seconds, `250ms`, `30s`, `5m`, `2h5m`, `1d`, ISO 8601 (`PT30S`) or a `timedelta`.

    Raises:
        ValueError: If it is none of these, or negative, infinite or not a number; the text shows how to write it.
    """
    seconds: float | Decimal | Fraction | None = None
    if isinstance(value, str):
        seconds = _duration_of(value.strip().lower())
    elif isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif _is_number(value):
        seconds = value
    if seconds is None:
        raise _refused(value, "a duration", _DURATION_HELP)
    try:
        number = float(seconds)
    except (OverflowError, ValueError):  # an int beyond any float, a signalling NaN
        number = math.inf
    if not math.isfinite(number):
        raise _refused(value, "a finite duration", _DURATION_HELP)
    if number < 0:
        raise ValueError(f"{shown(value)} is negative; a duration is zero or more: {_DURATION_HELP}")
    return number


def _duration_of(text: str) -> Fraction | None:
    if _PLAIN.fullmatch(text.removeprefix("-")):
        return Fraction(text)
    if iso := _ISO.fullmatch(text.replace(",", ".")):
        given = [Fraction(n) * unit for n, unit in zip(iso.groups(), _ISO_SECONDS, strict=True) if n]
        return sum(given, Fraction()) if given else None
    sign, text = (-1, text[1:].lstrip()) if text.startswith("-") else (1, text)
    total, last, at = Fraction(), None, 0
    while at < len(text):
        part = _PART.match(text, at)
        unit = _SECONDS.get(part[2]) if part else None
        # Each unit once and the longer first: `5m2h` or `1h1h` is more likely a slip than a wish.
        if part is None or unit is None or (last is not None and unit >= last):
            return None
        total, last, at = total + Fraction(part[1]) * unit, unit, part.end()
    return sign * total if last is not None else None


def format_duration(seconds: float) -> str:
    """The text that `parse_duration` reads as exactly these seconds: `250ms`, `1.5s`, `30s`, `90m`, `1d`."""
    if not seconds:
        return "0s"
    exact = Fraction(repr(float(seconds)))  # repr is the shortest text of a float; 0.1 stays 0.1
    for unit, (name, *_) in _DURATION_UNITS[:-1] if exact > 1 else _DURATION_UNITS:
        if (exact / unit).denominator == 1:
            return f"{exact / unit}{name}"
    return f"{Decimal(repr(float(seconds))):f}s"


def parse_size(value: object) -> int:
    """
    Bytes, from a whole number of bytes, `500kB`, `1GB`, `64MiB`.

    Raises:
        ValueError: If it is none of these, negative, or no whole number of bytes.
    """
    size: Fraction | None = None
    if isinstance(value, str):
        if match := _SIZE.fullmatch(value.strip().lower()):
            unit = _BYTES.get(match[2] or "b")
            size = Fraction(match[1]) * unit if unit else None
    elif _is_number(value) and (isinstance(value, int) or math.isfinite(value)):
        size = Fraction(value)
    if size is None or size < 0:
        raise _refused(value, "a size", _SIZE_HELP)
    if size.denominator != 1:
        raise _refused(value, "a whole number of bytes", _SIZE_HELP)
    return int(size)


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as exactly these bytes: `64MiB`, `1GB`, `1023B`."""
    if not size:
        return "0B"
    whole = [f"{size // unit}{name}" for unit, name in _SIZE_UNITS if size % unit == 0]
    return min(whole, key=len)


def parse_money(value: object) -> Decimal:
    """
    US dollars, from `$25`, `25`, `"0.10"`, `$1,000.50`. A float counts as what it prints: 0.1 is ten cents.

    Raises:
        ValueError: If it is none of these, or negative, infinite or not a number.
    """
    amount: Decimal | None = None
    if isinstance(value, str):
        if match := _MONEY.fullmatch(value.strip()):
            amount = Decimal(match[1].replace(",", ""))
    elif isinstance(value, float):
        amount = Decimal(repr(value))
    elif isinstance(value, Decimal):
        amount = value
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = Decimal(value)
    if amount is None or not amount.is_finite():
        raise _refused(value, "an amount of US dollars", _MONEY_HELP)
    if amount < 0:
        raise ValueError(f"{shown(value)} is negative; an amount of US dollars is zero or more: {_MONEY_HELP}")
    return abs(amount)  # never -0


def format_money(amount: Decimal) -> str:
    """`$25`, `$0.10`: digits as they were given, never an exponent."""
    return f"${amount:f}"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so long: `Rate(60, 60.0)` is `60/min`. A pydantic field of this type takes the text, too."""

    limit: int | float
    per_s: float

    def __post_init__(self) -> None:
        if not (0 < self.limit < math.inf and 0 < self.per_s < math.inf):
            raise ValueError(f"a rate has a limit and a time above zero; {_RATE_HELP}")

    @property
    def per_second(self) -> float:
        """Units a second."""
        return self.limit / self.per_s

    def __str__(self) -> str:
        return format_rate(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _field(parse_rate, "rate"),
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_rate, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(/|per)\s*\S.*$", "examples": ["60/min", "10/s"]}


def parse_rate(value: object) -> Rate:
    """
    A rate, from `60/min`, `10/s`, `1000/hour`, `5/10s`, `60 per minute`.

    Raises:
        ValueError: If it is none of these, or its limit or its time is zero.
    """
    if isinstance(value, Rate):
        return value
    match = _RATE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise _refused(value, "a rate", _RATE_HELP)
    number, per = match.groups()
    seconds = _duration_of(per if per[0].isdigit() else f"1{per}")
    # `60/60` names no unit of time; it is refused rather than read as seconds.
    if seconds is None or _PLAIN.fullmatch(per):
        raise _refused(value, "a rate", _RATE_HELP)
    limit = float(number) if "." in number else int(number)
    if not limit or not seconds:
        raise ValueError(f"{shown(value)} lets nothing through; a rate is above zero: {_RATE_HELP}")
    return Rate(limit, float(seconds))


def format_rate(rate: Rate) -> str:
    """The text that `parse_rate` reads as exactly this rate: `60/min`, `5/10s`."""
    number = int(rate.limit) if float(rate.limit).is_integer() else rate.limit
    text = str(number) if isinstance(number, int) else f"{Decimal(repr(number)):f}"
    return f"{text}/{_RATE_UNITS.get(rate.per_s) or format_duration(rate.per_s)}"


def _field(parse: Callable[[object], T], kind: LiteralString) -> Callable[[object], T]:
    """The parser as pydantic wants it: an error whose text stands alone, without `Value error, ` before it."""

    def validated(value: object) -> T:
        try:
            return parse(value)
        except ValueError as error:
            raise PydanticCustomError(kind, "{problem}", {"problem": str(error)}) from None

    return validated


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*([A-Za-z]+\s*|$))+$|^P[0-9.,WDTHMS]+$"},
    ],
    "examples": ["250ms", "30s", "5m", "1h30m"],
}
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgGtT]?[iI]?[bB])?\s*$"},
    ],
    "examples": ["64MiB", "1GB"],
}
_MONEY_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\$?\s*\d[\d,]*(\.\d+)?([eE][+-]?\d{1,2})?\s*$"},
    ],
    "examples": ["$25", "0.10"],
}

if TYPE_CHECKING:
    # To a type checker an option takes anything, because `Retry(base_delay="1s")` is as right as 1.0, and reads as a
    # number. What is taken in truth stands below and is checked when the option is set.
    Duration = float | Any
    Size = int | Any
    Money = Decimal | Any
else:
    Duration = Annotated[
        float,
        BeforeValidator(_field(parse_duration, "duration")),
        PlainSerializer(format_duration, return_type=str),
        WithJsonSchema(_DURATION_SCHEMA),
    ]
    """Seconds as a float; written `250ms`, `30s`, `5m`, `1h`, `2h5m`, `1d`, ISO 8601, a number of seconds, a `timedelta`."""

    Size = Annotated[
        int,
        BeforeValidator(_field(parse_size, "size")),
        PlainSerializer(format_size, return_type=str),
        WithJsonSchema(_SIZE_SCHEMA),
    ]
    """Bytes as an int; written `64MiB`, `1GB`, `500kB`, or a number of bytes."""

    Money = Annotated[
        Decimal,
        BeforeValidator(_field(parse_money, "money")),
        PlainSerializer(format_money, return_type=str),
        WithJsonSchema(_MONEY_SCHEMA),
    ]
    """US dollars as a Decimal; written `$25`, `25`, `"0.10"`."""
