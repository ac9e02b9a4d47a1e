"""What of OpenAI's chat has no word in a smaller format: which values ask for nothing, and what becomes of the rest.

What a format cannot say is an error that names it (`Unsaid`), or, where somebody said that it may be so, is left out: the
request is written again without it, until it can be said. What is left out is told, one by one. So a format has one thing
to do, to say exactly what it cannot say, and nothing else is ever dropped. Some things cannot be left out, because
nothing would be left to say in their place: the only part of a message, a message, a call that has a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from .base import Dialect, Quirks, Written

__all__ = ["HINTS", "NEUTRAL", "Unsaid", "refused", "say"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "audio": (),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "modalities": (["text"],),
        "moderation": (),
        "n": (1,),
        "parallel_tool_calls": (True,),
        "service_tier": ("auto", "default"),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
)
"""OpenAI's parameters that such a format cannot express, and the values of each that ask for nothing."""

HINTS = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "stream_options",
        "user",
    }
)
"""OpenAI's parameters that change no answer: bookkeeping and speed. Usage comes in any case."""


LEFT_OUT_MAX = 100  # things that are left out of one request; who asks for more asks for something else


class Unsaid(BadRequest):
    """
    What a format cannot say, and a request can do without.

    Args:
        path: Where it stands: the parameter, and within it keys and positions.
    """

    def __init__(self, message: str = "", *path: str | int) -> None:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        super().__init__(message)
        self.path = path
        self.param = name.removeprefix(".") or None

    def within(self, name: str, position: int) -> Unsaid:
        """The same, told from further out."""
        return Unsaid(f"{name}[{position}]: {self.message}", name, position, *self.path)


def refused(name: str, whom: str) -> Unsaid:
    """The error for a parameter that asks for what a format cannot say."""
    return Unsaid(f"{name}: {whom} cannot express it; leave it out or name another provider", name)


def say(dialect: Dialect, request: Request, quirks: Quirks, drop: bool) -> tuple[Written, tuple[str, ...]]:
    """
    The request in a dialect's words.

    Args:
        drop: Whether what the format cannot say is left out.

    Returns:
        The request, and what was left out of it, with the reasons.

    Raises:
        BadRequest: If it cannot be said.
    """
    left_out: list[str] = []
    while True:
        try:
            return dialect.write_request(request, quirks), tuple(left_out)
        except Unsaid as error:
            if not drop or len(left_out) == LEFT_OUT_MAX:
                raise
            if error.path[0] not in request.body:
                # A word of the caller's format means it, and is told in ours, so that just this can be left out.
                from .foreign import understood

                told = understood(request, dialect.format(request.verb, request.model))
                request = request.but(**(dict.fromkeys(request.body) | told))
            fewer = _without(request.body, error.path)
            if fewer is None:
                raise
            left_out.append(error.message)
            if "tools" in request.body and "tools" not in fewer and fewer.pop("tool_choice", None) is not None:
                left_out.append("tool_choice: there are no tools left to choose from")
            request = request.but(**{name: fewer.get(name) for name in request.body})


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    """A copy without what stands at the path; None, if nothing would be left in its place."""
    key, *inner = path
    copied = value.copy()
    shorter = _without(value[key], tuple(inner)) if inner else []
    if shorter:
        copied[key] = shorter
    elif not inner or (shorter == [] and key == "tools"):
        del copied[key]
    else:
        return None
    return copied
