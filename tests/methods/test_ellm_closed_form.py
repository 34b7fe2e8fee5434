"""ELLM's closed form: one question with Yes or No per state and candidate."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
from ellm_doubles import COW, TOY, TREE, states_of, verdict
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance.suggesters import Suggester
from llm_wrappers.llm import Budget, Completion
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods.ellm import ClosedFormSuggester
from llm_wrappers.methods.ellm.wording import yes_probability
from llm_wrappers.testing import ScriptedLLM


def closed_over(script=verdict, *, description=TOY, llm_options=None, **options):
    options.setdefault("on_miss", "block")
    return ClosedFormSuggester(ScriptedLLM(script, **(llm_options or {})), description, **options)


def weighed(**logprobs):
    """Return an answer with the log probabilities of its first token."""
    top = [{"token": word, "logprob": value} for word, value in logprobs.items()]
    word = max(logprobs, key=logprobs.get)
    first = {"token": word, "logprob": logprobs[word], "top_logprobs": top}
    return Completion(text=word, logprobs=[first])


class TestClosedForm:
    def test_suggests_what_the_model_says_yes_to(self):
        suggester = closed_over()
        assert isinstance(suggester, Suggester)
        assert suggester.suggest(states_of(TREE, COW)) == [("chop tree", "sleep"), ("sleep",)]

    def test_each_pair_is_asked_once(self):
        suggester = closed_over()
        suggester.suggest(states_of(TREE, TREE))
        suggester.suggest(states_of(TREE, COW))
        assert len(suggester.llm.requests) == 2 * len(TOY.goals)

    @pytest.mark.parametrize(
        ("answer", "threshold", "accepted"),
        [
            (weighed(Yes=math.log(0.6), No=math.log(0.4)), 0.5, True),
            (weighed(Yes=math.log(0.6), No=math.log(0.4)), 0.7, False),
            (weighed(Yes=math.log(0.5), No=math.log(0.5)), 0.5, False),
            (weighed(Yes=math.log(0.3), No=math.log(0.2), Perhaps=math.log(0.5)), 0.5, True),
            (weighed(Yes=math.log(0.001), Maybe=math.log(0.9)), 0.99, True),
            (weighed(No=math.log(0.001), Maybe=math.log(0.9)), 0.01, False),
            ("Yes", 0.99, True),
            ("no", 0.0, False),
        ],
        ids=["more", "too-little", "even", "renormalised", "no-absent", "yes-absent", "yes", "no"],
    )
    def test_accepted_above_the_threshold_only(self, answer, threshold, accepted):
        suggester = closed_over([answer], candidates=["sleep"], threshold=threshold)
        assert suggester.suggest(states_of(TREE)) == [("sleep",) if accepted else ()]

    def test_an_answer_that_is_neither_does_not_suggest_and_is_counted(self):
        suggester = closed_over(lambda request: "Perhaps.", candidates=["sleep", "eat cow"])
        with pytest.warns(GuidanceWarning, match="Yes or No"):
            assert suggester.suggest(states_of(TREE)) == [()]
        assert suggester.suggest(states_of(TREE)) == [()]
        assert suggester.stats()["failures_parse"] == len(suggester.llm.requests) == 2

    def test_none_as_long_as_no_pair_has_an_answer(self):
        suggester = closed_over(on_miss="neutral")
        assert suggester.suggest(states_of(TREE)) == [None]
        suggester.source.ask_missed()
        assert suggester.suggest(states_of(TREE)) == [("chop tree", "sleep")]

    def test_what_is_answered_counts_while_the_rest_is_not(self, tmp_path):
        budget = {"cache": tmp_path / "a.sqlite", "budget": Budget(calls=1), "concurrency": 1}
        suggester = closed_over(llm_options=budget)
        with pytest.warns(GuidanceWarning, match="budget"):
            assert suggester.suggest(states_of(TREE, COW)) == [("chop tree",), None]

    def test_candidates_that_depend_on_the_state(self):
        def near(captions):
            return [["chop tree"] if "tree" in caption else [] for caption in captions]

        suggester = closed_over(candidates=near)
        assert suggester.suggest(states_of(COW, TREE)) == [(), ("chop tree",)]
        assert suggester.suggest(states_of(TREE, TREE)) == [("chop tree",)] * 2
        assert len(suggester.llm.requests) == 1

    def test_prefill_fills_the_cache(self):
        suggester = closed_over(on_miss="neutral")
        annotation = suggester.prefill([TREE, COW, TREE])
        assert annotation.suggestions == {TREE: ("chop tree", "sleep"), COW: ("sleep",)}
        assert suggester.suggest(states_of(TREE)) == [("chop tree", "sleep")]
        assert len(suggester.llm.requests) == 6

    def test_pickles(self, tmp_path):
        suggester = closed_over(llm_options={"cache": tmp_path / "answers.sqlite"})
        suggester.suggest(states_of(TREE))
        twin = pickle.loads(pickle.dumps(suggester))
        assert twin.suggest(states_of(TREE)) == [("chop tree", "sleep")]
        assert twin.stats()["cache_hits"] == 3

    def test_is_never_copied_in_one_process(self):
        suggester = closed_over()
        assert copy.deepcopy(suggester) is suggester

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"threshold": 1.5}, "threshold"),
            ({"threshold": math.nan}, "threshold"),
            ({"logprobs": "yes"}, "logprobs"),
            ({"candidates": "sleep"}, "pass"),
            ({"candidates": []}, "not empty"),
            ({"candidates": ["sleep", " "]}, "not empty"),
            ({"prompt": PromptTemplate("$caption?")}, "goal"),
        ],
        ids=["over", "nan", "logprobs", "text", "none", "blank", "prompt"],
    )
    def test_options_that_cannot_work(self, options, says):
        with pytest.raises(InvalidOptionError, match=says):
            closed_over(**options)

    def test_no_goals_at_all(self):
        with pytest.raises(InvalidOptionError, match="names 0 goals"):
            closed_over(description=EnvDescription(env_id="Cart", rules=""))


class TestYesProbability:
    @given(
        yes=st.floats(-30, 0), no=st.floats(-30, 0), other=st.floats(-30, 0), shift=st.floats(0, 9)
    )
    def test_only_the_odds_of_yes_against_no_count(self, yes, no, other, shift):
        probability = yes_probability(weighed(Yes=yes, No=no, Hm=other))
        assert probability == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)))
        shifted = yes_probability(weighed(Yes=yes - shift, No=no - shift))
        assert shifted == pytest.approx(probability)

    def test_spellings_are_added_up(self):
        tokens = {"Yes": math.log(0.3), " yes": math.log(0.3), "No": math.log(0.4)}
        assert yes_probability(weighed(**tokens)) == pytest.approx(0.6)

    def test_blank_tokens_at_the_beginning_are_skipped(self):
        answer = weighed(Yes=-0.1, No=-3.0)
        blank = {"token": "\n", "logprob": 0.0, "top_logprobs": []}
        answer = answer.model_copy(update={"logprobs": [blank, *answer.logprobs]})
        assert yes_probability(answer) == pytest.approx(1 / (1 + math.exp(-2.9)))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Yes", 1.0),
            ("**No.**", 0.0),
            ("yes, there is no danger", 1.0),
            ("Answer: No", 0.0),
            ("<think>No? Or yes?</think>Yes", 1.0),
            ("Knowing that", None),
            ("It is yes and no", None),
            ("", None),
        ],
        ids=["yes", "bold", "first-word", "only-word", "thoughts", "within", "both", "empty"],
    )
    def test_from_the_text(self, text, expected):
        assert yes_probability(Completion(text=text)) == expected

    def test_text_decides_where_neither_is_among_the_tokens(self):
        tokens = [{"token": "Answer", "logprob": -0.1, "top_logprobs": []}]
        assert yes_probability(Completion(text="Answer: yes", logprobs=tokens)) == 1.0
