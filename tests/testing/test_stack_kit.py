"""The kit for stacks catches stacks that are broken, and says which point and which order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import RecordConstructorArgs
from plain_layers import Env, LosesItsState, Plain, Showing

from llm_wrappers import ActionMaskWrapper, GoalObservationWrapper, RewardShiftWrapper, wrappers
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.guidance.judge import FunctionJudge
from llm_wrappers.testing import (
    ConformanceError,
    FailingPlanner,
    Point,
    ScriptedEnv,
    ScriptedPlanner,
    check_stack,
    make_scripted_env,
)
from llm_wrappers.wrappers import vector

GOALS = ["go left", "go right"]
MASKS = {"go left": [0, 1], "go right": [1, 2]}


def by_sign(facts: Any) -> Any:
    return [("go left" if facts["obs_0"] < 0 else "go right", 1.0)]


def like_the_first(states: Any, actions: Any) -> list[int]:
    return [1 if action == 0 else -1 for action in actions]


PLANNER = ScriptedPlanner(by_sign)
TABLE = CriticalStates(
    [CriticalState([0.5, 0.5, 0.5], 1, reward=1.0), CriticalState([-0.5, 0.5, 0.5], 2)],
    key="bins:1.0",
)


def kinds_of(env: Any) -> Any:
    return vector if isinstance(env, gym.vector.VectorEnv) else wrappers


def sgrl(env: Any) -> Any:
    env = kinds_of(env).GoalObservationWrapper(env, planner=PLANNER, goals=GOALS)
    return kinds_of(env).ActionMaskWrapper(env, masks=MASKS, schedule=0.5, enforce="resample")


def shift(env: Any) -> Any:
    judge = FunctionJudge(like_the_first)
    return kinds_of(env).RewardShiftWrapper(env, judge=judge, consult_probability=0.5)


def override(env: Any) -> Any:
    return kinds_of(env).CriticalStateOverrideWrapper(env, critical_states=TABLE)


def recorder(env: Any) -> Any:
    return kinds_of(env).TrajectoryRecorder(env)


GOOD = {"sgrl": sgrl, "shift": shift, "override": override}


class ReadsTheObservation(Plain):
    """A layer of somebody else that fails where another one below has made a Dict."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._failures = 0

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self._failures += isinstance(result[0], dict)
        return result

    def stats(self) -> dict[str, Any]:
        return {"reader_failures": self._failures}


def without_guidance(env: Env) -> Env:
    return GoalObservationWrapper(
        env, planner=FailingPlanner([("go left", 1.0)], how="no list"), goals=GOALS
    )


class SaysOfItselfUnguided(Plain):
    def unguided(self) -> list[str]:
        return ["SaysOfItselfUnguided: 60 of 60 states had no guidance"]


class OverridesInSilence(Plain):
    """What is above never hears of the action that it executes."""

    def step(self, action: Any) -> Any:
        return self.env.step((action + 1) % 3)


class OverridesAndLies(OverridesInSilence):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return (*rest, {**info, "executed_action": action})

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "executed_action": -1}


class OverridesAndTells(OverridesInSilence):
    """It tells the info, but the judges above of ours are told by the world below it."""

    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return (*rest, {**info, "executed_action": (action + 1) % 3})

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "executed_action": -1}


class StepsTwice(Plain):
    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        return result if result[2] or result[3] else self.env.step(action)


class OverridesTheMask(OverridesAndTells):
    def action_masks(self) -> Any:
        mask = np.ones(3, np.bool_)
        mask[0] = False
        return mask

    def step(self, action: Any) -> Any:
        *rest, info = self.env.step(0)
        return (*rest, {**info, "executed_action": 0})


class ClosesEverything(Plain):
    def action_masks(self) -> Any:
        return np.zeros(3, np.bool_)


class TellsAnotherMask(Showing):
    def action_masks(self) -> Any:
        return np.array([True, False, True])

    def informed(self, info: Any) -> Any:
        return {**info, "action_mask": np.ones(3, np.int8)}


class KeepsTheProgress(Plain):
    def set_progress(self, progress: float) -> None:
        """Hand nothing on."""


class KeepsTheTraining(Plain):
    def set_training(self, training: bool) -> None:
        """Hand nothing on."""


class Doubles(Plain):
    def step(self, action: Any) -> Any:
        observation, reward, *rest, info = self.env.step(action)
        paid = float(reward) * 2
        return (observation, paid, *rest, {**info, "extrinsic_reward": paid})

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        return observation, {**info, "extrinsic_reward": 0.0}


class DrawsFromTheEnvironment(Plain):
    def step(self, action: Any) -> Any:
        self.np_random.random()
        return self.env.step(action)


class RecordsAnotherValue(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    def __init__(self, env: Env, *, high: float = 3.0) -> None:
        RecordConstructorArgs.__init__(self, high=1.0)
        gym.Wrapper.__init__(self, env)
        self.action_space = gym.spaces.Discrete(int(high))


class LoadsNothing(RewardShiftWrapper):
    """Each run begins with the random stream of a new wrapper."""

    def load_state_dict(self, state: Any) -> None:
        """Leave everything as it is."""


def loads_nothing(env: Env) -> Env:
    return LoadsNothing(env, judge=FunctionJudge(like_the_first), consult_probability=0.5)


class Forgets(Showing):
    """What it counts outlives an episode, and is nowhere in a state."""

    count = 0

    def informed(self, info: Any) -> Any:
        self.count += 1
        return {**info, "count": self.count}


def forgets(env: Env) -> Env:
    return Forgets(shift(env))


class NeedsABox(Plain):
    refusal: Exception = IncompatibleEnvironmentError("expected a Box, got a Dict: put me inside")

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        if not isinstance(env.observation_space, gym.spaces.Box):
            raise self.refusal


class SaysNotWhere(NeedsABox):
    refusal = IncompatibleEnvironmentError("expected a Box, got a Dict")


class BreaksDown(NeedsABox):
    refusal = KeyError("obs")


def neither(env: Env) -> Env:
    raise InvalidOptionError("put it inside of another one")


BROKEN: list[tuple[Point, Callable[[Env], Env], str]] = [
    (Point.STACK_ORDER, SaysNotWhere, "expected an order to work, or to be refused"),
    (Point.STACK_ORDER, BreaksDown, "got KeyError: 'obs'"),
    (Point.STACK_ORDER, neither, "at least one of the orders to work"),
    (Point.STACK_WORDS, ReadsTheObservation, "ReadsTheObservation can use .*reader_failures"),
    (Point.STACK_WORDS, SaysOfItselfUnguided, "60 of 60 states had no guidance"),
    (Point.STACK_ACTIONS, OverridesInSilence, r"info\['executed_action'\], because"),
    (Point.STACK_ACTIONS, OverridesAndLies, r"info\['executed_action'\] to be"),
    (Point.STACK_ACTIONS, OverridesAndTells, "a judge above to see the executed action"),
    (Point.STACK_ACTIONS, StepsTwice, "one step of the environment for each"),
    (Point.STACK_MASKS, OverridesTheMask, "an action that the masks leave open in place of"),
    (Point.STACK_MASKS, ClosesEverything, "leave something open"),
    (Point.STACK_MASKS, TellsAnotherMask, r"info\['action_mask'\] to be action_masks"),
    (Point.STACK_PROGRESS, KeepsTheProgress, r"set_progress\(0.25\) at the top to reach Reward"),
    (Point.STACK_PROGRESS, KeepsTheTraining, r"set_training\(False\) at the top to reach Reward"),
    (Point.INFO, Doubles, "to be the reward of the environment"),
    (Point.SEEDING, DrawsFromTheEnvironment, "what it returns alone"),
    (Point.COPIES, LosesItsState, "to go on as the original does"),
    (Point.SPEC, RecordsAnotherValue, "to give an equal environment"),
    (Point.STACK_RESUME, loads_nothing, "a stack to have the state that was loaded"),
    (Point.STACK_RESUME, forgets, "a run that was saved and loaded"),
]


@pytest.mark.parametrize(
    ("point", "broken", "message"), BROKEN, ids=[f"{p.name}-{w.__name__}" for p, w, _ in BROKEN]
)
def test_a_broken_stack_is_caught_at_its_point(
    point: Point, broken: Callable[[Env], Env], message: str
) -> None:
    # The goal is between the two, so that one order has a Dict below the broken layer.
    good = "shift" if point in (Point.STACK_PROGRESS, Point.INFO) else "goal"
    factories = {good: GOOD[good] if good == "shift" else with_goal, "broken": broken}
    if broken is neither:
        factories = {"broken": broken}
    with pytest.raises(ConformanceError, match=message) as raised:
        check_stack(factories, points=[point], steps=30)
    assert raised.value.point is point


def with_goal(env: Env) -> Env:
    return GoalObservationWrapper(env, planner=PLANNER, goals=GOALS)


def test_every_point_of_stacks_has_a_broken_one() -> None:
    of_stacks = {point for point in Point if point.name.startswith("STACK_")}
    assert of_stacks <= {point for point, _, _ in BROKEN}


def test_a_vector_stack_that_is_no_twin_is_caught() -> None:
    class ForgetsTheJudge(gym.vector.VectorWrapper):
        pass

    with pytest.raises(ConformanceError, match=r"twin \(order shift, from inside") as found:
        check_stack(
            {"shift": shift},
            vector_factories={"shift": ForgetsTheJudge},
            points=[Point.VECTOR_TWIN],
        )
    assert found.value.point is Point.VECTOR_TWIN


def test_a_vector_layer_that_keeps_the_progress_is_caught() -> None:
    class Keeps(gym.vector.VectorWrapper):
        def set_progress(self, progress: float) -> None:
            """Hand nothing on."""

    with pytest.raises(ConformanceError, match=r"set_progress\(0.25\) at the top to reach Reward"):
        check_stack(
            {"shift": shift, "plain": Plain},
            vector_factories={"shift": shift, "plain": Keeps},
            points=[Point.VECTOR_TWIN],
            orders=[("shift", "plain")],
        )


def test_the_error_names_the_order() -> None:
    with pytest.raises(ConformanceError) as raised:
        check_stack({"goal": with_goal, "lazy": SaysNotWhere}, points=[])
    assert str(raised.value) == (
        "point stack order (order goal > lazy, from inside to outside): expected an order to "
        "work, or to be refused with the order that works, got IncompatibleEnvironmentError: "
        "expected a Box, got a Dict; say of what it must be inside or outside"
    )


NO_JSON = {Point.SPEC: "arguments are no JSON, so the spec was not saved as JSON"}


def test_all_orders_of_our_wrappers_keep_every_point() -> None:
    report = check_stack(GOOD, steps=30)
    assert len(report.works) == 6
    assert (report.refused, report.skipped) == ({}, NO_JSON)


@pytest.mark.parametrize("order", [("sgrl", "override", "shift"), ("override", "shift", "sgrl")])
def test_their_twins_do_the_same(order: tuple[str, ...]) -> None:
    points = [Point.VECTOR_TWIN]
    report = check_stack(GOOD, vector_factories=GOOD, orders=[order], points=points)
    assert (report.works, report.vector_refused) == ([order], {})


def test_a_recorder_stands_anywhere() -> None:
    factories = {**GOOD, "recorder": recorder}
    orders = [
        ("recorder", "sgrl", "override", "shift"),
        ("override", "recorder", "shift", "sgrl"),
        ("sgrl", "shift", "override", "recorder"),
    ]
    assert check_stack(factories, orders=orders, steps=30).works == orders


def test_a_refusal_that_says_where_to_is_reported() -> None:
    report = check_stack({"goal": with_goal, "box": NeedsABox}, points=[Point.STACK_WORDS])
    assert report.works == [("box", "goal")]
    assert report.refused == {("goal", "box"): "expected a Box, got a Dict: put me inside"}


def test_only_the_orders_that_are_named_are_checked() -> None:
    factories = {"goal": with_goal, "lazy": SaysNotWhere}
    report = check_stack(factories, orders=[("lazy", "goal")], points=[])
    assert report.works == [("lazy", "goal")]


def test_it_says_what_it_could_not_check() -> None:
    report = check_stack({"plain": Plain}, make_env=ScriptedEnv, steps=20)
    assert report.works == [("plain",)]
    assert report.skipped == {
        Point.SPEC: "make_env gives an environment without a spec",
        Point.STACK_MASKS: "the stack has no masks",
        Point.STACK_RESUME: "the stack has no guidance_state()",
    }


def test_an_environment_that_draws_elsewhere_is_resumed_with_a_seed_only() -> None:
    class DrawsElsewhere(ScriptedEnv):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            if seed is not None or not hasattr(self, "_own"):
                self._own = np.random.default_rng(0 if seed is None else seed)
            return super().reset(seed=int(self._own.integers(1000)), options=options)

    points = [Point.STACK_RESUME]
    report = check_stack({"shift": shift}, make_env=DrawsElsewhere, points=points)
    assert "a reset without a seed was left out" in report.skipped[Point.STACK_RESUME]


@pytest.mark.parametrize("kind", [gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiBinary(3)])
def test_masks_of_several_parts_are_read_part_by_part(kind: gym.Space[Any]) -> None:
    length = 5 if isinstance(kind, gym.spaces.MultiDiscrete) else 6
    masks = {"go left": [index != 1 for index in range(length)]}

    def masked(env: Env) -> Env:
        env = GoalObservationWrapper(env, planner=ScriptedPlanner([("go left", 1)]), goals=GOALS)
        return ActionMaskWrapper(env, masks=masks, enforce="resample")

    report = check_stack(
        {"sgrl": masked},
        make_env=partial(make_scripted_env, action_space=kind),
        points=[Point.STACK_MASKS, Point.STACK_ACTIONS],
    )
    assert report.works == [("sgrl",)]
    assert not report.skipped


def test_what_the_user_got_wrong_is_said() -> None:
    with pytest.raises(InvalidOptionError, match="steps must be a whole number >= 20, got 5"):
        check_stack(GOOD, steps=5)
    with pytest.raises(InvalidOptionError, match="at least one wrapper, got none"):
        check_stack({})
    with pytest.raises(InvalidOptionError, match=r"vector_factories must have the names \['"):
        check_stack(GOOD, vector_factories={"sgrl": sgrl})
    for orders in ("every", [], [("sgrl", "sgrll")], [()]):
        with pytest.raises(InvalidOptionError, match='orders must be "all" or a list of orders'):
            check_stack(GOOD, orders=orders)
