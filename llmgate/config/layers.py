"""A user's own middleware: objects, functions, and what packages offer under a name, each in its slot."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from ..errors import ConfigError
from ..middleware.base import SLOTS, Middleware, UserMiddleware
from .explaining import suggestion
from .settings import Settings

__all__ = ["Layer", "Layers"]

ENTRY_POINTS = "llmgate.middleware"

Layer = Middleware | UserMiddleware


class Layers:
    """The user's own middleware by slot, each slot outermost first."""

    def __init__(self, settings: Settings, objects: Sequence[Layer | tuple[str, Layer]]) -> None:
        self.by_slot: dict[str, list[Layer]] = {slot: [] for slot in SLOTS}
        for section in settings.middleware:
            layer = _loaded(section.use, section.options)
            self._add(section.slot or str(getattr(layer, "slot", "before_attempts")), layer)
        for item in objects:
            if isinstance(item, tuple):
                slot, layer = item
                self._add(slot, layer)
            else:
                self._add(getattr(item, "slot", "before_attempts"), item)

    def _add(self, slot: str, layer: Layer) -> None:
        if slot not in self.by_slot:
            raise ConfigError(f"{slot!r} is no slot; {suggestion(slot, SLOTS)}", path="middleware")
        if not callable(getattr(layer, "wrap", layer)):
            raise ConfigError(
                f"a {type(layer).__name__} is no middleware; give async def f(call, call_next)", path="middleware"
            )
        self.by_slot[slot].append(layer)


def _loaded(use: Any, options: dict[str, Any]) -> Layer:
    """The middleware behind an entry point's name, or the thing itself."""
    if not isinstance(use, str):
        return use(**options) if isinstance(use, type) else use  # type: ignore[no-any-return]
    for entry in entry_points(group=ENTRY_POINTS, name=use):
        found = entry.load()
        return found(**options) if isinstance(found, type) else found  # type: ignore[no-any-return]
    known = sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})
    hint = suggestion(use, known) if known else "no package offers any; pass the object from Python instead"
    raise ConfigError(f"there is no middleware {use!r}; {hint}", path="middleware")
