"""From checked options to the pipeline that runs: the one place that constructs.

A pipeline holds everything that has state: one breaker, one set of limits and one standing for each deployment, one
cache, the limits that calls share. It is built once; what changes are the routes of models that callers name on the fly
(`provider/model`), in a bounded map, and the providers that are put there at run time.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from importlib.metadata import entry_points
from random import Random
from typing import Any, TypeVar

from ..errors import BadRequest, ConfigError, DeadlineExceeded, GatewayClosed, ModelNotFound
from ..middleware.attempts import Attempts, Candidate, Group, Retry, Route
from ..middleware.base import SLOTS, Middleware, UserMiddleware, compose
from ..middleware.breaker import CircuitBreaker
from ..middleware.cache import Cache, Caching
from ..middleware.health import LoadBalance, Probe, Prober
from ..middleware.limits import RateLimit, amounts_of, limited
from ..middleware.single_flight import SingleFlight
from ..middleware.timeouts import Timeouts
from ..policies.breaker import Breaker
from ..policies.queue import Limiter, ring
from ..policies.retry_budget import RetryBudget
from ..policies.routing import Balancer, Standing
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS, Outputs, input_tokens, output_limit
from ..providers.base import Provider
from ..telemetry.stats import CallStats
from ..types.call import Call, Handler
from ..types.deployment import Deployment
from ..types.reply import Reply
from ..types.request import PINNED
from ..types.runtime import Runtime
from .explaining import suggestion
from .settings import ANY_MODEL, RouteSettings, Settings, Target
from .short_forms import CHAIN_ROUTE
from .world import World

__all__ = ["Layers", "Pipeline", "build"]

NAME_MAX = (
    500  # characters of `provider/model`; the longest ids, of fine-tuned models and resource paths, have some 150
)
PASSING_ROUTES = 1000  # routes kept for `provider/model` names that callers make up as they go
ENTRY_POINTS = "llmgate.middleware"
MODELLESS = frozenset({"models", "request"})
"""Verbs that need no model."""

Layer = Middleware | UserMiddleware
R = TypeVar("R", Route, Route | None)


class Layers:
    """The user's own middleware by slot, each slot outermost first."""

    def __init__(self, settings: Settings, objects: Sequence[Layer | tuple[str, Layer]]) -> None:
        self.by_slot: dict[str, list[Layer]] = {slot: [] for slot in SLOTS}
        for section in settings.middleware:
            layer = _loaded(section.use, section.options)
            self._add(section.slot or str(getattr(layer, "slot", "before_attempts")), layer)
        for item in objects:
            if isinstance(item, tuple):
                slot, layer = item
                self._add(slot, layer)
            else:
                self._add(getattr(item, "slot", "before_attempts"), item)

    def _add(self, slot: str, layer: Layer) -> None:
        if slot not in self.by_slot:
            raise ConfigError(f"{slot!r} is no slot; {suggestion(slot, SLOTS)}", path="middleware")
        if not callable(getattr(layer, "wrap", layer)):
            raise ConfigError(
                f"a {type(layer).__name__} is no middleware; give async def f(call, call_next)", path="middleware"
            )
        self.by_slot[slot].append(layer)


def _loaded(use: Any, options: dict[str, Any]) -> Layer:
    """The middleware behind an entry point's name, or the thing itself."""
    if not isinstance(use, str):
        return use(**options) if isinstance(use, type) else use  # type: ignore[no-any-return]
    for entry in entry_points(group=ENTRY_POINTS, name=use):
        found = entry.load()
        return found(**options) if isinstance(found, type) else found  # type: ignore[no-any-return]
    known = sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})
    hint = suggestion(use, known) if known else "no package offers any; pass the object from Python instead"
    raise ConfigError(f"there is no middleware {use!r}; {hint}", path="middleware")


class Pipeline:
    """Routes, deployments and what stands before them. See the module."""

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
        self._lock = threading.Lock()
        self._retry = settings.retry or Retry()
        self.breaker = settings.circuit_breaker or CircuitBreaker()
        self.timeouts = settings.timeouts or Timeouts()
        self._balance = settings.load_balance or LoadBalance()
        self.timeout_s = self.timeouts.totals()
        kinds = {name: provider.price_id() or "unknown" for name, provider in self.providers.items()}
        self.prices = world.prices(kinds)
        self._targets = _limits_by_name(settings)
        self._budgets = {name: RetryBudget() for name in self.providers}
        self._replaced = 0
        self._generations: dict[str, int] = {}  # of providers that were put there: how many others had gone by then
        self.candidates: dict[str, Candidate] = {}
        self.breakers: dict[str, Breaker] = {}
        self._limiters: list[Limiter] = []
        self._own_limiters: dict[str, list[Limiter]] = {}
        self._passing: OrderedDict[Hashable, Route] = OrderedDict()
        self.routes = {
            name: self._route(name, section) for name, section in settings.routes.items() if not _open_ended(section)
        }
        self._caching: Caching | None = None
        self._own_caching: dict[str, Caching] = {}
        self._stats = stats
        self.ask = Attempts(self._retry.rules(), self._rng)
        self.handler = self.around(self.ask)
        self._prober = self._probing()

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
        return _fingerprinted(name, groups)

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

    def resolve(self, call: Call) -> Route:
        """
        The route that a name means: a route, `provider/model`, or for some verbs a provider.

        Raises:
            ModelNotFound: If it means nothing; names the nearest.
            BadRequest: If it cannot be a name.
        """
        name = call.route
        if not isinstance(name, str):
            raise BadRequest(f"model: expected a string, got {type(name).__name__}")
        if call.request.verb in PINNED:
            _check_name(name)
            return self.passing((PINNED, name), lambda: self._pinned(name))
        route = self.routes.get(name) or self._passing.get(name) or self.named(name, call.request.verb)
        if route is None:
            raise self._unknown(name)
        return route

    def named(self, name: str, verb: str) -> Route | None:
        """
        The route that a name means; None if it means nothing.

        Raises:
            BadRequest: If it cannot be a name.
        """
        route = self.routes.get(name)
        if route is not None:
            return route
        _check_name(name)
        # A provider's own name says enough where no model is needed, and means nothing elsewhere.
        return self.passing((MODELLESS, name) if verb in MODELLESS else name, lambda: self._made(name, verb))

    def passing(self, key: Hashable, make: Callable[[], R]) -> Route | R:
        """
        A route that a caller made up as he went, kept while it is among the latest.

        Args:
            key: A name, or what can be none.
            make: Makes it, once; None is not kept.
        """
        found = self._passing.get(key)
        if found is not None:
            return found
        with self._lock:
            route = self._passing.get(key) or make()
            if route is not None:
                self._passing[key] = route
                while len(self._passing) > PASSING_ROUTES:
                    _, gone = self._passing.popitem(last=False)
                    self._forget(gone)
        return route

    def _made(self, name: str, verb: str) -> Route | None:
        first, slash, model = name.partition("/")
        if not slash and name in self.providers and (verb in MODELLESS or _needs_no_model(self.providers[name])):
            return _fingerprinted(name, [self.group("ordered", self._keys(name, ""))])
        if slash and model and first in self.providers:
            return _fingerprinted(name, [self.group("ordered", self._keys(first, model))])
        routes = self.settings.routes
        if slash and model and first in routes and _open_ended(routes[first]):
            return self._route(name, routes[first], model)
        if name not in routes and CHAIN_ROUTE in routes and _open_ended(routes[CHAIN_ROUTE]) and verb not in MODELLESS:
            return self._route(name, routes[CHAIN_ROUTE], name)
        return None

    def _pinned(self, name: str) -> Route:
        """The one deployment of this name, its key included: `provider/model`, or `provider/model#2` for the second key."""
        label, _, model = name.partition("/")
        provider = self.providers.get(label)
        if provider is None:
            raise self._unknown(name)
        first, _, number = model.rpartition("#")
        keys = len(provider.credentials())
        key = int(number) - 1 if first and number.isdecimal() and 1 < int(number) <= keys else 0
        candidate = self._candidate(provider, first if key else model, key)
        return _fingerprinted(name, [self.group("ordered", [candidate])])

    def _unknown(self, name: str) -> ModelNotFound:
        name = name.removesuffix("/")
        routes = self.settings.routes
        if name in routes:
            return ModelNotFound(f"route {name!r} takes the model from the caller; write {name}/MODEL")
        if name in self.providers:
            return ModelNotFound(f"{name!r} is a provider; write {name}/MODEL")
        known = [*routes, *(f"{provider}/" for provider in self.providers)]
        if not known:
            return ModelNotFound(f"there is no route {name!r}: the gateway has no routes and no providers")
        return ModelNotFound(f"there is no route or provider for {name!r}; {suggestion(name, known)}")

    def _forget(self, route: Route) -> None:
        """Drop the deployments that only a forgotten route used."""
        used = {
            candidate for other in (*self.routes.values(), *self._passing.values()) for candidate in other.candidates
        }
        for candidate in route.candidates:
            if candidate not in used and not candidate.standing.in_flight:
                self._drop(candidate)

    def _drop(self, candidate: Candidate) -> None:
        name = candidate.deployment.name
        self.candidates.pop(name, None)
        self.breakers.pop(name, None)
        self._own_limiters.pop(name, None)

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
            self.routes |= {
                route: self._route(route, section) for route, section in led.items() if route in self.routes
            }
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
    _stopped = False

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


def _fingerprinted(name: str, groups: Sequence[Group]) -> Route:
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


def _check_name(name: str) -> None:
    if len(name) > NAME_MAX:
        raise BadRequest(f"model: a name of {len(name)} characters; at most {NAME_MAX} are taken")
    if not name.isprintable():
        raise BadRequest(f"model: {name!r} holds characters that cannot be printed")


def _open_ended(route: RouteSettings) -> bool:
    return any(target.model == ANY_MODEL for target in (*route.deployments, *route.fallback))


def _needs_no_model(provider: Provider) -> bool:
    return provider.kind == "function"


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
