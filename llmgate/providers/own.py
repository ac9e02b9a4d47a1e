"""The upstream that somebody's own client was made for, asked as that client would ask it."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from pydantic import PrivateAttr

from ..dialects.base import Quirks, Written
from ..types.request import Request
from ..types.secret import Secret
from .catalog import ROWS, Row
from .http import HTTPProvider, address

__all__ = ["OwnUpstream"]


class OwnUpstream(HTTPProvider):
    """
    An upstream that no configuration names: its address, its format and its key are the client's.

    It goes where its client goes, unencrypted, too, because that is the client's own choice.
    """

    kind = "own"

    _row: Row = PrivateAttr(ROWS[0])

    @property
    def row(self) -> Row:
        return self._row

    @classmethod
    def of(cls, name: str, origin: str, base: str, dialect: str, key: tuple[str, str, Secret] | None) -> Self:
        """
        Args:
            name: Its name in the gateway; unique.
            origin: `scheme://host:port`.
            base: The client's base path.
            dialect: The format in which the client speaks.
            key: Header, prefix and secret as the client sends them; None if it sends none.
        """
        header, prefix, secret = key or ("", "", None)
        made = cls(name=name, base_url=origin + base, api_key=secret, allow_http=True)
        known = next((row for row in ROWS if row.base_url and address(row.base_url)[0] == origin), Row(cls.kind, ""))
        quirks = known.quirks if known.dialect == dialect else Quirks()
        # What its models can do is the upstream's to say; and a key out of the environment is not the client's.
        made._row = replace(
            known, dialect=dialect, quirks=quirks, header=header, prefix=prefix, key_env=(), capabilities=None
        )  # fmt: skip
        return made

    def target(self, base: str, written: Written, request: Request) -> str:
        return request.path or base + written.path
