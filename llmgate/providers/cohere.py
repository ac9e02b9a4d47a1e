"""Cohere's own API."""

from __future__ import annotations

from .http import HTTPProvider

__all__ = ["Cohere"]


class Cohere(HTTPProvider):
    """Cohere. The key comes from `api_key`, `COHERE_API_KEY` or `CO_API_KEY`, the name its own client reads."""

    kind = "cohere"
