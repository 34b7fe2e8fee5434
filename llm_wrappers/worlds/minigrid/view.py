"""What a MiniGrid agent sees: the encoding of its partial view, read into facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import FactValue
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = [
    "ACTIONS",
    "COLOURS",
    "COMPASS",
    "OBJECTS",
    "STATES",
    "GridView",
    "Thing",
    "describe",
    "facts_of",
    "is_view",
    "place_in_words",
    "read_views",
]

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


# An agent sees what it carries and never itself; FullyObsWrapper shows the agent.
_LARGEST = np.array([OBJECTS.index("agent") - 1, len(COLOURS) - 1, len(STATES) - 1])
_FIRST_THING = OBJECTS.index("door")
_UNCOLOURED = ("goal", "lava")

_Places: TypeAlias = "tuple[NDArray[np.intp], tuple[int, ...], tuple[int, ...]]"


class Thing(NamedTuple):
    """Something in view, and where it is.

    Args:
        kind: ``"door"``, ``"key"``, ``"ball"``, ``"box"``, ``"goal"`` or ``"lava"``.
        colour: Its colour; None for goals and lava, which have no choice of it.
        state: The state of a door, None for anything else.
        ahead: How many cells it is in front of the agent.
        right: How many cells it is to the right of the agent, negative to the left.
    """

    kind: str
    colour: str | None
    state: str | None
    ahead: int
    right: int


class GridView(NamedTuple):
    """What one agent sees.

    Args:
        held: What it carries, in its own cell; None for nothing.
        front: What is in the cell in front, such as ``"empty"`` or ``"locked door"``.
        left: What is in the cell to the left.
        right: What is in the cell to the right.
        things: The things in other cells, nearest first; of equally near ones, what is further
            ahead first, then what is further left.
    """

    held: Thing | None
    front: str
    left: str
    right: str
    things: list[Thing]


def is_view(shape: tuple[int, ...]) -> bool:
    """Return whether one view can have this shape.

    >>> is_view((7, 7, 3)), is_view((56, 56, 3))
    (True, False)
    """
    return len(shape) == 3 and shape[0] == shape[1] >= 3 and shape[0] % 2 == 1 and shape[2] == 3


def read_views(observations: Any) -> list[GridView]:
    """Return the views in a batch of observations."""
    image = _checked_image(observations)
    order, ahead, right = _near_to_far(image.shape[1])
    cells = image.reshape(len(image), -1, 3)[:, order]
    rows, at = np.nonzero(cells[..., 0] >= _FIRST_THING)
    things: list[list[Thing]] = [[] for _ in image]
    for row, cell, code in zip(rows.tolist(), at.tolist(), cells[rows, at].tolist(), strict=True):
        things[row].append(_thing(*code, ahead[cell], right[cell]))
    beside = [[_name(*code) for code in row] for row in cells[:, 1:4].tolist()]
    return [_view(found, *names) for found, names in zip(things, beside, strict=True)]


def _checked_image(observations: Any) -> NDArray[Any]:
    if isinstance(observations, Mapping) and "image" not in observations:
        raise InvalidOptionError(
            f"expected the view of the agent under 'image', got the keys {sorted(observations)}; "
            "put wrappers that remove it outside of the guidance"
        )
    image = np.asarray(observations["image"] if isinstance(observations, Mapping) else observations)
    if image.dtype.kind not in "iu" or not is_view(image.shape[1:]):
        raise InvalidOptionError(
            "expected a batch of MiniGrid views, whole numbers of shape (n, size, size, 3) with an "
            f"odd size, got {image.dtype} of shape {image.shape}; put wrappers that change the "
            "view outside of the guidance"
        )
    if (image > _LARGEST).any():
        raise InvalidOptionError(
            f"expected symbols up to {_LARGEST.tolist()} in each cell (object, colour, state), got "
            f"up to {image.max(axis=(0, 1, 2)).tolist()}: these are pixels, or the whole grid with "
            "the agent in it. Put FullyObsWrapper and the like outside of the guidance"
        )
    return image


@lru_cache(maxsize=8)
def _near_to_far(size: int) -> _Places:
    """Return the order of the cells of a flat view, and how far ahead and right each is.

    The agent's own cell comes first, then the cells in front, to the left and to the right.
    """
    # The first axis of a view runs from left to right, the second from far to near.
    columns, rows = np.divmod(np.arange(size * size), size)
    ahead, right = size - 1 - rows, columns - size // 2
    order = np.lexsort((right, -ahead, ahead + np.abs(right)))
    return order, tuple(ahead[order].tolist()), tuple(right[order].tolist())


@lru_cache(maxsize=4096)
def _thing(number: int, colour: int, state: int, ahead: int, right: int) -> Thing:
    kind = OBJECTS[number]
    return Thing(
        kind,
        None if kind in _UNCOLOURED else COLOURS[colour],
        STATES[state] if kind == "door" else None,
        ahead,
        right,
    )


def _name(number: int, colour: int, state: int) -> str:
    name = OBJECTS[number]
    return f"{STATES[state]} door" if name == "door" else name


def _view(things: list[Thing], front: str, left: str, right: str) -> GridView:
    in_hand = bool(things) and things[0].ahead == things[0].right == 0
    held, *others = things if in_hand else [None, *things]
    return GridView(held, front, left, right, [thing for thing in others if thing is not None])


_KINDS = ("door", "key", "ball", "box", "goal", "lava")
_FREE = ("empty", "floor", "open door", "goal", "lava")


def facts_of(view: GridView, direction: str | None, mission: str | None) -> dict[str, FactValue]:
    """Return the facts of one state."""
    held = view.held
    nearest: dict[str, Thing] = {}
    for thing in view.things:
        nearest.setdefault(thing.kind, thing)
    facts: dict[str, FactValue] = {
        "direction": direction,
        "mission": mission,
        "carrying": held.kind if held else None,
        "carrying_colour": held.colour if held else None,
        "carrying_key": held is not None and held.kind == "key",
        "facing": view.front,
        "front_is_free": view.front in _FREE,
        "front_is_wall": view.front == "wall",
        "left_is_free": view.left in _FREE,
        "right_is_free": view.right in _FREE,
    }
    for kind in _KINDS:
        facts.update(_about(kind, nearest.get(kind)))
    facts["key_fits_door"] = bool(
        facts["carrying_key"] and facts["carrying_colour"] == facts["door_colour"]
    )
    facts["in_view"] = tuple(_in_words(thing) for thing in view.things if thing.kind != "lava")
    return facts


def place_in_words(ahead: int, right: int) -> str:
    """Return where a cell is, seen from the agent.

    >>> place_in_words(2, -1)
    '2 ahead, 1 left'
    """
    parts = [f"{ahead} ahead"] if ahead else []
    if right:
        parts.append(f"{abs(right)} {'right' if right > 0 else 'left'}")
    return ", ".join(parts)


@lru_cache(maxsize=4096)
def _about(kind: str, thing: Thing | None) -> Mapping[str, FactValue]:
    """Return the facts about the nearest thing of one kind."""
    facts: dict[str, FactValue] = {
        f"sees_{kind}": thing is not None,
        f"near_{kind}": thing.ahead + abs(thing.right) if thing else None,
        f"{kind}_ahead": thing.ahead if thing else None,
        f"{kind}_right": thing.right if thing else None,
    }
    if kind not in ("goal", "lava"):
        facts[f"{kind}_colour"] = thing.colour if thing else None
    if kind == "door":
        facts["door_state"] = thing.state if thing else None
    return facts


@lru_cache(maxsize=4096)
def _in_words(thing: Thing) -> str:
    words = [word for word in (thing.state, thing.colour, thing.kind) if word]
    return f"{' '.join(words)} ({place_in_words(thing.ahead, thing.right)})"
