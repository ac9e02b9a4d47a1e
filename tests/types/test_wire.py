"""JSON of others is read without harm, and what we write is JSON to everybody."""

from __future__ import annotations

import json
import marshal
import math
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from llmgate.types.secret import Credential, Secret
from llmgate.types.wire import WireRequest, dumps, encode, loads

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
any_text = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def exact(value: Any) -> str:
    """Tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    return repr(value)


@given(values)
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
def test_what_is_written_is_read_as_it_was(value):
    """
    Every JSON value comes back as it was, types included, and Python's own reader finds the same.
    """
    written = dumps(value)

    assert exact(value) == exact(loads(written)) == exact(loads(written.decode()))
    assert exact(value) == exact(json.loads(written))


@given(st.binary(max_size=40) | any_text)
@example(b'{"a": 1e999}')
@example(b"\xef\xbb\xbf[]")
@example(b'"\xed\xa0\x80"')
@example('"\\ud83d"')
@example('"\\\\ud83d"')
@example('["\ud800a", "\\ud83d\\ud83d\\ude00"]')
def test_whatever_is_read_can_be_written(data):
    """
    Any bytes and any text either are a `ValueError` or a value that can be written as JSON.
    """
    try:
        value = loads(data)
    except ValueError:
        return

    assert exact(value) == exact(loads(dumps(value)))


pieces = st.lists(st.sampled_from(["\\", "u", "d800", "\ud800", "\ude00", "\U0001f600", "a", "\ufeff"]), max_size=8)


def units(text: str) -> str:
    """JSON of a text in which every character is escaped, with capital digits."""
    whole = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{whole[at : at + 2].hex().upper()}" for at in range(0, len(whole), 2)) + '"'


@given(pieces.map("".join) | any_text)
@example("\ud83d\ude00")
@example("\\ud800 \ud800")
@example("\U0001f600\ud800")
def test_half_of_a_pair_is_replaced_and_nothing_else(text):
    """
    A lone surrogate is read as U+FFFD, escaped or not; a pair, a backslash and every other character stay.
    """
    meant = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False), units(text)):
        assert meant == loads(written)
    assert meant == loads(units(text).encode())


@pytest.mark.parametrize(
    "data", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "-1e999", "[1, 2E+400]", "9" * 400 + ".0"]
)
def test_only_numbers_are_numbers(data):
    """
    NaN, the infinities and numbers beyond any float are refused, wherever they stand.
    """
    for text in (data, data.encode(), '{"a": [[' + data + "]]}"):
        with pytest.raises(ValueError, match=r"too large|expected|invalid"):
            loads(text)


def test_no_whole_number_is_taken_for_an_infinity():
    """
    A whole number that marshal happens to write with the bytes of an infinity is read all the same.
    """
    infinity = marshal.dumps(math.inf, 2)
    # Digits of 15 bits, the lowest first: 0x67 is marshal's letter for a float, then come its eight bytes.
    digits = [0x6700, *(int.from_bytes(infinity[at : at + 2], "little") for at in range(1, 9, 2)), 1]
    number = sum(digit << 15 * place for place, digit in enumerate(digits))
    assert infinity in marshal.dumps(number, 2)

    assert [number] == loads(str([number]))


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
@pytest.mark.parametrize("data", ['{"a": 1, "b": 2, "a": 3}', '{"a": 3, "b": "\ufffd"}'])
def test_a_repeated_key_keeps_its_last_value(data, prefix):
    """
    The last of several values of a key is the one, as in every common reader; a byte order mark changes nothing.
    """
    assert 3 == loads(prefix + data)["a"] == loads((prefix + data).encode())["a"]


def test_bytes_that_are_no_utf_8_become_the_replacement_character():
    """
    A broken byte costs one character, not the answer.
    """
    assert {"text": "caf\ufffd"} == loads(b'{"text": "caf\xe9"}')


@pytest.mark.parametrize(
    "data", ["[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 250 + "]" * 250]
)
def test_nesting_is_bounded(data):
    """
    Deep nesting is a `ValueError` however deep it is, in good text and in text that had to be mended.
    """
    for text in (data, data.encode(), "\ufeff" + data):
        with pytest.raises(ValueError, match=r"recursion|deep"):
            loads(text)
    assert [] != loads("[" * 150 + "]" * 150)


def test_a_number_too_long_to_be_worth_reading_is_refused():
    """
    Five thousand digits are a `ValueError`, because reading them costs time that grows with their square.
    """
    with pytest.raises(ValueError, match="out of range"):
        loads("9" * 5000)


@pytest.mark.parametrize(
    "data", ["", " ", "{", "[1,]", "{'a': 1}", "01", '"\n"', "nul", '"\\Ud800"', "[] []", b"\xff", "<html>"]
)
def test_what_is_no_json_is_a_value_error(data):
    """
    Everything that is not JSON is refused, and mending does not make JSON of it.
    """
    with pytest.raises(ValueError):
        loads(data)


def circle() -> list[Any]:
    found: list[Any] = []
    found.append({"again": found})
    return found


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, [-math.inf], {math.nan: 1}, "\ud800", {"\udfff": 1}, circle(), deep(100_000), 10**5000],
    ids=["nan", "inf", "-inf", "nan as a key", "half a pair", "half a pair as a key", "a circle", "deep", "long"],
)
def test_what_json_cannot_carry_is_a_value_error(value):
    """
    Numbers that are none, half characters, circles and depths are refused as `ValueError`.
    """
    with pytest.raises(ValueError):
        dumps(value)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), 1j, {(1, 2): 3}])
def test_what_json_does_not_have_is_a_type_error(value):
    """
    Values of other types are refused as `TypeError`.
    """
    with pytest.raises(TypeError):
        dumps(value)


@given(values)
@example(1e-7)
@example(10**400)
def test_what_is_known_to_be_json_is_written_all_the_same(value):
    """
    Without its proof a value comes back as it was, types included, and is written as with it but for a float's exponent.
    """
    known = encode(value)

    assert exact(value) == exact(loads(known)) == exact(json.loads(known))
    assert dumps(value) == known or b"e-0" in dumps(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, circle(), deep(100_000), object()])
def test_what_cannot_be_written_at_all_is_refused_without_a_proof_too(value):
    """
    Half characters, circles, depths and values of which JSON knows nothing are the errors that `dumps` raises.
    """
    with pytest.raises((ValueError, TypeError)) as proven:
        dumps(value)
    with pytest.raises((ValueError, TypeError)) as known:
        encode(value)

    assert type(proven.value) is type(known.value)


def test_what_is_known_to_be_json_is_written_however_deep_it_goes():
    """
    What `dumps` can write, `encode` writes, too: 400 lists, one in the other.
    """
    assert dumps(deep(400)) == encode(deep(400))


def test_json_is_written_short_and_in_order():
    """
    Keys stay in the order given, nothing is padded, and letters are written as they are.
    """
    said = {"b": 1, "a": ["é", None, True]}

    assert '{"b":1,"a":["é",null,true]}'.encode() == dumps(said) == encode(said)


def test_a_request_shows_neither_its_headers_nor_its_body():
    """
    The repr of a request tells where it goes; not what is in it, and not with which key.
    """
    request = WireRequest(
        "POST", "https://api.example:443", "/v1/chat", [("x-tenant", "acme")], b"the prompt",
        Credential(Secret("sk-very-secret"), "https://api.example:443"),
    )  # fmt: skip

    assert "/v1/chat" in repr(request)
    assert not [word for word in ("acme", "the prompt", "sk-very-secret") if word in repr(request)]
