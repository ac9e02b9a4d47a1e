"""OpenAI, and everybody who speaks its language."""

from __future__ import annotations

from pydantic import Field, field_validator

from ..dialects.base import Written
from ..errors import ConfigError
from ..types.request import Request
from .catalog import ROWS, Row
from .http import HTTPProvider

__all__ = ["AzureOpenAI", "OpenAI", "OpenAICompatible"]


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


class OpenAI(HTTPProvider):
    """OpenAI. The key comes from `api_key` or `OPENAI_API_KEY`."""

    kind = "openai"
    row = _row("openai")


class OpenAICompatible(HTTPProvider):
    """
    Any server that speaks OpenAI's chat completions.

    `vendor` names a row of the catalog (`groq`, `mistral`, `ollama`, …), which brings address, key variable and quirks;
    without one give `base_url`, and `api_key` if the server wants one.
    """

    kind = "openai-compatible"
    row = _row("openai-compatible")

    vendor: str = Field("", description="a row of the catalog")

    @property
    def row(self) -> Row:  # type: ignore[override]
        return _row(self.vendor or "openai-compatible")

    @field_validator("vendor")
    @classmethod
    def _known(cls, vendor: str) -> str:
        rows = [row.name for row in ROWS if row.dialect == "openai_chat"]
        if vendor and vendor not in rows:
            raise ValueError(f"there is no vendor {vendor!r}; known are {', '.join(rows)}")
        return vendor

    def label(self) -> str:
        return self.name or self.vendor or self.kind


class AzureOpenAI(HTTPProvider):
    """
    OpenAI's models on Azure. Its "models" are the names of your deployments.

    With `api_version` the older, versioned paths are used, else `/openai/v1`.
    """

    kind = "azure"
    row = _row("azure")

    resource: str = Field("", description="the resource's name: https://NAME.openai.azure.com")
    api_version: str = Field("", description="such as 2024-10-21; empty: the v1 paths, which need none")

    def url(self) -> str:
        url = self.base_url or (f"https://{self.resource}.openai.azure.com" if self.resource else "")
        if not url:
            raise ConfigError("resource or base_url is missing; write resource: NAME for https://NAME.openai.azure.com")
        url = url.rstrip("/")
        return url if "/openai" in url else f"{url}/openai" if self.api_version else f"{url}/openai/v1"

    def target(self, base: str, written: Written, request: Request) -> str:
        if not self.api_version:
            return base + written.path
        middle = f"/deployments/{request.model}" if request.model else ""
        return f"{base}{middle}{written.path}?api-version={self.api_version}"

