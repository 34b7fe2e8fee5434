"""Potential-based shaping of n sub-environments."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.potential import Potential
from llm_wrappers.guidance.suggester import States
from llm_wrappers.guidance.suggesting import is_for_the_user

__all__ = ["PotentialShift"]


class PotentialShift:
    """gamma Phi(s') - Phi(s), which leaves the best policy as it is; batch first.

    The potential of a terminal state is 0; that of a state in which an episode is cut off is not.
    A weight that changes during training belongs to the potential of the state that it was applied
    to, so that the sum over an episode still telescopes (Devlin and Kudenko, 2012).

    Args:
        n: The number of sub-environments.
        potential: Phi.
        captioner: Puts the states into words.
        gamma: The discount of the algorithm, in [0, 1].

    Raises:
        InvalidOptionError: If gamma is missing or outside.
    """

    def __init__(
        self, n: int, *, potential: Potential, captioner: Captioner, gamma: float | None
    ) -> None:
        number = isinstance(gamma, int | float) and not isinstance(gamma, bool)
        if not number or not 0.0 <= gamma <= 1.0:  # type: ignore[operator]
            raise InvalidOptionError(
                'mode="potential" needs gamma=..., the discount of the algorithm, in [0, 1]; got '
                f"{gamma!r}"
            )
        self.gamma = float(gamma)  # type: ignore[arg-type]
        self._potential = potential
        self._caption = captioner.state_captions
        self._n = n
        # Not a number where nobody knows.
        self._phi = np.full(n, np.nan)
        self._worked = False
        self._warned = False
        self.states_asked = 0
        self.counts = dict.fromkeys(("unshaped", "potential_failures"), 0)

    def begin(self, facts: Sequence[Facts], fresh: NDArray[np.bool_], weight: float) -> None:
        """Begin episodes.

        Args:
            facts: Of all n sub-environments.
            fresh: Where an episode begins, shape (n,).
            weight: What Phi is multiplied with.
        """
        rows = np.flatnonzero(fresh)
        self._phi[rows] = weight * self._values(facts, rows.tolist())

    def forget(self) -> None:
        """Leave the next transition of each sub-environment unshaped."""
        self._phi[:] = np.nan

    def shifts(
        self,
        after: Sequence[Facts],
        rows: NDArray[np.intp],
        terminated: NDArray[np.bool_],
        weight: float,
    ) -> NDArray[np.float64]:
        """Return the shaping of a step, shape (n,); 0 where a potential is not known.

        Args:
            after: The facts of all n after the step.
            rows: Which of them took a step.
            terminated: Where the step ended the task, shape (n,).
            weight: What Phi is multiplied with from now on.
        """
        asked = rows[~terminated[rows]]
        reached = np.zeros(self._n)
        reached[asked] = weight * self._values(after, asked.tolist())
        shaped = self.gamma * reached[rows] - self._phi[rows]
        self.counts["unshaped"] += int(np.isnan(shaped).sum())
        self._phi[rows] = reached[rows]
        shifts = np.zeros(self._n)
        shifts[rows] = np.nan_to_num(shaped, nan=0.0)
        return shifts

    def _values(self, facts: Sequence[Facts], rows: Sequence[int]) -> NDArray[np.float64]:
        if not rows:
            return np.zeros(0)
        return self._ask([facts[row] for row in rows])

    def _ask(self, facts: Sequence[Facts]) -> NDArray[np.float64]:
        self.states_asked += len(facts)
        try:
            answers = list(self._potential.values(States(facts, self._caption)))
            if len(answers) != len(facts):
                raise GuidanceError(f"expected {len(facts)} potentials, got {len(answers)}")
        except Exception as error:
            if len(facts) == 1:
                self._meet(error)
                return np.array([np.nan])
            # One bad state must not take the shaping away from the others.
            self.states_asked -= len(facts)
            return np.concatenate([self._ask([row]) for row in facts])
        self._worked = True
        return np.array([self._checked(answer) for answer in answers])

    def _checked(self, answer: Any) -> float:
        if answer is None:
            return math.nan
        number = isinstance(answer, int | float | np.number) and not isinstance(answer, bool)
        if number and math.isfinite(answer):
            return float(answer)
        self._meet(GuidanceError("expected a finite number or None for each state"))
        return math.nan

    def _meet(self, error: Exception) -> None:
        if is_for_the_user(error, worked=self._worked):
            raise error
        self.counts["potential_failures"] += 1
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the potential failed ({type(error).__name__}: {error}); steps like this one are "
                "not shaped and are counted in stats(); said once",
                GuidanceWarning,
                stacklevel=2,
            )
