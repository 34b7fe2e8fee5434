"""Every exported wrapper keeps the contract, and its vector twin does what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from wrapper_doubles import (
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
    fails_sometimes,
    height,
    judge_that_fails,
    overriding,
    rewarded,
    sampled_goals,
    scripted,
    shifted,
    short_cartpole,
    short_pendulum,
    stacked,
    table,
)

from llm_wrappers import wrappers
from llm_wrappers.testing import (
    FailingPlanner,
    Point,
    ScriptedEnv,
    ScriptedPlanner,
    check_vector_wrapper,
    check_wrapper,
    make_scripted_env,
)
from llm_wrappers.wrappers import vector

Env = gym.Env[Any, Any]
Wrap = Callable[[Any], Any]
# Of `wrappers` or `wrappers.vector`: what puts layers of it around an environment.
Layers = Callable[[Any], Wrap]

# Objects among the arguments are no JSON; this is said, and no fault.
NO_JSON = {Point.SPEC: "arguments are no JSON, so the spec was not saved as JSON"}
NO_SPEC = {
    Point.SPEC: "make_env gives an environment without a spec",
    Point.STACKS: "make_vec was left out, because make_env gives no spec",
}
FALLING = {"kind": "three_stage_cosine"}
READINGS = ("action_masks", "action_bounds", "current_goal", "current_suggestions")
NUMBER = gym.spaces.Discrete(3)
FROM_5 = gym.spaces.Discrete(3, start=5)


@dataclass(frozen=True)
class Case:
    """Layers, and those with neutral settings; what of them cannot be checked.

    Args:
        layers: What is checked.
        neutral: The same with settings that change nothing; None where there are none.
        make_env: Makes the environment below.
        skipped: What the kit leaves out; None for anything.
        is_slow: Whether it is one of many, which `make test-slow` tries.
    """

    layers: Layers
    neutral: Layers | None = None
    make_env: Callable[[], Env] = make_scripted_env
    skipped: Mapping[Point, str] | None = field(default_factory=lambda: NO_JSON)
    is_slow: bool = False


def layer(name: str, **options: Any) -> Layers:
    return lambda kinds: partial(getattr(kinds, name), **options)


def stack(*layers: Layers) -> Layers:
    return lambda kinds: stacked(*(one(kinds) for one in layers))


def double(make: Callable[..., Wrap], **options: Any) -> Layers:
    """Return the layers of a double that takes ``vectorised``."""
    return lambda kinds: make(vectorised=kinds is vector, **options)


goal = partial(layer, "GoalObservationWrapper", goals=GOALS)
mask = partial(layer, "ActionMaskWrapper")
bounds = partial(layer, "ActionBoundsWrapper")
caption = partial(layer, "CaptionObservationWrapper", encoder="hashing:8")
recorder = partial(layer, "TrajectoryRecorder")
override = partial(double, overriding)
shift = partial(double, shifted)
similarity = partial(double, rewarded)

PLANNER = ScriptedPlanner(sampled_goals)
GOAL, NAMED, NONE = goal(planner=PLANNER), goal(planner="random"), goal(planner="none")


def failing(how: str = "no list") -> Layers:
    return goal(planner=FailingPlanner(sampled_goals, fails=fails_here, how=how))


def masked(
    make_env: Callable[[], Env], masks: Any, *, below: Layers = GOAL, **options: Any
) -> Case:
    kept = {name: options.pop(name) for name in ("skipped", "is_slow") if name in options}
    one = partial(mask, masks=masks, **options)
    return Case(stack(below, one(schedule=0.5)), stack(below, one(schedule=0.0)), make_env, **kept)


class SometimesSuccessful(ScriptedEnv):
    """It says whether an action succeeded, and nothing of it at a reset."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        *rest, info = super().step(action)
        return (*rest, {**info, "success": self.steps % 3 > 0})  # type: ignore[return-value]


UNADVISED = override(critical_states="none")
UNSHIFTED = shift(scale=0.0)
UNREWARDED = similarity(combine="add", similarity_weight=0.0)
UNREWARDED_GOALS = similarity(combine="add", schedule=0.0, observe_goals=True)
OTHER_MASK = mask(masks={"left": [0, 1], "wait": [1]}, schedule=0.5, enforce="resample")

# One case for each method, each branch of `act`, `pay` and `show`, and each kind of space; the
# others vary what these have.
CASES: dict[str, dict[str, Case]] = {
    "GoalObservationWrapper": {
        "box": Case(GOAL, GOAL),
        "dict": Case(
            goal(planner=PLANNER, reselect="every_step", encoder="hashing:8"),
            GOAL,
            scripted(observation_space=DICT),
        ),
        "number": Case(
            goal(planner=PLANNER, selection="argmax"), GOAL, scripted(observation_space=NUMBER)
        ),
        "failing": Case(failing()),
        "raising": Case(failing("raises")),
        "names": Case(NAMED, NAMED, skipped={}),
        "none": Case(NONE, NONE, skipped={}, is_slow=True),
        "too many": Case(failing("too many lists"), is_slow=True),
        "unknown": Case(failing("unknown goal"), is_slow=True),
        "cartpole": Case(GOAL, GOAL, short_cartpole, is_slow=True),
        "pendulum": Case(GOAL, GOAL, short_pendulum, is_slow=True),
    },
    "CaptionObservationWrapper": {
        "dict": Case(caption(), caption(), scripted(observation_space=DICT)),
        "box": Case(caption(), caption(), skipped={}),
        "goal below": Case(stack(GOAL, caption()), GOAL, is_slow=True),
        "number": Case(caption(), None, scripted(observation_space=NUMBER), is_slow=True),
        "cartpole": Case(caption(), caption(), short_cartpole, skipped={}, is_slow=True),
    },
    "ActionMaskWrapper": {
        "resample from 5": masked(
            scripted(action_space=FROM_5),
            MASKS,
            enforce="resample",
            # Stable-Baselines3 refuses such spaces.
            skipped=None,
        ),
        "multi-discrete": masked(
            scripted(action_space=MULTI_DISCRETE), MULTI_DISCRETE_MASKS, enforce="resample"
        ),
        "penalty": masked(make_scripted_env, MASKS, enforce="penalty", penalty=0.7),
        "masks below, observed": masked(EnvWithMasks, MASKS, observe_mask=True, skipped=NO_SPEC),
        "two masks": Case(
            stack(GOAL, mask(masks=MASKS, schedule=FALLING), OTHER_MASK), GOAL, skipped=NO_JSON
        ),
        "names": Case(
            stack(NAMED, mask(masks="random")), stack(NAMED, mask(masks="none")), skipped={}
        ),
        "failing": masked(make_scripted_env, MASKS, below=failing(), is_slow=True),
        "multi-binary": masked(
            scripted(action_space=MULTI_BINARY),
            MULTI_BINARY_MASKS,
            enforce="resample",
            is_slow=True,
        ),
        "discrete": masked(make_scripted_env, MASKS, is_slow=True),
        "dict": masked(scripted(observation_space=DICT), MASKS, is_slow=True),
        "cartpole": masked(short_cartpole, {"left": [0], "right": [1]}, is_slow=True),
    },
    "ActionBoundsWrapper": {
        "box": Case(
            stack(GOAL, bounds(bounds=BOUNDS, schedule=0.5)),
            stack(GOAL, bounds(bounds={})),
            scripted(action_space=BOX),
        ),
        "failing": Case(
            stack(failing(), bounds(bounds=BOUNDS, schedule=0.5)),
            None,
            scripted(action_space=BOX),
            is_slow=True,
        ),
        "pendulum": Case(
            stack(NAMED, bounds(bounds={"left": (-2.0, 0.0)}, schedule=0.5)),
            stack(NAMED, bounds(bounds={"left": (-1.0, 0.0)}, schedule=0.0)),
            short_pendulum,
            skipped={},
            is_slow=True,
        ),
    },
    "CriticalStateOverrideWrapper": {
        "dict": Case(
            override(critical_states=table([1, 3], key="exact", part="count"), probability=FALLING),
            UNADVISED,
            scripted(observation_space=DICT),
        ),
        "now and then": Case(
            override(probability=0.5, reward="state", schedule=FALLING), override(training=False)
        ),
        "mask, masks below": Case(
            override(advice="mask", probability=0.5), UNADVISED, EnvWithMasks, skipped=NO_SPEC
        ),
        "box actions": Case(
            override(critical_states=table(actions=[[0.5, -3.0], [1.0, 1.0]])),
            UNADVISED,
            scripted(action_space=BOX),
        ),
        "multi-discrete": Case(
            override(critical_states=table(actions=[[0, 1], [2, 0]])),
            UNADVISED,
            scripted(action_space=MULTI_DISCRETE),
        ),
        "masks below": Case(
            override(probability=0.5), UNADVISED, EnvWithMasks, skipped=NO_SPEC, is_slow=True
        ),
        "names": Case(UNADVISED, UNADVISED, skipped={}, is_slow=True),
        "action only": Case(override(mode="A"), override(mode="A", probability=0.0), is_slow=True),
        "reward only": Case(
            override(mode="R", reward="state"), override(mode="R", alpha=0.0), is_slow=True
        ),
        "off": Case(override(training=False), override(training=False), is_slow=True),
        "multi-binary": Case(
            override(critical_states=table(actions=[[0, 1, 0], [1, 1, 1]])),
            UNADVISED,
            scripted(action_space=MULTI_BINARY),
            is_slow=True,
        ),
        "number": Case(
            override(critical_states=table([0, 2], key="exact")),
            UNADVISED,
            scripted(observation_space=NUMBER),
            is_slow=True,
        ),
        "cartpole": Case(
            override(critical_states=table([[0.0] * 4], key="nearest:0.1")),
            UNADVISED,
            short_cartpole,
            is_slow=True,
        ),
        "two overrides": Case(
            stack(override(probability=0.5), override(probability=0.5)), is_slow=True
        ),
        "below a goal": Case(stack(override(), GOAL), stack(UNADVISED, GOAL), is_slow=True),
    },
    "RewardShiftWrapper": {
        "weighed": Case(shift(scale=0.5, schedule=FALLING), UNSHIFTED),
        "now and then": Case(shift(consult_every=2, consult_probability=0.5), shift(schedule=0.0)),
        "potential": Case(
            shift(judge=height, mode="potential", gamma=0.9, scale=0.5, schedule=FALLING),
            shift(judge=height, mode="potential", gamma=0.9, scale=0.0),
        ),
        "failing": Case(shift(judge=judge_that_fails)),
        "names": Case(shift(judge="random", only="positive"), shift(judge="none"), skipped={}),
        "multi-discrete": Case(
            shift(), UNSHIFTED, scripted(action_space=MULTI_DISCRETE), is_slow=True
        ),
        "multi-binary": Case(shift(), UNSHIFTED, scripted(action_space=MULTI_BINARY), is_slow=True),
        "box actions": Case(shift(), UNSHIFTED, scripted(action_space=BOX), is_slow=True),
        "number": Case(
            shift(only="positive"), UNSHIFTED, scripted(observation_space=NUMBER), is_slow=True
        ),
        "cartpole": Case(shift(only="negative"), UNSHIFTED, short_cartpole, is_slow=True),
        "off": Case(shift(training=False), shift(training=False), is_slow=True),
        "below a goal": Case(stack(shift(), GOAL), stack(UNSHIFTED, GOAL), is_slow=True),
        "two shifts": Case(
            stack(shift(consult_probability=0.5), shift(consult_probability=0.5)), is_slow=True
        ),
    },
    "SimilarityRewardWrapper": {
        "observed": Case(similarity(observe_goals=True, key="text"), UNREWARDED_GOALS),
        "added": Case(
            similarity(
                combine="add", similarity_weight=2.0, extrinsic_weight=0.5, schedule=FALLING
            ),
            UNREWARDED,
        ),
        "paid again": Case(
            similarity(novelty=False, threshold=0.3, aliases=[["go left", "go wait"]]), UNREWARDED
        ),
        "success": Case(
            similarity(success_key="success", observe_goals=True),
            None,
            SometimesSuccessful,
            skipped=None,
        ),
        "failing": Case(similarity(suggester=fails_sometimes, observe_goals=True)),
        "names": Case(
            layer("SimilarityRewardWrapper", suggester="fixed:took action 1", threshold=0.2),
            layer(
                "SimilarityRewardWrapper", suggester="none", combine="add", similarity_weight=0.0
            ),
            skipped={},
        ),
        "dict": Case(
            similarity(observe_goals=True, encoder="hashing:16"),
            UNREWARDED_GOALS,
            scripted(observation_space=DICT),
            is_slow=True,
        ),
        "untouched": Case(UNREWARDED, UNREWARDED, is_slow=True),
        "unobserved": Case(similarity(suggester=fails_sometimes), is_slow=True),
        "multi-discrete": Case(
            similarity(), UNREWARDED, scripted(action_space=MULTI_DISCRETE), is_slow=True
        ),
        "box actions": Case(
            similarity(suggester=["go left"]), UNREWARDED, scripted(action_space=BOX), is_slow=True
        ),
        "cartpole": Case(similarity(), UNREWARDED, short_cartpole, is_slow=True),
        "below a goal": Case(stack(similarity(), GOAL), stack(UNREWARDED, GOAL), is_slow=True),
        "two rewards": Case(
            stack(
                similarity(suggester=["go left"]),
                similarity(suggester=["go right"], combine="add"),
            ),
            is_slow=True,
        ),
    },
    "TrajectoryRecorder": {
        "dict": Case(recorder(), recorder(), scripted(observation_space=DICT)),
        "now and then": Case(
            recorder(every=2, max_episodes=2, metadata={"arm": "a"}),
            recorder(captions=False),
            skipped={},
        ),
        "below a goal": Case(stack(recorder(), GOAL), GOAL),
        "box actions": Case(recorder(), recorder(), scripted(action_space=BOX), is_slow=True),
        "multi-binary": Case(
            recorder(), recorder(), scripted(action_space=MULTI_BINARY), is_slow=True
        ),
        "cartpole": Case(recorder(), recorder(), short_cartpole, skipped={}, is_slow=True),
    },
}
# What fails by chance is said once, and no fault.
pytestmark = pytest.mark.filterwarnings(
    "ignore:the (planner|suggester|judge) failed:llm_wrappers.errors.GuidanceWarning"
)


def every() -> list[Any]:
    return [
        pytest.param(case, id=f"{name}-{title}", marks=[pytest.mark.slow] if case.is_slow else [])
        for name, cases in CASES.items()
        for title, case in cases.items()
    ]


@pytest.mark.parametrize("name", vector.__all__)
def test_every_exported_wrapper_has_a_case_and_a_twin(name: str) -> None:
    assert name in CASES, f"{name} is exported: add a case for the conformance kit here"
    assert getattr(vector, name) is not getattr(wrappers, name)
    assert {name for name in wrappers.__all__ if name[0].isupper()} == set(vector.__all__)


@pytest.mark.parametrize("case", every())
def test_a_wrapper_keeps_the_contract(case: Case) -> None:
    skipped = check_wrapper(
        case.layers(wrappers),
        make_env=case.make_env,
        neutral=None if case.neutral is None else case.neutral(wrappers),
        readings=READINGS,
        steps=40 if case.is_slow else 24,
    )
    if case.neutral is None:
        assert skipped.pop(Point.NEUTRAL) == "no factory with neutral settings was given"
    if case.skipped is not None:
        assert skipped == case.skipped


@pytest.mark.parametrize("case", every())
def test_a_vector_wrapper_does_what_its_twin_does(case: Case) -> None:
    steps = 60 if case.is_slow else 40
    layers = case.layers
    check_vector_wrapper(layers(vector), layers(wrappers), make_env=case.make_env, steps=steps)


@pytest.mark.slow
def test_wrappers_work_in_subprocesses() -> None:
    layers = CASES["ActionMaskWrapper"]["names"].layers
    check_wrapper(layers(wrappers), points=[Point.STACKS], subprocesses=True, steps=20)


# --- around sub-environments that have layers ---


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_wrappers_read_goals_and_masks_of_the_sub_environments(mode: Any) -> None:
    """The goal may be set, and masks may be offered, below the vector environment."""
    inside = stack(GOAL, mask(masks={"left": [0, 1]}))(wrappers)
    envs = SyncVectorEnv([lambda: inside(EnvWithMasks())], autoreset_mode=mode)
    both = vector.ActionMaskWrapper(envs, masks=MASKS, enforce="resample")
    both.reset(seed=0)
    for _ in range(20):
        (single,) = envs.envs
        got, (now,) = both.action_masks()[0], envs.call("current_goal")
        inner = single.get_wrapper_attr("action_masks")()
        allowed = [action in MASKS.get(now, range(3)) for action in range(3)]
        assert got.tolist() in ((inner & allowed).tolist(), inner.tolist())
        *_, terminated, truncated, _ = both.step([1])
        if mode == AutoresetMode.DISABLED and (terminated | truncated).any():
            both.reset(options={"reset_mask": terminated | truncated})
    both.set_progress(0.5)


def test_vector_wrappers_read_masks_in_other_processes() -> None:
    envs = AsyncVectorEnv([EnvWithMasks] * 2, context="spawn")
    try:
        both = vector.ActionMaskWrapper(GOAL(vector)(envs), masks={})
        both.reset(seed=0)
        both.step([1, 1])
        assert both.action_masks().tolist() == [[False, True, True]] * 2
    finally:
        envs.close()


# --- counters, states and bounds of twins ---


def counters(state: Any, path: str = "") -> dict[str, int]:
    if isinstance(state, dict):
        return {
            k: v for key, part in state.items() for k, v in counters(part, f"{path}/{key}").items()
        }
    return {path: state} if type(state) is int else {}


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("GoalObservationWrapper", "failing"),
        ("ActionMaskWrapper", "multi-discrete"),
        ("ActionBoundsWrapper", "box"),
        ("SimilarityRewardWrapper", "failing"),
        ("RewardShiftWrapper", "failing"),
        ("CriticalStateOverrideWrapper", "masks below"),
    ],
)
def test_vector_wrappers_count_and_save_what_their_twins_do(
    name: str, title: str, mode: Any
) -> None:
    case = CASES[name][title]

    def bare() -> Any:
        return SyncVectorEnv([case.make_env] * 3, autoreset_mode=mode)

    one = case.layers(wrappers)
    singles = SyncVectorEnv([lambda: one(case.make_env())] * 3, autoreset_mode=mode)
    both = case.layers(vector)(bare())
    both.action_space.seed(1)
    for envs in (singles, both):
        envs.reset(seed=5)
    for _ in range(40):
        action = both.action_space.sample()
        singles.step(action)
        both.step(action)
        if name == "ActionBoundsWrapper":
            assert [rows.tolist() for rows in both.action_bounds()] == [
                [rows.tolist() for rows in side]
                for side in zip(*singles.call("action_bounds"), strict=True)
            ]
    counts = counters(both.state_dict()["parts"])
    assert sum(counts.values()) > 3 * 20
    each = [counters(state["parts"]) for state in singles.call("state_dict")]
    for key, count in counts.items():
        # How often somebody is asked, and encodes, depends on who is asked together.
        if not key.endswith(("_asked", "planned", "remembered", "encoded")):
            assert count == sum(single[key] for single in each), key
    other = case.layers(vector)(bare())
    other.load_state_dict(both.state_dict())
    assert other.stats() == both.stats()
    assert other.all_stats() != {}
