"""A value that does not want to be seen, and the one place it may be sent to."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import ConfigError

__all__ = ["Credential", "Secret"]


class Secret:
    """
    Holds a key. Printing, formatting, iterating and pickling do not show it; `reveal()` does.

    Raises:
        ConfigError: If the value could not stand in an HTTP header.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Secret) -> None:
        text = value.reveal() if isinstance(value, Secret) else value
        if not text.strip():
            raise ConfigError("the key is empty")
        # h11 refuses these only when the request is sent, long after a permit was taken.
        if any(c in text for c in "\r\n\0") or not text.isascii():
            raise ConfigError("the key holds a line break, a NUL or a character outside ASCII; was it pasted whole?")
        self._value = text

    def reveal(self) -> str:
        """The value itself. Call it where it is sent and keep it in no variable."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that tell two keys apart and tell nothing about either."""
        return hmac.digest(b"llmgate.secret", self._value.encode(), hashlib.sha256).hex()[:16]

    def __repr__(self) -> str:
        return f"Secret(sha256:{self.fingerprint[:6]})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle; give the other process its own key")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            _validated,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(repr),
        )


def _validated(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("a key is a string")
    try:
        return Secret(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Credential:
    """
    A key, the header it travels in and the one origin it may be sent to.

    Attributes:
        origin: `scheme://host:port` the key was configured for; the engine refuses every other.
        header: Name of the header, in lower case.
        prefix: What stands before the key in the header (`Bearer `), or nothing.
    """

    secret: Secret
    origin: str
    header: str = "authorization"
    prefix: str = "Bearer "

    @property
    def scope(self) -> str:
        """Tells two keys apart in cache keys and in what is disabled together."""
        return self.secret.fingerprint
