"""A checkpoint holds the guidance state beside the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

from llm_wrappers import RewardShiftWrapper, load_guidance
from llm_wrappers.sb3 import GuidanceCallback, GuidanceCheckpointCallback, as_vec_env
from llm_wrappers.testing import ScriptedEnv


class Layer(gym.Wrapper[Any, Any, Any, Any]):
    """Has a state that training changes."""

    def __init__(self) -> None:
        super().__init__(ScriptedEnv())
        self.steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.env.step(action)

    def guidance_state(self) -> list[dict[str, Any]]:
        if self.steps > 60:
            raise OSError("the state is gone")
        return [{"layer": "Layer", "steps": self.steps}]

    def load_guidance_state(self, states: list[dict[str, Any]]) -> None:
        self.steps = states[0]["steps"]


def make_vec_env(kind: str, make: Any) -> VecEnv:
    if kind == "dummy":
        return VecNormalize(DummyVecEnv([make] * 2), norm_obs=False)
    if kind == "subproc":
        return SubprocVecEnv([make] * 2, start_method="fork")
    return as_vec_env(SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP))


def small_ppo(env: Any) -> PPO:
    return PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")


@pytest.mark.parametrize("kind", ["dummy", "subproc", "bridge"])
def test_each_checkpoint_has_its_guidance_state(kind: str, tmp_path: Path) -> None:
    vec_env = make_vec_env(kind, Layer)
    saver = GuidanceCheckpointCallback(
        24, str(tmp_path), name_prefix="run", save_vecnormalize=kind == "dummy"
    )
    small_ppo(vec_env).learn(128, callback=[saver, GuidanceCallback()])
    vec_env.close()
    names = {path.name for path in tmp_path.iterdir()}
    expected = {"run_48_steps.zip", "run_96_steps.zip"}
    expected |= {"run_guidance_48_steps.json", "run_guidance_96_steps.json"}
    if kind == "dummy":
        expected |= {"run_vecnormalize_48_steps.pkl", "run_vecnormalize_96_steps.pkl"}
    assert names == expected
    for steps in (24, 48):
        saved = json.loads((tmp_path / f"run_guidance_{2 * steps}_steps.json").read_text())
        assert saved["stacks"] == [[{"layer": "Layer", "steps": steps}]] * 2
    assert PPO.load(tmp_path / "run_48_steps.zip").guidance_progress == 48 / 128


def test_an_earlier_file_stays_whole_where_saving_fails(tmp_path: Path) -> None:
    path = tmp_path / "rl_model_guidance_128_steps.json"
    path.write_text("[]")
    saver = GuidanceCheckpointCallback(64, str(tmp_path))
    with pytest.raises(OSError, match="state is gone"):
        small_ppo(DummyVecEnv([Layer] * 2)).learn(128, callback=saver)
    assert path.read_text() == "[]"


def test_without_guidance_there_is_no_such_file(tmp_path: Path) -> None:
    saver = GuidanceCheckpointCallback(32, str(tmp_path))
    small_ppo(ScriptedEnv()).learn(32, callback=saver)
    assert [path.name for path in tmp_path.iterdir()] == ["rl_model_32_steps.zip"]


@pytest.mark.parametrize("kind", ["dummy", "subproc", "bridge"])
def test_a_checkpoint_brings_the_guidance_back(kind: str, tmp_path: Path) -> None:
    def make() -> gym.Env[Any, Any]:
        return RewardShiftWrapper(gym.make("CartPole-v1"), judge="constant:1")

    trained, fresh = make_vec_env(kind, make), make_vec_env(kind, make)
    small_ppo(trained).learn(64, callback=GuidanceCheckpointCallback(32, str(tmp_path)))
    load_guidance(fresh, tmp_path / "rl_model_guidance_64_steps.json")
    judged = [
        [stats["RewardShiftWrapper"]["good"] for stats in vec_env.env_method("all_stats")]
        for vec_env in (trained, fresh)
    ]
    assert judged == [[32, 32]] * 2
    trained.close()
    fresh.close()
