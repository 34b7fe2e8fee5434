"""LMGT: judges and potentials that ask a model, tables, audits, and the recipe."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from urllib.parse import quote

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import PlainHttp
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import SubprocVecEnv

from llm_wrappers import llm as language_models
from llm_wrappers.captions import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli import main as command
from llm_wrappers.errors import (
    AuthenticationError,
    CacheMissError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.judges import ConstantJudge, NegatedJudge, TableJudge, resolve_judge
from llm_wrappers.guidance.judges.names import resolve_potential
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM, allow_requests
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods import lmgt
from llm_wrappers.testing import LLMServer, ScriptedLLM
from llm_wrappers.wrappers import RewardShiftWrapper, vector

BLACKJACK, LAKE = "Blackjack-v1", "FrozenLake-v1"
DOWN, RIGHT = 1, 2
TOY = EnvDescription(env_id="Toy-v0", rules="Find the key.", action_names=("stay", "go"))
NEAR, FAR = "The key is near.", "The key is far."
EXAMPLES = [("You hold the key.", "stay", -1), ("You see a door.", "go", 1)]


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


def states_of(*captions):
    return States([{"place": i} for i in range(len(captions))], lambda facts: captions)


def question_of(asked):
    """Return the question of a `Request`, or of the body of an HTTP request."""
    messages = asked["messages"] if isinstance(asked, dict) else asked.messages
    return messages[-1]["content"].rpartition("State:")[2]


def scores(asked):
    """Approve of going where the key is near."""
    question = question_of(asked)
    return f"SCORE: {+1 if 'near' in question and 'Action: go' in question else -1}"


def likes_going_right(asked):
    return "SCORE: +1" if "Action: right" in question_of(asked) else "SCORE: -1"


def judge(llm=None, **options):
    return lmgt.LLMJudge(llm or ScriptedLLM(scores), TOY, **{"on_miss": "block", **options})


def potential(llm, **options):
    return lmgt.LLMPotential(llm, TOY, **{"on_miss": "block", **options})


def lake():
    return gym.make(LAKE, is_slippery=False)


def description_of(env_id):
    return resolve_captioner(gym.make(env_id)).description


class TestJudge:
    def test_each_question_is_asked_once(self):
        llm = ScriptedLLM(scores)
        asked = judge(llm)
        states = states_of(NEAR, FAR, NEAR, "The key\n is  near.")
        assert asked.judge(states, [1, 1, 0, 1]) == [1, -1, -1, 1]
        assert len(llm.requests) == 3
        # Another judge on the same client has its answers; the number of states may change.
        assert judge(llm).judge(states_of(NEAR), [1]) == [1]
        assert len(llm.requests) == 3

    def test_nobody_is_asked_while_training_by_default(self):
        llm = ScriptedLLM(scores)
        asked = lmgt.LLMJudge(llm, TOY)
        assert asked.judge(states_of(NEAR), [1]) == [None]
        assert llm.requests == []
        assert asked.prefill(states_of(NEAR, FAR), [1, 0]) == [1, -1]
        assert lmgt.LLMJudge(llm, TOY).judge(states_of(FAR, NEAR), [0, 1]) == [-1, 1]
        assert len(llm.requests) == 2

    def test_an_unreadable_answer_is_neutral_counted_and_not_paid_again(self):
        llm = ScriptedLLM(lambda request: "I cannot say." * 20)
        asked = judge(llm)
        with pytest.warns(GuidanceWarning, match="ends with a line like 'SCORE: ") as said:
            answers = [asked.judge(states_of(NEAR, FAR), [1, 1]) for _ in range(2)]
        assert answers == [[0, 0], [0, 0]]
        assert (len(said), len(llm.requests)) == (1, 2)
        assert len(str(said[0].message)) < 300
        assert asked.stats()["failures_parse"] == asked.stats()["failures"] == 2

    def test_a_key_that_is_refused_is_for_the_user(self):
        env = lmgt.wrap(gym.make(LAKE), judge(ScriptedLLM([AuthenticationError("no key")])))
        env.reset(seed=0)
        with pytest.raises(AuthenticationError, match="no key"):
            env.step(0)

    def test_captions_and_words_of_your_own(self):
        llm = ScriptedLLM(lambda request: "SCORE: 0")
        asked = judge(
            llm,
            caption=lambda facts: [f"Place {row['place']}" for row in facts],
            action_words=lambda actions: ["little" if abs(a[0]) < 1 else "much" for a in actions],
        )
        asked.judge(states_of(NEAR), [np.array([0.3])])
        assert question_of(llm.requests[0]).startswith(" Place 0\nAction: little\n")

    @pytest.mark.parametrize(
        ("action", "words"),
        [
            (1, "go"), (np.int64(0), "stay"), (2, "action 2"), (-1, "action -1"),
            (np.array(1), "go"), (np.array([0.5, -1.23456], np.float32), "0.5, -1.23"),
            (np.array([-0.0]), "0"), (np.array([3, 1]), "3, 1"), ((1, 0), "1, 0"), ("hop", "hop"),
        ],
    )  # fmt: skip
    def test_actions_in_words(self, action, words):
        llm = ScriptedLLM(lambda request: "SCORE: 0")
        judge(llm).judge(states_of(NEAR), [action])
        assert f"\nAction: {words}\n" in question_of(llm.requests[0])

    @settings(deadline=None, max_examples=20)
    @given(st.floats(-1, 1, width=32))
    def test_numbers_that_look_equal_share_an_answer(self, number):
        llm = ScriptedLLM(lambda request: "SCORE: 0")
        judge(llm).judge(states_of(NEAR, NEAR), [[number], [float(f"{number:.3g}")]])
        assert len(llm.requests) == 1

    def test_one_object_serves_the_process_and_a_copy_begins_anew_elsewhere(self):
        asked = judge()
        asked.judge(states_of(NEAR), [1])
        assert copy.deepcopy(asked) is asked
        for kind, call in ((lmgt.LLMJudge, "judge"), (lmgt.LLMPotential, "values")):
            other = pickle.loads(pickle.dumps(kind(ScriptedLLM({}), TOY, knowledge=True)))
            given = (states_of(NEAR), [1])[: 1 + (call == "judge")]
            assert getattr(other, call)(*given) == [None]

    def test_a_prompt_of_your_own(self):
        own = PromptTemplate("$env_id\n$actions\n${knowledge}$caption $action?")
        llm = ScriptedLLM(scores)
        judge(llm, prompt=own, knowledge=" Fast!\n").judge(states_of(NEAR), [1])
        expected = f"Toy-v0\n- stay\n- go\n# What is known about the task\n\nFast!\n\n{NEAR} go?"
        assert llm.requests[0].messages[0]["content"] == expected

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"prompt": "few-shot"}, r"examples=\[\(state"),
            ({"prompt": "chain of thought"}, "'chain-of-thought'"),
            ({"prompt": 3}, "PromptTemplate"),
            ({"prompt": "lmgt/none"}, "lmgt/none"),
            ({"examples": EXAMPLES}, "no blank \\$examples"),
            ({"prompt": PromptTemplate("$caption $action"), "knowledge": True}, "no blank"),
            ({"prompt": PromptTemplate("$caption")}, "blanks"),
            ({"prompt": PromptTemplate("$caption $action $goal")}, "blanks"),
            ({"prompt": "few-shot", "examples": [("a", "b")]}, "each example"),
            ({"prompt": "few-shot", "examples": [("a", 1, 1)]}, "each example"),
            ({"prompt": "few-shot", "examples": [("a", "b", 2)]}, "score of an example"),
            ({"prompt": "few-shot", "examples": [("a", "b", True)]}, "score of an example"),
            ({"knowledge": " "}, "knowledge as a text"),
            ({"knowledge": 3}, "knowledge as a text"),
            ({"on_miss": "ask"}, "on_miss"),
        ],
    )
    def test_what_cannot_work_is_said_before_anybody_is_asked(self, options, message):
        with pytest.raises((InvalidOptionError, UnknownNameError), match=message):
            judge(**options)


class TestPotential:
    def test_each_state_is_asked_about_once(self):
        llm = ScriptedLLM(lambda asked: f"SCORE: {0.5 if 'near' in question_of(asked) else -1}")
        phi = potential(llm)
        assert phi.values(states_of(NEAR, FAR, NEAR)) == [0.5, -1.0, 0.5]
        assert phi.prefill(states_of(FAR)) == [-1.0]
        assert len(llm.requests) == 2

    def test_unreadable_answers_are_zero_and_counted(self):
        phi = potential(ScriptedLLM(["SCORE: 12"]))
        with pytest.warns(GuidanceWarning, match="SCORE: 12"):
            assert phi.values(states_of(NEAR)) == [0.0]
        assert phi.stats()["failures_parse"] == 1
        with pytest.raises(InvalidOptionError, match="blanks"):
            potential(ScriptedLLM({}), prompt=PromptTemplate("How is it?"))

    def test_shaping_telescopes_and_leaves_out_what_has_no_answer(self):
        llm = ScriptedLLM(lambda asked: f"SCORE: 0.{question_of(asked).count('ice')}")
        rows = {"caption": lambda facts: [str(row["row"]) + "ice" for row in facts]}
        env = lmgt.wrap(lake(), potential(llm, **rows), mode="potential", gamma=1.0)
        env.reset(seed=0)
        total = sum(env.step(action)[4]["reward_shift"] for action in (2, 2, 1, 1, 1, 2))
        assert total == pytest.approx(-0.1)
        assert len(llm.requests) == 4
        silent = lmgt.LLMPotential(ScriptedLLM({}), TOY)
        env = lmgt.wrap(lake(), silent, mode="potential", gamma=0.99)
        env.reset(seed=0)
        assert (env.step(2)[1], env.stats()["unshaped"]) == (0.0, 1)


class TestNames:
    @pytest.mark.parametrize("kind", ["llm", "potential", "llm-vision", "llm-caption"])
    def test_options_are_those_of_client_and_judge(self, kind, tmp_path):
        cache = tmp_path / "answers.sqlite"
        with ScriptedLLM(["yes"], cache=cache) as other:
            other.ask("Is the cache there?")
        rest = f"openai/m?on_miss=block&mode=replay&temperature=0&cache={cache}&knowledge=rules"
        states = States([{"frame": "iVBORw0K"}], lambda facts: [NEAR])
        if kind == "potential":
            found = resolve_potential(f"llm:{rest}", description=TOY)
            asks = partial(found.values, states)
        else:
            examples = '&prompt=few-shot&examples=[["You hold the key.","stay",-1]]'
            found = resolve_judge(f"{kind}:{rest}{examples}", description=TOY)
            asks = partial(found.judge, states, [1])
        assert found.llm.name == f"llm:openai/m?cache={cache}&mode=replay&temperature=0"
        with pytest.raises(CacheMissError):
            asks()

    def test_a_text_as_knowledge(self):
        found = resolve_potential("llm:m?knowledge=Keys+are+yellow.", description=TOY)
        assert "Keys are yellow." in found._prompt(NEAR)

    @pytest.mark.parametrize(
        ("rest", "error", "message"),
        [
            ("m?prompt=tale", InvalidOptionError, "zero-shot"),
            ("m?prompt=role&prompt=role", InvalidOptionError, "twice"),
            ("m?prompt=few-shot", InvalidOptionError, "examples"),
            ("m?timing=every:2", InvalidOptionError, "write consult_every=N on the wrapper"),
            ("", UnknownNameError, "expected an LLM"),
        ],
    )
    def test_that_cannot_work(self, rest, error, message):
        with pytest.raises(error, match=message):
            resolve_judge(f"llm:{rest}", description=TOY)


class TestTables:
    def test_blackjack_has_all_hands_that_play_meets(self):
        env = gym.make(BLACKJACK)
        listed = {tuple(facts.values()) for facts in lmgt.enumerate_states(env).facts}
        met = set()
        for seed in range(1_500):
            observation, _ = env.reset(seed=seed if seed == 0 else None)
            over = False
            while not over:
                met.add((int(observation[0]), int(observation[1]), bool(observation[2])))
                observation, _, over, _, _ = env.step(1)
        assert met <= listed
        assert (len(met) > 200, len(listed)) == (True, 280)

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
        cart, always = gym.make("CartPole-v1"), ConstantJudge(1)
        with pytest.raises(IncompatibleEnvironmentError, match="Blackjack-v1, or Discrete"):
            lmgt.enumerate_states(cart)
        with pytest.raises(IncompatibleEnvironmentError, match="actions="):
            lmgt.annotate("none", gym.make("Pendulum-v1"), states=States([{"x": 1}], list))
        with pytest.raises(InvalidOptionError, match="tell them apart"):
            lmgt.annotate(always, cart, states=States([{"x": 0.5}], list))
        with pytest.raises(InvalidOptionError, match="at least one"):
            lmgt.annotate(always, cart, states=States([], list))

    def test_unreadable_answers_are_neutral(self):
        env = gym.make(LAKE)
        asked = lmgt.LLMJudge(ScriptedLLM(lambda request: "?"), description_of(LAKE))
        with pytest.warns(GuidanceWarning, match="got '\\?'"):
            table = lmgt.annotate(asked, env)
        assert table.judge(*lmgt.questions_about(env)) == [0] * 44
        assert asked.stats()["failures_parse"] == 44

    def test_some_states_and_actions_and_a_judge_that_does_not_know_all(self):
        env = gym.make(LAKE)
        some = States(lmgt.enumerate_states(env).facts[:3], resolve_captioner(env).state_captions)
        judges = lambda states, actions: [1 if action == 2 else None for action in actions]  # noqa: E731
        table = lmgt.annotate(judges, env, states=some, actions=[1, 2])
        assert len(table) == 3
        assert table.judge(some, [2, 2, 1]) == [1, 1, None]


class TestAudit:
    questions = lmgt.questions_about(gym.make(BLACKJACK))
    oracle = resolve_judge("oracle", description=description_of(BLACKJACK))

    def test_against_the_oracle(self):
        same = lmgt.audit_judge(self.oracle, *self.questions, oracle=self.oracle)
        assert (same.oracle.compared, same.oracle.agreement, same.oracle.kappa) == (560, 1.0, 1.0)
        assert same.shares["good"] == same.shares["bad"] == 0.5
        wrong = lmgt.audit_judge(NegatedJudge(self.oracle), *self.questions, oracle=self.oracle)
        found = wrong.oracle
        assert (found.agreement, found.opposed, found.kappa) == (0.0, 1.0, -1.0)
        reference = resolve_judge("reference", description=description_of(BLACKJACK))
        found = lmgt.audit_judge(reference, *self.questions, oracle=self.oracle).oracle
        assert 0.8 < found.agreement < 1.0
        assert found.kappa == pytest.approx(2 * found.agreement - 1)

    def test_labels_and_missing_judgements(self):
        states = States([{"x": i} for i in range(4)], lambda facts: [""] * 4)
        table = TableJudge([({"x": 0}, 0, 1), ({"x": 1}, 0, 1), ({"x": 2}, 0, 0)], reads=["x"])
        found = lmgt.audit_judge(table, states, [0] * 4, labels=[1, -1, None, 1])
        assert found.shares == {"good": 0.5, "neutral": 0.25, "bad": 0.0, "none": 0.25}
        labels = found.labels
        assert (labels.compared, labels.agreement, labels.opposed) == (2, 0.5, 0.5)
        nothing = lmgt.audit_judge(table, states, [0] * 4, labels=[None] * 4)
        assert "nothing to compare" in str(nothing)

    def test_a_model_in_other_words(self):
        def answer(request):
            text = request.messages[-1]["content"]
            if "Action: hit" in text and "You are a coach" in text:
                return "SCORE: -1"
            return "No idea" if "step by step" in text else "SCORE: 1"

        asked = lmgt.LLMJudge(ScriptedLLM(answer), description_of(BLACKJACK))
        others = {kind: asked.rephrased(kind) for kind in ("baseline", "role", "chain-of-thought")}
        with pytest.warns(GuidanceWarning, match="No idea"):
            found = lmgt.audit_judge(asked, *self.questions, rephrasings=others)
        agreements = {name: other.agreement for name, other in found.rephrasings.items()}
        assert agreements == {"baseline": 1.0, "role": 0.5, "chain-of-thought": 0.0}
        assert found.rephrasings["baseline"].kappa is None
        with pytest.warns(GuidanceWarning, match="No idea"):
            mute = lmgt.audit_judge(asked.rephrased("chain-of-thought"), *self.questions)
        assert (mute.unreadable, mute.consistency) == (560, None)
        two = lmgt.audit_judge(asked, *self.questions, rephrasings={"role": others["role"]})
        assert two.consistency == 0.5
        report = json.loads(json.dumps(two.as_dict()))
        assert report["rephrasings"]["role"]["agreement"] == 0.5
        assert "same in all words" in str(two)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"actions": [0]}, "action for each of the 2"),
            ({"labels": [1]}, "expected 2 labels, got 1"),
            ({"labels": [1, 3]}, "got 3"),
            ({"judge": lambda states, actions: [1]}, "expected 2 answers, got 1"),
            ({"judge": 3}, "expected a judge"),
        ],
    )
    def test_what_does_not_fit_is_said(self, options, message):
        states = States([{}, {}], lambda facts: ["", ""])
        given = {"judge": ConstantJudge(1), "states": states, "actions": [0, 1], **options}
        with pytest.raises(InvalidOptionError, match=message):
            lmgt.audit_judge(**given)


class TestWrap:
    def test_the_reference_judges_by_default(self):
        env = lmgt.wrap(gym.make("CartPole-v1"))
        judgements = set()
        for action in (0, 1):
            env.reset(seed=0)
            judgements.add(env.step(action)[4]["judgement"])
        assert judgements == {-1, 1}
        shaped = lmgt.wrap(lake(), mode="potential", gamma=0.99)
        shaped.reset(seed=0)
        assert shaped.step(RIGHT)[4]["reward_shift"] != 0.0

    def test_single_and_vector_have_twins(self):
        lakes = SyncVectorEnv([lake] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
        single, many = lmgt.wrap(lake(), "constant:1"), lmgt.wrap(lakes, "constant:1")
        assert (type(single), type(many)) == (RewardShiftWrapper, vector.RewardShiftWrapper)
        many.reset(seed=0)
        assert many.step(np.array([RIGHT, DOWN]))[1].tolist() == [1.0, 1.0]

    def test_options_reach_the_wrapper(self):
        def shifts(**options):
            env = lmgt.wrap(lake(), **{"judge": "constant:1", **options})
            env.reset(seed=0)
            return [env.step(action)[4]["reward_shift"] for action in (RIGHT, 0)]

        for options, expected in (
            ({}, [1.0, 1.0]),
            ({"scale": 0.5}, [0.5, 0.5]),
            ({"schedule": 0.25}, [0.25, 0.25]),
            ({"only": "negative"}, [0.0, 0.0]),
            ({"center": True}, [1.0, 0.0]),
            ({"consult_every": 2}, [1.0, 0.0]),
            ({"consult_probability": 0.0}, [0.0, 0.0]),
            ({"training": False}, [0.0, 0.0]),
        ):
            assert shifts(**options) == expected, options
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
            assert (stats["good"] + stats["bad"], stats["judge"]["asked"]) == (100, len(asked))
            tested = lmgt.wrap(lake(), name, training=False)
            tested.reset(seed=0)
            assert [tested.step(action)[1] for action in (RIGHT, RIGHT, DOWN)] == [0.0] * 3
            # In training the same steps, which were judged or are asked about, have shifts.
            for again in (env, lmgt.wrap(lake(), f"{name}&mode=replay")):
                again.reset(seed=0)
                assert again.step(RIGHT)[1] == 1.0
                # Nothing is asked again.
                assert server.count == len(set(map(question_of, server.requests)))

    @pytest.mark.slow
    def test_workers_ask_each_question_once_between_them(self, tmp_path):
        with LLMServer(likes_going_right, latency=0.01) as server:
            transport = PlainHttp(server.api_base)
            llm = LLM("openai/test", transport=transport, cache=tmp_path / "answers.sqlite")
            asking = lmgt.LLMJudge(llm, resolve_captioner(lake()).description, on_miss="block")
            envs = SubprocVecEnv([lambda: lmgt.wrap(lake(), asking)] * 3, start_method="fork")
            try:
                envs.seed(0)
                envs.reset()
                generator = np.random.default_rng(0)
                for _ in range(40):
                    actions = generator.integers(4, size=3)
                    infos = envs.step(actions)[3]
                    shifts = [info["reward_shift"] for info in infos]
                    assert shifts == np.where(actions == RIGHT, 1.0, -1.0).tolist()
                stats = envs.env_method("stats")
            finally:
                envs.close()
            asked = [question_of(body) for body in server.requests]
        assert len(asked) == len(set(asked)) > 10
        assert all(found["unjudged"] == 0 for found in stats)


INTERRUPTED = """
import sys, gymnasium as gym
from ellm_doubles import PlainHttp
from llm_wrappers.llm import LLM
from llm_wrappers.methods import lmgt
llm = LLM("openai/test", transport=PlainHttp(sys.argv[1]), cache=sys.argv[2], concurrency=2)
lmgt.annotate(llm, gym.make("FrozenLake-v1"))
"""


@pytest.mark.slow
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
        assert 10 <= server.count < 44
        server.latency = 0.0
        transport = PlainHttp(server.api_base)
        with LLM("openai/test", transport=transport, cache=tmp_path / "answers.sqlite") as llm:
            lmgt.annotate(llm, gym.make(LAKE))
        # At most the two requests that were under way are paid again.
        assert 44 <= server.count <= 46


class TestCommand:
    def write(self, server, folder, *more):
        arguments = ["--model", "openai/test", "--api-base", server.api_base]
        files = ["--out", str(folder / "table.json"), "--cache", str(folder / "answers.sqlite")]
        return command(["write", "lmgt", *arguments, *files, *more])

    def test_writes_a_table_that_trains_and_pays_once(self, tmp_path, capsys):
        with LLMServer("SCORE: +1") as server:
            more = ("--env", LAKE, "--prompt", "role", "--rules", "--audit-against", "oracle")
            assert self.write(server, tmp_path, *more, "--calls", "3") == 1
            assert "BudgetExceededError" in capsys.readouterr().err
            assert not (tmp_path / "table.json").exists()
            for _ in range(2):
                assert self.write(server, tmp_path, *more) == 0
                assert server.count == 44
            asked = server.requests[0]["messages"][-1]["content"]
        assert "You are a coach" in asked
        assert "slippery" in asked
        out = capsys.readouterr().out
        for said in ("good 100.0%", "against the oracle", "0 answers could not be read"):
            assert said in out
        name = out.splitlines()[-1].strip()
        assert name == f"file:{tmp_path / 'table.json'}"
        env = lmgt.wrap(gym.make(LAKE), name)
        env.reset(seed=0)
        assert env.step(0)[4]["judgement"] == 1

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
            assert self.write(server, tmp_path, "--env", "CartPole-v1") == 2
            assert server.count == 44
        assert "Discrete" in capsys.readouterr().err


def test_the_programs_of_the_page_run(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "lmgt.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with LLMServer("SCORE: +1") as server:
        transport = PlainHttp(server.api_base)
        monkeypatch.setattr(
            language_models, "LLM", lambda model, **more: LLM(model, transport=transport, **more)
        )
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
