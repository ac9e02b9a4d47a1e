"""What a name means that a caller gives for a model: a route, `provider/model`, a provider, or a deployment.

Routes of models that callers name on the fly are made when they are first named, and kept in a bounded map.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from ..errors import BadRequest, ModelNotFound
from ..middleware.attempts import Candidate, Route
from ..providers.base import Provider
from ..telemetry.stats import CallStats
from ..types.call import Call
from ..types.request import PINNED
from .building import Building, fingerprinted, open_ended
from .explaining import suggestion
from .layers import Layers
from .settings import Settings
from .short_forms import CHAIN_ROUTE
from .world import World

__all__ = ["Naming"]

NAME_MAX = (
    500  # characters of `provider/model`; the longest ids, of fine-tuned models and resource paths, have some 150
)
PASSING_ROUTES = 1000  # routes kept for `provider/model` names that callers make up as they go
MODELLESS = frozenset({"models", "request"})
"""Verbs that need no model."""

R = TypeVar("R", Route, Route | None)


class Naming(Building):
    """Everything that has state, by the names that lead to it."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        layers: Layers,
        stats: CallStats,
        world: World | None = None,
    ) -> None:
        super().__init__(settings, providers, layers, stats, world)
        self._lock = threading.Lock()
        self._passing: OrderedDict[Hashable, Route] = OrderedDict()

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
            return fingerprinted(name, [self.group("ordered", self._keys(name, ""))])
        if slash and model and first in self.providers:
            return fingerprinted(name, [self.group("ordered", self._keys(first, model))])
        routes = self.settings.routes
        if slash and model and first in routes and open_ended(routes[first]):
            return self._route(name, routes[first], model)
        if name not in routes and CHAIN_ROUTE in routes and open_ended(routes[CHAIN_ROUTE]) and verb not in MODELLESS:
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
        return fingerprinted(name, [self.group("ordered", [candidate])])

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


def _check_name(name: str) -> None:
    if len(name) > NAME_MAX:
        raise BadRequest(f"model: a name of {len(name)} characters; at most {NAME_MAX} are taken")
    if not name.isprintable():
        raise BadRequest(f"model: {name!r} holds characters that cannot be printed")


def _needs_no_model(provider: Provider) -> bool:
    return provider.kind == "function"
