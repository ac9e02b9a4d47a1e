"""An upstream without a network: answers each call with the next item of a script."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StreamInterrupted
from ..types.call import Call
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Answer, Choice, Chunk, Response
from ..types.runtime import Runtime
from ..types.usage import Usage
from ..types.wire import dumps

__all__ = ["Cut", "Delay", "Item", "Piece", "Script", "call_for"]

USAGE = Usage(input_tokens=9, output_tokens=12)


@dataclass(frozen=True, slots=True)
class Delay:
    """Sleep on the call's runtime, then go on with `item`. It may stand for a whole answer or inside of a stream."""

    seconds: float
    item: Item


@dataclass(frozen=True, slots=True)
class Cut:
    """A stream that brings these pieces and breaks."""

    pieces: Sequence[Piece]


Piece = str | Chunk | BaseException | type[BaseException] | Delay
"""One piece of a stream: text, a chunk, an exception that it raises in its place, or one of these after a while."""

Item = str | Answer | BaseException | type[BaseException] | Sequence[Piece] | Cut | Delay
"""What answers a call: a text is a whole answer, an exception is raised, a list is a stream."""


class Script:
    """
    A handler that follows a script: `Script("ok", RateLimited(retry_after=7), ["chunk", "chunk"], Delay(2.0, "late"))`.

    An exception is raised as a copy of its own each time. A stream has its first piece when the call returns, as every
    reply; it ends with a finish reason and the usage.

    Args:
        items: One for each call, in order.
        always: Answers every call after those; None fails it with an AssertionError.
        usage: The tokens of every answer; None sends none.

    Attributes:
        calls: The calls so far.
        closed: How many streams were closed before their end.
    """

    def __init__(self, *items: Item, always: Item | None = None, usage: Usage | None = USAGE) -> None:
        self._items = items
        self._always = always
        self._usage = usage
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.closed = 0

    def __repr__(self) -> str:
        return f"<Script {len(self.calls)} calls of {len(self._items)} items>"

    async def __call__(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
            number = len(self.calls)
        item = self._items[number - 1] if number <= len(self._items) else self._always
        if item is None:
            raise AssertionError(f"the script has no item for call {number}")
        while isinstance(item, Delay):
            await call.runtime.sleep(item.seconds)
            item = item.item
        if isinstance(item, (BaseException, type)):
            raise _fresh(item)
        if isinstance(item, str):
            item = self._whole(item, call, number)
        if isinstance(item, Answer):
            return Reply.of(item, deployment=call.deployment, request_id=item.request_id)
        broken = isinstance(item, Cut)
        stream = _Stream(self, call, number, item.pieces if isinstance(item, Cut) else item, broken)
        return Reply(await stream.read(), stream.read, stream.close, deployment=call.deployment)

    def _whole(self, text: str, call: Call, number: int) -> Response:
        return Response(
            id=f"scripted-{number}",
            model=call.request.model or "scripted",
            usage=copy.copy(self._usage) or Usage(),
            choices=[Choice(text=text, finish_reason="stop")],
        )

    def _end(self, at: dict[str, Any]) -> Iterator[Chunk]:
        yield Chunk(finish_reason="stop", **at)
        if self._usage is not None:
            yield Chunk(usage=copy.copy(self._usage), index=-1, **at)


class _Stream:
    def __init__(self, script: Script, call: Call, number: int, pieces: Sequence[Piece], broken: bool) -> None:
        self._script = script
        self._sleep = call.runtime.sleep
        self._at: dict[str, Any] = {"id": f"scripted-{number}", "model": call.request.model or "scripted"}
        end = (StreamInterrupted("the scripted stream broke"),) if broken else script._end(self._at)
        self._pieces = itertools.chain(pieces, end)
        self._broken = False

    async def read(self) -> Sequence[Chunk]:
        piece: Any = next(self._pieces, None)
        while isinstance(piece, Delay):
            await self._sleep(piece.seconds)
            piece = piece.item
        if piece is None:
            return ()
        if isinstance(piece, (BaseException, type)):
            self._broken = True
            raise _fresh(piece)
        return (Chunk(text=piece, **self._at) if isinstance(piece, str) else piece,)

    async def close(self) -> None:
        # A reply closes what broke, too; that is no reader who had enough.
        if not self._broken:
            with self._script._lock:
                self._script.closed += 1


def _fresh(error: BaseException | type[BaseException]) -> BaseException:
    """A copy that nobody has raised yet; the same one raised twice would collect both tracebacks."""
    return error() if isinstance(error, type) else copy.copy(error)


def call_for(
    runtime: Runtime, prompt: str | list[dict[str, Any]] = "hello", *, stream: bool = False, **fields: Any
) -> Call:
    """
    A chat call, accepted and ready for a handler.

    Args:
        prompt: A text from the user, or the messages.
        fields: More fields of the call, such as `options` or `deadline`.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    body = {"messages": messages}
    request = Request("chat", "scripted", body, stream, dumps(body))
    circumstances: dict[str, Any] = {"route": "scripted", "started": runtime.now()}
    return Call(request, runtime, **circumstances | fields)
