"""Ask the upstreams how they are, off every caller's path."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from ..errors import GatewayError
from ..policies.timers import Clocks, Timers
from ..types.call import Call, Handler
from ..types.request import Request
from ..types.runtime import Runtime, Signal
from ..types.units import Duration
from .base import Middleware

__all__ = ["LoadBalance", "Probe", "Prober"]

PROBE_S = 5.0  # seconds a probe may take; a list of models needs no generation
SPREAD = 0.2  # of the interval, so that many processes do not probe together

Strategy = Literal["ordered", "round_robin", "weighted", "least_busy", "latency", "cost", "adaptive"]


class LoadBalance(Middleware):
    """How routes choose among their deployments unless they say it themselves, and whether upstreams are probed."""

    slot: ClassVar[str] = "before_attempts"

    strategy: Strategy = Field(default="ordered", description="how a route chooses: see the guide on routing")
    health_check: Duration | None = Field(
        default=None, gt=0, description="time between two probes of each provider; none: no probes"
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="weights by provider or deployment, for `weighted`; shares, in any unit"
    )

    def wrap(self, call_next: Handler) -> Handler:
        return call_next


class Healthy(Protocol):
    """Whoever is told how a probe went."""

    def probed(self, now: float, ok: bool) -> None: ...


class Probe:
    """
    One place to ask: a provider with one key.

    Args:
        name: For the record.
        handler: Asks it for its models, which costs nothing.
        told: The standings that share its fate.
    """

    __slots__ = ("handler", "name", "told")

    def __init__(self, name: str, handler: Handler, told: Sequence[Healthy]) -> None:
        self.name = name
        self.handler = handler
        self.told = tuple(told)


class Prober:
    """
    Probes every so often until it is stopped. One runs in a process, on a thread of its own.

    A probe that answers at all, if only with an error about the request or the key, shows a living upstream.
    """

    def __init__(self, probes: Sequence[Probe], interval_s: float, rng: Random) -> None:
        self.probes = probes  # may be replaced by others between two rounds
        self._interval_s = interval_s
        self._rng = rng
        self._bell: Signal | None = None
        self._stopped = False

    async def run(self, runtime: Runtime) -> None:
        """Until `stop`."""
        while not self._stopped:
            self._bell = bell = runtime.signal()
            pause_s = self._interval_s * self._rng.uniform(1 - SPREAD, 1 + SPREAD)
            if self._stopped or await bell.wait(runtime.now() + pause_s):
                return
            await self.round(runtime)

    async def round(self, runtime: Runtime) -> None:
        """Ask each once."""
        for probe in self.probes:
            if self._stopped:
                return
            now = runtime.now()
            until = now + PROBE_S
            call = Call(Request("models", method="GET"), runtime, probe.name, started=now, deadline=until)
            call.timers = Timers(Clocks(first_token_s=PROBE_S), now, until, stream=False)
            try:
                reply = await probe.handler(call)
                await reply.response()
                ok = True
            except GatewayError as error:
                ok = not (error.blame or error.outcome == "local")
            for standing in probe.told:
                standing.probed(runtime.now(), ok)

    def stop(self) -> None:
        """End it soon; the thread is not waited for."""
        self._stopped = True
        if self._bell is not None:
            self._bell.set()
