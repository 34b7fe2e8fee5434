"""Gymnasium's classic control: captioners, judges and potentials."""

from llm_wrappers.known_worlds import Environment, World, register_world

__all__ = ["register"]

_RULES = {
    "CartPole-v0": "cart_pole",
    "CartPole-v1": "cart_pole",
    "MountainCar-v0": "mountain_car",
    "MountainCarContinuous-v0": "mountain_car",
    "Pendulum-v1": "pendulum",
}


def register() -> None:
    """Register what is known of this world."""
    register_world(
        World(
            name="classic",
            environments=tuple(
                Environment(
                    env_id=env_id,
                    judge=f"{__name__}.captioner:{rule}",
                    potential=f"{__name__}.captioner:{rule}_potential",
                )
                for env_id, rule in _RULES.items()
            ),
            captioner=f"{__name__}.captioner:known_classic_control",
        )
    )
