"""Calls that share one request: who gets what, who may leave, who takes over."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.errors import (
    AllAttemptsFailed,
    BadRequest,
    DeadlineExceeded,
    GatewayError,
    LimitReached,
    RateLimited,
    UpstreamError,
)
from llmgate.middleware.cache import Cache
from llmgate.middleware.single_flight import Sharing, SingleFlight, _Landing
from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.drive import drive
from llmgate.runtime.virtual import VirtualTask
from llmgate.testing import Delay, Script, VirtualRuntime, call_for
from llmgate.types.call import CacheControl, Call, Handler, Options
from llmgate.types.deployment import Deployment
from llmgate.types.reply import Reply
from llmgate.types.response import Answer, Choice, Response
from llmgate.types.usage import Usage

OPENAI = Deployment("openai/gpt", "openai", "gpt")


class Upstream:
    """Takes its time, and keeps count of who is being served."""

    def __init__(self, *items: Any, takes_s: float = 1.0) -> None:
        self.items = list(items)
        self.takes_s = takes_s
        self.calls: list[Call] = []
        self.ended_s: list[float] = []
        self.now = self.most = self.cancelled = 0

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        item = self.items[min(len(self.calls), len(self.items)) - 1]
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await call.runtime.sleep(self.takes_s)
        except BaseException:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1
            self.ended_s.append(call.runtime.now())
        if isinstance(item, BaseException):
            raise item
        usage = Usage(9, 12, cost=Decimal("0.5"))
        answer = Response(usage=usage, raw={"a": []}, choices=[Choice(text=item, finish_reason="stop")])
        return Reply.of(answer, deployment=OPENAI, request_id="req-1")


class Air:
    """A single flight on virtual time, and callers that come and go."""

    def __init__(self, *items: Any, takes_s: float = 1.0, seed: int | None = None, **options: Any) -> None:
        self.runtime = VirtualRuntime(seed)
        self.upstream = Upstream(*items, takes_s=takes_s)
        handler = SingleFlight(**options).wrap(self.upstream)
        assert isinstance(handler, Sharing)
        self.sharing = handler

    def call(self, prompt: str = "hello", deadline: float = math.inf, stream: bool = False, **options: Any) -> Call:
        return call_for(
            self.runtime, prompt, stream=stream, deadline=deadline, options=Options(**options), fingerprint="route"
        )

    def caller(self, *args: Any, **options: Any) -> VirtualTask:
        return self.runtime.spawn(self.asked(self.call(*args, **options)))

    async def asked(self, call: Call) -> tuple[Response, Reply]:
        reply = await self.sharing(call)
        answer = await reply.response()
        assert isinstance(answer, Response)
        return answer, reply

    def land(self) -> None:
        """Let everybody come to an end."""
        self.runtime.run_until_idle()
        assert 0 == len(self.sharing.flights)
        assert 0 == self.upstream.now


def said(task: VirtualTask) -> Any:
    """The text a caller got, or the error."""
    try:
        return task.result()[0].text
    except BaseException as error:
        return error


def test_identical_calls_share_one_request() -> None:
    """
    Whoever asks while the same question is in the air gets the same answer.
    """
    air = Air("one")
    callers = [air.caller() for _ in range(5)]
    air.land()

    assert ["one"] * 5 == [said(caller) for caller in callers]
    assert 1 == len(air.upstream.calls)


def test_different_calls_do_not() -> None:
    """
    Another question, another tenant or another namespace is asked on its own.
    """
    air = Air("one")
    callers = [
        air.caller("a"), air.caller("b"), air.caller("a", tenant="x"),
        air.caller("a", cache=CacheControl(namespace="n")),
    ]  # fmt: skip
    air.land()

    assert ["one"] * 4 == [said(caller) for caller in callers]
    assert 4 == air.upstream.most


@pytest.mark.parametrize(
    "options",
    [{"stream": True}, {"cache": CacheControl(read=False)}, {"cache": CacheControl(write=False)}],
    ids=["streams", "no-cache", "no-store"],
)
def test_some_go_alone(options: dict[str, Any]) -> None:
    """
    Streams, and calls that want an answer of their own, are not shared.
    """
    air = Air("one")
    for _ in range(3):
        air.caller(**options)
    air.land()

    assert 3 == air.upstream.most


def test_sampled_calls_go_alone() -> None:
    """
    Who asks with a temperature above 0 wants several answers; unless caching was asked for.
    """

    def together(control: CacheControl | None = None) -> int:
        air = Air("one")
        for _ in range(3):
            call = air.call(cache=control)
            call.request.body["temperature"] = 1
            air.runtime.spawn(air.asked(call))
        air.land()
        return air.upstream.most

    assert (3, 1) == (together(), together(CacheControl(asked=True)))


def test_a_later_call_is_asked_anew() -> None:
    """
    When the answer has arrived the flight is over.
    """
    air = Air("one", "two")
    first = air.caller()
    air.land()
    second = air.caller()
    air.land()

    assert ("one", "two") == (said(first), said(second))


def test_when_there_is_no_room_calls_go_alone() -> None:
    """
    Beyond the bound calls are not shared, and not refused.
    """
    air = Air("one", max_flights=1)
    callers = [air.caller("a"), air.caller("b"), air.caller("b"), air.caller("a")]
    air.land()

    assert ["one"] * 4 == [said(caller) for caller in callers]
    assert 3 == air.upstream.most


# What everybody gets.


def test_everybody_has_an_answer_of_its_own() -> None:
    """
    Changing one answer changes no other, whoever's it is.
    """
    air = Air("one")

    async def changing() -> Response:
        answer, _ = await air.asked(air.call())
        answer.raw["a"].append("changed")
        answer.choices[0].text += "!"
        return answer

    callers = [air.runtime.spawn(changing()) for _ in range(3)]
    air.land()
    answers = [caller.result() for caller in callers]

    assert ["one!"] * 3 == [answer.text for answer in answers]
    assert [["changed"]] * 3 == [answer.raw["a"] for answer in answers]


def test_tokens_and_money_are_counted_once() -> None:
    """
    One of those who share pays, the others had it for nothing; all know who answered.
    """
    air = Air("one")
    callers = [air.caller() for _ in range(3)]
    air.land()
    answers, replies = zip(*[caller.result() for caller in callers], strict=True)

    assert [Decimal("0.5"), 0, 0] == [answer.cost for answer in answers]
    assert [21, 0, 0] == [reply.usage.total_tokens for reply in replies]
    assert [21] * 3 == [answer.usage.total_tokens for answer in answers]
    assert [OPENAI, None, None] == [reply.deployment for reply in replies]
    assert ["openai/gpt"] * 2 == [answer.deployment for answer in answers[1:]]
    assert ["req-1"] * 3 == [reply.request_id for reply in replies]


def test_a_failure_of_the_upstream_is_everybodys() -> None:
    """
    Each gets the error as an object of its own, with its kind, its attempts and its cause.
    """
    error = RateLimited("slow down", retry_after=7.0, deployment="openai/gpt")
    error.__cause__ = OSError("reset")
    air = Air(error)
    callers = [air.caller() for _ in range(3)]
    air.land()
    errors = [said(caller) for caller in callers]

    assert 1 == len(air.upstream.calls)
    assert [("slow down", 7.0, "openai/gpt", error.__cause__)] * 3 == [
        (e.message, e.retry_after, e.deployment, e.__cause__) for e in errors
    ]
    assert 3 == len({id(e) for e in errors})
    assert 3 == len({id(e.__traceback__) for e in errors})


def test_a_group_of_failures_is_copied_with_its_members() -> None:
    """
    Nobody shares even the errors inside of an AllAttemptsFailed.
    """
    air = Air(AllAttemptsFailed("all failed", [LimitReached("full"), UpstreamError("broke")]))
    callers = [air.caller() for _ in range(2)]
    air.land()
    one, other = [said(caller) for caller in callers]

    assert 1 == len(air.upstream.calls)
    assert ["full", "broke"] == [e.message for e in one.exceptions] == [e.message for e in other.exceptions]
    assert not {id(e) for e in one.exceptions} & {id(e) for e in other.exceptions}
    assert other.telling in other.exceptions


@pytest.mark.parametrize(
    "error",
    [
        LimitReached("full"),
        DeadlineExceeded("late"),
        ValueError("a bug"),
        AllAttemptsFailed("all", [LimitReached("full")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_of_ones_own_is_not_the_others(error: Exception) -> None:
    """
    What a limit, a deadline or a bug did to one call it did not do to the next, which asks by itself.
    """
    air = Air(error, "two")
    callers = [air.caller() for _ in range(3)]
    air.land()

    assert [error, "two", "two"] == [said(caller) for caller in callers]
    assert (2, 1) == (len(air.upstream.calls), air.upstream.most)


def test_each_is_the_pilot_once_at_most() -> None:
    """
    If all fail for reasons of their own, each has tried once, one after the other.
    """
    air = Air(*[LimitReached(f"full {number}") for number in range(4)])
    callers = [air.caller() for _ in range(4)]
    air.land()

    assert [f"full {number}" for number in range(4)] == [said(caller).message for caller in callers]
    assert (4, 1) == (len(air.upstream.calls), air.upstream.most)


# Who leaves.


def after(air: Air, seconds: float, do: Callable[[], object]) -> None:
    async def later() -> None:
        await air.runtime.sleep(seconds)
        do()

    air.runtime.spawn(later())


@pytest.mark.parametrize("leaver", [0, 1, 2])
def test_a_cancelled_caller_leaves_alone(leaver: int) -> None:
    """
    Whichever of those who share is cancelled, the one who asked or another, the rest get the one answer.
    """
    air = Air("one")
    callers = [air.caller() for _ in range(3)]
    after(air, 0.5, callers[leaver].cancel)
    air.land()

    assert isinstance(said(callers.pop(leaver)), asyncio.CancelledError)
    assert ["one"] * 2 == [said(caller) for caller in callers]
    assert (1, 0) == (len(air.upstream.calls), air.upstream.cancelled)


def test_the_last_one_out_cancels_the_request() -> None:
    """
    When nobody waits any more, nobody is asked any more.
    """
    air = Air("one")
    callers = [air.caller() for _ in range(3)]
    for number, caller in enumerate(callers):
        after(air, 0.25 * (number + 1), caller.cancel)
    air.land()

    assert [asyncio.CancelledError] * 3 == [type(said(caller)) for caller in callers]
    assert 1 == air.upstream.cancelled
    assert [0.75] == air.upstream.ended_s


def test_nobody_waits_past_its_deadline() -> None:
    """
    A caller with less time leaves at its own deadline, the pilot like any other; the rest wait on.
    """
    air = Air("one", takes_s=10.0)
    callers = [air.caller(deadline=deadline) for deadline in (3.0, 5.0, 20.0)]
    ends: list[float] = []
    for caller in callers:
        air.runtime.spawn(noted(air, caller, ends))
    air.land()

    assert [DeadlineExceeded, DeadlineExceeded, str] == [type(said(caller)) for caller in callers]
    assert [3.0, 5.0, 10.0] == ends
    assert 1 == len(air.upstream.calls)


async def noted(air: Air, caller: VirtualTask, ends: list[float]) -> None:
    await caller.wait()
    ends.append(air.runtime.now())


class Punctual(Upstream):
    """Keeps to its deadline, and says so itself."""

    async def __call__(self, call: Call) -> Reply:
        try:
            return await call.runtime.within(call.deadline, super().__call__(call))
        except TimeoutError:
            # An orderly end takes its time.
            await call.runtime.sleep(0.02)
            raise DeadlineExceeded("openai/gpt was too slow") from None


def test_the_request_itself_says_that_it_was_late() -> None:
    """
    Where the request keeps to the same deadline as its caller, the caller gets the request's own error.
    """
    air = Air("one")
    air.sharing._next = Punctual("one", takes_s=10.0)
    caller = air.caller(deadline=3.0)
    air.runtime.run_until_idle()

    assert "openai/gpt was too slow" == said(caller).message


def test_a_caller_with_time_left_takes_over() -> None:
    """
    If the request died of its caller's deadline, the next one with time left asks again.
    """
    air = Air("one")
    punctual = Punctual("one", takes_s=4.0)
    air.sharing._next = punctual
    first, later = air.caller(deadline=3.0), []
    after(air, 1.0, lambda: later.append(air.caller(deadline=20.0)))
    air.runtime.run_until_idle()

    assert [DeadlineExceeded, str] == [type(said(first)), type(said(later[0]))]
    assert [3.0, 7.02] == punctual.ended_s


def test_a_request_lasts_as_long_as_anybody_waits() -> None:
    """
    A caller with more time gives it to the request, but not to the one who asked.
    """
    air = Air("one")
    call = air.call(deadline=3.0)
    air.runtime.spawn(air.asked(call))
    after(air, 1.0, lambda: air.caller(deadline=8.0))
    air.land()

    assert 8.0 == air.upstream.calls[0].deadline
    assert 3.0 == call.deadline


def test_a_task_cancelled_before_its_first_step_is_noticed() -> None:
    """
    If the work is thrown away before it began, the next caller does it.
    """
    air = Air("one")
    detached: list[VirtualTask] = []

    class Careless(VirtualRuntime):
        def detach(self, work: Any, over: Any) -> VirtualTask:
            detached.append(super().detach(work, over))
            if len(detached) == 1:
                detached[0].cancel()
            return detached[-1]

    air.runtime = Careless()
    first, second = air.caller(), air.caller()
    air.land()

    assert isinstance(said(first), GatewayError)
    assert "one" == said(second)
    assert (2, 1) == (len(detached), len(air.upstream.calls))


def test_a_landing_between_two_glances_is_noticed() -> None:
    """
    An answer that another thread brings in the moment before a caller has its bell is not waited for.
    """

    class Preempted(VirtualRuntime):
        meanwhile: Callable[[], object] | None = None

        def signal(self) -> Any:
            bell, meanwhile, self.meanwhile = super().signal(), self.meanwhile, None
            if meanwhile is not None:
                meanwhile()
            return bell

    air = Air("late", takes_s=5.0)
    air.runtime = runtime = Preempted()
    pilot, others = air.caller(), []
    call = air.call()

    def board() -> None:
        (flight,) = air.sharing.flights._flights.values()
        assert flight.pilot is not None
        landing = _Landing(Response(choices=[Choice(text="soon")]), None, None)
        runtime.meanwhile = partial(air.sharing._land, call, flight.pilot, landing)
        others.append(runtime.spawn(air.asked(call)))

    after(air, 1.0, board)
    runtime.run_until_idle()

    assert ["soon", "soon"] == [said(pilot), said(others[0])]


def test_a_caller_cancelled_when_it_is_its_turn_passes_it_on() -> None:
    """
    Whoever is to take over and is cancelled before it can leaves the request to the next.
    """
    air = Air("three")
    callers: list[VirtualTask] = []

    async def upstream(call: Call) -> Reply:
        if len(air.upstream.calls) == 0:
            air.upstream.calls.append(call)
            await call.runtime.sleep(1.0)
            callers[1].cancel()
            raise LimitReached("full")
        return await air.upstream(call)

    air.sharing._next = upstream
    callers += [air.caller() for _ in range(3)]
    air.land()

    assert [LimitReached, asyncio.CancelledError, str] == [type(said(caller)) for caller in callers]
    assert 2 == len(air.upstream.calls)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_whatever_happens_nothing_is_left_over(seed: int, data: st.DataObject) -> None:
    """
    Callers come, are cancelled at any step, time out, fail: one request at a time is in the air, everybody comes to
    an end, and nothing is left.
    """
    outcomes = st.sampled_from(["one", "two", RateLimited("slow"), LimitReached("full"), ValueError("bug"), "three"])
    air = Air(
        *data.draw(st.lists(outcomes, min_size=1, max_size=6)),
        takes_s=data.draw(st.sampled_from([0.0, 1.0, 3.0])),
        seed=seed,
    )
    moments = st.sampled_from([0.0, 0.5, 1.0, 1.5, 3.0])
    arrivals = data.draw(
        st.lists(
            st.tuples(moments, st.sampled_from([0.5, 1.0, 2.0, math.inf]), st.none() | moments), min_size=1, max_size=8
        )
    )
    callers: list[VirtualTask] = []

    async def arrive(when: float, deadline: float, cancel: float | None) -> None:
        await air.runtime.sleep(when)
        callers.append(air.caller(deadline=when + deadline))
        if cancel is not None:
            if cancel:
                await air.runtime.sleep(cancel)
            callers[-1].cancel()

    async def everything() -> None:
        tasks = [air.runtime.spawn(arrive(*arrival)) for arrival in arrivals]
        for task in tasks:
            await task.wait()
        for caller in list(callers):
            await caller.wait()

    air.runtime.run(everything())
    air.land()

    assert all(caller.done for caller in callers)
    # One that was given up may still be on its way out when the next begins.
    assert air.upstream.most <= 1 + air.upstream.cancelled
    for caller in callers:
        assert isinstance(
            said(caller), (str, RateLimited, LimitReached, ValueError, DeadlineExceeded, asyncio.CancelledError)
        )


# With a cache before it.


def test_behind_a_cache_the_answer_is_kept_once() -> None:
    """
    The cache's key is the flight's key, and of those who share one writes the answer down.
    """
    runtime = VirtualRuntime()
    upstream = Upstream("one")
    cache: Any = Cache(sampled=True).wrap(SingleFlight().wrap(upstream))

    async def asked() -> str:
        call = call_for(runtime, fingerprint="route")
        call.request.body["temperature"] = 1
        answer: Any = await (await cache(call)).response()
        return str(answer.text)

    callers = [runtime.spawn(asked()) for _ in range(4)]
    runtime.run_until_idle()

    assert ["one"] * 4 == [caller.result() for caller in callers]
    assert 1 == len(upstream.calls)
    assert 1 == cache.stats()["memory"].stores
    assert "one" == runtime.run(asked())
    assert 1 == len(upstream.calls)


def test_somebody_keeps_the_answer_if_its_caller_has_left() -> None:
    """
    An answer that was paid for is kept, whoever is still there to do it.
    """
    runtime = VirtualRuntime()
    cache: Any = Cache().wrap(SingleFlight().wrap(Upstream("one")))

    async def asked() -> None:
        await (await cache(call_for(runtime, fingerprint="route"))).response()

    first, _ = runtime.spawn(asked()), runtime.spawn(asked())
    runtime.at(0.5, first.cancel)
    runtime.run_until_idle()

    assert 1 == cache.stats()["memory"].stores


def test_another_request_than_the_cache_saw_has_another_key() -> None:
    """
    If somebody between cache and flight changes the request, the cache's key is not the flight's.
    """
    runtime = VirtualRuntime()
    upstream = Upstream("one", "two")
    sharing = SingleFlight().wrap(upstream)
    prompts = iter(["a", "b"])

    async def rewritten(call: Call) -> Reply:
        return await sharing(call.but(request=call_for(runtime, next(prompts)).request))

    cache = Cache().wrap(rewritten)

    async def asked() -> Answer:
        return await (await cache(call_for(runtime, fingerprint="route"))).response()

    callers = [runtime.spawn(asked()) for _ in range(2)]
    runtime.run_until_idle()

    assert ["one", "two"] == [caller.result().text for caller in callers]


# On real threads and event loops.


class Gate:
    """An upstream that answers when it is told, on whatever runtime."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.calls = 0

    async def __call__(self, call: Call) -> Reply:
        self.calls += 1
        self.entered.set()
        while not self.open.is_set():
            await call.runtime.sleep(0.001)
        return Reply.of(Response(choices=[Choice(text="one", finish_reason="stop")]))


async def text(handler: Handler, runtime: Any) -> str:
    answer: Any = await (await handler(call_for(runtime, fingerprint="route"))).response()
    return str(answer.text)


def aboard(sharing: Any, count: int) -> None:
    """Wait until so many are aboard."""
    until = time.monotonic() + 5.0
    while sum(len(flight.seats) for flight in list(sharing.flights._flights.values())) < count:
        assert time.monotonic() < until, "they did not come"
        time.sleep(0.001)


@pytest.mark.parametrize("first", ["blocking", "asyncio"])
def test_threads_and_event_loops_share_one_request(first: str) -> None:
    """
    Threads and loops wait for one another's request, whoever made it.
    """
    gate = Gate()
    sharing = SingleFlight().wrap(gate)
    blocking, loop = BlockingRuntime(), AsyncioRuntime()
    found: list[str] = []

    def in_thread() -> None:
        found.append(drive(text(sharing, blocking)))

    def in_loop() -> None:
        async def several() -> list[str]:
            return list(await asyncio.gather(*[text(sharing, loop) for _ in range(3)]))

        found.extend(asyncio.run(several()))

    order = (
        [in_thread, in_loop, in_loop, in_thread] if first == "blocking" else [in_loop, in_thread, in_thread, in_loop]
    )
    threads = [threading.Thread(target=work) for work in order]
    threads[0].start()
    assert gate.entered.wait(5.0)
    for thread in threads[1:]:
        thread.start()
    aboard(sharing, 8)
    gate.open.set()
    for thread in threads:
        thread.join(5.0)

    assert ["one"] * 8 == found
    assert 1 == gate.calls


def test_a_request_whose_loop_is_gone_is_made_by_another() -> None:
    """
    If the event loop that asks is shut down, a caller in a thread asks in its place.
    """
    gate = Gate()
    sharing = SingleFlight().wrap(gate)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(drive(text(sharing, BlockingRuntime()))))

    async def short_lived() -> None:
        task = asyncio.create_task(text(sharing, AsyncioRuntime()))
        while not gate.entered.is_set():
            await asyncio.sleep(0)
        thread.start()
        await asyncio.to_thread(aboard, sharing, 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(short_lived())
    gate.open.set()
    thread.join(5.0)

    assert ["one"] == found
    assert (2, 0) == (gate.calls, len(sharing.flights))  # type: ignore[attr-defined]


def test_a_waiter_whose_loop_is_gone_is_passed_over() -> None:
    """
    If the next in turn lives on a loop that was closed, the one after it takes over.
    """
    released = threading.Event()
    calls: list[Call] = []

    async def upstream(call: Call) -> Reply:
        calls.append(call)
        if len(calls) == 1:
            released.wait(5.0)
            raise LimitReached("full")
        return Reply.of(Response(choices=[Choice(text="two", finish_reason="stop")]))

    sharing: Any = SingleFlight().wrap(upstream)
    found: list[object] = []

    def in_thread() -> None:
        try:
            found.append(drive(text(sharing, BlockingRuntime())))
        except GatewayError as error:
            found.append(error.message)

    first, last = threading.Thread(target=in_thread), threading.Thread(target=in_thread)
    first.start()
    aboard(sharing, 1)
    loop = asyncio.new_event_loop()
    stranded = loop.create_task(text(sharing, AsyncioRuntime()))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    aboard(sharing, 2)
    last.start()
    aboard(sharing, 3)
    loop.close()
    released.set()
    first.join(5.0)
    last.join(5.0)
    # asyncio would complain about it; it is what this test is about.
    stranded._log_destroy_pending = False  # type: ignore[attr-defined]

    assert ["full", "two"] == found
    assert 2 == len(calls)


def test_an_error_is_not_held_on_to() -> None:
    """
    When its callers have forgotten an error it is gone, without waiting for the garbage collector.
    """
    air = Air()
    forgotten: list[weakref.ref[BadRequest]] = []

    async def refuse(call: Call) -> Reply:
        await call.runtime.sleep(1.0)
        raise BadRequest("no")

    async def caller() -> None:
        try:
            await air.asked(air.call())
        except BadRequest as error:
            forgotten.append(weakref.ref(error))

    air.sharing._next = refuse
    gc.disable()
    try:
        for _ in range(3):
            air.runtime.spawn(caller())
        air.land()

        assert [None] * 3 == [error() for error in forgotten]
    finally:
        gc.enable()


def test_a_flight_that_is_off_is_not_there() -> None:
    """
    Switched off, it leaves the handler as it is.
    """
    script = Script(Delay(0.0, "one"))

    assert script is SingleFlight(enabled=False).wrap(script)
