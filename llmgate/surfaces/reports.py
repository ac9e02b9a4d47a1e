"""What operators ask a server for: whether it is well, and what it has done."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..telemetry.prometheus import CONTENT_TYPE, Requests, exposition
from ..types.wire import encode
from .answered import JSON, Answered

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["METRICS", "REPORTS", "Reports"]

HEALTH, LIVE, READY, METRICS = "/health", "/health/live", "/health/ready", "/metrics"
REPORTS = frozenset({HEALTH, LIVE, READY, METRICS})

ABLE = ("ok", "degraded")
"""States in which calls are taken."""


class Reports:
    """
    Tells operators about one gateway.

    Attributes:
        draining: Whether the server is about to stop.
    """

    def __init__(self, gateway: Gateway, requests: Requests) -> None:
        self._gateway = gateway
        self._requests = requests
        self.draining = False

    def answer(self, path: str, operator: bool) -> Answered:
        """
        The report at a path.

        Args:
            operator: Whether it is for somebody who may see the details.
        """
        if path == LIVE:
            return Answered(200, [JSON], encode({"status": "ok"}))
        told = self.health()
        if path == METRICS:
            body = exposition(self._gateway.stats(), told, self._requests)
            return Answered(200, [(b"content-type", CONTENT_TYPE.encode())], body.encode())
        if path == READY or not operator:
            told = {"status": told["status"]}
        return Answered(200 if told["status"] in ABLE else 503, [JSON], encode(told))

    def health(self) -> dict[str, Any]:
        """
        How the gateway is, as plain JSON values. Deployments are those of the configured routes: of others callers choose
        the names.
        """
        gateway = self._gateway
        told = gateway.health()
        pipeline = gateway._current()
        routed = {
            candidate.deployment.name: candidate.deployment.provider
            for route in list(pipeline.routes.values())
            for candidate in route.candidates
        }
        deployments: dict[str, Any] = {
            name: told["deployments"][name] for name in routed if name in told["deployments"]
        }
        if self.draining:
            told["status"] = "draining"
        elif told["status"] not in ("draining", "closed"):
            told["status"] = _status(deployments)
        told["providers"] = {
            provider: {"status": _status({n: d for n, d in deployments.items() if routed[n] == provider})}
            for provider in pipeline.provider_names()
        }
        told["deployments"] = deployments
        told["memory"] = _memory()
        return told


def _status(deployments: Mapping[str, Any]) -> str:
    able = [told["available"] for told in deployments.values()]
    return "ok" if all(able) else "degraded" if any(able) else "down"


def _memory() -> dict[str, int]:
    """Bytes of memory that the process holds, as far as the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found["resident_bytes"] = pages * resource.getpagesize()
    except OSError:
        pass  # only Linux has it
    return found
