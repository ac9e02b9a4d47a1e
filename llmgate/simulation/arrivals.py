"""When calls come: the rate as a function of time, and moments drawn from it.

Moments are thinned out of a steady stream at the highest rate (Lewis and Shedler, 1979): by chance, which makes a
Poisson process with that rate, or by a sum that runs over, which spaces them evenly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from .scenario import Traffic

__all__ = ["arrivals", "rate_at"]


def rate_at(traffic: Traffic, duration_s: float, now: float) -> float:
    """Calls a second at this moment of a run that lasts so long."""
    rate = traffic.rate.per_second
    ramp, bursts, day = traffic.ramp, traffic.bursts, traffic.day
    if ramp is not None:
        over_s = ramp.over if ramp.over is not None else max(duration_s - ramp.start, 0.0)
        share = 1.0 if over_s <= 0 else min(max((now - ramp.start) / over_s, 0.0), 1.0)
        rate += (ramp.to.per_second - rate) * share
    if bursts is not None and now % bursts.every < bursts.for_:
        rate *= bursts.times
    if day is not None:
        height = (1 + math.cos(2 * math.pi * (now - day.peak) / day.period)) / 2
        rate *= day.low + (1 - day.low) * height
    return rate


def arrivals(traffic: Traffic, duration_s: float, rng: Random) -> Iterator[float]:
    """The moments at which calls come, in order, all before the end."""
    highest = traffic.highest()
    by_chance = traffic.arrivals == "poisson"
    changes = traffic.ramp is not None or traffic.bursts is not None or traffic.day is not None
    random, log = rng.random, math.log
    now, steps, due = 0.0, 0, 0.0
    while True:
        if by_chance:
            now -= log(1.0 - random()) / highest
        else:
            steps += 1
            now = steps / highest  # and not a sum of steps, which would drift
        if now >= duration_s:
            return
        share = rate_at(traffic, duration_s, now) / highest if changes else 1.0
        if by_chance:
            if share >= 1.0 or random() < share:
                yield now
            continue
        due += share
        if due >= 1.0:
            due -= 1.0
            yield now
