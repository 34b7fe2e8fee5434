"""The benchmarks run and report; what they measure is not tested here."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import pytest

from llm_wrappers.testing import ScriptedEnv

FOLDER = Path(__file__).parents[2] / "benchmarks"
OPTIONS = ["--arms", "ppo", "sgrl", "--seeds", "0", "--steps", "512", "--num-envs", "4"]


def load(name: str) -> ModuleType:
    """Return a benchmark as a module; it is a script and not part of the package."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder and the output of a small ablation."""
    out, printed = tmp_path_factory.mktemp("ablations"), io.StringIO()
    # Only this process is spared: each training is in a process of its own.
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["sgrl_ablations.py", *OPTIONS, "--out", str(out)])
        load("sgrl_ablations").main()
    return out, printed.getvalue()


@pytest.fixture
def ablations(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs the ablation here, and gives the trainings that it started."""
    module = load("sgrl_ablations")

    def run(*arguments: object) -> list[list[str]]:
        started: list[list[str]] = []

        def pretend(command: list[str], **options: Any) -> None:
            started.append(command)
            assert command[:2] == [sys.executable, str(FOLDER / "sgrl_ablations.py")]
            # The process that it would start, but for the training.
            with monkeypatch.context() as patch:
                patch.setattr(sys, "argv", command[1:])
                module.main()

        def pretend_to_train(arm: str, *, steps: int, folder: Path, **options: Any) -> Any:
            folder.mkdir(parents=True, exist_ok=True)
            return module.RunResult(arm, options["seed"], folder, steps, 1.0, interrupted=False)

        with monkeypatch.context() as patch:
            patch.setattr(module.subprocess, "run", pretend)
            patch.setattr(module, "train_arm", pretend_to_train)
            one_at_a_time = ["--processes", "1"]  # this process has one sys.argv
            patch.setattr(sys, "argv", ["", *map(str, arguments), *one_at_a_time])
            module.main()
        return started

    return run


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_ablation_prints_a_table(trained: Any) -> None:
    out, printed = trained
    assert [row[0] for row in table_rows(printed)] == ["ppo", "sgrl"]
    assert (out / "table.md").read_text().strip() in printed
    for arm in ("ppo", "sgrl"):
        assert f"{arm}, seed 0:" in printed
        record = json.loads((out / arm / "seed-0" / "result.json").read_text())
        assert record["steps"] >= 512
        assert (out / arm / "seed-0" / "model.zip").exists()


def test_what_is_trained_is_not_trained_again(
    trained: Any, ablations: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out, printed = trained
    runs = {path: path.stat().st_mtime_ns for path in out.glob("*/seed-0/*")}
    assert len(runs) >= 7
    assert ablations(*OPTIONS, "--out", out) == []
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/seed-0/*")} == runs
    assert table_rows(capsys.readouterr().out) == table_rows(printed)


def test_only_what_is_missing_is_trained(tmp_path: Path, ablations: Any) -> None:
    first = ["--arms", "ppo", "half", "--seeds", "0", "--steps", "64", "--out", tmp_path]
    assert len(ablations(*first)) == 2
    assert ablations(*first) == []
    second = ablations("--arms", "ppo", "sgrl", "--seeds", "0", "1", *first[5:])
    assert sorted((c[c.index("--arms") + 1], c[c.index("--seeds") + 1]) for c in second) == [
        ("ppo", "1"),
        ("sgrl", "0"),
        ("sgrl", "1"),
    ]


@pytest.mark.parametrize(
    "other",
    [["--steps", "65"], ["--num-envs", "5"], ["--env", "llm_wrappers/Crafter-v1"]],
    ids=lambda option: option[0],
)
def test_a_result_of_another_experiment_is_not_taken(
    tmp_path: Path, ablations: Any, other: list[str]
) -> None:
    options = ["--arms", "ppo", "--seeds", "0", "--steps", "64", "--out", tmp_path]
    assert len(ablations(*options)) == 1
    assert len(ablations(*options, *other)) == 1
    assert len(ablations(*options)) == 1


def test_an_interrupted_run_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("sgrl_ablations")
    (tmp_path / "result.json").write_text("{}")  # of an earlier run
    result = module.RunResult("ppo", 0, tmp_path, 10, 1.0, interrupted=True)
    monkeypatch.setattr(module, "train_arm", lambda *args, **options: result)
    arguments = ["--only", str(tmp_path), "--arms", "ppo", "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", ["sgrl_ablations.py", *arguments])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 130
    assert not (tmp_path / "result.json").exists()


# --- overhead ---


@pytest.fixture(scope="module")
def overhead() -> ModuleType:
    return load("overhead")


def test_arms_take_turns(overhead: ModuleType) -> None:
    calls: list[str] = []
    arms = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    seconds = overhead.compare(arms, steps=3, rounds=2)
    assert set(seconds) == {"a", "b"}
    assert all(value >= 0 for value in seconds.values())
    measured = calls[-12:]
    assert measured == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3
    # Each ran before the clock started, because first calls compile.
    assert set(calls[:-12]) == {"a", "b"}


def test_the_median_is_per_step(overhead: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three rounds of one arm, which take 1, 9 and 2 seconds on this clock.
    ticks = iter([0.0, 1.0, 10.0, 19.0, 30.0, 32.0])
    monkeypatch.setattr(overhead.time, "perf_counter", lambda: next(ticks))
    assert overhead.compare({"a": lambda: None}, steps=4, rounds=3) == {"a": 0.5}


def test_resets_are_not_timed_as_steps(overhead: ModuleType) -> None:
    step = overhead.single_step(ScriptedEnv(action_space=gym.spaces.Discrete(17), lengths=(2, 2)))
    step()
    with pytest.raises(RuntimeError, match="an episode ended"):
        step()


def test_an_endless_environment_never_ends(overhead: ModuleType) -> None:
    env = overhead.endless("CartPole-v1")
    env.reset(seed=0)
    for _ in range(100):
        _, _, terminated, truncated, _ = env.step(0)
        assert not terminated
        assert not truncated
