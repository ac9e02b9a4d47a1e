"""Where a file lies that an upstream made, and who is told what on the way there."""

from __future__ import annotations

import pytest

from llmgate.errors import ProtocolError
from llmgate.providers.addresses import fetching, redirected
from llmgate.types.secret import Credential, Secret
from llmgate.types.wire import Clients, WireTimeouts

NEAR = "https://api.example.com:443"
KEY = Credential(Secret("sk-" + "x" * 20), NEAR, "authorization", "Bearer ")
LINES = [("authorization", "no"), ("x-team", "secret"), ("accept-encoding", "identity")]
MINE = Clients()


def asked(url: str, near: str = NEAR) -> tuple[str, str, list[str], bool, bool]:
    """Origin, target, names of headers, and whether key and client are used."""
    wire = fetching(url, near, LINES, KEY, WireTimeouts(), MINE)
    assert ("GET", b"") == (wire.method, wire.body)
    return wire.origin, wire.target, [name for name, _ in wire.headers], wire.credential is KEY, wire.clients is MINE


def test_the_upstream_is_asked_as_always() -> None:
    """
    With its key, its headers and the caller's own client.
    """
    assert (NEAR, "/v1/files/1?alt=media", [name for name, _ in LINES], True, True) == asked(
        "https://api.example.com/v1/files/1?alt=media#there"
    )


@pytest.mark.parametrize(
    "url", ["https://cdn.example.com/f", "https://api.example.com:8443/f", "https://api.example.com.evil.org/f"]
)
def test_others_are_told_nothing(url: str) -> None:
    """
    Another host, another port: neither a key nor a header that says who asks, nor a client that may add some.
    """
    _, target, names, key, client = asked(url)

    assert ("/f", ["accept-encoding"], False, False) == (target, names, key, client)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/f", "http://127.0.0.1/f", "gs://bucket/f", "file:///etc/passwd", "ftp://host/f", "//host/f",
        "https://user:pw@host/f", "https://ho st/f", "https:///f", "https://[::1/f", "https://host/\u00e9", "",
    ],
)  # fmt: skip
def test_nobody_is_led_out_of_tls_or_to_what_is_no_address(url: str) -> None:
    """
    Whatever an upstream that is reached through TLS may name.
    """
    with pytest.raises(ProtocolError) as caught:
        asked(url)

    assert "pw" not in str(caught.value)


def test_without_tls_there_is_nothing_to_lose() -> None:
    """
    An upstream on this machine may name another place on it.
    """
    assert "http://127.0.0.1:80" == asked("http://127.0.0.1/f", near="http://127.0.0.1:8000")[0]


@pytest.mark.parametrize(
    ("status", "location", "expected"),
    [
        (302, "https://cdn/x", "https://cdn/x"),
        (307, "/y?z=1", "https://api.example.com:443/y?z=1"),
        (301, "y", "https://api.example.com:443/v1/y"),
        (302, "", None),
        (200, "https://cdn/x", None),
        (304, "https://cdn/x", None),
    ],
)
def test_redirects_lead_on(status: int, location: str, expected: str | None) -> None:
    """
    To whole addresses, and to those that are meant from where one is.
    """
    wire = fetching("https://api.example.com/v1/x", NEAR, LINES, KEY, WireTimeouts(), None)

    assert expected == redirected(status, location, wire)
