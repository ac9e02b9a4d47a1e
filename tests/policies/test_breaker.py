"""When the circuit opens, when it lets a probe through, and what it takes to close it."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from random import Random

import pytest

from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    CircuitOpen,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamError,
)
from llmgate.policies.breaker import Breaker, BreakerHealth, Permit, State, Transition
from llmgate.types.reply import Outcome

OK = Outcome()
FAILED = Outcome.of(UpstreamError())
NEUTRAL = {
    "cancelled": Outcome("cancelled", KeyboardInterrupt()),
    "closed": Outcome("closed"),
    "throttled": Outcome.of(RateLimited(retry_after=60.0)),
    "request": Outcome.of(BadRequest()),
    "quota": Outcome.of(QuotaExhausted()),
    "auth": Outcome.of(AuthenticationFailed()),
    "local": Outcome.of(CircuitOpen()),
    "bug": Outcome.of(ZeroDivisionError()),
}


class Circuit:
    """A breaker without jitter, a clock, and what was heard of it."""

    def __init__(self, **options) -> None:
        self.now = 1000.0
        self.events: list[Transition] = []
        self.breaker = Breaker(**{"rng": Random(1), "jitter": 0.0, "on_transition": self.events.append, **options})

    def after(self, seconds: float) -> Circuit:
        self.now += seconds
        return self

    def admit(self) -> Permit:
        return self.breaker.admit(self.now)

    def record(self, permit: Permit, outcome: Outcome = OK) -> None:
        permit.record(self.now, outcome)

    def call(self, outcome: Outcome = OK, times: int = 1) -> None:
        for _ in range(times):
            self.record(self.admit(), outcome)

    def opened(self) -> Circuit:
        self.call(FAILED, 5)
        return self

    def probing(self) -> Permit:
        """Fail, rest, and admit the first probe."""
        self.opened().after(self.breaker.peek(self.now))
        return self.admit()

    @property
    def state(self) -> str:
        return self.breaker.state

    @property
    def wait_s(self) -> float:
        return self.breaker.peek(self.now)

    def refuses(self) -> bool:
        try:
            self.admit()
        except CircuitOpen:
            return True
        return False


@pytest.fixture
def circuit() -> Circuit:
    return Circuit()


# Closed.


def test_failures_in_a_row_open_it(circuit):
    """
    The fifth failure in a row opens the circuit, the fourth does not.
    """
    circuit.call(FAILED, 4)
    assert "closed" == circuit.state

    circuit.call(FAILED)

    assert "open" == circuit.state


def test_a_success_ends_the_row(circuit):
    """
    A success between failures begins the count anew.
    """
    for _ in range(2):
        circuit.call(FAILED, 4)
        circuit.call(OK, 9)

    assert "closed" == circuit.state


def test_too_many_failures_of_a_minute_open_it(circuit):
    """
    Half of at least ten calls open the circuit, however the successes are spread between them.
    """
    for outcome in (FAILED, OK, FAILED, OK, FAILED, OK, FAILED, OK, OK):
        circuit.call(outcome)
    assert "closed" == circuit.state

    circuit.call(FAILED)

    assert "open" == circuit.state
    assert "5 of 10 calls failed" == circuit.events[-1].reason


def test_less_than_the_ratio_is_borne(circuit):
    """
    Two failures of every five calls, for ever, do not open the circuit.
    """
    for _ in range(50):
        for outcome in (OK, FAILED, OK, FAILED, OK):
            circuit.call(outcome)

    assert "closed" == circuit.state


def test_the_window_forgets():
    """
    What ended more than a minute ago counts no more, bucket by bucket.
    """
    circuit = Circuit(threshold=100)
    circuit.now = 600.0
    circuit.call(FAILED, 4)
    circuit.after(6.0).call(FAILED, 3)
    assert (7, 7) == totals(circuit)

    circuit.after(53.9)
    assert (7, 7) == totals(circuit)
    circuit.after(0.1)
    assert (3, 3) == totals(circuit)
    circuit.after(6.0)
    assert (0, 0) == totals(circuit)
    circuit.call(FAILED, 9)
    circuit.after(1e6).call(FAILED)

    assert (1, 1) == totals(circuit)
    assert "closed" == circuit.state


def totals(circuit: Circuit) -> tuple[int, int]:
    health = circuit.breaker.snapshot(circuit.now)
    return health.calls, health.failures


@pytest.mark.parametrize("outcome", NEUTRAL.values(), ids=NEUTRAL)
def test_what_is_nobodys_fault_changes_nothing(circuit, outcome):
    """
    Cancelled, closed, throttled and refused calls neither fail nor succeed.
    """
    circuit.call(FAILED, 4)

    circuit.call(outcome, 20)

    assert BreakerHealth("closed", 4, 4, 4, 0, 0, None) == circuit.breaker.snapshot(circuit.now)
    circuit.call(FAILED)
    assert "open" == circuit.state


def test_a_permit_is_recorded_once(circuit):
    """
    A second record of the same permit does nothing.
    """
    permit = circuit.admit()
    for _ in range(10):
        circuit.record(permit, FAILED)

    assert (1, 1) == totals(circuit)


# Open.


def test_open_lets_nothing_through_until_it_has_rested(circuit):
    """
    For fifteen seconds every call is refused and told how long it lasts; then one may go.
    """
    circuit.opened().after(14.9)
    assert pytest.approx(0.1) == circuit.wait_s
    with pytest.raises(CircuitOpen, match=r"a probe may go in 0\.1s") as refused:
        circuit.admit()
    assert pytest.approx(0.1) == refused.value.retry_after

    circuit.after(0.1)

    assert 0.0 == circuit.wait_s
    assert "open" == circuit.state  # peeking takes nothing
    circuit.admit()
    assert "half_open" == circuit.state


def test_the_rest_doubles_up_to_five_minutes(circuit):
    """
    Each opening rests twice as long as the last, and none longer than five minutes.
    """
    circuit.opened()
    rests = []
    for _ in range(7):
        rests.append(circuit.wait_s)
        circuit.after(circuit.wait_s).call(FAILED)

    assert [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0] == rests


def test_ten_minutes_closed_are_a_fresh_start(circuit):
    """
    The rest goes on doubling if the circuit was closed for less than ten minutes, and starts over after that.
    """
    for closed_s, rest_s in ((0.0, 15.0), (599.0, 30.0), (599.0, 60.0), (600.0, 15.0)):
        circuit.after(closed_s).opened()
        assert rest_s == circuit.wait_s
        circuit.after(rest_s).call(OK, 2)
        assert "closed" == circuit.state


def test_two_thousand_openings_overflow_nothing(circuit):
    """
    However often a probe fails, the rest stays a number.
    """
    circuit.opened()
    for _ in range(2000):
        circuit.after(circuit.wait_s).call(FAILED)

    assert 300.0 == circuit.wait_s
    assert 2001 == circuit.breaker.snapshot(circuit.now).openings


@pytest.mark.parametrize(
    ("asked_s", "rest_s"),
    [(None, 15.0), (7.0, 15.0), (40.0, 40.0), (9999.0, 300.0), (math.nan, 15.0), (math.inf, 15.0), (-1.0, 15.0)],
)
def test_the_upstream_may_ask_for_a_longer_rest(circuit, asked_s, rest_s):
    """
    The `retry_after` of the failure that opens the circuit lengthens the rest, never shortens it, up to five minutes.
    """
    circuit.call(FAILED, 4)

    circuit.call(Outcome.of(Overloaded(retry_after=asked_s)))

    assert rest_s == circuit.wait_s


def test_rests_are_jittered_by_a_fifth():
    """
    Many breakers that open at once come back spread over 12 to 18 seconds; the same seed gives the same rest.
    """
    rests = [Circuit(jitter=0.2, rng=Random(seed)).opened().wait_s for seed in range(500)]

    assert 12.0 <= min(rests) < 12.2
    assert 17.8 < max(rests) <= 18.0
    assert rests[7] == Circuit(jitter=0.2, rng=Random(7)).opened().wait_s


def test_no_rest_is_longer_than_the_longest():
    """
    Jitter does not lift a rest over the maximum, and a configured first rest above it is its own maximum.
    """
    circuits = [Circuit(jitter=0.2, rng=Random(seed), open_s=280.0).opened() for seed in range(50)]

    assert 300.0 == max(circuit.wait_s for circuit in circuits)
    assert 900.0 == Circuit(open_s=900.0).opened().wait_s


@pytest.mark.parametrize("outcome", [OK, FAILED, *NEUTRAL.values()])
def test_who_started_before_it_opened_has_no_say(circuit, outcome):
    """
    The end of a call that was admitted while the circuit was closed neither shortens nor lengthens the rest.
    """
    late = circuit.admit()
    circuit.opened().after(5.0)

    circuit.record(late, outcome)

    assert ("open", 10.0) == (circuit.state, circuit.wait_s)
    assert 1 == len(circuit.events)


# Half open.


def test_one_probe_at_a_time_then_two(circuit):
    """
    The first probe goes alone; after its success two may be in the air; the second success closes the circuit.
    """
    first = circuit.probing()
    assert circuit.refuses()

    circuit.record(first)
    second, third = circuit.admit(), circuit.admit()
    assert circuit.refuses()
    circuit.record(third)

    assert "closed" == circuit.state
    circuit.record(second, FAILED)
    assert (0, 0) == totals(circuit)  # it belongs to a state that is over


def test_no_more_probes_than_allowed():
    """
    Probes in the air and those that succeeded are never more than `probes` together.
    """
    circuit = Circuit(probes=2, probe_successes=2)
    circuit.record(circuit.probing())

    circuit.admit()

    assert circuit.refuses()


def test_one_failed_probe_is_enough(circuit):
    """
    A failed probe opens the circuit for twice as long, whatever the others achieved or will achieve.
    """
    circuit.record(circuit.probing())
    second, third = circuit.admit(), circuit.admit()

    circuit.record(second, FAILED)
    assert ("open", 30.0) == (circuit.state, circuit.wait_s)
    circuit.record(third)

    assert ("open", 30.0) == (circuit.state, circuit.wait_s)
    assert ["open", "half_open", "open"] == [event.new for event in circuit.events]


@pytest.mark.parametrize("outcome", NEUTRAL.values(), ids=NEUTRAL)
def test_a_neutral_probe_returns_its_place(circuit, outcome):
    """
    A cancelled or throttled probe says nothing: the circuit stays half open and the next probe may go.
    """
    probe = circuit.probing()

    for _ in range(5):
        circuit.record(probe, outcome)
        assert ("half_open", 0.0) == (circuit.state, circuit.wait_s)
        probe = circuit.admit()
        assert circuit.refuses()

    circuit.record(probe)
    circuit.call(OK)
    assert "closed" == circuit.state


@pytest.mark.parametrize("outcome", [OK, FAILED, *NEUTRAL.values()])
def test_a_stale_result_is_no_probes_result(circuit, outcome):
    """
    A call from before the opening that ends while the circuit is half open neither closes nor opens it.
    """
    stale = circuit.admit()
    circuit.probing()

    circuit.record(stale, outcome)

    assert "half_open" == circuit.state
    assert circuit.refuses()


def test_a_lost_probe_does_not_hold_the_circuit_for_ever(circuit):
    """
    A probe that reports nothing for two minutes counts as failed from then on, and may no longer be recorded.
    """
    lost = circuit.probing()
    circuit.after(119.9)
    assert pytest.approx(0.1) == circuit.wait_s

    circuit.after(10.1)
    assert (20.0, "open") == (circuit.wait_s, circuit.state)
    circuit.record(lost)
    assert "open" == circuit.state

    assert ("a probe was lost", 1015.0 + 120.0) == (circuit.events[-1].reason, circuit.events[-1].at)


def test_a_probe_lost_long_ago_costs_the_next_caller_nothing(circuit):
    """
    If the rest after a lost probe is over by the time that somebody comes, the next probe goes at once.
    """
    circuit.probing()
    circuit.after(1000.0)

    assert 0.0 == circuit.wait_s
    circuit.admit()
    assert ["open", "half_open", "open", "half_open"] == [event.new for event in circuit.events]


def test_a_result_after_its_lease_comes_too_late(circuit):
    """
    A probe that succeeds after its lease has ended is lost, even if nobody noticed before.
    """
    probe = circuit.probing()

    circuit.after(120.0).record(probe)

    assert "open" == circuit.state


def test_while_probes_are_in_the_air_the_wait_is_a_guess(circuit):
    """
    Callers who come while the probe is out are told to come back after a first rest, or when its lease ends.
    """
    circuit.probing()

    assert 15.0 == circuit.wait_s
    assert 5.0 == circuit.after(115.0).wait_s


def test_a_closed_circuit_remembers_nothing(circuit):
    """
    After it closed, failures from before it opened do not count.
    """
    circuit.record(circuit.probing())
    circuit.call(OK)

    circuit.call(FAILED, 4)

    assert ("closed", (4, 4)) == (circuit.state, totals(circuit))


# Slow calls.


@pytest.fixture
def watched() -> Circuit:
    return Circuit(slow_s=10.0)


def test_slow_calls_open_it(watched):
    """
    Four of five calls whose first token is late open the circuit, although all of them succeed.
    """
    for first_token_s in (1.0, 1.0, *[10.0] * 7):
        watched.call(Outcome(first_token_s=first_token_s))
    assert "closed" == watched.state

    watched.call(Outcome(first_token_s=10.0))

    assert "open" == watched.state
    assert "8 of 10 calls were slow" == watched.events[-1].reason


def test_slowness_does_not_matter_unless_asked(circuit):
    """
    Without `slow_s` no answer is too slow.
    """
    circuit.call(Outcome(first_token_s=1000.0), 50)

    assert "closed" == circuit.state


def test_late_calls_count_before_they_end(watched):
    """
    A provider that hangs is noticed when its calls become late, not when they end.
    """
    hung = [watched.admit() for _ in range(10)]
    watched.after(9.9)
    assert 0.0 == watched.wait_s

    watched.after(0.1)

    assert watched.refuses()
    assert "10 of 10 calls were slow" == watched.events[-1].reason
    for permit in hung:
        watched.record(permit)
    assert 1 == len(watched.events)


def test_peek_and_admit_see_the_same_lateness(watched):
    """
    What `peek` promises, `admit` keeps, when calls become late in between nobody asked.
    """
    for _ in range(10):
        watched.admit()

    assert 15.0 == watched.after(10.0).wait_s
    assert "open" == watched.state


def test_an_answer_that_comes_late_counts_when_it_comes(watched):
    """
    A first content after `slow_s` is late at once, even if nobody looked before.
    """
    permits = [watched.admit() for _ in range(10)]

    watched.after(10.0)
    for permit in permits:
        permit.answered(watched.now)

    assert "10 of 10 calls were slow" == watched.events[-1].reason


def test_each_call_is_late_once(watched):
    """
    A call that was counted late in the air is not counted again at its end.
    """
    permit = watched.admit()
    watched.after(10.0)
    assert 1 == watched.breaker.snapshot(watched.now).slow

    permit.answered(watched.now)
    watched.record(permit, Outcome(first_token_s=10.0))

    assert 1 == watched.breaker.snapshot(watched.now).slow


def test_a_long_answer_is_not_late(watched):
    """
    Once the first content came in time, an answer may stream for as long as it likes.
    """
    permits = [watched.admit() for _ in range(20)]
    watched.after(9.0)
    for permit in permits:
        permit.answered(watched.now)
    watched.after(500.0)

    health = watched.breaker.snapshot(watched.now)
    for permit in permits:
        watched.record(permit)

    assert ("closed", 0) == (health.state, health.slow)
    assert ("closed", (20, 0)) == (watched.state, totals(watched))


def test_the_first_token_tells_even_if_nobody_said_answered(watched):
    """
    At its end a call is as slow as its first token was, or as the whole was if there is no word of one.
    """
    for first_token_s, whole_s, slow in ((1.0, 500.0, 0), (11.0, 11.0, 1), (None, 9.0, 1), (None, 10.0, 2)):
        permit = watched.admit()
        watched.now += whole_s
        permit.record(watched.now, Outcome(first_token_s=first_token_s))
        watched.now -= whole_s
        assert slow == watched.breaker.snapshot(watched.now).slow


def test_a_success_ends_the_row_however_closely_one_looks(watched):
    """
    Watching for slow calls changes nothing about failures in a row.
    """
    watched.call(FAILED, 4)
    watched.call(OK)
    watched.call(FAILED, 4)

    assert ("closed", 4) == (watched.state, watched.breaker.snapshot(watched.now).consecutive_failures)


def test_late_and_cancelled_is_still_nobodys_fault(watched):
    """
    A caller who gives up on a late call before anybody else looked changes nothing.
    """
    for _ in range(20):
        permit = watched.admit()
        watched.after(20.0).record(permit, NEUTRAL["cancelled"])

    assert BreakerHealth("closed", 0, 0, 0, 0, 0, None) == watched.breaker.snapshot(watched.now)


def test_a_slow_probe_is_a_failed_one(watched):
    """
    A circuit that opened because its upstream hangs is not closed by slow successes.
    """
    for _ in range(10):
        watched.admit()
    watched.after(10.0)
    watched.after(watched.wait_s)
    probe = watched.admit()

    watched.after(10.0).record(probe, Outcome(first_token_s=10.0))

    assert ("open", "a probe was slow") == (watched.state, watched.events[-1].reason)


def test_a_hung_probe_opens_it_when_it_is_late(watched):
    """
    A probe without content after `slow_s` opens the circuit then, long before its lease ends.
    """
    watched.call(FAILED, 5)
    watched.after(15.0).admit()

    watched.after(12.0)

    assert 28.0 == watched.wait_s  # thirty seconds since it was late
    assert "a probe was slow" == watched.events[-1].reason


def test_a_probe_that_answers_in_time_may_go_on(watched):
    """
    A probe whose first content came in time closes the circuit by its success, however long it streams.
    """
    watched.call(FAILED, 5)
    watched.after(15.0)
    for _ in range(2):
        probe = watched.admit()
        probe.answered(watched.after(1.0).now)
        watched.after(100.0).record(probe)

    assert "closed" == watched.state


# By hand.


def test_isolated_until_reset(circuit):
    """
    An isolated circuit lets nothing through, however long it takes, until somebody resets it.
    """
    permit = circuit.admit()
    circuit.breaker.isolate(circuit.now)
    circuit.after(1e6)
    assert math.inf == circuit.wait_s
    with pytest.raises(CircuitOpen, match=r"reset\(\)") as refused:
        circuit.admit()
    assert refused.value.retry_after is None
    circuit.record(permit)

    circuit.breaker.reset(circuit.now)

    assert ("closed", 0.0) == (circuit.state, circuit.wait_s)
    assert [("closed", "isolated", math.inf), ("isolated", "closed", None)] == [
        (event.old, event.new, event.until) for event in circuit.events
    ]


def test_reset_forgets_everything(circuit):
    """
    After a reset nothing from before counts: no failures, no openings, no calls in the air.
    """
    circuit.record(circuit.probing(), FAILED)
    circuit.breaker.reset(circuit.now)
    circuit.call(FAILED, 4)
    late = circuit.admit()

    circuit.breaker.reset(circuit.now)
    circuit.record(late, FAILED)

    assert BreakerHealth("closed", 0, 0, 0, 0, 0, None) == circuit.breaker.snapshot(circuit.now)
    assert 4 == len(circuit.events)  # to reset what is closed is no transition
    assert 15.0 == circuit.opened().wait_s


def test_isolating_twice_is_one_transition(circuit):
    """
    An isolated circuit cannot be isolated further.
    """
    circuit.breaker.isolate(circuit.now)
    circuit.breaker.isolate(circuit.now)

    assert 1 == len(circuit.events)


# What it tells.


def test_every_transition_is_told_once(circuit):
    """
    An event tells the way, the reason, the counts and the time of the next probe.
    """
    circuit.call(OK, 2)
    circuit.record(circuit.probing())
    circuit.call(OK)

    assert [
        Transition("closed", "open", 1000.0, "5 failures in a row", 7, 5, 1015.0, 2),
        Transition("open", "half_open", 1015.0, "rested", 7, 5, None, 3),
        Transition("half_open", "closed", 1015.0, "2 probes succeeded", 7, 5, None, 4),
    ] == circuit.events


def test_listeners_may_ask_the_breaker(circuit):
    """
    Whoever is told may use the breaker: it is told after the lock was let go.
    """
    heard = []
    breaker = Breaker(rng=Random(1), on_transition=lambda event: heard.append(breaker.snapshot(event.at).state))

    def fail() -> None:
        for _ in range(5):
            breaker.admit(0.0).record(0.0, FAILED)

    thread = threading.Thread(target=fail, daemon=True)
    thread.start()
    thread.join(5.0)

    assert ["open"] == heard


@pytest.mark.parametrize("look", [Breaker.peek, Breaker.admit, Breaker.snapshot, Breaker.isolate, Breaker.reset])
def test_listeners_may_ask_whoever_brings_the_news(look):
    """
    Whichever question brings a lost probe to light, it is told without the lock.
    """
    heard: list[State] = []
    circuit = Circuit(on_transition=lambda event: heard.append(circuit.breaker.snapshot(event.at).state))
    circuit.probing()

    thread = threading.Thread(target=look, args=(circuit.breaker, circuit.after(1e5).now), daemon=True)
    thread.start()
    thread.join(5.0)

    assert not thread.is_alive()
    assert 3 <= len(heard)


def test_snapshot(circuit):
    """
    A snapshot tells state, counts and the time to the next probe.
    """
    circuit.call(OK, 2)
    circuit.call(FAILED, 3)
    assert BreakerHealth("closed", 5, 3, 3, 0, 0, None) == circuit.breaker.snapshot(circuit.now)

    circuit.call(FAILED, 2)
    circuit.after(5.0)

    assert BreakerHealth("open", 7, 5, 5, 0, 1, 10.0) == circuit.breaker.snapshot(circuit.now)
    circuit.after(60.0)
    assert 0.0 == circuit.breaker.snapshot(circuit.now).probe_in_s
    circuit.breaker.isolate(circuit.now)
    assert circuit.breaker.snapshot(circuit.now).probe_in_s is None


def test_repr(circuit):
    """
    A breaker says how it is, counted from the last time it heard what time it is.
    """
    assert "<Breaker closed>" == repr(circuit.breaker)
    circuit.call(FAILED, 2)
    assert "<Breaker closed, 2 failures in a row>" == repr(circuit.breaker)
    circuit.call(FAILED, 3)
    circuit.after(2.6)
    assert circuit.refuses()
    assert "<Breaker open, probe in 12.4s>" == repr(circuit.breaker)
    circuit.after(12.4).admit()
    assert "<Breaker half_open, 1 of 3 probes in the air, 0 succeeded>" == repr(circuit.breaker)
    circuit.breaker.isolate(circuit.now)
    assert "<Breaker isolated>" == repr(circuit.breaker)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0}, {"minimum_calls": 0}, {"window_s": 0.0}, {"open_s": 0.0}, {"lease_s": -1.0},
        {"failure_ratio": 0.0}, {"slow_ratio": 0.0}, {"jitter": 1.0}, {"jitter": -0.1}, {"probes": 1}, {"probe_successes": 0},
    ],
)  # fmt: skip
def test_impossible_options_are_refused(options):
    """
    Numbers that contradict each other are refused when the breaker is made.
    """
    with pytest.raises(ValueError, match=next(iter(options))):
        Circuit(**options)


# Threads.


class Interrupted(Breaker):
    """Lets another thread in where the number of succeeded probes is read: in the middle of a decision."""

    __slots__ = ("succeeded",)

    def read(self) -> int:
        value = self.succeeded
        time.sleep(0)
        return value

    _successes = property(read, lambda self, value: setattr(self, "succeeded", value))


def test_of_many_threads_one_gets_the_probe():
    """
    However many threads come at once, one of them probes.
    """
    for _ in range(20):
        breaker = Interrupted(rng=Random(1), jitter=0.0)
        for _ in range(5):
            breaker.admit(0.0).record(0.0, FAILED)
        breaker.admit(15.0).record(15.0, NEUTRAL["cancelled"])
        admitted: list[Permit] = []
        start = threading.Barrier(8)

        def come(breaker=breaker, admitted=admitted, start=start) -> None:
            start.wait()
            with suppress(CircuitOpen):
                admitted.append(breaker.admit(15.0))

        threads = [threading.Thread(target=come) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert 1 == len(admitted)
