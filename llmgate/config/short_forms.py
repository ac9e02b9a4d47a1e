"""The short ways to write a configuration, and the long form each of them stands for.

Plain values in, plain values out; whatever is neither short nor long is passed on for validation to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from .explaining import refusal

__all__ = ["CHAIN_ROUTE", "chain", "listed", "route", "switch", "target", "used"]

CHAIN_ROUTE = "default"
"""The route that a chain of providers makes."""

_CHAIN_KEYS = ("primary", "fallback", "strategy")
_SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def chain(raw: Any) -> Any:
    """
    A whole configuration with `providers: {primary: openai, fallback: [anthropic, google], strategy: ordered}`
    written out.

    The chain's providers get empty sections, unless they have one beside it, and the route `default` asks them in
    turn for the model the caller names: `[openai/*, anthropic/*, google/*]`. A plain list of providers names them
    and makes no route.
    """
    if not isinstance(raw, Mapping):
        return raw
    providers = raw.get("providers")
    if isinstance(providers, (list, tuple)) and all(isinstance(name, str) for name in providers):
        return {**raw, "providers": {name: {} for name in providers}}
    if not isinstance(providers, Mapping) or not isinstance(providers.get("primary"), str):
        return raw
    names = [providers["primary"], *listed(providers.get("fallback"))]
    routes = raw.get("routes") or {}
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise refusal(
            (("providers", "fallback"), wrong, "a chain names its providers: primary: openai, fallback: [anthropic]")
        )
    if isinstance(routes, Mapping) and CHAIN_ROUTE in routes:
        problem = f"a chain of providers makes the route {CHAIN_ROUTE}; give one or the other"
        raise refusal((("routes", CHAIN_ROUTE), routes[CHAIN_ROUTE], problem))
    sections = {name: {} for name in names} | {k: v for k, v in providers.items() if k not in _CHAIN_KEYS}
    made: dict[str, Any] = {"deployments": names}
    if "strategy" in providers:
        made["strategy"] = providers["strategy"]
    return {**raw, "providers": sections, "routes": {CHAIN_ROUTE: made, **routes}}


def route(value: Any) -> Any:
    """`a/x` or `[a/x, b/y]` stands for `{deployments: …}`."""
    return {"deployments": value} if isinstance(value, (str, list, tuple)) else value


def target(value: Any) -> Any:
    """`a/x` stands for `{target: a/x}`, and the provider `a` alone for `{target: a/*}`: the caller's model."""
    if isinstance(value, str):
        value = {"target": value}
    if isinstance(value, Mapping) and isinstance(value.get("target"), str) and "/" not in value["target"]:
        return {**value, "target": f"{value['target']}/*"}
    return value


def used(value: Any) -> Any:
    """A name, or in Python the thing itself, stands for `{use: …}`."""
    return value if isinstance(value, (Mapping, BaseModel)) and not hasattr(value, "wrap") else {"use": value}


def switch(value: Any) -> Any:
    """`off` and `false` stand for `{enabled: false}`, `on` and `true` for `{enabled: true}`."""
    if isinstance(value, str):
        value = _SWITCH.get(value.lower(), value)
    return {"enabled": value} if isinstance(value, bool) else value


def listed(value: Any) -> Any:
    """One stands for a list of one, nothing for an empty list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
