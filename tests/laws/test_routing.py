"""Fairness: what every balancer keeps to, whoever comes, goes, fails or lies about the time."""

from __future__ import annotations

import heapq
import math
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from hypothesis import given, settings, strategies as st

from llmgate.errors import UpstreamError
from llmgate.policies.routing import SLOWEST_S, STRATEGIES, Balancer, Standing, eligible
from llmgate.types.deployment import Deployment
from llmgate.types.reply import Outcome

counts = st.integers(1, 7)


def standings(count: int, weights: list[int] | None = None) -> list[Standing]:
    return [
        Standing(Deployment(f"d{number}", "p", "m", weight=1.0 if weights is None else weights[number]))
        for number in range(count)
    ]


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads give way to each other at almost every step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@given(counts, st.integers(1, 5), st.lists(st.sets(st.integers(0, 6), min_size=1), max_size=30))
@settings(max_examples=200, deadline=None)
def test_round_robin_is_exact(count: int, rounds: int, history: list[set[int]]) -> None:
    """
    Whoever was missing before, in any whole number of rounds each one is chosen equally often.
    """
    everybody = standings(count)
    balancer = Balancer("round_robin", everybody, Random(0))
    for present in history:
        balancer.pick(0.0, [everybody[number] for number in sorted(present) if number < count] or everybody)

    chosen = Counter(balancer.pick(0.0, everybody) for _ in range(rounds * count))

    assert {rounds} == set(chosen.values())
    assert count == len(chosen)


@given(st.integers(2, 6), st.data())
@settings(max_examples=100, deadline=None)
def test_round_robin_never_makes_anybody_wait(count: int, data: st.DataObject) -> None:
    """
    Whatever the others do, nobody who is there waits for more than all others to be chosen once.
    """
    everybody = standings(count)
    balancer = Balancer("round_robin", everybody, Random(0))
    waiting: Counter[Standing] = Counter()
    for present in data.draw(st.lists(st.sets(st.integers(0, count - 1), min_size=1), max_size=40)):
        among = [everybody[number] for number in sorted(present)]
        chosen = balancer.pick(0.0, among)
        waiting.update(among)
        waiting[chosen] = 0

        assert max(waiting.values()) < count


def test_round_robin_is_exact_among_threads() -> None:
    """
    Threads that choose at once choose each one equally often.
    """
    everybody = standings(3)
    balancer = Balancer("round_robin", everybody, Random(0))
    chosen: list[Standing] = []

    def choose() -> None:
        chosen.extend([balancer.pick(0.0, everybody) for _ in range(6_000)])

    with switching_often():
        threads = [threading.Thread(target=choose) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {8_000} == set(Counter(chosen).values())


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_weighted_is_exact_over_a_cycle(weights: list[int], cycles: int) -> None:
    """
    In each cycle everybody is chosen exactly as often as the weight says, and within it never far from that.
    """
    everybody = standings(len(weights), weights)
    balancer = Balancer("weighted", everybody, Random(0))
    total = sum(weights)

    chosen: Counter[Standing] = Counter()
    for turn in range(1, cycles * total + 1):
        chosen[balancer.pick(0.0, everybody)] += 1
        if len(weights) == 1:
            continue
        for who in everybody:
            # Smooth weighted round robin strays less than the number of targets from the ideal share.
            assert abs(chosen[who] - turn * who.weight / total) < len(weights)

    assert [cycles * weight for weight in weights] == [chosen[who] for who in everybody]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_weighted_survives_coming_and_going(weights: list[int], data: st.DataObject) -> None:
    """
    After any coming and going, a long run has the shares of the weights, save for a few turns.
    """
    everybody = standings(len(weights), weights)
    balancer = Balancer("weighted", everybody, Random(0))
    for present in data.draw(st.lists(st.sets(st.integers(0, len(weights) - 1), min_size=1), max_size=30)):
        balancer.pick(0.0, [everybody[number] for number in sorted(present)])

    chosen = Counter(balancer.pick(0.0, everybody) for _ in range(10 * sum(weights)))

    for who in everybody:
        assert abs(chosen[who] - 10 * who.weight) <= 30


def simulate(
    balancer: Balancer, everybody: list[Standing], service_s: list[float], calls: int, at_once: int
) -> Counter[str]:
    """Keep `at_once` calls in the air until `calls` are over; each takes what its deployment takes."""
    now, done = 0.0, Counter[str]()
    number = {who: index for index, who in enumerate(everybody)}
    air: list[tuple[float, int, Standing, float]] = []
    for call in range(calls):
        while len(air) >= at_once:
            now, _, who, took = heapq.heappop(air)
            who.ended(now, Outcome("ok", first_token_s=took), took, None)
        who = balancer.pick(now, everybody)
        who.started(now)
        took = service_s[number[who]]
        done[who.deployment.name] += 1
        heapq.heappush(air, (now + took, call, who, took))
    return done


@given(st.integers(0, 2**32), st.integers(2, 12))
@settings(max_examples=10, deadline=None)
def test_two_choices_keep_load_even(seed: int, count: int) -> None:
    """
    Among equals, everybody gets an equal part of the calls.
    """
    everybody = standings(count)
    balancer = Balancer("latency", everybody, Random(seed))
    calls = 400 * count

    done = simulate(balancer, everybody, [1.0] * count, calls, at_once=8 * count)

    for who in everybody:
        assert abs(done[who.deployment.name] - 400) <= 40


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_two_choices_spare_the_slow(seed: int) -> None:
    """
    One that takes ten times as long gets a small part of the calls, and none of the others suffers for it.
    """
    everybody = standings(5)
    balancer = Balancer("latency", everybody, Random(seed))

    done = simulate(balancer, everybody, [10.0, 1.0, 1.0, 1.0, 1.0], 3_000, at_once=40)

    assert done["d0"] < 150
    assert max(done.values()) < 1.25 * (3_000 - done["d0"]) / 4


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_two_choices_are_two(seed: int) -> None:
    """
    The one with the most load is never chosen while another has less: it always meets somebody else.
    """
    everybody = standings(4)
    for who in everybody:
        who.started(0.0)
        who.ended(0.0, Outcome("ok", first_token_s=1.0), 1.0, None)
    everybody[seed % 4].started(0.0)
    balancer = Balancer("latency", everybody, Random(seed))

    assert everybody[seed % 4] not in {balancer.pick(0.0, everybody) for _ in range(100)}


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_two_choices_reach_everybody(seed: int) -> None:
    """
    Every ordered pair is equally likely, so among equals each one is chosen about equally often, idle as they are.
    """
    everybody = standings(4)
    balancer = Balancer("latency", everybody, Random(seed))

    chosen = Counter(balancer.pick(0.0, everybody) for _ in range(2_000))

    assert all(abs(chosen[who] - 500) < 120 for who in everybody)


times = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, -1.0, 1e-300, 1e300, math.nan])


@given(st.lists(st.tuples(times, times | st.none(), st.integers(-5, 10**9) | st.none()), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_time_whatever_wins_or_poisons(reports: list[tuple[float, float | None, int | None]]) -> None:
    """
    After any reports, impossible ones included, a deployment has a mean above zero or none, load counts against
    it, and it neither takes all calls nor is lost for ever.
    """
    liar, honest = standings(2)
    for second, (duration_s, first_s, tokens) in enumerate(reports):
        for outcome in (Outcome("ok", first_token_s=first_s), Outcome.of(UpstreamError("x"))):
            liar.started(second)
            liar.ended(second, outcome, duration_s, tokens)
    honest.started(0.0)
    honest.ended(float(len(reports)), Outcome("ok", first_token_s=1.0), 1.0, None)
    now = float(len(reports))

    mean = liar.first_token_s
    assert mean is not None
    assert 0.0 < mean <= SLOWEST_S
    assert liar.token_s is None or 0.0 <= liar.token_s <= SLOWEST_S
    for strategy in ("latency", "adaptive"):
        balancer = Balancer(strategy, [liar, honest], Random(1))
        for _ in range(2_000):
            liar.started(now)
        assert honest is balancer.pick(now, [liar, honest])
        for _ in range(2_000):
            liar.ended(now, Outcome("cancelled"), 0.0, None)
        for _ in range(30):
            honest.started(now)
        assert liar is balancer.pick(now + 3600.0, [liar, honest])
        for _ in range(30):
            honest.ended(now, Outcome("cancelled"), 0.0, None)


@given(st.sampled_from(STRATEGIES), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_chooses_one_of_those_who_can_be_asked(strategy: str, steps: list[tuple[int, int]]) -> None:
    """
    Whatever happens to the deployments, and whoever joins, the choice is among the candidates.
    """
    everybody = standings(3)
    balancer = Balancer(strategy, everybody, Random(7))
    for now, (number, what) in enumerate(steps):
        who = everybody[number % len(everybody)]
        if what == 0:
            who.cool(now + number)
        elif what == 1:
            who.probed(now, number % 2 == 0)
        elif what == 2 and len(everybody) < 6:
            everybody = [*everybody, *standings(1)]
        elif what == 3 and len(everybody) > 1:
            everybody = [other for other in everybody if other is not who]
            balancer.keep(everybody)
        found = eligible(float(now), everybody)

        assert len(everybody) == len(found.candidates) + len(found.left_out)
        if found.candidates:
            chosen = balancer.pick(float(now), found.candidates)
            chosen.started(now)
            chosen.ended(now + 1.0, Outcome("ok", first_token_s=0.5), 1.0, 20)
            assert chosen in found.candidates
