"""What a connection of one event loop does beside carrying bytes: its deadlines, its order, its names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from llmgate.errors import ConnectionFailed, UpstreamTimeout
from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.engines import engine_maker
from llmgate.runtime.http import HTTPOptions
from llmgate.testing import Pause, Repeat, ScriptedServer, chat, http_response, http_stream
from llmgate.types.wire import WireRequest, WireTimeouts

SOON_S = 5.0  # seconds; far above anything that works
SHORT_S = 0.15  # seconds; a time that is meant to run out
LARGE = bytes(16_000_000)  # more than the sockets between two ends hold

Kind = Literal["httpx2", "aiohttp"]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(params=["httpx2", "aiohttp"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
    return request.param  # type: ignore[no-any-return]


def runtime_of(kind: Kind) -> AsyncioRuntime:
    return AsyncioRuntime(engine_maker(HTTPOptions(engine=kind), "asyncio"))


async def asked(runtime: AsyncioRuntime, origin: str, within_s: float = SOON_S, **fields: Any) -> tuple[int, bytes]:
    """Status and body of an answer."""
    until = runtime.now() + within_s
    response = await runtime.send(WireRequest("POST", origin, "/", **fields), until)
    parts = []
    while data := await response.read(until):
        parts.append(data)
    return response.status, b"".join(parts)


class TestWriting:
    async def test_an_answer_has_its_own_time(self, server: ScriptedServer, kind: Kind) -> None:
        """
        How long an answer may take is not shortened by the time for writing, however large the request was.
        """
        server.answer([Pause(2 * SHORT_S), *chat("hello")])
        runtime = runtime_of(kind)

        status, _ = await asked(runtime, server.origin, body=LARGE, timeouts=WireTimeouts(write_s=SHORT_S))
        await runtime.close()

        assert 200 == status

    async def test_an_answer_before_its_request_is_taken(self, kind: Kind) -> None:
        """
        A refusal of a request that is still being sent is an answer; its connection is not used again.
        """
        runtime = runtime_of(kind)
        peers: list[asyncio.StreamWriter] = []

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nno!")

        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
            origin = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            answers = [await asked(runtime, origin, body=LARGE) for _ in range(2)]
            await runtime.close()
            for peer in peers:
                peer.transport.abort()

        assert [(413, b"no!")] * 2 == answers
        assert 2 == len(peers)

    async def test_gives_up_on_who_takes_nothing(self, kind: Kind) -> None:
        """
        A request that nobody reads ends with the time for writing.
        """
        runtime = runtime_of(kind)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(UpstreamTimeout) as raised:
                await asked(runtime, origin, body=LARGE, timeouts=WireTimeouts(write_s=SHORT_S))
        await runtime.close()

        assert "write" == raised.value.timer


class TestReading:
    async def test_what_is_there_already_gains_no_time(self, server: ScriptedServer, kind: Kind) -> None:
        """
        A body without end is left when its time is over, also by a reader for whom there is always something to read.
        """
        server.answer(http_stream([Repeat([b": ping\n\n" * 1000])]))
        runtime = runtime_of(kind)
        until = runtime.now() + SHORT_S
        response = await runtime.send(WireRequest("POST", server.origin, "/"), until)

        async def read_slowly() -> None:
            while await response.read(until):
                await asyncio.sleep(0.01)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read_slowly(), SOON_S)
        assert runtime.now() < until + 1.0
        await runtime.close()


class Resolving(asyncio.SelectorEventLoop):
    """An event loop that counts how often it is asked for a name, and takes its time."""

    def __init__(self, port: int, fails: bool) -> None:
        super().__init__()
        self._port = port
        self.fails = fails
        self.lookups = 0

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        self.lookups += 1
        await asyncio.sleep(0.02)
        if self.fails:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", self._port))]


class TestNames:
    """Ten connections at once to one host."""

    def burst(self, server: ScriptedServer, kind: Kind, fails: bool = False) -> tuple[int, list[Any]]:
        """
        How many lookups were needed, and what became of the ten calls, the first of which is cancelled, and of one more that
        comes when the name can be found again.
        """
        server.always(http_response(200, b"ok"))

        async def main() -> list[Any]:
            runtime = runtime_of(kind)
            calls = [asyncio.create_task(asked(runtime, "http://several.test:80")) for _ in range(10)]
            await asyncio.sleep(0.005)
            calls[0].cancel()
            ends = await asyncio.gather(*calls, return_exceptions=True)
            loop.fails = False
            ends.append(await asked(runtime, "http://several.test:80"))
            await runtime.close()
            return ends

        loop = Resolving(server.port, fails)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            ends = runner.run(main())
        return loop.lookups, ends

    def test_one_lookup_serves_all_who_wait_for_it(self, server: ScriptedServer, kind: Kind) -> None:
        """
        Who asks for a name that is being asked for already shares the answer, also when the first of them has gone.
        """
        lookups, (first, *others) = self.burst(server, kind)

        assert 1 == lookups
        assert isinstance(first, asyncio.CancelledError)
        assert [(200, b"ok")] * 10 == others

    def test_a_lookup_that_fails_is_forgotten(self, server: ScriptedServer, kind: Kind) -> None:
        """
        A name without an address fails everybody who waited for it, and is asked for again by whoever comes later.
        """
        lookups, (first, *others, last) = self.burst(server, kind, fails=True)

        assert 2 == lookups
        assert isinstance(first, asyncio.CancelledError)
        assert [ConnectionFailed] * 9 == [type(other) for other in others]
        assert (200, b"ok") == last
