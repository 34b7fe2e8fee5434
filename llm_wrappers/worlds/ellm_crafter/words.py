"""The actions, the rules and the goals of Crafter in the words of ELLM.

The verbs, the nouns and their order are those of the code published with the paper (Du et al.,
2023, arXiv 2302.06692).
"""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.crafter.rules import ACTIONS, describe

__all__ = [
    "ACTION_NAMES",
    "ACTION_SETS",
    "EASIER_NAMES",
    "ELLM_CRAFTER",
    "GOOD_NAMES",
    "NOUNS",
    "SAME_DEED",
    "VARIANTS",
    "VERBS",
    "VERB_ONLY",
    "describe_ellm",
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


ELLM_CRAFTER = "ellm-crafter"
VARIANTS = (ELLM_CRAFTER, "crafter", "craftax-classic")
"""The games that have a description in ELLM's words."""

ACTION_SETS = {"verb-noun": ACTION_NAMES, "easier": EASIER_NAMES, "game": ACTIONS}
"""How actions are numbered, by name: ELLM's 139, its easier 27, or the 17 of the game."""

# No name of the game's own actions says these two.
_NEVER_SAID_OF_GAME_ACTIONS = ("do nothing", "make crafting table")

_VERB_RULES = """\
An action is a verb, or a verb and a noun; it changes the game only where the two fit. You see the \
9 columns and 7 rows of tiles around you, and act on the tile in front of you, the one you last \
moved towards; moving into something solid only turns you.
Chop trees for wood, and grass for a plant to set (one try in ten). Mining stone and coal needs a \
wood pickaxe, iron a stone pickaxe, diamond an iron pickaxe. Nothing is collected of which you \
hold 9 already.
A crafting table takes {table}, a furnace {furnace}. Everything else is made beside a crafting \
table. A wood pickaxe or wood sword takes 1 wood; a stone pickaxe or stone sword takes 1 wood and \
1 stone. An iron pickaxe or iron sword takes {iron}, beside a crafting table and a furnace.
Drink water. Eat cows ({cow}), and a plant once it is ripe: place it on grass, keep it from being \
eaten, and come back much later.
Food, drink and energy fall with time; at zero health falls too. `sleep` starts sleep when energy \
is below 9 and lasts until energy is full again; being hurt wakes you. Zombies walk the grass, \
more of them in the dark, and hit hardest while you sleep; skeletons shoot arrows in caves. Attack \
both. Lava kills. Stone can be placed on grass, sand, path, water and lava."""

_WORDS_OF_RULES = {
    ELLM_CRAFTER: {
        "table": "1 wood",
        "furnace": "4 stone",
        "iron": "1 wood, 1 coal and 1 iron",
        "cow": "one blow",
    },
    "crafter": {
        "table": "2 wood",
        "furnace": "4 stone",
        "iron": "1 wood, 1 coal and 1 iron",
        "cow": "several blows",
    },
    "craftax-classic": {
        "table": "2 wood",
        "furnace": "1 stone",
        "iron": "1 wood, 1 stone, 1 coal and 1 iron",
        "cow": "several blows",
    },
}


def describe_ellm(variant: str, actions: str) -> EnvDescription:
    """Return the description of one game with one way to number its actions.

    >>> len(describe_ellm("ellm-crafter", "verb-noun").goals)
    29
    """
    if variant not in VARIANTS:
        raise UnknownNameError(f"expected a variant among {VARIANTS}, got {variant!r}")
    if actions not in ACTION_SETS:
        raise UnknownNameError(f"expected actions among {tuple(ACTION_SETS)}, got {actions!r}")
    if actions == "game" and variant == ELLM_CRAFTER:
        raise InvalidOptionError(
            f'{ELLM_CRAFTER!r} has no actions "game": use "verb-noun" or "easier"'
        )
    of_game = describe("crafter" if variant == ELLM_CRAFTER else variant)
    return EnvDescription(
        env_id="llm_wrappers/EllmCrafter-v1" if variant == ELLM_CRAFTER else of_game.env_id,
        rules=of_game.rules if actions == "game" else _verb_rules(variant),
        action_names=ACTION_SETS[actions],
        goals=_goals(actions),
        facts=of_game.facts,
    )


def _verb_rules(variant: str) -> str:
    return _VERB_RULES.format_map(_WORDS_OF_RULES[variant])


def _goals(actions: str) -> tuple[str, ...]:
    if actions == "game":
        return tuple(name for name in GOOD_NAMES if name not in _NEVER_SAID_OF_GAME_ACTIONS)
    if actions == "easier":
        return EASIER_NAMES
    return GOOD_NAMES
