"""Who may come in by HTTP: whoever shows a key, or, where there are no keys, whoever is on this machine.

On one machine, web pages are callers, too: a browser sends them here whoever wrote them. So without keys a page must be
of an allowed origin, and the name by which it found this machine one of this machine's own (else a page whose name was
made to point here, by DNS rebinding, would read the answers).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..config.server import ServerSettings, is_loopback
from ..errors import AuthenticationFailed, BadRequest, PermissionDenied
from ..policies.keyring import Caller
from .asked import Asked
from .upstreams import KEY_HEADERS

__all__ = ["LOCAL_NAMES", "Gate", "check_target"]

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser on this machine may call it."""

BEARER = re.compile(rb"bearer +", re.IGNORECASE)
TARGET = re.compile(r'[!"$-~]+')
"""What can stand in a request line, but for `#`."""
UPWARDS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)|//|\\|%5c", re.IGNORECASE)
"""What a server behind us may read as a step out of its base path."""
ALL = "*"


class Gate:
    """
    Lets callers in.

    Args:
        settings: With the keys.
        trusted: Whether somebody else has looked at the callers already.
        hosts: Names by which callers without keys may find us; any, if there are none.

    Raises:
        ConfigError: If the keys cannot be used.
    """

    def __init__(self, settings: ServerSettings, trusted: bool, hosts: Collection[str]) -> None:
        self.keyring = settings.keyring()
        self._headers = frozenset({*KEY_HEADERS, *filter(None, [settings.key_header.encode()])})
        self._open = trusted
        self._hosts = hosts
        self._cors = frozenset(settings.cors)

    def admit(self, asked: Asked, host: str) -> Caller | None:
        """
        Whose request it is; None where nobody is asked for a key.

        Args:
            host: Address of whoever sent it; empty if it came over no network.

        Raises:
            AuthenticationFailed: If it shows no key, or none that is known here.
            PermissionDenied: If it comes from elsewhere, and nobody has a key.
        """
        if not self.keyring:
            self._must_be_local(asked, host)
            return None
        shown = False
        for name, value in asked.headers:
            if name in self._headers and value:
                shown = True
                caller = self.keyring.find(BEARER.sub(b"", value, count=1).decode("latin-1").strip())
                if caller is not None:
                    return caller
        raise AuthenticationFailed(
            "this key is not known here" if shown else "no key; send it as `Authorization: Bearer …`"
        )

    def without_keys(self, asked: Asked) -> None:
        """Take the keys out of a request, so that nobody behind us can see or send them; that there were some still shows."""
        asked.headers = [(name, b"" if name in self._headers else value) for name, value in asked.headers]
        asked.__dict__.pop("named", None)

    def _must_be_local(self, asked: Asked, host: str) -> None:
        if self._open:
            return
        if host and not is_loopback(host):
            raise PermissionDenied(
                "only callers on the same machine are served, because no keys are configured; add server.keys "
                "(`python -m llmgate key` prints one)"
            )
        called = _without_port(asked.header(b"host") or "")
        if self._hosts and called and called not in self._hosts:
            raise PermissionDenied(f"this server is not {called!r}; ask it as localhost, or configure server.keys")
        origin = asked.header(b"origin")
        if origin is not None and not self.allows(origin) and origin.partition("://")[2] != asked.header(b"host"):
            raise PermissionDenied(f"pages of {origin!r} may not ask; add it to server.cors, or configure server.keys")

    def allows(self, origin: str) -> bool:
        """Whether web pages of an origin may ask."""
        return origin in self._cors or ALL in self._cors


def check_target(asked: Asked) -> None:
    """
    Raises:
        BadRequest: If path or query hold what is not written there, or the path leads upwards.
    """
    if not TARGET.fullmatch(asked.target) or UPWARDS.search(asked.path):
        raise BadRequest("the address holds empty steps, steps upwards, or characters that must be escaped")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
