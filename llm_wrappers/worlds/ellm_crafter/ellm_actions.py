"""The action names of ELLM's Crafter (Du et al., 2023, arXiv 2302.06692): verbs times nouns.

The verbs, the nouns and their order are those of the code published with the paper.
"""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

__all__ = [
    "ACTION_NAMES",
    "EASIER_NAMES",
    "GOOD_NAMES",
    "NOUNS",
    "SAME_DEED",
    "VERBS",
    "VERB_ONLY",
    "game_action",
    "noun_of",
    "split_name",
]

VERB_ONLY = ("do nothing", "move left", "move right", "move up", "move down", "sleep")
"""The six actions without a noun, numbered first."""

VERBS = ("mine", "eat", "attack", "chop", "drink", "place", "make")
"""The seven verbs that take a noun."""

NOUNS = (
    "zombie", "skeleton", "cow", "tree", "stone", "coal", "iron", "diamond", "water", "grass",
    "crafting table", "furnace", "plant", "wood pickaxe", "stone pickaxe", "iron pickaxe",
    "wood sword", "stone sword", "iron sword",
)  # fmt: skip
"""The 19 nouns; each goes with each verb."""

ACTION_NAMES = (*VERB_ONLY, *(f"{verb} {noun}" for verb in VERBS for noun in NOUNS))
"""The 139 actions, in the order of the action space."""

EASIER_NAMES = (
    "do nothing", "move left", "move right", "move up", "move down", "eat plant", "attack zombie",
    "attack skeleton", "attack cow", "chop tree", "mine stone", "mine coal", "mine iron",
    "mine diamond", "drink water", "chop grass", "sleep", "place stone", "place crafting table",
    "place furnace", "place plant", "make wood pickaxe", "make stone pickaxe", "make iron pickaxe",
    "make wood sword", "make stone sword", "make iron sword",
)  # fmt: skip
"""The 27 actions of the easier action space, in its order."""

GOOD_NAMES = (
    *EASIER_NAMES[: EASIER_NAMES.index("chop tree")],
    "eat cow",
    *EASIER_NAMES[EASIER_NAMES.index("chop tree") :],
    "make crafting table",
)
"""The 29 names that can change the game: the easier ones, and two more names for two of them."""

SAME_DEED = MappingProxyType(
    {
        "eat cow": "attack cow",
        "attack cow": "eat cow",
        "make crafting table": "place crafting table",
        "place crafting table": "make crafting table",
    }
)
"""The names that do the same thing as another one, in both directions."""


def split_name(name: str) -> tuple[str, str]:
    """Return the verb and the noun of an action name; the noun of a verb-only action is empty.

    >>> split_name("place crafting table"), split_name("move left")
    (('place', 'crafting table'), ('move left', ''))
    """
    if name in VERB_ONLY:
        return name, ""
    verb, _, noun = name.partition(" ")
    return verb, noun


def game_action(name: str, in_front: Collection[str]) -> str:
    """Return the game's own action that an action name comes to, ``"noop"`` where it is none.

    Args:
        name: A member of `ACTION_NAMES`.
        in_front: The nouns of what is in front: the material and what stands on it.

    >>> game_action("chop tree", {"tree"}), game_action("eat tree", {"tree"})
    ('do', 'noop')
    >>> game_action("make crafting table", {"grass"})
    'place_table'
    """
    verb, noun = split_name(name)
    if name == "do nothing" or (noun and name not in GOOD_NAMES):
        return "noop"
    if verb in ("mine", "eat", "attack", "chop", "drink"):
        return "do" if noun in in_front else "noop"
    return "place_table" if noun == "crafting table" else name.replace(" ", "_")


def noun_of(thing: str) -> str:
    """Return how ELLM calls a thing of the local view; plants have one name, ripe or not.

    >>> noun_of("sapling"), noun_of("ripe_plant"), noun_of("cow")
    ('plant', 'plant', 'cow')
    """
    return "plant" if thing in ("sapling", "ripe_plant") else thing
