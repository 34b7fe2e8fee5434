"""A policy that is shown what the planner reads."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.demo import ARMS
from llm_wrappers.demo.facts_observation import FactsObservation
from llm_wrappers.demo.training import make_envs
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance import resolve_planner
from llm_wrappers.sb3 import as_vec_env

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
N = 4


@pytest.fixture
def envs() -> Any:
    envs = make_envs(CRAFTAX, ARMS["facts"], N)
    yield envs
    envs.close()


def numbers_of(facts: Any, columns: Any, names: Any) -> list[float]:
    """Return what stands for some facts, written down from their dictionary."""
    numbers = []
    for column in columns:
        if column.name not in names:
            continue
        value = facts[column.name]
        if column.flags:
            numbers += [float(name in value) for name in column.values]
        else:
            numbers.append(column.values.index(value) / (len(column.values) - 1))
    return numbers


def test_the_facts_are_those_that_the_reference_planner_reads(envs: Any) -> None:
    names = resolve_planner("reference:craftax-classic", env_id=CRAFTAX, goals=()).reads
    captioner = resolve_captioner(envs)
    observation, infos = envs.reset(seed=3)
    generator = np.random.default_rng(0)
    for _ in range(40):
        table = captioner.facts(None, infos)
        expected = [numbers_of(row, table.columns, names) for row in table]
        np.testing.assert_allclose(observation["facts"], expected, atol=1e-6)
        assert envs.observation_space.contains(observation)
        observation, _, _, _, infos = envs.step(generator.integers(17, size=N))


def test_the_environment_is_the_same_below(envs: Any) -> None:
    plain = make_envs(CRAFTAX, ARMS["ppo"], N)
    observations = [plain.reset(seed=5)[0], envs.reset(seed=5)[0]["obs"]]
    np.testing.assert_array_equal(*observations)
    actions = np.arange(N)
    first, second = plain.step(actions), envs.step(actions)
    np.testing.assert_array_equal(first[0], second[0]["obs"])
    np.testing.assert_array_equal(first[1], second[1])
    plain.close()


def test_the_last_state_of_an_episode_has_its_own_facts(envs: Any) -> None:
    vec_env = as_vec_env(envs)
    vec_env.seed(0)
    vec_env.reset()
    generator = np.random.default_rng(0)
    for _ in range(600):
        before = vec_env.step(generator.integers(17, size=N))
        _, _, dones, infos = before
        if dones.any():
            break
    assert dones.any()
    row = int(np.flatnonzero(dones)[0])
    terminal = infos[row]["terminal_observation"]
    assert vec_env.observation_space.contains(terminal)
    # It died: health, the first fact that the planner reads, is 0, and 9 in the next episode.
    assert infos[row]["inventory"]["health"] <= 0
    assert terminal["facts"][0] == 0.0
    assert before[0]["facts"][row][0] == 1.0


def cart_poles(mode: AutoresetMode) -> Any:
    return gym.make_vec(
        "CartPole-v1",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gym.make_vec(CRAFTAX, num_envs=N), r"got \['pole_lean'\]"),
        (lambda: cart_poles(AutoresetMode.NEXT_STEP), "autoreset in the same step only"),
        (lambda: cart_poles(AutoresetMode.SAME_STEP), "a captioner that gives a FactsTable"),
    ],
    ids=["an unknown fact", "another autoreset", "no table"],
)
def test_what_cannot_be_shown_is_refused(make: Any, message: str) -> None:
    envs = make()
    with pytest.raises(IncompatibleEnvironmentError, match=message):
        FactsObservation(envs, ["pole_lean", "wood"])
    envs.close()
