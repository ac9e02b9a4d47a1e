"""Answers beside chat, as OpenAI would send them: as JSON, as bytes, or as text, whichever was asked for."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..types.media import (
    Binary,
    Image,
    Images,
    Moderations,
    Ranking,
    Span,
    TokenCount,
    Transcription,
    Video,
)
from ..types.request import Request
from ..types.response import Answer
from ..types.wire import dumps
from .answering import written
from .openai_errors import write_error
from .openai_words import Json

__all__ = ["TEXTS", "WRITERS", "write_body"]

TEXTS: Mapping[str, str] = MappingProxyType({"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"})
"""Forms of a transcript that are no JSON, and their media types."""


def write_body(request: Request, answer: Answer) -> tuple[str, bytes]:
    """The media type and the body of an answer, as a server of OpenAI's kind sends it: bytes, text or JSON."""
    if isinstance(answer, Binary):
        return answer.media_type or "application/octet-stream", answer.content
    form = str(request.body.get("response_format")) if isinstance(request.body, dict) else ""
    if isinstance(answer, Transcription) and form in TEXTS:
        return f"{TEXTS[form]}; charset=utf-8", answer.text.encode()
    return "application/json", dumps(written("OpenAI", answer, WRITERS))


def _counts(answer: Answer) -> Json:
    """Usage in the words of Responses, which these answers share; empty if nobody counted."""
    usage = answer.usage
    if usage.input_tokens is None and usage.output_tokens is None:
        return {}
    return {
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens or 0,
    }


def _write_images(answer: Images) -> Json:
    created = int(time.time()) if answer.created is None else answer.created
    out: Json = {"created": created, "data": [_write_image(image) for image in answer.data]}
    counts = _counts(answer)
    if counts:
        # The parts must be there; what nobody counted apart is text.
        images = answer.usage.input_image_tokens or 0
        counts["input_tokens_details"] = {
            "image_tokens": images,
            "text_tokens": max(counts["input_tokens"] - images, 0),
        }
        out["usage"] = counts
        drawn = answer.usage.output_image_tokens
        if drawn is not None:
            counts["output_tokens_details"] = {
                "image_tokens": drawn,
                "text_tokens": max(counts["output_tokens"] - drawn, 0),
            }
    return out


def _write_image(image: Image) -> Json:
    out: Json = {}
    if image.content is not None:
        out["b64_json"] = base64.b64encode(image.content).decode()
    if image.url is not None:
        out["url"] = image.url
    if image.revised_prompt is not None:
        out["revised_prompt"] = image.revised_prompt
    return out


def _write_video(answer: Video) -> Json:
    raw = answer.raw if isinstance(answer.raw, dict) else {}
    known = {name: raw[name] for name in ("seconds", "size", "completed_at", "expires_at", "prompt") if name in raw}
    out: Json = {
        "id": answer.id,
        "object": "video",
        "model": answer.model,
        "status": answer.status,
        "progress": answer.progress or 0,
        "created_at": raw.get("created_at") or 0,
    }
    if answer.error is not None:
        said = write_error(answer.error)[2]["error"]
        out["error"] = {"code": said["code"], "message": said["message"]}
    return out | known


def _write_moderations(answer: Moderations) -> Json:
    results = [
        {
            "flagged": result.flagged,
            "categories": result.categories,
            "category_scores": result.scores,
            "category_applied_input_types": {},
        }
        for result in answer.results
    ]
    return {"id": answer.id, "model": answer.model, "results": results}


def _write_ranking(answer: Ranking) -> Json:
    results: list[Json] = []
    for ranked in answer.results:
        out: Json = {"index": ranked.index, "relevance_score": ranked.score}
        if ranked.document is not None:
            out["document"] = {"text": ranked.document} if isinstance(ranked.document, str) else ranked.document
        results.append(out)
    written: Json = {"id": answer.id, "model": answer.model, "object": "list", "results": results}
    usage = answer.usage
    if usage.total_tokens is not None:
        written["usage"] = {"prompt_tokens": usage.input_tokens or 0, "total_tokens": usage.total_tokens}
    return written


def _write_transcription(answer: Transcription) -> Json:
    out: Json = {"text": answer.text}
    if answer.language is not None or answer.segments or answer.words:
        out |= {"task": "transcribe", "language": answer.language or "", "duration": answer.duration_s or 0.0}
    if answer.segments:
        out["segments"] = [{"id": index, **_write_span(span, "text")} for index, span in enumerate(answer.segments)]
    if answer.words:
        out["words"] = [_write_span(span, "word") for span in answer.words]
    counts = _counts(answer)
    if counts:
        out["usage"] = {"type": "tokens", **counts}
        if answer.usage.input_audio_tokens is not None:
            out["usage"]["input_token_details"] = {"audio_tokens": answer.usage.input_audio_tokens}
    elif answer.duration_s is not None:
        out["usage"] = {"type": "duration", "seconds": answer.duration_s}
    return out


def _write_span(span: Span, name: str) -> Json:
    out: Json = {name: span.text, "start": span.start_s or 0.0, "end": span.end_s or 0.0}
    return out if span.speaker is None else out | {"speaker": span.speaker}


def _write_count(answer: TokenCount) -> Json:
    return {"object": "response.input_tokens", "input_tokens": answer.input_tokens}


WRITERS: Mapping[type[Answer], Callable[[Any], Json]] = MappingProxyType(
    {
        Images: _write_images,
        Video: _write_video,
        Moderations: _write_moderations,
        Ranking: _write_ranking,
        Transcription: _write_transcription,
        TokenCount: _write_count,
    }
)
