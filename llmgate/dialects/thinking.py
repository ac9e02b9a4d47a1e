"""How much a model is to think, told as an effort or as a budget of tokens.

In our shape `reasoning_effort` is OpenAI's, and `thinking` is Anthropic's, which Google's budgets and Cohere's are told
in, too: `{"type": "enabled", "budget_tokens": …}`, `{"type": "disabled"}`, or `{"type": "adaptive"}`, where the model
decides. A format that knows only one of the two is told the nearest of the other; where both are given, its own counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["TOKENS", "effort_of", "is_ours"]

TOKENS: Mapping[str, int] = MappingProxyType(
    {"minimal": 1024, "low": 2048, "medium": 10_000, "high": 16_384, "xhigh": 32_768, "max": 32_768}
)
"""What a model may think for each `reasoning_effort`; pydantic-ai's ANTHROPIC_THINKING_BUDGET_MAP."""


def effort_of(thinking: Mapping[str, Any]) -> str:
    """The least effort that may think as much as a budget allows; of a model that decides itself, the middle one."""
    if thinking["type"] == "disabled":
        return "none"
    budget = thinking.get("budget_tokens")
    if budget is None:
        return "medium"
    return next((effort for effort, tokens in TOKENS.items() if budget <= tokens), "xhigh")


def is_ours(thinking: Any) -> bool:
    """Whether it is told in the words of our shape, and not in those of a format's own."""
    return isinstance(thinking, dict) and thinking.keys() <= _OURS and thinking.get("type") in _SORTS


_OURS = frozenset({"type", "budget_tokens", "display"})
_SORTS = frozenset({"adaptive", "disabled", "enabled"})
