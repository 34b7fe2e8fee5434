"""Judging a small problem beforehand: over real HTTP, in full, once; and how good a judge is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import PlainHttp
from gymnasium import spaces
from stable_baselines3 import DQN

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli import main as command
from llm_wrappers.errors import (
    BudgetExceededError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.judges import ConstantJudge
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM, Budget, allow_requests
from llm_wrappers.methods import lmgt
from llm_wrappers.testing import LLMServer, ScriptedLLM

BLACKJACK, LAKE = "Blackjack-v1", "FrozenLake-v1"
HANDS = 10_000


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


def question_of(body):
    return body["messages"][-1]["content"].rpartition("State:")[2]


def cautious(body):
    """Answer as a player who never hits 12 or more."""
    question = question_of(body)
    total = int(question.partition("sum to ")[2].split()[0])
    return f"SCORE: {'+1' if ('Action: hit' in question) == (total < 12) else '-1'}"


def client(server, cache, **options):
    transport = PlainHttp(server.api_base)
    return LLM("openai/test", transport=transport, cache=cache, concurrency=8, **options)


class TestStates:
    def test_blackjack_has_all_hands_that_play_meets(self):
        env = gym.make(BLACKJACK)
        listed = {tuple(facts.values()) for facts in lmgt.enumerate_states(env).facts}
        assert len(listed) == 280
        met = set()
        for seed in range(3_000):
            observation, _ = env.reset(seed=seed if seed == 0 else None)
            over = False
            while not over:
                met.add((int(observation[0]), int(observation[1]), bool(observation[2])))
                observation, _, over, _, _ = env.step(1)
        assert met <= listed
        assert len(met) > 250

    @pytest.mark.parametrize(
        ("env_id", "number"), [(LAKE, 11), ("FrozenLake8x8-v1", 53), ("CliffWalking-v1", 37)]
    )
    def test_a_transition_model_says_where_one_can_be(self, env_id, number):
        states = lmgt.enumerate_states(gym.make(env_id))
        assert len(states) == len(set(states.captions)) == number

    def test_other_discrete_observations_are_all_listed(self):
        class Counting(gym.Env):
            observation_space = spaces.Discrete(5, start=2)
            action_space = spaces.Discrete(2, start=1)

        states, actions = lmgt.questions_about(Counting())
        assert [facts["obs"] for facts in states.facts[::2]] == [2, 3, 4, 5, 6]
        assert actions == [1, 2] * 5

    def test_what_cannot_be_listed_is_refused(self):
        with pytest.raises(IncompatibleEnvironmentError, match="Blackjack-v1, or Discrete"):
            lmgt.enumerate_states(gym.make("CartPole-v1"))
        with pytest.raises(IncompatibleEnvironmentError, match="actions="):
            lmgt.annotate("none", gym.make("Pendulum-v1"), states=States([{"x": 1}], list))
        with pytest.raises(InvalidOptionError, match="tell them apart"):
            lmgt.annotate(
                ConstantJudge(1), gym.make("CartPole-v1"), states=States([{"x": 0.5}], list)
            )
        with pytest.raises(InvalidOptionError, match="at least one"):
            lmgt.annotate(ConstantJudge(1), gym.make("CartPole-v1"), states=States([], list))


class TestAnnotate:
    def test_blackjack_costs_560_requests_once(self, tmp_path):
        env, table = gym.make(BLACKJACK), tmp_path / "table.json"
        with LLMServer(cautious) as server:
            with client(server, tmp_path / "answers.sqlite") as llm:
                lmgt.annotate(llm, env).save(table)
                assert server.count == 560
                assert len({question_of(body) for body in server.requests}) == 560
            with client(server, tmp_path / "answers.sqlite") as llm:
                again = lmgt.annotate(llm, env)
            assert server.count == 560
            played = lmgt.wrap(env, f"file:{table}")
            rng = np.random.default_rng(0)
            for hand in range(HANDS):
                (total, _, _), _ = played.reset(seed=0 if hand == 0 else None)
                over = False
                while not over:
                    action = int(rng.integers(2))
                    expected = 1 if action == (total < 12) else -1
                    (total, _, _), _, over, _, info = played.step(action)
                    assert info["judgement"] == expected
            assert server.count == 560
        assert len(again) == 560
        stats = played.stats()
        assert stats["unjudged"] == stats["judge_failures"] == 0

    def test_a_spent_budget_pays_for_nothing_twice(self, tmp_path):
        env, cache = gym.make(LAKE), tmp_path / "answers.sqlite"
        with LLMServer("SCORE: 0") as server:
            llm = client(server, cache, budget=Budget(calls=10, name="small"))
            with llm, pytest.raises(BudgetExceededError):
                lmgt.annotate(llm, env)
            assert server.count == 10
            with client(server, cache) as llm:
                assert len(lmgt.annotate(llm, env)) == 44
            assert server.count == 44

    def test_unreadable_answers_are_neutral(self):
        llm = ScriptedLLM(lambda request: "I cannot say.")
        env = gym.make(LAKE)
        judge = lmgt.LLMJudge(llm, resolve_captioner(env).description)
        with pytest.warns(GuidanceWarning, match="cannot say"):
            table = lmgt.annotate(judge, env)
        states, actions = lmgt.questions_about(env)
        assert table.judge(states, actions) == [0] * 44
        assert judge.stats()["failures_parse"] == 44

    def test_some_states_and_actions_and_a_judge_that_does_not_know_all(self):
        env = gym.make(LAKE)
        some = lmgt.enumerate_states(env)
        some = States(some.facts[:3], resolve_captioner(env).state_captions)
        judge = lambda states, actions: [1 if action == 2 else None for action in actions]  # noqa: E731
        table = lmgt.annotate(judge, env, states=some, actions=[1, 2])
        assert len(table) == 3
        assert table.judge(some, [2, 2, 1]) == [1, 1, None]


INTERRUPTED = """
import sys, gymnasium as gym
from ellm_doubles import PlainHttp
from llm_wrappers.llm import LLM
from llm_wrappers.methods import lmgt
llm = LLM("openai/test", transport=PlainHttp(sys.argv[1]), cache=sys.argv[2], concurrency=2)
lmgt.annotate(llm, gym.make("FrozenLake-v1"))
"""


def test_ctrl_c_keeps_what_was_answered(tmp_path):
    with LLMServer("SCORE: 0", latency=0.05) as server:
        arguments = [server.api_base, str(tmp_path / "answers.sqlite")]
        doubles = {"PYTHONPATH": str(Path(__file__).parent), "LLM_WRAPPERS_ALLOW_REQUESTS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, *arguments],
            env={**os.environ, **doubles}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while server.count < 10 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert "KeyboardInterrupt" in said
        before = server.count
        assert 10 <= before < 44
        server.latency = 0.0
        with client(server, tmp_path / "answers.sqlite") as llm:
            lmgt.annotate(llm, gym.make(LAKE))
        # At most the two requests that were under way are paid again.
        assert 44 <= server.count <= 46


class TestCommand:
    def write(self, server, folder, *more):
        arguments = ["--model", "openai/test", "--api-base", server.api_base]
        files = ["--out", str(folder / "table.json"), "--cache", str(folder / "answers.sqlite")]
        return command(["write", "lmgt", *arguments, *files, *more])

    def test_writes_a_table_that_trains(self, tmp_path, capsys):
        with LLMServer("SCORE: +1") as server:
            more = ("--env", LAKE, "--prompt", "role", "--rules", "--audit-against", "oracle")
            assert self.write(server, tmp_path, *more) == 0
            assert self.write(server, tmp_path, *more) == 0
            assert server.count == 44
            asked = server.requests[0]["messages"][-1]["content"]
        assert "You are a coach" in asked
        assert "slippery" in asked
        out = capsys.readouterr().out
        assert "good 100.0%" in out
        assert "against the oracle" in out
        assert "0 answers could not be read" in out
        name = out.splitlines()[-1].strip()
        assert name == f"file:{tmp_path / 'table.json'}"
        env = lmgt.wrap(gym.make(LAKE), name)
        DQN("MlpPolicy", env, learning_starts=20, buffer_size=500, seed=0).learn(100)
        assert env.stats()["good"] == 100

    def test_examples_come_from_a_file(self, tmp_path, capsys):
        examples = tmp_path / "examples.json"
        more = ("--env", LAKE, "--prompt", "few-shot", "--examples", str(examples))
        with LLMServer("SCORE: 0") as server:
            assert self.write(server, tmp_path, *more) == 2
            assert "cannot read the examples" in capsys.readouterr().err
            examples.write_text('{"a": 1}')
            assert self.write(server, tmp_path, *more) == 2
            assert "JSON list" in capsys.readouterr().err
            examples.write_text(json.dumps([["You stand on the goal.", "up", -1]]))
            assert self.write(server, tmp_path, *more) == 0
            assert "You stand on the goal." in server.requests[0]["messages"][-1]["content"]

    def test_a_spent_budget_leaves_no_table(self, tmp_path, capsys):
        with LLMServer("SCORE: 0") as server:
            assert self.write(server, tmp_path, "--env", LAKE, "--calls", "3") == 1
            assert "BudgetExceededError" in capsys.readouterr().err
        assert not (tmp_path / "table.json").exists()

    def test_an_environment_that_cannot_be_listed(self, tmp_path, capsys):
        with LLMServer("SCORE: 0") as server:
            assert self.write(server, tmp_path, "--env", "CartPole-v1") == 2
            assert server.count == 0
        assert "Discrete" in capsys.readouterr().err
