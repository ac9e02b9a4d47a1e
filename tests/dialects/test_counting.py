"""Counting a chat's tokens: everywhere the chat itself, without what only an answer needs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.errors import BadRequest, ProtocolError
from llmgate.types.media import TokenCount
from llmgate.types.request import Request
from llmgate.types.wire import dumps

from .corpus import PLAIN

VERTEX = Quirks(paths={"embed": "/models/{model}:predict"})
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CHAT: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "hi"}],
    "tools": TOOLS, "temperature": 0.5, "max_tokens": 100, "stop": ["x"],
}  # fmt: skip


def asked(model: str = "m", **more: Any) -> Request:
    body = CHAT | more
    return Request("count_tokens", model, body, False, dumps(body))


def written(dialect: str, request: Request, quirks: Quirks = PLAIN) -> tuple[str, dict[str, str], Any]:
    out = dialect_named(dialect).write_request(request, quirks)
    assert "POST" == out.method
    return out.path, dict(out.headers), json.loads(out.body)


class TestAnthropic:
    def test_counts_what_is_read(self) -> None:
        """
        Instructions, messages, tools and thinking are counted; limits, temperature and stops are not sent.
        """
        path, headers, body = written("anthropic_messages", asked(thinking={"type": "adaptive"}, betas=["b1"]))

        assert "/messages/count_tokens" == path
        assert "b1" == headers["anthropic-beta"] and headers["anthropic-version"]
        assert {"model", "system", "messages", "tools", "thinking"} == body.keys()

    def test_on_vertex_asks_a_model_that_counts(self) -> None:
        """
        The model stands in the body for once.
        """
        path, _, body = written("anthropic_vertex", asked("claude-sonnet-5"))

        assert "/models/count-tokens:rawPredict" == path
        assert ("claude-sonnet-5", "vertex-2023-10-16") == (body["model"], body["anthropic_version"])

    @pytest.mark.parametrize("dialect", ["anthropic_messages", "anthropic_vertex"])
    def test_of_callers_passes_as_it_came(self, dialect: str) -> None:
        """
        A caller's own request goes out with words that nobody knows.
        """
        data = {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "new": {"x": 1},
        }
        request = dialect_named("anthropic_messages").read_request("count_tokens", data)

        assert data == {
            name: value for name, value in written(dialect, request)[2].items() if name != "anthropic_version"
        }
        assert "count_tokens" == request.verb
        assert [{"role": "user", "content": "hi"}] == request.body["messages"]

    def test_answers_with_a_number(self) -> None:
        """
        It is read and written.
        """
        dialect = dialect_named("anthropic_messages")
        count = dialect.read_response(asked(), b'{"input_tokens": 14}', PLAIN)

        assert TokenCount(model="m", input_tokens=14) == count
        assert {"input_tokens": 14} == dialect.write_response(count)
        with pytest.raises(ProtocolError):
            dialect.read_response(asked(), b'{"content": []}', PLAIN)


def test_of_callers_of_responses_passes_as_it_came() -> None:
    """
    A caller's own request to be counted goes out with words that nobody knows.
    """
    data = {"model": "m", "input": "hi", "instructions": "Be terse.", "new": {"x": 1}}
    request = dialect_named("openai_responses").read_request("count_tokens", data)

    assert ("/responses/input_tokens", {}, data) == written("openai_responses", request)
    assert ["system", "user"] == [message["role"] for message in request.body["messages"]]


class TestGemini:
    def test_counts_a_whole_request(self) -> None:
        """
        The Gemini API is asked about all of it, which names its model again.
        """
        path, _, body = written("gemini", asked("gemini-3"))
        inner = body.pop("generateContentRequest")

        assert ("/models/gemini-3:countTokens", {}) == (path, body)
        assert "models/gemini-3" == inner["model"]
        assert {"contents", "systemInstruction", "tools"} <= inner.keys()

    def test_on_vertex_counts_parts_of_one(self) -> None:
        """
        Vertex AI takes them beside one another, and knows no such wrapping.
        """
        path, _, body = written("gemini", asked("gemini-3", safetySettings=[]), VERTEX)

        assert "/models/gemini-3:countTokens" == path
        assert {"contents", "systemInstruction", "tools", "generationConfig"} == body.keys()

    @pytest.mark.parametrize(
        "data",
        [
            {"contents": [{"parts": [{"text": "hi"}]}], "new": 1},
            {"generateContentRequest": {"model": "models/m", "contents": [{"parts": [{"text": "hi"}]}]}},
        ],
    )
    def test_of_callers_passes_as_it_came(self, data: dict[str, Any]) -> None:
        """
        Either way of asking goes out as it was, and is a chat to everybody else.
        """
        request = dialect_named("gemini").read_request("count_tokens", data)

        assert data == written("gemini", request.to("m"))[2]
        assert [{"role": "user", "content": "hi"}] == request.body["messages"]

    def test_of_callers_is_told_as_the_upstream_wants_it(self) -> None:
        """
        The Gemini API wraps what Vertex AI lays side by side.
        """
        contents, system = [{"parts": [{"text": "hi"}]}], {"parts": [{"text": "Be terse."}]}
        read = dialect_named("gemini").read_request
        wrapped = {"generateContentRequest": {"model": "models/m", "contents": contents, "systemInstruction": system}}
        plain = {"contents": contents, "systemInstruction": system}

        assert plain == written("gemini", read("count_tokens", wrapped).to("m"), VERTEX)[2]
        assert wrapped == written("gemini", read("count_tokens", plain).to("m"))[2]
        assert plain == written("gemini", read("count_tokens", plain).to("m"), VERTEX)[2]
        other = wrapped["generateContentRequest"] | {"model": "models/n"}
        assert {"generateContentRequest": other} == written("gemini", read("count_tokens", wrapped).to("n"))[2]

    def test_answers_with_a_number(self) -> None:
        """
        It is read and written.
        """
        dialect = dialect_named("gemini")
        count = dialect.read_response(asked(), b'{"totalTokens": 14, "promptTokensDetails": []}', PLAIN)

        assert TokenCount(model="m", input_tokens=14) == count
        assert {"totalTokens": 14} == dialect.write_response(count)
        with pytest.raises(ProtocolError):
            dialect.read_response(asked(), b'{"candidates": []}', PLAIN)


class TestBedrock:
    def test_counts_a_chat(self) -> None:
        """
        Messages, instructions and tools of a Converse request are counted, below the model's own path.
        """
        path, _, body = written("bedrock", asked("anthropic.claude:0"))

        assert "/model/anthropic.claude%3A0/count-tokens" == path
        assert {"messages", "system", "toolConfig"} == body["input"]["converse"].keys()

    def test_of_callers_is_a_chat(self) -> None:
        """
        What a caller wants counted in Converse's words is read as the chat that it is.
        """
        data = {"modelId": "m", "input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}}
        request = dialect_named("bedrock").read_request("count_tokens", data)

        assert {"input": data["input"]} == written("bedrock", request)[2]
        assert ("m", [{"role": "user", "content": "hi"}]) == (request.model, request.body["messages"])
        assert {"input": data["input"]} == written("bedrock", request.but())[2]
        with pytest.raises(BadRequest):
            _ = dialect_named("bedrock").read_request("count_tokens", {"input": {"invokeModel": {"body": "x"}}}).body

    def test_answers_with_a_number(self) -> None:
        """
        It is read and written.
        """
        dialect = dialect_named("bedrock")
        count = dialect.read_response(asked(), b'{"inputTokens": 14}', PLAIN)

        assert TokenCount(model="m", input_tokens=14) == count
        assert {"inputTokens": 14} == dialect.write_response(count)
        with pytest.raises(ProtocolError):
            dialect.read_response(asked(), b'{"x": 1}', PLAIN)


@pytest.mark.parametrize("dialect", ["cohere", "ollama", "openai_chat"])
def test_who_cannot_count_says_so(dialect: str) -> None:
    """
    Nothing is estimated in an upstream's place.
    """
    assert "count_tokens" not in dialect_named(dialect).verbs
