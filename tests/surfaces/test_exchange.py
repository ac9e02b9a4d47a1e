"""What goes through the gateway beside chats: files, sound, images, counts, and formats at addresses of their own."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from llmgate.testing import (
    ScriptedServer,
    anthropic_message,
    anthropic_stream,
    chat,
    embeddings,
    http_response,
    stream,
)
from tests.conftest import Colour
from tests.surfaces.sdks import HELLO, KEY, anthropic_on, client_of, config, openai_on

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "


class TestMedia:
    def test_an_image(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Images are made by whoever the model names.
        """
        server.answer(http_response(200, {"created": 7, "data": [{"b64_json": PIXEL}], "novel": 1}))
        client = openai_on(colour, colour.gateway(config(server)))

        made = colour.do(client.images.generate(model="fast", prompt="a cat", size="1024x1024"))

        assert (PIXEL, 7, 1) == (made.data[0].b64_json, made.created, made.novel)
        assert {"model": "m", "prompt": "a cat", "size": "1024x1024"} == server.requests[0].json()

    def test_sound(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Speech comes back as bytes, with their type.
        """
        server.answer(http_response(200, b"ID3sound", content_type="audio/mpeg"))
        client = openai_on(colour, colour.gateway(config(server)))

        made = colour.do(client.audio.speech.create(model="fast", input="hello", voice="alloy"))

        assert (b"ID3sound", "audio/mpeg") == (made.content, made.response.headers["content-type"])
        assert {"model": "m", "input": "hello", "voice": "alloy"} == server.requests[0].json()

    @pytest.mark.parametrize("form", ["json", "text"])
    def test_a_transcript(self, colour: Colour, server: ScriptedServer, form: Any) -> None:
        """
        A recording goes up in its form for the route's model, and comes back as it was asked for.
        """
        body: Any = {"text": "hello"} if form == "json" else "hello"
        sort = "application/json" if form == "json" else "text/plain"
        server.answer(http_response(200, body, content_type=sort))
        client = openai_on(colour, colour.gateway(config(server)))

        made = colour.do(client.audio.transcriptions.create(model="fast", file=("a.wav", WAV), response_format=form))

        sent = server.requests[0].body
        assert "hello" == (made if form == "text" else made.text)
        assert WAV in sent
        assert b'name="model"\r\n\r\nm\r\n' in sent

    def test_judgements(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A moderation is a moderation.
        """
        result = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}
        server.answer(http_response(200, {"id": "modr-1", "model": "m", "results": [result]}))
        client = openai_on(colour, colour.gateway(config(server)))

        judged = colour.do(client.moderations.create(model="fast", input="hello"))

        assert judged.results[0].flagged

    def test_of_ones_own_are_not_touched(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A client's own upstream is sent a form byte for byte, boundary included, and answers as it likes.
        """
        server.answer(http_response(200, {"text": "hello"}), http_response(200, b"ID3", content_type="audio/odd"))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=KEY)

        colour.do(client.audio.transcriptions.create(model="whisper", file=("a.wav", WAV)))
        spoken = colour.do(client.audio.speech.create(model="tts", input="hello", voice="alloy"))

        first = server.requests[0]
        boundary = first.headers["content-type"].partition("boundary=")[2]
        assert first.body.startswith(f"--{boundary}".encode())
        assert "audio/odd" == spoken.response.headers["content-type"]

    def test_come_in_one_piece(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Where an answer would have to be put together of pieces that nobody reads, the pieces are refused by name.
        """
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.BadRequestError, match="stream: image"):
            colour.do(client.images.generate(model="fast", prompt="a cat", stream=True))

        assert [] == server.requests


def test_one_vector_for_one_text(colour: Colour, server: ScriptedServer) -> None:
    """
    Google has an address for a single text, and another answer there.
    """
    server.answer(embeddings([[0.5, 1.0]]))
    client = client_of(colour, colour.gateway(config(server)))
    body = {"content": {"parts": [{"text": "hello"}]}}

    answer = colour.do(client.post("http://llmgate/v1beta/models/fast:embedContent", json=body))

    assert {"embedding": {"values": [0.5, 1.0]}} == answer.json()


class TestCounts:
    def test_anthropics(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Tokens are counted by the model's own upstream.
        """
        server.answer(http_response(200, {"input_tokens": 14}))
        client = anthropic_on(colour, colour.gateway(config(server, "anthropic")))

        counted = colour.do(client.messages.count_tokens(model="fast", messages=HELLO))

        assert 14 == counted.input_tokens
        assert ("/v1/messages/count_tokens", "m") == (server.requests[0].path, server.requests[0].json()["model"])

    def test_responses(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Those of the Responses API, too, by an upstream of another format.
        """
        server.answer(http_response(200, {"input_tokens": 14}))
        client = openai_on(colour, colour.gateway(config(server, "anthropic")))

        counted = colour.do(client.responses.input_tokens.count(model="fast", input="hello"))

        assert 14 == counted.input_tokens


class TestVertex:
    """Google's addresses: the model stands in the path, and Anthropic's models among Google's."""

    BASE = "/v1/projects/p/locations/l/publishers"

    def test_claude_of_ones_own(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A body with Google's version in it goes to its own upstream as it is, whole and in a stream.
        """
        server.answer(anthropic_message("hi"), anthropic_stream(["h", "i"]))
        client = client_of(colour, colour.gateway())
        body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": HELLO}
        headers = {"authorization": f"Bearer {KEY}"}
        at = f"{server.origin}{self.BASE}/anthropic/models/claude-x@1"

        whole = colour.do(client.post(f"{at}:rawPredict", json=body, headers=headers))
        told = colour.do(client.post(f"{at}:streamRawPredict", json={**body, "stream": True}, headers=headers))

        assert "hi" == whole.json()["content"][0]["text"]
        assert "event: message_stop" in told.text
        assert body == server.requests[0].json()
        assert [f"{self.BASE}/anthropic/models/claude-x@1:{verb}" for verb in ("rawPredict", "streamRawPredict")] == [
            request.path for request in server.requests
        ]

    def test_claude_by_a_route(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The same words may be answered by somebody else.
        """
        server.answer(chat("hi"), stream(["h", "i"]))
        client = client_of(colour, colour.gateway(config(server)))
        body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": HELLO}
        at = f"http://llmgate{self.BASE}/anthropic/models/fast"

        whole = colour.do(client.post(f"{at}:rawPredict", json=body))
        told = colour.do(client.post(f"{at}:streamRawPredict", json={**body, "stream": True}))

        assert "hi" == whole.json()["content"][0]["text"]
        assert "message_stop" in told.text

    def test_gemini_by_a_route(self, colour: Colour, server: ScriptedServer) -> None:
        """
        And Google's.
        """
        server.answer(chat("hi"))
        client = client_of(colour, colour.gateway(config(server)))
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}

        answer = colour.do(client.post(f"http://llmgate{self.BASE}/google/models/fast:generateContent", json=body))

        assert "hi" == answer.json()["candidates"][0]["content"]["parts"][0]["text"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1beta/models/nobody:generateContent", {"contents": []}, "application/json; charset=UTF-8"),
        ("/api/chat", {"model": "nobody", "messages": HELLO}, "application/json"),
        ("/v2/chat", {"model": "nobody", "messages": HELLO}, "application/json"),
    ],
)
def test_nobody_is_asked_to_try_again(colour: Colour, path: str, body: Any, said: str) -> None:
    """
    Every refusal says that trying again is of no use, in every format.
    """
    client = client_of(colour, colour.gateway())

    answer = colour.do(client.post(f"http://llmgate{path}", json=body))

    assert (404, "false", said) == (
        answer.status_code,
        answer.headers["x-should-retry"],
        answer.headers["content-type"],
    )


def test_lines_are_announced_as_lines(colour: Colour, server: ScriptedServer) -> None:
    """
    Ollama streams lines of JSON, and no events.
    """
    server.answer(stream(["h", "i"]))
    client = client_of(colour, colour.gateway(config(server)))

    answer = colour.do(client.post("http://llmgate/api/chat", json={"model": "fast", "messages": HELLO}))

    assert "application/x-ndjson" == answer.headers["content-type"]
    assert "hi" == "".join(json.loads(line)["message"]["content"] for line in answer.text.splitlines())


def test_streams_within_one_format_are_the_upstreams_bytes(colour: Colour, server: ScriptedServer) -> None:
    """
    Comments, unknown events and odd spacing reach the client as the upstream sent them.
    """
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "novel": [1, None]}
    choice: dict[str, Any] = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    body = (
        ": a comment\n\n"
        f"data:   {json.dumps({**chunk, 'choices': [choice]})}\n\n"
        f"data: {json.dumps({**chunk, 'choices': [last]})}\nid: 7\n\n"
        "data: [DONE]\n\n"
    )
    server.answer(http_response(200, body, content_type="text/event-stream"))
    client = client_of(colour, colour.gateway(config(server)))

    answer = colour.do(
        client.post("http://llmgate/v1/chat/completions", json={"model": "fast", "messages": HELLO, "stream": True})
    )

    assert body == answer.text
