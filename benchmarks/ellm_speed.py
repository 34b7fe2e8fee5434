"""What ELLM's reward costs, as ratios within one run: `python benchmarks/ellm.py --speed`.

Arms take turns, several times, and the median of each counts. Each has met its captions before, as
after the first minutes of training. The last arm encodes captions and goals anew at each step with
a sentence transformer, which is what public re-implementations do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from overhead import Step, compare, endless, single_step

from llm_wrappers.captions.captioner import batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.embeddings import Encoder, SentenceTransformerEncoder
from llm_wrappers.guidance.suggesters import Suggesting, resolve_suggester
from llm_wrappers.methods import ellm
from llm_wrappers.scores import format_table

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"
CRAFTER = "llm_wrappers/Crafter-v1"
N = 64
WARM_STEPS = 300


class EncodeEachStep:
    """Suggests and compares like the wrapper, but remembers no vector."""

    def __init__(self, env: Any, suggester: str, encoder: Encoder, n: int) -> None:
        self._captioner = resolve_captioner(env)
        self._encoder = encoder
        self._suggesting = Suggesting(
            resolve_suggester(suggester, description=self._captioner.description),
            caption=self._captioner.state_captions,
        )
        self._rows = list(range(n))

    def begin(self, observations: Any, infos: Any) -> None:
        """Look at the first states."""
        self._facts = self._captioner.facts(observations, infos)

    def rewards(self, actions: Sequence[int], observations: Any, infos: Any) -> list[float]:
        """Return the rewards of a step, which is at least one text encoded for each of n."""
        goals = self._suggesting.goals(self._facts, self._rows)
        after = self._captioner.facts(observations, infos)
        captions = self._captioner.transition_captions(self._facts, actions, after)
        self._facts = after
        vectors = self._encoder.encode([*captions, *(goal for some in goals for goal in some)])
        said, suggested = vectors[: len(captions)], vectors[len(captions) :]
        rewards, start = [], 0
        for vector, some in zip(said, goals, strict=True):
            cosines = suggested[start : start + len(some)] @ vector
            best = float(cosines.max(initial=0.0))
            rewards.append(best if best > 0.99 else 0.0)
            start += len(some)
        return rewards


def single_encoding_step(env: gym.Env[Any, Any], suggester: str, encoder: Encoder) -> Step:
    generator, each = np.random.default_rng(0), EncodeEachStep(env, suggester, encoder, 1)
    observation, info = env.reset(seed=0)
    each.begin(observation[None], batch_infos(info))

    def advance() -> None:
        action = int(generator.integers(17))
        observation, *_, info = env.step(action)
        each.rewards([action], observation[None], batch_infos(info))

    return advance


def vector_step(envs: gym.vector.VectorEnv[Any, Any, Any]) -> Step:
    envs.reset(seed=0)
    generator = np.random.default_rng(0)
    return lambda: envs.step(generator.integers(0, 17, N)) and None


def vector_encoding_step(
    envs: gym.vector.VectorEnv[Any, Any, Any], suggester: str, encoder: Encoder
) -> Step:
    generator, each = np.random.default_rng(0), EncodeEachStep(envs, suggester, encoder, N)
    each.begin(*envs.reset(seed=0))

    def advance() -> None:
        actions = generator.integers(0, 17, N)
        observations, *_, infos = envs.step(actions)
        each.rewards(actions.tolist(), observations, infos)

    return advance


def single_rows(encoder: Encoder, rounds: int) -> list[dict[str, object]]:
    suggester = "reference:crafter"
    arms = {
        "bare": single_step(endless(CRAFTER)),
        "ELLM": single_step(ellm.wrap(endless(CRAFTER), suggester)),
        "ELLM, captions shown": single_step(
            ellm.wrap(endless(CRAFTER), suggester, caption_observation=True)
        ),
        "encoded at each step": single_encoding_step(endless(CRAFTER), suggester, encoder),
    }
    return rows_of("Crafter, 1 environment", arms, 1, steps=100, rounds=rounds)


def vector_rows(encoder: Encoder, rounds: int) -> list[dict[str, object]]:
    suggester = "reference:craftax-classic"

    def bare() -> gym.vector.VectorEnv[Any, Any, Any]:
        return gym.make_vec(CRAFTAX, num_envs=N)

    arms = {
        "bare": vector_step(bare()),
        "ELLM": vector_step(ellm.wrap(bare(), suggester)),
        "ELLM, captions shown": vector_step(ellm.wrap(bare(), suggester, caption_observation=True)),
    }
    title = f"Craftax-Classic, {N} environments"
    rows = rows_of(title, arms, N, steps=60, rounds=rounds)
    # Much slower, and so for fewer steps, beside a bare one in the same turns.
    slow = {
        "bare": arms["bare"],
        "encoded at each step": vector_encoding_step(bare(), suggester, encoder),
    }
    return rows + rows_of(title, slow, N, steps=4, rounds=rounds, warm=2)[1:]


def rows_of(
    title: str,
    arms: dict[str, Step],
    n: int,
    *,
    steps: int,
    rounds: int,
    warm: int = WARM_STEPS,
) -> list[dict[str, object]]:
    for name, step in arms.items():
        for _ in range(2 if name == "encoded at each step" else warm):
            step()
    seconds = compare(arms, steps=steps, rounds=rounds)
    return [
        {
            "environment": title,
            "arm": name,
            "steps/s": round(n / s),
            "speed, times bare": f"{seconds['bare'] / s:.3f}",
            "added, microseconds per environment step": round(1e6 * (s - seconds["bare"]) / n),
        }
        for name, s in seconds.items()
    ]


def measure(rounds: int) -> str:
    """Return the table of both environments."""
    encoder = SentenceTransformerEncoder()
    encoder.encode(["load the model"])
    return format_table(single_rows(encoder, rounds) + vector_rows(encoder, rounds))
