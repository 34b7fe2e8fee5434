"""Checks of what `LiveSource` is constructed with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError

__all__ = ["check_source_options", "check_texts"]


def check_source_options(
    *,
    llm: Any,
    functions: dict[str, Any],
    on_miss: Any,
    policies: tuple[str, ...],
    sizes: dict[str, Any],
    seconds: dict[str, Any],
) -> None:
    """Refuse what cannot work, before anybody is asked.

    Raises:
        InvalidOptionError: Naming the option, what was expected and what was given.
    """
    if not all(hasattr(llm, method) for method in ("ask", "ask_many", "look_up")):
        raise InvalidOptionError(
            f"expected a language model client, like LLM('openai/gpt-5-mini'), got {llm!r}"
        )
    for name, function in functions.items():
        if not callable(function):
            raise InvalidOptionError(f"expected {name} as a function, got {function!r}")
    checks.one_of("on_miss", on_miss, policies)
    for name, size in sizes.items():
        checks.whole(name, size, least=1)
    for name, value in seconds.items():
        if value != math.inf:
            checks.number(name, value, least=0)


def check_texts(texts: Iterable[Any]) -> None:
    """Refuse what is no text.

    Raises:
        InvalidOptionError: Saying what was given.
    """
    for text in texts:
        if not isinstance(text, str):
            raise InvalidOptionError(
                f"expected texts, one per sub-environment, got {text!r} among them"
            )
