"""Ranking and transcripts, as Cohere asks for them and answers.

Our words for a ranking are Cohere's own (`query`, `documents`, `top_n`), so a request passes as it is.

Sources, checked 2026-11-21: https://docs.cohere.com/reference/rerank, the types of the `cohere` package 7.3, and
recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.media import Ranking, Transcription
from ..types.request import Request, Verb
from ..types.response import Answer
from .base import Quirks, Written
from .cohere_words import usage_of
from .media_words import read_ranking, read_transcription
from .multipart import write_form
from .openai_words import Json
from .shapes import encoded
from .unsaid import Unsaid

__all__ = ["PATHS", "WRITERS", "read_media", "read_rerank", "read_transcribe", "write_media"]

PATHS: Mapping[Verb, str] = MappingProxyType({"rerank": "/v2/rerank", "transcribe": "/v2/audio/transcriptions"})


def write_media(request: Request, quirks: Quirks) -> Written:
    """
    The request: a ranking as JSON, a recording as a form.

    Raises:
        BadRequest: For a translation, which Cohere does not make.
    """
    verb, body = request.verb, request.body
    path = quirks.paths.get(verb) or PATHS[verb]
    if request.model:
        body = {"model": request.model, **body}
    body = quirks.bend(dict(body))
    if verb == "rerank":
        return Written("POST", path, encoded(body, request))
    if body.pop("translate", None):
        said = "translate: Cohere writes down what is said and does not translate; name another provider"
        raise Unsaid(said, "translate")
    content_type, form = write_form(body.items())
    return Written("POST", path, form, [("content-type", content_type)])


def read_media(request: Request, data: Json) -> Answer:
    """
    The answer to one of these.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: If it is none.
    """
    answer = (read_ranking if request.verb == "rerank" else read_transcription)(request, data)
    answer.usage = usage_of(data.get("meta") or {})
    return answer


def _write_ranking(answer: Ranking) -> Json:
    results = [{"index": ranked.index, "relevance_score": ranked.score} for ranked in answer.results]
    return {"id": answer.id, "results": results}


WRITERS: Mapping[type[Answer], Callable[[Any], Json]] = {
    Ranking: _write_ranking,
    Transcription: lambda answer: {"text": answer.text},
}


def read_rerank(data: Any) -> Request:
    """
    The ranking that a body asks for.

    Raises:
        BadRequest: If it asks for none.
    """
    return _read("rerank", data, "query", "documents")


def read_transcribe(data: Any) -> Request:
    """The same for a recording, whose form was read."""
    return _read("transcribe", data, "file")


def _read(verb: Verb, data: Json, *needed: str) -> Request:
    for name in needed:
        if not data.get(name):
            raise BadRequest(f"{name} is missing")
    body = {name: value for name, value in data.items() if name != "model"}
    return Request(verb, data.get("model") or "", body)
