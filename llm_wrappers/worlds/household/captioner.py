"""What is known of the household: where things belong, captions, and the judgement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = ["ABSENT", "HELD", "HouseholdCaptioner", "HouseholdTable", "household", "household_table"]


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
    path = files("llm_wrappers.worlds.household") / "places.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    return HouseholdTable(
        objects=tuple(saved["objects"]),
        receptacles=tuple(saved["receptacles"]),
        prepositions=saved["receptacles"],
        places={thing: tuple(places) for thing, places in saved["objects"].items()},
    )


ABSENT, HELD = 0, 1
"""What an observation says of an object that is not in the home, and of the one in the hand; from 2
on it is the number of a receptacle."""

_RULES = (
    "You tidy up a home. Some objects lie in places where they do not belong. You can pick up one "
    "object at a time, whatever it lies in or on, and put it in or on any receptacle. You earn 1 "
    "for each object that comes to a place where people would store it, and lose 1 when you take "
    "it away from there. The episode ends when everything is in its place."
)
_NOTHING = "nothing happens"


class HouseholdCaptioner(StateByState):
    """Speaks about the objects of a home and the places where they lie.

    The facts are `holding`, the object in the hand or None, and ``place of OBJECT`` for each
    object: a receptacle, or None for what is in the hand or not in this home. That an object
    belongs somewhere is no fact: it is what a model is asked about.

    The goals are all pairs in ELLM's wording for Housekeep, ``"store a banana in the fridge"``, so
    that the closed form asks ``"Should you store a banana in the fridge?"``. Putting an object down
    has that goal as its transition caption.

    Args:
        env_id: The Gymnasium id.

    >>> captioner = HouseholdCaptioner()
    >>> home = np.zeros((1, 24), int)
    >>> home[0, 3], home[0, 10] = HELD, 2
    >>> captioner.state_captions(captioner.facts(home, {}))
    ['You hold the banana. The novel is in the fridge.']
    """

    no_effect = frozenset({_NOTHING})

    def __init__(self, *, env_id: str = "llm_wrappers/Household-v0") -> None:
        self._table = household_table()
        self._description = EnvDescription(
            env_id=env_id,
            rules=_RULES,
            action_names=self._table.action_names(),
            goals=self._table.goals(),
        )

    def facts(self, observations: Any, infos: Mapping[str, Any]) -> list[Facts]:
        """Return where everything is.

        Args:
            observations: Whole numbers of shape (n, objects), as `HouseholdEnv` returns them.
            infos: Not read.

        Raises:
            InvalidOptionError: If the observations are no such array.
        """
        rows = np.asarray(observations)
        if rows.ndim != 2 or rows.shape[1] != len(self._table.objects):
            raise InvalidOptionError(
                f"observations of the household must have the shape "
                f"(n, {len(self._table.objects)}), got {rows.shape}"
            )
        return [_facts(self._table, row) for row in rows.tolist()]

    def _transition(self, before: Facts, action: Any, after: Facts) -> str:
        return self._deed(before, int(action), after)

    def legal_actions(self, facts: Sequence[Facts]) -> NDArray[np.bool_]:
        """Return which actions have an effect, shape (n, actions)."""
        objects, receptacles = self._table.objects, self._table.receptacles
        return np.array(
            [
                [row["holding"] is None and row[f"place of {o}"] is not None for o in objects]
                + [row["holding"] is not None] * len(receptacles)
                for row in facts
            ],
            dtype=np.bool_,
        )

    def _state(self, facts: Facts) -> str:
        held = facts["holding"]
        sentences = ["You hold nothing." if held is None else f"You hold the {held}."]
        for thing in self._table.objects:
            place = facts[f"place of {thing}"]
            if place is not None:
                sentences.append(f"The {thing} is {self._table.at(str(place))}.")
        return " ".join(sentences)

    def _deed(self, before: Facts, action: int, after: Facts) -> str:
        old, new = before["holding"], after["holding"]
        if old == new:
            return _NOTHING
        if old is None:
            return f"pick up the {new}"
        return self._table.goal(str(old), str(after[f"place of {old}"]))


def _facts(table: HouseholdTable, row: Sequence[int]) -> Facts:
    places = {
        f"place of {thing}": None if number in (ABSENT, HELD) else table.receptacles[number - 2]
        for thing, number in zip(table.objects, row, strict=True)
    }
    held = table.objects[row.index(HELD)] if HELD in row else None
    return {"holding": held, **places}


def household(facts: Mapping[str, Any], action: Any) -> int:
    """Judge an action by the table of the household, from which its rewards come too.

    Picking up is +1 for what lies in a wrong place and -1 for what lies right; putting down is +1
    in a right place and -1 in a wrong one; what has no effect is 0.

    >>> desk = household_table().action_names().index("put it on the desk")
    >>> household({"holding": "banana"}, desk)
    -1
    """
    table, index = household_table(), int(action)
    held = facts["holding"]
    if index < len(table.objects):
        thing = table.objects[index]
        place = facts[f"place of {thing}"]
        if held is not None or place is None:
            return 0
        return -1 if table.is_right(thing, place) else 1
    if held is None:
        return 0
    return 1 if table.is_right(held, table.receptacles[index - len(table.objects)]) else -1
