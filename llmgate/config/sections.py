"""The sections of providers: each checked by the class of its kind, and dumped as it was said.

The class hangs on a value inside of the section, so this is done by hand and not by a union of pydantic's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from ..errors import ConfigError
from ..providers.base import Provider
from ..types.secret import Secret
from ..types.units import shown
from .explaining import Finding, holds_secret, refusal, restated
from .kinds import provider_class

__all__ = ["Providers"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _providers(value: Any, info: ValidationInfo) -> dict[str, Provider]:
    """Each section as the class of its kind, which is its name if it has none."""
    if not isinstance(value, Mapping):
        raise refusal(((), value, f"{shown(value)} is not a mapping; write `openai: {{}}`"))
    found: dict[str, Provider] = {}
    findings: list[Finding] = []
    for name, section in value.items():
        try:
            found[name] = _provider(name, section, info.context)
        except ValidationError as error:
            findings += [((name, *e["loc"]), e["input"], e["msg"]) for e in error.errors()]
        except ConfigError as error:
            findings.append(((name,), name, error.message))
    if findings:
        raise refusal(*findings)
    return found


def _provider(name: Any, section: Any, context: Any) -> Provider:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("a provider's name is made of letters, digits, dots, hyphens and underscores")
    if isinstance(section, Provider):
        if section.name not in ("", name):
            raise ConfigError(f"this provider was named {shown(section.name)}; use that name or give it none")
        return section.model_copy(update={"name": name})
    if not isinstance(section, Mapping | None):
        # Not shown: who writes a text here probably means the key.
        raise ConfigError(f"this is not a mapping; write `{name}: {{}}`, or the key as `{name}: {{api_key: …}}`")
    options = dict(section or {})
    if "name" in options:
        raise refusal((("name",), options["name"], f"the name of this provider is {name}; leave `name` out"))
    kind = options.pop("kind", name)
    if not isinstance(kind, str):
        raise refusal((("kind",), kind, f"{shown(kind)} is not a text"))
    cls, presets = provider_class(kind)
    try:
        return cls.model_validate({**presets, **options, "name": name}, context=context)
    except ValidationError as error:
        raise restated(error, cls, options) from None


def _provider_dumps(providers: dict[str, Provider], info: SerializationInfo) -> dict[str, Any]:
    """The sections as they were said, with keys masked; what stands in a header may be one."""
    return {name: _masked(_said(name, provider, info), ()) for name, provider in providers.items()}


def _said(name: str, provider: Provider, info: SerializationInfo) -> dict[str, Any]:
    options = provider.model_dump(
        mode=info.mode,
        by_alias=True,
        exclude={"name"},
        exclude_unset=info.exclude_unset,
        exclude_defaults=info.exclude_defaults,
    )
    kind = options.pop("vendor", None) or provider.kind
    return options if kind == name else {"kind": kind, **options}


def _masked(value: Any, place: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, place) for item in value]
    return repr(Secret(value)) if isinstance(value, str) and value.strip() and holds_secret(place) else value


Providers = Annotated[
    dict[str, Provider],
    PlainValidator(_providers),
    PlainSerializer(_provider_dumps, return_type=dict[str, Any]),
    WithJsonSchema({"type": "object"}),
]
"""Providers by the names of their sections."""
