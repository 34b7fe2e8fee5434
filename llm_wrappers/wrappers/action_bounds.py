"""Continuous actions bounded by the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.masks import BoundsBank
from llm_wrappers.parts import Tally
from llm_wrappers.schedules import Schedule
from llm_wrappers.trust import ScheduledCoin
from llm_wrappers.wrappers._core import Place, Step
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer
from llm_wrappers.wrappers._layers import reject_unknown_goals
from llm_wrappers.wrappers._pruning import GoalSource, Pruning

__all__ = ["ActionBoundsWrapper", "Bounds", "BoundsMethods"]


class Bounds(Pruning):
    """Bounds actions, once per state; the options are those of `ActionBoundsWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        bounds: Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule,
    ) -> None:
        coin = ScheduledCoin(place.n, schedule)
        space = place.action_space
        if not isinstance(space, gym.spaces.Box):
            raise IncompatibleEnvironmentError(
                f"expected a Box action space, got {space}; use ActionMaskWrapper for it"
            )
        source = GoalSource(place, "ActionBoundsWrapper")
        reject_unknown_goals(bounds, source.vocabulary)
        bank = BoundsBank(bounds, space)
        # The last row belongs to no goal: it is the whole space.
        self._low, self._high = bank.arrays([*bank.bounds, ""])
        self._open = place.world.open_actions(space)
        self.low, self.high = self._low[[-1] * place.n], self._high[[-1] * place.n]
        self.counts = Tally("states", "bounded_states", "clipped_actions")
        told = {
            # Nothing is executed at a reset.
            "executed_action": np.zeros_like(self.low),
            "bounds_applied": np.zeros(place.n, dtype=np.bool_),
        }
        super().__init__(
            place, told, source=source, coin=coin, pruning=bank.bounds,
            parts={"counts": self.counts},
        )  # fmt: skip

    def draw(
        self,
        chosen: Sequence[int],
        applied: Sequence[bool],
        rows: NDArray[np.intp],
        *,
        shown: bool,
    ) -> None:
        """Take the bounds of the goals."""
        low, high = self._low[chosen], self._high[chosen]
        # A slice is much faster than a list of all rows.
        here: Any = slice(None) if len(rows) == self.n else rows
        self.low[here], self.high[here] = low, high
        bounded = sum(applied)
        if shown and bounded:
            self._open.close(low, high, rows)
        self.told["bounds_applied"][here] = applied
        self.counts["states"] += len(rows)
        self.counts["bounded_states"] += bounded

    def act(self, actions: Any, rows: NDArray[np.intp], streams: Any) -> Any:
        """Return the actions clipped to the bounds."""
        given = np.asarray(actions)
        fits = given.shape == self.low.shape
        if not fits or not np.can_cast(given.dtype, self.low.dtype, "same_kind"):
            space = self.place.action_space
            raise InvalidOptionError(f"expected an action in {space}, got {actions!r}")
        given = given.astype(self.low.dtype, copy=False)
        # In two steps, which takes half the time of `np.clip`.
        clipped = np.minimum(np.maximum(given, self.low), self.high)
        changed = clipped != given
        if np.count_nonzero(changed):
            changed = changed.reshape(self.n, -1).any(axis=1)
            self.counts["clipped_actions"] += int(np.count_nonzero(changed[rows]))
        return clipped

    def step(self, step: Step) -> None:
        """Say what was executed, and draw the bounds of the states that it led to."""
        # What is told of those that took no step is made neutral when their episode begins.
        self.told["executed_action"][:] = step.executed
        super().step(step)

    def bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return fresh copies of the current low and high, each of shape (n, ...)."""
        return self.low.copy(), self.high.copy()


class BoundsMethods(Layer):
    """The options of `ActionBoundsWrapper`, in front of one environment or of many."""

    core: Bounds

    def __init__(
        self,
        env: Any,
        *,
        bounds: Mapping[str, Any],
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
    ) -> None:
        self._guide(env, Bounds, bounds=bounds, schedule=schedule)

    def action_bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return fresh copies of the current low and high, each of the action's shape."""
        low, high = self.core.bounds()
        return self._own(low), self._own(high)


class ActionBoundsWrapper(BoundsMethods, Guided):
    """Clips continuous actions to the bounds that serve the current goal.

    The counterpart of `ActionMaskWrapper` for Box action spaces. SGRL (arXiv 2509.22008) prunes
    discrete actions and leaves continuous ones open: clipping to bounds is our choice. With
    probability xi, from a schedule over training progress, the bounds of the current goal apply.
    The action space stays as it is, so any algorithm can train; algorithms store the action they
    chose, and ``info["executed_action"]`` has the one that was executed.

    A vector version exists: `llm_wrappers.wrappers.vector.ActionBoundsWrapper`.

    Args:
        env: An environment with a Box action space.
        bounds: Goal to (low, high), numbers or arrays of the action's shape. A goal without an
            entry leaves the whole space open.
        schedule: xi: a number, a dict such as ``{"kind": "linear", "start": 1.0, "end": 0.0}``,
            or a callable of the training progress; with ``{"kind": "adaptive"}`` episodes without
            bounds are compared with the others, see `AdaptiveTrust`.

    Raises:
        InvalidOptionError: If bounds are not within the space, or of a goal that cannot occur.
        IncompatibleEnvironmentError: If no layer below has a goal, or the space is no Box.

    >>> import gymnasium as gym
    >>> from llm_wrappers import GoalObservationWrapper
    >>> env = GoalObservationWrapper(
    ...     gym.make("Pendulum-v1"), planner=lambda facts: [[("brake", 1.0)]], goals=["brake"]
    ... )
    >>> env = ActionBoundsWrapper(env, bounds={"brake": (-2.0, 0.0)})
    >>> observation, info = env.reset(seed=0)
    >>> *_, info = env.step([1.5])
    >>> info["executed_action"]
    array([0.], dtype=float32)
    """
