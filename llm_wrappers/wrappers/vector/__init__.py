"""The wrappers for `gymnasium.vector`, under the same names; a twin is a docstring."""

from __future__ import annotations

from llm_wrappers.wrappers.action_bounds import BoundsMethods
from llm_wrappers.wrappers.action_mask import MaskMethods
from llm_wrappers.wrappers.caption_observation import CaptionMethods
from llm_wrappers.wrappers.critical_state_override import OverrideMethods
from llm_wrappers.wrappers.goal_observation import GoalMethods
from llm_wrappers.wrappers.reward_shift import ShiftMethods
from llm_wrappers.wrappers.similarity_reward import SimilarityMethods
from llm_wrappers.wrappers.trajectory_recorder import RecorderMethods
from llm_wrappers.wrappers.vector._guided import GuidedVector

__all__ = [
    "ActionBoundsWrapper",
    "ActionMaskWrapper",
    "CaptionObservationWrapper",
    "CriticalStateOverrideWrapper",
    "GoalObservationWrapper",
    "RewardShiftWrapper",
    "SimilarityRewardWrapper",
    "TrajectoryRecorder",
]


class ActionBoundsWrapper(BoundsMethods, GuidedVector):
    """Clips the continuous actions of each sub-environment to the bounds of its current goal.

    The twin of `llm_wrappers.wrappers.ActionBoundsWrapper`, whose documentation holds:
    sub-environment i, seeded with ``seed + i``, has the same bounds.

    >>> import gymnasium as gym
    >>> from llm_wrappers.wrappers import vector
    >>> envs = vector.GoalObservationWrapper(
    ...     gym.make_vec("Pendulum-v1", num_envs=2),
    ...     planner=lambda facts: [[("brake", 1.0)] for _ in facts], goals=["brake"],
    ... )
    >>> envs = ActionBoundsWrapper(envs, bounds={"brake": (-2.0, 0.0)})
    >>> observations, infos = envs.reset(seed=0)
    >>> *_, infos = envs.step([[1.5], [-1.5]])
    >>> infos["executed_action"].tolist()
    [[0.0], [-1.5]]
    """


class ActionMaskWrapper(MaskMethods, GuidedVector):
    """Leaves only the actions open that serve the current goal of each sub-environment.

    The twin of `llm_wrappers.ActionMaskWrapper`, whose documentation holds: sub-environment i,
    seeded with ``seed + i``, has the same masks. `action_masks` returns those of all
    sub-environments; through `llm_wrappers.sb3.as_vec_env` MaskablePPO finds them. Works in every
    autoreset mode.

    >>> import gymnasium as gym
    >>> from llm_wrappers.wrappers import vector
    >>> envs = vector.GoalObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     planner=lambda facts: [[("go left", 1.0)] for _ in facts], goals=["go left"],
    ... )
    >>> envs = ActionMaskWrapper(envs, masks={"go left": [0]})
    >>> observations, infos = envs.reset(seed=0)
    >>> envs.action_masks().tolist()
    [[True, False], [True, False]]
    """


class CaptionObservationWrapper(CaptionMethods, GuidedVector):
    """Adds the vector of the state's caption to the observation of each sub-environment.

    The twin of `llm_wrappers.CaptionObservationWrapper`, whose documentation holds. The captions
    of a step that are not known yet are encoded in one call. Works in every autoreset mode.

    >>> import gymnasium as gym
    >>> envs = CaptionObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"), encoder="hashing:32"
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["caption"].shape, infos["caption_text"].shape
    ((2, 32), (2,))
    """


class CriticalStateOverrideWrapper(OverrideMethods, GuidedVector):
    """Executes advised actions, and adds rewards, in critical states of each sub-environment.

    The twin of `llm_wrappers.CriticalStateOverrideWrapper`, whose documentation holds:
    sub-environment i, seeded with ``seed + i``, gets the same advice. The table is shared. Works in
    every autoreset mode; the step that only shows a new episode is no step in a critical state.

    >>> import gymnasium as gym, numpy as np
    >>> from llm_wrappers.guidance.critical.table import CriticalState
    >>> from llm_wrappers.guidance.critical.table import CriticalStates
    >>> table = CriticalStates([CriticalState(0, 2)], key="exact")
    >>> envs = gym.make_vec("FrozenLake-v1", 2, vectorization_mode="sync", is_slippery=False)
    >>> envs = CriticalStateOverrideWrapper(envs, critical_states=table, probability=1.0)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([2, 3]))
    >>> rewards.tolist(), infos["executed_action"].tolist()
    ([0.5, -0.5], [2, 2])
    """


class GoalObservationWrapper(GoalMethods, GuidedVector):
    """Adds the goal that a planner sets for the current state to each sub-environment.

    The twin of `llm_wrappers.GoalObservationWrapper`, whose documentation holds: sub-environment
    i, seeded with ``seed + i``, has the same goals. The planner is asked for all sub-environments
    at once. Works in every autoreset mode.

    >>> import gymnasium as gym
    >>> def planner(facts):
    ...     return [[("go left" if row["pole_angle_deg"] < 0 else "go right", 1)] for row in facts]
    >>> envs = GoalObservationWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     planner=planner, goals=["go left", "go right"],
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["goal"].shape, infos["goal_text"].tolist()
    ((2, 2), ['go left', 'go left'])
    """


class RewardShiftWrapper(ShiftMethods, GuidedVector):
    """Adds a judgement of each state and the action taken in it to each reward.

    The twin of `llm_wrappers.RewardShiftWrapper`, whose documentation holds: sub-environment i,
    seeded with ``seed + i``, has the same rewards. The judge is asked for all sub-environments at
    once. Works in every autoreset mode; the step that only shows a new episode is not judged.

    >>> import gymnasium as gym, numpy as np
    >>> envs = RewardShiftWrapper(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
    ...     judge="reference", scale=0.5,
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 0]))
    >>> rewards.tolist(), infos["judgement"].tolist()
    ([0.5, 1.5], [-1, 1])
    """


class SimilarityRewardWrapper(SimilarityMethods, GuidedVector):
    """Rewards transitions of each sub-environment that do what was suggested before them.

    The twin of `llm_wrappers.SimilarityRewardWrapper`, whose documentation holds: sub-environment
    i, seeded with ``seed + i``, has the same rewards. The suggester and the encoder are asked for
    all sub-environments at once. Works in every autoreset mode; the step that only shows a new
    episode pays 0.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions.generic import GenericCaptioner
    >>> lakes = gym.make_vec("FrozenLake-v1", num_envs=2, is_slippery=False)
    >>> envs = SimilarityRewardWrapper(
    ...     lakes,
    ...     suggester=["took action 2: obs changed from 0 to 1"],
    ...     captioner=GenericCaptioner(lakes.single_observation_space, lakes.single_action_space),
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> envs.step([2, 0])[1].tolist()
    [1.0, 0.0]
    """


class TrajectoryRecorder(RecorderMethods, GuidedVector):
    """Records the episodes of each sub-environment, in the order in which they end.

    The twin of `llm_wrappers.TrajectoryRecorder`, whose documentation holds. Works in every
    autoreset mode: the last observation of an episode is its own, never the first of the next.
    With `max_episodes` the first that begin are recorded, so that short ones are not preferred.

    >>> import gymnasium as gym, numpy as np
    >>> envs = TrajectoryRecorder(
    ...     gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=2)
    ... )
    >>> observations, infos = envs.reset(seed=0)
    >>> for _ in range(2):
    ...     observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 0]))
    >>> [(each.seed, each.actions.tolist()) for each in envs.trajectories()]
    [(0, [1, 1]), (1, [0, 0])]
    """
