"""Robots of MuJoCo: what their joints do, in words."""

from llm_wrappers.known_worlds import World, register_world

__all__ = ["register"]


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="mujoco",
            captioner=f"{__name__}.captioner:known_mujoco",
        )
    )
