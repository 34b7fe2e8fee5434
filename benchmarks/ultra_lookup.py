"""What looking up critical states costs: `python benchmarks/ultra_lookup.py`.

A table of 1,000 states, recorded from weak random play, is looked up with each kind of key: the 11
numbers of an observation of Hopper-v5 and the 105 of Ant-v5. Measured are the look-up alone, and a
step of the whole wrapper beside a step of the bare environment. Advice is looked up and rewards are
paid, but nothing is executed, so that all arms play the same episodes.

Times are those of the processor, so that other programs count less. Arms take turns, and the median
of the rounds counts, because the speed of a machine drifts: compare within one run only. Needs
`pip install "llm-wrappers[mujoco]"`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.scores import format_table
from llm_wrappers.wrappers import CriticalStateOverrideWrapper

ENVIRONMENTS = ("Hopper-v5", "Ant-v5")
KEYS = ("exact", "rounded:0", "bins:0.5", "nearest:0.25")
ENTRIES = 1000
WEAK = 0.3  # how much of a random action is done


def actions_for(env: gym.Env[Any, Any], steps: int, seed: int) -> list[NDArray[np.float32]]:
    """Return weak random actions, the same for the same seed."""
    generator = np.random.default_rng(seed)
    space = env.action_space
    assert isinstance(space, gym.spaces.Box)
    return [
        (WEAK * generator.uniform(space.low, space.high)).astype(np.float32) for _ in range(steps)
    ]


def recorded(env_id: str, entries: int) -> list[CriticalState]:
    """Return as many states of real episodes as the table has entries, with their actions."""
    env = gym.make(env_id)
    states = []
    observation, _ = env.reset(seed=1)
    for action in actions_for(env, entries, seed=1):
        states.append(CriticalState(observation, action))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    return states


def play(env: gym.Env[Any, Any], actions: list[NDArray[np.float32]]) -> tuple[float, list[Any]]:
    """Return the seconds that the steps took, resets left out, and what was observed."""
    seconds, seen = 0.0, []
    observation, _ = env.reset(seed=0)
    for action in actions:
        seen.append(observation)
        started = time.process_time()
        observation, _, terminated, truncated, _ = env.step(action)
        seconds += time.process_time() - started
        if terminated or truncated:
            observation, _ = env.reset()
    return seconds, seen


def look_up(table: CriticalStates, states: list[Any]) -> float:
    """Return the seconds that one look-up per state takes."""
    rows = [state[None] for state in states]
    started = time.process_time()
    for row in rows:
        table.match(row)
    return time.process_time() - started


def measure(env_id: str, steps: int, rounds: int, entries: int = ENTRIES) -> list[dict[str, str]]:
    """Return a row per key; times are medians over the rounds.

    Args:
        env_id: A MuJoCo environment.
        steps: How many steps each round has.
        rounds: How often the arms take turns.
        entries: How many states the table has.
    """
    states = recorded(env_id, entries)
    tables = {key: CriticalStates(states, key=key) for key in KEYS}
    bare = gym.make(env_id)
    actions = actions_for(bare, steps, seed=0)
    wrapped = {
        key: CriticalStateOverrideWrapper(
            gym.make(env_id), critical_states=table, alpha=0.1, probability=0.0
        )
        for key, table in tables.items()
    }
    times: dict[str, list[float]] = {"bare": []}
    with warnings.catch_warnings():
        # That exact keys are never found in new episodes is known here, and costs the same.
        warnings.simplefilter("ignore")
        for _ in range(rounds):
            seconds, seen = play(bare, actions)
            times["bare"].append(seconds / steps)
            for key in KEYS:
                times.setdefault(f"match {key}", []).append(look_up(tables[key], seen) / steps)
                times.setdefault(f"step {key}", []).append(play(wrapped[key], actions)[0] / steps)
    median = {name: statistics.median(values) for name, values in times.items()}
    return [_row(env_id, key, median, wrapped[key]) for key in KEYS]


def _row(env_id: str, key: str, median: dict[str, float], wrapper: Any) -> dict[str, str]:
    bare, match, step = (median[name] for name in ("bare", f"match {key}", f"step {key}"))
    return {
        "environment": env_id,
        "key": key,
        "states found": f"{wrapper.stats()['hit_share']:.1%}",
        "bare step, microseconds": f"{1e6 * bare:.0f}",
        "match, microseconds": f"{1e6 * match:.1f}",
        "match, of a bare step": f"{match / bare:.3f}",
        "wrapped step, times bare": f"{step / bare:.3f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="how many steps each round has")
    parser.add_argument("--rounds", type=int, default=5, help="how often the arms take turns")
    options = parser.parse_args()
    rows = [
        row for env_id in ENVIRONMENTS for row in measure(env_id, options.steps, options.rounds)
    ]
    print(
        f"A table of {ENTRIES:,} critical states, {options.steps:,} steps, median of "
        f"{options.rounds} rounds\n\n{format_table(rows)}"
    )


if __name__ == "__main__":
    main()
