"""One HTTP request to the gateway as plain values, whoever received it, and what it says in our words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from ..dialects.base import Dialect
from ..errors import BadRequest, PermissionDenied
from ..policies.keyring import Caller
from ..runtime.accepting import options
from ..types.call import Options
from ..types.request import Request
from ..types.wire import loads
from .spoken import Spoken

__all__ = ["Asked", "Lines", "is_readable", "key_apart", "options_of", "read", "unread"]

Lines = list[tuple[bytes, bytes]]
"""Header lines, names in lower case: as ASGI has them."""

OPTIONS = {
    b"x-llmgate-tenant": "tenant",
    b"x-llmgate-tags": "tags",
    b"x-llmgate-cache": "cache",
    b"x-llmgate-timeout": "timeout",
    b"x-llmgate-unsupported": "unsupported",
}
"""Headers that are options of the call, as `gateway.scope` has them."""
CACHE_WORDS: dict[str, Any] = {"true": True, "false": False, "no-cache": "no-cache", "no-store": "no-store"}

FORM = "multipart/form-data"
FORMS = frozenset({"image", "transcribe"})
"""Verbs that a form may ask for."""


@dataclass
class Asked:
    """
    What somebody's SDK sent.

    Attributes:
        origin: Whom its client was made for, `scheme://host:port` in lower case; empty if nobody stands there.
        path: As it was written, escapes included.
        query: Without its question mark.
        timeout_s: Seconds that the client itself waits for an answer; None if it leaves that to the gateway.
        caller: Whose key it showed; None where nobody is asked for one.
    """

    method: str
    origin: str
    path: str
    query: str = ""
    headers: Lines = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout_s: float | None = None
    caller: Caller | None = None

    @cached_property
    def named(self) -> dict[bytes, bytes]:
        """Headers by name; of several the last."""
        return dict(self.headers)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def header(self, name: bytes) -> str | None:
        value = self.named.get(name)
        return None if value is None else value.decode("latin-1")


def is_readable(asked: Asked, words: Spoken) -> bool:
    """Whether the body is of a sort that can be read."""
    sort = asked.header(b"content-type")
    return not sort or sort.startswith("application/json") or (words.verb in FORMS and sort.startswith(FORM))


def read(asked: Asked, words: Spoken, dialect: Dialect) -> Request:
    """
    The request in our words.

    Raises:
        BadRequest: If its body is none.
    """
    sort = asked.header(b"content-type")
    if sort and sort.startswith(FORM):
        from ..dialects.multipart import read_form

        data: Any = read_form(sort, asked.body)
    else:
        try:
            data = loads(asked.body) if asked.body else None
        except ValueError as error:
            raise BadRequest(f"the body is not JSON: {error}") from None
    if isinstance(data, dict):
        # What the format says in the address or in a header is told with the rest.
        if words.streams:
            data["stream"] = True
        if words.dialect.startswith("anthropic") and (betas := asked.header(b"anthropic-beta")):
            data["betas"] = [beta.strip() for beta in betas.split(",")]
    return dialect.read_request(words.verb, data)


def unread(asked: Asked) -> Request:
    """A request that passes through as it is."""
    request = Request("request", "", None, True, asked.body, asked.method, asked.target)
    if sort := asked.header(b"content-type"):
        request.headers = [("content-type", sort)]
    return request


def options_of(asked: Asked, scope: Callable[[], Options]) -> Options | None:
    """
    What the headers say about the call; None if they say nothing.

    Raises:
        BadRequest: If one says what it cannot.
        PermissionDenied: If it asks on behalf of somebody for whom its key does not speak.
    """
    said: dict[str, Any] = {OPTIONS[name]: value.decode("latin-1") for name, value in asked.headers if name in OPTIONS}
    caller = asked.caller
    if not said and caller is None:
        return None
    if "tags" in said:
        said["tags"] = _pairs("tags", said["tags"])
    if "cache" in said:
        word = said["cache"].strip().lower()
        said["cache"] = CACHE_WORDS[word] if word in CACHE_WORDS else _pairs("cache", word)
    if caller is not None:
        if caller.tenant is not None and said.setdefault("tenant", caller.tenant) != caller.tenant:
            raise PermissionDenied("x-llmgate-tenant: this key does not speak for that tenant; leave the header out")
        if caller.tags:
            said["tags"] = said.get("tags", {}) | caller.tags
    return options(said, scope)


def _pairs(name: str, value: str) -> dict[str, str]:
    """`name=value, name=value` as a dict."""
    found: dict[str, str] = {}
    for part in value.split(","):
        key, equals, said = part.partition("=")
        if not equals or not key.strip():
            raise BadRequest(f"x-llmgate-{name}: write name=value, name=value")
        found[key.strip()] = said.strip()
    return found


def key_apart(asked: Asked) -> Asked:
    """Google takes a key in the address, too, where logs would keep it; from here on it travels in its header."""
    parts = asked.query.split("&")
    key = next((part for part in parts if part.startswith("key=")), None)
    if key is None:
        return asked
    line = (b"x-goog-api-key", unquote(key.removeprefix("key=")).encode("latin-1", "replace"))
    return replace(asked, query="&".join(part for part in parts if part != key), headers=[*asked.headers, line])
