"""A configuration through a scenario: calls come, the gateway's own code answers them, hours pass in seconds.

The pipeline is the one that a gateway builds, middleware and all. Only those who wait outside of it are played: the
upstreams, the callers, the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from ..config.settings import CallDefaults, Settings, settings_from
from ..errors import ConfigError, GatewayError
from ..runtime.edge import Door
from ..runtime.virtual import VirtualRuntime
from ..surfaces.imagining import SOME_MODEL, is_open
from ..types.call import Options
from ..types.request import Request
from ..types.wire import dumps
from .arrivals import arrivals
from .ledger import Ledger, Visit
from .report import Report, report
from .scenario import Scenario, Traffic, find_scenario, scenario_from
from .spreads import weighted, zipf
from .stage import Stage
from .upstream import BYTES_PER_TOKEN, FILLER, VISIT

__all__ = ["simulate"]

TOKENS_MAX = 200_000  # of a played prompt or answer; longer ones than any model reads would only cost memory


def simulate(
    config: Mapping[str, Any] | Settings, scenario: Scenario | Mapping[str, Any] | str = "steady", seed: int = 0
) -> Report:
    """
    Play a scenario with a configuration; the same seed gives the same report, on every Python.

    Args:
        config: A mapping as in the YAML file, or `Settings`. Its keys may be missing; nobody is asked.
        scenario: A mapping as in a scenario's file, a `Scenario`, a file, or the name of one that comes with the package.
        seed: Of all chance.

    Raises:
        ConfigError: If the configuration or the scenario cannot be used; with its place.
    """
    settings = config if isinstance(config, Settings) else settings_from(config)
    if isinstance(scenario, str):
        scenario = find_scenario(scenario)
    elif not isinstance(scenario, Scenario):
        scenario = scenario_from(scenario)
    return _Run(settings, scenario, seed).played()


class _Run:
    """One run, from the first call to the end of the last."""

    def __init__(self, settings: Settings, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._seed = seed
        self._runtime = runtime = VirtualRuntime()
        self._ledger = Ledger()
        self._stage = Stage(settings, scenario, seed, self._ledger, runtime.now)
        pipeline = self._stage.pipeline
        defaults = (settings.defaults or CallDefaults()).options()
        self._door = Door(pipeline.open, runtime, runtime, timeout_s=pipeline.timeout_s, defaults=defaults)
        self._left = 0
        self._faults: list[Exception] = []
        for at, traffic in enumerate(scenario.traffic):
            self._left += 1
            callers = _Callers(settings, traffic, f"{seed}/traffic/{at}", self._door.scope(), f"traffic[{at}]")
            moments = arrivals(traffic, scenario.duration, Random(f"{seed}/arrivals/{at}"))
            self._expect(moments.__next__, callers)

    def played(self) -> Report:
        self._stage.pipeline.start(self._runtime)
        self._runtime.run(self._until_over())
        self._stage.pipeline.stop()
        self._runtime.run_until_idle()
        self._stage.pipeline.close()
        if self._faults:
            raise self._faults[0]
        names = list(self._stage.pipeline.candidates)
        return report(self._ledger, self._scenario, self._seed, names, self._runtime.now())

    async def _until_over(self) -> None:
        await self._runtime.sleep(self._scenario.duration)
        while self._left:
            self._bell = self._runtime.signal()
            await self._bell.wait(float("inf"))

    _bell: Any = None

    def _expect(self, next_moment: Callable[[], float], callers: _Callers) -> None:
        """Have the next call of this traffic come when it is time."""
        try:
            moment = next_moment()
        except StopIteration:
            self._gone()
            return

        def come() -> None:
            self._left += 1
            self._runtime.spawn(self._call(callers, moment))
            self._expect(next_moment, callers)

        self._runtime.at(moment, come)

    def _gone(self) -> None:
        self._left -= 1
        if not self._left and self._bell is not None:
            self._bell.set()

    async def _call(self, callers: _Callers, moment: float) -> None:
        visit, request, options = callers.next(moment)
        self._ledger.visits.append(visit)
        runtime = self._runtime
        call = self._door.call(runtime, visit.route, request, options)
        call.trail.notes[VISIT] = visit
        try:
            reply = await self._door.open(call)
            visit.cached = reply.cached
            if request.stream:
                visit.first_s = runtime.now() - moment
                while await reply.read():
                    pass
            else:
                await reply.response()
            visit.outcome = "ok"
        except GatewayError as error:
            visit.outcome = error.kind
        except Exception as error:
            # A bug of somebody's; it ends the simulation, and not only a task that nobody asks for its result.
            self._faults.append(error)
        finally:
            visit.took_s = runtime.now() - moment
            self._gone()


class _Callers:
    """Who makes the calls of one traffic, and what they ask."""

    def __init__(self, settings: Settings, traffic: Traffic, seed: str, options: Options, path: str) -> None:
        self._rng = Random(seed)
        self._seed = seed
        self._prompt = traffic.prompt_tokens.draw()
        self._wanted = traffic.output_tokens.draw()
        self._streamed = traffic.streamed
        routes = traffic.routes or dict.fromkeys(_routes(settings), 1.0)
        if not routes:
            raise ConfigError("the configuration has no routes; name a `provider/model` here", path=f"{path}.routes")
        self._route = weighted(routes)
        tenants = traffic.tenants or {options.tenant: 1.0}
        self._tenant = weighted(tenants)
        timeout_s = options.timeout_s if traffic.timeout is None else traffic.timeout
        self._options = {name: replace(options, tenant=name, timeout_s=timeout_s) for name in tenants}
        questions = traffic.questions
        self._question = None if questions is None else zipf(questions.distinct, questions.zipf)
        self._known: dict[int, tuple[dict[str, Any], bytes, int, int]] = {}
        self._asked = 0

    def next(self, moment: float) -> tuple[Visit, Request, Options]:
        """The next call."""
        rng = self._rng
        route, tenant, streamed = self._route(rng), self._tenant(rng), rng.random() < self._streamed
        if self._question is None:
            self._asked += 1
            body, encoded, prompt, wanted = self._said(self._asked, rng)
        else:
            rank = self._question(rng)
            known = self._known.get(rank)
            if known is None:
                # The same question has the same length, whoever asks it first.
                known = self._known[rank] = self._said(rank, Random(f"{self._seed}/{rank}"))
            body, encoded, prompt, wanted = known
        visit = Visit(moment, route, tenant, streamed, prompt, wanted)
        return visit, Request("chat", "", body, streamed, encoded), self._options[tenant]

    def _said(self, number: int, rng: Random) -> tuple[dict[str, Any], bytes, int, int]:
        prompt, wanted = (max(1, min(round(draw(rng)), TOKENS_MAX)) for draw in (self._prompt, self._wanted))
        text = f"Question {number} of {self._seed}: {FILLER[: prompt * BYTES_PER_TOKEN]}"
        body = {"messages": [{"role": "user", "content": text}]}
        return body, dumps(body), prompt, wanted


def _routes(settings: Settings) -> list[str]:
    """The routes as callers name them."""
    return [f"{name}/{SOME_MODEL}" if is_open(route) else name for name, route in settings.routes.items()]
