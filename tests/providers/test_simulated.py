"""A provider that pretends: the same to the same question, at the pace and with the failures that were asked for."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from llmgate import DeadlineExceeded, Gateway, GatewayError, RateLimited, Simulated, StreamInterrupted
from llmgate.dialects.media_words import media_type_of
from llmgate.errors import BadRequest, UpstreamTimeout
from llmgate.policies.timers import Clocks, Timers
from llmgate.providers.simulated import FAILURES
from llmgate.testing import VirtualRuntime, call_for
from llmgate.types.reply import Reply
from llmgate.types.request import Request


def asked(provider: Simulated, runtime: VirtualRuntime, *, stream: bool = False, deadline: float = 1000.0) -> Any:
    """An answer on a virtual clock."""

    async def story() -> Any:
        reply = await provider.bind("m")(call_for(runtime, "one two three four", stream=stream, deadline=deadline))
        return await reply.response()

    return runtime.run(story())


class TestAnswers:
    def test_say_what_was_asked(self) -> None:
        """
        By default it says what it was asked, whatever shape that has.
        """
        parts = [
            {"type": "text", "text": "hello"},
            {"type": "image_url", "image_url": {"url": "x"}},
            {"type": "text", "text": "you"},
        ]
        with Simulated() as provider:
            assert "You said: hello" == provider.chat("m", "hello").text
            assert "You said: hello  you" == provider.chat("m", [{"role": "user", "content": parts}]).text
            assert "You said: Once" == provider.complete("m", "Once").text
            assert "Blue." == Simulated(answer="Blue.").chat("m", "hello").text

    def test_are_the_same_to_the_same_question(self) -> None:
        """
        Two of them answer alike, ids, usage and vectors included; another question has another id.
        """
        one, other = Simulated(), Simulated(name="other")
        first, second = one.chat("m", "hello"), other.chat("m", "hello")

        assert (first.id, first.usage, first.to_openai()) == (second.id, second.usage, second.to_openai())
        assert first.id != one.chat("m", "bye").id
        assert one.embed("m", ["a", "b"]).vectors == other.embed("m", ["a", "b"]).vectors
        assert one.embed("m", "a").vectors[0] != one.embed("m", "b").vectors[0]

    def test_of_every_verb(self) -> None:
        """
        It has all verbs: models to find, vectors of one length, and requests that it repeats.
        """
        with Simulated() as provider:
            assert "pretend-1" in provider.models()
            assert {8} == {len(vector) for vector in provider.embed("m", ["a", "b", "c"]).vectors}
            found = provider.request("POST", "/anything?x=1", json={"a": 1})
        assert {"method": "POST", "path": "/anything?x=1", "json": {"a": 1}} == found.json()

    def test_of_everything_beside_chat(self) -> None:
        """
        Small and whole, the same to the same question, and telling questions apart.
        """
        with Simulated() as provider:
            images, speech = provider.image("m", "a fox", n=2), provider.speak("m", "hi there", voice="v")
            judged = provider.moderate("m", ["hello", "Some Violence!"])
            ranking = provider.rerank("m", "red fox", ["a blue whale", "the Red fox", "a fox"], top_n=2)
            heard = provider.transcribe("m", ("talk.wav", b"RIFF"))
            counts = [provider.count_tokens("m", text).input_tokens for text in ("one", "one two")]
            again = provider.image("m", "a fox", n=2), provider.speak("m", "hi there", voice="v")

        assert (images.data, speech.content) == (again[0].data, again[1].content)
        assert 2 == len({image.content for image in images}) and all(
            image.media_type == "image/png" for image in images
        )
        assert ("image/png", "audio/wav") == (
            media_type_of(images.data[0].content or b""),
            media_type_of(speech.content),
        )
        with wave.open(io.BytesIO(speech.content)) as sound:
            assert 0.6 == sound.getnframes() / sound.getframerate()
        assert [False, True] == [result.flagged for result in judged]
        assert [("violence", 1.0)] == [pair for pair in judged.results[1].scores.items() if pair[1]]
        assert [(1, 1.0), (2, 0.5)] == [(ranked.index, ranked.score) for ranked in ranking]
        assert ("You said: talk.wav", [1, 2]) == (heard.text, counts)
        assert "Hi." == Simulated(answer="Hi.").transcribe("m", ("a.wav", b"x")).text

    def test_a_picture_is_one(self) -> None:
        """
        Every block of it has its checksum, and its rows are there.
        """
        with Simulated() as provider:
            png = provider.image("m", "a fox").data[0].content or b""
        blocks, at = {}, 8
        while at < len(png):
            size, kind = struct.unpack_from(">I4s", png, at)
            blocks[kind] = png[at + 8 : at + 8 + size]
            assert zlib.crc32(png[at + 4 : at + 8 + size]) == struct.unpack_from(">I", png, at + 8 + size)[0]
            at += 12 + size

        assert [b"IHDR", b"IDAT", b"IEND"] == [*blocks]
        assert 8 * (1 + 8 * 3) == len(zlib.decompress(blocks[b"IDAT"]))

    def test_a_video_takes_its_time(self) -> None:
        """
        It goes on by the clock, whoever looks, and is there when the time is over; a job that nobody began is none.
        """
        runtime, provider = VirtualRuntime(), Simulated(job_time=10)
        ask = provider.bind("m")

        def look(verb: Any, id: str) -> Any:
            call = call_for(runtime).but(request=Request(verb, "m", {"id": id}))

            async def story() -> Any:
                return await (await ask(call)).response()

            return runtime.run(story())

        begun = look("video", "")
        states = []
        for seconds in (0.0, 2.5, 7.5):
            runtime.run(runtime.sleep(seconds))
            states.append((look("video_status", begun.id).status, look("video_status", begun.id).progress))
        film = look("video_content", begun.id)

        assert [("queued", 0), ("in_progress", 25), ("completed", 100)] == states
        assert ("video/mp4", True) == (film.media_type, film.content[4:].startswith(b"ftyp"))
        for verb, id in (("video_status", "nobody"), ("video_content", f"x-{runtime.now()}")):
            with pytest.raises(BadRequest):
                look(verb, id)

    def test_a_stream_is_the_same_answer(self) -> None:
        """
        The pieces of a stream are the words of the whole answer, with the same usage.
        """
        with Simulated(answer="a  b c") as provider:
            whole = provider.chat("m", "hi")
            with provider.stream("m", "hi") as reading:
                pieces = [chunk.text for chunk in reading if chunk.text]
        assert ["a ", " ", "b ", "c"] == pieces
        assert (whole.text, whole.usage, "stop") == (
            reading.response.text,
            reading.response.usage,
            reading.response.finish_reason,
        )


class TestPace:
    def test_latency_and_rate(self) -> None:
        """
        The first token comes after the latency, the others at their pace; a whole answer takes as long as its stream.
        """
        provider = Simulated(answer="a b c d", latency="2s", tokens_per_second=2)

        whole, stream = VirtualRuntime(), VirtualRuntime()
        asked(provider, whole)
        asked(provider, stream, stream=True)
        assert (4.0, 4.0) == (whole.now(), stream.now())

    def test_the_first_token(self) -> None:
        """
        A stream's reply is there with its first token, and says when that was.
        """
        runtime = VirtualRuntime()

        async def story() -> Reply:
            return await Simulated(answer="a b", latency=1, tokens_per_second=4).bind("m")(
                call_for(runtime, stream=True)
            )

        reply = runtime.run(story())
        assert 1.25 == runtime.now() == reply.first_token_s
        runtime.run(reply.close())

    def test_keeps_to_the_calls_clocks(self) -> None:
        """
        Who is slower than a clock of the call fails when that clock strikes, with its name.
        """
        runtime = VirtualRuntime()
        with pytest.raises(DeadlineExceeded):
            asked(Simulated(latency=10), runtime, deadline=3.0)
        assert 3.0 == runtime.now()

        runtime = VirtualRuntime()

        async def story() -> None:
            call = call_for(runtime, stream=True, deadline=100.0)
            call.timers = Timers(Clocks(first_token_s=2.0), 0.0, 100.0, True)
            await Simulated(latency=5).bind("m")(call)

        with pytest.raises(UpstreamTimeout) as raised:
            runtime.run(story())
        assert (2.0, "first_token") == (runtime.now(), raised.value.timer)


class TestFailures:
    @pytest.mark.parametrize("kind", FAILURES)
    def test_of_every_kind(self, kind: str) -> None:
        """
        Each kind of error can be asked for by its name, for whole answers and streams.
        """
        for stream in (False, True):
            with pytest.raises(GatewayError) as raised:
                asked(Simulated(failures=[kind]), VirtualRuntime(), stream=stream)
            assert kind == raised.value.kind

    def test_by_a_script(self) -> None:
        """
        A script is worked through call by call; behind its end everything is well.
        """
        provider = Simulated(failures=["rate_limited", "ok", "overloaded"], retry_after="7s")
        outcomes = []
        for _ in range(5):
            try:
                outcomes.append(provider.chat("m", "hi").finish_reason)
            except GatewayError as error:
                outcomes.append((error.kind, error.retry_after))
        assert [("rate_limited", 7.0), "stop", ("overloaded", None), "stop", "stop"] == outcomes

    def test_by_chance(self) -> None:
        """
        Shares are shares, and the same seed has the same luck.
        """
        failures = {"rate_limited": 0.2, "ok": 0.1, "upstream_error": 0.3}

        def outcomes(seed: int) -> list[str]:
            provider, found = Simulated(failures=failures, seed=seed), []
            for _ in range(2000):
                try:
                    provider.chat("m", "hi")
                    found.append("ok")
                except GatewayError as error:
                    found.append(error.kind)
            return found

        counts = Counter(outcomes(1))
        assert 340 < counts["rate_limited"] < 460 and 520 < counts["upstream_error"] < 680
        assert outcomes(2) == outcomes(2) != outcomes(3)

    def test_a_stream_that_breaks_off(self) -> None:
        """
        An interrupted stream brings its first half, and the error has it.
        """
        pieces: list[str] = []
        with (
            Simulated(answer="a b c d", failures=["stream_interrupted"]) as provider,
            pytest.raises(StreamInterrupted) as raised,
        ):
            for chunk in provider.stream("m", "hi"):
                pieces.append(chunk.text)
        assert (["a ", "b "], "a b ") == (pieces, raised.value.partial.text)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"failures": ["nope"]}, "'nope' is no kind of error"),
            ({"failures": {"rate_limited": 1.5}}, "shares are from 0 to 1"),
            ({"failures": {"rate_limited": 0.6, "overloaded": 0.6}}, "at most 1 together"),
            ({"latency": -1}, "negative"),
            ({"tokens_per_second": 0}, "greater than 0"),
        ],
    )
    def test_that_cannot_be(self, options: dict[str, Any], said: str) -> None:
        """
        What cannot be simulated is refused.
        """
        with pytest.raises(ValidationError, match=said):
            Simulated(**options)

    def test_in_a_gateway(self) -> None:
        """
        The gateway treats them as it would treat the real ones.
        """
        config = {
            "providers": {"pretend": {"kind": "simulated", "failures": ["rate_limited", "ok"], "retry_after": 0.01}}
        }
        with Gateway(config) as gateway:
            assert ["rate_limited", "ok"] == [attempt.kind for attempt in gateway.chat("pretend/a", "hi").attempts]
        with Gateway(config | {"retry": {"enabled": False}}) as gateway, pytest.raises(RateLimited):
            gateway.chat("pretend/a", "hi")
