"""Whether to try at all: a circuit breaker.

Told how calls ended, it answers whether the next may go. It never waits and never looks at a clock: `now` is an
argument, in seconds, monotonic.

    closed ──(failures in a row, too many of a minute's calls failed or slow)──▸ open
    open ──(rested, a call comes)──▸ half_open ──(enough probes succeeded)──▸ closed
                                     half_open ──(one probe failed, was slow, or was lost)──▸ open, for twice as long
    any ──isolate()──▸ isolated ──reset()──▸ closed

Two rules open it, because neither is enough: failures in a row (Envoy, Finagle) is the only one that works at a
call a minute, and the rate over a window (Polly, Hystrix, resilience4j) the only one that sees every second of a
thousand calls fail. The window of ten buckets is Polly's and Hystrix's; the growing rest is Envoy's ejection time.

A permit belongs to the generation of the state that gave it. Every transition begins a new one, and what an older
generation reports is ignored: a call that began before the circuit opened says nothing about a half-open one.
A result that is nobody's fault (cancelled, throttled, a bad request) returns the probe's place and changes nothing.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from ..errors import CircuitOpen, GatewayError
from ..types.reply import Outcome

__all__ = ["Breaker", "BreakerHealth", "Permit", "State", "Transition"]

THRESHOLD = 5  # failures in a row; Envoy's and Finagle's default
FAILURE_RATIO = 0.5  # of the window's calls; Hystrix's and resilience4j's default
MINIMUM_CALLS = 10  # in the window before a ratio means anything; Hystrix wants 20, but our traffic is thinner
WINDOW_S = 60.0  # seconds; twice Polly's, for calls that take ten times as long
BUCKETS = 10  # of the window; Polly's and Hystrix's number
OPEN_S = 15.0  # seconds of the first rest; half of Envoy's base ejection time
OPEN_MAX_S = 300.0  # seconds; Envoy's longest ejection
JITTER = 0.2  # of the rest, up and down, so that many processes do not probe at once
PROBES = 3  # calls let through while half open
PROBE_SUCCESSES = 2  # of them that close the circuit
LEASE_S = 120.0  # seconds; twice the default wait for a first token
SLOW_RATIO = 0.8  # of the window's calls; resilience4j opens at 100 %, which one fast failure prevents
FORGIVEN_S = 600.0  # seconds closed after which the next rest is a first one again; two of the longest
DOUBLINGS = 30  # at most; 2**1024 is no float

State = Literal["closed", "open", "half_open", "isolated"]


@dataclass(frozen=True, slots=True)
class Transition:
    """
    One change of state. It holds counts and no trace of any request.

    Attributes:
        old: The state it left.
        new: The state it entered.
        at: When, on the clock of the caller's `now`. A lost probe is noticed late; this is when its lease ended.
        reason: A fragment of a sentence: `5 failures in a row`.
        calls: Calls that ended in the window, with a success or a failure.
        failures: How many of them failed.
        until: When a probe may go, if it opened; infinity if it was isolated; else None.
        generation: Rises by one with each change; tells two transitions apart that two threads report at once.
    """

    old: State
    new: State
    at: float
    reason: str
    calls: int
    failures: int
    until: float | None
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerHealth:
    """
    What a breaker says of itself.

    Attributes:
        state: As of now; an open circuit stays open until a probe goes, however well rested it is.
        calls: Calls that ended in the window, with a success or a failure.
        failures: How many of them failed.
        consecutive_failures: Failures since the last success.
        slow: Calls of the window whose first token was late, if slowness is watched.
        openings: How often it opened without being closed for ten minutes in between.
        probe_in_s: Seconds until a probe may go; None if it is closed or isolated.
    """

    state: State
    calls: int
    failures: int
    consecutive_failures: int
    slow: int
    openings: int
    probe_in_s: float | None


class _Counts:
    """What ended in a stretch of time. `timed` are the calls of which it is known whether they were slow."""

    __slots__ = ("calls", "failures", "slow", "timed")

    def __init__(self) -> None:
        self.calls = self.failures = self.timed = self.slow = 0


class _Window:
    """Counts of the last `width_s * BUCKETS` seconds, a bucket at a time."""

    __slots__ = ("_buckets", "_ends", "_width_s")

    def __init__(self, window_s: float) -> None:
        self._width_s = window_s / BUCKETS
        self._buckets: deque[_Counts] = deque(maxlen=BUCKETS)
        self._ends = -math.inf

    def at(self, now: float) -> _Counts:
        """The bucket of this moment; those older than the window fall out."""
        if now >= self._ends:
            width_s = self._width_s
            for _ in range(1 + int(min((now - self._ends) / width_s, BUCKETS - 1))):
                self._buckets.append(_Counts())
            self._ends = (now // width_s + 1.0) * width_s
        return self._buckets[-1]

    def total(self) -> _Counts:
        total = _Counts()
        for bucket in self._buckets:
            total.calls += bucket.calls
            total.failures += bucket.failures
            total.timed += bucket.timed
            total.slow += bucket.slow
        return total

    def clear(self) -> None:
        self._buckets.clear()
        self._ends = -math.inf


class Permit:
    """Leave to make one call. Its end is recorded once; recording it again does nothing."""

    __slots__ = ("_breaker", "_generation", "_started")

    def __init__(self, breaker: Breaker, generation: int, started: float) -> None:
        self._breaker = breaker
        self._generation = generation
        self._started = started

    def answered(self, now: float) -> None:
        """
        Tell that the first content has come.

        Without this word an answer that streams for longer than `slow_s` is taken for one that never began.
        Where no `slow_s` is given it is not needed and does nothing.
        """
        self._breaker._answered(self, now)

    def record(self, now: float, outcome: Outcome) -> None:
        """Tell how the call ended."""
        self._breaker._record(self, now, outcome)


_SPENT = -1
"""The generation of a permit that was recorded. It equals no breaker's, so a second record is as good as a stale one."""


def _unheard(transition: Transition) -> None:
    """Nobody asked to be told."""


class Breaker:
    """
    The circuit in front of one deployment; safe to share between threads and event loops.

    Args:
        threshold: Failures in a row that open it.
        failure_ratio: Share of failures in the window that opens it.
        minimum_calls: Calls in the window before a share means anything.
        window_s: Seconds that the window looks back.
        open_s: Seconds of the first rest. It doubles with each opening, until the circuit stays closed for 10 min.
        open_max_s: The longest rest, jitter and the upstream's own `retry_after` included; never less than `open_s`.
        jitter: Share by which a rest is made shorter or longer at random.
        probes: Calls let through while half open: one at a time, and two once the first has succeeded.
        probe_successes: Successes that close it. One failure opens it again at once, so a failed probe is never
            outvoted; the remaining probe is there for two to be in the air.
        lease_s: Seconds after which a probe that reports nothing is lost, and the circuit opens again. Twice the
            longest time an attempt may take; then no living probe outlasts it.
        slow_s: Seconds to the first content from which a call is slow; None: slowness does not matter.
            A call counts as slow as soon as it is late, not when it ends. A slow probe is a failed one.
        slow_ratio: Share of slow calls in the window that opens it.
        rng: Where the jitter comes from.
        on_transition: Called once for each change of state, outside of the lock. It must not raise.

    Raises:
        ValueError: If the numbers contradict each other.
    """

    __slots__ = (
        "_closed_since", "_consecutive", "_failure_ratio", "_free", "_generation", "_heard", "_jitter", "_lease_s",
        "_lock", "_minimum_calls", "_news", "_on_transition", "_open_max_s", "_open_s", "_openings",
        "_probe_limit", "_probe_successes", "_probes", "_rng", "_slow_ratio", "_slow_s", "_state", "_successes",
        "_threshold", "_until", "_waiting", "_window",
    )  # fmt: skip

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        failure_ratio: float = FAILURE_RATIO,
        minimum_calls: int = MINIMUM_CALLS,
        window_s: float = WINDOW_S,
        open_s: float = OPEN_S,
        open_max_s: float = OPEN_MAX_S,
        jitter: float = JITTER,
        probes: int = PROBES,
        probe_successes: int = PROBE_SUCCESSES,
        lease_s: float = LEASE_S,
        slow_s: float | None = None,
        slow_ratio: float = SLOW_RATIO,
        rng: Random,
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        if not 1 <= probe_successes <= probes:
            raise ValueError(f"probe_successes ({probe_successes}) must be at least 1 and at most probes ({probes})")
        if min(threshold, minimum_calls) < 1 or min(window_s, open_s, lease_s, failure_ratio, slow_ratio) <= 0.0:
            raise ValueError(
                "threshold, minimum_calls, window_s, open_s, lease_s, failure_ratio and slow_ratio must be more than 0"
            )
        if not 0.0 <= jitter < 1.0:
            raise ValueError(f"jitter must be at least 0 and less than 1, not {jitter}")
        self._threshold = threshold
        self._failure_ratio = failure_ratio
        self._minimum_calls = minimum_calls
        self._open_s = open_s
        self._open_max_s = max(open_s, open_max_s)
        self._jitter = jitter
        self._probe_limit = probes
        self._probe_successes = probe_successes
        self._lease_s = lease_s
        self._slow_s = math.inf if slow_s is None else slow_s
        self._slow_ratio = slow_ratio
        self._rng = rng
        self._on_transition = on_transition or _unheard

        self._lock = threading.Lock()
        self._state: State = "closed"
        self._generation = 1
        self._openings = 0
        self._closed_since = -math.inf
        self._until = -math.inf
        self._heard = 0.0
        self._successes = 0
        self._probes: list[Permit] = []  # the live permits of a half-open generation, the oldest first
        self._waiting: dict[Permit, None] = {}  # those without first content yet, if slowness matters
        self._consecutive = 0
        self._window = _Window(window_s)
        self._news: list[Transition] = []  # what the present call has to tell once it has let go of the lock
        # The generation whose calls need no further look, else 0: one word, so it is read without the lock.
        self._free = self._generation if slow_s is None else 0

    @property
    def state(self) -> State:
        """`closed`, `open`, `half_open` or `isolated`. An open circuit becomes half open when a probe goes."""
        return self._state

    def peek(self, now: float) -> float:
        """
        Seconds until a call may go: 0.0 if it would be admitted now, infinity if the circuit is isolated.

        Takes nothing. While as many probes are in the air as may be, nobody knows; then it is a first rest,
        or what is left of the oldest probe's lease if that is less.
        """
        if self._free:
            return 0.0
        with self._lock:
            self._catch_up(now)
            wait_s = self._wait_s(now)
            news = self._take_news()
        self._tell(news)
        return wait_s

    def admit(self, now: float) -> Permit:
        """
        Let a call go; its permit wants to be told how it ended.

        Raises:
            CircuitOpen: If it may not go; `retry_after` as `peek` tells, None if the circuit is isolated.
        """
        generation = self._free
        if generation:
            return Permit(self, generation, now)
        with self._lock:
            self._catch_up(now)
            wait_s = self._wait_s(now)
            permit = self._issue(now) if wait_s <= 0.0 else None
            news = self._take_news()
        self._tell(news)
        if permit is not None:
            return permit
        if wait_s == math.inf:
            raise CircuitOpen("the circuit was isolated by hand; reset() lets calls through again")
        raise CircuitOpen(
            f"the circuit is open, because too many calls failed; a probe may go in {wait_s:.1f}s", retry_after=wait_s
        )

    def isolate(self, now: float) -> None:
        """Let nothing through until `reset`."""
        with self._lock:
            self._catch_up(now)
            if self._state != "isolated":
                self._become("isolated", now, "isolated by hand", math.inf)
            news = self._take_news()
        self._tell(news)

    def reset(self, now: float) -> None:
        """Close it and forget everything, calls in the air included. On a closed circuit that is no transition."""
        with self._lock:
            self._catch_up(now)
            self._openings = 0
            if self._state == "closed":
                self._begin_generation()
                self._forget()
            else:
                self._become("closed", now, "reset by hand")
            news = self._take_news()
        self._tell(news)

    def snapshot(self, now: float) -> BreakerHealth:
        """What it knows, as of now."""
        with self._lock:
            self._catch_up(now)
            self._window.at(now)
            total = self._window.total()
            health = BreakerHealth(
                state=self._state,
                calls=total.calls,
                failures=total.failures,
                consecutive_failures=self._consecutive,
                slow=total.slow,
                openings=self._openings,
                probe_in_s=self._wait_s(now) if self._state in ("open", "half_open") else None,
            )
            news = self._take_news()
        self._tell(news)
        return health

    def __repr__(self) -> str:
        """Seconds are counted from the last time that the breaker heard what time it is."""
        if self._state == "open":
            return f"<Breaker open, probe in {max(0.0, self._until - self._heard):.1f}s>"
        if self._state == "half_open":
            return f"<Breaker half_open, {len(self._probes)} of {self._probe_limit} probes in the air, {self._successes} succeeded>"
        if self._state == "closed" and self._consecutive:
            return f"<Breaker closed, {self._consecutive} failures in a row>"
        return f"<Breaker {self._state}>"

    # What permits tell.

    def _answered(self, permit: Permit, now: float) -> None:
        if self._slow_s == math.inf:
            return
        with self._lock:
            if permit in self._waiting:
                self._time(permit, now, now - permit._started >= self._slow_s)
            news = self._take_news()
        self._tell(news)

    def _record(self, permit: Permit, now: float, outcome: Outcome) -> None:
        ok = outcome.name == "ok"
        with self._lock:
            generation, permit._generation = permit._generation, _SPENT
            if generation != self._generation:
                return
            if ok and self._free:
                # The way of nearly every call.
                self._window.at(now).calls += 1
                self._consecutive = 0
                return
            if not ok and not outcome.blame:
                # Whether other calls are late by now is not even looked at: this one changes nothing.
                self._return(permit)
                return
            if permit in self._waiting:
                first_s = outcome.first_token_s
                self._time(permit, now, (now - permit._started if first_s is None else first_s) >= self._slow_s)
            self._catch_up(now)
            if generation == self._generation:
                self._count(permit, now, outcome.error)
            news = self._take_news()
        self._tell(news)

    # Everything below runs under the lock.

    def _wait_s(self, now: float) -> float:
        """Seconds until a call may go."""
        if self._state == "closed":
            return 0.0
        if self._state == "half_open":
            in_the_air = len(self._probes)
            if in_the_air < (2 if self._successes else 1) and in_the_air + self._successes < self._probe_limit:
                return 0.0
            return min(self._open_s, self._probes[0]._started + self._lease_s - now)
        return max(0.0, self._until - now)

    def _issue(self, now: float) -> Permit:
        if self._state == "open":
            self._become("half_open", now, "rested")
        permit = Permit(self, self._generation, now)
        if self._state == "half_open":
            self._probes.append(permit)
        if self._slow_s < math.inf:
            self._waiting[permit] = None
        return permit

    def _return(self, permit: Permit) -> None:
        self._waiting.pop(permit, None)
        if self._state == "half_open":
            self._probes.remove(permit)

    def _catch_up(self, now: float) -> None:
        """Bring about what was due before now: calls that became late, a probe that was lost."""
        self._heard = now
        while self._waiting:
            # They wait in the order in which they started, so the first that is in time ends the search.
            permit = next(iter(self._waiting))
            late_at = permit._started + self._slow_s
            if now < late_at:
                break
            self._time(permit, late_at if self._state == "half_open" else now, True)
        if self._probes:
            lost_at = self._probes[0]._started + self._lease_s
            if lost_at <= now:
                self._open(lost_at, "a probe was lost")

    def _time(self, permit: Permit, now: float, slow: bool) -> None:
        """Take down, once for each call, whether its first content was late."""
        del self._waiting[permit]
        if self._state == "half_open":
            if slow:
                self._open(now, "a probe was slow")
            return
        bucket = self._window.at(now)
        bucket.timed += 1
        if slow:
            bucket.slow += 1
            total = self._window.total()
            if total.timed >= self._minimum_calls and total.slow / total.timed >= self._slow_ratio:
                self._open(now, f"{total.slow} of {total.timed} calls were slow")

    def _count(self, permit: Permit, now: float, error: BaseException | None) -> None:
        """A success (no error) or a failure of the present generation."""
        if self._state == "half_open":
            self._probes.remove(permit)
            if error is not None:
                self._open(now, "a probe failed", error)
                return
            self._successes += 1
            if self._successes == self._probe_successes:
                self._become("closed", now, f"{self._successes} probes succeeded")
            return
        bucket = self._window.at(now)
        bucket.calls += 1
        if error is None:
            self._consecutive = 0
            return
        bucket.failures += 1
        self._consecutive += 1
        if self._consecutive >= self._threshold:
            self._open(now, f"{self._consecutive} failures in a row", error)
            return
        total = self._window.total()
        if total.calls >= self._minimum_calls and total.failures / total.calls >= self._failure_ratio:
            self._open(now, f"{total.failures} of {total.calls} calls failed", error)

    def _open(self, now: float, reason: str, error: BaseException | None = None) -> None:
        if self._state == "closed" and now - self._closed_since >= FORGIVEN_S:
            self._openings = 0
        self._openings += 1
        rest_s = self._open_s * 2 ** min(self._openings - 1, DOUBLINGS)
        rest_s *= self._rng.uniform(1.0 - self._jitter, 1.0 + self._jitter)
        asked_s = error.retry_after if isinstance(error, GatewayError) else None
        if asked_s is not None and rest_s < asked_s < math.inf:  # false for NaN, too
            rest_s = asked_s
        self._become("open", now, reason, now + min(rest_s, self._open_max_s))

    def _become(self, new: State, now: float, reason: str, until: float | None = None) -> None:
        old, self._state = self._state, new
        self._until = now if until is None else until
        self._begin_generation()
        total = self._window.total()
        self._news.append(Transition(old, new, now, reason, total.calls, total.failures, until, self._generation))
        if new == "closed":
            self._closed_since = now
            self._forget()

    def _begin_generation(self) -> None:
        self._generation += 1
        self._free = self._generation if self._state == "closed" and self._slow_s == math.inf else 0
        self._probes.clear()
        self._waiting.clear()
        self._successes = 0

    def _forget(self) -> None:
        self._window.clear()
        self._consecutive = 0

    def _take_news(self) -> list[Transition]:
        news = self._news
        if news:
            self._news = []
        return news

    # Without the lock again.

    def _tell(self, news: list[Transition]) -> None:
        for transition in news:
            self._on_transition(transition)
