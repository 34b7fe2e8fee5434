"""Correcting critical moments (ULTRA): correctors that need no language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.state_keys import Closeness, check_advisable, fitted_action
from llm_wrappers.guidance.critical.table import CriticalState
from llm_wrappers.guidance.judge import Judge, Judgements
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.registry import Registry
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = [
    "ENTRY_POINTS",
    "Advice",
    "Corrector",
    "JudgeCorrector",
    "RandomCorrector",
    "RuleCorrector",
    "episode_of",
    "facts_of",
    "resolve_corrector",
    "split_part",
]


@runtime_checkable
class Corrector(Protocol):
    """Moments to advised actions and rewards, batch first (ULTRA, arXiv 2505.20671).

    The reward of a critical state rates what the agent did there, in [-1, 1].

    A corrector may also have `stats()`: counters, of what was dropped for example.
    """

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> Sequence[CriticalState | None]:
        """Return a critical state for each moment, None where there is no advice.

        The state is the observation before the action of that step, or of a Dict observation the
        part that the table looks up.
        """
        ...


class Advice:
    """Makes critical states of advised actions, for correctors.

    The reward is +1 if the agent did what is advised, else -1, which is our choice. Actions of a
    Box of floats agree if they are near enough in each dimension, as for
    `CriticalStateOverrideWrapper`.

    Args:
        action_space: Of one environment: a Box, Discrete, MultiDiscrete or MultiBinary.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice, as a share of its range, or
            where that is infinite in its units.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If the tolerance is no finite number >= 0.

    >>> episode = Trajectory(np.array([[0.5], [0.7]]), np.array([1]), [1.0], True, False)
    >>> found = Advice(gym.spaces.Discrete(2)).critical_state([episode], CriticalMoment(0, 0), 0)
    >>> found.state, found.action, found.reward
    (array([0.5]), 0, -1.0)
    """

    def __init__(
        self, action_space: gym.Space[Any], *, part: str | None = None, tolerance: float = 0.1
    ) -> None:
        check_advisable(action_space)
        self._closeness = Closeness(action_space, tolerance)
        self.space, self.part = action_space, part

    def critical_state(
        self,
        trajectories: Sequence[Trajectory],
        moment: CriticalMoment,
        action: Any,
        *,
        rationale: str = "",
    ) -> CriticalState:
        """Return the critical state of a moment, with the advised action and its reward.

        Args:
            trajectories: The episodes.
            moment: One of their steps.
            action: The advised action; one of a Box is clipped to its bounds.
            rationale: Why, in words; goes behind that of the moment.

        Raises:
            InvalidOptionError: If there is no such step, the action is not of the action space, or
                `part` does not fit the observations.
        """
        trajectory = episode_of(trajectories, moment)
        advised = fitted_action(action, self.space, f"expected an action of {self.space}")
        done = np.asarray(trajectory.actions)[moment.step]
        agrees = self._closeness.agree(done[None], advised[None])[0]
        words = [text for text in (moment.rationale, rationale) if text]
        return CriticalState(
            self._state(trajectory, moment.step),
            int(advised) if isinstance(self.space, gym.spaces.Discrete) else advised,
            reward=1.0 if agrees else -1.0,
            rationale="; ".join(words),
            episode=moment.episode,
            step=moment.step,
        )

    def _state(self, trajectory: Trajectory, step: int) -> NDArray[Any]:
        observations = trajectory.observations
        if isinstance(observations, dict):
            if self.part not in observations:
                raise InvalidOptionError(
                    f"expected part to be one of the observation's {sorted(observations)}, got "
                    f"{self.part!r}; name the entry that tells states apart"
                )
            observations = observations[self.part]
        elif self.part is not None:
            raise InvalidOptionError(
                f"part={self.part!r} is only for Dict observations; leave it out"
            )
        if not isinstance(observations, np.ndarray):
            raise InvalidOptionError(
                "expected states that are one array, got a nested observation; flatten it with a "
                "wrapper before the episodes are recorded"
            )
        return np.array(observations[step])


def episode_of(trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Trajectory:
    """Return the episode of a moment.

    Raises:
        InvalidOptionError: If there is no such episode, or it has no such step.
    """
    if moment.episode >= len(trajectories):
        raise InvalidOptionError(
            f"expected moments of the {len(trajectories)} episodes that were given, got one of "
            f"episode {moment.episode}; give those that the selector was given"
        )
    trajectory = trajectories[moment.episode]
    if moment.step >= len(trajectory):
        raise InvalidOptionError(
            f"expected a step of episode {moment.episode}, which has {len(trajectory)}, got step "
            f"{moment.step}; give the episodes that the selector was given"
        )
    return trajectory


def facts_of(trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Any:
    """Return the facts of the state before a moment's action.

    Raises:
        InvalidOptionError: If there is no such step, or no facts were recorded.
    """
    trajectory = episode_of(trajectories, moment)
    if trajectory.facts is None:
        raise InvalidOptionError(
            f"expected episodes with facts, and episode {moment.episode} has none; record them "
            "with captions=True"
        )
    return trajectory.facts[moment.step]


def split_part(name: str) -> tuple[str, str | None]:
    """Return a name without the part of a Dict observation that stands at its end, and that part.

    >>> split_part("judge:reference?part=obs"), split_part("random")
    (('judge:reference', 'obs'), ('random', None))
    """
    front, mark, part = name.rpartition("?part=")
    return (front, part) if mark else (name, None)


class _ByAdvice(ABC):
    """Makes critical states of the actions that it advises, moment by moment."""

    _advice: Advice

    def correct(
        self, trajectories: Sequence[Trajectory], moments: Sequence[CriticalMoment]
    ) -> list[CriticalState | None]:
        """Return a critical state for each moment, None where there is no advice.

        Raises:
            InvalidOptionError: If a moment is not of these episodes, they lack the facts that are
                read, an advised action is not of the action space, or `part` does not fit.
        """
        actions = [self._action(trajectories, moment) for moment in moments]
        return [
            None if action is None else self._advice.critical_state(trajectories, moment, action)
            for moment, action in zip(moments, actions, strict=True)
        ]

    @abstractmethod
    def _action(self, trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Any: ...


class RuleCorrector(_ByAdvice):
    """Advises what a rule says of the facts of a state.

    The reward of a critical state is +1 if the agent did what is advised, else -1; our choice.

    Args:
        rule: From the facts of one state to an action, or None for no advice.
        action_space: Of one environment.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice and still agree with it, in
            each dimension, as a share of its range, or where that is infinite in its units. Our
            choice.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If the tolerance is no finite number >= 0.

    >>> import numpy as np
    >>> facts = [{"lean": 3.0}, {"lean": 5.0}]
    >>> episode = Trajectory(np.zeros((2, 4)), np.array([0]), [1.0], True, False, facts=facts)
    >>> rule = RuleCorrector(lambda facts: int(facts["lean"] > 0), gym.spaces.Discrete(2))
    >>> [found] = rule.correct([episode], [CriticalMoment(0, 0)])
    >>> found.action, found.reward
    (1, -1.0)
    """

    def __init__(
        self,
        rule: Callable[[Mapping[str, Any]], Any],
        action_space: gym.Space[Any],
        *,
        part: str | None = None,
        tolerance: float = 0.1,
    ) -> None:
        self.rule = rule
        self._advice = Advice(action_space, part=part, tolerance=tolerance)

    def _action(self, trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Any:
        return self.rule(facts_of(trajectories, moment))


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


class RandomCorrector(_ByAdvice):
    """Advises a random action, for ablations: same plumbing, no knowledge.

    The action depends on the seed, the episode and the step, and on nothing else. The reward of a
    critical state is +1 if the agent did what is advised, else -1; our choice.

    Args:
        action_space: Of one environment; it is not changed.
        seed: Another seed advises other actions, at least 0.
        part: Which entry of a Dict observation the states are; None for other observations.
        tolerance: How far an action of a Box may be from the advice and still agree with it, in
            each dimension, as a share of its range, or where that is infinite in its units. Our
            choice.

    Raises:
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        InvalidOptionError: If an option is outside what is documented.

    >>> episode = Trajectory(np.zeros((2, 4)), np.array([0]), [1.0], True, False)
    >>> corrector = RandomCorrector(gym.spaces.Discrete(2), seed=1)
    >>> corrector.correct([episode], [CriticalMoment(0, 0)])[0].action in (0, 1)
    True
    """

    def __init__(
        self,
        action_space: gym.Space[Any],
        *,
        seed: int = 0,
        part: str | None = None,
        tolerance: float = 0.1,
    ) -> None:
        checks.whole("seed", seed, least=0)
        self.seed = seed
        self._advice = Advice(action_space, part=part, tolerance=tolerance)
        # Seeding a space changes it, and this one is somebody else's.
        self._space = deepcopy(action_space)

    def _action(self, trajectories: Sequence[Trajectory], moment: CriticalMoment) -> Any:
        place = np.random.SeedSequence([self.seed, moment.episode, moment.step])
        self._space.seed(int(place.generate_state(1)[0]))
        return self._space.sample()


ENTRY_POINTS = "llm_wrappers.correctors"
"""The group of entry points with which a package makes a name known.

The value is a function ``load(rest, *, description, action_space, model, env, seed) -> Corrector``,
where `rest` is what stands behind the colon, empty where there is none.
"""


def resolve_corrector(
    corrector: str | Corrector,
    *,
    description: Any = None,
    action_space: Any = None,
    model: Any = None,
    env: Any = None,
    seed: int = 0,
) -> Corrector:
    """Return the corrector that an object or a name stands for.

    Args:
        corrector: ``"judge:NAME"``, the best action by a judge that `resolve_judge` knows;
            ``"reference"``, short for ``"judge:reference"``, a rule written by hand; ``"random"``;
            or a name that an installed package registers under the entry point group
            ``llm_wrappers.correctors``. This package registers ``"policy:PATH.zip"``, which needs
            Stable-Baselines3. With a Dict observation the entry that tells states apart stands
            behind a name, as in ``"reference?part=obs"``.
        description: The `EnvDescription` of the environment, for judges.
        action_space: Its action space; None for that of `env`, else of `model`.
        model: The model that played the episodes, for the names that need it.
        env: An environment like that in which they were played, likewise.
        seed: Of what is drawn.

    Raises:
        UnknownNameError: If no resolver knows the name, or none for this environment.
        InvalidOptionError: If it is no corrector, or something that the name needs is not given.
        IncompatibleEnvironmentError: If actions of this space cannot be advised so.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions import EnvDescription
    >>> described = EnvDescription(env_id="CartPole-v1", rules="")
    >>> pushes = gym.spaces.Discrete(2)
    >>> type(resolve_corrector("reference", description=described, action_space=pushes).judge)
    <class 'llm_wrappers.guidance.judges.ablations.RuleJudge'>
    """
    context = {
        "description": description,
        "action_space": _space(action_space, env, model),
        "model": model,
        "env": env,
        "seed": seed,
    }
    if isinstance(corrector, str):
        name, part = split_part(corrector)
        # The names of packages read the part themselves, with what else stands in their query.
        if name in _CORRECTORS:
            return _CORRECTORS.resolve(name, part=part, **context)
    return _CORRECTORS.resolve(corrector, **context)


def _random(rest: str, *, part: str | None, **context: Any) -> Corrector:
    space = _needed("random", "action_space", context)
    return RandomCorrector(space, seed=context["seed"], part=part)


def _judged(judge: str, *, part: str | None, **context: Any) -> Corrector:
    name = f"judge:{judge}"
    described = _needed(name, "description", context)
    space = _needed(name, "action_space", context)
    return JudgeCorrector(resolve_judge(judge, description=described), space, part=part)


def _space(action_space: Any, env: Any, model: Any) -> Any:
    """Return the action space of one environment, from what of these is given."""
    if action_space is not None:
        return action_space
    source = model if env is None else env
    single = getattr(source, "single_action_space", None)
    return getattr(source, "action_space", None) if single is None else single


def _needed(name: str, what: str, context: dict[str, Any]) -> Any:
    if context[what] is None:
        raise InvalidOptionError(f"the corrector {name!r} needs {what}=..., got None; give it")
    return context[what]


_CORRECTORS: Registry[Corrector] = Registry(
    "corrector",
    Corrector,
    "an object with correct(trajectories, moments), or a name such as 'reference'",
    names={
        "reference": lambda _, **context: _judged("reference", **context),
        "judge:NAME": _judged,
        "random": _random,
    },
    group=ENTRY_POINTS,
)
