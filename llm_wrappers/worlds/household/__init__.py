"""A small household to tidy up: a stand-in for Housekeep."""

from typing import TYPE_CHECKING

from llm_wrappers.known_worlds import Environment, World, lazy_names, register_world

if TYPE_CHECKING:
    from llm_wrappers.worlds.household.env import HouseholdEnv

__all__ = ["HouseholdEnv", "register"]

__getattr__ = lazy_names(__name__, HouseholdEnv="env")


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="household",
            environments=(
                Environment(
                    env_id="llm_wrappers/Household-v0",
                    entry_point=f"{__name__}:HouseholdEnv",
                    judge=f"{__name__}.env:household",
                ),
            ),
        )
    )
