"""Images, videos, moderation, ranking, transcripts and speech in OpenAI's language."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from openai.types import ImagesResponse, ModerationCreateResponse, Video as SdkVideo
from openai.types.audio import Transcription as SdkTranscription, TranscriptionVerbose
from openai.types.responses.input_token_count_response import InputTokenCountResponse

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.dialects.multipart import read_form
from llmgate.dialects.openai_media_answers import write_body
from llmgate.errors import BadRequest, ContentFiltered, GatewayError, ProtocolError, RateLimited, UpstreamError
from llmgate.providers.catalog import row_named
from llmgate.types.media import (
    Binary,
    Image,
    Images,
    Moderation,
    Moderations,
    Ranked,
    Ranking,
    Span,
    Speech,
    TokenCount,
    Transcription,
    Video,
)
from llmgate.types.request import Request, Verb
from llmgate.types.response import Answer
from llmgate.types.uploads import upload
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

from .corpus import PLAIN

CHAT, RESPONSES = dialect_named("openai_chat"), dialect_named("openai_responses")
PNG = b"\x89PNG\r\n\x1a\n..."
WAV = upload(b"RIFF\0\0\0\0WAVE", "a.wav")
PICTURE = upload(PNG, "a.png")


def asked(verb: Verb, **body: Any) -> Request:
    return Request(verb, "m", body, False, dumps(body))


def read(verb: Verb, body: bytes | dict[str, Any], **params: Any) -> Any:
    return CHAT.read_response(asked(verb, **params), body if isinstance(body, bytes) else dumps(body), PLAIN)


def written(request: Request, quirks: Quirks = PLAIN) -> tuple[str, str, Any]:
    """Method, path, and the body as JSON, or as the form that it is."""
    out = CHAT.write_request(request, quirks)
    form = dict(out.headers).get("content-type")
    return (
        out.method,
        out.path,
        json.loads(out.body) if form is None and out.body else read_form(form, out.body) if form else None,
    )


class TestRequests:
    @pytest.mark.parametrize(
        ("request_", "path", "body"),
        [
            (asked("image", prompt="a", n=2), "/images/generations", {"model": "m", "prompt": "a", "n": 2}),
            (asked("image", prompt="a", images=[{"image_url": "u"}]), "/images/edits",
             {"model": "m", "prompt": "a", "images": [{"image_url": "u"}]}),
            (asked("image", prompt="a", image=PICTURE), "/images/edits", {"model": "m", "prompt": "a", "image": PICTURE}),
            (asked("image", prompt="a", image=[PICTURE, PICTURE], mask=PICTURE), "/images/edits",
             {"model": "m", "prompt": "a", "image": [PICTURE, PICTURE], "mask": PICTURE}),
            (asked("video", prompt="a", seconds="8"), "/videos", {"model": "m", "prompt": "a", "seconds": "8"}),
            (asked("video", prompt="a", input_reference=PICTURE), "/videos",
             {"model": "m", "prompt": "a", "input_reference": PICTURE}),
            (asked("moderate", input=["a"]), "/moderations", {"model": "m", "input": ["a"]}),
            (asked("rerank", query="q", documents=["a"], top_n=1), "/rerank",
             {"model": "m", "query": "q", "documents": ["a"], "top_n": 1}),
            (asked("speak", input="a", voice="v"), "/audio/speech", {"model": "m", "input": "a", "voice": "v"}),
            (asked("transcribe", file=WAV, timestamp_granularities=["word"]), "/audio/transcriptions",
             {"model": "m", "file": WAV, "timestamp_granularities": ["word"]}),
            (asked("transcribe", file=WAV, translate=True), "/audio/translations", {"model": "m", "file": WAV}),
            (asked("transcribe", file=WAV, translate=False), "/audio/transcriptions", {"model": "m", "file": WAV}),
            (asked("transcribe", file_url="u"), "/audio/transcriptions", {"model": "m", "file_url": "u"}),
        ],
    )  # fmt: skip
    def test_go_to_their_paths(self, request_: Request, path: str, body: dict[str, Any]) -> None:
        """
        Each verb has its path; a request with a file is a form, and any other is JSON. Nothing is lost on the way.
        """
        assert ("POST", path, body) == written(request_)

    @pytest.mark.parametrize(
        ("verb", "body", "path"),
        [
            ("video_status", {"id": "v_1"}, "/videos/v_1"),
            ("video_status", {"id": "../a?b"}, "/videos/..%2Fa%3Fb"),
            ("video_content", {"id": "v_1"}, "/videos/v_1/content"),
            ("video_content", {"id": "v_1", "variant": "thumbnail", "url": "https://x"}, "/videos/v_1/content?variant=thumbnail"),
        ],
    )  # fmt: skip
    def test_about_a_video_are_told_by_their_path(self, verb: Verb, body: dict[str, Any], path: str) -> None:
        """
        The id is one step of the path, whatever it holds; what else is asked for stands in the query.
        """
        assert ("GET", path, None) == written(asked(verb, **body))

    def test_of_xai_know_where_its_videos_are(self) -> None:
        """
        A video is begun elsewhere, and lies where its job says; while it does not say so nobody can be asked.
        """
        row = row_named("xai")
        assert row is not None
        quirks = row.quirks

        assert "/videos/generations" == written(asked("video", prompt="a"), quirks)[1]
        assert "/videos/v" == written(asked("video_status", id="v"), quirks)[1]
        assert "https://x/v.mp4" == written(asked("video_content", id="v", url="https://x/v.mp4"), quirks)[1]
        with pytest.raises(BadRequest, match="no address yet"):
            written(asked("video_content", id="v"), quirks)

    def test_keep_to_quirks(self) -> None:
        """
        What an upstream spells differently, refuses, or has elsewhere is so here, too.
        """
        quirks = Quirks(rename={"n": "count"}, drop=frozenset({"style"}), paths={"image": "/paint"})

        assert ("POST", "/paint", {"model": "m", "prompt": "a", "count": 2}) == written(
            asked("image", prompt="a", n=2, style="x"), quirks
        )

    def test_are_the_same_bytes_each_time(self) -> None:
        """
        A form has no chance in it.
        """
        assert CHAT.write_request(asked("transcribe", file=WAV), PLAIN) == CHAT.write_request(
            asked("transcribe", file=WAV), PLAIN
        )

    def test_of_callers_are_read_and_written_as_they_came(self) -> None:
        """
        What a caller of a server of ours asks for, in JSON or in a form that was read, goes out with every word.
        """
        for verb, data in (
            ("image", {"model": "a", "prompt": "b", "unknown": {"x": 1}}),
            ("speak", {"model": "a", "input": "b", "voice": {"id": "v"}}),
            ("transcribe", {"model": "a", "file": WAV, "unknown": "x"}),
            ("rerank", {"model": "a", "query": "b", "documents": ["c"], "unknown": None}),
        ):
            request = CHAT.read_request(verb, data)  # type: ignore[arg-type]
            body = written(request)[2]
            assert {name: value for name, value in data.items() if value is not None or verb == "rerank"} == body
            assert ("a", verb) == (request.model, request.verb)

    @pytest.mark.parametrize("verb", ["image", "video", "moderate", "rerank", "transcribe", "speak"])
    def test_without_what_they_need_are_refused(self, verb: Verb) -> None:
        """
        A body that lacks what the verb is about is none.
        """
        with pytest.raises(BadRequest, match="is missing"):
            _ = CHAT.read_request(verb, {"model": "m"}).body


class TestAnswers:
    def test_images_are_bytes_or_addresses(self) -> None:
        """
        Base64, with the head of an address or without, becomes bytes; what they are the upstream says, or they do.
        """
        data = base64.b64encode(PNG).decode()
        images = read(
            "image",
            {
                "created": 5, "output_format": "webp",
                "data": [
                    {"b64_json": data},
                    {"b64_json": f"data:image/png;base64,{data}", "mime_type": "image/png"},
                    {"url": "https://x", "b64_json": None, "revised_prompt": "more"},
                ],
                "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12},
            },
        )  # fmt: skip

        assert [
            Image(None, PNG, "image/webp"), Image(None, PNG, "image/png"), Image("https://x", None, "image/webp", "more"),
        ] == [*images]  # fmt: skip
        assert (3, 5, Usage(3, 9, output_image_tokens=9), "m") == (
            len(images),
            images.created,
            images.usage,
            images.model,
        )
        assert "image/png" == read("image", {"data": [{"b64_json": data}]}).data[0].media_type

    @pytest.mark.parametrize(
        "body", [{}, {"data": []}, {"data": [{}]}, {"data": [{"b64_json": "!"}]}, {"data": None}, b"<html>", b"", b"[]"]
    )
    def test_that_are_no_images_are_said_to_be_none(self, body: Any) -> None:
        """
        Nothing is made of what holds no image.
        """
        with pytest.raises(ProtocolError):
            read("image", body)

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"id": "v", "status": "queued", "progress": 0}, ("v", "queued", 0, None)),
            ({"id": "v", "status": "in_progress", "progress": 41.9}, ("v", "in_progress", 41, None)),
            ({"id": "v", "status": "processing"}, ("v", "in_progress", None, None)),
            ({"id": "v", "status": "completed"}, ("v", "completed", 100, None)),
            ({"request_id": "r"}, ("r", "queued", None, None)),
            (
                {"status": "done", "video": {"url": "https://x", "duration": 6}},
                ("asked", "completed", 100, "https://x"),
            ),
            ({"video": {"url": "https://x"}}, ("asked", "completed", 100, "https://x")),
            ({"id": "j", "status": "completed", "urls": ["https://y"]}, ("j", "completed", 100, "https://y")),
            ({"id": "j", "status": "pending", "polling_url": "/x"}, ("j", "queued", None, None)),
        ],
    )
    def test_videos_stand_in_one_way(self, data: dict[str, Any], expected: tuple[Any, ...]) -> None:
        """
        Whatever a service calls it, a video is queued, in progress, completed or failed.
        """
        video = read("video_status", data, id="asked")

        assert expected == (video.id, video.status, video.progress, video.url)
        assert video.error is None

    @pytest.mark.parametrize(
        ("data", "kind", "said"),
        [
            ({"status": "failed", "error": {"code": "moderation_blocked", "message": "no"}}, ContentFiltered, "no"),
            ({"status": "failed", "error": {"code": "internal_error", "message": "oops"}}, UpstreamError, "oops"),
            ({"status": "failed", "error": "it broke"}, UpstreamError, "it broke"),
            ({"status": "expired"}, UpstreamError, "it is expired"),
            ({"status": "cancelled"}, UpstreamError, "it is cancelled"),
        ],
    )
    def test_videos_that_failed_say_why(self, data: dict[str, Any], kind: type[GatewayError], said: str) -> None:
        """
        A job that failed is an answer, with an error that means what the upstream said.
        """
        video = read("video_status", {"id": "v", **data}, id="v")

        assert ("failed", kind) == (video.status, type(video.error))
        assert said in str(video.error)

    def test_videos_tell_their_price(self) -> None:
        """
        What OpenRouter and xAI bill is read in dollars.
        """
        assert Decimal("0.5") == read("video_status", {"id": "v", "status": "completed", "usage": {"cost": 0.5}}).cost
        ticks = {"status": "done", "video": {"url": "u"}, "usage": {"cost_in_usd_ticks": 500000000}}
        assert Decimal("0.05") == read("video_status", ticks, id="v").cost

    def test_errors_are_errors(self) -> None:
        """
        An error under a good status is raised, classified by what it says.
        """
        limited = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
        for verb in ("image", "video", "video_status", "moderate", "rerank", "transcribe", "speak", "video_content"):
            with pytest.raises(RateLimited):
                read(verb, limited, id="v")

    def test_moderations_tell_what_applies(self) -> None:
        """
        Who does not say whether an input is flagged has flagged it where a category applies.
        """
        found = read(
            "moderate",
            {
                "id": "i", "model": "x",
                "results": [
                    {"categories": {"a": False, "b": True}, "category_scores": {"a": 0, "b": 0.9}},
                    {"flagged": False, "categories": {"a": False, "b": None}, "category_scores": {"a": 0.1, "b": None}},
                ],
            },
        )  # fmt: skip

        assert found.flagged
        assert [
            Moderation(True, {"a": False, "b": True}, {"a": 0.0, "b": 0.9}),
            Moderation(False, {"a": False, "b": False}, {"a": 0.1}),
        ] == [*found]

    @pytest.mark.parametrize(
        "data",
        [
            {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0}]},
            {"data": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0}]},
            [{"index": 1, "score": 0.9, "text": "b"}, {"index": 0, "score": 0}],
            {
                "results": [
                    {"index": 1, "relevance_score": 0.9, "document": "other"},
                    {"index": 0, "relevance_score": 0},
                ]
            },
        ],
    )
    def test_rankings_hold_the_documents(self, data: Any) -> None:
        """
        In the upstream's order, with the documents as they were asked about, as Jina, Voyage and Hugging Face write it.
        """
        assert [Ranked(1, 0.9, "b"), Ranked(0, 0.0, "a")] == [*read("rerank", dumps(data), documents=["a", "b"])]

    @pytest.mark.parametrize("index", [2, -1])
    def test_rankings_know_what_was_asked(self, index: int) -> None:
        """
        A document that nobody asked about is no answer.
        """
        with pytest.raises(ProtocolError):
            read("rerank", {"results": [{"index": index, "relevance_score": 1}]}, documents=["a", "b"])

    def test_transcripts_have_their_parts(self) -> None:
        """
        Sentences, words and speakers have their times in seconds.
        """
        found = read(
            "transcribe",
            {
                "task": "transcribe", "text": "Hi you", "language": "english", "duration": 1.5,
                "segments": [{"id": 0, "start": 0, "end": 1.5, "text": "Hi you", "speaker": "A"}],
                "words": [{"word": "Hi", "start": 0.0, "end": 0.4}],
                "usage": {"type": "duration", "seconds": 2},
            },
        )  # fmt: skip

        assert ("Hi you", "english", 1.5) == (found.text, found.language, found.duration_s)
        assert [Span("Hi you", 0.0, 1.5, "A")] == found.segments
        assert [Span("Hi", 0.0, 0.4)] == found.words
        assert not found.usage

    @pytest.mark.parametrize("form", ["text", "srt", "vtt"])
    def test_transcripts_may_be_texts(self, form: str) -> None:
        """
        Who asks for a text gets it as it is; who did not, and gets one, gets no answer.
        """
        assert "1\n00:00 héllo" == read("transcribe", "1\n00:00 héllo".encode(), response_format=form).text
        with pytest.raises(ProtocolError):
            read("transcribe", b"1\n00:00 hello")

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [(b"ID3\4sound", "audio/mpeg"), (b"RIFF\0\0\0\0WAVE", "audio/wav"), (b"{not json", ""), (b"\0\1", "")],
    )
    def test_speech_is_bytes(self, content: bytes, media_type: str) -> None:
        """
        Sound comes as it is; that it begins like JSON makes it none.
        """
        speech = read("speak", content)

        assert (content, media_type) == (speech.content, speech.media_type)

    def test_speech_may_be_held_in_json(self) -> None:
        """
        Mistral sends base64.
        """
        speech = read("speak", {"audio_data": base64.b64encode(b"ID3\4sound").decode()})

        assert (b"ID3\4sound", "audio/mpeg") == (speech.content, speech.media_type)

    @pytest.mark.parametrize("verb", ["speak", "video_content"])
    def test_nothing_is_no_sound_and_no_video(self, verb: Verb) -> None:
        """
        An empty body is no answer.
        """
        with pytest.raises(ProtocolError):
            read(verb, b"")


class TestCounting:
    def test_is_for_who_has_it(self) -> None:
        """
        The Responses dialect counts; OpenAI's own row lets chats be counted there, too, and no other row does.
        """
        assert "count_tokens" in RESPONSES.verbs
        assert "count_tokens" not in CHAT.verbs
        openai, groq = row_named("openai"), row_named("groq")
        assert openai is not None and groq is not None
        assert "/responses/input_tokens" == openai.quirks.paths["count_tokens"]
        assert "count_tokens" not in groq.quirks.paths

    @pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
    def test_leaves_out_what_only_an_answer_needs(self, dialect: Any) -> None:
        """
        What is counted is what is read: messages, tools, format and thinking, and nothing of how to answer.
        """
        request = asked(
            "count_tokens", messages=[{"role": "user", "content": "hi"}], temperature=0.5, max_tokens=5, top_p=1,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}], reasoning_effort="low", store=True,
        )  # fmt: skip
        body = json.loads(dialect.write_request(request, PLAIN).body)

        assert {"model", "input", "tools", "reasoning"} == body.keys()
        assert TokenCount(model="m", input_tokens=7) == dialect.read_response(request, b'{"input_tokens": 7}', PLAIN)

    @pytest.mark.parametrize("body", [b'{"input_tokens": null}', b'{"input_tokens": true}', b"{}", b"7"])
    def test_that_counted_nothing_is_no_answer(self, body: bytes) -> None:
        """
        Nothing is taken for a count that is none.
        """
        with pytest.raises(ProtocolError):
            RESPONSES.read_response(asked("count_tokens", messages=[]), body, PLAIN)


ANSWERS: list[tuple[Answer, type[Any]]] = [
    (Images(data=[Image(None, PNG, "image/png"), Image("https://x", None, "", "p")], created=5), ImagesResponse),
    (Images(data=[Image("https://x")], usage=Usage(3, 4, input_image_tokens=1, output_image_tokens=4)), ImagesResponse),
    (Moderations(id="i", model="m", results=[Moderation(True, {"violence": True}, {"violence": 0.9})]),
     ModerationCreateResponse),
    (Transcription(text="hi", usage=Usage(3, 4, input_audio_tokens=3)), SdkTranscription),
    (Transcription(text="hi", duration_s=2.0), SdkTranscription),
    (Transcription(text="hi", language="en", duration_s=2.0, segments=[Span("hi", 0.0, 2.0)], words=[Span("hi", 0.0, 2.0)]),
     TranscriptionVerbose),
    (TokenCount(input_tokens=7), InputTokenCountResponse),
    (Video(id="v", model="sora-2", status="in_progress", progress=40), SdkVideo),
    (Video(id="v", model="sora-2", status="failed", error=ContentFiltered("no")), SdkVideo),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "model"), ANSWERS, ids=lambda value: type(value).__name__)
def test_what_is_written_the_sdk_reads(answer: Answer, model: type[Any]) -> None:
    """
    OpenAI's own types find in our answers what is in them.
    """
    data = json.loads(json.dumps(CHAT.write_response(answer)))
    found = model.construct(**data)

    match answer:
        case Images(data=images):
            assert [image.content for image in images] == [
                None if item.b64_json is None else base64.b64decode(item.b64_json) for item in found.data
            ]
            assert [image.url for image in images] == [item.url for item in found.data]
            assert answer.usage.total_tokens == (found.usage and found.usage.total_tokens)
            if found.usage:
                assert (1, 2) == (
                    found.usage.input_tokens_details.image_tokens,
                    found.usage.input_tokens_details.text_tokens,
                )
        case Moderations(results=[result]):
            assert (result.flagged, 0.9) == (found.results[0].flagged, found.results[0].category_scores.violence)
        case Transcription():
            assert answer.text == found.text
            if model is TranscriptionVerbose:
                assert ("hi", 2.0) == (found.segments[0].text, found.words[0].end)
            else:
                assert ("tokens" if answer.usage else "duration") == found.usage.type
        case TokenCount():
            assert 7 == found.input_tokens
        case Video():
            assert (answer.id, answer.status) == (found.id, found.status)
            assert (answer.progress or 0) == found.progress
            assert None is answer.error or "content_filter" == found.error.code
    assert answer == read_again(answer, data)


def read_again(answer: Answer, data: dict[str, Any]) -> Any:
    """The answer as our own reader finds it, and as it was where JSON has no place for it."""
    verbs: dict[type[Answer], Verb] = {
        Images: "image", Moderations: "moderate", Transcription: "transcribe", TokenCount: "count_tokens",
        Video: "video_status",
    }  # fmt: skip
    found: Any = RESPONSES.read_response(Request(verbs[type(answer)], "", {"id": "v"}), dumps(data), PLAIN)
    found.model = answer.model
    if isinstance(answer, Images):
        for image, own in zip(found.data, answer.data, strict=True):
            image.media_type = own.media_type
    if isinstance(answer, Video):
        found.progress = answer.progress
    return found


def test_a_ranking_is_written_as_jina_does() -> None:
    """
    Documents are objects with a text; what was an object stays one.
    """
    ranking = Ranking(
        id="i", model="m", results=[Ranked(1, 0.9, "b"), Ranked(0, 0.1, {"text": "a", "x": 1})], usage=Usage(5)
    )

    assert {
        "id": "i", "model": "m", "object": "list",
        "results": [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
            {"index": 0, "relevance_score": 0.1, "document": {"text": "a", "x": 1}},
        ],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    } == CHAT.write_response(ranking)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "body", "expected"),
    [
        (Speech(content=b"x", media_type="audio/mpeg"), {}, ("audio/mpeg", b"x")),
        (Binary(content=b"x"), {}, ("application/octet-stream", b"x")),
        (Transcription(text="é"), {"response_format": "text"}, ("text/plain; charset=utf-8", "é".encode())),
        (Transcription(text="a"), {"response_format": "vtt"}, ("text/vtt; charset=utf-8", b"a")),
        (Transcription(text="a"), {"response_format": "json"}, ("application/json", b'{"text":"a"}')),
        (TokenCount(input_tokens=3), {}, ("application/json", b'{"object":"response.input_tokens","input_tokens":3}')),
    ],
)
def test_an_answer_goes_out_as_it_was_asked_for(
    answer: Answer, body: dict[str, Any], expected: tuple[str, bytes]
) -> None:
    """
    Bytes as bytes, texts as texts, and all else as JSON.
    """
    assert expected == write_body(asked("transcribe", **body), answer)


def test_what_is_no_json_is_not_written_as_json() -> None:
    """
    Sound and films have no words.
    """
    with pytest.raises(BadRequest, match="Speech"):
        CHAT.write_response(Speech(content=b"x"))
