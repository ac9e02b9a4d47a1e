"""The verbs beside chat on both faces, files that are handed over, and videos that are waited for."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from llmgate.errors import (
    AuthenticationFailed,
    BadRequest,
    CircuitOpen,
    ContentFiltered,
    DeadlineExceeded,
    GatewayClosed,
    GatewayError,
    ModelNotFound,
    Overloaded,
    RateLimited,
    UpstreamTimeout,
)
from llmgate.runtime.accepting import accept
from llmgate.runtime.edge import AsyncFace, Door, Face
from llmgate.runtime.jobs import AsyncVideoJob, VideoJob
from llmgate.types.call import CacheControl, Call, Options
from llmgate.types.deployment import Deployment
from llmgate.types.media import (
    Binary,
    Image,
    Images,
    Moderation,
    Moderations,
    Ranked,
    Ranking,
    Speech,
    TokenCount,
    Transcription,
    Video,
)
from llmgate.types.reply import Reply
from llmgate.types.response import Answer
from llmgate.types.runtime import Runtime
from llmgate.types.uploads import content_of, upload

MAKER = Deployment("up/film#2", "up", "film")
WAV = b"RIFF\0\0\0\0WAVE"
HELD = upload(WAV, "a.wav", "audio/wav")


class Instant:
    """A runtime whose time passes when somebody sleeps, and which remembers what was run beside."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.offloaded = 0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    async def offload(self, function: Callable[..., Any], *args: Any) -> Any:
        self.offloaded += 1
        return function(*args)


class House:
    """A door, who answers there, and what was asked; each answer takes a second."""

    def __init__(self, *answers: Answer | GatewayError, scope: Options | None = None) -> None:
        self.runtime = Instant()
        self.calls: list[Call] = []
        self._answers = deque(answers)
        runtime = cast(Runtime, self.runtime)
        self.door = Door(self.open, runtime, runtime, lambda: scope)

    async def open(self, call: Call) -> Reply:
        self.calls.append(call)
        self.runtime.time += 1.0
        answer = self._answers.popleft()
        if isinstance(answer, GatewayError):
            raise answer
        return Reply.of(copy.copy(answer), deployment=MAKER)


class Blocking(Face):
    def __init__(self, door: Door) -> None:
        self._door = door


class InColour:
    def __init__(self, name: str) -> None:
        self.blocking = name == "blocking"

    def face(self, house: House) -> Any:
        return Blocking(house.door) if self.blocking else AsyncFace(house.door)

    def do(self, asking: Callable[[], Any]) -> Any:
        """What a verb returns, of a face or a job of this colour."""
        if self.blocking:
            return asking()

        async def awaited() -> Any:
            return await asking()

        return asyncio.run(awaited())

    def ask(self, house: House, verb: str, *args: Any, **params: Any) -> Any:
        return self.do(lambda: getattr(self.face(house), verb)(*args, **params))


@pytest.fixture(params=["blocking", "asyncio"])
def colour(request: pytest.FixtureRequest) -> InColour:
    return InColour(request.param)


# --- verbs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "args", "params", "answer", "body"),
    [
        ("image", ("m", "a cat"), {"n": 2}, Images(data=[Image("http://x")]), {"prompt": "a cat", "n": 2}),
        ("moderate", ("m", ["a"]), {}, Moderations(results=[Moderation(True)]), {"input": ["a"]}),
        (
            "rerank", ("m", "q", ("a", {"text": "b"})), {"top_n": 1}, Ranking(results=[Ranked(0, 1.0, "a")]),
            {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1},
        ),
        ("transcribe", ("m", WAV), {"language": "en"}, Transcription(text="hi"),
         {"file": upload(WAV), "language": "en"}),
        ("transcribe", ("m",), {"file_url": "http://x"}, Transcription(text="hi"), {"file_url": "http://x"}),
        ("speak", ("m", "hi"), {"voice": "alloy", "speed": 2}, Speech(content=b"x"),
         {"input": "hi", "voice": "alloy", "speed": 2}),
        ("speak", ("m", "hi"), {}, Speech(content=b"x"), {"input": "hi"}),
        (
            "count_tokens", ("m", "hi"), {"tools": []}, TokenCount(input_tokens=3),
            {"messages": [{"role": "user", "content": "hi"}], "tools": []},
        ),
    ],
)  # fmt: skip
def test_ask_and_answer(
    colour: InColour, verb: str, args: tuple[Any, ...], params: dict[str, Any], answer: Answer, body: dict[str, Any]
) -> None:
    """
    What was asked arrives at the door as JSON, and the answer comes back with who gave it.
    """
    house = House(answer)
    found = colour.ask(house, verb, *args, tenant="t", **params)
    call = house.calls[0]

    assert answer == found
    assert ("up/film#2", "up") == (found.deployment, found.provider)
    assert (verb, body, "m", "t") == (call.request.verb, call.request.body, call.route, call.options.tenant)


@pytest.mark.parametrize(
    ("verb", "args", "params", "said"),
    [
        ("image", ("m", ""), {}, "prompt: it is empty"),
        ("image", ("m", None), {}, "prompt: expected a string, got NoneType"),
        ("image", ("m", ["a"]), {}, "prompt: expected a string, got list"),
        ("image", ("m", "a"), {"stream": True}, "stream: use gateway.stream"),
        ("video", ("m", ""), {}, "prompt: it is empty"),
        ("moderate", ("m", ""), {}, "input: it is empty"),
        ("moderate", ("m", []), {}, "input: it is empty"),
        ("moderate", ("m", b"x"), {}, "input: expected a string or list, got bytes"),
        ("rerank", ("m", "", ["a"]), {}, "query: it is empty"),
        ("rerank", ("m", "q", []), {}, "documents: it is empty"),
        ("rerank", ("m", "q", "abc"), {}, "documents: expected a list, got str"),
        ("transcribe", ("m",), {}, "file: there is nothing to transcribe"),
        ("transcribe", ("m", b""), {}, "file: the file is empty"),
        ("transcribe", ("m", ("a.wav",)), {}, "file: a tuple is a file's name"),
        ("transcribe", ("m", ("a.wav", "text")), {}, "file: a tuple is a file's name"),
        ("transcribe", ("m", "/nowhere/a.wav"), {}, "file: /nowhere/a.wav cannot be read: No such file"),
        ("transcribe", ("m", "/"), {}, "file: / cannot be read: Is a directory"),
        ("transcribe", ("m", WAV), {"timeout": "soon"}, "timeout: "),
        ("speak", ("m", ""), {}, "input: it is empty"),
        ("count_tokens", ("m", []), {}, "messages: the list is empty"),
    ],
)
def test_wrong_input_asks_nobody(
    colour: InColour, verb: str, args: tuple[Any, ...], params: dict[str, Any], said: str
) -> None:
    """
    What cannot be sent is refused with its place, before anybody is asked.
    """
    house = House()
    with pytest.raises(BadRequest) as caught:
        colour.ask(house, verb, *args, **params)

    assert str(caught.value).startswith(said)
    assert [] == house.calls


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (WAV, ("file.wav", "audio/wav")),
        (bytearray(WAV), ("file.wav", "audio/wav")),
        (b"\0\1\2", ("file", "application/octet-stream")),
        (("speech.mp3", WAV), ("speech.mp3", "audio/mpeg")),
        (("speech", WAV, "audio/x-own"), ("speech", "audio/x-own")),
        (("", WAV), ("file.wav", "audio/wav")),
        (("SPEECH.FLAC", b"\0"), ("SPEECH.FLAC", "audio/flac")),
    ],
)
def test_a_file_is_bytes_or_a_name_with_bytes(colour: InColour, given: Any, expected: tuple[str, str]) -> None:
    """
    It is named and typed by what was said, else by its ending, else by its first bytes; and its bytes are all there.
    """
    house = House(Transcription(text="hi"))
    colour.ask(house, "transcribe", "m", given)
    file = house.calls[0].request.body["file"]

    assert expected == (file["filename"], file["media_type"])
    assert bytes(given if not isinstance(given, tuple) else given[1]) == content_of(file)


def test_a_file_is_read_where_that_blocks_nobody(colour: InColour, tmp_path: Path) -> None:
    """
    A path, or its text, is read beside the caller and named without its folders.
    """
    path = tmp_path / "talk.ogg"
    path.write_bytes(b"OggS")
    house = House(Transcription(text="hi"), Transcription(text="hi"))
    for given in (path, str(path)):
        colour.ask(house, "transcribe", "m", given)

    held = upload(b"OggS", "talk.ogg", "audio/ogg")
    assert [held, held] == [call.request.body["file"] for call in house.calls]
    assert 2 == house.runtime.offloaded


def test_images_to_change_are_files_or_addresses(colour: InColour, tmp_path: Path) -> None:
    """
    Bytes, paths and named bytes are taken along, one or several of them; a text is an address, whatever it looks like.
    """
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    house = House(Images(data=[Image("x")]))
    colour.ask(
        house, "image", "m", "red", image=[path, b"GIF8"], mask=("m.png", b"x"), images=["https://x/y", str(path)]
    )
    body = house.calls[0].request.body

    assert ["a.png", "file.gif"] == [file["filename"] for file in body["image"]]
    assert "m.png" == body["mask"]["filename"]
    assert ["https://x/y", str(path)] == body["images"]


def test_a_recording_may_be_as_large_as_upstreams_take() -> None:
    """
    What counts is the file as it travels and not its base64; a text of that size is too long all the same.
    """
    largest = upload(bytes(25 * 2**20))

    assert accept("transcribe", {"file": largest})
    with pytest.raises(BadRequest, match="bytes long"):
        accept("transcribe", {"file": HELD, "prompt": "x" * 33_000_000})
    with pytest.raises(BadRequest, match="larger than"):
        InColour("blocking").ask(House(), "transcribe", "m", bytes(32_000_001))


def test_base64_of_a_file_is_that_of_everybody() -> None:
    """
    A file's data is plain base64 in one line.
    """
    assert base64.b64encode(WAV).decode() == HELD["data"]


# --- videos -----------------------------------------------------------------------------------------------------------


def at(status: str, progress: int | None = None, **more: Any) -> Video:
    return Video(id="v1", status=status, progress=progress, **more)


def begun(colour: InColour, *looks: Answer | GatewayError, **params: Any) -> tuple[Any, House]:
    house = House(at("queued"), *looks, scope=Options(tenant="scope"))
    return colour.ask(house, "video", "films", "a fox", **params), house


def test_a_video_is_looked_at_until_it_is_done(colour: InColour) -> None:
    """
    Every `poll` seconds it is looked at, at the deployment that makes it, and whoever wants to hears of every change.
    """
    told: list[tuple[str, int | None]] = []
    job, house = begun(
        colour,
        at("queued"),
        at("in_progress", 30),
        at("in_progress", 30),
        at("completed", 100),
        Binary(content=b"film"),
    )

    done = colour.do(lambda: job.wait(poll="2s", on_progress=lambda job: told.append((job.status, job.progress))))
    film = colour.do(lambda: job.content(variant="video"))

    assert done is job and isinstance(job, VideoJob if colour.blocking else AsyncVideoJob)
    assert b"film" == film
    assert [("in_progress", 30), ("completed", 100)] == told
    assert [2.0] * 4 == house.runtime.slept
    assert ["films", *["up/film#2"] * 5] == [call.route for call in house.calls]
    assert ["video", *["video_status"] * 4, "video_content"] == [call.request.verb for call in house.calls]
    assert [{"id": "v1"}] * 4 == [call.request.body for call in house.calls[1:5]]
    assert {"id": "v1", "variant": "video"} == house.calls[5].request.body


def test_what_was_said_for_the_making_holds_for_the_looking(colour: InColour) -> None:
    """
    Tenant and tags stay; what would make a look something else does not: neither a cache nor the key of the making.
    """
    job, house = begun(
        colour, at("completed"), Binary(content=b"film"), tenant="acme", tags={"a": "b"}, cache=True, idempotency_key="k",
        timeout=7,
    )  # fmt: skip
    colour.do(job.refresh)
    colour.do(job.content)
    making, look, fetch = (call.options for call in house.calls)

    assert ("acme", {"a": "b"}, "k", CacheControl(asked=True)) == (
        making.tenant, making.tags, making.idempotency_key, making.cache,
    )  # fmt: skip
    for asked in (look, fetch):
        assert ("acme", {"a": "b"}, None, None) == (asked.tenant, asked.tags, asked.idempotency_key, asked.cache)
    assert 7.0 == house.calls[2].deadline - house.calls[2].started


def test_looks_are_of_the_scope_where_nothing_was_said(colour: InColour) -> None:
    """
    A job that was begun without words of its own is looked at as the scope says.
    """
    job, house = begun(colour, at("completed"))
    colour.do(job.refresh)

    assert ["scope", "scope"] == [call.options.tenant for call in house.calls]


@pytest.mark.parametrize(
    "error", [Overloaded("busy"), UpstreamTimeout("slow"), CircuitOpen("open"), DeadlineExceeded("late")], ids=repr
)
def test_an_upstream_that_cannot_be_asked_is_asked_again(colour: InColour, error: GatewayError) -> None:
    """
    The video is being made, whoever could not be asked about it.
    """
    job, house = begun(colour, error, error, at("completed"))
    colour.do(lambda: job.wait(poll=1))

    assert "completed" == job.status
    assert [1.0, 1.0, 1.0] == house.runtime.slept


def test_it_is_left_alone_as_long_as_it_asks(colour: InColour) -> None:
    """
    The next look comes no sooner than the upstream wants, and the one after that as usual.
    """
    job, house = begun(colour, RateLimited("slow down", retry_after=30.0), at("in_progress"), at("completed"))
    colour.do(lambda: job.wait(poll=1))

    assert [1.0, 30.0, 1.0] == house.runtime.slept


@pytest.mark.parametrize(
    "error", [AuthenticationFailed("no"), ModelNotFound("gone"), BadRequest("no"), GatewayClosed("over")], ids=repr
)
def test_what_no_waiting_helps_is_raised(colour: InColour, error: GatewayError) -> None:
    """
    A key that is refused, a job that nobody knows and a gateway that is closed end the waiting.
    """
    job, _ = begun(colour, error)
    with pytest.raises(type(error)):
        colour.do(job.wait)


def test_waiting_has_an_end_and_the_video_goes_on(colour: InColour) -> None:
    """
    After the time given it is over, exactly; it can be waited for again.
    """
    job, house = begun(colour, at("in_progress", 1), at("in_progress", 2), at("completed"))
    start = house.runtime.time
    with pytest.raises(DeadlineExceeded, match="v1 is not done in time"):
        colour.do(lambda: job.wait(timeout=6, poll=3))
    took_s = house.runtime.time - start
    colour.do(job.wait)

    # Two looks of a second each, and the waits before them; the second wait is cut short.
    assert [3.0, 2.0, 5.0] == house.runtime.slept
    assert took_s <= 6 + 1
    assert "completed" == job.status


def test_no_look_outlives_the_waiting(colour: InColour) -> None:
    """
    The deadline of a look is a minute, or what is left, but never less than the time between two.
    """
    job, house = begun(colour, at("queued"), at("queued"), at("queued"))
    with pytest.raises(DeadlineExceeded):
        colour.do(lambda: job.wait(timeout=120, poll=50))

    assert [60.0, 50.0, 50.0][: len(house.calls) - 1] == [call.deadline - call.started for call in house.calls[1:]]


def test_a_video_that_failed_says_why(colour: InColour) -> None:
    """
    Waiting for it, and asking for its content, raise what it failed of; each time an error of its own.
    """
    job, _ = begun(colour, at("failed", error=ContentFiltered("no foxes")))
    raised = []
    for asking in (job.wait, job.wait, job.content):
        with pytest.raises(ContentFiltered, match="no foxes") as caught:
            colour.do(asking)
        raised.append(caught.value)

    assert "failed" == job.status
    assert "up/film#2" == raised[0].deployment
    assert 3 == len({id(error) for error in raised})


def test_content_is_there_when_the_video_is(colour: InColour) -> None:
    """
    Nobody is asked for a video that is known to be unfinished.
    """
    job, house = begun(colour)
    with pytest.raises(BadRequest, match="v1 is not there yet"):
        colour.do(job.content)

    assert 1 == len(house.calls)


def test_where_a_video_lies_goes_along(colour: InColour) -> None:
    """
    An address that the upstream gave is handed on with the question for the content.
    """
    job, house = begun(colour, at("completed", url="https://films/1"), Binary(content=b"film"))
    colour.do(job.wait)
    colour.do(job.content)

    assert {"id": "v1", "url": "https://films/1"} == house.calls[-1].request.body


def test_another_process_can_go_on(colour: InColour) -> None:
    """
    The deployment and the id are all that it takes.
    """
    house = House(at("completed", 100))
    job = colour.face(house).video_job("up/film#2", "v1")
    unseen = job.status
    colour.do(job.wait)

    assert ("unknown", []) == (unseen, house.runtime.slept)
    assert ("up/film#2", {"id": "v1"}) == (house.calls[0].route, house.calls[0].request.body)
    assert ("v1", "up/film#2", "completed", 100, None, None) == (
        job.id, job.deployment, job.status, job.progress, job.error, job.cost,
    )  # fmt: skip
    assert repr(job).endswith("VideoJob v1 at up/film#2, completed, 100 %>")


def test_a_video_that_cannot_be_seen_is_waited_for(colour: InColour) -> None:
    """
    A first look that fails is followed by a rest like any other.
    """
    house = House(Overloaded("busy"), at("completed", 100))
    colour.do(lambda: colour.face(house).video_job("up/film#2", "v1").wait(poll=3))

    assert [3.0] == house.runtime.slept


@pytest.mark.parametrize("times", [{"timeout": "soon"}, {"poll": "never"}, {"poll": -1}, {"poll": 0}])
def test_times_that_are_none_are_refused(colour: InColour, times: dict[str, Any]) -> None:
    """
    Before anybody waits.
    """
    job, house = begun(colour)
    with pytest.raises(BadRequest):
        colour.do(lambda: job.wait(**times))

    assert [] == house.runtime.slept
