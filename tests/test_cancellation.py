"""
Calls that are cancelled anywhere leave nothing behind.

On the virtual runtime a call through the whole pipeline is cancelled before its first step, before its second, and so on
until it completes, whether it is blocked at that moment or already runnable; the order in which tasks run is shuffled by
seeds. That such a search finds leaks is proved by leaks planted on purpose. On real sockets the same is done at every
suspension of an asyncio task.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

import pytest
from pydantic import ConfigDict

from llmgate import Function, Gateway, GatewayError, Middleware, Reply
from llmgate.policies.concurrency import Slots
from llmgate.policies.queue import GRANTED, QUEUED, Limiter, Ticket, ring
from llmgate.runtime.edge import AsyncFace, Door
from llmgate.runtime.virtual import VirtualRuntime, VirtualTask
from llmgate.testing import Hang, Pause, ScriptedServer, chat, error, http_stream, sse, stream
from llmgate.types.call import Call, Handler
from llmgate.types.wire import WireRequest

LATER_S = 3600.0  # seconds after which every limit is as good as new
SEEDS = (None, *range(8))


# A network on virtual time.


class Line:
    """An answer whose pieces come one after the other, each after a while."""

    def __init__(self, network: Network, status: int, pieces: Sequence[tuple[float, bytes]]) -> None:
        self._network = network
        self._pieces = list(pieces)
        self.status = status
        self.headers: Mapping[str, str] = {}
        network.open.append(self)

    async def read(self, until: float) -> bytes:
        try:
            if self._pieces:
                after_s, data = self._pieces.pop(0)
                await self._network.runtime.within(until, self._network.runtime.sleep(after_s))
                return data
        except BaseException:
            await self.close()
            raise
        await self.close()
        return b""

    async def close(self) -> None:
        if self in self._network.open:
            self._network.open.remove(self)


def whole(text: str) -> list[tuple[float, bytes]]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 2, "completion_tokens": 1}
    body = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    return [(0.5, json.dumps(body).encode())]


def pieces(*texts: str) -> list[tuple[float, bytes]]:
    events = [sse({"id": "1", "choices": [{"index": 0, "delta": {"content": text}}]}) for text in texts]
    end = sse({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + sse("[DONE]")
    return [(0.5, event) for event in events] + [(0.5, end)]


FAILURE = (500, [(0.1, b'{"error": {"message": "broken"}}')])


class Network:
    """Answers requests to each model with the next of its answers; the last one stays."""

    def __init__(self, **answers: Sequence[tuple[int, Sequence[tuple[float, bytes]]]]) -> None:
        self._answers = {model: list(script) for model, script in answers.items()}
        self.runtime: VirtualRuntime
        self.open: list[Line] = []
        self.asked: list[str] = []

    async def __call__(self, request: WireRequest) -> Line:
        await self.runtime.sleep(0.2)
        model = json.loads(request.body)["model"]
        self.asked.append(model)
        script = self._answers[model]
        status, answer = script.pop(0) if len(script) > 1 else script[0]
        return Line(self, status, answer)


# The world of one run.


class World:
    """
    A gateway on virtual time, and tasks that use it.

    Args:
        network: Answers.
        seed: Of the order in which tasks run.
        sections: Of the configuration.
        middleware: More of it.
        limiters: More limiters that must be free in the end.
    """

    def __init__(
        self,
        network: Network,
        seed: int | None,
        sections: Mapping[str, Any],
        middleware: Sequence[Any] = (),
        limiters: Sequence[Limiter] = (),
    ) -> None:
        self.network = network
        self.runtime = network.runtime = VirtualRuntime(seed, network)
        providers = {"up": {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"}}
        self.gateway = Gateway({"providers": providers, **sections}, middleware=middleware)
        self.face = AsyncFace(
            Door(self.gateway._open, self.runtime, self.runtime, timeout_s=self.gateway._pipeline.timeout_s)
        )
        self._limiters = limiters
        self.tasks: list[VirtualTask] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> VirtualTask:
        task = self.runtime.spawn(work)
        self.tasks.append(task)
        return task

    async def chat(self, model: str, text: str, after_s: float = 0.0) -> str:
        """Ask after a while, and have the text, or the kind of the error."""
        if after_s:
            await self.runtime.sleep(after_s)
        try:
            return (await self.face.chat(model, text, temperature=0)).text
        except GatewayError as failure:
            return failure.kind

    def run(self, victim: VirtualTask | None = None, cancel_before: int = -1) -> bool:
        """
        Run everything to its end; whether the victim was still alive when it was to be cancelled.
        """
        step, caught, more = 0, False, True
        while more:
            if step == cancel_before and victim is not None and not victim.done:
                caught = True
                victim.cancel()
            more = self.runtime.step()
            step += 1
        return caught

    def check(self) -> None:
        """Nothing is left of any call."""
        pipeline, now = self.gateway._pipeline, self.runtime.now()
        assert [] == [task for task in self.tasks if not task.done]
        assert [] == self.network.open
        assert 0 == self.gateway._stats.in_flight
        for name, candidate in pipeline.candidates.items():
            assert 0 == candidate.standing.in_flight, name
        for name, breaker in pipeline.breakers.items():
            assert ([], {}) == (breaker._probes, breaker._waiting), name
        for name, budget in pipeline._budgets.items():
            assert (0, 0) == (budget.in_flight, budget.retries), name
        if pipeline._caching is not None:
            assert 0 == len(pipeline._caching._next.flights)  # type: ignore[attr-defined]
        own = [limiter for limiters in pipeline._own_limiters.values() for limiter in limiters]
        for limiter in [*pipeline._limiters, *own, *self._limiters]:
            assert limiter.waiting == 0, limiter  # type: ignore[attr-defined]
            assert limiter.unoccupied, limiter  # type: ignore[attr-defined]
            assert limiter.idle(now + LATER_S), limiter  # type: ignore[attr-defined]


Scenario = Callable[[int | None], tuple[World, VirtualTask]]


def cancelled_everywhere(scenario: Scenario, seeds: Sequence[int | None] = SEEDS) -> int:
    """
    Cancel the victim of the scenario before each step of the run, for each seed. Returns how many runs that were.

    Raises:
        AssertionError: If something is left of a call, with the seed and the step.
    """
    runs = 0
    for seed in seeds:
        step = 0
        while True:
            world, victim = scenario(seed)
            caught = world.run(victim, step)
            runs += 1
            try:
                if caught:
                    with pytest.raises(asyncio.CancelledError):
                        victim.result()
                world.check()
            except AssertionError as leak:
                raise AssertionError(f"seed {seed}, cancelled before step {step}: {leak}") from leak
            if not caught:
                break
            step += 1
    return runs


# Scenarios. Each returns a new world and the task that is to be cancelled.

RETRY = {"base_delay": 1, "max_delay": 2}
LIMITS: list[dict[str, Any]] = [
    {"requests": "1/s", "burst": 1, "tokens_per_minute": 100_000},
    {"max_concurrency": 2},
    {"per": "deployment", "max_concurrency": 1},
]
CHAIN = {"routes": {"fast": ["up/a", "up/b"]}, "retry": RETRY, "rate_limit": LIMITS}


def a_whole_answer(seed: int | None) -> tuple[World, VirtualTask]:
    """It waits for the rate, fails twice at one deployment, waits for the slot of the other, and is put in the cache."""
    network = Network(a=[FAILURE], b=[(200, whole("hello"))])
    world = World(network, seed, CHAIN | {"cache": {"enabled": True}})
    world.start(world.chat("up/b", "in the way"))
    return world, world.start(world.chat("fast", "hello"))


def a_stream(seed: int | None) -> tuple[World, VirtualTask]:
    """The same for a stream, which is read slowly."""
    network = Network(a=[FAILURE], b=[(200, pieces("hel", "lo"))])
    world = World(network, seed, CHAIN)
    world.start(read(world, "up/b"))
    return world, world.start(read(world, "fast"))


async def read(world: World, model: str) -> str:
    async with world.face.stream(model, "hello") as answer:
        text = ""
        async for chunk in answer:
            text += chunk.text
            await world.runtime.sleep(0.1)
        return text


def a_probe(seed: int | None) -> tuple[World, VirtualTask]:
    """The circuit has been opened and has rested; the call is the probe, another one wants to be, too."""
    network = Network(a=[FAILURE, FAILURE, (200, whole("well again"))])
    breaker = {"threshold": 2, "timeout": 10}
    sections = {"routes": {"fast": ["up/a"]}, "retry": "off", "circuit_breaker": breaker}
    world = World(network, seed, sections)
    for _ in range(2):
        world.start(world.chat("fast", "broken"))
    world.run()
    assert "open" == world.gateway._pipeline.breakers["up/a"].state
    victim = world.start(world.chat("fast", "a probe", 20.0))
    world.start(world.chat("fast", "another", 20.3))
    return world, victim


def a_pilot(seed: int | None) -> tuple[World, VirtualTask]:
    """Two identical calls share one request; the first one is cancelled."""
    world, first, _ = two_alike(seed)
    return world, first


def a_passenger(seed: int | None) -> tuple[World, VirtualTask]:
    """The same; the second one is."""
    world, _, second = two_alike(seed)
    return world, second


def two_alike(seed: int | None) -> tuple[World, VirtualTask, VirtualTask]:
    network = Network(a=[FAILURE, (200, whole("hello"))])
    sections = {"routes": {"fast": ["up/a"]}, "retry": RETRY, "rate_limit": LIMITS[1:], "cache": {"enabled": True}}
    world = World(network, seed, sections)
    first, second = (world.start(world.chat("fast", "hello")) for _ in range(2))
    return world, first, second


def a_call_that_hands_on(seed: int | None) -> tuple[World, VirtualTask]:
    """Three calls want the one slot of a deployment; the second, who is given it by the first, is cancelled."""
    network = Network(a=[(200, whole("hello"))])
    world = World(network, seed, {"rate_limit": LIMITS[2:], "retry": "off"})
    return world, [world.start(world.chat("up/a", text)) for text in "123"][1]


SCENARIOS = [a_whole_answer, a_stream, a_probe, a_pilot, a_passenger, a_call_that_hands_on]


class TestEverywhere:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
    def test_a_cancelled_call_leaves_nothing_behind(self, scenario: Scenario) -> None:
        """
        Wherever the call is cancelled: limits, slots, probes, budgets, flights, counts and connections are back.
        """
        assert 50 < cancelled_everywhere(scenario)

    @pytest.mark.parametrize(
        "scenario", [a_whole_answer, a_stream, a_pilot, a_passenger, a_call_that_hands_on], ids=lambda s: s.__name__
    )
    def test_the_others_are_not_cancelled_with_it(self, scenario: Scenario) -> None:
        """
        Whoever shares a limit, a slot or a request with the cancelled call gets its answer all the same.
        """
        world, victim = scenario(None)
        world.run()
        answers = [other.result() for other in world.tasks if other is not victim]
        for seed in SEEDS:
            step, caught = 0, True
            while caught:
                world, victim = scenario(seed)
                caught = world.run(victim, step)
                said = [other.result() for other in world.tasks if other is not victim]
                assert said == answers, f"seed {seed}, cancelled before step {step}"
                step += 1

    def test_every_story_is_told(self) -> None:
        """
        The scenarios do what they say: without a cancellation each goes the whole way.
        """
        asked = {}
        for scenario in SCENARIOS:
            world, victim = scenario(None)
            world.run()
            victim.result()
            asked[scenario.__name__] = "".join(world.network.asked)

        assert {
            "a_whole_answer": "baab",
            "a_stream": "baab",
            "a_probe": "aaa",
            "a_pilot": "aa",
            "a_passenger": "aa",
            "a_call_that_hands_on": "aaa",
        } == asked

    def test_a_stream_that_is_cancelled_is_told_as_cancelled(self) -> None:
        """
        Who is cancelled between two pieces of a stream has not closed it: the statistics say which.
        """
        world = World(Network(a=[(200, pieces("hel", "lo"))]), None, {})

        async def read_on() -> None:
            async for _ in world.face.stream("up/a", "hello"):
                pass

        victim = world.start(read_on())
        while not world.network.open or 0.8 > world.runtime.now():
            world.runtime.step()
        victim.cancel()
        world.run()

        assert {"cancelled": 1} == world.gateway.stats().outcomes
        world.check()

    def test_a_cancelled_probe_is_neutral(self) -> None:
        """
        A probe that is cancelled neither closes the circuit nor opens it again; the next call may be the probe.
        """
        step, caught = 0, True
        while caught:
            world, victim = a_probe(None)
            caught = world.run(victim, step)
            if caught:
                breaker = world.gateway._pipeline.breakers["up/a"]
                assert 1 == breaker.snapshot(world.runtime.now()).openings
                assert "half_open" == breaker.state or 3 == len(world.network.asked)
                probe = world.start(world.chat("fast", "the next"))
                world.run()
                assert "well again" == probe.result()
            step += 1
        assert 5 < step

    def test_who_sent_nothing_has_used_nothing(self) -> None:
        """
        A call that is cancelled in a queue gives back, to the last token, what outer limits had given it.
        """
        limits = [{"tokens_per_minute": 100_000, "requests_per_minute": 10}, *LIMITS[2:]]
        world = World(Network(a=[(200, whole("hello"))]), None, {"rate_limit": limits, "retry": "off"})
        world.start(world.chat("up/a", "first"))
        world.run()
        now, outer = world.runtime.now() + LATER_S, world.gateway._pipeline._limiters[0]
        world.start(world.runtime.sleep(LATER_S))
        world.run()
        assert outer.idle(now)  # type: ignore[attr-defined]
        [inner] = world.gateway._pipeline._own_limiters["up/a"]
        slot = inner.submit(now, 1.0)

        victim = world.start(world.chat("up/a", "second"))
        while not inner.waiting:  # type: ignore[attr-defined]
            world.runtime.step()
        assert not outer.idle(now)  # type: ignore[attr-defined]
        victim.cancel()
        world.runtime.step()

        assert victim.done
        assert now == world.runtime.now()
        assert outer.idle(now)  # type: ignore[attr-defined]
        inner.settle(now, slot, 0.0)
        world.run()
        world.check()


# Leaks that are planted, to prove that they would be found.


class Forgetful(Middleware):
    """Takes a slot, and forgets it if the call fails in any way."""

    slot = "each_attempt"
    model_config = ConfigDict(arbitrary_types_allowed=True)
    slots: Slots

    def wrap(self, call_next: Handler) -> Handler:
        async def held(call: Call) -> Reply:
            ticket = self.slots.submit(call.runtime.now())
            assert ticket.state is GRANTED
            reply = await call_next(call)
            reply.on_end(lambda _: self.slots.settle(call.runtime.now(), ticket) and None)
            return reply

        return held


class Careless(Middleware):
    """Waits for a slot, and overlooks that it may have been given one when it is cancelled."""

    slot = "each_attempt"
    model_config = ConfigDict(arbitrary_types_allowed=True)
    slots: Slots

    def wrap(self, call_next: Handler) -> Handler:
        async def held(call: Call) -> Reply:
            now, slots = call.runtime.now, self.slots
            ticket = slots.submit(now())
            try:
                await self._granted(call, ticket)
            except BaseException:
                if ticket.state is QUEUED:
                    ring(slots, now(), slots.cancel(now(), ticket))
                raise
            try:
                reply = await call_next(call)
            except BaseException:
                ring(slots, now(), slots.settle(now(), ticket))
                raise
            reply.on_end(lambda _: ring(slots, now(), slots.settle(now(), ticket)))
            return reply

        return held

    @staticmethod
    async def _granted(call: Call, ticket: Ticket) -> None:
        while ticket.state is QUEUED:
            signal = call.runtime.signal()
            ticket.wake = signal.set
            await signal.wait(ticket.eta)


class TestPlantedLeaks:
    @pytest.mark.parametrize("leak", [Forgetful, Careless])
    def test_are_found(self, leak: Any) -> None:
        """
        The same search finds a middleware that forgets a slot when it is cancelled, also one that forgets it only in the
        moment between being given the slot and going on.
        """

        def scenario(seed: int | None) -> tuple[World, VirtualTask]:
            slots = Slots(1 if leak is Careless else 9)
            network = Network(a=[(200, whole("hello"))])
            world = World(network, seed, {"retry": "off"}, [leak(slots=slots)], [slots])
            _, second = (world.start(world.chat("up/a", text)) for text in "12")
            return world, second

        world, second = scenario(None)
        world.run()
        assert "hello" == second.result()
        world.check()
        with pytest.raises(AssertionError, match=r"cancelled before step .*: <Slots"):
            cancelled_everywhere(scenario)

    def test_an_overlooked_connection_is_found(self) -> None:
        """
        The search also finds an answer that nobody closes.
        """

        class Sloppy(Network):
            async def __call__(self, request: WireRequest) -> Line:
                line = await super().__call__(request)
                await self.runtime.sleep(0.1)
                return line

        def scenario(seed: int | None) -> tuple[World, VirtualTask]:
            world = World(Sloppy(a=[(200, whole("hello"))]), seed, {"retry": "off"})
            return world, world.start(world.chat("up/a", "hello"))

        with pytest.raises(AssertionError, match="Line"):
            cancelled_everywhere(scenario)


# Real sockets and real event loops.


class Interrupted:
    """
    A coroutine that is cancelled at its suspension number `at`: while it is blocked, or, if `runnable`, in the moment
    between the end of what it waits for and its own next step.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], at: int, runnable: bool) -> None:
        self._work = work
        self._at = at
        self._runnable = runnable
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._work.__await__()
        waits: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits = inner.send(None) if error is None else inner.throw(error)
            except StopIteration as done:
                return done.value
            self.suspensions += 1
            if self.suspensions == self._at:
                if self._runnable and waits is not None:
                    waits.add_done_callback(lambda _: task.cancel())
                else:
                    asyncio.get_running_loop().call_soon(task.cancel)
            error = None
            try:
                yield waits
            except BaseException as raised:
                error = raised


class Resolving(asyncio.SelectorEventLoop):
    """An event loop for which every name has these addresses."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        super().__init__()
        self._addresses = addresses

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in self._addresses]


def config(server: ScriptedServer, **sections: Any) -> dict[str, Any]:
    upstream = {"kind": "openai-compatible", "base_url": server.base_url}
    routes = {"fast": ["up/a", "up/b"]}
    return {"providers": {"up": upstream}, "routes": routes} | sections


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
        assert limiter.unoccupied, limiter  # type: ignore[attr-defined]
    for breaker in pipeline.breakers.values():
        assert [] == breaker._probes
    for engine in [gateway._blocking._engine, *gateway._asyncio._engines.values()]:
        assert not getattr(engine, "_busy", None), engine


REAL = {
    "retry": {"base_delay": "20ms", "max_delay": "20ms"},
    "rate_limit": [{"max_concurrency": 5}, {"per": "deployment", "max_concurrency": 5}],
}


class TestRealSockets:
    @pytest.mark.parametrize("runnable", [False, True], ids=["blocked", "runnable"])
    @pytest.mark.parametrize("verb", ["chat", "stream"])
    @pytest.mark.parametrize(
        ("engine", "addresses"),
        [("httpx2", 1), ("httpx2", 3), ("aiohttp", 1)],
        ids=["httpx2", "several addresses", "aiohttp"],
    )
    def test_a_task_cancelled_at_any_suspension_leaves_nothing_behind(
        self, server: ScriptedServer, engine: str, addresses: int, verb: str, runnable: bool
    ) -> None:
        """
        Connecting, sending, reading, sleeping before a retry, falling back: wherever the task is cancelled, everything
        comes back, no connection in use stays open, and the gateway answers the next call.
        """
        if engine == "aiohttp":
            pytest.importorskip("aiohttp")
        answer = stream(["hel", "lo"], gap_s=0.002) if verb == "stream" else [Pause(0.002), *chat("hello")]
        server.on(lambda request: error(500) if request.json()["model"] == "a" else answer)
        setup = config(server, circuit_breaker="off", http={"engine": engine, "keepalive": 0}, **REAL)
        if addresses > 1:
            setup["providers"]["up"] |= {"base_url": "http://several.test/v1", "allow_http": True}

        async def read(gateway: Gateway) -> str:
            if verb == "chat":
                return (await gateway.aio.chat("fast", "hello")).text  # type: ignore[no-any-return]
            async with gateway.aio.stream("fast", "hello") as pieces:
                return "".join([chunk.text async for chunk in pieces])

        async def main() -> int:
            gateway = Gateway(setup)
            at = 1
            async with gateway.aio:
                while True:
                    attempt = Interrupted(read(gateway), at, runnable)

                    async def run(attempt: Interrupted = attempt) -> Any:
                        return await attempt

                    task = asyncio.create_task(run())
                    try:
                        text = await task
                    except asyncio.CancelledError:
                        assert task.cancelled()
                        clean(gateway)
                    else:
                        assert "hello" == text
                        if attempt.suspensions < at:
                            # What is still open lies idle, and of that there is one.
                            assert await asyncio.to_thread(server._wait, lambda: server.connections_open <= 1, 2.0)
                            return at
                    at += 1
                    assert at < 200

        def loop() -> asyncio.AbstractEventLoop:
            return Resolving([("127.0.0.1", server.port)] * addresses)

        with asyncio.Runner(loop_factory=loop) as runner:
            assert 3 < runner.run(main())
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize(
        "where", ["connect", "headers", "body", "stream", "queue", "retry sleep", "shared request"]
    )
    def test_asyncio_timeout_works_around_a_call(self, server: ScriptedServer, where: str) -> None:
        """
        `asyncio.timeout` ends a call wherever it hangs, at its time, as TimeoutError, and leaves nothing behind.
        """
        scripts: dict[str, Any] = {
            "headers": [Hang()],
            "body": [*http_stream([b'{"id": '], end=False, content_type="application/json"), Hang()],
            "stream": stream(["a", "b"], cut_after=1, ending=Hang()),
            "retry sleep": error(500),
        }
        server.always(scripts.get(where, [Hang()]))
        sections = dict(REAL, cache={"enabled": True}, retry={"base_delay": 9, "max_delay": 9, "jitter": "none"})
        sections["rate_limit"] = [{"max_concurrency": 1 if where == "queue" else 5}]
        setup = config(server, **sections)
        setup["routes"] = {"fast": ["up/a"]}
        if where == "connect":
            setup["providers"]["up"]["base_url"] = server.blackhole_url()

        async def main() -> None:
            gateway = Gateway(setup)
            async with gateway.aio as aio:
                others = []
                if where in ("queue", "shared request"):
                    others.append(asyncio.create_task(aio.chat("fast", "hello", temperature=0)))
                    assert await asyncio.to_thread(server.wait_requests, 1)
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.15):
                        if where == "stream":
                            async for _ in aio.stream("fast", "hello"):
                                pass
                        else:
                            await aio.chat("fast", "hello", temperature=0)
                assert 0.1 < time.monotonic() - began < 0.6
                current = asyncio.current_task()
                assert current is not None and 0 == current.cancelling()
                for other in others:
                    other.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await other
                await asyncio.sleep(0.01)
                clean(gateway)
                assert [] == [task for task in asyncio.all_tasks() if task is not current]

        asyncio.run(main())
        assert server.wait_closed(2.0)

    def test_a_task_group_cancels_the_rest(self, server: ScriptedServer) -> None:
        """
        When one call of a task group fails, the others are cancelled, and the group raises what failed.
        """
        server.on(lambda request: error(400) if request.json()["messages"][0]["content"] == "bad" else [Hang()])

        async def main() -> None:
            gateway = Gateway(config(server, **REAL))
            async with gateway.aio as aio:
                with pytest.raises(ExceptionGroup) as raised:
                    async with asyncio.TaskGroup() as group:
                        calls = [group.create_task(aio.chat("fast", text)) for text in ("good", "bad", "fine")]
                assert ["bad_request"] == [failed.kind for failed in raised.value.exceptions]  # type: ignore[attr-defined]
                assert [True, False, True] == [call.cancelled() for call in calls]
                clean(gateway)

        asyncio.run(main())
        assert server.wait_closed(2.0)

    @pytest.mark.parametrize("colour", ["blocking", "asyncio"])
    def test_a_keyboard_interrupt_leaves_everything_clean(self, server: ScriptedServer, colour: str) -> None:
        """
        KeyboardInterrupt in the midst of a call comes out as it is, counts for nobody, and leaves nothing behind.
        """

        def interrupted(messages: Any, **params: Any) -> str:
            raise KeyboardInterrupt

        limits = [{"max_concurrency": 1}, {"per": "deployment", "max_concurrency": 1}]
        gateway = Gateway(
            {"rate_limit": limits, "cache": {"enabled": True}, "circuit_breaker": {"threshold": 1}},
            providers=[Function(interrupted, name="mine")],
        )
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                if colour == "blocking":
                    gateway.chat("mine", "hello", temperature=0)
                else:

                    async def ask() -> None:
                        await gateway.aio.chat("mine", "hello", temperature=0)

                    asyncio.run(ask())
            clean(gateway)
            assert 0 == len(gateway._pipeline._caching._next.flights)  # type: ignore[union-attr, attr-defined]
        assert "closed" == gateway._pipeline.breakers["mine"].state
        gateway.close()

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timers")
    @pytest.mark.parametrize("where", ["connect", "headers", "stream", "queue", "retry sleep"])
    def test_a_signal_ends_whatever_plain_code_waits_for(self, server: ScriptedServer, where: str) -> None:
        """
        A signal whose handler raises, such as that of Ctrl-C, ends a plain call at once wherever it waits, and nothing is left.
        """
        server.always(
            {"stream": stream(["a"], cut_after=1, ending=Hang()), "retry sleep": error(500)}.get(where, [Hang()])
        )
        sections = dict(REAL, retry={"base_delay": 9, "max_delay": 9, "jitter": "none"})
        sections["rate_limit"] = [{"max_concurrency": 1 if where == "queue" else 5}]
        setup = config(server, **sections) | {"routes": {"fast": ["up/a"]}}
        if where == "connect":
            setup["providers"]["up"]["base_url"] = server.blackhole_url()
        with Gateway(setup) as gateway:
            holder = gateway._pipeline._limiters[0].submit(time.monotonic(), 1.0) if where == "queue" else None

            def interrupt(*_: object) -> None:
                raise KeyboardInterrupt

            before = signal.signal(signal.SIGALRM, interrupt)
            began = time.monotonic()
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(KeyboardInterrupt):
                    list(gateway.stream("fast", "hello")) if where == "stream" else gateway.chat("fast", "hello")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)

            assert time.monotonic() - began < 0.6
            if holder is not None:
                holder.limiter.settle(time.monotonic(), holder, 0.0)
            clean(gateway)
            # After a whole answer a connection lies idle.
            assert where == "retry sleep" or server.wait_closed(2.0)

    def test_a_keyboard_interrupt_while_a_stream_is_read(self, server: ScriptedServer) -> None:
        """
        The same between two pieces of a stream: the connection is closed.
        """
        server.always(stream(["a", "b"], cut_after=1, ending=Hang()))
        with Gateway(config(server, **REAL)) as gateway:
            with pytest.raises(KeyboardInterrupt), gateway.stream("fast", "hello") as pieces:
                for chunk in pieces:
                    if chunk.text:
                        raise KeyboardInterrupt
            clean(gateway)
            assert server.wait_closed(2.0)


class TestDropped:
    def test_a_stream_that_plain_code_drops(self, server: ScriptedServer) -> None:
        """
        A stream that is dropped without being closed warns, gives everything back, and its connection is closed.
        """
        server.always(stream(["a", "b"], cut_after=1, ending=Hang()))
        with Gateway(config(server, **REAL)) as gateway:
            pieces = gateway.stream("fast", "hello").__enter__()

            with pytest.warns(ResourceWarning, match="dropped without being read or closed"):
                del pieces
                gc.collect()

            assert server.wait_closed(2.0)
            clean(gateway)

    @pytest.mark.parametrize("debug", [False, True])
    def test_a_stream_that_a_task_drops(self, server: ScriptedServer, debug: bool) -> None:
        """
        The same on an event loop.
        """
        server.always(stream(["a", "b"], cut_after=1, ending=Hang()))

        async def main() -> None:
            gateway = Gateway(config(server, **REAL))
            async with gateway.aio as aio:
                pieces = await aio.stream("fast", "hello").__aenter__()

                with pytest.warns(ResourceWarning, match="dropped without being read or closed"):
                    del pieces
                    gc.collect()

                assert await asyncio.to_thread(server.wait_closed, 2.0)
                await asyncio.sleep(0)
                clean(gateway)

        asyncio.run(main(), debug=debug)

    @pytest.mark.parametrize("debug", [False, True])
    def test_a_stream_of_an_event_loop_that_another_thread_drops(self, server: ScriptedServer, debug: bool) -> None:
        """
        The garbage collector may run in any thread: the connection is closed by the event loop it belongs to.
        """
        server.always(stream(["a", "b"], cut_after=1, ending=Hang()))
        caught: list[warnings.WarningMessage] = []

        async def main() -> None:
            gateway = Gateway(config(server, **REAL))
            async with gateway.aio as aio:
                held = [await aio.stream("fast", "hello").__aenter__()]

                def drop() -> None:
                    with warnings.catch_warnings(record=True) as seen:
                        warnings.simplefilter("always")
                        held.clear()
                        gc.collect()
                    caught.extend(seen)

                thread = threading.Thread(target=drop)
                thread.start()
                thread.join()
                assert await asyncio.to_thread(server.wait_closed, 2.0)
                clean(gateway)

        asyncio.run(main(), debug=debug)
        assert [ResourceWarning] == [each.category for each in caught]

    def test_the_slot_of_a_dropped_stream_goes_to_whoever_waits(self, server: ScriptedServer) -> None:
        """
        A call that waits for a slot gets the one of a stream that was dropped; nobody else need call for that.
        """
        server.answer(stream(["a", "b"], cut_after=1, ending=Hang()), chat("hello"))
        with Gateway(config(server, rate_limit={"max_concurrency": 1})) as gateway:
            pieces = gateway.stream("fast", "hello").__enter__()
            answers: list[str] = []
            thread = threading.Thread(target=lambda: answers.append(gateway.chat("fast", "hello").text))
            thread.start()
            time.sleep(0.1)

            with pytest.warns(ResourceWarning):
                del pieces
                gc.collect()
            thread.join(3.0)

            assert ["hello"] == answers
            clean(gateway)

    def test_many_dropped_streams_wedge_nothing(self, server: ScriptedServer) -> None:
        """
        A hundred dropped streams are a hundred warnings, and no more connections than before.
        """
        server.always(stream(["a", "b"], cut_after=1, ending=Hang()))
        with Gateway(config(server, **REAL)) as gateway:
            for _ in range(100):
                with pytest.warns(ResourceWarning):
                    gateway.stream("fast", "hello").__enter__()

            assert server.wait_closed(2.0)
            assert {"closed": 100} == gateway.stats().outcomes
            clean(gateway)
