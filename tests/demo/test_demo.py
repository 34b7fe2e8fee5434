"""The demo: what it trains and what it writes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from llm_wrappers import cli
from llm_wrappers.demo import ARMS, Experiment, run_experiment, training
from llm_wrappers.demo.report import summarise, write_report
from llm_wrappers.demo.training import RunResult, train_arm
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.scores import interquartile_mean, read_episodes
from llm_wrappers.worlds.crafter.captioner import ACHIEVEMENTS

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
CRAFTER = "llm_wrappers/Crafter-v1"
N = 4


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rollouts and little learning, for tests of everything else."""
    for option, value in {"n_steps": 16, "batch_size": 64, "n_epochs": 1}.items():
        monkeypatch.setitem(training.PPO_OPTIONS, option, value)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def process(out: Path) -> subprocess.CompletedProcess[str]:
    """Return the demo as a user runs it, in a process of its own and an empty folder."""
    arguments = ["--steps", "2048", "--num-envs", str(N), "--out", out.name]
    return subprocess.run(
        [sys.executable, "-m", "llm_wrappers.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=out.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def demo(process: Any, out: Path) -> Path:
    """Return the folder that the demo wrote."""
    assert process.returncode == 0, process.stderr
    return out


def train(name: str, folder: Path, steps: int = 512, **options: Any) -> RunResult:
    given = {"env_id": CRAFTAX, "seed": 0, "num_envs": N, "progress_bar": False, **options}
    return train_arm(name, steps=steps, folder=folder, **given)


def check_picture(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        width, height = picture.size
        colours = len(picture.convert("RGB").getcolors(width * height) or ())
    assert width >= 600
    assert height >= 400
    assert colours > 20  # something is drawn


def make_result(
    folder: Path, episodes: list[dict[str, Any]], arm: str = "ppo", **fields: Any
) -> Any:
    folder.mkdir(parents=True)
    lines = [json.dumps(episode) + "\n" for episode in episodes]
    (folder / "stats.jsonl").write_text("".join(lines))
    given = {"seed": 0, "steps": 1000, "seconds": 4.0, "interrupted": False, **fields}
    return RunResult(arm, folder=folder, **given)


def make_episodes(count: int, seed: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    return [
        {
            "length": int(generator.integers(1, 300)),
            "reward": round(float(generator.normal()), 1),
            **{f"achievement_{name}": int(generator.poisson(0.4)) for name in ACHIEVEMENTS},
            "env_steps": 100 * (index + 1),
        }
        for index in range(count)
    ]


def score_by_hand(episodes: list[dict[str, Any]]) -> float:
    logs = []
    for name in ACHIEVEMENTS:
        successes = [episode for episode in episodes if episode[f"achievement_{name}"] >= 1]
        logs.append(math.log(1 + 100 * len(successes) / len(episodes)))
    return math.exp(sum(logs) / 22) - 1


# --- what the demo writes ---


def test_the_demo_trains_both_arms_and_writes_everything(demo: Path) -> None:
    for arm in ("ppo", "sgrl"):
        folder = demo / arm / "seed-0"
        episodes = read_episodes(folder / "stats.jsonl")
        assert len(episodes) >= 4
        for episode in episodes:
            assert {f"achievement_{name}" for name in ACHIEVEMENTS} < set(episode)
            assert 1 <= episode["length"] <= episode["env_steps"] <= 2048
        assert (folder / "goals.json").exists() == (arm == "sgrl")
    for name in ("learning_curve.png", "goals.png"):
        check_picture(demo / name)


def test_the_table(demo: Path) -> None:
    table = (demo / "table.md").read_text()
    assert f"{CRAFTAX}, 2,048 steps, 4 environments" in table
    assert "written by hand, no language model" in table
    lines = [line for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in rows] == ["ppo", "sgrl"]
    summaries = json.loads((demo / "summary.json").read_text())
    for row, summary in zip(rows, summaries, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert cells["LLM calls"] == "0"
        assert cells["seeds"] == "1"
        assert cells["score"] == f"{summary['score']:.2f}"
        assert cells["return"] == f"{summary['return']:.2f}"
        assert cells["achievements/episode"] == f"{summary['achievements']:.2f}"
        assert cells["95 % interval"] == ""  # one seed has no spread


def test_the_summary_follows_from_the_episodes(demo: Path) -> None:
    for summary in json.loads((demo / "summary.json").read_text()):
        folder = demo / summary["arm"] / "seed-0"
        lines = (folder / "stats.jsonl").read_text().splitlines()
        episodes = [json.loads(line) for line in lines]
        unlocked = [
            sum(episode[f"achievement_{name}"] >= 1 for name in ACHIEVEMENTS)
            for episode in episodes
        ]
        assert summary["episodes"] == len(episodes)
        assert summary["score"] == pytest.approx(score_by_hand(episodes))
        assert summary["return"] == pytest.approx(np.mean([e["reward"] for e in episodes]))
        assert summary["length"] == pytest.approx(np.mean([e["length"] for e in episodes]))
        assert summary["achievements"] == pytest.approx(np.mean(unlocked))
        assert summary["steps"] == 2048
        assert summary["steps_per_second"] == pytest.approx(2048 / summary["seconds"])
        assert summary["llm_calls"] == 0
        assert summary["interrupted"] is False


def test_the_goals_add_up(demo: Path) -> None:
    history = json.loads((demo / "sgrl" / "seed-0" / "goals.json").read_text())
    steps = history["env_steps"]
    assert steps[-1] == 2048
    assert steps == sorted(set(steps))
    counts = np.array(list(history["goals"].values()))
    assert counts.shape == (22, len(steps))
    assert (counts >= 0).all()
    # One goal per step and sub-environment; the first states and those after an end come on top.
    episodes = len(read_episodes(demo / "sgrl" / "seed-0" / "stats.jsonl"))
    assert 2048 <= counts.sum() <= 2048 + N + 2 * episodes


def test_the_models_can_be_loaded_and_used(demo: Path) -> None:
    envs = training.make_envs(CRAFTAX, ARMS["sgrl"], N)
    observation, _ = envs.reset(seed=0)
    guided = MaskablePPO.load(demo / "sgrl" / "seed-0" / "model.zip", device="cpu")
    masks = envs.action_masks()
    actions, _ = guided.predict(observation, action_masks=masks)
    assert masks[np.arange(N), actions].all()
    plain = PPO.load(demo / "ppo" / "seed-0" / "model.zip", device="cpu")
    actions, _ = plain.predict(observation["obs"])
    assert actions.shape == (N,)
    assert plain.num_timesteps == guided.num_timesteps == 2048
    envs.close()


def test_what_the_demo_says(process: Any, demo: Path) -> None:
    assert (demo / "table.md").read_text() in process.stdout
    assert "Everything is in out" in process.stdout
    for arm in ("ppo", "sgrl"):
        assert f"{arm}, seed 0: 100%" in process.stderr
    assert "Traceback" not in process.stderr
    assert "Warning" not in process.stderr


def test_the_same_seed_gives_the_same_run_in_any_process(demo: Path, tmp_path: Path) -> None:
    arguments = ["--arms", "sgrl", "--steps", "2048", "--num-envs", str(N), "--no-progress"]
    assert cli.main(["demo", *arguments, "--out", str(tmp_path)]) == 0
    for name in ("stats.jsonl", "goals.json"):
        first, second = (folder / "sgrl" / "seed-0" / name for folder in (demo, tmp_path))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("quick")
def test_another_seed_is_another_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        train("ppo", tmp_path / str(seed), seed=seed)
    first, second = ((tmp_path / seed / "stats.jsonl").read_bytes() for seed in "01")
    assert first != second


# --- arms and environments ---


# One of each kind of arm; the others differ from these in an option.
ALWAYS = {"facts", "goals", "masks", "annealed", "soft", "distilled", "reweighed-50k"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.slow) for name in ARMS],
)
def test_every_arm_trains(name: str, tmp_path: Path) -> None:
    result = train(name, tmp_path)
    assert (result.arm, result.steps, result.interrupted) == (name, 512, False)
    model = (MaskablePPO if ARMS[name].masked else PPO).load(tmp_path / "model.zip", device="cpu")
    assert model.num_timesteps == 512
    for file in ("goals.json", "guidance.json"):
        assert (tmp_path / file).exists() == (ARMS[name].wrap is not None)
    (summary,) = summarise([result])
    assert summary["episodes"] >= 1


@pytest.mark.usefixtures("quick")
def test_crafter(tmp_path: Path) -> None:
    outcome = run_experiment(
        Experiment(env_id=CRAFTER, steps=64, num_envs=2, out=tmp_path, progress_bar=False)
    )
    assert [result.arm for result in outcome.results] == ["ppo", "sgrl"]
    assert [result.steps for result in outcome.results] == [64, 64]
    assert CRAFTER in outcome.table
    history = json.loads((tmp_path / "sgrl" / "seed-0" / "goals.json").read_text())
    assert sum(map(sum, history["goals"].values())) >= 64


@pytest.mark.usefixtures("quick")
def test_crafter_shows_facts_beside_its_pictures(tmp_path: Path) -> None:
    train("facts", tmp_path, env_id=CRAFTER, num_envs=2, steps=32)
    space = PPO.load(tmp_path / "model.zip", device="cpu").observation_space
    assert {key: part.dtype.name for key, part in space.items()} == {
        "facts": "float32",
        "obs": "uint8",
    }


def test_the_batch_size_is_kept_where_it_fits(demo: Path) -> None:
    rollout, batch = training.PPO_OPTIONS["n_steps"] * N, training.PPO_OPTIONS["batch_size"]
    model = PPO.load(demo / "ppo" / "seed-0" / "model.zip", device="cpu")
    assert model.batch_size == (batch if rollout % batch == 0 else math.gcd(rollout, batch))


@pytest.mark.usefixtures("quick")
def test_a_batch_that_does_not_fit_is_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(training.PPO_OPTIONS, "batch_size", 32)
    # SB3 warns of 48 steps in batches of 32, and warnings are errors here.
    train("ppo", tmp_path, env_id=CRAFTER, num_envs=3, steps=1)
    assert PPO.load(tmp_path / "model.zip", device="cpu").batch_size == 24


# --- what is left of earlier runs ---


@pytest.mark.usefixtures("quick")
def test_a_run_replaces_the_one_before(tmp_path: Path) -> None:
    train("sgrl", tmp_path)
    assert read_episodes(tmp_path / "stats.jsonl")[-1]["env_steps"] > 64
    train("ppo", tmp_path, steps=64)
    assert not (tmp_path / "goals.json").exists()
    ends = [episode["env_steps"] for episode in read_episodes_if_any(tmp_path / "stats.jsonl")]
    assert all(end <= 64 for end in ends)
    assert PPO.load(tmp_path / "model.zip", device="cpu").num_timesteps == 64


def read_episodes_if_any(path: Path) -> list[dict[str, Any]]:
    return read_episodes(path) if path.exists() else []


def test_a_picture_of_goals_from_before_is_removed(tmp_path: Path) -> None:
    (tmp_path / "goals.png").write_bytes(b"of an earlier experiment")
    write_report([make_result(tmp_path / "run", make_episodes(3, 0))], tmp_path, title="")
    assert not (tmp_path / "goals.png").exists()


# --- numbers ---


def test_the_last_episodes_are_summarised_apart(tmp_path: Path) -> None:
    episodes = make_episodes(310, 1)
    (summary,) = summarise([make_result(tmp_path / "run", episodes)])
    last = episodes[10:]
    assert summary["score"] == pytest.approx(score_by_hand(episodes))
    assert summary["last_score"] == pytest.approx(score_by_hand(last))
    assert summary["last_return"] == pytest.approx(np.mean([e["reward"] for e in last]))
    assert summary["last_achievements"] == pytest.approx(
        np.mean([sum(e[f"achievement_{name}"] >= 1 for name in ACHIEVEMENTS) for e in last])
    )
    assert summary["last_success_rates"]["eat_cow"] == pytest.approx(
        np.mean([100 * (e["achievement_eat_cow"] >= 1) for e in last])
    )
    assert summary["steps_per_second"] == 250.0


def test_seeds_are_summarised_with_an_interval(tmp_path: Path) -> None:
    results = [
        make_result(tmp_path / arm / str(seed), make_episodes(20, seed), arm, seed=seed)
        for arm in ("ppo", "sgrl")
        for seed in range(5)
    ]
    table = write_report(results, tmp_path, title="five seeds")
    scores = [score_by_hand(make_episodes(20, seed)) for seed in range(5)]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[2:4] == ["5", f"{interquartile_mean(scores):.2f}"]
        low, high = map(float, cells[4].split(" to "))
        assert min(scores) - 0.01 <= low < high <= max(scores) + 0.01


def test_a_run_without_a_finished_episode(tmp_path: Path) -> None:
    result = make_result(tmp_path / "run", [])
    (result.folder / "stats.jsonl").unlink()
    (summary,) = summarise([result])
    assert (summary["episodes"], summary["score"], summary["return"]) == (0, 0.0, 0.0)
    write_report([result], tmp_path, title="nothing ended")
    with Image.open(tmp_path / "learning_curve.png") as picture:
        assert picture.format == "PNG"


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
