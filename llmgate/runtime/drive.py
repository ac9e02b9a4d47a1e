"""One async text, run without an event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["drive"]

T = TypeVar("T")

LEAVING_MAX = 100  # waits on the way out; more than anybody nests clients and locks


def drive(work: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine that never suspends, in one step.

    On the blocking runtime every wait blocks the thread and returns, so a whole call is such a coroutine.

    Raises:
        RuntimeError: If it does suspend: something in it awaited the event loop instead of `call.runtime`.
    Source: gel-python's `iter_coroutine`.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    for _ in range(LEAVING_MAX):
        try:
            work.close()
        except RuntimeError:
            continue  # it ignored that it was to end, because on its way out it waits again: a client is being closed
        break
    raise RuntimeError(
        "a call from sync code awaited an event loop; middleware waits on call.runtime (sleep, send, offload), "
        "or is used through gateway.aio only"
    )
