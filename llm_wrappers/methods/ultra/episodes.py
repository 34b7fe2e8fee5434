"""Played episodes in words, one line per step, and which steps go into one question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.methods._asking import action_in_words, one_line
from llm_wrappers.trajectories.trajectory import Trajectory, map_leaves

__all__ = [
    "Excerpt",
    "StepWriter",
    "Windows",
    "about_tokens",
    "allowed_steps",
    "heading",
    "instructions_block",
    "packed",
    "shown_steps",
]

_CHARACTERS_PER_TOKEN = 4
# Our choice: where an episode ends, each step is shown.
_ALWAYS_AT_THE_END = 10


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
        """Return the lines of some steps of an episode, from 0 to T, in which it ended.

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
    """Return the line that stands above an episode."""
    end = "ended the task" if trajectory.terminated else "was cut off, by a time limit for example"
    total = f"{trajectory.returns[0] + 0.0:.6g}"
    return (
        f"## Episode {number}: {len(trajectory)} steps, total reward {total}; the last step {end}"
    )


@dataclass(frozen=True)
class Excerpt:
    """A part of one episode as it goes into a question, with the steps that it shows."""

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
        """Return the excerpts of an episode, none of more than `room` tokens.

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

    Of stretches in which the reward stays the same, each k-th step is. Where it changes, and in the
    last ten steps, all are.

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
    """Yield the excerpts of each question, in order, within a room of tokens and of episodes."""
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


def about_tokens(text: str) -> int:
    """Return a quarter of the characters of a text, rounded up.

    The same wherever it runs: where episodes are cut decides what is asked, and so which recorded
    answers fit. A tokenizer that is installed here and not there would change that.

    """
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def instructions_block(instructions: Any) -> str:
    """Return the part of a prompt that says what matters in this environment, may be nothing."""
    if not isinstance(instructions, str):
        raise InvalidOptionError(
            "instructions must be a text about what matters in this environment, got "
            f"{instructions!r}"
        )
    text = instructions.strip()
    return f"What matters here: {text}\n\n" if text else ""
