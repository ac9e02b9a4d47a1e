"""A report as a terminal shows it: tables, and small lines of blocks for what happened over time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..types.units import format_duration
from .report import Figures, Quantiles, Report

__all__ = ["compared", "lines", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
NOTHING = "–"
OUTCOMES_SHOWN = 3  # kinds of failures named beside a deployment; the JSON has all


def lines(report: Report) -> list[str]:
    """The report, line by line."""
    out = [*_head(report), ""]
    groups = {"all calls": report.total, **(report.routes if len(report.routes) > 1 else {}), **report.tenants}
    out += _table(
        ("", "calls", "success", "p50", "p90", "p99", "first p50", "p99", "attempts", "cached", "refused", "cost"),
        [_row(name, figures) for name, figures in groups.items()],
    )
    out += ["", *_upstreams(report), "", *_over_time(report)]
    failures = {kind: count for kind, count in report.total.outcomes.items() if kind != "ok"}
    if failures:
        out += ["", "failed: " + ", ".join(f"{kind} {count}" for kind, count in failures.items())]
    return out


def compared(one: Report, other: Report, names: tuple[str, str]) -> list[str]:
    """
    Two configurations in the same scenario, and what differs.

    Args:
        names: Of the configurations.
    """
    rows = [
        (what, mine, theirs, _difference(here, there, relative))
        for what, mine, theirs, here, there, relative in _pairs(one, other)
    ]
    out = [*_head(one), "", *_table(("", *names, "difference"), rows), ""]
    for report, name in ((one, names[0]), (other, names[1])):
        out += [name, *(f"  {line}" for line in [*_upstreams(report), *_over_time(report)]), ""]
    return out[:-1]


def sparkline(values: Sequence[float | None], highest: float | None = None) -> str:
    """One block for each value, from 0 to the highest; a dot where there is none."""
    top = highest if highest is not None else max((value for value in values if value is not None), default=0.0)
    return "".join("·" if value is None else BLOCKS[_level(value, top)] for value in values)


def _level(value: float, top: float) -> int:
    return min(int(value / top * len(BLOCKS)), len(BLOCKS) - 1) if top > 0 else 0


def _head(report: Report) -> list[str]:
    played = f"{report.total.calls} calls in {format_duration(report.duration_s)}, seed {report.seed}"
    return [
        f"{report.scenario}: {report.about}" if report.about else report.scenario,
        f"{played}, trace {report.trace}",
    ]


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    latency, first = figures.latency_s, figures.first_token_s
    return (
        name,
        str(figures.calls),
        _percent(figures.success_rate),
        *(_seconds(latency, share) for share in ("p50", "p90", "p99")),
        *(_seconds(first, share) for share in ("p50", "p99")),
        f"{figures.amplification:.3f}",
        str(sum(figures.cached.values())),
        str(figures.refused),
        _dollars(float(figures.cost)),
    )


def _upstreams(report: Report) -> list[str]:
    rows = []
    for name, seen in report.deployments.items():
        failures = [f"{kind} {count}" for kind, count in seen.outcomes.items() if kind != "ok"]
        more = f", +{len(failures) - OUTCOMES_SHOWN}" if len(failures) > OUTCOMES_SHOWN else ""
        circuit = NOTHING
        if seen.openings:
            first = next(turn.at_s for turn in seen.circuit if turn.state == "open")
            circuit = f"opened {seen.openings}×, at {format_duration(round(first))}; {format_duration(round(seen.open_s))} in all"
        rows.append(
            (
                name, str(seen.requests), str(seen.outcomes.get("ok", 0)), _seconds(seen.latency_s, "p50"),
                _seconds(seen.latency_s, "p99"), _dollars(float(seen.cost)) + ("?" if seen.unpriced else ""),
                circuit, ", ".join(failures[:OUTCOMES_SHOWN]) + more,
            )
        )  # fmt: skip
    return _table(("upstream", "requests", "ok", "p50", "p99", "cost", "circuit", "failures"), rows, left=(0, 6, 7))


def _over_time(report: Report) -> list[str]:
    told = report.timeline
    rates: list[float | None] = [
        ok / calls if calls else None for ok, calls in zip(told.succeeded, told.calls, strict=True)
    ]
    amplified: list[float | None] = [
        asked / calls if calls else None for asked, calls in zip(told.attempts, told.calls, strict=True)
    ]
    rows: list[tuple[str, Sequence[float | None], float | None, str]] = [
        ("calls", told.calls, None, f"{max(told.calls) / told.width_s:.3g}/s"),
        ("success", rates, 1.0, f"{_percent(min((rate for rate in rates if rate is not None), default=1.0))} at least"),
        ("p50", told.p50_s, None, _most(told.p50_s)),
        ("p99", told.p99_s, None, _most(told.p99_s)),
        ("attempts", amplified, None, f"{max((each for each in amplified if each is not None), default=0):.2f} a call"),
        ("cost", told.cost, None, f"{_dollars(max(told.cost) / told.width_s)}/s"),
    ]
    if any(told.cached):
        rows.insert(1, ("cached", told.cached, max(told.calls), f"{max(told.cached) / told.width_s:.3g}/s"))
    for name, seen in told.deployments.items():
        rows.append(
            (f"{name} requests", seen.requests, max(told.attempts), f"{max(seen.requests) / told.width_s:.3g}/s")
        )
        if any(seen.open):
            rows.append((f"{name} circuit", seen.open, 1.0, "open"))
    width = max(len(name) for name, *_ in rows)
    head = f"over time, {format_duration(told.width_s)} each; on the right the highest"
    return [head, *(f"{name:<{width}}  {sparkline(values, top)}  {said}" for name, values, top, said in rows)]


def _pairs(one: Report, other: Report) -> Iterable[tuple[str, str, str, float, float, bool]]:
    """Each figure of both: its name, as text twice, as numbers, and whether the difference is in percent of the first."""
    mine, theirs = one.total, other.total
    yield "calls", str(mine.calls), str(theirs.calls), mine.calls, theirs.calls, False
    rates = mine.success_rate, theirs.success_rate
    yield "success %", _percent(rates[0]), _percent(rates[1]), rates[0] * 100, rates[1] * 100, False
    for label, field in (("latency", "latency_s"), ("first token", "first_token_s"), ("failure", "failure_s")):
        for share in ("p50", "p90", "p99"):
            pair = getattr(mine, field), getattr(theirs, field)
            numbers = [0.0 if quantiles is None else float(getattr(quantiles, share)) for quantiles in pair]
            texts = [_seconds(quantiles, share) for quantiles in pair]
            yield f"{label} {share}", texts[0], texts[1], numbers[0], numbers[1], True
    yield "attempts", str(mine.attempts), str(theirs.attempts), mine.attempts, theirs.attempts, True
    amplified = mine.amplification, theirs.amplification
    yield "a call", f"{amplified[0]:.3f}", f"{amplified[1]:.3f}", amplified[0], amplified[1], True
    cached = sum(mine.cached.values()), sum(theirs.cached.values())
    yield "cached", str(cached[0]), str(cached[1]), cached[0], cached[1], False
    yield "refused", str(mine.refused), str(theirs.refused), mine.refused, theirs.refused, False
    costs = float(mine.cost), float(theirs.cost)
    yield "cost", _dollars(costs[0]), _dollars(costs[1]), costs[0], costs[1], True
    openings = [sum(seen.openings for seen in report.deployments.values()) for report in (one, other)]
    yield "openings", str(openings[0]), str(openings[1]), openings[0], openings[1], False


def _difference(one: float, other: float, relative: bool) -> str:
    if one == other:
        return "same"
    if relative and one:
        return f"{(other - one) / one:+.1%}"
    return f"{other - one:+.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _seconds(quantiles: Quantiles | None, share: str) -> str:
    return NOTHING if quantiles is None else f"{float(getattr(quantiles, share)):.3g}s"


def _most(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.3g}s" if known else NOTHING


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%"


def _dollars(amount: float) -> str:
    return f"${amount:.4g}"
