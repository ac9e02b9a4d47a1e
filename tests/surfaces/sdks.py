"""SDKs on top of a gateway, in the colour of the test."""

from __future__ import annotations

from typing import Any

import anthropic
import openai

from llmgate import Gateway
from llmgate.testing import ScriptedServer
from tests.conftest import Colour

__all__ = ["HELLO", "KEY", "anthropic_on", "client_of", "config", "openai_on"]

KEY = "sk-upstream-0123456789abcdef"
HELLO: Any = [{"role": "user", "content": "hello"}]
HERE = "http://llmgate"


def client_of(colour: Colour, gateway: Gateway, kind: Any = "httpx2") -> Any:
    """The gateway's HTTP client in the colour."""
    return gateway.http_client(kind) if colour.blocking else gateway.aio.http_client(kind)


def openai_on(colour: Colour, gateway: Gateway, base_url: str = f"{HERE}/v1", **options: Any) -> Any:
    """An `openai` client; without a base URL one that was made for the gateway itself."""
    make: Any = openai.OpenAI if colour.blocking else openai.AsyncOpenAI
    options = {"api_key": "unused", "http_client": client_of(colour, gateway)} | options
    return make(base_url=base_url, **options)


def anthropic_on(colour: Colour, gateway: Gateway, base_url: str = HERE, **options: Any) -> Any:
    """An `anthropic` client; without a base URL one that was made for the gateway itself."""
    make: Any = anthropic.Anthropic if colour.blocking else anthropic.AsyncAnthropic
    options = {"api_key": "unused", "http_client": client_of(colour, gateway)} | options
    return make(base_url=base_url, **options)


def config(server: ScriptedServer, kind: str = "openai-compatible", **sections: Any) -> dict[str, Any]:
    """One upstream, a route to it, and no second attempt."""
    base_url = f"{server.origin}/v1beta" if kind == "gemini" else server.base_url
    upstream = {"kind": kind, "base_url": base_url, "api_key": KEY}
    return {"providers": {"up": upstream}, "routes": {"fast": ["up/m"]}, "retry": {"max_attempts": 1}} | sections
