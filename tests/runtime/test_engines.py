"""One contract for every engine in every colour: ours, aiohttp's, and whatever client a caller brings."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import CoroutineType, FrameType, FunctionType, ModuleType
from typing import Any, TypeVar

import httpx
import httpx2
import pytest

from llmgate import ConfigError, Gateway, OpenAI, OpenAICompatible, ProtocolError
from llmgate.errors import BadRequest, ConnectionFailed, LimitReached, UpstreamTimeout
from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.drive import drive
from llmgate.runtime.engines import engine_maker
from llmgate.runtime.http import HTTPOptions
from llmgate.testing import (
    Hang,
    Pause,
    Repeat,
    Reset,
    ScriptedServer,
    chat,
    chunk,
    cut,
    error,
    gzip_bomb,
    gzipped,
    head,
    http_response,
    http_stream,
    stream,
)
from llmgate.types.runtime import Runtime
from llmgate.types.secret import Credential, Secret
from llmgate.types.wire import Clients, WireRequest, WireResponse, WireTimeouts

T = TypeVar("T")
Story = Callable[[Runtime], Coroutine[Any, Any, T]]

KEY = "sk-very-secret-123"
SOON_S = 5.0  # seconds; far above anything that works
SHORT_S = 0.15  # seconds; a time that is meant to run out
LATE_S = 1.0  # seconds by which a timer may ring late on a busy machine
CHAT = b"".join(step for step in chat("hello") if isinstance(step, bytes)).partition(b"\r\n\r\n")[2]

ENGINES = (
    "lanes blocking", "lanes asyncio", "aiohttp asyncio", "httpx blocking", "httpx asyncio", "httpx2 blocking",
    "httpx2 asyncio", "environment blocking", "environment asyncio",
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


class Engine:
    """Tells a story on one engine, and holds it to leave no connection of ours behind."""

    def __init__(self, name: str, server: ScriptedServer) -> None:
        self.kind, self.color = name.split()
        self.server = server
        self.brought = self.kind in ("httpx", "httpx2")
        self.clients: Clients | None = None

    def run(self, story: Story[T], **options: Any) -> T:
        """What the story tells; afterwards nothing is open, but for what the caller brought and has to close."""
        result = (
            self._blocking(story, options) if self.color == "blocking" else asyncio.run(self._asyncio(story, options))
        )
        assert self.server.wait_closed(2.0)
        return result

    def _options(self, options: dict[str, Any]) -> HTTPOptions:
        engine = "aiohttp" if self.kind == "aiohttp" else "httpx2"
        return HTTPOptions(**{"engine": engine, "trust_env": self.kind == "environment"} | options)

    def _blocking(self, story: Story[T], options: dict[str, Any]) -> T:
        runtime = BlockingRuntime(engine_maker(self._options(options), "blocking"))
        try:
            if not self.brought:
                return drive(story(runtime))
            with (httpx if self.kind == "httpx" else httpx2).Client() as client:
                self.clients = Clients(blocking=client)
                return drive(story(runtime))
        finally:
            runtime.close()

    async def _asyncio(self, story: Story[T], options: dict[str, Any]) -> T:
        runtime = AsyncioRuntime(engine_maker(self._options(options), "asyncio"))
        try:
            if not self.brought:
                return await story(runtime)
            async with (httpx if self.kind == "httpx" else httpx2).AsyncClient() as client:
                self.clients = Clients(asyncio=client)
                return await story(runtime)
        finally:
            await runtime.close()

    def asking(self, origin: str = "", **fields: Any) -> WireRequest:
        """A request as a provider writes it."""
        origin = origin or self.server.origin
        headers = [("content-type", "application/json"), ("accept-encoding", "gzip, deflate")]
        values: dict[str, Any] = {"target": "/v1/chat/completions", "headers": headers, "body": b"{}"}
        values |= {"credential": Credential(Secret(KEY), origin), "clients": self.clients}
        return WireRequest("POST", origin, **values | fields)

    async def sent(self, runtime: Runtime, within_s: float = SOON_S, **fields: Any) -> WireResponse:
        return await runtime.send(self.asking(**fields), runtime.now() + within_s)

    async def whole(self, runtime: Runtime, within_s: float = SOON_S, **fields: Any) -> bytes:
        """The body to its end."""
        response = await self.sent(runtime, within_s, **fields)
        parts = []
        while data := await response.read(runtime.now() + within_s):
            parts.append(data)
        return b"".join(parts)

    def answered(self, *steps: Any, **fields: Any) -> bytes:
        """Have a script answer, and read what it says to its end."""
        self.server.answer(list(steps))
        options = {name: fields.pop(name) for name in ("max_response_bytes",) if name in fields}
        return self.run(lambda runtime: self.whole(runtime, **fields), **options)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """The process's environment without proxies, but with these values."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[Engine]:
    with environment():
        yield Engine(request.param, server)


class TestExchange:
    def test_a_whole_answer(self, engine: Engine) -> None:
        """
        Method, target, headers and body travel as they were written, the key in its header; the answer comes whole.
        """
        engine.server.always(chat("hello"))

        async def story(runtime: Runtime) -> tuple[int, str, bytes]:
            response = await engine.sent(runtime, target="/v1/a%20b%2Fc|{}?d=%2F&e^", body="ä".encode())
            parts = [await response.read(runtime.now() + SOON_S)]
            while parts[-1]:
                parts.append(await response.read(runtime.now() + SOON_S))
            return response.status, response.headers["content-type"], b"".join(parts)

        assert (200, "application/json", CHAT) == engine.run(story)
        request = engine.server.requests[0]
        assert ("POST", "/v1/a%20b%2Fc|{}", "d=%2F&e^", "ä".encode()) == (
            request.method,
            request.path,
            request.query,
            request.body,
        )
        assert f"Bearer {KEY}" == request.headers["authorization"]
        names = [name.lower() for name, _ in request.raw_headers]
        assert len(names) == len(set(names))
        assert f"127.0.0.1:{engine.server.port}" == request.headers["host"]

    def test_a_stream_comes_as_it_is_written(self, engine: Engine) -> None:
        """
        What has arrived is handed over at once and does not wait for more.
        """
        engine.server.answer(
            [*http_stream([b"data: 1\n\n"], end=False), Pause(SHORT_S), *list(http_stream([b"data: 2\n\n"]))[1:]]
        )

        async def story(runtime: Runtime) -> tuple[bytes, float, bytes]:
            response = await engine.sent(runtime)
            first = await response.read(runtime.now() + SOON_S)
            start = runtime.now()
            second = await response.read(runtime.now() + SOON_S)
            waited = runtime.now() - start
            assert b"" == await response.read(runtime.now() + SOON_S)
            return first, waited, second

        first, waited, second = engine.run(story)

        assert (b"data: 1\n\n", b"data: 2\n\n") == (first, second)
        assert SHORT_S / 2 < waited < SHORT_S + LATE_S

    def test_errors_are_answers(self, engine: Engine) -> None:
        """
        An error's status, headers and body are there to be read.
        """
        engine.server.answer(error(429, {"error": {"message": "slow"}}, {"Retry-After": "7"}))

        async def story(runtime: Runtime) -> tuple[int, str, bytes]:
            response = await engine.sent(runtime)
            return response.status, response.headers["retry-after"], await response.read(runtime.now() + SOON_S)

        status, wish, body = engine.run(story)
        assert (429, "7") == (status, wish) and b"slow" in body

    def test_connections_are_kept(self, engine: Engine) -> None:
        """
        An answer that was read to its end gives its connection to the next request.
        """
        engine.server.answer(chat("one"), stream(["two"]), chat("three"))

        async def story(runtime: Runtime) -> None:
            for _ in range(3):
                await engine.whole(runtime)

        engine.run(story)
        assert [1, 1, 1] == [request.connection for request in engine.server.requests]

    def test_closed_early_frees_the_connection(self, engine: Engine) -> None:
        """
        An answer that is left in its middle takes its connection with it, at once; closing twice is harmless.
        """
        engine.server.answer([*http_stream([b"data: 1\n\n"], end=False), Hang()], chat("next"))

        async def story(runtime: Runtime) -> bytes:
            response = await engine.sent(runtime)
            await response.read(runtime.now() + SOON_S)
            await response.close()
            await response.close()
            assert await runtime.offload(engine.server.wait_closed, 2.0)
            assert b"" == await response.read(runtime.now() + SOON_S)
            return await engine.whole(runtime)

        assert engine.run(story)

    def test_no_redirect_is_followed(self, engine: Engine) -> None:
        """
        A redirect is an answer; neither key nor prompt goes where it points.
        """
        with ScriptedServer() as other:
            engine.server.answer(http_response(307, b"", {"location": other.base_url}))

            async def story(runtime: Runtime) -> int:
                response = await engine.sent(runtime)
                await response.close()
                return response.status

            assert 307 == engine.run(story)
            assert 0 == other.connections_total

    def test_a_key_goes_to_its_origin_only(self, engine: Engine) -> None:
        """
        A key that was configured for another origin is not sent, and neither is the request.
        """
        foreign = Credential(Secret(KEY), "https://api.example:443")

        with pytest.raises(ConfigError, match="was configured for"):
            engine.run(lambda runtime: engine.sent(runtime, credential=foreign))
        assert [] == engine.server.requests

    def test_cookies_are_not_collected(self, engine: Engine) -> None:
        """
        What one answer sets, the next request does not send; a client that was brought does as its owner wants.
        """
        engine.server.answer(http_response(200, CHAT, {"set-cookie": "session=1; Path=/"}), chat("hello"))

        async def story(runtime: Runtime) -> None:
            # By its name: for addresses some collect none anyway.
            origin = engine.server.origin.replace("127.0.0.1", "localhost")
            await engine.whole(runtime, origin=origin)
            await engine.whole(runtime, origin=origin)

        engine.run(story)
        assert engine.brought or "cookie" not in engine.server.requests[1].headers

    def test_large_requests_arrive(self, engine: Engine) -> None:
        """
        A body of several megabytes arrives whole.
        """
        large = b"0123456789abcdef" * 300_000
        engine.answered(*chat("hello"), body=large)

        assert large == engine.server.requests[0].body


class TestTime:
    def late(self, engine: Engine, within_s: float, story: Story[Any]) -> None:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            engine.run(story)
        assert within_s / 2 < time.monotonic() - start < within_s + LATE_S

    def test_no_head(self, engine: Engine) -> None:
        """
        An answer that does not begin in time is a TimeoutError at that time, and its connection is cut.
        """
        engine.server.answer([Hang()])
        self.late(engine, SHORT_S, lambda runtime: engine.sent(runtime, SHORT_S))

    def test_no_body(self, engine: Engine) -> None:
        """
        A body that does not come in time is a TimeoutError at that time, whatever time the head was given.
        """
        engine.server.answer([head(200, {"content-length": "5"}), Hang()])

        async def story(runtime: Runtime) -> None:
            response = await engine.sent(runtime)
            await response.read(runtime.now() + SHORT_S)

        self.late(engine, SHORT_S, story)

    def test_bytes_for_ever(self, engine: Engine) -> None:
        """
        A body that never ends is left when the time of the whole is over, however much still comes.
        """
        engine.server.answer([*http_stream([], end=False), Repeat([chunk(b": ping\n\n"), Pause(0.01)])])

        async def story(runtime: Runtime) -> None:
            response = await engine.sent(runtime)
            until = runtime.now() + SHORT_S
            while await response.read(until):
                pass

        self.late(engine, SHORT_S, story)

    def test_no_time_at_all(self, engine: Engine) -> None:
        """
        A request whose time is over before it begins is a TimeoutError, or no request at all.
        """
        engine.server.always(chat("hello"))
        with pytest.raises(TimeoutError):
            engine.run(lambda runtime: engine.sent(runtime, -1.0))

    def test_no_connection_in_time(self, engine: Engine) -> None:
        """
        A connection that is not made in its time is an UpstreamTimeout of that clock.
        """
        origin = engine.server.blackhole_url().removesuffix("/v1")
        with pytest.raises(UpstreamTimeout) as raised:
            engine.run(lambda runtime: engine.sent(runtime, origin=origin, timeouts=WireTimeouts(connect_s=SHORT_S)))
        assert "connect" == raised.value.timer and origin in raised.value.message

    def test_a_request_that_nobody_takes(self, engine: Engine) -> None:
        """
        A request that the other side does not read is given up when the time for writing is over, and its rest is not sent.
        """
        size = 16_000_000
        with socket.create_server(("127.0.0.1", 0)) as listener:
            origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            fields: dict[str, Any] = {"origin": origin, "body": bytes(size), "timeouts": WireTimeouts(write_s=SHORT_S)}
            with pytest.raises(UpstreamTimeout) as raised:
                engine.run(lambda runtime: engine.sent(runtime, **fields))
            taken, _ = listener.accept()
            with taken:
                taken.settimeout(SOON_S)
                received = 0
                with suppress(ConnectionResetError):
                    while data := taken.recv(2**20):
                        received += len(data)

        assert "write" == raised.value.timer
        assert received < size

    def test_cancelled(self, engine: Engine) -> None:
        """
        A cancellation comes through as what it is, and the connection is cut.
        """
        if engine.color == "blocking":
            pytest.skip("a thread cannot be cancelled")
        engine.server.answer([Hang()])

        async def story(runtime: Runtime) -> None:
            task = asyncio.create_task(engine.sent(runtime))
            assert await runtime.offload(engine.server.wait_requests, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await runtime.offload(engine.server.wait_closed, 2.0)

        engine.run(story)


class TestBreaking:
    def test_refused(self, engine: Engine) -> None:
        """
        A refused connection is a ConnectionFailed that names the host.
        """
        origin = engine.server.refused_url().removesuffix("/v1")
        with pytest.raises(ConnectionFailed) as raised:
            engine.run(lambda runtime: engine.sent(runtime, origin=origin))
        assert origin in raised.value.message

    @pytest.mark.parametrize("steps", [[Reset()], [*cut(chat("hello"), 20), Reset()]], ids=["before", "inside"])
    def test_reset_before_the_answer(self, engine: Engine, steps: list[Any]) -> None:
        """
        A connection that breaks before the head is whole is worth another try.
        """
        with pytest.raises((ConnectionFailed, ProtocolError)) as raised:
            engine.answered(*steps)
        assert raised.value.again

    @pytest.mark.parametrize("after", [Reset(), None], ids=["reset", "closed"])
    def test_broken_in_the_middle(self, engine: Engine, after: Any) -> None:
        """
        A body that breaks off is a ConnectionFailed, for a stream and for a whole answer; what came before was read.
        """
        for script in (http_stream([b"data: 1\n\n"], end=False), cut(chat("hello"), 200)):
            engine.server.answer(
                [*script, Pause(0.02), after] if after is not None else [*script, Pause(0.02), *_close()]
            )

            async def story(runtime: Runtime) -> bytes:
                response = await engine.sent(runtime)
                first = await response.read(runtime.now() + SOON_S)
                with pytest.raises(ConnectionFailed, match="in the middle of the answer"):
                    while await response.read(runtime.now() + SOON_S):
                        pass
                return first

            assert engine.run(story)

    def test_what_is_not_http(self, engine: Engine) -> None:
        """
        An answer that is no HTTP is a ProtocolError.
        """
        with pytest.raises(ProtocolError):
            engine.answered(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


class TestLimits:
    def test_too_large(self, engine: Engine) -> None:
        """
        A body above the limit is a ProtocolError, and is not read any further; one at the limit passes.
        """
        assert 1000 == len(engine.answered(*http_response(200, b"x" * 1000), max_response_bytes=1000))
        with pytest.raises(ProtocolError, match="larger than 999 bytes"):
            engine.answered(*http_response(200, b"x" * 1000), max_response_bytes=999)

    def test_packed(self, engine: Engine) -> None:
        """
        A packed body is unpacked; a bomb, one that is cut, and one that is packed otherwise are refused.
        """
        assert CHAT == engine.answered(*http_response(200, CHAT, gzip=True))
        for packed in (gzip_bomb(50_000_000), gzipped(CHAT)[:-8]):
            with pytest.raises((ProtocolError, ConnectionFailed)):
                engine.answered(*http_response(200, packed, {"content-encoding": "gzip"}))
        with pytest.raises(ProtocolError, match="encoded as 'br'"):
            engine.answered(*http_response(200, CHAT, {"content-encoding": "br"}))

    def test_heads_that_never_end(self, engine: Engine) -> None:
        """
        A head of megabytes is refused and not collected.
        """
        with pytest.raises(ProtocolError):
            engine.answered(head(200)[:-2], Repeat([b"x-more: " + b"y" * 1000 + b"\r\n"], 5000), b"\r\n")

    def test_headers_that_are_none(self, engine: Engine) -> None:
        """
        A value that would become another header is refused, and nothing is sent.
        """
        with pytest.raises(BadRequest):
            engine.run(lambda runtime: engine.sent(runtime, headers=[("x-tag", "a\r\nx-evil: 1")]))
        assert [] == engine.server.requests


@pytest.mark.parametrize(
    "fault", ["refused", "blackhole", "reset", "no head", "no body", "cut", "garbage", "bomb", "header"]
)
def test_no_frame_of_an_error_holds_the_key(engine: Engine, fault: str) -> None:
    """
    However sending fails: neither the error nor any frame that it leads to, locals included, shows the key.
    """
    script: dict[str, list[Any]] = {
        "reset": [Reset()],
        "no head": [Hang()],
        "no body": [head(200, {"content-length": "5"}), Hang()],
        "cut": [*cut(chat("hello"), 200), Reset()],
        "garbage": [b"nonsense\r\n\r\n"],
        "bomb": list(http_response(200, gzip_bomb(50_000_000), {"content-encoding": "gzip"})),
    }
    origin = {"refused": engine.server.refused_url, "blackhole": engine.server.blackhole_url}.get(fault, lambda: "")()
    fields: dict[str, Any] = {"origin": origin.removesuffix("/v1"), "timeouts": WireTimeouts(connect_s=0.03)}
    if fault == "header":
        fields["headers"] = [("x-tag", "a\r\nb")]
    engine.server.answer(script.get(fault, []))

    with pytest.raises(Exception) as raised:
        engine.run(lambda runtime: engine.whole(runtime, 0.06 if fault.startswith("no ") else SOON_S, **fields))

    assert KEY not in everything_about(raised.value)


def test_no_idle_connection_holds_the_key(engine: Engine) -> None:
    """
    A connection that waits for its next request holds nothing of the last one.
    """
    if engine.kind not in ("lanes", "aiohttp"):
        pytest.skip("httpx2 keeps its connections itself")
    engine.server.answer(chat("hello"))

    async def story(runtime: Any) -> list[str]:
        await engine.whole(runtime)
        (lanes,) = [runtime._engine] if engine.color == "blocking" else runtime._engines.values()
        ((lane,),) = lanes._idle.values()
        return [_shown(value) for value in reachable(lane)]

    shown = engine.run(story)
    assert any("127.0.0.1" in text for text in shown)
    assert not [text for text in shown if KEY in text]


def reachable(start: object) -> list[object]:
    """What an object leads to, short of code and of what runs."""
    seen: dict[int, object] = {}
    todo = [start]
    code = (type, FunctionType, ModuleType, CoroutineType, FrameType, asyncio.AbstractEventLoop, asyncio.Task)
    while todo:
        one = todo.pop()
        names_of_a_module = isinstance(one, dict) and "__name__" in one
        if id(one) not in seen and not isinstance(one, code) and not names_of_a_module:
            seen[id(one)] = one
            todo += gc.get_referents(one)
    return list(seen.values())


def everything_about(error: BaseException | None) -> str:
    """What an error shows to whoever looks at all frames it leads to, suppressed contexts included."""
    seen: list[str] = []
    todo, known = [error], set[int]()
    while todo:
        one = todo.pop()
        if one is None or id(one) in known:
            continue
        known.add(id(one))
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "llmgate/testing" not in frame.f_code.co_filename and "tests/" not in frame.f_code.co_filename:
                seen += [f"{name}={_shown(value)}" for name, value in frame.f_locals.items()]
        seen += [repr(one), str(one), repr(one.__dict__)]
    return "\n".join(seen)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return repr(error)


def _close() -> list[Any]:
    from llmgate.testing import Close

    return [Close()]


class TestBrought:
    """Clients of the caller's."""

    @pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
    def test_in_a_gateway(self, server: ScriptedServer, library: Any) -> None:
        """
        Inside a gateway a provider sends through the client of the call's colour, whole answers and streams, and the
        gateway closes neither client.
        """
        server.always(chat("hello"))
        server.answer(chat("one"), stream(["two"]), path="/chat/completions")
        marked = {"headers": {"x-client": "mine"}}
        client, async_client = library.Client(**marked), library.AsyncClient(**marked)
        provider = OpenAI(api_key=KEY, base_url=server.base_url, http_client=client, async_http_client=async_client)

        with Gateway(providers=[provider, OpenAICompatible(name="other", base_url=server.base_url)]) as gateway:
            assert "one" == gateway.chat("openai/a", "hi").text
            assert "two" == "".join(chunk.text for chunk in gateway.stream("openai/a", "hi"))
            assert "hello" == gateway.chat("other/a", "hi").text

            async def main() -> None:
                assert "hello" == (await gateway.aio.chat("openai/a", "hi")).text
                assert "hello" == (await gateway.aio.chat("other/a", "hi")).text
                await gateway.aio.close()
                assert not async_client.is_closed
                await async_client.aclose()

            asyncio.run(main())

        assert ["mine", "mine", None, "mine", None] == [request.headers.get("x-client") for request in server.requests]
        assert not client.is_closed
        client.close()

    def test_the_other_colour_uses_ours(self, server: ScriptedServer) -> None:
        """
        A blocking client alone serves plain calls; calls of an event loop go through connections of the gateway's.
        """
        server.always(chat("hello"))
        with httpx2.Client(headers={"x-client": "mine"}) as client:
            provider = OpenAI(api_key=KEY, base_url=server.base_url, http_client=client)
            with Gateway(providers=[provider]) as gateway:
                gateway.chat("openai/a", "hi")
                asyncio.run(gateway.aio.chat("openai/a", "hi"))  # type: ignore[arg-type]

        assert ["mine", None] == [request.headers.get("x-client") for request in server.requests]

    def test_a_transport_without_a_network(self) -> None:
        """
        A client with a transport of its own, as tests have it, is served like any other; also packed answers.
        """
        answer = {"choices": [{"message": {"content": "mocked"}, "finish_reason": "stop"}]}

        for library in (httpx, httpx2):
            client = library.Client(
                transport=library.MockTransport(lambda request, lib=library: lib.Response(200, json=answer))
            )
            with OpenAI(api_key=KEY, http_client=client) as provider:
                assert "mocked" == provider.chat("a", "hi").text
            packed = library.Response(200, content=gzipped(b'{"data": []}'), headers={"content-encoding": "gzip"})
            client = library.Client(transport=library.MockTransport(lambda request, packed=packed: packed))
            with OpenAI(api_key=KEY, http_client=client) as provider:
                assert [] == provider.models().data

    def test_limits_of_the_gateway_hold(self, server: ScriptedServer) -> None:
        """
        The largest answer that is configured is the largest through a client that was brought, too.
        """
        server.always(chat("hello" * 1000))
        with httpx2.Client() as client:
            provider = OpenAI(api_key=KEY, base_url=server.base_url, http_client=client)
            config = {"http": {"max_response": "1kB"}, "retry": {"enabled": False}}
            with (
                Gateway(config, providers=[provider]) as gateway,
                pytest.raises(ProtocolError, match="larger than 1000"),
            ):
                gateway.chat("openai/a", "hi")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"http_client": httpx2.AsyncClient()}, "http_client is a AsyncClient; give a Client of httpx or httpx2"),
            (
                {"async_http_client": httpx.Client()},
                "async_http_client is a Client; give a AsyncClient of httpx or httpx2",
            ),
            ({"http_client": object()}, "http_client is a object"),
        ],
    )
    def test_of_the_wrong_colour(self, options: dict[str, Any], said: str) -> None:
        """
        A client that cannot serve its colour is refused when the provider is made.
        """
        with pytest.raises(ValueError, match=said):
            OpenAI(api_key=KEY, **options)

    def test_closed_already(self, server: ScriptedServer) -> None:
        """
        A client that was closed is an error of the configuration that says so; nobody is asked again.
        """
        for library in (httpx, httpx2):
            client = library.Client()
            client.close()
            provider = OpenAI(api_key=KEY, base_url=server.base_url, http_client=client)
            with (
                Gateway(providers=[provider]) as gateway,
                pytest.raises(ConfigError, match=r"cannot be used: .*closed"),
            ):
                gateway.chat("openai/a", "hi")
        assert 0 == server.connections_total

    def test_an_engine_closes_its_own_client_only(self) -> None:
        """
        Closing an engine closes the client that it made and leaves one that it was given.
        """
        from llmgate.runtime.client import ClientEngine

        with httpx.Client() as client:
            drive(ClientEngine(HTTPOptions(), "blocking", client).close())
            assert not client.is_closed
        own = ClientEngine(HTTPOptions(), "blocking")
        drive(own.close())
        assert own._client.is_closed

    def test_a_pool_that_is_used_up(self, server: ScriptedServer) -> None:
        """
        That the client has no connection left is a limit of ours and not the upstream's fault.
        """
        server.always([*http_stream([b"data: 1\n\n"], end=False), Hang()])
        with httpx2.Client(limits=httpx2.Limits(max_connections=1)) as client:
            runtime = BlockingRuntime(engine_maker(HTTPOptions(), "blocking"))
            clients = Clients(blocking=client)

            async def story() -> None:
                request = WireRequest("POST", server.origin, "/", clients=clients, timeouts=WireTimeouts(pool_s=0.05))
                first = await runtime.send(request, runtime.now() + SOON_S)
                with pytest.raises(LimitReached):
                    await runtime.send(request, runtime.now() + SOON_S)
                await first.close()

            drive(story())


class TestEnvironment:
    def test_is_trusted_when_asked(self, server: ScriptedServer) -> None:
        """
        With trust_env a proxy of the environment is used, in both colours; without it, it is not.
        """
        server.always(chat("through the proxy"))
        with environment(HTTP_PROXY=server.origin):
            self.asked(server)

    def asked(self, server: ScriptedServer) -> None:
        provider = {"up": {"kind": "openai-compatible", "base_url": "http://upstream.invalid/v1", "allow_http": True}}
        config = {"providers": provider, "retry": {"enabled": False}}

        with Gateway(config | {"http": {"trust_env": True}}) as gateway:
            assert "through the proxy" == gateway.chat("up/a", "hi").text

            async def main() -> str:
                reply = await gateway.aio.chat("up/a", "hi")
                await gateway.aio.close()
                return reply.text

            assert "through the proxy" == asyncio.run(main())
        with Gateway(config | {"http": {"trust_env": True, "engine": "aiohttp"}}) as gateway:

            async def main() -> str:
                reply = await gateway.aio.chat("up/a", "hi")
                await gateway.aio.close()
                return reply.text

            assert "through the proxy" == asyncio.run(main())
        assert 3 == len(server.requests)
        with Gateway(config) as gateway, pytest.raises(ConnectionFailed):
            gateway.chat("up/a", "hi")
        assert 3 == len(server.requests)


class TestChoice:
    def test_auto_takes_what_is_there(self, server: ScriptedServer) -> None:
        """
        engine: auto and engine: aiohttp work in both colours, and plain threads need no aiohttp.
        """
        for engine in ("auto", "aiohttp"):
            server.answer(chat("one"), stream(["two"]))
            config = {
                "providers": {"up": {"kind": "openai-compatible", "base_url": server.base_url}},
                "http": {"engine": engine},
            }
            with Gateway(config) as gateway:
                assert "one" == gateway.chat("up/a", "hi").text

                async def main(gateway: Gateway = gateway) -> str:
                    text = "".join([chunk.text async for chunk in gateway.aio.stream("up/a", "hi")])
                    await gateway.aio.close()
                    return text

                assert "two" == asyncio.run(main())

    @pytest.mark.parametrize(("engine", "printed"), [("aiohttp", "ConfigError"), ("auto", "made"), ("httpx2", "made")])
    def test_a_missing_extra_is_told_when_the_gateway_is_made(self, engine: str, printed: str) -> None:
        """
        Without aiohttp, engine: aiohttp is a ConfigError of the gateway's constructor with the command that installs it;
        auto does without.
        """
        code = (
            "import sys; sys.modules['aiohttp'] = None\n"
            "from llmgate import ConfigError, Gateway\n"
            "try:\n"
            f"    Gateway({{'providers': {{'p': {{'kind': 'simulated'}}}}, 'http': {{'engine': {engine!r}}}}})\n"
            "    print('made')\n"
            "except ConfigError as error:\n"
            "    print('ConfigError', error)\n"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root()
        ).stdout

        assert shown.startswith(printed)
        assert engine != "aiohttp" or 'http.engine: aiohttp is not installed; pip install "llmgate[fast]"' in shown


def _root() -> str:
    from pathlib import Path

    return str(Path(__file__).parents[2])
