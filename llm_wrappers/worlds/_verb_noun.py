"""ELLM's verbs and nouns over the 17 actions of a game, for n sub-environments at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Facts
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.worlds.crafter.crafter_rules import ACTIONS, INVENTORY, THINGS
from llm_wrappers.worlds.ellm_crafter.ellm import EllmCaptioner
from llm_wrappers.worlds.ellm_crafter.ellm_actions import (
    SAME_DEED,
    game_action,
    noun_of,
    split_name,
)

__all__ = ["Successes", "VerbNounRules"]

_WALKABLE = ("grass", "path", "sand", "lava")
_FULL_ENERGY = 9
_AGENT = (3, 4)
_STEP_OF_MOVE = {
    "move left": (0, -1),
    "move right": (0, 1),
    "move up": (-1, 0),
    "move down": (1, 0),
}


class Successes(NamedTuple):
    """Which actions succeeded, as in `EllmCrafterEnv`; bool arrays of shape (n,)."""

    action_success: NDArray[np.bool_]
    eval_success: NDArray[np.bool_]


class VerbNounRules:
    """What named actions come to in a game of Crafter's family; holds no state.

    Args:
        variant: ``"crafter"`` or ``"craftax-classic"``.
        actions: ``"verb-noun"`` for 139 names or ``"easier"`` for 27.
    """

    def __init__(self, variant: str, actions: str) -> None:
        self.captioner = EllmCaptioner(variant, actions=actions)
        self.names = self.captioner.description.action_names
        self._of_game = EllmCaptioner(variant)
        # In Crafter, unlike Craftax-Classic, who wakes with full energy acts in the same step.
        self._wakes_to_act = variant == "crafter"

    def facts(self, infos: Mapping[str, Any]) -> FactsTable:
        """Return the facts of batched infos."""
        return self.captioner.facts(None, infos)

    def game_actions(self, actions: NDArray[Any], facts: FactsTable) -> NDArray[np.int64]:
        """Return the game's actions, shape (n,): noop where verb and noun do not fit."""
        chosen = [
            ACTIONS.index(game_action(self.names[int(action)], {_noun_in_front(row)}))
            for action, row in zip(actions, facts, strict=True)
        ]
        return np.array(chosen, dtype=np.int64)

    def successes(
        self,
        actions: NDArray[Any],
        played: NDArray[np.int64],
        before: FactsTable,
        views: NDArray[np.uint8],
        after: FactsTable,
    ) -> Successes:
        """Return which actions succeeded.

        Args:
            actions: The numbers of the named actions, shape (n,).
            played: The actions of the game they came to, shape (n,).
            before: The facts before the step.
            views: The local views before the step, shape (n, 7, 9).
            after: The facts after the step, those of the last state where an episode has ended.
        """
        said = self._of_game.transition_captions(before, list(played), after)
        names = [self.names[int(action)] for action in actions]
        asleep = np.array([self._is_asleep(facts) for facts in before], dtype=np.bool_)
        worked = np.array(list(map(_worked, names, said, before, views)), dtype=np.bool_)
        worked &= ~asleep | np.array([name == "sleep" for name in names])
        named = np.array(list(map(_is_named, names, before)), dtype=np.bool_) & ~asleep
        return Successes(named | worked, worked)

    def _is_asleep(self, facts: Facts) -> bool:
        return bool(facts["sleeping"]) and not (self._wakes_to_act and not _is_tired(facts))


def _worked(name: str, said: str, facts: Facts, view: NDArray[np.uint8]) -> bool:
    if name == "sleep":
        return _is_tired(facts)
    if name in _STEP_OF_MOVE:
        (row, column), (down, right) = _AGENT, _STEP_OF_MOVE[name]
        return THINGS[view[row + down, column + right]] in _WALKABLE
    return name == "do nothing" or name in (said, SAME_DEED.get(said))


def _is_named(name: str, facts: Facts) -> bool:
    noun = split_name(name)[1]
    if not noun:
        return False
    item = noun.replace(" ", "_")
    held = item in INVENTORY and bool(facts[item])
    return held or _noun_in_front(facts) == noun


def _is_tired(facts: Facts) -> bool:
    return int(facts["energy"] or 0) < _FULL_ENERGY  # type: ignore[arg-type]


def _noun_in_front(facts: Facts) -> str:
    return noun_of(str(facts["facing"]))
