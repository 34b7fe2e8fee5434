"""ELLM's 139 actions over Crafter or Craftax-Classic, as a wrapper."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, batch_infos
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.worlds._verb_noun import VerbNounRules
from llm_wrappers.worlds.crafter.crafter_rules import ACTIONS

__all__ = ["VerbNounActions"]

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
