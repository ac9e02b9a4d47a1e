"""A function of yours, through the gateway: `@gateway.wrap`.

The function becomes the innermost handler of a route of its own. Around it stands what stands around every call of the
gateway; the options of the decorator replace single parts of that for this function alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from pydantic import ValidationError

from ..config.explaining import explain_validation
from ..errors import AllAttemptsFailed, ConfigError, GatewayError
from ..middleware.attempts import Attempts, Candidate, Retry, Route
from ..middleware.breaker import CircuitBreaker
from ..middleware.cache import Cache
from ..middleware.limits import RateLimit
from ..middleware.timeouts import Timeouts
from ..providers.function import FunctionFailed, reply_from
from ..runtime.callables import Kind, kind_of
from ..runtime.drive import drive
from ..runtime.edge import Door
from ..types.call import CacheControl, Call, Handler, Options
from ..types.deployment import Deployment
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Answer, Value
from ..types.runtime import Runtime
from ..types.wire import dumps

if TYPE_CHECKING:
    from ..config.building import Pipeline
    from ..gateway import Gateway

__all__ = ["Wrap"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

ARGUMENTS = "arguments"
"""Under this name a call's trail carries the arguments of the wrapped function, which need not be JSON."""


class Wrap:
    """
    What `gateway.wrap` is: a decorator, with or without options.

    A function's own exception comes out as it is, unless several deployments (the function and its fallbacks) failed;
    then it is `AllAttemptsFailed` with all of them.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]: ...

    @overload
    def __call__(
        self,
        *,
        cache: bool | str | float | dict[str, Any] | Cache | None = None,
        retry: bool | int | dict[str, Any] | Retry | None = None,
        rate_limit: str | dict[str, Any] | RateLimit | None = None,
        timeout: float | str | dict[str, Any] | Timeouts | None = None,
        circuit_breaker: bool | dict[str, Any] | CircuitBreaker | None = None,
        fallback: Callable[..., Any] | Sequence[Callable[..., Any]] = (),
        tenant: str | Callable[..., str] = "",
        name: str = "",
    ) -> Callable[[F], F]: ...

    def __call__(self, function: Callable[..., Any] | None = None, /, **said: Any) -> Any:
        """
        Wrap a function.

        Args:
            function: When used without parentheses.
            cache: How long results are kept (`1h`, seconds), True for the configured cache, False for none, or the options
                of `Cache`. The key is the function's name and its bound arguments; what is no JSON is not cached.
            retry: Attempts in all, the first included, or the options of `Retry`. With it any exception is tried
                again; without it only those that are known to pass.
            rate_limit: `60/min`, or the options of `RateLimit`.
            timeout: For the whole call, attempts and waits together; or the options of `Timeouts`.
            circuit_breaker: False for none, or the options of `CircuitBreaker`.
            fallback: Functions that are asked in turn when this one fails, with the same arguments.
            tenant: On whose behalf; or a function of the arguments that tells it.
            name: Name of the route; by default the function's qualified name.

        Raises:
            ConfigError: If an option cannot be used.
        """
        if function is not None:
            return self._wrapped(function, _Options({}))
        options = _Options(said)
        return lambda function: self._wrapped(function, options)

    def _wrapped(self, function: Callable[..., Any], options: _Options) -> Callable[..., Any]:
        if not callable(function):
            raise ConfigError(f"wrap: a {type(function).__name__} is no function")
        return _Invocations(self._gateway, function, options).wrapper()


class _Options:
    """The decorator's options, as middleware."""

    _NAMES = ("cache", "retry", "rate_limit", "timeout", "circuit_breaker", "fallback", "tenant", "name")

    def __init__(self, said: dict[str, Any]) -> None:
        unknown = set(said) - set(self._NAMES)
        if unknown:
            from ..config.explaining import suggestion

            word = sorted(unknown)[0]
            raise ConfigError(f"wrap: there is no option {word!r}; {suggestion(word, self._NAMES)}")
        cache, retry, breaker = said.get("cache"), said.get("retry"), said.get("circuit_breaker")
        self.cache = _made("cache", Cache, "ttl", cache)
        self.cache_off = cache is False
        self.retry = Retry(enabled=False) if retry is False else _made("retry", Retry, "max_attempts", retry)
        self.retry_asked = self.retry is not None and self.retry.enabled
        self.rate_limit = _made("rate_limit", RateLimit, "requests", said.get("rate_limit"))
        self.timeouts = _made("timeout", Timeouts, "total", said.get("timeout"))
        self.breaker = CircuitBreaker(enabled=False) if breaker is False else _made("circuit_breaker", CircuitBreaker, "threshold", breaker)
        fallback = said.get("fallback") or ()
        self.fallbacks: tuple[Callable[..., Any], ...] = (fallback,) if callable(fallback) else tuple(fallback)
        self.tenant: str | Callable[..., str] = said.get("tenant", "")
        self.name: str = said.get("name", "")


def _made(option: str, cls: Any, first: str, value: Any) -> Any:
    """The middleware that an option describes; None if it says nothing that differs from the gateway's own."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, cls):
        return value
    try:
        return cls.model_validate(value if isinstance(value, dict) else {first: value})
    except ValidationError as error:
        problem = explain_validation(error, f"wrap.{option}")
    raise problem


class _Invocations:
    """One wrapped function: its route, and how a call of it becomes a call of the gateway."""

    def __init__(self, gateway: Gateway, function: Callable[..., Any], options: _Options) -> None:
        self._gateway = gateway
        self._function = function
        self._options = options
        self._kind: Kind = kind_of(function)
        inner = function.func if isinstance(function, functools.partial) else function
        module = getattr(inner, "__module__", "")
        qualified = getattr(inner, "__qualname__", type(inner).__qualname__)
        self.name = options.name or f"{module}.{qualified}"
        self._signature = _signature(function)
        self._built: tuple[Pipeline, Route, Handler, tuple[float, float]] | None = None

    # The route.

    def _ready(self) -> tuple[Pipeline, Route, Handler, tuple[float, float]]:
        """Route and handler in the gateway's pipeline of the moment; a forked child has one of its own."""
        pipeline = self._gateway._current()
        built = self._built
        if built is None or built[0] is not pipeline:
            self._built = built = self._build(pipeline)
        return built

    def _build(self, pipeline: Pipeline) -> tuple[Pipeline, Route, Handler, tuple[float, float]]:
        options = self._options
        candidates = [self._candidate(pipeline, self._function, self.name)]
        groups = [pipeline.group("ordered", candidates)]
        if options.fallbacks:
            others = [
                self._candidate(pipeline, function, f"{self.name}→{getattr(function, '__qualname__', 'fallback')}")
                for function in options.fallbacks
            ]
            groups.append(pipeline.group("ordered", others))
        route = Route(self.name, groups, fingerprint=self.name)
        handler = pipeline.handler
        if options.cache is not None or options.cache_off or options.rate_limit is not None or options.retry is not None:
            ask = pipeline.ask if options.retry is None else Attempts(options.retry.rules(), Random())
            cache = Cache(enabled=False) if options.cache_off else options.cache
            handler = pipeline.around(ask, self.name, rate_limit=options.rate_limit, cache=cache)
        timeouts = options.timeouts
        return pipeline, route, handler, pipeline.timeout_s if timeouts is None else timeouts.totals()

    def _candidate(self, pipeline: Pipeline, function: Callable[..., Any], name: str) -> Candidate:
        deployment = Deployment(name, "function", name)
        again = self._options.retry_asked

        async def asked(call: Call) -> Reply:
            args, keywords = call.trail.notes[ARGUMENTS]
            try:
                return await reply_from(call, function, args, keywords)
            except FunctionFailed as error:
                # Whoever asks for retries asks for them after any exception.
                raise _Retryable.of(error) if again else error from error.__cause__

        return pipeline.around_attempt(
            deployment, asked, (), breaker=self._options.breaker, timeouts=self._options.timeouts
        )

    # Calls.

    def wrapper(self) -> Callable[..., Any]:
        """The function that takes the wrapped one's place."""
        makers: dict[Kind, Callable[[], Callable[..., Any]]] = {
            "function": self._plain,
            "coroutine": self._coroutine,
            "generator": self._generator,
            "async_generator": self._async_generator,
        }
        made = makers[self._kind]()
        functools.update_wrapper(made, self._function)
        return made

    def _plain(self) -> Callable[..., Any]:
        def wrapper(*args: Any, **keywords: Any) -> Any:
            try:
                return drive(self._value(self._gateway._blocking, args, keywords))
            except GatewayError as error:
                raised = _own(error)
            raise raised

        return wrapper

    def _coroutine(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def wrapper(*args: Any, **keywords: Any) -> Any:
            try:
                return await self._value(self._gateway._asyncio, args, keywords)
            except GatewayError as error:
                raised = _own(error)
            raise raised

        return wrapper

    def _generator(self) -> Callable[..., Iterator[Any]]:
        def wrapper(*args: Any, **keywords: Any) -> Generator[Any, None, None]:
            reply: Reply | None = None
            try:
                reply = drive(self._opened(self._gateway._blocking, args, keywords, True))
                while items := drive(_items(reply)):
                    yield from items
            except GatewayError as error:
                raised = _own(error)
            else:
                return
            finally:
                if reply is not None:
                    drive(reply.close())
            raise raised

        return wrapper

    def _async_generator(self) -> Callable[..., AsyncIterator[Any]]:
        async def wrapper(*args: Any, **keywords: Any) -> AsyncGenerator[Any, None]:
            reply: Reply | None = None
            try:
                reply = await self._opened(self._gateway._asyncio, args, keywords, True)
                while items := await _items(reply):
                    for item in items:
                        yield item
            except GatewayError as error:
                raised = _own(error)
            else:
                return
            finally:
                if reply is not None:
                    await reply.close()
            raise raised

        return wrapper

    async def _value(self, runtime: Runtime, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        reply = await self._opened(runtime, args, keywords, False)
        answer = await reply.response()
        return answer.value if isinstance(answer, Value) else answer

    def _opened(
        self, runtime: Runtime, args: tuple[Any, ...], keywords: dict[str, Any], stream: bool
    ) -> Awaitable[Reply]:
        gateway = self._gateway
        _, route, handler, timeout_s = self._ready()
        bound = self._signature.bind(*args, **keywords) if self._signature is not None else None
        request, cacheable = self._request(bound, args, keywords, stream)
        options = gateway._scope.get() or Options()
        tenant = self._options.tenant
        if tenant:
            options = replace(options, tenant=tenant if isinstance(tenant, str) else tenant(*args, **keywords))
        if not cacheable:
            options = replace(options, cache=CacheControl(read=False, write=False))
        door = Door(gateway._open, gateway._blocking, gateway._asyncio, timeout_s=timeout_s)
        call = door.call(runtime, self.name, request, options)
        call.way = route
        call.trail.notes[ARGUMENTS] = (args, keywords)
        return gateway._open(call, handler)

    def _request(
        self, bound: inspect.BoundArguments | None, args: tuple[Any, ...], keywords: dict[str, Any], stream: bool
    ) -> tuple[Request, bool]:
        """The request that stands for the call, and whether all of it can be told apart by a cache."""
        named: dict[str, Any] = {"args": list(args), "kwargs": keywords}
        if bound is not None:
            bound.apply_defaults()
            # What is bound to a name is the same however it was written.
            named = {name: list(value) if isinstance(value, tuple) else value for name, value in bound.arguments.items()}
        body = {"function": self.name, "arguments": named}
        try:
            return Request("call", self.name, body, stream, dumps(body)), True
        except (TypeError, ValueError):
            return Request("call", self.name, {"function": self.name}, stream), False


class _Retryable(FunctionFailed):
    """The same failure, where the caller asked for retries."""

    again = True

    @classmethod
    def of(cls, error: FunctionFailed) -> _Retryable:
        return cls(error.message, retry_after=error.retry_after)


def _own(error: GatewayError) -> BaseException:
    """The function's own exception, if it alone is what went wrong."""
    if isinstance(error, AllAttemptsFailed) or error.__cause__ is None or error.outcome == "local":
        return error
    return error.__cause__


async def _items(reply: Reply) -> list[Any]:
    """The next items that the function yielded; none at the end."""
    chunks = await reply.read()
    if len(chunks) == 1 and chunks[0].whole is not None:
        whole: Answer = chunks[0].whole
        return list(whole.value) if isinstance(whole, Value) else [whole]
    return [item for chunk in chunks for item in (chunk.items or ())]


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
