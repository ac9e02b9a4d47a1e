"""One wrapped function: its route, and how a call of it becomes a call of the gateway."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from ..config.pipeline import Pipeline
from ..errors import GatewayError
from ..middleware.attempts import Attempts, Candidate, Route
from ..middleware.cache import Cache
from ..providers.asking import reply_from
from ..providers.exceptions import FunctionFailed, stand_in, stood_for
from ..runtime.callables import Kind, kind_of
from ..runtime.drive import drive
from ..runtime.edge import Door
from ..runtime.process import ProcessLock
from ..types.call import CacheControl, Call, Handler, Options as CallOptions, Trail
from ..types.capture import Run, Tally
from ..types.deployment import Deployment
from ..types.reply import Reply
from ..types.request import Request
from ..types.response import Answer, Chunk, Value
from ..types.runtime import Runtime
from ..types.wire import dumps
from .captured import captured, inside, summed, until
from .decorator import Options
from .handed import handed, is_stream
from .identity import Arguments, exact, identity_of, name_of, standing_for

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["Wrapped"]

logger = logging.getLogger("llmgate.cache")

INVOCATION = "invocation"
"""Under this name a call's trail carries the arguments of the wrapped function, which need not be JSON."""

UNKEPT = CacheControl(read=False, write=False)

FAULTS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, NotImplementedError, TypeError,
    ValueError,
)  # fmt: skip
"""Exceptions that speak of the arguments or of the code. Whatever they befall, nobody needs a rest from it."""


class _Turned(BaseException):
    """
    A plain function returned something to wait for, as functions do that only pass a coroutine on. The call begins anew
    as an asynchronous one. No `Exception`, so that it counts neither for nor against anybody.
    """

    def __init__(self, begun: Awaitable[Any]) -> None:
        super().__init__()
        self.begun = begun


@dataclass(slots=True)
class _Invocation:
    """The arguments of one call; `begun` is what the function returned already, if it did, `run` the last captured one."""

    args: tuple[Any, ...]
    keywords: dict[str, Any]
    begun: Awaitable[Any] | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A wrapped function in one pipeline."""

    pipeline: Pipeline
    route: Route
    handler: Handler
    door: Door
    caches: bool


class Wrapped:
    """
    A function, the options it was wrapped with, and the gateway it goes through.

    Args:
        options: Replace single parts of what stands around every call, for this function alone.
    """

    def __init__(self, gateway: Gateway, function: Callable[..., Any], options: Options) -> None:
        self._gateway = gateway
        self._function = function
        self._options = options
        self._kind: Kind = kind_of(function)
        self._name = options.name or name_of(function)
        self._identity = options.name or identity_of(function)
        self._arguments = Arguments(function, options.key)
        self._place: _Place | None = None
        self._lock = ProcessLock()
        self._turned = False
        self._told = False

    # Its place.

    def _placed(self) -> _Place:
        """Its place in the gateway's pipeline of the moment; a forked child has a pipeline of its own."""
        pipeline = self._gateway._current()
        place = self._place
        if place is None or place.pipeline is not pipeline:
            with self._lock:
                place = self._place
                if place is None or place.pipeline is not pipeline:
                    self._place = place = self._placed_in(pipeline)
        return place

    def _placed_in(self, pipeline: Pipeline) -> _Place:
        gateway, options = self._gateway, self._options
        groups = [pipeline.group("ordered", [self._candidate(pipeline, self._function, self._name)])]
        if options.fallbacks:
            others = [
                self._candidate(pipeline, function, f"{self._name}→{name_of(function)}")
                for function in options.fallbacks
            ]
            groups.append(pipeline.group("ordered", others))
        shared = pipeline.settings.cache is not None and pipeline.settings.cache.enabled
        cache = options.cache
        if options.cached and cache is None and not shared:
            cache = Cache()
        handler = pipeline.handler
        if cache is not None or options.rate_limit is not None or options.retry is not None:
            ask = pipeline.ask if options.retry is None else Attempts(options.retry.rules(), Random())
            handler = pipeline.around(ask, self._name, rate_limit=options.rate_limit, cache=cache)
        timeout_s = pipeline.timeout_s if options.timeouts is None else options.timeouts.totals()
        door = Door(gateway._open, gateway._blocking, gateway._asyncio, gateway._door.scope, timeout_s)
        caches = shared or cache is not None or pipeline.settings.single_flight is not None
        return _Place(
            pipeline, Route(self._name, groups, self._identity), handler, door, caches and not options.uncached
        )

    def _candidate(self, pipeline: Pipeline, function: Callable[..., Any], name: str) -> Candidate:
        kind = kind_of(function)
        follows = kind in ("generator", "async_generator")
        own = function is self._function

        async def asked(call: Call) -> Reply:
            invocation: _Invocation = call.trail.notes[INVOCATION]
            target = self._begun(invocation, call) if own else function
            trail = call.trail
            run = None if trail.tally is None else self._run(call, trail.tally)
            if run is not None:
                invocation.run, target = run, inside(run, target, kind)
            reading = _Values(follows, call.request.stream, trail)
            answering = reply_from(
                call, target, invocation.args, invocation.keywords, reading=reading, meaning=self._meaning
            )
            return await (answering if run is None else captured(run, answering))

        options = self._options
        deployment = Deployment(name, "function", name)
        return pipeline.around_attempt(deployment, asked, (), breaker=options.breaker, timeouts=options.timeouts)

    def _run(self, call: Call, tally: Tally) -> Run:
        parent = call.trail.parent
        # Retries are made in one place: outermost, where somebody asked for them.
        retries = not self._options.retried and (parent is None or parent.retries)
        return Run(call, self._gateway._inside, until(call), retries, tally)

    def _begun(self, invocation: _Invocation, call: Call) -> Callable[..., Any]:
        """The function itself, or where it was called already what it returned."""
        begun, invocation.begun = invocation.begun, None
        if begun is not None:
            return lambda *args, **keywords: begun
        if self._kind == "function" and call.runtime is self._gateway._blocking:
            return self._plainly
        return self._function

    def _plainly(self, *args: Any, **keywords: Any) -> Any:
        result = self._function(*args, **keywords)
        if inspect.isawaitable(result):
            raise _Turned(result)
        return result

    def _meaning(self, error: Exception) -> GatewayError:
        meant = stand_in(error)
        if type(meant) is FunctionFailed:
            options = self._options
            if options.retried:
                # Whoever asks for retries asks for them after any exception.
                meant.__dict__.update(outcome="transient", again=True)
            if options.breaker is not None and not isinstance(error, FAULTS):
                meant.__dict__.update(blame=True)
        return meant

    # Its calls.

    def wrapper(self) -> Callable[..., Any]:
        """The function that takes the wrapped one's place."""
        makers: dict[Kind, Callable[[], Callable[..., Any]]] = {
            "function": self._plain,
            "coroutine": self._coroutine,
            "generator": self._generator,
            "async_generator": self._async_generator,
        }
        return standing_for(self._function, cast(FunctionType, makers[self._kind]()))

    def _plain(self) -> Callable[..., Any]:
        def wrapper(*args: Any, **keywords: Any) -> Any:
            if self._turned:
                return self._awaited(_Invocation(args, keywords))
            try:
                return drive(self._value(self._gateway._blocking, _Invocation(args, keywords)))
            except _Turned as turned:
                self._turned = True
                return self._awaited(_Invocation(args, keywords, turned.begun))
            except GatewayError as error:
                raised = stood_for(error)
            try:
                raise raised
            finally:
                del raised

        return wrapper

    def _coroutine(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def wrapper(*args: Any, **keywords: Any) -> Any:
            return await self._awaited(_Invocation(args, keywords))

        return wrapper

    async def _awaited(self, invocation: _Invocation) -> Any:
        try:
            return await self._value(self._gateway._asyncio, invocation)
        except GatewayError as error:
            raised = stood_for(error)
        finally:
            if isinstance(invocation.begun, Coroutine):
                invocation.begun.close()  # nobody came to await it
        try:
            raise raised
        finally:
            del raised

    def _generator(self) -> Callable[..., Iterator[Any]]:
        def wrapper(*args: Any, **keywords: Any) -> Generator[Any, None, None]:
            try:
                reply = drive(self._opened(self._gateway._blocking, _Invocation(args, keywords), True))
                try:
                    while items := drive(_items(reply)):
                        for item in items:  # noqa: UP028 - `yield from` would refuse what is sent
                            yield item
                finally:
                    drive(reply.close())
                return
            except GatewayError as error:
                raised = stood_for(error)
            try:
                raise raised
            finally:
                del raised

        return wrapper

    def _async_generator(self) -> Callable[..., AsyncIterator[Any]]:
        async def wrapper(*args: Any, **keywords: Any) -> AsyncGenerator[Any, None]:
            try:
                reply = await self._opened(self._gateway._asyncio, _Invocation(args, keywords), True)
                try:
                    while items := await _items(reply):
                        for item in items:
                            yield item
                finally:
                    await reply.close()
                return
            except GatewayError as error:
                raised = stood_for(error)
            try:
                raise raised
            finally:
                del raised

        return wrapper

    async def _value(self, runtime: Runtime, invocation: _Invocation) -> Any:
        reply = await self._opened(runtime, invocation, False)
        whole = reply.whole
        if isinstance(whole, Value) and is_stream(whole.value):
            return handed(whole.value, reply, invocation.run, self._meaning)
        answer = await reply.response()
        if isinstance(answer, Value):
            return answer.value
        if reply.cached is not None:
            answer.cached, answer.priced = reply.cached, _free
        return answer

    async def _opened(self, runtime: Runtime, invocation: _Invocation, stream: bool) -> Reply:
        place = self._placed()
        named = self._arguments.named(invocation.args, invocation.keywords)
        options = place.door.scope()
        request = Request("call", self._name, {"function": self._name, "arguments": named}, stream)
        control = self._control(place, request, options)
        if control is not options.cache:
            options = replace(options, cache=control)
        tenant = self._options.tenant
        if tenant:
            said = tenant if isinstance(tenant, str) else tenant(*invocation.args, **invocation.keywords)
            options = replace(options, tenant=said)
        call = place.door.call(runtime, self._name, request, options)
        call.way = place.route
        call.trail.notes[INVOCATION] = invocation
        if self._options.capture or self._gateway._inside.get() is not None:
            call.trail.tally = Tally()
            call.trail.retries = self._options.retried
        return await self._gateway._open(call, place.handler)

    def _control(self, place: _Place, request: Request, options: CallOptions) -> CacheControl | None:
        """What this call wants of the cache. Its request is written down here, as far as it can be."""
        try:
            if place.caches:
                request.body["arguments"] = exact(request.body["arguments"])
            request.encoded = dumps(request.body)
        except (TypeError, ValueError, RecursionError) as error:
            request.body = {"function": self._name}
            if place.caches and self._options.cached:
                self._tell(error)
            return UNKEPT
        if not place.caches:
            return UNKEPT
        if not self._options.cached:
            return options.cache
        return replace(options.cache or CacheControl(), asked=True, ttl_s=self._options.kept_s)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "results of %s are not kept: of its arguments %s; give the decorator a key", self._name, error
            )


class _Values:
    """What a wrapped function gives, untouched. Only generators are followed, and what stands in for one."""

    __slots__ = ("_follows", "_stream", "_trail")

    def __init__(self, follows: bool, stream: bool, trail: Trail) -> None:
        self._follows = follows
        self._stream = stream
        self._trail = trail

    def follows(self, result: object) -> bool:
        return self._follows or (self._stream and isinstance(result, Iterator | AsyncIterator))

    def whole(self, result: Any) -> Answer:
        if isinstance(result, Answer):
            return summed(result, self._trail)
        return Value(value=[result] if self._stream and not isinstance(result, list) else result)

    def pieces(self, item: Any) -> Sequence[Chunk]:
        return (Chunk(items=(item,)),)


async def _items(reply: Reply) -> list[Any]:
    """The next items that the function yielded; none at the end."""
    chunks = await reply.read()
    if len(chunks) == 1 and chunks[0].whole is not None:
        whole = chunks[0].whole
        return list(whole.value) if isinstance(whole, Value) else [whole]
    return [item for chunk in chunks for item in (chunk.items or ())]


def _free(answer: Answer) -> Decimal:
    """What a cached answer costs."""
    return Decimal(0)
