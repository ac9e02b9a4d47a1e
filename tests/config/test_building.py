"""What is refused while a gateway is built, and what a built one shares."""

from __future__ import annotations

import pytest

from llmgate import ConfigError, Gateway, Simulated

HERE, THERE = {"kind": "simulated", "region": "eu"}, {"kind": "simulated", "region": "us"}


def test_a_route_of_a_region_takes_nobody_from_another() -> None:
    """
    A route that insists on a region is not built with a provider of another one, not even as a fallback.
    """
    providers = {"here": HERE, "there": THERE}
    with pytest.raises(
        ConfigError, match=r"routes\.safe\.region: the route insists on region 'eu', and there is in 'us'"
    ):
        Gateway(
            {
                "providers": providers,
                "routes": {"safe": {"deployments": ["here/m"], "fallback": ["there/m"], "region": "eu"}},
            }
        )


def test_a_route_of_a_region_takes_who_is_there() -> None:
    """
    Providers of the region serve the route as ever.
    """
    config = {"providers": {"here": HERE}, "routes": {"safe": {"deployments": ["here/m"], "region": "eu"}}}
    with Gateway(config) as gateway:
        assert "here/m" == gateway.chat("safe", "hello").deployment


def test_two_providers_do_not_share_a_name() -> None:
    """
    A name that is taken twice is refused, because calls could not tell who is meant.
    """
    with pytest.raises(ConfigError, match="two providers 'here'"):
        Gateway({"providers": {"here": HERE}}, providers=[Simulated(name="here")])


def test_a_deployment_has_one_set_of_limits() -> None:
    """
    Two routes that say different things about one deployment are refused, because its state is one.
    """
    routes = {
        "one": {"deployments": [{"target": "here/m", "max_concurrency": 1}]},
        "two": {"deployments": [{"target": "here/m", "max_concurrency": 2}]},
    }
    with pytest.raises(ConfigError, match="here/m has other options elsewhere"):
        Gateway({"providers": {"here": HERE}, "routes": routes})


def test_half_a_gateway_can_be_printed() -> None:
    """
    What a refused configuration leaves behind has a repr, so that a traceback with locals can be shown.
    """
    assert "<Gateway, not configured>" == repr(Gateway.__new__(Gateway))
