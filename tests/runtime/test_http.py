"""Every HTTP engine against a real server that misbehaves, in both colours. After each test every socket is closed."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import ssl
import subprocess
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from llmgate.errors import (
    BadRequest,
    ConfigError,
    ConnectionFailed,
    GatewayClosed,
    GatewayError,
    ProtocolError,
    UpstreamTimeout,
)
from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.drive import drive
from llmgate.runtime.engines import engine_maker
from llmgate.runtime.http import HTTPOptions
from llmgate.testing import (
    LAST_CHUNK,
    Close,
    Hang,
    Pause,
    Repeat,
    Reset,
    ScriptedServer,
    Step,
    Steps,
    Trickle,
    chat,
    chunk,
    cut,
    error,
    gzip_bomb,
    gzipped,
    head,
    html,
    http_response,
    http_stream,
    sse,
    stream,
)
from llmgate.types.runtime import Runtime
from llmgate.types.secret import Credential, Secret
from llmgate.types.wire import WireRequest, WireResponse, WireTimeouts

pytestmark = pytest.mark.filterwarnings("error")

T = TypeVar("T")
Story = Callable[[Runtime], Coroutine[Any, Any, T]]

SOON_S = 5.0  # seconds; far above anything that works
SHORT_S = 0.15  # seconds; a time that is meant to run out
LATE_S = 1.0  # seconds by which a timer may ring late on a busy machine

CHAT = b"".join(step for step in chat("hello") if isinstance(step, bytes)).partition(b"\r\n\r\n")[2]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


class Engine:
    """Tells a story on a runtime of one colour, and holds it to leave no connection behind."""

    def __init__(self, name: str, server: ScriptedServer) -> None:
        self.name = name
        self.server = server
        self.blocking = name == "blocking"

    def run(self, story: Story[T], **options: Any) -> T:
        result = self.run_without_closing(story, **options)
        assert self.server.wait_closed(2.0)
        return result

    def run_without_closing(self, story: Story[T], **options: Any) -> T:
        if self.name == "aiohttp":
            options["engine"] = "aiohttp"
        if self.blocking:
            runtime = BlockingRuntime(engine_maker(HTTPOptions(**options), "blocking"))
            try:
                return drive(story(runtime))
            finally:
                runtime.close()

        async def main() -> T:
            runtime = AsyncioRuntime(engine_maker(HTTPOptions(**options), "asyncio"))
            try:
                return await story(runtime)
            finally:
                await runtime.close()

        return asyncio.run(main())


@pytest.fixture(params=["blocking", "asyncio", "aiohttp"])
def engine(request: pytest.FixtureRequest, server: ScriptedServer) -> Engine:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
        pytest.importorskip("llmgate.runtime.aiohttp")
    return Engine(request.param, server)


def asking(origin: str, **fields: Any) -> WireRequest:
    """A request as a provider writes it."""
    headers = [("content-type", "application/json"), ("accept-encoding", "gzip, deflate")]
    values: dict[str, Any] = {"target": "/v1/chat/completions", "headers": headers, "body": b"{}"}
    return WireRequest("POST", origin, **values | fields)


async def sent(runtime: Runtime, request: WireRequest, within_s: float = SOON_S) -> WireResponse:
    return await runtime.send(request, runtime.now() + within_s)


async def read(runtime: Runtime, response: WireResponse, within_s: float = SOON_S) -> bytes:
    """The body to its end."""
    parts = []
    while data := await response.read(runtime.now() + within_s):
        parts.append(data)
    return b"".join(parts)


def body(engine: Engine, *steps: Step, **options: Any) -> bytes:
    """Have a script answer, and read what it says to its end."""
    engine.server.answer(list(steps))

    async def story(runtime: Runtime) -> bytes:
        return await read(runtime, await sent(runtime, asking(engine.server.origin)))

    return engine.run(story, **options)


def answer(engine: Engine, *steps: Step) -> tuple[int, Mapping[str, str], bytes]:
    """The same with status and headers."""
    engine.server.answer(list(steps))

    async def story(runtime: Runtime) -> tuple[int, Mapping[str, str], bytes]:
        response = await sent(runtime, asking(engine.server.origin))
        return response.status, response.headers, await read(runtime, response)

    return engine.run(story)


def failure(engine: Engine, kind: type[Exception], *steps: Step, **fields: Any) -> Any:
    """The error of sending, or else of reading."""
    with pytest.raises(kind) as raised:
        body(engine, *steps, **fields)
    assert engine.server.wait_closed(2.0)
    return raised.value


class TestExchange:
    def test_sends_the_request_as_written(self, engine: Engine) -> None:
        """
        Method, target, headers and body travel as they were written; host, length and key are added, nothing else.
        """
        origin = engine.server.origin
        key = Credential(Secret("sk-1"), origin, "x-api-key", "")
        engine.server.always(chat("hello"))

        async def story(runtime: Runtime) -> None:
            request = asking(origin, credential=key, target="/v1/a%20b?c=%2F&d", body="ä".encode())
            await read(runtime, await sent(runtime, request))
            await read(runtime, await sent(runtime, WireRequest("GET", origin, "/v1/models")))

        engine.run(story)
        posted, got = engine.server.requests

        assert ("POST", "/v1/a%20b", "c=%2F&d", "ä".encode()) == (posted.method, posted.path, posted.query, posted.body)
        assert {
            "host": f"127.0.0.1:{engine.server.port}",
            "content-length": "2",
            "content-type": "application/json",
            "accept-encoding": "gzip, deflate",
            "x-api-key": "sk-1",
        } == posted.headers
        assert ("GET", "/v1/models", b"") == (got.method, got.path, got.body)
        assert {"host": f"127.0.0.1:{engine.server.port}"} == got.headers

    def test_reads_whole_answers_and_streams(self, engine: Engine) -> None:
        """
        A body is the same by length, by chunks, by the end of the connection, and unpacked.
        """
        packed = http_response(200, CHAT, gzip=True)

        assert CHAT == body(engine, *chat("hello"))
        assert CHAT == body(engine, *http_stream([CHAT[:10], Pause(0.01), CHAT[10:]]))
        assert CHAT == body(engine, head(200), CHAT, Close())
        assert CHAT == body(engine, *packed)

    def test_pieces_come_when_they_are_there(self, engine: Engine) -> None:
        """
        What has arrived is handed over at once and does not wait for more.
        """
        engine.server.answer([*http_stream([b"now"], end=False), Pause(SHORT_S), chunk(b"later"), LAST_CHUNK])

        async def story(runtime: Runtime) -> tuple[bytes, float, bytes, bytes]:
            response = await sent(runtime, asking(engine.server.origin))
            until = runtime.now() + SOON_S
            first = await response.read(until)
            start = runtime.now()
            second = await response.read(until)
            return first, runtime.now() - start, second, await response.read(until)

        first, waited, second, last = engine.run(story)

        assert (b"now", b"later", b"") == (first, second, last)
        assert SHORT_S / 2 < waited < SHORT_S + LATE_S

    def test_keeps_connections_for_the_next(self, engine: Engine) -> None:
        """
        An answer that was read to its end gives its connection to the next request.
        """
        engine.server.answer(chat("one"), stream(["two"]), chat("three"))

        async def story(runtime: Runtime) -> None:
            for _ in range(3):
                await read(runtime, await sent(runtime, asking(engine.server.origin)))

        engine.run(story)

        assert [1, 1, 1] == [request.connection for request in engine.server.requests]

    def test_cuts_what_was_not_read(self, engine: Engine) -> None:
        """
        An answer that is closed early takes its connection with it, also while it still comes; closing twice is harmless.
        """
        engine.server.answer([*http_stream([b"data: 1\n\n"], end=False), Hang()], chat("next"))

        async def story(runtime: Runtime) -> bytes:
            response = await sent(runtime, asking(engine.server.origin))
            first = await response.read(runtime.now() + SOON_S)
            await response.close()
            await response.close()
            assert await runtime.offload(engine.server.wait_closed, 2.0)
            assert b"" == await response.read(runtime.now() + SOON_S)
            await read(runtime, await sent(runtime, asking(engine.server.origin)))
            return first

        assert b"data: 1\n\n" == engine.run(story)
        assert [1, 2] == [request.connection for request in engine.server.requests]

    def test_follows_no_redirect(self, engine: Engine) -> None:
        """
        A redirect is an answer like any other; neither the key nor the prompt goes where it points.
        """
        with ScriptedServer() as other:
            status, headers, _ = answer(engine, *http_response(307, b"", {"location": other.base_url}))

        assert (307, 0) == (status, other.connections_total)
        assert other.base_url == headers["location"]

    def test_sends_no_key_to_strangers(self, engine: Engine) -> None:
        """
        A key that was configured for another origin is not sent, nor is the request.
        """
        key = Credential(Secret("sk-1"), "https://api.example:443")

        async def story(runtime: Runtime) -> None:
            await sent(runtime, asking(engine.server.origin, credential=key))

        with pytest.raises(ConfigError) as raised:
            engine.run(story)
        assert [] == engine.server.requests
        assert "sk-1" not in str(raised.value)

    @pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b", "\u20ac"])
    def test_refuses_headers_that_are_none(self, engine: Engine, value: str) -> None:
        """
        A header value that would become another header is a bad request, and nothing of it is sent.
        """

        async def story(runtime: Runtime) -> None:
            await sent(runtime, asking(engine.server.origin, headers=[("x-tag", value)]))

        with pytest.raises(BadRequest):
            engine.run(story)
        assert [] == engine.server.requests

    def test_sends_large_requests(self, engine: Engine) -> None:
        """
        A body of many megabytes arrives whole.
        """
        large = random.Random(1).randbytes(8_000_000)
        engine.server.answer(chat("hello"))

        async def story(runtime: Runtime) -> None:
            await read(runtime, await sent(runtime, asking(engine.server.origin, body=large)))

        engine.run(story)

        assert large == engine.server.requests[0].body


class TestConnecting:
    """No connection, or not in time."""

    def failed(self, engine: Engine, url: str, kind: type[Exception], until_s: float, connect_s: float = 5.0) -> Any:
        origin = url.removesuffix("/v1")

        async def story(runtime: Runtime) -> None:
            await sent(runtime, asking(origin, timeouts=WireTimeouts(connect_s=connect_s)), until_s)

        start = time.monotonic()
        with pytest.raises(kind) as raised:
            engine.run(story)
        assert time.monotonic() - start < min(until_s, connect_s) + LATE_S
        return raised.value

    def test_refused(self, engine: Engine) -> None:
        """
        A refused connection has failed at once, and the error names the host.
        """
        url = engine.server.refused_url()

        refused = self.failed(engine, url, ConnectionFailed, 0.5)

        assert url.removesuffix("/v1") in str(refused)
        assert not refused.begun

    def test_swallowed(self, engine: Engine) -> None:
        """
        A connection that is never made ends with the time for connecting, and says which timer it was.
        """
        timed_out = self.failed(engine, engine.server.blackhole_url(), UpstreamTimeout, SOON_S, connect_s=SHORT_S)

        assert "connect" == timed_out.timer

    def test_swallowed_until_the_end(self, engine: Engine) -> None:
        """
        If the caller's time ends first, it is the caller's time that ran out.
        """
        self.failed(engine, engine.server.blackhole_url(), TimeoutError, SHORT_S)

    def test_no_such_host(self, engine: Engine) -> None:
        """
        A host without an address is a connection that failed.
        """
        assert not self.failed(engine, "http://scripted.invalid:80", ConnectionFailed, SOON_S).begun

    def test_a_new_connection_that_breaks_is_not_tried_again(self, engine: Engine) -> None:
        """
        A connection that breaks before its first answer began has failed; the upstream may have seen the request.
        """
        failed = [failure(engine, ConnectionFailed, ending) for ending in (Reset(), Close())]

        assert all(error.again and error.begun for error in failed)
        assert 2 == len(engine.server.requests)


class TestReusing:
    """Connections that went stale while they were idle."""

    def story(self, engine: Engine, connections: int = 1, rest_s: float = 0.05) -> Story[bytes]:
        """Opens some connections at once, rests, and asks again."""
        origin = engine.server.origin

        async def told(runtime: Runtime) -> bytes:
            begun = [await sent(runtime, asking(origin)) for _ in range(connections)]
            for response in begun:
                await read(runtime, response)
            await runtime.sleep(rest_s)
            return await read(runtime, await sent(runtime, asking(origin)))

        return told

    @pytest.mark.parametrize("ending", [Reset(), Close()])
    def test_closed_while_idle(self, engine: Engine, ending: Step) -> None:
        """
        A connection that the upstream closed while it was idle is not used, and nobody notices.
        """
        engine.server.answer([*chat("one"), ending], chat("hello"))

        assert CHAT == engine.run(self.story(engine))
        assert [1, 2] == [request.connection for request in engine.server.requests]

    @pytest.mark.parametrize("ending", [Reset(), Close()])
    def test_closed_in_the_moment_of_use(self, engine: Engine, ending: Step) -> None:
        """
        A used connection that breaks before the first byte of an answer is replaced by a new one, once.
        """
        engine.server.answer(chat("one"), [ending], chat("hello"))

        assert CHAT == engine.run(self.story(engine))
        assert [1, 1, 2] == [request.connection for request in engine.server.requests]

    def test_replaced_once_only(self, engine: Engine) -> None:
        """
        However many connections lie idle, a request is sent at most twice.
        """
        engine.server.answer(*[chat("one")] * 3)
        engine.server.always([Reset()])

        with pytest.raises(ConnectionFailed):
            engine.run(self.story(engine, connections=3))

        assert 3 + 2 == len(engine.server.requests)

    def test_a_request_that_must_not_be_sent_twice_is_sent_on_a_connection_of_its_own(self, engine: Engine) -> None:
        """
        No idle connection can leave open whether it arrived; one that breaks is not replaced, and says that it had begun.
        """
        engine.server.answer(chat("one"), [Reset()], chat("never"))

        async def story(runtime: Runtime) -> None:
            await read(runtime, await sent(runtime, asking(engine.server.origin)))
            await sent(runtime, asking(engine.server.origin, once=True))

        with pytest.raises(ConnectionFailed) as raised:
            engine.run(story)

        assert raised.value.begun
        assert [1, 2] == [request.connection for request in engine.server.requests]

    def test_broken_inside_of_the_head(self, engine: Engine) -> None:
        """
        Once the answer has begun, a used connection is not replaced.
        """
        engine.server.answer(chat("one"), [*cut(chat("two"), after_bytes=5), Reset()], chat("never"))

        with pytest.raises(GatewayError) as raised:
            engine.run(self.story(engine))

        assert raised.value.again
        assert 2 == len(engine.server.requests)

    def test_forgets_connections_that_rested_too_long(self, engine: Engine) -> None:
        """
        A connection that was idle for longer than `keepalive_s` is closed and not used.
        """
        engine.server.always(chat("hello"))

        engine.run(self.story(engine), keepalive_s=0.01)

        assert [1, 2] == [request.connection for request in engine.server.requests]

    def test_obeys_connection_close(self, engine: Engine) -> None:
        """
        A connection about which the upstream said `close` is not used again.
        """
        engine.server.answer(http_response(200, b"x", {"connection": "close"}), chat("hello"))

        assert CHAT == engine.run(self.story(engine, rest_s=0.0))
        assert [1, 2] == [request.connection for request in engine.server.requests]

    @pytest.mark.parametrize("when", ["at once", "with the rest", "later"])
    @pytest.mark.parametrize("first", [http_response(200, b"first"), http_stream([b"first"])], ids=["whole", "chunked"])
    def test_what_follows_an_answer_is_nobodys(self, engine: Engine, first: Steps, when: str) -> None:
        """
        A second answer to one request is never taken for the answer to the next, whoever asks that.
        """
        one, two = (b"".join(step for step in steps if isinstance(step, bytes)) for steps in (first, chat("second")))
        scripts: dict[str, Steps] = {
            "at once": [one + two],
            "with the rest": [one[:-3], Pause(0.02), one[-3:] + two],
            "later": [one, Pause(0.02), two],
        }
        engine.server.answer(scripts[when], chat("hello"))

        assert CHAT == engine.run(self.story(engine))
        assert [1, 2] == [request.connection for request in engine.server.requests]


class TestBreaking:
    """Answers that begin and do not end."""

    def test_after_the_head(self, engine: Engine) -> None:
        """
        The head of an answer is an answer; that its body breaks is told when it is read.
        """
        for ending in (Reset(), Close()):
            engine.server.answer([*http_stream([], end=False), Pause(0.02), ending])

            async def story(runtime: Runtime) -> int:
                response = await sent(runtime, asking(engine.server.origin))
                with pytest.raises(ConnectionFailed):
                    await read(runtime, response)
                return response.status

            assert 200 == engine.run(story)

    @pytest.mark.parametrize("ending", [Reset(), Close()])
    def test_in_the_middle_of_a_stream(self, engine: Engine, ending: Step) -> None:
        """
        What came before the break is handed over; the break is an error, through an event or between two.
        """
        for inside in (False, True):
            script = stream(["Hel", "lo"], cut_after=1, cut_inside=inside, ending=Pause(0.05))
            engine.server.answer([*script, ending])
            parts: list[bytes] = []

            async def story(runtime: Runtime, parts: list[bytes] = parts) -> None:
                response = await sent(runtime, asking(engine.server.origin))
                while data := await response.read(runtime.now() + SOON_S):
                    parts.append(data)

            with pytest.raises(ConnectionFailed):
                engine.run(story)
            assert b'"Hel"' in b"".join(parts)

    def test_in_the_middle_of_a_whole_answer(self, engine: Engine) -> None:
        """
        A body shorter than its head promised is an error.
        """
        failure(engine, ConnectionFailed, *http_response(200, b"short", content_length=100), Close())

    def test_where_http_sees_nothing_amiss(self, engine: Engine) -> None:
        """
        A stream that is cut by an orderly last chunk is whole to HTTP; whether it is an answer is for the dialect to say.
        """
        assert b"[DONE]" not in body(engine, *stream(["Hel", "lo"], cut_after=1))

    @pytest.mark.parametrize("size", [1, 7])
    def test_split_anywhere(self, engine: Engine, size: int) -> None:
        """
        However the bytes are cut on their way, head included, the body is the same.
        """
        whole = b"".join(
            step for step in stream(["Hel", "lo \u2028 \U0001f600"], with_usage=False) if isinstance(step, bytes)
        )
        expected = body(engine, whole)

        assert expected == body(engine, Trickle(whole, every_s=0.0, size=size))
        assert "\u2028 \U0001f600" in expected.decode()

    def test_bytes_that_are_no_text(self, engine: Engine) -> None:
        """
        The engine reads bytes: broken UTF-8, NUL and lone carriage returns pass unchanged.
        """
        odd = b"\xef\xbb\xbfdata: \xff\xfe\r\rid: \0\nretry: -1\r\nno colon\r" + "\u2028\x85".encode()

        assert odd == body(engine, *http_stream([odd[:4], odd[4:]]))

    def test_errors_under_a_good_status(self, engine: Engine) -> None:
        """
        What the body says is not the engine's affair: an error under 200, in a stream or whole, passes.
        """
        oops = {"error": {"message": "oops"}}

        assert b'{"error":{"message":"oops"}}' == body(engine, *http_response(200, oops))
        assert body(engine, *stream(["a"], error_midstream=oops)).endswith(sse(oops))

    def test_answers_of_strangers(self, engine: Engine) -> None:
        """
        HTML, an empty body, 204 and any status are read as they are.
        """
        assert (502, "text/html; charset=UTF-8") == (
            (status_headers := answer(engine, *html(502)))[0],
            status_headers[1]["content-type"],
        )
        assert b"" == body(engine, *http_response(200, b""))
        assert (204, b"") == (answered := answer(engine, head(204)))[::2] and answered[2] == b""
        assert 529 == answer(engine, *error(529))[0]


class TestSlowness:
    """Bytes that do not come, or hardly."""

    def timed_out(self, engine: Engine, *steps: Step) -> float:
        """Seconds until the whole exchange gave up, all of it under one deadline of SHORT_S."""
        engine.server.answer(list(steps))

        async def story(runtime: Runtime) -> None:
            until = runtime.now() + SHORT_S
            response = await runtime.send(asking(engine.server.origin), until)
            while await response.read(until):
                pass

        start = time.monotonic()
        with pytest.raises(TimeoutError):
            engine.run(story)
        took = time.monotonic() - start
        assert SHORT_S * 0.9 <= took < SHORT_S + LATE_S
        return took

    def test_no_head(self, engine: Engine) -> None:
        """
        A head that does not come by `until` is a TimeoutError, and its connection is closed.
        """
        self.timed_out(engine, Hang())

    def test_half_a_head(self, engine: Engine) -> None:
        """
        A head that comes a byte at a time gains no time by it.
        """
        self.timed_out(engine, Trickle(head(200, {"x-slow": "a" * 1000}), every_s=0.02))

    def test_no_body(self, engine: Engine) -> None:
        """
        A body that does not come by `until` is a TimeoutError.
        """
        self.timed_out(engine, *http_stream([], end=False), Hang())

    def test_a_body_a_byte_at_a_time(self, engine: Engine) -> None:
        """
        Bytes that trickle move no deadline.
        """
        self.timed_out(engine, *http_stream([Trickle(b": ping\n\n" * 1000, every_s=0.02)]))

    def test_pings_for_ever(self, engine: Engine) -> None:
        """
        Comments for ever, slow or as fast as they can be read, end with the reader's deadline.
        """
        ping: Steps = [b": ping\n\n", Pause(0.02)]

        self.timed_out(engine, *http_stream([Repeat(ping)]))
        self.timed_out(engine, *http_stream([Repeat([b": ping\n\n" * 100])]))

    def test_a_moved_deadline_counts_at_once(self, engine: Engine) -> None:
        """
        Each read has its own deadline, earlier or later than that of the read before.
        """
        engine.server.answer([*http_stream([b"1", Pause(SHORT_S), b"2"], end=False), Hang()])

        async def story(runtime: Runtime) -> float:
            response = await sent(runtime, asking(engine.server.origin), 60.0)
            assert b"1" == await response.read(runtime.now() + SOON_S)
            assert b"2" == await response.read(runtime.now() + 60.0)
            start = runtime.now()
            with pytest.raises(TimeoutError):
                await response.read(start + SHORT_S)
            return runtime.now() - start

        assert SHORT_S * 0.9 <= engine.run(story) < SHORT_S + LATE_S

    def test_a_reader_that_rests_loses_nothing(self, engine: Engine) -> None:
        """
        While nobody reads, the upstream is held back instead of memory filled; the rest comes when it is asked for.
        """
        size = 40_000_000
        engine.server.answer(http_stream([bytes(size // 40)] * 40))

        async def story(runtime: Runtime) -> tuple[int, int]:
            response = await sent(runtime, asking(engine.server.origin))
            first = await response.read(runtime.now() + SOON_S)
            tracemalloc.start()
            await runtime.sleep(0.2)
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return held, len(first) + len(await read(runtime, response))

        held, received = engine.run(story)

        assert size == received
        assert held < 4_000_000

    def test_a_request_that_nobody_takes(self, engine: Engine) -> None:
        """
        A request that the upstream does not read ends with the time for writing or with `until`.
        """
        # The server has stopped reading: its thread is busy with a function that blocks it.
        release = threading.Event()

        def busy(_: object) -> Steps:
            release.wait(SOON_S)
            return chat("late")

        engine.server.on(busy)

        async def story(runtime: Runtime) -> None:
            blocker = asking(engine.server.origin)
            with pytest.raises(TimeoutError):
                await sent(runtime, blocker, SHORT_S)
            request = asking(engine.server.origin, body=bytes(30_000_000), timeouts=WireTimeouts(write_s=SHORT_S))
            try:
                with pytest.raises(UpstreamTimeout) as raised:
                    await sent(runtime, request)
            finally:
                release.set()
            assert "write" == raised.value.timer

        engine.run(story)


class TestLimits:
    """Answers that are too much."""

    def test_too_large(self, engine: Engine) -> None:
        """
        An answer over the limit is a ProtocolError, by length, by chunks or for ever.
        """
        large = bytes(300_000)
        for script in (http_response(200, large), http_stream([large]), http_stream([Repeat([large])])):
            failure(engine, ProtocolError, *script, max_response_bytes=200_000)
        assert large == body(engine, *http_response(200, large), max_response_bytes=300_000)

    def test_a_large_event_passes_in_pieces(self, engine: Engine) -> None:
        """
        Twenty megabytes without a line break are read in pieces; how long a line may be is for the dialect to say.
        """
        engine.server.answer(http_stream([b"data: ", Repeat([b"a" * 1_000_000], times=20)]))

        async def story(runtime: Runtime) -> tuple[int, int]:
            response = await sent(runtime, asking(engine.server.origin))
            size = largest = 0
            while data := await response.read(runtime.now() + SOON_S):
                size += len(data)
                largest = max(largest, len(data))
            return size, largest

        size, largest = engine.run(story)

        assert 20_000_006 == size
        assert largest <= 1 << 20

    def test_many_tiny_chunks(self, engine: Engine) -> None:
        """
        A hundred thousand chunks of a byte cost time in proportion, not more.
        """
        tiny = chunk(b"\n") * 50_000
        start = time.process_time()

        assert b"\n" * 100_000 == body(engine, *http_stream([], end=False), tiny, tiny, LAST_CHUNK)
        assert time.process_time() - start < SOON_S

    def test_gzip_bomb(self, engine: Engine) -> None:
        """
        300 KB that unpack to 300 MiB are refused before they do.
        """
        bomb = gzip_bomb(300 << 20)
        engine.server.answer(http_response(200, bomb, {"content-encoding": "gzip"}))

        async def story(runtime: Runtime) -> int:
            response = await sent(runtime, asking(engine.server.origin))
            tracemalloc.start()
            with pytest.raises(ProtocolError):
                await read(runtime, response)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return peak

        assert engine.run(story) < 8 << 20

    def test_gzip_that_is_only_dense(self, engine: Engine) -> None:
        """
        Text that packs well, though not as well as a bomb, is read whatever its size.
        """
        text = b"".join(b"%d green bottles hanging on the wall\n" % n for n in range(100_000))

        assert text == body(engine, *http_response(200, text, gzip=True))
        assert text == body(
            engine, *http_stream([gzipped(text)[:1000], gzipped(text)[1000:]], headers={"content-encoding": "gzip"})
        )

    def test_gzip_that_is_cut(self, engine: Engine) -> None:
        """
        Packed data without its end is no answer, even if HTTP sees nothing amiss.
        """
        for size in (5, 100, -1):
            packed = gzipped(random.Random(2).randbytes(1000))[:size]
            failure(engine, ConnectionFailed, *http_response(200, packed, {"content-encoding": "gzip"}))

    def test_gzip_that_goes_on(self, engine: Engine) -> None:
        """
        What follows the end of the packed data is neither lost in silence nor collected for ever.
        """
        gzip = {"content-encoding": "gzip"}
        for script in (
            http_response(200, gzipped(b"one") + gzipped(b"two"), gzip),
            http_stream([gzipped(b"one"), Pause(0.02), gzipped(b"two")], headers=gzip),
            http_stream([gzipped(b"one"), Repeat([bytes(100_000)])], headers=gzip),
        ):
            failure(engine, ProtocolError, *script)

    def test_gzip_that_is_none(self, engine: Engine) -> None:
        """
        A body that is not packed as its head says is a ProtocolError.
        """
        failure(engine, ProtocolError, *http_response(200, b"plain text", {"content-encoding": "gzip"}))

    @pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip, br"])
    def test_encodings_nobody_asked_for(self, engine: Engine, encoding: str) -> None:
        """
        Nested encodings and those that we did not offer are refused.
        """
        failure(engine, ProtocolError, *http_response(200, gzipped(gzipped(b"a")), {"content-encoding": encoding}))

    def test_empty_bodies_need_no_unpacking(self, engine: Engine) -> None:
        """
        An empty body is empty, whatever encoding it claims.
        """
        assert b"" == body(engine, *http_response(200, b"", {"content-encoding": "gzip"}))


class TestHeads:
    """Heads that are too much, or contradict themselves."""

    def test_huge_header(self, engine: Engine) -> None:
        """
        A head of a megabyte is a ProtocolError and not a wait.
        """
        failure(engine, ProtocolError, head(200, {"x-big": "a" * 1_000_000, "content-length": "0"}))

    def test_many_headers(self, engine: Engine) -> None:
        """
        Ten thousand header lines are a ProtocolError.
        """
        pairs = [(f"x-{n}", "0123456789") for n in range(10_000)]

        failure(engine, ProtocolError, head(200, [*pairs, ("content-length", "0")]))

    def test_endless_head(self, engine: Engine) -> None:
        """
        A head that does not end is a ProtocolError long before memory is.
        """
        failure(engine, ProtocolError, b"HTTP/1.1 200 OK\r\n", Repeat([b"x-more: " + b"a" * 1000 + b"\r\n"]))

    def test_repeated_headers_are_joined(self, engine: Engine) -> None:
        """
        A header that stands twice keeps both values; names are in lower case.
        """
        _, headers, _ = answer(
            engine, head(200, [("Retry-After", "1"), ("retry-after", "99999"), ("content-length", "0")])
        )

        assert "1, 99999" == headers["retry-after"]

    def test_conflicting_lengths(self, engine: Engine) -> None:
        """
        Two lengths that contradict each other are a ProtocolError.
        """
        failure(engine, ProtocolError, head(200, [("content-length", "2"), ("content-length", "5")]), b"{}")

    def test_folded_headers(self, engine: Engine) -> None:
        """
        A folded header is read as one value or refused, but not as two headers.
        """
        engine.server.answer([b"HTTP/1.1 200 OK\r\nx-a: one\r\n  two: 2\r\ncontent-length: 0\r\n\r\n"])

        async def story(runtime: Runtime) -> Mapping[str, str]:
            try:
                return (await sent(runtime, asking(engine.server.origin))).headers
            except ProtocolError:
                return {}

        headers = engine.run(story)

        assert not headers or ("one", "two:", "2") == tuple(headers["x-a"].split())
        assert "two" not in headers

    @pytest.mark.parametrize(
        "value",
        ["nan", "inf", "-5", "1e400", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 2099 23:59:59 GMT", ""],
    )
    def test_odd_values_pass(self, engine: Engine, value: str) -> None:
        """
        What a Retry-After means is for the dialect to say; the engine hands over what came.
        """
        status, headers, _ = answer(engine, *error(429, headers={"retry-after": value}))

        assert (429, value) == (status, headers["retry-after"])

    @pytest.mark.parametrize(
        "garbage", [b"220 smtp.example ready\r\n\r\n", b"\0" * 1000, b"HTTP/1.1 two hundred\r\n\r\n"]
    )
    def test_what_is_not_http(self, engine: Engine, garbage: bytes) -> None:
        """
        Whatever is not HTTP is a ProtocolError.
        """
        failure(engine, ProtocolError, garbage, Hang())

    def test_interim_answers_are_skipped(self, engine: Engine) -> None:
        """
        100 Continue and 103 Early Hints are not the answer.
        """
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"

        assert CHAT == body(engine, interim, *chat("hello"))


class TestLeaving:
    """Callers that go away."""

    def test_cancelled_while_it_waits_for_the_head(self, engine: Engine) -> None:
        """
        A cancelled request closes its connection.
        """
        self.cancelled(engine, [Hang()], read_first=False)

    def test_cancelled_while_it_reads(self, engine: Engine) -> None:
        """
        A cancelled read closes its connection.
        """
        self.cancelled(engine, [*http_stream([b"data: 1\n\n"], end=False), Hang()], read_first=True)

    def cancelled(self, engine: Engine, script: Steps, read_first: bool) -> None:
        if engine.blocking:
            pytest.skip("a thread cannot be cancelled")
        engine.server.answer(script)

        async def story(runtime: Runtime) -> None:
            async def work() -> None:
                await read(runtime, await sent(runtime, asking(engine.server.origin), 60.0), 60.0)

            task = asyncio.create_task(work())
            while not engine.server.requests:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05 if read_first else 0.0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await runtime.offload(engine.server.wait_closed, 2.0)

        engine.run(story)

    def test_dropped(self, engine: Engine) -> None:
        """
        An answer that nobody closed and nobody holds closes its connection.
        """
        engine.server.answer([*http_stream([b"data: 1\n\n"], end=False), Hang()])

        async def story(runtime: Runtime) -> bool:
            response = await sent(runtime, asking(engine.server.origin))
            await response.read(runtime.now() + SOON_S)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del response
                gc.collect()
                await runtime.sleep(0.02)
            return await runtime.offload(engine.server.wait_closed, 2.0)

        assert engine.run(story)

    def test_closing_the_runtime_cuts_what_is_open(self, engine: Engine) -> None:
        """
        Closing the runtime closes its connections, idle or not, and it can be used again.
        """
        engine.server.answer(chat("one"), [*http_stream([b"data: 1\n\n"], end=False), Hang()], chat("hello"))

        async def story(runtime: Runtime) -> bytes:
            await read(runtime, await sent(runtime, asking(engine.server.origin)))
            response = await sent(runtime, asking(engine.server.origin))
            closing = runtime.close()  # type: ignore[attr-defined]
            if closing is not None:
                await closing
            assert await runtime.offload(engine.server.wait_closed, 2.0)
            with pytest.raises(GatewayClosed):
                await read(runtime, response)
            return await read(runtime, await sent(runtime, asking(engine.server.origin)))

        assert CHAT == engine.run(story)

    def test_closing_the_runtime_is_no_end_of_an_answer(self, engine: Engine) -> None:
        """
        Where the end of the connection is the end of the body, one that is cut by closing the runtime has not ended.
        """
        engine.server.answer([head(200), b"half", Hang()])

        async def story(runtime: Runtime) -> None:
            response = await sent(runtime, asking(engine.server.origin))
            assert b"half" == await response.read(runtime.now() + SOON_S)
            closing = runtime.close()  # type: ignore[attr-defined]
            if closing is not None:
                await closing
            with pytest.raises(GatewayClosed):
                await response.read(runtime.now() + SOON_S)

        engine.run(story)

    def test_an_event_loop_that_ends_closes_its_connections(self, engine: Engine) -> None:
        """
        When `asyncio.run` ends, the connections of its loop are closed, though nobody closed the runtime; the next works.
        """
        if engine.blocking:
            pytest.skip("no event loop ends")
        engine.server.always(chat("hello"))
        runtime = AsyncioRuntime(
            engine_maker(HTTPOptions(engine="aiohttp" if engine.name == "aiohttp" else "httpx2"), "asyncio")
        )

        async def story() -> bytes:
            return await read(runtime, await sent(runtime, asking(engine.server.origin)))

        for _ in range(3):
            assert CHAT == asyncio.run(story())
            assert engine.server.wait_closed(2.0)


class TestSharing:
    """Many callers at once."""

    def test_threads_share_a_blocking_runtime(self, server: ScriptedServer) -> None:
        """
        Eight threads share one runtime: each reads its own answer, and connections are used again.
        """
        server.on(lambda request: http_response(200, request.body))
        runtime = BlockingRuntime(engine_maker(HTTPOptions(), "blocking"))
        wrong: list[bytes] = []

        def work(number: int) -> None:
            async def story() -> None:
                for turn in range(25):
                    said = b"%d/%d" % (number, turn)
                    heard = await read(runtime, await sent(runtime, asking(server.origin, body=said)))
                    if said != heard:
                        wrong.append(heard)

            drive(story())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        runtime.close()

        assert [] == wrong
        assert 200 == len(server.requests)
        assert server.connections_total <= 8
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("kind", ["httpx2", "aiohttp"])
    def test_event_loops_share_an_asyncio_runtime(self, server: ScriptedServer, kind: Any) -> None:
        """
        Four event loops in four threads share one runtime, with many callers each.
        """
        if kind == "aiohttp":
            pytest.importorskip("aiohttp")
            pytest.importorskip("llmgate.runtime.aiohttp")
        server.on(lambda request: http_response(200, request.body))
        runtime = AsyncioRuntime(engine_maker(HTTPOptions(engine=kind), "asyncio"))
        heard: list[bytes] = []

        async def ask(said: bytes) -> bytes:
            return await read(runtime, await sent(runtime, asking(server.origin, body=said)))

        async def story(number: int) -> None:
            for _ in range(3):
                heard.extend(await asyncio.gather(*(ask(b"%d/%d" % (number, turn)) for turn in range(10))))

        threads = [threading.Thread(target=lambda n=n: asyncio.run(story(n))) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(b"%d/%d" % (n, turn) for n in range(4) for turn in range(10)) == sorted(set(heard))
        assert 120 == len(heard)
        assert server.connections_total <= 40
        assert server.wait_closed(2.0)


def certified(directory: Path, name: str, days: int, subject: str) -> tuple[Path, Path]:
    """A certificate for `subject` and its key; with -1 days it expired yesterday."""
    certificate, key, extensions = (directory / f"{name}.{kind}" for kind in ("pem", "key", "cnf"))
    extensions.write_text(f"subjectAltName={subject}\n")
    key_of = "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key
    ask = "openssl", "req", "-new", "-subj", "/CN=scripted", "-newkey", *key_of
    asked = subprocess.run(ask, check=True, capture_output=True).stdout
    life = "-days", str(days), "-extfile", extensions, "-out", certificate
    sign = "openssl", "x509", "-req", "-signkey", key, *life
    subprocess.run(sign, input=asked, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    directory = tmp_path_factory.mktemp("tls")
    return {
        "good": certified(directory, "good", 2, "IP:127.0.0.1"),
        "elsewhere": certified(directory, "elsewhere", 2, "DNS:other.example"),
        "expired": certified(directory, "expired", -1, "IP:127.0.0.1"),
    }


class TestTls:
    def asked(self, engine: Engine, files: tuple[Path, Path], trusted: Path | None) -> bytes:
        context = ssl.create_default_context(cafile=trusted)
        with ScriptedServer(chat("hello"), chat("hello"), tls=files) as upstream:

            async def story(runtime: Runtime) -> bytes:
                return await read(runtime, await sent(runtime, asking(upstream.origin)))

            try:
                return engine.run(story, verify=context)
            finally:
                assert upstream.wait_closed(2.0)

    def test_speaks_tls(self, engine: Engine, certificates: dict[str, tuple[Path, Path]]) -> None:
        """
        With a certificate that can be trusted the answer comes.
        """
        good = certificates["good"]

        assert CHAT == self.asked(engine, good, good[0])

    @pytest.mark.parametrize("name", ["unknown", "elsewhere", "expired"])
    def test_trusts_nobody_by_chance(
        self, engine: Engine, certificates: dict[str, tuple[Path, Path]], name: str
    ) -> None:
        """
        A certificate that is unknown, for another host or expired is a ProtocolError that is not tried again.
        """
        files = certificates["good" if name == "unknown" else name]

        with pytest.raises(ProtocolError) as raised:
            self.asked(engine, files, None if name == "unknown" else files[0])

        assert not raised.value.again
        assert "127.0.0.1" in str(raised.value)

    def test_a_silent_handshake_takes_the_time_for_connecting(self, engine: Engine) -> None:
        """
        A peer that accepts the connection and says nothing in the handshake is as slow as one that accepts none.
        """
        origin = engine.server.origin.replace("http:", "https:")

        async def story(runtime: Runtime) -> None:
            await sent(runtime, asking(origin, timeouts=WireTimeouts(connect_s=SHORT_S)))

        start = time.monotonic()
        with pytest.raises(UpstreamTimeout) as raised:
            engine.run(story, verify=ssl.create_default_context())

        assert "connect" == raised.value.timer
        assert time.monotonic() - start < SHORT_S + LATE_S
        assert engine.server.wait_closed(2.0)


def test_missing_aiohttp_is_a_configuration_error() -> None:
    """
    An engine that is not installed is refused when it is chosen, with the command that installs it.
    """
    import importlib.util

    if importlib.util.find_spec("aiohttp") is not None:
        pytest.skip("aiohttp is installed")
    with pytest.raises(ConfigError, match="llmgate\\[fast\\]"):
        engine_maker(HTTPOptions(engine="aiohttp"), "asyncio")


def test_importing_the_runtime_imports_no_client() -> None:
    """
    The engine's libraries are imported when something is sent.
    """
    code = (
        "import sys, llmgate.runtime.http, llmgate.runtime.blocking, llmgate.runtime.asynchronous;"
        "print(sorted({'httpx2', 'httpcore2', 'aiohttp'} & set(sys.modules)))"
    )
    import sys

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == shown.stdout.strip()
