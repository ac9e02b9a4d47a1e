"""What an error of Cohere means, and how Cohere would say one of ours.

Cohere says a sentence and a status, flat: `{"id": …, "message": …}`. Most sentences are those that half of the world
says, too, and are known; the few that are Cohere's own stand here.

Source: https://docs.cohere.com/reference/errors (checked 2026-11-20), and recorded answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ContentFiltered, GatewayError, PermissionDenied, QuotaExhausted, UpstreamError
from ..types.wire import loads
from . import openai_errors
from .openai_words import Json

__all__ = ["error_of", "read_error", "write_error"]

WORDINGS: tuple[tuple[type[GatewayError], frozenset[int | None], re.Pattern[str]], ...] = (
    # A trial key has so many calls a minute, which pass, and so many a month, which do not.
    (QuotaExhausted, frozenset({None, 429}), re.compile(r"\bcalls ?/ ?month", re.IGNORECASE)),
    (ContentFiltered, frozenset({None, 400, 498}), re.compile(r"\bblocked (?:input|output)", re.IGNORECASE)),
    (
        PermissionDenied,
        frozenset({400, 401, 403}),
        re.compile(r"finetuned? model .{0,80}not authorized", re.IGNORECASE),
    ),
)
"""What is meant, the statuses with which it comes (None: inside an answer), and the sentence that tells."""

STATUSES: Mapping[int, type[GatewayError]] = {
    498: ContentFiltered,  # "invalid token": of a text, not of a key
    499: UpstreamError,  # it gave up before it had an answer
}

_READ = 4_000  # characters of a sentence that are read


def error_of(status: int | None, headers: Mapping[str, str], data: Any) -> GatewayError:
    """
    The error that a body means.

    Args:
        status: None for an error in an answer or a stream that had begun well.
        headers: Names in lower case.
        data: The body as JSON, or as text if it is none.
    """
    error = openai_errors.error_of(status, headers, data)
    said = error.message[:_READ]
    kind = next((kind for kind, when, sentence in WORDINGS if status in when and sentence.search(said)), None)
    if kind is None and status is not None:
        kind = STATUSES.get(status)
    if kind is None or isinstance(error, kind):
        return error
    # What is used up for a month does not come back in seconds.
    wait = None if kind is QuotaExhausted else error.retry_after
    return kind(said, status=status, retry_after=wait, request_id=error.request_id, code=error.code)


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    """The error that a response of this status means, whatever its content type claims."""
    try:
        data = loads(body)
    except ValueError:
        return openai_errors.read_error(status, headers, body)
    return error_of(status, headers, data)


def write_error(error: GatewayError) -> tuple[int, dict[str, str], Json]:
    """Status, headers and body with which Cohere would say it."""
    return openai_errors.write_sentence(error, "message")
