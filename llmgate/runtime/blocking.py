"""The runtime of plain threads: every wait blocks the thread, nothing ever suspends."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import GatewayClosed
from ..types.wire import WireRequest, WireResponse
from .drive import drive
from .homes import Bounds, OwnLoop
from .process import STOPPED, ProcessLock

if TYPE_CHECKING:
    from .http import Engine

__all__ = ["BlockingRuntime"]

T = TypeVar("T")


class BlockingRuntime:
    """
    Waits by blocking the calling thread. One instance serves any number of threads.

    Args:
        engine: Makes the HTTP engine the first time something is sent.
    """

    def __init__(self, engine: Callable[..., Engine] | None = None) -> None:
        self._make_engine = engine
        self._engine: Engine | None = None
        self._lock = ProcessLock()
        self._pid = os.getpid()
        self._asleep: set[_ThreadSignal] = set()
        self._bounds = Bounds()
        self._stopped = False

    now = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        bell = _ThreadSignal()
        self._asleep.add(bell)
        try:
            if self._stopped or await bell.wait(self.now() + seconds):
                raise GatewayClosed(STOPPED)
        finally:
            self._asleep.discard(bell)

    async def send(self, request: WireRequest, until: float) -> WireResponse:
        clients = request.clients
        if clients is not None and clients.blocking is not None and self._make_engine is not None:
            if self._stopped:
                raise GatewayClosed(STOPPED)
            return await self._make_engine(clients.blocking).send(request, until)
        engine = self._engine
        if engine is None or self._pid != os.getpid():
            engine = self._opened()
        return await engine.send(request, until)

    def _opened(self) -> Engine:
        with self._lock:
            self._forked()
            if self._stopped:
                raise GatewayClosed(STOPPED)
            if self._engine is None:
                if self._make_engine is None:
                    raise RuntimeError("this runtime has no network")
                self._engine = self._make_engine()
            return self._engine

    def _forked(self) -> None:
        """The child of a fork lets go of the parent's connections."""
        if self._pid != os.getpid():
            engine, self._engine = self._engine, None
            self._pid = os.getpid()
            self._asleep.clear()
            self._bounds.forget()
            if engine is not None:
                engine.drop()

    async def offload(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    async def within(self, until: float, work: Awaitable[T]) -> T:
        result = await work
        if self.now() > until:
            raise TimeoutError
        return result

    async def detached(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    def signal(self) -> _ThreadSignal:
        return _ThreadSignal()

    def spawn(self, work: Coroutine[Any, Any, object]) -> _ThreadTask:
        return _ThreadTask(work)

    def detach(self, work: Coroutine[Any, Any, object], over: Callable[[object], object]) -> _DoneTask:
        try:
            drive(work)
        finally:
            over(None)
        return _DoneTask()

    def home(self) -> OwnLoop:
        """An event loop of its own; it turns on a thread of its own where this one has a running loop already."""
        return OwnLoop(_aside, self._bounds)

    def stop(self) -> None:
        """
        Send nothing from now on, let nobody sleep any more and cut short what runs on loops of its own: whoever is concerned
        is told that the gateway is closed.
        """
        self._stopped = True
        for bell in self._asleep.copy():
            bell.set()
        self._bounds.stop()

    def close(self) -> None:
        """Close the connections, those in use, too. The runtime opens new ones if it was not stopped."""
        with self._lock:
            self._forked()
            engine, self._engine = self._engine, None
        if engine is not None:
            drive(engine.close())


def _aside(function: Callable[[], Any]) -> Any:
    """What the function returns on another thread; this one waits."""
    task = _ThreadTask(_called(function))
    drive(task.wait())
    return task.result()


async def _called(function: Callable[[], Any]) -> Any:
    return function()


class _ThreadSignal:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> bool:
        self._event.set()
        return True

    async def wait(self, until: float) -> bool:
        # An infinite wait is cut in hours, because the lock's own limit is about 292 years on some
        # platforms and 49 days on others.
        while True:
            left = until - time.monotonic()
            if self._event.wait(min(max(left, 0.0), 3600.0)):
                return True
            if left <= 3600.0:
                return False


class _DoneTask:
    """Work that has ended already."""

    __slots__ = ()

    def cancel(self) -> None:
        """Nothing to do."""

    async def wait(self) -> None:
        """Nothing to wait for."""


class _ThreadTask:
    """Work on a daemon thread of its own. A thread cannot be cancelled from outside; it ends by its deadline."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="llmgate-task", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = drive(self._work)
        except BaseException as error:
            self._error = error

    def cancel(self) -> None:
        """Nothing to do: see the class."""

    async def wait(self) -> None:
        self._thread.join()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result
