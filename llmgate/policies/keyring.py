"""Who asks: which caller a key belongs to, and what that caller may ask for.

Keys are kept as HMAC-SHA256 under a pepper: who reads the configuration learns no key, and who lacks the pepper cannot
even try guesses. A key is 256 random bits, so no slow hash is needed; those are for passwords.

A presented key is looked up by the first bytes of its digest, which nobody can choose without the pepper, and then all of
it is compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["HASH", "KEY_BYTES", "Caller", "Keyring", "new_key"]

KEY_BYTES = 32  # of chance; as many as the digest has
PREFIX = "sk-llmgate-"  # tells people and scanners of repositories what it is
SCHEME = "hmac-sha256:"
MARK_BYTES = 8  # of a digest; two keys that share them would take longer to find than the universe is old
HASH = re.compile(SCHEME + "[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Somebody with a key.

    Attributes:
        name: What operators call it.
        tenant: On whose behalf all its calls are; None if it says so itself.
        tags: Labels of all its calls; they win over those that it gives itself.
        routes: What it may ask for: routes and `provider/model`, where `*` at the end stands for any rest.
        operator: Whether it may read metrics and the details of health.
    """

    name: str = ""
    tenant: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    routes: tuple[str, ...] = ("*",)
    operator: bool = False

    def may_ask(self, name: str) -> bool:
        """Whether it may ask for a route or `provider/model`."""
        return any(
            name.startswith(route[:-1]) if route.endswith("*") else name == route
            for route in self.routes
        )  # fmt: skip

    def may_use(self, providers: Iterable[str]) -> bool:
        """Whether it may ask these providers for anything at all: what passes through unread may name any model."""
        return all(self.may_ask(f"{provider}/") for provider in providers)


class Keyring:
    """
    Callers by their keys.

    Args:
        pepper: The secret part of the digest.
        callers: By `digest` of their keys, as `hash_of` writes it.
    """

    __slots__ = ("_callers", "_pepper")

    def __init__(self, pepper: str, callers: Mapping[str, Caller]) -> None:
        self._pepper = pepper.encode()
        digests = [(bytes.fromhex(text.removeprefix(SCHEME)), caller) for text, caller in callers.items()]
        self._callers = {digest[:MARK_BYTES]: (digest, caller) for digest, caller in digests}

    def find(self, key: str) -> Caller | None:
        """Whose key it is; None if nobody's."""
        digest = _digest(self._pepper, key)
        known, caller = self._callers.get(digest[:MARK_BYTES], (b"", None))
        return caller if hmac.compare_digest(known, digest) else None

    @staticmethod
    def hash_of(pepper: str, key: str) -> str:
        """A key as the configuration keeps it."""
        return SCHEME + _digest(pepper.encode(), key).hex()

    def __bool__(self) -> bool:
        return bool(self._callers)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._callers)}>"


def _digest(pepper: bytes, key: str) -> bytes:
    return hmac.digest(pepper, key.encode("utf-8", "surrogatepass"), hashlib.sha256)


def new_key(chance: Callable[[int], bytes]) -> str:
    """
    A key that nobody has.

    Args:
        chance: So many bytes that nobody can foresee.
    """
    return PREFIX + chance(KEY_BYTES).hex()
