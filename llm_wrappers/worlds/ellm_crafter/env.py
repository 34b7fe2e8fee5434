"""ELLM's Crafter under the Gymnasium API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.worlds.crafter import CrafterEnv
from llm_wrappers.worlds.ellm_crafter.captioner import EllmCaptioner
from llm_wrappers.worlds.ellm_crafter.tasks import TaskProgress, find_task
from llm_wrappers.worlds.ellm_crafter.words import ACTION_NAMES, EASIER_NAMES

__all__ = ["EllmCrafterEnv"]

_NOT_ACTED = (False, False)


class EllmCrafterEnv(CrafterEnv):
    """Crafter as ELLM changed it (Du et al., 2023, arXiv 2302.06692, and the code of the paper).

    Numbers reported for ELLM are of this game, not of Crafter. What differs from `CrafterEnv`:

    - An action is a verb, or a verb and a noun: 6 verbs alone (do nothing, four moves, sleep), then
      7 verbs times 19 nouns, 139 in all, in the order of `captioner.description.action_names`.
      Only 29 of them can change the game, and only where verb and noun fit what is in front.
    - A crafting table takes 1 wood; each blow kills; what you hold 9 of cannot be collected.
    - The reward is 1 in each step that unlocks achievements, without a term for health.
    - An episode is truncated after 400 steps. Death is `terminated`, as in Crafter.

    `info` has the keys of `CrafterEnv` and two more, both False at reset:

    - `action_success`: the noun names the creature or the material in front, or an item of the
      inventory, or the action worked. So "eat tree" succeeds in front of a tree, without effect.
      As in the published code the noun is compared with Crafter's own names: the crafting table is
      `table` there and held plants are `sapling`, so these two never count as named.
    - `eval_success`: the action did to the game what it is there for. "chop grass" does where it
      yields a sapling, one time in ten; a move where the agent moved; "sleep" where it can sleep.

    While the agent sleeps only "sleep" succeeds.

    With a `task` the reward is that of one downstream task instead: 1 in the step that completes
    it, which also ends the episode as `terminated`. Both the single payment and the end are our
    choice; the published code ends an episode so when it evaluates a goal. "survival" pays 0.05
    per step and has no end of its own. The tasks are in `llm_wrappers.worlds.ellm_crafter.tasks`.

    The same seed and actions give the same episode, in any process. Environments pickle and
    deepcopy at any time.

    Args:
        render_mode: None, or ``"rgb_array"`` to let `render` return the observation at four times
            its size.
        size: Height and width of an observation, in pixels, at least 18.
        length: The number of steps after which an episode is truncated.
        area: Columns and rows of the world, in tiles, at least 9 each.
        privileged: Whether to add `semantic` and `player_pos` to `info`, as `CrafterEnv` does.
        easier: Whether to have only the 27 actions that Crafter itself has, named with their
            nouns.
        task: None for the achievements of Crafter, or the name of a downstream task, such as
            ``"place crafting table"`` or ``"deforestation"``.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If there is no such task.
        DependencyNotInstalled: If crafter is not installed.

    >>> env = EllmCrafterEnv(size=48)
    >>> env.action_space
    Discrete(139)
    >>> observation, info = env.reset(seed=0)
    >>> chop_grass = env.captioner.description.action_names.index("chop grass")
    >>> observation, reward, terminated, truncated, info = env.step(chop_grass)
    >>> info["action_success"]
    True
    """

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        size: int = 64,
        length: int = 400,
        area: Sequence[int] = (64, 64),
        privileged: bool = False,
        easier: bool = False,
        task: str | None = None,
    ) -> None:
        checks.flag("easier", easier)
        self._task = None if task is None else find_task(task)
        super().__init__(
            render_mode=render_mode, size=size, length=length, area=area, privileged=privileged
        )
        from llm_wrappers.worlds.ellm_crafter.engine import EllmGame

        self._easier = easier
        self._names = EASIER_NAMES if easier else ACTION_NAMES
        self.action_space = gym.spaces.Discrete(len(self._names))
        self._game: EllmGame = EllmGame((area[0], area[1]), size)
        self._success: tuple[bool, bool] = _NOT_ACTED
        self._progress: TaskProgress | None = None

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks: in the words of ELLM."""
        return EllmCaptioner("ellm-crafter", actions="easier" if self._easier else "verb-noun")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Generate a new world and return its first observation and info.

        Args:
            seed: Seeds `np_random`; None continues its stream.
            options: Not used.
        """
        self._success = _NOT_ACTED
        self._progress = None if self._task is None else TaskProgress(self._task)
        return super().reset(seed=seed, options=options)

    def _play(self, action: int) -> tuple[NDArray[np.uint8], float, bool]:
        observation, reward = self._game.perform(self._names[action])
        outcome, terminated = self._game.outcome, self._game.dead
        self._success = outcome.action_success, outcome.eval_success
        if self._progress is not None:
            deed = self._game.last_deed() if outcome.eval_success else None
            reward = self._progress.reward_for(deed)
            terminated = terminated or self._progress.done
        return observation, reward, terminated

    def _info(self) -> dict[str, Any]:
        action_success, eval_success = self._success
        return {
            **super()._info(),
            "action_success": action_success,
            "eval_success": eval_success,
        }
