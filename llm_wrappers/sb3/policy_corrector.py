"""A better policy's action, as a corrector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.correcting import Advice, episode_of, split_part
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.table import CriticalState
from llm_wrappers.sb3.models import FrozenModel, load_model, load_normalizer
from llm_wrappers.trajectories.trajectory import Trajectory, map_leaves

__all__ = ["PolicyCorrector", "named_policy"]


class PolicyCorrector:
    """Advises what a better policy does: the best case that a language model is compared with.

    The advice is the most likely action. The reward of a critical state is +1 if the agent did
    that, of a Box if it was near enough, else -1. Both are our choice.

    The policy sees the recorded observations, so episodes are recorded below the wrappers that it
    was trained below. A `MaskablePPO` is not given masks, since episodes have none;
    `CriticalStateOverrideWrapper` skips advice that the mask forbids.

    Args:
        model: The better model of Stable-Baselines3 or sb3-contrib.
        normalizer: What observations are normalised with; None for that of the model's own
            environment. A model from a file has none of its own.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice and still agree with it, in
            each dimension, as a share of its range, or where that is infinite in its units.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        IncompatibleEnvironmentError: If the policy has a memory; in use, if the observations are
            not of its space.

    >>> from stable_baselines3 import PPO
    >>> corrector = PolicyCorrector(PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu"))
    >>> episode = Trajectory(np.zeros((2, 4)), np.array([0]), [1.0], True, False)
    >>> [found] = corrector.correct([episode], [CriticalMoment(0, 0)])
    >>> found.reward == (1.0 if found.action == 0 else -1.0)
    True
    """

    def __init__(
        self,
        model: BaseAlgorithm,
        *,
        normalizer: VecNormalize | None = None,
        part: str | None = None,
        tolerance: float = 0.1,
    ) -> None:
        self._frozen = FrozenModel(model, normalizer=normalizer)
        self._advice = Advice(model.action_space, part=part, tolerance=tolerance)

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> list[CriticalState | None]:
        """Return the better policy's action for each moment.

        Raises:
            InvalidOptionError: If a moment is not of these episodes, or `part` does not fit.
            IncompatibleEnvironmentError: If observations are not of the policy's space.
        """
        return [self._corrected(trajectories, moment) for moment in moments]

    def _corrected(
        self, trajectories: Sequence[Trajectory], moment: CriticalMoment
    ) -> CriticalState:
        observations = episode_of(trajectories, moment).observations
        seen = map_leaves(observations, lambda leaf: np.array(leaf[moment.step]))
        return self._advice.critical_state(trajectories, moment, self._frozen.action(seen))


def named_policy(rest: str, **context: Any) -> PolicyCorrector:
    """Return the corrector of ``"policy:PATH.zip"`` or ``"policy:PATH.zip|STATISTICS.pkl"``.

    Args:
        rest: The file of a model; for one that was trained behind `VecNormalize`, with the file of
            its statistics, which a saved model does not hold. For a Dict observation
            ``"?part=ENTRY"`` at the end names the entry that tells states apart.
        context: Not read.

    Raises:
        InvalidOptionError: If no file is named.
        GuidanceFileError: If a file cannot be read.
    """
    files, part = split_part(rest)
    path, _, statistics = files.partition("|")
    if not path:
        raise InvalidOptionError("expected 'policy:PATH.zip', the file of a better model")
    normalizer = load_normalizer(statistics) if statistics else None
    return PolicyCorrector(load_model(path), normalizer=normalizer, part=part)
