"""The arms of the comparison: the plain algorithm, SGRL, and SGRL with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["ARMS", "Arm"]

_SLOW = MappingProxyType(
    {"kind": "three_stage_cosine", "stages": [[0.5, 1.0, 0.9], [0.9, 0.9, 0.3], [1.0, 0.3, 0.0]]}
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of the comparison.

    Args:
        summary: What it is, in a line.
        wrap: Options of `llm_wrappers.methods.sgrl.wrap`; None for the plain environment.
        masked: Whether MaskablePPO trains it, else PPO.
        distil: Whether `MaskDistillationCallback` is on.
        soft: The schedule of a soft mask's strength; None for hard masks.
    """

    summary: str
    wrap: Mapping[str, Any] | None = field(default_factory=dict)
    masked: bool = True
    distil: bool = False
    soft: Mapping[str, Any] | float | None = None


ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "ppo": Arm(summary="PPO, no guidance", wrap=None, masked=False),
        "sgrl": Arm(summary="goals and masks, kept throughout"),
        "goals": Arm(summary="goals, no mask", wrap={"masks": "none"}, masked=False),
        "annealed": Arm(
            summary="mask annealed to 0", wrap={"schedule": {"kind": "three_stage_cosine"}}
        ),
        "slow": Arm(summary="mask annealed to 0, late", wrap={"schedule": dict(_SLOW)}),
        "half": Arm(summary="mask with probability 1/2", wrap={"schedule": 0.5}),
        "distilled": Arm(
            summary="annealed, masked logits trained down",
            wrap={"schedule": {"kind": "three_stage_cosine"}},
            distil=True,
        ),
        "soft": Arm(
            summary="Eq. 5, C from 10 to 0", soft={"kind": "linear", "start": 1.0, "end": 0.0}
        ),
        "no-priorities": Arm(
            summary="feasible goals, equal weights",
            wrap={"planner": "equal", "selection": "sample", "reselect": "on_change"},
        ),
        "sampled": Arm(
            summary="goals sampled by weight",
            wrap={"selection": "sample", "reselect": "on_change"},
        ),
        "oracle": Arm(
            summary="every locked goal with met prerequisites", wrap={"planner": "oracle"}
        ),
        "shuffled": Arm(summary="goals exchanged", wrap={"planner": "shuffled"}),
        "random": Arm(summary="random goals", wrap={"planner": "random"}),
    }
)
