"""What is said about RecSim's interest evolution is what the real environment did."""

import re

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.states import States
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.worlds.recsim.captioner import TOPIC_QUALITY, InterestEvolutionCaptioner

ENV_ID = "llm_wrappers/RecSimInterestEvolution-v0"


def facts_of(env, observation, info):
    batch = batch_of_one(env.observation_space, observation)
    return resolve_captioner(env).facts(batch, batch_infos(info))


@pytest.fixture
def env():
    return gym.make(ENV_ID)


def test_the_captioner_is_found(env):
    captioner = resolve_captioner(env)
    assert isinstance(captioner, InterestEvolutionCaptioner)
    assert isinstance(captioner, Captioner)
    assert captioner.description.env_id == ENV_ID
    assert "3 out of 10 documents" in captioner.description.rules
    other = resolve_captioner(gym.make(ENV_ID, slate_size=2, num_candidates=7))
    assert "2 out of 7 documents" in other.description.rules


def test_facts_are_flat_and_those_of_the_observation(env):
    observation, info = env.reset(seed=0)
    (facts,) = facts_of(env, observation, info)
    topics = observation["documents"].argmax(axis=1)
    for number, topic in enumerate(topics.tolist()):
        assert facts[f"document {number} topic"] == topic
        assert facts[f"document {number} interest"] == pytest.approx(
            observation["user"][topic], abs=0.005
        )
        assert facts[f"document {number} quality"] == pytest.approx(TOPIC_QUALITY[topic], abs=0.005)
    assert facts["liked_topics"][0] == str(observation["user"].argmax())
    assert facts["disliked_topics"][0] == str(observation["user"].argmin())
    assert facts["shown_topics"] == ()
    assert facts["watched_place"] is None
    assert {type(value) for value in facts.values()} <= {int, float, tuple, type(None)}


def test_at_reset_nothing_is_said_of_a_last_slate(env):
    (caption,) = resolve_captioner(env).state_captions(facts_of(env, *env.reset(seed=0)))
    assert caption.startswith("The user likes topics ")
    assert "last slate" not in caption
    assert caption == caption.strip()


def test_everything_can_be_read_back_from_the_caption(env):
    (facts,) = facts_of(env, *env.reset(seed=0))
    (caption,) = resolve_captioner(env).state_captions([facts])
    found = re.findall(r"(\d+) \(topic (\d+), interest (\S+), quality (\S+)\)", caption)
    assert [int(number) for number, *_ in found] == list(range(10))
    for number, topic, interest, quality in found:
        assert facts[f"document {number} topic"] == int(topic)
        assert facts[f"document {number} interest"] == float(interest)
        assert facts[f"document {number} quality"] == float(quality)


def test_transitions_say_what_was_shown_and_watched(env):
    captioner, seen = resolve_captioner(env), set()
    observation, info = env.reset(seed=0)
    before, generator = facts_of(env, observation, info), np.random.default_rng(0)
    over = False
    while not over:
        slate = generator.integers(10, size=3)
        shown = list(dict.fromkeys(slate.tolist()))
        topics = observation["documents"].argmax(axis=1)
        observation, reward, over, _, info = env.step(slate)
        after = facts_of(env, observation, info)
        (deed,) = captioner.transition_captions(before, [slate], after)
        (caption,) = captioner.state_captions(after)
        start, end = deed.split("; ")
        assert list(map(int, re.findall(r"\d+", start))) == shown
        assert start.startswith("showed documents " if len(shown) > 1 else "showed document ")
        if reward:
            number, minutes = re.fullmatch(
                r"the user watched (\d+) for (\S+) minutes", end
            ).groups()
            assert int(number) in shown
            assert float(minutes) == pytest.approx(reward, abs=0.005)
            assert after[0]["watched_topic"] == topics[int(number)]
            assert f"the user watched topic {topics[int(number)]} for {minutes} minutes" in caption
        else:
            assert end == "the user watched none"
            assert caption.endswith("the user watched none.")
        assert after[0]["shown_topics"] == tuple(str(topics[number]) for number in shown)
        seen.add(bool(reward))
        before = after
    assert seen == {True, False}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_slates_in_words_name_each_document_once(slate):
    (words,) = InterestEvolutionCaptioner(len(slate)).action_words([np.array(slate)])
    assert list(map(int, re.findall(r"\d+", words))) == list(dict.fromkeys(slate))


def test_many_users_are_spoken_of_at_once():
    """Batched facts are those of the single environments."""
    envs = gym.make_vec(ENV_ID, num_envs=3, vectorization_mode="sync")
    observations, infos = envs.reset(seed=[0, 1, 2])
    together = resolve_captioner(envs).facts(observations, infos)
    single = gym.make(ENV_ID)
    assert together == [facts_of(single, *single.reset(seed=seed))[0] for seed in range(3)]


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (np.zeros((2, 20)), "must be a dict with user, documents, .* got a ndarray"),
        ({"user": np.zeros((1, 20))}, "must be a dict with user, documents"),
    ],
    ids=["array", "part"],
)
def test_other_observations_are_refused(observations, message):
    with pytest.raises(InvalidOptionError, match=message):
        InterestEvolutionCaptioner().facts(observations, {})


def test_a_captioner_of_other_sizes_is_refused(env):
    observation, info = env.reset(seed=0)
    batch = batch_of_one(env.observation_space, observation)
    with pytest.raises(InvalidOptionError, match=r"documents must have the shape \('n', 8, 20\)"):
        InterestEvolutionCaptioner(3, 8).facts(batch, batch_infos(info))


def test_a_model_is_asked_about_slates_in_words(env):
    """The words go into the prompt of a judge that asks a model, here a scripted one."""
    captioner = resolve_captioner(env)
    facts = facts_of(env, *env.reset(seed=0))
    llm = ScriptedLLM(lambda request: "SCORE: +1")
    judge = LLMJudge(llm, captioner.description, action_words=captioner.action_words)
    slates = [np.array([3, 7, 3])]
    assert judge.prefill(States(facts, captioner.state_captions), slates) == [1]
    prompt = llm.requests[0].messages[-1]["content"]
    assert "show documents 3 and 7" in prompt
    assert captioner.state_captions(facts)[0] in prompt
