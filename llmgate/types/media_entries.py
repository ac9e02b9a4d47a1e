"""How answers beside chat are kept: their fields as JSON, with bytes as base64."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any

from .media import (
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
from .response import Answer

__all__ = ["KINDS", "MEDIA_PARTS", "read_media", "write_media"]

MEDIA_PARTS: tuple[type, ...] = (Image, Moderation, Ranked, Span)
"""What such answers are made of."""

KINDS: Mapping[type[Answer], tuple[str, Mapping[str, type | None]]] = MappingProxyType(
    {
        Images: ("images", {"data": Image, "created": None}),
        Video: ("video", {"status": None, "progress": None, "url": None}),
        Binary: ("binary", {"content": bytes, "media_type": None}),
        Speech: ("speech", {"content": bytes, "media_type": None}),
        Moderations: ("moderations", {"results": Moderation}),
        Ranking: ("ranking", {"results": Ranked}),
        Transcription: (
            "transcription",
            {"text": None, "language": None, "duration_s": None, "segments": Span, "words": Span},
        ),
        TokenCount: ("token_count", {"input_tokens": None}),
    }
)
"""What each is called, and its own fields: bytes, a list of such parts, or (None) JSON as it is."""

_CLASSES = {kind: (cls, own) for cls, (kind, own) in KINDS.items()}


def write_media(answer: Answer, out: dict[str, Any]) -> None:
    """
    Add an answer's own fields to what is kept of it.

    Raises:
        TypeError: For a video that failed; why it did is for whoever asked.
    """
    if isinstance(answer, Video) and answer.error is not None:
        raise TypeError("a video that failed is not kept")
    for name, sort in KINDS[type(answer)][1].items():
        value = getattr(answer, name)
        if sort is not None and sort is not bytes:
            out[name] = [_written(part) for part in value]
        elif value is not None:
            out[name] = _text(value) if sort is bytes else value


def read_media(kind: str, values: dict[str, Any]) -> Answer:
    """
    The answer that was kept.

    Raises:
        LookupError, TypeError, ValueError: If it is none.
    """
    cls, own = _CLASSES[kind]
    for name, sort in own.items():
        if sort is bytes:
            values[name] = _bytes(values[name])
        elif sort is not None:
            values[name] = [_read(sort, part) for part in values[name]]
    return cls(**values)


def _written(part: Any) -> dict[str, Any]:
    """The fields that are not what they would be anyway."""
    out = {
        field.name: here
        for field in fields(part)
        if (here := getattr(part, field.name)) is not None and (field.default is MISSING or here != field.default)
    }
    if "content" in out:
        out["content"] = _text(out["content"])
    return out


def _read(sort: type, values: dict[str, Any]) -> Any:
    if "content" in values:
        values["content"] = _bytes(values["content"])
    return sort(**values)


def _text(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode("ascii")


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)
