"""ELLM's 139 actions over Crafter or Craftax-Classic, as a wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.worlds.crafter.rules import ACTIONS, INVENTORY, THINGS
from llm_wrappers.worlds.ellm_crafter.captioner import EllmCaptioner
from llm_wrappers.worlds.ellm_crafter.words import (
    SAME_DEED,
    game_action,
    noun_of,
    split_name,
)

__all__ = ["Successes", "VerbNounActions", "VerbNounRules"]

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
        """Return which actions succeeded."""
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


_VARIANTS = {
    "llm_wrappers/Crafter-v1": "crafter",
    "llm_wrappers/CraftaxClassic-v1": "craftax-classic",
}


class _Before(NamedTuple):
    facts: FactsTable
    views: NDArray[np.uint8]


class VerbNounActions(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Lets an agent act by a verb and a noun, as in ELLM (Du et al., 2023, arXiv 2302.06692).

    The action space is that of `EllmCrafterEnv`; costs, blows and rewards stay those of the game
    below. An action is played where its verb and noun fit what is in front, and is a noop
    elsewhere. `info` gets `action_success` and `eval_success`, both False at reset, with the
    meaning they have in `EllmCrafterEnv`. They are read from the infos before and after the step:
    what a creature stands on is not seen there, so the grass under a cow cannot be chopped.

    For many environments wrap each of them:
    ``gym.make_vec(env_id, num_envs=4, vectorization_mode="sync", wrappers=[VerbNounActions])``.

    Args:
        env: `CrafterEnv` or `CraftaxClassicEnv`, or a wrapper that leaves its actions and its
            infos alone.
        easier: Whether to have the 27 actions of the game, named with their nouns, instead of
            139.

    Raises:
        IncompatibleEnvironmentError: If the environment is neither of the two.
        InvalidOptionError: If `easier` is not a bool.

    >>> import llm_wrappers
    >>> env = VerbNounActions(gym.make("llm_wrappers/Crafter-v1"))
    >>> env.action_space
    Discrete(139)
    """

    def __init__(self, env: gym.Env[Any, Any], *, easier: bool = False) -> None:
        checks.flag("easier", easier)
        RecordConstructorArgs.__init__(self, easier=easier)
        gym.Wrapper.__init__(self, env)
        self._rules = VerbNounRules(_variant_of(env), "easier" if easier else "verb-noun")
        self.action_space = gym.spaces.Discrete(len(self._rules.names))
        self._before: _Before | None = None

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks: in the words of ELLM."""
        return self._rules.captioner

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new episode.

        Args:
            seed: Passed on.
            options: Passed on.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._before = self._look(info)
        return observation, {**info, "action_success": False, "eval_success": False}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play the action of the game that a named action comes to.

        Args:
            action: The number of the action, in the order of
                `captioner.description.action_names`.

        Raises:
            ResetNeeded: If there was no reset before.
            InvalidOptionError: If the action is not a whole number in the action space.
        """
        if self._before is None:
            raise ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            raise InvalidOptionError(
                f"expected an action from 0 to {len(self._rules.names) - 1}, a whole number; got "
                f"{action!r}"
            )
        actions, before = np.array([action]), self._before
        played = self._rules.game_actions(actions, before.facts)
        observation, reward, terminated, truncated, info = self.env.step(played[0])
        self._before = self._look(info)
        successes = self._rules.successes(
            actions, played, before.facts, before.views, self._before.facts
        )
        flags = {name: bool(flag[0]) for name, flag in successes._asdict().items()}
        return observation, reward, terminated, truncated, {**info, **flags}

    def _look(self, info: dict[str, Any]) -> _Before:
        infos = batch_infos(info)
        return _Before(self._rules.facts(infos), infos["local_view"].copy())


def _variant_of(env: gym.Env[Any, Any]) -> str:
    known = env.has_wrapper_attr("captioner")
    description: EnvDescription | None = (
        env.get_wrapper_attr("captioner").description if known else None
    )
    if (
        description is None
        or description.env_id not in _VARIANTS
        or description.action_names != ACTIONS
        or env.action_space != gym.spaces.Discrete(len(ACTIONS))
    ):
        raise IncompatibleEnvironmentError(
            f"expected one of {sorted(_VARIANTS)} with its own 17 actions, got {env}; put this "
            "wrapper below any that changes the actions"
        )
    return _VARIANTS[description.env_id]
