"""What the language model layer costs: `make bench-llm`.

A real HTTP server on this machine stands in for the provider and takes 100 ms for each answer. The
second part compares look-ups side by side within one run.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llm_wrappers.llm import LLM, LiveSource, allow_requests
from llm_wrappers.scores import format_table
from llm_wrappers.testing import LLMServer, ScriptedLLM

MODEL = "openai/benchmark"


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder, allow_requests(True):
        cache = Path(folder) / "answers.sqlite"
        print(batch_table(cache, options))
        print()
        print(look_up_table(cache, options))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--distinct", type=int, default=300)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds per answer")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--look-ups", type=int, default=2000)
    return parser.parse_args()


def batch_table(cache: Path, options: argparse.Namespace) -> str:
    """Ask the same prompts, first with an empty cache and then with a full one."""
    prompts = [f"What is {number % options.distinct}?" for number in range(options.prompts)]
    rows = []
    with LLMServer(answer="forty-two", latency=options.latency) as server:
        warm_up(server)
        for concurrency in options.concurrency:
            own = cache.with_name(f"{concurrency}-{cache.name}")
            for run in ("empty cache", "full cache"):
                before = server.count
                seconds = ask_all(server, own, prompts, concurrency)
                ideal = options.distinct * options.latency / concurrency
                rows.append(
                    {
                        "at once": concurrency,
                        "run": run,
                        "prompts": len(prompts),
                        "requests": server.count - before,
                        "seconds": seconds,
                        "x least possible": seconds / ideal if run == "empty cache" else None,
                    }
                )
    return format_table(rows)


def warm_up(server: LLMServer) -> None:
    # The import of litellm and the first connection are paid once per process, not per batch.
    LLM(MODEL, api_base=server.api_base, mode="off").ask("Are you there?")


def ask_all(server: LLMServer, cache: Path, prompts: list[str], concurrency: int) -> float:
    with LLM(MODEL, cache=cache, api_base=server.api_base, concurrency=concurrency) as llm:
        started = time.perf_counter()
        answers = llm.ask_many(prompts)
        seconds = time.perf_counter() - started
    assert len(answers) == len(prompts)
    return seconds


def look_up_table(cache: Path, options: argparse.Namespace) -> str:
    """Compare hits of a client and of a live source with a bare dict and a bare SQLite read."""
    prompts = [f"What is {number}?" for number in range(options.look_ups)]
    with ScriptedLLM(lambda request: "forty-two", model=MODEL, cache=cache) as llm:
        llm.ask_many(prompts)
    bare = {prompt: "forty-two" for prompt in prompts}
    rows = sqlite3.connect(cache.with_name("bare.sqlite"))
    rows.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT)")
    rows.executemany("INSERT INTO answers VALUES (?, ?)", bare.items())
    rows.commit()
    client = LLM(MODEL, cache=cache, mode="replay")
    source = LiveSource(client, prompt=str, purpose="look-up")
    source.answers(prompts)
    arms = {
        "bare dict": lambda prompt: bare[prompt],
        "bare SQLite read": lambda prompt: rows.execute(
            "SELECT answer FROM answers WHERE key = ?", (prompt,)
        ).fetchone(),
        "client": client.ask,
        "live source, met before": lambda prompt: source.answers([prompt]),
    }
    taken: dict[str, list[float]] = {arm: [] for arm in arms}
    for _ in range(5):
        for arm, look_up in arms.items():
            taken[arm].append(microseconds(look_up, prompts))
    rows.close()
    medians = {arm: statistics.median(times) for arm, times in taken.items()}
    return format_table(
        [
            {"one look-up": arm, "us": us, "x bare SQLite": us / medians["bare SQLite read"]}
            for arm, us in medians.items()
        ]
    )


def microseconds(look_up: Callable[[str], object], prompts: list[str]) -> float:
    started = time.perf_counter()
    for prompt in prompts:
        look_up(prompt)
    return (time.perf_counter() - started) / len(prompts) * 1e6


if __name__ == "__main__":
    main()
