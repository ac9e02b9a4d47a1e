"""Every way a call can fail, and what may be done about it.

A class says it all; nobody asks `isinstance`. Five marks decide:

* `again`      the same deployment may be asked once more
* `elsewhere`  another deployment may be asked
* `blame`      the circuit breaker counts it against the deployment
* `credential` the key is at fault: leave the deployments that share it alone
* `status`     the HTTP status with which a server of ours answers it

A sixth is the error's own, because one class may know and not know it: `begun`, whether the upstream may have begun to
work. What must not happen twice is not tried again then. Every `UpstreamFailure` says yes but for those that say no.

And `outcome` is the class of the result, the only word policies look at:

    class                   outcome           again  elsewhere  blame  credential  status
    GatewayError
    ├─ ConfigError          local              -        -         -        -        500
    ├─ RequestError
    │  ├─ BadRequest        request            -        -         -        -        400
    │  ├─ ContextWindowExceeded  request       -        yes       -        -        400
    │  ├─ ModelNotFound     request            -        yes       -        -        404
    │  └─ ContentFiltered   policy             -        -         -        -        400
    ├─ CredentialError
    │  ├─ AuthenticationFailed   auth          -        yes       -        yes      401
    │  ├─ PermissionDenied  auth               -        yes       -        -        403
    │  └─ QuotaExhausted    quota_exhausted    -        yes       -        yes      429
    ├─ UpstreamFailure
    │  ├─ RateLimited       throttled          yes      yes       -        -        429
    │  ├─ Overloaded        overloaded         yes      yes       yes      -        503
    │  ├─ UpstreamError     transient          yes      yes       yes      -        502
    │  ├─ UpstreamTimeout   transient          -        yes       yes      -        504
    │  ├─ ConnectionFailed  transient          yes      yes       yes      -        502
    │  ├─ ProtocolError     protocol           yes      yes       yes      -        502
    │  └─ StreamInterrupted truncated          yes      yes       yes      -        502
    ├─ Refused (we chose not to call)
    │  ├─ CircuitOpen       local              -        yes       -        -        503
    │  ├─ LimitReached      local              -        yes       -        -        429
    │  ├─ BudgetExceeded    local              -        -         -        -        402
    │  ├─ DeadlineExceeded  local              -        -         -        -        504
    │  └─ GatewayClosed     local              -        -         -        -        503
    └─ AllAttemptsFailed (an ExceptionGroup; speaks for its most telling attempt)

Errors hold no key, no prompt and no header. They survive pickling with everything but their cause and their traceback,
which are somebody else's and may hold what they like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from .types.call import Attempt

__all__ = [
    "AllAttemptsFailed",
    "AuthenticationFailed",
    "BadRequest",
    "BudgetExceeded",
    "CircuitOpen",
    "ConfigError",
    "ConnectionFailed",
    "ContentFiltered",
    "ContextWindowExceeded",
    "CredentialError",
    "DeadlineExceeded",
    "GatewayClosed",
    "GatewayError",
    "LimitReached",
    "ModelNotFound",
    "Overloaded",
    "PermissionDenied",
    "ProtocolError",
    "QuotaExhausted",
    "RateLimited",
    "Refused",
    "RequestError",
    "StreamInterrupted",
    "UpstreamError",
    "UpstreamFailure",
    "UpstreamTimeout",
]


class GatewayError(Exception):
    """
    The root of everything llmgate raises.

    Args:
        message: One sentence for a person: what happened, where, what to do.
        deployment: Name of the deployment that was asked, if any was.
        attempts: One record for every upstream attempt of the call.
        status: The upstream's HTTP status; without one, the class's own.
        retry_after: Seconds after which another try makes sense; None if unknown.
        request_id: The upstream's id of the request, for its support desk.
        code: The upstream's own code or type of the error, as it sent it.

    Attributes:
        param: The parameter at fault, where the upstream named one.
    """

    outcome: ClassVar[str] = "local"
    again: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    blame: ClassVar[bool] = False
    credential: ClassVar[bool] = False
    begun: bool = False
    kind: str = "gateway_error"
    status: int = 500
    param: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        deployment: str | None = None,
        attempts: Sequence[Attempt] = (),
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        code: str | None = None,
    ) -> None:
        Exception.__init__(self, message)
        self.deployment = deployment
        self.attempts = tuple(attempts)
        self.retry_after = retry_after
        self.request_id = request_id
        self.code = code
        if status is not None:
            self.status = status

    @property
    def message(self) -> str:
        """The sentence alone, without what an exception group adds to it."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls `cls(*args)`, which fails where a class of somebody else's needs more than its message.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[GatewayError], args: tuple[Any, ...], state: dict[str, Any]) -> GatewayError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ConfigError(GatewayError):
    """
    The configuration cannot be used; `path` says where.

    Raised while a gateway is built, never by a call that was already accepted.
    """

    kind = "config_error"

    def __init__(self, message: str = "", *, path: str = "", **fields: Any) -> None:
        super().__init__(f"{path}: {message}" if path else message, **fields)
        self.path = path


class RequestError(GatewayError):
    """The request itself is at fault; sending it again changes nothing."""

    outcome = "request"
    kind = "request_error"
    status = 400


class BadRequest(RequestError):
    """The request is malformed, too large, or asks for what does not exist."""

    kind = "bad_request"


class ContextWindowExceeded(RequestError):
    """The prompt is longer than the model can read; a larger model may take it."""

    elsewhere = True
    kind = "context_window_exceeded"


class ModelNotFound(RequestError):
    """No such model, route or deployment."""

    elsewhere = True
    kind = "model_not_found"
    status = 404


class ContentFiltered(RequestError):
    """A content filter or a moderation refused the request."""

    outcome = "policy"
    kind = "content_filtered"


class CredentialError(GatewayError):
    """The key is at fault; other keys may still work."""

    outcome = "auth"
    elsewhere = True
    credential = True
    kind = "credential_error"
    status = 401


class AuthenticationFailed(CredentialError):
    """The upstream does not know the key."""

    kind = "authentication_failed"


class PermissionDenied(CredentialError):
    """The upstream knows the key and does not let it do this; the key may do other things, so it is not given up."""

    credential = False
    kind = "permission_denied"
    status = 403


class QuotaExhausted(CredentialError):
    """The account behind the key has used up its money or its quota; waiting seconds does not help."""

    outcome = "quota_exhausted"
    kind = "quota_exhausted"
    status = 429


class UpstreamFailure(GatewayError):
    """The upstream was asked and did not deliver."""

    outcome = "transient"
    again = True
    elsewhere = True
    blame = True
    begun = True
    kind = "upstream_failure"
    status = 502


class RateLimited(UpstreamFailure):
    """The upstream says: too fast. `retry_after` holds its own wish, if it sent one."""

    outcome = "throttled"
    blame = False
    begun = False
    kind = "rate_limited"
    status = 429


class Overloaded(UpstreamFailure):
    """The upstream is busy with others (503, 529)."""

    outcome = "overloaded"
    begun = False
    kind = "overloaded"
    status = 503


class UpstreamError(UpstreamFailure):
    """The upstream broke (500, 502, 504)."""

    kind = "upstream_error"


class UpstreamTimeout(UpstreamFailure):
    """
    The upstream was too slow; `timer` names the clock that ran out.

    It is not asked again while another deployment is there: who was silent once is likely silent twice.
    """

    again = False
    kind = "upstream_timeout"
    status = 504

    def __init__(self, message: str = "", *, timer: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.timer = timer
        self.begun = timer != "connect"


class ConnectionFailed(UpstreamFailure):
    """No connection, or it broke before the answer began. `begun` is False if there was none."""

    kind = "connection_failed"

    def __init__(self, message: str = "", *, begun: bool = True, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.begun = begun


class ProtocolError(UpstreamFailure):
    """The upstream answered with something that is not an answer."""

    outcome = "protocol"
    kind = "protocol_error"


class StreamInterrupted(UpstreamFailure):
    """
    The stream ended without its terminal event; what came is not an answer.

    `partial` is the response folded from what did arrive, or None; `timer` names the clock that ran out, if one did.
    """

    outcome = "truncated"
    kind = "stream_interrupted"

    def __init__(self, message: str = "", *, partial: Any = None, timer: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.partial = partial
        self.timer = timer


class Refused(GatewayError):
    """The gateway itself chose not to call."""

    kind = "refused"
    status = 503


class CircuitOpen(Refused):
    """The deployment's breaker is open; `retry_after` tells when it lets a probe through."""

    elsewhere = True
    kind = "circuit_open"


class LimitReached(Refused):
    """A limit of ours is reached and the wait would be too long; `retry_after` tells how long."""

    elsewhere = True
    kind = "limit_reached"
    status = 429


class BudgetExceeded(Refused):
    """
    The call does not fit in the money that is left.

    `limit` and `spent` are US dollars (`Decimal`).
    """

    kind = "budget_exceeded"
    status = 402

    def __init__(self, message: str = "", *, limit: Any = None, spent: Any = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.limit = limit
        self.spent = spent


class DeadlineExceeded(Refused):
    """The caller's own time ran out."""

    kind = "deadline_exceeded"
    status = 504


class GatewayClosed(Refused):
    """The gateway is closing or closed."""

    kind = "gateway_closed"


class AllAttemptsFailed(GatewayError, ExceptionGroup[GatewayError]):
    """
    Every deployment was tried; the group holds the error of each attempt, in order.

    `kind`, `status`, `request_id`, `deployment`, `code` and the marks are those of the most telling attempt, and of
    several such of the first: an error that speaks about the request before one about the key, that before one
    about the upstream, and an upstream's word before a refusal of our own. `retry_after` is the soonest of all,
    because whoever comes back first may be asked.
    """

    kind = "all_attempts_failed"

    _TELLING: ClassVar[tuple[str, ...]] = (
        "request", "policy", "quota_exhausted", "auth", "throttled", "overloaded", "transient", "truncated", "protocol",
    )  # fmt: skip

    def __new__(cls, message: str, errors: Sequence[GatewayError], **fields: Any) -> Self:
        return super().__new__(cls, message, errors)

    def __init__(self, message: str, errors: Sequence[GatewayError], **fields: Any) -> None:
        telling = min(errors, key=self._rank)
        fields.setdefault("status", telling.status)
        fields.setdefault(
            "retry_after", min((e.retry_after for e in errors if e.retry_after is not None), default=None)
        )
        fields.setdefault("request_id", telling.request_id)
        fields.setdefault("deployment", telling.deployment)
        fields.setdefault("code", telling.code)
        GatewayError.__init__(self, message, **fields)
        self.args = (message, list(errors))  # what pickling and `derive` rebuild it from
        self.kind = telling.kind
        for mark in ("outcome", "again", "elsewhere", "blame", "credential"):
            setattr(self, mark, getattr(telling, mark))
        self.telling = telling
        self.begun = any(error.begun for error in errors)

    @classmethod
    def _rank(cls, error: GatewayError) -> int:
        order = cls._TELLING
        return order.index(error.outcome) if error.outcome in order else len(order)

    def derive(self, excs: Sequence[GatewayError]) -> AllAttemptsFailed:  # type: ignore[override]
        return AllAttemptsFailed(self.message, excs, attempts=self.attempts)
