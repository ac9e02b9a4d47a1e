"""Forms with files, as browsers send them: `multipart/form-data`, written and read.

The boundary is made of what it stands between, so the same form is always the same bytes, and a form that holds its own
boundary gets another one. Source: RFC 7578; names and file names are escaped as in WHATWG's HTML, section 4.10.21.8.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import BadRequest
from ..types.uploads import content_of, is_upload, upload
from ..types.wire import dumps, loads

__all__ = ["read_form", "write_form"]

PARTS_MAX = 1000  # of a form that is read; the largest that anybody sends has some twenty

_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
_PARAMETER = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


def write_form(fields: Iterable[tuple[str, Any]]) -> tuple[str, bytes]:
    """
    A form, as its content type and its bytes.

    Args:
        fields: Names and values in order. A file is as in `types/uploads.py`; a list becomes a field for each item, an
            object a field for each key (`timestamp_granularities[]`, `chunking_strategy[type]`), as OpenAI's SDK does.

    Raises:
        BadRequest: If the data of a file is not base64.
    """
    parts = [part for name, value in fields if value is not None for part in _parts(name, value)]
    boundary = _free(_marks(parts), parts)
    mark = b"--" + boundary.encode()
    body = b"".join([piece for part in parts for piece in (mark, b"\r\n", part, b"\r\n")])
    return f"multipart/form-data; boundary={boundary}", body + mark + b"--\r\n"


def _marks(parts: Iterable[bytes]) -> Iterator[str]:
    """Boundaries that such parts may have, the same ones for the same parts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    while True:
        yield digest.hexdigest()
        digest.update(b".")


def _free(marks: Iterable[str], parts: Sequence[bytes]) -> str:
    """The first that stands in no part."""
    return next(mark for mark in marks if not any(mark.encode() in part for part in parts))


def _parts(name: str, value: Any) -> Iterator[bytes]:
    if is_upload(value):
        try:
            content = content_of(value)
        except ValueError:
            raise BadRequest(f"{name}: the file's data is not base64") from None
        media_type = value["media_type"] if _TYPE.fullmatch(value["media_type"]) else "application/octet-stream"
        yield _part(f'name="{_escaped(name)}"; filename="{_escaped(value["filename"])}"', content, media_type)
    elif isinstance(value, list):
        for item in value:
            yield from _parts(f"{name}[]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(f"{name}[{key}]", item)
    else:
        text = value.encode() if isinstance(value, str) else dumps(value)
        yield _part(f'name="{_escaped(name)}"', text)


def _part(disposition: str, content: bytes, media_type: str = "") -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n"
    if media_type:
        head += f"Content-Type: {media_type}\r\n"
    return b"".join((head.encode(), b"\r\n", content))


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def read_form(content_type: str, body: bytes) -> dict[str, Any]:
    """
    What a form says, as `write_form` takes it.

    A text stays a text, but for what JSON reads as a number or a truth: a form does not tell them apart, and whoever
    wrote it meant them so wherever the format knows them.

    Raises:
        BadRequest: If it is no form.
    """
    boundary = _parameters(content_type).get("boundary", "")
    if not content_type.lower().startswith("multipart/form-data") or not boundary:
        raise BadRequest("the body is no multipart/form-data with a boundary")
    # The first boundary has no line before it.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if len(pieces) - 2 > PARTS_MAX:
        raise BadRequest(f"the form has more than {PARTS_MAX} parts")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BadRequest("the form ends before its last boundary")
    form: dict[str, Any] = {}
    for piece in pieces[1:-1]:
        head, found, content = piece.partition(b"\r\n\r\n")
        headers = _headers(head)
        said = _parameters(headers.get("content-disposition", ""))
        name = said.get("name", "")
        if not found or not name:
            raise BadRequest("a part of the form has no name")
        filename = said.get("filename")
        media_type = headers.get("content-type", "")
        value = _value(name, content) if filename is None else upload(content, filename, media_type)
        _put(form, name, value)
    return form


def _headers(head: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _parameters(header: str) -> dict[str, str]:
    """The parameters of a header; what was escaped as browsers do it is itself again."""
    found = {}
    for name, quoted, plain in _PARAMETER.findall(header):
        text = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        found[name.lower()] = text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
    return found


_PLAIN = re.compile(rb"true|false|-?(?:0|[1-9]\d{0,15})(?:\.\d{1,17})?")
_TEXTS = frozenset({"input", "keywords", "language", "model", "prompt", "query", "text", "user", "voice"})
"""Fields that are texts whatever they look like."""


def _value(name: str, content: bytes) -> Any:
    if name.partition("[")[0] not in _TEXTS and _PLAIN.fullmatch(content):
        return loads(content)
    return content.decode("utf-8", "replace")


def _put(form: dict[str, Any], name: str, value: Any) -> None:
    first, bracket, rest = name.partition("[")
    if not bracket:
        # Some repeat a name without brackets.
        form[name] = value if name not in form else [*_listed(form[name]), value]
        return
    key = rest.partition("]")[0]
    if key:
        inside = form.setdefault(first, {})
        if isinstance(inside, dict):
            inside[key] = value
            return
    form[first] = [*_listed(form.get(first, [])), value]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
