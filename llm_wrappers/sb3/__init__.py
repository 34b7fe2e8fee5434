"""Stable-Baselines3: the bridge from vector environments, callbacks and mask relaxation."""

from llm_wrappers.errors import require

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

from llm_wrappers.sb3.callbacks import GuidanceCallback  # noqa: E402
from llm_wrappers.sb3.episode_log import EpisodeLogCallback, ProgressBarCallback  # noqa: E402
from llm_wrappers.sb3.grid_extractor import GridExtractor  # noqa: E402
from llm_wrappers.sb3.mask_distillation import MaskDistillationCallback  # noqa: E402
from llm_wrappers.sb3.soft_mask import SoftMaskCallback, SoftMaskPolicy  # noqa: E402
from llm_wrappers.sb3.vec_env import as_vec_env  # noqa: E402

__all__ = [
    "EpisodeLogCallback",
    "GridExtractor",
    "GuidanceCallback",
    "MaskDistillationCallback",
    "ProgressBarCallback",
    "SoftMaskCallback",
    "SoftMaskPolicy",
    "as_vec_env",
]
