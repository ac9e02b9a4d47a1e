"""When to stop waiting for an upstream: five clocks, one answer.

Told when bytes and when content came, it says until when the next wait may last and, once that has passed,
which clock ran out. Pings and comments keep a socket alive but are not content: a generation that is
dead behind a living connection is found by the content clocks.

The clocks and their defaults follow the OpenAI and Anthropic SDKs (connect 5 s) and what long reasoning
answers need.
"""

from __future__ import annotations

import math

from ..errors import DeadlineExceeded, GatewayError, UpstreamTimeout
from ..types.wire import WireTimeouts

__all__ = ["Clocks", "Timers"]

FIRST_TOKEN_S = 60.0  # seconds; a queue of a minute at the provider is not unusual at peak hours
IDLE_S = 30.0  # seconds; Anthropic pings and OpenRouter comments come at least every 15
STALL_S = 60.0  # seconds; longer pauses inside an answer were seen only when it never went on


class Clocks:
    """
    The limits, in seconds. Infinity switches a clock off.

    Args:
        first_token_s: From the request to the first content of a stream.
        idle_s: Between two reads that brought anything at all.
        stall_s: Between two pieces of content.
        attempt_s: For the whole attempt.
        connect_s: For the connection and its TLS.
        write_s: For sending the request.
    """

    __slots__ = ("attempt_s", "first_token_s", "idle_s", "stall_s", "wire")

    def __init__(
        self,
        first_token_s: float = FIRST_TOKEN_S,
        idle_s: float = IDLE_S,
        stall_s: float = STALL_S,
        attempt_s: float = math.inf,
        connect_s: float = 5.0,
        write_s: float = 30.0,
    ) -> None:
        self.first_token_s = first_token_s
        self.idle_s = idle_s
        self.stall_s = stall_s
        self.attempt_s = attempt_s
        self.wire = WireTimeouts(connect_s=connect_s, write_s=write_s)


DEFAULT = Clocks()


class Timers:
    """
    The clocks of one attempt.

    Args:
        now: When the attempt began, in seconds of the runtime's clock.
        deadline: When the whole call must be over.
        stream: Whether pieces are expected. A whole answer is one piece: it has no pauses to measure,
            so its only clocks are those of the attempt and of the call.
        patience_s: Seconds that the attempt may take if its clock says nothing.
    """

    __slots__ = (
        "_attempt",
        "_attempt_s",
        "_content",
        "_idle",
        "clocks",
        "deadline",
        "first_token_s",
        "started",
        "stream",
    )

    def __init__(self, clocks: Clocks, now: float, deadline: float, stream: bool, patience_s: float = math.inf) -> None:
        self.clocks = clocks
        self.started = now
        self.deadline = deadline
        self.stream = stream
        self.first_token_s: float | None = None
        self._attempt_s = clocks.attempt_s if clocks.attempt_s < math.inf else patience_s
        self._attempt = now + self._attempt_s
        self._content = now + clocks.first_token_s if stream else math.inf
        self._idle = math.inf

    @property
    def until(self) -> float:
        """When to stop waiting for the next bytes."""
        return min(self.deadline, self._attempt, self._content, self._idle)

    def bytes_came(self, now: float) -> None:
        """Something arrived, if only a ping."""
        self._idle = now + self.clocks.idle_s

    def content_came(self, now: float) -> None:
        """A piece of the answer arrived."""
        if self.first_token_s is None:
            self.first_token_s = now - self.started
        self._content = now + self.clocks.stall_s

    def expired(self, now: float) -> GatewayError:
        """What to raise, once `until` has passed."""
        clocks = self.clocks
        if self.deadline <= now:
            return DeadlineExceeded(
                f"the call's own time ran out after {now - self.started:.3g} s of waiting for the upstream"
            )
        if self._attempt <= now:
            return UpstreamTimeout(f"the attempt was not over in {self._attempt_s:.3g} s", timer="attempt")
        if self._content <= now:
            if self.first_token_s is None:
                return UpstreamTimeout(f"no first token in {clocks.first_token_s:g} s", timer="first_token")
            return UpstreamTimeout(f"no content for {clocks.stall_s:g} s in the middle of the answer", timer="stall")
        return UpstreamTimeout(f"not a byte for {clocks.idle_s:g} s in the middle of the answer", timer="idle")
