"""Names of selectors, resolved in one place."""

from __future__ import annotations

from typing import Any

from llm_wrappers.guidance.critical.selector import Selector
from llm_wrappers.guidance.critical.selectors.random import RandomSelector
from llm_wrappers.guidance.critical.selectors.return_drop import ReturnDropSelector
from llm_wrappers.registry import Registry, whole_in

__all__ = ["ENTRY_POINTS", "resolve_selector"]

ENTRY_POINTS = "llm_wrappers.selectors"
"""The group of entry points with which a package makes a name known.

The value is a function ``load(rest, *, description, action_space, model, env, seed) -> Selector``,
where `rest` is what stands behind the colon, empty where there is none.
"""


def _return_drop(rest: str, **context: Any) -> Selector:
    if not rest:
        return ReturnDropSelector()
    return ReturnDropSelector(window=whole_in("return-drop:WINDOW", rest))


_SELECTORS: Registry[Selector] = Registry(
    "selector",
    Selector,
    "an object with select(trajectories, per_episode=...), or a name such as 'return-drop'",
    names={
        "random": lambda _, *, seed, **context: RandomSelector(seed=seed),
        "return-drop[:WINDOW]": _return_drop,
    },
    group=ENTRY_POINTS,
)


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
    return _SELECTORS.resolve(
        selector,
        description=description,
        action_space=action_space,
        model=model,
        env=env,
        seed=seed,
    )
