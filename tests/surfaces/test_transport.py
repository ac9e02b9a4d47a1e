"""Existing code, unchanged, through the gateway: what every SDK meets on its way, shown by the one that most people use."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import warnings
from typing import Any

import httpx
import httpx2
import openai
import pytest

from llmgate import ConfigError, Gateway, Simulated
from llmgate.testing import Close, Hang, Pause, Reset, ScriptedServer, chat, embeddings, http_response, raw, stream
from llmgate.types.response import ToolCall
from tests.conftest import Colour
from tests.surfaces.sdks import HELLO, KEY, client_of, config, openai_on

TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def texts(events: Any) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


class TestAnswers:
    @pytest.mark.parametrize("kind", ["httpx", "httpx2"])
    def test_a_whole_answer(self, colour: Colour, server: ScriptedServer, kind: str) -> None:
        """
        The SDK gets what the upstream said, and the upstream what the SDK said, for the route's model and with its key.
        """
        server.answer(chat("hi", system_fingerprint="fp"))
        gateway = colour.gateway(config(server))
        client = openai_on(colour, gateway, http_client=client_of(colour, gateway, kind))

        answer = colour.do(client.chat.completions.create(model="fast", messages=HELLO, temperature=0))

        assert ("hi", "stop", 12) == (
            answer.choices[0].message.content,
            answer.choices[0].finish_reason,
            answer.usage.completion_tokens,
        )
        assert {"model": "m", "messages": HELLO, "temperature": 0} == server.requests[0].json()
        assert f"Bearer {KEY}" == server.requests[0].headers["authorization"]

    @pytest.mark.parametrize("kind", ["httpx", "httpx2"])
    def test_a_stream(self, colour: Colour, server: ScriptedServer, kind: str) -> None:
        """
        A stream arrives piece by piece, and ends.
        """
        server.answer(stream(["Why ", "is ", "the sky ", "blue?"]))
        gateway = colour.gateway(config(server))
        client = openai_on(colour, gateway, http_client=client_of(colour, gateway, kind))

        events = colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True))

        assert "Why is the sky blue?" == texts(events)
        assert "stop" == [event for event in events if event.choices][-1].choices[0].finish_reason
        assert True is server.requests[0].json()["stream"]

    def test_tools(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Tools go out and their calls come back, whole and in a stream.
        """
        call = ToolCall("call_1", "weather", '{"city": "Oslo"}')
        server.answer(chat(None, tool_calls=[call]), stream(tool_calls=[call]))
        completions = openai_on(colour, colour.gateway(config(server))).chat.completions

        whole = colour.do(completions.create(model="fast", messages=HELLO, tools=[TOOL]))
        events = colour.do(completions.create(model="fast", messages=HELLO, tools=[TOOL], stream=True))

        made = whole.choices[0].message.tool_calls[0]
        pieces = [piece for event in events if event.choices for piece in event.choices[0].delta.tool_calls or ()]
        assert ("call_1", "weather", '{"city": "Oslo"}') == (made.id, made.function.name, made.function.arguments)
        assert '{"city": "Oslo"}' == "".join(piece.function.arguments or "" for piece in pieces)
        assert "weather" == pieces[0].function.name
        assert [[TOOL]] * 2 == [request.json()["tools"] for request in server.requests]

    def test_embeddings(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Vectors come back in the order of the inputs.
        """
        server.answer(embeddings([[0.5, 0.25], [1.0, -1.0]]))
        client = openai_on(colour, colour.gateway(config(server)))

        answer = colour.do(client.embeddings.create(model="fast", input=["one", "two"]))

        assert [[0.5, 0.25], [1.0, -1.0]] == [item.embedding for item in answer.data]
        assert ["one", "two"] == server.requests[0].json()["input"]

    def test_responses(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The Responses API is answered by an upstream that has only chats, whole and in a stream.
        """
        server.answer(chat("hi"), stream(["h", "i"]))
        client = openai_on(colour, colour.gateway(config(server)))

        whole = colour.do(client.responses.create(model="fast", input="hello"))
        events = colour.do(client.responses.create(model="fast", input="hello", stream=True))

        assert "hi" == whole.output_text
        assert "hi" == "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert "response.completed" == events[-1].type

    def test_models_of_the_gateway(self, colour: Colour) -> None:
        """
        A client of the gateway itself lists every name that it can ask for: the routes, then `provider/model`.
        """
        gateway = colour.gateway({"routes": {"fast": ["pretend/a"]}}, providers=[Simulated(name="pretend")])

        offered = colour.do(openai_on(colour, gateway).models.list())

        assert "fast" == offered.data[0].id
        assert all(model.id.startswith("pretend/") for model in offered.data[1:])
        assert len(offered.data) > 1

    def test_a_stream_out_of_a_cache(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A whole answer that is kept serves a stream, too.
        """
        server.answer(chat("hi"))
        completions = openai_on(colour, colour.gateway(config(server, cache={"enabled": True}))).chat.completions

        colour.do(completions.create(model="fast", messages=HELLO))
        events = colour.do(completions.create(model="fast", messages=HELLO, stream=True))

        assert "hi" == texts(events)
        assert 1 == len(server.requests)

    def test_the_gateways_own_verbs_share_the_cache(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What was asked through an SDK need not be asked again by `gateway.chat`.
        """
        server.answer(chat("hi"))
        gateway = colour.gateway(config(server, cache={"enabled": True}))

        colour.do(openai_on(colour, gateway).chat.completions.create(model="fast", messages=HELLO))

        assert "memory" == colour.chat(gateway, "fast", HELLO).cached

    def test_two_calls_at_once(self, server: ScriptedServer) -> None:
        """
        On an event loop nobody waits for anybody else: two slow answers take the time of one.
        """
        server.always(raw(Pause(0.3), chat("hi")))

        async def both() -> float:
            async with Gateway(config(server)).aio as face:
                completions = openai.AsyncOpenAI(
                    api_key="unused", base_url="http://llmgate/v1", http_client=face.http_client()
                ).chat.completions
                started = time.monotonic()
                await asyncio.gather(*(completions.create(model="fast", messages=HELLO) for _ in range(4)))
                return time.monotonic() - started

        assert asyncio.run(both()) < 0.9


class TestCircumstances:
    def test_are_headers_of_the_answer(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Who answered, after how many attempts, for how much and under which id, in the headers of the answer.
        """
        server.answer(http_response(503, {"error": {"message": "busy"}}), chat("hi"))
        prices = {"up/m": {"input": 1_000_000, "output": 1_000_000}}
        retry = {"max_attempts": 2, "base_delay": 0, "max_delay": 0}
        client = openai_on(colour, colour.gateway(config(server, prices=prices, retry=retry)))

        answer = colour.do(client.chat.completions.with_raw_response.create(model="fast", messages=HELLO))

        told = {name: answer.headers.get(name) for name in answer.headers if name.startswith("x-")}
        assert {
            "x-llmgate-deployment": "up/m",
            "x-llmgate-attempts": "2",
            "x-llmgate-cost": "21.000000",
            "x-request-id": "req_scripted",
        } == told
        assert "req_scripted" == answer.parse()._request_id

    def test_of_a_stream(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What is known when a stream begins is told with it.
        """
        server.answer(stream(["hi"]))
        client = openai_on(colour, colour.gateway(config(server)))

        answer = colour.do(client.chat.completions.with_raw_response.create(model="fast", messages=HELLO, stream=True))

        assert ("up/m", "1", "text/event-stream; charset=utf-8") == (
            answer.headers["x-llmgate-deployment"],
            answer.headers["x-llmgate-attempts"],
            answer.headers["content-type"],
        )
        colour.do(_later(colour, answer.parse()))

    def test_of_a_cached_answer(self, colour: Colour, server: ScriptedServer) -> None:
        """
        An answer out of the cache says so, and costs nothing.
        """
        server.answer(chat("hi"))
        raw_completions = openai_on(
            colour, colour.gateway(config(server, cache={"enabled": True}))
        ).chat.completions.with_raw_response

        first, second = (colour.do(raw_completions.create(model="fast", messages=HELLO)) for _ in range(2))

        assert (None, "memory", "0") == (
            first.headers.get("x-llmgate-cached"),
            second.headers["x-llmgate-cached"],
            second.headers["x-llmgate-cost"],
        )
        assert "0" == second.headers["x-llmgate-attempts"]


def _later(colour: Colour, stream: Any) -> Any:
    """A stream as the colour's `do` takes it."""
    if colour.blocking:
        return stream

    async def given() -> Any:
        return stream

    return given()


class TestOptions:
    def test_a_scope_holds_for_calls_through_an_sdk(self, colour: Colour, server: ScriptedServer) -> None:
        """
        `gateway.scope` sets the tenant of calls that come in through an SDK, too.
        """
        server.always(chat("hi"))
        gateway = colour.gateway(config(server, cache={"enabled": True}))
        completions = openai_on(colour, gateway).chat.completions

        with gateway.scope(tenant="acme"):
            colour.do(completions.create(model="fast", messages=HELLO))
            colour.do(completions.create(model="fast", messages=HELLO))
        colour.do(completions.create(model="fast", messages=HELLO))

        assert 2 == len(server.requests)

    def test_a_header_names_the_tenant(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Tenants do not see one another's answers, and the header goes to no upstream.
        """
        server.always(chat("hi"))
        completions = openai_on(colour, colour.gateway(config(server, cache={"enabled": True}))).chat.completions

        for tenant in ("a", "b", "a"):
            headers = {"x-llmgate-tenant": tenant}
            colour.do(completions.create(model="fast", messages=HELLO, extra_headers=headers))

        assert 2 == len(server.requests)
        assert not any("llmgate" in name for request in server.requests for name in request.headers)

    @pytest.mark.parametrize(
        ("value", "asked"), [("no-cache", 2), ("false", 2), ("true", 1), ("ttl=1h, namespace=n", 1), ("ttl=0s", 2)]
    )
    def test_a_header_is_about_the_cache(self, colour: Colour, server: ScriptedServer, value: str, asked: int) -> None:
        """
        A call says of the cache in a header what the keyword says; a temperature makes it ask for it in so many words.
        """
        server.always(chat("hi"))
        completions = openai_on(colour, colour.gateway(config(server, cache={"enabled": True}))).chat.completions

        for _ in range(2):
            headers = {"x-llmgate-cache": value}
            colour.do(completions.create(model="fast", messages=HELLO, temperature=1, extra_headers=headers))

        assert asked == len(server.requests)

    def test_a_header_gives_the_time(self, colour: Colour, server: ScriptedServer) -> None:
        """
        When the call's own time is over the SDK raises its word for 504, and tries nothing again.
        """
        server.always(raw(Hang()))
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.InternalServerError) as caught:
            colour.do(
                client.chat.completions.create(
                    model="fast", messages=HELLO, extra_headers={"x-llmgate-timeout": "200ms"}
                )
            )

        assert 504 == caught.value.status_code
        assert 1 == len(server.requests)

    def test_a_header_names_the_route(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A header wins over the model in the body.
        """
        server.answer(chat("hi"))
        client = openai_on(colour, colour.gateway(config(server)))

        headers = {"x-llmgate-route": "up/other"}
        colour.do(client.chat.completions.create(model="fast", messages=HELLO, extra_headers=headers))

        assert "other" == server.requests[0].json()["model"]

    def test_a_header_has_tags(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Tags reach the middleware.
        """
        seen: list[Any] = []

        async def look(call: Any, call_next: Any) -> Any:
            seen.append((call.options.tenant, dict(call.options.tags)))
            return await call_next(call)

        server.answer(chat("hi"))
        client = openai_on(colour, colour.gateway(config(server), middleware=[look]))

        headers = {"x-llmgate-tags": "team=search, env=test"}
        colour.do(client.chat.completions.create(model="fast", messages=HELLO, extra_headers=headers))

        assert [("", {"team": "search", "env": "test"})] == seen

    @pytest.mark.parametrize("header", ["timeout", "tags", "cache"])
    def test_a_wrong_header_is_a_bad_request(self, colour: Colour, server: ScriptedServer, header: str) -> None:
        """
        What a header says wrong is refused by its name, before anybody is asked.
        """
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.BadRequestError, match=header):
            headers = {f"x-llmgate-{header}": "soon"}
            colour.do(client.chat.completions.create(model="fast", messages=HELLO, extra_headers=headers))

        assert [] == server.requests

    def test_the_sdks_own_time_is_the_sdks_own_error(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Who gives a timeout in the SDK gets the SDK's timeout, as without the gateway.
        """
        server.always(raw(Hang()))
        client = openai_on(colour, colour.gateway(config(server)), timeout=0.2, max_retries=0)

        with pytest.raises(openai.APITimeoutError):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO))

        assert 1 == len(server.requests)


class TestStreams:
    def test_the_first_event_comes_at_once(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The SDK has the first text while the upstream still thinks about the second.
        """
        server.answer(stream(["first", "second"], gap_s=0.5))
        client = openai_on(colour, colour.gateway(config(server)))

        waited = colour.do(_first(colour, client))

        assert 0.4 < waited < 0.9

    @pytest.mark.parametrize("ending", [Close(), Reset()], ids=repr)
    def test_a_cut_stream_raises(self, colour: Colour, server: ScriptedServer, ending: Any) -> None:
        """
        A stream that broke off never ends quietly.
        """
        server.answer(stream(["one", "two"], cut_after=1, ending=ending))
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.APIError, match="broke off"):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True))

    def test_a_stream_without_its_end_raises(self, colour: Colour, server: ScriptedServer) -> None:
        """
        HTTP sees nothing amiss in a stream that ends properly and says nothing of a finish; the gateway does.
        """
        server.answer(stream(["one", "two"], cut_after=1))
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.APIError, match="ended before the answer did"):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True))

    def test_an_error_in_a_stream_raises(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What the upstream says in the middle of a stream reaches the SDK.
        """
        server.answer(stream(["one", "two"], cut_after=1, error_midstream={"error": {"message": "the model fainted"}}))
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.APIError, match="the model fainted"):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO, stream=True))

    def test_whoever_knows_no_errors_in_streams_sees_a_broken_body(self, server: ScriptedServer) -> None:
        """
        After the dialect's own words the body itself breaks off, which every HTTP client raises.
        """
        server.always(stream(["one", "two"], cut_after=1, ending=Close()))
        with Gateway(config(server)) as gateway:
            for library, client in ((httpx, gateway.http_client("httpx")), (httpx2, gateway.http_client())):
                body = {"model": "fast", "messages": HELLO, "stream": True}
                with pytest.raises(library.RemoteProtocolError):  # type: ignore[attr-defined]
                    client.post("http://llmgate/v1/chat/completions", json=body)

    def test_leaving_a_stream_closes_the_upstream(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Within a tenth of a second of the SDK's `close` the upstream's connection is gone, and the gateway is idle.
        """
        server.answer(stream(["first", "second"], cut_after=1, ending=Hang()))
        gateway = colour.gateway(config(server))

        closed = colour.do(_left(colour, openai_on(colour, gateway), server))

        assert closed < 0.1
        assert 0 == gateway.health()["in_flight"]

    def test_cancelling_closes_the_upstream(self, server: ScriptedServer) -> None:
        """
        A task that is cancelled while the SDK waits for an answer leaves no request behind.
        """
        server.always(raw(Hang()))

        async def cancelled() -> float:
            async with Gateway(config(server)).aio as face:
                client = openai.AsyncOpenAI(
                    api_key="unused", base_url="http://llmgate/v1", http_client=face.http_client()
                )
                task = asyncio.create_task(client.chat.completions.create(model="fast", messages=HELLO))
                await asyncio.to_thread(server.wait_requests, 1)
                started = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(server.wait_closed, 2.0)
                return time.monotonic() - started

        assert asyncio.run(cancelled()) < 0.1


def _first(colour: Colour, client: Any) -> Any:
    """Seconds until the first text of a stream, which is then left."""
    started = time.monotonic()
    if colour.blocking:
        with client.chat.completions.create(model="fast", messages=HELLO, stream=True) as events:
            next(event for event in events if event.choices and event.choices[0].delta.content)
            return time.monotonic() - started

    async def waited() -> float:
        async with await client.chat.completions.create(model="fast", messages=HELLO, stream=True) as events:
            async for event in events:
                if event.choices and event.choices[0].delta.content:
                    break
            return time.monotonic() - started

    return waited()


def _left(colour: Colour, client: Any, server: ScriptedServer) -> Any:
    """Seconds from the leaving of a stream until the server sees no connection."""
    if colour.blocking:
        events = client.chat.completions.create(model="fast", messages=HELLO, stream=True)
        next(events)
        started = time.monotonic()
        events.close()
        server.wait_closed(2.0)
        return time.monotonic() - started

    async def left() -> float:
        events = await client.chat.completions.create(model="fast", messages=HELLO, stream=True)
        await anext(events)
        started = time.monotonic()
        await events.close()
        await asyncio.to_thread(server.wait_closed, 2.0)
        return time.monotonic() - started

    return left()


class TestClients:
    def test_waits_as_long_as_the_gateway(self) -> None:
        """
        The SDK takes the client's patience for its own, and the client's is endless: the gateway owns the time.
        """
        with Gateway() as gateway:
            client = openai.OpenAI(api_key="unused", base_url="http://llmgate/v1", http_client=gateway.http_client())

            assert client.timeout == httpx2.Timeout(None)

    def test_knows_prices_before_the_first_answer(self) -> None:
        """
        The list of prices takes its time to load, and no answer waits for it.
        """
        with Gateway() as gateway:
            gateway.transport()

            assert gateway._current().prices.loaded

    def test_closing_a_client_leaves_the_gateway_open(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Two clients share one gateway, and neither closes it.
        """
        server.always(chat("hi"))
        gateway = colour.gateway(config(server))
        first, second = openai_on(colour, gateway), openai_on(colour, gateway)

        if colour.blocking:
            first.close()
        else:
            colour.do(first.close())
        answer = colour.do(second.chat.completions.create(model="fast", messages=HELLO))

        assert "hi" == answer.choices[0].message.content

    @pytest.mark.parametrize("library", [httpx, httpx2])
    def test_one_transport_is_of_both_colours(self, server: ScriptedServer, library: Any) -> None:
        """
        A transport is one of the library's own, for its blocking clients and for its asyncio clients.
        """
        server.always(chat("hi"))
        body = {"model": "fast", "messages": HELLO}
        with Gateway(config(server)) as gateway:
            transport = gateway.transport(library.__name__)

            async def asked() -> Any:
                async with library.AsyncClient(transport=transport) as client:
                    return await client.post("http://llmgate/v1/chat/completions", json=body)

            with library.Client(transport=transport) as client:
                answers = [client.post("http://llmgate/v1/chat/completions", json=body), asyncio.run(asked())]

        assert isinstance(transport, library.BaseTransport)
        assert isinstance(transport, library.AsyncBaseTransport)
        assert ["hi", "hi"] == [answer.json()["choices"][0]["message"]["content"] for answer in answers]
        assert all(answer.elapsed.total_seconds() > 0 for answer in answers)
        assert library.__name__ in repr(transport)

    def test_a_library_that_is_not_there_is_named(self) -> None:
        """
        Neither library is needed for the other's transport; a missing one is named with what to install.
        """
        script = (
            "import sys; sys.modules['httpx'] = None\n"
            "from llmgate import ConfigError, Gateway\n"
            "gateway = Gateway(); gateway.transport(); gateway.http_client('httpx2')\n"
            "try: gateway.transport('httpx')\n"
            "except ConfigError as error: print(error)\n"
        )

        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

        assert "httpx is not installed, and a transport for it needs it: pip install httpx" == said.strip()

    def test_an_unknown_library_is_refused(self) -> None:
        """
        There are two kinds.
        """
        with Gateway() as gateway, pytest.raises(ConfigError, match="there are httpx2 and httpx"):
            gateway.transport("aiohttp")  # type: ignore[arg-type]

    def test_a_blocking_client_on_an_event_loop_warns(self, server: ScriptedServer) -> None:
        """
        Once, as the gateway's own verbs do.
        """
        server.always(chat("hi"))

        async def asked() -> list[str]:
            with Gateway(config(server)) as gateway, warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                client = openai.OpenAI(
                    api_key="unused", base_url="http://llmgate/v1", http_client=gateway.http_client()
                )
                for _ in range(2):
                    client.chat.completions.create(model="fast", messages=HELLO)
                return [str(warning.message) for warning in caught if warning.category is RuntimeWarning]

        said = asyncio.run(asked())

        assert 1 == len(said)
        assert "gateway.aio" in said[0]

    @pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), ConfigError("a client that cannot be used")], ids=repr)
    def test_programming_errors_pass_through(self, colour: Colour, server: ScriptedServer, bug: Exception) -> None:
        """
        A bug in somebody's middleware, or in the configuration, is no answer of any upstream.
        """

        async def buggy(call: Any, call_next: Any) -> Any:
            raise bug

        client = openai_on(colour, colour.gateway(config(server), middleware=[buggy]))

        with pytest.raises(type(bug)):
            colour.do(client.chat.completions.create(model="fast", messages=HELLO))
