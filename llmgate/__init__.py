"""
An LLM gateway that lives inside your program.

    from llmgate import Gateway

    gateway = Gateway({"providers": {"openai": {}}, "routes": {"fast": ["openai/gpt-4o-mini"]}})
    print(gateway.chat("fast", "Why is the sky blue?").text)

Names are imported when they are first used; importing the package itself does nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        AllAttemptsFailed as AllAttemptsFailed,
        AuthenticationFailed as AuthenticationFailed,
        BadRequest as BadRequest,
        BudgetExceeded as BudgetExceeded,
        CircuitOpen as CircuitOpen,
        ConfigError as ConfigError,
        ConnectionFailed as ConnectionFailed,
        ContentFiltered as ContentFiltered,
        ContextWindowExceeded as ContextWindowExceeded,
        DeadlineExceeded as DeadlineExceeded,
        GatewayClosed as GatewayClosed,
        GatewayError as GatewayError,
        LimitReached as LimitReached,
        ModelNotFound as ModelNotFound,
        Overloaded as Overloaded,
        PermissionDenied as PermissionDenied,
        ProtocolError as ProtocolError,
        QuotaExhausted as QuotaExhausted,
        RateLimited as RateLimited,
        StreamInterrupted as StreamInterrupted,
        UpstreamError as UpstreamError,
        UpstreamTimeout as UpstreamTimeout,
    )
    from .gateway import Gateway as Gateway
    from .middleware.attempts import Retry as Retry
    from .middleware.base import Middleware as Middleware
    from .middleware.breaker import CircuitBreaker as CircuitBreaker
    from .middleware.cache import Cache as Cache
    from .middleware.health import LoadBalance as LoadBalance
    from .middleware.limits import RateLimit as RateLimit
    from .middleware.single_flight import SingleFlight as SingleFlight
    from .middleware.timeouts import Timeouts as Timeouts
    from .providers.anthropic import Anthropic as Anthropic
    from .providers.base import Provider as Provider
    from .providers.bedrock import Bedrock as Bedrock
    from .providers.cohere import Cohere as Cohere
    from .providers.function import Function as Function
    from .providers.google import Gemini as Gemini, VertexAI as VertexAI
    from .providers.ollama import Ollama as Ollama
    from .providers.openai import AzureOpenAI as AzureOpenAI, OpenAI as OpenAI, OpenAICompatible as OpenAICompatible
    from .providers.simulated import Simulated as Simulated
    from .runtime.jobs import AsyncVideoJob as AsyncVideoJob, VideoJob as VideoJob
    from .types.call import Attempt as Attempt, Call as Call, Handler as Handler
    from .types.deployment import ProviderCapability as ProviderCapability
    from .types.media import (
        Binary as Binary,
        Image as Image,
        Images as Images,
        Moderation as Moderation,
        Moderations as Moderations,
        Ranked as Ranked,
        Ranking as Ranking,
        Span as Span,
        Speech as Speech,
        TokenCount as TokenCount,
        Transcription as Transcription,
        Video as Video,
    )
    from .types.reply import Outcome as Outcome, Reply as Reply
    from .types.request import Message as Message, Request as Request
    from .types.response import (
        Chunk as Chunk,
        Embeddings as Embeddings,
        Models as Models,
        RawResponse as RawResponse,
        Response as Response,
        ToolCall as ToolCall,
    )
    from .types.secret import Secret as Secret
    from .types.usage import Usage as Usage

__version__ = "0.1.0"

_ERRORS = (
    "AllAttemptsFailed", "AuthenticationFailed", "BadRequest", "BudgetExceeded", "CircuitOpen", "ConfigError",
    "ConnectionFailed", "ContentFiltered", "ContextWindowExceeded", "DeadlineExceeded", "GatewayClosed", "GatewayError",
    "LimitReached", "ModelNotFound", "Overloaded", "PermissionDenied", "ProtocolError", "QuotaExhausted", "RateLimited",
    "StreamInterrupted", "UpstreamError", "UpstreamTimeout",
)  # fmt: skip

_PLACES = {
    **dict.fromkeys(_ERRORS, "errors"),
    "Anthropic": "providers.anthropic",
    "AsyncVideoJob": "runtime.jobs",
    "Attempt": "types.call",
    "AzureOpenAI": "providers.openai",
    "Bedrock": "providers.bedrock",
    "Binary": "types.media",
    "Cache": "middleware.cache",
    "Call": "types.call",
    "Chunk": "types.response",
    "CircuitBreaker": "middleware.breaker",
    "Cohere": "providers.cohere",
    "Embeddings": "types.response",
    "Function": "providers.function",
    "Gateway": "gateway",
    "Gemini": "providers.google",
    "Handler": "types.call",
    "Image": "types.media",
    "Images": "types.media",
    "LoadBalance": "middleware.health",
    "Message": "types.request",
    "Middleware": "middleware.base",
    "Models": "types.response",
    "Moderation": "types.media",
    "Moderations": "types.media",
    "Ollama": "providers.ollama",
    "OpenAI": "providers.openai",
    "OpenAICompatible": "providers.openai",
    "Outcome": "types.reply",
    "Provider": "providers.base",
    "ProviderCapability": "types.deployment",
    "Ranked": "types.media",
    "Ranking": "types.media",
    "RateLimit": "middleware.limits",
    "RawResponse": "types.response",
    "Reply": "types.reply",
    "Request": "types.request",
    "Response": "types.response",
    "Retry": "middleware.attempts",
    "Secret": "types.secret",
    "Simulated": "providers.simulated",
    "SingleFlight": "middleware.single_flight",
    "Span": "types.media",
    "Speech": "types.media",
    "Timeouts": "middleware.timeouts",
    "TokenCount": "types.media",
    "ToolCall": "types.response",
    "Transcription": "types.media",
    "Usage": "types.usage",
    "VertexAI": "providers.google",
    "Video": "types.media",
    "VideoJob": "runtime.jobs",
}

__all__ = sorted(_PLACES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{place}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
