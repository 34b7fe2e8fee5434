"""The arms of the comparison: the plain algorithm, SGRL, and SGRL with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["ARMS", "Arm"]

_COSINE = {"kind": "three_stage_cosine"}
_SLOW = {**_COSINE, "stages": [[0.5, 1.0, 0.9], [0.9, 0.9, 0.3], [1.0, 0.3, 0.0]]}
# Stages of one value each, which is a staircase.
_STEPS = {**_COSINE, "stages": [[0.5, 1.0, 1.0], [0.75, 0.5, 0.5], [1.0, 0.0, 0.0]]}
_LINEAR = {"kind": "linear", "start": 1.0, "end": 0.0}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of the comparison.

    Args:
        summary: What it is, in a line.
        wrap: Options of `llm_wrappers.methods.sgrl.wrap`; None for the plain environment.
        masked: Whether MaskablePPO trains it, else PPO.
        distil: Whether `MaskDistillationCallback` is on.
        soft: The schedule of a soft mask's strength; None for hard masks.
        reweigh_every: The environment steps between two re-weightings of the goals by
            `ReweighingCallback`, with the rule that is written by hand; None for never.
        goal_hidden: Whether goals choose the mask but are not shown to the policy.
        facts_shown: Whether the policy is shown the facts that the reference planner reads; only
            without `wrap`.
    """

    summary: str
    wrap: Mapping[str, Any] | None = field(default_factory=dict)
    masked: bool = True
    distil: bool = False
    soft: Mapping[str, Any] | float | None = None
    reweigh_every: int | None = None
    goal_hidden: bool = False
    facts_shown: bool = False


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "ppo": Arm(summary="PPO, no guidance", wrap=None, masked=False),
        "facts": Arm(
            summary="PPO that sees the planner's facts", wrap=None, masked=False, facts_shown=True
        ),
        "goals": Arm(summary="goals, no mask", wrap={"masks": "none"}, masked=False),
        "masks": Arm(summary="masks, goals not shown", goal_hidden=True),
        "sgrl": Arm(summary="goals and masks, kept throughout"),
        "half": Arm(summary="mask with probability 1/2", wrap={"schedule": 0.5}),
        "annealed": Arm(summary="mask annealed to 0", wrap={"schedule": _COSINE}),
        "slow": Arm(summary="mask annealed to 0, late", wrap={"schedule": _SLOW}),
        "linear-annealing": Arm(summary="mask annealed to 0, linear", wrap={"schedule": _LINEAR}),
        "step-annealing": Arm(summary="mask annealed 1, 1/2, 0", wrap={"schedule": _STEPS}),
        "distilled": Arm(
            summary="annealed, masked logits trained down", wrap={"schedule": _COSINE}, distil=True
        ),
        "soft": Arm(summary="Eq. 5, C from 10 to 0", soft=_LINEAR),
        "reweighed-50k": Arm(summary="goals weighed anew every 50k steps", reweigh_every=50_000),
        "reweighed-100k": Arm(summary="goals weighed anew every 100k steps", reweigh_every=100_000),
        "reweighed-2m": Arm(summary="goals weighed anew every 2M steps", reweigh_every=2_000_000),
        "no-priorities": Arm(
            summary="feasible goals, equal weights",
            wrap={"planner": "equal", "selection": "sample", "reselect": "on_change"},
        ),
        "sampled": Arm(
            summary="goals sampled by weight",
            wrap={"selection": "sample", "reselect": "on_change"},
        ),
        "single": Arm(
            summary="one goal always: collect diamond", wrap={"planner": "single:collect diamond"}
        ),
        "oracle": Arm(
            summary="every locked goal with met prerequisites", wrap={"planner": "oracle"}
        ),
        "shuffled": Arm(summary="goals exchanged", wrap={"planner": "shuffled"}),
        "random": Arm(summary="random goals", wrap={"planner": "random"}),
        "shuffled-masks": Arm(summary="masks exchanged", wrap={"masks": "shuffled"}),
        "random-masks": Arm(summary="random masks", wrap={"masks": "random"}),
    }
)
"""Every arm by its name. With the mask kept, `sgrl` is the static mask of the paper's ablation."""
