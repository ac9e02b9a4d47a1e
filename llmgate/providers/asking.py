"""How a callable answers a call: it is run, what it gives is read, and its exceptions are told apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from ..dialects import dialect_named
from ..errors import ConnectionFailed, GatewayError, UpstreamError, UpstreamTimeout
from ..policies.timers import Timers
from ..runtime.callables import Items, Stopped, called, iterated
from ..types.call import Call
from ..types.redact import redacted
from ..types.reply import Reply
from ..types.response import Answer, Chunk
from ..types.wire import dumps
from .base import timers_of

__all__ = ["FunctionFailed", "Reading", "classified", "reply_from", "stand_in", "stood_for"]


class FunctionFailed(UpstreamError):
    """
    A function raised something that says nothing about retrying; the exception itself is the cause.

    Most likely the same arguments will raise it again; another function may take them.
    """

    outcome = "request"
    again = False
    kind = "function_failed"
    status = 500


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


TIMEOUTS = frozenset({"APITimeoutError", "Timeout", "TimeoutError", "TimeoutException"})
CONNECTIONS = frozenset({"APIConnectionError", "ClientConnectionError", "ConnectionError", "TransportError"})
"""What HTTP libraries and SDKs call such errors, where they do not derive from the standard ones."""


def classified(error: Exception) -> GatewayError:
    """
    What an exception of somebody else's code means; one of ours means itself.

    The SDKs' errors carry the upstream's status and body, and are read as the upstream's own would be. Time-outs and
    lost connections are told by their base classes, or by the names of them.
    """
    if isinstance(error, GatewayError):
        return error
    status = _status(error)
    if status is not None:
        return dialect_named("openai_chat").read_error(status, _headers(error), _body(error))
    said = redacted(f"{type(error).__name__}: {error}")
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & TIMEOUTS:
        return UpstreamTimeout(said, timer="function")
    if names & CONNECTIONS:
        return ConnectionFailed(said)
    return FunctionFailed(said)


def stand_in(error: Exception) -> GatewayError:
    """An error that means what an exception means and gives it back in the end, as it was."""
    meant = classified(error)
    if meant is error:
        # The call's attempts are written into its errors; those of this one are another call's.
        meant = copy.copy(meant)
    meant.__dict__[STANDS_IN] = True
    return meant


def stood_for(error: GatewayError) -> BaseException:
    """The exception that an error stands in for; itself, if it does not."""
    cause = error.__cause__
    return cause if cause is not None and STANDS_IN in error.__dict__ else error


STANDS_IN = "stands_in"


def _status(error: Exception) -> int | None:
    for source in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            status = getattr(source, name, None)
            if isinstance(status, int) and 400 <= status < 600:
                return status
    return None


def _headers(error: Exception) -> dict[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _body(error: Exception) -> bytes:
    """The upstream's words, as the SDK kept them: all of its answer, or the inner part, or only a sentence."""
    body = getattr(error, "body", None)
    said = body if isinstance(body, dict) else {"message": str(error)}
    try:
        return dumps(said if "error" in said else {"error": said})
    except (TypeError, ValueError):
        return dumps({"error": {"message": str(error)}})


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
