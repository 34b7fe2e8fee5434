"""Names of clients, so that specs and configurations stay plain JSON."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.cache.redis_store import RedisAddress
from llm_wrappers.llm.client import LLM

__all__ = ["name_of", "resolve_llm"]

_PREFIX = "llm:"
_LIMITS = ("calls", "tokens", "dollars", "requests_per_minute")
_BUDGET = "budget"
_ALWAYS_TEXT = (_BUDGET, "cache")
_SAFE = "/:,@"
_NO_FORM_IN_A_NAME = ("transport", "api_key")


def resolve_llm(llm: str | LLM) -> LLM:
    """Return the client that an object or a name stands for.

    Args:
        llm: A client, or ``"llm:MODEL"`` with options behind a question mark:
            ``"llm:openai/gpt-5-mini?cache=answers.sqlite&mode=replay&temperature=0"``. The options
            are those of `LLM`; a budget is given by its limits (`calls`, `tokens`, `dollars`,
            `requests_per_minute`) and its name, ``budget=NAME``: whoever resolves the same name, in
            whatever process, spends from the same account.

    Raises:
        UnknownNameError: If it does not begin with ``"llm:"`` and a model.
        InvalidOptionError: If an option is wrong, twice there, or may not stand in a name.

    >>> llm = resolve_llm("llm:openai/gpt-5-mini?cache=answers.sqlite&mode=replay")
    >>> llm.model, llm.cache, llm.mode
    ('openai/gpt-5-mini', 'answers.sqlite', 'replay')
    """
    if isinstance(llm, LLM):
        return llm
    if not isinstance(llm, str) or not llm.startswith(_PREFIX):
        raise _unknown(llm)
    model, _, query = llm.removeprefix(_PREFIX).partition("?")
    if not model:
        raise _unknown(llm)
    return LLM(unquote(model), **_read_options(query, f"{_PREFIX}{model}?..."))


def name_of(llm: LLM) -> str:
    """Return the shortest name that `resolve_llm` turns into an equal client."""
    if llm.transport_given:
        raise InvalidOptionError("a client with a transport object has no name; register a source")
    options = {
        name: getattr(llm, name)
        for name, default in _defaults().items()
        if getattr(llm, name) != default
    }
    if "cache" in options:
        options["cache"] = _cache_in_name(options["cache"])
    options.update(_budget_in_name(llm.budget))
    options.update(llm.connection.named())
    options.update(llm.params)
    query = urlencode(
        sorted((name, _write_value(name, value)) for name, value in options.items()),
        quote_via=quote,
        safe=_SAFE,
    )
    return _PREFIX + quote(llm.model, safe=_SAFE) + (f"?{query}" if query else "")


def _defaults() -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(LLM).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in (_BUDGET, "transport")
    }


def _read_options(query: str, whole: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise InvalidOptionError(
            f"expected options like 'cache=answers.sqlite&mode=replay' in {whole!r}, got something "
            "without an equals sign"
        ) from None
    _check_no_password(dict(pairs).get("cache"))
    options: dict[str, Any] = {}
    for name, text in pairs:
        if name in _NO_FORM_IN_A_NAME:
            raise InvalidOptionError(
                f"{name} may not stand in a name, which ends up in specs and logs; set the "
                "provider's environment variable, or name another one with api_key_env="
            )
        if name in options:
            raise InvalidOptionError(f"{name!r} is given twice in {whole!r}")
        options[name] = text if name in _ALWAYS_TEXT else _read_value(text)
    return _with_budget(options, whole)


def _with_budget(options: dict[str, Any], whole: str) -> dict[str, Any]:
    limits = {name: options.pop(name) for name in _LIMITS if name in options}
    name = options.pop(_BUDGET, None)
    if limits and not name:
        raise InvalidOptionError(
            f"the budget in {whole!r} needs a name, or each process that reads it would have a "
            "budget of its own: add budget=NAME and cache=PATH"
        )
    if name:
        options[_BUDGET] = Budget(**limits, name=name)
    if isinstance(options.get("prices"), list):
        options["prices"] = tuple(options["prices"])
    return options


def _budget_in_name(budget: Budget) -> dict[str, Any]:
    limits = {name: getattr(budget, name) for name in _LIMITS if getattr(budget, name) is not None}
    if limits and budget.name is None:
        raise InvalidOptionError(
            "a budget without a name cannot be shared by those who read the client's name; use "
            "Budget(..., name='my-project') and a cache"
        )
    return limits if budget.name is None else {**limits, _BUDGET: budget.name}


def _cache_in_name(cache: Any) -> str:
    if isinstance(cache, str | os.PathLike):
        _check_no_password(cache)
        return os.fspath(cache)
    raise InvalidOptionError(f"a cache object has no form in a name, give a path or URL: {cache!r}")


def _check_no_password(cache: Any) -> None:
    is_url = isinstance(cache, str) and "://" in cache
    if is_url and RedisAddress(cache).without_secrets(cache) != cache:
        raise InvalidOptionError(
            "the password of a cache may not stand in a name, which ends up in specs and logs; "
            "make the client in the program, with LLM(..., cache=URL)"
        )


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _write_value(name: str, value: Any) -> str:
    # A text that would be read back as a number or a list is quoted.
    is_plain_text = name in _ALWAYS_TEXT or (isinstance(value, str) and _read_value(value) == value)
    return value if is_plain_text else json.dumps(value, separators=(",", ":"))


def _unknown(llm: Any) -> UnknownNameError:
    # What stands behind the question mark may hold a key.
    shown = llm.partition("?")[0] if isinstance(llm, str) else llm
    return UnknownNameError(
        "expected an LLM or a name like 'llm:openai/gpt-5-mini?cache=answers.sqlite', "
        f"got {shown!r}"
    )
