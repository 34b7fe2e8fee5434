"""The wrappers for `gymnasium.vector`, under the same names."""

from llm_wrappers.wrappers.vector.action_bounds import ActionBoundsWrapper
from llm_wrappers.wrappers.vector.action_mask import ActionMaskWrapper
from llm_wrappers.wrappers.vector.caption_observation import CaptionObservationWrapper
from llm_wrappers.wrappers.vector.critical_state_override import CriticalStateOverrideWrapper
from llm_wrappers.wrappers.vector.goal_observation import GoalObservationWrapper
from llm_wrappers.wrappers.vector.reward_shift import RewardShiftWrapper
from llm_wrappers.wrappers.vector.similarity_reward import SimilarityRewardWrapper
from llm_wrappers.wrappers.vector.trajectory_recorder import TrajectoryRecorder

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
