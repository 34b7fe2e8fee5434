"""A home in which objects lie in wrong places, and what is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts, StateByState
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError

__all__ = [
    "ABSENT",
    "HELD",
    "HouseholdCaptioner",
    "HouseholdEnv",
    "HouseholdTable",
    "household",
    "household_table",
]


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


_FIRST_RECEPTACLE = 2


class HouseholdEnv(gym.Env[NDArray[np.int64], np.int64]):
    """Picks up what lies wrong and stores it where it belongs; a stand-in for Housekeep.

    Housekeep (Kant et al., 2022, arXiv 2205.10712) is a simulated home with 3D rooms and
    preferences of many people; it cannot be installed from a package index. This is **not**
    Housekeep: it has no rooms, no moving about and no pictures, 24 objects, 12 receptacles, and a
    table of right places that was written by hand (``llm_wrappers/worlds/household/places.json``).
    What both share is the question which a language model can answer: "Should you store a banana in
    the fridge?" Everything here is our choice.

    The observation has one number per object: 0 absent, 1 in the hand, from 2 on the receptacle.
    The first 24 actions pick an object up, the other 12 put down what is held; `action_masks` says
    which have an effect. The reward is the change in the number of objects that lie right, so that
    nothing can be earned twice. The episode ends when all do; `info` counts them as `stored_right`.

    Args:
        objects: How many objects there are in an episode.
        length: The number of steps after which an episode is truncated.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> env = HouseholdEnv(objects=1)
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space, int(env.action_masks().sum())
    (Discrete(36), 1)
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, objects: int = 5, length: int = 50) -> None:
        self._table = household_table()
        count = len(self._table.objects)
        self._objects = checks.whole("objects", objects, least=1, most=count)
        self._length = checks.whole("length", length, least=1)
        self._right = _right_places()
        self._wrong = [
            np.flatnonzero(~row[_FIRST_RECEPTACLE:]) + _FIRST_RECEPTACLE for row in self._right
        ]
        self.observation_space = gym.spaces.MultiDiscrete(
            [len(self._table.receptacles) + _FIRST_RECEPTACLE] * count
        )
        self._actions = count + len(self._table.receptacles)
        self.action_space = gym.spaces.Discrete(self._actions)
        self._home: NDArray[np.int64] | None = None

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks."""
        return HouseholdCaptioner()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Put some objects into places where they do not belong.

        Args:
            seed: Seeds `np_random`; None continues its stream.
            options: Not used.
        """
        super().reset(seed=seed, options=options)
        home = np.full(len(self._table.objects), ABSENT, np.int64)
        for thing in self.np_random.choice(len(home), self._objects, replace=False):
            home[thing] = self.np_random.choice(self._wrong[thing])
        self._home, self._step = home, 0
        return home.copy(), self._info(home)

    def step(self, action: Any) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Pick up an object, or put it down; an action that cannot be done changes nothing.

        Args:
            action: The number of the action, in the order of
                `captioner.description.action_names`.

        Raises:
            ResetNeeded: If there was no reset before.
            InvalidOptionError: If the action is no such number.
        """
        if self._home is None:
            raise ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            raise InvalidOptionError(
                f"expected an action from 0 to {self._actions - 1}, got {action!r}"
            )
        home, before = self._home, self._stored_right(self._home)
        if self.action_masks()[int(action)]:
            self._act(home, int(action))
        self._step += 1
        after = self._stored_right(home)
        terminated = after == self._objects
        truncated = not terminated and self._step >= self._length
        return home.copy(), float(after - before), terminated, truncated, self._info(home)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions have an effect; all of them before the first reset."""
        home, receptacles = self._home, len(self._table.receptacles)
        if home is None:
            return np.ones(self._actions, np.bool_)
        holding = bool((home == HELD).any())
        lying = (home >= _FIRST_RECEPTACLE) & (not holding)
        return np.concatenate([lying, np.full(receptacles, holding)])

    def _act(self, home: NDArray[np.int64], action: int) -> None:
        if action < len(home):
            home[action] = HELD
        else:
            home[home == HELD] = action - len(home) + _FIRST_RECEPTACLE

    def _stored_right(self, home: NDArray[np.int64]) -> int:
        return int(self._right[np.arange(len(home)), home].sum())

    def _info(self, home: NDArray[np.int64]) -> dict[str, Any]:
        return {"stored_right": self._stored_right(home)}


def _right_places() -> NDArray[np.bool_]:
    """Return whether each object belongs where each number of an observation says it is."""
    table = household_table()
    return np.array(
        [
            [False] * _FIRST_RECEPTACLE + [table.is_right(t, place) for place in table.receptacles]
            for t in table.objects
        ]
    )
