"""What an action of the game did, in ELLM's verbs and nouns, read from the facts around it."""

from __future__ import annotations

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.worlds.crafter.crafter_rules import INVENTORY

__all__ = ["DID_NOTHING", "NOTHING_HAPPENED", "deed"]

DID_NOTHING = "you did nothing."
NOTHING_HAPPENED = "nothing happened."

_ITEMS = INVENTORY[4:]
_VERB_AND_GAIN = {
    "tree": ("chop", "wood"),
    "grass": ("chop", "sapling"),
    "stone": ("mine", "stone"),
    "coal": ("mine", "coal"),
    "iron": ("mine", "iron"),
    "diamond": ("mine", "diamond"),
    "water": ("drink", "drink"),
}
_FULL_ENERGY = 9


def deed(before: Facts, action: str, after: Facts, *, wakes_to_act: bool) -> str:
    """Return ELLM's phrase for what an action did, or that nothing happened.

    Args:
        before: The facts before the action.
        action: The game's own name of the action, such as ``"do"``.
        after: The facts after it.
        wakes_to_act: Whether an agent that sleeps with full energy acts in the step it wakes
            (Crafter), or not (Craftax-Classic).
    """
    if action == "noop":
        return DID_NOTHING
    if action == "sleep":
        return "sleep" if after["sleeping"] else NOTHING_HAPPENED
    if before["sleeping"] and not (wakes_to_act and before["energy"] == _FULL_ENERGY):
        return NOTHING_HAPPENED
    if action.startswith("move_"):
        return action.replace("_", " ")
    if action == "do":
        return _interaction(before, after)
    # Whatever is made or placed uses something up.
    used = any(_change(before, after, item) < 0 for item in _ITEMS)
    return _named(action) if used else NOTHING_HAPPENED


def _named(action: str) -> str:
    return action.replace("_table", "_crafting_table").replace("_", " ")


def _interaction(before: Facts, after: Facts) -> str:
    target = str(before["facing"])
    if target in _VERB_AND_GAIN:
        verb, gain = _VERB_AND_GAIN[target]
        return f"{verb} {target}" if _change(before, after, gain) > 0 else NOTHING_HAPPENED
    if target == "cow":
        return "eat cow" if _eaten(before, after, "eat_cow") else "attack cow"
    if target in ("zombie", "skeleton"):
        return f"attack {target}"
    # A ripe plant is a sapling again once it has been eaten.
    eaten = target == "ripe_plant" and after["facing"] == "sapling"
    return "eat plant" if eaten else NOTHING_HAPPENED


def _eaten(before: Facts, after: Facts, achievement: str) -> bool:
    old, new = before["unlocked"], after["unlocked"]
    assert isinstance(old, tuple)
    assert isinstance(new, tuple)
    unlocked = achievement in new and achievement not in old
    return unlocked or _change(before, after, "food") > 0


def _change(before: Facts, after: Facts, item: str) -> int:
    return int(after[item] or 0) - int(before[item] or 0)  # type: ignore[arg-type]
