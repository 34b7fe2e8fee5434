"""The recorder writes down what happened, in single and in vector environments."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from wrapper_doubles import always, scripted, short_cartpole, short_pendulum, with_goal

from llm_wrappers import wrappers
from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.trajectories.files import TrajectoryFiles, open_trajectories
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import vector

Seen = list[dict[str, Any]]


def play(env: gym.Env[Any, Any], steps: int, seed: int = 3) -> Seen:
    """Play and return copies of what was seen of each episode that ended."""
    env.action_space.seed(seed)
    over, seen, running = True, [], {}
    for step in range(steps):
        if over:
            observation, _ = env.reset(seed=seed if step == 0 else None)
            running = {"observations": [observation], "actions": [], "rewards": []}
        action = env.action_space.sample()
        observation, reward, terminated, truncated, _ = env.step(action)
        running["observations"].append(observation)
        running["actions"].append(action)
        running["rewards"].append(float(reward))
        over = terminated or truncated
        if over:
            seen.append({**running, "terminated": terminated, "truncated": truncated})
    return seen


def rows_of(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        parts = map(rows_of, tree.values())
        return [dict(zip(tree, row, strict=True)) for row in zip(*parts, strict=True)]
    if isinstance(tree, tuple):
        return list(zip(*map(rows_of, tree), strict=True))
    return list(tree)


def assert_same(trajectory: Trajectory, seen: dict[str, Any]) -> None:
    for name in ("observations", "actions"):
        for row, expected in zip(rows_of(getattr(trajectory, name)), seen[name], strict=True):
            np.testing.assert_equal(row, expected)
    assert trajectory.rewards.tolist() == seen["rewards"]
    assert trajectory.terminated == seen["terminated"]
    assert trajectory.truncated == seen["truncated"]


@pytest.mark.parametrize("where", ["memory", "folder"])
@pytest.mark.parametrize(
    "make_env",
    [
        short_cartpole,
        short_pendulum,
        partial(gym.make, "Blackjack-v1"),
        partial(gym.make, "FrozenLake-v1"),
    ],
    ids=["cartpole", "pendulum", "blackjack", "lake"],
)
def test_each_episode_is_recorded_as_it_was(make_env: Any, where: str, tmp_path: Path) -> None:
    folder = tmp_path if where == "folder" else None
    env = wrappers.TrajectoryRecorder(make_env(), folder=folder)
    seen = play(env, 60)
    found = env.trajectories()
    assert len(seen) == len(found) >= 3
    assert isinstance(found, TrajectoryFiles if where == "folder" else list)
    for trajectory, expected in zip(found, seen, strict=True):
        assert_same(trajectory, expected)
        assert trajectory.captions is not None
        assert trajectory.transition_captions is not None
        assert all(trajectory.captions)
        assert all(trajectory.transition_captions)
    assert [each.seed for each in found] == [3] + [None] * (len(found) - 1)
    assert found[1].metadata == {"env_id": env.unwrapped.spec.id, "episode": 1}
    assert env.stats()["recorded"] == len(found)
    assert env.stats()["steps"] >= sum(map(len, found))


def test_words_are_those_of_the_captioner() -> None:
    env = wrappers.TrajectoryRecorder(gym.make("Blackjack-v1"))
    observation, _ = env.reset(seed=1)
    env.step(0)
    (found,) = env.trajectories()
    assert found.facts is not None
    assert found.captions is not None
    assert found.facts[0]["player_sum"] == observation[0]
    assert str(observation[0]) in found.captions[0]
    silent = wrappers.TrajectoryRecorder(gym.make("Blackjack-v1"), captions=False)
    play(silent, 5)
    bare = silent.trajectories()[0]
    assert (bare.captions, bare.transition_captions, bare.facts) == (None, None, None)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    "make_env",
    [short_cartpole, short_pendulum, partial(gym.make, "Blackjack-v1")],
    ids=["cartpole", "pendulum", "blackjack"],
)
def test_the_vector_recorder_records_what_single_ones_do(make_env: Any, mode: Any) -> None:
    singles = SyncVectorEnv(
        [lambda: wrappers.TrajectoryRecorder(make_env())] * 3, autoreset_mode=mode
    )
    envs = vector.TrajectoryRecorder(SyncVectorEnv([make_env] * 3, autoreset_mode=mode))
    envs.action_space.seed(0)
    for each in (singles, envs):
        each.reset(seed=5)
    for step in range(50):
        actions = envs.action_space.sample()
        singles.step(actions)
        *_, terminated, truncated, _ = envs.step(actions)
        ended = terminated | truncated
        if mode == AutoresetMode.DISABLED:
            # One in mid-episode too, now and then, with a seed of its own.
            ended[step % 3] |= step % 10 == 0
            seeds = [100 * step + row for row in range(3)] if step % 2 else None
            if ended.any():
                for each in (singles, envs):
                    each.reset(seed=seeds, options={"reset_mask": ended.copy()})
    expected = [each for found in singles.call("trajectories") for each in found]
    found = list(envs.trajectories())
    assert len(found) > 5
    assert _keyed(found) == _keyed(expected)
    counts = singles.call("stats")
    assert envs.stats() == {name: sum(count[name] for count in counts) for name in counts[0]}
    assert (envs.stats()["abandoned"] > 0) == (mode == AutoresetMode.DISABLED)


def _keyed(trajectories: list[Trajectory]) -> list[Any]:
    """Return what does not depend on the order in which episodes were counted."""
    rows = [
        (
            str(each.text()).replace(f'"episode": {each.metadata["episode"]}', ""),
            [array.tobytes() for array in each.arrays().values()],
        )
        for each in trajectories
    ]
    return sorted(rows, key=str)


@pytest.mark.parametrize(
    "mode",
    [
        AutoresetMode.SAME_STEP,
        # Each compiles for seconds.
        pytest.param(AutoresetMode.NEXT_STEP, marks=pytest.mark.slow),
        pytest.param(AutoresetMode.DISABLED, marks=pytest.mark.slow),
    ],
)
def test_native_vector_environments_are_recorded_with_their_last_states(
    mode: Any, tmp_path: Path
) -> None:
    pytest.importorskip("craftax")
    envs = gym.make_vec("llm_wrappers/CraftaxClassic-v1", num_envs=4, length=4, autoreset_mode=mode)
    recorder = vector.TrajectoryRecorder(envs, folder=tmp_path)
    observations, _ = recorder.reset(seed=0)
    first = observations.copy()
    actions = np.array([[1, 2, 3, 4], [5, 1, 0, 2], [0, 4, 4, 1], [3, 3, 2, 1]])
    seen = [first]
    for step in actions:
        observations, _, terminated, truncated, infos = recorder.step(step)
        seen.append(observations.copy())
    assert (terminated | truncated).all()
    if mode == AutoresetMode.SAME_STEP:
        seen[-1] = np.stack(list(infos["final_obs"]))
    found = open_trajectories(tmp_path)
    assert len(found) == 4
    for row, trajectory in enumerate(found):
        assert trajectory.seed == row
        assert trajectory.truncated
        assert trajectory.actions.tolist() == actions[:, row].tolist()
        np.testing.assert_array_equal(trajectory.observations, np.stack(seen)[:, row])
        assert trajectory.facts is not None
        assert trajectory.facts[0]["health"] == 9
    recorder.close()


def test_an_episode_is_given_up_by_a_reset_before_its_end() -> None:
    env = wrappers.TrajectoryRecorder(short_cartpole())
    env.reset(seed=0)
    env.step(1)
    play(env, 20)
    assert env.stats()["abandoned"] == 1
    assert len(env.trajectories()) == env.stats()["recorded"] >= 1
    assert env.trajectories()[0].metadata["episode"] == 1


def test_every_kth_episode_up_to_so_many() -> None:
    env = wrappers.TrajectoryRecorder(short_cartpole(), every=3, max_episodes=4)
    seen = play(env, 200)
    found = env.trajectories()
    assert [each.metadata["episode"] for each in found] == [0, 3, 6, 9]
    for trajectory in found:
        assert_same(trajectory, seen[trajectory.metadata["episode"]])
    assert env.stats()["episodes"] >= 20
    # A checkpoint goes on counting.
    other = wrappers.TrajectoryRecorder(short_cartpole(), every=3, max_episodes=4)
    other.load_state_dict(env.state_dict())
    play(other, 20)
    assert other.trajectories() == []


def test_the_first_that_begin_are_recorded_and_not_the_shortest() -> None:
    def env_of(length: int) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(ScriptedEnv(lengths=(9, 9)), length)

    envs = vector.TrajectoryRecorder(
        SyncVectorEnv([partial(env_of, length) for length in (9, 2, 2)]), max_episodes=3
    )
    envs.reset(seed=0)
    for _ in range(20):
        envs.step(np.zeros(3, dtype=np.int64))
    assert sorted(map(len, envs.trajectories())) == [2, 2, 9]


def test_actions_are_the_executed_ones_and_rewards_the_true_ones() -> None:
    inner = wrappers.TrajectoryRecorder(short_cartpole())
    goals = with_goal(inner, always("left"))
    masked = wrappers.ActionMaskWrapper(goals, masks={"left": [0]}, enforce="resample")
    shaped = wrappers.RewardShiftWrapper(masked, judge=lambda states, actions: [1], scale=5.0)
    outer = wrappers.TrajectoryRecorder(shaped, captions=False)
    outer.reset(seed=0)
    over = False
    while not over:
        _, reward, terminated, truncated, _ = outer.step(1)
        over = terminated or truncated
        assert reward == 6.0
    for recorder in (inner, outer):
        (found,) = recorder.trajectories()
        assert found.actions.tolist() == [0] * len(found)
        assert found.rewards.tolist() == [1.0] * len(found)
    assert set(outer.trajectories()[0].observations) == {"goal", "obs"}


class Careless(ScriptedEnv):
    """It returns one array again and again, and writes to the action it is given."""

    def reset(self, **options: Any) -> Any:
        _, info = super().reset(**options)
        self.state = np.zeros(3, np.float32)
        return self.state, info

    def step(self, action: Any) -> Any:
        _, reward, terminated, truncated, info = super().step(action)
        self.state += 1
        action[:] = -1
        return self.state, reward, terminated, truncated, info


@pytest.mark.parametrize("vectorised", [False, True])
def test_what_is_recorded_does_not_change_with_the_environment(vectorised: bool) -> None:
    space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
    make_env = partial(Careless, action_space=space)
    env: Any
    if vectorised:
        env = vector.TrajectoryRecorder(SyncVectorEnv([make_env], copy=False))
        action = np.ones((1, 2), np.float32)
    else:
        env, action = wrappers.TrajectoryRecorder(make_env()), np.ones(2, np.float32)
    env.reset(seed=0)
    while not env.trajectories():
        env.step(action.copy())
    found = env.trajectories()[0]
    assert found.observations[:, 0].tolist() == list(range(len(found) + 1))
    assert (found.actions == 1).all()


def test_a_copy_of_a_recorder_writes_to_the_same_folder(tmp_path: Path) -> None:
    env = wrappers.TrajectoryRecorder(short_cartpole(), folder=tmp_path)
    env.reset(seed=0)
    other = pickle.loads(pickle.dumps(env))
    lengths = []
    for each in (env, other):
        over = False
        while not over:
            *_, terminated, truncated, _ = each.step(0)
            over = terminated or truncated
        lengths.append(len(each.trajectories()))
    assert lengths == [1, 1]
    one, two = open_trajectories(tmp_path)
    assert one == two


# --- what is refused, and what is left of a run that is stopped ---


@pytest.mark.parametrize("kind", [wrappers.TrajectoryRecorder, vector.TrajectoryRecorder])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a whole number >= 1, got 0"),
        ({"every": True}, "every must be a whole number >= 1, got True"),
        ({"max_episodes": 0}, "max_episodes must be a whole number >= 1, or None for all, got 0"),
        (
            {"max_episodes": 2.5},
            "max_episodes must be a whole number >= 1, or None for all, got 2.5",
        ),
        ({"metadata": "ppo"}, "metadata must be a dict, got 'ppo'"),
        ({"metadata": {"x": object}}, "metadata must be a dict that JSON can hold"),
        ({"metadata": {"episode": 3}}, r"metadata must not have \['episode'\]"),
        ({"captioner": "words"}, "captioner"),
    ],
)
def test_options_that_do_not_fit_are_refused(kind: Any, options: Any, message: str) -> None:
    env: Any = short_cartpole()
    if kind is vector.TrajectoryRecorder:
        env = SyncVectorEnv([short_cartpole])
    with pytest.raises(InvalidOptionError, match=message):
        kind(env, **options)


def test_spaces_and_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    lists = gym.spaces.Sequence(gym.spaces.Discrete(2))
    with pytest.raises(IncompatibleEnvironmentError, match="expected observations of Box"):
        wrappers.TrajectoryRecorder(scripted(observation_space=lists)(), captions=False)
    with pytest.raises(IncompatibleEnvironmentError, match="expected actions of Box"):
        wrappers.TrajectoryRecorder(scripted(action_space=lists)())
    (tmp_path / "file").write_text("")
    with pytest.raises(GuidanceFileError, match="cannot make the folder"):
        wrappers.TrajectoryRecorder(short_cartpole(), folder=tmp_path / "file")


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    env = wrappers.TrajectoryRecorder(short_cartpole(), folder=tmp_path / "runs")
    (tmp_path / "runs").rmdir()
    env.reset(seed=0)
    while not env.stats()["recorded"]:
        env.step(0)
    assert len(env.trajectories()) == len(open_trajectories(tmp_path / "runs")) == 1


PLAYER = textwrap.dedent(
    """
    import sys
    import gymnasium as gym
    from llm_wrappers.wrappers import TrajectoryRecorder

    env = TrajectoryRecorder(gym.make("CartPole-v1"), folder=sys.argv[1])
    env.action_space.seed(0)
    env.reset(seed=0)
    while True:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            print(env.stats()["recorded"], flush=True)
            env.reset()
    """
)


@pytest.mark.parametrize(
    "kind",
    [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
    ids=["kill -9", "Ctrl-C"],
)
def test_a_run_that_is_stopped_keeps_all_its_episodes(tmp_path: Path, kind: int) -> None:
    command = [sys.executable, "-c", PLAYER, str(tmp_path)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as player:
        assert player.stdout is not None
        said = [int(player.stdout.readline()) for _ in range(5)]
        player.send_signal(kind)
        # Not `communicate`, which would leave out what `readline` has read ahead.
        said += [int(line) for line in player.stdout]
    assert player.returncode != 0
    found = list(open_trajectories(tmp_path))
    assert said[-1] <= len(found) <= said[-1] + 1
    assert [each.metadata["episode"] for each in found] == list(range(len(found)))
    assert all(each.terminated or each.truncated for each in found)
