"""Which actions can have an effect in Crafter and Craftax-Classic, told from the facts alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.worlds.crafter.crafter_rules import ACTIONS, COSTS, INVENTORY, THINGS

__all__ = ["legal_actions"]

_Flags: TypeAlias = "NDArray[np.bool_]"
_Column: TypeAlias = "Callable[[str], NDArray[np.int8]]"

_FULL = 9
_READ = (*INVENTORY, "facing", "sleeping", "at_table", "at_furnace")
# What `do` does something to: with bare hands, and with a tool.
_BARE_HANDED = ("water", "grass", "tree", "ripe_plant", "zombie", "skeleton", "cow")
_MINED_WITH = {
    "stone": "wood_pickaxe",
    "coal": "wood_pickaxe",
    "iron": "stone_pickaxe",
    "diamond": "iron_pickaxe",
}
_OPEN_GROUND = ("grass", "sand", "path")
_GROUND = {
    "crafter": {
        "place_stone": (*_OPEN_GROUND, "water", "lava"),
        "place_table": _OPEN_GROUND,
        "place_furnace": _OPEN_GROUND,
        "place_plant": ("grass",),
    },
    # An arrow hides what it flies over, and Craftax-Classic acts on what is under it. Tables and
    # furnaces can be placed on lava there.
    "craftax-classic": {
        "place_stone": (*_OPEN_GROUND, "water", "lava", "arrow"),
        "place_table": (*_OPEN_GROUND, "lava", "arrow"),
        "place_furnace": (*_OPEN_GROUND, "lava", "arrow"),
        "place_plant": ("grass", "arrow"),
    },
}


def legal_actions(variant: str, facts: Sequence[Facts]) -> NDArray[np.bool_]:
    """Return which actions can have an effect in n states, shape (n, 17).

    An action that is not legal does what `noop` does. One that is legal may still fail where the
    facts do not say enough, and is then called legal:

    - moves are always legal: they turn, even where the way is blocked;
    - `do` at grass gives a sapling in one try of ten;
    - in Craftax-Classic, anything at an arrow, which hides what is under it;
    - in Crafter, making something in the first row or column of the map, where the game finds no
      table.

    `noop` is legal while awake. Asleep, the games do as if the action were `sleep`, the only legal
    one. In Crafter, unlike in Craftax-Classic, an agent that sleeps with full energy wakes up and
    acts in the same step.

    Args:
        variant: ``"crafter"`` or ``"craftax-classic"``; costs and grounds differ.
        facts: The facts of n states.

    Raises:
        UnknownNameError: If the variant is neither of the two.
    """
    if variant not in COSTS:
        raise UnknownNameError(f"expected one of {sorted(COSTS)}, got {variant!r}")
    column = _columns(facts)
    legal = np.ones((len(facts), len(ACTIONS)), dtype=np.bool_)
    legal[:, ACTIONS.index("do")] = _can_do(variant, column)
    for action in COSTS[variant]:
        where = _on_ground if action.startswith("place_") else _beside_workshop
        legal[:, ACTIONS.index(action)] = where(variant, action, column) & _can_pay(
            variant, action, column
        )
    asleep = column("sleeping") != 0
    rested = column("energy") >= _FULL
    dreaming = asleep & ~rested if variant == "crafter" else asleep
    legal[dreaming] = False
    legal[:, ACTIONS.index("sleep")] = asleep | ~rested
    return legal


def _columns(facts: Sequence[Facts]) -> _Column:
    """Return a function from the name of a fact to its numbers, shape (n,)."""
    if isinstance(facts, FactsTable):
        starts = np.cumsum([0, *(column.width for column in facts.columns)]).tolist()
        names = [column.name for column in facts.columns]
        start_of = dict(zip(names, starts, strict=False))
        return lambda name: facts.matrix[:, start_of[name]]
    numbers = np.array([[_number(name, row) for name in _READ] for row in facts], dtype=np.int8)
    numbers = numbers.reshape(-1, len(_READ))
    return lambda name: numbers[:, _READ.index(name)]


def _number(name: str, facts: Facts) -> int:
    value = facts[name]
    return THINGS.index(value) if isinstance(value, str) else int(value)  # type: ignore[arg-type]


def _facing(things: Collection[str], column: _Column) -> _Flags:
    found: _Flags = np.isin(column("facing"), [THINGS.index(thing) for thing in things])
    return found


def _can_do(variant: str, column: _Column) -> _Flags:
    can = _facing(_BARE_HANDED, column)
    for thing, tool in _MINED_WITH.items():
        can |= _facing((thing,), column) & (column(tool) > 0)
    return can | _facing(("arrow",), column) if variant == "craftax-classic" else can


def _can_pay(variant: str, action: str, column: _Column) -> _Flags:
    held = [column(item) >= count for item, count in COSTS[variant][action].items()]
    paid: _Flags = np.all(held, axis=0)
    return paid


def _on_ground(variant: str, action: str, column: _Column) -> _Flags:
    return _facing(_GROUND[variant][action], column)


def _beside_workshop(variant: str, action: str, column: _Column) -> _Flags:
    beside = column("at_table") != 0
    return np.asarray(beside & (column("at_furnace") != 0)) if "iron" in action else beside
