"""Addresses: where an upstream is, and where a file lies that it made, which may be another host's."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

from ..errors import ConfigError, ProtocolError
from ..types.secret import Credential
from ..types.wire import Clients, WireRequest, WireTimeouts

__all__ = ["REDIRECTS_MAX", "address", "fetching", "is_loopback", "redirected"]

REDIRECTS_MAX = 3  # Google's files take one
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def address(url: str) -> tuple[str, str]:
    """
    Origin and path of a base URL.

    Raises:
        ConfigError: If it is none, or carries what does not belong in it. What it carries is not shown.
    """
    url = url.strip()
    if any(not c.isprintable() or c == " " for c in url):
        raise ConfigError("base_url holds a blank or a control character")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna" if not url.isascii() else "ascii").decode(), parts.port
    except ValueError:
        raise ConfigError("base_url is not a URL; write https://host/v1") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"base_url is no address of a server ({parts.scheme or 'no scheme'}); write https://host/v1")
    if "@" in parts.netloc:
        raise ConfigError("base_url holds a user name or a password; give the key as api_key")
    if parts.query or parts.fragment:
        raise ConfigError("base_url holds a query or a fragment; leave it at the path")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}", parts.path.rstrip("/")


def is_loopback(origin: str) -> bool:
    """Whether it is this machine."""
    host = urlsplit(origin).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fetching(
    url: str, near: str, headers: list[tuple[str, str]], credential: Credential | None,
    timeouts: WireTimeouts, clients: Clients | None,
) -> WireRequest:  # fmt: skip
    """
    The request for a file. Whoever is not the upstream itself is told nothing: neither its key nor its headers.

    Args:
        url: The file's address.
        near: The upstream's origin. What is reached through TLS does not lead out of it.
        headers: For the upstream itself.

    Raises:
        ProtocolError: If it is no address, or a less protected one.
    """
    try:
        parts = urlsplit(url)
        origin, path = address(f"{parts.scheme}://{parts.netloc}{parts.path}")
    except (ConfigError, ValueError):
        raise ProtocolError("the upstream names a place that is no address") from None
    if origin.startswith("http:") and not near.startswith("http:"):
        raise ProtocolError("the upstream names a place that is not encrypted")
    target = (path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        raise ProtocolError("the upstream names a place that is no address")
    if origin != near:
        headers, credential, clients = [line for line in headers if line[0] in PLAIN], None, None
    return WireRequest("GET", origin, target, headers, b"", credential, timeouts, clients)


PLAIN = frozenset({"accept-encoding"})
"""Headers that say nothing about anybody."""


def redirected(status: int, location: str, at: WireRequest) -> str | None:
    """Where an answer sends its reader; None if it does not."""
    return urljoin(at.origin + at.target, location) if status in REDIRECTS and location else None
