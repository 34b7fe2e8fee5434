"""The demo after Ctrl-C and errors: what was done is on disk, and reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from llm_wrappers.demo import Experiment, run_experiment, training
from llm_wrappers.demo.training import train_arm
from llm_wrappers.scores import read_episodes

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
N = 4


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for option, value in {"n_steps": 16, "batch_size": 64, "n_epochs": 1}.items():
        monkeypatch.setitem(training.PPO_OPTIONS, option, value)


class RaiseAt(BaseCallback):
    """Raises at a step, as Ctrl-C does."""

    def __init__(self, call: int, error: BaseException) -> None:
        super().__init__()
        self.call, self.error = call, error

    def _on_step(self) -> bool:
        if self.n_calls == self.call:
            raise self.error
        return True


@pytest.fixture
def ends_early(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets training end by an error after a number of steps."""

    def set_up(call: int, error: BaseException) -> None:
        make = training._callbacks
        monkeypatch.setattr(
            training, "_callbacks", lambda *given: [*make(*given), RaiseAt(call, error)]
        )

    return set_up


def test_an_interrupt_keeps_what_was_done(tmp_path: Path, ends_early: Any) -> None:
    ends_early(300, KeyboardInterrupt())
    outcome = run_experiment(
        Experiment(arms=["sgrl", "ppo"], seeds=[0, 1], steps=4000, num_envs=N, out=tmp_path)
    )
    assert outcome.interrupted
    (result,) = outcome.results  # no other run was started
    assert (result.arm, result.seed, result.steps) == ("sgrl", 0, 1200)
    assert result.interrupted
    assert "interrupted at 1,200 steps" in outcome.table
    assert (tmp_path / "table.md").read_text() == outcome.table + "\n"
    (summary,) = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["episodes"] == len(read_episodes(tmp_path / "sgrl" / "seed-0" / "stats.jsonl"))
    assert summary["episodes"] >= 2
    model = MaskablePPO.load(tmp_path / "sgrl" / "seed-0" / "model.zip", device="cpu")
    assert model.num_timesteps == 1200
    assert not (tmp_path / "ppo").exists()
    assert not tqdm._instances


def test_an_interrupt_before_anything_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_compile", interrupt)
    outcome = run_experiment(Experiment(out=tmp_path, num_envs=N))
    assert (outcome.results, outcome.interrupted) == ([], True)
    assert outcome.table == "nothing was trained"
    assert not (tmp_path / "table.md").exists()


def test_an_error_is_not_hidden(
    tmp_path: Path, ends_early: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_early(200, RuntimeError("the disk is full"))
    with pytest.raises(RuntimeError, match="the disk is full"):
        train_arm("sgrl", env_id=CRAFTAX, seed=0, steps=4000, num_envs=N, folder=tmp_path)
    assert not tqdm._instances
    assert "sgrl, seed 0" in capsys.readouterr().err
    assert read_episodes(tmp_path / "stats.jsonl")


def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    arguments = ["--arms", "sgrl", "ppo", "--steps", "10000000", "--num-envs", str(N)]
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_wrappers.cli", "demo", *arguments, "--out", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    folder = tmp_path / "out" / "sgrl" / "seed-0"
    try:
        # It must have trained for a while: an episode has ended, and a rollout was learned from.
        deadline = time.monotonic() + 120
        while not ((folder / "stats.jsonl").exists() and (folder / "goals.json").exists()):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "training has not begun"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted at" in out
    assert (tmp_path / "out" / "table.md").read_text() in out
    model = MaskablePPO.load(folder / "model.zip", device="cpu")
    (summary,) = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["steps"] == model.num_timesteps > 0
    assert summary["episodes"] == len(read_episodes(folder / "stats.jsonl")) >= 1
    assert (tmp_path / "out" / "goals.png").stat().st_size > 5000
    assert not (tmp_path / "out" / "ppo").exists()
