"""How much hangs on the steps that a selector finds important: the fidelity score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from llm_wrappers import checks
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.finding import Selector, importances_of, resolve_selector
from llm_wrappers.sb3.models import FrozenModel, random_action
from llm_wrappers.sb3.recording import record_trajectories
from llm_wrappers.trajectories.trajectory import Trajectory, leaves, map_leaves

__all__ = ["FidelityScore", "fidelity_scores", "seeded_trajectories"]

_SMALLEST_CHANGE = 0.001


@dataclass(frozen=True)
class FidelityScore:
    """What was measured for one share of the episodes.

    Args:
        share: Of each episode, in (0, 1].
        score: log(d / d_max) - log(l / L); higher is better.
        change: d, the mean size of the change of the return.
        d_max: The largest change, which the score is relative to.
        length: l / L, the mean share that windows of whole steps had.
        replays: How many replays the means are over.
        unranked: How many episodes have equally important steps only, by the selector: their first
            window was spoiled, which says nothing of it.
    """

    share: float
    score: float
    change: float
    d_max: float
    length: float
    replays: int
    unranked: int = 0


def fidelity_scores(
    selector: str | Selector,
    model: BaseAlgorithm,
    env: gym.Env[Any, Any],
    trajectories: Sequence[Trajectory],
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4),
    per_episode: int = 10,
    d_max: float | None = None,
    repeats: int = 1,
    deterministic: bool = True,
    normalizer: VecNormalize | None = None,
    seed: int = 0,
) -> list[FidelityScore]:
    """Measure how much returns change where the steps that a selector finds important are spoiled.

    The fidelity score of StateMask and RICE (arXiv 2405.03064). In each episode the window of
    length l whose mean importance is highest is replayed with random actions, and the policy goes
    on behind it. With d the mean size of the change of the return, and episodes of length L, the
    score is log(d / d_max) - log(l / L).

    **Higher is better, as in the paper.** The code that was published with it, and that of
    StateMask, compute the negative, where lower is better. As there, d is at least 0.001, so that
    the logarithm exists.

    An episode is replayed by its seed: reset, then the recorded actions up to the window. The
    random actions depend on `seed`, the episode and the repeat, and on nothing else, so selectors
    are compared with the same ones. Where windows are equally important the first is taken; where
    all steps of an episode are, it is counted in `unranked`. What a selector without importances of
    its own gives is said at `importances_of`.

    Args:
        selector: What is measured, or a name that `resolve_selector` makes one of with this model,
            environment and seed.
        model: The policy that played the episodes.
        env: An environment like that in which they were played, and which gives the same again for
            the same seed and actions. It is reset, and not closed.
        trajectories: Episodes that have a seed, such as those of `seeded_trajectories`.
        shares: K, each in (0, 1]: the window has the share of the episode, at least one step.
        per_episode: How many moments of each episode a selector without importances of its own is
            asked for, once; our choice.
        d_max: The largest change that there can be. None measures it as the largest change of a
            replay with random actions only, of which there is one for each episode; that does not
            depend on the selector, and is our choice.
        repeats: How many replays of each episode.
        deterministic: Whether the policy takes its most likely action; otherwise its own chance is
            part of the changes.
        normalizer: What observations are normalised with; None for that of the model's own
            environment, if it has one.
        seed: Of the random actions, and of a selector that is made by its name.

    Returns:
        One score for each share.

    Raises:
        InvalidOptionError: If an option is outside what is documented, or an episode has no seed.
        UnknownNameError: If no resolver knows the selector's name.
        IncompatibleEnvironmentError: If the environment does not give the recorded rewards again,
            or has other actions than the model.

    >>> from stable_baselines3 import PPO
    >>> from llm_wrappers.guidance.critical.finding import RandomSelector
    >>> model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    >>> env = gym.make("CartPole-v1")
    >>> episodes = seeded_trajectories(model, env, seeds=range(3))
    >>> [score] = fidelity_scores(RandomSelector(), model, env, episodes, shares=[0.2])
    >>> score.share, score.replays
    (0.2, 3)
    """
    _check_shares(shares)
    checks.whole("per_episode", per_episode, least=1)
    checks.whole("repeats", repeats, least=1)
    checks.whole("seed", seed, least=0)
    if d_max is not None:
        checks.number("d_max", d_max, above=0)
    _check_seeds(trajectories)
    frozen = FrozenModel(model, normalizer=normalizer)
    _check_env(env, model)
    selector = resolve_selector(selector, model=model, env=env, seed=seed)
    replay = _Replay(frozen, env, deterministic=deterministic, seed=seed)
    if d_max is None:
        whole = [
            replay.change(each, range(len(each)), row, 0) for row, each in enumerate(trajectories)
        ]
        d_max = max(*whole, _SMALLEST_CHANGE)
    rows = importances_of(selector, trajectories, per_episode=per_episode)
    unranked = sum(bool((row == row[0]).all()) for row in rows)
    scores = []
    for share in shares:
        lengths = [max(1, round(share * len(each))) for each in trajectories]
        windows = [_best(row, length) for row, length in zip(rows, lengths, strict=True)]
        changes = [
            replay.change(each, windows[row], row, repeat)
            for row, each in enumerate(trajectories)
            for repeat in range(repeats)
        ]
        shown = [length / len(each) for length, each in zip(lengths, trajectories, strict=True)]
        found = _score(share, changes, d_max, float(np.mean(shown)))
        scores.append(replace(found, unranked=unranked))
    return scores


def seeded_trajectories(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any],
    *,
    seeds: Sequence[int],
    deterministic: bool = True,
    captions: bool = True,
) -> list[Trajectory]:
    """Record one episode for each seed, so that each can be replayed.

    Args:
        model: The policy.
        env: Its environment.
        seeds: Of the resets.
        deterministic: Whether the most likely action is taken.
        captions: Whether facts and captions are recorded.

    Raises:
        InvalidOptionError: If `env` is no single environment.
        IncompatibleEnvironmentError: If it has other actions than the model.
    """
    _check_env(env, model)
    options: dict[str, Any] = {"deterministic": deterministic, "captions": captions}
    return [
        record_trajectories(model, env, episodes=1, seed=int(seed), **options)[0] for seed in seeds
    ]


class _Replay:
    """Plays recorded episodes again, with some of the actions replaced by random ones."""

    def __init__(
        self, policy: FrozenModel, env: gym.Env[Any, Any], *, deterministic: bool, seed: int
    ) -> None:
        self._policy, self._env, self._deterministic = policy, env, deterministic
        self._seed = seed
        self._space = deepcopy(env.action_space)

    def change(self, trajectory: Trajectory, window: range, episode: int, repeat: int) -> float:
        """Return by how much the return changes with random actions in a window of steps."""
        place = np.random.SeedSequence([self._seed, episode, repeat])
        self._space.seed(int(place.generate_state(1)[0]))
        observation, _ = self._env.reset(seed=trajectory.seed)
        _check_same(trajectory, 0, observation)
        step, over, total = 0, False, 0.0
        while not over:
            action = self._action(trajectory, window, step, observation)
            observation, paid, terminated, truncated, info = self._env.step(action)
            reward = float(info.get("extrinsic_reward", paid))
            if step < window.start:
                _check_same(trajectory, step + 1, observation, reward)
            total, over, step = total + reward, bool(terminated or truncated), step + 1
        return abs(total - float(trajectory.rewards.sum()))

    def _action(self, trajectory: Trajectory, window: range, step: int, observation: Any) -> Any:
        if step < window.start:
            return trajectory.actions[step]
        masks = self._policy.masks(self._env)
        if step in window:
            return random_action(self._space, masks)
        return self._policy.action(observation, deterministic=self._deterministic, masks=masks)


def _best(row: NDArray[np.float64], length: int) -> range:
    """Return the first window of a length that has the highest mean."""
    sums = np.concatenate([[0.0], np.cumsum(row)])
    means = (sums[length:] - sums[:-length]) / length
    # Sums of equal numbers differ in their last digits by where they stand.
    first = int(np.flatnonzero(means >= means.max() - 1e-12 * np.abs(row).max())[0])
    return range(first, first + length)


def _score(share: float, changes: list[float], d_max: float, length: float) -> FidelityScore:
    change = float(np.mean(changes))
    score = math.log(max(change, _SMALLEST_CHANGE) / d_max) - math.log(length)
    return FidelityScore(float(share), score, change, float(d_max), length, len(changes))


def _check_same(
    trajectory: Trajectory, index: int, observation: Any, reward: float | None = None
) -> None:
    recorded = map_leaves(trajectory.observations, itemgetter(index))
    pairs = zip(leaves(recorded), leaves(map_leaves(observation, np.asarray)), strict=True)
    paid = reward is None or np.isclose(reward, trajectory.rewards[index - 1])
    if paid and all(_equal(*pair) for pair in pairs):
        return
    place = "the reset" if reward is None else f"step {index - 1}"
    raise IncompatibleEnvironmentError(
        f"expected the recorded reward and observation again at {place} of the episode with "
        f"seed {trajectory.seed}, got others: fidelity needs an environment that depends on its "
        "seed and the actions only, made with the same options as when it was recorded"
    )


def _equal(one: Any, two: Any) -> bool:
    if np.shape(one) != np.shape(two):
        return False
    if np.asarray(one).dtype.kind == "f":
        return bool(np.allclose(one, two, equal_nan=True))
    return bool(np.array_equal(one, two))


def _check_env(env: Any, model: BaseAlgorithm) -> None:
    if not isinstance(env, gym.Env):
        raise InvalidOptionError(
            f"expected env to be a gymnasium.Env, got a {type(env).__name__}: give a single one"
        )
    if env.action_space != model.action_space:
        raise IncompatibleEnvironmentError(
            f"expected an environment with the actions of the model, {model.action_space}, got "
            f"{env.action_space}; make it as for the training of the model"
        )


def _check_shares(shares: Sequence[float]) -> None:
    if not len(shares) or not all(checks.is_number(share) and 0 < share <= 1 for share in shares):
        raise InvalidOptionError(f"shares must be numbers in (0, 1], got {shares!r}")


def _check_seeds(trajectories: Sequence[Trajectory]) -> None:
    if not len(trajectories):
        raise InvalidOptionError("expected at least one episode, got none")
    missing = [number for number, each in enumerate(trajectories) if each.seed is None]
    if missing:
        raise InvalidOptionError(
            f"expected episodes with a seed, to replay them, and episode {missing[0]} has none; "
            "record them with seeded_trajectories"
        )
