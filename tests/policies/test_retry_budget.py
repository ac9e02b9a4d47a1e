"""How many retries may be in the air."""

from __future__ import annotations

import threading
import time

import pytest

from llmgate.policies.retry_budget import RetryBudget


def taken(budget: RetryBudget) -> int:
    """How many permits it gives before it says no."""
    count = 0
    while budget.take():
        count += 1
    return count


@pytest.mark.parametrize(("calls", "retries"), [(0, 3), (1, 3), (15, 3), (16, 4), (20, 4), (21, 5), (35, 7), (100, 20)])
def test_a_fifth_of_the_calls_or_three(calls, retries):
    """
    Retries stop where they are a fifth of the calls in the air, to the very one; three may always be.
    """
    budget = RetryBudget()
    for _ in range(calls):
        budget.enter()

    assert retries == taken(budget)


def test_shares_are_exact():
    """
    Seven of a hundred are seven, although 0.07 * 100 is more in floats.
    """
    budget = RetryBudget(ratio=0.07)
    for _ in range(100):
        budget.enter()

    assert 7 == taken(budget)


def test_what_is_given_back_can_be_taken_again():
    """
    A permit that was given back is free, and calls that are over carry no retries any more.
    """
    budget = RetryBudget(ratio=0.5, minimum=0)
    assert not budget.take()
    budget.enter()
    budget.enter()

    assert 1 == taken(budget)
    budget.give_back()
    assert 1 == taken(budget)
    budget.give_back()
    budget.leave()
    budget.leave()
    assert not budget.take()


class Interrupted(RetryBudget):
    """Lets another thread in wherever a number is read, which is where a missing lock would hurt."""

    def __init__(self, ratio: float, minimum: int) -> None:
        self.numbers: dict[str, int] = {}
        super().__init__(ratio, minimum)

    def read(self, name: str) -> int:
        value = self.numbers[name]
        time.sleep(0)
        return value

    in_flight = property(lambda self: self.read("in_flight"), lambda self, value: self.numbers.update(in_flight=value))
    retries = property(lambda self: self.read("retries"), lambda self, value: self.numbers.update(retries=value))


def test_threads_never_take_more_than_there_is():
    """
    With eight threads taking and giving back, the retries in the air never pass the limit, and all come back.
    """
    budget = Interrupted(ratio=0.2, minimum=2)
    held: list[None] = []
    highest: list[int] = []

    def work() -> None:
        for _ in range(200):
            budget.enter()
            if budget.take():
                held.append(None)
                highest.append(len(held))
                held.pop()
                budget.give_back()
            budget.leave()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(highest) <= 2  # eight calls at once carry max(2, 1.6) retries
    assert {"in_flight": 0, "retries": 0} == budget.numbers


@pytest.mark.parametrize("options", [{"ratio": -0.1}, {"ratio": 1.1}, {"ratio": float("nan")}, {"minimum": -1}])
def test_impossible_options_are_refused(options):
    """
    A share that is none is refused.
    """
    with pytest.raises(ValueError, match=r"ratio|minimum"):
        RetryBudget(**options)


def test_repr():
    """
    A budget says how full it is.
    """
    budget = RetryBudget()
    budget.enter()
    budget.take()

    assert "<RetryBudget calls in the air: 1, retries: 1>" == repr(budget)
