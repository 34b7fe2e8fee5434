"""What becomes of the environment's reward and a reward of our own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.adaptive_trust import refuse_trust, resolve_trusted
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.schedules import Schedule, coefficient
from llm_wrappers.wrappers._trust_evidence import TrustEvidence

__all__ = ["COMBINE", "RewardMix"]

COMBINE = ("replace", "add")
_NOT_FOR_REPLACE = (
    'with combine="replace" there is nothing to learn from where trust is low; use combine="add"'
)


class RewardMix:
    """One reward from two, with a scheduled coefficient c on our own.

    ``"replace"`` gives w c r, and ``"add"`` gives v r_ext + w c r.

    Args:
        combine: ``"replace"`` or ``"add"``.
        own_weight: w, at least 0.
        extrinsic_weight: v, at least 0.
        schedule: What `resolve_trusted` takes; its value at the training progress is c. An
            adaptive one needs ``"add"``.
        n: The number of sub-environments.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
    """

    def __init__(
        self,
        combine: str,
        *,
        own_weight: float,
        extrinsic_weight: float,
        schedule: float | Mapping[str, Any] | Schedule,
        n: int = 1,
    ) -> None:
        if combine not in COMBINE:
            raise InvalidOptionError(f"combine must be one of {COMBINE}, got {combine!r}")
        self._own_weight = _checked_weight("similarity_weight", own_weight)
        checked = _checked_weight("extrinsic_weight", extrinsic_weight)
        self._extrinsic_weight = checked if combine == "add" else 0.0
        self._schedule = resolve_trusted(schedule)
        if combine == "replace":
            refuse_trust(self._schedule, _NOT_FOR_REPLACE)
        self.evidence = TrustEvidence(n, self._schedule)
        self.set_progress(0.0)

    def set_progress(self, progress: float) -> None:
        """Set the training progress, a number in [0, 1], for the steps from now on."""
        self.coefficient = coefficient(self._schedule, progress)
        self.progress = float(progress)

    def learn(
        self,
        own: NDArray[np.float64],
        paid: Any,
        rows: NDArray[np.intp],
        ended: NDArray[np.bool_],
    ) -> None:
        """Report a step to a schedule that adapts, after its reward was mixed.

        Args:
            own: Our own rewards, shape (n,).
            paid: What the environment paid, shape (n,).
            rows: Which of the n took a step.
            ended: Where an episode ended, shape (n,).
        """
        if self.evidence.trust is not None:
            self.evidence.learn(own, paid, rows, ended)
            self.set_progress(self.progress)

    @property
    def is_identity(self) -> bool:
        """Whether the environment's reward passes through as it is."""
        return self._extrinsic_weight == 1.0 and self._own_weight * self.coefficient == 0.0

    def mix(self, extrinsic: Any, own: Any) -> Any:
        """Return the reward, of a number or of an array of shape (n,)."""
        ours = self._own_weight * self.coefficient * own
        if self._extrinsic_weight == 0.0:
            # Not 0 times the reward, which is no number where that is infinite.
            return ours
        return self._extrinsic_weight * extrinsic + ours


def _checked_weight(name: str, weight: Any) -> float:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0.0 <= weight < math.inf:
        raise InvalidOptionError(f"{name} must be a finite number >= 0, got {weight!r}")
    return float(weight)
