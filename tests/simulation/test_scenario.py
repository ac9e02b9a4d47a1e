"""What a scenario may say, and how it is told what is wrong."""

from __future__ import annotations

import math
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.config import load_yaml
from llmgate.errors import ConfigError
from llmgate.simulation import find_scenario, scenario_from, scenario_schema, shipped
from llmgate.simulation.arrivals import arrivals, rate_at
from llmgate.simulation.course import Course, Places
from llmgate.simulation.spreads import Amount, Durations, weighted, zipf
from llmgate.simulation.upstream import Bucket

GUIDE = Path(__file__).parent.parent.parent / "docs" / "guides" / "simulator.md"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"durations": 3}, 'durations: unknown option; did you mean "duration"?'),
        ({"events": [{"at": "1m", "fro": "2m"}]}, 'events[0].fro: unknown option; did you mean "for"?'),
        ({"events": [{"at": 1, "errors": {"overlaoded": 0.3}}]}, 'events[0].errors: "overlaoded" is no kind of error; did you mean "overloaded"?'),
        ({"events": [{"at": 1, "errors": {"silence": 0.7, "throttled": 0.7}}]}, "events[0].errors: the shares are more than 1 together"),
        ({"events": [{"at": 1, "every": "1m"}]}, "events[0]: what comes again must be over before that: give `for`, less than `every`"),
        ({"traffic": {"rate": "x"}}, 'traffic.rate: "x" is not a rate; write 60/min, 10/s or 5/10s'),
        ({"traffic": {"prompt_tokens": {"p50": 3}}}, "traffic.prompt_tokens: a spread is one value, p50 and p99, low and high, or values"),
        ({"upstreams": {"a": {"first_token": {"p50": "5s", "p99": "1s"}}}}, "upstreams.a.first_token: 5 is more than 1; the smaller one comes first"),
        ({"upstreams": {"a": {"limit": {}}}}, "upstreams.a.limit: limits nothing; give requests_per_minute or tokens_per_minute"),
        ({"duration": "1000d"}, "that would be 4.32e+08 calls at the highest rate; at most 5e+06 are played"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(wrong: dict[str, Any], said: str) -> None:
    """
    A mistake is named with its place, and the right spelling if there is one.
    """
    with pytest.raises(ConfigError) as caught:
        scenario_from(wrong)

    assert said == str(caught.value)


@pytest.mark.parametrize("name", shipped())
def test_those_that_come_along(name: str) -> None:
    """
    Each can be found by its name, and says in a sentence what happens.
    """
    scenario = find_scenario(name)

    assert name == scenario.name
    assert scenario.about.endswith(".")


def test_the_schema_knows_every_word() -> None:
    """
    Editors learn the options by the names that stand in files.
    """
    schema = scenario_schema()

    assert {"duration", "traffic", "upstreams", "events"} <= set(schema["properties"])
    assert {"at", "for", "every", "where", "down", "errors"} <= set(schema["$defs"]["Event"]["properties"])


def test_the_scenario_of_the_guide() -> None:
    """
    What the guide shows can be played.
    """
    (shown,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    scenario = scenario_from(load_yaml(shown))

    assert (3600.0, 2, 3) == (scenario.duration, len(scenario.traffic), len(scenario.events))


def drawn(spread: Amount | Durations, count: int = 20_000) -> list[float]:
    rng, draw = Random(1), spread.draw()
    return sorted(draw(rng) for _ in range(count))


def test_a_spread_has_the_percentiles_that_were_said() -> None:
    """
    Half of a lognormal spread is below its p50 and 99 of 100 below its p99; the others keep to their bounds.
    """
    found = drawn(Durations.model_validate({"p50": "1s", "p99": "10s"}))
    assert 1.0 == pytest.approx(found[10_000], rel=0.05)
    assert 10.0 == pytest.approx(found[19_800], rel=0.1)

    found = drawn(Amount.model_validate({"low": 2, "high": 4}))
    assert 2 <= found[0] and found[-1] < 4
    assert 3.0 == pytest.approx(found[10_000], rel=0.05)

    assert {1.0, 2.0, 9.0} == {*drawn(Amount.model_validate([1, 2, 9]))}
    assert {0.8} == {*drawn(Durations.model_validate("800ms"), 10)}


def test_names_are_drawn_by_their_weights() -> None:
    """
    Three quarters of the weight are three quarters of the draws, and Zipf's first rank is asked twice as often as its second.
    """
    rng, name, rank = Random(2), weighted({"a": 3, "b": 1, "never": 0}), zipf(100, 1.0)
    names = [name(rng) for _ in range(20_000)]
    ranks = [rank(rng) for _ in range(20_000)]

    assert 15_000 == pytest.approx(names.count("a"), rel=0.03)
    assert 0 == names.count("never")
    assert 2.0 == pytest.approx(ranks.count(0) / ranks.count(1), rel=0.1)


traffics = st.fixed_dictionaries(
    {"rate": st.sampled_from(["3/s", "60/min", "10/s"]), "arrivals": st.sampled_from(["poisson", "constant"])},
    optional={
        "ramp": st.fixed_dictionaries({"to": st.sampled_from(["1/s", "20/s"])}, optional={"start": st.just("1m"), "over": st.just("5m")}),
        "bursts": st.fixed_dictionaries({"every": st.just("2m"), "for": st.just("20s"), "times": st.sampled_from([0.5, 4])}),
        "day": st.fixed_dictionaries({"low": st.sampled_from([0, 0.3]), "period": st.just("10m"), "peak": st.just("5m")}),
    },
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(said=traffics, seed=st.integers(0, 2**32))
def test_as_many_come_as_the_rate_says(said: dict[str, Any], seed: int) -> None:
    """
    Moments rise, lie within the run, and are as many as the integral of the rate: exactly where they are spaced evenly, to
    five standard deviations where they come by chance.
    """
    duration_s = 1200.0
    traffic = scenario_from({"traffic": said}).traffic[0]
    moments = list(arrivals(traffic, duration_s, Random(seed)))
    expected = sum(rate_at(traffic, duration_s, at + 0.5) for at in range(1200))

    assert moments == sorted(moments)
    assert not moments or (moments[0] > 0 and moments[-1] < duration_s)
    assert max(rate_at(traffic, duration_s, at * 1.0) for at in range(1200)) <= traffic.highest() + 1e-9
    slack = 5 * math.sqrt(expected) if traffic.arrivals == "poisson" else 0.01 * expected + 5
    assert abs(len(moments) - expected) <= slack


def test_events_hold_while_they_last() -> None:
    """
    What was said comes back when an event is over; of two at a time the later in the list wins; `every` repeats.
    """
    scenario = scenario_from(
        {
            "duration": "10m",
            "upstreams": {"*": {"price": 2}},
            "events": [
                {"at": 10, "for": 20, "every": 60, "price": 5},
                {"at": 20, "for": 20, "price": 7, "down": True},
                {"at": 20, "for": 20, "where": "elsewhere", "price": 9},
            ],
        }
    )
    course = Course(scenario, lambda word: word == "*")

    assert [2, 5, 7, 7, 2, 5, 2] == [course.at(now).price for now in (0, 10, 20, 39.9, 40, 75, 595)]
    assert (20, math.inf) == (course.falls_after(0), course.falls_after(20))


def test_where_means_the_same_people_in_every_configuration() -> None:
    """
    `first`, `others`, regions, names and patterns mean whom they say; a provider of that name comes before the word.
    """
    places = Places([("openai", "eu-west"), ("groq", "us-east"), ("cohere", "eu-north")])

    def means(word: str) -> list[str]:
        return [name for name in ("openai", "groq", "cohere") if places.means(word, name, f"{name}/m")]

    assert ["openai"] == means("first") == means("openai/m") == means("open*")
    assert ["groq"] == means("second") == means("region:us")
    assert ["groq", "cohere"] == means("others")
    assert ["openai", "cohere"] == means("region:eu")
    assert ["openai"] == means("region:first")
    assert Places([("a", ""), ("first", "")]).means("first", "first", "first/m")
    assert not Places([("a", ""), ("first", "")]).means("first", "a", "a/m")


@settings(max_examples=100, deadline=None)
@given(gaps=st.lists(st.sampled_from([0.0, 0.1, 1.0, 30.0]) | st.floats(0, 5), max_size=60), units=st.integers(1, 5))
def test_a_bucket_grants_no_more_than_it_says(gaps: list[float], units: int) -> None:
    """
    In any time the upstream lets through at most a burst and what flowed in; who waits as long as he is told gets through.
    """
    bucket, now, grants = Bucket(2.0, 10.0), 0.0, [0.0]
    for gap in gaps:
        now += gap
        if bucket.lacks(now, units) <= 0:
            bucket.take(units)
            grants += [now] * units
        for at, start in enumerate(grants):
            assert len(grants) - at <= 10 + 2 * (now - start) + 1 + 1e-6
    later = now + bucket.lacks(now, units)
    assert bucket.lacks(later + 1e-9, units) <= 1e-6
