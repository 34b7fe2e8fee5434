"""Advice and rewards in critical states: what is executed, paid, told and counted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from wrapper_doubles import counting_env, overriding

from llm_wrappers import wrappers
from llm_wrappers.errors import (
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import CriticalStateOverrideWrapper, vector

BOX = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)


def at_step(step: int, action: Any, reward: float = 1.0) -> CriticalStates:
    """Return a table for `counting_env`, whose state is the number of the step."""
    return CriticalStates([CriticalState([float(step)], action, reward=reward)], key="exact")


def advised(
    states: CriticalStates | None = None, *, length: int = 10, space: Any = None, **options: Any
) -> tuple[CriticalStateOverrideWrapper, ScriptedEnv]:
    """Return a wrapped environment, and the environment, which notes the actions it gets."""
    inner = counting_env(length, space)
    states = at_step(1, 2) if states is None else states
    options = {"probability": 1.0, **options}
    return CriticalStateOverrideWrapper(inner, critical_states=states, **options), inner


def play(env: Any, actions: Sequence[Any], seed: int = 0) -> list[tuple[float, dict[str, Any]]]:
    env.reset(seed=seed)
    steps = [env.step(action) for action in actions]
    return [(reward, info) for _, reward, _, _, info in steps]


class MaskedEnv(ScriptedEnv):
    """Its state is the number of the step, and action 2 is forbidden."""

    def __init__(self) -> None:
        inner = counting_env()
        super().__init__(
            inner.observation_space,
            gym.spaces.Discrete(3),
            reset_func=inner._reset_func,
            step_func=inner._step_func,
        )
        self.open = [True, True, False]

    def action_masks(self) -> Any:
        return np.array(self.open)


class TestAdvice:
    def test_it_is_executed_in_the_critical_state_only(self) -> None:
        env, inner = advised(mode="A")
        steps = play(env, [0, 0, 0])
        # The state before the second action is the critical one.
        assert inner.actions == [0, 2, 0]
        assert [info["critical"] for _, info in steps] == [False, True, False]
        assert [info["overridden"] for _, info in steps] == [False, True, False]
        assert [info["agent_action"] for _, info in steps] == [0, 0, 0]
        assert [info["executed_action"] for _, info in steps] == [0, 2, 0]
        assert [reward for reward, _ in steps] == [1.0, 1.0, 1.0]

    def test_the_first_state_of_an_episode_can_be_critical(self) -> None:
        env, inner = advised(at_step(0, 2), mode="A", length=2)
        play(env, [0, 0])
        play(env, [1, 1])
        assert inner.actions == [2, 0, 2, 1]

    def test_mode_r_executes_what_the_agent_chose(self) -> None:
        env, inner = advised(mode="R")
        steps = play(env, [0, 0])
        assert inner.actions == [0, 0]
        assert steps[1][1]["critical"] is True
        assert steps[1][1]["overridden"] is False

    def test_its_probability_is_that_of_the_coin(self) -> None:
        states = CriticalStates([CriticalState([float(i)], 2) for i in range(400)], key="exact")
        env, inner = advised(states, mode="A", probability=0.3, length=400)
        play(env, [0] * 400)
        assert inner.actions.count(2) == env.stats()["overrides"]
        assert 0.2 < inner.actions.count(2) / 400 < 0.4

    def test_its_probability_follows_the_progress(self) -> None:
        falling = {"kind": "linear", "start": 1.0, "end": 0.0}
        env, inner = advised(at_step(0, 2), probability=falling)
        play(env, [0])
        assert env.stats()["probability"] == 1.0
        env.set_progress(1.0)
        play(env, [0])
        assert inner.actions == [2, 0]

    def test_continuous_advice_is_clipped_and_executed_as_a_copy(self) -> None:
        env, inner = advised(at_step(0, [3.0, -0.5]), space=BOX, mode="A")
        (_, info), *_ = play(env, [np.zeros(2, np.float32)])
        assert inner.actions[0].tolist() == [2.0, -0.5]
        assert inner.actions[0].dtype == np.float32
        assert info["agent_action"].tolist() == [0.0, 0.0]
        info["executed_action"][:] = 9.0
        (_, info), *_ = play(env, [np.zeros(2, np.float32)])
        assert info["executed_action"].tolist() == [2.0, -0.5]
        assert env.stats()["table"]["clipped_actions"] == 1

    def test_it_knows_actions_that_begin_elsewhere(self) -> None:
        env, inner = advised(at_step(0, 7), space=gym.spaces.Discrete(3, start=5))
        play(env, [5])
        assert inner.actions == [7]

    def test_an_action_of_another_shape_is_refused(self) -> None:
        env, _ = advised(at_step(0, [0.0, 0.0]), space=BOX)
        env.reset(seed=0)
        with pytest.raises(InvalidOptionError, match=r"expected actions of shape \(2,\)"):
            env.step(np.zeros(3, np.float32))


class TestDefaults:
    def test_advice_is_executed_every_other_time_and_pays_for_agreement(self) -> None:
        """Neither is the paper's; the documentation of critical states has the measurements."""
        states = CriticalStates([CriticalState([float(i)], 2) for i in range(400)], key="exact")
        inner = counting_env(400)
        env = CriticalStateOverrideWrapper(inner, critical_states=states)
        rewards = [reward for reward, _ in play(env, [0] * 400)]
        assert 160 < inner.actions.count(2) < 240
        assert rewards == [0.5] * 400


class TestRewards:
    @pytest.mark.parametrize(
        ("rated", "action", "paid"),
        [(1.0, 2, 0.5), (1.0, 0, -0.5), (-0.4, 2, 0.2), (-0.4, 0, -0.2), (0.0, 2, 0.0)],
    )
    def test_agreement_gives_the_sign_and_the_rating_the_size(
        self, rated: float, action: int, paid: float
    ) -> None:
        env, _ = advised(at_step(0, 2, rated), reward="agreement", alpha=0.5)
        ((reward, info),) = play(env, [action])
        assert (reward, info["implicit_reward"]) == pytest.approx((1.0 + paid, paid))
        assert info["extrinsic_reward"] == 1.0
        assert info["executed_action"] == 2

    @pytest.mark.parametrize("action", [0, 2])
    @pytest.mark.parametrize(("rated", "paid"), [(-1.0, -0.5), (3.0, 0.5), (0.5, 0.25)])
    def test_state_rewards_do_not_ask_what_the_agent_does(
        self, action: int, rated: float, paid: float
    ) -> None:
        env, _ = advised(at_step(0, 2, rated), reward="state", alpha=0.5)
        ((reward, _),) = play(env, [action])
        assert reward == pytest.approx(1.0 + paid)

    @pytest.mark.parametrize("options", [{"alpha": 0.0}, {"mode": "A"}, {"schedule": 0.0}])
    def test_without_weight_there_are_none(self, options: Any) -> None:
        env, _ = advised(at_step(0, 2), **options)
        ((reward, info),) = play(env, [2])
        assert (reward, info["implicit_reward"]) == (1.0, 0.0)

    def test_the_schedule_is_a_coefficient_on_alpha(self) -> None:
        falling = {"kind": "linear", "start": 1.0, "end": 0.0}
        env, _ = advised(at_step(0, 2), mode="R", alpha=2.0, schedule=falling)
        env.set_progress(0.75)
        ((reward, _),) = play(env, [2])
        assert reward == pytest.approx(1.5)

    @pytest.mark.parametrize(
        ("action", "tolerance", "agrees"),
        [
            ([1.3, 0.0], 0.1, True),
            ([1.5, 0.0], 0.1, False),
            ([1.0, 0.5], 0.1, False),
            ([1.0, 0.0], 0.0, True),
            ([1.1, 0.0], 0.0, False),
            ([-1.0, 1.0], 0.5, True),
        ],
    )
    def test_continuous_actions_agree_within_a_share_of_the_range(
        self, action: list[float], tolerance: float, agrees: bool
    ) -> None:
        env, _ = advised(at_step(0, [1.0, 0.0]), space=BOX, tolerance=tolerance)
        ((reward, _),) = play(env, [np.array(action, np.float32)])
        assert reward == (1.5 if agrees else 0.5)
        assert env.stats()["agreements"] == agrees

    def test_where_a_range_is_infinite_the_tolerance_is_in_units(self) -> None:
        space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        env, _ = advised(at_step(0, [5.0]), space=space, tolerance=0.5)
        rewards = [play(env, [np.array([a], np.float32)])[0][0] for a in (5.4, 5.6)]
        assert rewards == [1.5, 0.5]


class TestMasks:
    def test_forbidden_advice_is_skipped_counted_and_not_paid_for(self) -> None:
        inner = MaskedEnv()
        env = CriticalStateOverrideWrapper(inner, critical_states=at_step(1, 2), probability=1.0)
        steps = play(env, [0, 0])
        assert inner.actions == [0, 0]
        assert (steps[1][0], steps[1][1]["critical"]) == (1.0, True)
        assert env.stats()["skipped"] == 1
        inner.open = [True, True, True]
        play(env, [0, 0])
        assert inner.actions[-1] == 2

    def test_an_empty_mask_below_forbids_nothing(self) -> None:
        inner = MaskedEnv()
        inner.open = [False] * 3
        env = CriticalStateOverrideWrapper(inner, critical_states=at_step(0, 2), probability=1.0)
        play(env, [0])
        assert inner.actions == [2]
        assert env.action_masks().tolist() == [True] * 3

    def test_advice_as_a_mask_leaves_one_action_and_executes_none(self) -> None:
        env, inner = advised(at_step(1, 2), advice="mask", space=gym.spaces.Discrete(3))
        env.reset(seed=0)
        assert env.action_masks().tolist() == [True, True, True]
        env.step(0)
        assert env.action_masks().tolist() == [False, False, True]
        *_, info = env.step(0)
        assert (inner.actions, info["overridden"], info["critical"]) == ([0, 0], False, True)
        env.action_masks()[:] = False
        assert env.action_masks().tolist() == [True, True, True]

    def test_a_mask_below_stays_where_its_advice_is_forbidden(self) -> None:
        for action, mask in ((2, [True, True, False]), (1, [False, True, False])):
            states = at_step(0, action)
            env = overriding(critical_states=states, advice="mask")(MaskedEnv())
            env.reset(seed=0)
            assert env.action_masks().tolist() == mask


class TestSwitchingOff:
    def test_evaluation_has_neither_advice_nor_rewards_nor_counts(self) -> None:
        env, inner = advised(at_step(0, 2))
        env.set_training(False)
        ((reward, info),) = play(env, [0])
        assert (inner.actions, reward, info["critical"]) == ([0], 1.0, False)
        assert env.stats()["hits"] == 0
        env.set_training(True)
        play(env, [0])
        assert inner.actions == [0, 2]

    def test_it_takes_effect_in_the_middle_of_an_episode(self) -> None:
        env, _ = advised(at_step(0, 2), advice="mask")
        env.reset(seed=0)
        env.set_training(False)
        assert env.action_masks().all()
        *_, info = env.step(0)
        assert info["implicit_reward"] == 0.0


class TestCounting:
    def test_everything_that_happened_is_counted(self) -> None:
        states = CriticalStates(
            [CriticalState([float(i)], 2) for i in (0, 1)] + [CriticalState([1.0], 1)], key="exact"
        )
        env, _ = advised(states)
        play(env, [2, 0, 0, 0])
        stats = env.stats()
        counts = {name: stats[name] for name in ("steps", "hits", "overrides", "agreements")}
        assert counts == {"steps": 4, "hits": 2, "overrides": 2, "agreements": 1}
        assert (stats["conflicts"], stats["hit_share"]) == (1, 0.5)
        assert env.all_stats()["CriticalStateOverrideWrapper"] == stats

    def test_states_of_something_else_are_refused(self) -> None:
        env, _ = advised()
        with pytest.raises(InvalidOptionError, match="the state of another wrapper"):
            env.load_state_dict({**env.state_dict(), "counts": {"judged": 1}})

    def test_exact_keys_on_random_starts_are_warned_of_once_and_coarse_ones_match(self) -> None:
        recorded, _ = gym.make("CartPole-v1").reset(seed=99)

        def run(key: str) -> tuple[list[str], int]:
            states = CriticalStates([CriticalState(recorded, 1)], key=key)
            env = overriding(critical_states=states, mode="R")(gym.make("CartPole-v1"))
            env.reset(seed=0)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for step in range(2100):
                    *_, terminated, truncated, _ = env.step(step % 2)
                    if terminated or truncated:
                        env.reset()
            assert {warning.category for warning in caught} <= {GuidanceWarning}
            return [str(warning.message) for warning in caught], env.stats()["hits"]

        (message,), hits = run("exact")
        assert "in 1000 steps with key='exact'" in message
        assert "nearest:RADIUS" in message
        assert hits == 0
        messages, hits = run("bins:0.1,0.5,0.1,0.5")
        assert messages == []
        assert hits > 20


class TestVectors:
    @pytest.mark.parametrize("mode", list(AutoresetMode))
    def test_rewards_and_advice_are_those_of_steps_that_were_taken(self, mode: Any) -> None:
        """Episodes of two steps, critical in both states; the reset step is no step."""
        states = CriticalStates([CriticalState([float(i)], 2) for i in (0, 1)], key="exact")
        envs = SyncVectorEnv([partial(counting_env, 2)] * 2, autoreset_mode=mode)
        both = overriding(vectorised=True, critical_states=states)(envs)
        both.reset(seed=0)
        rewards, critical = [], []
        for _ in range(4):
            _, reward, terminated, truncated, infos = both.step(np.array([2, 0]))
            rewards.append(reward.tolist())
            critical.append(infos["critical"].tolist())
            if mode == AutoresetMode.DISABLED and terminated.all():
                both.reset(options={"reset_mask": terminated | truncated})
        if mode == AutoresetMode.NEXT_STEP:
            assert rewards == [[1.5, 0.5], [1.5, 0.5], [0.0, 0.0], [1.5, 0.5]]
            assert critical == [[True] * 2, [True] * 2, [False] * 2, [True] * 2]
            assert both.stats()["steps"] == 6
        else:
            assert rewards == [[1.5, 0.5]] * 4
            assert both.stats()["steps"] == both.stats()["overrides"] == 8

    @pytest.mark.slow
    def test_processes_share_a_table_by_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "table.json"
        CriticalStates([CriticalState(0, 2)], key="exact").save(path)
        layer = overriding(critical_states=f"file:{path}")
        envs: Any = gym.make_vec(
            "FrozenLake-v1", 2, "async", {"context": "spawn"}, wrappers=(layer,), is_slippery=False
        )
        try:
            envs.reset(seed=0)
            *_, infos = envs.step(np.array([0, 2]))
            assert infos["executed_action"].tolist() == [2, 2]
            assert infos["implicit_reward"].tolist() == [-0.5, 0.5]
        finally:
            envs.close()


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "AR"}, "mode must be one of"),
            ({"reward": "both"}, "reward must be one of"),
            ({"advice": "none"}, "advice must be one of"),
            ({"advice": "mask", "mode": "R"}, "needs a mode with advice"),
            ({"alpha": -1.0}, "alpha must be a finite number >= 0"),
            ({"tolerance": "1"}, "tolerance must be a finite number >= 0"),
            ({"probability": 1.5}, "must be a number in"),
            ({"training": 1}, "training must be True or False"),
            ({"critical_states": 3}, "expected a CriticalStates table"),
            ({"critical_states": at_step(0, 3)}, "the action of critical state 0"),
        ],
    )
    def test_that_are_not_documented_are_refused(self, options: Any, message: str) -> None:
        options = {"critical_states": "none", **options}
        space = gym.spaces.Discrete(3)
        with pytest.raises(InvalidOptionError, match=message):
            CriticalStateOverrideWrapper(counting_env(action_space=space), **options)

    def test_unknown_names_are_refused(self) -> None:
        with pytest.raises(UnknownNameError, match='"file:PATH" or "none"'):
            CriticalStateOverrideWrapper(counting_env(), critical_states="reference")

    def test_masks_need_discrete_actions(self) -> None:
        with pytest.raises(IncompatibleEnvironmentError, match="needs a Discrete action space"):
            advised(at_step(0, [0.0, 0.0]), space=BOX, advice="mask")

    def test_tables_of_other_states_are_refused(self) -> None:
        with pytest.raises(IncompatibleEnvironmentError, match="record the states below"):
            CriticalStateOverrideWrapper(gym.make("CartPole-v1"), critical_states=at_step(0, 1))


# --- advice that is a mask ---


# In each state that can be reached from the start, to go down is advised.
GO_DOWN = CriticalStates([CriticalState(state, 1) for state in range(15)], key="exact")
DOWN_MASKS = {"go down": ["down", "right"]}


def go_down(facts: Any) -> Any:
    return [[("go down", 1.0)] for _ in facts]


def in_order(order: Sequence[str], env: Any, *, enforce: str = "mask") -> Any:
    kinds: Any = wrappers if isinstance(env, gym.Env) else vector
    for name in order:
        if name == "advice":
            env = kinds.CriticalStateOverrideWrapper(
                env, critical_states=GO_DOWN, probability=1.0, advice="mask"
            )
        else:
            env = kinds.GoalObservationWrapper(env, planner=go_down, goals=["go down"])
            env = kinds.ActionMaskWrapper(env, masks=DOWN_MASKS, enforce=enforce)
    return env


_orders = pytest.mark.parametrize("order", [("mask", "advice"), ("advice", "mask")])


@_orders
def test_info_says_what_the_masks_of_the_stack_say(order: Sequence[str]) -> None:
    env = in_order(order, gym.make("FrozenLake-v1", is_slippery=False))
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [0, 1, 0, 0]
    *_, info = env.step(1)
    assert info["action_mask"].tolist() == env.action_masks().tolist() == [0, 1, 0, 0]
    env.step(1)
    *_, terminated, _, info = env.step(2)
    assert not terminated
    assert info["action_mask"].tolist() == [0, 1, 0, 0]


@_orders
def test_info_says_it_in_vector_environments_too(order: Sequence[str]) -> None:
    envs = gym.make_vec("FrozenLake-v1", num_envs=3, vectorization_mode="sync", is_slippery=False)
    envs = in_order(order, envs)
    _, infos = envs.reset(seed=0)
    for action in (1, 1, 1):
        assert np.array_equal(infos["action_mask"], envs.action_masks())
        *_, infos = envs.step(np.full(3, action))


@_orders
def test_what_is_drawn_for_a_closed_action_is_what_is_advised(order: Sequence[str]) -> None:
    env = in_order(order, gym.make("FrozenLake-v1", is_slippery=False), enforce="resample")
    for seed in range(8):
        env.reset(seed=seed)
        *_, info = env.step(3)
        assert info["executed_action"] == 1


def test_nobody_acts_in_the_last_state() -> None:
    env = in_order(("mask", "advice"), gym.make("FrozenLake-v1", is_slippery=False))
    env.reset(seed=0)
    env.step(1)
    *_, terminated, _, info = env.step(2)
    assert terminated
    assert info["action_mask"].tolist() == [1, 1, 1, 1]


# --- advice that has to earn its trust ---


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
