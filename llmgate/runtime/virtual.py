"""The runtime of tests and simulations: time moves only when everybody waits.

Hours pass in milliseconds, exactly, and the same seed gives the same run. It can cancel a task that is
blocked and, what real event loops make hard to provoke, one that is already runnable.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from ..types.wire import WireRequest, WireResponse
from .homes import Here

__all__ = ["VirtualRuntime", "VirtualTask"]

T = TypeVar("T")


class VirtualRuntime:
    """
    Runs coroutines on a clock of its own.

    Args:
        seed: With a seed, tasks that are runnable at the same instant run in an order it decides;
            without one they run in the order in which they became runnable.
        network: Answers `send`; without one there is no network.

    Attributes:
        slept: Every `sleep` in seconds, in order, for tests to look at.
    """

    def __init__(
        self,
        seed: int | None = None,
        network: Callable[[WireRequest], Awaitable[WireResponse]] | None = None,
    ) -> None:
        self._time = 0.0
        self._ready: deque[VirtualTask] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._ticket = 0
        self._random = None if seed is None else random.Random(seed)
        self._network = network
        self._current: VirtualTask | None = None
        self.slept: list[float] = []

    def now(self) -> float:
        return self._time

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Run `work` and whatever it spawns until it is done.

        Raises:
            RuntimeError: If everybody waits and nobody will ever wake them.
        """
        main = self.spawn(work)
        while not main.done:
            if not self.step():
                raise RuntimeError("deadlock: every task waits and no timer is set")
        return main.result()  # type: ignore[no-any-return]

    def run_until_idle(self) -> None:
        """Run until no task is left that could go on."""
        while self.step():
            pass

    def step(self) -> bool:
        """Let one task go to its next wait, or the time to the next timer; False if there is neither."""
        while self._timers and self._timers[0][2].ring is None:
            # Nobody waits for it any more, so time does not go there.
            heapq.heappop(self._timers)
        if not self._ready:
            if not self._timers:
                return False
            when, _, timer = heapq.heappop(self._timers)
            self._time = max(self._time, when)
            assert timer.ring is not None
            timer.ring()
            return True
        if self._random is None:
            task = self._ready.popleft()
        else:
            at = self._random.randrange(len(self._ready))
            task = self._ready[at]
            del self._ready[at]
        task.ready = False
        self._current = task
        try:
            task.step()
        finally:
            self._current = None
        return True

    def at(self, when: float, ring: Callable[[], object]) -> _Timer:
        """Call `ring` when the clock reaches `when`; timers of the same instant in the order in which they were set."""
        self._ticket += 1
        timer = _Timer(ring)
        heapq.heappush(self._timers, (when, self._ticket, timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.signal().wait(self._time + max(seconds, 0.0))

    async def send(self, request: WireRequest, until: float) -> WireResponse:
        if self._network is None:
            raise RuntimeError("this virtual runtime has no network")
        return await self.within(until, self._network(request))

    async def offload(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    async def within(self, until: float, work: Awaitable[T]) -> T:
        task = self._current
        if task is None or until == math.inf:
            return await work
        scope = _Scope(task)
        timer = self.at(until, scope.expire)
        try:
            return await work
        except asyncio.CancelledError:
            # A caller's cancellation that came before this scope was opened does not count: somebody tidies up in it.
            if scope.expired and task.cancellations == scope.cancellations:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    async def detached(self, work: Coroutine[Any, Any, T]) -> T:
        task = self.spawn(work)
        await task.wait()
        return task.result()  # type: ignore[no-any-return]

    def home(self) -> Here:
        return Here(self.within)

    def signal(self) -> _VirtualSignal:
        return _VirtualSignal(self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> VirtualTask:
        task = VirtualTask(self, work)
        self.wake(task)
        return task

    def detach(self, work: Coroutine[Any, Any, object], over: Callable[[object], object]) -> VirtualTask:
        task = self.spawn(work)
        task.over = over
        return task

    def wake(self, task: VirtualTask) -> None:
        if not (task.done or task.ready):
            task.ready = True
            self._ready.append(task)

    @property
    def current(self) -> VirtualTask:
        if self._current is None:
            raise RuntimeError("nothing runs; use runtime.run(...)")
        return self._current


class _Timer:
    """Something that is to be called at a certain time."""

    __slots__ = ("ring",)

    def __init__(self, ring: Callable[[], object]) -> None:
        self.ring: Callable[[], object] | None = ring

    def cancel(self) -> None:
        """Call nobody. Harmless twice, and when it has rung."""
        self.ring = None


class _Scope:
    """A deadline around a part of a task."""

    __slots__ = ("cancellations", "expired", "task")

    def __init__(self, task: VirtualTask) -> None:
        self.task = task
        self.cancellations = task.cancellations
        self.expired = False

    def expire(self) -> None:
        self.expired = True
        self.task.interrupt()


class VirtualTask:
    """A coroutine on virtual time."""

    def __init__(self, runtime: VirtualRuntime, work: Coroutine[Any, Any, Any]) -> None:
        self._runtime = runtime
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self._interrupted = False
        self._bells: list[_VirtualSignal] = []
        self.over: Callable[[object], object] | None = None
        self.cancellations = 0
        self.done = False
        self.ready = False
        """Whether it is among those that will go on at this instant."""

    def step(self) -> None:
        """Run to the next wait. What is no error and no cancellation, such as a KeyboardInterrupt, is raised at once."""
        if self.done:
            return  # it cancelled itself, and then did not wait any more
        try:
            if self._interrupted:
                self._interrupted = False
                self._work.throw(asyncio.CancelledError())
            else:
                self._work.send(None)
        except StopIteration as stop:
            self._end(stop.value, None)
        except (Exception, asyncio.CancelledError) as error:
            self._end(None, error)
        except BaseException as error:
            self._end(None, error)
            raise

    def _end(self, result: Any, error: BaseException | None) -> None:
        self.done, self._result, self._error = True, result, error
        for bell in self._bells:
            bell.set()
        if self.over is not None:
            self.over(self)

    def cancel(self) -> None:
        """Cancel it at its next step, whether it is blocked or already runnable."""
        if not self.done:
            self.cancellations += 1
            self.interrupt()

    def interrupt(self) -> None:
        self._interrupted = True
        self._runtime.wake(self)

    async def wait(self) -> None:
        if not self.done:
            bell = self._runtime.signal()
            self._bells.append(bell)
            await bell.wait(math.inf)

    def result(self) -> Any:
        """
        What it returned, or the exception it raised.

        Raises:
            RuntimeError: If it has not ended.
        """
        if not self.done:
            raise RuntimeError("the task has not ended")
        if self._error is not None:
            raise self._error
        return self._result


class _Suspend:
    """Gives the control back to the scheduler once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


_SUSPEND = _Suspend()


class _VirtualSignal:
    __slots__ = ("_is_set", "_runtime", "_waiter")

    def __init__(self, runtime: VirtualRuntime) -> None:
        self._runtime = runtime
        self._is_set = False
        self._waiter: VirtualTask | None = None

    def set(self) -> bool:
        self._is_set = True
        self._wake()
        return True

    def _wake(self) -> None:
        if self._waiter is not None:
            self._runtime.wake(self._waiter)

    async def wait(self, until: float) -> bool:
        if self._is_set:
            return True
        runtime = self._runtime
        self._waiter = runtime.current
        timer = runtime.at(until, self._wake) if until < math.inf else None
        try:
            # Also where the time is over already: the others are let go on. Only the bell, the timer and a cancellation
            # wake a task, each once.
            await _SUSPEND
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return self._is_set
