"""What stands behind ``"llm:"`` in a name: a client, and options of whoever uses it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote_plus

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.llm import LLM, resolve_llm

__all__ = ["client_and_options"]


def client_and_options(rest: str, own: Collection[str]) -> tuple[LLM, dict[str, Any]]:
    """Divide a name into a client and the options of whoever uses it.

    Args:
        rest: ``"MODEL?OPTION=VALUE&..."``.
        own: The names of the options that are not the client's.

    Raises:
        InvalidOptionError: If an option is given twice, or as `resolve_llm` says.
        UnknownNameError: If there is no model.

    >>> llm, options = client_and_options("openai/gpt-5-mini?seed=1&on_miss=block", ["on_miss"])
    >>> llm.name, options
    ('llm:openai/gpt-5-mini?seed=1', {'on_miss': 'block'})
    """
    model, _, query = rest.partition("?")
    options: dict[str, Any] = {}
    others = []
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if not equals or name not in own:
            others.append(pair)
        elif name in options:
            raise InvalidOptionError(f"{name!r} is given twice behind 'llm:{model}'")
        else:
            options[name] = _read(unquote_plus(value))
    return resolve_llm(f"llm:{model}" + ("?" + "&".join(others) if others else "")), options


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
