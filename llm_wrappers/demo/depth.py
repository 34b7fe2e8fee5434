"""How deep in the tree of achievements an episode of Crafter got."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llm_wrappers.worlds.crafter.rules import ACHIEVEMENTS

__all__ = ["DEPTHS", "achievement_depth"]

_PREREQUISITES = {
    "place_table": ("collect_wood",),
    "make_wood_pickaxe": ("place_table",),
    "make_wood_sword": ("place_table",),
    "collect_stone": ("make_wood_pickaxe",),
    "place_stone": ("collect_stone",),
    "make_stone_pickaxe": ("collect_stone",),
    "make_stone_sword": ("collect_stone",),
    "place_furnace": ("collect_stone",),
    "collect_coal": ("make_wood_pickaxe",),
    "collect_iron": ("make_stone_pickaxe",),
    "make_iron_pickaxe": ("collect_iron", "collect_coal", "place_furnace"),
    "make_iron_sword": ("collect_iron", "collect_coal", "place_furnace"),
    "collect_diamond": ("make_iron_pickaxe",),
    "place_plant": ("collect_sapling",),
    "eat_plant": ("place_plant",),
}


def _depth(name: str) -> int:
    return 1 + max((_depth(before) for before in _PREREQUISITES.get(name, ())), default=0)


DEPTHS: Mapping[str, int] = MappingProxyType({name: _depth(name) for name in ACHIEVEMENTS})
"""Achievement -> the length of the longest chain that the rules make one walk to it, from 1 to 8.

The chains are the same in Crafter and in Craftax-Classic. Our measure: SGRL reports a depth too
(arXiv 2509.22008), and how it counts is not known to us.
"""


def achievement_depth(counts: Mapping[str, int]) -> int:
    """Return the depth of the deepest achievement of one episode, 0 if there is none.

    Args:
        counts: Achievement name to how often it was reached.

    >>> achievement_depth({"collect_wood": 3, "place_table": 1, "collect_diamond": 0})
    2
    """
    return max((DEPTHS[name] for name, count in counts.items() if count > 0), default=0)
