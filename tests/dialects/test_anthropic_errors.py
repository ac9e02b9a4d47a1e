"""What errors of Anthropic's Messages mean, promise by promise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types.shared import ErrorResponse

from llmgate.dialects.anthropic_errors import CODES, TYPES
from llmgate.dialects.anthropic_messages import AnthropicMessages
from llmgate.dialects.base import Quirks
from llmgate.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    GatewayClosed,
    GatewayError,
    LimitReached,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
    UpstreamTimeout,
)

dialect = AnthropicMessages()
PLAIN = Quirks()

Json = dict[str, Any]


def error(status: int, type: str | None, message: str = "", *, code: str | None = None, **headers: str) -> GatewayError:
    body: Json = {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}
    if code:
        body["error"]["details"] = {"error_code": code}
    return dialect.read_error(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()
    )


SAID: list[tuple[int, str, str, type[GatewayError]]] = [
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", ContextWindowExceeded),
    (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", ContextWindowExceeded),
    (400, "invalid_request_error", "Input is too long for requested model.", ContextWindowExceeded),
    (400, "invalid_request_error", "max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens", BadRequest),
    (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", QuotaExhausted),
    (400, "invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01", QuotaExhausted),
    (400, "invalid_request_error", "You have reached your specified workspace API usage limits.", QuotaExhausted),
    (400, "invalid_request_error", "Output blocked by content filtering policy", ContentFiltered),
    (400, "invalid_request_error", "This organization has been disabled.", PermissionDenied),
    (429, "rate_limit_error", "This request would exceed the rate limit; see the response headers for current usage.", RateLimited),
    (404, "not_found_error", "model: claude-none", ModelNotFound),
    (404, "not_found_error", "File not found: file_1", BadRequest),
    (413, "request_too_large", "Request exceeds the maximum size", BadRequest),
    (500, "api_error", "Overloaded", UpstreamError),
    (529, "overloaded_error", "Overloaded", Overloaded),
    (504, "timeout_error", "Timed out", UpstreamError),
    # The body knows better than the status.
    (500, "rate_limit_error", "Too fast", RateLimited),
]  # fmt: skip


@pytest.mark.parametrize(("status", "type_", "message", "expected"), SAID)
def test_errors_say_what_they_mean(status: int, type_: str, message: str, expected: type[GatewayError]) -> None:
    """
    The type decides, and the sentence where the type is vague.
    """
    found = error(status, type_, message)

    assert expected is type(found)
    assert (status, message, "req_1", type_) == (found.status, found.message, found.request_id, found.code)


@pytest.mark.parametrize(("type_", "expected"), TYPES.items())
def test_every_type_of_error_is_known(type_: str, expected: type[GatewayError]) -> None:
    """
    Each of the SDK's types has its class, whatever the status.
    """
    assert expected is type(error(418, type_))


@pytest.mark.parametrize(("code", "expected"), CODES.items())
def test_a_code_says_more_than_a_type(code: str, expected: type[GatewayError]) -> None:
    """
    A spend limit comes as a rate limit, and its code tells it apart.
    """
    found = error(429, "rate_limit_error", "Too much", code=code)

    assert (expected, code) == (type(found), found.code)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, BadRequest), (401, AuthenticationFailed), (402, QuotaExhausted), (403, PermissionDenied), (404, ModelNotFound),
        (408, UpstreamError), (409, UpstreamError), (413, BadRequest), (422, BadRequest), (429, RateLimited),
        (500, UpstreamError), (502, UpstreamError), (503, Overloaded), (504, UpstreamError), (529, Overloaded),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"<html>secret</html>", b"null", b"[]", b'{"error":null}'])
def test_without_a_body_the_status_decides(status: int, expected: type[GatewayError], body: bytes) -> None:
    """
    An error of something in between has no body worth reading.
    """
    found = dialect.read_error(status, {"request-id": "req_2"}, body)

    assert expected is type(found)
    assert (f"the upstream answered {status}", "req_2") == (found.message, found.request_id)


def test_errors_of_the_clouds() -> None:
    """
    Claude on Google's cloud speaks Google's error; a plain sentence is a sentence.
    """
    google = b'[{"error":{"code":404,"message":"Publisher Model `claude-x` was not found","status":"NOT_FOUND"}}]'

    assert ModelNotFound is type(dialect.read_error(404, {}, google))
    assert "upstream connect error" == dialect.read_error(503, {}, b"upstream connect error").message


def test_the_upstream_says_when_to_come_back() -> None:
    """
    A wish in the headers is kept with the error.
    """
    assert 7.0 == error(429, "rate_limit_error", "Too fast", retry_after="7").retry_after
    assert error(529, "overloaded_error").retry_after is None


def test_no_error_repeats_a_key() -> None:
    """
    A key that the upstream quotes is not in the message.
    """
    assert (
        "sk-ant"
        not in error(401, "authentication_error", "invalid x-api-key sk-ant-api03-abcdefghij1234567890").message
    )


@pytest.mark.parametrize(
    ("ours", "status", "type_"),
    [
        (BadRequest("x", status=413), 413, "invalid_request_error"),
        (ContentFiltered("x"), 400, "invalid_request_error"),
        (ModelNotFound("x"), 404, "not_found_error"),
        (AuthenticationFailed("x"), 401, "authentication_error"),
        (PermissionDenied("x"), 403, "permission_error"),
        (QuotaExhausted("x"), 402, "billing_error"),
        (BudgetExceeded("x"), 402, "billing_error"),
        (RateLimited("x"), 429, "rate_limit_error"),
        (LimitReached("x"), 429, "rate_limit_error"),
        (Overloaded("x"), 529, "overloaded_error"),
        (CircuitOpen("x"), 529, "overloaded_error"),
        (GatewayClosed("x"), 529, "overloaded_error"),
        (UpstreamTimeout("x"), 504, "timeout_error"),
        (DeadlineExceeded("x"), 504, "timeout_error"),
        (UpstreamError("x"), 500, "api_error"),
        (ConnectionFailed("x"), 502, "api_error"),
        (ConfigError("x"), 500, "api_error"),
        (AllAttemptsFailed("x", [Overloaded("y"), RateLimited("z")]), 429, "rate_limit_error"),
    ],
)
def test_our_errors_are_said_as_anthropic_says_them(ours: GatewayError, status: int, type_: str) -> None:
    """
    Each of our errors has a status and a type that the SDK knows.
    """
    said, _, body = dialect.write_error(ours)

    ErrorResponse.model_validate(body)
    assert (status, type_, "x") == (said, body["error"]["type"], body["error"]["message"])


def test_clients_see_that_a_prompt_is_too_long() -> None:
    """
    Anthropic's clients know it by its words alone, so the words are there.
    """
    assert "prompt is too long: 9 > 8" == dialect.write_error(ContextWindowExceeded("9 > 8"))[2]["error"]["message"]
    known = ContextWindowExceeded("prompt is too long: 9 tokens > 8 maximum")
    assert known.message == dialect.write_error(known)[2]["error"]["message"]


def test_our_errors_carry_their_headers() -> None:
    """
    When to come back and the id of the request are headers, too; seconds are whole and never fewer than wished.
    """
    _, headers, body = dialect.write_error(RateLimited("x", retry_after=1.2, request_id="req_9"))

    assert ("2", "req_9", "false") == tuple(headers[name] for name in ("retry-after", "request-id", "x-should-retry"))
    assert "req_9" == body["request_id"]
