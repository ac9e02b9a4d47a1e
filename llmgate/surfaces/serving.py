"""A gateway that listens: uvicorn around the ASGI application.

uvicorn waits for ever for the headers of a request, and its faster parser takes any number of them; both are bounded
here. It is told to stop by SIGTERM or SIGINT, takes no new connections then, lets requests under way come to their end,
and cuts what is left when the time to drain is over: clients are told so in their own dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..config.server import ServerSettings
from ..errors import ConfigError
from .asgi import GatewayApp
from .conversation import CONNECTION
from .gate import LOCAL_NAMES

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["server"]

HEAD_MAX_BYTES = 64 * 1024  # of a request line and its headers; h11's own limit in uvicorn
CUT_S = 5.0  # seconds that clients have to read that they were cut


def server(gateway: Gateway, settings: ServerSettings, tell: Callable[[str], object] = lambda url: None) -> Any:
    """
    A uvicorn server, which runs with `run()` or `await serve()`, and closes the gateway at its end.

    Args:
        tell: Told the URL, once it listens.

    Raises:
        ConfigError: If uvicorn is not installed, or nobody should listen like this.
    """
    try:
        import uvicorn
    except ImportError:
        raise ConfigError("uvicorn is not installed, and a server needs it: pip install llmgate[server]") from None
    for place, problem in settings.problems():
        raise ConfigError(problem, path=place)
    app = GatewayApp(gateway, settings, hosts=() if settings.keys else LOCAL_NAMES)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        # Addresses hold keys (Google's clients put them there).
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=int(settings.drain + CUT_S) + 1,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
    )
    config.load()
    config.http_protocol_class = _patient(config.http_protocol_class, settings.request_timeout)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                host = f"[{settings.host}]" if ":" in settings.host else settings.host
                port = self.servers[0].sockets[0].getsockname()[1]
                tell(f"http{'s' * bool(settings.tls_key)}://{host}:{port}")

        async def shutdown(self, sockets: Any = None) -> None:
            app.reports.draining = True
            cutting: list[asyncio.Task[None]] = []
            timer = asyncio.get_running_loop().call_later(
                settings.drain, lambda: cutting.append(asyncio.create_task(gateway.aio.close(0)))
            )
            try:
                await super().shutdown(sockets)
            finally:
                timer.cancel()

    return Server(config)


def _patient(base: Any, request_timeout_s: float) -> Any:
    """A protocol of uvicorn's that waits for the headers of a request no longer than this, and takes no more than enough."""

    class Patient(base):  # type: ignore[misc]
        _late: asyncio.TimerHandle | None = None
        _taken = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_is_there()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._head_is_there()
                # The application runs a moment later.
                self.cycle.scope["extensions"] = {CONNECTION: self.transport}
            elif before is None or before.response_complete:
                if self._late is None:
                    self._await_head()
                self._taken += len(data)
                if self._taken > HEAD_MAX_BYTES:
                    self.transport.abort()

        def _await_head(self) -> None:
            self._taken = 0
            self._late = self.loop.call_later(request_timeout_s, self.transport.abort)

        def _head_is_there(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Patient
