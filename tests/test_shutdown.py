"""How a gateway ends: it lets nobody in, waits, cuts what is left, and leaves nothing open, whoever ends it from where."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmgate import Function, Gateway, GatewayClosed, GatewayError, Simulated
from llmgate.testing import Hang, Pause, ScriptedServer, chat, error, http_stream, stream
from tests.conftest import Colour

PROMPT_S = 0.5  # seconds within which what ends at once has ended, on a busy machine
CUT_S = 0.05  # seconds; a timeout of close() that is meant to run out


def config(server: ScriptedServer, **sections: Any) -> dict[str, Any]:
    upstream = {"kind": "openai-compatible", "base_url": server.base_url}
    return {"providers": {"up": upstream}, "routes": {"fast": ["up/a"]}} | sections


class Asker:
    """A call on a thread of its own, plain or on an event loop of its own."""

    def __init__(self, gateway: Gateway, color: str, verb: str = "chat", model: str = "fast") -> None:
        self.gateway, self.color, self.verb, self.model = gateway, color, verb, model
        self.text = ""
        self.error: BaseException | None = None
        self.ended_s = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self.color == "blocking":
                self._plain()
            else:
                asyncio.run(self._task())
        except BaseException as error:
            self.error = error
        self.ended_s = time.monotonic()

    def _plain(self) -> None:
        if self.verb == "chat":
            self.text = self.gateway.chat(self.model, "hello").text
            return
        for chunk in self.gateway.stream(self.model, "hello"):
            self.text += chunk.text

    async def _task(self) -> None:
        if self.verb == "chat":
            self.text = (await self.gateway.aio.chat(self.model, "hello")).text
            return
        async for chunk in self.gateway.aio.stream(self.model, "hello"):
            self.text += chunk.text

    def join(self) -> None:
        self._thread.join(5.0)
        assert not self._thread.is_alive()


@contextmanager
def took(at_least_s: float, within_s: float = PROMPT_S) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert at_least_s - 0.01 <= time.monotonic() - began <= at_least_s + within_s


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 2.0
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return condition()


COLORS = ["blocking", "asyncio"]


class TestWaiting:
    @pytest.mark.parametrize("color", COLORS)
    def test_waits_for_calls_in_flight(self, colour: Colour, server: ScriptedServer, color: str) -> None:
        """
        `close` returns when the last call in flight has its answer, and not before.
        """
        server.always([Pause(0.15), *chat("hello")])
        gateway = Gateway(config(server))
        asker = Asker(gateway, color)
        assert server.wait_requests(1)

        with took(0.1):
            colour.close(gateway)

        assert 0 == gateway.stats().in_flight
        asker.join()
        assert "hello" == asker.text
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("color", COLORS)
    def test_waits_for_streams(self, colour: Colour, server: ScriptedServer, color: str) -> None:
        """
        A stream that is being read is a call in flight until its end.
        """
        server.always(stream(["a", "b", "c"], gap_s=0.02))
        gateway = Gateway(config(server))
        asker = Asker(gateway, color, "stream")
        assert eventually(lambda: asker.text != "")

        colour.close(gateway)

        asker.join()
        assert "abc" == asker.text
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("color", COLORS)
    def test_refuses_new_calls_meanwhile(self, colour: Colour, server: ScriptedServer, color: str) -> None:
        """
        While it drains, new calls are refused at once, in both colours; the upstream does not hear of them.
        """
        server.always([Pause(0.15), *chat("hello")])
        gateway = Gateway(config(server))
        first = Asker(gateway, color)
        assert server.wait_requests(1)
        closing = threading.Thread(target=colour.close, args=(gateway,))
        closing.start()
        assert eventually(lambda: gateway.health()["status"] == "draining")

        late = [Asker(gateway, each, verb) for each in COLORS for verb in ("chat", "stream")]
        for asker in late:
            asker.join()

        assert [GatewayClosed] * 4 == [type(asker.error) for asker in late]
        closing.join()
        first.join()
        assert ("hello", 1) == (first.text, len(server.requests))

    @pytest.mark.parametrize("per", ["gateway", "deployment"])
    def test_wakes_whoever_waits_for_a_limit(self, server: ScriptedServer, colour: Colour, per: str) -> None:
        """
        Calls in a queue are not worth waiting for: they are told at once that the gateway closes.
        """
        server.always([Pause(0.15), *chat("hello")])
        gateway = Gateway(config(server, rate_limit={"max_concurrency": 1, "per": per}))
        first = Asker(gateway, "asyncio")
        assert server.wait_requests(1)
        waiting = [Asker(gateway, each) for each in COLORS]
        assert eventually(lambda: gateway.stats().in_flight == 3)
        time.sleep(0.02)
        began = time.monotonic()

        colour.close(gateway)

        for asker in (first, *waiting):
            asker.join()
        assert "hello" == first.text
        assert [GatewayClosed] * 2 == [type(asker.error) for asker in waiting]
        assert all(asker.ended_s - began < 0.12 for asker in waiting)

    def test_an_idle_gateway_closes_at_once(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Without calls there is nothing to wait for, and idle connections are closed.
        """
        server.always(chat("hello"))
        gateway = Gateway(config(server))
        colour.chat(gateway)
        assert 1 == server.connections_open

        with took(0.0, 0.2):
            colour.close(gateway)

        assert server.wait_closed(2.0)


class TestCutting:
    @pytest.mark.parametrize("color", COLORS)
    @pytest.mark.parametrize(
        ("verb", "script"),
        [
            ("chat", [Hang()]),
            ("chat", [*http_stream([b"{"], end=False, content_type="application/json"), Hang()]),
            ("stream", [*http_stream([b"data: "], end=False), Hang()]),
            ("stream", stream(["a", "b"], cut_after=1, ending=Hang())),
        ],
        ids=["headers", "body", "first token", "stream"],
    )
    def test_cuts_what_hangs_on_the_network(
        self, colour: Colour, server: ScriptedServer, color: str, verb: str, script: Any
    ) -> None:
        """
        At the timeout whatever still waits for an upstream is cut, in whatever colour: it raises GatewayClosed, and
        nothing is tried again.
        """
        server.always(script)
        gateway = Gateway(config(server))
        asker = Asker(gateway, color, verb)
        assert server.wait_requests(1)
        time.sleep(0.02)

        with took(CUT_S):
            colour.close(gateway, timeout=CUT_S)

        assert 0 == gateway.stats().in_flight
        asker.join()
        assert GatewayClosed is type(asker.error)
        assert server.wait_closed(2.0)
        assert 1 == len(server.requests)

    @pytest.mark.parametrize("color", COLORS)
    def test_cuts_what_sleeps_before_a_retry(self, colour: Colour, server: ScriptedServer, color: str) -> None:
        """
        A call that waits to try again is woken, and does not.
        """
        server.always(error(500))
        gateway = Gateway(config(server, retry={"base_delay": 9, "max_delay": 9, "jitter": "none"}))
        asker = Asker(gateway, color)
        assert server.wait_requests(1)
        time.sleep(0.02)

        with took(CUT_S):
            colour.close(gateway, timeout=CUT_S)

        asker.join()
        assert GatewayClosed is type(asker.error)
        assert 1 == len(server.requests)

    @pytest.mark.parametrize("color", COLORS)
    def test_cuts_what_cannot_connect(self, server: ScriptedServer, color: str) -> None:
        """
        `close` does not wait for a connection that is not made; the call itself ends by its own time.
        """
        setup = config(server, timeouts={"connect": 0.3})
        setup["providers"]["up"]["base_url"] = server.blackhole_url()
        gateway = Gateway(setup)
        asker = Asker(gateway, color)
        time.sleep(0.02)

        with took(CUT_S, 1.0 + PROMPT_S):
            gateway.close(timeout=CUT_S)

        asker.join()
        assert GatewayClosed is type(asker.error)

    @pytest.mark.parametrize("color", COLORS)
    def test_cuts_simulations_and_coroutine_functions(self, colour: Colour, color: str) -> None:
        """
        The same for a simulated upstream, and for a coroutine function, which is cancelled.
        """
        ended: list[str] = []

        async def hanging(messages: Any, **params: Any) -> str:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return "never"

        gateway = Gateway(providers=[Simulated(latency=9), Function(hanging, name="mine")])
        askers = [Asker(gateway, color, model=model) for model in ("simulated/x", "mine")]
        assert eventually(lambda: gateway.stats().in_flight == 2)
        time.sleep(0.02)

        with took(CUT_S):
            colour.close(gateway, timeout=CUT_S)

        for asker in askers:
            asker.join()
        assert [GatewayClosed] * 2 == [type(asker.error) for asker in askers]
        assert ["cancelled"] == ended

    def test_does_not_wait_for_a_plain_function(self) -> None:
        """
        A plain function cannot be cut; `close` returns all the same.
        """
        release = threading.Event()

        def hanging(messages: Any, **params: Any) -> str:
            release.wait(5.0)
            return "late"

        gateway = Gateway(providers=[Function(hanging, name="mine")])
        asker = Asker(gateway, "blocking", model="mine")
        assert eventually(lambda: gateway.stats().in_flight == 1)

        with took(CUT_S, 1.0 + PROMPT_S):
            gateway.close(timeout=CUT_S)
        with took(0.0):
            gateway.close()

        assert "closed" == gateway.health()["status"]
        release.set()
        asker.join()

    @pytest.mark.parametrize("color", COLORS)
    def test_cuts_at_once_without_a_timeout(self, colour: Colour, server: ScriptedServer, color: str) -> None:
        """
        `close(timeout=0)` waits for nobody.
        """
        server.always([Hang()])
        gateway = Gateway(config(server))
        asker = Asker(gateway, color)
        assert server.wait_requests(1)

        with took(0.0):
            colour.close(gateway, timeout=0)

        asker.join()
        assert GatewayClosed is type(asker.error)
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("color", COLORS)
    def test_cuts_calls_that_share_a_request(self, colour: Colour, server: ScriptedServer, color: str) -> None:
        """
        Whoever waits for another one's answer is cut with it.
        """
        server.always([Hang()])
        gateway = Gateway(config(server, cache={"enabled": True}))
        askers = [Asker(gateway, each) for each in (color, *COLORS)]
        assert server.wait_requests(1)
        time.sleep(0.02)

        with took(CUT_S):
            colour.close(gateway, timeout=CUT_S)

        for asker in askers:
            asker.join()
        assert [GatewayClosed] * 3 == [type(asker.error) for asker in askers]
        assert server.wait_closed(2.0)


class TestTwiceAndEverywhere:
    def test_is_harmless_twice(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A closed gateway can be closed again, in either colour.
        """
        server.always(chat("hello"))
        gateway = Gateway(config(server))
        colour.chat(gateway)

        for _ in range(2):
            colour.close(gateway)
            gateway.close()
            asyncio.run(gateway.aio.close())

        assert server.wait_closed(2.0)

    def test_twice_at_once(self, server: ScriptedServer) -> None:
        """
        Two threads and an event loop that close at the same time all wait for the calls in flight, and nobody fails.
        """
        server.always([Pause(0.15), *chat("hello")])
        gateway = Gateway(config(server))
        asker = Asker(gateway, "asyncio")
        assert server.wait_requests(1)
        failed: list[BaseException] = []

        def close(how: Callable[[], object]) -> None:
            try:
                how()
                assert 0 == gateway.stats().in_flight
            except BaseException as error:
                failed.append(error)

        ways: list[Callable[[], object]] = [gateway.close, gateway.close, lambda: asyncio.run(gateway.aio.close())]
        threads = [threading.Thread(target=close, args=(way,)) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5.0)
        asker.join()

        assert ([], "hello") == (failed, asker.text)
        assert server.wait_closed(2.0)

    def test_with_and_async_with(self, server: ScriptedServer) -> None:
        """
        The end of a `with` or `async with` closes, also when something is raised in it.
        """
        server.always(chat("hello"))
        plain = Gateway(config(server))
        with pytest.raises(KeyError), plain:
            plain.chat("fast", "hello")
            raise KeyError
        asynchronous = Gateway(config(server))

        async def main() -> None:
            async with asynchronous.aio as aio:
                await aio.chat("fast", "hello")
                raise KeyError

        with pytest.raises(KeyError):
            asyncio.run(main())

        assert ["closed", "closed"] == [gateway.health()["status"] for gateway in (plain, asynchronous)]
        assert server.wait_closed(2.0)

    def test_closes_the_connections_of_every_event_loop(self, server: ScriptedServer) -> None:
        """
        Connections of loops that run in other threads, of a loop that stands still and of plain threads are all closed when
        `close` returns.
        """
        server.always(chat("hello"))
        gateway = Gateway(config(server))
        over = threading.Event()

        async def stay() -> None:
            await gateway.aio.chat("fast", "hello")
            await asyncio.to_thread(over.wait, 5.0)

        threads = [threading.Thread(target=lambda: asyncio.run(stay())) for _ in range(3)]
        for thread in threads:
            thread.start()
        with asyncio.Runner() as standing_still:
            standing_still.run(gateway.aio.chat("fast", "hello"))
            gateway.chat("fast", "hello")
            assert server.wait_requests(5)
            assert 5 == server.connections_open

            with took(0.0):
                gateway.close()

            assert server.wait_closed(1.0)
            standing_still.run(asyncio.sleep(0))
        over.set()
        for thread in threads:
            thread.join(5.0)

    def test_inside_a_running_loop(self, server: ScriptedServer) -> None:
        """
        Plain `close` inside a running event loop waits for nothing, because it would wait for itself: the loop's own calls
        are cut, and its connections are closed at its next turn.
        """
        server.always([Hang()])

        async def main() -> None:
            gateway = Gateway(config(server))
            call = asyncio.create_task(gateway.aio.chat("fast", "hello"))
            await asyncio.to_thread(server.wait_requests, 1)

            with took(0.0):
                gateway.close()
            with pytest.raises(GatewayClosed):
                await call

            assert 0 == gateway.stats().in_flight
            assert await asyncio.to_thread(server.wait_closed, 1.0)

        asyncio.run(main())

    def test_at_the_end_of_the_loop(self, server: ScriptedServer) -> None:
        """
        The same as the very last thing that a loop does.
        """
        server.always(chat("hello"))

        async def main() -> None:
            gateway = Gateway(config(server))
            await gateway.aio.chat("fast", "hello")
            gateway.close()

        asyncio.run(main())

        assert server.wait_closed(1.0)

    def test_from_the_last_call_itself(self, server: ScriptedServer) -> None:
        """
        A call whose own middleware closes the gateway is cut like the others.
        """
        server.always(chat("hello"))

        async def ending(call: Any, call_next: Any) -> Any:
            gateway.close(timeout=CUT_S)
            return await call_next(call)

        gateway = Gateway(config(server), middleware=[ending])

        with took(CUT_S, 1.0 + PROMPT_S), pytest.raises(GatewayClosed):
            gateway.chat("fast", "hello")

        assert [] == server.requests

    def test_leaves_no_thread(self, server: ScriptedServer) -> None:
        """
        A gateway with health checks, calls of both colours and a cache on disk leaves no thread behind.
        """
        server.always(chat("hello"))
        before = set(threading.enumerate())
        gateway = Gateway(config(server, load_balance={"health_check": 0.02}))
        gateway.chat("fast", "hello")
        asyncio.run(gateway.aio.chat("fast", "hello"))
        assert server.wait_requests(4)

        gateway.close()

        assert eventually(lambda: set(threading.enumerate()) <= before)
        assert server.wait_closed(1.0)

    def test_a_call_that_found_the_door_open_is_refused_inside(self) -> None:
        """
        A gateway that is closed between a call's first look at it and its being counted refuses the call all the same.
        """
        asked: list[Any] = []

        class Slow(Function):
            def bind(self, model: str, key: int = 0) -> Any:
                gateway.close()
                return super().bind(model, key)

        gateway = Gateway(providers=[Slow(asked.append, name="slow")])

        with pytest.raises(GatewayClosed):
            gateway.chat("slow/x", "hello")

        assert [] == asked

    def test_a_call_that_slips_in_is_refused_or_waited_for(self, server: ScriptedServer) -> None:
        """
        However close a call and `close` come together, the call is answered or refused, and nothing stays open.
        """
        server.always(chat("hello"))
        for _ in range(30):
            gateway = Gateway(config(server))
            askers = [Asker(gateway, "blocking") for _ in range(4)]
            gateway.close()
            assert 0 == gateway.stats().in_flight
            for asker in askers:
                asker.join()
                assert "hello" == asker.text or isinstance(asker.error, GatewayClosed), asker.error
        assert server.wait_closed(2.0)


class TestRunningOut:
    """What happens with gateways that nobody closes."""

    @pytest.mark.parametrize(
        "ending",
        [
            """
make().chat('fast', 'hello')
[chunk for chunk in make().stream('fast', 'hello')]
gateway = make()
gateway.chat('fast', 'hello')
del gateway
make()
wrapped = make().wrap(len)('abc')
""",
            """
gateway, other = make(), make()
asyncio.run(gateway.aio.chat('fast', 'hello'))
gateway.chat('fast', 'hello')
with asyncio.Runner() as runner:
    runner.run(other.aio.chat('fast', 'hello'))
""",
            """
gateway, other = make(load_balance={"health_check": "20ms"}), make()
gateway.chat('fast', 'hello')
time.sleep(0.1)
threading.Thread(target=other.chat, args=('fast', 'hello')).start()
""",
        ],
        ids=["plain", "asyncio", "threads"],
    )
    def test_makes_no_noise_at_the_end_of_the_interpreter(self, server: ScriptedServer, ending: str) -> None:
        """
        A gateway that is never closed ends with the program, without a warning, a traceback or a delay.
        """
        server.on(lambda request: stream(["hello"]) if b'"stream":true' in request.body else chat("hello"))
        program = f"""
import asyncio, logging, threading, time
from llmgate import Gateway

logging.getLogger("asyncio").setLevel(logging.ERROR)  # a busy machine makes steps slow, and its debugger says so

def make(**sections):
    providers = {{"up": {{"kind": "openai-compatible", "base_url": {server.base_url!r}}}}}
    return Gateway({{"providers": providers, "routes": {{"fast": ["up/a"]}}, "cache": {{"enabled": True}}, **sections}})
{ending}
"""
        began = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd=Path(__file__).parent.parent,
        )

        assert ("", 0) == (ran.stderr, ran.returncode)
        assert time.monotonic() - began < 8
        assert server.wait_closed(1.0)

    def test_an_error_is_no_reason_to_keep_a_gateway(self, server: ScriptedServer) -> None:
        """
        A dropped gateway is collected, although errors of its calls may live on.
        """
        import gc
        import weakref

        server.always(error(400))
        kept: list[GatewayError] = []
        gateway = Gateway(config(server))
        try:
            gateway.chat("fast", "hello")
        except GatewayError as failure:
            kept.append(failure.with_traceback(None))
        ghost = weakref.ref(gateway)

        gateway.close()
        del gateway
        gc.collect()

        assert None is ghost()
        assert 400 == kept[0].status
