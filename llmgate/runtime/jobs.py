"""A video on its way: looked at again and again at the one deployment that makes it, in both colours by one text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, cast

from ..errors import BadRequest, DeadlineExceeded, GatewayError
from ..types.call import Options
from ..types.media import Binary, Video
from ..types.request import Request, Verb
from ..types.runtime import Runtime
from ..types.wire import dumps
from .accepting import seconds
from .drive import drive

if TYPE_CHECKING:
    from .edge import Door

__all__ = ["UNSEEN", "AsyncVideoJob", "VideoJob"]

UNSEEN = "unknown"
"""The status of a video that nobody has looked at yet."""

WAIT_S = (
    1200.0  # seconds that `wait` waits; the longest of OpenAI's and Google's videos take six minutes, and queues more
)
POLL_S = 5.0  # seconds between two looks; Google's own examples take ten, and videos take at least one minute
LOOK_S = 60.0  # seconds that one look may take

PASSING = frozenset(
    {
        "circuit_open", "connection_failed", "deadline_exceeded", "limit_reached", "overloaded", "protocol_error",
        "rate_limited", "stream_interrupted", "upstream_error", "upstream_timeout",
    }
)  # fmt: skip
"""Kinds of errors after which another look makes sense: the video is being made, whoever could not be asked."""


class _Job:
    """
    What both colours have in common.

    Attributes:
        video: What was seen last.
    """

    def __init__(self, door: Door, video: Video, asked: Options | None) -> None:
        self._door = door
        self._asked = asked
        self.video = video

    @property
    def id(self) -> str:
        """The upstream's name of the job."""
        return self.video.id

    @property
    def deployment(self) -> str:
        """Who makes it. With this and the `id` another process can go on, see `Gateway.video_job`."""
        return self.video.deployment

    @property
    def status(self) -> str:
        """`queued`, `in_progress`, `completed` or `failed`, when it was looked at last; else `unknown`."""
        return self.video.status

    @property
    def progress(self) -> int | None:
        """How much of it is done, 0 to 100; None if the upstream does not say."""
        return self.video.progress

    @property
    def error(self) -> GatewayError | None:
        """Why it failed."""
        return self.video.error

    @property
    def cost(self) -> Decimal | None:
        """US dollars, None if they are not known."""
        return self.video.cost

    async def _look(self, runtime: Runtime, timeout_s: float | None = None) -> None:
        """See how it stands."""
        self.video = cast(Video, await self._ask(runtime, "video_status", {}, timeout_s))

    async def _wait(self, runtime: Runtime, timeout: Any, poll: Any, told: Callable[[Any], object] | None) -> None:
        poll_s = seconds("poll", poll)
        if poll_s == 0:
            raise BadRequest("poll: give the upstream a rest between two looks")
        rest_s = 0.0 if self.video.status == UNSEEN else poll_s
        until = runtime.now() + seconds("timeout", timeout)
        while self.video.status not in ("completed", "failed"):
            left_s = until - runtime.now()
            if left_s <= 0:
                raise DeadlineExceeded(f"video {self.id} is not done in time; it goes on, wait for it again")
            if rest_s:
                await runtime.sleep(min(rest_s, left_s))
            rest_s = poll_s
            seen = self.video.status, self.video.progress
            try:
                await self._look(runtime, min(LOOK_S, max(until - runtime.now(), poll_s)))
            except GatewayError as error:
                if error.kind not in PASSING:
                    raise
                rest_s = max(poll_s, error.retry_after or 0.0)
            if told is not None and seen != (self.video.status, self.video.progress):
                told(self)
        self._insist()

    def _insist(self) -> None:
        """
        Raises:
            GatewayError: If the video failed; one that nobody has raised before, which would hold on to where it was.
        """
        if self.video.error is not None:
            error = copy.copy(self.video.error)
            error.deployment = error.deployment or self.deployment
            raise error

    async def _fetch(self, runtime: Runtime, params: dict[str, Any]) -> bytes:
        self._insist()
        if self.video.status != "completed":
            raise BadRequest(f"video {self.id} is not there yet ({self.video.status}); wait for it first")
        place = {} if self.video.url is None else {"url": self.video.url}
        return cast(Binary, await self._ask(runtime, "video_content", place | params, None)).content

    async def _ask(self, runtime: Runtime, verb: Verb, params: dict[str, Any], timeout_s: float | None) -> Any:
        asked = self._asked or self._door.scope()
        # What was said for the making holds for the looking, but for what would make a look something else.
        asked = replace(
            asked, timeout_s=asked.timeout_s if timeout_s is None else timeout_s, cache=None, idempotency_key=None
        )
        body = {"id": self.id, **params}
        return await self._door.answer(runtime, self.deployment, Request(verb, "", body, False, dumps(body)), asked)

    def __repr__(self) -> str:
        progress = "" if self.progress is None else f", {self.progress} %"
        return f"<{type(self).__name__} {self.id} at {self.deployment}, {self.status}{progress}>"


class VideoJob(_Job):
    """A video that is being made."""

    def refresh(self) -> Self:
        """See how it stands now."""
        drive(self._look(self._door.blocking))
        return self

    def wait(
        self,
        timeout: float | str = WAIT_S,
        poll: float | str = POLL_S,
        on_progress: Callable[[VideoJob], object] | None = None,
    ) -> Self:
        """
        Wait until it is done. An upstream that cannot be asked meanwhile is asked again.

        Args:
            timeout: Seconds, or a text such as `20m`.
            poll: Seconds between two looks.
            on_progress: Called with the job whenever something has changed.

        Raises:
            DeadlineExceeded: If it is not done in time. It goes on all the same, and can be waited for again.
            GatewayError: If it failed; what `error` says.
        """
        drive(self._wait(self._door.blocking, timeout, poll, on_progress))
        return self

    def content(self, **params: Any) -> bytes:
        """
        The video itself.

        Args:
            **params: What the upstream takes, such as OpenAI's `variant="thumbnail"`.

        Raises:
            BadRequest: If it is not done.
        """
        return drive(self._fetch(self._door.blocking, params))


class AsyncVideoJob(_Job):
    """A video that is being made, for asyncio: the verbs of `VideoJob` with `await`."""

    async def refresh(self) -> Self:
        """See how it stands now."""
        await self._look(self._door.asyncio)
        return self

    async def wait(
        self,
        timeout: float | str = WAIT_S,
        poll: float | str = POLL_S,
        on_progress: Callable[[AsyncVideoJob], object] | None = None,
    ) -> Self:
        """Wait until it is done; see `VideoJob.wait`."""
        await self._wait(self._door.asyncio, timeout, poll, on_progress)
        return self

    async def content(self, **params: Any) -> bytes:
        """The video itself; see `VideoJob.content`."""
        return await self._fetch(self._door.asyncio, params)
