"""Laws of the breaker, under every order of calls, ends, waits and hands on the switch."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmgate.errors import BadRequest, CircuitOpen, Overloaded, RateLimited, UpstreamError
from llmgate.policies.breaker import Breaker, Permit, Transition
from llmgate.types.reply import Outcome

OUTCOMES = {
    "ok": Outcome(first_token_s=1.0),
    "failed": Outcome.of(UpstreamError()),
    "overloaded": Outcome.of(Overloaded(retry_after=100.0)),
    "cancelled": Outcome("cancelled", KeyboardInterrupt()),
    "closed": Outcome("closed"),
    "throttled": Outcome.of(RateLimited()),
    "request": Outcome.of(BadRequest()),
}
COUNTED = {"ok", "failed", "overloaded"}
THRESHOLD, MINIMUM_CALLS, RATIO, WINDOW_S, BUCKET_S, LEASE_S = 4, 6, 0.5, 60.0, 6.0, 120.0


class Held:
    """A permit, and when it was given."""

    def __init__(self, permit: Permit, started: float) -> None:
        self.permit = permit
        self.started = started


class Machine(RuleBasedStateMachine):
    """
    A breaker beside the simplest thing that can be said about it: the events it told, the calls that ended
    since the last of them, and the permits in the air.
    """

    slow_s: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.now = 60.0
        self.events: list[Transition] = []
        self.live: list[Held] = []
        self.ended: list[tuple[float, bool]] = []  # since the last event: when, and whether it failed
        self.breaker = Breaker(
            threshold=THRESHOLD,
            minimum_calls=MINIMUM_CALLS,
            failure_ratio=RATIO,
            window_s=WINDOW_S,
            lease_s=LEASE_S,
            slow_s=self.slow_s,
            rng=Random(1),
            on_transition=self.heard,
        )

    permits = Bundle("permits")

    def heard(self, event: Transition) -> None:
        assert event.old != event.new
        assert event.old == (self.events[-1].new if self.events else "closed")
        assert event.generation == len(self.events) + 2
        assert event.at <= self.now
        self.events.append(event)
        self.live, self.ended = [], []

    @property
    def era(self) -> int:
        """How many transitions there were."""
        return len(self.events)

    @property
    def state(self) -> str:
        return self.events[-1].new if self.events else "closed"

    @property
    def probes_allowed(self) -> int:
        successes = sum(not failed for _, failed in self.ended)
        return min(2 if successes else 1, 3 - successes)

    # What may happen.

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 6.0, 15.0, 40.0, 60.0, 120.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=permits)
    def come(self) -> Held | None:
        until = self.events[-1].until if self.state == "open" else None
        wait_s = self.breaker.peek(self.now)
        peeked = self.era
        try:
            permit = self.breaker.admit(self.now)
        except CircuitOpen as refused:
            assert wait_s > 0.0
            assert self.era == peeked
            assert (None if wait_s == math.inf else wait_s) == refused.retry_after
            return None
        assert 0.0 == wait_s
        if until is not None and self.era == peeked:
            assert self.now >= until
        held = Held(permit, self.now)
        self.live.append(held)
        return held

    @rule(held=permits, name=st.sampled_from(sorted(OUTCOMES)))
    def end(self, held: Held | None, name: str) -> None:
        if held is None:
            return
        before, era = repr(self.breaker), self.era
        current = held in self.live
        expected = self.expected(name) if current else None
        if current:
            self.live.remove(held)
            if name in COUNTED:
                self.ended.append((self.now, name != "ok"))
        held.permit.record(self.now, OUTCOMES[name])
        if not current:
            assert (before, era) == (repr(self.breaker), self.era)
        elif name not in COUNTED:
            assert era == self.era
        elif self.slow_s is None:
            assert expected == self.state

    def expected(self, name: str) -> str:
        """The state that this end of a live call leads to, by counting everything again."""
        if name not in COUNTED:
            return self.state
        failed = name != "ok"
        if self.state == "half_open":
            if failed or self.lapsed():
                return "open"
            return "closed" if any(not f for _, f in self.ended) else "half_open"
        ended = [*self.ended, (self.now, failed)]
        in_a_row = 0
        for _, f in ended:
            in_a_row = in_a_row + 1 if f else 0
        window = [f for at, f in ended if self.now // BUCKET_S - at // BUCKET_S < WINDOW_S / BUCKET_S]
        too_many = len(window) >= MINIMUM_CALLS and sum(window) / len(window) >= RATIO
        return "open" if failed and (in_a_row >= THRESHOLD or too_many) else "closed"

    def lapsed(self) -> bool:
        return any(held.started + LEASE_S <= self.now for held in self.live)

    @rule(held=permits)
    def answer(self, held: Held | None) -> None:
        if held is None:
            return
        before, era = repr(self.breaker), self.era
        concerned = held in self.live and self.slow_s is not None
        held.permit.answered(self.now)
        if not concerned:
            assert (before, era) == (repr(self.breaker), self.era)

    @rule(held=consumes(permits))
    def lose(self, held: Held | None) -> None:
        """The caller forgets its permit; it stays live until its lease ends."""

    @rule()
    def ask(self) -> None:
        health = self.breaker.snapshot(self.now)
        assert self.state == health.state == self.breaker.state
        assert (health.probe_in_s is not None) == (health.state in ("open", "half_open"))

    @rule(calls=st.integers(THRESHOLD - 1, MINIMUM_CALLS), name=st.sampled_from(["ok", "failed", "overloaded"]))
    def many(self, calls: int, name: str) -> None:
        for held in [self.come() for _ in range(calls)]:
            self.end(held, name)

    @rule(calls=st.integers(1, MINIMUM_CALLS), seconds=st.sampled_from([20.0, LEASE_S]))
    def hang(self, calls: int, seconds: float) -> None:
        """Some calls come and nothing is heard of them for a while, or ever."""
        for _ in range(calls):
            self.come()
        self.now += seconds

    @precondition(lambda self: self.state in ("open", "half_open"))
    @rule(probes=st.integers(1, 3))
    def rest(self, probes: int) -> None:
        self.now += self.breaker.peek(self.now)
        for _ in range(probes):
            self.end(self.come(), "ok")

    @rule(reset=st.booleans())
    def lay_hands_on_it(self, reset: bool) -> None:
        if self.state == "isolated" or (reset and self.state != "closed"):
            self.breaker.reset(self.now)
            assert "closed" == self.state
        elif self.state != "closed":
            self.breaker.isolate(self.now)
            assert "isolated" == self.state

    # What always holds.

    @invariant()
    def it_is_as_it_said(self) -> None:
        assert self.state == self.breaker.state

    @invariant()
    def probes_are_counted(self) -> None:
        if self.state == "half_open":
            assert len(self.live) <= self.probes_allowed
            assert f"{len(self.live)} of 3 probes in the air" in repr(self.breaker)

    def teardown(self) -> None:
        """Once the faults stop, the circuit closes, whatever was lost."""
        if self.state == "isolated":
            self.breaker.reset(self.now)
        for _ in range(20):
            self.now += self.breaker.peek(self.now)
            if self.breaker.peek(self.now) == 0.0:
                self.breaker.admit(self.now).record(self.now, OUTCOMES["ok"])
        assert "closed" == self.state


class SlowMachine(Machine):
    """The same, with an eye on slow calls."""

    slow_s = 20.0


@pytest.mark.parametrize("machine", [Machine, SlowMachine])
def test_breaker(machine):
    """
    Open admits nothing before its time; half open has no more probes than allowed and as many as live permits;
    neutral, stale and second results change nothing; every transition is told once; it opens and closes exactly
    when a second count says so; and it recovers.
    """
    run_state_machine_as_test(machine, settings=settings(max_examples=200, stateful_step_count=40, deadline=None))
