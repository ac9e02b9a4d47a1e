"""Scenarios with real configurations: what goes in comes out, the same way every time, and each one's tale holds."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from llmgate.config import settings_from
from llmgate.errors import ConfigError
from llmgate.simulation import Report, scenario_from, shipped, simulate
from llmgate.simulation.run import _Run

PRICES = {"a/*": {"input": 1, "output": 4}, "b/*": {"input": 2, "output": 5}}
PROVIDERS = {"a": {"kind": "openai", "region": "eu-west"}, "b": {"kind": "anthropic", "region": "us-east"}}
ALONE: dict[str, Any] = {"providers": PROVIDERS, "routes": {"fast": ["a/m"]}, "prices": PRICES}
BOTH: dict[str, Any] = {**ALONE, "routes": {"fast": ["a/m", "b/m"]}}

BUSY: dict[str, Any] = {
    "duration": "3m",
    "traffic": [
        {"rate": "6/s", "questions": {"distinct": 40}, "tenants": {"acme": 2, "beta": 1}},
        {"rate": "2/s", "arrivals": "constant", "streamed": 1, "bursts": {"every": "1m", "for": "5s", "times": 4}},
    ],
    "upstreams": {"*": {"errors": {"overloaded": 0.05, "silence": 0.01, "stream_interrupted": 0.05}}},
    "events": [
        {"at": "1m", "for": "30s", "where": "a", "down": True},
        {"at": "2m", "where": "b/*", "limit": {"requests_per_minute": 100, "tokens_per_minute": 50000}, "price": 3},
    ],
}
EVERYTHING: dict[str, Any] = {
    **BOTH, "cache": {"ttl": "1m"}, "rate_limit": ["400/min"], "load_balance": {"strategy": "adaptive"},
    "timeouts": {"first_token": "5s"},
}  # fmt: skip


def test_the_same_seed_gives_the_same_run_everywhere() -> None:
    """
    With limits, cache, breakers, balancing and every kind of fault the whole report is the same each time, and its trace
    the same on every Python; another seed gives another one.
    """
    one, other = simulate(EVERYTHING, BUSY, seed=3), simulate(EVERYTHING, BUSY, seed=3)

    assert one == other
    assert "8eea4795166b788525d13cfc0ebf4f16" == one.trace
    assert one.trace != simulate(EVERYTHING, BUSY, seed=4).trace


def test_what_comes_in_ends() -> None:
    """
    Each call ends once; the gateway's own counts are those of the callers and of the upstreams, and every bill is in every
    sum.
    """
    run = _Run(settings_from(EVERYTHING, {}), scenario_from(BUSY), 5)
    report = run.played()
    total, counts, told = report.total, run._stage.stats.counts(), report.timeline

    assert (counts.calls, counts.in_flight) == (total.calls, 0)
    assert dict(counts.outcomes) == total.outcomes
    assert counts.cached == total.cached and total.cached["memory"] > 50
    assert total.calls == sum(total.outcomes.values()) == sum(told.calls)
    assert total.succeeded == sum(told.succeeded)
    requests = sum(seen.requests for seen in report.deployments.values())
    assert total.attempts == requests == sum(told.attempts)
    for groups in (report.routes, report.tenants):
        assert total.calls == sum(group.calls for group in groups.values())
        assert total.attempts == sum(group.attempts for group in groups.values())
        assert total.cost == sum((group.cost for group in groups.values()), Decimal(0))
    assert total.cost == sum((seen.cost for seen in report.deployments.values()), Decimal(0)) > 0
    assert sum(told.cost) == pytest.approx(float(total.cost))
    for name, seen in report.deployments.items():
        assert seen.requests == sum(seen.outcomes.values()) == sum(told.deployments[name].requests)
        assert "open" not in seen.outcomes


def test_attempts_are_what_the_gateway_counted() -> None:
    """
    Where no circuit refuses anybody, the gateway's count of attempts is that of the requests which upstreams received.
    """
    config = {**BOTH, "circuit_breaker": False}
    run = _Run(
        settings_from(config, {}),
        scenario_from({"duration": "2m", "upstreams": {"*": {"errors": {"overloaded": 0.3}}}}),
        1,
    )
    report = run.played()

    assert run._stage.stats.counts().attempts == report.total.attempts > report.total.calls


def opened_at(report: Report, name: str = "a/m") -> float:
    return next(turn.at_s for turn in report.deployments[name].circuit if turn.state == "open")


def during(report: Report, counts: list[int], start_s: float, end_s: float) -> int:
    width_s = report.timeline.width_s
    return sum(counts[int(start_s / width_s) : int(end_s / width_s)])


class TestTales:
    """What each scenario that comes along is there to show."""

    def test_outage(self) -> None:
        """
        With a fallback more than 99 of 100 calls succeed, and the circuit of the dead one opens within ten seconds;
        without a fallback most calls of those minutes fail.
        """
        both, alone = simulate(BOTH, "outage"), simulate(ALONE, "outage")

        assert both.total.success_rate > 0.99
        assert 240 <= opened_at(both) <= 250
        assert alone.total.success_rate < 0.7

    def test_brownout(self) -> None:
        """
        A fallback repairs the overloads, for one attempt more where they happen.
        """
        both = simulate(BOTH, "brownout")

        assert both.total.success_rate > 0.99
        assert 1.02 < both.total.amplification < 1.25
        assert simulate(ALONE, "brownout").total.success_rate < both.total.success_rate - 0.1

    def test_throttling(self) -> None:
        """
        A 429 opens no circuit; the other one takes over what is too much.
        """
        both = simulate(BOTH, "throttling")

        assert both.total.success_rate > 0.99
        assert 0 == both.deployments["a/m"].openings
        assert both.deployments["a/m"].outcomes["rate_limited"] > 100

    def test_slow_first_tokens(self) -> None:
        """
        A breaker that minds slowness spares the callers most of it.
        """
        patient = simulate(BOTH, "slow_first_tokens").total.first_token_s
        quick = simulate({**BOTH, "circuit_breaker": {"slow": "5s"}}, "slow_first_tokens").total.first_token_s

        assert patient is not None and quick is not None
        assert quick.p90 < patient.p90 / 3

    def test_cut_streams(self) -> None:
        """
        What has reached the caller is not repaired: he is told, and no attempt is made for it.
        """
        both = simulate(BOTH, "cut_streams")

        assert both.total.outcomes["stream_interrupted"] > 400
        assert both.total.amplification < 1.01

    def test_price_spike(self) -> None:
        """
        Who chooses by cost goes elsewhere while it lasts, and pays a fraction.
        """
        cheap = {**BOTH, "routes": {"fast": {"strategy": "cost", "deployments": ["a/m", "b/m"]}}}
        loyal, nimble = simulate(BOTH, "price_spike"), simulate(cheap, "price_spike")

        assert nimble.total.cost < loyal.total.cost / 2
        assert 0 == during(nimble, nimble.timeline.deployments["a/m"].requests, 240, 600)
        assert during(nimble, nimble.timeline.deployments["a/m"].requests, 600, 900) > 1000

    def test_flapping(self) -> None:
        """
        The rests grow, so fewer and fewer calls meet the one that comes and goes.
        """
        both = simulate(BOTH, "flapping")

        assert both.total.success_rate > 0.99
        assert 3 <= both.deployments["a/m"].openings <= 15

    def test_regional_loss(self) -> None:
        """
        Who has somebody in another region goes on; who has not, does not, however many keys he has there.
        """
        near = {**BOTH, "providers": {**PROVIDERS, "b": {**PROVIDERS["b"], "region": "eu-west"}}}

        assert simulate(BOTH, "regional_loss").total.success_rate > 0.99
        assert simulate(near, "regional_loss").total.success_rate < 0.75

    def test_recovery(self) -> None:
        """
        Once the first one is whole again, its circuit closes and the traffic comes back.
        """
        both = simulate(BOTH, "recovery")

        assert "closed" == both.deployments["a/m"].circuit[-1].state
        assert 0 == during(both, both.timeline.deployments["b/m"].requests, 900, 1200)

    def test_rush(self) -> None:
        """
        A cache takes the questions that come again, and a limit of the gateway's refuses what is too much.
        """
        cached = simulate(
            {**BOTH, "cache": {"ttl": "1h"}, "rate_limit": [{"requests": "10/s", "max_wait": "1s"}]}, "rush"
        )

        assert sum(cached.total.cached.values()) > 0.5 * cached.total.succeeded
        assert cached.total.refused > 100
        assert ["acme", "beta"] == list(cached.tenants)

    def test_steady(self) -> None:
        """
        On a quiet day nothing opens and next to nothing fails.
        """
        report = simulate(BOTH, "steady")

        assert report.total.success_rate > 0.999
        assert 0 == sum(seen.openings for seen in report.deployments.values())

    def test_each_is_told(self) -> None:
        """
        No scenario that comes along is forgotten here.
        """
        assert [f"test_{name}" for name in shipped()] == sorted(name for name in dir(self) if name[5:] in shipped())


@pytest.mark.parametrize("kind", ["overloaded", "upstream_error", "connection_failed", "rate_limited"])
@pytest.mark.parametrize("deployments", [1, 2, 3])
def test_the_bound_of_amplification(kind: str, deployments: int) -> None:
    """
    Where everything fails, the upstreams receive at most 1.25 requests for each call, because breakers and budgets bite.
    """
    names = [f"p{at}" for at in range(deployments)]
    config = {
        "providers": {name: {"kind": "simulated"} for name in names},
        "routes": {"fast": [f"{name}/m" for name in names]},
    }
    scenario = {
        "duration": "2m",
        "traffic": {"rate": "20/s"},
        "upstreams": {"*": {"errors": {kind: 1}, "error_time": "1s"}},
    }
    report = simulate(config, scenario)

    assert 0 == report.total.succeeded
    assert report.total.amplification <= 1.25


def test_budgets_alone_bound_retries() -> None:
    """
    Without a circuit breaker the budget alone keeps retries of one deployment to a quarter of the calls.
    """
    scenario = {
        "duration": "2m",
        "traffic": {"rate": "50/s"},
        "upstreams": {"*": {"errors": {"upstream_error": 1}, "error_time": "1s"}},
    }
    report = simulate({**ALONE, "circuit_breaker": False}, scenario)

    assert 1.05 < report.total.amplification <= 1.25


def test_traffic_that_has_nowhere_to_go() -> None:
    """
    A configuration without routes, and a scenario about somebody who is not there, are refused with the place.
    """
    with pytest.raises(ConfigError, match=r"^traffic\[0\]\.routes: the configuration has no routes"):
        simulate({"providers": PROVIDERS}, "steady")
    with pytest.raises(ConfigError, match=r'^events\[0\]\.where: "opnai" means nobody here'):
        simulate(BOTH, {"events": [{"at": 0, "where": "opnai", "down": True}]})
    with pytest.raises(ConfigError, match=r'did you mean "outage"'):
        simulate(BOTH, "outag")


def test_health_checks_are_no_traffic() -> None:
    """
    Probes go on in virtual time, end with the run, and are no attempts.
    """
    report = simulate(
        {**BOTH, "load_balance": {"health_check": "10s"}},
        {"duration": "1m", "events": [{"at": "20s", "where": "a", "down": True}]},
    )

    assert report.total.attempts == sum(Counter(seen.requests for seen in report.deployments.values()).elements())
    assert report.total.success_rate > 0.98
