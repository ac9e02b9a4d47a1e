"""One call on its way: the request, and everything about it that never reaches the wire."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from .request import Request
from .runtime import Runtime

if TYPE_CHECKING:
    from ..policies.timers import Timers
    from .capture import Run, Tally
    from .deployment import Deployment
    from .reply import Later, Reply

__all__ = ["Attempt", "CacheControl", "Call", "Handler", "Options", "Trail"]


@dataclass(frozen=True, slots=True)
class CacheControl:
    """
    What one call wants of the cache.

    Attributes:
        read: Whether a stored answer will do.
        write: Whether the answer may be stored.
        asked: Whether the caller asked for caching in so many words; then a temperature above 0 is no obstacle.
        ttl_s: How long the answer may be kept, in seconds; None is the cache's own default.
        max_age_s: The oldest stored answer that will do, in seconds.
        namespace: A part of the key, to keep answers apart or to throw them away together.
    """

    read: bool = True
    write: bool = True
    asked: bool = False
    ttl_s: float | None = None
    max_age_s: float | None = None
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """
    What a caller may say about the call itself; `gateway.scope` says it for many.

    Attributes:
        timeout_s: Seconds for the whole call; None is the configured default.
        tenant: On whose behalf; limits, fairness and cache keep tenants apart.
        tags: Labels for telemetry and cost reports.
        cache: What the call wants of the cache; None is the configured default.
        fallback: Whether another deployment may answer than the first that was chosen.
        idempotency_key: Sent with every attempt of the call, where the upstream takes one.
        unsupported: What becomes of what an upstream's format has no words for: an `error`, or it is left out (`drop`).
    """

    timeout_s: float | None = None
    tenant: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    cache: CacheControl | None = None
    fallback: bool = True
    idempotency_key: str | None = None
    unsupported: Literal["error", "drop"] = "error"


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One upstream attempt of a call, as its answer or its error tells it. No prompt, no key, no body.

    Attributes:
        deployment: Who was asked.
        outcome: `ok`, or the outcome class of the error (see `llmgate.errors`).
        kind: `ok`, or the error's kind.
        status: The upstream's HTTP status, if it sent one.
        request_id: The upstream's id of the request.
        started_s: Seconds since the call began.
        duration_s: Seconds the attempt took; for a stream until its first content.
        waited_s: Seconds of backoff before it.
        reason: Why it was made: `first`, `again`, `fallback` or `hedge`.
        unsaid: What was left out of the request because the upstream's format has no words for it, with the reasons.
        inside: Name of the wrapped function whose run made it; empty if it is an attempt of the call itself.
    """

    deployment: str
    outcome: str
    kind: str
    status: int | None = None
    request_id: str | None = None
    started_s: float = 0.0
    duration_s: float = 0.0
    waited_s: float = 0.0
    reason: str = "first"
    unsaid: tuple[str, ...] = ()
    inside: str = ""


class Trail:
    """
    What happened to a call so far; all copies of the call share one.

    Attributes:
        attempts: The attempts that have ended or begun to answer.
        notes: What middleware tells other middleware.
        sent: Attempts that were handed to a provider; tokens may be billed for them.
        later: How whoever drops a reply is spared the settling, if there is a gateway; see `Reply.on_end`.
        upstream_s: Seconds that upstreams took.
        waited_s: Seconds of backoff and in queues.
        parent: The run of a captured function in which the call was made; None if it was made elsewhere.
        tally: What the calls come to that are made inside of this one; None if it does not capture.
        retries: Whether what failed is repeated. It is not inside of a function that is run again instead.
    """

    __slots__ = ("attempts", "later", "notes", "parent", "retries", "sent", "tally", "upstream_s", "waited_s")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.notes: dict[Any, Any] = {}
        self.sent = 0
        self.later: Later | None = None
        self.upstream_s = 0.0
        self.waited_s = 0.0
        self.parent: Run | None = None
        self.tally: Tally | None = None
        self.retries = True


@dataclass(slots=True)
class Call:
    """
    A request and its circumstances. Middleware that wants another one makes a copy with `but`.

    Attributes:
        request: What is asked.
        runtime: How this caller waits.
        route: Name of the route, or `provider/model` if none was named.
        options: What the caller said about the call.
        started: When it began, on the runtime's clock.
        deadline: When it must be over, on the runtime's clock.
        fingerprint: Identity of the route: who may answer, from where, with which keys. Part of the cache key.
        way: The route itself, for the middleware that makes the attempts.
        patience_s: Seconds that an attempt may take at most, because others stand ready.
        timers: The clocks of the attempt; None outside of one, and where nobody set any.
        deployment: Who is being asked; None outside of an attempt.
        trail: What happened so far.
    """

    request: Request
    runtime: Runtime
    route: str = ""
    options: Options = field(default_factory=Options)
    started: float = 0.0
    deadline: float = math.inf
    fingerprint: str = ""
    way: Any = None
    patience_s: float = math.inf
    timers: Timers | None = None
    deployment: Deployment | None = None
    trail: Trail = field(default_factory=Trail)

    def attempt(self, deployment: Deployment, patience_s: float = math.inf) -> Call:
        """The copy that goes to one deployment: it asks for that deployment's model. Its owner may change it."""
        request = self.request
        if request.model != deployment.model:
            request = request.to(deployment.model)
        return Call(
            request, self.runtime, self.route, self.options, self.started, self.deadline,
            self.fingerprint, None, patience_s, None, deployment, self.trail,
        )  # fmt: skip

    def copy(self) -> Call:
        """A copy whose fields may be set in place; the trail stays shared."""
        return Call(
            self.request, self.runtime, self.route, self.options, self.started, self.deadline,
            self.fingerprint, self.way, self.patience_s, self.timers, self.deployment, self.trail,
        )  # fmt: skip

    def but(self, **changes: Any) -> Call:
        """A copy with some fields changed; the trail stays shared."""
        return replace(self, **changes)


Handler = Callable[[Call], Awaitable["Reply"]]
"""Everything that can answer a call: a provider, and whatever a middleware makes of one."""
