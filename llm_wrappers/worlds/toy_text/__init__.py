"""Gymnasium's toy text: Blackjack and FrozenLake, with exact judges."""

from llm_wrappers.known_worlds import Environment, World, register_world

__all__ = ["register"]

_BLACKJACK, _LAKE = f"{__name__}.blackjack", f"{__name__}.frozen_lake"


def register() -> None:
    """Register what is known of these worlds."""
    register_world(
        World(
            name="blackjack",
            environments=(
                Environment(
                    env_id="Blackjack-v1",
                    judge=f"{_BLACKJACK}:judgement",
                    oracle=f"{_BLACKJACK}:BlackjackOracle",
                ),
            ),
            captioner=f"{_BLACKJACK}:known_blackjack",
        )
    )
    lakes = {"FrozenLake-v1": "potential_4x4", "FrozenLake8x8-v1": "potential_8x8"}
    register_world(
        World(
            name="frozen_lake",
            environments=tuple(
                Environment(
                    env_id=env_id,
                    judge=f"{_LAKE}:judgement",
                    oracle=f"{_LAKE}:FrozenLakeOracle",
                    potential=f"{_LAKE}:{potential}",
                )
                for env_id, potential in lakes.items()
            ),
            captioner=f"{_LAKE}:known_frozen_lake",
        )
    )
