"""SGRL (arXiv 2509.22008): goals in the observation, actions pruned by the goal."""

from llm_wrappers.methods.sgrl.mask_audit import MaskAudit, audit_masks
from llm_wrappers.methods.sgrl.mask_author import MaskDraft, write_masks
from llm_wrappers.methods.sgrl.planner_author import PlannerDraft, write_planner
from llm_wrappers.methods.sgrl.play import record_episodes, record_states
from llm_wrappers.methods.sgrl.recipe import DEPLOYMENTS, deploy, wrap
from llm_wrappers.methods.sgrl.reweighing import (
    LLMReweigher,
    ReferenceReweigher,
    Reweigher,
    UnlockReport,
    resolve_reweigher,
)
from llm_wrappers.methods.sgrl.reweighing_run import ReweighingRun
from llm_wrappers.methods.sgrl.writing import write_guidance

__all__ = [
    "DEPLOYMENTS",
    "LLMReweigher",
    "MaskAudit",
    "MaskDraft",
    "PlannerDraft",
    "ReferenceReweigher",
    "Reweigher",
    "ReweighingRun",
    "UnlockReport",
    "audit_masks",
    "deploy",
    "record_episodes",
    "record_states",
    "resolve_reweigher",
    "wrap",
    "write_guidance",
    "write_masks",
    "write_planner",
]
