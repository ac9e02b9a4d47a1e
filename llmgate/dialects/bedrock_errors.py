"""What an error of Amazon Bedrock means, and how Amazon would say one of ours.

The exception's name decides first (`x-amzn-errortype`, `__type` in the body, or a header of a message in a stream), its
sentence where the name is vague, the status last: an error inside a stream has none.

Sources, checked 2026-11-20: the errors in the service model of `botocore` 1.44.5 and
https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html.
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
    UpstreamTimeout,
)
from ..policies.server_delay import server_delay
from ..types.redact import redacted
from .anthropic_errors import STATUSES as OF_ANTHROPIC
from .bedrock_words import Json

__all__ = ["error_of", "write_error"]

Kind = type[GatewayError]

TYPES: Mapping[str, Kind] = MappingProxyType(
    {
        "AccessDenied": PermissionDenied,
        "AccessDeniedException": PermissionDenied,
        "ConflictException": BadRequest,
        "ExpiredToken": AuthenticationFailed,
        "ExpiredTokenException": AuthenticationFailed,
        "IncompleteSignature": AuthenticationFailed,
        "IncompleteSignatureException": AuthenticationFailed,
        "InternalFailure": UpstreamError,
        "InternalServerException": UpstreamError,
        "InvalidClientTokenId": AuthenticationFailed,
        "InvalidSignatureException": AuthenticationFailed,
        "MissingAuthenticationToken": AuthenticationFailed,
        "MissingAuthenticationTokenException": AuthenticationFailed,
        "ModelErrorException": UpstreamError,
        "ModelNotReadyException": Overloaded,
        "ModelStreamErrorException": UpstreamError,
        "ModelTimeoutException": UpstreamTimeout,
        "ResourceNotFoundException": ModelNotFound,
        "ServiceQuotaExceededException": QuotaExhausted,
        "ServiceUnavailable": Overloaded,
        "ServiceUnavailableException": Overloaded,
        "SignatureDoesNotMatch": AuthenticationFailed,
        "ThrottlingException": RateLimited,
        "TooManyRequestsException": RateLimited,
        "UnrecognizedClientException": AuthenticationFailed,
        "ValidationException": BadRequest,
    }
)

STATUSES: Mapping[int, Kind] = MappingProxyType({**OF_ANTHROPIC, 408: UpstreamTimeout, 424: UpstreamError})
"""What is not listed is `BadRequest` from 400 and `UpstreamError` from 500 on."""

TOO_LONG = "input is too long for requested model"

WORDINGS: tuple[tuple[Kind, frozenset[Kind], tuple[str, ...]], ...] = (
    (
        ContextWindowExceeded,
        frozenset({BadRequest}),
        (
            TOO_LONG,
            "prompt is too long",
            "exceed context limit",
            "too many input tokens",
            "input tokens exceed",
            "maximum context length",
            "context window",
        ),
    ),
    (
        ModelNotFound,
        frozenset({BadRequest}),
        # The second: a model that is there under the name of an inference profile only.
        ("model identifier is invalid", "on-demand throughput isn", "model is not found", "end of its life"),
    ),
    (ContentFiltered, frozenset({BadRequest}), ("content filtering policy", "blocked by our content filters")),
    (
        AuthenticationFailed,
        frozenset({PermissionDenied, BadRequest}),
        ("api key is valid", "invalid api key", "api key has expired", "bearer token", "security token"),
    ),
    (QuotaExhausted, frozenset({RateLimited}), ("tokens per day",)),
)
"""What is meant, what the name or the status said, and the sentences that tell. Amazon has no name for these."""


def error_of(status: int | None, headers: Mapping[str, str], data: Any, name: str = "") -> GatewayError:
    """
    The error that a body means.

    Args:
        status: None for an error in an answer or a stream that had begun well.
        headers: Names in lower case.
        data: The body as JSON, or as text if it is none.
        name: The exception's name, where it stands elsewhere than in headers or body.
    """
    body: Json = data if isinstance(data, dict) else {"message": data}
    if isinstance(body.get("Output"), dict):
        body = body["Output"]  # how the door answers an operation that it does not know
    name = _bare(name or headers.get("x-amzn-errortype") or body.get("__type") or "")
    message = next((body[key] for key in ("message", "Message", "originalMessage") if body.get(key)), None)
    # A page for a browser, from something in between, says nothing that its status does not say.
    said = redacted(message) if isinstance(message, str) and message.lstrip()[:1] != "<" else ""
    original = body.get("originalStatusCode")
    return _kind(name, status, original if isinstance(original, int) else None, said.lower())(
        said or (f"the upstream answered {status}" if status else f"the upstream reported {name or 'an error'}"),
        status=status,
        retry_after=server_delay(headers),
        request_id=headers.get("x-amzn-requestid"),
        code=redacted(name, 100) or None,
    )


def _bare(name: Any) -> str:
    """`throttlingException`, `aws.protocols#ThrottlingException` and `ThrottlingException:http://…` are one name."""
    if not isinstance(name, str):
        return ""
    bare = name.partition(":")[0].rpartition("#")[2].strip()
    return bare[:1].upper() + bare[1:]


def _kind(name: str, status: int | None, original: int | None, said: str) -> Kind:
    kind = TYPES.get(name)
    if kind is None:
        if status is None:
            return UpstreamError
        kind = STATUSES.get(status) or (BadRequest if 400 <= status < 500 else UpstreamError)
    if kind is UpstreamError and original in (429, 503, 529):
        return RateLimited if original == 429 else Overloaded  # the model's own word, handed on
    for meant, vague, sentences in WORDINGS:
        if kind in vague and any(sentence in said for sentence in sentences):
            return meant
    return kind


_SAID: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "authentication_failed": (403, "UnrecognizedClientException"),
        "budget_exceeded": (400, "ServiceQuotaExceededException"),
        "circuit_open": (503, "ServiceUnavailableException"),
        "connection_failed": (500, "InternalServerException"),
        "content_filtered": (400, "ValidationException"),
        "context_window_exceeded": (400, "ValidationException"),
        "deadline_exceeded": (408, "ModelTimeoutException"),
        "gateway_closed": (503, "ServiceUnavailableException"),
        "limit_reached": (429, "ThrottlingException"),
        "model_not_found": (404, "ResourceNotFoundException"),
        "overloaded": (503, "ServiceUnavailableException"),
        "permission_denied": (403, "AccessDeniedException"),
        # Not 429: Amazon's SDKs try that again, and no seconds of waiting bring quota.
        "quota_exhausted": (400, "ServiceQuotaExceededException"),
        "rate_limited": (429, "ThrottlingException"),
        "upstream_timeout": (408, "ModelTimeoutException"),
    }
)
"""Status and name with which Amazon would say an error of each kind."""


def write_error(error: GatewayError) -> tuple[int, dict[str, str], Json]:
    """Status, headers and body with which Amazon would say it. It has no other status for a bad request than 400."""
    bad = (400, "ValidationException")
    status, name = _SAID.get(error.kind) or (bad if error.outcome == "request" else (500, "InternalServerException"))
    message = error.message
    if error.kind == "context_window_exceeded" and TOO_LONG not in message.lower():
        # Clients know it by these words alone, and shorten the conversation.
        message = f"Input is too long for requested model: {message}"
    headers = {"content-type": "application/json", "x-amzn-errortype": name}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.request_id is not None:
        headers["x-amzn-requestid"] = error.request_id
    return status, headers, {"message": message}
