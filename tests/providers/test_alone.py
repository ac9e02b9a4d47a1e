"""A provider by itself: the gateway's verbs in both colours, without a gateway."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from llmgate import (
    Anthropic,
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    DeadlineExceeded,
    Embeddings,
    Gateway,
    OpenAI,
    OpenAICompatible,
    Provider,
    Reply,
    Response,
    Simulated,
    StreamInterrupted,
)
from llmgate.providers.base import ModelInfo
from llmgate.testing import (
    Close,
    Hang,
    Pause,
    ScriptedServer,
    anthropic_message,
    anthropic_stream,
    chat,
    embeddings,
    error,
    http_response,
    http_stream,
    models,
    sse,
    stream,
)
from llmgate.types.call import Call, Handler
from llmgate.types.response import Choice

KEY = "sk-very-secret-123"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


class Asking:
    """Asks a provider in one colour, and closes it."""

    def __init__(self, color: str) -> None:
        self.blocking = color == "blocking"

    def ask(self, provider: Provider, verb: str, *args: Any, **params: Any) -> Any:
        if self.blocking:
            with provider:
                return getattr(provider, verb)(*args, **params)

        async def main() -> Any:
            async with provider.aio as asking:
                return await getattr(asking, verb)(*args, **params)

        return asyncio.run(main())

    def read(self, provider: Provider, *args: Any, **params: Any) -> Any:
        """A stream that was read to its end."""
        if self.blocking:
            with provider, provider.stream(*args, **params) as reading:
                list(reading)
                return reading

        async def main() -> Any:
            async with provider.aio as asking, asking.stream(*args, **params) as reading:
                async for _ in reading:
                    pass
                return reading

        return asyncio.run(main())


@pytest.fixture(params=["blocking", "asyncio"])
def asking(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[Asking]:
    yield Asking(request.param)
    assert server.wait_closed(2.0)


class TestVerbs:
    def test_chat(self, asking: Asking, server: ScriptedServer) -> None:
        """
        chat sends the model, the messages and the parameters with the key, and tells who answered.
        """
        server.answer(chat("hello", headers={"x-request-id": "req-1"}))
        reply = asking.ask(OpenAI(api_key=KEY, base_url=server.base_url), "chat", "gpt-4o-mini", "hi", temperature=0)

        assert ("hello", "openai/gpt-4o-mini", "openai", "req-1") == (
            reply.text, reply.deployment, reply.provider, reply.request_id,
        )  # fmt: skip
        sent = server.requests[0]
        assert {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0,
        } == sent.json()
        assert f"Bearer {KEY}" == sent.headers["authorization"]

    def test_stream(self, asking: Asking, server: ScriptedServer) -> None:
        """
        stream brings the pieces, and their sum when it has ended.
        """
        server.answer(stream(["hel", "lo"]))
        reading = asking.read(OpenAI(api_key=KEY, base_url=server.base_url), "gpt-4o-mini", "hi")

        assert "hello" == reading.response.text
        assert "openai/gpt-4o-mini" == reading.deployment

    def test_embed(self, asking: Asking, server: ScriptedServer) -> None:
        """
        embed brings one vector for each input.
        """
        server.answer(embeddings([[1.0, 0.0], [0.0, 1.0]]))
        found = asking.ask(OpenAI(api_key=KEY, base_url=server.base_url), "embed", "embedder", ["one", "two"])

        assert isinstance(found, Embeddings) and [[1.0, 0.0], [0.0, 1.0]] == found.vectors
        assert {"model": "embedder", "input": ["one", "two"]} == server.requests[0].json()

    def test_complete(self, asking: Asking, server: ScriptedServer) -> None:
        """
        complete continues a text.
        """
        answer = {"choices": [{"text": " a time", "finish_reason": "stop", "index": 0}]}
        server.answer(http_response(200, answer))

        assert (
            " a time" == asking.ask(OpenAI(api_key=KEY, base_url=server.base_url), "complete", "old", "Once upon").text
        )
        assert "/v1/completions" == server.requests[0].path

    def test_models(self, asking: Asking, server: ScriptedServer) -> None:
        """
        models lists what it offers, with its name.
        """
        server.answer(models(["a", "b"]))
        found = asking.ask(OpenAI(api_key=KEY, base_url=server.base_url, name="mine"), "models")

        assert [("a", "mine"), ("b", "mine")] == [(model.id, model.provider) for model in found]
        assert ("GET", "/v1/models") == (server.requests[0].method, server.requests[0].path)

    def test_request(self, asking: Asking, server: ScriptedServer) -> None:
        """
        request sends anything else, with the key, and gives back what came.
        """
        server.answer(http_response(200, {"flagged": False}, {"x-more": "1"}))
        found = asking.ask(
            OpenAI(api_key=KEY, base_url=server.base_url),
            "request",
            "post",
            "/moderations?x=1",
            json={"input": "hi"},
            timeout=5,
        )

        assert (200, {"flagged": False}, "1") == (found.status, found.json(), found.headers["x-more"])
        sent = server.requests[0]
        assert ("POST", "/v1/moderations", "x=1", {"input": "hi"}) == (sent.method, sent.path, sent.query, sent.json())
        assert f"Bearer {KEY}" == sent.headers["authorization"]

    def test_anthropic(self, asking: Asking, server: ScriptedServer) -> None:
        """
        Another dialect behind the same verbs: its key in its header, its answers read as all others.
        """
        server.answer(anthropic_message("hello"), anthropic_stream(["hel", "lo"]))
        provider = Anthropic(api_key=KEY, base_url=server.base_url)

        assert "hello" == asking.ask(provider, "chat", "claude-haiku-4-5", "hi").text
        assert "hello" == asking.read(provider, "claude-haiku-4-5", "hi").response.text
        assert [KEY, KEY] == [request.headers["x-api-key"] for request in server.requests]
        assert all("authorization" not in request.headers for request in server.requests)

    def test_errors_come_at_once(self, asking: Asking, server: ScriptedServer) -> None:
        """
        By itself a provider tries nothing again: the first error is raised, and says whose it is.
        """
        server.always(error(401, {"error": {"message": "no", "code": "invalid_api_key"}}, {"x-request-id": "req-9"}))
        with pytest.raises(AuthenticationFailed) as raised:
            asking.ask(OpenAI(api_key=KEY, base_url=server.base_url), "chat", "a", "hi")

        assert 1 == len(server.requests)
        assert ("openai/a", 401, "req-9") == (raised.value.deployment, raised.value.status, raised.value.request_id)

    def test_a_deadline(self, asking: Asking, server: ScriptedServer) -> None:
        """
        The timeout of the call holds.
        """
        server.answer([Hang()])
        with pytest.raises(DeadlineExceeded):
            asking.ask(OpenAI(api_key=KEY, base_url=server.base_url), "chat", "a", "hi", timeout=0.1)

    def test_a_stream_that_breaks(self, asking: Asking, server: ScriptedServer) -> None:
        """
        A stream without its end is interrupted, with what came.
        """
        piece = sse({"choices": [{"index": 0, "delta": {"content": "hel"}}]})
        server.answer([*http_stream([piece], end=False), Pause(0.02), Close()])
        with pytest.raises(StreamInterrupted) as raised:
            asking.read(OpenAI(api_key=KEY, base_url=server.base_url), "a", "hi")

        assert "hel" == raised.value.partial.text
        assert "openai/a" == raised.value.deployment


class TestMoney:
    def test_the_price_list_is_known(self, server: ScriptedServer) -> None:
        """
        The cost is tokens times the published price, the provider's own figure if it sends one, and None if nobody knows.
        """
        told = {
            "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "cost": 0.25},
        }
        server.answer(chat("hello"), http_response(200, told), chat("hello", model="no-such-model"))
        with OpenAI(api_key=KEY, base_url=server.base_url) as provider:
            priced, paid, unknown = (
                provider.chat(model, "hi") for model in ("gpt-4o-mini", "gpt-4o-mini", "no-such-model")
            )

        assert priced.cost is not None and priced.cost > 0
        assert Decimal("0.25") == paid.cost
        assert unknown.cost is None

    def test_a_price_of_its_own(self) -> None:
        """
        What the provider was told about a model counts before any list.
        """
        provider = Simulated(answer="a b c", models={"m": ModelInfo(price={"input": 0, "output": 2})})

        assert Decimal("0.000006") == provider.chat("m", "hi").cost


class TestItself:
    def test_copies_share_nothing(self, server: ScriptedServer) -> None:
        """
        A copy has connections of its own: closing one leaves the other.
        """
        server.always(chat("hello"))
        one = OpenAI(api_key=KEY, base_url=server.base_url)
        one.chat("a", "hi")
        other = one.model_copy(update={"name": "other"})
        assert "other/a" == other.chat("a", "hi").deployment
        assert 2 == server.connections_total
        other.close()
        one.chat("a", "hi")
        assert [1, 2, 1] == [request.connection for request in server.requests]
        assert "openai" == copy.copy(one).chat("a", "hi").provider
        one.close()

    def test_in_a_gateway_it_is_another(self, server: ScriptedServer) -> None:
        """
        Used in a gateway it goes through the gateway's connections, and closing the gateway leaves it its own.
        """
        server.always(chat("hello"))
        provider = OpenAI(api_key=KEY, base_url=server.base_url)
        provider.chat("a", "hi")
        with Gateway({"providers": {"mine": provider}}) as gateway:
            assert "mine/a" == gateway.chat("mine/a", "hi").deployment
        assert "openai/a" == provider.chat("a", "hi").deployment
        assert [1, 2, 1] == [request.connection for request in server.requests]
        provider.close()

    def test_threads_and_loops(self, server: ScriptedServer) -> None:
        """
        One provider serves threads and event loops at once, from the first call on.
        """
        server.always(chat("hello"))
        provider = OpenAI(api_key=KEY, base_url=server.base_url)
        found: list[str] = []
        gate = threading.Barrier(8)

        def plain() -> None:
            gate.wait()
            found.append(provider.chat("a", "hi").text)

        async def later() -> None:
            found.append((await provider.aio.chat("a", "hi")).text)

        def looped() -> None:
            gate.wait()
            asyncio.run(later())

        threads = [threading.Thread(target=target) for target in (plain, looped) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        provider.close()

        assert ["hello"] * 8 == found
        assert server.wait_closed(2.0)

    def test_after_a_fork(self, server: ScriptedServer) -> None:
        """
        A forked child has connections of its own; the parent's go on.
        """
        server.always(chat("hello"))
        provider = OpenAI(api_key=KEY, base_url=server.base_url)
        provider.chat("a", "hi")
        context = multiprocessing.get_context("fork")
        reading, writing = context.Pipe(duplex=False)
        child = context.Process(target=lambda: writing.send(provider.chat("a", "hi").text))
        child.start()
        child.join(10)

        assert "hello" == reading.recv() == provider.chat("a", "hi").text
        assert [1, 2, 1] == [request.connection for request in server.requests]
        provider.close()

    def test_closed_and_used_again(self, server: ScriptedServer) -> None:
        """
        Closing twice is harmless, and a provider that is used again opens new connections.
        """
        server.always(chat("hello"))
        provider = OpenAI(api_key=KEY, base_url=server.base_url)
        provider.close()
        for _ in range(2):
            provider.chat("a", "hi")
            provider.close()
            provider.close()
        assert [1, 2] == [request.connection for request in server.requests]

    def test_wrong_options(self) -> None:
        """
        Whatever the provider cannot do, or does not know, is refused before anybody is asked.
        """
        with pytest.raises(BadRequest, match="anthropic cannot 'embed'; it can chat"):
            Anthropic(api_key=KEY).embed("a", "hi")
        with pytest.raises(BadRequest, match="path"):
            OpenAI(api_key=KEY).request("GET", "https://elsewhere.example/")
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            OpenAI(name="nowhere", base_url="https://api.openai.com/v1").models()


class Parrot(Provider):
    """The least that a provider needs."""

    kind = "parrot"

    def bind(self, model: str, key: int = 0) -> Handler:
        async def asked(call: Call) -> Reply:
            text = f"{model}: {call.request.body['messages'][-1]['content']}"
            return Reply.of(Response(choices=[Choice(text=text, finish_reason="stop")]), deployment=call.deployment)

        return asked


def test_a_provider_of_ones_own() -> None:
    """
    A class with a kind and a bind is a provider, by itself and in a gateway.
    """
    assert "green: hi" == Parrot().chat("green", "hi").text
    with Gateway(providers=[Parrot(name="polly")]) as gateway:
        reply = gateway.chat("polly/green", "hi")
    assert ("green: hi", "polly/green") == (reply.text, reply.deployment)
    with pytest.raises(NotImplementedError, match="Mute has no bind"):
        type("Mute", (Provider,), {"kind": "mute", "__module__": __name__})().chat("a", "hi")


def test_what_a_compatible_server_offers_by_name(server: ScriptedServer) -> None:
    """
    A server without a key is asked without one.
    """
    server.answer(chat("hello"))
    with OpenAICompatible(base_url=server.base_url) as provider:
        assert "openai-compatible/a" == provider.chat("a", "hi").deployment
    assert "authorization" not in server.requests[0].headers
