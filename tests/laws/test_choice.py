"""The law of choosing: who is first in line is chosen at once only where a look at everybody would choose it."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from llmgate.middleware.attempts import Candidate, Group, Route
from llmgate.policies.routing import STRATEGIES, Balancer, Standing
from llmgate.testing import Script, VirtualRuntime, call_for
from llmgate.types.deployment import Deployment

WELL = (False, False, 1.0, None, None)
STATES = list(itertools.product([False, True], [False, True], [0.0, 1.0], [None, 0.0, 5.0], [None, 0.0, 5.0]))
"""Whether it rests, is ill, its weight, and how long its breaker and its limits make a call wait."""


def route(strategy: str, states: list[tuple[bool, bool, float, Any, Any]]) -> Route:
    candidates = []
    for number, (cooling, ill, weight, gate_s, queue_s) in enumerate(states):
        standing = Standing(Deployment(f"p/{number}", "p", str(number), weight=weight))
        if cooling:
            standing.cool(10.0)
        standing.healthy = not ill
        gate = None if gate_s is None else lambda now, wait_s=gate_s: wait_s
        queue = None if queue_s is None else lambda now, call, wait_s=queue_s: wait_s
        candidates.append(Candidate(standing, Script("ok"), gate, queue))
    balancer = Balancer(strategy, [candidate.standing for candidate in candidates], Random(1))
    return Route("fast", [Group(balancer, candidates)])


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_short_way_leads_to_the_same(strategy: str) -> None:
    """
    Whoever rests, is full, has no weight or had its turn: the choice is that of a route which always looks at all.
    """
    call = call_for(VirtualRuntime())

    def chosen(among: Route, spent: int) -> list[str | None]:
        found = [among.choose(call, 1.0, among.candidates[:spent]) for _ in range(2)]
        return [None if candidate is None else candidate.deployment.name for candidate in found]

    for state, spent in itertools.product(STATES, [0, 1]):
        short, long = route(strategy, [state, WELL]), route(strategy, [state, WELL])
        long.groups[0]._head = None
        assert chosen(long, spent) == chosen(short, spent), state
