"""Stable-Baselines3: the bridge from vector environments, callbacks and mask relaxation."""

from llm_wrappers.errors import require

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

from llm_wrappers.methods.ultra.refining import Refinement, refine  # noqa: E402
from llm_wrappers.sb3.baselines.fidelity import (  # noqa: E402
    FidelityScore,
    fidelity_scores,
    seeded_trajectories,
)
from llm_wrappers.sb3.baselines.grid_extractor import GridExtractor  # noqa: E402
from llm_wrappers.sb3.baselines.guided_exploration import GuidedDQN  # noqa: E402
from llm_wrappers.sb3.baselines.relaxed_masks import (  # noqa: E402
    MaskDistillationCallback,
    SoftMaskCallback,
    SoftMaskPolicy,
)
from llm_wrappers.sb3.baselines.rnd import RandomNetworkDistillation  # noqa: E402
from llm_wrappers.sb3.baselines.state_mask import StateMask, train_state_mask  # noqa: E402
from llm_wrappers.sb3.baselines.value_gap import critic_values, value_gap_selector  # noqa: E402
from llm_wrappers.sb3.callbacks import (  # noqa: E402
    GuidanceCallback,
    GuidanceCheckpointCallback,
    set_progress_of,
)
from llm_wrappers.sb3.episode_log import EpisodeLogCallback, ProgressBarCallback  # noqa: E402
from llm_wrappers.sb3.policy_corrector import PolicyCorrector  # noqa: E402
from llm_wrappers.sb3.recording import record_trajectories  # noqa: E402
from llm_wrappers.sb3.relabel_callback import RelabelCallback  # noqa: E402
from llm_wrappers.sb3.reweighing_callback import ReweighingCallback  # noqa: E402
from llm_wrappers.sb3.run_report import RunReportCallback  # noqa: E402
from llm_wrappers.sb3.vec_env import as_vec_env  # noqa: E402

__all__ = [
    "EpisodeLogCallback",
    "FidelityScore",
    "GridExtractor",
    "GuidanceCallback",
    "GuidanceCheckpointCallback",
    "GuidedDQN",
    "MaskDistillationCallback",
    "PolicyCorrector",
    "ProgressBarCallback",
    "RandomNetworkDistillation",
    "Refinement",
    "RelabelCallback",
    "ReweighingCallback",
    "RunReportCallback",
    "SoftMaskCallback",
    "SoftMaskPolicy",
    "StateMask",
    "as_vec_env",
    "critic_values",
    "fidelity_scores",
    "record_trajectories",
    "refine",
    "seeded_trajectories",
    "set_progress_of",
    "train_state_mask",
    "value_gap_selector",
]
