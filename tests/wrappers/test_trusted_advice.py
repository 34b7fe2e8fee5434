"""Advice at critical states that has to earn its trust."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.wrappers import CriticalStateOverrideWrapper, vector

ADAPTIVE = {"kind": "adaptive", "window": 10}
DOUBTFUL = {**ADAPTIVE, "start": 1.0}
EPISODES = 100


class Choice(gym.Env[Any, Any]):
    """One state and one step, which pays 1 for action 1."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(1, np.float32), float(action == 1), True, False, {}


def advising(action: int, reward: float = 0.5) -> CriticalStates:
    return CriticalStates([CriticalState([0.0], action, reward=reward)], key="exact")


def played(
    action: int, agent: Any, *, episodes: int = EPISODES, seed: int = 0, **options: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """Play episodes; the agent is the action it always takes, or a generator to draw it from."""
    env = CriticalStateOverrideWrapper(Choice(), critical_states=advising(action), **options)
    infos = []
    for episode in range(episodes):
        env.reset(seed=seed if episode == 0 else None)
        choice = agent if isinstance(agent, int) else int(agent.integers(2))
        infos.append({"reward": None, **env.step(choice)[4]})
    return env, infos


@pytest.mark.parametrize(
    ("action", "schedule", "trust"),
    [(1, ADAPTIVE, 1.0), (0, ADAPTIVE, 0.0), (1, DOUBTFUL, 1.0), (0, DOUBTFUL, 0.0)],
)
def test_rewards_for_agreement_follow_what_agreement_earned(
    action: int, schedule: Any, trust: float
) -> None:
    agent = np.random.default_rng(1)
    env, infos = played(action, agent, mode="R", alpha=1.0, schedule=schedule)
    stats = env.stats()
    assert stats["trust"] == trust
    assert stats["weight"] == trust
    assert stats["trust_episodes"] == EPISODES
    assert {info["implicit_reward"] for info in infos[:10]} <= {
        schedule.get("start", 0.0) * 0.5, schedule.get("start", 0.0) * -0.5, 0.0, -0.0
    }  # fmt: skip
    assert abs(infos[-1]["implicit_reward"]) == trust * 0.5


@pytest.mark.parametrize(("action", "agent", "trust"), [(1, 0, 1.0), (0, 1, 0.0)])
def test_advice_is_executed_in_as_many_episodes_as_it_deserves(
    action: int, agent: int, trust: float
) -> None:
    probability = {**ADAPTIVE, "start": 0.5, "probe": 0.1}
    env, infos = played(action, agent, mode="A", probability=probability, episodes=400)
    stats = env.stats()
    assert stats["advice_trust"] == trust
    late = np.mean([info["overridden"] for info in infos[-200:]])
    # Some episodes of the other kind go on, so that a change would be noticed.
    assert late == pytest.approx(0.9 if trust else 0.1, abs=0.08)


def test_what_was_executed_is_judged_not_what_was_chosen() -> None:
    # The agent always disagrees; half of the time the advice is executed, and pays.
    env, _ = played(1, 0, mode="RA", probability=0.5, schedule=ADAPTIVE)
    assert env.stats()["trust"] == 1.0


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_environments_pool_their_episodes(mode: Any) -> None:
    envs = SyncVectorEnv([Choice] * 3, autoreset_mode=mode)
    envs = vector.CriticalStateOverrideWrapper(
        envs, critical_states=advising(1), mode="R", schedule=ADAPTIVE
    )
    envs.reset(seed=0)
    agent, ended = np.random.default_rng(0), np.zeros(3, dtype=bool)
    for _ in range(60):
        if mode == AutoresetMode.DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended})
        _, _, terminated, truncated, _ = envs.step(agent.integers(2, size=3))
        ended = terminated | truncated
    stats = envs.stats()
    assert stats["trust"] == 1.0
    assert stats["trust_episodes"] == (90 if mode == AutoresetMode.NEXT_STEP else 180)


def test_a_single_environment_and_its_twin_agree() -> None:
    options: dict[str, Any] = {
        "mode": "RA", "schedule": ADAPTIVE, "probability": {**ADAPTIVE, "start": 0.5},
    }  # fmt: skip
    env, infos = played(1, 0, seed=7, **options)
    envs = SyncVectorEnv([Choice], autoreset_mode=AutoresetMode.SAME_STEP)
    envs = vector.CriticalStateOverrideWrapper(envs, critical_states=advising(1), **options)
    envs.reset(seed=7)
    twins = [envs.step(np.array([0]))[4]["final_info"] for _ in infos]
    assert [info["overridden"] for info in infos] == [bool(twin["overridden"][0]) for twin in twins]
    assert env.stats() == envs.stats()


def test_switched_off_nothing_is_learned_of_it() -> None:
    agent = np.random.default_rng(0)
    env, _ = played(0, agent, mode="R", schedule=DOUBTFUL, training=False)
    assert env.stats()["trust_episodes"] == 0


def test_trust_is_saved_and_restored() -> None:
    options: dict[str, Any] = {
        "mode": "RA", "schedule": ADAPTIVE, "probability": {**ADAPTIVE, "start": 0.5},
    }  # fmt: skip
    env, _ = played(1, 0, **options)
    other = CriticalStateOverrideWrapper(Choice(), critical_states=advising(1), **options)
    other.load_state_dict(env.state_dict())
    assert other.state_dict() == env.state_dict()
    assert other.stats()["advice_trust"] == env.stats()["advice_trust"] != 0.5
    plain = CriticalStateOverrideWrapper(Choice(), critical_states=advising(1))
    with pytest.raises(InvalidOptionError, match="with an adaptive trust"):
        plain.load_state_dict(env.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "A", "schedule": ADAPTIVE}, "pays no rewards"),
        ({"mode": "R", "probability": ADAPTIVE}, "executes no advice"),
    ],
)
def test_there_must_be_something_to_trust(options: dict[str, Any], message: str) -> None:
    make = partial(CriticalStateOverrideWrapper, Choice(), critical_states=advising(1))
    with pytest.raises(InvalidOptionError, match=message):
        make(**options)
