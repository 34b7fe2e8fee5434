"""The arms do what their names say."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm_wrappers.demo import ARMS, Experiment, training
from llm_wrappers.demo.training import make_envs, train_arm
from llm_wrappers.schedules import resolve_schedule
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
N = 4


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    for option, value in {"n_steps": 16, "batch_size": 64, "n_epochs": 1}.items():
        monkeypatch.setitem(training.PPO_OPTIONS, option, value)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def test_the_demo_compares_two_arms() -> None:
    assert tuple(Experiment().arms) == ("ppo", "sgrl")


@pytest.mark.parametrize(
    ("arm", "values"),
    [
        ("half", [0.5, 0.5, 0.5, 0.5, 0.5]),
        ("linear-annealing", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("step-annealing", [1.0, 1.0, 0.5, 0.0, 0.0]),
    ],
)
def test_the_shapes_of_annealing(arm: str, values: list[float]) -> None:
    wrap = ARMS[arm].wrap
    assert wrap is not None
    schedule = resolve_schedule(wrap["schedule"])
    assert [schedule(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)] == values


def test_late_is_later() -> None:
    early, late = (resolve_schedule(ARMS[arm].wrap["schedule"]) for arm in ("annealed", "slow"))
    assert (early(1.0), late(1.0)) == (0.0, 0.0)
    assert all(late(p) > early(p) for p in (0.2, 0.4, 0.6, 0.8, 0.9))


def test_a_policy_that_is_not_shown_the_goal_has_the_same_masks() -> None:
    shown, hidden = play("sgrl"), play("masks")
    assert len({goal for _, goals, _ in shown for goal in goals}) > 1
    for (seen, goals, masks), (blank, same_goals, same_masks) in zip(shown, hidden, strict=True):
        np.testing.assert_array_equal(seen["obs"], blank["obs"])
        np.testing.assert_array_equal(goals, same_goals)
        np.testing.assert_array_equal(masks, same_masks)
        assert seen["goal"].any()
        assert not blank["goal"].any()


def test_a_single_goal_never_changes() -> None:
    assert {goal for _, goals, _ in play("single") for goal in goals} == {"collect diamond"}


@pytest.mark.parametrize("arm", ["shuffled-masks", "random-masks"])
def test_masks_that_are_wrong_belong_to_the_same_goals(arm: str) -> None:
    right, wrong = play("sgrl"), play(arm)
    np.testing.assert_array_equal([goals for _, goals, _ in right], [g for _, g, _ in wrong])
    pairs = [(masks, others) for (*_, masks), (*_, others) in zip(right, wrong, strict=True)]
    assert any((masks != others).any() for masks, others in pairs)


@pytest.mark.parametrize(
    ("arm", "steps"),
    [("reweighed-50k", 50_000), ("reweighed-100k", 100_000), ("reweighed-2m", 2_000_000)],
)
def test_the_periods_of_re_weighing(arm: str, steps: int) -> None:
    assert ARMS[arm].reweigh_every == steps
    assert replace(ARMS[arm], summary=ARMS["sgrl"].summary, reweigh_every=None) == ARMS["sgrl"]


def test_goals_are_weighed_anew_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = replace(ARMS["reweighed-50k"], reweigh_every=256)
    monkeypatch.setattr(training, "ARMS", {**ARMS, "often": often})
    (tmp_path / "reweighing.json").write_text("of an earlier run")
    train_arm(
        "often",
        env_id=CRAFTAX,
        seed=0,
        steps=1024,
        num_envs=N,
        folder=tmp_path,
        progress_bar=False,
    )
    stats = json.loads((tmp_path / "guidance.json").read_text())
    factors = stats["GoalObservationWrapper"]["goal_factors"]
    assert factors
    assert set(factors) < {name.replace("_", " ") for name in ACHIEVEMENTS}
    assert all(factor < 1.0 for factor in factors.values())
    assert (tmp_path / "reweighing.json").read_text() != "of an earlier run"


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_can_be_written_down(name: str) -> None:
    record = asdict(ARMS[name])
    assert json.loads(json.dumps(record)) == record
