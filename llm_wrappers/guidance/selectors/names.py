"""Names of selectors, resolved in one place."""

from __future__ import annotations

from typing import Any

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance._registered import checked_guide, registered
from llm_wrappers.guidance.selector import Selector
from llm_wrappers.guidance.selectors.random import RandomSelector
from llm_wrappers.guidance.selectors.return_drop import ReturnDropSelector

__all__ = ["ENTRY_POINTS", "resolve_selector"]

ENTRY_POINTS = "llm_wrappers.selectors"
"""The group of entry points with which a package makes a name known.

The value is a function ``load(rest, *, description, action_space, model, env, seed) -> Selector``,
where `rest` is what stands behind the colon, empty where there is none.
"""

_NAMES = "random, return-drop, return-drop:WINDOW"


def resolve_selector(
    selector: str | Selector,
    *,
    description: Any = None,
    action_space: Any = None,
    model: Any = None,
    env: Any = None,
    seed: int = 0,
) -> Selector:
    """Return the selector that an object or a name stands for.

    Args:
        selector: ``"random"``; ``"return-drop"`` or ``"return-drop:WINDOW"``; or a name that an
            installed package registers under the entry point group ``llm_wrappers.selectors``. This
            package registers ``"value-gap"`` and ``"state-mask"``, which need Stable-Baselines3.
        description: The `EnvDescription` of the environment, for the names that need it.
        action_space: Its action space, likewise.
        model: The model that played the episodes, likewise.
        env: An environment like that in which they were played, likewise.
        seed: Of what is drawn or trained.

    Raises:
        UnknownNameError: If no resolver knows the name.
        InvalidOptionError: If it is no selector, or what stands behind the colon does not fit.

    >>> resolve_selector("return-drop:5").window
    5
    """
    if isinstance(selector, str):
        context = {
            "description": description,
            "action_space": action_space,
            "model": model,
            "env": env,
            "seed": seed,
        }
        return _named(selector, context)
    return _checked(selector, "a selector object or a name such as 'return-drop'")


def _named(name: str, context: dict[str, Any]) -> Selector:
    prefix, colon, rest = name.partition(":")
    if name == "random":
        return RandomSelector(seed=context["seed"])
    if name == "return-drop":
        return ReturnDropSelector()
    if prefix == "return-drop" and colon:
        return ReturnDropSelector(window=_window(rest))
    made = registered(ENTRY_POINTS, name, known=_NAMES, context=context)
    return _checked(made, f"the entry point of {name!r} to make a selector")


def _checked(selector: Any, wanted: str) -> Selector:
    method = "select(trajectories, per_episode=...)"
    checked: Selector = checked_guide(selector, Selector, wanted, method)
    return checked


def _window(rest: str) -> int:
    if not rest.isdecimal():
        raise InvalidOptionError(f"expected return-drop:WINDOW with a whole number, got {rest!r}")
    return int(rest)
