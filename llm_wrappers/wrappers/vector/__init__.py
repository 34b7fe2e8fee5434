"""The wrappers for `gymnasium.vector`, under the same names."""

from llm_wrappers.wrappers.vector.action_bounds import ActionBoundsWrapper
from llm_wrappers.wrappers.vector.action_mask import ActionMaskWrapper
from llm_wrappers.wrappers.vector.goal_observation import GoalObservationWrapper

__all__ = ["ActionBoundsWrapper", "ActionMaskWrapper", "GoalObservationWrapper"]
