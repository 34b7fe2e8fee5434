"""Every exported vector wrapper does what its twin for single environments does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    judge_that_fails,
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
    ScriptedEnv,
    ScriptedPlanner,
    check_vector_wrapper,
    make_scripted_env,
)
from llm_wrappers.wrappers import vector

Env = gym.Env[Any, Any]
Wrap = Callable[[Any], Any]

PLANNER = ScriptedPlanner(sampled_goals)
FAILING = FailingPlanner(sampled_goals, fails=fails_here)
GOAL = goals_of(PLANNER)
VECTOR_GOAL = goals_of(PLANNER, vectorised=True)


@dataclass(frozen=True)
class Twins:
    """A vector wrapper and the wrapper it is the twin of."""

    vectorised: Wrap
    single: Wrap
    make_env: Callable[[], Env] = make_scripted_env


class SometimesSuccessful(ScriptedEnv):
    """It says whether an action succeeded, and nothing of it at a reset."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "success": self.steps % 3 > 0}


def twins(name: str, planner: Any, make_env: Callable[[], Env], **options: Any) -> Twins:
    both = [
        stacked(
            goals_of(planner, vectorised=vectorised),
            partial(getattr(module, name), schedule=0.5, **options),
        )
        for module, vectorised in ((vector, True), (wrappers, False))
    ]
    return Twins(*both, make_env)


def reward_twins(make_env: Callable[[], Env] = make_scripted_env, **options: Any) -> Twins:
    return Twins(rewarded(vectorised=True, **options), rewarded(**options), make_env)


def shift_twins(make_env: Callable[[], Env] = make_scripted_env, **options: Any) -> Twins:
    return Twins(shifted(vectorised=True, **options), shifted(**options), make_env)


def override_twins(make_env: Callable[[], Env] = make_scripted_env, **options: Any) -> Twins:
    return Twins(overriding(vectorised=True, **options), overriding(**options), make_env)


mask_twins = partial(twins, "ActionMaskWrapper", PLANNER)
bounds_twins = partial(twins, "ActionBoundsWrapper", PLANNER)
FALLING = {"kind": "three_stage_cosine"}
CAPTION = partial(wrappers.CaptionObservationWrapper, encoder="hashing:8")
VECTOR_CAPTION = partial(vector.CaptionObservationWrapper, encoder="hashing:8")

RECORDED = Twins(vector.TrajectoryRecorder, wrappers.TrajectoryRecorder)

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
            partial(vector.GoalObservationWrapper, planner="random", goals=GOALS),
            partial(wrappers.GoalObservationWrapper, planner="random", goals=GOALS),
        ),
        "none": Twins(
            partial(vector.GoalObservationWrapper, planner="none", goals=GOALS),
            partial(wrappers.GoalObservationWrapper, planner="none", goals=GOALS),
        ),
    },
    "CaptionObservationWrapper": {
        "box": Twins(VECTOR_CAPTION, CAPTION),
        "dict": Twins(VECTOR_CAPTION, CAPTION, scripted(observation_space=DICT)),
        "number": Twins(
            VECTOR_CAPTION, CAPTION, scripted(observation_space=gym.spaces.Discrete(3))
        ),
        "cartpole": Twins(VECTOR_CAPTION, CAPTION, short_cartpole),
        "goal below": Twins(stacked(VECTOR_GOAL, VECTOR_CAPTION), stacked(GOAL, CAPTION)),
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
        "observed": mask_twins(EnvWithMasks, masks=MASKS, observe_mask=True),
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
    "CriticalStateOverrideWrapper": {
        "box": override_twins(),
        "dict": override_twins(
            scripted(observation_space=DICT),
            critical_states=table([1, 3], key="exact", part="count"),
            probability=FALLING,
        ),
        "number": override_twins(
            scripted(observation_space=gym.spaces.Discrete(3)),
            critical_states=table([0, 2], key="exact"),
        ),
        "now and then": override_twins(probability=0.5, reward="state", schedule=FALLING),
        "reward only": override_twins(mode="R"),
        "mask": override_twins(advice="mask", probability=0.5),
        "masks below": override_twins(EnvWithMasks, probability=0.5),
        "masks below, mask": override_twins(EnvWithMasks, advice="mask"),
        "box actions": override_twins(
            scripted(action_space=BOX), critical_states=table(actions=[[0.5, -3.0], [1.0, 1.0]])
        ),
        "multi-discrete": override_twins(
            scripted(action_space=MULTI_DISCRETE),
            critical_states=table(actions=[[0, 1], [2, 0]]),
        ),
        "multi-binary": override_twins(
            scripted(action_space=MULTI_BINARY),
            critical_states=table(actions=[[0, 1, 0], [1, 1, 1]]),
        ),
        "off": override_twins(training=False),
        "cartpole": override_twins(
            short_cartpole,
            critical_states=table([[0.0, 0.0, 0.0, 0.0]], key="nearest:0.1"),
        ),
        "two overrides": Twins(
            *(
                stacked(
                    overriding(vectorised=vectorised, probability=0.5),
                    overriding(vectorised=vectorised, probability=0.5),
                )
                for vectorised in (True, False)
            )
        ),
    },
    "RewardShiftWrapper": {
        "box": shift_twins(),
        "dict": shift_twins(scripted(observation_space=DICT), scale=0.5, schedule=FALLING),
        "number": shift_twins(scripted(observation_space=gym.spaces.Discrete(3)), only="positive"),
        "multi-discrete": shift_twins(scripted(action_space=MULTI_DISCRETE)),
        "multi-binary": shift_twins(scripted(action_space=MULTI_BINARY)),
        "box actions": shift_twins(scripted(action_space=BOX)),
        "now and then": shift_twins(consult_every=2, consult_probability=0.5),
        "potential": shift_twins(judge=height, mode="potential", gamma=0.9),
        "potential, weighed": shift_twins(
            judge=height, mode="potential", gamma=0.9, scale=0.5, schedule=FALLING
        ),
        "failing": shift_twins(judge=judge_that_fails),
        "off": shift_twins(training=False),
        "cartpole": shift_twins(short_cartpole, judge="random"),
        "two shifts": Twins(
            *(
                stacked(
                    shifted(vectorised=vectorised, consult_probability=0.5),
                    shifted(vectorised=vectorised, consult_probability=0.5),
                )
                for vectorised in (True, False)
            )
        ),
    },
    "SimilarityRewardWrapper": {
        "box": reward_twins(),
        "dict": reward_twins(scripted(observation_space=DICT), observe_goals=True, key="text"),
        "number": reward_twins(
            scripted(observation_space=gym.spaces.Discrete(3)), observe_goals=True
        ),
        "goals observed": reward_twins(observe_goals=True, encoder="hashing:16"),
        "paid again": reward_twins(novelty=False, threshold=0.3, aliases=[["go left", "go wait"]]),
        "added": reward_twins(
            combine="add", similarity_weight=2.0, extrinsic_weight=0.5, schedule=FALLING
        ),
        "untouched": reward_twins(combine="add", similarity_weight=0.0),
        "multi-discrete": reward_twins(scripted(action_space=MULTI_DISCRETE)),
        "multi-binary": reward_twins(scripted(action_space=MULTI_BINARY)),
        "box actions": reward_twins(scripted(action_space=BOX), suggester=["go left"]),
        "success": reward_twins(SometimesSuccessful, success_key="success", observe_goals=True),
        "success unobserved": reward_twins(SometimesSuccessful, success_key="success"),
        "failing": reward_twins(suggester=fails_sometimes),
        "failing, observed": reward_twins(suggester=fails_sometimes, observe_goals=True),
        "cartpole": reward_twins(short_cartpole),
        "default captions": Twins(
            partial(vector.SimilarityRewardWrapper, suggester=["took action 1"], threshold=0.2),
            partial(wrappers.SimilarityRewardWrapper, suggester=["took action 1"], threshold=0.2),
        ),
        "two rewards": Twins(
            *(
                stacked(
                    rewarded(vectorised=vectorised, suggester=["go left"]),
                    rewarded(vectorised=vectorised, suggester=["go right"], combine="add"),
                )
                for vectorised in (True, False)
            )
        ),
    },
    "TrajectoryRecorder": {
        "box": RECORDED,
        "dict": replace(RECORDED, make_env=scripted(observation_space=DICT)),
        "cartpole": replace(RECORDED, make_env=short_cartpole),
        "multi-binary": replace(RECORDED, make_env=scripted(action_space=MULTI_BINARY)),
        "box actions": replace(RECORDED, make_env=scripted(action_space=BOX)),
        "few": Twins(
            partial(vector.TrajectoryRecorder, captions=False, max_episodes=2),
            partial(wrappers.TrajectoryRecorder, captions=False, max_episodes=2),
        ),
        "below a goal": Twins(
            stacked(vector.TrajectoryRecorder, VECTOR_GOAL),
            stacked(wrappers.TrajectoryRecorder, GOAL),
        ),
    },
}


@pytest.mark.parametrize("name", vector.__all__)
def test_every_exported_vector_wrapper_has_twins(name: str) -> None:
    assert name in TWINS, f"{name} is exported: add a case for the conformance kit here"
    assert getattr(vector, name) is not getattr(wrappers, name)


@pytest.mark.filterwarnings("ignore:the planner failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.filterwarnings("ignore:the suggester failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.filterwarnings("ignore:the judge failed:llm_wrappers.errors.GuidanceWarning")
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
    envs = gym.vector.AsyncVectorEnv([EnvWithMasks] * 2, context="spawn")
    try:
        both = vector.ActionMaskWrapper(VECTOR_GOAL(envs), masks={})
        both.reset(seed=0)
        both.step([1, 1])
        assert both.action_masks().tolist() == [[False, True, True]] * 2
    finally:
        envs.close()


COUNTED = [TWINS[name][title] for name, title in (
    ("GoalObservationWrapper", "failing"),
    ("ActionMaskWrapper", "resample"),
    ("ActionBoundsWrapper", "box"),
    ("SimilarityRewardWrapper", "failing, observed"),
    ("RewardShiftWrapper", "failing"),
    ("CriticalStateOverrideWrapper", "masks below"),
)]  # fmt: skip


def counters(state: Any, path: str = "") -> dict[str, int]:
    if isinstance(state, dict):
        return {
            k: v for key, part in state.items() for k, v in counters(part, f"{path}/{key}").items()
        }
    return {path: state} if type(state) is int else {}


@pytest.mark.filterwarnings("ignore:the planner failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.filterwarnings("ignore:the suggester failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.filterwarnings("ignore:the judge failed:llm_wrappers.errors.GuidanceWarning")
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(
    "pair", COUNTED, ids=["goal", "mask", "bounds", "reward", "shift", "override"]
)
def test_vector_wrappers_count_and_save_what_their_twins_do(pair: Twins, mode: Any) -> None:
    singles = gym.vector.SyncVectorEnv(
        [lambda: pair.single(pair.make_env())] * 3, autoreset_mode=mode
    )
    both = pair.vectorised(gym.vector.SyncVectorEnv([pair.make_env] * 3, autoreset_mode=mode))
    actions = both.action_space
    actions.seed(1)
    for envs in (singles, both):
        envs.reset(seed=5)
    for _ in range(40):
        action = actions.sample()
        singles.step(action)
        both.step(action)
    counts = counters(both.state_dict()["parts"])
    assert sum(counts.values()) > 3 * 20
    each = [counters(state["parts"]) for state in singles.call("state_dict")]
    for name, count in counts.items():
        # How often somebody is asked, and encodes, depends on who is asked together.
        if not name.endswith(("_asked", "planned", "remembered", "encoded")):
            assert count == sum(single[name] for single in each), name
    other = pair.vectorised(gym.vector.SyncVectorEnv([pair.make_env] * 3, autoreset_mode=mode))
    other.load_state_dict(both.state_dict())
    assert other.stats() == both.stats()
    assert other.all_stats() != {}


def test_action_bounds_are_those_of_each_sub_environment() -> None:
    pair = TWINS["ActionBoundsWrapper"]["box"]
    singles = gym.vector.SyncVectorEnv([lambda: pair.single(pair.make_env())] * 3)
    both = pair.vectorised(gym.vector.SyncVectorEnv([pair.make_env] * 3))
    for envs in (singles, both):
        envs.reset(seed=5)
    for _ in range(20):
        lows, highs = both.action_bounds()
        for row, (low, high) in enumerate(singles.call("action_bounds")):
            assert lows[row].tolist() == low.tolist()
            assert highs[row].tolist() == high.tolist()
        action = both.action_space.sample()
        singles.step(action)
        both.step(action)
