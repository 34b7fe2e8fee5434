"""ULTRA's refinement: a language model names better actions and rates what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.table import CriticalState
from llm_wrappers.llm import LLM
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods._asking import MISSING, ask_tolerantly, one_line
from llm_wrappers.methods.ultra.actions import action_form
from llm_wrappers.methods.ultra.answers import UNUSABLE, answer_model, usable_corrections
from llm_wrappers.methods.ultra.episodes import StepWriter, heading, instructions_block
from llm_wrappers.methods.ultra.history import states_of
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["LLMCorrector"]

_TEMPLATE = "ultra/correct"
_COUNTERS = (
    "questions", *MISSING, "moments", *UNUSABLE, "clipped_actions", "clipped_rewards",
    "without_advice", "corrected",
)  # fmt: skip
_MARK = ">>> "


@dataclass(frozen=True)
class _Question:
    """Moments of one episode that are asked about together."""

    moments: tuple[CriticalMoment, ...]
    text: str


class LLMCorrector:
    """A `Corrector` that asks a language model (ULTRA, arXiv 2505.20671, stage 2).

    For each moment the model reads the steps around it and why it was selected, says what is going
    on, names the appropriate action (ULTRA-A) and rates what the agent did with a number from -1 to
    1 (ULTRA-R). The paper's wording is not known to us, this one is ours.

    Discrete actions are named, without regard to case and underscores; those of a Box are lists of
    numbers, clipped to its bounds; those of MultiDiscrete and MultiBinary are lists of whole
    numbers. What is not of the space is rejected and counted.

    Args:
        llm: The client; it stays the caller's to close. Its calls count as ``"correct"``.
        description: Rules and action names of the environment.
        action_space: A Box, Discrete, MultiDiscrete or MultiBinary.
        part: Which entry of a Dict observation becomes the state; None for other observations.
        batch: Up to how many moments of one episode share a question (our choice: 1).
        context_steps: How many steps before and after a moment are shown (our choice).
        instructions: What matters in this environment, in your words.
        captioner: Puts observations into words, for episodes recorded without captions.
        progress_bar: As in `LLM.ask_many`.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If an option has a value that cannot work.

    >>> from llm_wrappers.testing import ScriptedLLM
    >>> answer = '''{"corrections": [{"episode": 0, "step": 1, "analysis": "It must move.",
    ...     "action": "go", "reward": -0.8}]}'''
    >>> toy = EnvDescription(env_id="Toy-v0", rules="Go right.", action_names=("stay", "go"))
    >>> played = Trajectory(
    ...     np.zeros((3, 1)), np.array([0, 0]), [0, -1], True, False,
    ...     captions=["far", "near", "out"],
    ... )
    >>> corrector = LLMCorrector(ScriptedLLM([answer]), toy, gym.spaces.Discrete(2))
    >>> (state,) = corrector.correct([played], [CriticalMoment(0, 1)])
    >>> state.action, state.reward
    (array(1), -0.8)
    """

    def __init__(
        self,
        llm: LLM,
        description: EnvDescription,
        action_space: gym.Space[Any],
        *,
        part: str | None = None,
        batch: int = 1,
        context_steps: int = 5,
        instructions: str = "",
        captioner: Captioner | None = None,
        progress_bar: bool | None = None,
    ) -> None:
        self.llm = llm
        self.description = description
        self.part = part
        self._form = action_form(action_space, description.action_names)
        self._schema = answer_model(self._form)
        self._batch = checks.whole("batch", batch, least=1)
        self._context = checks.whole("context_steps", context_steps, least=0)
        self._instructions = instructions_block(instructions)
        self._writer = StepWriter(description, action_space=action_space, captioner=captioner)
        self._progress_bar = progress_bar
        self._template = PromptTemplate.packaged(_TEMPLATE)
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))

    def correct(
        self,
        trajectories: Sequence[Trajectory],
        moments: Sequence[CriticalMoment],
        *,
        analyses: Sequence[str] = (),
    ) -> list[CriticalState | None]:
        """Return a critical state for each moment, None where there is no usable advice.

        A question without an answer is counted; one warning says so. Interrupted, or with a spent
        budget, it goes on where it was when it is called again: answers are in the client's cache.

        Args:
            trajectories: The episodes.
            moments: The moments, in any order.
            analyses: What is known of the behaviour in each episode, such as
                `LLMSelector.analyses`; shown to the model.

        Raises:
            InvalidOptionError: If a moment is not in the episodes, an episode cannot be put into
                words, or `part` does not fit the observations.
            UserError: As `LLM.ask_many` says.
        """
        states: dict[tuple[int, int], Any] = {}
        questions = list(self._questions(trajectories, moments, analyses, states))
        answers, missing = ask_tolerantly(
            self.llm,
            [self._prompt(question) for question in questions],
            schema=self._schema,
            purpose="correct",
            prompt_version=self._template.version,
            progress_bar=self._progress_bar,
        )
        advice: dict[tuple[int, int], tuple[Any, float]] = {}
        for question, answer in zip(questions, answers, strict=True):
            said = [] if answer is None else answer.corrections  # type: ignore[attr-defined]
            advice |= usable_corrections(
                said, question.moments, form=self._form, counts=self._counts
            )
        found = [_advised(moment, states, advice) for moment in moments]
        self._counts.update(missing)
        self._counts.update(
            questions=len(questions),
            moments=len(found),
            without_advice=found.count(None),
            corrected=len(found) - found.count(None),
        )
        return found

    def stats(self) -> dict[str, int]:
        """Return how many questions were asked, and what became of the moments.

        ``questions``, of which ``unreadable``, ``failed`` and ``over_budget`` have no answer;
        ``moments``, of which ``corrected`` have advice and ``without_advice`` have none.
        Corrections of the model that are not used: about other steps (``not_asked``), about a step
        a second time (``duplicate``), with an action that is not of the space
        (``unknown_action``, ``wrong_shape``) or numbers that are none (``not_finite``).
        ``clipped_actions`` and ``clipped_rewards`` were out of bounds and are used.
        """
        return dict(self._counts)

    def provenance(self) -> dict[str, Any]:
        """Return who corrects: the model and the hash of the prompt's template."""
        return {"model": self.llm.model, "prompt_sha256": {_TEMPLATE: self._template.version}}

    def _questions(
        self,
        trajectories: Sequence[Trajectory],
        moments: Sequence[CriticalMoment],
        analyses: Sequence[str],
        states: dict[tuple[int, int], Any],
    ) -> Iterator[_Question]:
        distinct = {(moment.episode, moment.step): moment for moment in reversed(moments)}
        for episode, places in groupby(sorted(distinct), key=lambda place: place[0]):
            if episode >= len(trajectories):
                raise InvalidOptionError(
                    f"expected moments of the {len(trajectories)} episodes, got episode {episode}"
                )
            # Taken once, because it may be read from a file.
            trajectory = trajectories[episode]
            of_episode = [distinct[place] for place in places]
            for moment in of_episode:
                states[episode, moment.step] = _state(trajectory, moment, self.part)
            analysis = analyses[episode] if episode < len(analyses) else ""
            for start in range(0, len(of_episode), self._batch):
                batch = tuple(of_episode[start : start + self._batch])
                yield _Question(batch, self._text(episode, trajectory, batch, analysis))

    def _text(
        self,
        episode: int,
        trajectory: Trajectory,
        moments: Sequence[CriticalMoment],
        analysis: str,
    ) -> str:
        said = f"An analysis of the behaviour in this episode: {analysis}\n" if analysis else ""
        why = "".join(
            f"Why step {moment.step} matters, by whoever selected it: {text}\n"
            for moment in moments
            if (text := one_line(moment.rationale))
        )
        lines = "\n".join(self._lines(episode, trajectory, {moment.step for moment in moments}))
        return f"{heading(episode, trajectory)}\n{said}{why}\n{lines}"

    def _lines(self, episode: int, trajectory: Trajectory, marked: set[int]) -> Iterator[str]:
        around = {
            step
            for moment in marked
            for step in range(moment - self._context, moment + self._context + 1)
            if 0 <= step <= len(trajectory)
        }
        # What came of the action is part of what has to be judged.
        steps = sorted(around | {moment + 1 for moment in marked})
        before = steps[0]
        for step, line in zip(steps, self._writer.lines(episode, trajectory, steps), strict=True):
            if step > before + 1:
                yield "(...)"
            yield f"{_MARK}{line}" if step in marked else line
            before = step

    def _prompt(self, question: _Question) -> str:
        return self._template.fill(
            env_id=self.description.env_id,
            rules=self.description.rules,
            actions=", ".join(self._form.names) or self._form.in_words,
            action_form=self._form.in_words,
            instructions=self._instructions,
            moments=question.text,
        )


def _state(trajectory: Trajectory, moment: CriticalMoment, part: str | None) -> Any:
    if moment.step >= len(trajectory):
        raise InvalidOptionError(
            f"expected moments within the {len(trajectory)} steps of episode {moment.episode}, got "
            f"step {moment.step}"
        )
    observations = states_of(trajectory.observations, part)
    if not isinstance(observations, np.ndarray):
        raise InvalidOptionError(
            "expected observations that are one array, or a Dict with such a part; got "
            f"{type(observations).__name__}"
        )
    return observations[moment.step].copy()


def _advised(
    moment: CriticalMoment,
    states: Mapping[tuple[int, int], Any],
    advice: Mapping[tuple[int, int], tuple[Any, float]],
) -> CriticalState | None:
    place = (moment.episode, moment.step)
    if place not in advice:
        return None
    action, reward = advice[place]
    return CriticalState(states[place], action, reward, moment.rationale, *place)
