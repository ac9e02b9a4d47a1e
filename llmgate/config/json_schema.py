"""The JSON Schema of a configuration, for editors: completion, descriptions, and a red line under what is wrong.

Pydantic writes it from the models; what a provider's section may hold is added here, because its class hangs on a
value inside of it.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticOmit

from .kinds import known_kinds, provider_class

__all__ = ["json_schema"]

TEXT: JsonSchemaValue = {"type": "string"}
TEXTS: JsonSchemaValue = {"type": "array", "items": TEXT}


def json_schema() -> dict[str, Any]:
    """The schema of a whole configuration (JSON Schema 2020-12). It imports every provider there is."""
    from .settings import Settings

    schema = Settings.model_json_schema(schema_generator=_Writer)
    sections, definitions = _providers()
    schema["properties"]["providers"] |= sections
    schema["$defs"] |= definitions
    return {"$schema": _Writer.schema_dialect, **schema, "title": "llmgate configuration"}


def _providers() -> tuple[JsonSchemaValue, JsonSchemaValue]:
    """
    A mapping of sections, a chain, or a list of names; and the definitions they refer to.

    A section has the options of every kind there is; which of them a kind takes is found out when it is loaded.
    """
    kinds = known_kinds()
    properties: JsonSchemaValue = {}
    definitions: JsonSchemaValue = {}
    for kind in kinds:
        cls, _ = provider_class(kind)
        schema = cls.model_json_schema(schema_generator=_Writer)
        definitions |= schema.get("$defs", {})
        properties |= schema["properties"]
    for python_only in ("name", "http_client", "async_http_client"):
        properties.pop(python_only, None)
    properties["kind"] = {**TEXT, "examples": kinds, "description": "what it is; by default its name says it"}
    definitions["Provider"] = {"type": "object", "properties": properties, "additionalProperties": False}
    section: JsonSchemaValue = {"anyOf": [{"$ref": "#/$defs/Provider"}, {"type": "null"}]}
    chain = {
        "primary": {"anyOf": [TEXT, section]},
        "fallback": {"anyOf": [TEXTS, TEXT, section]},
        "strategy": {"anyOf": [TEXT, section]},
    }
    return {
        "type": ["object", "array"],
        "properties": chain,
        "additionalProperties": section,
        "items": TEXT,
    }, definitions


class _Writer(GenerateJsonSchema):
    """Leaves out what only Python code can pass: stores and other objects."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        raise PydanticOmit
