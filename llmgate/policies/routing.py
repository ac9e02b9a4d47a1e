"""Which deployment next: who can be asked, and who of them is asked.

A `Standing` is what one gateway has learned about one deployment. `needs` and `lacking` compare what a request wants
with what a deployment can do, `eligible` leaves out whoever cannot be asked now and says why, and a `Balancer`
chooses among the rest. Nothing here waits, asks a clock or rolls a die: `now` is an argument, in seconds, monotonic,
and the `Random` is the caller's.

Latency is kept as Finagle keeps it (peak-EWMA in its P2C load balancer): a mean that jumps up at once and comes down
slowly. Choosing the better of two random deployments keeps load even without a herd behind the best
(Mitzenmacher, "The power of two choices in randomized load balancing", 2001). Weights are nginx's smooth weighted
round robin. The panic rule is Envoy's.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from ..types.deployment import Deployment, ProviderCapability as Able
from ..types.reply import Outcome
from ..types.request import PINNED, Request
from .percentiles import Percentiles
from .tokens import MEDIA_PARTS

__all__ = [
    "STRATEGIES",
    "Balancer",
    "Eligible",
    "PriceOf",
    "Standing",
    "StandingHealth",
    "eligible",
    "lacking",
    "needs",
]

DECAY_S = 60.0  # seconds; in this time a mean forgets all but 37 %; an LLM call takes seconds, Finagle's 10 s suit RPCs
FASTEST_S = 0.001  # seconds; nothing answers faster, and a mean of zero would win whatever the load
SLOWEST_S = 120.0  # seconds; the default deadline: nobody waits longer, and doubled penalties stay finite
FAILURE_S = 1.0  # seconds; the least a failure counts as: who fails at once and never succeeded is not fast
FAILURE_FACTOR = 2.0  # times the mean; who fails fast must look slow
TYPICAL_TOKENS = 200  # tokens of the answer that latencies are compared for; the mean of LMSYS-Chat-1M is 215
WHOLE_SHARE = 0.9  # of the call; content that came no earlier came in one piece
PROBING_S = 1e6  # seconds; Finagle's penalty (`Long.MaxValue >> 16`) for one that nobody knows and somebody is asking
RECENT = 0.1  # weight of a new outcome in the failure rate: the last twenty calls, 2 / (20 + 1)
LEAST_SUCCESS = 0.05  # share; whoever never succeeds still has a place in the order
DOWN_AFTER = 3  # failed health checks in a row; HAProxy's `fall`, Envoy's unhealthy threshold
UP_AFTER = 2  # successful ones in a row; HAProxy's `rise`
CHEAPEST_RATIO = 0.01  # nobody counts as more than a hundred times cheaper, not even who is free
WINDOW_SLACK = 1.4  # times; estimates of English text are that much too high: 3.2 / 1.1 bytes a token instead of 4.1
SHARE = 1_000_000  # parts of a unit of weight; weights become whole numbers, and rounding never costs a turn

_FAILURES = frozenset({"throttled", "overloaded", "transient", "truncated", "protocol", "auth", "quota_exhausted"})
"""Outcomes that speak against whoever was asked."""
_ANSWERED = frozenset({"request", "policy"})
"""Outcomes that speak of the request: an answer, but none that tells how fast answers are."""


@dataclass(frozen=True, slots=True)
class StandingHealth:
    """
    What is known about one deployment, at one moment.

    Attributes:
        available: Whether it may be asked, its circuit breaker not considered.
        reason: Why not; a fragment of a sentence whose subject is the deployment.
        calls: Attempts that ended well or badly; cancelled ones are in neither.
        errors: Those that ended badly, as far as the deployment is to blame or its key.
        first_token_s: Recent seconds to the first content; None without history.
        token_s: Recent seconds an output token.
        latency_s: Seconds of whole attempts that succeeded: `p50`, `p95`, `p99`, `max`; empty without history.
        first_tokens_s: Seconds to the first content of them, the same way.
    """

    deployment: str
    available: bool
    reason: str | None = None
    healthy: bool = True
    in_flight: int = 0
    calls: int = 0
    errors: int = 0
    success_rate: float = 1.0
    first_token_s: float | None = None
    token_s: float | None = None
    cooling_s: float = 0.0
    disabled_s: float = 0.0
    latency_s: Mapping[str, float] = field(default_factory=dict)
    first_tokens_s: Mapping[str, float] = field(default_factory=dict)


class Standing:
    """
    What one gateway has learned about one deployment. Safe to use from any thread.

    Args:
        deployment: Who.
        gate: Seconds until something else (its circuit breaker) lets a call through, 0.0 now. Asked by `eligible`
            alone, never under a lock.

    Attributes:
        weight: Its part of the traffic; 0: none, while there is anybody else.
        share: The same as a whole number.
        in_flight: Attempts that have not ended.
        first_token_s: Peak-EWMA of the seconds to the first content; None without history. A whole answer is as
            late as it is long, so its time is that of a typical length.
        token_s: EWMA of the seconds an output token takes.
        failing: EWMA of the share of attempts that failed.
        heard: When something was last learned.
        cooling_until: Until when it is left alone because it asked for that.
        disabled_until: Until when it is left alone because its key was refused.
        healthy: What the health checks say.

    Raises:
        ValueError: If the weight is negative, infinite or not a number.
    """

    __slots__ = (
        "_first_tokens", "_latencies", "_lock", "_probes", "calls", "cooling_until", "deployment", "disabled_until",
        "errors", "failing", "first_token_s", "gate", "healthy", "heard", "in_flight", "share",
        "token_s", "weight",
    )  # fmt: skip

    def __init__(self, deployment: Deployment, gate: Callable[[float], float] | None = None) -> None:
        if not 0.0 <= deployment.weight < math.inf:
            raise ValueError(f"{deployment.name}: a weight is a number from 0 up, not {deployment.weight}")
        self.deployment = deployment
        self.gate = gate
        self.weight = deployment.weight
        self.share = max(round(deployment.weight * SHARE), 1) if deployment.weight else 0
        self.in_flight = 0
        self.calls = 0
        self.errors = 0
        self.first_token_s: float | None = None
        self.token_s: float | None = None
        self.failing = 0.0
        self.heard = -math.inf
        self.cooling_until = -math.inf
        self.disabled_until = -math.inf
        self.healthy = True
        self._probes = 0
        self._latencies = Percentiles()
        self._first_tokens = Percentiles()
        self._lock = threading.Lock()

    def started(self, now: float) -> None:
        """An attempt begins."""
        with self._lock:
            self.in_flight += 1

    def ended(self, now: float, outcome: Outcome, duration_s: float, output_tokens: int | None) -> None:
        """
        An attempt that was `started` is over.

        Args:
            duration_s: Seconds from its start to its end.
            output_tokens: Tokens it wrote, None if nobody counted.
        """
        with self._lock:
            self.in_flight -= 1
            if outcome.name == "ok":
                self.calls += 1
                if 0.0 <= duration_s < math.inf:
                    self._succeeded(now, outcome.first_token_s, duration_s, output_tokens or 0)
            elif outcome.name in _FAILURES:
                self.calls += 1
                self.errors += 1
                self.failing += RECENT * (1.0 - self.failing)
                # Errors are fast. A deployment that looked fast because of them would draw all traffic.
                known_s = self.first_token_s or 0.0
                self._learn(now, max(_sane(duration_s), FAILURE_FACTOR * known_s, FAILURE_S))
            elif outcome.name in _ANSWERED:
                self.calls += 1

    def _succeeded(self, now: float, first_token_s: float | None, duration_s: float, tokens: int) -> None:
        first_s = _sane(duration_s if first_token_s is None else first_token_s)
        self._latencies.add(duration_s)
        self._first_tokens.add(first_s)
        self.failing -= RECENT * self.failing
        whole = first_s >= WHOLE_SHARE * duration_s
        if tokens > 0:
            token_s = min((duration_s if whole else duration_s - first_s) / tokens, SLOWEST_S)
            known_s = self.token_s
            fresh = 1.0 - math.exp(min(self.heard - now, 0.0) / DECAY_S)
            self.token_s = token_s if known_s is None else known_s + (token_s - known_s) * max(fresh, RECENT)
        if whole and tokens > TYPICAL_TOKENS:
            first_s *= TYPICAL_TOKENS / tokens
        self._learn(now, first_s)

    def _learn(self, now: float, seconds: float) -> None:
        seconds = min(seconds, SLOWEST_S)
        known_s = self.first_token_s
        if known_s is None or seconds > known_s:
            self.first_token_s = seconds
        else:
            self.first_token_s = seconds + (known_s - seconds) * math.exp(min(self.heard - now, 0.0) / DECAY_S)
        self.heard = max(now, self.heard)

    def probed(self, now: float, ok: bool) -> None:
        """How an active health check went. Three failures in a row take it out, two successes bring it back."""
        with self._lock:
            self._probes = max(self._probes, 0) + 1 if ok else min(self._probes, 0) - 1
            if self._probes >= UP_AFTER:
                self.healthy = True
            elif self._probes <= -DOWN_AFTER:
                self.healthy = False

    def cool(self, until: float) -> None:
        """Leave it alone until then; an earlier wish for longer holds."""
        with self._lock:
            self.cooling_until = max(self.cooling_until, until)

    def disable(self, until: float = math.inf) -> None:
        """Leave it alone until then, because its key was refused. A later word counts: a new key may be set."""
        self.disabled_until = until

    def available(self, now: float) -> bool:
        """Whether it may be asked: not cooling, not disabled, healthy. The gate is not asked."""
        return self.cooling_until <= now and self.disabled_until <= now and self.healthy

    def wait(self, now: float) -> float:
        """Seconds until it may be asked again, 0.0 now; infinity if only a health check can tell."""
        return max(self.cooling_until - now, self.disabled_until - now, 0.0) if self.healthy else math.inf

    def reason(self, now: float) -> str | None:
        """Why it is not available: a fragment of a sentence whose subject is the deployment; None if it is."""
        if self.disabled_until > now:
            return f"is left alone{_span(self.disabled_until - now)}, because its key was refused"
        if self.cooling_until > now:
            return f"rests{_span(self.cooling_until - now)}"
        return None if self.healthy else "failed its health checks"

    def seconds(self, now: float, typical: bool) -> float | None:
        """
        Seconds to the first content, as they are to be expected now; None without history.

        While nobody asks it the mean fades, so that even a slow one gets another chance; while that chance is
        taken, the mean stands as it was, so that it is one chance and not a stampede.

        Args:
            typical: Seconds to the end of an answer of typical length instead; wants `token_s`.
        """
        seconds = self.first_token_s
        if seconds is None:
            return None
        if typical and self.token_s is not None:
            seconds += self.token_s * TYPICAL_TOKENS
        return seconds * self._fading(now)

    def success(self, now: float) -> float:
        """Share of attempts that succeed, from the recent ones; a bad record fades as latency does."""
        if not self.failing:
            return 1.0
        return max(1.0 - self.failing * self._fading(now), LEAST_SUCCESS)

    def _fading(self, now: float) -> float:
        age_s = now - self.heard
        return 1.0 if self.in_flight or age_s <= 0.0 else math.exp(-age_s / DECAY_S)

    def snapshot(self, now: float) -> StandingHealth:
        """Everything, copied."""
        with self._lock:
            return StandingHealth(
                deployment=self.deployment.name,
                available=self.available(now),
                reason=self.reason(now),
                healthy=self.healthy,
                in_flight=self.in_flight,
                calls=self.calls,
                errors=self.errors,
                success_rate=1.0 - self.failing,
                first_token_s=self.first_token_s,
                token_s=self.token_s,
                cooling_s=max(self.cooling_until - now, 0.0),
                disabled_s=max(self.disabled_until - now, 0.0),
                latency_s=self._latencies.summary(),
                first_tokens_s=self._first_tokens.summary(),
            )

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else "unhealthy"
        return (
            f"<Standing {self.deployment.name} {state}, {self.in_flight} in flight, {self.errors}/{self.calls} failed>"
        )


def _sane(seconds: float) -> float:
    """Seconds that can be computed with; what is none counts as nothing."""
    return seconds if 0.0 <= seconds < math.inf else 0.0


def _span(seconds: float) -> str:
    return "" if seconds == math.inf else f" for {seconds:.1f}s"


# What a request needs, and who can give it.

VERB_NEEDS: Mapping[str, frozenset[Able]] = MappingProxyType(
    {
        "chat": frozenset({Able.CHAT}),
        "complete": frozenset({Able.TEXT_COMPLETION}),
        "embed": frozenset({Able.EMBEDDINGS}),
        "models": frozenset({Able.MODEL_DISCOVERY}),
        "image": frozenset({Able.IMAGE_GENERATION}),
        "video": frozenset({Able.VIDEO_GENERATION}),
        "transcribe": frozenset({Able.TRANSCRIPTION}),
        "speak": frozenset({Able.SPEECH}),
        "rerank": frozenset({Able.RERANK}),
        "moderate": frozenset({Able.MODERATION}),
        "count_tokens": frozenset({Able.TOKEN_COUNTING}),
    }
    | {verb: frozenset() for verb in ("request", "call", *PINNED)}
)
"""What a verb needs, whatever it is asked for with it."""

FEATURES = frozenset(Able) - frozenset().union(*VERB_NEEDS.values())
"""What only a look into the request shows."""


def needs(request: Request) -> frozenset[str]:
    """
    The capabilities that a request asks for, as `ProviderCapability` names them.

    A chat of plain text costs one look at each message; nothing but lists of content parts is looked into.
    """
    wanted = VERB_NEEDS[request.verb]
    body = request.body
    if request.verb != "chat" or not isinstance(body, dict):
        return wanted | {Able.STREAMING} if request.stream else wanted
    found: set[str] = set()
    if request.stream:
        found.add(Able.STREAMING)
    if body.get("tools") or body.get("functions"):
        found.add(Able.TOOL_CALLING)
    if body.get("reasoning_effort") not in (None, "none"):
        found.add(Able.REASONING)
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        found.add(Able.STRUCTURED_OUTPUT)
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        found.add(Able.AUDIO)
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            # Without a call for each message: conversations have hundreds.
            if message.__class__ is dict and "content" in message and message["content"].__class__ is list:
                found.update(_media(message["content"]))
    return wanted | found if found else wanted


def _media(parts: list[object]) -> set[str]:
    kinds = (part.get("type") for part in parts if isinstance(part, dict))
    return {MEDIA_PARTS[kind] for kind in kinds if isinstance(kind, str) and kind in MEDIA_PARTS}


def lacking(deployment: Deployment, needs: AbstractSet[str], tokens: int = 0) -> str | None:
    """
    Why a deployment cannot take a request: a fragment of a sentence whose subject is the deployment; None if it can.

    Where nobody said what it can do, everything is tried.

    Args:
        tokens: Estimate of prompt and answer. The estimate is generous, so the window must be passed by far.
    """
    return _unable(deployment, needs) or _too_small(deployment, tokens)


def _unable(deployment: Deployment, needs: AbstractSet[str]) -> str | None:
    capabilities = deployment.capabilities
    if capabilities is None or needs <= capabilities:
        return None
    return f"cannot do {', '.join(sorted(needs - capabilities))}"


def _too_small(deployment: Deployment, tokens: int) -> str | None:
    window = deployment.context_window
    if window is None or tokens <= WINDOW_SLACK * window:
        return None
    return f"has room for {window} tokens; some {tokens} are wanted"


class Eligible(NamedTuple):
    """
    Who can be asked.

    Attributes:
        candidates: In the order of the route.
        left_out: Name and reason of each of the others; the reason is a fragment of a sentence.
        retry_after_s: If nobody can be asked: seconds until somebody can, None if that is not known.
    """

    candidates: list[Standing]
    left_out: list[tuple[str, str]]
    retry_after_s: float | None = None


def eligible(
    now: float,
    standings: Sequence[Standing],
    needs: AbstractSet[str] = frozenset(),
    tokens: int = 0,
    tried: Collection[Standing] = (),
) -> Eligible:
    """
    Those who can take a request now.

    Whoever lacks a capability, was tried, asked for a rest, has a refused key or an open circuit is left out,
    without exception. Who failed the health checks is left out, too, unless that leaves fewer than half: then the
    checks are the likelier fault, and the unhealthy are asked after the healthy. A window that seems too small is
    believed only while somebody has a larger one; the upstream counts better than we do.

    Args:
        tokens: Estimate of prompt and answer.
        tried: Those who had their turn in this call.
    """
    candidates: list[Standing] = []
    unhealthy: list[Standing] = []
    small: list[Standing] = []
    left_out: list[tuple[Standing, str]] = []
    soonest = math.inf
    living = 0
    for standing in standings:
        wait_s = 0.0
        if reason := _unable(standing.deployment, needs):
            pass
        elif standing in tried:
            reason = "was tried"
            living += standing.healthy
        elif (wait_s := max(standing.cooling_until, standing.disabled_until) - now) > 0.0:
            reason = standing.reason(now)
        elif standing.gate is not None and (wait_s := standing.gate(now)) > 0.0:
            reason = f"has an open circuit{_span(wait_s)}"
        elif reason := _too_small(standing.deployment, tokens):
            small.append(standing)
        elif not standing.healthy:
            reason = "failed its health checks"
            unhealthy.append(standing)
        else:
            candidates.append(standing)
            continue
        left_out.append((standing, reason or ""))
        if wait_s > 0.0:
            soonest = min(soonest, wait_s)
    if not left_out:
        return Eligible(candidates, [])
    if len(unhealthy) > len(candidates) + living:
        candidates += unhealthy
    candidates = candidates or small
    others = [(standing.deployment.name, reason) for standing, reason in left_out if standing not in candidates]
    return Eligible(candidates, others, soonest if not candidates and soonest < math.inf else None)


# Who of them is asked.

PriceOf = Callable[[Standing], Decimal | int | None]
"""What the request will cost at a deployment, in any one unit; None if nobody knows."""

STRATEGIES = ("ordered", "round_robin", "weighted", "least_busy", "latency", "cost", "adaptive")


class Balancer:
    """
    Chooses one of those who can be asked. Safe to use from any thread.

    * `ordered`: the first.
    * `round_robin`: who was not chosen for the longest time. Who is missing for a while loses nobody else's turn.
    * `weighted`: smooth weighted round robin; in a cycle each is chosen exactly as often as its weight says, and
      never in a row if it can be helped.
    * `least_busy`: the fewest attempts in flight by weight; among equals, in turn.
    * `latency`: of two at random the one with the lower `seconds x (in_flight + 1) / weight`. Seconds are those of
      an answer of typical length where both are known to write that fast, else those to the first content.
    * `cost`: the cheapest for this request; unknown prices last, among equals the first.
    * `adaptive`: the lowest `seconds x (in_flight + 1) / weight / success x sqrt(price / dearest price)`; among
      equals, in turn. Seconds over success is the time until an answer when failures are repeated. Under the
      root, twice the price must bring 1.4 times the speed; who has no known price counts as the dearest.

    For `latency` and `adaptive` one that nobody knows is asked at once, but by one at a time.

    Args:
        strategy: One of the above.
        standings: All that may ever be among the candidates; others may join later.
        rng: For `latency` alone.

    Raises:
        ValueError: If there is no such strategy.
    """

    __slots__ = ("_choose", "_currents", "_drained", "_lock", "_random", "_turn", "_turns", "strategy")

    def __init__(self, strategy: str, standings: Sequence[Standing], rng: Random) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"there is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
        self.strategy = strategy
        self._choose: Callable[[float, Sequence[Standing], PriceOf | None], Standing] = getattr(self, f"_{strategy}")
        self._random = rng.random
        self._lock = threading.Lock()
        self._turn = 0
        self._turns: defaultdict[Standing, int] = defaultdict(int)
        self._currents: defaultdict[Standing, int] = defaultdict(int)
        self._drained = False
        self.keep(standings)

    @property
    def asks_price(self) -> bool:
        """Whether `pick` makes use of prices."""
        return self.strategy in ("cost", "adaptive")

    def keep(self, standings: Sequence[Standing]) -> None:
        """These are the ones from now on; what is known about the turns of others is forgotten."""
        with self._lock:
            self._turns = defaultdict(int, {s: self._turns[s] for s in standings if s in self._turns})
            self._currents = defaultdict(int, {s: self._currents[s] for s in standings if s in self._currents})
            self._drained = any(not standing.weight for standing in standings)

    def pick(self, now: float, among: Sequence[Standing], price_of: PriceOf | None = None) -> Standing:
        """
        Choose; for a given state and `rng` always the same.

        Args:
            among: Those who can be asked, at least one, in the order of the route.
            price_of: For `cost` and `adaptive`; without it all prices are unknown.
        """
        if self._drained:
            among = [standing for standing in among if standing.weight] or among
        return among[0] if len(among) == 1 else self._choose(now, among, price_of)

    def _ordered(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        return among[0]

    def _round_robin(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        with self._lock:
            chosen = min(among, key=self._turns.__getitem__)
            self._turn = self._turns[chosen] = self._turn + 1
        return chosen

    def _weighted(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        currents = self._currents
        total, chosen = 0, among[0]
        with self._lock:
            for standing in among:
                currents[standing] += standing.share
                total += standing.share
                if currents[standing] > currents[chosen]:
                    chosen = standing
            currents[chosen] -= total
        return chosen

    def _least_busy(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        return self._least([standing.in_flight / (standing.weight or 1.0) for standing in among], among)

    def _latency(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        count = len(among)
        # One random number for an ordered pair of two that differ.
        first, second = divmod(int(self._random() * (count * (count - 1))), count - 1)
        one, other = among[first], among[second + (second >= first)]
        typical = one.token_s is not None and other.token_s is not None
        return other if _burden(other, now, typical) < _burden(one, now, typical) else one

    def _cost(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        cheapest, least = among[0], None
        for standing in among if price_of is not None else ():
            price = price_of(standing) if price_of is not None else None
            if price is not None and (least is None or price < least):
                cheapest, least = standing, price
        return cheapest

    def _adaptive(self, now: float, among: Sequence[Standing], price_of: PriceOf | None) -> Standing:
        typical = all(standing.token_s is not None or standing.first_token_s is None for standing in among)
        scores = [_burden(standing, now, typical) / standing.success(now) for standing in among]
        if price_of is not None:
            prices = [price_of(standing) for standing in among]
            dearest = max((price for price in prices if price is not None), default=0)
            if dearest > 0:
                ratios = (1.0 if price is None else float(price) / float(dearest) for price in prices)
                scores = [
                    score * math.sqrt(max(ratio, CHEAPEST_RATIO)) for score, ratio in zip(scores, ratios, strict=True)
                ]
        return self._least(scores, among)

    def _least(self, scores: list[float], among: Sequence[Standing]) -> Standing:
        """Who has the least score; among equals, in turn."""
        turns = self._turns
        chosen, least = among[0], scores[0]
        with self._lock:
            for standing, score in zip(among, scores, strict=True):
                if score < least or (score == least and turns[standing] < turns[chosen]):
                    chosen, least = standing, score
            self._turn = turns[chosen] = self._turn + 1
        return chosen


def _burden(standing: Standing, now: float, typical: bool) -> float:
    """Seconds, times those who would share them, by weight."""
    seconds = standing.seconds(now, typical)
    if seconds is None:
        return PROBING_S * standing.in_flight
    return (seconds if seconds > FASTEST_S else FASTEST_S) * (standing.in_flight + 1) / (standing.weight or 1.0)
