"""RUDDER's pocket watch repair as a Gymnasium environment."""

from typing import TYPE_CHECKING

from llm_wrappers.known_worlds import Environment, World, lazy_names, register_world

if TYPE_CHECKING:
    from llm_wrappers.worlds.pocket_watch.env import PocketWatchEnv

__all__ = ["PocketWatchEnv", "register"]

__getattr__ = lazy_names(__name__, PocketWatchEnv="env")


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="pocket_watch",
            environments=(
                Environment(
                    env_id="llm_wrappers/PocketWatch-v0",
                    entry_point=f"{__name__}:PocketWatchEnv",
                    judge=f"{__name__}.env:pocket_watch",
                ),
            ),
        )
    )
