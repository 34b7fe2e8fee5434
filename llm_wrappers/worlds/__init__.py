"""The worlds of this package, one folder each, and those that other packages register.

A world is a family of environments with all that is known of it: how it speaks, which actions have
an effect, what is worth doing there, and its reference guidance. Its folder has a function
`register`, which tells this by name, so that nothing is imported before it is asked for.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from llm_wrappers.known_worlds import Environment, Known, World, register_world

__all__ = [
    "ENV_IDS",
    "REGISTERED_IDS",
    "Environment",
    "World",
    "register_envs",
    "register_world",
]

_GROUP = "llm_wrappers.worlds"

ENV_IDS = ("llm_wrappers/Crafter-v1", "llm_wrappers/CraftaxClassic-v1")
"""The ids of the environments with Crafter's 17 actions, which the demo and the reference
guidance are for."""


def register_envs() -> None:
    """Register all worlds, and their environments with Gymnasium; harmless when they already are.

    They are the subpackages of this one, and what installed packages name in the entry point group
    ``llm_wrappers.worlds``: a function without arguments that calls `register_world`. One of these
    that cannot be imported is left out, with a warning.

    >>> import gymnasium as gym
    >>> register_envs()
    >>> "llm_wrappers/Crafter-v1" in gym.registry
    True
    """
    for module in iter_modules(__path__, f"{__name__}."):
        import_module(module.name).register()
    for entry in entry_points(group=_GROUP):
        try:
            register = entry.load()
        except (ImportError, AttributeError) as error:
            warnings.warn(
                f"the world {entry.name!r} is registered for {entry.value}, which cannot be loaded "
                f"({error}); install that package again",
                stacklevel=2,
            )
        else:
            register()


register_envs()

REGISTERED_IDS = tuple(
    env_id for env_id, entry_point in Known("entry_point").items() if _GROUP in entry_point
)
"""The ids of all environments that this package registers."""
