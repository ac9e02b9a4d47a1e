"""Keys that live for minutes: a function gives one for each request, as Microsoft's and Google's identity libraries do."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from ..errors import AuthenticationFailed
from ..runtime.callables import awaited
from ..types.runtime import Runtime
from ..types.secret import Secret

__all__ = ["Ask", "Token"]

Ask = Callable[[], str | Awaitable[str]]
"""
Returns a token that is still good. A plain function must not wait long, so let it keep the token; a coroutine function
may wait. Either serves calls of both colours.
"""


class Token(Secret):
    """
    A secret that is asked for before each request is sent. Until then it is nothing but its name.

    Args:
        ask: Returns it.
        name: What its fingerprint is made of: tokens change, the account behind them does not.
    """

    __slots__ = ("_ask", "_latest")

    def __init__(self, ask: Ask, name: str = "token") -> None:
        super().__init__(name)
        self._ask = ask
        self._latest = Secret(name)

    def named(self, name: str) -> Token:
        """The same under another name."""
        return Token(self._ask, name)

    async def renew(self, runtime: Runtime, until: float) -> None:
        """
        Ask for it.

        Raises:
            AuthenticationFailed: If the function raises, or what it returns cannot be a token.
            TimeoutError: If it was not there by then.
        """
        try:
            told = self._ask()
            self._latest = Secret(await awaited(runtime, until, told) if inspect.isawaitable(told) else told)
        except Exception as error:
            if isinstance(error, TimeoutError) and runtime.now() >= until:
                raise
            raise AuthenticationFailed(
                f"there is no access token: the function raised {type(error).__name__}"
            ) from error

    def reveal(self) -> str:
        return self._latest.reveal()
