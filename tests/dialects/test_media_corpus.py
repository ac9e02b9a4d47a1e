"""What recorded answers beside chat say, exactly: tokens, seconds, dollars, order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.errors import BadRequest, ModelNotFound
from llmgate.types.request import Request, Verb
from llmgate.types.usage import Usage

from . import corpus
from .corpus import PLAIN, Record, body_of

pytestmark = corpus.needed

RECORDS: dict[str, Record] = {record["id"]: record for provider in corpus.files() for record in corpus.lines(provider)}


def answer(id: str, verb: Verb, dialect: str = "openai_chat") -> Any:
    record = RECORDS[id]
    request = Request(verb, "m", record["request_json"] or {})
    return dialect_named(dialect).read_response(request, body_of(record), PLAIN)


@pytest.mark.parametrize(
    ("id", "usage", "seconds"),
    [
        # Mistral counts the sound beside the text; its total holds both.
        ("b7718a80b353d9ed", Usage(380, 11, cache_read_tokens=0, input_audio_tokens=375), 3.0),
        ("d9a22009093b696b", Usage(378, 11, cache_read_tokens=0, input_audio_tokens=375), 3.0),
        ("e344d50dea7c3d8a", Usage(1, 5, input_audio_tokens=1), None),
        ("671ad5f4622378c9", Usage(), 7.0),
        ("ccd71ada163a18e8", Usage(), None),
    ],
)
def test_transcripts_are_counted(id: str, usage: Usage, seconds: float | None) -> None:
    """
    Everything that was heard or read is input; who bills by the second has counted no tokens.
    """
    found = answer(id, "transcribe")

    assert (usage, seconds) == (found.usage, found.duration_s)


def test_a_transcript_of_coheres_is_its_text() -> None:
    """
    It says nothing else.
    """
    found = answer("ad3a8788d4715718", "transcribe", "cohere")

    assert (" Ruby is a programming language designed for developer happiness.", Usage()) == (found.text, found.usage)


@pytest.mark.parametrize(
    ("id", "dialect", "order", "usage"),
    [
        ("b52d5e147f8844cd", "openai_chat", [2, 1, 0], Usage(55)),
        ("f57eb77ccbd829b3", "openai_chat", [1, 0], Usage(17, cost=Decimal("3.4E-7"))),
        ("d0e432a0fd831a96", "cohere", [1, 0], Usage()),
        ("06aed00797b05c62", "cohere", [0, 1], Usage()),
    ],
)
def test_rankings_keep_their_order(id: str, dialect: str, order: list[int], usage: Usage) -> None:
    """
    The best comes first, each with the document that was asked about.
    """
    found = answer(id, "rerank", dialect)
    documents = RECORDS[id]["request_json"]["documents"]

    assert order == [ranked.index for ranked in found]
    assert [documents[index] for index in order] == [ranked.document for ranked in found]
    assert sorted((ranked.score for ranked in found), reverse=True) == [ranked.score for ranked in found]
    assert usage == found.usage


def test_images_are_there() -> None:
    """
    As an address with the prompt that was used, and as bytes with their price.
    """
    linked, held = answer("f6cc698122e59127", "image"), answer("e4b1c17dc734ecde", "image")

    assert ("https://example.com/image.png", None) == (linked.data[0].url, linked.data[0].content)
    assert "A beautiful sunset over mountains" == linked.data[0].revised_prompt
    assert (b"hello", "image/png", Decimal("0.07")) == (held.data[0].content, held.data[0].media_type, held.cost)


def test_moderations_are_judgements() -> None:
    """
    What was flagged is, and what was not is not.
    """
    kill, test, safe = (answer(id, "moderate") for id in ("c5eda239c0a15795", "0394144243b7b086", "0b964b28e055f7ef"))

    assert [True, False, False] == [kill.flagged, test.flagged, safe.flagged]
    assert {"hate", "harassment", "hate/threatening", "harassment/threatening", "violence"} == {
        name for name, applies in kill.results[0].categories.items() if applies
    }
    assert 0.994572103023529 == kill.results[0].scores["violence"]


def test_speech_is_sound() -> None:
    """
    What Mistral holds in JSON is an MP3.
    """
    speech = answer("c3978d3844b2cad8", "speak")

    assert ("audio/mpeg", b"ID3") == (speech.media_type, speech.content[:3])


@pytest.mark.parametrize(
    ("id", "dialect", "kind"),
    [
        ("18ae74907d1ddf78", "anthropic_messages", ModelNotFound),
        ("fd5828964a614da3", "openai_chat", BadRequest),
        ("404cd8d1684b3118", "openai_chat", BadRequest),
        ("900aa9480b225c62", "openai_chat", BadRequest),
        ("a8e715fdfc926b85", "openai_chat", BadRequest),
    ],
)
def test_errors_mean_what_they_say(id: str, dialect: str, kind: type[Exception]) -> None:
    """
    A model that does not exist, and requests that cannot be served.
    """
    record = RECORDS[id]
    error = dialect_named(dialect).read_error(record["response_status"], record["response_headers"], body_of(record))

    assert kind is type(error)
