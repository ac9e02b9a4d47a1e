"""What of OpenAI's chat has no word in a smaller format: which values ask for nothing, and what changes no answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest

__all__ = ["HINTS", "NEUTRAL", "refused"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "modalities": (["text"],),
        "moderation": (),
        "n": (1,),
        "parallel_tool_calls": (True,),
        "service_tier": ("auto", "default"),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
)
"""OpenAI's parameters that such a format cannot express, and the values of each that ask for nothing."""

HINTS = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "stream_options",
        "user",
    }
)
"""OpenAI's parameters that change no answer: bookkeeping and speed. Usage comes in any case."""


def refused(name: str, whom: str) -> BadRequest:
    """The error for a parameter that asks for what a format cannot say."""
    return BadRequest(f"{name}: {whom} cannot express it; leave it out or name another provider")
