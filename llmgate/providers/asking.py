"""How a callable answers a call: it is run, and what it gives is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from ..errors import GatewayError
from ..policies.timers import Timers
from ..runtime.callables import Items, Stopped, called, iterated
from ..types.call import Call
from ..types.reply import Reply
from ..types.response import Answer, Chunk
from .base import timers_of
from .exceptions import classified

__all__ = ["Reading", "reply_from"]


class Reading(Protocol):
    """What to make of that which a callable gives; one for each call."""

    def follows(self, result: object) -> bool:
        """Whether the result is an iterator whose items are the answer."""
        ...

    def whole(self, result: Any) -> Answer:
        """
        The answer that a result stands for.

        Raises:
            GatewayError: If it stands for none.
        """
        ...

    def pieces(self, item: Any) -> Sequence[Chunk]:
        """The pieces that an item stands for; none if it says nothing."""
        ...


async def reply_from(
    call: Call,
    function: Callable[..., Any],
    args: Sequence[Any],
    keywords: Mapping[str, Any],
    *,
    reading: Reading,
    meaning: Callable[[Exception], GatewayError] = classified,
) -> Reply:
    """
    Run a callable of any kind and make a reply of what it returns or yields.

    Args:
        reading: What to make of that which it gives.
        meaning: What one of its exceptions means; the exception becomes the cause.
    """
    timers = timers_of(call)
    try:
        result = await called(call.runtime, timers.until, function, args, keywords)
        follows = reading.follows(result)
    except Exception as error:
        _raise(error, call, timers, meaning)
    if follows:
        return await _Followed(call, timers, iterated(call.runtime, result), reading, meaning).reply()
    return Reply.of(reading.whole(result), deployment=call.deployment)


def _raise(error: Exception, call: Call, timers: Timers, meaning: Callable[[Exception], GatewayError]) -> NoReturn:
    now = call.runtime.now()
    if isinstance(error, TimeoutError) and now >= timers.until:
        raise timers.expired(now) from error
    if isinstance(error, Stopped):
        error = error.error
    meant = meaning(error)
    if meant is error:
        raise meant
    raise meant from error


class _Followed:
    """A reply whose pieces are the items of an iterator."""

    def __init__(
        self, call: Call, timers: Timers, items: Items, reading: Reading, meaning: Callable[[Exception], GatewayError]
    ) -> None:
        self._call = call
        self._timers = timers
        self._items = items
        self._reading = reading
        self._meaning = meaning
        self._over = False

    async def reply(self) -> Reply:
        try:
            first = await self._next()
        except BaseException:
            await self._items.close()
            raise
        reply = Reply(first, self._next, self._items.close, deployment=self._call.deployment)
        reply.first_token_s = self._timers.first_token_s
        return reply

    async def _next(self) -> Sequence[Chunk]:
        timers, now = self._timers, self._call.runtime.now
        while not self._over:
            try:
                more, item = await self._items.pull(timers.until)
            except Exception as error:
                _raise(error, self._call, timers, self._meaning)
            if not more:
                # An iterator that ends has said all it wanted: that is its terminal event.
                self._over = True
                await self._items.close()
                break
            timers.bytes_came(now())
            chunks = self._reading.pieces(item)
            if chunks:
                timers.content_came(now())
                return chunks
        return ()
