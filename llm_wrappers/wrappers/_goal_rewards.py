"""The suggestions of n sub-environments and what reaching one is worth (ELLM)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.embeddings import Encoder, resolve_encoder
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.suggester import Suggester, SuggesterFunction
from llm_wrappers.guidance.suggester_names import resolve_suggester
from llm_wrappers.guidance.suggesting import Suggesting
from llm_wrappers.wrappers._aliases import resolve_aliases
from llm_wrappers.wrappers._similarity import (
    NO_MATCH,
    Match,
    Similarity,
    checked_threshold,
    no_effect_captions,
)
from llm_wrappers.wrappers._transitions import TransitionCaptions

__all__ = ["GoalRewards", "Outcome", "checked_flag", "goals_text"]


@dataclass(frozen=True)
class Outcome:
    """What the step did in each of n sub-environments; neutral where there was none.

    Args:
        similarity: The similarity that is rewarded, shape (n,).
        goals: The goals reached, shape (n,), of objects.
        captions: What the actions did, shape (n,), of objects.
    """

    similarity: NDArray[np.float64]
    goals: NDArray[np.object_]
    captions: NDArray[np.object_]

    @classmethod
    def neutral(cls, n: int) -> Outcome:
        """Return the outcome of a reset."""
        empty = np.full(n, "", dtype=object)
        return cls(np.zeros(n), empty, empty.copy())


class GoalRewards:
    """Suggests, rewards and remembers what is achieved; shared by both similarity wrappers.

    Args:
        n: The number of sub-environments.
        captioner: Gives facts and captions.
        suggester: The suggester, a function, a list of goals or a name.
        encoder: What `resolve_encoder` takes.
        threshold: What the similarity must be above, in [-1, 1].
        novelty: Whether a goal pays once per episode.
        aliases: What `resolve_aliases` takes.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
    """

    def __init__(
        self,
        n: int,
        *,
        captioner: Captioner,
        suggester: str | Sequence[str] | Suggester | SuggesterFunction,
        encoder: str | Encoder,
        threshold: float,
        novelty: bool,
        aliases: Sequence[Sequence[str]] | None,
    ) -> None:
        self._n = n
        self._novelty = checked_flag("novelty", novelty)
        self._aliases = resolve_aliases(aliases)
        self._similarity = Similarity(
            resolve_encoder(encoder),
            threshold=checked_threshold(threshold),
            no_effect=no_effect_captions(captioner),
        )
        self._suggesting = Suggesting(
            resolve_suggester(suggester, description=captioner.description),
            caption=getattr(captioner, "prompt_captions", captioner.state_captions),
        )
        self._transitions = TransitionCaptions(captioner)
        self._suggested: list[tuple[str, ...]] = [()] * n
        self._achieved: list[frozenset[str]] = [frozenset()] * n
        self._counts = {"steps": 0, "rewarded": 0}
        self.captioner = captioner
        self.facts: Sequence[Facts] | None = None
        self.remaining: list[tuple[str, ...]] = [()] * n

    def goal_space(self) -> gym.spaces.Box:
        """Return the space of one goal vector, whose length is found by encoding a text.

        Raises:
            InvalidOptionError: If the encoder does not return vectors of length one.
        """
        dimensions = self._similarity.vectors.dimensions(goals_text(["a goal"]))
        return gym.spaces.Box(-1.0, 1.0, (dimensions,), np.float32)

    def judge(
        self,
        actions: Sequence[Any],
        after: Sequence[Facts],
        rows: NDArray[np.intp],
        success: NDArray[np.bool_] | None = None,
    ) -> Outcome:
        """Return what the step is worth, by the goals suggested before it.

        Args:
            actions: The actions of all n.
            after: The facts of all n after the step.
            rows: Which of them took a step.
            success: Where the action succeeded, shape (n,); None where nobody asks.
        """
        outcome = Outcome.neutral(self._n)
        places: list[int] = rows.tolist()
        if self.facts is None:
            raise ResetNeeded("call reset() before step()")
        captions = self._transitions.of(self.facts, actions, after, places)
        matches = self._similarity.matches(captions, [self.remaining[row] for row in places])
        if success is not None:
            matches = [
                match if success[row] else NO_MATCH
                for row, match in zip(places, matches, strict=True)
            ]
        outcome.captions[rows] = captions
        for row, match in zip(places, matches, strict=True):
            if match.goal:
                self._reach(row, match)
                outcome.goals[row], outcome.similarity[row] = match
        self._counts["steps"] += len(places)
        return outcome

    def move(
        self,
        facts: Sequence[Facts],
        rows: NDArray[np.intp],
        fresh: NDArray[np.bool_] | None = None,
    ) -> None:
        """Go to the next states and have goals suggested for them.

        Args:
            facts: Of all n sub-environments.
            rows: Which of them get new suggestions; the others keep theirs.
            fresh: Where an episode begins, shape (n,).
        """
        self.facts = facts
        if fresh is not None and fresh.any():
            for row in np.flatnonzero(fresh).tolist():
                self._achieved[row] = frozenset()
            self._suggesting.reset(fresh)
        places: list[int] = rows.tolist()
        for row, goals in zip(places, self._suggesting.goals(facts, places), strict=True):
            self._suggested[row] = goals
            self.remaining[row] = self._left(row)

    def leave(self, rows: NDArray[np.intp]) -> None:
        """Take the suggestions from sub-environments whose episode is over."""
        for row in rows.tolist():
            self._suggested[row] = self.remaining[row] = ()

    def goal_vectors(self, dimensions: int) -> NDArray[np.float32]:
        """Return fresh vectors of the remaining suggestions, shape (n, d); zero for none."""
        texts = [goals_text(goals) if goals else "" for goals in self.remaining]
        vectors = self._similarity.vectors
        vectors.learn(text for text in texts if text)
        shown = np.zeros((self._n, dimensions), dtype=np.float32)
        places = [vectors.row(text) if text else None for text in texts]
        filled = [row for row, place in enumerate(places) if place is not None]
        if filled:
            shown[filled] = vectors.vectors([place for place in places if place is not None])
        return np.clip(shown, -1.0, 1.0)

    def stats(self) -> dict[str, Any]:
        """Return the counters since construction."""
        work = {**self._similarity.counts, **self._similarity.vectors.counts}
        return {**self._counts, **self._suggesting.stats(), **work}

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Return what outlives an episode: `counts` of the run, and of the `work` done for it."""
        return {
            "counts": {**self._counts, **self._suggesting.counts},
            "work": {
                "states_asked": self._suggesting.states_asked,
                **self._similarity.counts,
                **self._similarity.vectors.counts,
            },
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            InvalidOptionError: If it is the state of something else.
        """
        mine = self.state_dict()
        for part, counts in mine.items():
            if state.get(part, {}).keys() != counts.keys():
                raise InvalidOptionError(
                    f"expected the {part} {sorted(counts)}, got {sorted(state.get(part, {}))}; "
                    "this is the state of another wrapper or version"
                )
        self._suggesting.states_asked = state["work"]["states_asked"]
        saved = {**state["counts"], **state["work"]}
        for counts in (
            self._counts,
            self._suggesting.counts,
            self._similarity.counts,
            self._similarity.vectors.counts,
        ):
            counts.update({name: saved[name] for name in counts})

    def _reach(self, row: int, match: Match) -> None:
        self._counts["rewarded"] += 1
        if self._novelty:
            reached = self._aliases.get(match.goal, frozenset((match.goal,)))
            self._achieved[row] |= reached
            self.remaining[row] = self._left(row)

    def _left(self, row: int) -> tuple[str, ...]:
        achieved = self._achieved[row]
        if not achieved:
            return self._suggested[row]
        return tuple([goal for goal in self._suggested[row] if goal not in achieved])


def goals_text(goals: Sequence[str]) -> str:
    """Return the sentence whose vector shows goals in the observation.

    >>> goals_text(["eat cow", "wake up"])
    'Your goal is: eat cow, wake up.'
    """
    return f"Your goal is: {', '.join(goals)}."


def checked_flag(name: str, value: bool) -> bool:
    """Return a switch, or say what it must be."""
    if not isinstance(value, bool):
        raise InvalidOptionError(f"{name} must be True or False, got {value!r}")
    return value
