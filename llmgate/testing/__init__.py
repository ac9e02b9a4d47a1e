"""What tests are made of: an HTTP server that keeps to a script, an upstream without a network, a clock that is told.

    with ScriptedServer(error(429, headers={"retry-after": "7"}), chat("hello")) as server:
        ...                                    # a real server on the loopback, for any client

    upstream = Script(RateLimited(retry_after=7), "hello")     # a handler, for the middleware under test
    runtime = VirtualRuntime()                                 # hours pass in milliseconds

Nothing here imports a test framework; the context managers make fixtures in any of them.
"""

from __future__ import annotations

from ..runtime.virtual import VirtualRuntime
from .answers import (
    anthropic_error,
    anthropic_message,
    anthropic_stream,
    chat,
    embeddings,
    error,
    html,
    models,
    recorded,
    replay,
    sse,
    stream,
)
from .provider import Cut, Delay, Item, Piece, Script, call_for
from .server import Answering, Received, ScriptedServer
from .steps import (
    LAST_CHUNK,
    Close,
    Hang,
    Headers,
    Pause,
    Repeat,
    Reset,
    Step,
    Steps,
    Trickle,
    Wire,
    chunk,
    chunked,
    cut,
    gzip_bomb,
    gzipped,
    head,
    http_response,
    http_stream,
    raw,
    split,
)

__all__ = [
    "LAST_CHUNK",
    "Answering",
    "Close",
    "Cut",
    "Delay",
    "Hang",
    "Headers",
    "Item",
    "Pause",
    "Piece",
    "Received",
    "Repeat",
    "Reset",
    "Script",
    "ScriptedServer",
    "Step",
    "Steps",
    "Trickle",
    "VirtualRuntime",
    "Wire",
    "anthropic_error",
    "anthropic_message",
    "anthropic_stream",
    "call_for",
    "chat",
    "chunk",
    "chunked",
    "cut",
    "embeddings",
    "error",
    "gzip_bomb",
    "gzipped",
    "head",
    "html",
    "http_response",
    "http_stream",
    "models",
    "raw",
    "recorded",
    "replay",
    "split",
    "sse",
    "stream",
]
