"""What observations show and infos tell, for trainers other than Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llm_wrappers import (
    ActionMaskWrapper,
    CaptionObservationWrapper,
    GoalObservationWrapper,
    RewardShiftWrapper,
    SimilarityRewardWrapper,
    wrappers,
)
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.wrappers import vector

GOALS = ["go left", "go right"]
MASKS = {"go left": [0], "go right": [1]}
TEXTS = {"goal_text", "caption_text", "matched_goal", "transition_caption"}


def planner(facts: Any) -> Any:
    return [[(GOALS[row["pole_angle_deg"] >= 0], 1.0)] for row in facts]


def speaking(env: Any, kit: Any = wrappers, **options: Any) -> Any:
    env = kit.GoalObservationWrapper(env, planner=planner, goals=GOALS, **options)
    env = kit.CaptionObservationWrapper(env, encoder="hashing:16", **options)
    return kit.SimilarityRewardWrapper(env, suggester=["push left"], combine="add", **options)


def masked(**options: Any) -> ActionMaskWrapper:
    env = GoalObservationWrapper(gym.make("CartPole-v1"), planner=planner, goals=GOALS)
    return ActionMaskWrapper(env, masks=MASKS, **options)


class TestTexts:
    def test_they_have_no_name_of_an_observation(self) -> None:
        env = speaking(gym.make("CartPole-v1"))
        observation, info = env.reset(seed=0)
        assert info.keys() >= TEXTS
        assert not info.keys() & observation.keys()

    def test_they_can_be_left_out(self) -> None:
        plain, quiet = speaking(gym.make("CartPole-v1")), speaking(gym.make("CartPole-v1"))
        quiet = speaking(gym.make("CartPole-v1"), info_text=False)
        plain.reset(seed=0)
        _, info = quiet.reset(seed=0)
        assert not info.keys() & TEXTS
        for action in (0, 1, 0):
            one, other = plain.step(action), quiet.step(action)
            assert one[1] == other[1]
            assert {key: one[4][key] for key in other[4]} == other[4]
            assert one[4].keys() - other[4].keys() == TEXTS

    def test_they_can_be_left_out_of_many(self) -> None:
        envs = SyncVectorEnv(
            [lambda: gym.make("CartPole-v1", max_episode_steps=3)] * 2,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        quiet = speaking(envs, vector, info_text=False)
        assert not quiet.reset(seed=0)[1].keys() & TEXTS
        for _ in range(3):
            infos = quiet.step(np.array([0, 1]))[4]
            assert not infos.keys() & TEXTS
        assert not infos["final_info"].keys() & TEXTS

    @pytest.mark.parametrize(
        "make",
        [
            lambda env, **options: GoalObservationWrapper(
                env, planner=planner, goals=GOALS, **options
            ),
            CaptionObservationWrapper,
            lambda env, **options: SimilarityRewardWrapper(env, suggester=["nap"], **options),
        ],
    )
    def test_the_switch_is_a_bool(self, make: Any) -> None:
        with pytest.raises(InvalidOptionError, match="info_text must be True or False, got 'no'"):
            make(gym.make("CartPole-v1"), info_text="no")


class TestObservedMask:
    def test_it_is_the_mask_of_the_stack(self) -> None:
        env = masked(observe_mask=True)
        observation, info = env.reset(seed=0)
        assert set(observation) == {"obs", "goal", "action_mask"}
        for action in (0, 1, 1, 0):
            observation, *_, info = env.step(action)
            assert env.observation_space.contains(observation)
            assert observation["action_mask"].tolist() == env.action_masks().tolist()
            assert info["action_mask"].tolist() == env.action_masks().tolist()
            assert info["action_mask"].dtype == np.int8

    def test_the_key_can_be_chosen_and_must_be_free(self) -> None:
        assert "open" in masked(observe_mask=True, mask_key="open").reset(seed=0)[0]
        with pytest.raises(InvalidOptionError, match=r"key 'goal'.*another with mask_key="):
            masked(observe_mask=True, mask_key="goal")
        with pytest.raises(InvalidOptionError, match="observe_mask must be True or False"):
            masked(observe_mask="yes")


class TestTraining:
    """`set_training` at the top reaches all that only training has, and nothing else."""

    def stack(self) -> Any:
        env = SimilarityRewardWrapper(
            gym.make("CartPole-v1"), suggester=["nap"], combine="add", threshold=-1.0
        )
        env = RewardShiftWrapper(env, judge="constant:1")
        env = GoalObservationWrapper(env, planner=planner, goals=GOALS)
        return ActionMaskWrapper(env, masks=MASKS)

    def test_off_only_the_environment_pays(self) -> None:
        env = self.stack()
        env.reset(seed=0)
        assert env.step(0)[1] != 1.0
        env.set_training(False)
        _, reward, *_, info = env.step(1)
        assert (reward, info["reward_shift"], info["similarity_reward"]) == (1.0, 0.0, 0.0)
        assert not env.action_masks().all(), "masks stay, for the policy was trained with them"
        env.set_training(True)
        env.step(0)
        assert env.step(0)[1] != 1.0

    def test_a_similarity_reward_can_begin_without(self) -> None:
        asked: list[Any] = []

        def suggest(states: Any) -> Any:
            asked.append(states)
            return [["nap"] for _ in states.facts]

        env = SimilarityRewardWrapper(
            gym.make("CartPole-v1"), suggester=suggest, threshold=-1.0, training=False
        )
        env.reset(seed=0)
        assert env.step(0)[1] == 1.0
        assert not asked
        with pytest.raises(InvalidOptionError, match="training must be True or False, got 1"):
            SimilarityRewardWrapper(gym.make("CartPole-v1"), suggester=suggest, training=1)
