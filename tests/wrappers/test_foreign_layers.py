"""Wrappers of Gymnasium and Stable-Baselines3 between our layers, and around all of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers as gym_wrappers
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as gym_vector
from stable_baselines3.common.monitor import Monitor
from stack_worlds import CART_POLE, NAMES, lost, play
from wrapper_doubles import always

from llm_wrappers import (
    GoalObservationWrapper,
    RewardShiftWrapper,
    TrajectoryRecorder,
    load_guidance,
    save_guidance,
)
from llm_wrappers.errors import GuidanceWarning, IncompatibleEnvironmentError
from llm_wrappers.sb3 import as_vec_env
from llm_wrappers.testing import Point, check_stack
from llm_wrappers.wrappers import vector
from llm_wrappers.wrappers._layer import Layer

Wrap = Callable[[Any], Any]


def half(reward: Any) -> Any:
    return 0.5 * reward


def depth(env: Any) -> int:
    return 0 if getattr(env, "env", None) is None else 1 + depth(env.env)


def with_statistics(env: Any) -> Any:
    """Record under a key of its own: two of them may not write to the same."""
    kinds: Any = gym_wrappers if isinstance(env, gym.Env) else gym_vector
    return kinds.RecordEpisodeStatistics(env, stats_key=f"episode {depth(env)}")


SINGLE: dict[str, Wrap] = {
    "RecordEpisodeStatistics": with_statistics,
    "NormalizeReward": gym_wrappers.NormalizeReward,
    "OrderEnforcing": gym_wrappers.OrderEnforcing,
    "Monitor": Monitor,
}
VECTOR: dict[str, Wrap] = {
    "RecordEpisodeStatistics": with_statistics,
    "NormalizeReward": gym_vector.NormalizeReward,
    "TransformReward": partial(gym_vector.TransformReward, func=half),
}
_single = pytest.mark.parametrize("name", SINGLE)
_vector = pytest.mark.parametrize("name", VECTOR)


def stacked(env: Any, foreign: Wrap, order: Sequence[str] = NAMES) -> Any:
    """Put a foreign wrapper around the environment and around each recipe."""
    env = foreign(env)
    for name in order:
        env = foreign(CART_POLE.recipes[name](env))
    return env


def make_vec(n: int = 2) -> Any:
    # What stands around the batch cannot be reset row by row, as the bridge would do otherwise.
    modes = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gym.make_vec("CartPole-v1", n, "sync", vector_kwargs=modes, **CART_POLE.options)


def layers_of_ours(env: Any) -> list[Any]:
    found = []
    while env is not None:
        if isinstance(env, Layer):
            found.append(env)
        env = getattr(env, "env", None)
    assert len(found) == 5
    return found


# --- single environments ---


@_single
def test_words_and_masks_pass_through(name: str) -> None:
    order = NAMES[::-1] if name == "Monitor" else NAMES
    env = stacked(CART_POLE.make(), SINGLE[name], order)
    assert lost(play(env, 40)) == []
    assert env.get_wrapper_attr("unguided")() == []
    env.reset(seed=0)
    *_, info = env.step(0)
    assert env.get_wrapper_attr("action_masks")().tolist() == info["action_mask"].tolist()


@_single
def test_it_may_stand_anywhere_in_the_order(name: str) -> None:
    factories = {name: SINGLE[name], "sgrl": CART_POLE.recipes["sgrl"]}
    points = [Point.STACK_WORDS, Point.STACK_ACTIONS, Point.STACK_MASKS, Point.STACK_PROGRESS]
    report = check_stack(factories, make_env=CART_POLE.make, points=points, steps=24)
    assert len(report.works) == 2
    assert not report.skipped


@_single
def test_every_layer_is_told_saved_and_loaded(name: str, tmp_path: Path) -> None:
    env = stacked(CART_POLE.make(), SINGLE[name])
    env.get_wrapper_attr("set_progress")(0.25)
    env.get_wrapper_attr("set_training")(False)
    told = [layer.state_dict() for layer in layers_of_ours(env)]
    assert [(state["progress"], state["training"]) for state in told] == [(0.25, False)] * 5
    env.get_wrapper_attr("set_training")(True)
    play(env, 30)
    save_guidance(env, tmp_path / "guidance.json")
    other = stacked(CART_POLE.make(), SINGLE[name])
    load_guidance(other, tmp_path / "guidance.json")
    states = [[layer.state_dict() for layer in layers_of_ours(each)] for each in (env, other)]
    assert json.loads(json.dumps(states[0])) == json.loads(json.dumps(states[1]))
    assert other.get_wrapper_attr("all_stats")()["CriticalStateOverrideWrapper"]["steps"] == 30


@pytest.mark.parametrize(
    "wrap",
    [
        gym_wrappers.FlattenObservation,
        partial(gym_wrappers.FrameStackObservation, stack_size=2),
        partial(gym_wrappers.StickyAction, repeat_action_probability=0.5),
    ],
    ids=["FlattenObservation", "FrameStackObservation", "StickyAction"],
)
def test_what_changes_observations_or_actions_may_stand_between_and_outside(wrap: Wrap) -> None:
    env = CART_POLE.stack(("sgrl", "ellm"), CART_POLE.make())
    env = wrap(CART_POLE.stack(("lmgt", "ultra"), wrap(env)))
    assert lost(play(env, 40)) == []
    assert env.get_wrapper_attr("unguided")() == []


def test_stats_name_every_layer_once() -> None:
    env = stacked(CART_POLE.make(), gym_wrappers.OrderEnforcing)
    assert list(env.get_wrapper_attr("all_stats")()) == [
        "CriticalStateOverrideWrapper", "RewardShiftWrapper", "SimilarityRewardWrapper",
        "ActionMaskWrapper", "GoalObservationWrapper",
    ]  # fmt: skip


def test_the_extrinsic_reward_is_that_of_the_environment_below_all_of_ours() -> None:
    env = CART_POLE.make()
    for name in NAMES:
        env = gym_wrappers.TransformReward(CART_POLE.recipes[name](env), half)
    env.reset(seed=0)
    for _ in range(5):
        _, reward, *_, info = env.step(0)
        assert info["extrinsic_reward"] == 1.0
        assert reward != 1.0


@pytest.mark.slow
def test_a_video_is_recorded_between_and_around_ours(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=5)
    for number, name in enumerate(NAMES):
        env = CART_POLE.recipes[name](env)
        env = gym_wrappers.RecordVideo(env, str(tmp_path / str(number)), disable_logger=True)
    env.get_wrapper_attr("set_progress")(0.25)
    play(env, 12)
    env.close()
    assert {layer.state_dict()["progress"] for layer in layers_of_ours(env)} == {0.25}
    for number in range(len(NAMES)):
        assert list((tmp_path / str(number)).glob("*.mp4"))


# --- vector environments, whose wrappers forward no attributes ---


@_vector
def test_words_and_masks_pass_through_vector_wrappers(name: str) -> None:
    order = NAMES[::-1] if name == "TransformReward" else NAMES
    envs = stacked(make_vec(3), VECTOR[name], order)
    vec_env = as_vec_env(envs)
    vec_env.seed(0)
    vec_env.reset()
    for _ in range(40):
        masks = np.array(vec_env.env_method("action_masks"))
        assert masks.shape == (3, 2)
        assert masks.any(axis=1).all()
        *_, infos = vec_env.step(np.array([envs.single_action_space.sample() for _ in range(3)]))
        # Of an episode that has ended, these are the masks of the last state.
        going_on = ["terminal_observation" not in info for info in infos]
        told = np.array([info["action_mask"] for info in infos])
        now = np.array(vec_env.env_method("action_masks"))
        assert (told == now)[going_on].all()
    assert vec_env.env_method("unguided") == [[]] * 3
    assert lost(vec_env.env_method("all_stats")[0]) == []
    vec_env.close()


@_vector
@pytest.mark.parametrize("through_sb3", [False, True])
def test_the_state_of_a_vector_stack_is_saved_and_loaded(
    name: str, through_sb3: bool, tmp_path: Path
) -> None:
    envs, others = (stacked(make_vec(), VECTOR[name]) for _ in range(2))
    envs.reset(seed=0)
    for _ in range(20):
        envs.step(envs.action_space.sample())
    one, other = (as_vec_env(envs), as_vec_env(others)) if through_sb3 else (envs, others)
    save_guidance(one, tmp_path / "guidance.json")
    load_guidance(other, tmp_path / "guidance.json")
    states = [[layer.state_dict() for layer in layers_of_ours(each)] for each in (envs, others)]
    assert json.loads(json.dumps(states[0])) == json.loads(json.dumps(states[1]))
    one.close()
    other.close()


@_vector
def test_ours_inside_of_the_sub_environments_are_reached_through_foreign_layers(
    name: str, tmp_path: Path
) -> None:
    """Foreign layers inside each sub-environment, around the batch, and a twin of ours on top."""

    def make() -> Any:
        return gym_wrappers.RecordEpisodeStatistics(CART_POLE.recipes["sgrl"](CART_POLE.make()))

    def build() -> Any:
        envs = VECTOR[name](SyncVectorEnv([make, make]))
        return VECTOR[name](CART_POLE.recipes["lmgt"](envs))

    envs = build()
    top = envs.env
    top.set_progress(0.25)
    envs.reset(seed=0)
    for _ in range(12):
        envs.step(envs.action_space.sample())
    base = envs.unwrapped
    assert [state[0]["state"]["progress"] for state in base.call("guidance_state")] == [0.25] * 2
    assert {"GoalObservationWrapper", "ActionMaskWrapper", "RewardShiftWrapper"} == set(
        top.all_stats()
    )
    assert top.unguided() == []
    save_guidance(envs, tmp_path / "guidance.json")
    other = build()
    load_guidance(other, tmp_path / "guidance.json")
    assert other.env.guidance_state() == envs.env.guidance_state()


def test_a_wrapper_above_ours_in_the_sub_environments_must_not_change_what_they_read() -> None:
    def made() -> Any:
        env = GoalObservationWrapper(
            gym.make("CartPole-v1"), planner=always("rest"), goals=["rest"]
        )
        wider = gym.spaces.Box(-9.0, 9.0, (4,), np.float32)
        space = gym.spaces.Dict({**env.observation_space.spaces, "obs": wider})
        return gym_wrappers.TransformObservation(env, lambda seen: seen, space)

    envs = SyncVectorEnv([made] * 2)
    with pytest.raises(IncompatibleEnvironmentError, match="outside of all guidance"):
        vector.RewardShiftWrapper(envs, judge="reference")


def test_the_kit_reaches_layers_that_a_foreign_vector_wrapper_hides() -> None:
    factories = {"lmgt": CART_POLE.recipes["lmgt"], "foreign": SINGLE["OrderEnforcing"]}
    vector_factories = {"lmgt": CART_POLE.recipes["lmgt"], "foreign": gym.vector.VectorWrapper}
    report = check_stack(
        factories,
        make_env=CART_POLE.make,
        vector_factories=vector_factories,
        points=[Point.VECTOR_TWIN],
    )
    assert len(report.works) == 2


# --- what cuts episodes off where ours cannot see it ---

_ENDLESS = {"max_episode_steps": 1000}


def never_ends() -> Any:
    return gym.make("Pendulum-v1", **_ENDLESS)


def adaptive(env: Any, **options: Any) -> Any:
    return RewardShiftWrapper(env, judge="reference", schedule={"kind": "adaptive"}, **options)


@pytest.mark.parametrize("wrap", [TrajectoryRecorder, adaptive], ids=["recorder", "adaptive"])
@pytest.mark.parametrize("between", [lambda env: env, gym_wrappers.OrderEnforcing])
def test_a_time_limit_outside_is_said_after_the_second_unseen_end(wrap: Any, between: Any) -> None:
    env = gym_wrappers.TimeLimit(between(wrap(never_ends())), 5)
    name = "TrajectoryRecorder" if wrap is TrajectoryRecorder else "RewardShiftWrapper"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _episodes(env, 2)
    with pytest.warns(GuidanceWarning, match=f"{name} never saw an episode end.*TimeLimit"):
        _episodes(env, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _episodes(env, 3)


@pytest.mark.parametrize("wrap", [TrajectoryRecorder, adaptive], ids=["recorder", "adaptive"])
def test_a_time_limit_inside_is_no_reason_to_warn(wrap: Any) -> None:
    env = wrap(gym_wrappers.TimeLimit(never_ends(), 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _episodes(env, 4)


def test_an_early_reset_now_and_then_is_no_reason_to_warn() -> None:
    env = TrajectoryRecorder(gym_wrappers.TimeLimit(never_ends(), 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            _episodes(env, 1)
            env.reset()
            env.step(np.zeros(1, np.float32))


def test_resets_from_outside_of_a_vector_stack_are_said_too() -> None:
    envs = vector.TrajectoryRecorder(gym.make_vec("Pendulum-v1", 2, "sync", **_ENDLESS))
    envs.reset(seed=0)
    for number in range(2):
        envs.step(envs.action_space.sample())
        if number == 1:
            with pytest.warns(GuidanceWarning, match="TrajectoryRecorder never saw an episode"):
                envs.reset()
        else:
            envs.reset()


def _episodes(env: Any, number: int) -> None:
    for _ in range(number):
        env.reset(seed=0)
        over = False
        while not over:
            *_, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
            over = terminated or truncated
