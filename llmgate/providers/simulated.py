"""A provider that pretends: deterministic answers at a chosen pace, failing as often as asked; no network, no key."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, PrivateAttr, field_validator

from .. import errors
from ..errors import GatewayError, StreamInterrupted
from ..policies.tokens import input_tokens
from ..policies.timers import Timers
from ..types.call import Call, Handler
from ..types.reply import Reply
from ..types.response import Answer, Choice, Chunk, Embeddings, Model, Models, RawResponse, Response
from ..types.units import Duration
from ..types.usage import Usage
from ..types.wire import dumps
from .base import Provider, timers_of

__all__ = ["Simulated"]

VECTOR_LENGTH = 8  # numbers in a pretended embedding; enough to tell texts apart, short enough to print

FAILURES: Mapping[str, type[GatewayError]] = {
    cls.kind: cls
    for cls in (
        errors.AuthenticationFailed, errors.BadRequest, errors.ConnectionFailed, errors.ContentFiltered,
        errors.ContextWindowExceeded, errors.ModelNotFound, errors.Overloaded, errors.PermissionDenied,
        errors.ProtocolError, errors.QuotaExhausted, errors.RateLimited, errors.StreamInterrupted, errors.UpstreamError,
        errors.UpstreamTimeout,
    )
}  # fmt: skip


class Simulated(Provider):
    """
    Answers without a network, the same to the same question.

    `failures` maps kinds of errors (`rate_limited`, `overloaded`, `upstream_error`, `stream_interrupted`, …) to how often
    they happen, 0 to 1; or it is a list that is worked through call by call, in which `ok` stands for an answer.
    """

    kind = "simulated"

    latency: Duration = Field(0.0, ge=0, description="time to the first token")
    tokens_per_second: float | None = Field(None, gt=0, description="pace of the answer; none: all at once")
    failures: dict[str, float] | list[str] = Field(default_factory=dict, description="kinds of errors, with shares or as a script")
    answer: str | None = Field(None, description="what it says; by default it says what it was asked")
    retry_after: Duration | None = Field(None, description="what its rate_limited errors ask for")
    seed: int = Field(0, description="of the chance in `failures`")

    _rng: random.Random = PrivateAttr()
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _calls: int = PrivateAttr(0)

    @field_validator("failures")
    @classmethod
    def _known(cls, failures: dict[str, float] | list[str]) -> dict[str, float] | list[str]:
        for kind in failures:
            if kind not in FAILURES and kind != "ok":
                raise ValueError(f"{kind!r} is no kind of error; there are {', '.join(sorted(FAILURES))}")
        if isinstance(failures, dict):
            if any(not 0 <= share <= 1 for share in failures.values()) or sum(failures.values()) > 1:
                raise ValueError("shares are from 0 to 1, and at most 1 together")
        return failures

    def model_post_init(self, context: Any) -> None:
        self._rng = random.Random(self.seed)

    def bind(self, model: str, key: int = 0) -> Handler:
        return self._asked

    async def _asked(self, call: Call) -> Reply:
        timers = timers_of(call)
        failure = self._failure()
        await self._pause(call, timers, self.latency)
        if failure is not None and not (failure is StreamInterrupted and call.request.stream):
            fields = {"retry_after": self.retry_after} if failure is errors.RateLimited else {}
            raise failure(f"simulated: {failure.kind}", **fields)
        answer = self._answered(call)
        if not call.request.stream or not isinstance(answer, Response):
            if self.tokens_per_second:
                await self._pause(call, timers, (answer.usage.output_tokens or 0) / self.tokens_per_second)
            return Reply.of(answer, deployment=call.deployment)
        return await self._streamed(call, timers, answer, cut=failure is not None)

    def _failure(self) -> type[GatewayError] | None:
        with self._lock:
            self._calls += 1
            if isinstance(self.failures, list):
                at = self._calls - 1
                return FAILURES.get(self.failures[at]) if at < len(self.failures) else None
            chance = self._rng.random() if self.failures else 1.0
        for kind, share in getattr(self.failures, "items", dict)():
            if chance < share:
                return FAILURES.get(kind)
            chance -= share
        return None

    async def _pause(self, call: Call, timers: Timers, seconds: float) -> None:
        if seconds <= 0:
            return
        now = call.runtime.now()
        if now + seconds <= timers.until:
            await call.runtime.sleep(seconds)
            return
        await call.runtime.sleep(timers.until - now)
        raise timers.expired(call.runtime.now())

    def _answered(self, call: Call) -> Answer:
        request = call.request
        id = "sim-" + hashlib.blake2b(request.encoded, digest_size=8).hexdigest()
        usage = Usage(max(1, round(input_tokens(request))), 0)
        match request.verb:
            case "embed":
                given = request.body["input"]
                inputs = [given] if isinstance(given, str) else list(given)
                return Embeddings(id=id, model=request.model, usage=usage, vectors=[_vector(text) for text in inputs])
            case "models":
                return Models(data=[Model("pretend-1"), Model("pretend-2")])
            case "request":
                body = {"method": request.method, "path": request.path, "json": request.body}
                return RawResponse(id=id, content=dumps(body), headers={"content-type": "application/json"})
            case _:
                text = self.answer if self.answer is not None else f"You said: {_asked_text(request.body)}"
                usage.output_tokens = len(text.split())
                choice = Choice(text=text, finish_reason="stop")
                return Response(id=id, model=request.model, usage=usage, choices=[choice], created=0)

    async def _streamed(self, call: Call, timers: Timers, answer: Response, cut: bool) -> Reply:
        words = [word + " " for word in answer.text.split(" ")]
        words[-1] = words[-1][:-1]
        if cut:
            words = words[: max(1, len(words) // 2)]
        left = iter(words)
        named: dict[str, Any] = {"id": answer.id, "model": answer.model, "created": answer.created}
        pace_s = 1 / self.tokens_per_second if self.tokens_per_second else 0.0
        over = False

        async def source() -> Sequence[Chunk]:
            nonlocal over
            if over:
                return ()
            await self._pause(call, timers, pace_s)
            word = next(left, None)
            timers.content_came(call.runtime.now())
            if word is not None:
                return (Chunk(text=word, **named),)
            if cut:
                partial = Response(choices=[Choice(text="".join(words))], **named)
                raise StreamInterrupted("simulated: the stream broke off", partial=partial)
            over = True
            return Chunk(finish_reason="stop", **named), Chunk(usage=answer.usage, index=-1, **named)

        reply = Reply(await source(), source, deployment=call.deployment)
        reply.first_token_s = timers.first_token_s
        return reply


def _asked_text(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    content = messages[-1].get("content") if messages else body.get("prompt")
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content if isinstance(part, dict))
    return str(content or "")


def _vector(text: object) -> list[float]:
    digest = hashlib.blake2b(dumps(text), digest_size=VECTOR_LENGTH).digest()
    return [byte / 255 for byte in digest]
