"""The most that one call can take: attempts, seconds, dollars.

The bounds are those that the code keeps to, and a simulation that fails in every way it can never passes them
(law: tests/laws/test_worst_case.py).

- A deployment is asked at most `max_attempts` times, because it may be the only one that is awake when it fails, and a
  call asks at most `max_attempts_total` times.
- A call ends with its deadline, if waits, attempts and the clocks of each do not end it before.
- Every attempt may be billed in full, and the dearest deployments may be those that are asked most often.

What middleware of the user's own does besides is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from ..config.pipeline import Pipeline
from ..middleware.attempts import Route
from ..middleware.limits import RateLimit
from ..policies.attempts import SERVER_DELAY_JITTER, Rules
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS
from ..types.deployment import Deployment

__all__ = ["WorstCase", "worst_case"]


@dataclass(frozen=True, slots=True)
class WorstCase:
    """
    The most that one call of a route can take.

    Attributes:
        attempts: Requests to upstreams.
        seconds: Until the call is over, for a whole answer.
        stream_seconds: The same for a stream.
        dollars: If every attempt is billed in full; None if a price is not known.
        unpriced: Deployments without a known price.
    """

    attempts: int
    seconds: float
    stream_seconds: float
    dollars: Decimal | None
    unpriced: list[str] = field(default_factory=list)


def worst_case(pipeline: Pipeline, route: Route, tokens: int) -> WorstCase:
    """
    Every attempt fails as late as it can, and is billed all the same.

    Args:
        tokens: Length of the prompt; the answer is as long as one is usually expected to be.
    """
    rules = pipeline.ask.rules
    deployments = [candidate.deployment for candidate in route.candidates]
    attempts = min(len(deployments) * rules.max_attempts, rules.max_attempts_total)
    longest_s = _longest(pipeline, rules, attempts, len(deployments))
    total_s, stream_s = pipeline.timeout_s
    dollars, unpriced = _bill(pipeline, deployments, tokens, rules.max_attempts, attempts)
    return WorstCase(attempts, min(total_s, longest_s), min(stream_s, longest_s), dollars, unpriced)


def _longest(pipeline: Pipeline, rules: Rules, attempts: int, deployments: int) -> float:
    """Seconds that queues, attempts and waits between them take together; infinity if nothing but the call ends them."""
    attempt_s = pipeline.timeouts.attempt
    if attempt_s is None:
        return math.inf
    limits = pipeline.settings.rate_limit
    shared_s = _queues(limit for limit in limits if limit.per != "deployment")
    own_s = _queues([limit for limit in limits if limit.per == "deployment"])
    for route in pipeline.settings.routes.values():
        if any(target.model_fields_set - {"target", "weight"} for target in (*route.deployments, *route.fallback)):
            own_s = math.inf  # some deployments have queues of their own; the call's own time ends those, too
    wait_s = max(
        rules.backoff.max_s, rules.throttled_backoff.max_s, rules.max_server_delay_s * (1 + SERVER_DELAY_JITTER)
    )
    # Each deployment may refuse once after a queue; that is no attempt.
    queues_s = shared_s + (attempts + deployments) * own_s
    return queues_s + attempts * attempt_s + (attempts - 1) * wait_s


def _queues(limits: Iterable[RateLimit]) -> float:
    """Seconds that a call may wait for all of them; rates and slots are two queues."""
    return sum(len(limit.build()) * limit.max_wait for limit in limits if limit.on_limit == "wait")


def _bill(
    pipeline: Pipeline, deployments: list[Deployment], tokens: int, each: int, attempts: int
) -> tuple[Decimal | None, list[str]]:
    now = datetime.now(UTC)
    prices = {
        deployment.name: pipeline.prices.worst_case(deployment, tokens, DEFAULT_OUTPUT_TOKENS, now)
        for deployment in deployments
    }
    unpriced = [name for name, price in prices.items() if price is None]
    if unpriced:
        return None, unpriced
    dearest = sorted((price for price in prices.values() if price is not None for _ in range(each)), reverse=True)
    return sum(dearest[:attempts], Decimal(0)), []
