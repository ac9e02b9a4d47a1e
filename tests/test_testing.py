"""The scripted server and the scripted upstream do what their scripts say, seen through sockets and through the vendors' SDKs."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings, strategies as st

from llmgate import testing
from llmgate.errors import RateLimited, StreamInterrupted, UpstreamError
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.drive import drive
from llmgate.testing import (
    LAST_CHUNK,
    Close,
    Cut,
    Delay,
    Hang,
    Pause,
    Received,
    Repeat,
    Reset,
    Script,
    ScriptedServer,
    Steps,
    Trickle,
    VirtualRuntime,
    call_for,
    chat,
    chunk,
    chunked,
    cut,
    embeddings,
    error,
    gzip_bomb,
    gzipped,
    head,
    html,
    http_response,
    http_stream,
    models,
    raw,
    recorded,
    replay,
    split,
    sse,
    stream,
)
from llmgate.types.response import Response, ToolCall
from llmgate.types.usage import Usage

pytestmark = pytest.mark.filterwarnings("error")

REQUEST = b'POST /v1/chat/completions?beta=true HTTP/1.1\r\nHost: x\r\nX-Two: a\r\nx-two: b\r\nContent-Length: 7\r\n\r\n{"a":1}'
CORPUS = Path(__file__).parents[1] / "../shared/corpus"
LOOKUP = ToolCall("call_1", "lookup", '{"city":"Bern","days":3}')


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


class Client:
    """A bare socket that tells what came and how it ended."""

    def __init__(self, server: ScriptedServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=5.0)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes = REQUEST) -> None:
        self._socket.sendall(data)

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._socket.recv(size - len(data))
        return data

    def until_end(self, timeout_s: float = 5.0) -> tuple[bytes, str]:
        """All bytes, and `fin`, `reset` or `open` if neither came in time."""
        data = b""
        self._socket.settimeout(timeout_s)
        try:
            while received := self._socket.recv(65536):
                data += received
        except ConnectionResetError:
            return data, "reset"
        except TimeoutError:
            return data, "open"
        return data, "fin"


def played(server: ScriptedServer, *steps: object, timeout_s: float = 5.0) -> tuple[bytes, str]:
    server.answer(raw(*steps))  # type: ignore[arg-type]
    with Client(server) as client:
        client.send()
        return client.until_end(timeout_s)


class TestSteps:
    def test_sends_exactly_the_bytes(self, server: ScriptedServer) -> None:
        """
        Bytes travel as they are, whether they are HTTP or not.
        """
        assert (b"any \x00\xff thing", "fin") == played(server, b"any ", [b"\x00\xff thing"], Close())

    def test_fin_and_reset_differ(self, server: ScriptedServer) -> None:
        """
        Close ends the connection in good order, Reset breaks it, and neither loses what was sent before.
        """
        large = bytes(3_000_000)

        assert (large, "fin") == played(server, large, Close())
        assert (b"some", "reset") == played(server, b"some", Reset())

    def test_reset_waits_for_a_slow_reader(self, server: ScriptedServer) -> None:
        """
        Everything before a Reset reaches the kernel first, even if the reader is late and the data is large.
        """
        server.answer([bytes(8_000_000), Reset()])

        with Client(server) as client:
            client.send()
            time.sleep(0.05)
            data = client.receive(4_000_000)
            rest, ending = client.until_end()

        assert "reset" == ending
        # The last that the kernel held may be lost with the connection; what was delivered before may not.
        assert len(data) + len(rest) > 4_000_000

    def test_pauses_between_bytes(self, server: ScriptedServer) -> None:
        """
        A Pause lasts as long as it says, and what stands before it is there already.
        """
        server.answer([b"now", Pause(0.1), b"later"])

        with Client(server) as client:
            client.send()
            assert b"now" == client.receive(3)
            start = time.monotonic()
            assert b"later" == client.receive(5)

        assert 0.08 <= time.monotonic() - start < 2.0

    def test_hangs_until_the_client_leaves(self, server: ScriptedServer) -> None:
        """
        After Hang nothing comes and the connection stays; when the client closes, the server lets go, too.
        """
        assert (b"head", "open") == played(server, b"head", Hang(), timeout_s=0.05)
        assert server.wait_closed(2.0)

    def test_a_client_that_leaves_ends_a_long_pause(self, server: ScriptedServer) -> None:
        """
        No script outlives its connection.
        """
        assert (b"", "open") == played(server, Pause(60.0), timeout_s=0.05)
        assert server.wait_closed(2.0)

    def test_trickles(self, server: ScriptedServer) -> None:
        """
        Trickle sends one piece at a time.
        """
        server.answer([Trickle(b"abcdef", every_s=0.03, size=2), Close()])
        arrivals = []

        with Client(server) as client:
            client.send()
            for _ in range(3):
                arrivals.append((client._socket.recv(100), time.monotonic()))

        assert [b"ab", b"cd", b"ef"] == [data for data, _ in arrivals]
        assert arrivals[2][1] - arrivals[0][1] >= 0.05

    def test_repeats(self, server: ScriptedServer) -> None:
        """
        Repeat plays its steps so many times, or for ever without starving the other connections.
        """
        assert (b"abababc", "fin") == played(server, Repeat([b"a", b"b"], times=3), b"c", Close())

        server.answer([Repeat([b": ping\n\n"])], [Repeat([b""])], chat("meanwhile"))
        with Client(server) as endless, Client(server) as empty:
            endless.send()
            assert b": ping\n\n" * 1000 == endless.receive(8000)
            empty.send()
            assert server.wait_requests(3)
            assert 200 == httpx2.get(server.base_url).status_code
        assert server.wait_closed(2.0)

    def test_steps_of_your_own(self, server: ScriptedServer) -> None:
        """
        Whatever has a `play` is a step.
        """

        class Countdown:
            async def play(self, wire: testing.Wire) -> None:
                for number in (b"3", b"2", b"1"):
                    await wire.send(number)

        assert (b"321", "fin") == played(server, Countdown(), Close())

    def test_a_reader_that_stops_stops_the_server(self, server: ScriptedServer) -> None:
        """
        The server holds no more than the kernel takes, so that a test can see backpressure.
        """
        sent = []

        class Count:
            async def play(self, wire: testing.Wire) -> None:
                for _ in range(1000):
                    await wire.send(bytes(100_000))
                    sent.append(100_000)

        server.answer([Count()])
        with Client(server) as client:
            client.send()
            time.sleep(0.2)
            stalled = len(sent)

        assert 0 < stalled < 1000

    def test_cuts_count_plain_bytes(self) -> None:
        """
        `cut` keeps the steps before the cut and ends inside of the bytes.
        """
        assert [b"ab", Pause(1), b"c"] == cut([b"ab", Pause(1), b"cd", Pause(2)], after_bytes=3)
        assert [b"ab"] == cut([b"ab", Pause(1)], after_bytes=2)
        assert [b"ab", Pause(1)] == cut([b"ab", Pause(1)], after_bytes=9)

    @settings(max_examples=100)
    @given(st.binary(), st.lists(st.integers(-5, 100)), st.none() | st.integers(1, 20))
    def test_pieces_join_to_the_whole(self, data: bytes, at: list[int], every: int | None) -> None:
        """
        However data is split, no byte is lost, no piece is empty and none is longer than asked.
        """
        pieces = split(data, at=at, every=every)

        assert data == b"".join(pieces)
        assert all(pieces)
        assert every is None or all(len(piece) <= every for piece in pieces)
        assert {offset for offset in at if 0 < offset < len(data)} <= {
            sum(map(len, pieces[:n])) for n in range(len(pieces))
        }


class TestHttp:
    def test_reads_requests_in_full(self, server: ScriptedServer) -> None:
        """
        A request is kept with its method, path, query, headers, body and connection.
        """
        server.answer(chat("hi"))

        with Client(server) as client:
            for byte in split(REQUEST, every=10):
                client.send(byte)
            client.receive(10)
            request = server.requests[0]

        assert ("POST", "/v1/chat/completions", "beta=true") == (request.method, request.path, request.query)
        assert {"host": "x", "x-two": "a, b", "content-length": "7"} == request.headers
        assert [("Host", "x"), ("X-Two", "a"), ("x-two", "b"), ("Content-Length", "7")] == request.raw_headers
        assert {"a": 1} == request.json()
        assert 1 == request.connection
        assert request.at_s <= time.monotonic()

    def test_reads_chunked_requests(self, server: ScriptedServer) -> None:
        """
        A body in chunks is put together.
        """
        server.always(chat("hi"))

        httpx2.post(server.base_url, content=iter([b"some", b"thing"]))
        httpx2.get(server.base_url)

        assert [b"something", b""] == [request.body for request in server.requests]

    def test_keeps_connections_alive(self, server: ScriptedServer) -> None:
        """
        Requests share a connection if the client lets them, and the test can see it.
        """
        server.always(chat("hi"))

        with httpx2.Client() as client:
            for _ in range(2):
                client.get(server.base_url)
            assert 1 == server.connections_open
        httpx2.get(server.base_url, headers={"connection": "close"})

        assert [1, 1, 2] == [request.connection for request in server.requests]
        assert server.wait_closed(2.0)
        assert (0, 2) == (server.connections_open, server.connections_total)

    def test_closes_when_the_client_asks(self, server: ScriptedServer) -> None:
        """
        `connection: close` in the request ends the connection behind the answer.
        """
        server.answer([b"bye"])

        with Client(server) as client:
            client.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert (b"bye", "fin") == client.until_end()

    def test_serves_pipelined_requests_in_order(self, server: ScriptedServer) -> None:
        """
        Requests sent at once are answered one after the other.
        """
        server.answer([b"one"], [b"two", Close()])

        with Client(server) as client:
            client.send(REQUEST * 2)
            assert (b"onetwo", "fin") == client.until_end()

    def test_one_server_for_threads_and_event_loops(self, server: ScriptedServer) -> None:
        """
        Blocking and asyncio clients are served at the same time.
        """
        server.always([Pause(0.05), *chat("hi")])

        async def ask() -> list[int]:
            async with httpx2.AsyncClient() as client:
                both = asyncio.to_thread(httpx2.get, server.base_url), *(client.get(server.base_url) for _ in range(20))
                return [answer.status_code for answer in await asyncio.gather(*both)]

        assert [200] * 21 == asyncio.run(ask())
        assert server.wait_closed(2.0)

    def test_frames_as_the_standard_says(self, server: ScriptedServer) -> None:
        """
        A whole answer has a length, a stream has chunks, and a client reads both to the same bytes.
        """
        server.answer(
            http_response(201, {"ä": 1}, {"x-a": "b"}),
            http_response(200, "text" * 1000, gzip=True),
            http_stream([b"one ", b"", Pause(0.01), Repeat([b"two "], times=2), Trickle(b"three", 0.001, size=2)]),
            [head(200, {"content-length": "4"}), b"tail"],
        )

        with httpx2.Client() as client:
            whole, packed, pieces, apart = (client.get(server.base_url) for _ in range(4))

        assert (201, {"ä": 1}, "application/json", "b") == (
            whole.status_code,
            whole.json(),
            whole.headers["content-type"],
            whole.headers["x-a"],
        )
        assert ("text" * 1000, "gzip") == (packed.text, packed.headers["content-encoding"])
        assert len(gzipped(b"text" * 1000)) == int(packed.headers["content-length"])
        assert b"one two two three" == pieces.content
        assert b"tail" == apart.content
        assert 1 == server.connections_total

    def test_headers_are_as_given(self) -> None:
        """
        Nothing is added to a head, a header may stand twice, and one that is given replaces a default.
        """
        assert b"HTTP/1.1 200 OK\r\n\r\n" == head()
        assert b"HTTP/1.1 529 Unknown\r\nA: b\r\nA: c\r\n\r\n" == head(529, [("A", "b"), ("A", "c")])
        assert b"HTTP/1.1 200 Fine\r\n\r\n" == head(reason="Fine")
        assert [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Type: text/html\r\n\r\n{}"] == http_response(
            200, {}, {"Content-Type": "text/html"}
        )

    def test_lies_about_the_length(self, server: ScriptedServer) -> None:
        """
        The declared length may differ from the true one, and a client sees the lie.
        """
        server.answer([*http_response(200, b"short", content_length=100), Close()])

        with pytest.raises(httpx2.RemoteProtocolError):
            httpx2.get(server.base_url)

    def test_breaks_in_the_middle_of_a_body(self, server: ScriptedServer) -> None:
        """
        An answer that is cut at any byte and then ended is not taken for whole.
        """
        half = cut(stream(["Hel", "lo"]), after_bytes=400)
        server.answer([*half, Close()], [*half, Reset()])

        with pytest.raises(httpx2.RemoteProtocolError):
            httpx2.get(server.base_url)
        with pytest.raises(httpx2.ReadError):
            httpx2.get(server.base_url)

    def test_breaks_a_connection_that_is_reused(self, server: ScriptedServer) -> None:
        """
        A connection can be broken behind a good answer, so that the next request on it finds nobody.
        """
        server.answer([*chat("first"), Pause(0.05), Reset()])

        with Client(server) as client:
            client.send()
            length = len(b"".join(step for step in chat("first") if isinstance(step, bytes)))
            assert client.receive(length).endswith(b"}")
            client.send()
            assert (b"", "reset") == client.until_end()

    def test_huge_headers(self, server: ScriptedServer) -> None:
        """
        Ten thousand lines and a header of a megabyte travel.
        """
        pairs = [(f"x-{n}", "v") for n in range(10_000)] + [("x-big", "a" * 1_000_000)]

        data, _ = played(server, head(200, pairs), Close())

        assert 10_002 == data.count(b"\r\n") - 1
        assert len(data) > 1_000_000

    def test_a_bomb_is_small_and_unpacks_to_zeros(self) -> None:
        """
        A gzip bomb is valid gzip of the size asked for and a thousand times smaller.
        """
        bomb = gzip_bomb(20 << 20)

        unpacked = zlib.decompress(bomb, wbits=31)

        assert bytes(20 << 20) == unpacked
        assert len(bomb) < len(unpacked) // 900

    def test_compresses_the_same_every_time(self) -> None:
        """
        Gzip of the same bytes is the same bytes: no time of day in it.
        """
        assert gzipped(b"a" * 100) == gzipped(b"a" * 100)
        assert b"a" * 100 == zlib.decompress(gzipped(b"a" * 100), wbits=31)

    @settings(max_examples=100)
    @given(st.lists(st.binary(max_size=40)))
    def test_chunks_read_back(self, pieces: list[bytes]) -> None:
        """
        What is framed as chunks is read back by h11, the reference parser, to the same bytes.
        """
        h11 = pytest.importorskip("h11")
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        script = http_stream(list(pieces))
        connection.receive_data(b"".join(step for step in script if isinstance(step, bytes)))

        events = [connection.next_event()]
        while not isinstance(events[-1], h11.EndOfMessage):
            events.append(connection.next_event())

        assert b"".join(pieces) == b"".join(event.data for event in events[1:-1])
        assert sum(map(bool, pieces)) == len(script) - 2


class TestRouting:
    def test_takes_the_scripts_in_order(self, server: ScriptedServer) -> None:
        """
        Each request takes the next script; `always` answers when none is left.
        """
        server.answer(error(500), error(429, headers={"retry-after": "7"}))
        server.always(chat("hi"))

        answers = [httpx2.get(server.base_url) for _ in range(4)]

        assert [500, 429, 200, 200] == [answer.status_code for answer in answers]
        assert "7" == answers[1].headers["retry-after"]

    def test_says_when_nothing_is_left(self, server: ScriptedServer) -> None:
        """
        A request that nobody planned for gets a 400, which nobody retries, and is told so.
        """
        answer = httpx2.get(server.base_url + "/models")

        assert 400 == answer.status_code
        assert "no script is left for GET /v1/models, request 1" == answer.json()["error"]["message"]

    def test_routes_by_path(self, server: ScriptedServer) -> None:
        """
        A script for a path waits for it; the others answer the rest; the longer path wins.
        """
        server.answer(models(["a"]), path="/models")
        server.always(error(404), path="/b/models")
        server.answer(chat("one"), chat("two"))

        statuses = {path: httpx2.get(server.base_url + path) for path in ("/x", "/models", "/b/models", "/y")}

        assert "one" == statuses["/x"].json()["choices"][0]["message"]["content"]
        assert "list" == statuses["/models"].json()["object"]
        assert 404 == statuses["/b/models"].status_code
        assert "two" == statuses["/y"].json()["choices"][0]["message"]["content"]

    def test_functions_come_first(self, server: ScriptedServer) -> None:
        """
        A function may answer or leave the request to the script; the latest is asked first.
        """
        server.always(chat("script"))

        @server.on
        def teapot(request: Received) -> Steps | None:
            return error(418) if request.path == "/v1/tea" else None

        first = httpx2.get(server.base_url + "/tea").status_code
        server.on(lambda request: http_response(200, request.body))

        assert 418 == first
        assert b"echo" == httpx2.post(server.base_url + "/tea", content=b"echo").content

    def test_functions_that_fail_fail_the_test(self) -> None:
        """
        An exception in a function answers 500 and is raised where the `with` ends.
        """

        def broken(request: Received) -> Steps:
            raise KeyError("lost")

        with pytest.raises(KeyError, match="lost"), ScriptedServer() as server:
            server.on(broken)
            assert 500 == httpx2.get(server.base_url).status_code

    def test_an_error_of_the_test_itself_wins(self) -> None:
        """
        What the test raises is not hidden by what went wrong in the server.
        """

        def broken(request: Received) -> Steps:
            raise KeyError("lost")

        with pytest.raises(ZeroDivisionError), ScriptedServer() as server:
            server.on(broken)
            httpx2.get(server.base_url)
            raise ZeroDivisionError


class TestLife:
    def test_leaves_nothing_behind(self) -> None:
        """
        Stopping ends its thread and closes its sockets, whatever was going on; nothing is left to the garbage collector.
        """
        before = set(threading.enumerate())
        with ScriptedServer([Hang()], [Repeat([bytes(1_000_000)])], [Pause(60.0)]) as server:
            clients = [Client(server) for _ in range(4)]
            for client in clients:
                client.send()
            clients.append(Client(server))
            assert server.wait_requests(4)
            server.refused_url()
            server.blackhole_url()
            server.stop()
            endings = [client.until_end()[1] for client in clients]
            for client in clients:
                client.__exit__()

        gc.collect()

        assert set(threading.enumerate()) == before
        assert "open" not in endings
        assert 0 == server.connections_open
        assert repr(server).endswith("4 requests, stopped>")

    def test_starts_once_and_stops_at_will(self) -> None:
        """
        A server that runs cannot be started again; one that does not can be stopped again, and started.
        """
        server = ScriptedServer(chat("one"), chat("two"))
        server.start()
        with pytest.raises(RuntimeError):
            server.start()
        assert 200 == httpx2.get(server.base_url).status_code
        server.stop()
        server.stop()
        with server:
            assert 200 == httpx2.get(server.base_url).status_code

    def test_waits_for_requests(self, server: ScriptedServer) -> None:
        """
        A test can wait until a request has come, and learns when it has not.
        """
        server.answer([Hang()])

        assert not server.wait_requests(1, timeout_s=0.01)
        with Client(server) as client:
            client.send()
            assert server.wait_requests(1)
            assert not server.wait_closed(timeout_s=0.01)

    def test_refuses_connections(self, server: ScriptedServer) -> None:
        """
        Nobody listens at the refused URL.
        """
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(server.refused_url())

    def test_swallows_connections(self, server: ScriptedServer) -> None:
        """
        Nobody answers at the black hole, and each one is a new one.
        """
        url = server.blackhole_url()

        assert url != server.blackhole_url()
        with pytest.raises(httpx2.ConnectTimeout):
            httpx2.get(url, timeout=0.2)

    def test_no_request_ends_the_connection(self, server: ScriptedServer) -> None:
        """
        A client that does not speak HTTP is hung up on.
        """
        with Client(server) as client:
            client.send(b"HELO mail.example\r\n\r\n")
            assert (b"", "fin") == client.until_end()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    directory = tmp_path_factory.mktemp("tls")
    files = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


class TestTls:
    def test_speaks_tls(self, certificate: tuple[Path, Path]) -> None:
        """
        With a certificate the same scripts travel encrypted.
        """
        trust = ssl.create_default_context(cafile=certificate[0])
        with ScriptedServer(stream(["Hel", "lo"], gap_s=0.01), tls=certificate) as server:
            with httpx2.Client(verify=trust) as client:
                answer = client.get(server.base_url)
            assert server.base_url.startswith("https://")
            assert server.wait_closed(2.0)

        assert answer.text.endswith("data: [DONE]\n\n")

    def test_breaks_tls_connections(self, certificate: tuple[Path, Path]) -> None:
        """
        Close and Reset end an encrypted connection, too. (Python's TLS shows its user both as the same end.)
        """
        trust = ssl.create_default_context(cafile=certificate[0])
        half = cut(chat("hello"), after_bytes=300)
        with ScriptedServer([*half, Close()], [*half, Reset()], tls=certificate) as server:
            with httpx2.Client(verify=trust) as client:
                for _ in range(2):
                    with pytest.raises(httpx2.TransportError):
                        client.get(server.base_url)
            assert server.wait_closed(2.0)

    def test_a_failed_handshake_is_counted_and_harmless(self, certificate: tuple[Path, Path]) -> None:
        """
        A client that distrusts the certificate leaves, and one that stays silent is cut off at the end.
        """
        with ScriptedServer(tls=certificate) as server:
            with pytest.raises(httpx2.ConnectError):
                httpx2.get(server.base_url)
            assert server.wait_closed(2.0)
            assert (1, []) == (server.connections_total, server.requests)
            silent = Client(server)
            while server.connections_open == 0:
                time.sleep(0.001)

        assert "open" != silent.until_end()[1]
        silent.__exit__()
        gc.collect()


@pytest.fixture
def openai_client(server: ScriptedServer) -> Iterator[object]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=server.base_url, api_key="any", max_retries=0, timeout=5.0) as client:
        yield client


@pytest.fixture
def anthropic_client(server: ScriptedServer) -> Iterator[object]:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=server.origin, api_key="any", max_retries=0, timeout=5.0) as client:
        yield client


HELLO = [{"role": "user", "content": "hello"}]
CACHED = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=60, cache_write_tokens=10, reasoning_tokens=5)


class TestOpenAI:
    def test_chat(self, server: ScriptedServer, openai_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK reads the text, the reasoning, the tool calls and the usage that the test wrote.
        """
        server.answer(
            chat("hello", reasoning="hm", usage=CACHED, id="mine", gzip=True),
            chat(None, tool_calls=[LOOKUP], usage=None),
        )

        plain, tools = (openai_client.chat.completions.create(model="m", messages=HELLO) for _ in range(2))

        assert ("mine", "hello", "hm", "stop") == (
            plain.id,
            plain.choices[0].message.content,
            plain.choices[0].message.reasoning_content,
            plain.choices[0].finish_reason,
        )
        assert (100, 20, 120, 60, 5) == (
            plain.usage.prompt_tokens,
            plain.usage.completion_tokens,
            plain.usage.total_tokens,
            plain.usage.prompt_tokens_details.cached_tokens,
            plain.usage.completion_tokens_details.reasoning_tokens,
        )
        assert "tool_calls" == tools.choices[0].finish_reason
        assert LOOKUP.to_openai() == tools.choices[0].message.tool_calls[0].model_dump()
        assert tools.usage is None

    def test_stream(self, server: ScriptedServer, openai_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK folds the stream to what the test wrote, usage included.
        """
        second = ToolCall("call_2", "lookup", "{}", index=1)
        server.answer(stream(["Hel", "lo"], tool_calls=[LOOKUP, second], usage=CACHED, gap_s=0.001))

        with openai_client.chat.completions.stream(model="m", messages=HELLO) as events:
            for _ in events:
                pass
            whole = events.get_final_completion()

        assert "Hello" == whole.choices[0].message.content
        assert [LOOKUP.arguments, "{}"] == [call.function.arguments for call in whole.choices[0].message.tool_calls]
        assert ["call_1", "call_2"] == [call.id for call in whole.choices[0].message.tool_calls]
        assert "tool_calls" == whole.choices[0].finish_reason
        assert 120 == whole.usage.total_tokens

    def test_embeddings_and_models(self, server: ScriptedServer, openai_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK reads vectors and models.
        """
        server.answer(embeddings([[0.5, 1.0], [0.25, 2.0]]), models(["a", "b"]))

        vectors = openai_client.embeddings.create(model="m", input=["one", "two"])

        assert [[0.5, 1.0], [0.25, 2.0]] == [item.embedding for item in vectors.data]
        assert ["a", "b"] == [model.id for model in openai_client.models.list()]

    def test_errors(self, server: ScriptedServer, openai_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK raises the error of the status, and the code is the vendor's.
        """
        import openai

        server.answer(error(429, headers={"retry-after": "7"}), error(503, {"error": {"message": "busy"}}), html(502))

        with pytest.raises(openai.RateLimitError) as limited:
            openai_client.models.list()
        for status in (503, 502):
            with pytest.raises(openai.InternalServerError) as busy:
                openai_client.models.list()
            assert status == busy.value.status_code

        assert ("rate_limit_exceeded", "7") == (limited.value.code, limited.value.response.headers["retry-after"])

    def test_error_in_midstream(self, server: ScriptedServer, openai_client) -> None:  # type: ignore[no-untyped-def]
        """
        An error can stand in the place of the stream's next event.
        """
        import openai

        server.answer(stream(["Hel", "lo"], cut_after=1, error_midstream={"error": {"message": "gone"}}))
        texts = []

        with pytest.raises(openai.APIError, match="gone"):
            for piece in openai_client.chat.completions.create(model="m", messages=HELLO, stream=True):
                texts.append(piece.choices[0].delta.content)

        assert ["", "Hel"] == texts


class TestCutStreams:
    def body(self, script: Steps) -> bytes:
        with ScriptedServer([*script]) as server:
            return httpx2.get(server.base_url).content

    def test_cut_at_an_event_boundary(self) -> None:
        """
        A stream that is cut after n pieces has those and no terminal event, and HTTP sees nothing amiss.
        """
        whole, cut_off = self.body(stream(["a", "b", "c"])), self.body(stream(["a", "b", "c"], cut_after=2))

        assert whole.startswith(cut_off)
        assert cut_off.endswith(b"\n\n")
        assert 3 == cut_off.count(b"data: ")
        assert b"[DONE]" not in cut_off
        assert b'"finish_reason":"stop"' not in cut_off

    def test_cut_inside_an_event(self) -> None:
        """
        The cut can go through an event, also through the one that would have been the terminal one's first.
        """
        whole = self.body(stream(["a", "b"]))
        for after in (0, 1, 2, None):
            cut_off = self.body(stream(["a", "b"], cut_after=after, cut_inside=True))
            assert whole.startswith(cut_off)
            assert not cut_off.endswith(b"\n\n")
            assert (2 if after is None else after) + 2 == cut_off.count(b"data: ")

    def test_cut_by_the_connection(self, server: ScriptedServer) -> None:
        """
        The end of a cut stream may also be FIN or RST.
        """
        for step, ending in ((Close(), "fin"), (Reset(), "reset")):
            data, how = played(server, stream(["a"], cut_after=0, ending=step))
            assert ending == how
            assert not data.endswith(LAST_CHUNK)

    def test_without_usage(self) -> None:
        """
        The usage can be left out; the terminal event stays.
        """
        body = self.body(stream(["a"], with_usage=False))

        assert b"usage" not in body
        assert body.endswith(sse("[DONE]"))

    def test_anthropic_cut_and_error(self) -> None:
        """
        Anthropic's stream can be cut and can fail, too.
        """
        cut_off = self.body(testing.anthropic_stream(["a", "b"], cut_after=2))
        failed = self.body(testing.anthropic_stream(["a"], error_midstream={"type": "error", "error": {}}))

        assert 4 == cut_off.count(b"data: ")
        assert b"message_stop" not in cut_off + failed
        assert failed.endswith(b'event: error\ndata: {"type":"error","error":{}}\n\n')


class TestAnthropic:
    def test_message(self, server: ScriptedServer, anthropic_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK reads thinking, text, tool use and a usage that counts the cache apart.
        """
        server.answer(testing.anthropic_message("hello", thinking="hm", tool_calls=[LOOKUP], usage=CACHED))

        message = anthropic_client.messages.create(model="m", max_tokens=9, messages=HELLO)

        assert ["thinking", "text", "tool_use"] == [block.type for block in message.content]
        assert ("hm", "hello", {"city": "Bern", "days": 3}) == (
            message.content[0].thinking,
            message.content[1].text,
            message.content[2].input,
        )
        assert "tool_use" == message.stop_reason
        assert (30, 60, 10, 20) == (
            message.usage.input_tokens,
            message.usage.cache_read_input_tokens,
            message.usage.cache_creation_input_tokens,
            message.usage.output_tokens,
        )
        assert "/v1/messages" == server.requests[0].path

    def test_stream(self, server: ScriptedServer, anthropic_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK folds the stream to the same message.
        """
        server.answer(testing.anthropic_stream(["Hel", "lo"], thinking=["h", "m"], tool_calls=[LOOKUP], usage=CACHED))

        with anthropic_client.messages.stream(model="m", max_tokens=9, messages=HELLO) as events:
            message = events.get_final_message()

        assert ("hm", "Hello", {"city": "Bern", "days": 3}) == (
            message.content[0].thinking,
            message.content[1].text,
            message.content[2].input,
        )
        assert ("tool_use", 30, 20) == (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens)

    def test_error(self, server: ScriptedServer, anthropic_client) -> None:  # type: ignore[no-untyped-def]
        """
        The vendor's SDK reads the type of the error.
        """
        import anthropic

        server.answer(testing.anthropic_error(529, "overloaded_error"))

        with pytest.raises(anthropic.APIStatusError) as raised:
            anthropic_client.messages.create(model="m", max_tokens=9, messages=HELLO)

        assert (529, "overloaded_error", "req_scripted") == (
            raised.value.status_code,
            raised.value.response.json()["error"]["type"],
            raised.value.request_id,
        )


RECORD: dict[str, Any] = {
    "response_status": 200,
    "response_headers": {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", "x-request-id": "r1"},
    "response_body": "data: ä\n\ndata: [DONE]\n\n",
    "response_body_encoding": "utf-8",
    "streaming": True,
}


class TestReplay:
    def test_framing_changes_and_bytes_do_not(self, server: ScriptedServer) -> None:
        """
        However a record is cut into chunks, a client reads the recorded body under the recorded headers.
        """
        whole = RECORD["response_body"].encode()
        server.answer(
            replay(RECORD),
            replay(RECORD, every=1, gap_s=0.001),
            replay(RECORD, at=[7]),
            replay(RECORD | {"streaming": False}),
            replay(RECORD | {"response_body_encoding": "base64", "response_body": "AP8="}),
        )

        answers = [httpx2.get(server.base_url) for _ in range(5)]

        assert [whole] * 4 + [b"\x00\xff"] == [answer.content for answer in answers]
        assert {"text/event-stream"} == {answer.headers["content-type"] for answer in answers}
        assert "r1" == answers[0].headers["x-request-id"]
        assert str(len(whole)) == answers[3].headers["content-length"]
        assert [chunk(whole), LAST_CHUNK] == replay(RECORD)[1:]
        assert [chunk(whole[:7]), chunk(whole[7:]), LAST_CHUNK] == replay(RECORD, at=[7])[1:]

    def test_real_records(self, server: ScriptedServer) -> None:
        """
        Records of real providers replay to their bodies and statuses.
        """
        path = CORPUS / "zai.jsonl"
        if not path.exists():
            pytest.skip("no recorded wires here")
        records = list(recorded(path))[:20]
        server.answer(*(replay(record, every=1000) for record in records))

        with httpx2.Client() as client:
            for record in records:
                answer = client.get(server.base_url)
                assert record["response_status"] == answer.status_code
                assert record["response_body"] == answer.content.decode()


class TestScript:
    def run(self, script: Script, runtime: VirtualRuntime | None = None) -> Any:
        runtime = runtime or VirtualRuntime()

        async def ask() -> Any:
            return await (await script(call_for(runtime))).response()

        return runtime.run(ask())

    def test_answers_in_order(self) -> None:
        """
        A text is a whole answer with its usage, a response is itself, and the calls are kept.
        """
        answer = Response(id="mine")
        script = Script("one", answer, always="rest", usage=CACHED)

        first, second, third, fourth = (self.run(script) for _ in range(4))

        assert isinstance(first, Response)
        assert ("one", "stop", CACHED, "scripted") == (first.text, first.finish_reason, first.usage, first.model)
        assert second is answer
        assert ["rest", "rest"] == [third.text, fourth.text]
        assert "hello" == script.calls[3].request.body["messages"][0]["content"]

    def test_raises_a_fresh_error_each_time(self) -> None:
        """
        An exception is raised as a copy with all its fields, a class as a new instance.
        """
        error = RateLimited("slow down", retry_after=7.0, code="rpm")
        script = Script(error, error, UpstreamError)
        raised = []
        for kind in (RateLimited, RateLimited, UpstreamError):
            with pytest.raises(kind) as info:
                self.run(script)
            raised.append(info.value)

        assert error.__traceback__ is None
        assert raised[0] is not raised[1] is not error
        assert ("slow down", 7.0, "rpm") == (raised[1].message, raised[1].retry_after, raised[1].code)

    def test_streams(self) -> None:
        """
        A list is a stream that has begun when the call returns, ends with a finish reason, and brings the usage.
        """
        runtime = VirtualRuntime()
        script = Script([Delay(2.0, "Hel"), Delay(3.0, "lo")])
        seen: list[Any] = []

        async def ask() -> None:
            reply = await script(call_for(runtime, stream=True))
            seen.append(runtime.now())
            while chunks := await reply.read():
                seen.extend(chunks)
            seen.append(runtime.now())
            assert reply.ended is not None and "ok" == reply.ended.name

        runtime.run(ask())

        assert (2.0, 5.0) == (seen[0], seen[-1])
        assert ["Hel", "lo", "", ""] == [chunk.text for chunk in seen[1:-1]]
        assert "stop" == seen[3].finish_reason
        assert Usage(input_tokens=9, output_tokens=12) == seen[4].usage
        assert 0 == script.closed

    def test_streams_that_break(self) -> None:
        """
        A cut stream raises behind its pieces; an exception inside of a list is raised in its place, the first at the call.
        """
        runtime = VirtualRuntime()
        script = Script(Cut(["Hel", "lo"]), ["a", UpstreamError("mid")], [UpstreamError("first"), "never"])
        texts: list[str] = []

        async def read() -> None:
            reply = await script(call_for(runtime))
            while chunks := await reply.read():
                texts.extend(chunk.text for chunk in chunks)

        with pytest.raises(StreamInterrupted):
            runtime.run(read())
        with pytest.raises(UpstreamError, match="mid"):
            runtime.run(read())
        with pytest.raises(UpstreamError, match="first"):
            runtime.run(script(call_for(runtime)))

        assert ["Hel", "lo", "a"] == texts
        assert 0 == script.closed

    def test_tells_of_streams_closed_early(self) -> None:
        """
        The script counts the streams that were closed before their end.
        """
        runtime = VirtualRuntime()
        script = Script(["a", "b"])

        async def ask() -> None:
            reply = await script(call_for(runtime))
            await reply.read()
            await reply.close()

        runtime.run(ask())

        assert 1 == script.closed

    def test_delays_on_the_runtimes_clock(self) -> None:
        """
        A delay takes the time of the call's runtime and none of ours.
        """
        runtime = VirtualRuntime()

        self.run(Script(Delay(3600.0, "late")), runtime)

        assert 3600.0 == runtime.now()

    def test_has_no_more_than_its_items(self) -> None:
        """
        A call that nobody planned for fails the test and not as an upstream would.
        """
        with pytest.raises(AssertionError, match="no item for call 1"):
            self.run(Script())

    def test_runs_without_an_event_loop(self) -> None:
        """
        The same script answers blocking calls.
        """

        async def ask() -> Any:
            reply = await Script(["Hel", Delay(0.001, "lo")])(call_for(BlockingRuntime()))
            return await reply.response()

        assert "Hello" == drive(ask()).text


def test_promises_what_it_exports() -> None:
    """
    Every promised name exists, and the list is sorted.
    """
    assert (
        sorted(testing.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)) == testing.__all__
    )
    assert all(hasattr(testing, name) for name in testing.__all__)
    assert json.dumps(testing.__all__)


def test_chunked_leaves_what_is_no_bytes() -> None:
    """
    Framing touches bytes only, also those inside of steps.
    """
    assert [b"1\r\na\r\n", Pause(1), Trickle(b"b", 1, framed=True), Repeat([b"1\r\nc\r\n"]), LAST_CHUNK] == chunked(
        [b"a", Pause(1), Trickle(b"b", 1), Repeat([b"c"])]
    )
