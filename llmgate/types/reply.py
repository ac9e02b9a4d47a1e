"""An answer on its way back: always a stream, and always with exactly one end.

A handler returns a `Reply` whose first pieces are already there, so whatever a retry can repair is an
exception at `await call_next(call)`. A middleware that wants to see more has three ways, none of which
is a generator:

* `reply.through(stage)`: see each batch of chunks, and return it, changed or not;
* `reply.on_complete(work)`: wait for something once the answer is whole (the cache stores there);
* `reply.on_end(settle)`: be told, exactly once, how it ended, whether it completed, failed, was closed early,
  cancelled or dropped.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ..errors import GatewayError, StreamInterrupted
from .deployment import Deployment
from .response import Answer, Chunk, Folder, RawResponse
from .usage import Usage

__all__ = ["Later", "Outcome", "Reply", "Settle", "Stage"]


@dataclass(slots=True)
class Outcome:
    """
    How something ended: the one thing that policies are told.

    Attributes:
        name: `ok`, `cancelled`, `closed` (the caller had enough), or the outcome class of the error.
        error: What went wrong, None for the first three.
        usage: Tokens as the upstream reported them, None if it did not.
        first_token_s: Seconds from the attempt's start to its first content, None if none came.
    """

    name: str = "ok"
    error: BaseException | None = None
    usage: Usage | None = None
    first_token_s: float | None = None

    @property
    def blame(self) -> bool:
        """Whether it speaks against the deployment."""
        return isinstance(self.error, GatewayError) and self.error.blame

    @classmethod
    def of(cls, error: BaseException) -> Outcome:
        """The outcome that an exception means."""
        if isinstance(error, GatewayError):
            return cls(error.outcome, error)
        if isinstance(error, Exception):
            return cls("local", error)
        return cls("cancelled", error)


Settle = Callable[[Outcome], None]
Later = Callable[[Callable[[], None]], None]
"""Runs a plain function soon, when no lock is held."""
Stage = Callable[[Sequence[Chunk]], Sequence[Chunk]]
Source = Callable[[], Awaitable[Sequence[Chunk]]]
"""Brings the next pieces, as many as are there; an empty batch is the end of a whole, terminated answer."""


def _told(settles: Iterator[Settle], outcome: Outcome) -> None:
    try:
        for settle in settles:
            settle(outcome)
    except BaseException:
        # One that fails must not keep the others from giving back what they hold.
        _told(settles, outcome)
        raise


class Reply:
    """
    A stream of chunks with its circumstances.

    Args:
        first: The pieces that are already there.
        source: Brings the others; None if there are none.
        close: Cuts the upstream off if the reply ends early.

    Attributes:
        deployment: Who answered.
        cached: Which tier of the cache answered, or None.
        request_id: The upstream's id of the request.
        usage: The tokens reported so far.
        first_token_s: Seconds to the first content, told by whoever measures it.
        ended: How it ended; None while it has not.
        head: The upstream's status and headers, where its body passes through unread.
        spoken: Name of the format in which the upstream's own bytes (`wire`, of the chunks or of the answer) say what the
            answer says; empty, if nobody kept them or somebody may have changed what it says.
        unsaid: What was left out of the request, because the upstream's format has no words for it.
        later: Used if the reply is dropped: the garbage collector may come at any moment, also while this very thread holds
            the lock that a settle wants.
    """

    __slots__ = (
        "_chunks", "_close", "_completions", "_settles", "_source", "_stages", "_whole",
        "cached", "deployment", "ended", "first_token_s", "head", "later", "request_id", "spoken", "unsaid", "usage",
    )  # fmt: skip

    def __init__(
        self,
        first: Sequence[Chunk] = (),
        source: Source | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        *,
        deployment: Deployment | None = None,
        cached: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self._chunks = first
        self._whole: Answer | None = None
        self._source = source
        self._close = close
        # Tuples, because most stay empty, and an empty tuple is nobody's garbage.
        self._stages: tuple[Stage, ...] = ()
        self._settles: tuple[Settle, ...] = ()
        self._completions: tuple[Callable[[], Awaitable[object]], ...] = ()
        self.deployment = deployment
        self.cached = cached
        self.request_id = request_id
        self.usage: Usage | None = None
        self.first_token_s: float | None = None
        self.ended: Outcome | None = None
        self.head: RawResponse | None = None
        self.spoken = ""
        self.unsaid: tuple[str, ...] = ()
        self.later: Later | None = None

    @classmethod
    def of(
        cls,
        answer: Answer,
        *,
        deployment: Deployment | None = None,
        cached: str | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """A reply that consists of one whole answer. Where a cache answers no tokens are used."""
        reply = cls((), None, None, deployment=deployment, cached=cached, request_id=request_id)
        reply._whole = answer
        reply.usage = answer.usage if cached is None else Usage(0, 0)
        return reply

    @property
    def whole(self) -> Answer | None:
        """The answer, where it is there in one piece and nobody is left who could change or refuse it; else None."""
        return None if self._stages or self._completions or self.ended is not None else self._whole

    def through(self, stage: Stage, *, changes: bool = True) -> None:
        """
        Let every batch of chunks pass `stage`. It is a plain function: it may look, change, add and drop.

        Args:
            changes: False promises that it only looks. Then the upstream's own bytes may still be handed on.
        """
        self._stages += (stage,)
        if changes:
            self.spoken = ""

    def on_complete(self, work: Callable[[], Awaitable[object]]) -> None:
        """Await `work` once the answer has come whole, before the reader learns that it is over."""
        self._completions += (work,)

    def on_end(self, settle: Settle, later: Later | None = None) -> None:
        """
        Call `settle` exactly once when it is over, at once if it is already. They are called in the order in which they
        were registered, so the innermost layer's come first. One that raises keeps no other from being called.

        Args:
            later: Of the call's trail: how whoever drops the reply is spared the settling.
        """
        if self.ended is not None:
            settle(self.ended)
            return
        self._settles += (settle,)
        if later is not None:
            self.later = later

    async def read(self) -> Sequence[Chunk]:
        """
        The next pieces, as many as are there. An empty batch means that the answer is complete, and nothing else does.

        Raises:
            GatewayError: If the answer cannot be completed; the reply has ended then, and says the same again.
            RuntimeError: If it was closed before, or its reading was cancelled.
        """
        ended = self.ended
        if ended is not None:
            return self._over(ended)
        try:
            while True:
                chunks = self._chunks
                if chunks:
                    self._chunks = ()
                elif self._whole is not None:
                    chunks = (Chunk(whole=self._whole),)
                    self._whole = None
                else:
                    source = self._source
                    chunks = await source() if source is not None else ()
                    if self.ended is not None:
                        return self._over(self.ended)  # somebody closed it meanwhile
                    if not chunks:
                        break
                for chunk in chunks:
                    if chunk.usage is not None:
                        self.usage = chunk.usage.max(self.usage)
                for stage in self._stages:
                    chunks = stage(chunks)
                if chunks:
                    return chunks
            for work in self._completions:
                await work()
        except BaseException as error:
            await self._fail(error)
            raise
        self._end(self._outcome("ok"))
        return ()

    def _over(self, ended: Outcome) -> Sequence[Chunk]:
        """What is left to read after the end."""
        if ended.name == "ok":
            return ()
        if isinstance(ended.error, Exception):
            raise ended.error
        raise RuntimeError(f"the reply was {ended.name} before its end; what came of it is not the answer")

    async def response(self) -> Answer:
        """Read to the end and fold."""
        answer = self._whole
        if answer is not None and not self._stages and self.ended is None:
            # Nobody looks at the pieces, so none are made.
            self._whole = None
            if self._completions:
                await self.read()
            else:
                self._end(Outcome("ok", None, self.usage, self.first_token_s))
            return answer
        chunks = await self.read()
        if len(chunks) == 1 and chunks[0].whole is not None:
            whole = chunks[0].whole
            while await self.read():
                pass
            return whole
        folder = Folder()
        try:
            while chunks:
                folder.extend(chunks)
                chunks = await self.read()
        except StreamInterrupted as error:
            if error.partial is None:
                error.partial = folder.response()
            raise
        return folder.answer()

    def finish(self, name: str = "ok", error: BaseException | None = None) -> None:
        """
        Say how it ended, for whoever hands on what is read without being read here. Harmless on a reply that has ended.
        """
        self._whole = None
        self._end(self._outcome(name, error))

    async def close(self) -> None:
        """Enough: cut the upstream off and settle. Harmless on a reply that has ended."""
        if self.ended is None:
            try:
                self._end(self._outcome("closed"))
            finally:
                if self._close is not None:
                    await self._close()

    async def _fail(self, error: BaseException) -> None:
        try:
            self._end(self._outcome(Outcome.of(error).name, error))
        finally:
            if self._close is not None:
                # The reader is to learn why the answer failed, not that its connection would not close either.
                with suppress(Exception):
                    await self._close()

    def _outcome(self, name: str, error: BaseException | None = None) -> Outcome:
        return Outcome(name, error, self.usage, self.first_token_s)

    def _end(self, outcome: Outcome) -> None:
        if self.ended is not None:
            return
        self.ended = outcome
        settles, self._settles = self._settles, ()
        if settles:
            _told(iter(settles), outcome)

    def __del__(self) -> None:
        # Nobody can wait here. What was taken is given back soon; the connection is closed by its own finaliser.
        if getattr(self, "ended", self) is not None:
            return
        self.ended = outcome = self._outcome("closed")
        if self.later is None:
            _told(iter(self._settles), outcome)
        else:
            self.later(partial(_told, iter(self._settles), outcome))
        # Who records warnings keeps their source; the connection must not be kept with it.
        self._source, self._close, self._settles = None, None, ()
        warnings.warn("a reply was dropped without being read or closed", ResourceWarning, source=self, stacklevel=2)
