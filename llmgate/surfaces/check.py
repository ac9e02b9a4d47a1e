"""What a schema cannot see: parts of a configuration that contradict each other, and the worst case of one call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from ..config.building import Pipeline, build
from ..config.settings import RouteSettings, Settings
from ..errors import ConfigError
from ..middleware.attempts import Route
from ..middleware.limits import RateLimit
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS
from ..providers.base import Provider
from ..telemetry.stats import CallStats
from ..types.secret import Secret
from ..types.units import format_duration

__all__ = ["Finding", "Report", "WorstCase", "checked", "lenient"]

WEIGHTED = ("weighted", "least_busy", "latency", "adaptive")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing to think about.

    Attributes:
        level: `error` if calls will fail because of it, else `warning`.
        path: Where in the configuration.
    """

    level: Literal["error", "warning"]
    path: str
    text: str


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


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and the worst case of each route."""

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
        for name, worst in self.worst.items():
            money = f"${worst.dollars.normalize():f}" if worst.dollars is not None else f"$? ({', '.join(worst.unpriced)} has no known price)"
            time = f"{format_duration(worst.seconds)} ({format_duration(worst.stream_seconds)} as a stream)"
            lines.append(f"  {name}: {worst.attempts} attempts, {time}, {money}")
        count = len(self.errors)
        said = "nothing to complain about" if not self.findings else f"{count} errors, {len(self.findings) - count} warnings"
        return [*lines, said]


def checked(settings: Settings, *, tokens: int = 1000) -> Report:
    """Look at a configuration without asking anybody."""
    pipeline, findings = lenient(settings)
    findings += _routes(pipeline)
    findings += _limits(settings)
    findings += _weights(settings)
    findings += _times(pipeline)
    findings += _prices(pipeline)
    worst = {name: _worst(pipeline, route, tokens) for name, route in _all_routes(pipeline)}
    return Report(sorted(findings, key=lambda finding: (finding.level, finding.path)), worst, tokens)


def lenient(settings: Settings) -> tuple[Pipeline, list[Finding]]:
    """The pipeline, with stand-ins for missing keys, and what is missing."""
    findings: list[Finding] = []
    providers: dict[str, Provider] = {}
    for name, provider in settings.providers.items():
        providers[name] = provider
        try:
            provider.credentials()
        except ConfigError as error:
            findings.append(Finding("error", f"providers.{name}", error.message))
            # Never sent: what stands here only keeps the rest of the check going.
            providers[name] = provider.model_copy(update={"api_key": Secret("missing")})
    return build(settings.model_copy(update={"providers": providers}), (), (), CallStats()), findings


def _all_routes(pipeline: Pipeline) -> Iterator[tuple[str, Route]]:
    for name in pipeline.settings.routes:
        if name in pipeline.routes:
            yield name, pipeline.routes[name]


def _routes(pipeline: Pipeline) -> Iterator[Finding]:
    used: set[str] = set()
    rules = pipeline.ask.rules
    for name, section in pipeline.settings.routes.items():
        places = [("deployments", section.deployments), ("fallback", section.fallback)]
        used |= {target.provider for _, targets in places for target in targets}
        seen: dict[str, str] = {}
        order = 0
        for where, targets in places:
            for at, target in enumerate(targets):
                path = f"routes.{name}.{where}[{at}]"
                if target.target in seen:
                    text = f"{target.target} can never be reached: it is {seen[target.target]} already and has been tried by then"
                    yield Finding("warning", path, text)
                elif order >= rules.max_attempts_total:
                    text = f"can never be reached: a call makes {rules.max_attempts_total} attempts (retry.max_attempts_total)"
                    yield Finding("warning", path, text)
                seen.setdefault(target.target, f"{where}[{at}]")
                order += 1
        yield from _capabilities(pipeline, name, section)
    for name in pipeline.settings.providers:
        if pipeline.settings.routes and name not in used:
            yield Finding("warning", f"providers.{name}", "no route leads there; calls must name it as provider/model")


def _capabilities(pipeline: Pipeline, name: str, section: RouteSettings) -> Iterator[Finding]:
    """A route whose deployments differ in what they can do falls back less than it seems to."""
    route = pipeline.routes.get(name)
    if route is None:
        return
    known = {c.deployment.name: c.deployment.capabilities for c in route.candidates if c.deployment.capabilities is not None}
    everything = frozenset().union(*known.values()) if known else frozenset()
    for deployment, able in known.items():
        lacking = sorted(everything - able)
        if lacking:
            text = f"{deployment} lacks {', '.join(lacking)}, which others of the route have; it is skipped for such calls"
            yield Finding("warning", f"routes.{name}", text)


def _limits(settings: Settings) -> Iterator[Finding]:
    """A limit never binds if a wider one is always reached first."""
    shared = [(f"rate_limit[{at}]", limit) for at, limit in enumerate(settings.rate_limit)]
    of_all = [(path, limit) for path, limit in shared if limit.per == "gateway"]
    for path, limit in shared:
        for other_path, other in of_all:
            if other is limit:
                continue
            for text in _covered(limit, other):
                yield Finding("warning", path, f"{text} (per {limit.per}) can never bind: {other_path} allows no more for all together")
    for name, route in settings.routes.items():
        for where in ("deployments", "fallback"):
            for at, target in enumerate(getattr(route, where)):
                said = {key: getattr(target, key) for key in ("requests_per_minute", "tokens_per_minute", "max_concurrency")}
                given = {key: value for key, value in said.items() if value is not None}
                if not given:
                    continue
                own = RateLimit(per="deployment", **given)
                for other_path, other in of_all:
                    for text in _covered(own, other):
                        yield Finding("warning", f"routes.{name}.{where}[{at}]", f"{text} can never bind: {other_path} allows no more for all together")


def _covered(limit: RateLimit, wider: RateLimit) -> Iterator[str]:
    speeds = {rate.name: rate.limit / rate.per_s for rate in wider.rates()}
    for rate in limit.rates():
        if rate.name in speeds and rate.limit / rate.per_s >= speeds[rate.name]:
            yield f"{rate.limit:g} {rate.name} in {format_duration(rate.per_s)}"
    if limit.max_concurrency is not None and wider.max_concurrency is not None and limit.max_concurrency >= wider.max_concurrency:
        yield f"{limit.max_concurrency} calls at a time"


def _weights(settings: Settings) -> Iterator[Finding]:
    balance = settings.load_balance
    default = balance.strategy if balance is not None else "ordered"
    for name, route in settings.routes.items():
        strategy = route.strategy or default
        weighted = any("weight" in target.model_fields_set for target in route.deployments)
        if weighted and strategy not in WEIGHTED:
            yield Finding("warning", f"routes.{name}", f"weights mean nothing under strategy {strategy}; use one of {', '.join(WEIGHTED)}")
        for at, target in enumerate(route.deployments):
            if target.weight == 0 and strategy in WEIGHTED:
                yield Finding("warning", f"routes.{name}.deployments[{at}]", "weight 0: asked only when nobody else can be")
    if balance is not None and balance.weights and default not in WEIGHTED and not any(r.strategy in WEIGHTED for r in settings.routes.values()):
        yield Finding("warning", "load_balance.weights", f"weights mean nothing under strategy {default}")


def _times(pipeline: Pipeline) -> Iterator[Finding]:
    timeouts = pipeline.timeouts
    total_s, stream_s = pipeline.timeout_s
    several = any(len(route.candidates) > 1 for _, route in _all_routes(pipeline))
    if several and timeouts.first_token >= stream_s:
        text = f"first_token ({format_duration(timeouts.first_token)}) is no shorter than the whole call ({format_duration(stream_s)}): a silent deployment leaves its fallbacks no time"
        yield Finding("warning", "timeouts.first_token", text)
    if several and (timeouts.attempt is None or timeouts.attempt >= total_s):
        text = f"whole answers have no clock but the call's own {format_duration(total_s)}: a silent deployment leaves its fallbacks no time; set attempt"
        yield Finding("warning", "timeouts.attempt", text)
    for at, limit in enumerate(pipeline.settings.rate_limit):
        if limit.on_limit == "wait" and limit.max_wait > max(total_s, stream_s):
            yield Finding("warning", f"rate_limit[{at}].max_wait", f"longer than any call ({format_duration(max(total_s, stream_s))})")


def _prices(pipeline: Pipeline) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for name, route in _all_routes(pipeline):
        by_cost = any(group.balancer.asks_price for group in route.groups)
        for candidate in route.candidates:
            deployment = candidate.deployment
            if pipeline.prices.worst_case(deployment, 1, 1, now) is None:
                what = "comes last under this strategy" if by_cost else "its calls have no cost"
                text = f"{deployment.name} has no known price; {what}. Give one under prices"
                yield Finding("warning", f"routes.{name}", text)


def _worst(pipeline: Pipeline, route: Route, tokens: int) -> WorstCase:
    """Every attempt fails as late as it can, and is billed all the same."""
    rules = pipeline.ask.rules
    candidates = route.candidates
    # Beside others a deployment is tried twice at most; only the last one is tried as often as it may be.
    tries = [min(rules.max_attempts, 2) for _ in candidates]
    if candidates:
        tries[-1] = rules.max_attempts
    attempts = min(sum(tries), rules.max_attempts_total)
    now = datetime.now(UTC)
    prices = [pipeline.prices.worst_case(c.deployment, tokens, DEFAULT_OUTPUT_TOKENS, now) for c in candidates]
    unpriced = [c.deployment.name for c, price in zip(candidates, prices, strict=True) if price is None]
    dollars: Decimal | None = None
    if not unpriced:
        each = sorted(
            (price for price, count in zip(prices, tries, strict=True) if price is not None for _ in range(count)),
            reverse=True,
        )
        dollars = sum(each[:attempts], Decimal(0))
    return WorstCase(attempts, pipeline.timeout_s[0], pipeline.timeout_s[1], dollars, unpriced)


