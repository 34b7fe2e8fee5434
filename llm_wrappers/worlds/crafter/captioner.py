"""How Crafter and Craftax-Classic speak: facts and sentences from what the agent can see.

Both environments put the same things into `info`: the visible 9x7 tiles around the agent
(`local_view`), the inventory with the vital signs, the direction faced, whether the agent sleeps,
the daylight, and the achievements of this episode. Nothing outside the view is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts, FactValue, StateByState
from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.worlds.crafter.rules import (
    ACHIEVEMENTS,
    ACTIONS,
    INVENTORY,
    THINGS,
    describe,
    legal_actions,
)

__all__ = ["ACHIEVEMENTS", "ACTIONS", "INVENTORY", "THINGS", "CrafterFamilyCaptioner"]

_VIEW_ROWS, _VIEW_COLUMNS = 7, 9
_AGENT_ROW, _AGENT_COLUMN = _VIEW_ROWS // 2, _VIEW_COLUMNS // 2
_OUT_OF_VIEW = 0
_TABLE, _FURNACE = THINGS.index("table"), THINGS.index("furnace")
# Below this daylight monsters multiply; Crafter starts to darken its picture here as well.
_DARK_BELOW = 0.5
# Of 9: our choice of when an agent feels hurt, hungry, thirsty or tired.
_WEAK_BELOW = 5
# (row, column) of the tile in front, by direction faced: 1 left, 2 right, 3 up, 4 down.
_IN_FRONT = np.array([[0, 0], [0, -1], [0, 1], [-1, 0], [1, 0]])


def _cells_far_to_near() -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    rows, columns = np.divmod(np.arange(_VIEW_ROWS * _VIEW_COLUMNS), _VIEW_COLUMNS)
    steps = np.abs(rows - _AGENT_ROW) + np.abs(columns - _AGENT_COLUMN)
    order = np.argsort(-steps, kind="stable")[:-1]  # the last one is the agent's own tile
    return order, steps[order].astype(np.int8)


_CELLS, _STEPS = _cells_far_to_near()


_COUNT = tuple(range(10))
_TRUTH = (False, True)
_STEPS_AWAY = (None, *range(1, _STEPS.max() + 1))
_COLUMNS = (
    *(FactColumns(item, _COUNT) for item in INVENTORY),
    FactColumns("facing", THINGS),
    *(FactColumns(name, _TRUTH) for name in ("sleeping", "dark", "at_table", "at_furnace")),
    *(FactColumns(name, _TRUTH) for name in ("hurt", "hungry", "thirsty", "tired")),
    *(FactColumns(f"near_{thing}", _STEPS_AWAY) for thing in THINGS),
    *(FactColumns(f"sees_{thing}", _TRUTH) for thing in THINGS),
    FactColumns("unlocked", ACHIEVEMENTS, flags=True),
)


class CrafterFamilyCaptioner(StateByState):
    """Facts, state captions and transition captions of Crafter and Craftax-Classic.

    The facts are: the 16 inventory counts and vital signs (0 to 9); `facing`, the name of the
    thing in front; `sleeping`; `dark`; `at_table` and `at_furnace`, whether one is among the eight
    tiles around the agent; `hurt`, `hungry`, `thirsty` and `tired`, whether a vital sign is below
    5; `near_<thing>`, the steps (Manhattan distance) to the nearest one in view, or None;
    `sees_<thing>`, whether one is in view; `unlocked`, the achievements of this episode, which the
    agent knows from its rewards. A planner that reads the coarse facts is asked less often.

    Args:
        variant: ``"crafter"`` or ``"craftax-classic"``; the rules differ in what things cost.

    >>> CrafterFamilyCaptioner("craftax-classic").description.goals[:2]
    ('collect wood', 'place table')
    """

    reads_observations = False
    transition_reads = ("food", "drink", *INVENTORY[4:], "facing", "sleeping", "unlocked")

    def __init__(self, variant: str) -> None:
        self._description = describe(variant)
        self._variant = variant

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> FactsTable:
        """Return the facts of n sub-environments, read from `infos` alone.

        Args:
            observations: Not read; pixels and symbols say no more than the infos.
            infos: With `local_view` of shape (n, 7, 9), `facing`, `sleeping` and `daylight` of
                shape (n,), and the dicts `inventory` and `achievements` of arrays of shape (n,).
        """
        view = np.asarray(infos["local_view"], dtype=np.uint8)
        inventory, achievements = infos["inventory"], infos["achievements"]
        held = _rows([inventory[item] for item in INVENTORY])
        around = view[:, _AGENT_ROW - 1 : _AGENT_ROW + 2, _AGENT_COLUMN - 1 : _AGENT_COLUMN + 2]
        state = _rows(
            [
                _things_in_front(view, np.asarray(infos["facing"], dtype=np.intp)),
                infos["sleeping"],
                np.asarray(infos["daylight"]) < _DARK_BELOW,
                (around == _TABLE).any(axis=(1, 2)),
                (around == _FURNACE).any(axis=(1, 2)),
            ]
        )
        nearest = _steps_to_nearest(view).T
        reached = np.minimum(_rows([achievements[name] for name in ACHIEVEMENTS]), 1)
        blocks = (held, state, held[:4] < _WEAK_BELOW, nearest, nearest != _OUT_OF_VIEW, reached)
        matrix = np.concatenate(blocks, dtype=np.int8, casting="unsafe").T.copy()
        return FactsTable(_COLUMNS, matrix)

    def legal_actions(self, facts: Sequence[Facts]) -> NDArray[np.bool_]:
        """Return which actions can have an effect in n states, shape (n, 17).

        See `llm_wrappers.worlds.crafter.rules.legal_actions` for what facts cannot
        decide.

        Args:
            facts: The facts of n states.
        """
        return legal_actions(self._variant, facts)

    def _state(self, facts: Facts) -> str:
        return _state_caption(facts)

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return _transition_caption(before, self._action_name(action), after)


def _things_in_front(view: NDArray[np.uint8], facing: NDArray[np.intp]) -> NDArray[np.uint8]:
    offsets = _IN_FRONT[facing]
    tiles: NDArray[np.uint8] = view[
        np.arange(len(view)), _AGENT_ROW + offsets[:, 0], _AGENT_COLUMN + offsets[:, 1]
    ]
    return tiles


def _rows(columns: Sequence[Any]) -> NDArray[Any]:
    """Return columns of shape (n,) as the rows of one array, at once, which is much faster."""
    return np.concatenate(columns).reshape(len(columns), -1)


def _steps_to_nearest(view: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the steps to the nearest tile of each thing, shape (n, things); 0 if not in view."""
    n = len(view)
    nearest = np.full((n, len(THINGS)), _OUT_OF_VIEW, dtype=np.int8)
    seen = view.reshape(n, -1)[:, _CELLS]
    # Tiles come far to near, and of repeated indices the last assignment counts.
    nearest[np.arange(n)[:, None], seen] = _STEPS
    return nearest


def _state_caption(facts: Facts) -> str:
    seen = [
        f"{thing.replace('_', ' ')} ({_steps(facts[f'near_{thing}'])})"
        for thing in THINGS
        if thing not in ("darkness", "path", "grass", "sand") and facts[f"near_{thing}"] is not None
    ]
    held = [f"{facts[item]} {item.replace('_', ' ')}" for item in INVENTORY[4:] if facts[item]]
    feelings = [word for word in ("hurt", "hungry", "thirsty", "tired") if facts[word]]
    sentences = [
        f"You see {', '.join(seen)}." if seen else "You see nothing of note.",
        f"You face {str(facts['facing']).replace('_', ' ')}.",
        f"You have {', '.join(held)}." if held else "You have nothing.",
    ]
    if feelings:
        sentences.append(f"You feel {' and '.join(feelings)}.")
    if facts["dark"]:
        sentences.append("It is dark.")
    if facts["sleeping"]:
        sentences.append("You are asleep.")
    return " ".join(sentences)


def _steps(number: FactValue) -> str:
    return "1 step" if number == 1 else f"{number} steps"


def _transition_caption(before: Facts, action: str, after: Facts) -> str:
    old, new = before["unlocked"], after["unlocked"]
    assert isinstance(old, tuple)
    assert isinstance(new, tuple)
    fresh = [name.replace("_", " ") for name in new if name not in old]
    return " and ".join(fresh) if fresh else _repeated_deed(before, action, after)


def _repeated_deed(before: Facts, action: str, after: Facts) -> str:
    if before["sleeping"]:
        return "keep sleeping" if after["sleeping"] else "stop sleeping"
    if action == "do":
        return _interaction(before, after)
    if action.startswith("move_"):
        return action.replace("_", " ")
    if action == "sleep":
        return "fall asleep" if after["sleeping"] else "nothing happens"
    worked = {item: _change(before, after, item) for item in INVENTORY[4:]}
    if action.startswith("make_"):
        succeeded = worked[action.removeprefix("make_")] > 0
    else:
        succeeded = any(change < 0 for change in worked.values())
    return action.replace("_", " ") if succeeded else "nothing happens"


def _interaction(before: Facts, after: Facts) -> str:
    for item in ("wood", "stone", "coal", "iron", "diamond", "sapling", "drink"):
        if _change(before, after, item) > 0:
            return f"collect {item}"
    target = before["facing"]
    if target in ("cow", "ripe_plant") and _change(before, after, "food") > 0:
        return "eat cow" if target == "cow" else "eat plant"
    if target in ("cow", "zombie", "skeleton"):
        return f"attack {target}"
    return "nothing happens"


def _change(before: Facts, after: Facts, item: str) -> int:
    return int(after[item] or 0) - int(before[item] or 0)  # type: ignore[arg-type]
