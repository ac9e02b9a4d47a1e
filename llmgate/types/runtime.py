"""What a runtime can do for the code that waits. There are three: blocking, asyncio, virtual."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from .wire import WireRequest, WireResponse

__all__ = ["Home", "Runtime", "Signal", "Task"]

T = TypeVar("T")


class Signal(Protocol):
    """One waiter's bell. Whoever rings it may live in another thread or on another event loop."""

    def set(self) -> bool:
        """Ring. False if the waiter can no longer hear it, because its event loop is closed."""
        ...

    async def wait(self, until: float) -> bool:
        """Wait until it rings (True) or the runtime's time reaches `until` (False)."""
        ...


class Task(Protocol):
    """Work that runs beside its caller."""

    def cancel(self) -> None: ...

    async def wait(self) -> None:
        """Wait until it has ended, however it ended. The caller's own cancellation passes through."""
        ...


class Home(Protocol):
    """Where coroutines run that need an event loop, one after another, all of them on the same one."""

    async def run(self, work: Awaitable[T], until: float) -> T:
        """
        What `work` returns.

        Raises:
            TimeoutError: If it was not done until then; it is cancelled.
        """
        ...

    async def close(self) -> None:
        """Close what was made for this."""
        ...


class Runtime(Protocol):
    """
    The only door to the world: time, sleep, network, other threads.

    One async text runs on every runtime. On the blocking one each of these calls returns without
    suspending, so `drive` can run the whole call with a single step.
    """

    def now(self) -> float:
        """Seconds on a monotonic clock that all runtimes of a process share; virtual ones have their own."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def send(self, request: WireRequest, until: float) -> WireResponse:
        """
        Send a request and wait for the head of its answer.

        Raises:
            TimeoutError: If the head did not come until then.
            ConnectionFailed, UpstreamTimeout, ProtocolError: As the words say.
        """
        ...

    async def offload(self, function: Callable[..., T], *args: Any) -> T:
        """Run a plain function that may block, where it blocks nobody else."""
        ...

    async def within(self, until: float, work: Awaitable[T]) -> T:
        """
        Await `work`, but not past `until`.

        Raises:
            TimeoutError: If the time came first; `work` is cancelled. The blocking runtime cannot cut
                short what blocks, it raises afterwards.
        """
        ...

    async def detached(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` out of reach of the caller's cancellation; the blocking runtime runs it in place."""
        ...

    def detach(self, work: Coroutine[Any, Any, object], over: Callable[[object], object]) -> Task:
        """
        As `spawn`, for a caller that waits for the work anyway: the blocking runtime needs no thread for it,
        it runs the work in place and returns when it has ended.

        Args:
            over: Called once when the work has ended, however it ended; also if it was cancelled before its
                first step, when no line of it runs. What it is given means nothing.
        """
        ...

    def home(self) -> Home:
        """An event loop for coroutines that need one: the caller's; the blocking runtime makes one. Close it."""
        ...

    def signal(self) -> Signal: ...

    def spawn(self, work: Coroutine[Any, Any, object]) -> Task:
        """Run `work` beside the caller, out of reach of the caller's cancellation."""
        ...
