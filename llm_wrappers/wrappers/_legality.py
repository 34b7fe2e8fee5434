"""What the action masks of the layers below leave open, in n sub-environments."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.mask_bank import MaskBank
from llm_wrappers.wrappers._masking import flat_indices

__all__ = ["Legality"]


class Legality:
    """The action masks of the layers below; all open where there are none.

    Args:
        n: The number of sub-environments.
        space: A Discrete, MultiDiscrete or MultiBinary action space.
    """

    def __init__(self, n: int, space: gym.Space[Any]) -> None:
        self._space = space
        self._bank = MaskBank({}, space)
        self.masks = np.ones((n, self._bank.length), dtype=np.bool_)

    def see(self, inner: NDArray[Any] | None) -> None:
        """Take in the present masks, shape (n, actions); a mask that is empty leaves all open.

        Raises:
            IncompatibleEnvironmentError: If they are not of this action space.
        """
        if inner is None:
            return
        masks = np.array(inner, dtype=np.bool_)
        if masks.shape != self.masks.shape:
            raise IncompatibleEnvironmentError(
                f"the action_masks() below returns {masks.shape[-1]} flags per sub-environment; "
                f"this action space needs {self.masks.shape[-1]}"
            )
        masks[~self._bank.usable(masks)] = True
        self.masks = masks

    def allows(self, actions: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return whether an action is open in each of some sub-environments, shape (rows,)."""
        if not len(rows):
            return np.zeros(0, dtype=np.bool_)
        chosen = flat_indices(self._space, actions)
        return np.asarray(np.take_along_axis(self.masks[rows], chosen, axis=1).all(axis=1))

    def only(self, actions: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return fresh masks that in some sub-environments leave only one Discrete action open."""
        masks = self.masks.copy()
        if len(rows):
            chosen = flat_indices(self._space, actions)
            masks[rows] = False
            masks[rows, chosen[:, 0]] = True
        return masks
