"""The words, the rules and the legality of Crafter and of Craftax-Classic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.errors import UnknownNameError

__all__ = ["ACHIEVEMENTS", "ACTIONS", "COSTS", "INVENTORY", "THINGS", "describe", "legal_actions"]

ACTIONS = (
    "noop", "move_left", "move_right", "move_up", "move_down", "do", "sleep",
    "place_stone", "place_table", "place_furnace", "place_plant",
    "make_wood_pickaxe", "make_stone_pickaxe", "make_iron_pickaxe",
    "make_wood_sword", "make_stone_sword", "make_iron_sword",
)  # fmt: skip
"""The 17 actions, in the order both environments number them."""

ACHIEVEMENTS = (
    "collect_wood", "place_table", "eat_cow", "collect_sapling", "collect_drink",
    "make_wood_pickaxe", "make_wood_sword", "place_plant", "defeat_zombie", "collect_stone",
    "place_stone", "eat_plant", "defeat_skeleton", "make_stone_pickaxe", "make_stone_sword",
    "wake_up", "place_furnace", "collect_coal", "collect_iron", "collect_diamond",
    "make_iron_pickaxe", "make_iron_sword",
)  # fmt: skip
"""The 22 achievements, in the order of Craftax-Classic; Crafter has the same names."""

INVENTORY = (
    "health", "food", "drink", "energy", "sapling", "wood", "stone", "coal", "iron", "diamond",
    "wood_pickaxe", "stone_pickaxe", "iron_pickaxe", "wood_sword", "stone_sword", "iron_sword",
)  # fmt: skip
"""The four vital signs and the twelve items, each from 0 to 9."""

THINGS = (
    "darkness", "water", "grass", "stone", "path", "sand", "tree", "lava", "coal", "iron",
    "diamond", "table", "furnace", "sapling", "ripe_plant", "zombie", "skeleton", "cow", "arrow",
)  # fmt: skip
"""What a tile of the local view can show; `darkness` is outside the map."""

_SHARED_RULES = """\
You see the 9 columns and 7 rows of tiles around you. `do` acts on the tile in front of you, the \
one you last moved towards; moving into something solid only turns you.
Collect wood from trees, and a sapling from grass (one try in ten). Collecting stone and coal \
needs a wood pickaxe, iron a stone pickaxe, diamond an iron pickaxe.
Everything is made beside a table. A wood pickaxe or wood sword takes 1 wood; a stone pickaxe or \
stone sword takes 1 wood and 1 stone.
Drink from water. Eat cows (several blows), and a plant once it is ripe: place a sapling on grass, \
keep it from being eaten, and come back much later.
Food, drink and energy fall with time; at zero health falls too. `sleep` starts sleep when energy \
is below 9 and lasts until energy is full again; being hurt wakes you. Zombies walk the grass, \
more of them in the dark, and hit hardest while you sleep; skeletons shoot arrows in caves. \
Swords make your blows stronger. Lava kills. Stone can be placed on grass, sand, path, water and \
lava."""

_FACTS = """\
Inventory counts and vital signs go from 0 to 9. `facing` is the thing in front. `at_table` and \
`at_furnace`: whether one is among the eight tiles around you. `hurt`, `hungry`, `thirsty`, \
`tired`: whether health, food, drink or energy is below 5. `near_X`: the steps to the nearest X in \
view, None if there is none; `sees_X`: whether there is one. `unlocked`: the names of the \
achievements reached in this episode, with underscores, such as "collect_wood"."""

_WOODEN = MappingProxyType({"wood": 1})
_STONE = MappingProxyType({"wood": 1, "stone": 1})
_SHARED_COSTS = {
    "place_stone": MappingProxyType({"stone": 1}),
    "place_table": MappingProxyType({"wood": 2}),
    "place_plant": MappingProxyType({"sapling": 1}),
    "make_wood_pickaxe": _WOODEN, "make_wood_sword": _WOODEN,
    "make_stone_pickaxe": _STONE, "make_stone_sword": _STONE,
}  # fmt: skip
_IRON = {
    "crafter": MappingProxyType({"wood": 1, "coal": 1, "iron": 1}),
    "craftax-classic": MappingProxyType({"wood": 1, "stone": 1, "coal": 1, "iron": 1}),
}
_FURNACE_STONE = {"crafter": 4, "craftax-classic": 1}

COSTS = MappingProxyType(
    {
        variant: MappingProxyType(
            {
                **_SHARED_COSTS,
                "place_furnace": MappingProxyType({"stone": _FURNACE_STONE[variant]}),
                "make_iron_pickaxe": _IRON[variant],
                "make_iron_sword": _IRON[variant],
            }
        )
        for variant in ("crafter", "craftax-classic")
    }
)
"""Variant -> action -> item -> how many of it the action takes."""

_TOLD = MappingProxyType(
    {
        "crafter": (
            "llm_wrappers/Crafter-v1",
            "A table takes 2 wood and a furnace 4 stone. An iron pickaxe or iron sword takes "
            "1 wood, 1 coal and 1 iron, beside a table and a furnace.",
        ),
        "craftax-classic": (
            "llm_wrappers/CraftaxClassic-v1",
            "A table takes 2 wood and a furnace 1 stone. An iron pickaxe "
            "or iron sword takes 1 wood, 1 stone, 1 coal and 1 iron, beside a table and a furnace.",
        ),
    }
)


def describe(variant: str) -> EnvDescription:
    """Return the description of ``"crafter"`` or ``"craftax-classic"``.

    Raises:
        UnknownNameError: If the variant is neither of the two.

    >>> describe("crafter").action_names[5]
    'do'
    """
    if variant not in _TOLD:
        raise UnknownNameError(f"expected one of {sorted(_TOLD)}, got {variant!r}")
    env_id, costs = _TOLD[variant]
    return EnvDescription(
        env_id=env_id,
        rules=f"{_SHARED_RULES}\n{costs}",
        action_names=ACTIONS,
        goals=tuple(name.replace("_", " ") for name in ACHIEVEMENTS),
        facts=_FACTS,
    )


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
