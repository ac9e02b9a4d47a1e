"""How answers are kept: what is written comes back, and nothing else comes back."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import fields
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.errors import ContentFiltered
from llmgate.types.call import Attempt
from llmgate.types.entry import dump, fresh, load, seal, unseal
from llmgate.types.media import (
    Binary,
    Image,
    Images,
    Moderation,
    Moderations,
    Ranked,
    Ranking,
    Span,
    Speech,
    TokenCount,
    Transcription,
    Video,
)
from llmgate.types.response import (
    Answer,
    Choice,
    Embeddings,
    Model,
    Models,
    RawResponse,
    Response,
    ToolCall,
    Value,
)
from llmgate.types.usage import Usage

# JSON has no lone surrogates and no infinities; whole numbers of any size it has.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
maybe = st.none() | texts
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
counts = st.none() | st.integers(0, 10**9)
dollars = st.none() | st.decimals(0, 1000, places=9)

usages = st.builds(Usage, counts, counts, counts, counts, counts, counts, counts, dollars, counts, counts)
tool_calls = st.builds(ToolCall, texts, texts, texts, st.integers(0, 5), st.none() | json_objects)
choices = st.builds(
    Choice,
    st.integers(0, 3), texts, texts, st.lists(tool_calls, max_size=2), maybe, st.lists(texts, max_size=2), maybe, maybe,
    json_values, json_objects,
)  # fmt: skip
models = st.builds(Model, texts, texts, counts, maybe, counts, json_values)
images = st.builds(Image, maybe, st.none() | st.binary(), texts, maybe)
moderations = st.builds(
    Moderation, st.booleans(), st.dictionaries(texts, st.booleans()), st.dictionaries(texts, floats)
)
spans = st.builds(Span, texts, st.none() | floats, st.none() | floats, maybe)
common: dict[str, Any] = {
    "id": texts, "model": texts, "usage": usages, "raw": json_values, "provider": texts, "deployment": texts,
    "request_id": maybe,
}  # fmt: skip
answers: st.SearchStrategy[Answer] = st.one_of(
    st.builds(Response, **common, choices=st.lists(choices, max_size=2), created=counts),
    st.builds(Embeddings, **common, vectors=st.lists(st.lists(floats, max_size=3), max_size=2)),
    st.builds(Models, **common, data=st.lists(models, max_size=2)),
    st.builds(
        RawResponse, **common, status=st.integers(100, 599), headers=st.dictionaries(texts, texts), content=st.binary()
    ),
    st.builds(Value, **common, value=json_values),
    st.builds(Images, **common, data=st.lists(images, max_size=2), created=counts),
    st.builds(Video, **common, status=texts, progress=counts, error=st.none(), url=maybe),
    st.builds(Binary, **common, content=st.binary(), media_type=texts),
    st.builds(Speech, **common, content=st.binary(), media_type=texts),
    st.builds(Moderations, **common, results=st.lists(moderations, max_size=2)),
    st.builds(Ranking, **common, results=st.lists(st.builds(Ranked, st.integers(0, 9), floats, json_values), max_size=2)),
    st.builds(
        Transcription, **common, text=texts, language=maybe, duration_s=st.none() | floats,
        segments=st.lists(spans, max_size=2), words=st.lists(spans, max_size=2),
    ),
    st.builds(TokenCount, **common, input_tokens=st.integers(0, 10**9)),
)  # fmt: skip

OF_THE_CALL = {"cached", "attempts", "priced", "wire", "spoken"}
"""What belongs to the call that got an answer, and is not kept with it."""


def exact(value: Any) -> Any:
    """A value with the types of everything in it: 1, 1.0 and True are equal, but not the same answer."""
    if isinstance(value, dict):
        return {name: exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [exact(part) for part in value]
    if hasattr(value, "__dataclass_fields__"):
        kept = [field.name for field in fields(value) if field.name not in OF_THE_CALL]
        return (type(value), {name: exact(getattr(value, name)) for name in kept})
    return (type(value), repr(value))


def containers(value: Any) -> set[int]:
    """The identities of everything in a value that could be changed."""
    found: set[int] = set()
    if isinstance(value, (dict, list)) or hasattr(value, "__dataclass_fields__"):
        found.add(id(value))
    if isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, list):
        parts = value
    else:
        parts = (
            [getattr(value, field.name) for field in fields(value)] if hasattr(value, "__dataclass_fields__") else []
        )
    return found.union(*[containers(part) for part in parts])


def test_the_law_below_tries_every_field() -> None:
    """
    Whoever adds a field to an answer adds it to the entry, or says that it belongs to the call.
    """
    more = {
        Response: {"choices", "created"},
        Embeddings: {"vectors"},
        Models: {"data"},
        RawResponse: {"status", "headers", "content"},
        Value: {"value"},
        Images: {"data", "created"},
        Video: {"status", "progress", "error", "url"},
        Binary: {"content", "media_type"},
        Speech: {"content", "media_type"},
        Moderations: {"results"},
        Ranking: {"results"},
        Transcription: {"text", "language", "duration_s", "segments", "words"},
        TokenCount: {"input_tokens"},
    }

    for kind, own in more.items():
        assert {*common, *own, *OF_THE_CALL} == {field.name for field in fields(kind)}
    assert [10, 5, 10, 6] == [len(fields(part)) for part in (Usage, ToolCall, Choice, Model)]
    assert [4, 3, 3, 4] == [len(fields(part)) for part in (Image, Moderation, Ranked, Span)]


@settings(max_examples=200, deadline=None)
@given(answers)
def test_what_is_written_is_read(answer: Answer) -> None:
    """
    Every kind of answer comes back equal, with every field of it, down to the types of its numbers.
    """
    payload = dump(answer)

    for lazily in (False, True):
        back = load(payload, lazily)
        assert answer == back
        assert exact(answer) == exact(back)


@settings(max_examples=100, deadline=None)
@given(answers)
def test_a_fresh_answer_shares_nothing(answer: Answer) -> None:
    """
    A copy is equal and has no list, dict or part in common with the original; nor have two that were read.
    """
    copied = fresh(answer)
    payload = dump(answer)
    one, other = load(payload, lazily=True), load(payload)

    assert exact(answer) == exact(copied)
    assert not containers(answer) & containers(copied)
    assert not containers(one) & containers(other)


def test_the_upstreams_words_are_read_when_somebody_asks() -> None:
    """
    Left unread, they are read once, and from then on they are the caller's own; broken ones are broken only then.
    """
    payload = dump(Response(raw={"a": [1]}))
    answer, broken = load(payload, lazily=True), load(payload[:-1], lazily=True)
    answer.raw["a"].append(2)

    assert {"a": [1, 2]} == answer.raw == pickle.loads(pickle.dumps(answer)).raw
    with pytest.raises(ValueError):
        print(broken.raw)


def test_a_fresh_answer_keeps_what_belongs_to_the_call() -> None:
    """
    A copy within the process keeps its attempts and its price list; written down, it loses both.
    """

    def priced(answer: Answer) -> Decimal:
        return Decimal(1)

    answer = Response(attempts=[Attempt("a/b", "ok", "ok")], cached="memory", priced=priced)
    copied, back = fresh(answer), load(dump(answer))

    assert [Attempt("a/b", "ok", "ok")] == copied.attempts
    assert ("memory", Decimal(1)) == (copied.cached, copied.cost)
    assert ((), None, None) == (back.attempts, back.cached, back.cost)


def test_a_vector_may_hold_whole_numbers() -> None:
    """
    A vector that an upstream wrote without points comes back without points.
    """
    back = load(dump(Embeddings(vectors=[[1, 2.5, 0.0]])))

    assert isinstance(back, Embeddings)
    assert "[[1, 2.5, 0.0]]" == repr(back.vectors)


@pytest.mark.parametrize(
    "answer",
    [
        Embeddings(vectors=[[float("nan")]]),
        Response(raw={"a": float("inf")}),
        Response(choices=[Choice(text="\ud800")]),
        Response(raw=object()),
        Response(raw={"a": (1, 2)}),
        Response(raw={1: "a"}),
        Response(raw=[b"bytes"]),
        Value(value=(1, 2)),
        Value(value={1: "a"}),
        Value(value=[Decimal(1)]),
        Value(value=[HTTPStatus.OK]),
        Ranking(results=[Ranked(0, 0.5, (1, 2))]),
        Video(status="failed", error=ContentFiltered("no")),
        Answer(),
    ],
    ids=lambda answer: repr(answer)[:30].encode("ascii", "replace").decode(),
)
def test_what_would_not_come_back_is_not_written(answer: Answer) -> None:
    """
    An answer that JSON cannot carry, or would bring back as something else, is refused.
    """
    with pytest.raises((TypeError, ValueError)):
        dump(answer)


def test_writing_uses_nothing_up() -> None:
    """
    An iterator is refused without being asked for anything; its caller still has all of it.
    """
    numbers = (number for number in (1, 2))

    with pytest.raises(TypeError):
        dump(Value(value=numbers))

    assert [1, 2] == list(numbers)


class Bomb:
    """Says when somebody unpickles it."""

    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Bomb, "exploded", True)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"null", b"[]", b"{}", b"1", b'"text"', b"\xff\xfe", b"[" * 100_000,
        pickle.dumps(Bomb()),
        dump(Response()).replace(b'[3,', b'[2,'), b'{"v":1,"kind":"response","choices":[{}]}',
        dump(Response()).replace(b'"response"', b'"unheard-of"'),
        dump(Response()).replace(b'[null,[[', b'[null,{"__class__":[').replace(b']]]]', b']}]]'),
        dump(Response(choices=[])).replace(b'[null,[]]', b'[null,7]'),
        dump(Response(choices=[])).replace(b'[null,[]]', b'[null,[{"nobody":1}]]'),
        dump(Response(choices=[])).replace(b'[null,[]]', b'[null,[[0,"text"]]]'),
        dump(Models(data=[Model("m")])).replace(b'"id"', b'"nobody"'),
        dump(Response(raw={"a": 1})).replace(b'{"a":1}', b'{"a":'),
        dump(Response(usage=Usage(cost=Decimal(1)))).replace(b'"1"', b'"one"'),
        dump(Response(usage=Usage(cost=Decimal(1)))).replace(b'"1"', b'[]'),
        dump(RawResponse(content=b"abc")).replace(b"YWJj", b"Y"),
    ],
)  # fmt: skip
def test_what_nobody_wrote_is_refused(payload: bytes) -> None:
    """
    Rubbish, another version, another kind, another shape and a pickle are all no answers, and no code.
    """
    with pytest.raises(ValueError):
        load(payload)

    assert not Bomb.exploded


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(payload: bytes) -> None:
    """
    Whatever the bytes, reading them ends in an answer or in a ValueError.
    """
    with contextlib.suppress(ValueError):
        assert isinstance(load(payload), Answer)


SEALED = seal(b"key", b"payload", 1.0, 2.0)


def test_a_seal_gives_back_what_was_sealed() -> None:
    """
    Payload and times come back exactly.
    """
    assert (b"payload", 1.0, 2.0) == unseal(b"key", SEALED)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SEALED) * 8 - 1))
def test_every_flipped_bit_breaks_the_seal(bit: int) -> None:
    """
    No bit of payload, times or seal can change unnoticed.
    """
    broken = bytearray(SEALED)
    broken[bit // 8] ^= 1 << bit % 8

    with pytest.raises(ValueError):
        unseal(b"key", bytes(broken))


@pytest.mark.parametrize("data", [None, 7, "text", b"", SEALED[:-1], SEALED[:10], pickle.dumps(Bomb())], ids=repr)
def test_what_is_no_sealed_entry_is_refused(data: object) -> None:
    """
    Other types, torn entries and pickles are refused.
    """
    with pytest.raises(ValueError):
        unseal(b"key", data)

    assert not Bomb.exploded


def test_a_seal_fits_one_key() -> None:
    """
    An entry that turns up under another key is refused.
    """
    with pytest.raises(ValueError):
        unseal(b"yek", SEALED)
