"""Requests in a caller's own format: what is kept, and when it is translated."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest

from llmgate.errors import BadRequest
from llmgate.types.request import Original, Request

FRENCH = {"question": "?"}
OURS = Request("chat", "", {"messages": []}, False, b'{"messages":[]}')


class Reader:
    """Translates, and counts how often."""

    def __init__(self) -> None:
        self.read: list[Any] = []

    def __call__(self, body: Any) -> Request:
        self.read.append(body)
        return OURS


def said(read: Any, **more: Any) -> Request:
    return Request.said("french", Original(FRENCH, read), "chat", "m", **more)


def test_is_translated_when_somebody_looks_and_once() -> None:
    """
    Body and encoded body are made together, and copies for other models share them.
    """
    reader = Reader()
    request = said(reader, stream=True)
    other = request.to("n")
    assert ("chat", "m", True, "french", []) == (
        request.verb,
        request.model,
        request.stream,
        request.spoken,
        reader.read,
    )

    bodies = request.body, request.encoded, other.body, other.encoded, request.to("o").body

    assert (OURS.body, OURS.encoded, OURS.body, OURS.encoded, OURS.body) == bodies
    assert [FRENCH] == reader.read
    assert ("n", True) == (other.model, other.stream)


def test_knows_what_was_said_in_its_format() -> None:
    """
    An upstream of the format gets the very body; for others there is none.
    """
    request = said(Reader())

    assert FRENCH is request.native("french") is request.to("n").native("french")
    assert None is request.native("spanish")
    assert None is OURS.native("french")
    assert None is OURS.native("")


def another_body(request: Request) -> Request:
    request.body = {**request.body, "seed": 1}
    return request


@pytest.mark.parametrize(
    "change", [lambda one: one.but(seed=1), lambda one: replace(one, body={"seed": 1}), another_body]
)
def test_a_changed_request_has_no_original(change: Any) -> None:
    """
    Whoever changed it meant it; the caller's format stays, because the answer is told in it.
    """
    changed = change(said(Reader()))

    assert ("french", None) == (changed.spoken, changed.native("french"))
    assert 1 == changed.body["seed"]
    other = changed.to("n")
    assert ("french", None, 1) == (other.spoken, other.native("french"), other.body["seed"])


def test_is_written_as_json_when_somebody_wants_that_and_once() -> None:
    """
    A translation that its reader did not write is written at the first look, for all copies; and not for a mere body.
    """
    request = said(lambda body: Request("chat", body={"messages": []}))
    other = request.to("n")

    assert {"messages": []} == request.body
    assert FRENCH is request.native("french")
    assert b'{"messages":[]}' == request.encoded
    assert request.encoded is other.encoded
    assert FRENCH is request.native("french") is other.native("french")


def test_a_translation_that_is_no_json_is_refused_when_it_is_to_be_written() -> None:
    """
    Half a character has a place in a Python text and none in JSON.
    """
    request = said(lambda body: Request("chat", body={"messages": ["\ud800"]}))

    assert {"messages": ["\ud800"]} == request.body
    with pytest.raises(BadRequest, match="is not JSON"):
        request.encoded


def test_a_request_whose_json_was_changed_has_no_original() -> None:
    """
    Who writes it anew meant it, as who changes its body does.
    """
    request = said(Reader())
    request.encoded = b'{"messages":[1]}'

    assert None is request.native("french")


def test_says_why_it_cannot_be_translated() -> None:
    """
    Whoever looks is told, each time; who does not look need not know.
    """

    def refuse(body: Any) -> Request:
        raise BadRequest("that is no French")

    request = said(refuse)

    assert FRENCH is request.to("n").native("french")
    for look in (lambda: request.body, lambda: request.encoded, lambda: request.but(seed=1)):
        with pytest.raises(BadRequest, match="no French"):
            look()


def test_has_no_other_names() -> None:
    """
    A slip of the pen is an error, and who copies or pickles gets what there is.
    """
    with pytest.raises(AttributeError, match="bodies"):
        said(Reader()).bodies  # type: ignore[attr-defined]

    assert said(Reader()) == copy.copy(said(Reader()))
    assert OURS == pickle.loads(pickle.dumps(OURS))
