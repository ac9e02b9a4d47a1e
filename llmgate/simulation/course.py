"""How a deployment behaves at each moment of a scenario: what was said about it, put in order of time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate

from ..config.explaining import suggestion
from ..errors import ConfigError
from .scenario import USUAL, Behaviour, Event, Scenario, ServerLimit
from .spreads import Draw

__all__ = ["Condition", "Course", "Places"]

FIRST, SECOND, OTHERS, REGION = "first", "second", "others", "region:"


class Places:
    """
    What the words of `where` mean to one configuration.

    Args:
        providers: Their names and regions, in the order in which the routes name them.
    """

    def __init__(self, providers: Sequence[tuple[str, str]]) -> None:
        self._regions = dict(providers)
        self._order = [name for name, _ in providers]

    def check(self, scenario: Scenario, deployments: Iterable[str]) -> None:
        """
        See that everybody is there to whom something happens.

        Args:
            deployments: Those of the routes, as `provider/model`.

        Raises:
            ConfigError: If a word means nobody.
        """
        names = list(deployments)
        said = [(f"upstreams.{word}", word) for word in scenario.upstreams]
        said += [(f"events[{at}].where", word) for at, event in enumerate(scenario.events) for word in event.where]
        for path, word in said:
            if word in (SECOND, OTHERS) and len(self._order) == 1:
                continue  # a scenario for any configuration; with one provider nothing of this happens
            if not any(self.means(word, name, f"{name}/") for name in self._order) and not any(
                self.means(word, name.partition("/")[0], name) for name in names
            ):
                known = [*self._order, *names, *(f"{REGION}{region}" for region in self._regions.values() if region)]
                raise ConfigError(f'"{word}" means nobody here; {suggestion(word, known)}', path=path)

    def means(self, word: str, provider: str, deployment: str) -> bool:
        """Whether a word of `where` means this deployment."""
        if word in (provider, deployment):
            return True
        if word.startswith(REGION):
            return self._in_region(word.removeprefix(REGION), provider)
        place = {FIRST: 0, SECOND: 1}.get(word)
        if place is not None and word not in self._regions:
            return self._order[place : place + 1] == [provider]
        if word == OTHERS and word not in self._regions:
            return self._order[:1] != [provider]
        return fnmatchcase(deployment, word) or fnmatchcase(provider, word)

    def _in_region(self, region: str, provider: str) -> bool:
        own = self._regions.get(provider, "")
        if region == FIRST:
            first = self._order[0]
            region = self._regions[first]
            if not region:
                return provider == first  # nobody says where anybody is; then it stands alone
        return own == region or own.startswith(f"{region}-")


class Condition:
    """A behaviour with everything said, ready to be drawn from."""

    __slots__ = (
        "_bounds", "_kinds", "down", "error_time", "first_token", "latency", "limit", "pace", "price", "retry_after_s",
    )  # fmt: skip

    def __init__(self, said: Behaviour) -> None:
        slower = said.slower or 1.0
        assert said.first_token is not None and said.tokens_per_second is not None and said.error_time is not None
        self.first_token = _slower(said.first_token.draw(), slower)
        self.pace = _slower(said.tokens_per_second.draw(), 1 / slower)
        self.latency = None if said.latency is None else _slower(said.latency.draw(), slower)
        self.error_time = said.error_time.draw()
        self.retry_after_s = said.retry_after
        self.limit: ServerLimit | None = said.limit
        self.down = bool(said.down)
        self.price = 1.0 if said.price is None else said.price
        errors = said.errors or {}
        self._kinds = list(errors)
        self._bounds = list(accumulate(errors.values()))

    def failure(self, chance: float) -> str:
        """The kind of error that this chance, 0 to 1, brings; empty if it brings an answer."""
        at = bisect_right(self._bounds, chance)
        return self._kinds[at] if at < len(self._kinds) else ""


def _slower(draw: Draw, times: float) -> Draw:
    return draw if times == 1.0 else lambda rng: draw(rng) * times


class Course:
    """
    The conditions of one deployment, one after the other.

    Args:
        scenario: Tells what happens.
        means: Whether a word of `where` means this deployment.
    """

    def __init__(self, scenario: Scenario, means: Callable[[str], bool]) -> None:
        usual = USUAL
        for word, said in scenario.upstreams.items():
            if means(word):
                usual = _merged(usual, said)
        here = [event for event in scenario.events if any(means(word) for word in event.where)]
        windows = [(event, list(_windows(event, scenario.duration))) for event in here]
        starts = {0.0: None} | {moment: None for _, spans in windows for span in spans for moment in span}
        self._starts = sorted(moment for moment in starts if moment < math.inf)
        known: dict[tuple[int, ...], Condition] = {}
        self._conditions: list[Condition] = []
        for moment in self._starts:
            held = tuple(at for at, (_, spans) in enumerate(windows) if _holds(spans, moment))
            if held not in known:
                behaviour = usual
                for at in held:
                    behaviour = _merged(behaviour, here[at])
                known[held] = Condition(behaviour)
            self._conditions.append(known[held])
        self._falls = [
            moment
            for before, moment, condition in zip(
                [None, *self._conditions], self._starts, self._conditions, strict=False
            )
            if condition.down and not (before is not None and before.down)
        ]

    def at(self, now: float) -> Condition:
        """What holds at this moment."""
        if len(self._starts) == 1:
            return self._conditions[0]
        return self._conditions[bisect_right(self._starts, now) - 1]

    def falls_after(self, now: float) -> float:
        """When it goes down next, infinity if it does not."""
        falls = self._falls
        if not falls:
            return math.inf
        at = bisect_right(falls, now)
        return falls[at] if at < len(falls) else math.inf


def _merged(base: Behaviour, said: Behaviour) -> Behaviour:
    own = {name: value for name in Behaviour.model_fields if (value := getattr(said, name)) is not None}
    return base.model_copy(update=own)


def _windows(event: Event, duration_s: float) -> Iterator[tuple[float, float]]:
    """From when to when it holds, each time."""
    lasts = math.inf if event.for_ is None else event.for_
    yield event.at, event.at + lasts
    if event.every is not None:
        times = 1
        while (start := event.at + times * event.every) < duration_s:
            yield start, start + lasts
            times += 1


def _holds(spans: Sequence[tuple[float, float]], moment: float) -> bool:
    at = bisect_right(spans, (moment, math.inf)) - 1
    return at >= 0 and spans[at][0] <= moment < spans[at][1]
