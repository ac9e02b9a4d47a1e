"""Cohere behind HTTP: what goes to which address, with which key, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from llmgate import Gateway
from llmgate.errors import AuthenticationFailed, QuotaExhausted, RateLimited, StreamInterrupted
from llmgate.providers.cohere import Cohere
from llmgate.testing import ScriptedServer, http_response, http_stream, sse
from tests.conftest import Colour

KEY = "co-a-key-of-a-test"


def said(text: str, **more: Any) -> dict[str, Any]:
    usage = {
        "billed_units": {"input_tokens": 1, "output_tokens": 2},
        "tokens": {"input_tokens": 40, "output_tokens": 3},
    }
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"id": "c1", "finish_reason": "COMPLETE", "message": message, "usage": usage} | more


def pieces(*texts: str, end: bool = True) -> list[bytes]:
    events: list[dict[str, Any]] = [{"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}}]
    for text in texts:
        events.append({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}})
    if end:
        events.append({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {}}})
    return [sse(event) for event in events]


def config(server: ScriptedServer) -> dict[str, Any]:
    return {
        "providers": {"cohere": {"base_url": server.origin, "api_key": KEY}},
        "routes": {"fast": ["cohere/command-a-03-2025"]},
        "retry": {"base_delay": 0, "max_delay": 0, "max_attempts": 2},
    }


def test_asks_chat(colour: Colour, server: ScriptedServer) -> None:
    """
    A chat goes to version 2, with the key as a bearer's token; what was read is counted, not what is billed.
    """
    server.answer(http_response(200, said("hi")))

    reply = colour.chat(colour.gateway(config(server)), "fast", "hello", top_p=0.5)

    assert ("hi", "stop", 40, 3) == (
        reply.text,
        reply.finish_reason,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )
    assert "cohere/command-a-03-2025" == reply.deployment
    [request] = server.requests
    assert ("POST", "/v2/chat", f"Bearer {KEY}") == (request.method, request.path, request.headers["authorization"])
    assert {
        "model": "command-a-03-2025",
        "messages": [{"role": "user", "content": "hello"}],
        "p": 0.5,
    } == request.json()


def test_streams(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream is asked for in the body, and its pieces come as they are sent.
    """
    server.answer(http_stream(pieces("Hel", "lo")))

    stream, chunks = colour.read(colour.gateway(config(server)), "fast", "hello")

    assert ["Hel", "lo"] == [chunk.text for chunk in chunks if chunk.text]
    assert ("Hello", "stop", "c1") == (stream.response.text, stream.response.finish_reason, stream.response.id)
    assert server.requests[0].json()["stream"] is True


def test_a_stream_without_its_end_is_no_answer(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream that ends without its last event is an error and no short answer.
    """
    server.answer(http_stream(pieces("Hel", end=False)))

    with pytest.raises(StreamInterrupted):
        colour.read(colour.gateway(config(server)), "fast", "hello")


def test_a_minute_is_waited_for_and_a_month_is_not(colour: Colour, server: ScriptedServer) -> None:
    """
    Calls a minute are a rate limit, and calls a month are used up.
    """
    sentence = "You are using a Trial key, which is limited to {} API calls / {}. You can upgrade."
    server.answer(
        http_response(429, {"message": sentence.format(20, "minute")}, headers={"retry-after": "3000"}),
        http_response(429, {"message": sentence.format(1000, "month")}),
    )

    with pytest.raises(RateLimited) as throttled:
        colour.chat(colour.gateway(config(server)), timeout=5)
    with pytest.raises(QuotaExhausted):
        colour.chat(colour.gateway(config(server)), timeout=5)

    assert 3000 == throttled.value.retry_after
    assert 2 == len(server.requests)


def test_an_unknown_key_is_a_matter_of_the_key(colour: Colour, server: ScriptedServer) -> None:
    """
    A key that Cohere does not know is asked with once, and is not shown.
    """
    server.answer(http_response(401, {"id": "e1", "message": f"invalid api token {KEY}"}))

    with pytest.raises(AuthenticationFailed) as caught:
        colour.chat(colour.gateway(config(server)))

    assert 401 == caught.value.status
    assert KEY not in str(caught.value)
    assert 1 == len(server.requests)


def test_embeds_lists_and_reranks(colour: Colour, server: ScriptedServer) -> None:
    """
    Embeddings name what they are for, models have their window, and reranking passes as it is.
    """
    billed = {"billed_units": {"input_tokens": 4}}
    server.answer(http_response(200, {"id": "e", "embeddings": {"float": [[0.5, 1], [2, 3]]}, "meta": billed}))
    server.answer(http_response(200, {"models": [{"name": "command-x", "context_length": 7.0}]}))
    server.answer(http_response(200, {"results": [{"index": 0, "relevance_score": 0.5}]}))
    gateway = colour.gateway(config(server))

    answer = colour.ask(gateway, "embed", "cohere/embed-v4.0", ["a", "b"], dimensions=2, input_type="search_query")
    models = colour.ask(gateway, "models")
    ranked = colour.ask(gateway, "request", "cohere", "POST", "/v2/rerank", json={"model": "r", "query": "q"})

    assert ([[0.5, 1], [2, 3]], 4) == (answer.vectors, answer.usage.input_tokens)
    assert [("command-x", 7)] == [(model.id, model.context_window) for model in models]
    assert [{"index": 0, "relevance_score": 0.5}] == ranked.json()["results"]
    embedded, listed, reranked = server.requests
    assert ("/v2/embed", "/v1/models", "page_size=1000", "/v2/rerank") == (
        embedded.path,
        listed.path,
        listed.query,
        reranked.path,
    )
    assert {
        "model": "embed-v4.0",
        "texts": ["a", "b"],
        "input_type": "search_query",
        "output_dimension": 2,
        "embedding_types": ["float"],
    } == embedded.json()


def test_the_next_turn_carries_the_plan(server: ScriptedServer) -> None:
    """
    The plan of a turn with calls comes back when the conversation goes on.
    """
    call = {"id": "w1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Rome"}'}}
    message = {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [call]}
    server.answer(http_response(200, said("", message=message, finish_reason="TOOL_CALL")))
    server.answer(http_response(200, said("Sunny.")))
    messages: list[Any] = [{"role": "user", "content": "Rome?"}]

    with Gateway(config(server)) as gateway:
        reply = gateway.chat("fast", messages)
        result = {"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "sun"}
        gateway.chat("fast", [*messages, reply.message, result])

    assert "tool_calls" == reply.finish_reason
    assert [*messages, message | {"content": None}, result] == server.requests[1].json()["messages"]


@pytest.mark.parametrize("variable", ["COHERE_API_KEY", "CO_API_KEY"])
def test_needs_nothing_but_a_key(variable: str) -> None:
    """
    Either variable holds the key.
    """
    gateway = Gateway({"providers": {"cohere": {}}}, environ={variable: KEY})

    assert KEY not in repr(gateway)
    assert ("https://api.cohere.com:443", "") == Cohere(api_key=KEY).place()
    gateway.close()
