"""Claude on Vertex AI: what differs from Anthropic's own, as it is documented and as it was recorded."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest

from llmgate.dialects import dialect_named
from llmgate.errors import AuthenticationFailed, BadRequest, GatewayError, ModelNotFound, Overloaded, RateLimited
from llmgate.types.request import Request

from . import corpus
from .corpus import PLAIN, Record

dialect = dialect_named("anthropic_vertex")

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, "betas": ["a-1", "b-2"]}


def written(**more: Any) -> tuple[str, dict[str, str], dict[str, Any]]:
    request = Request("chat", "claude-sonnet-4@20250514", BODY | more.pop("body", {}), more.pop("stream", False))
    out = dialect.write_request(request, PLAIN)
    return out.path, dict(out.headers), json.loads(out.body)


def test_the_model_stands_in_the_address_and_the_version_in_the_body() -> None:
    """
    What Anthropic reads out of the body and the headers, Vertex AI reads out of the address and the body.
    """
    path, headers, body = written()

    assert "/models/claude-sonnet-4@20250514:rawPredict" == path
    assert {"anthropic-beta": "a-1,b-2"} == headers
    assert {
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 10,
        "anthropic_version": "vertex-2023-10-16",
    } == body


def test_a_stream_has_an_address_of_its_own() -> None:
    """
    A stream is asked of `streamRawPredict`, and is asked for in the body as well.
    """
    path, _, body = written(stream=True)

    assert "/models/claude-sonnet-4@20250514:streamRawPredict" == path
    assert body["stream"] is True


def test_a_version_of_the_callers_own_stands() -> None:
    """
    Another version than ours is the caller's, and is neither replaced nor lost when a request is read.
    """
    assert "2027" == written(body={"anthropic_version": "2027"})[2]["anthropic_version"]
    request = dialect.read_request("chat", {"messages": [], "max_tokens": 1, "anthropic_version": "2027"})
    assert "2027" == request.body["anthropic_version"]
    request = dialect.read_request("chat", {"messages": [], "max_tokens": 1, "anthropic_version": "vertex-2023-10-16"})
    assert "anthropic_version" not in request.body


def test_what_it_has_not_is_refused() -> None:
    """
    Lists of models and embeddings are asked for elsewhere.
    """
    for verb in ("models", "embed"):
        with pytest.raises(BadRequest, match=verb):
            dialect.write_request(Request(verb), PLAIN)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (404, {"code": 404, "message": "Publisher Model `projects/p/claude-9` was not found", "status": "NOT_FOUND"}, ModelNotFound),
        (429, {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}, RateLimited),
        (400, {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}, AuthenticationFailed),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, Overloaded),
    ],
)  # fmt: skip
def test_an_error_is_anthropics_or_googles(status: int, error: Any, kind: type[GatewayError]) -> None:
    """
    Whoever of the two speaks, alone or in a list as Google wraps it, the error is of the class that it means.
    """
    for body in ({"error": error}, [{"error": error}]):
        found = dialect.read_error(status, {}, json.dumps(body).encode())

        assert kind is type(found)
        assert (status, error["message"]) == (found.status, found.message)
    assert status == dialect.read_error(status, {}, b"<html>").status


RECORDS = [record for record in corpus.lines("vertex") if record["kind"] == "messages"]


@corpus.needed
@pytest.mark.parametrize("record", corpus.params(RECORDS))
def test_recorded_requests_go_where_they_went(record: Record) -> None:
    """
    A recorded request, read into OpenAI's shape and written again, goes to the same address in the same version.
    """
    given = record["request_json"]
    out = dialect.write_request(dialect.read_request("chat", given).but().to(record["model"]), PLAIN)
    body = json.loads(out.body)

    assert unquote(record["url"]).endswith(f"/publishers/anthropic{out.path}")
    assert given.keys() == body.keys()
    assert [given[name] for name in NAMES if name in given] == [body[name] for name in NAMES if name in given]


NAMES = ("anthropic_version", "max_tokens", "stream", "tools")
