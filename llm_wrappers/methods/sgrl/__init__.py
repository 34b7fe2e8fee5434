"""SGRL (arXiv 2509.22008): goals in the observation, actions pruned by the goal."""

from llm_wrappers.methods.sgrl.mask_author import MaskDraft, write_masks
from llm_wrappers.methods.sgrl.planner_author import PlannerDraft, write_planner
from llm_wrappers.methods.sgrl.recipe import DEPLOYMENTS, deploy, wrap
from llm_wrappers.methods.sgrl.states import record_states
from llm_wrappers.methods.sgrl.writing import write_guidance

__all__ = [
    "DEPLOYMENTS",
    "MaskDraft",
    "PlannerDraft",
    "deploy",
    "record_states",
    "wrap",
    "write_guidance",
    "write_masks",
    "write_planner",
]
