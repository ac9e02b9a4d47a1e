"""What a gateway has done, as Prometheus reads it: the text exposition format, version 0.0.4.

Every label comes out of a set that the configuration or the code bounds: providers, deployments, tiers, kinds of errors,
HTTP statuses. Nothing that a caller said is one.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (checked 2026-11-21).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, get_args

from ..policies.breaker import State
from .stats import Counts

__all__ = ["CONTENT_TYPE", "Requests", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds; from an answer out of the cache to the longest stream."""
QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99", "max": "1"}
STATES = get_args(State)

Labels = Mapping[str, str]
Sample = tuple[str, Labels, Any]


class Requests:
    """Counts HTTP requests by status, and how long they took. Of one event loop at a time."""

    __slots__ = ("_buckets", "_seconds", "in_flight", "statuses")

    def __init__(self) -> None:
        self.in_flight = 0
        self.statuses: Counter[int] = Counter()
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0

    def add(self, status: int, seconds: float) -> None:
        """Count one that has ended."""
        self.statuses[status] += 1
        self._seconds += seconds
        self._buckets[bisect_left(BUCKETS_S, seconds)] += 1

    def samples(self) -> Iterator[Sample]:
        """The histogram of their durations."""
        bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
        total = 0
        for bound, total in zip(bounds, accumulate(self._buckets), strict=True):
            yield "_bucket", {"le": bound}, total
        yield "_sum", {}, self._seconds
        yield "_count", {}, total


def exposition(counts: Counts, health: Mapping[str, Any], requests: Requests) -> str:
    """
    All metrics as text.

    Args:
        health: As `Gateway.health` tells it; its deployments become labels, so it must hold those of the configuration alone.
    """
    return "".join(
        line
        for name, sort, meaning, samples in _families(counts, health, requests)
        for line in _family(f"llmgate_{name}", sort, meaning, samples)
    )


def _families(
    counts: Counts, health: Mapping[str, Any], requests: Requests
) -> Iterator[tuple[str, str, str, Iterable[Sample]]]:
    deployments: Mapping[str, Any] = health["deployments"]
    circuits = {name: told["circuit"] for name, told in deployments.items() if told["circuit"] is not None}
    tiers: Mapping[str, Any] = health["cache"] or {}
    tokens = {"input": counts.input_tokens, "output": counts.output_tokens}

    yield "up", "gauge", "Whether calls are taken.", _one(int(health["status"] in ("ok", "degraded")))
    yield "info", "gauge", "The version, as a label.", [("", {"version": health["version"]}, 1)]
    yield "uptime_seconds", "gauge", "Seconds since the gateway was made.", _one(health["uptime_s"])
    yield "calls_total", "counter", "Calls that have ended, by how.", _by("outcome", counts.outcomes)
    yield "calls_in_flight", "gauge", "Calls that have not ended.", _one(counts.in_flight)
    yield "attempts_total", "counter", "Upstream attempts.", _one(counts.attempts)
    yield "tokens_total", "counter", "Tokens, as far as upstreams told.", _by("direction", tokens)
    yield "cost_usd_total", "counter", "US dollars, as far as prices are known.", _by("provider", counts.cost)
    for name, meaning, told in (
        ("call", "a whole call", counts.latency_s),
        ("first_token", "a call to its first content", counts.first_token_s),
        ("overhead", "a call that the gateway itself took", counts.overhead_s),
    ):
        quantiles = {QUANTILES[key]: seconds for key, seconds in told.items()}
        yield f"{name}_seconds", "summary", f"Seconds of {meaning}, of the latest.", _by("quantile", quantiles)
    yield "cached_calls_total", "counter", "Calls answered by a tier of the cache.", _by("tier", counts.cached)
    for event in ("hits", "misses", "stores", "failures"):
        found = {tier: told[event] for tier, told in tiers.items()}
        yield f"cache_{event}_total", "counter", f"{event.capitalize()} of a tier of the cache.", _by("tier", found)
    yield "deployment_available", "gauge", "Whether a deployment can be asked now.", _by(
        "deployment", {name: int(told["available"]) for name, told in deployments.items()}
    )  # fmt: skip
    yield "deployment_in_flight", "gauge", "Attempts under way.", _by(
        "deployment", {name: told["in_flight"] for name, told in deployments.items()}
    )  # fmt: skip
    yield "circuit_state", "gauge", "1 for the state that a breaker is in.", [
        ("", {"deployment": name, "state": state}, int(told["state"] == state))
        for name, told in circuits.items()
        for state in STATES
    ]  # fmt: skip
    yield "circuit_openings_total", "counter", "How often a breaker opened.", _by(
        "deployment", {name: told["openings"] for name, told in circuits.items()}
    )  # fmt: skip
    statuses = {str(status): count for status, count in sorted(requests.statuses.items())}
    yield "http_requests_total", "counter", "HTTP requests that were answered, by status.", _by("status", statuses)
    yield "http_requests_in_flight", "gauge", "HTTP requests under way.", _one(requests.in_flight)
    yield "http_request_seconds", "histogram", "Seconds to the end of an answer.", requests.samples()


def _one(value: Any) -> list[Sample]:
    return [("", {}, value)]


def _by(label: str, values: Mapping[str, Any]) -> list[Sample]:
    return [("", {label: key}, value) for key, value in values.items()]


def _family(name: str, sort: str, meaning: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}\n# TYPE {name} {sort}\n"
    for suffix, labels, value in samples:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{suffix}{{{told}}} {value}\n" if told else f"{name}{suffix} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
