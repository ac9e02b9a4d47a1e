"""Anthropic's Messages API."""

from __future__ import annotations

from .http import HTTPProvider

__all__ = ["Anthropic"]


class Anthropic(HTTPProvider):
    """Anthropic. The key comes from `api_key` or `ANTHROPIC_API_KEY`."""

    kind = "anthropic"
