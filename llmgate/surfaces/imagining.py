"""Calls that are only thought of: to tell what would happen, nobody is asked and nothing is taken."""

from __future__ import annotations

from typing import Any, cast

from ..config.pipeline import Pipeline, build
from ..config.settings import ANY_MODEL, RouteSettings, Settings
from ..errors import ConfigError
from ..middleware.attempts import Route
from ..providers.base import Provider
from ..telemetry.stats import CallStats
from ..types.call import Call, Options
from ..types.request import Request
from ..types.runtime import Runtime
from ..types.secret import Secret

__all__ = ["imagined", "is_open", "lenient", "route_of", "with_keys"]

SOME_MODEL = "MODEL"
"""Stands for the model that the caller will name, where a route leaves that to the caller."""


def lenient(settings: Settings) -> tuple[Pipeline, dict[str, str]]:
    """
    The pipeline of a configuration whose keys may be missing, and what is missing, by the names of the providers.

    Raises:
        ConfigError: If something else is wrong with it.
    """
    settings, missing = with_keys(settings)
    return build(settings, (), (), CallStats()), missing


def with_keys(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """The settings with something in the place of each key that is missing, and what is missing."""
    missing: dict[str, str] = {}
    providers: dict[str, Provider] = {}
    for name, provider in settings.providers.items():
        providers[name] = provider
        try:
            provider.credentials()
        except ConfigError as error:
            missing[name] = error.message
            # Never sent: what stands here only keeps the rest going.
            providers[name] = provider.model_copy(update={"api_key": Secret("missing")})
    return settings.model_copy(update={"providers": providers}), missing


def is_open(route: RouteSettings) -> bool:
    """Whether the route takes the model from the caller."""
    return any(target.model == ANY_MODEL for target in (*route.deployments, *route.fallback))


def route_of(pipeline: Pipeline, name: str) -> Route:
    """
    What a name means to calls.

    Raises:
        ModelNotFound: If it means nothing; names the nearest.
    """
    return pipeline.resolve(imagined(pipeline, name, Request("chat"), Options()))


def imagined(pipeline: Pipeline, name: str, request: Request, options: Options, now: float = 0.0) -> Call:
    """A call that cannot wait for anything."""
    section = pipeline.settings.routes.get(name)
    if section is not None and is_open(section):
        name = f"{name}/{SOME_MODEL}"
    return Call(request, cast(Runtime, _Nowhere(now)), name, options, now)


class _Nowhere:
    """The runtime of such a call."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("a call that is only thought of cannot wait")
