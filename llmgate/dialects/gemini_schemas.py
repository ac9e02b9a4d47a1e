"""Google's `Schema`, a dialect of OpenAPI 3.0's, read as the JSON schema that everybody else speaks.

Source: https://ai.google.dev/api/caching#Schema (checked 2026-11-20).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .gemini_words import Json

__all__ = ["json_schema"]

_TYPES = ("", "string", "number", "integer", "boolean", "array", "object", "null")
"""The types under their numbers, as a client that writes numbers for names writes them."""

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "additional_properties": "additionalProperties",
        "any_of": "anyOf",
        "max_items": "maxItems",
        "max_length": "maxLength",
        "max_properties": "maxProperties",
        "min_items": "minItems",
        "min_length": "minLength",
        "min_properties": "minProperties",
        "property_ordering": "propertyOrdering",
    }
)
_COUNTS = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})
_VALUES = frozenset({"default", "enum", "example", "propertyOrdering", "required"})


def json_schema(schema: Any) -> Any:
    """The same as JSON schema: types in lower case, `null` among them where it may be."""
    if not isinstance(schema, dict):
        return schema
    out: Json = {}
    for given, value in schema.items():
        name = _NAMES.get(given, given)
        if value is None or name == "nullable":
            continue
        if name == "type":
            kind = _TYPES[value] if isinstance(value, int) else str(value).lower()
            if kind and kind != "type_unspecified":
                out[name] = kind
        elif name in _COUNTS:
            out[name] = int(value)  # protobuf writes 64 bits as a string
        elif name == "properties":
            out[name] = {key: json_schema(item) for key, item in value.items()}
        elif name == "anyOf":
            out[name] = [json_schema(item) for item in value]
        else:
            out[name] = value if name in _VALUES else json_schema(value)
    if schema.get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"]
    return out
