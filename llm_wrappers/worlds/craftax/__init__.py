"""Craftax-Classic as a single and as a natively vectorised Gymnasium environment."""

from typing import TYPE_CHECKING

from llm_wrappers.known_worlds import Environment, World, lazy_names, register_world

if TYPE_CHECKING:
    from llm_wrappers.worlds.craftax.env import CraftaxClassicEnv, CraftaxClassicVectorEnv

__all__ = ["CraftaxClassicEnv", "CraftaxClassicVectorEnv", "register"]

__getattr__ = lazy_names(__name__, CraftaxClassicEnv="env", CraftaxClassicVectorEnv="env")


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="craftax",
            environments=(
                Environment(
                    env_id="llm_wrappers/CraftaxClassic-v1",
                    entry_point=f"{__name__}:CraftaxClassicEnv",
                    vector_entry_point=f"{__name__}:CraftaxClassicVectorEnv",
                    guidance="craftax-classic",
                ),
            ),
            guidance={"craftax-classic": f"{__name__}:reference"},
        )
    )
