"""Laws of the delay: between its floor and its curve, for every retry and every seed."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st

from llmgate.policies.backoff import Backoff

retries = st.integers(0, 2000)
seeds = st.integers(0, 2**32)


@settings(max_examples=200, deadline=None)
@given(retries, seeds)
def test_transient_is_full_jitter(retry, seed):
    """
    A transient failure waits `U(0, min(8, 0.5 * 2^k))`, and 50 ms at least.
    """
    high = min(8.0, 0.5 * 2 ** min(retry, 30))

    assert max(0.05, Random(seed).uniform(0.0, high)) == Backoff().delay(retry, Random(seed))


@settings(max_examples=200, deadline=None)
@given(retries, seeds)
def test_throttled_is_equal_jitter(retry, seed):
    """
    "Too fast" without a delay waits `U(0.5, 1) * min(20, 2^k)`.
    """
    high = min(20.0, 1.0 * 2 ** min(retry, 30))

    assert Random(seed).uniform(0.5, 1.0) * high == Backoff.for_throttled().delay(retry, Random(seed))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["exponential", "linear", "constant", "none"]),
    st.sampled_from(["full", "equal", "none"]),
    st.floats(0.0, 100.0),
    st.floats(0.0, 1000.0),
    retries,
    seeds,
)
def test_no_delay_is_above_its_maximum(curve, jitter, base_s, more_s, retry, seed):
    """
    Whatever is configured, a delay lies between 0 and `max_s`.
    """
    backoff = Backoff(curve, base_s=base_s, max_s=base_s + more_s, jitter=jitter)

    assert 0.0 <= backoff.delay(retry, Random(seed)) <= base_s + more_s
