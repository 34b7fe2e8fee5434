"""Every algorithm trains, is saved, loaded and asked, on every space and with every wrapper.

A few of all combinations, so that each algorithm, space and wrapper is among them; the others are
slow tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib import QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from llm_wrappers import wrappers
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.sb3 import GuidanceCallback, as_vec_env
from llm_wrappers.testing import ScriptedEnv

BOX = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
OBSERVATIONS: dict[str, gym.Space[Any]] = {
    "box": BOX,
    "dict": gym.spaces.Dict(state=BOX, count=gym.spaces.Discrete(5)),
}
# Each with an action that is advised, and what is open for each of two goals.
ACTIONS: dict[str, tuple[gym.Space[Any], Any, Any]] = {
    "discrete": (gym.spaces.Discrete(3), 1, {"left": [0], "right": [1, 2]}),
    "multi-discrete": (
        gym.spaces.MultiDiscrete([3, 2]),
        [0, 1],
        {"left": [0, 3], "right": [1, 2, 4]},
    ),
    "multi-binary": (
        gym.spaces.MultiBinary(2),
        [0, 1],
        {"left": [0, 2, 3], "right": [1, 2, 3]},
    ),
    "box-actions": (
        gym.spaces.Box(-2.0, 2.0, (2,), np.float32),
        [0.5, -1.0],
        {"left": (-2.0, 0.0), "right": (0.0, 2.0)},
    ),
}
ON_POLICY: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
OFF_POLICY: dict[str, Any] = {"learning_starts": 8, "batch_size": 8, "buffer_size": 64}
EVERYWHERE, CONTINUOUS = tuple(ACTIONS), ("box-actions",)
# Each with its options, and the action spaces that it has.
ALGORITHMS: dict[Any, tuple[dict[str, Any], tuple[str, ...]]] = {
    PPO: (ON_POLICY, EVERYWHERE),
    A2C: ({"n_steps": 8}, EVERYWHERE),
    TRPO: ({"n_steps": 16, "batch_size": 16}, EVERYWHERE),
    MaskablePPO: (ON_POLICY, ("discrete", "multi-discrete", "multi-binary")),
    # It cannot train on MultiBinary actions, with or without guidance.
    RecurrentPPO: (ON_POLICY, ("discrete", "multi-discrete", "box-actions")),
    DQN: (OFF_POLICY, ("discrete",)),
    QRDQN: (OFF_POLICY, ("discrete",)),
    SAC: (OFF_POLICY, CONTINUOUS),
    TD3: (OFF_POLICY, CONTINUOUS),
    DDPG: (OFF_POLICY, CONTINUOUS),
    TQC: (OFF_POLICY, CONTINUOUS),
    CrossQ: (OFF_POLICY, CONTINUOUS),
}


def planner(facts: Any) -> Any:
    return [[("left", 1.0), ("right", 1.0)] for _ in facts]


def goals(env: Any, kind: str) -> Any:
    return wrappers.GoalObservationWrapper(env, planner=planner, goals=["left", "right"])


def closing(env: Any, kind: str) -> Any:
    """Return an environment whose goals close actions, or of a Box parts of it."""
    guided, (_, _, allowed) = goals(env, kind), ACTIONS[kind]
    if kind == "box-actions":
        return wrappers.ActionBoundsWrapper(guided, bounds=allowed)
    return wrappers.ActionMaskWrapper(guided, masks=allowed, enforce="resample")


def advising(env: Any, kind: str) -> Any:
    is_dict = isinstance(env.observation_space, gym.spaces.Dict)
    states = [CriticalState([0.5, 0.5, 0.5], ACTIONS[kind][1])]
    table = CriticalStates(states, key="nearest:2.0", part="state" if is_dict else None)
    return wrappers.CriticalStateOverrideWrapper(env, critical_states=table)


LAYERS: dict[str, Callable[[Any, str], Any]] = {
    "goals": goals,
    "closing": closing,
    "captions": lambda env, kind: wrappers.CaptionObservationWrapper(env, encoder="hashing:8"),
    "shift": lambda env, kind: wrappers.RewardShiftWrapper(env, judge="constant:1", scale=0.1),
    "similarity": lambda env, kind: wrappers.SimilarityRewardWrapper(
        env, suggester="fixed:go left", threshold=0.1
    ),
    "advice": advising,
    "recorder": lambda env, kind: wrappers.TrajectoryRecorder(env),
    "all": lambda env, kind: LAYERS["shift"](
        LAYERS["recorder"](closing(LAYERS["captions"](env, kind), kind), kind), kind
    ),
}


def combinations() -> Iterator[Any]:
    for algorithm, (_, kinds) in ALGORITHMS.items():
        for kind in kinds:
            for seen in OBSERVATIONS:
                for layer in LAYERS:
                    if not _fits(algorithm, seen, layer):
                        continue
                    by_layer = algorithm is PPO and (seen == "box" or kind == "discrete")
                    all_layers = "shift" if algorithm is CrossQ else "all"
                    by_algorithm = (seen, layer, kind) == ("box", all_layers, kinds[0])
                    marks = [] if by_layer or by_algorithm else [pytest.mark.slow]
                    name = f"{algorithm.__name__}-{seen}-{kind}-{layer}"
                    yield pytest.param(algorithm, seen, kind, layer, marks=marks, id=name)


def _fits(algorithm: Any, seen: str, layer: str) -> bool:
    if algorithm is MaskablePPO:
        return layer in ("closing", "all")
    # CrossQ has no policy for Dict observations.
    return algorithm is not CrossQ or (seen == "box" and layer in ("shift", "advice", "recorder"))


def make_vec_env(algorithm: Any, seen: str, kind: str, layer: str) -> VecEnv:
    def make() -> Any:
        return LAYERS[layer](ScriptedEnv(OBSERVATIONS[seen], ACTIONS[kind][0]), kind)

    if algorithm is PPO:
        return DummyVecEnv([make])
    return as_vec_env(SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP))


@pytest.mark.parametrize(("algorithm", "seen", "kind", "layer"), list(combinations()))
def test_it_trains_is_saved_loaded_asked_and_trained_on(
    algorithm: Any, seen: str, kind: str, layer: str, tmp_path: Path
) -> None:
    vec_env = make_vec_env(algorithm, seen, kind, layer)
    is_dict = isinstance(vec_env.observation_space, gym.spaces.Dict)
    policy = ("MultiInput" if is_dict else "Mlp") + (
        "LstmPolicy" if algorithm is RecurrentPPO else "Policy"
    )
    small = {"net_arch": [8], **({"lstm_hidden_size": 8} if algorithm is RecurrentPPO else {})}
    model = algorithm(
        policy, vec_env, policy_kwargs=small, seed=0, device="cpu", **ALGORITHMS[algorithm][0]
    )
    model.learn(32, callback=GuidanceCallback())
    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", env=vec_env, device="cpu")
    assert loaded.guidance_progress == 1.0
    observations = vec_env.reset()
    masks = {"action_masks": get_action_masks(vec_env)} if algorithm is MaskablePPO else {}
    asked = {"deterministic": True, **masks}
    actions, other = (each.predict(observations, **asked)[0] for each in (model, loaded))
    np.testing.assert_array_equal(actions, other)
    _, _, _, infos = vec_env.step(actions)
    assert layer == "recorder" or all("extrinsic_reward" in info for info in infos)
    loaded.learn(16, callback=GuidanceCallback(), reset_num_timesteps=False)
    assert loaded.num_timesteps >= 48
    vec_env.close()
