"""RecSim's interest evolution: its own rules, reproducible, and trained on by real algorithms."""

# ruff: noqa: NPY002 - the old numbers of numpy are what RecSim draws from

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_for_sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import llm_wrappers as lw
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.recsim import InterestEvolutionEnv
from llm_wrappers.worlds.recsim.captioner import TOPIC_QUALITY, TOPICS
from llm_wrappers.worlds.recsim.session import OwnRandomNumbers, recsim_module

ENV_ID = "llm_wrappers/RecSimInterestEvolution-v0"
PLAYED_ELSEWHERE = f"""
import gymnasium as gym, llm_wrappers, numpy as np
env = gym.make({ENV_ID!r})
env.reset(seed=5)
print([env.step(np.array([k % 10, 3, 7]))[1] for k in range(40)])
"""


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
    def test_passes_the_checkers_of_both_libraries(self):
        check_env(gym.make(ENV_ID).unwrapped, skip_render_check=True)
        check_for_sb3(gym.make(ENV_ID), warn=False)

    def test_spec_round_trip(self):
        env = gym.make(ENV_ID, slate_size=2, num_candidates=6, resample_documents=False)
        again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        first, second = play(env, 4, 20), play(again, 4, 20)
        assert first[1] == second[1]
        assert again.action_space == gym.spaces.MultiDiscrete([6, 6])
        assert again.observation_space["documents"].shape == (6, TOPICS)

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

    def test_the_order_of_first_mention_is_the_order_of_the_slate(self):
        env = InterestEvolutionEnv()
        before, _ = env.reset(seed=0)
        after, *_ = env.step([5, 2, 5])
        np.testing.assert_array_equal(after["shown"][:2], before["documents"][[5, 2]])
        assert not after["shown"][2].any()

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

    def test_in_another_process_and_without_a_word_on_stderr(self):
        done = [run_python(PLAYED_ELSEWHERE) for _ in range(2)]
        assert [process.stderr for process in done] == ["", ""]
        env = gym.make(ENV_ID)
        env.reset(seed=5)
        here = [env.step(np.array([k % 10, 3, 7]))[1] for k in range(40)]
        assert [process.stdout.strip() for process in done] == [str(here)] * 2

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

    def test_observations_are_fresh(self):
        env = InterestEvolutionEnv()
        observation, _ = env.reset(seed=0)
        kept = copy.deepcopy(observation)
        for value in observation.values():
            value[...] = 0
        other = InterestEvolutionEnv()
        assert same(other.reset(seed=0)[0], kept)
        for _ in range(20):
            assert same(env.step([0, 1, 2])[0], other.step([0, 1, 2])[0])

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
    def test_copies_go_on_from_the_middle_of_a_session(self, copied):
        env = InterestEvolutionEnv(privileged=True)
        env.reset(seed=0)
        for _ in range(5):
            env.step([0, 1, 2])
        again = copied(env)
        for _ in range(30):
            first, second = env.step([3, 4, 5]), again.step([3, 4, 5])
            assert same(first[0], second[0])
            assert first[1:4] == second[1:4]
            assert same(first[4], second[4])

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


class TestTraining:
    def test_processes_play_as_one_does(self):
        dummy = make_vec_env(InterestEvolutionEnv, 2, seed=3, vec_env_cls=DummyVecEnv)
        workers = make_vec_env(
            InterestEvolutionEnv, 2, seed=3, vec_env_cls=SubprocVecEnv,
            vec_env_kwargs={"start_method": "fork"},
        )  # fmt: skip
        try:
            assert same(dummy.reset(), workers.reset())
            slates = np.array([[0, 1, 2], [3, 4, 5]])
            for _ in range(25):
                first, second = dummy.step(slates), workers.step(slates)
                assert same(first[0], second[0])
                np.testing.assert_array_equal(first[1], second[1])
        finally:
            workers.close()

    def test_ppo_trains_on_slates_with_a_judge(self):
        env = lw.RewardShiftWrapper(gym.make(ENV_ID), judge="reference")
        model = PPO("MultiInputPolicy", env, n_steps=128, n_epochs=1, seed=0, device="cpu")
        before = [parameter.clone() for parameter in model.policy.parameters()]
        model.learn(256)
        assert env.stats()["judged"] == 256
        assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
        observation, _ = env.reset(seed=0)
        action, _ = model.predict(observation)
        assert env.action_space.contains(action)


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
