"""ELLM's changes to Crafter: actions of a verb and a noun, one blow, a cheaper table.

Crafter's tables of costs belong to a module that every environment of the process shares, so none
of them is changed here: the player gets back what it paid too much.

This module imports crafter, so only the constructor of the environment imports this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from crafter import constants, objects
from numpy.typing import NDArray

from llm_wrappers.worlds.crafter.engine import Game
from llm_wrappers.worlds.ellm_crafter.tasks import Deed
from llm_wrappers.worlds.ellm_crafter.words import game_action, split_name

__all__ = ["EllmGame", "EllmPlayer", "Success"]

_TABLE_COST = 1
_TABLE_DISCOUNT = constants.place["table"]["uses"]["wood"] - _TABLE_COST
_GAME_NUMBER_OF_NOOP = constants.actions.index("noop")
_OBJECT_NAMES: dict[type[Any], str] = {
    objects.Cow: "cow",
    objects.Zombie: "zombie",
    objects.Skeleton: "skeleton",
    objects.Plant: "plant",
    objects.Arrow: "arrow",
}
_VERBS_ON_MATERIALS = ("chop", "mine", "drink")
# What a row of things may be made of, by noun.
_THINGS_IN_ROWS = {"plant": "plant", "crafting table": "table"}


class Success(NamedTuple):
    """Whether an action succeeded.

    Args:
        action_success: Whether the noun was in front or in the inventory, or the action worked.
        eval_success: Whether the action did to the game what it is there for.
    """

    action_success: bool
    eval_success: bool


class EllmPlayer(objects.Player):  # type: ignore[misc]
    """Crafter's player, acting on names such as ``"chop tree"``.

    `deed` is set before each step; `outcome` says afterwards what came of it.
    """

    def __init__(self, world: Any, pos: Any) -> None:
        super().__init__(world, pos)
        self.deed = "do nothing"
        self.outcome = Success(False, False)

    def update(self) -> None:
        """Act for one step."""
        verb, noun = split_name(self.deed)
        in_front = self.names_at(self.target)
        named = noun in in_front or self.inventory.get(noun.replace(" ", "_"), 0) > 0
        tired = self.inventory["energy"] < constants.items["energy"]["max"]
        asleep = self.sleeping and tired
        place, reached = tuple(self.pos), self._deeds_done()
        self.action = game_action(self.deed, in_front)
        super().update()
        if asleep:
            worked = named = verb == "sleep"
        elif verb == "sleep":
            worked = tired
        elif verb == "do nothing":
            worked = True
        elif verb.startswith("move "):
            worked = bool(tuple(self.pos) != place)
        else:
            worked = self._deeds_done() > reached
        self.outcome = Success(action_success=named or worked, eval_success=worked)

    @property
    def target(self) -> tuple[int, int]:
        """The position of the tile in front, as (x, y)."""
        return int(self.pos[0] + self.facing[0]), int(self.pos[1] + self.facing[1])

    def names_at(self, position: tuple[int, int]) -> set[str]:
        """Return Crafter's names of the material at a position and of what stands on it."""
        material, obj = self.world[position]
        names = {material, _OBJECT_NAMES.get(type(obj))}
        return {name for name in names if name is not None}

    def _deeds_done(self) -> int:
        """Return how often the player has reached what an action can reach, waking up left out."""
        return int(sum(self.achievements.values()) - self.achievements["wake_up"])

    def _do_object(self, obj: Any) -> None:
        if split_name(self.deed)[0] in _VERBS_ON_MATERIALS:
            # In ELLM an agent can chop the grass under a cow.
            self._do_material(self.target, self.world[self.target][0])
            return
        # ELLM's least damage is that of Crafter's iron sword, which kills any creature.
        swords = self.inventory["iron_sword"]
        self.inventory["iron_sword"] = max(swords, 1)
        super()._do_object(obj)
        self.inventory["iron_sword"] = swords

    def _do_material(self, target: Any, material: str | None) -> None:
        super()._do_material(target, material)
        # In ELLM what cannot be kept was not collected; Crafter counts it.
        for name in constants.collect.get(material, {}).get("receive", ()):
            if self.inventory[name] > constants.items[name]["max"]:
                self.inventory[name] = constants.items[name]["max"]
                self.achievements[f"collect_{name}"] -= 1

    def _place(self, name: str, target: Any, material: str | None) -> None:
        if name != "table":
            super()._place(name, target, material)
            return
        placed = self.achievements["place_table"]
        self.inventory["wood"] += _TABLE_DISCOUNT
        super()._place(name, target, material)
        if self.achievements["place_table"] == placed:
            self.inventory["wood"] -= _TABLE_DISCOUNT


class EllmGame(Game):
    """Crafter's game with ELLM's player, and a reward without health.

    Args:
        area: Columns and rows of the map, in tiles.
        size: Height and width of an observation, in pixels.
    """

    def __init__(self, area: tuple[int, int], size: int) -> None:
        super().__init__(area, size, EllmPlayer)

    def perform(self, deed: str) -> tuple[NDArray[np.uint8], float]:
        """Play one step and return the observation and 1.0 if it unlocked an achievement."""
        self._player.deed = deed
        unlocked = len(self._unlocked)
        observation, _ = self.act(_GAME_NUMBER_OF_NOOP)
        return observation, float(len(self._unlocked) > unlocked)

    @property
    def outcome(self) -> Success:
        """Whether the last action succeeded."""
        outcome: Success = self._player.outcome
        return outcome

    def last_deed(self) -> Deed:
        """Return the last action, which has worked, as the tasks look at it."""
        noun = split_name(self._player.deed)[1]
        return Deed(
            name=self._player.deed,
            with_wood_pickaxe=self._player.inventory["wood_pickaxe"] > 0,
            beside_another=noun in _THINGS_IN_ROWS
            and self._is_beside(self._player.target, _THINGS_IN_ROWS[noun]),
        )

    def _is_beside(self, position: tuple[int, int], thing: str) -> bool:
        x, y = position
        around = ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1))
        return any(thing in self._player.names_at(neighbour) for neighbour in around)
