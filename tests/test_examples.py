"""The examples and the README's code, run as they are but for a few steps, and offline."""

from __future__ import annotations

import os
import re
import runpy
import socket
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, DQN, PPO

import llm_wrappers as lw

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 120
# Options with which each example is done in seconds; an example without an entry fails.
TINY = {
    "ellm_craftax.py": "--steps 128 --num-envs 4",
    "lmgt_cartpole.py": "--steps 300 --seeds 1 --episodes 2",
    "sgrl_craftax.py": "--steps 512 --num-envs 4",
    "sgrl_minigrid.py": "--steps 512 --num-envs 4",
    "ultra_cartpole.py": "--pretraining 512 --steps 512 --seeds 1 --episodes 2",
}
# What an example trains: rows of its table and folders of what it leaves behind.
PHASES = {
    "ellm_craftax.py": {
        "| pretraining": "pretraining",
        "| fine-tuning": "tuned",
        "| from scratch, second half": "scratch",
    },
    "lmgt_cartpole.py": {"| a2c": "a2c", "| lmgt": "lmgt"},
    "ultra_cartpole.py": {"| before": "before", "| ppo": "ppo", "| ultra": "ultra"},
}
ARMS = {"| ppo": "ppo", "| sgrl": "sgrl"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Return a function that runs an example in an empty folder, offline, and gives what it said.

    It runs in this process: half of what an example takes in a process of its own is the start of
    torch and JAX, and here a warning is an error.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _refuse)
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(name: str, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *options])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)


def _refuse(*args: Any, **options: Any) -> Any:
    pytest.fail(f"went online: {args[-1]}")


def test_each_example_is_short_and_there_is_a_way_to_run_it() -> None:
    assert {example.name for example in EXAMPLES} == set(TINY)
    for example in EXAMPLES:
        assert len(example.read_text().splitlines()) < MOST_LINES


def test_going_online_would_be_noticed(run: Any) -> None:
    import urllib.request

    with pytest.raises(pytest.fail.Exception, match="went online"):
        urllib.request.urlopen("http://example.org")


@pytest.mark.parametrize("name", TINY)
def test_an_example_runs_offline(name: str, run: Any, tmp_path: Path) -> None:
    out = run(name, *TINY[name].split())
    trained = PHASES.get(name, ARMS)
    for shown in trained:
        assert shown in out
    # What it writes is where it runs, not beside the example.
    models = sorted(tmp_path.rglob("model.zip"))
    assert len(models) == len(trained)
    for folder in trained.values():
        assert any(folder in model.relative_to(tmp_path).parts for model in models)
    assert all(model.with_name("stats.jsonl").exists() for model in models)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_an_example_runs_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    for options in ("--help", TINY[name]):
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / name), *options.split()], cwd=tmp_path,
            capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
        assert done.stdout.startswith("usage:") == (options == "--help")


@pytest.mark.slow
def test_the_ellm_example_learns_one_deed_with_a_pretrained_guide(run: Any) -> None:
    options = ["--algorithm", "dqn", "--task", "chop tree", "--steps", "32", "--num-envs", "2"]
    out = run("ellm_craftax.py", *options)
    assert "EllmCrafter-v1, dqn, seed 0, 32 steps a phase" in out
    assert "suggestions (novelty)" in out
    assert "the task: chop tree, exploring with the pretrained policy" in out


# --- the README ---


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def shortened(code: str) -> str:
    """Return the code with few steps and environments; what it does is the same."""
    code, _ = re.subn(r"\.learn\([\d_]+", ".learn(256", code)
    code, _ = re.subn(r"num_envs=\d+", "num_envs=4", code)
    return code


@pytest.fixture
def short_rollouts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the algorithms learn after few steps; return those that have learned."""
    learned: list[Any] = []

    def shorten(algorithm: Any, **options: Any) -> None:
        build, learn = algorithm.__init__, algorithm.learn

        def built(self: Any, *args: Any, **kwargs: Any) -> None:
            build(self, *args, **{**options, "device": "cpu", **kwargs})

        def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
            learned.append(self)
            return learn(self, *args, **kwargs)

        monkeypatch.setattr(algorithm, "__init__", built)
        monkeypatch.setattr(algorithm, "learn", noted)

    shorten(MaskablePPO, n_steps=64, batch_size=64)
    shorten(PPO, n_steps=64, batch_size=64)
    shorten(A2C)
    shorten(DQN, buffer_size=1000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield learned
    torch.set_num_threads(threads)


def test_the_code_of_the_readme_runs(short_rollouts: list[Any]) -> None:
    blocks = python_blocks((ROOT / "README.md").read_text())
    assert len(blocks) >= 2
    names: dict[str, Any] = {}
    for block in blocks:
        # One after the other in one namespace, as a reader would type them.
        exec(compile(shortened(block), "README.md", "exec"), names)
    assert len(short_rollouts) == sum(block.count(".learn(") for block in blocks) >= 2
    for model in short_rollouts:
        assert model.num_timesteps >= 256
        for stats in model.get_env().env_method("all_stats", indices=[0]):
            # Guidance that fails in the first example a reader sees would be a poor example.
            assert stats["GoalObservationWrapper"]["failures"] == 0
            assert stats["GoalObservationWrapper"]["unknown_goals"] == 0
        model.get_env().close()


def test_the_line_of_the_readme_that_does_it_all() -> None:
    assert "lw.methods.sgrl.wrap(gym.make_vec(...))" in (ROOT / "README.md").read_text()
    envs = lw.methods.sgrl.wrap(gym.make_vec("llm_wrappers/CraftaxClassic-v1", num_envs=4))
    assert type(envs) is lw.wrappers.vector.ActionMaskWrapper
    envs.close()


def test_the_commands_of_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"`?make ([a-z]+)", readme)) <= set(targets)
    extras = metadata("llm-wrappers").get_all("Provides-Extra")
    for named in re.findall(r'pip install "\.\[([\w,]+)\]"', readme):
        assert set(named.split(",")) <= set(extras)
    for path in re.findall(r"`(examples/\w+\.py)`", readme):
        assert (ROOT / path).exists()
