"""What the similarity reward pays for (ELLM)."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv
from wrapper_doubles import (
    ATTACK,
    DEEDS,
    EAT,
    NAP,
    NOTHING,
    TABLE,
    WOOD,
    CountingEncoder,
    CountingSuggester,
    PlaneEncoder,
    Told,
    captioner_of,
    deeds_env,
    rewards_of,
    suggested,
)

from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.worlds.crafter.crafter_family import CrafterFamilyCaptioner
from llm_wrappers.wrappers import SimilarityRewardWrapper


def angle(cosine: float) -> list[float]:
    return [cosine, math.sqrt(1.0 - cosine**2)]


# --- what pays ---


def test_doing_what_was_suggested_pays_one_and_anything_else_nothing() -> None:
    env = suggested(["collect wood", "nap"])
    env.reset(seed=0)
    _, reward, *_, info = env.step(WOOD)
    assert (reward, type(reward)) == (1.0, float)
    assert info["similarity_reward"] == 1.0
    assert info["matched_goal"] == info["transition_caption"] == "collect wood"
    _, reward, *_, info = env.step(EAT)
    assert (reward, info["similarity_reward"], info["matched_goal"]) == (0.0, 0.0, "")
    assert info["transition_caption"] == "eat cow"


def test_a_goal_pays_once_per_episode_and_again_in_the_next() -> None:
    env = suggested(["collect wood"])
    assert rewards_of(env, [WOOD, WOOD, NAP, WOOD]) == [1.0, 0.0, 0.0, 0.0]
    assert rewards_of(env, [WOOD, WOOD]) == [1.0, 0.0]


def test_without_novelty_it_pays_each_time() -> None:
    assert rewards_of(suggested(["collect wood"], novelty=False), [WOOD] * 3) == [1.0] * 3


def test_it_pays_the_goals_of_the_state_before_the_action() -> None:
    suggester = CountingSuggester(lambda step: ["nap"] if step == 1 else ["collect wood"])
    assert rewards_of(suggested(suggester, novelty=False), [NAP, NAP, NAP]) == [0.0, 1.0, 0.0]


def test_the_cosine_itself_is_paid_and_only_above_the_threshold() -> None:
    encoder = PlaneEncoder(collect_wood=angle(1.0), timber=angle(0.6))
    for threshold, paid in ((0.59, 0.6), (0.599999, 0.6), (0.6, 0.0), (0.61, 0.0)):
        env = suggested(["timber"], encoder=encoder, threshold=threshold)
        assert rewards_of(env, [WOOD]) == [paid], threshold


def test_of_several_goals_the_best_one_is_paid_and_achieved() -> None:
    encoder = PlaneEncoder(collect_wood=angle(1.0), timber=angle(0.8), log=angle(0.9))
    env = suggested(["timber", "log"], encoder=encoder, threshold=0.5)
    env.reset(seed=0)
    seen = [env.step(WOOD) for _ in range(3)]
    assert [step[1] for step in seen] == [0.9, 0.8, 0.0]
    assert [step[4]["matched_goal"] for step in seen] == ["log", "timber", ""]


def test_of_equally_similar_goals_the_first_is_taken() -> None:
    encoder = PlaneEncoder(collect_wood=angle(1.0), timber=angle(0.8), log=angle(0.8))
    env = suggested(["timber", "log"], encoder=encoder, threshold=0.5)
    env.reset(seed=0)
    assert env.step(WOOD)[4]["matched_goal"] == "timber"


def test_a_negative_cosine_can_pass_a_negative_threshold() -> None:
    encoder = PlaneEncoder(collect_wood=[1.0, 0.0], timber=[-0.6, 0.8])
    env = suggested(["timber"], encoder=encoder, threshold=-0.7)
    assert rewards_of(env, [WOOD]) == [-0.6]


def test_no_suggestions_pay_nothing() -> None:
    env = suggested("none")
    assert rewards_of(env, [WOOD, EAT]) == [0.0, 0.0]
    assert env.stats()["texts_encoded"] == 0


@pytest.mark.parametrize("done", [EAT, ATTACK])
def test_the_two_names_of_a_deed_pay_once(done: int) -> None:
    goals = ["eat cow", "attack cow", "nap"]
    assert rewards_of(suggested(goals), [done, EAT, ATTACK, NAP]) == [1.0, 0.0, 0.0, 1.0]
    env = suggested(goals)
    env.reset(seed=0)
    env.step(done)
    assert env.current_suggestions() == ("nap",)
    env.reset()
    assert env.current_suggestions() == tuple(goals)


def test_making_a_table_is_placing_one() -> None:
    env = suggested(["make crafting table", "place crafting table"])
    assert rewards_of(env, [TABLE]) == [1.0]
    assert env.current_suggestions() == ()


@pytest.mark.parametrize(
    ("aliases", "rewards"),
    [
        ([], [1.0, 1.0, 1.0]),
        ([["eat cow", "nap", "no such goal"]], [1.0, 1.0, 0.0]),
        ([["eat cow", "attack cow"], ["eat cow", "nap"]], [1.0, 0.0, 0.0]),
    ],
)
def test_aliases_say_which_deeds_are_one(aliases: Any, rewards: list[float]) -> None:
    env = suggested(["eat cow", "attack cow", "nap"], aliases=aliases)
    assert rewards_of(env, [EAT, ATTACK, NAP]) == rewards


def test_a_deed_that_failed_pays_only_without_the_gate() -> None:
    told = [False, True, True]
    gated = suggested(["collect wood"], Told(deeds_env(), told), success_key="action_success")
    assert rewards_of(gated, [WOOD] * 3) == [0.0, 1.0, 0.0]
    open_ = suggested(["collect wood"], Told(deeds_env(), told))
    assert rewards_of(open_, [WOOD] * 3) == [1.0, 0.0, 0.0]


def test_what_says_that_nothing_happened_is_never_a_match() -> None:
    assert rewards_of(suggested(["nothing happens"]), [NOTHING]) == [0.0]
    captioner: Any = captioner_of(deeds_env())
    captioner.no_effect = frozenset({"nap"})
    other = suggested(["nothing happens", "nap"], captioner=captioner)
    assert rewards_of(other, [NOTHING, NAP]) == [1.0, 0.0]


# --- episodes, copies, processes ---


def test_suggestions_are_there_after_the_reset_and_after_each_step() -> None:
    env = suggested(CountingSuggester(lambda step: [f"goal {step}"]))
    env.reset(seed=0)
    seen = [env.current_suggestions()]
    for _ in range(3):
        env.step(NAP)
        seen.append(env.current_suggestions())
    assert seen == [("goal 0",), ("goal 1",), ("goal 2",), ("goal 3",)]


def test_nothing_is_asked_about_the_last_state_unless_it_is_shown() -> None:
    for observe, last in ((False, [0, 1]), (True, [0, 1, 2])):
        suggester = CountingSuggester(lambda step: ["nap"])
        env = suggested(suggester, deeds_env(2), observe_goals=observe)
        rewards_of(env, [WOOD, WOOD])
        assert suggester.asked == last
        assert env.current_suggestions() == (("nap",) if observe else ())


def test_two_environments_share_nothing() -> None:
    envs = DummyVecEnv([lambda: suggested(["collect wood"])] * 2)
    envs.reset()
    assert envs.step(np.array([WOOD, NAP]))[1].tolist() == [1.0, 0.0]
    assert envs.step(np.array([WOOD, WOOD]))[1].tolist() == [0.0, 1.0]


PRINT_REWARDS = """
import gymnasium as gym, llm_wrappers as lw
env = lw.SimilarityRewardWrapper(
    gym.make("CartPole-v1"), suggester=["took action push left", "took action push right"],
    threshold=0.05, observe_goals=True, encoder="hashing:8", novelty=False,
)
print(env.reset(seed=0)[0]["suggestions"].tolist())
print([env.step(i % 2)[1] for i in range(9)])
"""


def test_everything_is_the_same_in_every_process() -> None:
    def run(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", PRINT_REWARDS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert run("1") == run("2") != ""


# --- encoding ---


def test_each_text_is_encoded_once() -> None:
    encoder = CountingEncoder()
    goals = ["collect wood", "eat cow", "fly"]
    env = suggested(goals, encoder=encoder, observe_goals=True)
    for _ in range(3):
        rewards_of(env, [WOOD, EAT, NAP, NAP, NOTHING])
    assert sorted(encoder.texts) == sorted(set(encoder.texts))
    captions_and_goals = {*goals, "nap"}
    assert captions_and_goals <= set(encoder.texts)
    assert "nothing happens" not in encoder.texts
    assert env.stats()["texts_encoded"] == len(encoder.texts)


def test_a_warm_step_encodes_and_computes_nothing() -> None:
    encoder = CountingEncoder()
    env = suggested(["collect wood", "eat cow"], encoder=encoder)
    rewards_of(env, [WOOD, EAT, NAP])
    calls, stats = len(encoder.calls), env.stats()
    rewards_of(env, [WOOD, EAT, NAP])
    assert len(encoder.calls) == calls
    assert env.stats()["pairs_remembered"] == stats["pairs_remembered"] + 3


# --- against a plain implementation ---


deed_numbers = st.integers(0, len(DEEDS) - 1)
plans = st.lists(st.lists(st.sampled_from(DEEDS), max_size=4), min_size=12, max_size=12)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    actions=st.lists(deed_numbers, min_size=1, max_size=9),
    plan=plans,
    novelty=st.booleans(),
    threshold=st.sampled_from([-1.0, 0.0, 0.2, 0.5, 0.99]),
)
def test_it_pays_what_the_algorithm_of_the_paper_pays(
    actions: list[int], plan: list[list[str]], novelty: bool, threshold: float
) -> None:
    env = suggested(
        CountingSuggester(lambda step: plan[step]),
        novelty=novelty,
        threshold=threshold,
        aliases=[],
    )
    achieved: set[str] = set()
    expected = []
    for step, action in enumerate(actions):
        goals = [goal for goal in dict.fromkeys(plan[step]) if goal not in achieved]
        best, paid = "", 0.0
        if DEEDS[action] != "nothing happens":
            for goal in goals:
                one, other = HashingEncoder().encode([DEEDS[action], goal]).astype(float)
                cosine = round(float(one @ other), 6)
                if cosine > threshold and (not best or cosine > paid):
                    best, paid = goal, cosine
        if best and novelty:
            achieved.add(best)
        expected.append(paid)
    assert rewards_of(env, actions) == pytest.approx(expected, abs=2e-6)


# --- real environments ---


@pytest.mark.parametrize("variant", ["crafter", "craftax-classic"])
def test_a_new_achievement_is_a_goal_word_for_word(variant: str) -> None:
    captioner = CrafterFamilyCaptioner(variant)
    encoder = HashingEncoder()
    before = {"unlocked": (), "sleeping": False}
    for goal in captioner.description.goals:
        after = {"unlocked": (goal.replace(" ", "_"),), "sleeping": False}
        (caption,) = captioner.transition_captions([before], [5], [after])
        one, other = encoder.encode([caption, goal])
        assert float(one @ other) == pytest.approx(1.0, abs=1e-6)


def test_ppo_is_trained_on_these_rewards() -> None:
    env = suggested(CountingSuggester(lambda step: ["nap"]), novelty=False)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(64)
    rewards, actions = model.rollout_buffer.rewards, model.rollout_buffer.actions
    assert rewards.ravel().tolist() == (actions.ravel() == NAP).astype(float).tolist()
    assert 0 < rewards.sum() < 64


def test_crafter_pays_for_each_achievement_of_its_vocabulary() -> None:
    env = SimilarityRewardWrapper(
        gym.make("llm_wrappers/Crafter-v1"), suggester="novelty", observe_goals=True
    )
    observation, info = env.reset(seed=3)
    assert observation in env.observation_space
    assert len(env.current_suggestions()) == 22
    assert np.linalg.norm(observation["suggestions"]) == pytest.approx(1.0, abs=1e-5)
    assert info["transition_caption"] == ""
    generator, unlocked = np.random.default_rng(0), 0
    for _ in range(150):
        observation, reward, terminated, _, info = env.step(int(generator.integers(17)))
        if info["extrinsic_reward"] > 0.5:
            unlocked += 1
            assert (reward, info["matched_goal"]) == (1.0, info["transition_caption"])
            assert info["matched_goal"] not in env.current_suggestions()
        if terminated:
            break
    assert unlocked >= 1
    assert observation in env.observation_space
    assert len(env.current_suggestions()) == (0 if terminated else 22 - env.stats()["rewarded"])
