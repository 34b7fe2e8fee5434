"""Environments, guidance and stacks that the tests of wrappers share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers import wrappers
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.testing import ScriptedEnv, ScriptedPlanner, make_scripted_env
from llm_wrappers.wrappers import SimilarityRewardWrapper, vector

GOALS = ["left", "right", "wait"]
MASKS = {"left": [0], "right": [1, 2]}
MULTI_DISCRETE = gym.spaces.MultiDiscrete([3, 2])
MULTI_DISCRETE_MASKS = {"left": [0, 3], "right": [1, 2, 4]}
MULTI_BINARY = gym.spaces.MultiBinary(3)
MULTI_BINARY_MASKS = {"left": [0, 2, 4], "right": [1, 2, 3, 4]}
BOX = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
BOUNDS = {"left": (-2.0, 0.0), "right": (0.0, [1.0, 2.0])}
DICT = gym.spaces.Dict(
    image=gym.spaces.Box(0, 255, (2, 2, 3), np.uint8),
    count=gym.spaces.Discrete(5),
    state=gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
)


def first(facts: Mapping[str, Any]) -> float:
    """Return the first number of a state, whatever the environment calls it."""
    return float(next(iter(facts.values())))


def sampled_goals(facts: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Several goals, among which chance decides, and now and then another set."""
    if first(facts) < -0.5:
        return [("wait", 1.0)]
    return [("left", 1.0), ("right", 2.0), ("wait", 0.5)]


def fails_here(facts: Mapping[str, Any]) -> bool:
    return first(facts) > 0.4


class TellingCaptioner(GenericCaptioner):
    """It says in a few words what was done, so that suggestions can come true."""

    no_effect = frozenset({"nothing happens"})

    def transition_captions(
        self, before: Sequence[Any], actions: Sequence[Any], after: Sequence[Any]
    ) -> list[str]:
        return [
            "nothing happens" if first(new) < -0.7 else f"go {GOALS[int(np.ravel(action)[0]) % 3]}"
            for action, new in zip(actions, after, strict=True)
        ]


def suggested_goals(states: Any) -> list[Any]:
    """Suggest something else in other states, now and then nothing, and now and then no answer."""
    return [_suggested(first(facts)) for facts in states.facts]


def _suggested(number: float) -> Any:
    if number < -0.5:
        return [] if number < -0.7 else None
    return ["go left", "go wait"] if number < 0.3 else ["go right", "jump", "go left", "", "jump"]


def fails_sometimes(states: Any) -> list[Any]:
    """Suggest the same, and raise if one of the states is at a corner."""
    if any(first(facts) > 0.4 for facts in states.facts):
        raise RuntimeError("the suggester was told to fail")
    return suggested_goals(states)


def rewarded(*, vectorised: bool = False, **options: Any) -> Callable[[Any], Any]:
    """Return what rewards suggestions around an environment, in the words of the captioner."""
    kind: Any = (vector if vectorised else wrappers).SimilarityRewardWrapper

    def wrap(env: Any) -> Any:
        single = "single_observation_space" if vectorised else "observation_space"
        action = "single_action_space" if vectorised else "action_space"
        captioner = TellingCaptioner(getattr(env, single), getattr(env, action))
        return kind(env, **{"suggester": suggested_goals, "captioner": captioner, **options})

    return wrap


def judge_by_state(states: Any, actions: Any) -> list[int | None]:
    """Judge by the state and the action, now and then not at all."""
    return [
        None if first(facts) < -0.6 else int(np.ravel(action)[0] + 10 * first(facts)) % 3 - 1
        for facts, action in zip(states.facts, actions, strict=True)
    ]


def judge_that_fails(states: Any, actions: Any) -> list[int | None]:
    """Judge the same, and raise if one of the states is at a corner."""
    if any(first(facts) > 0.4 for facts in states.facts):
        raise RuntimeError("the judge was told to fail")
    return judge_by_state(states, actions)


def height(states: Any) -> list[float | None]:
    """Return a potential, of some states none."""
    return [None if first(facts) < -0.6 else first(facts) for facts in states.facts]


def shifted(*, vectorised: bool = False, **options: Any) -> Callable[[Any], Any]:
    """Return what shifts the rewards of an environment."""
    kind: Any = (vector if vectorised else wrappers).RewardShiftWrapper
    return partial(kind, **{"judge": judge_by_state, **options})


def always(goal: str) -> ScriptedPlanner:
    return ScriptedPlanner([(goal, 1.0)])


def with_goal(
    env: gym.Env[Any, Any] | None = None, planner: Any = None, **options: Any
) -> wrappers.GoalObservationWrapper:
    """Return an environment with goals, by default a `ScriptedEnv` with sampled ones."""
    options.setdefault("goals", GOALS)
    return wrappers.GoalObservationWrapper(
        make_scripted_env() if env is None else env,
        planner=ScriptedPlanner(sampled_goals) if planner is None else planner,
        **options,
    )


def goals_of(planner: Any, *, vectorised: bool = False) -> Callable[[Any], Any]:
    """Return what puts the goals of a planner around an environment."""
    kind = vector.GoalObservationWrapper if vectorised else wrappers.GoalObservationWrapper
    return partial(kind, planner=planner, goals=GOALS)


def stacked(*layers: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what puts these layers around an environment, the first one innermost."""

    def wrap(env: Any) -> Any:
        for layer in layers:
            env = layer(env)
        return env

    return wrap


def scripted(**spaces: Any) -> Callable[[], gym.Env[Any, Any]]:
    return partial(make_scripted_env, **spaces)


class EnvWithMasks(ScriptedEnv):
    """It has action masks of its own."""

    def action_masks(self) -> np.ndarray[Any, Any]:
        return np.array([self.steps % 2 == 0, True, self.steps % 3 != 0])


def episodes(env: gym.Env[Any, Any], actions: Sequence[Any], seed: int | None = 0) -> list[Any]:
    """Return the (observation, info) after a reset and after each step."""
    seen = [env.reset(seed=seed)]
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        seen.append((observation, info))
        if terminated or truncated:
            seen.append(env.reset())
    return seen


def counting_env(length: int = 10, action_space: gym.Space[Any] | None = None) -> ScriptedEnv:
    """Return an environment that observes the steps of the episode, and rewards each with 1."""

    def reset(env: ScriptedEnv, options: Any) -> Any:
        return np.zeros(1, np.float32), {}

    def step(env: ScriptedEnv, action: Any) -> Any:
        observation = np.array([env.steps], np.float32)
        return observation, 1.0, env.steps >= length, False, {}

    space = gym.spaces.Box(0.0, 1000.0, (1,), np.float32)
    return ScriptedEnv(space, action_space, reset_func=reset, step_func=step)


def short_cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=9)


def short_pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=9)


def stable_id(value: object) -> str:
    """Return an id without memory addresses, which differ between the workers of pytest-xdist."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


# --- critical states ---

CORNERS = ([-0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [-0.5, 0.5, 0.5], [0.5, -0.5, 0.5])
"""Half of the eight cells of width 1 that a Box of three numbers in [-1, 1] has."""


def table(
    states: Sequence[Any] = CORNERS,
    actions: Sequence[Any] = (0, 1, 2, 1),
    *,
    key: str = "bins:1.0",
    part: str | None = None,
) -> CriticalStates:
    """Return a table whose rewards differ in size and sign."""
    rewards = [1.0, -0.5, 0.25, -1.0]
    entries = [
        CriticalState(state, action, reward=rewards[number % 4])
        for number, (state, action) in enumerate(zip(states, actions, strict=False))
    ]
    return CriticalStates(entries, key=key, part=part)


def overriding(*, vectorised: bool = False, **options: Any) -> Callable[[Any], Any]:
    """Return what advises in critical states around an environment."""
    kind: Any = (vector if vectorised else wrappers).CriticalStateOverrideWrapper
    options = {"critical_states": table(), "probability": 1.0, **options}
    return partial(kind, **options)


# --- similarity rewards ---

DEEDS = ("collect wood", "eat cow", "attack cow", "place crafting table", "nothing happens", "nap")
WOOD, EAT, ATTACK, TABLE, NOTHING, NAP = range(6)


class DeedCaptioner(GenericCaptioner):
    """It says what each action does; the only fact is the step of the episode."""

    def transition_captions(
        self, before: Sequence[Any], actions: Sequence[Any], after: Sequence[Any]
    ) -> list[str]:
        return [DEEDS[int(action)] for action in actions]


class Told(gym.Wrapper[Any, Any, Any, Any]):
    """It says in `info` whether an action succeeded, as the test says."""

    def __init__(self, env: gym.Env[Any, Any], successes: Sequence[bool]) -> None:
        super().__init__(env)
        self._successes = iter(successes)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        told = {**info, "action_success": next(self._successes)}
        return observation, reward, terminated, truncated, told


class PlaneEncoder:
    """Vectors in the plane by text: a known angle, or whatever the test says."""

    def __init__(self, **vectors: Any) -> None:
        self.vectors = {name.replace("_", " "): np.asarray(v) for name, v in vectors.items()}
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        return np.stack([self.vectors.get(text, np.array([0.0, 1.0])) for text in texts])


class CountingEncoder:
    """The hashing encoder, which notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        return HashingEncoder(64).encode(texts)

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


class CountingSuggester:
    """One answer per state by its step, which notes the states and the resets it is told of."""

    def __init__(self, answer: Callable[[int], Any], *, pure: bool = False) -> None:
        self._answer = answer
        self.pure = pure
        self.asked: list[int] = []
        self.batches: list[int] = []

    def suggest(self, states: Any) -> list[Any]:
        steps = [int(facts["obs_0"]) for facts in states.facts]
        self.asked += steps
        self.batches.append(len(steps))
        return [self._answer(step) for step in steps]


class RememberingSuggester(CountingSuggester):
    """It keeps something per sub-environment, and so is told where episodes begin."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        super().__init__(answer)
        self.resets: list[list[bool]] = []

    def reset(self, mask: Any) -> None:
        self.resets.append(mask.tolist())

    def stats(self) -> dict[str, int]:
        return {"resets": len(self.resets)}


def deeds_env(length: int = 10) -> gym.Env[Any, Any]:
    return counting_env(length, gym.spaces.Discrete(len(DEEDS)))


def captioner_of(env: Any) -> DeedCaptioner:
    vectorised = hasattr(env, "num_envs")
    return DeedCaptioner(
        env.single_observation_space if vectorised else env.observation_space,
        env.single_action_space if vectorised else env.action_space,
    )


def suggested(
    suggester: Any, env: gym.Env[Any, Any] | None = None, **options: Any
) -> SimilarityRewardWrapper:
    """Return an environment whose actions are `DEEDS`, with rewards for what is suggested."""
    env = deeds_env() if env is None else env
    options.setdefault("captioner", captioner_of(env))
    return SimilarityRewardWrapper(env, suggester=suggester, **options)


def rewards_of(env: gym.Env[Any, Any], actions: Sequence[int]) -> list[float]:
    """Return the rewards of these steps, after a reset."""
    env.reset(seed=0)
    return [float(env.step(action)[1]) for action in actions]
