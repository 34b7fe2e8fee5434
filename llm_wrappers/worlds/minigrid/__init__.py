"""MiniGrid: captioner, legality and reference guidance for DoorKey."""

from llm_wrappers.known_worlds import Environment, World, register_world

__all__ = ["register"]


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="minigrid",
            environments=tuple(
                Environment(env_id=f"MiniGrid-DoorKey-{n}x{n}-v0", guidance="minigrid-doorkey")
                for n in (5, 6, 8, 16)
            ),
            captioner=f"{__name__}.captioner:known_minigrid",
            guidance={"minigrid-doorkey": f"{__name__}:reference"},
        )
    )
