"""A configuration's pipeline with everybody who waits outside of it played: the upstreams, the prices, the day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from pydantic import PrivateAttr

from ..config.pipeline import Pipeline, build
from ..config.settings import Settings
from ..config.world import World
from ..middleware.cache import Cache, MemoryTier
from ..policies.prices import PriceBook
from ..providers.base import Provider
from ..surfaces.imagining import with_keys
from ..telemetry.stats import CallStats
from ..types.call import Handler
from ..types.deployment import Deployment, Price
from .course import Course, Places
from .ledger import Ledger
from .scenario import Scenario
from .upstream import Upstream

__all__ = ["Stage"]

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
"""The day on which every simulation begins: prices that hold from a day on are the same whenever it is played."""


class Stage:
    """
    The pipeline and what is played around it.

    Args:
        settings: The configuration. Keys may be missing; tiers of its cache on disks become tiers in memory.
        scenario: What is played.
        seed: Of all chance. Each upstream has a generator of its own.
        ledger: Where it is written down.
        now: The time.

    Raises:
        ConfigError: If no gateway can be made of the configuration, or the scenario speaks of somebody who is not there.
    """

    def __init__(
        self, settings: Settings, scenario: Scenario, seed: int, ledger: Ledger, now: Callable[[], float]
    ) -> None:
        settings, _ = with_keys(settings)
        self._scenario = scenario
        self._seed = seed
        self._ledger = ledger
        self._upstreams: dict[str, Upstream] = {}
        self._places = Places(_in_order(settings))
        self._now = now
        targets = [
            target.target for route in settings.routes.values() for target in (*route.deployments, *route.fallback)
        ]
        self._places.check(scenario, targets)
        providers = {name: Played.by(self._upstream, real) for name, real in settings.providers.items()}
        changes: dict[str, Any] = {"providers": providers, "cache": _in_memory(settings.cache)}
        world = World(
            Random(f"{seed}/gateway"), self._today, self._prices, lambda name, turn: ledger.turns.append((name, turn))
        )
        self.stats = CallStats()
        self.pipeline: Pipeline = build(settings.model_copy(update=changes), (), (), self.stats, world)

    def _upstream(self, name: str) -> Upstream:
        found = self._upstreams.get(name)
        if found is None:
            provider, plain = name.partition("/")[0], name.partition("#")[0]
            course = Course(self._scenario, lambda word: self._places.means(word, provider, plain))
            found = Upstream(name, course, Random(f"{self._seed}/upstream/{name}"), self._ledger)
            self._upstreams[name] = found
        return found

    def _today(self) -> datetime:
        return MONDAY + timedelta(seconds=self._now())

    def _prices(self, kinds: Mapping[str, str]) -> PriceBook:
        return Market(kinds, self._factor)

    def _factor(self, name: str) -> float:
        return self._upstream(name).course.at(self._now()).price


class Played(Provider):
    """A provider in whose place somebody else answers; all that is known of it stays what it is."""

    kind = "played"

    _real: Provider = PrivateAttr()
    _upstream: Callable[[str], Upstream] = PrivateAttr()

    @classmethod
    def by(cls, upstream: Callable[[str], Upstream], real: Provider) -> Played:
        """That provider, played by the upstreams of its deployments' names."""
        played = cls(name=real.label(), region=real.region)
        played._real, played._upstream = real, upstream
        return played

    def credentials(self) -> list[str]:
        return self._real.credentials()

    def origin(self) -> str:
        return self._real.origin()

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        return self._real.capabilities(model)

    def price_id(self) -> str:
        return self._real.price_id()

    def deployment(self, model: str, key: int = 0) -> Deployment:
        # The real one knows how it is called only if nobody else gave it the name.
        return replace(self._real.deployment(model, key), provider=self.name)

    def bind(self, model: str, key: int = 0) -> Handler:
        return self._upstream(self.deployment(model, key).name)


class Market(PriceBook):
    """
    Prices that change while they are looked at.

    Args:
        kinds: What the list calls each provider.
        factor: Times its usual price that a deployment costs now.
    """

    __slots__ = ("_factor", "_known")

    def __init__(self, kinds: Mapping[str, str], factor: Callable[[str], float]) -> None:
        super().__init__(kinds)
        self._factor = factor
        self._known: dict[tuple[int, float], tuple[Price, Price]] = {}

    def price(
        self, deployment: Deployment, at: datetime, *, input_tokens: int = 0, service_tier: str = ""
    ) -> Price | None:
        found = super().price(deployment, at, input_tokens=input_tokens, service_tier=service_tier)
        factor = self._factor(deployment.name)
        if found is None or factor == 1.0:
            return found
        known = self._known.get((id(found), factor))
        if known is None or known[0] is not found:
            times = Decimal(str(factor))
            parts: dict[str, Any] = {name: getattr(found, name) for name in Price.__dataclass_fields__}
            dearer = Price(**{name: part and part * times for name, part in parts.items()})
            known = self._known[id(found), factor] = found, dearer
        return known[1]


def _in_order(settings: Settings) -> list[tuple[str, str]]:
    """Providers with their regions, as the routes name them, and then the others."""
    named = [target.provider for route in settings.routes.values() for target in (*route.deployments, *route.fallback)]
    names = dict.fromkeys([*named, *settings.providers])
    return [(name, settings.providers[name].region) for name in names if name in settings.providers]


def _in_memory(cache: Cache | None) -> Cache | None:
    """The same cache without files and servers."""
    if cache is None:
        return None
    tiers = [tier if isinstance(tier, MemoryTier) else MemoryTier() for tier in cache.tiers]
    return cache.model_copy(update={"tiers": tuple(tiers)})
