"""The ULTRA benchmark runs, goes on where it stopped, and reports; not what it measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from llm_wrappers.guidance.critical.correcting import RuleCorrector
from llm_wrappers.trajectories.trajectory import Trajectory

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "ultra.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TINY = ("--steps", 64, "--pretraining", 64, "--oracle", 64, "--history", 2, "--episodes", 2)


@pytest.fixture(scope="module")
def script() -> Any:
    """Return the benchmark as a module, found as a script finds what lies beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import ultra

        yield ultra


@pytest.fixture(scope="module")
def parts(script: Any) -> Any:
    """Return what the benchmark is made of."""
    return script.ultra_cells


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=ENVIRONMENT
    )


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table in a text, by arm."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_the_list_names_environments_and_arms(
    script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["pong", "hopper", "walker", "ant"]
    assert "alpha 0.5, oracle a rule" in lines[0]
    assert "alpha 0.1, oracle a policy" in lines[1]
    assert 'arm "random RA": random moments, RA; moments: random' in lines
    assert 'arm "none": PPO without advice' in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--env", "chess"), "invalid choice: 'chess'"),
        (("--arms", "wise"), "invalid choice: 'wise'"),
        (("--steps", "0"), "--steps must be at least 1, got 0"),
        (("--processes", "0"), "--processes must be at least 1, got 0"),
        (("--seeds", "-1"), "--seeds must be at least 0, got -1"),
        (("--alpha", "-1"), "--alpha must be a finite number from 0, got -1"),
        (("--observation", "frames"), "frames is for Pong only: give --env pong"),
    ],
)
def test_options_that_cannot_be_are_refused(
    script: Any, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        script.parse(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_there_is_advice_only_while_the_ball_comes(parts: Any) -> None:
    facts = {
        "ball_x": 100, "ball_y": 150, "ball_dx": 4, "ball_dy": 0, "ball_towards_you": True,
        "paddle_y": 80, "paddle_dy": 0,
    }  # fmt: skip
    assert parts.pong_rule(facts) == 2  # the last of stay, up, down
    assert parts.pong_rule({**facts, "ball_dx": -4, "ball_towards_you": False}) is None
    unknown = {"ball_dx": None, "ball_dy": None, "ball_towards_you": None}
    assert parts.pong_rule({**facts, **unknown}) is None


def test_pong_as_numbers_is_what_the_captioner_reads(script: Any) -> None:
    env = script.tasks()["pong"].make()
    env.reset(seed=0)
    moved = coming = 0
    for step in range(200):
        observation, _, _, _, info = env.step(1 if step % 20 < 10 else 2)
        assert env.observation_space.contains(observation)
        batched = {name: info[name][None] for name in ("ram", "previous_ram")}
        [facts] = env.get_wrapper_attr("captioner").facts(None, batched)
        assert observation[5] * 80 + 105 == pytest.approx(facts["paddle_y"], abs=0.01)
        assert observation[6] * 16 == pytest.approx(facts["paddle_dy"], abs=0.01)
        if facts["ball_in_play"]:
            assert observation[0] * 80 + 80 == pytest.approx(facts["ball_x"], abs=0.01)
            assert observation[2] * 16 == pytest.approx(facts["ball_dx"] or 0, abs=0.01)
            below = facts["ball_y"] - facts["paddle_y"]
            assert observation[4] * 80 == pytest.approx(below, abs=0.01)
        else:
            assert not observation[:5].any()
        moved += observation[6] != 0
        coming += observation[2] > 0
    assert min(moved, coming) > 20


@pytest.fixture(scope="module")
def model() -> PPO:
    return PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")


@pytest.fixture(scope="module")
def episode() -> Trajectory:
    generator = np.random.default_rng(0)
    states = generator.normal(size=(41, 4)).astype(np.float32)
    facts = [{"step": step} for step in range(41)]
    return Trajectory(states, np.zeros(40, int), np.ones(40), True, False, facts=facts)


class TestDisagreement:
    """The oracle's identification, with a policy that leans to one side."""

    def test_moments_are_where_the_advice_is_least_likely(
        self, parts: Any, model: PPO, episode: Trajectory
    ) -> None:
        corrector = RuleCorrector(lambda facts: 1, gym.spaces.Discrete(2))
        found = parts.Disagreement(model, corrector).select([episode, episode], per_episode=1)
        seen, _ = model.policy.obs_to_tensor(episode.observations[:40])
        likely = model.policy.get_distribution(seen).distribution.probs[:, 1].detach().numpy()
        expected = int(likely.argmin())
        assert [(moment.episode, moment.step) for moment in found] == [(0, expected), (1, expected)]
        assert found[0].importance == pytest.approx(1.0 - likely.min(), abs=1e-6)

    def test_moments_are_apart_in_order_and_only_where_there_is_advice(
        self, parts: Any, model: PPO, episode: Trajectory
    ) -> None:
        corrector = RuleCorrector(
            lambda facts: 1 if facts["step"] >= 20 else None, gym.spaces.Discrete(2)
        )
        found = parts.Disagreement(model, corrector).select([episode], per_episode=40)
        steps = [moment.step for moment in found]
        assert steps == sorted(steps)
        assert min(steps) >= 20
        assert 3 <= len(steps) <= 5
        assert min(np.diff(steps)) >= parts.MIN_GAP

    def test_no_advice_at_all_is_no_moment(
        self, parts: Any, model: PPO, episode: Trajectory
    ) -> None:
        corrector = RuleCorrector(lambda facts: None, gym.spaces.Discrete(2))
        assert parts.Disagreement(model, corrector).select([episode], per_episode=3) == []

    def test_a_box_is_compared_by_its_largest_difference(self, parts: Any) -> None:
        model = PPO("MlpPolicy", "Pendulum-v1", seed=0, device="cpu")
        states = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], np.float32)
        facts = [{"advice": value} for value in (0.1, -1.5, 0.0)]
        episode = Trajectory(states, np.zeros((2, 1)), np.ones(2), True, False, facts=facts)
        corrector = RuleCorrector(lambda row: np.array([row["advice"]]), model.action_space)
        [found] = parts.Disagreement(model, corrector).select([episode], per_episode=1)
        assert found.step == 1
        mine, _ = model.predict(states[1], deterministic=True)
        assert found.importance == pytest.approx(abs(float(mine[0]) + 1.5), abs=1e-5)


def test_preparing_is_asked_for_again_only_if_it_would_differ(script: Any) -> None:
    def asked(*arguments: str) -> Any:
        return script.preparation_of("hopper", script.parse(arguments)).asked

    assert asked() == asked("--steps", "7", "--seeds", "3")
    assert asked() != asked("--pretraining", "7")
    assert asked() != asked("--oracle", "7")
    assert asked() != asked("--history", "7")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("ultra")
    process = run("--env", "hopper", *TINY, "--seeds", 0, "--out", out)
    assert process.returncode == 0, process.stderr
    return out, process


@pytest.mark.slow
def test_every_arm_has_a_row_with_what_the_wrapper_did(measured: Any, script: Any) -> None:
    out, process = measured
    rows = rows_of((out / "hopper" / "table.md").read_text())
    assert list(rows) == ["before", "oracle", *script.ARMS]
    assert all(rows[arm]["seeds"] == "1" for arm in script.ARMS)
    assert rows["none"]["hits per 1,000"] == ""
    advised = [arm for arm, described in script.ARMS.items() if described.selector]
    assert all(float(rows[arm]["hits per 1,000"]) > 0 for arm in advised)
    assert rows["R"]["overrides per 1,000"] == "0"
    assert 0 < float(rows["RA"]["overrides per 1,000"]) < float(rows["RA"]["hits per 1,000"])
    literal = rows["RA literal"]
    assert literal["overrides per 1,000"] == literal["hits per 1,000"]
    assert "Hopper-v5 (default observations and rewards), PPO, 64 steps" in process.stdout
    assert "no language model was asked" in process.stdout


@pytest.mark.slow
def test_what_is_there_is_not_trained_again(measured: Any) -> None:
    out, first = measured
    path = out / "hopper" / "R" / "seed-0" / "result.json"
    record = json.loads(path.read_text())
    record["asked"]["prepared"]["version"] = "another"
    path.write_text(json.dumps(record))
    again = run("--env", "hopper", *TINY, "--seeds", 0, "--out", out)
    assert "1 of 1 runs are complete" in again.stderr
    assert "6 of 7 runs are complete" in again.stderr
    assert again.stderr.count(": done;") == 1
    assert again.stdout == first.stdout


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--env", "hopper", *TINY, "--seeds", *range(20), "--arms", "none", "R",
                "--out", tmp_path),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("hopper/*/seed-0/result.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said
    assert "runs are missing" in shown


@pytest.mark.slow
def test_what_fails_is_named_and_nothing_is_trained_from_it(tmp_path: Path) -> None:
    (tmp_path / "hopper" / "prepare" / "policy.zip").mkdir(parents=True)
    process = run("--env", "hopper", *TINY, "--arms", "none", "--seeds", 0, "--out", tmp_path)
    assert process.returncode == 1
    assert "failed: hopper, prepare, seed 0: training ended with status 1" in process.stderr
    assert rows_of(process.stdout + "| arm |\n| --- |") == {}


@pytest.mark.slow
@pytest.mark.parametrize("observation", ["numbers", "frames"])
def test_pong_runs_as_numbers_and_as_frames(tmp_path: Path, observation: str) -> None:
    process = run(
        "--env", "pong", "--observation", observation, *TINY, "--history", 1, "--arms", "RA",
        "--seeds", 0, "--out", tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    rows = rows_of(process.stdout)
    assert list(rows) == ["before", "RA"]
    assert -21 <= float(rows["RA"]["return"]) <= 21
    assert float(rows["RA"]["hits per 1,000"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["walker", "ant"])
def test_the_other_bodies_run(tmp_path: Path, name: str) -> None:
    process = run("--env", name, *TINY, "--arms", "RA", "--seeds", 0, "--out", tmp_path)
    assert process.returncode == 0, process.stderr
    assert list(rows_of(process.stdout)) == ["before", "oracle", "RA"]
