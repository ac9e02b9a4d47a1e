"""What will happen to a call, in order, in words. Nobody is asked and nothing is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..config.pipeline import Pipeline
from ..middleware.attempts import Route
from ..middleware.cache import Cache
from ..middleware.limits import RateLimit
from ..policies.cacheable import Cacheable
from ..policies.routing import eligible, needs
from ..policies.tokens import DEFAULT_OUTPUT_TOKENS, input_tokens, output_limit
from ..runtime.accepting import accept, options
from ..types.call import CacheControl, Options
from ..types.request import ONCE, Request, Verb
from ..types.units import format_duration
from .imagining import imagined

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["explained", "told"]


ABOUT: Mapping[Verb, str] = {
    "complete": "prompt", "embed": "input", "image": "prompt", "video": "prompt", "moderate": "input", "rerank": "query",
    "transcribe": "file", "speak": "input",
}  # fmt: skip
"""The parameter that holds what a call is about; of any other verb the messages."""


def explained(gateway: Gateway, name: str, verb: Verb, about: Any, params: dict[str, Any]) -> list[str]:
    """
    The steps of such a call through a gateway as it is now.

    Raises:
        BadRequest, ModelNotFound: As the call itself would.
    """
    asked = options(params, gateway._door.scope) or gateway._door.scope()
    stream = bool(params.pop("stream", False))
    body = {ABOUT.get(verb, "messages"): about or "?"} | ({"documents": ["?"]} if verb == "rerank" else {}) | params
    request = accept(verb, body, stream=stream)
    return _numbered(_steps(gateway._current(), gateway._blocking.now(), name, request, asked))


def told(pipeline: Pipeline, name: str, *, stream: bool = False) -> list[str]:
    """
    The steps of a plain call of a route, in a pipeline that nobody has used yet.

    Raises:
        ModelNotFound: If the name means nothing.
    """
    request = accept("chat", {"messages": "?"}, stream=stream)
    return _numbered(_steps(pipeline, 0.0, name, request, Options()))


def _numbered(steps: Iterator[str]) -> list[str]:
    return [f"{number}. {step}" for number, step in enumerate(steps, 1)]


def _steps(pipeline: Pipeline, now: float, name: str, request: Request, asked: Options) -> Iterator[str]:
    settings, slots = pipeline.settings, pipeline.layers.by_slot
    route = pipeline.resolve(imagined(pipeline, name, request, asked, now))
    total_s = pipeline.timeout_s[request.stream] if asked.timeout_s is None else asked.timeout_s
    yield f"deadline: the call is over after {format_duration(total_s)}, whatever happens"
    yield from (f"outermost: {_name(layer)}" for layer in slots["outermost"])
    yield from (f"rate limit: {_limit(limit)}" for limit in settings.rate_limit if limit.per != "deployment")
    yield from (f"before_cache: {_name(layer)}" for layer in slots["before_cache"])
    yield _cache(settings.cache, request, asked)
    yield from (f"before_attempts: {_name(layer)}" for layer in slots["before_attempts"])
    yield from _choice(route, now, request)
    yield _attempts(pipeline, route, request, asked)
    yield from (f"each_attempt: {_name(layer)}" for layer in slots["each_attempt"])
    yield from (
        f"limit of each deployment: {_limit(limit)}" for limit in settings.rate_limit if limit.per == "deployment"
    )
    yield _one_attempt(pipeline, request)


def _name(layer: Any) -> str:
    return getattr(layer, "__name__", type(layer).__name__)


def _limit(limit: RateLimit) -> str:
    parts = [f"{rate.limit:g} {rate.name} in {format_duration(rate.per_s)}" for rate in limit.rates()]
    if limit.max_concurrency is not None:
        parts.append(f"{limit.max_concurrency} at a time")
    whose = {"gateway": " for all calls together", "tenant": " for each tenant", "route": " for each route"}
    late = f"waits up to {format_duration(limit.max_wait)}" if limit.on_limit == "wait" else "is refused"
    return f"{', '.join(parts)}{whose.get(limit.per, '')}; who comes too early {late}"


def _cache(cache: Cache | None, request: Request, asked: Options) -> str:
    if cache is None or not cache.enabled:
        return "cache: off"
    control = asked.cache or CacheControl()
    if not (control.read or control.write):
        return "cache: not for this call, the caller said so"
    policy = Cacheable(frozenset(cache.verbs), cache.sampled, cache.store_length_finish, cache.tool_calls)
    if not policy.question(request, control):
        if request.verb not in cache.verbs:
            return "cache: not for this call, what is made is made anew; cache=True gives what was made before"
        return "cache: not for this call, its answer is meant to vary (temperature above 0)"
    tiers = ", ".join(getattr(tier, "kind", type(tier).__name__) for tier in cache.tiers)
    ttl_s = cache.ttl if control.ttl_s is None else control.ttl_s
    looked = f"looked up in {tiers}" if control.read else "not read, the caller said so"
    kept = (
        f"an answer is kept for {format_duration(ttl_s)}" if control.write else "no answer is kept, the caller said so"
    )
    return f"cache: {looked}; {kept}; identical calls at one time share one"


def _choice(route: Route, now: float, request: Request) -> Iterator[str]:
    wanted, tokens = needs(request), input_tokens(request)
    for at, group in enumerate(route.groups):
        found = eligible(now, group.standings, wanted, tokens)
        who = ", ".join(standing.deployment.name for standing in found.candidates) or "nobody"
        what = "deployments" if at == 0 else "fallback, when none of them could answer"
        yield f"{what}: {group.balancer.strategy} among {who}"
        yield from (f"left out: {name} {reason}" for name, reason in found.left_out)


def _attempts(pipeline: Pipeline, route: Route, request: Request, asked: Options) -> str:
    rules = pipeline.ask.rules
    said = f"up to {rules.max_attempts} of one deployment"
    if not asked.fallback:
        said += ", and no other deployment, the caller said so"
    elif len(route.candidates) > 1:
        said += ", fewer while another one stands ready"
    if request.verb in ONCE:
        whom = "nobody is asked again" if asked.idempotency_key is None else "nobody else is asked"
        said += f", and where it may have begun {whom}"
    return f"attempts: {said}; {rules.max_attempts_total} in all; waits between them: {rules.backoff!r}"


def _one_attempt(pipeline: Pipeline, request: Request) -> str:
    timeouts, breaker = pipeline.timeouts, pipeline.breaker
    rest = format_duration(breaker.timeout)
    circuit = f"a circuit breaker opens after {breaker.threshold} failures in a row and rests {rest}"
    if not breaker.enabled:
        circuit = "no circuit breaker"
    clocks = [("connect", timeouts.connect)]
    if request.stream:
        clocks += [("first token", timeouts.first_token), ("idle", timeouts.idle), ("stall", timeouts.stall)]
    if timeouts.attempt is not None:
        clocks.append(("in all", timeouts.attempt))
    said = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in clocks)
    limit = output_limit(request)
    if limit == 0:
        return f"each attempt: {circuit}; clocks: {said}"
    tokens = DEFAULT_OUTPUT_TOKENS if limit is None else limit
    return f"each attempt: {circuit}; clocks: {said}; an answer of up to {tokens} tokens is expected"
