"""Google behind HTTP: what goes to which address, with which key, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from llmgate import Gateway
from llmgate.errors import AuthenticationFailed, ConfigError, QuotaExhausted, RateLimited
from llmgate.providers.google import Gemini, VertexAI
from llmgate.testing import ScriptedServer, http_response, http_stream, sse
from tests.conftest import Colour

KEY = "AIza-a-key-of-a-test"


def said(text: str, **candidate: Any) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0} | candidate],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
    }


def config(server: ScriptedServer) -> dict[str, Any]:
    google = {"base_url": f"{server.origin}/v1beta", "api_key": KEY}
    return {
        "providers": {"google": google},
        "routes": {"fast": ["google/gemini-2.5-flash"]},
        "retry": {"base_delay": 0, "max_delay": 0, "max_attempts": 2},
    }


def failed(status: int, word: str, details: list[Any]) -> Any:
    return http_response(status, {"error": {"code": status, "message": "no", "status": word, "details": details}})


def test_asks_generate_content(colour: Colour, server: ScriptedServer) -> None:
    """
    A chat goes to the model's own address, with the key in its header and nowhere else.
    """
    server.answer(http_response(200, said("hi", finishReason="STOP")))

    reply = colour.chat(colour.gateway(config(server)), "fast", "hello", temperature=0)

    assert ("hi", "stop", 4, 2) == (
        reply.text,
        reply.finish_reason,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )
    assert "google/gemini-2.5-flash" == reply.deployment
    request = server.requests[0]
    assert ("/v1beta/models/gemini-2.5-flash:generateContent", "") == (request.path, request.query)
    assert KEY == request.headers["x-goog-api-key"]
    assert "authorization" not in request.headers
    assert {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
        "generationConfig": {"temperature": 0},
    } == request.json()


def test_streams(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream asks for server-sent events, and its pieces come as they are sent.
    """
    server.answer(http_stream([sse(said("Hel")), sse(said("lo", finishReason="STOP"))]))

    stream, chunks = colour.read(colour.gateway(config(server)), "fast", "hello")

    read = stream.response
    assert ["Hel", "lo"] == [chunk.text for chunk in chunks if chunk.text]
    assert ("Hello", "stop", 2) == (read.text, read.finish_reason, read.usage.output_tokens)
    request = server.requests[0]
    assert ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "alt=sse") == (request.path, request.query)


def test_a_stream_that_breaks_off_before_its_text_is_asked_for_again(colour: Colour, server: ScriptedServer) -> None:
    """
    An error in place of the first event is an error of the attempt, and another attempt repairs it.
    """
    server.answer(
        http_stream([sse({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})]),
        http_stream([sse(said("hi", finishReason="STOP"))]),
    )

    stream, _ = colour.read(colour.gateway(config(server)), "fast", "hello")

    assert "hi" == stream.response.text
    assert ["overloaded", "ok"] == [attempt.outcome for attempt in stream.response.attempts]


def test_a_minute_is_waited_for_and_a_day_is_not(colour: Colour, server: ScriptedServer) -> None:
    """
    A quota of the minute is a rate limit with its delay; one of the day is asked for no second time.
    """
    quota = {"@type": "type.googleapis.com/google.rpc.QuotaFailure"}
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3000s"}
    minute = quota | {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]}
    day = quota | {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    server.answer(
        failed(429, "RESOURCE_EXHAUSTED", [minute, retry]),
        failed(429, "RESOURCE_EXHAUSTED", [day, retry]),
    )

    with pytest.raises(RateLimited) as throttled:
        colour.chat(colour.gateway(config(server)), timeout=5)
    with pytest.raises(QuotaExhausted) as used_up:
        colour.chat(colour.gateway(config(server)), timeout=5)

    assert 3000 == throttled.value.retry_after
    assert used_up.value.retry_after is None
    assert 2 == len(server.requests)


def test_an_unknown_key_is_a_matter_of_the_key(colour: Colour, server: ScriptedServer) -> None:
    """
    Google's 400 for a key it does not know is no fault of the request.
    """
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    server.answer(failed(400, "INVALID_ARGUMENT", [info]))

    with pytest.raises(AuthenticationFailed) as caught:
        colour.chat(colour.gateway(config(server)))

    assert ("API_KEY_INVALID", 400) == (caught.value.code, caught.value.status)
    assert 1 == len(server.requests)


def test_embeds_and_lists(colour: Colour, server: ScriptedServer) -> None:
    """
    Embeddings are asked for in one batch; the models are listed without the folder they stand in.
    """
    server.answer(http_response(200, {"embeddings": [{"values": [0.5, 1]}, {"values": [2, 3]}]}))
    server.answer(http_response(200, {"models": [{"name": "models/gemini-x", "inputTokenLimit": 7}]}))
    gateway = colour.gateway(config(server))

    answer = colour.ask(gateway, "embed", "google/gemini-embedding-2", ["a", "b"])
    models = colour.ask(gateway, "models")

    assert [[0.5, 1], [2, 3]] == answer.vectors
    assert [("gemini-x", 7)] == [(model.id, model.context_window) for model in models]
    embedded, listed = server.requests
    assert "/v1beta/models/gemini-embedding-2:batchEmbedContents" == embedded.path
    assert ["models/gemini-embedding-2"] * 2 == [request["model"] for request in embedded.json()["requests"]]
    assert ("GET", "/v1beta/models", "pageSize=1000") == (listed.method, listed.path, listed.query)


def test_the_next_turn_carries_the_signature(server: ScriptedServer) -> None:
    """
    A call's thought signature comes back with the call when the conversation goes on.
    """
    call = {"functionCall": {"name": "weather", "args": {"at": "Rome"}}, "thoughtSignature": "c2ln"}
    first = said("", finishReason="STOP")
    first["candidates"][0]["content"]["parts"] = [call]
    server.answer(http_response(200, first), http_response(200, said("Sunny.", finishReason="STOP")))
    messages: list[Any] = [{"role": "user", "content": "Rome?"}]

    with Gateway(config(server)) as gateway:
        reply = gateway.chat("fast", messages)
        result = {"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "sun"}
        gateway.chat("fast", [*messages, reply.message, result])

    assert [
        {"role": "user", "parts": [{"text": "Rome?"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "sun"}}}]},
    ] == server.requests[1].json()["contents"]


@pytest.mark.parametrize("kind", ["google", "gemini"])
@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_needs_nothing_but_a_key(kind: str, variable: str) -> None:
    """
    Either name is a section by itself, and either variable holds the key.
    """
    gateway = Gateway({"providers": {kind: {}}}, environ={variable: KEY})

    assert KEY not in repr(gateway)
    assert ("https://generativelanguage.googleapis.com:443", "/v1beta") == Gemini(api_key=KEY).place()
    gateway.close()


def test_vertex_asks_for_its_token_when_it_sends(server: ScriptedServer) -> None:
    """
    Each request carries the token that the function returns by then; embeddings are asked of `predict`.
    """
    tokens = iter(["one", "two"])
    server.answer(http_response(200, said("hi", finishReason="STOP")))
    server.answer(
        http_response(200, {"predictions": [{"embeddings": {"values": [1], "statistics": {"token_count": 3}}}]})
    )

    with VertexAI(base_url=f"{server.origin}/v1/p", token=lambda: next(tokens)) as vertex:
        reply = vertex.chat("gemini-2.5-flash", "hello")
        answer = vertex.embed("text-embedding-005", "a", dimensions=1)

    assert ("hi", [[1]], 3) == (reply.text, answer.vectors, answer.usage.input_tokens)
    assert ["Bearer one", "Bearer two"] == [request.headers["authorization"] for request in server.requests]
    assert ["/v1/p/models/gemini-2.5-flash:generateContent", "/v1/p/models/text-embedding-005:predict"] == [
        request.path for request in server.requests
    ]
    assert {"instances": [{"content": "a"}], "parameters": {"outputDimensionality": 1}} == server.requests[1].json()


def test_vertex_without_a_token_says_so(server: ScriptedServer) -> None:
    """
    A function that fails is a failed authentication, without a request; no function and no key is a wrong configuration.
    """

    def ask() -> str:
        raise OSError("the metadata server is away")

    with (
        VertexAI(base_url=f"{server.origin}/v1", token=ask) as vertex,
        pytest.raises(AuthenticationFailed, match="OSError"),
    ):
        vertex.chat("gemini-2.5-flash", "hello")
    with pytest.raises(ConfigError, match="give token"):
        VertexAI(project="p").credentials()

    assert [] == server.requests


@pytest.mark.parametrize(
    ("location", "host"),
    [("global", "aiplatform.googleapis.com"), ("europe-west4", "europe-west4-aiplatform.googleapis.com")],
)
def test_vertex_stands_in_its_region(location: str, host: str) -> None:
    """
    The address follows from project and location, and without a project there is none.
    """
    vertex = VertexAI(project="p-1", location=location, api_key="ya29.token")
    path = f"/v1/projects/p-1/locations/{location}/publishers/google"

    assert (f"https://{host}:443", path) == vertex.place()
    with pytest.raises(ConfigError, match="project is missing"):
        VertexAI(api_key="ya29.token").place()


def test_claude_on_vertex_is_asked_as_anthropic_asks(colour: Colour, server: ScriptedServer) -> None:
    """
    A `claude-…` goes below Anthropic's publisher, in Anthropic's format, with Google's token; a stream as well.
    """
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 3, "output_tokens": 1},
    }  # fmt: skip
    server.answer(http_response(200, message))
    vertex = {
        "kind": "vertex",
        "api_key": KEY,
        "base_url": f"{server.origin}/v1/projects/p/locations/l/publishers/google",
    }
    gateway = colour.gateway(
        {"providers": {"v": vertex}, "routes": {"fast": ["v/claude-sonnet-4-5@20250929"]}, "retry": {"max_attempts": 1}}
    )

    reply = colour.chat(gateway, "fast", "hello")

    assert ("hi", "stop", 3) == (reply.text, reply.finish_reason, reply.usage.input_tokens)
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
    assert path == server.requests[0].path
    assert f"Bearer {KEY}" == server.requests[0].headers["authorization"]
    assert "vertex-2023-10-16" == server.requests[0].json()["anthropic_version"]
    assert "model" not in server.requests[0].json()


def test_interactions_are_asked_for_where_they_are(colour: Colour, server: ScriptedServer) -> None:
    """
    With `api: interactions` a chat is one step of an interaction, whole and as a stream, with the same key.
    """
    whole = {
        "id": "v1_1", "status": "completed", "model": "gemini-3-flash", "usage": {"total_input_tokens": 4},
        "steps": [{"type": "model_output", "content": [{"type": "text", "text": "hi"}]}],
    }  # fmt: skip
    events = [
        {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "hi"}},
        {"event_type": "interaction.completed", "interaction": {"id": "v1_1", "status": "incomplete"}},
    ]
    server.answer(http_response(200, whole), http_stream([sse(event) for event in events]))
    options = config(server)
    options["providers"]["google"] |= {"kind": "gemini", "api": "interactions"}
    gateway = colour.gateway(options)

    reply = colour.chat(gateway, "fast", "hello", store=False)
    stream, _ = colour.read(gateway, "fast", "hello")

    assert ("hi", "stop", 4) == (reply.text, reply.finish_reason, reply.usage.input_tokens)
    assert ("hi", "length") == (stream.response.text, stream.response.finish_reason)
    assert [("/v1beta/interactions", ""), ("/v1beta/interactions", "alt=sse")] == [
        (request.path, request.query) for request in server.requests
    ]
    assert {KEY} == {request.headers["x-goog-api-key"] for request in server.requests}
    said_first = {"type": "user_input", "content": [{"type": "text", "text": "hello"}]}
    assert {"model": "gemini-2.5-flash", "input": [said_first], "store": False} == server.requests[0].json()
