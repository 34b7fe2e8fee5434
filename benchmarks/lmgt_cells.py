"""One cell of the LMGT benchmark: train with one judge and one seed, and measure without it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
import slate_learner
import torch
from pocket_watch_learner import ENV_ID as WATCH
from pocket_watch_learner import learn
from stable_baselines3 import A2C, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import llm_wrappers as lw
from llm_wrappers.errors import GuidanceWarning
from llm_wrappers.worlds.toy_text.blackjack import blackjack_values

EVALUATION_EPISODES, EVALUATION_SEED = 20, 10_000
GAMMA = 0.99
ADAPTIVE = {"kind": "adaptive"}
BLACKJACK_RATE, BLACKJACK_EXPLORATION = 0.05, 0.1
_CARDS = (*range(1, 11), 10, 10, 10)
_JUDGES = ("reference", "noisy:0.2", "anti-oracle", "random", "constant:1", "constant:-1")

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One environment with one algorithm.

    Args:
        title: What both are.
        unit: What is counted by `steps`.
        steps: The budgets, one table each.
        seeds: How many seeds by default.
        arms: Name -> options of `RewardShiftWrapper`; None for the bare environment.
        measure: What the value of a cell is.
    """

    title: str
    unit: str
    steps: tuple[int, ...]
    seeds: int
    arms: Mapping[str, Options | None]
    measure: str


def _arms(more: Mapping[str, Options]) -> Mapping[str, Options | None]:
    arms: dict[str, Options | None] = {"none": None}
    arms.update({judge: {"judge": judge} for judge in _JUDGES})
    arms.update(more)
    arms["adaptive"] = {"judge": "reference", "schedule": ADAPTIVE}
    arms["adaptive anti-oracle"] = {"judge": "anti-oracle", "schedule": ADAPTIVE}
    return MappingProxyType(arms)


@cache
def parts() -> Mapping[str, Part]:
    """Return what is measured, by name."""
    potential = {"potential": {"judge": "reference", "mode": "potential", "gamma": GAMMA}}
    control = _arms(potential)
    returned = f"return of {EVALUATION_EPISODES} deterministic episodes without a judge"
    return {
        "cartpole": Part("CartPole-v1, A2C", "steps", (1_000, 10_000), 10, control, returned),
        "pendulum": Part("Pendulum-v1, SAC", "steps", (1_000,), 3, control, returned),
        "blackjack": Part(
            "Blackjack-v1, tabular Q-learning", "hands", (5_000,), 10,
            _arms({"oracle": {"judge": "oracle"}}),
            f"exact mean reward of the greedy policy; the optimum is {blackjack_value(None):.4f}",
        ),
        "watch": Part(
            "pocket watches, tabular Q-learning, judge oracle", "episodes at most", (3_000,), 10,
            {"none": None, **{f"scale {k}": {"judge": "oracle", "scale": float(k)}
                              for k in (1, 2, 3, 5, 10)}},
            "episodes until solved, or all if never",
        ),
        "recsim": Part(
            "RecSim interest evolution, tabular SlateQ (anti-oracle is the reference turned round)",
            "episodes", (10, 50), 5,
            {"none": None, **{j: {"judge": j} for j in ("reference", "anti-oracle", "random")}},
            f"minutes watched in {EVALUATION_EPISODES} greedy episodes without a judge",
        ),
    }  # fmt: skip


def run(part: str, arm: str, *, steps: int, seed: int) -> dict[str, Any]:
    """Train one arm and return `value`, `agreement` with the oracle, and for watches `solved`."""
    train = {
        "cartpole": _control, "pendulum": _control, "blackjack": _blackjack, "watch": _watch,
        "recsim": _recsim,
    }  # fmt: skip
    return train[part](part, parts()[part].arms[arm], steps, seed)


def _shifted(env_id: str, options: Options | None) -> gym.Env[Any, Any]:
    env = gym.make(env_id)
    if options is None:
        return env
    raw = options.get("mode", "raw") == "raw"
    return lw.RewardShiftWrapper(env, **options, audit_against="oracle" if raw else None)


def _agreement(env: gym.Env[Any, Any]) -> float | None:
    return env.audit().get("agreement") if isinstance(env, lw.RewardShiftWrapper) else None


def _control(part: str, options: Options | None, steps: int, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    algorithm, env_id = {"cartpole": (A2C, "CartPole-v1"), "pendulum": (SAC, "Pendulum-v1")}[part]
    env = _shifted(env_id, options)
    model = algorithm("MlpPolicy", env, seed=seed, gamma=GAMMA, device="cpu")
    with warnings.catch_warnings():
        # That shifts may outweigh what the environment pays is what is measured here.
        warnings.simplefilter("ignore", GuidanceWarning)
        model.learn(steps, callback=lw.sb3.GuidanceCallback())
    bare = make_vec_env(env_id, EVALUATION_EPISODES, seed=EVALUATION_SEED)
    value, _ = evaluate_policy(model, bare, n_eval_episodes=EVALUATION_EPISODES)
    return {"value": float(value), "agreement": _agreement(env)}


def _watch(part: str, options: Options | None, steps: int, seed: int) -> dict[str, Any]:
    env = _shifted(WATCH, options)
    learned = learn(env, seed=seed, most=steps)
    return {
        "value": learned.episodes, "solved": learned.solved, "right": learned.right,
        "agreement": _agreement(env),
    }  # fmt: skip


def _recsim(part: str, options: Options | None, steps: int, seed: int) -> dict[str, Any]:
    env: gym.Env[Any, Any] = gym.make(slate_learner.ENV_ID)
    if options is not None:
        env = lw.RewardShiftWrapper(env, **options)
    learner = slate_learner.learn(env, episodes=steps, seed=seed)
    value = slate_learner.mean_return(learner, episodes=EVALUATION_EPISODES, seed=EVALUATION_SEED)
    # There is no oracle for it.
    return {"value": value, "agreement": None}


def _blackjack(part: str, options: Options | None, steps: int, seed: int) -> dict[str, Any]:
    env, random = _shifted("Blackjack-v1", options), np.random.default_rng(seed)
    values = np.zeros((32, 11, 2, 2))
    state, _ = env.reset(seed=seed)
    for _ in range(steps):
        over = False
        while not over:
            explores = random.random() < BLACKJACK_EXPLORATION
            action = int(random.integers(2) if explores else values[state].argmax())
            after, reward, over, _, _ = env.step(action)
            target = float(reward) + (0.0 if over else values[after].max())
            values[state][action] += BLACKJACK_RATE * (target - values[state][action])
            state = after
        state, _ = env.reset()
    return {"value": blackjack_value(values.argmax(axis=3)), "agreement": _agreement(env)}


def blackjack_value(policy: np.ndarray[Any, Any] | None) -> float:
    """Return the exact mean reward of a policy in Blackjack as Gymnasium plays it by default.

    Args:
        policy: 0 (stick) or 1 (hit) by sum, dealer's card and usable ace, shape (32, 11, 2); None
            for the best one.
    """

    @cache
    def value(total: int, dealer: int, ace: bool) -> float:
        if total > 21:
            return -1.0
        if policy is None:
            return max(blackjack_values(total, dealer, ace))
        if policy[total, dealer, int(ace)] == 0:
            return blackjack_values(total, dealer, ace)[0]
        return float(np.mean([value(*_drawn(total, ace, card, dealer)) for card in _CARDS]))

    dealt = [
        value(first + second + (10 if 1 in (first, second) else 0), dealer, 1 in (first, second))
        for first in _CARDS
        for second in _CARDS
        for dealer in _CARDS
    ]
    return float(np.mean(dealt))


def _drawn(total: int, ace: bool, card: int, dealer: int) -> tuple[int, int, bool]:
    if total + card > 21 and ace:
        return total + card - 10, dealer, False
    if card == 1 and not ace and total + 11 <= 21:
        return total + 11, dealer, True
    return total + card, dealer, ace
