"""Which actions can have an effect in MiniGrid, told from the facts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts

__all__ = ["has_plain_rules", "legal_actions"]

_PLAIN = ("MiniGrid-DoorKey-",)
_PORTABLE = ("key", "ball", "box")
_TOGGLED = ("open door", "closed door", "box")


def has_plain_rules(env_id: str) -> bool:
    """Return whether an environment is known to add nothing to MiniGrid's own rules.

    Others may give actions a meaning of their own: in some, bumping into a thing ends the episode.

    >>> has_plain_rules("MiniGrid-DoorKey-8x8-v0"), has_plain_rules("MiniGrid-GoToDoor-8x8-v0")
    (True, False)
    """
    return env_id.startswith(_PLAIN)


def legal_actions(action_names: Sequence[str], facts: Sequence[Facts]) -> NDArray[np.bool_]:
    """Return which actions can have an effect in n states, shape (n, actions).

    Turning has one always. `done` counts as legal: it does nothing, which is what it says.

    Args:
        action_names: The actions, in their order.
        facts: The facts of n states.
    """
    legal = np.ones((len(facts), len(action_names)), dtype=np.bool_)
    for index, name in enumerate(action_names):
        if name in _RULES:
            legal[:, index] = [_RULES[name](row) for row in facts]
    return legal


def _can_pick_up(facts: Facts) -> bool:
    return facts["facing"] in _PORTABLE and not facts["carrying"]


def _can_drop(facts: Facts) -> bool:
    return bool(facts["carrying"]) and facts["facing"] == "empty"


def _can_toggle(facts: Facts) -> bool:
    # The door in front is the nearest one, of which the facts say whether the key fits.
    locked = facts["facing"] == "locked door"
    return bool(facts["key_fits_door"]) if locked else facts["facing"] in _TOGGLED


_RULES: dict[str, Callable[[Facts], bool]] = {
    "forward": lambda facts: bool(facts["front_is_free"]),
    "pick up": _can_pick_up,
    "drop": _can_drop,
    "toggle": _can_toggle,
}
