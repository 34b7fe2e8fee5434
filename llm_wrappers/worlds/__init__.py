"""The environments of this package, under `llm_wrappers/`: adapters of games, and small tasks."""

import gymnasium as gym

__all__ = ["ENV_IDS", "REGISTERED_IDS", "register_envs"]

_ENTRY_POINTS = {
    "llm_wrappers/Crafter-v1": {"entry_point": "llm_wrappers.worlds.crafter:CrafterEnv"},
    "llm_wrappers/CraftaxClassic-v1": {
        "entry_point": "llm_wrappers.worlds.craftax:CraftaxClassicEnv",
        "vector_entry_point": "llm_wrappers.worlds.craftax:CraftaxClassicVectorEnv",
    },
    "llm_wrappers/EllmCrafter-v1": {
        "entry_point": "llm_wrappers.worlds.ellm_crafter:EllmCrafterEnv"
    },
    "llm_wrappers/Household-v0": {"entry_point": "llm_wrappers.worlds.household:HouseholdEnv"},
    "llm_wrappers/PocketWatch-v0": {
        "entry_point": "llm_wrappers.worlds.pocket_watch:PocketWatchEnv"
    },
    "llm_wrappers/RecSimInterestEvolution-v0": {
        "entry_point": "llm_wrappers.worlds.recsim:InterestEvolutionEnv"
    },
}

ENV_IDS = ("llm_wrappers/Crafter-v1", "llm_wrappers/CraftaxClassic-v1")
"""The ids of the environments with Crafter's 17 actions, which the demo and the reference
guidance are for."""

REGISTERED_IDS = tuple(_ENTRY_POINTS)
"""The ids of all environments that this package registers."""


def register_envs() -> None:
    """Register the environments with Gymnasium; harmless when they already are.

    >>> register_envs()
    >>> "llm_wrappers/Crafter-v1" in gym.registry
    True
    """
    for env_id, entry_points in _ENTRY_POINTS.items():
        if env_id not in gym.registry:
            gym.register(id=env_id, **entry_points)  # type: ignore[arg-type]
