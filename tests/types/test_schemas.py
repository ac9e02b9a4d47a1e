"""A model as strict output wants it, held against what OpenAI's own package makes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError

from llmgate.types.schemas import strict_format

T = TypeVar("T")


class Flat(BaseModel):
    """Somebody."""

    name: str = Field(description="who")
    age: int | None


class Nested(BaseModel):
    flat: Flat = Field(description="the one")
    many: list[Flat]
    either: Flat | int | None
    pair: tuple[int, Flat]
    kind: Literal["a", "b"]
    described: list[Annotated[Flat, Field(description="each")]]
    some: Annotated[Flat, Field(description="some")] | int


class Keywords(BaseModel):
    """Its properties are named like keywords."""

    default: str
    properties: Flat
    type: str
    required: bool
    items: list[int]


class Tree(BaseModel):
    value: int
    left: Tree | None
    right: Tree | None


class Circle(BaseModel):
    next: Circle = Field(description="the next one")


class Empty(BaseModel):
    pass


class Box(BaseModel, Generic[T]):
    thing: T


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str = "nobody"
    where: Flat = Flat(name="x", age=1)
    more: dict[str, int] = {}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = strict_format(model)["json_schema"]["schema"]
    return found


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every schema of an object that lists its properties, in any depth."""
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" and "properties" in schema else []
    return own + [found for item in schema.values() for found in objects(item)]


@pytest.mark.parametrize("model", [Flat, Nested, Keywords, Tree, Empty, Box[Flat]])
def test_agrees_with_openais_package(model: type[BaseModel]) -> None:
    """
    Where nothing has a default the schema is the one that OpenAI's own package sends.
    """
    assert to_strict_json_schema(model) == schema_of(model)


@pytest.mark.parametrize("model", [Flat, Nested, Keywords, Tree, Circle, Empty, Open])
def test_every_object_is_closed(model: type[BaseModel]) -> None:
    """
    Every property of every object is required, and no others are allowed.
    """
    found = objects(schema_of(model))

    assert found
    for schema in found:
        assert schema["additionalProperties"] is False
        assert [*schema["properties"]] == schema["required"]


def test_defaults_are_left_out() -> None:
    """
    Strict output knows no defaults; a property that happens to be named so is kept, and so is an open dict.
    """
    schema = schema_of(Open)

    assert {"type": "string", "title": "Name"} == schema["properties"]["name"]
    assert {"$ref": "#/$defs/Flat"} == schema["properties"]["where"]
    assert {"type": "integer"} == schema["properties"]["more"]["additionalProperties"]
    assert ["default", "properties", "type", "required", "items"] == [*schema_of(Keywords)["properties"]]


def test_a_reference_stands_alone() -> None:
    """
    What is described beside a reference is written out; in a circle the reference stays and the description goes.
    """
    assert "the one" == schema_of(Nested)["properties"]["flat"]["description"]
    assert "$ref" not in schema_of(Nested)["properties"]["flat"]
    assert {"$ref": "#/$defs/Circle"} == schema_of(Circle)["properties"]["next"]
    for model in (Nested, Tree, Circle, Open):
        assert all(["$ref"] == [*schema] for schema in references(schema_of(model)))


def references(schema: Any) -> list[dict[str, Any]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = [schema] if isinstance(schema, dict) and isinstance(schema.get("$ref"), str) else []
    return own + [found for item in inner for found in references(item)]


def test_its_name_is_one_that_can_be_sent() -> None:
    """
    The name holds letters, digits, underscores and hyphens, 64 of them at most.
    """
    long = type("M" * 100, (Flat,), {})

    assert {"type", "json_schema"} == strict_format(Flat).keys()
    assert ("Flat", True) == (strict_format(Flat)["json_schema"]["name"], strict_format(Flat)["json_schema"]["strict"])
    assert "Box_Flat_" == strict_format(Box[Flat])["json_schema"]["name"]
    assert "M" * 64 == strict_format(long)["json_schema"]["name"]


def test_the_model_stays_as_it_is() -> None:
    """
    The model's own schema is not changed by making a strict one of it.
    """
    before = copy.deepcopy(Open.model_json_schema())
    strict_format(Open)

    assert before == Open.model_json_schema()


def test_what_has_no_schema_is_an_error() -> None:
    """
    A model with something in it that JSON schema cannot say is refused by pydantic, in its words.
    """

    class Function(BaseModel):
        call: Callable[[], int]

    with pytest.raises(PydanticUserError):
        strict_format(Function)
