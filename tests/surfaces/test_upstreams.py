"""Who answers somebody's own client, and what of that client goes where."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from llmgate import Gateway, OpenAICompatible
from llmgate.middleware.attempts import Route
from llmgate.providers.own import OwnUpstream
from llmgate.testing import Close, Pause, ScriptedServer, chat, error, http_response, models, raw, stream
from tests.conftest import Colour
from tests.surfaces.sdks import HELLO, KEY, anthropic_on, client_of, config, openai_on

OWN_KEY = "sk-own-0123456789abcdef"


def create(colour: Colour, client: Any, model: str = "gpt-x", **more: Any) -> Any:
    return colour.do(client.chat.completions.create(model=model, messages=HELLO, **more))


class TestOwnUpstream:
    def test_answers_without_any_configuration(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A client keeps its own upstream: model, key, base path, query and headers are the client's.
        """
        server.answer(chat("hi"))
        client = openai_on(
            colour,
            colour.gateway(),
            f"{server.origin}/some/base",
            api_key=OWN_KEY,
            organization="org-1",
            default_query={"api-version": "2026-01-01"},
            default_headers={"x-mine": "yes", "x-llmgate-tenant": "acme"},
        )

        answer = create(colour, client, temperature=0.5)

        sent = server.requests[0]
        assert "hi" == answer.choices[0].message.content
        assert ("/some/base/chat/completions", "api-version=2026-01-01") == (sent.path, sent.query)
        assert {"model": "gpt-x", "messages": HELLO, "temperature": 0.5} == sent.json()
        assert f"Bearer {OWN_KEY}" == sent.headers["authorization"]
        assert ("org-1", "yes", "application/json") == (
            sent.headers["openai-organization"],
            sent.headers["x-mine"],
            sent.headers["content-type"],
        )
        assert sent.headers["user-agent"].startswith(("OpenAI/Python", "AsyncOpenAI/Python"))
        assert len(sent.raw_headers) == len({name.lower() for name, _ in sent.raw_headers})
        assert not any("llmgate" in name for name in sent.headers)

    def test_streams(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Its streams are streams.
        """
        server.answer(stream(["h", "i"]))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=OWN_KEY)

        events = create(colour, client, stream=True)

        assert "hi" == "".join(event.choices[0].delta.content or "" for event in events if event.choices)

    def test_is_told_the_key_in_the_clients_own_header(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Azure's clients send `api-key` without a prefix, Anthropic's a bearer token.
        """
        server.answer(chat("hi"), http_response(200, MESSAGE))
        gateway = colour.gateway()
        make: Any = openai.AzureOpenAI if colour.blocking else openai.AsyncAzureOpenAI
        azure = make(
            azure_endpoint=server.origin,
            api_version="2024-10-21",
            api_key=OWN_KEY,
            http_client=gateway.http_client() if colour.blocking else gateway.aio.http_client(),
        )
        claude = anthropic_on(colour, gateway, server.origin, api_key=OWN_KEY)

        create(colour, azure, "my-gpt")
        colour.do(claude.messages.create(model="claude-x", max_tokens=9, messages=HELLO))

        first, second = server.requests
        assert ("/openai/deployments/my-gpt/chat/completions", "api-version=2024-10-21") == (first.path, first.query)
        assert (OWN_KEY, f"Bearer {OWN_KEY}") == (first.headers["api-key"], second.headers["authorization"])
        assert ("/v1/messages", claude.default_headers["anthropic-version"]) == (
            second.path,
            second.headers["anthropic-version"],
        )

    def test_needs_no_key(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A server of one's own may want none; nothing out of the environment is sent in its place.
        """
        server.always(chat("hi"))
        client = client_of(colour, colour.gateway(environ={"OPENAI_API_KEY": KEY}))

        for headers in ({}, {"authorization": "Bearer "}):
            body = {"model": "gpt-x", "messages": HELLO}
            colour.do(client.post(f"{server.base_url}/chat/completions", json=body, headers=headers))

        assert [False, False] == ["authorization" in request.headers for request in server.requests]

    def test_has_a_breaker_that_lives_on(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What one client learns of its upstream another one with the same key knows, and one with another key does not.
        """
        server.always(error(500))
        gateway = colour.gateway({"retry": {"max_attempts": 1}, "circuit_breaker": {"threshold": 2, "timeout": "60s"}})
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                create(colour, openai_on(colour, gateway, server.base_url, api_key=OWN_KEY))
        assert 2 == len(server.requests)

        with pytest.raises(openai.InternalServerError, match="open") as caught:
            create(colour, openai_on(colour, gateway, server.base_url, api_key=OWN_KEY))
        with pytest.raises(openai.InternalServerError):
            create(colour, openai_on(colour, gateway, server.base_url, api_key="sk-another"))

        assert 503 == caught.value.status_code
        assert 3 == len(server.requests)

    def test_is_retried(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The gateway tries again what the SDK would have tried again, and the SDK does not do it, too.
        """
        server.answer(error(503), error(503), chat("hi"))
        gateway = colour.gateway({"retry": {"max_attempts": 3, "base_delay": 0, "max_delay": 0}})
        client = openai_on(colour, gateway, server.base_url, api_key=OWN_KEY)

        answer = create(colour, client)

        assert "hi" == answer.choices[0].message.content
        assert 3 == len(server.requests)
        assert {"0"} == {request.headers["x-stainless-retry-count"] for request in server.requests}

    def test_keeps_answers_apart_by_key_and_by_headers(self, colour: Colour, server: ScriptedServer) -> None:
        """
        In the cache an answer belongs to the key and to the headers it was asked with, but not to those that say nothing.
        """
        server.always(chat("hi"))
        gateway = colour.gateway({"cache": {"enabled": True}})

        def ask(key: str = OWN_KEY, base_url: str = server.base_url, **headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            create(colour, openai_on(colour, gateway, base_url, api_key=key), extra_headers=named)
            return len(server.requests)

        assert [1, 1, 2, 3, 4, 4, 5] == [
            ask(),
            ask(),
            ask("sk-another"),
            ask(openai_organization="org-1"),
            ask(x_mine="yes"),
            ask(x_mine="yes", x_request_id="7", traceparent="00-1"),
            ask(base_url=f"{server.origin}/v2/v1"),
        ]

    def test_costs_what_its_vendor_asks(self) -> None:
        """
        At a known address the published prices are known.
        """
        known = OwnUpstream.of("x", "https://api.openai.com:443", "/v1", "openai_responses", None)
        unknown = OwnUpstream.of("x", "https://api.example.com:443", "/v1", "openai_chat", None)

        assert ("openai", "openai_responses", "") == (known.price_id(), known.dialect(), unknown.price_id())
        assert [] == known.secrets()  # and no key out of the environment

    def test_is_where_its_client_says(self) -> None:
        """
        Whoever made a client for an address without encryption meant it.
        """
        upstream = OwnUpstream.of("x", "http://models.internal:80", "/v1", "openai_chat", None)

        assert ("http://models.internal:80", "/v1") == upstream.place()

    def test_shows_no_key(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Neither its name nor anything that tells about it holds the key.
        """
        server.answer(chat("hi"))
        gateway = colour.gateway()
        client = openai_on(colour, gateway, server.base_url, api_key=OWN_KEY)

        answer = colour.do(client.chat.completions.with_raw_response.create(model="gpt-x", messages=HELLO))

        assert answer.headers["x-llmgate-deployment"].startswith(f"127.0.0.1:{server.port}~")
        assert answer.headers["x-llmgate-deployment"].endswith("/gpt-x")
        assert OWN_KEY not in repr(gateway.health()) + repr(answer.headers)

    def test_is_forgotten_when_there_are_too_many(self, colour: Colour, server: ScriptedServer) -> None:
        """
        However many keys come by, what is kept of them is bounded.
        """
        server.always(chat("hi"))
        gateway = colour.gateway()
        pipeline = gateway._current()

        create(colour, openai_on(colour, gateway, server.base_url))
        known = list(gateway.health()["deployments"])
        for number in range(1000):
            pipeline.passing(("another", number), lambda: Route("another", ()))

        assert 1 == len(known)
        assert 1000 == len(pipeline._passing)
        assert {} == gateway.health()["deployments"]


MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "hi"}], "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip


class TestUnread:
    def test_passes_through_both_ways(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Of what the gateway does not know method, path, query, type and bytes go out unchanged; status, headers and bytes
        come back unchanged.
        """
        body = b'{"odd":   "spacing", "n": 1e2}'
        said = {"x-mine": "yes", "x-request-id": "req_1"}
        server.answer(http_response(202, b"\x00\xff raw", said, content_type="application/x-odd"))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=OWN_KEY)

        answer = colour.do(
            client._client.request(
                "PUT",
                f"{server.base_url}/odd/things?a=1&b=%2F",
                content=body,
                headers={"content-type": "application/x-new", "authorization": f"Bearer {OWN_KEY}"},
            )
        )

        sent = server.requests[0]
        assert ("PUT", "/v1/odd/things", "a=1&b=%2F", body) == (sent.method, sent.path, sent.query, sent.body)
        assert ("application/x-new", f"Bearer {OWN_KEY}") == (
            sent.headers["content-type"],
            sent.headers["authorization"],
        )
        assert (202, b"\x00\xff raw", "yes", "req_1", "application/x-odd") == (
            answer.status_code,
            answer.content,
            answer.headers["x-mine"],
            answer.headers["x-request-id"],
            answer.headers["content-type"],
        )

    def test_says_no_more_than_the_client(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A request without a body has no type of one.
        """
        server.answer(http_response(200, b"ok", content_type="text/plain"))
        client = client_of(colour, colour.gateway())

        colour.do(client.get(f"{server.base_url}/odd"))

        assert "content-type" not in server.requests[0].headers

    def test_may_take_its_time(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Nobody knows how long such work takes before it says its first word; only the call's own time ends it.
        """
        server.answer(raw(Pause(0.3), http_response(200, {"id": "f", "object": "file"})))
        gateway = colour.gateway({"timeouts": {"first_token": "100ms"}, "retry": {"max_attempts": 1}})
        client = openai_on(colour, gateway, server.base_url, api_key=OWN_KEY)

        assert "f" == colour.do(client.files.retrieve("f")).id

    def test_is_never_kept(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Nobody knows whether two such requests are one question, nor is the answer to the gateway's own verb one to them.
        """
        server.answer(*(http_response(200, {"id": id, "object": "file"}) for id in "abc"))
        gateway = colour.gateway(config(server, cache={"enabled": True, "verbs": ["request"]}))
        files = openai_on(colour, gateway).files

        first = colour.ask(gateway, "request", "up", "GET", "/files/f")
        others = [colour.do(files.retrieve("f", extra_headers={"x-llmgate-route": "up"})) for _ in range(2)]

        assert ["a", "b", "c"] == [first.json()["id"], *(file.id for file in others)]

    def test_does_not_make_a_provider_a_model(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A provider's own name says enough where no model is needed, and means nothing elsewhere.
        """
        server.always(http_response(200, {"id": "f", "object": "file"}))
        client = openai_on(colour, colour.gateway(config(server)))

        colour.do(client.files.retrieve("f", extra_headers={"x-llmgate-route": "up"}))
        with pytest.raises(openai.NotFoundError, match="is a provider; write up/MODEL"):
            create(colour, client, "up")

    def test_uploads(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A file goes up in its form, byte for byte.
        """
        server.answer(http_response(200, {"id": "file-1", "object": "file"}))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=OWN_KEY)

        file = colour.do(client.files.create(file=("a.jsonl", b"\x00binary\r\n--x"), purpose="batch"))

        assert "file-1" == file.id
        assert b"\x00binary\r\n--x" in server.requests[0].body
        assert server.requests[0].headers["content-type"].startswith("multipart/form-data; boundary=")

    def test_comes_unpacked(self, colour: Colour, server: ScriptedServer) -> None:
        """
        An upstream that packs its answer, asked or not, is unpacked once.
        """
        server.answer(http_response(200, {"id": "f", "object": "file"}, gzip=True))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=OWN_KEY)

        assert "f" == colour.do(client.files.retrieve("f")).id

    def test_downloads_come_as_they_come(self, colour: Colour, server: ScriptedServer) -> None:
        """
        The first bytes of a download are there before the last were sent.
        """
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 10\r\n\r\n"
        server.answer(raw(head + b"first", Pause(0.4), b"later"))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=OWN_KEY)

        pieces = colour.do(_pieces(colour, client))

        assert [b"first", b"later"] == pieces

    def test_lists_models_as_the_upstream_does(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A client with an upstream of its own is told that upstream's models, under its names.
        """
        server.answer(models(["a", "b"]))
        client = openai_on(colour, colour.gateway(config(server) | {"providers": {}, "routes": {}}), server.base_url)

        assert ["a", "b"] == [model.id for model in colour.do(_all(colour, client.models.list()))]

    def test_goes_to_the_configured_provider_at_its_address(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Below the base URL of a provider it is that provider's, and so is the key; elsewhere it is the client's own.
        """
        server.always(http_response(200, {"id": "f", "object": "file"}))
        gateway = colour.gateway(config(server))

        colour.do(openai_on(colour, gateway, server.base_url, api_key=OWN_KEY).files.retrieve("f"))
        colour.do(openai_on(colour, gateway, f"{server.origin}/v7", api_key=OWN_KEY).files.retrieve("f"))

        assert [("/v1/files/f", f"Bearer {KEY}"), ("/v7/files/f", f"Bearer {OWN_KEY}")] == [
            (request.path, request.headers["authorization"]) for request in server.requests
        ]

    def test_goes_to_the_provider_that_a_header_names(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A client of the gateway itself says to whom; what it does not say is asked for.
        """
        server.always(http_response(200, {"id": "f", "object": "file"}))
        deep = {"kind": "openai-compatible", "base_url": f"{server.origin}/openai/v1", "api_key": KEY}
        gateway = colour.gateway(config(server) | {"providers": config(server)["providers"] | {"deep": deep}})
        client = openai_on(colour, gateway)

        for name in ("up", "deep"):
            colour.do(client.files.retrieve("f", extra_headers={"x-llmgate-route": name}))
        with pytest.raises(openai.NotFoundError, match="x-llmgate-route"):
            colour.do(client.files.retrieve("f"))
        named = {"x-llmgate-route": "up"}
        colour.do(client.files.create(file=("a.jsonl", b"{}"), purpose="batch", extra_headers=named))

        assert ["/v1/files/f", "/openai/v1/files/f", "/v1/files"] == [request.path for request in server.requests]
        assert server.requests[2].headers["content-type"].startswith("multipart/form-data; boundary=")

    def test_refuses_with_the_upstreams_status(self, colour: Colour, server: ScriptedServer) -> None:
        """
        What was not read is not understood better than by its own upstream: a file that is not there is a 404.
        """
        server.answer(error(404, {"error": {"message": "No such file", "type": "invalid_request_error"}}), error(409))
        gateway = colour.gateway({"retry": {"max_attempts": 1}})
        client = openai_on(colour, gateway, server.base_url, api_key=OWN_KEY)

        with pytest.raises(openai.NotFoundError, match="No such file"):
            colour.do(client.files.retrieve("f"))
        with pytest.raises(openai.ConflictError):
            colour.do(client.files.delete("f"))

    def test_follows_redirects_in_the_client(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Where to go next is for the client to decide, which follows, and leaves its key behind on a foreign host.
        """
        with ScriptedServer(http_response(200, b"content", content_type="text/plain")) as other:
            server.answer(http_response(302, b"", {"location": f"{other.origin}/elsewhere"}))
            gateway = colour.gateway()
            client = openai_on(colour, gateway, server.base_url, api_key=OWN_KEY)

            content = colour.do(client.files.content("f"))

            assert b"content" == content.content
            assert "/elsewhere" == other.requests[0].path
            assert "authorization" not in other.requests[0].headers
            colour.close(gateway)

    def test_breaks_when_the_body_breaks(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Half a download is no download.
        """
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 10\r\n\r\n"
        server.always(raw(head + b"first", Close()))
        client = openai_on(colour, colour.gateway(), server.base_url, api_key=OWN_KEY, max_retries=0)

        with pytest.raises(openai.APIConnectionError) as caught:
            colour.do(client.files.content("f"))

        assert "broke off" in str(caught.value.__cause__)


def _pieces(colour: Colour, client: Any) -> Any:
    """The pieces in which a download arrives."""
    if colour.blocking:
        with client.files.with_streaming_response.content("f") as answer:
            return list(answer.iter_bytes())

    async def pieces() -> list[bytes]:
        async with client.files.with_streaming_response.content("f") as answer:
            return [piece async for piece in answer.iter_bytes()]

    return pieces()


def _all(colour: Colour, page: Any) -> Any:
    if colour.blocking:
        return list(page)

    async def everything() -> list[Any]:
        return [item async for item in page]

    return everything()


class TestConfiguredProvider:
    def test_answers_a_bare_name_at_its_address(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A client that was made for a configured provider's address is answered by that provider, with its key.
        """
        server.answer(chat("hi"))
        client = openai_on(colour, colour.gateway(config(server)), server.base_url, api_key=OWN_KEY)

        answer = colour.do(client.chat.completions.with_raw_response.create(model="gpt-x", messages=HELLO))

        assert "up/gpt-x" == answer.headers["x-llmgate-deployment"]
        assert f"Bearer {KEY}" == server.requests[0].headers["authorization"]

    def test_may_come_later(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A provider that is registered while a client is at work answers it from then on.
        """
        server.always(chat("hi"))
        gateway = colour.gateway()
        client = openai_on(colour, gateway, server.base_url, api_key=OWN_KEY)

        create(colour, client)
        gateway.register(OpenAICompatible(name="up", base_url=server.base_url, api_key=KEY))
        create(colour, client)

        assert [f"Bearer {OWN_KEY}", f"Bearer {KEY}"] == [
            request.headers["authorization"] for request in server.requests
        ]

    def test_of_several_the_one_with_the_base_path(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Two providers at one address are told apart by their base paths.
        """
        server.always(chat("hi"))
        providers = {
            name: {"kind": "openai-compatible", "base_url": f"{server.origin}/{name}", "api_key": f"sk-{name}"}
            for name in ("a", "b")
        }
        gateway = colour.gateway({"providers": providers})

        for name in ("b", "a"):
            create(colour, openai_on(colour, gateway, f"{server.origin}/{name}"))

        assert ["Bearer sk-b", "Bearer sk-a"] == [request.headers["authorization"] for request in server.requests]

    def test_names_of_the_gateway_win(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A route, and `provider/model`, mean the same to every client, whatever address it was made for; any other name with
        a slash is its own upstream's.
        """
        with ScriptedServer() as other:
            other.always(chat("own"))
            server.always(chat("hi"))
            gateway = colour.gateway(config(server))
            client = openai_on(colour, gateway, other.base_url, api_key=OWN_KEY)

            said = [
                create(colour, client, model).choices[0].message.content for model in ("fast", "up/z", "meta/llama")
            ]

            assert ["hi", "hi", "own"] == said
            assert ["m", "z"] == [request.json()["model"] for request in server.requests]
            assert "meta/llama" == other.requests[0].json()["model"]
            colour.close(gateway)

    def test_is_shown_nothing_of_a_foreign_client(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Neither the key nor any header of a client goes to an upstream that the client was not made for.
        """
        server.answer(chat("hi"))
        client = openai_on(
            colour,
            colour.gateway(config(server)),
            "https://api.openai.com/v1",
            api_key=OWN_KEY,
            organization="org-1",
            default_headers={"x-mine": "yes"},
        )

        create(colour, client, "fast")

        sent = server.requests[0].headers
        assert {"host", "content-length", "content-type", "accept-encoding", "user-agent", "authorization"} == set(sent)
        assert (f"Bearer {KEY}", "llmgate") == (sent["authorization"], sent["user-agent"])

    def test_a_chain_answers_for_each_of_its_members(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Where one name stands for several providers in order, the others stand in for a client of the first; a client of
        somebody else's has nothing to do with them.
        """
        with ScriptedServer() as second, ScriptedServer() as foreign:
            server.always(error(503))
            second.always(chat("second"))
            foreign.always(chat("own"))
            providers: Any = {
                "one": {"kind": "openai-compatible", "base_url": server.base_url, "api_key": KEY},
                "two": {"kind": "openai-compatible", "base_url": second.base_url, "api_key": KEY},
            }
            chain = {"primary": "one", "fallback": ["two"], "strategy": "ordered"}
            gateway = colour.gateway({"providers": providers | chain, "retry": {"max_attempts": 1}})

            said = [
                create(colour, openai_on(colour, gateway, one.base_url)).choices[0].message.content
                for one in (server, foreign)
            ]

            assert ["second", "own"] == said
            colour.close(gateway)


class TestNobody:
    def test_an_unknown_name_is_not_found(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Behind the gateway's own address stands nobody: an unknown name is refused with the nearest one.
        """
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.NotFoundError, match='did you mean "fast"') as caught:
            create(colour, client, "fats")

        assert "model_not_found" == caught.value.code

    def test_a_missing_name_is_a_bad_request(self, colour: Colour, server: ScriptedServer) -> None:
        """
        It says what a name may be.
        """
        client = openai_on(colour, colour.gateway(config(server)))

        with pytest.raises(openai.BadRequestError, match="name a route, or provider/model"):
            create(colour, client, "")


def test_a_forked_pipeline_has_upstreams_of_its_own(server: ScriptedServer) -> None:
    """
    A gateway that began anew, as after a fork, knows its clients' upstreams anew.
    """
    server.always(chat("hi"))
    with Gateway() as gateway:
        client = openai.OpenAI(api_key=OWN_KEY, base_url=server.base_url, http_client=gateway.http_client())
        client.chat.completions.create(model="gpt-x", messages=HELLO)
        gateway._rebuild()
        assert {} == gateway.health()["deployments"]

        client.chat.completions.create(model="gpt-x", messages=HELLO)

        assert 1 == len(gateway.health()["deployments"])
