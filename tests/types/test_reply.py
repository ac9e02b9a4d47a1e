"""An answer on its way back has one end, and everybody is told of it once."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llmgate.errors import (
    CircuitOpen,
    DeadlineExceeded,
    GatewayError,
    Overloaded,
    RateLimited,
    StreamInterrupted,
)
from llmgate.middleware.base import attended
from llmgate.runtime.drive import drive
from llmgate.runtime.virtual import VirtualRuntime
from llmgate.types.reply import Outcome, Reply
from llmgate.types.response import Choice, Chunk, Embeddings, Response, explode
from llmgate.types.usage import Usage

HELLO = [Chunk("Hel"), Chunk("lo", usage=Usage(3, 1))]
END = [Chunk(finish_reason="stop", usage=Usage(3, 2))]
WHOLE = Response(choices=[Choice(text="Hello", finish_reason="stop")], usage=Usage(3, 2))

Step = Sequence[Chunk] | BaseException


class Upstream:
    """Brings what its script says, batch by batch, and counts how often it was cut off."""

    def __init__(self, *script: Step, wait: Callable[[], Any] | None = None) -> None:
        self._script = deque(script)
        self._wait = wait
        self.closed = 0

    async def read(self) -> Sequence[Chunk]:
        if self._wait is not None:
            await self._wait()
        if not self._script:
            return ()
        step = self._script.popleft()
        if isinstance(step, BaseException):
            raise step
        return step

    async def close(self) -> None:
        self.closed += 1


class Ends(list[Outcome]):
    """Settles by remembering."""

    def __call__(self, outcome: Outcome) -> None:
        self.append(outcome)

    @property
    def names(self) -> list[str]:
        return [outcome.name for outcome in self]


def told(reply: Reply) -> Ends:
    ends = Ends()
    reply.on_end(ends)
    return ends


def opened(upstream: Upstream, **circumstances: Any) -> Reply:
    return Reply((), upstream.read, upstream.close, **circumstances)


def all_of(reply: Reply) -> list[Chunk]:
    chunks: list[Chunk] = []
    while batch := drive(reply.read()):
        chunks += batch
    return chunks


@contextmanager
def dropped() -> Iterator[None]:
    """A reply is dropped in here, and the warning about it is expected."""
    with pytest.warns(ResourceWarning, match="dropped without being read or closed"):
        yield
        gc.collect()


class TestReading:
    """`read` and `response`."""

    def test_brings_the_pieces_in_order(self) -> None:
        """
        First what was there, then what the source brings; an empty batch after the last.
        """
        upstream = Upstream(END)
        reply = Reply(HELLO, upstream.read, upstream.close)

        assert [*HELLO, *END] == all_of(reply)
        assert () == drive(reply.read())
        assert Usage(3, 2) == reply.usage
        assert 0 == upstream.closed

    def test_folds_into_the_response(self) -> None:
        """
        `response` reads to the end and gives the answer the pieces make.
        """
        assert WHOLE == drive(opened(Upstream(HELLO, END)).response())
        assert WHOLE == drive(opened(Upstream(*([chunk] for chunk in explode(WHOLE)))).response())

    @pytest.mark.parametrize("answer", [WHOLE, Embeddings(vectors=[[1.0]], usage=Usage(7))])
    def test_a_whole_answer_is_a_stream_of_one(self, answer: Any) -> None:
        """
        A reply of a whole answer gives that very answer, and its tokens are known before anybody reads.
        """
        reply = Reply.of(answer, request_id="req_1")
        ends = told(reply)

        assert answer.usage == reply.usage
        assert "req_1" == reply.request_id
        assert answer is drive(reply.response())
        assert [Outcome("ok", usage=answer.usage)] == ends

    def test_an_answer_out_of_a_cache_used_no_tokens(self) -> None:
        """
        What a cache answers costs nothing.
        """
        reply, other = Reply.of(WHOLE, cached="memory"), Reply.of(WHOLE, cached="memory")
        ends = told(reply)
        drive(reply.response())
        drive(other.response())

        assert [Outcome("ok", usage=Usage(0, 0))] == ends
        assert Usage(3, 2) == WHOLE.usage
        assert other.usage is not reply.usage

    def test_the_time_of_the_first_token_is_told(self) -> None:
        """
        Whoever measured the first content tells the reply, and it tells everybody at the end.
        """
        reply = opened(Upstream(HELLO))
        reply.first_token_s = 0.25
        ends = told(reply)
        drive(reply.response())

        assert 0.25 == ends[0].first_token_s


FAILURES = [RateLimited("slow down"), StreamInterrupted("cut"), DeadlineExceeded("late"), ValueError("a bug")]


class TestEnds:
    """`on_end`, however it ends."""

    def test_completed(self) -> None:
        """
        After the last piece it has ended well, once, with the tokens; reading on and closing change nothing.
        """
        upstream = Upstream(HELLO, END)
        reply = opened(upstream)
        ends = told(reply)
        all_of(reply)
        drive(reply.read())
        drive(reply.close())

        assert [Outcome("ok", usage=Usage(3, 2))] == ends
        assert 0 == upstream.closed

    @pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("before", [[], [HELLO]], ids=["at once", "midway"])
    def test_failed(self, error: Exception, before: list[Step]) -> None:
        """
        A failure is raised, told with its error and what it had cost, and cuts the upstream off.
        """
        upstream = Upstream(*before, error, END)
        reply = opened(upstream)
        ends = told(reply)
        with pytest.raises(type(error)) as caught:
            all_of(reply)

        expected = Outcome.of(error).name
        assert error is caught.value
        assert [Outcome(expected, error, Usage(3, 1) if before else None)] == ends
        assert ends[0] is reply.ended
        assert 1 == upstream.closed

    @pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
    def test_a_failed_answer_never_looks_complete(self, error: Exception) -> None:
        """
        Reading on after a failure says the same again, and so does folding.
        """
        reply = opened(Upstream(HELLO, error, END))
        ends = told(reply)
        with pytest.raises(type(error)):
            all_of(reply)

        for again in (reply.read, reply.response):
            with pytest.raises(type(error)) as caught:
                drive(again())
            assert error is caught.value
        assert 1 == len(ends)

    def test_closed_early(self) -> None:
        """
        Whoever has enough closes; the upstream is cut off once, and twice is harmless.
        """
        upstream = Upstream(HELLO, END)
        reply = opened(upstream)
        ends = told(reply)
        drive(reply.read())
        drive(reply.close())
        drive(reply.close())

        assert [Outcome("closed", usage=Usage(3, 1))] == ends
        assert 1 == upstream.closed

    def test_a_closed_answer_never_looks_complete(self) -> None:
        """
        Reading what was closed is an error, not an empty answer.
        """
        reply = opened(Upstream(HELLO, END))
        drive(reply.close())

        for again in (reply.read, reply.response):
            with pytest.raises(RuntimeError, match="closed before its end"):
                drive(again())

    @pytest.mark.parametrize(
        ("rest", "seen"),
        [(END, RuntimeError), ([], RuntimeError), (StreamInterrupted("cut"), StreamInterrupted)],
        ids=["more would come", "it would be complete", "the connection breaks"],
    )
    def test_closed_while_somebody_reads(self, rest: Step, seen: type[Exception]) -> None:
        """
        Who reads while somebody else closes never sees a whole answer, whatever the upstream still brought.
        """
        runtime = VirtualRuntime()
        upstream = Upstream(rest, wait=lambda: runtime.sleep(1.0))
        reply = opened(upstream)
        ends = told(reply)
        completed: list[str] = []
        reply.on_complete(noting(completed, "complete"))
        reader = runtime.spawn(reply.response())
        runtime.at(0.5, lambda: drive(reply.close()))
        runtime.run_until_idle()

        with pytest.raises(seen):
            reader.result()
        assert ["closed"] == ends.names
        assert ends[0] is reply.ended
        assert [] == completed

    @pytest.mark.parametrize("blocked", [True, False], ids=["blocked", "runnable"])
    def test_cancelled(self, blocked: bool) -> None:
        """
        A cancelled reader settles as cancelled and cuts the upstream off; what follows never looks complete.
        """
        runtime = VirtualRuntime()
        upstream = Upstream(HELLO, END, wait=lambda: runtime.sleep(1.0))
        reply = opened(upstream)
        ends = told(reply)
        reader = runtime.spawn(reply.response())
        # The timer of a runnable task has rung, and it has not run yet.
        runtime.at(1.5 if blocked else 2.0, reader.cancel)
        runtime.run_until_idle()

        with pytest.raises(asyncio.CancelledError):
            reader.result()
        assert ["cancelled"] == ends.names
        assert Usage(3, 1) == ends[0].usage
        assert 1 == upstream.closed
        with pytest.raises(RuntimeError, match="cancelled before its end"):
            drive(reply.read())

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
    def test_interrupted(self, error: BaseException) -> None:
        """
        An interrupt passes through, and on its way everything is settled.
        """
        upstream = Upstream(error)
        reply = opened(upstream)
        ends = told(reply)
        with pytest.raises(type(error)):
            drive(reply.read())

        assert [("cancelled", error)] == [(outcome.name, outcome.error) for outcome in ends]
        assert 1 == upstream.closed

    def test_dropped(self) -> None:
        """
        A reply that nobody holds any more is settled as closed, with a warning that says so.
        """
        upstream = Upstream(HELLO, END)
        reply = opened(upstream)
        ends = told(reply)
        drive(reply.read())
        with dropped():
            del reply

        assert [Outcome("closed", usage=Usage(3, 1))] == ends

    def test_dropped_after_its_end(self) -> None:
        """
        A reply that has ended goes quietly.
        """
        reply = opened(Upstream(HELLO))
        ends = told(reply)
        all_of(reply)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del reply
            gc.collect()

        assert ["ok"] == ends.names

    def test_who_comes_after_the_end_is_told_at_once(self) -> None:
        """
        `on_end` on a reply that has ended calls immediately, with the same outcome.
        """
        reply = opened(Upstream(RateLimited("slow down")))
        with pytest.raises(RateLimited):
            drive(reply.read())
        late = told(reply)

        assert [reply.ended] == late

    def test_who_was_told_is_let_go(self) -> None:
        """
        A reply that is kept after its end keeps nobody who was told of it.
        """
        reply = opened(Upstream(HELLO))
        ends = told(reply)
        all_of(reply)
        listener = weakref.ref(ends)
        del ends

        assert listener() is None

    def test_innermost_first(self) -> None:
        """
        Everybody is told in the order of registration: the layers inside before those around them.
        """
        order: list[str] = []
        reply = opened(Upstream(HELLO))
        for name in ("provider", "breaker", "limit", "trace"):
            reply.on_end(lambda outcome, name=name: order.append(name))
        all_of(reply)

        assert ["provider", "breaker", "limit", "trace"] == order

    @pytest.mark.parametrize("way", ["completed", "failed", "closed", "dropped"])
    def test_one_that_fails_keeps_no_other_from_being_told(self, way: str) -> None:
        """
        A settle that raises is heard of, and all the others still give back what they hold, each once.
        """
        reply = opened(Upstream(HELLO, *([Overloaded("busy")] if way == "failed" else [])))
        first, between, last = told(reply), 0, Ends()

        def broken(outcome: Outcome) -> None:
            nonlocal between
            between += 1
            raise ArithmeticError(f"settle {between}")

        reply.on_end(broken)
        reply.on_end(broken)
        reply.on_end(last)
        if way == "dropped":
            with (
                warnings.catch_warnings(),
                pytest.warns(pytest.PytestUnraisableExceptionWarning) if False else dropped(),
            ):
                reply.later = deque[Callable[[], None]]().append
                later: deque[Callable[[], None]] = deque()
                reply.later = later.append
                del reply
            with pytest.raises(ArithmeticError, match="settle 2"):
                later.popleft()()
        else:
            with pytest.raises(ArithmeticError, match="settle 2"):
                drive(reply.close()) if way == "closed" else all_of(reply)

        assert (1, 2, 1) == (len(first), between, len(last))

    def test_why_it_failed_matters_more_than_how_it_closed(self) -> None:
        """
        An upstream that cannot even be closed does not hide what went wrong before.
        """

        async def stuck() -> None:
            raise OSError("already gone")

        reply = Reply((), Upstream(Overloaded("busy")).read, stuck)
        ends = told(reply)
        with pytest.raises(Overloaded):
            drive(reply.read())

        assert ["overloaded"] == ends.names

    @given(
        st.lists(st.sampled_from(["chunks", "nothing", "error", "bug", "interrupt"]), max_size=5),
        st.lists(st.sampled_from(["read", "close", "response", "on_end"]), max_size=6),
    )
    def test_exactly_one_end(self, script: list[str], doings: list[str]) -> None:
        """
        Whatever the upstream brings and whatever is done with the reply, each is told once, of the same end.
        """
        steps = {
            "chunks": HELLO, "nothing": [], "error": Overloaded("busy"), "bug": ValueError("bug"),
            "interrupt": KeyboardInterrupt(),
        }  # fmt: skip
        reply = opened(Upstream(*(steps[name] for name in script)))
        everybody = [told(reply)]
        for doing in doings:
            try:
                if doing == "on_end":
                    everybody.append(told(reply))
                else:
                    drive(getattr(reply, doing)())
            except (GatewayError, ValueError, RuntimeError, KeyboardInterrupt):
                pass
            assert 1 == len({len(ends) for ends in everybody})
            assert (reply.ended is not None) == bool(everybody[0])
        expected = reply.ended.name if reply.ended is not None else "closed"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del reply

        assert [[expected]] * len(everybody) == [ends.names for ends in everybody]


def noting(where: list[str], what: str) -> Callable[[], Any]:
    async def work() -> None:
        where.append(what)

    return work


class TestCompletion:
    """`on_complete`."""

    def test_runs_before_the_reader_learns_of_the_end(self) -> None:
        """
        Once the answer is whole the work is done, in order; only then it has ended, and only then the reader knows.
        """
        order: list[str] = []
        reply = opened(Upstream(HELLO, END))
        reply.on_end(lambda outcome: order.append(outcome.name))
        reply.on_complete(noting(order, "store"))
        reply.on_complete(noting(order, "log"))
        while drive(reply.read()):
            order.append("read")
        order.append("over")

        assert ["read", "read", "store", "log", "ok", "over"] == order

    def test_may_wait(self) -> None:
        """
        The reader waits for it.
        """
        runtime = VirtualRuntime()
        reply = opened(Upstream(HELLO))
        reply.on_complete(lambda: runtime.sleep(5.0))
        runtime.run(reply.response())

        assert 5.0 == runtime.now()

    @pytest.mark.parametrize("way", ["failed", "closed", "dropped"])
    def test_only_a_whole_answer_is_complete(self, way: str) -> None:
        """
        An answer that failed, was closed or was dropped is not stored.
        """
        order: list[str] = []
        reply = opened(Upstream(HELLO, *([Overloaded("busy")] if way == "failed" else [END])))
        reply.on_complete(noting(order, "store"))
        drive(reply.read())
        if way == "failed":
            with pytest.raises(Overloaded):
                drive(reply.read())
        elif way == "closed":
            drive(reply.close())
        else:
            with dropped():
                del reply

        assert [] == order

    def test_its_failure_fails_the_answer(self) -> None:
        """
        Work that fails is the answer's failure: the reader sees it, and the others' work is not begun.
        """
        order: list[str] = []
        upstream = Upstream(HELLO)
        reply = opened(upstream)
        ends = told(reply)

        async def broken() -> None:
            raise ArithmeticError("the disk is full")

        reply.on_complete(broken)
        reply.on_complete(noting(order, "log"))
        with pytest.raises(ArithmeticError):
            all_of(reply)

        assert ["local"] == ends.names
        assert [] == order
        assert 1 == upstream.closed

    def test_a_reader_cancelled_there_has_not_completed(self) -> None:
        """
        Cancelled while the answer is being stored, it ends as cancelled.
        """
        runtime = VirtualRuntime()
        reply = opened(Upstream(HELLO))
        ends = told(reply)
        reply.on_complete(lambda: runtime.sleep(5.0))
        reader = runtime.spawn(reply.response())
        runtime.at(1.0, reader.cancel)
        runtime.run_until_idle()

        assert ["cancelled"] == ends.names


class TestStages:
    """`through`."""

    def test_each_batch_passes_each_stage_in_order(self) -> None:
        """
        Every batch passes every stage, the innermost first, the first pieces and a whole answer included.
        """
        seen: list[tuple[str, int]] = []
        reply = Reply(HELLO, Upstream(END).read)

        def stage(name: str) -> Callable[[Sequence[Chunk]], Sequence[Chunk]]:
            def see(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
                seen.append((name, len(chunks)))
                return chunks

            return see

        reply.through(stage("inner"))
        reply.through(stage("outer"))
        all_of(reply)

        assert [("inner", 2), ("outer", 2), ("inner", 1), ("outer", 1)] == seen

    def test_may_change_add_and_drop(self) -> None:
        """
        The reader gets what the stages make of the pieces; a batch that was dropped whole is not the end.
        """
        reply = opened(Upstream([Chunk("a")], [Chunk("drop")], [Chunk("b")]))
        reply.through(lambda chunks: [] if chunks[0].text == "drop" else [*chunks, Chunk("!")])
        reply.through(lambda chunks: [Chunk(chunk.text.upper()) for chunk in chunks])

        assert ["A", "!", "B", "!"] == [chunk.text for chunk in all_of(reply)]

    def test_tokens_are_counted_before_anybody_changes_the_pieces(self) -> None:
        """
        What the upstream reported is what was used, also where a stage drops the piece that said so.
        """
        reply = opened(Upstream(HELLO, END))
        ends = told(reply)
        reply.through(lambda chunks: [Chunk(chunk.text) for chunk in chunks])
        all_of(reply)

        assert Usage(3, 2) == ends[0].usage

    def test_whoever_changes_a_piece_changes_no_account(self) -> None:
        """
        The tokens that are told are nobody's to change.
        """
        piece = Chunk("a", usage=Usage(3, 1))
        reply = opened(Upstream([piece]))
        ends = told(reply)
        all_of(reply)[0].usage.input_tokens = 0  # type: ignore[union-attr]

        assert Usage(3, 1) == ends[0].usage

    def test_its_failure_fails_the_answer(self) -> None:
        """
        A stage that raises fails the reply, which is settled and cut off.
        """
        upstream = Upstream(HELLO)
        reply = opened(upstream)
        ends = told(reply)
        reply.through(lambda chunks: [chunks[5]])
        with pytest.raises(IndexError):
            drive(reply.read())

        assert ["local"] == ends.names
        assert 1 == upstream.closed


class TestOutcome:
    """What policies are told."""

    @pytest.mark.parametrize(
        ("error", "name", "blame"),
        [
            (RateLimited("slow"), "throttled", False),
            (Overloaded("busy"), "overloaded", True),
            (CircuitOpen("resting"), "local", False),
            (ValueError("bug"), "local", False),
            (asyncio.CancelledError(), "cancelled", False),
            (KeyboardInterrupt(), "cancelled", False),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_an_exception_means_one(self, error: BaseException, name: str, blame: bool) -> None:
        """
        An error's outcome is its class's; what is no Exception is a cancellation.
        """
        outcome = Outcome.of(error)

        assert (name, error, blame) == (outcome.name, outcome.error, outcome.blame)


class TestAttended:
    """`attended`: told about an answer from before its first piece."""

    def test_told_at_the_end(self) -> None:
        """
        It gives the reply through, and tells when that has ended.
        """
        ends = Ends()
        reply = opened(Upstream(HELLO))

        async def answer() -> Reply:
            return reply

        assert reply is drive(attended(answer(), ends))
        assert [] == ends
        all_of(reply)
        assert ["ok"] == ends.names

    @pytest.mark.parametrize(
        "error", [Overloaded("busy"), CircuitOpen("resting"), ValueError("bug"), KeyboardInterrupt()]
    )
    def test_told_of_a_failure_before_there_is_a_reply(self, error: BaseException) -> None:
        """
        Where no reply came the failure is told, once, and raised.
        """
        ends = Ends()

        async def answer() -> Reply:
            raise error

        with pytest.raises(type(error)) as caught:
            drive(attended(answer(), ends))

        assert error is caught.value
        assert [error] == [outcome.error for outcome in ends]

    def test_told_of_a_cancellation_before_there_is_a_reply(self) -> None:
        """
        A caller that is cancelled while it waits for the first piece is told of as cancelled.
        """
        ends = Ends()
        runtime = VirtualRuntime()

        async def answer() -> Reply:
            await runtime.sleep(5.0)
            return opened(Upstream())

        caller = runtime.spawn(attended(answer(), ends))
        runtime.at(1.0, caller.cancel)
        runtime.run_until_idle()

        assert ["cancelled"] == ends.names

    def test_told_at_once_of_a_reply_that_has_ended(self) -> None:
        """
        A reply that had ended before it was given through is told of, too.
        """
        ends = Ends()
        reply = opened(Upstream(HELLO))
        all_of(reply)

        async def answer() -> Reply:
            return reply

        drive(attended(answer(), ends))
        assert ["ok"] == ends.names


class TestLater:
    """`later`, for replies that the garbage collector finds."""

    def test_a_dropped_reply_settles_later(self) -> None:
        """
        With `later` nothing is settled while the reply is collected; what it was given settles everybody, once.
        """
        later: deque[Callable[[], None]] = deque()
        reply = in_a_cycle(Upstream(HELLO))
        reply.later = later.append
        first, second = told(reply), told(reply)
        with dropped():
            del reply

        assert ([], []) == (first, second)
        assert 1 == len(later)
        later.popleft()()
        assert (["closed"], ["closed"]) == (first.names, second.names)

    @pytest.mark.parametrize("ends", ["completed", "closed"])
    def test_a_reply_that_has_ended_needs_no_later(self, ends: str) -> None:
        """
        Nothing is left to be settled later where the end was told.
        """
        later: deque[Callable[[], None]] = deque()
        reply = opened(Upstream(HELLO))
        reply.later = later.append
        drive(reply.response() if ends == "completed" else reply.close())
        del reply
        gc.collect()

        assert not later

    @pytest.mark.parametrize("with_later", [True, False], ids=["later", "at once"])
    def test_the_garbage_collector_may_come_while_a_lock_is_held(self, with_later: bool) -> None:
        """
        A collection in a thread that holds the very lock a settle wants hangs that thread; with `later` it does not.
        """
        lock = threading.Lock()
        later: deque[Callable[[], None]] = deque()
        freed: list[str] = []

        def settle(outcome: Outcome) -> None:
            with lock:
                freed.append(outcome.name)

        reply = in_a_cycle(Upstream(HELLO))
        reply.on_end(settle)
        if with_later:
            reply.later = later.append
        del reply

        def collecting() -> None:
            # As when an allocation inside a policy starts a collection.
            lock.acquire()
            gc.collect()
            if not freed:
                lock.release()

        with pytest.warns(ResourceWarning):
            policy = threading.Thread(target=collecting, daemon=True)
            policy.start()
            # This thread is the watchdog.
            policy.join(30.0 if with_later else 0.2)
            hung = policy.is_alive()
            if hung:
                lock.release()
                policy.join(30.0)

        assert hung is not with_later
        assert not policy.is_alive()
        while later:
            later.popleft()()
        assert ["closed"] == freed

    def test_who_records_warnings_holds_no_connection(self) -> None:
        """
        The warning's source is the reply, and it no longer holds the upstream or those who were to be told.
        """
        upstream = Upstream(HELLO)
        reply = opened(upstream)
        reply.on_end(Ends())
        with pytest.warns(ResourceWarning) as recorded:
            del reply
            gc.collect()

        assert isinstance(recorded[0].source, Reply)
        assert not [name for name in Reply.__slots__ if upstream in gc.get_referents(getattr(recorded[0].source, name))]


def in_a_cycle(upstream: Upstream) -> Reply:
    """A reply that only the garbage collector can free, as one that a cache watches."""
    reply = opened(upstream)

    def see(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        return chunks if reply.ended is None else ()

    reply.through(see)
    return reply
