"""The words that answers beside chat have in common: images, videos, judgements, rankings, transcripts.

Most services write what OpenAI, Cohere or Jina wrote first, under the same names or nearly so. What says the same is
read as the same, and a count that was not sent stays None.

Sources, checked 2026-11-21: the types of the packages openai 3.52, cohere 7.3 and mistralai 3.7,
https://docs.x.ai/developers/model-capabilities, https://openrouter.ai/docs/api_reference/videos, and recorded answers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import GatewayError, UpstreamError
from ..types.media import (
    Image,
    Images,
    Moderation,
    Moderations,
    Ranked,
    Ranking,
    Span,
    TokenCount,
    Transcription,
    Video,
)
from ..types.request import Request
from ..types.uploads import MEDIA_TYPES, sniffed
from ..types.usage import Usage
from .openai_words import Json, usage_of

__all__ = [
    "binary",
    "media_type_of",
    "read_count",
    "read_images",
    "read_moderations",
    "read_ranking",
    "read_transcription",
    "read_video",
]

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "pending": "queued",
        "queued": "queued",
        "submitted": "queued",
        "completed": "completed",
        "done": "completed",  # xAI
        "succeeded": "completed",
        "cancelled": "failed",
        "canceled": "failed",
        "error": "failed",
        "expired": "failed",
        "failed": "failed",
    }
)
"""How services say how a job stands. Any other word means that it is being worked on."""


def binary(data: str) -> bytes:
    """
    Bytes out of base64, with or without the head of a `data:` address.

    Raises:
        ValueError: If it is none.
    """
    return base64.b64decode(data.partition(";base64,")[2] if data.startswith("data:") else data, validate=True)


def media_type_of(content: bytes) -> str:
    """What the bytes are, as far as they say; else empty."""
    ending = sniffed(content)
    return MEDIA_TYPES[ending] if ending else ""


def _usage(data: Json) -> Usage:
    counts = data.get("usage")
    return usage_of(data, counts, True) if isinstance(counts, dict) else Usage()


def read_images(request: Request, data: Json) -> Images:
    """Images, each as an address or as base64."""
    form = data.get("output_format")
    stated = MEDIA_TYPES.get(form, "") if isinstance(form, str) else ""
    items = data["data"]
    if not items:
        raise ValueError("no images")
    return Images(
        id=data.get("id") or "",
        model=data.get("model") or request.model,
        usage=_drawn(data),
        raw=data,
        data=[_read_image(item, stated) for item in items],
        created=data.get("created"),
    )


def _drawn(data: Json) -> Usage:
    """The counts, with those of images apart. The output of this API is images, where nobody says otherwise."""
    usage = _usage(data)
    counts = data.get("usage") or {}
    read, written = counts.get("input_tokens_details") or {}, counts.get("output_tokens_details") or {}
    usage.input_image_tokens = read.get("image_tokens")
    usage.output_image_tokens = written.get("image_tokens", usage.output_tokens)
    return usage


def _read_image(item: Json, stated: str) -> Image:
    held = item.get("b64_json")
    content = binary(held) if held else None
    if content is None and not isinstance(item.get("url"), str):
        raise ValueError("an image without a place")
    media_type = item.get("mime_type") or stated or (media_type_of(content) if content else "")
    return Image(item.get("url") or None, content, media_type, item.get("revised_prompt") or None)


def read_video(request: Request, data: Json, error_of: Callable[[Json], GatewayError]) -> Video:
    """
    How a video stands.

    Args:
        error_of: What an error in the format of this upstream means.
    """
    place = data.get("video") or {}
    url = place.get("url") or next(iter(data.get("urls") or ()), None)
    word = data.get("status")
    status = STATUSES.get(word, "in_progress") if word else "completed" if url else "queued"
    progress = data.get("progress")
    error = None
    if status == "failed":
        said = data.get("error") or data.get("failure_reason")
        error = error_of({"error": said}) if said else UpstreamError(f"the video is not there: it is {word}")
    # Whoever asks how a job stands knows its name; not all repeat it.
    id = data.get("id") or data.get("request_id") or request.body["id"]
    return Video(
        id=id,
        model=data.get("model") or request.model,
        usage=_usage(data),
        raw=data,
        status=status,
        progress=int(progress) if isinstance(progress, int | float) else 100 if status == "completed" else None,
        error=error,
        url=url,
    )


def read_moderations(request: Request, data: Json) -> Moderations:
    """Judgements; who does not say whether an input is flagged (Mistral) has flagged it where a category applies."""
    return Moderations(
        id=data.get("id") or "",
        model=data.get("model") or request.model,
        usage=_usage(data),
        raw=data,
        results=[_read_moderation(item) for item in data["results"]],
    )


def _read_moderation(item: Json) -> Moderation:
    # A category that a model does not judge is null.
    categories = {name: bool(value) for name, value in item["categories"].items()}
    flagged = item.get("flagged")
    return Moderation(
        any(categories.values()) if flagged is None else bool(flagged),
        categories,
        {name: float(score) for name, score in (item.get("category_scores") or {}).items() if score is not None},
    )


def read_ranking(request: Request, data: Any) -> Ranking:
    """Documents in order, as Cohere, Jina, Voyage and Hugging Face's server write it."""
    items = data if isinstance(data, list) else data["results"] if "results" in data else data["data"]
    body: Json = data if isinstance(data, dict) else {}
    asked = request.body.get("documents") or []
    usage = _usage(body)
    total = (body.get("usage") or {}).get("total_tokens")
    if usage.input_tokens is None and isinstance(total, int):
        usage.input_tokens = total  # OpenRouter gives the sum alone, and nothing is written
    return Ranking(
        id=body.get("id") or "",
        model=body.get("model") or request.model,
        usage=usage,
        raw=data,
        results=[_read_ranked(item, asked) for item in items],
    )


def _read_ranked(item: Json, asked: list[Any]) -> Ranked:
    index = item["index"]
    score = item["relevance_score"] if "relevance_score" in item else item["score"]
    if not 0 <= index < max(len(asked), 1):
        raise ValueError("a document that nobody asked about")
    document = asked[index] if asked else item.get("document", item.get("text"))
    return Ranked(index, float(score), document)


def read_transcription(request: Request, data: Json) -> Transcription:
    """What was said, with its parts and their times, where there are some."""
    counts = data.get("usage")
    counts = counts if isinstance(counts, dict) else {}
    text = data["text"]
    if not isinstance(text, str):
        raise TypeError("what was said is no text")
    languages = [item.get("language") for item in data.get("languages") or () if isinstance(item, dict)]
    seconds = [data.get("duration"), counts.get("seconds"), counts.get("prompt_audio_seconds")]
    return Transcription(
        id=data.get("id") or "",
        model=data.get("model") or request.model,
        usage=_heard(counts),
        raw=data,
        text=text,
        language=data.get("language") or next(iter(languages), None),
        duration_s=next((float(count) for count in seconds if isinstance(count, int | float)), None),
        segments=[_read_span(item) for item in data.get("segments") or ()],
        words=[_read_span(item) for item in data.get("words") or ()],
    )


def _heard(counts: Json) -> Usage:
    usage = usage_of({}, counts, True)
    details = counts.get("input_token_details")  # OpenAI writes it so for transcripts alone
    if isinstance(details, dict) and isinstance(details.get("audio_tokens"), int):
        usage.input_audio_tokens = details["audio_tokens"]
    audio, total = usage.input_audio_tokens, counts.get("total_tokens")
    if audio and total == (usage.input_tokens or 0) + (usage.output_tokens or 0) + audio:
        # Mistral counts what it heard beside what it read; the total is the proof.
        usage.input_tokens = (usage.input_tokens or 0) + audio
    return usage


def _read_span(item: Json) -> Span:
    text = item["text"] if "text" in item else item["word"]
    speaker = item.get("speaker", item.get("speaker_id"))
    return Span(text, _second(item, "start"), _second(item, "end"), None if speaker is None else str(speaker))


def _second(item: Json, name: str) -> float | None:
    value = item.get(name)
    return float(value) if isinstance(value, int | float) else None


def read_count(request: Request, data: Json, name: str = "input_tokens") -> TokenCount:
    """
    How many tokens there are.

    Args:
        name: What the upstream calls them.
    """
    count = data[name]
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError("the count is no number")
    return TokenCount(model=request.model, raw=data, input_tokens=count)
