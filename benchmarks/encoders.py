"""What turning captions into vectors costs, and what remembering saves: `make bench-encoders`.

Captions come from random play of Craftax-Classic, as often as they were said: what a run meets.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import CachedEncoder, HashingEncoder, SentenceTransformerEncoder
from llm_wrappers.scores import format_table

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"


def played(num_envs: int, steps: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return the state captions and the transition captions of each step."""
    envs = gym.make_vec(CRAFTAX, num_envs=num_envs)
    captioner = resolve_captioner(envs)
    generator = np.random.default_rng(0)
    observations, infos = envs.reset(seed=0)
    before = captioner.facts(observations, infos)
    states, transitions = [captioner.state_captions(before)], []
    for _ in range(steps):
        actions = generator.integers(0, envs.single_action_space.n, num_envs)
        observations, *_, infos = envs.step(actions)
        after = captioner.facts(observations, infos)
        states.append(captioner.state_captions(after))
        transitions.append(captioner.transition_captions(before, actions, after))
        before = after
    envs.close()
    return states, transitions


def microseconds_per_text(encode: Callable[[list[str]], object], steps: list[list[str]]) -> float:
    start = time.perf_counter()
    for texts in steps:
        encode(texts)
    return 1e6 * (time.perf_counter() - start) / sum(map(len, steps))


def rows_for(kind: str, encoder, steps: list[list[str]], folder: Path) -> list[dict[str, object]]:
    encoder.encode([""])
    again = microseconds_per_text(encoder.encode, steps)
    cached = CachedEncoder(encoder)
    first = microseconds_per_text(cached.encode, steps)
    distinct = cached.stats()["encoded"]
    second = microseconds_per_text(cached.encode, steps)
    stored = CachedEncoder(encoder, store=folder / f"{kind} {encoder.name[:7]}.sqlite")
    stored.encode([""])
    writing = microseconds_per_text(stored.encode, steps)
    reader = CachedEncoder(encoder, store=folder / f"{kind} {encoder.name[:7]}.sqlite")
    reading = microseconds_per_text(reader.encode, steps)
    asked = sum(map(len, steps))
    return [
        {
            "captions": f"{asked} {kind}, {distinct} distinct",
            "encoder": encoder.name.split("@")[0],
            "vectors": name,
            "us per text": cost,
            "times faster": again / cost,
        }
        for name, cost in (
            ("encoded at each step", again),
            ("memory, first time", first),
            ("memory, known", second),
            ("store, first time", writing),
            ("store, next run", reading),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    states, transitions = played(options.envs, options.steps)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for encoder in (HashingEncoder(), SentenceTransformerEncoder()):
            for kind, steps in (("transitions", transitions), ("states", states)):
                rows += rows_for(kind, encoder, steps, Path(folder))
    print(format_table(rows))


if __name__ == "__main__":
    main()
