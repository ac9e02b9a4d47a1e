"""What a provider that pretends makes of everything beside chat: small, whole, and the same for the same question."""

from __future__ import annotations

import hashlib
import io
import struct
import wave
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import BadRequest
from ..policies.tokens import input_tokens
from ..types.media import (
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
from ..types.request import Request
from ..types.response import Answer
from ..types.uploads import is_upload
from ..types.usage import Usage

__all__ = ["media_answer"]

SIDE = 8  # pixels of a pretended image; enough to be shown
RATE = 8_000  # samples a second of pretended speech, one byte each: a telephone's
WORD_S = 0.3  # seconds a spoken word takes; 200 words a minute
CATEGORIES = ("harassment", "hate", "self-harm", "sexual", "violence")
FILM = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"mp42", 0, b"mp42", b"isom") + struct.pack(">I4s", 8, b"mdat")
"""An MP4 without a picture."""


def media_answer(request: Request, id: str, said: str | None, now: float, job_s: float) -> Answer | None:
    """
    The answer to a request; None for a verb that is none of these.

    Args:
        id: Of the answer.
        said: What a recording says; by default its name.
        now: The runtime's clock, in seconds.
        job_s: Seconds that a video takes.
    """
    if request.verb == "video":
        return Video(id=f"{id}-{now:.3f}", model=request.model, progress=0)
    if request.verb in ("video_status", "video_content"):
        return _film(request, now, job_s)
    make = MAKERS.get(request.verb)
    if make is None:
        return None
    answer = make(request.body, said)
    answer.id, answer.model = id, request.model
    if not isinstance(answer, TokenCount):
        answer.usage = Usage(max(1, round(input_tokens(request))), 0)
    return answer


def _film(request: Request, now: float, job_s: float) -> Answer:
    id = str(request.body["id"])
    try:
        begun = float(id.rpartition("-")[2])
    except ValueError:
        raise BadRequest(f"simulated: there is no video {id!r}") from None
    # A whole share of the way, so that what is seen does not depend on the last bits of a clock.
    share = 1.0 if job_s <= 0 else min(max(round((now - begun) / job_s, 6), 0.0), 1.0)
    if request.verb == "video_content":
        if share < 1:
            raise BadRequest("simulated: the video is not ready")
        return Binary(model=request.model, content=FILM, media_type="video/mp4")
    status = "completed" if share == 1 else "in_progress" if share else "queued"
    return Video(id=id, model=request.model, status=status, progress=int(100 * share))


def _images(body: Mapping[str, Any], said: str | None) -> Images:
    count = body.get("n")
    count = count if isinstance(count, int) else 1
    pictures = [_picture(f"{number} {body['prompt']}") for number in range(count)]
    return Images(data=[Image(content=picture, media_type="image/png") for picture in pictures], created=0)


def _picture(text: str) -> bytes:
    """A PNG of one colour."""
    pixel = hashlib.blake2b(text.encode(), digest_size=3).digest()
    rows = (b"\0" + pixel * SIDE) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _block(b"IHDR", header) + _block(b"IDAT", zlib.compress(rows)) + _block(b"IEND", b"")


def _block(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _speech(body: Mapping[str, Any], said: str | None) -> Speech:
    """A pause as long as the text."""
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(RATE)
        sound.writeframes(b"\x80" * int(RATE * WORD_S * len(str(body["input"]).split())))
    return Speech(content=written.getvalue(), media_type="audio/wav")


def _transcription(body: Mapping[str, Any], said: str | None) -> Transcription:
    file = body.get("file")
    name = file["filename"] if is_upload(file) else "a recording"
    return Transcription(text=f"You said: {name}" if said is None else said)


def _moderations(body: Mapping[str, Any], said: str | None) -> Moderations:
    given = body["input"]
    return Moderations(results=[_judged(str(text).lower()) for text in ([given] if isinstance(given, str) else given)])


def _judged(text: str) -> Moderation:
    """A text is of every category that it names."""
    found = {category: category in text for category in CATEGORIES}
    return Moderation(any(found.values()), found, {category: float(hit) for category, hit in found.items()})


def _ranking(body: Mapping[str, Any], said: str | None) -> Ranking:
    """By the share of the query's words that a document has."""
    query = {*body["query"].lower().split()}
    ranked = [
        Ranked(index, len(query & {*str(document).lower().split()}) / len(query), document)
        for index, document in enumerate(body["documents"])
    ]
    ranked.sort(key=lambda one: -one.score)
    top = body.get("top_n")
    return Ranking(results=ranked[:top] if isinstance(top, int) else ranked)


def _count(body: Mapping[str, Any], said: str | None) -> TokenCount:
    words = sum(len(str(message.get("content") or "").split()) for message in body["messages"])
    return TokenCount(input_tokens=words)


MAKERS: Mapping[str, Callable[[Mapping[str, Any], str | None], Answer]] = {
    "image": _images,
    "speak": _speech,
    "transcribe": _transcription,
    "moderate": _moderations,
    "rerank": _ranking,
    "count_tokens": _count,
}
