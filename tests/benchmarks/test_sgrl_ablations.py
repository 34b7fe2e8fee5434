"""The SGRL ablations run, go on where they stopped, and report; not what they measure."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llm_wrappers.demo import ARMS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sgrl.py"
SMALL = ["--seeds", "0", "--steps", "512", "--num-envs", "4"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def _sigterm() -> Any:
    """Undo what the benchmark does to a signal, which it may in a process of its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    """Return the benchmark as a module; it is a script and finds its neighbours beside it."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("benchmark_sgrl", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    monkeypatch.undo()


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table in a text, by arm."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder and the process of a small comparison, run as a user runs it."""
    out = tmp_path_factory.mktemp("ablations") / "out"
    process = subprocess.run(
        [sys.executable, str(SCRIPT), "--arms", "ppo", "single", *SMALL, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=ONE_THREAD,
    )
    assert process.returncode == 0, process.stderr
    return out, process


@pytest.fixture
def comparing(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that compares without training, and gives what would be trained."""

    def train(arm: str, *, steps: int, folder: Path, **options: Any) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        return module.RunResult(arm, options["seed"], folder, steps, 1.0, interrupted=False)

    def run(*arguments: object, fails: str = "", status: int = 0) -> list[tuple[str, str]]:
        started = []

        class Process:
            """The process that would train, but for the training."""

            def __init__(self, command: list[str], **options: Any) -> None:
                assert command[:2] == [sys.executable, str(SCRIPT)]
                assert options["env"]["OMP_NUM_THREADS"] == "1"
                self.arguments = command[2:]
                self.arm = command[command.index("--arms") + 1]
                started.append((self.arm, command[command.index("--seeds") + 1]))

            def wait(self) -> int:
                return 3 if self.arm == fails else module.main(self.arguments)

        monkeypatch.setattr(subprocess, "Popen", Process)
        monkeypatch.setattr(module, "train_arm", train)
        # Handlers can be set in the main thread only, and here no process is between them.
        monkeypatch.setattr(module.signal, "signal", lambda *given: None)
        assert module.main([*map(str, arguments), "--processes", "1"]) == status
        return started

    return run


# --- what it writes and says ---


@pytest.mark.slow
def test_the_table(trained: Any) -> None:
    out, process = trained
    assert (out / "table.md").read_text().strip() in process.stdout
    title, _, *_ = process.stdout.strip().splitlines()
    assert title == (
        "SGRL ablations on llm_wrappers/CraftaxClassic-v1 (symbolic observations): "
        "512 steps a run, 4 environments, seeds 0"
    )
    assert "official estimator" in process.stdout
    rows = rows_of(process.stdout)
    assert list(rows) == ["ppo", "single"]
    assert rows["single"]["what"] == ARMS["single"].summary
    assert rows["ppo"]["open actions"] == rows["ppo"]["planner calls"] == ""
    # Its goal never changes: 5 of 17 actions are open, and the planner is asked once.
    assert rows["single"]["open actions"] == "29%"
    assert rows["single"]["planner calls"] == "1"
    assert all(row["seeds"] == "1" for row in rows.values())


@pytest.mark.slow
def test_the_json_beside_it(trained: Any) -> None:
    out, process = trained
    comparison = json.loads((out / "comparison.json").read_text())
    runs = {run["arm"]: run for run in json.loads((out / "summary.json").read_text())}
    rows = rows_of(process.stdout)
    assert list(comparison["arms"]) == list(rows) == list(runs)
    assert comparison["title"] in process.stdout
    for arm, measures in comparison["arms"].items():
        assert measures["seeds"] == [0]
        assert measures["score"]["values"] == [runs[arm]["score"]]
        assert measures["score"]["interval_95"] is None  # one seed has no spread
        assert rows[arm]["Crafter score"] == f"{measures['score']['interquartile_mean']:.2f}"
        assert rows[arm]["depth"] == f"{runs[arm]['depth']:.2f}"
    assert comparison["arms"]["ppo"]["planner_calls"] is None


@pytest.mark.slow
def test_progress_is_said_apart_from_the_table(trained: Any) -> None:
    _, process = trained
    assert "[2/2]" in process.stderr
    assert "seed 0: done; about 0 minutes left" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_every_run_leaves_its_files(trained: Any) -> None:
    out, _ = trained
    for arm in ("ppo", "single"):
        folder = out / arm / "seed-0"
        assert json.loads((folder / "result.json").read_text())["steps"] >= 512
        assert {"model.zip", "stats.jsonl"} < {path.name for path in folder.iterdir()}
    assert (out / "learning_curve.png").stat().st_size > 5000


def test_the_arms_are_listed(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ARMS)
    assert all(arm.summary in line for arm, line in zip(ARMS.values(), lines, strict=True))


# --- what is trained, and what is not ---


@pytest.mark.slow
def test_what_is_trained_is_not_trained_again(
    trained: Any, comparing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out, process = trained
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/seed-0/*")}
    assert len(before) >= 8
    assert comparing("--arms", "ppo", "single", *SMALL, "--out", out) == []
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/seed-0/*")} == before
    again = capsys.readouterr()
    assert rows_of(again.out) == rows_of(process.stdout)
    assert "2 of 2 runs are complete" in again.err


def test_only_what_is_missing_is_trained(tmp_path: Path, comparing: Any) -> None:
    options = ["--steps", "64", "--out", tmp_path]
    assert comparing("--arms", "half", "ppo", "--seeds", "0", *options) == [
        ("half", "0"),
        ("ppo", "0"),
    ]
    # Seed by seed, so that a comparison that is stopped has as many of each arm.
    assert comparing("--arms", "ppo", "sgrl", "--seeds", "0", "1", *options) == [
        ("sgrl", "0"),
        ("ppo", "1"),
        ("sgrl", "1"),
    ]


def test_the_table_is_in_the_order_that_was_asked_for(
    tmp_path: Path, comparing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    comparing("--arms", "sgrl", "ppo", "--seeds", "1", "0", "--steps", "64", "--out", tmp_path)
    assert list(rows_of(capsys.readouterr().out)) == ["sgrl", "ppo"]


@pytest.mark.parametrize(
    "other",
    [["--steps", "65"], ["--num-envs", "5"], ["--env", "llm_wrappers/Crafter-v1"]],
    ids=lambda option: option[0],
)
def test_a_result_of_another_experiment_is_not_taken(
    tmp_path: Path, comparing: Any, other: list[str]
) -> None:
    options = ["--arms", "ppo", "--seeds", "0", "--steps", "64", "--out", tmp_path]
    assert len(comparing(*options)) == 1
    assert len(comparing(*options, *other)) == 1
    assert len(comparing(*options)) == 1


def test_a_result_of_an_arm_that_has_changed_is_not_taken(
    tmp_path: Path, comparing: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--arms", "half", "--seeds", "0", "--steps", "64", "--out", tmp_path]
    assert len(comparing(*options)) == 1
    monkeypatch.setattr(module, "ARMS", {**ARMS, "half": ARMS["annealed"]})
    assert len(comparing(*options)) == 1
    assert comparing(*options) == []


# --- what goes wrong ---


def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path: Path, comparing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--seeds", "0", "--steps", "64", "--out", tmp_path]
    started = comparing("--arms", "sgrl", "ppo", *options, fails="sgrl", status=1)
    assert started == [("sgrl", "0"), ("ppo", "0")]
    said = capsys.readouterr()
    assert list(rows_of(said.out)) == ["ppo"]
    assert "1 of 2 runs are missing" in said.out
    assert "failed: sgrl, seed 0: training ended with status 3" in said.err
    assert comparing("--arms", "sgrl", "ppo", *options) == [("sgrl", "0")]


def test_an_interrupted_run_leaves_no_result(
    tmp_path: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ppo" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")  # of an earlier run
    result = module.RunResult("ppo", 0, folder, 10, 1.0, interrupted=True)
    monkeypatch.setattr(module, "train_arm", lambda *args, **options: result)
    arguments = ["--one", "--arms", "ppo", "--seeds", "0", "--out", str(tmp_path)]
    assert module.main(arguments) == 130
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_ends_the_processes_and_reports_what_is_complete(
    trained: Any, tmp_path: Path
) -> None:
    out = shutil.copytree(trained[0], tmp_path / "out")
    folder = out / "sgrl" / "seed-0"
    process = subprocess.Popen(
        [
            *(sys.executable, str(SCRIPT), "--arms", "ppo", "sgrl", "goals", *SMALL),
            *("--out", str(out), "--processes", "1"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
    )
    try:
        deadline = time.monotonic() + 120
        while not folder.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "training has not begun"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        # This waits for the trainings as well, which write to the same pipes.
        said, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, complaints
    assert "the same command goes on from here" in complaints
    assert "Traceback" not in complaints
    assert list(rows_of(said)) == ["ppo"]
    assert "2 of 3 runs are missing" in said
    assert not (folder / "result.json").exists()
    assert not (out / "goals").exists()  # no other run was started


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "sgarl"], "got ['sgarl']"),
        (["--arms", "ppo", "ppo"], "arms must not repeat"),
        (["--seeds", "1", "1"], "seeds must not repeat"),
        (["--seeds", "-1"], "seeds must be >= 0"),
        (["--steps", "0"], "steps must be >= 1"),
        (["--processes", "0"], "--processes must be >= 1, got 0"),
        (["--env", "CartPole-v1"], "invalid choice"),
    ],
)
def test_options_that_make_no_sense(
    module: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        module.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
