"""What a middleware is: options, and one function from handler to handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ..types.call import Call, Handler
from ..types.reply import Outcome, Reply, Settle

__all__ = ["Middleware", "UserMiddleware", "attended", "compose"]

UserMiddleware = Callable[[Call, Handler], Awaitable[Reply]]
"""The short way to write one: `async def mine(call, call_next): return await call_next(call)`."""

SLOTS = ("outermost", "before_cache", "before_attempts", "each_attempt")
"""Where a user's own middleware can stand, outermost first. The order of the built-in ones is fixed."""


class Middleware(BaseModel):
    """
    Options beside one method. The options are frozen; the state lives in what `wrap` returns.

    `wrap` is called once for every place where the middleware stands, so each deployment gets a state of its own.
    A middleware waits for nothing but `call_next` and `call.runtime`; then it runs in both colours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    slot: ClassVar[str] = "before_attempts"

    def wrap(self, call_next: Handler) -> Handler:
        raise NotImplementedError(f"{type(self).__name__} has no wrap()")


async def attended(reply: Awaitable[Reply], tell: Settle) -> Reply:
    """
    Await a reply and have `tell` called exactly once about its end: when it failed or was cancelled
    before its first chunk, and else when the reply ends.
    """
    try:
        answer = await reply
    except BaseException as error:
        tell(Outcome.of(error))
        raise
    answer.on_end(tell)
    return answer


def compose(handler: Handler, layers: list[Middleware | UserMiddleware]) -> Handler:
    """The handler with the layers around it, the first of them outermost."""
    for layer in reversed(layers):
        handler = _attached(layer, handler)
    return handler


def _attached(layer: Middleware | UserMiddleware, call_next: Handler) -> Handler:
    """
    The layer around `call_next`. Where it raises after it was given a reply, the reply is closed: the exception, which
    anybody may keep, would hold on to it by its traceback.
    """

    async def remembered(call: Call) -> Reply:
        reply = await call_next(call)
        call.trail.notes.setdefault(remembered, []).append(reply)
        return reply

    handler = layer.wrap(remembered) if isinstance(layer, Middleware) else _lifted(layer, remembered)

    async def attached(call: Call) -> Reply:
        try:
            return await handler(call)
        except BaseException:
            for reply in call.trail.notes.get(remembered, ()):
                await reply.close()
            raise
        finally:
            call.trail.notes.pop(remembered, None)

    return attached


def _lifted(function: UserMiddleware, call_next: Handler) -> Handler:
    async def lifted(call: Call) -> Reply:
        return await function(call, call_next)

    return lifted
