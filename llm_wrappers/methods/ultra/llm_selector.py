"""ULTRA's identification: a language model reads episodes and names the critical steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.llm import LLM
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import MISSING, ask_tolerantly, one_line
from llm_wrappers.methods.ultra.answers import (
    DROPPED,
    Identification,
    most_important,
    usable_moments,
)
from llm_wrappers.methods.ultra.episodes import (
    Excerpt,
    StepWriter,
    Windows,
    about_tokens,
    allowed_steps,
    instructions_block,
    packed,
)
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["LLMSelector"]

_TEMPLATE = "ultra/identify"
_COUNTERS = ("questions", *MISSING, "named", *DROPPED, "clipped_importance", "selected")


class LLMSelector:
    """A `Selector` that asks a language model (ULTRA, arXiv 2505.20671, stage 1).

    The model reads what the paper says it reads, in this order: the environment, how to reason, the
    episodes step by step in words, the form of the answer. It sums up which behaviour was
    effective, and names critical steps with reasons. The paper's wording is not known to us, this
    one is ours.

    An episode that is too long for one question is cut into parts that overlap. Steps keep the
    numbers they have in the episode. What the model names and cannot be used is dropped and
    counted.

    Args:
        llm: The client; it stays the caller's to close. Its calls count as ``"identify"``.
        description: Rules and action names of the environment.
        prompt_tokens: About how many tokens a question may have (our choice). The client's schema
            of the answer comes on top.
        count_tokens: From a text to its tokens; None for a quarter of its characters. A count of
            your own cuts episodes elsewhere, so that recorded answers do not fit.
        overlap: How many steps at the end of a part begin the next one (our choice).
        show_every: With k > 1, only each k-th step is shown where the reward stays the same; the
            question says which are left out. The last ten steps are always shown.
        episodes_per_question: Up to how many short episodes share a question.
        instructions: What matters in this environment, in your words.
        action_space: Says with which number Discrete actions begin; None for 0.
        captioner: Puts observations into words, for episodes recorded without captions.
        progress_bar: As in `LLM.ask_many`.

    Raises:
        InvalidOptionError: If an option has a value that cannot work.

    >>> import numpy as np
    >>> from llm_wrappers.testing import ScriptedLLM
    >>> answer = '''{"case_analysis": "It waits too long.", "states": [
    ...     {"episode": 0, "step": 1, "importance": 0.9, "rationale": "The last chance."}]}'''
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Go right.", action_names=("stay", "go"))
    >>> played = Trajectory(
    ...     np.zeros((3, 1)), np.array([0, 0]), [0, -1], True, False,
    ...     captions=["far", "near", "out"],
    ... )
    >>> selector = LLMSelector(ScriptedLLM([answer]), toy)
    >>> selector.select([played], per_episode=1)
    [CriticalMoment(episode=0, step=1, importance=0.9, rationale='The last chance.')]
    >>> selector.analyses
    ('It waits too long.',)
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        *,
        prompt_tokens: int = 16_000,
        count_tokens: Callable[[str], int] | None = None,
        overlap: int = 5,
        show_every: int = 1,
        episodes_per_question: int = 1,
        instructions: str = "",
        action_space: gym.Space[Any] | None = None,
        captioner: Captioner | None = None,
        progress_bar: bool | None = None,
    ) -> None:
        self.llm = llm
        self.description = description
        self.analyses: tuple[str, ...] = ()
        self._prompt_tokens = checks.whole("prompt_tokens", prompt_tokens, least=1)
        self._episodes = checks.whole("episodes_per_question", episodes_per_question, least=1)
        self._instructions = instructions_block(instructions)
        self._count = about_tokens if count_tokens is None else count_tokens
        self._windows = Windows(
            StepWriter(description, action_space=action_space, captioner=captioner),
            count=self._count,
            overlap=checks.whole("overlap", overlap, least=0),
            show_every=checks.whole("show_every", show_every, least=1),
        )
        self._progress_bar = progress_bar
        self._template = PromptTemplate.packaged(_TEMPLATE)
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return at most `per_episode` moments of each episode, in order of episode and step.

        Where parts of one episode name more, the most important are taken, of equally important
        ones the earlier. A question without an answer is skipped and counted; one warning says
        so. Interrupted, or with a spent budget, it goes on where it was when it is called again:
        answers are in the client's cache.

        Afterwards `analyses` has what the model said of the behaviour in each episode.

        Args:
            trajectories: The episodes.
            per_episode: How many moments of each.

        Raises:
            InvalidOptionError: If an episode cannot be put into words, or a step does not fit into
                `prompt_tokens`.
            UserError: As `LLM.ask_many` says.
        """
        most = checks.whole("per_episode", per_episode, least=1)
        lengths: dict[int, int] = {}
        groups = self._questions(trajectories, most, lengths)
        answers, missing = ask_tolerantly(
            self.llm,
            [self._prompt(group, most) for group in groups],
            schema=Identification,
            purpose="identify",
            prompt_version=self._template.version,
            progress_bar=self._progress_bar,
        )
        self._counts.update(questions=len(groups))
        self._counts.update(missing)
        answered = [
            (group, answer)
            for group, answer in zip(groups, answers, strict=True)
            if answer is not None
        ]
        self.analyses = _analyses(answered, len(lengths))
        return self._chosen(answered, lengths, most)

    def stats(self) -> dict[str, int]:
        """Return how many questions were asked, and what became of what the model named.

        ``questions``, of which ``unreadable``, ``failed`` and ``over_budget`` have no answer;
        ``named`` steps, of which ``selected`` were returned. The rest was dropped: of another
        episode (``wrong_episode``), beyond its end (``out_of_range``), not in this question
        (``not_shown``), with an importance that is no number (``not_finite``), named twice
        (``duplicate``), more than asked for (``too_many``), or less important than what other
        parts of the episode have (``outranked``). ``clipped_importance`` counts importances out of
        [0, 1], which are used at the bound.
        """
        return dict(self._counts)

    def provenance(self) -> dict[str, Any]:
        """Return who selects: the model and the hash of the prompt's template."""
        return {"model": self.llm.model, "prompt_sha256": {_TEMPLATE: self._template.version}}

    def _questions(
        self, trajectories: Sequence[Trajectory], most: int, lengths: dict[int, int]
    ) -> list[Sequence[Excerpt]]:
        room = self._prompt_tokens - self._count(self._prompt((), most))
        if room < 1:
            raise InvalidOptionError(
                f"prompt_tokens={self._prompt_tokens} leaves no room for episodes: the rest of the "
                f"prompt has about {self._prompt_tokens - room}; give more"
            )
        excerpts: list[Excerpt] = []
        # Taken one by one, because they may be read from files.
        for number, trajectory in enumerate(trajectories):
            lengths[number] = len(trajectory)
            excerpts += self._windows.of(number, trajectory, room=room)
        return list(packed(excerpts, room=room, most_episodes=self._episodes))

    def _prompt(self, group: Sequence[Excerpt], most: int) -> str:
        names = self.description.action_names
        return self._template.fill(
            env_id=self.description.env_id,
            rules=self.description.rules,
            actions=", ".join(names) or "numbers",
            instructions=self._instructions,
            per_episode=str(most),
            episodes="\n\n".join(excerpt.text for excerpt in group),
        )

    def _chosen(
        self,
        answered: Sequence[tuple[Sequence[Excerpt], Identification]],
        lengths: Mapping[int, int],
        most: int,
    ) -> list[CriticalMoment]:
        found: dict[int, list[CriticalMoment]] = {episode: [] for episode in lengths}
        for group, answer in answered:
            self._counts["named"] += len(answer.states)
            moments = usable_moments(
                answer,
                shown=allowed_steps(group),
                lengths=lengths,
                most=most,
                counts=self._counts,
            )
            for moment in moments:
                found[moment.episode].append(moment)
        chosen = [
            moment
            for moments in found.values()
            for moment in most_important(moments, most, counts=self._counts, as_kind="outranked")
        ]
        self._counts["selected"] += len(chosen)
        return chosen


def _analyses(
    answered: Sequence[tuple[Sequence[Excerpt], Identification]], episodes: int
) -> tuple[str, ...]:
    said: list[list[str]] = [[] for _ in range(episodes)]
    for group, answer in answered:
        text = one_line(answer.case_analysis)
        for excerpt in group if text else ():
            said[excerpt.episode].append(text)
    return tuple("\n".join(texts) for texts in said)
