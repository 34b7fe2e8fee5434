"""Guidance states that are saved, lost, broken and restored."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from llm_wrappers import wrappers
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.wrappers import load_guidance, save_guidance, vector

GOALS = ["go left", "go right"]
CORNERS = np.random.default_rng(0).normal(0.0, 0.1, (40, 4)).astype(np.float32)
STATES = CriticalStates(
    [CriticalState(state=state, action=row % 2) for row, state in enumerate(CORNERS)]
)


def plan(facts: Any) -> Any:
    return [
        [("go left" if row["pole_angle_deg"] < 0 else "go right", np.float32(1)), ("go right", 0.5)]
        for row in facts
    ]


def judge(states: Any, actions: Any) -> Any:
    return [np.int64(1 - 2 * int(action)) for action in actions]


def stack(env: Any, kinds: Any = wrappers) -> Any:
    """Return all that draws, counts and adapts, around an environment or many."""
    env = kinds.TrajectoryRecorder(env)
    env = kinds.CaptionObservationWrapper(env, encoder="hashing:8")
    env = kinds.GoalObservationWrapper(env, planner=plan, goals=GOALS)
    env = kinds.ActionMaskWrapper(
        env, masks={"go left": [0]}, enforce="resample", schedule={"kind": "adaptive"}
    )
    env = kinds.CriticalStateOverrideWrapper(env, critical_states=STATES)
    env = kinds.SimilarityRewardWrapper(env, suggester=["push left"], combine="add")
    return kinds.RewardShiftWrapper(
        env, judge=judge, schedule={"kind": "adaptive"}, center=True, consult_probability=0.7
    )


def one() -> Any:
    return stack(gym.make("CartPole-v1", max_episode_steps=20))


def masked() -> Any:
    env = gym.make("CartPole-v1", max_episode_steps=20)
    goal = wrappers.GoalObservationWrapper(env, planner=plan, goals=GOALS)
    return wrappers.ActionMaskWrapper(goal, masks={"go left": [0]}, schedule=0.5)


def sync() -> Any:
    return stack(gym.vector.SyncVectorEnv([partial(gym.make, "CartPole-v1")] * 3), vector)


def inside() -> Any:
    return vector.RewardShiftWrapper(gym.vector.SyncVectorEnv([masked] * 2), judge=judge)


def inside_alone() -> Any:
    envs = gym.vector.SyncVectorEnv([masked] * 2)
    return gym.wrappers.vector.RecordEpisodeStatistics(envs)


def inside_workers() -> Any:
    return gym.vector.AsyncVectorEnv([masked] * 2)


def play(env: Any, steps: int) -> list[Any]:
    """Return what a random policy sees, with the clock left out."""
    rng = np.random.default_rng(5)
    n = getattr(env, "num_envs", None)
    seen = []
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(rng.integers(0, 2, n))
        for name in ("episode", "_episode"):
            info.pop(name, None)
        seen.append((observation, reward, terminated, truncated, info))
        if n is None and (terminated or truncated):
            seen.append(env.reset())
    return seen


def reseed(env: Any) -> None:
    """Make the environment below draw the same again, and leave the layers' own streams."""
    base = env.unwrapped
    for row, each in enumerate(getattr(base, "envs", [base])):
        each.unwrapped.np_random = np.random.default_rng(row)


@pytest.mark.parametrize("make", [one, sync, inside, inside_alone])
def test_a_restored_run_is_the_same_run(make: Any, tmp_path: Path) -> None:
    env, other = make(), make()
    env.reset(seed=0)
    play(env, 100)
    save_guidance(env, tmp_path / "state.json")
    load_guidance(other, tmp_path / "state.json")
    save_guidance(other, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "state.json").read_text()
    runs = []
    for each in (env, other):
        reseed(each)
        runs.append([each.reset(), play(each, 100)])
    assert data_equivalence(*runs, exact=True)


def test_layers_in_workers_alone_are_saved(tmp_path: Path) -> None:
    env, other = inside_workers(), inside_workers()
    try:
        env.reset(seed=0)
        play(env, 20)
        save_guidance(env, tmp_path / "state.json")
        load_guidance(other, tmp_path / "state.json")
        assert other.call("guidance_state") == env.call("guidance_state")
    finally:
        env.close()
        other.close()


def test_a_broken_state_does_not_end_workers(tmp_path: Path) -> None:
    env = inside_workers()
    try:
        env.reset(seed=0)
        save_guidance(env, tmp_path / "state.json")
        document = json.loads((tmp_path / "state.json").read_text())
        del document["stacks"][0][0]["sub_environments"][1][0]["state"]["parts"]
        (tmp_path / "broken.json").write_text(json.dumps(document))
        with pytest.raises(InvalidOptionError, match="sub-environment 1"):
            load_guidance(env, tmp_path / "broken.json")
        play(env, 5)
        load_guidance(env, tmp_path / "state.json")
    finally:
        env.close()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything that a document holds."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    for key in keys:
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("make", [one, inside])
def test_a_broken_state_is_refused_as_a_whole(make: Any, tmp_path: Path) -> None:
    env = make()
    env.reset(seed=0)
    play(env, 40)
    save_guidance(env, tmp_path / "state.json")
    document = json.loads((tmp_path / "state.json").read_text())
    before = env.guidance_state()
    refused = 0
    for path in list(places(document))[1:]:
        # An adaptive trust that has not seen enough has no evidence.
        for wrong in (None, "x", {}) if path[-1] != "evidence" else ():
            broken = copy.deepcopy(document)
            inner = broken
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == wrong:
                continue
            inner[path[-1]] = wrong
            (tmp_path / "broken.json").write_text(json.dumps(broken))
            try:
                load_guidance(env, tmp_path / "broken.json")
            except (InvalidOptionError, GuidanceFileError):
                refused += 1
                assert env.guidance_state() == before, path
            else:
                assert env.guidance_state() == before, (path, wrong)
    assert refused > 100


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    env = one()
    save_guidance(env, tmp_path / "state.json")
    text = (tmp_path / "state.json").read_text()
    for end in range(0, len(text), 500):
        (tmp_path / "cut.json").write_text(text[:end])
        with pytest.raises(GuidanceFileError):
            load_guidance(env, tmp_path / "cut.json")


def test_a_state_with_layers_is_none_of_layers_inside_alone(tmp_path: Path) -> None:
    save_guidance(inside(), tmp_path / "inside.json")
    save_guidance(inside_alone(), tmp_path / "alone.json")
    with pytest.raises(InvalidOptionError, match="in sub-environments alone"):
        load_guidance(inside_alone(), tmp_path / "inside.json")
    with pytest.raises(InvalidOptionError, match="expected the state of the layers"):
        load_guidance(inside(), tmp_path / "alone.json")
