"""What a pipeline is given and does not decide itself: chance, the time of day, published prices, and who is told.

Everybody's calls live in the one world there is; a simulation makes others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from ..policies.breaker import Transition
from ..policies.prices import PriceBook

__all__ = ["World"]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class World:
    """
    The surroundings of a pipeline.

    Attributes:
        rng: Where jitter and chosen deployments come from.
        today: The time of day, for prices that change with it.
        prices: Makes the price list, of what it calls each provider.
        heard: Told of each change of a deployment's circuit, by the deployment's name. It must not raise.
    """

    rng: Random = field(default_factory=Random)
    today: Callable[[], datetime] = _now
    prices: Callable[[Mapping[str, str]], PriceBook] = PriceBook
    heard: Callable[[str, Transition], None] | None = None
