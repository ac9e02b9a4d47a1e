"""Clients of other people's SDKs, as they stand, under the gateway: where each keeps what, as data.

A row says where an SDK keeps its HTTP clients, its retries and its timeouts, and whether it can copy itself. An HTTP
client stays what it is, hooks and headers and all, on a transport of the gateway's; retries and time are the gateway's
from then on. Rows are found by the names of modules: nothing is imported that its user has not imported.

Sources, checked 2026-11-21: the packages anthropic 2.11, any-llm-sdk 1.40, cohere 7.3, google-genai 3.4, groq 1.7,
langchain-anthropic 1.7, langchain-openai 1.7, mistralai 3.7, ollama 0.6, openai 3.52 and together 3.1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from tenacity import stop_after_attempt

from ..errors import ConfigError
from .transport import KINDS, Kind, transport

if TYPE_CHECKING:
    from ..gateway import Gateway

__all__ = ["ROWS", "Row", "attach", "detach"]

Client = TypeVar("Client")
CLIENTS = ("Client", "AsyncClient")  # as both libraries call them


class Attachment:
    """
    What was done to a client; the transport that was put under it remembers.

    Attributes:
        before: The client that was attached.
        was: Whose attribute was what, in the order in which they were changed.
    """

    def __init__(self, gateway: Gateway, before: object) -> None:
        self.gateway = gateway
        self.before = before
        self.was: list[tuple[object, str, object]] = []
        self.transports: dict[Kind, Any] = {}

    def under(self, http: Any) -> Any:
        """
        An HTTP client like this one on the gateway's transport; anything else as it is.

        It is one of the library's own classes, because others may send past their transport.
        """
        found = _library_class(http)
        if found is None:
            return http
        kind, cls = found
        return cls(
            auth=http.auth, params=http.params, headers=http.headers, cookies=http.cookies, base_url=http.base_url,
            event_hooks=http.event_hooks, follow_redirects=http.follow_redirects, max_redirects=http.max_redirects,
            transport=self._transport(kind), timeout=None, trust_env=False,
        )  # fmt: skip

    def _transport(self, kind: Kind) -> Any:
        made = self.transports.get(kind)
        if made is None:
            made = self.transports[kind] = transport(self.gateway, kind)
            made.attachment = self
        return made

    def change(self, client: object, changes: Mapping[str, Change]) -> None:
        """Change what the client has of these."""
        for path, change in changes.items():
            owner, _, name = path.rpartition(".")
            place = _at(client, owner)
            if hasattr(place, name):
                before = getattr(place, name)
                self.was.append((place, name, before))
                setattr(place, name, change(self, before))

    def undo(self) -> None:
        """Put everything back."""
        for place, name, before in reversed(self.was):
            setattr(place, name, before)


# What becomes of a value.

Change = Callable[[Attachment, Any], Any]


def _to(value: object) -> Change:
    return lambda attachment, before: value


UNDER: Change = Attachment.under
NONE, ZERO = _to(None), _to(0)


def _google_asynchronous(attachment: Attachment, http: Any) -> Any:
    return attachment.under(http or attachment.gateway.aio.http_client())


def _google_options(attachment: Attachment, options: Any) -> Any:
    """Without an HTTP client in its options it would take aiohttp; and without a word, parts of it would try again."""
    once = sys.modules[type(options).__module__].HttpRetryOptions(attempts=1)
    asynchronous = _google_asynchronous(attachment, options.httpx_async_client)
    return options.model_copy(update={"timeout": None, "retry_options": once, "httpx_async_client": asynchronous})


def _once(attachment: Attachment, retrying: Any) -> Any:
    return retrying.copy(stop=stop_after_attempt(1))


# Where it is.


class Row(NamedTuple):
    """
    One package.

    Attributes:
        module: Where the class of its clients, or a base of that, is from.
        changes: What is changed, by the path to it; what a client does not have is left out.
        copies: Whether its clients have a method `copy`; if not, they are themselves changed.
    """

    module: str
    changes: Mapping[str, Change]
    copies: bool = False


def _below(*places: str, changes: Mapping[str, Change]) -> dict[str, Change]:
    return {f"{place}{path}": change for place in places for path, change in changes.items()}


STAINLESS = {"_client": UNDER, "max_retries": ZERO, "timeout": NONE}
"""What one generator of SDKs gives to all of them."""

GOOGLE_LAZY: dict[str, Change] = dict.fromkeys(
    ("_nextgen_client_instance", "_interactions", "_webhooks", "_agents", "_triggers", "_environments", "_credentials",
     "_voices", "_decisions"),
    NONE,
)  # fmt: skip
"""Parts that keep an HTTP client of their own from their first use on."""

HTTP = Row("httpx", {})
"""A bare HTTP client, of either library."""

ROWS = (
    Row("openai", STAINLESS, copies=True),
    Row("anthropic", STAINLESS, copies=True),
    Row("groq", STAINLESS, copies=True),
    Row("together", STAINLESS, copies=True),
    Row(
        "google.genai",
        {
            "_api_client._httpx_client": UNDER,
            "_api_client._async_httpx_client": _google_asynchronous,
            "_api_client._http_options": _google_options,
            "_api_client._retry": _once,
            "_api_client._async_retry": _once,
            **_below("", "_aio.", changes=GOOGLE_LAZY),
        },
    ),
    Row(
        "mistralai",
        _below(
            "sdk_configuration.",
            changes={"client": UNDER, "async_client": UNDER, "retry_config": NONE, "timeout_ms": NONE},
        ),
    ),
    Row(
        "cohere",
        {
            "_client_wrapper.httpx_client.httpx_client": UNDER,
            "_client_wrapper.httpx_client.base_max_retries": ZERO,
            "_client_wrapper._timeout": NONE,
        },
    ),
    Row("ollama", {"_client": UNDER}),
    Row("langchain_openai", _below("root_client.", "root_async_client.", changes=STAINLESS)),
    Row("langchain_anthropic", _below("_client.", "_async_client.", changes=STAINLESS)),
    Row("any_llm", _below("client.", changes=STAINLESS)),
)


def attach(gateway: Gateway, client: Client) -> Client:
    """See `Gateway.attach`."""
    known: Any = client
    row = _row(client)
    found = _attachment(client, row)
    if found is not None:
        if found.gateway is not gateway:
            raise ConfigError(f"this {_name(client)} is attached to another gateway; detach it from that one first")
        return client
    attachment = Attachment(gateway, client)
    attached: Client = attachment.under(known) if row is HTTP else known.copy() if row.copies else known
    try:
        attachment.change(attached, row.changes)
        if not attachment.transports:
            places = " or at ".join(_places(row))
            raise ConfigError(f"a {_name(client)} cannot be attached: no HTTP client is at {places}")
    except BaseException:
        attachment.undo()
        raise
    return attached


def detach(gateway: Gateway, client: Client) -> Client:
    """See `Gateway.detach`."""
    found = _attachment(client, _row(client))
    if found is None or found.gateway is not gateway:
        raise ConfigError(f"this {_name(client)} is not attached to this gateway")
    found.undo()
    return cast("Client", found.before)


def _row(client: object) -> Row:
    """Of the package that the class of the client, or a base of it, is from; else of what can be seen of the client."""
    if _library_class(client):
        return HTTP
    for cls in type(client).__mro__:
        for row in ROWS:
            if f"{cls.__module__}.".startswith(f"{row.module}."):
                return row
    seen = [name for name, value in getattr(client, "__dict__", {}).items() if _library_class(value)]
    if not seen:
        raise ConfigError(
            f"a {_name(client)} cannot be attached: it is of none of {', '.join(row.module for row in ROWS)}, and none of "
            "its attributes is a client of httpx or httpx2"
        )
    return Row("", dict.fromkeys(seen, UNDER) | {"max_retries": ZERO})


def _attachment(client: object, row: Row) -> Attachment | None:
    """What was done to the client; None if nothing was."""
    for http in [client] if row is HTTP else [_at(client, place) for place in _places(row)]:
        found = getattr(getattr(http, "_transport", None), "attachment", None)
        if isinstance(found, Attachment):
            return found
    return None


def _places(row: Row) -> list[str]:
    """Where HTTP clients are, by the row."""
    return [path for path, change in row.changes.items() if change is UNDER]


def _at(thing: object, path: str) -> Any:
    """What is at the end of a path; None if it breaks off."""
    for name in path.split(".") if path else ():
        thing = getattr(thing, name, None)
    return thing


def _library_class(thing: object) -> tuple[Kind, Any] | None:
    """The library whose client it is, and that library's class; None if it is none."""
    for cls in type(thing).__mro__:
        for kind in KINDS:
            if cls.__module__.partition(".")[0] == kind and cls.__name__ in CLIENTS:
                return kind, cls
    return None


def _name(client: object) -> str:
    return f"{type(client).__module__.partition('.')[0]}.{type(client).__qualname__}"
