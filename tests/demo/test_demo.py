"""The demo: what it trains, what it writes, and what is left after Ctrl-C and errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from llm_wrappers import cli
from llm_wrappers.demo import ARMS, Experiment, run_experiment, training
from llm_wrappers.demo.arms import make_envs
from llm_wrappers.demo.report import summarise
from llm_wrappers.demo.training import RunResult, train_arm
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.scores import read_episodes
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
CRAFTER = "llm_wrappers/Crafter-v1"
N, STEPS = 4, 1024


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Any:
    """Short rollouts and little learning, for tests of everything else."""
    with pytest.MonkeyPatch.context() as patch:
        for option, value in {"n_steps": 16, "batch_size": 64, "n_epochs": 1}.items():
            patch.setitem(training.PPO_OPTIONS, option, value)
        yield


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder that the demo wrote, and what it said."""
    out = tmp_path_factory.mktemp("demo") / "out"
    arguments = ["--steps", str(STEPS), "--num-envs", str(N), "--out", str(out)]
    with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as shown:
        assert cli.main(["demo", *arguments]) == 0
    return out, said.getvalue(), shown.getvalue()


@pytest.fixture(scope="module")
def demo(said: Any) -> Path:
    return said[0]


def train(name: str, folder: Path, steps: int = 512, **options: Any) -> RunResult:
    given = {"env_id": CRAFTAX, "seed": 0, "num_envs": N, "progress_bar": False, **options}
    return train_arm(name, steps=steps, folder=folder, **given)


# --- what the demo writes and says ---


def test_both_arms_leave_their_episodes_pictures_and_table(said: Any) -> None:
    demo, out, err = said
    for arm in ("ppo", "sgrl"):
        folder = demo / arm / "seed-0"
        episodes = read_episodes(folder / "stats.jsonl")
        assert len(episodes) >= 2
        for episode in episodes:
            assert {f"achievement_{name}" for name in ACHIEVEMENTS} < set(episode)
            assert 1 <= episode["length"] <= episode["env_steps"] <= STEPS
        assert (folder / "goals.json").exists() == (arm == "sgrl")
        assert f"{arm}, seed 0: 100%" in err
    for name in ("learning_curve.png", "goals.png"):
        with Image.open(demo / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) >= 400
            # Something is drawn.
            assert len(picture.convert("RGB").getcolors(picture.width * picture.height)) > 20
    table = (demo / "table.md").read_text()
    assert table in out
    assert f"Everything is in {demo}" in out
    assert f"{CRAFTAX}, {STEPS:,} steps, 4 environments" in table
    assert "written by hand, no language model" in table


def test_the_table_and_the_summary_follow_from_the_episodes(demo: Path) -> None:
    lines = [line for line in (demo / "table.md").read_text().splitlines() if line[:1] == "|"]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    summaries = json.loads((demo / "summary.json").read_text())
    assert [row[0] for row in rows] == ["ppo", "sgrl"] == [each["arm"] for each in summaries]
    for row, summary in zip(rows, summaries, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert (cells["LLM calls"], cells["seeds"], cells["95 % interval"]) == ("0", "1", "")
        assert cells["score"] == f"{summary['score']:.2f}"
        assert cells["return"] == f"{summary['return']:.2f}"
        assert cells["achievements/episode"] == f"{summary['achievements']:.2f}"
        episodes = read_episodes(demo / summary["arm"] / "seed-0" / "stats.jsonl")
        assert summary["episodes"] == len(episodes)
        assert summary["return"] == pytest.approx(np.mean([e["reward"] for e in episodes]))
        assert summary["length"] == pytest.approx(np.mean([e["length"] for e in episodes]))
        assert summary["steps_per_second"] == pytest.approx(STEPS / summary["seconds"])
        assert (summary["steps"], summary["llm_calls"], summary["interrupted"]) == (STEPS, 0, False)


def test_the_goals_add_up(demo: Path) -> None:
    history = json.loads((demo / "sgrl" / "seed-0" / "goals.json").read_text())
    steps = history["env_steps"]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS
    counts = np.array(list(history["goals"].values()))
    assert counts.shape == (22, len(steps))
    assert (counts >= 0).all()
    # One goal per step and sub-environment; the first states and those after an end come on top.
    episodes = len(read_episodes(demo / "sgrl" / "seed-0" / "stats.jsonl"))
    assert STEPS <= counts.sum() <= STEPS + N + 2 * episodes


def test_the_models_can_be_loaded_and_used(demo: Path) -> None:
    envs = make_envs(CRAFTAX, ARMS["sgrl"], N)
    observation, _ = envs.reset(seed=0)
    guided = MaskablePPO.load(demo / "sgrl" / "seed-0" / "model.zip", device="cpu")
    masks = envs.action_masks()
    actions, _ = guided.predict(observation, action_masks=masks)
    assert masks[np.arange(N), actions].all()
    plain = PPO.load(demo / "ppo" / "seed-0" / "model.zip", device="cpu")
    assert plain.predict(observation["obs"])[0].shape == (N,)
    assert plain.num_timesteps == guided.num_timesteps == STEPS
    assert plain.batch_size == 64
    envs.close()


def test_the_seed_decides_the_run(demo: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train("sgrl", tmp_path / str(seed), steps=512, seed=seed)
    written = read_episodes(demo / "sgrl" / "seed-0" / "stats.jsonl")
    begun = [episode for episode in written if episode["env_steps"] <= 512]
    assert begun == read_episodes(tmp_path / "0" / "stats.jsonl")
    folders = (demo / "sgrl" / "seed-0", tmp_path / "0", tmp_path / "1")
    run, same, other = (json.loads((each / "goals.json").read_text()) for each in folders)
    assert {goal: counts[:8] for goal, counts in run["goals"].items()} == same["goals"]
    assert same["goals"] != other["goals"]


@pytest.mark.slow
def test_the_demo_as_a_user_runs_it(tmp_path: Path) -> None:
    runs = []
    for out in ("one", "two"):
        arguments = ["--steps", "2048", "--num-envs", str(N), "--out", out]
        process = subprocess.run(
            [sys.executable, "-m", "llm_wrappers.cli", "demo", *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        assert "Traceback" not in process.stderr
        assert "Warning" not in process.stderr
        runs.append((tmp_path / out / "sgrl" / "seed-0" / "stats.jsonl").read_bytes())
    assert runs[0] == runs[1]


# --- arms and environments ---

# One of each kind of arm; the others differ from these in an option.
ALWAYS = {"facts", "goals", "masks", "soft", "distilled"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.slow) for name in ARMS],
)
def test_every_arm_trains(name: str, tmp_path: Path) -> None:
    result = train(name, tmp_path, steps=256)
    assert (result.arm, result.steps, result.interrupted) == (name, 256, False)
    model = (MaskablePPO if ARMS[name].masked else PPO).load(tmp_path / "model.zip", device="cpu")
    assert model.num_timesteps == 256
    for file in ("goals.json", "guidance.json"):
        assert (tmp_path / file).exists() == (ARMS[name].wrap is not None)
    (summary,) = summarise([result])
    assert (summary["arm"], summary["steps"]) == (name, 256)


def test_goals_are_weighed_anew_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = replace(ARMS["reweighed-50k"], reweigh_every=256)
    monkeypatch.setattr(training, "ARMS", {**ARMS, "often": often})
    (tmp_path / "reweighing.json").write_text("of an earlier run")
    train("often", tmp_path, steps=1024)
    stats = json.loads((tmp_path / "guidance.json").read_text())
    factors = stats["GoalObservationWrapper"]["goal_factors"]
    assert factors
    assert set(factors) < {name.replace("_", " ") for name in ACHIEVEMENTS}
    assert all(factor < 1.0 for factor in factors.values())
    assert (tmp_path / "reweighing.json").read_text() != "of an earlier run"


@pytest.mark.slow
def test_crafter_trains_too_and_a_batch_that_does_not_fit_is_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(training.PPO_OPTIONS, "batch_size", 32)
    # SB3 warns of 48 steps in batches of 32, and warnings are errors here.
    outcome = run_experiment(
        Experiment(
            env_id=CRAFTER, arms=["facts", "sgrl"], steps=48, num_envs=3, out=tmp_path,
            progress_bar=False,
        )
    )  # fmt: skip
    assert [(result.arm, result.steps) for result in outcome.results] == [
        ("facts", 48),
        ("sgrl", 48),
    ]
    assert CRAFTER in outcome.table
    history = json.loads((tmp_path / "sgrl" / "seed-0" / "goals.json").read_text())
    assert sum(map(sum, history["goals"].values())) >= 48
    model = PPO.load(tmp_path / "facts" / "seed-0" / "model.zip", device="cpu")
    assert model.batch_size == 24
    parts = {key: part.dtype.name for key, part in model.observation_space.items()}
    assert parts == {"facts": "float32", "obs": "uint8"}


def test_a_run_replaces_the_one_before(tmp_path: Path) -> None:
    train("sgrl", tmp_path)
    train("ppo", tmp_path, steps=64)
    assert not (tmp_path / "goals.json").exists()
    stats = tmp_path / "stats.jsonl"
    assert all(e["env_steps"] <= 64 for e in (read_episodes(stats) if stats.exists() else []))
    assert PPO.load(tmp_path / "model.zip", device="cpu").num_timesteps == 64


# --- Ctrl-C and errors ---


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
    assert (result.arm, result.seed, result.steps, result.interrupted) == ("sgrl", 0, 1200, True)
    assert "interrupted at 1,200 steps" in outcome.table
    assert (tmp_path / "table.md").read_text() == outcome.table + "\n"
    (summary,) = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["episodes"] == len(read_episodes(tmp_path / "sgrl" / "seed-0" / "stats.jsonl"))
    model = MaskablePPO.load(tmp_path / "sgrl" / "seed-0" / "model.zip", device="cpu")
    assert model.num_timesteps == 1200
    assert not (tmp_path / "ppo").exists()
    assert not tqdm._instances


def test_an_interrupt_before_anything_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "make_envs", interrupt)
    outcome = run_experiment(Experiment(out=tmp_path, num_envs=N))
    assert (outcome.results, outcome.interrupted) == ([], True)
    assert outcome.table == "nothing was trained"
    assert not (tmp_path / "table.md").exists()


def test_an_error_is_not_hidden(
    tmp_path: Path, ends_early: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_early(200, RuntimeError("the disk is full"))
    with pytest.raises(RuntimeError, match="the disk is full"):
        train("sgrl", tmp_path, steps=4000, progress_bar=True)
    assert not tqdm._instances
    assert "sgrl, seed 0" in capsys.readouterr().err
    assert read_episodes(tmp_path / "stats.jsonl")


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    arguments = ["--arms", "sgrl", "ppo", "--steps", "10000000", "--num-envs", str(N)]
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_wrappers.cli", "demo", *arguments, "--out", "out"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
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
    assert (tmp_path / "out" / "table.md").read_text() in out
    model = MaskablePPO.load(folder / "model.zip", device="cpu")
    (summary,) = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["steps"] == model.num_timesteps > 0
    assert not (tmp_path / "out" / "ppo").exists()


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"env_id": "CartPole-v1"}, UnknownNameError, "env must be one of"),
        ({"arms": ["ppo", "sgarl"]}, UnknownNameError, r"arms must be among .* got \['sgarl'\]"),
        ({"arms": []}, InvalidOptionError, "at least one arm and one seed"),
        ({"seeds": []}, InvalidOptionError, "at least one arm and one seed"),
        ({"arms": ["ppo", "ppo"]}, InvalidOptionError, "arms must not repeat"),
        ({"seeds": [1, 1]}, InvalidOptionError, "seeds must not repeat"),
        ({"seeds": [-1]}, InvalidOptionError, "seeds must be >= 0"),
        ({"steps": 0}, InvalidOptionError, "steps must be >= 1, got 0"),
        ({"num_envs": 0}, InvalidOptionError, "num_envs must be >= 1, got 0"),
    ],
)
def test_experiments_that_make_no_sense(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Experiment(**options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": "sgarl"}, UnknownNameError),
        ({"steps": 0}, InvalidOptionError),
        ({"num_envs": 0}, InvalidOptionError),
        ({"env_id": "CartPole-v1"}, UnknownNameError),
    ],
)
def test_runs_that_make_no_sense(options: Any, error: Any, tmp_path: Path) -> None:
    with pytest.raises(error):
        train(**{"name": "ppo", "folder": tmp_path / "run", **options})
