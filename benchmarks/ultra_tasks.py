"""What the benchmark of ULTRA trains on: environments, arms, and who advises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions import Captioner
from llm_wrappers.worlds.atari.captioner import AtariRam
from llm_wrappers.worlds.atari.pong import reference_action
from llm_wrappers.worlds.atari.pong_frames import PongFrames

PONG = "ALE/Pong-v5"
NUMBERS, FRAMES = "numbers", "frames"
NUM_ENVS = 8
_TOP = 34
MOVES = (0, 2, 3)  # stay, up and down, of the six actions of the game


@dataclass(frozen=True)
class Arm:
    """One way to train a sub-optimal policy on.

    Args:
        summary: In a line.
        selector: Who picks the moments: ``"random"``, ``"value-gap"``, ``"oracle"``; None for
            training on without advice.
        options: Options of `CriticalStateOverrideWrapper`; None for no wrapper.
    """

    summary: str
    selector: str | None = None
    options: Mapping[str, Any] | None = None


ARMS = {
    "none": Arm("PPO without advice"),
    "random RA": Arm("random moments, RA", "random", {"mode": "RA"}),
    "value-gap RA": Arm("moments by the policy's own critic, RA", "value-gap", {"mode": "RA"}),
    "A": Arm("advice executed, p = 0.5", "oracle", {"mode": "A"}),
    "R": Arm("reward for agreement", "oracle", {"mode": "R"}),
    "RA": Arm("both", "oracle", {"mode": "RA"}),
    "RA literal": Arm(
        "both as in the paper: p = 1, reward whatever the agent does", "oracle",
        {"mode": "RA", "probability": 1.0, "reward": "state"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One environment, and how much of everything; all sizes are ours.

    Args:
        env_id: The Gymnasium id.
        make: Makes it as the policy sees it.
        alpha: The size of the rewards; that of the paper.
        ppo: Options of PPO.
        pretraining: Steps after which the policy is called sub-optimal.
        oracle: Further steps, with a learning rate falling to 0, after which it is called the
            oracle; 0 where a rule is.
        steps: Steps of fine-tuning.
        seeds: How many seeds by default.
        history: How many episodes of the sub-optimal policy moments are picked from.
        per_episode: How many moments of each.
        radius: When a state counts as one of the table.
        scale: What differences of observations are divided by; None for the standard deviations of
            the history.
        tolerance: How far an action may be from the advice, as a share of its range.
        episodes: How many are played to measure a policy.
        describes: What an observation and an episode are.
    """

    env_id: str
    make: Callable[[], gym.Env[Any, Any]]
    alpha: float
    ppo: Mapping[str, Any]
    pretraining: int
    oracle: int
    steps: int
    seeds: int
    history: int
    per_episode: int
    radius: float
    scale: float | None
    tolerance: float
    episodes: int
    describes: str

    @property
    def has_rule(self) -> bool:
        """Whether the oracle is a rule."""
        return not self.oracle


class PongNumbers(gym.Wrapper[Any, Any, Any, Any]):
    """Shows Pong as eight numbers, read from the memory of the console.

    They are the ball's position and motion, the paddle's position and motion, the opponent's
    position, and how far the ball is below the paddle; all in half fields or half a paddle.

    Args:
        env: Pong in an `AtariRam`.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-2.0, 2.0, (8,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a game; nothing moves yet."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._numbers(info), info

    def step(self, action: Any) -> tuple[NDArray[np.float32], Any, bool, bool, dict[str, Any]]:
        """Play a step."""
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._numbers(info), reward, terminated, truncated, info

    def _numbers(self, info: Mapping[str, Any]) -> NDArray[np.float32]:
        batched = {name: info[name][None] for name in ("ram", "previous_ram")}
        [facts] = self.get_wrapper_attr("captioner").facts(None, batched)
        ball = np.zeros(5)
        if facts["ball_in_play"]:
            x, y = facts["ball_x"], facts["ball_y"]
            dx, dy = facts["ball_dx"] or 0, facts["ball_dy"] or 0
            ball[:] = (x - 80) / 80, (y - 105) / 80, dx / 16, dy / 16, (y - facts["paddle_y"]) / 80
        # Out of sight the opponent waits above the field.
        opponent = _TOP if facts["opponent_y"] is None else facts["opponent_y"]
        moved = facts["paddle_dy"] or 0
        paddles = (facts["paddle_y"] - 105) / 80, moved / 16, (opponent - 105) / 80
        return np.clip(np.array([*ball, *paddles], np.float32), -2.0, 2.0)


class ThreeMoves(gym.wrappers.TransformAction[Any, Any, Any]):
    """Pong with one action for each move, and a captioner that knows these.

    The game has two, and an agent that takes the other one would count as one that disagrees with
    the advice.

    Args:
        env: Pong, with a captioner.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env, MOVES.__getitem__, gym.spaces.Discrete(len(MOVES)))
        self.captioner = _OfThreeMoves(env.get_wrapper_attr("captioner"))


class _OfThreeMoves:
    def __init__(self, captioner: Captioner) -> None:
        self._of_six = captioner
        self.facts, self.state_captions = captioner.facts, captioner.state_captions
        self.reads_observations = getattr(captioner, "reads_observations", True)
        names = captioner.description.action_names
        self.description = replace(
            captioner.description, action_names=tuple(names[move] for move in MOVES)
        )

    def transition_captions(self, before: Any, actions: Any, after: Any) -> list[str]:
        moves = [MOVES[int(action)] for action in actions]
        return list(self._of_six.transition_captions(before, moves, after))


def pong_rule(facts: Mapping[str, Any]) -> int | None:
    """Return the move that takes the paddle to where the ball will arrive, None if none comes."""
    return MOVES.index(reference_action(facts)) if facts["ball_towards_you"] else None


def _pong(observation: str) -> gym.Env[Any, Any]:
    gym.register_envs(ale_py)
    if observation == FRAMES:
        return ThreeMoves(PongFrames(gym.make(PONG)))
    return PongNumbers(ThreeMoves(AtariRam(gym.make(PONG, obs_type="ram"))))


_PONG_PPO = {
    "n_steps": 256, "batch_size": 128, "n_epochs": 10, "learning_rate": 1e-3, "ent_coef": 0.01,
}  # fmt: skip
_FRAMES_PPO = {
    "n_steps": 128, "batch_size": 256, "n_epochs": 4, "learning_rate": 2.5e-4, "ent_coef": 0.01,
    "clip_range": 0.1,
}  # fmt: skip
_MUJOCO_PPO = {
    "n_steps": 256, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4,
    "policy_kwargs": {"log_std_init": -0.5},
}  # fmt: skip


@cache
def tasks(observation: str = NUMBERS) -> Mapping[str, Task]:
    """Return the environments by name, Pong as numbers or as frames."""
    seen = {NUMBERS: "eight numbers from memory", FRAMES: "two frames of 80 x 80"}[observation]
    frames = observation == FRAMES
    pong = Task(
        PONG, partial(_pong, observation), 0.5, _FRAMES_PPO if frames else _PONG_PPO,
        pretraining=75_000, oracle=0, steps=30_000, seeds=5, history=5, per_episode=40,
        radius=0.05 if frames else 0.25, scale=255.0 if frames else None, tolerance=0.0,
        episodes=8,
        describes=f"{seen}, three moves, frames skipped 4, sticky actions 0.25, whole games "
        "(-21 to 21)",
    )  # fmt: skip
    return {
        "pong": pong,
        "hopper": _mujoco("Hopper-v5", pretraining=75_000, oracle=300_000, steps=30_000, seeds=5),
        "walker": _mujoco("Walker2d-v5", pretraining=75_000, oracle=150_000, steps=20_000, seeds=1),
        # In 105 dimensions 0.25 standard deviations find nearly nothing again.
        "ant": _mujoco(
            "Ant-v5", pretraining=75_000, oracle=150_000, steps=20_000, seeds=1, radius=0.5
        ),
    }


def _mujoco(
    env_id: str, *, pretraining: int, oracle: int, steps: int, seeds: int, radius: float = 0.25
) -> Task:
    return Task(
        env_id, partial(gym.make, env_id), 0.1, _MUJOCO_PPO, pretraining, oracle, steps, seeds,
        history=20, per_episode=10, radius=radius, scale=None, tolerance=0.25, episodes=20,
        describes="default observations and rewards",
    )  # fmt: skip
