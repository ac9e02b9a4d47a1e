"""The gateway: everything together, under one name.

It owns all state, and nothing outside of it has any: two gateways in one process are strangers. It decides nothing
itself. After a fork the child starts with fresh state and fresh connections, because locks and sockets of the parent
are not its own.
"""

from __future__ import annotations

import _thread
import asyncio
import os
import time
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from . import __version__
from .config.explaining import suggestion
from .config.loading import load_file
from .config.pipeline import Pipeline, build
from .config.settings import CallDefaults, Settings, settings_from
from .errors import ConfigError, GatewayClosed
from .middleware.base import Middleware, UserMiddleware
from .providers.base import Provider
from .runtime.accepting import options
from .runtime.asynchronous import AsyncioRuntime
from .runtime.blocking import BlockingRuntime
from .runtime.drive import drive
from .runtime.edge import AsyncFace, Door, Face, Messages, Stream, Timeout, discovered
from .runtime.engines import engine_maker
from .runtime.http import HTTPOptions
from .runtime.process import ProcessLock
from .telemetry.stats import CallStats, Counts
from .types.call import Call, Handler, Options
from .types.capture import Run
from .types.reply import Reply
from .types.request import Verb
from .types.response import Models

if TYPE_CHECKING:
    import httpx
    import httpx2

    from .surfaces.asgi import GatewayApp
    from .surfaces.check import Report
    from .surfaces.decorator import Wrap

__all__ = ["Gateway"]

Client = TypeVar("Client")

CLOSE_S = 30.0  # seconds that close() waits for calls in flight; a typical orchestrator kills after 30 or more
CUT_S = 1.0  # seconds that calls which were cut are given to put everything back
POLL_S = 0.01  # seconds between two looks at whether calls are in flight


class Gateway(Face):
    """
    Calls models through limits, cache, retries, breakers, fallbacks and balancing, in this process.

    Args:
        config: A mapping as in the YAML file, or `Settings`; see the guide on configuration.
        providers: Provider objects, besides those of the configuration.
        middleware: Middleware of your own, besides those of the configuration: objects, or `async def f(call, call_next)`. A
            pair of a slot's name and one of these says where it stands; else it stands `before_attempts`.
        environ: Where `${VAR}`, and keys that are not given, are looked up; by default `os.environ`.

    Raises:
        ConfigError: If the configuration cannot be used; the message says where, why, and what to write.

    One gateway serves any number of threads and event loops at once.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Settings | None = None,
        *,
        providers: Sequence[Provider] = (),
        middleware: Sequence[Middleware | UserMiddleware | tuple[str, Middleware | UserMiddleware]] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._providers = tuple(providers)
        names = [provider.label() for provider in self._providers]
        self.config = config if isinstance(config, Settings) else settings_from(config or {}, environ, providers=names)
        self._first = {*self.config.providers, *names}
        self._changed: dict[str, Provider | None] = {}  # since then
        self._middleware = tuple(middleware)
        self._scope: ContextVar[Options | None] = ContextVar("llmgate_scope", default=None)
        self._inside: ContextVar[Run | None] = ContextVar("llmgate_inside", default=None)
        self._lock = ProcessLock()
        self._closing: str = ""
        self._warned = False
        self._started = time.monotonic()
        http = _http_options(self.config)
        self._blocking = BlockingRuntime(engine_maker(http, "blocking"))
        self._asyncio = AsyncioRuntime(engine_maker(http, "asyncio"))
        self._rebuild()
        self._door = Door(
            self._open,
            self._blocking,
            self._asyncio,
            self._scope.get,
            self._pipeline.timeout_s,
            (self.config.defaults or CallDefaults()).options(),
        )
        self.aio = AsyncGateway(self)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **more: Any) -> Self:
        """A gateway from a mapping."""
        return cls(config, **more)

    @classmethod
    def from_yaml(cls, path: str | Path, **more: Any) -> Self:
        """A gateway from a YAML file (or JSON or TOML, by its ending)."""
        return cls(load_file(Path(path)), **more)

    @classmethod
    def from_env(cls, **more: Any) -> Self:
        """
        A gateway from the environment: the file that `LLMGATE_CONFIG` names, else every provider whose key is set.

        Raises:
            ConfigError: If there is neither.
        """
        environ = more.get("environ")
        environ = os.environ if environ is None else environ
        path = environ.get("LLMGATE_CONFIG")
        if path:
            return cls.from_yaml(path, **more)
        from .providers.catalog import ROWS

        found: dict[str, Any] = {
            row.name: {} for row in ROWS if row.base_url and any(environ.get(name) for name in row.key_env)
        }
        if not found:
            raise ConfigError("no provider's key is set; set one (such as OPENAI_API_KEY), or LLMGATE_CONFIG to a file")
        return cls({"providers": found}, **more)

    # The pipeline and its life.

    def _rebuild(self) -> None:
        """Make everything that has state. The runtimes are not made anew: they see to it themselves when they send."""
        self._dropped: deque[Callable[[], None]] = deque()
        self._stats = CallStats()
        self._pipeline = build(self.config, self._providers, self._middleware, self._stats)
        for name, provider in self._changed.items():
            self._pipeline.put(name, provider)
        self._pid = os.getpid()

    def _current(self) -> Pipeline:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._rebuild()
        return self._pipeline

    def _open(self, call: Call, handler: Handler | None = None) -> Awaitable[Reply]:
        """Answer a call: by its route, or with a handler and a way of its own."""
        if self._closing:
            raise GatewayClosed(f"the gateway is {self._closing}; make a new one")
        pipeline = self._pipeline if self._pid == os.getpid() else self._current()
        pipeline.start(self._blocking)
        if self._dropped:
            self._settle_dropped()
        call.trail.later = self._later
        run = self._inside.get()
        if run is not None:
            run = run.admit(call)
        answering = pipeline.open(call, handler)
        return answering if run is None else run.follow(call, answering)

    def _later(self, settle: Callable[[], None]) -> None:
        """
        Settle what somebody dropped, outside of every lock: on this thread's event loop if it has one, else on a thread
        for this moment, for somebody may be waiting for what is given back. Nothing is locked here, because the garbage
        collector calls this.
        """
        self._dropped.append(settle)
        if _inside_loop():
            asyncio.get_running_loop().call_soon(self._settle_dropped)
            return
        with suppress(RuntimeError):  # the interpreter is ending, and nobody waits any more
            _thread.start_new_thread(self._settle_dropped, ())

    def _settle_dropped(self) -> None:
        while self._dropped:
            with suppress(IndexError):  # another thread was faster
                self._dropped.popleft()()

    # Providers that come and go.

    def register(self, provider: Provider, *, replace: bool = False) -> None:
        """
        Add a provider: from now on calls to `provider/model` reach it, in every thread and on every event loop.

        The configuration stays what it was; `models`, `health`, `explain` and `check` know the newcomer. After a fork the
        child has it, too.

        Args:
            replace: Put it in the place of the one that has its name, if there is one. Calls that are under way end with
                that one.

        Raises:
            ConfigError: If its name is taken or cannot be one, it has no key, or a route could not lead to it.
            GatewayClosed: If the gateway is closed, or closing.
        """
        name = provider.label()
        if not name.isprintable() or not name or {"/", "#"} & {*name}:
            raise ConfigError(f"{name!r} is no name for a provider; calls write it as NAME/MODEL", path="providers")
        with self._changing() as pipeline:
            if not replace and name in pipeline.providers:
                raise ConfigError(
                    f"there is a provider {name!r}; say replace=True to put this one there", path="providers"
                )
            pipeline.put(name, provider)
            self._changed[name] = provider

    def unregister(self, name: str) -> None:
        """
        Take a provider away. Calls that are under way end with it.

        Raises:
            ConfigError: If there is none of this name, or a route leads there.
            GatewayClosed: If the gateway is closed, or closing.
        """
        with self._changing() as pipeline:
            if name not in pipeline.providers:
                raise ConfigError(
                    f"there is no provider {name!r}; {suggestion(name, pipeline.providers)}", path="providers"
                )
            pipeline.put(name, None)
            self._changed.pop(name, None)
            if name in self._first:
                self._changed[name] = None

    @contextmanager
    def _changing(self) -> Iterator[Pipeline]:
        pipeline = self._current()
        with self._lock:
            if self._closing:
                raise GatewayClosed(f"the gateway is {self._closing}; make a new one")
            yield pipeline

    def models(self) -> Models:
        """What the providers offer, together."""
        self._warn_inside_loop(3)
        return drive(discovered(self._door, self._blocking, self._current().provider_names()))

    @contextmanager
    def scope(
        self,
        *,
        timeout: Timeout = None,
        tenant: str | None = None,
        tags: Mapping[str, str] | None = None,
        cache: Any = None,
        fallback: bool | None = None,
        idempotency_key: str | None = None,
        unsupported: Literal["error", "drop"] | None = None,
    ) -> Iterator[None]:
        """
        Options for every call made inside, in this thread or task and what it starts; a call's own options win.

        Raises:
            BadRequest: If an option has a wrong value.
        """
        given = {
            "timeout": timeout, "tenant": tenant, "tags": tags, "cache": cache,
            "fallback": fallback, "idempotency_key": idempotency_key, "unsupported": unsupported,
        }  # fmt: skip
        said = {name: value for name, value in given.items() if value is not None}
        token = self._scope.set(options(said, self._door.scope) or self._scope.get())
        try:
            yield
        finally:
            self._scope.reset(token)

    @property
    def wrap(self) -> Wrap:
        """
        A decorator: the function becomes a call, with limits, cache, retries, fallbacks and a deadline around it.

        `@gateway.wrap` applies the configured defaults, `@gateway.wrap(cache="1h", retry=3, …)` its own options. The
        function may be plain, a coroutine function, a generator or an async generator; its signature is kept.
        """
        from .surfaces.decorator import Wrap

        return Wrap(self)

    # Under an SDK.

    def transport(self, kind: Literal["httpx", "httpx2"] = "httpx2") -> Any:
        """
        A transport for whatever takes one: what is sent through it goes through the gateway.

        It is of both colours, opens no connection of its own, and closing it closes nothing.

        Args:
            kind: The library it is for. `openai`, `anthropic`, `google-genai` and `mistralai` stand on httpx2; `cohere`,
                `groq` and `ollama` on httpx.

        Raises:
            ConfigError: If the library is not installed; names what to install.
        """
        from .surfaces.transport import transport

        return transport(self, kind)

    @overload
    def http_client(self, kind: Literal["httpx2"] = "httpx2") -> httpx2.Client: ...

    @overload
    def http_client(self, kind: Literal["httpx"]) -> httpx.Client: ...

    def http_client(self, kind: Literal["httpx", "httpx2"] = "httpx2") -> Any:
        """
        A client for an SDK: `openai.OpenAI(api_key="unused", base_url="http://llmgate/v1", http_client=…)`.

        The SDK's `model` names a route, or `provider/model`; any other name goes to whom the SDK's client was made for.
        Closing it does not close the gateway. See `transport`.
        """
        from .surfaces.transport import http_client

        return http_client(self, kind, "blocking")

    def attach(self, client: Client) -> Client:
        """
        A client of an SDK as it stands, through the gateway: a copy, where the SDK can copy its clients.

        Its own upstream is asked with its own key; names of routes and `provider/model` mean the same as to every
        client. Its retries and timeouts are the gateway's from then on, and its proxies no longer apply; its headers and
        event hooks stay.

        Args:
            client: Of `openai`, `anthropic`, `groq` or `together`, which are copied, as are bare clients of httpx and
                httpx2; of `google-genai`, `mistralai`, `cohere`, `ollama`, `any-llm-sdk`, `langchain-openai` or
                `langchain-anthropic`, or anything that has an HTTP client of httpx or httpx2 among its attributes:
                these are changed, and returned. One that is attached already stays as it is.

        Raises:
            ConfigError: If nothing is known of such a client, or it is attached to another gateway.
        """
        from .surfaces.attach import attach

        return attach(self, client)

    def detach(self, client: Client) -> Client:
        """
        The client that was attached, with everything as it was.

        Raises:
            ConfigError: If this one is not attached to this gateway.
        """
        from .surfaces.attach import detach

        return detach(self, client)

    # For other languages.

    def asgi(self, *, trusted: bool = False) -> GatewayApp:
        """
        An ASGI application that speaks every format that SDKs speak: for uvicorn, or to be mounted in an application of
        yours. Who may ask it is said in the section `server`; without keys in it, only callers on the same machine.

        `python -m llmgate serve` runs it. A server that speaks ASGI's lifespan closes the gateway at its end.

        Args:
            trusted: Serve whoever comes, because somebody else has looked at the callers already.

        Raises:
            ConfigError: If there are keys and no pepper.
        """
        from .config.server import ServerSettings
        from .surfaces.asgi import GatewayApp

        return GatewayApp(self, self.config.server or ServerSettings(), trusted=trusted)

    # What it tells.

    def stats(self) -> Counts:
        """Totals since the gateway was made: calls, outcomes, tokens, latencies, and the gateway's own share of them."""
        self._settle_dropped()
        return self._stats.counts()

    def health(self) -> dict[str, Any]:
        """
        How everything is right now, as plain JSON values.

        `status` is `ok`, `degraded` (some deployments cannot be asked), `down` (none can) or `closed`.
        """
        self._settle_dropped()
        deployments = self._current().health(self._blocking.now())
        able = [deployment["available"] for deployment in deployments.values()]
        status = self._closing or ("ok" if all(able) else "degraded" if any(able) else "down")
        return {
            "status": status,
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started, 3),
            "in_flight": self._stats.in_flight,
            "deployments": deployments,
            "cache": self._current().cache_health(),
        }

    def explain(self, model: str, messages: Any = "", *, verb: Verb = "chat", **params: Any) -> list[str]:
        """
        What will happen to such a call, step by step, with reasons. Nobody is asked.

        Args:
            messages: Of another verb what it is about: the prompt, the input, the query.
            verb: What is asked for.
        """
        from .surfaces.explain import explained

        return explained(self, model, verb, messages, params)

    def check(self, *, tokens: int = 1000) -> Report:
        """
        What is doubtful about the configuration with the providers that there are, and the worst case of each route.

        Args:
            tokens: Length of the prompt for which the worst case is told.
        """
        from .surfaces.check import checked

        return checked(self.config.model_copy(update={"providers": self._current().providers}), tokens=tokens)

    # The end.

    def close(self, timeout: float = CLOSE_S) -> None:
        """
        Take no new calls, wait for those in flight, cut what is left, and close every connection.

        Harmless twice and from several threads at once. Connections of running event loops are closed on those loops.
        Calls that are cut raise `GatewayClosed`. A plain function of yours cannot be cut; it runs on behind.

        Args:
            timeout: Seconds to wait for calls in flight. Where an event loop runs in this thread nothing is waited for,
                because its calls could not go on meanwhile; `await gateway.aio.close()` there.
        """
        if not self._drained():
            return
        here = _inside_loop()
        if not here:
            self._wait(timeout)
        self._cut()
        self._asyncio.close_from_thread()
        if not here:
            self._wait(CUT_S)
        self._shut()

    async def _aclose(self, timeout: float = CLOSE_S) -> None:
        if not self._drained():
            return
        await self._until_idle(timeout)
        self._cut()
        await self._asyncio.close()
        await self._until_idle(CUT_S)
        self._shut()

    def _drained(self) -> bool:
        """Whether there is anything left to close; if so, nobody comes in any more and nobody waits for a limit."""
        pipeline = self._current()
        self._settle_dropped()
        if self._closing == "closed":
            return False
        self._closing = "draining"
        pipeline.stop()
        return True

    # Nothing rings when the last call ends: a bell for one moment in a gateway's life would cost every call.

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._stats.in_flight and time.monotonic() < until:
            time.sleep(POLL_S)

    async def _until_idle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._stats.in_flight and time.monotonic() < until:
            await asyncio.sleep(POLL_S)

    def _cut(self) -> None:
        """Whoever sends, sleeps or reads is told that it is over."""
        self._asyncio.stop()
        self._blocking.stop()
        self._blocking.close()

    def _shut(self) -> None:
        self._closing = "closed"
        self._pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_pipeline"):
            # A configuration that was refused leaves half a gateway in the frames of its traceback.
            return "<Gateway, not configured>"
        state = self._closing or f"{self._stats.in_flight} in flight"
        return f"<Gateway {', '.join(self._pipeline.routes) or 'no routes'}; {state}>"

    def stream(self, model: str, messages: Messages, **params: Any) -> Stream:
        """Ask and read the answer as it is written; see `Face.stream`."""
        self._warn_inside_loop(3)
        return super().stream(model, messages, **params)

    def _answer(self, name: str, request: Any, asked: Options | None) -> Any:
        self._warn_inside_loop(4)
        return drive(self._door.answer(self._blocking, name, request, asked))

    def _warn_inside_loop(self, caller: int) -> None:
        """Once, about the line that is so many calls away."""
        if not self._warned and _inside_loop():
            self._warned = True
            warnings.warn(
                "a call from sync code blocks the event loop it is made in; use `gateway.aio` there",
                RuntimeWarning,
                stacklevel=caller,
            )


class AsyncGateway(AsyncFace):
    """The same gateway for asyncio: the same verbs with `await`, the same limits, breakers and caches."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway._door)
        self._gateway = gateway

    async def models(self) -> Models:
        """What the providers offer, together."""
        gateway = self._gateway
        return await discovered(gateway._door, gateway._asyncio, gateway._current().provider_names())

    @overload
    def http_client(self, kind: Literal["httpx2"] = "httpx2") -> httpx2.AsyncClient: ...

    @overload
    def http_client(self, kind: Literal["httpx"]) -> httpx.AsyncClient: ...

    def http_client(self, kind: Literal["httpx", "httpx2"] = "httpx2") -> Any:
        """A client for an SDK; see `Gateway.http_client`."""
        from .surfaces.transport import http_client

        return http_client(self._gateway, kind, "asyncio")

    async def close(self, timeout: float = CLOSE_S) -> None:
        """Take no new calls, wait for those in flight, and close every connection; see `Gateway.close`."""
        await self._gateway._aclose(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _http_options(settings: Settings) -> HTTPOptions:
    http = settings.http
    if http is None:
        return HTTPOptions()
    return HTTPOptions(
        engine=http.engine,
        keepalive_s=http.keepalive,
        trust_env=http.trust_env,
        max_response_bytes=http.max_response,
    )


def _inside_loop() -> bool:
    # The public way to ask raises where there is none, and that is what every call of plain code finds.
    return asyncio._get_running_loop() is not None
