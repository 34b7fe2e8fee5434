"""How good a judge is: against an oracle, labels, and itself in other words."""

from __future__ import annotations

import json

import gymnasium as gym
import pytest

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.judges import ConstantJudge, NegatedJudge, TableJudge, resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.methods import lmgt
from llm_wrappers.testing import ScriptedLLM

BLACKJACK = "Blackjack-v1"


class TestQuality:
    @pytest.fixture
    def questions(self):
        return lmgt.questions_about(gym.make(BLACKJACK))

    def oracle(self):
        return resolve_judge(
            "oracle", description=resolve_captioner(gym.make(BLACKJACK)).description
        )

    def test_a_judge_against_the_oracle(self, questions):
        same = lmgt.audit_judge(self.oracle(), *questions, oracle=self.oracle())
        assert (same.oracle.compared, same.oracle.agreement, same.oracle.kappa) == (560, 1.0, 1.0)
        assert same.shares["good"] == same.shares["bad"] == 0.5
        assert same.unreadable is None
        wrong = lmgt.audit_judge(NegatedJudge(self.oracle()), *questions, oracle=self.oracle())
        assert (wrong.oracle.agreement, wrong.oracle.opposed, wrong.oracle.kappa) == (
            0.0,
            1.0,
            -1.0,
        )

    def test_the_reference_rule_is_better_than_chance(self, questions):
        description = resolve_captioner(gym.make(BLACKJACK)).description
        reference = resolve_judge("reference", description=description)
        found = lmgt.audit_judge(reference, *questions, oracle=self.oracle())
        assert 0.8 < found.oracle.agreement < 1.0
        assert found.oracle.kappa == pytest.approx(2 * found.oracle.agreement - 1)

    def test_labels_and_missing_judgements(self):
        states = States([{"x": i} for i in range(4)], lambda facts: [""] * 4)
        judge = TableJudge([({"x": 0}, 0, 1), ({"x": 1}, 0, 1), ({"x": 2}, 0, 0)], reads=["x"])
        found = lmgt.audit_judge(judge, states, [0] * 4, labels=[1, -1, None, 1])
        assert found.shares == {"good": 0.5, "neutral": 0.25, "bad": 0.0, "none": 0.25}
        assert (found.labels.compared, found.labels.agreement, found.labels.opposed) == (
            2,
            0.5,
            0.5,
        )
        nothing = lmgt.audit_judge(judge, states, [0] * 4, labels=[None] * 4)
        assert "nothing to compare" in str(nothing)

    def test_a_model_in_other_words(self, questions):
        def answer(request):
            text = request.messages[-1]["content"]
            if "Action: hit" in text and "You are a coach" in text:
                return "SCORE: -1"
            return "No idea" if "step by step" in text else "SCORE: 1"

        judge = lmgt.LLMJudge(
            ScriptedLLM(answer), resolve_captioner(gym.make(BLACKJACK)).description
        )
        others = {kind: judge.rephrased(kind) for kind in ("baseline", "role", "chain-of-thought")}
        with pytest.warns(GuidanceWarning, match="No idea"):
            found = lmgt.audit_judge(judge, *questions, rephrasings=others)
        agreements = {name: other.agreement for name, other in found.rephrasings.items()}
        assert agreements == {"baseline": 1.0, "role": 0.5, "chain-of-thought": 0.0}
        assert found.rephrasings["baseline"].kappa is None
        assert found.consistency == 0.0
        assert found.unreadable == 0
        with pytest.warns(GuidanceWarning, match="No idea"):
            mute = lmgt.audit_judge(judge.rephrased("chain-of-thought"), *questions)
        assert (mute.unreadable, mute.consistency) == (560, None)
        two = lmgt.audit_judge(judge, *questions, rephrasings={"role": others["role"]})
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
        with pytest.raises(InvalidOptionError, match=message):
            lmgt.audit_judge(
                **{"judge": ConstantJudge(1), "states": states, "actions": [0, 1]} | options
            )
