"""Words for some of several sub-environments whose observation holds a text."""

from __future__ import annotations

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
from gymnasium.vector import AutoresetMode

from llm_wrappers.wrappers.vector import GoalObservationWrapper


def test_a_reset_of_some_reads_their_missions() -> None:
    envs = gym.make_vec(
        "MiniGrid-DoorKey-5x5-v0",
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
    )
    envs = GoalObservationWrapper(envs, planner="reference:minigrid-doorkey")
    envs.reset(seed=0)
    mask = np.array([True, False, True])
    _, infos = envs.reset(options={"reset_mask": mask})
    assert all(infos["goal_text"][mask])
    assert envs.stats()["failures"] == 0
    assert envs.unguided() == []
    envs.close()
