"""What never changes about Crafter in the words of ELLM: rules, action names, goals."""

from __future__ import annotations

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.crafter.crafter_rules import ACTIONS, describe
from llm_wrappers.worlds.ellm_crafter.ellm_actions import ACTION_NAMES, EASIER_NAMES, GOOD_NAMES

__all__ = ["ACTION_SETS", "ELLM_CRAFTER", "VARIANTS", "describe_ellm"]

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

    Args:
        variant: A member of `VARIANTS`.
        actions: A key of `ACTION_SETS`; the 17 actions of the game do not exist in
            ``"ellm-crafter"``.

    Raises:
        UnknownNameError: If the variant or the action set is not known.
        InvalidOptionError: If the two do not go together.

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
