"""Answers that are given again: whose, when, for how long, and what becomes of them when a store fails."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llmgate.errors import RateLimited, StreamInterrupted
from llmgate.middleware.cache import CACHE_KEY, REST_S, STRIKES, Cache, Caching, MemoryTier, SqliteTier
from llmgate.runtime.asynchronous import AsyncioRuntime
from llmgate.runtime.blocking import BlockingRuntime
from llmgate.runtime.drive import drive
from llmgate.stores.base import Entry, Holdings
from llmgate.stores.memory import Memory
from llmgate.testing import Cut, Script, VirtualRuntime, call_for
from llmgate.types.call import CacheControl, Call, Handler, Options
from llmgate.types.deployment import Deployment
from llmgate.types.reply import Reply
from llmgate.types.request import Request
from llmgate.types.response import Answer, Choice, Chunk, Embeddings, Response, ToolCall, Value, explode, fold

OPENAI = Deployment("openai/gpt", "openai", "gpt")


@pytest.fixture
def runtime() -> VirtualRuntime:
    return VirtualRuntime()


def answered(runtime: VirtualRuntime, handler: Handler, call: Call) -> Answer:
    async def asked() -> Answer:
        reply = await handler(call)
        answer = await reply.response()
        answer.cached = reply.cached
        return answer

    return runtime.run(asked())


def asking(runtime: VirtualRuntime, prompt: str = "hello", stream: bool = False, **options: Any) -> Call:
    return call_for(runtime, prompt, stream=stream, options=Options(**options), fingerprint="route")


def text(answer: Answer) -> str:
    assert isinstance(answer, Response)
    return answer.text


class Ask:
    """A cache in front of a script, and a way to ask it."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.runtime = VirtualRuntime()
        self.script = script
        handler = Cache(**options).wrap(script)
        assert isinstance(handler, Caching)
        self.cache = handler

    def __call__(self, prompt: str = "hello", **options: Any) -> str:
        return text(answered(self.runtime, self.cache, asking(self.runtime, prompt, **options)))

    def after(self, seconds: float) -> None:
        self.runtime.run(self.runtime.sleep(seconds))


NO_READ, NO_WRITE = CacheControl(read=False), CacheControl(write=False)


def test_an_answer_is_given_again() -> None:
    """
    The second time the same question is answered without asking, and the answer says so.
    """
    ask = Ask(Script("one"))
    first = answered(ask.runtime, ask.cache, asking(ask.runtime))
    second = answered(ask.runtime, ask.cache, asking(ask.runtime))

    assert first == second
    assert (None, "memory") == (first.cached, second.cached)
    assert 1 == len(ask.script.calls)


def test_another_question_is_asked() -> None:
    """
    Another text is another question.
    """
    ask = Ask(Script("one", "two"))

    assert ["one", "two", "one"] == [ask("a"), ask("b"), ask("a")]


def test_both_colours_share_one_cache() -> None:
    """
    What a thread asked an event loop need not ask, and the other way round.
    """
    script = Script("one")
    handler = Cache().wrap(script)

    async def asked(runtime: Any) -> str:
        return text(await (await handler(call_for(runtime, fingerprint="route"))).response())

    assert "one" == drive(asked(BlockingRuntime()))
    assert "one" == asyncio.run(asked(AsyncioRuntime()))


def test_no_tenant_sees_what_another_asked() -> None:
    """
    Tenants are kept apart, unless they are told to share in so many words.
    """
    apart, shared = Ask(Script("one", "two")), Ask(Script("one"), scope="shared")

    assert ["one", "two"] == [apart(tenant="a"), apart(tenant="b")]
    assert ["one", "one"] == [shared(tenant="a"), shared(tenant="b")]


def test_changing_an_answer_changes_no_other() -> None:
    """
    Whatever a caller does to an answer, the next one gets what the upstream said.
    """
    ask = Ask(Script(Response(raw={"a": [1]}, choices=[Choice(text="one", extra={"b": []}, finish_reason="stop")])))
    answers: list[Any] = []
    for _ in range(3):
        answer: Any = answered(ask.runtime, ask.cache, asking(ask.runtime))
        answers.append((answer.text, repr(answer.raw), repr(answer.choices[0].extra)))
        answer.choices[0].text = "changed"
        answer.choices[0].extra["b"].append("changed")
        answer.raw["a"].append("changed")
        answer.choices.clear()

    assert [("one", "{'a': [1]}", "{'b': []}")] * 3 == answers


def test_what_stands_further_out_does_not_change_what_is_kept() -> None:
    """
    The cache keeps what it saw, not what somebody made of it on the way to the caller.
    """
    ask = Ask(Script("one"))

    async def masked() -> None:
        reply = await ask.cache(asking(ask.runtime))

        def mask(chunks: Any) -> Any:
            for chunk in chunks:
                chunk.whole.choices[0].text = "***"
            return chunks

        reply.through(mask)
        assert "***" == text(await reply.response())

    ask.runtime.run(masked())

    assert "one" == ask()


def test_the_cache_knows_who_answered() -> None:
    """
    An answer from the cache names the deployment and the request that it came from, and no attempts.
    """
    runtime = VirtualRuntime()

    async def upstream(call: Call) -> Reply:
        answer = Response(choices=[Choice(text="one", finish_reason="stop")])
        return Reply.of(answer, deployment=OPENAI, request_id="req-1")

    handler = Cache().wrap(upstream)
    answered(runtime, handler, asking(runtime))
    hit = answered(runtime, handler, asking(runtime))

    assert ("openai/gpt", "openai", "req-1", ()) == (hit.deployment, hit.provider, hit.request_id, hit.attempts)


# Streams.


def chunks_of(runtime: VirtualRuntime, handler: Handler, call: Call) -> list[Chunk]:
    async def read() -> list[Chunk]:
        reply = await handler(call)
        found: list[Chunk] = []
        while chunks := await reply.read():
            found += chunks
        return found

    return runtime.run(read())


def test_a_stream_is_kept_when_it_is_whole() -> None:
    """
    A stream that was read to its end answers the same question afterwards, asked as a stream or whole.
    """
    ask = Ask(Script(["Hel", "lo"]))
    streamed = fold(chunks_of(ask.runtime, ask.cache, asking(ask.runtime, stream=True)))
    replayed = chunks_of(ask.runtime, ask.cache, asking(ask.runtime, stream=True))

    assert streamed == fold(replayed)
    assert "Hello" == ask()
    assert 1 == len(ask.script.calls)


def test_a_stream_may_replay_a_whole_answer() -> None:
    """
    What was asked whole is there for a stream, and falls into pieces like any other.
    """
    ask = Ask(Script("Hello"))
    ask()
    (chunk,) = chunks_of(ask.runtime, ask.cache, asking(ask.runtime, stream=True))

    assert isinstance(chunk.whole, Response)
    assert "Hello" == "".join(piece.text for piece in explode(chunk.whole))


@pytest.mark.parametrize("broken", [Cut(["Hel"]), ["Hel", RateLimited("slow down")]], ids=["cut", "error"])
def test_a_stream_that_broke_is_not_kept(broken: Any) -> None:
    """
    Half an answer is none.
    """
    ask = Ask(Script(broken, "whole"))

    with pytest.raises((StreamInterrupted, RateLimited)):
        chunks_of(ask.runtime, ask.cache, asking(ask.runtime, stream=True))
    assert "whole" == ask()


def test_a_stream_that_was_closed_early_is_not_kept() -> None:
    """
    Who has heard enough leaves nothing for others.
    """
    ask = Ask(Script(["Hel", "lo"], "whole"))

    async def read_a_bit() -> None:
        reply = await ask.cache(asking(ask.runtime, stream=True))
        await reply.read()
        await reply.close()

    ask.runtime.run(read_a_bit())

    assert "whole" == ask()


def test_errors_are_not_kept() -> None:
    """
    A failure is not remembered.
    """
    ask = Ask(Script(RateLimited("slow down"), "one"))

    with pytest.raises(RateLimited):
        ask()
    assert "one" == ask()


# What is a question, and what is an answer.


def test_sampled_calls_are_asked_again() -> None:
    """
    A temperature above 0 is not cached, unless the call asks for it or the configuration says so.
    """

    def twice(control: CacheControl | None = None, **options: Any) -> int:
        script, runtime = Script(always="one"), VirtualRuntime()
        handler = Cache(**options).wrap(script)
        for _ in range(2):
            call = asking(runtime, cache=control)
            call.request.body["temperature"] = 0.7
            answered(runtime, handler, call)
        return len(script.calls)

    assert 2 == twice()
    assert 1 == twice(CacheControl(asked=True))
    assert 1 == twice(sampled=True)


def test_what_is_no_good_answer_is_not_kept() -> None:
    """
    An answer that was cut at its maximal length, and one that calls a tool, is asked for again.
    """
    cut = Response(choices=[Choice(text="cut", finish_reason="length")])
    tool = Response(choices=[Choice(tool_calls=[ToolCall("1", "pay", "{}")], finish_reason="tool_calls")])

    for answer, option in ((cut, "store_length_finish"), (tool, "tool_calls")):
        strict, lenient = Ask(Script(answer, "good")), Ask(Script(answer), **{option: True})

        assert [text(answer), "good"] == [strict(), strict()]
        assert [text(answer)] * 2 == [lenient(), lenient()]


def test_answers_that_cannot_be_written_down_are_passed_on() -> None:
    """
    An answer that is no JSON reaches its caller, and is not kept.
    """
    odd = Response(raw=object(), choices=[Choice(text="odd", finish_reason="stop")])
    ask = Ask(Script(odd, "plain"))

    assert ["odd", "plain"] == [ask(), ask()]


def test_questions_that_cannot_be_written_down_are_passed_on() -> None:
    """
    A body that is no JSON has no key, and that is not for the cache to complain about.
    """
    ask = Ask(Script("one", "two"))

    def odd() -> str:
        call = asking(ask.runtime)
        call.request.body["odd"] = object()
        return text(answered(ask.runtime, ask.cache, call))

    assert ["one", "two"] == [odd(), odd()]


def test_large_answers_are_not_kept() -> None:
    """
    An answer larger than the option says is asked for again, whole or as a stream.
    """
    ask = Ask(Script("x" * 300, "y"), max_answer_bytes=300)
    streamed = Ask(Script(["x" * 200, "x" * 200], "y"), max_answer_bytes=300)
    chunks_of(streamed.runtime, streamed.cache, asking(streamed.runtime, stream=True))

    assert ["x" * 300, "y", "y"] == [ask(), ask(), ask()]
    assert "y" == streamed()


def test_a_stream_that_is_too_long_is_not_held() -> None:
    """
    As soon as a stream is too long to be kept its texts are let go.
    """
    ask = Ask(Script([letter * 200 for letter in "xyz"]), max_answer_bytes=300)

    async def holders() -> list[int]:
        reply = await ask.cache(asking(ask.runtime, stream=True))
        found: list[int] = []
        while chunks := await reply.read():
            found.append(len(gc.get_referrers(chunks[0].text)))
        return found

    first, second, *_ = ask.runtime.run(holders())

    assert first == second + 1


def test_an_answer_that_may_not_be_kept_is_not_written() -> None:
    """
    A call that gives its answer no time costs no store a write.
    """
    ask = Ask(Script("one"))
    ask(cache=CacheControl(ttl_s=0.0))

    assert 0 == ask.cache.stats()["memory"].stores


def test_embeddings_and_values_are_kept() -> None:
    """
    Vectors, and what a wrapped function returned, are given again as they were.
    """
    runtime = VirtualRuntime()
    for verb, answer in (("embed", Embeddings(vectors=[[0.1, 2]])), ("call", Value(value={"a": [1, 2.5]}))):
        handler = Cache().wrap(Script(answer))
        calls = [Call(Request(verb, "", {"input": "a"}), runtime, fingerprint="f") for _ in range(2)]  # type: ignore[arg-type]

        assert repr(answer) == repr(answered(runtime, handler, calls[0]))
        assert answer == answered(runtime, handler, calls[1])


# What a call says.


def test_an_answer_is_kept_for_its_time() -> None:
    """
    After its time an answer is asked for again; a call may name another time, and none at all.
    """
    ask = Ask(Script("one", "two", "three", "four"), ttl="1m")
    found = [ask()]
    ask.after(59.0)
    found.append(ask())
    ask.after(1.0)
    found.append(ask("hello", cache=CacheControl(ttl_s=120.0)))
    ask.after(119.0)
    found.append(ask())
    ask.after(1.0)
    found += [ask(cache=CacheControl(ttl_s=0.0)), ask()]

    assert ["one", "one", "two", "two", "three", "four"] == found


def test_a_call_may_refuse_to_read() -> None:
    """
    Who does not want a stored answer gets a new one, and the others get that one from then on.
    """
    ask = Ask(Script("one", "two"))

    assert ["one", "two", "two"] == [ask(), ask(cache=NO_READ), ask()]


def test_a_call_may_refuse_to_write() -> None:
    """
    Who does not want its answer stored may still have a stored one.
    """
    ask = Ask(Script("one", "two"))

    assert ["one", "two", "two"] == [ask(cache=NO_WRITE), ask(), ask(cache=NO_WRITE)]


def test_a_call_may_refuse_both() -> None:
    """
    A call without a cache neither reads nor writes.
    """
    ask = Ask(Script("one", "two", "three"))
    off = CacheControl(read=False, write=False)

    assert ["one", "two", "one", "three"] == [ask(), ask(cache=off), ask(), ask(cache=off)]


def test_a_call_may_say_how_old_is_too_old() -> None:
    """
    An answer of just that age will do, an older one will not, and is replaced.
    """
    ask = Ask(Script("one", "two"))
    recent = CacheControl(max_age_s=10.0)
    found = [ask()]
    ask.after(10.0)
    found.append(ask(cache=recent))
    ask.after(0.5)
    found += [ask(cache=recent), ask()]

    assert ["one", "one", "two", "two"] == found


def test_namespaces_are_apart_and_cleared_apart() -> None:
    """
    A namespace has answers of its own, and can be thrown away without the others.
    """
    ask = Ask(Script("one", "two", "three"))
    own = CacheControl(namespace="own")
    found = [ask(), ask(cache=own), ask(cache=own)]
    ask.cache.clear("own")
    found += [ask(), ask(cache=own)]

    assert ["one", "two", "two", "one", "three"] == found


# Tiers.


def tiers(path: Path) -> list[Any]:
    return ["memory", {"kind": "sqlite", "path": str(path)}]


def test_an_answer_outlives_the_process(tmp_path: Path) -> None:
    """
    A second cache over the same file answers from the disk, and from then on from memory.
    """
    before = Ask(Script("one"), tiers=tiers(tmp_path / "c.db"))
    before()
    before.cache.close()
    ask = Ask(Script(), tiers=tiers(tmp_path / "c.db"))
    found = [answered(ask.runtime, ask.cache, asking(ask.runtime)) for _ in range(2)]

    assert [("one", "disk"), ("one", "memory")] == [(text(answer), answer.cached) for answer in found]
    ask.cache.close()


def test_a_promoted_answer_does_not_become_younger() -> None:
    """
    What comes up from a later tier has the age and the rest of the time that it had there.
    """
    below = Memory()
    ask = Ask(Script("one", "two"), tiers=["memory", below], ttl=100)
    ask()
    ask.cache._shelves[0].store.clear()
    ask.after(60.0)
    found = [ask(), ask(cache=CacheControl(max_age_s=50.0))]
    ask.cache.clear()
    ask = Ask(Script("three", "four"), tiers=["memory", below], ttl=100)
    ask()
    ask.cache._shelves[0].store.clear()
    ask.after(60.0)
    ask()
    ask.after(40.0)

    assert ["one", "two"] == found
    assert "four" == ask()


def test_each_tier_counts() -> None:
    """
    Hits, misses, stores and holdings are told by tier.
    """
    ask = Ask(Script("one"), tiers=["memory", Slow()])
    ask()
    ask()
    stats = ask.cache.stats()

    assert [(1, 1, 1, 0), (0, 1, 1, 0)] == [(s.hits, s.misses, s.stores, s.failures) for s in stats.values()]
    assert ["memory", "slow"] == list(stats)
    assert stats["memory"].holdings is not None
    assert 1 == stats["memory"].holdings.entries


def test_a_corrupt_entry_is_a_miss_and_deleted() -> None:
    """
    What cannot be read is asked for again, and the new answer takes its place.
    """
    memory = Memory()
    ask = Ask(Script("one", "two"), tiers=[memory])
    call = asking(ask.runtime)
    answered(ask.runtime, ask.cache, call)
    key = call.trail.notes[CACHE_KEY][1]
    memory.put(key, Entry(b"rubbish", 60.0), ask.runtime.now())

    async def not_written() -> None:
        await (await ask.cache(asking(ask.runtime, cache=NO_WRITE))).response()

    ask.runtime.run(not_written())

    assert Holdings() == memory.holdings()


class Slow(Memory):
    """A store that takes as long as its test wants, and fails when it wants."""

    name = "slow"
    blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.used = 0

    def get(self, key: bytes, now: float) -> Entry | None:
        self._use()
        return super().get(key, now)

    def put(self, key: bytes, entry: Entry, now: float, namespace: str = "") -> bool:
        self._use()
        return super().put(key, entry, now, namespace)

    def _use(self) -> None:
        self.used += 1
        self.hold.wait(5.0)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("kind", [OSError, TimeoutError, RuntimeError, ZeroDivisionError])
def test_a_store_that_fails_is_a_miss(kind: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    """
    No call fails with its store; after a few failures the store is left alone, with one warning.
    """
    store = Slow()
    store.error = kind("No space left on device")
    ask = Ask(Script(always="one"), tiers=[store])

    assert ["one"] * 10 == [ask(str(number)) for number in range(10)]
    assert STRIKES == store.used
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert "No space left on device" in caplog.text


def test_a_store_that_failed_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """
    After a rest the store is tried again: once, silently, if it still fails; and for good if it has recovered.
    """
    store = Slow()
    store.error = OSError(28, "No space left on device")
    ask = Ask(Script(always="one"), tiers=[store])
    for _ in range(STRIKES):
        ask()
    ask.after(REST_S)
    ask()
    ask()
    used = store.used
    store.error = None
    ask.after(REST_S)
    found = [answered(ask.runtime, ask.cache, asking(ask.runtime)).cached for _ in range(2)]

    assert STRIKES + 1 == used
    assert [None, "slow"] == found
    assert 1 == len(caplog.records)


def test_one_failure_is_forgiven() -> None:
    """
    A store that fails now and then, but not in a row, is not left alone.
    """
    store = Slow()
    ask = Ask(Script(always="one"), tiers=[store])
    for number in range(20):
        store.error = None if number % 2 else OSError("now and then")
        ask(str(number))

    assert 10 * 2 + 10 * 2 == store.used


def test_a_store_that_hangs_does_not_hold_up_the_call() -> None:
    """
    An event loop waits for a store no longer than a moment.
    """
    store = Slow()
    store.hold.clear()
    handler = Cache(tiers=(store,)).wrap(Script("one"))

    async def asked() -> str:
        call = call_for(AsyncioRuntime(), fingerprint="route")
        try:
            return text(await asyncio.wait_for((await handler(call)).response(), 4.0))
        finally:
            store.hold.set()

    assert "one" == asyncio.run(asked())
    assert isinstance(handler, Caching)
    assert 2 == handler.stats()["slow"].failures


def test_a_disk_that_cannot_be_written_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Where there can be no file the answers are in memory alone, and one warning says so.
    """
    (tmp_path / "file").write_text("")
    ask = Ask(Script("one"), tiers=tiers(tmp_path / "file" / "c.db"))

    assert ["one"] * 5 == [ask() for _ in range(5)]
    assert [] == caplog.records

    other = Ask(Script(always="one"), tiers=tiers(tmp_path / "file" / "c.db"))
    for number in range(5):
        other(str(number))

    assert 1 == len(caplog.records)
    assert str(tmp_path) in caplog.text


def test_cancelling_a_call_that_is_being_stored_passes_through() -> None:
    """
    A caller that is cancelled while its answer is written learns that it was cancelled, and nothing is half kept.
    """

    class Waiting(VirtualRuntime):
        async def offload(self, function: Callable[..., Any], *arguments: Any) -> Any:
            await self.signal().wait(self.now() + 0.01)
            return function(*arguments)

    runtime = Waiting()
    store = Slow()
    handler = Cache(tiers=(store,)).wrap(Script("one", "two"))

    async def asked() -> str:
        return text(await (await handler(asking(runtime))).response())

    async def cancelled() -> str:
        task = runtime.spawn(asked())
        await runtime.sleep(0.015)
        task.cancel()
        await task.wait()
        with pytest.raises(asyncio.CancelledError):
            task.result()
        return await asked()

    assert "two" == runtime.run(cancelled())


# Options.


def test_the_documented_section_loads() -> None:
    """
    The section as the documentation prints it is understood, and written back as it can be read.
    """
    section = {
        "enabled": True, "ttl": "1h", "key_hash": "sha256", "max_size": 10000,
        "tiers": ["memory", {"kind": "sqlite", "path": ".llmgate/cache.db"}],
    }  # fmt: skip
    cache = Cache.model_validate(section)

    assert (MemoryTier(), SqliteTier(path=".llmgate/cache.db")) == cache.tiers
    assert 3600.0 == cache.ttl
    assert cache == Cache.model_validate(cache.model_dump()) == Cache.model_validate_json(cache.model_dump_json())
    assert "1h" == cache.model_dump()["ttl"]


@pytest.mark.parametrize(
    ("section", "where"),
    [
        ({"tiers": []}, "tiers"),
        ({"tiers": ["memroy"]}, "memroy"),
        ({"tiers": [{"kind": "sqlite", "pth": "x"}]}, "pth"),
        ({"tiers": [{"path": "x"}]}, "tiers"),
        ({"tiers": [7]}, "tiers"),
        ({"ttl": 0}, "ttl"),
        ({"max_size": 0}, "max_size"),
        ({"key_hash": "md5"}, "key_hash"),
        ({"scope": "everybody"}, "scope"),
        ({"verbs": ["sing"]}, "verbs"),
        ({"tl": "1h"}, "tl"),
    ],
)
def test_wrong_options_are_refused(section: dict[str, Any], where: str) -> None:
    """
    What cannot be meant is refused with its place.
    """
    with pytest.raises(ValidationError, match=where):
        Cache.model_validate(section)


def test_a_cache_that_is_off_is_not_there() -> None:
    """
    Switched off, it leaves the handler as it is.
    """
    script = Script()

    assert script is Cache(enabled=False).wrap(script)


def test_handlers_may_share_a_cache() -> None:
    """
    One cache may stand before several handlers.
    """
    ask = Ask(Script("one"))
    other = ask.cache.sharing(Script("other"))
    ask()

    assert "one" == text(answered(ask.runtime, other, asking(ask.runtime)))
    assert "other" == text(answered(ask.runtime, other, asking(ask.runtime, "b")))
    assert "other" == ask("b")


def test_closing_lets_go_of_everything(tmp_path: Path) -> None:
    """
    A closed cache holds no answers in memory; those on the disk are there when it is used again.
    """
    ask = Ask(Script("one"), tiers=tiers(tmp_path / "c.db"))
    ask()
    ask.cache.close()

    assert "one" == ask()
    assert 1 == ask.cache.stats()["disk"].hits
    ask.cache.close()
