"""The section `server`: where the gateway listens as a server, who may ask, and how much one request may take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from ..errors import ConfigError
from ..policies.keyring import HASH, Caller, Keyring
from ..types.secret import Secret
from ..types.units import Duration, Size, shown
from .explaining import refusal
from .short_forms import listed

__all__ = ["PEPPER", "KeySettings", "ServerSettings", "is_loopback"]

PEPPER = "LLMGATE_PEPPER"
"""The variable in which the pepper is looked for, if the configuration does not give it."""

BODY_MAX_BYTES = 32 * 10**6  # what the gateway takes in process, too
ANY_TENANT = "*"

_Texts = Annotated[
    tuple[str, ...], BeforeValidator(listed, json_schema_input_type=tuple[str, ...] | str)
]  # fmt: skip


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class KeySettings(_Options):
    """One key that callers may show; `python -m llmgate key` makes one."""

    hash: str = Field(description="`hmac-sha256:` and 64 hex digits; the key itself is kept nowhere")
    name: str = Field(min_length=1, description="what you call its owner")
    tenant: str | None = Field(
        default=None, description='on whose behalf its calls are; none: its name; `"*"`: as each request says'
    )
    tags: dict[str, str] = Field(default_factory=dict, description="labels of its calls, which requests cannot change")
    routes: _Texts = Field(
        default=("*",), description="what it may ask for: routes and `provider/model`, `*` at the end for any rest"
    )
    operator: bool = Field(default=False, description="whether it may read /metrics and the details of /health")

    @field_validator("hash")
    @classmethod
    def _is_hash(cls, value: str) -> str:
        if not HASH.fullmatch(value):
            # Not shown: who writes something else here probably means the key.
            raise ValueError("this is no hash of a key; `python -m llmgate key` prints one")
        return value

    def caller(self) -> Caller:
        """The same as the value that decides."""
        tenant = self.name if self.tenant is None else self.tenant
        return Caller(self.name, None if tenant == ANY_TENANT else tenant, self.tags, self.routes, self.operator)


class ServerSettings(_Options):
    """The gateway as a server for other languages: `python -m llmgate serve`, or `gateway.asgi()`."""

    host: str = Field(default="127.0.0.1", description="address to listen on; one that others reach needs `keys`")
    port: int = Field(default=8080, ge=0, le=65535, description="0: any that is free")
    keys: tuple[KeySettings, ...] = Field(default=(), description="who may ask; none: whoever is on this machine")
    pepper: Secret | None = Field(
        default=None, description="secret part of the keys' hashes; none: the variable LLMGATE_PEPPER"
    )
    key_header: str = Field(
        default="", description="one more header in which callers may show their key, besides those of the SDKs"
    )
    max_body: Size = Field(default=BODY_MAX_BYTES, gt=0, description="largest request; a larger one is a 413")
    request_timeout: Duration = Field(
        default=30.0, gt=0, description="how long a request's headers, and then its body, may take to arrive"
    )
    write_timeout: Duration = Field(
        default=60.0, gt=0, description="how long a client may leave unread what was sent to it"
    )
    drain: Duration = Field(
        default=30.0, ge=0, description="how long requests may go on after the server was told to stop"
    )
    cors: _Texts = Field(default=(), description='origins of web pages that may ask; `"*"`: all')
    tls_certificate: str = Field(default="", description="file with the certificate, and those that lead to it")
    tls_key: str = Field(default="", description="file with its private key")

    _environ: Mapping[str, str] | None = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        self._environ = (context or {}).get("environ")

    @field_validator("key_header")
    @classmethod
    def _is_header(cls, value: str) -> str:
        if value and not (value.isascii() and value.replace("-", "").isalnum()):
            raise ValueError(f"{shown(value)} is no name of a header")
        return value.lower()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise refusal((("tls_key",), self.tls_key, "tls_certificate and tls_key go together; give both or neither"))
        hashes = [key.hash for key in self.keys]
        for at, one in enumerate(hashes):
            if one in hashes[:at]:
                raise refusal((("keys", at, "hash"), "", "this key is listed twice"))
        return self

    def keyring(self) -> Keyring:
        """
        Who may ask, by their keys.

        Raises:
            ConfigError: If there are keys and no pepper.
        """
        if not self.keys:
            return Keyring("", {})
        return Keyring(self.find_pepper().reveal(), {key.hash: key.caller() for key in self.keys})

    def find_pepper(self) -> Secret:
        """
        The pepper, or the one in the environment.

        Raises:
            ConfigError: If there is none.
        """
        if self.pepper is not None:
            return self.pepper
        found = (os.environ if self._environ is None else self._environ).get(PEPPER, "")
        if not found:
            raise ConfigError(f"missing; set the variable {PEPPER} to what the keys were hashed with", path=PEPPER_PATH)
        return Secret(found)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Why this cannot be served: places and reasons."""
        if not self.keys and not is_loopback(self.host):
            yield (
                "server.keys",
                f"others can reach {self.host}, and whoever asks would spend your money; add a key "
                "(`python -m llmgate key` prints one), or listen on 127.0.0.1",
            )
        try:
            self.keyring()
        except ConfigError as error:
            yield PEPPER_PATH, error.message.removeprefix(f"{PEPPER_PATH}: ")


PEPPER_PATH = "server.pepper"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
