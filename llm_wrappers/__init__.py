"""Large language model guidance for reinforcement learning, as composable Gymnasium wrappers.

Importing the package registers its environments and loads gymnasium and numpy only; everything
else, public names included, is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llm_wrappers._version import __version__
from llm_wrappers.worlds import register_envs

if TYPE_CHECKING:
    from llm_wrappers import errors, llm, methods, sb3, schedules, testing, wrappers
    from llm_wrappers.captions import EnvDescription
    from llm_wrappers.guidance import Goal, MaskBank
    from llm_wrappers.wrappers import (
        ActionBoundsWrapper,
        ActionMaskWrapper,
        CaptionObservationWrapper,
        CriticalStateOverrideWrapper,
        GoalObservationWrapper,
        RewardShiftWrapper,
        SimilarityRewardWrapper,
        TrajectoryRecorder,
        load_guidance,
        save_guidance,
    )

__all__ = [
    "ActionBoundsWrapper",
    "ActionMaskWrapper",
    "CaptionObservationWrapper",
    "CriticalStateOverrideWrapper",
    "EnvDescription",
    "Goal",
    "GoalObservationWrapper",
    "MaskBank",
    "RewardShiftWrapper",
    "SimilarityRewardWrapper",
    "TrajectoryRecorder",
    "__version__",
    "errors",
    "llm",
    "load_guidance",
    "methods",
    "save_guidance",
    "sb3",
    "schedules",
    "testing",
    "wrappers",
]

_HOME_OF = {
    "ActionBoundsWrapper": "llm_wrappers.wrappers",
    "ActionMaskWrapper": "llm_wrappers.wrappers",
    "CaptionObservationWrapper": "llm_wrappers.wrappers",
    "CriticalStateOverrideWrapper": "llm_wrappers.wrappers",
    "EnvDescription": "llm_wrappers.captions",
    "Goal": "llm_wrappers.guidance",
    "GoalObservationWrapper": "llm_wrappers.wrappers",
    "MaskBank": "llm_wrappers.guidance",
    "RewardShiftWrapper": "llm_wrappers.wrappers",
    "SimilarityRewardWrapper": "llm_wrappers.wrappers",
    "TrajectoryRecorder": "llm_wrappers.wrappers",
    "load_guidance": "llm_wrappers.wrappers",
    "save_guidance": "llm_wrappers.wrappers",
}
_SUBPACKAGES = ("errors", "llm", "methods", "sb3", "schedules", "testing", "wrappers")

register_envs()


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
