"""The similarity reward of many sub-environments: autoreset, and few calls."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import VecEnv
from wrapper_doubles import (
    EAT,
    NAP,
    WOOD,
    CountingEncoder,
    CountingSuggester,
    RememberingSuggester,
    captioner_of,
    deeds_env,
)

import llm_wrappers as lw
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.worlds.crafter.crafter_family import CrafterFamilyCaptioner
from llm_wrappers.wrappers import vector


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


def test_the_step_that_only_shows_a_new_episode_pays_nothing() -> None:
    envs = vectorised(["nap"], novelty=False)
    envs.reset(seed=0)
    rewards = [envs.step(np.array([NAP, WOOD]))[1].tolist() for _ in range(6)]
    assert [pair[0] for pair in rewards] == [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    *_, infos = envs.step(np.array([NAP, WOOD]))
    assert infos["transition_caption"].tolist() == ["nap", "collect wood"]


def test_with_autoreset_in_the_same_step_the_last_transition_is_in_the_final_info() -> None:
    envs = vectorised(["nap"], mode=AutoresetMode.SAME_STEP, observe_goals=True)
    envs.reset(seed=0)
    envs.step(np.array([WOOD, NAP]))
    observations, rewards, terminated, _, infos = envs.step(np.array([NAP, WOOD]))
    assert terminated.tolist() == [True, True]
    assert rewards.tolist() == [1.0, 0.0]
    assert infos["matched_goal"].tolist() == infos["transition_caption"].tolist() == ["", ""]
    assert infos["final_info"]["matched_goal"].tolist() == ["nap", ""]
    assert infos["final_info"]["transition_caption"].tolist() == ["nap", "collect wood"]
    assert infos["final_info"]["similarity_reward"].tolist() == [1.0, 0.0]
    # What was achieved is forgotten in the new episode, and not yet in the last state.
    assert observations["suggestions"].any(axis=1).tolist() == [True, True]
    assert [bool(last["suggestions"].any()) for last in infos["final_obs"]] == [False, False]
    assert envs.current_suggestions() == [("nap",), ("nap",)]


def test_a_masked_reset_leaves_the_others_as_they_are() -> None:
    envs = vectorised(["nap", "eat cow"], mode=AutoresetMode.DISABLED, length=9)
    envs.reset(seed=0)
    envs.step(np.array([NAP, EAT]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    assert envs.current_suggestions() == [("nap", "eat cow"), ("nap",)]
    assert envs.step(np.array([NAP, EAT]))[1].tolist() == [1.0, 0.0]


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


def test_one_bad_state_takes_nothing_from_the_others() -> None:
    def answer(step: int) -> list[str]:
        if step == 1:
            raise RuntimeError("told to fail")
        return ["nap"]

    envs = vectorised(CountingSuggester(answer), mode=AutoresetMode.DISABLED, length=9)
    envs.reset(seed=0)
    with pytest.warns(UserWarning, match="told to fail"):
        envs.step(np.array([WOOD, WOOD]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step(np.array([WOOD, WOOD]))
    assert envs.current_suggestions() == [(), ("nap",)]
    assert envs.stats()["suggester_failures"] == 3


def test_the_new_texts_of_a_step_are_encoded_in_one_call() -> None:
    encoder = CountingEncoder()
    envs = vectorised(["nap", "eat cow"], n=4, encoder=encoder)
    envs.reset(seed=0)
    envs.step(np.array([NAP, EAT, WOOD, WOOD]))
    assert encoder.calls == [["nap", "eat cow", "collect wood"]]


def test_a_pure_suggester_is_asked_once_per_state() -> None:
    suggester = CountingSuggester(lambda step: ["nap"], pure=True)
    envs = vectorised(suggester, n=4, length=5)
    for _ in range(2):
        envs.reset(seed=0)
        for _ in range(4):
            envs.step(np.array([NAP] * 4))
    assert sorted(suggester.asked) == [0, 1, 2, 3, 4]


def test_a_success_key_that_is_missing_raises_at_the_first_step() -> None:
    envs = vectorised(["nap"], success_key="success")
    envs.reset(seed=0)
    with pytest.raises(IncompatibleEnvironmentError, match=r"info\['success'\] at every step"):
        envs.step(np.array([NAP, NAP]))


class CountingCaptioner(CrafterFamilyCaptioner):
    """It says which facts its transition captions read, and counts those it writes."""

    transition_reads = ("food", "drink", "sapling", "wood", "stone", "coal", "iron", "diamond",
        "wood_pickaxe", "stone_pickaxe", "iron_pickaxe", "wood_sword", "stone_sword",
        "iron_sword", "facing", "sleeping", "unlocked")  # fmt: skip

    def __init__(self) -> None:
        super().__init__("craftax-classic")
        self.written = 0

    def transition_captions(self, before: Any, actions: Any, after: Any) -> list[str]:
        self.written += len(actions)
        return super().transition_captions(before, actions, after)


def test_craftax_pays_for_its_achievements_whether_captions_are_remembered_or_not() -> None:
    remembering = CountingCaptioner()
    envs = gym.make_vec("llm_wrappers/CraftaxClassic-v1", num_envs=4, length=25)
    written_anew = vector.SimilarityRewardWrapper(
        envs, suggester="novelty", captioner=CrafterFamilyCaptioner("craftax-classic")
    )
    both = vector.SimilarityRewardWrapper(
        written_anew, suggester="novelty", captioner=remembering, combine="add"
    )
    both.reset(seed=0)
    generator, unlocked = np.random.default_rng(0), 0
    for _ in range(60):
        _, rewards, _, _, infos = both.step(generator.integers(0, 17, 4))
        sources = [infos, *([infos["final_info"]] if "final_info" in infos else [])]
        paid = sum(source["similarity_reward"] for source in sources)
        assert rewards.tolist() == (2.0 * paid).tolist()
        for source in sources:
            new = source["extrinsic_reward"] > 0.5
            unlocked += int(new.sum())
            assert (source["matched_goal"] == source["transition_caption"])[new].all()
            assert (source["similarity_reward"] == 1.0)[new].all()
    assert unlocked >= 2
    assert remembering.written < 0.9 * 60 * 4


def test_the_bridge_gives_each_sub_environment_its_own_suggestions() -> None:
    envs: VecEnv = lw.sb3.as_vec_env(vectorised(["nap", "eat cow"], mode=AutoresetMode.SAME_STEP))
    envs.reset()
    _, rewards, _, infos = envs.step(np.array([NAP, WOOD]))
    assert rewards.tolist() == [1.0, 0.0]
    assert infos[0]["matched_goal"] == "nap"
    assert envs.env_method("current_suggestions") == [("eat cow",), ("nap", "eat cow")]
