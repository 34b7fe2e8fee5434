"""The parts of one run of the benchmark of ULTRA: prepare, advise, train on, measure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv
from ultra_tasks import ARMS, NUM_ENVS, Arm, Task, pong_rule

from llm_wrappers.guidance.critical.correcting import Corrector, RuleCorrector
from llm_wrappers.guidance.critical.finding import CriticalMoment, RandomSelector, Selector
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.sb3 import GuidanceCallback
from llm_wrappers.sb3.baselines.value_gap import value_gap_selector
from llm_wrappers.sb3.policy_corrector import PolicyCorrector
from llm_wrappers.sb3.recording import record_trajectories
from llm_wrappers.trajectories.files import open_trajectories
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import CriticalStateOverrideWrapper

PRETRAINING_SEED, HISTORY_SEED, EVALUATION_SEED = 0, 5_000, 10_000
MIN_GAP = 4
POLICY, ORACLE, HISTORY = "policy.zip", "oracle.zip", "history"


class Disagreement:
    """Picks the steps at which a policy is furthest from what a corrector advises.

    That is how likely another action is than the advised one, or for a Box the largest difference
    in a dimension. It needs an oracle, so it is the best case of an identification.

    Args:
        model: The policy.
        corrector: The oracle.
    """

    def __init__(self, model: PPO, corrector: Corrector) -> None:
        self._model = model
        self._corrector = corrector

    def select(
        self, trajectories: Sequence[Trajectory], *, per_episode: int
    ) -> list[CriticalMoment]:
        """Return the moments with the largest differences, some steps apart from each other."""
        moments: list[CriticalMoment] = []
        for episode, trajectory in enumerate(trajectories):
            gaps = self._gaps(trajectory)
            steps = _far_apart(np.argsort(-gaps, kind="stable"), gaps, per_episode)
            moments += [CriticalMoment(episode, step, float(gaps[step])) for step in steps]
        return moments

    def _gaps(self, trajectory: Trajectory) -> NDArray[np.float64]:
        steps = [CriticalMoment(0, step) for step in range(len(trajectory))]
        advised = self._corrector.correct([trajectory], steps)
        known = [step for step, advice in enumerate(advised) if advice is not None]
        gaps = np.full(len(trajectory), -np.inf)
        if known:
            actions = np.array([advised[step].action for step in known])  # type: ignore[union-attr]
            gaps[known] = self._distances(trajectory.observations[known], actions)
        return gaps

    def _distances(self, states: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        if isinstance(self._model.action_space, gym.spaces.Box):
            mine, _ = self._model.predict(states, deterministic=True)
            return np.asarray(np.abs(mine - actions).max(axis=1), np.float64)
        policy: Any = self._model.policy
        with torch.no_grad():
            seen, _ = policy.obs_to_tensor(states)
            probabilities = policy.get_distribution(seen).distribution.probs.numpy()
        return np.asarray(1.0 - probabilities[np.arange(len(actions)), actions], np.float64)


def _far_apart(order: NDArray[Any], gaps: NDArray[np.float64], count: int) -> list[int]:
    picked: list[int] = []
    for step in order.tolist():
        if len(picked) == count or np.isneginf(gaps[step]):
            break
        if all(abs(step - other) >= MIN_GAP for other in picked):
            picked.append(step)
    return sorted(picked)


def prepare(task: Task, folder: Path) -> dict[str, Any]:
    """Train the sub-optimal policy and the oracle, and record the history.

    Returns:
        The returns of the episodes of both; `oracle` is None where it is a rule.
    """
    torch.set_num_threads(1)
    kind = "CnnPolicy" if len(task.make().observation_space.shape or ()) == 3 else "MlpPolicy"
    envs = _envs(task, PRETRAINING_SEED)
    model = PPO(kind, envs, seed=PRETRAINING_SEED, device="cpu", **task.ppo)
    model.learn(task.pretraining).save(folder / POLICY)
    before, oracle = returns_of(model, task), None
    shutil.rmtree(folder / HISTORY, ignore_errors=True)
    # Only a rule reads facts.
    record_trajectories(
        model, task.make(), episodes=task.history, seed=HISTORY_SEED, captions=task.has_rule,
        folder=folder / HISTORY,
    )  # fmt: skip
    if not task.has_rule:
        rate = float(task.ppo["learning_rate"])
        better = PPO.load(
            folder / POLICY, env=envs, device="cpu", learning_rate=lambda left: rate * left
        )
        better.learn(task.oracle).save(folder / ORACLE)
        oracle = returns_of(better, task)
    return {"before": before, "oracle": oracle}


def fine_tune(task: Task, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train the sub-optimal policy on as an arm says, and measure it without advice.

    Args:
        task: The environment.
        arm: The name of the arm.
        seed: Of the training, and of what a selector draws.
        folder: What `prepare` left.

    Returns:
        `returns`, and of the advice `table` (entries), `hits` and `overrides` per 1,000 steps, and
        `agreement`: the share of hits at which the agent chose what is advised.
    """
    torch.set_num_threads(1)
    advised = ARMS[arm].selector is not None
    table = table_of(task, ARMS[arm], seed, folder) if advised else None
    envs = _envs(task, seed, _guided(task, ARMS[arm], table))
    model = PPO.load(folder / POLICY, env=envs, device="cpu")
    model.set_random_seed(seed)
    model.learn(task.steps, callback=GuidanceCallback())
    counts = _counts(envs) if table is not None else {}
    return {
        "returns": returns_of(model, task),
        "table": 0 if table is None else len(table),
        **counts,
    }


def table_of(task: Task, arm: Arm, seed: int, folder: Path) -> CriticalStates:
    """Return the critical states of an arm, found in the history of the sub-optimal policy."""
    history = list(open_trajectories(folder / HISTORY))
    model = PPO.load(folder / POLICY, device="cpu")
    corrector = corrector_of(task, folder)
    selectors: Mapping[str, Callable[[], Selector]] = {
        "random": lambda: RandomSelector(seed=seed, min_gap=MIN_GAP),
        "value-gap": lambda: value_gap_selector(model, min_gap=MIN_GAP),
        "oracle": lambda: Disagreement(model, corrector),
    }
    assert arm.selector is not None
    moments = selectors[arm.selector]().select(history, per_episode=task.per_episode)
    advised = [state for state in corrector.correct(history, moments) if state is not None]
    states = np.concatenate([trajectory.observations for trajectory in history])
    spread = states.reshape(len(states), -1).astype(np.float64).std(axis=0)
    scales = np.where(spread > 0, spread, 1.0)
    if task.scale is not None:
        scales = np.full_like(scales, task.scale)
    return CriticalStates(advised, key=f"nearest:{task.radius}", scales=scales.tolist())


def corrector_of(task: Task, folder: Path) -> Corrector:
    """Return the oracle: a rule, or a policy that was trained for longer."""
    if task.has_rule:
        return RuleCorrector(pong_rule, task.make().action_space)
    model = PPO.load(folder / ORACLE, device="cpu")
    return PolicyCorrector(model, tolerance=task.tolerance)


def returns_of(model: PPO, task: Task) -> list[float]:
    """Return what episodes pay, actions sampled; the same worlds and draws for every policy."""
    envs = make_vec_env(task.make, min(NUM_ENVS, task.episodes), seed=EVALUATION_SEED)
    torch.manual_seed(EVALUATION_SEED)
    found, _ = evaluate_policy(
        model, envs, n_eval_episodes=task.episodes, deterministic=False, return_episode_rewards=True
    )
    envs.close()
    return [float(value) for value in found]  # type: ignore[union-attr]


def changed(task: Task, settings: Mapping[str, float | None]) -> Task:
    """Return the task with other settings where they are given; a rule stays the oracle."""
    given = {name: value for name, value in settings.items() if value is not None}
    if task.has_rule:
        given.pop("oracle", None)
    return replace(task, **given)  # type: ignore[arg-type]


def _guided(task: Task, arm: Arm, table: CriticalStates | None) -> Any:
    if table is None:
        return None
    options = {"alpha": task.alpha, "tolerance": task.tolerance, **(arm.options or {})}
    return lambda env: CriticalStateOverrideWrapper(env, critical_states=table, **options)


def _envs(task: Task, seed: int, wrapper: Any = None) -> VecEnv:
    # The monitor is inside of the wrapper: what it logs is what the environment pays.
    return make_vec_env(task.make, NUM_ENVS, seed=seed, wrapper_class=wrapper)


def _counts(envs: VecEnv) -> dict[str, float]:
    stats = envs.env_method("stats")
    steps, hits, overrides, agreements = (
        sum(row[name] for row in stats) for name in ("steps", "hits", "overrides", "agreements")
    )
    return {
        "hits": 1000 * hits / steps,
        "overrides": 1000 * overrides / steps,
        "agreement": agreements / max(hits, 1),
    }
