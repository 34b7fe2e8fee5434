"""The arms do what their names say, in the same worlds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.demo import ARMS, Experiment
from llm_wrappers.demo.arms import FactsObservation, make_envs
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance import resolve_planner
from llm_wrappers.sb3 import as_vec_env
from llm_wrappers.schedules import resolve_schedule

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
N = 4


def play(arm: str, steps: int = 30) -> list[tuple[Any, Any, Any]]:
    """Return observations, goals and masks of a random agent in the worlds of one seed."""
    envs = make_envs(CRAFTAX, ARMS[arm], N)
    generator = np.random.default_rng(0)
    observation, infos = envs.reset(seed=0)
    seen = [(observation, infos["goal_text"], envs.action_masks())]
    for _ in range(steps):
        observation, _, _, _, infos = envs.step(generator.integers(17, size=N))
        seen.append((observation, infos["goal_text"], envs.action_masks()))
    envs.close()
    return seen


def test_arms_are_data_and_the_demo_compares_two() -> None:
    assert tuple(Experiment().arms) == ("ppo", "sgrl")
    record = {name: asdict(arm) for name, arm in ARMS.items()}
    assert json.loads(json.dumps(record)) == record
    periods = {name: arm.reweigh_every for name, arm in ARMS.items() if arm.reweigh_every}
    assert periods == {
        "reweighed-50k": 50_000, "reweighed-100k": 100_000, "reweighed-2m": 2_000_000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arm", "values"),
    [
        ("half", [0.5, 0.5, 0.5, 0.5, 0.5]),
        ("linear-annealing", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("step-annealing", [1.0, 1.0, 0.5, 0.0, 0.0]),
        ("annealed", [1.0, 0.8878, 0.5727, 0.3732, 0.0]),
        ("slow", [1.0, 0.95, 0.9, 0.4852, 0.0]),
    ],
)
def test_the_shapes_of_annealing(arm: str, values: list[float]) -> None:
    wrap = ARMS[arm].wrap
    assert wrap is not None
    schedule = resolve_schedule(wrap["schedule"])
    found = [schedule(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx(values, abs=1e-3)


def test_each_arm_differs_from_sgrl_in_what_it_says_only() -> None:
    played = {arm: play(arm) for arm in ("sgrl", "masks", "single", "random-masks")}
    goals = {arm: np.array([row[1] for row in rows]) for arm, rows in played.items()}
    assert len(np.unique(goals["sgrl"])) > 1
    assert np.unique(goals["single"]).tolist() == ["collect diamond"]
    np.testing.assert_array_equal(goals["sgrl"], goals["random-masks"])
    masks = {arm: np.array([row[2] for row in rows]) for arm, rows in played.items()}
    assert (masks["sgrl"] != masks["random-masks"]).any()
    # A policy that is not shown the goal has the same worlds, goals and masks.
    np.testing.assert_array_equal(goals["sgrl"], goals["masks"])
    np.testing.assert_array_equal(masks["sgrl"], masks["masks"])
    for (seen, *_), (blank, *_) in zip(played["sgrl"], played["masks"], strict=True):
        np.testing.assert_array_equal(seen["obs"], blank["obs"])
        assert seen["goal"].any()
        assert not blank["goal"].any()


# --- the arm that is shown the facts ---


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


def test_facts_are_those_that_the_reference_planner_reads_and_the_rest_is_the_same() -> None:
    envs, plain = (make_envs(CRAFTAX, ARMS[arm], N) for arm in ("facts", "ppo"))
    names = resolve_planner("reference:craftax-classic", env_id=CRAFTAX, goals=()).reads
    captioner = resolve_captioner(envs)
    observation, infos = envs.reset(seed=3)
    bare, _ = plain.reset(seed=3)
    generator = np.random.default_rng(0)
    for _ in range(40):
        np.testing.assert_array_equal(bare, observation["obs"])
        table = captioner.facts(None, infos)
        expected = [numbers_of(row, table.columns, names) for row in table]
        np.testing.assert_allclose(observation["facts"], expected, atol=1e-6)
        assert envs.observation_space.contains(observation)
        actions = generator.integers(17, size=N)
        observation, rewards, _, _, infos = envs.step(actions)
        bare, paid, *_ = plain.step(actions)
        np.testing.assert_array_equal(rewards, paid)


def test_the_last_state_of_an_episode_has_its_own_facts() -> None:
    vec_env = as_vec_env(make_envs(CRAFTAX, ARMS["facts"], N))
    vec_env.seed(0)
    vec_env.reset()
    generator = np.random.default_rng(0)
    dones = np.zeros(N)
    while not dones.any():
        observations, _, dones, infos = vec_env.step(generator.integers(17, size=N))
    row = int(np.flatnonzero(dones)[0])
    terminal = infos[row]["terminal_observation"]
    assert vec_env.observation_space.contains(terminal)
    # It died: health, the first fact that the planner reads, is 0, and 9 in the next episode.
    assert infos[row]["inventory"]["health"] <= 0
    assert terminal["facts"][0] == 0.0
    assert observations["facts"][row][0] == 1.0


def cart_poles(mode: AutoresetMode) -> Any:
    options = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    return gym.make_vec("CartPole-v1", num_envs=2, **options)


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
