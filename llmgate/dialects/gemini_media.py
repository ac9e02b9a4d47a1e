"""Counting, images and videos with Google's models.

Images come from two sorts of models: Gemini draws within an answer of `generateContent`, Imagen by `:predict`. A video
is a long-running operation; the Gemini API is asked for its name, Vertex AI by `:fetchPredictOperation`, and its file
lies at an address, or in the operation itself. OpenAI's `n` and `seconds` are translated, `size` is refused by name: Google has
`aspect_ratio`. Everything else goes among the model's parameters as it is.

Sources, checked 2026-11-21: the types of the `google-genai` package 3.4, https://ai.google.dev/api/tokens,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from ..errors import BadRequest, ContentFiltered, ProtocolError
from ..types.media import Binary, Image, Images, Video
from ..types.request import Request, Verb
from ..types.response import Answer
from ..types.uploads import is_upload
from ..types.usage import Usage
from .base import Quirks, Written
from .gemini_errors import error_of
from .gemini_requests import ADDRESS, FORMAT, read_chat, write_chat
from .gemini_words import Json, usage_of
from .media_words import binary, media_type_of, read_count
from .shapes import encoded, restated
from .unsaid import Unsaid

__all__ = ["VERBS", "read_bytes", "read_counting", "read_media", "write_media"]

VERBS: frozenset[Verb] = frozenset({"count_tokens", "image", "video", "video_status", "video_content"})

PARTS = frozenset({"generationConfig", "systemInstruction", "tools"})
COUNTED = PARTS | {"contents"}
"""What Vertex AI counts of a chat; nothing else is taken."""
WRAPPED = "generateContentRequest"

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {"n": "sampleCount", "seconds": "durationSeconds", "aspect_ratio": "aspectRatio"}
)
"""Parameters of OpenAI's images and videos, and of ours, and what Google calls them."""


def write_media(request: Request, quirks: Quirks) -> Written:
    """
    The request.

    Raises:
        BadRequest: If Google cannot express it.
    """
    verb, model = request.verb, request.model
    hosted = quirks.paths.get("embed", "").endswith(":predict")  # on Vertex AI
    place = "/" + quote(model if "/" in model else f"models/{model}", safe="/")
    if verb == "count_tokens":
        return Written("POST", f"{place}:countTokens", encoded(quirks.bend(_counting(request, hosted)), request))
    if verb == "image":
        if "imagen" in model:
            return Written("POST", f"{place}:predict", encoded(_predicting(request), request))
        return Written("POST", f"{place}:generateContent", encoded(_drawing(request), request))
    if verb == "video":
        return Written("POST", f"{place}:predictLongRunning", encoded(_predicting(request), request))
    body: Json = request.body
    if hosted:
        return Written("POST", f"{place}:fetchPredictOperation", encoded({"operationName": body["id"]}))
    if verb == "video_status":
        return Written("GET", "/" + quote(body["id"], safe="/"))
    url = body.get("url")
    if not isinstance(url, str) or "://" not in url:
        raise BadRequest(f"video {body['id']} has no address yet; look at it first")
    return Written("GET", url)


def _counting(request: Request, hosted: bool) -> Json:
    model = request.model if "/" in request.model else f"models/{request.model}"
    native = request.native(FORMAT)
    if native is None:
        body = write_chat(request)
        if hosted:
            return {name: value for name, value in body.items() if name in COUNTED}
        return {WRAPPED: {"model": model, **body}}
    # Vertex AI takes the parts of a chat beside one another, the Gemini API contents alone or all of it wrapped.
    if hosted and WRAPPED in native:
        return {name: value for name, value in native[WRAPPED].items() if name != "model"}
    out = restated(native, request, ADDRESS)
    if WRAPPED in out:
        out[WRAPPED] = {**out[WRAPPED], "model": model}
    return {WRAPPED: {"model": model, **out}} if not hosted and PARTS & out.keys() else out


def read_counting(data: Any) -> Request:
    """The chat that a caller wants counted."""
    inner = data.get(WRAPPED)
    request = read_chat(data if inner is None else inner)
    return Request("count_tokens", request.model.removeprefix("models/"), request.body, False, request.encoded)


_OF_PROMPTS = frozenset({"prompt", "image", "images", "input_reference", "generationConfig", "parameters"})


def _parameters(request: Request) -> Json:
    """What was said of how to make it, in Google's words."""
    body: Json = request.body
    if body.get("size") is not None:
        raise Unsaid(
            "size: Google's models take aspect_ratio, such as '16:9'; leave size out or name another provider", "size"
        )
    return {
        PARAMETERS.get(name, name): value
        for name, value in body.items()
        if name not in _OF_PROMPTS and value is not None and name != "size"
    }


def _predicting(request: Request) -> Json:
    """An instance and its parameters, as Imagen and Veo take them."""
    body: Json = request.body
    instance: Json = {"prompt": body["prompt"]}
    given = body.get("image", body.get("input_reference"))
    if given is not None:
        instance["image"] = _held(given)
    parameters = _parameters(request) | (body.get("parameters") or {})
    seconds = parameters.get("durationSeconds")
    if isinstance(seconds, str) and seconds.isdecimal():
        parameters["durationSeconds"] = int(seconds)  # OpenAI's are texts
    return {"instances": [instance], "parameters": parameters}


def _held(value: Any) -> Any:
    if is_upload(value):
        return {"bytesBase64Encoded": value["data"], "mimeType": value["media_type"]}
    return value


def _drawing(request: Request) -> Json:
    """A chat whose answer is an image."""
    body: Json = request.body
    config: Json = {"responseModalities": ["IMAGE"], **(body.get("generationConfig") or {})}
    parameters = _parameters(request)
    if parameters.pop("sampleCount", 1) != 1:
        raise Unsaid("n: Gemini draws one image at a time; ask again for another", "n")
    ratio = parameters.pop("aspectRatio", None)
    if ratio is not None:
        config["imageConfig"] = {"aspectRatio": ratio, **(config.get("imageConfig") or {})}
    given = body.get("images", body.get("image"))
    parts: list[Json] = [{"text": body["prompt"]}]
    for image in given if isinstance(given, list) else [] if given is None else [given]:
        if is_upload(image):
            image = {"inlineData": {"mimeType": image["media_type"], "data": image["data"]}}  # noqa: PLW2901
        parts.append(image)
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config, **parameters}


# --- answers ----------------------------------------------------------------------------------------------------------


def read_media(request: Request, data: Any) -> Answer:
    """
    The answer to one of these.

    Raises:
        GatewayError: If it is an error after all.
        LookupError, TypeError, ValueError, AttributeError: If it is none.
    """
    verb = request.verb
    if verb == "count_tokens":
        return read_count(request, data, "totalTokens")
    if verb == "image":
        return (
            _read_drawn(request, data)
            if "candidates" in data or "promptFeedback" in data
            else _read_made(request, data)
        )
    if verb == "video_content":
        return _read_film(request, data)
    return _read_operation(request, data)


def _read_made(request: Request, data: Json) -> Images:
    found = data.get("predictions") or []
    images = [
        Image(None, binary(item["bytesBase64Encoded"]), item.get("mimeType") or "", item.get("prompt"))
        for item in found
        if "bytesBase64Encoded" in item
    ]
    if not images:
        reason = next((item["raiFilteredReason"] for item in found if "raiFilteredReason" in item), None)
        raise ContentFiltered(reason or "the model made no image of this")
    return Images(model=request.model, raw=data, data=images)


def _read_drawn(request: Request, data: Json) -> Images:
    candidates = data.get("candidates") or []
    parts = [part for candidate in candidates for part in (candidate.get("content") or {}).get("parts") or ()]
    held = [part["inlineData"] for part in parts if "inlineData" in part and not part.get("thought")]
    if not held:
        said = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
        reason = next((candidate["finishReason"] for candidate in candidates if "finishReason" in candidate), "")
        blocked = (data.get("promptFeedback") or {}).get("blockReason", reason)
        raise ContentFiltered(f"the model drew nothing ({blocked}){': ' if said else ''}{said[:200]}")
    counts = data.get("usageMetadata")
    return Images(
        id=data.get("responseId") or "",
        model=data.get("modelVersion") or request.model,
        usage=usage_of(counts) if counts else Usage(),
        raw=data,
        data=[Image(None, binary(one["data"]), one.get("mimeType") or "") for one in held],
    )


def _read_operation(request: Request, data: Json) -> Video:
    name = data.get("name") or request.body["id"]
    if not data.get("done"):
        progress = (data.get("metadata") or {}).get("progressPercent")
        status = "in_progress" if request.verb == "video_status" else "queued"
        return Video(id=name, model=request.model, raw=data, status=status, progress=progress)
    if data.get("error"):
        error = error_of(None, {}, data)
        return Video(id=name, model=request.model, raw=data, status="failed", error=error)
    films, reasons = _films(data)
    if not films:
        said = "; ".join(reasons) or "the model made no video of this"
        return Video(id=name, model=request.model, raw=data, status="failed", error=ContentFiltered(said))
    url = films[0].get("uri") or films[0].get("gcsUri")
    return Video(id=name, model=request.model, raw=data, status="completed", progress=100, url=url)


def _films(data: Json) -> tuple[list[Json], list[str]]:
    """The videos of an operation that is done, and why some are not there."""
    response = data.get("response") or {}
    response = response.get("generateVideoResponse") or response
    found = response.get("generatedSamples") or response.get("videos") or []
    return [item.get("video", item) for item in found], response.get("raiMediaFilteredReasons") or []


def _read_film(request: Request, data: Json) -> Binary:
    """The video that is held in its operation."""
    films, _ = _films(data)
    if not films:
        raise ValueError("no video")
    held = films[0].get("bytesBase64Encoded") or films[0].get("encodedVideo")
    if held is None:
        place = films[0].get("gcsUri") or films[0].get("uri")
        raise BadRequest(f"the video lies at {place}, where it is for you to fetch it")
    content = binary(held)
    return Binary(model=request.model, content=content, media_type=films[0].get("mimeType") or media_type_of(content))


def read_bytes(request: Request, body: bytes) -> Binary:
    """
    A video as it comes from its address.

    Raises:
        ProtocolError: If there is nothing.
    """
    if not body:
        raise ProtocolError("the upstream sent an empty video")
    return Binary(model=request.model, content=body, media_type=media_type_of(body))
