"""One gateway everywhere at once: threads, event loops that come and go, notebooks, forks; limits stay exact, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import Field, PrivateAttr

from llmgate import (
    Gateway,
    GatewayClosed,
    GatewayError,
    LimitReached,
    OpenAICompatible,
    Reply,
    Simulated,
    UpstreamError,
)
from llmgate.middleware.base import attended
from llmgate.policies.keyed import PerKey
from llmgate.runtime.edge import AsyncFace, Door
from llmgate.testing import Hang, Pause, Received, ScriptedServer, VirtualRuntime, chat, error, stream
from llmgate.types.call import Call, Handler
from tests.conftest import Colour


def config(server: ScriptedServer, **sections: Any) -> dict[str, Any]:
    upstream = {"kind": "openai-compatible", "base_url": server.base_url}
    return {"providers": {"up": upstream}, "routes": {"fast": ["up/a"]}} | sections


def clean(gateway: Gateway) -> None:
    """Nothing is left of any call."""
    pipeline = gateway._pipeline
    assert 0 == gateway.stats().in_flight
    for candidate in pipeline.candidates.values():
        assert 0 == candidate.standing.in_flight
    for budget in pipeline._budgets.values():
        assert (0, 0) == (budget.in_flight, budget.retries)
    own = [limiter for limiters in pipeline._own_limiters.values() for limiter in limiters]
    for limiter in [*pipeline._limiters, *own]:
        for each in limiter._limiters() if isinstance(limiter, PerKey) else [limiter]:
            assert each.unoccupied, each  # type: ignore[attr-defined]
    for breaker in pipeline.breakers.values():
        assert [] == breaker._probes


class Counted(OpenAICompatible):
    """Counts the attempts that are in the air, for each model and in all, and remembers the most."""

    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _now: Counter[str] = PrivateAttr(default_factory=Counter)
    most: Counter[str] = Field(default_factory=Counter)

    def bind(self, model: str, key: int = 0) -> Handler:
        ask = super().bind(model, key)

        async def counted(call: Call) -> Reply:
            self._count(model, 1)
            return await attended(ask(call), lambda _: self._count(model, -1))

        return counted

    def _count(self, model: str, step: int) -> None:
        with self._lock:
            for name in (model, "all"):
                self._now[name] += step
                self.most[name] = max(self.most[name], self._now[name])


@contextlib.contextmanager
def switching(interval_s: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval_s)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class TestAllAtOnce:
    @pytest.mark.parametrize("switch_s", [0.005, 1e-6], ids=["as usual", "every microsecond"])
    @pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
    def test_limits_are_exact_and_nothing_leaks(self, server: ScriptedServer, engine: str, switch_s: float) -> None:
        """
        Eight threads and four event loops use one gateway, asking whole, in streams, in vain, and cancelling: the upstream
        never sees more at once, or more in all, than the limits say, nor a dead deployment more often than its breaker
        lets through; and in the end everything is as if nothing had been.
        """
        if engine == "aiohttp":
            pytest.importorskip("aiohttp")

        @server.on
        def script(request: Received) -> Any:
            body = request.json()
            if body["model"] == "dead":
                return error(500)
            return [Pause(0.001), *(stream(["a", "b"]) if body.get("stream") else chat("ab"))]

        rate, burst = 2000.0, 50.0
        limits: list[dict[str, Any]] = [
            {"requests": f"{rate:.0f}/s", "burst": burst},
            {"max_concurrency": 6},
            {"per": "deployment", "max_concurrency": 4},
            {"per": "tenant", "max_concurrency": 5},
        ]
        upstream = Counted(name="up", base_url=server.base_url)
        setup = dict(
            routes={"fast": ["up/a"], "either": ["up/dead", "up/b"]},
            rate_limit=limits,
            circuit_breaker={"threshold": 3, "timeout": "60s"},
            retry={"base_delay": 0, "max_delay": 0},
            http={"engine": engine},
        )
        before = set(threading.enumerate())
        gateway = Gateway(setup, providers=[upstream])
        failed: list[BaseException] = []
        answered: Counter[str] = Counter()

        def plain(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(12):
                route, tenant = chance.choice(["fast", "either"]), chance.choice("xyz")
                try:
                    if chance.random() < 0.5:
                        text = gateway.chat(route, "hello", tenant=tenant).text
                    else:
                        text = "".join(chunk.text for chunk in gateway.stream(route, "hello", tenant=tenant))
                except UpstreamError:
                    text = "in vain"  # too many were being tried again at that moment
                answered[text] += 1

        async def one(chance: random.Random) -> str:
            route, tenant = chance.choice(["fast", "either"]), chance.choice("xyz")
            if chance.random() < 0.5:
                return (await gateway.aio.chat(route, "hello", tenant=tenant)).text
            async with gateway.aio.stream(route, "hello", tenant=tenant) as pieces:
                return "".join([chunk.text async for chunk in pieces])

        async def asynchronous(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(3):
                tasks = [asyncio.create_task(one(chance)) for _ in range(8)]
                for task in tasks:
                    if chance.random() < 0.3:
                        asyncio.get_running_loop().call_later(chance.random() * 0.02, task.cancel)
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(result, str):
                        answered[result] += 1
                    elif not isinstance(result, asyncio.CancelledError | UpstreamError):
                        failed.append(result)
            assert 1 == len(asyncio.all_tasks())

        def guarded(work: Callable[[], object]) -> None:
            try:
                work()
            except BaseException as problem:
                failed.append(problem)

        works: list[Callable[[], object]] = [lambda seed=seed: plain(seed) for seed in range(8)]  # type: ignore[misc]
        works += [lambda seed=seed: asyncio.run(asynchronous(seed)) for seed in range(4)]  # type: ignore[misc]
        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        began = time.monotonic()
        with switching(switch_s):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30.0)
        took = time.monotonic() - began

        assert [] == failed
        assert {"ab"} <= set(answered) <= {"ab", "in vain"}
        assert answered.total() >= 8 * 12
        assert upstream.most["a"] <= 4
        assert upstream.most["b"] <= 4
        assert 2 <= upstream.most["all"] <= 6
        asked = Counter(request.json()["model"] for request in server.requests)
        assert asked["dead"] <= 3 + 3  # what opens the circuit, and what was on its way then
        assert asked.total() <= burst + rate * took
        clean(gateway)
        gateway.close()
        assert server.wait_closed(2.0)
        assert set(threading.enumerate()) <= before

    def test_a_request_limit_is_exact(self, server: ScriptedServer) -> None:
        """
        Of many calls at once, from threads and event loops, exactly as many are let through as the limit says.
        """
        server.always(chat("ab"))
        limit = {"requests_per_minute": 20, "strategy": "sliding_window", "on_limit": "reject"}
        gateway = Gateway(config(server, rate_limit=limit))
        outcomes: Counter[str] = Counter()

        def plain() -> None:
            for _ in range(5):
                with contextlib.suppress(LimitReached):
                    outcomes[gateway.chat("fast", "hello").text] += 1

        async def asynchronous() -> None:
            calls = [gateway.aio.chat("fast", "hello") for _ in range(5)]
            for reply in await asyncio.gather(*calls, return_exceptions=True):
                if not isinstance(reply, BaseException):
                    outcomes[reply.text] += 1

        threads = [threading.Thread(target=plain) for _ in range(8)]
        threads += [threading.Thread(target=lambda: asyncio.run(asynchronous())) for _ in range(4)]
        with switching(1e-6):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10.0)

        assert {"ab": 20} == outcomes
        assert 20 == len(server.requests)
        gateway.close()
        assert server.wait_closed(2.0)

    def test_single_flight_spans_all_colours(self, server: ScriptedServer) -> None:
        """
        The same question from threads and event loops at once is one request.
        """
        server.always([Pause(0.2), *chat("ab")])
        gateway = Gateway(config(server, cache={"enabled": True}))
        texts: list[str] = []

        async def asynchronous() -> None:
            texts.append((await gateway.aio.chat("fast", "hello", temperature=0)).text)

        threads = [
            threading.Thread(target=lambda: texts.append(gateway.chat("fast", "hello", temperature=0).text))
            for _ in range(4)
        ]
        threads += [threading.Thread(target=lambda: asyncio.run(asynchronous())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5.0)

        assert ["ab"] * 8 == texts
        assert 1 == len(server.requests)
        clean(gateway)
        gateway.close()


class TestLoopsThatComeAndGo:
    @pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
    def test_asyncio_run_again_and_again(self, server: ScriptedServer, engine: str) -> None:
        """
        Twenty event loops one after the other use one gateway; each leaves no connection, no task and no warning.
        """
        if engine == "aiohttp":
            pytest.importorskip("aiohttp")
        server.on(lambda request: stream(["a", "b"]) if request.json().get("stream") else chat("ab"))
        gateway = Gateway(config(server, http={"engine": engine}))

        async def main() -> None:
            assert "ab" == (await gateway.aio.chat("fast", "hello")).text
            assert "ab" == "".join([chunk.text async for chunk in gateway.aio.stream("fast", "hello")])
            assert 1 == len(asyncio.all_tasks())

        for _ in range(20):
            asyncio.run(main())
            assert server.wait_closed(2.0)
        gc.collect()

        assert 40 == len(server.requests)
        assert 0 == len(gateway._asyncio._engines)
        clean(gateway)
        gateway.close()

    @pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
    def test_a_loop_that_is_closed_without_ado(self, server: ScriptedServer, engine: str) -> None:
        """
        A loop whose owner ends no generators leaves its connections to the next loop that comes, without a warning.
        """
        if engine == "aiohttp":
            pytest.importorskip("aiohttp")
        server.always(chat("ab"))
        gateway = Gateway(config(server, http={"engine": engine}))
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert "ab" == loop.run_until_complete(gateway.aio.chat("fast", "hello")).text
            loop.close()

        gateway.close()
        gc.collect()

        assert server.wait_closed(2.0)

    def test_a_waiter_whose_loop_is_gone_is_passed_over(self, server: ScriptedServer) -> None:
        """
        A slot that comes free goes to somebody who can still hear of it.
        """
        server.answer([Pause(0.3), *chat("first")])
        server.always(chat("ab"))
        gateway = Gateway(config(server, rate_limit={"max_concurrency": 1}))
        texts: list[str] = []
        first = threading.Thread(target=lambda: texts.append(gateway.chat("fast", "hello").text))
        first.start()
        assert server.wait_requests(1)

        loop = asyncio.new_event_loop()
        lost = loop.create_task(gateway.aio.chat("fast", "hello"))
        loop.run_until_complete(asyncio.sleep(0.02))
        loop.close()
        second = threading.Thread(target=lambda: texts.append(gateway.chat("fast", "hello").text))
        second.start()
        for thread in (first, second):
            thread.join(5.0)

        assert ["first", "ab"] == texts
        assert not lost.done()
        # The lost task can never be run, nor told; let it go without asyncio's complaint about that.
        lost._log_destroy_pending = False  # type: ignore[attr-defined]
        lost.get_coro().close()  # type: ignore[union-attr]
        del lost
        gc.collect()
        clean(gateway)
        gateway.close()
        assert server.wait_closed(2.0)

    def test_plain_calls_inside_a_running_loop(self, server: ScriptedServer) -> None:
        """
        A plain call inside of a running event loop works; the first warns that it blocks the loop, the others do not.
        """
        server.on(lambda request: stream(["a", "b"]) if request.json().get("stream") else chat("ab"))

        asks: list[Callable[[Gateway], object]] = [
            lambda gateway: gateway.chat("fast", "hello"),
            lambda gateway: list(gateway.stream("fast", "hello")),
        ]
        for ask in asks:
            with Gateway(config(server)) as gateway:

                async def main(gateway: Gateway = gateway, ask: Callable[[Gateway], object] = ask) -> str:
                    ask(gateway)
                    ask(gateway)
                    return (await gateway.aio.chat("fast", "hello")).text

                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    assert "ab" == asyncio.run(main())
                assert [RuntimeWarning] == [each.category for each in caught]
                assert "gateway.aio" in str(caught[0].message)
                assert __file__ == caught[0].filename
        assert server.wait_closed(2.0)

    def test_no_call_outside_of_a_loop_warns(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Where nothing is blocked nothing is said.
        """
        server.always(chat("ab"))

        colour.chat(colour.gateway(config(server)))


# Forks.


@contextlib.contextmanager
def held(*locks: Any) -> Iterator[None]:
    """The locks are held by another thread meanwhile."""
    ready, over = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            ready.set()
            over.wait(10.0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert ready.wait(5.0)
    try:
        yield
    finally:
        over.set()
        holder.join()


def in_a_child(work: Callable[[], object]) -> None:
    """Run it in a fork of this process; what it raises fails the test."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks beside threads from 3.12 on; that is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            signal.alarm(8)
            work()
            status = 0
        except BaseException as problem:
            os.write(writing, repr(problem).encode()[:4000])
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert ("", 0) == (said, status), "the child failed, or hung"


def every_lock(gateway: Gateway) -> list[Any]:
    """All locks that a call may want."""
    pipeline = gateway._pipeline
    own = [limiter for limiters in pipeline._own_limiters.values() for limiter in limiters]
    return [
        gateway._lock,
        gateway._blocking._lock,
        gateway._asyncio._lock,
        gateway._stats._lock,
        pipeline._lock,
        *(breaker._lock for breaker in pipeline.breakers.values()),
        *(budget._lock for budget in pipeline._budgets.values()),
        *(candidate.standing._lock for candidate in pipeline.candidates.values()),
        *(limiter._lock for limiter in [*pipeline._limiters, *own]),  # type: ignore[attr-defined]
        pipeline._caching._next.flights._lock,  # type: ignore[union-attr, attr-defined]
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestForks:
    def test_the_child_has_connections_and_locks_of_its_own(self, server: ScriptedServer) -> None:
        """
        A child calls in both colours over connections of its own, whatever locks threads of the parent held; the parent
        goes on with its own connection as if nothing had been.
        """
        server.always(chat("ab"))
        limits = [{"max_concurrency": 4}, {"per": "deployment", "max_concurrency": 4}]
        with Gateway(config(server, rate_limit=limits, cache={"enabled": True})) as gateway:
            gateway.chat("fast", "the parent")

            def child() -> None:
                assert "ab" == gateway.chat("fast", "the child").text
                assert "ab" == asyncio.run(gateway.aio.chat("fast", "the child, too")).text
                assert {"ok": 2} == gateway.stats().outcomes
                clean(gateway)
                gateway.close()

            with held(*every_lock(gateway)):
                in_a_child(child)
            gateway.chat("fast", "the parent again")

            assert {"ok": 2} == gateway.stats().outcomes
        assert [1, 2, 3, 1] == [request.connection for request in server.requests]
        assert server.wait_closed(2.0)

    def test_a_child_without_a_gateway_of_its_own_is_no_harm(self, server: ScriptedServer) -> None:
        """
        A child that only closes the gateway, or lets go of it, takes nothing from the parent.
        """
        server.always(chat("ab"))
        with Gateway(config(server)) as gateway:
            gateway.chat("fast", "hello")

            in_a_child(gateway.close)
            in_a_child(gc.collect)
            gateway.chat("fast", "hello")

        assert [1, 1] == [request.connection for request in server.requests]

    @pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
    def test_a_fork_inside_a_running_loop(self, server: ScriptedServer, engine: str) -> None:
        """
        The event loop of the parent, which the child has a copy of, goes on undisturbed, its open stream included.
        """
        if engine == "aiohttp":
            pytest.importorskip("aiohttp")
        server.on(lambda request: stream(list("abcdef"), gap_s=0.03) if request.json().get("stream") else chat("ab"))

        gateway = Gateway(config(server, http={"engine": engine}))

        async def main() -> None:
            async with gateway.aio as aio:
                await aio.chat("fast", "hello")
                async with aio.stream("fast", "hello") as pieces:
                    text = ""
                    async for chunk in pieces:
                        if text == "" and chunk.text:
                            in_a_child(child)
                        text += chunk.text
                assert "abcdef" == text
                assert "ab" == (await aio.chat("fast", "hello")).text

            assert {"ok": 3} == gateway.stats().outcomes

        def child() -> None:
            assert "ab" == gateway.chat("fast", "hello").text
            assert "ab" == asyncio.run(gateway.aio.chat("fast", "hello")).text
            began = time.monotonic()
            gateway.close()
            assert time.monotonic() - began < 0.5
            gc.collect()

        asyncio.run(main())

        assert [1, 1, 2, 3, 1] == [request.connection for request in server.requests]
        assert server.wait_closed(2.0)

    def test_a_fork_in_the_midst_of_a_plain_stream(self, server: ScriptedServer) -> None:
        """
        A stream that is open at the fork stays the parent's, whatever the child does with its copy.
        """
        server.on(lambda request: stream(list("abcdef"), gap_s=0.03) if request.json().get("stream") else chat("ab"))
        with Gateway(config(server)) as gateway:
            text = ""
            with gateway.stream("fast", "hello") as pieces:
                for chunk in pieces:
                    if text == "" and chunk.text:

                        def child() -> None:
                            assert "ab" == gateway.chat("fast", "hello").text
                            pieces.close()
                            gateway.close()

                        in_a_child(gateway.close)
                        in_a_child(child)
                    text += chunk.text

            assert "abcdef" == text
        assert server.wait_closed(2.0)

    def test_two_threads_of_the_child_come_first(self, server: ScriptedServer) -> None:
        """
        Whoever of the child's threads is the first to call, all use the child's state and connections.
        """
        server.always(chat("ab"))
        with Gateway(config(server)) as gateway:
            gateway.chat("fast", "hello")

            def child() -> None:
                texts: list[str] = []
                threads = [
                    threading.Thread(target=lambda: texts.append(gateway.chat("fast", "hello").text)) for _ in range(8)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert ["ab"] * 8 == texts
                assert {"ok": 8} == gateway.stats().outcomes

            with switching(1e-6):
                in_a_child(child)
            gateway.chat("fast", "hello")

            assert 1 not in {request.connection for request in server.requests[1:-1]}
            assert 1 == server.requests[-1].connection

    def test_children_draw_lots_of_their_own(self) -> None:
        """
        Children do not all wait equally long before a retry, nor choose the same deployment.
        """
        gateway = Gateway(providers=[Simulated()])
        seen = []
        for _ in range(3):
            reading, writing = os.pipe()

            def child(writing: int = writing) -> None:
                gateway.chat("simulated/x", "hello")
                os.write(writing, str(gateway._pipeline._rng.random()).encode())

            in_a_child(child)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                seen.append(pipe.read())
        gateway.close()

        assert 3 == len(set(seen))

    def test_simulated_upstreams_and_caches_on_disk(self, tmp_path: Any) -> None:
        """
        Providers and stores that hold something themselves work on in the child, too.
        """
        tier = {"kind": "sqlite", "path": str(tmp_path / "cache.db")}
        with Gateway({"cache": {"enabled": True, "tiers": [tier]}}, providers=[Simulated()]) as gateway:
            gateway.chat("simulated/x", "hello", temperature=0)

            def child() -> None:
                assert "disk" == gateway.chat("simulated/x", "hello", temperature=0).cached
                assert None is gateway.chat("simulated/x", "other", temperature=0).cached
                gateway.close()

            locks = [lock for lock in [getattr(gateway._pipeline.providers["simulated"], "_lock", None)] if lock]
            with held(*locks):
                in_a_child(child)

            assert "disk" == gateway.chat("simulated/x", "other", temperature=0).cached


class TestSameDecisions:
    def test_every_runtime_decides_alike(self) -> None:
        """
        The same calls to the same upstreams are decided in the same way by threads, event loops and the virtual runtime.
        """
        failures = [
            "ok",
            "rate_limited",
            "overloaded",
            "ok",
            "upstream_error",
            "upstream_error",
            "upstream_error",
            "ok",
        ]
        setup = {
            "providers": {
                "one": {"kind": "simulated", "failures": failures},
                "two": {"kind": "simulated", "failures": ["overloaded", "ok", "authentication_failed"]},
            },
            "routes": {"fast": ["one/x", "two/x"]},
            "retry": {"base_delay": "1ms", "max_delay": "1ms", "jitter": "none"},
            "circuit_breaker": {"threshold": 3},
        }

        def told(outcome: Any) -> Any:
            return [(attempt.deployment, attempt.kind, attempt.reason) for attempt in outcome.attempts]

        def blocking() -> list[Any]:
            found = []
            with Gateway(setup) as gateway:
                for number in range(8):
                    try:
                        found.append(told(gateway.chat("fast", str(number))))
                    except GatewayError as failure:
                        found.append([failure.kind, *told(failure)])
            return found

        async def asynchronous(face: AsyncFace) -> list[Any]:
            found = []
            for number in range(8):
                try:
                    found.append(told(await face.chat("fast", str(number))))
                except GatewayError as failure:
                    found.append([failure.kind, *told(failure)])
            return found

        virtual = VirtualRuntime()
        gateway = Gateway(setup)
        decisions = [
            blocking(),
            asyncio.run(asynchronous(Gateway(setup).aio)),
            virtual.run(asynchronous(AsyncFace(Door(gateway._open, virtual, virtual)))),
        ]

        assert decisions[0] == decisions[1] == decisions[2]
        assert 3 <= sum(len(each) > 1 for each in decisions[0])


def test_hanging_calls_of_other_loops_hold_up_nobody(server: ScriptedServer) -> None:
    """
    A call that hangs on one event loop, or in one thread, does not hold up those of another.
    """
    server.on(lambda request: [Hang()] if request.json()["messages"][0]["content"] == "hang" else chat("ab"))
    gateway = Gateway(config(server))

    def hang(ask: Callable[[], object]) -> None:
        with pytest.raises(GatewayClosed):
            ask()

    asks: list[Callable[[], object]] = [
        lambda: gateway.chat("fast", "hang"),
        lambda: asyncio.run(gateway.aio.chat("fast", "hang")),
    ]
    hanging = [threading.Thread(target=hang, args=(ask,)) for ask in asks]
    for thread in hanging:
        thread.start()
    assert server.wait_requests(2)

    assert "ab" == gateway.chat("fast", "hello").text
    assert "ab" == asyncio.run(gateway.aio.chat("fast", "hello")).text

    gateway.close(timeout=0)
    for thread in hanging:
        thread.join(5.0)
        assert not thread.is_alive()
    assert server.wait_closed(2.0)
