"""What comes back of everything that is no chat: images, videos, speech, transcripts, rankings, judgements, counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import GatewayError
from .response import Answer
from .sketch import sketched

__all__ = [
    "Binary",
    "Image",
    "Images",
    "Moderation",
    "Moderations",
    "Ranked",
    "Ranking",
    "Span",
    "Speech",
    "TokenCount",
    "Transcription",
    "Video",
]


@dataclass(slots=True, repr=False)
class Image:
    """
    One image that a model made.

    Attributes:
        url: Where it can be fetched for a while; None if it came along.
        content: Its bytes; None if it has to be fetched.
        media_type: Such as `image/png`; empty if nobody says.
        revised_prompt: What the model made of the prompt, where it says so.
    """

    url: str | None = None
    content: bytes | None = field(default=None, repr=False)
    media_type: str = ""
    revised_prompt: str | None = None

    __repr__ = sketched


@dataclass(slots=True, kw_only=True, repr=False)
class Images(Answer):
    """
    The answer to `image`; iterates over `data`.

    Attributes:
        created: When they were made, seconds since 1970, as the upstream says.
    """

    data: list[Image] = field(default_factory=list)
    created: int | None = field(default=None, compare=False)

    def __iter__(self) -> Iterator[Image]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


@dataclass(slots=True, kw_only=True, repr=False)
class Video(Answer):
    """
    How the making of a video stands.

    Attributes:
        id: The upstream's name of the job.
        status: `queued`, `in_progress`, `completed` or `failed`.
        progress: How much of it is done, 0 to 100; None if the upstream does not say.
        error: Why it failed.
        url: Where the video lies, if the upstream names a place.
    """

    status: str = "queued"
    progress: int | None = None
    error: GatewayError | None = field(default=None, compare=False)
    url: str | None = None


@dataclass(slots=True, kw_only=True, repr=False)
class Binary(Answer):
    """
    An answer that is bytes.

    Attributes:
        media_type: What they are, such as `audio/mpeg`; empty if nobody says.
    """

    content: bytes = field(default=b"", repr=False)
    media_type: str = ""


@dataclass(slots=True, kw_only=True, repr=False)
class Speech(Binary):
    """The answer to `speak`: a text as sound."""


@dataclass(slots=True, repr=False)
class Moderation:
    """
    What was found in one input.

    Attributes:
        flagged: Whether any category applies.
        categories: Whether each of them does, by the upstream's names.
        scores: How sure the model is of each, 0 to 1.
    """

    flagged: bool = False
    categories: dict[str, bool] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    __repr__ = sketched


@dataclass(slots=True, kw_only=True, repr=False)
class Moderations(Answer):
    """The answer to `moderate`: one result an input, in the order of the inputs; iterates over them."""

    results: list[Moderation] = field(default_factory=list)

    @property
    def flagged(self) -> bool:
        """Whether any input is."""
        return any(result.flagged for result in self.results)

    def __iter__(self) -> Iterator[Moderation]:
        return iter(self.results)


@dataclass(slots=True, repr=False)
class Ranked:
    """
    One document in its place.

    Attributes:
        index: Its place among those that were asked about, from 0.
        score: How well it fits the query; comparable within one answer, and on the model's own scale.
        document: The document itself, as it was asked about.
    """

    index: int
    score: float
    document: Any = None

    __repr__ = sketched


@dataclass(slots=True, kw_only=True, repr=False)
class Ranking(Answer):
    """The answer to `rerank`: the documents in the upstream's order, the best first; iterates over them."""

    results: list[Ranked] = field(default_factory=list)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.results)


@dataclass(slots=True, repr=False)
class Span:
    """
    A part of a transcript: a sentence or so, or a word. Times are seconds from the beginning.

    Attributes:
        speaker: Who said it, where the upstream tells speakers apart.
    """

    text: str
    start_s: float | None = None
    end_s: float | None = None
    speaker: str | None = None

    __repr__ = sketched


@dataclass(slots=True, kw_only=True, repr=False)
class Transcription(Answer):
    """
    The answer to `transcribe`.

    Attributes:
        language: The language spoken, as the upstream writes it; None if it does not say.
        duration_s: Seconds of sound, None if nobody says.
        segments, words: Its parts with their times, where they were asked for.
    """

    text: str = ""
    language: str | None = None
    duration_s: float | None = None
    segments: list[Span] = field(default_factory=list)
    words: list[Span] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, repr=False)
class TokenCount(Answer):
    """
    The answer to `count_tokens`. Its `usage` is empty: nothing was used.

    Attributes:
        input_tokens: What the upstream would count for such a request, everything in it included.
    """

    input_tokens: int = 0
