"""The benchmarks run and report, refuse what makes no sense, and go on where they stopped.

What they measure is not tested here.
"""

from __future__ import annotations

import importlib
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
from llm_wrappers.wrappers import CriticalStateOverrideWrapper

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CRAFTAX = "llm_wrappers/CraftaxClassic-v1"


@pytest.fixture(autouse=True)
def _beside() -> Any:
    """Find scripts beside each other, as a script does, and undo what they do to a signal."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield
    signal.signal(signal.SIGTERM, before)


def load(name: str) -> Any:
    return importlib.import_module(name)


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def bench(name: str, *arguments: object, status: int = 0) -> tuple[str, str]:
    """Run a benchmark as a user runs it, and return what it printed and what it complained of."""
    process = start(name, *arguments)
    out, err = process.communicate()
    assert process.returncode == status, err
    return out, err


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table in a text, by their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


# --- one small run of each ---

ULTRA = ("--steps", 64, "--pretraining", 64, "--oracle", 64, "--history", 2, "--episodes", 2)
# Arguments, the rows of the table, and what else is said.
SMALL: dict[str, tuple[tuple[object, ...], list[str], tuple[str, ...]]] = {
    "sgrl": (
        ("--arms", "ppo", "single", "--seeds", 0, "--steps", 512, "--num-envs", 4),
        ["ppo", "single"],
        (f"SGRL ablations on {CRAFTAX}", "512 steps a run, 4 environments", "official estimator"),
    ),
    "ellm": (
        ("--arms", "ellm", "rnd", "--seeds", 0, "--steps", 512, "--num-envs", 4),
        ["ellm", "rnd"],
        (CRAFTAX, "512 steps a run", "Reward-free", "95 % bootstrap"),
    ),
    "lmgt": (
        ("--parts", "cartpole", "--steps", 60, "--seeds", 0, 1, "--arms", "none", "potential"),
        ["none", "potential"],
        ("CartPole-v1, A2C, 60 steps, seeds 0, 1", "no language model was asked"),
    ),
    "ultra": (
        ("--env", "hopper", *ULTRA, "--seeds", 0, "--arms", "none", "R", "RA"),
        ["before", "oracle", "none", "R", "RA"],
        ("Hopper-v5 (default observations and rewards), PPO, 64 steps", "no language model was"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_it_trains_reports_and_trains_nothing_again(name: str, tmp_path: Path) -> None:
    arguments, arms, said = SMALL[name]
    out, err = bench(name, *arguments, "--out", tmp_path)
    assert list(rows_of(out)) == arms
    assert all(text in out for text in said)
    assert "Traceback" not in err
    results = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.zip")}
    again, err = bench(name, *arguments, "--out", tmp_path)
    assert again == out
    assert "results are there" in err or "runs are complete" in err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.zip")} == results


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "done"),
    [
        ("sgrl", ("--arms", "ppo", "sgrl", "--steps", 4096, "--num-envs", 4), "*/*/result.json"),
        ("lmgt", ("--parts", "watch", "--steps", 1500), "*/*.json"),
        ("ultra", ("--env", "hopper", *ULTRA, "--arms", "none", "R"), "*/*/seed-0/result.json"),
    ],
)
def test_an_interrupt_keeps_what_is_done(
    name: str, arguments: tuple[object, ...], done: str, tmp_path: Path
) -> None:
    process = start(name, *arguments, "--seeds", *range(8), "--out", tmp_path)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(done)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said
    assert "missing" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "arms"),
    [
        (("--env", "pong", "--observation", "numbers", "--history", 1), ["before", "RA"]),
        (("--env", "pong", "--observation", "frames", "--history", 1), ["before", "RA"]),
        (("--env", "walker"), ["before", "oracle", "RA"]),
        (("--env", "ant"), ["before", "oracle", "RA"]),
    ],
    ids=lambda value: "-".join(map(str, value[1:4:2])) if isinstance(value, tuple) else "",
)
def test_each_environment_of_ultra_runs(
    arguments: tuple[object, ...], arms: list[str], tmp_path: Path
) -> None:
    given = ("--arms", "RA", "--seeds", 0, "--out", tmp_path)
    out, _ = bench("ultra", *ULTRA, *arguments, *given)
    assert list(rows_of(out)) == arms


@pytest.mark.slow
def test_what_fails_is_named_and_nothing_is_trained_from_it(tmp_path: Path) -> None:
    (tmp_path / "hopper" / "prepare" / "policy.zip").mkdir(parents=True)
    arguments = ("--env", "hopper", *ULTRA, "--arms", "none", "--seeds", 0, "--out", tmp_path)
    out, err = bench("ultra", *arguments, status=1)
    assert "failed: hopper, prepare, seed 0: training ended with status 1" in err
    assert rows_of(out + "| arm |\n| --- |") == {}


@pytest.mark.slow
def test_tables_of_speed_and_fidelity() -> None:
    tiny = ("--steps", 512, "--mask-steps", 256, "--episodes", 2, "--repeats", 1, "--seeds", 2)
    out, _ = bench("ultra_fidelity", *tiny)
    assert "higher is better" in out
    for selector in ("random", "return-drop", "value-gap", "state-mask:256"):
        assert f"| {selector}" in out
    out, _ = bench("ultra_lookup", "--steps", 40, "--rounds", 1)
    assert "A table of 1,000 critical states, 40 steps, median of 1 rounds" in out
    assert out.count("| Hopper-v5") == out.count("| Ant-v5") == 4
    assert list(rows_of(load("lmgt").speed_table(50))) == ["CartPole-v1", "Blackjack-v1"]


# --- options ---


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sgrl", "--arms sgarl", "got ['sgarl']"),
        ("sgrl", "--arms ppo ppo", "arms must not repeat"),
        ("sgrl", "--seeds 1 1", "seeds must not repeat"),
        ("sgrl", "--steps 0", "steps must be >= 1"),
        ("sgrl", "--processes 0", "--processes must be >= 1, got 0"),
        ("ellm", "--arms rnd rnd", "arms must not repeat"),
        ("ellm", "--seeds -1", "seeds must be >= 0"),
        ("ellm", "--env CartPole-v1", "invalid choice"),
        ("ellm", "--env llm_wrappers/EllmCrafter-v1 --arms oracle", "no reference guidance"),
        ("lmgt", "--parts chess", "invalid choice: 'chess'"),
        ("lmgt", "--arms wise", "invalid choice: 'wise'"),
        ("lmgt", "--seeds -1", "--seeds must be at least 0, got -1"),
        ("ultra", "--env chess", "invalid choice: 'chess'"),
        ("ultra", "--steps 0", "--steps must be at least 1, got 0"),
        ("ultra", "--alpha -1", "--alpha must be a finite number from 0, got -1"),
        ("ultra", "--observation frames", "frames is for Pong only: give --env pong"),
    ],
)
def test_options_that_make_no_sense(name: str, arguments: str, message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        load(name).main(arguments.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_arms_and_environments_are_listed(capsys: Any) -> None:
    from llm_wrappers.demo import ARMS

    assert load("sgrl").main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ARMS)
    assert load("ultra").main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["pong", "hopper", "walker", "ant"]
    assert 'arm "random RA": random moments, RA; moments: random' in lines
    crafter = ["--env", "llm_wrappers/EllmCrafter-v1"]
    assert load("ellm").read_options(crafter).arms == ["uniform", "novelty", "rnd", "none"]


def test_a_suggester_that_does_not_exist_ends_a_training(tmp_path: Path, capsys: Any) -> None:
    options = [
        "--arms",
        "ellm",
        "--seeds",
        "0",
        "--steps",
        "512",
        "--num-envs",
        "4",
        "--suggester",
        "no-such-name",
    ]
    assert load("ellm").main(["--one", *options, "--out", str(tmp_path)]) == 2
    assert "got 'no-such-name'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("result.json"))


# --- trainings, each in a process of its own, that go on where they were stopped ---


@pytest.fixture
def comparing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that compares without training, and gives what would be trained."""
    script = load("sgrl")

    def train(arm: str, *, steps: int, folder: Path, **options: Any) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        return script.RunResult(arm, options["seed"], folder, steps, 1.0, interrupted=False)

    def run(*arguments: str, fails: str = "", status: int = 0) -> list[tuple[str, str]]:
        started = []

        class Process:
            """The process that would train, but for the training."""

            def __init__(self, command: list[str], **options: Any) -> None:
                assert options["env"]["OMP_NUM_THREADS"] == "1"
                self.arguments = command[2:]
                self.arm = command[command.index("--arms") + 1]
                started.append((self.arm, command[command.index("--seeds") + 1]))

            def wait(self) -> int:
                return 3 if self.arm == fails else script.main(self.arguments)

        monkeypatch.setattr(subprocess, "Popen", Process)
        monkeypatch.setattr(script, "train_arm", train)
        # Handlers can be set in the main thread only, and here no process is between them.
        monkeypatch.setattr(script.signal, "signal", lambda *given: None)
        options = ["--steps", "64", "--processes", "1", "--out", str(tmp_path)]
        assert script.main([*options, *arguments]) == status
        return started

    return run


def test_only_what_is_missing_is_trained(comparing: Any, capsys: Any) -> None:
    one = ["--seeds", "0"]
    assert comparing("--arms", "half", "ppo", *one) == [("half", "0"), ("ppo", "0")]
    # Seed by seed, so that a comparison that is stopped has as many of each arm.
    started = comparing("--arms", "ppo", "sgrl", "--seeds", "0", "1")
    assert started == [("sgrl", "0"), ("ppo", "1"), ("sgrl", "1")]
    capsys.readouterr()
    assert comparing("--arms", "sgrl", "ppo", "--seeds", "1", "0") == []
    assert list(rows_of(capsys.readouterr().out)) == ["sgrl", "ppo"]
    # A result of another experiment is not taken.
    for other in (["--steps", "65"], ["--num-envs", "5"], ["--env", "llm_wrappers/Crafter-v1"]):
        assert comparing("--arms", "ppo", *one, *other) == [("ppo", "0")]


def test_a_run_that_fails_does_not_stop_the_others(comparing: Any, capsys: Any) -> None:
    arguments = ["--arms", "sgrl", "ppo", "--seeds", "0"]
    assert comparing(*arguments, fails="sgrl", status=1) == [("sgrl", "0"), ("ppo", "0")]
    said = capsys.readouterr()
    assert list(rows_of(said.out)) == ["ppo"]
    assert "1 of 2 runs are missing" in said.out
    assert "failed: sgrl, seed 0: training ended with status 3" in said.err
    assert comparing(*arguments) == [("sgrl", "0")]


def test_an_interrupted_run_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, folder = load("sgrl"), tmp_path / "ppo" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")  # of an earlier run
    result = script.RunResult("ppo", 0, folder, 10, 1.0, interrupted=True)
    monkeypatch.setattr(script, "train_arm", lambda *args, **options: result)
    arguments = ["--one", "--arms", "ppo", "--seeds", "0", "--out", str(tmp_path)]
    assert script.main(arguments) == 130
    assert list(folder.iterdir()) == []


# --- what is measured with ---


def test_arms_take_turns_and_the_median_is_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    overhead = load("overhead")
    calls: list[str] = []
    arms = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    assert set(overhead.compare(arms, steps=3, rounds=2)) == {"a", "b"}
    assert calls[-12:] == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3
    # Each ran before the clock started, because first calls compile.
    assert set(calls[:-12]) == {"a", "b"}
    # Three rounds of one arm, which take 1, 9 and 2 seconds on this clock.
    ticks = iter([0.0, 1.0, 10.0, 19.0, 30.0, 32.0])
    monkeypatch.setattr(overhead.time, "perf_counter", lambda: next(ticks))
    assert overhead.compare({"a": lambda: None}, steps=4, rounds=3) == {"a": 0.5}


def test_the_value_of_a_blackjack_policy_is_exact() -> None:
    value = load("lmgt_cells").blackjack_value
    for limit, known in ((0, -0.1864), (17, -0.0793), (20, -0.3536)):
        policy = np.zeros((32, 11, 2), int)
        policy[:limit] = 1
        assert value(policy) == pytest.approx(known, abs=1e-4)
    assert value(None) == pytest.approx(-0.0466, abs=1e-4)


def test_pong_is_read_and_advised_as_its_captioner_says() -> None:
    env = load("ultra_tasks").tasks()["pong"].make()
    env.reset(seed=0)
    moved = coming = 0
    for step in range(120):
        observation, _, _, _, info = env.step(1 if step % 20 < 10 else 2)
        batched = {name: info[name][None] for name in ("ram", "previous_ram")}
        [facts] = env.get_wrapper_attr("captioner").facts(None, batched)
        assert observation[5] * 80 + 105 == pytest.approx(facts["paddle_y"], abs=0.01)
        if facts["ball_in_play"]:
            assert observation[0] * 80 + 80 == pytest.approx(facts["ball_x"], abs=0.01)
            assert observation[2] * 16 == pytest.approx(facts["ball_dx"] or 0, abs=0.01)
        moved += observation[6] != 0
        coming += observation[2] > 0
    assert min(moved, coming) > 5
    rule = load("ultra_cells").pong_rule
    facts = {
        "ball_x": 100, "ball_y": 150, "ball_dx": 4, "ball_dy": 0, "ball_towards_you": True,
        "paddle_y": 80, "paddle_dy": 0,
    }  # fmt: skip
    assert rule(facts) == 2  # the last of stay, up, down
    assert rule({**facts, "ball_dx": -4, "ball_towards_you": False}) is None


def test_the_oracle_finds_moments_where_its_advice_is_least_likely() -> None:
    cells = load("ultra_cells")
    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    states = np.random.default_rng(0).normal(size=(41, 4)).astype(np.float32)
    facts = [{"step": step} for step in range(41)]
    episode = Trajectory(states, np.zeros(40, int), np.ones(40), True, False, facts=facts)
    always = RuleCorrector(lambda facts: 1, gym.spaces.Discrete(2))
    [found] = cells.Disagreement(model, always).select([episode], per_episode=1)
    seen, _ = model.policy.obs_to_tensor(states[:40])
    likely = model.policy.get_distribution(seen).distribution.probs[:, 1].detach().numpy()
    assert found.step == int(likely.argmin())
    assert found.importance == pytest.approx(1.0 - likely.min(), abs=1e-6)
    late = RuleCorrector(lambda facts: 1 if facts["step"] >= 20 else None, gym.spaces.Discrete(2))
    steps = [m.step for m in cells.Disagreement(model, late).select([episode], per_episode=40)]
    assert min(steps) >= 20
    assert min(np.diff(steps)) >= cells.MIN_GAP


@pytest.mark.slow
def test_the_defaults_of_the_override_teach_the_advised_action() -> None:
    """The policy is asked without the wrapper; a shorter run of the benchmark."""
    teaching = load("ultra_teaching")
    pretrained = teaching.pretrain(0)
    assert teaching.advised_probability(pretrained) < 0.1
    tuned = teaching.fine_tune(pretrained, "execute, p = 0.5, agreement reward", 0, 4608)
    assert teaching.advised_probability(tuned) > 0.5


def test_the_papers_form_pays_the_same_whatever_the_agent_chooses() -> None:
    """That is why it teaches nothing about critical states: no reward depends on the action."""
    teaching = load("ultra_teaching")

    def paid(action: int, **options: Any) -> list[float]:
        env = CriticalStateOverrideWrapper(
            teaching.Contexts(), critical_states=teaching.advice(), probability=1.0, **options
        )
        observation, _ = env.reset(seed=0)
        rewards = []
        for _ in range(teaching.EPISODE):
            critical = int(observation.argmax()) in teaching.CRITICAL
            observation, reward, *_ = env.step(action)
            rewards += [reward] if critical else []
        return rewards

    assert len(paid(0, reward="state")) > 2
    assert paid(0, reward="state") == paid(1, reward="state")
    assert paid(0, reward="agreement") != paid(1, reward="agreement")
