"""What may be answered from a store, and what may be kept in one.

Both questions are answered on the safe side: an answer that somebody did not get costs one call, an answer that
somebody should not have got costs trust.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..types.call import CacheControl
from ..types.media import Binary, Images, Moderations, Ranking, TokenCount, Transcription, Video
from ..types.request import PINNED, Request, Verb
from ..types.response import Answer, Choice, Embeddings, Models, RawResponse, Response, Value

__all__ = ["CACHED_VERBS", "Cacheable"]

CACHED_VERBS: tuple[Verb, ...] = (
    "chat", "complete", "embed", "call", "moderate", "rerank", "transcribe", "count_tokens",
)  # fmt: skip
ASKED_VERBS: frozenset[Verb] = frozenset({"image", "video", "speak"})
"""Verbs whose answers are kept when the call asks for it: who makes something twice wants two of it."""


@dataclass(frozen=True, slots=True)
class Cacheable:
    """
    Args:
        verbs: The verbs whose answers are kept.
        sampled: Whether calls with a temperature above 0 count as askable again.
        length: Whether answers are kept that end because they became too long.
        tool_calls: Whether answers are kept that call a tool. Such an answer, served twice, makes the caller do
            twice what the model wanted once.
    """

    verbs: Collection[str] = CACHED_VERBS
    sampled: bool = False
    length: bool = False
    tool_calls: bool = False

    def question(self, request: Request, control: CacheControl | None) -> bool:
        """
        Whether two of these are one question.

        Who names a temperature above 0 wants another answer each time, unless caching was asked for in so many
        words. Who names none has not said so, and the cache was turned on for such calls.
        """
        asked = control is not None and control.asked
        verb = request.verb
        if not (verb in self.verbs or (asked and verb in ASKED_VERBS)) or verb in PINNED:
            return False  # how something stands is never the same question
        if verb == "request" and request.stream:
            return False  # it passes through unread, so nobody knows whether it is whole
        if self.sampled or asked:
            return True
        body = request.body
        return not (isinstance(body, dict) and body.get("temperature"))

    def answer(self, answer: Answer) -> bool:
        """Whether a whole answer is good enough to be given again. One that says nothing is more likely a fault."""
        if isinstance(answer, Response):
            for choice in answer.choices:
                if not self._choice(choice):
                    return False
            return bool(answer.choices)
        if isinstance(answer, RawResponse):
            return 200 <= answer.status < 300
        if isinstance(answer, Embeddings):
            return bool(answer.vectors) and all(answer.vectors)
        if isinstance(answer, Models | Images):
            return bool(answer.data)
        if isinstance(answer, Moderations | Ranking):
            return bool(answer.results)
        if isinstance(answer, Transcription):
            return bool(answer.text)
        if isinstance(answer, Binary):
            return bool(answer.content)
        if isinstance(answer, Video | TokenCount):
            return True
        return isinstance(answer, Value) and answer.value is not None

    def _choice(self, choice: Choice) -> bool:
        if choice.tool_calls:
            return self.tool_calls
        # No reason is no reason against it: that the answer is whole is proved elsewhere.
        reasons = ("stop", "length", None) if self.length else ("stop", None)
        return choice.finish_reason in reasons and bool(choice.text)
