"""What `check` finds that a schema cannot, and what it says one call can take at most."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llmgate import ConfigError
from llmgate.config import settings_from
from llmgate.surfaces.check import Report, checked

UP = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"}
PRICED = {"up/*": {"input": 1, "output": 2}, "other/*": {"input": 10, "output": 20}}


def report(tokens: int = 1000, env: dict[str, str] | None = None, **sections: Any) -> Report:
    """A configuration with two upstreams, all priced, and a route; sections replace these."""
    config: dict[str, Any] = {
        "providers": {"up": UP, "other": UP},
        "routes": {"fast": ["up/a", "other/b"]},
        "prices": PRICED,
    }
    return checked(settings_from(config | sections, env or {}), tokens=tokens)


def found(**sections: Any) -> dict[str, str]:
    """The findings by their paths."""
    findings = report(**sections).findings
    assert len(findings) == len({finding.path for finding in findings})
    return {finding.path: f"{finding.level}: {finding.text}" for finding in findings}


class TestFindings:
    def test_nothing_to_complain_about(self) -> None:
        """
        A plain configuration has no findings.
        """
        assert {} == found()
        assert "0 errors, 0 warnings" == report().lines()[-1]

    def test_missing_keys(self) -> None:
        """
        A key that is missing is an error that names the provider and the variable; every one is told.
        """
        providers = {"up": UP, "other": UP, "openai": {}, "anthropic": {}, "groq": {"api_key": "sk"}}
        routes = {"fast": ["up/a", "other/b", "openai/a", "anthropic/b", "groq/c"]}
        wrong = [finding for finding in report(providers=providers, routes=routes).findings if finding.level == "error"]

        assert ["providers.anthropic", "providers.openai"] == [finding.path for finding in wrong]
        assert "ANTHROPIC_API_KEY" in wrong[0].text and "OPENAI_API_KEY" in wrong[1].text

    def test_the_environment_of_the_configuration(self) -> None:
        """
        A key that is set is not missing.
        """
        providers = {"up": UP, "other": UP, "openai": {}}
        routes = {"fast": ["up/a", "other/b", "openai/gpt-4o-mini"]}

        assert [] == report(env={"OPENAI_API_KEY": "sk"}, providers=providers, routes=routes).errors

    def test_targets_that_are_named_twice(self) -> None:
        """
        A target that stands in its route already can never be reached.
        """
        routes = {"fast": {"deployments": ["up/a", "other/b"], "fallback": ["up/a", "up/c"]}}

        assert {
            "routes.fast.fallback[0]": (
                "warning: up/a can never be reached: it is deployments[0] already and was tried by then"
            )
        } == found(routes=routes)

    def test_targets_behind_the_last_attempt(self) -> None:
        """
        A target behind as many as a call makes attempts is reached only while others rest.
        """
        routes = {"fast": ["up/a", "other/b", "up/c", "other/d"]}
        findings = found(routes=routes, retry={"max_attempts": 1, "max_attempts_total": 2})

        assert ["routes.fast.deployments[2]", "routes.fast.deployments[3]"] == list(findings)
        assert (
            "can only be reached while others rest: a call makes 2 attempts at most"
            in findings["routes.fast.deployments[2]"]
        )

    def test_fallbacks_that_nothing_leads_to(self) -> None:
        """
        Without any outcome to fall back on, nobody is asked after a failure.
        """
        assert ["routes.fast.deployments[1]"] == list(found(retry={"fallback_on": []}))

    def test_providers_that_no_route_uses(self) -> None:
        """
        A provider without a route is told, unless there are no routes at all.
        """
        assert ["providers.other"] == list(found(routes={"fast": ["up/a"]}))
        assert {} == found(routes={})

    def test_deployments_that_can_do_less(self) -> None:
        """
        A deployment that lacks what others of its route have is left out of such calls, and that is told.
        """
        providers = {
            "up": UP | {"models": {"a": {"capabilities": ["tools", "vision"]}}},
            "other": UP | {"models": {"b": {"capabilities": ["tools"]}}},
        }
        assert {
            "routes.fast": "warning: other/b lacks vision, which others of the route have; it is left out of such calls"
        } == found(providers=providers)

    def test_what_else_providers_have_is_no_matter(self) -> None:
        """
        That others make images, too, says nothing against who chats like them.
        """
        providers = {
            "up": UP | {"models": {"a": {"capabilities": ["chat", "image", "embed"]}}},
            "other": UP | {"models": {"b": {"capabilities": ["chat"]}}},
        }
        assert {} == found(providers=providers)

    def test_deployments_that_have_nothing_in_common(self) -> None:
        """
        Who can do nothing that those before it can is told.
        """
        providers = {
            "up": UP | {"models": {"a": {"capabilities": ["chat"]}}},
            "other": UP | {"models": {"b": {"capabilities": ["embed"]}}},
        }
        assert "other/b can do nothing that those before it can" in found(providers=providers)["routes.fast"]

    @pytest.mark.parametrize(
        ("narrow", "wide", "binds"),
        [
            ({"requests_per_minute": 60}, {"requests_per_minute": 60}, False),
            ({"requests_per_minute": 59}, {"requests_per_minute": 60}, True),
            ({"requests": "1/s"}, {"requests_per_minute": 60}, True),
            ({"requests": "3600/h"}, {"requests_per_minute": 60}, False),
            ({"requests_per_minute": 60, "burst": 5}, {"requests_per_minute": 60}, True),
            ({"requests_per_minute": 60, "burst": 5}, {"requests_per_minute": 60, "burst": 5}, False),
            ({"requests_per_minute": 60, "strategy": "sliding_window"}, {"requests_per_minute": 60}, True),
            ({"requests_per_minute": 120, "strategy": "sliding_window"}, {"requests_per_minute": 60}, False),
            ({"requests_per_minute": 60}, {"requests_per_minute": 60, "strategy": "sliding_window"}, False),
            (
                {"requests_per_minute": 60, "strategy": "sliding_window"},
                {"requests": "1/s", "strategy": "sliding_window"},
                False,
            ),
            (
                {"requests": "60/90s", "strategy": "sliding_window"},
                {"requests": "50/min", "strategy": "sliding_window"},
                True,
            ),
            ({"tokens_per_minute": 100}, {"requests_per_minute": 1}, True),
            ({"tokens_per_minute": 100}, {"tokens_per_minute": 50}, False),
            ({"max_concurrency": 4}, {"max_concurrency": 4}, False),
            ({"max_concurrency": 3}, {"max_concurrency": 4}, True),
        ],
    )
    def test_limits_that_never_bind(self, narrow: dict[str, Any], wide: dict[str, Any], binds: bool) -> None:
        """
        A limit for some binds unless the limit for all lets no more through in any stretch of time.
        """
        limits = [wide, {"per": "tenant"} | narrow]

        assert ([] if binds else ["rate_limit[1]"]) == list(found(rate_limit=limits))

    def test_grants_that_never_bind(self) -> None:
        """
        What a target is granted never binds under a limit for all that is as narrow.
        """
        routes = {"fast": [{"target": "up/a", "requests_per_minute": 500}, {"target": "other/b", "max_concurrency": 2}]}
        findings = found(routes=routes, rate_limit=[{"requests_per_minute": 500}])

        assert {
            "routes.fast.deployments[0]": (
                "warning: 500 requests in 1m (per deployment) can never bind: rate_limit[0] allows no more for all together"
            )
        } == findings

    def test_weights_that_nobody_looks_at(self) -> None:
        """
        Weights under a strategy without weights are told, and a weight of 0 under one with weights.
        """
        targets = [{"target": "up/a", "weight": 0}, {"target": "other/b", "weight": 2}]

        assert {"routes.fast"} == set(found(routes={"fast": {"strategy": "ordered", "deployments": targets}}))
        assert {"routes.fast.deployments[0]"} == set(
            found(routes={"fast": {"strategy": "weighted", "deployments": targets}})
        )
        assert {"load_balance.weights"} == set(found(load_balance={"strategy": "round_robin", "weights": {"up": 2}}))
        assert {} == found(load_balance={"strategy": "weighted", "weights": {"up": 2}})

    def test_clocks_that_leave_no_time(self) -> None:
        """
        A clock as long as the call, or so long that several silent deployments use the call up, leaves the others none.
        """
        assert {"timeouts.first_token"} == set(found(timeouts={"total": "60s"}))
        assert {} == found(timeouts={"total": "61s"})
        assert {"timeouts.attempt"} == set(found(timeouts={"total": "120s", "attempt": "120s", "first_token": "1s"}))
        assert {} == found(timeouts={"total": "60s"}, routes={"fast": ["up/a"], "slow": ["other/b"]})
        three = {"fast": ["up/a", "other/b", "other/c"]}
        text = found(timeouts={"total": "120s", "first_token": "60s"}, routes=three)["timeouts.first_token"]
        assert "2 silent deployments take first_token (1m) each, which is the whole call (2m)" in text

    def test_waits_that_are_longer_than_a_call(self) -> None:
        """
        A wait for a limit that outlasts every call is told, where somebody wrote it.
        """
        limit = {"requests_per_minute": 60, "max_wait": "1h"}

        assert {"rate_limit[0]"} == set(found(rate_limit=[limit]))
        assert {} == found(rate_limit=[limit | {"on_limit": "reject"}])

    def test_prices_that_nobody_knows(self) -> None:
        """
        A deployment without a price is told; under `cost` it also comes last. A model the caller names is no finding.
        """
        assert {
            "routes.fast": "warning: other/b has no known price; its calls have no cost. Give one under prices"
        } == found(prices={"up/*": {"input": 1, "output": 1}})
        routes = {"fast": {"strategy": "cost", "deployments": ["up/a", "other/b"]}}
        assert (
            "so it comes last under this strategy"
            in found(prices={"up/*": PRICED["up/*"]}, routes=routes)["routes.fast"]
        )
        assert {} == found(prices={}, routes={"any": ["up", "other"]})

    def test_what_cannot_be_built_at_all(self) -> None:
        """
        Whatever else is wrong is the ConfigError that a gateway would raise.
        """
        with pytest.raises(ConfigError, match=r"providers.up: .*base_url is missing"):
            report(providers={"up": {"kind": "openai-compatible"}}, routes={}, prices={})

    def test_nothing_is_touched(self, tmp_path: Any) -> None:
        """
        Checking opens no file of a cache and asks nobody.
        """
        path = tmp_path / "cache.db"
        report(cache={"tiers": [{"kind": "sqlite", "path": str(path)}]}, load_balance={"health_check": "1s"})

        assert not path.exists()


class TestWorstCase:
    def test_attempts(self) -> None:
        """
        Each deployment may be asked as often as one may be, and all together as often as a call asks.
        """
        assert 6 == report().worst["fast"].attempts
        assert 3 == report(routes={"fast": ["up/a"], "slow": ["other/b"]}).worst["fast"].attempts
        assert 2 == report(retry={"enabled": False}).worst["fast"].attempts
        assert 4 == report(retry={"max_attempts": 2}).worst["fast"].attempts
        assert 10 == report(retry={"max_attempts": 10}).worst["fast"].attempts
        keys = {"up": UP | {"api_key": ["a", "b"]}, "other": UP}
        assert 6 == report(providers=keys, retry={"max_attempts": 2}).worst["fast"].attempts

    def test_seconds(self) -> None:
        """
        The deadline is the end of it, or what comes before: attempts with a clock and waits with a limit.
        """
        assert (120, 600) == (report().worst["fast"].seconds, report().worst["fast"].stream_seconds)
        worst = report(timeouts={"total": "50s"}).worst["fast"]
        assert (50, 50) == (worst.seconds, worst.stream_seconds)
        short = report(timeouts={"attempt": "10s"}, retry={"enabled": False}).worst["fast"]
        assert 10 + 10 + 66 == short.seconds
        queued = report(
            timeouts={"attempt": "1s"}, retry={"enabled": False}, routes={"fast": ["up/a"], "slow": ["other/b"]},
            rate_limit=[{"requests_per_minute": 1, "max_wait": "5s"}, {"per": "deployment", "max_concurrency": 1, "max_wait": "7s"}],
        ).worst["fast"]  # fmt: skip
        assert 5 + 2 * 7 + 1 == queued.seconds

    def test_dollars(self) -> None:
        """
        Every attempt is billed in full, the dearest most often; without a price nobody knows.
        """
        cheap = Decimal(1000 * 1 + 1024 * 2) / 10**6
        dear = 10 * cheap
        assert 3 * cheap + 3 * dear == report().worst["fast"].dollars
        assert 3 * dear == report(retry={"max_attempts_total": 3}).worst["fast"].dollars
        assert cheap + dear == report(retry={"enabled": False}).worst["fast"].dollars
        longer = report(tokens=2000, retry={"enabled": False}).worst["fast"].dollars
        assert longer is not None and longer == cheap + dear + Decimal(11_000) / 10**6
        assert None is report(prices={"up/*": PRICED["up/*"]}).worst["fast"].dollars
        assert ["other/b"] == report(prices={"up/*": PRICED["up/*"]}).worst["fast"].unpriced

    def test_the_short_forms_have_one_too(self) -> None:
        """
        A chain of providers, whose model the caller names, has attempts and seconds; its dollars depend on the model.
        """
        worst = checked(
            settings_from({"providers": {"primary": "openai", "fallback": ["anthropic"], "strategy": "ordered"}}, {})
        ).worst

        assert [(6, 120.0, None)] == [(w.attempts, w.seconds, w.dollars) for w in worst.values()]

    def test_how_it_is_said(self) -> None:
        """
        One line a route, in units that people read.
        """
        assert [
            "the worst case of one call (a prompt of 1000 tokens and an answer of 1024):",
            "  fast: 6 attempts, 2m (10m as a stream), $0.100584",
            "0 errors, 0 warnings",
        ] == report().lines()
