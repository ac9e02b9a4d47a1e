"""How many tokens a call used, counted the way OpenAI counts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from operator import attrgetter

from .sketch import sketched

__all__ = ["Usage"]


@dataclass(slots=True, repr=False)
class Usage:
    """
    Tokens of one answer. A count the upstream did not send is None, never 0 and never an estimate.

    Attributes:
        input_tokens: Everything the model read; cache reads and writes are part of it.
        output_tokens: Everything the model wrote; reasoning is part of it.
        cache_read_tokens: The part of the input that came out of the upstream's prompt cache.
        cache_write_tokens: The part of the input that was written into that cache.
        reasoning_tokens: The part of the output that was thought and not said.
        input_audio_tokens: The part of the input that was audio.
        output_audio_tokens: The part of the output that was audio.
        cost: The upstream's own price for the answer in US dollars, where it names one.
        input_image_tokens: The part of the input that was images.
        output_image_tokens: The part of the output that was images.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    cost: Decimal | None = None
    input_image_tokens: int | None = None
    output_image_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None when neither was sent."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def max(self, other: Usage | None) -> Usage:
        """
        The larger of two reports about the same answer, field by field; always a new one.

        Anthropic sends running totals, OpenAI one total at the end, Perplexity one with every chunk;
        the maximum is right for all of them.
        """
        if other is None:
            return replace(self)
        pairs = zip(_counts(self), _counts(other), strict=True)
        return Usage(
            *[theirs if mine is None or (theirs is not None and theirs > mine) else mine for mine, theirs in pairs]
        )

    def plus(self, other: Usage) -> Usage:
        """The sum of two answers, field by field, as far as they said; None only where neither did."""
        pairs = zip(_counts(self), _counts(other), strict=True)
        return Usage(*[theirs if mine is None else mine if theirs is None else mine + theirs for mine, theirs in pairs])

    def __bool__(self) -> bool:
        return any(count is not None for count in _counts(self))

    __repr__ = sketched


_counts = attrgetter(*(field.name for field in fields(Usage)))
