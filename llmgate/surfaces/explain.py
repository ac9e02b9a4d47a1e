"""What will happen to a call, in order, in words. Nobody is asked and nothing is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..config.building import Pipeline
from ..middleware.cache import Cache
from ..middleware.limits import RateLimit
from ..middleware.attempts import Route
from ..policies.cacheable import Cacheable
from ..policies.routing import eligible, needs
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS, input_tokens, output_limit
from ..runtime.edge import accept, options
from ..types.call import CacheControl, Call, Options
from ..types.request import Request
from ..types.units import format_duration

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["explained", "told"]


def explained(gateway: Gateway, name: str, messages: Any, params: dict[str, Any]) -> list[str]:
    """The steps of such a call through a gateway as it is now."""
    asked = options(params, gateway._scope.get) or gateway._scope.get() or Options()
    stream = bool(params.pop("stream", False))
    request = accept("chat", {"messages": messages or "?", **params}, stream=stream)
    return list(_steps(gateway._current(), gateway._blocking.now(), name, request, asked))


def told(pipeline: Pipeline, name: str, *, stream: bool = False) -> list[str]:
    """The steps of a plain call of a route, in a pipeline that nobody has used yet."""
    return list(_steps(pipeline, 0.0, name, accept("chat", {"messages": "?"}, stream=stream), Options()))


def _steps(pipeline: Pipeline, now: float, name: str, request: Request, asked: Options) -> Iterator[str]:
    settings = pipeline.settings
    call = Call(request, _Nowhere(now), _resolvable(pipeline, name), asked, now)
    route = pipeline.resolve(call)
    total_s = pipeline.timeout_s[request.stream] if asked.timeout_s is None else asked.timeout_s
    number = iter(range(1, 100))

    def step(text: str) -> str:
        return f"{next(number)}. {text}"

    yield step(f"deadline: the call is over after {format_duration(total_s)}, whatever happens")
    for slot in ("outermost", "before_cache"):
        yield from (step(f"{slot}: {_name(layer)}") for layer in pipeline.layers.by_slot[slot])
    for limit in settings.rate_limit:
        if limit.per != "deployment":
            yield step(f"rate limit: {_limit(limit)}")
    yield step(_cache(settings.cache, request, asked))
    yield from (step(f"before_attempts: {_name(layer)}") for layer in pipeline.layers.by_slot["before_attempts"])
    yield from (step(text) for text in _choice(pipeline, route, now, request))
    yield step(_attempts(pipeline, route, asked))
    yield from (step(f"each_attempt: {_name(layer)}") for layer in pipeline.layers.by_slot["each_attempt"])
    yield step(_one_attempt(pipeline, request))


class _Nowhere:
    """A runtime for calls that are only thought of."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("a call that is only explained cannot wait")


def _resolvable(pipeline: Pipeline, name: str) -> str:
    """A route whose models are the caller's is explained for a model of no name."""
    section = pipeline.settings.routes.get(name)
    if section is not None and name not in pipeline.routes:
        return f"{name}/MODEL"
    return name


def _name(layer: Any) -> str:
    return getattr(layer, "__name__", type(layer).__name__)


def _limit(limit: RateLimit) -> str:
    parts = [f"{rate.limit:g} {rate.name} in {format_duration(rate.per_s)}" for rate in limit.rates()]
    if limit.max_concurrency is not None:
        parts.append(f"{limit.max_concurrency} at a time")
    whose = {"gateway": "for all calls together", "tenant": "for each tenant", "route": "for each route"}.get(limit.per, "")
    late = f"waits up to {format_duration(limit.max_wait)}" if limit.on_limit == "wait" else "is refused"
    return f"{', '.join(parts)} {whose}; who comes too early {late}"


def _cache(cache: Cache | None, request: Request, asked: Options) -> str:
    if cache is None or not cache.enabled:
        return "cache: off"
    control = asked.cache or CacheControl()
    if not (control.read or control.write):
        return "cache: not for this call, the caller said so"
    policy = Cacheable(frozenset(cache.verbs), cache.sampled, cache.store_length_finish, cache.tool_calls)
    if not policy.question(request, control):
        return "cache: not for this call, its answer is meant to vary (temperature above 0, or several answers)"
    tiers = ", ".join(getattr(tier, "kind", type(tier).__name__) for tier in cache.tiers)
    return f"cache: looked up in {tiers}; an answer is kept for {format_duration(cache.ttl)}; identical calls in the air share one"


def _choice(pipeline: Pipeline, route: Route, now: float, request: Request) -> Iterator[str]:
    wanted, tokens = needs(request), input_tokens(request)
    for at, group in enumerate(route.groups):
        found = eligible(now, group.standings, wanted, tokens)
        who = ", ".join(standing.deployment.name for standing in found.candidates) or "nobody"
        what = "deployments" if at == 0 else "fallback, when none of them could answer"
        yield f"{what}: {group.balancer.strategy} among {who}"
        yield from (f"left out: {name} {reason}" for name, reason in found.left_out)


def _attempts(pipeline: Pipeline, route: Route, asked: Options) -> str:
    rules = pipeline.ask.rules
    count = len(route.candidates)
    if count > 1 and asked.fallback:
        each = min(rules.max_attempts, 2)
        said = f"up to {each} attempts at one deployment while there is another, {rules.max_attempts} at the last"
    else:
        said = f"up to {rules.max_attempts} attempts"
    if not asked.fallback:
        said += "; no other deployment, the caller said so"
    return f"attempts: {said}, {rules.max_attempts_total} in all; waits between them: {rules.backoff!r}"


def _one_attempt(pipeline: Pipeline, request: Request) -> str:
    timeouts, breaker = pipeline.timeouts, pipeline.breaker
    circuit = (
        f"a circuit breaker opens after {breaker.threshold} failures in a row and rests {format_duration(breaker.timeout)}"
        if breaker.enabled
        else "no circuit breaker"
    )
    clocks = [f"connect {format_duration(timeouts.connect)}"]
    if request.stream:
        clocks += [
            f"first token {format_duration(timeouts.first_token)}",
            f"idle {format_duration(timeouts.idle)}",
            f"stall {format_duration(timeouts.stall)}",
        ]
    if timeouts.attempt is not None:
        clocks.append(f"in all {format_duration(timeouts.attempt)}")
    written = output_limit(request)
    expected = f"an answer of up to {DEFAULT_OUTPUT_TOKENS if written is None else written} tokens is expected"
    return f"each attempt: {circuit}; clocks: {', '.join(clocks)}; {expected}"
