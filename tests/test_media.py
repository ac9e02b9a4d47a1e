"""Images, videos, speech, transcripts, rankings, judgements and counts, through the whole house to a server and back."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from llmgate import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    Gateway,
    GatewayError,
    OpenAICompatible,
    UpstreamError,
)
from llmgate.dialects.multipart import read_form
from llmgate.testing import Hang, Received, Reset, ScriptedServer, Steps, error, http_response
from llmgate.types.uploads import upload
from tests.conftest import Colour

PNG = b"\x89PNG\r\n\x1a\n..."
FILM = b"\0\0\0\x18ftypmp42"
SWIFT = {"base_delay": "1ms", "max_delay": "1ms"}


def config(server: ScriptedServer, *keys: str, **sections: Any) -> dict[str, Any]:
    upstream = {"kind": "openai-compatible", "base_url": server.base_url, "api_key": [*(keys or ("key-one",))]}
    return {"providers": {"up": upstream}, "retry": SWIFT} | sections


def json_(body: Any, status: int = 200) -> Steps:
    return http_response(status, body)


def form_of(received: Received) -> dict[str, Any]:
    return read_form(received.headers["content-type"], received.body)


class TestAnswers:
    def test_a_recording_is_written_down(self, colour: Colour, server: ScriptedServer, tmp_path: Path) -> None:
        """
        It travels as a form, the same bytes with each attempt, and comes back as a text.
        """
        path = tmp_path / "talk.wav"
        path.write_bytes(b"RIFF\0\0\0\0WAVE")
        server.answer(error(503), json_({"text": "hello", "duration": 1.5}))
        gateway = colour.gateway(config(server))
        answer = colour.ask(gateway, "transcribe", "up/whisper", str(path), language="en")
        first, second = server.requests

        assert ("hello", 1.5, "up/whisper", 2) == (
            answer.text,
            answer.duration_s,
            answer.deployment,
            len(answer.attempts),
        )
        assert ("POST", "/v1/audio/transcriptions") == (first.method, first.path)
        held = upload(b"RIFF\0\0\0\0WAVE", "talk.wav", "audio/wav")
        assert {"model": "whisper", "file": held, "language": "en"} == form_of(first)
        assert (first.body, first.headers["content-type"]) == (second.body, second.headers["content-type"])
        assert 1 == len([name for name, _ in first.raw_headers if name.lower() == "content-type"])

    def test_a_text_is_said_aloud(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Sound comes back as bytes, and is what it says of itself or what its header says.
        """
        server.answer(
            http_response(200, b"ID3\4sound", {"content-type": "audio/mpeg; x=y"}),
            http_response(200, b"\0\1\2", {"content-type": "audio/pcm"}),
        )
        gateway = colour.gateway(config(server))
        mp3 = colour.ask(gateway, "speak", "up/tts", "hi", voice="alloy")
        pcm = colour.ask(gateway, "speak", "up/tts", "hi", voice="alloy", response_format="pcm")

        assert {"model": "tts", "input": "hi", "voice": "alloy"} == server.requests[0].json()
        assert [(b"ID3\4sound", "audio/mpeg"), (b"\0\1\2", "audio/pcm")] == [
            (speech.content, speech.media_type) for speech in (mp3, pcm)
        ]
        assert None is mp3.cost

    def test_images_are_made_and_changed(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Anew by JSON, and out of a file by a form.
        """
        server.always(json_({"data": [{"b64_json": base64.b64encode(PNG).decode()}]}))
        gateway = colour.gateway(config(server))
        made = colour.ask(gateway, "image", "up/painter", "a fox", n=1)
        changed = colour.ask(gateway, "image", "up/painter", "a red fox", image=("fox.png", PNG))

        assert [PNG, PNG] == [images.data[0].content for images in (made, changed)]
        assert ["/v1/images/generations", "/v1/images/edits"] == [received.path for received in server.requests]
        assert "fox.png" == form_of(server.requests[1])["image"]["filename"]

    def test_documents_are_ranked_and_texts_judged(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Each at its path, each with its answer.
        """
        server.answer(
            json_({"results": [{"index": 1, "relevance_score": 0.9}], "usage": {"total_tokens": 5}}),
            json_({"results": [{"flagged": True, "categories": {"hate": True}, "category_scores": {"hate": 0.9}}]}),
        )
        gateway = colour.gateway(config(server))
        ranking = colour.ask(gateway, "rerank", "up/ranker", "q", ["a", "b"], top_n=1)
        judged = colour.ask(gateway, "moderate", "up/judge", "words")

        assert [(1, 0.9, "b")] == [(ranked.index, ranked.score, ranked.document) for ranked in ranking]
        assert judged.flagged
        assert ["/v1/rerank", "/v1/moderations"] == [received.path for received in server.requests]

    def test_tokens_are_counted_where_they_can_be(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Anthropic and OpenAI count; whoever cannot is named, and nobody is asked.
        """
        server.answer(json_({"input_tokens": 14}), json_({"object": "response.input_tokens", "input_tokens": 11}))
        providers = {
            "claude": {"kind": "anthropic", "base_url": server.base_url, "api_key": "k"},
            "gpt": {"kind": "openai", "base_url": server.base_url, "api_key": "k"},
            "local": {"kind": "openai-compatible", "base_url": server.base_url},
        }
        gateway = colour.gateway({"providers": providers})
        counts = [colour.ask(gateway, "count_tokens", f"{name}/m", "hi").input_tokens for name in ("claude", "gpt")]
        with pytest.raises(BadRequest, match="local cannot 'count_tokens'"):
            colour.ask(gateway, "count_tokens", "local/m", "hi")

        assert [14, 11] == counts
        assert ["/v1/messages/count_tokens", "/v1/responses/input_tokens"] == [one.path for one in server.requests]

    def test_errors_mean_what_they_say(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Also under a good status, and where bytes were expected.
        """
        server.answer(
            error(400, {"error": {"message": "flagged", "code": "moderation_blocked"}}),
            json_({"error": {"message": "no such key", "code": "invalid_api_key"}}),
        )
        gateway = colour.gateway(config(server, retry={"enabled": False}))
        with pytest.raises(ContentFiltered):
            colour.ask(gateway, "image", "up/painter", "a fox")
        with pytest.raises(AuthenticationFailed):
            colour.ask(gateway, "speak", "up/tts", "hi")

    def test_by_itself_a_provider_has_the_same_verbs(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Videos, too, from their beginning to their content.
        """
        server.answer(
            json_({"results": [{"index": 0, "relevance_score": 0.9}]}),
            json_({"id": "v1", "status": "queued"}), json_({"id": "v1", "status": "completed"}),
            http_response(200, FILM, {"content-type": "video/mp4"}),
        )  # fmt: skip
        provider = OpenAICompatible(name="up", base_url=server.base_url, api_key="k")
        ranking = colour.ask(provider, "rerank", "ranker", "q", ["a"])
        job = colour.ask(provider, "video", "films/one", "a fox")
        colour.do(job.refresh())
        film = colour.do(job.content())
        colour.close(provider)

        assert "a" == ranking.results[0].document
        assert ("up/films/one", FILM) == (job.deployment, film)
        assert ["/v1/videos/v1", "/v1/videos/v1/content"] == [received.path for received in server.requests[2:]]


class TestCache:
    def test_keeps_what_is_the_same_each_time(self, colour: Colour, server: ScriptedServer) -> None:
        """
        A ranking is given again; an image is made again, unless the call asks for the one that is there.
        """
        ranking = json_({"results": [{"index": 0, "relevance_score": 0.9}]})
        image = json_({"data": [{"b64_json": base64.b64encode(PNG).decode(), "revised_prompt": "p"}]})
        server.answer(ranking, image, image, image)
        gateway = colour.gateway(config(server, cache={}))
        rankings = [colour.ask(gateway, "rerank", "up/r", "q", ["a"]) for _ in range(2)]
        images = [colour.ask(gateway, "image", "up/i", "a fox") for _ in range(2)]
        asked = [colour.ask(gateway, "image", "up/i", "a fox", cache=True) for _ in range(2)]

        assert [None, "memory"] == [answer.cached for answer in rankings]
        assert rankings[0].results == rankings[1].results
        assert [None, None, None, "memory"] == [answer.cached for answer in [*images, *asked]]
        assert [*asked[0]] == [*asked[1]] and PNG == asked[1].data[0].content

    def test_tells_files_apart(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Another recording is another question.
        """
        server.answer(json_({"text": "one"}), json_({"text": "two"}))
        gateway = colour.gateway(config(server, cache={}))
        texts = [colour.ask(gateway, "transcribe", "up/w", ("a.wav", content)).text for content in (b"1", b"2", b"1")]

        assert ["one", "two", "one"] == texts


class TestVideos:
    def begin(self, colour: Colour, gateway: Gateway, **params: Any) -> Any:
        return colour.ask(gateway, "video", "up/films", "a fox", **params)

    def test_are_looked_at_where_they_are_made(self, colour: Colour, server: ScriptedServer) -> None:
        """
        With the key that began it, though another one stands first; under the same middleware, never out of a cache.
        """
        looks = [json_({"id": "v1", "status": status}) for status in ("in_progress", "in_progress", "completed")]
        server.answer(
            error(401), json_({"id": "v1", "status": "queued"}), *looks,
            http_response(200, FILM, {"content-type": "video/mp4"}),
        )  # fmt: skip
        seen: list[str] = []

        async def watch(call: Any, call_next: Any) -> Any:
            seen.append(call.request.verb)
            return await call_next(call)

        cache = {"verbs": ["video", "video_status", "video_content"], "sampled": True}
        gateway = colour.gateway(config(server, "key-one", "key-two", cache=cache), middleware=[("outermost", watch)])
        job = self.begin(colour, gateway)
        states: list[Any] = []
        colour.do(job.wait(poll="1ms", timeout="2s", on_progress=lambda job: states.append(job.status)))
        film = colour.do(job.content())

        assert ("up/films#2", FILM, ["in_progress", "completed"]) == (job.deployment, film, states)
        assert ["Bearer key-one", *["Bearer key-two"] * 5] == [one.headers["authorization"] for one in server.requests]
        assert ["video", *["video_status"] * 3, "video_content"] == seen
        assert ["POST", "POST", *["GET"] * 4] == [received.method for received in server.requests]

    def test_are_known_to_another_gateway(self, colour: Colour, server: ScriptedServer) -> None:
        """
        By the name of their deployment and their id.
        """
        server.answer(json_({"id": "v1", "status": "completed", "progress": 100}))
        gateway = colour.gateway(config(server, "key-one", "key-two"))
        face = gateway if colour.blocking else gateway.aio
        job = face.video_job("up/films#2", "v1")
        colour.do(job.wait())

        assert "completed" == job.status
        assert "Bearer key-two" == server.requests[0].headers["authorization"]

    @pytest.mark.parametrize(("deployment", "key"), [("up/a#2", "key-two"), ("up/a#3", "key-one"), ("up/a", "key-one")])
    def test_names_of_deployments_lead_to_keys(
        self, colour: Colour, server: ScriptedServer, deployment: str, key: str
    ) -> None:
        """
        A number that no key has is a part of the model's name.
        """
        server.always(json_({"id": "v1", "status": "queued"}))
        gateway = colour.gateway(config(server, "key-one", "key-two"))
        face = gateway if colour.blocking else gateway.aio
        colour.do(face.video_job(deployment, "v1").refresh())

        assert f"Bearer {key}" == server.requests[0].headers["authorization"]

    @pytest.mark.parametrize(
        "ending", [error(500), error(502), [Reset()], http_response(200, b"<html>", {"content-type": "text/html"})]
    )
    def test_that_may_have_begun_are_not_begun_again(self, colour: Colour, server: ScriptedServer, ending: Any) -> None:
        """
        Where nobody can tell whether it was accepted, neither the same deployment is asked again nor another one.
        """
        server.answer(ending)
        gateway = colour.gateway(config(server, "key-one", "key-two"))
        with pytest.raises(GatewayError) as caught:
            self.begin(colour, gateway)

        assert caught.value.begun
        assert 1 == len(server.requests)

    def test_that_are_too_slow_to_say_so_are_not_begun_again(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Silence is no refusal.
        """
        server.answer([Hang()])
        gateway = colour.gateway(config(server, "key-one", "key-two", timeouts={"attempt": "100ms"}))
        with pytest.raises(GatewayError) as caught:
            self.begin(colour, gateway)

        assert ("upstream_timeout", 1) == (caught.value.kind, len(server.requests))

    @pytest.mark.parametrize("refusal", [error(429), error(503), error(401)])
    def test_that_were_refused_are_begun_elsewhere(self, colour: Colour, server: ScriptedServer, refusal: Any) -> None:
        """
        Who says no has not begun.
        """
        server.answer(refusal, json_({"id": "v1", "status": "queued"}))
        gateway = colour.gateway(config(server, "key-one", "key-two"))

        assert "up/films#2" == self.begin(colour, gateway).deployment

    def test_with_a_key_of_their_own_are_begun_again_where_they_were(
        self, colour: Colour, server: ScriptedServer
    ) -> None:
        """
        An upstream that takes idempotency keys knows the request again; another one would not.
        """
        server.answer(error(500), json_({"id": "v1", "status": "queued"}))
        gateway = colour.gateway(config(server, "key-one", "key-two"))
        job = self.begin(colour, gateway, idempotency_key="once")

        assert "up/films" == job.deployment
        assert ["once", "once"] == [received.headers["idempotency-key"] for received in server.requests]

    def test_that_failed_say_why(self, colour: Colour, server: ScriptedServer) -> None:
        """
        As an error of the class that the upstream means.
        """
        failed = {"id": "v1", "status": "failed", "error": {"code": "moderation_blocked", "message": "no foxes"}}
        server.answer(json_({"id": "v1", "status": "queued"}), json_(failed))
        job = self.begin(colour, colour.gateway(config(server)))
        with pytest.raises(ContentFiltered, match="no foxes") as caught:
            colour.do(job.wait(poll="1ms"))

        assert ("failed", "up/films") == (job.status, caught.value.deployment)


class TestFetching:
    """A video that lies somewhere else."""

    def lying(self, colour: Colour, server: ScriptedServer, url: str, *answers: Any) -> tuple[Gateway, Any]:
        """A gateway, and a video that lies there; whoever fetches it gets these answers of the upstream's own."""
        done = {"status": "done", "video": {"url": url}, "model": "m"}
        server.answer(json_({"request_id": "r1"}), json_(done), *answers)
        xai = {"kind": "xai", "base_url": server.base_url, "api_key": "key-one", "headers": {"x-team": "secret"}}
        gateway = colour.gateway({"providers": {"up": xai}, "retry": {"enabled": False}})
        job = colour.ask(gateway, "video", "up/m", "a fox")
        colour.do(job.wait(poll="1ms"))
        return gateway, job

    def test_strangers_see_nothing_of_ours(self, colour: Colour, server: ScriptedServer) -> None:
        """
        Neither the key nor a header of ours goes to another host, not by a redirect either.
        """
        with ScriptedServer() as one, ScriptedServer() as other:
            one.answer(http_response(302, b"", {"location": f"{other.origin}/films/1.mp4?signed=yes"}))
            other.answer(http_response(200, FILM, {"content-type": "video/mp4"}))
            gateway, job = self.lying(colour, server, f"{one.origin}/films/1.mp4")
            film = colour.do(job.content())
            colour.close(gateway)
            strangers = [*one.requests, *other.requests]

            assert FILM == film
            assert ["/films/1.mp4", "/films/1.mp4"] == [received.path for received in strangers]
            assert "signed=yes" == strangers[1].query
            for received in strangers:
                assert {"authorization", "x-team", "content-type"}.isdisjoint(received.headers)

    def test_the_upstream_itself_is_told_who_asks(self, colour: Colour, server: ScriptedServer) -> None:
        """
        At its own address, also after a redirect to itself.
        """
        around = http_response(302, b"", {"location": "/films/2.mp4"})
        _, job = self.lying(colour, server, f"{server.origin}/films/1.mp4", around, http_response(200, FILM))

        assert FILM == colour.do(job.content())
        assert ["/films/1.mp4", "/films/2.mp4"] == [received.path for received in server.requests[2:]]
        assert ["Bearer key-one"] * 2 == [received.headers["authorization"] for received in server.requests[2:]]

    def test_circles_end(self, colour: Colour, server: ScriptedServer) -> None:
        """
        After three redirects nobody is followed.
        """
        _, job = self.lying(colour, server, f"{server.origin}/a", *[http_response(302, b"", {"location": "/a"})] * 4)
        with pytest.raises(GatewayError, match="redirects"):
            colour.do(job.content())

        assert 2 + 4 == len(server.requests)

    @pytest.mark.parametrize(
        "url", ["gs://bucket/v.mp4", "file:///etc/passwd", "http://user:pw@127.0.0.1/x", "nowhere"]
    )
    def test_places_that_are_no_addresses_are_refused(self, colour: Colour, server: ScriptedServer, url: str) -> None:
        """
        Nobody is asked there.
        """
        _, job = self.lying(colour, server, url)
        with pytest.raises(GatewayError):
            colour.do(job.content())

        assert 2 == len(server.requests)

    def test_an_error_there_is_an_error(self, colour: Colour, server: ScriptedServer) -> None:
        """
        An address that has died is said to be one.
        """
        _, job = self.lying(colour, server, f"{server.origin}/v.mp4", error(500))
        with pytest.raises(UpstreamError):
            colour.do(job.content())
