"""`@gateway.wrap`: four kinds of callable, in both colours, with everything that may be said in its parentheses."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import doctest
import functools
import inspect
import logging
import math
import multiprocessing
import operator
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from llmgate import (
    AllAttemptsFailed,
    Cache,
    CircuitBreaker,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    Gateway,
    GatewayError,
    LimitReached,
    RateLimit,
    RateLimited,
    Response,
    Retry,
    Simulated,
    Timeouts,
)
from llmgate.types.response import Choice

QUICK = {"retry": {"base_delay": 0, "max_delay": 0}}

EVER = Gateway(QUICK)
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


@EVER.wrap(cache="1h")
def at_import(text: str) -> str:
    """Stands in a module."""
    return f"{text} in {os.getpid()}"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(QUICK) as gateway:
        yield gateway


class Mode(StrEnum):
    FAST = "fast"


class Calls:
    """Counts what it was asked, and answers or fails by a script."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.seen: list[Any] = []

    def next(self, *args: Any) -> Any:
        self.seen.append(args)
        answer = self.script.pop(0) if self.script else args
        if isinstance(answer, BaseException):
            raise answer
        return answer


def each_kind(calls: Calls) -> dict[str, Callable[..., Any]]:
    """The same function in its four kinds; generators yield what it returns, twice."""

    def plain(*args: Any) -> Any:
        """Plain."""
        return calls.next(*args)

    async def coroutine(*args: Any) -> Any:
        """Coroutine."""
        await asyncio.sleep(0)
        return calls.next(*args)

    def generator(*args: Any) -> Iterator[Any]:
        """Generator."""
        answer = calls.next(*args)
        yield answer
        yield answer

    async def async_generator(*args: Any) -> AsyncIterator[Any]:
        """Async generator."""
        answer = calls.next(*args)
        await asyncio.sleep(0)
        yield answer
        yield answer

    return {"plain": plain, "coroutine": coroutine, "generator": generator, "async_generator": async_generator}


KINDS = ("plain", "coroutine", "generator", "async_generator")


def result(function: Callable[..., Any], *args: Any) -> Any:
    """What a wrapped function of any kind gives; of a generator the list."""
    if inspect.isasyncgenfunction(function):

        async def collect() -> list[Any]:
            return [item async for item in function(*args)]

        return asyncio.run(collect())
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function(*args))
    if inspect.isgeneratorfunction(function):
        return list(function(*args))
    return function(*args)


def wanted(kind: str, answer: Any) -> Any:
    return [answer, answer] if "generator" in kind else answer


@pytest.mark.parametrize("kind", KINDS)
class TestEachKind:
    def test_gives_what_the_function_gives(self, gateway: Gateway, kind: str) -> None:
        """
        A wrapped function gives what it gave, whatever its kind, and is of its kind.
        """
        function = each_kind(Calls())[kind]
        wrapped = gateway.wrap(function)

        assert wanted(kind, ("a", 1)) == result(wrapped, "a", 1)
        for ask in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert ask(function) == ask(wrapped)

    def test_keeps_what_the_function_says_about_itself(self, gateway: Gateway, kind: str) -> None:
        """
        Name, docstring, module, signature and attributes are the function's own.
        """
        function = each_kind(Calls())[kind]
        function.mark = "own"  # type: ignore[attr-defined]
        wrapped = gateway.wrap(retry=2)(function)

        assert function.__name__ == wrapped.__name__
        assert function.__doc__ == wrapped.__doc__
        assert function.__module__ == wrapped.__module__
        assert function.__qualname__ == wrapped.__qualname__
        assert inspect.signature(function) == inspect.signature(wrapped)
        assert "own" == wrapped.mark  # type: ignore[attr-defined]
        assert function is wrapped.__wrapped__  # type: ignore[attr-defined]

    def test_raises_what_the_function_raises(self, gateway: Gateway, kind: str) -> None:
        """
        The function's own exception comes out: the same object, without a cause or context that it had not.
        """
        own = KeyError("mine")
        wrapped = gateway.wrap(each_kind(Calls(own))[kind])

        with pytest.raises(KeyError) as raised:
            result(wrapped)

        assert own is raised.value
        assert raised.value.__cause__ is None and raised.value.__context__ is None
        assert any(frame.name == kind for frame in traceback.extract_tb(own.__traceback__))

    def test_tries_again_after_any_exception_when_asked(self, gateway: Gateway, kind: str) -> None:
        """
        retry=3 is three attempts, whatever the exception; without it an unknown exception is final.
        """
        calls = Calls(ValueError(1), ValueError(2), "ok")
        assert wanted(kind, "ok") == result(
            gateway.wrap(retry=Retry(max_attempts=3, base_delay=0, max_delay=0))(each_kind(calls)[kind])
        )
        assert 3 == len(calls.seen)

        calls = Calls(ValueError(1), "ok")
        with pytest.raises(ValueError, match="1"):
            result(gateway.wrap(each_kind(calls)[kind]))
        assert 1 == len(calls.seen)

    def test_gives_the_last_exception_when_all_attempts_failed(self, gateway: Gateway, kind: str) -> None:
        """
        After the last attempt its own exception comes out.
        """
        calls = Calls(ValueError(1), ValueError(2), ValueError(3))
        wrapped = gateway.wrap(retry={"max_attempts": 3, "base_delay": 0, "max_delay": 0})(each_kind(calls)[kind])

        with pytest.raises(ValueError, match="3"):
            result(wrapped)
        assert 3 == len(calls.seen)

    @pytest.mark.parametrize("other", KINDS)
    def test_falls_back_to_a_function_of_any_kind(self, gateway: Gateway, kind: str, other: str) -> None:
        """
        The fallback is asked with the same arguments, and its result comes as the function's would have come.
        """
        spare = Calls("spare")
        wrapped = gateway.wrap(fallback=each_kind(spare)[other])(each_kind(Calls(ValueError()))[kind])

        if "generator" in kind:
            expected = ["spare"] if "generator" not in other else ["spare", "spare"]
        else:
            expected = wanted(other, "spare")
        assert expected == result(wrapped, "a", 2)
        assert [("a", 2)] == spare.seen

    def test_tells_of_all_when_the_fallback_fails_too(self, gateway: Gateway, kind: str) -> None:
        """
        If several failed, the error is the group of all, each with the exception as its cause.
        """
        first, second = ValueError("first"), TypeError("second")
        wrapped = gateway.wrap(fallback=each_kind(Calls(second))["plain"])(each_kind(Calls(first))[kind])

        with pytest.raises(AllAttemptsFailed) as raised:
            result(wrapped)

        assert [first, second] == [error.__cause__ for error in raised.value.exceptions]
        assert 2 == len(raised.value.attempts)

    def test_keeps_results(self, gateway: Gateway, kind: str) -> None:
        """
        With a cache the same arguments bring the same result without another call; a generator's items are replayed.
        """
        calls = Calls("one", "two")
        wrapped = gateway.wrap(cache="1h")(each_kind(calls)[kind])

        assert wanted(kind, "one") == result(wrapped, "a", {"b": [1]})
        assert wanted(kind, "one") == result(wrapped, "a", {"b": [1]})
        assert wanted(kind, "two") == result(wrapped, "a", {"b": [2]})

    def test_fails_at_its_deadline(self, gateway: Gateway, kind: str) -> None:
        """
        What takes longer than the timeout fails with DeadlineExceeded.
        """

        async def coroutine() -> None:
            await asyncio.sleep(5)

        async def async_generator() -> AsyncIterator[int]:
            await asyncio.sleep(5)
            yield 1

        def generator() -> Iterator[int]:
            time.sleep(0.1)
            yield 1

        def plain() -> None:
            time.sleep(0.1)

        function = {"plain": plain, "coroutine": coroutine, "generator": generator, "async_generator": async_generator}[
            kind
        ]
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            result(gateway.wrap(timeout=0.05)(function))
        assert time.monotonic() - start < 2


class TestPlain:
    def test_returns_everything_as_it_is(self, gateway: Gateway) -> None:
        """
        None, a tuple, an object, an iterator, an open file: what a plain function returns is returned, itself.
        """
        marker = object()
        for value in (None, (1, 2), marker, iter([1]), {1: 2}, b"bytes", ValueError("returned")):
            assert value is gateway.wrap(lambda value=value: value)()

    def test_does_not_read_an_iterator_that_is_returned(self, gateway: Gateway) -> None:
        """
        An iterator that a plain function returns is not read ahead: an SDK's stream stays a stream.
        """
        read: list[int] = []

        def numbers() -> Iterator[int]:
            for number in range(3):
                read.append(number)
                yield number

        stream = gateway.wrap(numbers)()

        assert [] == read
        assert 0 == next(stream) and [0] == read

    def test_raises_stop_iteration(self, gateway: Gateway) -> None:
        """
        A StopIteration comes out as it is, also from a thread.
        """
        wrapped = gateway.wrap(lambda: next(iter(())))
        with pytest.raises(StopIteration):
            wrapped()

        async def failing() -> None:
            raise ValueError

        with pytest.raises(AllAttemptsFailed) as raised:
            asyncio.run(gateway.wrap(fallback=lambda: next(iter(())))(failing)())
        assert StopIteration is type(raised.value.exceptions[1].__cause__)

    def test_takes_builtins_and_classes(self, gateway: Gateway) -> None:
        """
        Functions in C, with and without a signature, and classes can be wrapped.
        """
        assert 2.0 == gateway.wrap(math.sqrt)(4)
        assert 3 == gateway.wrap(operator.add)(1, 2)
        assert 3 == gateway.wrap(cache=True)(max)(1, 3, 2)
        assert 7 == gateway.wrap(int)("7")
        assert [1, 2] == gateway.wrap([1].__add__)([2])

    def test_takes_partials_and_objects(self, gateway: Gateway) -> None:
        """
        Partials and objects with __call__ are what they call, of any kind.
        """

        class Asker:
            secret = "own"

            def __init__(self) -> None:
                self.note = "of the object"

            async def __call__(self, text: str) -> str:
                return f"{self.secret} {text}"

        async def ask(tone: str, text: str) -> str:
            return f"{tone} {text}"

        def shout(text: str, mark: str) -> str:
            return text + mark

        asker = gateway.wrap(Asker())
        assert "own hi" == asyncio.run(asker("hi"))
        assert not hasattr(asker, "note")
        assert "kind hi" == asyncio.run(gateway.wrap(functools.partial(ask, "kind"))("hi"))
        assert "hi!" == gateway.wrap(functools.partial(shout, mark="!"))("hi")

    def test_refuses_what_cannot_be_called(self, gateway: Gateway) -> None:
        """
        Whatever is no function is refused when it is wrapped.
        """
        with pytest.raises(ConfigError, match="int is no function"):
            gateway.wrap(3)  # type: ignore[call-overload]

    def test_refuses_arguments_that_the_function_does_not_take(self, gateway: Gateway) -> None:
        """
        Wrong arguments are the TypeError that they always were, and count against nobody.
        """
        calls = Calls()
        wrapped: Any = gateway.wrap(retry=3)(lambda text: (calls.next(text),)[0])
        for _ in range(10):
            with pytest.raises(TypeError):
                wrapped()
            with pytest.raises(TypeError):
                wrapped("a", wrong=1)

        assert [] == calls.seen
        assert ("a",) == wrapped("a")

    def test_recursion(self, gateway: Gateway) -> None:
        """
        A wrapped function may call itself, and remembers what it found on the way.
        """
        calls: list[int] = []

        @gateway.wrap(cache=True)
        def fibonacci(n: int) -> int:
            calls.append(n)
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        assert 6765 == fibonacci(20)
        assert list(range(20, -1, -1)) == calls

    def test_context_variables_are_seen(self, gateway: Gateway) -> None:
        """
        What the caller set is seen by the function, of either colour and on any thread, and by each item of a generator.
        """

        def plain() -> str:
            return VARIABLE.get()

        async def coroutine() -> str:
            return VARIABLE.get()

        def generator() -> Iterator[str]:
            yield VARIABLE.get()
            yield VARIABLE.get()

        async def failing() -> str:
            raise ValueError

        def failing_plain() -> str:
            raise ValueError

        token = VARIABLE.set("set")
        try:
            assert "set" == gateway.wrap(plain)()
            assert "set" == asyncio.run(gateway.wrap(coroutine)())
            assert "set" == asyncio.run(gateway.wrap(fallback=plain)(failing)())
            assert "set" == gateway.wrap(fallback=coroutine)(failing_plain)()
            assert ["set", "set"] == list(gateway.wrap(generator)())
            assert ["set", "set"] == asyncio.run(gateway.wrap(fallback=generator)(failing)())
        finally:
            VARIABLE.reset(token)

    def test_inside_of_a_running_loop(self, gateway: Gateway) -> None:
        """
        A wrapped plain function works where an event loop runs, with a fallback of either colour.
        """

        async def spare(text: str) -> str:
            await asyncio.sleep(0.001)
            return f"spare {text}"

        async def items(text: str) -> AsyncIterator[str]:
            for _ in range(2):
                await asyncio.sleep(0.001)
                yield text

        def failing(text: str) -> str:
            raise ValueError

        def failing_items(text: str) -> Iterator[str]:
            raise ValueError
            yield

        async def main() -> list[Any]:
            return [
                gateway.wrap(str.upper)("a"),
                gateway.wrap(fallback=spare)(failing)("a"),
                gateway.wrap(fallback=items)(failing)("a"),
                list(gateway.wrap(fallback=items)(failing_items)("a")),
            ]

        assert ["A", "spare a", ["a", "a"], ["a", "a"]] == asyncio.run(main())


class TestCoroutines:
    def test_the_deadline_really_cancels(self, gateway: Gateway) -> None:
        """
        When its time is over an async function is cancelled where it waits, and its own cleanup runs.
        """
        ended: list[str] = []

        @gateway.wrap(timeout=0.05)
        async def slow() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                ended.append("cleaned")

        with pytest.raises(DeadlineExceeded):
            asyncio.run(slow())
        assert ["cleaned"] == ended

    def test_the_deadline_cancels_an_async_fallback_of_a_plain_function(self, gateway: Gateway) -> None:
        """
        Also from plain code, where an async function has a loop of its own.
        """

        async def slow() -> None:
            await asyncio.sleep(10)

        def failing() -> None:
            raise ValueError

        start = time.monotonic()
        with pytest.raises(GatewayError) as raised:
            gateway.wrap(timeout=0.7, fallback=slow)(failing)()
        assert time.monotonic() - start < 3
        assert "DeadlineExceeded" in repr(raised.value)

    def test_cancelling_the_caller_cancels_the_function(self, gateway: Gateway) -> None:
        """
        A cancellation reaches the function and comes out as what it is.
        """
        seen: list[BaseException] = []

        @gateway.wrap
        async def slow() -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError as error:
                seen.append(error)
                raise

        async def main() -> None:
            task = asyncio.create_task(slow())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert 1 == len(seen)
        assert 0 == gateway.stats().in_flight

    def test_its_own_timeout_is_its_own(self, gateway: Gateway) -> None:
        """
        A TimeoutError of the function's own comes out as it is.
        """

        @gateway.wrap(timeout=5)
        async def impatient() -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1)

        with pytest.raises(TimeoutError) as raised:
            asyncio.run(impatient())
        assert not isinstance(raised.value, GatewayError)

    def test_a_plain_function_that_passes_a_coroutine_on(self, gateway: Gateway) -> None:
        """
        What is only known by its result to be asynchronous, as the methods of SDKs are, is waited for and retried like any
        other coroutine function.
        """
        calls = Calls(ValueError(), "one", "two")

        async def ask(text: str) -> Any:
            await asyncio.sleep(0)
            return calls.next(text)

        @functools.wraps(ask)
        def passing(text: str) -> Any:
            return ask(text)

        wrapped = gateway.wrap(retry={"max_attempts": 2, "base_delay": 0, "max_delay": 0})(passing)

        async def main() -> list[Any]:
            return [await wrapped("a"), await wrapped("b")]

        assert ["one", "two"] == asyncio.run(main())
        assert [("a",), ("a",), ("b",)] == calls.seen

    def test_several_loops_and_threads(self, gateway: Gateway) -> None:
        """
        One wrapped function serves any number of threads, each with a loop of its own.
        """

        @gateway.wrap(retry=2)
        async def ask(number: int) -> int:
            await asyncio.sleep(0.001)
            return number

        found: list[int] = []
        threads = [threading.Thread(target=lambda n=n: found.append(asyncio.run(ask(n)))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert list(range(8)) == sorted(found)
        assert 0 == gateway.stats().in_flight


class TestGenerators:
    def test_begins_when_it_is_first_read(self, gateway: Gateway) -> None:
        """
        A generator does nothing before its first item is wanted, and is read no further than it is used.
        """
        calls: list[int] = []

        @gateway.wrap
        def numbers() -> Iterator[int]:
            for number in range(10):
                calls.append(number)
                yield number

        items = numbers()
        assert [] == calls
        assert 0 == next(items) and [0] == calls
        assert 1 == next(items) and [0, 1] == calls
        items.close()

    def test_closed_early_closes_the_inner_one(self, gateway: Gateway) -> None:
        """
        Who stops reading runs the cleanup of the generator inside, once.
        """
        ended: list[str] = []

        @gateway.wrap
        def numbers() -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                ended.append("plain")

        @gateway.wrap
        async def async_numbers() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(0)
                yield 2
            finally:
                ended.append("async")

        items = numbers()
        next(items)
        items.close()  # type: ignore[attr-defined]

        async def main() -> None:
            async for _ in (reading := async_numbers()):
                break
            await reading.aclose()  # type: ignore[attr-defined]
            assert ["plain", "async"] == ended

        asyncio.run(main())
        assert ["plain", "async"] == ended
        assert {"closed": 2} == gateway.stats().outcomes

    def test_closed_early_closes_an_async_one_in_plain_code(self, gateway: Gateway) -> None:
        """
        The async fallback of a plain generator is stopped where it stands, on the loop it ran on.
        """
        ended: list[bool] = []

        async def spare() -> AsyncIterator[int]:
            loop = asyncio.get_running_loop()
            try:
                for number in range(1000):
                    await asyncio.sleep(0)
                    yield number
            finally:
                ended.append(loop is asyncio.get_running_loop())

        @gateway.wrap(fallback=spare)
        def numbers() -> Iterator[int]:
            raise ValueError
            yield 0

        items = numbers()
        assert [0, 1] == [next(items), next(items)]
        items.close()  # type: ignore[attr-defined]
        assert [True] == ended

    def test_fails_in_the_middle(self, gateway: Gateway) -> None:
        """
        After its first item a generator is not begun again: its exception comes out where it stands.
        """
        own = ValueError("middle")
        calls: list[int] = []

        @gateway.wrap(retry=3, fallback=lambda: ["never"])
        def numbers() -> Iterator[int]:
            calls.append(1)
            yield 1
            raise own

        items = numbers()
        assert 1 == next(items)
        with pytest.raises(ValueError) as raised:
            next(items)
        assert own is raised.value
        assert [1] == calls

    def test_an_empty_one_is_empty(self, gateway: Gateway) -> None:
        """
        A generator that yields nothing yields nothing, kept or not.
        """

        @gateway.wrap(cache=True)
        def nothing() -> Iterator[int]:
            return
            yield 1

        assert [] == list(nothing()) == list(nothing())

    def test_odd_items(self, gateway: Gateway) -> None:
        """
        None, lists and falsy things are items like others; what is sent into it does not reach it.
        """

        @gateway.wrap
        def odd() -> Iterator[Any]:
            assert (yield None) is None
            yield []
            yield [1]
            yield 0

        items: Any = odd()
        assert [None, [], [1], 0] == [next(items), items.send("sent"), next(items), next(items)]

    def test_broken_off_is_not_kept(self, gateway: Gateway) -> None:
        """
        A generator that was not read to its end leaves nothing in the cache.
        """
        calls = Calls("a", "b")

        @gateway.wrap(cache=True)
        def items() -> Iterator[Any]:
            answer = calls.next()
            yield answer
            yield answer

        for _ in items():
            break
        assert ["b", "b"] == list(items()) == list(items())

    def test_a_slow_item_of_a_thread_ends_the_call_and_later_the_generator(self, gateway: Gateway) -> None:
        """
        The deadline does not wait for a thread that is inside of a generator; the generator is closed when it comes out.
        """
        release, ended = threading.Event(), threading.Event()

        def slow() -> Iterator[int]:
            try:
                yield 1
                release.wait(5)
                yield 2
            finally:
                ended.set()

        async def failing() -> AsyncIterator[int]:
            raise ValueError
            yield 0

        async def main() -> None:
            with pytest.raises(GatewayError):
                async for _ in gateway.wrap(timeout=0.7, fallback=slow)(failing)():
                    pass
            assert not ended.is_set()
            release.set()

        asyncio.run(main())
        assert ended.wait(5)


class Box:
    """Its methods are wrapped in all the ways that people write."""

    gateway = Gateway(QUICK)

    def __init__(self, mark: str = "own") -> None:
        self.mark = mark
        self.calls = 0

    @gateway.wrap
    def plain(self, text: str) -> str:
        return f"{self.mark} {text}"

    @gateway.wrap(cache="1h", key=lambda self, text: [self.mark, text])
    def keyed(self, text: str) -> str:
        self.calls += 1
        return f"{self.mark} {text}"

    @gateway.wrap
    async def later(self, text: str) -> str:
        return f"{self.mark} {text}"

    @gateway.wrap
    @staticmethod
    def outer_static(text: str) -> str:
        return f"static {text}"

    @staticmethod
    @gateway.wrap
    def inner_static(text: str) -> str:
        return f"static {text}"

    @gateway.wrap(retry=2)
    @classmethod
    def outer_class(cls, text: str) -> str:
        return f"{cls.__name__} {text}"

    @classmethod
    @gateway.wrap
    def inner_class(cls, text: str) -> str:
        return f"{cls.__name__} {text}"


class Crate(Box):
    pass


class Thing:
    """Something to be annotated with."""


@EVER.wrap
def annotated(thing: Thing, number: int = 3, *, kind: str = "a") -> list[Thing]:
    """
    Takes a thing.

    >>> annotated("thing")
    ['thing']
    """
    return [thing]


class Annotated:
    """Can be called, and has an attribute."""

    limit: int = 3

    def __call__(self, thing: Thing) -> str:
        return f"{thing}"


class TestLooks:
    """Whoever looks at a wrapped function sees the one that was wrapped."""

    def test_signature_and_hints(self, gateway: Gateway) -> None:
        """
        Frameworks that resolve annotations, as FastAPI does for dependencies, find those of the function.
        """
        resolved = inspect.signature(annotated, eval_str=True)

        assert [Thing, int, str] == [parameter.annotation for parameter in resolved.parameters.values()]
        assert list[Thing] == resolved.return_annotation
        assert {"thing": Thing, "number": int, "kind": str, "return": list[Thing]} == typing.get_type_hints(annotated)

    def test_what_has_no_name_of_its_own(self, gateway: Gateway) -> None:
        """
        Partials and objects are called and annotated as what they call, builtins have no hints, classes make themselves.
        """
        looks = [
            (wrapped.__name__, wrapped.__module__, typing.get_type_hints(wrapped))
            for wrapped in map(
                gateway.wrap,
                (functools.partial(annotated, Thing()), Annotated(), math.sqrt, operator.itemgetter(0), Thing),
            )
        ]

        assert [
            ("annotated", __name__, {"number": int, "kind": str, "return": list[Thing]}),
            ("Annotated", __name__, {"thing": Thing, "return": str}),
            ("sqrt", "math", {}),
            ("itemgetter", "operator", {}),
            ("Thing", __name__, {"return": Thing}),
        ] == looks
        assert annotated.__doc__ == gateway.wrap(functools.partial(annotated, Thing())).__doc__

    def test_copies(self) -> None:
        """
        A copy of a function is the function, and pickled it is its name; so are methods of either kind.
        """
        assert annotated is copy.copy(annotated) is copy.deepcopy(annotated) is pickle.loads(pickle.dumps(annotated))
        box = Crate("mine")
        for method in (box.plain, box.later, Crate.outer_static, Crate.outer_class, Crate.inner_class):
            again = pickle.loads(pickle.dumps(method))
            assert getattr(again, "__func__", again) is getattr(method, "__func__", method)
        assert "mine a" == pickle.loads(pickle.dumps(box.plain))("a")

    def test_doctests(self) -> None:
        """
        The examples in its documentation are found and run.
        """
        module = sys.modules[__name__]
        found = doctest.DocTestFinder(recurse=False).find(annotated, module=module, globs=vars(module))
        ran = doctest.DocTestRunner().run(found[0])

        assert (1, 0) == (ran.attempted, ran.failed)
        assert doctest.DocTestFinder()._from_module(module, annotated)  # type: ignore[attr-defined]

    def test_fixtures(self, tmp_path: Path) -> None:
        """
        pytest takes wrapped functions and generators as fixtures and as tests, with what they ask for.
        """
        (tmp_path / "test_it.py").write_text(
            """
import pytest
from llmgate import Gateway
gateway = Gateway()

@pytest.fixture
@gateway.wrap
def one():
    return 1

@pytest.fixture
@gateway.wrap
def two(one):
    yield one + 1

@gateway.wrap
def test_them(one, two):
    assert (1, 2) == (one, two)
"""
        )
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        said = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
            env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "1 passed" in said.stdout


class TestMethods:
    def test_all_ways_to_write_one(self) -> None:
        """
        Methods, static and class methods work with the decorator on either side, and on subclasses.
        """
        box = Crate("mine")

        assert "mine a" == box.plain("a") == Crate.plain(box, "a") == asyncio.run(box.later("a"))
        assert "static a" == Box.outer_static("a") == box.inner_static("a")
        assert "Crate a" == Crate.outer_class("a") == box.inner_class("a")

    def test_an_object_is_no_part_of_a_key(self, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
        """
        Two objects may answer differently, so the results of a method are not kept, and the log says so once.
        """

        class Asker:
            def __init__(self, mark: str) -> None:
                self.mark, self.calls = mark, 0

            @gateway.wrap(cache="1h")
            def ask(self, text: str) -> str:
                self.calls += 1
                return f"{self.mark} {text}"

        with caplog.at_level(logging.WARNING, "llmgate.cache"):
            one, two = Asker("one"), Asker("two")
            assert ["one a", "one a", "two a"] == [one.ask("a"), one.ask("a"), two.ask("a")]

        assert 2 == one.calls
        assert 1 == len(caplog.records)
        assert "Asker.ask are not kept: of its arguments a Asker is not JSON" in caplog.text

    def test_a_key_says_what_counts(self) -> None:
        """
        With a key, what it returns stands for the arguments.
        """
        box, same, other = Box("one"), Box("one"), Box("two")

        assert ["one a", "one a", "two a"] == [box.keyed("a"), same.keyed("a"), other.keyed("a")]
        assert [1, 0, 1] == [box.calls, same.calls, other.calls]

    def test_a_bound_method_is_itself(self, gateway: Gateway) -> None:
        """
        Of a bound method the object is no argument: its results are kept, and not given to another object's callers.
        """
        calls: list[str] = []

        class Asker:
            def __init__(self, mark: str) -> None:
                self.mark = mark

            def ask(self, text: str) -> str:
                calls.append(text)
                return f"{self.mark} {text}"

        with Gateway({"cache": {"ttl": "1h"}}) as gateway:
            one, two = gateway.wrap(Asker("one").ask), gateway.wrap(Asker("two").ask)
            assert ["one a", "one a", "two a", "two a"] == [one("a"), one("a"), two("a"), two("a")]
        assert ["a", "a"] == calls


class TestKeeping:
    def test_it_does_not_matter_how_a_call_is_written(self, gateway: Gateway) -> None:
        """
        Positions, keywords and defaults are one call; the order of keywords says nothing.
        """
        calls = Calls()

        @gateway.wrap(cache=True)
        def ask(text: str, tone: str = "kind", *rest: int, **more: Any) -> Any:
            calls.next()
            return text

        for written in (
            lambda: ask("a"), lambda: ask(text="a"), lambda: ask("a", "kind"), lambda: ask(tone="kind", text="a"),
        ):  # fmt: skip
            assert "a" == written()
        assert 1 == len(calls.seen)

        ask("a", "kind", 1, 2)
        ask("a", "kind", 1, 2)
        ask("a", x=1, y=2)
        ask("a", y=2, x=1)
        assert 3 == len(calls.seen)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (1, True), (1, 1.0), (1, "1"), (None, "null"), ((1, 2), [1, 2]), ({"a": 1}, {"a": 1.0}), ("é", "e\u0301"),
            ([], {}), ([[1], 2], [1, [2]]), ("a", ["a"]), (0, False),
        ],
    )  # fmt: skip
    def test_arguments_that_differ_are_different_calls(self, gateway: Gateway, one: Any, other: Any) -> None:
        """
        What Python or JSON might take for the same is told apart, nested or not.
        """
        wrapped = gateway.wrap(cache=True)(repr)

        assert repr(one) == wrapped(one) == wrapped(one)
        assert repr(other) == wrapped(other)
        assert repr([one]) == wrapped([one])
        assert repr([other]) == wrapped([other])

    @pytest.mark.parametrize(
        "value",
        [{1, 2}, object(), b"x", {1: "a"}, Decimal(1), float("nan"), "\ud800", {"\0tuple": 1}, Mode.FAST, [Mode.FAST]],
    )
    def test_what_is_no_json_is_not_kept(self, gateway: Gateway, value: Any) -> None:
        """
        Arguments that JSON cannot tell exactly are passed as they are, and asked anew each time.
        """
        calls = Calls()
        wrapped = gateway.wrap(cache=True)(lambda value: (calls.next(value), "ok")[1])

        assert "ok" == wrapped(value) == wrapped(value)
        assert 2 == len(calls.seen)
        assert all(value is seen for (seen,) in calls.seen)

    def test_arguments_that_hold_themselves(self, gateway: Gateway) -> None:
        """
        A list that holds itself, or one nested beyond all bounds, is passed and not kept.
        """
        loop: list[Any] = []
        loop.append(loop)
        deep: list[Any] = []
        for _ in range(10_000):
            deep = [deep]
        wrapped = gateway.wrap(cache=True)(lambda value: "ok")

        assert "ok" == wrapped(loop) == wrapped(deep)

    @pytest.mark.parametrize("value", [(1, 2), {1: 2}, b"x", {1}, Decimal(1)])
    def test_results_come_back_as_they_were_or_not_at_all(self, gateway: Gateway, value: Any) -> None:
        """
        A result that JSON would change is not kept.
        """
        calls = Calls(value, value)
        wrapped = gateway.wrap(cache=True)(calls.next)

        assert value is wrapped() and value is wrapped()
        assert 2 == len(calls.seen)

    def test_a_kept_result_is_a_copy(self, gateway: Gateway) -> None:
        """
        Who changes a result changes nobody else's.
        """
        wrapped = gateway.wrap(cache=True)(lambda: {"list": [1]})

        for _ in range(3):
            found = wrapped()
            assert {"list": [1]} == found
            found["list"].append(2)

    def test_closures_and_lambdas_are_told_apart(self) -> None:
        """
        Functions of one name that are not the same do not see each other's results in a shared cache.
        """
        with Gateway({"cache": {"ttl": "1h"}}) as gateway:

            def made(number: int) -> Callable[[int], int]:
                @gateway.wrap
                def add(value: int) -> int:
                    return value + number

                return add

            assert [2, 3] == [made(1)(1), made(2)(1)]
            assert [2, 1] == [gateway.wrap(lambda x: x + 1)(1), gateway.wrap(lambda x: x * 1)(1)]
            assert ["1!", "1?"] == [
                gateway.wrap(functools.partial(lambda x, mark: str(x) + mark, mark=mark))(1) for mark in "!?"
            ]

    def test_a_name_is_an_identity(self) -> None:
        """
        With a name, functions that are made anew share their results: the name says that they are the same.
        """
        calls = Calls("one", "two")

        with Gateway({"cache": {"ttl": "1h"}}) as gateway:

            def made() -> Callable[[int], Any]:
                return gateway.wrap(name="ask")(calls.next)

            assert "one" == made()(1) == made()(1)
        assert 1 == len(calls.seen)

    def test_a_new_version_of_a_function_asks_anew(self) -> None:
        """
        A function that was changed does not give the old one's results, as after a cell of a notebook ran again.
        """
        with Gateway({"cache": {"ttl": "1h"}}) as gateway:
            found = []
            for body in ("'old'", "'new'", "{'x' in {'x', 'y'}: 'set'}[True]"):
                space: dict[str, Any] = {"__name__": "notebook"}
                exec(f"def ask():\n    return {body}", space)
                found.append(gateway.wrap(space["ask"])())
        assert ["old", "new", "set"] == found

    def test_the_same_in_another_process(self, tmp_path: Path) -> None:
        """
        A function of a module finds its results again in another process, whatever the hashes of that process are.
        """
        (tmp_path / "asking.py").write_text(
            "from llmgate import Gateway\n"
            f"gateway = Gateway({{'cache': {{'tiers': [{{'kind': 'sqlite', 'path': {str(tmp_path / 'c.db')!r}}}]}}}})\n"
            "@gateway.wrap\n"
            "def ask(text):\n"
            "    import os\n"
            "    inner = lambda: os.getpid() if text in {'a', 'b', 'c', 'd'} else 0\n"
            "    return inner()\n"
            "print(ask('a'))\n"
            "gateway.close()\n"
        )
        environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
        pids = {
            subprocess.run(
                [sys.executable, "-m", "asking"], env=environ | {"PYTHONHASHSEED": seed}, cwd=tmp_path, text=True,
                capture_output=True, check=True,
            ).stdout
            for seed in ("1", "2", "3")
        }  # fmt: skip

        assert 1 == len(pids)

    def test_how_long(self, gateway: Gateway) -> None:
        """
        The time given is how long a result is kept, in a cache of its own or in the gateway's.
        """
        for gateway in (Gateway(), Gateway({"cache": {"ttl": "1h"}})):
            wrapped = gateway.wrap(cache=0.05)(Calls("one", "two").next)
            assert "one" == wrapped() == wrapped()
            time.sleep(0.06)
            assert "two" == wrapped()
            gateway.close()

    def test_the_gateways_cache_is_used(self) -> None:
        """
        With a cache in the configuration results are kept without a word; cache=False keeps none.
        """
        with Gateway({"cache": {"ttl": "1h"}}) as gateway:
            calls, never = Calls("one", "two"), Calls("one", "two")
            kept, unkept = gateway.wrap(calls.next), gateway.wrap(cache=False)(never.next)

            assert ["one", "one"] == [kept(), kept()]
            assert ["one", "two"] == [unkept(), unkept()]
            assert {"memory": 1} == gateway.stats().cached
            with gateway.scope(cache="no-cache"):
                assert "two" == kept()
            assert "two" == kept()

    def test_tenants_are_kept_apart(self) -> None:
        """
        A tenant, given as it is or told by the arguments, has results of its own.
        """
        with Gateway({"cache": {"ttl": "1h"}}) as gateway:
            calls = Calls(*"abcd")
            users = iter(["ann", "ann", "bob"])
            told = gateway.wrap(tenant=lambda text: next(users))(lambda text: calls.next())
            same, other = (gateway.wrap(name="same", tenant=tenant)(calls.next) for tenant in ("one", "two"))

            assert ["a", "a", "b"] == [told("text"), told("text"), told("text")]
            assert ["c", "c", "d"] == [same(), same(), other()]

    def test_identical_calls_share_one(self, gateway: Gateway) -> None:
        """
        With a cache, identical calls that run at once are one call; each caller has the exception, or a result, of its own.
        """
        calls: list[str] = []

        @gateway.wrap(cache=True)
        async def ask(text: str) -> list[str]:
            calls.append(text)
            await asyncio.sleep(0.02)
            if text == "bad":
                raise ValueError("bad")
            return [text]

        async def main() -> tuple[Any, Any]:
            good = await asyncio.gather(*(ask("good") for _ in range(3)))
            return good, await asyncio.gather(*(ask("bad") for _ in range(3)), return_exceptions=True)

        good, bad = asyncio.run(main())

        assert ["good", "bad"] == calls
        assert [["good"]] * 3 == good and 3 == len({id(one) for one in good})
        assert [ValueError] * 3 == [type(error) for error in bad]

    def test_tiers_of_its_own_are_closed_with_the_gateway(self, tmp_path: Path) -> None:
        """
        A cache of the function's own may have any tier; the gateway closes it.
        """
        gateway = Gateway()
        own = Cache.model_validate({"tiers": [{"kind": "sqlite", "path": str(tmp_path / "own.db")}]})
        calls = Calls("one", "two")
        wrapped = gateway.wrap(cache=own)(calls.next)

        assert "one" == wrapped() == wrapped()
        gateway.close()
        assert (tmp_path / "own.db").exists()
        assert not list(tmp_path.glob("*-wal"))


class TestOptions:
    def test_rate_limit(self, gateway: Gateway) -> None:
        """
        A rate is kept for this function alone, and who comes too early is refused or waits.
        """
        limited = gateway.wrap(rate_limit={"requests": "2/min", "on_limit": "reject"})(lambda: "ok")
        free = gateway.wrap(rate_limit="1000/s")(lambda: "ok")

        assert ["ok", "ok"] == [limited(), limited()]
        with pytest.raises(LimitReached) as raised:
            limited()
        assert raised.value.retry_after is not None and 0 < raised.value.retry_after <= 60
        assert "ok" == free()

    def test_circuit_breaker(self, gateway: Gateway) -> None:
        """
        After so many failures in a row the function rests; with circuit_breaker=False it never does.
        """
        calls = Calls(*(RuntimeError() for _ in range(50)))
        options = {"threshold": 2, "timeout": "1h"}
        resting = gateway.wrap(circuit_breaker=options)(calls.next)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                resting()
        with pytest.raises(CircuitOpen):
            resting()
        assert 2 == len(calls.seen)

        tireless = gateway.wrap(circuit_breaker=False)(calls.next)
        for _ in range(20):
            with pytest.raises(RuntimeError):
                tireless()

    @pytest.mark.parametrize("options", [{}, {"circuit_breaker": {"threshold": 2, "timeout": "1h"}}], ids=["", "own"])
    @pytest.mark.parametrize("error", [ValueError(), KeyError("x"), TypeError(), AssertionError()], ids=repr)
    def test_a_wrong_argument_opens_no_circuit(
        self, gateway: Gateway, error: Exception, options: dict[str, Any]
    ) -> None:
        """
        What speaks of the arguments or of the code opens no circuit, not even one that was asked for.
        """
        calls = Calls(*[error] * 20)
        wrapped = gateway.wrap(**options)(calls.next)

        for _ in range(20):
            with pytest.raises(type(error)):
                wrapped()
        assert "ok" == gateway.wrap(**options)(lambda: "ok")()

    def test_an_upstreams_failures_open_the_circuit(self, gateway: Gateway) -> None:
        """
        Without a breaker of its own a function rests after failures that its upstream is to blame for, and after no others.
        """
        calls = Calls(*[RuntimeError()] * 9, *[ConnectionResetError()] * 9)
        wrapped = gateway.wrap(retry=False)(calls.next)
        seen = []
        for _ in range(20):
            with pytest.raises((RuntimeError, ConnectionResetError, CircuitOpen)) as raised:
                wrapped()
            seen.append(raised.type)

        assert [RuntimeError] * 9 + [ConnectionResetError] * 5 + [CircuitOpen] * 6 == seen

    def test_functions_do_not_share_a_breaker(self, gateway: Gateway) -> None:
        """
        What one function does is nothing to another one of the same name.
        """

        def made(error: Exception | None) -> Callable[[], str]:
            @gateway.wrap(circuit_breaker={"threshold": 1, "timeout": "1h"})
            def ask() -> str:
                if error is not None:
                    raise error
                return "ok"

            return ask

        good, bad = made(None), made(ValueError())
        with pytest.raises(ValueError):
            bad()
        assert "ok" == good()

    def test_retry_false(self) -> None:
        """
        retry=False makes one attempt, whatever the gateway does else.
        """
        with Gateway({"retry": {"max_attempts": 5, "base_delay": 0, "max_delay": 0}}) as gateway:
            calls = Calls(ConnectionError(), ConnectionError(), "ok")
            with pytest.raises(ConnectionError):
                gateway.wrap(retry=False)(calls.next)()
            assert 1 == len(calls.seen)
            assert "ok" == gateway.wrap(calls.next)()

    def test_retry_true(self, gateway: Gateway) -> None:
        """
        retry=True is the usual number of attempts after any exception.
        """
        calls = Calls(ValueError(), "ok")
        assert "ok" == gateway.wrap(retry=True)(calls.next)()

    def test_known_failures_are_tried_again_without_a_word(self, gateway: Gateway) -> None:
        """
        Lost connections and the SDKs' passing errors are retried by the configured defaults; final ones are not.
        """

        class SDKError(Exception):
            def __init__(self, status: int, body: Any = None) -> None:
                super().__init__(f"status {status}")
                self.status_code, self.body = status, body

        for passing in (ConnectionResetError(), SDKError(500), SDKError(503)):
            calls = Calls(passing, "ok")
            assert "ok" == gateway.wrap(lambda calls=calls: calls.next())()
        quota = SDKError(429, {"error": {"code": "insufficient_quota", "message": "no money"}})
        for final in (SDKError(400), SDKError(401), quota, ValueError()):
            # Asked for retries, the gateway still does not repeat what is known to be final.
            for retry in (None, False) if isinstance(final, ValueError) else (None, True):
                calls = Calls(final, "never")
                with pytest.raises(type(final)) as raised:
                    gateway.wrap(retry=retry)(lambda calls=calls: calls.next())()
                assert final is raised.value
                assert 1 == len(calls.seen)

    def test_all_options_as_objects(self, gateway: Gateway) -> None:
        """
        Each option may be the middleware itself.
        """
        wrapped = gateway.wrap(
            cache=Cache(ttl="1h"), retry=Retry(max_attempts=2), rate_limit=RateLimit(requests_per_minute=60),
            timeout=Timeouts(total="5s"), circuit_breaker=CircuitBreaker(threshold=3), fallback=[str.lower, str.upper],
            tenant="acme", name="all",
        )(str.title)  # fmt: skip

        assert "A B" == wrapped("a b")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"retries": 3}, "there is no option 'retries'; did you mean \"retry\"?"),
            ({"retry": 0}, r"wrap.retry.max_attempts"),
            ({"cache": "soon"}, r"wrap.cache.ttl.*soon"),
            ({"rate_limit": "60"}, r"wrap.rate_limit.*60"),
            ({"timeout": -1}, r"wrap.timeout.total"),
            ({"circuit_breaker": {"treshold": 1}}, r'wrap.circuit_breaker.treshold.*did you mean "threshold"'),
            ({"fallback": 3}, r"wrap.fallback: expected a function"),
            ({"fallback": [len, 3]}, r"wrap.fallback: expected a function"),
            ({"tenant": 3}, r"wrap.tenant: expected a string, got int"),
            ({"name": 3}, r"wrap.name: expected a string, got int"),
            ({"key": 3}, r"wrap.key: expected a function, got int"),
        ],
    )
    def test_wrong_options_are_refused_at_once(self, gateway: Gateway, options: dict[str, Any], said: str) -> None:
        """
        A wrong option is a ConfigError where the decorator stands, with its path and the right spelling.
        """
        with pytest.raises(ConfigError, match=said):
            gateway.wrap(**options)

    def test_the_callers_scope_holds(self, gateway: Gateway) -> None:
        """
        Options of a surrounding scope hold for wrapped functions, too.
        """

        @gateway.wrap
        async def slow() -> None:
            await asyncio.sleep(5)

        async def main() -> None:
            with gateway.scope(timeout=0.05):
                await slow()

        with pytest.raises(DeadlineExceeded):
            asyncio.run(main())

    def test_no_fallback_if_the_caller_says_so(self, gateway: Gateway) -> None:
        """
        scope(fallback=False) leaves the fallback alone.
        """
        wrapped = gateway.wrap(fallback=lambda: "spare")(lambda: Calls(ValueError()).next())

        assert "spare" == wrapped()
        with gateway.scope(fallback=False), pytest.raises(ValueError):
            wrapped()


class TestAnswers:
    def test_a_response_keeps_its_cost_and_costs_nothing_again(self, gateway: Gateway) -> None:
        """
        A function that returns a Response returns it with its cost and usage; out of the cache it says so, and is free.
        """
        prices = {"pretend/*": {"input": 1, "output": 2}}
        with Gateway({"providers": {"pretend": {"kind": "simulated"}}, "prices": prices}) as inner:

            @gateway.wrap(cache=True)
            def ask(text: str) -> Response:
                return inner.chat("pretend/a", text)

            first, again = ask("hello"), ask("hello")

        assert first.cost is not None and first.cost > 0
        assert (None, "pretend/a", 1) == (first.cached, first.deployment, len(first.attempts))
        assert ("memory", Decimal(0), first.text) == (again.cached, again.cost, again.text)
        assert 1 == gateway.stats().outcomes["ok"] - gateway.stats().cached["memory"]

    def test_its_tokens_are_counted(self, gateway: Gateway) -> None:
        """
        The usage of a Response that a function returns is in the gateway's totals.
        """
        from llmgate import Usage

        wrapped = gateway.wrap(lambda: Response(choices=[Choice(text="a")], usage=Usage(3, 4)))
        wrapped()

        assert (3, 4) == (gateway.stats().input_tokens, gateway.stats().output_tokens)

    def test_a_gateways_own_error_comes_out_as_it_was(self, gateway: Gateway) -> None:
        """
        An error of another call inside of the function keeps that call's attempts and its own cause.
        """
        failing = Simulated(failures=["rate_limited"], retry_after=7)
        with Gateway({"retry": {"enabled": False}}, providers=[failing]) as inner:
            wrapped = gateway.wrap(retry=False)(lambda: inner.chat("simulated/a", "hello"))
            with pytest.raises(RateLimited) as raised:
                wrapped()

        assert ["simulated/a"] == [attempt.deployment for attempt in raised.value.attempts]
        assert 7.0 == raised.value.retry_after
        assert raised.value.__cause__ is None


class TestProcesses:
    def test_pickles_by_reference(self) -> None:
        """
        A function that was wrapped where it stands pickles as its name, as functions do.
        """
        assert at_import is pickle.loads(pickle.dumps(at_import))

    def test_wrapped_before_a_fork(self) -> None:
        """
        A function that was wrapped at import works in a forked child, with state of the child's own.
        """
        here = at_import("a")
        context = multiprocessing.get_context("fork")
        reading, writing = context.Pipe(duplex=False)
        child = context.Process(target=lambda: writing.send([at_import("a"), at_import("a"), os.getpid()]))
        child.start()
        child.join(10)
        first, second, pid = reading.recv()

        assert f"a in {os.getpid()}" == here == at_import("a")
        assert f"a in {pid}" == first == second
        assert pid != os.getpid()

    def test_a_closed_gateway_lets_nobody_in(self) -> None:
        """
        After close() a wrapped function raises GatewayClosed and does nothing.
        """
        gateway = Gateway()
        calls = Calls()
        wrapped = gateway.wrap(calls.next)
        gateway.close()

        with pytest.raises(GatewayError, match="closed"):
            wrapped()
        assert [] == calls.seen


def test_what_it_costs(gateway: Gateway) -> None:
    """
    Wrapping adds less than 300 function calls to a call, with every feature at its default.
    """
    import cProfile
    import pstats

    wrapped = gateway.wrap(lambda text: text)
    wrapped("warm")
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(10):
        wrapped("hello")
    profile.disable()

    assert pstats.Stats(profile).total_calls / 10 < 300  # type: ignore[attr-defined]
