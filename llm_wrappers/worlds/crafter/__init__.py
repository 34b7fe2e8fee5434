"""Crafter as a reproducible Gymnasium environment."""

from typing import TYPE_CHECKING

from llm_wrappers.known_worlds import Environment, World, lazy_names, register_world

if TYPE_CHECKING:
    from llm_wrappers.worlds.crafter.env import CrafterEnv

__all__ = ["CrafterEnv", "register"]

__getattr__ = lazy_names(__name__, CrafterEnv="env")


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="crafter",
            environments=(
                Environment(
                    env_id="llm_wrappers/Crafter-v1",
                    entry_point=f"{__name__}:CrafterEnv",
                    guidance="crafter",
                ),
            ),
            guidance={"crafter": f"{__name__}:reference"},
        )
    )
