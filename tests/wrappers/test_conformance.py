"""Every exported wrapper keeps the contract, and every vector wrapper is a true twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import pytest
from guided_doubles import (
    BOUNDS,
    BOX,
    DICT,
    GOALS,
    MASKS,
    MULTI_BINARY,
    MULTI_BINARY_MASKS,
    MULTI_DISCRETE,
    MULTI_DISCRETE_MASKS,
    EnvWithMasks,
    fails_here,
    goals_of,
    sampled_goals,
    scripted,
    stacked,
)

from llm_wrappers import wrappers
from llm_wrappers.testing import (
    FailingPlanner,
    Point,
    ScriptedPlanner,
    check_vector_wrapper,
    check_wrapper,
    make_scripted_env,
)
from llm_wrappers.wrappers import vector

Env = gym.Env[Any, Any]
Wrap = Callable[[Any], Any]

PLANNER = ScriptedPlanner(sampled_goals)
FAILING = FailingPlanner(sampled_goals, fails=fails_here)
GOAL = goals_of(PLANNER)
VECTOR_GOAL = goals_of(PLANNER, vectorised=True)

# Objects among the arguments are no JSON; this is said, and no fault.
NO_JSON = {Point.SPEC: "arguments are no JSON, so the spec was not saved as JSON"}
NO_SPEC = {
    Point.SPEC: "make_env gives an environment without a spec",
    Point.STACKS: "make_vec was left out, because make_env gives no spec",
}


def short_cartpole() -> Env:
    return gym.make("CartPole-v1", max_episode_steps=9)


def short_pendulum() -> Env:
    return gym.make("Pendulum-v1", max_episode_steps=9)


@dataclass(frozen=True)
class Case:
    """A wrapper in a stack, with neutral settings, and what of it cannot be checked."""

    wrap: Wrap
    neutral: Wrap | None
    make_env: Callable[[], Env] = make_scripted_env
    skipped: dict[Point, str] = field(default_factory=lambda: NO_JSON)


def mask_case(
    make_env: Callable[[], Env], masks: Any, enforce: str = "mask", **options: Any
) -> Case:
    layer = partial(wrappers.ActionMaskWrapper, masks=masks, enforce=enforce)
    return Case(
        stacked(GOAL, partial(layer, schedule=0.5)),
        stacked(GOAL, partial(layer, schedule=0.0)),
        make_env,
        **options,
    )


NAMED_GOAL = partial(wrappers.GoalObservationWrapper, planner="random", goals=GOALS)

CASES: dict[str, dict[str, Case]] = {
    "GoalObservationWrapper": {
        "box": Case(GOAL, GOAL),
        "dict": Case(GOAL, GOAL, scripted(observation_space=DICT)),
        "cartpole": Case(GOAL, GOAL, short_cartpole),
        "pendulum": Case(GOAL, GOAL, short_pendulum),
        "hashing": Case(partial(GOAL, encoder="hashing:8", reselect="every_step"), GOAL),
        "names": Case(NAMED_GOAL, NAMED_GOAL, skipped={}),
    },
    "ActionMaskWrapper": {
        "discrete": mask_case(make_scripted_env, MASKS),
        "discrete from 5": mask_case(
            scripted(action_space=gym.spaces.Discrete(3, start=5)),
            MASKS,
            "resample",
            # Stable-Baselines3 refuses such spaces.
            skipped=None,
        ),
        "resample": mask_case(make_scripted_env, MASKS, "resample"),
        "penalty": mask_case(make_scripted_env, MASKS, "penalty"),
        "dict": mask_case(scripted(observation_space=DICT), MASKS),
        "multi-discrete": mask_case(scripted(action_space=MULTI_DISCRETE), MULTI_DISCRETE_MASKS),
        "multi-discrete resample": mask_case(
            scripted(action_space=MULTI_DISCRETE), MULTI_DISCRETE_MASKS, "resample"
        ),
        "multi-binary resample": mask_case(
            scripted(action_space=MULTI_BINARY), MULTI_BINARY_MASKS, "resample"
        ),
        "cartpole": mask_case(short_cartpole, {"left": [0], "right": [1]}),
        "masks below": mask_case(EnvWithMasks, MASKS, skipped=NO_SPEC),
        "two masks": Case(
            stacked(
                GOAL,
                partial(wrappers.ActionMaskWrapper, masks=MASKS, schedule=0.5),
                partial(
                    wrappers.ActionMaskWrapper,
                    masks={"left": [0, 1], "wait": [1]},
                    schedule={"kind": "linear", "start": 0.9, "end": 0.3},
                    enforce="resample",
                ),
            ),
            GOAL,
        ),
        "names": Case(
            stacked(NAMED_GOAL, partial(wrappers.ActionMaskWrapper, masks="random")),
            stacked(NAMED_GOAL, partial(wrappers.ActionMaskWrapper, masks="none")),
            skipped={},
        ),
    },
    "ActionBoundsWrapper": {
        "box": Case(
            stacked(GOAL, partial(wrappers.ActionBoundsWrapper, bounds=BOUNDS, schedule=0.5)),
            stacked(GOAL, partial(wrappers.ActionBoundsWrapper, bounds={})),
            scripted(action_space=BOX),
        ),
        "pendulum": Case(
            stacked(
                NAMED_GOAL, partial(wrappers.ActionBoundsWrapper, bounds={"left": (-2.0, 0.0)})
            ),
            stacked(
                NAMED_GOAL,
                partial(wrappers.ActionBoundsWrapper, bounds={"left": (-1.0, 0.0)}, schedule=0.0),
            ),
            short_pendulum,
            skipped={},
        ),
    },
}


def every(table: dict[str, dict[str, Any]]) -> Any:
    return [
        pytest.param(case, id=f"{name}-{title}")
        for name, cases in table.items()
        for title, case in cases.items()
    ]


@pytest.mark.parametrize("name", wrappers.__all__)
def test_every_exported_wrapper_has_a_case(name: str) -> None:
    assert name in CASES, f"{name} is exported: add a case for the conformance kit here"


@pytest.mark.parametrize("case", every(CASES))
def test_wrapper_keeps_the_contract(case: Case) -> None:
    skipped = check_wrapper(
        case.wrap,
        make_env=case.make_env,
        neutral=case.neutral,
        readings=("action_masks", "action_bounds", "current_goal"),
    )
    if case.skipped is not None:
        assert skipped == case.skipped


@pytest.mark.filterwarnings("ignore:the planner failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.parametrize("how", ["raises", "too many lists", "unknown goal", "no list"])
def test_wrappers_keep_the_contract_with_a_planner_that_fails(how: str) -> None:
    planner = FailingPlanner(sampled_goals, fails=fails_here, how=how)
    mask = partial(wrappers.ActionMaskWrapper, masks=MASKS, schedule=0.5)
    check_wrapper(stacked(goals_of(planner), mask), points=set(Point) - {Point.NEUTRAL})


def test_wrappers_work_in_subprocesses() -> None:
    case = CASES["ActionMaskWrapper"]["names"]
    check_wrapper(case.wrap, points=[Point.STACKS], subprocesses=True, steps=20)


# --- vector twins ---


@dataclass(frozen=True)
class Twins:
    """A vector wrapper and the wrapper it is the twin of."""

    vectorised: Wrap
    single: Wrap
    make_env: Callable[[], Env] = make_scripted_env


def twins(name: str, planner: Any, make_env: Callable[[], Env], **options: Any) -> Twins:
    both = [
        stacked(
            goals_of(planner, vectorised=vectorised),
            partial(getattr(module, name), schedule=0.5, **options),
        )
        for module, vectorised in ((vector, True), (wrappers, False))
    ]
    return Twins(*both, make_env)


mask_twins = partial(twins, "ActionMaskWrapper", PLANNER)
bounds_twins = partial(twins, "ActionBoundsWrapper", PLANNER)
FALLING = {"kind": "three_stage_cosine"}

TWINS: dict[str, dict[str, Twins]] = {
    "GoalObservationWrapper": {
        "box": Twins(VECTOR_GOAL, GOAL),
        "dict": Twins(VECTOR_GOAL, GOAL, scripted(observation_space=DICT)),
        "number": Twins(VECTOR_GOAL, GOAL, scripted(observation_space=gym.spaces.Discrete(3))),
        "cartpole": Twins(VECTOR_GOAL, GOAL, short_cartpole),
        "every step": Twins(
            partial(VECTOR_GOAL, reselect="every_step", encoder="hashing:8"),
            partial(GOAL, reselect="every_step", encoder="hashing:8"),
        ),
        "argmax": Twins(
            partial(VECTOR_GOAL, selection="argmax"), partial(GOAL, selection="argmax")
        ),
        "failing": Twins(goals_of(FAILING, vectorised=True), goals_of(FAILING)),
        "names": Twins(
            partial(vector.GoalObservationWrapper, planner="random", goals=GOALS), NAMED_GOAL
        ),
        "none": Twins(
            partial(vector.GoalObservationWrapper, planner="none", goals=GOALS),
            partial(wrappers.GoalObservationWrapper, planner="none", goals=GOALS),
        ),
    },
    "ActionMaskWrapper": {
        "discrete": mask_twins(make_scripted_env, masks=MASKS),
        "discrete from 5": mask_twins(
            scripted(action_space=gym.spaces.Discrete(3, start=5)), masks=MASKS, enforce="resample"
        ),
        "resample": mask_twins(make_scripted_env, masks=MASKS, enforce="resample"),
        "penalty": mask_twins(make_scripted_env, masks=MASKS, enforce="penalty", penalty=0.7),
        "multi-discrete": mask_twins(
            scripted(action_space=MULTI_DISCRETE), masks=MULTI_DISCRETE_MASKS, enforce="resample"
        ),
        "multi-binary": mask_twins(
            scripted(action_space=MULTI_BINARY), masks=MULTI_BINARY_MASKS, enforce="resample"
        ),
        "masks below": mask_twins(EnvWithMasks, masks=MASKS, enforce="resample"),
        "failing": twins("ActionMaskWrapper", FAILING, make_scripted_env, masks=MASKS),
        "cartpole": mask_twins(short_cartpole, masks={"left": [0], "right": [1]}),
        "two masks": Twins(
            *(
                stacked(
                    goals_of(PLANNER, vectorised=vectorised),
                    partial(module.ActionMaskWrapper, masks=MASKS, schedule=FALLING),
                    partial(
                        module.ActionMaskWrapper,
                        masks={"left": [0, 1], "wait": [1]},
                        schedule=0.5,
                        enforce="resample",
                    ),
                )
                for module, vectorised in ((vector, True), (wrappers, False))
            )
        ),
    },
    "ActionBoundsWrapper": {
        "box": bounds_twins(scripted(action_space=BOX), bounds=BOUNDS),
        "failing": twins("ActionBoundsWrapper", FAILING, scripted(action_space=BOX), bounds=BOUNDS),
        "pendulum": bounds_twins(short_pendulum, bounds={"left": (-2.0, 0.0)}),
    },
}


@pytest.mark.parametrize("name", vector.__all__)
def test_every_exported_vector_wrapper_has_twins(name: str) -> None:
    assert name in TWINS, f"{name} is exported: add a case for the conformance kit here"
    assert getattr(vector, name) is not getattr(wrappers, name)


@pytest.mark.filterwarnings("ignore:the planner failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.parametrize("pair", every(TWINS))
def test_vector_wrapper_does_what_its_twin_does(pair: Twins) -> None:
    check_vector_wrapper(pair.vectorised, pair.single, make_env=pair.make_env)


@pytest.mark.parametrize("mode", list(gym.vector.AutoresetMode))
def test_vector_wrappers_read_goals_and_masks_of_the_sub_environments(mode: Any) -> None:
    """The goal may be set, and masks may be offered, below the vector environment."""
    layers = partial(wrappers.ActionMaskWrapper, masks={"left": [0, 1]})
    make_env = partial(stacked(GOAL, layers), EnvWithMasks())
    envs = gym.vector.SyncVectorEnv([make_env], autoreset_mode=mode)
    both = vector.ActionMaskWrapper(envs, masks=MASKS, enforce="resample")
    both.reset(seed=0)
    for _ in range(20):
        (single,) = envs.envs
        mask, (goal,) = both.action_masks()[0], envs.call("current_goal")
        inner = single.get_wrapper_attr("action_masks")()
        allowed = [action in MASKS.get(goal, range(3)) for action in range(3)]
        assert mask.tolist() in ((inner & allowed).tolist(), inner.tolist())
        *_, terminated, truncated, _ = both.step([1])
        if mode == gym.vector.AutoresetMode.DISABLED and (terminated | truncated).any():
            both.reset(options={"reset_mask": terminated | truncated})
    both.set_progress(0.5)


def test_vector_wrappers_read_masks_in_other_processes() -> None:
    envs = gym.vector.AsyncVectorEnv([EnvWithMasks] * 2)
    try:
        both = vector.ActionMaskWrapper(VECTOR_GOAL(envs), masks={})
        both.reset(seed=0)
        both.step([1, 1])
        assert both.action_masks().tolist() == [[False, True, True]] * 2
    finally:
        envs.close()
