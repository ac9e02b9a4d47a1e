"""The runtime of asyncio: one object for every event loop of the process.

It remembers nothing about a loop but its HTTP engine, weakly; so one gateway serves several loops at
once, and loops that come and go.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import GatewayClosed
from ..types.wire import WireRequest, WireResponse
from .bells import Alarms, LoopSignal, running_loop
from .drive import drive
from .homes import Bounds, Here
from .process import STOPPED, ProcessLock

if TYPE_CHECKING:
    from .http import Engine

__all__ = ["AsyncioRuntime"]

T = TypeVar("T")

CLOSE_S = 1.0  # seconds that other event loops are given to close their connections


class AsyncioRuntime:
    """
    Waits on whatever event loop runs. One instance serves any number of loops.

    Args:
        engine: Makes an HTTP engine; called once for every loop that sends something.
    """

    def __init__(self, engine: Callable[..., Engine] | None = None) -> None:
        self._make_engine = engine
        self._engines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Engine] = weakref.WeakKeyDictionary()
        self._janitors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = (
            weakref.WeakKeyDictionary()
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lock = ProcessLock()
        self._pid = os.getpid()
        self._alarms = Alarms()
        self._asleep: set[LoopSignal] = set()
        self._bounds = Bounds()
        self._stopped = False

    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        bell = self.signal()
        self._asleep.add(bell)
        try:
            if self._stopped or await bell.wait(self.now() + seconds):
                raise GatewayClosed(STOPPED)
        finally:
            self._asleep.discard(bell)

    async def send(self, request: WireRequest, until: float) -> WireResponse:
        clients = request.clients
        if clients is not None and clients.asyncio is not None and self._make_engine is not None:
            if self._stopped:
                raise GatewayClosed(STOPPED)
            return await self._make_engine(clients.asyncio).send(request, until)
        engine = self._engines.get(asyncio.get_running_loop())
        if engine is None:
            engine = await self._opened()
        return await engine.send(request, until)

    async def _opened(self) -> Engine:
        loop = asyncio.get_running_loop()
        with self._lock:
            self._sweep()
            if self._stopped:
                raise GatewayClosed(STOPPED)
            if self._make_engine is None:
                raise RuntimeError("this runtime has no network")
            engine = self._engines.get(loop)
            if engine is not None:
                return engine
            engine = self._engines[loop] = self._make_engine()
        # `asyncio.run` closes every asynchronous generator before it closes the loop: the one moment
        # at which connections can still be closed in order, without asking the user for anything.
        janitor = self._janitor(loop, engine)
        self._janitors[loop] = janitor
        await anext(janitor)
        return engine

    async def _janitor(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._engines.get(loop) is engine:
                del self._engines[loop]
            await engine.close()

    def _sweep(self) -> None:
        if self._pid != os.getpid():
            # The child of a fork lets go of the parent's connections. Its event loops are copies that share their
            # selector with the originals, so nothing may be said to them.
            self._pid = os.getpid()
            for engine in self._engines.values():
                engine.drop()
            self._engines.clear()
            for janitor in self._janitors.values():
                drive(janitor.aclose())
            self._janitors.clear()
            self._asleep.clear()
            self._bounds.forget()
        for loop in [loop for loop in self._engines if loop.is_closed()]:
            self._engines.pop(loop).abandon()

    async def offload(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.to_thread(function, *args)

    async def within(self, until: float, work: Awaitable[T]) -> T:
        return await self._bounds.within(until, work)

    async def detached(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.get_running_loop().create_task(work)
        self._keep(task)
        return await asyncio.shield(task)

    def signal(self) -> LoopSignal:
        return LoopSignal(self._alarms)

    def spawn(self, work: Coroutine[Any, Any, object]) -> _LoopTask:
        task = asyncio.get_running_loop().create_task(work)
        self._keep(task)
        return _LoopTask(task)

    def detach(self, work: Coroutine[Any, Any, object], over: Callable[[object], object]) -> _LoopTask:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        # One callback, because each is a round of the loop of its own.
        task.add_done_callback(partial(self._over, over))
        return _LoopTask(task)

    def _over(self, over: Callable[[object], object], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        over(task)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        # The loop holds its tasks weakly; somebody has to hold them.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def home(self) -> Here:
        """The event loop that runs."""
        return Here(self.within)

    def stop(self) -> None:
        """
        Send nothing from now on, let nobody sleep any more and cut short what runs `within` a time: whoever is concerned
        is told that the gateway is closed.
        """
        self._stopped = True
        for bell in self._asleep.copy():
            bell.set()
        self._bounds.stop()

    async def close(self, timeout_s: float = CLOSE_S) -> None:
        """Close the connections of every loop, those in use, too, each on its own loop; those of closed loops are dropped."""
        here = asyncio.get_running_loop()
        engines = self._dismissed()
        waiting = [asyncio.wrap_future(_closed_on(loop, engine)) for loop, engine in engines if loop is not here]
        for loop, engine in engines:
            if loop is here:
                await engine.close()
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)

    def close_from_thread(self, timeout_s: float = CLOSE_S) -> None:
        """The same from plain code. A loop that runs in this very thread does it as soon as it is its turn again."""
        here = running_loop()
        engines = self._dismissed()
        closed = [(loop, _closed_on(loop, engine)) for loop, engine in engines]
        concurrent.futures.wait([future for loop, future in closed if loop is not here], timeout_s)

    def _dismissed(self) -> list[tuple[asyncio.AbstractEventLoop, Engine]]:
        with self._lock:
            self._sweep()
            engines = list(self._engines.items())
            self._engines.clear()
        return engines


def _closed_on(loop: asyncio.AbstractEventLoop, engine: Engine) -> concurrent.futures.Future[None]:
    """Have a loop close its engine; the future tells when it has. One that does not run is not waited for."""
    done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def close() -> None:
        closing = loop.create_task(engine.close())
        closing.add_done_callback(lambda _: done.set_result(None))

    if loop.is_running():
        with contextlib.suppress(RuntimeError):  # closed just now
            loop.call_soon_threadsafe(close)
            return done
    engine.abandon()
    done.set_result(None)
    return done


class _LoopTask:
    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    def cancel(self) -> None:
        loop = self._task.get_loop()
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            self._task.cancel()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self._task.cancel)

    async def wait(self) -> None:
        if not self._task.done():
            await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()
