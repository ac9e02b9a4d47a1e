"""What is written to the wire, and what aiohttp's parser makes of answers that are odd."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from llmgate.errors import BadRequest, ConnectionFailed, GatewayError, ProtocolError
from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.engines import engine_maker
from llmgate.runtime.http import HTTPOptions
from llmgate.testing import Close, Hang, Pause, Reset, ScriptedServer, Step, chat, head, http_response, http_stream
from llmgate.types.secret import Credential, Secret
from llmgate.types.wire import WireRequest

SOON_S = 5.0  # seconds; far above anything that works
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Ask = Callable[..., Awaitable[tuple[int, bytes]]]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def ask(server: ScriptedServer) -> Any:
    """Asks the server, and tells status and body of its answer."""
    runtime = AsyncioRuntime(engine_maker(HTTPOptions(engine="aiohttp"), "asyncio"))

    async def ask(method: str = "POST", target: str = "/", **fields: Any) -> tuple[int, bytes]:
        until = runtime.now() + SOON_S
        response = await runtime.send(WireRequest(method, fields.pop("origin", server.origin), target, **fields), until)
        parts = []
        while data := await response.read(until):
            parts.append(data)
        return response.status, b"".join(parts)

    yield ask
    await runtime.close()
    assert await asyncio.to_thread(server.wait_closed, 2.0)


def connections(server: ScriptedServer) -> list[int]:
    return [request.connection for request in server.requests]


class TestWriting:
    async def test_byte_for_byte(self) -> None:
        """
        A request is its line, host, length, its own headers in their order, the key, and the body.
        """
        taken: list[bytes] = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken.append(await reader.readuntil(b"{}"))
            writer.transport.abort()

        async with await asyncio.start_server(take, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            origin = f"http://127.0.0.1:{port}"
            runtime = AsyncioRuntime(engine_maker(HTTPOptions(engine="aiohttp"), "asyncio"))
            lines, key = [("x-b", "1"), ("x-a", "caf\xe9")], Credential(Secret("k"), origin)
            with pytest.raises(ConnectionFailed):
                await runtime.send(WireRequest("POST", origin, "/v1/a%20b?c=d", lines, b"{}", key), runtime.now() + 5)
            await runtime.close()

        assert [
            b"POST /v1/a%%20b?c=d HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: 2\r\n"
            b"x-b: 1\r\nx-a: caf\xe9\r\nauthorization: Bearer k\r\n\r\n{}" % port
        ] == taken

    @pytest.mark.parametrize(
        "fields",
        [
            {"target": "/a b"}, {"target": "/a\r\nx-evil: 1"}, {"target": "/\xe9"}, {"target": ""}, {"target": "/\ud800"},
            {"method": "PO ST"}, {"method": ""}, {"method": "POST / HTTP/1.1\r\nx-evil:"},
            {"headers": [("x a", "1")]}, {"headers": [("x-a:", "1")]}, {"headers": [("", "1")]},
            {"headers": [("x-a\r\nx-evil", "1")]}, {"headers": [("x-\xe9", "1")]}, {"headers": [("x-a", "\x7f")]},
            {"headers": [("x-a", "1\r\nx-evil: 1")]}, {"headers": [("x-a", "1\rx-evil: 1")]}, {"headers": [("x-a", "\u20ac")]},
            {"headers": [("x-a", "1\r\n\r\nGET / HTTP/1.1")]}, {"headers": [("x-a", "\ud800")]},
        ],
    )  # fmt: skip
    async def test_nothing_that_would_be_another_request(
        self, server: ScriptedServer, ask: Ask, fields: dict[str, Any]
    ) -> None:
        """
        A method, a target, a header's name or value that HTTP does not have is a BadRequest, and nothing of it is sent.
        """
        with pytest.raises(BadRequest):
            await ask(**fields)
        assert [] == server.requests

    async def test_whatever_a_value_may_hold(self, server: ScriptedServer, ask: Ask) -> None:
        """
        Spaces, tabs, nothing and the upper half of Latin-1 are values.
        """
        server.always(http_response(200, b"ok"))

        await ask(headers=[("x-a", "a\tb c"), ("x-empty", ""), ("x-high", "\xa0\xff"), ("x!#$%&'*+-.^_`|~9", "1")])

        sent = server.requests[0].headers
        assert ("a\tb c", "", "1") == (sent["x-a"], sent["x-empty"], sent["x!#$%&'*+-.^_`|~9"])
        assert "x-high" in sent


class TestReading:
    async def test_answers_without_a_body(self, server: ScriptedServer, ask: Ask) -> None:
        """
        What answers HEAD, a 204 and a 304 have no body, whatever length they name, and their connection goes on.
        """
        for status in (200, 204, 304):
            server.answer([head(status, {"content-length": "5"})])
        server.answer(http_response(200, b"ok"))

        assert (200, b"") == await ask("HEAD")
        assert [(204, b""), (304, b""), (200, b"ok")] == [await ask() for _ in range(3)]
        assert [1, 1, 1, 1] == connections(server)

    async def test_announcements_in_pieces(self, server: ScriptedServer, ask: Ask) -> None:
        """
        However many announcements come before the answer, and however they are cut, the answer is the answer.
        """
        early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
        server.answer([early[:20], Pause(0.02), early[20:] + b"HTTP/1.1 100 Continue\r\n\r\n", Pause(0.02), early + OK])
        server.answer([OK])

        assert [(200, b"ok")] * 2 == [await ask(), await ask()]
        assert [1, 1] == connections(server)

    async def test_another_protocol(self, server: ScriptedServer, ask: Ask) -> None:
        """
        Nobody asked to switch protocols; an upstream that does so all the same has not answered.
        """
        server.answer(
            [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nPRI * HTTP/2.0"]
        )
        with pytest.raises(ProtocolError, match="not HTTP: another protocol"):
            await ask()

        server.answer([b"HTTP/1.1 200 OK\r\nupgrade: h2,h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok"])
        assert (200, b"ok") == await ask()

    async def test_a_body_to_the_end_of_its_connection(self, server: ScriptedServer, ask: Ask) -> None:
        """
        Where nothing says how long it is, an orderly end is the end of the body, and a reset is none.
        """
        server.answer([b"HTTP/1.0 200 OK\r\n\r\nok", Pause(0.02), b"!", Close()])
        assert (200, b"ok!") == await ask()

        server.answer([b"HTTP/1.1 200 OK\r\n\r\nok", Pause(0.02), Reset()])
        with pytest.raises(ConnectionFailed, match="in the middle of the answer"):
            await ask()
        assert [1, 2] == connections(server)

    @pytest.mark.parametrize("ending", [[b"zz\r\n", Hang()], [b"5\r\nabc", Close()], [b"5\r\nabc", Reset()], [Close()]])
    async def test_a_chunk_that_is_none(self, server: ScriptedServer, ask: Ask, ending: list[Step]) -> None:
        """
        A chunk that is not one, or that is cut, breaks the answer, at once.
        """
        server.answer([*http_stream([b"ok"], end=False), Pause(0.02), *ending])

        with pytest.raises(ConnectionFailed, match="in the middle of the answer"):
            await ask()

    async def test_trailers_are_read_and_forgotten(self, server: ScriptedServer, ask: Ask) -> None:
        """
        Fields behind the last chunk belong to the answer, and the connection goes on.
        """
        server.answer([*http_stream([b"ok"], end=False), b"0\r\nx-sum: 1\r\n\r\n"], chat("next"))

        assert (200, b"ok") == await ask()
        await ask()
        assert [1, 1] == connections(server)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nx a: b\r\ncontent-length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 2\r\n\r\nok",
        ],
    )
    async def test_heads_that_could_be_read_in_two_ways(self, server: ScriptedServer, ask: Ask, answer: bytes) -> None:
        """
        A head that two readers would not read alike is no answer, and its connection is closed.
        """
        server.answer([answer], [OK])

        with pytest.raises(ProtocolError):
            await ask()
        assert (200, b"ok") == await ask()
        assert [1, 2] == connections(server)

    async def test_an_error_shows_nothing_of_the_answer(self, server: ScriptedServer, ask: Ask) -> None:
        """
        What came instead of HTTP may be anything, so an error about it names the kind of fault alone.
        """
        server.answer([b"sk-echoed-key\r\n\r\n"])

        with pytest.raises(GatewayError) as raised:
            await ask(headers=[("authorization", "Bearer sk-echoed-key")])
        assert str(raised.value).endswith("answered with something that is not HTTP: BadStatusLine")
