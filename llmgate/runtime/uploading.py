"""Files that a caller hands over: read where reading blocks nobody, and put into the request."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from ..types.runtime import Runtime
from ..types.uploads import is_upload, upload

__all__ = ["File", "uploaded"]

File = bytes | bytearray | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str]
"""A file's bytes, its path, or its name with its bytes and, if you like, its media type."""

FILE_MAX_BYTES = 32 * 10**6  # more than any upstream takes: OpenAI's limit of a recording is 25 MiB


async def uploaded(runtime: Runtime, value: Any, name: str, *, paths: bool = False) -> Any:
    """
    A value of the request with its files as they stand in a request; what is none stays as it is.

    Args:
        name: What the parameter is called.
        paths: Whether a text is a path; else it is an address, an id, or whatever the upstream makes of it.

    Raises:
        BadRequest: If a file cannot be read, or is too large.
    """
    if isinstance(value, list):
        return [await uploaded(runtime, part, name, paths=paths) for part in value]
    if isinstance(value, os.PathLike) or (paths and isinstance(value, str)):
        path = Path(value)
        try:
            return _checked(await runtime.offload(_read, path), path.name, "", name)
        except OSError as error:
            raise BadRequest(f"{name}: {path} cannot be read: {error.strerror or type(error).__name__}") from None
    if isinstance(value, bytes | bytearray):
        return _checked(bytes(value), "", "", name)
    if isinstance(value, tuple):
        return _named(value, name)
    return value


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_MAX_BYTES + 1)


def _named(value: Sequence[Any], name: str) -> dict[str, str]:
    match value:
        case (str(filename), bytes() | bytearray() as content):
            return _checked(bytes(content), filename, "", name)
        case (str(filename), bytes() | bytearray() as content, str(media_type)):
            return _checked(bytes(content), filename, media_type, name)
        case _:
            raise BadRequest(f"{name}: a tuple is a file's name, its bytes and, if you like, its media type")


def _checked(content: bytes, filename: str, media_type: str, name: str) -> dict[str, str]:
    if not content:
        raise BadRequest(f"{name}: the file is empty")
    if len(content) > FILE_MAX_BYTES:
        raise BadRequest(f"{name}: the file is larger than {FILE_MAX_BYTES} bytes")
    file = upload(content, filename, media_type)
    assert is_upload(file)
    return file
