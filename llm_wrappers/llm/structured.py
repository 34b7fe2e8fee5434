"""Structured answers: from a pydantic model to a schema, and from what was said to an object."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails

from llm_wrappers.errors import InvalidAnswerError, InvalidOptionError
from llm_wrappers.llm._json_texts import MAX_DEPTH, JsonText, json_texts, without_reasoning

__all__ = [
    "answer_schema",
    "decode",
    "describe",
    "parse_answer",
    "repair_message",
    "schema_instructions",
    "shortened",
]

_SIGNS = "\u2010-\u2013\u2212\ufe58\ufe63\uff0d"
_SPACES = "\u000b\u000c\u0085\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
# Strings come first, so that nothing inside of them is touched.
_ODDITY = re.compile(
    r'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")'
    rf"|(?P<minus>[{_SIGNS}])(?=\d)"
    r"|(?P<plus>(?<![eE\d.])\+)(?=\d)"
    rf"|(?P<space>[{_SPACES}])",
    re.DOTALL,
)
_INSTEAD = {"minus": "-", "plus": "", "space": " "}
_CONTEXT = 25


def decode(text: str) -> Any:
    """Return the value of a JSON text.

    Outside of strings, typographic minus signs and spaces count as the plain ones, and a number may
    have a plus sign. Line breaks inside of strings are taken as they are.
    """
    try:
        return json.loads(
            _plain(text),
            strict=False,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_distinct,
        )
    except json.JSONDecodeError as error:
        near = error.doc[max(0, error.pos - _CONTEXT) : error.pos + _CONTEXT]
        raise ValueError(f"no valid JSON: {error.msg} near {near!r}") from None


def _plain(text: str) -> str:
    if text.isascii() and "+" not in text:
        return text
    return _ODDITY.sub(lambda match: _INSTEAD.get(match.lastgroup or "", match[0]), text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"expected finite numbers, got {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"expected finite numbers, got {digits[:_CONTEXT]}")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"expected each key once, got {twice!r} more than once")
    return members


_MOST_LINES = 8
_LONGEST_VALUE = 60
_SELF_EXPLAINING = {
    "missing": "expected this field, got nothing",
    "extra_forbidden": "expected no such field",
}


def describe(error: ValidationError) -> str:
    """Return one line for each thing that is wrong, the first ones of many."""
    details = error.errors(include_url=False, include_context=False)
    lines = [_line(detail) for detail in details[:_MOST_LINES]]
    if len(details) > _MOST_LINES:
        lines.append(f"- and {len(details) - _MOST_LINES} more")
    return "\n".join(lines)


def shortened(value: Any) -> str:
    """Return a value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _line(detail: ErrorDetails) -> str:
    path = _path(detail["loc"])
    known = _SELF_EXPLAINING.get(detail["type"])
    if known is not None:
        return f"- {path}: {known}"
    return f"- {path}: {_expected(detail['msg'])}, got {shortened(detail['input'])}"


def _path(places: tuple[int | str, ...]) -> str:
    path = ""
    for place in places:
        if isinstance(place, int):
            path += f"[{place}]"
        else:
            path += f".{place}" if path else place
    return path or "the whole answer"


def _expected(message: str) -> str:
    for beginning in ("Input should be ", "Value error, ", "Assertion failed, "):
        if message.startswith(beginning):
            message = message.removeprefix(beginning)
            return message if beginning != "Input should be " else f"expected {message}"
    return message[:1].lower() + message[1:]


Model = TypeVar("Model", bound=BaseModel)

_MOST_VALUES = 100
_NO_ROOT = ("string", "number", "integer", "boolean", "null")


def answer_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a pydantic model, the same in every process.

    Properties keep the order of the fields, which is the order in which a model writes them.
    """
    if not isinstance(model, type) or not issubclass(model, BaseModel) or model is BaseModel:
        raise InvalidOptionError(
            "expected a pydantic model class as schema, like `class Verdict(BaseModel): useful: "
            f"bool`, got {model!r}"
        )
    try:
        # Through JSON, so that the schema is plain data and has no number that JSON lacks.
        schema: dict[str, Any] = json.loads(json.dumps(model.model_json_schema(), allow_nan=False))
    except (PydanticUserError, TypeError, ValueError) as error:
        raise InvalidOptionError(
            f"expected a schema whose fields have a JSON form, got {model.__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    if _root(schema).get("type") in _NO_ROOT:
        raise InvalidOptionError(
            f"expected a schema whose JSON is an object or an array, got {model.__name__}, which "
            f"has the type {_root(schema)['type']!r}; make it a field of a model"
        )
    return schema


def parse_answer(text: str, model: type[Model]) -> Model:
    """Return the object that a model's answer holds; never a guess.

    The answer may stand in prose or in code fences and after reasoning. Of several JSON values
    that fit, the last one is taken: reasoning comes first and the conclusion last (our choice). An
    object that is broken or breaks off is never passed over for an earlier one, and its parts are
    never taken for it. Of very many values, the last hundred are tried.

    Args:
        text: What the model said.
        model: The pydantic model that the answer must fit.

    Raises:
        InvalidAnswerError: If nothing fits; says field by field what is wrong.

    >>> class Verdict(BaseModel):
    ...     useful: bool
    >>> parse_answer('Let me see {...}. So: {"useful": true}', Verdict)
    Verdict(useful=True)
    >>> parse_answer('{"useful": "perhaps"}', Verdict)
    Traceback (most recent call last):
        ...
    llm_wrappers.errors.InvalidAnswerError: the answer does not fit Verdict:
    - useful: expected a valid boolean, ...
    """
    problems: list[tuple[int, str]] = []
    for part in reversed(json_texts(without_reasoning(text), most=_MOST_VALUES)):
        try:
            return model.model_validate_json(_checked_json(part))
        except ValidationError as error:
            problems.append((len(part.text), describe(error)))
        except ValueError as error:
            problems.append((len(part.text), f"- the whole answer: {error}"))
            if part.has_key:
                raise _invalid(text, model, problems[-1][1]) from None
    # The longest one is most likely what was meant as the answer.
    _, problem = max(problems, default=(0, _nothing_in(text)), key=lambda problem: problem[0])
    raise _invalid(text, model, problem)


def schema_instructions(schema: Mapping[str, Any]) -> str:
    """Return what a prompt has to say where the provider cannot be held to a schema."""
    return (
        "Answer with one JSON value that fits the JSON schema below. If you need to think, do so "
        "first; the JSON comes last, and nothing follows it. Do not repeat the schema.\n\n"
        f"{json.dumps(schema, ensure_ascii=False)}"
    )


def repair_message(error: InvalidAnswerError) -> str:
    r"""Return the turn that asks a model to correct its answer."""
    return (
        f"Your answer cannot be used: {error}\nSend the corrected JSON, complete, and nothing else."
    )


def _root(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    root: dict[str, Any] = schema["$defs"][name] if name else schema
    return root


def _checked_json(part: JsonText) -> str:
    if not part.closed:
        raise ValueError(f"expected complete JSON, got one that breaks off: {_end(part.text)}")
    if part.depth > MAX_DEPTH:
        raise ValueError(f"expected at most {MAX_DEPTH} nested levels, got {part.depth}")
    return json.dumps(decode(part.text))


def _end(text: str) -> str:
    return shortened(text if len(text) <= 40 else "…" + text[-40:])


def _nothing_in(text: str) -> str:
    return f"- the whole answer: expected a JSON object or array, got {shortened(text)}"


def _invalid(text: str, model: type[BaseModel], problem: str) -> InvalidAnswerError:
    message = f"the answer does not fit {model.__name__}:\n{problem}"
    # Half a surrogate pair cannot be sent or stored.
    return InvalidAnswerError(message.encode(errors="backslashreplace").decode(), text=text)
