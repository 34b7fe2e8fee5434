"""ELLM's stack of wrappers, with guidance that ships, and the command that asks beforehand."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import caption_in
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN

import llm_wrappers  # noqa: F401  # registers the environments
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli import main as command
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.llm import allow_requests
from llm_wrappers.methods import ellm
from llm_wrappers.testing import LLMServer
from llm_wrappers.wrappers import CaptionObservationWrapper, SimilarityRewardWrapper, vector

LAKE = "FrozenLake-v1"
MINIGRID = "MiniGrid-DoorKey-5x5-v0"
RIGHT = 2


def lake():
    return gym.make(LAKE, is_slippery=False)


def deed_of_going_right():
    """Return what the captioner says of the first step to the right."""
    env = ellm.wrap(lake(), "none")
    env.reset(seed=0)
    return env.step(RIGHT)[4]["transition_caption"]


def minigrid(n=None):
    pytest.importorskip("minigrid")
    if n is None:
        return gym.make(MINIGRID)
    return SyncVectorEnv([lambda: gym.make(MINIGRID)] * n, autoreset_mode=AutoresetMode.SAME_STEP)


class TestRecipe:
    def test_reward_free_replaces_the_reward_and_otherwise_adds(self):
        goals = [deed_of_going_right()]
        pretraining = ellm.wrap(lake(), goals, similarity_weight=0.5)
        finetuning = ellm.wrap(lake(), goals, reward_free=False, similarity_weight=0.5)
        path = [RIGHT, RIGHT, 1, 1, 1, RIGHT]
        for env, first, last in ((pretraining, 0.5, 0.0), (finetuning, 0.5, 1.0)):
            env.reset(seed=0)
            steps = [env.step(action) for action in path]
            assert steps[0][1] == first
            assert steps[-1][1] == last
            assert steps[-1][4]["extrinsic_reward"] == 1.0

    def test_reference_guidance_by_default(self):
        env = ellm.wrap(minigrid())
        env.reset(seed=0)
        assert env.current_suggestions()
        assert set(env.current_suggestions()) <= set(resolve_captioner(env).description.goals)

    @pytest.mark.parametrize("n", [None, 3], ids=["single", "vector"])
    @pytest.mark.parametrize("caption", [False, True], ids=["", "caption"])
    @pytest.mark.parametrize("goals", [False, True], ids=["", "goals"])
    def test_what_the_policy_sees(self, n, caption, goals):
        env = ellm.wrap(minigrid(n), caption_observation=caption, goals_in_observation=goals)
        space = env.observation_space if n is None else env.single_observation_space
        assert ("caption" in space.spaces, "suggestions" in space.spaces) == (caption, goals)
        observation, info = env.reset(seed=0)
        assert observation in env.observation_space
        for _ in range(5):
            observation, reward, _, _, info = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert np.shape(reward) == (() if n is None else (n,))
        assert ("caption_text" in info) == caption
        kinds = (vector.SimilarityRewardWrapper, vector.CaptionObservationWrapper)
        if n is None:
            kinds = (SimilarityRewardWrapper, CaptionObservationWrapper)
        assert isinstance(env, kinds[caption])

    def test_caption_and_goals_over_a_plain_observation(self):
        env = ellm.wrap(lake(), ["x"], caption_observation=True, goals_in_observation=True)
        plain = ellm.wrap(lake(), ["x"], caption_observation=True)
        (observation, info), (_, expected) = env.reset(seed=0), plain.reset(seed=0)
        assert sorted(observation) == ["caption", "obs", "suggestions"]
        assert info["caption_text"] == expected["caption_text"]
        assert env.step(RIGHT)[4]["caption_text"] == plain.step(RIGHT)[4]["caption_text"]
        assert env.env_description() == plain.env_description()

    def test_options_reach_the_wrappers(self):
        goals = [deed_of_going_right()]

        def rewards(**options):
            env = ellm.wrap(lake(), goals, **options)
            env.reset(seed=0)
            # To the right, back, and to the right again.
            return [env.step(action)[1] for action in (RIGHT, 0, RIGHT)]

        assert rewards() == [1.0, 0.0, 0.0]
        assert rewards(novelty=False) == [1.0, 0.0, 1.0]
        assert rewards(threshold=1.0) == [0.0, 0.0, 0.0]
        assert rewards(schedule=0.25) == [0.25, 0.0, 0.0]
        weighted = rewards(reward_free=False, extrinsic_weight=3.0, similarity_weight=2.0)
        assert weighted == [2.0, 0.0, 0.0]

    def test_actions_that_fail_pay_nothing_in_ellms_crafter(self):
        pytest.importorskip("crafter")
        env = ellm.wrap(gym.make("llm_wrappers/EllmCrafter-v1"), ["mine diamond", "do nothing"])
        names = resolve_captioner(env).description.action_names
        env.reset(seed=0)
        _, reward, _, _, info = env.step(names.index("mine diamond"))
        assert (info["action_success"], reward) == (False, 0.0)
        ungated = ellm.wrap(
            gym.make("llm_wrappers/EllmCrafter-v1"), ["mine diamond"], success_key=None
        )
        ungated.reset(seed=0)
        assert ungated.step(names.index("mine diamond"))[1] == 1.0

    def test_an_algorithm_trains_on_the_stack(self):
        env = ellm.wrap(
            lake(), [deed_of_going_right()], caption_observation=True, encoder="hashing:32"
        )
        model = DQN("MultiInputPolicy", env, learning_starts=20, buffer_size=500, seed=0)
        model.learn(200)
        assert env.all_stats()["SimilarityRewardWrapper"]["rewarded"] > 0

    def test_the_stack_is_rebuilt_from_its_spec(self):
        env = ellm.wrap(lake(), "fixed:go right", caption_observation=True)
        spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
        rebuilt = gym.make(spec)
        assert rebuilt.observation_space == env.observation_space
        assert rebuilt.get_wrapper_attr("current_suggestions")() == ()
        rebuilt.reset(seed=0)
        assert rebuilt.get_wrapper_attr("current_suggestions")() == ("go right",)

    def test_no_suggester_and_no_reference(self):
        with pytest.raises(UnknownNameError, match="give a suggester"):
            ellm.wrap(gym.make("CartPole-v1"))

    @pytest.mark.parametrize("option", ["caption_observation", "reward_free"])
    def test_switches_are_true_or_false(self, option):
        with pytest.raises(InvalidOptionError, match=option):
            ellm.wrap(lake(), ["x"], **{option: "yes"})


class TestCommand:
    def write(self, cache, address, *more):
        arguments = ["--env", MINIGRID, "--model", "openai/test", "--api-base", address]
        return command(["write", "ellm", *arguments, "--cache", str(cache), *more])

    def test_fills_the_cache_that_training_reads(self, tmp_path, capsys):
        pytest.importorskip("minigrid")
        cache = tmp_path / "answers.sqlite"
        with LLMServer("- find the key") as server, allow_requests(True):
            more = ("--states", "12", "--temperature", "0.1", "--prompt", "ellm/open-goals")
            assert self.write(cache, server.api_base, *more, "--calls", "5") == 1
            assert server.count == 5
            assert "BudgetExceededError" in capsys.readouterr().err
            assert self.write(cache, server.api_base, *more) == 0
            assert server.count == 12
            asked = {caption_in(body) for body in server.requests}
        assert len(asked) == 12
        out = capsys.readouterr().out
        assert "12 states, 12 with suggestions, 0 answers unreadable" in out
        name = out.splitlines()[-1].strip()
        env = ellm.wrap(minigrid(), f"{name}&mode=replay")
        env.reset(seed=0)
        assert env.current_suggestions() == ("find the key",)

    def test_unreadable_answers_are_counted(self, tmp_path, capsys):
        pytest.importorskip("minigrid")
        with LLMServer("1. find the key") as server, allow_requests(True):
            more = ("--states", "3", "--strict")
            assert self.write(tmp_path / "answers.sqlite", server.api_base, *more) == 0
        out = capsys.readouterr().out
        assert "3 answers unreadable" in out
        assert out.rstrip().endswith("strict=true")

    def test_steps_and_seed_decide_what_is_asked(self, tmp_path):
        pytest.importorskip("minigrid")
        asked = []
        for seed in ("0", "1"):
            with LLMServer("- find the key") as server, allow_requests(True):
                more = ("--steps", "8", "--seed", seed)
                assert self.write(tmp_path / f"{seed}.sqlite", server.api_base, *more) == 0
                asked.append([caption_in(body) for body in server.requests])
        assert all(1 < len(captions) <= 8 for captions in asked)
        assert set(asked[0]) != set(asked[1])

    def test_an_unknown_environment_is_said_in_a_line(self, capsys):
        assert command(["write", "ellm", "--env", "NoSuch-v0", "--model", "m"]) == 2
        assert "NoSuch" in capsys.readouterr().err
