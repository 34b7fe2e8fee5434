"""An environment and planners that do what a test says."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from llm_wrappers.errors import InvalidOptionError

__all__ = ["FAILURES", "FailingPlanner", "ScriptedEnv", "ScriptedPlanner", "make_scripted_env"]

ResetFunction: TypeAlias = (
    "Callable[[ScriptedEnv, dict[str, Any] | None], tuple[Any, dict[str, Any]]]"
)
StepFunction: TypeAlias = (
    "Callable[[ScriptedEnv, Any], tuple[Any, float, bool, bool, dict[str, Any]]]"
)


class ScriptedEnv(gym.Env[Any, Any]):
    """An environment with any spaces and any behaviour, deterministic from its seed.

    Without functions of your own it returns random observations of the space that depend on the
    seed and on every action, a random reward, and short episodes that end both ways. It draws from
    `np_random` at each reset and step, so a wrapper that draws from there too changes the world.

    Args:
        observation_space: Any space; by default a Box of three numbers.
        action_space: Any space; by default Discrete(3).
        reset_func: ``(env, options) -> (observation, info)``, called once `np_random` is seeded.
        step_func: ``(env, action) -> (observation, reward, terminated, truncated, info)``.
        lengths: The shortest and the longest episode, without functions of your own.
        render_mode: None or ``"rgb_array"``.

    Attributes:
        actions: Copies of the actions received, since construction.
        resets: Copies of the (seed, options) received, since construction.
        steps: The steps of this episode.

    >>> env = ScriptedEnv(step_func=lambda env, action: (env.draw(), 1.0, False, False, {}))
    >>> observation, info = env.reset(seed=0)
    >>> env.step(2)[1], env.actions, env.resets
    (1.0, [2], [(0, None)])
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - as in Gymnasium

    def __init__(
        self,
        observation_space: gym.Space[Any] | None = None,
        action_space: gym.Space[Any] | None = None,
        *,
        reset_func: ResetFunction | None = None,
        step_func: StepFunction | None = None,
        lengths: tuple[int, int] = (3, 9),
        render_mode: str | None = None,
    ) -> None:
        self.observation_space = (
            gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
            if observation_space is None
            else observation_space
        )
        self.action_space = gym.spaces.Discrete(3) if action_space is None else action_space
        self.render_mode = render_mode
        self.actions: list[Any] = []
        self.resets: list[tuple[int | None, dict[str, Any] | None]] = []
        self.steps = 0
        self._length = lengths[0]
        self._lengths = lengths
        self._reset_func = reset_func
        self._step_func = step_func
        # A copy, because sampling from the space itself would disturb whoever seeded it.
        self._sampler = deepcopy(self.observation_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.resets.append((seed, deepcopy(options)))
        self.steps = 0
        if self._reset_func is not None:
            return self._reset_func(self, options)
        self._length = int(self.np_random.integers(*self._lengths, endpoint=True))
        return self.draw(), {"steps": 0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step and note the action."""
        self.actions.append(deepcopy(action))
        self.steps += 1
        if self._step_func is not None:
            return self._step_func(self, action)
        reward = float(self.np_random.normal())
        over = self.steps >= self._length
        # Both ways of ending, because wrappers and vector environments treat them apart.
        by_time = bool(self.np_random.random() < 0.5)
        observation = self.draw(action)
        return observation, reward, over and not by_time, over and by_time, {"steps": self.steps}

    def draw(self, action: Any = None) -> Any:
        """Return a fresh observation of the space, a function of `np_random` and the action."""
        drawn = int(self.np_random.integers(2**31))
        # Not hash(): it differs between processes. Lists, so that an int32 is the same as an int64.
        self._sampler.seed(drawn ^ (zlib.crc32(repr(_listed(action)).encode()) >> 1))
        return self._sampler.sample()

    def render(self) -> Any:
        """Return a small grey picture that brightens with the steps."""
        return np.full((8, 8, 3), min(self.steps, 255), np.uint8)


def make_scripted_env(**kwargs: Any) -> gym.Env[Any, Any]:
    """Return a `ScriptedEnv` as `gymnasium.make` returns it: with a spec and its usual wrappers.

    Args:
        **kwargs: The arguments of `ScriptedEnv`. The spec can be saved as JSON only without.

    >>> make_scripted_env().spec.id
    'llm_wrappers/Scripted-v0'
    """
    entry_point = "llm_wrappers.testing.scripted:ScriptedEnv"
    return gym.make(EnvSpec("llm_wrappers/Scripted-v0", entry_point=entry_point, kwargs=kwargs))


def _listed(action: Any) -> Any:
    if isinstance(action, dict):
        return {key: _listed(value) for key, value in action.items()}
    if isinstance(action, tuple | list):
        return [_listed(value) for value in action]
    return action.tolist() if isinstance(action, np.ndarray | np.generic) else action


# --- planners ---

FactsRow: TypeAlias = "Mapping[str, Any]"


class ScriptedPlanner:
    """A planner with one answer for all states, or a function of one state's facts.

    Args:
        answer: A list of (goal, weight), or a function from the facts of one state to one.
        pure: Whether a wrapper may remember the answers instead of asking again.

    Attributes:
        asked: The facts of every state it was asked about, in order; a copy begins anew.

    >>> planner = ScriptedPlanner(lambda facts: [("go left" if facts["x"] > 0 else "wait", 1.0)])
    >>> planner.plan([{"x": 1}, {"x": 0}])
    [[('go left', 1.0)], [('wait', 1.0)]]
    >>> planner.asked
    [{'x': 1}, {'x': 0}]
    """

    def __init__(
        self, answer: Sequence[Any] | Callable[[FactsRow], Any], *, pure: bool = False
    ) -> None:
        self._answer = answer
        self.pure = pure
        self.asked: list[dict[str, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        # Wrappers copy their arguments to record them; a copy has been asked nothing yet.
        return {**self.__dict__, "asked": []}

    def plan(self, facts: Sequence[FactsRow]) -> list[Any]:
        """Return the answer for each state."""
        self.asked.extend(dict(row) for row in facts)
        answer = self._answer
        return [answer(row) if callable(answer) else list(answer) for row in facts]


def _raise(answers: list[Any], failing: list[bool]) -> Any:
    raise RuntimeError("the planner was told to fail")


def _replacing(nonsense: Any) -> Callable[[list[Any], list[bool]], Any]:
    return lambda answers, failing: [
        nonsense if fails else answer for answer, fails in zip(answers, failing, strict=True)
    ]


FAILURES: dict[str, Callable[[list[Any], list[bool]], Any]] = {
    "raises": _raise,
    "returns None": lambda answers, failing: None,
    "too many lists": lambda answers, failing: [*answers, []],
    "no list": _replacing(42),
    "no pairs": _replacing([42]),
    "no goals": _replacing([]),
    "text of another type": _replacing([(7, 1.0)]),
    "unknown goal": _replacing([("no such goal", 1.0)]),
    "negative weight": _replacing([("no such goal", -1.0)]),
    "weight is nan": _replacing([("no such goal", float("nan"))]),
}
"""The ways to fail that `FailingPlanner` knows."""


class FailingPlanner:
    """A planner that fails for some states, as code written by a language model may.

    Args:
        answer: What it answers otherwise: a list of (goal, weight) or a function of the facts.
        fails: Tells from the facts of a state whether it fails there; by default everywhere.
        how: One of `llm_wrappers.testing.scripted.FAILURES`.

    Raises:
        InvalidOptionError: If `how` is not one of these.

    >>> planner = FailingPlanner([("wait", 1.0)], fails=lambda facts: facts["x"] > 0, how="no list")
    >>> planner.plan([{"x": 1}, {"x": 0}])
    [42, [('wait', 1.0)]]
    """

    def __init__(
        self,
        answer: Sequence[Any] | Callable[[FactsRow], Any],
        *,
        fails: Callable[[FactsRow], bool] | None = None,
        how: str = "raises",
    ) -> None:
        if how not in FAILURES:
            raise InvalidOptionError(f"how must be one of {sorted(FAILURES)}, got {how!r}")
        self._planner = ScriptedPlanner(answer)
        self._fails = fails
        self._how = how

    def plan(self, facts: Sequence[FactsRow]) -> Any:
        """Return the answers, or whatever the failure is."""
        failing = [self._fails is None or bool(self._fails(row)) for row in facts]
        answers = self._planner.plan(facts)
        return FAILURES[self._how](answers, failing) if any(failing) else answers
