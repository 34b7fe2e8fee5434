"""Handing a JSON schema to a provider in the strict form of OpenAI, where it has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["response_format", "strict_schema"]

Schema = dict[str, Any]

_KEPT = frozenset(
    {
        "$ref",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "title",
        "type",
    }
)
_FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"}
)
_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST_NAME = 64
_DEFINITIONS = "#/$defs/"


class _NoStrictForm(Exception):
    """The schema says something that the strict form cannot say."""


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `response_format` that asks for an answer in a schema.

    The schema is sent in the strict form if it has one, and else as it is, with ``strict`` false.

    >>> response_format({"type": "object", "properties": {}})["json_schema"]["strict"]
    True
    """
    strict = strict_schema(schema)
    name = _NAME.sub("_", str(schema.get("title") or ""))[:_LONGEST_NAME].strip("_") or "answer"
    body = {
        "name": name,
        "schema": dict(schema) if strict is None else strict,
        "strict": strict is not None,
    }
    return {"type": "json_schema", "json_schema": body}


def strict_schema(schema: Mapping[str, Any]) -> Schema | None:
    """Return a schema in the strict form of OpenAI; None if it has no such form.

    In the strict form objects have no further properties, and all of theirs are required. A
    property with a default becomes required, and its description tells the default. What the
    strict form accepts fits the original.

    >>> strict_schema({"type": "object", "properties": {"x": {"type": "integer", "default": 3}}})
    {'type': 'object', 'properties': {'x': {'type': 'integer', 'description': 'Default: 3.'}},
     'required': ['x'], 'additionalProperties': False}
    >>> strict_schema({"type": "object", "additionalProperties": {"type": "number"}}) is None
    True
    """
    root = _with_root_in_place(schema)
    if root.get("type") != "object":
        return None
    try:
        return _strict(root)
    except _NoStrictForm:
        return None


def _with_root_in_place(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema whose root is no reference, as that of a recursive model is."""
    reference = str(schema.get("$ref", ""))
    definition = schema.get("$defs", {}).get(reference.removeprefix(_DEFINITIONS))
    if not reference.startswith(_DEFINITIONS) or definition is None:
        return schema
    return {**definition, **{name: value for name, value in schema.items() if name != "$ref"}}


def _strict(schema: Any) -> Schema:
    if not isinstance(schema, Mapping):
        raise _NoStrictForm
    result: Schema = {}
    for name, value in schema.items():
        if name in _KEPT or (name == "format" and value in _FORMATS):
            result[name] = value
        elif name == "items":
            result[name] = _strict(value)
        elif name == "anyOf" or (name == "oneOf" and "discriminator" in schema):
            # With a discriminator at most one can hold, so that "any" says the same as "one".
            result["anyOf"] = [_strict(option) for option in value]
        elif name == "$defs":
            result[name] = {key: _strict(inner) for key, inner in value.items()}
        elif name not in _HANDLED:
            raise _NoStrictForm
    if schema.get("type") == "object" or "properties" in schema:
        result.update(_strict_object(schema))
    return _reference_alone(_with_default(schema, result))


_HANDLED = frozenset(
    {"additionalProperties", "default", "discriminator", "examples", "properties", "required"}
)


def _strict_object(schema: Mapping[str, Any]) -> Schema:
    if schema.get("additionalProperties") not in (None, False):
        raise _NoStrictForm
    properties = schema.get("properties", {})
    for name, inner in properties.items():
        optional = name not in schema.get("required", ())
        if optional and "default" not in inner:
            raise _NoStrictForm  # Leaving it out would mean something that cannot be said.
    return {
        "properties": {name: _strict(inner) for name, inner in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _with_default(schema: Mapping[str, Any], result: Schema) -> Schema:
    if schema.get("default") is None:
        return result
    told = [result["description"]] if "description" in result else []
    return {**result, "description": " ".join([*told, f"Default: {schema['default']}."])}


def _reference_alone(schema: Schema) -> Schema:
    if "$ref" not in schema or len(schema) == 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "$ref"}
    return {"anyOf": [{"$ref": schema["$ref"]}], **rest}
