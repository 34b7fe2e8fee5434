"""The benchmarks run and report; what they measure is not tested here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import pytest

from llm_wrappers.testing import ScriptedEnv

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    """Return a benchmark as a module; it is a script and not part of the package."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
