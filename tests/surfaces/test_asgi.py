"""The gateway over HTTP: SDKs and sockets talk to it as to any provider."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from llmgate.testing import (
    Hang,
    Pause,
    ScriptedServer,
    chat,
    error,
    http_response,
    models,
    stream,
)
from tests.surfaces.sdks import HELLO, KEY, config
from tests.surfaces.served import Heard, Served, get, hear, keys, listening, post, say

ASK = {"model": "fast", "messages": HELLO}
TRIES = 3  # of what takes as long as it should unless the machine does something else
ALICE, BOB = "sk-llmgate-" + "a1" * 32, "sk-llmgate-" + "b2" * 32


def listens(upstream: ScriptedServer, section: Any, **sections: Any) -> dict[str, Any]:
    """A gateway with one upstream, and this section `server`."""
    return config(upstream, **sections) | {"server": section}


@pytest.fixture
def served(server: ScriptedServer) -> Iterator[Served]:
    with Served(config(server)) as served:
        yield served


@pytest.fixture
def guarded(server: ScriptedServer) -> Iterator[Served]:
    """With two keys: Alice may ask for one route on behalf of acme, Bob is an operator."""
    alice = (ALICE, {"tenant": "acme", "routes": ["fast"], "tags": {"team": "search"}})
    with Served(listens(server, keys(alice=alice, bob=(BOB, {"operator": True})))) as served:
        yield served


class TestSDKs:
    def test_openai(self, served: Served, server: ScriptedServer) -> None:
        """
        OpenAI's SDK is answered, whole and in pieces, and gets its own exceptions.
        """
        server.answer(chat("hello"), stream(["hel", "lo"]), error(400))
        client = openai.OpenAI(api_key="unused", base_url=f"{served.url}/v1", max_retries=0)

        whole = client.chat.completions.create(model="fast", messages=HELLO)
        pieces = list(client.chat.completions.create(model="fast", messages=HELLO, stream=True))
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="fast", messages=HELLO)

        assert "hello" == whole.choices[0].message.content
        assert "hello" == "".join(c.choices[0].delta.content or "" for c in pieces if c.choices)
        client.close()

    def test_anthropic(self, served: Served, server: ScriptedServer) -> None:
        """
        Anthropic's SDK is answered by an upstream that speaks OpenAI's chat, whole and in pieces.
        """
        server.answer(chat("hello"), stream(["hel", "lo"]))
        client = anthropic.Anthropic(api_key="unused", base_url=served.url, max_retries=0)

        whole = client.messages.create(model="fast", max_tokens=10, messages=HELLO)
        with client.messages.stream(model="fast", max_tokens=10, messages=HELLO) as events:
            text = events.get_final_text()
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="nobody", max_tokens=10, messages=HELLO)

        assert ("hello", "hello") == (whole.content[0].text, text)
        client.close()

    def test_models(self, served: Served, server: ScriptedServer) -> None:
        """
        Routes, and what the providers offer, are listed.
        """
        server.answer(models(["m", "n"]))
        client = openai.OpenAI(api_key="unused", base_url=f"{served.url}/v1")

        assert ["fast", "up/m", "up/n"] == [model.id for model in client.models.list()]
        client.close()

    def test_a_key_of_the_right_sort(self, guarded: Served, server: ScriptedServer) -> None:
        """
        A known key is let in where each SDK puts it, an unknown one is that SDK's authentication error, and no upstream
        sees either.
        """
        server.always(chat("hello"))
        for key in (ALICE, "sk-wrong-0123456789"):
            with (
                openai.OpenAI(api_key=key, base_url=f"{guarded.url}/v1") as first,
                anthropic.Anthropic(api_key=key, base_url=guarded.url) as second,
            ):
                if key == ALICE:
                    first.chat.completions.create(model="fast", messages=HELLO)
                    second.messages.create(model="fast", max_tokens=10, messages=HELLO)
                    continue
                with pytest.raises(openai.AuthenticationError):
                    first.chat.completions.create(model="fast", messages=HELLO)
                with pytest.raises(anthropic.AuthenticationError):
                    second.messages.create(model="fast", max_tokens=10, messages=HELLO)

        assert [f"Bearer {KEY}"] * 2 == [request.headers["authorization"] for request in server.requests]
        assert not [request for request in server.requests if ALICE in str(request.raw_headers)]


class TestStreams:
    def test_pieces_come_as_they_are_written(self, served: Served, server: ScriptedServer) -> None:
        """
        A piece is sent on before the next one is there.
        """
        server.answer([*stream(["first"], cut_after=1, ending=Pause(30))])
        with socket.create_connection(served.address, timeout=5) as connection:
            connection.sendall(post("/v1/chat/completions", ASK | {"stream": True}))
            data = b""
            while b"first" not in data:
                data += connection.recv(65536)

        heard = Heard(data)
        assert 200 == heard.status
        assert "text/event-stream; charset=utf-8" == heard.headers["content-type"]
        assert "no" == heard.headers["x-accel-buffering"]

    @pytest.mark.parametrize("asked", ["stream", "whole"])
    def test_who_leaves_is_noticed(self, served: Served, server: ScriptedServer, asked: str) -> None:
        """
        When the client is gone the upstream is cut off within a tenth of a second, before an answer begins and inside.
        """
        server.always([Hang()] if asked == "whole" else stream(["first"], cut_after=1, ending=Hang()))
        took_s = []
        for number in range(1, TRIES + 1):
            with socket.create_connection(served.address, timeout=5) as connection:
                connection.sendall(post("/v1/chat/completions", ASK | {"stream": asked == "stream"}))
                assert server.wait_requests(number)
                if asked == "stream":
                    assert b"200 OK" in connection.recv(65536)
            left = time.monotonic()
            assert server.wait_closed(2.0)
            took_s.append(time.monotonic() - left)

        assert min(took_s) < 0.1
        deadline = time.monotonic() + 2
        while served.gateway.stats().in_flight and time.monotonic() < deadline:
            time.sleep(0.005)
        assert {"cancelled", "closed"} >= served.gateway.stats().outcomes.keys() > set()

    def test_a_slow_reader_slows_the_upstream_down(self, served: Served, server: ScriptedServer) -> None:
        """
        What the client does not read is not read from the upstream, but for what fits into buffers.
        """
        server.answer(stream(["x" * 100_000] * 400))
        with socket.create_connection(served.address, timeout=5) as connection:
            connection.sendall(post("/v1/chat/completions", ASK | {"stream": True}))
            assert server.wait_requests(1)
            time.sleep(0.5)
            stuck = served.gateway.stats().in_flight
            heard = hear(connection)

        assert 1 == stuck
        assert heard.whole and len(heard.body) > 40_000_000

    def test_a_stream_that_broke_off_is_seen_to_have(self, served: Served, server: ScriptedServer) -> None:
        """
        A broken stream says so in the caller's words, and its HTTP answer never comes to its end.
        """
        server.answer(stream(["one", "two"], cut_after=1))

        heard = say(served, post("/v1/chat/completions", ASK | {"stream": True}))

        assert 200 == heard.status
        assert b'"error"' in heard.body
        assert not heard.whole

    def test_an_unread_answer(self, served: Served, server: ScriptedServer) -> None:
        """
        What is in no table passes through to the provider that the header names, without what spoke about its address.
        """
        lines = {"set-cookie": "a=b", "access-control-allow-origin": "*", "x-own": "1", "cache-control": "public"}
        server.answer(http_response(201, {"id": "file-1"}, lines))

        heard = say(served, post("/v1/files", {"a": 1}, "x-llmgate-route: up", "authorization: Bearer sk-mine-123456"))

        assert (201, {"id": "file-1"}) == (heard.status, json.loads(heard.body.split(b"\r\n")[1]))
        assert "1" == heard.headers["x-own"]
        assert "no-store" == heard.headers["cache-control"]
        assert not {"set-cookie", "access-control-allow-origin"} & heard.headers.keys()
        assert ("/v1/files", f"Bearer {KEY}") == (
            server.requests[0].path,
            server.requests[0].headers["authorization"],
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("request_", "status", "shape"),
        [
            (get("/v1/chat/completions"), 405, "error"),
            (get("/v1/messages"), 405, "type"),
            (get("/api/chat", method="PUT"), 405, "error"),
            (get("/v1beta/models/x:generateContent"), 405, "error"),
            (get("/nowhere"), 404, "error"),
            (get("/v1/nowhere", "anthropic-version: 2023-06-01"), 404, "type"),
            (post("/v1/chat/completions", b"{"), 400, "error"),
            (post("/v1/messages", {"model": "nobody", "messages": [], "max_tokens": 1}), 404, "type"),
            (post("/metrics", {}), 405, "error"),
            (get("/v1/../secret", "x-llmgate-route: up"), 400, "error"),
            (get("/v1/%2e%2e/secret", "x-llmgate-route: up"), 400, "error"),
            (get("//secret", "x-llmgate-route: up"), 400, "error"),
            (get("/v1/files", "x-llmgate-route: up", method="TRACE"), 405, "error"),
            (post("/v1/chat/completions", ASK, "content-encoding: gzip"), 415, "error"),
            (post("/v1/chat/completions", ASK, "x-llmgate-timeout: soon"), 400, "error"),
        ],
    )  # fmt: skip
    def test_a_refusal_is_one_of_the_dialect(
        self, served: Served, server: ScriptedServer, request_: bytes, status: int, shape: str
    ) -> None:
        """
        Whatever is wrong is told in the shape of the caller's dialect, with safe headers, and nobody is asked.
        """
        heard = say(served, request_)

        assert status == heard.status, heard
        assert shape in heard.json()
        assert ("nosniff", "DENY") == (heard.headers["x-content-type-options"], heard.headers["x-frame-options"])
        assert "strict-transport-security" not in heard.headers
        assert status != 405 or heard.headers["allow"]
        assert [] == server.requests

    def test_head_and_options(self, served: Served, server: ScriptedServer) -> None:
        """
        HEAD is GET without a body, and OPTIONS tells what may be done.
        """
        server.always(models(["m"]))
        head, posted = get("/v1/models", method="HEAD"), get("/v1/chat/completions", method="HEAD")

        for request, status in ((head, 200), (get("/health", method="HEAD"), 200), (posted, 405)):
            with socket.create_connection(served.address, timeout=5) as connection:
                connection.sendall(request)
                heard = Heard(connection.recv(65536))
            assert (status, b"") == (heard.status, heard.body)
        options = say(served, get("/v1/chat/completions", "connection: close", method="OPTIONS"))
        assert (204, "POST, OPTIONS") == (options.status, options.headers["allow"])
        assert 404 == say(served, get("/nowhere", method="OPTIONS")).status

    def test_no_other_upstream(self, guarded: Served, server: ScriptedServer) -> None:
        """
        Whatever address a request names, in its line or in its host, only configured providers are asked.
        """
        server.always(chat("hello"))
        with ScriptedServer(chat("elsewhere")) as other:
            bodies = [ASK, ASK | {"model": f"{other.origin}/m"}, ASK | {"model": "elsewhere/m"}]
            heard = [
                say(
                    guarded,
                    post(f"{other.origin}/v1/chat/completions", body, f"api-key: {BOB}", f"host: {other.origin}"),
                )
                for body in bodies
            ]

            assert [] == other.requests
        assert [200, 404, 404] == [one.status for one in heard]
        assert 1 == len(server.requests)

    def test_both_lengths(self, served: Served, server: ScriptedServer) -> None:
        """
        Who gives two lengths smuggles; nobody is asked, and nothing after it on the connection is taken for a request.
        """
        body = b"0\r\n\r\n" + get("/v1/models")
        head = post("/v1/chat/completions", body, "transfer-encoding: chunked")

        heard = say(served, head)

        assert 400 == heard.status
        assert 1 == heard.data.count(b"HTTP/1.1 ")
        assert [] == server.requests

    def test_a_body_that_is_too_large(self, server: ScriptedServer) -> None:
        """
        A body over the limit is a 413, by what it says of itself before a byte of it was read, and by what it is; a client
        that goes on sending is let for a while, so that it comes to read why.
        """
        with Served(listens(server, {"max_body": 1000})) as served:
            told = say(
                served, post("/v1/messages", b"")[:-4].replace(b"length: 0", b"length: 99999999999") + b"\r\n\r\n"
            )
            chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
            chunked = get("/v1/messages", "transfer-encoding: chunked", method="POST")
            found = say(served, chunked, *[chunk] * 5000)
            fits = say(served, post("/v1/chat/completions", b" " * 1000))

        assert (413, "close") == (told.status, told.headers["connection"])
        assert "error" == told.json()["type"]
        assert (413, "close", True) == (found.status, found.headers["connection"], found.let_finish)
        assert 400 == fits.status
        assert [] == server.requests

    def test_slow_ones(self, server: ScriptedServer) -> None:
        """
        Who takes too long for a body is told so, and who takes too long for headers is cut off, one byte a time or none.
        """
        with Served(listens(server, {"request_timeout": "300ms"})) as served:
            late = say(served, post("/v1/messages", b"{}")[:-1])
            cut_off = [say(served, *(b"%c" % byte for byte in b"GET / "), gap_s=0.1), say(served)]
            with socket.create_connection(served.address, timeout=5) as connection:
                connection.sendall(get("/health/live"))
                kept = hear(connection)
                connection.sendall(b"GET / HTTP/1.1\r\n")
                began = time.monotonic()
                second = hear(connection)
            waited_s = time.monotonic() - began

        assert 408 == late.status
        assert [0, 0] == [heard.status for heard in cut_off]
        assert (200, 0) == (kept.status, second.status)
        assert 0.2 < waited_s < 1.5

    def test_headers_without_end(self, served: Served) -> None:
        """
        Nobody's headers are kept for ever.
        """
        lines = [b"x-%d: %s\r\n" % (number, b"y" * 1000) for number in range(400)]

        assert say(served, b"GET / HTTP/1.1\r\n", *lines, gap_s=0.0005).status in (0, 400)

    def test_a_reader_that_does_not(self, server: ScriptedServer) -> None:
        """
        Who leaves unread what is sent is cut off, and the upstream with it.
        """
        server.answer(stream(["x" * 100_000] * 400))
        with (
            Served(listens(server, {"write_timeout": "300ms"})) as served,
            socket.create_connection(served.address, timeout=5) as connection,
        ):
            connection.sendall(post("/v1/chat/completions", ASK | {"stream": True}))
            assert server.wait_requests(1)

            assert server.wait_closed(3.0)
            assert not hear(connection).whole


class TestLocal:
    def test_pages(self, served: Served, server: ScriptedServer) -> None:
        """
        Without keys no web page may ask, unless it is allowed, and none whose name was made to point here.
        """
        server.always(chat("hello"))
        page, rebound = "origin: https://evil.example", b"host: evil.example"

        refused = say(served, post("/v1/chat/completions", ASK, page))
        pointed = say(served, post("/v1/chat/completions", ASK).replace(b"host: 127.0.0.1", rebound))
        own = say(served, post("/v1/chat/completions", ASK, "origin: http://127.0.0.1"))

        assert [403, 403, 200] == [refused.status, pointed.status, own.status]
        assert "access-control-allow-origin" not in refused.headers
        assert 1 == len(server.requests)

    def test_cors(self, server: ScriptedServer) -> None:
        """
        A page that is allowed may ask, and its browser may find out before.
        """
        server.always(chat("hello"))
        page = "origin: https://app.example"
        with Served(listens(server, {"cors": "https://app.example"})) as served:
            wishes = ("access-control-request-method: POST", "access-control-request-headers: authorization")
            asked = say(served, get("/v1/messages", page, *wishes, "connection: close", method="OPTIONS"))
            answered = say(served, post("/v1/chat/completions", ASK, page))
            other = say(served, post("/v1/chat/completions", ASK, "origin: https://app.example.evil"))

        assert (204, "POST", "authorization") == (
            asked.status,
            asked.headers["access-control-allow-methods"],
            asked.headers["access-control-allow-headers"],
        )
        assert [200, 403] == [answered.status, other.status]
        assert {"https://app.example"} == {heard.headers["access-control-allow-origin"] for heard in (asked, answered)}
        assert "access-control-allow-origin" not in other.headers


class TestKeys:
    def test_every_place(self, server: ScriptedServer) -> None:
        """
        A key is found in every header that SDKs use, in one that was configured, and in the address; it never goes on.
        """
        server.always(http_response(200, {"ok": 1}))
        section = keys(bob=BOB) | {"key_header": "X-Company-Key"}
        places = [
            f"authorization: Bearer {BOB}", f"authorization: bearer  {BOB}", f"authorization: {BOB}", f"x-api-key: {BOB}",
            f"api-key: {BOB}", f"x-goog-api-key: {BOB}", f"x-company-key: {BOB}",
        ]  # fmt: skip
        with Served(listens(server, section)) as served:
            heard = [say(served, post("/v1/files", {}, place, "x-llmgate-route: up")) for place in places]
            heard.append(say(served, post(f"/v1/files?key={BOB}&x=1", {}, "x-llmgate-route: up")))
            none = say(served, post("/v1/files", {}, "x-llmgate-route: up", f"x-other-key: {BOB}"))

        assert [200] * 8 == [one.status for one in heard]
        assert (401, "Bearer") == (none.status, none.headers["www-authenticate"])
        assert 8 == len(server.requests)
        assert "x=1" == server.requests[-1].query
        assert not [request for request in server.requests if BOB in f"{request.raw_headers}{request.query}"]

    def test_a_body_is_not_read_for_nobody(self, guarded: Served) -> None:
        """
        Without a key the answer is there before the body is.
        """
        heard = say(guarded, post("/v1/messages", b"x" * 100)[:-100])

        assert (401, "error") == (heard.status, heard.json()["type"])

    @pytest.mark.parametrize(
        ("asked", "status"),
        [
            (post("/v1/chat/completions", ASK), 200),
            (post("/v1/chat/completions", ASK | {"model": "up/m"}), 403),
            (post("/v1/chat/completions", ASK, "x-llmgate-route: up/m"), 403),
            (post("/v1/files", {}, "x-llmgate-route: up"), 403),
            (post("/v1/files", {}, "x-llmgate-route: fast"), 403),
            (post("/v1/chat/completions", b"x", "x-llmgate-route: fast", "content-type: text/plain"), 403),
            (post("/v1/chat/completions", ASK, "x-llmgate-tenant: acme"), 200),
            (post("/v1/chat/completions", ASK, "x-llmgate-tenant: other"), 403),
            (post("/v1/chat/completions", ASK, "x-llmgate-tenant: acme", "X-LLMGate-Tenant: other"), 403),
            (get("/metrics"), 403),
        ],
    )  # fmt: skip
    def test_what_a_key_is_for(self, guarded: Served, server: ScriptedServer, asked: bytes, status: int) -> None:
        """
        A key that is for one route and one tenant opens nothing else, by whatever header.
        """
        server.always(chat("hello"))

        heard = say(guarded, asked.replace(b"\r\n", f"\r\nauthorization: Bearer {ALICE}\r\n".encode(), 1))

        assert status == heard.status, heard
        assert (status == 200) == bool(server.requests)

    def test_models_of_a_key(self, guarded: Served, server: ScriptedServer) -> None:
        """
        Each is shown what it may ask for.
        """
        server.always(models(["m"]))
        found = {}
        for key in (ALICE, BOB):
            told = say(guarded, get("/v1/models", f"x-api-key: {key}")).json()
            found[key] = [model["id"] for model in told["data"]]

        assert {ALICE: ["fast"], BOB: ["fast", "up/m"]} == found

    def test_tenants_and_tags(self, server: ScriptedServer) -> None:
        """
        Calls carry the tenant and the tags of their key, whatever they say; a key of any tenant says it itself.
        """
        seen: list[Any] = []

        async def look(call: Any, call_next: Any) -> Any:
            seen.append((call.options.tenant, dict(call.options.tags)))
            return await call_next(call)

        server.always(chat("hello"))
        section = keys(
            alice=(ALICE, {"tags": {"team": "search"}}), proxy=(BOB, {"tenant": "*"})
        )  # fmt: skip
        with Served(listens(server, section, middleware=[{"use": look}])) as served:
            tags = "x-llmgate-tags: team=other, job=7"
            say(served, post("/v1/chat/completions", ASK, f"api-key: {ALICE}", tags))
            say(served, post("/v1/chat/completions", ASK, f"api-key: {BOB}", "x-llmgate-tenant: acme"))
            say(served, post("/v1/chat/completions", ASK, f"api-key: {BOB}"))

        assert [("alice", {"team": "search", "job": "7"}), ("acme", {}), ("", {})] == seen


class TestReports:
    def test_health(self, served: Served, server: ScriptedServer) -> None:
        """
        Health tells status, version, providers, deployments, cache and memory.
        """
        told = say(served, get("/health")).json()

        assert ("ok", {"up": {"status": "ok"}}) == (told["status"], told["providers"])
        assert {"version", "uptime_s", "in_flight", "deployments", "cache", "memory"} <= told.keys()
        assert told["memory"]["peak_bytes"] > 10**6
        assert {"status": "ok"} == say(served, get("/health/live")).json() == say(served, get("/health/ready")).json()

    def test_down(self, server: ScriptedServer) -> None:
        """
        When nobody can be asked, health and readiness are 503, and the process still lives.
        """
        server.always(error(500))
        with Served(config(server, circuit_breaker={"threshold": 1})) as served:
            say(served, post("/v1/chat/completions", ASK))
            found = {path: say(served, get(path)) for path in ("/health", "/health/ready", "/health/live")}
            metrics = say(served, get("/metrics")).body

        assert {"/health": 503, "/health/ready": 503, "/health/live": 200} == {p: h.status for p, h in found.items()}
        assert "down" == found["/health"].json()["providers"]["up"]["status"]
        assert b'llmgate_circuit_state{deployment="up/m",state="open"} 1\n' in metrics
        assert b"llmgate_up 0\n" in metrics

    def test_who_may_see(self, guarded: Served) -> None:
        """
        Where there are keys, strangers learn the status alone, and metrics are for operators.
        """
        found = {
            key: (say(guarded, get("/health", *line)).json().keys(), say(guarded, get("/metrics", *line)).status)
            for key, line in {"": [], ALICE: [f"api-key: {ALICE}"], BOB: [f"api-key: {BOB}"]}.items()
        }

        assert ({"status"}, 401) == found[""]
        assert ({"status"}, 403) == found[ALICE]
        assert ("deployments" in found[BOB][0], 200) == (True, found[BOB][1])

    def test_metrics(self, served: Served, server: ScriptedServer) -> None:
        """
        Metrics are what Prometheus' own parser reads, and nothing that a caller said is a label.
        """
        parser = pytest.importorskip("prometheus_client.parser")
        server.answer(chat("hello", model="gpt-4o-mini"), error(400))
        say(served, post("/v1/chat/completions", ASK))
        say(served, post("/v1/chat/completions", ASK | {"model": "up/sk-invented-by-a-caller"}))
        say(served, get("/nowhere/sk-invented-by-a-caller"))

        text = say(served, get("/metrics")).body.decode()
        families = {family.name: family for family in parser.text_string_to_metric_families(text)}
        calls = {sample.labels["outcome"]: sample.value for sample in families["llmgate_calls"].samples}
        statuses = {s.labels["status"]: s.value for s in families["llmgate_http_requests"].samples}

        assert {"ok": 1, "bad_request": 1} == calls
        assert {"200": 1, "400": 1, "404": 1} == statuses
        assert "sk-invented" not in text
        assert "llmgate_http_request_seconds" in families

    def test_cost(self, server: ScriptedServer) -> None:
        """
        What answers cost is counted by provider, of streams, too.
        """
        server.answer(chat("hello"), stream(["hello"]))
        with Served(config(server, prices={"up/*": {"input": 1000, "output": 1000}})) as served:
            say(served, post("/v1/chat/completions", ASK))
            assert say(served, post("/v1/chat/completions", ASK | {"stream": True})).whole
            text = say(served, get("/metrics")).body.decode()

        assert 'llmgate_cost_usd_total{provider="up"} 0.042' in text


class TestTheEnd:
    def test_drain(self, server: ScriptedServer) -> None:
        """
        Told to stop, it takes nobody new, lets what is under way come to its end, and closes the gateway then.
        """
        server.answer(stream(["a", "b", "c", "d"], gap_s=0.15))
        with Served(config(server)) as served:
            with socket.create_connection(served.address, timeout=5) as connection:
                connection.sendall(post("/v1/chat/completions", ASK | {"stream": True}))
                assert server.wait_requests(1)
                served.stop()
                time.sleep(0.3)
                took_more = listening(served)
                heard = hear(connection)
            assert served.ended()

        assert not took_more
        assert heard.whole and b"[DONE]" in heard.body
        assert "closed" == served.gateway.health()["status"]
        assert served.server.config.app.reports.draining

    def test_while_it_drains(self, served: Served, server: ScriptedServer) -> None:
        """
        While it drains, whoever still comes on an open connection is sent away, and health says that nobody should come.
        """
        served.server.config.app.reports.draining = True

        asked = say(served, post("/v1/chat/completions", ASK))
        found = {path: say(served, get(path)) for path in ("/health", "/health/ready", "/health/live")}

        assert (503, "close") == (asked.status, asked.headers["connection"])
        assert "1" == asked.headers["retry-after"]
        assert {"/health": 503, "/health/ready": 503, "/health/live": 200} == {p: h.status for p, h in found.items()}
        assert "draining" == found["/health"].json()["status"]
        assert [] == server.requests

    def test_a_drain_has_an_end(self, server: ScriptedServer) -> None:
        """
        What is under way when the time to drain is over is cut, and told so.
        """
        server.answer(stream(["a"], cut_after=1, ending=Hang()))
        with Served(listens(server, {"drain": "200ms"})) as served:
            with socket.create_connection(served.address, timeout=5) as connection:
                connection.sendall(post("/v1/chat/completions", ASK | {"stream": True}))
                assert server.wait_requests(1)
                served.stop()
                began = time.monotonic()
                heard = hear(connection)
            assert served.ended()

        assert b'"error"' in heard.body and not heard.whole
        assert time.monotonic() - began < 3

    def test_a_closed_gateway(self, served: Served) -> None:
        """
        A gateway that somebody closed says so, and health with it.
        """
        served.gateway.close()

        assert 503 == say(served, post("/v1/chat/completions", ASK)).status
        assert 503 == say(served, get("/health")).status
