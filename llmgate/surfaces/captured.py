"""A function whose calls are captured, step by step: what it does is done inside of its run, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from inspect import isawaitable
from typing import Any

from ..providers.base import timers_of
from ..runtime.callables import Kind
from ..types.call import Call, Trail
from ..types.capture import Run, Tally
from ..types.reply import Outcome, Reply
from ..types.response import Answer, Value
from .handed import is_stream

__all__ = ["captured", "inside", "summed", "until"]


def inside(run: Run, function: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    """The function, every step of which is taken in the run: from its call to its return, or from item to item."""
    if kind == "coroutine":
        return partial(_awaited, run, function)
    return partial(_called if kind == "function" else _begun, run, function)


def _called(run: Run, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    token = run.enter()
    try:
        result = function(*args, **keywords)
    finally:
        run.leave(token)
    return _waited_for(run, result) if isawaitable(result) else result


async def _awaited(run: Run, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    return await _waited_for(run, function(*args, **keywords))


async def _waited_for(run: Run, work: Awaitable[Any]) -> Any:
    token = run.enter()
    try:
        return await work
    finally:
        run.leave(token)


def _begun(run: Run, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    made = function(*args, **keywords)
    return _Steps(run, made) if isinstance(made, Iterator) else _LaterSteps(run, made)


class _Steps:
    """A generator; each item is fetched in the run, and none of its context is seen between two."""

    __slots__ = ("_items", "_run")

    def __init__(self, run: Run, items: Iterator[Any]) -> None:
        self._run = run
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        token = self._run.enter()
        try:
            return next(self._items)
        finally:
            self._run.leave(token)

    def close(self) -> None:
        token = self._run.enter()
        try:
            self._items.close()  # type: ignore[attr-defined]
        finally:
            self._run.leave(token)


class _LaterSteps:
    __slots__ = ("_items", "_run")

    def __init__(self, run: Run, items: AsyncIterator[Any]) -> None:
        self._run = run
        self._items = items

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await _waited_for(self._run, anext(self._items))

    async def aclose(self) -> None:
        await _waited_for(self._run, self._items.aclose())  # type: ignore[attr-defined]


async def captured(run: Run, answering: Awaitable[Reply]) -> Reply:
    """The function's reply, which ends the run when it ends, with the tokens of the calls inside."""
    try:
        reply = await answering
    except BaseException:
        run.over = True
        raise
    whole = reply.whole
    # A stream that was returned goes on after the function has.
    run.over = whole is not None and not (isinstance(whole, Value) and is_stream(whole.value))
    reply.on_end(partial(_settle, run), run.call.trail.later)
    return reply


def _settle(run: Run, outcome: Outcome) -> None:
    run.over = True
    if run.tally.usage is not None:
        outcome.usage = run.tally.usage


def summed(answer: Answer, trail: Trail) -> Answer:
    """An answer that a captured function returns, with what all calls inside came to; those who made it keep theirs."""
    tally = trail.tally
    if tally is None or not tally.runs:
        return answer
    return replace(answer, usage=tally.usage or answer.usage, attempts=trail.attempts, priced=partial(_cost, tally))


def _cost(tally: Tally, answer: Answer) -> Decimal | None:
    return tally.cost


def until(call: Call) -> float:
    """When the calls inside must be over. The clocks of a stream are wound up again with every item, the call's is not."""
    return call.deadline if call.request.stream else timers_of(call).until
