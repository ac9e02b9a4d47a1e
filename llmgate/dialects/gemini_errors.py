"""What an error of Google's Gemini means, and how Google would say one of ours.

A body is asked three questions: what its details give as the reason, what its sentence says where the status is vague,
and what its status is: the word first, then the number, the HTTP status last.

Two of Google's habits matter. A key it does not know is a 400. And a quota that is used up for the day comes with the
same words and with the same few seconds of `retryDelay` as one of a minute; only the name of the quota tells.

Source: https://ai.google.dev/gemini-api/docs/troubleshooting, google/rpc/error_details.proto (checked 2026-11-20), and
recorded answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from ..policies.server_delay import server_delay
from ..types.redact import redacted
from .gemini_words import Json

__all__ = ["error_of", "write_error"]

Kind = type[GatewayError]

REASONS: Mapping[str, Kind] = MappingProxyType(
    {
        "ACCESS_TOKEN_EXPIRED": AuthenticationFailed,
        "ACCESS_TOKEN_TYPE_UNSUPPORTED": AuthenticationFailed,
        "ACCOUNT_STATE_INVALID": AuthenticationFailed,
        "API_KEY_EXPIRED": AuthenticationFailed,
        "API_KEY_INVALID": AuthenticationFailed,
        "CREDENTIALS_MISSING": AuthenticationFailed,
        "BILLING_DISABLED": QuotaExhausted,
        "QUOTA_EXHAUSTED": QuotaExhausted,
        "API_KEY_ANDROID_APP_BLOCKED": PermissionDenied,
        "API_KEY_HTTP_REFERRER_BLOCKED": PermissionDenied,
        "API_KEY_IOS_APP_BLOCKED": PermissionDenied,
        "API_KEY_IP_ADDRESS_BLOCKED": PermissionDenied,
        "API_KEY_SERVICE_BLOCKED": PermissionDenied,
        "CONSUMER_INVALID": PermissionDenied,
        "CONSUMER_SUSPENDED": PermissionDenied,
        "IAM_PERMISSION_DENIED": PermissionDenied,
        "SERVICE_DISABLED": PermissionDenied,
    }
)
"""`ErrorInfo.reason`, where it says more than the status: google/api/error_reason.proto."""

STATUSES: Mapping[str, tuple[Kind, int]] = MappingProxyType(
    {
        "ABORTED": (UpstreamError, 409),
        "ALREADY_EXISTS": (BadRequest, 409),
        "CANCELLED": (UpstreamError, 499),
        "DATA_LOSS": (UpstreamError, 500),
        "DEADLINE_EXCEEDED": (UpstreamError, 504),
        "FAILED_PRECONDITION": (BadRequest, 400),
        "INTERNAL": (UpstreamError, 500),
        "INVALID_ARGUMENT": (BadRequest, 400),
        "NOT_FOUND": (ModelNotFound, 404),
        "OUT_OF_RANGE": (BadRequest, 400),
        "PERMISSION_DENIED": (PermissionDenied, 403),
        "RESOURCE_EXHAUSTED": (RateLimited, 429),
        "UNAUTHENTICATED": (AuthenticationFailed, 401),
        "UNAVAILABLE": (Overloaded, 503),
        "UNIMPLEMENTED": (BadRequest, 501),
        "UNKNOWN": (UpstreamError, 500),
    }
)
"""google/rpc/code.proto: each word, what it means here, and its HTTP status."""

NUMBERS: Mapping[int, Kind] = MappingProxyType(
    {
        401: AuthenticationFailed,
        402: QuotaExhausted,
        403: PermissionDenied,
        404: ModelNotFound,
        408: UpstreamError,
        409: UpstreamError,
        429: RateLimited,
        499: UpstreamError,
        503: Overloaded,
    }
)
"""What is not listed is `BadRequest` from 400 and `UpstreamError` from 500 on."""

_TOO_LONG = re.compile(r"token count.{0,80} exceeds|exceeds the maximum number of (?:input )?tokens", re.IGNORECASE)

WORDINGS: tuple[tuple[Kind, frozenset[Kind], re.Pattern[str]], ...] = (
    (
        AuthenticationFailed,
        frozenset({BadRequest, PermissionDenied}),
        re.compile(r"api key (?:not valid|not found|expired|is invalid)|key was reported as leaked", re.IGNORECASE),
    ),
    (
        ContextWindowExceeded,
        frozenset({BadRequest}),
        _TOO_LONG,
    ),
    (
        QuotaExhausted,
        frozenset({RateLimited, BadRequest, PermissionDenied}),
        re.compile(
            r"prepay(?:ment)? credits|spend(?:ing)? cap|billing account .{0,80}(?:disabled|closed)|requires billing|\blimit: 0\b",
            re.IGNORECASE,
        ),
    ),
    (PermissionDenied, frozenset({BadRequest}), re.compile(r"user location is not supported", re.IGNORECASE)),
    (ContentFiltered, frozenset({BadRequest}), re.compile(r"(?:prompt|content) was blocked", re.IGNORECASE)),
)
"""What is meant, what the status said, and the sentence that tells."""

_PER_DAY = re.compile(r"per_?(?:day|month)", re.IGNORECASE)
_RETRY_IN = re.compile(r"retry in ((?:\d+(?:\.\d+)?(?:ms|s|m|h)){1,3})", re.IGNORECASE)
_READ = 4_000  # characters of a sentence that are read; behind the first come links


def error_of(status: int | None, headers: Mapping[str, str], data: Any) -> GatewayError:
    """
    The error that a body means.

    Args:
        status: None for an error in an answer or a stream that had begun well.
        headers: Names in lower case.
        data: The body as JSON, or as text if it is none.
    """
    if isinstance(data, list) and data:
        data = data[0]  # a stream without `alt=sse` is an array, also when it is an error
    body = data if isinstance(data, dict) else {}
    error = body.get("error", body)
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message", data if isinstance(data, str) else None)
    said = message[:_READ] if isinstance(message, str) else ""
    if said.lstrip()[:1] == "<":
        said = ""  # a page for a browser says nothing that its status does not say
    word, number = error.get("status"), error.get("code")
    word = word if isinstance(word, str) else ""
    if status is None and isinstance(number, int):
        status = number
    given = error.get("details")
    details = [detail for detail in given if isinstance(detail, dict)] if isinstance(given, list) else []
    reason = next((detail["reason"] for detail in details if isinstance(detail.get("reason"), str)), "")
    kind = _kind(reason, word, status, said, details)
    return kind(
        redacted(said) or (f"the upstream answered {status}" if status else "the upstream reported an error"),
        status=status,
        # Google names the same few seconds for a quota of the day.
        retry_after=None if kind is QuotaExhausted else _delay(headers, said, details),
        code=redacted(reason or word, 100) or None,
    )


def _kind(reason: str, word: str, status: int | None, said: str, details: list[Json]) -> Kind:
    if kind := REASONS.get(reason):
        return kind
    if word in STATUSES:
        kind = STATUSES[word][0]
    elif status is None:
        return UpstreamError
    else:
        kind = NUMBERS.get(status) or (BadRequest if 400 <= status < 500 else UpstreamError)
    if kind is ModelNotFound and said and "model" not in said.lower():
        return BadRequest  # a file, a cache
    if kind is RateLimited and any(_PER_DAY.search(quota) for quota in _quotas(details)):
        return QuotaExhausted
    for meant, vague, sentence in WORDINGS:
        if kind in vague and sentence.search(said):
            return meant
    return kind


def _quotas(details: list[Json]) -> list[str]:
    """The names of the quotas that are used up: `GenerateRequestsPerDayPerProjectPerModel-FreeTier`."""
    violations = [violation for detail in details for violation in detail.get("violations") or ()]
    return [
        str(violation["quotaId"]) for violation in violations if isinstance(violation, dict) and "quotaId" in violation
    ]


def _delay(headers: Mapping[str, str], said: str, details: list[Json]) -> float | None:
    """The body's longest wish, for `RetryInfo` cuts off the fraction of a second that the sentence has; else a header's."""
    wishes = [detail["retryDelay"] for detail in details if isinstance(detail.get("retryDelay"), str)]
    wishes += _RETRY_IN.findall(said)
    delays = [delay for wish in wishes if (delay := server_delay({"retry-after": wish})) is not None]
    return max(delays) if delays else server_delay(headers)


_SAID: Mapping[str, str] = MappingProxyType(
    {
        "authentication_failed": "UNAUTHENTICATED",
        "bad_request": "INVALID_ARGUMENT",
        "budget_exceeded": "RESOURCE_EXHAUSTED",
        "circuit_open": "UNAVAILABLE",
        "connection_failed": "UNAVAILABLE",
        "content_filtered": "INVALID_ARGUMENT",
        "context_window_exceeded": "INVALID_ARGUMENT",
        "deadline_exceeded": "DEADLINE_EXCEEDED",
        "gateway_closed": "UNAVAILABLE",
        "limit_reached": "RESOURCE_EXHAUSTED",
        "model_not_found": "NOT_FOUND",
        "overloaded": "UNAVAILABLE",
        "permission_denied": "PERMISSION_DENIED",
        "quota_exhausted": "RESOURCE_EXHAUSTED",
        "rate_limited": "RESOURCE_EXHAUSTED",
        "request_error": "INVALID_ARGUMENT",
        "upstream_timeout": "DEADLINE_EXCEEDED",
    }
)
"""The word with which Google would say an error of each kind; any other is `INTERNAL`."""


def write_error(error: GatewayError) -> tuple[int, dict[str, str], Json]:
    """Status, headers and body with which Google would say it."""
    word = _SAID.get(error.kind, "INTERNAL")
    status = STATUSES[word][1]
    headers = {"content-type": "application/json; charset=UTF-8"}
    message = error.message
    details: list[Json] = []
    if error.kind == "context_window_exceeded" and not _TOO_LONG.search(message):
        message = f"The input token count exceeds the maximum number of tokens allowed: {message}"
    elif error.kind in ("quota_exhausted", "budget_exceeded"):
        # A status of its own Google has not, and with this one clients try again.
        info = "type.googleapis.com/google.rpc.ErrorInfo"
        details.append({"@type": info, "reason": "QUOTA_EXHAUSTED", "domain": "llmgate"})
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
        delay = f"{error.retry_after:.3f}".rstrip("0").rstrip(".") + "s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    body: Json = {"code": status, "message": message, "status": word}
    if details:
        body["details"] = details
    return status, headers, {"error": body}
