"""Which states of new episodes of a robot are found in a table of recorded ones."""

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.guidance.critical.critical_state import CriticalState
from llm_wrappers.guidance.critical.critical_states import CriticalStates
from llm_wrappers.wrappers import TrajectoryRecorder

pytest.importorskip("mujoco")

WEAK = 0.3  # how much of a random action is done: a policy that falls, but not at once


def episodes(count, seed):
    """Play episodes of Hopper with weak random actions and return what was recorded."""
    env = TrajectoryRecorder(gym.make("Hopper-v5"), captions=False)
    generator = np.random.default_rng(seed)
    for number in range(count):
        env.reset(seed=1000 * seed + number)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(weak_action(env, generator))
            over = terminated or truncated
    env.close()
    return env.trajectories()


def weak_action(env, generator):
    space = env.action_space
    return (WEAK * generator.uniform(space.low, space.high)).astype(np.float32)


def table(trajectories, key):
    return CriticalStates(
        [
            CriticalState(state, action)
            for trajectory in trajectories
            for state, action in zip(trajectory.observations, trajectory.actions, strict=False)
        ],
        key=key,
    )


@pytest.fixture(scope="module")
def history():
    return episodes(5, seed=1)


@pytest.fixture(scope="module")
def new_states():
    return np.concatenate([trajectory.observations for trajectory in episodes(10, seed=2)])


def share(history, new_states, key):
    return (table(history, key).match(new_states) >= 0).mean()


def test_equal_numbers_never_come_again(history, new_states):
    assert len(new_states) > 200
    assert share(history, new_states, "exact") == 0.0
    assert share(history, new_states, "rounded:3") == 0.0
    # The table itself is sound: what was recorded is found.
    recorded = table(history, "exact")
    assert (recorded.match(history[0].observations[:-1]) >= 0).all()


@pytest.mark.parametrize(
    "key", ["rounded:0", "nearest:0.25", "bins:0.2,0.1,0.1,0.1,0.1,1,1,1,1,2,2"]
)
def test_coarser_keys_find_states(history, new_states, key):
    # More than the first states of episodes, which are all alike.
    assert share(history, new_states, key) > 0.05


def test_a_larger_radius_finds_more(history, new_states):
    shares = [share(history, new_states, f"nearest:{radius}") for radius in (0.05, 0.2, 0.5, 1.0)]
    assert shares == sorted(set(shares))
