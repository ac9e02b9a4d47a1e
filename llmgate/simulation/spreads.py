"""How long and how much: spreads of durations and counts, as data and as draws.

A draw takes one number from the generator and goes through the inverse of the distribution. Python promises that
`random()` gives the same numbers for the same seed in every version, and of its other methods it does not.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from random import Random
from statistics import NormalDist
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..types.units import Duration

__all__ = ["Amount", "Draw", "Durations", "chosen", "weighted", "zipf"]

T = TypeVar("T", bound=float)

Draw = Callable[[Random], float]
"""Draws one value."""

NORMAL = NormalDist()
Z99 = NORMAL.inv_cdf(0.99)
SMALLEST = 2.0**-54  # half of the smallest step of `random()`; stands for its 0.0, whose normal value is infinite


class _Spread(BaseModel, Generic[T]):
    """
    One of four: a number, `{p50, p99}` (lognormal), `{low, high}` (uniform), or `{values: [...]}` (each as likely as
    the others, so a list that was measured is its own distribution).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    p50: T | None = Field(default=None, description="half of them are smaller; goes with `p99`")
    p99: T | None = Field(default=None, description="99 of 100 are smaller; between them it is a lognormal spread")
    low: T | None = Field(default=None, description="the smallest; goes with `high`")
    high: T | None = Field(default=None, description="the largest; between them all are as likely")
    values: tuple[T, ...] | None = Field(default=None, min_length=1, description="measured ones; each as likely")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, (Mapping, BaseModel)):
            return value
        return {"values": value if isinstance(value, (list, tuple)) else (value,)}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        said = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if said not in ({"p50", "p99"}, {"low", "high"}, {"values"}):
            raise ValueError("a spread is one value, p50 and p99, low and high, or values")
        small, large = (self.p50, self.p99) if self.p50 is not None else (self.low, self.high)
        if small is not None and large is not None and not small <= large:
            raise ValueError(f"{small:g} is more than {large:g}; the smaller one comes first")
        if self.p50 is not None and not self.p50 > 0:
            raise ValueError("the p50 of a lognormal spread is more than 0")
        return self

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> Any:
        written = {name: value for name, value in handler(self).items() if value is not None}
        values = written.get("values")
        return values[0] if values is not None and len(values) == 1 else written

    def __str__(self) -> str:
        """As it is written in a file."""
        if self.values is not None:
            return f"[{', '.join(f'{value:g}' for value in self.values)}]"
        said = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return f"{{{', '.join(f'{name}: {value:g}' for name, value in said.items())}}}"

    def draw(self) -> Draw:
        """What draws from it."""
        p50, p99, low, high = self.p50, self.p99, self.low, self.high
        if p50 is not None and p99 is not None:
            return _lognormal(p50, p99)
        if low is not None and high is not None:
            return _uniform(low, high)
        assert self.values is not None
        return _listed(self.values)


class Durations(_Spread[Duration]):
    """A spread of seconds: `800ms`, `{p50: 800ms, p99: 6s}`, `{low: 1s, high: 2s}`, `[0.7, 0.9, 4]`."""


class Amount(_Spread[float]):
    """A spread of numbers: `300`, `{p50: 300, p99: 4000}`, `{low: 10, high: 20}`, `[100, 120, 900]`."""


def _lognormal(p50: float, p99: float) -> Draw:
    width = math.log(p99 / p50) / Z99
    exp, normal = math.exp, NORMAL.inv_cdf

    def draw(rng: Random) -> float:
        return p50 * exp(width * normal(rng.random() or SMALLEST)) if width else p50

    return draw


def _uniform(low: float, high: float) -> Draw:
    return lambda rng: low + (high - low) * rng.random()


def _listed(values: Sequence[float]) -> Draw:
    if len(values) == 1:
        only = values[0]
        return lambda rng: only
    count = len(values)
    return lambda rng: values[int(rng.random() * count)]


def chosen(bounds: Sequence[float], share: float) -> int:
    """The place in cumulated weights at which this share of their sum falls."""
    return min(bisect_left(bounds, share * bounds[-1]), len(bounds) - 1)


def weighted(weights: Mapping[str, float]) -> Callable[[Random], str]:
    """Draws a name by its weight."""
    names, bounds = list(weights), list(accumulate(weights.values()))
    if len(names) == 1:
        only = names[0]
        return lambda rng: only
    return lambda rng: names[chosen(bounds, rng.random())]


def zipf(distinct: int, exponent: float) -> Callable[[Random], int]:
    """Draws a rank from 0: the n-th is asked for `n ** -exponent` as often as the first (Zipf's law)."""
    bounds = list(accumulate((rank + 1) ** -exponent for rank in range(distinct)))
    return lambda rng: chosen(bounds, rng.random())
