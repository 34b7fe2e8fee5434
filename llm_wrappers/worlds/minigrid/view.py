"""What a MiniGrid agent sees, read from the encoding of its partial view."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.minigrid.words import COLOURS, OBJECTS, STATES

__all__ = ["Thing", "View", "is_view", "read_views"]

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


class View(NamedTuple):
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


def read_views(observations: Any) -> list[View]:
    """Return the views in a batch of observations.

    Args:
        observations: A dict with the views under ``"image"``, or the views alone, of shape
            (n, size, size, 3) as MiniGrid encodes them.

    Raises:
        InvalidOptionError: If they are no such views, for example pixels or the whole grid.
    """
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


def _view(things: list[Thing], front: str, left: str, right: str) -> View:
    in_hand = bool(things) and things[0].ahead == things[0].right == 0
    held, *others = things if in_hand else [None, *things]
    return View(held, front, left, right, [thing for thing in others if thing is not None])
