"""What a scripted connection does, as plain values: bytes, and the things that are no bytes.

A script is a list of steps, so scripts are joined with `+`, cut with `cut` and read by eye:

    [Pause(0.2)] + chat("late")
    cut(chat("hello"), after_bytes=40) + [Reset()]

Whoever plays them offers a `Wire`; a step of your own is any object with `async def play(self, wire)`. The vocabulary is
that of Toxiproxy's toxics (latency, slicer, limit_data, slow_close, reset_peer, timeout), spoken by the peer itself.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Protocol, runtime_checkable

__all__ = [
    "LAST_CHUNK",
    "Close",
    "Hang",
    "Headers",
    "Pause",
    "Repeat",
    "Reset",
    "Step",
    "Steps",
    "Trickle",
    "Wire",
    "chunk",
    "chunked",
    "cut",
    "gzip_bomb",
    "gzipped",
    "head",
    "http_response",
    "http_stream",
    "play",
    "raw",
    "split",
]


class Wire(Protocol):
    """One end of a connection, as a step sees it."""

    async def send(self, data: bytes) -> None:
        """Send, and wait until the kernel has taken it all."""
        ...

    async def pause(self, seconds: float) -> None:
        """Do nothing for so long; ends early with the connection."""
        ...

    async def gone(self) -> None:
        """Wait until the connection is gone. No step plays after that."""
        ...

    def close(self) -> None:
        """Send FIN once everything is sent."""
        ...

    def reset(self) -> None:
        """Send RST."""
        ...


@runtime_checkable
class Action(Protocol):
    """A step that is no bytes."""

    async def play(self, wire: Wire) -> None: ...


Step = bytes | Action
Steps = list[Step]
Headers = Mapping[str, str] | Sequence[tuple[str, str]]
"""Pairs where a name is sent more than once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so long."""

    seconds: float

    async def play(self, wire: Wire) -> None:
        await wire.pause(self.seconds)


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection in good order, with FIN."""

    async def play(self, wire: Wire) -> None:
        wire.close()
        await wire.gone()


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection, with RST. What was sent before stays readable on Linux; other systems may discard it."""

    async def play(self, wire: Wire) -> None:
        wire.reset()
        await wire.gone()


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more, until the client closes or the server stops."""

    async def play(self, wire: Wire) -> None:
        await wire.gone()


@dataclass(frozen=True, slots=True)
class Trickle:
    """
    Send data in small pieces, a rest after each.

    Attributes:
        every_s: Seconds between two pieces.
        size: Bytes of a piece.
        framed: Whether each piece travels as an HTTP chunk of its own; `chunked` sets it.
    """

    data: bytes
    every_s: float
    size: int = 1
    framed: bool = False

    async def play(self, wire: Wire) -> None:
        for piece in split(self.data, every=self.size):
            await wire.send(chunk(piece) if self.framed else piece)
            await wire.pause(self.every_s)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Play the steps again and again, `times` times or until the connection is gone."""

    steps: Sequence[Step]
    times: int | None = None

    async def play(self, wire: Wire) -> None:
        for _ in itertools.count() if self.times is None else range(self.times):
            await play(self.steps, wire)
            # Bytes that the kernel takes at once suspend nobody, and the other connections want their turn.
            await wire.pause(0)


async def play(steps: Iterable[Step], wire: Wire) -> None:
    """Play one step after the other."""
    for step in steps:
        if isinstance(step, bytes):
            await wire.send(step)
        else:
            await step.play(wire)


def raw(*steps: Step | Iterable[Step]) -> Steps:
    """A script of exactly these steps; lists of them are joined."""
    script: Steps = []
    for step in steps:
        if isinstance(step, (bytes, Action)):
            script.append(step)
        else:
            script += step
    return script


def cut(script: Iterable[Step], after_bytes: int) -> Steps:
    """
    The beginning of a script. Only plain bytes count; what stands before the cut and is no bytes stays.

    Joined with `[Close()]`, `[Reset()]` or `[Hang()]` it breaks an answer at any byte.
    """
    kept: Steps = []
    for step in script:
        if isinstance(step, bytes):
            kept.append(step[:after_bytes])
            after_bytes -= len(step)
        else:
            kept.append(step)
        if after_bytes <= 0:
            break
    return kept


def split(data: bytes, *, every: int | None = None, at: Iterable[int] = ()) -> list[bytes]:
    """The pieces of `data`: each `every` bytes long, and cut at the offsets `at`, too. None of them is empty."""
    offsets = {offset for offset in at if 0 < offset < len(data)} | {0, len(data)}
    if every is not None:
        offsets.update(range(0, len(data), every))
    return [data[start:end] for start, end in itertools.pairwise(sorted(offsets))]


def head(status: int = 200, headers: Headers = (), reason: str | None = None) -> bytes:
    """
    The head of an HTTP/1.1 answer with exactly these headers.

    Args:
        reason: The phrase after the status; None is the standard one.
    """
    if reason is None:
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in _pairs(headers))]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def http_response(
    status: int = 200,
    body: Any = b"",
    headers: Headers = (),
    *,
    content_type: str | None = None,
    content_length: int | None = None,
    gzip: bool = False,
) -> Steps:
    """
    A whole answer in one piece.

    Args:
        body: Bytes and text as they are, whatever else as JSON.
        content_type: None follows the body: `application/json`, or text, or nothing said about bytes.
        content_length: What the head declares, if that is not the truth.
        gzip: Whether the body is compressed.
    """
    data, kind = _encoded(body)
    kind = content_type or kind
    said = [("content-type", kind)] if kind else []
    if gzip:
        data = gzipped(data)
        said.append(("content-encoding", "gzip"))
    said.append(("content-length", str(len(data) if content_length is None else content_length)))
    return [head(status, _defaulted(headers, said)) + data]


def http_stream(
    pieces: Iterable[Step],
    status: int = 200,
    headers: Headers = (),
    *,
    content_type: str = "text/event-stream; charset=utf-8",
    end: bool = True,
) -> Steps:
    """
    An answer in HTTP chunks, one for each piece of bytes.

    Args:
        end: Whether the chunk that ends the body is sent.
    """
    said = [("content-type", content_type), ("cache-control", "no-cache"), ("transfer-encoding", "chunked")]
    return [head(status, _defaulted(headers, said)), *chunked(pieces, end=end)]


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(steps: Iterable[Step], *, end: bool = True) -> Steps:
    """The steps with their bytes framed as chunks, `LAST_CHUNK` behind them if `end`. Empty bytes send nothing."""
    framed = [_framed(step) for step in steps if step != b""]
    return [*framed, LAST_CHUNK] if end else framed


def _framed(step: Step) -> Step:
    if isinstance(step, bytes):
        return chunk(step)
    if isinstance(step, Trickle):
        return replace(step, framed=True)
    if isinstance(step, Repeat):
        return replace(step, steps=chunked(step.steps, end=False))
    return step


_GZIP_WINDOW = 31  # zlib's largest window, 15, and 16 more for a gzip header instead of zlib's own
_RAW_DEFLATE_WINDOW = -15


def gzipped(data: bytes) -> bytes:
    """`data` in gzip, the same bytes every time."""
    press = zlib.compressobj(wbits=_GZIP_WINDOW)
    return press.compress(data) + press.flush()


def gzip_bomb(size: int) -> bytes:
    """
    Gzip that unpacks to about `size` zeros, rounded down to MiB, and is a thousand times smaller.

    A compressed MiB that ends with a full flush depends on nothing before it, so repeating it repeats the MiB: the zeros
    themselves never exist here.
    """
    mebibyte = bytes(1 << 20)
    times = size >> 20
    press = zlib.compressobj(level=9, wbits=_RAW_DEFLATE_WINDOW)
    once = press.compress(mebibyte) + press.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(wbits=_RAW_DEFLATE_WINDOW).flush()
    check = 0
    for _ in range(times):
        check = zlib.crc32(mebibyte, check)
    length = (times << 20) & 0xFFFFFFFF
    trailer = check.to_bytes(4, "little") + length.to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + once * times + last + trailer


def compact(value: Any) -> bytes:
    """JSON as the providers send it: UTF-8 and no spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _encoded(body: Any) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, ""
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return compact(body), "application/json"


def _pairs(headers: Headers) -> Iterator[tuple[str, str]]:
    yield from headers.items() if isinstance(headers, Mapping) else headers


def _defaulted(headers: Headers, said: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers, with those of `said` before them that they do not name themselves."""
    given = list(_pairs(headers))
    names = {name.lower() for name, _ in given}
    return [pair for pair in said if pair[0] not in names] + given
