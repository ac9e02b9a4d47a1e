"""A file inside of a request: held as JSON, so that a request stays JSON whatever travels in it.

Whoever keys, measures or keeps a request sees base64 in its body; how the file travels is the dialect's affair.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeGuard

__all__ = ["MEDIA_TYPES", "content_of", "is_upload", "sniffed", "upload", "uploads_in"]

MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "wav": "audio/wav", "mp3": "audio/mpeg", "mpga": "audio/mpeg", "mpeg": "audio/mpeg", "m4a": "audio/mp4",
        "aac": "audio/aac", "flac": "audio/flac", "ogg": "audio/ogg", "oga": "audio/ogg", "opus": "audio/opus",
        "pcm": "audio/pcm", "webm": "audio/webm", "mp4": "video/mp4", "mov": "video/quicktime",
        "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
        "svg": "image/svg+xml", "pdf": "application/pdf",
    }
)  # fmt: skip
"""What a file is by its ending. A table of our own: the system's differs from machine to machine."""

UNKNOWN = "application/octet-stream"

_KEYS = frozenset({"filename", "media_type", "data"})
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"GIF8", "gif"),
    (8, b"WEBP", "webp"),
    (8, b"WAVE", "wav"),
    (0, b"ID3", "mp3"),
    (0, b"\xff\xfb", "mp3"),
    (0, b"\xff\xf3", "mp3"),
    (0, b"\xff\xf2", "mp3"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\x1aE\xdf\xa3", "webm"),
    (4, b"ftypM4A", "m4a"),
    (4, b"ftypqt", "mov"),
    (4, b"ftyp", "mp4"),
    (0, b"%PDF-", "pdf"),
)
"""Where a file says what it is, what it says there, and the usual ending of such files; the first that fits."""


def sniffed(content: bytes) -> str:
    """The usual ending of such files, by their first bytes; empty if they say nothing."""
    return next((ending for at, mark, ending in _MAGIC if content.startswith(mark, at)), "")


def upload(content: bytes, filename: str = "", media_type: str = "") -> dict[str, str]:
    """
    A file as it stands in a request.

    Args:
        filename: Its name, without folders. By default `file` with the ending that its first bytes tell; an upstream
            knows the format by the ending.
        media_type: By default what the ending means.
    """
    if not filename:
        ending = sniffed(content)
        filename = f"file.{ending}" if ending else "file"
    if not media_type:
        media_type = MEDIA_TYPES.get(filename.rpartition(".")[2].lower(), UNKNOWN)
    data = binascii.b2a_base64(content, newline=False).decode("ascii")
    return {"filename": filename, "media_type": media_type, "data": data}


def is_upload(value: object) -> TypeGuard[dict[str, str]]:
    """Whether it is a file that `upload` put there."""
    return isinstance(value, dict) and value.keys() == _KEYS and all(isinstance(part, str) for part in value.values())


def content_of(file: Mapping[str, str]) -> bytes:
    """
    The bytes of a file.

    Raises:
        ValueError: If its data is not base64.
    """
    return binascii.a2b_base64(file["data"], strict_mode=True)


def uploads_in(body: Any) -> Iterator[dict[str, str]]:
    """The files among the parameters of a request, and in lists of them."""
    for value in body.values() if isinstance(body, dict) else ():
        for part in value if isinstance(value, list) else (value,):
            if is_upload(part):
                yield part
