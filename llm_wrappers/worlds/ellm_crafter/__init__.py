"""Crafter as ELLM changed it: 139 actions of a verb and a noun, and downstream tasks."""

from typing import TYPE_CHECKING

from llm_wrappers.known_worlds import Environment, World, lazy_names, register_world

if TYPE_CHECKING:
    from llm_wrappers.worlds.ellm_crafter.env import EllmCrafterEnv

__all__ = ["EllmCrafterEnv", "register"]

__getattr__ = lazy_names(__name__, EllmCrafterEnv="env")


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="ellm_crafter",
            environments=(
                Environment(
                    env_id="llm_wrappers/EllmCrafter-v1", entry_point=f"{__name__}:EllmCrafterEnv"
                ),
            ),
        )
    )
