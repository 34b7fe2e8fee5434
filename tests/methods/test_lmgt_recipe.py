"""LMGT's recipe: one call for single and vector environments, with judges by name or as objects."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from urllib.parse import quote

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import PlainHttp
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.vec_env import SubprocVecEnv

from llm_wrappers import llm as language_models
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.llm import LLM, allow_requests
from llm_wrappers.methods import lmgt
from llm_wrappers.testing import LLMServer
from llm_wrappers.wrappers import RewardShiftWrapper, vector

LAKE = "FrozenLake-v1"
DOWN, RIGHT = 1, 2
WORKERS = 3


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


def lake():
    return gym.make(LAKE, is_slippery=False)


def lakes(n):
    return SyncVectorEnv([lake] * n, autoreset_mode=AutoresetMode.SAME_STEP)


def question_of(body):
    return body["messages"][-1]["content"].rpartition("State:")[2]


def likes_going_right(body):
    return "SCORE: +1" if "Action: right" in question_of(body) else "SCORE: -1"


def scripted_by(server):
    """Return what makes clients of a server over plain HTTP."""
    transport = PlainHttp(server.api_base)
    return lambda model, **options: LLM(model, transport=transport, **options)


class TestWrap:
    def test_the_reference_judges_by_default(self):
        env = lmgt.wrap(gym.make("CartPole-v1"))
        judgements = set()
        for action in (0, 1):
            env.reset(seed=0)
            judgements.add(env.step(action)[4]["judgement"])
        assert judgements == {-1, 1}
        potential = lmgt.wrap(lake(), mode="potential", gamma=0.99)
        potential.reset(seed=0)
        assert potential.step(RIGHT)[4]["reward_shift"] != 0.0

    def test_single_and_vector_have_twins(self):
        single, many = lmgt.wrap(lake(), "constant:1"), lmgt.wrap(lakes(2), "constant:1")
        assert type(single) is RewardShiftWrapper
        assert type(many) is vector.RewardShiftWrapper
        many.reset(seed=0)
        assert many.step(np.array([RIGHT, DOWN]))[1].tolist() == [1.0, 1.0]

    def test_options_reach_the_wrapper(self):
        def shifts(**options):
            env = lmgt.wrap(lake(), **{"judge": "constant:1", **options})
            env.reset(seed=0)
            return [env.step(action)[4]["reward_shift"] for action in (RIGHT, 0)]

        assert shifts() == [1.0, 1.0]
        assert shifts(scale=0.5) == [0.5, 0.5]
        assert shifts(schedule=0.25) == [0.25, 0.25]
        assert shifts(only="negative") == [0.0, 0.0]
        assert shifts(center=True) == [1.0, 0.0]
        assert shifts(consult_every=2) == [1.0, 0.0]
        assert shifts(consult_probability=0.0) == [0.0, 0.0]
        assert shifts(training=False) == [0.0, 0.0]
        audited = lmgt.wrap(lake(), "anti-oracle", audit_against="oracle")
        audited.reset(seed=0)
        audited.step(RIGHT)
        assert audited.audit()["compared"] == 1

    def test_no_judge_and_no_reference(self):
        with pytest.raises(UnknownNameError, match="CliffWalking"):
            lmgt.wrap(gym.make("CliffWalking-v1"))
        with pytest.raises(InvalidOptionError, match="mode"):
            lmgt.wrap(lake(), mode="shaping")


class TestOverHttp:
    def test_a_model_by_name_is_asked_once_per_question_and_never_in_evaluation(self, tmp_path):
        with LLMServer(likes_going_right) as server:
            name = (
                f"llm:openai/test?api_base={quote(server.api_base, safe='')}&on_miss=block"
                f"&cache={tmp_path / 'answers.sqlite'}&prompt=chain-of-thought&knowledge=rules"
            )
            env = lmgt.wrap(lake(), name)
            A2C("MlpPolicy", env, seed=0, device="cpu").learn(100)
            asked = [question_of(body) for body in server.requests]
            assert len(asked) == len(set(asked)) <= 44
            stats = env.stats()
            assert stats["good"] + stats["bad"] == 100
            assert stats["judge"]["asked"] == len(asked)
            tested = lmgt.wrap(lake(), name, training=False)
            tested.reset(seed=0)
            assert [tested.step(action)[1] for action in (RIGHT, RIGHT, DOWN)] == [0.0] * 3
            # In training the same steps, which were judged or are asked about, have shifts.
            env.reset(seed=0)
            assert env.step(RIGHT)[1] == 1.0
            before = server.count
            again = lmgt.wrap(lake(), f"{name}&mode=replay")
            again.reset(seed=0)
            assert again.step(RIGHT)[1] == 1.0
            assert server.count == before

    def test_the_example_takes_a_model(self, tmp_path, monkeypatch, capsys):
        example = Path(__file__).parents[2] / "examples" / "lmgt_cartpole.py"
        monkeypatch.chdir(tmp_path)
        with LLMServer("SCORE: +1") as server:
            name = f"llm:openai/test?api_base={quote(server.api_base, safe='')}&on_miss=block"
            options = ["--judge", name, "--steps", "40", "--seeds", "1", "--episodes", "1"]
            monkeypatch.setattr(sys, "argv", [str(example), *options])
            runpy.run_path(str(example), run_name="__main__")
            assert 20 < server.count <= 40
        out = capsys.readouterr().out
        assert "'good': 40" in out
        assert "(language model)" in out

    def test_a_vector_asks_about_equal_states_once(self):
        with LLMServer(likes_going_right) as server:
            llm = LLM("openai/test", transport=PlainHttp(server.api_base), cache=None)
            envs = lakes(3)
            judge = lmgt.LLMJudge(llm, resolve_captioner(envs).description, on_miss="block")
            played = lmgt.wrap(envs, judge)
            played.reset(seed=0)
            assert played.step(np.array([RIGHT, RIGHT, DOWN]))[1].tolist() == [1.0, 1.0, -1.0]
            assert server.count == 2

    def test_workers_ask_each_question_once_between_them(self, tmp_path):
        with LLMServer(likes_going_right, latency=0.01) as server:
            llm = LLM(
                "openai/test", transport=PlainHttp(server.api_base),
                cache=tmp_path / "answers.sqlite",
            )  # fmt: skip
            judge = lmgt.LLMJudge(llm, resolve_captioner(lake()).description, on_miss="block")
            envs = SubprocVecEnv([lambda: lmgt.wrap(lake(), judge)] * WORKERS, start_method="fork")
            try:
                envs.seed(0)
                envs.reset()
                generator = np.random.default_rng(0)
                for _ in range(40):
                    actions = generator.integers(4, size=WORKERS)
                    expected = np.where(actions == RIGHT, 1.0, -1.0)
                    _, rewards, _, infos = envs.step(actions)
                    for reward, info, shift in zip(rewards, infos, expected, strict=True):
                        assert info["reward_shift"] == shift
                        assert reward in (shift, shift + 1.0)
                stats = envs.env_method("stats")
            finally:
                envs.close()
            asked = [question_of(body) for body in server.requests]
        assert len(asked) == len(set(asked)) > 10
        assert all(found["unjudged"] == 0 for found in stats)


def test_a_judge_of_nothing_changes_nothing():
    def trained(env):
        model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=2, seed=0, device="cpu")
        return model.learn(128).policy.state_dict()

    with LLMServer("SCORE: 0") as server:
        llm = LLM("openai/test", transport=PlainHttp(server.api_base), cache=None)
        env = gym.make("CartPole-v1")
        judge = lmgt.LLMJudge(llm, resolve_captioner(env).description, on_miss="block")
        guided = trained(lmgt.wrap(env, judge))
        assert server.count > 50
    plain = trained(gym.make("CartPole-v1"))
    for name, weights in plain.items():
        np.testing.assert_array_equal(guided[name].numpy(), weights.numpy())


def test_the_programs_of_the_page_run(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "lmgt.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with LLMServer("SCORE: +1") as server:
        monkeypatch.setattr(language_models, "LLM", scripted_by(server))
        names = {}
        for program in programs:
            exec(program.replace("100_000", "200"), names)
        assert server.count == 560
        state = {"pole_lean": "left", "pole_angle_deg": -2.7, "pole_velocity_deg_per_s": 1}
        (caption,) = names["lean"]([state])
        assert caption == "The pole leans left by about 2 degrees and is falling right."
        shifted = lmgt.wrap(names["env"], names["judge"])
        shifted.reset(seed=0)
        assert shifted.step(0)[4]["judgement"] == 1
        assert "The pole leans" in question_of(server.requests[-1])
    printed = capsys.readouterr().out
    shown = re.findall(r"^# ((?:asked about|answers|against the oracle) .*)$", page, re.MULTILINE)
    assert len(shown) == 3
    assert all(line in printed for line in shown)
