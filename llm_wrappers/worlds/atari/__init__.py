"""Games of Atari, spoken of from their memory, and Pong from its frames too."""

from llm_wrappers.known_worlds import Environment, World, register_world

__all__ = ["register"]


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="atari",
            environments=(
                Environment(
                    env_id="ALE/Pong-v5",
                    judge=f"{__name__}.pong:atari_pong",
                    judged_actions=f"{__name__}.pong:ACTION_NAMES",
                ),
            ),
            captioner=f"{__name__}.captioner:known_atari",
        )
    )
