"""The bonus of random network distillation, paid in the states of a table only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

from llm_wrappers.errors import (
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
)
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.sb3 import RandomNetworkDistillation

QUICK: dict[str, Any] = {"warmup": 0, "update_every": 4, "train_share": 1.0, "features": 16}
ROOMS = 6


class Corridor(gym.Env[Any, Any]):
    """Action k leads to room k; after five steps the episode ends. With parts, rooms are a Dict."""

    def __init__(self, parts: bool = False) -> None:
        self.parts = parts
        room = gym.spaces.Box(0, 1, (ROOMS,), np.float32)
        noise = gym.spaces.Box(0, 1, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"room": room, "noise": noise}) if parts else room
        self.action_space = gym.spaces.Discrete(ROOMS)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(0), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.seen(int(action)), 1.0, False, self.steps >= 5, {}

    def seen(self, room: int) -> Any:
        shown = np.eye(ROOMS, dtype=np.float32)[room]
        if self.parts:
            return {"room": shown, "noise": self.np_random.random(2, dtype=np.float32)}
        return shown


def rooms(*numbers: int, part: str | None = None) -> CriticalStates:
    states = [CriticalState(np.eye(ROOMS)[number], 0) for number in numbers]
    return CriticalStates(states, key="exact", part=part)


@pytest.mark.parametrize("parts", [False, True])
def test_only_steps_into_critical_states_are_paid_those_that_end_an_episode_too(
    parts: bool,
) -> None:
    options = {"key": "room"} if parts else {}
    table = rooms(2, 4, part="room" if parts else None)
    plain, chosen = (
        RandomNetworkDistillation(
            DummyVecEnv([lambda: Corridor(parts)] * 3), critical_states=given, **options, **QUICK
        )
        for given in (None, table)
    )
    plain.reset()
    chosen.reset()
    generator, hits = np.random.default_rng(0), 0
    for _ in range(20):
        actions = generator.integers(ROOMS, size=3)
        _, everywhere, _, _ = plain.step(actions)
        _, paid, _, infos = chosen.step(actions)
        critical = np.isin(actions, [2, 4])
        hits += int(critical.sum())
        # The same networks: the reward is that of everywhere, or none.
        assert paid.tolist() == np.where(critical, everywhere, 0.0).tolist()
        assert [info["rnd_reward"] for info in infos] == pytest.approx(paid.tolist())
        assert (everywhere > 0.0).all()
    assert chosen.stats()["critical"] == hits > 0
    assert plain.stats()["critical"] == 0
    assert chosen.stats()["trained"] == plain.stats()["trained"] == 60


def test_an_empty_table_pays_nothing_and_extrinsic_rewards_stay() -> None:
    envs = RandomNetworkDistillation(
        DummyVecEnv([Corridor]), critical_states="none", extrinsic_weight=0.5, **QUICK
    )
    envs.reset()
    for room in range(ROOMS):
        assert envs.step(np.array([room]))[1].tolist() == [0.5]


def test_a_file_is_read_and_counts_go_on(tmp_path: Path) -> None:
    rooms(1).save(tmp_path / "states.json")
    made = [
        RandomNetworkDistillation(
            DummyVecEnv([Corridor]), critical_states=f"file:{tmp_path}/states.json", **QUICK
        )
        for _ in range(2)
    ]
    made[0].reset()
    for room in (1, 2, 1):
        made[0].step(np.array([room]))
    assert made[0].stats()["critical"] == 2
    made[0].save(tmp_path / "rnd.pt")
    made[1].load(tmp_path / "rnd.pt")
    assert made[1].stats() == made[0].stats()
    # A state from before this was counted.
    state = made[0].state_dict()
    del state["counts"]["critical"]
    RandomNetworkDistillation(DummyVecEnv([Corridor]), **QUICK).load_state_dict(state)


def test_states_that_are_never_met_are_warned_of_once() -> None:
    """Otherwise training goes on without any reward: normalised observations match no state."""
    lost = CriticalStates([CriticalState(np.full(ROOMS, 0.5), 0)], key="exact")
    envs = RandomNetworkDistillation(
        DummyVecEnv([Corridor] * 100), critical_states=lost, **{**QUICK, "update_every": 10_000}
    )
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros(100, int))
    with pytest.warns(GuidanceWarning, match=r"1000 steps with key='exact'.*normalised"):
        envs.step(np.zeros(100, int))
    envs.step(np.zeros(100, int))


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wrong = CriticalStates([CriticalState(np.zeros(3), 0)], key="exact")
    with pytest.raises(IncompatibleEnvironmentError, match=r"shape \(3,\)"):
        RandomNetworkDistillation(DummyVecEnv([Corridor]), critical_states=wrong)
    with pytest.raises(GuidanceFileError):
        RandomNetworkDistillation(
            DummyVecEnv([Corridor]), critical_states=f"file:{tmp_path}/none.json"
        )


def test_ppo_trains_with_the_bonus_at_critical_states() -> None:
    table = CriticalStates([CriticalState([0.0, 0.0, 0.1, 0.0], 1)], key="nearest:1.0")
    envs = RandomNetworkDistillation(
        make_vec_env("CartPole-v1", n_envs=2), critical_states=table, **QUICK
    )
    PPO("MlpPolicy", envs, n_steps=64, batch_size=64, seed=0, device="cpu").learn(256)
    stats = envs.stats()
    assert 0 < stats["critical"] < 2 * stats["steps"]
