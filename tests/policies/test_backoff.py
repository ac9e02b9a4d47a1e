"""The curves, the jitter around them, and strategies that callers bring along."""

from __future__ import annotations

import math
from random import Random

import pytest
import tenacity

from llmgate.errors import RateLimited
from llmgate.policies.backoff import Backoff


@pytest.mark.parametrize(
    ("curve", "waits"),
    [
        ("exponential", [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]),
        ("linear", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("none", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_curves(curve, waits):
    """
    Without jitter each curve is what its name says, and none goes above its maximum.
    """
    backoff = Backoff(curve, base_s=1.0, max_s=10.0, jitter="none")

    assert waits == [backoff.delay(retry, Random(1)) for retry in range(6)]


def test_full_jitter_draws_from_the_whole_height():
    """
    Full jitter spreads from 50 ms to the curve, and reaches near both ends.
    """
    rng = Random(1)
    delays = [Backoff().delay(4, rng) for _ in range(2000)]

    assert 0.05 == min(delays)
    assert 7.9 < max(delays) <= 8.0
    assert 4.0 == pytest.approx(sum(delays) / len(delays), rel=0.05)


def test_throttled_waits_at_least_half():
    """
    Equal jitter keeps half of the curve, which starts at a second and stops at twenty.
    """
    rng = Random(1)
    backoff = Backoff.for_throttled()
    first = [backoff.delay(0, rng) for _ in range(2000)]
    late = [backoff.delay(9, rng) for _ in range(2000)]

    assert 0.5 <= min(first) < 0.51
    assert 0.99 < max(first) <= 1.0
    assert 10.0 <= min(late) < 10.2
    assert 19.8 < max(late) <= 20.0


def test_floor_is_not_above_the_curve():
    """
    A curve below 50 ms is not lifted to it, and no wait at all stays none under any jitter.
    """
    assert Backoff("constant", base_s=0.01, max_s=1.0).delay(0, Random(1)) == 0.01
    assert Backoff("none").delay(0, Random(1)) == 0.0


@pytest.mark.parametrize("curve", ["exponential", "linear", "constant", "none"])
@pytest.mark.parametrize("retry", [30, 31, 1023, 1024, 1025, 10**6, 10**30])
def test_no_attempt_is_too_late_for_arithmetic(curve, retry):
    """
    The thousandth attempt overflows nothing; without a maximum a curve stops to rise after thirty retries.
    """
    assert 0.0 <= Backoff(curve).delay(retry, Random(1)) <= 8.0
    endless = Backoff(curve, base_s=1.0, max_s=math.inf, jitter="none")
    assert endless.delay(30, Random(1)) == endless.delay(retry, Random(1)) <= 2.0**30


def test_same_seed_same_delays():
    """
    The generator that is passed in decides alone.
    """

    def delays(seed: int) -> list[float]:
        rng = Random(seed)
        return [backoff.delay(3, rng) for backoff in (Backoff(), Backoff.for_throttled()) for _ in range(10)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)


def test_a_strategy_of_tenacity_is_used_as_it_is():
    """
    Any tenacity wait will do, combined ones too; nothing is added to what it says.
    """
    backoff = Backoff(tenacity.wait_fixed(3) + tenacity.wait_incrementing(start=0, increment=2))

    assert [3.0, 5.0, 7.0] == [backoff.delay(retry, Random(1)) for retry in range(3)]


def test_a_strategy_may_look_at_the_failure():
    """
    A strategy sees which attempt it was, how it failed and how long the call has waited.
    """
    seen = []

    def wait(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        seen.append((state.attempt_number, state.outcome.exception(), state.idle_for, state.seconds_since_start))
        return 1.5

    error = RateLimited(retry_after=9.0)

    assert 1.5 == Backoff(wait).delay(2, Random(1), error, 4.5)
    assert [(3, error, 4.5, None)] == seen
    assert 9.0 == Backoff(tenacity.wait_exception(lambda e: e.retry_after)).delay(0, Random(1), error)


def test_a_strategy_may_be_jittered_if_asked():
    """
    Jitter is laid around a strategy that was brought along only if somebody says so.
    """
    rng = Random(1)
    delays = [Backoff(tenacity.wait_fixed(2), jitter="equal").delay(0, rng) for _ in range(50)]

    assert 1.0 <= min(delays) < max(delays) <= 2.0


@pytest.mark.parametrize("wish", [math.nan, -1.0, -math.inf])
def test_a_strategy_cannot_ask_for_the_past(wish):
    """
    Whatever a strategy says, the delay is a number of seconds and not negative.
    """
    assert 0.0 == Backoff(lambda state: wish).delay(0, Random(1))


@pytest.mark.parametrize("options", [{"base_s": -1.0}, {"base_s": 9.0}, {"base_s": math.nan}, {"curve": "expnential"}])
def test_impossible_options_are_refused(options):
    """
    A curve that does not exist or cannot be is refused where it is written, not where it is first needed.
    """
    with pytest.raises(ValueError, match=r"base_s|expnential"):
        Backoff(**options)


def test_repr():
    """
    A backoff says what it does.
    """
    assert "<Backoff exponential 0.5s to 8s, full jitter>" == repr(Backoff())
    assert "wait_fixed" in repr(Backoff(tenacity.wait_fixed(1)))
