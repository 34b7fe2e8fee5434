"""The conformance kit catches wrappers that are broken, and says which point they break."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import RecordConstructorArgs
from plain_layers import Env, LosesItsState, Plain, Showing

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing import (
    ConformanceError,
    FailingPlanner,
    Point,
    ScriptedEnv,
    ScriptedPlanner,
    check_vector_wrapper,
    check_wrapper,
    make_scripted_env,
)
from llm_wrappers.testing.scripted import FAILURES


class RecordsNothing(gym.Wrapper[Any, Any, Any, Any]):
    pass


class ForgetsAnArgument(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    def __init__(self, env: Env, *, scale: float = 1.0, shift: float = 0.0) -> None:
        RecordConstructorArgs.__init__(self, scale=scale)
        gym.Wrapper.__init__(self, env)


class RecordsAnotherValue(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    def __init__(self, env: Env, *, scale: float = 3.0) -> None:
        RecordConstructorArgs.__init__(self, scale=1.0)
        gym.Wrapper.__init__(self, env)
        self._scale = scale

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        scaled = float(reward) * self._scale
        return observation, scaled, terminated, truncated, {**info, "extrinsic_reward": reward}


class RecordsWhatJsonChanges(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """It takes a list for something else than a tuple, and JSON has no tuples."""

    def __init__(self, env: Env, *, bounds: Sequence[float] = (0.0, 1.0)) -> None:
        RecordConstructorArgs.__init__(self, bounds=bounds)
        gym.Wrapper.__init__(self, env)
        if isinstance(bounds, list):
            self.observation_space = gym.spaces.Box(-5, 5, (3,), np.float32)


class ReturnsANumpyReward(Plain):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, np.float32(reward), terminated, truncated, info


class ReturnsANumpyEnd(Plain):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, np.bool_(terminated), truncated, info


class LeavesTheSpace(Showing):
    def observed(self, observation: Any) -> Any:
        return observation + 100


class ReturnsACachedArray(Showing):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Dict(
            obs=env.observation_space, goal=gym.spaces.Box(0, 1, (2,), np.float32)
        )
        self._goal = np.array([1, 0], np.float32)

    def observed(self, observation: Any) -> Any:
        return {"obs": observation, "goal": self._goal}


class ReturnsTheSameInfo(Showing):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._info: dict[str, Any] = {}

    def informed(self, info: Any) -> Any:
        self._info.update(info)
        return self._info


class ChangesTheInfo(Showing):
    def informed(self, info: Any) -> Any:
        info["goal"] = "wait"
        return info


class ChangesTheObservation(Showing):
    def observed(self, observation: Any) -> Any:
        observation[0] = 0.0
        return observation


class ChangesTheObservationLater(Plain):
    def reset(self, **kwargs: Any) -> Any:
        self._observation, info = self.env.reset(**kwargs)
        return self._observation, info

    def step(self, action: Any) -> Any:
        self._observation *= 0.5
        self._observation, *rest = self.env.step(action)
        return (self._observation, *rest)


class ChangesTheAction(Plain):
    def step(self, action: Any) -> Any:
        action[0] = 0
        return self.env.step(action)


class ChangesTheSpace(Plain):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        env.observation_space.high[:] = 2.0  # type: ignore[attr-defined]


class ChangesTheOptions(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if options is not None:
            options["goal"] = "wait"
        return self.env.reset(seed=seed)


class DrawsInItsMask(Plain):
    def action_masks(self) -> Any:
        return np.random.default_rng().random(3) < 0.5


class ReturnsItsMask(Plain):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._mask = np.ones(3, bool)

    def action_masks(self) -> Any:
        return self._mask


class DrawsFromTheEnvironment(Showing):
    """Its draws are seeded, but the environment sees other worlds."""

    def informed(self, info: Any) -> Any:
        return {**info, "luck": float(self.np_random.random())}


class DrawsUnseeded(Showing):
    def informed(self, info: Any) -> Any:
        return {**info, "luck": float(np.random.default_rng().random())}


class TellsTheTime(Showing):
    def informed(self, info: Any) -> Any:
        return {**info, "clock": time.perf_counter_ns()}


class KeepsTheSeed(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.env.unwrapped._np_random = np.random.default_rng(seed)
        return self.env.reset(options=options)


class KeepsTheOptions(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset(seed=seed)


class CountsOverResets(Plain):
    """It begins to count anew where an episode ended, and so not after an early reset."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._count = 0

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "count": 0}

    def step(self, action: Any) -> Any:
        *rest, terminated, truncated, info = self.env.step(action)
        self._count += 1
        shown = self._count
        if terminated or truncated:
            self._count = 0
        return (*rest, terminated, truncated, {**info, "count": shown})


class HoldsALock(Plain):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._lock = threading.Lock()


class AddsToTheInfo(Plain):
    """Adds what it is told, at the reset and at the steps."""

    at_reset: dict[Any, Any] = {}  # noqa: RUF012 - never changed
    at_step: dict[Any, Any] = {}  # noqa: RUF012 - never changed

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, **self.at_reset}

    def step(self, action: Any) -> Any:
        *rest, info = self.env.step(action)
        return (*rest, {**info, **self.at_step})


def adding(at_reset: dict[Any, Any], at_step: dict[Any, Any]) -> type[AddsToTheInfo]:
    return type("AddsToTheInfo", (AddsToTheInfo,), {"at_reset": at_reset, "at_step": at_step})


class DropsTheInfo(Showing):
    def informed(self, info: Any) -> Any:
        return {}


class HidesTheReward(Plain):
    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        return (observation, reward + 1.0, *rest)


class ShowsAnotherReward(HidesTheReward):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return (*rest, {**info, "extrinsic_reward": rest[1]})

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "extrinsic_reward": 0.0}


class ExecutesAnotherAction(Plain):
    def step(self, action: Any) -> Any:
        return self.env.step(action * 0)


class ClosesAnAction(Plain):
    def action_masks(self) -> Any:
        return np.array([True, True, False])


class RenamesTheObservation(Showing):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Dict(obs=env.observation_space)

    def observed(self, observation: Any) -> Any:
        return {"obs": observation * np.float32(0.5)}


class SharesBetweenCopies(Plain):
    """All that are alive share the steps of the one that was reset last."""

    achieved: set[float] = set()  # noqa: RUF012 - that is the fault

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        self.achieved.clear()
        return observation, {**info, "achieved": 0}

    def step(self, action: Any) -> Any:
        observation, *rest, info = self.env.step(action)
        self.achieved.add(float(observation[0]))
        return (observation, *rest, {**info, "achieved": len(self.achieved)})


class HidesTheEnd(Plain):
    """SB3's Monitor asks for the reward as a number that can be added up."""

    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        return (observation, str(reward), *rest)


class AsksTheNetwork(Plain):
    def step(self, action: Any) -> Any:
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.settimeout(0.1)
            connection.connect(("127.0.0.1", 9))
        return self.env.step(action)


class CountsForLife(Plain):
    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._counts = {"steps": 0}

    def step(self, action: Any) -> Any:
        self._counts["steps"] += 1
        return self.env.step(action)

    def stats(self) -> dict[str, Any]:
        return dict(self._counts)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._counts)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts.update(state)


class HandsOutItsStats(CountsForLife):
    def stats(self) -> dict[str, Any]:
        return self._counts


class LoadsNothing(CountsForLife):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class SavesOnly(Plain):
    def state_dict(self) -> dict[str, Any]:
        return {}


BROKEN: list[tuple[Point, Callable[[Env], Env]]] = [
    (Point.RECORDED_ARGUMENTS, RecordsNothing),
    (Point.RECORDED_ARGUMENTS, ForgetsAnArgument),
    (Point.SPEC, RecordsAnotherValue),
    (Point.SPEC, RecordsWhatJsonChanges),
    (Point.ENVIRONMENT_CHECKERS, ReturnsANumpyReward),
    (Point.ENVIRONMENT_CHECKERS, ReturnsANumpyEnd),
    (Point.ENVIRONMENT_CHECKERS, LeavesTheSpace),
    (Point.FRESH_OBJECTS, ReturnsACachedArray),
    (Point.FRESH_OBJECTS, ReturnsTheSameInfo),
    (Point.FRESH_OBJECTS, ChangesTheInfo),
    (Point.FRESH_OBJECTS, ChangesTheObservation),
    (Point.FRESH_OBJECTS, ChangesTheObservationLater),
    (Point.FRESH_OBJECTS, ChangesTheSpace),
    (Point.FRESH_OBJECTS, ChangesTheOptions),
    (Point.FRESH_OBJECTS, DrawsInItsMask),
    (Point.FRESH_OBJECTS, ReturnsItsMask),
    (Point.SEEDING, DrawsFromTheEnvironment),
    (Point.SEEDING, DrawsUnseeded),
    (Point.SEEDING, TellsTheTime),
    (Point.SEEDING, KeepsTheSeed),
    (Point.SEEDING, KeepsTheOptions),
    (Point.RESET, CountsOverResets),
    (Point.COPIES, HoldsALock),
    (Point.COPIES, LosesItsState),
    (Point.INFO, adding({}, {"goal": "wait"})),
    (Point.INFO, adding({"goal": "wait"}, {})),
    (Point.INFO, adding({"goal": None}, {"goal": "wait"})),
    (Point.INFO, adding({7: 1}, {7: 1})),
    (Point.INFO, adding({"_goal": 1}, {"_goal": 1})),
    (Point.INFO, adding({"episode": 1}, {"episode": 1})),
    (Point.INFO, adding({"goal": {1}}, {"goal": {1}})),
    (Point.INFO, adding({"goal": "a" * 3000}, {"goal": "a" * 3000})),
    (Point.INFO, adding({"vector": np.zeros(384)}, {"vector": np.zeros(384)})),
    (Point.INFO, adding({"vector": np.zeros(2)}, {"vector": np.zeros(3)})),
    (Point.INFO, DropsTheInfo),
    (Point.INFO, HidesTheReward),
    (Point.INFO, ShowsAnotherReward),
    (Point.NEUTRAL, ExecutesAnotherAction),
    (Point.NEUTRAL, ClosesAnAction),
    (Point.NEUTRAL, RenamesTheObservation),
    (Point.NEUTRAL, HidesTheReward),
    (Point.STACKS, SharesBetweenCopies),
    (Point.STACKS, HidesTheEnd),
    (Point.NO_NETWORK, AsksTheNetwork),
    (Point.STATE, HandsOutItsStats),
    (Point.STATE, LoadsNothing),
    (Point.STATE, SavesOnly),
]


@pytest.mark.parametrize(
    ("point", "wrapper"), BROKEN, ids=[f"{p.name}-{w.__name__}" for p, w in BROKEN]
)
def test_a_broken_wrapper_is_caught_at_its_point(
    point: Point, wrapper: Callable[[Env], Env]
) -> None:
    with pytest.raises(ConformanceError, match=f"point {point.value}: expected ") as raised:
        check_wrapper(wrapper, neutral=wrapper, points=[point], steps=25)
    assert raised.value.point is point


def test_every_point_has_a_broken_wrapper() -> None:
    of_others = {point for point in Point if point.name.startswith(("STACK_", "CAPTIONER_"))}
    assert {point for point, _ in BROKEN} == set(Point) - {Point.VECTOR_TWIN} - of_others


def test_a_changed_action_is_caught() -> None:
    make_env = partial(make_scripted_env, action_space=gym.spaces.MultiDiscrete([3, 2]))
    with pytest.raises(ConformanceError, match="step to leave the action as it is"):
        check_wrapper(ChangesTheAction, make_env=make_env, points=[Point.FRESH_OBJECTS])


@pytest.mark.parametrize("wrapper", [Plain, CountsForLife])
def test_a_wrapper_without_a_fault_passes_everything(wrapper: Callable[[Env], Env]) -> None:
    assert check_wrapper(wrapper, neutral=wrapper, steps=30) == {}


def test_it_says_what_it_could_not_check() -> None:
    skipped = check_wrapper(Plain, make_env=ScriptedEnv, steps=20)
    assert skipped[Point.SPEC] == "make_env gives an environment without a spec"
    assert skipped[Point.NEUTRAL] == "no factory with neutral settings was given"
    assert "make_vec was left out" in skipped[Point.STACKS]


def test_faults_of_the_environment_alone_are_not_the_wrappers() -> None:
    """Its observations are outside its space, and it opens connections."""

    def step(env: ScriptedEnv, action: Any) -> Any:
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.connect(("127.0.0.1", 9))
        return env.draw(action) + 100, 0.0, False, env.steps > 4, {}

    skipped = check_wrapper(
        Plain,
        make_env=lambda: ScriptedEnv(step_func=step),
        points=[Point.ENVIRONMENT_CHECKERS, Point.NO_NETWORK, Point.STACKS, Point.COPIES],
        steps=20,
    )
    reason = skipped[Point.ENVIRONMENT_CHECKERS]
    assert "its observation space is more than the environment alone does" in reason
    assert "stable_baselines3's check_env is more than the environment alone does" in reason
    assert skipped[Point.NO_NETWORK] == "the environment alone opens connections"
    assert "cannot use the environment alone" in skipped[Point.STACKS]
    assert "no pickle" in skipped[Point.COPIES]


def test_an_environment_that_reuses_its_buffer_is_not_the_wrappers_fault() -> None:
    buffer = np.zeros(3, np.float32)

    def reset(env: ScriptedEnv, options: Any) -> Any:
        buffer[:] = env.draw()
        return buffer, {}

    def step(env: ScriptedEnv, action: Any) -> Any:
        buffer[:] = env.draw(action)
        return buffer, 0.0, False, env.steps > 4, {}

    make_env = partial(ScriptedEnv, reset_func=reset, step_func=step)
    check_wrapper(Plain, make_env=make_env, points=[Point.FRESH_OBJECTS])


def test_sockets_are_as_before_after_the_check() -> None:
    before = (socket.socket.connect, socket.socket.sendto)
    with pytest.raises(ConformanceError, match=r"connections to .*127\.0\.0\.1"):
        check_wrapper(AsksTheNetwork, points=[Point.NO_NETWORK])
    assert (socket.socket.connect, socket.socket.sendto) == before
    assert "connect" not in vars(socket.socket)


def test_a_factory_that_drops_the_environment_is_told_so() -> None:
    with pytest.raises(ConformanceError, match="expected the factory to wrap the environment"):
        check_wrapper(lambda env: ScriptedEnv())


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="steps must be a whole number >= 20, got 5"):
        check_wrapper(Plain, steps=5)
    with pytest.raises(InvalidOptionError, match="steps must be a whole number >= 30, got 5"):
        check_vector_wrapper(VectorPlain, Plain, steps=5)


# --- vector twins ---


class VectorPlain(gym.vector.VectorWrapper):
    pass


class ShiftsTheReward(Plain):
    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        return (observation, float(reward) + 1.0, *rest)


class ShiftsAllRewards(gym.vector.VectorWrapper):
    """It shifts the reward of steps that only show a new episode, where nothing was rewarded."""

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = self.env.step(actions)
        return (observations, rewards + 1.0, *rest)


class Masked(Plain):
    def action_masks(self) -> Any:
        return np.array([True, False, True])


class VectorMasked(gym.vector.VectorWrapper):
    batched_methods = frozenset({"action_masks"})

    def action_masks(self) -> Any:
        return np.ones((self.num_envs, 3), bool)


class AddsAnInfo(Showing):
    def informed(self, info: Any) -> Any:
        return {**info, "goal": "wait"}


class ForgetsTheFinalInfo(gym.vector.VectorWrapper):
    def reset(self, **kwargs: Any) -> Any:
        mask = (kwargs.get("options") or {}).get("reset_mask", np.ones(self.num_envs, bool))
        observations, infos = self.env.reset(**kwargs)
        return observations, self._informed(infos, mask)

    def step(self, actions: Any) -> Any:
        *rest, infos = self.env.step(actions)
        return (*rest, self._informed(infos, np.ones(self.num_envs, bool)))

    def _informed(self, infos: dict[str, Any], present: Any) -> dict[str, Any]:
        goals = np.array(["wait" if there else None for there in present], dtype=object)
        return {**infos, "goal": goals, "_goal": present}


class ChangesTheActions(gym.vector.VectorWrapper):
    def step(self, actions: Any) -> Any:
        result = self.env.step(actions.copy())
        actions[:] = 0
        return result


class ReturnsItsBuffer(gym.vector.VectorWrapper):
    def reset(self, **kwargs: Any) -> Any:
        observations, infos = self.env.reset(**kwargs)
        self._buffer = observations.copy()
        return self._buffer, infos

    def step(self, actions: Any) -> Any:
        observations, *rest = self.env.step(actions)
        self._buffer[:] = observations
        return (self._buffer, *rest)


class Fails(gym.vector.VectorWrapper):
    def step(self, actions: Any) -> Any:
        raise KeyError("goal")


@pytest.mark.parametrize(
    ("vector", "single", "message"),
    [
        (ShiftsAllRewards, ShiftsTheReward, r"NextStep.* rewards\[0\] should be 0.0, got 1.0"),
        (VectorMasked, Masked, r"action_masks\(\)\[0\]\[1\] should be False, got True"),
        (ForgetsTheFinalInfo, AddsAnInfo, r"SameStep.* infos\['final_info'\]"),
        (ChangesTheActions, Plain, "the actions given"),
        (ReturnsItsBuffer, Plain, "what the call before returned"),
        (Fails, Plain, "no exception .*, got KeyError: 'goal'"),
        (VectorPlain, ReturnsACachedArray, "single_observation_space Dict"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_vector_wrapper_that_is_no_twin_is_caught(vector: Any, single: Any, message: str) -> None:
    with pytest.raises(ConformanceError, match=message) as raised:
        check_vector_wrapper(vector, single)
    assert raised.value.point is Point.VECTOR_TWIN


def test_twins_pass() -> None:
    check_vector_wrapper(VectorPlain, Plain)


def test_episodes_that_never_end_are_refused() -> None:
    make_env = partial(make_scripted_env, lengths=(500, 600))
    with pytest.raises(InvalidOptionError, match="expected at least 3 episodes to end in 60 steps"):
        check_vector_wrapper(VectorPlain, Plain, make_env=make_env)


# --- doubles ---


def test_the_scripted_environment_is_a_function_of_seed_and_actions() -> None:
    def run(actions: Sequence[int]) -> list[Any]:
        env = ScriptedEnv()
        seen = [env.reset(seed=4)[0].tolist()]
        for action in actions:
            observation, reward, *_ = env.step(action)
            seen += [observation.tolist(), reward]
        return seen

    assert run([0, 1, 2]) == run([0, 1, 2])
    assert run([0, 1, 2])[:1] == run([1, 1, 2])[:1]
    assert run([0, 1, 2])[1] != run([1, 1, 2])[1]


def test_the_scripted_environment_ends_both_ways_within_its_lengths() -> None:
    env = ScriptedEnv(lengths=(2, 4))
    env.reset(seed=0)
    lengths, ways = set(), set()
    for _ in range(200):
        *_, terminated, truncated, info = env.step(0)
        if terminated or truncated:
            ways.add((terminated, truncated))
            lengths.add(info["steps"])
            env.reset()
    assert ways == {(True, False), (False, True)}
    assert lengths == {2, 3, 4}


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Discrete(4),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.Dict(a=gym.spaces.Box(0, 255, (4, 4, 3), np.uint8), b=gym.spaces.Discrete(2)),
    ],
    ids=repr,
)
def test_the_scripted_environment_has_any_spaces(space: gym.Space[Any]) -> None:
    env = ScriptedEnv(space, space, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert observation in space
    assert env.step(space.sample())[0] in space
    assert env.render().shape == (8, 8, 3)


def test_the_scripted_environment_keeps_copies_of_what_it_received() -> None:
    env = ScriptedEnv(action_space=gym.spaces.MultiDiscrete([3, 2]))
    options = {"level": [1]}
    env.reset(seed=3, options=options)
    action = np.array([2, 1])
    env.step(action)
    action[:] = 0
    options["level"].append(2)
    assert env.actions[0].tolist() == [2, 1]
    assert env.resets == [(3, {"level": [1]})]


@pytest.mark.parametrize("how", sorted(FAILURES))
def test_the_failing_planner_fails_only_where_told(how: str) -> None:
    planner = FailingPlanner([("wait", 1.0)], fails=lambda facts: facts["x"] > 0, how=how)
    good = [[("wait", 1.0)]]
    assert planner.plan([{"x": 0}]) == good
    try:
        answer = planner.plan([{"x": 1}])
    except RuntimeError:
        assert how == "raises"
    else:
        assert answer != good


def test_the_failing_planner_knows_its_ways() -> None:
    with pytest.raises(InvalidOptionError, match="how must be one of"):
        FailingPlanner([], how="quietly")


def test_the_scripted_planner_returns_new_lists() -> None:
    planner = ScriptedPlanner([("wait", 1.0)])
    planner.plan([{}])[0].clear()
    assert planner.plan([{}]) == [[("wait", 1.0)]]
