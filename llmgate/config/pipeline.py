"""The pipeline as it runs: the way in for a call, providers that come and go, health, and the end.

It is built once. What changes are the routes that callers make up (`naming.py`) and the providers that are put there at run
time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from random import Random
from typing import Any

from ..errors import ConfigError, DeadlineExceeded
from ..middleware.health import Probe, Prober
from ..policies.queue import ring
from ..policies.retry_budget import RetryBudget
from ..providers.base import Provider
from ..telemetry.stats import CallStats
from ..types.call import Call, Handler
from ..types.reply import Reply
from ..types.runtime import Runtime
from .explaining import suggestion
from .layers import Layer, Layers
from .naming import Naming
from .settings import RouteSettings, Settings
from .world import World

__all__ = ["Pipeline", "build"]


class Pipeline(Naming):
    """Routes, deployments and what stands before them. See the module."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        layers: Layers,
        stats: CallStats,
        world: World | None = None,
    ) -> None:
        super().__init__(settings, providers, layers, stats, world)
        self._replaced = 0
        self._prober = self._probing()

    def open(self, call: Call, handler: Handler | None = None) -> Awaitable[Reply]:
        """
        Answer a call by its route, or the way it has already.

        Raises:
            DeadlineExceeded: If it had no time from the beginning; nothing was taken.
        """
        if call.deadline <= call.started:
            raise DeadlineExceeded("the call was given no time; its timeout must be more than 0")
        call.way = way = call.way or self.resolve(call)
        call.fingerprint = way.fingerprint
        return (handler or self.handler)(call)

    # Providers that come and go.

    def put(self, name: str, provider: Provider | None) -> None:
        """
        Put a provider in the place of this name; None takes away who is there. Calls that are under way end with whom they
        began with, and nothing that was learnt of him is held against another one.

        Raises:
            ConfigError: If it cannot be used, or routes need what is taken away. Then nothing is changed.
        """
        if provider is not None:
            _check_provider(name, provider)
        led = {route: section for route, section in self.settings.routes.items() if name in _providers_of(section)}
        for route, section in led.items():
            if provider is None:
                raise ConfigError(f"{name!r} cannot be taken away, for it leads there", path=f"routes.{route}")
            _check_region(route, section, provider)
            for target in (*section.deployments, *section.fallback):
                if target.provider == name:
                    provider.bind(target.model)
        with self._lock:
            self._replaced += name in self.providers
            # A new mapping each time, so that whoever goes through the old one can, and sees that it is old.
            others = {other: there for other, there in self.providers.items() if other != name}
            if provider is None:
                self.providers = others
                for kept in (self._generations, self._budgets):
                    kept.pop(name, None)
                self.prices.call(name, None)
            else:
                self.providers = {**others, name: provider}
                self._generations[name] = self._replaced
                self._budgets[name] = RetryBudget()
                self.prices.call(name, provider.price_id() or "unknown")
            gone = {candidate for candidate in self.candidates.values() if candidate.deployment.provider == name}
            for candidate in gone:
                self._drop(candidate)
            for key, passing in list(self._passing.items()):
                said = key[-1] if isinstance(key, tuple) else key
                if said == name or str(said).startswith(f"{name}/") or not gone.isdisjoint(passing.candidates):
                    del self._passing[key]
            self.routes.update(
                {route: self._route(route, section) for route, section in led.items() if route in self.routes}
            )
            if self._prober is not None:
                self._prober.probes = self._probes()

    # What it tells.

    def provider_names(self) -> list[str]:
        return list(self.providers)

    def health(self, now: float) -> dict[str, Any]:
        """Each deployment's state as plain values."""
        told: dict[str, Any] = {}
        for name, candidate in list(self.candidates.items()):
            standing = candidate.standing
            breaker = self.breakers.get(name)
            wait_s = 0.0 if candidate.gate is None else candidate.gate(now)
            available = standing.available(now) and wait_s <= 0
            told[name] = _plain(standing.snapshot(now)) | {
                "available": available,
                "reason": "" if available else "circuit open" if wait_s > 0 else standing.reason(now),
                "circuit": None if breaker is None else _plain(breaker.snapshot(now)),
            }
        return told

    def cache_health(self) -> dict[str, Any] | None:
        """Each tier's counters; None without a cache."""
        return None if self._caching is None else {name: _plain(tier) for name, tier in self._caching.stats().items()}

    # Health checks, and the end.

    def _probing(self) -> Prober | None:
        interval_s = self._balance.health_check
        return None if interval_s is None else Prober(self._probes(), interval_s, Random(self._rng.random()))

    def _probes(self) -> list[Probe]:
        """One for each key of each provider."""
        return [
            Probe(
                provider.deployment("", key).name,
                self.timeouts.wrap(_bound(provider, key)),
                [_Told(self, name, key)],
            )
            for name, provider in self.providers.items()
            for key in range(len(provider.credentials()))
        ]

    def start(self, runtime: Runtime) -> None:
        """Begin probing, if that is configured; the first call does it."""
        prober = self._prober
        if prober is not None and not self._probes_run:
            with self._lock:
                if not self._probes_run:
                    self._probes_run = True
                    runtime.spawn(prober.run(runtime))

    _probes_run = False

    def stop(self) -> None:
        """Let nobody in, and nobody wait for a limit any more."""
        self._stopped = True
        if self._prober is not None:
            self._prober.stop()
        for limiter in [*self._limiters, *(one for own in self._own_limiters.copy().values() for one in own)]:
            ring(limiter, 0.0, limiter.close())

    def close(self) -> None:
        """Close the caches."""
        if self._caching is not None:
            self._caching.close()
        for own in self._own_caching.values():
            own.close()


class _Told:
    """Tells every deployment of one provider and key how a probe went."""

    def __init__(self, pipeline: Pipeline, provider: str, key: int) -> None:
        self._pipeline = pipeline
        self._provider = provider
        self._key = key

    def probed(self, now: float, ok: bool) -> None:
        suffix = f"#{self._key + 1}" if self._key else ""
        for name, candidate in list(self._pipeline.candidates.items()):
            if candidate.deployment.provider == self._provider and (
                name.endswith(suffix) if suffix else "#" not in name
            ):
                candidate.standing.probed(now, ok)


def _bound(provider: Provider, key: int) -> Handler:
    handler, deployment = provider.bind("", key), provider.deployment("", key)

    async def asked(call: Call) -> Reply:
        call.deployment = deployment
        return await handler(call)

    return asked


def _plain(value: Any) -> Any:
    """A dataclass as a dict of plain values."""
    from dataclasses import asdict, is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _providers_of(section: RouteSettings) -> set[str]:
    return {target.provider for target in (*section.deployments, *section.fallback)}


def _check_provider(name: str, provider: Provider) -> None:
    try:
        provider.credentials()
        provider.origin()
    except ConfigError as error:
        raise ConfigError(error.message, path=f"providers.{name}") from None


def _check_region(route: str, section: RouteSettings, provider: Provider) -> None:
    region = provider.region
    if section.region and region != section.region and not region.startswith(section.region + "-"):
        # Refused now and not left out later: data that may not go there must not depend on who is healthy.
        raise ConfigError(
            f"the route insists on region {section.region!r}, and {provider.label()} is in {region or 'none'!r}; "
            f"say region: {section.region} there if it is, or take it out of the route",
            path=f"routes.{route}.region",
        )


def build(
    settings: Settings,
    providers: Sequence[Provider],
    middleware: Sequence[Layer | tuple[str, Layer]],
    stats: CallStats,
    world: World | None = None,
) -> Pipeline:
    """
    The pipeline that the settings describe.

    Args:
        world: Its surroundings, where they are not the usual ones.

    Raises:
        ConfigError: If a provider has no key, a name is taken twice, or something is missing; with its path.
    """
    named: dict[str, Provider] = {}
    for name, provider in [*settings.providers.items(), *((provider.label(), provider) for provider in providers)]:
        if name in named:
            raise ConfigError(f"there are two providers {name!r}; give one of them another name", path="providers")
        _check_provider(name, provider)
        named[name] = provider
    for route, section in settings.routes.items():
        for target in (*section.deployments, *section.fallback):
            if target.provider not in named:
                raise ConfigError(
                    f"there is no provider {target.provider!r}; {suggestion(target.provider, named)}",
                    path=f"routes.{route}",
                )
            _check_region(route, section, named[target.provider])
    return Pipeline(settings, named, Layers(settings, middleware), stats, world)
