"""The LMGT benchmark runs, goes on where it stopped, and reports; not what it measures."""

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

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "lmgt.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=ENVIRONMENT
    )


def small(out: Path) -> tuple[object, ...]:
    """Return a benchmark of three parts that takes seconds."""
    return (
        "--parts", "cartpole", "blackjack", "watch", "--steps", 60, "--seeds", 0, 1,
        "--arms", "none", "anti-oracle", "potential", "scale 5", "--out", out,
    )  # fmt: skip


def rows_of(text: str) -> list[dict[str, str]]:
    """Return the rows of the table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("lmgt") / "out"
    process = run(*small(out))
    assert process.returncode == 0, process.stderr
    return out, process


@pytest.mark.slow
def test_titles_say_what_was_measured(measured: Any) -> None:
    _, process = measured
    assert "CartPole-v1, A2C, 60 steps, seeds 0, 1: return of 20 deterministic episodes" in (
        process.stdout
    )
    assert "the optimum is -0.0466" in process.stdout
    assert "interquartile mean over seeds (95 % bootstrap interval)" in process.stdout
    assert "no language model was asked" in process.stdout


@pytest.mark.slow
def test_every_part_has_a_table_of_its_own_arms(measured: Any) -> None:
    out, _ = measured
    tables = {path.stem: rows_of(path.read_text()) for path in out.glob("*.md")}
    assert {name: [row["judge"] for row in rows] for name, rows in tables.items()} == {
        "cartpole-60": ["none", "anti-oracle", "potential"],
        "blackjack-60": ["none", "anti-oracle"],
        "watch-60": ["none", "scale 5"],
    }
    assert all(row["seeds"] == "2" for rows in tables.values() for row in rows)
    agreement = {r["judge"]: r["agrees with the oracle"] for r in tables["blackjack-60"]}
    assert agreement == {"none": "", "anti-oracle": "0%"}
    assert {row["solved"] for row in tables["watch-60"]} == {"0/2"}


@pytest.mark.slow
def test_what_is_there_is_not_measured_again_and_what_does_not_fit_is(measured: Any) -> None:
    out, first = measured
    path = out / "watch-60" / "none-0.json"
    record = json.loads(path.read_text())
    record["asked"]["version"] = "another"
    path.write_text(json.dumps(record))
    again = run(*small(out))
    assert "13 of 14 results are there" in again.stderr
    assert again.stderr.count("done;") == 1
    assert again.stdout == first.stdout


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_what_is_missing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--parts", "watch", "--seeds", 0, 1, 2, "--steps", 1500, "--out", tmp_path),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said
    assert "results are missing" in shown
    assert len(rows_of(shown)) == len({path.stem[:-2] for path in tmp_path.glob("*/*.json")})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--parts", "chess"), "invalid choice: 'chess'"),
        (("--arms", "wise"), "invalid choice: 'wise'"),
        (("--steps", 0), "--steps must be at least 1, got 0"),
        (("--seeds", -1), "--seeds must be at least 0, got -1"),
    ],
)
def test_options_that_cannot_be_are_refused(
    script: Any, arguments: tuple[object, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        script.parse([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def script() -> Any:
    """Return the benchmark as a module, found as a script finds what lies beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import lmgt

        yield lmgt


class TestExactBlackjack:
    """The figures that a policy is measured by, against known ones and against play."""

    @pytest.mark.parametrize(
        ("limit", "value"), [(0, -0.1864), (17, -0.0793), (20, -0.3536)], ids=str
    )
    def test_known_policies(self, script: Any, limit: int, value: float) -> None:
        policy = np.zeros((32, 11, 2), int)
        policy[:limit] = 1
        assert script.lmgt_cells.blackjack_value(policy) == pytest.approx(value, abs=1e-4)

    def test_the_best_policy(self, script: Any) -> None:
        assert script.lmgt_cells.blackjack_value(None) == pytest.approx(-0.0466, abs=1e-4)

    def test_agrees_with_play(self, script: Any) -> None:
        generator = np.random.default_rng(0)
        policy = generator.integers(2, size=(32, 11, 2))
        env, total, hands = gym.make("Blackjack-v1"), 0.0, 6000
        state, _ = env.reset(seed=0)
        for _ in range(hands):
            over = False
            while not over:
                state, reward, over, _, _ = env.step(int(policy[state]))
            total += float(reward)
            state, _ = env.reset()
        # Four standard errors of 6,000 hands.
        assert total / hands == pytest.approx(script.lmgt_cells.blackjack_value(policy), abs=0.05)


@pytest.mark.slow
def test_speed_reports_both_environments(script: Any) -> None:
    rows = rows_of(script.speed_table(50))
    assert [row["environment"] for row in rows] == ["CartPole-v1", "Blackjack-v1"]
    assert all(float(row["time, times bare"]) > 1 for row in rows)


@pytest.mark.slow
def test_pendulum_learns_at_all(script: Any) -> None:
    result = script.lmgt_cells.run("pendulum", "reference", steps=110, seed=0)
    assert -2500 < result["value"] < 0
    assert result["agreement"] == 1.0
