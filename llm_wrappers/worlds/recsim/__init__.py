"""Recommender systems of RecSim under the Gymnasium API."""

from typing import TYPE_CHECKING

from llm_wrappers.known_worlds import Environment, World, lazy_names, register_world

if TYPE_CHECKING:
    from llm_wrappers.worlds.recsim.env import InterestEvolutionEnv

__all__ = ["InterestEvolutionEnv", "register"]

__getattr__ = lazy_names(__name__, InterestEvolutionEnv="env")


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="recsim",
            environments=(
                Environment(
                    env_id="llm_wrappers/RecSimInterestEvolution-v0",
                    entry_point=f"{__name__}:InterestEvolutionEnv",
                    judge=f"{__name__}.captioner:interest_evolution",
                ),
            ),
        )
    )
