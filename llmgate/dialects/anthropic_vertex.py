"""
Anthropic's Messages as Google's Vertex AI hosts them: the same, but for where some things stand.

The model stands in the address, the version in the body, and an error may be one of Google's. Lists of models Vertex AI
has elsewhere.

Source: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai (checked 2026-11-20) and the client of
the `anthropic` package 2.11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from ..errors import BadRequest, GatewayError
from ..types.request import Request, Verb
from ..types.wire import loads
from .anthropic_counting import counting_reader, write_counting
from .anthropic_messages import AnthropicMessages
from .anthropic_requests import FORMAT, betas_of, read_hosted, write_hosted
from .base import Quirks, Written
from .gemini_errors import error_of as googles_error
from .shapes import encoded, heard

__all__ = ["VERSION", "AnthropicVertex"]

VERSION = "vertex-2023-10-16"
"""Sent as `anthropic_version`: the one that Google documents."""


class AnthropicVertex(AnthropicMessages):
    """Claude on Vertex AI, below `publishers/anthropic`."""

    name: str = "anthropic_vertex"
    verbs: frozenset[Verb] = frozenset({"chat", "request", "count_tokens"})

    def format(self, verb: Verb, model: str = "") -> str:
        return FORMAT

    def write_request(self, request: Request, quirks: Quirks) -> Written:
        if request.verb == "request":
            return Written(request.method, request.path, request.encoded)
        if request.verb == "count_tokens":
            # The model stands in the body for once, and the address names a model that counts.
            counted = write_counting(request) | {"anthropic_version": VERSION}
            return Written("POST", "/models/count-tokens:rawPredict", encoded(counted, request), betas_of(request))
        if request.verb != "chat":
            verbs = ", ".join(sorted(self.verbs))
            raise BadRequest(f"{request.verb}: Claude on Vertex AI has only {verbs}; name another provider")
        body = quirks.bend(write_hosted(request, VERSION))
        method = "streamRawPredict" if request.stream else "rawPredict"
        return Written(
            "POST", f"/models/{quote(request.model, safe='@')}:{method}", encoded(body, request), betas_of(request)
        )

    def read_request(self, verb: Verb, data: Any) -> Request:
        return heard(FORMAT, verb, data, _READERS)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        try:
            data = loads(body)
        except ValueError:
            data = None
        told = data[0] if isinstance(data, list) and data else data
        error = told.get("error") if isinstance(told, dict) else None
        if isinstance(error, dict) and "status" in error:
            return googles_error(status, headers, data)
        return super().read_error(status, headers, body)


_READ = partial(read_hosted, version=VERSION)
_READERS: Mapping[Verb, Callable[[Any], Request]] = {"chat": _READ, "count_tokens": counting_reader(_READ)}
