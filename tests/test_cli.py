"""The `llm-wrappers` command: options, exit statuses and messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llm_wrappers.demo
from llm_wrappers import __version__, cli

USER_ERROR = 2


def run(capsys, *arguments):
    """Return the exit status, stdout and stderr of the command."""
    try:
        status = cli.main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.fixture
def experiments(monkeypatch):
    """Return the experiments that the command asked for; none of them is run."""
    seen = []

    def note(experiment):
        seen.append(experiment)
        return llm_wrappers.demo.experiment.Outcome([], "the table", interrupted=False)

    monkeypatch.setattr(llm_wrappers.demo, "run_experiment", note)
    return seen


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"{__version__}\n", "")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "demo" in out
    status, out, _ = run(capsys, "demo", "--help")
    assert status == 0
    for option in ("--steps", "--seeds", "--env", "--arms", "--num-envs", "--out"):
        assert option in out


def test_the_demo_as_it_is_by_default(capsys, experiments):
    status, out, err = run(capsys, "demo")
    assert (status, err) == (0, "")
    assert "the table" in out
    assert "Everything is in runs/demo" in out
    (experiment,) = experiments
    assert experiment.env_id == "llm_wrappers/CraftaxClassic-v1"
    assert list(experiment.arms) == ["ppo", "sgrl"]
    assert list(experiment.seeds) == [0]
    assert experiment.out == Path("runs/demo")
    assert experiment.progress_bar


def test_the_options_of_the_demo(capsys, experiments, tmp_path):
    status, _, _ = run(
        capsys, "demo", "--steps", "77", "--seeds", "3", "--first-seed", "5", "--num-envs", "2",
        "--env", "llm_wrappers/Crafter-v1", "--arms", "soft", "half", "--out", str(tmp_path),
        "--no-progress",
    )  # fmt: skip
    assert status == 0
    (experiment,) = experiments
    assert (experiment.steps, experiment.num_envs) == (77, 2)
    assert list(experiment.seeds) == [5, 6, 7]
    assert experiment.env_id == "llm_wrappers/Crafter-v1"
    assert list(experiment.arms) == ["soft", "half"]
    assert experiment.out == tmp_path
    assert not experiment.progress_bar


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--steps", "0"], "expected a whole number >= 1, got '0'"),
        (["demo", "--steps", "many"], "expected a whole number >= 1, got 'many'"),
        (["demo", "--seeds", "1.5"], "expected a whole number >= 1, got '1.5'"),
        (["demo", "--env", "CartPole-v1"], "invalid choice: 'CartPole-v1'"),
        (["demo", "--depth", "3"], "unrecognized arguments: --depth 3"),
        (["train"], "invalid choice: 'train'"),
        ([], "arguments are required"),
    ],
)
def test_a_command_line_that_cannot_be_read(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (USER_ERROR, "")
    assert message in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "ppo", "sgarl"], "got ['sgarl']"),
        (["--arms", "ppo", "ppo"], "arms must not repeat, got ['ppo', 'ppo']"),
        (["--first-seed", "-2"], "seeds must be >= 0, got [-2]"),
    ],
)
def test_options_that_make_no_sense(capsys, tmp_path, arguments, message):
    out_folder = tmp_path / "out"
    status, out, err = run(capsys, "demo", "--out", str(out_folder), *arguments)
    assert (status, out) == (USER_ERROR, "")
    (line,) = err.splitlines()
    assert line.startswith("llm-wrappers: ")
    assert message in line
    assert not out_folder.exists()


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("stable_baselines3", "sb3"),
        ("craftax", "craftax"),
    ],
)
def test_a_package_that_is_not_installed(capsys, tmp_path, monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    # Enough for training to begin, which would be too late to find out.
    status, out, err = run(
        capsys, "demo", "--steps", "16", "--num-envs", "4", "--out", str(tmp_path), "--no-progress"
    )
    assert (status, out) == (USER_ERROR, "")
    assert err == (
        f"llm-wrappers: '{module}' is not installed; run `pip install \"llm-wrappers[{extra}]\"`\n"
    )
    assert not list(tmp_path.rglob("model.zip"))


def test_interrupted_before_there_is_anything_to_report(capsys, monkeypatch):
    def interrupt(experiment):
        raise KeyboardInterrupt

    monkeypatch.setattr(llm_wrappers.demo, "run_experiment", interrupt)
    assert run(capsys, "demo") == (130, "", "")


def test_a_process_of_its_own_has_the_status():
    command = [sys.executable, "-m", "llm_wrappers.cli", "show", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (USER_ERROR, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("llm-wrappers: ")
    assert "nowhere" in line


def test_the_help_needs_no_heavy_package():
    code = (
        "import sys; from llm_wrappers import cli\n"
        "try: cli.main(['demo', '--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "llm_wrappers" in loaded
    assert not loaded & {"torch", "stable_baselines3", "jax", "matplotlib"}
