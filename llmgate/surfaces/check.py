"""What a schema cannot see: parts of a configuration that contradict each other, and the worst case of one call."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..config.explaining import suggestion
from ..config.pipeline import Pipeline
from ..config.settings import RouteSettings, Settings, Target
from ..middleware.attempts import Route
from ..middleware.limits import RateLimit
from ..policies.limiter import Limit
from ..policies.routing import FEATURES
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS
from ..types.units import format_duration
from .imagining import is_open, lenient, route_of
from .worst_case import WorstCase, worst_case

__all__ = ["Finding", "Report", "checked"]

WEIGHTED = ("weighted", "least_busy", "latency", "adaptive")
"""Strategies under which a weight means something."""
GROUPS: tuple[Literal["deployments"], Literal["fallback"]] = ("deployments", "fallback")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing to think about.

    Attributes:
        level: `error` if calls will fail because of it, else `warning`.
        path: Where in the configuration.
        text: What, why, and what to do.
    """

    level: Literal["error", "warning"]
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    All findings, and the worst case of each route.

    Attributes:
        tokens: Length of the prompt for which the worst case holds.
    """

    findings: list[Finding]
    worst: dict[str, WorstCase]
    tokens: int

    @property
    def errors(self) -> list[Finding]:
        """The findings that make calls fail."""
        return [finding for finding in self.findings if finding.level == "error"]

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"{finding.level}: {finding.path}: {finding.text}" for finding in self.findings]
        if self.worst:
            answer = f"a prompt of {self.tokens} tokens and an answer of {DEFAULT_OUTPUT_TOKENS}"
            lines.append(f"the worst case of one call ({answer}):")
        lines += [f"  {name}: {_told(worst)}" for name, worst in self.worst.items()]
        errors, warnings = len(self.errors), len(self.findings) - len(self.errors)
        return [*lines, f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"]


def _told(worst: WorstCase) -> str:
    money = (
        f"${format(worst.dollars.normalize(), 'f')}" if worst.dollars is not None else "at a price that is not known"
    )
    times = f"{format_duration(worst.seconds)} ({format_duration(worst.stream_seconds)} as a stream)"
    return f"{_counted(worst.attempts, 'attempt')}, {times}, {money}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def checked(settings: Settings, *, tokens: int = 1000) -> Report:
    """
    Look at a configuration without asking anybody.

    Raises:
        ConfigError: If no gateway can be made of it at all, keys apart.
    """
    pipeline, missing = lenient(settings)
    routes = {name: route_of(pipeline, name) for name in settings.routes}
    findings = [Finding("error", f"providers.{name}", text) for name, text in missing.items()]
    findings += _reach(settings, pipeline)
    findings += _used(settings)
    findings += _abilities(routes)
    findings += _limits(settings)
    findings += _weights(settings)
    findings += _times(pipeline, routes)
    findings += _prices(pipeline, routes)
    findings += _server(settings)
    worst = {name: worst_case(pipeline, route, tokens) for name, route in routes.items()}
    return Report(sorted(findings, key=lambda finding: (finding.level, finding.path)), worst, tokens)


def _targets(route: RouteSettings) -> Iterator[tuple[str, Target]]:
    """Each target of a route, in the order in which they are tried, and its place in the route."""
    for group in GROUPS:
        for at, target in enumerate(getattr(route, group)):
            yield f"{group}[{at}]", target


def _reach(settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    """Targets that a call never gets to."""
    rules = pipeline.ask.rules
    for name, route in settings.routes.items():
        seen: dict[str, str] = {}
        for order, (place, target) in enumerate(_targets(route)):
            path = f"routes.{name}.{place}"
            if target.target in seen:
                text = (
                    f"{target.target} can never be reached: it is {seen[target.target]} already and was tried by then"
                )
                yield Finding("warning", path, text)
            elif order and not rules.fallback_on:
                text = "is never asked after a failure: retry.fallback_on is empty"
                yield Finding("warning", path, text)
            elif order >= rules.max_attempts_total:
                text = (
                    f"can only be reached while others rest: a call makes {_counted(rules.max_attempts_total, 'attempt')} "
                    "at most (retry.max_attempts_total)"
                )
                yield Finding("warning", path, text)
            seen.setdefault(target.target, place)


def _used(settings: Settings) -> Iterator[Finding]:
    """Providers that no route uses."""
    used = {target.provider for route in settings.routes.values() for _, target in _targets(route)}
    for name in settings.providers:
        if settings.routes and name not in used:
            yield Finding("warning", f"providers.{name}", "no route leads there; calls must name it as provider/model")


def _abilities(routes: dict[str, Route]) -> Iterator[Finding]:
    """
    A route whose deployments differ in what they can do falls back less than it seems to. What a route is for nobody says;
    of what else its providers have, besides what stands in chats, it need not be asked for anything.
    """
    for name, route in routes.items():
        deployments = [candidate.deployment for candidate in route.candidates]
        known = {d.name: frozenset(d.capabilities) for d in deployments if d.capabilities is not None}
        everything = frozenset[str]().union(*known.values()) & FEATURES
        before: list[frozenset[str]] = []
        for deployment, able in known.items():
            apart = bool(before) and all(can & able <= FEATURES for can in before)
            before.append(able)
            if apart:
                text = f"{deployment} can do nothing that those before it can; no call of theirs ever comes to it"
                yield Finding("warning", f"routes.{name}", text)
            elif lacking := sorted(everything - able):
                text = f"{deployment} lacks {', '.join(lacking)}, which others of the route have; it is left out of such calls"
                yield Finding("warning", f"routes.{name}", text)


def _limits(settings: Settings) -> Iterator[Finding]:
    """A limit never binds if a wider one is always reached first."""
    shared = [(f"rate_limit[{at}]", limit) for at, limit in enumerate(settings.rate_limit)]
    narrow = shared + [(f"routes.{name}.{place}", limit) for name, place, limit in _granted(settings)]
    for path, limit in narrow:
        for other_path, other in shared:
            if other is limit or other.per != "gateway":
                continue
            for text in _covered(limit, other):
                said = f"{text} (per {limit.per}) can never bind: {other_path} allows no more for all together"
                yield Finding("warning", path, said)


def _granted(settings: Settings) -> Iterator[tuple[str, str, RateLimit]]:
    """What the targets of routes are granted, as limits."""
    for name, route in settings.routes.items():
        for place, target in _targets(route):
            said: dict[str, Any] = {
                key: getattr(target, key) for key in ("requests_per_minute", "tokens_per_minute", "max_concurrency")
            }
            if any(value is not None for value in said.values()):
                yield name, place, RateLimit(per="deployment", **said)


def _covered(limit: RateLimit, wider: RateLimit) -> Iterator[str]:
    """The parts of a limit that another one, which all its calls pass, too, makes pointless."""
    for rate in limit.rates():
        if any(rate.name == other.name and _never_binds(limit, rate, wider, other) for other in wider.rates()):
            yield f"{rate.limit:g} {rate.name} in {format_duration(rate.per_s)}"
    slots, others = limit.max_concurrency, wider.max_concurrency
    if slots is not None and others is not None and slots >= others:
        yield f"{slots} calls at a time"


def _never_binds(limit: RateLimit, rate: Limit, wider: RateLimit, other: Limit) -> bool:
    """Whether what the wider one lets through fits into the other in every stretch of time."""
    burst = other.limit if wider.strategy == "sliding_window" or other.burst is None else other.burst
    if limit.strategy == "sliding_window":
        if wider.strategy == "sliding_window":
            return rate.limit >= other.limit * math.ceil(rate.per_s / other.per_s)
        return rate.limit >= burst + other.limit / other.per_s * rate.per_s
    own = rate.limit if rate.burst is None else rate.burst
    return own >= burst and rate.limit / rate.per_s >= other.limit / other.per_s


def _weights(settings: Settings) -> Iterator[Finding]:
    """Weights that nobody looks at."""
    balance = settings.load_balance
    default = balance.strategy if balance is not None else "ordered"
    for name, route in settings.routes.items():
        strategy = route.strategy or default
        if strategy in WEIGHTED:
            for at, target in enumerate(route.deployments):
                if target.weight == 0:
                    text = "weight 0: asked only when nobody else can be"
                    yield Finding("warning", f"routes.{name}.deployments[{at}]", text)
        elif any("weight" in target.model_fields_set for target in route.deployments):
            text = f"weights mean nothing under strategy {strategy}; use one of {', '.join(WEIGHTED)}"
            yield Finding("warning", f"routes.{name}", text)
    strategies = {default, *(route.strategy for route in settings.routes.values())}
    if balance is not None and balance.weights and strategies.isdisjoint(WEIGHTED):
        text = f"weights mean nothing under strategy {default}; use one of {', '.join(WEIGHTED)}"
        yield Finding("warning", "load_balance.weights", text)


def _times(pipeline: Pipeline, routes: dict[str, Route]) -> Iterator[Finding]:
    """Clocks that leave those who stand ready no time."""
    timeouts, (total_s, stream_s) = pipeline.timeouts, pipeline.timeout_s
    others = max((len(route.candidates) for route in routes.values()), default=1) - 1
    clocks = [("first_token", timeouts.first_token, stream_s), ("attempt", timeouts.attempt, total_s)]
    for clock, seconds, whole_s in clocks:
        if others and seconds is not None and seconds >= whole_s:
            text = (
                f"{clock} ({format_duration(seconds)}) is no shorter than the whole call ({format_duration(whole_s)}): "
                "a silent deployment leaves its fallbacks no time"
            )
            yield Finding("warning", f"timeouts.{clock}", text)
        elif others > 1 and seconds is not None and seconds * others >= whole_s:
            text = (
                f"{others} silent deployments take {clock} ({format_duration(seconds)}) each, which is the whole call "
                f"({format_duration(whole_s)}): the last of a route has no time left"
            )
            yield Finding("warning", f"timeouts.{clock}", text)
    for at, limit in enumerate(pipeline.settings.rate_limit):
        said = "max_wait" in limit.model_fields_set
        if said and limit.on_limit == "wait" and limit.max_wait > max(total_s, stream_s):
            text = f"max_wait ({format_duration(limit.max_wait)}) is longer than any call"
            yield Finding("warning", f"rate_limit[{at}]", f"{text} ({format_duration(max(total_s, stream_s))})")


def _prices(pipeline: Pipeline, routes: dict[str, Route]) -> Iterator[Finding]:
    """Deployments whose calls will have no cost."""
    for name, route in routes.items():
        if is_open(pipeline.settings.routes[name]):
            continue  # what the model costs is known when the caller names it
        by_cost = any(group.balancer.asks_price for group in route.groups)
        what = "comes last under this strategy" if by_cost else "its calls have no cost"
        for unpriced in worst_case(pipeline, route, 1).unpriced:
            text = (
                f"{unpriced} has no known price, so it {what}" if by_cost else f"{unpriced} has no known price; {what}"
            )
            yield Finding("warning", f"routes.{name}", f"{text}. Give one under prices")


def _server(settings: Settings) -> Iterator[Finding]:
    """Why nobody could be served, or somebody not."""
    server = settings.server
    if server is None:
        return
    for path, text in server.problems():
        yield Finding("error", path, text)
    names = {*settings.routes, *settings.providers}
    for at, key in enumerate(server.keys):
        for route in key.routes:
            name, slash, _ = route.partition("/")
            if not any(_fits(known, name, slash) for known in names):
                text = f"there is no route or provider for {route!r}; {suggestion(name, names)}"
                yield Finding("error", f"server.keys[{at}].routes", text)
    if "*" in server.cors and not server.keys:
        text = "any web page in a browser on this machine may ask, and spend your money; name the origins, or add keys"
        yield Finding("warning", "server.cors", text)


def _fits(known: str, name: str, slash: str) -> bool:
    return known.startswith(name[:-1]) if name.endswith("*") and not slash else known == name
