"""Every wait has an end: five clocks for an attempt, one for the call."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

from pydantic import Field

from ..policies.timers import Clocks, Timers
from ..types.call import Call, Handler
from ..types.reply import Reply
from ..types.units import Duration
from .base import Middleware

__all__ = ["Timeouts"]


class Timeouts(Middleware):
    """
    How long to wait, and for what.

    Raises `DeadlineExceeded` when the call's own time is over and `UpstreamTimeout` (with `.timer`) when an
    upstream was too slow.
    """

    slot: ClassVar[str] = "each_attempt"

    total: Duration = Field(
        default=120.0, gt=0, description="for a call with a whole answer, all attempts and waits together"
    )
    stream_total: Duration | None = Field(
        default=None, gt=0, description="the same for a stream; by default 600s, or `total` if that was set"
    )
    connect: Duration = Field(default=5.0, gt=0, description="for a connection, its TLS included")
    write: Duration = Field(default=30.0, gt=0, description="for sending the request")
    first_token: Duration = Field(
        default=60.0, gt=0, description="to the first content of a stream; pings are no content"
    )
    idle: Duration = Field(default=30.0, gt=0, description="between two reads of a stream that brought anything")
    stall: Duration = Field(default=60.0, gt=0, description="between two pieces of content of a stream")
    attempt: Duration | None = Field(
        default=None,
        gt=0,
        description="for one attempt; none: what is left of the total, less a quarter while others stand ready",
    )

    def totals(self) -> tuple[float, float]:
        """Seconds for a call with a whole answer and for a stream."""
        stream = self.stream_total
        if stream is None:
            stream = self.total if "total" in self.model_fields_set else 600.0
        return self.total, stream

    def wrap(self, call_next: Handler) -> Handler:
        clocks = Clocks(
            first_token_s=self.first_token,
            idle_s=self.idle,
            stall_s=self.stall,
            attempt_s=float("inf") if self.attempt is None else self.attempt,
            connect_s=self.connect,
            write_s=self.write,
        )

        def timed(call: Call) -> Awaitable[Reply]:
            request = call.request
            # What passes through unread may be work of minutes that says nothing until it is done.
            pieces = request.stream and request.verb != "request"
            # The call is the attempt's own copy, so its clocks may be set in place.
            call.timers = Timers(clocks, call.runtime.now(), call.deadline, pieces, call.patience_s)
            # Behind this nothing of ours is left that could refuse.
            call.trail.sent += 1
            return call_next(call)

        return timed
