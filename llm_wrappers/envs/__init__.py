"""Gymnasium adapters of Crafter and Craftax-Classic, registered under `llm_wrappers/`."""

import gymnasium as gym

__all__ = ["ENV_IDS", "register_envs"]

_ENTRY_POINTS = {
    "llm_wrappers/Crafter-v1": {"entry_point": "llm_wrappers.envs.crafter:CrafterEnv"},
    "llm_wrappers/CraftaxClassic-v1": {
        "entry_point": "llm_wrappers.envs.craftax_classic:CraftaxClassicEnv",
        "vector_entry_point": "llm_wrappers.envs.craftax_classic:CraftaxClassicVectorEnv",
    },
}


ENV_IDS = tuple(_ENTRY_POINTS)
"""The ids of the environments that this package registers."""


def register_envs() -> None:
    """Register the environments with Gymnasium; harmless when they already are.

    >>> register_envs()
    >>> "llm_wrappers/Crafter-v1" in gym.registry
    True
    """
    for env_id, entry_points in _ENTRY_POINTS.items():
        if env_id not in gym.registry:
            gym.register(id=env_id, **entry_points)  # type: ignore[arg-type]
