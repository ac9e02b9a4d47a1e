"""How an answer is kept: as JSON with a version, and on a disk with a seal.

`load(dump(answer)) == answer` for every answer that is JSON at all (law: tests/laws/test_entry.py). What is read is
data and never becomes code; what cannot be read is a `ValueError`, for whoever keeps it to throw away.

An answer is kept without what belongs to the call that asked for it: its attempts, its price list, the word `cached`.
"""

from __future__ import annotations

import binascii
import copy
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from pydantic_core import to_json

from .call import Attempt
from .media_entries import KINDS, MEDIA_PARTS, read_media, write_media
from .response import Answer, Choice, Embeddings, Model, Models, RawResponse, Response, ToolCall, Value
from .usage import Usage
from .wire import loads

__all__ = ["Entry", "dump", "fresh", "load", "seal", "unseal"]

A = TypeVar("A", bound=Answer)

VERSION = 1  # of the JSON; an entry of another one is a miss
MAGIC = b"llmg\x01"  # of the seal, with its own version


@dataclass(slots=True)
class Entry:
    """
    What a store keeps under a key. Times are relative, so stores with different clocks can hand it to one another.

    Attributes:
        payload: The answer, as `dump` wrote it.
        ttl_s: Seconds it has still to live.
        age_s: Seconds since it was written.
    """

    payload: bytes
    ttl_s: float
    age_s: float = 0.0


def dump(answer: Answer) -> bytes:
    """
    Write an answer.

    Raises:
        ValueError: If something in it is not JSON: a NaN, an infinity, a lone surrogate, an object.
        TypeError: If something in it would not come back as it was, or the answer is of an unknown class.
    """
    writer = _WRITERS.get(type(answer))
    if writer is None:
        raise TypeError(f"{type(answer).__name__} is no answer that can be kept")
    kind, write = writer
    out: dict[str, Any] = {"v": VERSION, "kind": kind} | _changed(answer, _ANSWER)
    usage = _changed(answer.usage, _USAGE)
    if usage:
        if "cost" in usage:
            usage["cost"] = str(usage["cost"])
        out["usage"] = usage
    write(answer, out)
    payload = to_json(out)
    # The writer takes more than JSON has, bytes and tuples among it. What does not come back as it was is not kept.
    if loads(payload) != out:
        raise TypeError("something in the answer would not come back as it was")
    return payload


def load(payload: bytes) -> Answer:
    """
    Read what `dump` wrote; every call makes a new answer that shares nothing with any other.

    Raises:
        ValueError: If it is anything else.
    """
    try:
        values = loads(payload)
        if values.pop("v") != VERSION:
            raise ValueError("the entry was written by another version")
        usage = values.get("usage")
        if usage is not None:
            if "cost" in usage:
                usage["cost"] = Decimal(usage["cost"])
            values["usage"] = Usage(**usage)
        return _READERS[values.pop("kind")](values)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the entry holds no answer: {type(error).__name__}") from None


def _changed(value: Any, defaults: Mapping[str, object]) -> dict[str, Any]:
    """The fields that are not what they would be anyway."""
    return {
        name: here
        for name, default in defaults.items()
        if (here := getattr(value, name)) is not None and here != default
    }


def _write_response(answer: Any, out: dict[str, Any]) -> None:
    if answer.created is not None:
        out["created"] = answer.created
    choices = out["choices"] = []
    for choice in answer.choices:
        values = _changed(choice, _CHOICE)
        if choice.tool_calls:
            values["tool_calls"] = [_changed(call, _TOOL_CALL) for call in choice.tool_calls]
        choices.append(values)


def _read_response(values: dict[str, Any]) -> Response:
    choices = []
    for choice in values["choices"]:
        calls = choice.get("tool_calls")
        if calls is not None:
            choice["tool_calls"] = [ToolCall(**call) for call in calls]
        choices.append(Choice(**choice))
    values["choices"] = choices
    return Response(**values)


def _write_embeddings(answer: Any, out: dict[str, Any]) -> None:
    out["vectors"] = answer.vectors


def _read_embeddings(values: dict[str, Any]) -> Embeddings:
    return Embeddings(**values)


def _write_models(answer: Any, out: dict[str, Any]) -> None:
    out["data"] = [_changed(model, _MODEL) for model in answer.data]


def _read_models(values: dict[str, Any]) -> Models:
    values["data"] = [Model(**model) for model in values["data"]]
    return Models(**values)


def _write_raw(answer: Any, out: dict[str, Any]) -> None:
    out["status"], out["headers"] = answer.status, answer.headers
    out["content"] = binascii.b2a_base64(answer.content, newline=False).decode()


def _read_raw(values: dict[str, Any]) -> RawResponse:
    values["content"] = binascii.a2b_base64(values["content"], strict_mode=True)
    return RawResponse(**values)


def _write_value(answer: Any, out: dict[str, Any]) -> None:
    _insist(answer.value)
    out["value"] = answer.value


def _insist(value: Any) -> None:
    """What a function returned must come back as it was: not a list for a tuple, not a text for a number as a key."""
    kind = type(value)
    if kind is dict:
        if any(type(name) is not str for name in value):
            raise TypeError("a key that is no text")
        for part in value.values():
            _insist(part)
    elif kind is list:
        for part in value:
            _insist(part)
    elif kind not in _JSON:
        raise TypeError(f"{kind.__name__} is not JSON")


def _read_value(values: dict[str, Any]) -> Value:
    return Value(**values)


_JSON = frozenset({str, int, float, bool, type(None)})
_WRITERS: Mapping[type[Answer], tuple[str, Callable[[Any, dict[str, Any]], None]]] = {
    Response: ("response", _write_response),
    Embeddings: ("embeddings", _write_embeddings),
    Models: ("models", _write_models),
    RawResponse: ("raw", _write_raw),
    Value: ("value", _write_value),
} | {cls: (kind, write_media) for cls, (kind, _) in KINDS.items()}
_READERS: Mapping[str, Callable[[dict[str, Any]], Answer]] = {
    "response": _read_response,
    "embeddings": _read_embeddings,
    "models": _read_models,
    "raw": _read_raw,
    "value": _read_value,
} | {kind: partial(read_media, kind) for kind, _ in KINDS.values()}
# What is written of each part, and what goes without saying.
_UNSET = object()
_ANSWER: Mapping[str, object] = {
    "id": "", "model": "", "raw": None, "provider": "", "deployment": "", "request_id": None,
}  # fmt: skip
_USAGE: Mapping[str, object] = dict.fromkeys(field.name for field in fields(Usage))
_TOOL_CALL: Mapping[str, object] = {field.name: field.default for field in fields(ToolCall)}
_MODEL: Mapping[str, object] = {"id": _UNSET} | {
    field.name: field.default for field in fields(Model) if field.name != "id"
}
_CHOICE: Mapping[str, object] = {
    field.name: [] if field.name == "citations" else {} if field.name == "extra" else field.default
    for field in fields(Choice)
    if field.name != "tool_calls"
}

_SEAL = struct.Struct("<5sIdd")


def seal(key: bytes, payload: bytes, born: float, dies: float) -> bytes:
    """
    The entry as it lies on a disk, with its times and a checksum over everything, the key included.

    A payload that a broken index would hand out for another key does not fit its seal.

    Args:
        born: When it was written, seconds since 1970.
        dies: When it is too old, seconds since 1970.
    """
    return _SEAL.pack(MAGIC, _checksum(key, payload, born, dies), born, dies) + payload


def unseal(key: bytes, data: object) -> tuple[bytes, float, float]:
    """
    The payload, and when it was born and dies.

    Raises:
        ValueError: If it is not what `seal` made for this key.
    """
    if not isinstance(data, bytes) or len(data) < _SEAL.size:
        raise ValueError("the entry is no sealed entry")
    magic, checksum, born, dies = _SEAL.unpack_from(data)
    payload = data[_SEAL.size :]
    if magic != MAGIC or checksum != _checksum(key, payload, born, dies):
        raise ValueError("the entry's seal is broken")
    return payload, born, dies


def _checksum(key: bytes, payload: bytes, born: float, dies: float) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<dd", born, dies), zlib.crc32(key)))


def fresh(answer: A) -> A:
    """
    A copy of an answer that shares nothing with it that could change.

    Raises:
        Exception: Whatever a wrapped function's own value raises when it is copied.
    """
    copied: Any = object.__new__(type(answer))
    for field in fields(answer):
        value = getattr(answer, field.name)
        # A price list is nobody's to change, and large.
        setattr(copied, field.name, value if field.name == "priced" else _fresh(value))
    return copied  # type: ignore[no-any-return]


def _fresh(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: part if type(part) in _ATOMS else _fresh(part) for name, part in value.items()}
    if kind is list:
        return [part if type(part) in _ATOMS else _fresh(part) for part in value]
    if kind in _ATOMS:
        return value
    if kind in _PARTS:
        return kind(*[_fresh(getattr(value, name)) for name in _PARTS[kind]])
    return copy.deepcopy(value)


_ATOMS = frozenset({str, int, float, bool, type(None), bytes, Decimal})
_PARTS: Mapping[type, tuple[str, ...]] = {
    part: tuple(field.name for field in fields(part))
    for part in (Choice, ToolCall, Usage, Model, Attempt, *MEDIA_PARTS)
}
