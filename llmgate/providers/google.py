"""Google's models: the Gemini API with a key, Vertex AI with a token, where Anthropic's stand beside them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..dialects import dialect_named
from ..dialects.base import Written
from ..errors import ConfigError
from ..types.request import Request
from ..types.secret import Secret
from .http import HTTPProvider
from .tokens import Ask, Token

__all__ = ["Gemini", "VertexAI"]


class Gemini(HTTPProvider):
    """
    The Gemini API. The key comes from `api_key`, `GEMINI_API_KEY` or `GOOGLE_API_KEY`.

    It travels in a header and never in the address, where logs would keep it.
    """

    kind = "gemini"

    api: Literal["generate", "interactions"] = Field(
        default="generate", description="whether chats go over generateContent or over the Interactions API"
    )

    def dialect(self, model: str = "") -> str:
        return "gemini_interactions" if self.api == "interactions" else super().dialect(model)


class VertexAI(HTTPProvider):
    """
    Google's models on Vertex AI, and Anthropic's: a `claude-…` is asked in the format of Anthropic's Messages.

    It wants an access token, and those live an hour. Give `token`, a function that returns one that is still good, or a
    token that lives long enough as `api_key`.
    """

    kind = "vertex"

    project: str = Field(default="", pattern="^[a-z0-9:.-]*$", description="the project's id")
    location: str = Field(default="global", pattern="^[a-z0-9-]+$", description="such as europe-west4")
    token: Ask | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description="returns an access token; it is asked for every request, so let it keep the token",
    )

    def url(self) -> str:
        if self.base_url:
            return self.base_url
        if not self.project:
            raise ConfigError("project is missing; write project: ID, and location: REGION if it is not global")
        host = "aiplatform" if self.location == "global" else f"{self.location}-aiplatform"
        return f"https://{host}.googleapis.com/v1/projects/{self.project}/locations/{self.location}{GOOGLES}"

    def dialect(self, model: str = "") -> str:
        return "anthropic_vertex" if _is_claude(model) else super().dialect(model)

    def verbs(self, model: str = "") -> frozenset[str]:
        # The paths in the catalog are those of Google's own models.
        return dialect_named(self.dialect(model)).verbs if _is_claude(model) else super().verbs(model)

    def target(self, base: str, written: Written, request: Request) -> str:
        if _is_claude(request.model) and base.endswith(GOOGLES):
            base = base.removesuffix(GOOGLES) + ANTHROPICS
        return base + written.path

    def secrets(self) -> list[Secret]:
        if self.token is not None:
            return [Token(self.token, f"{self.project}/{self.location}")]
        secrets = super().secrets()
        if not secrets:
            raise ConfigError("no token; give token, a function that returns an access token, or one as api_key")
        return secrets


GOOGLES, ANTHROPICS = "/publishers/google", "/publishers/anthropic"
"""Below which each maker's models stand."""


def _is_claude(model: str) -> bool:
    return model.startswith("claude")
