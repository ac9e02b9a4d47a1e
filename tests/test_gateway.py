"""The gateway as its users meet it: every verb, every option, every attribute, in both colours over real sockets."""

from __future__ import annotations

import asyncio
import pickle
import time
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse  # noqa: F401 - proves that the package is the current one
from openai.types.chat import ChatCompletion, ChatCompletionChunk

import llmgate
from llmgate import (
    AllAttemptsFailed,
    Anthropic,
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    DeadlineExceeded,
    Function,
    Gateway,
    GatewayClosed,
    GatewayError,
    LimitReached,
    Message,
    ModelNotFound,
    OpenAI,
    OpenAICompatible,
    RateLimited,
    Reply,
    Simulated,
    StreamInterrupted,
    ToolCall,
    Usage,
)
from llmgate.testing import (
    Hang,
    ScriptedServer,
    anthropic_message,
    anthropic_stream,
    chat,
    embeddings,
    error,
    http_response,
    models,
    stream,
)
from tests.conftest import Colour

KEY = "sk-gateway-0123456789abcdef"


def config(server: ScriptedServer, **sections: Any) -> dict[str, Any]:
    """One upstream with two models, and routes to them."""
    upstream = {"kind": "openai-compatible", "base_url": server.base_url, "api_key": KEY}
    routes = {"fast": ["up/a"], "chain": ["up/a", "up/b"]}
    retry = {"base_delay": 0, "max_delay": 0}
    return {"providers": {"up": upstream}, "routes": routes, "retry": retry} | sections


def bodies(server: ScriptedServer) -> list[Any]:
    return [request.json() for request in server.requests]


class TestChat:
    def test_sends_a_string_as_a_message_of_the_user(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A string is one message, the model is the upstream's own name, and nothing else is in the body.
        """
        server.answer(chat("hi"))

        reply = colour.chat(colour.gateway(config(server)), "fast", "Why is the sky blue?")

        assert "hi" == reply.text
        assert [{"messages": [{"role": "user", "content": "Why is the sky blue?"}], "model": "a"}] == bodies(server)
        assert "/v1/chat/completions" == server.requests[0].path
        assert f"Bearer {KEY}" == server.requests[0].headers["authorization"]

    def test_sends_messages_and_parameters_as_they_are(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Messages may be dicts or typed, and a parameter that llmgate does not know goes to the upstream unchanged.
        """
        server.answer(chat("hi"))
        messages = [{"role": "system", "content": "brief", "cache": {"x": 1}}, Message("user", "hello", name="ann")]

        colour.chat(colour.gateway(config(server)), "fast", messages, temperature=0, top_mystery={"deep": [1, None]})

        assert [
            {
                "messages": [messages[0], {"role": "user", "content": "hello", "name": "ann"}],
                "temperature": 0,
                "top_mystery": {"deep": [1, None]},
                "model": "a",
            }
        ] == bodies(server)

    def test_tells_everything_about_the_answer(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The reply has the text, the message, the usage, who answered and how; its cost is tokens times price.
        """
        usage = Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=400, reasoning_tokens=100)
        server.answer(chat("hi", reasoning="hm", usage=usage, model="a-2026"))
        prices = {"up/a": {"input": 2, "cache_read": 1, "output": 10}}

        reply = colour.chat(colour.gateway(config(server, prices=prices)))

        assert ("hi", "hm", "stop", None, []) == (
            reply.text,
            reply.reasoning,
            reply.finish_reason,
            reply.refusal,
            reply.citations,
        )
        assert {"role": "assistant", "content": "hi", "reasoning_content": "hm"} == reply.message
        assert (1000, 500, 400, 100, 1500) == (
            reply.usage.input_tokens,
            reply.usage.output_tokens,
            reply.usage.cache_read_tokens,
            reply.usage.reasoning_tokens,
            reply.usage.total_tokens,
        )
        assert Decimal("0.0066") == reply.cost
        assert ("a-2026", "up", "up/a", None) == (reply.model, reply.provider, reply.deployment, reply.cached)
        assert ("chatcmpl-scripted", "req_scripted") == (reply.id, reply.request_id)
        assert "chat.completion" == reply.raw["object"]
        [attempt] = reply.attempts
        assert ("up/a", "ok", 200, "first") == (attempt.deployment, attempt.outcome, attempt.status, attempt.reason)
        assert 0 < attempt.duration_s < 5

    def test_knows_no_price_of_an_unknown_model(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Where the price is not known, the cost is None and not 0.
        """
        server.answer(chat("hi"))

        assert None is colour.chat(colour.gateway(config(server))).cost

    def test_reads_tool_calls(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A tool call has its id, its name, its arguments as text and parsed, and goes back as it came.
        """
        server.answer(chat(None, tool_calls=[ToolCall("call_1", "weather", '{"city": "Ulm"}')]))

        reply = colour.chat(
            colour.gateway(config(server)), tools=[{"type": "function", "function": {"name": "weather"}}]
        )

        [call] = reply.tool_calls
        assert ("call_1", "weather", '{"city": "Ulm"}', {"city": "Ulm"}) == (
            call.id,
            call.name,
            call.arguments,
            call.parsed(),
        )
        assert "tool_calls" == reply.finish_reason
        assert None is reply.message["content"]
        assert "call_1" == reply.message["tool_calls"][0]["id"]

    @pytest.mark.parametrize(
        "script", [chat("hi"), chat(None, tool_calls=[ToolCall("c", "f", "{}")]), chat("", usage=None)]
    )
    def test_is_what_the_openai_package_expects(self, colour: Colour, server: ScriptedServer, script: Any) -> None:
        """
        `to_openai()` is a chat completion to OpenAI's own types.
        """
        server.answer(script)

        reply = colour.chat(colour.gateway(config(server)))
        completion = ChatCompletion.model_validate(reply.to_openai(), strict=True)

        assert reply.text == (completion.choices[0].message.content or "")
        assert reply.finish_reason == completion.choices[0].finish_reason

    def test_answers_for_every_provider(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Objects of every kind serve one gateway, each under its name, without any configuration.
        """
        server.answer(chat("from openai"), chat("from compatible"))
        server.answer(anthropic_message("from anthropic"), path="/messages")
        gateway = colour.gateway(
            providers=[
                OpenAI(base_url=server.base_url, api_key=KEY),
                OpenAICompatible(name="mine", base_url=server.base_url),
                Anthropic(base_url=server.base_url, api_key=KEY),
                Simulated(answer="from nowhere"),
                Function(lambda messages, **params: f"from {messages[0]['content']}", name="own"),
            ]
        )

        said = [
            colour.chat(gateway, model, "code").text
            for model in ("openai/gpt-x", "mine/m", "anthropic/claude-x", "simulated/s", "own")
        ]

        assert ["from openai", "from compatible", "from anthropic", "from nowhere", "from code"] == said
        assert ["authorization", None, "x-api-key"] == [
            next((name for name in ("authorization", "x-api-key") if name in request.headers), None)
            for request in server.requests
        ]

    def test_takes_objects_and_a_configuration_together(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A route of the configuration may lead to a provider that is an object.
        """
        routes = {"fast": ["up/a", "spare/b"]}
        gateway = colour.gateway(config(server, routes=routes), providers=[Simulated(name="spare", answer="saved")])
        server.answer(error(401))

        assert "saved" == colour.chat(gateway).text


class TestStream:
    def test_brings_the_pieces_and_then_the_answer(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The chunks bring the text as it comes; after the end `response` is the whole answer with all its attributes.
        """
        server.answer(stream(["He", "llo"], reasoning=["hm"], usage=Usage(9, 12)))

        read, chunks = colour.read(colour.gateway(config(server)))

        assert "Hello" == "".join(chunk.text for chunk in chunks)
        assert "hm" == "".join(chunk.reasoning for chunk in chunks)
        assert "stop" == next(chunk.finish_reason for chunk in chunks if chunk.finish_reason)
        assert (9, 12) == next((c.usage.input_tokens, c.usage.output_tokens) for c in chunks if c.usage)
        assert "chat.completion.chunk" == chunks[0].raw["object"]
        response = read.response
        assert ("Hello", "hm", "stop", 21) == (
            response.text,
            response.reasoning,
            response.finish_reason,
            response.usage.total_tokens,
        )
        assert ("up/a", "up", None, "req_scripted") == (
            response.deployment,
            response.provider,
            response.cached,
            response.request_id,
        )
        assert ["ok"] == [attempt.outcome for attempt in response.attempts]
        assert [True] == [body["stream"] for body in bodies(server)]

    def test_brings_tool_calls_in_pieces(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The pieces of a tool call fold into the call.
        """
        server.answer(stream(tool_calls=[ToolCall("c1", "f", '{"a": 1}', 0), ToolCall("c2", "g", "{}", 1)]))

        read, chunks = colour.read(colour.gateway(config(server)))

        assert [("c1", "f", {"a": 1}), ("c2", "g", {})] == [
            (c.id, c.name, c.parsed()) for c in read.response.tool_calls
        ]
        assert 1 < sum(1 for chunk in chunks if chunk.tool_calls)

    @pytest.mark.parametrize(
        "script",
        [stream(["a", "b"]), stream(tool_calls=[ToolCall("c", "f", '{"x": 2}')]), stream(["a"], with_usage=False)],
    )
    def test_is_what_the_openai_package_expects(self, colour: Colour, server: ScriptedServer, script: Any) -> None:
        """
        Every chunk, and the folded answer, are to OpenAI's own types what they should be.
        """
        server.answer(script)

        read, chunks = colour.read(colour.gateway(config(server)))

        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk.to_openai(), strict=True)
        ChatCompletion.model_validate(read.response.to_openai(), strict=True)

    def test_crosses_dialects(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Anthropic's stream arrives as the same chunks.
        """
        server.answer(anthropic_stream(["He", "llo"]))
        gateway = colour.gateway(providers=[Anthropic(base_url=server.base_url, api_key=KEY)])

        read, chunks = colour.read(gateway, "anthropic/claude", max_tokens=5)

        assert "Hello" == read.response.text == "".join(chunk.text for chunk in chunks)
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk.to_openai(), strict=True)

    def test_is_cut_off_where_the_reader_leaves(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Leaving the `with` in the middle closes the upstream's connection at once and settles the call.
        """
        server.answer(stream(["a", "b"], cut_after=1, ending=Hang()))
        gateway = colour.gateway(config(server))

        left, chunk = colour.begin(gateway)

        assert "a" == chunk.text
        assert server.wait_closed(2.0)
        assert (0, {"closed": 1}) == (gateway.stats().in_flight, gateway.stats().outcomes)
        assert "closed" in repr(left)
        with pytest.raises(RuntimeError, match="not been read to its end"):
            _ = left.response

    def test_closes_itself_without_a_with(self, server: ScriptedServer) -> None:
        """
        A loop over a stream that is left with `break` closes it, too.
        """
        server.answer(stream(["a", "b"], cut_after=1, ending=Hang()))
        with Gateway(config(server)) as gateway:
            for chunk in gateway.stream("fast", "hello"):
                if chunk.text:
                    break

            assert server.wait_closed(2.0)
            assert 0 == gateway.stats().in_flight

    def test_begins_when_it_is_entered(self, server: ScriptedServer) -> None:
        """
        A stream that nobody enters or iterates over asks nobody, and needs no closing.
        """
        with Gateway(config(server)) as gateway:
            gateway.stream("fast", "hello")
            gateway.stream("fast", "hello").close()

        assert [] == server.requests

    def test_fails_where_it_is_entered(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What a retry could repair fails at the entrance of the stream; until then it was retried.
        """
        server.answer(error(500), error(500), error(500))

        with pytest.raises(llmgate.UpstreamError) as raised:
            colour.begin(colour.gateway(config(server)))

        assert 3 == len(raised.value.attempts) == len(server.requests)

    def test_raises_what_it_has_when_it_breaks(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A stream without its end raises, with what came; it is no answer.
        """
        server.answer(stream(["a", "b", "c"], cut_after=2))

        with pytest.raises(StreamInterrupted) as raised:
            colour.read(colour.gateway(config(server)))

        assert "ab" == raised.value.partial.text
        assert 1 == len(server.requests)

    def test_can_be_replayed_from_the_cache(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A stream that was read to its end answers the next one, and the next chat.
        """
        server.answer(stream(["He", "llo"]))
        gateway = colour.gateway(config(server, cache="on"))

        first, _ = colour.read(gateway, temperature=0)
        second, chunks = colour.read(gateway, temperature=0)

        assert (None, "memory") == (first.response.cached, second.response.cached)
        assert "Hello" == "".join(chunk.text for chunk in chunks) == second.response.text
        assert 1 == len(server.requests)


class TestVerbs:
    def test_embeds(self, colour: Colour, server: ScriptedServer) -> None:
        """
        One vector for each input, in order.
        """
        server.answer(embeddings([[1.0, 2.0], [3.0, 4.0]]), path="/embeddings")

        answer = colour.ask(colour.gateway(config(server)), "embed", "fast", ["one", "two"], dimensions=2)

        assert [[1.0, 2.0], [3.0, 4.0]] == answer.vectors
        assert ("up/a", 9) == (answer.deployment, answer.usage.input_tokens)
        assert [{"input": ["one", "two"], "dimensions": 2, "model": "a"}] == bodies(server)

    def test_completes(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The legacy completion continues a text.
        """
        body = {
            "id": "c",
            "object": "text_completion",
            "choices": [{"index": 0, "text": " there", "finish_reason": "stop"}],
        }
        server.answer(http_response(200, body), path="/v1/completions")

        answer = colour.ask(colour.gateway(config(server)), "complete", "fast", "Once", max_tokens=5)

        assert (" there", "stop") == (answer.text, answer.finish_reason)
        assert [{"prompt": "Once", "max_tokens": 5, "model": "a"}] == bodies(server)

    def test_discovers_models(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What the providers offer, together; who cannot say is left out.
        """
        server.answer(models(["m1", "m2"]), path="/models")
        gateway = colour.gateway(config(server), providers=[Simulated(), Function(lambda messages: "", name="mute")])

        found = colour.ask(gateway, "models")

        assert [("m1", "up"), ("m2", "up"), ("pretend-1", "simulated"), ("pretend-2", "simulated")] == [
            (model.id, model.provider) for model in found
        ]
        assert "m1" in found
        assert "GET" == server.requests[0].method

    def test_passes_other_requests_through(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Anything else a provider has is sent with its key and comes back unread.
        """
        server.answer(http_response(200, {"flagged": False}, {"x-more": "1"}))

        answer = colour.ask(
            colour.gateway(config(server)), "request", "up", "post", "/moderations?v=1", json={"input": "x"}
        )

        assert (200, {"flagged": False}, "1") == (answer.status, answer.json(), answer.headers["x-more"])
        assert ("up", "up") == (answer.provider, answer.deployment)
        [request] = server.requests
        assert ("POST", "/v1/moderations", "v=1", {"input": "x"}) == (
            request.method,
            request.path,
            request.query,
            request.json(),
        )
        assert f"Bearer {KEY}" == request.headers["authorization"]

    def test_passes_other_requests_under_the_same_middleware(self, colour: Colour, server: ScriptedServer) -> None:
        """
        They are retried and limited like everything else.
        """
        server.answer(error(503), http_response(200, {"ok": True}))
        gateway = colour.gateway(config(server, rate_limit={"requests_per_minute": 1, "on_limit": "reject"}))

        answer = colour.ask(gateway, "request", "up", "GET", "/files")

        assert ["overloaded", "ok"] == [attempt.outcome for attempt in answer.attempts]
        with pytest.raises(LimitReached):
            colour.ask(gateway, "request", "up", "GET", "/files")

    def test_every_verb_works_against_the_simulation(self, colour: Colour) -> None:
        """
        The simulated provider answers all of them, without a network.
        """
        gateway = colour.gateway({"providers": {"pretend": {"kind": "simulated"}}, "routes": {"fast": ["pretend/p"]}})

        assert "You said: hello" == colour.chat(gateway).text
        assert "You said: hello" == colour.read(gateway)[0].response.text
        assert "You said: Once" == colour.ask(gateway, "complete", "fast", "Once").text
        assert 2 == len(colour.ask(gateway, "embed", "fast", ["one", "two"]).vectors)
        assert 2 == len(colour.ask(gateway, "models"))
        assert "/x" == colour.ask(gateway, "request", "pretend", "GET", "/x").json()["path"]


class TestOptions:
    def test_never_reach_the_upstream(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Options of the call are no parameters of the model.
        """
        server.always(chat("hi"))
        gateway = colour.gateway(config(server))
        options: dict[str, Any] = {
            "timeout": "20s",
            "tenant": "acme",
            "tags": {"team": "blue"},
            "cache": {"ttl": "1h", "max_age": 3, "namespace": "n"},
            "fallback": False,
            "idempotency_key": "once-1",
        }

        colour.chat(gateway, **options)
        with gateway.scope(**options):
            colour.chat(gateway)

        assert [{"messages", "model"}] * 2 == [set(body) for body in bodies(server)]

    def test_a_scope_speaks_for_all_calls_inside(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What a scope says holds inside of it and nowhere else; an inner scope adds, and a call's own word wins.
        """
        server.always(chat("hi"))
        seen: list[Any] = []

        async def look(call: Any, call_next: Any) -> Any:
            seen.append((call.options.tenant, dict(call.options.tags), round(call.deadline - call.started)))
            return await call_next(call)

        gateway = colour.gateway(config(server), middleware=[look])
        with gateway.scope(tenant="acme", tags={"a": "1"}, timeout="20s"):
            colour.chat(gateway)
            with gateway.scope(tags={"b": "2"}):
                colour.chat(gateway, timeout=7)
            colour.chat(gateway, tenant="other", tags={"a": "3"})
        colour.chat(gateway)

        assert [
            ("acme", {"a": "1"}, 20),
            ("acme", {"a": "1", "b": "2"}, 7),
            ("other", {"a": "3"}, 20),
            ("", {}, 120),
        ] == seen

    def test_scopes_of_two_tasks_are_apart(self, server: ScriptedServer) -> None:
        """
        Two tasks in scopes of their own at the same time do not see each other's.
        """
        server.always(chat("hi"))
        seen: set[tuple[str, str]] = set()

        async def look(call: Any, call_next: Any) -> Any:
            seen.add((call.options.tenant, call.request.body["messages"][0]["content"]))
            return await call_next(call)

        async def main() -> None:
            gateway = Gateway(config(server), middleware=[look])

            async def ask(tenant: str) -> None:
                with gateway.scope(tenant=tenant):
                    await asyncio.sleep(0)
                    await gateway.aio.chat("fast", tenant)

            async with gateway.aio:
                await asyncio.gather(*(ask(tenant) for tenant in "abc"))

        asyncio.run(main())

        assert {("a", "a"), ("b", "b"), ("c", "c")} == seen

    def test_an_idempotency_key_is_the_same_for_all_attempts(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Every attempt of a call carries the key that the caller gave, and no call without one does.
        """
        server.answer(error(500), chat("hi"), chat("hi"))
        gateway = colour.gateway(config(server))

        colour.chat(gateway, idempotency_key="once-1")
        colour.chat(gateway)

        assert ["once-1", "once-1", None] == [request.headers.get("idempotency-key") for request in server.requests]

    def test_without_fallback_nobody_else_is_asked(self, colour: Colour, server: ScriptedServer) -> None:
        """
        `fallback=False` keeps a call with the deployment that was chosen first.
        """
        server.answer(error(404), error(404), chat("from b"))
        gateway = colour.gateway(config(server))

        with pytest.raises(ModelNotFound):
            colour.chat(gateway, "chain", fallback=False)
        reply = colour.chat(gateway, "chain")

        assert ["a", "a", "b"] == [body["model"] for body in bodies(server)]
        assert ("from b", "up/b") == (reply.text, reply.deployment)
        assert ["first", "fallback"] == [attempt.reason for attempt in reply.attempts]

    def test_a_cached_answer_says_so_and_costs_nothing(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The second of two equal questions is answered from memory, for the same tenant only, and not if it wants none.
        """
        server.always(chat("hi", usage=Usage(10, 10)))
        prices = {"up/a": {"input": 1, "output": 1}}
        gateway = colour.gateway(config(server, cache={"enabled": True}, prices=prices))

        first = colour.chat(gateway, cache=True)
        second = colour.chat(gateway, cache=True)
        colour.chat(gateway, cache=True, tenant="other")
        for choice in (False, "no-cache"):
            assert None is colour.chat(gateway, cache=choice).cached

        assert (None, "memory", "hi", ()) == (first.cached, second.cached, second.text, tuple(second.attempts))
        assert (Decimal("0.00002"), Decimal(0)) == (first.cost, second.cost)
        assert 4 == len(server.requests)

    def test_the_defaults_of_the_configuration_hold(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A default tenant, default tags and a default of no fallback hold for every call that says nothing else.
        """
        server.answer(error(404), chat("hi"))
        seen: list[Any] = []

        async def look(call: Any, call_next: Any) -> Any:
            seen.append((call.options.tenant, dict(call.options.tags), call.options.fallback))
            return await call_next(call)

        defaults = {"tenant": "house", "tags": {"app": "x"}, "fallback": False}
        gateway = colour.gateway(config(server, defaults=defaults), middleware=[look])

        with pytest.raises(ModelNotFound):
            colour.chat(gateway, "chain")
        colour.chat(gateway, "fast", tenant="guest")

        assert [("house", {"app": "x"}, False), ("guest", {"app": "x"}, False)] == seen


WRONG: dict[str, tuple[dict[str, Any], type[GatewayError], str]] = {
    "no messages": ({"messages": []}, BadRequest, "messages: the list is empty"),
    "None for messages": ({"messages": None}, BadRequest, "messages: expected a string or a list"),
    "a message alone": (
        {"messages": {"role": "user", "content": "x"}},
        BadRequest,
        "messages: expected a string or a list",
    ),
    "bytes": ({"messages": b"hello"}, BadRequest, "messages: expected a string or a list"),
    "a number in the list": ({"messages": [{"role": "user"}, 7]}, BadRequest, r"messages\[1\]: expected a dict"),
    "a message without role": ({"messages": [{"content": "x"}]}, BadRequest, r"messages\[0\].role: missing"),
    "a role that is no text": ({"messages": [{"role": 3, "content": "x"}]}, BadRequest, r"messages\[0\].role"),
    "NaN": ({"temperature": float("nan")}, BadRequest, "temperature: NaN"),
    "infinity deep inside": ({"x": {"y": [1, float("inf")]}}, BadRequest, r"x.y\[1\]: NaN and Infinity"),
    "a lone surrogate": ({"messages": "a\ud800b"}, BadRequest, "lone surrogate"),
    "a lone surrogate in a key": ({"x": {"\udfff": 1}}, BadRequest, "lone surrogate"),
    "a set": ({"stop": {"a"}}, BadRequest, "stop: a set is not JSON"),
    "an object": ({"tools": [object()]}, BadRequest, r"tools\[0\]: a object is not JSON"),
    "bytes inside": ({"user": b"x"}, BadRequest, "user: a bytes is not JSON"),
    "a number of 5000 digits": ({"seed": 10**5000}, BadRequest, "seed"),
    "more than 32 MB": ({"messages": "x" * 32_000_001}, BadRequest, "32000044 bytes long; at most 32000000"),
    "stream=True": ({"stream": True}, BadRequest, r"gateway.stream\("),
    "line breaks in the idempotency key": ({"idempotency_key": "a\r\nx: y"}, BadRequest, "idempotency_key"),
    "an idempotency key that is no text": ({"idempotency_key": 3}, BadRequest, "idempotency_key: expected a string"),
    "a time-out that is none": ({"timeout": "soon"}, BadRequest, "timeout"),
    "NaN for a time-out": ({"timeout": float("nan")}, BadRequest, "timeout: nan is not a finite duration"),
    "True for a time-out": ({"timeout": True}, BadRequest, "timeout"),
    "no time at all": ({"timeout": 0}, DeadlineExceeded, "no time"),
    "less than no time": ({"timeout": -1}, DeadlineExceeded, "no time"),
    "a tenant that is no text": ({"tenant": 3}, BadRequest, "tenant: expected a string"),
    "a tenant that is no character": ({"tenant": "\ud800"}, BadRequest, "tenant"),
    "tags that are none": ({"tags": ["a"]}, BadRequest, "tags: expected a dict"),
    "a cache that is none": ({"cache": "maybe"}, BadRequest, 'cache: "maybe" is none of'),
    "an unknown word about the cache": ({"cache": {"tll": 3}}, BadRequest, 'unknown key "tll"'),
    "a fallback that is no yes or no": ({"fallback": "no"}, BadRequest, "fallback"),
    "an unknown route": ({"model": "fats"}, ModelNotFound, 'did you mean "fast"'),
    "an unknown provider": ({"model": "upp/a"}, ModelNotFound, 'did you mean "up/"'),
    "a provider without a model": ({"model": "up"}, ModelNotFound, "write up/MODEL"),
    "a provider with no more than a slash": ({"model": "up/"}, ModelNotFound, "write up/MODEL"),
    "no name": ({"model": ""}, ModelNotFound, "''"),
    "None for a name": ({"model": None}, BadRequest, "model: expected a string"),
    "a list for a name": ({"model": ["fast"]}, BadRequest, "model: expected a string"),
    "a name that is no character": ({"model": "up/\ud800"}, BadRequest, "model: .* characters that cannot be printed"),
    "line breaks in a name": ({"model": "up/a\r\nb"}, BadRequest, "model: .* characters that cannot be printed"),
    "a name like a novel": ({"model": "up/" + "x" * 100_000}, BadRequest, "model: .* 100003 characters"),
}


class TestWrongInput:
    @pytest.mark.parametrize("what", WRONG)
    @pytest.mark.parametrize("verb", ["chat", "stream"])
    def test_is_refused_before_anything_was_taken(
        self, colour: Colour, server: ScriptedServer, what: str, verb: str
    ) -> None:
        """
        Wrong input has an error of its own, nobody was asked, no permit was taken, and the gateway goes on working.
        """
        params, kind, said = WRONG[what]
        params = {"model": "fast", "messages": "hello"} | params
        server.always(chat("hi"))
        limit = {"requests_per_minute": 1, "max_concurrency": 1, "on_limit": "reject"}
        gateway = colour.gateway(config(server, rate_limit=limit, cache={"enabled": True}))

        with pytest.raises(kind, match=said) as raised:
            colour.chat(gateway, **params) if verb == "chat" else colour.read(gateway, **params)

        assert kind is type(raised.value)
        assert len(str(raised.value)) < 500
        assert () == raised.value.attempts
        assert [] == server.requests
        assert 0 == gateway.stats().in_flight
        # The one request a minute is still there.
        assert "hi" == colour.chat(gateway).text
        with pytest.raises(LimitReached):
            colour.chat(gateway, messages="another")

    def test_of_other_verbs_is_refused_too(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Embedding nothing, a path that is none and a method that is none are told as such.
        """
        gateway = colour.gateway(config(server))
        wrong: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
            ("embed", ("fast", []), {}, "nothing to embed"),
            ("embed", ("fast", ""), {}, "nothing to embed"),
            ("embed", ("fast", None), {}, "nothing to embed"),
            ("complete", ("fast", None), {}, "prompt"),
            ("complete", ("fast", ""), {"stream": True}, "stream"),
            ("request", ("up", "GE T", "/x"), {}, "no HTTP method"),
            ("request", ("up", None, "/x"), {}, "no HTTP method"),
            ("request", ("up", "GET", "x"), {}, "must start with one slash"),
            ("request", ("up", "GET", None), {}, "must start with one slash"),
            ("request", ("up", "GET", "//evil.example/x"), {}, "must start with one slash"),
            ("request", ("up", "GET", "/x\r\nhost:evil"), {}, "must start with one slash"),
            ("request", ("up", "POST", "/x"), {"json": {"a": float("nan")}}, "a: NaN"),
            ("request", ("up", "POST", "/x"), {"data": 3}, 'unknown keyword "data"'),
        ]

        for verb, args, keywords, said in wrong:
            with pytest.raises(BadRequest, match=said):
                colour.ask(gateway, verb, *args, **keywords)
        assert [] == server.requests

    def test_nesting_without_end_is_refused(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Ten thousand levels and a reference to itself are no JSON that could be sent.
        """
        deep: Any = []
        for _ in range(10_000):
            deep = [deep]
        circle: list[Any] = []
        circle.append(circle)
        gateway = colour.gateway(config(server))

        for wrong in (deep, circle):
            with pytest.raises(BadRequest):
                colour.chat(gateway, metadata=wrong)
        assert [] == server.requests

    def test_a_large_prompt_is_sent(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Ten megabytes, a hundred thousand messages, every alphabet and a NUL arrive as they are.
        """
        server.always(chat("hi"))
        gateway = colour.gateway(config(server))
        text = "ä😀\u202eعربى\x00\u2028" + "x" * 10_000_000
        many = [{"role": "user", "content": str(number)} for number in range(100_000)]

        colour.chat(gateway, messages=text)
        colour.chat(gateway, messages=many)

        assert [text, many] == [bodies(server)[0]["messages"][0]["content"], bodies(server)[1]["messages"]]

    @pytest.mark.parametrize("value", ["a\r\nb", "ä", "a\nb", "\x00"])
    def test_a_header_that_http_cannot_carry_is_refused_at_once(self, server: ScriptedServer, value: str) -> None:
        """
        A header of the configuration that holds a line break is refused where the gateway is made.
        """
        providers = {"up": {"kind": "openai-compatible", "base_url": server.base_url, "headers": {"x-team": value}}}

        with pytest.raises(ConfigError, match=r"providers\.up\.headers"):
            Gateway({"providers": providers})

    @pytest.mark.parametrize("key", ["a\r\nb", "ä\ud800", "a\nb", "\x00"])
    def test_a_key_that_http_cannot_carry_is_refused_at_once(self, server: ScriptedServer, key: str) -> None:
        """
        The same for a key, and the message does not show it.
        """
        providers = {"up": {"kind": "openai-compatible", "base_url": server.base_url, "api_key": key}}

        with pytest.raises(ConfigError, match=r"providers\.up\.api_key") as raised:
            Gateway({"providers": providers})

        assert key not in str(raised.value)


class TestMaking:
    def test_a_missing_key_is_named(self) -> None:
        """
        A provider without its key is refused where the gateway is made; the message names the variable.
        """
        with pytest.raises(ConfigError, match=r"providers.openai: .*OPENAI_API_KEY") as raised:
            Gateway({"providers": {"openai": {}}}, environ={})

        assert "providers.openai" == raised.value.path

    def test_an_unset_variable_is_named(self) -> None:
        """
        `${VAR}` without the variable is an error that names it; with a default it is the default.
        """
        wanted = {"providers": {"openai": {"api_key": "${MY_KEY}"}}}

        with pytest.raises(ConfigError, match=r"providers.openai.api_key: .*MY_KEY"):
            Gateway(wanted, environ={})
        Gateway({"providers": {"openai": {"api_key": "${MY_KEY:-sk-1}"}}}, environ={}).close()
        Gateway(wanted, environ={"MY_KEY": "sk-1"}).close()

    def test_the_environment_given_is_the_one_looked_at(self, server: ScriptedServer) -> None:
        """
        With `environ` a provider's own key variable is looked up there, too.
        """
        with Gateway({"providers": {"openai": {}}}, environ={"OPENAI_API_KEY": KEY}) as gateway:
            assert "<Gateway" in repr(gateway)
        with Gateway.from_env(environ={"ANTHROPIC_API_KEY": KEY}) as gateway:
            assert ["anthropic"] == list(gateway.config.providers)
        with pytest.raises(ConfigError, match="no provider's key is set"):
            Gateway.from_env(environ={})

    def test_reads_files(self, tmp_path: Path, server: ScriptedServer) -> None:
        """
        A YAML file, the same as JSON, and the variable that names one make the same gateway.
        """
        server.always(chat("hi"))
        yaml = tmp_path / "gate.yaml"
        yaml.write_text(
            f"providers:\n  up: {{kind: openai-compatible, base_url: '{server.base_url}'}}\nroutes:\n  fast: [up/a]\n"
        )

        for make in (
            lambda: Gateway.from_yaml(yaml),
            lambda: Gateway.from_yaml(str(yaml)),
            lambda: Gateway.from_env(environ={"LLMGATE_CONFIG": str(yaml)}),
            lambda: Gateway.from_dict(
                {"providers": {"up": {"kind": "openai-compatible", "base_url": server.base_url}}}
            ),
        ):
            with make() as gateway:
                assert "hi" == gateway.chat("up/a", "hello").text

    def test_two_gateways_are_strangers(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Limits, breakers, caches and statistics of two gateways in one process have nothing in common.
        """
        server.always(chat("hi"))
        sections = {"rate_limit": {"requests_per_minute": 1, "on_limit": "reject"}, "cache": {"enabled": True}}
        one, two = (colour.gateway(config(server, **sections)) for _ in range(2))

        colour.chat(one)
        assert None is colour.chat(two).cached
        with pytest.raises(LimitReached):
            colour.chat(one, messages="other")

        assert [{"ok": 1, "limit_reached": 1}, {"ok": 1}] == [one.stats().outcomes, two.stats().outcomes]

    def test_a_gateway_without_anything_can_be_made(self, colour: Colour) -> None:
        """
        No configuration at all is one; asking it says what is missing.
        """
        gateway = colour.gateway()

        with pytest.raises(ModelNotFound, match="no routes and no providers"):
            colour.chat(gateway)
        assert "down" != gateway.health()["status"]

    def test_single_flight_can_be_switched_off(self, server: ScriptedServer) -> None:
        """
        With `single_flight: off` two identical calls at once are two requests; else they are one.
        """
        for section, requests in (({}, 1), ({"single_flight": "off"}, 2)):
            with ScriptedServer() as own:
                own.always([llmgate.testing.Pause(0.1), *chat("hi")])

                async def main(own: ScriptedServer = own, section: dict[str, Any] = section) -> None:
                    async with Gateway(config(own, cache={"enabled": True}, **section)).aio as aio:
                        await asyncio.gather(*(aio.chat("fast", "hello", temperature=0) for _ in range(2)))

                asyncio.run(main())
                assert requests == len(own.requests)


class TestOneStateForBothColours:
    def test_the_limit_is_one(self, server: ScriptedServer) -> None:
        """
        What plain code has used up is used up on an event loop, and the other way round.
        """
        server.always(chat("hi"))
        with Gateway(config(server, rate_limit={"requests_per_minute": 2, "on_limit": "reject"})) as gateway:
            gateway.chat("fast", "one")
            asyncio.run(gateway.aio.chat("fast", "two"))

            with pytest.raises(LimitReached):
                gateway.chat("fast", "three")
            with pytest.raises(LimitReached):
                asyncio.run(gateway.aio.chat("fast", "four"))

    def test_the_breaker_is_one(self, server: ScriptedServer) -> None:
        """
        A circuit that plain code opened is open on an event loop.
        """
        server.always(error(500))
        sections = {"retry": "off", "circuit_breaker": {"threshold": 2}}
        with Gateway(config(server, **sections)) as gateway:
            with pytest.raises(llmgate.UpstreamError):
                gateway.chat("fast", "one")
            with pytest.raises(llmgate.UpstreamError):
                asyncio.run(gateway.aio.chat("fast", "two"))

            with pytest.raises(llmgate.CircuitOpen):
                gateway.chat("fast", "three")
            with pytest.raises(llmgate.CircuitOpen):
                asyncio.run(gateway.aio.chat("fast", "four"))
            health = gateway.health()
            assert ("degraded", "circuit open") == (health["status"], health["deployments"]["up/a"]["reason"])
            assert ("open", "") == (
                health["deployments"]["up/a"]["circuit"]["state"],
                health["deployments"]["up/b"]["reason"],
            )

    def test_the_cache_is_one(self, server: ScriptedServer) -> None:
        """
        What plain code has asked, an event loop finds in the cache.
        """
        server.answer(chat("hi"))
        with Gateway(config(server, cache={"enabled": True})) as gateway:
            assert None is gateway.chat("fast", "hello").cached
            assert "memory" == asyncio.run(gateway.aio.chat("fast", "hello")).cached


class TestErrors:
    def test_tell_what_happened_and_show_no_key(self, colour: Colour, server: ScriptedServer) -> None:
        """
        An error has its deployment, attempts, status, delay, request id and kind, survives pickling, and shows no key.
        """
        server.always(
            error(429, {"error": {"message": f"slow down, {KEY}", "code": "rate_limit_exceeded"}}, {"retry-after": "7"})
        )
        gateway = colour.gateway(config(server, retry={"max_attempts": 1}))

        with pytest.raises(RateLimited) as raised:
            colour.chat(gateway)

        for problem in (raised.value, pickle.loads(pickle.dumps(raised.value))):
            assert ("up/a", 429, 7.0, "req_scripted", "rate_limited") == (
                problem.deployment,
                problem.status,
                problem.retry_after,
                problem.request_id,
                problem.kind,
            )
            assert [("up/a", "throttled", 429)] == [(a.deployment, a.outcome, a.status) for a in problem.attempts]
            assert KEY not in repr(problem) + str(problem) + repr(vars(problem))

    def test_of_several_deployments_are_told_together(self, colour: Colour, server: ScriptedServer) -> None:
        """
        When all have failed there is a group of the errors in order; its kind and status are the most telling one's.
        """
        server.answer(error(500), error(500), error(401))
        gateway = colour.gateway(config(server, retry={"max_attempts": 2, "base_delay": 0, "max_delay": 0}))

        with pytest.raises(AllAttemptsFailed) as raised:
            colour.chat(gateway, "chain")

        group = raised.value
        assert ["upstream_error", "upstream_error", "authentication_failed"] == [e.kind for e in group.exceptions]  # type: ignore[attr-defined]
        assert ("authentication_failed", 401) == (group.kind, group.status)
        assert ["up/a", "up/a", "up/b"] == [attempt.deployment for attempt in group.attempts]
        assert isinstance(group, ExceptionGroup)
        assert KEY not in str(group) + repr(group)

    def test_a_refused_key_rests(self, colour: Colour, server: ScriptedServer) -> None:
        """
        After a 401 whoever shares the key is left alone: nobody is asked with it.
        """
        server.answer(error(401))
        gateway = colour.gateway(config(server))

        with pytest.raises(AuthenticationFailed):
            colour.chat(gateway, "chain")
        with pytest.raises(GatewayError, match="nobody can be asked"):
            colour.chat(gateway, "chain")

        assert 1 == len(server.requests)

    def test_a_middleware_that_fails_leaves_nothing_behind(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Whatever a hook of the user's raises, wherever it stands, every permit comes back.
        """
        server.always(stream(["a", "b"]))

        class Unkind(RuntimeError):
            pass

        def broken(where: str) -> Any:
            async def middleware(call: Any, call_next: Any) -> Any:
                if where == "before":
                    raise Unkind
                reply: Reply = await call_next(call)

                def fail(*_: Any) -> Any:
                    raise Unkind

                async def fail_later() -> None:
                    raise Unkind

                if where == "after":
                    # The reply is dropped as it is.
                    raise Unkind
                {"chunk": reply.through, "end": reply.on_end}.get(where, lambda _: None)(fail)
                if where == "complete":
                    reply.on_complete(fail_later)
                return reply

            return middleware

        for slot in ("outermost", "before_cache", "before_attempts", "each_attempt"):
            for where in ("before", "after", "chunk", "complete", "end"):
                limit = {"max_concurrency": 1, "on_limit": "reject"}
                limits = [limit, limit | {"per": "deployment"}]
                gateway = colour.gateway(
                    config(server, rate_limit=limits, retry="off"), middleware=[(slot, broken(where))]
                )
                with warnings.catch_warnings():
                    if where == "after":
                        warnings.simplefilter("ignore", ResourceWarning)
                    for _ in range(2):
                        with pytest.raises((Unkind, GatewayError)) as raised:
                            colour.read(gateway)
                        assert not isinstance(raised.value, LimitReached), (slot, where)
                    del raised
                health = gateway.health()
                assert 0 == gateway.stats().in_flight, (slot, where)
                assert 0 == health["deployments"]["up/a"]["in_flight"], (slot, where)


class TestLife:
    def test_a_closed_gateway_refuses(self, colour: Colour, server: ScriptedServer) -> None:
        """
        After `close` every verb raises GatewayClosed and asks nobody.
        """
        server.always(chat("hi"))
        gateway = colour.gateway(config(server))
        colour.chat(gateway)

        colour.close(gateway)

        for verb, args in (
            ("chat", ("fast", "x")),
            ("embed", ("fast", "x")),
            ("complete", ("fast", "x")),
            ("request", ("up", "GET", "/x")),
            ("models", ()),
        ):
            with pytest.raises(GatewayClosed):
                colour.ask(gateway, verb, *args)
        with pytest.raises(GatewayClosed):
            colour.read(gateway)
        assert 1 == len(server.requests)
        assert ("closed", 0) == (gateway.health()["status"], gateway.stats().in_flight)
        assert "closed" in repr(gateway)

    def test_tells_how_it_is(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Statistics count calls, outcomes, tokens and attempts; health is plain values; repr names the routes.
        """
        server.answer(error(500), chat("hi", usage=Usage(10, 5)), stream(["a"], usage=Usage(1, 2)))
        gateway = colour.gateway(config(server))

        colour.chat(gateway)
        colour.read(gateway)

        counts = gateway.stats()
        assert (2, 0, {"ok": 2}, 3, 11, 7) == (
            counts.calls,
            counts.in_flight,
            counts.outcomes,
            counts.attempts,
            counts.input_tokens,
            counts.output_tokens,
        )
        health = gateway.health()
        assert ("ok", True) == (health["status"], health["deployments"]["up/a"]["available"])
        assert "<Gateway fast, chain; 0 in flight>" == repr(gateway)
        assert gateway.explain("fast", "hello")

    def test_checks_the_health_of_providers_when_asked_to(self, colour: Colour, server: ScriptedServer) -> None:
        """
        With `health_check` each provider is asked for its models every so often, from the first call on until the end.
        """
        server.always(models(["m"]), path="/models")
        server.always(chat("hi"), path="/chat/completions")
        gateway = colour.gateway(config(server, load_balance={"health_check": "50ms"}))

        colour.chat(gateway)

        assert server.wait_requests(4, 3.0)
        colour.close(gateway)
        assert {"/v1/models"} == {request.path for request in server.requests[1:]}
        seen = len(server.requests)
        time.sleep(0.15)
        assert len(server.requests) <= seen + 1
