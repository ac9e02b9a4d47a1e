"""What an error of the OpenAI family means.

Some twenty services speak this format, and each says "no" in its own way: another shape, another status, another
word. So an error is asked four questions, and the first that knows an answer decides:

1. its code or type, where the word is precise (`CODES`);
2. its sentence, where the code is vague (`WORDINGS`);
3. its HTTP status, or the one its body names (`STATUSES`);
4. its type again, where the word is broad (`TYPES`): an error inside a stream has no status.

A status alone says little: an unknown key is 400 at xAI, a model that does not exist 400 at DeepSeek and Mistral, an
empty account 403 at xAI, 402 at DeepSeek and 429 at OpenAI, a busy server 500 at some; and a plain 404 is a wrong path
as often as a wrong model.

The tables hold what was recorded from the services or is quoted in public issues, and what their documentation names
(checked 2026-11-20). Order matters in `WORDINGS` alone.
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
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from ..policies.server_delay import server_delay
from ..types.redact import redacted
from ..types.wire import loads

__all__ = [
    "CODES",
    "STATUSES",
    "TYPES",
    "WORDINGS",
    "error_of",
    "is_error",
    "read_error",
    "request_id_of",
    "write_error",
    "write_sentence",
]

Kind = type[GatewayError]

CODES: Mapping[str, Kind] = MappingProxyType(
    {
        code: kind
        for kind, codes in {
            AuthenticationFailed: """
                1000 1001 1002 1003 1004 account_deactivated authentication_error incorrect_api_key
                incorrect_api_key_error invalid_api_key invalid_authentication invalid_authentication_error
                invalidapikey key_expired missing_api_key token_expired unauthenticated unauthorized""",
            PermissionDenied: """
                1110 1111 1112 1121 1220 1311 access_denied accessdenied forbidden insufficient_permissions
                permission-denied permission_denied permission_denied_error permission_error
                unsupported_country_region_territory""",
            QuotaExhausted: """
                1113 1304 1308 1309 1310 allocationquota.freetieronly arrearage billing_hard_limit_reached
                billing_not_active contract_spend_limit_reached credit_balance_exhausted
                enforced_spend_limit_reached exceeded_current_quota_error insufficient_balance insufficient_credits
                insufficient_funds insufficient_quota payment_required""",
            RateLimited: """
                1302 1303 1305 1313 limit_requests ramp_limit_exceeded rate_limit_error rate_limit_exceeded
                rate_limit_reached_error rate_limited ratelimited ratelimiterror ratelimitreached slow_down
                throttling throttling.allocationquota throttling.ratequota too_many_requests toomanyrequests""",
            Overloaded: """
                1312 3505 capacity_exceeded compaction_unavailable engine_overloaded engine_overloaded_error
                model_loading no_capacity overloaded overloaded_error server_is_overloaded server_overloaded
                service_overloaded service_unavailable service_unavailable_error unavailable unavailable_error""",
            ModelNotFound: """
                1211 deploymentnotfound invalid_model invalid_model_error model_decommissioned model_deprecated
                model_not_available model_not_exist model_not_found model_not_found_error modelnotfound
                unknown_model""",
            ContextWindowExceeded: """
                1261 context_length_error context_length_exceeded context_window_exceeded exceed_context_size_error
                model_max_prompt_tokens_exceeded prompt_too_long too_many_prompt_tokens""",
            ContentFiltered: """
                1301 bio_policy content_filter content_filter_error content_policy_violation content_violation
                data_inspection_failed datainspectionfailed image_content_policy_violation
                misalignment_policy_violation moderation_blocked responsibleaipolicyviolation
                sensitive_words_detected""",
        }.items()
        for code in codes.split()
    }
)
"""
Codes and types that mean one thing wherever they come from, in lower case. Four digits are Z.ai's
(https://docs.z.ai/api-reference/api-code) but for Mistral's 3505; Mistral's 1300 and Z.ai's 1300 differ.
"""

_REFUSALS = frozenset({400, 403, 404, 409, 413, 422, 424, 429, 451})

WORDINGS: tuple[tuple[Kind, frozenset[int] | None, re.Pattern[str]], ...] = tuple(
    (kind, statuses, re.compile(pattern, re.IGNORECASE))
    for kind, statuses, pattern in (
        (
            ContextWindowExceeded,
            None,
            r"maximum context length|max(?:imum)? (?:model |prompt )?(?:context|prompt) length"
            r"|prompt (?:is )?too long|input (?:is )?too (?:long|large) for|too long for (?:the|this) model"
            r"|token length too long"
            r"|total length of all messages is too long|too many (?:prompt |input )?tokens"
            r"|exceed\w*.{0,60}\bcontext (?:length|window|size|limit)"
            r"|context (?:length|window|size)(?: is| was)? (?:exceeded|too small|overflow)"
            r"|(?:input|prompt) token count.{0,40} exceeds|exceed\w* (?:the )?model token limit"
            r"|reduce the length of the (?:messages|prompt|input|either)|prompt exceeds max length"
            r"|range of input length should be|`inputs` tokens \+ `max_new_tokens` must be"
            r"|too large for model with \d+ maximum context",
        ),
        (
            QuotaExhausted,
            None,
            r"exceeded your current quota|insufficient[ _](?:account )?(?:balance|credits?|funds|quota)|out of credits"
            r"|credit balance is too low|requires more credits|not enough credits|all available credits"
            r"|(?:monthly|hard|spending|spend|billing) limit (?:has been |was |is )?(?:reached|exceeded)"
            r"|reached (?:its|your) (?:monthly )?(?:spending|usage) limit|exceeded your monthly|overdue payment"
            r"|payment required",
        ),
        (
            AuthenticationFailed,
            frozenset({400, 401, 403, 404}),
            r"(?:incorrect|invalid|malformed|missing|expired|wrong|unknown|no) (?:x-)?api[- _]?key"
            r"|api[- _]?key (?:is |was |provided is )?(?:not valid|invalid|not found|missing|expired|incorrect|required)"
            r"|no auth credentials|authentication fails|invalid (?:credentials|authentication|access token)",
        ),
        (
            ContentFiltered,
            _REFUSALS,
            r"content management policy|content[ _](?:filter|policy|moderation)|safety system|responsible ai"
            r"|violat\w+ .{0,40}(?:policy|policies|guidelines|terms)|inappropriate content|sensitive content"
            r"|moderation flagged|(?:was|were|been) flagged",
        ),
        (
            RateLimited,
            frozenset({400, 403, 413, 429}),
            r"rate[ _-]?limit|too many requests|tokens per (?:minute|day)|requests per (?:second|minute|day)",
        ),
        (
            Overloaded,
            frozenset({429, 503, 529}),
            r"overloaded|capacity exceeded|exceeded.{0,20} capacity|at (?:full )?capacity|server (?:is )?busy"
            r"|no (?:available|healthy) (?:provider|instance|upstream|worker)|model .{0,80}(?:is )?(?:currently )?loading",
        ),
        (
            ModelNotFound,
            frozenset({400, 404, 422}),
            r"models?\b.{0,200}? (?:does not|doesn't|not|was not|is not) (?:exist|found)|(?:invalid|unknown) model"
            r"|no such model|not a valid model|unsupported model|no endpoints found for"
            r"|models?\b.{0,200}? (?:is not available|has been (?:decommissioned|deprecated|retired))",
        ),
    )
)
"""Sentences, the statuses with which they may come (None: any; an error without a status may always), in this order."""

STATUSES: Mapping[int, Kind] = MappingProxyType(
    {
        401: AuthenticationFailed,
        402: QuotaExhausted,
        403: PermissionDenied,
        408: UpstreamError,
        409: UpstreamError,
        429: RateLimited,
        451: ContentFiltered,
        503: Overloaded,
        529: Overloaded,
    }
)
"""What is not listed is `BadRequest` from 400 and `UpstreamError` from 500 on."""

TYPES: Mapping[str, Kind] = MappingProxyType(
    {
        "badrequest": BadRequest,
        "badrequesterror": BadRequest,
        "bad_request": BadRequest,
        "bad_request_error": BadRequest,
        "invalid_argument": BadRequest,
        "invalid_request": BadRequest,
        "invalid_request_error": BadRequest,
        "not_found_error": ModelNotFound,
        "notfounderror": ModelNotFound,
        "requests": RateLimited,
        "resource_exhausted": RateLimited,
        "tokens": RateLimited,
        "tool_use_failed": BadRequest,
        "validation_error": BadRequest,
        # What a failed Response says of the request (`ResponseError`)
        "data_residency_mismatch": BadRequest,
        "empty_image_file": BadRequest,
        "failed_to_download_image": BadRequest,
        "image_file_not_found": BadRequest,
        "image_file_too_large": BadRequest,
        "image_parse_error": BadRequest,
        "image_too_large": BadRequest,
        "image_too_small": BadRequest,
        "invalid_base64_image": BadRequest,
        "invalid_image": BadRequest,
        "invalid_image_format": BadRequest,
        "invalid_image_mode": BadRequest,
        "invalid_image_url": BadRequest,
        "invalid_prompt": BadRequest,
        "unsupported_image_media_type": BadRequest,
    }
)
"""Types too broad to overrule a status, in lower case; whatever is not listed is `UpstreamError`."""

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-ds-trace-id", "cf-ray")
_RETRY_IN = re.compile(
    r"(?:try again|retry)(?: \w+)? (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|s|m|h)?){1,4})", re.IGNORECASE
)
_READ = 4_000  # characters of a sentence that are read
_LOWEST_ERROR, _LOWEST_SERVER_ERROR, _HIGHEST_ERROR = 400, 500, 599


def is_error(data: Any) -> bool:
    """Whether JSON that came instead of an answer is an error in one of the family's shapes."""
    if isinstance(data, list):
        return bool(data) and is_error(data[0])
    if not isinstance(data, dict):
        return False
    return bool(data.get("error") or data.get("detail")) or isinstance(data.get("message"), str)


def error_of(status: int | None, headers: Mapping[str, str], data: Any) -> GatewayError:
    """
    The error that a body means.

    Args:
        status: HTTP status of the answer; None or below 400 for an error inside a successful one.
        headers: Names in lower case.
        data: The body as JSON, or as text if it is none.
    """
    error = _inner(data)
    message = _sentence(data, error)
    named = _named_status(error)
    if status is None or status < _LOWEST_ERROR:
        status = named
    words = _words(data, error)
    kind = _kind(status, words, message)
    if not message:
        message = f"the upstream answered {status}" if status else "the upstream reported an error"
    retry_after = server_delay(headers)
    if retry_after is None:
        wish = _RETRY_IN.search(message[:_READ])
        retry_after = server_delay({"retry-after": wish[1]}) if wish else None
    made = kind(
        redacted(message),
        status=status,
        retry_after=retry_after,
        request_id=request_id_of(headers, data),
        code=redacted(words[0], 100) if words else None,
    )
    if isinstance(error, dict) and isinstance(error.get("param"), str):
        made.param = redacted(error["param"], 100)
    return made


def request_id_of(headers: Mapping[str, str], data: Any = None) -> str | None:
    """The upstream's id of the request, from its headers or else its body."""
    for name in _REQUEST_IDS:
        if value := headers.get(name):
            return value
    value = data.get("request_id") if isinstance(data, dict) else None
    return value if isinstance(value, str) else None


def _kind(status: int | None, words: list[str], message: str) -> Kind:
    lowered = [word.lower() for word in words]
    for word in lowered:
        if kind := CODES.get(word):
            return kind
    # Google says "you exceeded your current quota" of a minute's quota, too; then its status has to do.
    if "resource_exhausted" not in lowered or "PerDay" in message:
        for kind, statuses, pattern in WORDINGS:
            if (status is None or statuses is None or status in statuses) and pattern.search(message, 0, _READ):
                return kind
    if status is not None:
        return STATUSES.get(status) or (BadRequest if status < _LOWEST_SERVER_ERROR else UpstreamError)
    for word in lowered:
        if kind := TYPES.get(word):
            return kind
    return UpstreamError


def _inner(data: Any) -> Any:
    """The object that speaks: `{"error": {…}}`, `[{"error": {…}}]`, `{"detail": {…}}` or the body itself."""
    if isinstance(data, list) and data:
        data = data[0]
    if isinstance(data, dict):
        for name in ("error", "detail"):
            if isinstance(data.get(name), dict):
                return data[name]
    return data


def _sentence(data: Any, error: Any) -> str:
    if isinstance(error, str):
        return _from_text(error)
    if not isinstance(error, dict):
        return ""
    said = next((error[name] for name in ("message", "error", "detail", "msg") if error.get(name)), "")
    message = said if isinstance(said, str) else _flat(said)
    metadata = error.get("metadata")
    if isinstance(metadata, dict):
        # OpenRouter: "Provider returned error", and what the provider said; or why a moderation refused.
        for name in ("raw", "reasons"):
            if metadata.get(name):
                message += f": {_flat(metadata[name])}"
    if isinstance(error.get("details"), list):
        message += "".join(f" ({quota})" for quota in _quotas(error["details"]) if quota not in message)
    return message


def _from_text(text: str) -> str:
    """A body that is no JSON. A page for a browser says nothing that its status does not say."""
    text = text.strip()
    return "" if text[:1] == "<" else text


def _flat(value: Any) -> str:
    """A list of complaints as FastAPI makes it, or anything else, as one sentence."""
    if isinstance(value, list):
        return "; ".join(_flat(item) for item in value[:5])
    if isinstance(value, dict):
        said = next((value[name] for name in ("message", "msg", "detail", "error") if value.get(name)), None)
        where = value.get("loc")
        place = ".".join(map(str, where)) + ": " if isinstance(where, list) else ""
        return place + (str(value) if said is None else _flat(said))
    return str(value)


def _quotas(details: list[Any]) -> list[str]:
    """Names of the quotas that Google says were used up; they tell a day's from a minute's."""
    return [
        str(violation["quotaId"])
        for detail in details
        if isinstance(detail, dict) and isinstance(detail.get("violations"), list)
        for violation in detail["violations"]
        if isinstance(violation, dict) and "quotaId" in violation
    ]


def _words(data: Any, error: Any) -> list[str]:
    """Codes and types, the most precise first."""
    inner = error.get("innererror") if isinstance(error, dict) else None
    found: list[str] = []
    for source, names in (
        (error, ("code", "type", "status", "error_type")),
        (inner, ("code",)),
        (data if data is not error else None, ("code", "error_type")),
    ):
        if isinstance(source, dict):
            values = (source.get(name) for name in names)
            found += [str(value) for value in values if value and isinstance(value, str | int) and value is not True]
    return found


def _named_status(error: Any) -> int | None:
    """The HTTP status that a body names."""
    if not isinstance(error, dict):
        return None
    for name in ("status_code", "raw_status_code", "code", "status"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and _LOWEST_ERROR <= value <= _HIGHEST_ERROR:
            return value
    return None


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    """The error that a response of this status means, whatever its content type claims."""
    try:
        data = loads(body)
    except ValueError:
        data = body.decode("utf-8", "replace")
    if status < _LOWEST_ERROR and not is_error(data):
        return ProtocolError(f"the upstream answered {status}", status=status, request_id=request_id_of(headers, data))
    return error_of(status, headers, data)


_WRITTEN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "bad_request": ("invalid_request_error", "invalid_request"),
        "context_window_exceeded": ("invalid_request_error", "context_length_exceeded"),
        "model_not_found": ("invalid_request_error", "model_not_found"),
        "content_filtered": ("invalid_request_error", "content_filter"),
        "authentication_failed": ("invalid_request_error", "invalid_api_key"),
        "permission_denied": ("invalid_request_error", "permission_denied"),
        "quota_exhausted": ("insufficient_quota", "insufficient_quota"),
        "rate_limited": ("requests", "rate_limit_exceeded"),
        "limit_reached": ("requests", "rate_limit_exceeded"),
        "budget_exceeded": ("insufficient_quota", "insufficient_quota"),
        "overloaded": ("server_error", "server_is_overloaded"),
    }
)
"""Type and code with which OpenAI says it; whatever is not listed is a `server_error` under its own name."""


def write_error(error: GatewayError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """
    Status, headers and body with which OpenAI would say it.

    The status is the one of the class, whatever the upstream's was: an SDK makes its exception of it. Of a bad request
    there are several sorts, which only its own status and code tell apart. No SDK should try again by itself what was
    tried here as often as it was worth.
    """
    said: GatewayError = getattr(error, "telling", error)
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if error.request_id:
        headers["x-request-id"] = error.request_id
    type_, code = _WRITTEN.get(said.kind, ("server_error", said.kind))
    status = type(said).status
    if said.kind == "bad_request":
        status, code = said.status, said.code or code
    body = {"error": {"message": error.message, "type": type_, "param": said.param, "code": code}}
    return status, headers, body


def write_sentence(error: GatewayError, key: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    """
    Status, headers and body in a format whose errors are a status and a sentence.

    What OpenAI tells by a code that such a format has not, is told by the sentence, or by the status.
    """
    status, headers, _ = write_error(error)
    message = error.message
    if error.kind == "quota_exhausted":
        status = 402
    elif error.kind == "context_window_exceeded" and _TOO_LONG not in message.lower():
        message = f"the input exceeds the {_TOO_LONG}: {message}"
    return status, headers, {key: message}


_TOO_LONG = "context length"
"""Words that every client knows."""
