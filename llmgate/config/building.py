"""From checked options to everything that has state: the one place that constructs.

One breaker, one set of limits and one standing for each deployment, one cache, the limits that calls share, and the handlers
that lead through them. What of it runs, and changes while it runs, is the pipeline's business (`pipeline.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

from ..errors import ConfigError, GatewayClosed
from ..middleware.attempts import Attempts, Candidate, Group, Retry, Route
from ..middleware.base import compose
from ..middleware.breaker import CircuitBreaker
from ..middleware.cache import Cache, Caching
from ..middleware.health import LoadBalance
from ..middleware.limits import RateLimit, amounts_of, limited
from ..middleware.single_flight import SingleFlight
from ..middleware.timeouts import Timeouts
from ..policies.breaker import Breaker
from ..policies.queue import Limiter
from ..policies.retry_budget import RetryBudget
from ..policies.routing import Balancer, Standing
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS, Outputs, input_tokens, output_limit
from ..providers.base import Provider
from ..telemetry.stats import CallStats
from ..types.call import Call, Handler
from ..types.deployment import Deployment
from ..types.reply import Reply
from .layers import Layers
from .settings import ANY_MODEL, RouteSettings, Settings, Target
from .world import World

__all__ = ["Building", "fingerprinted", "open_ended"]


class Building:
    """Everything that has state, made of options. See the module."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        layers: Layers,
        stats: CallStats,
        world: World | None = None,
    ) -> None:
        self.settings = settings
        self._world = world = world or World()
        self.providers = dict(providers)
        self.layers = layers
        self._rng = world.rng
        self._retry = settings.retry or Retry()
        self.breaker = settings.circuit_breaker or CircuitBreaker()
        self.timeouts = settings.timeouts or Timeouts()
        self._balance = settings.load_balance or LoadBalance()
        self.timeout_s = self.timeouts.totals()
        kinds = {name: provider.price_id() or "unknown" for name, provider in self.providers.items()}
        self.prices = world.prices(kinds)
        self._targets = _limits_by_name(settings)
        self._budgets = {name: RetryBudget() for name in self.providers}
        self._generations: dict[str, int] = {}  # of providers that were put there: how many others had gone by then
        self.candidates: dict[str, Candidate] = {}
        self.breakers: dict[str, Breaker] = {}
        self._limiters: list[Limiter] = []
        self._own_limiters: dict[str, list[Limiter]] = {}
        self.routes = {
            name: self._route(name, section) for name, section in settings.routes.items() if not open_ended(section)
        }
        self._caching: Caching | None = None
        self._own_caching: dict[str, Caching] = {}
        self._stats = stats
        self.ask = Attempts(self._retry.rules(), self._rng)
        self.handler = self.around(self.ask)

    # Composition.

    def around(
        self, ask: Handler, name: str = "", *, rate_limit: RateLimit | None = None, cache: Cache | None = None
    ) -> Handler:
        """
        What stands once before all attempts of a call.

        Args:
            ask: Makes the attempts.
            name: Of the route, if this is for one route alone.
            rate_limit: A limit besides those that all calls share.
            cache: Used instead of the configured one.
        """
        slots = self.layers.by_slot
        handler = compose(ask, slots["before_attempts"])
        if cache is not None:
            handler = cache.wrap(self._single_flight().wrap(handler)) if cache.enabled else handler
            if isinstance(handler, Caching):
                self._own_caching[name] = handler
        elif self.settings.cache is not None and self.settings.cache.enabled:
            flight = self._single_flight().wrap(handler)
            if self._caching is None:
                self._caching = Caching(self.settings.cache, flight)
                handler = self._caching
            else:
                handler = self._caching.sharing(flight)
        elif self.settings.single_flight is not None:
            handler = self.settings.single_flight.wrap(handler)
        handler = compose(handler, slots["before_cache"])
        if rate_limit is not None:
            handler, _ = self.limits(name, [rate_limit], handler)
        handler = self._limited(handler)
        return self._stats.wrap(self._admitted(compose(handler, slots["outermost"])))

    def _admitted(self, call_next: Handler) -> Handler:
        """
        Nobody comes in after `stop`. It is asked once the call counts as in flight, so whoever stops the pipeline and
        then waits until nothing is in flight overlooks nobody.
        """

        def admitted(call: Call) -> Awaitable[Reply]:
            if self._stopped:
                raise GatewayClosed("the gateway is closing; make a new one")
            return call_next(call)

        return admitted

    def _single_flight(self) -> SingleFlight:
        """What was said, else what goes with a cache: whoever keeps answers does not ask for the same one twice at once."""
        said = self.settings.single_flight
        return SingleFlight() if said is None else said

    def _limited(self, handler: Handler) -> Handler:
        """The limits that calls share. They are built once, however many handlers stand behind them."""
        if not self._shared_limits:
            self._shared_limits = [
                (limit, limit.build()) for limit in self.settings.rate_limit if limit.per != "deployment"
            ]
            for _, limiters in self._shared_limits:
                self._limiters += limiters
        for limit, limiters in reversed(self._shared_limits):
            handler = limited(handler, limiters, limit.on_limit == "wait", limit.per)
        return handler

    _shared_limits: Sequence[tuple[RateLimit, list[Limiter]]] = ()
    _stopped = False

    # Deployments.

    def _candidate(self, provider: Provider, model: str, key: int) -> Candidate:
        deployment = provider.deployment(model, key)
        known = self.candidates.get(deployment.name)
        if known is not None:
            return known
        generation = self._generations.get(deployment.provider)
        if generation:
            deployment = replace(deployment, generation=generation)
        price = self._price(deployment)
        if price is not None:
            deployment = replace(deployment, price=price)
        deployment = replace(
            deployment, priced=self.prices.pricer(deployment, self._world.today), weight=self._weight(deployment)
        )
        own = [limit for limit in self.settings.rate_limit if limit.per == "deployment"]
        target = self._targets.get(f"{deployment.provider}/{model}")
        if target is not None and (limit := _limit(target)) is not None:
            own.append(limit)
        return self.around_attempt(deployment, provider.bind(model, key), own, self._budgets[deployment.provider])

    def around_attempt(
        self, deployment: Deployment, handler: Handler, limits: Sequence[RateLimit], budget: RetryBudget | None = None,
        *, breaker: CircuitBreaker | None = None, timeouts: Timeouts | None = None,
    ) -> Candidate:  # fmt: skip
        """One deployment behind what stands around each attempt at it, with state of its own."""
        breaker, timeouts = breaker or self.breaker, timeouts or self.timeouts
        handler = timeouts.wrap(handler)
        gate = None
        if breaker.enabled:
            heard = self._world.heard
            circuit = breaker.build(self._rng, None if heard is None else partial(heard, deployment.name))
            self.breakers[deployment.name] = circuit
            gate = circuit.peek
            handler = breaker.around(circuit, handler)
        handler, limiters = self.limits(deployment.name, limits, handler)
        handler = compose(handler, self.layers.by_slot["each_attempt"])
        candidate = Candidate(Standing(deployment, gate), handler, gate, _queue(limiters), budget)
        self.candidates[deployment.name] = candidate
        return candidate

    def limits(self, name: str, limits: Sequence[RateLimit], handler: Handler) -> tuple[Handler, list[Limiter]]:
        """The handler behind limits of its own, which are closed with the pipeline; the limits of this name until now are not."""
        built = [(limit, limit.build()) for limit in limits]
        for limit, limiters in reversed(built):
            handler = limited(handler, limiters, limit.on_limit == "wait", limit.per)
        own = [limiter for _, limiters in built for limiter in limiters]
        self._own_limiters[name] = own
        return handler, own

    def _price(self, deployment: Deployment) -> Any:
        prices = self.settings.prices
        found = prices.get(f"{deployment.provider}/{deployment.model}") or prices.get(
            f"{deployment.provider}/{ANY_MODEL}"
        )
        return None if found is None else found.price()

    def _weight(self, deployment: Deployment) -> float:
        target = self._targets.get(f"{deployment.provider}/{deployment.model}")
        if target is not None and "weight" in target.model_fields_set:
            return target.weight
        weights = self._balance.weights
        named = weights.get(f"{deployment.provider}/{deployment.model}")
        return named if named is not None else weights.get(deployment.provider, 1.0)

    # Routes.

    def _route(self, name: str, section: RouteSettings, model: str = "") -> Route:
        strategy = section.strategy or self._balance.strategy
        groups = [self._group(strategy, section.deployments, model)]
        if section.fallback:
            groups.append(self._group("ordered", section.fallback, model))
        return fingerprinted(name, groups)

    def _group(self, strategy: str, targets: Iterable[Target], model: str) -> Group:
        candidates = [
            candidate
            for target in targets
            for candidate in self._keys(target.provider, model if target.model == ANY_MODEL else target.model)
        ]
        return self.group(strategy, list(dict.fromkeys(candidates)))

    def group(self, strategy: str, candidates: Sequence[Candidate]) -> Group:
        """Candidates behind a balancer of their own."""
        balancer = Balancer(strategy, [candidate.standing for candidate in candidates], Random(self._rng.random()))
        if balancer.asks_price and any(candidate.deployment.price is None for candidate in candidates):
            # The first call must not pay for the loading of the price list.
            self.prices.load()
        return Group(balancer, candidates, self._price_of)

    def _price_of(self, call: Call, standing: Standing) -> Decimal | None:
        """What a call will probably cost at most at a deployment."""
        request = call.request
        written = output_limit(request)
        tokens = DEFAULT_OUTPUT_TOKENS if written is None else written
        return self.prices.worst_case(standing.deployment, input_tokens(request), tokens, self._world.today())

    def _keys(self, name: str, model: str) -> list[Candidate]:
        """One candidate for each key of a provider."""
        provider = self.providers[name]
        return [self._candidate(provider, model, key) for key in range(len(provider.credentials()))]


def _queue(limiters: Sequence[Limiter]) -> Callable[[float, Call], float] | None:
    """How long a call would wait for a deployment's limits."""
    if not limiters:
        return None
    outputs = Outputs()

    def queue(now: float, call: Call) -> float:
        amounts = amounts_of(call, outputs)
        return max(limiter.eta(now, amounts, tenant=call.options.tenant) for limiter in limiters)

    return queue


def _limit(target: Target) -> RateLimit | None:
    """What the upstream grants one deployment, as a limit."""
    requests, tokens, calls = target.requests_per_minute, target.tokens_per_minute, target.max_concurrency
    if requests is None and tokens is None and calls is None:
        return None
    return RateLimit(per="deployment", requests_per_minute=requests, tokens_per_minute=tokens, max_concurrency=calls)


def _limits_by_name(settings: Settings) -> dict[str, Target]:
    """
    Each target's own words, by `provider/model`.

    Raises:
        ConfigError: If two routes say different things about the same deployment: its state is one.
    """
    found: dict[str, Target] = {}
    for name, route in settings.routes.items():
        for target in (*route.deployments, *route.fallback):
            if target.model_fields_set == {"target"}:
                continue
            known = found.setdefault(target.target, target)
            if known != target:
                raise ConfigError(
                    f"{target.target} has other options elsewhere; a deployment has one weight and one set of limits, "
                    "whatever route leads to it",
                    path=f"routes.{name}",
                )
    return found


def fingerprinted(name: str, groups: Sequence[Group]) -> Route:
    """The route, with the identity of everybody who may answer."""
    digest = hashlib.blake2b(digest_size=16)
    for group in groups:
        for candidate in group.candidates:
            deployment = candidate.deployment
            for part in (deployment.provider, deployment.origin, deployment.model, deployment.credential):
                data = part.encode()
                digest.update(b"%d:" % len(data) + data)
            if deployment.lenient:
                digest.update(b"lenient;")
            if deployment.generation:
                digest.update(b"%d;" % deployment.generation)
    return Route(name, groups, digest.hexdigest())


def open_ended(route: RouteSettings) -> bool:
    """Whether its callers name the model."""
    return any(target.model == ANY_MODEL for target in (*route.deployments, *route.fallback))
