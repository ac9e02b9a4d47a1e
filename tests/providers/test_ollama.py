"""Ollama's own API behind HTTP: what goes to which address, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate import Gateway
from llmgate.config.kinds import provider_class
from llmgate.errors import ModelNotFound, StreamInterrupted
from llmgate.providers.ollama import Ollama
from llmgate.providers.openai import OpenAICompatible
from llmgate.testing import ScriptedServer, http_response, http_stream
from tests.conftest import Colour


def said(text: str, done: bool = True, **message: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"model": "qwen3", "created_at": "2026-11-20T10:00:00.5Z"}
    out["message"] = {"role": "assistant", "content": text} | message
    counts = {"done_reason": "stop", "prompt_eval_count": 4, "eval_count": 2} if done else {}
    return out | {"done": done} | counts


def lines(*events: dict[str, Any]) -> list[bytes]:
    return [json.dumps(event).encode() + b"\n" for event in events]


def config(server: ScriptedServer, **more: Any) -> dict[str, Any]:
    return {
        "providers": {"local": {"kind": "ollama-native", "base_url": server.origin} | more},
        "routes": {"fast": ["local/qwen3"]},
        "retry": {"base_delay": 0, "max_delay": 0, "max_attempts": 2},
    }


def test_asks_its_own_chat(colour: Colour, server: ScriptedServer) -> None:
    """
    A chat goes to /api/chat without a key, with its parameters among the options, and says that it wants no stream.
    """
    server.answer(http_response(200, said("hi", thinking="well")))

    reply = colour.chat(colour.gateway(config(server)), "fast", "hello", max_tokens=9, options={"num_ctx": 8192})

    assert ("hi", "well", "stop", 4, 2) == (
        reply.text,
        reply.reasoning,
        reply.finish_reason,
        reply.usage.input_tokens,
        reply.usage.output_tokens,
    )
    [request] = server.requests
    assert ("POST", "/api/chat") == (request.method, request.path)
    assert "authorization" not in request.headers
    assert {
        "model": "qwen3",
        "stream": False,
        "messages": [{"role": "user", "content": "hello"}],
        "options": {"num_predict": 9, "num_ctx": 8192},
    } == request.json()


def test_streams_lines(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream comes line by line, as it is sent.
    """
    server.answer(http_stream(lines(said("Hel", done=False), said("lo", done=False), said(""))))

    stream, chunks = colour.read(colour.gateway(config(server)), "fast", "hello")

    assert ["Hel", "lo"] == [chunk.text for chunk in chunks if chunk.text]
    assert ("Hello", "stop", 2) == (
        stream.response.text,
        stream.response.finish_reason,
        stream.response.usage.output_tokens,
    )
    assert server.requests[0].json()["stream"] is True


def test_a_stream_without_its_end_is_no_answer(colour: Colour, server: ScriptedServer) -> None:
    """
    A stream that ends before `done` is an error and no short answer.
    """
    server.answer(http_stream(lines(said("Hel", done=False))))

    with pytest.raises(StreamInterrupted):
        colour.read(colour.gateway(config(server)), "fast", "hello")


def test_an_error_in_place_of_a_stream_is_repaired(colour: Colour, server: ScriptedServer) -> None:
    """
    An error in the first line is an error of the attempt, and another attempt repairs it.
    """
    server.answer(http_stream(lines({"error": "server busy, please try again"})))
    server.answer(http_stream(lines(said("hi"))))

    stream, _ = colour.read(colour.gateway(config(server)), "fast", "hello")

    assert "hi" == stream.response.text
    assert ["overloaded", "ok"] == [attempt.outcome for attempt in stream.response.attempts]


def test_a_model_that_is_not_installed_is_not_found(colour: Colour, server: ScriptedServer) -> None:
    """
    A model that nobody pulled is asked for once.
    """
    server.answer(http_response(404, {"error": 'model "qwen3" not found, try pulling it first'}))

    with pytest.raises(ModelNotFound):
        colour.chat(colour.gateway(config(server)))

    assert 1 == len(server.requests)


def test_completes_embeds_and_lists(colour: Colour, server: ScriptedServer) -> None:
    """
    A prompt goes to /api/generate, texts to /api/embed, and what is installed comes from /api/tags.
    """
    server.answer(http_response(200, {"model": "qwen3", "response": "4", "done": True, "done_reason": "length"}))
    server.answer(http_response(200, {"model": "e", "embeddings": [[0.5, 1], [2, 3]], "prompt_eval_count": 7}))
    server.answer(http_response(200, {"models": [{"name": "qwen3:4b", "model": "qwen3:4b"}]}))
    gateway = colour.gateway(config(server))

    reply = colour.ask(gateway, "complete", "local/qwen3", "2+2=", raw=True)
    answer = colour.ask(gateway, "embed", "local/e", ["a", "b"])
    models = colour.ask(gateway, "models")

    assert ("4", "length") == (reply.text, reply.finish_reason)
    assert ([[0.5, 1], [2, 3]], 7) == (answer.vectors, answer.usage.input_tokens)
    assert ["qwen3:4b"] == [model.id for model in models]
    assert ["/api/generate", "/api/embed", "/api/tags"] == [request.path for request in server.requests]
    assert {"model": "qwen3", "stream": False, "prompt": "2+2=", "raw": True} == server.requests[0].json()


def test_calls_without_ids_find_their_results(server: ScriptedServer) -> None:
    """
    Two calls of one tool without ids are told apart by ours, and Ollama is told the tool and no id of ours.
    """
    calls = [{"function": {"name": "weather", "arguments": {"at": at}}} for at in ("Rome", "Oslo")]
    server.answer(http_response(200, said("", tool_calls=calls)), http_response(200, said("Sunny.")))
    messages: list[Any] = [{"role": "user", "content": "Rome? Oslo?"}]

    with Gateway(config(server)) as gateway:
        reply = gateway.chat("fast", messages)
        results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in reply.tool_calls]
        gateway.chat("fast", [*messages, reply.message, *results])

    assert "tool_calls" == reply.finish_reason
    assert 2 == len({call.id for call in reply.tool_calls})
    assert [
        *messages,
        {"role": "assistant", "content": "", "tool_calls": calls},
        *[{"role": "tool", "content": "sun", "tool_name": "weather"}] * 2,
    ] == server.requests[1].json()["messages"]


def test_its_cloud_wants_a_key(server: ScriptedServer) -> None:
    """
    A key that is given is sent, and none is looked for.
    """
    server.answer(http_response(200, said("hi")))

    with Gateway(config(server, api_key="a-key-of-a-test"), environ={}) as gateway:
        gateway.chat("fast", "hello")

    assert "Bearer a-key-of-a-test" == server.requests[0].headers["authorization"]


@pytest.mark.parametrize("kind", ["ollama-native", "ollama_native"])
def test_needs_nothing_at_all(kind: str) -> None:
    """
    Without any option it is the server of this machine; the kind `ollama` stays the compatible one.
    """
    Gateway({"providers": {kind: {}}}, environ={}).close()

    assert Ollama is provider_class(kind)[0]
    assert OpenAICompatible is provider_class("ollama")[0]
    assert ("http://127.0.0.1:11434", "") == Ollama().place()
