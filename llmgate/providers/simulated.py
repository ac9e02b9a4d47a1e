"""A provider that pretends: deterministic answers at a chosen pace, failing as often as asked; no network, no key."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, PrivateAttr, field_validator

from .. import errors
from ..errors import GatewayError, StreamInterrupted
from ..policies.timers import Timers
from ..policies.tokens import input_tokens
from ..types.call import Call, Handler
from ..types.deployment import ProviderCapability
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Answer, Choice, Chunk, Embeddings, Model, Models, RawResponse, Response
from ..types.units import Duration
from ..types.usage import Usage
from ..types.wire import dumps
from .base import Provider, timers_of
from .simulated_media import media_answer

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
OK = "ok"


class Simulated(Provider):
    """
    Answers without a network, the same to the same question.

    `failures` maps kinds of errors (`rate_limited`, `overloaded`, `upstream_error`, `stream_interrupted`, …) to how often
    they happen, 0 to 1; or it is a list that is worked through call by call, in which `ok` stands for an answer.
    """

    kind = "simulated"

    latency: Duration = Field(default=0.0, ge=0, description="time to the first token")
    tokens_per_second: float | None = Field(default=None, gt=0, description="pace of the answer; none: all at once")
    failures: dict[str, float] | list[str] = Field(
        default_factory=dict, description="kinds of errors, with shares or as a script"
    )
    answer: str | None = Field(default=None, description="what it says; by default it says what it was asked")
    job_time: Duration = Field(default=0.0, ge=0, description="how long a video takes")
    retry_after: Duration | None = Field(default=None, description="what its rate_limited errors ask for")
    seed: int = Field(default=0, description="of the chance in `failures`")

    _rng: random.Random = PrivateAttr()
    # Counts without a lock: the child of a fork may find one held by a thread that it does not have.
    _calls: Iterator[int] = PrivateAttr(default_factory=itertools.count)

    @field_validator("failures")
    @classmethod
    def _known(cls, failures: dict[str, float] | list[str]) -> dict[str, float] | list[str]:
        for kind in failures:
            if kind not in FAILURES and kind != OK:
                raise ValueError(f"{kind!r} is no kind of error; there are {', '.join(sorted(FAILURES))}")
        shares = list(failures.values()) if isinstance(failures, dict) else []
        if any(not 0 <= share <= 1 for share in shares) or sum(shares) > 1:
            raise ValueError("shares are from 0 to 1, and at most 1 together")
        return failures

    def model_post_init(self, context: Any) -> None:
        self._rng = random.Random(self.seed)

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        return frozenset(ProviderCapability)

    def bind(self, model: str, key: int = 0) -> Handler:
        return self._asked

    async def _asked(self, call: Call) -> Reply:
        timers = timers_of(call)
        failure = self._failure()
        await _pause(call, timers, self.latency)
        cut = failure is StreamInterrupted and call.request.stream
        if failure is not None and not cut:
            raise self._error(failure)
        answer = _answered(call.request, self.answer, call.runtime.now(), self.job_time)
        if call.request.stream and isinstance(answer, Response):
            return await _Speech(call, timers, answer, self.tokens_per_second, cut).reply()
        if self.tokens_per_second:
            await _pause(call, timers, (answer.usage.output_tokens or 0) / self.tokens_per_second)
        return Reply.of(answer, deployment=call.deployment)

    def _failure(self) -> type[GatewayError] | None:
        """What happens to this call: the next line of the script, or what chance wants."""
        failures = self.failures
        if isinstance(failures, list):
            at = next(self._calls)
            return FAILURES.get(failures[at]) if at < len(failures) else None
        chance = self._rng.random() if failures else 1.0
        for kind, share in failures.items():
            if chance < share:
                return FAILURES.get(kind)
            chance -= share
        return None

    def _error(self, failure: type[GatewayError]) -> GatewayError:
        said = f"simulated: {failure.kind}"
        return failure(said, retry_after=self.retry_after) if failure is errors.RateLimited else failure(said)


async def _pause(call: Call, timers: Timers, seconds: float) -> None:
    """Let time pass, but not past the call's clocks."""
    if seconds <= 0:
        return
    now = call.runtime.now()
    if now + seconds <= timers.until:
        await call.runtime.sleep(seconds)
        return
    await call.runtime.sleep(max(timers.until - now, 0.0))
    raise timers.expired(timers.until)


def _answered(request: Request, said: str | None, now: float, job_s: float) -> Answer:
    id = "sim-" + hashlib.blake2b(request.encoded, digest_size=8).hexdigest()
    answer = None if request.verb == "chat" else media_answer(request, id, said, now, job_s)
    if answer is not None:
        return answer
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
            text = said if said is not None else f"You said: {_asked_text(request.body)}"
            usage.output_tokens = len(text.split())
            choice = Choice(text=text, finish_reason="stop")
            return Response(id=id, model=request.model, usage=usage, choices=[choice], created=0)


class _Speech:
    """An answer that is spoken word by word, to its end or to its half."""

    def __init__(self, call: Call, timers: Timers, answer: Response, pace: float | None, cut: bool) -> None:
        words = [word + " " for word in answer.text.split(" ")]
        words[-1] = words[-1][:-1]
        self._words = words[: max(1, len(words) // 2)] if cut else words
        self._spoken = 0
        self._call = call
        self._timers = timers
        self._answer = answer
        self._named: dict[str, Any] = {"id": answer.id, "model": answer.model, "created": answer.created}
        self._pace_s = 1 / pace if pace else 0.0
        self._cut = cut
        self._over = False

    async def reply(self) -> Reply:
        reply = Reply(await self._next(), self._next, deployment=self._call.deployment)
        reply.first_token_s = self._timers.first_token_s
        return reply

    async def _next(self) -> Sequence[Chunk]:
        if self._over:
            return ()
        if self._spoken < len(self._words):
            await _pause(self._call, self._timers, self._pace_s)
            self._timers.content_came(self._call.runtime.now())
            self._spoken += 1
            return (Chunk(text=self._words[self._spoken - 1], **self._named),)
        if self._cut:
            partial = Response(choices=[Choice(text="".join(self._words))], **self._named)
            raise StreamInterrupted("simulated: the stream broke off", partial=partial)
        self._over = True
        return Chunk(finish_reason="stop", **self._named), Chunk(usage=self._answer.usage, index=-1, **self._named)


def _asked_text(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    content = messages[-1].get("content") if messages else body.get("prompt")
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content if isinstance(part, dict))
    return str(content or "")


def _vector(text: object) -> list[float]:
    digest = hashlib.blake2b(dumps(text), digest_size=VECTOR_LENGTH).digest()
    return [byte / 255 for byte in digest]
