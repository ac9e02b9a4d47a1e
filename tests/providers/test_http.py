"""What a provider makes of whatever comes over HTTP: addresses, keys, headers, answers, errors, broken streams."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from llmgate import (
    AllAttemptsFailed,
    Anthropic,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    Gateway,
    GatewayError,
    OpenAI,
    OpenAICompatible,
    Overloaded,
    ProtocolError,
    RateLimited,
    Secret,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
)
from llmgate.config import settings_from
from llmgate.providers.addresses import address
from llmgate.testing import (
    Close,
    Hang,
    Pause,
    Repeat,
    Reset,
    ScriptedServer,
    VirtualRuntime,
    anthropic_error,
    call_for,
    chat,
    cut,
    error,
    gzip_bomb,
    head,
    html,
    http_response,
    http_stream,
    sse,
    stream,
)

KEY = "sk-very-secret-123"
OTHER_KEY = "zzzzzzzzzzzzzzzz"  # looks like no key at all
PIECE = sse({"choices": [{"index": 0, "delta": {"content": "hel"}}]})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """The process's environment without keys, but with these values."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def openai(server: ScriptedServer, **options: Any) -> OpenAI:
    return OpenAI(**{"api_key": KEY, "base_url": server.base_url} | options)


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "origin", "path"),
        [
            ("https://api.example.com/v1", "https://api.example.com:443", "/v1"),
            ("https://API.Example.com:8443/v1/", "https://api.example.com:8443", "/v1"),
            ("http://localhost:11434", "http://localhost:11434", ""),
            ("http://[::1]:8000/v1", "http://[::1]:8000", "/v1"),
            ("https://bücher.example/v1", "https://xn--bcher-kva.example:443", "/v1"),
            (" https://api.example.com/a/b ", "https://api.example.com:443", "/a/b"),
        ],
    )
    def test_of_all_shapes(self, url: str, origin: str, path: str) -> None:
        """
        An address is an origin with its port and a path without its last slash.
        """
        assert (origin, path) == address(url)

    @pytest.mark.parametrize(
        "url",
        [
            "api.example.com/v1", "ftp://api.example.com", "file:///etc/passwd", "https://", "https://user:pw@host/v1",
            "https://user@host/v1", "https://host/v1?key=1", "https://host/v1#x", "https://host:port/v1", "https://ho st/v1",
            "https://host/v1\nx", "https://[::1/v1", "https://host:99999/v1", "https://..\u00e9/v1",
        ],
    )  # fmt: skip
    def test_that_are_none(self, url: str) -> None:
        """
        Whatever is no address of a server is refused, and what it may hold is not shown.
        """
        with pytest.raises(ConfigError) as raised:
            address(url)
        assert "pw" not in str(raised.value)
        with pytest.raises(ValidationError):
            OpenAI(api_key=KEY, base_url=url)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST"])
    def test_this_machine_may_be_unencrypted(self, host: str) -> None:
        """
        Plain http goes to this machine.
        """
        assert OpenAI(api_key=KEY, base_url=f"http://{host}:1/v1").origin().startswith("http://")

    @pytest.mark.parametrize(
        "host", ["example.com", "10.0.0.1", "0.0.0.0", "localhost.example.com", "127.0.0.1.example.com"]
    )
    def test_others_may_not(self, host: str) -> None:
        """
        Plain http to any other host is refused unless it is allowed in so many words, in a gateway when it is made.
        """
        url = f"http://{host}:1/v1"
        with pytest.raises(ConfigError, match="is not encrypted"):
            OpenAI(api_key=KEY, base_url=url).origin()
        with pytest.raises(ConfigError, match=r"providers\.openai: .*is not encrypted"):
            Gateway(providers=[OpenAI(api_key=KEY, base_url=url)])
        assert OpenAI(api_key=KEY, base_url=url, allow_http=True).origin()


class TestKeys:
    def test_from_the_environment(self, server: ScriptedServer) -> None:
        """
        Without a key the variable's is used, whoever is first of several; with one the variable says nothing.
        """
        with environment(OPENAI_API_KEY="sk-env", PPLX_API_KEY="pplx-second"):
            assert [Secret("sk-env")] == OpenAI().secrets()
            assert [Secret("mine")] == OpenAI(api_key="mine").secrets()
            assert [Secret("pplx-second")] == OpenAICompatible(vendor="perplexity").secrets()
        with environment(PERPLEXITY_API_KEY="pplx-first", PPLX_API_KEY="pplx-second"):
            assert [Secret("pplx-first")] == OpenAICompatible(vendor="perplexity").secrets()

    @pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}])
    def test_missing(self, environ: dict[str, str]) -> None:
        """
        A missing key names the variable, in a gateway when it is made.
        """
        with environment(**environ):
            with pytest.raises(ConfigError, match="no key; set OPENAI_API_KEY in the environment, or api_key"):
                OpenAI().chat("a", "hi")
            with pytest.raises(ConfigError, match=r"^providers\.openai: no key; set OPENAI_API_KEY"):
                Gateway({"providers": {"openai": {}}})

    @pytest.mark.parametrize("value", ["sk-very-secret-123\n", "  ", "schlüssel-geheim"])
    def test_useless(self, value: str) -> None:
        """
        A variable that holds no usable key is named, and its value is not shown.
        """
        with environment(OPENAI_API_KEY=value), pytest.raises(ConfigError, match=r"^OPENAI_API_KEY: the key") as raised:
            OpenAI().secrets()
        assert not value.strip() or value.strip() not in str(raised.value)

    def test_at_the_usual_address_only(self) -> None:
        """
        A key from the environment goes to the usual origin, also when that is written out, and to no other.
        """
        with environment(OPENAI_API_KEY="sk-env", ANTHROPIC_API_KEY="sk-ant"):
            assert [Secret("sk-env")] == OpenAI(base_url="https://api.openai.com/v1").secrets()
            assert [Secret("sk-env")] == OpenAI(base_url="https://api.openai.com:443/other").secrets()
            for url in (
                "https://api.openai.com.evil.example/v1",
                "https://eu.api.openai.com/v1",
                "https://api.openai.com:444/v1",
            ):
                with pytest.raises(ConfigError, match="OPENAI_API_KEY is not used, because base_url is not its usual"):
                    OpenAI(base_url=url).secrets()
            with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY is not used"):
                Anthropic(base_url="https://api.openai.com/v1").secrets()

    def test_of_the_configurations_environment(self) -> None:
        """
        Where a configuration looks up its variables, its keys are looked up, too.
        """
        settings = settings_from({"providers": {"openai": {}}}, {"OPENAI_API_KEY": "sk-there"})
        provider = settings.providers["openai"]
        assert isinstance(provider, OpenAI)
        with environment(OPENAI_API_KEY="sk-here"):
            assert [Secret("sk-there")] == provider.secrets()

    def test_several(self) -> None:
        """
        Several keys are several deployments; the same key twice is one, and a list without any is refused.
        """
        provider = OpenAI(api_key=["one", "two", "one"])
        assert ["openai/a", "openai/a#2"] == [
            provider.deployment("a", key).name for key in range(len(provider.credentials()))
        ]
        assert 2 == len(set(provider.credentials()))
        with pytest.raises(ConfigError, match="api_key is an empty list"):
            OpenAI(api_key=[]).secrets()

    def test_a_refused_key_is_left_alone(self, server: ScriptedServer) -> None:
        """
        With several keys, a call whose key is refused goes on with the next, and later calls leave the refused one alone.
        """

        @server.on
        def answer(request: Any) -> Any:
            refused = request.headers["authorization"] == "Bearer one"
            return error(401, {"error": {"code": "invalid_api_key", "message": "no"}}) if refused else chat("hello")

        config = {
            "providers": {"up": {"kind": "openai-compatible", "base_url": server.base_url, "api_key": ["one", "two"]}}
        }
        with Gateway(config | {"routes": {"fast": ["up/a"]}}) as gateway:
            replies = [gateway.chat("fast", "hi") for _ in range(3)]
            health = gateway.health()["deployments"]

        assert ["up/a#2"] * 3 == [reply.deployment for reply in replies]
        assert ["up/a", "up/a#2"] == [attempt.deployment for attempt in replies[0].attempts]
        assert ["one", "two", "two", "two"] == [
            r.headers["authorization"].removeprefix("Bearer ") for r in server.requests
        ]
        assert [False, True] == [health["up/a"]["available"], health["up/a#2"]["available"]]

    def test_all_keys_refused(self, server: ScriptedServer) -> None:
        """
        When every key is refused the error speaks of the key.
        """
        server.always(error(401, {"error": {"code": "invalid_api_key", "message": "no"}}))
        with (
            Gateway(providers=[openai(server, api_key=["one", "two"])]) as gateway,
            pytest.raises(AllAttemptsFailed) as raised,
        ):
            gateway.chat("openai/a", "hi")
        assert ("authentication_failed", 401) == (raised.value.kind, raised.value.status)
        assert 2 == len(server.requests)


class TestHeaders:
    def test_of_every_request(self, server: ScriptedServer) -> None:
        """
        Own headers are added, or stand in place of ours; each is sent once.
        """
        server.answer(chat("hello"))
        with openai(server, headers={"OpenAI-Organization": "org", "User-Agent": "mine/1"}) as provider:
            provider.chat("a", "hi")

        sent = server.requests[0]
        assert ("org", "mine/1", "identity", "application/json") == tuple(
            sent.headers[name] for name in ("openai-organization", "user-agent", "accept-encoding", "content-type")
        )
        names = [name.lower() for name, _ in sent.raw_headers]
        assert len(names) == len(set(names))

    def test_in_place_of_the_dialects(self, server: ScriptedServer) -> None:
        """
        A header that the dialect would send is the user's if he gives it.
        """
        server.always(error(400))
        provider = Anthropic(api_key=KEY, base_url=server.base_url, headers={"anthropic-version": "2099-01-01"})
        with provider, pytest.raises(GatewayError):
            provider.chat("a", "hi")
        assert "2099-01-01" == server.requests[0].headers["anthropic-version"]

    @pytest.mark.parametrize(
        "headers",
        [{"a b": "1"}, {"x": "a\nb"}, {"x": "ä"}, {"": "1"}, {"Host": "evil"}, {"content-length": "1"}, {"é": "1"}],
    )
    def test_that_are_refused(self, headers: dict[str, str]) -> None:
        """
        What is no header, or says how the request travels, is refused when the provider is made.
        """
        with pytest.raises(ValidationError):
            OpenAI(api_key=KEY, headers=headers)

    def test_the_keys_own(self) -> None:
        """
        The header of the key is the key's alone.
        """
        with pytest.raises(ConfigError, match="authorization carries the key"):
            OpenAI(api_key=KEY, headers={"Authorization": "Bearer other"}).bind("a")
        assert OpenAICompatible(base_url="https://host/v1", headers={"Authorization": "Basic x"}).bind("a")

    def test_an_idempotency_key_is_that_of_the_call(self, server: ScriptedServer) -> None:
        """
        Every attempt of a call carries the same key; without one there is none.
        """
        server.answer(error(500), error(500), chat("hello"), chat("hello"))
        config = {"retry": {"base_delay": 0, "max_delay": 0}}
        with Gateway(config, providers=[openai(server)]) as gateway:
            gateway.chat("openai/a", "hi", idempotency_key="once")
            gateway.chat("openai/a", "hi")

        assert ["once", "once", "once", None] == [request.headers.get("idempotency-key") for request in server.requests]


def asked(server: ScriptedServer, *script: Any, **params: Any) -> Any:
    server.answer(list(script))
    with openai(server) as provider:
        return provider.chat("a", "hi", **params)


def read(server: ScriptedServer, *script: Any, **params: Any) -> list[Any]:
    server.answer(list(script))
    with openai(server) as provider:
        return list(provider.stream("a", "hi", **params))


def failed(kind: type[GatewayError], ask: Callable[[], Any]) -> Any:
    with pytest.raises(kind) as raised:
        ask()
    assert kind is type(raised.value)
    assert "openai/a" == raised.value.deployment
    return raised.value


class TestAnswers:
    def test_that_are_redirects(self, server: ScriptedServer) -> None:
        """
        A redirect is an error that names the place without its query, and is not followed.
        """
        with ScriptedServer() as other:
            wrong = failed(
                ProtocolError,
                lambda: asked(server, *http_response(302, b"", {"location": f"{other.base_url}?token=1"})),
            )
            assert 0 == other.connections_total
        assert "redirects to 127.0.0.1; redirects are not followed" in wrong.message
        for location in ("", "http://[", "/relative"):
            assert (
                "somewhere else"
                in failed(
                    ProtocolError,
                    lambda location=location: asked(server, *http_response(307, b"", {"location": location})),
                ).message
            )

    @pytest.mark.parametrize(
        "script",
        [
            html(200), http_response(200, b""), http_response(200, b"not json"), http_response(200, {"choices": []}),
            http_response(200, [1]), http_response(204, b""), http_response(200, {"choices": [{"message": "no"}]}),
            http_response(200, b"null"), http_response(200, b"{" * 5000),
        ],
    )  # fmt: skip
    def test_that_are_none(self, server: ScriptedServer, script: Any) -> None:
        """
        HTML, an empty body, broken JSON and answers without an answer under 200 are protocol errors.
        """
        assert "protocol" == failed(ProtocolError, lambda: asked(server, *script)).outcome

    def test_that_are_labelled_wrongly(self, server: ScriptedServer) -> None:
        """
        What the body is counts, whatever its content type says.
        """
        body = b"".join(step for step in chat("hello") if isinstance(step, bytes)).partition(b"\r\n\r\n")[2]
        assert "hello" == asked(server, *http_response(200, body, {"content-type": "text/event-stream"})).text
        assert "hello" == asked(server, *http_response(200, body, {"content-type": "application/octet-stream"})).text
        assert "hello" == asked(server, *http_response(200, body, gzip=True)).text

    def test_errors_under_200(self, server: ScriptedServer) -> None:
        """
        An error in a body that calls itself fine is the error that it says.
        """
        said = {"error": {"message": "overloaded", "code": 503, "type": "server_error"}}
        assert isinstance(failed(Overloaded, lambda: asked(server, *http_response(200, said))), Overloaded)

    def test_errors_with_everything(self, server: ScriptedServer) -> None:
        """
        An error carries the upstream's sentence, status, wish, id and code.
        """
        headers = {"retry-after": "7", "x-request-id": "req-7"}
        wrong = failed(
            RateLimited,
            lambda: asked(
                server, *error(429, {"error": {"message": "too fast", "code": "rate_limit_exceeded"}}, headers)
            ),
        )
        assert (429, 7.0, "req-7", "rate_limit_exceeded") == (
            wrong.status,
            wrong.retry_after,
            wrong.request_id,
            wrong.code,
        )
        assert "too fast" in wrong.message

    def test_errors_without_anything(self, server: ScriptedServer) -> None:
        """
        An error whose body is HTML, broken off, too long or never comes is told by its status.
        """
        for script in (
            html(502), http_response(500, b""), [head(500, {"content-length": "10"}), b"abc", Reset()],
            http_response(500, b"x" * 500_000),
        ):  # fmt: skip
            wrong = failed(UpstreamError, lambda script=script: asked(server, *script))
            assert wrong.status in (500, 502) and len(wrong.message) < 1000

    def test_an_error_whose_body_never_comes(self, server: ScriptedServer) -> None:
        """
        The body of an error is waited for five seconds at most, or as long as the call has.
        """
        server.answer([head(503, {"content-length": "10"}), Hang()])
        with openai(server) as provider:
            assert 503 == failed(Overloaded, lambda: provider.chat("a", "hi", timeout=0.2)).status

        class Silent:
            """A head, and nothing behind it."""

            status, headers = 503, dict[str, str]()

            async def read(self, until: float) -> bytes:
                await runtime.sleep(until - runtime.now())
                raise TimeoutError

            async def close(self) -> None:
                pass

        async def network(request: Any) -> Any:
            return Silent()

        runtime = VirtualRuntime(network=network)
        with pytest.raises(Overloaded):
            runtime.run(OpenAI(api_key=KEY).bind("a")(call_for(runtime, deadline=100.0)))
        assert 5.0 == runtime.now()

    def test_that_are_too_large(self, server: ScriptedServer) -> None:
        """
        An answer beyond every bound is refused, packed or not.
        """
        bomb = http_response(200, gzip_bomb(200_000_000), {"content-encoding": "gzip"})
        assert "unpacks to far more" in failed(ProtocolError, lambda: asked(server, *bomb)).message
        endless = [*http_stream([], end=False), Repeat([b"10000\r\n" + b"x" * 2**16 + b"\r\n"])]
        assert "larger than" in failed(ProtocolError, lambda: asked(server, *endless)).message

    def test_the_connection_is_kept(self, server: ScriptedServer) -> None:
        """
        Answers, errors and streams that were read to their end keep their connection; what broke does not.
        """
        server.answer(chat("a"), error(500), stream(["b"]), http_response(200, b"broken"), chat("c"))
        with openai(server) as provider:
            provider.chat("a", "hi")
            with pytest.raises(UpstreamError):
                provider.chat("a", "hi")
            list(provider.stream("a", "hi"))
            with pytest.raises(ProtocolError):
                provider.chat("a", "hi")
            provider.chat("a", "hi")
        assert [1, 1, 1, 1] == [request.connection for request in server.requests][:4]

    def test_connections_that_fail(self, server: ScriptedServer) -> None:
        """
        Errors before any answer say whom they concern, too.
        """
        with openai(server, base_url=server.refused_url()) as provider:
            failed(ConnectionFailed, lambda: provider.chat("a", "hi"))
        failed(ConnectionFailed, lambda: asked(server, Reset()))
        failed(DeadlineExceeded, lambda: asked(server, Hang(), timeout=0.1))


class TestStreams:
    @pytest.mark.parametrize(
        "script",
        [
            http_stream([PIECE]), [*http_stream([PIECE], end=False), Pause(0.02), Reset()],
            [*http_stream([PIECE], end=False), Pause(0.02), Close()], [head(200), PIECE, Close()],
            http_stream([PIECE, b"data: {"]),
        ],
        ids=["no end", "reset", "cut", "until close", "half an event"],
    )  # fmt: skip
    def test_without_their_end(self, server: ScriptedServer, script: Any) -> None:
        """
        However a stream ends without its terminal event, it is interrupted, with what came and who it was.
        """
        wrong = failed(StreamInterrupted, lambda: read(server, *script))
        assert "hel" == wrong.partial.text

    def test_that_go_silent(self, server: ScriptedServer) -> None:
        """
        A stream that goes silent in its middle is interrupted by its clock; one that never begins is a timeout.
        """
        config = {"timeouts": {"idle": "100ms", "first_token": "100ms"}, "retry": {"enabled": False}}
        with Gateway(config, providers=[openai(server)]) as gateway:
            server.answer([*http_stream([PIECE], end=False), Hang()])
            with pytest.raises(StreamInterrupted, match=r"not a byte for 0.1 s") as interrupted:
                list(gateway.stream("openai/a", "hi"))
            server.answer([*http_stream([b": ping\n\n"], end=False), Hang()])
            with pytest.raises(UpstreamTimeout) as silent:
                list(gateway.stream("openai/a", "hi"))

        assert "hel" == interrupted.value.partial.text
        assert "first_token" == silent.value.timer
        assert "openai/a" == interrupted.value.deployment == silent.value.deployment

    def test_errors_in_the_middle(self, server: ScriptedServer) -> None:
        """
        An error inside of a stream is the error that it says, and knows whose it is and which request.
        """
        script = list(http_stream([PIECE, sse({"error": {"message": "busy", "type": "overloaded_error"}})]))
        script[0] = script[0].replace(b"\r\n", b"\r\nx-request-id: req-5\r\n", 1)  # type: ignore[union-attr]
        wrong = failed(Overloaded, lambda: read(server, *script))

        assert "req-5" == wrong.request_id

    def test_errors_before_any_content_are_repaired(self, server: ScriptedServer) -> None:
        """
        A stream that fails before its first content is asked for again, as if nothing had been.
        """
        role = sse({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        server.answer(
            http_stream([role]), http_stream([role, sse({"error": {"message": "busy", "code": 503}})]), stream(["ok"])
        )
        with Gateway({"retry": {"base_delay": 0, "max_delay": 0}}, providers=[openai(server)]) as gateway:
            assert "ok" == "".join(chunk.text for chunk in gateway.stream("openai/a", "hi"))
        assert 3 == len(server.requests)

    def test_what_is_no_stream(self, server: ScriptedServer) -> None:
        """
        HTML where a stream was asked for is a protocol error.
        """
        failed(ProtocolError, lambda: read(server, *html(200)))

    def test_left_early(self, server: ScriptedServer) -> None:
        """
        Who has enough closes the connection at once.
        """
        server.answer([*http_stream([PIECE], end=False), Hang()])
        with openai(server) as provider, provider.stream("a", "hi") as reading:
            assert "hel" == next(iter(reading)).text
        assert server.wait_closed(2.0)


class TestPrices:
    def test_configured_before_published_before_nothing(self, server: ScriptedServer) -> None:
        """
        The upstream's own figure, else a configured price, else the published one, else None; a cached answer is free.
        """
        usage = {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}
        answer: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        }
        server.always(http_response(200, answer | {"usage": usage}))
        config = {
            "prices": {"openai/mine": {"input": 1, "output": 2}}, "cache": {"ttl": "1h"},
            "providers": {"local": {"kind": "openai-compatible", "base_url": server.base_url}},
        }  # fmt: skip
        with Gateway(config, providers=[openai(server)]) as gateway:
            assert Decimal(3) == gateway.chat("openai/mine", "hi").cost
            assert Decimal("0.75") == gateway.chat("openai/gpt-4o-mini", "hi").cost
            assert gateway.chat("local/unknown", "hi").cost is None
            assert Decimal(0) == gateway.chat("openai/mine", "hi").cost
            server.answer(http_response(200, answer | {"usage": usage | {"cost": 0.5}}))
            assert Decimal("0.5") == gateway.chat("openai/mine", "other").cost


FAULTS: dict[str, list[Any]] = {
    "refused": [],
    "reset": [Reset()],
    "silent": [Hang()],
    "cut": [*cut(chat("hello"), 300), Close()],
    "redirect": list(http_response(302, b"", {"location": f"https://elsewhere.example/?key={KEY}"})),
    "html": list(html(200, title=KEY)),
    "bomb": list(http_response(200, gzip_bomb(100_000_000), {"content-encoding": "gzip"})),
    "garbage": [b"SSH-2.0\r\n\r\n"],
    "echo": list(error(401, {"error": {"message": f"Incorrect key: {OTHER_KEY} and {KEY}", "code": OTHER_KEY}}, {"x-request-id": KEY})),
    "echo in a stream": list(http_stream([PIECE, sse({"error": {"message": f"bad {OTHER_KEY} {KEY}", "type": KEY}})])),
    "broken stream": [*http_stream([PIECE], end=False), Pause(0.01), Reset()],
    "broken json": list(http_response(200, f'{{"choices": {KEY}'.encode())),
    "anthropic": list(anthropic_error(529, "overloaded_error", OTHER_KEY)),
}  # fmt: skip


ECHOES = frozenset({"redirect", "html", "echo", "echo in a stream", "broken json", "anthropic"})
"""
In these the upstream itself repeats a key, so the frames that read its words, and a library's log of them, hold it; what
is made of them must not.
"""


def provoked(color: str, gateway: Gateway) -> list[GatewayError]:
    """The errors of a whole answer and of a stream."""
    errors: list[GatewayError] = []

    async def both() -> None:
        try:
            await gateway.aio.chat("fast", "hi", timeout=0.3)
        except GatewayError as error:
            errors.append(error)
        try:
            async for _ in gateway.aio.stream("fast", "hi", timeout=0.3):
                pass
        except GatewayError as error:
            errors.append(error)
        await gateway.aio.close()

    if color == "asyncio":
        asyncio.run(both())
        return errors
    for ask in (gateway.chat, lambda *args, **params: list(gateway.stream(*args, **params))):
        try:
            ask("fast", "hi", timeout=0.3)
        except GatewayError as error:
            errors.append(error)
    return errors


def everything_about(error: BaseException, frames: bool) -> Iterator[str]:
    """What an error and all errors it leads to show; with the locals of the frames they came through, if that is asked."""
    todo, known = [error], set[int]()
    while todo:
        one = todo.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        todo += [
            other for other in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())) if other is not None
        ]
        yield from (str(one), repr(one), str(one.__dict__), pickle.dumps(one.args).decode("latin-1"))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frames and frame.f_code.co_filename != __file__:
                yield from (f"{name}={value!r}" for name, value in frame.f_locals.items())
    yield "".join(traceback.format_exception(error))
    yield pickle.dumps(error).decode("latin-1")


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("engine", ["httpx2 blocking", "httpx2 asyncio", "aiohttp asyncio"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_failure_shows_the_key(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, fault: str, engine: str, key: str
) -> None:
    """
    Through failures of every kind, in every colour: no error, log, pickle or frame shows the key, nor does the gateway.
    """
    name, color = engine.split()
    server.always(FAULTS[fault])
    url = server.refused_url() if fault == "refused" else server.base_url
    upstream = {"kind": "openai-compatible", "base_url": url, "api_key": key}
    config: dict[str, Any] = {"providers": {"up": upstream, "twin": upstream}, "routes": {"fast": ["up/a", "twin/a"]}}
    retry = {"base_delay": 0, "max_delay": 0, "max_attempts": 2}
    with caplog.at_level(logging.DEBUG), Gateway(config | {"retry": retry, "http": {"engine": name}}) as gateway:
        errors = provoked(color, gateway)
        shown = [repr(gateway), str(gateway.health()), str(gateway.stats()), str(gateway.config.model_dump())]
        shown += [repr(gateway._pipeline.__dict__), *map(repr, gateway.config.providers.values())]
        logs = [log for log in caplog.records if fault not in ECHOES or log.name.startswith("llmgate")]
        shown += [log.getMessage() for log in logs]

    assert 2 == len(errors)
    for wrong in errors:
        shown += everything_about(wrong, frames=fault not in ECHOES)
    assert not [text for text in shown if key in text]


class TestSecrecy:
    def test_of_what_is_written_down(self) -> None:
        """
        repr, str, dumps and pickles of a provider hold no key and no header.
        """
        provider = OpenAI(api_key=[KEY, OTHER_KEY], headers={"x-team": "team-secret-1"})
        shown = [
            repr(provider),
            str(provider),
            str(provider.model_dump()),
            provider.model_dump_json(exclude={"headers"}),
        ]

        assert not [text for text in shown[:2] if "team-secret-1" in text]
        assert not [text for text in shown if KEY in text or OTHER_KEY in text]
        with pytest.raises(TypeError, match="does not pickle"):
            pickle.dumps(provider)

    @pytest.mark.parametrize(
        "options",
        [
            {"bas_url": "x"}, {"base_url": "nonsense"}, {"headers": {"x y": "1"}}, {"http_client": 3}, {"models": 3},
            {"api_key": KEY + "\n"}, {"api_key": [KEY, 3]},
        ],
    )  # fmt: skip
    def test_of_options_that_are_wrong(self, options: dict[str, Any]) -> None:
        """
        An error about one option shows no other, in its text as in the frames it comes through.
        """

        def made() -> None:
            # The key is nobody's local here.
            OpenAI(**{"api_key": str(Secret(KEY).reveal())} | options)

        with pytest.raises(ValidationError) as raised:
            made()
        shown = [str(raised.value), repr(raised.value)]
        shown += [
            repr(frame.f_locals)
            for frame, _ in traceback.walk_tb(raised.value.__traceback__)
            if frame.f_code.co_filename != __file__
        ]

        assert not [text for text in shown if KEY in text]
