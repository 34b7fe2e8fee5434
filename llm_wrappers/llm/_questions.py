"""From what a caller gives to the client to questions: requests, and how their answers are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ValidationError

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.provider.connection import split_params
from llm_wrappers.llm.request import Prompt, Request, as_messages, canonical_json
from llm_wrappers.llm.structured import answer_schema, parse_answer

__all__ = ["Questions", "TypedRequest", "check_params"]

_LIMITS = frozenset(field.name for field in fields(Budget)) - {"name"}


def check_params(params: Mapping[str, Any]) -> None:
    """Refuse parameters that cannot be part of a question."""
    for name, value in params.items():
        if name in _LIMITS:
            raise InvalidOptionError(
                f"{name} is no parameter of a model: a limit is given as "
                f"budget=Budget({name}={value!r})"
            )
        try:
            readable = json.loads(canonical_json(value)) == value
        except (TypeError, ValueError):
            readable = False
        if not readable:
            raise InvalidOptionError(
                f"expected {name} as JSON (texts, finite numbers, lists, dicts), got {value!r}"
            )


@dataclass(frozen=True)
class TypedRequest:
    """What is asked, and how the answer is read."""

    request: Request
    schema: type[BaseModel] | None

    @property
    def key(self) -> str:
        """The key under which the answer is kept."""
        return self.request.key

    def parse(self, text: str) -> BaseModel | None:
        """Return the structured answer in a text, None if free text was asked for."""
        return None if self.schema is None else parse_answer(text, self.schema)


class Questions:
    """Makes the questions of one client."""

    def __init__(self, model: str, params: Mapping[str, Any]) -> None:
        self._model = model
        self._params = params
        # pydantic takes about a millisecond to make the JSON schema of a class.
        self._schemas: WeakKeyDictionary[type[BaseModel], dict[str, Any]] = WeakKeyDictionary()

    def of(
        self,
        prompts: Iterable[Prompt],
        *,
        schema: type[BaseModel] | None,
        sample: int,
        prompt_version: str,
        params: Mapping[str, Any] | None,
    ) -> list[TypedRequest]:
        """Return a question for each prompt; the arguments are those of `LLM.ask_many`."""
        checks.whole("sample", sample, least=0)
        fields = {
            "model": self._model,
            "params": self._with_own(params),
            "answer_schema": None if schema is None else self._json_schema(schema),
            "sample": sample,
            "prompt_version": prompt_version,
        }
        return [TypedRequest(_request(prompt, fields), schema) for prompt in _listed(prompts)]

    def _with_own(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        if params is None:
            return dict(self._params)
        if not isinstance(params, Mapping):
            raise InvalidOptionError(f"expected params as a dict by name, got {params!r}")
        answer_params, reach = split_params(params)
        if reach:
            raise InvalidOptionError(
                f"{sorted(reach)} say how to reach the model: give them to LLM(...), not to a "
                "question"
            )
        check_params(answer_params)
        return {**self._params, **answer_params}

    def _json_schema(self, schema: type[BaseModel]) -> dict[str, Any]:
        if not isinstance(schema, type) or schema not in self._schemas:
            self._schemas[schema] = answer_schema(schema)
        return self._schemas[schema]


def _listed(prompts: Iterable[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        raise InvalidOptionError(
            f"expected a list of prompts, got the single text {prompts!r}; use ask() or [prompt]"
        )
    if isinstance(prompts, bytes | Mapping) or not isinstance(prompts, Iterable):
        raise InvalidOptionError(f"expected a list of prompts, got {prompts!r}")
    return list(prompts)


def _request(prompt: Prompt, fields: Mapping[str, Any]) -> Request:
    try:
        request = Request(messages=as_messages(prompt), **fields)
        _check_unicode(request.text)
    except InvalidOptionError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _not_json(f"{where}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise _not_json(str(error)) from error
    return request


def _check_unicode(canonical: str) -> None:
    if "\\ud" not in canonical:
        return
    try:
        json.dumps(json.loads(canonical), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidOptionError(
            "expected a question that is valid Unicode, got half of a surrogate pair, which cannot "
            "be sent; replace it with text.encode(errors='replace').decode()"
        ) from None


def _not_json(reason: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"a question must be plain JSON (texts, numbers, lists, dicts): {reason}"
    )
