"""The section `server`."""

from __future__ import annotations

from typing import Any

import pytest

from llmgate import ConfigError, Gateway
from llmgate.config import settings_from
from llmgate.config.server import ServerSettings, is_loopback
from llmgate.policies.keyring import Keyring
from llmgate.surfaces.check import checked

HASH = Keyring.hash_of("pepper", "key")
UP = {"kind": "simulated"}


def section(env: dict[str, str] | None = None, **options: Any) -> ServerSettings:
    settings = settings_from({"server": options}, env or {})
    assert settings.server is not None
    return settings.server


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"keys": [{"name": "a", "hash": "sk-llmgate-secret"}]}, "server.keys[0].hash: this is no hash of a key"),
        ({"keys": [{"hash": HASH}]}, "server.keys[0].name: is missing"),
        ({"keys": [{"name": "a", "hash": HASH}, {"name": "b", "hash": HASH}]}, "server.keys[1].hash: this key is listed"),
        ({"key_header": "x key"}, "server.key_header:"),
        ({"port": 70000}, "server.port: 70000 is too large"),
        ({"max_body": "0B"}, "server.max_body"),
        ({"tls_certificate": "a.pem"}, "tls_certificate and tls_key go together"),
        ({"prot": 1}, 'server.prot: unknown option; did you mean "port"?'),
    ],
)  # fmt: skip
def test_what_is_wrong(options: dict[str, Any], problem: str) -> None:
    """
    What cannot be is refused with its place, and nothing that may be a key is shown.
    """
    with pytest.raises(ConfigError) as caught:
        section(**options)

    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_keys_need_a_pepper() -> None:
    """
    The pepper is the configuration's, else the environment's; without one, whoever would serve is told what to set.
    """
    keys = [{"name": "a", "hash": HASH}]

    for settings in (section(keys=keys, pepper="pepper"), section({"LLMGATE_PEPPER": "pepper"}, keys=keys)):
        found = settings.keyring().find("key")
        assert found is not None and ("a", "a") == (found.name, found.tenant)
    with pytest.raises(ConfigError, match=r"server.pepper: missing; set the variable LLMGATE_PEPPER"):
        Gateway({"server": {"keys": keys}}, environ={}).asgi()


def test_tenants() -> None:
    """
    A key speaks for itself, for the tenant that it is given, or, with a star, for whomever each request says.
    """
    keys = [
        {"name": "a", "hash": HASH, **said} for said in ({}, {"tenant": "acme"}, {"tenant": "*"}, {"tenant": ""})
    ]  # fmt: skip

    assert ["a", "acme", None, ""] == [section(keys=[key]).keys[0].caller().tenant for key in keys]


def test_the_dump_masks_the_pepper() -> None:
    """
    A configuration that is printed shows no pepper.
    """
    settings = settings_from({"server": {"pepper": "pepper-secret", "keys": [{"name": "a", "hash": HASH}]}}, {})

    assert "pepper-secret" not in f"{settings!r}{settings.model_dump()}{settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.com", False), ("localhost.evil.com", False), ("", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    """
    Only addresses of this machine alone are taken for such.
    """
    assert expected == is_loopback(host)


def test_check() -> None:
    """
    `check` finds what would not be served, routes of keys that lead nowhere, and pages that may spend your money.
    """

    def found(**server: Any) -> dict[str, str]:
        config = {"providers": {"up": UP}, "routes": {"fast": ["up/m"]}, "prices": {"up/*": {"input": 1, "output": 1}}}
        report = checked(settings_from(config | {"server": server}, {}))
        return {finding.path: f"{finding.level}: {finding.text}" for finding in report.findings}

    assert {} == found(port=1)
    assert "error: others can reach 0.0.0.0" in found(host="0.0.0.0")["server.keys"]
    assert "error: missing; set" in found(keys=[{"name": "a", "hash": HASH}])["server.pepper"]
    keys = [{"name": "a", "hash": HASH, "routes": ["fast", "up/*", "*", "u*", "fst"]}]
    assert {"server.keys[0].routes": "error: there is no route or provider for 'fst'; did you mean \"fast\"?"} == found(
        keys=keys, pepper="pepper"
    )
    assert found(cors="*")["server.cors"].startswith("warning: any web page")
