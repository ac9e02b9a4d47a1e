"""Which engine sends: connections of our own, read by httpx2's code or by aiohttp's parser, or a client of the caller's. Each is imported when it is first made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import ConfigError
from .http import Color, Engine, HTTPOptions

__all__ = ["engine_maker"]


def engine_maker(options: HTTPOptions, color: Color) -> Callable[..., Engine]:
    """
    What makes the engines of one thread pool or event loop: its own when it is called with nothing, and with a client
    that the caller brought the one that sends through it. Libraries are imported when it is called.

    Raises:
        ConfigError: If the engine asked for is not installed.
    """
    own = _own_engine(options, color)
    return lambda client=None: own(options, color) if client is None else _client_engine(options, color, client)


def _own_engine(options: HTTPOptions, color: Color) -> Callable[[HTTPOptions, Color], Engine]:
    fast = options.engine != "httpx2" and _has_aiohttp(required=options.engine == "aiohttp") and color == "asyncio"
    # Of all engines only a client knows what the environment may say.
    return _client_engine if options.trust_env else _fast_lanes if fast else _lanes


def _has_aiohttp(required: bool) -> bool:
    from importlib.util import find_spec

    found = find_spec("aiohttp") is not None
    if required and not found:
        raise ConfigError('aiohttp is not installed; pip install "llmgate[fast]"', path="http.engine")
    return found


def _lanes(options: HTTPOptions, color: Color) -> Engine:
    from .lanes import Lanes

    if color == "asyncio":
        from .loop_line import Names
        from .loop_port import AsyncPort

        return Lanes(options, partial(AsyncPort, Names()))
    from .thread_port import ThreadPort

    return Lanes(options, ThreadPort)


def _fast_lanes(options: HTTPOptions, color: Color) -> Engine:
    from .aiohttp import AiohttpPort
    from .lanes import Lanes
    from .loop_line import Names

    return Lanes(options, partial(AiohttpPort, Names()))


def _client_engine(options: HTTPOptions, color: Color, client: Any = None) -> Engine:
    from .client import ClientEngine

    return ClientEngine(options, color, client)
