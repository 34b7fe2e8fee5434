"""What a judge costs: steps per second with and without `RewardShiftWrapper`."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import gymnasium as gym

import llm_wrappers as lw
from llm_wrappers.guidance.judges import TableJudge
from llm_wrappers.guidance.states import States
from llm_wrappers.scores import format_table
from llm_wrappers.worlds.toy_text.blackjack import BlackjackOracle

ROUNDS = 5
_READS = BlackjackOracle.reads


def blackjack_table() -> TableJudge:
    """Return the oracle's judgement of every hand with which a decision is left."""
    hands = [
        dict(zip(_READS, values, strict=True))
        for values in itertools.product(range(4, 22), range(1, 11), (False, True))
    ]
    asked = list(itertools.product(hands, (0, 1)))
    states = States([facts for facts, _ in asked], lambda facts: [""] * len(facts))
    judgements = BlackjackOracle().judge(states, [action for _, action in asked])
    rows = zip(asked, judgements, strict=True)
    return TableJudge([(facts, action, value) for (facts, action), value in rows], reads=_READS)


def speed_table(steps: int) -> str:
    """Return a table of steps per second; the arms take turns, and the median of 5 rounds counts.

    Args:
        steps: How many steps each round has.
    """
    rows = []
    for env_id, name, judge in (
        ("CartPole-v1", "rule", "reference"),
        ("Blackjack-v1", "table of all hands", blackjack_table()),
    ):
        bare = gym.make(env_id)
        shifted = lw.RewardShiftWrapper(gym.make(env_id), judge=judge)
        seconds: dict[str, list[float]] = {"bare": [], "shifted": []}
        for _ in range(ROUNDS):
            seconds["bare"].append(_seconds(bare, steps))
            seconds["shifted"].append(_seconds(shifted, steps))
        first, second = (statistics.median(times) / steps for times in seconds.values())
        rows.append(
            {
                "environment": env_id, "judge": name, "bare, steps/s": round(1 / first),
                "shifted, steps/s": round(1 / second), "time, times bare": f"{second / first:.2f}",
                "added, microseconds": round(1e6 * (second - first)),
            }
        )  # fmt: skip
    return f"Cost of a judge, {steps:,} steps, median of {ROUNDS} rounds\n\n{format_table(rows)}"


def _seconds(env: gym.Env[Any, Any], steps: int) -> float:
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    env.reset(seed=0)
    started = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - started
