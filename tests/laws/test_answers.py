"""The laws of answers: what is answered in one format, whole or piece by piece, says the same in every other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

from llmgate import errors
from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.errors import AllAttemptsFailed, CredentialError, GatewayError, Refused, RequestError, UpstreamFailure
from llmgate.types.request import Request
from llmgate.types.response import Choice, Chunk, Response, ToolCall, explode, fold
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

from .chats import Json, names, objects, words
from .test_translation import MODELS, Side, heard

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

UNCOUNTED: dict[str, tuple[str, ...]] = {
    "bedrock": ("reasoning_tokens",),
    "bedrock_invoke": ("reasoning_tokens",),
    "cohere": ("reasoning_tokens",),
    "ollama": ("reasoning_tokens", "cache_read_tokens"),
}
"""Counts that a format has no room for."""

SIDES: list[Side] = [(name, model) for name, models in MODELS.items() for model in models if "command-r" not in model]
"""Formats in which anything can be answered that can be asked for: Cohere's first version has text alone."""

FORMATS = st.sampled_from(SIDES)

UNFILTERED = frozenset({"gemini_interactions"})
"""Formats that have one word for an answer that was filtered and one that was too long."""


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    called = draw(st.lists(st.tuples(names, objects), max_size=3))
    calls = [ToolCall(f"call_{at}", name, json.dumps(said), at) for at, (name, said) in enumerate(called)]
    refusal = draw(st.sampled_from([None, None, None, "No."])) if not calls else None
    finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    return Choice(
        text=draw(words) if not calls or draw(st.booleans()) else "",
        reasoning=draw(st.just("") | words),
        tool_calls=calls,
        refusal=refusal,
        finish_reason="content_filter" if refusal else finish,
    )


usages = st.builds(
    Usage,
    st.integers(3, 99),
    st.integers(2, 99),
    cache_read_tokens=st.sampled_from([None, 0, 3]),
    reasoning_tokens=st.sampled_from([None, 0, 2]),
)
answers = st.builds(
    Response,
    id=st.just("resp-1"),
    model=st.just("m"),
    usage=st.just(Usage()) | usages,
    choices=choices().map(lambda choice: [choice]),
    created=st.just(1_700_000_000),
)


def asked(side: Side, stream: bool) -> Request:
    """A question of somebody who speaks the format."""
    name, model = side
    body: Json = {"messages": [{"role": "user", "content": "hello"}], "stream_options": {"include_usage": True}}
    said = json.loads(dialect_named(name).write_request(Request("chat", model, body, stream), Quirks()).body)
    request = heard(side, said).to(model)
    return Request.said(request.spoken, request.original, "chat", model, stream) if request.original else request


def pieces(chunks: Iterable[bytes], cuts: list[int]) -> list[bytes]:
    body = b"".join(chunks)
    places = sorted(cut % (len(body) + 1) for cut in cuts)
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def shattered(answer: Response) -> Iterable[Chunk]:
    """The pieces of an answer, in two pieces each."""
    for chunk in explode(answer):
        half = len(chunk.text) // 2
        if half:
            yield replace(chunk, text=chunk.text[:half])
            yield replace(chunk, text=chunk.text[half:])
        elif chunk.tool_calls:
            (call,) = chunk.tool_calls
            yield replace(chunk, tool_calls=(replace(call, arguments=call.arguments[:1]),))
            yield replace(chunk, tool_calls=(ToolCall(arguments=call.arguments[1:], index=call.index),))
        else:
            yield chunk


def told(side: Side, answer: Response, stream: bool, cuts: list[int]) -> Response:
    """The answer, written by a server of the format and read by a client."""
    dialect, request = dialect_named(side[0]), asked(side, stream)
    if not stream:
        read: Any = dialect.read_response(request, dumps(dialect.write_response(answer, request)), Quirks())
    else:
        writer, reader = dialect.writer(request), dialect.reader(request, Quirks())
        got: list[Chunk] = []
        for piece in pieces([*map(writer.feed, shattered(answer)), writer.end()], cuts):
            got += [] if reader.terminated else reader.feed(piece)
        read = fold(got + ([] if reader.terminated else reader.end()))
    assert isinstance(read, Response)
    return read


def meaning(answer: Response, *names: str) -> Any:
    """What an answer says, in a way that every format of these has words for."""
    (choice,) = answer.choices
    counts = {"input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens"}
    for name in names:
        counts -= {*UNCOUNTED.get(name, ())}
    finish = choice.finish_reason
    return (
        choice.text + (choice.refusal or ""),
        choice.reasoning,
        [(call.name, json.loads(call.arguments or "{}")) for call in choice.tool_calls],
        "cut short" if finish in ("length", "content_filter") and not UNFILTERED.isdisjoint(names) else finish,
        # A format that insists on a count says 0 of what nobody counted.
        {name: getattr(answer.usage, name) or 0 for name in counts},
    )


@quick
@given(answers, FORMATS, st.booleans(), st.booleans(), st.lists(st.integers(0, 9999), max_size=3))
def test_an_answer_says_the_same_in_every_format(
    answer: Response, other: Side, first: bool, second: bool, cuts: list[int]
) -> None:
    """
    Whole or piece by piece, from a format to itself or any other: said, thought, called, ended and counted is the same.
    """
    for one in SIDES:
        there = told(one, answer, first, cuts)
        further = told(other, there, second, cuts)

        assert meaning(answer, one[0]) == meaning(there, one[0])
        assert meaning(answer, one[0], other[0]) == meaning(further, one[0], other[0])
        ids = [call.id for call in further.choices[0].tool_calls]
        assert len(ids) == len({*ids}) and all(ids)
        # A second writing adds nothing to the first and takes nothing away.
        assert there == told(one, there, first, [])


# --- errors -----------------------------------------------------------------------------------------------------------

FAMILIES: tuple[type[GatewayError], ...] = (RequestError, CredentialError, UpstreamFailure)
KINDS: list[type[GatewayError]] = [
    kind
    for name in errors.__all__
    if issubclass(kind := getattr(errors, name), (*FAMILIES, Refused)) and kind not in (*FAMILIES, Refused)
]
failures = st.tuples(st.sampled_from(KINDS), st.none() | st.integers(1, 60), st.booleans())


def failed(kind: type[GatewayError], wait: int | None, tried: bool) -> GatewayError:
    error = kind("it did not work", retry_after=wait)
    return AllAttemptsFailed("it did not work: all of 1", [error]) if tried else error


def family(error: GatewayError) -> type[GatewayError]:
    """Whose fault it is, which is what a client acts upon; what we refused looks as if the upstream had."""
    one = getattr(error, "telling", error)
    if one.kind == "budget_exceeded":
        return CredentialError
    return next((kind for kind in FAMILIES if isinstance(one, kind)), UpstreamFailure)


@quick
@given(failures, FORMATS, FORMATS)
def test_an_error_is_the_same_in_every_format(
    failure: tuple[type[GatewayError], int | None, bool], one: Side, other: Side
) -> None:
    """
    Whose fault it is, how long to wait, and what happened, are told in each format; which of a kind it is, in some.

    A quota comes back when it is paid for, and what some upstreams say of seconds then is not believed.
    """
    error = failed(*failure)
    for name, _ in (one, other):
        status, headers, body = dialect_named(name).write_error(error)
        read = dialect_named(name).read_error(status, headers, dumps(body))

        assert family(error) is family(read)
        assert "it did not work" in read.message
        assert error.retry_after == read.retry_after or read.kind == "quota_exhausted"
        error = read


@quick
@given(answers, failures, FORMATS, st.integers(0, 5), st.lists(st.integers(0, 9999), max_size=2))
def test_a_stream_that_fails_never_looks_as_if_it_had_ended(
    answer: Response, failure: tuple[type[GatewayError], int | None, bool], side: Side, after: int, cuts: list[int]
) -> None:
    """
    However far it came, all of it is read, then the error where one was written, with its words, and nobody else's fault.
    """
    dialect, request = dialect_named(side[0]), asked(side, True)
    writer, reader = dialect.writer(request), dialect.reader(request, Quirks())
    begun = explode(answer)[:after]
    error = failed(*failure)
    raised: GatewayError | None = None
    got: list[Chunk] = []
    try:
        for piece in pieces([*map(writer.feed, begun), writer.error(error)], cuts):
            got += reader.feed(piece)
        got += reader.end()
    except GatewayError as caught:
        raised = caught

    assert raised is not None
    assert "it did not work" in raised.message
    assert family(raised) in (family(error), UpstreamFailure)
    assert "".join(chunk.text for chunk in got).startswith("".join(chunk.text for chunk in begun))
