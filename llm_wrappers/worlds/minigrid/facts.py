"""The facts of MiniGrid environments, from what an agent sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from llm_wrappers.captions.captioner import FactValue
from llm_wrappers.worlds.minigrid.view import Thing, View

__all__ = ["facts_of", "place_in_words"]

_KINDS = ("door", "key", "ball", "box", "goal", "lava")
_FREE = ("empty", "floor", "open door", "goal", "lava")


def facts_of(view: View, direction: str | None, mission: str | None) -> dict[str, FactValue]:
    """Return the facts of one state.

    Args:
        view: What the agent sees.
        direction: The compass direction it faces.
        mission: Its mission.
    """
    held = view.held
    nearest: dict[str, Thing] = {}
    for thing in view.things:
        nearest.setdefault(thing.kind, thing)
    facts: dict[str, FactValue] = {
        "direction": direction,
        "mission": mission,
        "carrying": held.kind if held else None,
        "carrying_colour": held.colour if held else None,
        "carrying_key": held is not None and held.kind == "key",
        "facing": view.front,
        "front_is_free": view.front in _FREE,
        "front_is_wall": view.front == "wall",
        "left_is_free": view.left in _FREE,
        "right_is_free": view.right in _FREE,
    }
    for kind in _KINDS:
        facts.update(_about(kind, nearest.get(kind)))
    facts["key_fits_door"] = bool(
        facts["carrying_key"] and facts["carrying_colour"] == facts["door_colour"]
    )
    facts["in_view"] = tuple(_in_words(thing) for thing in view.things if thing.kind != "lava")
    return facts


def place_in_words(ahead: int, right: int) -> str:
    """Return where a cell is, seen from the agent.

    >>> place_in_words(2, -1)
    '2 ahead, 1 left'
    """
    parts = [f"{ahead} ahead"] if ahead else []
    if right:
        parts.append(f"{abs(right)} {'right' if right > 0 else 'left'}")
    return ", ".join(parts)


@lru_cache(maxsize=4096)
def _about(kind: str, thing: Thing | None) -> Mapping[str, FactValue]:
    """Return the facts about the nearest thing of one kind."""
    facts: dict[str, FactValue] = {
        f"sees_{kind}": thing is not None,
        f"near_{kind}": thing.ahead + abs(thing.right) if thing else None,
        f"{kind}_ahead": thing.ahead if thing else None,
        f"{kind}_right": thing.right if thing else None,
    }
    if kind not in ("goal", "lava"):
        facts[f"{kind}_colour"] = thing.colour if thing else None
    if kind == "door":
        facts["door_state"] = thing.state if thing else None
    return facts


@lru_cache(maxsize=4096)
def _in_words(thing: Thing) -> str:
    words = [word for word in (thing.state, thing.colour, thing.kind) if word]
    return f"{' '.join(words)} ({place_in_words(thing.ahead, thing.right)})"
