"""Selectors and correctors of this layer by name, found as entry points of an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from llm_wrappers.errors import GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.critical.correcting import resolve_corrector
from llm_wrappers.guidance.critical.finding import (
    CriticalMoment,
    ValueGapSelector,
    resolve_selector,
)
from llm_wrappers.sb3 import PolicyCorrector, StateMask
from llm_wrappers.trajectories.trajectory import Trajectory

ENTRY_POINTS = """
[llm_wrappers.selectors]
value-gap = llm_wrappers.sb3.baselines.value_gap:named_value_gap
state-mask = llm_wrappers.sb3.baselines.state_mask:named_state_mask

[llm_wrappers.correctors]
policy = llm_wrappers.sb3.policy_corrector:named_policy
"""


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the names as an installation does, also where this package was installed before."""
    info = tmp_path / "guides-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guides\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture(scope="module")
def model() -> PPO:
    return PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")


def test_what_is_registered_here_is_what_the_package_registers() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for line in ENTRY_POINTS.split("\n"):
        if "=" in line:
            name, _, value = line.partition(" = ")
            assert f'{name} = "{value}"' in text


def test_selectors_are_named(model: PPO, tmp_path: Path) -> None:
    env = gym.make("CartPole-v1")
    gap = resolve_selector("value-gap", model=model, env=env)
    assert isinstance(gap, ValueGapSelector)
    mask = resolve_selector("state-mask:64", model=model, env=env, seed=2)
    assert isinstance(mask, StateMask)
    assert mask.network.seed == 2
    mask.save(tmp_path / "mask.zip")
    loaded = resolve_selector(f"state-mask:{tmp_path}/mask.zip", model=model)
    episode = Trajectory(np.ones((4, 4), np.float32), [0, 1, 0], np.ones(3), True, False)
    assert len(loaded.select([episode], per_episode=2)) == 2
    with pytest.raises(InvalidOptionError, match="'value-gap' needs model="):
        resolve_selector("value-gap")
    with pytest.raises(InvalidOptionError, match="'state-mask' needs env="):
        resolve_selector("state-mask", model=model)
    with pytest.raises(GuidanceFileError, match=r"mask\.zip"):
        resolve_selector("state-mask:nowhere/mask.zip", model=model)


def test_a_better_policy_is_named_by_its_file(model: PPO, tmp_path: Path) -> None:
    model.save(tmp_path / "better.zip")
    corrector = resolve_corrector(f"policy:{tmp_path}/better.zip")
    assert isinstance(corrector, PolicyCorrector)
    states = np.ones((2, 4), np.float32)
    episode = Trajectory(states, [0], [1.0], True, False)
    [found] = corrector.correct([episode], [CriticalMoment(0, 0)])
    assert found is not None
    assert found.action == model.predict(states[0], deterministic=True)[0]
    with pytest.raises(InvalidOptionError, match="expected 'policy:PATH"):
        resolve_corrector("policy")
    with pytest.raises(GuidanceFileError, match="there is none at nowhere"):
        resolve_corrector("policy:nowhere.zip")


class Parts(gym.ObservationWrapper[Any, Any, Any]):
    """CartPole as a Dict observation."""

    def __init__(self) -> None:
        env = gym.make("CartPole-v1")
        super().__init__(env)
        self.observation_space = gym.spaces.Dict({"cart": env.observation_space})

    def observation(self, observation: Any) -> Any:
        return {"cart": observation}


def test_a_name_says_which_part_the_states_are(tmp_path: Path) -> None:
    env = Parts()
    PPO("MultiInputPolicy", env, device="cpu").save(tmp_path / "parts.zip")
    states = {"cart": np.full((2, 4), 0.5, np.float32)}
    episode = Trajectory(states, np.array([0]), [1.0], True, False)
    for name in (f"policy:{tmp_path}/parts.zip", "random"):
        part = resolve_corrector(f"{name}?part=cart", env=env)
        [found] = part.correct([episode], [CriticalMoment(0, 0)])
        assert found is not None
        assert found.state.tolist() == [0.5] * 4
        with pytest.raises(InvalidOptionError, match=r"one of the observation's \['cart'\]"):
            resolve_corrector(name, env=env).correct([episode], [CriticalMoment(0, 0)])
