"""What a simulation showed, in figures: for all calls, for each route, tenant and deployment, and over time.

Pure: the same ledger gives the same report. Its JSON Schema is `Report.model_json_schema(mode="serialization")`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import ceil
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ..errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    GatewayClosed,
    LimitReached,
)  # fmt: skip
from ..policies.breaker import Transition
from .ledger import Ask, Ledger, Visit
from .scenario import Scenario

__all__ = ["DeploymentFigures", "DeploymentTimeline", "Figures", "Quantiles", "Report", "Timeline", "Turn", "report"]

T = TypeVar("T", Visit, Ask)

REFUSALS = {cls.kind for cls in (BudgetExceeded, CircuitOpen, DeadlineExceeded, GatewayClosed, LimitReached)}


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantiles(_Told):
    """Seconds that this share of them did not exceed, by the nearest rank: each was really measured."""

    p50: float
    p90: float
    p99: float
    max: float


class Figures(_Told):
    """Calls, all of them or those of one route or tenant."""

    calls: int = Field(description="calls that were made; all of them ended")
    succeeded: int = Field(description="those that got a whole answer")
    success_rate: float = Field(description="their share; 1 without any calls")
    outcomes: dict[str, int] = Field(description="calls by how they ended: `ok` or the kind of the error")
    refused: int = Field(description="calls that the gateway itself refused: limits, open circuits, deadlines")
    latency_s: Quantiles | None = Field(description="of the calls that succeeded, to the end of the answer")
    first_token_s: Quantiles | None = Field(description="of the streams that began, to the first content")
    failure_s: Quantiles | None = Field(description="of the calls that failed, to the error")
    attempts: int = Field(description="requests that upstreams received for them")
    amplification: float = Field(description="attempts for each call")
    cost: Decimal = Field(description="US dollars that upstreams bill, as far as prices are known")
    cached: dict[str, int] = Field(description="calls answered by each tier of the cache")


class Turn(_Told):
    """One change of a circuit."""

    at_s: float = Field(description="seconds from the beginning")
    state: str = Field(description="`open`, `half_open` or `closed`")
    reason: str = Field(description="why")


class DeploymentFigures(_Told):
    """What one deployment saw, and what its circuit breaker did."""

    requests: int = Field(description="requests that it received")
    outcomes: dict[str, int] = Field(
        description="by how they ended: `ok`, the kind of the error, `timeout` if nobody waited, or `closed`"
    )
    latency_s: Quantiles | None = Field(description="of the requests that it answered")
    input_tokens: int = Field(description="billed as read")
    output_tokens: int = Field(description="billed as written")
    cost: Decimal = Field(description="US dollars, as far as prices are known")
    unpriced: int = Field(description="answers whose price is not known")
    openings: int = Field(description="times that its circuit opened")
    open_s: float = Field(description="seconds that its circuit was not closed")
    circuit: list[Turn] = Field(description="each change of its circuit")


class DeploymentTimeline(_Told):
    """One deployment over time."""

    requests: list[int] = Field(description="requests that it received")
    failed: list[int] = Field(description="those that it did not answer")
    open: list[float] = Field(description="share of the time that its circuit was not closed")


class Timeline(_Told):
    """Figures by the time at which calls came; a list has one entry for each row. None: there was nothing to measure."""

    width_s: float = Field(description="seconds of one row; the last one holds what came after the end, too")
    calls: list[int] = Field(description="calls that came")
    succeeded: list[int] = Field(description="those that got a whole answer")
    refused: list[int] = Field(description="those that the gateway itself refused")
    cached: list[int] = Field(description="those that the cache answered")
    attempts: list[int] = Field(description="requests that upstreams received, by the time of the request")
    p50_s: list[float | None] = Field(description="latency of those that succeeded")
    p99_s: list[float | None] = Field(description="the same")
    cost: list[float] = Field(description="US dollars, by the time of the request")
    deployments: dict[str, DeploymentTimeline] = Field(description="by deployment")


class Report(_Told):
    """One run."""

    scenario: str = Field(description="what was played")
    about: str = Field(description="what happens in it")
    seed: int = Field(description="of all chance")
    duration_s: float = Field(description="seconds during which calls came")
    ended_s: float = Field(description="when the last call had ended")
    trace: str = Field(description="digest of everything that happened; the same trace is the same run")
    total: Figures = Field(description="all calls")
    routes: dict[str, Figures] = Field(description="by route")
    tenants: dict[str, Figures] = Field(description="by tenant; empty if there is only one")
    deployments: dict[str, DeploymentFigures] = Field(description="by deployment")
    timeline: Timeline = Field(description="over time")


def report(ledger: Ledger, scenario: Scenario, seed: int, deployments: Sequence[str], ended_s: float) -> Report:
    """
    The figures of a run.

    Args:
        deployments: Those that were ready to be asked; they are told of even if nobody did.
        ended_s: When the last call had ended.
    """
    visits, asks = ledger.visits, ledger.asks
    turns: dict[str, list[Transition]] = {}
    for name, turn in ledger.turns:
        turns.setdefault(name, []).append(turn)
    by_name = _grouped(asks, lambda ask: ask.deployment)
    names = sorted({*deployments, *by_name})
    tenants = _grouped(visits, lambda visit: visit.tenant)
    routes = _grouped(visits, lambda visit: visit.route)
    return Report(
        scenario=scenario.name,
        about=scenario.about,
        seed=seed,
        duration_s=scenario.duration,
        ended_s=round(ended_s, 6),
        trace=ledger.trace(),
        total=_figures(visits),
        routes={name: _figures(routes[name]) for name in sorted(routes)},
        tenants={name: _figures(tenants[name]) for name in sorted(tenants)} if len(tenants) > 1 else {},
        deployments={name: _deployment(by_name.get(name, []), turns.get(name, []), ended_s) for name in names},
        timeline=_timeline(visits, by_name, turns, names, scenario, ended_s),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """By the nearest rank, of values in order."""
    return ordered[max(1, ceil(share * len(ordered))) - 1]


def _quantiles(seconds: Iterable[float]) -> Quantiles | None:
    ordered = sorted(seconds)
    if not ordered:
        return None
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return Quantiles(**{name: round(quantile(ordered, share), 6) for name, share in shares.items()})


def _grouped(things: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return groups


def _counted(words: Iterable[str]) -> dict[str, int]:
    """The most frequent first, and then by name."""
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


def _figures(visits: Sequence[Visit]) -> Figures:
    calls, attempts = len(visits), sum(visit.attempts for visit in visits)
    succeeded = [visit for visit in visits if visit.outcome == "ok"]
    return Figures(
        calls=calls,
        succeeded=len(succeeded),
        success_rate=len(succeeded) / calls if calls else 1.0,
        outcomes=_counted(visit.outcome for visit in visits),
        refused=sum(visit.outcome in REFUSALS for visit in visits),
        latency_s=_quantiles(visit.took_s for visit in succeeded),
        first_token_s=_quantiles(visit.first_s for visit in visits if visit.first_s is not None),
        failure_s=_quantiles(visit.took_s for visit in visits if visit.outcome != "ok"),
        attempts=attempts,
        amplification=attempts / calls if calls else 0.0,
        cost=sum((visit.cost for visit in visits), Decimal(0)),
        cached=_counted(visit.cached for visit in visits if visit.cached is not None),
    )


def _deployment(asks: Sequence[Ask], turns: Sequence[Transition], ended_s: float) -> DeploymentFigures:
    return DeploymentFigures(
        requests=len(asks),
        outcomes=_counted(ask.outcome for ask in asks),
        latency_s=_quantiles(ask.took_s for ask in asks if ask.outcome == "ok"),
        input_tokens=sum(ask.read for ask in asks),
        output_tokens=sum(ask.written for ask in asks),
        cost=sum((ask.cost for ask in asks if ask.cost is not None), Decimal(0)),
        unpriced=sum(ask.cost is None for ask in asks),
        openings=sum(turn.new == "open" for turn in turns),
        open_s=round(sum(end - start for start, end in _open(turns, ended_s)), 6),
        circuit=[Turn(at_s=round(turn.at, 6), state=turn.new, reason=turn.reason) for turn in turns],
    )


def _open(turns: Sequence[Transition], ended_s: float) -> list[tuple[float, float]]:
    """From when to when the circuit was not closed."""
    spans: list[tuple[float, float]] = []
    since: float | None = None
    for turn in turns:
        if turn.new != "closed" and since is None:
            since = turn.at
        elif turn.new == "closed" and since is not None:
            spans.append((since, turn.at))
            since = None
    return spans if since is None else [*spans, (since, max(ended_s, since))]


def _timeline(
    visits: Sequence[Visit], asks: Mapping[str, Sequence[Ask]], turns: Mapping[str, Sequence[Transition]],
    names: Sequence[str], scenario: Scenario, ended_s: float,
) -> Timeline:  # fmt: skip
    width_s = scenario.width_s()
    rows = max(1, ceil(round(scenario.duration / width_s, 9)))

    def row(at: float) -> int:
        return min(int(at / width_s), rows - 1)

    calls, succeeded, refused, cached = ([0] * rows for _ in range(4))
    latencies: list[list[float]] = [[] for _ in range(rows)]
    for visit in visits:
        at = row(visit.at)
        calls[at] += 1
        refused[at] += visit.outcome in REFUSALS
        cached[at] += visit.cached is not None
        if visit.outcome == "ok":
            succeeded[at] += 1
            latencies[at].append(visit.took_s)
    attempts, cost = [0] * rows, [Decimal(0)] * rows
    deployments: dict[str, DeploymentTimeline] = {}
    for name in names:
        requests, failed = [0] * rows, [0] * rows
        for ask in asks.get(name, ()):
            at = row(ask.at)
            requests[at] += 1
            failed[at] += ask.outcome not in ("ok", "closed")
            cost[at] += ask.cost or 0
        attempts = [one + other for one, other in zip(attempts, requests, strict=True)]
        spans = _open(turns.get(name, ()), ended_s)
        opened = [_share(spans, at * width_s, (at + 1) * width_s) for at in range(rows)]
        deployments[name] = DeploymentTimeline(requests=requests, failed=failed, open=opened)
    for row_of in latencies:
        row_of.sort()
    return Timeline(
        width_s=width_s,
        calls=calls,
        succeeded=succeeded,
        refused=refused,
        cached=cached,
        attempts=attempts,
        p50_s=[round(quantile(ordered, 0.5), 6) if ordered else None for ordered in latencies],
        p99_s=[round(quantile(ordered, 0.99), 6) if ordered else None for ordered in latencies],
        cost=[float(dollars) for dollars in cost],
        deployments=deployments,
    )


def _share(spans: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Of the time between the two, how much lies in the spans."""
    inside = sum(max(0.0, min(end, until) - max(start, since)) for since, until in spans)
    return round(inside / (end - start), 6)
