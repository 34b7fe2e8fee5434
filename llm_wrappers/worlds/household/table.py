"""Where things belong in a home: a table written by hand, which ships as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["HouseholdTable", "household_table"]


@dataclass(frozen=True)
class HouseholdTable:
    """Objects, receptacles, and which belongs where.

    Actions are numbered by this table: picking up each object comes first, then putting what is
    held in or on each receptacle.

    Args:
        objects: The names of the objects.
        receptacles: The names of the receptacles.
        prepositions: Receptacle -> ``"in"`` or ``"on"``.
        places: Object -> the receptacles in or on which it belongs.

    >>> table = household_table()
    >>> table.goal("banana", "fruit bowl"), table.is_right("banana", "fridge")
    ('store a banana in the fruit bowl', False)
    """

    objects: tuple[str, ...]
    receptacles: tuple[str, ...]
    prepositions: Mapping[str, str]
    places: Mapping[str, tuple[str, ...]]

    def is_right(self, thing: str, receptacle: str) -> bool:
        """Return whether the object belongs there."""
        return receptacle in self.places[thing]

    def at(self, receptacle: str) -> str:
        """Return the place in words, such as ``"on the desk"``."""
        return f"{self.prepositions[receptacle]} the {receptacle}"

    def goal(self, thing: str, receptacle: str) -> str:
        """Return the goal of storing it there, as in the question ``"Should you {goal}?"``."""
        article = "an" if thing[0] in "aeiou" else "a"
        return f"store {article} {thing} {self.at(receptacle)}"

    def goals(self) -> tuple[str, ...]:
        """Return all goals, object by object."""
        return tuple(self.goal(t, place) for t in self.objects for place in self.receptacles)

    def action_names(self) -> tuple[str, ...]:
        """Return the names of all actions, in their order."""
        picking = tuple(f"pick up the {thing}" for thing in self.objects)
        return picking + tuple(f"put it {self.at(place)}" for place in self.receptacles)


@cache
def household_table() -> HouseholdTable:
    """Return the table that ships with the package."""
    path = files("llm_wrappers") / "data" / "household" / "places.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    return HouseholdTable(
        objects=tuple(saved["objects"]),
        receptacles=tuple(saved["receptacles"]),
        prepositions=saved["receptacles"],
        places={thing: tuple(places) for thing, places in saved["objects"].items()},
    )
