"""A pydantic model as the JSON schema that structured output keeps to, strictly.

What strict output asks of a schema is OpenAI's list (https://developers.openai.com/api/docs/guides/structured-outputs,
checked 2026-11-20): every property required, no others allowed, no defaults, and a `$ref` that stands alone. The OpenAI
package does the same in `lib/_pydantic.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["strict_format"]

NAME_LENGTH_MAX = 64  # characters of a schema's name; the API refuses more

_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")  # in a schema's name: the brackets of a generic model, for one
_ONE = frozenset({"items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames"})
_MANY = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def strict_format(model: type[BaseModel]) -> dict[str, Any]:
    """
    The `response_format` that asks for such a model.

    Raises:
        PydanticUserError: If the model has no JSON schema.
    """
    schema = model.model_json_schema()
    name = _FOREIGN.sub("_", model.__name__)[:NAME_LENGTH_MAX]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": _strict(schema, schema), "strict": True}}


def _strict(schema: Any, root: Mapping[str, Any], inside: tuple[str, ...] = ()) -> Any:
    """
    Args:
        inside: The references that were replaced by what they refer to, on the way to here.
    """
    if not isinstance(schema, dict):
        return schema  # `additionalProperties: true`
    schema = {name: value for name, value in schema.items() if name != "default"}
    if len(schema.get("allOf", ())) == 1:
        schema |= schema.pop("allOf")[0]
    reference = schema.get("$ref")
    if reference is not None and len(schema) > 1:
        # What stands beside a reference is refused, so the reference gives way; in a circle it stays, alone.
        if reference in inside:
            return {"$ref": reference}
        del schema["$ref"]
        return _strict({**_resolved(reference, root), **schema}, root, (*inside, reference))
    out: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _ONE:
            out[name] = _strict(value, root, inside)
        elif name in _MANY:
            out[name] = [_strict(item, root, inside) for item in value]
        elif name in _NAMED:
            # The names in here are the model's own, and may be those of keywords.
            out[name] = {key: _strict(item, root, inside) for key, item in value.items()}
        else:
            out[name] = value
    if "properties" in out:
        out |= {"additionalProperties": False, "required": [*out["properties"]]}
    return out


def _resolved(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found
