"""Streams that a wrapped function returns: they stay what they are, and the call lasts until they end."""

from __future__ import annotations

import asyncio
import inspect
import io
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from llmgate import CircuitOpen, Gateway, LimitReached
from llmgate.runtime.edge import AsyncStream, Stream
from llmgate.testing import ScriptedServer, anthropic_stream, stream
from tests.surfaces.sdks import HELLO


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway({"providers": {"pretend": {"kind": "simulated"}}}) as gateway:
        yield gateway


class Pieces:
    """A stream as SDKs have them: an iterator with a response, which can be closed and entered."""

    def __init__(self, *items: Any) -> None:
        self.response = "its response"
        self.items = list(items)
        self.closed = 0

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> Any:
        if not self.items:
            raise StopIteration
        item = self.items.pop(0)
        if isinstance(item, BaseException):
            raise item
        return item

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close()

    def close(self) -> None:
        self.closed += 1


class LaterPieces:
    """The same for asyncio."""

    def __init__(self, *items: Any) -> None:
        self.pieces = Pieces(*items)
        self.response = "its response"

    def __aiter__(self) -> LaterPieces:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        try:
            return next(self.pieces)
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> LaterPieces:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.pieces.close()


def outcomes(gateway: Gateway) -> dict[str, int]:
    return gateway.stats().outcomes


class TestPlain:
    def test_the_call_lasts_until_the_stream_ends(self, gateway: Gateway) -> None:
        """
        A call whose function returned a stream is in the air until the stream has been read.
        """
        wrapped = gateway.wrap(lambda: Pieces("a", "b"))

        pieces = wrapped()
        first = next(pieces)
        before = gateway.stats()
        rest = list(pieces)
        after = gateway.stats()

        assert ("a", ["b"]) == (first, rest)
        assert [(1, 0), (0, 1)] == [(told.in_flight, told.calls) for told in (before, after)]
        assert {"ok": 1} == after.outcomes
        assert [] == list(pieces)

    def test_it_stays_what_it_is(self, gateway: Gateway) -> None:
        """
        Its class, its attributes and its look are those of the stream itself, and nothing of it is read ahead.
        """
        own = Pieces("a", "b")

        pieces = gateway.wrap(lambda: own)()

        assert isinstance(pieces, Pieces)
        assert ("its response", repr(own)) == (pieces.response, repr(pieces))
        assert ["a", "b"] == own.items and isinstance(pieces, Iterator) and not isinstance(pieces, AsyncIterator)
        with pytest.raises(AttributeError):
            pieces.nothing  # type: ignore[attr-defined]
        assert ["a", "b"] == list(pieces)

    def test_it_is_entered_and_left(self, gateway: Gateway) -> None:
        """
        `with` works as with the stream itself, and leaving it ends the call.
        """
        own = Pieces("a", "b")

        with gateway.wrap(lambda: own)() as pieces:
            next(pieces)

        assert (1, {"closed": 1}) == (own.closed, outcomes(gateway))

    def test_it_is_closed_or_dropped(self, gateway: Gateway) -> None:
        """
        Who closes it, or forgets about it, ends the call; nobody is warned of what is no leak of ours.
        """
        one, other = Pieces("a"), Pieces("a")
        wrapped = gateway.wrap(lambda given: given)

        wrapped(one).close()
        next(wrapped(other))

        assert (1, 0) == (one.closed, other.closed)
        assert {"closed": 2} == outcomes(gateway) and 0 == gateway.stats().in_flight

    def test_it_fails(self, gateway: Gateway) -> None:
        """
        Its own exception comes out, is judged by what it means, and nothing is begun again.
        """
        own = ConnectionResetError("cut")
        runs: list[int] = []

        @gateway.wrap(retry=3, circuit_breaker={"threshold": 1, "timeout": "1h"})
        def ask() -> Pieces:
            runs.append(1)
            return Pieces("a", own)

        pieces = ask()
        assert "a" == next(pieces)
        with pytest.raises(ConnectionResetError) as raised:
            next(pieces)

        assert raised.value is own and {"connection_failed": 1} == outcomes(gateway)
        with pytest.raises(CircuitOpen):
            ask()
        assert [1] == runs

    def test_it_keeps_its_place(self, gateway: Gateway) -> None:
        """
        A limit on calls at a time counts a stream until it ends.
        """
        wrapped = gateway.wrap(rate_limit={"max_concurrency": 1, "max_wait": 0})(lambda: Pieces("a"))

        pieces = wrapped()
        with pytest.raises(LimitReached):
            wrapped()
        list(pieces)

        assert ["a"] == list(wrapped())

    def test_a_generator_that_a_function_returns(self, gateway: Gateway) -> None:
        """
        A generator that a plain function made is handed on as one, and may be sent something.
        """

        def made(given: str) -> Iterator[str]:
            yield (yield given) or "nothing was sent"

        wrapped = gateway.wrap(lambda given: made(given))
        generator: Any = wrapped("a")

        assert inspect.isgenerator(generator)
        assert ["a", "sent"] == [next(generator), generator.send("sent")]
        assert ["b", "nothing was sent"] == list(wrapped("b"))

    def test_data_at_hand_is_no_stream(self, gateway: Gateway, tmp_path: Path) -> None:
        """
        Files, cursors, and what iterates over things that are there already, are returned themselves.
        """
        (tmp_path / "a").write_text("a")
        with (tmp_path / "a").open() as file, sqlite3.connect(":memory:") as database:
            things = [
                iter([1]),
                map(str, [1]),
                zip([1], [2], strict=True),
                file,
                io.BytesIO(),
                database.execute("select 1"),
            ]
            wrapped: Callable[[Any], Any] = gateway.wrap(lambda thing: thing)
            assert all(wrapped(thing) is thing for thing in things)
        database.close()
        assert {"ok": len(things)} == gateway.stats().outcomes

    def test_a_cache_does_not_read_it(self) -> None:
        """
        Where results may be kept a stream is returned as it is, and not kept.
        """
        with Gateway({"cache": {"ttl": "1h"}}) as gateway:
            wrapped = gateway.wrap(cache=True)(lambda text: Pieces(text))
            assert [["a"], ["a"]] == [list(wrapped("a")), list(wrapped("a"))]
        assert 0 == gateway.stats().in_flight

    def test_in_a_captured_function(self, gateway: Gateway) -> None:
        """
        What a stream asks for while it is read is part of the call that returned it, and so is a stream of the gateway.
        """

        def made() -> Iterator[str]:
            yield gateway.chat("pretend/a", "hello").text

        assert ["You said: hello"] == list(gateway.wrap(capture=True)(lambda: made())())
        with gateway.wrap(capture=True)(lambda: gateway.stream("pretend/a", "hello"))() as own:
            text = "".join(chunk.text for chunk in own)

        told = gateway.stats()
        assert isinstance(own, Stream) and "You said: hello" == text == own.response.text
        assert (4, 2, 0) == (told.calls, told.attempts, told.in_flight)


class TestLater:
    @pytest.mark.parametrize("kind", ["coroutine", "plain"])
    def test_the_call_lasts_until_the_stream_ends(self, gateway: Gateway, kind: str) -> None:
        """
        So it is for asyncio, whether a coroutine function or a plain one returned the stream.
        """
        own = LaterPieces("a", "b")

        @gateway.wrap
        async def ask() -> LaterPieces:
            return own

        async def main() -> list[Any]:
            pieces: Any = await ask() if kind == "coroutine" else gateway.wrap(lambda: own)()
            assert isinstance(pieces, LaterPieces) and isinstance(pieces, AsyncIterator)
            assert not isinstance(pieces, Iterator) and "its response" == pieces.response
            seen = [await anext(pieces), gateway.stats().in_flight]
            seen += [item async for item in pieces]
            return seen

        assert ["a", 1, "b"] == asyncio.run(main())
        assert {"ok": 1} == gateway.stats().outcomes

    def test_it_is_left_closed_or_fails(self, gateway: Gateway) -> None:
        """
        Leaving it, closing it and its failure end the call as what they are.
        """
        own = ConnectionResetError("cut")

        @gateway.wrap
        async def ask(*items: Any) -> LaterPieces:
            return LaterPieces(*items)

        async def main() -> list[int]:
            async with await ask("a") as entered:
                await anext(entered)
            closed = await ask("a")
            await closed.close()
            with pytest.raises(ConnectionResetError) as raised:
                async for _ in await ask(own):
                    pass
            assert raised.value is own
            return [entered.pieces.closed, closed.pieces.closed]

        assert [1, 1] == asyncio.run(main())
        assert {"closed": 2, "connection_failed": 1} == outcomes(gateway)

    def test_reading_is_cancelled(self, gateway: Gateway) -> None:
        """
        A reader that is cancelled ends the call as cancelled.
        """

        async def silence() -> AsyncIterator[str]:
            await asyncio.sleep(60)
            yield "never"

        async def main() -> None:
            reading = asyncio.ensure_future(anext(gateway.wrap(lambda: silence())()))
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

        asyncio.run(main())

        assert {"cancelled": 1} == outcomes(gateway)

    def test_in_a_captured_function(self, gateway: Gateway) -> None:
        """
        A stream of the gateway that a function returns is read inside of its call.
        """

        @gateway.wrap(capture=True)
        async def ask() -> AsyncStream:
            return gateway.aio.stream("pretend/a", "hello")

        async def main() -> str:
            text = ""
            async with await ask() as own:
                async for chunk in own:
                    text += chunk.text
            return text

        assert "You said: hello" == asyncio.run(main())
        told = gateway.stats()
        assert (2, 1, 0) == (told.calls, told.attempts, told.in_flight)

    def test_of_both_colours(self, gateway: Gateway) -> None:
        """
        A stream that can be read in either colour, as litellm's, still can.
        """

        class Both(Pieces, LaterPieces):
            def __init__(self, *items: Any) -> None:
                Pieces.__init__(self, *items)
                self.pieces = self

        async def main() -> list[Any]:
            return [item async for item in gateway.wrap(lambda: Both("a", "b"))()]

        assert ["a", "b"] == list(gateway.wrap(lambda: Both("a", "b"))()) == asyncio.run(main())


class TestSDKs:
    def test_bound_methods_of_clients(self, gateway: Gateway) -> None:
        """
        The methods of SDKs' clients are wrapped as they are, and what they stream keeps the SDK's class and attributes.
        """
        with ScriptedServer() as server:
            server.answer(*[stream(("Hel", "lo"))] * 2)
            client = openai.OpenAI(api_key="sk-x", base_url=server.base_url, max_retries=0)
            wrapped = gateway.wrap(client.chat.completions.create)

            chunks = wrapped(model="m", messages=HELLO, stream=True)
            assert isinstance(chunks, openai.Stream) and 200 == chunks.response.status_code
            assert "Hello" == "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            with wrapped(model="m", messages=HELLO, stream=True) as chunks:
                next(iter(chunks))
            client.close()
        assert {"ok": 1, "closed": 1} == outcomes(gateway)

    def test_bound_methods_of_attached_clients(self, gateway: Gateway) -> None:
        """
        A client that is attached to the gateway can be wrapped and captured: one tree, and its tokens once.
        """
        client = gateway.attach(openai.OpenAI(api_key="unused", base_url="http://llmgate/v1"))
        wrapped = gateway.wrap(capture=True)(client.chat.completions.create)

        whole = wrapped(model="pretend/a", messages=HELLO)
        chunks = wrapped(model="pretend/a", messages=HELLO, stream=True, stream_options={"include_usage": True})
        usage = [chunk.usage for chunk in chunks if chunk.usage][-1]

        told = gateway.stats()
        assert whole.usage is not None
        assert (4, 2, 0) == (told.calls, told.attempts, told.in_flight)
        assert whole.usage.prompt_tokens + usage.prompt_tokens == told.input_tokens

    def test_asynchronous_clients(self, gateway: Gateway) -> None:
        """
        The same for asyncio, where the SDK's method is only known by what it returns.
        """

        async def main() -> str:
            with ScriptedServer() as server:
                server.answer(anthropic_stream(("Hel", "lo")))
                async with anthropic.AsyncAnthropic(api_key="k", base_url=server.origin, max_retries=0) as client:
                    wrapped = gateway.wrap(client.messages.create)
                    events = await wrapped(model="m", max_tokens=9, messages=HELLO, stream=True)
                    assert isinstance(events, anthropic.AsyncStream)
                    return "".join(
                        [event.delta.text async for event in events if event.type == "content_block_delta"]  # type: ignore[union-attr]
                    )

        assert "Hello" == asyncio.run(main())
        assert 1 == gateway.stats().outcomes["ok"]
