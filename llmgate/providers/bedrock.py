"""
Amazon Bedrock: its four APIs with a bearer key, or with every request signed.

A signature covers one request, its body included, and holds for minutes, so it is made when the request is sent.
botocore makes it (Signature Version 4); a bearer key needs nothing of Amazon's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from ..errors import AuthenticationFailed, ConfigError
from ..types.deployment import ProviderCapability as Able
from ..types.response import Answer
from ..types.secret import Credential, Secret
from ..types.usage import Usage
from ..types.wire import WireRequest
from .http import HTTPProvider

__all__ = ["Bedrock"]

SERVICE = "bedrock"
"""What the requests are signed for."""

REGION = re.compile(r"[a-z0-9-]+")
AMAZONS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""Hosts to which keys out of the environment may go."""

DIALECTS: Mapping[str, str] = {
    "converse": "bedrock",
    "invoke": "bedrock_invoke",
    "chat": "openai_chat",
    "responses": "openai_responses",
}
"""The wire format of each API."""

ALONE = frozenset({Able.TEXT_COMPLETION, Able.EMBEDDINGS, Able.TOKEN_COUNTING})
"""What Amazon has in its own APIs alone."""

KEY_ID, KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


class Bedrock(HTTPProvider):
    """
    Models on Amazon Bedrock, in one region. Its models are ids, inference profiles and ARNs.

    `converse` is the same for all models; `invoke` knows what a model's maker knows, and text completions; `chat` and
    `responses` are OpenAI's, for the models that have them.

    It takes, in this order: `api_key`; `aws_credentials`; `access_key_id` and `secret_access_key`; and out of the
    environment `AWS_BEARER_TOKEN_BEDROCK`, or `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`. All
    but bearer keys need the extra `bedrock`.

    For a profile or a role, give what botocore finds:
    `aws_credentials=botocore.session.get_session().get_credentials().get_frozen_credentials`.

    Raises:
        ConfigError: When it is bound without region or credentials, or without botocore if it has to sign.
    """

    kind = "bedrock"

    api: Literal["converse", "invoke", "chat", "responses"] = Field(
        default="converse", description="which of Amazon's APIs chats go over"
    )
    region: str = Field(
        default="",
        pattern="^[a-z0-9-]*$",
        description="such as eu-central-1; by default AWS_REGION or AWS_DEFAULT_REGION",
    )
    access_key_id: str = Field(default="", pattern="^[A-Za-z0-9]*$", description="id of the key to sign with")
    secret_access_key: Secret | None = Field(default=None, description="the key to sign with")
    session_token: Secret | None = Field(default=None, description="what belongs to a key that lives for hours only")
    aws_credentials: Callable[[], Any] | None = Field(
        default=None,
        exclude=True,
        repr=False,
        description="returns `access_key`, `secret_key` and `token` that are still good; it is asked for every request "
        "and must not wait long, so let it keep them",
    )

    def url(self) -> str:
        if self.base_url:
            return self.base_url
        region = self._region()
        host = f"https://bedrock-runtime.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
        return f"{host}/openai/v1" if self.api in ("chat", "responses") else host

    def dialect(self, model: str = "") -> str:
        return DIALECTS[self.api]

    def capabilities(self, model: str = "") -> frozenset[str] | None:
        known = super().capabilities(model) or frozenset()
        return known - ALONE if self.api in ("chat", "responses") else known

    def told_beside(self, answer: Answer, headers: Mapping[str, str]) -> None:
        usage = answer.usage
        if usage.input_tokens is None or usage.output_tokens is None:
            answer.usage = usage.max(_counted(headers))

    def usual(self) -> bool:
        # The address is the region's, so there is no one place; but all of them are Amazon's.
        return not self.base_url or (urlsplit(self.base_url).hostname or "").endswith(AMAZONS)

    def secrets(self) -> list[Secret]:
        signature = self._signature("")
        return super().secrets() if signature is None else [signature.secret]

    def credential(self, secret: Secret, origin: str) -> Credential:
        return self._signature(origin) or super().credential(secret, origin)

    def _region(self) -> str:
        region = self.region or self._variable("AWS_REGION") or self._variable("AWS_DEFAULT_REGION")
        if not region:
            raise ConfigError("region is missing; write region: NAME such as eu-central-1, or set AWS_REGION")
        if REGION.fullmatch(region) is None:
            raise ConfigError("AWS_REGION is no name of a region; write one such as eu-central-1")
        return region

    def _variable(self, name: str) -> str:
        return (os.environ if self._environ is None else self._environ).get(name, "")

    def _signature(self, origin: str) -> _Signature | None:
        """
        What signs the requests; None if a bearer key travels in them.

        Raises:
            ConfigError: If there is nothing to sign with, and no bearer key either.
        """
        given = (self.aws_credentials, self.access_key_id or None, self.secret_access_key, self.session_token)
        signs = any(one is not None for one in given)
        if self.api_key is not None:
            if signs:
                raise ConfigError("api_key is a bearer key; give it or credentials to sign with, and not both")
            return None
        if self.aws_credentials is not None:
            name = f"the AWS credentials of {self.label()!a} in {self._region()}"
            return _signature(origin, Secret(name), self.aws_credentials, self._region())
        if signs:
            if not self.access_key_id or self.secret_access_key is None:
                raise ConfigError("access_key_id and secret_access_key belong together; give both")
            return self._fixed(origin, self.access_key_id, self.secret_access_key, self.session_token)
        # Whoever names another address names its key; the bearer key comes first, as for Amazon's SDKs.
        if not self.usual() or self._variable(*self.row.key_env):
            return None
        key, token = (self._secret(name) for name in (KEY, TOKEN))
        if key is None or not self._variable(KEY_ID):
            bearer = self.row.key_env[0]
            raise ConfigError(f"no credentials; set {bearer}, or {KEY_ID} and {KEY}, in the environment, or api_key")
        return self._fixed(origin, self._variable(KEY_ID), key, token)

    def _secret(self, name: str) -> Secret | None:
        """A key in the environment."""
        try:
            return Secret(self._variable(name)) if self._variable(name) else None
        except ConfigError as error:
            raise ConfigError(f"{name}: {error.message}") from None

    def _fixed(self, origin: str, key_id: str, key: Secret, token: Secret | None) -> _Signature:
        keys = _Keys(key_id, key, token)
        return _signature(origin, Secret(key_id), lambda: keys, self._region())


def _counted(headers: Mapping[str, str]) -> Usage:
    """Amazon's own counts, for the models whose bodies have none."""
    fresh, written, from_cache, to_cache = (
        int(count) if (count := headers.get(f"x-amzn-bedrock-{name}-token-count", "")).isdecimal() else None
        for name in ("input", "output", "cache-read-input", "cache-write-input")
    )
    # To Amazon what the cache read or wrote is no input.
    read = None if fresh is None else fresh + (from_cache or 0) + (to_cache or 0)
    return Usage(read, written, from_cache, to_cache)


class _Keys:
    """What botocore wants to know, without showing it to anybody else."""

    __slots__ = ("_secret", "_token", "access_key")

    def __init__(self, access_key: str, secret: Secret, token: Secret | None) -> None:
        self.access_key = access_key
        self._secret = secret
        self._token = token

    @property
    def secret_key(self) -> str:
        return self._secret.reveal()

    @property
    def token(self) -> str | None:
        return None if self._token is None else self._token.reveal()


def _signature(origin: str, secret: Secret, ask: Callable[[], Any], region: str) -> _Signature:
    """
    What signs, as long as something can.

    Raises:
        ConfigError: If botocore is missing.
    """
    try:
        import botocore.auth
        import botocore.awsrequest  # noqa: F401
    except ImportError:
        raise ConfigError('botocore, which signs, is not installed; pip install "llmgate[bedrock]"') from None
    return _Signature(secret, origin, ask=ask, region=region)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature(Credential):
    """
    Signs each request when it is sent. Its `secret` is only the name of the key, which itself goes nowhere.

    Attributes:
        ask: Returns the keys.
        region: The region they are to hold in.
    """

    ask: Callable[[], Any] = field(repr=False)
    region: str

    def lines(self, request: WireRequest) -> list[tuple[str, str]]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        # Host and what is Amazon's own is signed in any case. What else travels is nobody's business.
        signed = AWSRequest(
            request.method,
            request.origin + request.target,
            {name: value for name, value in request.headers if name == "content-type"},
            request.body,
        )
        try:
            SigV4Auth(self.ask(), SERVICE, self.region).add_auth(signed)
        except Exception as error:
            raise AuthenticationFailed(f"the request cannot be signed: {type(error).__name__}") from error
        return [(name.lower(), value) for name, value in signed.headers.items() if name.lower() != "content-type"]
