"""What planner code can do and what containing it costs: `make bench-planners`.

The first table runs the hostile planners of the tests, in processes that may die of it. The second
compares what one step of Craftax-Classic costs with what asking a planner costs, within one run:
cold, for states that were never seen; warm, for states that are remembered; and as it happens,
from the first step on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.facts_table import FactsTable
from llm_wrappers.guidance import Planner, PlannerProgram, reference_artefact
from llm_wrappers.guidance.planners import Planning
from llm_wrappers.sandbox import MontyRuntime, lint_planner
from llm_wrappers.scores import format_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sandbox"))

from hostile_planners import HOSTILE, Hostile
from hostile_trials import Outcome, outcomes

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
REFERENCE = "craftax-classic"
Row = dict[str, Any]


def main() -> None:
    options = parse()
    if "attacks" in options.parts:
        print(containment_report())
    if "times" in options.parts:
        print(time_report(options.steps))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("attacks", "times")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--steps", type=int, default=1000, help="steps of each rollout")
    return parser.parse_args()


def containment_report() -> str:
    """Run every hostile planner in Monty and say how it ended."""
    ended = outcomes("monty", HOSTILE)
    harm = Counter(bad for o in ended.values() for bad in [*o.harm.split(), o.end] if bad.isupper())
    surprises = [case.name for case in HOSTILE if ended[case.name].end not in case.monty]
    totals = [
        f"{len(HOSTILE)} planners",
        f"harm done: {dict(harm) or 'none'}",
        f"ended unlike expected: {surprises or 'none'}",
    ]
    rows = [attack_row(case, ended[case.name]) for case in HOSTILE]
    return f"{format_table(rows)}\n\n{'; '.join(totals)}\n"


def attack_row(case: Hostile, ended: Outcome) -> Row:
    problems = lint_planner(case.source)
    return {
        "what the code does": case.name,
        "lint": problems[0].rule if problems else "passes",
        "Monty": " ".join([ended.end, ended.harm]).strip(),
        "Monty (s)": ended.seconds,
    }


def time_report(steps: int) -> str:
    """Measure steps and planners, alone and with 64 environments."""
    source = reference_artefact(REFERENCE).planner_source
    assert source is not None
    rows: list[Row] = []
    for n in (1, 64):
        tables, step = rollout(n, steps)
        rows.append(
            {"environments": n, "planner": "(the step itself)", "per step (us)": 1e6 * step}
        )
        for name, planner in planners(source):
            for states, seconds in asked(planner, tables).items():
                row = {"environments": n, "planner": name, "states": states}
                row |= {"per step (us)": 1e6 * seconds, "% of a step": 100 * seconds / step}
                rows.append(row)
    return format_table(rows)


def rollout(n: int, steps: int) -> tuple[list[FactsTable], float]:
    """Return the facts of every step of a random policy, and the median seconds of a step."""
    envs = gym.make_vec(CRAFTAX, num_envs=n) if n > 1 else gym.make(CRAFTAX)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    tables, seconds = [], []
    for _ in range(steps):
        action = envs.action_space.sample()
        started = time.perf_counter()
        observation, _, ended, cut, info = envs.step(action)
        seconds.append(time.perf_counter() - started)
        tables.append(facts_of(envs, observation, info, n))
        if n == 1 and (ended or cut):
            envs.reset()
    envs.close()
    return tables, statistics.median(seconds)


def facts_of(envs: Any, observation: Any, info: Any, n: int) -> FactsTable:
    if n == 1:
        observation, info = np.asarray(observation)[None], batched(info)
    table = envs.unwrapped.captioner.facts(observation, info)
    # A copy, because the environment may use its arrays again.
    return FactsTable(table.columns, table.matrix.copy())


def batched(info: Any) -> Any:
    if isinstance(info, dict):
        return {name: batched(value) for name, value in info.items()}
    return np.asarray(info)[None]


def planners(source: str) -> Iterator[tuple[str, Planner]]:
    yield "trusted (plain)", PlannerProgram(source)
    with MontyRuntime(source) as monty:
        yield "Monty", monty


def asked(planner: Planner, tables: Sequence[FactsTable]) -> dict[str, float]:
    """Return the seconds of a step in which no, every or as it happens some state is known."""
    goals = list(reference_artefact(REFERENCE).masks or {})

    def without_memory() -> Planning:
        return Planning(planner, goals=goals, fallback=goals[0])

    # What is started at the first call is not the cost of a step.
    timed(without_memory(), tables[:3])
    cold = [timed(without_memory(), [table])[0] for table in tables[:: len(tables) // 100 or 1]]
    happening = without_memory()
    first_time = timed(happening, tables)
    share = 100 * (1 - happening.counts["planned"] / happening.counts["states"])
    warm = timed(happening, tables)
    return {
        "never seen": statistics.median(cold),
        "remembered": statistics.median(warm),
        f"random policy: {share:.0f} % remembered": statistics.mean(first_time),
    }


def timed(planning: Planning, tables: Sequence[FactsTable]) -> list[float]:
    seconds = []
    for table in tables:
        started = time.perf_counter()
        planning.plans(table)
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
