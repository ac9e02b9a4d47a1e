"""A function of yours, through the gateway: `@gateway.wrap`, and what may be said in its parentheses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from pydantic import ValidationError

from ..config.explaining import explain_validation, suggestion
from ..errors import ConfigError
from ..middleware.attempts import Retry
from ..middleware.base import Middleware
from ..middleware.breaker import CircuitBreaker
from ..middleware.cache import Cache
from ..middleware.limits import RateLimit
from ..middleware.timeouts import Timeouts

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["Decorator", "Options", "Wrap"]

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")
M = TypeVar("M", bound=Middleware)


class Decorator(Protocol):
    """Wraps a function; what it takes and what it returns stay what they are."""

    @overload
    def __call__(self, function: staticmethod[P, T], /) -> staticmethod[P, T]: ...
    @overload
    def __call__(self, function: classmethod[C, P, T], /) -> classmethod[C, P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]: ...


class Wrap:
    """
    What `gateway.wrap` is: a decorator, with or without options.

    The function becomes the innermost handler of a route of its own: limits, cache, breaker, retries, fallbacks and the
    deadline stand around it as around every call of the gateway. It may be plain, a coroutine function, a generator or an
    async generator, a method, or any object that can be called.

    Its own exception comes out as it is, unless the function and a fallback failed; then it is `AllAttemptsFailed` with
    both. A plain function cannot be cut short: when its time is over it runs on, and what it returns is dropped.

    What a generator yields is passed on item by item; what is sent into it, and what it returns, is not. Retries and
    fallbacks end with its first item.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @overload
    def __call__(self, function: staticmethod[P, T], /) -> staticmethod[P, T]: ...
    @overload
    def __call__(self, function: classmethod[C, P, T], /) -> classmethod[C, P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]: ...
    @overload
    def __call__(
        self,
        /,
        *,
        cache: bool | str | float | dict[str, Any] | Cache | None = None,
        key: Callable[..., Any] | None = None,
        retry: bool | int | dict[str, Any] | Retry | None = None,
        rate_limit: str | dict[str, Any] | RateLimit | None = None,
        timeout: float | str | dict[str, Any] | Timeouts | None = None,
        circuit_breaker: bool | dict[str, Any] | CircuitBreaker | None = None,
        fallback: Callable[..., Any] | Sequence[Callable[..., Any]] = (),
        tenant: str | Callable[..., str] = "",
        name: str = "",
        capture: bool = False,
    ) -> Decorator: ...

    def __call__(self, function: Any = None, /, **said: Any) -> Any:
        """
        Wrap a function.

        Args:
            function: When used without parentheses.
            cache: How long results are kept (`1h`, seconds) in the gateway's cache, or in one of its own if the gateway
                has none; True for as long as the cache says, False for none; or the options of a `Cache` of its own. A
                result is kept for the same arguments, if they and the result are JSON. A method's `self` is one of its
                arguments; give `key` or `name` what stands for it.
            key: A function of the arguments; what it returns, as JSON, stands for them in the cache.
            retry: Attempts in all, the first included, True for the usual number, or the options of `Retry`. With it any
                exception is tried again that is not known to be final, as a refused key is; without it only those that
                are known to pass. False for none.
            rate_limit: `60/min`, or the options of `RateLimit`; besides the gateway's own.
            timeout: For the whole call, attempts and waits together; or the options of `Timeouts`.
            circuit_breaker: False for none, or the options of `CircuitBreaker`. With it any exception counts that does not
                speak of the arguments or the code, as ValueError and TypeError do; without it only those that are known
                to be an upstream's.
            fallback: Functions that are asked in turn when this one fails, with the same arguments. They may be of
                another kind.
            tenant: On whose behalf; or a function of the arguments that tells it.
            name: Name of the route, and what the cache knows the function by in every process; by default its qualified
                name, and for what is made anew each time (closures, bound methods) nothing but itself.
            capture: Whether the calls that the function makes through this gateway, by its verbs or under an SDK, are part
                of its own: their attempts, tokens and money are its, its deadline is theirs, and what fails is repeated
                in one place only. With `retry` that is the function, and each call inside is made once; without it the
                calls inside, and the function runs once.

        Raises:
            ConfigError: If an option cannot be used.
        """
        options = Options.of(said)
        return self._wrapped(function, options) if function is not None else lambda given: self._wrapped(given, options)

    def _wrapped(self, function: Any, options: Options) -> Any:
        from .wrapped import Wrapped

        if isinstance(function, staticmethod | classmethod):
            return type(function)(self._wrapped(function.__func__, options))
        if not callable(function):
            raise ConfigError(f"wrap: a {type(function).__name__} is no function")
        return Wrapped(self._gateway, function, options).wrapper()


@dataclass(frozen=True, slots=True)
class Options:
    """
    What was said in the parentheses; None where nothing was.

    Attributes:
        cache: One of its own; False for none at all.
        kept_s: Seconds that a result is kept in whatever cache there is; None is the cache's own time.
        cached: Whether caching was asked for.
        retried: Whether any exception is tried again.
    """

    cache: Cache | None = None
    uncached: bool = False
    cached: bool = False
    kept_s: float | None = None
    key: Callable[..., Any] | None = None
    retry: Retry | None = None
    retried: bool = False
    rate_limit: RateLimit | None = None
    timeouts: Timeouts | None = None
    breaker: CircuitBreaker | None = None
    fallbacks: tuple[Callable[..., Any], ...] = ()
    tenant: str | Callable[..., str] = ""
    name: str = ""
    capture: bool = False

    @classmethod
    def of(cls, said: dict[str, Any]) -> Options:
        """
        The options of a decorator.

        Raises:
            ConfigError: If one cannot be used; says which, and why.
        """
        for word in said:
            if word not in NAMES:
                raise ConfigError(f"wrap: there is no option {word!r}; {suggestion(word, NAMES)}")
        cache, retry, fallback = said.get("cache"), said.get("retry"), said.get("fallback") or ()
        own = _made("cache", Cache, "ttl", cache)
        lasting = isinstance(cache, str | int | float)
        return cls(
            cache=None if lasting else own,
            uncached=cache is False,
            cached=cache is not None and cache is not False,
            kept_s=own.ttl if lasting and own is not None else None,
            key=_function("key", said.get("key")),
            retry=_made("retry", Retry, "max_attempts", retry),
            retried=retry is not None and retry is not False,
            rate_limit=_made("rate_limit", RateLimit, "requests", said.get("rate_limit")),
            timeouts=_made("timeout", Timeouts, "total", said.get("timeout")),
            breaker=_made("circuit_breaker", CircuitBreaker, "threshold", said.get("circuit_breaker")),
            fallbacks=_functions((fallback,) if callable(fallback) else fallback),
            tenant=_text_or_function("tenant", said.get("tenant", "")),
            name=_text("name", said.get("name", "")),
            capture=_switch("capture", said.get("capture", False)),
        )


NAMES = ("cache", "key", "retry", "rate_limit", "timeout", "circuit_breaker", "fallback", "tenant", "name", "capture")


def _made(option: str, kind: type[M], first: str, value: Any) -> M | None:
    """The middleware that an option describes; None if it is as the gateway's own."""
    if value is None or (value is True and kind is not Retry):
        return None
    if isinstance(value, kind):
        return value
    if isinstance(value, bool):
        given: Any = {} if value else {"enabled": False}
    else:
        given = value if isinstance(value, dict) else {first: value}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problem = explain_validation(error, f"wrap.{option}", model=kind)
    raise problem


def _functions(given: Any) -> tuple[Callable[..., Any], ...]:
    if not isinstance(given, list | tuple) or not all(callable(one) for one in given):
        raise ConfigError("wrap.fallback: expected a function or a list of functions")
    return tuple(given)


def _function(option: str, value: Any) -> Callable[..., Any] | None:
    if value is not None and not callable(value):
        raise ConfigError(f"wrap.{option}: expected a function, got {type(value).__name__}")
    return value  # type: ignore[no-any-return]


def _text(option: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"wrap.{option}: expected a string, got {type(value).__name__}")
    return value


def _switch(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"wrap.{option}: expected True or False, got {type(value).__name__}")
    return value


def _text_or_function(option: str, value: Any) -> str | Callable[..., str]:
    return cast("Callable[..., str]", value) if callable(value) else _text(option, value)
