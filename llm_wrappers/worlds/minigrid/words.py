"""The words and the rules of MiniGrid environments."""

from __future__ import annotations

import re

from llm_wrappers.captions.description import EnvDescription

__all__ = ["ACTIONS", "COLOURS", "COMPASS", "OBJECTS", "STATES", "describe"]

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
"""The actions, in MiniGrid's order; some environments have only the first few."""

OBJECTS = (
    "unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent",
)  # fmt: skip
"""What a cell can hold, in the order in which MiniGrid numbers it."""

COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
"""The colours, in the order in which MiniGrid numbers them."""

STATES = ("open", "closed", "locked")
"""The states of a door, in the order in which MiniGrid numbers them."""

COMPASS = ("east", "south", "west", "north")
"""The directions an agent can face; MiniGrid's pictures have north at the top."""

_DOOR_KEY_GOALS = (
    "find the key", "go to the key", "pick up the key",
    "find the door", "go to the door", "open the door", "go through the door",
    "find the goal", "go to the goal",
)  # fmt: skip
_GOALS = (
    *_DOOR_KEY_GOALS,
    "find the ball", "go to the ball", "pick up the ball",
    "find the box", "go to the box", "pick up the box", "open the box",
    "drop what you carry", "keep away from the lava", "declare the mission done",
)  # fmt: skip

_RULES = """\
You move through a grid of cells and see a square part of it, by default 7 by 7 cells: you are in \
the middle of its nearest row and look ahead. Walls and doors that are not open hide what is \
behind them. You know the compass direction you face, and what you carry.
`left` and `right` turn you where you stand. `forward` moves you into the cell in front of you, if \
it is empty, floor, an open door, the goal or lava; lava ends the episode without a reward. \
`pick up` takes the key, ball or box in front of you if you carry nothing. `drop` puts what you \
carry into the cell in front of you if that is empty. `toggle` opens or closes the door in front \
of you, a locked one only while you carry the key of its colour; it also opens a box, which leaves \
what was in it. `done` does nothing, except where a mission ends by it."""

_FACTS = """\
`direction` is the compass direction you face. `facing` is what is in the cell in front of you: \
"empty", "wall", "floor", "open door", "closed door", "locked door", "key", "ball", "box", "goal" \
or "lava". `front_is_free`, `left_is_free` and `right_is_free`: whether that cell can be entered. \
X is door, key, ball, box, goal or lava. `sees_X`: whether one is in view. `X_ahead` and \
`X_right`: how many cells the nearest one in view is in front of you and to your right (negative: \
to your left); `near_X`: the steps to it; None if none is in view. `door_state` is "open", \
"closed" or "locked", of the nearest door in view, or None. `carrying` is "key", "ball", "box" or \
None. Facts have no memory: what is out of view is not in them."""

_ANY_MISSION = """\
The mission says what to do. As a rule, fulfilling it ends the episode with a reward that is \
higher for fewer steps, nothing else earns a reward, and there is a limit of steps."""

_DOOR_KEY = """\
A wall from north to south divides the world of {size} by {size} cells, border included, into two \
rooms. You begin in the western room, and a key lies there. The only door in the wall is locked; \
the key opens it. The goal is in the south-eastern corner of the eastern room. \
Reaching it ends the episode with a reward of 1 - 0.9 * steps / {limit}; nothing else earns a \
reward. After {limit} steps the episode ends without one. `drop` and `done` are of no use."""


def describe(env_id: str, actions: int = len(ACTIONS)) -> EnvDescription:
    """Return the description of a MiniGrid environment.

    Args:
        env_id: The Gymnasium id. The rules of DoorKey are known, with its default limit of steps;
            of other environments, what all have in common.
        actions: How many of the actions it has.

    >>> describe("MiniGrid-DoorKey-8x8-v0").goals[:3]
    ('find the key', 'go to the key', 'pick up the key')
    """
    door_key = re.match(r"MiniGrid-DoorKey-(\d+)x", env_id)
    size = int(door_key[1]) if door_key else 0
    mission = _DOOR_KEY.format(size=size, limit=10 * size**2) if door_key else _ANY_MISSION
    return EnvDescription(
        env_id=env_id,
        rules=f"{_RULES}\n{mission}",
        action_names=ACTIONS[:actions],
        goals=_DOOR_KEY_GOALS if door_key else _GOALS,
        facts=_FACTS,
    )
