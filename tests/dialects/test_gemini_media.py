"""Images and videos with Google's models."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from llmgate.dialects import dialect_named
from llmgate.dialects.base import Quirks
from llmgate.errors import BadRequest, ContentFiltered, GatewayError, ProtocolError, QuotaExhausted, RateLimited
from llmgate.types.media import Binary, Image
from llmgate.types.request import Request, Verb
from llmgate.types.uploads import upload
from llmgate.types.usage import Usage
from llmgate.types.wire import dumps

from .corpus import PLAIN

GEMINI = dialect_named("gemini")
VERTEX = Quirks(paths={"embed": "/models/{model}:predict"})
PNG = b"\x89PNG\r\n\x1a\n..."
HELD = base64.b64encode(PNG).decode()
NAME = "models/veo-3/operations/op1"


def asked(verb: Verb, model: str, **body: Any) -> Request:
    return Request(verb, model, body, False, dumps(body))


def written(request: Request, quirks: Quirks = PLAIN) -> tuple[str, str, Any]:
    out = GEMINI.write_request(request, quirks)
    return out.method, out.path, json.loads(out.body) if out.body else None


def read(verb: Verb, data: Any, model: str = "veo-3") -> Any:
    return GEMINI.read_response(asked(verb, model, id=NAME), data if isinstance(data, bytes) else dumps(data), PLAIN)


class TestImages:
    def test_are_drawn_in_an_answer(self) -> None:
        """
        Gemini is asked for an image and nothing else, with what it is to start from.
        """
        request = asked(
            "image", "gemini-3-image", prompt="a fox", image=upload(PNG, "a.png"), aspect_ratio="16:9", n=1,
            generationConfig={"seed": 3}, safetySettings=[],
        )  # fmt: skip

        assert (
            "POST", "/models/gemini-3-image:generateContent",
            {
                "contents": [
                    {"role": "user", "parts": [{"text": "a fox"}, {"inlineData": {"mimeType": "image/png", "data": HELD}}]}
                ],
                "generationConfig": {
                    "responseModalities": ["IMAGE"], "seed": 3, "imageConfig": {"aspectRatio": "16:9"},
                },
                "safetySettings": [],
            },
        ) == written(request)  # fmt: skip

    def test_are_predicted(self) -> None:
        """
        Imagen makes as many as are asked for, with parameters of its own.
        """
        request = asked("image", "imagen-4", prompt="a fox", n=2, aspect_ratio="1:1", personGeneration="dont_allow")

        assert (
            "POST", "/models/imagen-4:predict",
            {
                "instances": [{"prompt": "a fox"}],
                "parameters": {"sampleCount": 2, "aspectRatio": "1:1", "personGeneration": "dont_allow"},
            },
        ) == written(request)  # fmt: skip

    @pytest.mark.parametrize(
        ("model", "params", "said"),
        [("gemini-3-image", {"n": 2}, "^n: "), ("gemini-3-image", {"size": "1x1"}, "^size: "), ("imagen-4", {"size": "1x1"}, "^size: ")],
    )  # fmt: skip
    def test_that_cannot_be_asked_for_are_refused(self, model: str, params: dict[str, Any], said: str) -> None:
        """
        What would change the image is never left out.
        """
        with pytest.raises(BadRequest, match=said):
            written(asked("image", model, prompt="a", **params))

    def test_are_read(self) -> None:
        """
        Those of an answer, but for what was only thought, with its tokens; and those of a prediction.
        """
        drawn = read(
            "image",
            {
                "responseId": "r", "modelVersion": "gemini-3-image",
                "candidates": [{"content": {"parts": [
                    {"text": "Here"}, {"thought": True, "inlineData": {"mimeType": "image/png", "data": HELD}},
                    {"inlineData": {"mimeType": "image/png", "data": HELD}},
                ]}}],
                "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1290, "totalTokenCount": 1295},
            },
        )  # fmt: skip
        made = read(
            "image", {"predictions": [{"bytesBase64Encoded": HELD, "mimeType": "image/png", "prompt": "p"}]}, "imagen"
        )

        assert ([Image(None, PNG, "image/png")], Usage(5, 1290)) == (drawn.data, drawn.usage)
        assert [Image(None, PNG, "image/png", "p")] == made.data

    @pytest.mark.parametrize(
        "data",
        [
            {"candidates": [{"finishReason": "IMAGE_SAFETY"}]},
            {"candidates": [{"content": {"parts": [{"text": "I cannot draw that."}]}, "finishReason": "STOP"}]},
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
            {"predictions": [{"raiFilteredReason": "no"}]},
            {},
        ],
    )
    def test_that_were_not_drawn_were_filtered(self, data: dict[str, Any]) -> None:
        """
        An answer without an image is a refusal, and nobody else's fault.
        """
        with pytest.raises(ContentFiltered):
            read("image", data)


class TestVideos:
    def test_are_begun(self) -> None:
        """
        Seconds are numbers here, and an image to start from goes along.
        """
        request = asked(
            "video", "veo-3", prompt="a fox", seconds="8", aspect_ratio="16:9", input_reference=upload(PNG, "a.png"),
            negativePrompt="rain",
        )  # fmt: skip

        assert (
            "POST", "/models/veo-3:predictLongRunning",
            {
                "instances": [{"prompt": "a fox", "image": {"bytesBase64Encoded": HELD, "mimeType": "image/png"}}],
                "parameters": {"durationSeconds": 8, "aspectRatio": "16:9", "negativePrompt": "rain"},
            },
        ) == written(request)  # fmt: skip

    def test_are_looked_at_by_name(self) -> None:
        """
        The Gemini API knows an operation by its address, Vertex AI is told its name.
        """
        look = asked("video_status", "veo-3", id=NAME)

        assert ("GET", f"/{NAME}", None) == written(look)
        assert ("POST", "/models/veo-3:fetchPredictOperation", {"operationName": NAME}) == written(look, VERTEX)

    def test_are_fetched_where_they_lie(self) -> None:
        """
        At their address; on Vertex AI they are held by the operation itself.
        """
        fetch = asked("video_content", "veo-3", id=NAME, url="https://host/v1beta/files/f:download?alt=media")

        assert ("GET", "https://host/v1beta/files/f:download?alt=media", None) == written(fetch)
        assert "POST" == written(fetch, VERTEX)[0]
        with pytest.raises(BadRequest, match="no address yet"):
            written(asked("video_content", "veo-3", id=NAME))

    @pytest.mark.parametrize(
        ("verb", "data", "expected"),
        [
            ("video", {"name": NAME}, ("queued", None, None)),
            ("video_status", {"name": NAME}, ("in_progress", None, None)),
            ("video_status", {"name": NAME, "metadata": {"progressPercent": 40}}, ("in_progress", 40, None)),
            (
                "video_status",
                {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": "https://v"}}]}}},
                ("completed", 100, "https://v"),
            ),
            ("video_status", {"name": NAME, "done": True, "response": {"videos": [{"gcsUri": "gs://v"}]}},
             ("completed", 100, "gs://v")),
        ],
    )  # fmt: skip
    def test_stand_as_everywhere(self, verb: Verb, data: dict[str, Any], expected: tuple[Any, ...]) -> None:
        """
        An operation is queued, in progress or completed.
        """
        video = read(verb, data)

        assert (NAME, *expected) == (video.id, video.status, video.progress, video.url)

    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            ({"done": True, "error": {"code": 8, "message": "Resource has been exhausted (per minute)"}}, GatewayError),
            (
                {"done": True, "response": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["no foxes"]}},
                ContentFiltered,
            ),
            ({"done": True, "response": {}}, ContentFiltered),
        ],
    )
    def test_that_failed_say_why(self, data: dict[str, Any], kind: type[GatewayError]) -> None:
        """
        A filter is a refusal; an error is what it says.
        """
        video = read("video_status", {"name": NAME, **data})

        assert "failed" == video.status
        assert isinstance(video.error, kind)

    def test_that_nobody_knows_are_errors(self) -> None:
        """
        An error that is about the question and not about the video is raised.
        """
        with pytest.raises((RateLimited, QuotaExhausted)):
            read("video_status", {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}})

    def test_come_as_bytes(self) -> None:
        """
        From their address as they are, from the operation out of base64.
        """
        film = b"\0\0\0\x18ftypmp42"
        held = {"done": True, "response": {"videos": [{"bytesBase64Encoded": base64.b64encode(film).decode()}]}}

        assert [Binary(model="veo-3", content=film, media_type="video/mp4")] * 2 == [
            read("video_content", film), read("video_content", held),
        ]  # fmt: skip

    def test_that_lie_elsewhere_are_for_the_caller(self) -> None:
        """
        A bucket of the caller's own is not ours to open.
        """
        with pytest.raises(BadRequest, match="gs://mine"):
            read("video_content", {"done": True, "response": {"videos": [{"gcsUri": "gs://mine/v.mp4"}]}})
        with pytest.raises(ProtocolError):
            read("video_content", b"")
