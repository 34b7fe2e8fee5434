"""Which steps of which episodes go into one question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.methods.ultra._steps import StepWriter, heading
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["Excerpt", "Windows", "allowed_steps", "packed", "shown_steps"]

# Our choice: where an episode ends, each step is shown.
_ALWAYS_AT_THE_END = 10


@dataclass(frozen=True)
class Excerpt:
    """A part of one episode, as it goes into a question.

    Args:
        episode: Which episode.
        steps: The numbers of the steps that it shows.
        text: What it shows.
        tokens: About how many tokens that has.
    """

    episode: int
    steps: tuple[int, ...]
    text: str
    tokens: int


class Windows:
    """Cuts episodes into excerpts of a limited size that overlap a little.

    Args:
        writer: Writes the lines.
        count: From a text to about how many tokens it has.
        overlap: How many lines at the end of an excerpt begin the next one.
        show_every: Each k-th step is shown where the reward stays the same.
    """

    def __init__(
        self,
        writer: StepWriter,
        *,
        count: Callable[[str], int],
        overlap: int,
        show_every: int,
    ) -> None:
        self._writer = writer
        self._count = count
        self._overlap = overlap
        self._show_every = show_every

    def of(self, number: int, trajectory: Trajectory, *, room: int) -> list[Excerpt]:
        """Return the excerpts of an episode.

        Args:
            number: Which episode.
            trajectory: The episode.
            room: How many tokens one may have.

        Raises:
            InvalidOptionError: If not even one step fits.
        """
        steps = shown_steps(trajectory.rewards, self._show_every)
        lines = self._lines(number, trajectory, steps)
        above = heading(number, trajectory)
        tokens = [self._count(line + "\n") for line in lines]
        left = room - self._count(above + "\n\n")
        if max(tokens) > left:
            raise InvalidOptionError(
                f"a step of episode {number} has about {max(tokens)} tokens, and the prompt has "
                f"room for {left}: give a larger prompt_tokens, or shorter captions"
            )
        return [
            Excerpt(
                episode=number,
                steps=tuple(steps[start:stop]),
                text="\n".join([above, *lines[start:stop]]),
                tokens=room - left + sum(tokens[start:stop]),
            )
            for start, stop in _spans(tokens, left, self._overlap)
        ]

    def _lines(self, number: int, trajectory: Trajectory, steps: Sequence[int]) -> list[str]:
        *lines, end = self._writer.lines(number, trajectory, [*steps, len(trajectory)])
        lines[-1] += f"\n{end}"
        previous = [-1, *steps[:-1]]
        return [
            line if step == before + 1 else f"{_left_out(before + 1, step - 1)}\n{line}"
            for line, before, step in zip(lines, previous, steps, strict=True)
        ]


def shown_steps(rewards: Sequence[float], show_every: int) -> list[int]:
    """Return the steps of an episode that are shown.

    Args:
        rewards: The rewards of its T steps.
        show_every: Of stretches in which the reward stays the same, each k-th step is shown. Where
            it changes, and in the last ten steps, all are.

    >>> shown_steps([0] * 9 + [1] + [0] * 14, 4)
    [0, 4, 8, 9, 10, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]
    """
    paid = np.asarray(rewards, dtype=np.float64)
    changes = np.flatnonzero(np.diff(paid) != 0)
    steps = np.arange(len(paid))
    shown = (steps % show_every == 0) | (steps >= len(paid) - _ALWAYS_AT_THE_END)
    shown[changes] = shown[changes + 1] = True
    found: list[int] = np.flatnonzero(shown).tolist()
    return found


def packed(
    excerpts: Sequence[Excerpt], *, room: int, most_episodes: int
) -> Iterator[Sequence[Excerpt]]:
    """Yield the excerpts of each question, in order.

    Args:
        excerpts: All excerpts.
        room: How many tokens those of one question may have.
        most_episodes: Of how many episodes they may be at most.
    """
    group: list[Excerpt] = []
    for excerpt in excerpts:
        episodes = {other.episode for other in group}
        full = sum(other.tokens for other in group) + excerpt.tokens > room
        # Two parts of one episode overlap, and would show steps twice.
        if group and (full or excerpt.episode in episodes or len(episodes) == most_episodes):
            yield group
            group = []
        group = [*group, excerpt]
    if group:
        yield group


def _left_out(first: int, last: int) -> str:
    which = f"Step {first} is" if first == last else f"Steps {first} to {last} are"
    return f"({which} left out; the reward stays the same.)"


def _spans(tokens: Sequence[int], room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the beginning and end of each part that has at most so many tokens."""
    sums = np.concatenate([[0], np.cumsum(tokens)])
    start = stop = 0
    while stop < len(tokens):
        # The overlap is less where there would be no room for the next line.
        least = int(np.searchsorted(sums, sums[stop + 1] - room))
        start = max(start, stop - overlap, least) if stop else 0
        stop = int(np.searchsorted(sums, sums[start] + room, side="right")) - 1
        yield start, stop


def allowed_steps(group: Sequence[Excerpt]) -> Mapping[int, frozenset[int]]:
    """Return the steps that a question shows, by episode."""
    return {excerpt.episode: frozenset(excerpt.steps) for excerpt in group}
