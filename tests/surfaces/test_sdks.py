"""Other people's packages, unmodified, on top of a gateway: each is answered by upstreams of other formats than its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from llmgate import Gateway
from llmgate.testing import (
    Close,
    ScriptedServer,
    anthropic_message,
    anthropic_stream,
    chat,
    embeddings,
    error,
    http_response,
    http_stream,
    sse,
    stream,
)
from llmgate.types.response import ToolCall
from tests.conftest import Colour
from tests.surfaces.sdks import HELLO, KEY, anthropic_on, client_of, config, openai_on

CALL = ToolCall("call_1", "weather", '{"city":"Oslo"}')
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def texts(events: Any) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


class TestOpenAI:
    def test_is_answered_by_anthropic(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A chat completion out of a message: text, tools, reason and counts, whole and in a stream.
        """
        server.answer(
            anthropic_message("hi", tool_calls=[CALL]),
            anthropic_stream(["h", "i"]),
        )
        completions = openai_on(colour, colour.gateway(config(server, "anthropic"))).chat.completions

        whole = colour.do(completions.create(model="fast", messages=HELLO, tools=[FUNCTION], max_tokens=9))
        events = colour.do(completions.create(model="fast", messages=HELLO, max_tokens=9, stream=True))

        made = whole.choices[0].message
        assert ("hi", "tool_calls", "weather", {"city": "Oslo"}) == (
            made.content,
            whole.choices[0].finish_reason,
            made.tool_calls[0].function.name,
            json.loads(made.tool_calls[0].function.arguments),
        )
        assert "hi" == texts(events)
        sent = server.requests[0]
        assert ("/v1/messages", KEY, 9, SCHEMA) == (
            sent.path,
            sent.headers["x-api-key"],
            sent.json()["max_tokens"],
            sent.json()["tools"][0]["input_schema"],
        )

    def test_is_answered_by_gemini(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A chat completion out of Google's candidates, whole and in a stream.
        """
        server.answer(http_response(200, gemini("hi")), http_stream([sse(gemini("h", None)), sse(gemini("i"))]))
        completions = openai_on(colour, colour.gateway(config(server, "gemini"))).chat.completions

        whole = colour.do(completions.create(model="fast", messages=HELLO))
        events = colour.do(completions.create(model="fast", messages=HELLO, stream=True))

        assert ("hi", "stop", 3) == (
            whole.choices[0].message.content,
            whole.choices[0].finish_reason,
            whole.usage.prompt_tokens,
        )
        assert "hi" == texts(events)
        assert ["/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent"] == [
            request.path for request in server.requests
        ]

    def test_is_answered_by_itself_word_for_word(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Within one format nothing is lost: what nobody here knows goes out, and comes back byte for byte.
        """
        known = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        message = {"role": "assistant", "content": "hi", "brand_new": {"deep": [1, None]}}
        choices = [{"index": 0, "message": message, "finish_reason": "stop", "shiny": 1}]
        body = json.dumps({**known, "service_tier": "odd", "choices": choices}, indent=3).encode()
        server.answer(http_response(200, body, content_type="application/json"))
        client = openai_on(colour, colour.gateway(config(server)))

        answer = colour.do(
            client.chat.completions.with_raw_response.create(
                model="fast", messages=HELLO, extra_body={"brand_new": {"deep": [1, None]}}
            )
        )

        assert body == answer.content
        assert {"deep": [1, None]} == server.requests[0].json()["brand_new"]


def gemini(text: str, reason: str | None = "STOP") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m", "responseId": "r"}


class TestAnthropic:
    def test_is_answered_by_openai(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A message out of a chat completion: text, tools, reason and counts, whole and in a stream.
        """
        server.answer(chat("hi", tool_calls=[CALL]), stream(["h", "i"]))
        messages = anthropic_on(colour, colour.gateway(config(server))).messages

        whole = colour.do(
            messages.create(
                model="fast",
                max_tokens=9,
                messages=HELLO,
                tools=[{"name": "weather", "input_schema": SCHEMA}],
                system="Be brief.",
            )
        )
        events = colour.do(messages.create(model="fast", max_tokens=9, messages=HELLO, stream=True))

        assert ["text", "tool_use"] == [block.type for block in whole.content]
        assert ("hi", {"city": "Oslo"}, "tool_use", 12) == (
            whole.content[0].text,
            whole.content[1].input,
            whole.stop_reason,
            whole.usage.output_tokens,
        )
        assert "hi" == "".join(event.delta.text for event in events if event.type == "content_block_delta")
        assert ("message_start", "message_stop") == (events[0].type, events[-1].type)
        assert {"role": "system", "content": "Be brief."} == server.requests[0].json()["messages"][0]

    def test_keeps_its_betas(self, colour: Colour, server: ScriptedServer) -> None:
        """
        To an upstream of its own format a client's betas and bodies go as they are.
        """
        server.answer(anthropic_message("hi"))
        client = anthropic_on(colour, colour.gateway(config(server, "anthropic")))

        colour.do(
            client.beta.messages.create(
                model="fast", max_tokens=9, messages=HELLO, betas=["shiny-2026"], extra_body={"shiny": {"a": 1}}
            )
        )

        sent = server.requests[0]
        assert ("shiny-2026", {"a": 1}, "m") == (
            sent.headers["anthropic-beta"],
            sent.json()["shiny"],
            sent.json()["model"],
        )

    def test_its_stream_helper(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The SDK's own accumulation of a stream works on an answer of another format.
        """
        server.answer(stream(["h", "i"], tool_calls=[CALL]))
        client = anthropic_on(colour, colour.gateway(config(server)))

        message = colour.do(_final(colour, client))

        assert ["text", "tool_use"] == [block.type for block in message.content]
        assert {"city": "Oslo"} == message.content[1].input

    @pytest.mark.parametrize("upstream", ["anthropic", "openai-compatible"])
    def test_a_cut_stream_raises(self, colour: Colour, server: ScriptedServer, upstream: str) -> None:
        """
        A stream that broke off raises the SDK's own exception, whoever the upstream is.
        """
        make = anthropic_stream if upstream == "anthropic" else stream
        server.answer(make(["one", "two"], cut_after=2, ending=Close()))
        client = anthropic_on(colour, colour.gateway(config(server, upstream)))

        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            colour.do(client.messages.create(model="fast", max_tokens=9, messages=HELLO, stream=True))


def _final(colour: Colour, client: Any) -> Any:
    if colour.blocking:
        with client.messages.stream(model="fast", max_tokens=9, messages=HELLO) as events:
            return events.get_final_message()

    async def final() -> Any:
        async with client.messages.stream(model="fast", max_tokens=9, messages=HELLO) as events:
            return await events.get_final_message()

    return final()


class TestGemini:
    @pytest.fixture
    def models(self, colour: Colour, server: ScriptedServer) -> Any:
        genai = pytest.importorskip("google.genai")
        gateway = colour.gateway(config(server))
        client = genai.Client(
            api_key="unused",
            http_options=genai.types.HttpOptions(
                base_url="http://llmgate",
                httpx_client=gateway.http_client(),
                httpx_async_client=gateway.aio.http_client(),
            ),
        )
        return client.models if colour.blocking else client.aio.models

    def test_is_answered_by_openai(self, colour: Colour, server: ScriptedServer, models: Any) -> None:
        """
        Google's candidates out of a chat completion, whole and in a stream; vectors, too.
        """
        server.answer(chat("hi"), stream(["h", "i"]), embeddings([[0.5, 1.0]]))

        whole = colour.do(models.generate_content(model="fast", contents="hello"))
        pieces = colour.do(models.generate_content_stream(model="up/other", contents="hello"))
        vectors = colour.do(models.embed_content(model="fast", contents="hello"))

        assert ("hi", 12) == (whole.text, whole.usage_metadata.candidates_token_count)
        assert "hi" == "".join(piece.text or "" for piece in pieces)
        assert [0.5, 1.0] == vectors.embeddings[0].values
        assert ["m", "other", "m"] == [request.json()["model"] for request in server.requests]
        assert "unused" not in repr([request.headers for request in server.requests])

    def test_raises_its_own(self, colour: Colour, server: ScriptedServer, models: Any) -> None:
        """
        Errors and broken streams are Google's own exceptions.
        """
        errors = pytest.importorskip("google.genai.errors")
        server.answer(stream(["one", "two"], cut_after=1, ending=Close()), error(401))

        with pytest.raises(errors.APIError, match="broke off"):
            colour.do(models.generate_content_stream(model="fast", contents="hello"))
        with pytest.raises(errors.ClientError) as caught:
            colour.do(models.generate_content(model="fast", contents="hello"))

        assert (401, "UNAUTHENTICATED") == (caught.value.code, caught.value.status)

    def test_a_key_in_the_address_leaves_it(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A plain HTTP caller may write its key into the address; it goes on in a header.
        """
        server.always(http_response(200, gemini("hi")))
        client = client_of(colour, colour.gateway({"retry": {"max_attempts": 1}}))
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}

        for path in ("models/g:generateContent", "files", "interactions"):
            colour.do(client.post(f"{server.origin}/v1beta/{path}?key={KEY}&a=1", json=body))

        assert [(KEY, "a=1", body)] * 3 == [
            (sent.headers["x-goog-api-key"], sent.query, sent.json()) for sent in server.requests
        ]


class TestOthers:
    @pytest.fixture
    def gateway(self, colour: Colour, server: ScriptedServer) -> Iterator[Gateway]:
        yield colour.gateway(config(server))

    def test_groq(self, colour: Colour, server: ScriptedServer, gateway: Gateway) -> None:
        """
        It stands on httpx, and raises its own exceptions, of a broken stream, too.
        """
        groq = pytest.importorskip("groq")
        server.answer(chat("hi"), stream(["one", "two"], cut_after=1, ending=Close()), error(401))
        make = groq.Groq if colour.blocking else groq.AsyncGroq
        client = make(api_key="unused", base_url="http://llmgate", http_client=client_of(colour, gateway, "httpx"))

        answer = colour.do(client.chat.completions.create(model="fast", messages=HELLO))
        with pytest.raises(groq.APIError, match="broke off"):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True))
        with pytest.raises(groq.AuthenticationError):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO))

        assert "hi" == answer.choices[0].message.content
        assert 3 == len(server.requests)

    def test_cohere(self, colour: Colour, server: ScriptedServer, gateway: Gateway) -> None:
        """
        Version 2 of its chat and its embeddings, whole and in a stream.
        """
        cohere = pytest.importorskip("cohere")
        server.answer(chat("hi"), stream(["h", "i"]), stream(["one", "two"], cut_after=1, ending=Close()))
        make = cohere.ClientV2 if colour.blocking else cohere.AsyncClientV2
        client = make(api_key="unused", base_url="http://llmgate", httpx_client=client_of(colour, gateway, "httpx"))
        answer = colour.do(client.chat(model="fast", messages=HELLO))
        events = colour.do(client.chat_stream(model="fast", messages=HELLO))
        with pytest.raises(Exception, match="broke off"):
            colour.do(client.chat_stream(model="fast", messages=HELLO))

        assert "hi" == answer.message.content[0].text
        assert "hi" == "".join(event.delta.message.content.text for event in events if event.type == "content-delta")
        assert "message-end" == events[-1].type

    def test_mistral(self, colour: Colour, server: ScriptedServer, gateway: Gateway) -> None:
        """
        It speaks OpenAI's format at paths of its own, and stands on httpx2.
        """
        mistral = pytest.importorskip("mistralai.client")
        server.answer(chat("hi"), stream(["h", "i"]), error(401))
        client = mistral.Mistral(
            api_key="unused",
            server_url="http://llmgate",
            client=gateway.http_client(),
            async_client=gateway.aio.http_client(),
        )
        complete = client.chat.complete if colour.blocking else client.chat.complete_async
        streaming = client.chat.stream if colour.blocking else client.chat.stream_async

        answer = colour.do(complete(model="fast", messages=HELLO))
        events = colour.do(streaming(model="fast", messages=HELLO))
        with pytest.raises(Exception, match="scripted error 401") as caught:
            colour.do(complete(model="fast", messages=HELLO))

        assert "hi" == answer.choices[0].message.content
        assert "hi" == "".join(event.data.choices[0].delta.content or "" for event in events if event.data.choices)
        assert 401 == caught.value.status_code  # type: ignore[attr-defined]

    def test_ollama(self, colour: Colour, server: ScriptedServer, gateway: Gateway) -> None:
        """
        It takes a transport, streams lines of JSON, and lists every name of the gateway.
        """
        ollama = pytest.importorskip("ollama")
        server.answer(chat("hi"), stream(["h", "i"]), embeddings([[0.5, 1.0]]), error(404))
        make = ollama.Client if colour.blocking else ollama.AsyncClient
        client = make(host="http://llmgate", transport=gateway.transport("httpx"))

        answer = colour.do(client.chat(model="fast", messages=HELLO))
        events = colour.do(client.chat(model="fast", messages=HELLO, stream=True))
        vectors = colour.do(client.embed(model="fast", input="hello"))
        with pytest.raises(ollama.ResponseError, match="scripted error 404") as caught:
            colour.do(client.chat(model="fast", messages=HELLO))
        offered = colour.do(client.list())

        assert ("hi", True) == (answer.message.content, answer.done)
        assert "hi" == "".join(event.message.content for event in events)
        assert [[0.5, 1.0]] == [list(vector) for vector in vectors.embeddings]
        assert 404 == caught.value.status_code
        assert "fast" == offered.models[0].model

    def test_ollama_with_a_cut_stream(self, colour: Colour, server: ScriptedServer, gateway: Gateway) -> None:
        """
        A stream of lines that broke off raises.
        """
        ollama = pytest.importorskip("ollama")
        server.answer(stream(["one", "two"], cut_after=1, ending=Close()))
        make = ollama.Client if colour.blocking else ollama.AsyncClient
        client = make(host="http://llmgate", transport=gateway.transport("httpx"))

        with pytest.raises(ollama.ResponseError, match="broke off"):
            colour.do(client.chat(model="fast", messages=HELLO, stream=True))
