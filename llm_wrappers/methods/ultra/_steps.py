"""Played episodes in words, one line per step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.methods._one_line import one_line
from llm_wrappers.methods._words import action_in_words
from llm_wrappers.trajectories.trajectory import Trajectory, map_leaves

__all__ = ["StepWriter", "heading"]


class StepWriter:
    """Writes the steps of episodes as lines that a model reads.

    Args:
        description: Names the actions.
        action_space: Says with which number a Discrete space starts; None for 0.
        captioner: Makes captions for trajectories that were recorded without; None for none.
    """

    def __init__(
        self,
        description: EnvDescription,
        *,
        action_space: gym.Space[Any] | None,
        captioner: Captioner | None,
    ) -> None:
        discrete = isinstance(action_space, gym.spaces.Discrete)
        self._start = int(action_space.start) if discrete else 0  # type: ignore[union-attr]
        self._names = description.action_names
        self._captioner = captioner

    def lines(self, number: int, trajectory: Trajectory, steps: Iterable[int]) -> list[str]:
        """Return the lines of some steps of an episode, in their order.

        Args:
            number: Which episode, for the message.
            trajectory: The episode.
            steps: Numbers from 0 to T; T is the state in which the episode ended.

        Raises:
            InvalidOptionError: If it has no captions, and there is no captioner to make them.
        """
        wanted = list(steps)
        captions = self._captions(number, trajectory, wanted)
        return [
            self._line(trajectory, step, one_line(caption))
            for step, caption in zip(wanted, captions, strict=True)
        ]

    def _line(self, trajectory: Trajectory, step: int, caption: str) -> str:
        if step == len(trajectory):
            return f"End | {caption}"
        action = map_leaves(trajectory.actions, lambda leaf: leaf[step])
        reward = f"{trajectory.rewards[step] + 0.0:.4g}"
        return f"Step {step} | {caption} | action: {self._words(action)} | reward: {reward}"

    def _words(self, action: Any) -> str:
        if getattr(action, "shape", None) == () and action.dtype.kind in "biu":
            action = int(action) - self._start
        return action_in_words(action, self._names)

    def _captions(self, number: int, trajectory: Trajectory, steps: Sequence[int]) -> Sequence[str]:
        if trajectory.captions is not None:
            return [trajectory.captions[step] for step in steps]
        if self._captioner is None:
            raise InvalidOptionError(
                f"episode {number} has no captions to put it into words: record it with "
                "captions=True, or pass captioner=..., for example resolve_captioner(env)"
            )
        if trajectory.facts is not None:
            facts: Sequence[Any] = [trajectory.facts[step] for step in steps]
        else:
            rows = map_leaves(trajectory.observations, lambda leaf: leaf[list(steps)])
            facts = self._captioner.facts(rows, {})
        speak = getattr(self._captioner, "prompt_captions", self._captioner.state_captions)
        found: list[str] = speak(facts)
        return found


def heading(number: int, trajectory: Trajectory) -> str:
    """Return the line that stands above an episode.

    >>> import numpy as np
    >>> heading(2, Trajectory(np.zeros((3, 1)), np.zeros(2), [0.5, 1], True, False))
    '## Episode 2: 2 steps, total reward 1.5; the last step ended the task'
    """
    end = "ended the task" if trajectory.terminated else "was cut off, by a time limit for example"
    total = f"{trajectory.returns[0] + 0.0:.6g}"
    return (
        f"## Episode {number}: {len(trajectory)} steps, total reward {total}; the last step {end}"
    )
