"""Checks of what `LLM` is constructed with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.request import canonical_json

__all__ = ["check_options", "check_params"]

_LIMITS = frozenset(field.name for field in fields(Budget)) - {"name"}


def check_options(
    *,
    model: Any,
    cache: Any,
    mode: Any,
    modes: tuple[str, ...],
    budget: Any,
    concurrency: Any,
    retries: Any,
    repairs: Any,
    remember_failures: Any,
) -> None:
    """Refuse what cannot work, before anything is opened.

    Raises:
        InvalidOptionError: Naming the option, what was expected and what was given.
    """
    if not isinstance(model, str) or not model.strip():
        raise InvalidOptionError(
            f"expected model as litellm names it, like 'openai/gpt-5-mini', got {model!r}"
        )
    checks.one_of("mode", mode, modes)
    if mode in ("replay", "refresh") and cache is None:
        raise InvalidOptionError(f"mode={mode!r} needs the answers of a cache: give cache=PATH")
    if budget is not None and not isinstance(budget, Budget):
        raise InvalidOptionError(
            f"expected budget as a Budget, like Budget(dollars=5), got {budget!r}"
        )
    if budget is not None and budget.name is not None and cache is None:
        raise InvalidOptionError(
            f"the budget named {budget.name!r} is kept in the cache: give cache=PATH, or a budget "
            "without a name"
        )
    checks.whole("concurrency", concurrency, least=1)
    checks.whole("retries", retries, least=0)
    checks.whole("repairs", repairs, least=0)
    checks.number("remember_failures", remember_failures, least=0)


def check_params(params: Mapping[str, Any]) -> None:
    """Refuse parameters that cannot be part of a question.

    Raises:
        InvalidOptionError: Naming the parameter.
    """
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
