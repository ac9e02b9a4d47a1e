"""Tells after a run how much of the recorded traffic was understood."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A table, provider by provider and kind by kind: of so many records so many are read and written as they should."""
    records: dict[str, set[str]] = defaultdict(set)
    wrong: dict[str, set[str]] = defaultdict(set)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name in ("recorded", "departs"):
                    provider, kind, id = value.split()
                    records[f"{provider} {kind}"].add(id)
                    if outcome == "failed" or name == "departs":
                        wrong[f"{provider} {kind}"].add(id)
    if not records:
        return
    terminalreporter.section("recorded traffic: provider, kind, passed / records")
    for of in sorted(records):
        provider, kind = of.split()
        terminalreporter.line(f"{provider:18} {kind:13} {len(records[of]) - len(wrong[of]):5} / {len(records[of])}")
    total, failed = sum(map(len, records.values())), sum(map(len, wrong.values()))
    terminalreporter.line(f"{'':32} {total - failed:5} / {total}")
