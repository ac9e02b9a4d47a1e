"""Everything beside chat in OpenAI's language: images, videos, moderation, ranking, transcripts, speech.

A request of ours is OpenAI's own, but that files stand in it as base64 and travel as a form. Ranking is Jina's, which
OpenAI does not have and everybody else took over (llama.cpp, vLLM, OpenRouter, Voyage).

Beside this room: `media_words` for what all formats share, `multipart` for forms.

Sources, checked 2026-11-21: the types of the `openai` package 3.52, https://docs.x.ai/developers/rest-api-reference,
https://openrouter.ai/docs/api_reference/videos, https://docs.mistral.ai/api, and recorded answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from ..errors import BadRequest, ProtocolError
from ..types.media import Binary, Speech, Transcription, Video
from ..types.request import Request, Verb
from ..types.response import Answer
from ..types.uploads import uploads_in
from ..types.wire import loads
from .base import Quirks, Written
from .media_words import (
    binary,
    media_type_of,
    read_count,
    read_images,
    read_moderations,
    read_ranking,
    read_transcription,
    read_video,
)
from .multipart import write_form
from .openai_errors import error_of, is_error
from .openai_media_answers import TEXTS
from .openai_words import Json, excerpt
from .shapes import MISSHAPEN, encoded

__all__ = ["NEEDED", "VERBS", "read_media", "write_media"]

VERBS: frozenset[Verb] = frozenset(
    {"image", "video", "video_status", "video_content", "moderate", "rerank", "transcribe", "speak"}
)

NEEDED: Mapping[Verb, str] = MappingProxyType(
    {
        "image": "prompt", "video": "prompt", "moderate": "input", "rerank": "query", "transcribe": "file",
        "speak": "input",
    }
)  # fmt: skip
"""The key without which a request of the verb is none."""


CHANGES = frozenset({"image", "images"})
"""Parameters that hold an image which is to be changed."""


# --- requests ---------------------------------------------------------------------------------------------------------


def write_media(request: Request, quirks: Quirks) -> Written:
    """
    The request, as JSON or, where it holds a file, as a form.

    Raises:
        BadRequest: If it cannot be written.
    """
    verb = request.verb
    path = quirks.paths.get(verb) or PATHS[verb](request)
    if verb in ("video_status", "video_content"):
        return Written("GET", _placed(path, request))
    body = request.body
    if request.model:
        body = {"model": request.model, **body}
    body = {name: value for name, value in body.items() if name not in OURS.get(verb, ())}
    body = quirks.bend(body)
    if verb == "transcribe" or any(uploads_in(body)):
        content_type, form = write_form(body.items())
        return Written("POST", path, form, [("content-type", content_type)])
    return Written("POST", path, encoded(body, request))


PATHS: Mapping[Verb, Callable[[Request], str]] = MappingProxyType(
    {
        "image": lambda request: "/images/edits" if CHANGES & request.body.keys() else "/images/generations",
        "video": lambda request: "/videos",
        "video_status": lambda request: "/videos/{id}",
        "video_content": lambda request: "/videos/{id}/content",
        "moderate": lambda request: "/moderations",
        "rerank": lambda request: "/rerank",
        "transcribe": lambda request: (
            "/audio/translations" if request.body.get("translate") else "/audio/transcriptions"
        ),
        "speak": lambda request: "/audio/speech",
    }
)
OURS: Mapping[Verb, frozenset[str]] = MappingProxyType({"transcribe": frozenset({"translate"})})
"""Parameters that say where to send it."""


def _placed(path: str, request: Request) -> str:
    """The path of a video, or its address, where the upstream gave one and no other way leads there."""
    body: Json = request.body
    if path == "{url}":
        url = body.get("url")
        if not isinstance(url, str) or "://" not in url:
            raise BadRequest(f"video {body['id']} has no address yet; look at it first")
        return url
    path = path.replace("{id}", quote(body["id"], safe=""))
    query = {name: value for name, value in body.items() if name not in ("id", "url")}
    return f"{path}?{urlencode(query)}" if query else path


# --- answers ----------------------------------------------------------------------------------------------------------


def read_media(request: Request, body: bytes, quirks: Quirks) -> Answer:
    """
    The answer to a request of one of these verbs.

    Raises:
        GatewayError: If it is an error after all, classified by what it says.
        ProtocolError: If it is none.
    """
    verb = request.verb
    try:
        data = loads(body)
    except ValueError:
        return _read_bytes(request, body)
    try:
        if verb in ("speak", "video_content"):
            return _read_held(request, data)
        # A job that failed is an answer, too.
        if isinstance(data, dict) and data.get("error") and not (verb in JOBS and data.get("status")):
            raise error_of(None, {}, data)
        return READERS[verb](request, data)
    except MISSHAPEN as error:
        if is_error(data):
            raise error_of(None, {}, data) from None
        raise ProtocolError(f"the upstream sent no answer, but: {excerpt(body)}") from error


JOBS = frozenset({"video", "video_status"})


def _read_job(request: Request, data: Json) -> Video:
    return read_video(request, data, lambda said: error_of(None, {}, said))


READERS: Mapping[str, Callable[[Request, Any], Answer]] = MappingProxyType(
    {
        "image": read_images,
        "video": _read_job,
        "video_status": _read_job,
        "moderate": read_moderations,
        "rerank": read_ranking,
        "transcribe": read_transcription,
        "count_tokens": read_count,
    }
)


def _read_bytes(request: Request, body: bytes) -> Answer:
    """What is no JSON: sound, a film, or a transcript as text."""
    verb = request.verb
    if body and verb == "speak":
        return Speech(model=request.model, content=body, media_type=media_type_of(body))
    if body and verb == "video_content":
        return Binary(model=request.model, content=body, media_type=media_type_of(body))
    if verb == "transcribe" and request.body.get("response_format") in TEXTS:
        return Transcription(model=request.model, text=body.decode("utf-8", "replace"))
    raise ProtocolError(f"the upstream sent no JSON, but: {excerpt(body)}")


def _read_held(request: Request, data: Any) -> Answer:
    """Sound that is held in JSON, as Mistral sends it."""
    if is_error(data):
        raise error_of(None, {}, data)
    content = binary(data["audio_data"])
    return Speech(model=request.model, content=content, media_type=media_type_of(content))
