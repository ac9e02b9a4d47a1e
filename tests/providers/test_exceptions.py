"""What exceptions of other libraries mean: the real classes, as their libraries make them."""

from __future__ import annotations

import email.message
import http.client
import json
import socket
import urllib.error
from collections.abc import Callable
from typing import Any

import aiohttp
import anthropic
import botocore.exceptions
import groq
import httpx
import httpx2
import ollama
import openai
import pytest
import requests
from aiohttp.client_reqrep import ConnectionKey
from cohere.core.api_error import ApiError
from google.genai import errors as google
from mistralai.client import errors as mistral
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from llmgate import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
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
from llmgate.providers.exceptions import FunctionFailed, classified

URL_HERE = "http://127.0.0.1/v1"
SAID: dict[int, Any] = {
    400: {"error": {"message": "temperature: at most 2"}},
    401: {"error": {"message": "no such key"}},
    403: {"error": {"message": "not for you"}},
    404: {"error": {"message": "the model m does not exist"}},
    429: {"error": {"message": "slow down"}},
    500: {"error": {"message": "oops"}},
    503: {"error": {"message": "busy"}},
}
MEANT: dict[int, type[GatewayError]] = {
    400: BadRequest, 401: AuthenticationFailed, 403: PermissionDenied, 404: ModelNotFound, 429: RateLimited,
    500: UpstreamError, 503: Overloaded,
}  # fmt: skip


def of_httpx(library: Any) -> Callable[[int], Any]:
    def made(status: int) -> Any:
        response = library.Response(
            status, headers={"Retry-After": "7"}, json=SAID[status], request=library.Request("POST", URL_HERE)
        )
        return library.HTTPStatusError("said no", request=response.request, response=response)

    return made


def of_requests(status: int) -> Exception:
    response = requests.Response()
    response.status_code, response._content = status, json.dumps(SAID[status]).encode()
    response.headers["Retry-After"] = "7"
    return requests.HTTPError("said no", response=response)


def of_stainless(library: Any, status: int) -> Exception:
    """As openai, anthropic and groq make theirs."""
    transports = httpx if library is groq else httpx2
    response = of_httpx(transports)(status).response
    kinds = {
        400: library.BadRequestError, 401: library.AuthenticationError, 403: library.PermissionDeniedError,
        404: library.NotFoundError, 429: library.RateLimitError,
    }  # fmt: skip
    kind = kinds.get(status, library.InternalServerError)
    body = SAID[status]["error"] if library is not anthropic else {"type": "error", **SAID[status]}
    return kind("said no", response=response, body=body)  # type: ignore[no-any-return]


def of_google(status: int) -> Exception:
    words = {
        400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
    }  # fmt: skip
    wish = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    said = SAID[status]["error"] | {"code": status, "status": words[status], "details": [wish]}
    return google.APIError(status, {"error": said})


def of_mistral(status: int) -> Exception:
    return mistral.SDKError("said no", of_httpx(httpx2)(status).response, json.dumps(SAID[status]))


def of_aiohttp(status: int) -> Exception:
    url = URL(URL_HERE)
    headers = CIMultiDictProxy(CIMultiDict({"Retry-After": "7"}))
    request = aiohttp.RequestInfo(url, "POST", CIMultiDictProxy(CIMultiDict()), url)
    message = SAID[status]["error"]["message"]
    return aiohttp.ClientResponseError(request, (), status=status, message=message, headers=headers)


def of_botocore(status: int) -> Exception:
    names = {
        400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException",
        404: "ResourceNotFoundException", 429: "ThrottlingException", 500: "InternalServerException",
        503: "ServiceUnavailableException",
    }  # fmt: skip
    about = {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "7"}}
    said: Any = {
        "Error": {"Code": names[status], "Message": SAID[status]["error"]["message"]},
        "ResponseMetadata": about,
    }
    return botocore.exceptions.ClientError(said, "Converse")


def of_urllib(status: int) -> Exception:
    headers = email.message.Message()
    headers["Retry-After"] = "7"
    return urllib.error.HTTPError(URL_HERE, status, SAID[status]["error"]["message"], headers, None)


class LiteLLM(openai.OpenAIError):
    """
    As litellm's exceptions are: subclasses of OpenAI's with the status in an attribute of their own, and no body.
    """

    def __init__(self, status_code: int, message: str) -> None:
        self.status_code, self.message, self.llm_provider, self.retry_after = status_code, message, "openai", 7
        super().__init__(message)


STATUSES: dict[str, Callable[[int], Exception]] = {
    "httpx": of_httpx(httpx),
    "httpx2": of_httpx(httpx2),
    "requests": of_requests,
    "openai": lambda status: of_stainless(openai, status),
    "anthropic": lambda status: of_stainless(anthropic, status),
    "groq": lambda status: of_stainless(groq, status),
    "google": of_google,
    "cohere": lambda status: ApiError(status_code=status, headers={"retry-after": "7"}, body=SAID[status]["error"]),
    "mistral": of_mistral,
    "aiohttp": of_aiohttp,
    "botocore": of_botocore,
    "urllib": of_urllib,
    "litellm": lambda status: LiteLLM(status, SAID[status]["error"]["message"]),
}


@pytest.mark.parametrize("library", STATUSES)
@pytest.mark.parametrize("status", MEANT)
def test_statuses(library: str, status: int) -> None:
    """
    A refusal means the same whoever's exception tells it, and asks for the same wait.
    """
    raised = STATUSES[library](status)

    found = classified(raised)

    assert MEANT[status] is type(found)
    assert status == found.status
    assert 7.0 == found.retry_after or status != 429
    assert str(SAID[status]["error"]["message"]) in found.message
    if isinstance(raised, urllib.error.HTTPError):
        raised.close()


REQUEST = httpx.Request("POST", URL_HERE)
REQUEST2 = httpx2.Request("POST", URL_HERE)
THERE = ConnectionKey("127.0.0.1", 1, False, None, None, None, None)  # type: ignore[arg-type]

LITELLM_TIMEOUT = type("Timeout", (openai.APITimeoutError,), {"status_code": 408})(REQUEST2)
LITELLM_CONNECTION = type("APIConnectionError", (openai.APIConnectionError,), {"status_code": 500})(request=REQUEST2)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (openai.APITimeoutError(REQUEST2), UpstreamTimeout),
        (anthropic.APITimeoutError(REQUEST2), UpstreamTimeout),
        (groq.APITimeoutError(REQUEST), UpstreamTimeout),
        (LITELLM_TIMEOUT, UpstreamTimeout),
        (httpx.ReadTimeout("slow"), UpstreamTimeout),
        (httpx.PoolTimeout("full"), UpstreamTimeout),
        (httpx2.ConnectTimeout("slow"), UpstreamTimeout),
        (requests.Timeout(), UpstreamTimeout),
        (requests.ConnectTimeout(), UpstreamTimeout),
        (aiohttp.ServerTimeoutError(), UpstreamTimeout),
        (botocore.exceptions.ReadTimeoutError(endpoint_url=URL_HERE), UpstreamTimeout),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url=URL_HERE), UpstreamTimeout),
        (TimeoutError(), UpstreamTimeout),
        (openai.APIConnectionError(request=REQUEST2), ConnectionFailed),
        (anthropic.APIConnectionError(request=REQUEST2), ConnectionFailed),
        (groq.APIConnectionError(request=REQUEST), ConnectionFailed),
        (LITELLM_CONNECTION, ConnectionFailed),
        (httpx.ConnectError("no"), ConnectionFailed),
        (httpx.RemoteProtocolError("cut"), ConnectionFailed),
        (httpx2.ReadError("cut"), ConnectionFailed),
        (requests.ConnectionError(), ConnectionFailed),
        (requests.exceptions.ChunkedEncodingError(), ConnectionFailed),
        (requests.exceptions.SSLError(), ConnectionFailed),
        (aiohttp.ServerDisconnectedError(), ConnectionFailed),
        (aiohttp.ClientConnectorError(THERE, OSError("refused")), ConnectionFailed),
        (aiohttp.ClientPayloadError("cut"), ConnectionFailed),
        (botocore.exceptions.EndpointConnectionError(endpoint_url=URL_HERE), ConnectionFailed),
        (botocore.exceptions.ConnectionClosedError(endpoint_url=URL_HERE), ConnectionFailed),
        (mistral.NoResponseError("none"), ConnectionFailed),
        (http.client.RemoteDisconnected(), ConnectionFailed),
        (http.client.IncompleteRead(b"half"), ConnectionFailed),
        (socket.gaierror(-2, "no such name"), ConnectionFailed),
        (urllib.error.URLError("refused"), ConnectionFailed),
        (ConnectionResetError(), ConnectionFailed),
        (ollama.ResponseError("busy", 503), Overloaded),
        (openai.ContentFilterFinishReasonError(), ContentFiltered),
        (type("ContentPolicyViolationError", (LiteLLM,), {})(400, "refused"), ContentFiltered),
        (type("ContextWindowExceededError", (LiteLLM,), {})(400, "refused"), ContextWindowExceeded),
    ],
    ids=lambda value: type(value).__module__.split(".")[0] + "." + type(value).__qualname__,
)
def test_without_a_status(raised: Exception, kind: type[GatewayError]) -> None:
    """
    Time-outs, lost connections and refusals with a class of their own are known by their names and bases.
    """
    assert kind is type(classified(raised))


def test_in_the_middle_of_a_stream() -> None:
    """
    What broke off a stream that had begun well is told by the body, whatever the status of its beginning was.
    """
    begun = httpx2.Response(200, request=REQUEST2)
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    quota = {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}

    claude = classified(anthropic.APIStatusError("busy", response=begun, body=busy))
    gpt = classified(openai.APIError("no money", REQUEST2, body=quota))

    assert (Overloaded, QuotaExhausted) == (type(claude), type(gpt))


def test_the_upstreams_own_words_decide() -> None:
    """
    A body says more than its status: a prompt that is too long, an account without money, a quota of the day.
    """
    long = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}
    response = httpx2.Response(400, request=REQUEST2)
    day = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    used = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "used up", "details": [day]}}
    money = {"message": "You exceeded your current quota"}

    assert [ContextWindowExceeded, QuotaExhausted, QuotaExhausted] == [
        type(classified(anthropic.BadRequestError("no", response=response, body=long))),
        type(classified(google.ClientError(429, used))),
        type(classified(ApiError(status_code=429, headers=None, body=money))),
    ]


def test_bodies_that_cannot_be_read() -> None:
    """
    A body that nobody read, that is no JSON, or that says nothing leaves the status.
    """
    unread = httpx.Response(503, stream=httpx.ByteStream(b"never read"), request=REQUEST)
    page = httpx.Response(503, text="<html>busy</html>", request=REQUEST)
    empty = httpx.Response(503, request=REQUEST)

    for response in (unread, page, empty):
        assert Overloaded is type(classified(httpx.HTTPStatusError("no", request=REQUEST, response=response)))


def test_wrapped_in_another_one() -> None:
    """
    An error that was raised from another one means what that one means; one of ours keeps its own circumstances.
    """
    ours = RateLimited("slow", retry_after=3)
    about, twice, over_ours = RuntimeError("failed"), LookupError("failed"), RuntimeError("failed")
    about.__cause__, over_ours.__cause__ = of_requests(503), ours
    twice.__cause__ = about

    assert (Overloaded, Overloaded) == (type(classified(about)), type(classified(twice)))
    found = classified(over_ours)
    assert (RateLimited, 3) == (type(found), found.retry_after) and found is not ours


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("mine"), KeyError("x"), TypeError(), AssertionError(), FileNotFoundError(2, "gone"), PermissionError(),
        RuntimeError("mine"), type("Odd", (Exception,), {"status_code": True, "code": "404", "status": 9})(),
        type("Mine", (Exception,), {"details": {"message": "of an application"}, "body": {"error": "its own"}})(),
    ],
    ids=repr,
)  # fmt: skip
def test_a_functions_own(raised: Exception) -> None:
    """
    What speaks of no upstream is the function's own failure, which no breaker counts.
    """
    found = classified(raised)

    assert FunctionFailed is type(found)
    assert not found.blame and not found.again and found.elsewhere
