"""The verbs beside chat, for both faces: images, videos, moderation, ranking, transcripts, speech, counting."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..types.call import Options
from ..types.media import Images, Moderations, Ranking, Speech, TokenCount, Transcription, Video
from ..types.request import Request, Verb
from ..types.response import Answer
from ..types.runtime import Runtime
from .accepting import accept, options
from .drive import drive
from .jobs import UNSEEN, AsyncVideoJob, VideoJob
from .uploading import File, uploaded

if TYPE_CHECKING:
    from .edge import Door, Messages

__all__ = ["AsyncMediaFace", "MediaFace"]

FILES: Mapping[Verb, tuple[str, ...]] = {
    "image": ("image", "images", "mask"),
    "video": ("input_reference", "image"),
    "transcribe": ("file",),
}
"""Parameters that may be files."""


async def _accepted(runtime: Runtime, verb: Verb, body: dict[str, Any]) -> Request:
    """The request, with what it needs of the disk."""
    for name in FILES.get(verb, ()):
        if name in body:
            body[name] = await uploaded(runtime, body[name], name, paths=verb == "transcribe")
    return accept(verb, body)


def _spoken(text: str, voice: str | None, params: dict[str, Any]) -> dict[str, Any]:
    return {"input": text} | ({} if voice is None else {"voice": voice}) | params


def _heard(file: object, params: dict[str, Any]) -> dict[str, Any]:
    return params if file is None else {"file": file, **params}


class MediaFace:
    """The verbs beside chat for plain threads. The keywords are the upstream's, and the options of `Face.chat`."""

    if TYPE_CHECKING:
        _door: Door

        def _answer(self, name: str, request: Request, asked: Options | None) -> Answer: ...

    def image(self, model: str, prompt: str, **params: Any) -> Images:
        """
        Make images.

        Args:
            **params: OpenAI's parameters of images (`n`, `size`, …). With `image`, `images` or `mask` an image is
                changed rather than made anew: a file (bytes, a path object, or name and bytes), or what the upstream
                takes.
        """
        asked = options(params, self._door.scope)
        request = drive(_accepted(self._door.blocking, "image", {"prompt": prompt, **params}))
        return cast(Images, self._answer(model, request, asked))

    def video(self, model: str, prompt: str, **params: Any) -> VideoJob:
        """
        Begin to make a video; `wait` for it, then ask for its `content`.

        It may have begun although this raises: it is not tried again where nobody can tell, unless `idempotency_key`
        is given.

        Args:
            **params: OpenAI's parameters of videos (`seconds`, `size`, `input_reference`, …).
        """
        asked = options(params, self._door.scope)
        request = drive(_accepted(self._door.blocking, "video", {"prompt": prompt, **params}))
        return VideoJob(self._door, cast(Video, self._answer(model, request, asked)), asked)

    def video_job(self, deployment: str, id: str) -> VideoJob:
        """
        A video that was begun before, perhaps by another process. Nobody is asked yet.

        Args:
            deployment: Who makes it: `deployment` of the job that began it.
            id: Its `id`.
        """
        return VideoJob(self._door, Video(id=id, deployment=deployment, status=UNSEEN), None)

    def moderate(self, model: str, input: str | Sequence[Any], **params: Any) -> Moderations:
        """Judge texts, or OpenAI's content parts, by the categories of a moderation model."""
        asked = options(params, self._door.scope)
        return cast(Moderations, self._answer(model, accept("moderate", {"input": input, **params}), asked))

    def rerank(self, model: str, query: str, documents: Sequence[Any], **params: Any) -> Ranking:
        """
        Put documents in the order in which they fit a query.

        Args:
            **params: `top_n` and whatever else the upstream takes.
        """
        asked = options(params, self._door.scope)
        body = {"query": query, "documents": documents, **params}
        return cast(Ranking, self._answer(model, accept("rerank", body), asked))

    def transcribe(self, model: str, file: File | str | None = None, **params: Any) -> Transcription:
        """
        Write down what is said in a recording.

        Args:
            file: Its bytes, its path, or its name with its bytes and, if you like, its media type. None where another
                parameter says which one (`file_url`).
            **params: OpenAI's parameters of transcriptions (`language`, `response_format`, …), and `translate=True`
                for a translation into English.
        """
        asked = options(params, self._door.scope)
        request = drive(_accepted(self._door.blocking, "transcribe", _heard(file, params)))
        return cast(Transcription, self._answer(model, request, asked))

    def speak(self, model: str, text: str, *, voice: str | None = None, **params: Any) -> Speech:
        """
        Say a text aloud.

        Args:
            voice: Whose voice, by the upstream's name; most upstreams insist on one.
            **params: OpenAI's parameters of speech (`response_format`, `speed`, `instructions`, …).
        """
        asked = options(params, self._door.scope)
        return cast(Speech, self._answer(model, accept("speak", _spoken(text, voice, params)), asked))

    def count_tokens(self, model: str, messages: Messages, **params: Any) -> TokenCount:
        """
        Have the upstream count the tokens of a chat, without an answer. The arguments are those of `chat`.

        Raises:
            BadRequest: If the upstream cannot count; nothing is estimated.
        """
        asked = options(params, self._door.scope)
        return cast(TokenCount, self._answer(model, accept("count_tokens", {"messages": messages, **params}), asked))


class AsyncMediaFace:
    """The verbs of `MediaFace` for asyncio, with `await`."""

    if TYPE_CHECKING:
        _door: Door

        def _answer(self, name: str, request: Request, asked: Options | None) -> Awaitable[Answer]: ...

    async def image(self, model: str, prompt: str, **params: Any) -> Images:
        """Make images; see `Gateway.image`."""
        asked = options(params, self._door.scope)
        request = await _accepted(self._door.asyncio, "image", {"prompt": prompt, **params})
        return cast(Images, await self._answer(model, request, asked))

    async def video(self, model: str, prompt: str, **params: Any) -> AsyncVideoJob:
        """Begin to make a video; see `Gateway.video`."""
        asked = options(params, self._door.scope)
        request = await _accepted(self._door.asyncio, "video", {"prompt": prompt, **params})
        return AsyncVideoJob(self._door, cast(Video, await self._answer(model, request, asked)), asked)

    def video_job(self, deployment: str, id: str) -> AsyncVideoJob:
        """A video that was begun before; see `Gateway.video_job`."""
        return AsyncVideoJob(self._door, Video(id=id, deployment=deployment, status=UNSEEN), None)

    async def moderate(self, model: str, input: str | Sequence[Any], **params: Any) -> Moderations:
        """Judge texts; see `Gateway.moderate`."""
        asked = options(params, self._door.scope)
        return cast(Moderations, await self._answer(model, accept("moderate", {"input": input, **params}), asked))

    async def rerank(self, model: str, query: str, documents: Sequence[Any], **params: Any) -> Ranking:
        """Put documents in order; see `Gateway.rerank`."""
        asked = options(params, self._door.scope)
        body = {"query": query, "documents": documents, **params}
        return cast(Ranking, await self._answer(model, accept("rerank", body), asked))

    async def transcribe(self, model: str, file: File | str | None = None, **params: Any) -> Transcription:
        """Write down what is said; see `Gateway.transcribe`."""
        asked = options(params, self._door.scope)
        request = await _accepted(self._door.asyncio, "transcribe", _heard(file, params))
        return cast(Transcription, await self._answer(model, request, asked))

    async def speak(self, model: str, text: str, *, voice: str | None = None, **params: Any) -> Speech:
        """Say a text aloud; see `Gateway.speak`."""
        asked = options(params, self._door.scope)
        return cast(Speech, await self._answer(model, accept("speak", _spoken(text, voice, params)), asked))

    async def count_tokens(self, model: str, messages: Messages, **params: Any) -> TokenCount:
        """Have the upstream count the tokens of a chat; see `Gateway.count_tokens`."""
        asked = options(params, self._door.scope)
        request = accept("count_tokens", {"messages": messages, **params})
        return cast(TokenCount, await self._answer(model, request, asked))
