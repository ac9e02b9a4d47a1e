"""A report as one page: figures and plots, drawn as SVG in the page itself. It loads nothing and runs nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..types.units import format_duration
from .report import Report
from .terminal import compared, lines

__all__ = ["page"]

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 150, 52, 18  # pixels of a plot, of its labels on the left and below
COLOURS = ("#2a78d6", "#d6702a", "#3a9a5b", "#a34fb5", "#b59a2a", "#2aa5a8", "#c94f6d", "#7a7a85")

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c22; --paper: #fff; --faint: #d9d9e0; --soft: #6b6b76; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6ea; --paper: #16161a; --faint: #3a3a42; --soft: #9a9aa6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1rem; margin: 0 0 .3rem; } p { color: var(--soft); margin: .2rem 0; }
pre { font: 12px/1.45 ui-monospace, monospace; overflow-x: auto; padding: .8rem; border: 1px solid var(--faint);
  border-radius: 6px; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1.2rem; margin: 1.5rem 0; }
figure { margin: 0; } svg { width: 100%; height: auto; } text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.axis { stroke: var(--faint); } .key { font-size: .8rem; color: var(--soft); margin-right: 1rem; }
.key::before { content: "■ "; color: var(--colour); }
"""

Series = tuple[str, Sequence[float | None]]


def page(reports: Sequence[tuple[str, Report]]) -> str:
    """
    One page about one run, or about two that are compared.

    Args:
        reports: With the names of their configurations; all of one scenario.
    """
    first = reports[0][1]
    told = compared(first, reports[1][1], (reports[0][0], reports[1][0])) if len(reports) > 1 else lines(first)
    names = " against ".join(name for name, _ in reports)
    figures = "".join(_figures(reports))
    title = escape(f"{first.scenario}: {names}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><p>{escape(first.about)}</p>"
        f"<p>{first.total.calls} calls in {format_duration(first.duration_s)}, seed {first.seed}</p>\n"
        f"<main>{figures}</main>\n<pre>{escape(chr(10).join(told))}</pre></body></html>\n"
    )


def _figures(reports: Sequence[tuple[str, Report]]) -> list[str]:
    """One for each thing that is worth seeing over time."""
    several = len(reports) > 1

    def series(what: str, pick: str) -> list[Series]:
        return [
            (f"{name} {what}".strip() if several else what or name, _values(report, pick)) for name, report in reports
        ]

    first = reports[0][1].timeline
    drawn = [
        _figure("calls a second", [("calls", [count / first.width_s for count in first.calls])], first.width_s),
        _figure("share of calls that succeeded", series("", "success"), first.width_s, 1.0),
        _figure("latency, seconds", [*series("p50", "p50"), *series("p99", "p99")], first.width_s),
        _figure("attempts for each call", series("", "attempts"), first.width_s),
        _figure("dollars a second", series("", "cost"), first.width_s),
    ]
    for name, report in reports:
        told, label = report.timeline, f", {name}" if several else ""
        requests: list[Series] = [
            (deployment, [count / told.width_s for count in seen.requests])
            for deployment, seen in told.deployments.items()
        ]
        drawn.append(_figure(f"requests a second{label}", requests, told.width_s))
        opened: list[Series] = [(deployment, seen.open) for deployment, seen in told.deployments.items()]
        drawn.append(_figure(f"share of the time that the circuit was open{label}", opened, told.width_s, 1.0))
    return drawn


def _values(report: Report, pick: str) -> Sequence[float | None]:
    told = report.timeline
    if pick in ("p50", "p99"):
        return told.p50_s if pick == "p50" else told.p99_s
    if pick == "cost":
        return [dollars / told.width_s for dollars in told.cost]
    counts = told.succeeded if pick == "success" else told.attempts
    return [count / calls if calls else None for count, calls in zip(counts, told.calls, strict=True)]


def _figure(title: str, series: Sequence[Series], width_s: float, top: float | None = None) -> str:
    highest = top or max((value for _, values in series for value in values if value is not None), default=0.0) or 1.0
    rows = max(len(values) for _, values in series) if series else 1
    lines = "".join(_line(values, highest, rows, COLOURS[at % len(COLOURS)]) for at, (_, values) in enumerate(series))
    marks = "".join(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * share:.3g}</text>'
        for share in (0.0, 0.5, 1.0)
        for y in (_height(highest * share, highest),)
    )
    times = "".join(
        f'<text x="{LEFT + (WIDTH - LEFT) * share:.0f}" y="{HEIGHT - 4}" text-anchor="{anchor}">'
        f"{escape(format_duration(round(rows * width_s * share, 3)))}</text>"
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    keys = "".join(
        f'<span class="key" style="--colour:{COLOURS[at % len(COLOURS)]}">{escape(name)}</span>'
        for at, (name, _) in enumerate(series)
    )
    return (
        f'<figure><h2>{escape(title)}</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{marks}{times}{lines}</svg><figcaption>{keys}</figcaption></figure>"
    )


def _height(value: float, highest: float) -> float:
    room = HEIGHT - BOTTOM - 8
    return HEIGHT - BOTTOM - room * min(value / highest, 1.0)


def _line(values: Sequence[float | None], highest: float, rows: int, colour: str) -> str:
    """One path; where there is no value it is broken."""
    step, path, broken = (WIDTH - LEFT) / max(rows, 1), "", True
    for at, value in enumerate(values):
        if value is None:
            broken = True
            continue
        path += f"{'M' if broken else 'L'}{LEFT + step * (at + 0.5):.1f} {_height(value, highest):.1f}"
        broken = False
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>'
