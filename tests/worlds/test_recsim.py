"""RecSim's interest evolution: the environment, its words and its judge."""

# ruff: noqa: NPY002 - the old numbers of numpy are what RecSim draws from

import pickle
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.methods.lmgt.llm_judge import LLMJudge
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.worlds.recsim import InterestEvolutionEnv
from llm_wrappers.worlds.recsim.captioner import (
    TOPIC_QUALITY,
    TOPICS,
    InterestEvolutionCaptioner,
    interest_evolution,
)
from llm_wrappers.worlds.recsim.env import OwnRandomNumbers, recsim_module

ENV_ID = "llm_wrappers/RecSimInterestEvolution-v0"


def same(first, second):
    return all(np.array_equal(first[key], second[key]) for key in first | second)


def play(env, seed, steps, policy_seed=0):
    """Return all observations and rewards of random slates, over the ends of sessions."""
    generator = np.random.default_rng(policy_seed)
    observation, _ = env.reset(seed=seed)
    observations, rewards = [observation], []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(
            generator.integers(env.action_space.nvec)
        )
        observations.append(observation)
        rewards.append(reward)
        if terminated or truncated:
            observations.append(env.reset()[0])
    return observations, rewards


def run_python(source):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, check=False
    )


class TestContract:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"slate_size": 0}, r"slate_size must be a whole number in 1\.\.10"),
            ({"slate_size": 11}, "slate_size must be .* got 11"),
            ({"slate_size": True}, "slate_size must be .* got True"),
            ({"num_candidates": 0}, "num_candidates must be a whole number >= 1, got 0"),
            ({"num_candidates": 2.0}, "num_candidates must be .* got 2.0"),
            ({"resample_documents": 1}, "resample_documents must be True or False, got 1"),
            ({"privileged": None}, "privileged must be True or False, got None"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_options_that_cannot_be_are_refused(self, options, message):
        with pytest.raises(InvalidOptionError, match=message):
            InterestEvolutionEnv(**options)

    @pytest.mark.parametrize("action", [[0, 1, 10], [0, 1], [-1, 0, 0], [0.0, 1.0, 2.0], 3])
    def test_slates_that_cannot_be_are_refused_and_change_nothing(self, action):
        env, other = InterestEvolutionEnv(), InterestEvolutionEnv()
        env.reset(seed=0)
        other.reset(seed=0)
        with pytest.raises(InvalidOptionError, match="slate of 3 whole numbers from 0 to 9"):
            env.step(action)
        assert same(env.step([0, 1, 2])[0], other.step([0, 1, 2])[0])

    def test_no_step_without_a_session(self):
        env = InterestEvolutionEnv()
        with pytest.raises(ResetNeeded, match="reset"):
            env.step([0, 1, 2])
        env.reset(seed=0)
        while not env.step([0, 1, 2])[2]:
            pass
        with pytest.raises(ResetNeeded, match="session is over"):
            env.step([0, 1, 2])

    def test_without_recsim_it_says_what_to_install(self, monkeypatch):
        for name in [name for name in sys.modules if name.split(".")[0] == "recsim"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "recsim", None)
        with pytest.raises(DependencyNotInstalled, match=r"llm-wrappers\[recsim\]"):
            InterestEvolutionEnv()


class TestRules:
    @pytest.mark.parametrize("resample", [True, False])
    def test_plays_as_recsim_itself(self, resample):
        """The same seeds in RecSim's own Gym environment give the same rewards and responses."""
        env = InterestEvolutionEnv(resample_documents=resample)
        observation, _ = env.reset(seed=11)
        seeds = np.random.default_rng(11).integers(2**32, size=3).tolist()
        theirs = own_recsim(*seeds, resample=resample)
        wanted = theirs.reset()
        np.random.seed(seeds[2])
        generator, over = np.random.default_rng(0), False
        while not over:
            np.testing.assert_array_equal(observation["user"], np.float32(wanted["user"]))
            np.testing.assert_array_equal(
                observation["documents"], np.float32(list(wanted["doc"].values()))
            )
            slate = generator.permutation(10)[:3]
            wanted, reward, done, _ = theirs.step(slate)
            numbers = np.random.get_state()
            observation, mine, over, truncated, _ = env.step(slate)
            assert (mine, over, truncated) == (reward, done, False)
            for key, name in (("clicked", "click"), ("watch_time",) * 2, ("quality",) * 2):
                column = np.float32([response[name] for response in wanted["response"]])
                np.testing.assert_array_equal(observation[key], column)
            topics = [response["cluster_id"] for response in wanted["response"]]
            assert observation["shown"].argmax(axis=1).tolist() == topics
            np.random.set_state(numbers)

    def test_the_qualities_of_topics_are_those_of_recsim(self):
        rules = recsim_module("environments.interest_evolution")
        sampler = rules.UtilityModelVideoSampler()
        assert sampler.cluster_means.tolist() == list(TOPIC_QUALITY)
        assert rules.IEvVideo.NUM_FEATURES == TOPICS

    @settings(max_examples=10, deadline=None)
    @given(
        seed=st.integers(0, 10_000), slate=st.integers(1, 4), more=st.integers(0, 8),
        resample=st.booleans(),
    )  # fmt: skip
    def test_the_time_of_the_session_is_accounted_for(self, seed, slate, more, resample):
        env = InterestEvolutionEnv(
            slate_size=slate, num_candidates=slate + more, resample_documents=resample,
            privileged=True,
        )  # fmt: skip
        generator = np.random.default_rng(seed)
        _, info = env.reset(seed=seed)
        budget, over, steps = info["time_budget"], False, 0
        assert budget == 200.0
        while not over:
            action = generator.integers(slate + more, size=slate)
            observation, reward, over, truncated, info = env.step(action)
            assert env.observation_space.contains(observation)
            assert observation["clicked"].sum() <= 1
            assert reward == pytest.approx(observation["watch_time"].sum())
            if reward:
                place = int(observation["clicked"].argmax())
                assert reward == pytest.approx(min(budget, 4.0))
                quality = float(observation["quality"][place])
                budget += reward * (0.9 / 3.4 * quality - 1.0)
            else:
                budget -= 0.5
            # The quality that is observed has 7 digits.
            assert info["time_budget"] == pytest.approx(budget, abs=1e-5)
            budget = info["time_budget"]
            assert over == (info["time_budget"] <= 0)
            assert not truncated
            steps += 1
        assert steps <= 420

    def test_a_document_that_repeats_is_shown_once(self):
        """A slate of three times the same plays exactly as a slate of one."""
        wide, narrow = InterestEvolutionEnv(slate_size=3), InterestEvolutionEnv(slate_size=1)
        wide.reset(seed=2)
        narrow.reset(seed=2)
        over = False
        while not over:
            first, reward, over, _, _ = wide.step([4, 4, 4])
            second, *rest = narrow.step([4])
            assert rest[:2] == [reward, over]
            for key in ("shown", "clicked", "watch_time", "quality"):
                np.testing.assert_array_equal(first[key][:1], second[key])
                assert not first[key][1:].any()

    def test_resampling_decides_whether_candidates_stay(self):
        changing, staying = InterestEvolutionEnv(), InterestEvolutionEnv(resample_documents=False)
        for env, stays in ((changing, False), (staying, True)):
            first, _ = env.reset(seed=1)
            second, *_ = env.step([0, 1, 2])
            assert np.array_equal(first["documents"], second["documents"]) == stays
            assert not np.array_equal(env.reset()[0]["documents"], second["documents"])

    def test_privileged_tells_what_the_agent_cannot_see(self):
        assert InterestEvolutionEnv().reset(seed=0)[1] == {}
        env = InterestEvolutionEnv(privileged=True)
        observation, info = env.reset(seed=0)
        usual = np.array(TOPIC_QUALITY)[observation["documents"].argmax(axis=1)]
        assert np.abs(info["document_quality"] - usual).max() < 0.5
        observation, *_ = env.step([6, 0, 1])
        assert observation["quality"].tolist() == info["document_quality"][[6, 0, 1]].tolist()


class TestReproducible:
    def test_from_a_seed_whatever_else_draws_random_numbers(self):
        first = play(gym.make(ENV_ID), 3, 150)
        np.random.seed(99)
        second = play(gym.make(ENV_ID), 3, 150)
        assert first[1] == second[1]
        assert all(map(same, first[0], second[0]))
        assert play(gym.make(ENV_ID), 4, 150)[1] != first[1]

    def test_the_global_random_numbers_go_on_as_if_nothing_had_been_drawn(self):
        np.random.seed(7)
        np.random.normal()  # leaves a second normal number behind, which must survive too
        wanted = np.random.RandomState(7).normal(size=5)[1:].tolist()
        drawn = []
        env = gym.make(ENV_ID)
        for seed in range(4):
            play(env, seed, 3)
            drawn.append(float(np.random.normal()))
        assert drawn == wanted

    def test_an_error_while_numbers_are_lent_gives_them_back(self):
        np.random.seed(1)
        wanted = np.random.RandomState(1).rand()
        with pytest.raises(ValueError, match="probabilities"), OwnRandomNumbers(0).lent():
            np.random.choice([np.random.rand()], p=[0.5])
        assert np.random.rand() == wanted

    def test_a_pickle_is_read_where_recsim_was_not_imported(self, tmp_path):
        env = InterestEvolutionEnv()
        env.reset(seed=0)
        (tmp_path / "env.pickle").write_bytes(pickle.dumps(env))
        done = run_python(
            "import pickle, sys; "
            f"env = pickle.load(open({str(tmp_path / 'env.pickle')!r}, 'rb')); "
            "print([env.step([0, 1, 2])[1] for _ in range(20)], 'gym' in sys.modules)"
        )
        assert done.stdout.strip() == f"{[env.step([0, 1, 2])[1] for _ in range(20)]} False"


def test_a_gym_that_was_imported_before_stays(monkeypatch):
    before = type(sys)("gym")
    monkeypatch.setitem(sys.modules, "gym", before)
    recsim_module("choice_model")
    assert sys.modules["gym"] is before


def own_recsim(of_user, of_documents, of_choices, *, resample):
    """Return RecSim's own environment, put together as `create_environment` does."""
    rules = recsim_module("environments.interest_evolution")
    user = rules.IEvUserModel(
        3,
        choice_model_ctor=recsim_module("choice_model").MultinomialProportionalChoiceModel,
        response_model_ctor=rules.IEvResponse,
        user_state_ctor=rules.IEvUserState,
        seed=of_user,
    )
    simulator = recsim_module("simulator.environment").Environment(
        user, rules.UtilityModelVideoSampler(doc_ctor=rules.IEvVideo, seed=of_documents), 10, 3,
        resample_documents=resample,
    )  # fmt: skip
    wrapped = recsim_module("simulator.recsim_gym").RecSimGymEnv
    return wrapped(simulator, rules.clicked_watchtime_reward)


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


def offers(*documents):
    facts = {"candidates": len(documents)}
    for number, (interest, quality) in enumerate(documents):
        facts[f"document {number} interest"] = interest
        facts[f"document {number} quality"] = quality
    return facts


documents = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(-3, 3)), min_size=2, max_size=10, unique=True
)


def mean_return(judge, *, episodes, tries=10):
    """Return the mean return of the best judged of some random slates, ties to the first."""
    env = gym.make(ENV_ID)
    captioner = resolve_captioner(env)
    judge = resolve_judge(judge, description=captioner.description)
    total = 0.0
    for seed in range(episodes):
        (observation, info), over = env.reset(seed=seed), False
        generator = np.random.default_rng(seed)
        while not over:
            facts = captioner.facts(
                batch_of_one(env.observation_space, observation), batch_infos(info)
            )
            slates = list(generator.integers(10, size=(tries, 3)))
            judged = judge.judge(States(facts * tries, captioner.state_captions), slates)
            slate = slates[int(np.argmax(judged))]
            observation, reward, over, _, info = env.step(slate)
            total += reward
    return total / episodes


class TestRule:
    def test_quality_that_is_watched_decides(self):
        facts = offers((0.5, -2.0), (0.5, 2.0), (0.5, 0.2), (-1.0, 3.0))
        assert interest_evolution(facts, [1]) == 1
        assert interest_evolution(facts, [0]) == -1
        assert interest_evolution(facts, [2]) == 0

    def test_interest_decides_what_a_slate_is_worth(self):
        """The same qualities: once the good one is what the user would watch, once the bad one."""
        rest = [(0.0, 0.0)] * 8
        assert interest_evolution(offers((-0.9, -3.0), (0.9, 3.0), *rest), [0, 1]) == 1
        assert interest_evolution(offers((0.9, -3.0), (-0.9, 3.0), *rest), [0, 1]) == -1

    @given(documents)
    def test_the_best_documents_are_never_disapproved(self, drawn):
        best = sorted(range(len(drawn)), key=lambda k: -drawn[k][1])[:2]
        assert interest_evolution(offers(*drawn), best) >= 0

    @given(documents, st.randoms(use_true_random=False))
    def test_order_and_repetition_do_not_matter(self, drawn, random):
        slate = [random.randrange(len(drawn)) for _ in range(3)]
        facts = offers(*drawn)
        shuffled = random.sample(slate, 3)
        assert interest_evolution(facts, slate) == interest_evolution(facts, np.array(shuffled))
        assert interest_evolution(facts, slate) == interest_evolution(facts, [*slate, slate[0]])

    def test_where_nothing_can_be_chosen_it_is_neutral(self):
        assert interest_evolution(offers((0.3, 1.0), (0.8, -2.0)), [0, 1]) == 0
        assert interest_evolution(offers((0.3, 1.0), (0.8, 1.0)), [1]) == 0

    def test_a_user_who_detests_all_of_it_breaks_nothing(self):
        facts = offers((-1.0, 3.0), (-1.0, -3.0), (-1.0, 0.0))
        assert [interest_evolution(facts, [k]) for k in range(3)] == [1, -1, 0]


class TestPlay:
    def test_what_it_approves_of_holds_users_longer(self):
        """Far outside the spread of means of 3 sessions, which is about 10 minutes."""
        random = mean_return("none", episodes=3)
        assert mean_return("reference", episodes=3) > random + 25
        assert mean_return("anti-oracle", episodes=3) < random - 10
