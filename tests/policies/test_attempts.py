"""What follows a failure: the same deployment again, another one, or nothing."""

from __future__ import annotations

import heapq
import itertools
import math
from random import Random

import pytest

from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    GatewayClosed,
    GatewayError,
    LimitReached,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    UpstreamError,
    UpstreamTimeout,
)
from llmgate.policies.attempts import FALLBACK_ON, Plan, Rules
from llmgate.policies.backoff import Backoff
from llmgate.policies.retry_budget import RetryBudget

ONE_SECOND = Rules(
    backoff=Backoff("constant", base_s=1.0, jitter="none"),
    throttled_backoff=Backoff("constant", base_s=2.0, jitter="none"),
)


def plan(deadline: float = math.inf, rules: Rules = ONE_SECOND, fallback: bool = True) -> Plan:
    return Plan(rules, deadline, Random(1), fallback)


def story(error: GatewayError, others: bool, rules: Rules = ONE_SECOND) -> list[str]:
    """What one deployment that always fails like this makes a call do, until the call leaves it."""
    one = plan(rules=rules)
    actions: list[str] = []
    while actions[-1:] in ([], ["again"]):
        actions.append(one.after(0.0, "a", error, others).action)
    return actions


@pytest.mark.parametrize(
    ("error", "beside_others", "alone"),
    [
        (UpstreamError(), "again elsewhere", "again again stop"),
        (ConnectionFailed(), "again elsewhere", "again again stop"),
        (StreamInterrupted(), "again elsewhere", "again again stop"),
        (ProtocolError(), "again elsewhere", "again stop"),
        (RateLimited(), "elsewhere", "again again stop"),
        (RateLimited(retry_after=7.0), "elsewhere", "again again stop"),
        (Overloaded(), "elsewhere", "again again stop"),
        (UpstreamTimeout(), "elsewhere", "again stop"),
        (UpstreamError(retry_after=7.0), "elsewhere", "again again stop"),
        (QuotaExhausted(), "elsewhere", "stop"),
        (AuthenticationFailed(), "elsewhere", "stop"),
        (PermissionDenied(), "elsewhere", "stop"),
        (ContextWindowExceeded(), "elsewhere", "stop"),
        (ModelNotFound(), "elsewhere", "stop"),
        (BadRequest(), "stop", "stop"),
        (ContentFiltered(), "stop", "stop"),
        (CircuitOpen(), "elsewhere", "stop"),
        (LimitReached(), "elsewhere", "stop"),
        (BudgetExceeded(), "stop", "stop"),
        (DeadlineExceeded(), "stop", "stop"),
        (GatewayClosed(), "stop", "stop"),
        (ConfigError(), "stop", "stop"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_each_failure_has_its_course(error, beside_others, alone):
    """
    How often one deployment is tried depends on how it fails and on whether there are others.
    """
    assert beside_others == " ".join(story(error, others=True))
    assert alone == " ".join(story(error, others=False))


@pytest.mark.parametrize("others", [True, False])
def test_one_attempt_means_one(others):
    """
    With `max_attempts=1` no deployment is asked twice.
    """
    rules = Rules(max_attempts=1)

    assert "again" not in story(UpstreamError(), others, rules) + story(RateLimited(), others, rules)


def test_the_whole_call_has_a_cap_of_its_own():
    """
    After six attempts it is over, however many deployments are left.
    """
    one = plan()

    actions = [one.after(0.0, name, Overloaded(), others=True).action for name in "abcdef"]

    assert [*["elsewhere"] * 5, "stop"] == actions


def test_attempts_in_the_air_count():
    """
    Hedges that still run are attempts, too.
    """
    one = plan(rules=Rules(max_attempts_total=3))
    assert one.room(0.0, in_flight=1)
    assert one.room(0.0, in_flight=2)
    assert not one.room(0.0, in_flight=3)

    assert "elsewhere" == one.after(0.0, "a", Overloaded(), others=True, in_flight=1).action
    assert "stop" == one.after(0.0, "b", Overloaded(), others=True, in_flight=1).action
    assert not one.room(0.0, in_flight=1)


def test_no_hedge_without_time():
    """
    A hedge that could not answer before the deadline is not begun.
    """
    assert plan(deadline=10.0).room(9.4, in_flight=1)
    assert not plan(deadline=10.0).room(9.5, in_flight=1)


def test_the_wish_of_the_upstream_is_granted():
    """
    Alone and throttled, a call waits as long as it was told and up to a tenth longer, each time anew.
    """
    delays = [
        Plan(Rules(), math.inf, Random(seed)).after(0.0, "a", RateLimited(retry_after=50.0), False).delay_s
        for seed in range(300)
    ]

    assert 50.0 <= min(delays) < 50.1
    assert 54.9 < max(delays) <= 55.0


@pytest.mark.parametrize("wish", [math.nan, math.inf, -1.0, 0.0, None])
def test_an_impossible_wish_is_none(wish):
    """
    A delay that is no positive number is not waited for; our own backoff is.
    """
    verdict = plan().after(0.0, "a", RateLimited(retry_after=wish), others=False)

    assert ("again", 2.0, 2.0) == (verdict.action, verdict.delay_s, verdict.cool_s)


def test_nobody_waits_longer_than_a_minute():
    """
    Who asks for more than sixty seconds is not waited for, but left alone for as long, up to five minutes.
    """
    minute = plan().after(0.0, "a", RateLimited(retry_after=60.0), others=False)
    longer = plan().after(0.0, "a", RateLimited(retry_after=61.0), others=False)
    a_day = plan().after(0.0, "a", RateLimited(retry_after=86400.0), others=True)

    assert ("again", 60.0) == (minute.action, minute.cool_s)
    assert ("stop", 61.0, 0.0) == (longer.action, longer.cool_s, longer.delay_s)
    assert ("elsewhere", 300.0, 0.0) == (a_day.action, a_day.cool_s, a_day.delay_s)


@pytest.mark.parametrize(
    ("error", "cool_s"),
    [
        (RateLimited(retry_after=7.0), 7.0),
        (RateLimited(), 2.0),
        (Overloaded(retry_after=9.0), 9.0),
        (Overloaded(), 0.0),
        (UpstreamError(), 0.0),
        (QuotaExhausted(retry_after=30.0), 30.0),
        (CircuitOpen(retry_after=9.0), 0.0),
        (LimitReached(retry_after=9.0), 0.0),
    ],
)
@pytest.mark.parametrize("others", [True, False])
def test_who_asks_for_a_rest_gets_it(error, cool_s, others):
    """
    A deployment is left alone for as long as it asks, after "too fast" in any case; our own refusals cool nobody.
    """
    assert cool_s == plan().after(0.0, "a", error, others).cool_s


@pytest.mark.parametrize("error", [QuotaExhausted(), AuthenticationFailed()])
@pytest.mark.parametrize("others", [True, False])
def test_a_bad_key_is_everybodys_business(error, others):
    """
    An error of the key disables the key, and nothing else does.
    """
    assert plan().after(0.0, "a", error, others).disable_credential
    assert not plan().after(0.0, "a", RateLimited(), others).disable_credential


def test_the_decision_comes_before_the_wait():
    """
    A wait after which no time is left is not begun.
    """
    assert "again" == plan(deadline=1.6).after(0.0, "a", UpstreamError(), others=False).action
    stopped = plan(deadline=1.5).after(0.0, "a", UpstreamError(), others=False)

    assert ("stop", 0.0, False) == (stopped.action, stopped.delay_s, stopped.retry)
    assert "deadline" in stopped.reason


def test_no_time_to_wait_may_be_time_to_move():
    """
    If the backoff does not fit but an attempt does, another deployment is asked at once; if that does not fit, nobody.
    """
    assert "elsewhere" == plan(deadline=1.5).after(0.0, "a", UpstreamError(), others=True).action
    assert "stop" == plan(deadline=1.5).after(1.0, "a", UpstreamError(), others=True).action
    assert "stop" == plan(deadline=1.0).after(2.0, "a", CircuitOpen(), others=True).action


@pytest.mark.parametrize("error", [UpstreamError(), RateLimited(), QuotaExhausted(), CircuitOpen(), ModelNotFound()])
def test_the_caller_may_forbid_others(error):
    """
    With `fallback=False` a call fares as if there were nobody else.
    """
    faithful = plan(fallback=False)
    alone = plan()

    for _ in range(3):
        expected = alone.after(0.0, "a", error, others=False)
        assert expected == faithful.after(0.0, "a", error, others=True)


def test_fallback_may_be_narrowed_and_policy_asked_for():
    """
    Outcomes that are not in `fallback_on` stay where they are; `policy` must be named; a bad request goes nowhere.
    """
    strict = Rules(fallback_on=frozenset({"overloaded"}))
    bold = Rules(fallback_on=FALLBACK_ON | {"policy"})

    assert "elsewhere" == story(Overloaded(), True, strict)[-1]
    assert ["stop"] == story(QuotaExhausted(), True, strict)
    assert ["stop"] == story(CircuitOpen(), True, strict)
    assert ["elsewhere"] == story(ContentFiltered(), True, bold)
    assert ["stop"] == story(ContentFiltered(), False, bold)
    assert ["stop"] == story(BadRequest(), True, bold)


def test_refusals_of_our_own_are_no_attempts():
    """
    Open circuits and limits count against no cap and need no retry budget, as long as no upstream was asked.
    """
    one = plan()
    for number in range(50):
        verdict = one.after(0.0, f"d{number}", CircuitOpen(), others=True, budget_ok=False)
        assert ("elsewhere", False) == (verdict.action, verdict.retry)
    assert 0 == one.asked

    assert "again" == one.after(0.0, "last", UpstreamError(), others=False).action
    assert 1 == one.asked


def test_nobody_goes_round_in_circles():
    """
    A deployment that refuses the same call twice ends it.
    """
    one = plan()
    one.after(0.0, "a", CircuitOpen(), others=True)
    one.after(0.0, "b", LimitReached(), others=True)

    assert "stop" == one.after(0.0, "a", CircuitOpen(), others=True).action


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("error", [UpstreamError(), Overloaded(), QuotaExhausted(), ContextWindowExceeded()])
def test_without_budget_nothing_follows_an_upstream_failure(error, others):
    """
    Once an upstream was asked, both another try and another deployment need a permit of the retry budget.
    """
    verdict = plan().after(0.0, "a", error, others, budget_ok=False)

    assert ("stop", False) == (verdict.action, verdict.retry)


def test_a_refusal_after_a_failure_is_still_a_retry():
    """
    To pass an open circuit on the way from a failed upstream to the next one needs the permit of that retry.
    """
    first, second = plan(), plan()
    assert first.after(0.0, "a", Overloaded(), others=True).retry
    second.after(0.0, "a", Overloaded(), others=True)

    passing = first.after(0.0, "b", CircuitOpen(), others=True)
    assert ("elsewhere", True) == (passing.action, passing.retry)
    assert "stop" == second.after(0.0, "b", CircuitOpen(), others=True, budget_ok=False).action


def test_a_strategy_hears_how_long_the_call_has_waited():
    """
    A strategy that was brought along is told the failure, its number on this deployment and the waits so far.
    """
    seen = []

    def wait(state) -> float:
        seen.append((state.attempt_number, state.outcome.exception(), state.idle_for))
        return 1.5

    one = plan(rules=Rules(backoff=Backoff(wait)))
    error = UpstreamError()
    for _ in range(2):
        one.after(0.0, "a", error, others=False)

    assert [(1, error, 0.0), (2, error, 1.5)] == seen


def test_reasons_read_as_sentences():
    """
    A verdict says why, with the numbers that decided.
    """
    assert "upstream_error; once more after 1.00s" == plan().after(0.0, "a", UpstreamError(), True).reason
    assert "rate_limited; it asks for 7s" == plan().after(0.0, "a", RateLimited(retry_after=7.0), False).reason
    assert "circuit_open; another deployment may do better" == plan().after(0.0, "a", CircuitOpen(), True).reason
    assert "bad_request; another attempt would not help" == plan().after(0.0, "a", BadRequest(), True).reason
    refused = plan().after(0.0, "a", UpstreamError(), True, budget_ok=False).reason
    assert "upstream_error; too many retries are in the air already" == refused
    longer = plan().after(0.0, "a", RateLimited(retry_after=90.0), False).reason
    assert "rate_limited; it asks for 90s, and nobody waits longer than 60s" == longer


@pytest.mark.parametrize("options", [{"max_attempts": 0}, {"max_attempts_total": 0}, {"max_attempts_total": 11}])
def test_impossible_caps_are_refused(options):
    """
    No configuration lets a call make more than ten attempts, or none.
    """
    with pytest.raises(ValueError, match="max_attempts"):
        Rules(**options)


@pytest.mark.parametrize("others", [True, False])
def test_retries_never_become_the_load(others):
    """
    With every attempt failing after a second, a hundred calls a second make at most a quarter more attempts than
    there are calls, and every permit comes back.
    """
    calls_per_s, seconds = 100, 60
    budget = RetryBudget()
    rng = Random(1)
    asked = 0
    order = itertools.count()
    # (time, tie, the call's plan, the deployment whose answer comes now, whether the call holds a permit)
    events: list[tuple[float, int, Plan, int, bool]] = []
    starts = [number / calls_per_s for number in range(calls_per_s * seconds)]

    def fail(now: float, one: Plan, deployment: int, held: bool) -> None:
        nonlocal asked
        asked += 1
        held = held or budget.take()
        verdict = one.after(now, str(deployment), Overloaded(), others, held)
        if held and not verdict.retry:
            budget.give_back()
        if verdict.action == "stop":
            budget.leave()
            return
        deployment += verdict.action == "elsewhere"
        heapq.heappush(events, (now + verdict.delay_s + 1.0, next(order), one, deployment, True))

    for start in starts:
        while events and events[0][0] <= start:
            now, _, one, deployment, held = heapq.heappop(events)
            fail(now, one, deployment, held)
        budget.enter()
        heapq.heappush(events, (start + 1.0, next(order), Plan(Rules(), math.inf, rng), 0, False))
    while events:
        now, _, one, deployment, held = heapq.heappop(events)
        fail(now, one, deployment, held)

    assert 1.1 * len(starts) < asked <= 1.26 * len(starts)  # the budget allows what it can, and a few while it drains
    assert (0, 0) == (budget.in_flight, budget.retries)


def test_no_budget_holds_back_a_fallback_to_another_provider():
    """
    Where the budget has no retry left, a provider that was not asked yet may still be; the same one may not be again.
    """
    tired = plan().after(0.0, "a", UpstreamError(), True, budget_ok=False, fresh=True)

    assert "elsewhere" == tired.action
    assert "stop" == plan().after(0.0, "a", UpstreamError(), True, budget_ok=False).action
    assert "stop" == plan().after(0.0, "a", UpstreamError(), False, budget_ok=False, fresh=True).action


@pytest.mark.parametrize(
    ("error", "unkeyed", "keyed"),
    [
        (UpstreamError(), "stop", "again"),
        (UpstreamTimeout(timer="first_token"), "stop", "again"),
        (ConnectionFailed(), "stop", "again"),
        (StreamInterrupted(), "stop", "again"),
        (ProtocolError(), "stop", "again"),
        (ConnectionFailed(begun=False), "again", "again"),
        (UpstreamTimeout(timer="connect"), "elsewhere", "elsewhere"),
        (RateLimited(), "elsewhere", "elsewhere"),
        (Overloaded(), "elsewhere", "elsewhere"),
        (QuotaExhausted(), "elsewhere", "elsewhere"),
        (CircuitOpen(), "elsewhere", "elsewhere"),
        (BadRequest(), "stop", "stop"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_what_must_happen_once_does_not_begin_twice(error, unkeyed, keyed):
    """
    Where an upstream may have begun, it alone is asked again, and only if a key lets it know the request again.
    """
    for action, key in ((unkeyed, False), (keyed, True)):
        one = Plan(ONE_SECOND, math.inf, Random(1), once=True, keyed=key)

        assert action == one.after(0.0, "a", error, others=True).action
