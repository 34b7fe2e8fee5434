"""Schemas in the strict form of OpenAI."""

import enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from llm_wrappers.llm.provider.requests import response_format, strict_schema


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: int = Field(ge=0, le=9)
    y: float


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Plan(BaseModel):
    """What to do next."""

    goal: str = Field(description="One of the goals.")
    where: Point
    path: list[Point] = Field(min_length=1, max_length=3)
    colour: Colour = Field(Colour.RED, description="Of the paint.")
    note: str | None = None
    weight: float = 1.5
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Tree(BaseModel):
    name: str
    children: list["Tree"]


def objects_in(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects_in(inner)


def keywords_in(schema):
    """All keywords, but not the names of properties and definitions."""
    if isinstance(schema, list):
        for inner in schema:
            yield from keywords_in(inner)
    elif isinstance(schema, dict):
        for name, inner in schema.items():
            yield name
            named = name in ("properties", "$defs")
            yield from keywords_in(list(inner.values()) if named else inner)


@pytest.mark.parametrize("model", [Plan, Tree, Point])
def test_every_object_is_closed_and_every_property_required(model):
    strict = strict_schema(model.model_json_schema())
    found = list(objects_in(strict))
    assert found
    for schema in found:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
    assert {"default", "oneOf", "discriminator", "allOf"}.isdisjoint(keywords_in(strict))


def test_nothing_of_the_meaning_is_lost():
    strict = strict_schema(Plan.model_json_schema())
    properties = strict["properties"]
    assert strict["description"] == "What to do next."
    assert properties["goal"]["description"] == "One of the goals."
    assert properties["where"] == {"$ref": "#/$defs/Point"}
    assert (properties["path"]["minItems"], properties["path"]["maxItems"]) == (1, 3)
    assert properties["note"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert properties["weight"]["description"] == "Default: 1.5."
    assert properties["colour"] == {
        "anyOf": [{"$ref": "#/$defs/Colour"}],
        "description": "Of the paint. Default: red.",
    }
    assert properties["pet"]["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    assert strict["$defs"]["Point"]["properties"]["x"]["maximum"] == 9
    assert strict["$defs"]["Colour"]["enum"] == ["red", "blue"]


class Free(BaseModel):
    shares: dict[str, float]


class Lazy(BaseModel):
    goals: list[str] = Field(default_factory=list)


class Short(BaseModel):
    goal: str = Field(max_length=10)


class Pair(BaseModel):
    pair: tuple[int, str]


class Extra(BaseModel, extra="allow"):
    goal: str


@pytest.mark.parametrize("model", [Free, Lazy, Short, Pair, Extra])
def test_what_has_no_strict_form_is_sent_as_it_is(model):
    schema = model.model_json_schema()
    assert strict_schema(schema) is None
    sent = response_format(schema)["json_schema"]
    assert sent == {"name": model.__name__, "schema": schema, "strict": False}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [{"type": "object", "properties": {}}]},
        {"type": "object", "properties": {"a": {"type": "string", "format": "path"}}},
        {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": True}},
            "required": ["a"],
        },
        {},
    ],
)
def test_other_schemas_without_a_strict_form(schema):
    assert strict_schema(schema) is None
