"""A value that does not want to be seen, and the one place it may be sent to."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    from .wire import WireRequest

__all__ = ["Credential", "Secret"]


class Secret:
    """
    Holds a key. Printing, formatting, iterating and pickling do not show it; `reveal()` does.

    Raises:
        ConfigError: If the value could not stand in an HTTP header. It tells why and not what.
    """

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str | Secret) -> None:
        text = value._value if isinstance(value, Secret) else value
        problem = _problem(text)
        if problem is not None:
            # A traceback may be shown with what stood in its frames, and a key with a slip in it is still a key.
            del value, text
            self._value = ""  # for the repr, which is shown then, too
            raise ConfigError(problem)
        self._value = text

    def reveal(self) -> str:
        """The value itself. Call it where it is sent and keep it in no variable."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that tell two keys apart and tell nothing about either."""
        return self._digest().hex()[:16]

    def _digest(self) -> bytes:
        return hmac.digest(b"llmgate.secret", self._value.encode(), hashlib.sha256)

    def __repr__(self) -> str:
        return f"Secret(sha256:{self.fingerprint[:6]})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        # Digests are of one length, so the time taken does not tell that of the key.
        return isinstance(other, Secret) and hmac.compare_digest(self._digest(), other._digest())

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __bool__(self) -> bool:
        return True

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle; give the other process its own key")

    __getstate__ = __reduce__  # the default hands out what stands in the slots

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            _validated,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(repr),
        )


def _problem(value: object) -> str | None:
    """Why a value can be no key."""
    if not isinstance(value, str):
        return "a key is a string"
    if not value.strip():
        return "the key is empty"
    # h11 refuses these only when the request is sent, long after a permit was taken.
    if not value.isascii() or not value.isprintable():
        return "the key holds a line break, a NUL or a character outside ASCII; was it pasted whole?"
    if value != value.strip():
        return "the key begins or ends with a space; was it pasted with what stood around it?"
    return None


def _validated(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    problem = _problem(value)
    if problem is None:
        return Secret(cast(str, value))
    from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

    # Whose text shows what was refused; so it is given something else to show.
    details = InitErrorDetails(type=PydanticCustomError("secret", "{problem}", {"problem": problem}), input="(a key)")
    raise ValidationError.from_exception_data("Secret", [details])


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

    def lines(self, request: WireRequest) -> list[tuple[str, str]]:
        """The header lines by which a request shows it. Ask when it is sent, and keep them nowhere."""
        return [(self.header, self.prefix + self.secret.reveal())]
