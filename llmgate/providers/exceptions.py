"""What exceptions of other people's code mean, in the words of ours.

SDKs and HTTP libraries say the same in a dozen shapes: the status stands in the error or in the response that it carries,
the body is parsed, text or bytes, the headers are somewhere else again. Their classes are not imported; an error is asked
for what it has, and its base classes for their names. In this order:

1. names of time-outs, of lost connections, and of the few refusals that have a class of their own;
2. the status, with body and headers, read as the upstream's own answer would be read;
3. a body without a status: what broke a stream off that had begun well;
4. what it was raised from (`raise … from …`): whoever wraps an error does not change what happened.

Whatever is left is the function's own failure: no upstream did anything wrong, so no breaker counts it.

Looked up in the sources of openai 3, anthropic 2, google-genai 3, cohere 7, mistralai 3, groq 1, ollama 0.6, litellm 1,
httpx, httpx2, requests 2, aiohttp 3, botocore 1 and the standard library (checked 2026-11-21).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..dialects.openai_errors import error_of, is_error
from ..errors import (
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
    UpstreamError,
    UpstreamTimeout,
)
from ..policies.server_delay import server_delay
from ..types.redact import redacted
from ..types.wire import loads

__all__ = ["FunctionFailed", "classified", "stand_in", "stood_for"]


class FunctionFailed(UpstreamError):
    """
    A function raised something that says nothing about an upstream; the exception itself is the cause.

    Most likely the same arguments will raise it again; another function may take them. It speaks of the arguments or of
    the code, so no breaker counts it: one caller's wrong question must not take the function away from all others.
    """

    outcome = "request"
    again = False
    blame = False
    kind = "function_failed"
    status = 500


TIMEOUTS = frozenset(
    {"APITimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "Timeout", "TimeoutError", "TimeoutException"}
)
CONNECTIONS = frozenset(
    {
        "APIConnectionError", "ChunkedEncodingError", "ClientConnectionError", "ClientPayloadError", "ConnectionError",
        "HTTPClientError", "IncompleteRead", "NetworkError", "NoResponseError", "SSLError", "TransportError", "gaierror",
    }
)  # fmt: skip
"""What HTTP libraries and SDKs call such errors, where they do not derive from the standard ones."""
REFUSALS: Mapping[str, type[GatewayError]] = MappingProxyType(
    {
        "ContentFilterFinishReasonError": ContentFiltered,  # openai
        "ContentPolicyViolationError": ContentFiltered,  # litellm
        "ContextWindowExceededError": ContextWindowExceeded,  # litellm
    }
)

CAUSES_MAX = 5  # how far back a chain of causes is followed; a library about an SDK about an HTTP client makes three

LOWEST_ERROR, HIGHEST_ERROR = 400, 599


def classified(error: Exception) -> GatewayError:
    """What an exception of somebody else's code means; one of ours means itself. See the module."""
    if isinstance(error, GatewayError):
        return error
    cause: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if not isinstance(cause, Exception):
            break
        if isinstance(cause, GatewayError):
            return copy.copy(cause)
        meant = _meant(cause)
        if meant is not None:
            return meant
        cause = cause.__cause__
    return FunctionFailed(redacted(f"{type(error).__name__}: {error}"))


def stand_in(error: Exception) -> GatewayError:
    """An error that means what an exception means and gives it back in the end, as it was."""
    meant = classified(error)
    if meant is error:
        # The call's attempts are written into its errors; those of this one are another call's.
        meant = copy.copy(meant)
    meant.__dict__[STANDS_IN] = True
    return meant


def stood_for(error: GatewayError) -> BaseException:
    """The exception that an error stands in for; itself, if it does not."""
    cause = error.__cause__
    return cause if cause is not None and STANDS_IN in error.__dict__ else error


STANDS_IN = "stands_in"


def _meant(error: Exception) -> GatewayError | None:
    """What an exception says by itself; None if it says nothing that anybody but its author understands."""
    names = {cls.__name__ for cls in type(error).__mro__}
    said = redacted(f"{type(error).__name__}: {error}")
    if names & TIMEOUTS:
        return UpstreamTimeout(said, timer="function")
    if names & CONNECTIONS:
        return ConnectionFailed(said)
    status, body = _status(error), _body(error)
    for name in names & REFUSALS.keys():
        return REFUSALS[name](said, status=status)
    if status is None and not (_is_of_http(error) and is_error(body)):
        # The standard library calls a lost connection so, and an answer with a status, too.
        return ConnectionFailed(said) if "URLError" in names else None
    headers = _headers(error)
    read = _read(status, headers, {"message": str(error)} if body is None else body)
    if read.retry_after is None:
        read.retry_after = _wish(getattr(error, "retry_after", None))
    return read


def _is_of_http(error: Exception) -> bool:
    """Whether it tells of an exchange; an application's own errors have bodies and details, too."""
    return getattr(error, "request", None) is not None or getattr(error, "response", None) is not None


def _read(status: int | None, headers: Mapping[str, str], data: Any) -> GatewayError:
    """The error as the upstream means it whose format the body has; most speak as OpenAI does."""
    match data:
        case {"type": "error", "error": {"type": str()}}:
            from ..dialects import anthropic_errors

            return anthropic_errors.error_of(status, headers, data)
        case {"error": {"code": int(), "status": str()}} | [{"error": {"code": int(), "status": str()}}]:
            from ..dialects import gemini_errors

            return gemini_errors.error_of(status, headers, data)
        case {"Error": {"Code": str(name)} as inner}:
            from ..dialects import bedrock_errors

            return bedrock_errors.error_of(status, headers, {"message": inner.get("Message")}, name)
    return error_of(status, headers, data)


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    for source in (error, response):
        for name in ("status_code", "status", "code"):
            status = getattr(source, name, None)
            if isinstance(status, int) and LOWEST_ERROR <= status <= HIGHEST_ERROR:
                return status
    status = _aws(response).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _headers(error: Exception) -> dict[str, str]:
    response = getattr(error, "response", None)
    for headers in (
        getattr(error, "headers", None),
        getattr(response, "headers", None),
        _aws(response).get("HTTPHeaders"),
    ):
        try:
            if headers:
                return {str(name).lower(): str(value) for name, value in headers.items()}
        except (AttributeError, TypeError, ValueError):
            continue
    return {}


def _aws(response: Any) -> Mapping[str, Any]:
    """What Amazon's library tells about the answer; it has a dict where others have an object."""
    about = response.get("ResponseMetadata") if isinstance(response, dict) else None
    return about if isinstance(about, dict) else {}


def _body(error: Exception) -> Any:
    """The upstream's words, as JSON or text, wherever the SDK kept them; None if it did not."""
    body = getattr(error, "body", None) or getattr(error, "details", None)
    response = getattr(error, "response", None)
    if body is None and isinstance(response, dict):
        body = response
    if body is None:
        try:
            body = getattr(response, "content", None)
        except Exception:  # the libraries of HTTP raise theirs where a body was not read
            body = None
    if isinstance(body, str | bytes) and body:
        try:
            return loads(body)
        except ValueError:
            return body if isinstance(body, str) else body.decode("utf-8", "replace")
    # OpenAI's SDK keeps the inner part only, which speaks for itself.
    return body if isinstance(body, dict | list) and body else None


def _wish(said: Any) -> float | None:
    """Seconds that an error names itself."""
    if isinstance(said, str):
        return server_delay({"retry-after": said})
    usable = isinstance(said, int | float) and not isinstance(said, bool) and 0 < said < math.inf
    return float(said) if usable else None
