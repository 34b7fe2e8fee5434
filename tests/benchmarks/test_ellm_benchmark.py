"""The ELLM benchmark runs, goes on where it stopped, and reports; not what it measures."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from llm_wrappers.embeddings import HashingEncoder

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPT = FOLDER / "ellm.py"
SMALL = ["--seeds", "0", "--steps", "512", "--num-envs", "4"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def module() -> Any:
    """Return the benchmark as a module; it is a script and finds its neighbours beside it."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield load("ellm")
    finally:
        sys.path.remove(str(FOLDER))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table in a text, by arm."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True, text=True, check=False, env=ONE_THREAD,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder and the process of a small comparison, run as a user runs it."""
    out = tmp_path_factory.mktemp("ellm") / "out"
    done = bench("--arms", "ellm", "rnd", *SMALL, "--processes", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.mark.slow
def test_the_table_says_what_was_measured_and_how(trained: Any) -> None:
    out, done = trained
    rows = rows_of(done.stdout)
    assert list(rows) == ["ellm", "rnd"]
    assert rows["ellm"]["what pays"] == "reference:craftax-classic"
    assert rows["rnd"]["what pays"] == "random network distillation"
    assert float(rows["ellm"]["achievements/episode, all"]) > 0
    for said in (
        "llm_wrappers/CraftaxClassic-v1", "512 steps a run", "4 environments", "seeds 0",
        "Reward-free", "interquartile mean", "95 % bootstrap", "- ellm: ", "official estimator",
    ):  # fmt: skip
        assert said in done.stdout
    assert (out / "table.md").read_text().strip() == done.stdout.strip()


@pytest.mark.slow
def test_the_numbers_are_those_of_the_episodes(trained: Any) -> None:
    out, _ = trained
    summaries = json.loads((out / "summary.json").read_text())
    for summary in summaries:
        path = out / summary["arm"] / "seed-0" / "stats.jsonl"
        episodes = [json.loads(line) for line in path.read_text().splitlines()]
        unlocked = [sum(e[k] > 0 for k in e if k.startswith("achievement_")) for e in episodes]
        late = [n for n, e in zip(unlocked, episodes, strict=True) if e["env_steps"] > 512 * 2 / 3]
        assert summary["episodes"] == len(episodes)
        assert summary["all_achievements"] == pytest.approx(np.mean(unlocked))
        assert summary["achievements"] == pytest.approx(np.mean(late))


@pytest.mark.slow
def test_arms_learn_from_rewards_of_their_own(trained: Any) -> None:
    from stable_baselines3 import PPO

    out, _ = trained
    policies = [
        PPO.load(out / arm / "seed-0" / "model.zip", device="cpu").policy for arm in ("ellm", "rnd")
    ]
    one, other = (policy.value_net.weight for policy in policies)
    assert not one.equal(other)


@pytest.mark.slow
def test_what_is_complete_is_not_trained_again(
    trained: Any,
    module: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shutil.copytree(trained[0], tmp_path / "out")
    started: list[str] = []

    def train(self: Any, run: Any) -> None:
        started.append(f"{run.arm} {run.seed}")
        raise RuntimeError("training ended with status 3")

    monkeypatch.setattr(module.Trainings, "_train", train)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    same = ["--arms", "ellm", "rnd", "--steps", "512", "--num-envs", "4", "--out", str(out)]
    assert module.main([*same, "--seeds", "0"]) == 0
    assert started == []
    assert module.main([*same, "--seeds", "0", "1"]) == 1  # what is missing fails here
    assert sorted(started) == ["ellm 1", "rnd 1"]
    failed = capsys.readouterr()
    assert "failed: rnd, seed 1: training ended with status 3" in failed.err
    assert "2 runs are missing" in failed.out
    started.clear()
    # Another suggester is another arm, whatever its name.
    assert module.main([*same, "--seeds", "0", "--suggester", "oracle"]) == 1
    assert started == ["ellm 0"]


def test_a_suggester_that_does_not_exist_ends_a_training(
    module: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    options = ["--arms", "ellm", *SMALL, "--suggester", "no-such-name", "--out", str(tmp_path)]
    assert module.main(["--one", *options]) == 2
    assert "got 'no-such-name'" in capsys.readouterr().err
    assert not (tmp_path / "ellm" / "seed-0" / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "sgrl"], "invalid choice"),
        (["--arms", "rnd", "rnd"], "arms must not repeat"),
        (["--seeds", "1", "1"], "seeds must not repeat"),
        (["--seeds", "-1"], "seeds must be >= 0"),
        (["--steps", "0"], "steps must be >= 1, got 0"),
        (["--processes", "0"], "processes must be >= 1, got 0"),
        (["--env", "CartPole-v1"], "invalid choice"),
        (["--env", "llm_wrappers/EllmCrafter-v1", "--arms", "oracle"], "no reference guidance"),
    ],
    ids=lambda value: "_".join(value[:2]) if isinstance(value, list) else "",
)
def test_options_that_make_no_sense(
    module: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        module.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_arms_that_ellms_crafter_has(module: ModuleType) -> None:
    crafter = ["--env", "llm_wrappers/EllmCrafter-v1"]
    assert module.read_options(crafter).arms == ["uniform", "novelty", "rnd", "none"]
    with_model = module.read_options([*crafter, "--suggester", "llm:m?cache=f"])
    assert with_model.arms == ["ellm", "uniform", "novelty", "rnd", "none"]


def test_pictures_are_trained_with_as_well(module: ModuleType) -> None:
    options = module.read_options(["--env", "llm_wrappers/EllmCrafter-v1", "--num-envs", "2"])
    for arm in ("novelty", "rnd"):
        model = module.make_model(arm, 0, options)
        model.learn(64)
        assert model.num_timesteps == 64
        model.get_env().close()


@pytest.mark.slow
def test_encoding_at_each_step_pays_what_the_wrapper_pays(module: ModuleType) -> None:
    import gymnasium as gym

    from llm_wrappers.methods import ellm

    speed = load("ellm_speed")
    bare = gym.make_vec(speed.CRAFTAX, num_envs=4)
    each = speed.EncodeEachStep(bare, "reference:craftax-classic", HashingEncoder(), 4)
    each.begin(*bare.reset(seed=0))
    wrapped = ellm.wrap(
        gym.make_vec(speed.CRAFTAX, num_envs=4), "reference:craftax-classic", novelty=False
    )
    wrapped.reset(seed=0)
    generator, paid = np.random.default_rng(0), 0.0
    for _ in range(40):
        actions = generator.integers(0, 17, 4)
        observations, *_, infos = bare.step(actions)
        _, rewards, terminated, truncated, _ = wrapped.step(actions)
        got = each.rewards(actions.tolist(), observations, infos)
        going_on = ~(terminated | truncated)  # it does not look at the last state of an episode
        assert np.asarray(got)[going_on] == pytest.approx(rewards[going_on], abs=1e-5)
        paid += float(rewards.sum())
    assert paid > 0
