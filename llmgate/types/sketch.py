"""The repr of a value that may be large: what it says, without what it leaves unsaid, each part cut to a glance."""

from __future__ import annotations

import reprlib
from dataclasses import MISSING, fields
from typing import Any

__all__ = ["sketched"]


class _Glance(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = 60  # characters; the beginning and the end of a sentence
        self.maxother = 400  # characters; an answer within a list
        self.maxlist = self.maxtuple = self.maxdict = 4


_GLANCE = _Glance()


def sketched(self: Any) -> str:
    """A dataclass with those of its shown fields that are not what they would be anyway."""
    said = [
        f"{field.name}={_GLANCE.repr(here)}"
        for field in fields(self)
        if field.repr and (here := getattr(self, field.name)) != _default(field)
    ]
    return f"{type(self).__name__}({', '.join(said)})"


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
