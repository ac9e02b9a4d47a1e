"""Laws of the sliding windows: no stretch of time ever holds more than the limit."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmgate.policies.limiter import Limit
from llmgate.policies.queue import GRANTED, QUEUED, REFUSED, SETTLED, Ticket, ring
from llmgate.policies.window import GRAINS, SlidingWindow, Window

LIMIT = {"requests": 6.0, "tokens": 100.0}
PER_S = {"requests": 8.0, "tokens": 16.0}
MAX_QUEUE = 6


@dataclass(eq=False)
class Charge:
    """Units that count from one moment on; `grant` if somebody was let in with them."""

    at: float
    units: dict[str, float]
    grant: bool


@dataclass(eq=False)
class Waiter:
    """A caller with its ticket, asleep until it is rung or until the time it believes in."""

    ticket: Ticket
    amounts: dict[str, float]
    believes: float
    alive: bool = True
    waiting: bool = True
    charge: Charge | None = None


class Windows(RuleBasedStateMachine):
    """Two windows of different lengths, three tenants, and a clock that stops wherever a waiter wakes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waiters: list[Waiter] = []
        self.charges: list[Charge] = []
        limits = [Limit(name, LIMIT[name], PER_S[name]) for name in LIMIT]
        self.limiter = SlidingWindow(limits, max_wait_s=40.0, max_queue=MAX_QUEUE)

    @rule(
        tenant=st.sampled_from(["", "", "a", "b"]),
        requests=st.integers(0, 3),
        units=st.integers(0, 120),
        wait=st.sampled_from([True, True, False]),
    )
    def submit(self, tenant: str, requests: int, units: int, wait: bool) -> None:
        amounts = {"requests": float(requests), "tokens": float(units)}
        free = not self.queued()
        surely = all(self.fits(name, units, 1 + 1 / GRAINS) for name, units in amounts.items())
        ticket = self.limiter.submit(self.now, amounts, tenant=tenant, wait=wait)
        waiter = Waiter(ticket, amounts, ticket.eta)
        ticket.wake = lambda: self.hear(waiter)
        self.waiters.append(waiter)
        assert not (free and surely) or ticket.state is GRANTED, "a grain too long at the most"
        assert wait or ticket.state in (GRANTED, REFUSED)
        self.observe()

    @rule(seconds=(st.integers(0, 64) | st.integers(0, 400)).map(lambda parts: parts / 32))
    def sleep(self, seconds: float) -> None:
        """Time passes; whoever wakes on the way pumps."""
        until = self.now + seconds
        while sleepers := [each for each in self.queued() if each.alive and each.believes <= until]:
            first = min(sleepers, key=lambda each: each.believes)
            self.now = first.believes
            ring(self.limiter, self.now, self.limiter.pump(self.now))
            assert first.ticket.state is not QUEUED or first.ticket.eta > self.now
            first.believes = first.ticket.eta
            self.observe()
        self.now = until

    @rule(which=st.integers(0, 1000), requests=st.integers(0, 3), units=st.integers(0, 140))
    def settle(self, which: int, requests: int, units: int) -> None:
        waiter = self.pick(which)
        if waiter is None:
            return
        was = waiter.ticket.state
        actual = {"requests": float(requests), "tokens": float(units)}
        rung = self.limiter.settle(self.now, waiter.ticket, actual)
        self.correct(waiter, was, actual)
        ring(self.limiter, self.now, rung)
        self.observe()

    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        waiter = self.pick(which)
        if waiter is None:
            return
        was = waiter.ticket.state
        rung = self.limiter.cancel(self.now, waiter.ticket)
        waiter.waiting = waiter.waiting and was is not QUEUED
        self.correct(waiter, was, dict.fromkeys(LIMIT, 0.0))
        ring(self.limiter, self.now, rung)
        self.observe()

    @rule(which=st.integers(0, 1000))
    def lose_the_loop(self, which: int) -> None:
        """The waiter's event loop is closed: it hears no bell and wakes no more."""
        if waiter := self.pick(which):
            waiter.alive = False

    @invariant()
    def no_stretch_holds_more_than_the_limit(self) -> None:
        """
        Whenever somebody is let in, the stretch that ends there holds no more than the limit; unless it alone wants
        more, then nothing else.
        """
        for name, limit in LIMIT.items():
            for end, last in enumerate(self.charges):
                if last.grant:
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

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.queued()) == self.limiter.waiting <= MAX_QUEUE

    def teardown(self) -> None:
        for waiter in self.waiters:
            ring(self.limiter, self.now, self.limiter.cancel(self.now, waiter.ticket))
        assert self.limiter.idle(self.now + max(PER_S.values()))

    def hear(self, waiter: Waiter) -> bool:
        waiter.believes = waiter.ticket.eta
        return waiter.alive

    def queued(self) -> list[Waiter]:
        return [each for each in self.waiters if each.ticket.state is QUEUED]

    def pick(self, which: int) -> Waiter | None:
        return self.waiters[which % len(self.waiters)] if self.waiters else None

    def observe(self) -> None:
        changed = [each for each in self.waiters if each.waiting and each.ticket.state is not QUEUED]
        for waiter in sorted(changed, key=lambda each: each.ticket.number):
            ticket = waiter.ticket
            if ticket.number:
                first = next(each for each in self.waiters if each.waiting and each.ticket.tenant == ticket.tenant)
                assert first is waiter, "inside a tenant it is first come, first served"
                lost = ticket.state is SETTLED
                waiter.charge = Charge(self.now, dict.fromkeys(LIMIT, 0.0) if lost else dict(waiter.amounts), True)
                self.charges.append(waiter.charge)
            waiter.waiting = False

    def correct(self, waiter: Waiter, was: object, actual: dict[str, float]) -> None:
        if was is not GRANTED or waiter.charge is None:
            return
        taken = waiter.charge.units
        beyond = {name: max(0.0, used - taken[name]) for name, used in actual.items()}
        taken.update({name: min(taken[name], used) for name, used in actual.items()})
        if any(beyond.values()):
            self.charges.append(Charge(self.now, beyond, False))

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
