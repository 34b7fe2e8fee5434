"""What a language model told us, as data: goals, planners, mask banks, and how to keep them."""

from llm_wrappers.guidance.artefact import (
    GuidanceArtefact,
    Provenance,
    load_artefact,
    save_artefact,
)
from llm_wrappers.guidance.critical.table import (
    CriticalState,
    CriticalStates,
    resolve_critical_states,
)
from llm_wrappers.guidance.goals import Goal
from llm_wrappers.guidance.masks import BoundsBank, MaskBank
from llm_wrappers.guidance.planners import FunctionPlanner, Planner, PlannerProgram
from llm_wrappers.guidance.resolve import (
    reference_artefact,
    register_source,
    resolve_masks,
    resolve_planner,
)
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggesters import FunctionSuggester, Suggester, resolve_suggester
from llm_wrappers.trajectories.files import (
    TrajectoryFiles,
    append_trajectory,
    load_trajectory,
    open_trajectories,
    save_trajectory,
)
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = [
    "BoundsBank",
    "CriticalState",
    "CriticalStates",
    "FunctionPlanner",
    "FunctionSuggester",
    "Goal",
    "GuidanceArtefact",
    "MaskBank",
    "Planner",
    "PlannerProgram",
    "Provenance",
    "States",
    "Suggester",
    "Trajectory",
    "TrajectoryFiles",
    "append_trajectory",
    "load_artefact",
    "load_trajectory",
    "open_trajectories",
    "reference_artefact",
    "register_source",
    "resolve_critical_states",
    "resolve_masks",
    "resolve_planner",
    "resolve_suggester",
    "save_artefact",
    "save_trajectory",
]
