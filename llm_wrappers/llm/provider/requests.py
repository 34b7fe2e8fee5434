"""What is sent: the most that it can cost, and the schema in the form of the provider."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llm_wrappers.errors import PromptTooLongError
from llm_wrappers.llm.request import Request, canonical_json
from llm_wrappers.llm.transport import Cost

__all__ = [
    "Prices",
    "count_tokens",
    "priced",
    "response_format",
    "strict_schema",
    "texts_of",
    "worst_case",
]

Prices = tuple[float, float]

# Our choices. Tokenizers differ: for the same text, those of current models make up to half as
# many tokens more or less than the one that litellm brings along.
_MARGIN = 1.5
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_ATTACHMENT = 3000
_ANSWER_TOKENS = 4096
_CHUNK = 10_000
_MILLION = 1_000_000


def worst_case(litellm: Any, request: Request, prices: Prices | None) -> Cost:
    """Return tokens and dollars of the longest prompt and answer that the request may come to."""
    facts = _model_facts(litellm, request.model)
    counted = count_tokens(litellm, texts_of(request)) + _fixed_tokens(request)
    window = facts.get("max_input_tokens")
    if isinstance(window, int) and counted > _MARGIN * window:
        raise PromptTooLongError(
            f"the prompt has about {counted} tokens, and the context window of {request.model} "
            f"holds {window}: shorten the prompt, or use a model with a larger window"
        )
    prompt = min(math.ceil(_MARGIN * counted), _bytes_of(request) + _fixed_tokens(request))
    answer = _longest_answer(request, facts)
    dollars = priced(prompt, answer, prices) if prices else _listed_price(facts, prompt, answer)
    return Cost(tokens=prompt + answer, dollars=dollars)


def _model_facts(litellm: Any, model: str) -> Mapping[str, Any]:
    # Read from the list itself, because litellm's own look-up asks the server for some providers.
    bare = model.partition("/")[2]
    for name in (model, bare):
        facts = litellm.model_cost.get(name)
        if isinstance(facts, Mapping):
            return facts
    return {}


def count_tokens(litellm: Any, text: str) -> int:
    """Return about how many tokens a text has, by the tokenizer that litellm brings along."""
    # In chunks, because the tokenizer takes quadratic time for long words. No model is named,
    # because litellm would fetch the tokenizers of some.
    chunks = (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))
    return sum(int(litellm.token_counter(model="", text=chunk)) for chunk in chunks)


def priced(prompt: int, answer: int, prices: Prices) -> float:
    """Return the dollars for tokens at prices per million."""
    return (prompt * prices[0] + answer * prices[1]) / _MILLION


def _longest_answer(request: Request, facts: Mapping[str, Any]) -> int:
    given = [request.params.get(name) for name in ("max_tokens", "max_completion_tokens")]
    limits = [limit for limit in given if isinstance(limit, int)]
    known = facts.get("max_output_tokens")
    return max(limits) if limits else known if isinstance(known, int) else _ANSWER_TOKENS


def _listed_price(facts: Mapping[str, Any], prompt: int, answer: int) -> float | None:
    prompt_price = _highest(facts, "input_cost_per_token")
    answer_price = _highest(facts, "output_cost_per_token")
    if prompt_price is None or answer_price is None:
        return None
    return prompt * prompt_price + answer * answer_price


def _highest(facts: Mapping[str, Any], name: str) -> float | None:
    # Long prompts can cost more per token: "input_cost_per_token_above_200k_tokens".
    prices = [
        price
        for key, price in facts.items()
        if (key == name or key.startswith(f"{name}_above_")) and isinstance(price, int | float)
    ]
    return max(prices, default=None)


def texts_of(request: Request) -> str:
    """Return all texts that a request sends."""
    schema = [] if request.answer_schema is None else [canonical_json(request.answer_schema)]
    return "\n".join([*(part for part in _parts(request) if part), *schema])


def _bytes_of(request: Request) -> int:
    # No token is shorter than a byte.
    return len(texts_of(request).encode())


def _fixed_tokens(request: Request) -> int:
    attachments = sum(part is None for part in _parts(request))
    messages = len(request.messages) * _TOKENS_PER_MESSAGE
    return messages + attachments * _TOKENS_PER_ATTACHMENT


def _parts(request: Request) -> Iterator[str | None]:
    """Yield the texts of all messages, and None for each image or other attachment."""
    for message in request.messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, Mapping) else part
            yield text if isinstance(text, str) else None if part is not None else ""


Schema = dict[str, Any]

_KEPT = frozenset({
    "$ref", "const", "description", "enum", "exclusiveMaximum", "exclusiveMinimum", "maxItems",
    "maximum", "minItems", "minimum", "multipleOf", "pattern", "title", "type",
})  # fmt: skip
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
