"""Every exported wrapper keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import pytest
from critical_doubles import overriding, table
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
    every,
    fails_here,
    fails_sometimes,
    goals_of,
    height,
    rewarded,
    sampled_goals,
    scripted,
    shifted,
    short_cartpole,
    short_pendulum,
    stacked,
)

from llm_wrappers import wrappers
from llm_wrappers.testing import (
    FailingPlanner,
    Point,
    ScriptedPlanner,
    check_wrapper,
    make_scripted_env,
)

Env = gym.Env[Any, Any]
Wrap = Callable[[Any], Any]

PLANNER = ScriptedPlanner(sampled_goals)
GOAL = goals_of(PLANNER)

# Objects among the arguments are no JSON; this is said, and no fault.
NO_JSON = {Point.SPEC: "arguments are no JSON, so the spec was not saved as JSON"}
NO_SPEC = {
    Point.SPEC: "make_env gives an environment without a spec",
    Point.STACKS: "make_vec was left out, because make_env gives no spec",
}


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

UNREWARDED = rewarded(combine="add", similarity_weight=0.0)

UNSHIFTED = shifted(scale=0.0)

UNADVISED = overriding(critical_states="none")

CAPTION = partial(wrappers.CaptionObservationWrapper, encoder="hashing:8")

RECORDED = wrappers.TrajectoryRecorder

CASES: dict[str, dict[str, Case]] = {
    "GoalObservationWrapper": {
        "box": Case(GOAL, GOAL),
        "dict": Case(GOAL, GOAL, scripted(observation_space=DICT)),
        "cartpole": Case(GOAL, GOAL, short_cartpole),
        "pendulum": Case(GOAL, GOAL, short_pendulum),
        "hashing": Case(partial(GOAL, encoder="hashing:8", reselect="every_step"), GOAL),
        "names": Case(NAMED_GOAL, NAMED_GOAL, skipped={}),
    },
    "CaptionObservationWrapper": {
        "box": Case(CAPTION, CAPTION, skipped={}),
        "dict": Case(CAPTION, CAPTION, scripted(observation_space=DICT)),
        "cartpole": Case(CAPTION, CAPTION, short_cartpole, skipped={}),
        "goal below": Case(stacked(GOAL, CAPTION), GOAL),
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
    "CriticalStateOverrideWrapper": {
        "box": Case(overriding(), UNADVISED),
        "dict": Case(
            overriding(critical_states=table([1, 3], key="exact", part="count")),
            UNADVISED,
            scripted(observation_space=DICT),
        ),
        "now and then": Case(
            overriding(probability=0.5, schedule={"kind": "linear", "start": 1.0, "end": 0.2}),
            overriding(training=False),
        ),
        "action only": Case(overriding(mode="A"), overriding(mode="A", probability=0.0)),
        "reward only": Case(overriding(mode="R", reward="state"), overriding(mode="R", alpha=0.0)),
        "mask": Case(
            overriding(advice="mask", probability=0.5),
            overriding(advice="mask", mode="A", probability=0.0),
        ),
        "masks below": Case(overriding(), UNADVISED, EnvWithMasks, skipped=NO_SPEC),
        "box actions": Case(
            overriding(critical_states=table(actions=[[0.5, -3.0], [1.0, 1.0]])),
            UNADVISED,
            scripted(action_space=BOX),
        ),
        "multi-discrete": Case(
            overriding(critical_states=table(actions=[[0, 1], [2, 0]])),
            UNADVISED,
            scripted(action_space=MULTI_DISCRETE),
        ),
        "multi-binary": Case(
            overriding(critical_states=table(actions=[[0, 1, 0], [1, 1, 1]])),
            UNADVISED,
            scripted(action_space=MULTI_BINARY),
        ),
        "below a goal": Case(stacked(overriding(), GOAL), stacked(UNADVISED, GOAL)),
        "names": Case(UNADVISED, UNADVISED, skipped={}),
    },
    "RewardShiftWrapper": {
        "box": Case(shifted(), UNSHIFTED),
        "dict": Case(shifted(scale=0.3), UNSHIFTED, scripted(observation_space=DICT)),
        "cartpole": Case(shifted(only="negative"), UNSHIFTED, short_cartpole),
        "box actions": Case(shifted(), UNSHIFTED, scripted(action_space=BOX)),
        "now and then": Case(
            shifted(consult_every=2, consult_probability=0.5),
            shifted(schedule=0.0),
        ),
        "potential": Case(
            shifted(judge=height, mode="potential", gamma=0.9),
            shifted(judge=height, mode="potential", gamma=0.9, scale=0.0),
        ),
        "below a goal": Case(stacked(shifted(), GOAL), stacked(UNSHIFTED, GOAL)),
        "names": Case(shifted(judge="random"), shifted(judge="none"), skipped={}),
    },
    "SimilarityRewardWrapper": {
        "box": Case(rewarded(), UNREWARDED),
        "dict": Case(rewarded(), UNREWARDED, scripted(observation_space=DICT)),
        "goals observed": Case(
            rewarded(observe_goals=True, encoder="hashing:16"),
            rewarded(observe_goals=True, combine="add", similarity_weight=0.0),
        ),
        "goals observed in a dict": Case(
            rewarded(observe_goals=True, key="text"),
            rewarded(combine="add", schedule=0.0),
            scripted(observation_space=DICT),
        ),
        "paid again": Case(rewarded(novelty=False, aliases=[]), UNREWARDED),
        "added": Case(
            rewarded(
                combine="add",
                extrinsic_weight=0.5,
                schedule={"kind": "linear", "start": 1.0, "end": 0.2},
            ),
            UNREWARDED,
        ),
        "multi-discrete": Case(rewarded(), UNREWARDED, scripted(action_space=MULTI_DISCRETE)),
        "box actions": Case(
            partial(wrappers.SimilarityRewardWrapper, suggester="none"),
            UNREWARDED,
            scripted(action_space=BOX),
        ),
        "cartpole": Case(rewarded(), UNREWARDED, short_cartpole),
        "below a goal": Case(stacked(rewarded(), GOAL), stacked(UNREWARDED, GOAL)),
        "names": Case(
            partial(wrappers.SimilarityRewardWrapper, suggester="fixed:go left", threshold=0.1),
            partial(
                wrappers.SimilarityRewardWrapper,
                suggester="fixed:go left",
                threshold=0.1,
                combine="add",
                schedule=0.0,
            ),
            skipped={},
        ),
    },
    "TrajectoryRecorder": {
        "box": Case(RECORDED, RECORDED, skipped={}),
        "dict": Case(RECORDED, RECORDED, scripted(observation_space=DICT)),
        "cartpole": Case(RECORDED, RECORDED, short_cartpole, skipped={}),
        "multi-discrete": Case(RECORDED, RECORDED, scripted(action_space=MULTI_DISCRETE)),
        "box actions": Case(RECORDED, RECORDED, scripted(action_space=BOX)),
        "now and then": Case(
            partial(wrappers.TrajectoryRecorder, every=2, max_episodes=2, metadata={"arm": "a"}),
            partial(wrappers.TrajectoryRecorder, captions=False),
            skipped={},
        ),
        "below a goal": Case(stacked(RECORDED, GOAL), GOAL),
    },
}


@pytest.mark.parametrize("name", [name for name in wrappers.__all__ if name[0].isupper()])
def test_every_exported_wrapper_has_a_case(name: str) -> None:
    assert name in CASES, f"{name} is exported: add a case for the conformance kit here"


@pytest.mark.parametrize("case", every(CASES))
def test_wrapper_keeps_the_contract(case: Case) -> None:
    skipped = check_wrapper(
        case.wrap,
        make_env=case.make_env,
        neutral=case.neutral,
        readings=("action_masks", "action_bounds", "current_goal", "current_suggestions"),
        steps=40,
    )
    if case.skipped is not None:
        assert skipped == case.skipped


@pytest.mark.filterwarnings("ignore:the planner failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.parametrize("how", ["raises", "too many lists", "unknown goal", "no list"])
def test_wrappers_keep_the_contract_with_a_planner_that_fails(how: str) -> None:
    planner = FailingPlanner(sampled_goals, fails=fails_here, how=how)
    mask = partial(wrappers.ActionMaskWrapper, masks=MASKS, schedule=0.5)
    check_wrapper(stacked(goals_of(planner), mask), points=set(Point) - {Point.NEUTRAL})


@pytest.mark.filterwarnings("ignore:the suggester failed:llm_wrappers.errors.GuidanceWarning")
def test_rewards_keep_the_contract_with_a_suggester_that_fails() -> None:
    check_wrapper(
        rewarded(suggester=fails_sometimes, observe_goals=True),
        points=set(Point) - {Point.NEUTRAL},
        readings=("current_suggestions",),
    )


def test_wrappers_work_in_subprocesses() -> None:
    case = CASES["ActionMaskWrapper"]["names"]
    check_wrapper(case.wrap, points=[Point.STACKS], subprocesses=True, steps=20)
