"""Percentiles speak of what was measured, lately."""

from __future__ import annotations

from hypothesis import given, strategies as st

from llmgate.policies.percentiles import WINDOW, Percentiles

durations = st.lists(st.floats(0.0, 1e5), min_size=1, max_size=50)


@given(durations, st.floats(0.01, 1.0))
def test_as_many_as_asked_for_do_not_exceed_it(seconds: list[float], share: float) -> None:
    """
    At least the share asked for lies at or below a percentile, and less than that lies below it.
    """
    found = Percentiles()
    for each in seconds:
        found.add(each)
    value = found.at(share)

    assert value in seconds
    assert sum(each <= value for each in seconds) >= share * len(seconds) - 1e-9
    assert sum(each < value for each in seconds) < share * len(seconds) + 1e-9


def test_the_summary_names_four() -> None:
    """
    A summary holds the median, two high percentiles and the longest.
    """
    found = Percentiles()
    for each in range(1, 101):
        found.add(float(each))

    assert {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0} == found.summary()


def test_nothing_measured_is_nothing() -> None:
    """
    Without any duration there is no percentile, and none is made up.
    """
    assert {} == Percentiles().summary()
    assert Percentiles().at(0.5) is None


def test_old_durations_are_forgotten() -> None:
    """
    Only the latest durations count, so memory and answer stay bounded to them.
    """
    found = Percentiles()
    for each in range(10 * WINDOW):
        found.add(float(each))

    assert 10.0 * WINDOW - 1 == found.at(1.0)
    assert 9.0 * WINDOW == found.at(1 / WINDOW)
