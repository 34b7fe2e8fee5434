"""Finding critical moments in played episodes (ULTRA): selectors that need no language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.registry import Registry, whole_in
from llm_wrappers.trajectories.trajectory import Trajectory

__all__ = [
    "ENTRY_POINTS",
    "CriticalMoment",
    "RandomSelector",
    "ReturnDropSelector",
    "Selector",
    "ValueGapSelector",
    "importances_of",
    "moments_of",
    "resolve_selector",
]


@dataclass(frozen=True)
class CriticalMoment:
    """A step that a selector picked from played episodes (ULTRA, arXiv 2505.20671).

    ULTRA calls a state critical if the action taken there strongly affects what can still be
    earned.

    Args:
        episode: Which of the episodes, from 0.
        step: Which of its steps, from 0: the state before its action is the critical one. Numbers
            of numpy are taken too, and become plain ones.
        importance: How much the selector makes of it, a finite number; only comparable within one
            selector.
        rationale: Why, in words.

    Raises:
        InvalidOptionError: If a number is not what is documented.

    >>> CriticalMoment(0, 12, rationale="the ball comes towards you").step
    12
    """

    episode: int
    step: int
    importance: float = 1.0
    rationale: str = ""

    def __post_init__(self) -> None:
        for name in ("episode", "step"):
            object.__setattr__(self, name, checks.whole(name, getattr(self, name), least=0))
        object.__setattr__(self, "importance", checks.number("importance", self.importance))
        if not isinstance(self.rationale, str):
            raise InvalidOptionError(f"rationale must be a text, got {self.rationale!r}")


@runtime_checkable
class Selector(Protocol):
    """Played episodes to the moments that decided them, batch first (ULTRA, arXiv 2505.20671).

    A selector may also have `stats()`: counters, of what was dropped for example.
    """

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> Sequence[CriticalMoment]:
        """Return at most `per_episode` moments of each episode, in order of episode and step.

        No moment is returned twice. An episode of fewer steps has fewer of them.
        """
        ...


def moments_of(
    importances: Sequence[NDArray[np.float64]],
    *,
    per_episode: int,
    min_gap: int,
    rationale: str,
    above: float = -np.inf,
) -> list[CriticalMoment]:
    """Return the most important steps of each episode, in order of episode and step.

    Steps are taken from the most important one down, of equals the earlier, and those nearer than
    `min_gap` to one that is taken are left out.

    Args:
        importances: One array of shape (T,) for each episode.
        per_episode: How many moments at most, at least 1.
        min_gap: How many steps two moments of an episode are apart at least, at least 1.
        rationale: What goes into each moment; ``{importance}`` is replaced.
        above: Only steps of more importance than this are taken.

    Raises:
        InvalidOptionError: If `per_episode` is no whole number >= 1.
    """
    checks.whole("per_episode", per_episode, least=1)
    return [
        CriticalMoment(
            episode,
            step,
            importance=float(row[step]),
            rationale=rationale.format(importance=f"{row[step]:.3g}"),
        )
        for episode, row in enumerate(importances)
        for step in _picked(row, per_episode, min_gap, above)
    ]


def _picked(row: NDArray[np.float64], count: int, min_gap: int, above: float) -> list[int]:
    open_steps = row > above
    picked: list[int] = []
    for step in np.argsort(-row, kind="stable").tolist():
        if len(picked) == count:
            break
        if open_steps[step]:
            picked.append(step)
            open_steps[max(step - min_gap + 1, 0) : step + min_gap] = False
    return sorted(picked)


def importances_of(
    selector: Selector, trajectories: Sequence[Trajectory], *, per_episode: int
) -> list[NDArray[np.float64]]:
    """Return how important each step is, one array of shape (T,) per episode.

    A selector with a method ``importances(trajectories)`` is asked that. One without, such as a
    language model, is asked for moments: a step has the importance of its moment, and 0 where it
    was not picked, which is our choice.

    Args:
        selector: The selector.
        trajectories: The episodes.
        per_episode: How many moments it is asked for.

    Raises:
        InvalidOptionError: If the answer does not fit the episodes.

    >>> from llm_wrappers.guidance.critical.finding import CriticalMoment
    >>> class Second:
    ...     def select(self, trajectories, *, per_episode):
    ...         return [CriticalMoment(0, 1, importance=0.5)]
    >>> episode = Trajectory(np.zeros((4, 2)), np.zeros(3), np.ones(3), True, False)
    >>> importances_of(Second(), [episode], per_episode=1)
    [array([0. , 0.5, 0. ])]
    """
    method = getattr(selector, "importances", None)
    if method is None:
        return _from_moments(selector, trajectories, per_episode)
    rows = [np.asarray(row, dtype=np.float64) for row in method(trajectories)]
    lengths = [(len(trajectory),) for trajectory in trajectories]
    if [row.shape for row in rows] != lengths or not all(np.isfinite(row).all() for row in rows):
        raise InvalidOptionError(
            f"expected importances() of {type(selector).__name__} to return one array of finite "
            f"numbers per episode, of shapes {lengths}, got {[row.shape for row in rows]}"
        )
    return rows


def _from_moments(
    selector: Selector, trajectories: Sequence[Trajectory], per_episode: int
) -> list[NDArray[np.float64]]:
    rows = [np.zeros(len(trajectory)) for trajectory in trajectories]
    for moment in selector.select(trajectories, per_episode=per_episode):
        if moment.episode >= len(rows) or moment.step >= len(rows[moment.episode]):
            raise InvalidOptionError(
                f"{type(selector).__name__} picked step {moment.step} of episode {moment.episode}, "
                f"which is not among the {len(rows)} episodes; check what it was given"
            )
        rows[moment.episode][moment.step] = moment.importance
    return rows


class _ByImportance(ABC):
    """Picks the steps that a number says are the most important."""

    min_gap: int
    _rationale: str
    _above = -np.inf

    def importances(self, trajectories: Sequence[Trajectory]) -> list[NDArray[np.float64]]:
        """Return the number of each step, one array of shape (T,) per episode."""
        return [self._row(episode, each) for episode, each in enumerate(trajectories)]

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return the steps of the largest numbers, in order of episode and step.

        Raises:
            InvalidOptionError: If `per_episode` is no whole number >= 1.
        """
        return moments_of(
            self.importances(trajectories),
            per_episode=per_episode,
            min_gap=self.min_gap,
            rationale=self._rationale,
            above=self._above,
        )

    @abstractmethod
    def _row(self, episode: int, trajectory: Trajectory) -> NDArray[np.float64]: ...


class RandomSelector(_ByImportance):
    """Picks steps uniformly at random, without replacement.

    In RICE (arXiv 2405.03064, table 1) random states reach most of what explained ones do, so a
    selector says little until it was compared with this one.

    The draw depends on the seed and the number of the episode, and on nothing else: asking twice
    gives the same moments.

    Args:
        seed: Another seed picks others, at least 0.
        min_gap: How many steps two moments of an episode are apart at least; with more than 1 the
            steps are no longer uniform.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> episode = Trajectory(np.zeros((9, 2)), np.zeros(8), np.ones(8), True, False)
    >>> moments = RandomSelector(seed=1).select([episode, episode], per_episode=2)
    >>> [moment.episode for moment in moments]
    [0, 0, 1, 1]
    """

    _rationale = "drawn at random"

    def __init__(self, *, seed: int = 0, min_gap: int = 1) -> None:
        checks.whole("seed", seed, least=0)
        checks.whole("min_gap", min_gap, least=1)
        self.seed, self.min_gap = seed, min_gap

    def _row(self, episode: int, trajectory: Trajectory) -> NDArray[np.float64]:
        return np.random.default_rng([self.seed, episode]).random(len(trajectory))


class ReturnDropSelector(_ByImportance):
    """Picks the steps from which on the reward falls most; needs no model at all.

    The drop of step t is the mean of the `window` rewards before it, less the mean of the `window`
    rewards from it on, its own included. All of that is our choice:

    - Near the start the mean before is over fewer steps. The first step has no drop.
    - After an end of the task nothing more is earned, so missing rewards count as 0. After a cut
      (`truncated`) what would have come is not known, and the mean is over fewer steps.
    - Steps without a drop are not picked, so that an episode may have fewer moments, or none.

    Args:
        window: How many rewards are compared, at least 1.
        min_gap: How many steps two moments of an episode are apart at least.

    Raises:
        InvalidOptionError: If an option is outside what is documented.

    >>> rewards = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    >>> episode = Trajectory(np.zeros((7, 2)), np.zeros(6), rewards, False, True)
    >>> [found] = ReturnDropSelector(window=3).select([episode], per_episode=1)
    >>> found.step, found.importance
    (3, 1.0)
    """

    _above = 0.0

    def __init__(self, *, window: int = 10, min_gap: int = 1) -> None:
        checks.whole("window", window, least=1)
        checks.whole("min_gap", min_gap, least=1)
        self.window, self.min_gap = window, min_gap
        self._rationale = f"the mean reward of {window} steps falls by {{importance}}"

    def _row(self, episode: int, trajectory: Trajectory) -> NDArray[np.float64]:
        steps = np.arange(len(trajectory))
        sums = np.concatenate([[0.0], np.cumsum(trajectory.rewards)])
        begins = np.maximum(steps - self.window, 0)
        ends = np.minimum(steps + self.window, len(trajectory))
        before = (sums[steps] - sums[begins]) / np.maximum(steps - begins, 1)
        over = trajectory.terminated
        after = (sums[ends] - sums[steps]) / (self.window if over else ends - steps)
        drops: NDArray[np.float64] = np.where(steps > 0, before - after, 0.0)
        return drops


class ValueGapSelector(_ByImportance):
    """Picks the steps that went worst by the values of a critic.

    The gap of a step is V(s) - r - gamma * V(s'), what was expected less what came; V is 0 after an
    end of the task. Steps that went as well as expected or better are not picked, so that an
    episode may have fewer moments, or none. An explanation without a language model, of our choice.

    `llm_wrappers.sb3.baselines.value_gap.value_gap_selector` makes one from a model of
    Stable-Baselines3.

    Args:
        values: From observations of shape (n, ...), nested as the space is, to V, shape (n,).
        gamma: The discount, in [0, 1].
        reward_scale: What rewards are multiplied by, where V was learnt from scaled ones.
        min_gap: How many steps two moments of an episode are apart at least.

    Raises:
        InvalidOptionError: If an option is outside what is documented; in use, if `values` does not
            return n finite numbers.

    >>> episode = Trajectory(np.array([[0.0], [0.0], [5.0]]), [0, 0], [0.0, 0.0], False, True)
    >>> selector = ValueGapSelector(lambda observations: 10.0 - 2 * observations[:, 0], gamma=1.0)
    >>> [(moment.step, moment.importance) for moment in selector.select([episode], per_episode=2)]
    [(1, 10.0)]
    """

    _rationale = "went worse than the critic expected, by {importance}"
    _above = 0.0

    def __init__(
        self,
        values: Callable[[Any], NDArray[Any]],
        *,
        gamma: float = 0.99,
        reward_scale: float = 1.0,
        min_gap: int = 1,
    ) -> None:
        if not callable(values):
            raise InvalidOptionError(
                "values must be a function of observations that returns one number for each, got "
                f"{values!r}"
            )
        checks.number("gamma", gamma, least=0, most=1)
        checks.number("reward_scale", reward_scale, above=0)
        checks.whole("min_gap", min_gap, least=1)
        self.values, self.gamma = values, gamma
        self.reward_scale, self.min_gap = reward_scale, min_gap

    def _row(self, episode: int, trajectory: Trajectory) -> NDArray[np.float64]:
        expected = np.array(self.values(trajectory.observations), dtype=np.float64)
        if expected.shape != (len(trajectory) + 1,) or not np.isfinite(expected).all():
            raise InvalidOptionError(
                f"expected values() to return {len(trajectory) + 1} finite numbers, one per "
                f"observation, got shape {expected.shape}; check the critic"
            )
        if trajectory.terminated:
            expected[-1] = 0.0
        came = self.reward_scale * trajectory.rewards + self.gamma * expected[1:]
        gaps: NDArray[np.float64] = expected[:-1] - came
        return gaps


ENTRY_POINTS = "llm_wrappers.selectors"
"""The group of entry points with which a package makes a name known.

The value is a function ``load(rest, *, description, action_space, model, env, seed) -> Selector``,
where `rest` is what stands behind the colon, empty where there is none.
"""


def _return_drop(rest: str, **context: Any) -> Selector:
    if not rest:
        return ReturnDropSelector()
    return ReturnDropSelector(window=whole_in("return-drop:WINDOW", rest))


_SELECTORS: Registry[Selector] = Registry(
    "selector",
    Selector,
    "an object with select(trajectories, per_episode=...), or a name such as 'return-drop'",
    names={
        "random": lambda _, *, seed, **context: RandomSelector(seed=seed),
        "return-drop[:WINDOW]": _return_drop,
    },
    group=ENTRY_POINTS,
)


def resolve_selector(
    selector: str | Selector,
    *,
    description: Any = None,
    action_space: Any = None,
    model: Any = None,
    env: Any = None,
    seed: int = 0,
) -> Selector:
    """Return the selector that an object or a name stands for.

    Args:
        selector: ``"random"``; ``"return-drop"`` or ``"return-drop:WINDOW"``; or a name that an
            installed package registers under the entry point group ``llm_wrappers.selectors``. This
            package registers ``"value-gap"`` and ``"state-mask"``, which need Stable-Baselines3.
        description: The `EnvDescription` of the environment, for the names that need it.
        action_space: Its action space, likewise.
        model: The model that played the episodes, likewise.
        env: An environment like that in which they were played, likewise.
        seed: Of what is drawn or trained.

    Raises:
        UnknownNameError: If no resolver knows the name.
        InvalidOptionError: If it is no selector, or what stands behind the colon does not fit.

    >>> resolve_selector("return-drop:5").window
    5
    """
    return _SELECTORS.resolve(
        selector,
        description=description,
        action_space=action_space,
        model=model,
        env=env,
        seed=seed,
    )
