"""What the similarity reward pays for (ELLM)."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
    RememberingSuggester,
    Told,
    captioner_of,
    deeds_env,
    rewards_of,
    suggested,
)

from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.worlds.crafter.captioner import CrafterFamilyCaptioner
from llm_wrappers.wrappers import SimilarityRewardWrapper, vector


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


def test_nothing_is_asked_about_the_last_state_unless_it_is_shown() -> None:
    for observe, last in ((False, [0, 1]), (True, [0, 1, 2])):
        suggester = CountingSuggester(lambda step: ["nap"])
        env = suggested(suggester, deeds_env(2), observe_goals=observe)
        rewards_of(env, [WOOD, WOOD])
        assert suggester.asked == last
        assert env.current_suggestions() == (("nap",) if observe else ())


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


# --- many sub-environments ---


def vectorised(
    suggester: Any,
    *,
    n: int = 2,
    length: int = 2,
    mode: Any = AutoresetMode.NEXT_STEP,
    **options: Any,
) -> vector.SimilarityRewardWrapper:
    envs = SyncVectorEnv([lambda: deeds_env(length)] * n, autoreset_mode=mode)
    return vector.SimilarityRewardWrapper(
        envs, suggester=suggester, captioner=captioner_of(envs), **options
    )


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_suggester_with_reset_sees_all_sub_environments_and_where_episodes_begin(
    mode: Any,
) -> None:
    suggester = RememberingSuggester(lambda step: ["nap"])
    envs = vectorised(suggester, n=3, mode=mode, observe_goals=True)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(np.array([NAP] * 3))
    assert set(suggester.batches) == {3}
    assert suggester.resets == [[True] * 3, [True] * 3]


def test_the_new_texts_of_a_step_are_encoded_in_one_call() -> None:
    encoder = CountingEncoder()
    envs = vectorised(["nap", "eat cow"], n=4, encoder=encoder)
    envs.reset(seed=0)
    envs.step(np.array([NAP, EAT, WOOD, WOOD]))
    assert encoder.calls == [["nap", "eat cow", "collect wood"]]
