"""Laws of the plan: whatever fails, however often, wherever."""

from __future__ import annotations

import math
from collections import Counter
from itertools import cycle, islice
from random import Random

from hypothesis import given, settings, strategies as st

from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    CircuitOpen,
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    GatewayError,
    LimitReached,
    Overloaded,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
)
from llmgate.policies.attempts import FALLBACK_ON, Plan, Rules, Verdict

KINDS: list[type[GatewayError]] = [
    AuthenticationFailed, BadRequest, BudgetExceeded, CircuitOpen, ConnectionFailed, ContentFiltered,
    ContextWindowExceeded, LimitReached, Overloaded, ProtocolError, QuotaExhausted, RateLimited, StreamInterrupted,
    UpstreamError, UpstreamTimeout,
]  # fmt: skip
NEVER_AGAIN = {"quota_exhausted", "auth", "request", "policy", "local"}

seconds = st.floats(0.0, 400.0)
errors = st.builds(
    lambda kind, retry_after: kind(retry_after=retry_after),
    st.sampled_from(KINDS),
    st.none() | seconds | st.sampled_from([math.nan, math.inf, -1.0]),
)
rules = st.builds(
    Rules,
    max_attempts=st.integers(1, 12),
    max_attempts_total=st.integers(1, 10),
    fallback_on=st.frozensets(st.sampled_from(sorted(FALLBACK_ON | {"policy"}))) | st.just(FALLBACK_ON),
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Rules, float, bool, int, list[tuple[GatewayError, float, bool]], int]:
    """Rules, a deadline, whether others may answer, how many deployments there are, what will happen, a seed."""
    attempts = st.tuples(errors, st.floats(0.0, 100.0), st.integers(0, 4).map(bool))
    return (
        draw(rules),
        draw(st.floats(0.0, 1000.0) | st.just(math.inf)),
        draw(st.booleans()),
        draw(st.integers(1, 12)),
        draw(st.lists(attempts, min_size=1, max_size=8)),
        draw(st.integers(0, 9)),
    )


def live(
    call: tuple[Rules, float, bool, int, list[tuple[GatewayError, float, bool]], int],
) -> list[tuple[float, int, GatewayError, bool, Verdict]]:
    """Live through a call in which every attempt fails: when, where, how, with a permit or not, and what was decided."""
    its_rules, deadline, fallback, deployments, script, seed = call
    plan = Plan(its_rules, deadline, Random(seed), fallback)
    now, deployment, lived = 0.0, 0, []
    for error, took_s, budget_ok in islice(cycle(script), 30):  # ten attempts and twelve refusals at most
        now += 0.0 if error.outcome == "local" else took_s
        verdict = plan.after(now, str(deployment), error, deployment + 1 < deployments, budget_ok)
        lived.append((now, deployment, error, budget_ok, verdict))
        if verdict.action == "stop":
            return lived
        if verdict.action == "elsewhere":
            deployment += 1
        now += verdict.delay_s
    raise AssertionError("the call never ends")


@settings(max_examples=200, deadline=None)
@given(calls())
def test_attempts_stay_under_their_caps(call):
    """
    No deployment is asked more often than its cap, no call more often than its own, and every call ends.
    """
    asked = Counter(deployment for _, deployment, error, _, _ in live(call) if error.outcome != "local")

    assert max(asked.values(), default=0) <= call[0].max_attempts
    assert asked.total() <= call[0].max_attempts_total


@settings(max_examples=200, deadline=None)
@given(calls())
def test_no_wait_ends_after_the_deadline(call):
    """
    Whatever goes on, goes on with time left for an attempt; whatever stops or moves does not wait.
    """
    for now, _, _, _, verdict in live(call):
        if verdict.action != "stop":
            assert now + verdict.delay_s + call[0].minimum_attempt_s < call[1]
        if verdict.action != "again":
            assert 0.0 == verdict.delay_s
        assert 0.0 <= verdict.delay_s <= 1.1 * call[0].max_server_delay_s
        assert 0.0 <= verdict.cool_s <= call[0].cool_max_s


@settings(max_examples=200, deadline=None)
@given(calls())
def test_what_waiting_cannot_mend_is_not_tried_again(call):
    """
    A bad key, an empty account, a bad request, a filter and our own refusals never meet the same deployment twice.
    """
    for _, _, error, _, verdict in live(call):
        if error.outcome in NEVER_AGAIN:
            assert "again" != verdict.action
        assert error.credential == verdict.disable_credential


@settings(max_examples=200, deadline=None)
@given(calls())
def test_nobody_is_asked_who_must_not_be(call):
    """
    Another deployment is tried only if there is one, if the caller and the rules allow it, and if the error does.
    """
    its_rules, _, fallback, deployments, _, _ = call
    for _, deployment, error, _, verdict in live(call):
        if verdict.action == "elsewhere":
            assert fallback
            assert deployment + 1 < deployments
            assert error.outcome in its_rules.fallback_on
            assert error.elsewhere or error.outcome == "policy"


@settings(max_examples=200, deadline=None)
@given(calls())
def test_retries_have_permits(call):
    """
    After the first upstream attempt nothing goes on without a permit, and what goes on says that it uses it.
    """
    asked = 0
    for _, _, error, budget_ok, verdict in live(call):
        asked += error.outcome != "local"
        assert verdict.retry == (asked > 0 and verdict.action != "stop")
        assert budget_ok or not verdict.retry


@settings(max_examples=50, deadline=None)
@given(calls())
def test_same_seed_same_story(call):
    """
    A plan has no chance and no clock of its own.
    """
    assert live(call) == live(call)
