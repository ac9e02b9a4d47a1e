"""`@gateway.wrap(capture=True)`: calls made inside of a function are part of its own call."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from llmgate import (
    ConfigError,
    DeadlineExceeded,
    Function,
    Gateway,
    LimitReached,
    Overloaded,
    Response,
    Simulated,
)
from llmgate.types.call import Call, Handler
from llmgate.types.reply import Outcome, Reply
from llmgate.types.usage import Usage

PRICES = {"pretend/*": {"input": 1, "output": 2}}


class Watching:
    """Keeps every call, and how it ended."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ended: list[tuple[str, Outcome]] = []

    async def __call__(self, call: Call, call_next: Handler) -> Reply:
        self.calls.append(call)
        reply = await call_next(call)
        reply.on_end(lambda outcome: self.ended.append((call.route, outcome)))
        return reply

    def of(self, name: str) -> Call:
        return next(call for call in self.calls if call.route.endswith(name))


@pytest.fixture
def watching() -> Watching:
    return Watching()


def made(watching: Watching | None = None, **config: Any) -> Gateway:
    """A gateway with one upstream that pretends, and one that always fails."""
    settings = {
        "providers": {
            "pretend": {"kind": "simulated"},
            "busy": {"kind": "simulated", "failures": {"overloaded": 1.0}},
            "slow": {"kind": "simulated", "latency": "30s"},
        },
        "prices": PRICES,
        "retry": {"base_delay": 0, "max_delay": 0},
    }
    return Gateway(settings | config, middleware=[] if watching is None else [("outermost", watching)])


@pytest.fixture
def gateway(watching: Watching) -> Iterator[Gateway]:
    with made(watching) as gateway:
        yield gateway


def both(attempts: Any) -> list[tuple[str, str, str]]:
    return [(attempt.deployment, attempt.kind, attempt.inside.rpartition(".")[2]) for attempt in attempts]


class TestSums:
    def test_attempts_tokens_and_money(self, gateway: Gateway, watching: Watching) -> None:
        """
        The answer of a captured function tells the attempts of all calls inside, in order, their tokens and their cost.
        """
        inner: list[Response] = []

        @gateway.wrap(capture=True)
        def ask(question: str) -> Response:
            inner.append(gateway.chat("pretend/a", question))
            inner.append(gateway.chat("pretend/b", inner[0].text))
            return inner[1]

        reply = ask("hello")

        own = f"{ask.__module__}.{ask.__qualname__}"
        assert [("pretend/a", "ok", "ask"), ("pretend/b", "ok", "ask"), (own, "ok", "")] == both(reply.attempts)
        assert sorted(attempt.started_s for attempt in reply.attempts[:2]) == [
            attempt.started_s for attempt in reply.attempts[:2]
        ]
        assert inner[0].usage.plus(inner[1].usage) == reply.usage
        assert inner[0].cost is not None and inner[1].cost is not None
        assert inner[0].cost + inner[1].cost == reply.cost
        assert (inner[1].text, "pretend/b") == (reply.text, reply.deployment)
        assert 1 == len(inner[1].attempts), "those who answered keep what is theirs"
        assert reply.usage == watching.ended[-1][1].usage

    def test_whatever_is_returned(self, gateway: Gateway, watching: Watching) -> None:
        """
        A function that returns no answer of a model has tokens and a cost all the same, for those who count them.
        """

        @gateway.wrap(capture=True)
        def ask(question: str) -> str:
            return gateway.chat("pretend/a", question).text

        ask("hello")

        outer = watching.of("ask")
        assert outer.trail.tally is not None
        assert watching.ended[0][1].usage == watching.ended[1][1].usage == outer.trail.tally.usage
        assert (outer.trail.tally.cost or 0) > 0

    def test_an_sdk_inside(self, gateway: Gateway, watching: Watching) -> None:
        """
        A call that an SDK makes over the gateway's transport is part of the call, in both colours.
        """
        here: dict[str, Any] = {"api_key": "unused", "base_url": "http://llmgate/v1"}
        client = openai.OpenAI(http_client=gateway.http_client(), **here)
        async_client = openai.AsyncOpenAI(http_client=gateway.aio.http_client(), **here)
        hello: Any = [{"role": "user", "content": "hello"}]

        @gateway.wrap(capture=True)
        def ask() -> str:
            client.chat.completions.create(model="pretend/a", messages=hello)
            for _ in client.chat.completions.create(model="pretend/b", messages=hello, stream=True):
                pass
            return "done"

        @gateway.wrap(capture=True)
        async def ask_later() -> str:
            await async_client.chat.completions.create(model="pretend/a", messages=hello)
            async for _ in await async_client.chat.completions.create(model="pretend/b", messages=hello, stream=True):
                pass
            return "done"

        ask()
        asyncio.run(ask_later())

        for name in ("ask", "ask_later"):
            trail = watching.of(f".{name}").trail
            assert trail.tally is not None and trail.tally.usage is not None
            assert (trail.tally.usage.output_tokens or 0) > 4 and (trail.tally.cost or 0) > 0
            assert ["pretend/a", "pretend/b"] == [attempt.deployment for attempt in trail.attempts[:2]]

    def test_totals_count_each_token_and_each_attempt_once(self, gateway: Gateway) -> None:
        """
        The gateway's totals know the calls inside already: the outer one adds a call, and nothing else.
        """
        answers: list[Response] = []

        @gateway.wrap(capture=True)
        def ask() -> Response:
            answers.extend(gateway.chat("pretend/a", word) for word in ("one", "two"))
            return answers[1]

        ask()
        told = gateway.stats()

        assert (3, 2) == (told.calls, told.attempts)
        assert sum(answer.usage.input_tokens or 0 for answer in answers) == told.input_tokens
        assert sum(answer.usage.output_tokens or 0 for answer in answers) == told.output_tokens

    def test_a_run_without_calls_is_an_attempt(self, gateway: Gateway) -> None:
        """
        A captured function that makes no call of the gateway's is counted as any other.
        """
        from_elsewhere = Response(usage=Usage(3, 4))

        assert from_elsewhere is gateway.wrap(capture=True)(lambda: from_elsewhere)()
        told = gateway.stats()
        assert (1, 1, 3, 4) == (told.calls, told.attempts, told.input_tokens, told.output_tokens)

    def test_an_unknown_price_makes_the_sum_unknown(self, gateway: Gateway) -> None:
        """
        If the cost of one call inside is not known, that of the whole is not; its tokens are.
        """

        @gateway.wrap(capture=True)
        def ask() -> Response:
            gateway.chat("pretend/a", "hello")
            return unpriced.chat("pretend/a", "hello")

        with made(prices={}) as unpriced:
            ask_both = unpriced.wrap(capture=True)(lambda: unpriced.chat("pretend/a", "hello"))
            reply = ask_both()
            assert reply.cost is None and (reply.usage.input_tokens or 0) > 0
            # Another gateway is a stranger: what it is asked is no part of the call.
            assert ask().cost == gateway.chat("pretend/a", "hello").cost

    def test_unknown_tokens_make_the_cost_unknown(self) -> None:
        """
        Who does not say what it used may have taken money: the tokens of the others are told, the cost is not.
        """
        own = Function(lambda messages, **params: "hi", name="own")
        with Gateway({"providers": {"pretend": {"kind": "simulated"}}, "prices": PRICES}, providers=[own]) as gateway:

            @gateway.wrap(capture=True)
            def ask() -> Response:
                gateway.chat("own/a", "hello")
                return gateway.chat("pretend/a", "hello")

            reply, single = ask(), gateway.chat("pretend/a", "hello")

        assert (None, single.usage) == (reply.cost, reply.usage)

    def test_what_was_free_is_free(self, watching: Watching) -> None:
        """
        An answer out of the cache adds neither tokens nor money, nor an attempt.
        """
        with made(watching, cache={"ttl": "1h"}) as gateway:
            gateway.chat("pretend/a", "hello", cache=True)

            @gateway.wrap(capture=True, cache=False)
            def ask() -> Response:
                return gateway.chat("pretend/a", "hello", cache=True)

            reply = ask()

        assert (0, Decimal(0)) == (reply.usage.total_tokens, reply.cost)
        assert [""] == [attempt.inside for attempt in reply.attempts]
        assert 1 == gateway.stats().attempts

    def test_kept_with_its_sums(self) -> None:
        """
        Out of the function's own cache the answer has the tokens that it took to make it, and is free.
        """
        with made() as gateway:

            @gateway.wrap(capture=True, cache="1h")
            def ask(question: str) -> Response:
                gateway.chat("pretend/a", question)
                return gateway.chat("pretend/a", question)

            first, again = ask("hello"), ask("hello")

        assert first.usage == again.usage and Decimal(0) == again.cost and "memory" == again.cached

    def test_one_that_fails_and_is_caught(self, gateway: Gateway) -> None:
        """
        The attempts of a call that failed are told as well, and the function goes on as it likes.
        """

        @gateway.wrap(capture=True)
        def ask() -> Response:
            with contextlib.suppress(Overloaded):
                gateway.chat("busy/a", "hello")
            return gateway.chat("pretend/a", "hello")

        reply = ask()

        assert [("busy/a", "overloaded")] * 3 + [("pretend/a", "ok")] == [
            (attempt.deployment, attempt.kind) for attempt in reply.attempts[:4]
        ]
        assert reply.cost == gateway.chat("pretend/a", "hello").cost
        assert 5 == gateway.stats().attempts

    def test_an_answer_that_breaks_off(self) -> None:
        """
        The record of an answer that broke off after it had begun says so in the outer call, too, also beside others.
        """
        with Gateway(
            {"retry": {"enabled": False}}, providers=[Simulated(name="torn", failures=["stream_interrupted"])]
        ) as gateway:

            @gateway.wrap(capture=True)
            def ask() -> Response:
                with pytest.raises(Exception, match=r"."):
                    list(gateway.stream("torn/a", "one two three four five"))
                return Response()

            reply = ask()

        assert ["stream_interrupted", "ok"] == [attempt.kind for attempt in reply.attempts]

    def test_a_generator_that_breaks_off(self, gateway: Gateway, watching: Watching) -> None:
        """
        The record of a generator that failed in the middle says so, and those of its calls say what they said.
        """

        @gateway.wrap(capture=True)
        def items() -> Iterator[str]:
            yield "first"
            yield gateway.chat("pretend/a", "hello").text
            raise ConnectionResetError("cut")

        with pytest.raises(ConnectionResetError):
            list(items())

        told = [(attempt.kind, bool(attempt.inside)) for attempt in watching.of("items").trail.attempts]
        assert [("connection_failed", False), ("ok", True)] == told

    def test_without_capture_nothing_is_captured(self, gateway: Gateway, watching: Watching) -> None:
        """
        Calls inside of a function that does not capture know nothing of it.
        """
        gateway.wrap(lambda: gateway.chat("pretend/a", "hello").text)()

        assert all(call.trail.parent is None and call.trail.tally is None for call in watching.calls)
        assert 1 == len(watching.calls[0].trail.attempts)

    def test_takes_a_switch(self, gateway: Gateway) -> None:
        """
        Anything but True and False is refused.
        """
        with pytest.raises(ConfigError, match=r"wrap\.capture: expected True or False, got str"):
            gateway.wrap(capture="yes")  # type: ignore[call-overload]


class TestTree:
    def test_calls_know_where_they_were_made(self, gateway: Gateway, watching: Watching) -> None:
        """
        Of functions inside of functions each call knows the run it was made in: together they are one tree.
        """

        @gateway.wrap
        def inner() -> str:
            return gateway.chat("pretend/a", "hello").text

        @gateway.wrap(capture=True)
        def outer() -> str:
            return inner() + gateway.chat("pretend/b", "hello").text

        outer()

        top, middle, leaf, last = watching.calls
        assert top.trail.parent is None
        assert (top.trail, top.trail) == (parent_of(middle), parent_of(last))
        assert middle.trail is parent_of(leaf)
        assert leaf.trail.parent is not None and leaf.trail.parent.call.deployment is not None
        assert leaf.trail.parent.call.deployment.name.endswith("inner")
        assert ["inner", "outer", "outer", ""] == [attempt.inside.rpartition(".")[2] for attempt in top.trail.attempts]
        assert top.trail.tally is not None and middle.trail.tally is not None
        assert top.trail.tally.usage == watching.ended[0][1].usage.plus(watching.ended[2][1].usage)  # type: ignore[union-attr,arg-type]
        assert 2 == gateway.stats().attempts

    def test_a_plain_function_that_passes_a_coroutine_on(self, gateway: Gateway, watching: Watching) -> None:
        """
        What is only known by its result to be asynchronous is captured while it is awaited, the first time and later.
        """
        wrapped = gateway.wrap(capture=True, name="ask")(lambda: gateway.aio.chat("pretend/a", "hello"))

        async def main() -> None:
            await wrapped()  # type: ignore[misc]
            await wrapped()  # type: ignore[misc]

        asyncio.run(main())

        inner = [call for call in watching.calls if call.route == "pretend/a"]
        assert 2 == len(inner) and all(call.trail.parent is not None for call in inner)

    def test_threads(self, gateway: Gateway, watching: Watching) -> None:
        """
        A thread that asyncio starts is inside; one that is started by hand, without a context, is not.
        """

        @gateway.wrap(capture=True)
        async def ask() -> None:
            await asyncio.to_thread(gateway.chat, "pretend/a", "hello")
            thread = threading.Thread(target=lambda: gateway.chat("pretend/b", "hello"))
            # Where threads are given their starter's context this one is to have none.
            contextvars.Context().run(thread.start)
            await asyncio.to_thread(thread.join)

        asyncio.run(ask())

        assert parent_of(watching.of("pretend/a")) is watching.of("ask").trail
        assert watching.of("pretend/b").trail.parent is None

    def test_at_the_same_time(self, gateway: Gateway, watching: Watching) -> None:
        """
        Calls that run beside each other are all counted, each once, and two calls of one function are kept apart.
        """

        @gateway.wrap(capture=True)
        async def ask(times: int) -> Response:
            answers = await asyncio.gather(*(gateway.aio.chat("pretend/a", "hello") for _ in range(times)))
            return answers[0]

        async def main() -> tuple[Response, Response, Response]:
            return tuple(await asyncio.gather(ask(20), ask(3), ask(1)))

        many, few, one = asyncio.run(main())

        assert [21, 4, 2] == [len(reply.attempts) for reply in (many, few, one)]
        assert one.usage.total_tokens is not None and one.cost is not None
        assert (20 * one.usage.total_tokens, 3 * one.cost) == (many.usage.total_tokens, few.cost)

    def test_threads_beside_each_other(self, gateway: Gateway) -> None:
        """
        Threads of one call add up without losing anything.
        """

        @gateway.wrap(capture=True)
        async def ask() -> Response:
            await asyncio.gather(*(asyncio.to_thread(gateway.chat, "pretend/a", "hello") for _ in range(40)))
            return Response()

        reply, single = asyncio.run(ask()), gateway.chat("pretend/a", "hello").usage.total_tokens
        assert single is not None
        assert (41, 40 * single) == (len(reply.attempts), reply.usage.total_tokens)

    @pytest.mark.parametrize("colour", ["plain", "asyncio"])
    def test_generators(self, gateway: Gateway, watching: Watching, colour: str) -> None:
        """
        What a generator asks for each item is inside; what its reader asks between two items is not.
        """

        @gateway.wrap(capture=True)
        def items() -> Iterator[str]:
            try:
                for _ in range(2):
                    yield gateway.chat("pretend/inside", "hello").text
            finally:
                gateway.chat("pretend/inside", "bye")

        @gateway.wrap(capture=True)
        async def later_items() -> AsyncIterator[str]:
            try:
                for _ in range(2):
                    yield (await gateway.aio.chat("pretend/inside", "hello")).text
            finally:
                await gateway.aio.chat("pretend/inside", "bye")

        async def read() -> None:
            async for _ in later_items():
                await gateway.aio.chat("pretend/outside", "hello")

        if colour == "plain":
            for _ in items():
                gateway.chat("pretend/outside", "hello")
        else:
            asyncio.run(read())

        inside = [call for call in watching.calls if call.route == "pretend/inside"]
        outside = [call for call in watching.calls if call.route == "pretend/outside"]
        outer = watching.of("items")
        assert [outer.trail] * 3 == [parent_of(call) for call in inside]
        assert [None] * 2 == [call.trail.parent for call in outside]
        assert 3 == sum(bool(attempt.inside) for attempt in outer.trail.attempts)
        usages = [outcome.usage for name, outcome in watching.ended if name == "pretend/inside"]
        assert usages[0].plus(usages[1]).plus(usages[2]) == outer.trail.tally.usage  # type: ignore

    def test_a_generator_that_is_read_in_threads(self, gateway: Gateway, watching: Watching) -> None:
        """
        Each item may be fetched by another thread.
        """

        @gateway.wrap(capture=True)
        def items() -> Iterator[str]:
            for _ in range(3):
                yield gateway.chat("pretend/a", "hello").text

        reading = items()
        threads = [threading.Thread(target=next, args=(reading,)) for _ in range(3)]
        for thread in threads:
            thread.start()
            thread.join()
        reading.close()  # type: ignore[attr-defined]

        assert 3 == len(watching.of("items").trail.tally.usage and watching.of("items").trail.attempts[1:])  # type: ignore


def parent_of(call: Call) -> Any:
    return None if call.trail.parent is None else call.trail.parent.call.trail


class TestEnds:
    def test_a_cancelled_function(self, gateway: Gateway, watching: Watching) -> None:
        """
        A cancellation reaches the call inside, and its attempt is told.
        """

        @gateway.wrap(capture=True)
        async def ask() -> Any:
            return await gateway.aio.chat("slow/a", "hello")

        async def main() -> None:
            task = asyncio.create_task(ask())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

        assert ["cancelled", "cancelled"] == [attempt.kind for attempt in watching.of("ask").trail.attempts]
        assert 0 == gateway.stats().in_flight

    def test_a_stream_that_outlives_the_function(self, gateway: Gateway, watching: Watching) -> None:
        """
        What ends after the function has counts for itself alone, and still only once.
        """
        kept: list[Any] = []

        @gateway.wrap(capture=True)
        def ask() -> str:
            kept.append(gateway.stream("pretend/a", "hello").__enter__())
            return "gone"

        assert "gone" == ask()
        text = "".join(chunk.text for chunk in kept[0])

        outer = watching.of("ask").trail
        assert "hello" in text and outer.tally is not None and outer.tally.usage is None
        assert ["pretend/a", watching.of("ask").route] == [attempt.deployment for attempt in outer.attempts]
        assert kept[0].response.usage.input_tokens == gateway.stats().input_tokens

    def test_a_task_that_outlives_the_function(self, gateway: Gateway, watching: Watching) -> None:
        """
        Work that a function leaves behind makes calls of its own.
        """

        async def behind() -> None:
            await asyncio.sleep(0.01)
            await gateway.aio.chat("pretend/a", "hello")

        @gateway.wrap(capture=True, timeout=5)
        async def ask() -> asyncio.Task[None]:
            return asyncio.create_task(behind())

        async def main() -> None:
            await (await ask())  # type: ignore[misc]

        asyncio.run(main())

        assert watching.of("pretend/a").trail.parent is None
        assert watching.of("pretend/a").deadline > watching.of("ask").deadline

    def test_a_task_that_outlives_a_generator(self, gateway: Gateway, watching: Watching) -> None:
        """
        So it is with what a generator left behind when it was closed.
        """
        tasks: list[asyncio.Task[None]] = []

        async def behind() -> None:
            await asyncio.sleep(0.01)
            await gateway.aio.chat("pretend/a", "hello")

        @gateway.wrap(capture=True)
        async def items() -> AsyncIterator[int]:
            tasks.append(asyncio.create_task(behind()))
            yield 1

        async def main() -> None:
            assert [1] == [item async for item in items()]
            await tasks[0]

        asyncio.run(main())

        assert watching.of("pretend/a").trail.parent is None

    def test_the_outer_deadline_is_the_inner_one(self, gateway: Gateway, watching: Watching) -> None:
        """
        No call inside lasts longer than the function may.
        """
        wrapped = gateway.wrap(capture=True, timeout=0.2)(lambda: gateway.chat("slow/a", "hello", timeout=60))
        started = time.monotonic()

        with pytest.raises(DeadlineExceeded):
            wrapped()

        assert time.monotonic() - started < 5
        assert watching.calls[0].deadline == watching.calls[1].deadline

    def test_no_call_after_the_deadline(self, gateway: Gateway, watching: Watching) -> None:
        """
        When its time is over a function makes no other call.
        """

        @gateway.wrap(capture=True, timeout=0.05)
        def ask() -> str:
            time.sleep(0.1)
            return gateway.chat("pretend/a", "hello").text

        with pytest.raises(DeadlineExceeded, match=r"the time of .*ask, which makes this call, is over"):
            ask()
        assert 1 == len(watching.calls)

    def test_what_cannot_be_interrupted_ends_at_its_next_call(self, gateway: Gateway) -> None:
        """
        A thread that nobody waits for any more makes no other call.
        """
        begun, release, ended = threading.Event(), threading.Event(), threading.Event()
        raised: list[BaseException] = []

        def ask() -> None:
            begun.set()
            release.wait(5)
            try:
                gateway.chat("pretend/a", "hello")
            except BaseException as error:
                raised.append(error)
            ended.set()

        @gateway.wrap(capture=True, fallback=ask)
        async def first() -> None:
            raise OSError("the line is dead")

        async def main() -> None:
            task = asyncio.create_task(first())
            await asyncio.to_thread(begun.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            release.set()
            await asyncio.to_thread(ended.wait, 5)

        asyncio.run(main())

        assert [DeadlineExceeded] == [type(error) for error in raised]
        assert "nobody waits any more" in str(raised[0])


class TestRetries:
    def test_calls_inside_repeat_and_the_function_does_not(self, gateway: Gateway) -> None:
        """
        Without a word about retries those nearest to the failure are made, and only those.
        """
        runs: list[int] = []

        @gateway.wrap(capture=True)
        def ask() -> str:
            runs.append(1)
            return gateway.chat("busy/a", "hello").text

        with pytest.raises(Overloaded):
            ask()
        assert (1, 3) == (len(runs), gateway.stats().attempts)

    def test_a_function_that_repeats_asks_once_each_time(self, gateway: Gateway) -> None:
        """
        With retry= the function runs again, and no call inside is made twice: attempts do not multiply.
        """
        runs: list[int] = []

        @gateway.wrap(capture=True, retry={"max_attempts": 3, "base_delay": 0})
        def ask() -> str:
            runs.append(1)
            return gateway.chat("busy/a", "hello").text

        with pytest.raises(Overloaded):
            ask()
        assert (3, 3) == (len(runs), gateway.stats().attempts)

    def test_the_outermost_who_asks_for_retries_makes_them(self, gateway: Gateway) -> None:
        """
        Of functions inside of functions only the outermost with retry= is run again.
        """
        runs: list[str] = []

        @gateway.wrap(retry=3)
        def inner() -> str:
            runs.append("inner")
            return gateway.chat("busy/a", "hello").text

        @gateway.wrap(capture=True, retry={"max_attempts": 2, "base_delay": 0})
        def outer() -> str:
            runs.append("outer")
            return inner()

        with pytest.raises(Overloaded):
            outer()
        assert (["outer", "inner"] * 2, 2) == (runs, gateway.stats().attempts)

    def test_another_deployment_is_no_repetition(self) -> None:
        """
        A call inside of a function that repeats goes on to its route's next deployment all the same.
        """
        with made(routes={"fast": ["busy/a", "pretend/a"]}) as gateway:
            ask = gateway.wrap(capture=True, retry=3)(lambda: gateway.chat("fast", "hello"))
            reply = ask()

        assert [("busy/a", "overloaded"), ("pretend/a", "ok")] == [
            (attempt.deployment, attempt.kind) for attempt in reply.attempts[:2]
        ]

    def test_tokens_of_runs_that_failed_count(self, gateway: Gateway) -> None:
        """
        What was spent before the function failed was spent.
        """
        runs: list[int] = []

        @gateway.wrap(capture=True, retry={"max_attempts": 2, "base_delay": 0})
        def ask() -> Response:
            runs.append(1)
            answer = gateway.chat("pretend/a", "hello")
            if len(runs) == 1:
                raise ValueError("not what was wanted")
            return answer

        reply, single = ask(), gateway.chat("pretend/a", "hello")

        assert single.usage.plus(single.usage) == reply.usage
        assert ["ok", "function_failed", "ok", "ok"] == [attempt.kind for attempt in reply.attempts]

    def test_an_upstream_attempt_is_in_one_retry_budget(self, gateway: Gateway) -> None:
        """
        While a captured function waits for its upstream, the upstream's budget counts one call in the air, not two.
        """
        seen: list[int] = []

        class Looking(Simulated):
            pass

        async def look(call: Call, call_next: Handler) -> Reply:
            if call.deployment is not None and call.deployment.provider == "pretend":
                seen.append(looked._current()._budgets["pretend"].in_flight)
            return await call_next(call)

        with Gateway({"providers": {"pretend": {"kind": "simulated"}}}, middleware=[("each_attempt", look)]) as looked:
            looked.wrap(capture=True)(lambda: looked.chat("pretend/a", "hello").text)()

        assert [1] == seen


class TestLimits:
    def test_a_limit_of_its_own_is_settled_with_the_tokens_of_all(self) -> None:
        """
        A limit on tokens of the function's own learns what the calls inside have used.
        """
        with made() as gateway:
            used = gateway.chat("pretend/a", "hello").usage.total_tokens
            assert used is not None
            limit = {"tokens": f"{2 * used + 100}/h", "on_limit": "reject"}
            runs = [0]

            @gateway.wrap(capture=True, rate_limit=limit)
            def ask(times: int) -> str:
                runs[0] += 1
                for _ in range(times):
                    gateway.chat("pretend/a", "hello")
                return "done"

            ask(30)
            with pytest.raises(LimitReached):
                ask(1)
        assert [1] == runs

    @pytest.mark.parametrize("per", ["gateway", "tenant"])
    def test_a_shared_limit_counts_each_token_once(self, per: str) -> None:
        """
        At a limit that the outer call and those inside share, a token is taken once.
        """

        def left(capture: bool) -> float:
            with made(rate_limit=[{"tokens": "100000/h", "per": per, "on_limit": "reject"}]) as gateway:

                @gateway.wrap(capture=capture)
                def ask() -> Response:
                    for _ in range(9):
                        gateway.chat("pretend/a", "hello")
                    return gateway.chat("pretend/a", "hello")

                ask()
                limiter: Any = gateway._current()._limiters[0]
                return float(limiter.eta(time.monotonic(), {"tokens": 100_000.0, "requests": 1.0}, tenant=""))

        with made() as plain:
            each = plain.chat("pretend/a", "hello").usage.total_tokens
        # A token of such a limit comes back in 36 ms.
        assert each is not None
        assert 10 * each * 0.036 == pytest.approx(left(True), rel=0.05)
        assert 11 * each * 0.036 == pytest.approx(left(False), rel=0.05)

    def test_a_call_does_not_wait_for_its_own_place(self) -> None:
        """
        Where only one call is let in at a time, those inside of it are part of it, however many there are.
        """
        with made(rate_limit=[{"max_concurrency": 1, "max_wait": "100ms"}]) as gateway:

            @gateway.wrap(capture=True)
            async def ask() -> int:
                answers = await asyncio.gather(*(gateway.aio.chat("pretend/a", "hello") for _ in range(5)))
                return len(answers)

            assert 5 == asyncio.run(ask())
            assert 5 == asyncio.run(ask())

            with pytest.raises(LimitReached):
                gateway.wrap(lambda: gateway.chat("pretend/a", "hello"))()
