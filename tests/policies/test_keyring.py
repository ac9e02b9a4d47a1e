"""Whose key it is, and what it is for."""

from __future__ import annotations

import pytest

from llmgate.policies.keyring import HASH, Caller, Keyring, new_key

ALICE = Caller("alice")
KEY = "sk-llmgate-" + "ab" * 32


def ring(pepper: str = "pepper") -> Keyring:
    return Keyring(pepper, {Keyring.hash_of("pepper", KEY): ALICE, Keyring.hash_of("pepper", "other"): Caller("bob")})


def test_a_key_is_its_owner_s() -> None:
    """
    A known key finds its owner, under the right pepper only, and no other text finds anybody.
    """
    assert ALICE is ring().find(KEY)
    assert None is ring("salt").find(KEY)
    for wrong in ("", KEY[:-1], KEY + "0", KEY.upper(), f" {KEY}", Keyring.hash_of("pepper", KEY), "\ud800"):
        assert None is ring().find(wrong)


def test_a_digest_that_begins_alike_is_another() -> None:
    """
    The whole digest counts, and not only the bytes by which it is looked up.
    """
    text = Keyring.hash_of("pepper", KEY)
    near = Keyring("pepper", {text[:-1] + ("0" if text[-1] != "0" else "1"): ALICE})

    assert None is near.find(KEY)


def test_it_shows_nothing() -> None:
    """
    Neither keys nor the pepper are in what a keyring shows of itself.
    """
    assert "<Keyring of 2>" == repr(ring())


def test_a_new_key() -> None:
    """
    A new key is all the chance there is behind a prefix that tells what it is, and its hash is one that is taken.
    """
    key = new_key(lambda count: bytes(range(count)))

    assert "sk-llmgate-" + bytes(range(32)).hex() == key
    assert HASH.fullmatch(Keyring.hash_of("pepper", key))


@pytest.mark.parametrize(
    ("routes", "may", "may_not"),
    [
        (("*",), ["fast", "up/m", ""], []),
        (("fast",), ["fast"], ["faster", "fas", "fast/m", "up/m", ""]),
        (("up/*",), ["up/m", "up/m/n"], ["up", "upper/m", "fast"]),
        (("up/gpt-4*", "fast"), ["up/gpt-4o", "up/gpt-4", "fast"], ["up/gpt-5", "up/"]),
    ],
)
def test_what_may_be_asked(routes: tuple[str, ...], may: list[str], may_not: list[str]) -> None:
    """
    A name opens itself, and one with a star at its end whatever begins so.
    """
    caller = Caller("alice", routes=routes)

    assert may == [name for name in [*may, *may_not] if caller.may_ask(name)]


def test_what_passes_through_unread() -> None:
    """
    Only who may ask a provider for everything may ask it for what nobody reads, and of several providers for each.
    """
    assert Caller(routes=("up/*",)).may_use({"up"})
    assert not Caller(routes=("up/*",)).may_use({"up", "other"})
    assert not Caller(routes=("up/m", "up/gpt*")).may_use({"up"})
