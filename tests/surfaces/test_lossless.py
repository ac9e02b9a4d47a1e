"""Within one format nothing is lost on the way: neither of what a client says nor of what its upstream answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llmgate import Gateway
from llmgate.testing import Pause, ScriptedServer, chat, http_response, http_stream, replay, sse, stream
from llmgate.types.call import Call
from llmgate.types.reply import Reply
from llmgate.types.response import Chunk
from tests.conftest import Colour
from tests.dialects import corpus
from tests.dialects.corpus import Record, body_of
from tests.surfaces.sdks import HELLO, KEY, config

TOLD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "anthropic/messages": ("/v1/messages", "/v1", {"kind": "anthropic"}),
    "cohere/chat": ("/v2/chat", "", {"kind": "cohere"}),
    "gemini/generate": ("/v1beta/models/fast:{}", "/v1beta", {"kind": "gemini"}),
    "groq/chat": ("/v1/chat/completions", "/v1", {"kind": "groq"}),
    "ollama/chat": ("/api/chat", "", {"kind": "ollama-native"}),
    "openai/responses": ("/v1/responses", "/v1", {"kind": "openai", "api": "responses"}),
    "openrouter/chat": ("/v1/chat/completions", "/v1", {"kind": "openrouter"}),
}
"""Whose records, and of which kind: where a client of its asks, the upstream's base path, and who is to be asked."""

CHATS = "/v1/chat/completions"
SAMPLE = 12  # one in so many of the records


def records() -> Iterator[Any]:
    for name, (path, _, _) in TOLD.items():
        provider, kind = name.split("/")
        for record in corpus.lines(provider):
            here = path.rpartition("{")[0] or path[3:]
            whole = record["request_json"] and record["response_status"] == 200 and record["expected"]
            if whole and kind == record["kind"] and here.replace("fast:", "") in record["url"]:
                yield pytest.param(name, record, id=f"{provider}-{record['id']}")


def post(colour: Colour, gateway: Any, path: str, sent: Any) -> Any:
    """What a client gets that says just this."""
    client = gateway.http_client() if colour.blocking else gateway.aio.http_client()
    return colour.do(client.post(f"http://llmgate{path}", json=sent, headers={"x-llmgate-route": "fast"}))


@corpus.needed
@pytest.mark.parametrize(
    ("name", "record"), [param for param in records() if int(param.values[1]["id"], 16) % SAMPLE == 0]
)
def test_nothing_is_lost_either_way(colour: Colour, server: ScriptedServer, name: str, record: Record) -> None:
    """
    The upstream gets the client's JSON, with the route's model, and the client gets the upstream's bytes.
    """
    server.answer(replay(record))
    path, base, options = TOLD[name]
    provider = {"api_key": KEY, "base_url": server.origin + base} | options
    gateway = colour.gateway({"providers": {"up": provider}, "routes": {"fast": ["up/m"]}})
    sent = record["request_json"]
    if "model" in sent:
        sent = {**sent, "model": "fast"}
    method = "streamGenerateContent?alt=sse" if record["streaming"] else "generateContent"

    answer = post(colour, gateway, path.format(method), sent)

    assert 200 == answer.status_code
    assert sent | ({} if name == "gemini/generate" else {"model": "m"}) == server.requests[0].json()
    assert body_of(record) == answer.content


def speak(colour: Colour, server: ScriptedServer, mine: Any = None, streams: bool = False, **sections: Any) -> bytes:
    """What a client of OpenAI's is answered, through a middleware of somebody's."""
    if mine is not None:
        sections["middleware"] = [{"use": mine, "slot": "before_attempts"}]
    gateway = colour.gateway(config(server, **sections))
    answer = post(colour, gateway, CHATS, {"model": "fast", "messages": HELLO, "stream": streams})
    assert 200 == answer.status_code, answer.text
    return bytes(answer.content)


Next = Callable[[Call], Awaitable[Reply]]


async def masked(call: Call, call_next: Next) -> Reply:
    """A middleware that changes pieces where they are."""

    def mask(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        for chunk in chunks:
            chunk.text = chunk.text.replace("secret", "******")
            if chunk.whole is not None:
                chunk.whole.choices[0].text = "******"  # type: ignore[attr-defined]
        return chunks

    reply = await call_next(call)
    reply.through(mask)
    return reply


async def shouted(call: Call, call_next: Next) -> Reply:
    """A middleware that answers with a reply of its own."""
    answer: Any = await (await call_next(call)).response()
    answer.choices[0].text = "******"
    return Reply.of(answer)


async def asking(call: Call, call_next: Next) -> Reply:
    """A middleware that asks for something else."""
    return await call_next(replace(call, request=call.request.but(temperature=0)))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("mine", [masked, shouted])
def test_what_a_middleware_changed_is_changed(colour: Colour, server: ScriptedServer, mine: Any, streams: bool) -> None:
    """
    Bytes that somebody took a word out of are not handed on; the answer is written as it has become.
    """
    server.answer(stream(["my secret", "!"]) if streams else chat("my secret"))
    answered = speak(colour, server, mine, streams)

    assert b"secret" not in answered
    assert b"******" in answered


def test_a_changed_request_is_written_anew(colour: Colour, server: ScriptedServer) -> None:
    """
    What a middleware asks for counts, and the answer is handed on all the same.
    """
    server.answer(http_response(body=OPENAIS))

    assert OPENAIS == speak(colour, server, asking)
    assert 0 == server.requests[0].json()["temperature"]


OPENAIS = (
    b'{ "choices": [{"message": {"content": "h\\u0069"}, "finish_reason": "stop", "new": 1e0}],\n"brand_new": null }'
)
"""An answer that nobody would write like this."""


def test_who_only_looks_changes_nothing(colour: Colour, server: ScriptedServer) -> None:
    """
    Bytes pass a middleware that promises to look and no more, and what it sees has its texts and its counts.
    """
    seen: list[Chunk] = []

    async def looking(call: Call, call_next: Next) -> Reply:
        def look(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
            seen.extend(chunks)
            return chunks

        reply = await call_next(call)
        reply.through(look, changes=False)
        return reply

    events = [sse({"choices": [{"index": 0, "delta": {"content": text}, "new": 1}]}) for text in "ab"]
    end = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}})
    sent = [b": hello\n\n", events[0], b": ping\r\n\r\n", events[1], end, b"data: [DONE]\n\n", b": bye\n\n"]
    server.answer(http_stream(sent))

    assert b"".join(sent) == speak(colour, server, looking, streams=True)
    assert "ab" == "".join(chunk.text for chunk in seen)
    assert [3] == [chunk.usage.input_tokens for chunk in seen if chunk.usage]


def test_an_error_within_a_stream_is_said_once(colour: Colour, server: ScriptedServer) -> None:
    """
    What came before it is handed on, and then the error is said in the words of the format, not in the upstream's.
    """
    server.answer(stream(["a", "b"], error_midstream={"error": {"message": "no more", "code": "x", "new": 1}}))
    client = colour.gateway(config(server)).http_client()
    got = b""
    sent = {"model": "fast", "messages": HELLO, "stream": True}
    with (
        client.stream("POST", f"http://llmgate{CHATS}", json=sent) as answer,
        pytest.raises(httpx2.RemoteProtocolError),
    ):
        for piece in answer.iter_bytes():
            got += piece

    assert 1 == got.count(b"no more")
    assert b'"new"' not in got
    assert b'"content":"b"' in got.replace(b" ", b"")


def test_a_cached_answer_is_what_it_was(colour: Colour, server: ScriptedServer, tmp_path: Path) -> None:
    """
    Out of memory and off the disk come the upstream's own bytes; in pieces, which it did not send, it is written.
    """
    server.answer(http_response(body=OPENAIS))
    tiers = ["memory", {"kind": "sqlite", "path": str(tmp_path / "cache.db")}]
    sent = {"model": "fast", "messages": HELLO}
    for sections in ({"tiers": tiers}, {"tiers": tiers[1:]}):
        gateway = colour.gateway(config(server, cache={"enabled": True, **sections}))
        for _ in range(2):
            assert OPENAIS == post(colour, gateway, CHATS, sent).content
        assert b'"content":"hi"' in post(colour, gateway, CHATS, {**sent, "stream": True}).content

    assert 1 == len(server.requests)


@pytest.mark.parametrize("mine", [masked, shouted])
def test_a_cached_answer_is_what_was_made_of_it(colour: Colour, server: ScriptedServer, mine: Any) -> None:
    """
    What a middleware changed before the answer was kept stays changed.
    """
    server.answer(chat("my secret"))
    more: dict[str, Any] = {"middleware": [{"use": mine, "slot": "before_attempts"}], "cache": {"enabled": True}}
    gateway = colour.gateway(config(server, **more))
    for _ in range(2):
        answered = post(colour, gateway, CHATS, {"model": "fast", "messages": HELLO}).content

        assert b"secret" not in answered
        assert b"******" in answered
    assert 1 == len(server.requests)


def test_others_are_not_handed_a_cached_answer(colour: Colour, server: ScriptedServer) -> None:
    """
    A question that one client asked in its format, and another asks in ours, has one answer, told to each in its own way.
    """
    server.answer(http_response(body=OPENAIS))
    gateway = colour.gateway(config(server, cache={"enabled": True}))
    sent = {"model": "fast", "messages": HELLO}

    assert OPENAIS == post(colour, gateway, CHATS, sent).content
    assert "hi" == colour.chat(gateway, "fast", HELLO).text
    assert 1 == len(server.requests)


def test_who_shares_a_flight_shares_its_bytes(server: ScriptedServer) -> None:
    """
    Two clients that ask the same at once are answered with the same bytes by one request.
    """
    server.answer([Pause(0.2), *http_response(body=OPENAIS)])
    with Gateway(config(server, single_flight={"enabled": True})) as gateway, ThreadPoolExecutor(2) as pool:
        client = gateway.http_client()
        sent = {"model": "fast", "messages": HELLO}
        asking = [pool.submit(client.post, f"http://llmgate{CHATS}", json=sent) for _ in range(2)]

        assert [OPENAIS, OPENAIS] == [asked.result().content for asked in asking]
    assert 1 == len(server.requests)
