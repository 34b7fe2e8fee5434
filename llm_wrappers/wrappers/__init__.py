"""Wrappers that read guidance in the hot path; one class per file."""

from llm_wrappers.wrappers.action_bounds import ActionBoundsWrapper
from llm_wrappers.wrappers.action_mask import ActionMaskWrapper
from llm_wrappers.wrappers.goal_observation import GoalObservationWrapper

__all__ = ["ActionBoundsWrapper", "ActionMaskWrapper", "GoalObservationWrapper"]


def __getattr__(name: str) -> object:
    if name == "vector":
        from importlib import import_module

        return import_module("llm_wrappers.wrappers.vector")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
