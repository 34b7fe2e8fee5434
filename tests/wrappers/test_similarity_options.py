"""What each option of the similarity reward does, and what is wrong with it."""

from __future__ import annotations

import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from wrapper_doubles import (
    EAT,
    NAP,
    WOOD,
    CountingSuggester,
    PlaneEncoder,
    RememberingSuggester,
    Told,
    captioner_of,
    deeds_env,
    rewards_of,
    stable_id,
    suggested,
)

from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.errors import (
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import SimilarityRewardWrapper, vector


class Numbers(ScriptedEnv):
    """Its rewards are of a type that the test says, and may be infinite."""

    def __init__(self, *rewards: Any) -> None:
        rest = iter(rewards)
        super().__init__(
            step_func=lambda env, action: (env.draw(), next(rest), False, False, {}),
            action_space=gym.spaces.Discrete(6),
        )


# --- the reward ---


@pytest.mark.parametrize(
    ("options", "rewards"),
    [
        ({}, [1.0, 0.0]),
        ({"similarity_weight": 0.5}, [0.5, 0.0]),
        ({"extrinsic_weight": 7.0}, [1.0, 0.0]),
        ({"schedule": 0.25}, [0.25, 0.0]),
        ({"combine": "add"}, [2.0, 1.0]),
        ({"combine": "add", "extrinsic_weight": 3.0}, [4.0, 3.0]),
        ({"combine": "add", "extrinsic_weight": 0.0}, [1.0, 0.0]),
        ({"combine": "add", "similarity_weight": 2.0, "schedule": 0.5}, [2.0, 1.0]),
        ({"similarity_weight": 0.0}, [0.0, 0.0]),
    ],
)
def test_the_two_rewards_are_combined(options: dict[str, Any], rewards: list[float]) -> None:
    env = suggested(["collect wood"], **options)
    assert rewards_of(env, [WOOD, NAP]) == rewards
    env.reset()
    info = env.step(WOOD)[4]
    assert (info["extrinsic_reward"], info["similarity_reward"]) == (1.0, 1.0)


@pytest.mark.parametrize("neutral", [{"similarity_weight": 0.0}, {"schedule": 0.0}])
def test_a_weight_of_zero_leaves_the_reward_as_it_is(neutral: dict[str, float]) -> None:
    given = [np.float32(0.1), 3, math.inf, np.float64(-0.0)]
    env = suggested(["collect wood"], Numbers(*given), combine="add", **neutral)
    env.reset(seed=0)
    for expected in given:
        reward = env.step(WOOD)[1]
        assert type(reward) is type(expected)
        assert reward == expected


def test_an_infinite_reward_that_is_replaced_leaves_no_trace() -> None:
    env = suggested(["collect wood"], Numbers(math.inf, -math.inf))
    assert rewards_of(env, [WOOD, NAP]) == [1.0, 0.0]


def test_the_schedule_follows_the_progress() -> None:
    env = suggested(
        ["collect wood"], schedule={"kind": "linear", "start": 1.0, "end": 0.0}, novelty=False
    )
    inner = suggested(["nap"], schedule={"kind": "linear", "start": 1.0, "end": 0.5})
    both = suggested(["collect wood"], inner)
    for progress, paid in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        env.set_progress(progress)
        assert rewards_of(env, [WOOD]) == [paid]
        assert env.stats()["coefficient"] == paid
    both.set_progress(1.0)
    assert inner.stats()["coefficient"] == 0.5


def test_an_extrinsic_reward_from_below_is_kept() -> None:
    inner = suggested(["collect wood"])
    outer = suggested(["collect wood"], inner, combine="add", similarity_weight=10.0)
    outer.reset(seed=0)
    _, reward, *_, info = outer.step(WOOD)
    # The inner wrapper pays 1 in place of the environment's own 1.
    assert (reward, info["extrinsic_reward"]) == (11.0, 1.0)
    assert outer.step(NAP)[4]["extrinsic_reward"] == 1.0
    assert set(outer.all_stats()) == {"SimilarityRewardWrapper", "SimilarityRewardWrapper 2"}


# --- the observation ---


def test_goals_are_observed_as_one_sentence_of_those_that_remain() -> None:
    env = suggested(["collect wood", "eat cow"], observe_goals=True, encoder="hashing:32")
    observation, _ = env.reset(seed=0)
    assert env.observation_space["suggestions"] == gym.spaces.Box(-1.0, 1.0, (32,), np.float32)  # type: ignore[index]
    shown = [observation["suggestions"]]
    for action in (WOOD, NAP, EAT):
        observation = env.step(action)[0]
        assert observation in env.observation_space
        shown.append(observation["suggestions"])
    sentences = ["Your goal is: collect wood, eat cow.", "Your goal is: eat cow."]
    both, one = HashingEncoder(32).encode(sentences)
    np.testing.assert_allclose(shown, [both, one, one, np.zeros(32)], atol=1e-6)


def test_key_names_the_goals_and_a_dict_keeps_its_keys() -> None:
    inner = suggested(["collect wood"], observe_goals=True)
    space = inner.observation_space
    env = SimilarityRewardWrapper(inner, suggester=["nap"], observe_goals=True, key="second")
    assert set(env.reset(seed=0)[0]) == {"obs", "suggestions", "second"}
    assert set(space.spaces) == {"obs", "suggestions"}  # type: ignore[attr-defined]


def test_without_observed_goals_the_encoder_is_not_asked_before_it_is_needed() -> None:
    encoder = PlaneEncoder()
    suggested(["nap"], encoder=encoder).reset(seed=0)
    assert encoder.calls == []
    suggested(["nap"], encoder=encoder, observe_goals=True)
    assert len(encoder.calls) == 1


# --- what it tells ---


def test_stats_count_what_happened() -> None:
    env = suggested(CountingSuggester(lambda step: None if step == 1 else ["collect wood", ""]))
    rewards_of(env, [WOOD, NAP, NAP])
    assert env.stats() == {
        "steps": 3,
        "rewarded": 1,
        "states": 4,
        "suggestions": 3,
        "unanswered": 1,
        "suggester_failures": 0,
        "dropped_goals": 3,
        "states_asked": 4,
        "consulted": 4,
        "unguided": 1,
        "pairs": 3,
        "pairs_remembered": 1,
        "texts_encoded": 1,
        "encoder_failures": 0,
        "bad_vectors": 0,
        "coefficient": 1.0,
    }


def test_stats_have_those_of_the_suggester() -> None:
    env = suggested(RememberingSuggester(lambda step: ["nap"]))
    env.reset(seed=0)
    env.reset()
    assert env.stats()["suggester"] == {"resets": 2}


def test_a_saved_state_has_the_progress_and_the_counters() -> None:
    def make() -> SimilarityRewardWrapper:
        return suggested(["nap"], schedule={"kind": "linear", "start": 1.0, "end": 0.0})

    env, other = make(), make()
    env.set_progress(0.25)
    rewards_of(env, [NAP, WOOD])
    other.load_state_dict(env.state_dict())
    assert other.stats() == env.stats()
    assert rewards_of(other, [NAP]) == [0.75]
    with pytest.raises(InvalidOptionError, match="another wrapper"):
        other.load_state_dict({"progress": 0.0, "counts": {"steps": 1}, "work": {}})


def test_it_tells_layers_above_what_it_knows() -> None:
    env = SimilarityRewardWrapper(gym.make("CartPole-v1"), suggester="none")
    assert env.env_description().action_names == ("push left", "push right")


# --- what the user got wrong ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"suggester": "gpt"}, UnknownNameError, "expected one of reference:NAME"),
        ({"suggester": "novelty"}, InvalidOptionError, "describes none; name them"),
        ({"suggester": 7}, InvalidOptionError, "expected a suggester"),
        ({"suggester": CountingSuggester}, InvalidOptionError, "call it first"),
        ({"suggester": ["nap", ""]}, InvalidOptionError, "a list of non-empty strings"),
        ({"captioner": object()}, InvalidOptionError, "captioner must have"),
        ({"encoder": "no-such-encoder"}, UnknownNameError, "hashing"),
        ({"encoder": 3}, InvalidOptionError, "an object with encode(texts)"),
        ({"threshold": 1.5}, InvalidOptionError, r"a number in [-1, 1], got 1.5"),
        ({"threshold": math.nan}, InvalidOptionError, "got nan"),
        ({"threshold": True}, InvalidOptionError, "got True"),
        ({"combine": "multiply"}, InvalidOptionError, "('replace', 'add'), got 'multiply'"),
        ({"similarity_weight": -1.0}, InvalidOptionError, "similarity_weight must be a finite"),
        ({"extrinsic_weight": math.inf}, InvalidOptionError, "extrinsic_weight must be a finite"),
        ({"extrinsic_weight": "1"}, InvalidOptionError, "extrinsic_weight must be a finite"),
        ({"schedule": 2.0}, InvalidOptionError, "a number in [0, 1], got 2.0"),
        ({"novelty": 1}, InvalidOptionError, "novelty must be True or False, got 1"),
        ({"observe_goals": "yes"}, InvalidOptionError, "observe_goals must be True or False"),
        ({"aliases": [["nap"]]}, InvalidOptionError, "a list of groups"),
        ({"aliases": ["nap", "sleep"]}, InvalidOptionError, "a list of groups"),
        ({"aliases": [["nap", 3]]}, InvalidOptionError, "a list of groups"),
        ({"success_key": ""}, InvalidOptionError, "success_key must be a non-empty"),
        ({"key": "", "observe_goals": True}, InvalidOptionError, "key must be a non-empty"),
        (
            {
                "encoder": PlaneEncoder(**{"Your goal is: a goal.": [3.0, 4.0]}),
                "observe_goals": True,
            },
            InvalidOptionError,
            "finite vectors of length one",
        ),
    ],
    ids=stable_id,
)
def test_wrong_options_say_what_was_expected(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"suggester": ["nap"], **options}
    with pytest.raises(error, match=re.escape(message)):
        SimilarityRewardWrapper(deeds_env(), **given)
    envs = gym.vector.SyncVectorEnv([deeds_env])
    with pytest.raises(error, match=re.escape(message)):
        vector.SimilarityRewardWrapper(envs, **given)


def test_a_key_that_is_taken_is_refused() -> None:
    env = SimilarityRewardWrapper(deeds_env(), suggester="none", observe_goals=True)
    with pytest.raises(InvalidOptionError, match="already has the key 'obs'"):
        SimilarityRewardWrapper(env, suggester="none", observe_goals=True, key="obs")


def test_a_success_key_that_is_missing_raises_at_the_first_step() -> None:
    env = suggested(["nap"], Told(deeds_env(), [True]), success_key="succeeded")
    env.reset(seed=0)
    with pytest.raises(IncompatibleEnvironmentError, match=r"got \['action_success'\]; name"):
        env.step(NAP)


def test_a_captioner_that_says_too_little_is_refused() -> None:
    captioner: Any = captioner_of(deeds_env())
    captioner.transition_captions = lambda before, actions, after: []
    env = suggested(["nap"], captioner=captioner)
    env.reset(seed=0)
    with pytest.raises(IncompatibleEnvironmentError, match="one text for each of 1 transitions"):
        env.step(NAP)


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step\(\)"):
        suggested(["nap"]).step(NAP)
