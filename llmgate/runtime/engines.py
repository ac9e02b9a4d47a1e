"""Which engine sends: httpx2's connections, aiohttp, or a client of the caller's. Each is imported when it is first made."""

from __future__ import annotations

from collections.abc import Callable
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
    asked = options.engine == "aiohttp" or (options.engine == "auto" and not options.trust_env)
    if asked and _has_aiohttp(required=options.engine == "aiohttp") and color == "asyncio":
        return _aiohttp_engine
    # Of the others only a client knows what the environment may say.
    return _client_engine if options.trust_env else _lanes


def _has_aiohttp(required: bool) -> bool:
    from importlib.util import find_spec

    found = find_spec("aiohttp") is not None
    if required and not found:
        raise ConfigError('aiohttp is not installed; pip install "llmgate[fast]"', path="http.engine")
    return found


def _lanes(options: HTTPOptions, color: Color) -> Engine:
    from .lanes import Lanes

    return Lanes(options, color)


def _client_engine(options: HTTPOptions, color: Color, client: Any = None) -> Engine:
    from .client import ClientEngine

    return ClientEngine(options, color, client)


def _aiohttp_engine(options: HTTPOptions, color: Color) -> Engine:
    from .aiohttp import AiohttpEngine

    return AiohttpEngine(options)
