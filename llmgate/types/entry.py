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
from operator import attrgetter
from typing import Any, TypeVar

from pydantic_core import from_json, to_json

from .call import Attempt
from .media_entries import KINDS, MEDIA_PARTS, read_media, write_media
from .response import (
    Answer,
    Choice,
    Embeddings,
    Model,
    Models,
    RawResponse,
    Response,
    ToolCall,
    Value,
    leave_unread,
    unread,
)
from .usage import Usage

__all__ = ["Entry", "dump", "fresh", "load", "seal", "unseal"]

A = TypeVar("A", bound=Answer)

VERSION = 3  # of the JSON, the order of the fields included; an entry of another one is a miss
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


def dump(answer: Answer, spoken: str = "") -> bytes:
    """
    Write an answer: a line of our own words, and behind it the upstream's.

    Args:
        spoken: The format of the answer's `wire`, if that still says what the answer says; then it is kept as it is.

    Raises:
        ValueError: If something in it is not JSON: a NaN, an infinity, a lone surrogate, an object.
        TypeError: If something in it would not come back as it was, or the answer is of an unknown class.
    """
    writer = _WRITERS.get(type(answer))
    if writer is None:
        raise TypeError(f"{type(answer).__name__} is no answer that can be kept")
    kind, write = writer
    usage = [*_usage_of(answer.usage)]
    if usage[_COST] is not None:
        usage[_COST] = str(usage[_COST])
    words, wire = unread(answer), answer.wire
    if wire is None:
        spoken = ""
    if words is None and answer.raw is not None:
        words = wire if spoken else _written(answer.raw)
    if words is None:
        spoken = ""
    common = (answer.id, answer.model, usage, answer.provider, answer.deployment, answer.request_id, spoken)
    payload = _written([VERSION, kind, *common, write(answer)])
    return payload if words is None else payload + b"\n" + words


def _written(value: Any) -> bytes:
    """The value as JSON on one line."""
    written = to_json(value)
    # The writer takes more than JSON has, bytes and tuples among it. What does not come back as it was is not kept.
    if from_json(written, allow_inf_nan=False) != value:
        raise TypeError("something in the answer would not come back as it was")
    return written


def load(payload: bytes, lazily: bool = False) -> Answer:
    """
    Read what `dump` wrote; every call makes a new answer that shares nothing with any other.

    Args:
        lazily: Whether the upstream's own words, for which few ask, wait until somebody does. For what never left this
            process: broken words would be found only then.

    Raises:
        ValueError: If it is anything else.
    """
    line, _, raw = payload.partition(b"\n")
    try:
        version, kind, id, model, usage, provider, deployment, request_id, spoken, own = from_json(
            line, allow_inf_nan=False
        )
        if version != VERSION:
            raise ValueError("the entry was written by another version")
        if usage[_COST] is not None:
            usage[_COST] = Decimal(usage[_COST])
        answer = _READERS[kind](own, Usage(*usage))
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"the entry holds no answer: {type(error).__name__}") from None
    answer.id, answer.model, answer.request_id = id, model, request_id
    answer.provider, answer.deployment = provider, deployment
    if raw:
        if spoken:
            answer.wire, answer.spoken = raw, spoken
        leave_unread(answer, raw)
        if not lazily:
            _ = answer.raw
    return answer


def _changed(value: Any, defaults: Mapping[str, object]) -> dict[str, Any]:
    """The fields that are not what they would be anyway."""
    return {
        name: here
        for name, default in defaults.items()
        if (here := getattr(value, name)) is not None and here != default
    }


def _write_response(answer: Any) -> list[Any]:
    choices = []
    for choice in answer.choices:
        parts = [*_choice_of(choice)]
        parts[_CALLS] = [[*_call_of(call)] for call in parts[_CALLS]]
        choices.append(parts)
    return [answer.created, choices]


def _read_response(own: Any, usage: Usage) -> Response:
    created, choices = own
    return Response(created=created, choices=[_read_choice(*parts) for parts in choices], usage=usage)


def _read_choice(
    index: Any, text: Any, reasoning: Any, calls: Any, refusal: Any, citations: Any, finish_reason: Any,
    native_finish_reason: Any, logprobs: Any, extra: Any,
) -> Choice:  # fmt: skip
    if calls:
        calls = [ToolCall(*call) for call in calls]
    return Choice(
        index, text, reasoning, calls, refusal, citations, finish_reason, native_finish_reason, logprobs, extra
    )  # fmt: skip


def _write_embeddings(answer: Any) -> Any:
    return answer.vectors


def _read_embeddings(own: Any, usage: Usage) -> Embeddings:
    return Embeddings(vectors=own, usage=usage)


def _write_models(answer: Any) -> Any:
    return [_changed(model, _MODEL) for model in answer.data]


def _read_models(own: Any, usage: Usage) -> Models:
    return Models(data=[Model(**model) for model in own], usage=usage)


def _write_raw(answer: Any) -> Any:
    return [answer.status, answer.headers, binascii.b2a_base64(answer.content, newline=False).decode()]


def _read_raw(own: Any, usage: Usage) -> RawResponse:
    status, headers, content = own
    content = binascii.a2b_base64(content, strict_mode=True)
    return RawResponse(status=status, headers=headers, content=content, usage=usage)


def _write_value(answer: Any) -> Any:
    _insist(answer.value)
    return answer.value


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


def _read_value(own: Any, usage: Usage) -> Value:
    return Value(value=own, usage=usage)


def _write_media(answer: Any) -> Any:
    out: dict[str, Any] = {}
    write_media(answer, out)
    return out


def _read_media(kind: str, own: Any, usage: Usage) -> Answer:
    return read_media(kind, own | {"usage": usage})


_JSON = frozenset({str, int, float, bool, type(None)})
_WRITERS: Mapping[type[Answer], tuple[str, Callable[[Any], Any]]] = {
    Response: ("response", _write_response),
    Embeddings: ("embeddings", _write_embeddings),
    Models: ("models", _write_models),
    RawResponse: ("raw", _write_raw),
    Value: ("value", _write_value),
} | {cls: (kind, _write_media) for cls, (kind, _) in KINDS.items()}
_READERS: Mapping[str, Callable[..., Answer]] = {
    "response": _read_response,
    "embeddings": _read_embeddings,
    "models": _read_models,
    "raw": _read_raw,
    "value": _read_value,
} | {kind: partial(_read_media, kind) for kind, _ in KINDS.values()}
_USAGE, _CHOICE, _CALL = ([field.name for field in fields(part)] for part in (Usage, Choice, ToolCall))
_COST, _CALLS = _USAGE.index("cost"), _CHOICE.index("tool_calls")
_usage_of, _choice_of, _call_of = attrgetter(*_USAGE), attrgetter(*_CHOICE), attrgetter(*_CALL)
_MODEL: Mapping[str, object] = {"id": None} | {
    field.name: field.default for field in fields(Model) if field.name != "id"
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
    words = unread(answer)
    for field in fields(answer):
        name = field.name
        if name == "raw" and words is not None:
            copied.raw = None
            leave_unread(copied, words)
            continue
        value = getattr(answer, name)
        # A price list is nobody's to change, and large.
        setattr(copied, name, value if name == "priced" else _fresh(value))
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
