"""The action that a judge thinks best, as a corrector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.correctors._advice import Advice, episode_of, facts_of
from llm_wrappers.guidance.critical.critical_state import CriticalState
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.guidance.judge import Judge, Judgements
from llm_wrappers.guidance.states import States
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = ["JudgeCorrector"]

Caption = Callable[[Sequence[Mapping[str, Any]]], Sequence[str]]


class JudgeCorrector:
    """Advises the action that a judge thinks best, with every action of a Discrete space judged.

    An action of which the judge says nothing counts as 0, which is unknown for LMGT, too. Of
    equally good ones it is that of the agent, if that is among them, else the first. There is no
    advice where all actions count the same. The reward of a critical state is +1 if the agent did
    what is advised, else -1. All of this is our choice.

    Args:
        judge: The judge.
        action_space: A Discrete one.
        part: Which entry of a Dict observation the states are; None for other observations.
        caption: From facts to one sentence each, for a judge that reads captions; None gives it
            those that were recorded.

    Raises:
        IncompatibleEnvironmentError: If the action space is not Discrete.

    >>> from llm_wrappers.guidance.judges import RuleJudge
    >>> judge = RuleJudge(lambda facts, action: 1 if action == facts["door"] else -1)
    >>> facts = [{"door": 2}, {"door": 0}]
    >>> episode = Trajectory(np.zeros((2, 4)), np.array([0]), [1.0], True, False, facts=facts)
    >>> corrector = JudgeCorrector(judge, gym.spaces.Discrete(3))
    >>> corrector.correct([episode], [CriticalMoment(0, 0)])[0].action
    2
    """

    def __init__(
        self,
        judge: Judge,
        action_space: gym.Space[Any],
        *,
        part: str | None = None,
        caption: Caption | None = None,
    ) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise IncompatibleEnvironmentError(
                "expected a Discrete action space, so that every action can be judged, got "
                f"{action_space}; use a RuleCorrector, or a policy for others"
            )
        self.judge = judge
        self._caption = caption
        self._advice = Advice(action_space, part=part)
        first = int(action_space.start)
        self._actions = [np.int64(first + index) for index in range(int(action_space.n))]

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> list[CriticalState | None]:
        """Return the best judged action for each moment; the judge is asked once, about all.

        Raises:
            InvalidOptionError: If a moment is not of these episodes, they have no facts, the judge
                does not return one judgement for each, or `part` does not fit.
        """
        if not moments:
            return []
        count = len(self._actions)
        states = self._states(trajectories, [m for m in moments for _ in self._actions])
        judgements = self.judge.judge(states, self._actions * len(moments))
        if len(judgements) != count * len(moments):
            raise InvalidOptionError(
                f"expected {count * len(moments)} judgements, one for each state and action, got "
                f"{len(judgements)}; check {type(self.judge).__name__}"
            )
        rows = [judgements[row * count :][:count] for row in range(len(moments))]
        return [
            self._corrected(trajectories, moment, row)
            for moment, row in zip(moments, rows, strict=True)
        ]

    def _states(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> States:
        facts = [facts_of(trajectories, moment) for moment in moments]
        if self._caption is not None:
            return States(facts, self._caption)
        captions = [episode_of(trajectories, moment).captions for moment in moments]
        texts = [
            "" if recorded is None else recorded[moment.step]
            for recorded, moment in zip(captions, moments, strict=True)
        ]
        return States(facts, lambda _: texts)

    def _corrected(
        self, trajectories: Sequence[Trajectory], moment: CriticalMoment, judgements: Judgements
    ) -> CriticalState | None:
        values = [0 if value is None else value for value in judgements]
        highest = max(values)
        if highest == min(values):
            return None
        best = [
            action for action, value in zip(self._actions, values, strict=True) if value == highest
        ]
        mine = int(trajectories[moment.episode].actions[moment.step])
        advised = mine if mine in best else int(best[0])
        return self._advice.critical_state(
            trajectories, moment, advised, rationale=f"judged {highest:+g}"
        )
