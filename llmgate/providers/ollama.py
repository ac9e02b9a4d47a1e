"""Ollama's own API."""

from __future__ import annotations

from .http import HTTPProvider

__all__ = ["Ollama"]


class Ollama(HTTPProvider):
    """
    Ollama, on this machine or where `base_url` says, by its own API.

    It takes what the compatible one has no words for: `options` such as `num_ctx`, and `keep_alive`. No key is needed;
    its cloud, `base_url: https://ollama.com`, wants one as `api_key`.
    """

    kind = "ollama-native"
