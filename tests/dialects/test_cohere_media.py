"""Ranking and transcripts in Cohere's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.multipart import read_form
from llmgate.errors import BadRequest, ProtocolError
from llmgate.types.media import Ranked, Ranking, Transcription
from llmgate.types.request import Request, Verb
from llmgate.types.uploads import upload
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

from .corpus import PLAIN

COHERE = dialect_named("cohere")
WAV = upload(b"RIFF\0\0\0\0WAVE", "a.wav")


def asked(verb: Verb, **body: Any) -> Request:
    return Request(verb, "m", body, False, dumps(body))


def test_a_ranking_is_asked_for_as_it_is() -> None:
    """
    Our words are Cohere's own, unknown ones included.
    """
    out = COHERE.write_request(asked("rerank", query="q", documents=["a"], top_n=1, max_tokens_per_doc=None), PLAIN)

    assert ("POST", "/v2/rerank") == (out.method, out.path)
    assert {"model": "m", "query": "q", "documents": ["a"], "top_n": 1, "max_tokens_per_doc": None} == json.loads(
        out.body
    )


def test_a_recording_travels_as_a_form() -> None:
    """
    With its model and its language beside it.
    """
    out = COHERE.write_request(asked("transcribe", file=WAV, language="en", translate=False), PLAIN)

    assert "/v2/audio/transcriptions" == out.path
    assert {"model": "m", "file": WAV, "language": "en"} == read_form(dict(out.headers)["content-type"], out.body)


def test_a_translation_is_refused() -> None:
    """
    Cohere writes down and does not translate; nobody gets the one for the other.
    """
    with pytest.raises(BadRequest, match="translate"):
        COHERE.write_request(asked("transcribe", file=WAV, translate=True), PLAIN)


def test_quirks_hold() -> None:
    """
    Another path and another name are used.
    """
    quirks = Quirks(paths={"rerank": "/v1/rerank"}, rename={"top_n": "top"})
    out = COHERE.write_request(asked("rerank", query="q", documents=["a"], top_n=1), quirks)

    assert ("/v1/rerank", 1) == (out.path, json.loads(out.body)["top"])


def test_answers_are_read_and_written() -> None:
    """
    A ranking with its documents, and what was billed in tokens if anything was.
    """
    body = {"id": "i", "results": [{"index": 1, "relevance_score": 0.5}], "meta": {"billed_units": {"search_units": 1}}}
    ranking = COHERE.read_response(asked("rerank", query="q", documents=["a", "b"]), dumps(body), PLAIN)

    assert Ranking(id="i", model="m", results=[Ranked(1, 0.5, "b")]) == ranking
    assert {"id": "i", "results": [{"index": 1, "relevance_score": 0.5}]} == COHERE.write_response(ranking)
    assert {"text": "hi"} == COHERE.write_response(Transcription(text="hi"))
    counted = body | {"meta": {"tokens": {"input_tokens": 7}}}
    assert Usage(7) == COHERE.read_response(asked("rerank", documents=["a", "b"]), dumps(counted), PLAIN).usage


@pytest.mark.parametrize(
    "body", [{"results": None}, {"results": [{}]}, {"results": [{"index": 9, "relevance_score": 1}]}, []]
)
def test_what_is_no_ranking_is_said_to_be_none(body: Any) -> None:
    """
    Nothing is made of it.
    """
    with pytest.raises(ProtocolError):
        COHERE.read_response(asked("rerank", query="q", documents=["a"]), dumps(body), PLAIN)


@pytest.mark.parametrize(
    ("verb", "data", "missing"),
    [("rerank", {"query": "q"}, "documents"), ("rerank", {"documents": ["a"]}, "query"), ("transcribe", {}, "file")],
)
def test_callers_are_told_what_is_missing(verb: Verb, data: dict[str, Any], missing: str) -> None:
    """
    A body without what it is about asks for nothing.
    """
    with pytest.raises(BadRequest, match=missing):
        _ = COHERE.read_request(verb, {"model": "m", **data}).body
