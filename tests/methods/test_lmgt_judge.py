"""LMGT's judge and potential: what the model is asked, and what becomes of its answers."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import (
    AuthenticationError,
    GuidanceWarning,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import Budget
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods import lmgt
from llm_wrappers.methods.lmgt._prompts import PROMPTS
from llm_wrappers.testing import ScriptedLLM

TOY = EnvDescription(env_id="Toy-v0", rules="Find the key.", action_names=("stay", "go"))
NEAR, FAR = "The key is near.", "The key is far."
EXAMPLES = [
    ("You hold the key.", "stay", -1),
    ("You see a door.", "go", 1),
    ("It is dark.", "go", 0),
]


def states_of(*captions):
    return States([{"place": i} for i in range(len(captions))], lambda facts: captions)


def scores(request):
    """Approve of going where the key is near."""
    question = request.messages[-1]["content"].rpartition("State:")[2]
    return f"SCORE: {+1 if 'near' in question and 'Action: go' in question else -1}"


def judge(llm=None, **options):
    return lmgt.LLMJudge(llm or ScriptedLLM(scores), TOY, **{"on_miss": "block", **options})


def prompt_of(**options):
    """Return what a model is asked about going where the key is near."""
    llm = ScriptedLLM(scores)
    judge(llm, **options).judge(states_of(NEAR), [1])
    (request,) = llm.requests
    (message,) = request.messages
    return message["content"]


def options_of(kind):
    return {"prompt": kind, "examples": EXAMPLES if kind == "few-shot" else ()}


class TestPrompts:
    @pytest.mark.parametrize("kind", PROMPTS)
    @pytest.mark.parametrize("knowledge", [None, True, "Keys are yellow."], ids=str)
    def test_each_kind_shows_state_action_form_and_knowledge(self, kind, knowledge):
        text = prompt_of(**options_of(kind), knowledge=knowledge)
        assert f"State: {NEAR}\nAction: go\n" in text
        assert "SCORE: <" in text
        assert ("Find the key." in text) == (knowledge is True)
        assert ("Keys are yellow." in text) == (knowledge == "Keys are yellow.")
        assert "$" not in text
        # Whether the model is told the task is for `knowledge` to say alone.
        assert "Toy-v0" not in text

    def test_no_two_kinds_are_alike(self):
        assert len({prompt_of(**options_of(kind)) for kind in PROMPTS}) == len(PROMPTS)

    def test_what_makes_each_kind(self):
        assert "step by step" in prompt_of(prompt="chain-of-thought")
        assert "You are a coach" in prompt_of(prompt="role")
        assert "You" not in prompt_of(prompt="baseline")
        shown = prompt_of(**options_of("few-shot"))
        assert (
            "State: You hold the key.\nAction: stay\nSCORE: -1\n\nState: You see a door." in shown
        )
        assert "It is dark.\nAction: go\nSCORE: 0" in shown

    def test_a_prompt_of_your_own(self):
        own = PromptTemplate("$env_id\n$actions\n${knowledge}$caption $action?")
        expected = f"Toy-v0\n- stay\n- go\n# What is known about the task\n\nFast!\n\n{NEAR} go?"
        assert prompt_of(prompt=own, knowledge=" Fast!\n") == expected

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"prompt": "few-shot"}, r"examples=\[\(state"),
            ({"prompt": "chain of thought"}, "'chain-of-thought'"),
            ({"prompt": 3}, "PromptTemplate"),
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
        with pytest.raises(InvalidOptionError, match=message):
            judge(**options)

    def test_unknown_names(self):
        with pytest.raises(UnknownNameError, match="lmgt/none"):
            judge(prompt="lmgt/none")


class TestJudge:
    def test_each_question_is_asked_once(self):
        llm = ScriptedLLM(scores)
        asked = judge(llm)
        states = states_of(NEAR, FAR, NEAR, "The key\n is  near.")
        assert asked.judge(states, [1, 1, 0, 1]) == [1, -1, -1, 1]
        assert asked.judge(states, [1, 1, 0, 1]) == [1, -1, -1, 1]
        assert len(llm.requests) == 3
        # Another judge on the same client has its answers.
        assert judge(llm).judge(states, [1, 1, 0, 1]) == [1, -1, -1, 1]
        assert len(llm.requests) == 3

    @pytest.mark.parametrize("kind", PROMPTS[2:])
    def test_another_prompt_is_another_question(self, kind):
        llm = ScriptedLLM(scores)
        judge(llm).judge(states_of(NEAR), [1])
        judge(llm, **options_of(kind)).judge(states_of(NEAR), [1])
        judge(llm).rephrased(**options_of(kind)).judge(states_of(NEAR), [1])
        judge(llm, knowledge=True).judge(states_of(NEAR), [1])
        assert len(llm.requests) == 3

    def test_another_model_is_another_question(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        models = [ScriptedLLM(scores, model=name, cache=cache) for name in ("a", "b", "a")]
        for llm in models:
            judge(llm).judge(states_of(NEAR), [1])
            llm.close()
        assert [len(llm.requests) for llm in models] == [1, 1, 0]

    def test_a_spent_budget_leaves_states_unjudged(self):
        llm = ScriptedLLM(scores, budget=Budget(calls=1))
        asked = judge(llm)
        assert asked.judge(states_of(NEAR), [1]) == [1]
        with pytest.warns(GuidanceWarning, match="budget"):
            assert asked.judge(states_of(FAR), [1]) == [None]
        assert asked.judge(states_of(NEAR), [1]) == [1]
        assert len(llm.requests) == 1

    def test_a_key_that_is_refused_is_for_the_user(self):
        llm = ScriptedLLM([AuthenticationError("no key")])
        env = lmgt.wrap(gym.make("FrozenLake-v1"), judge(llm))
        env.reset(seed=0)
        with pytest.raises(AuthenticationError, match="no key"):
            env.step(0)

    @pytest.mark.parametrize("answer", ["maybe", "", "SCORE: 7"])
    def test_an_unreadable_answer_is_neutral_counted_and_not_paid_again(self, answer):
        llm = ScriptedLLM(lambda request: answer)
        asked = judge(llm)
        with pytest.warns(GuidanceWarning, match="'SCORE: ") as said:
            answers = [asked.judge(states_of(NEAR, FAR), [1, 1]) for _ in range(2)]
        assert answers == [[0, 0], [0, 0]]
        assert len(said) == 1
        assert len(llm.requests) == 2
        assert asked.stats()["failures_parse"] == asked.stats()["failures"] == 2

    def test_a_provider_that_fails_leaves_no_judgement(self):
        llm = ScriptedLLM([TimeoutError("slow"), "SCORE: 1"])
        asked = judge(llm, retry_failed_after=0.0)
        with pytest.warns(GuidanceWarning, match="TimeoutError"):
            assert asked.judge(states_of(NEAR), [1]) == [None]
        assert asked.judge(states_of(NEAR), [1]) == [1]
        assert asked.stats()["failures"] == 1

    def test_nobody_is_asked_while_training_by_default(self):
        llm = ScriptedLLM(scores)
        asked = lmgt.LLMJudge(llm, TOY)
        assert asked.judge(states_of(NEAR), [1]) == [None]
        assert llm.requests == []
        assert asked.prefill(states_of(NEAR, FAR), [1, 0]) == [1, -1]
        assert lmgt.LLMJudge(llm, TOY).judge(states_of(FAR, NEAR), [0, 1]) == [-1, 1]
        assert len(llm.requests) == 2

    def test_captions_and_words_of_your_own(self):
        llm = ScriptedLLM(lambda request: "SCORE: 0")
        asked = judge(
            llm,
            caption=lambda facts: [f"Place {row['place']}" for row in facts],
            action_words=lambda actions: [
                "a little" if abs(a[0]) < 1 else "a lot" for a in actions
            ],
        )
        asked.judge(states_of(NEAR), [np.array([0.3])])
        assert "State: Place 0\nAction: a little" in llm.requests[0].messages[0]["content"]

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
        assert f"\nAction: {words}\n" in llm.requests[0].messages[0]["content"]

    @given(st.floats(-1, 1, width=32))
    def test_numbers_that_look_equal_share_an_answer(self, number):
        llm = ScriptedLLM(lambda request: "SCORE: 0")
        judge(llm, prompt="baseline").judge(
            states_of(NEAR, NEAR), [[number], [float(f"{number:.3g}")]]
        )
        assert len(llm.requests) == 1

    def test_one_object_serves_the_process_and_a_copy_begins_anew_elsewhere(self):
        asked = judge(caption=None)
        asked.judge(states_of(NEAR), [1])
        assert copy.deepcopy(asked) is asked
        other = pickle.loads(pickle.dumps(lmgt.LLMJudge(ScriptedLLM({}), TOY, knowledge=True)))
        assert other.judge(states_of(NEAR), [1]) == [None]

    def test_the_wrapper_gives_it_the_state_before_the_step(self):
        llm = ScriptedLLM(lambda request: "SCORE: -1")
        env = gym.make("FrozenLake-v1", is_slippery=False)
        description = lmgt.enumerate_states(env)
        assert len(description) == 11
        asked = lmgt.LLMJudge(llm, TOY, on_miss="block")
        env = lmgt.wrap(env, asked, scale=0.5)
        env.reset(seed=0)
        assert env.step(1)[1] == -0.5
        question = llm.requests[0].messages[0]["content"]
        assert "row 0, column 0" in question
        assert env.stats()["judge"]["asked"] == 1


class TestPotential:
    def potential(self, llm, **options):
        return lmgt.LLMPotential(llm, TOY, **{"on_miss": "block", **options})

    def test_each_state_is_asked_about_once(self):
        llm = ScriptedLLM(
            lambda r: "SCORE: 0.5" if NEAR in r.messages[-1]["content"] else "SCORE: -1"
        )
        phi = self.potential(llm, knowledge=True)
        assert phi.values(states_of(NEAR, FAR, NEAR)) == [0.5, -1.0, 0.5]
        assert phi.prefill(states_of(FAR)) == [-1.0]
        assert len(llm.requests) == 2
        assert "Find the key." in llm.requests[0].messages[0]["content"]

    def test_unreadable_answers_are_zero_and_counted(self):
        phi = self.potential(ScriptedLLM(["SCORE: 12"]))
        with pytest.warns(GuidanceWarning, match="SCORE: 12"):
            assert phi.values(states_of(NEAR)) == [0.0]
        assert phi.stats()["failures_parse"] == 1

    def test_a_state_without_an_answer_is_not_shaped(self):
        env = lmgt.wrap(
            gym.make("FrozenLake-v1", is_slippery=False),
            lmgt.LLMPotential(ScriptedLLM({}), TOY), mode="potential", gamma=0.99,
        )  # fmt: skip
        env.reset(seed=0)
        assert env.step(2)[1] == 0.0
        assert env.stats()["unshaped"] == 1

    def test_shaping_telescopes(self):
        llm = ScriptedLLM(lambda r: f"SCORE: 0.{r.messages[-1]['content'].count('ice')}")
        env = lmgt.wrap(
            gym.make("FrozenLake-v1", is_slippery=False),
            self.potential(llm, caption=lambda facts: [str(row["row"]) + "ice" for row in facts]),
            mode="potential", gamma=1.0,
        )  # fmt: skip
        env.reset(seed=0)
        total = sum(env.step(action)[4]["reward_shift"] for action in (2, 2, 1, 1, 1, 2))
        assert total == pytest.approx(-0.1)
        assert len(llm.requests) == 4

    def test_a_prompt_needs_its_blank(self):
        with pytest.raises(InvalidOptionError, match="blanks"):
            self.potential(ScriptedLLM({}), prompt=PromptTemplate("How is it?"))
