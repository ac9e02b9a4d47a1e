"""Laws of the sliding windows: no stretch of time ever holds more than the limit."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import invariant, rule

from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED
from llmgate.policies.window import GRAINS, SlidingWindow, Window

from .crowds import MAX_QUEUE, Crowd

LIMIT = {"requests": 6.0, "tokens": 100.0}
PER_S = {"requests": 8.0, "tokens": 16.0}


class Windows(Crowd):
    """Two windows of different lengths."""

    def __init__(self) -> None:
        limits = [Limit(name, LIMIT[name], PER_S[name]) for name in LIMIT]
        super().__init__(SlidingWindow(limits, max_wait_s=40.0, max_queue=MAX_QUEUE))

    @rule(
        tenant=st.sampled_from(["", "", "a", "b"]),
        requests=st.integers(0, 3),
        units=st.integers(0, 120),
        wait=st.sampled_from([True, True, False]),
    )
    def submit(self, tenant: str, requests: int, units: int, wait: bool) -> None:
        free = not self.queued()
        surely = self.fits("requests", requests, 1 + 1 / GRAINS) and self.fits("tokens", units, 1 + 1 / GRAINS)
        waiter = self.come(requests, units, tenant, wait)
        assert not (free and surely) or waiter.ticket.state is GRANTED, "a grain too long at the most"
        self.observe(by_itself=waiter)

    @invariant()
    def no_stretch_holds_more_than_the_limit(self) -> None:
        """
        Whenever somebody is let in, the stretch that ends there holds no more than the limit; unless it alone wants
        more, then nothing else.
        """
        for name, limit in LIMIT.items():
            for end, last in enumerate(self.charges):
                if last.wanted is not None:
                    stretch = [each for each in self.charges[: end + 1] if each.at + PER_S[name] > last.at]
                    others = sum(each.units.get(name, 0.0) for each in stretch if each is not last)
                    assert others + last.units[name] <= limit or others == 0.0

    @invariant()
    def the_next_one_does_not_oversleep(self) -> None:
        head = self.limiter._queue.head()
        for waiter in self.queued():
            if waiter.ticket is head and waiter.alive:
                assert self.now < waiter.believes <= waiter.ticket.eta + 1e-5
                # In the stretch that ends there it fits, were every entry as old as its youngest grant.
                assert waiter.ticket.eta <= self.now + max(PER_S.values())

    def fits(self, name: str, units: float, stretched: float) -> bool:
        """Whether there is room even if everything counts so much longer."""
        used = sum(each.units.get(name, 0.0) for each in self.charges if each.at + PER_S[name] * stretched > self.now)
        return used + units <= LIMIT[name] or used == 0.0


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "take", "settle"]), st.integers(0, 100), st.integers(0, 20)), max_size=60
    )
)
def test_what_counts_is_what_was_used_in_the_last_window(steps: list[tuple[str, int, int]]) -> None:
    """
    After any corrections of any grants, in any order, there is never more room than the units of the last window
    leave, and never less than those of a window longer by one grain.
    """
    window = Window("tokens", 100.0, 60.0)
    charges: list[list[float]] = []
    open_grants: list[tuple[int, list[float]]] = []
    now, number = 0.0, 0
    for what, tenths, units in steps:
        now += tenths / 10
        window.room(now)
        if what == "take":
            number += 1
            charges.append([now, float(units)])
            open_grants.append((number, charges[-1]))
            window.take(now, number, float(units))
        elif open_grants:
            grant, charge = open_grants.pop(units % len(open_grants))
            taken, used = charge[1], float(units)
            window.settle(now, grant, taken, used)
            charge[1] = min(taken, used)
            charges.append([now, max(0.0, used - taken)])

        exact, longer = (100.0 - sum(used for at, used in charges if at + length > now) for length in (60.0, 61.0))
        assert longer - 1e-6 <= window.room(now) <= exact + 1e-6
