"""What an error of Anthropic's Messages means, and how Anthropic would say one of ours.

The body decides first (`details.error_code`, then `type`), its sentence where the type is vague, the status last:
an error inside a stream has none.

Source: https://platform.claude.com/docs/en/api/errors and the error classes of the `anthropic` package 2.11
(checked 2026-11-20).
"""

from __future__ import annotations

import math
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
from .anthropic_words import Json

__all__ = ["error_of", "write_error"]

Kind = type[GatewayError]

CODES: Mapping[str, Kind] = MappingProxyType(
    {
        "compaction_unavailable": Overloaded,
        "contract_spend_limit_reached": QuotaExhausted,
        "enforced_spend_limit_reached": QuotaExhausted,
        "linked_organization_billing_unavailable": QuotaExhausted,
        "linked_organization_spend_limit_reached": QuotaExhausted,
        "organization_on_hold": PermissionDenied,
        "ramp_limit_exceeded": RateLimited,
    }
)
"""`details.error_code`, where it says more than the type."""

TYPES: Mapping[str, Kind] = MappingProxyType(
    {
        "api_error": UpstreamError,
        "authentication_error": AuthenticationFailed,
        "billing_error": QuotaExhausted,
        "conflict_error": UpstreamError,
        "invalid_request_error": BadRequest,
        "not_found_error": ModelNotFound,
        "overloaded_error": Overloaded,
        "permission_error": PermissionDenied,
        "rate_limit_error": RateLimited,
        "request_too_large": BadRequest,
        "timeout_error": UpstreamError,
    }
)

STATUSES: Mapping[int, Kind] = MappingProxyType(
    {
        401: AuthenticationFailed,
        402: QuotaExhausted,
        403: PermissionDenied,
        404: ModelNotFound,
        408: UpstreamError,
        409: UpstreamError,
        429: RateLimited,
        503: Overloaded,
        529: Overloaded,
    }
)
"""What is not listed is `BadRequest` from 400 and `UpstreamError` from 500 on."""

TOO_LONG = "prompt is too long"

WORDINGS: tuple[tuple[Kind, frozenset[Kind], tuple[str, ...]], ...] = (
    (
        QuotaExhausted,
        frozenset({BadRequest, RateLimited}),
        # Limits that the organization or the workspace set for itself come as 400, those of Claude Code as 429.
        ("credit balance is too low", "specified api usage limits", "workspace api usage limits", "spend limit"),
    ),
    (
        ContextWindowExceeded,
        frozenset({BadRequest}),
        (TOO_LONG, "exceed context limit", "input is too long for"),  # the second: with `max_tokens`; the third: clouds
    ),
    (ContentFiltered, frozenset({BadRequest}), ("content filtering policy",)),
    (PermissionDenied, frozenset({BadRequest}), ("organization has been disabled",)),
)
"""What is meant, what the type or the status said, and the sentences that tell. Anthropic has no code for these."""


def error_of(status: int | None, headers: Mapping[str, str], data: Any) -> GatewayError:
    """
    The error that a body means.

    Args:
        status: None for an error in an answer or a stream that had begun well.
        headers: Names in lower case.
        data: The body as JSON, or as text if it is none.
    """
    if isinstance(data, list) and data:
        data = data[0]  # as Google wraps it
    body: Json = data if isinstance(data, dict) else {"message": data}
    error = body.get("error")
    if not isinstance(error, dict):
        error = {"message": error or body.get("message")}
    message, kind, details = error.get("message"), error.get("type"), error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    kind, code = (word if isinstance(word, str) else "" for word in (kind, code))
    # A page for a browser, from something in between, says nothing that its status does not say.
    said = redacted(message) if isinstance(message, str) and message.lstrip()[:1] != "<" else ""
    request_id = body.get("request_id") or headers.get("request-id")
    return _kind(kind, code, status, said.lower())(
        said or (f"the upstream answered {status}" if status else "the upstream reported an error"),
        status=status,
        retry_after=server_delay(headers),
        request_id=request_id if isinstance(request_id, str) else None,
        code=redacted(code or kind, 100) or None,
    )


def _kind(type: str, code: str, status: int | None, said: str) -> Kind:
    kind = CODES.get(code) or TYPES.get(type)
    if kind is None:
        if status is None:
            return UpstreamError
        kind = STATUSES.get(status) or (BadRequest if 400 <= status < 500 else UpstreamError)
    if kind is ModelNotFound and said and "model" not in said:
        return BadRequest  # a file, a container, a batch
    for meant, vague, sentences in WORDINGS:
        if kind in vague and any(sentence in said for sentence in sentences):
            return meant
    return kind


_SAID: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "authentication_failed": (401, "authentication_error"),
        "budget_exceeded": (402, "billing_error"),
        "circuit_open": (529, "overloaded_error"),
        "connection_failed": (502, "api_error"),
        "content_filtered": (400, "invalid_request_error"),
        "context_window_exceeded": (400, "invalid_request_error"),
        "deadline_exceeded": (504, "timeout_error"),
        "gateway_closed": (529, "overloaded_error"),
        "limit_reached": (429, "rate_limit_error"),
        "model_not_found": (404, "not_found_error"),
        "overloaded": (529, "overloaded_error"),
        "permission_denied": (403, "permission_error"),
        "protocol_error": (502, "api_error"),
        # Not 429: Anthropic's SDKs try that again, and no seconds of waiting bring money.
        "quota_exhausted": (402, "billing_error"),
        "rate_limited": (429, "rate_limit_error"),
        "stream_interrupted": (502, "api_error"),
        "upstream_error": (500, "api_error"),
        "upstream_timeout": (504, "timeout_error"),
    }
)
"""Status and type with which Anthropic would say an error of each kind; a bad request keeps its status."""


def write_error(error: GatewayError) -> tuple[int, dict[str, str], Json]:
    """
    Status, headers and body with which Anthropic would say it.

    No SDK should try again by itself what was tried here as often as it was worth.
    """
    fallback = "invalid_request_error" if error.outcome == "request" else "api_error"
    status, kind = _SAID.get(error.kind, (error.status, fallback))
    message = error.message
    if error.kind == "context_window_exceeded" and TOO_LONG not in message:
        # Clients know it by these words alone, and shorten the conversation.
        message = f"{TOO_LONG}: {message}"
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.request_id is not None:
        headers["request-id"] = error.request_id
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": error.request_id}
    return status, headers, body
