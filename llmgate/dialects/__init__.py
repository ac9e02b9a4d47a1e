"""Wire formats, found by name. A format is loaded when it is first named."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    from .base import Dialect

__all__ = ["DIALECTS", "dialect_named"]

DIALECTS: Mapping[str, str] = MappingProxyType(
    {
        "anthropic_messages": "AnthropicMessages",
        "anthropic_vertex": "AnthropicVertex",
        "bedrock": "Bedrock",
        "bedrock_invoke": "BedrockInvoke",
        "cohere": "Cohere",
        "gemini": "Gemini",
        "gemini_interactions": "GeminiInteractions",
        "ollama": "Ollama",
        "openai_chat": "OpenAIChat",
        "openai_responses": "OpenAIResponses",
    }
)
"""Name of the format, which is the name of its module, and the class that speaks it."""


def dialect_named(name: str) -> Dialect:
    """
    The dialect of this name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in DIALECTS:
        raise ConfigError(f"there is no dialect {name!r}; known are {', '.join(DIALECTS)}")
    module = import_module(f".{name}", __name__)
    return cast("Dialect", getattr(module, DIALECTS[name])())
