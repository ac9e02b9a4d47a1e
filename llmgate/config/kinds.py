"""Which class a provider's section is the constructor of.

A section's `kind`, or without one its name, is looked up among our own classes, then among the rows of compatible
upstreams, then among the entry points `llmgate.providers` of other packages. A class is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ..errors import ConfigError
from ..providers.base import Provider
from ..providers.catalog import ROWS
from ..types.units import shown
from .explaining import suggestion

__all__ = ["ENTRY_POINTS", "known_kinds", "provider_class"]

ENTRY_POINTS = "llmgate.providers"
COMPATIBLE = "openai_chat"  # the dialect for which a row of the catalog is all that a provider needs

_OWN: Mapping[str, str] = {
    "openai": "llmgate.providers.openai:OpenAI",
    "azure": "llmgate.providers.openai:AzureOpenAI",
    "openai-compatible": "llmgate.providers.openai:OpenAICompatible",
    "anthropic": "llmgate.providers.anthropic:Anthropic",
    "gemini": "llmgate.providers.google:Gemini",
    "vertex": "llmgate.providers.google:VertexAI",
    "ollama-native": "llmgate.providers.ollama:Ollama",
    "cohere": "llmgate.providers.cohere:Cohere",
    "bedrock": "llmgate.providers.bedrock:Bedrock",
    "simulated": "llmgate.providers.simulated:Simulated",
}


def provider_class(kind: str) -> tuple[type[Provider], dict[str, Any]]:
    """
    The class of this kind or alias, and the options that the kind stands for.

    Raises:
        ConfigError: If there is none; names the nearest.
    """
    row = next((row for row in ROWS if kind == row.name or kind in row.aliases), None)
    name = row.name if row is not None else kind
    if name in _OWN:
        return _imported(_OWN[name]), {}
    if row is not None and row.dialect == COMPATIBLE:
        return _imported(_OWN["openai-compatible"]), {"vendor": name}
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        return entry.load(), {}
    raise ConfigError(
        f"{shown(kind)} is no known provider; {suggestion(kind, known_kinds())} "
        "(a server of your own is `kind: openai-compatible`)"
    )


def known_kinds() -> list[str]:
    """The names a section may have without further ado."""
    others = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    return sorted({*_OWN, *(row.name for row in ROWS if row.dialect == COMPATIBLE), *others})


def _imported(place: str) -> type[Provider]:
    module, _, name = place.partition(":")
    found: type[Provider] = getattr(import_module(module), name)
    return found
