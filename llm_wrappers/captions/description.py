"""What never changes about an environment, in words."""

from __future__ import annotations

from dataclasses import dataclass

from llm_wrappers.errors import InvalidOptionError

__all__ = ["EnvDescription"]


@dataclass(frozen=True, kw_only=True)
class EnvDescription:
    """The rules, the action names and the goal vocabulary of one environment.

    An authoring pipeline puts it in front of a language model; wrappers read the action names and
    the goals from it, so that neither has to be repeated in every call.

    Args:
        env_id: The Gymnasium id, or any name for an environment that is not registered.
        rules: What a player has to know, as plain prose.
        action_names: One name per discrete action, in the order of the action space; empty for
            other action spaces.
        goals: The goal vocabulary, in the order of the goal channel; may be empty.
        facts: What the facts mean where their names do not say it, as plain prose.

    Raises:
        InvalidOptionError: If action names or goals repeat, or are not non-empty strings.

    >>> toy = EnvDescription(env_id="Toy-v0", rules="Go right.", action_names=("left", "right"))
    >>> toy.action_names
    ('left', 'right')
    """

    env_id: str
    rules: str
    action_names: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    facts: str = ""

    def __post_init__(self) -> None:
        for option in ("action_names", "goals"):
            names = getattr(self, option)
            if not all(isinstance(name, str) and name for name in names):
                raise InvalidOptionError(f"{option} must be non-empty strings, got {names!r}")
            if len(set(names)) != len(names):
                raise InvalidOptionError(f"{option} must not repeat, got {names!r}")
