"""Wrappers that read guidance in the hot path, and the saving of what outlives an episode."""

from llm_wrappers.wrappers.action_bounds import ActionBoundsWrapper
from llm_wrappers.wrappers.action_mask import ActionMaskWrapper
from llm_wrappers.wrappers.caption_observation import CaptionObservationWrapper
from llm_wrappers.wrappers.critical_state_override import CriticalStateOverrideWrapper
from llm_wrappers.wrappers.goal_observation import GoalObservationWrapper
from llm_wrappers.wrappers.reward_shift import RewardShiftWrapper
from llm_wrappers.wrappers.saving import load_guidance, save_guidance
from llm_wrappers.wrappers.similarity_reward import SimilarityRewardWrapper
from llm_wrappers.wrappers.trajectory_recorder import TrajectoryRecorder

__all__ = [
    "ActionBoundsWrapper",
    "ActionMaskWrapper",
    "CaptionObservationWrapper",
    "CriticalStateOverrideWrapper",
    "GoalObservationWrapper",
    "RewardShiftWrapper",
    "SimilarityRewardWrapper",
    "TrajectoryRecorder",
    "load_guidance",
    "save_guidance",
]


def __getattr__(name: str) -> object:
    if name == "vector":
        from importlib import import_module

        return import_module("llm_wrappers.wrappers.vector")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
