"""Play guided by what an author has just written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.methods.sgrl._episode import Episode
from llm_wrappers.methods.sgrl.mask_audit import MaskAudit, audit_masks
from llm_wrappers.methods.sgrl.mask_author import MaskDraft
from llm_wrappers.methods.sgrl.states import GUIDED_STEPS_PER_STATE, record_episodes, states_of
from llm_wrappers.sandbox import MontyRuntime

__all__ = ["Exploration"]


class Exploration:
    """Plays guided by the first planner that passes, and by the masks, asked for at that time.

    Args:
        env: The environment.
        captioner: Gives facts and captions.
        ask_masks: Has the masks written; called once.
        goals: The goal vocabulary; None for that of the environment.
        states: How many different states are wanted.
        seed: The seed of the play.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        captioner: Captioner,
        *,
        ask_masks: Callable[[], MaskDraft],
        goals: Sequence[str] | None,
        states: int,
        seed: int,
    ) -> None:
        self._env = env
        self._captioner = captioner
        self._ask_masks = ask_masks
        self._goals = goals
        self._states = states
        self._seed = seed
        self._episodes: list[Episode] = []
        self.masks = MaskDraft()

    def states(self, source: str) -> list[dict[str, Any]]:
        """Play guided by a planner, contained, and return the different states met.

        Args:
            source: The source of the planner.
        """
        self.masks = self._ask_masks()
        with MontyRuntime(source) as planner:
            self._episodes = record_episodes(
                self._env,
                steps=self._states * GUIDED_STEPS_PER_STATE,
                seed=self._seed,
                captioner=self._captioner,
                guided_by=(planner, self.masks.masks),
                goals=self._goals,
            )
        return states_of(self._episodes, states=self._states)

    def audit(self, source: str) -> MaskAudit:
        """Return how the masks compare with what happened in the play.

        Args:
            source: The source of the planner as it is saved; repairs may have changed it.
        """
        with MontyRuntime(source) as planner:
            return audit_masks(
                self.masks.masks,
                self._episodes,
                env=self._env,
                planner=planner,
                captioner=self._captioner,
                goals=self._goals,
            )
