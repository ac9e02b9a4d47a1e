"""OpenAI, and everybody who speaks its language."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from ..dialects.base import Written
from ..errors import ConfigError
from ..types.request import Request
from ..types.secret import Credential, Secret
from .catalog import ROWS, Row, row_named
from .http import HTTPProvider
from .tokens import Token

__all__ = ["AzureOpenAI", "OpenAI", "OpenAICompatible"]

DIALECT = "openai_chat"


class _Speaker(HTTPProvider):
    """Whoever may be asked in either of OpenAI's two formats."""

    api: Literal["chat", "responses"] = Field(
        default="chat", description="whether chats go over Chat Completions or over the Responses API"
    )

    def dialect(self, model: str = "") -> str:
        return "openai_responses" if self.api == "responses" else super().dialect(model)


class OpenAI(_Speaker):
    """OpenAI. The key comes from `api_key` or `OPENAI_API_KEY`."""

    kind = "openai"

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        # Whoever writes another address means somebody else who speaks like OpenAI.
        return super().capabilities(model) if self.usual() else None


class OpenAICompatible(_Speaker):
    """
    Any server that speaks OpenAI's chat completions.

    `vendor` names a row of the catalog (`groq`, `mistral`, `ollama`, …), which brings address, key variable and quirks;
    without one give `base_url`, and `api_key` if the server wants one.
    """

    kind = "openai-compatible"

    vendor: str = Field(default="", description="a row of the catalog")

    @property
    def row(self) -> Row:
        return row_named(self.vendor) or super().row

    @field_validator("vendor")
    @classmethod
    def _known(cls, vendor: str) -> str:
        row = row_named(vendor)
        if vendor and (row is None or row.dialect != DIALECT):
            known = ", ".join(row.name for row in ROWS if row.dialect == DIALECT)
            raise ValueError(f"there is no vendor {vendor!r}; known are {known}")
        return row.name if row is not None else ""

    def label(self) -> str:
        return self.name or self.vendor or self.kind


class AzureOpenAI(_Speaker):
    """
    OpenAI's models on Azure. Its "models" are the names of your deployments.

    With `api_version` the older, versioned paths are used, else `/openai/v1`. Instead of a key, `api_key` takes a
    function that returns a token of Entra ID, such as `azure.identity.get_bearer_token_provider` makes, of either colour.
    """

    kind = "azure"

    resource: str = Field(
        default="", pattern="^[A-Za-z0-9-]*$", description="the resource's name: https://NAME.openai.azure.com"
    )
    api_version: str = Field(
        default="", pattern="^[A-Za-z0-9-]*$", description="such as 2024-10-21; empty: the v1 paths, which need none"
    )

    def url(self) -> str:
        url = self.base_url or (f"https://{self.resource}.openai.azure.com" if self.resource else "")
        if not url:
            raise ConfigError("resource or base_url is missing; write resource: NAME for https://NAME.openai.azure.com")
        if urlsplit(url).path.strip("/"):
            return url  # whoever writes a path writes the whole of it
        return f"{url.rstrip('/')}/openai" if self.api_version else f"{url.rstrip('/')}/openai/v1"

    def usual(self) -> bool:
        # The address is the resource's, so there is no one place; but all of them are Microsoft's.
        host = urlsplit(self.url()).hostname or ""
        return host.endswith(AZURE_HOSTS)

    def credential(self, secret: Secret, origin: str) -> Credential:
        # A token travels as tokens do, where a key has a header of Azure's own.
        return Credential(secret, origin) if isinstance(secret, Token) else super().credential(secret, origin)

    def target(self, base: str, written: Written, request: Request) -> str:
        if not self.api_version:
            return base + written.path
        # `/openai` has a path for each deployment, `/models` is told in the body.
        deployment = (
            f"/deployments/{quote(request.model, safe='')}" if request.model and base.endswith("/openai") else ""
        )
        mark = "&" if "?" in written.path else "?"
        return f"{base}{deployment}{written.path}{mark}api-version={self.api_version}"


AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.us")
