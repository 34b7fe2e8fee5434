"""Options of the similarity reward, and failures, which cost guidance and never the run."""

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
    Told,
    deeds_env,
    rewards_of,
    stable_id,
    suggested,
)

from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.errors import (
    AuthenticationError,
    GuidanceError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import SimilarityRewardWrapper, vector

FAILED = "the suggester failed"
NO_VECTOR = "the encoder"


# What may be wrong with an answer is a question of `guidance.consult`, and tested there.
@pytest.mark.parametrize("answer", ["collect wood", GuidanceError("x")], ids=["text", "error"])
def test_an_answer_that_is_no_list_of_goals_costs_its_state_the_goals(answer: Any) -> None:
    suggester = CountingSuggester(lambda step: answer if step == 1 else ["nap"])
    env = suggested(suggester, novelty=False)
    with pytest.warns(GuidanceWarning, match=FAILED) as caught:
        assert rewards_of(env, [NAP, NAP, NAP]) == [1.0, 0.0, 1.0]
    assert len(caught) == 1
    assert rewards_of(env, [NAP, NAP, NAP]) == [1.0, 0.0, 1.0]
    assert env.stats()["suggester_failures"] == 2


# --- encoders ---


BAD = {
    "nan": [np.nan, 0.0],
    "infinite": [np.inf, 0.0],
    "zero": [0.0, 0.0],
    "long": [3.0, 4.0],
    "short": [0.3, 0.4],
}


@pytest.mark.parametrize("vector", BAD.values(), ids=BAD)
def test_a_text_without_a_usable_vector_matches_nothing(vector: list[float]) -> None:
    encoder = PlaneEncoder(collect_wood=vector, eat_cow=[1.0, 0.0], nap=[0.0, 1.0])
    env = suggested(["collect wood", "eat cow"], encoder=encoder, novelty=False, threshold=-1.0)
    with pytest.warns(GuidanceWarning, match=f"{NO_VECTOR} returned no finite vector") as caught:
        assert rewards_of(env, [WOOD, EAT, WOOD]) == [0.0, 1.0, 0.0]
    assert len(caught) == 1
    stats = env.stats()
    assert (stats["bad_vectors"], stats["rewarded"]) == (1, 1)
    assert encoder.calls == [["collect wood", "eat cow"]]


class WrongEncoder:
    """Vectors of a form that the test says, and of the right one for some texts."""

    def __init__(self, wrong: Any, *, right: tuple[str, ...] = ()) -> None:
        self.wrong = wrong
        self.right = right
        self.calls = 0

    def encode(self, texts: Any) -> Any:
        self.calls += 1
        if set(texts) <= set(self.right):
            return np.tile(np.float32([1.0, 0.0]), (len(texts), 1))
        if isinstance(self.wrong, Exception):
            raise self.wrong
        return self.wrong(len(texts))


WRONG = {
    "one vector": lambda n: np.ones(2) / np.sqrt(2),
    "too many": lambda n: np.eye(n + 1),
    "integers": lambda n: np.tile([1, 0], (n, 1)),
    "texts": lambda n: ["a"] * n,
    "nothing": lambda n: None,
    "no dimensions": lambda n: np.zeros((n, 0)),
    "raises": OSError("the line is dead"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_encoder_that_fails_pays_nothing_and_gives_up_on_a_text(wrong: Any) -> None:
    encoder = WrongEncoder(wrong)
    env = suggested(["nap"], encoder=encoder, novelty=False)
    with pytest.warns(GuidanceWarning, match=f"{NO_VECTOR} failed for 'nap'") as caught:
        assert rewards_of(env, [NAP] * 6) == [0.0] * 6
    assert len(caught) == 1
    assert env.stats()["encoder_failures"] == encoder.calls == 3


def test_another_dimension_in_flight_costs_only_the_texts_that_have_it() -> None:
    encoder = WrongEncoder(lambda n: np.eye(n, 3), right=("nap",))
    env = suggested(["nap"], encoder=encoder, novelty=False)
    with pytest.warns(GuidanceWarning, match="expected 2 dimensions as before, got 3"):
        assert rewards_of(env, [NAP, WOOD, NAP]) == [1.0, 0.0, 1.0]


def test_a_failure_that_passes_costs_only_the_steps_it_lasted() -> None:
    encoder = WrongEncoder(OSError("hiccup"), right=())
    env = suggested(["nap"], encoder=encoder, novelty=False)
    env.reset(seed=0)
    with pytest.warns(GuidanceWarning, match="hiccup"):
        assert env.step(NAP)[1] == 0.0
    encoder.right = ("nap",)
    assert env.step(NAP)[1] == 1.0


def test_a_goal_that_cannot_be_shown_is_the_zero_vector() -> None:
    encoder = WrongEncoder(OSError("broken"), right=("Your goal is: a goal.", "nap"))
    env = suggested(["nap"], encoder=encoder, observe_goals=True)
    with pytest.warns(GuidanceWarning, match="broken"):
        observation, _ = env.reset(seed=0)
    assert observation["suggestions"].tolist() == [0.0, 0.0]
    assert env.step(NAP)[1] == 1.0


def test_a_missing_key_of_the_encoder_is_raised_at_the_first_use() -> None:
    env = suggested(["nap"], encoder=WrongEncoder(AuthenticationError("no key")))
    env.reset(seed=0)
    with pytest.raises(AuthenticationError):
        env.step(NAP)


# --- options ---


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


# --- what the user got wrong ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"suggester": "gpt"}, UnknownNameError, "expected one of reference:NAME"),
        ({"suggester": "novelty"}, InvalidOptionError, "describes none; name them"),
        ({"suggester": ["nap", ""]}, InvalidOptionError, "a list of non-empty strings"),
        ({"captioner": object()}, InvalidOptionError, "captioner must have"),
        ({"encoder": "no-such-encoder"}, UnknownNameError, "hashing"),
        ({"encoder": 3}, InvalidOptionError, "an object with encode(texts)"),
        ({"threshold": 1.5}, InvalidOptionError, r"a number in [-1, 1], got 1.5"),
        ({"combine": "multiply"}, InvalidOptionError, "('replace', 'add'), got 'multiply'"),
        ({"similarity_weight": -1.0}, InvalidOptionError, "similarity_weight must be a finite"),
        ({"schedule": 2.0}, InvalidOptionError, "a number in [0, 1], got 2.0"),
        ({"novelty": 1}, InvalidOptionError, "novelty must be True or False, got 1"),
        ({"observe_goals": "yes"}, InvalidOptionError, "observe_goals must be True or False"),
        ({"aliases": [["nap"]]}, InvalidOptionError, "a list of groups"),
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


def test_a_success_key_that_is_missing_raises_at_the_first_step() -> None:
    env = suggested(["nap"], Told(deeds_env(), [True]), success_key="succeeded")
    env.reset(seed=0)
    with pytest.raises(IncompatibleEnvironmentError, match=r"got \['action_success'\]; name"):
        env.step(NAP)
