"""Streams that a function returns: handed on as they are, while the call lasts until they end.

A generator function says that its answer comes in pieces; a plain one may return the stream of an SDK all the same. It
stays what it is: its class, its attributes, its pace, read by nobody but the caller. All that is added is that whoever
holds a place for the call, or judges how it went, learns when the stream ends, and how. No clock of ours runs meanwhile
but the reader's own, and what breaks off is not begun again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import Token
from functools import partial
from inspect import isawaitable
from types import AsyncGeneratorType, FunctionType, GeneratorType
from typing import Any

from ..errors import GatewayError
from ..runtime.edge import AsyncStream, Stream
from ..types.capture import Run
from ..types.reply import Outcome, Reply

__all__ = ["handed", "is_stream"]

PLAIN = frozenset({str, int, float, bool, type(None), list, dict, tuple, bytes})
GENERATORS = (GeneratorType, AsyncGeneratorType)
CLOSINGS = frozenset({"close", "aclose"})


def is_stream(value: object) -> bool:
    """
    Whether a value is read piece by piece: a stream of ours, a generator, or an iterator of a class written in Python, as
    those of all SDKs are. Iterators in C are data at hand: files, cursors, `map` and `zip`.
    """
    kind = type(value)
    if kind in PLAIN:
        return False
    return isinstance(value, (Stream, AsyncStream, *GENERATORS)) or _iterates(kind) or _iterates_later(kind)


def _iterates(kind: type) -> bool:
    return issubclass(kind, (Stream, GeneratorType)) or isinstance(getattr(kind, "__next__", None), FunctionType)


def _iterates_later(kind: type) -> bool:
    return issubclass(kind, (AsyncStream, AsyncGeneratorType)) or isinstance(
        getattr(kind, "__anext__", None), FunctionType
    )


def handed(stream: Any, reply: Reply, run: Run | None, meaning: Callable[[Exception], GatewayError]) -> Any:
    """
    The stream in the place of itself, of the same colour.

    Args:
        reply: Ends with the stream.
        run: Of the captured function that returned it, if it was one; its calls go on inside.
        meaning: What an exception of the stream means to those who judge.
    """
    kind = type(stream)
    state = _State(stream, reply, run, meaning)
    if not _iterates_later(kind):
        return _Handed(state)
    return _HandedBoth(state) if _iterates(kind) else _HandedLater(state)


class _State:
    """What is known about a stream that was handed on."""

    __slots__ = ("_items", "_later_items", "_meaning", "reply", "run", "stream")

    def __init__(
        self, stream: Any, reply: Reply, run: Run | None, meaning: Callable[[Exception], GatewayError]
    ) -> None:
        self.stream = stream
        self.reply = reply
        self.run = run
        self._meaning = meaning
        self._items: Iterator[Any] | None = None
        self._later_items: AsyncIterator[Any] | None = None

    def items(self) -> Iterator[Any]:
        if self._items is None:
            self._items = iter(self.stream)
        return self._items

    def later_items(self) -> AsyncIterator[Any]:
        if self._later_items is None:
            self._later_items = aiter(self.stream)
        return self._later_items

    def enter(self) -> Token[Run | None] | None:
        return None if self.run is None else self.run.enter()

    def leave(self, token: Token[Run | None] | None) -> None:
        if self.run is not None and token is not None:
            self.run.leave(token)

    def failed(self, error: BaseException) -> None:
        meant = self._meaning(error) if isinstance(error, Exception) else error
        self.reply.finish(Outcome.of(meant).name, meant)

    def closed(self) -> None:
        self.reply.finish("closed")

    def dropped(self) -> None:
        # The garbage collector calls this; what is held is given back when no lock can be in the way.
        if self.reply.ended is None:
            later, reply = self.reply.later, self.reply
            if later is None:
                reply.finish("closed")
            else:
                later(partial(reply.finish, "closed"))


class _Bearing:
    """Stands for a stream: it has its class and its attributes."""

    __slots__ = ("__weakref__", "_handed")

    def __init__(self, state: _State) -> None:
        self._handed = state

    @property  # type: ignore[misc]  # of objects in the place of others nobody sets it
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._handed.stream)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._handed.stream, name)
        return partial(_closing, self._handed, found) if name in CLOSINGS else found

    def __repr__(self) -> str:
        return repr(self._handed.stream)

    def __del__(self) -> None:
        self._handed.dropped()


def _closing(state: _State, close: Callable[[], Any]) -> Any:
    token = state.enter()
    try:
        result = close()
    except BaseException as error:
        state.failed(error)
        raise
    finally:
        state.leave(token)
    if isawaitable(result):
        return _closing_later(state, result)
    state.closed()
    return result


async def _closing_later(state: _State, closing: Awaitable[Any]) -> Any:
    token = state.enter()
    try:
        return await closing
    finally:
        state.closed()
        state.leave(token)


class _Plain(_Bearing):
    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        state = self._handed
        token = state.enter()
        try:
            return next(state.items())
        except StopIteration:
            state.reply.finish()
            raise
        except BaseException as error:
            state.failed(error)
            raise
        finally:
            state.leave(token)

    def __enter__(self) -> Any:
        state = self._handed
        token = state.enter()
        try:
            entered = state.stream.__enter__()
        finally:
            state.leave(token)
        return self if entered is state.stream else entered

    def __exit__(self, *raised: Any) -> Any:
        return _closing(self._handed, partial(self._handed.stream.__exit__, *raised))


class _Later(_Bearing):
    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        state = self._handed
        token = state.enter()
        try:
            return await anext(state.later_items())
        except StopAsyncIteration:
            state.reply.finish()
            raise
        except BaseException as error:
            state.failed(error)
            raise
        finally:
            state.leave(token)

    async def __aenter__(self) -> Any:
        state = self._handed
        token = state.enter()
        try:
            entered = await state.stream.__aenter__()
        finally:
            state.leave(token)
        return self if entered is state.stream else entered

    async def __aexit__(self, *raised: Any) -> Any:
        return await _closing(self._handed, partial(self._handed.stream.__aexit__, *raised))


class _Handed(_Plain):
    __slots__ = ()


class _HandedLater(_Later):
    __slots__ = ()


class _HandedBoth(_Plain, _Later):
    __slots__ = ()
