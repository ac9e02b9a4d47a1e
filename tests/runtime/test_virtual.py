"""Time that moves only when everybody waits, exactly and the same way every time."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.errors import RateLimited
from llmgate.runtime.virtual import VirtualRuntime, VirtualTask
from llmgate.types.wire import WireRequest


class Diary:
    """Tasks write down what they do and when."""

    def __init__(self, seed: int | None = None) -> None:
        self.runtime = VirtualRuntime(seed)
        self.entries: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        self.entries.append((what, self.runtime.now()))

    async def naps(self, name: str, *seconds: float) -> str:
        """Sleep a few times, and write down each awakening."""
        try:
            for nap in seconds:
                await self.runtime.sleep(nap)
                self.note(name)
        except asyncio.CancelledError:
            self.note(f"{name} cancelled")
            raise
        return name

    def start(self, name: str, *seconds: float) -> VirtualTask:
        return self.runtime.spawn(self.naps(name, *seconds))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.entries]


@pytest.fixture
def diary() -> Diary:
    return Diary()


class TestTime:
    """The clock."""

    def test_moves_only_when_everybody_waits(self, diary: Diary) -> None:
        """
        Days pass at once, exactly, and every sleep is written down.
        """
        diary.start("b", 2.0, 2.0)

        assert "a" == diary.runtime.run(diary.naps("a", 0.1, 86_400.0, 0.2))
        assert [("a", 0.1), ("b", 2.0), ("b", 4.0), ("a", 86_400.1), ("a", 86_400.1 + 0.2)] == diary.entries
        assert [2.0, 0.1, 86_400.0, 2.0, 0.2] == diary.runtime.slept

    def test_a_sleep_of_nothing_lets_the_others_go_on(self, diary: Diary) -> None:
        """
        Zero and negative sleeps take no time, and still everybody who can go on goes on first.
        """
        diary.start("a", 0.0, -5.0)
        diary.start("b", 0.0)
        diary.runtime.run_until_idle()

        assert [("a", 0.0), ("b", 0.0), ("a", 0.0)] == diary.entries

    @given(st.lists(st.floats(0, 100), max_size=8))
    def test_timers_ring_in_order(self, times: list[float]) -> None:
        """
        Timers ring by their time, those of one instant in the order in which they were set, and time never goes back.
        """
        runtime = VirtualRuntime()
        rung: list[tuple[float, int, float]] = []
        for number, when in enumerate(times):
            runtime.at(when, lambda when=when, number=number: rung.append((when, number, runtime.now())))
        runtime.run_until_idle()

        assert [(when, number, when) for when, number in sorted(zip(times, itertools.count()))] == rung

    def test_a_timer_in_the_past_rings_now(self, diary: Diary) -> None:
        """
        What should have happened earlier happens at once; the clock does not go back.
        """
        diary.runtime.run(diary.naps("a", 10.0))
        diary.runtime.at(3.0, lambda: diary.note("late"))
        diary.runtime.run_until_idle()

        assert ("late", 10.0) == diary.entries[-1]

    def test_a_cancelled_timer_does_not_move_the_clock(self, diary: Diary) -> None:
        """
        Time does not go where nobody waits: not to a cancelled timer, to a bell that rang, or to a scope that was left.
        """
        runtime = diary.runtime
        timer = runtime.at(50.0, lambda: diary.note("never"))
        bell = runtime.signal()

        async def work() -> None:
            await runtime.within(70.0, bell.wait(60.0))

        runtime.spawn(work())
        runtime.at(1.0, bell.set)
        runtime.at(2.0, timer.cancel)
        runtime.run_until_idle()

        assert [] == diary.entries
        assert 2.0 == runtime.now()

    def test_step_by_step(self, diary: Diary) -> None:
        """
        `step` lets one task go on or one timer ring, and says when there is nothing left.
        """
        diary.start("a", 1.0)
        found = []
        while diary.runtime.step():
            found.append(diary.runtime.now())

        assert [0.0, 1.0, 1.0] == found
        assert not diary.runtime.step()


class TestOrder:
    """Who goes on first."""

    def test_in_the_order_in_which_they_could_go_on(self, diary: Diary) -> None:
        """
        Without a seed tasks run in the order in which they became runnable.
        """
        for name in "abcd":
            diary.start(name, 1.0, 1.0)
        diary.runtime.run_until_idle()

        assert [*"abcdabcd"] == diary.names

    @given(st.integers())
    @settings(max_examples=30)
    def test_a_seed_decides_it_once_and_for_all(self, seed: int) -> None:
        """
        The same seed gives the same run, with the same times.
        """
        runs = []
        for _ in range(2):
            diary = Diary(seed)
            for name in "abcde":
                diary.start(name, 1.0, 0.5)
            diary.runtime.run_until_idle()
            runs.append(diary.entries)

        assert runs[0] == runs[1]
        assert [1.0] * 5 + [1.5] * 5 == [when for _, when in runs[0]]

    def test_seeds_find_other_orders(self) -> None:
        """
        Different seeds lead to different runs: of three tasks, to every order there is.
        """
        orders = set()
        for seed in range(200):
            diary = Diary(seed)
            for name in "abc":
                diary.start(name, 1.0)
            diary.runtime.run_until_idle()
            orders.add(tuple(diary.names))

        assert set(itertools.permutations("abc")) == orders


class TestTasks:
    """`run`, `spawn`, `detached`, `detach`."""

    def test_run_ends_with_its_work(self, diary: Diary) -> None:
        """
        `run` returns what its work returns, and leaves the others where they are.
        """
        beside = diary.start("beside", 1.0, 10.0)

        assert "main" == diary.runtime.run(diary.naps("main", 5.0))
        assert not beside.done
        diary.runtime.run_until_idle()
        assert beside.done
        assert 11.0 == diary.runtime.now()

    def test_run_raises_what_its_work_raises(self, diary: Diary) -> None:
        """
        An error is the caller's.
        """

        async def failing() -> None:
            await diary.runtime.sleep(1.0)
            raise RateLimited("slow")

        with pytest.raises(RateLimited):
            diary.runtime.run(failing())

    def test_a_deadlock_is_an_error(self, diary: Diary) -> None:
        """
        When everybody waits and nobody will ever be woken, that is said, and not waited for.
        """
        bell = diary.runtime.signal()
        with pytest.raises(RuntimeError, match="deadlock"):
            diary.runtime.run(bell.wait(math.inf))
        with pytest.raises(RuntimeError, match="deadlock"):
            diary.runtime.run(diary.runtime.sleep(math.inf))

    def test_a_task_has_no_result_before_its_end(self, diary: Diary) -> None:
        """
        Asking a running task for its result is an error, not None.
        """
        task = diary.start("a", 1.0)
        with pytest.raises(RuntimeError, match="not ended"):
            task.result()
        diary.runtime.run_until_idle()

        assert "a" == task.result()

    def test_waiting_for_a_task(self, diary: Diary) -> None:
        """
        Any number may wait for a task, whether it returns, fails or has ended long ago; its error is not theirs.
        """

        async def failing() -> None:
            await diary.runtime.sleep(2.0)
            raise ValueError("bug")

        task = diary.runtime.spawn(failing())

        async def waiting(name: str, after_s: float) -> None:
            await diary.runtime.sleep(after_s)
            await task.wait()
            diary.note(name)

        for name, after_s in (("a", 0.0), ("b", 1.0), ("late", 9.0)):
            diary.runtime.spawn(waiting(name, after_s))
        diary.runtime.run_until_idle()

        assert [("a", 2.0), ("b", 2.0), ("late", 9.0)] == diary.entries
        with pytest.raises(ValueError, match="bug"):
            task.result()

    def test_detached_work_outlives_its_caller(self, diary: Diary) -> None:
        """
        Cancelling whoever waits for detached work does not cancel the work; uncancelled, its result comes back.
        """
        runtime = diary.runtime
        caller = runtime.spawn(runtime.detached(diary.naps("work", 1.0, 1.0)))
        runtime.at(1.5, caller.cancel)
        runtime.run_until_idle()

        assert [("work", 1.0), ("work", 2.0)] == diary.entries
        with pytest.raises(asyncio.CancelledError):
            caller.result()
        assert "again" == runtime.run(runtime.detached(diary.naps("again", 1.0)))

    def test_detached_work_fails_its_caller(self, diary: Diary) -> None:
        """
        What detached work raises is raised where it is awaited.
        """

        async def failing() -> None:
            raise ValueError("bug")

        with pytest.raises(ValueError, match="bug"):
            diary.runtime.run(diary.runtime.detached(failing()))

    @pytest.mark.parametrize("way", ["returns", "fails", "cancelled", "cancelled before its first step"])
    def test_over_is_called_once(self, diary: Diary, way: str) -> None:
        """
        `detach` tells when the work has ended, however it did, also if no line of it ran.
        """
        runtime = diary.runtime
        over: list[object] = []

        async def work() -> None:
            await runtime.sleep(1.0)
            if way == "fails":
                raise ValueError("bug")

        task = runtime.detach(work(), over.append)
        if way == "cancelled":
            runtime.at(0.5, task.cancel)
        elif way == "cancelled before its first step":
            task.cancel()
        runtime.run_until_idle()

        assert 1 == len(over)
        assert task.done

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
    def test_an_interrupt_is_not_kept_in_a_task(self, diary: Diary, error: BaseException) -> None:
        """
        Control-C in a task that nobody waits for ends the run, as on a real event loop.
        """

        async def interrupted() -> None:
            await diary.runtime.sleep(1.0)
            raise error

        task = diary.runtime.spawn(interrupted())
        with pytest.raises(type(error)) as caught:
            diary.runtime.run(diary.naps("main", 5.0))

        assert error is caught.value
        assert task.done
        assert 1.0 == diary.runtime.now()


class TestCancel:
    """`VirtualTask.cancel`."""

    def test_blocked(self, diary: Diary) -> None:
        """
        A task that waits for something is cancelled where it waits.
        """
        task = diary.start("a", 5.0)
        diary.runtime.at(2.0, task.cancel)
        diary.runtime.run_until_idle()

        assert [("a cancelled", 2.0)] == diary.entries
        with pytest.raises(asyncio.CancelledError):
            task.result()

    def test_already_runnable(self, diary: Diary) -> None:
        """
        A task whose bell has rung, but which has not run since, can be cancelled all the same: it sees the
        cancellation, and the bell has rung.
        """
        bell = diary.runtime.signal()
        seen: list[object] = []

        async def waiting() -> None:
            try:
                await bell.wait(math.inf)
            except asyncio.CancelledError:
                seen.append("cancelled")
            seen.append(await bell.wait(0.0))

        task = diary.runtime.spawn(waiting())
        diary.runtime.step()
        bell.set()
        task.cancel()
        diary.runtime.run_until_idle()

        assert ["cancelled", True] == seen

    def test_before_its_first_step(self, diary: Diary) -> None:
        """
        A task that has not begun is cancelled before its first line.
        """
        task = diary.start("a", 1.0)
        task.cancel()
        diary.runtime.run_until_idle()

        assert [] == diary.entries
        with pytest.raises(asyncio.CancelledError):
            task.result()

    def test_after_its_end(self, diary: Diary) -> None:
        """
        Cancelling what has ended changes nothing.
        """
        task = diary.start("a", 1.0)
        diary.runtime.run_until_idle()
        task.cancel()
        diary.runtime.run_until_idle()

        assert "a" == task.result()

    def test_itself(self, diary: Diary) -> None:
        """
        A task that cancels itself is cancelled at its next wait; if it waits no more it ends as it would have.
        """
        tasks: list[VirtualTask] = []

        async def work(then: Callable[[], Awaitable[object]]) -> str:
            tasks.pop().cancel()
            await then()
            return "done"

        async def nothing() -> None:
            pass

        for then in (nothing, lambda: diary.runtime.sleep(1.0)):
            task = diary.runtime.spawn(work(then))
            tasks.append(task)
            diary.runtime.run_until_idle()
            if then is nothing:
                assert "done" == task.result()
            else:
                with pytest.raises(asyncio.CancelledError):
                    task.result()

    def test_what_catches_it_goes_on(self, diary: Diary) -> None:
        """
        A cancellation is raised once; who catches it may wait again, and may be cancelled again.
        """

        async def stubborn() -> str:
            for _ in range(2):
                try:
                    await diary.runtime.sleep(10.0)
                except asyncio.CancelledError:
                    diary.note("caught")
            await diary.runtime.sleep(1.0)
            return "done"

        task = diary.runtime.spawn(stubborn())
        diary.runtime.at(1.0, task.cancel)
        diary.runtime.at(2.0, task.cancel)
        diary.runtime.run_until_idle()

        assert [("caught", 1.0), ("caught", 2.0)] == diary.entries
        assert "done" == task.result()
        assert 3.0 == diary.runtime.now()


class TestWithin:
    """`within`."""

    def test_cuts_short_what_lasts_too_long(self, diary: Diary) -> None:
        """
        At its time the work is cancelled and a `TimeoutError` raised; then the task goes on.
        """
        runtime = diary.runtime

        async def work() -> None:
            with pytest.raises(TimeoutError):
                await runtime.within(3.0, diary.naps("work", 2.0, 2.0))
            await diary.naps("after", 1.0)

        runtime.run(work())

        assert [("work", 2.0), ("work cancelled", 3.0), ("after", 4.0)] == diary.entries

    def test_leaves_alone_what_is_in_time(self, diary: Diary) -> None:
        """
        Work that ends in time returns what it returns, and nothing happens at the time that was set.
        """
        runtime = diary.runtime

        async def work() -> str:
            result = await runtime.within(3.0, diary.naps("work", 2.0))
            await diary.naps("after", 5.0)
            return result

        assert "work" == runtime.run(work())
        assert [("work", 2.0), ("after", 7.0)] == diary.entries
        assert "free" == runtime.run(runtime.within(math.inf, diary.naps("free", 9.0)))

    @pytest.mark.parametrize("inner_s", [1.0, 3.0])
    @pytest.mark.parametrize("outer_s", [1.0, 3.0])
    def test_nests(self, diary: Diary, inner_s: float, outer_s: float) -> None:
        """
        Of two, the earlier cuts short; at the same instant it is the outer one.
        """
        runtime = diary.runtime

        async def inner() -> None:
            try:
                await runtime.within(inner_s, diary.naps("work", 5.0))
            except TimeoutError:
                diary.note("inner")
                raise

        async def work() -> None:
            try:
                await runtime.within(outer_s, inner())
            except TimeoutError:
                diary.note("outer")

        runtime.run(work())

        expected = ["work cancelled", "inner", "outer"] if inner_s < outer_s else ["work cancelled", "outer"]
        assert expected == diary.names
        assert min(inner_s, outer_s) == runtime.now()

    @pytest.mark.parametrize("first", ["cancel", "time"])
    def test_a_caller_that_cancels_at_the_same_instant_wins(self, diary: Diary, first: str) -> None:
        """
        Cancelled and too late at once is cancelled: a cancellation is never turned into a timeout.
        """
        runtime = diary.runtime
        task = runtime.spawn(runtime.within(3.0, diary.naps("work", 5.0)))
        if first == "cancel":
            runtime.at(3.0, task.cancel)  # set before the scope's own timer
        while runtime.now() < 3.0:
            runtime.step()
        task.cancel()
        runtime.run_until_idle()

        with pytest.raises(asyncio.CancelledError):
            task.result()

    def test_bounds_what_is_done_after_a_cancellation(self, diary: Diary) -> None:
        """
        Tidying up after a cancellation can have its own time, and learns that it ran out.
        """
        runtime = diary.runtime

        async def work() -> None:
            try:
                await diary.naps("work", 10.0)
            finally:
                with pytest.raises(TimeoutError):
                    await runtime.within(3.0, diary.naps("tidy", 10.0))
                diary.note("tidied")

        task = runtime.spawn(work())
        runtime.at(1.0, task.cancel)
        runtime.run_until_idle()

        assert [("work cancelled", 1.0), ("tidy cancelled", 3.0), ("tidied", 3.0)] == diary.entries
        with pytest.raises(asyncio.CancelledError):
            task.result()

    def test_does_not_swallow_what_the_work_raises(self, diary: Diary) -> None:
        """
        An error of the work is raised as it is.
        """

        async def failing() -> None:
            raise ValueError("bug")

        with pytest.raises(ValueError, match="bug"):
            diary.runtime.run(diary.runtime.within(3.0, failing()))


class TestSignals:
    """`signal`."""

    def test_rings(self, diary: Diary) -> None:
        """
        A bell that rings ends the wait with True, at that time; one that has rung makes nobody wait.
        """
        bell = diary.runtime.signal()
        diary.runtime.at(2.0, bell.set)

        assert diary.runtime.run(bell.wait(5.0))
        assert diary.runtime.run(bell.wait(5.0))
        assert 2.0 == diary.runtime.now()
        assert bell.set()

    @pytest.mark.parametrize("until", [3.0, 0.0, -1.0])
    def test_does_not_ring(self, diary: Diary, until: float) -> None:
        """
        Without a ring the wait ends with False when its time has come, at once if it is over already.
        """
        assert not diary.runtime.run(diary.runtime.signal().wait(until))
        assert max(until, 0.0) == diary.runtime.now()

    def test_can_be_waited_for_again(self, diary: Diary) -> None:
        """
        Each wait has its own time: one that was cut short does not end the next one early.
        """
        runtime = diary.runtime
        bell = runtime.signal()

        async def work() -> bool:
            with pytest.raises(TimeoutError):
                await runtime.within(1.0, bell.wait(5.0))
            return await bell.wait(8.0)

        task = runtime.spawn(work())
        runtime.at(7.0, bell.set)
        runtime.run_until_idle()

        assert task.result()
        assert 7.0 == runtime.now()

    def test_rings_at_the_last_moment(self, diary: Diary) -> None:
        """
        A bell that rings at the very instant at which the time is over has rung.
        """
        bell = diary.runtime.signal()
        waiting = diary.runtime.spawn(bell.wait(2.0))
        diary.runtime.step()
        diary.runtime.at(2.0, bell.set)
        diary.runtime.step()
        bell.set()
        diary.runtime.run_until_idle()

        assert waiting.result()

    def test_wakes_a_waiter_once(self, diary: Diary) -> None:
        """
        Ringing twice makes nobody run twice.
        """
        bell = diary.runtime.signal()

        async def waiting() -> None:
            await bell.wait(math.inf)
            diary.note("rung")
            await diary.runtime.sleep(1.0)
            diary.note("slept")

        diary.runtime.spawn(waiting())
        diary.runtime.step()
        bell.set()
        bell.set()
        diary.runtime.run_until_idle()

        assert [("rung", 0.0), ("slept", 1.0)] == diary.entries


class TestWorld:
    """`send`, `offload`, and what belongs to no task."""

    def test_sends_through_the_network_it_was_given(self) -> None:
        """
        A request goes to the network, within its time.
        """
        asked: list[WireRequest] = []

        async def network(request: WireRequest) -> Any:
            asked.append(request)
            await runtime.sleep(2.0)
            return "answer"

        runtime = VirtualRuntime(network=network)
        request = WireRequest("GET", "https://api.example:443", "/")

        assert "answer" == runtime.run(runtime.send(request, 3.0))
        with pytest.raises(TimeoutError):
            runtime.run(runtime.send(request, 3.0))
        assert [request, request] == asked

    def test_has_no_network_of_its_own(self) -> None:
        """
        Without a network nothing is sent, and that is said.
        """
        runtime = VirtualRuntime()
        with pytest.raises(RuntimeError, match="no network"):
            runtime.run(runtime.send(WireRequest("GET", "https://a:443", "/"), 1.0))

    def test_offloads_to_nobody(self) -> None:
        """
        A plain function runs at once.
        """
        runtime = VirtualRuntime()

        assert 3 == runtime.run(runtime.offload(lambda one, two: one + two, 1, 2))

    def test_a_wait_belongs_to_a_task(self) -> None:
        """
        Waiting outside of the runtime is an error that says how it is done.
        """
        with pytest.raises(RuntimeError, match=r"runtime\.run"):
            VirtualRuntime().sleep(1.0).send(None)
