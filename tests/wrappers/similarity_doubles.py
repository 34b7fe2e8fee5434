"""Environments, captioners, suggesters and encoders for the tests of the similarity reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from guided_doubles import counting_env

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.wrappers import SimilarityRewardWrapper

DEEDS = ("collect wood", "eat cow", "attack cow", "place crafting table", "nothing happens", "nap")
WOOD, EAT, ATTACK, TABLE, NOTHING, NAP = range(6)


class DeedCaptioner(GenericCaptioner):
    """It says what each action does; the only fact is the step of the episode."""

    def transition_captions(
        self, before: Sequence[Any], actions: Sequence[Any], after: Sequence[Any]
    ) -> list[str]:
        return [DEEDS[int(action)] for action in actions]


class Told(gym.Wrapper[Any, Any, Any, Any]):
    """It says in `info` whether an action succeeded, as the test says."""

    def __init__(self, env: gym.Env[Any, Any], successes: Sequence[bool]) -> None:
        super().__init__(env)
        self._successes = iter(successes)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        told = {**info, "action_success": next(self._successes)}
        return observation, reward, terminated, truncated, told


class PlaneEncoder:
    """Vectors in the plane by text: a known angle, or whatever the test says."""

    def __init__(self, **vectors: Any) -> None:
        self.vectors = {name.replace("_", " "): np.asarray(v) for name, v in vectors.items()}
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        return np.stack([self.vectors.get(text, np.array([0.0, 1.0])) for text in texts])


class CountingEncoder:
    """The hashing encoder, which notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        return HashingEncoder(64).encode(texts)

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


class CountingSuggester:
    """One answer per state by its step, which notes the states and the resets it is told of."""

    def __init__(self, answer: Callable[[int], Any], *, pure: bool = False) -> None:
        self._answer = answer
        self.pure = pure
        self.asked: list[int] = []
        self.batches: list[int] = []

    def suggest(self, states: Any) -> list[Any]:
        steps = [int(facts["obs_0"]) for facts in states.facts]
        self.asked += steps
        self.batches.append(len(steps))
        return [self._answer(step) for step in steps]


class RememberingSuggester(CountingSuggester):
    """It keeps something per sub-environment, and so is told where episodes begin."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        super().__init__(answer)
        self.resets: list[list[bool]] = []

    def reset(self, mask: Any) -> None:
        self.resets.append(mask.tolist())

    def stats(self) -> dict[str, int]:
        return {"resets": len(self.resets)}


def deeds_env(length: int = 10) -> gym.Env[Any, Any]:
    return counting_env(length, gym.spaces.Discrete(len(DEEDS)))


def captioner_of(env: Any) -> DeedCaptioner:
    vectorised = hasattr(env, "num_envs")
    return DeedCaptioner(
        env.single_observation_space if vectorised else env.observation_space,
        env.single_action_space if vectorised else env.action_space,
    )


def suggested(
    suggester: Any, env: gym.Env[Any, Any] | None = None, **options: Any
) -> SimilarityRewardWrapper:
    """Return an environment whose actions are `DEEDS`, with rewards for what is suggested."""
    env = deeds_env() if env is None else env
    options.setdefault("captioner", captioner_of(env))
    return SimilarityRewardWrapper(env, suggester=suggester, **options)


def rewards_of(env: gym.Env[Any, Any], actions: Sequence[int]) -> list[float]:
    """Return the rewards of these steps, after a reset."""
    env.reset(seed=0)
    return [float(env.step(action)[1]) for action in actions]
