"""What a language model told us, as data: goals, planners, mask banks, and how to keep them."""

from llm_wrappers.guidance.artefact import (
    GuidanceArtefact,
    Provenance,
    load_artefact,
    save_artefact,
)
from llm_wrappers.guidance.goal import Goal
from llm_wrappers.guidance.mask_bank import BoundsBank, MaskBank
from llm_wrappers.guidance.planner import FunctionPlanner, Planner
from llm_wrappers.guidance.program import PlannerProgram
from llm_wrappers.guidance.resolve import (
    reference_artefact,
    register_source,
    resolve_masks,
    resolve_planner,
)

__all__ = [
    "BoundsBank",
    "FunctionPlanner",
    "Goal",
    "GuidanceArtefact",
    "MaskBank",
    "Planner",
    "PlannerProgram",
    "Provenance",
    "load_artefact",
    "reference_artefact",
    "register_source",
    "resolve_masks",
    "resolve_planner",
    "save_artefact",
]
