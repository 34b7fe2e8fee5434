"""The words and the rules of Crafter and of Craftax-Classic."""

from __future__ import annotations

from types import MappingProxyType

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import UnknownNameError

__all__ = ["ACHIEVEMENTS", "ACTIONS", "COSTS", "INVENTORY", "THINGS", "describe"]

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
