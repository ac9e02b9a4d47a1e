"""What holds between whole answers and their pieces, whatever is in them and however they are cut."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings, strategies as st

from llmgate.types.response import Choice, Chunk, Folder, Response, ToolCall, Value, explode, fold
from llmgate.types.usage import Usage

texts = st.text("ab {}", max_size=6)
maybe = st.none() | texts
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
json_objects = st.dictionaries(texts, json_values, max_size=2)
counts = st.none() | st.integers(0, 100)
usages = st.builds(
    Usage, counts, counts, counts, counts, counts, counts, counts, st.none() | st.decimals(0, 9, places=2)
)  # fmt: skip
urls = st.lists(st.sampled_from(["https://a", "https://b"]), max_size=3)


def numbered(pieces: Sequence[Any], data: st.DataObject) -> list[Any]:
    """The pieces, each with a number of its own, in the order of the numbers."""
    numbers = sorted(data.draw(st.sets(st.integers(0, 9), min_size=len(pieces), max_size=len(pieces))))
    return [replace(piece, index=number) for piece, number in zip(pieces, numbers, strict=True)]


@st.composite
def responses(draw: st.DrawFn) -> Response:
    data = draw(st.data())
    calls = st.lists(st.builds(ToolCall, texts, texts, texts, extra=st.none() | json_objects), max_size=3)
    choices = st.builds(
        Choice, text=texts, reasoning=texts, tool_calls=calls, refusal=maybe, citations=urls, finish_reason=maybe,
        native_finish_reason=maybe, logprobs=json_values, extra=json_objects,
    )  # fmt: skip
    response = draw(st.builds(Response, id=texts, model=texts, usage=usages, created=counts, raw=json_values))
    response.choices = numbered(draw(st.lists(choices, max_size=3)), data)
    for choice in response.choices:
        choice.tool_calls = data.draw(st.permutations(numbered(choice.tool_calls, data)))
    return response


chunks = st.builds(
    Chunk, text=texts, reasoning=texts, index=st.integers(-1, 2), id=maybe.map(str), model=texts, refusal=maybe,
    tool_calls=st.lists(st.builds(ToolCall, texts, texts, texts, st.integers(0, 2), st.none() | json_objects), max_size=2),
    finish_reason=maybe, native_finish_reason=maybe, usage=st.none() | usages, citations=urls, logprobs=json_values,
    extra=st.none() | json_objects, created=counts,
)  # fmt: skip
streams = st.lists(chunks, max_size=6)


@given(responses())
@example(Response(choices=[]))
@example(Response(choices=[Choice(text="a")], created=1))
@example(Response(choices=[], id="a", model="b", usage=Usage(1, 2)))
@example(Response(usage=Usage(0, 0), choices=[Choice(index=2, refusal="", citations=["a", "a"])]))
@example(Response(choices=[Choice(tool_calls=[ToolCall("a", "f", index=3), ToolCall("b", "g", index=1)])]))
def test_an_answer_is_the_fold_of_its_pieces(response):
    """
    `fold(explode(response)) == response`, and when it was made survives, too.
    """
    folded = fold(explode(response))

    assert response == folded
    assert response.created == folded.created


@given(st.lists(st.lists(texts, min_size=1, max_size=3), max_size=3))
@example([["a", "b"], ["c"]])
def test_what_has_no_number_of_its_own_gets_one(texts):
    """
    Choices and tool calls that nobody numbered stay as many as they were, in their order.
    """
    choices = [Choice(text=given[0], tool_calls=[ToolCall(id=id, arguments=id) for id in given]) for given in texts]
    folded = fold(explode(Response(choices=choices)))

    assert [choice.text for choice in choices] == [choice.text for choice in folded.choices]
    for choice, found in zip(choices, folded.choices, strict=True):
        assert [call.arguments for call in choice.tool_calls] == [call.arguments for call in found.tool_calls]
        assert len(choice.tool_calls) == len({call.index for call in found.tool_calls})


@given(streams, st.data())
def test_a_beginning_may_be_folded_first(stream, data):
    """
    The fold of a beginning, in pieces again, and the rest make what all pieces make.
    """
    at = data.draw(st.integers(0, len(stream)))

    assert fold(stream) == fold([*explode(fold(stream[:at])), *stream[at:]])


@given(streams, st.lists(st.integers(0, 6), max_size=4))
def test_batches_change_nothing(stream, cuts):
    """
    One by one, all at once or in batches of any size, empty ones among them: the answer is the same.
    """
    one_by_one, batched = Folder(), Folder()
    for chunk in stream:
        one_by_one.feed(chunk)
    places = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(places):
        batched.extend(stream[start:end] if start <= end else [])

    assert fold(stream) == one_by_one.answer() == batched.answer() == fold(iter(stream))


@given(responses(), st.data())
@settings(max_examples=60)
def test_texts_may_be_cut_anywhere(response, data):
    """
    However text, reasoning, refusals and arguments are cut, the answer is the same.
    """
    stream: list[Chunk] = []
    for chunk in explode(response):
        bare = replace(chunk, text="", reasoning="", tool_calls=(), refusal=None)
        for name in ("reasoning", "text", "refusal"):
            if (whole := getattr(chunk, name)) is not None:
                stream += [replace(empty(bare), **{name: part}) for part in cut(whole, data)]
        for call in chunk.tool_calls:
            first, *rest = cut(call.arguments, data)
            pieces = [replace(call, arguments=first), *(ToolCall(arguments=part, index=call.index) for part in rest)]
            stream += [replace(empty(bare), tool_calls=[piece]) for piece in pieces]
        stream.append(bare)

    assert response == fold(stream)


def empty(chunk: Chunk) -> Chunk:
    """A chunk of the same choice that says nothing yet."""
    return Chunk(index=chunk.index, id=chunk.id, model=chunk.model, created=chunk.created)


def cut(text: str, data: st.DataObject) -> list[str]:
    at = data.draw(st.integers(0, len(text)))
    return [text[:at], text[at:]]


@given(responses(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_choices_may_come_in_any_order(response, random):
    """
    The pieces of several choices may be mixed, as long as each choice's own stay in order.
    """
    queues = {choice.index: [] for choice in response.choices}
    rest = []
    for chunk in explode(response):
        queues.get(chunk.index, rest).append(chunk)
    mixed = []
    while any(queues.values()):
        mixed.append(random.choice([queue for queue in queues.values() if queue]).pop(0))

    assert response == fold([*mixed, *rest])


@given(streams)
@settings(max_examples=60)
def test_what_was_fed_may_be_changed(stream):
    """
    A folder holds on to nothing it was fed and to nothing it gave: neither later changes its answer.
    """
    expected = fold(copy.deepcopy(stream))
    untouched = copy.deepcopy(stream)
    folder = Folder()
    folder.extend(stream)
    assert untouched == stream

    spoil(stream)
    given = folder.answer()
    assert expected == given

    spoil(given)
    assert expected == folder.answer()


@given(responses())
@settings(max_examples=60)
def test_pieces_share_nothing_with_the_answer(response):
    """
    Whoever changes the pieces does not change the answer they came from.
    """
    expected = copy.deepcopy(response)
    pieces = explode(response)
    assert expected == response

    spoil(pieces)
    assert expected == response


def spoil(value: Any) -> None:
    """Change everything that can be changed, all the way down."""
    if isinstance(value, list):
        for item in value:
            spoil(item)
        value.append("spoilt")
    elif isinstance(value, tuple):
        for item in value:
            spoil(item)
    elif isinstance(value, dict):
        for item in value.values():
            spoil(item)
        value["spoilt"] = True
    elif hasattr(value, "__dataclass_fields__"):
        for field in fields(value):
            here = getattr(value, field.name)
            spoil(here)
            if isinstance(here, str):
                setattr(value, field.name, here + "spoilt")
            elif isinstance(here, int):
                setattr(value, field.name, here + 7)


@given(st.lists(st.lists(json_values, max_size=3), max_size=3))
def test_what_a_generator_yielded_is_a_list_of_it(batches):
    """
    Chunks with items fold into a `Value` of all items in order, also when there are none.
    """
    stream = [Chunk(items=batch) for batch in batches]

    assert Value(value=[item for batch in batches for item in batch]) == fold([*stream, Chunk(items=())])


@given(responses(), streams)
@settings(max_examples=30)
def test_a_whole_answer_is_the_answer(response, stream):
    """
    A chunk with a whole answer is that answer, to `fold` and to a folder alike.
    """
    folder = Folder()
    for chunk in [Chunk(whole=response), *stream]:
        folder.feed(chunk)

    assert response is folder.answer()
    assert response is fold([Chunk(whole=response), *stream])


@given(usages, usages, usages)
@example(Usage(), Usage(), Usage())
def test_the_larger_usage_does_not_hang_on_the_order(one, two, three):
    """
    `max` of usages is commutative, associative and idempotent, and never less than either.
    """
    assert one.max(two) == two.max(one)
    assert one.max(two).max(three) == one.max(two.max(three))
    assert one == one.max(one) == one.max(None) == one.max(Usage())
    for field in fields(Usage):
        mine, theirs, most = (getattr(usage, field.name) for usage in (one, two, one.max(two)))
        assert most == max((count for count in (mine, theirs) if count is not None), default=None)


@given(usages)
def test_a_usage_is_true_when_something_was_counted(usage):
    """
    A usage without any count is false, zero tokens are a count, and totals are of what is known.
    """
    assert bool(usage) == (usage != Usage())
    assert usage is not usage.max(None)
    known = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
    assert (sum(known) if known else None) == usage.total_tokens
