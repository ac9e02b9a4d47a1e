"""How many tokens a call will probably use, before anybody counted them.

Limits and budgets reserve by these estimates and settle by the upstream's counts, so an estimate errs on the high
side, and it must cost nothing: the prompt is measured by the length of the JSON that is sent anyway. No tokenizer
is asked; each model has another, they cost milliseconds, and none of them counts images.

The answer is taken to be about as long as the long ones among the last hundred of the same deployment.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping, Set as AbstractSet
from types import MappingProxyType
from typing import Any, TypeGuard

from ..types.request import PINNED, Request, Verb
from ..types.uploads import uploads_in

__all__ = ["MEDIA_PARTS", "Outputs", "input_tokens", "output_limit", "output_tokens"]

BYTES_PER_TOKEN = 3.2
"""UTF-8 bytes; English prose has 4 to 4.5, code and Chinese about 3 (o200k and Claude's tokenizers)."""

MARGIN = 1.1
"""On top: chat templates add tokens that are nowhere in the JSON."""

TOKENS_PER_BYTE = MARGIN / BYTES_PER_TOKEN

IMAGE_TOKENS = 1_600
"""An image at the size to which Anthropic scales larger ones (pixels / 750); OpenAI's tiles come to 765 to 1 445."""

MEDIA_BYTES_PER_TOKEN = 1_000
"""Base64 bytes of audio; compressed speech at 16 kB/s is 10 tokens a second at OpenAI and 32 at Google."""

FILE_BYTES_PER_TOKEN = 30
"""Base64 bytes of a document; a PDF page has some 50 kB and is read as 1 500 to 3 000 tokens (Anthropic)."""

DEFAULT_OUTPUT_TOKENS = 1_024
"""When neither the request nor experience says anything: four times an average chat answer (LMSYS-Chat-1M: 215)."""

HISTORY = 100
"""Answers that are remembered; the last hundred follow a change of traffic within minutes."""

HISTORY_MIN = 20
"""Answers before experience counts: among fewer the 95th percentile is just the longest."""

LOOK = 200
"""Characters of a text that are looked at; prose has a space among as many."""

UNREAD: frozenset[Verb] = frozenset({"count_tokens", "models", *PINNED})
"""Verbs for which no model reads anything."""

FILED: frozenset[Verb] = frozenset({"image", "transcribe", "video"})
"""Verbs whose parameters may be files."""

UNWRITTEN: frozenset[Verb] = frozenset({"embed", "moderate", "rerank", "video", *UNREAD})
"""Verbs for which no model writes tokens."""

PERCENTILE = 0.95
OUTPUT_MARGIN = 1.2
"""On top of the percentile: a long answer is seldom longer than that, and one in twenty may go into debt."""

MEDIA_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "image_url": "vision",
        "image": "vision",
        "input_image": "vision",
        "file": "vision",
        "input_file": "vision",
        "document": "vision",
        "input_audio": "audio",
        "audio": "audio",
    }
)
"""Types of content parts that are no text, and what a model must be able to do to read them."""

_IMAGES = frozenset({"image_url", "image", "input_image"})
_AUDIO = frozenset({"input_audio", "audio"})
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_NAMES = frozenset(_LIMITS)


def input_tokens(request: Request, needs: AbstractSet[str] | None = None) -> int:
    """
    Tokens the prompt will probably have, everything that is sent counted in: tools, schemas, JSON.

    Args:
        needs: What the request needs of a model, if that is known already; without `vision` and `audio` nothing is
            looked at but the length. None: the messages are looked through for images, audio and files.
    """
    encoded = request.encoded
    size, media = len(encoded), 0
    if request.verb != "chat":
        if request.verb in UNREAD:
            return 0
        if request.verb in FILED:
            for file in uploads_in(request.body):
                size -= len(file["data"])
                media += _weight_of(file)
    # Whatever is no text says its type; most requests have nothing that does, and are not walked through.
    elif b'"type"' in encoded and (needs is None or "vision" in needs or "audio" in needs):
        for kind, data in _media(request):
            # Base64 is not read as text; only its weight is taken out, a link's few bytes do not matter.
            size -= data
            if kind in _IMAGES:
                media += IMAGE_TOKENS
            else:
                media += math.ceil(data / (MEDIA_BYTES_PER_TOKEN if kind in _AUDIO else FILE_BYTES_PER_TOKEN))
    return math.ceil((size if size > 0 else 0) * TOKENS_PER_BYTE) + media


def _weight_of(file: Mapping[str, str]) -> int:
    """Tokens of a file, by what it is and how large. What says nothing of itself is most likely sound."""
    media_type = file["media_type"]
    if media_type.startswith("image/"):
        return IMAGE_TOKENS
    each = FILE_BYTES_PER_TOKEN if media_type == "application/pdf" else MEDIA_BYTES_PER_TOKEN
    return math.ceil(len(file["data"]) / each)


def output_limit(request: Request) -> int | None:
    """Tokens that all answers to the request may have together; None if the request sets no limit."""
    if request.verb in UNWRITTEN:
        return 0
    body = request.body
    if not isinstance(body, dict) or _NAMES.isdisjoint(body):
        return None
    for name in _LIMITS:
        limit = body.get(name)
        if _is_count(limit):
            choices = body.get("n")
            return limit * choices if _is_count(choices) else limit
    return None


def output_tokens(request: Request, usual: int | None = None) -> int:
    """
    Tokens the answer will probably have at most: what is usual, within the request's own limit.

    Args:
        usual: What experience says, see `Outputs`; None without any.
    """
    limit = output_limit(request)
    if usual is None:
        return DEFAULT_OUTPUT_TOKENS if limit is None else limit
    return usual if limit is None else min(limit, usual)


def _is_count(value: object) -> TypeGuard[int]:
    # Whatever else stands there, the upstream will refuse it; `True` is no limit of one.
    return isinstance(value, int) and value is not True and value > 0


class Outputs:
    """
    How long the last answers of one deployment were. Safe to use from any thread.

    Attributes:
        usual: Tokens that few answers pass; None while there is too little experience.
    """

    __slots__ = ("_lengths", "_lock", "_sorted", "usual")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lengths: deque[int] = deque()
        self._sorted: list[int] = []
        self.usual: int | None = None

    def record(self, tokens: int | None) -> None:
        """Remember the length of an answer; None, if the upstream did not count, is nothing to remember."""
        if tokens is None or tokens < 0:
            return
        with self._lock:
            if len(self._lengths) == HISTORY:
                del self._sorted[bisect_left(self._sorted, self._lengths.popleft())]
            self._lengths.append(tokens)
            insort(self._sorted, tokens)
            known = len(self._sorted)
            if known >= HISTORY_MIN:
                self.usual = math.ceil(self._sorted[math.ceil(PERCENTILE * known) - 1] * OUTPUT_MARGIN)

    def __repr__(self) -> str:
        return f"<Outputs of {len(self._lengths)} answers, usually up to {self.usual} tokens>"


def _media(request: Request) -> Iterator[tuple[str, int]]:
    """Type of each content part that is no text, and how many bytes of the request are its data."""
    body = request.body
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in messages if isinstance(messages, list) else ():
        # Without a call for each message: conversations have hundreds.
        if message.__class__ is dict and "content" in message and message["content"].__class__ is list:
            for part in message["content"]:
                kind = part.get("type") if isinstance(part, dict) else None
                if isinstance(kind, str) and kind in MEDIA_PARTS:
                    yield kind, _data(part)


def _data(part: dict[str, Any]) -> int:
    """Length of the longest text in a part that may be Base64, or a link; both have no spaces."""
    inner = (deep for value in part.values() if isinstance(value, dict) for deep in value.values())
    texts = (text for text in (*part.values(), *inner) if isinstance(text, str) and " " not in text[:LOOK])
    return max(map(len, texts), default=0)
