"""What is sent is what was given, whichever writer wrote it."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given, settings, strategies as st
from pydantic import BaseModel

from llmgate.errors import BadRequest
from llmgate.runtime.accepting import passed
from llmgate.types.wire import dumps


class Word(enum.StrEnum):
    ONE = "one"


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    """No plain text, but as good as one."""


class Opaque(enum.Enum):
    ONE = "one"


class Model(BaseModel):
    a: int = 1


@dataclass
class Data:
    a: int = 1


Pair = namedtuple("Pair", "a b")

JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ODD = st.sampled_from(
    [
        Word.ONE, Number.ONE, Opaque.ONE, Text("text"), Model(), Data(), Pair(1, 2), b"bytes", bytearray(b"a"), {1, 2},
        frozenset(), (1, 2), 1j, decimal.Decimal("1.5"), datetime.date(2026, 1, 2), datetime.timedelta(1), uuid.UUID(int=1),
        PurePosixPath("a"), OrderedDict(a=1), range(2), {}.keys(), Ellipsis, NotImplemented, object(), Model, 2**70,
        2.0**70, 1e-7, "\ud800", "\u2028\x00\x7f", float("nan"), float("inf"), "\U0001f600",
    ]
)  # fmt: skip
LONG = st.sampled_from([4000, 5000]).map(lambda digits: 10**digits)
KEYS = st.text(max_size=3) | st.sampled_from(
    [1, 1.5, True, None, Word.ONE, Number.ONE, Text("text"), b"a", "1", "\udfff"]
)
VALUES = st.recursive(
    JSON | ODD | LONG,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_what_is_sent_is_what_was_given(value: Any) -> None:
    """
    What the standard library can write is sent, and reads the same; whatever else is refused.
    """
    try:
        expected: Any = json.loads(dumps(value))
    except (ValueError, TypeError):
        expected = BadRequest
    try:
        request = passed("POST", "/", value, {})
        found: Any = None if value is None else json.loads(request.encoded)
        assert repr(request.body) == repr(found)
    except BadRequest:
        found = BadRequest

    assert repr(expected) == repr(found)
