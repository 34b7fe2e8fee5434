"""What masks and bounds share: the goal from below, and the coin that says whether it prunes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.parts import Part
from llm_wrappers.trust import ScheduledCoin
from llm_wrappers.wrappers._core import Core, Place, Start, Step
from llm_wrappers.wrappers._layers import find_below

__all__ = ["GoalSource", "Pruning"]


class GoalSource:
    """The goals of the nearest layer below that has some."""

    def __init__(self, place: Place, owner: str) -> None:
        current = find_below(place.env, "current_goal")
        if current is None:
            raise IncompatibleEnvironmentError(
                f"{owner} reads the goal from below, and no layer below has one: wrap the "
                "environment in GoalObservationWrapper first, as in "
                f"{owner}(GoalObservationWrapper(env, ...), ...), or give it a method "
                "current_goal()"
            )
        self._current = current
        self._last = find_below(place.env, "final_goal")
        self._is_vector = place.world.is_vector
        vocabulary = find_below(place.env, "goal_vocabulary")
        found = () if vocabulary is None else tuple(vocabulary())
        # Each sub-environment has its own, all alike.
        is_of_each = bool(found) and not isinstance(found[0], str)
        self.vocabulary: tuple[str, ...] = tuple(found[0]) if is_of_each else found

    def goals(self) -> Sequence[str | None]:
        """Return the goals of the n states that are shown, None for no guidance."""
        goals = self._current()
        return list(goals) if self._is_vector else [goals]

    def last_goals(self, infos: Mapping[str, Any]) -> Sequence[str | None] | None:
        """Return the goals of the last states of episodes that ended; None where none is known."""
        if self._last is not None:
            return list(self._last())
        told = infos.get("final_info", {}).get("goal_text")
        return None if told is None else [text or None for text in told]


class Pruning(Core):
    """Prunes the actions of n sub-environments by their goals.

    `pruning` are the goals that can prune, in the order of the rows that `draw` is given.
    """

    def __init__(
        self,
        place: Place,
        told: Mapping[str, NDArray[Any]],
        *,
        source: GoalSource,
        coin: ScheduledCoin,
        pruning: Iterable[str],
        parts: Mapping[str, Part],
    ) -> None:
        super().__init__(place, told, parts={**parts, "schedule": coin})
        self.needs_ends = coin.adapts
        self._source, self._coin = source, coin
        self._rows_of: dict[str | None, int] = {goal: row for row, goal in enumerate(pruning)}
        self.set_progress(self.progress)

    def begin(self, start: Start) -> None:
        """Draw for the first states of episodes."""
        super().begin(start)
        self._coin.begin(start.rows, start.streams)
        self._toss(self._source.goals(), start.rows, start.streams, shown=True)

    def step(self, step: Step) -> None:
        """Learn from the step, and draw for the states that it led to."""
        self._coin.learn(step.paid, step.rows, step.ended)
        rows = step.rows
        if len(step.over):
            # A single environment draws for its last state too; so do these, to stay in step.
            last = self._source.last_goals(step.infos) or [None] * self.n
            self._toss(last, step.over, step.streams, shown=False)
            rows = rows[~step.ended[rows]]
        self._toss(self._source.goals(), rows, step.streams, shown=True)

    def set_progress(self, progress: float) -> None:
        """Set the training progress, from which the schedule gives xi."""
        super().set_progress(progress)
        self.scheduled(self._coin.schedule)
        self._coin.set_progress(progress)

    @abstractmethod
    def draw(
        self,
        chosen: Sequence[int],
        applied: Sequence[bool],
        rows: NDArray[np.intp],
        *,
        shown: bool,
    ) -> None:
        """Prune in some states, by rows of what prunes; the one behind all goals' prunes nothing.

        It is `applied` where another one is. What is not `shown` are last states of episodes.
        """

    def _toss(
        self,
        goals: Sequence[str | None],
        rows: NDArray[np.intp],
        streams: Sequence[np.random.Generator],
        *,
        shown: bool,
    ) -> None:
        if len(rows):
            heads = self._coin.toss(streams, rows)
            wanted = goals if len(rows) == self.n else [goals[row] for row in rows.tolist()]
            rows_of, nothing = self._rows_of, len(self._rows_of)
            chosen = [
                rows_of.get(goal, nothing) if head else nothing
                for goal, head in zip(wanted, heads.tolist(), strict=True)
            ]
            self.draw(chosen, [row != nothing for row in chosen], rows, shown=shown)
